/*
 * The drivers: how a convolution is cut into micro-tiles, and which thread does what. Cutting never
 * changes a result, so all sizes here are for speed alone.
 */
#include "kernels/conv.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/parallel.h"

enum {
    MR = ALEAT_MICRO_ROWS,
    SUPER_ROWS =
        16 * MR,    // rows whose pointers are made at once: a panel is read once for all of them
    MAX_PANEL = 64, // columns of the widest panel of any instruction set
    WINO_POINTS = 36,
    WINO_TILE = 4,   // output pixels of a tile, each way
    WINO_PATCH = 6,  // input pixels of a tile, each way
    LATE_BLOCK = 48, // channels whose filters are transformed at once: they stay in the L2 cache
    WINO_SKEW = 16,  // floats between planes, so that 36 stores do not fall on one cache set
};

typedef struct conv_job {
    const aleat_kernels *k;
    const aleat_packed *w;
    const aleat_conv_geometry *g;
    const float *x;
    float *y;
    const aleat_epilogue *e;
    char *scratch; // per thread, `stride` bytes apart
    size_t stride;
    const float *zeros;     // a row of zeros
    const uint16_t *x_bf16; // x rounded, rows of bf16_ld, for the bf16 product
    int64_t bf16_ld;
    int64_t groups; // of rows of y: see group_of()
    int64_t supers, panels;
    int threads;
} conv_job;

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static size_t align_up(size_t n)
{
    return (n + ALEAT_ALIGN - 1) / ALEAT_ALIGN * ALEAT_ALIGN;
}

static int64_t taps_of(const aleat_packed *w)
{
    return w->kernel_h * w->kernel_w;
}

static int64_t c_in_padded(const aleat_packed *w)
{
    return (w->c_in + 1) / 2 * 2;
}

/** Stored pixel index of (iy, ix) in the enlarged or dilated view of an image, or -1 outside. */
static int64_t source_pixel(const aleat_conv_geometry *g, int64_t iy, int64_t ix)
{
    if (iy < 0 || ix < 0)
        return -1;
    if (g->dilate > 1) {
        if (iy % g->dilate || ix % g->dilate)
            return -1;
        iy /= g->dilate;
        ix /= g->dilate;
    } else if (g->upsample > 1) {
        iy /= g->upsample;
        ix /= g->upsample;
    }
    return iy < g->in_h && ix < g->in_w ? iy * g->in_w + ix : -1;
}

/* ---- direct: indirect matrix product ----------------------------------------------------------
 */

/**
 * Rows of y that meet the same taps. Without dilation these are all, or those of one image if the
 * epilogue has a vector for each; with dilation s the pixels (y, x) of all images with equal
 * (y % s, x % s), since at the others the taps fall on the zeros between x's pixels.
 */
typedef struct row_group {
    int64_t rows, h, w;     // rows in all; pixels of the group in an image
    int64_t image;          // the first one
    int64_t y, x, step;     // pixel (i, j) of the group is (y + i step, x + j step)
    int64_t tap_y, tap_x;   // its first tap
    int64_t taps_h, taps_w; // taps `step` apart
    int64_t taps_before;    // in the order of packing
} row_group;

static int64_t steps_from(int64_t first, int64_t end, int64_t step)
{
    return first < end ? ceil_div(end - first, step) : 0;
}

static row_group group_of(const conv_job *job, int64_t index)
{
    const aleat_conv_geometry *g = job->g;
    const aleat_packed *w = job->w;
    row_group r = {.step = g->dilate};
    if (r.step == 1) {
        r.image = index;
    } else {
        r.y = index / r.step;
        r.x = index % r.step;
        r.tap_y = (r.step + (g->pad_top - r.y) % r.step) % r.step;
        r.tap_x = (r.step + (g->pad_left - r.x) % r.step) % r.step;
    }
    r.h = steps_from(r.y, g->out_h, r.step);
    r.w = steps_from(r.x, g->out_w, r.step);
    r.rows = r.h * r.w * (r.step == 1 && job->e->vec ? 1 : g->images);
    r.taps_h = steps_from(r.tap_y, w->kernel_h, r.step);
    r.taps_w = steps_from(r.tap_x, w->kernel_w, r.step);
    for (int64_t c = 0; c < r.tap_y * r.step + r.tap_x; c++)
        r.taps_before += steps_from(c / r.step, w->kernel_h, r.step) *
                         steps_from(c % r.step, w->kernel_w, r.step);
    return r;
}

