#include "kernels/winograd_grad.h"

#include <string.h>

#include "base/alloc.h"
#include "base/parallel.h"

enum {
    MR = ALEAT_MICRO_ROWS,
    POINTS = 36,
    TILE = 4,       // output pixels of a tile, each way
    PATCH = 6,      // input pixels of a tile, each way
    SKEW = 16,      // floats between planes, so that 36 stores do not fall on one cache set
    MIN_GROUP = 96, // tiles: the sums of all points are read and written once a group
    MAX_VLEN = 16,
};

/** Bytes of a group's transformed tiles, and of the sums: parts of the last-level cache. */
#define GROUP_BYTES ((int64_t)4 << 20)
#define SUMS_BYTES  ((int64_t)32 << 20)

typedef struct wino_grad_job {
    const aleat_kernels *k;
    aleat_weight_grad g; // c_in: of a slice
    const float *x, *dy;
    float *dw;
    int64_t dw_ld; // floats between the filters of neighbouring outputs
    int64_t tiles_x, tiles_per_image, tiles;
    int64_t group; // tiles
    // vectors of channels of the group's tiles, transformed: [points][c / vlen][group][vlen]
    float *v, *m;
    int64_t v_plane, m_plane, step; // step: between vectors of channels
    float *sums;                    // [points][c_in][c_out]
    int64_t sums_plane;
    float *zeros;
} wino_grad_job;

