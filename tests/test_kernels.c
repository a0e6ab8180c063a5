/* Every entry of the kernel tables, for every instruction set of this processor, against double. */
#include "numbers.h"

#include "tensor/tensor.h"

static const int64_t sizes[] = {1, 3, 7, 16, 17, 40, 64};
enum { N_SIZES = sizeof sizes / sizeof *sizes };
static const float GUARD = -77.0f; // what stands where nothing may be written

/* ---- matrix product -------------------------------------------------------------------------- */

// mr rows of k_len at random places, taps of them; b with `width` columns.
typedef struct product {
    int mr, nv;
    int64_t taps, k_len, width;
    float *a, *b;
    const float *rows[3 * ALEAT_MICRO_ROWS];
} product;

static product make_product(const aleat_kernels *k, int mr, int nv, int64_t taps, int64_t k_len)
{
    product p = {mr, nv, taps, k_len, nv * k->vlen, NULL, NULL, {NULL}};
    uint64_t seed = (uint64_t)(mr * 1000 + nv * 100 + k_len);
    p.a = floats(taps * mr * k_len, seed);
    p.b = floats(taps * k_len * p.width, seed + 1);
    for (int64_t tap = 0; tap < taps; tap++)
        for (int i = 0; i < mr; i++) // not in order, and two rows may be one
            p.rows[tap * ALEAT_MICRO_ROWS + i] = p.a + (tap * mr + below(&seed, mr)) * k_len;
    return p;
}

static void free_product(product *p)
{
    aleat_free(p->a);
    aleat_free(p->b);
}

// One rounding a term: taps * k_len * FLT_EPSILON / 2 of the sum of magnitudes, and a factor 2.
static void check_product(const product *p, const float *c, int64_t c_ld)
{
    for (int i = 0; i < p->mr; i++)
        for (int64_t j = 0; j < p->width; j++) {
            double want = 0, magnitude = 0;
            for (int64_t t = 0; t < p->taps * p->k_len; t++) {
                const double term =
                    (double)p->rows[t / p->k_len * ALEAT_MICRO_ROWS + i][t % p->k_len] *
                    (double)p->b[t * p->width + j];
                want += term;
                magnitude += fabs(term);
            }
            assert_near(c[i * c_ld + j], want,
                        (double)(p->taps * p->k_len) * (double)FLT_EPSILON * magnitude,
                        "mr %d nv %d k %d", p->mr, p->nv, (int)p->k_len);
        }
}

static void igemm_is_the_matrix_product_at_every_tile_size(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    for (int mr = 1; mr <= ALEAT_MICRO_ROWS; mr++)
        for (int nv = 1; nv <= k->panel / k->vlen; nv++)
            for (int s = 0; s < N_SIZES; s++) {
                product p = make_product(k, mr, nv, 1 + s % 3, sizes[s]);
                const int64_t c_ld = p.width + 3;
                float *c = floats(mr * c_ld, 1);
                for (int i = 0; i < mr; i++)
                    c[i * c_ld + p.width] = GUARD;
                k->igemm(mr, nv, p.taps, p.k_len, p.rows, p.b, p.width, false, c, c_ld);
                check_product(&p, c, c_ld);
                for (int i = 0; i < mr; i++)
                    assert_true(c[i * c_ld + p.width] == GUARD);
                aleat_free(c);
                free_product(&p);
            }
}

