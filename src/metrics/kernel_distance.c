#include "metrics/kernel_distance.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/rng.h"

// Sums of k over the columns, for each row: added up in order afterwards, whatever the threads.
typedef struct kernel_sums {
    double *row; // [n]
    double gamma;
    bool upper; // only columns behind the row's own number
} kernel_sums;

static void add_tile(void *ctx, const aleat_product_tile *tile)
{
    const kernel_sums *sums = ctx;
    for (int64_t i = 0; i < tile->rows; i++) {
        const int64_t behind = tile->row + i + 1 - tile->col; // first column to count, if upper
        double sum = 0;
        for (int64_t j = sums->upper && behind > 0 ? behind : 0; j < tile->cols; j++) {
            const double base = tile->values[i * tile->ld + j] * sums->gamma + 1;
            sum += base * base * base;
        }
        sums->row[tile->row + i] += sum;
    }
}

// Mean of k over all pairs of rows, or over pairs of different rows if b is a.
static aleat_status mean_kernel(double *mean, const aleat_rows *a, const aleat_rows *b, int threads,
                                aleat_error *err)
{
    const bool within = a == b;
    kernel_sums sums = {aleat_calloc((size_t)a->n, sizeof(double)), 1 / (double)a->d, within};
    aleat_status st = sums.row ? ALEAT_OK : aleat_fail_memory(err, "a kernel distance");
    if (!st)
        st = aleat_row_products(a, b, within, threads, add_tile, &sums, err);
    *mean = 0;
    for (int64_t i = 0; !st && i < a->n; i++)
        *mean += sums.row[i];
    *mean /= within ? 0.5 * (double)a->n * (double)(a->n - 1) : (double)a->n * (double)b->n;
    aleat_free(sums.row);
    return st;
}

aleat_status aleat_kernel_distance(double *out, const aleat_rows *a, const aleat_rows *b,
                                   int threads, aleat_error *err)
{
    double within_a = 0, within_b = 0, between = 0;
    aleat_status st = mean_kernel(&within_a, a, a, threads, err);
    if (!st)
        st = mean_kernel(&within_b, b, b, threads, err);
    const aleat_rows other = *b; // a set compared with itself still has pairs i = j between
    if (!st)
        st = mean_kernel(&between, a, &other, threads, err);
    *out = within_a + within_b - 2 * between;
    return st;
}

/* ---- subsets --------------------------------------------------------------------------------- */

static void gather(float *to, const aleat_rows *from, const int64_t *rows, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        memcpy(to + i * from->d, from->f32 + rows[i] * from->d, (size_t)from->d * sizeof *to);
}

// Rows of side `side` in subset s: given ones, or the head of a permutation in `scratch` [n].
static const int64_t *choose_rows(const aleat_kernel_subsets *subsets, int side, int64_t s,
                                  int64_t n, int64_t *scratch)
{
    const int64_t *given = side ? subsets->b : subsets->a;
    if (given)
        return given + s * subsets->size;
    const aleat_rng_key key = {.seed = subsets->seed,
                               .purpose = ALEAT_FOR_SUBSET,
                               .image = (uint32_t)s,
                               .step = 16 + (uint32_t)side}; // resample.c has the lower ones
    aleat_rng_permutation(&key, scratch, n);
    return scratch;
}

aleat_status aleat_kernel_distance_subsets(double *mean, double *deviation, const aleat_rows *a,
                                           const aleat_rows *b, const aleat_kernel_subsets *subsets,
                                           int threads, aleat_error *err)
{
    const int64_t size = subsets->size, d = a->d, most = a->n > b->n ? a->n : b->n;
    float *xa = aleat_calloc((size_t)size, (size_t)d * sizeof *xa);
    float *xb = aleat_calloc((size_t)size, (size_t)d * sizeof *xb);
    int64_t *scratch = aleat_calloc((size_t)most, sizeof *scratch);
    double *values = aleat_calloc((size_t)subsets->count, sizeof *values);
    aleat_status st = xa && xb && scratch && values ? ALEAT_OK : aleat_fail_memory(err, "subsets");
    *mean = *deviation = 0;
    for (int64_t s = 0; !st && s < subsets->count; s++) {
        gather(xa, a, choose_rows(subsets, 0, s, a->n, scratch), size);
        gather(xb, b, choose_rows(subsets, 1, s, b->n, scratch), size);
        const aleat_rows ra = {.f32 = xa, .n = size, .d = d}, rb = {.f32 = xb, .n = size, .d = d};
        st = aleat_kernel_distance(&values[s], &ra, &rb, threads, err);
    }
    for (int64_t s = 0; !st && s < subsets->count; s++)
        *mean += values[s] / (double)subsets->count;
    for (int64_t s = 0; !st && s < subsets->count; s++)
        *deviation += (values[s] - *mean) * (values[s] - *mean) / (double)subsets->count;
    *deviation = sqrt(*deviation);
    aleat_free(xa);
    aleat_free(xb);
    aleat_free(scratch);
    aleat_free(values);
    return st;
}
