#include "plot/plot.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "plot/pen.h"
#include "plot/ticks.h"

enum { WIDTH = 960, HEIGHT = 600, LEAST_WIDTH = 320, LEAST_HEIGHT = 200, MOST = 16384 };

#define TEXT   2 // size of all text
#define LETTER 12.0
#define LINE   24.0 // from one line of text to the next
#define GAP    10.0
#define TICK   6.0
#define SAMPLE 30.0 // length of the piece of line in the legend

static const aleat_rgb ink = {32, 32, 32}, grid = {225, 225, 225};
static const aleat_rgb palette[ALEAT_PLOT_COLOURS] = {
    {0, 114, 178},  {213, 94, 0},  {0, 158, 115}, {204, 121, 167},
    {86, 180, 233}, {230, 159, 0}, {0, 0, 0},
};

// A plot being drawn: where the axes are on the paper and what they show.
typedef struct layout {
    const aleat_plot *plot;
    aleat_pen *pen;
    aleat_box frame;
    aleat_axis x, y; // with their ends
    aleat_ticks x_ticks, y_ticks;
    aleat_point *points; // scratch: twice the longest series
} layout;

static bool usable(const aleat_axis *axis, double value)
{
    return isfinite(value) && (!axis->log || value > 0);
}

static double scaled(const aleat_axis *axis, double value)
{
    return axis->log ? log(value / axis->low) / log(axis->high / axis->low)
                     : (value - axis->low) / (axis->high - axis->low);
}

static aleat_point place(const layout *l, double x, double y)
{
    const aleat_box *f = &l->frame;
    return (aleat_point){f->left + scaled(&l->x, x) * (f->right - f->left),
                         f->bottom - scaled(&l->y, y) * (f->bottom - f->top)};
}

static aleat_rgb colour_of(const aleat_plot *plot, int series)
{
    const int given = plot->series[series].colour;
    return palette[(given ? given - 1 : series) % ALEAT_PLOT_COLOURS];
}

/* ---- the ends of the axes -------------------------------------------------------------------- */

static void include(aleat_axis *axis, const double *values, int64_t n)
{
    for (int64_t i = 0; values && i < n; i++)
        if (usable(axis, values[i])) {
            axis->low = fmin(axis->low, values[i]);
            axis->high = fmax(axis->high, values[i]);
        }
}

// Ends that do not touch the data, and differ even where all data are equal.
static void widen(aleat_axis *axis, double share)
{
    if (!(axis->low <= axis->high)) { // no data at all
        axis->low = axis->log ? 1 : 0;
        axis->high = axis->log ? 10 : 1;
    } else if (axis->log) {
        const double ratio = axis->high > axis->low ? pow(axis->high / axis->low, share) : 2;
        axis->low /= ratio;
        axis->high *= ratio;
    } else {
        const double range = axis->high - axis->low;
        const double more = range > 0          ? share * range
                            : axis->low == 0.0 ? 1
                                               : 0.1 * fabs(axis->low);
        axis->low -= more;
        axis->high += more;
    }
}

static void find_ends(layout *l)
{
    const aleat_plot *plot = l->plot;
    l->x = plot->x;
    l->y = plot->y;
    const bool find_x = l->x.low == l->x.high, find_y = l->y.low == l->y.high;
    if (find_x)
        l->x.low = INFINITY, l->x.high = -INFINITY;
    if (find_y)
        l->y.low = INFINITY, l->y.high = -INFINITY;
    for (int s = 0; s < plot->n_series; s++) {
        const aleat_series *series = &plot->series[s];
        if (find_x)
            include(&l->x, series->x, series->count);
        if (find_y) {
            include(&l->y, series->y, series->count);
            include(&l->y, series->low, series->count);
            include(&l->y, series->high, series->count);
        }
    }
    if (find_x)
        widen(&l->x, 0.0);
    if (find_y)
        widen(&l->y, 0.05);
    if (find_x && !(l->x.high > l->x.low)) // a single point
        widen(&l->x, 0.05);
}

/* ---- the frame ------------------------------------------------------------------------------- */

static double text_width(const char *text)
{
    return LETTER * (double)strlen(text);
}

// Where the entry of series `s` begins in the legend, and the number of lines so far.
static aleat_point legend_place(const layout *l, int s, double width, int *lines)
{
    double x = l->frame.left;
    *lines = 0;
    for (int i = 0; i <= s; i++) {
        const char *label = l->plot->series[i].label;
        if (!label)
            continue;
        const double needed = SAMPLE + GAP + text_width(label) + 2 * GAP;
        if (*lines == 0 || x + needed > width) {
            x = l->frame.left;
            ++*lines;
        }
        if (i < s)
            x += needed;
    }
    return (aleat_point){x, (*lines - 0.5) * LINE};
}

