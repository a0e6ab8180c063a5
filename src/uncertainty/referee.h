/*
 * Maps of uncertainty of images that are there already: each is noised to the level of a sampler's
 * step, as if sampling had come by, and Algorithm 1 looks at it there; over several steps and, if
 * asked, several draws of that noise. Beside the maps of the estimator there is one that only a
 * known image can have: the squared error of the x0 predicted at the noised image.
 */
#ifndef ALEAT_UNCERTAINTY_REFEREE_H
#define ALEAT_UNCERTAINTY_REFEREE_H

#include "aleat/status.h"
#include "base/rng_source.h"
#include "uncertainty/observer.h"

typedef struct aleat_referee_options {
    const aleat_sampling_plan *plan; /**< whose steps; borrowed */
    aleat_time_map time_map;
    /** The window of scored steps, estimator and compat; nothing else of it is looked at. */
    aleat_observer_options observe;
    int repeats; /**< R >= 1 draws of the noise; R M < 2^24 */
} aleat_referee_options;

typedef struct aleat_referee aleat_referee;

/** For batches of up to max_n images. ALEAT_ERR_ARGUMENT: repeats out of range, or a step of the
 * window at pure noise, where nothing is left of an image. */
ALEAT_MUST_USE aleat_status aleat_referee_new(aleat_referee **out, const aleat_denoiser *denoiser,
                                              const aleat_referee_options *options, int64_t max_n,
                                              int64_t height, int64_t width, aleat_error *err);
/** Accepts NULL. */
void aleat_referee_free(aleat_referee *referee);

/** A batch; borrowed for the call. */
typedef struct aleat_referee_request {
    int64_t n;              /**< images, at most max_n */
    const uint32_t *images; /**< [n] numbers: they name the noise */
    aleat_condition condition;
    aleat_noise_source noise; /**< a counter-based one */
    const float *x0;          /**< [n,C,H,W] the images, model scale */
    /** Called after each evaluated step with how many are done of how many; a status ends it. */
    aleat_status (*step)(void *ctx, int64_t done, int64_t total, aleat_error *err);
    void *ctx;
} aleat_referee_request;

/** Costs R K (1 + M) evaluations an image, K the steps of the window. An image's maps have the same
 * bits whatever the batch. */
ALEAT_MUST_USE aleat_status aleat_referee_run(aleat_referee *referee,
                                              const aleat_referee_request *request,
                                              aleat_error *err);

/** Maps: those of the estimator, then the error. */
int aleat_referee_maps(const aleat_referee *referee);
/**
 * Of image i of the last batch: mean [count] = the mean over the draws of map k summed over the
 * steps; error [count], unless NULL, its standard error from the draws. With one draw that is NaN.
 */
void aleat_referee_map(const aleat_referee *referee, int k, int64_t i, float *mean, float *error);
/** The same of the sum of map k over the image at outer step `step`. */
void aleat_referee_step_sum(const aleat_referee *referee, int k, int64_t i, int step, double *mean,
                            double *error);
/** Network evaluations per image in all runs so far. */
int64_t aleat_referee_nfe(const aleat_referee *referee);

#endif
