/*
 * Vectors for the kernels, in the compiler's own vector types: the same source for every
 * instruction set, ALEAT_VLEN floats wide. Only files of this folder include it.
 */
#ifndef ALEAT_KERNELS_SIMD_H
#define ALEAT_KERNELS_SIMD_H

#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(ALEAT_VLEN * 4)));
typedef float vf_any __attribute__((vector_size(ALEAT_VLEN * 4), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(ALEAT_VLEN * 4)));

INLINE vf load(const float *p)
{
    return *(const vf_any *)p;
}

INLINE void store(float *p, vf x)
{
    *(vf_any *)p = x;
}

INLINE vf splat(float x)
{
    return x - (vf){0};
}

/** The first n < ALEAT_VLEN floats at p; zeros behind. */
INLINE vf load_part(const float *p, int64_t n)
{
    float tmp[ALEAT_VLEN] = {0};
    memcpy(tmp, p, (size_t)n * sizeof *p);
    return load(tmp);
}

INLINE void store_part(float *p, vf x, int64_t n)
{
    float tmp[ALEAT_VLEN];
    store(tmp, x);
    memcpy(p, tmp, (size_t)n * sizeof *p);
}

/** mask ? a : b, lane by lane; a mask lane is all ones or zero. */
INLINE vf choose(vi mask, vf a, vf b)
{
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

INLINE vf vmin(vf a, vf b)
{
    return choose(a < b, a, b);
}

INLINE vf vmax(vf a, vf b)
{
    return choose(a > b, a, b);
}

/**
 * exp(x), relative error < 1.5e-7 for |x| <= 87, clamped beyond: x = n ln2 + r, then a polynomial
 * in r, n put into the exponent. The polynomial is 1 + r + r^2 p(r) with the p of degree 4 whose
 * largest relative error over |r| <= ln2/2 is least (4e-9; Taylor's of the same degree has 1.7e-7).
 */
INLINE vf vexp(vf input)
{
    const vf x = vmin(vmax(input, splat(-87.0f)), splat(87.0f));
    const vf magic = splat(12582912.0f); // 1.5 * 2^23: adding it rounds to the nearest integer
    const vf shifted = x * splat(1.44269504f) + magic;
    const vf n = shifted - magic;
    vf r = x - n * splat(0.693359375f); // ln2 in two parts: the first times n is exact
    r = r - n * splat(-2.12194440e-4f);
    vf p = splat(0.00138145394f);
    p = p * r + splat(0.00836874545f);
    p = p * r + splat(0.041668389f);
    p = p * r + splat(0.166665211f);
    p = p * r + splat(0.49999994f);
    p = p * r + splat(1.0f);
    p = p * r + splat(1.0f);
    const vf y =
        (vf)((vi)p + ((vi)shifted << 23));   // the integer n sits in the low bits of `shifted`
    return choose(input == input, y, input); // NaN stays NaN; NOLINT(misc-redundant-expression)
}

#endif
