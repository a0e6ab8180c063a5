#include "kernels/norm.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/parallel.h"

/** Rows whose sums are made together: fixed, so that the order of additions is. */
enum { CHUNK_ROWS = 128 };

static size_t align_up(size_t n)
{
    return (n + ALEAT_ALIGN - 1) / ALEAT_ALIGN * ALEAT_ALIGN;
}

static int64_t chunks_of(const aleat_groupnorm *g)
{
    return (g->rows + CHUNK_ROWS - 1) / CHUNK_ROWS;
}

/** All arrays of a run; per image unless said. */
typedef struct norm_job {
    const aleat_kernels *k;
    const aleat_groupnorm *g;
    const float *x, *dy; // dy: the cotangent, or the tangent of x in forward mode
    float *y;
    int64_t dy_ld;
    double *sums;      // [images, chunks, 2, c]
    float *a, *b;      // y = act(x a + b); these four: c numbers an image, `ld` apart
    float *mean, *inv; // of the channel's group: its mean, and 1 / sqrt(var + eps)
    int64_t ld;
    float *p, *q;  // [images, c], gradient only: dx = u + x p + q, see below
    float *one;    // [images, c], gradient only: ones
    float *dparam; // [images, 2 c], gradient only: [dgamma | dbeta], or NULL
} norm_job;

size_t aleat_groupnorm_scratch(const aleat_groupnorm *g)
{
    return align_up((size_t)(g->images * chunks_of(g) * 2 * g->c) * sizeof(double)) +
           7 * align_up((size_t)(g->images * g->c) * sizeof(float));
}

/** The moments go to `moments`, or are there, or are kept in the scratch if that is NULL. */
static norm_job job_of(const aleat_kernels *k, const aleat_groupnorm *g, float *moments,
                       void *scratch)
{
    norm_job job = {.k = k, .g = g, .ld = g->c, .sums = scratch};
    char *next =
        (char *)scratch + align_up((size_t)(g->images * chunks_of(g) * 2 * g->c) * sizeof(double));
    float **const arrays[] = {&job.a, &job.b, &job.mean, &job.p, &job.q, &job.inv, &job.one};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        *arrays[i] = (float *)(void *)next;
        next += align_up((size_t)(g->images * g->c) * sizeof(float));
    }
    if (moments) {
        job.ld = ALEAT_GROUPNORM_MOMENTS * g->c;
        job.a = moments;
        job.b = moments + g->c;
        job.mean = moments + 2 * g->c;
        job.inv = moments + 3 * g->c;
    }
    return job;
}

/** Unit u is a chunk of an image: where it starts and how many rows it has. */
static int64_t unit_rows(const norm_job *job, int64_t u, int64_t *image, int64_t *first)
{
    const int64_t chunks = chunks_of(job->g);
    *image = u / chunks;
    *first = u % chunks * CHUNK_ROWS;
    const int64_t left = job->g->rows - *first;
    return left < CHUNK_ROWS ? left : CHUNK_ROWS;
}

static double *unit_sums(const norm_job *job, int64_t u)
{
    double *sums = job->sums + u * 2 * job->g->c;
    memset(sums, 0, (size_t)(2 * job->g->c) * sizeof *sums);
    return sums;
}

static void moments_of_units(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const norm_job *job = ctx;
    const aleat_groupnorm *g = job->g;
    for (int64_t u = begin; u < end; u++) {
        int64_t image, first;
        const int64_t rows = unit_rows(job, u, &image, &first);
        const float *x = job->x + image * g->rows * g->x_ld;
        double *sums = unit_sums(job, u);
        job->k->moments(x + first * g->x_ld, g->x_ld, rows, g->c, x, sums, sums + g->c);
    }
}

/** Sums of channel c over an image's chunks, in their order. */
static void channel_sums(const norm_job *job, int64_t image, int64_t c, double *s, double *t)
{
    const int64_t chunks = chunks_of(job->g);
    *s = *t = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const double *sums = job->sums + (image * chunks + chunk) * 2 * job->g->c;
        *s += sums[c];
        *t += sums[job->g->c + c];
    }
}

