#include "denoiser/tiled.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

// Where tiles lie along one side, evenly, and how much each counts in each of its output pixels.
typedef struct axis {
    int64_t cells, tile, count;
    int64_t *start; // [count], in cells
    float *weight;  // [count, tile * out_cell]
} axis;

typedef struct tiled {
    const aleat_denoiser *tile;
    aleat_tiling tiling;
    axis y, x;
    float *in, *tangent;      // one tile of the input, and of a tangent or a gradient
    float *out, *tangent_out; // of the output
    float *kept;              // inputs of the last forward_keep()
    int64_t kept_n, kept_cap;
} tiled;

// A window into an array [channels, height, width].
typedef struct window {
    int64_t channels, height, width;
    int64_t top, left, rows, columns;
} window;

/* ---- layout ---------------------------------------------------------------------------------- */

// Falls off linearly over the overlap with a neighbour; the image's own edges count fully.
static double falloff(const axis *a, int64_t i, double pixel, double cell)
{
    const double length = (double)a->tile * cell;
    double w = 1;
    if (i > 0)
        w = fmin(w, pixel / ((double)(a->start[i - 1] + a->tile - a->start[i]) * cell));
    if (i + 1 < a->count)
        w = fmin(w, (length - pixel) / ((double)(a->start[i] + a->tile - a->start[i + 1]) * cell));
    return w;
}

static void weigh(const axis *a, int64_t out_cell)
{
    const int64_t length = a->tile * out_cell;
    for (int64_t p = 0; p < a->cells * out_cell; p++) {
        double sum = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t i = 0; i < a->count; i++) {
                const int64_t at = p - a->start[i] * out_cell;
                if (at < 0 || at >= length)
                    continue;
                const double w = falloff(a, i, (double)at + 0.5, (double)out_cell);
                if (pass)
                    a->weight[i * length + at] = (float)(w / sum);
                else
                    sum += w;
            }
    }
}

static aleat_status lay(axis *a, int64_t cells, int64_t tile, const aleat_tiling *t,
                        aleat_error *err)
{
    const bool cut = tile < cells;
    if (tile < 1 || tile > cells || t->overlap < 0 || (cut && t->overlap >= tile) ||
        t->in_cell < 1 || t->out_cell < 1)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "tiles of %lld cells with overlap %lld on %lld",
                          (long long)tile, (long long)t->overlap, (long long)cells);
    a->cells = cells;
    a->tile = tile;
    const int64_t stride = cut ? tile - t->overlap : tile;
    a->count = 1 + (cells - tile + stride - 1) / stride;
    a->start = aleat_calloc((size_t)a->count, sizeof *a->start);
    a->weight = aleat_calloc((size_t)(a->count * tile * t->out_cell), sizeof *a->weight);
    if (!a->start || !a->weight)
        return aleat_fail_memory(err, "tiles");
    for (int64_t i = 1; i < a->count; i++)
        a->start[i] = (i * (cells - tile) + (a->count - 1) / 2) / (a->count - 1);
    weigh(a, t->out_cell);
    return ALEAT_OK;
}

/* ---- windows --------------------------------------------------------------------------------- */

static window window_of(const tiled *t, int64_t iy, int64_t ix, int64_t channels, int64_t cell)
{
    return (window){.channels = channels,
                    .height = t->y.cells * cell,
                    .width = t->x.cells * cell,
                    .top = t->y.start[iy] * cell,
                    .left = t->x.start[ix] * cell,
                    .rows = t->y.tile * cell,
                    .columns = t->x.tile * cell};
}

static void cut(const window *w, const float *image, float *tile)
{
    for (int64_t c = 0; c < w->channels; c++)
        for (int64_t r = 0; r < w->rows; r++)
            memcpy(tile + (c * w->rows + r) * w->columns,
                   image + (c * w->height + w->top + r) * w->width + w->left,
                   (size_t)w->columns * sizeof *tile);
}

static void paste_sum(const window *w, const float *tile, float *image)
{
    for (int64_t c = 0; c < w->channels; c++)
        for (int64_t r = 0; r < w->rows; r++)
            for (int64_t k = 0; k < w->columns; k++)
                image[(c * w->height + w->top + r) * w->width + w->left + k] +=
                    tile[(c * w->rows + r) * w->columns + k];
}

