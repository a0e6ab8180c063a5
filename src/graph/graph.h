/*
 * A network as a graph of operations: what models build, what the planner turns into a program, and
 * what reverse and forward mode extend.
 *
 * Every value is an array [n, h, w, c] (channels last): images as they are, tokens with h*w =
 * number of tokens (so image <-> tokens costs nothing), vectors with h = w = 1. The batch n is not
 * part of the graph; it is chosen when a plan is made. Parameters are named weights of a
 * checkpoint.
 *
 * Errors are sticky: the first one is kept in the graph, every later builder call does nothing and
 * returns ALEAT_NO_VALUE, and aleat_graph_check() reports it. So model code reads as the formula.
 */
#ifndef ALEAT_GRAPH_GRAPH_H
#define ALEAT_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "io/weights.h"
#include "tensor/tensor.h"

typedef struct aleat_graph aleat_graph;
typedef int32_t aleat_value; /**< index of a value in its graph */
typedef int32_t aleat_param; /**< index of a parameter in its graph */
#define ALEAT_NO_VALUE (-1)
#define ALEAT_NO_PARAM (-1)

/** Sizes of one image of a value (the batch is left out). */
typedef struct aleat_dims {
    int64_t h, w, c;
} aleat_dims;

/** An empty graph; NULL if there is no memory. The weights are borrowed and must outlive it. With
 * weights NULL the graph is a blueprint: it takes every tensor as asked for, and cannot run. */
aleat_graph *aleat_graph_new(aleat_weights *weights);
void aleat_graph_free(aleat_graph *graph);

/** The first error of any builder call so far, into err; ALEAT_OK if there is none. */
ALEAT_MUST_USE aleat_status aleat_graph_check(const aleat_graph *graph, aleat_error *err);
/** For model code: records an error (the first one wins) and returns ALEAT_NO_VALUE. */
aleat_value aleat_graph_fail(aleat_graph *graph, aleat_status status, const char *fmt, ...)
    ALEAT_PRINTF(3, 4);

aleat_dims aleat_graph_dims(const aleat_graph *graph, aleat_value x);
/** The greatest probability of its dropout operations; 0 if there are none. */
double aleat_graph_dropout(const aleat_graph *graph);

/* ---- parameters ------------------------------------------------------------------------------ */

/**
 * The checkpoint's tensor `name` (printf-formatted by the caller), which must have this shape; else
 * an error that names the tensor, its shape and the expected one.
 */
aleat_param aleat_graph_param(aleat_graph *graph, const char *name, const aleat_shape *shape);
/** Whether the checkpoint has a tensor of this name (for optional ones). */
bool aleat_graph_has(const aleat_graph *graph, const char *name);
/** How many parameters there are; they are numbered from 0 in the order of building. */
int64_t aleat_graph_params(const aleat_graph *graph);
/** The name and shape of a parameter that is a tensor; NULL for stacks and reorderings. */
const char *aleat_graph_tensor(const aleat_graph *graph, aleat_param param, aleat_shape *shape);
/**
 * Several parameters below each other (along their first axis) as one, e.g. to_q, to_k, to_v as one
 * projection. All parts must agree in the other axes.
 */
aleat_param aleat_graph_param_stack(aleat_graph *graph, const aleat_param *parts, int count);
/**
 * A parameter whose rows (first axis) are taken in another order: row i of the result is row
 * order[i] of `param`. Brings per-head [q|k|v] layouts to [q|k|v] once at load. `order` is copied.
 * Leading axes of length 1 are dropped first. Of a tensor only these rows are read.
 */
aleat_param aleat_graph_param_rows(aleat_graph *graph, aleat_param param, const int32_t *order,
                                   int64_t count);
/** A parameter [a, b] as [b, a]: tables that are stored channels first. */
aleat_param aleat_graph_param_transpose(aleat_graph *graph, aleat_param param);

/** A batch norm as it is after training: y = (x - mean) / sqrt(var + eps) * gamma + beta, all [c].
 */
