/*
 * Blocks of convolutional U-Nets and autoencoders. The published families compute the same
 * functions under different tensor names; the names are tables, the functions exist once.
 */
#ifndef ALEAT_NN_BLOCKS_H
#define ALEAT_NN_BLOCKS_H

#include "nn/layers.h"

/* ---- residual block -------------------------------------------------------------------------- */

/** Names below a residual block's prefix. */
typedef struct aleat_resnet_names {
    const char *norm1, *conv1, *time, *norm2, *conv2, *shortcut;
} aleat_resnet_names;

extern const aleat_resnet_names aleat_resnet_diffusers; /**< diffusers' ResnetBlock2D */
extern const aleat_resnet_names aleat_resnet_openai;    /**< guided-diffusion's ResBlock */
extern const aleat_resnet_names aleat_resnet_compvis;   /**< latent-diffusion's autoencoder */

typedef enum aleat_resample {
    ALEAT_RESAMPLE_NONE,
    ALEAT_RESAMPLE_DOWN,
    ALEAT_RESAMPLE_UP
} aleat_resample;

typedef struct aleat_resnet_spec {
    const aleat_resnet_names *names;
    int64_t groups; /**< of both norms */
    double eps;
    aleat_activation act;
    bool scale_shift;        /**< time modulates after norm2 instead of being added before it */
    double dropout;          /**< probability before conv2; 0: none */
    double output_scale;     /**< the sum is divided by it; 1 in most models */
    aleat_resample resample; /**< 2x2 mean or nearest x2 between norm1 and conv1, and on the skip */
} aleat_resnet_spec;

/**
 * h = conv1(resample(act(norm1 x)));
 * added:       h = act(norm2(h + proj(time)));
 * scale_shift: h = act(norm2(h) (1 + scale) + shift), [scale | shift] = proj(time);
 * result [., ., c_out] = (skip(resample(x)) + conv2(dropout(h))) / output_scale; skip is a 1x1
 * convolution if the channels change, else nothing.
 *
 * `time` is the vector after the activation that precedes every projection (it is the same for all
 * blocks), or ALEAT_NO_VALUE for blocks without time.
 */
aleat_value aleat_nn_resnet(aleat_graph *graph, aleat_value x, aleat_value time, const char *prefix,
                            int64_t c_out, const aleat_resnet_spec *spec);

/* ---- self-attention over pixels -------------------------------------------------------------- */

/** Names below an attention block's prefix. */
typedef struct aleat_attention_names {
    const char *norm;
    const char *q, *k, *v; /**< k and v NULL: q names one projection [3 c] to q, k and v */
    const char *out;
    int weight_rank; /**< 2 [o,i], 3 [o,i,1], 4 [o,i,1,1] */
} aleat_attention_names;

extern const aleat_attention_names aleat_attention_diffusers;     /**< since 0.17: to_q ... */
extern const aleat_attention_names aleat_attention_diffusers_old; /**< before: query ... */
extern const aleat_attention_names aleat_attention_openai;
extern const aleat_attention_names aleat_attention_compvis;

/** Which of the two diffusers tables the checkpoint uses for the block `prefix`. */
const aleat_attention_names *aleat_nn_attention_names(const aleat_graph *graph, const char *prefix);

typedef struct aleat_attention_spec {
    const aleat_attention_names *names;
    int64_t heads, head_dim;
    int64_t groups; /**< of the norm before the projections; 0: no norm */
    double eps;
    bool per_head;       /**< rows of the joint projection are [q|k|v] of head 0, of head 1, ... */
    double output_scale; /**< the sum is divided by it; 1 in most models */
} aleat_attention_spec;

/** (x + out(attention(q, k, v of norm(x)))) / output_scale; dims of x. */
aleat_value aleat_nn_attention(aleat_graph *graph, aleat_value x, const char *prefix,
                               const aleat_attention_spec *spec);

/* ---- resampling ------------------------------------------------------------------------------ */

/**
 * 3x3 convolution of stride 2. padding 0 means one row and column of zeros below and to the right
 * (the TensorFlow "same" of the first DDPM models), 1 means one on every side.
 */
aleat_value aleat_nn_downsample(aleat_graph *graph, aleat_value x, const char *prefix,
                                int64_t c_out, int64_t padding);
/** Nearest neighbour x2, then a 3x3 convolution. */
aleat_value aleat_nn_upsample(aleat_graph *graph, aleat_value x, const char *prefix, int64_t c_out);

#endif
