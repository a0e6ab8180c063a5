#include "api/run_latent.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/rng.h"
#include "samplers/prediction.h"

struct aleat_run_latent {
    aleat_run_latent_options options;
    const aleat_denoiser *model, *decoder; // borrowed
    aleat_prediction prediction;
    aleat_denoiser tap;
    int64_t latent_count, image_count, height, width; // sizes of a latent
    // the evaluation whose copies pass through the tap
    double alpha, sigma;
    int64_t row, rows;
    float *variance;              // [rows / M, image_count], or NULL: not looked at
    float *x0, *tangent;          // [latent_count]
    float *decoded, *tangent_out; // [image_count]
    double *mean, *squares;       // [image_count]
    uint32_t *signs;              // [latent_count]
};

/* ---- copies ---------------------------------------------------------------------------------- */

static aleat_status decode(const aleat_run_latent *l, const float *z, float *image,
                           aleat_error *err)
{
    const aleat_batch batch = {.n = 1, .height = l->height, .width = l->width, .x = z};
    return aleat_denoiser_predict(l->decoder, &batch, image, err);
}

// Copy number `copy` of an image joins its running moments (Welford); the last one's variance goes
// to `variance`.
static void follow(aleat_run_latent *l, int copy, float *variance)
{
    const int copies = l->options.copies;
    for (int64_t j = 0; j < l->image_count; j++) {
        const double value = (double)l->decoded[j];
        const double d = value - (copy ? l->mean[j] : value);
        l->mean[j] = copy ? l->mean[j] + d / (copy + 1) : value;
        l->squares[j] = copy ? l->squares[j] + d * (value - l->mean[j]) : 0;
        if (copy + 1 == copies)
            variance[j] += (float)(l->squares[j] / (copies - 1));
    }
}

// Rows come image by image, copy fastest, in calls of any length (uncertainty/copies.h).
static aleat_status watch(aleat_run_latent *l, const aleat_batch *in, const float *raw,
                          aleat_error *err)
{
    const int64_t raw_count = l->model->info.out_channels * l->height * l->width;
    const int copies = l->options.copies;
    aleat_status st = ALEAT_OK;
    for (int64_t r = 0; !st && l->variance && r < in->n && l->row < l->rows; r++, l->row++) {
        aleat_predict(l->prediction, l->alpha, l->sigma, in->x + r * l->latent_count,
                      raw + r * raw_count, NULL, l->x0, l->latent_count);
        st = decode(l, l->x0, l->decoded, err);
        if (!st)
            follow(l, (int)(l->row % copies), l->variance + l->row / copies * l->image_count);
    }
    return st;
}

static aleat_status tap_predict(void *self, const aleat_batch *in, float *out, aleat_error *err)
{
    aleat_run_latent *l = self;
    const aleat_status st = aleat_denoiser_predict(l->model, in, out, err);
    return st ? st : watch(l, in, out, err);
}

static aleat_status tap_forward_keep(void *self, const aleat_batch *in, float *out,
                                     aleat_error *err)
{
    aleat_run_latent *l = self;
    const aleat_status st = l->model->ops->forward_keep(l->model->self, in, out, err);
    return st ? st : watch(l, in, out, err);
}

static aleat_status tap_backward(void *self, const float *cotangent, float *grad_x,
                                 aleat_error *err)
{
    const aleat_run_latent *l = self;
    return l->model->ops->backward(l->model->self, cotangent, grad_x, err);
}

static aleat_status tap_jvp(void *self, const aleat_batch *in, const float *tangent, float *out,
                            float *tangent_out, aleat_error *err)
{
    const aleat_run_latent *l = self;
    return l->model->ops->jvp(l->model->self, in, tangent, out, tangent_out, err);
}

static aleat_status tap_keep_limit(void *self, int64_t *images, aleat_error *err)
{
    const aleat_run_latent *l = self;
    const aleat_denoiser_ops *ops = l->model->ops;
    *images = INT64_MAX;
    return ops->keep_limit ? ops->keep_limit(l->model->self, images, err) : ALEAT_OK;
}

static const aleat_denoiser_ops tap_ops = {.predict = tap_predict,
                                           .forward_keep = tap_forward_keep,
                                           .backward = tap_backward,
                                           .jvp = tap_jvp,
                                           .keep_limit = tap_keep_limit};

const aleat_denoiser *aleat_run_latent_tap(const aleat_run_latent *l)
{
    return &l->tap;
}

void aleat_run_latent_at(aleat_run_latent *l, const aleat_evaluation *e, float *variance)
{
    l->alpha = e->step->alpha;
    l->sigma = e->step->sigma;
    l->row = 0;
    l->rows = e->n * l->options.copies;
    l->variance = l->options.carry == ALEAT_CARRY_COPIES ? variance : NULL;
}

/* ---- decoding -------------------------------------------------------------------------------- */

