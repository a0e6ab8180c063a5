#include "graph/last_layer.h"

#include "base/error.h"
#include "graph/node.h"

/** Whether every element of a node's output is one of its input. */
static bool rearranges(const aleat_node *node)
{
    switch (node->op) {
    case ALEAT_OP_SLICE:
    case ALEAT_OP_SLICE_TOKENS:
    case ALEAT_OP_UNPATCHIFY: return true;
    default: return false;
    }
}

aleat_status aleat_graph_last_layer(aleat_last_layer *out, const aleat_graph *graph, aleat_value y,
                                    aleat_error *err)
{
    while (rearranges(aleat_graph_node(graph, y)))
        y = aleat_graph_node(graph, y)->in[0];
    const aleat_node *node = aleat_graph_node(graph, y);
    if (node->op != ALEAT_OP_CONV || node->attrs.adjoint)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "the network ends in '%s', not in a convolution or linear layer",
                          aleat_op_name(node->op));
    const aleat_param weight = node->param[0], bias = node->param[1];
    *out =
        (aleat_last_layer){.features = node->in[0],
                           .weight = graph->params[weight].shape,
                           .n_weights = aleat_param_count(graph, weight),
                           .n_biases = bias == ALEAT_NO_PARAM ? 0 : aleat_param_count(graph, bias),
                           .name = graph->params[weight].name};
    return ALEAT_OK;
}

aleat_value aleat_graph_copy_last_layer(aleat_graph *to, const aleat_graph *from, aleat_value y,
                                        aleat_value features, aleat_param weight, aleat_param bias)
{
    const aleat_node *node = aleat_graph_node(from, y);
    if (node->op == ALEAT_OP_CONV)
        return aleat_op_conv2d(to, features, weight, bias, node->attrs.conv);
    const aleat_value x =
        aleat_graph_copy_last_layer(to, from, node->in[0], features, weight, bias);
    switch (node->op) {
    case ALEAT_OP_SLICE: return aleat_op_slice(to, x, node->attrs.begin, node->dims.c);
    case ALEAT_OP_SLICE_TOKENS:
        return aleat_op_slice_tokens(to, x, node->attrs.begin, node->dims.h, node->dims.w);
    default: return aleat_op_unpatchify(to, x, node->attrs.factor);
    }
}
