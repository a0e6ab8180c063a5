#include "denoiser/cfg.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "denoiser/condition.h"

typedef struct cfg {
    const aleat_denoiser *inner;
    aleat_cfg_options options;
    int64_t capacity;         // images
    int64_t kept;             // images of the last forward_keep()
    int64_t count, out_count; // elements of x, and so of the prediction; of an output
    // Twice the images: the conditional half first.
    float *x, *x_side, *t; // [2n,count]: the input, tangents or gradients; [2n]
    float *raw, *raw_side; // [2n,out_count]: the output, its tangents or cotangents
    aleat_condition_rows conditions;
    uint32_t *masks[2]; // [2n]: images and passes that name masks of dropout
    aleat_dropout dropout;
    double *gap; // [n]
    bool has_gap;
} cfg;

static void release(cfg *g)
{
    aleat_free(g->x);
    aleat_free(g->x_side);
    aleat_free(g->t);
    aleat_free(g->raw);
    aleat_free(g->raw_side);
    aleat_free(g->gap);
    aleat_free(g->masks[0]);
    aleat_free(g->masks[1]);
    g->masks[0] = g->masks[1] = NULL;
    g->x = g->x_side = g->t = g->raw = g->raw_side = NULL;
    g->gap = NULL;
    g->has_gap = false;
    g->capacity = 0;
}

static aleat_status reserve(cfg *g, const aleat_batch *in, aleat_error *err)
{
    const int64_t plane = in->height * in->width;
    const int64_t count = g->inner->info.channels * plane;
    if (in->n <= g->capacity && count == g->count)
        return ALEAT_OK;
    release(g);
    g->count = count;
    g->out_count = g->inner->info.out_channels * plane;
    const size_t rows = 2 * (size_t)in->n;
    size_t elements;
    if (!aleat_size_mul(rows, (size_t)g->out_count, &elements))
        return aleat_fail_memory(err, "both halves of classifier-free guidance");
    g->x = aleat_calloc(rows * (size_t)count, sizeof(float));
    g->x_side = aleat_calloc(rows * (size_t)count, sizeof(float));
    g->t = aleat_calloc(rows, sizeof(float));
    g->raw = aleat_calloc(elements, sizeof(float));
    g->raw_side = aleat_calloc(elements, sizeof(float));
    g->gap = aleat_calloc((size_t)in->n, sizeof(double));
    g->masks[0] = aleat_calloc(rows, sizeof(uint32_t));
    g->masks[1] = aleat_calloc(rows, sizeof(uint32_t));
    if (!g->x || !g->x_side || !g->t || !g->raw || !g->raw_side || !g->gap || !g->masks[0] ||
        !g->masks[1]) {
        release(g);
        return aleat_fail_memory(err, "both halves of classifier-free guidance");
    }
    const aleat_status st = aleat_condition_rows_reserve(&g->conditions, 2 * in->n, err);
    if (!st)
        g->capacity = in->n;
    return st;
}

// Both halves of an image are one network's, so they drop by the same masks.
static const aleat_dropout *double_masks(cfg *g, const aleat_batch *in)
{
    if (!in->dropout)
        return NULL;
    g->dropout = *in->dropout;
    const uint32_t **names[2] = {&g->dropout.images, &g->dropout.passes};
    for (int k = 0; k < 2; k++) {
        for (int64_t i = 0; i < in->n; i++)
            g->masks[k][i] = g->masks[k][in->n + i] = (*names[k])[i];
        *names[k] = g->masks[k];
    }
    return &g->dropout;
}