// tile *= the tile's weight in each output pixel.
static void fade(const tiled *t, const window *w, int64_t iy, int64_t ix, float *tile)
{
    const float *wy = t->y.weight + iy * w->rows, *wx = t->x.weight + ix * w->columns;
    for (int64_t c = 0; c < w->channels; c++)
        for (int64_t r = 0; r < w->rows; r++)
            for (int64_t k = 0; k < w->columns; k++)
                tile[(c * w->rows + r) * w->columns + k] *= wy[r] * wx[k];
}

static int64_t in_count(const tiled *t)
{
    return t->tile->info.channels * t->y.cells * t->x.cells * t->tiling.in_cell * t->tiling.in_cell;
}

static int64_t out_count(const tiled *t)
{
    return t->tile->info.out_channels * t->y.cells * t->x.cells * t->tiling.out_cell *
           t->tiling.out_cell;
}

static aleat_batch tile_batch(const tiled *t)
{
    return (aleat_batch){.n = 1,
                         .height = t->y.tile * t->tiling.in_cell,
                         .width = t->x.tile * t->tiling.in_cell,
                         .x = t->in};
}

/* ---- methods --------------------------------------------------------------------------------- */

// One image; with a tangent also its image under the Jacobian. `out` may then be NULL.
static aleat_status run_image(tiled *t, const float *x, const float *tangent, float *out,
                              float *tangent_out, aleat_error *err)
{
    const aleat_denoiser *d = t->tile;
    const aleat_batch batch = tile_batch(t);
    aleat_status st = ALEAT_OK;
    if (out)
        memset(out, 0, (size_t)out_count(t) * sizeof *out);
    if (tangent_out)
        memset(tangent_out, 0, (size_t)out_count(t) * sizeof *tangent_out);
    for (int64_t iy = 0; !st && iy < t->y.count; iy++)
        for (int64_t ix = 0; !st && ix < t->x.count; ix++) {
            const window in = window_of(t, iy, ix, d->info.channels, t->tiling.in_cell);
            const window to = window_of(t, iy, ix, d->info.out_channels, t->tiling.out_cell);
            cut(&in, x, t->in);
            if (tangent)
                cut(&in, tangent, t->tangent);
            st = tangent ? d->ops->jvp(d->self, &batch, t->tangent, t->out, t->tangent_out, err)
                         : d->ops->predict(d->self, &batch, t->out, err);
            if (st)
                break;
            if (out) {
                fade(t, &to, iy, ix, t->out);
                paste_sum(&to, t->out, out);
            }
            if (tangent) {
                fade(t, &to, iy, ix, t->tangent_out);
                paste_sum(&to, t->tangent_out, tangent_out);
            }
        }
    return st;
}

static aleat_status check_batch(const tiled *t, const aleat_batch *in, aleat_error *err)
{
    const int64_t height = t->y.cells * t->tiling.in_cell, width = t->x.cells * t->tiling.in_cell;
    return in->height == height && in->width == width
               ? ALEAT_OK
               : aleat_fail(err, ALEAT_ERR_SHAPE,
                            "images are %lldx%lld, the tiles are for %lldx%lld",
                            (long long)in->height, (long long)in->width, (long long)height,
                            (long long)width);
}

static aleat_status tiled_jvp(void *self, const aleat_batch *in, const float *tangent, float *out,
                              float *tangent_out, aleat_error *err)
{
    tiled *t = self;
    aleat_status st = check_batch(t, in, err);
    for (int64_t i = 0; !st && i < in->n; i++)
        st = run_image(t, in->x + i * in_count(t), tangent ? tangent + i * in_count(t) : NULL,
                       out ? out + i * out_count(t) : NULL,
                       tangent ? tangent_out + i * out_count(t) : NULL, err);
    return st;
}

static aleat_status tiled_predict(void *self, const aleat_batch *in, float *out, aleat_error *err)
{
    return tiled_jvp(self, in, NULL, out, NULL, err);
}

static aleat_status tiled_forward_keep(void *self, const aleat_batch *in, float *out,
                                       aleat_error *err)
{
    tiled *t = self;
    t->kept_n = 0;
    if (in->n > t->kept_cap) {
        aleat_free(t->kept);
        t->kept_cap = 0;
        t->kept = aleat_calloc((size_t)(in->n * in_count(t)), sizeof *t->kept);
        if (!t->kept)
            return aleat_fail_memory(err, "inputs kept for the gradient");
        t->kept_cap = in->n;
    }
    const aleat_status st = tiled_predict(self, in, out, err);
    if (st)
        return st;
    memcpy(t->kept, in->x, (size_t)(in->n * in_count(t)) * sizeof *t->kept);
    t->kept_n = in->n;
    return ALEAT_OK;
}

