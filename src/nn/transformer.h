/*
 * Transformer blocks over tokens.
 */
#ifndef ALEAT_NN_TRANSFORMER_H
#define ALEAT_NN_TRANSFORMER_H

#include "nn/layers.h"

typedef struct aleat_vit_spec {
    int64_t heads;
    int64_t hidden; /**< channels inside the feed-forward part */
    double eps;     /**< of the layer norms */
} aleat_vit_spec;

/**
 * x = skip_linear([x | skip]), unless skip is ALEAT_NO_VALUE;
 * x = x + proj(attention(qkv(norm1 x))); x = x + fc2(gelu(fc1(norm2 x))).
 *
 * Names below `prefix`: skip_linear, norm1, attn.qkv (its bias may be missing), attn.proj, norm2,
 * mlp.fc1, mlp.fc2, as in timm's vision transformers. Dims of x.
 * Source: Bao et al. 2023 (U-ViT), section 3.1; the block is pre-norm (Xiong et al. 2020).
 */
aleat_value aleat_nn_vit_block(aleat_graph *graph, aleat_value x, aleat_value skip,
                               const char *prefix, const aleat_vit_spec *spec);

typedef struct aleat_transformer2d_spec {
    int64_t heads;
    int depth;       /**< blocks */
    int64_t groups;  /**< of the norm before them */
    double eps;      /**< of that norm; layer norms have 1e-5 */
    int weight_rank; /**< of proj_in and proj_out: 2 linear layers, 4 1x1 convolutions */
} aleat_transformer2d_spec;

/**
 * x + proj_out(blocks(proj_in(norm(x)))) over the pixels of an image, where a block is
 * x = x + attn1(norm1 x); x = x + attn2(norm2 x; context); x = x + ff.net.2(a gelu(b)),
 * [a | b] = ff.net.0.proj(norm3 x).
 *
 * Names below `prefix`: norm, proj_in, transformer_blocks.<n>.<the above>, proj_out; attentions
 * have to_q, to_k, to_v without bias and to_out.0. Dims of x. Keys and values of attn2 depend on
 * the context alone. Source: diffusers' Transformer2DModel and BasicTransformerBlock.
 */
aleat_value aleat_nn_transformer2d(aleat_graph *graph, aleat_value x, aleat_value context,
                                   const char *prefix, const aleat_transformer2d_spec *spec);

#endif
