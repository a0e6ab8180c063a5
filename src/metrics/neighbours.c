#include "metrics/neighbours.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/*
 * |x|^2 + |y|^2 - 2 x.y differs from the sum of squared differences by at most this times
 * |x|^2 + |y|^2: (d + 8) eps for the product and each of the norms (2 |x.y| <= |x|^2 + |y|^2), and
 * twice that for the sum of differences itself, whose terms may reach 2 (|x|^2 + |y|^2).
 */
static double doubt_of(int64_t d)
{
    return 4 * (double)(d + 8) * DBL_EPSILON;
}

static double *norms_of(const aleat_rows *x)
{
    double *norms = aleat_calloc((size_t)x->n, sizeof *norms);
    for (int64_t i = 0; norms && i < x->n; i++)
        for (int64_t k = 0; k < x->d; k++)
            norms[i] += aleat_rows_at(x, i, k) * aleat_rows_at(x, i, k);
    return norms;
}

/* ---- radii ----------------------------------------------------------------------------------- */

typedef struct radii_job {
    const aleat_rows *x;
    const double *norms;
    double *radii; // [n,count], each row ascending
    int64_t count;
    double doubt;
} radii_job;

static void insert(double *sorted, int64_t count, double value)
{
    int64_t i = count - 1;
    if (!(value < sorted[i]))
        return;
    for (; i > 0 && value < sorted[i - 1]; i--)
        sorted[i] = sorted[i - 1];
    sorted[i] = value;
}

static void collect_radii(void *ctx, const aleat_product_tile *tile)
{
    const radii_job *job = ctx;
    for (int64_t i = 0; i < tile->rows; i++) {
        const int64_t row = tile->row + i;
        double *nearest = job->radii + row * job->count;
        for (int64_t j = 0; j < tile->cols; j++) {
            const int64_t col = tile->col + j;
            const double norms = job->norms[row] + job->norms[col];
            const double about = norms - 2 * tile->values[i * tile->ld + j];
            if (about - job->doubt * norms <= nearest[job->count - 1] && col != row)
                insert(nearest, job->count, aleat_squared_distance(job->x, row, job->x, col));
        }
    }
}

aleat_status aleat_neighbour_radii(double *radii, const aleat_rows *x, int64_t count, int threads,
                                   aleat_error *err)
{
    double *norms = norms_of(x);
    if (!norms)
        return aleat_fail_memory(err, "distances");
    for (int64_t i = 0; i < x->n * count; i++)
        radii[i] = INFINITY;
    radii_job job = {x, norms, radii, count, doubt_of(x->d)};
    aleat_status st = aleat_row_products(x, x, false, threads, collect_radii, &job, err);
    aleat_free(norms);
    return st;
}

/* ---- overlap --------------------------------------------------------------------------------- */

// Flags of a vector: lies in some ball of the other set.
enum { IN_CLOSED = 1, IN_OPEN = 2 };

typedef struct overlap_job {
    const aleat_rows *real, *fake;
    const double *real_norms, *fake_norms, *real_radii, *fake_radii;
    int64_t stride, k, k_density; // radii are [n,stride]
    double doubt;
    uint8_t *real_in, *fake_in; // fake's are set by several threads at once
    int64_t *inside;            // [real.n] fake vectors in the open ball of k_density
} overlap_job;

static void compare_pair(const overlap_job *job, int64_t r, int64_t f, double product)
{
    const double around = job->real_radii[r * job->stride + job->k - 1];
    const double wide = job->real_radii[r * job->stride + job->k_density - 1];
    const double back = job->fake_radii[f * job->stride + job->k - 1];
    const double norms = job->real_norms[r] + job->fake_norms[f], doubt = job->doubt * norms;
    double distance = norms - 2 * product;
    if (fabs(distance - around) <= doubt || fabs(distance - wide) <= doubt ||
        fabs(distance - back) <= doubt)
        distance = aleat_squared_distance(job->real, r, job->fake, f);
    if (distance <= around)
        (void)__atomic_fetch_or(&job->fake_in[f], IN_CLOSED | (distance < around ? IN_OPEN : 0),
                                __ATOMIC_RELAXED);
    if (distance <= back)
        job->real_in[r] |= IN_CLOSED | (distance < back ? IN_OPEN : 0);
    job->inside[r] += distance < wide;
}

static void compare_tile(void *ctx, const aleat_product_tile *tile)
{
    const overlap_job *job = ctx;
    for (int64_t i = 0; i < tile->rows; i++)
        for (int64_t j = 0; j < tile->cols; j++)
            compare_pair(job, tile->row + i, tile->col + j, tile->values[i * tile->ld + j]);
}

static double share_with(const uint8_t *flags, int64_t n, int flag)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        count += (flags[i] & flag) != 0;
    return (double)count / (double)n;
}

static void summarise(aleat_overlap *out, const overlap_job *job)
{
    int64_t pairs = 0, covered = 0;
    for (int64_t i = 0; i < job->real->n; i++) {
        pairs += job->inside[i];
        covered += job->inside[i] > 0;
    }
    *out = (aleat_overlap){
        .precision = share_with(job->fake_in, job->fake->n, IN_CLOSED),
        .recall = share_with(job->real_in, job->real->n, IN_CLOSED),
        .precision_open = share_with(job->fake_in, job->fake->n, IN_OPEN),
        .recall_open = share_with(job->real_in, job->real->n, IN_OPEN),
        .density = (double)pairs / ((double)job->k_density * (double)job->fake->n),
        .coverage = (double)covered / (double)job->real->n,
    };
}

aleat_status aleat_neighbour_overlap(aleat_overlap *out, const aleat_rows *real,
                                     const aleat_rows *fake, int64_t k, int64_t k_density,
                                     int threads, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    const int64_t stride = k > k_density ? k : k_density;
    double *real_norms = norms_of(real), *fake_norms = norms_of(fake);
    double *real_radii = aleat_calloc((size_t)real->n, (size_t)stride * sizeof(double));
    double *fake_radii = aleat_calloc((size_t)fake->n, (size_t)stride * sizeof(double));
    uint8_t *real_in = aleat_calloc((size_t)real->n, 1);
    uint8_t *fake_in = aleat_calloc((size_t)fake->n, 1);
    int64_t *inside = aleat_calloc((size_t)real->n, sizeof *inside);
    aleat_status st = ALEAT_OK;
    if (!real_norms || !fake_norms || !real_radii || !fake_radii || !real_in || !fake_in || !inside)
        st = aleat_fail_memory(err, "distances");
    overlap_job job = {real,       fake,    real_norms, fake_norms, real_radii,
                       fake_radii, stride,  k,          k_density,  doubt_of(real->d),
                       real_in,    fake_in, inside};
    if (!st)
        st = aleat_neighbour_radii(real_radii, real, stride, threads, err);
    if (!st)
        st = aleat_neighbour_radii(fake_radii, fake, stride, threads, err);
    if (!st)
        st = aleat_row_products(real, fake, false, threads, compare_tile, &job, err);
    if (!st)
        summarise(out, &job);
    aleat_free(real_norms);
    aleat_free(fake_norms);
    aleat_free(real_radii);
    aleat_free(fake_radii);
    aleat_free(real_in);
    aleat_free(fake_in);
    aleat_free(inside);
    return st;
}
