/* Training of a diffusion network from its configuration and a data set. */
#ifndef ALEAT_TRAIN_TRAINER_H
#define ALEAT_TRAIN_TRAINER_H

#include <stdbool.h>

#include "graph/plan.h"
#include "train/adamw.h"

/** What is trained, on what, and how. All text is borrowed. */
typedef struct aleat_train_options {
    const char *config; /**< config.json of the network, as diffusers writes it */
    const char *data;   /**< as aleat_dataset_open() takes it */
    const char *out;    /**< folder of everything that is written; a checkpoint there is resumed */
    uint64_t seed;
    int64_t batch;
    double label_drop; /**< probability that an image is shown under the null class */
    bool flip;         /**< mirror half of the images */
    aleat_adamw optimizer;
    int threads;
    aleat_precision precision;
    aleat_dtype export_dtype;
    double checkpoint_seconds; /**< wall time between checkpoints */
    /** Told after every step; false stops, with a checkpoint. May be NULL. */
    bool (*progress)(void *ctx, int64_t step, int64_t steps, double loss, double rate, double norm);
    void *progress_ctx;
} aleat_train_options;

void aleat_train_defaults(aleat_train_options *options);

/**
 * Trains until options->optimizer.steps are done, or goes on where the checkpoint in `out` ends.
 * Every image, time and noise is named by (seed, step, place in the batch), so the weights do not
 * depend on interruptions nor on the number of threads. Writes checkpoint.safetensors, loss.csv and
 * the folder model/, which diffusers loads.
 */
ALEAT_MUST_USE aleat_status aleat_train(const aleat_train_options *options, aleat_error *err);

#endif
