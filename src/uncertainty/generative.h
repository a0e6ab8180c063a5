/*
 * Generative uncertainty (Jazbec et al. 2025, arXiv 2502.20946): images from the same start by
 * networks whose last layers are drawn from a posterior, and how far their features lie apart. Here
 * the network with drawn weights, and the entropy; who samples with it is the caller.
 */
#ifndef ALEAT_UNCERTAINTY_GENERATIVE_H
#define ALEAT_UNCERTAINTY_GENERATIVE_H

#include "denoiser/denoiser.h"
#include "uncertainty/posterior.h"

/** Variance that the likelihood of features adds to every one (sigma^2 of the released script). */
#define ALEAT_FEATURE_VARIANCE 1e-3

/**
 * A denoiser that predicts as `inner` would with the weights that aleat_posterior_draw() drew last.
 * Both are borrowed and must outlive it. Memory grows with the largest batch, then stays.
 * ALEAT_ERR_UNSUPPORTED: the input of the network's last layer is not known; ALEAT_ERR_SHAPE: the
 * posterior is of another network.
 */
ALEAT_MUST_USE aleat_status aleat_drawn_denoiser(aleat_denoiser *out, const aleat_denoiser *inner,
                                                 aleat_posterior *posterior, int64_t height,
                                                 int64_t width, aleat_error *err);

/** The entropy, in nats, of N(mean, diag(variance + sigma^2)) with the mean and the variance
 * (divided by m) of features [m,dim] of one image. Source: the semantic likelihood of the paper, as
 * its released script computes it. */
double aleat_feature_entropy(const float *features, int64_t m, int64_t dim, double sigma_squared);

#endif
