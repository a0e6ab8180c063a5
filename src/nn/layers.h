/*
 * Layers by name: fetch a layer's parameters from the checkpoint under "<prefix>.weight" and
 * "<prefix>.bias", with the shapes the layer must have, and apply it. Errors are the graph's sticky
 * ones, so calls nest like the formula they spell.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ALEAT_NN_LAYERS_H
#define ALEAT_NN_LAYERS_H

#include <stdbool.h>

#include "graph/graph.h"

/** Longest tensor name that models build, with its end; published ones stay below 100. */
#define ALEAT_NAME_SIZE 256

/** A tensor name or a prefix of one. */
typedef struct aleat_name {
    char text[ALEAT_NAME_SIZE];
} aleat_name;

/** printf into a name. One that does not fit is an error of the graph, never cut. */
aleat_name aleat_nn_name(aleat_graph *graph, const char *fmt, ...) ALEAT_PRINTF(2, 3);

/** "<prefix>.weight" of this shape. */
aleat_param aleat_nn_weight(aleat_graph *graph, const char *prefix, const aleat_shape *shape);
/** "<prefix>.bias" [c]. */
aleat_param aleat_nn_bias(aleat_graph *graph, const char *prefix, int64_t c);
/** Shape of a linear layer's weight as files have it: rank 2 [c_out,c_in], 3 [..,1], 4 [..,1,1]. */
aleat_shape aleat_nn_linear_shape(int rank, int64_t c_out, int64_t c_in);

/** Convolution with bias; weight [c_out, c of x, kernel_h, kernel_w]. */
aleat_value aleat_nn_conv(aleat_graph *graph, aleat_value x, const char *prefix, int64_t c_out,
                          aleat_conv_spec spec);
/** batch norm(convolution without bias), the norm folded into the weights; tensors
 * <conv>.weight [c_out, c of x, kernel_h, kernel_w], <norm>.weight, .bias, .running_mean and
 * .running_var [c_out]. */
aleat_value aleat_nn_conv_batchnorm(aleat_graph *graph, aleat_value x, const char *conv,
                                    const char *norm, int64_t c_out, aleat_conv_spec spec,
                                    double eps);
/** Linear layer over channels with bias; weight [c_out, c of x]. */
aleat_value aleat_nn_linear(aleat_graph *graph, aleat_value x, const char *prefix, int64_t c_out);
/** Linear layer without bias. */
aleat_value aleat_nn_linear_unbiased(aleat_graph *graph, aleat_value x, const char *prefix,
                                     int64_t c_out);
/**
 * `count` (at most 4) linear layers over channels as one product, [first | second | ...]: weights
 * "<prefix>.<names[i]>.weight" [rows[i], c of x], and biases if `biased`.
 */
aleat_value aleat_nn_linear_stack(aleat_graph *graph, aleat_value x, const char *prefix,
                                  const char *const *names, const int64_t *rows, int count,
                                  bool biased);
/** linear(second, act(linear(first, x))): time embeddings, feed-forward parts. */
aleat_value aleat_nn_mlp(aleat_graph *graph, aleat_value x, const char *first, const char *second,
                         int64_t c_hidden, int64_t c_out, aleat_activation act);
/** act(group norm), with weight and bias [c of x]. */
aleat_value aleat_nn_groupnorm(aleat_graph *graph, aleat_value x, const char *prefix,
                               int64_t groups, double eps, aleat_activation act);
/** Layer norm over channels, with weight and bias [c of x]. */
aleat_value aleat_nn_layernorm(aleat_graph *graph, aleat_value x, const char *prefix, double eps);

#endif
