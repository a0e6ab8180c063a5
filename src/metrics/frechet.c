#include "metrics/frechet.h"

#include <float.h>
#include <inttypes.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/parallel.h"
#include "metrics/products.h"

/** Most dimensions: LAPACK counts elements in 32 bits. */
#define MAX_DIMENSIONS 32768

// A covariance as rows^T rows, and what is needed beside it.
typedef struct factor {
    double *rows; // [rank,d]
    double *mean; // [d]
    int64_t rank, d;
    double trace, negative;
} factor;

static void factor_clear(factor *f)
{
    aleat_free(f->rows);
    aleat_free(f->mean);
}

static aleat_status fail_lapack(lapack_int info, const char *routine, aleat_error *err)
{
    return aleat_fail(err, ALEAT_ERR_NUMERIC,
                      "LAPACK's %s failed with %d: the numbers are not "
                      "finite, or too large",
                      routine, (int)info);
}

// Eigenvalues of a symmetric matrix, ascending; the matrix is overwritten.
static aleat_status eigenvalues(double *values, double *matrix, int64_t n, aleat_error *err)
{
    const lapack_int info =
        LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'N', 'L', (lapack_int)n, matrix, (lapack_int)n, values);
    return info ? fail_lapack(info, "dsyevd", err) : ALEAT_OK;
}

/* ---- factors --------------------------------------------------------------------------------- */

// Fewer vectors than dimensions: the centred vectors over sqrt(n - 1).
static aleat_status factor_features(factor *f, const float *x, int64_t n, int64_t d,
                                    aleat_error *err)
{
    f->rows = aleat_calloc((size_t)n, (size_t)d * sizeof *f->rows);
    f->mean = aleat_calloc((size_t)d, sizeof *f->mean);
    if (!f->rows || !f->mean)
        return aleat_fail_memory(err, "a covariance");
    f->rank = n;
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < d; k++)
            f->mean[k] += (double)x[i * d + k];
    for (int64_t k = 0; k < d; k++)
        f->mean[k] /= (double)n;
    const double scale = 1 / sqrt((double)(n - 1));
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < d; k++) {
            const double v = scale * ((double)x[i * d + k] - f->mean[k]);
            f->rows[i * d + k] = v;
            f->trace += v * v;
        }
    return ALEAT_OK;
}

// The most negative eigenvalue: within single precision it is noted, beyond that an error.
static aleat_status note_negative(factor *f, const double *covariance, aleat_error *err)
{
    const size_t bytes = (size_t)(f->d * f->d) * sizeof(double);
    double *copy = aleat_alloc(bytes), *values = aleat_calloc((size_t)f->d, sizeof *values);
    if (!copy || !values) {
        aleat_free(copy);
        aleat_free(values);
        return aleat_fail_memory(err, "eigenvalues");
    }
    memcpy(copy, covariance, bytes);
    aleat_status st = eigenvalues(values, copy, f->d, err);
    if (!st) {
        const double least = values[0], most = values[f->d - 1];
        f->negative = fmin(least, 0);
        if (-least > 100 * (double)FLT_EPSILON * fabs(most))
            st = aleat_fail(err, ALEAT_ERR_NUMERIC,
                            "a covariance has the eigenvalue %g (its largest is %g): this is not "
                            "the covariance of anything",
                            least, most);
    }
    aleat_free(copy);
    aleat_free(values);
    return st;
}

// A matrix with negative eigenvalues leaves something that no factor explains.
static aleat_status check_remainder(factor *f, const double *covariance, int threads,
                                    aleat_error *err)
{
    const int64_t d = f->d, rank = f->rank;
    double *columns = aleat_calloc((size_t)d, (size_t)rank * sizeof *columns);
    double *product = aleat_calloc((size_t)d, (size_t)d * sizeof *product);
    aleat_status st = columns && product ? ALEAT_OK : aleat_fail_memory(err, "a covariance");
    for (int64_t r = 0; !st && r < rank; r++)
        for (int64_t k = 0; k < d; k++)
            columns[k * rank + r] = f->rows[r * d + k];
    if (!st && rank)
        st = aleat_gram_matrix(product, &(aleat_rows){.f64 = columns, .n = d, .d = rank}, threads,
                               err);
    double largest = 0, remainder = 0;
    for (int64_t i = 0; !st && i < d * d; i++) {
        largest = fmax(largest, fabs(covariance[i]));
        remainder = fmax(remainder, fabs(covariance[i] - product[i]));
    }
    // dpstrf stops at d eps; the rest is the rounding of both products
    if (!st && remainder > 16 * (double)d * DBL_EPSILON * largest)
        st = note_negative(f, covariance, err);
    aleat_free(columns);
    aleat_free(product);
    return st;
}

static aleat_status factor_covariance(factor *f, const aleat_gaussian *g, int threads,
                                      aleat_error *err)
{
    const int64_t d = g->d;
    const size_t bytes = (size_t)(d * d) * sizeof(double);
    double *a = aleat_alloc(bytes);
    lapack_int *pivot = aleat_calloc((size_t)d, sizeof *pivot), rank = 0;
    f->rows = aleat_calloc(1, bytes);
    f->mean = aleat_calloc((size_t)d, sizeof *f->mean);
    aleat_status st =
        a && pivot && f->rows && f->mean ? ALEAT_OK : aleat_fail_memory(err, "a covariance");
    if (st)
        goto done;
    memcpy(f->mean, g->mean, (size_t)d * sizeof *f->mean);
    memcpy(a, g->covariance, bytes);
    for (int64_t i = 0; i < d; i++)
        f->trace += g->covariance[i * d + i];
    // the lower triangle by columns is the upper one by rows: P^T S P = U^T U
    const lapack_int info =
        LAPACKE_dpstrf(LAPACK_COL_MAJOR, 'L', (lapack_int)d, a, (lapack_int)d, pivot, &rank, -1);
    if (info < 0) {
        st = fail_lapack(info, "dpstrf", err);
        goto done;
    }
    f->rank = rank;
    for (int64_t r = 0; r < rank; r++)
        for (int64_t k = r; k < d; k++)
            f->rows[r * d + pivot[k] - 1] = a[r * d + k];
    if (rank < d)
        st = check_remainder(f, g->covariance, threads, err);
done:
    aleat_free(a);
    aleat_free(pivot);
    return st;
}

