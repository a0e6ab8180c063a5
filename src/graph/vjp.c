/*
 * Reverse mode: the graph grows by the operations of the vector-Jacobian product. Each rule stands
 * in one line of the table; a rule is given the cotangent of its node and adds to those of the
 * node's inputs. Only values that depend on x carry cotangents, so time and label embeddings cost
 * nothing.
 */
#include <string.h>

#include "base/alloc.h"
#include "graph/node.h"
#include "kernels/norm.h"

typedef struct reverse {
    aleat_graph *graph;
    aleat_value at;         // whose rule is being applied
    int64_t n;              // values of the forward graph
    bool *active;           // depends on x, or on a parameter if `grads`
    aleat_value *cotangent; // of each value, ALEAT_NO_VALUE until something is added
    aleat_value *grads;     // of each parameter, the same; NULL: only x is asked for
} reverse;

/** A copy: building more nodes moves the graph's array. */
static aleat_node node_of(const reverse *r, aleat_value v)
{
    return r->graph->nodes[v];
}

static void add_cotangent(reverse *r, aleat_value v, aleat_value dv)
{
    if (!r->active[v])
        return;
    if (r->cotangent[v] != ALEAT_NO_VALUE)
        dv = aleat_op_add(r->graph, r->cotangent[v], dv);
    r->cotangent[v] = dv;
}

/** A node of reverse mode: the attributes and parameters of the forward one, the dims of `like`. */
static aleat_value derived(reverse *r, aleat_op op, const aleat_node *forward, int n_in,
                           const aleat_value *in, aleat_dims dims)
{
    aleat_node node = *forward;
    node.op = op;
    node.n_in = n_in;
    memcpy(node.in, in, (size_t)n_in * sizeof *in);
    node.dims = dims;
    return aleat_graph_add(r->graph, &node);
}

/* ---- parameters ------------------------------------------------------------------------------ */

static int64_t count_of(aleat_dims d)
{
    return d.h * d.w * d.c;
}

/** A value of `count` numbers for the whole batch. */
static aleat_value derived_shared(reverse *r, aleat_op op, const aleat_node *forward, int n_in,
                                  const aleat_value *in, int64_t count)
{
    aleat_node node = *forward;
    node.shared = true;
    node.param[0] = node.param[1] = ALEAT_NO_PARAM;
    return derived(r, op, &node, n_in, in, (aleat_dims){1, 1, count});
}

static void add_grad(reverse *r, aleat_param param, aleat_value grad)
{
    if (param == ALEAT_NO_PARAM || grad == ALEAT_NO_VALUE)
        return;
    if (r->grads[param] != ALEAT_NO_VALUE) {
        const aleat_value both[] = {r->grads[param], grad};
        grad = derived_shared(r, ALEAT_OP_ADD, &(aleat_node){0}, 2, both,
                              aleat_graph_dims(r->graph, grad).c);
    }
    r->grads[param] = grad;
}

/** The second result of a node, [dgamma | dbeta] of each image. */
static void add_affine_grads(reverse *r, const aleat_node *node, aleat_value of)
{
    if (!r->grads || node->param[0] == ALEAT_NO_PARAM)
        return;
    const int64_t c = node->dims.c;
    const aleat_value each = derived(r, ALEAT_OP_SIDE, node, 1, &of, (aleat_dims){1, 1, 2 * c});
    const aleat_value both = derived_shared(r, ALEAT_OP_SUM_IMAGES, node, 1, &each, 2 * c);
    for (int i = 0; i < 2; i++)
        add_grad(r, node->param[i], aleat_op_slice(r->graph, both, i * c, c));
}

/** What is left of a cotangent for something that was repeated over the pixels. */
static aleat_value sum_pixels(reverse *r, const aleat_node *node, aleat_value dy)
{
    return derived(r, ALEAT_OP_SUM_PIXELS, node, 1, &dy, (aleat_dims){1, 1, node->dims.c});
}

