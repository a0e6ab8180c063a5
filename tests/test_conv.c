/* The convolution driver against the definition, in double; and that neither batch nor threads
 * show in its results. */
#include "numbers.h"

#include "kernels/conv.h"
#include "tensor/tensor.h"

typedef struct conv_case {
    int64_t images, in_h, in_w, c_in, c_out, kernel_h, kernel_w, stride;
    int64_t pad_top, pad_left, pad_bottom, pad_right;
    int64_t upsample, dilate;
} conv_case;

static const conv_case cases[] = {
    {2, 9, 7, 3, 5, 1, 1, 1, 0, 0, 0, 0, 1, 1},     // 1 x 1: a linear layer
    {2, 8, 8, 7, 17, 2, 2, 1, 0, 1, 1, 0, 1, 1},    // even kernel, uneven padding
    {1, 13, 6, 16, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1},  // Winograd with overhang below and right
    {3, 4, 4, 16, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1},   // Winograd, whole tiles
    {1, 33, 31, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1}, // more tiles than one group shares
    {2, 6, 5, 48, 80, 3, 3, 1, 0, 2, 1, 0, 1, 1},   // uneven padding of a Winograd
    {2, 1, 1, 16, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1},    // one pixel
    {2, 5, 6, 16, 9, 3, 3, 1, 1, 1, 1, 1, 2, 1},    // enlarged twice first
    {2, 12, 12, 3, 40, 4, 4, 4, 0, 0, 0, 0, 1, 1},  // patches
    {1, 11, 9, 8, 16, 5, 3, 1, 2, 1, 2, 1, 1, 1},   // another height than width
    {2, 9, 8, 17, 7, 3, 3, 2, 0, 0, 1, 1, 1, 1},    // stride 2, padded below and right
    {2, 9, 8, 16, 7, 3, 3, 2, 1, 1, 1, 1, 1, 1},    // stride 2, odd height
    {1, 5, 4, 7, 16, 3, 3, 1, 2, 2, 2, 2, 1, 2},    // dilated input
    {3, 9, 9, 112, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1},  // channels in several blocks
    {1, 40, 40, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1},   // one channel
};
enum { N_CASES = sizeof cases / sizeof *cases };

static int64_t seen(int64_t n, const conv_case *c) // pixels of the enlarged or dilated input
{
    return c->dilate > 1 ? (n - 1) * c->dilate + 1 : n * c->upsample;
}

static aleat_conv_geometry geometry_of(const conv_case *c)
{
    return (aleat_conv_geometry){
        .images = c->images,
        .in_h = c->in_h,
        .in_w = c->in_w,
        .out_h = (seen(c->in_h, c) + c->pad_top + c->pad_bottom - c->kernel_h) / c->stride + 1,
        .out_w = (seen(c->in_w, c) + c->pad_left + c->pad_right - c->kernel_w) / c->stride + 1,
        .stride = c->stride,
        .pad_top = c->pad_top,
        .pad_left = c->pad_left,
        .upsample = c->upsample,
        .dilate = c->dilate,
        .x_ld = c->c_in,
        .y_ld = c->c_out};
}

static int64_t weights_of(const conv_case *c)
{
    return c->c_out * c->c_in * c->kernel_h * c->kernel_w;
}

// The pixel that an output's tap falls on, or NULL where it is a zero.
static const float *tap(const conv_case *c, const aleat_conv_geometry *g, const float *x,
                        int64_t image, int64_t iy, int64_t ix)
{
    const int64_t step = c->dilate > 1 ? c->dilate : 1;
    if (iy < 0 || ix < 0 || iy >= seen(c->in_h, c) || ix >= seen(c->in_w, c) || iy % step ||
        ix % step)
        return NULL;
    const int64_t sy = iy / step / c->upsample, sx = ix / step / c->upsample;
    return x + ((image * c->in_h + sy) * c->in_w + sx) * g->x_ld;
}

