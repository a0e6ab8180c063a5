/* Weights into the order in which the kernels read them. */
#include "kernels/conv.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/parallel.h"
#include "base/wide.h"
#include "kernels/turn.h"
#include "tensor/tensor.h"

enum {
    WINO_POINTS = 36,
    LANES = 16, // output channels that are packed together
    CHUNK = 16, // input channels of a unit of work: an even number, since bf16 pairs them
};

aleat_filter aleat_filter_of(const float *data, int64_t c_out, int64_t c_in, int64_t kh, int64_t kw)
{
    return (aleat_filter){.data = data,
                          .c_out = c_out,
                          .c_in = c_in,
                          .kernel_h = kh,
                          .kernel_w = kw,
                          .stride_o = c_in * kh * kw,
                          .stride_i = kh * kw,
                          .stride_y = kw,
                          .stride_x = 1,
                          .tap_step = 1};
}

aleat_filter aleat_filter_adjoint(const aleat_filter *f)
{
    aleat_filter a = *f;
    a.c_out = f->c_in;
    a.c_in = f->c_out;
    a.stride_o = f->stride_i;
    a.stride_i = f->stride_o;
    a.data = f->data + (f->kernel_h - 1) * f->stride_y + (f->kernel_w - 1) * f->stride_x;
    a.stride_y = -f->stride_y;
    a.stride_x = -f->stride_x;
    return a;
}

static int64_t round_up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

typedef struct pack_job {
    const aleat_kernels *k;
    const aleat_filter *filter;
    aleat_packed *out;
    int64_t chunks; // of input channels
} pack_job;

/** A unit of work: one panel, input channels [begin, end). */
typedef struct pack_unit {
    int64_t panel, begin, end;
} pack_unit;

/** Columns of panel `panel` that exist, and its padded width. */
static int64_t panel_columns(const pack_job *job, int64_t panel, int64_t *width)
{
    const int64_t left = job->out->c_out - panel * job->k->panel;
    const int64_t n = left < job->k->panel ? left : job->k->panel;
    *width = round_up(n, job->k->vlen);
    return n;
}

/** dst[i * ld + j] = element (o + j, first + i, y, x) for i < rows and j < n; zeros up to `lanes`.
 */
static void gather(const aleat_filter *f, int64_t o, int64_t n, int64_t lanes, int64_t first,
                   int64_t rows, int64_t y, int64_t x, float *dst, int64_t ld)
{
    const float *from =
        f->data + o * f->stride_o + first * f->stride_i + y * f->stride_y + x * f->stride_x;
    if (f->stride_i == 1) // a linear layer or a 1x1 filter: most weights of most networks
        aleat_turn(from, f->stride_o, n, rows, dst, ld);
    else
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < n; j++)
                dst[i * ld + j] = from[i * f->stride_i + j * f->stride_o];
    for (int64_t i = 0; n < lanes && i < rows; i++)
        memset(dst + i * ld + n, 0, (size_t)(lanes - n) * sizeof *dst);
}

/** Of `n` columns those of the block of LANES that begins at `first`, which lies before n. */
static int64_t columns_of_block(int64_t n, int64_t first)
{
    return n - first < LANES ? n - first : LANES;
}

typedef void tap_fn(const pack_job *job, const pack_unit *u, int64_t y, int64_t x, int64_t n,
                    int64_t width, void *line);

/** Calls `pack_tap` for every tap in the order of packing; a tap has `lines / taps` lines of
 * `size` bytes an element. */
static void pack_taps(const pack_job *job, const pack_unit *u, size_t size, tap_fn *pack_tap)
{
    const aleat_packed *w = job->out;
    int64_t width;
    const int64_t n = panel_columns(job, u->panel, &width), step = w->tap_step;
    const size_t tap_bytes = (size_t)(w->lines / (w->kernel_h * w->kernel_w) * width) * size;
    const int64_t first = u->panel * job->k->panel * w->lines + u->begin * width;
    char *line = (char *)w->data + (size_t)first * size;
    for (int64_t class = 0; class < step * step; class ++)
        for (int64_t y = class / step; y < w->kernel_h; y += step)
            for (int64_t x = class % step; x < w->kernel_w; x += step, line += tap_bytes)
                pack_tap(job, u, y, x, n, width, line);
}

static void pack_tap_f32(const pack_job *job, const pack_unit *u, int64_t y, int64_t x, int64_t n,
                         int64_t width, void *at)
{
    for (int64_t first = 0; first < width; first += LANES)
        gather(job->filter, u->panel * job->k->panel + first, columns_of_block(n, first),
               width - first < LANES ? width - first : LANES, u->begin, u->end - u->begin, y, x,
               (float *)at + first, width);
}