/** Shares the gradients of stacks out to their parts, the last made first. */
static void split_stacks(reverse *r)
{
    for (int64_t p = r->graph->n_params - 1; p >= 0; p--) {
        const aleat_param_info *info = &r->graph->params[p];
        if (r->grads[p] == ALEAT_NO_VALUE || info->name)
            continue;
        if (info->order || info->transposed || info->fold) {
            (void)aleat_graph_fail(r->graph, ALEAT_ERR_UNSUPPORTED,
                                   "no gradient of a parameter that is reordered, transposed or "
                                   "folded with a batch norm");
            return;
        }
        int64_t begin = 0;
        for (int i = 0; i < info->n_parts; i++) {
            const int64_t count = aleat_param_count(r->graph, info->parts[i]);
            add_grad(r, info->parts[i], aleat_op_slice(r->graph, r->grads[p], begin, count));
            begin += count;
        }
        r->grads[p] = ALEAT_NO_VALUE;
    }
}

/* ---- rules ----------------------------------------------------------------------------------- */

/** One input, no parameters: dx = op(dy). */
static void simple(reverse *r, aleat_op op, const aleat_node *node, aleat_value dy)
{
    if (!r->active[node->in[0]])
        return;
    add_cotangent(r, node->in[0],
                  derived(r, op, node, 1, &dy, aleat_graph_dims(r->graph, node->in[0])));
}

/** dx = op(x, dy), which is returned. */
static aleat_value with_input(reverse *r, aleat_op op, const aleat_node *node, aleat_value dy)
{
    const aleat_value in[] = {node->in[0], dy};
    const aleat_value dx = derived(r, op, node, 2, in, aleat_graph_dims(r->graph, node->in[0]));
    add_cotangent(r, node->in[0], dx);
    return dx;
}

static void vjp_conv(reverse *r, const aleat_node *node, aleat_value dy)
{
    if (r->grads) {
        const aleat_value in[] = {node->in[0], dy};
        const aleat_value dw = derived_shared(r, ALEAT_OP_CONV_WEIGHT_GRAD, node, 2, in,
                                              aleat_param_count(r->graph, node->param[0]));
        add_grad(r, node->param[0], dw);
        if (node->param[1] != ALEAT_NO_PARAM)
            add_grad(r, node->param[1],
                     derived_shared(r, ALEAT_OP_SIDE, node, 1, &dw, node->dims.c));
    }
    aleat_node adjoint = *node;
    adjoint.param[1] = ALEAT_NO_PARAM;
    adjoint.attrs.adjoint = !node->attrs.adjoint;
    simple(r, ALEAT_OP_CONV, &adjoint, dy);
}

static void vjp_activation(reverse *r, const aleat_node *node, aleat_value dy)
{
    (void)with_input(r, ALEAT_OP_ACTIVATION_GRAD, node, dy);
}

/** The second result of a group norm; a graph may have several gradients. */
static aleat_value moments_of(reverse *r, const aleat_node *node)
{
    for (aleat_value v = r->at + 1; v < r->graph->n_nodes; v++)
        if (r->graph->nodes[v].op == ALEAT_OP_SIDE && r->graph->nodes[v].in[0] == r->at)
            return v;
    return derived(r, ALEAT_OP_SIDE, node, 1, &r->at,
                   (aleat_dims){1, 1, ALEAT_GROUPNORM_MOMENTS * node->dims.c});
}

static void vjp_groupnorm(reverse *r, const aleat_node *node, aleat_value dy)
{
    const aleat_value in[] = {node->in[0], dy, moments_of(r, node)};
    const aleat_value dx =
        derived(r, ALEAT_OP_GROUPNORM_GRAD, node, 3, in, aleat_graph_dims(r->graph, node->in[0]));
    add_cotangent(r, node->in[0], dx);
    add_affine_grads(r, node, dx);
}

static void vjp_layernorm(reverse *r, const aleat_node *node, aleat_value dy)
{
    if (r->grads && node->attrs.heads > 1) {
        (void)aleat_graph_fail(r->graph, ALEAT_ERR_UNSUPPORTED,
                               "no gradient of a norm's weight that several heads share");
        return;
    }
    add_affine_grads(r, node, with_input(r, ALEAT_OP_LAYERNORM_GRAD, node, dy));
}

static void vjp_multiply(reverse *r, const aleat_node *node, aleat_value dy)
{
    const aleat_value a = node->in[0], b = node->in[1];
    const aleat_dims small = aleat_graph_dims(r->graph, b);
    if (r->active[a])
        add_cotangent(r, a, aleat_op_multiply(r->graph, dy, b));
    if (!r->active[b])
        return;
    const aleat_value db = aleat_op_multiply(r->graph, dy, a);
    const bool repeated = small.h * small.w != node->dims.h * node->dims.w;
    add_cotangent(r, b, repeated ? sum_pixels(r, node, db) : db);
}

