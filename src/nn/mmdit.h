/*
 * Transformer blocks of two streams of tokens, an image's and a text's, that attend to each other
 * (MM-DiT: Esser et al. 2024, "Scaling rectified flow transformers for high-resolution image
 * synthesis", figure 2), modulated by a vector of the time and the text. Stable Diffusion 3 and
 * FLUX compute them alike under other names.
 */
#ifndef ALEAT_NN_MMDIT_H
#define ALEAT_NN_MMDIT_H

#include "nn/layers.h"

/** Names of an attention below a stream's block; with norm_q and norm_k come their tensors. */
typedef struct aleat_attention_parts {
    const char *qkv[3];          /**< qkv[1] NULL: qkv[0] is one layer to [q | k | v] */
    const char *norm_q, *norm_k; /**< whole tensor names */
    const char *out;
} aleat_attention_parts;

/** Names of one stream below a block's prefix. */
typedef struct aleat_stream_names {
    const char *modulation;
    aleat_attention_parts attention, second; /**< `second`: of the image to itself, or not used */
    const char *fc1, *fc2;
} aleat_stream_names;

typedef struct aleat_mmdit_spec {
    const aleat_stream_names *image, *text;
    int64_t heads;
    int64_t hidden;     /**< channels inside the feed-forward parts */
    bool qk_norm;       /**< RMS norm of every head's queries and keys */
    bool text_first;    /**< order of the streams in the joint attention */
    bool scale_first;   /**< final modulations are stored [scale | shift], not [shift | scale] */
    bool second;        /**< the image also attends to itself alone (Stable Diffusion 3.5) */
    bool last;          /**< the text serves as keys and values only and ends here */
    aleat_value angles; /**< of a rotary embedding of all tokens, or ALEAT_NO_VALUE */
    double eps;         /**< of all norms */
} aleat_mmdit_spec;

/**
 * Both streams through one block; each is
 *   [shift, scale, gate]s = modulation(vector); h = norm(x) (1 + scale) + shift;
 *   x = x + gate out(joint attention of both h); x = x + gate' fc2(gelu fc1(norm(x) ...)).
 * vector: after the activation that precedes all modulations. *text becomes ALEAT_NO_VALUE in the
 * last block.
 */
void aleat_nn_mmdit_block(aleat_graph *graph, aleat_value *image, aleat_value *text,
                          aleat_value vector, const char *prefix, const aleat_mmdit_spec *spec);

/** norm(x) (1 + scale) + shift, [scale | shift] = modulation(vector), stored in either order. */
aleat_value aleat_nn_modulated_norm(aleat_graph *graph, aleat_value x, aleat_value vector,
                                    const char *modulation, bool scale_first, double eps);

/**
 * A modulation's layer to `chunks` groups [shift, scale, gate] of c channels each, as the groups
 * [scale | shift | gate] that aleat_op_scale_shift() takes.
 */
aleat_value aleat_nn_modulation(aleat_graph *graph, aleat_value vector, const char *name, int64_t c,
                                int groups);

/** q, k, v of one stream. */
typedef struct aleat_qkv {
    aleat_value q, k, v;
} aleat_qkv;
/** q and k normalised by head with the tensors of these names. */
aleat_qkv aleat_nn_norm_heads(aleat_graph *graph, aleat_qkv qkv, const char *norm_q,
                              const char *norm_k, int64_t heads, double eps);
/** Attention with q and k turned by `angles`, if there are any. */
aleat_value aleat_nn_rotary_attention(aleat_graph *graph, aleat_qkv qkv, aleat_value angles,
                                      int64_t heads);

/** second(silu(first(x))) of sinusoids of a number: the embedding of times and guidance scales. */
aleat_value aleat_nn_embed_number(aleat_graph *graph, aleat_value number, const char *first,
                                  const char *second, int64_t c, double scale);

#endif