// The tangent of product k: the standard deviations under random signs.
static void draw_tangent(const aleat_run_latent *l, uint32_t number, int k,
                         const float *latent_variance)
{
    const aleat_rng_key key = {
        .seed = l->options.seed, .image = number, .copy = (uint32_t)k, .purpose = ALEAT_FOR_SIGNS};
    aleat_rng_words(&key, l->signs, l->latent_count);
    for (int64_t j = 0; j < l->latent_count; j++) {
        const float deviation = sqrtf(fmaxf(latent_variance[j], 0));
        l->tangent[j] = l->signs[j] >> 31 ? -deviation : deviation;
    }
}

static aleat_status carry_first_order(const aleat_run_latent *l, uint32_t number, const float *z,
                                      float *image, const float *latent_variance, float *variance,
                                      aleat_error *err)
{
    const aleat_batch batch = {.n = 1, .height = l->height, .width = l->width, .x = z};
    const aleat_denoiser *d = l->decoder;
    aleat_status st = ALEAT_OK;
    memset(l->squares, 0, (size_t)l->image_count * sizeof *l->squares);
    for (int k = 0; !st && k < l->options.products; k++) {
        draw_tangent(l, number, k, latent_variance);
        st = d->ops->jvp(d->self, &batch, l->tangent, k ? NULL : image, l->tangent_out, err);
        for (int64_t j = 0; !st && j < l->image_count; j++)
            l->squares[j] += (double)l->tangent_out[j] * (double)l->tangent_out[j];
    }
    for (int64_t j = 0; !st && j < l->image_count; j++)
        variance[j] = (float)(l->squares[j] / l->options.products);
    return st;
}

aleat_status aleat_run_latent_decode(aleat_run_latent *l, uint32_t number, const float *z,
                                     float *image, const float *latent_variance, float *variance,
                                     aleat_error *err)
{
    const aleat_status st = decode(l, z, image, err);
    if (st || l->options.carry != ALEAT_CARRY_JVP)
        return st;
    // The image is that of plain decoding: a plan with a tangent may round otherwise.
    return carry_first_order(l, number, z, l->decoded, latent_variance, variance, err);
}

/* ---- life ------------------------------------------------------------------------------------ */

static aleat_status make_arrays(aleat_run_latent *l, aleat_error *err)
{
    const size_t latent = (size_t)l->latent_count, image = (size_t)l->image_count;
    l->x0 = aleat_calloc(latent, sizeof *l->x0);
    l->tangent = aleat_calloc(latent, sizeof *l->tangent);
    l->signs = aleat_calloc(latent, sizeof *l->signs);
    l->decoded = aleat_calloc(image, sizeof *l->decoded);
    l->tangent_out = aleat_calloc(image, sizeof *l->tangent_out);
    l->mean = aleat_calloc(image, sizeof *l->mean);
    l->squares = aleat_calloc(image, sizeof *l->squares);
    return l->x0 && l->tangent && l->signs && l->decoded && l->tangent_out && l->mean && l->squares
               ? ALEAT_OK
               : aleat_fail_memory(err, "decoded images");
}

static aleat_status check_fit(const aleat_autoencoder_files *f, const aleat_denoiser_info *info,
                              const char *path, aleat_error *err)
{
    if (f->latent_channels != info->channels)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: decodes latents of %lld channels, the model makes %lld", path,
                          (long long)f->latent_channels, (long long)info->channels);
    if (f->image_channels != 1 && f->image_channels != 3)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: images of %lld channels are no pictures, expected 1 or 3", path,
                          (long long)f->image_channels);
    return ALEAT_OK;
}

aleat_status aleat_run_latent_new(aleat_run_latent **out, const aleat_run_latent_options *options,
                                  const aleat_denoiser *model, aleat_prediction prediction,
                                  aleat_error *err)
{
    *out = NULL;
    const aleat_autoencoder_files *f = &options->vae->files;
    const aleat_denoiser_info *info = &model->info;
    aleat_status st = check_fit(f, info, options->vae->path, err);
    if (st)
        return st;
    aleat_run_latent *l = aleat_calloc(1, sizeof *l);
    if (!l)
        return aleat_fail_memory(err, "decoded images");
    *l = (aleat_run_latent){.options = *options,
                            .model = model,
                            .prediction = prediction,
                            .latent_count = info->channels * info->height * info->width,
                            .image_count = f->image_channels * info->height * info->width *
                                           f->factor * f->factor,
                            .height = info->height,
                            .width = info->width};
    l->tap = (aleat_denoiser){.ops = &tap_ops, .self = l, .info = *info};
    st = aleat_vae_decoder(options->vae, info->height, info->width, &l->decoder, err);
    if (!st)
        st = make_arrays(l, err);
    if (st)
        goto done;
    *out = l;
    l = NULL;
done:
    aleat_run_latent_free(l);
    return st;
}

void aleat_run_latent_free(aleat_run_latent *l)
{
    if (!l)
        return;
    aleat_free(l->x0);
    aleat_free(l->tangent);
    aleat_free(l->signs);
    aleat_free(l->decoded);
    aleat_free(l->tangent_out);
    aleat_free(l->mean);
    aleat_free(l->squares);
    aleat_free(l);
}