// The terms of one sum in f32: each addition rounds once, and what is added to c once more.
static void gemm_tn_is_the_product_of_a_transposed_matrix(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    for (int mr = 1; mr <= ALEAT_MICRO_ROWS && mr <= k->vlen; mr++)
        for (int nv = 1; nv <= k->panel / k->vlen; nv++)
            for (int s = 0; s < 2 * N_SIZES; s++) {
                const bool add = s % 2;
                const int64_t n = sizes[s / 2], vlen = k->vlen, a_ld = mr + 2, c_ld = nv * vlen + 3;
                const bool apart = s % 4 < 2; // vectors of columns, or in a line
                const int64_t b_ld = apart ? vlen : nv * vlen + 1,
                              step = apart ? n * vlen + 5 : vlen;
                float *a = floats(n * a_ld, 1), *b = floats(apart ? nv * step : n * b_ld, 2);
                float *c = floats(mr * c_ld, 3), *old = floats(mr * c_ld, 3);
                k->gemm_tn(mr, nv, n, a, a_ld, b, b_ld, step, add, c, c_ld);
                for (int64_t e = 0; e < mr * c_ld; e++) {
                    const int64_t i = e / c_ld, j = e % c_ld;
                    double sum = add || j >= nv * vlen ? (double)old[e] : 0;
                    double magnitude = fabs(sum);
                    for (int64_t q = 0; q < n && j < nv * vlen; q++) {
                        const double term = (double)a[q * a_ld + i] *
                                            (double)b[j / vlen * step + q * b_ld + j % vlen];
                        sum += term;
                        magnitude += fabs(term);
                    }
                    assert_near(c[e], sum, (double)(n + 1) * (double)FLT_EPSILON * magnitude,
                                "element %d, %d", (int)i, (int)j);
                }
                aleat_free(a);
                aleat_free(b);
                aleat_free(c);
                aleat_free(old);
            }
}

// With factors that are bf16 already the products are exact, so the bound is that of f32.
static void igemm_bf16_is_exact_but_for_its_f32_sums(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    for (int mr = 1; k->igemm_bf16 && mr <= ALEAT_MICRO_ROWS; mr++)
        for (int nv = 1; nv <= k->panel / k->vlen; nv++)
            for (int s = 0; s < N_SIZES; s++) {
                product p = make_product(k, mr, nv, 1 + s % 3, sizes[s] + sizes[s] % 2);
                const int64_t lines = p.taps * p.k_len, n_a = p.taps * mr * p.k_len;
                uint16_t *a = aleat_alloc((size_t)n_a * sizeof *a);
                uint16_t *b = aleat_alloc((size_t)(lines * p.width) * sizeof *b);
                assert_true(a && b);
                for (int64_t i = 0; i < n_a; i++)
                    p.a[i] = aleat_bf16_to_f32(a[i] = aleat_f32_to_bf16(p.a[i]));
                for (int64_t i = 0; i < lines; i++) // pairs of lines interleaved
                    for (int64_t j = 0; j < p.width; j++) {
                        float *value = &p.b[i * p.width + j];
                        const uint16_t bits = aleat_f32_to_bf16(*value);
                        b[i / 2 * 2 * p.width + 2 * j + i % 2] = bits;
                        *value = aleat_bf16_to_f32(bits);
                    }
                const uint16_t *rows[3 * ALEAT_MICRO_ROWS] = {NULL};
                for (int i = 0; i < 3 * ALEAT_MICRO_ROWS; i++)
                    if (p.rows[i])
                        rows[i] = a + (p.rows[i] - p.a);
                float *c = floats(mr * p.width, 1);
                k->igemm_bf16(mr, nv, p.taps, p.k_len, rows, b, 2 * p.width, c, p.width);
                check_product(&p, c, p.width);
                aleat_free(a);
                aleat_free(b);
                aleat_free(c);
                free_product(&p);
            }
}

static void to_bf16_rounds_to_nearest_even_and_keeps_nan(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    {
        uint64_t seed = 5;
        float x[40];
        uint16_t y[40];
        for (int i = 0; i < 40; i++) {
            const uint32_t bits =
                (uint32_t)next_number(&seed) & (i % 2 ? 0xffff8000u : ~0u); // ties
            memcpy(&x[i], &bits, sizeof bits);
        }
        x[0] = INFINITY;
        x[1] = -INFINITY;
        x[2] = NAN;
        x[3] = FLT_MAX; // rounds to infinity
        k->to_bf16(x, y, 40);
        for (int i = 0; i < 40; i++)
            if (isnan(x[i]))
                assert_true(isnan(aleat_bf16_to_f32(y[i])));
            else
                assert_int_equal(y[i], aleat_f32_to_bf16(x[i]));
    }
}

/* ---- elementwise ----------------------------------------------------------------------------- */

