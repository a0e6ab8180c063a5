#include "metrics/sparsification.h"

#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/order.h"

// Percentile t of `intervals` of -key, as numpy's percentile computes it from sorted keys; the
// pixels that stay are those with -key at or above it. Rounding matters where it falls on a key.
static double threshold(const double *sorted, int64_t n, int64_t t, int64_t intervals)
{
    const double place = (double)(n - 1) * (100.0 / (double)intervals * (double)t / 100.0);
    const double below = floor(place), share = place - below;
    const int64_t i = (int64_t)below, next = i + 1 < n ? i + 1 : n - 1;
    const double a = -sorted[n - 1 - i], b = -sorted[n - 1 - next], step = b - a;
    return share < 0.5 ? a + step * share : b - step * (1 - share);
}

// How many of the sorted keys are <= limit.
static int64_t count_up_to(const double *sorted, int64_t n, double limit)
{
    int64_t low = 0, high = n;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (sorted[middle] <= limit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// scratch: [2 n] doubles and order [n].
static aleat_status draw_curve(double *curve, const double *key, const double *squared, int64_t n,
                               int64_t intervals, double *scratch, int64_t *order, aleat_error *err)
{
    double *sorted = scratch, *sums = scratch + n, sum = 0;
    if (!aleat_order(order, key, n))
        return aleat_fail_memory(err, "sorting pixels");
    for (int64_t i = 0; i < n; i++) {
        sorted[i] = key[order[i]];
        sum += squared[order[i]];
        sums[i] = sum;
    }
    for (int64_t t = 0; t < intervals; t++) {
        const int64_t kept = count_up_to(sorted, n, -threshold(sorted, n, t, intervals));
        curve[t] = kept ? sqrt(sums[kept - 1] / (double)kept) : 0;
    }
    curve[intervals] = 0;
    return ALEAT_OK;
}

static double area_under(const double *curve, int64_t intervals)
{
    double area = 0;
    for (int64_t t = 0; t < intervals; t++)
        area += (curve[t] + curve[t + 1]) / (2 * (double)intervals);
    return area;
}

aleat_status aleat_sparsify(aleat_sparsification *out, double *sparse, double *oracle,
                            const double *uncertainty, const double *error, int64_t n,
                            int64_t intervals, aleat_error *err)
{
    *out = (aleat_sparsification){0};
    if (n < 1 || intervals < 1 || intervals > ALEAT_SPARSIFICATION_MAX)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%lld pixels in %lld intervals: at least one pixel and 1 to %d intervals "
                          "are needed",
                          (long long)n, (long long)intervals, ALEAT_SPARSIFICATION_MAX);
    double own[2][ALEAT_SPARSIFICATION_MAX + 1];
    sparse = sparse ? sparse : own[0];
    oracle = oracle ? oracle : own[1];
    double *scratch = aleat_calloc((size_t)n, 3 * sizeof *scratch), *squared = scratch + 2 * n;
    int64_t *order = aleat_calloc((size_t)n, sizeof *order);
    aleat_status st = scratch && order ? ALEAT_OK : aleat_fail_memory(err, "sorting pixels");
    double sum = 0;
    for (int64_t i = 0; !st && i < n; i++) {
        squared[i] = error[i] * error[i];
        sum += squared[i];
    }
    if (!st)
        st = draw_curve(sparse, uncertainty, squared, n, intervals, scratch, order, err);
    if (!st)
        st = draw_curve(oracle, squared, squared, n, intervals, scratch, order, err);
    if (!st) {
        out->rmse = sqrt(sum / (double)n);
        out->ause = area_under(sparse, intervals) - area_under(oracle, intervals);
        out->aurg = out->rmse - area_under(sparse, intervals);
        out->aurg_closed = out->aurg - out->rmse / (2 * (double)intervals);
    }
    aleat_free(scratch);
    aleat_free(order);
    return st;
}
