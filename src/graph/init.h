/* Values that a new network starts from. */
#ifndef ALEAT_GRAPH_INIT_H
#define ALEAT_GRAPH_INIT_H

#include "graph/graph.h"

/**
 * Fills dst with the values that PyTorch's layers start from: weights and biases of convolutions
 * and linear layers uniform in +-1 / sqrt(fan_in) (Kaiming-uniform with a = sqrt(5)), norms 1 and
 * 0, embeddings standard normal, anything else standard normal times 0.02. Which it is says the
 * operation that takes the tensor. The numbers depend on the seed and the tensor's name alone.
 */
void aleat_graph_init(const aleat_graph *graph, aleat_param tensor, uint64_t seed, float *dst);

#endif