// Arguments from where all functions are flat to where they are curved, and both ends.
static float *arguments(int64_t n)
{
    float *x = floats(n, 3);
    for (int64_t i = 0; i < n; i++)
        x[i] *= i % 3 == 0 ? 1.0f : i % 3 == 1 ? 8.0f : 100.0f;
    return x;
}

static void map_is_every_function_within_its_rounding(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    for (aleat_fn act = 0; act < ALEAT_FN_COUNT; act++)
        for (int64_t n = 1; n <= 67; n++) {
            float *x = arguments(n), y[68];
            y[n] = GUARD;
            k->map(x, y, n, act);
            assert_true(y[n] == GUARD);
            for (int64_t i = 0; i < n; i++)
                assert_near(y[i], function_of(act, (double)x[i]), function_bound(act, (double)x[i]),
                            "%s function %d at %g", aleat_isa_name(k->isa), (int)act, (double)x[i]);
            k->map(x, x, n, act); // in place
            assert_memory_equal(x, y, (size_t)n * sizeof *x);
            aleat_free(x);
        }
}

static void map_grad_is_the_slope_times_the_cotangent(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    for (aleat_fn act = 0; act < ALEAT_FN_COUNT; act++)
        for (int64_t n = 1; n <= 67; n++) {
            float *x = arguments(n), *dy = floats(n, 4), y[68];
            y[n] = GUARD;
            k->map_grad(x, dy, y, n, act);
            assert_true(y[n] == GUARD);
            for (int64_t i = 0; i < n; i++) {
                const double z = (double)x[i], v = (double)dy[i];
                assert_near(y[i], slope_of(act, z) * v, slope_bound(act, z) * fabs(v),
                            "%s slope of %d at %g", aleat_isa_name(k->isa), (int)act, z);
            }
            k->map_grad(x, dy, dy, n, act);
            assert_memory_equal(dy, y, (size_t)n * sizeof *dy);
            aleat_free(x);
            aleat_free(dy);
        }
}

// 5 additions and a product, each FLT_EPSILON/2 of the magnitudes; functions are steeper than 1 by
// a quarter at most.
static void check_finish(const aleat_kernels *k, aleat_fn act, int terms, int64_t rows, int64_t n)
{
    enum { ROW = 2, COL = 5, IMAGE = 1 };
    const int64_t ld = COL + n + 2, all = (ROW + rows) * ld;
    float *src = floats(rows * (n + 20), 1), *bias = floats(ld, 2), *vec = floats(2 * ld, 3);
    float *residual = floats(all, 4), *y = floats(all, 5), *before = floats(all, 5);
    const aleat_epilogue e = {.bias = terms & 1 ? bias : NULL,
                              .vec = terms & 2 ? vec : NULL,
                              .vec_ld = ld,
                              .residual = terms & 4 ? residual : NULL,
                              .residual_ld = ld,
                              .scale = terms & 8 ? 0.75f : 1.0f,
                              .act = act};
    const aleat_block block = {.dst = y + ROW * ld + COL,
                               .ld = ld,
                               .rows = rows,
                               .n = n,
                               .row = ROW,
                               .col = COL,
                               .image = IMAGE};
    k->finish(&block, src, n + 20, &e);
    for (int64_t i = 0; i < all; i++) {
        const int64_t r = i / ld - ROW, c = i % ld - COL;
        if (r < 0 || c < 0 || c >= n) {
            assert_true(y[i] == before[i]);
            continue;
        }
        const double parts[] = {(double)src[r * (n + 20) + c], e.bias ? (double)bias[COL + c] : 0,
                                e.vec ? (double)vec[IMAGE * ld + COL + c] : 0,
                                e.residual ? (double)residual[i] : 0};
        double sum = 0, magnitude = 0;
        for (int t = 0; t < 4; t++) {
            sum += parts[t];
            magnitude += fabs(parts[t]);
        }
        sum *= (double)e.scale;
        assert_near(y[i], function_of(act, sum),
                    function_bound(act, sum) + 4 * (double)FLT_EPSILON * magnitude,
                    "%s terms %d function %d", aleat_isa_name(k->isa), terms, (int)act);
    }
    float *const arrays[] = {src, bias, vec, residual, y, before};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        aleat_free(arrays[i]);
}