static void vjp_add(reverse *r, const aleat_node *node, aleat_value dy)
{
    const aleat_dims out = node->dims;
    for (int i = 0; i < 2; i++) {
        const aleat_dims in = aleat_graph_dims(r->graph, node->in[i]);
        if (!r->active[node->in[i]])
            continue;
        const bool repeated = in.h * in.w != out.h * out.w;
        add_cotangent(r, node->in[i], repeated ? sum_pixels(r, node, dy) : dy);
    }
}

static void vjp_affine(reverse *r, const aleat_node *node, aleat_value dy)
{
    add_cotangent(r, node->in[0], aleat_op_affine(r->graph, dy, node->attrs.a, 0));
}

static void vjp_divide(reverse *r, const aleat_node *node, aleat_value dy)
{
    add_cotangent(r, node->in[0], aleat_op_divide(r->graph, dy, node->in[1]));
}

/**
 * A modulated group norm, if only x is asked for, in one step: the forward half then needs no value
 * between the two and melts them, as it does without a gradient, to the same bits.
 */
static bool vjp_modulated_norm(reverse *r, const aleat_node *node, aleat_value dy)
{
    aleat_node norm = node_of(r, node->in[0]);
    if (norm.op != ALEAT_OP_GROUPNORM || norm.attrs.act != ALEAT_ACT_NONE || r->grads ||
        r->active[node->in[1]])
        return false;
    norm.attrs.act = node->attrs.act;
    const aleat_value in[] = {norm.in[0], dy, node->in[1]};
    add_cotangent(
        r, norm.in[0],
        derived(r, ALEAT_OP_GROUPNORM_GRAD, &norm, 3, in, aleat_graph_dims(r->graph, norm.in[0])));
    return true;
}

static void vjp_scale_shift(reverse *r, const aleat_node *node, aleat_value dy)
{
    if (vjp_modulated_norm(r, node, dy))
        return;
    const aleat_value in[] = {node->in[0], node->in[1], dy};
    const aleat_value dx = derived(r, ALEAT_OP_SCALE_SHIFT_GRAD, node, 3, in, node->dims);
    add_cotangent(r, node->in[0], dx);
    if (r->active[node->in[1]])
        add_cotangent(
            r, node->in[1],
            derived(r, ALEAT_OP_SIDE, node, 1, &dx, aleat_graph_dims(r->graph, node->in[1])));
}

static void vjp_concat(reverse *r, const aleat_node *node, aleat_value dy)
{
    const int64_t a = aleat_graph_dims(r->graph, node->in[0]).c;
    const int64_t b = aleat_graph_dims(r->graph, node->in[1]).c;
    if (r->active[node->in[0]])
        add_cotangent(r, node->in[0], aleat_op_slice(r->graph, dy, 0, a));
    if (r->active[node->in[1]])
        add_cotangent(r, node->in[1], aleat_op_slice(r->graph, dy, a, b));
}

static void vjp_concat_tokens(reverse *r, const aleat_node *node, aleat_value dy)
{
    const aleat_dims a = aleat_graph_dims(r->graph, node->in[0]);
    const aleat_dims b = aleat_graph_dims(r->graph, node->in[1]);
    if (r->active[node->in[0]])
        add_cotangent(r, node->in[0], aleat_op_slice_tokens(r->graph, dy, 0, a.h, a.w));
    if (r->active[node->in[1]])
        add_cotangent(r, node->in[1], aleat_op_slice_tokens(r->graph, dy, a.h * a.w, b.h, b.w));
}

static void vjp_slice(reverse *r, const aleat_node *node, aleat_value dy)
{
    simple(r, ALEAT_OP_PAD_CHANNELS, node, dy);
}

static void vjp_slice_tokens(reverse *r, const aleat_node *node, aleat_value dy)
{
    simple(r, ALEAT_OP_PAD_TOKENS, node, dy);
}

static void vjp_avgpool(reverse *r, const aleat_node *node, aleat_value dy)
{
    simple(r, ALEAT_OP_AVGPOOL_GRAD, node, dy);
}

static void vjp_pad_channels(reverse *r, const aleat_node *node, aleat_value dy)
{
    const int64_t c = aleat_graph_dims(r->graph, node->in[0]).c;
    add_cotangent(r, node->in[0], aleat_op_slice(r->graph, dy, node->attrs.begin, c));
}