static void find_frame(layout *l, double width, double height)
{
    const aleat_plot *plot = l->plot;
    int lines = 0, ticks = (int)(width / 130);
    double widest = 0;
    aleat_ticks_place(&l->x_ticks, l->x.low, l->x.high, l->x.log, ticks < 10 ? ticks : 10);
    ticks = (int)(height / 70);
    aleat_ticks_place(&l->y_ticks, l->y.low, l->y.high, l->y.log, ticks < 10 ? ticks : 10);
    for (int i = 0; i < l->y_ticks.count; i++)
        widest = fmax(widest, text_width(l->y_ticks.text[i]));
    l->frame.left = GAP + (l->y.label ? LINE : 0) + widest + TICK + GAP;
    l->frame.right = width - 3 * GAP;
    (void)legend_place(l, plot->n_series - 1, width, &lines);
    l->frame.top = GAP + (plot->title ? LINE : 0) + lines * LINE;
    l->frame.bottom = height - GAP - (l->x.label ? LINE : 0) - LINE - TICK;
}

static void straight(const layout *l, double x0, double y0, double x1, double y1, aleat_rgb colour)
{
    const aleat_point points[] = {{x0, y0}, {x1, y1}};
    l->pen->ops->line(l->pen, points, 2, 1, false, colour);
}

static void draw_axes(const layout *l)
{
    const aleat_box f = l->frame;
    const aleat_text_style middle = {ALEAT_ANCHOR_MIDDLE, false, TEXT};
    const aleat_text_style right = {ALEAT_ANCHOR_END, false, TEXT};
    const aleat_pen_ops *draw = l->pen->ops;
    for (int i = 0; i < l->x_ticks.count; i++) {
        const double x = place(l, l->x_ticks.at[i], l->y.low).x;
        straight(l, x, f.top, x, f.bottom, grid);
        straight(l, x, f.bottom, x, f.bottom + TICK, ink);
        draw->text(l->pen, (aleat_point){x, f.bottom + TICK + LINE / 2}, l->x_ticks.text[i], middle,
                   ink);
    }
    for (int i = 0; i < l->y_ticks.count; i++) {
        const double y = place(l, l->x.low, l->y_ticks.at[i]).y;
        straight(l, f.left, y, f.right, y, grid);
        straight(l, f.left - TICK, y, f.left, y, ink);
        draw->text(l->pen, (aleat_point){f.left - TICK - GAP / 2, y}, l->y_ticks.text[i], right,
                   ink);
    }
    straight(l, f.left, f.bottom, f.right, f.bottom, ink);
    straight(l, f.left, f.top, f.left, f.bottom, ink);
    const double centre = (f.left + f.right) / 2;
    if (l->x.label)
        draw->text(l->pen, (aleat_point){centre, f.bottom + TICK + 1.5 * LINE}, l->x.label, middle,
                   ink);
    if (l->y.label)
        draw->text(l->pen, (aleat_point){GAP + LINE / 2, (f.top + f.bottom) / 2}, l->y.label,
                   (aleat_text_style){ALEAT_ANCHOR_MIDDLE, true, TEXT}, ink);
    if (l->plot->title)
        draw->text(l->pen, (aleat_point){centre, GAP + LINE / 2}, l->plot->title, middle, ink);
}

static void draw_legend(const layout *l, double width)
{
    const aleat_pen_ops *draw = l->pen->ops;
    const double top = GAP / 2 + (l->plot->title ? LINE : 0);
    for (int s = 0; s < l->plot->n_series; s++) {
        const aleat_series *series = &l->plot->series[s];
        if (!series->label)
            continue;
        int lines;
        aleat_point at = legend_place(l, s, width, &lines);
        at.y += top;
        const aleat_rgb colour = colour_of(l->plot, s);
        const aleat_point sample[] = {at, {at.x + SAMPLE, at.y}};
        if (!series->no_line)
            draw->line(l->pen, sample, 2, 2, series->dashed, colour);
        if (series->points || series->no_line)
            draw->dot(l->pen, (aleat_point){at.x + SAMPLE / 2, at.y}, 4, colour);
        draw->text(l->pen, (aleat_point){at.x + SAMPLE + GAP, at.y}, series->label,
                   (aleat_text_style){ALEAT_ANCHOR_START, false, TEXT}, ink);
    }
}

/* ---- the curves ------------------------------------------------------------------------------ */

static bool shown(const layout *l, const aleat_series *s, int64_t i)
{
    return usable(&l->x, s->x[i]) && usable(&l->y, s->y[i]);
}

