/*
 * BayesDiff (Kou et al. 2024, arXiv 2310.11142): the variance that a posterior over the last
 * layer's weights gives an image, carried along the sampler's steps.
 *
 * Every K-th outer step is a UQ step: there the predicted noise is drawn from N(mu, gamma^2), and
 * the state's variance takes in gamma^2 and the covariance of state and prediction, which m states
 * drawn from N(E, V) estimate. It hangs on the hook of the one loop: a UQ step is nothing but a
 * changed eps. What a step does to a state the plan's coefficients say, so DDIM, DDPM and
 * DPM-Solver-2 are the same lines: x' = R x + A e_s + B e_s1 + n z has
 *   V' = R^2 V + 2 R Cov(x, A e_s + B e_s1) + A^2 gamma_s^2 + B^2 gamma_s1^2 + n^2
 * (A = 0 but for DPM-Solver-2 with middles in time instead of log SNR; given x, e_s and e_s1 count
 * as independent), and between UQ steps only the first and last term, as in the paper.
 */
#ifndef ALEAT_UNCERTAINTY_BAYESDIFF_H
#define ALEAT_UNCERTAINTY_BAYESDIFF_H

#include "base/rng_source.h"
#include "samplers/sampler.h"
#include "uncertainty/posterior.h"

typedef struct aleat_bayesdiff_options {
    aleat_posterior *posterior; /**< borrowed */
    int every;                  /**< K: outer steps 0, K, 2K ... are UQ steps */
    int samples;                /**< m, at least 2 */
    int draws;                  /**< weights drawn for gamma^2; 0: closed form */
    aleat_time_map time_map;    /**< of the network */
} aleat_bayesdiff_options;

typedef struct aleat_bayesdiff aleat_bayesdiff;

/**
 * For batches of up to max_n images. Plan and denoiser are borrowed.
 * ALEAT_ERR_UNSUPPORTED: a network whose last layer's input is not known; a plan with steps that
 * look further back than a step's two evaluations, that depend on the first of two predictions,
 * that clip x0 or learn their noise: then the state's variance is not known.
 */
ALEAT_MUST_USE aleat_status aleat_bayesdiff_new(aleat_bayesdiff **out,
                                                const aleat_sampling_plan *plan,
                                                const aleat_denoiser *denoiser,
                                                const aleat_bayesdiff_options *options,
                                                int64_t max_n, int64_t height, int64_t width,
                                                aleat_error *err);
/** Accepts NULL. */
void aleat_bayesdiff_free(aleat_bayesdiff *b);
/** The denoiser for the sampler: the given one, whose features it keeps. */
const aleat_denoiser *aleat_bayesdiff_tap(const aleat_bayesdiff *b);
/** A batch begins. */
void aleat_bayesdiff_begin(aleat_bayesdiff *b, aleat_noise_source noise);
/** The `evaluated` hook. */
ALEAT_MUST_USE aleat_status aleat_bayesdiff_evaluated(aleat_bayesdiff *b, aleat_evaluation *e,
                                                      aleat_error *err);
/** map [n,C,H,W] = V of the state after the outer step of the last evaluation, squared units of x.
 */
void aleat_bayesdiff_map(const aleat_bayesdiff *b, int64_t n, float *map);
/** Network evaluations per image in all runs so far, the sampler's own not included. */
int64_t aleat_bayesdiff_nfe(const aleat_bayesdiff *b);

#endif
