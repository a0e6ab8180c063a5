#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/parallel.h"
#include "metrics/metric.h"
#include "metrics/resample.h"

// Parts of the data that are left out in turn, at most, for the acceleration of an interval.
enum { MAX_LEFT = 200 };

// Resamples share this; each owns its row numbers and arrays while it is computed.
typedef struct resampling {
    const aleat_metric *metric;
    const aleat_metric_task *task;
    void *state;    // of metric->prepare()
    int64_t units;  // pairs or images that are drawn
    int64_t n_left; // computations that leave a part out, behind the draws
    int64_t n_draws;
    int n_values;
    double *values; // [n_values, n_draws + n_left]
    aleat_status *status;
    aleat_error *errors; // one a thread
} resampling;

// The pairs of the units in rows [count], gathered.
static aleat_status resample_pairs(const resampling *r, const int64_t *rows, int64_t count,
                                   aleat_metric_result *result, aleat_error *err)
{
    const aleat_metric_inputs *in = r->task->inputs;
    const int64_t size = in->n / r->units;
    double *x = aleat_calloc((size_t)count, (size_t)size * sizeof *x);
    double *y = aleat_calloc((size_t)count, (size_t)size * sizeof *y);
    aleat_status st = x && y ? ALEAT_OK : aleat_fail_memory(err, "a resample");
    for (int64_t i = 0; !st && i < count; i++) {
        memcpy(x + i * size, in->x + rows[i] * size, (size_t)size * sizeof *x);
        memcpy(y + i * size, in->y + rows[i] * size, (size_t)size * sizeof *y);
    }
    const aleat_metric_inputs drawn = {
        .x = x, .y = y, .n = count * size, .images = in->images ? count : 0};
    const aleat_metric_task task = {&drawn, r->task->options, true};
    if (!st)
        st = r->metric->compute(result, &task, err);
    aleat_free(x);
    aleat_free(y);
    return st;
}

static aleat_status half_of(aleat_array *out, const aleat_array *x, const resampling *r,
                            int64_t draw, int side, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    const int64_t n = x->dim[0], d = x->dim[1];
    int64_t *rows = aleat_calloc((size_t)n, sizeof *rows);
    out->data = aleat_calloc((size_t)(n / 2), (size_t)d * sizeof *out->data);
    aleat_status st = rows && out->data ? ALEAT_OK : aleat_fail_memory(err, "a resample");
    out->n_dims = 2;
    out->dim[0] = n / 2;
    out->dim[1] = d;
    if (!st)
        aleat_draw_half(rows, n, r->task->options.seed, draw, side);
    for (int64_t i = 0; !st && i < n / 2; i++)
        memcpy(out->data + i * d, x->data + rows[i] * d, (size_t)d * sizeof *out->data);
    aleat_free(rows);
    return st;
}

static aleat_status resample_sets(const resampling *r, int64_t draw, aleat_metric_result *result,
                                  aleat_error *err)
{
    aleat_metric_inputs drawn = *r->task->inputs;
    aleat_array a = {0}, b = {0};
    aleat_status st = ALEAT_OK;
    if (drawn.a)
        st = half_of(&a, drawn.a, r, draw, 0, err);
    if (!st && drawn.b)
        st = half_of(&b, drawn.b, r, draw, 1, err);
    if (drawn.a) {
        drawn.a = &a;
        drawn.a_statistics = NULL;
    }
    if (drawn.b) {
        drawn.b = &b;
        drawn.b_statistics = NULL;
    }
    aleat_metric_task task = {&drawn, r->task->options, true};
    task.options.threads = 1; // the draws themselves are spread over the threads
    if (!st)
        st = r->metric->compute(result, &task, err);
    aleat_free(a.data);
    aleat_free(b.data);
    return st;
}

