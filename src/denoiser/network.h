/*
 * A graph as a denoiser: plans by batch size, NCHW outside and channels-last inside, large batches
 * in parts.
 */
#ifndef ALEAT_DENOISER_NETWORK_H
#define ALEAT_DENOISER_NETWORK_H

#include "denoiser/denoiser.h"
#include "graph/plan.h"

/** What the engine must know of a built network. */
typedef struct aleat_network_spec {
    aleat_graph *graph; /**< borrowed; grows by its reverse when gradients are first asked for */
    /** t and label may be ALEAT_NO_VALUE; out may have another size than x (a classifier's logits,
     * a decoder's image): arrays like the output then have that size. */
    aleat_value x, t, label, out;
    /** Condition inputs [context_tokens, context_dim], [pooled_dim] and [1] as the info says; those
     * that it says are not there are ignored. */
    aleat_value context, pooled, guidance;
    aleat_denoiser_info info;
    aleat_engine_options engine;
    int64_t max_images; /**< most images evaluated at once; 0: 16; at most 64 */
    int64_t
        reverse_mb; /**< memory for the activations that gradients need, in MiB; 0: 1024. Batches
                         that need more are cut, and each part is evaluated again in backward(). */
    int64_t memory; /**< bytes for all activations, instead of the two above: how many images are
                         evaluated at once follows from it. 0: no bound. Less than one image needs
                         is an ALEAT_ERR_MEMORY of the call that needs it, saying how much. */
} aleat_network_spec;

/**
 * A denoiser that runs the graph. Plans are made at the first batch of each size (allocation),
 * later evaluations of that size allocate nothing; plans share the memory of their activations, but
 * for those that are kept for a gradient. Images do not influence each other: any batch gives the
 * same bits. Labels outside [0, n_classes) are ALEAT_ERR_ARGUMENT, another image size than planned
 * ALEAT_ERR_SHAPE. Not thread-safe.
 */
ALEAT_MUST_USE aleat_status aleat_network_denoiser(aleat_denoiser *out,
                                                   const aleat_network_spec *spec,
                                                   aleat_error *err);

/** Measures of a network denoiser for `info` and `bench`. */
typedef struct aleat_network_stats {
    double flop;         /**< of one forward of one image */
    size_t weight_bytes; /**< packed weights */
    size_t plan_bytes;   /**< activations and scratch, which plans share */
    int threads;
} aleat_network_stats;
aleat_network_stats aleat_network_denoiser_stats(const aleat_denoiser *denoiser);
/** Makes them known before the first evaluation, as of one image, without reading a weight. */
ALEAT_MUST_USE aleat_status aleat_network_denoiser_measure(const aleat_denoiser *denoiser,
                                                           aleat_error *err);

#endif
