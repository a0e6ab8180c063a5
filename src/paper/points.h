/* Plots of values with intervals: a dot and a bar for each, in groups of one colour. */
#ifndef ALEAT_PAPER_POINTS_H
#define ALEAT_PAPER_POINTS_H

#include "paper/subsets.h"

#define ALEAT_POINT_GROUPS ALEAT_PLOT_COLOURS

/** Zero-initialise. A failure is kept and told by aleat_points_plot(). */
typedef struct aleat_points {
    struct aleat_point *points;
    int64_t count, room;
    const char *groups[ALEAT_POINT_GROUPS]; /**< borrowed */
    int n_groups;
    bool no_memory;
} aleat_points;

/** Adds one to the group of that label; those beyond ALEAT_POINT_GROUPS are left out. */
void aleat_points_add(aleat_points *p, const char *label, double x, double y, double low,
                      double high);
/**
 * Draws them as FOLDER/ITEM.png and .svg.
 *
 * @param plot  title and axes
 * @param band  drawn across, called `label`; NULL: none
 */
ALEAT_MUST_USE aleat_status aleat_points_plot(const aleat_points *p, const char *folder,
                                              const char *item, const aleat_plot *plot,
                                              const char *label, const aleat_spread *band,
                                              aleat_error *err);
void aleat_points_clear(aleat_points *p);

#endif
