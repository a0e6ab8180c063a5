/* Elementwise functions, the epilogue of matrix products, and row statistics. */

/** erf(|x|) by Abramowitz and Stegun 7.1.26, absolute error < 1.5e-7; odd. */
INLINE vf verf(vf x)
{
    const vf zero = splat(0.0f);
    const vf ax = vmax(x, zero - x);
    const vf t = splat(1.0f) / (splat(1.0f) + splat(0.3275911f) * ax);
    vf p = splat(1.061405429f);
    p = p * t + splat(-1.453152027f);
    p = p * t + splat(1.421413741f);
    p = p * t + splat(-0.284496736f);
    p = p * t + splat(0.254829592f);
    const vf y = splat(1.0f) - p * t * vexp(zero - ax * ax);
    return choose(x < zero, zero - y, y);
}

INLINE vf vsigmoid(vf x)
{
    return splat(1.0f) / (splat(1.0f) + vexp(splat(0.0f) - x));
}

/** The inner function of the tanh approximation: u(x) = sqrt(2/pi) (x + 0.044715 x^3), times 2. */
INLINE vf gelu_tanh_2u(vf x)
{
    return splat(2 * 0.7978845608f) * x * (splat(1.0f) + splat(0.044715f) * x * x);
}

/** n with tanh(ln(1 + e^x)) = n / (n + 2); x is capped where the quotient is 1 in f32. */
INLINE vf mish_n(vf x, vf *slope)
{
    const vf e = vexp(vmin(x, splat(20.0f)));
    *slope = splat(2.0f) * e * (e + splat(1.0f));
    return e * (e + splat(2.0f));
}

INLINE vf apply(const aleat_fn act, vf x)
{
    switch (act) {
    case ALEAT_FN_SILU: return x * vsigmoid(x);
    case ALEAT_FN_GELU: return splat(0.5f) * x * (splat(1.0f) + verf(x * splat(0.70710678f)));
    case ALEAT_FN_GELU_TANH: return x * vsigmoid(gelu_tanh_2u(x)); // 1 + tanh(u) = 2 sigmoid(2u)
    case ALEAT_FN_QUICK_GELU: return x * vsigmoid(splat(1.702f) * x);
    case ALEAT_FN_RELU: return choose(x < splat(0.0f), splat(0.0f), x); // NaN stays NaN
    case ALEAT_FN_MISH: {
        vf slope;
        const vf n = mish_n(x, &slope);
        return x * n / (n + splat(2.0f));
    }
    case ALEAT_FN_IDENTITY:
    case ALEAT_FN_COUNT: break;
    }
    return x;
}

/** Derivative of apply(). */
INLINE vf apply_grad(const aleat_fn act, vf x)
{
    const vf one = splat(1.0f);
    switch (act) {
    case ALEAT_FN_SILU: {
        const vf s = vsigmoid(x);
        return s * (one + x * (one - s));
    }
    case ALEAT_FN_GELU:
        return splat(0.5f) * (one + verf(x * splat(0.70710678f))) +
               x * splat(0.3989422804f) * vexp(splat(-0.5f) * x * x);
    case ALEAT_FN_GELU_TANH: {
        const vf s = vsigmoid(gelu_tanh_2u(x));
        const vf du = splat(2 * 0.7978845608f) * (one + splat(3 * 0.044715f) * x * x);
        return s * (one + x * (one - s) * du);
    }
    case ALEAT_FN_QUICK_GELU: {
        const vf s = vsigmoid(splat(1.702f) * x);
        return s * (one + splat(1.702f) * x * (one - s));
    }
    case ALEAT_FN_RELU: return choose(x > splat(0.0f), one, splat(0.0f));
    case ALEAT_FN_MISH: {
        vf slope;
        const vf n = mish_n(x, &slope), m = n + splat(2.0f);
        return n / m + splat(2.0f) * x * slope / (m * m);
    }
    case ALEAT_FN_IDENTITY:
    case ALEAT_FN_COUNT: break;
    }
    return one;
}

/* The function is chosen outside the loops: one loop for each, from one body. */
#define FOR_EACH_FN(DO)                                                                            \
    DO(ALEAT_FN_IDENTITY)                                                                          \
    DO(ALEAT_FN_SILU)                                                                              \
    DO(ALEAT_FN_GELU)                                                                              \
    DO(ALEAT_FN_GELU_TANH) DO(ALEAT_FN_QUICK_GELU) DO(ALEAT_FN_RELU) DO(ALEAT_FN_MISH)

