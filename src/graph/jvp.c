/*
 * Forward mode: the graph grows by the operations of the Jacobian-vector product. Each rule stands
 * in one line of the table; a rule is given a node and returns the tangent of its value from those
 * of its inputs. Only values that depend on x carry tangents, so time and label embeddings cost
 * nothing.
 */
#include <string.h>

#include "base/alloc.h"
#include "graph/node.h"

typedef struct forward {
    aleat_graph *graph;
    aleat_value *tangent; // of each value; ALEAT_NO_VALUE: does not depend on x
} forward;

static bool active(const forward *f, aleat_value v)
{
    return f->tangent[v] != ALEAT_NO_VALUE;
}

/** The tangent of v, zeros if it has none. */
static aleat_value tangent_or_zeros(const forward *f, aleat_value v)
{
    return active(f, v) ? f->tangent[v] : aleat_op_affine(f->graph, v, 0, 0);
}

/** A node of forward mode: attributes, parameters and dims of the primal one. */
static aleat_value derived(const forward *f, aleat_op op, const aleat_node *primal, int n_in,
                           const aleat_value *in)
{
    aleat_node node = *primal;
    node.op = op;
    node.n_in = n_in;
    memcpy(node.in, in, (size_t)n_in * sizeof *in);
    return aleat_graph_add(f->graph, &node);
}

/** Operations that are linear in their first input and constant in the others. */
static aleat_value jvp_linear(const forward *f, const aleat_node *node)
{
    aleat_value in[ALEAT_NODE_INPUTS];
    memcpy(in, node->in, sizeof in);
    in[0] = f->tangent[node->in[0]];
    return derived(f, node->op, node, node->n_in, in);
}

static aleat_value jvp_conv(const forward *f, const aleat_node *node)
{
    aleat_node unbiased = *node;
    unbiased.param[1] = ALEAT_NO_PARAM;
    return jvp_linear(f, &unbiased);
}

static aleat_value jvp_affine(const forward *f, const aleat_node *node)
{
    return aleat_op_affine(f->graph, f->tangent[node->in[0]], node->attrs.a, 0);
}

/** op(x, tx). */
static aleat_value with_input(const forward *f, aleat_op op, const aleat_node *node)
{
    const aleat_value in[] = {node->in[0], f->tangent[node->in[0]]};
    return derived(f, op, node, 2, in);
}

/** Elementwise, so the product with the derivative is its own transpose. */
static aleat_value jvp_activation(const forward *f, const aleat_node *node)
{
    return with_input(f, ALEAT_OP_ACTIVATION_GRAD, node);
}

static aleat_value jvp_groupnorm(const forward *f, const aleat_node *node)
{
    return with_input(f, ALEAT_OP_GROUPNORM_JVP, node);
}

static aleat_value jvp_layernorm(const forward *f, const aleat_node *node)
{
    return with_input(f, ALEAT_OP_LAYERNORM_JVP, node);
}

static aleat_value unsupported(const forward *f, const aleat_node *node, const char *what)
{
    return aleat_graph_fail(f->graph, ALEAT_ERR_UNSUPPORTED, "forward mode: '%s' with %s",
                            aleat_op_name(node->op), what);
}

/** Elementwise in x. */
static aleat_value jvp_scale_shift(const forward *f, const aleat_node *node)
{
    if (active(f, node->in[1]))
        return unsupported(f, node, "a modulation that depends on x");
    const aleat_value in[] = {node->in[0], node->in[1], f->tangent[node->in[0]]};
    return derived(f, ALEAT_OP_SCALE_SHIFT_GRAD, node, 3, in);
}

static aleat_value jvp_add(const forward *f, const aleat_node *node)
{
    const aleat_value a = node->in[0], b = node->in[1];
    if (!active(f, b))
        return f->tangent[a];
    const aleat_dims small = aleat_graph_dims(f->graph, b);
    if (!active(f, a) && small.h == node->dims.h && small.w == node->dims.w)
        return f->tangent[b];
    return aleat_op_add(f->graph, tangent_or_zeros(f, a), f->tangent[b]);
}

static aleat_value jvp_multiply(const forward *f, const aleat_node *node)
{
    const aleat_value a = node->in[0], b = node->in[1];
    aleat_value left = ALEAT_NO_VALUE, right = ALEAT_NO_VALUE;
    if (active(f, a))
        left = aleat_op_multiply(f->graph, f->tangent[a], b);
    if (active(f, b))
        right = aleat_op_multiply(f->graph, a, f->tangent[b]);
    if (left == ALEAT_NO_VALUE || right == ALEAT_NO_VALUE)
        return left == ALEAT_NO_VALUE ? right : left;
    return aleat_op_add(f->graph, left, right);
}

/** Two inputs side by side, on the channels or the tokens. */
static aleat_value jvp_concat(const forward *f, const aleat_node *node)
{
    const aleat_value in[] = {tangent_or_zeros(f, node->in[0]), tangent_or_zeros(f, node->in[1])};
    return derived(f, node->op, node, 2, in);
}

