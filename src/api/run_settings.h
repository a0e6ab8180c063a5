/* What decides the arrays of a run, as the flat JSON object that a run folder compares. */
#ifndef ALEAT_API_RUN_SETTINGS_H
#define ALEAT_API_RUN_SETTINGS_H

#include <jansson.h>

#include "aleat/run.h"
#include "api/model_state.h"
#include "api/run_latent.h"
#include "api/threshold.h"
#include "samplers/plan.h"
#include "uncertainty/observer.h"

/** A run, made ready: options with their defaults, and the arrays that they name. */
typedef struct aleat_run_job {
    aleat_model *model; /**< borrowed, as are the options */
    const aleat_run_options *options;
    aleat_sampling_plan *plan;      /**< owned */
    aleat_observer_options observe; /**< with the windows and M in effect */
    const char *shown;              /**< name of the map of the pictures */
    const char *statistic; /**< its name: what is climbed, and kept beside the usual maps */
    int maps[ALEAT_MAX_STATISTICS], n_maps; /**< of a scored run: rows of the table of maps */
    const char *gradient;                   /**< name of the way to make its gradient */
    aleat_threshold threshold;              /**< owned; empty: each image's percentile */
    aleat_run_latent_options latent;        /**< vae NULL: samples are not decoded */
    aleat_posterior *posterior;             /**< owned; NULL: no estimator needs one */
    bool torch;
    int64_t batch;                               /**< images at once */
    aleat_array initial, step_noise, copy_noise; /**< owned; data NULL: none */
} aleat_run_job;

/** The settings; the caller owns the reference. Reads the weights once, for their hash. */
ALEAT_MUST_USE aleat_status aleat_run_settings(json_t **out, const aleat_run_job *job,
                                               aleat_error *err);
/** The same for people, "Steps: 50, Sampler: ddim, ...", in new memory (aleat_free()); NULL if
 * there is none. */
char *aleat_run_parameters(const aleat_run_job *job, const json_t *settings);

/** Whether there is classifier-free guidance: scales 0 (not said) and 1 stand for none. */
bool aleat_run_has_cfg(const aleat_run_options *options);

#endif