static bool has_band(const layout *l, const aleat_series *s, int64_t i)
{
    return shown(l, s, i) && usable(&l->y, s->low[i]) && usable(&l->y, s->high[i]);
}

// Calls for each stretch of points without a gap.
static void draw_band(const layout *l, const aleat_series *s, aleat_rgb colour)
{
    for (int64_t i = 0, end; i < s->count; i = end + 1) {
        for (end = i; end < s->count && has_band(l, s, end); end++)
            ;
        const int64_t n = end - i;
        for (int64_t j = 0; j < n; j++) {
            l->points[j] = place(l, s->x[i + j], s->low[i + j]);
            l->points[2 * n - 1 - j] = place(l, s->x[i + j], s->high[i + j]);
        }
        if (n > 1)
            l->pen->ops->area(l->pen, l->points, n, 0.2, colour);
    }
}

static void draw_curve(const layout *l, const aleat_series *s, aleat_rgb colour)
{
    for (int64_t i = 0, end; i < s->count; i = end + 1) {
        for (end = i; end < s->count && shown(l, s, end); end++)
            l->points[end - i] = place(l, s->x[end], s->y[end]);
        const int64_t n = end - i;
        if (n > 1 && !s->no_line)
            l->pen->ops->line(l->pen, l->points, n, 2, s->dashed, colour);
        // A point without neighbours has no line, and would not be seen.
        for (int64_t j = 0; j < n && (s->points || s->no_line || n == 1); j++)
            l->pen->ops->dot(l->pen, l->points[j], 4, colour);
    }
}

static void draw(layout *l, double width)
{
    draw_axes(l);
    draw_legend(l, width);
    l->pen->ops->clip(l->pen, &l->frame);
    for (int s = 0; s < l->plot->n_series; s++)
        if (l->plot->series[s].low)
            draw_band(l, &l->plot->series[s], colour_of(l->plot, s));
    for (int s = 0; s < l->plot->n_series; s++)
        draw_curve(l, &l->plot->series[s], colour_of(l->plot, s));
    l->pen->ops->clip(l->pen, NULL);
}

/* ---- one door -------------------------------------------------------------------------------- */

static aleat_status check_axis(const aleat_axis *axis, const char *name, aleat_error *err)
{
    const bool given = axis->low != axis->high;
    if (isfinite(axis->low) && isfinite(axis->high) && axis->low <= axis->high &&
        !(given && axis->log && axis->low <= 0))
        return ALEAT_OK;
    return aleat_fail(err, ALEAT_ERR_ARGUMENT, "a plot's %s axis from %g to %g", name, axis->low,
                      axis->high);
}

static aleat_status check(const aleat_plot *plot, int64_t width, int64_t height, aleat_error *err)
{
    if (width < LEAST_WIDTH || height < LEAST_HEIGHT || width > MOST || height > MOST)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "a plot of %lld x %lld pixels", (long long)width,
                          (long long)height);
    const aleat_status st = check_axis(&plot->x, "x", err);
    return st ? st : check_axis(&plot->y, "y", err);
}

static const struct {
    const char *ending;
    aleat_pen *(*pen)(int64_t width, int64_t height);
} formats[] = {{".png", aleat_pen_png}, {".svg", aleat_pen_svg}};

static aleat_status make_pen(aleat_pen **out, const char *path, int64_t width, int64_t height,
                             aleat_error *err)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (aleat_path_ends_in(path, formats[i].ending)) {
            *out = formats[i].pen(width, height);
            return *out ? ALEAT_OK : aleat_fail_memory(err, path);
        }
    return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: a plot is written as .png or .svg", path);
}

aleat_status aleat_plot_write(const char *path, const aleat_plot *plot, aleat_error *err)
{
    const int64_t width = plot->width ? plot->width : WIDTH;
    const int64_t height = plot->height ? plot->height : HEIGHT;
    layout l = {.plot = plot};
    int64_t longest = 1;
    aleat_status st = check(plot, width, height, err);
    if (!st)
        st = make_pen(&l.pen, path, width, height, err);
    if (st)
        return st;
    for (int s = 0; s < plot->n_series; s++)
        longest = plot->series[s].count > longest ? plot->series[s].count : longest;
    l.points = aleat_calloc((size_t)longest, 2 * sizeof *l.points);
    if (!l.points) {
        st = aleat_fail_memory(err, path);
        goto done;
    }
    find_ends(&l);
    find_frame(&l, (double)width, (double)height);
    draw(&l, (double)width);
    st = l.pen->ops->finish(l.pen, path, err);
done:
    l.pen->ops->free(l.pen);
    aleat_free(l.points);
    return st;
}