static void pack_direct(const pack_job *job, const pack_unit *u)
{
    pack_taps(job, u, sizeof(float), pack_tap_f32);
}

/** Lines of pairs: of input channels 2i and 2i + 1, one number of each in turn. */
ALEAT_WIDE static void pair_up(const uint16_t *halves, int64_t pairs, int64_t lanes, uint16_t *dst,
                               int64_t ld)
{
    for (int64_t i = 0; i < pairs; i++, halves += 2 * LANES, dst += ld)
        for (int64_t j = 0; j < lanes; j++) {
            dst[2 * j] = halves[j];
            dst[2 * j + 1] = halves[LANES + j];
        }
}

static void pack_tap_bf16(const pack_job *job, const pack_unit *u, int64_t y, int64_t x, int64_t n,
                          int64_t width, void *at)
{
    const int64_t rows = u->end - u->begin, even = round_up(rows, 2);
    float block[CHUNK * LANES];
    uint16_t halves[CHUNK * LANES];
    if (even > rows)
        memset(block + rows * LANES, 0, LANES * sizeof *block);
    for (int64_t first = 0; first < width; first += LANES) {
        gather(job->filter, u->panel * job->k->panel + first, columns_of_block(n, first), LANES,
               u->begin, rows, y, x, block, LANES);
        job->k->to_bf16(block, halves, even * LANES);
        pair_up(halves, even / 2, width - first < LANES ? width - first : LANES,
                (uint16_t *)at + 2 * first, 2 * width);
    }
}

static void pack_direct_bf16(const pack_job *job, const pack_unit *u)
{
    pack_taps(job, u, sizeof(uint16_t), pack_tap_bf16);
}

/** u[6][6] = G g G^T of LANES filters at once, in double, rounded once; planes of u `plane` floats
 * apart. */