INLINE void map_body(const aleat_fn act, const float *x, float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + ALEAT_VLEN <= n; i += ALEAT_VLEN)
        store(y + i, apply(act, load(x + i)));
    if (i < n)
        store_part(y + i, apply(act, load_part(x + i, n - i)), n - i);
}

static void map(const float *x, float *y, int64_t n, aleat_fn act)
{
    switch (act) {
#define CASE(f)                                                                                    \
    case f: map_body(f, x, y, n); break;
        FOR_EACH_FN(CASE)
#undef CASE
    case ALEAT_FN_COUNT: break;
    }
}

INLINE void map_grad_body(const aleat_fn act, const float *x, const float *dy, float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + ALEAT_VLEN <= n; i += ALEAT_VLEN)
        store(y + i, apply_grad(act, load(x + i)) * load(dy + i));
    if (i < n)
        store_part(y + i, apply_grad(act, load_part(x + i, n - i)) * load_part(dy + i, n - i),
                   n - i);
}

static void map_grad(const float *x, const float *dy, float *y, int64_t n, aleat_fn act)
{
    switch (act) {
#define CASE(f)                                                                                    \
    case f: map_grad_body(f, x, dy, y, n); break;
        FOR_EACH_FN(CASE)
#undef CASE
    case ALEAT_FN_COUNT: break;
    }
}

INLINE void scale_rows_body(const aleat_fn act, const float *x, int64_t x_ld, float *y,
                            int64_t y_ld, int64_t rows, int64_t c, const float *a, const float *b)
{
    for (int64_t r = 0; r < rows; r++, x += x_ld, y += y_ld) {
        int64_t i = 0;
        for (; i + ALEAT_VLEN <= c; i += ALEAT_VLEN)
            store(y + i, apply(act, load(x + i) * load(a + i) + load(b + i)));
        if (i < c) {
            const int64_t n = c - i;
            const vf z = load_part(x + i, n) * load_part(a + i, n) + load_part(b + i, n);
            store_part(y + i, apply(act, z), n);
        }
    }
}

static void scale_rows(const float *x, int64_t x_ld, float *y, int64_t y_ld, int64_t rows,
                       int64_t c, const float *a, const float *b, aleat_fn act)
{
    switch (act) {
#define CASE(f)                                                                                    \
    case f: scale_rows_body(f, x, x_ld, y, y_ld, rows, c, a, b); break;
        FOR_EACH_FN(CASE)
#undef CASE
    case ALEAT_FN_COUNT: break;
    }
}

/** One vector of the epilogue; `n` < ALEAT_VLEN marks a part of a vector. */
INLINE void finish_vector(const aleat_fn act, float *dst, const float *src, const float *bias,
                          const float *vec, const float *residual, float scale, int64_t n)
{
    const bool whole = n >= ALEAT_VLEN;
#define LOAD(p) (whole ? load(p) : load_part(p, n))
    vf y = LOAD(src);
    if (bias)
        y += LOAD(bias);
    if (vec)
        y += LOAD(vec);
    if (residual)
        y += LOAD(residual);
#undef LOAD
    y = apply(act, y * splat(scale));
    if (whole)
        store(dst, y);
    else
        store_part(dst, y, n);
}

INLINE void finish_body(const aleat_fn act, const aleat_block *block, const float *src,
                        int64_t src_ld, const aleat_epilogue *e)
{
    const float *bias = e->bias ? e->bias + block->col : NULL;
    const float *vec = e->vec ? e->vec + block->image * e->vec_ld + block->col : NULL;
    for (int64_t r = 0; r < block->rows; r++) {
        const float *residual =
            e->residual ? e->residual + (block->row + r) * e->residual_ld + block->col : NULL;
        float *dst = block->dst + r * block->ld;
        for (int64_t i = 0; i < block->n; i += ALEAT_VLEN)
            finish_vector(act, dst + i, src + r * src_ld + i, bias ? bias + i : NULL,
                          vec ? vec + i : NULL, residual ? residual + i : NULL, e->scale,
                          block->n - i);
    }
}