/** Where row `row` of a group lies: its image, its pixel there. */
static int64_t group_pixel(const row_group *r, int64_t row, int64_t *oy, int64_t *ox)
{
    const int64_t pixel = row % (r->h * r->w);
    *oy = r->y + pixel / r->w * r->step;
    *ox = r->x + pixel % r->w * r->step;
    return r->image + row / (r->h * r->w);
}

/** Pointers for rows [row, row+rows) of a group: table[(block * taps + tap) * MR + i]. */
static void make_pointers(const conv_job *job, const row_group *group, int64_t row, int64_t rows,
                          const void **table)
{
    const aleat_conv_geometry *g = job->g;
    const int64_t pixels_in = g->in_h * g->in_w, taps = group->taps_h * group->taps_w;
    for (int64_t r = 0; r < rows; r++) {
        int64_t oy, ox;
        const int64_t image = group_pixel(group, row + r, &oy, &ox);
        oy = oy * g->stride - g->pad_top + group->tap_y;
        ox = ox * g->stride - g->pad_left + group->tap_x;
        const void **slot = table + r / MR * taps * MR + r % MR;
        for (int64_t ky = 0; ky < group->taps_h; ky++)
            for (int64_t kx = 0; kx < group->taps_w; kx++, slot += MR) {
                const int64_t p = source_pixel(g, oy + ky * group->step, ox + kx * group->step);
                const int64_t stored = image * pixels_in + p;
                if (p < 0)
                    *slot = job->zeros;
                else if (job->x_bf16)
                    *slot = job->x_bf16 + stored * job->bf16_ld;
                else
                    *slot = job->x + stored * g->x_ld;
            }
    }
}

/** Finished rows [row, row+rows) of a group, columns [col, col+n), from a tile to y. */
static void put_tile(const conv_job *job, const row_group *group, int64_t row, int64_t rows,
                     int64_t col, int64_t n, const float *tile)
{
    const aleat_conv_geometry *g = job->g;
    const int64_t together = group->step == 1 ? rows : 1; // neighbours in y
    for (int64_t r = 0; r < rows; r += together) {
        int64_t oy, ox;
        const int64_t image = group_pixel(group, row + r, &oy, &ox);
        const int64_t out = (image * g->out_h + oy) * g->out_w + ox;
        const aleat_block block = {.dst = job->y + out * g->y_ld + col,
                                   .ld = g->y_ld,
                                   .rows = together,
                                   .n = n,
                                   .row = out,
                                   .col = col,
                                   .image = image};
        job->k->finish(&block, tile + r * MAX_PANEL, MAX_PANEL, job->e);
    }
}

/** One panel for rows [row, row+rows) of a group. */
static void direct_panel(const conv_job *job, const row_group *group, int64_t row, int64_t rows,
                         int64_t panel, const void **table, float *tile)
{
    const aleat_packed *w = job->w;
    const int64_t taps = group->taps_h * group->taps_w, col = panel * job->k->panel;
    const int64_t n = w->c_out - col < job->k->panel ? w->c_out - col : job->k->panel;
    const int nv = (int)ceil_div(n, job->k->vlen);
    const int64_t width = (int64_t)nv * job->k->vlen;
    const int64_t at = col * w->lines + group->taps_before * (w->lines / taps_of(w)) * width;
    for (int64_t r = 0; r < rows; r += MR) {
        const int mr = (int)(rows - r < MR ? rows - r : MR);
        const void **block_rows = table + r * taps;
        if (job->x_bf16)
            job->k->igemm_bf16(mr, nv, taps, c_in_padded(w), (const uint16_t *const *)block_rows,
                               (const uint16_t *)w->data + at, 2 * width, tile, MAX_PANEL);
        else
            job->k->igemm(mr, nv, taps, w->c_in, (const float *const *)block_rows,
                          (const float *)w->data + at, width, false, tile, MAX_PANEL);
        put_tile(job, group, row + r, mr, col, n, tile);
    }
}

/**
 * Units are (rows, panel) pairs. Few rows: panels outermost, so that threads share the weights out;
 * many: rows outermost, so that each thread's rows stay in its cache.
 */