// The batch twice: with its own condition, and with the unconditional one.
static aleat_status double_batch(cfg *g, const aleat_batch *in, aleat_batch *both, aleat_error *err)
{
    if (g->options.unconditional.labels && !in->condition.labels)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "classifier-free guidance needs a class label for every image");
    const aleat_status st = reserve(g, in, err);
    if (st)
        return st;
    const size_t bytes = (size_t)(in->n * g->count) * sizeof(float);
    memcpy(g->x, in->x, bytes);
    memcpy(g->x + in->n * g->count, in->x, bytes);
    for (int64_t i = 0; i < in->n; i++) {
        g->t[i] = g->t[in->n + i] = in->t[i];
        aleat_condition_rows_set(&g->conditions, i, &in->condition, i);
        aleat_condition_rows_set_negative(&g->conditions, in->n + i, &in->condition, i,
                                          &g->options.unconditional);
    }
    *both = *in;
    both->n = 2 * in->n;
    both->x = g->x;
    both->t = g->t;
    both->condition = aleat_condition_rows_view(&g->conditions, &g->options.unconditional);
    both->dropout = double_masks(g, in);
    return ALEAT_OK;
}

// out = u + w (c - u) from both halves; what follows the prediction is the conditional half's.
static void combine(const cfg *g, const float *halves, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        const float *c = halves + i * g->out_count, *u = halves + (n + i) * g->out_count;
        float *to = out + i * g->out_count;
        for (int64_t j = 0; j < g->count; j++)
            to[j] = (float)((double)u[j] + g->options.scale * ((double)c[j] - (double)u[j]));
        memcpy(to + g->count, c + g->count, (size_t)(g->out_count - g->count) * sizeof *to);
    }
}

static void measure_gap(cfg *g, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const float *c = g->raw + i * g->out_count, *u = g->raw + (n + i) * g->out_count;
        double squares = 0;
        for (int64_t j = 0; j < g->count; j++) {
            const double d = (double)c[j] - (double)u[j];
            squares += d * d;
        }
        g->gap[i] = sqrt(squares);
    }
    g->has_gap = true;
}

static aleat_status cfg_predict(void *self, const aleat_batch *in, float *out, aleat_error *err)
{
    cfg *g = self;
    aleat_batch both;
    aleat_status st = double_batch(g, in, &both, err);
    if (!st)
        st = aleat_denoiser_predict(g->inner, &both, g->raw, err);
    if (st)
        return st;
    combine(g, g->raw, in->n, out);
    measure_gap(g, in->n);
    return ALEAT_OK;
}

static aleat_status cfg_forward_keep(void *self, const aleat_batch *in, float *out,
                                     aleat_error *err)
{
    cfg *g = self;
    aleat_batch both;
    g->kept = 0;
    aleat_status st = double_batch(g, in, &both, err);
    if (!st)
        st = g->inner->ops->forward_keep(g->inner->self, &both, g->raw, err);
    if (st)
        return st;
    combine(g, g->raw, in->n, out);
    g->kept = in->n;
    return ALEAT_OK;
}

// Each half is pulled back by its share; they meet in the x that they have in common.
static aleat_status cfg_backward(void *self, const float *cotangent, float *grad_x,
                                 aleat_error *err)
{
    cfg *g = self;
    const int64_t n = g->kept;
    if (n == 0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "backward() without a forward_keep() before it");
    const double w = g->options.scale;
    for (int64_t i = 0; i < n; i++) {
        const float *v = cotangent + i * g->out_count;
        float *c = g->raw_side + i * g->out_count, *u = g->raw_side + (n + i) * g->out_count;
        for (int64_t j = 0; j < g->out_count; j++) {
            const bool combined = j < g->count;
            c[j] = combined ? (float)(w * (double)v[j]) : v[j];
            u[j] = combined ? (float)((1 - w) * (double)v[j]) : 0;
        }
    }
    const aleat_status st = g->inner->ops->backward(g->inner->self, g->raw_side, g->x_side, err);
    for (int64_t j = 0; !st && j < n * g->count; j++)
        grad_x[j] = (float)((double)g->x_side[j] + (double)g->x_side[n * g->count + j]);
    return st;
}

static aleat_status cfg_keep_limit(void *self, int64_t *images, aleat_error *err)
{
    const cfg *g = self;
    const aleat_denoiser_ops *inner = g->inner->ops;
    *images = INT64_MAX;
    const aleat_status st =
        inner->keep_limit ? inner->keep_limit(g->inner->self, images, err) : ALEAT_OK;
    *images /= 2;
    return st;
}