// y[image, oy, ox, o] by the definition; of magnitudes if `absolute`.
static double *naive(const conv_case *c, const aleat_conv_geometry *g, const float *x,
                     const float *w, bool absolute)
{
    double *y = doubles(g->images * g->out_h * g->out_w * c->c_out);
    for (int64_t p = 0; p < g->images * g->out_h * g->out_w; p++)
        for (int64_t t = 0; t < c->kernel_h * c->kernel_w; t++) {
            const int64_t ky = t / c->kernel_w, kx = t % c->kernel_w;
            const int64_t oy = p / g->out_w % g->out_h, ox = p % g->out_w;
            const float *row =
                tap(c, g, x, p / (g->out_h * g->out_w), oy * c->stride + ky - c->pad_top,
                    ox * c->stride + kx - c->pad_left);
            for (int64_t o = 0; row && o < c->c_out; o++)
                for (int64_t i = 0; i < c->c_in; i++) {
                    const double v =
                        (double)row[i] *
                        (double)w[((o * c->c_in + i) * c->kernel_h + ky) * c->kernel_w + kx];
                    y[p * c->c_out + o] += absolute ? fabs(v) : v;
                }
        }
    return y;
}

static bool can(const aleat_kernels *k, aleat_conv_algorithm algorithm, const conv_case *c)
{
    if (!aleat_conv_is_winograd(algorithm))
        return algorithm == ALEAT_CONV_DIRECT || k->igemm_bf16;
    return (c->kernel_h == 3 && c->kernel_w == 3 && c->stride == 1 && c->c_in % k->vlen == 0);
}

// The largest relative error of a weight as it is stored (of f16: of those that are not subnormal,
// whose error is below 2^-25; a weight here is below 2^-14 once in 16,000 times).
static double stored_error(aleat_conv_algorithm algorithm)
{
    if (algorithm == ALEAT_CONV_DIRECT_BF16 || algorithm == ALEAT_CONV_WINOGRAD_LATE_BF16)
        return 0x1p-8;
    return algorithm == ALEAT_CONV_WINOGRAD_LATE_F16 ? 0x1p-11 : 0;
}

static void run(const aleat_kernels *k, aleat_conv_algorithm algorithm, const aleat_filter *filter,
                const aleat_conv_geometry *g, const float *x, float *y, const aleat_epilogue *e,
                int threads)
{
    aleat_packed packed;
    assert_true(aleat_packed_make(&packed, k, algorithm, filter, threads));
    void *scratch = aleat_alloc(aleat_conv_scratch(k, &packed, g, threads));
    assert_non_null(scratch);
    aleat_conv_run(k, &packed, g, x, y, e, scratch, threads);
    aleat_free(scratch);
    aleat_packed_free(&packed);
}

static const aleat_epilogue plain = {.scale = 1};

/*
 * Error of an output, over the sum of the magnitudes of its terms. Direct: a rounding a term; bf16:
 * that of each factor on top. Winograd's transforms enlarge what is rounded inside: for a sum of
 * one channel by at most |A|^2 |B|^2 |G|^2 of the largest rows of the three matrices, which no data
 * come near; the project's bound is on the whole array: relative L2 error 4e-6. Rounded filters
 * move every term by their own error, whatever becomes of it.
 */
static void check(aleat_conv_algorithm algorithm, const conv_case *c, const float *y,
                  const double *want, const double *magnitude, int64_t n, const char *isa)
{
    double error = 0, norm = 0, magnitudes = 0;
    const bool winograd = aleat_conv_is_winograd(algorithm);
    const double terms = (double)(c->kernel_h * c->kernel_w * c->c_in);
    const double bound = terms * (double)FLT_EPSILON + 2.01 * stored_error(algorithm);
    for (int64_t i = 0; i < n; i++) {
        error += pow((double)y[i] - want[i], 2);
        norm += want[i] * want[i];
        magnitudes += magnitude[i] * magnitude[i];
        if (!winograd)
            assert_near(y[i], want[i], bound * magnitude[i], "%s case %d algorithm %d", isa,
                        (int)(c - cases), (int)algorithm);
    }
    if (winograd)
        assert_near(sqrt(error), 0, 4e-6 * sqrt(norm) + stored_error(algorithm) * sqrt(magnitudes),
                    "%s case %d algorithm %d", isa, (int)(c - cases), (int)algorithm);
}