ALEAT_WIDE static void wino_filters(float g[9][LANES], float *u, int64_t plane)
{
    static const double G[6][3] = {{1.0 / 4, 0, 0},
                                   {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                   {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                   {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                   {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                   {0, 0, 1}};
    double half[6][3][LANES];
    for (int r = 0; r < 6; r++)
        for (int x = 0; x < 3; x++)
            for (int j = 0; j < LANES; j++)
                half[r][x][j] = G[r][0] * (double)g[x][j] + G[r][1] * (double)g[3 + x][j] +
                                G[r][2] * (double)g[6 + x][j];
    for (int r = 0; r < 6; r++)
        for (int c = 0; c < 6; c++)
            for (int j = 0; j < LANES; j++)
                u[(r * 6 + c) * plane + j] =
                    (float)(half[r][0][j] * G[c][0] + half[r][1][j] * G[c][1] +
                            half[r][2][j] * G[c][2]);
}

/** The taps of outputs [o, o + n) at input channel i; zeros behind. */
static void wino_taps(const aleat_filter *f, int64_t o, int64_t n, int64_t i, float g[9][LANES])
{
    const bool forward = f->stride_x > 0; // or flipped: nine numbers that lie together either way
    const float *first = f->data + o * f->stride_o + i * f->stride_i;
    assert((f->stride_x == 1 || f->stride_x == -1) && f->stride_y == 3 * f->stride_x);
    if (n < LANES)
        memset(g, 0, 9 * sizeof *g);
    aleat_turn(forward ? first : first - 8, f->stride_o, n, 9, forward ? g[0] : g[8],
               forward ? LANES : -LANES);
}

static void pack_winograd(const pack_job *job, const pack_unit *unit)
{
    const aleat_filter *f = job->filter;
    int64_t width;
    const int64_t n = panel_columns(job, unit->panel, &width), col = unit->panel * job->k->panel;
    const int64_t plane = f->c_in * width;
    float *base = (float *)job->out->data + col * job->out->lines;
    float g[9][LANES], u[WINO_POINTS][LANES];
    for (int64_t i = unit->begin; i < unit->end; i++)
        for (int64_t first = 0; first < width; first += LANES) {
            const int64_t lanes = width - first < LANES ? width - first : LANES;
            float *at = base + i * width + first;
            wino_taps(f, col + first, columns_of_block(n, first), i, g);
            if (lanes == LANES) {
                wino_filters(g, at, plane);
                continue;
            }
            wino_filters(g, u[0], LANES);
            for (int p = 0; p < WINO_POINTS; p++)
                memcpy(at + p * plane, u[p], (size_t)lanes * sizeof(float));
        }
}

typedef void store_fn(const aleat_kernels *k, const float *x, int64_t n, void *data, int64_t at);

static void store_f32(const aleat_kernels *k, const float *x, int64_t n, void *data, int64_t at)
{
    (void)k;
    memcpy((float *)data + at, x, (size_t)n * sizeof *x);
}

static void store_bf16(const aleat_kernels *k, const float *x, int64_t n, void *data, int64_t at)
{
    k->to_bf16(x, (uint16_t *)data + at, n);
}

static void store_f16(const aleat_kernels *k, const float *x, int64_t n, void *data, int64_t at)
{
    (void)k;
    for (int64_t i = 0; i < n; i++)
        ((uint16_t *)data)[at + i] = aleat_f32_to_f16(x[i]);
}

/** The taps of one input channel side by side: lines in the order (channel, tap). */
static void pack_taps_late(const pack_job *job, const pack_unit *u, store_fn *store)
{
    int64_t width;
    const int64_t n = panel_columns(job, u->panel, &width), col = u->panel * job->k->panel;
    const int64_t base = col * job->out->lines;
    float g[9][LANES];
    for (int64_t i = u->begin; i < u->end; i++)
        for (int64_t first = 0; first < width; first += LANES) {
            const int64_t lanes = width - first < LANES ? width - first : LANES;
            wino_taps(job->filter, col + first, columns_of_block(n, first), i, g);
            for (int64_t tap = 0; tap < 9; tap++)
                store(job->k, g[tap], lanes, job->out->data, base + (9 * i + tap) * width + first);
        }
}

static void pack_winograd_late(const pack_job *job, const pack_unit *u)
{
    pack_taps_late(job, u, store_f32);
}

static void pack_winograd_late_bf16(const pack_job *job, const pack_unit *u)
{
    pack_taps_late(job, u, store_bf16);
}

static void pack_winograd_late_f16(const pack_job *job, const pack_unit *u)
{
    pack_taps_late(job, u, store_f16);
}

static void pack_units(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const pack_job *job = ctx;
    static void (*const packers[])(const pack_job *, const pack_unit *) = {
        [ALEAT_CONV_DIRECT] = pack_direct,
        [ALEAT_CONV_DIRECT_BF16] = pack_direct_bf16,
        [ALEAT_CONV_WINOGRAD] = pack_winograd,
        [ALEAT_CONV_WINOGRAD_LATE] = pack_winograd_late,
        [ALEAT_CONV_WINOGRAD_LATE_BF16] = pack_winograd_late_bf16,
        [ALEAT_CONV_WINOGRAD_LATE_F16] = pack_winograd_late_f16,
    };
    for (int64_t i = begin; i < end; i++) {
        const int64_t first = i % job->chunks * CHUNK, left = job->filter->c_in - first;
        const pack_unit u = {i / job->chunks, first, first + (left < CHUNK ? left : CHUNK)};
        packers[job->out->algorithm](job, &u);
    }
}

void aleat_packed_describe(aleat_packed *out, const aleat_kernels *k,
                           aleat_conv_algorithm algorithm, const aleat_filter *filter)
{
    const int64_t taps = filter->kernel_h * filter->kernel_w;
    const bool pairs = algorithm == ALEAT_CONV_DIRECT_BF16;
    assert(!aleat_conv_is_winograd(algorithm) ||
           (taps == 9 && filter->c_in % k->vlen == 0 && filter->tap_step == 1));
    *out = (aleat_packed){.algorithm = algorithm,
                          .c_out = filter->c_out,
                          .c_in = filter->c_in,
                          .kernel_h = filter->kernel_h,
                          .kernel_w = filter->kernel_w,
                          .tap_step = filter->tap_step};
    if (algorithm == ALEAT_CONV_WINOGRAD)
        out->lines = WINO_POINTS * filter->c_in;
    else
        out->lines = taps * (pairs ? round_up(filter->c_in, 2) : filter->c_in);
    const int64_t columns = round_up(filter->c_out, k->vlen);
    out->bytes = (size_t)(out->lines * columns) * aleat_conv_weight_size(algorithm);
}

bool aleat_packed_make(aleat_packed *out, const aleat_kernels *k, aleat_conv_algorithm algorithm,
                       const aleat_filter *filter, int threads)
{
    aleat_packed_describe(out, k, algorithm, filter);
    out->data = aleat_alloc(out->bytes);
    if (!out->data)
        return false;
    aleat_packed_fill(out, k, filter, threads);
    return true;
}

void aleat_packed_fill(aleat_packed *packed, const aleat_kernels *k, const aleat_filter *filter,
                       int threads)
{
    pack_job job = {.k = k, .filter = filter, .out = packed};
    job.chunks = round_up(filter->c_in, CHUNK) / CHUNK;
    const int64_t panels = round_up(filter->c_out, k->panel) / k->panel;
    aleat_parallel_for(threads, panels * job.chunks, pack_units, &job);
}

void aleat_packed_free(aleat_packed *packed)
{
    if (!packed)
        return;
    aleat_free(packed->data);
    memset(packed, 0, sizeof *packed);
}
