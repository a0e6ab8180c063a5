/* Images from elsewhere as a model sees them: its size, its colours, its range, or its latents. */
#ifndef ALEAT_API_INTAKE_H
#define ALEAT_API_INTAKE_H

#include "aleat/features.h"
#include "aleat/vae.h"
#include "api/model_state.h"

/** Zero-initialise; aleat_intake_clear(). */
typedef struct aleat_intake {
    int64_t n;
    int64_t image_channels, image_height, image_width;
    float *pixels;   /**< [n,C,H,W] in -1 .. 1; owned */
    float *latents;  /**< [n,c,h,w] of them, or NULL without an encoder; owned */
    const float *x0; /**< what the model denoises: the latents, or else the pixels */
} aleat_intake;

/**
 * The first n images, fitted by the way called `fit` (aleat_image_fit_name(); NULL: the first).
 * `encoder`, borrowed: makes latents of them, their mean; NULL: the model's images are pixels.
 * ALEAT_ERR_SHAPE: they do not fit, with a hint; ALEAT_ERR_NUMERIC: not finite;
 * ALEAT_ERR_ARGUMENT: an encoder is missing, or there is one for a model of pixels.
 */
ALEAT_MUST_USE aleat_status aleat_intake_make(aleat_intake *out, const aleat_model *model,
                                              const aleat_images *images, int64_t n,
                                              const char *fit, aleat_vae *encoder,
                                              aleat_error *err);
void aleat_intake_clear(aleat_intake *t);

#endif