/** Mean and variance of a group; the sums are about each channel's pivot, its first pixel. */
static void group_moments(const norm_job *job, int64_t image, int64_t group, double *mean,
                          double *var)
{
    const aleat_groupnorm *g = job->g;
    const int64_t width = g->c / g->groups;
    const float *pivot = job->x + image * g->rows * g->x_ld;
    const double n = (double)g->rows;
    double total = 0, spread = 0;
    for (int64_t c = group * width; c < (group + 1) * width; c++) {
        double s, t;
        channel_sums(job, image, c, &s, &t);
        total += s + n * (double)pivot[c];
    }
    *mean = total / (n * (double)width);
    for (int64_t c = group * width; c < (group + 1) * width; c++) {
        double s, t;
        channel_sums(job, image, c, &s, &t);
        const double d = (double)pivot[c] - *mean;
        spread += t + 2 * d * s + n * d * d;
    }
    *var = spread / (n * (double)width);
    if (*var < 0) // rounding of a constant group
        *var = 0;
}

/** Makes y = act(x a + b) for images [begin, end). */
static void coefficients_of_images(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const norm_job *job = ctx;
    const aleat_groupnorm *g = job->g;
    const int64_t width = g->c / g->groups;
    for (int64_t u = begin * g->groups; u < end * g->groups; u++) {
        const int64_t image = u / g->groups, group = u % g->groups;
        double mean, var;
        group_moments(job, image, group, &mean, &var);
        const double inv = 1 / sqrt(var + g->eps);
        for (int64_t c = group * width; c < (group + 1) * width; c++) {
            const float *ss = g->scale_shift ? g->scale_shift + image * g->ss_ld : NULL;
            const double scale = ss ? 1 + (double)ss[c] : 1;
            const double shift = ss ? (double)ss[g->c + c] : 0;
            const double gamma = (g->gamma ? (double)g->gamma[c] : 1) * scale;
            const double beta = (g->beta ? (double)g->beta[c] : 0) * scale + shift;
            const int64_t i = image * job->ld + c;
            job->a[i] = (float)(gamma * inv);
            job->b[i] = (float)(beta - mean * gamma * inv);
            job->mean[i] = (float)mean;
            job->inv[i] = (float)inv;
        }
    }
}

static void apply_to_units(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const norm_job *job = ctx;
    const aleat_groupnorm *g = job->g;
    for (int64_t u = begin; u < end; u++) {
        int64_t image, first;
        const int64_t rows = unit_rows(job, u, &image, &first);
        const int64_t row = image * g->rows + first;
        job->k->scale_rows(job->x + row * g->x_ld, g->x_ld, job->y + row * g->y_ld, g->y_ld, rows,
                           g->c, job->a + image * job->ld, job->b + image * job->ld, g->act);
    }
}

/** One part of the work: fn over units, or over images. */
typedef struct norm_phase {
    aleat_range_fn *fn;
    bool by_image;
} norm_phase;

typedef struct phases_job {
    norm_job *job;
    const norm_phase *phases; // up to one without a function
    int64_t first;            // image
} phases_job;

/** All phases of one image after the other: it is in the cache then. */
static void whole_images(void *ctx, int64_t begin, int64_t end, int thread)
{
    const phases_job *p = ctx;
    const int64_t chunks = chunks_of(p->job->g);
    for (int64_t image = begin; image < end; image++)
        for (const norm_phase *phase = p->phases; phase->fn; phase++) {
            const int64_t n = phase->by_image ? 1 : chunks;
            phase->fn(p->job, image * n, (image + 1) * n, thread);
        }
}

/** Units or images of one phase, counted from the first image on. */
static void part_of_phase(void *ctx, int64_t begin, int64_t end, int thread)
{
    const phases_job *p = ctx;
    const int64_t first = p->first * (p->phases->by_image ? 1 : chunks_of(p->job->g));
    p->phases->fn(p->job, first + begin, first + end, thread);
}

/** Whole images to the threads as long as each gets one; of the rest the parts. */
static void run_phases(norm_job *job, const norm_phase *phases, int threads)
{
    const aleat_groupnorm *g = job->g;
    const int64_t whole = threads > 1 ? g->images / threads * threads : g->images;
    phases_job p = {job, phases, whole};
    aleat_parallel_for(threads, whole, whole_images, &p);
    for (; p.phases->fn && whole < g->images; p.phases++) {
        const int64_t n = p.phases->by_image ? 1 : chunks_of(g);
        aleat_parallel_for(threads, (g->images - whole) * n, part_of_phase, &p);
    }
}

