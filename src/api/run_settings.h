/* What decides the arrays of a run, as the flat JSON object that a run folder compares. */
#ifndef ALEAT_API_RUN_SETTINGS_H
#define ALEAT_API_RUN_SETTINGS_H

#include <jansson.h>

#include "aleat/run.h"
#include "api/model_state.h"
#include "api/run_latent.h"
#include "api/run_text.h"
#include "api/threshold.h"
#include "io/sha256.h"
#include "samplers/plan.h"
#include "uncertainty/observer.h"

/** Where a run begins that does not begin with pure noise: known images, noised. */
typedef struct aleat_run_start {
    const float *x0; /**< [n,C,H,W], model scale; borrowed */
    int64_t from;    /**< the first outer step; 0: `share` of the steps, rounded down */
    double share;
    bool step_index;        /**< to abar of the step's number, not of its training step */
    const char *compat;     /**< what the settings tell of variants, or NULL; borrowed */
    int outer, evaluation;  /**< out: the first step, and evaluation */
    int outer_steps;        /**< out: of the whole sampler */
    double t, alpha, sigma; /**< out: the level */
    int64_t evaluations, scored_steps; /**< out: of each image, copies included; and scored */
} aleat_run_start;

/** A run, made ready: options with their defaults, and the arrays that they name. */
typedef struct aleat_run_job {
    aleat_model *model; /**< borrowed, as are the options */
    const aleat_run_options *options;
    aleat_run_start *start;         /**< borrowed; NULL: noise */
    aleat_sampling_plan *plan;      /**< owned */
    unsigned estimators;            /**< a set, see estimator.h */
    aleat_observer_options observe; /**< with the windows and M in effect */
    const char *shown;              /**< name of the map of the pictures */
    const char *statistic; /**< its name: what is climbed, and kept beside the usual maps */
    int maps[ALEAT_MAX_STATISTICS], n_maps; /**< of a scored run: rows of the table of maps */
    const char *gradient;                   /**< name of the way to make its gradient */
    const char *guide_sign;                 /**< name of the way guidance moves */
    aleat_threshold threshold;              /**< owned; empty: each image's percentile */
    aleat_run_latent_options latent;        /**< vae NULL: samples are not decoded */
    aleat_run_texts texts;                  /**< owned */
    aleat_posterior *posterior;             /**< owned; NULL: no estimator needs one */
    bool torch;
    int64_t batch;                               /**< images at once */
    aleat_array initial, step_noise, copy_noise; /**< owned; data NULL: none */
} aleat_run_job;

/** The settings; the caller owns the reference. Reads the weights once, for their hash. */
ALEAT_MUST_USE aleat_status aleat_run_settings(json_t **out, const aleat_run_job *job,
                                               aleat_error *err);
/** The same as other programs know it, without a prompt; to be cleared, also after a failure. */
ALEAT_MUST_USE aleat_status aleat_run_generation(aleat_generation *out, const aleat_run_job *job,
                                                 const json_t *settings, aleat_error *err);
/** SHA-256 of everything that a plan does, as settings tell it; false: no memory. */
bool aleat_run_plan_hash(char hash[ALEAT_SHA256_TEXT], const aleat_sampling_plan *plan);

/** aleat_model_generate(), and with `start` the same from known images. Then the last states stay
 * in trajectory.npy, and the default of scored steps is all that are executed. */
ALEAT_MUST_USE aleat_status aleat_run_make(aleat_model *model, const char *folder,
                                           const aleat_run_options *options, aleat_run_start *start,
                                           aleat_run_result *result, aleat_error *err);

/** Whether the maps and scores, or some of them, are that estimator's. */
bool aleat_run_estimates(const aleat_run_job *job, aleat_estimator_kind kind);

/** Plan, windows, statistics and arrays of job->options, checked; nothing is written. To be
 * cleared, also on failure. */
ALEAT_MUST_USE aleat_status aleat_run_job_make(aleat_run_job *job, aleat_error *err);
void aleat_run_job_clear(aleat_run_job *job);
/** The map that pictures show if nobody says another. */
extern const char aleat_run_map_shown[];

/** A map that runs may have. */
typedef struct aleat_run_map_kind {
    const char *name, *file; /**< "x0-var", "x0-var.npy" */
    const char *unit;        /**< NULL: none */
} aleat_run_map_kind;
/** All of them; ends with a name NULL. */
extern const aleat_run_map_kind aleat_run_maps[];

/** Evaluations of an image as planned, whether any was made or not. */
int64_t aleat_run_planned_evaluations(const aleat_run_job *job);

/** Whether there is classifier-free guidance: scales 0 (not said) and 1 stand for none. */
bool aleat_run_has_cfg(const aleat_run_options *options);

#endif
