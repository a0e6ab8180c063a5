/* One step of a plan, as the planner leaves it to the executor; only files of this folder include
 * it. */
#ifndef ALEAT_GRAPH_STEP_H
#define ALEAT_GRAPH_STEP_H

#include "graph/node.h"
#include "kernels/conv.h"

/** Where a value lies: pixel p of image i starts at data + i*image_ld + p*ld. */
typedef struct aleat_view {
    float *data;
    int64_t ld, image_ld; /**< image_ld is 0 if all images share it */
    aleat_dims dims;
    bool local; /**< holds one slice of the batch, in each lane another (plan.c) */
} aleat_view;

typedef struct aleat_step {
    aleat_node
        node; /**< the operation (of a fused chain its main one); a copy: the graph may grow */
    int64_t images;
    aleat_view in[ALEAT_NODE_INPUTS], out;
    aleat_view side;                       /**< second result; data NULL if nobody wants it */
    const float *param[ALEAT_NODE_PARAMS]; /**< plain f32 vectors and tables, or NULL */
    const aleat_weight *table;             /**< EMBEDDING of a stored tensor: read by rows */
    const aleat_packed *packed;            /**< CONV */
    int64_t upsample;                      /**< CONV: fused enlargement of the input */
    aleat_view vec, residual;              /**< CONV: fused additions; data NULL if none */
    double scale;                          /**< CONV: fused factor */
    aleat_activation act;                  /**< fused or own activation */
    aleat_view scale_shift;                /**< GROUPNORM: fused modulation */
    int half;
    int level; /**< 0; 1: a sum over the images of a batch; 2: what follows from such sums */
    bool bf16; /**< CONV_WEIGHT_GRAD: the engine's precision */
} aleat_step;

/** What steps run with. */
typedef struct aleat_exec {
    const aleat_kernels *k;
    int threads;
    void *scratch;
    uint64_t dropout_seed; /**< what names the masks of dropout */
    uint32_t dropout_step;
    const uint32_t *dropout_images, *dropout_passes;
} aleat_exec;

/** How an operation runs: one line an op in exec.c. */
typedef struct aleat_op_exec {
    void (*run)(const aleat_step *step, const aleat_exec *exec);
    size_t (*scratch)(const aleat_step *step, const aleat_exec *exec); /**< NULL: none */
} aleat_op_exec;
const aleat_op_exec *aleat_op_exec_of(aleat_op op);

/** Geometry of a CONV step. */
aleat_conv_geometry aleat_step_geometry(const aleat_step *step);

#endif
