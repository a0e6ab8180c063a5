/*
 * The M perturbed copies of a state (arXiv 2412.00205, Algorithm 1): made, evaluated as one batch,
 * and turned into noise predictions. Shared by the estimator and by guidance.
 */
#ifndef ALEAT_UNCERTAINTY_COPIES_H
#define ALEAT_UNCERTAINTY_COPIES_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/status.h"
#include "base/rng_source.h"
#include "denoiser/condition.h"
#include "denoiser/denoiser.h"
#include "samplers/config.h"
#include "samplers/sampler.h"

/** A state at which uncertainty is asked for; borrowed. x = alpha x0 + sigma n. */
typedef struct aleat_noisy_state {
    int64_t n, height, width;
    const uint32_t *images; /**< [n] numbers in the run: they name the noise */
    uint32_t step;          /**< names the noise, too */
    double alpha, sigma;
    float t_network;
    aleat_condition condition;
    const float *x;         /**< [n,C,H,W] */
    const float *eps;       /**< [n,C,H,W] the noise predicted at x: e0 */
    const float *x0;        /**< [n,C,H,W] x0 predicted at x, clipped as `clip` says */
    const aleat_clip *clip; /**< of the sampler */
    /** [n,C,H,W] or NULL. Copies are then base_scale base + noise_scale z, whatever eps and x0: for
     * variants of the method (compat.h). */
    const float *base;
    double base_scale, noise_scale;
} aleat_noisy_state;

/** The state of an evaluation in a sampling run. The step that names the noise is its index. */
aleat_noisy_state aleat_noisy_state_of(const aleat_evaluation *evaluation);

/** Whether the copies start from the clipped or the unclipped prediction of x0. */
typedef enum aleat_clip_mode {
    ALEAT_CLIP_AUTO, /**< as the sampler */
    ALEAT_CLIP_ON,   /**< the sampler's x0 if it clips, else x0 clamped to [-1, 1] */
    ALEAT_CLIP_OFF
} aleat_clip_mode;

/** How the rows of an image differ. */
typedef enum aleat_copy_kind {
    ALEAT_COPY_RENOISED, /**< Algorithm 1: x0 noised anew */
    ALEAT_COPY_DROPPED,  /**< MC-Dropout: the state as it is, seen by networks with other masks */
} aleat_copy_kind;

/** Workspace for up to max_rows copies at a time. Plain struct, for the files of this layer only.
 */
typedef struct aleat_copies {
    const aleat_denoiser *denoiser; /**< borrowed */
    aleat_prediction prediction;
    int per_image;                   /**< M */
    int64_t max_rows;                /**< rows of the arrays */
    int64_t count, out_count;        /**< elements of an image, of an output */
    float *x, *z, *eps;              /**< [max_rows, count] input, its noise, predicted noise */
    float *raw;                      /**< [max_rows, out_count] */
    float *t;                        /**< [max_rows] */
    aleat_condition_rows conditions; /**< [max_rows] */
    aleat_copy_kind kind;            /**< set behind aleat_copies_init(); RENOISED by it */
    uint32_t *images, *passes;       /**< [max_rows] names of masks */
    aleat_dropout dropout;
} aleat_copies;

/** Allocates; zero-initialised on failure. max_rows >= 1. */
ALEAT_MUST_USE aleat_status aleat_copies_init(aleat_copies *copies, const aleat_denoiser *denoiser,
                                              aleat_prediction prediction, int per_image,
                                              int64_t max_rows, int64_t height, int64_t width,
                                              aleat_error *err);
void aleat_copies_clear(aleat_copies *copies);

/**
 * Rows [begin, begin + rows) of the n * M copies, copy fastest: row r is copy r % M of image r / M.
 * Fills x and z: with clipping x = alpha x0 + sigma z, without x + sigma (z - e0), which is the
 * same for the unclipped x0 but does not divide by alpha. DROPPED: x as it is, z = 0, and names of
 * masks under the noise's seed.
 */
ALEAT_MUST_USE aleat_status aleat_copies_make(aleat_copies *copies, const aleat_noisy_state *state,
                                              aleat_clip_mode clip, const aleat_noise_source *noise,
                                              int64_t begin, int64_t rows, aleat_error *err);
/** The rows last made, as a batch. */
aleat_batch aleat_copies_batch(const aleat_copies *copies, const aleat_noisy_state *state,
                               int64_t rows);
/** Evaluates the rows last made and fills eps; `keep`: for a backward() to follow. */
ALEAT_MUST_USE aleat_status aleat_copies_evaluate(aleat_copies *copies,
                                                  const aleat_noisy_state *state, int64_t rows,
                                                  bool keep, aleat_error *err);

/** Do the copies of this state start from a clipped x0? */
bool aleat_copies_clipped(const aleat_noisy_state *state, aleat_clip_mode clip);

#endif