static void vjp_upsample(reverse *r, const aleat_node *node, aleat_value dy)
{
    simple(r, ALEAT_OP_SUMPOOL, node, dy);
}

static void vjp_unpatchify(reverse *r, const aleat_node *node, aleat_value dy)
{
    simple(r, ALEAT_OP_PATCHIFY, node, dy);
}

/** The same mask again. */
static void vjp_dropout(reverse *r, const aleat_node *node, aleat_value dy)
{
    simple(r, ALEAT_OP_DROPOUT, node, dy);
}

static void vjp_embedding(reverse *r, const aleat_node *node, aleat_value dy)
{
    const aleat_value in[] = {node->in[0], dy};
    if (r->grads)
        add_grad(r, node->param[0],
                 derived_shared(r, ALEAT_OP_EMBEDDING_GRAD, node, 2, in,
                                aleat_param_count(r->graph, node->param[0])));
}

static void vjp_constant(reverse *r, const aleat_node *node, aleat_value dy)
{
    if (r->grads)
        add_grad(r, node->param[0],
                 derived_shared(r, ALEAT_OP_SUM_IMAGES, node, 1, &dy, count_of(node->dims)));
}

bool aleat_thirds_of_one(const aleat_graph *graph, const aleat_node *attention)
{
    const aleat_node *q = aleat_graph_node(graph, attention->in[0]);
    for (int i = 0; i < 3; i++) {
        const aleat_node *part = aleat_graph_node(graph, attention->in[i]);
        if (part->op != ALEAT_OP_SLICE || part->in[0] != q->in[0] ||
            part->attrs.begin != i * q->dims.c || part->dims.c != q->dims.c)
            return false;
    }
    return aleat_graph_dims(graph, q->in[0]).c == 3 * q->dims.c;
}

static void vjp_attention(reverse *r, const aleat_node *node, aleat_value dy)
{
    const aleat_dims q = aleat_graph_dims(r->graph, node->in[0]);
    const aleat_dims k = aleat_graph_dims(r->graph, node->in[1]);
    const aleat_value in[] = {node->in[0], node->in[1], node->in[2], dy};
    if (aleat_thirds_of_one(r->graph, node)) {
        add_cotangent(
            r, node_of(r, node->in[0]).in[0],
            derived(r, ALEAT_OP_ATTENTION_GRAD, node, 4, in, (aleat_dims){q.h, q.w, 3 * q.c}));
        return;
    }
    const aleat_value dq = derived(r, ALEAT_OP_ATTENTION_GRAD, node, 4, in, q);
    add_cotangent(r, node->in[0], dq);
    if (!r->active[node->in[1]] && !r->active[node->in[2]])
        return; // attention to a text
    const aleat_value kv = derived(r, ALEAT_OP_SIDE, node, 1, &dq, (aleat_dims){k.h, k.w, 2 * k.c});
    for (int i = 0; i < 2; i++)
        if (r->active[node->in[1 + i]])
            add_cotangent(r, node->in[1 + i], aleat_op_slice(r->graph, kv, i * k.c, k.c));
}

/** A rotation: its transpose turns back. */
static void vjp_rope(reverse *r, const aleat_node *node, aleat_value dy)
{
    aleat_node back = *node;
    back.attrs.adjoint = !node->attrs.adjoint;
    const aleat_value in[] = {dy, node->in[1]};
    add_cotangent(r, node->in[0], derived(r, ALEAT_OP_ROPE, &back, 2, in, node->dims));
}

typedef void vjp_rule(reverse *r, const aleat_node *node, aleat_value dy);

static vjp_rule *const rules[ALEAT_OP_COUNT] = {
    [ALEAT_OP_CONV] = vjp_conv,
    [ALEAT_OP_ACTIVATION] = vjp_activation,
    [ALEAT_OP_GROUPNORM] = vjp_groupnorm,
    [ALEAT_OP_LAYERNORM] = vjp_layernorm,
    [ALEAT_OP_ADD] = vjp_add,
    [ALEAT_OP_MULTIPLY] = vjp_multiply,
    [ALEAT_OP_AFFINE] = vjp_affine,
    [ALEAT_OP_DIVIDE] = vjp_divide,
    [ALEAT_OP_SCALE_SHIFT] = vjp_scale_shift,
    [ALEAT_OP_CONCAT] = vjp_concat,
    [ALEAT_OP_CONCAT_TOKENS] = vjp_concat_tokens,
    [ALEAT_OP_SLICE] = vjp_slice,
    [ALEAT_OP_SLICE_TOKENS] = vjp_slice_tokens,
    [ALEAT_OP_AVGPOOL] = vjp_avgpool,
    [ALEAT_OP_PAD_CHANNELS] = vjp_pad_channels,
    [ALEAT_OP_UPSAMPLE] = vjp_upsample,
    [ALEAT_OP_UNPATCHIFY] = vjp_unpatchify,
    [ALEAT_OP_ATTENTION] = vjp_attention,
    [ALEAT_OP_ROPE] = vjp_rope,
    [ALEAT_OP_DROPOUT] = vjp_dropout,
    [ALEAT_OP_EMBEDDING] = vjp_embedding,
    [ALEAT_OP_CONSTANT] = vjp_constant,
};

