/*
 * Classifier-free guidance (Ho and Salimans, arXiv 2207.12598): a denoiser around a denoiser.
 */
#ifndef ALEAT_DENOISER_CFG_H
#define ALEAT_DENOISER_CFG_H

#include "denoiser/denoiser.h"

typedef struct aleat_cfg_options {
    double scale; /**< w: 0 unconditional, 1 conditional (no guidance), above 1 exaggerated */
    /** The condition of one image: what every image's unconditional half is given (the null class,
     * an empty or a negative prompt). Borrowed; outlives the denoiser. */
    aleat_condition unconditional;
} aleat_cfg_options;

/**
 * The prediction is u + w (c - u), c and u being what `inner` predicts at the same x and t under
 * the batch's condition and under the unconditional one. That is the same rule whether eps, x0, v
 * or a velocity is predicted: all are linear in eps at a given x. A learned variance is c's, as
 * DiT and GLIDE take it.
 *
 * One batch of 2n rows to `inner` for each call: twice the evaluations, counted by the info. The
 * derivatives are those of the combination, J = (1 - w) J_u + w J_c. Memory grows with the largest
 * batch so far, then stays.
 *
 * @param inner  borrowed; outlives the denoiser
 * @return ALEAT_ERR_ARGUMENT: the scale is not finite, or `unconditional` holds nothing
 */
ALEAT_MUST_USE aleat_status aleat_cfg_denoiser(aleat_denoiser *out, const aleat_denoiser *inner,
                                               const aleat_cfg_options *options, aleat_error *err);

/**
 * |c - u| of each image of the last predict(), L2 over the elements of the prediction: [n], valid
 * until the next call. NULL before the first, and if `denoiser` is not one of these.
 */
const double *aleat_cfg_gap(const aleat_denoiser *denoiser);

#endif
