/* The inside of a graph; only files of this folder include it. */
#ifndef ALEAT_GRAPH_NODE_H
#define ALEAT_GRAPH_NODE_H

#include "graph/graph.h"
#include "kernels/kernels.h"

/** Kinds of operations. A value is the output of exactly one node, and has its index. */
typedef enum aleat_op {
    ALEAT_OP_INPUT,
    ALEAT_OP_CONSTANT,
    ALEAT_OP_CONV,
    ALEAT_OP_ACTIVATION,
    ALEAT_OP_GROUPNORM,
    ALEAT_OP_LAYERNORM,
    ALEAT_OP_ADD,
    ALEAT_OP_MULTIPLY,
    ALEAT_OP_AFFINE,
    ALEAT_OP_SCALE_SHIFT,
    ALEAT_OP_CONCAT,
    ALEAT_OP_CONCAT_TOKENS,
    ALEAT_OP_SLICE_TOKENS,
    ALEAT_OP_SLICE,
    ALEAT_OP_AVGPOOL,
    ALEAT_OP_MAXPOOL,
    ALEAT_OP_PAD_CHANNELS,
    ALEAT_OP_UPSAMPLE,
    ALEAT_OP_UNPATCHIFY,
    ALEAT_OP_ATTENTION,
    ALEAT_OP_ROPE_ANGLES,
    ALEAT_OP_ROPE,
    ALEAT_OP_EMBEDDING,
    ALEAT_OP_SINUSOID,
    ALEAT_OP_FOURIER,
    ALEAT_OP_DIVIDE,
    ALEAT_OP_DROPOUT,
    // what reverse mode adds
    ALEAT_OP_ACTIVATION_GRAD,
    ALEAT_OP_GROUPNORM_GRAD,
    ALEAT_OP_LAYERNORM_GRAD,
    ALEAT_OP_SCALE_SHIFT_GRAD,
    ALEAT_OP_ATTENTION_GRAD,
    ALEAT_OP_PAD_TOKENS,
    ALEAT_OP_SUMPOOL,
    ALEAT_OP_AVGPOOL_GRAD,
    ALEAT_OP_PATCHIFY,
    // what forward mode adds
    ALEAT_OP_GROUPNORM_JVP,
    ALEAT_OP_LAYERNORM_JVP,
    ALEAT_OP_ATTENTION_JVP,
    // and, for parameters
    ALEAT_OP_SIDE, /**< the second result of the step of its input */
    ALEAT_OP_CONV_WEIGHT_GRAD,
    ALEAT_OP_EMBEDDING_GRAD,
    ALEAT_OP_SUM_PIXELS,
    ALEAT_OP_SUM_IMAGES,
    ALEAT_OP_COUNT
} aleat_op;

enum { ALEAT_NODE_INPUTS = 5, ALEAT_NODE_PARAMS = 2 };

/** Numbers of an operation; which ones count depends on the op. */
typedef struct aleat_attrs {
    aleat_conv_spec conv; /**< CONV, AVGPOOL, MAXPOOL */
    bool adjoint;         /**< CONV: the adjoint of a convolution with this weight and spec; ROPE:
                               the rotation back */
    aleat_activation act;
    int64_t groups, heads;
    int64_t begin;    /**< SLICE*, PAD*: first channel or token; DROPOUT: number of the mask */
    int64_t factor;   /**< UNPATCHIFY, PATCHIFY: p */
    double eps, a, b; /**< norms; AFFINE: a x + b; ATTENTION: a = scale; DROPOUT: a = p */
    bool rms;         /**< LAYERNORM*: no mean is subtracted */
    bool causal;      /**< ATTENTION*: a query sees no later key */
    aleat_sinusoid_spec sinusoid;
    aleat_rope_spec rope; /**< ROPE_ANGLES */
} aleat_attrs;

typedef struct aleat_node {
    aleat_op op;
    int n_in;
    aleat_value in[ALEAT_NODE_INPUTS];
    aleat_param param[ALEAT_NODE_PARAMS]; /**< weight and bias, gamma and beta, table */
    aleat_dims dims;
    bool condition; /**< of an INPUT: aleat_graph_condition() */
    bool shared;    /**< the same for every image of a batch (CONSTANT, gradients of parameters) */
    const char *name; /**< of an input */
    aleat_attrs attrs;
} aleat_node;

/** What a batch norm makes of the layer before it. */
typedef enum aleat_param_fold {
    ALEAT_FOLD_NONE,
    ALEAT_FOLD_WEIGHT, /**< of parts {weight, gamma, var}: row o times gamma_o / sqrt(var_o + eps)
                        */
    ALEAT_FOLD_BIAS, /**< of parts {beta, gamma, var, mean}: beta - mean gamma / sqrt(var + eps) */
} aleat_param_fold;

/** A parameter: one tensor of the checkpoint, or other parameters stacked, or their rows reordered,
 * or its axes exchanged, or a layer and the batch norm behind it as one. */
typedef struct aleat_param_info {
    char *name;           /**< of a tensor; owned */
    aleat_weight *weight; /**< NULL for a stack, a reordering, and in a graph without weights */
    aleat_shape shape;
    aleat_param *parts; /**< of a stack; owned */
    int n_parts;
    int32_t *order;  /**< of a reordering of parts[0]; owned */
    bool transposed; /**< parts[0] with its two axes exchanged */
    aleat_param_fold fold;
    double eps; /**< of a fold */
} aleat_param_info;

typedef struct aleat_graph_output_info {
    const char *name;
    aleat_value value;
} aleat_graph_output_info;

struct aleat_graph {
    aleat_weights *weights;
    aleat_node *nodes;
    int64_t n_nodes, cap_nodes;
    aleat_param_info *params;
    int64_t n_params, cap_params;
    aleat_graph_output_info outputs[8];
    int n_outputs;
    int64_t n_dropouts;
    aleat_error error; /**< the first one */
};

/** Appends a node; its inputs must be valid. */
aleat_value aleat_graph_add(aleat_graph *graph, const aleat_node *node);

static inline const aleat_node *aleat_graph_node(const aleat_graph *graph, aleat_value x)
{
    return &graph->nodes[x];
}

/** Elements of a parameter. */
int64_t aleat_param_count(const aleat_graph *graph, aleat_param param);
/** A parameter's elements in C order as f32; dst holds aleat_param_count() floats. False if there
 * is no memory for what a reordering needs on the way. */
bool aleat_param_load(const aleat_graph *graph, aleat_param param, float *dst);
/** Lets the file's pages behind a parameter leave memory. */
void aleat_param_forget(const aleat_graph *graph, aleat_param param);

/** Whether q, k, v of an attention are the three thirds of one projection: its tangent is then
 * [tq | tk | tv] as it stands, and [dq | dk | dv] its cotangent. */
bool aleat_thirds_of_one(const aleat_graph *graph, const aleat_node *attention);

/** "conv", "group norm" ... */
const char *aleat_op_name(aleat_op op);

#endif
