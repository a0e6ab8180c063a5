/*
 * Vectors for the kernels, in the compiler's own vector types: the same source for every
 * instruction set, ALEAT_VLEN floats wide. Only files of this folder include it.
 */
#ifndef ALEAT_KERNELS_SIMD_H
#define ALEAT_KERNELS_SIMD_H

#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(ALEAT_VLEN * 4)));
typedef float vf_any __attribute__((vector_size(ALEAT_VLEN * 4), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(ALEAT_VLEN * 4)));
typedef uint16_t vh_any __attribute__((vector_size(ALEAT_VLEN * 2), aligned(2), may_alias));

INLINE vf load(const float *p)
{
    return *(const vf_any *)p;
}

INLINE void store(float *p, vf x)
{
    *(vf_any *)p = x;
}

/** The bf16 at p, which f32 holds exactly. */
INLINE vf load_bf16(const uint16_t *p)
{
    return (vf)(__builtin_convertvector(*(const vh_any *)p, vi) << 16);
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

/* load_f16: the f16 at p, which f32 holds exactly. */
#if defined(__AVX512F__)
INLINE vf load_f16(const uint16_t *p)
{
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}
#else
INLINE vf load_f16(const uint16_t *p)
{
    const vi bits = __builtin_convertvector(*(const vh_any *)p, vi);
    // The exponent's bias is 15, not 127; the product also makes subnormal numbers normal.
    const vf finite = (vf)((bits & 0x7fff) << 13) * splat(0x1p112f);
    const vf huge = (vf)((vi)finite | 0x7f800000); // infinity, NaN
    return (vf)((vi)choose((bits & 0x7c00) == 0x7c00, huge, finite) | (bits & 0x8000) << 16);
}
#endif

/*
 * vmin: a < b ? a : b, vmax: a > b ? a : b; b if one is NaN. One instruction where there is one:
 * the compiler makes three of the comparison.
 */
#if defined(__AVX512F__)
INLINE vf vmin(vf a, vf b)
{
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}

INLINE vf vmax(vf a, vf b)
{
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
}

/** y, or x where x is NaN. */
INLINE vf keep_nan(vf x, vf y)
{
    const __mmask16 number = _mm512_cmp_ps_mask((__m512)x, (__m512)x, _CMP_ORD_Q);
    return (vf)_mm512_mask_blend_ps(number, (__m512)x, (__m512)y);
}
#else
INLINE vf vmin(vf a, vf b)
{
    return choose(a < b, a, b);
}

INLINE vf vmax(vf a, vf b)
{
    return choose(a > b, a, b);
}

INLINE vf keep_nan(vf x, vf y)
{
    return choose(x == x, y, x); // NOLINT(misc-redundant-expression)
}
#endif

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
    // The integer n sits in the low bits of `shifted`.
    return keep_nan(input, (vf)((vi)p + ((vi)shifted << 23)));
}

#endif