static size_t align_up(size_t n)
{
    return (n + ALEAT_ALIGN - 1) / ALEAT_ALIGN * ALEAT_ALIGN;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

bool aleat_winograd_grad_fits(const aleat_kernels *k, const aleat_weight_grad *g)
{
    return g->kernel_h == 3 && g->kernel_w == 3 && g->stride == 1 && g->c_in % k->vlen == 0 &&
           g->c_out % k->vlen == 0 && g->out_h * g->out_w >= TILE * TILE;
}

/** Input channels whose sums are made at once: the tiles of dy are transformed again for more. */
static int64_t slice_of(const aleat_kernels *k, const aleat_weight_grad *g)
{
    const int64_t fit = SUMS_BYTES / (POINTS * g->c_out * (int64_t)sizeof(float)) / k->vlen;
    const int64_t most = (fit ? fit : 1) * k->vlen;
    return g->c_in < most ? g->c_in : most;
}

/** The sizes of a job for g's input channels, and bytes of its parts: v, m, sums, zeros. */
static wino_grad_job job_of(const aleat_kernels *k, const aleat_weight_grad *g, size_t bytes[4])
{
    wino_grad_job job = {.k = k, .g = *g};
    const int64_t c = g->c_in + g->c_out;
    job.tiles_x = ceil_div(g->out_w, TILE);
    job.tiles_per_image = job.tiles_x * ceil_div(g->out_h, TILE);
    job.tiles = job.tiles_per_image * g->images;
    const int64_t fit = GROUP_BYTES / (POINTS * c * (int64_t)sizeof(float));
    const int64_t most = fit < MIN_GROUP ? MIN_GROUP : fit;
    job.group = ceil_div(job.tiles, ceil_div(job.tiles, most)); // groups of equal size
    job.step = job.group * k->vlen;
    job.v_plane = g->c_in * job.group + SKEW;
    job.m_plane = g->c_out * job.group + SKEW;
    job.sums_plane = g->c_in * g->c_out + SKEW;
    bytes[0] = align_up((size_t)(POINTS * job.v_plane) * sizeof(float));
    bytes[1] = align_up((size_t)(POINTS * job.m_plane) * sizeof(float));
    bytes[2] = align_up((size_t)(POINTS * job.sums_plane) * sizeof(float));
    bytes[3] = align_up((size_t)(g->c_in > g->c_out ? g->c_in : g->c_out) * sizeof(float));
    return job;
}

/** Pointers to the side x side pixels from (y0, x0) on; zeros outside the image. */
static void patch_rows(const wino_grad_job *job, const float *image, int64_t h, int64_t w,
                       int64_t ld, int64_t y0, int64_t x0, int side, const float **rows)
{
    for (int p = 0; p < side * side; p++) {
        const int64_t y = y0 + p / side, x = x0 + p % side;
        const bool inside = y >= 0 && x >= 0 && y < h && x < w;
        rows[p] = inside ? image + (y * w + x) * ld : job->zeros;
    }
}

/** Transforms tiles [begin, end) of the group that starts at tile `first`. */
static void transform(const wino_grad_job *job, int64_t first, int64_t begin, int64_t end)
{
    const aleat_weight_grad *g = &job->g;
    const aleat_kernels *k = job->k;
    const float *rows[POINTS];
    for (int64_t i = begin; i < end; i++) {
        const int64_t image = (first + i) / job->tiles_per_image;
        const int64_t in_image = (first + i) % job->tiles_per_image;
        const int64_t y0 = in_image / job->tiles_x * TILE, x0 = in_image % job->tiles_x * TILE;
        const float *x = job->x + image * g->in_h * g->in_w * g->x_ld;
        const float *dy = job->dy + image * g->out_h * g->out_w * g->dy_ld;
        patch_rows(job, x, g->in_h, g->in_w, g->x_ld, y0 - g->pad_top, x0 - g->pad_left, PATCH,
                   rows);
        k->wino_input(rows, g->c_in, job->v + i * k->vlen, job->v_plane, job->step);
        patch_rows(job, dy, g->out_h, g->out_w, g->dy_ld, y0, x0, TILE, rows);
        k->wino_output_adjoint(rows, g->c_out, job->m + i * k->vlen, job->m_plane, job->step);
    }
}

/** Products at one point for one vector of input channels, over `count` tiles. */
static void multiply(const wino_grad_job *job, int64_t point, int64_t vector, int64_t count,
                     bool add)
{
    const aleat_kernels *k = job->k;
    const int64_t c_out = job->g.c_out, blocks = ceil_div(k->vlen, MR);
    const float *v = job->v + point * job->v_plane + vector * job->step;
    float *sums = job->sums + point * job->sums_plane + vector * k->vlen * c_out;
    for (int64_t col = 0; col < c_out; col += k->panel) {
        const int64_t left = c_out - col;
        const int nv = (int)((left < k->panel ? left : k->panel) / k->vlen);
        const float *m = job->m + point * job->m_plane + col / k->vlen * job->step;
        for (int64_t b = 0; b < blocks; b++) {
            int64_t i, last; // row counts differ by one at most
            aleat_split(k->vlen, (int)b, (int)blocks, &i, &last);
            k->gemm_tn((int)(last - i), nv, count, v + i, k->vlen, m, k->vlen, job->step, add,
                       sums + i * c_out + col, c_out);
        }
    }
}

static void sum_groups(void *ctx, int thread, int threads)
{
    const wino_grad_job *job = ctx;
    const int64_t vectors = job->g.c_in / job->k->vlen;
    for (int64_t first = 0; first < job->tiles; first += job->group) {
        const int64_t left = job->tiles - first, count = left < job->group ? left : job->group;
        int64_t begin, end;
        aleat_split(count, thread, threads, &begin, &end);
        transform(job, first, begin, end);
        aleat_team_barrier();
        aleat_split(POINTS * vectors, thread, threads, &begin, &end);
        for (int64_t u = begin; u < end; u++)
            multiply(job, u / vectors, u % vectors, count, first > 0);
        aleat_team_barrier();
    }
}

/** The filters of vectors [begin, end) of output channels. */
static void store_filters(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const wino_grad_job *job = ctx;
    const int vlen = job->k->vlen;
    float g[9 * MAX_VLEN];
    for (int64_t o = begin * vlen; o < end * vlen; o += vlen)
        for (int64_t i = 0; i < job->g.c_in; i++) {
            float *dw = job->dw + o * job->dw_ld + i * 9;
            job->k->wino_filter_adjoint(job->sums + i * job->g.c_out + o, job->sums_plane, g);
            for (int lane = 0; lane < vlen; lane++, dw += job->dw_ld)
                for (int tap = 0; tap < 9; tap++)
                    dw[tap] = g[tap * vlen + lane];
        }
}

size_t aleat_winograd_grad_scratch(const aleat_kernels *k, const aleat_weight_grad *g)
{
    aleat_weight_grad slice = *g;
    slice.c_in = slice_of(k, g);
    size_t bytes[4];
    (void)job_of(k, &slice, bytes);
    return bytes[0] + bytes[1] + bytes[2] + bytes[3];
}

void aleat_winograd_grad_run(const aleat_kernels *k, const aleat_weight_grad *g, const float *x,
                             const float *dy, float *dw, void *scratch, int threads)
{
    const int64_t most = slice_of(k, g);
    for (int64_t i = 0; i < g->c_in; i += most) {
        aleat_weight_grad slice = *g;
        slice.c_in = g->c_in - i < most ? g->c_in - i : most;
        size_t bytes[4];
        wino_grad_job job = job_of(k, &slice, bytes);
        char *next = scratch;
        float **const parts[] = {&job.v, &job.m, &job.sums, &job.zeros};
        for (int p = 0; p < 4; p++) {
            *parts[p] = (float *)(void *)next;
            next += bytes[p];
        }
        memset(job.zeros, 0, bytes[3]);
        job.x = x + i;
        job.dy = dy;
        job.dw = dw + i * 9;
        job.dw_ld = g->c_in * 9;
        aleat_parallel_team(threads, sum_groups, &job);
        aleat_parallel_for(threads, g->c_out / k->vlen, store_filters, &job);
    }
}