static void finish(const aleat_block *block, const float *src, int64_t src_ld,
                   const aleat_epilogue *e)
{
    switch (e->act) {
#define CASE(f)                                                                                    \
    case f: finish_body(f, block, src, src_ld, e); break;
        FOR_EACH_FN(CASE)
#undef CASE
    case ALEAT_FN_COUNT: break;
    }
}

/** Moments of up to 32 rows of one vector of channels, in f32. */
INLINE void moments_chunk(const float *x, int64_t ld, int64_t rows, vf pivot, int64_t n, vf *sum,
                          vf *sum_sq)
{
    vf s = {0}, q = {0};
    for (int64_t r = 0; r < rows; r++) {
        const vf d = (n >= ALEAT_VLEN ? load(x + r * ld) : load_part(x + r * ld, n)) - pivot;
        s += d;
        q += d * d;
    }
    *sum = s;
    *sum_sq = q;
}

static void moments(const float *x, int64_t ld, int64_t rows, int64_t c, const float *pivot,
                    double *sum, double *sum_sq)
{
    enum { CHUNK = 32 };
    for (int64_t r = 0; r < rows; r += CHUNK) {
        const int64_t count = rows - r < CHUNK ? rows - r : CHUNK;
        for (int64_t i = 0; i < c; i += ALEAT_VLEN) {
            const int64_t n = c - i < ALEAT_VLEN ? c - i : ALEAT_VLEN;
            vf s, q;
            moments_chunk(x + r * ld + i, ld, count,
                          n < ALEAT_VLEN ? load_part(pivot + i, n) : load(pivot + i), n, &s, &q);
            for (int64_t j = 0; j < n; j++) {
                sum[i + j] += (double)s[j];
                sum_sq[i + j] += (double)q[j];
            }
        }
    }
}

/** One vector of channels of a window. */
INLINE vf pool_vector(const bool max, const float *x, int64_t line_ld, int64_t ld, int64_t h,
                      int64_t w, int64_t n)
{
#define LOAD(p) (n >= ALEAT_VLEN ? load(p) : load_part(p, n))
    vf y = max ? LOAD(x) : (vf){0};
    for (int64_t i = 0; i < h; i++)
        for (int64_t j = 0; j < w; j++) {
            const vf v = LOAD(x + i * line_ld + j * ld);
            const vi taken = (v > y) | (v != v); // NaN; NOLINT(misc-redundant-expression)
            y = max ? choose(taken, v, y) : y + v;
        }
#undef LOAD
    return max ? y : y / splat((float)(h * w));
}

INLINE void pool_body(const bool max, const float *x, int64_t line_ld, int64_t ld, int64_t h,
                      int64_t w, int64_t c, float *y)
{
    int64_t i = 0;
    for (; i + ALEAT_VLEN <= c; i += ALEAT_VLEN)
        store(y + i, pool_vector(max, x + i, line_ld, ld, h, w, ALEAT_VLEN));
    if (i < c)
        store_part(y + i, pool_vector(max, x + i, line_ld, ld, h, w, c - i), c - i);
}

static void pool(const float *x, int64_t line_ld, int64_t ld, int64_t h, int64_t w, int64_t c,
                 bool max, float *y)
{
    if (max)
        pool_body(true, x, line_ld, ld, h, w, c, y);
    else
        pool_body(false, x, line_ld, ld, h, w, c, y);
}

static void max_rows(const float *x, int64_t ld, int64_t rows, int64_t n, float *max)
{
    for (int64_t r = 0; r < rows; r++, x += ld) {
        float best = x[0];
        int64_t i = 0;
        if (n >= ALEAT_VLEN) {
            vf m = load(x);
            for (i = ALEAT_VLEN; i + ALEAT_VLEN <= n; i += ALEAT_VLEN)
                m = vmax(m, load(x + i));
            for (int j = 0; j < ALEAT_VLEN; j++)
                best = m[j] > best ? m[j] : best;
        }
        for (; i < n; i++)
            best = x[i] > best ? x[i] : best;
        max[r] = best;
    }
}

