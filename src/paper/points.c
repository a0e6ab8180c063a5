#include "paper/points.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

typedef struct aleat_point {
    int group;
    double x[2], y, bar[2]; // x twice: the ends of a bar
} aleat_point;

static int group_of(aleat_points *p, const char *label)
{
    for (int g = 0; g < p->n_groups; g++)
        if (strcmp(p->groups[g], label) == 0)
            return g;
    if (p->n_groups == ALEAT_POINT_GROUPS)
        return -1;
    p->groups[p->n_groups] = label;
    return p->n_groups++;
}

void aleat_points_add(aleat_points *p, const char *label, double x, double y, double low,
                      double high)
{
    const int group = group_of(p, label);
    if (group < 0 || p->no_memory)
        return;
    if (p->count == p->room) {
        const int64_t room = p->room ? 2 * p->room : 16;
        aleat_point *grown =
            aleat_realloc(p->points, (size_t)p->room * sizeof *grown, (size_t)room * sizeof *grown);
        p->no_memory = !grown;
        if (!grown)
            return;
        p->points = grown;
        p->room = room;
    }
    p->points[p->count++] = (aleat_point){group, {x, x}, y, {low, high}};
}

void aleat_points_clear(aleat_points *p)
{
    aleat_free(p->points);
    memset(p, 0, sizeof *p);
}

aleat_status aleat_points_plot(const aleat_points *p, const char *folder, const char *item,
                               const aleat_plot *plot, const char *label, const aleat_spread *band,
                               aleat_error *err)
{
    double ends[2] = {INFINITY, -INFINITY}, middle[2], low[2], high[2];
    aleat_plot picture = *plot;
    aleat_series *series = aleat_calloc((size_t)(2 * p->count + 1), sizeof *series);
    if (!series || p->no_memory) {
        aleat_free(series);
        return aleat_fail_memory(err, "a plot");
    }
    bool named[ALEAT_POINT_GROUPS] = {false};
    int n = band ? 1 : 0;
    for (int64_t i = 0; i < p->count; i++) {
        const aleat_point *at = &p->points[i];
        ends[0] = fmin(ends[0], at->x[0] - 0.5);
        ends[1] = fmax(ends[1], at->x[0] + 0.5);
        series[n++] = (aleat_series){.label = named[at->group] ? NULL : p->groups[at->group],
                                     .x = at->x,
                                     .y = &at->y,
                                     .count = 1,
                                     .points = true,
                                     .colour = at->group + 1};
        series[n++] = (aleat_series){.x = at->x, .y = at->bar, .count = 2, .colour = at->group + 1};
        named[at->group] = true;
    }
    for (int k = 0; band && k < 2; k++) {
        middle[k] = band->mean;
        low[k] = band->low;
        high[k] = band->high;
    }
    if (band)
        series[0] = (aleat_series){.label = label,
                                   .x = ends,
                                   .y = middle,
                                   .count = 2,
                                   .low = low,
                                   .high = high,
                                   .dashed = true,
                                   .colour = ALEAT_PLOT_COLOURS};
    picture.series = series;
    picture.n_series = n;
    const aleat_status st = aleat_result_plot(folder, item, &picture, err);
    aleat_free(series);
    return st;
}
