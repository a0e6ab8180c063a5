/*
 * Training a network from its configuration and a data set, into a folder that can be gone on with
 * (docs/formats.md).
 */
#ifndef ALEAT_TRAIN_H
#define ALEAT_TRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The i-th name, with one line of explanation in *help (which may be NULL); NULL beyond the last.
 */
/** What a network is trained to do. */
ALEAT_API const char *aleat_task_name(int i, const char **help);
/** Kinds of data sets; the first stands for "recognise it". */
ALEAT_API const char *aleat_data_format_name(int i, const char **help);
/** How the learning rate falls. */
ALEAT_API const char *aleat_rate_schedule_name(int i, const char **help);
/** What the network's output means. */
ALEAT_API const char *aleat_prediction_type_name(int i, const char **help);
/** How noise grows over the 1000 training steps of the diffusion. */
ALEAT_API const char *aleat_beta_schedule_name(int i, const char **help);
/** Number types of the weights that are written. */
ALEAT_API const char *aleat_export_dtype_name(int i, const char **help);

/** How far a training is. */
typedef struct aleat_train_progress {
    int64_t step, steps;        /**< optimiser steps done, and in all */
    double loss;                /**< of the last batch; NaN before the first step of this call */
    double rate, gradient_norm; /**< of the last step; the norm is that before clipping */
} aleat_train_progress;

/**
 * A training. Fill with aleat_train_defaults(), then set what differs. Text is borrowed for the
 * call; a NULL name is the first of its table.
 */
typedef struct aleat_train_options {
    const char *config;      /**< config.json of the network, as diffusers writes it */
    const char *data;        /**< the data set: file or folder */
    const char *out;         /**< the folder to write */
    const char *task;        /**< a name from aleat_task_name() */
    const char *data_format; /**< a name from aleat_data_format_name() */
    const char *init;        /**< a model whose weights to start from; NULL: random ones */
    int64_t size;            /**< the middle square of each image, resampled to size x size; 0: as
                                  they are, which may be smaller than the network's */
    uint64_t seed;           /**< all random numbers follow from it */

    int64_t steps, batch;
    double rate;               /**< learning rate of AdamW, after the warm-up */
    int64_t warmup;            /**< steps over which the rate rises */
    int64_t cooldown;          /**< last steps, over which it falls to 0 as half a cosine; 0: from
                                    the end of the warm-up on */
    const char *rate_schedule; /**< a name from aleat_rate_schedule_name() */
    double weight_decay;
    double clip;    /**< longest gradient; 0: any */
    double average; /**< factor of the weights' moving average, which is exported */

    double dropout;            /**< overrides the config's; negative: as the config says */
    double label_drop;         /**< share of images shown without their class, so that the network
                                    also learns to do without (classifier-free guidance) */
    bool flip;                 /**< mirror half of the images */
    int64_t shift;             /**< move each image by up to so many pixels each way, black around;
                                    of the task classify */
    const char *prediction;    /**< a name from aleat_prediction_type_name() */
    const char *beta_schedule; /**< a name from aleat_beta_schedule_name() */

    const char *precision; /**< a name from aleat_precision_name(); weights and sums stay f32 */
    int threads;           /**< 0: all processors of this process; changes no result */
    const char *dtype;     /**< a name from aleat_export_dtype_name() */

    double checkpoint_seconds; /**< between checkpoints; 0: after every step */
    int64_t sample_every;      /**< steps between pictures of samples; 0: none */
    int64_t validate_every;    /**< steps between measurements on held-out images; 0: none */
    double validation;         /**< share of the images held out if the data set holds out none
                                    and validate_every is not 0; 0 < share < 1 */

    /** Called before the first step and after each; returning false stops the training with a
     * checkpoint and ALEAT_ERR_CANCELLED. May be NULL. */
    bool (*progress)(void *ctx, const aleat_train_progress *progress);
    void *ctx;
} aleat_train_options;

/** What a call came to. */
typedef struct aleat_train_result {
    int64_t steps, made;    /**< steps done in all, and in this call */
    int64_t images;         /**< learned from: held-out ones are not counted */
    int64_t n_parameters;   /**< numbers that were trained */
    double loss;            /**< mean over the last 100 steps; NaN if there is none */
    double validation_loss; /**< the last measured in this call; NaN if none was */
    double seconds;         /**< of this call */
} aleat_train_result;

ALEAT_API void aleat_train_defaults(aleat_train_options *options);

/**
 * Trains until options->steps are done, or goes on where the checkpoint in options->out ends. Every
 * image, time and noise is named by (seed, step, place in the batch), so the weights do not depend
 * on interruptions nor on the number of threads. Nothing is written before all options have been
 * checked. Memory: 5 numbers of 4 bytes a parameter, the data set as bytes, and the activations of
 * a batch.
 *
 * @param result  filled on success and if the progress callback stopped it; may be NULL
 * @return ALEAT_ERR_ARGUMENT: an option out of range, or one that differs from those of the
 *         training in the folder and would change its result; the message names it
 *         ALEAT_ERR_CANCELLED: stopped; the same call goes on
 *         ALEAT_ERR_NUMERIC: the loss is no longer finite; the last checkpoint is left
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_train(const aleat_train_options *options,
                                                  aleat_train_result *result, aleat_error *err);

#ifdef __cplusplus
}
#endif
#endif