typedef struct aleat_batchnorm {
    aleat_param gamma, beta, mean, var;
    double eps;
} aleat_batchnorm;
/**
 * Weight and bias of a convolution or linear layer without bias and the batch norm behind it as one
 * layer: computed in double once at load, so that the norm costs nothing. No derivative.
 */
aleat_param aleat_graph_param_fold_weight(aleat_graph *graph, aleat_param weight,
                                          const aleat_batchnorm *norm);
aleat_param aleat_graph_param_fold_bias(aleat_graph *graph, const aleat_batchnorm *norm);

/* ---- inputs and outputs ---------------------------------------------------------------------- */

/** Something fed at every run: f32 [n,h,w,c]. `name` is kept by reference (static text). */
aleat_value aleat_graph_input(aleat_graph *graph, const char *name, aleat_dims dims);
/** The same for something that changes seldom, as a text does over the steps of a run. What depends
 * on such inputs alone is computed only when they change: aleat_plan_condition(). */
aleat_value aleat_graph_condition(aleat_graph *graph, const char *name, aleat_dims dims);
/** A parameter as a value that is the same for every image: c = last axis, the axes before it are
 * h. */
aleat_value aleat_graph_constant(aleat_graph *graph, aleat_param param);
/** Marks a value as an output called `name` (static text). */
void aleat_graph_output(aleat_graph *graph, const char *name, aleat_value x);

/* ---- operations ------------------------------------------------------------------------------ */

typedef enum aleat_activation {
    ALEAT_ACT_NONE,
    ALEAT_ACT_SILU,       /**< x / (1 + exp(-x)) */
    ALEAT_ACT_GELU,       /**< x Phi(x), exact (erf) */
    ALEAT_ACT_GELU_TANH,  /**< the tanh approximation */
    ALEAT_ACT_QUICK_GELU, /**< x / (1 + exp(-1.702 x)) */
    ALEAT_ACT_RELU,
    ALEAT_ACT_MISH, /**< x tanh(ln(1 + exp(x))) */
    ALEAT_ACT_COUNT
} aleat_activation;

typedef struct aleat_conv_spec {
    int64_t kernel_h, kernel_w, stride;
    int64_t pad_top, pad_left, pad_bottom, pad_right; /**< zeros around the input */
} aleat_conv_spec;

/** 3x3 (or k x k) "same" convolution: stride 1, pad k/2. */
aleat_conv_spec aleat_conv_same(int64_t kernel);

/** weight [c_out, c_in, kh, kw], bias [c_out] or ALEAT_NO_PARAM. */
aleat_value aleat_op_conv2d(aleat_graph *graph, aleat_value x, aleat_param weight, aleat_param bias,
                            aleat_conv_spec spec);
/** y = x W^T + b on the channel axis; weight [c_out, c_in] (or [c_out,c_in,1,1], [c_out,c_in,1]).
 */
aleat_value aleat_op_linear(aleat_graph *graph, aleat_value x, aleat_param weight,
                            aleat_param bias);
aleat_value aleat_op_activation(aleat_graph *graph, aleat_value x, aleat_activation act);
/** act(group_norm(x)); gamma, beta [c] or ALEAT_NO_PARAM; statistics per image and group. */
aleat_value aleat_op_groupnorm(aleat_graph *graph, aleat_value x, aleat_param gamma,
                               aleat_param beta, int64_t groups, double eps, aleat_activation act);
/** Over channels, per token; gamma, beta may be ALEAT_NO_PARAM. */
aleat_value aleat_op_layernorm(aleat_graph *graph, aleat_value x, aleat_param gamma,
                               aleat_param beta, double eps);
/** x / sqrt(mean(x^2) + eps) * gamma over channels, per token. Source: arXiv 1910.07467. */
aleat_value aleat_op_rmsnorm(aleat_graph *graph, aleat_value x, aleat_param gamma, double eps);
/** The same over the channels of each of `heads` heads; gamma [c / heads] serves all of them. */
aleat_value aleat_op_rmsnorm_heads(aleat_graph *graph, aleat_value x, aleat_param gamma,
                                   int64_t heads, double eps);