// Draw number i or, behind the draws, the units without part i - n_draws.
static aleat_status resample_one(const resampling *r, int64_t i, aleat_metric_result *result,
                                 aleat_error *err)
{
    if (r->metric->facts.takes != ALEAT_TAKES_PAIRS)
        return resample_sets(r, i, result, err);
    int64_t *rows = aleat_calloc((size_t)r->units, sizeof *rows), count = r->units;
    if (!rows)
        return aleat_fail_memory(err, "a resample");
    if (i < r->n_draws) {
        aleat_draw_bootstrap(rows, r->units, r->task->options.seed, i);
    } else {
        const int64_t part = i - r->n_draws;
        const int64_t begin = part * r->units / r->n_left, end = (part + 1) * r->units / r->n_left;
        count = 0;
        for (int64_t u = 0; u < r->units; u++)
            if (u < begin || u >= end)
                rows[count++] = u;
    }
    aleat_status st = r->state ? r->metric->resample(result, r->state, r->task, rows, count, err)
                               : resample_pairs(r, rows, count, result, err);
    aleat_free(rows);
    return st;
}

static void resample_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const resampling *r = ctx;
    const int64_t total = r->n_draws + r->n_left;
    for (int64_t i = begin; i < end && !r->status[thread]; i++) {
        aleat_metric_result result = {0};
        r->status[thread] = resample_one(r, i, &result, &r->errors[thread]);
        for (int v = 0; v < r->n_values; v++)
            r->values[v * total + i] = v < result.n_values ? result.values[v].value : NAN;
        aleat_metric_result_clear(&result);
    }
}

// Values that only the whole computation gives (a test, subsets) come last and have no interval.
static void set_intervals(aleat_metric_result *out, const resampling *r)
{
    const int64_t total = r->n_draws + r->n_left;
    const double confidence = r->task->options.confidence;
    for (int v = 0; v < r->n_values; v++) {
        double *draws = r->values + v * total;
        const aleat_interval interval =
            r->metric->facts.takes == ALEAT_TAKES_PAIRS
                ? aleat_bca_interval(out->values[v].value, draws, r->n_draws, draws + r->n_draws,
                                     r->n_left, confidence)
                : aleat_centred_interval(out->values[v].value, draws, r->n_draws, confidence);
        out->values[v].low = interval.low;
        out->values[v].high = interval.high;
    }
}

aleat_status aleat_metric_intervals(aleat_metric_result *out, const aleat_metric *metric,
                                    const aleat_metric_task *task, aleat_error *err)
{
    const aleat_metric_inputs *in = task->inputs;
    const bool pairs = metric->facts.takes == ALEAT_TAKES_PAIRS;
    const int threads = task->options.threads;
    resampling r = {metric, task, .units = in->images > 1 ? in->images : in->n,
                    .n_draws = task->options.draws, .n_values = out->n_values};
    if (pairs)
        r.n_left = r.units < MAX_LEFT ? r.units : MAX_LEFT;
    if (pairs && r.units < 3)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "an interval from %" PRId64 " %s: at least 3 are "
                          "needed",
                          r.units, in->images > 1 ? "images" : "pairs");
    if (pairs && in->images > 1 && r.units < 20)
        aleat_metric_warn(out,
                          "an interval from %" PRId64
                          " images: the pixels of one err together, and "
                          "fewer than 20 are likely to give too narrow a one",
                          r.units);
    if (!pairs && !in->a && !in->b)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "an interval needs features; statistics alone "
                          "cannot be resampled");
    r.values = aleat_calloc((size_t)(r.n_draws + r.n_left), (size_t)r.n_values * sizeof(double));
    r.status = aleat_calloc((size_t)threads, sizeof *r.status);
    r.errors = aleat_calloc((size_t)threads, sizeof *r.errors);
    aleat_status st =
        r.values && r.status && r.errors ? ALEAT_OK : aleat_fail_memory(err, "intervals");
    if (!st && metric->prepare)
        st = metric->prepare(&r.state, task, err);
    if (!st)
        aleat_parallel_for(threads, r.n_draws + r.n_left, resample_range, &r);
    for (int t = 0; !st && t < threads; t++)
        if (r.status[t]) {
            st = r.status[t];
            if (err)
                *err = r.errors[t];
            aleat_error_in(err, "in a resample");
        }
    if (!st)
        set_intervals(out, &r);
    if (r.state)
        metric->release(r.state);
    aleat_free(r.values);
    aleat_free(r.status);
    aleat_free(r.errors);
    return st;
}