static void every_algorithm_is_the_convolution(void **state)
{
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        const conv_case *c = &cases[i];
        const aleat_conv_geometry g = geometry_of(c);
        const int64_t n = g.images * g.out_h * g.out_w * c->c_out;
        float *x = floats(g.images * c->in_h * c->in_w * c->c_in, 1);
        float *w = floats(weights_of(c), 2), *y = floats(n, 3);
        aleat_filter filter = aleat_filter_of(w, c->c_out, c->c_in, c->kernel_h, c->kernel_w);
        filter.tap_step = c->dilate;
        double *want = naive(c, &g, x, w, false), *magnitude = naive(c, &g, x, w, true);
        FOR_EACH_ISA(k)
        for (aleat_conv_algorithm a = 0; a < ALEAT_CONV_ALGORITHM_COUNT; a++)
            if (can(k, a, c)) {
                run(k, a, &filter, &g, x, y, &plain, 2);
                check(a, c, y, want, magnitude, n, aleat_isa_name(k->isa));
            }
        aleat_free(x);
        aleat_free(w);
        aleat_free(y);
        aleat_free(want);
        aleat_free(magnitude);
    }
}

// x and y are parts of wider arrays, and the residual is the output itself.
static void the_epilogue_is_applied_and_arrays_may_be_parts_of_wider_ones(void **state)
{
    (void)state;
    const conv_case c = {3, 7, 6, 16, 21, 3, 3, 1, 1, 1, 1, 1, 1, 1};
    aleat_conv_geometry g = geometry_of(&c);
    g.x_ld = c.c_in + 16;
    g.y_ld = c.c_out + 9;
    const int64_t rows = g.images * g.out_h * g.out_w;
    float *x = floats(g.images * c.in_h * c.in_w * g.x_ld, 1), *w = floats(weights_of(&c), 2);
    float *bias = floats(c.c_out, 3), *vec = floats(g.images * c.c_out, 4);
    const aleat_filter filter = aleat_filter_of(w, c.c_out, c.c_in, 3, 3);
    double *sums = naive(&c, &g, x, w, false);
    FOR_EACH_ISA(k)
    for (aleat_conv_algorithm a = 0; a < ALEAT_CONV_ALGORITHM_COUNT; a++)
        for (int terms = 0; terms < 8 && can(k, a, &c); terms++) {
            float *y = floats(rows * g.y_ld, 5), *before = floats(rows * g.y_ld, 5);
            const aleat_fn act = (aleat_fn)(terms % ALEAT_FN_COUNT);
            const aleat_epilogue e = {.bias = terms & 1 ? bias : NULL,
                                      .vec = terms & 2 ? vec : NULL,
                                      .vec_ld = c.c_out,
                                      .residual = terms & 4 ? y : NULL,
                                      .residual_ld = g.y_ld,
                                      .scale = 0.125f,
                                      .act = act};
            run(k, a, &filter, &g, x, y, &e, 2);
            for (int64_t i = 0; i < rows * g.y_ld; i++) {
                const int64_t row = i / g.y_ld, o = i % g.y_ld;
                if (o >= c.c_out) {
                    assert_true(y[i] == before[i]);
                    continue;
                }
                double z = sums[row * c.c_out + o];
                z += e.bias ? (double)bias[o] : 0;
                z += e.vec ? (double)vec[row / (g.out_h * g.out_w) * c.c_out + o] : 0;
                z += e.residual ? (double)before[i] : 0;
                // The sums are right by the test above (|sum| < 144); here it is who is added.
                assert_near(y[i], function_of(act, z / 8), 1e-4 + 144 * 2 * stored_error(a) / 8,
                            "algorithm %d terms %d", (int)a, terms);
            }
            aleat_free(y);
            aleat_free(before);
        }
    float *const arrays[] = {x, w, bias, vec};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        aleat_free(arrays[i]);
    aleat_free(sums);
}

