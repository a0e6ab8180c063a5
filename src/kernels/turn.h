/* Transposing blocks of an array. */
#ifndef ALEAT_KERNELS_TURN_H
#define ALEAT_KERNELS_TURN_H

#include <stdint.h>

typedef float aleat_vec4 __attribute__((vector_size(16), aligned(4), may_alias));

/** A 4x4 block: four rows of four columns become four rows of what were columns. */
static inline void aleat_turn_4x4(const float *x, int64_t x_ld, float *dst, int64_t dst_ld)
{
    const aleat_vec4 a = *(const aleat_vec4 *)x, b = *(const aleat_vec4 *)(x + x_ld);
    const aleat_vec4 c = *(const aleat_vec4 *)(x + 2 * x_ld),
                     d = *(const aleat_vec4 *)(x + 3 * x_ld);
    const aleat_vec4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const aleat_vec4 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const aleat_vec4 ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const aleat_vec4 cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(aleat_vec4 *)dst = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    *(aleat_vec4 *)(dst + dst_ld) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    *(aleat_vec4 *)(dst + 2 * dst_ld) = __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5);
    *(aleat_vec4 *)(dst + 3 * dst_ld) = __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7);
}

/**
 * dst[c * dst_ld + r] = x[r * x_ld + c], r < rows, c < columns. Not in place; strides may be
 * negative. Fastest where both numbers are multiples of 4; a line of x should be as long as the
 * caches like it.
 */
static inline void aleat_turn(const float *x, int64_t x_ld, int64_t rows, int64_t columns,
                              float *dst, int64_t dst_ld)
{
    const int64_t r4 = rows / 4 * 4, c4 = columns / 4 * 4;
    for (int64_t r = 0; r < r4; r += 4)
        for (int64_t c = 0; c < c4; c += 4)
            aleat_turn_4x4(x + r * x_ld + c, x_ld, dst + c * dst_ld + r, dst_ld);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = r < r4 ? c4 : 0; c < columns; c++)
            dst[c * dst_ld + r] = x[r * x_ld + c];
}

#endif