static void exp_rows(float *x, int64_t ld, int64_t rows, int64_t n, const float *max, float *sums)
{
    for (int64_t r = 0; r < rows; r++, x += ld) {
        const vf m = splat(max[r]);
        vf sum = {0};
        int64_t i = 0;
        for (; i + ALEAT_VLEN <= n; i += ALEAT_VLEN) {
            const vf e = vexp(load(x + i) - m);
            sum += e;
            store(x + i, e);
        }
        float total = 0;
        for (int j = 0; j < ALEAT_VLEN; j++)
            total += sum[j];
        if (i < n) {
            const vf e = vexp(load_part(x + i, n - i) - m);
            store_part(x + i, e, n - i);
            for (int64_t j = 0; j < n - i; j++)
                total += e[j];
        }
        sums[r] = total;
    }
}

INLINE float lane_sum(vf x)
{
    float total = 0;
    for (int j = 0; j < ALEAT_VLEN; j++)
        total += x[j];
    return total;
}

static void normalize_rows(const float *x, int64_t x_ld, float *y, int64_t y_ld, int64_t rows,
                           int64_t c, const float *gamma, const float *beta, float eps, bool centre)
{
    for (int64_t r = 0; r < rows; r++, x += x_ld, y += y_ld) {
        vf s = {0}, q = {0};
        const int64_t whole = c - c % ALEAT_VLEN;
        for (int64_t i = 0; centre && i < whole; i += ALEAT_VLEN)
            s += load(x + i);
        float total = lane_sum(s);
        for (int64_t i = whole; centre && i < c; i++)
            total += x[i];
        const float mean = total / (float)c;
        for (int64_t i = 0; i < whole; i += ALEAT_VLEN) {
            const vf d = load(x + i) - mean;
            q += d * d;
        }
        float squares = lane_sum(q);
        for (int64_t i = whole; i < c; i++)
            squares += (x[i] - mean) * (x[i] - mean);
        const float scale = 1.0f / __builtin_sqrtf(squares / (float)c + eps);
        for (int64_t i = 0; i < whole; i += ALEAT_VLEN) {
            vf z = (load(x + i) - mean) * scale;
            if (gamma)
                z = z * load(gamma + i);
            if (beta)
                z = z + load(beta + i);
            store(y + i, z);
        }
        for (int64_t i = whole; i < c; i++)
            y[i] = (x[i] - mean) * scale * (gamma ? gamma[i] : 1.0f) + (beta ? beta[i] : 0.0f);
    }
}

INLINE void scale_rows_grad_body(const aleat_fn act, const float *x, int64_t x_ld, const float *dy,
                                 int64_t dy_ld, float *u, int64_t u_ld, int64_t rows, int64_t c,
                                 const float *a, const float *b, const float *mean, double *sum_g,
                                 double *sum_gx)
{
    enum { CHUNK = 32 };
    for (int64_t first = 0; first < rows; first += CHUNK) {
        const int64_t last = first + CHUNK < rows ? first + CHUNK : rows;
        for (int64_t i = 0; i < c; i += ALEAT_VLEN) {
            const int64_t n = c - i < ALEAT_VLEN ? c - i : ALEAT_VLEN;
            const bool whole = n == ALEAT_VLEN;
#define LOAD(p) (whole ? load((p) + i) : load_part((p) + i, n))
            const vf va = LOAD(a), vb = LOAD(b), vm = LOAD(mean);
            vf s = {0}, t = {0};
            for (int64_t r = first; r < last; r++) {
                const vf vx = LOAD(x + r * x_ld);
                const vf g = apply_grad(act, vx * va + vb) * LOAD(dy + r * dy_ld);
                s += g;
                t += g * (vx - vm);
                if (whole)
                    store(u + r * u_ld + i, g * va);
                else
                    store_part(u + r * u_ld + i, g * va, n);
            }
#undef LOAD
            for (int64_t j = 0; j < n; j++) {
                sum_g[i + j] += (double)s[j];
                sum_gx[i + j] += (double)t[j];
            }
        }
    }
}

static void scale_rows_grad(const float *x, int64_t x_ld, const float *dy, int64_t dy_ld, float *u,
                            int64_t u_ld, int64_t rows, int64_t c, const float *a, const float *b,
                            const float *mean, aleat_fn act, double *sum_g, double *sum_gx)
{
    switch (act) {
#define CASE(f)                                                                                    \
    case f:                                                                                        \
        scale_rows_grad_body(f, x, x_ld, dy, dy_ld, u, u_ld, rows, c, a, b, mean, sum_g, sum_gx);  \
        break;
        FOR_EACH_FN(CASE)
#undef CASE
    case ALEAT_FN_COUNT: break;
    }
}
