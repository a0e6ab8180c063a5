/*
 * Line plots as PNG and SVG: series with bands, linear and logarithmic axes, ticks, a legend.
 * Both formats are drawn by the same layout through one interface (pen.h).
 */
#ifndef ALEAT_PLOT_PLOT_H
#define ALEAT_PLOT_PLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/status.h"

/** One curve. Zero-initialise; arrays and text are borrowed. A point that is not finite, or not
 * positive on a logarithmic axis, is left out and breaks the line. */
typedef struct aleat_series {
    const char *label; /**< in the legend; NULL: not in it */
    const double *x, *y;
    int64_t count;
    const double *low, *high; /**< [count] a band around the curve, or both NULL */
    bool points;              /**< a dot at each point */
    bool no_line;             /**< the dots alone */
    bool dashed;
    int colour; /**< 1 to ALEAT_PLOT_COLOURS of the palette; 0: by place among the series */
} aleat_series;

/** Colours that can be told apart, also by the colour-blind (Okabe and Ito 2008). */
#define ALEAT_PLOT_COLOURS 7

typedef struct aleat_axis {
    const char *label; /**< may be NULL */
    bool log;
    double low, high; /**< ends of the axis, positive if `log`; equal: from the data */
} aleat_axis;

/** Zero-initialise. Text is UTF-8; a PNG shows what is beyond ASCII as '?'. */
typedef struct aleat_plot {
    const char *title; /**< may be NULL */
    aleat_axis x, y;
    const aleat_series *series;
    int n_series;
    int64_t width, height; /**< pixels; 0: 960 x 600 */
} aleat_plot;

/**
 * Writes the plot to `path`, atomically and with the same bytes for the same data. ".svg" gives
 * SVG, ".png" PNG, other names are ALEAT_ERR_ARGUMENT, as are sizes too small to hold the axes
 * (320 x 200) or above 16384 and ends of an axis that are not in order.
 */
ALEAT_MUST_USE aleat_status aleat_plot_write(const char *path, const aleat_plot *plot,
                                             aleat_error *err);

#endif
