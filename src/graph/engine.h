/* The inside of an engine: packed weights by parameter and form; only files of this folder include
 * it. */
#ifndef ALEAT_GRAPH_ENGINE_H
#define ALEAT_GRAPH_ENGINE_H

#include "graph/plan.h"
#include "graph/step.h"

/** A weight in one of its forms; a network uses few, so a list is enough. */
typedef struct aleat_engine_weight {
    aleat_param param;
    bool plain; /**< f32 as in the file, in `values` */
    bool adjoint;
    aleat_packed packed;
    float *values;
    struct aleat_engine_weight *next;
} aleat_engine_weight;

struct aleat_engine {
    const aleat_graph *graph;
    const aleat_kernels *k;
    int threads;
    aleat_precision precision;
    int64_t memory;
    bool training, sizes_only;
    aleat_engine_weight *weights;
    size_t weight_bytes;
};

/** The parameter's elements as f32, loaded once; NULL param gives NULL. */
ALEAT_MUST_USE aleat_status aleat_engine_plain(aleat_engine *engine, aleat_param param,
                                               const float **out, aleat_error *err);
/** A convolution's weight packed for the algorithm that aleat_engine_algorithm() says. */
ALEAT_MUST_USE aleat_status aleat_engine_packed(aleat_engine *engine, const aleat_node *conv,
                                                const aleat_packed **out, aleat_error *err);

#endif
