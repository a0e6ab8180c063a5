/* The numbers that are trained: every tensor of a network in one array, beside it what the
 * optimiser knows of each number. */
#ifndef ALEAT_TRAIN_PARAMS_H
#define ALEAT_TRAIN_PARAMS_H

#include "graph/graph.h"
#include "io/npy.h"
#include "io/weights.h"

/** The arrays of a training; all of them are saved in a checkpoint. */
typedef enum aleat_param_array {
    ALEAT_VALUES,
    ALEAT_AVERAGE, /**< exponential moving average of the values: what is exported */
    ALEAT_MOMENT1, /**< Adam's averages of the gradient and of its square */
    ALEAT_MOMENT2,
    ALEAT_PARAM_ARRAYS
} aleat_param_array;

typedef struct aleat_params {
    int64_t count; /**< tensors */
    char **names;
    aleat_shape *shapes;
    int64_t *offsets; /**< [count + 1]: numbers before each tensor */
    float *data[ALEAT_PARAM_ARRAYS];
    float *grad;
} aleat_params;

/** Numbers in all tensors. */
static inline int64_t aleat_params_size(const aleat_params *params)
{
    return params->offsets ? params->offsets[params->count] : 0;
}

/** The tensors that a blueprint asks for, each once, with the values that `seed` gives. */
ALEAT_MUST_USE aleat_status aleat_params_new(aleat_params *out, const aleat_graph *blueprint,
                                             uint64_t seed, aleat_error *err);
void aleat_params_clear(aleat_params *params);
/** The index of a tensor, or -1. */
int64_t aleat_params_find(const aleat_params *params, const char *name);

/** One array as the weights of a network: changing the numbers changes the weights. */
ALEAT_MUST_USE aleat_status aleat_params_weights(const aleat_params *params,
                                                 aleat_param_array which, aleat_weights **out,
                                                 aleat_error *err);
/**
 * Values and average from trained weights, whose tensors `trained` has found for the network that
 * `blueprint` describes: graphs of the same configuration. ALEAT_ERR_SHAPE if they are not.
 */
ALEAT_MUST_USE aleat_status aleat_params_take(aleat_params *params, const aleat_graph *blueprint,
                                              const aleat_graph *trained, aleat_weights *weights,
                                              aleat_error *err);

/** All arrays and the number of steps done, in one file, which replaces `path` as a whole. */
ALEAT_MUST_USE aleat_status aleat_params_save(const aleat_params *params, int64_t steps,
                                              const char *path, aleat_error *err);
ALEAT_MUST_USE aleat_status aleat_params_load(aleat_params *params, int64_t *steps,
                                              const char *path, aleat_error *err);
/** The number of steps that a saved file was written after. */
ALEAT_MUST_USE aleat_status aleat_params_saved_steps(int64_t *steps, const char *path,
                                                     aleat_error *err);
/** One array as a model's weights, in f16, bf16 or f32. */
ALEAT_MUST_USE aleat_status aleat_params_export(const aleat_params *params, aleat_param_array which,
                                                aleat_dtype dtype, const char *path,
                                                aleat_error *err);

#endif