static double inner(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

// <conv(x), y> = <x, adjoint(y)>; a stride becomes a dilation, padding its complement.
static void the_adjoint_filter_gives_the_transposed_convolution(void **state)
{
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        const conv_case *c = &cases[i];
        if (c->upsample > 1 || c->dilate > 1)
            continue;
        const aleat_conv_geometry g = geometry_of(c);
        aleat_conv_geometry back = {.images = g.images,
                                    .in_h = g.out_h,
                                    .in_w = g.out_w,
                                    .out_h = g.in_h,
                                    .out_w = g.in_w,
                                    .stride = 1,
                                    .pad_top = c->kernel_h - 1 - g.pad_top,
                                    .pad_left = c->kernel_w - 1 - g.pad_left,
                                    .upsample = 1,
                                    .dilate = g.stride,
                                    .x_ld = g.y_ld,
                                    .y_ld = g.x_ld};
        const conv_case turned = {
            .kernel_h = c->kernel_h, .kernel_w = c->kernel_w, .c_in = c->c_out, .stride = g.stride};
        const int64_t n_x = g.images * g.in_h * g.in_w * c->c_in;
        const int64_t n_y = g.images * g.out_h * g.out_w * c->c_out;
        float *x = floats(n_x, 1), *w = floats(weights_of(c), 2), *y = floats(n_y, 3);
        float *cx = floats(n_y, 4), *ay = floats(n_x, 5);
        const aleat_filter f = aleat_filter_of(w, c->c_out, c->c_in, c->kernel_h, c->kernel_w);
        aleat_filter adjoint = aleat_filter_adjoint(&f);
        adjoint.tap_step = g.stride;
        double *magnitudes = naive(c, &g, x, w, true), all = 0;
        for (int64_t j = 0; j < n_y; j++)
            all += magnitudes[j] * fabs((double)y[j]);
        FOR_EACH_ISA(k)
        for (aleat_conv_algorithm a = 0; a < ALEAT_CONV_ALGORITHM_COUNT; a++) {
            if (!can(k, a, &turned) || stored_error(a) > 0)
                continue;
            run(k, ALEAT_CONV_DIRECT, &f, &g, x, cx, &plain, 1);
            run(k, a, &adjoint, &back, y, ay, &plain, 1);
            // Errors of random sign: of thousands of terms the sum is far below one rounding each.
            assert_near(inner(cx, y, n_y), inner(x, ay, n_x), 2 * (double)FLT_EPSILON * all,
                        "case %d algorithm %d", i, (int)a);
        }
        float *const arrays[] = {x, w, y, cx, ay};
        for (size_t j = 0; j < sizeof arrays / sizeof *arrays; j++)
            aleat_free(arrays[j]);
        aleat_free(magnitudes);
    }
}

static void an_adjoint_of_an_adjoint_is_the_filter(void **state)
{
    (void)state;
    float w[2 * 3 * 5 * 3] = {0};
    const aleat_filter f = aleat_filter_of(w, 2, 3, 5, 3), a = aleat_filter_adjoint(&f);
    const aleat_filter again = aleat_filter_adjoint(&a);
    assert_memory_equal(&again, &f, sizeof f);
}

