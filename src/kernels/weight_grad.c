#include "kernels/weight_grad.h"

#include <string.h>

#include "base/alloc.h"
#include "base/parallel.h"
#include "kernels/turn.h"
#include "kernels/winograd_grad.h"

enum {
    MR = ALEAT_MICRO_ROWS,
    CHUNK_PIXELS = 256,  // of a 1x1 kernel: rows of x and dy that stay in a cache
    GROUP_PIXELS = 1024, // output pixels whose products are summed in registers
    SUM_CHUNK = 1024,    // rows whose sums are made together
    TURN = 16,           // channels that are turned together: a cache line
    SKEW = 16,           // floats between planes, so that they do not fall on one cache set
};

static size_t align_up(size_t n)
{
    return (n + ALEAT_ALIGN - 1) / ALEAT_ALIGN * ALEAT_ALIGN;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* ---- sums of rows -----------------------------------------------------------------------------
 */

typedef struct sum_job {
    const aleat_kernels *k;
    const float *x, *zeros;
    int64_t ld, rows, c;
    double *sums; // [chunks][2][c]: sums, and squares that nobody reads
} sum_job;

static void sum_chunks(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const sum_job *job = ctx;
    for (int64_t chunk = begin; chunk < end; chunk++) {
        const int64_t first = chunk * SUM_CHUNK, left = job->rows - first;
        double *sums = job->sums + chunk * 2 * job->c;
        memset(sums, 0, (size_t)(2 * job->c) * sizeof *sums);
        job->k->moments(job->x + first * job->ld, job->ld, left < SUM_CHUNK ? left : SUM_CHUNK,
                        job->c, job->zeros, sums, sums + job->c);
    }
}

size_t aleat_sum_rows_scratch(int64_t rows, int64_t c)
{
    return align_up((size_t)c * sizeof(float)) +
           align_up((size_t)(ceil_div(rows, SUM_CHUNK) * 2 * c) * sizeof(double));
}

void aleat_sum_rows(const aleat_kernels *k, const float *x, int64_t ld, int64_t rows, int64_t c,
                    float *out, void *scratch, int threads)
{
    const size_t zero_bytes = align_up((size_t)c * sizeof(float));
    const int64_t chunks = ceil_div(rows, SUM_CHUNK);
    sum_job job = {.k = k, .x = x, .zeros = scratch, .ld = ld, .rows = rows, .c = c};
    job.sums = (double *)(void *)((char *)scratch + zero_bytes);
    memset(scratch, 0, zero_bytes);
    aleat_parallel_for(threads, chunks, sum_chunks, &job);
    for (int64_t i = 0; i < c; i++) {
        double sum = 0;
        for (int64_t chunk = 0; chunk < chunks; chunk++)
            sum += job.sums[chunk * 2 * c + i];
        out[i] = (float)sum;
    }
}

/* ---- convolutions -----------------------------------------------------------------------------
 */

typedef struct grad_job {
    const aleat_kernels *k;
    aleat_weight_grad g;
    const float *x, *dy;
    float *dw;
    // x turned: plane of channel i of image n of the group at turned + (n c_in + i) plane; in a row
    // the columns of each phase of the stride lie together, `phase` floats
    void *turned; // f32, or bf16
    bool bf16;
    size_t size; // bytes of a factor
    int64_t padded_h, phase, plane;
    int64_t group; // images
    // dy of a group with whole vectors, in bf16 two pixels interleaved, or NULL: dy where it lies
    void *packed;
    float *sums;   // [taps * c_in][width]
    int64_t width; // c_out in whole vectors
    char *scratch; // per thread
    size_t tile_bytes;
    size_t stride; // bytes of it
} grad_job;

/** Linear layers are one long row: nothing but the sum over pixels is left of the image. */
static aleat_weight_grad flattened(const aleat_weight_grad *g)
{
    aleat_weight_grad flat = *g;
    if (g->kernel_h == 1 && g->kernel_w == 1 && g->stride == 1 && !g->pad_top && !g->pad_left) {
        const int64_t pixels = g->images * g->in_h * g->in_w;
        const int64_t row = pixels % GROUP_PIXELS ? g->in_h * g->in_w : GROUP_PIXELS;
        flat.in_h = flat.out_h = 1;
        flat.images = row == 1 ? 1 : pixels / row;
        flat.in_w = flat.out_w = row == 1 ? pixels : row;
    }
    return flat;
}

/** The sizes of a job, and the bytes of its parts: turned, packed, sums. */
static grad_job job_of(const aleat_kernels *k, const aleat_weight_grad *g, size_t bytes[3])
{
    grad_job job = {.k = k, .g = flattened(g)};
    const int64_t pixels = job.g.out_h * job.g.out_w;
    job.padded_h = (job.g.out_h - 1) * job.g.stride + job.g.kernel_h;
    job.phase = ceil_div((job.g.out_w - 1) * job.g.stride + job.g.kernel_w, job.g.stride);
    job.plane = job.padded_h * job.g.stride * job.phase + SKEW;
    job.group = pixels >= GROUP_PIXELS ? 1 : GROUP_PIXELS / pixels;
    if (job.group > job.g.images)
        job.group = job.g.images;
    job.width = ceil_div(job.g.c_out, k->vlen) * k->vlen;
    job.bf16 = g->bf16 && k->igemm_bf16 && job.g.out_w % 2 == 0;
    job.size = job.bf16 ? sizeof(uint16_t) : sizeof(float);
    bytes[0] = align_up((size_t)(job.group * job.g.c_in * job.plane) * job.size);
    bytes[1] = align_up((size_t)(job.group * pixels * job.width) * job.size);
    if (!job.bf16 && job.width == job.g.c_out)
        bytes[1] = 0;
    bytes[2] = align_up((size_t)(job.g.kernel_h * job.g.kernel_w * job.g.c_in * job.width) *
                        sizeof(float));
    // A tile of sums or the strip that is being turned, and the pointers of a block.
    const int64_t strip = TURN * job.g.stride * job.phase, tile = (int64_t)MR * k->panel;
    job.tile_bytes = align_up((size_t)(strip > tile ? strip : tile) * sizeof(float));
    job.stride = job.tile_bytes + align_up((size_t)(job.group * job.g.out_h * MR) * sizeof(void *));
    return job;
}

/** Pixels p of row y that exist: p * stride + s - pad_left in [0, in_w). */
static void existing(const aleat_weight_grad *g, int64_t s, int64_t phase, int64_t *begin,
                     int64_t *end)
{
    const int64_t offset = g->pad_left - s;
    *begin = offset > 0 ? ceil_div(offset, g->stride) : 0;
    *end = ceil_div(g->in_w + offset, g->stride);
    if (*end > phase)
        *end = phase;
}

/** Channels [c, c + TURN) of row y (padded) of image `image` into place `slot` of the group; in
 * bf16 by way of `strip`. */
static void turn_row(const grad_job *job, int64_t image, int64_t slot, int64_t y, int64_t c,
                     float *strip)
{
    const aleat_weight_grad *g = &job->g;
    const int64_t iy = y - g->pad_top, length = g->stride * job->phase;
    const int64_t channels = g->c_in - c < TURN ? g->c_in - c : TURN;
    const int64_t at = (slot * g->c_in + c) * job->plane + y * length;
    float *row = job->bf16 ? strip : (float *)job->turned + at;
    const int64_t row_ld = job->bf16 ? length : job->plane;
    const float *x = job->x + (image * g->in_h + iy) * g->in_w * g->x_ld + c;
    for (int64_t i = 0; i < channels; i++)
        memset(row + i * row_ld, 0, (size_t)length * sizeof *row);
    for (int64_t s = 0; s < g->stride && iy >= 0 && iy < g->in_h; s++) {
        int64_t begin, end;
        existing(g, s, job->phase, &begin, &end);
        if (begin < end)
            aleat_turn(x + (begin * g->stride + s - g->pad_left) * g->x_ld, g->stride * g->x_ld,
                       end - begin, channels, row + s * job->phase + begin, row_ld);
    }
    for (int64_t i = 0; i < channels && job->bf16; i++)
        job->k->to_bf16(row + i * row_ld, (uint16_t *)job->turned + at + i * job->plane, length);
}

/** bf16 of a in the low half, of b in the high half; both finite. */
static inline uint32_t round_pair(uint32_t a, uint32_t b)
{
    const uint32_t low = (a + 0x7fffu + (a >> 16 & 1u)) >> 16;
    return low | ((b + 0x7fffu + (b >> 16 & 1u)) & 0xffff0000u);
}

/** Output row y of a group's image, padded to whole vectors. */
static void pack_row(const grad_job *job, int64_t image, int64_t slot, int64_t y)
{
    const aleat_weight_grad *g = &job->g;
    const float *src = job->dy + (image * g->out_h + y) * g->out_w * g->dy_ld;
    const int64_t at = (slot * g->out_h + y) * g->out_w * job->width;
    if (!job->bf16) {
        float *dst = (float *)job->packed + at;
        for (int64_t p = 0; p < g->out_w; p++, src += g->dy_ld, dst += job->width) {
            memcpy(dst, src, (size_t)g->c_out * sizeof *dst);
            memset(dst + g->c_out, 0, (size_t)(job->width - g->c_out) * sizeof *dst);
        }
        return;
    }
    uint32_t *dst = (uint32_t *)job->packed + at / 2;
    for (int64_t p = 0; p < g->out_w; p += 2, src += 2 * g->dy_ld, dst += job->width) {
        const uint32_t *a = (const uint32_t *)(const void *)src;
        const uint32_t *b = (const uint32_t *)(const void *)(src + g->dy_ld);
        for (int64_t c = 0; c < g->c_out; c++)
            dst[c] = round_pair(a[c], b[c]);
        memset(dst + g->c_out, 0, (size_t)(job->width - g->c_out) * sizeof *dst);
    }
}

/** Pointers to the rows [m, m+mr) of x^T (row = tap * c_in + channel), one set an image row. */
static void make_pointers(const grad_job *job, int64_t count, int64_t m, int mr, const void **rows)
{
    const aleat_weight_grad *g = &job->g;
    const int64_t length = g->stride * job->phase;
    for (int i = 0; i < mr; i++) {
        const int64_t tap = (m + i) / g->c_in, c = (m + i) % g->c_in;
        const int64_t ky = tap / g->kernel_w, kx = tap % g->kernel_w;
        const int64_t first =
            c * job->plane + ky * length + kx % g->stride * job->phase + kx / g->stride;
        for (int64_t n = 0; n < count; n++)
            for (int64_t y = 0; y < g->out_h; y++)
                rows[(n * g->out_h + y) * MR + i] =
                    (const char *)job->turned +
                    (size_t)(first + n * g->c_in * job->plane + y * g->stride * length) * job->size;
    }
}

/** One panel of columns: out = the block's rows of x^T times dy, over the group. */
static void multiply_panel(const grad_job *job, int64_t first, int64_t count, int mr, int64_t col,
                           const void **rows, float *out, int64_t out_ld)
{
    const aleat_weight_grad *g = &job->g;
    const aleat_kernels *k = job->k;
    const int64_t left = job->width - col, taps = count * g->out_h;
    const int nv = (int)((left < k->panel ? left : k->panel) / k->vlen);
    if (job->bf16) {
        k->igemm_bf16(mr, nv, taps, g->out_w, (const uint16_t *const *)rows,
                      (const uint16_t *)job->packed + 2 * col, 2 * job->width, out, out_ld);
        return;
    }
    const float *dy = job->packed ? job->packed : job->dy + first * g->out_h * g->out_w * g->dy_ld;
    k->igemm(mr, nv, taps, g->out_w, (const float *const *)rows, dy + col,
             job->packed ? job->width : g->dy_ld, false, out, out_ld);
}

/** Adds the group's products of rows [m, m+MR) to the sums; the first group makes them. */
static void multiply_block(const grad_job *job, int64_t first, int64_t count, int64_t m, char *mine)
{
    const aleat_weight_grad *g = &job->g;
    const int64_t panel = job->k->panel, left = g->kernel_h * g->kernel_w * g->c_in - m;
    const int mr = (int)(left < MR ? left : MR);
    float *tile = (float *)(void *)mine;
    const void **rows = (const void **)(void *)(mine + job->tile_bytes);
    make_pointers(job, count, m, mr, rows);
    for (int64_t col = 0; col < job->width; col += panel) {
        const int64_t n = job->width - col < panel ? job->width - col : panel;
        float *sums = job->sums + m * job->width + col;
        if (first == 0) {
            multiply_panel(job, first, count, mr, col, rows, sums, job->width);
            continue;
        }
        multiply_panel(job, first, count, mr, col, rows, tile, panel);
        for (int i = 0; i < mr; i++)
            for (int64_t j = 0; j < n; j++)
                sums[i * job->width + j] += tile[i * panel + j];
    }
}

/** All groups, by a team: turn a group's images, then every thread its rows of the product. */
static void multiply_groups(void *ctx, int thread, int threads)
{
    const grad_job *job = ctx;
    const aleat_weight_grad *g = &job->g;
    const int64_t blocks = ceil_div(g->kernel_h * g->kernel_w * g->c_in, MR);
    const int64_t strips = ceil_div(g->c_in, TURN);
    char *mine = job->scratch + (size_t)thread * job->stride;
    for (int64_t first = 0; first < g->images; first += job->group) {
        const int64_t left = g->images - first, count = left < job->group ? left : job->group;
        int64_t begin, end;
        aleat_split(count * job->padded_h * strips, thread, threads, &begin, &end);
        for (int64_t u = begin; u < end; u++) {
            const int64_t row = u / strips, slot = row / job->padded_h;
            turn_row(job, first + slot, slot, row % job->padded_h, u % strips * TURN,
                     (float *)(void *)mine);
        }
        aleat_split(count * g->out_h, thread, threads, &begin, &end);
        for (int64_t r = begin; r < end && job->packed; r++)
            pack_row(job, first + r / g->out_h, r / g->out_h, r % g->out_h);
        aleat_team_barrier();
        aleat_split(blocks, thread, threads, &begin, &end);
        for (int64_t b = begin; b < end; b++)
            multiply_block(job, first, count, b * MR, mine);
        aleat_team_barrier();
    }
}

/** From sums[tap][i][o] to dw[o][i][tap]. */
static void store_outputs(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const grad_job *job = ctx;
    const int64_t taps = job->g.kernel_h * job->g.kernel_w, c_in = job->g.c_in;
    for (int64_t o = begin; o < end; o++)
        for (int64_t i = 0; i < c_in; i++)
            for (int64_t tap = 0; tap < taps; tap++)
                job->dw[(o * c_in + i) * taps + tap] = job->sums[(tap * c_in + i) * job->width + o];
}

static size_t product_scratch(const aleat_kernels *k, const aleat_weight_grad *g, int threads)
{
    size_t bytes[3];
    const grad_job job = job_of(k, g, bytes);
    return bytes[0] + bytes[1] + bytes[2] + (size_t)threads * job.stride;
}

static void run_product(const aleat_kernels *k, const aleat_weight_grad *g, const float *x,
                        const float *dy, float *dw, void *scratch, int threads)
{
    size_t bytes[3];
    grad_job job = job_of(k, g, bytes);
    job.x = x;
    job.dy = dy;
    job.dw = dw;
    job.turned = scratch;
    job.packed = bytes[1] ? (char *)scratch + bytes[0] : NULL;
    job.sums = (float *)(void *)((char *)scratch + bytes[0] + bytes[1]);
    job.scratch = (char *)job.sums + bytes[2];
    aleat_parallel_team(threads, multiply_groups, &job);
    aleat_parallel_for(threads, job.g.c_out, store_outputs, &job);
}

/* ---- 1x1 kernels ------------------------------------------------------------------------------
 */

typedef struct dense_job {
    const aleat_kernels *k;
    const aleat_weight_grad *g;
    const float *x, *dy;
    float *dw;
} dense_job;

/** Whether dw[o][i] is a product of rows of dy and x as they lie. */
static bool is_dense(const aleat_kernels *k, const aleat_weight_grad *g)
{
    return g->kernel_h == 1 && g->kernel_w == 1 && g->stride == 1 && !g->pad_top && !g->pad_left &&
           g->c_in % k->vlen == 0 && !(g->bf16 && k->igemm_bf16);
}

static int64_t dense_blocks(const aleat_weight_grad *g)
{
    return ceil_div(g->c_out, MR);
}

/** Units are blocks of rows of dw in panels; chunk by chunk of pixels, for all units of a thread.
 */
static void dense_units(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const dense_job *job = ctx;
    const aleat_weight_grad *g = job->g;
    const aleat_kernels *k = job->k;
    const int64_t pixels = g->images * g->out_h * g->out_w, blocks = dense_blocks(g);
    for (int64_t p = 0; p < pixels; p += CHUNK_PIXELS) {
        const int64_t count = pixels - p < CHUNK_PIXELS ? pixels - p : CHUNK_PIXELS;
        for (int64_t u = begin; u < end; u++) {
            const int64_t col = u / blocks * k->panel, left = g->c_in - col;
            const int nv = (int)((left < k->panel ? left : k->panel) / k->vlen);
            int64_t o, last; // row counts differ by one at most
            aleat_split(g->c_out, (int)(u % blocks), (int)blocks, &o, &last);
            k->gemm_tn((int)(last - o), nv, count, job->dy + p * g->dy_ld + o, g->dy_ld,
                       job->x + p * g->x_ld + col, g->x_ld, k->vlen, p > 0,
                       job->dw + o * g->c_in + col, g->c_in);
        }
    }
}

static void run_dense(const aleat_kernels *k, const aleat_weight_grad *g, const float *x,
                      const float *dy, float *dw, int threads)
{
    dense_job job = {.k = k, .g = g, .x = x, .dy = dy, .dw = dw};
    aleat_parallel_for(threads, ceil_div(g->c_in, k->panel) * dense_blocks(g), dense_units, &job);
}

size_t aleat_weight_grad_scratch(const aleat_kernels *k, const aleat_weight_grad *g, int threads)
{
    size_t product = 0;
    if (aleat_winograd_grad_fits(k, g))
        product = aleat_winograd_grad_scratch(k, g);
    else if (!is_dense(k, g))
        product = product_scratch(k, g, threads);
    const size_t sums = aleat_sum_rows_scratch(g->images * g->out_h * g->out_w, g->c_out);
    return product > sums ? product : sums;
}

void aleat_weight_grad_run(const aleat_kernels *k, const aleat_weight_grad *g, const float *x,
                           const float *dy, float *dw, float *db, void *scratch, int threads)
{
    if (aleat_winograd_grad_fits(k, g))
        aleat_winograd_grad_run(k, g, x, dy, dw, scratch, threads);
    else if (is_dense(k, g))
        run_dense(k, g, x, dy, dw, threads);
    else
        run_product(k, g, x, dy, dw, scratch, threads);
    if (db)
        aleat_sum_rows(k, dy, g->dy_ld, g->images * g->out_h * g->out_w, g->c_out, db, scratch,
                       threads);
}
