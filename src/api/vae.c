#include "aleat/vae.h"

#include <math.h>
#include <string.h>

#include "api/model_state.h"
#include "api/vae_state.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/rng.h"

#define DEFAULT_MEMORY (2LL << 30) // Stable Diffusion's decoder takes it at 110 x 110 latents

/* ---- opening --------------------------------------------------------------------------------- */

static void half_clear(aleat_vae_half *half)
{
    aleat_denoiser_destroy(&half->denoiser);
    aleat_autoencoder_network_clear(&half->network);
    memset(half, 0, sizeof *half);
}

static aleat_status read_options(aleat_vae *vae, const aleat_vae_options *o, aleat_error *err)
{
    vae->engine.threads = o->threads;
    vae->engine.memory = o->memory < 0 ? 0 : o->memory ? o->memory : DEFAULT_MEMORY;
    if (!(o->scaling_factor >= 0) || !isfinite(o->scaling_factor))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "the scale of latents must be positive");
    return aleat_precision_find(&vae->engine.precision, o->precision, err);
}

aleat_status aleat_vae_open(aleat_vae **out, const char *path, const aleat_vae_options *options,
                            aleat_error *err)
{
    static const aleat_vae_options defaults;
    *out = NULL;
    options = options ? options : &defaults;
    const aleat_autoencoder_options wanted = {.variant = options->variant,
                                              .scaling_factor = options->scaling_factor};
    aleat_vae *vae = aleat_calloc(1, sizeof *vae);
    if (!vae)
        return aleat_fail_memory(err, path);
    vae->path = aleat_strdup(path);
    aleat_status st = vae->path ? ALEAT_OK : aleat_fail_memory(err, path);
    if (!st)
        st = read_options(vae, options, err);
    if (!st)
        st = aleat_autoencoder_files_open(&vae->files, path, &wanted, err);
    if (st)
        goto done;
    vae->n_parameters = aleat_weights_parameters(vae->files.weights);
    *out = vae;
    vae = NULL;
done:
    aleat_vae_close(vae);
    return st;
}

void aleat_vae_close(aleat_vae *vae)
{
    if (!vae)
        return;
    half_clear(&vae->encoder);
    half_clear(&vae->decoder);
    aleat_autoencoder_files_close(&vae->files);
    aleat_free(vae->path);
    aleat_free(vae);
}

aleat_vae_facts aleat_vae_describe(const aleat_vae *vae)
{
    const aleat_autoencoder_files *f = &vae->files;
    aleat_network_stats stats = {0};
    if (vae->last && vae->last->denoiser.ops)
        stats = aleat_network_denoiser_stats(&vae->last->denoiser);
    return (aleat_vae_facts){
        .path = vae->path,
        .weights_path = aleat_weights_path(f->weights),
        .weights_format = aleat_weights_format(f->weights),
        .config_json = f->config_text,
        .image_channels = f->image_channels,
        .latent_channels = f->latent_channels,
        .factor = f->factor,
        .scaling_factor = f->scaling_factor,
        .shift_factor = f->shift_factor,
        .n_tensors = aleat_weights_count(f->weights),
        .n_parameters = vae->n_parameters,
        .flop = stats.flop,
        .weight_bytes = stats.weight_bytes,
        .plan_bytes = stats.plan_bytes,
    };
}

/* ---- the halves ------------------------------------------------------------------------------ */

typedef aleat_status build_fn(aleat_autoencoder_network *out, const aleat_autoencoder_files *files,
                              int64_t height, int64_t width, aleat_error *err);

// Which half, as numbers.
typedef struct half_kind {
    build_fn *build;
    int64_t in_cell;                   // pixels of a latent in the input
    int64_t in_channels, out_channels; // of the network
} half_kind;

static half_kind kind_of(const aleat_vae *vae, const aleat_vae_half *half)
{
    const aleat_autoencoder_files *f = &vae->files;
    if (half == &vae->encoder)
        return (half_kind){aleat_autoencoder_encoder, f->factor, f->image_channels,
                           2 * f->latent_channels};
    return (half_kind){aleat_autoencoder_decoder, 1, f->latent_channels, f->image_channels};
}

