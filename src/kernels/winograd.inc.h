/*
 * The transforms of Winograd's F(4x4,3x3), points 0, 1, -1, 2, -2, infinity, vectorised over
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

/*
 * y = L x L^T of a tile x [FROM][FROM] by a function `line` for one column, which makes TO values
 * of FROM: first down the columns, then along the rows. `in` is an expression of (row, col) for a
 * vector, `out` one for where a vector lies.
 */
#define BOTH_WAYS(FROM, TO, line, in, out)                                                         \
    do {                                                                                           \
        vf half[TO][FROM];                                                                         \
        _Pragma("GCC unroll 6") for (int col = 0; col < (FROM); col++)                             \
        {                                                                                          \
            vf x[FROM], y[TO];                                                                     \
            _Pragma("GCC unroll 6") for (int row = 0; row < (FROM); row++) x[row] = (in);          \
            line(x, y);                                                                            \
            _Pragma("GCC unroll 6") for (int row = 0; row < (TO); row++) half[row][col] = y[row];  \
        }                                                                                          \
        _Pragma("GCC unroll 6") for (int row = 0; row < (TO); row++)                               \
        {                                                                                          \
            vf y[TO];                                                                              \
            line(half[row], y);                                                                    \
            _Pragma("GCC unroll 6") for (int col = 0; col < (TO); col++) store(out, y[col]);       \
        }                                                                                          \
    } while (0)

static void wino_input(const float *const *rows, int64_t c, float *v, int64_t plane, int64_t step)
{
    for (int64_t i = 0; i < c; i += ALEAT_VLEN, v += step)
        BOTH_WAYS(6, 6, wino_bt, load(rows[row * 6 + col] + i), v + (row * 6 + col) * plane);
}

/** Of taps of a type, which `loader` widens. */
#define WINO_FILTER(name, type, loader)                                                            \
    static void name(const void *taps, int64_t c, float *u, int64_t plane)                         \
    {                                                                                              \
        const type *g = taps;                                                                      \
        for (int64_t i = 0; i < c; i += ALEAT_VLEN)                                                \
            BOTH_WAYS(3, 6, wino_g, loader(g + (row * 3 + col) * c + i),                           \
                      u + (row * 6 + col) * plane + i);                                            \
    }
WINO_FILTER(wino_filter_f32, float, load)
WINO_FILTER(wino_filter_bf16, uint16_t, load_bf16)
WINO_FILTER(wino_filter_f16, uint16_t, load_f16)
#undef WINO_FILTER

static void wino_output(const float *m, int64_t plane, int64_t c, float *out, int64_t out_ld)
{
    for (int64_t i = 0; i < c; i += ALEAT_VLEN)
        BOTH_WAYS(6, 4, wino_at, load(m + (row * 6 + col) * plane + i),
                  out + (row * 4 + col) * out_ld + i);
}

static void wino_output_adjoint(const float *const *rows, int64_t c, float *m, int64_t plane,
                                int64_t step)
{
    for (int64_t i = 0; i < c; i += ALEAT_VLEN, m += step)
        BOTH_WAYS(4, 6, wino_a, load(rows[row * 4 + col] + i), m + (row * 6 + col) * plane);
}

static void wino_filter_adjoint(const float *u, int64_t plane, float *g)
{
    BOTH_WAYS(6, 3, wino_gt, load(u + (row * 6 + col) * plane), g + (row * 3 + col) * ALEAT_VLEN);
}

#undef BOTH_WAYS