static aleat_status factor_side(factor *f, const aleat_frechet_side *side, int threads,
                                aleat_error *err)
{
    memset(f, 0, sizeof *f);
    f->d = side->features ? side->d : side->gaussian->d;
    if (f->d < 1 || f->d > MAX_DIMENSIONS)
        return aleat_fail(err, ALEAT_ERR_SHAPE,
                          "vectors of %" PRId64 " numbers: 1 to %d are possible", f->d,
                          MAX_DIMENSIONS);
    if (side->features && side->n < 2)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "a covariance needs at least 2 vectors, there are %" PRId64, side->n);
    if (side->features && side->n <= side->d)
        return factor_features(f, side->features, side->n, side->d, err);
    if (side->gaussian)
        return factor_covariance(f, side->gaussian, threads, err);
    aleat_gaussian own;
    aleat_status st = aleat_gaussian_of(&own, side->features, side->n, side->d, threads, err);
    if (!st)
        st = factor_covariance(f, &own, threads, err);
    aleat_gaussian_clear(&own);
    return st;
}

// Both sides at once: LAPACK's part of it knows one thread only.
typedef struct sides {
    const aleat_frechet_side *side[2];
    factor factor[2];
    aleat_status status[2];
    aleat_error error[2];
} sides;

static void factor_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    sides *s = ctx;
    for (int64_t i = begin; i < end; i++)
        s->status[i] = factor_side(&s->factor[i], s->side[i], 1, &s->error[i]);
}

/* ---- the distance ---------------------------------------------------------------------------- */

// Sum of the singular values of a b^T; a has the smaller rank.
static aleat_status trace_of_root(double *trace, const factor *a, const factor *b, int threads,
                                  aleat_error *err)
{
    *trace = 0;
    if (a->rank == 0)
        return ALEAT_OK;
    double *cross = aleat_calloc((size_t)a->rank, (size_t)b->rank * sizeof *cross);
    double *gram = aleat_calloc((size_t)a->rank, (size_t)a->rank * sizeof *gram);
    double *values = aleat_calloc((size_t)a->rank, sizeof *values);
    aleat_status st =
        cross && gram && values ? ALEAT_OK : aleat_fail_memory(err, "a root of covariances");
    const aleat_rows ra = {.f64 = a->rows, .n = a->rank, .d = a->d};
    const aleat_rows rb = {.f64 = b->rows, .n = b->rank, .d = b->d};
    const aleat_rows rc = {.f64 = cross, .n = a->rank, .d = b->rank};
    if (!st)
        st = aleat_row_product_matrix(cross, &ra, &rb, threads, err);
    if (!st)
        st = aleat_gram_matrix(gram, &rc, threads, err);
    if (!st)
        st = eigenvalues(values, gram, a->rank, err);
    // a Gram matrix has no negative eigenvalues: those below zero are the rounding of zero
    for (int64_t i = 0; !st && i < a->rank; i++)
        *trace += values[i] > 0 ? sqrt(values[i]) : 0;
    aleat_free(cross);
    aleat_free(gram);
    aleat_free(values);
    return st;
}

aleat_status aleat_frechet_distance(aleat_frechet *out, const aleat_frechet_side *a,
                                    const aleat_frechet_side *b, int threads, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    sides both = {.side = {a, b}};
    threads = threads > 0 ? threads : aleat_cpu_count();
    aleat_parallel_for(threads, 2, factor_range, &both);
    factor *fa = &both.factor[0], *fb = &both.factor[1];
    aleat_status st = ALEAT_OK;
    for (int i = 0; i < 2 && !st; i++)
        if ((st = both.status[i]) && err)
            *err = both.error[i];
    if (!st && fa->d != fb->d)
        st =
            aleat_fail(err, ALEAT_ERR_SHAPE,
                       "vectors of %" PRId64 " numbers cannot be compared with vectors of %" PRId64,
                       fa->d, fb->d);
    if (!st)
        st = fa->rank <= fb->rank ? trace_of_root(&out->trace_root, fa, fb, threads, err)
                                  : trace_of_root(&out->trace_root, fb, fa, threads, err);
    for (int64_t k = 0; !st && k < fa->d; k++) {
        const double difference = fa->mean[k] - fb->mean[k];
        out->mean_term += difference * difference;
    }
    out->trace_a = fa->trace;
    out->trace_b = fb->trace;
    out->rank_a = fa->rank;
    out->rank_b = fb->rank;
    out->negative_a = fa->negative;
    out->negative_b = fb->negative;
    out->distance = out->mean_term + fa->trace + fb->trace - 2 * out->trace_root;
    factor_clear(fa);
    factor_clear(fb);
    if (!st && !isfinite(out->distance))
        st = aleat_fail(err, ALEAT_ERR_NUMERIC, "the features are not finite, or too large");
    return st;
}