static void direct_units(void *ctx, int64_t begin, int64_t end, int thread)
{
    const conv_job *job = ctx;
    char *mine = job->scratch + (size_t)thread * job->stride;
    float *tile = (float *)(void *)mine;
    const void **table = (const void **)(void *)(mine + align_up(MR * MAX_PANEL * sizeof(float)));
    const int64_t all_supers = job->groups * job->supers;
    const bool rows_outermost = all_supers >= 2 * job->threads;
    int64_t made_for = -1;
    for (int64_t u = begin; u < end; u++) {
        const int64_t super = rows_outermost ? u / job->panels : u % all_supers;
        const int64_t panel = rows_outermost ? u % job->panels : u / all_supers;
        const row_group group = group_of(job, super / job->supers);
        const int64_t first = super % job->supers * SUPER_ROWS;
        const int64_t left = group.rows - first;
        const int64_t rows = left < SUPER_ROWS ? left : SUPER_ROWS;
        if (super != made_for)
            make_pointers(job, &group, first, rows, table);
        made_for = super;
        direct_panel(job, &group, first, rows, panel, table, tile);
    }
}

static void round_rows(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const conv_job *job = ctx;
    uint16_t *dst = (uint16_t *)(uintptr_t)job->x_bf16;
    for (int64_t r = begin; r < end; r++) {
        job->k->to_bf16(job->x + r * job->g->x_ld, dst + r * job->bf16_ld, job->w->c_in);
        if (job->w->c_in % 2)
            dst[r * job->bf16_ld + job->w->c_in] = 0;
    }
}

static void run_direct(conv_job *job)
{
    const aleat_conv_geometry *g = job->g;
    job->groups = g->dilate > 1 ? g->dilate * g->dilate : job->e->vec ? g->images : 1;
    job->supers = ceil_div(group_of(job, 0).rows, SUPER_ROWS); // the first group is the largest
    job->panels = ceil_div(job->w->c_out, job->k->panel);
    aleat_parallel_for(job->threads, job->groups * job->supers * job->panels, direct_units, job);
}

static size_t direct_thread_scratch(const aleat_packed *w)
{
    return align_up(MR * MAX_PANEL * sizeof(float)) +
           align_up((size_t)(SUPER_ROWS * taps_of(w)) * sizeof(void *));
}

/* ---- Winograd ---------------------------------------------------------------------------------
 */

typedef struct wino_layout {
    int64_t tiles_x, tiles_per_image, tiles; // of the whole batch
    int64_t group;            // tiles that one thread carries through all three phases
    int64_t v_plane, m_plane; // floats between planes
    bool shared;              // few tiles: all threads work on one group in phases
    size_t v_bytes, m_bytes, u_bytes, thread_bytes;
} wino_layout;

/**
 * Bytes of transformed input that a group of tiles may have. Small filters stay in a core's own
 * cache whatever the group, so the tiles should, too; large ones come from the cache behind it for
 * each group, and late ones are transformed anew: fewer, larger groups.
 */
static int64_t group_bytes(const aleat_packed *w)
{
    enum { SMALL_FILTERS = 3 << 20 };
    if (aleat_conv_is_late(w->algorithm))
        return (int64_t)6 << 20;
    return w->bytes <= SMALL_FILTERS ? (int64_t)256 << 10 : (int64_t)3 << 20;
}

static wino_layout wino_plan(const aleat_kernels *k, const aleat_packed *w,
                             const aleat_conv_geometry *g, int threads)
{
    wino_layout l = {0};
    l.tiles_x = ceil_div(g->out_w, WINO_TILE);
    l.tiles_per_image = l.tiles_x * ceil_div(g->out_h, WINO_TILE);
    l.tiles = l.tiles_per_image * g->images;
    l.shared = l.tiles < (int64_t)threads * 4 * MR;
    const int64_t fit = group_bytes(w) / (WINO_POINTS * w->c_in * (int64_t)sizeof(float));
    const int64_t share = ceil_div(l.tiles, threads);
    const int64_t most = fit < 4 * MR ? 4 * MR : fit;
    // Groups of equal size: the last one must not be a leftover of a few tiles.
    l.group = l.shared ? l.tiles : ceil_div(share, ceil_div(share, most));
    const int64_t width = l.shared ? ceil_div(w->c_out, k->vlen) * k->vlen : k->panel;
    l.v_plane = l.group * w->c_in + WINO_SKEW;
    l.m_plane = l.group * width + WINO_SKEW;
    l.v_bytes = align_up((size_t)(WINO_POINTS * l.v_plane) * sizeof(float));
    l.m_bytes = align_up((size_t)(WINO_POINTS * l.m_plane) * sizeof(float));
    if (aleat_conv_is_late(w->algorithm))
        l.u_bytes = align_up((size_t)(WINO_POINTS * LATE_BLOCK * k->panel) * sizeof(float));
    l.thread_bytes = align_up(16 * MAX_PANEL * sizeof(float)) + l.u_bytes +
                     (l.shared ? 0 : l.v_bytes + l.m_bytes);
    return l;
}

