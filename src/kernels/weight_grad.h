/* Gradients of parameters: sums over pixels and images, in an order that threads do not change. */
#ifndef ALEAT_KERNELS_WEIGHT_GRAD_H
#define ALEAT_KERNELS_WEIGHT_GRAD_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/kernels.h"

/** Sizes of a convolution y = x * w; rows of x and dy are x_ld and dy_ld floats apart, images
 * dense. */
typedef struct aleat_weight_grad {
    int64_t images, in_h, in_w, out_h, out_w, c_in, c_out;
    int64_t kernel_h, kernel_w, stride, pad_top, pad_left;
    int64_t x_ld, dy_ld;
    bool bf16; /**< round the factors of the products to bf16, if the processor multiplies those and
                    out_w (of linear layers: the number of rows) is even; sums stay f32 */
} aleat_weight_grad;

size_t aleat_weight_grad_scratch(const aleat_kernels *k, const aleat_weight_grad *g, int threads);
/**
 * dw[o][i][ky][kx] = sum over images and output pixels of dy[o] x[i] at the tap. A matrix product
 * x^T dy a tap: x is turned channels-first for a group of images at a time; sums run over the
 * pixels of a group, then over the groups. 1x1 kernels of stride 1 with whole vectors of input
 * channels, in f32, multiply rows as they lie, in chunks of 256 pixels. 3x3 kernels of stride 1
 * with whole vectors of channels go by Winograd, in f32 whatever `bf16` says
 * (kernels/winograd_grad.h). Cost: 2 c_in c_out kh kw flop an output pixel, a quarter of it by
 * Winograd. db [c_out] = sum of dy, or NULL.
 */
void aleat_weight_grad_run(const aleat_kernels *k, const aleat_weight_grad *g, const float *x,
                           const float *dy, float *dw, float *db, void *scratch, int threads);

size_t aleat_sum_rows_scratch(int64_t rows, int64_t c);
/** out[c] = sum over `rows` rows of x. In chunks of fixed size, the sums of chunks in double. */
void aleat_sum_rows(const aleat_kernels *k, const float *x, int64_t ld, int64_t rows, int64_t c,
                    float *out, void *scratch, int threads);

#endif
