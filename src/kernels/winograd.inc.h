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

/** One column: y = A x, the adjoint of wino_at(). */
INLINE void wino_a(const vf x[4], vf y[6])
{
    const vf two = splat(2.0f), four = splat(4.0f);
    const vf even = x[0] + x[2], odd = x[1] + x[3];
    const vf even4 = x[0] + four * x[2], odd4 = two * (x[1] + four * x[3]);
    y[0] = x[0];
    y[1] = even + odd;
    y[2] = even - odd;
    y[3] = even4 + odd4;
    y[4] = even4 - odd4;
    y[5] = x[3];
}

/** One column: y = G^T x. */
INLINE void wino_gt(const vf x[6], vf y[3])
{
    const vf s = splat(1.0f / 6) * (x[1] + x[2]), d = splat(1.0f / 6) * (x[2] - x[1]);
    const vf t = splat(1.0f / 24) * (x[3] + x[4]), u = splat(1.0f / 12) * (x[3] - x[4]);
    y[0] = splat(0.25f) * x[0] - s + t;
    y[1] = d + u;
    y[2] = splat(4.0f) * t - s + x[5];
}

static void wino_input(const float *const *rows, int64_t c, float *v, int64_t plane, int64_t step)
{
    for (int64_t i = 0; i < c; i += ALEAT_VLEN, v += step) {
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
                store(v + (row * 6 + col) * plane, y[col]);
        }
    }
}

/** One column: y = G x. */
INLINE void wino_g(const vf x[3], vf y[6])
{
    const vf outer = x[0] + x[2], far = splat(1.0f / 24) * x[0] + splat(1.0f / 6) * x[2];
    const vf near = splat(1.0f / 12) * x[1];
    y[0] = splat(0.25f) * x[0];
    y[1] = splat(-1.0f / 6) * (outer + x[1]);
    y[2] = splat(-1.0f / 6) * (outer - x[1]);
    y[3] = far + near;
    y[4] = far - near;
    y[5] = x[2];
}

static void wino_filter(const float *g, int64_t c, float *u, int64_t plane)
{
    for (int64_t i = 0; i < c; i += ALEAT_VLEN) {
        vf half[6][3];
#pragma GCC unroll 3
        for (int col = 0; col < 3; col++) {
            vf x[3], y[6];
#pragma GCC unroll 3
            for (int row = 0; row < 3; row++)
                x[row] = load(g + (row * 3 + col) * c + i);
            wino_g(x, y);
#pragma GCC unroll 6
            for (int row = 0; row < 6; row++)
                half[row][col] = y[row];
        }
#pragma GCC unroll 6
        for (int row = 0; row < 6; row++) {
            vf y[6];
            wino_g(half[row], y);
#pragma GCC unroll 6
            for (int col = 0; col < 6; col++)
                store(u + (row * 6 + col) * plane + i, y[col]);
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

static void wino_output_adjoint(const float *const *rows, int64_t c, float *m, int64_t plane,
                                int64_t step)
{
    for (int64_t i = 0; i < c; i += ALEAT_VLEN, m += step) {
        vf half[6][4];
#pragma GCC unroll 4
        for (int col = 0; col < 4; col++) {
            vf x[4], y[6];
#pragma GCC unroll 4
            for (int row = 0; row < 4; row++)
                x[row] = load(rows[row * 4 + col] + i);
            wino_a(x, y);
#pragma GCC unroll 6
            for (int row = 0; row < 6; row++)
                half[row][col] = y[row];
        }
#pragma GCC unroll 6
        for (int row = 0; row < 6; row++) {
            vf y[6];
            wino_a(half[row], y);
#pragma GCC unroll 6
            for (int col = 0; col < 6; col++)
                store(m + (row * 6 + col) * plane, y[col]);
        }
    }
}

static void wino_filter_adjoint(const float *u, int64_t plane, float *g)
{
    vf half[3][6];
#pragma GCC unroll 6
    for (int col = 0; col < 6; col++) {
        vf x[6], y[3];
#pragma GCC unroll 6
        for (int row = 0; row < 6; row++)
            x[row] = load(u + (row * 6 + col) * plane);
        wino_gt(x, y);
#pragma GCC unroll 3
        for (int row = 0; row < 3; row++)
            half[row][col] = y[row];
    }
#pragma GCC unroll 3
    for (int row = 0; row < 3; row++) {
        vf y[3];
        wino_gt(half[row], y);
#pragma GCC unroll 3
        for (int col = 0; col < 3; col++)
            store(g + (row * 3 + col) * ALEAT_VLEN, y[col]);
    }
}
