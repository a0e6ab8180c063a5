/*
 * The two transforms of Winograd's F(4x4,3x3), points 0, 1, -1, 2, -2, infinity, vectorised over
 * channels. Channel counts are multiples of the vector length (the planner sees to that).
 */

/** One column: y = B^T x. */
INLINE void wino_bt(const vf x[6], vf y[6])
{
    const vf four = splat(4.0f), five = splat(5.0f), two = splat(2.0f);
    const vf a = x[4] - four * x[2], b = x[3] - four * x[1];
    const vf c = x[4] - x[2], d = two * (x[3] - x[1]);
    y[0] = four * x[0] - five * x[2] + x[4];
    y[1] = a + b;
    y[2] = a - b;
    y[3] = c + d;
    y[4] = c - d;
    y[5] = four * x[1] - five * x[3] + x[5];
}

/** One column: y = A^T x. */
INLINE void wino_at(const vf x[6], vf y[4])
{
    const vf s = x[1] + x[2], d = x[1] - x[2], t = x[3] + x[4], u = x[3] - x[4];
    y[0] = x[0] + s + t;
    y[1] = d + splat(2.0f) * u;
    y[2] = s + splat(4.0f) * t;
    y[3] = d + splat(8.0f) * u + x[5];
}

static void wino_input(const float *const *rows, int64_t c, float *v, int64_t plane)
{
    for (int64_t i = 0; i < c; i += ALEAT_VLEN) {
        vf half[6][6];
#pragma GCC unroll 6
        for (int col = 0; col < 6; col++) {
            vf x[6], y[6];
#pragma GCC unroll 6
            for (int row = 0; row < 6; row++)
                x[row] = load(rows[row * 6 + col] + i);
            wino_bt(x, y);
#pragma GCC unroll 6
            for (int row = 0; row < 6; row++)
                half[row][col] = y[row];
        }
#pragma GCC unroll 6
        for (int row = 0; row < 6; row++) {
            vf y[6];
            wino_bt(half[row], y);
#pragma GCC unroll 6
            for (int col = 0; col < 6; col++)
                store(v + (row * 6 + col) * plane + i, y[col]);
        }
    }
}

static void wino_output(const float *m, int64_t plane, int64_t c, float *out, int64_t out_ld)
{
    for (int64_t i = 0; i < c; i += ALEAT_VLEN) {
        vf half[4][6];
#pragma GCC unroll 6
        for (int col = 0; col < 6; col++) {
            vf x[6], y[4];
#pragma GCC unroll 6
            for (int row = 0; row < 6; row++)
                x[row] = load(m + (row * 6 + col) * plane + i);
            wino_at(x, y);
#pragma GCC unroll 4
            for (int row = 0; row < 4; row++)
                half[row][col] = y[row];
        }
#pragma GCC unroll 4
        for (int row = 0; row < 4; row++) {
            vf y[4];
            wino_at(half[row], y);
#pragma GCC unroll 4
            for (int col = 0; col < 4; col++)
                store(out + (row * 4 + col) * out_ld + i, y[col]);
        }
    }
}
