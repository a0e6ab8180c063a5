/*
 * The matrix product in double, for statistics of features: the micro-tile of igemm.inc.h with half
 * as many numbers in a vector. No taps: rows are plain rows.
 */
typedef double vd __attribute__((vector_size(ALEAT_VLEN * 4)));
typedef double vd_any __attribute__((vector_size(ALEAT_VLEN * 4), aligned(8), may_alias));

#define VLEN_F64 (ALEAT_VLEN / 2)

INLINE void micro_tile_f64(const int mr, int64_t k_len, const double *const *rows, const double *b,
                           double *c, int64_t c_ld)
{
    vd acc[ALEAT_MICRO_ROWS][MICRO_VECTORS];
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < MICRO_VECTORS; j++)
            acc[i][j] = (vd){0};
    const double *a[ALEAT_MICRO_ROWS];
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++)
        a[i] = rows[i];
    for (int64_t k = 0; k < k_len; k++, b += (int64_t)MICRO_VECTORS * VLEN_F64) {
        vd line[MICRO_VECTORS];
#pragma GCC unroll 4
        for (int j = 0; j < MICRO_VECTORS; j++)
            line[j] = *(const vd_any *)(b + j * VLEN_F64);
#pragma GCC unroll 6
        for (int i = 0; i < mr; i++) {
            const vd x = a[i][k] - (vd){0};
#pragma GCC unroll 4
            for (int j = 0; j < MICRO_VECTORS; j++)
                acc[i][j] += x * line[j];
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < MICRO_VECTORS; j++)
            *(vd_any *)(c + i * c_ld + j * VLEN_F64) += acc[i][j];
}

static void igemm_f64(int mr, int64_t k_len, const double *const *rows, const double *b, double *c,
                      int64_t c_ld)
{
    switch (mr) {
    case 1: micro_tile_f64(1, k_len, rows, b, c, c_ld); break;
    case 2: micro_tile_f64(2, k_len, rows, b, c, c_ld); break;
    case 3: micro_tile_f64(3, k_len, rows, b, c, c_ld); break;
    case 4: micro_tile_f64(4, k_len, rows, b, c, c_ld); break;
    case 5: micro_tile_f64(5, k_len, rows, b, c, c_ld); break;
    default: micro_tile_f64(6, k_len, rows, b, c, c_ld); break;
    }
}
