#include "train/record.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "plot/plot.h"

/** Points of the curve: each is the mean of a stretch of steps. */
#define MOST_POINTS 200

/** The next whole line of a file from *at; false at the end. A line that was cut off in the middle
 * of being written is none. */
static bool next_line(const aleat_mapping *file, size_t *at, const char **line, size_t *len)
{
    if (*at >= file->len)
        return false;
    const char *begin = (const char *)file->data + *at;
    const char *newline = memchr(begin, '\n', file->len - *at);
    if (!newline)
        return false;
    *line = begin;
    *len = (size_t)(newline + 1 - begin);
    *at += *len;
    return true;
}

aleat_status aleat_record_open(FILE **out, const char *path, const char *header, int64_t last,
                               aleat_error *err)
{
    aleat_mapping old = {0};
    aleat_atomic_file file = {0};
    const char *line;
    size_t at = 0, len;
    *out = NULL;
    aleat_status st = aleat_is_file(path) ? aleat_mapping_open(&old, path, err) : ALEAT_OK;
    if (!st)
        st = aleat_atomic_open(&file, path, err);
    if (!st)
        st = aleat_atomic_write(&file, header, strlen(header), err);
    if (!st)
        st = aleat_atomic_write(&file, "\n", 1, err);
    while (!st && next_line(&old, &at, &line, &len))
        if (*line >= '0' && *line <= '9' && strtoll(line, NULL, 10) <= last)
            st = aleat_atomic_write(&file, line, len, err);
    if (!st)
        st = aleat_atomic_commit(&file, err);
    aleat_atomic_abandon(&file);
    aleat_mapping_close(&old);
    if (st)
        return st;
    *out = fopen(path, "ae");
    return *out ? ALEAT_OK : aleat_fail_errno(err, "cannot open", path);
}

/* ---- the plot -------------------------------------------------------------------------------- */

/** The columns step and loss of a table, which both tables have in the same places. */
typedef struct curve {
    double *step, *loss; // [count]
    int64_t count;
} curve;

static void curve_clear(curve *c)
{
    aleat_free(c->step);
    aleat_free(c->loss);
}

/** A number of at most `len` bytes; the file need not go on behind it. */
static double number_of(const char *at, size_t len)
{
    char text[64];
    const size_t n = len < sizeof text ? len : sizeof text - 1;
    memcpy(text, at, n);
    text[n] = '\0';
    return strtod(text, NULL);
}

static aleat_status read_curve(curve *out, const char *path, aleat_error *err)
{
    aleat_mapping file = {0};
    const char *line;
    size_t at = 0, len;
    int64_t lines = 0;
    memset(out, 0, sizeof *out);
    if (!path || !aleat_is_file(path))
        return ALEAT_OK;
    aleat_status st = aleat_mapping_open(&file, path, err);
    if (st)
        return st;
    while (next_line(&file, &at, &line, &len))
        lines++;
    out->step = aleat_calloc((size_t)lines, sizeof *out->step);
    out->loss = aleat_calloc((size_t)lines, sizeof *out->loss);
    if (!out->step || !out->loss)
        st = aleat_fail_memory(err, path);
    for (at = 0; !st && next_line(&file, &at, &line, &len);)
        if (*line >= '0' && *line <= '9') {
            const char *comma = memchr(line, ',', len);
            comma = comma ? memchr(comma + 1, ',', len - (size_t)(comma + 1 - line)) : NULL;
            out->step[out->count] = number_of(line, len);
            out->loss[out->count++] =
                comma ? number_of(comma + 1, len - (size_t)(comma + 1 - line)) : NAN;
        }
    aleat_mapping_close(&file);
    return st;
}

/** The means of stretches, and their mean minus and plus a standard deviation. */
typedef struct smooth_curve {
    double step[MOST_POINTS], loss[MOST_POINTS], low[MOST_POINTS], high[MOST_POINTS];
    int64_t count;
} smooth_curve;

static void smooth(smooth_curve *out, const curve *c)
{
    out->count = c->count < MOST_POINTS ? c->count : MOST_POINTS;
    for (int64_t i = 0; i < out->count; i++) {
        const int64_t begin = i * c->count / out->count, end = (i + 1) * c->count / out->count;
        double mean = 0, m2 = 0;
        for (int64_t k = begin; k < end; k++) { // Welford
            const double before = c->loss[k] - mean;
            mean += before / (double)(k - begin + 1);
            m2 += before * (c->loss[k] - mean);
        }
        const double deviation = end - begin > 1 ? sqrt(m2 / (double)(end - begin - 1)) : 0;
        out->step[i] = (c->step[begin] + c->step[end - 1]) / 2;
        out->loss[i] = mean;
        // A band to 0 or below has no place on a logarithmic axis.
        out->low[i] = fmax(mean - deviation, mean / 4);
        out->high[i] = mean + deviation;
    }
}

aleat_status aleat_record_plot(const char *loss_csv, const char *validation_csv,
                               const char *picture, aleat_error *err)
{
    curve train = {0}, held_out = {0};
    smooth_curve *means = aleat_calloc(1, sizeof *means);
    aleat_status st = means ? ALEAT_OK : aleat_fail_memory(err, picture);
    if (!st)
        st = read_curve(&train, loss_csv, err);
    if (!st)
        st = read_curve(&held_out, validation_csv, err);
    if (!st && train.count > 0) {
        smooth(means, &train);
        const aleat_series series[] = {
            {.label = "training (mean, standard deviation)",
             .x = means->step,
             .y = means->loss,
             .low = means->low,
             .high = means->high,
             .count = means->count},
            {.label = "held out, averaged weights",
             .x = held_out.step,
             .y = held_out.loss,
             .count = held_out.count,
             .points = held_out.count < 50},
        };
        const aleat_plot plot = {.x = {.label = "step"},
                                 .y = {.label = "loss", .log = true},
                                 .series = series,
                                 .n_series = held_out.count > 0 ? 2 : 1};
        st = aleat_plot_write(picture, &plot, err);
    }
    curve_clear(&train);
    curve_clear(&held_out);
    aleat_free(means);
    return st;
}