static aleat_value jvp_attention(const forward *f, const aleat_node *node)
{
    aleat_value in[] = {node->in[0], node->in[1], node->in[2], ALEAT_NO_VALUE, ALEAT_NO_VALUE};
    int n_in = 4;
    if (aleat_thirds_of_one(f->graph, node)) {
        in[3] = f->tangent[aleat_graph_node(f->graph, node->in[0])->in[0]];
    } else {
        in[3] = tangent_or_zeros(f, node->in[0]);
        if (active(f, node->in[1]) || active(f, node->in[2])) // else attention to a text
            in[n_in++] = aleat_op_concat(f->graph, tangent_or_zeros(f, node->in[1]),
                                         tangent_or_zeros(f, node->in[2]));
    }
    return derived(f, ALEAT_OP_ATTENTION_JVP, node, n_in, in);
}

typedef aleat_value jvp_rule(const forward *f, const aleat_node *node);

static jvp_rule *const rules[ALEAT_OP_COUNT] = {
    [ALEAT_OP_CONV] = jvp_conv,
    [ALEAT_OP_ACTIVATION] = jvp_activation,
    [ALEAT_OP_GROUPNORM] = jvp_groupnorm,
    [ALEAT_OP_LAYERNORM] = jvp_layernorm,
    [ALEAT_OP_ADD] = jvp_add,
    [ALEAT_OP_MULTIPLY] = jvp_multiply,
    [ALEAT_OP_AFFINE] = jvp_affine,
    [ALEAT_OP_DIVIDE] = jvp_linear,
    [ALEAT_OP_SCALE_SHIFT] = jvp_scale_shift,
    [ALEAT_OP_CONCAT] = jvp_concat,
    [ALEAT_OP_CONCAT_TOKENS] = jvp_concat,
    [ALEAT_OP_SLICE] = jvp_linear,
    [ALEAT_OP_SLICE_TOKENS] = jvp_linear,
    [ALEAT_OP_AVGPOOL] = jvp_linear,
    [ALEAT_OP_PAD_CHANNELS] = jvp_linear,
    [ALEAT_OP_UPSAMPLE] = jvp_linear,
    [ALEAT_OP_UNPATCHIFY] = jvp_linear,
    [ALEAT_OP_ATTENTION] = jvp_attention,
    [ALEAT_OP_ROPE] = jvp_linear,
    [ALEAT_OP_DROPOUT] = jvp_linear,
};

/** Whether an input of the node has a tangent. */
static bool depends(const forward *f, const aleat_node *node)
{
    for (int i = 0; i < node->n_in; i++)
        if (active(f, node->in[i]))
            return true;
    return false;
}

/** Marks what y is made of: other outputs of the graph need no rule. */
static void mark_used(const aleat_graph *graph, aleat_value y, bool *used)
{
    used[y] = true;
    for (aleat_value v = y; v >= 0; v--) {
        const aleat_node *node = aleat_graph_node(graph, v);
        for (int i = 0; used[v] && i < node->n_in; i++)
            used[node->in[i]] = true;
    }
}

aleat_value aleat_graph_jvp(aleat_graph *graph, aleat_value y, aleat_value x, aleat_value tangent)
{
    if (!graph || graph->error.status)
        return ALEAT_NO_VALUE;
    const int64_t n = graph->n_nodes;
    forward f = {.graph = graph, .tangent = aleat_alloc((size_t)n * sizeof *f.tangent)};
    bool *used = aleat_calloc((size_t)n, sizeof *used);
    aleat_value result = ALEAT_NO_VALUE;
    if (!f.tangent || !used) {
        (void)aleat_graph_fail(graph, ALEAT_ERR_MEMORY, "out of memory: forward mode");
        goto done;
    }
    for (int64_t i = 0; i < n; i++)
        f.tangent[i] = ALEAT_NO_VALUE;
    mark_used(graph, y, used);
    f.tangent[x] = tangent;
    for (aleat_value v = x + 1; v <= y && !graph->error.status; v++) {
        const aleat_node node = *aleat_graph_node(graph, v); // a copy: building moves the array
        if (!used[v] || !depends(&f, &node))
            continue;
        if (rules[node.op])
            f.tangent[v] = rules[node.op](&f, &node);
        else
            (void)aleat_graph_fail(graph, ALEAT_ERR_UNSUPPORTED, "no forward mode through '%s'",
                                   aleat_op_name(node.op));
    }
    result = graph->error.status ? ALEAT_NO_VALUE : f.tangent[y];
    if (result == ALEAT_NO_VALUE)
        result = aleat_graph_fail(graph, ALEAT_ERR_ARGUMENT, "the output does not depend on x");
done:
    aleat_free(f.tangent);
    aleat_free(used);
    return result;
}
