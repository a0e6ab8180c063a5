/*
 * Reconstruction: real images are noised to the middle of a sampling run and denoised from there,
 * with maps of uncertainty, so that maps can be held against true errors (arXiv 2412.00205, AUSE
 * and AURG).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ALEAT_RECONSTRUCT_H
#define ALEAT_RECONSTRUCT_H

#include <stdint.h>

#include "aleat/features.h"
#include "aleat/metrics.h"
#include "aleat/model.h"
#include "aleat/run.h"
#include "aleat/status.h"
#include "aleat/vae.h"

#ifdef __cplusplus
extern "C" {
#endif

/** How images come to the size of a model: the i-th name, with one line of explanation in *help
 * (which may be NULL); NULL beyond the last. */
ALEAT_API const char *aleat_image_fit_name(int i, const char **help);
/** What the published code does otherwise in this experiment: "ause-noise-index", ... */
ALEAT_API const char *aleat_reconstruct_compat_name(int i, const char **help);

/** A reconstruction. Zero-initialise: defaults. Everything is borrowed for the call. */
typedef struct aleat_reconstruct_options {
    /**
     * Of these count: n (0: all images), sampling, seed, rng, labels, batch, keep_step_maps,
     * keep_x0, shown, estimator ("copies", "mc-dropout" or both), copies, clip, cfg_scale,
     * statistic, compat, decoder, resume, command, progress and ctx. Every executed step is scored
     * unless score_steps says which, and they must be executed ones. Guidance, a classifier,
     * `initial` and `trajectory` are refused. The names in `compat` may be those of
     * aleat_reconstruct_compat_name(), too.
     */
    aleat_run_options run;
    /** The first sampler step k* that is executed, 0 < k* < steps: images are noised to its level,
     * x = alpha x0 + sigma z with abar[tau_k*]. 0: from_share says it. */
    int64_t from;
    double from_share;  /**< k* = floor(share * steps), 0 < share < 1; 0: 0.5, the paper's T/2 */
    const char *fit;    /**< a name from aleat_image_fit_name(); NULL: "centre" */
    aleat_vae *encoder; /**< makes latents of images (their mean), for a model of latents; then
                             errors and maps are those of latents. NULL: the model's own pixels */
    int64_t draws;      /**< resamples of images for intervals; 0: no intervals */
    double confidence;  /**< of the intervals; 0: 0.95 */
} aleat_reconstruct_options;

/** Maps that a result holds at most. */
#define ALEAT_RECONSTRUCT_MAPS 8

/** A map, summed over the scored steps, against the error of the reconstruction. */
typedef struct aleat_reconstruct_map {
    const char *name;  /**< "x0-var": static */
    int low_is_unsure; /**< whether its low values mark unsure pixels, by theory */
    /** Of aleat_metric_evaluate("ause"): pixels of all images pooled and the mean over images, for
     * the map as it is and, `_inverted`, with the other sign; Spearman's correlation with the
     * squared error. Errors are differences of images that run from -1 to 1 (of latents: of
     * latents): on [0, 1] areas are half as large. */
    aleat_metric_result ause;
    /** Of maps in squared pixels: the mean squared error over the mean of the map over pixels and
     * scored steps, 1 if the map were the variance of the error; NaN: another unit. */
    double variance_ratio;
    /** Of aleat_metric_evaluate("calibration"), where such a map is positive everywhere: the
     * predicted standard deviation is the root of the mean over the scored steps. n_values 0:
     * undefined. */
    aleat_metric_result calibration;
} aleat_reconstruct_map;

/** What a reconstruction came to. Released by aleat_reconstruct_clear(). */
typedef struct aleat_reconstruct_result {
    aleat_run_result run;   /**< as of any run; run.evaluations is 0 if it was complete */
    int64_t n;              /**< images */
    int64_t from, steps;    /**< k*, and the steps of the whole sampler */
    double t, alpha, sigma; /**< training step tau_k*, and the level noised to */
    int64_t evaluations;    /**< of the network for each image: steps and copies */
    int n_maps;
    aleat_reconstruct_map maps[ALEAT_RECONSTRUCT_MAPS];
} aleat_reconstruct_result;

/**
 * Writes a run folder (docs/formats.md) whose images are the reconstructions, and beside them
 * original.npy, reconstruction.npy and error.npy, float32 [n,C,H,W] each (error = reconstruction -
 * original, on [-1, 1]; of pixels the reconstruction is held to that range), errors.csv, the root
 * mean squared error of each image, and reconstruct.json, the numbers of the result. Goes on where
 * it was interrupted; the same bits whatever batch and threads.
 *
 * @param images  the first n are taken
 * @param result  filled on success; may be NULL. To be cleared
 * @return as aleat_model_generate(); ALEAT_ERR_SHAPE: images that do not fit the model,
 *         with a hint at `fit`; ALEAT_ERR_UNSUPPORTED: a sampler that cannot begin at k*
 * @note   costs (steps - k*) (1 + M) evaluations an image
 * @source arXiv 2412.00205, section 4 (T/2); what the text leaves open: docs/metrics.md
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_model_reconstruct(
    aleat_model *model, const aleat_images *images, const char *folder,
    const aleat_reconstruct_options *options, aleat_reconstruct_result *result, aleat_error *err);
/** Accepts NULL. */
ALEAT_API void aleat_reconstruct_clear(aleat_reconstruct_result *result);

#ifdef __cplusplus
}
#endif
#endif