/** a + b; b may be smaller in h and w (1) or a constant: it is repeated (vectors over pixels,
 * tables over the batch). */
aleat_value aleat_op_add(aleat_graph *graph, aleat_value a, aleat_value b);
/** a b, element by element; b may be a vector, which is repeated over the pixels. */
aleat_value aleat_op_multiply(aleat_graph *graph, aleat_value a, aleat_value b);
/** a * x + b, numbers. */
aleat_value aleat_op_affine(aleat_graph *graph, aleat_value x, double a, double b);
/** act(x * (1 + scale) + shift); scale_shift is a vector [2c] = [scale | shift] of the image. */
aleat_value aleat_op_scale_shift(aleat_graph *graph, aleat_value x, aleat_value scale_shift,
                                 aleat_activation act);
/** Channels of a, then channels of b. */
aleat_value aleat_op_concat(aleat_graph *graph, aleat_value a, aleat_value b);
/** Tokens of a, then tokens of b (rows; the result has w = 1). */
aleat_value aleat_op_concat_tokens(aleat_graph *graph, aleat_value a, aleat_value b);
/** Tokens [begin, begin+count) of x, seen as an image h x w (h*w = count). */
aleat_value aleat_op_slice_tokens(aleat_graph *graph, aleat_value x, int64_t begin, int64_t h,
                                  int64_t w);
/** Channels [begin, begin+count). */
aleat_value aleat_op_slice(aleat_graph *graph, aleat_value x, int64_t begin, int64_t count);
/** Channels of x as channels [begin, begin + c of x) of `c`; the others are zero. */
aleat_value aleat_op_pad_channels(aleat_graph *graph, aleat_value x, int64_t begin, int64_t c);
/** Mean over the pixels of the image in a window that moves as a convolution's kernel does; the
 * padding does not count (torch: count_include_pad=False). A 1x1 window of stride s skips pixels.
 */
aleat_value aleat_op_avgpool(aleat_graph *graph, aleat_value x, aleat_conv_spec window);
/** The largest of the same pixels, for each channel. No derivative. */
aleat_value aleat_op_maxpool(aleat_graph *graph, aleat_value x, aleat_conv_spec window);
/** Mean over all pixels, a vector. */
aleat_value aleat_op_mean(aleat_graph *graph, aleat_value x);
/** 2x2 mean, stride 2 (odd sizes: the last row or column is dropped). */
aleat_value aleat_op_avgpool2(aleat_graph *graph, aleat_value x);
/** Nearest neighbour, each pixel to 2x2. */
aleat_value aleat_op_upsample2(aleat_graph *graph, aleat_value x);
/** Nearest neighbour to any size: source index = floor(i * in / out), as torch's interpolate. */
aleat_value aleat_op_upsample_to(aleat_graph *graph, aleat_value x, int64_t h, int64_t w);
/** Image h x w x (p*p*c) to (h*p) x (w*p) x c; channels ordered (p1 p2 c). */
aleat_value aleat_op_unpatchify(aleat_graph *graph, aleat_value x, int64_t p);
/**
 * softmax(scale q k^T) v per head; q, k, v have heads * head_dim channels, head by head; k, v may
 * have another number of tokens than q. scale 0 means 1/sqrt(head_dim).
 */
aleat_value aleat_op_attention(aleat_graph *graph, aleat_value q, aleat_value k, aleat_value v,
                               int64_t heads, double scale);
typedef struct aleat_attention_mask {
    bool causal; /**< query i sees the keys 0..i only; as many keys as queries */
    /** [heads, q_tokens + k_tokens - 1] or ALEAT_NO_PARAM: what is added to the score of query i
     * and key j, by their distance, at j - i + q_tokens - 1. A constant in every derivative. */
    aleat_param bias;
} aleat_attention_mask;
/** The same with a mask, or with a bias that depends on the distance of two tokens, neither of
 * which ever exists as a matrix. */
