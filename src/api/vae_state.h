/* Behind the public aleat_vae: what the other files of this layer need of it. */
#ifndef ALEAT_API_VAE_STATE_H
#define ALEAT_API_VAE_STATE_H

#include "aleat/vae.h"
#include "denoiser/network.h"
#include "models/autoencoder_kl.h"

/** Encoder or decoder, built for one image size; built anew when another is asked for. */
typedef struct aleat_vae_half {
    aleat_autoencoder_network network;
    aleat_denoiser denoiser; /**< runs it */
    int64_t height, width;   /**< in latents; 0: not built */
} aleat_vae_half;

struct aleat_vae {
    char *path;
    aleat_autoencoder_files files;
    aleat_engine_options engine;
    int64_t n_parameters;
    aleat_vae_half encoder, decoder, *last;
};

/** The decoder for latents of height x width; borrowed, valid until another size is asked for. */
ALEAT_MUST_USE aleat_status aleat_vae_decoder(aleat_vae *vae, int64_t height, int64_t width,
                                              const aleat_denoiser **out, aleat_error *err);

/** Latents are those of this model from now on, where the autoencoder's own files do not tell. */
ALEAT_MUST_USE aleat_status aleat_vae_suit(aleat_vae *vae, const aleat_model_files *model,
                                           aleat_error *err);

#endif