static void finish_adds_scales_and_applies_and_touches_nothing_else(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    for (int terms = 0; terms < 16; terms++)
        for (int s = 0; s < N_SIZES; s++)
            check_finish(k, (aleat_fn)((terms + s) % ALEAT_FN_COUNT), terms, 1 + terms % 13,
                         sizes[s]);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void scale_rows_is_a_line_and_a_function(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    for (int s = 0; s < N_SIZES; s++)
        for (int64_t rows = 1; rows <= 13; rows += 4) {
            const int64_t c = sizes[s], x_ld = c + 3, y_ld = c + 1;
            const aleat_fn act = (aleat_fn)(s % ALEAT_FN_COUNT);
            float *x = floats(rows * x_ld, 1), *y = floats(rows * y_ld, 2);
            float *a = floats(c, 3), *b = floats(c, 4);
            for (int64_t r = 0; r < rows; r++)
                y[r * y_ld + c] = GUARD;
            k->scale_rows(x, x_ld, y, y_ld, rows, c, a, b, act);
            for (int64_t r = 0; r < rows; r++) {
                assert_true(y[r * y_ld + c] == GUARD);
                for (int64_t i = 0; i < c; i++) {
                    const double z = (double)x[r * x_ld + i] * (double)a[i] + (double)b[i];
                    assert_near(y[r * y_ld + i], function_of(act, z),
                                function_bound(act, z) + 4 * (double)FLT_EPSILON, "column %d",
                                (int)i); // |x a| + |b| <= 2, two roundings
                }
            }
            k->scale_rows(x, x_ld, x, x_ld, rows, c, a, b, act); // in place
            assert_memory_equal(x + (rows - 1) * x_ld, y + (rows - 1) * y_ld,
                                (size_t)c * sizeof *x);
            aleat_free(x);
            aleat_free(y);
            aleat_free(a);
            aleat_free(b);
        }
}

static void moments_are_added_to_doubles_about_a_pivot(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    for (int s = 0; s < N_SIZES; s++)
        for (int64_t rows = 1; rows <= 100; rows += 33) {
            const int64_t c = sizes[s], ld = c + 2;
            float *x = floats(rows * ld, 1), *pivot = floats(c, 2);
            double *sum = doubles(c), *sum_sq = doubles(c);
            for (int64_t i = 0; i < c; i++)
                sum[i] = sum_sq[i] = 1;
            k->moments(x, ld, rows, c, pivot, sum, sum_sq);
            for (int64_t i = 0; i < c; i++) {
                double want = 1, want_sq = 1, magnitude = 0;
                for (int64_t r = 0; r < rows; r++) {
                    const double d = (double)x[r * ld + i] - (double)pivot[i];
                    want += d;
                    want_sq += d * d;
                    magnitude += fabs(d);
                }
                // At most 32 f32 additions follow each other; |d| <= 2, so d^2 <= 2 |d|.
                assert_near(sum[i], want, 33 * (double)FLT_EPSILON * magnitude, "sum");
                assert_near(sum_sq[i], want_sq, 2 * 35 * (double)FLT_EPSILON * magnitude,
                            "sum of squares");
            }
            aleat_free(x);
            aleat_free(pivot);
            aleat_free(sum);
            aleat_free(sum_sq);
        }
}

static void scale_rows_grad_is_the_slope_and_its_two_sums(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    for (int s = 0; s < N_SIZES; s++)
        for (int64_t rows = 1; rows <= 67; rows += 33) {
            const int64_t c = sizes[s], ld = c + 2;
            const aleat_fn act = (aleat_fn)((s + rows) % ALEAT_FN_COUNT);
            float *x = floats(rows * ld, 1), *dy = floats(rows * ld, 2), *u = floats(rows * ld, 3);
            float *a = floats(c, 4), *b = floats(c, 5), *mean = floats(c, 6);
            double *sum_g = doubles(c), *sum_gx = doubles(c);
            k->scale_rows_grad(x, ld, dy, ld, u, ld, rows, c, a, b, mean, act, sum_g, sum_gx);
            for (int64_t i = 0; i < c; i++) {
                double want = 0, want_x = 0, magnitude = 0;
                for (int64_t r = 0; r < rows; r++) {
                    const double xi = (double)x[r * ld + i], ai = (double)a[i];
                    const double z = xi * ai + (double)b[i];
                    const double v = slope_of(act, z) * (double)dy[r * ld + i] * ai;
                    // z is off by 2 FLT_EPSILON, and no second derivative exceeds 1.2.
                    if (act != ALEAT_FN_RELU || fabs(z) > 1e-4)
                        assert_near(u[r * ld + i], v, slope_bound(act, z) + 6 * (double)FLT_EPSILON,
                                    "%s slope of %d", aleat_isa_name(k->isa), (int)act);
                    // g itself is not stored: u / a, which is off by one rounding of each.
                    const double got = (double)u[r * ld + i] / ai;
                    want += got;
                    want_x += got * (xi - (double)mean[i]);
                    magnitude += fabs(got);
                }
                assert_near(sum_g[i], want, 36 * (double)FLT_EPSILON * magnitude, "sum of g");
                assert_near(sum_gx[i], want_x, 2 * 38 * (double)FLT_EPSILON * magnitude,
                            "sum of g (x - mean)");
            }
            float *const arrays[] = {x, dy, u, a, b, mean};
            for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
                aleat_free(arrays[i]);
            aleat_free(sum_g);
            aleat_free(sum_gx);
        }
}

static void pool_takes_the_mean_or_the_largest_of_a_window(void **state)
{
    (void)state;
    enum { LINES = 4, PIXELS = 5 };
    FOR_EACH_ISA(k)
    for (int s = 0; s < N_SIZES; s++)
        for (int64_t h = 1; h < LINES; h++)
            for (int64_t w = 1; w < PIXELS; w++) {
                const int64_t c = sizes[s], ld = c + 3, line_ld = PIXELS * ld;
                float *x = floats(LINES * line_ld, 1), *mean = floats(c + 1, 2);
                float *max = floats(c + 1, 2);
                k->pool(x, line_ld, ld, h, w, c, false, mean);
                k->pool(x, line_ld, ld, h, w, c, true, max);
                for (int64_t i = 0; i < c; i++) {
                    double sum = 0, size = 0, most = -INFINITY;
                    for (int64_t p = 0; p < h * w; p++) {
                        const double v = (double)x[p / w * line_ld + p % w * ld + i];
                        sum += v / (double)(h * w);
                        size += fabs(v);
                        most = fmax(most, v);
                    }
                    assert_near(mean[i], sum, (double)FLT_EPSILON * size, "mean of %d", (int)i);
                    assert_true((double)max[i] == most);
                }
                assert_true(mean[c] == max[c]); // seeded alike; neither was written
                x[(h - 1) * line_ld + (w - 1) * ld] = NAN;
                k->pool(x, line_ld, ld, h, w, c, true, max);
                assert_true(isnan(max[0]));
                aleat_free(x);
                aleat_free(mean);
                aleat_free(max);
            }
}

static void exp_rows_and_max_rows_make_a_softmax(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    for (int s = 0; s < N_SIZES; s++)
        for (int64_t rows = 1; rows <= 13; rows += 3) {
            const int64_t n = sizes[s], ld = n + 1;
            float *x = floats(rows * ld, 1), *e = floats(rows * ld, 1), max[13], sums[13];
            for (int64_t i = 0; i < rows * ld; i++)
                e[i] = x[i] = x[i] * 40;
            for (int64_t r = 0; r < rows; r++)
                e[r * ld + n] = 100; // behind the row: neither seen nor changed
            k->max_rows(e, ld, rows, n, max);
            k->exp_rows(e, ld, rows, n, max, sums);
            for (int64_t r = 0; r < rows; r++) {
                float largest = x[r * ld];
                double total = 0;
                for (int64_t i = 0; i < n; i++)
                    largest = fmaxf(largest, x[r * ld + i]);
                assert_true(max[r] == largest);
                assert_true(e[r * ld + n] == 100);
                for (int64_t i = 0; i < n; i++) {
                    const double z = (double)(x[r * ld + i] - largest), want = exp(z);
                    assert_near(e[r * ld + i], want, 1.5e-7 * want, "exp(%g)", z);
                    total += (double)e[r * ld + i];
                }
                assert_near(sums[r], total, (double)n * (double)FLT_EPSILON * total, "sum");
            }
            aleat_free(x);
            aleat_free(e);
        }
}

// The variance is n roundings off (of two passes), the rest a few.
static void normalize_rows_has_mean_0_and_variance_1(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    for (int s = 0; s < N_SIZES; s++)
        for (int affine = 0; affine < 4; affine++) {
            const int64_t c = sizes[s], ld = c + 3, rows = 5;
            const double eps = 1e-3;
            float *x = floats(rows * ld, 1), *y = floats(rows * ld, 2);
            float *gamma = floats(c, 3), *beta = floats(c, 4);
            k->normalize_rows(x, ld, y, ld, rows, c, affine & 1 ? gamma : NULL,
                              affine & 2 ? beta : NULL, (float)eps, true);
            for (int64_t r = 0; r < rows; r++) {
                double mean = 0, var = 0;
                for (int64_t i = 0; i < c; i++)
                    mean += (double)x[r * ld + i] / (double)c;
                for (int64_t i = 0; i < c; i++)
                    var += pow((double)x[r * ld + i] - mean, 2) / (double)c;
                const double inv = 1 / sqrt(var + (double)(float)eps);
                for (int64_t i = 0; i < c; i++) {
                    const double g = affine & 1 ? (double)gamma[i] : 1;
                    const double b = affine & 2 ? (double)beta[i] : 0;
                    assert_near(y[r * ld + i], ((double)x[r * ld + i] - mean) * inv * g + b,
                                (double)(c + 8) * (double)FLT_EPSILON * (1 + inv), "row %d",
                                (int)r);
                }
            }
            aleat_free(x);
            aleat_free(y);
            aleat_free(gamma);
            aleat_free(beta);
        }
}

/* ---- Winograd's transforms ------------------------------------------------------------------- */

static const double BT[6][6] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};
static const double AT[4][6] = {
    {1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}};