void aleat_groupnorm_run(const aleat_kernels *k, const aleat_groupnorm *g, const float *x, float *y,
                         float *moments, void *scratch, int threads)
{
    norm_job job = job_of(k, g, moments, scratch);
    job.x = x;
    job.y = y;
    static const norm_phase phases[] = {
        {moments_of_units, false}, {coefficients_of_images, true}, {apply_to_units, false}, {0}};
    run_phases(&job, phases, threads);
}

/* ---- gradient ---------------------------------------------------------------------------------
 */

static void grad_of_units(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const norm_job *job = ctx;
    const aleat_groupnorm *g = job->g;
    for (int64_t u = begin; u < end; u++) {
        int64_t image, first;
        const int64_t rows = unit_rows(job, u, &image, &first);
        const int64_t row = image * g->rows + first, at = image * job->ld;
        double *sums = unit_sums(job, u);
        job->k->scale_rows_grad(job->x + row * g->x_ld, g->x_ld, job->dy + row * job->dy_ld,
                                job->dy_ld, job->y + row * g->y_ld, g->y_ld, rows, g->c,
                                job->a + at, job->b + at, job->mean + at, g->act, sums,
                                sums + g->c);
    }
}

/** dx = u - mean(u) - (x - m) inv^2 mean(u (x - m)) =: u + x p + q, per group. */
static void grad_coefficients(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const norm_job *job = ctx;
    const aleat_groupnorm *g = job->g;
    const int64_t width = g->c / g->groups;
    const double n = (double)(g->rows * width);
    for (int64_t u = begin * g->groups; u < end * g->groups; u++) {
        const int64_t image = u / g->groups, group = u % g->groups;
        double sum_u = 0, sum_ux = 0;
        for (int64_t c = group * width; c < (group + 1) * width; c++) {
            double s, t;
            channel_sums(job, image, c, &s, &t);
            const double a = (double)job->a[image * job->ld + c];
            sum_u += a * s;
            sum_ux += a * t;
            if (job->dparam) { // the normalised input is (x - mean) inv
                float *d = job->dparam + image * 2 * g->c + c;
                d[0] = (float)(t * (double)job->inv[image * job->ld + c]);
                d[g->c] = (float)s;
            }
        }
        for (int64_t c = group * width; c < (group + 1) * width; c++) {
            const int64_t i = image * g->c + c;
            const double inv = (double)job->inv[image * job->ld + c];
            const double p = -inv * inv * sum_ux / n;
            job->p[i] = (float)p;
            job->q[i] = (float)(-sum_u / n - (double)job->mean[image * job->ld + c] * p);
            job->one[i] = 1;
        }
    }
}

static void finish_grad_units(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const norm_job *job = ctx;
    const aleat_groupnorm *g = job->g;
    for (int64_t u = begin; u < end; u++) {
        int64_t image, first;
        const int64_t rows = unit_rows(job, u, &image, &first);
        const int64_t row = image * g->rows + first, at = image * g->c;
        float *dx = job->y + row * g->y_ld;
        job->k->scale_rows_jvp(job->x + row * g->x_ld, g->x_ld, dx, g->y_ld, dx, g->y_ld, rows,
                               g->c, job->one + at, job->one + at, job->p + at, job->q + at,
                               ALEAT_FN_IDENTITY);
    }
}

void aleat_groupnorm_grad(const aleat_kernels *k, const aleat_groupnorm *g, const float *x,
                          const float *moments, const float *dy, int64_t dy_ld, float *dx,
                          float *dparam, void *scratch, int threads)
{
    // not written when they are there
    norm_job job = job_of(k, g, (float *)(uintptr_t)moments, scratch);
    job.x = x;
    job.y = dx;
    job.dy = dy;
    job.dy_ld = dy_ld;
    job.dparam = dparam;
    static const norm_phase phases[] = {{moments_of_units, false},  {coefficients_of_images, true},
                                        {grad_of_units, false},     {grad_coefficients, true},
                                        {finish_grad_units, false}, {0}};
    run_phases(&job, moments ? phases + 2 : phases, threads);
}

/* ---- tangent ----------------------------------------------------------------------------------
 */

static void cross_moments_of_units(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const norm_job *job = ctx;
    const aleat_groupnorm *g = job->g;
    for (int64_t u = begin; u < end; u++) {
        int64_t image, first;
        const int64_t rows = unit_rows(job, u, &image, &first);
        const int64_t row = image * g->rows + first;
        double *sums = unit_sums(job, u);
        job->k->cross_moments(job->x + row * g->x_ld, g->x_ld, job->dy + row * job->dy_ld,
                              job->dy_ld, rows, g->c, job->mean + image * g->c, sums, sums + g->c);
    }
}

