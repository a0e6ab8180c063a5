/* bf16 factors with f32 sums (VDPBF16PS): pairs of neighbouring k are one 32-bit lane. */

static void to_bf16(const float *x, uint16_t *y, int64_t n)
{
    const uint32_t *bits = (const uint32_t *)(const void *)x;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t u = bits[i];
        const uint32_t rounded = (u + 0x7fffu + (u >> 16 & 1u)) >> 16;
        y[i] = (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? u >> 16 | 0x40u : rounded);
    }
}

#if KERNEL_HAS_BF16
#include <immintrin.h>

INLINE void micro_tile_bf16(const int mr, const int nv, int64_t taps, int64_t pairs,
                            const uint16_t *const *rows, const uint16_t *b, int64_t b_ld, float *c,
                            int64_t c_ld)
{
    vf acc[ALEAT_MICRO_ROWS][ALEAT_MICRO_VECTORS];
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++)
            acc[i][j] = (vf){0};
    for (int64_t tap = 0; tap < taps; tap++, rows += ALEAT_MICRO_ROWS) {
        const uint16_t *a[ALEAT_MICRO_ROWS];
#pragma GCC unroll 6
        for (int i = 0; i < mr; i++)
            a[i] = rows[i];
        for (int64_t k = 0; k < pairs; k++, b += b_ld) {
            __m512i line[ALEAT_MICRO_VECTORS];
#pragma GCC unroll 4
            for (int j = 0; j < nv; j++)
                line[j] = _mm512_loadu_si512(b + j * 2 * ALEAT_VLEN);
#pragma GCC unroll 6
            for (int i = 0; i < mr; i++) {
                int32_t pair;
                memcpy(&pair, a[i] + 2 * k, sizeof pair);
                const __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
                for (int j = 0; j < nv; j++)
                    acc[i][j] = (vf)_mm512_dpbf16_ps((__m512)acc[i][j], x, (__m512bh)line[j]);
            }
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++)
            store(c + i * c_ld + j * ALEAT_VLEN, acc[i][j]);
}

#define TILE_BF16(mr, nv)                                                                          \
    static void tile_bf16_##mr##_##nv(int64_t taps, int64_t pairs, const uint16_t *const *rows,    \
                                      const uint16_t *b, int64_t b_ld, float *c, int64_t c_ld)     \
    {                                                                                              \
        micro_tile_bf16(mr, nv, taps, pairs, rows, b, b_ld, c, c_ld);                              \
    }
#define TILES_BF16(mr) TILE_BF16(mr, 1) TILE_BF16(mr, 2) TILE_BF16(mr, 3) TILE_BF16(mr, 4)
// clang-format off
TILES_BF16(1) TILES_BF16(2) TILES_BF16(3) TILES_BF16(4) TILES_BF16(5) TILES_BF16(6)
    // clang-format on

    static void igemm_bf16(int mr, int nv, int64_t taps, int64_t k_len, const uint16_t *const *rows,
                           const uint16_t *b, int64_t b_ld, float *c, int64_t c_ld)
{
    typedef void tile_fn(int64_t, int64_t, const uint16_t *const *, const uint16_t *, int64_t,
                         float *, int64_t);
#define TILE_ROW_BF16(mr)                                                                          \
    {                                                                                              \
        tile_bf16_##mr##_1, tile_bf16_##mr##_2, tile_bf16_##mr##_3, tile_bf16_##mr##_4             \
    }
    static tile_fn *const tiles[ALEAT_MICRO_ROWS][ALEAT_MICRO_VECTORS] = {
        TILE_ROW_BF16(1), TILE_ROW_BF16(2), TILE_ROW_BF16(3),
        TILE_ROW_BF16(4), TILE_ROW_BF16(5), TILE_ROW_BF16(6)};
    tiles[mr - 1][nv - 1](taps, k_len / 2, rows, b, b_ld, c, c_ld);
}
#define IGEMM_BF16 igemm_bf16
#else
#define IGEMM_BF16 NULL
#endif
