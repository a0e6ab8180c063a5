/*
 * A run at work, for the files that share it: run.c (into a folder), run_stream.c (to the caller),
 * runner.c (one batch), run_drawn.c (generative uncertainty).
 */
#ifndef ALEAT_API_RUNNER_H
#define ALEAT_API_RUNNER_H

#include "api/run_folder.h"
#include "api/run_settings.h"
#include "api/run_state.h"
#include "denoiser/classifier.h"

/** What samples one batch after the other into shards. Zero-initialise; aleat_runner_clear(). */
typedef struct aleat_runner {
    const aleat_run_job *job;
    aleat_run_folder *folder;
    const aleat_run_shape *shape;
    aleat_sampler *sampler;
    aleat_observer *observer;
    aleat_noise_torch *torch;
    aleat_noise_arrays stored;
    aleat_noise_source noise;
    aleat_denoiser cfg;          /**< classifier-free guidance; empty: none */
    float *x;                    /**< [batch, count] */
    float *state;                /**< [batch, count], noised images to begin with; NULL: noise */
    aleat_classifier_pull *pull; /**< NULL: no classifier */
    float *t_classifier;         /**< [batch] */
    aleat_run_latent *latent;    /**< NULL: samples are the images */
    float *image;                /**< [C,H,W] of an image, decoded */
    int *guided_evaluations;     /**< [n_outer] of each step */
    /* generative: what samples with drawn weights, its batch, one picture, features */
    aleat_denoiser drawn;
    aleat_sampler *drawn_sampler; /**< NULL: nothing is drawn */
    float *drawn_x;               /**< [batch, count] */
    uint8_t *drawn_picture;       /**< [H,W,C] */
    float *drawn_features;        /**< [batch, 1 + copies, dim] */
    aleat_shard *shard;
    int64_t row, rows;     /**< of the shard: where the batch begins, how many it has */
    const int64_t *chosen; /**< [rows] places of the batch's images; NULL: one after the other */
    int64_t done, batches;
} aleat_runner;

/** Makes all that sampling needs; r->job and r->shape are set. To be cleared, also on failure. */
ALEAT_MUST_USE aleat_status aleat_runner_make(aleat_runner *r, aleat_error *err);
void aleat_runner_clear(aleat_runner *r);
/** Samples r->rows images from place r->row of r->shard on, and fills their rows of it. */
ALEAT_MUST_USE aleat_status aleat_runner_batch(aleat_runner *r, aleat_error *err);
/** Tells the caller how far the batch is, after evaluation `index` (-1: before the first).
 * ALEAT_ERR_CANCELLED: the caller wants no more. */
ALEAT_MUST_USE aleat_status aleat_runner_tell(const aleat_runner *r, int index, aleat_error *err);
/** Numbers of a state, and of an image. */
int64_t aleat_runner_count(const aleat_runner *r);
int64_t aleat_runner_image_count(const aleat_runner *r);
/** Evaluations of the network for each image, as counted: of the sampler, and of what scores or
 * guides. 0 if none was made. */
int64_t aleat_runner_evaluations(const aleat_runner *r);
int64_t aleat_runner_extra(const aleat_runner *r);

/** Generative uncertainty: what samples again with drawn weights, by denoiser d. */
ALEAT_MUST_USE aleat_status aleat_runner_make_drawn(aleat_runner *r, const aleat_denoiser *d,
                                                    aleat_time_map map, aleat_error *err);
/** The scores of the batch that was just made from `request`. */
ALEAT_MUST_USE aleat_status aleat_runner_score_drawn(const aleat_runner *r,
                                                     const aleat_sample_request *request,
                                                     aleat_error *err);

struct aleat_run {
    aleat_run_options options; /**< texts and arrays in it are the caller's */
    aleat_run_job job;
    aleat_run_shape shape;
    aleat_runner r;
    json_t *settings;
    char *settings_text;
    int64_t *steps; /**< the scored ones, behind shape */
    bool pixels;    /**< not latents, which are kept as numbers whether they are decoded or not */
    int shown;
    aleat_shard shard; /**< of a run without a folder */
    aleat_tensor arrays[ALEAT_SHARD_N_ARRAYS];
};

/** All that can be known of a run before its first image. run->options are set; ends with
 * aleat_run_reset(), on failure, too. */
ALEAT_MUST_USE aleat_status aleat_run_prepare(aleat_run *run, aleat_model *model,
                                              aleat_run_start *start, aleat_error *err);
void aleat_run_reset(aleat_run *run);

#endif