typedef struct wino_group {
    const conv_job *job;
    const wino_layout *l;
    int64_t first, count; // tiles
    float *v, *m;
    int64_t m_ld; // floats between tiles of a plane of m
} wino_group;

/** Phase 1 for tiles [begin, end) of the group. */
static void wino_load(const wino_group *t, int64_t begin, int64_t end)
{
    const aleat_conv_geometry *g = t->job->g;
    for (int64_t i = begin; i < end; i++) {
        const int64_t tile = t->first + i, image = tile / t->l->tiles_per_image;
        const int64_t in_image = tile % t->l->tiles_per_image;
        const int64_t y0 = in_image / t->l->tiles_x * WINO_TILE - g->pad_top;
        const int64_t x0 = in_image % t->l->tiles_x * WINO_TILE - g->pad_left;
        const float *rows[WINO_POINTS];
        for (int p = 0; p < WINO_POINTS; p++) {
            const int64_t pixel = source_pixel(g, y0 + p / WINO_PATCH, x0 + p % WINO_PATCH);
            rows[p] = pixel < 0 ? t->job->zeros
                                : t->job->x + (image * g->in_h * g->in_w + pixel) * g->x_ld;
        }
        t->job->k->wino_input(rows, t->job->w->c_in, t->v + i * t->job->w->c_in, t->l->v_plane,
                              t->job->k->vlen);
    }
}

/** Phase 2 at one of the 36 points for one panel of columns, all tiles of the group: the product of
 * channels [c0, c0 + c) with b, which is set or added. */
static void wino_multiply(const wino_group *t, int point, int64_t c0, int64_t c, const float *b,
                          int nv, float *m)
{
    const aleat_packed *w = t->job->w;
    const aleat_kernels *k = t->job->k;
    const float *v = t->v + point * t->l->v_plane + c0;
    // Row counts of the blocks differ by one at most: 8 tiles are 4 + 4, not 6 + 2.
    const int64_t blocks = ceil_div(t->count, MR);
    for (int64_t i = 0; i < blocks; i++) {
        int64_t begin, end;
        aleat_split(t->count, (int)i, (int)blocks, &begin, &end);
        const float *rows[MR];
        for (int64_t r = begin; r < end; r++)
            rows[r - begin] = v + r * w->c_in;
        k->igemm((int)(end - begin), nv, 1, c, rows, b, (int64_t)nv * k->vlen, c0 > 0,
                 m + point * t->l->m_plane + begin * t->m_ld, t->m_ld);
    }
}

/** Vectors of columns in a panel. */
static int panel_vectors(const conv_job *job, int64_t panel)
{
    const int64_t left = job->w->c_out - panel * job->k->panel;
    return (int)ceil_div(left < job->k->panel ? left : job->k->panel, job->k->vlen);
}

/** Phase 2 at points [first, last) of a panel, with filters that were transformed when packed. */
static void wino_points(const wino_group *t, int first, int last, int64_t panel, float *m)
{
    const aleat_packed *w = t->job->w;
    const int nv = panel_vectors(t->job, panel);
    const float *b = (const float *)w->data + panel * t->job->k->panel * w->lines;
    for (int p = first; p < last; p++)
        wino_multiply(t, p, 0, w->c_in, b + p * w->c_in * nv * t->job->k->vlen, nv, m);
}

/** Phase 2 at all points of a panel, with filters transformed here, some channels at a time, to u
 * [36][LATE_BLOCK][panel]. */