/** Whether a node has parameters that can be trained; those of a Fourier embedding are fixed. */
static bool has_parameters(const aleat_node *node)
{
    return node->op != ALEAT_OP_FOURIER &&
           (node->param[0] != ALEAT_NO_PARAM || node->param[1] != ALEAT_NO_PARAM);
}

static void mark_active(reverse *r, aleat_value x)
{
    if (x != ALEAT_NO_VALUE)
        r->active[x] = true;
    for (aleat_value v = 0; v < r->n; v++) {
        const aleat_node *node = aleat_graph_node(r->graph, v);
        if (node->op != ALEAT_OP_INPUT && r->grads && has_parameters(node))
            r->active[v] = true;
        for (int i = 0; i < node->n_in; i++)
            r->active[v] = r->active[v] || r->active[node->in[i]];
    }
}

static bool reverse_begin(reverse *r)
{
    r->n = r->graph->n_nodes;
    r->active = aleat_calloc((size_t)r->n, sizeof *r->active);
    r->cotangent = aleat_alloc((size_t)r->n * sizeof *r->cotangent);
    if (!r->active || !r->cotangent) {
        (void)aleat_graph_fail(r->graph, ALEAT_ERR_MEMORY, "out of memory: reverse mode");
        return false;
    }
    for (int64_t i = 0; i < r->n; i++)
        r->cotangent[i] = ALEAT_NO_VALUE;
    return true;
}

static void reverse_end(reverse *r)
{
    aleat_free(r->active);
    aleat_free(r->cotangent);
}

/** Applies the rules from y down to the value after `last`. */
static void reverse_run(reverse *r, aleat_value y, aleat_value cotangent, aleat_value last)
{
    add_cotangent(r, y, cotangent);
    for (aleat_value v = y; v > last && !r->graph->error.status; v--) {
        if (!r->active[v] || r->cotangent[v] == ALEAT_NO_VALUE)
            continue;
        const aleat_node node = node_of(r, v);
        r->at = v;
        if (rules[node.op])
            rules[node.op](r, &node, r->cotangent[v]);
        else
            (void)aleat_graph_fail(r->graph, ALEAT_ERR_UNSUPPORTED, "no gradient through '%s'",
                                   aleat_op_name(node.op));
    }
}

aleat_value aleat_graph_vjp(aleat_graph *graph, aleat_value y, aleat_value cotangent, aleat_value x)
{
    if (!graph || graph->error.status)
        return ALEAT_NO_VALUE;
    reverse r = {.graph = graph};
    aleat_value result = ALEAT_NO_VALUE;
    if (reverse_begin(&r)) {
        mark_active(&r, x);
        reverse_run(&r, y, cotangent, x);
        result = graph->error.status ? ALEAT_NO_VALUE : r.cotangent[x];
        if (result == ALEAT_NO_VALUE)
            result = aleat_graph_fail(graph, ALEAT_ERR_ARGUMENT, "the output does not depend on x");
    }
    reverse_end(&r);
    return result;
}

void aleat_graph_vjp_params(aleat_graph *graph, aleat_value y, aleat_value cotangent,
                            aleat_value *grads)
{
    if (!graph || graph->error.status)
        return;
    reverse r = {.graph = graph, .grads = grads};
    for (int64_t p = 0; p < graph->n_params; p++)
        grads[p] = ALEAT_NO_VALUE;
    if (reverse_begin(&r)) {
        mark_active(&r, ALEAT_NO_VALUE);
        reverse_run(&r, y, cotangent, ALEAT_NO_VALUE);
        split_stacks(&r);
    }
    reverse_end(&r);
}
