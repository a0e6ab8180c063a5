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

#endif
