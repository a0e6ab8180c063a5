/*
 * The inner loops of the engine. One source, compiled once for each instruction set (see
 * meson.build); aleat_kernels_for() returns the table of the best one. All arrays are
 * channels-last: a "row" is the channel vector of one pixel or token; rows of an array lie `ld`
 * floats apart.
 *
 * Every kernel computes an output element by the same sequence of operations whatever the number of
 * rows, images or threads around it. That is why results do not depend on the batch, and the reason
 * why the matrix products are our own: a library chooses by the shape, batch included, and promises
 * nothing (docs/architecture.md has the measurement).
 */
#ifndef ALEAT_KERNELS_KERNELS_H
#define ALEAT_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cpu.h"

/** Most rows and vectors that one micro-tile of the matrix product holds. */
#define ALEAT_MICRO_ROWS    6
#define ALEAT_MICRO_VECTORS 4

/** Elementwise functions; the order is that of aleat_activation. */
typedef enum aleat_fn {
    ALEAT_FN_IDENTITY,
    ALEAT_FN_SILU,
    ALEAT_FN_GELU,
    ALEAT_FN_GELU_TANH,
    ALEAT_FN_QUICK_GELU,
    ALEAT_FN_RELU,
    ALEAT_FN_MISH,
    ALEAT_FN_COUNT
} aleat_fn;

/** Types of filters that are transformed when they are used. */
typedef enum aleat_taps {
    ALEAT_TAPS_F32,
    ALEAT_TAPS_BF16,
    ALEAT_TAPS_F16,
    ALEAT_TAPS_COUNT
} aleat_taps;

/**
 * What happens to a block of sums before it is stored:
 *   y = act(scale * (sum + bias + vec + residual)), absent terms are 0.
 */
typedef struct aleat_epilogue {
    const float *bias; /**< [c] or NULL */
    const float *vec;  /**< one vector [c] an image, `vec_ld` apart, or NULL */
    int64_t vec_ld;
    const float *residual; /**< an array like the output, or NULL; may be the output itself */
    int64_t residual_ld;
    float scale; /**< 1 for none */
    aleat_fn act;
} aleat_epilogue;

/** A block of finished sums: rows of one image, columns [col, col+n). */
typedef struct aleat_block {
    float *dst; /**< first element of the block in the output array */
    int64_t ld; /**< of the output array */
    int64_t rows, n;
    int64_t row, col; /**< where the block stands in the output: global row, first channel */
    int64_t image;    /**< which image the rows belong to */
} aleat_block;

