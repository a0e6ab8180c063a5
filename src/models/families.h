/* The families, for the registry, and what they share. */
#ifndef ALEAT_MODELS_FAMILIES_H
#define ALEAT_MODELS_FAMILIES_H

#include "models/model.h"

extern const aleat_model_family aleat_family_unet2d;
extern const aleat_model_family aleat_family_adm;
extern const aleat_model_family aleat_family_adm_classifier;
extern const aleat_model_family aleat_family_uvit;
extern const aleat_model_family aleat_family_cifar_resnet;
extern const aleat_model_family aleat_family_inception;
extern const aleat_model_family aleat_family_preact_resnet;
extern const aleat_model_family aleat_family_unet2d_condition;
extern const aleat_model_family aleat_family_sd3;
extern const aleat_model_family aleat_family_flux;

/** Of both families with autoencoders of 16 channels: vae/config.json of their diffusers folders.
 */
extern const aleat_latent_scaling aleat_sd3_latents, aleat_flux_latents;

/** Patterns of what single-file checkpoints hold beside the network: autoencoder, text encoders,
 * tables of the noise schedule, an average of the weights. For aleat_model_family.harmless. */
extern const char *const aleat_single_file_parts[];

/**
 * The image size to build for: the user's, else what `dims` holds. ALEAT_ERR_ARGUMENT unless both
 * are multiples of `unit`, or if there is none (0; `missing` says why). `file` is for messages.
 */
ALEAT_MUST_USE aleat_status aleat_model_choose_size(aleat_dims *dims,
                                                    const aleat_model_options *options,
                                                    int64_t unit, const char *file,
                                                    const char *missing, aleat_error *err);

/** *dropout = the user's, if there is one. ALEAT_ERR_ARGUMENT: not in [0, 1). */
ALEAT_MUST_USE aleat_status aleat_model_choose_dropout(double *dropout,
                                                       const aleat_model_options *options,
                                                       aleat_error *err);

/** 2^(levels - 1): what an image's sides must be multiples of if every level but the last halves
 * it. */
static inline int64_t aleat_level_unit(int levels)
{
    return levels > 0 ? (int64_t)1 << (levels - 1) : 1;
}

/* ---- recognition by tensors ------------------------------------------------------------------ */

/** Largest size that is believed of a file: channels, classes, tokens. */
#define ALEAT_INSPECT_MAX (1 << 24)

/** Is there a tensor of this (printf-formatted) name? */
bool aleat_inspect_has(aleat_weights *weights, const char *fmt, ...) ALEAT_PRINTF(2, 3);
/** Its size along `axis`; 0 if there is no such tensor or axis, or the size is not in 1 ..
 * ALEAT_INSPECT_MAX. */
int64_t aleat_inspect_dim(aleat_weights *weights, int axis, const char *fmt, ...)
    ALEAT_PRINTF(3, 4);

#endif
