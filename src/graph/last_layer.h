/* The last layer of a network, by itself: what Bayesian methods put a distribution on. */
#ifndef ALEAT_GRAPH_LAST_LAYER_H
#define ALEAT_GRAPH_LAST_LAYER_H

#include "graph/graph.h"

/** y = rearranged(weight * features + bias), a convolution or linear layer. */
typedef struct aleat_last_layer {
    aleat_value features; /**< its input */
    aleat_shape weight;   /**< [c_out, c_in, ...] */
    int64_t n_weights, n_biases;
    const char *name; /**< of the weight's tensor, or NULL; lives as long as the graph */
} aleat_last_layer;

/** The layer with parameters that `y` is a rearrangement of (tokens, channels, patches).
 * ALEAT_ERR_UNSUPPORTED: something else stands behind it. */
ALEAT_MUST_USE aleat_status aleat_graph_last_layer(aleat_last_layer *out, const aleat_graph *graph,
                                                   aleat_value y, aleat_error *err);
/** The same layer and rearrangements in graph `to`, of other features (of the same dims) and
 * parameters of `to`. Errors are sticky, as of every builder. */
aleat_value aleat_graph_copy_last_layer(aleat_graph *to, const aleat_graph *from, aleat_value y,
                                        aleat_value features, aleat_param weight, aleat_param bias);

#endif
