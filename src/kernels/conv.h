/*
 * Convolutions and matrix products over channels-last arrays with packed weights: one driver for
 * k x k convolutions of any stride and padding, 1x1 convolutions and linear layers, by indirect
 * matrix product or by Winograd's F(4x4,3x3).
 */
#ifndef ALEAT_KERNELS_CONV_H
#define ALEAT_KERNELS_CONV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

typedef enum aleat_conv_algorithm {
    ALEAT_CONV_DIRECT,      /**< indirect matrix product, f32 */
    ALEAT_CONV_DIRECT_BF16, /**< the same with bf16 factors and f32 sums */
    ALEAT_CONV_WINOGRAD,    /**< F(4x4,3x3), f32 */
    /** The same, but the filters are stored as they are, and transformed each time: a quarter of
     * the memory, for a little time. Sums of channels are formed in blocks. */
    ALEAT_CONV_WINOGRAD_LATE,
    /** The same, but the filters are stored rounded: an eighth of the memory. What was of this type
     * before loses nothing, and then no bit of the result differs. */
    ALEAT_CONV_WINOGRAD_LATE_BF16,
    ALEAT_CONV_WINOGRAD_LATE_F16,
    ALEAT_CONV_ALGORITHM_COUNT
} aleat_conv_algorithm;

static inline bool aleat_conv_is_winograd(aleat_conv_algorithm algorithm)
{
    return algorithm >= ALEAT_CONV_WINOGRAD && algorithm <= ALEAT_CONV_WINOGRAD_LATE_F16;
}

static inline bool aleat_conv_is_late(aleat_conv_algorithm algorithm)
{
    return aleat_conv_is_winograd(algorithm) && algorithm != ALEAT_CONV_WINOGRAD;
}

/** Bytes of a stored weight. */
static inline size_t aleat_conv_weight_size(aleat_conv_algorithm algorithm)
{
    const bool halves = algorithm == ALEAT_CONV_DIRECT_BF16 ||
                        algorithm == ALEAT_CONV_WINOGRAD_LATE_BF16 ||
                        algorithm == ALEAT_CONV_WINOGRAD_LATE_F16;
    return halves ? sizeof(uint16_t) : sizeof(float);
}

/** Weights as a file has them, seen through strides (in floats; negative ones flip the kernel):
 *  element (o, i, y, x) = data[o*stride_o + i*stride_i + y*stride_y + x*stride_x]. */
typedef struct aleat_filter {
    const float *data;
    int64_t c_out, c_in, kernel_h, kernel_w;
    int64_t stride_o, stride_i, stride_y, stride_x;
    int64_t tap_step; /**< 1, or s for the adjoint of stride s: a pixel of the result meets only
                           taps that are equal modulo s, so these are packed together */
} aleat_filter;

/** [c_out, c_in, kh, kw] in C order. */
aleat_filter aleat_filter_of(const float *data, int64_t c_out, int64_t c_in, int64_t kh,
                             int64_t kw);
/** The filter of the data gradient at stride 1: channels exchanged, kernel turned by 180 degrees.
 */
aleat_filter aleat_filter_adjoint(const aleat_filter *filter);

/** Weights in the order in which the kernels read them. */
typedef struct aleat_packed {
    aleat_conv_algorithm algorithm;
    int64_t c_out, c_in, kernel_h, kernel_w;
    int64_t tap_step;
    int64_t lines; /**< lines of a panel: taps * (padded) c_in, or 36 * c_in of Winograd */
    void *data;    /**< owned: aleat_packed_free() */
    size_t bytes;
} aleat_packed;

/** All of *out but its data, which stays NULL. */
void aleat_packed_describe(aleat_packed *out, const aleat_kernels *k,
                           aleat_conv_algorithm algorithm, const aleat_filter *filter);
/** Packs; false if there is no memory. Work is split over `threads`. */
bool aleat_packed_make(aleat_packed *out, const aleat_kernels *k, aleat_conv_algorithm algorithm,
                       const aleat_filter *filter, int threads);
/** Packs other values of the same sizes into the same memory. */
void aleat_packed_fill(aleat_packed *packed, const aleat_kernels *k, const aleat_filter *filter,
                       int threads);
void aleat_packed_free(aleat_packed *packed);

/** Sizes of a convolution. Rows of x are x_ld floats apart, images are dense. */
typedef struct aleat_conv_geometry {
    int64_t images, in_h, in_w, out_h, out_w; /**< in_h, in_w: of the stored array */
    int64_t stride, pad_top, pad_left;
    int64_t upsample; /**< 1, or 2: x is seen enlarged by nearest neighbour */
    int64_t dilate; /**< 1, or s: x is seen with s-1 zeros between its pixels (adjoint of a stride);
                       then the weights' tap_step must be s (direct algorithms only) */
    int64_t x_ld, y_ld;
} aleat_conv_geometry;

/** Bytes of scratch that a run with `threads` needs (aligned to ALEAT_ALIGN). */
size_t aleat_conv_scratch(const aleat_kernels *k, const aleat_packed *w,
                          const aleat_conv_geometry *g, int threads);

/**
 * y = epilogue(x * w). x [images,in_h,in_w,c_in], y [images,out_h,out_w,c_out]; y may be the
 * epilogue's residual but not x. Cost: 2 c_in c_out kh kw flop an output pixel (a quarter of it by
 * Winograd). Results do not depend on `threads` nor on the other images.
 */
void aleat_conv_run(const aleat_kernels *k, const aleat_packed *w, const aleat_conv_geometry *g,
                    const float *x, float *y, const aleat_epilogue *e, void *scratch, int threads);

#endif
