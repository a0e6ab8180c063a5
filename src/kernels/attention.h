/* Scaled dot-product attention without the full score matrix. */
#ifndef ALEAT_KERNELS_ATTENTION_H
#define ALEAT_KERNELS_ATTENTION_H

#include <stddef.h>

#include "kernels/kernels.h"

/** Sizes of an attention; q, k, v, y are channels-last rows, head h at channels [h*head_dim, ...).
 */
typedef struct aleat_attention {
    int64_t images, heads, head_dim;
    int64_t q_tokens, k_tokens;
    int64_t q_ld, k_ld, v_ld, y_ld;
    float scale;
    bool causal;       /**< query i sees the keys 0..i only; as many keys as queries */
    const float *bias; /**< [heads, q_tokens + k_tokens - 1] or NULL: added to the score of query i
                          and key j at j - i + q_tokens - 1 */
} aleat_attention;

size_t aleat_attention_scratch(const aleat_kernels *k, const aleat_attention *a, int threads);
/**
 * y = softmax(scale q k^T + bias) v. Scores exist for a block of queries at a time; exact softmax
 * (largest score subtracted, one pass). Cost: 4 q_tokens k_tokens head_dim flop a head.
 */
void aleat_attention_run(const aleat_kernels *k, const aleat_attention *a, const float *q,
                         const float *key, const float *v, float *y, void *scratch, int threads);

/** dq, dk, dv of the same, given dy; scores are computed again. All gradient arrays have their own
 * ld. dk and dv may both be NULL: only the queries' is wanted. */
typedef struct aleat_attention_grad {
    const float *q, *k, *v, *dy;
    float *dq, *dk, *dv;
    int64_t dy_ld, dq_ld, dk_ld, dv_ld;
} aleat_attention_grad;

size_t aleat_attention_grad_scratch(const aleat_kernels *k, const aleat_attention *a, int threads);
void aleat_attention_grad_run(const aleat_kernels *k, const aleat_attention *a,
                              const aleat_attention_grad *g, void *scratch, int threads);

/**
 * The tangent of y along tq, tk, tv: with P the softmax and S = scale q k^T,
 *   tS = scale (tq k^T + q tk^T), tP = P * (tS - rowsum(P * tS)), ty = tP v + P tv,
 * for a block of queries at a time. tk and tv may both be NULL: keys and values stand still.
 */
typedef struct aleat_attention_jvp {
    const float *q, *k, *v, *tq, *tk, *tv;
    float *ty;
    int64_t tq_ld, tk_ld, tv_ld, ty_ld;
} aleat_attention_jvp;

size_t aleat_attention_jvp_scratch(const aleat_kernels *k, const aleat_attention *a, int threads);
void aleat_attention_jvp_run(const aleat_kernels *k, const aleat_attention *a,
                             const aleat_attention_jvp *g, void *scratch, int threads);

#endif
