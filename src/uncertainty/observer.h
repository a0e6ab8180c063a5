/*
 * The hook that puts uncertainty into a sampling run: scores some steps, guides some steps, and
 * keeps the sums. What sampler and network are doing it does not know.
 */
#ifndef ALEAT_UNCERTAINTY_OBSERVER_H
#define ALEAT_UNCERTAINTY_OBSERVER_H

#include "aleat/status.h"
#include "base/rng_source.h"
#include "samplers/sampler.h"
#include "uncertainty/accumulate.h"
#include "uncertainty/bayesdiff.h"
#include "uncertainty/compat.h"
#include "uncertainty/estimator.h"
#include "uncertainty/guidance.h"
#include "uncertainty/signals.h"

typedef struct aleat_observer_options {
    aleat_window score;                /**< outer steps that are scored; empty: none */
    aleat_estimator_options estimator; /**< used if `score` is not empty */
    aleat_window guide;                /**< outer steps that are guided; empty: none */
    aleat_guide_options guidance;      /**< used if `guide` is not empty */
    /** BayesDiff instead of the estimator: V at the end of the last outer step, which `score` then
     * consists of. posterior NULL: none. */
    aleat_bayesdiff_options bayesdiff;
    aleat_compat compat;  /**< its changes of the two options are made here, not by the caller */
    aleat_window signals; /**< outer steps that signals are taken from; empty: none */
    const aleat_denoiser *cfg; /**< classifier-free guidance whose gap is a signal; or NULL */
    /** [n_outer of the plan] thresholds of guided steps, [C,H,W] each, NULL entries: the quantile.
     * NULL: all quantiles. Borrowed. */
    const float *const *thresholds;
    /** Called with the maps of each scored step ([n,C,H,W] each), e.g. to keep them; may be NULL.
     */
    aleat_status (*scored)(void *ctx, int step, float *const *maps, int64_t n, aleat_error *err);
    /** Called after each guided evaluation with |e' - e| / |e| of each image; may be NULL. */
    aleat_status (*guided)(void *ctx, int step, const double *change, int64_t n, aleat_error *err);
    void *ctx;
} aleat_observer_options;

typedef struct aleat_observer aleat_observer;

/** For batches of up to max_n images. Plan (read by BayesDiff only, else it may be NULL) and
 * denoiser are borrowed and must outlive it. */
ALEAT_MUST_USE aleat_status aleat_observer_new(aleat_observer **out,
                                               const aleat_sampling_plan *plan,
                                               const aleat_denoiser *denoiser,
                                               aleat_prediction prediction,
                                               const aleat_observer_options *options, int64_t max_n,
                                               int64_t height, int64_t width, aleat_error *err);
/** Accepts NULL. */
void aleat_observer_free(aleat_observer *observer);

/** Begins a batch: forgets the sums and takes the noise of the copies from `noise`. */
void aleat_observer_begin(aleat_observer *observer, aleat_noise_source noise);
/**
 * The `evaluated` hook (ctx: the observer). In a step of several evaluations the first is scored
 * and every one guided. A step is scored by the prediction before guidance changes it. Where both
 * happen, the copies are evaluated once (if both are of the same M and clipping).
 */
aleat_status aleat_observer_evaluated(void *observer, aleat_evaluation *evaluation,
                                      aleat_error *err);

/** What the sampler is to ask instead of `denoiser`, whose answers are the same: BayesDiff takes
 * more from an evaluation than its output. `denoiser` itself if there is none. */
const aleat_denoiser *aleat_observer_tap(const aleat_observer *observer,
                                         const aleat_denoiser *denoiser);
/** The sums of statistic k of the options; NULL if no step is scored. */
const aleat_accumulator *aleat_observer_sums(const aleat_observer *observer, int k);
/** The signals; NULL if there are none. */
const aleat_signals *aleat_observer_signals(const aleat_observer *observer);
/** Forward evaluations per image that scoring and guidance cost so far. */
int64_t aleat_observer_nfe(const aleat_observer *observer);

#endif
