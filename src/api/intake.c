#include "api/intake.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "aleat/reconstruct.h"
#include "api/schedule.h"
#include "api/vae_state.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/names.h"
#include "features/prepare.h"

// From 0 .. 1 to the range that diffusion models are trained in.
#define RANGE .scale = {2, 2, 2}, .shift = {-1, -1, -1}

static const aleat_preparation fits[] = {
    {"centre", "as it is; a smaller one in the middle, black around, as in 'aleat train'",
     ALEAT_FIT_CENTRE, RANGE},
    {"resample", "the whole image, resampled (bicubic, antialiased) to the model's size",
     ALEAT_FIT_BICUBIC, RANGE},
};

const char *aleat_image_fit_name(int i, const char **help)
{
    return ALEAT_NAME_AT(fits, i, help);
}

static aleat_status check_kind(const aleat_model *model, aleat_vae *encoder, aleat_error *err)
{
    const int64_t channels = model->files.info.channels;
    if (encoder) {
        const aleat_autoencoder_files *f = &encoder->files;
        if (f->latent_channels == channels)
            return aleat_vae_suit(encoder, &model->files, err);
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: makes latents of %" PRId64 " channels, the model takes %" PRId64,
                          encoder->path, f->latent_channels, channels);
    }
    if (channels == 1 || channels == 3)
        return ALEAT_OK;
    (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                     "%s: takes latents of %" PRId64 " channels, not pixels", model->path,
                     channels);
    aleat_hint(err, "an encoder makes latents of images: the autoencoder of this model");
    return ALEAT_ERR_ARGUMENT;
}

static void channels_first(float *dst, const float *src, aleat_dims d)
{
    for (int64_t p = 0; p < d.h * d.w; p++)
        for (int64_t k = 0; k < d.c; k++)
            dst[k * d.h * d.w + p] = src[p * d.c + k];
}

static aleat_status take_pixels(aleat_intake *t, const aleat_images *images,
                                const aleat_preparation *how, aleat_dims d, aleat_error *err)
{
    const int64_t count = d.c * d.h * d.w;
    aleat_preparer *preparer = NULL;
    float *scratch = NULL, *one = NULL;
    size_t all;
    aleat_status st = aleat_preparer_new(&preparer, how, d, images, err);
    if (st) {
        const bool colours = images->channels != d.c && images->channels != 1;
        if (st == ALEAT_ERR_SHAPE && colours)
            aleat_hint(err, "convert the images to grey first");
        else if (st == ALEAT_ERR_SHAPE)
            aleat_hint(err, "fit %s: %s", fits[1].name, fits[1].help);
        return st;
    }
    scratch = aleat_calloc((size_t)aleat_preparer_scratch(preparer), sizeof *scratch);
    one = aleat_calloc((size_t)count, sizeof *one);
    if (aleat_size_mul((size_t)t->n, (size_t)count, &all))
        t->pixels = aleat_calloc(all, sizeof *t->pixels);
    if (!scratch || !one || !t->pixels)
        st = aleat_fail_memory(err, "images");
    for (int64_t i = 0; !st && i < t->n; i++) {
        aleat_prepare_image(preparer, images, i, scratch, one);
        channels_first(t->pixels + i * count, one, d);
        for (int64_t j = 0; !st && j < count; j++)
            if (!isfinite(one[j]))
                st = aleat_fail(err, ALEAT_ERR_NUMERIC, "image %" PRId64 " is not finite", i);
    }
    aleat_free(scratch);
    aleat_free(one);
    aleat_preparer_free(preparer);
    return st;
}

// One by one, so that an image's latent does not depend on how many there are.
static aleat_status encode(aleat_intake *t, aleat_vae *encoder, int64_t count, aleat_error *err)
{
    const int64_t pixels = t->image_channels * t->image_height * t->image_width;
    size_t all;
    if (aleat_size_mul((size_t)t->n, (size_t)count, &all))
        t->latents = aleat_calloc(all, sizeof *t->latents);
    aleat_status st = t->latents ? ALEAT_OK : aleat_fail_memory(err, "latents");
    for (int64_t i = 0; !st && i < t->n; i++) {
        const aleat_array image = {.n_dims = 4,
                                   .dim = {1, t->image_channels, t->image_height, t->image_width},
                                   .data = t->pixels + i * pixels};
        aleat_array mean = {0}, latent = {0};
        st = aleat_vae_encode(encoder, &image, &mean, NULL, NULL, NULL, err);
        if (!st)
            st = aleat_vae_latents(encoder, &mean, NULL, NULL, &latent, err);
        if (!st && aleat_array_count(&latent) != count)
            st = aleat_fail(err, ALEAT_ERR_SHAPE, "latents of another size than the model's");
        if (!st)
            memcpy(t->latents + i * count, latent.data, (size_t)count * sizeof *t->latents);
        aleat_array_clear(&mean);
        aleat_array_clear(&latent);
    }
    return st;
}

aleat_status aleat_intake_make(aleat_intake *out, const aleat_model *model,
                               const aleat_images *images, int64_t n, const char *fit,
                               aleat_vae *encoder, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    const aleat_denoiser_info *info = &model->files.info;
    int way = 0;
    aleat_status st = aleat_name_find(&way, aleat_image_fit_name, fit, "way to fit images", err);
    if (!st && (n < 1 || n > images->n || n > UINT32_MAX))
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT,
                        "%" PRId64 " images are asked for, there are %" PRId64, n, images->n);
    if (!st)
        st = check_kind(model, encoder, err);
    if (st)
        return st;
    const int64_t factor = encoder ? encoder->files.factor : 1;
    const aleat_dims d = {.h = info->height * factor,
                          .w = info->width * factor,
                          .c = encoder ? encoder->files.image_channels : info->channels};
    *out = (aleat_intake){.n = n, .image_channels = d.c, .image_height = d.h, .image_width = d.w};
    st = take_pixels(out, images, &fits[way], d, err);
    if (!st && encoder)
        st = encode(out, encoder, info->channels * info->height * info->width, err);
    out->x0 = encoder ? out->latents : out->pixels;
    if (st)
        aleat_intake_clear(out);
    return st;
}

void aleat_intake_clear(aleat_intake *t)
{
    aleat_free(t->pixels);
    aleat_free(t->latents);
    memset(t, 0, sizeof *t);
}
