/* Jacobians of normalisations and of softmax, for both modes of differentiation. */

enum { JACOBIAN_CHUNK = 32 }; // terms of one f32 partial sum in a lane; the rest is double

/** The first n floats at p, at most a vector; zeros behind. */
INLINE vf load_up_to(const float *p, int64_t n)
{
    return n >= ALEAT_VLEN ? load(p) : load_part(p, n);
}

INLINE void store_up_to(float *p, vf x, int64_t n)
{
    if (n >= ALEAT_VLEN)
        store(p, x);
    else
        store_part(p, x, n);
}

INLINE double lane_sum_double(vf x)
{
    double total = 0;
    for (int j = 0; j < ALEAT_VLEN; j++)
        total += (double)x[j];
    return total;
}

static void cross_moments(const float *x, int64_t x_ld, const float *t, int64_t t_ld, int64_t rows,
                          int64_t c, const float *mean, double *sum_t, double *sum_tx)
{
    for (int64_t first = 0; first < rows; first += JACOBIAN_CHUNK) {
        const int64_t last = first + JACOBIAN_CHUNK < rows ? first + JACOBIAN_CHUNK : rows;
        for (int64_t i = 0; i < c; i += ALEAT_VLEN) {
            const int64_t n = c - i < ALEAT_VLEN ? c - i : ALEAT_VLEN;
            const vf m = load_up_to(mean + i, n);
            vf s = {0}, q = {0};
            for (int64_t r = first; r < last; r++) {
                const vf vt = load_up_to(t + r * t_ld + i, n);
                s += vt;
                q += vt * (load_up_to(x + r * x_ld + i, n) - m);
            }
            for (int64_t j = 0; j < n; j++) {
                sum_t[i + j] += (double)s[j];
                sum_tx[i + j] += (double)q[j];
            }
        }
    }
}

INLINE void scale_rows_jvp_body(const aleat_fn act, const float *x, int64_t x_ld, const float *t,
                                int64_t t_ld, float *y, int64_t y_ld, int64_t rows, int64_t c,
                                const float *a, const float *b, const float *p, const float *q)
{
    for (int64_t r = 0; r < rows; r++, x += x_ld, t += t_ld, y += y_ld)
        for (int64_t i = 0; i < c; i += ALEAT_VLEN) {
            const int64_t n = c - i;
            const vf vx = load_up_to(x + i, n), va = load_up_to(a + i, n);
            const vf moved = vx * load_up_to(p + i, n) + load_up_to(q + i, n);
            const vf z = load_up_to(t + i, n) * va + moved;
            if (act == ALEAT_FN_IDENTITY)
                store_up_to(y + i, z, n);
            else
                store_up_to(y + i, apply_grad(act, vx * va + load_up_to(b + i, n)) * z, n);
        }
}

static void scale_rows_jvp(const float *x, int64_t x_ld, const float *t, int64_t t_ld, float *y,
                           int64_t y_ld, int64_t rows, int64_t c, const float *a, const float *b,
                           const float *p, const float *q, aleat_fn act)
{
    switch (act) {
#define CASE(f)                                                                                    \
    case f: scale_rows_jvp_body(f, x, x_ld, t, t_ld, y, y_ld, rows, c, a, b, p, q); break;
        FOR_EACH_FN(CASE)
#undef CASE
    case ALEAT_FN_COUNT: break;
    }
}

/** Mean (0 without `centre`) and 1 / sqrt(var + eps) of a row. */
INLINE void row_moments(const float *x, int64_t c, float eps, bool centre, float *mean, float *inv)
{
    vf s = {0}, q = {0};
    for (int64_t i = 0; centre && i < c; i += ALEAT_VLEN)
        s += load_up_to(x + i, c - i);
    *mean = (float)(lane_sum_double(s) / (double)c);
    for (int64_t i = 0; i < c; i += ALEAT_VLEN) {
        vf d = load_up_to(x + i, c - i) - splat(*mean);
        if (c - i < ALEAT_VLEN) { // the lanes behind the row are not of the row
            float lanes[ALEAT_VLEN];
            store(lanes, d);
            d = load_part(lanes, c - i);
        }
        q += d * d;
    }
    *inv = (float)(1 / __builtin_sqrt(lane_sum_double(q) / (double)c + (double)eps));
}

/** t pre, or t. */
INLINE vf times_or_same(const float *t, const float *factor, int64_t i, int64_t n)
{
    const vf vt = load_up_to(t + i, n);
    return factor ? vt * load_up_to(factor + i, n) : vt;
}

static void normalize_rows_jacobian(const float *x, int64_t x_ld, const float *t, int64_t t_ld,
                                    float *y, int64_t y_ld, int64_t rows, int64_t c,
                                    const float *pre, const float *post, float eps, bool centre)
{
    for (int64_t r = 0; r < rows; r++, x += x_ld, t += t_ld, y += y_ld) {
        float mean, inv;
        row_moments(x, c, eps, centre, &mean, &inv);
        vf s = {0}, q = {0};
        for (int64_t i = 0; i < c; i += ALEAT_VLEN) {
            const vf u = times_or_same(t, pre, i, c - i);
            s += u;
            q += u * (load_up_to(x + i, c - i) - splat(mean));
        }
        const float mean_u = centre ? (float)(lane_sum_double(s) / (double)c) : 0;
        const float slope = (float)(lane_sum_double(q) / (double)c * (double)inv * (double)inv);
        for (int64_t i = 0; i < c; i += ALEAT_VLEN) {
            const vf d = load_up_to(x + i, c - i) - splat(mean);
            vf z =
                (times_or_same(t, pre, i, c - i) - splat(mean_u) - d * splat(slope)) * splat(inv);
            if (post)
                z = z * load_up_to(post + i, c - i);
            store_up_to(y + i, z, c - i);
        }
    }
}

/** <p, t> of rows of n. */
INLINE double inner_product(const float *p, const float *t, int64_t n)
{
    enum { PIECE = JACOBIAN_CHUNK * ALEAT_VLEN };
    double total = 0;
    for (int64_t first = 0; first < n; first += PIECE) {
        const int64_t last = first + PIECE < n ? first + PIECE : n;
        vf sum = {0};
        for (int64_t i = first; i < last; i += ALEAT_VLEN)
            sum += load_up_to(p + i, last - i) * load_up_to(t + i, last - i);
        total += lane_sum_double(sum);
    }
    return total;
}

static void softmax_jacobian(float *p, float *t, int64_t ld, int64_t rows, int64_t n,
                             const float *sums, float scale)
{
    for (int64_t r = 0; r < rows; r++, p += ld, t += ld) {
        const float inverse = 1.0f / sums[r];
        const vf mean = splat((float)(inner_product(p, t, n) * (double)inverse));
        for (int64_t i = 0; i < n; i += ALEAT_VLEN) {
            const vf w = load_up_to(p + i, n - i) * splat(inverse);
            const vf d = load_up_to(t + i, n - i) - mean;
            store_up_to(p + i, w, n - i);
            store_up_to(t + i, w * d * splat(scale), n - i);
        }
    }
}