// Element (i, j) of T d T^T at channel c of the 36 values, and the same of magnitudes.
static double transformed(const double *ti, const double *tj, const float *const d[36], int64_t c,
                          double *magnitude)
{
    double sum = 0;
    *magnitude = 0;
    for (int p = 0; p < 36; p++) {
        const double term = ti[p / 6] * tj[p % 6] * (double)d[p][c];
        sum += term;
        *magnitude += fabs(term);
    }
    return sum;
}

// A transform is at most 5 additions each way: 10 roundings of half an FLT_EPSILON.
static void winograds_transforms_are_two_sided_matrix_products(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    for (int64_t c = k->vlen; c <= 3 * k->vlen; c += k->vlen) {
        const int64_t plane = c + 16, out_ld = c + 5;
        float *x = floats(36 * plane, 1), *v = floats(36 * plane, 2), *y = floats(16 * out_ld, 3);
        const float *rows[36];
        for (int p = 0; p < 36; p++)
            rows[p] = x + p * plane;
        double magnitude;
        k->wino_input(rows, c, v, plane, k->vlen);
        for (int p = 0; p < 36; p++)
            for (int64_t i = 0; i < c; i++) {
                const double want = transformed(BT[p / 6], BT[p % 6], rows, i, &magnitude);
                assert_near(v[p * plane + i], want, 5 * (double)FLT_EPSILON * magnitude,
                            "input point %d", p);
            }
        k->wino_output(x, plane, c, y, out_ld);
        for (int p = 0; p < 16; p++)
            for (int64_t i = 0; i < c; i++) {
                const double want = transformed(AT[p / 4], AT[p % 4], rows, i, &magnitude);
                assert_near(y[p * out_ld + i], want, 5 * (double)FLT_EPSILON * magnitude,
                            "output pixel %d", p);
            }
        aleat_free(x);
        aleat_free(v);
        aleat_free(y);
    }
}