// Builds `half` for height x width latents unless that is there. One image at once: they are large.
static aleat_status build_half(aleat_vae *vae, aleat_vae_half *half, int64_t height, int64_t width,
                               aleat_error *err)
{
    vae->last = half;
    if (half->height == height && half->width == width)
        return ALEAT_OK;
    half_clear(half);
    const half_kind kind = kind_of(vae, half);
    const int64_t h = height * kind.in_cell, w = width * kind.in_cell;
    aleat_status st = kind.build(&half->network, &vae->files, h, w, err);
    const aleat_network_spec spec = {.graph = half->network.graph,
                                     .x = half->network.x,
                                     .t = ALEAT_NO_VALUE,
                                     .label = ALEAT_NO_VALUE,
                                     .out = half->network.out,
                                     .info = {.channels = kind.in_channels,
                                              .height = h,
                                              .width = w,
                                              .out_channels = kind.out_channels,
                                              .null_class = -1},
                                     .engine = vae->engine,
                                     .max_images = 1};
    if (!st)
        st = aleat_network_denoiser(&half->denoiser, &spec, err);
    if (st) {
        half_clear(half);
        return st;
    }
    half->height = height;
    half->width = width;
    return ALEAT_OK;
}

aleat_status aleat_vae_decoder(aleat_vae *vae, int64_t height, int64_t width,
                               const aleat_denoiser **out, aleat_error *err)
{
    const aleat_status st = build_half(vae, &vae->decoder, height, width, err);
    *out = &vae->decoder.denoiser;
    return st;
}

aleat_status aleat_vae_suit(aleat_vae *vae, const aleat_model_files *model, aleat_error *err)
{
    bool changed = false;
    const aleat_status st =
        aleat_autoencoder_files_suit(&vae->files, model->latents, &changed, err);
    if (changed) { // the scaling is a part of both networks
        half_clear(&vae->encoder);
        half_clear(&vae->decoder);
    }
    return st;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

static aleat_status check_images(const aleat_array *a, int64_t channels, int64_t unit,
                                 const char *what, aleat_error *err)
{
    if (a->n_dims == 4 && a->dim[0] > 0 && a->dim[1] == channels && a->dim[2] > 0 &&
        a->dim[3] > 0 && a->dim[2] % unit == 0 && a->dim[3] % unit == 0)
        return ALEAT_OK;
    char text[128];
    aleat_shape shape = {.n_dims = a->n_dims};
    memcpy(shape.dim, a->dim, sizeof shape.dim);
    return aleat_fail(err, ALEAT_ERR_SHAPE,
                      "%s are %s, this autoencoder wants [N,%lld,H,W], H and W multiples of %lld",
                      what, aleat_shape_text(&shape, text, sizeof text), (long long)channels,
                      (long long)unit);
}

static aleat_status new_images(aleat_array *out, int64_t n, int64_t c, int64_t h, int64_t w,
                               aleat_error *err)
{
    const int64_t dim[4] = {n, c, h, w};
    return aleat_array_new(out, 4, dim, err);
}

static bool same_shape(const aleat_array *a, const aleat_array *b)
{
    return a->n_dims == b->n_dims &&
           memcmp(a->dim, b->dim, (size_t)a->n_dims * sizeof *a->dim) == 0;
}

// out = half(x); grad = the gradient of <cotangent, out> if there is one.
static aleat_status run_half(const aleat_vae_half *half, const aleat_array *x, aleat_array *out,
                             const float *cotangent, float *grad, aleat_error *err)
{
    const aleat_denoiser *d = &half->denoiser;
    const aleat_batch batch = {
        .n = x->dim[0], .height = x->dim[2], .width = x->dim[3], .x = x->data};
    if (!cotangent)
        return aleat_denoiser_predict(d, &batch, out->data, err);
    const aleat_status st = d->ops->forward_keep(d->self, &batch, out->data, err);
    return st ? st : d->ops->backward(d->self, cotangent, grad, err);
}

static aleat_status check_cotangent(const aleat_array *cotangent, const aleat_array *grad,
                                    const aleat_array *like, aleat_error *err)
{
    if (!cotangent != !grad)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "a cotangent and a gradient go together");
    if (cotangent && !same_shape(cotangent, like))
        return aleat_fail(err, ALEAT_ERR_SHAPE, "the cotangent has another shape than the result");
    return ALEAT_OK;
}

aleat_status aleat_vae_decode(aleat_vae *vae, const aleat_array *latents, aleat_array *images,
                              const aleat_array *cotangent, aleat_array *grad, aleat_error *err)
{
    const aleat_autoencoder_files *f = &vae->files;
    const int64_t *dim = latents->dim;
    memset(images, 0, sizeof *images);
    if (grad)
        memset(grad, 0, sizeof *grad);
    aleat_status st = check_images(latents, f->latent_channels, 1, "latents", err);
    if (!st)
        st = new_images(images, dim[0], f->image_channels, dim[2] * f->factor, dim[3] * f->factor,
                        err);
    if (!st)
        st = check_cotangent(cotangent, grad, images, err);
    if (!st && grad)
        st = new_images(grad, dim[0], dim[1], dim[2], dim[3], err);
    if (!st)
        st = build_half(vae, &vae->decoder, dim[2], dim[3], err);
    if (!st)
        st = run_half(&vae->decoder, latents, images, cotangent ? cotangent->data : NULL,
                      grad ? grad->data : NULL, err);
    if (st) {
        aleat_array_clear(images);
        aleat_array_clear(grad);
    }
    return st;
}