typedef struct aleat_kernels {
    aleat_isa isa;
    int vlen;      /**< floats in a vector */
    int panel;     /**< columns of a full packed panel: ALEAT_MICRO_VECTORS * vlen */
    int panel_f64; /**< the same in doubles: half as many */

    /**
     * c[i][j] = sum over taps and k of rows[tap][i][k] * b[tap*k_len + k][j], i < mr, j < nv*vlen,
     * added to c if `add`: the new sum starts at 0 all the same.
     * rows: mr pointers a tap (taps * mr in all, ALEAT_MICRO_ROWS apart), each to k_len floats;
     * b: packed, `b_ld` floats a line (>= nv*vlen); c: `c_ld` floats a line. The sum runs in the
     * order of (tap, k) with one fused multiply-add a term. |error| <= taps*k_len * FLT_EPSILON *
     * sum |a_i b_i|.
     */
    void (*igemm)(int mr, int nv, int64_t taps, int64_t k_len, const float *const *rows,
                  const float *b, int64_t b_ld, bool add, float *c, int64_t c_ld);
    /** The same, never added, with bf16 factors: rows point to k_len bf16 (k_len even), b holds
     * pairs of lines interleaved ([k/2][nv*vlen][2]); sums are f32. NULL where the processor lacks
     * it. */
    void (*igemm_bf16)(int mr, int nv, int64_t taps, int64_t k_len, const uint16_t *const *rows,
                       const uint16_t *b, int64_t b_ld, float *c, int64_t c_ld);

    /**
     * c[i][j] = sum over k of a[k * a_ld + i] * b[j / vlen * b_step + k * b_ld + j % vlen], added
     * to c if `add`; i < mr <= ALEAT_MICRO_ROWS, j < nv*vlen, c: `c_ld` floats a line. The new sum
     * starts at 0 and runs in the order of k. |error| as of igemm.
     */
    void (*gemm_tn)(int mr, int nv, int64_t k_len, const float *a, int64_t a_ld, const float *b,
                    int64_t b_ld, int64_t b_step, bool add, float *c, int64_t c_ld);

    /**
     * c[i][j] += sum over k < k_len of rows[i][k] * b[k][j], i < mr <= ALEAT_MICRO_ROWS, j <
     * panel_f64, in double. b: k_len packed lines of panel_f64; c: `c_ld` doubles a line. The new
     * sum starts at 0 and runs in the order of k; it is then added to c. No alignment is needed.
     */
    void (*igemm_f64)(int mr, int64_t k_len, const double *const *rows, const double *b, double *c,
                      int64_t c_ld);

    /** Applies the epilogue to sums at src (rows x n, src_ld) and stores at block->dst. */
    void (*finish)(const aleat_block *block, const float *src, int64_t src_ld,
                   const aleat_epilogue *e);

    /**
     * Winograd F(4x4,3x3) (Lavin and Gray 2015, points 0, +-1, +-2, inf), input side: v[p] = B^T d
     * B for `c` channels of one 6x6 tile, p = 0..35, planes `plane` floats apart, vectors of
     * channels `step`. rows: 36 pointers to pixels (a zero row where the tile leaves the image).
     */
    void (*wino_input)(const float *const *rows, int64_t c, float *v, int64_t plane, int64_t step);
    /** Filters: u[p] = G g G^T for `c` filters, p = 0..35, planes `plane` floats apart, from the 9
     * taps g, `c` numbers of the type each, dense. In f32, whatever the type; |error| <= 8
     * FLT_EPSILON of the largest tap. */
    void (*wino_filter[ALEAT_TAPS_COUNT])(const void *g, int64_t c, float *u, int64_t plane);
    /** Output side: 16 rows of c sums (16 x out_ld) from 36 planes. */
    void (*wino_output)(const float *m, int64_t plane, int64_t c, float *out, int64_t out_ld);
    /** Adjoint of the output side: m[p] = A dy A^T for `c` channels of one 4x4 tile. rows: 16
     * pointers to pixels; `plane` and `step` as of wino_input. */
    void (*wino_output_adjoint)(const float *const *rows, int64_t c, float *m, int64_t plane,
                                int64_t step);
    /** Adjoint of the filters' transform: g[9][vlen] = G^T u G of a vector of 36 planes. */
    void (*wino_filter_adjoint)(const float *u, int64_t plane, float *g);

    /**
     * Per channel over `rows` rows: sums of (x - pivot) and (x - pivot)^2, pivot [c], added to the
     * doubles sum and sum_sq [c]. Partial sums of 32 rows are f32, the rest is double.
     */
    void (*moments)(const float *x, int64_t ld, int64_t rows, int64_t c, const float *pivot,
                    double *sum, double *sum_sq);
    /** y = act(x * a[c] + b[c]) for `rows` rows. y may be x. */
    void (*scale_rows)(const float *x, int64_t x_ld, float *y, int64_t y_ld, int64_t rows,
                       int64_t c, const float *a, const float *b, aleat_fn act);
    /** y = act(x), n elements; y may be x. */
    void (*map)(const float *x, float *y, int64_t n, aleat_fn act);
    /** y = act'(x) * dy, n elements; y may be dy. */
    void (*map_grad)(const float *x, const float *dy, float *y, int64_t n, aleat_fn act);
    /** In place: x = exp(x - max) for each of `rows` rows of n, sum into sums[row]; max given per
     * row. */
    void (*exp_rows)(float *x, int64_t ld, int64_t rows, int64_t n, const float *max, float *sums);
    /** y[c] = the mean, or the largest if `max`, of x[c] over a window of h lines of w pixels,
     * lines line_ld and pixels ld floats apart; NaN if one of them is. Sums run line by line.
     * |error| of the mean <= h w FLT_EPSILON times the mean of |x|. */
    void (*pool)(const float *x, int64_t line_ld, int64_t ld, int64_t h, int64_t w, int64_t c,
                 bool max, float *y);
    /** Largest element of each row. */
    void (*max_rows)(const float *x, int64_t ld, int64_t rows, int64_t n, float *max);
    /** Rows to mean 0 and variance 1 (+ eps), then * gamma + beta (each [c] or NULL); without
     * `centre` the mean stays and counts as 0 in the variance. y may be x. */
    void (*normalize_rows)(const float *x, int64_t x_ld, float *y, int64_t y_ld, int64_t rows,
                           int64_t c, const float *gamma, const float *beta, float eps,
                           bool centre);
    /**
     * Adjoint of scale_rows' function chain, one pass: with y = act(x a + b) and
     * g = act'(x a + b) dy, g a is written to u; sums of g and of g (x - mean) over rows are added
     * to sum_g, sum_gx [c] (double). mean [c].
     */
    void (*scale_rows_grad)(const float *x, int64_t x_ld, const float *dy, int64_t dy_ld, float *u,
                            int64_t u_ld, int64_t rows, int64_t c, const float *a, const float *b,
                            const float *mean, aleat_fn act, double *sum_g, double *sum_gx);
    /** Per channel over `rows` rows: sums of t and of t (x - mean), added to the doubles sum_t and
     * sum_tx [c]. mean [c]. */
    void (*cross_moments)(const float *x, int64_t x_ld, const float *t, int64_t t_ld, int64_t rows,
                          int64_t c, const float *mean, double *sum_t, double *sum_tx);
    /** Tangent of scale_rows whose coefficients move too: y = act'(x a + b) (t a + x p + q); all
     * of a, b, p, q are [c]. y may be t. */
    void (*scale_rows_jvp)(const float *x, int64_t x_ld, const float *t, int64_t t_ld, float *y,
                           int64_t y_ld, int64_t rows, int64_t c, const float *a, const float *b,
                           const float *p, const float *q, aleat_fn act);
    /**
     * The Jacobian of normalize_rows (symmetric but for gamma), applied to rows of t: with h the
     * normalised x and u = t pre, y = (u - mean(u) - h mean(u h)) / sqrt(var + eps) * post; pre and
     * post [c] or NULL: gamma is `pre` in reverse mode and `post` in forward mode. Without
     * `centre` there is no mean(u). y may be t.
     */
    void (*normalize_rows_jacobian)(const float *x, int64_t x_ld, const float *t, int64_t t_ld,
                                    float *y, int64_t y_ld, int64_t rows, int64_t c,
                                    const float *pre, const float *post, float eps, bool centre);
    /**
     * The Jacobian of a softmax (symmetric), in place. p: rows of weights not yet divided by their
     * `sums`; t: rows of tangents or cotangents, `ld` like p. p becomes P = p / sum, and t becomes
     * scale P (t - <P, t>).
     */
    void (*softmax_jacobian)(float *p, float *t, int64_t ld, int64_t rows, int64_t n,
                             const float *sums, float scale);
    /** Rounds n floats to bf16, to nearest even. */
    void (*to_bf16)(const float *x, uint16_t *y, int64_t n);
} aleat_kernels;

/** The table for an instruction set that this processor has (aleat_cpu_isa()). */
const aleat_kernels *aleat_kernels_for(aleat_isa isa);

extern const aleat_kernels aleat_kernels_c;
extern const aleat_kernels aleat_kernels_avx2;
extern const aleat_kernels aleat_kernels_avx512;
extern const aleat_kernels aleat_kernels_avx512_bf16;

#endif
