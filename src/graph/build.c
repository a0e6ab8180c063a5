/* The builder: every operation's shape rule. */
#include <math.h>
#include <string.h>

#include "graph/node.h"

const char *aleat_op_name(aleat_op op)
{
    static const char *const names[ALEAT_OP_COUNT] = {
        [ALEAT_OP_INPUT] = "input",
        [ALEAT_OP_CONSTANT] = "constant",
        [ALEAT_OP_CONV] = "convolution",
        [ALEAT_OP_ACTIVATION] = "activation",
        [ALEAT_OP_GROUPNORM] = "group norm",
        [ALEAT_OP_LAYERNORM] = "layer norm",
        [ALEAT_OP_ADD] = "add",
        [ALEAT_OP_MULTIPLY] = "multiply",
        [ALEAT_OP_AFFINE] = "affine",
        [ALEAT_OP_SCALE_SHIFT] = "scale-shift",
        [ALEAT_OP_CONCAT] = "concat",
        [ALEAT_OP_CONCAT_TOKENS] = "concat tokens",
        [ALEAT_OP_SLICE_TOKENS] = "slice tokens",
        [ALEAT_OP_SLICE] = "slice",
        [ALEAT_OP_AVGPOOL] = "average pool",
        [ALEAT_OP_MAXPOOL] = "max pool",
        [ALEAT_OP_PAD_CHANNELS] = "pad channels",
        [ALEAT_OP_UPSAMPLE] = "upsample",
        [ALEAT_OP_UNPATCHIFY] = "unpatchify",
        [ALEAT_OP_ATTENTION] = "attention",
        [ALEAT_OP_ROPE_ANGLES] = "rotary angles",
        [ALEAT_OP_ROPE] = "rotary embedding",
        [ALEAT_OP_EMBEDDING] = "embedding",
        [ALEAT_OP_SINUSOID] = "sinusoid",
        [ALEAT_OP_FOURIER] = "fourier",
        [ALEAT_OP_DIVIDE] = "divide",
        [ALEAT_OP_DROPOUT] = "dropout",
        [ALEAT_OP_ACTIVATION_GRAD] = "activation gradient",
        [ALEAT_OP_GROUPNORM_GRAD] = "group norm gradient",
        [ALEAT_OP_LAYERNORM_GRAD] = "layer norm gradient",
        [ALEAT_OP_SCALE_SHIFT_GRAD] = "scale-shift gradient",
        [ALEAT_OP_ATTENTION_GRAD] = "attention gradient",
        [ALEAT_OP_PAD_TOKENS] = "pad tokens",
        [ALEAT_OP_SUMPOOL] = "sum pool",
        [ALEAT_OP_AVGPOOL_GRAD] = "average pool gradient",
        [ALEAT_OP_PATCHIFY] = "patchify",
        [ALEAT_OP_GROUPNORM_JVP] = "group norm tangent",
        [ALEAT_OP_LAYERNORM_JVP] = "layer norm tangent",
        [ALEAT_OP_ATTENTION_JVP] = "attention tangent",
        [ALEAT_OP_SIDE] = "second result",
        [ALEAT_OP_CONV_WEIGHT_GRAD] = "convolution weight gradient",
        [ALEAT_OP_EMBEDDING_GRAD] = "embedding gradient",
        [ALEAT_OP_SUM_PIXELS] = "sum over pixels",
        [ALEAT_OP_SUM_IMAGES] = "sum over images",
    };
    return (unsigned)op < ALEAT_OP_COUNT ? names[op] : "unknown";
}

/** A node with `n_in` inputs and no parameters, dims like the first input. */
static aleat_node node_of(const aleat_graph *graph, aleat_op op, int n_in, aleat_value a,
                          aleat_value b)
{
    return (aleat_node){.op = op,
                        .n_in = n_in,
                        .in = {a, b, ALEAT_NO_VALUE, ALEAT_NO_VALUE},
                        .param = {ALEAT_NO_PARAM, ALEAT_NO_PARAM},
                        .dims = aleat_graph_dims(graph, a)};
}

