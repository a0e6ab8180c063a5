/** c = the sums, or their addition to it. */
INLINE void put_sums(const int mr, const int nv, vf acc[ALEAT_MICRO_ROWS][ALEAT_MICRO_VECTORS],
                     bool add, float *c, int64_t c_ld)
{
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) {
            float *at = c + i * c_ld + j * ALEAT_VLEN;
            store(at, add ? load(at) + acc[i][j] : acc[i][j]);
        }
}

/*
 * Matrix product with indirect rows. The micro-tile (6 rows x 4 vectors) keeps its 24 sums in
 * registers; a tap is one position of a convolution kernel, whose rows are the pixels it falls on.
 */
INLINE void micro_tile(const int mr, const int nv, int64_t taps, int64_t k_len,
                       const float *const *rows, const float *b, int64_t b_ld, bool add, float *c,
                       int64_t c_ld)
{
    vf acc[ALEAT_MICRO_ROWS][ALEAT_MICRO_VECTORS];
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++)
            acc[i][j] = (vf){0};
    for (int64_t tap = 0; tap < taps; tap++, rows += ALEAT_MICRO_ROWS) {
        const float *a[ALEAT_MICRO_ROWS];
#pragma GCC unroll 6
        for (int i = 0; i < mr; i++)
            a[i] = rows[i];
        for (int64_t k = 0; k < k_len; k++, b += b_ld) {
            vf line[ALEAT_MICRO_VECTORS];
#pragma GCC unroll 4
            for (int j = 0; j < nv; j++)
                line[j] = load(b + j * ALEAT_VLEN);
#pragma GCC unroll 6
            for (int i = 0; i < mr; i++) {
                const vf x = splat(a[i][k]);
#pragma GCC unroll 4
                for (int j = 0; j < nv; j++)
                    acc[i][j] += x * line[j];
            }
        }
    }
    put_sums(mr, nv, acc, add, c, c_ld);
}

#define TILE(mr, nv)                                                                               \
    static void tile_##mr##_##nv(int64_t taps, int64_t k_len, const float *const *rows,            \
                                 const float *b, int64_t b_ld, bool add, float *c, int64_t c_ld)   \
    {                                                                                              \
        micro_tile(mr, nv, taps, k_len, rows, b, b_ld, add, c, c_ld);                              \
    }
#define TILES(mr) TILE(mr, 1) TILE(mr, 2) TILE(mr, 3) TILE(mr, 4)
// clang-format off
TILES(1) TILES(2) TILES(3) TILES(4) TILES(5) TILES(6)
    // clang-format on

    static void igemm(int mr, int nv, int64_t taps, int64_t k_len, const float *const *rows,
                      const float *b, int64_t b_ld, bool add, float *c, int64_t c_ld)
{
    typedef void tile_fn(int64_t, int64_t, const float *const *, const float *, int64_t, bool,
                         float *, int64_t);
#define TILE_ROW(mr)                                                                               \
    {                                                                                              \
        tile_##mr##_1, tile_##mr##_2, tile_##mr##_3, tile_##mr##_4                                 \
    }
    static tile_fn *const tiles[ALEAT_MICRO_ROWS][ALEAT_MICRO_VECTORS] = {
        TILE_ROW(1), TILE_ROW(2), TILE_ROW(3), TILE_ROW(4), TILE_ROW(5), TILE_ROW(6)};
    tiles[mr - 1][nv - 1](taps, k_len, rows, b, b_ld, add, c, c_ld);
}

/* Both factors lie line by line, k outermost: products of channels summed over pixels or tiles. */
INLINE void micro_tile_tn(const int mr, const int nv, int64_t k_len, const float *a, int64_t a_ld,
                          const float *b, int64_t b_ld, int64_t b_step, bool add, float *c,
                          int64_t c_ld)
{
    vf acc[ALEAT_MICRO_ROWS][ALEAT_MICRO_VECTORS];
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++)
            acc[i][j] = (vf){0};
    for (int64_t k = 0; k < k_len; k++, a += a_ld, b += b_ld) {
        vf line[ALEAT_MICRO_VECTORS];
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++)
            line[j] = load(b + j * b_step);
#pragma GCC unroll 6
        for (int i = 0; i < mr; i++) {
            const vf x = splat(a[i]);
#pragma GCC unroll 4
            for (int j = 0; j < nv; j++)
                acc[i][j] += x * line[j];
        }
    }
    put_sums(mr, nv, acc, add, c, c_ld);
}

#define TILE_TN(mr, nv)                                                                            \
    static void tile_tn_##mr##_##nv(int64_t k_len, const float *a, int64_t a_ld, const float *b,   \
                                    int64_t b_ld, int64_t b_step, bool add, float *c,              \
                                    int64_t c_ld)                                                  \
    {                                                                                              \
        micro_tile_tn(mr, nv, k_len, a, a_ld, b, b_ld, b_step, add, c, c_ld);                      \
    }
#define TILES_TN(mr) TILE_TN(mr, 1) TILE_TN(mr, 2) TILE_TN(mr, 3) TILE_TN(mr, 4)
// clang-format off
TILES_TN(1) TILES_TN(2) TILES_TN(3) TILES_TN(4) TILES_TN(5) TILES_TN(6)
    // clang-format on

    static void gemm_tn(int mr, int nv, int64_t k_len, const float *a, int64_t a_ld, const float *b,
                        int64_t b_ld, int64_t b_step, bool add, float *c, int64_t c_ld)
{
    typedef void tile_fn(int64_t, const float *, int64_t, const float *, int64_t, int64_t, bool,
                         float *, int64_t);
#define TILE_ROW_TN(mr)                                                                            \
    {                                                                                              \
        tile_tn_##mr##_1, tile_tn_##mr##_2, tile_tn_##mr##_3, tile_tn_##mr##_4                     \
    }
    static tile_fn *const tiles[ALEAT_MICRO_ROWS][ALEAT_MICRO_VECTORS] = {
        TILE_ROW_TN(1), TILE_ROW_TN(2), TILE_ROW_TN(3),
        TILE_ROW_TN(4), TILE_ROW_TN(5), TILE_ROW_TN(6)};
    tiles[mr - 1][nv - 1](k_len, a, a_ld, b, b_ld, b_step, add, c, c_ld);
}
