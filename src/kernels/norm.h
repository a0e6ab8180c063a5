/* Normalisations over channels-last arrays. */
#ifndef ALEAT_KERNELS_NORM_H
#define ALEAT_KERNELS_NORM_H

#include <stddef.h>

#include "kernels/kernels.h"

/**
 * y = act(z * a + b), z = (x - mean) / sqrt(var + eps); mean and var per image and group of
 * channels, in double over fixed chunks of rows; a = gamma (1 + scale), b = beta (1 + scale) +
 * shift.
 */
typedef struct aleat_groupnorm {
    int64_t images, rows, c, groups; /**< rows: pixels of one image */
    int64_t x_ld, y_ld;
    double eps;
    const float *gamma, *beta; /**< [c] or NULL (1 and 0) */
    const float *scale_shift;  /**< [images, 2c] rows of `ss_ld`: [scale | shift], or NULL */
    int64_t ss_ld;
    aleat_fn act;
} aleat_groupnorm;

size_t aleat_groupnorm_scratch(const aleat_groupnorm *g);
/** Numbers that the gradient takes from the forward half: a, b, mean, 1 / sqrt(var + eps). */
enum { ALEAT_GROUPNORM_MOMENTS = 4 };
/** y may be x. Results do not depend on `threads` nor on the other images. moments: [images,
 * ALEAT_GROUPNORM_MOMENTS, c] to fill for the gradient, or NULL. */
void aleat_groupnorm_run(const aleat_kernels *k, const aleat_groupnorm *g, const float *x, float *y,
                         float *moments, void *scratch, int threads);
/**
 * dx of the same, given dy (both dense rows of c, like x); scale_shift is a constant here. Needs x,
 * not y; moments: of the forward run, or NULL: made anew, to the same bits. Source: with u =
 * act'(za+b) dy a and h = z: dx = (u - mean(u) - h mean(u h)) / sqrt(var + eps). dparam [images,
 * 2c], or NULL: [dgamma | dbeta] of each image, without a scale_shift.
 */
void aleat_groupnorm_grad(const aleat_kernels *k, const aleat_groupnorm *g, const float *x,
                          const float *moments, const float *dy, int64_t dy_ld, float *dx,
                          float *dparam, void *scratch, int threads);

/**
 * The tangent of y along t (rows of c); scale_shift is a constant here. Source: the derivative of
 * the formula above, y' = act'(x a + b) a (t - mean(t) - (x - m) inv^2 mean(t (x - m))), inv = 1 /
 * sqrt(var + eps).
 */
void aleat_groupnorm_jvp(const aleat_kernels *k, const aleat_groupnorm *g, const float *x,
                         const float *t, int64_t t_ld, float *y, void *scratch, int threads);

/** y = (x - mean) / sqrt(var + eps) * gamma + beta over the c channels of each row; without
 * `centre` y = x / sqrt(mean(x^2) + eps) * gamma + beta (RMS norm, arXiv 1910.07467). */
void aleat_layernorm_run(const aleat_kernels *k, int64_t rows, int64_t c, const float *x,
                         int64_t x_ld, float *y, int64_t y_ld, const float *gamma,
                         const float *beta, float eps, bool centre, int threads);

/** Rows of a layer norm's Jacobian: y from x and t. */
typedef struct aleat_layernorm_rows {
    int64_t rows, c;
    const float *x, *t;
    float *y;
    int64_t x_ld, t_ld, y_ld;
    float eps;
    bool centre;
} aleat_layernorm_rows;

/**
 * The Jacobian of the same, symmetric but for gamma, applied to rows of t: gamma multiplies before
 * it in reverse mode (`pre`; `post` is NULL) and behind it in forward mode (`post`).
 */
void aleat_layernorm_jacobian(const aleat_kernels *k, const aleat_layernorm_rows *r,
                              const float *pre, const float *post, int threads);

#endif
