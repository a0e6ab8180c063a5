/*
 * What a network is trained to do, as a row of a table: what it is shown and compared with, what
 * its folder looks like, how it is measured. Everything else of a training (data, optimiser,
 * checkpoints, logs) is the same for all of them.
 */
#ifndef ALEAT_TRAIN_TASK_H
#define ALEAT_TRAIN_TASK_H

#include <jansson.h>

#include "graph/plan.h"
#include "models/model.h"
#include "samplers/plan.h"
#include "train/dataset.h"
#include "train/params.h"

typedef struct aleat_task aleat_task;

/** What is to be learned from what. All but the numbers is borrowed. */
typedef struct aleat_problem {
    const aleat_task *task;
    const aleat_dataset *data;
    uint64_t seed;
    double label_drop; /**< probability that an image is shown under the null class */
    bool flip;         /**< mirror half of the images */
    int64_t shift;     /**< of classify: pixels that images are moved by at most, each way */
    int threads;       /**< 0: all processors of this process */
    aleat_precision precision;
    /* Of diffusion: */
    const double *abar; /**< [train_steps] the noise schedule */
    int64_t train_steps;
    aleat_prediction prediction;       /**< what the network's output means */
    const json_t *scheduler;           /**< scheduler_config.json; may be NULL without files */
    const aleat_sampling_plan *sample; /**< of the pictures; may be NULL without them */
} aleat_problem;

/** One place of a batch: where what the network is fed goes, one image's part of each array. */
typedef struct aleat_example {
    int64_t step, place; /**< with the seed they name every random number */
    int64_t image;       /**< of the data set */
    float *x;            /**< [height,width,channels] */
    float *t, *label;    /**< [1]; NULL if the network takes none */
    float *target;       /**< [size of the network's output] what it is compared with */
} aleat_example;

/** The network with the averaged weights, as it stands. */
typedef struct aleat_trained {
    const char *config_path;
    const aleat_params *params;
} aleat_trained;

/** A measurement on held-out images. */
typedef struct aleat_validation {
    double loss, standard_error; /**< mean over the images, and its standard error */
    double accuracy;             /**< share of the classes that are right; NaN: there are none */
    int64_t images;
} aleat_validation;

struct aleat_task {
    const char *name, *description;
    const char *family;       /**< of the networks that can be trained so */
    const char *config_path;  /**< of the network, in the folder `model` */
    const char *weights_path; /**< likewise */

    /** Changes the network's configuration, and `info` with it, to what the data set needs. */
    aleat_status (*adapt)(const aleat_problem *problem, json_t *config, aleat_denoiser_info *info,
                          aleat_error *err);
    /** ALEAT_ERR_SHAPE, _ARGUMENT, _UNSUPPORTED: this network cannot learn from this data set. */
    aleat_status (*check)(const aleat_problem *problem, const aleat_denoiser_info *info,
                          aleat_error *err);
    /** Fills the example of problem->data's image. */
    void (*feed)(const aleat_problem *problem, const aleat_denoiser_info *info,
                 const aleat_example *example);
    /** The loss of one image, and the derivative of the mean over `batch` of them by out [size]. */
    double (*compare)(const float *out, const float *target, int64_t size, int64_t batch,
                      float *cotangent);
    /** Writes what belongs into the folder of the model beside configuration and weights; NULL:
     * nothing does. */
    aleat_status (*write_files)(const aleat_problem *problem, const char *model_folder,
                                aleat_error *err);
    /** The loss on held-out images, with random numbers that are the same every time. */
    aleat_status (*validate)(const aleat_problem *problem, const aleat_trained *trained,
                             const aleat_dataset *held_out, aleat_validation *out,
                             aleat_error *err);
    /** A picture of what the network can do, into a PNG; NULL: there is nothing to see. */
    aleat_status (*picture)(const aleat_problem *problem, const aleat_trained *trained,
                            const char *path, aleat_error *err);
};

/** The table, ended by NULL. */
const aleat_task *const *aleat_tasks(void);

extern const aleat_task aleat_task_diffusion, aleat_task_classify;

/** For check(): do the images fit into the network? */
ALEAT_MUST_USE aleat_status aleat_task_check_images(const aleat_dataset *data,
                                                    const aleat_denoiser_info *info,
                                                    aleat_error *err);

#endif
