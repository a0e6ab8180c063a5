/*
 * The autoencoder of latent diffusion (AutoencoderKL): images to latents and back.
 */
#ifndef ALEAT_VAE_H
#define ALEAT_VAE_H

#include <stddef.h>
#include <stdint.h>

#include "aleat/array.h"
#include "aleat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** An autoencoder, ready to run. Used by one thread at a time. */
typedef struct aleat_vae aleat_vae;

/** How to open one. Zero-initialise: the defaults. Strings are borrowed for the call. */
typedef struct aleat_vae_options {
    const char *variant;   /**< "fp16": which of several weight files; NULL: the first found */
    const char *precision; /**< a name from aleat_precision_name(); NULL: "f32" */
    int threads;           /**< 0: all processors of this process; changes no result */
    double scaling_factor; /**< of latents; 0: the configured one, or 0.18215. Those of a lone file
                              of 16 channels are FLUX.1's, until a run of another model takes it */
    /**
     * Bytes of activations beyond which those of an image lie in a temporary file, in $TMPDIR or
     * /var/tmp, and at most about so many are in memory at once. 0: 2 GiB; negative: never in a
     * file. No result depends on it.
     */
    int64_t memory;
} aleat_vae_options;

/** What an autoencoder is. Strings live as long as it does. */
typedef struct aleat_vae_facts {
    const char *path, *weights_path, *weights_format, *config_json;
    int64_t image_channels, latent_channels;
    int64_t factor; /**< pixels of a latent in each direction */
    /** A latent as diffusion models see it is scaling_factor (latent - shift_factor). */
    double scaling_factor, shift_factor;
    int64_t n_tensors, n_parameters;
    double flop;                     /**< of the last size that was run, one image */
    size_t weight_bytes, plan_bytes; /**< as packed; activations and scratch of that size */
} aleat_vae_facts;

/**
 * Opens a diffusers pipeline (its vae/), an autoencoder's folder, or one file with the names of
 * CompVis (autoencoder_kl.pth, or inside an original Stable Diffusion checkpoint) or of diffusers.
 *
 * @param out  to be released by aleat_vae_close(); NULL on error
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_vae_open(aleat_vae **out, const char *path,
                                                     const aleat_vae_options *options,
                                                     aleat_error *err);
/** Accepts NULL. */
ALEAT_API void aleat_vae_close(aleat_vae *vae);
ALEAT_API aleat_vae_facts aleat_vae_describe(const aleat_vae *vae);

/**
 * Images of latents.
 *
 * @param latents  [N,c,h,w] as diffusion models see them (scaled)
 * @param images   new, [N,C,h factor,w factor], about [-1, 1], not clamped
 * @param cotangent, grad  both NULL, or cotangent like images and grad a new array like latents:
 *                         d <cotangent, images> / d latents
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_vae_decode(aleat_vae *vae, const aleat_array *latents,
                                                       aleat_array *images,
                                                       const aleat_array *cotangent,
                                                       aleat_array *grad, aleat_error *err);
/**
 * The normal distribution of an image's latent, before scaling.
 *
 * @param images     [N,C,H,W] in [-1, 1]; H and W multiples of `factor`
 * @param mean       new, [N,c,H / factor,W / factor]
 * @param logvar     new, likewise, logarithm of the variance held to [-30, 20]; may be NULL
 * @param cotangent, grad  both NULL, or cotangent like mean and grad a new array like images:
 *                         d <cotangent, mean> / d images
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_vae_encode(aleat_vae *vae, const aleat_array *images,
                                                       aleat_array *mean, aleat_array *logvar,
                                                       const aleat_array *cotangent,
                                                       aleat_array *grad, aleat_error *err);
/**
 * Latents as diffusion models see them: scaling_factor (mean + exp(logvar / 2) noise -
 * shift_factor).
 *
 * @param logvar, noise  like mean; either may be NULL: then the mean itself is taken
 * @param latents        new, like mean
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_vae_latents(const aleat_vae *vae,
                                                        const aleat_array *mean,
                                                        const aleat_array *logvar,
                                                        const aleat_array *noise,
                                                        aleat_array *latents, aleat_error *err);
/** Standard normals under a seed, for the noise above: image i has its own whatever n is. */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_vae_noise(const aleat_array *mean, uint64_t seed,
                                                      aleat_array *noise, aleat_error *err);

#ifdef __cplusplus
}
#endif
#endif
