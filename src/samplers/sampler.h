/*
 * The loop: one function that takes a batch from noise to images, whatever the sampler. It asks the
 * denoiser, shows every evaluation to a hook, and forms the next state from the plan's
 * coefficients.
 */
#ifndef ALEAT_SAMPLERS_SAMPLER_H
#define ALEAT_SAMPLERS_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/status.h"
#include "base/rng_source.h"
#include "denoiser/denoiser.h"
#include "samplers/plan.h"

/** How a family of networks is told the time: t_network = scale * t + offset. */
typedef struct aleat_time_map {
    double scale, offset;
} aleat_time_map;
/** The training step itself, from 0: most networks. */
#define ALEAT_TIME_IDENTITY ((aleat_time_map){1, 0})

/** One evaluation, as a hook sees it. Arrays are C order, f32; valid during the call only. */
typedef struct aleat_evaluation {
    const aleat_sampling_plan *plan;
    const aleat_sampling_step *step; /**< t, alpha, sigma, outer, stage */
    int index;                       /**< which evaluation, from 0 */
    float t_network;                 /**< what the network was told */
    int64_t n;                       /**< images */
    int64_t count;                   /**< elements of one image: channels * height * width */
    int64_t height, width;
    const uint32_t *images; /**< [n] numbers of the images in the run */
    aleat_condition condition;
    const float *x;   /**< [n,C,H,W] the state, variance-preserving */
    const float *raw; /**< [n,out_channels,H,W] the network's output */
    float *eps;       /**< [n,C,H,W] predicted noise; a hook may change it */
    const float *x0;  /**< [n,C,H,W] predicted x0, clipped as the sampler clips */
    bool eps_changed; /**< set by a hook that changed eps: x0 is then formed anew from it */
} aleat_evaluation;

/** What is called during a run. Any pointer may be NULL. A status other than ALEAT_OK ends the run
 * with it; ALEAT_ERR_CANCELLED is the way to stop. */
typedef struct aleat_sampler_hooks {
    void *ctx;
    /** After each evaluation, before the sampler advances (once). */
    aleat_status (*evaluated)(void *ctx, aleat_evaluation *evaluation, aleat_error *err);
    /** With each state: index k is the state after evaluation k, so -1 is x_T; the first is that
     * which the run begins with. */
    aleat_status (*advanced)(void *ctx, int index, const float *x, int64_t n, aleat_error *err);
    /**
     * The gradient of a log probability of the state that the run is to raise, [n,C,H,W], after
     * `evaluated`. DDPM moves the mean of its step by the variance times it, every other sampler
     * the predicted noise by -sigma times it and x0 with it, both after clipping (condition_mean
     * and condition_score of Dhariwal and Nichol 2021, algorithms 1 and 2).
     */
    aleat_status (*gradient)(void *ctx, const aleat_evaluation *evaluation, float *gradient,
                             aleat_error *err);
} aleat_sampler_hooks;

/** A batch to sample; everything is borrowed for the call. */
typedef struct aleat_sample_request {
    int64_t n;              /**< images, at most the sampler's max_n */
    const uint32_t *images; /**< [n] numbers in the run: they name the noise */
    aleat_condition condition;
    aleat_noise_source noise;
    const float *initial; /**< [n,C,H,W] standard normal to start from; NULL: from `noise` */
    /** [n,C,H,W], a state at the level of evaluation `first`, with which the run then begins: one
     * that aleat_sampling_plan_begin() gave. Predictions before it, which some samplers look back
     * on, are taken to have been the first one, which lowers the order of that step. NULL: x_T. */
    const float *state;
    int first; /**< 0 without a state */
    aleat_sampler_hooks hooks;
} aleat_sample_request;

typedef struct aleat_sampler aleat_sampler;

/**
 * A sampler for batches of up to max_n images of height x width. Plan and denoiser are borrowed and
 * must outlive it. All memory of the runs is allocated here.
 * ALEAT_ERR_SHAPE: the network has fixed sizes, and these are others; ALEAT_ERR_UNSUPPORTED: the
 * plan needs a learned variance that the network does not give.
 */
ALEAT_MUST_USE aleat_status aleat_sampler_new(aleat_sampler **out, const aleat_sampling_plan *plan,
                                              const aleat_denoiser *denoiser,
                                              aleat_time_map time_map, int64_t max_n,
                                              int64_t height, int64_t width, aleat_error *err);
/** Accepts NULL. */
void aleat_sampler_free(aleat_sampler *sampler);

/**
 * Samples a batch into x, [n,C,H,W], model scale (not clipped to [-1,1] at the end). Allocates
 * nothing. ALEAT_ERR_NUMERIC: the state became NaN or infinite, with the step at which.
 */
ALEAT_MUST_USE aleat_status aleat_sampler_run(aleat_sampler *sampler,
                                              const aleat_sample_request *request, float *x,
                                              aleat_error *err);

/** Network evaluations per image in all runs so far, hooks' own not included. */
int64_t aleat_sampler_nfe(const aleat_sampler *sampler);

#endif