// mean and logvar from [N, 2 c, h, w] moments; logvar may be NULL.
static void split_moments(const aleat_array *moments, aleat_array *mean, aleat_array *logvar)
{
    const int64_t n = mean->dim[0], half = aleat_array_count(mean) / n;
    for (int64_t i = 0; i < n; i++) {
        memcpy(mean->data + i * half, moments->data + 2 * i * half, (size_t)half * sizeof(float));
        for (int64_t j = 0; logvar && j < half; j++)
            logvar->data[i * half + j] =
                fminf(fmaxf(moments->data[(2 * i + 1) * half + j], -30), 20);
    }
}

aleat_status aleat_vae_encode(aleat_vae *vae, const aleat_array *images, aleat_array *mean,
                              aleat_array *logvar, const aleat_array *cotangent, aleat_array *grad,
                              aleat_error *err)
{
    const aleat_autoencoder_files *f = &vae->files;
    const int64_t *dim = images->dim, c = f->latent_channels;
    aleat_array moments = {0}, wide = {0}; // wide: the cotangent of the moments
    memset(mean, 0, sizeof *mean);
    if (logvar)
        memset(logvar, 0, sizeof *logvar);
    if (grad)
        memset(grad, 0, sizeof *grad);
    aleat_status st = check_images(images, f->image_channels, f->factor, "images", err);
    if (st)
        return st;
    const int64_t h = dim[2] / f->factor, w = dim[3] / f->factor, half = c * h * w;
    st = new_images(&moments, dim[0], 2 * c, h, w, err);
    if (!st)
        st = new_images(mean, dim[0], c, h, w, err);
    if (!st && logvar)
        st = new_images(logvar, dim[0], c, h, w, err);
    if (!st)
        st = check_cotangent(cotangent, grad, mean, err);
    if (!st && grad)
        st = new_images(grad, dim[0], dim[1], dim[2], dim[3], err);
    if (!st && grad)
        st = new_images(&wide, dim[0], 2 * c, h, w, err);
    for (int64_t i = 0; !st && grad && i < dim[0]; i++)
        memcpy(wide.data + 2 * i * half, cotangent->data + i * half, (size_t)half * sizeof(float));
    if (!st)
        st = build_half(vae, &vae->encoder, h, w, err);
    if (!st)
        st = run_half(&vae->encoder, images, &moments, wide.data, grad ? grad->data : NULL, err);
    if (!st)
        split_moments(&moments, mean, logvar);
    aleat_array_clear(&moments);
    aleat_array_clear(&wide);
    if (st) {
        aleat_array_clear(mean);
        aleat_array_clear(logvar);
        aleat_array_clear(grad);
    }
    return st;
}

aleat_status aleat_vae_latents(const aleat_vae *vae, const aleat_array *mean,
                               const aleat_array *logvar, const aleat_array *noise,
                               aleat_array *latents, aleat_error *err)
{
    memset(latents, 0, sizeof *latents);
    if ((logvar && !same_shape(logvar, mean)) || (noise && !same_shape(noise, mean)))
        return aleat_fail(err, ALEAT_ERR_SHAPE, "mean, logvar and noise differ in shape");
    const aleat_status st = aleat_array_new(latents, mean->n_dims, mean->dim, err);
    const double scale = vae->files.scaling_factor, shift = vae->files.shift_factor;
    for (int64_t j = 0; !st && j < aleat_array_count(mean); j++) {
        double z = (double)mean->data[j];
        if (logvar && noise)
            z += exp(0.5 * (double)logvar->data[j]) * (double)noise->data[j];
        latents->data[j] = (float)(scale * (z - shift));
    }
    return st;
}

aleat_status aleat_vae_noise(const aleat_array *mean, uint64_t seed, aleat_array *noise,
                             aleat_error *err)
{
    memset(noise, 0, sizeof *noise);
    if (mean->n_dims < 1 || mean->dim[0] < 1)
        return aleat_fail(err, ALEAT_ERR_SHAPE, "noise for no images");
    const aleat_status st = aleat_array_new(noise, mean->n_dims, mean->dim, err);
    const int64_t n = mean->dim[0], count = aleat_array_count(mean) / n;
    for (int64_t i = 0; !st && i < n; i++) {
        const aleat_rng_key key = {.seed = seed, .image = (uint32_t)i, .purpose = ALEAT_FOR_LATENT};
        aleat_rng_normals(&key, 0, noise->data + i * count, count);
    }
    return st;
}