// Bit by bit, for every algorithm: seven images at once or one by one, on 1, 2 or 3 threads.
static void images_come_out_the_same_bits_in_any_batch_on_any_threads(void **state)
{
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        conv_case c = cases[i];
        c.images = 7;
        const aleat_conv_geometry g = geometry_of(&c);
        aleat_conv_geometry one = g;
        one.images = 1;
        const int64_t size_x = c.in_h * c.in_w * c.c_in, size_y = g.out_h * g.out_w * c.c_out;
        float *x = floats(7 * size_x, 1), *w = floats(weights_of(&c), 2);
        float *vec = floats(7 * c.c_out, 3), *y = floats(7 * size_y, 4), *z = floats(size_y, 5);
        aleat_filter f = aleat_filter_of(w, c.c_out, c.c_in, c.kernel_h, c.kernel_w);
        f.tap_step = c.dilate;
        FOR_EACH_ISA(k)
        for (aleat_conv_algorithm a = 0; a < ALEAT_CONV_ALGORITHM_COUNT; a++)
            for (int threads = 1; threads <= 3 && can(k, a, &c); threads++) {
                const aleat_epilogue e = {
                    .vec = i % 2 ? vec : NULL, .vec_ld = c.c_out, .scale = 1, .act = ALEAT_FN_SILU};
                run(k, a, &f, &g, x, y, &e, threads);
                for (int64_t image = 0; image < 7; image++) {
                    aleat_epilogue alone = e;
                    alone.vec = e.vec ? vec + image * c.c_out : NULL;
                    run(k, a, &f, &one, x + image * size_x, z, &alone, 1);
                    assert_memory_equal(z, y + image * size_y, (size_t)size_y * sizeof *z);
                }
            }
        float *const arrays[] = {x, w, vec, y, z};
        for (size_t j = 0; j < sizeof arrays / sizeof *arrays; j++)
            aleat_free(arrays[j]);
    }
}

// Bit by bit: what is of the type of its form already loses nothing, and the arithmetic is the
// same.
static void late_filters_of_two_bytes_give_the_bits_of_the_same_values_in_f32(void **state)
{
    (void)state;
    const conv_case c = {2, 9, 8, 112, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1};
    const aleat_conv_geometry g = geometry_of(&c);
    const int64_t n = g.images * g.out_h * g.out_w * c.c_out;
    float *x = floats(g.images * c.in_h * c.in_w * c.c_in, 1), *y = floats(n, 3), *z = floats(n, 4);
    for (int f16 = 0; f16 < 2; f16++) {
        float *w = floats(weights_of(&c), 2);
        const aleat_filter filter = aleat_filter_of(w, c.c_out, c.c_in, 3, 3);
        for (int64_t i = 0; i < weights_of(&c); i++)
            w[i] = f16 ? aleat_f16_to_f32(aleat_f32_to_f16(w[i] * 0x1p-12f)) // many are subnormal
                       : aleat_bf16_to_f32(aleat_f32_to_bf16(w[i]));
        FOR_EACH_ISA(k)
        {
            run(k, ALEAT_CONV_WINOGRAD_LATE, &filter, &g, x, y, &plain, 2);
            run(k, f16 ? ALEAT_CONV_WINOGRAD_LATE_F16 : ALEAT_CONV_WINOGRAD_LATE_BF16, &filter, &g,
                x, z, &plain, 2);
            assert_memory_equal(y, z, (size_t)n * sizeof *y);
        }
        aleat_free(w);
    }
    aleat_free(x);
    aleat_free(y);
    aleat_free(z);
}