static void wino_late(const wino_group *t, int64_t panel, float *u, float *m)
{
    const aleat_packed *w = t->job->w;
    const aleat_kernels *k = t->job->k;
    const int nv = panel_vectors(t->job, panel);
    const int64_t width = (int64_t)nv * k->vlen, plane = LATE_BLOCK * width;
    const int64_t size = (int64_t)aleat_conv_weight_size(w->algorithm);
    const aleat_taps type = (aleat_taps)(w->algorithm - ALEAT_CONV_WINOGRAD_LATE);
    const char *taps = (const char *)w->data + panel * k->panel * w->lines * size;
    for (int64_t c0 = 0; c0 < w->c_in; c0 += LATE_BLOCK) {
        const int64_t c = w->c_in - c0 < LATE_BLOCK ? w->c_in - c0 : LATE_BLOCK;
        for (int64_t i = 0; i < c; i++)
            k->wino_filter[type](taps + (c0 + i) * 9 * width * size, width, u + i * width, plane);
        for (int p = 0; p < WINO_POINTS; p++)
            wino_multiply(t, p, c0, c, u + p * plane, nv, m);
    }
}

/** Phase 3 for tiles [begin, end) and one panel: back to pixels, epilogue, clipping at the border.
 */
static void wino_store(const wino_group *t, int64_t begin, int64_t end, int64_t panel,
                       const float *m, float *pixels)
{
    const conv_job *job = t->job;
    const aleat_conv_geometry *g = job->g;
    const int64_t col = panel * job->k->panel;
    const int64_t n = job->w->c_out - col < job->k->panel ? job->w->c_out - col : job->k->panel;
    const int64_t width = ceil_div(n, job->k->vlen) * job->k->vlen;
    for (int64_t i = begin; i < end; i++) {
        const int64_t tile = t->first + i, image = tile / t->l->tiles_per_image;
        const int64_t in_image = tile % t->l->tiles_per_image;
        const int64_t y0 = in_image / t->l->tiles_x * WINO_TILE;
        const int64_t x0 = in_image % t->l->tiles_x * WINO_TILE;
        const int64_t cols = g->out_w - x0 < WINO_TILE ? g->out_w - x0 : WINO_TILE;
        job->k->wino_output(m + i * t->m_ld, t->l->m_plane, width, pixels, MAX_PANEL);
        for (int64_t y = 0; y < WINO_TILE && y0 + y < g->out_h; y++) {
            const int64_t row = (image * g->out_h + y0 + y) * g->out_w + x0;
            const aleat_block block = {.dst = job->y + row * g->y_ld + col,
                                       .ld = g->y_ld,
                                       .rows = cols,
                                       .n = n,
                                       .row = row,
                                       .col = col,
                                       .image = image};
            job->k->finish(&block, pixels + y * WINO_TILE * MAX_PANEL, MAX_PANEL, job->e);
        }
    }
}

typedef struct wino_job {
    const conv_job *conv;
    wino_layout l;
    char *shared; // v and m of the one group, if shared
} wino_job;

/** All three phases of many groups by one thread: nothing leaves its cache in between. */
static void wino_private_groups(void *ctx, int64_t begin, int64_t end, int thread)
{
    const wino_job *job = ctx;
    const wino_layout *l = &job->l;
    char *mine = job->conv->scratch + (size_t)thread * job->conv->stride;
    float *pixels = (float *)(void *)mine;
    wino_group t = {.job = job->conv, .l = l, .m_ld = job->conv->k->panel};
    float *u = (float *)(void *)(mine + align_up(16 * MAX_PANEL * sizeof(float)));
    t.v = (float *)(void *)((char *)u + l->u_bytes);
    t.m = (float *)(void *)((char *)t.v + l->v_bytes);
    for (int64_t first = begin; first < end; first += l->group) {
        t.first = first;
        t.count = end - first < l->group ? end - first : l->group;
        wino_load(&t, 0, t.count);
        for (int64_t panel = 0; panel < job->conv->panels; panel++) {
            if (l->u_bytes)
                wino_late(&t, panel, u, t.m);
            else
                wino_points(&t, 0, WINO_POINTS, panel, t.m);
            wino_store(&t, 0, t.count, panel, t.m, pixels);
        }
    }
}

