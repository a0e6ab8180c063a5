/*
 * The autoencoder of latent diffusion (AutoencoderKL): images to latents and back. Beside the
 * denoisers, since it is used before and after them, at sizes that are chosen late (tiles).
 * Source: Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models".
 */
#ifndef ALEAT_MODELS_AUTOENCODER_KL_H
#define ALEAT_MODELS_AUTOENCODER_KL_H

#include "graph/graph.h"
#include "io/weights.h"
#include "models/model.h"

/** Zero-initialised: defaults. */
typedef struct aleat_autoencoder_options {
    const char *variant;   /**< "fp16": which weight files of a folder; NULL: first found */
    double scaling_factor; /**< 0: the configured one, or 0.18215 */
} aleat_autoencoder_options;

typedef struct aleat_autoencoder aleat_autoencoder;

/** An autoencoder as found on disk. */
typedef struct aleat_autoencoder_files {
    aleat_weights *weights;  /**< owned */
    char *config_path;       /**< config.json, or NULL; owned */
    char *config_text;       /**< effective configuration as JSON text; owned */
    aleat_autoencoder *self; /**< how the tensors are called, and all sizes; owned */
    int64_t image_channels, latent_channels;
    int64_t factor; /**< pixels of a latent, in each direction: 8 in Stable Diffusion */
    /** A latent as denoisers see it is scaling_factor (latent - shift_factor). */
    double scaling_factor, shift_factor;
    bool scaling_is_assumed; /**< neither a configuration nor a model in the same file tells them */
    bool factor_is_given;    /**< by the options */
} aleat_autoencoder_files;

/** One half, built for one size. */
typedef struct aleat_autoencoder_network {
    aleat_graph *graph; /**< owned; borrows the weights of the files */
    aleat_value x;      /**< input "x" */
    aleat_value out;    /**< output "out" */
} aleat_autoencoder_network;

/**
 * Opens a diffusers pipeline folder (its vae/), a diffusers folder with config.json, or one file:
 * with CompVis's names (encoder.down.0.block.0 ..., also inside an original Stable Diffusion
 * checkpoint as first_stage_model.*) or with diffusers' names. A file that has a config.json of an
 * AutoencoderKL beside it follows that; otherwise its sizes come from its tensors. Every tensor is
 * checked here, so that encoder and decoder fail later only for sizes.
 */
ALEAT_MUST_USE aleat_status aleat_autoencoder_files_open(aleat_autoencoder_files *out,
                                                         const char *path,
                                                         const aleat_autoencoder_options *options,
                                                         aleat_error *err);
/** Latents are those of a model from now on, unless the files tell their own scaling, or the
 * options the factor. Networks that were built before know nothing of it. *changed: whether
 * anything did. */
ALEAT_MUST_USE aleat_status aleat_autoencoder_files_suit(aleat_autoencoder_files *files,
                                                         aleat_latent_scaling latents,
                                                         bool *changed, aleat_error *err);
void aleat_autoencoder_files_close(aleat_autoencoder_files *files);

/**
 * x: image [height, width, image_channels] in [-1, 1], sizes multiples of `factor`; out: the
 * posterior's [mean | logvar] of the latent, not scaled, [height / factor, width / factor,
 * 2 latent_channels]. Users hold logvar to [-30, 20] and sample scaling_factor (mean +
 * exp(logvar / 2) noise - shift_factor).
 */
ALEAT_MUST_USE aleat_status aleat_autoencoder_encoder(aleat_autoencoder_network *out,
                                                      const aleat_autoencoder_files *files,
                                                      int64_t height, int64_t width,
                                                      aleat_error *err);
/**
 * x: a latent as denoisers see it [height, width, latent_channels]; the division by the scaling
 * factor is part of the graph, so derivatives hold for that x. out: image [height factor,
 * width factor, image_channels], about [-1, 1], not clamped.
 */
ALEAT_MUST_USE aleat_status aleat_autoencoder_decoder(aleat_autoencoder_network *out,
                                                      const aleat_autoencoder_files *files,
                                                      int64_t height, int64_t width,
                                                      aleat_error *err);
/** Accepts NULL and a zeroed network. */
void aleat_autoencoder_network_clear(aleat_autoencoder_network *network);

#endif