static bool usable(const aleat_graph *graph, aleat_value x)
{
    return graph && !graph->error.status && x >= 0 && x < graph->n_nodes;
}

/** Whether a parameter is a vector of c (or absent, which is allowed). */
static bool vector_or_none(const aleat_graph *graph, aleat_param p, int64_t c)
{
    return p == ALEAT_NO_PARAM ||
           (p >= 0 && p < graph->n_params && aleat_param_count(graph, p) == c);
}

static aleat_value shape_error(aleat_graph *graph, aleat_op op, aleat_value a, aleat_value b)
{
    const aleat_dims x = aleat_graph_dims(graph, a), y = aleat_graph_dims(graph, b);
    return aleat_graph_fail(
        graph, ALEAT_ERR_SHAPE,
        "%s: %lldx%lldx%lld does not fit %lldx%lldx%lld (height, width, channels)",
        aleat_op_name(op), (long long)x.h, (long long)x.w, (long long)x.c, (long long)y.h,
        (long long)y.w, (long long)y.c);
}

/** Operations that walk over images expect them one behind the other; a constant exists once. */
static aleat_value constant_error(aleat_graph *graph, aleat_op op)
{
    return aleat_graph_fail(graph, ALEAT_ERR_UNSUPPORTED, "%s: of a constant", aleat_op_name(op));
}

static bool is_constant(const aleat_graph *graph, aleat_value x)
{
    return graph->nodes[x].shared;
}

aleat_value aleat_graph_constant(aleat_graph *graph, aleat_param param)
{
    if (!graph || graph->error.status || param < 0)
        return ALEAT_NO_VALUE;
    const aleat_shape *shape = &graph->params[param].shape;
    const int64_t c = shape->n_dims ? shape->dim[shape->n_dims - 1] : 1;
    aleat_node node = node_of(graph, ALEAT_OP_CONSTANT, 0, ALEAT_NO_VALUE, ALEAT_NO_VALUE);
    node.param[0] = param;
    node.dims = (aleat_dims){.h = c ? aleat_param_count(graph, param) / c : 0, .w = 1, .c = c};
    node.shared = true;
    return aleat_graph_add(graph, &node);
}

/** Turns the dims of an image into those of the places that a kernel takes on it. */
static bool slide(aleat_graph *graph, aleat_op op, aleat_dims *dims, const aleat_conv_spec *spec)
{
    const int64_t h = dims->h + spec->pad_top + spec->pad_bottom - spec->kernel_h;
    const int64_t w = dims->w + spec->pad_left + spec->pad_right - spec->kernel_w;
    if (h < 0 || w < 0) {
        (void)aleat_graph_fail(graph, ALEAT_ERR_SHAPE,
                               "%s: the image (%lldx%lld) is smaller than the kernel; "
                               "the network needs a larger image",
                               aleat_op_name(op), (long long)dims->h, (long long)dims->w);
        return false;
    }
    dims->h = h / spec->stride + 1;
    dims->w = w / spec->stride + 1;
    return true;
}

aleat_conv_spec aleat_conv_same(int64_t kernel)
{
    const int64_t pad = kernel / 2;
    return (aleat_conv_spec){kernel, kernel, 1, pad, pad, pad, pad};
}

