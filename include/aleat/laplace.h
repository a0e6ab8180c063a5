/*
 * A posterior over the weights of a model's last layer, from data: what BayesDiff and generative
 * uncertainty draw on.
 */
#ifndef ALEAT_LAPLACE_H
#define ALEAT_LAPLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/model.h"
#include "aleat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Zero-initialise: defaults. Strings are borrowed. */
typedef struct aleat_laplace_options {
    int64_t n;               /**< images, drawn without replacement; 0: 1000, or all if fewer */
    uint64_t seed;           /**< of images, times and noise */
    const char *data_format; /**< a name from aleat_data_format_name(); NULL: recognise it */
    int64_t size;            /**< the middle square of each image, resampled; 0: as they are */
    const char *schedule;    /**< a scheduler_config.json to use instead of the model's, or NULL */
    int64_t batch;           /**< images at once; 0: 16; changes no result */
    /** Called now and then; returning false stops with ALEAT_ERR_CANCELLED. May be NULL. */
    bool (*progress)(void *ctx, double done, double total);
    void *ctx;
} aleat_laplace_options;

/** What was fitted. */
typedef struct aleat_laplace_result {
    int64_t images, weights, biases;
    double loss;           /**< mean squared error of the prediction, an element */
    double mean_precision; /**< over weights and biases, prior included */
    double share_of_prior; /**< share of them that the data tell less of than the prior does */
} aleat_laplace_result;

/**
 * Fits a diagonal Laplace approximation: for each image one time, uniform, and one noise; H += g^2
 * / 2 with g the gradient of the squared error (arXiv 2310.11142 and its code: prior precision 1,
 * unit observation noise, one pass). Written to `path` as safetensors, atomically: "weight" and
 * "bias" hold H, the header the settings and the model's hash. Costs one evaluation an image.
 *
 * @param model  a model of pixels; data: a data set that `aleat train` takes
 * @return ALEAT_ERR_UNSUPPORTED: the model does not end in a convolution or linear layer, takes
 * texts, or is a flow model; ALEAT_ERR_SHAPE: images that do not fit; ALEAT_ERR_ARGUMENT: more
 * images than there are, or labels missing
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_model_laplace(aleat_model *model, const char *data,
                                                          const char *path,
                                                          const aleat_laplace_options *options,
                                                          aleat_laplace_result *result,
                                                          aleat_error *err);

#ifdef __cplusplus
}
#endif
#endif