static aleat_status cfg_jvp(void *self, const aleat_batch *in, const float *tangent, float *out,
                            float *tangent_out, aleat_error *err)
{
    cfg *g = self;
    aleat_batch both;
    aleat_status st = double_batch(g, in, &both, err);
    if (st)
        return st;
    const size_t bytes = (size_t)(in->n * g->count) * sizeof(float);
    memcpy(g->x_side, tangent, bytes);
    memcpy(g->x_side + in->n * g->count, tangent, bytes);
    st =
        g->inner->ops->jvp(g->inner->self, &both, g->x_side, out ? g->raw : NULL, g->raw_side, err);
    if (st)
        return st;
    combine(g, g->raw_side, in->n, tangent_out);
    if (out)
        combine(g, g->raw, in->n, out);
    return ALEAT_OK;
}

static aleat_status cfg_features(void *self, const aleat_batch *in, float *features, float *out,
                                 aleat_error *err)
{
    cfg *g = self;
    aleat_batch both;
    const int64_t size = g->inner->info.features, n = in->n;
    float *halves = aleat_calloc((size_t)(2 * n) * (size_t)size, sizeof *halves);
    aleat_status st = halves ? double_batch(g, in, &both, err)
                             : aleat_fail_memory(err, "features of both halves");
    if (!st)
        st = g->inner->ops->features(g->inner->self, &both, halves, g->raw, err);
    if (!st) {
        combine(g, g->raw, n, out);
        measure_gap(g, n);
        for (int64_t j = 0; j < n * size; j++)
            features[j] =
                (float)((double)halves[n * size + j] +
                        g->options.scale * ((double)halves[j] - (double)halves[n * size + j]));
    }
    aleat_free(halves);
    return st;
}

static void cfg_destroy(void *self)
{
    cfg *g = self;
    if (!g)
        return;
    release(g);
    aleat_condition_rows_clear(&g->conditions);
    aleat_free(g);
}

// What the inner denoiser lacks, this one lacks, too.
static const aleat_denoiser_ops *ops_for(const aleat_denoiser_ops *inner)
{
    // [gradients][derivatives][features]
#define GRADIENTS                                                                                  \
    .forward_keep = cfg_forward_keep, .backward = cfg_backward, .keep_limit = cfg_keep_limit
#define PREDICTS .predict = cfg_predict, .destroy = cfg_destroy
    static const aleat_denoiser_ops table[2][2][2] = {
        {{{PREDICTS}, {PREDICTS, .features = cfg_features}},
         {{PREDICTS, .jvp = cfg_jvp}, {PREDICTS, .jvp = cfg_jvp, .features = cfg_features}}},
        {{{PREDICTS, GRADIENTS}, {PREDICTS, GRADIENTS, .features = cfg_features}},
         {{PREDICTS, GRADIENTS, .jvp = cfg_jvp},
          {PREDICTS, GRADIENTS, .jvp = cfg_jvp, .features = cfg_features}}}};
#undef PREDICTS
#undef GRADIENTS
    return &table[inner->forward_keep && inner->backward][inner->jvp != NULL]
                 [inner->features != NULL];
}

aleat_status aleat_cfg_denoiser(aleat_denoiser *out, const aleat_denoiser *inner,
                                const aleat_cfg_options *options, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    if (!isfinite(options->scale))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "the scale of guidance is not a number");
    if (!options->unconditional.labels && !options->unconditional.texts)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "classifier-free guidance needs an unconditional condition");
    cfg *g = aleat_calloc(1, sizeof *g);
    if (!g)
        return aleat_fail_memory(err, "classifier-free guidance");
    g->inner = inner;
    g->options = *options;
    *out = (aleat_denoiser){.ops = ops_for(inner->ops), .self = g, .info = inner->info};
    out->info.extra_evaluations = 1 + 2 * inner->info.extra_evaluations;
    return ALEAT_OK;
}

const double *aleat_cfg_gap(const aleat_denoiser *denoiser)
{
    if (!denoiser->ops || denoiser->ops->predict != cfg_predict)
        return NULL;
    const cfg *g = denoiser->self;
    return g->has_gap ? g->gap : NULL;
}
