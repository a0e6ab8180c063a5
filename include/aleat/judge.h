/*
 * Judging images that are there already, the model's own or anybody's: each is noised to some steps
 * of a sampler, where Algorithm 1 of arXiv 2412.00205 looks at it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ALEAT_JUDGE_H
#define ALEAT_JUDGE_H

#include <stdint.h>

#include "aleat/features.h"
#include "aleat/model.h"
#include "aleat/reconstruct.h"
#include "aleat/run.h"
#include "aleat/status.h"
#include "aleat/vae.h"

#ifdef __cplusplus
extern "C" {
#endif

/** How images are judged. Zero-initialise: defaults. Everything is borrowed for the call. */
typedef struct aleat_judge_options {
    /** Of these count: n (0: all images), sampling, seed, labels, batch, score_steps, shown,
     * estimator ("copies", "mc-dropout" or both), copies, clip, cfg_scale, statistic, compat,
     * resume, command, progress and ctx. */
    aleat_run_options run;
    int64_t repeats;    /**< R draws of the noise; 0: 1 */
    const char *fit;    /**< a name from aleat_image_fit_name(); NULL: "centre" */
    aleat_vae *encoder; /**< makes latents of images (their mean), for a model of latents; then maps
                             are those of latents. NULL: the model's own pixels */
} aleat_judge_options;

/**
 * Writes a run folder (docs/formats.md) whose images are the given ones as the model sees them,
 * with the maps of a sampled run, averaged over the draws and summed over the scored steps, and the
 * map `x0-error`, the squared error of the x0 predicted at the noised image, on [-1, 1]. With R >=
 * 2 every map has its standard error over the draws, NAME-se; with one draw only post-var has one,
 * over the copies. Goes on where it was interrupted; the same bits whatever batch and threads.
 *
 * @param images  the first n are taken
 * @param result  filled on success; may be NULL
 * @return as aleat_model_generate(); ALEAT_ERR_SHAPE: images that do not fit the model, with a hint
 *         at `fit`; ALEAT_ERR_ARGUMENT: a latent model without an encoder
 * @note   costs R K (1 + M) evaluations an image, K the scored steps
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_model_judge(aleat_model *model,
                                                        const aleat_images *images,
                                                        const char *folder,
                                                        const aleat_judge_options *options,
                                                        aleat_run_result *result, aleat_error *err);

#ifdef __cplusplus
}
#endif
#endif