aleat_value aleat_op_attention_masked(aleat_graph *graph, aleat_value q, aleat_value k,
                                      aleat_value v, int64_t heads, double scale,
                                      aleat_attention_mask mask);
/** Positions of tokens on three axes: `first` tokens at (0, 0, 0), then an image of h x w tokens at
 * (0, row, column), as FLUX numbers text and image. */
typedef struct aleat_rope_spec {
    int64_t first, h, w;
    int64_t axes[3]; /**< channels of a head that turn by each axis, even; their sum is head_dim */
    double theta;    /**< pair i of an axis with d channels turns by position theta^(-2i/d) */
} aleat_rope_spec;
/** cos and sin of every angle, in turn: [first + h w tokens, head_dim], the same for all images. */
aleat_value aleat_op_rope_angles(aleat_graph *graph, aleat_rope_spec spec);
/**
 * Rotary embedding: neighbouring channels (a, b) of every head become (a cos - b sin, b cos + a
 * sin); angles as aleat_op_rope_angles() gives them. No derivative with respect to the angles.
 * Source: Su et al. 2021 (RoFormer), eq. 34; the pairs are neighbours, as in FLUX.
 */
aleat_value aleat_op_rope(aleat_graph *graph, aleat_value x, aleat_value angles);
/** Rows of table [rows, c], one for each number in `label` (c = 1), which the caller keeps in
 * 0..rows-1. The table stays in the file: only the rows asked for are read. */
aleat_value aleat_op_embedding(aleat_graph *graph, aleat_value label, aleat_param table);

typedef struct aleat_sinusoid_spec {
    int64_t dim;       /**< channels of the result; half of them sines */
    double max_period; /**< 10000 */
    double freq_shift; /**< freq_i = max_period^(-i / (dim/2 - freq_shift)) */
    bool cos_first;    /**< [cos | sin] (flip_sin_to_cos) instead of [sin | cos] */
    double scale;      /**< t is multiplied by this first; 1 */
} aleat_sinusoid_spec;
/** Sinusoidal embedding of a vector [1]. */
aleat_value aleat_op_sinusoid(aleat_graph *graph, aleat_value t, aleat_sinusoid_spec spec);
/** [sin | cos](2 pi ln(t) weight_i) of a vector [1], t > 0; weight [c], result 2c channels. No
 * derivative. Source: diffusers' GaussianFourierProjection. */
aleat_value aleat_op_fourier(aleat_graph *graph, aleat_value t, aleat_param weight);
/** x / s, s a vector [1] of the image that has no derivative. */
aleat_value aleat_op_divide(aleat_graph *graph, aleat_value x, aleat_value s);
/** Inverted dropout with probability p; the identity unless the run asks for it. `site` numbers the
 * mask. */
aleat_value aleat_op_dropout(aleat_graph *graph, aleat_value x, double p);

/* ---- differentiation (the same graph grows) -------------------------------------------------- */

/**
 * Reverse mode: adds the operations that compute d <cotangent, y> / d x and returns that value
 * (dims of x). `cotangent` has the dims of y. Source: every operation's vjp stands beside its
 * forward in ops.c.
 */
aleat_value aleat_graph_vjp(aleat_graph *graph, aleat_value y, aleat_value cotangent,
                            aleat_value x);
/**
 * Reverse mode to the parameters: grads[p], for p < aleat_graph_params(), becomes the value of
 * d <cotangent, y> / d (tensor p), one array for the whole batch in the tensor's C order, or
 * ALEAT_NO_VALUE for what is not a tensor or has no influence that can be differentiated.
 */
void aleat_graph_vjp_params(aleat_graph *graph, aleat_value y, aleat_value cotangent,
                            aleat_value *grads);
/** Forward mode: adds J(x) tangent, the derivative of y along `tangent` (dims of x). */
aleat_value aleat_graph_jvp(aleat_graph *graph, aleat_value y, aleat_value x, aleat_value tangent);

#endif
