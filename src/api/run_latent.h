/*
 * What a run of a latent model does beside sampling: it decodes the latents into images, and if
 * asked carries the uncertainty of the latents into the space of the images.
 *
 * Two ways, both for the variance of x0 (map x0-var), summed over the scored steps as all maps are:
 *
 * - jvp, first order: diag(J V J^T), J the decoder's Jacobian at the sampled latent, V the diagonal
 *   matrix of x0-var. With random signs r, E[(J V^1/2 r)^2] is that diagonal, since E[r r^T] = I;
 *   the mean of K products is an unbiased estimate of relative deviation at most sqrt(2 / K).
 *   It takes the elements of the latent to vary independently. Costs K products, about 2 K
 * decodings.
 * - copies: the unbiased variance, pixel by pixel, of the decoded x0 of the M copies of
 * Algorithm 1. Nothing is linearised and what varies together is decoded together. Costs M
 * decodings for each scored step; no further evaluations of the network.
 */
#ifndef ALEAT_API_RUN_LATENT_H
#define ALEAT_API_RUN_LATENT_H

#include "api/vae_state.h"
#include "samplers/sampler.h"

typedef enum aleat_carry { ALEAT_CARRY_NONE, ALEAT_CARRY_JVP, ALEAT_CARRY_COPIES } aleat_carry;

typedef struct aleat_run_latent_options {
    aleat_vae *vae; /**< borrowed */
    aleat_carry carry;
    int products; /**< K of JVP */
    int copies;   /**< M of COPIES */
    uint64_t seed;
} aleat_run_latent_options;

typedef struct aleat_run_latent aleat_run_latent;

/** For latents like those of `model`, which is borrowed. ALEAT_ERR_ARGUMENT: they do not fit. */
ALEAT_MUST_USE aleat_status aleat_run_latent_new(aleat_run_latent **out,
                                                 const aleat_run_latent_options *options,
                                                 const aleat_denoiser *model,
                                                 aleat_prediction prediction, aleat_error *err);
/** Accepts NULL. */
void aleat_run_latent_free(aleat_run_latent *latent);

/** `model`, but what passes through it after aleat_run_latent_at() is taken for the copies of that
 * evaluation: for whoever makes the copies. */
const aleat_denoiser *aleat_run_latent_tap(const aleat_run_latent *latent);
/** Copies made from now on belong to this evaluation; their decoded variance is added to `variance`
 * [n,C,H,W], which begins with zeros. NULL: they are not looked at. */
void aleat_run_latent_at(aleat_run_latent *latent, const aleat_evaluation *evaluation,
                         float *variance);

/**
 * image [C,H,W] = the decoded `latent`. With JVP also `variance` [C,H,W] from that of the latent,
 * latent_variance [c,h,w]; `number` is the image's in the run. Otherwise both may be NULL.
 */
ALEAT_MUST_USE aleat_status aleat_run_latent_decode(aleat_run_latent *latent, uint32_t number,
                                                    const float *z, float *image,
                                                    const float *latent_variance, float *variance,
                                                    aleat_error *err);

#endif