/** a (t - mean(t) - (x - m) inv^2 mean(t (x - m))) =: t a + x p + q, per group. */
static void tangent_coefficients(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const norm_job *job = ctx;
    const aleat_groupnorm *g = job->g;
    const int64_t width = g->c / g->groups;
    const double n = (double)(g->rows * width);
    for (int64_t u = begin * g->groups; u < end * g->groups; u++) {
        const int64_t image = u / g->groups, group = u % g->groups;
        double sum_t = 0, sum_tx = 0;
        for (int64_t c = group * width; c < (group + 1) * width; c++) {
            double s, t;
            channel_sums(job, image, c, &s, &t);
            sum_t += s;
            sum_tx += t;
        }
        for (int64_t c = group * width; c < (group + 1) * width; c++) {
            const int64_t i = image * g->c + c;
            const double a = (double)job->a[i], inv = (double)job->inv[i];
            const double p = -a * inv * inv * sum_tx / n;
            job->p[i] = (float)p;
            job->q[i] = (float)(-a * sum_t / n - (double)job->mean[i] * p);
        }
    }
}

static void apply_tangent_to_units(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const norm_job *job = ctx;
    const aleat_groupnorm *g = job->g;
    for (int64_t u = begin; u < end; u++) {
        int64_t image, first;
        const int64_t rows = unit_rows(job, u, &image, &first);
        const int64_t row = image * g->rows + first, at = image * g->c;
        job->k->scale_rows_jvp(job->x + row * g->x_ld, g->x_ld, job->dy + row * job->dy_ld,
                               job->dy_ld, job->y + row * g->y_ld, g->y_ld, rows, g->c, job->a + at,
                               job->b + at, job->p + at, job->q + at, g->act);
    }
}

void aleat_groupnorm_jvp(const aleat_kernels *k, const aleat_groupnorm *g, const float *x,
                         const float *t, int64_t t_ld, float *y, void *scratch, int threads)
{
    norm_job job = job_of(k, g, NULL, scratch);
    job.x = x;
    job.y = y;
    job.dy = t;
    job.dy_ld = t_ld;
    static const norm_phase phases[] = {
        {moments_of_units, false},       {coefficients_of_images, true},
        {cross_moments_of_units, false}, {tangent_coefficients, true},
        {apply_tangent_to_units, false}, {0}};
    run_phases(&job, phases, threads);
}

/* ---- layer norm -------------------------------------------------------------------------------
 */

typedef struct layer_job {
    const aleat_kernels *k;
    int64_t c, x_ld, y_ld;
    const float *x, *gamma, *beta;
    float *y, eps;
    bool centre;
} layer_job;

static void normalize_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const layer_job *j = ctx;
    j->k->normalize_rows(j->x + begin * j->x_ld, j->x_ld, j->y + begin * j->y_ld, j->y_ld,
                         end - begin, j->c, j->gamma, j->beta, j->eps, j->centre);
}

void aleat_layernorm_run(const aleat_kernels *k, int64_t rows, int64_t c, const float *x,
                         int64_t x_ld, float *y, int64_t y_ld, const float *gamma,
                         const float *beta, float eps, bool centre, int threads)
{
    layer_job job = {k, c, x_ld, y_ld, x, gamma, beta, y, eps, centre};
    aleat_parallel_for(threads, rows, normalize_range, &job);
}

typedef struct jacobian_job {
    const aleat_kernels *k;
    const aleat_layernorm_rows *r;
    const float *pre, *post;
} jacobian_job;

static void jacobian_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const jacobian_job *j = ctx;
    const aleat_layernorm_rows *r = j->r;
    j->k->normalize_rows_jacobian(r->x + begin * r->x_ld, r->x_ld, r->t + begin * r->t_ld, r->t_ld,
                                  r->y + begin * r->y_ld, r->y_ld, end - begin, r->c, j->pre,
                                  j->post, r->eps, r->centre);
}

void aleat_layernorm_jacobian(const aleat_kernels *k, const aleat_layernorm_rows *r,
                              const float *pre, const float *post, int threads)
{
    jacobian_job job = {k, r, pre, post};
    aleat_parallel_for(threads, r->rows, jacobian_range, &job);
}
