#include "metrics/ranks.h"

#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/order.h"

aleat_status aleat_mid_ranks(double *ranks, const double *x, int64_t n, aleat_error *err)
{
    int64_t *order = aleat_calloc((size_t)n, sizeof *order);
    if (!order || !aleat_order(order, x, n)) {
        aleat_free(order);
        return aleat_fail_memory(err, "ranks");
    }
    for (int64_t begin = 0, end; begin < n; begin = end) {
        end = begin + 1;
        while (end < n && x[order[end]] <= x[order[begin]])
            end++;
        for (int64_t i = begin; i < end; i++)
            ranks[order[i]] = 0.5 * (double)(begin + 1 + end);
    }
    aleat_free(order);
    return ALEAT_OK;
}

double aleat_pearson(const double *x, const double *y, int64_t n)
{
    double mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;
    for (int64_t i = 0; i < n; i++) { // about the first value: a constant has no variance at all
        mean_x += (x[i] - x[0]) / (double)n;
        mean_y += (y[i] - y[0]) / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        const double dx = x[i] - x[0] - mean_x, dy = y[i] - y[0] - mean_y;
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    return xx > 0 && yy > 0 ? xy / (sqrt(xx) * sqrt(yy)) : NAN;
}

aleat_status aleat_spearman(double *out, const double *x, const double *y, int64_t n,
                            aleat_error *err)
{
    double *ranks = aleat_calloc((size_t)n, 2 * sizeof *ranks);
    aleat_status st = ranks ? ALEAT_OK : aleat_fail_memory(err, "ranks");
    if (!st)
        st = aleat_mid_ranks(ranks, x, n, err);
    if (!st)
        st = aleat_mid_ranks(ranks + n, y, n, err);
    if (!st)
        *out = aleat_pearson(ranks, ranks + n, n);
    aleat_free(ranks);
    return st;
}

aleat_status aleat_auroc(double *out, const double *scores, const double *labels, int64_t n,
                         aleat_error *err)
{
    double *ranks = aleat_calloc((size_t)n, sizeof *ranks);
    aleat_status st = ranks ? ALEAT_OK : aleat_fail_memory(err, "ranks");
    if (!st)
        st = aleat_mid_ranks(ranks, scores, n, err);
    double positive = 0, sum = 0;
    for (int64_t i = 0; !st && i < n; i++)
        if (labels[i] != 0) {
            positive++;
            sum += ranks[i];
        }
    const double negative = (double)n - positive;
    if (!st)
        *out = positive > 0 && negative > 0
                   ? (sum - positive * (positive + 1) / 2) / (positive * negative)
                   : NAN;
    aleat_free(ranks);
    return st;
}