// Packed weights are bytes of each thread's own: channels that one chunk holds, and more.
static void threads_share_packing_and_do_not_show(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{70, 112}, {5, 32}, {16, 48}, {9, 3}}; // c_out, c_in
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int flipped = 0; flipped < 2; flipped++) {
            const int64_t c_out = sizes[i][flipped], c_in = sizes[i][1 - flipped];
            const conv_case c = {.c_in = c_in, .kernel_h = 3, .kernel_w = 3, .stride = 1};
            float *w = floats(c_out * c_in * 9, 1);
            aleat_filter f = aleat_filter_of(w, c_out, c_in, 3, 3);
            if (flipped) {
                f = aleat_filter_of(w, c_in, c_out, 3, 3);
                f = aleat_filter_adjoint(&f);
            }
            FOR_EACH_ISA(k)
            for (aleat_conv_algorithm a = 0; a < ALEAT_CONV_ALGORITHM_COUNT; a++) {
                aleat_packed one, three;
                if (!can(k, a, &c))
                    continue;
                assert_true(aleat_packed_make(&one, k, a, &f, 1));
                assert_true(aleat_packed_make(&three, k, a, &f, 3));
                assert_int_equal(one.bytes, three.bytes);
                assert_memory_equal(one.data, three.data, one.bytes);
                aleat_packed_free(&one);
                aleat_packed_free(&three);
            }
            aleat_free(w);
        }
}

// u[p] of output o, input i among Winograd's packed filters.
static float packed_point(const aleat_kernels *k, const aleat_packed *w, int64_t o, int64_t i,
                          int p)
{
    const int64_t col = o / k->panel * k->panel, left = w->c_out - col;
    const int64_t n = left < k->panel ? left : k->panel;
    const int64_t width = (n + k->vlen - 1) / k->vlen * k->vlen;
    return ((const float *)w->data)[col * w->lines + (p * w->c_in + i) * width + o - col];
}

// One rounding to float of sums in double, whose own error is far below it: half an FLT_EPSILON of
// the value, and 2^-50 of the largest tap where it cancels. In the same order everywhere.
static void winograds_packed_filters_are_rounded_once_and_the_same_for_every_instruction_set(
    void **state)
{
    (void)state;
    static const double G[6][3] = {{1.0 / 4, 0, 0},
                                   {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                   {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                   {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                   {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                   {0, 0, 1}};
    enum { C_OUT = 70, C_IN = 32, N = C_OUT * C_IN * 36 };
    float *w = floats((int64_t)C_OUT * C_IN * 9, 1), *first = floats(N, 2);
    const aleat_filter f = aleat_filter_of(w, C_OUT, C_IN, 3, 3);
    FOR_EACH_ISA(k)
    {
        aleat_packed packed;
        assert_true(aleat_packed_make(&packed, k, ALEAT_CONV_WINOGRAD, &f, 2));
        for (int64_t j = 0; j < N; j++) {
            const int p = (int)(j % 36);
            const float got = packed_point(k, &packed, j / 36 / C_IN, j / 36 % C_IN, p);
            double want = 0;
            for (int tap = 0; tap < 9; tap++)
                want += G[p / 6][tap / 3] * G[p % 6][tap % 3] * (double)w[j / 36 * 9 + tap];
            assert_near(got, want, 0.5 * (double)FLT_EPSILON * fabs(want) + 0x1p-50,
                        "%s element %d", aleat_isa_name(k->isa), (int)j);
            if (k->isa == ALEAT_ISA_C)
                first[j] = got;
            assert_true(got == first[j]);
        }
        aleat_packed_free(&packed);
    }
    aleat_free(w);
    aleat_free(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_algorithm_is_the_convolution),
        cmocka_unit_test(the_epilogue_is_applied_and_arrays_may_be_parts_of_wider_ones),
        cmocka_unit_test(the_adjoint_filter_gives_the_transposed_convolution),
        cmocka_unit_test(an_adjoint_of_an_adjoint_is_the_filter),
        cmocka_unit_test(images_come_out_the_same_bits_in_any_batch_on_any_threads),
        cmocka_unit_test(late_filters_of_two_bytes_give_the_bits_of_the_same_values_in_f32),
        cmocka_unit_test(threads_share_packing_and_do_not_show),
        cmocka_unit_test(
            winograds_packed_filters_are_rounded_once_and_the_same_for_every_instruction_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
