/*
 * A diagonal Laplace posterior over the weights of a network's last layer (Daxberger et al. 2021;
 * as BayesDiff, arXiv 2310.11142, fits it): its curvature from data, the variance it gives the
 * output, and draws from it.
 */
#ifndef ALEAT_UNCERTAINTY_POSTERIOR_H
#define ALEAT_UNCERTAINTY_POSTERIOR_H

#include "base/rng.h"
#include "denoiser/head.h"

/** Precision of the prior N(0, 1) of every weight, and of the unit observation noise. */
#define ALEAT_PRIOR_PRECISION 1.0

/** Sums of the curvature, in double. Zero-initialise; ends with aleat_curvature_clear(). */
typedef struct aleat_curvature {
    int64_t n_weights, n_biases;
    double *weight, *bias; /**< H: [n_weights], [n_biases] */
    float *gradient;       /**< of one image: both */
} aleat_curvature;

ALEAT_MUST_USE aleat_status aleat_curvature_init(aleat_curvature *h, const aleat_head *head,
                                                 aleat_error *err);
void aleat_curvature_clear(aleat_curvature *h);
/**
 * H += g^2 / 2, g = d (sum of residual^2) / d weights for one image, summed over its pixels before
 * it is squared (the released code's empirical Fisher: with unit observation noise it is twice that
 * of the log likelihood). `head`: any weights.
 *
 * @param features  [features] of the image
 * @param residual  [outputs] prediction - target, 0 for channels that predict something else;
 *                  doubled by this call
 */
void aleat_curvature_add(aleat_curvature *h, const aleat_head *head, const float *features,
                         float *residual);

typedef struct aleat_posterior aleat_posterior;

/** The posterior N(trained weights, 1 / (H + prior)) of the last layer that `y` of `graph` comes
 * from. weight [n_weights], bias [n_biases]: H; copied. ALEAT_ERR_SHAPE: of another layer;
 * ALEAT_ERR_FORMAT: a value below 0 or not finite. */
ALEAT_MUST_USE aleat_status aleat_posterior_new(aleat_posterior **out, const aleat_graph *graph,
                                                aleat_value y, const aleat_curvature *h,
                                                int threads, aleat_error *err);
/** Accepts NULL. */
void aleat_posterior_free(aleat_posterior *p);
int64_t aleat_posterior_features(const aleat_posterior *p);
int64_t aleat_posterior_outputs(const aleat_posterior *p);

/** variance [n,outputs] of the raw output under the posterior, in closed form: the sum over the
 * weights of features^2 / P, and 1 / P of the bias. */
void aleat_posterior_variance(const aleat_posterior *p, int64_t n, const float *features,
                              float *variance);
/** Draws weights: number key->copy of that key's purpose ALEAT_FOR_WEIGHTS. */
ALEAT_MUST_USE aleat_status aleat_posterior_draw(aleat_posterior *p, const aleat_rng_key *key,
                                                 aleat_error *err);
/** shift [n,outputs]: what the weights drawn last add to the raw output. */
void aleat_posterior_shift(const aleat_posterior *p, int64_t n, const float *features,
                           float *shift);
/** Mean shift and unbiased variance, [outputs] each, over `draws` >= 2 weights of one image, as the
 * published code has them instead of the closed form. */
ALEAT_MUST_USE aleat_status aleat_posterior_sample(aleat_posterior *p, const aleat_rng_key *key,
                                                   int draws, const float *features, float *mean,
                                                   float *variance, aleat_error *err);

#endif