aleat_value aleat_op_conv2d(aleat_graph *graph, aleat_value x, aleat_param weight, aleat_param bias,
                            aleat_conv_spec spec)
{
    if (!usable(graph, x) || weight < 0)
        return ALEAT_NO_VALUE;
    if (is_constant(graph, x))
        return constant_error(graph, ALEAT_OP_CONV);
    aleat_node node = node_of(graph, ALEAT_OP_CONV, 1, x, ALEAT_NO_VALUE);
    const aleat_shape *w = &graph->params[weight].shape;
    const int64_t count = aleat_param_count(graph, weight);
    const int64_t taps = spec.kernel_h * spec.kernel_w;
    if (w->n_dims < 2 || count != w->dim[0] * node.dims.c * taps ||
        !vector_or_none(graph, bias, w->dim[0]))
        return aleat_graph_fail(graph, ALEAT_ERR_SHAPE,
                                "convolution: a weight of %lld x %lld does not take %lld channels",
                                (long long)w->dim[0], (long long)w->dim[1], (long long)node.dims.c);
    if (!slide(graph, ALEAT_OP_CONV, &node.dims, &spec))
        return ALEAT_NO_VALUE;
    node.param[0] = weight;
    node.param[1] = bias;
    node.attrs.conv = spec;
    node.dims.c = w->dim[0];
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_linear(aleat_graph *graph, aleat_value x, aleat_param weight, aleat_param bias)
{
    return aleat_op_conv2d(graph, x, weight, bias,
                           (aleat_conv_spec){.kernel_h = 1, .kernel_w = 1, .stride = 1});
}

aleat_value aleat_op_activation(aleat_graph *graph, aleat_value x, aleat_activation act)
{
    if (act == ALEAT_ACT_NONE)
        return x;
    aleat_node node = node_of(graph, ALEAT_OP_ACTIVATION, 1, x, ALEAT_NO_VALUE);
    node.attrs.act = act;
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_groupnorm(aleat_graph *graph, aleat_value x, aleat_param gamma,
                               aleat_param beta, int64_t groups, double eps, aleat_activation act)
{
    if (!usable(graph, x))
        return ALEAT_NO_VALUE;
    if (is_constant(graph, x))
        return constant_error(graph, ALEAT_OP_GROUPNORM);
    aleat_node node = node_of(graph, ALEAT_OP_GROUPNORM, 1, x, ALEAT_NO_VALUE);
    if (groups < 1 || node.dims.c % groups || !vector_or_none(graph, gamma, node.dims.c) ||
        !vector_or_none(graph, beta, node.dims.c))
        return aleat_graph_fail(graph, ALEAT_ERR_SHAPE,
                                "group norm: %lld channels do not divide into %lld groups",
                                (long long)node.dims.c, (long long)groups);
    node.param[0] = gamma;
    node.param[1] = beta;
    node.attrs.groups = groups;
    node.attrs.eps = eps;
    node.attrs.act = act;
    return aleat_graph_add(graph, &node);
}

/** Over the channels of each head. */
static aleat_value row_norm(aleat_graph *graph, aleat_value x, aleat_param gamma, aleat_param beta,
                            int64_t heads, double eps, bool rms)
{
    if (!usable(graph, x))
        return ALEAT_NO_VALUE;
    if (is_constant(graph, x))
        return constant_error(graph, ALEAT_OP_LAYERNORM);
    aleat_node node = node_of(graph, ALEAT_OP_LAYERNORM, 1, x, ALEAT_NO_VALUE);
    const int64_t width = heads > 0 ? node.dims.c / heads : 0;
    if (width * heads != node.dims.c || !vector_or_none(graph, gamma, width) ||
        !vector_or_none(graph, beta, width))
        return aleat_graph_fail(graph, ALEAT_ERR_SHAPE,
                                "layer norm: gamma or beta is not a vector of %lld",
                                (long long)width);
    node.param[0] = gamma;
    node.param[1] = beta;
    node.attrs.heads = heads;
    node.attrs.eps = eps;
    node.attrs.rms = rms;
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_layernorm(aleat_graph *graph, aleat_value x, aleat_param gamma,
                               aleat_param beta, double eps)
{
    return row_norm(graph, x, gamma, beta, 1, eps, false);
}

aleat_value aleat_op_rmsnorm(aleat_graph *graph, aleat_value x, aleat_param gamma, double eps)
{
    return row_norm(graph, x, gamma, ALEAT_NO_PARAM, 1, eps, true);
}

aleat_value aleat_op_rmsnorm_heads(aleat_graph *graph, aleat_value x, aleat_param gamma,
                                   int64_t heads, double eps)
{
    return row_norm(graph, x, gamma, ALEAT_NO_PARAM, heads, eps, true);
}

/** Two values of the same dims, or a vector for all pixels as the second. */
static aleat_value elementwise(aleat_graph *graph, aleat_op op, aleat_value a, aleat_value b)
{
    if (!usable(graph, a) || !usable(graph, b))
        return ALEAT_NO_VALUE;
    const aleat_node node = node_of(graph, op, 2, a, b);
    const aleat_dims x = node.dims, y = aleat_graph_dims(graph, b);
    const bool same = x.h * x.w == y.h * y.w;
    const bool vector = y.h == 1 && y.w == 1;
    if (x.c != y.c || (!same && !vector))
        return shape_error(graph, op, a, b);
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_add(aleat_graph *graph, aleat_value a, aleat_value b)
{
    return elementwise(graph, ALEAT_OP_ADD, a, b);
}

aleat_value aleat_op_multiply(aleat_graph *graph, aleat_value a, aleat_value b)
{
    return elementwise(graph, ALEAT_OP_MULTIPLY, a, b);
}

aleat_value aleat_op_affine(aleat_graph *graph, aleat_value x, double a, double b)
{
    aleat_node node = node_of(graph, ALEAT_OP_AFFINE, 1, x, ALEAT_NO_VALUE);
    node.attrs.a = a;
    node.attrs.b = b;
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_scale_shift(aleat_graph *graph, aleat_value x, aleat_value scale_shift,
                                 aleat_activation act)
{
    if (!usable(graph, x) || !usable(graph, scale_shift))
        return ALEAT_NO_VALUE;
    aleat_node node = node_of(graph, ALEAT_OP_SCALE_SHIFT, 2, x, scale_shift);
    const aleat_dims s = aleat_graph_dims(graph, scale_shift);
    if (s.c != 2 * node.dims.c || s.h != 1 || s.w != 1)
        return shape_error(graph, ALEAT_OP_SCALE_SHIFT, x, scale_shift);
    node.attrs.act = act;
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_concat(aleat_graph *graph, aleat_value a, aleat_value b)
{
    if (!usable(graph, a) || !usable(graph, b))
        return ALEAT_NO_VALUE;
    aleat_node node = node_of(graph, ALEAT_OP_CONCAT, 2, a, b);
    const aleat_dims y = aleat_graph_dims(graph, b);
    if (node.dims.h != y.h || node.dims.w != y.w)
        return shape_error(graph, ALEAT_OP_CONCAT, a, b);
    node.dims.c += y.c;
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_concat_tokens(aleat_graph *graph, aleat_value a, aleat_value b)
{
    if (!usable(graph, a) || !usable(graph, b))
        return ALEAT_NO_VALUE;
    aleat_node node = node_of(graph, ALEAT_OP_CONCAT_TOKENS, 2, a, b);
    const aleat_dims x = node.dims, y = aleat_graph_dims(graph, b);
    if (x.c != y.c)
        return shape_error(graph, ALEAT_OP_CONCAT_TOKENS, a, b);
    node.dims = (aleat_dims){x.h * x.w + y.h * y.w, 1, x.c};
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_slice_tokens(aleat_graph *graph, aleat_value x, int64_t begin, int64_t h,
                                  int64_t w)
{
    if (!usable(graph, x))
        return ALEAT_NO_VALUE;
    aleat_node node = node_of(graph, ALEAT_OP_SLICE_TOKENS, 1, x, ALEAT_NO_VALUE);
    if (begin < 0 || h < 1 || w < 1 || begin + h * w > node.dims.h * node.dims.w)
        return aleat_graph_fail(graph, ALEAT_ERR_SHAPE, "slice: tokens %lld..%lld of %lld",
                                (long long)begin, (long long)(begin + h * w),
                                (long long)(node.dims.h * node.dims.w));
    node.attrs.begin = begin;
    node.dims.h = h;
    node.dims.w = w;
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_slice(aleat_graph *graph, aleat_value x, int64_t begin, int64_t count)
{
    if (!usable(graph, x))
        return ALEAT_NO_VALUE;
    aleat_node node = node_of(graph, ALEAT_OP_SLICE, 1, x, ALEAT_NO_VALUE);
    if (begin < 0 || count < 1 || begin + count > node.dims.c)
        return aleat_graph_fail(graph, ALEAT_ERR_SHAPE, "slice: channels %lld..%lld of %lld",
                                (long long)begin, (long long)(begin + count),
                                (long long)node.dims.c);
    node.attrs.begin = begin;
    node.dims.c = count;
    node.shared = graph->nodes[x].shared;
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_pad_channels(aleat_graph *graph, aleat_value x, int64_t begin, int64_t c)
{
    if (!usable(graph, x))
        return ALEAT_NO_VALUE;
    aleat_node node = node_of(graph, ALEAT_OP_PAD_CHANNELS, 1, x, ALEAT_NO_VALUE);
    if (begin < 0 || begin > c - node.dims.c)
        return aleat_graph_fail(graph, ALEAT_ERR_SHAPE,
                                "pad channels: %lld channels from %lld on do not fit %lld",
                                (long long)node.dims.c, (long long)begin, (long long)c);
    node.attrs.begin = begin;
    node.dims.c = c;
    return aleat_graph_add(graph, &node);
}

static aleat_value pool(aleat_graph *graph, aleat_op op, aleat_value x, aleat_conv_spec window)
{
    if (!usable(graph, x))
        return ALEAT_NO_VALUE;
    aleat_node node = node_of(graph, op, 1, x, ALEAT_NO_VALUE);
    if (is_constant(graph, x))
        return constant_error(graph, op);
    // Padding as wide as the window would leave windows without a pixel.
    if (window.pad_top >= window.kernel_h || window.pad_bottom >= window.kernel_h ||
        window.pad_left >= window.kernel_w || window.pad_right >= window.kernel_w)
        return aleat_graph_fail(graph, ALEAT_ERR_SHAPE,
                                "%s: padding as large as the %lldx%lld window", aleat_op_name(op),
                                (long long)window.kernel_h, (long long)window.kernel_w);
    if (!slide(graph, op, &node.dims, &window))
        return ALEAT_NO_VALUE;
    node.attrs.conv = window;
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_avgpool(aleat_graph *graph, aleat_value x, aleat_conv_spec window)
{
    return pool(graph, ALEAT_OP_AVGPOOL, x, window);
}

aleat_value aleat_op_maxpool(aleat_graph *graph, aleat_value x, aleat_conv_spec window)
{
    return pool(graph, ALEAT_OP_MAXPOOL, x, window);
}

aleat_value aleat_op_avgpool2(aleat_graph *graph, aleat_value x)
{
    return aleat_op_avgpool(graph, x, (aleat_conv_spec){.kernel_h = 2, .kernel_w = 2, .stride = 2});
}

aleat_value aleat_op_mean(aleat_graph *graph, aleat_value x)
{
    const aleat_dims d = aleat_graph_dims(graph, x);
    return aleat_op_avgpool(graph, x,
                            (aleat_conv_spec){.kernel_h = d.h, .kernel_w = d.w, .stride = 1});
}

aleat_value aleat_op_upsample_to(aleat_graph *graph, aleat_value x, int64_t h, int64_t w)
{
    aleat_node node = node_of(graph, ALEAT_OP_UPSAMPLE, 1, x, ALEAT_NO_VALUE);
    node.dims.h = h;
    node.dims.w = w;
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_upsample2(aleat_graph *graph, aleat_value x)
{
    const aleat_dims d = aleat_graph_dims(graph, x);
    return aleat_op_upsample_to(graph, x, 2 * d.h, 2 * d.w);
}

aleat_value aleat_op_unpatchify(aleat_graph *graph, aleat_value x, int64_t p)
{
    if (!usable(graph, x))
        return ALEAT_NO_VALUE;
    aleat_node node = node_of(graph, ALEAT_OP_UNPATCHIFY, 1, x, ALEAT_NO_VALUE);
    if (p < 1 || node.dims.c % (p * p))
        return aleat_graph_fail(graph, ALEAT_ERR_SHAPE, "unpatchify: %lld channels with patch %lld",
                                (long long)node.dims.c, (long long)p);
    node.attrs.factor = p;
    node.dims = (aleat_dims){node.dims.h * p, node.dims.w * p, node.dims.c / (p * p)};
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_attention(aleat_graph *graph, aleat_value q, aleat_value k, aleat_value v,
                               int64_t heads, double scale)
{
    return aleat_op_attention_masked(graph, q, k, v, heads, scale,
                                     (aleat_attention_mask){.bias = ALEAT_NO_PARAM});
}

aleat_value aleat_op_attention_masked(aleat_graph *graph, aleat_value q, aleat_value k,
                                      aleat_value v, int64_t heads, double scale,
                                      aleat_attention_mask mask)
{
    if (!usable(graph, q) || !usable(graph, k) || !usable(graph, v))
        return ALEAT_NO_VALUE;
    if (is_constant(graph, q) || is_constant(graph, k) || is_constant(graph, v))
        return constant_error(graph, ALEAT_OP_ATTENTION);
    aleat_node node = node_of(graph, ALEAT_OP_ATTENTION, 3, q, k);
    node.in[2] = v;
    const aleat_dims a = node.dims, b = aleat_graph_dims(graph, k), c = aleat_graph_dims(graph, v);
    if (heads < 1 || a.c % heads || a.c != b.c || c.c != b.c || b.h * b.w != c.h * c.w)
        return shape_error(graph, ALEAT_OP_ATTENTION, q, k);
    const int64_t distances = a.h * a.w + b.h * b.w - 1;
    if (mask.bias != ALEAT_NO_PARAM && aleat_param_count(graph, mask.bias) != heads * distances)
        return aleat_graph_fail(graph, ALEAT_ERR_SHAPE,
                                "attention: a bias of %lld numbers for %lld heads and %lld "
                                "distances of tokens",
                                (long long)aleat_param_count(graph, mask.bias), (long long)heads,
                                (long long)distances);
    if (mask.causal && a.h * a.w != b.h * b.w)
        return aleat_graph_fail(graph, ALEAT_ERR_SHAPE,
                                "attention: causal between %lld and %lld tokens",
                                (long long)(a.h * a.w), (long long)(b.h * b.w));
    node.param[0] = mask.bias;
    node.attrs.heads = heads;
    node.attrs.causal = mask.causal;
    node.attrs.a = scale != 0 ? scale : 1 / sqrt((double)(a.c / heads));
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_rope_angles(aleat_graph *graph, aleat_rope_spec spec)
{
    if (!graph || graph->error.status)
        return ALEAT_NO_VALUE;
    aleat_node node = node_of(graph, ALEAT_OP_ROPE_ANGLES, 0, ALEAT_NO_VALUE, ALEAT_NO_VALUE);
    int64_t head_dim = 0;
    bool even = true;
    for (int i = 0; i < 3; i++) {
        even = even && spec.axes[i] >= 0 && spec.axes[i] % 2 == 0;
        head_dim += spec.axes[i];
    }
    if (!even || head_dim < 2 || spec.first < 0 || spec.h < 0 || spec.w < 0)
        return aleat_graph_fail(graph, ALEAT_ERR_SHAPE,
                                "rotary angles: axes of %lld, %lld and %lld channels, expected "
                                "even numbers",
                                (long long)spec.axes[0], (long long)spec.axes[1],
                                (long long)spec.axes[2]);
    node.attrs.rope = spec;
    node.dims = (aleat_dims){spec.first + spec.h * spec.w, 1, head_dim};
    node.shared = true;
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_rope(aleat_graph *graph, aleat_value x, aleat_value angles)
{
    if (!usable(graph, x) || !usable(graph, angles))
        return ALEAT_NO_VALUE;
    const aleat_node node = node_of(graph, ALEAT_OP_ROPE, 2, x, angles);
    const aleat_dims a = aleat_graph_dims(graph, angles);
    if (a.h * a.w != node.dims.h * node.dims.w || a.c % 2 || node.dims.c % a.c)
        return shape_error(graph, ALEAT_OP_ROPE, x, angles);
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_embedding(aleat_graph *graph, aleat_value label, aleat_param table)
{
    if (!usable(graph, label) || table < 0)
        return ALEAT_NO_VALUE;
    aleat_node node = node_of(graph, ALEAT_OP_EMBEDDING, 1, label, ALEAT_NO_VALUE);
    const aleat_shape *shape = &graph->params[table].shape;
    if (node.dims.c != 1 || shape->n_dims != 2)
        return aleat_graph_fail(graph, ALEAT_ERR_SHAPE,
                                "embedding: of vectors of %lld, or from a table of %d axes",
                                (long long)node.dims.c, shape->n_dims);
    node.param[0] = table;
    node.dims.c = shape->dim[1];
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_sinusoid(aleat_graph *graph, aleat_value t, aleat_sinusoid_spec spec)
{
    if (!usable(graph, t))
        return ALEAT_NO_VALUE;
    aleat_node node = node_of(graph, ALEAT_OP_SINUSOID, 1, t, ALEAT_NO_VALUE);
    if (spec.dim < 2 || (double)(spec.dim / 2) - spec.freq_shift <= 0)
        return aleat_graph_fail(graph, ALEAT_ERR_SHAPE, "sinusoid: %lld channels",
                                (long long)spec.dim);
    node.attrs.sinusoid = spec;
    node.dims = (aleat_dims){1, 1, spec.dim};
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_fourier(aleat_graph *graph, aleat_value t, aleat_param weight)
{
    if (!usable(graph, t) || weight < 0)
        return ALEAT_NO_VALUE;
    aleat_node node = node_of(graph, ALEAT_OP_FOURIER, 1, t, ALEAT_NO_VALUE);
    node.param[0] = weight;
    node.dims = (aleat_dims){1, 1, 2 * aleat_param_count(graph, weight)};
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_divide(aleat_graph *graph, aleat_value x, aleat_value s)
{
    if (!usable(graph, x) || !usable(graph, s))
        return ALEAT_NO_VALUE;
    const aleat_dims dims = aleat_graph_dims(graph, s);
    if (dims.h != 1 || dims.w != 1 || dims.c != 1)
        return aleat_graph_fail(graph, ALEAT_ERR_SHAPE, "divide: by more than one number");
    const aleat_node node = node_of(graph, ALEAT_OP_DIVIDE, 2, x, s);
    return aleat_graph_add(graph, &node);
}

aleat_value aleat_op_dropout(aleat_graph *graph, aleat_value x, double p)
{
    enum { MOST = 4096 }; // that masks have names for
    if (graph && graph->n_dropouts >= MOST)
        return aleat_graph_fail(graph, ALEAT_ERR_UNSUPPORTED, "more than %d dropouts", MOST);
    aleat_node node = node_of(graph, ALEAT_OP_DROPOUT, 1, x, ALEAT_NO_VALUE);
    node.attrs.a = p;
    node.attrs.begin = graph ? graph->n_dropouts++ : 0;
    return aleat_graph_add(graph, &node);
}