/** <x, y> of n points of c channels each, at channel i, and of magnitudes. */
static double points_dot(const float *x, int64_t x_ld, const float *y, int64_t y_ld, int n,
                         int64_t i, double *magnitude)
{
    double sum = 0;
    *magnitude = 0;
    for (int p = 0; p < n; p++) {
        const double term = (double)x[p * x_ld + i] * (double)y[p * y_ld + i];
        sum += term;
        *magnitude += fabs(term);
    }
    return sum;
}

// <A^T m A, y> = <m, A y A^T>. A's entries are up to 8 each way, so magnitudes up to 64 cancel.
static void winograds_adjoint_output_is_the_adjoint(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    for (int64_t c = k->vlen; c <= 2 * k->vlen; c += k->vlen) {
        const int64_t plane = c + 16;
        float *m = floats(36 * plane, 1), *y = floats(16 * c, 2);
        float *out = floats(16 * c, 3), *adjoint = floats(36 * plane, 4);
        const float *rows[16];
        for (int p = 0; p < 16; p++)
            rows[p] = y + p * c;
        k->wino_output(m, plane, c, out, c);
        k->wino_output_adjoint(rows, c, adjoint, plane, k->vlen);
        for (int64_t i = 0; i < c; i++) {
            double forward, reverse;
            const double want = points_dot(out, c, y, c, 16, i, &forward);
            const double got = points_dot(m, plane, adjoint, plane, 36, i, &reverse);
            assert_near((float)got, want, 32 * (double)FLT_EPSILON * (forward + reverse),
                        "channel %d", (int)i);
        }
        aleat_free(m);
        aleat_free(y);
        aleat_free(out);
        aleat_free(adjoint);
    }
}

