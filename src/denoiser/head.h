/*
 * A network's last layer with weights of its own: for what is linear in them (a change of the
 * weights) or has the layer's form (a variance, from squared features and variances of weights).
 */
#ifndef ALEAT_DENOISER_HEAD_H
#define ALEAT_DENOISER_HEAD_H

#include "graph/last_layer.h"
#include "graph/plan.h"

typedef struct aleat_head aleat_head;

/** The last layer that value `y` of `graph` comes from, all weights 0. The graph is not kept.
 * ALEAT_ERR_UNSUPPORTED: as aleat_graph_last_layer(). */
ALEAT_MUST_USE aleat_status aleat_head_new(aleat_head **out, const aleat_graph *graph,
                                           aleat_value y, int threads, aleat_error *err);
/** Accepts NULL. */
void aleat_head_free(aleat_head *head);

/** Elements of the features and of the output of an image. */
int64_t aleat_head_features(const aleat_head *head);
int64_t aleat_head_outputs(const aleat_head *head);
/** How many weights and biases (0: none) it has. */
int64_t aleat_head_weights(const aleat_head *head);
int64_t aleat_head_biases(const aleat_head *head);

/** Sets the weights, C order as in the network, and biases. */
ALEAT_MUST_USE aleat_status aleat_head_set(aleat_head *head, const float *weights,
                                           const float *biases, aleat_error *err);
/** out [n,c,h,w] of features [n,h',w',c'] (channels last, as networks give them). f32 sums. */
void aleat_head_run(const aleat_head *head, int64_t n, const float *features, float *out);
/** weights, biases = d <cotangent, out> / d them, for one image; whatever the weights are. */
void aleat_head_gradient(const aleat_head *head, const float *features, const float *cotangent,
                         float *weights, float *biases);

#endif