/** One small group by all threads: each phase is split in the way that suits it. */
static void wino_shared_group(void *ctx, int thread, int threads)
{
    const wino_job *job = ctx;
    const wino_layout *l = &job->l;
    const aleat_kernels *k = job->conv->k;
    float *pixels = (float *)(void *)(job->conv->scratch + (size_t)thread * job->conv->stride);
    float *u = pixels + align_up(16 * MAX_PANEL * sizeof(float)) / sizeof(float);
    wino_group t = {.job = job->conv,
                    .l = l,
                    .count = l->tiles,
                    .m_ld = ceil_div(job->conv->w->c_out, k->vlen) * k->vlen};
    t.v = (float *)(void *)job->shared;
    t.m = (float *)(void *)(job->shared + l->v_bytes);
    int64_t begin, end;
    aleat_split(l->tiles, thread, threads, &begin, &end);
    wino_load(&t, begin, end);
    aleat_team_barrier();
    const int parts = l->u_bytes ? 1 : WINO_POINTS; // what late filters share is a whole panel
    int64_t first, last;
    aleat_split(parts * job->conv->panels, thread, threads, &first, &last);
    for (int64_t i = first; i < last; i++) {
        const int64_t panel = i / parts;
        const int point = (int)(i % parts);
        if (l->u_bytes)
            wino_late(&t, panel, u, t.m + panel * k->panel);
        else
            wino_points(&t, point, point + 1, panel, t.m + panel * k->panel);
    }
    aleat_team_barrier();
    for (int64_t panel = 0; panel < job->conv->panels; panel++)
        wino_store(&t, begin, end, panel, t.m + panel * k->panel, pixels);
}

static void run_winograd(conv_job *conv, char *shared)
{
    wino_job job = {.conv = conv, .shared = shared};
    job.l = wino_plan(conv->k, conv->w, conv->g, conv->threads);
    conv->panels = ceil_div(conv->w->c_out, conv->k->panel);
    if (job.l.shared)
        aleat_parallel_team(conv->threads, wino_shared_group, &job);
    else
        aleat_parallel_for(conv->threads, job.l.tiles, wino_private_groups, &job);
}

/* ---- one door ---------------------------------------------------------------------------------
 */

static size_t thread_scratch(const aleat_kernels *k, const aleat_packed *w,
                             const aleat_conv_geometry *g, int threads)
{
    if (aleat_conv_is_winograd(w->algorithm))
        return wino_plan(k, w, g, threads).thread_bytes;
    return direct_thread_scratch(w);
}

/** What all threads share: zeros, and the rounded input or the shared group. */
static size_t common_scratch(const aleat_kernels *k, const aleat_packed *w,
                             const aleat_conv_geometry *g, int threads, size_t *zeros)
{
    *zeros = align_up((size_t)c_in_padded(w) * sizeof(float));
    if (w->algorithm == ALEAT_CONV_DIRECT_BF16)
        return *zeros + align_up((size_t)(g->images * g->in_h * g->in_w * c_in_padded(w)) *
                                 sizeof(uint16_t));
    if (aleat_conv_is_winograd(w->algorithm)) {
        const wino_layout l = wino_plan(k, w, g, threads);
        return *zeros + (l.shared ? l.v_bytes + l.m_bytes : 0);
    }
    return *zeros;
}

size_t aleat_conv_scratch(const aleat_kernels *k, const aleat_packed *w,
                          const aleat_conv_geometry *g, int threads)
{
    size_t zeros;
    return common_scratch(k, w, g, threads, &zeros) +
           (size_t)threads * thread_scratch(k, w, g, threads);
}

void aleat_conv_run(const aleat_kernels *k, const aleat_packed *w, const aleat_conv_geometry *g,
                    const float *x, float *y, const aleat_epilogue *e, void *scratch, int threads)
{
    assert(k->panel <= MAX_PANEL && w->tap_step == g->dilate);
    size_t zero_bytes;
    const size_t common = common_scratch(k, w, g, threads, &zero_bytes);
    char *base = scratch;
    memset(base, 0, zero_bytes);
    conv_job job = {.k = k, .w = w, .g = g, .x = x, .y = y, .e = e, .threads = threads};
    job.zeros = scratch;
    job.scratch = base + common;
    job.stride = thread_scratch(k, w, g, threads);
    if (aleat_conv_is_winograd(w->algorithm)) {
        run_winograd(&job, base + zero_bytes);
        return;
    }
    if (w->algorithm == ALEAT_CONV_DIRECT_BF16) {
        job.x_bf16 = (const uint16_t *)(const void *)(base + zero_bytes);
        job.bf16_ld = c_in_padded(w);
        aleat_parallel_for(threads, g->images * g->in_h * g->in_w, round_rows, &job);
    }
    run_direct(&job);
}