static aleat_status pull_back(tiled *t, const float *x, const float *cotangent, float *grad,
                              aleat_error *err)
{
    const aleat_denoiser *d = t->tile;
    const aleat_batch batch = tile_batch(t);
    aleat_status st = ALEAT_OK;
    memset(grad, 0, (size_t)in_count(t) * sizeof *grad);
    for (int64_t iy = 0; !st && iy < t->y.count; iy++)
        for (int64_t ix = 0; !st && ix < t->x.count; ix++) {
            const window in = window_of(t, iy, ix, d->info.channels, t->tiling.in_cell);
            const window to = window_of(t, iy, ix, d->info.out_channels, t->tiling.out_cell);
            cut(&in, x, t->in);
            cut(&to, cotangent, t->tangent_out);
            fade(t, &to, iy, ix, t->tangent_out);
            st = d->ops->forward_keep(d->self, &batch, t->out, err);
            if (!st)
                st = d->ops->backward(d->self, t->tangent_out, t->tangent, err);
            if (!st)
                paste_sum(&in, t->tangent, grad);
        }
    return st;
}

static aleat_status tiled_backward(void *self, const float *cotangent, float *grad_x,
                                   aleat_error *err)
{
    tiled *t = self;
    if (t->kept_n == 0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "backward() without a forward_keep() before it");
    aleat_status st = ALEAT_OK;
    for (int64_t i = 0; !st && i < t->kept_n; i++)
        st = pull_back(t, t->kept + i * in_count(t), cotangent + i * out_count(t),
                       grad_x + i * in_count(t), err);
    return st;
}

static void tiled_destroy(void *self)
{
    tiled *t = self;
    aleat_free(t->y.start);
    aleat_free(t->y.weight);
    aleat_free(t->x.start);
    aleat_free(t->x.weight);
    aleat_free(t->in);
    aleat_free(t->tangent);
    aleat_free(t->out);
    aleat_free(t->tangent_out);
    aleat_free(t->kept);
    aleat_free(t);
}

static const aleat_denoiser_ops tiled_ops = {
    .predict = tiled_predict,
    .forward_keep = tiled_forward_keep,
    .backward = tiled_backward,
    .jvp = tiled_jvp,
    .destroy = tiled_destroy,
};

static aleat_status make_tile_arrays(tiled *t, aleat_error *err)
{
    const aleat_denoiser_info *info = &t->tile->info;
    const int64_t cells = t->y.tile * t->x.tile, in = t->tiling.in_cell, out = t->tiling.out_cell;
    t->in = aleat_calloc((size_t)(info->channels * cells * in * in), sizeof *t->in);
    t->tangent = aleat_calloc((size_t)(info->channels * cells * in * in), sizeof *t->tangent);
    t->out = aleat_calloc((size_t)(info->out_channels * cells * out * out), sizeof *t->out);
    t->tangent_out =
        aleat_calloc((size_t)(info->out_channels * cells * out * out), sizeof *t->tangent_out);
    return t->in && t->tangent && t->out && t->tangent_out ? ALEAT_OK
                                                           : aleat_fail_memory(err, "a tile");
}

aleat_status aleat_tiled_denoiser(aleat_denoiser *out, const aleat_denoiser *tile,
                                  const aleat_tiling *tiling, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    tiled *t = aleat_calloc(1, sizeof *t);
    if (!t)
        return aleat_fail_memory(err, "tiles");
    t->tile = tile;
    t->tiling = *tiling;
    aleat_status st = lay(&t->y, tiling->height, tiling->tile_height, tiling, err);
    if (!st)
        st = lay(&t->x, tiling->width, tiling->tile_width, tiling, err);
    if (!st)
        st = make_tile_arrays(t, err);
    if (st) {
        tiled_destroy(t);
        return st;
    }
    *out = (aleat_denoiser){.ops = &tiled_ops, .self = t, .info = tile->info};
    out->info.height = tiling->height * tiling->in_cell;
    out->info.width = tiling->width * tiling->in_cell;
    return ALEAT_OK;
}