static const double GT[3][6] = {{1.0 / 4, -1.0 / 6, -1.0 / 6, 1.0 / 24, 1.0 / 24, 0},
                                {0, -1.0 / 6, 1.0 / 6, 1.0 / 12, -1.0 / 12, 0},
                                {0, -1.0 / 6, -1.0 / 6, 1.0 / 6, 1.0 / 6, 1}};

static void winograds_adjoint_filters_are_two_sided_matrix_products(void **state)
{
    (void)state;
    FOR_EACH_ISA(k)
    {
        const int64_t plane = k->vlen + 7;
        float *u = floats(36 * plane, 1), *g = floats(9 * k->vlen, 2);
        const float *rows[36];
        for (int p = 0; p < 36; p++)
            rows[p] = u + p * plane;
        k->wino_filter_adjoint(u, plane, g);
        for (int p = 0; p < 9; p++)
            for (int64_t i = 0; i < k->vlen; i++) {
                double magnitude;
                const double want = transformed(GT[p / 3], GT[p % 3], rows, i, &magnitude);
                assert_near(g[p * k->vlen + i], want, 5 * (double)FLT_EPSILON * magnitude, "tap %d",
                            p);
            }
        aleat_free(u);
        aleat_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(igemm_is_the_matrix_product_at_every_tile_size),
        cmocka_unit_test(gemm_tn_is_the_product_of_a_transposed_matrix),
        cmocka_unit_test(igemm_bf16_is_exact_but_for_its_f32_sums),
        cmocka_unit_test(to_bf16_rounds_to_nearest_even_and_keeps_nan),
        cmocka_unit_test(map_is_every_function_within_its_rounding),
        cmocka_unit_test(map_grad_is_the_slope_times_the_cotangent),
        cmocka_unit_test(finish_adds_scales_and_applies_and_touches_nothing_else),
        cmocka_unit_test(scale_rows_is_a_line_and_a_function),
        cmocka_unit_test(moments_are_added_to_doubles_about_a_pivot),
        cmocka_unit_test(scale_rows_grad_is_the_slope_and_its_two_sums),
        cmocka_unit_test(pool_takes_the_mean_or_the_largest_of_a_window),
        cmocka_unit_test(exp_rows_and_max_rows_make_a_softmax),
        cmocka_unit_test(normalize_rows_has_mean_0_and_variance_1),
        cmocka_unit_test(winograds_transforms_are_two_sided_matrix_products),
        cmocka_unit_test(winograds_adjoint_output_is_the_adjoint),
        cmocka_unit_test(winograds_adjoint_filters_are_two_sided_matrix_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
