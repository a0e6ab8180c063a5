#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "io/json.h"
#include "mock_denoisers.h"
#include "reference.h"
#include "samplers/prediction.h"
#include "tensor/tensor.h"
#include "uncertainty/observer.h"

static const aleat_clip no_clip = {.range = 1, .ratio = 0.995, .max = 1};
static const uint32_t numbers[64] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
                                     14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
                                     28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40};

static aleat_noisy_state state_at(int64_t n, int64_t height, int64_t width, double abar,
                                  const float *x, const float *eps, const float *x0)
{
    return (aleat_noisy_state){.n = n,
                               .height = height,
                               .width = width,
                               .images = numbers,
                               .alpha = sqrt(abar),
                               .sigma = sqrt(1 - abar),
                               .x = x,
                               .eps = eps,
                               .x0 = x0,
                               .clip = &no_clip};
}

static aleat_estimator_options ask(int copies, const char *first, const char *second)
{
    aleat_estimator_options o = {.copies = copies};
    o.statistics[0] = aleat_statistic_find(first);
    o.statistics[1] = second ? aleat_statistic_find(second) : NULL;
    return o;
}

static void estimate(const aleat_denoiser *denoiser, aleat_prediction prediction,
                     const aleat_estimator_options *options, const aleat_noisy_state *state,
                     const aleat_noise_source *noise, float *const *maps)
{
    aleat_estimator *estimator = NULL;
    aleat_error err = {0};
    aleat_status st = aleat_estimator_new(&estimator, denoiser, prediction, options, state->n,
                                          state->height, state->width, &err);
    if (!st)
        st = aleat_estimator_run(estimator, state, noise, maps, &err);
    if (st)
        fail_msg("%s", err.message);
    aleat_estimator_free(estimator);
}

// The analytic cases of the reference suite: what they share.
typedef struct analytic {
    const char *folder, *abar;
    const char *z; // of the case: its own for each level, or one for all
    mock_data data;
    reference held[8]; // arrays that data points into
    int n_held;
    float *x, *eps, *x0;
    reference want_x, draws;
    int64_t n, count;
} analytic;

static const double *hold(analytic *a, reference r)
{
    a->held[a->n_held++] = r;
    return r.data;
}

static void load_state(analytic *a, reference x)
{
    static double abar;
    abar = strtod(a->abar, NULL);
    a->data.clock = MOCK_FIXED;
    a->data.abar = &abar;
    a->data.n_abar = 1;
    a->want_x = x;
    a->count = a->data.channels * a->data.height * a->data.width;
    a->n = x.count / a->count;
    a->x = reference_f32(&x);
    a->eps = calloc((size_t)x.count, sizeof(float));
    a->x0 = calloc((size_t)x.count, sizeof(float));
    double *wide = calloc((size_t)a->count, sizeof *wide),
           *out = calloc((size_t)a->count, sizeof *out);
    for (int64_t i = 0; i < a->n; i++) {
        for (int64_t j = 0; j < a->count; j++)
            wide[j] = (double)a->x[i * a->count + j];
        mock_predict(&a->data, 0, wide, out);
        for (int64_t j = 0; j < a->count; j++)
            a->eps[i * a->count + j] = (float)out[j];
    }
    free(wide);
    free(out);
    aleat_x0_of_eps(sqrt(abar), sqrt(1 - abar), a->x, a->eps, a->x0, x.count);
}

static analytic load_gaussian(const char *abar)
{
    static const double weight = 1, spread = 0;
    analytic a = {.folder = "analytic-gaussian", .abar = abar};
    a.data = (mock_data){.channels = 3,
                         .height = 2,
                         .width = 2,
                         .components = 1,
                         .weight = &weight,
                         .spread = &spread};
    a.data.mean = hold(&a, reference_load("analytic-gaussian/mean_f64.npy"));
    a.data.covariance = hold(&a, reference_load("analytic-gaussian/cov_f64.npy"));
    a.draws = reference_load("analytic-gaussian/abar%s_z_f64.npy", abar);
    load_state(&a, reference_load("analytic-gaussian/abar%s_x_f64.npy", abar));
    return a;
}

static analytic load_line(const char *abar)
{
    analytic a = {.folder = "analytic-gmm1d", .abar = abar};
    a.data = (mock_data){.channels = 1, .height = 1, .width = 1};
    a.data.weight = hold(&a, reference_load("analytic-gmm1d/weights_f64.npy"));
    a.data.components = (int)a.held[0].count;
    a.data.spread = hold(&a, reference_load("analytic-gmm1d/sigmas_f64.npy"));
    a.data.mean = hold(&a, reference_load("analytic-gmm1d/means_f64.npy"));
    a.draws = reference_load("analytic-gmm1d/z_f64.npy");
    load_state(&a, reference_load("analytic-gmm1d/x_f64.npy"));
    return a;
}

static analytic load_image(const char *abar)
{
    static const double weight[2] = {0.4, 0.6}, spread[2] = {0.25, 0.25}; // the manifest's
    static double mean[32];
    analytic a = {.folder = "analytic-gmm-image", .abar = abar};
    for (int k = 0; k < 2; k++) {
        reference r = reference_load("analytic-gmm-image/mean%d_f64.npy", k + 1);
        memcpy(mean + 16 * k, r.data, 16 * sizeof *mean);
        reference_free(&r);
    }
    a.data = (mock_data){.channels = 1,
                         .height = 4,
                         .width = 4,
                         .components = 2,
                         .weight = weight,
                         .spread = spread,
                         .mean = mean};
    a.draws = reference_load("analytic-gmm-image/abar%s_z_f64.npy", abar);
    load_state(&a, reference_load("analytic-gmm-image/abar%s_x_f64.npy", abar));
    return a;
}

static void free_analytic(analytic *a)
{
    for (int k = 0; k < a->n_held; k++)
        reference_free(&a->held[k]);
    reference_free(&a->want_x);
    reference_free(&a->draws);
    free(a->x);
    free(a->eps);
    free(a->x0);
}

static const struct {
    analytic (*load)(const char *abar);
    const char *abar;
} analytic_cases[] = {
    {load_gaussian, "0.02"}, {load_gaussian, "0.3"}, {load_gaussian, "0.7"},
    {load_gaussian, "0.98"}, {load_line, "0.05"},    {load_line, "0.5"},
    {load_line, "0.9"},      {load_line, "0.995"},   {load_image, "0.1"},
    {load_image, "0.6"},     {load_image, "0.95"},
};
enum { N_ANALYTIC = sizeof analytic_cases / sizeof *analytic_cases };

// |got - want| <= tolerance * max |want|
static void assert_map(const float *got, const analytic *a, const char *name, double tolerance)
{
    reference want = reference_load("%s/abar%s_%s_f64.npy", a->folder, a->abar, name);
    const double error = max_error(got, want.data, want.count);
    if (!(error <= tolerance))
        fail_msg("%s, abar %s, %s: error %g", a->folder, a->abar, name, error);
    reference_free(&want);
}

static aleat_noise_arrays draws_of(const analytic *a, float *z)
{
    return (aleat_noise_arrays){
        .copy = z, .images = a->n, .count = a->count, .copies = 5, .copy_steps = 1};
}

// The cases' own draws: their f32 tolerance, 2e-5 of the largest value.
static void maps_of_stored_draws_agree_with_closed_forms(void **state)
{
    (void)state;
    for (int k = 0; k < N_ANALYTIC; k++) {
        analytic a = analytic_cases[k].load(analytic_cases[k].abar);
        aleat_denoiser denoiser = mock_denoiser(&a.data);
        float *z = reference_f32(&a.draws);
        aleat_noise_arrays stored = draws_of(&a, z);
        const aleat_noise_source noise = aleat_noise_from_arrays(&stored);
        const aleat_estimator_options options = ask(5, "eps-var", "eps-mse");
        const aleat_noisy_state at =
            state_at(a.n, a.data.height, a.data.width, strtod(a.abar, NULL), a.x, a.eps, a.x0);
        float maps[2][64], *const out[2] = {maps[0], maps[1]};
        estimate(&denoiser, ALEAT_PREDICTS_EPSILON, &options, &at, &noise, out);
        assert_map(a.eps, &a, "eps", 2e-5);
        assert_map(maps[0], &a, "U_M_unbiased", 2e-5);
        assert_map(maps[1], &a, "U_M_centred", 2e-5);
        free(z);
        aleat_denoiser_destroy(&denoiser);
        free_analytic(&a);
    }
}

// Forty runs of 500 copies: their mean is within 5 of its standard errors of the exact value.
static void maps_approach_their_expectation(void **state)
{
    (void)state;
    enum { RUNS = 40, COPIES = 500 };
    for (int k = 0; k < N_ANALYTIC; k++) {
        analytic a = analytic_cases[k].load(analytic_cases[k].abar);
        aleat_denoiser denoiser = mock_denoiser(&a.data);
        const aleat_estimator_options options = ask(COPIES, "eps-var", NULL);
        aleat_noisy_state at =
            state_at(a.n, a.data.height, a.data.width, strtod(a.abar, NULL), a.x, a.eps, a.x0);
        double sum[64] = {0}, square[64] = {0};
        for (uint64_t seed = 0; seed < RUNS; seed++) {
            const aleat_noise_source noise = aleat_noise_philox(seed);
            float map[64], *const out[1] = {map};
            estimate(&denoiser, ALEAT_PREDICTS_EPSILON, &options, &at, &noise, out);
            for (int64_t j = 0; j < a.n * a.count; j++) {
                sum[j] += (double)map[j];
                square[j] += (double)map[j] * (double)map[j];
            }
        }
        reference want = reference_load("%s/abar%s_U_inf_f64.npy", a.folder, a.abar);
        for (int64_t j = 0; j < a.n * a.count; j++) {
            const double mean = sum[j] / RUNS;
            const double error = sqrt((square[j] / RUNS - mean * mean) / (RUNS - 1));
            // for the Gaussian, where all images share U: want has one row or n
            const double exact = want.data[j % want.count];
            if (!(fabs(mean - exact) <= 5 * error + 1e-6 * exact))
                fail_msg("%s, abar %s, element %d: %g +- %g, not %g", a.folder, a.abar, (int)j,
                         mean, error, exact);
        }
        reference_free(&want);
        aleat_denoiser_destroy(&denoiser);
        free_analytic(&a);
    }
}

// Data N(0, v I) re-noised from any x0_hat: D = abar v + s^2.
static void a_gaussian_has_the_known_value_in_every_map(void **state)
{
    (void)state;
    enum { COPIES = 4000, COUNT = 12 };
    const double weight = 1, spread = 0.5, mean[COUNT] = {0}, abar = 0.9, v = 0.25, s2 = 1 - abar;
    const double d = abar * v + s2;
    const mock_data data = {.channels = 3,
                            .height = 2,
                            .width = 2,
                            .components = 1,
                            .weight = &weight,
                            .spread = &spread,
                            .mean = mean,
                            .abar = &abar,
                            .n_abar = 1};
    aleat_denoiser denoiser = mock_denoiser(&data);
    float x[COUNT], eps[COUNT], x0[COUNT], maps[8][COUNT], *out[8];
    aleat_rng_normals(&(aleat_rng_key){.seed = 9}, 0, x, COUNT);
    aleat_estimator_options options = {.copies = COPIES};
    for (int k = 0; k < 8; k++) {
        options.statistics[k] = &aleat_statistics()[k];
        out[k] = maps[k];
    }
    for (int j = 0; j < COUNT; j++)
        eps[j] = (float)(sqrt(s2) * (double)x[j] / d);
    aleat_x0_of_eps(sqrt(abar), sqrt(s2), x, eps, x0, COUNT);
    const aleat_noisy_state at = state_at(1, 2, 2, abar, x, eps, x0);
    const uint64_t seed = 4;
    const aleat_noise_source noise = aleat_noise_philox(seed);
    estimate(&denoiser, ALEAT_PREDICTS_EPSILON, &options, &at, &noise, out);
    const double u = s2 * s2 / (d * d), bound = 5 * sqrt(2.0 / (COPIES - 1));
    for (int j = 0; j < COUNT; j++) {
        const double e0 = (double)eps[j], var = (double)maps[0][j];
        assert_true(fabs(var / u - 1) < bound);
        assert_true(fabs((double)maps[1][j] - var * (COPIES - 1) / COPIES) < 1e-6);
        assert_true(fabs((double)maps[2][j] - sqrt(var)) < 1e-6);
        // E[e_i] = s a x0_hat / D
        const double centre = sqrt(s2 * abar) * (double)x0[j] / d;
        const double spread_of_mean = 5 * sqrt(u / COPIES);
        assert_true(fabs(sqrt(fmax((double)maps[3][j] - (double)maps[1][j], 0)) -
                         fabs(centre - e0)) < spread_of_mean + 1e-3);
        assert_true(fabs(sqrt(fmax((double)maps[4][j] - (double)maps[1][j], 0)) - fabs(centre)) <
                    spread_of_mean + 1e-3);
        // x0_i = x0_hat + (s / a) (z - e): var = (s / a)^2 (1 - s^2 / D)^2
        const double x0_var = s2 / abar * pow(1 - s2 / d, 2);
        assert_true(fabs((double)maps[5][j] / x0_var - 1) < bound);
        // the posterior variance of x0 itself: v s^2 / D
        assert_true(fabs((double)maps[6][j] - v * s2 / d) < 5 * (double)maps[7][j]);
        assert_true(maps[7][j] > 0 && (double)maps[7][j] < 0.1 * v * s2 / d);
    }
    aleat_denoiser_destroy(&denoiser);
}

static void a_point_mass_has_variance_one(void **state)
{
    (void)state;
    enum { COPIES = 4000 };
    const double weight = 1, spread = 0, mean[3] = {0.2, -0.4, 0.9}, abar = 0.7;
    const mock_data data = {.channels = 3,
                            .height = 1,
                            .width = 1,
                            .components = 1,
                            .weight = &weight,
                            .spread = &spread,
                            .mean = mean,
                            .abar = &abar,
                            .n_abar = 1};
    aleat_denoiser denoiser = mock_denoiser(&data);
    const float x[3] = {0.1f, 0.5f, -2}, x0[3] = {0.2f, -0.4f, 0.9f};
    float eps[3], map[3], *const out[1] = {map};
    aleat_eps_of_x0(sqrt(abar), sqrt(1 - abar), x, x0, eps, 3);
    const aleat_noisy_state at = state_at(1, 1, 1, abar, x, eps, x0);
    const aleat_estimator_options options = ask(COPIES, "eps-var", NULL);
    const uint64_t seed = 4;
    const aleat_noise_source noise = aleat_noise_philox(seed);
    estimate(&denoiser, ALEAT_PREDICTS_EPSILON, &options, &at, &noise, out);
    for (int j = 0; j < 3; j++) // e_i = z_i
        assert_true(fabs((double)map[j] - 1) < 5 * sqrt(2.0 / (COPIES - 1)));
    aleat_denoiser_destroy(&denoiser);
}

// By hand from the reference's own copies: U of each kind, and mse = (M-1)/M var + (mean - e0)^2.
static void maps_are_the_statistics_of_the_copies(void **state)
{
    (void)state;
    analytic a = load_image("0.6");
    aleat_denoiser denoiser = mock_denoiser(&a.data);
    aleat_estimator_options options = ask(5, "eps-mse", "eps-var");
    options.statistics[2] = aleat_statistic_find("eps-square");
    options.statistics[3] = aleat_statistic_find("post-var");
    const aleat_noisy_state at = state_at(a.n, 4, 4, 0.6, a.x, a.eps, a.x0);
    float maps[4][64], *const out[4] = {maps[0], maps[1], maps[2], maps[3]};
    float *z = reference_f32(&a.draws);
    aleat_noise_arrays stored = draws_of(&a, z);
    const aleat_noise_source noise = aleat_noise_from_arrays(&stored);
    estimate(&denoiser, ALEAT_PREDICTS_EPSILON, &options, &at, &noise, out);
    reference e = reference_load("analytic-gmm-image/abar0.6_eps_i_f64.npy");
    for (int j = 0; j < 48; j++) {
        double mean = 0, var0 = 0, square = 0, post = 0;
        for (int i = 0; i < 5; i++)
            mean += e.data[48 * i + j] / 5;
        for (int i = 0; i < 5; i++) {
            const double ei = e.data[48 * i + j], zi = (double)z[48 * i + j];
            var0 += (ei - mean) * (ei - mean) / 5;
            square += ei * ei / 5;
            post += zi * (zi - ei) / 5 * 0.4 / 0.6;
        }
        const double bias = mean - (double)a.eps[j];
        assert_true(fabs((double)maps[0][j] - (var0 + bias * bias)) < 1e-5);
        assert_true(fabs((double)maps[1][j] - var0 * 5 / 4) < 1e-5);
        assert_true(fabs((double)maps[2][j] - square) < 1e-5);
        assert_true(fabs((double)maps[3][j] - post) < 1e-5);
    }
    reference_free(&e);
    free(z);
    aleat_denoiser_destroy(&denoiser);
    free_analytic(&a);
}

static void a_wide_clip_is_no_clip(void **state)
{
    (void)state;
    analytic a = load_image("0.6");
    aleat_denoiser denoiser = mock_denoiser(&a.data);
    const aleat_clip wide = {.clamp = true, .range = 100};
    aleat_noisy_state at = state_at(a.n, 4, 4, 0.6, a.x, a.eps, a.x0);
    aleat_estimator_options options = ask(5, "eps-var", "x0-var");
    float maps[2][2][64], *const plain[2] = {maps[0][0], maps[0][1]};
    float *const clipped[2] = {maps[1][0], maps[1][1]};
    const uint64_t seed = 2;
    const aleat_noise_source noise = aleat_noise_philox(seed);
    estimate(&denoiser, ALEAT_PREDICTS_EPSILON, &options, &at, &noise, plain);
    at.clip = &wide;
    estimate(&denoiser, ALEAT_PREDICTS_EPSILON, &options, &at, &noise, clipped);
    for (int k = 0; k < 2; k++)
        for (int64_t j = 0; j < a.n * a.count; j++) // x0 is rounded to f32 on the clipped way
            assert_true(fabsf(maps[0][k][j] - maps[1][k][j]) < 1e-5f);
    // and a narrow one, asked for although the sampler does not clip, is not
    at.clip = &no_clip;
    for (int64_t j = 0; j < a.n * a.count; j++)
        a.x0[j] *= 10;
    options.clip = ALEAT_CLIP_ON;
    estimate(&denoiser, ALEAT_PREDICTS_EPSILON, &options, &at, &noise, clipped);
    assert_true(aleat_relative_l2(maps[1][0], maps[0][0], a.n * a.count) > 1e-2);
    aleat_denoiser_destroy(&denoiser);
    free_analytic(&a);
}

static void score_units_divide_by_the_noise_variance(void **state)
{
    (void)state;
    analytic a = load_image("0.6");
    aleat_denoiser denoiser = mock_denoiser(&a.data);
    const aleat_noisy_state at = state_at(a.n, 4, 4, 0.6, a.x, a.eps, a.x0);
    aleat_estimator_options options = ask(5, "eps-var", "eps-std");
    options.statistics[2] = aleat_statistic_find("x0-var");
    float maps[2][3][64], *const plain[3] = {maps[0][0], maps[0][1], maps[0][2]};
    float *const score[3] = {maps[1][0], maps[1][1], maps[1][2]};
    const uint64_t seed = 2;
    const aleat_noise_source noise = aleat_noise_philox(seed);
    estimate(&denoiser, ALEAT_PREDICTS_EPSILON, &options, &at, &noise, plain);
    options.score_units = true;
    estimate(&denoiser, ALEAT_PREDICTS_EPSILON, &options, &at, &noise, score);
    for (int64_t j = 0; j < a.n * a.count; j++) {
        assert_true(fabsf(maps[1][0][j] * 0.4f - maps[0][0][j]) < 1e-6f);
        assert_true(fabsf(maps[1][1][j] * sqrtf(0.4f) - maps[0][1][j]) < 1e-6f);
        assert_true(maps[1][2][j] == maps[0][2][j]);
    }
    aleat_denoiser_destroy(&denoiser);
    free_analytic(&a);
}

// Networks that predict x0 or v give the same maps as one that predicts eps.
static void every_kind_of_prediction_gives_the_same_maps(void **state)
{
    (void)state;
    float maps[3][48];
    for (int p = 0; p < 3; p++) {
        analytic a = load_image("0.6");
        a.data.output = (aleat_prediction)p;
        aleat_denoiser denoiser = mock_denoiser(&a.data);
        const aleat_noisy_state at = state_at(a.n, 4, 4, 0.6, a.x, a.eps, a.x0);
        const aleat_estimator_options options = ask(5, "eps-var", NULL);
        float *const out[1] = {maps[p]};
        const uint64_t seed = 2;
        const aleat_noise_source noise = aleat_noise_philox(seed);
        estimate(&denoiser, (aleat_prediction)p, &options, &at, &noise, out);
        aleat_denoiser_destroy(&denoiser);
        free_analytic(&a);
    }
    for (int j = 0; j < 48; j++)
        assert_true(fabsf(maps[0][j] - maps[1][j]) < 1e-5f &&
                    fabsf(maps[0][j] - maps[2][j]) < 1e-5f);
}

static void a_map_does_not_depend_on_batch_or_chunks_and_allocates_nothing(void **state)
{
    (void)state;
    analytic a = load_line("0.5"); // 41 images of one element
    aleat_denoiser denoiser = mock_denoiser(&a.data);
    float together[41], alone[41], *const out[1] = {together};
    const uint64_t seed = 2;
    const aleat_noise_source noise = aleat_noise_philox(seed);
    const aleat_noisy_state at = state_at(41, 1, 1, 0.5, a.x, a.eps, a.x0);
    aleat_estimator_options options = ask(5, "eps-var", NULL);
    estimate(&denoiser, ALEAT_PREDICTS_EPSILON, &options, &at, &noise, out);
    for (int64_t rows = 1; rows <= 13; rows += 3) {
        options.max_rows = rows;
        aleat_estimator *estimator = NULL;
        assert_int_equal(aleat_estimator_new(&estimator, &denoiser, ALEAT_PREDICTS_EPSILON,
                                             &options, 7, 1, 1, NULL),
                         ALEAT_OK);
        const uint64_t before = aleat_alloc_count();
        for (int first = 0; first < 41; first += 7) {
            aleat_noisy_state part = state_at(41 - first < 7 ? 41 - first : 7, 1, 1, 0.5,
                                              a.x + first, a.eps + first, a.x0 + first);
            part.images = numbers + first;
            float *const here[1] = {alone + first};
            assert_int_equal(aleat_estimator_run(estimator, &part, &noise, here, NULL), ALEAT_OK);
        }
        assert_int_equal(aleat_alloc_count(), before);
        assert_int_equal(aleat_estimator_nfe(estimator), 6 * 5);
        assert_memory_equal(together, alone, sizeof alone);
        aleat_estimator_free(estimator);
    }
    assert_int_equal(mock_largest_batch(&denoiser), 41 * 5);
    aleat_denoiser_destroy(&denoiser);
    free_analytic(&a);
}

static void an_estimator_that_cannot_be_is_refused(void **state)
{
    (void)state;
    const double weight = 1, spread = 1, mean = 0, abar = 0.5;
    const mock_data data = {.channels = 1,
                            .height = 1,
                            .width = 1,
                            .components = 1,
                            .weight = &weight,
                            .spread = &spread,
                            .mean = &mean,
                            .abar = &abar,
                            .n_abar = 1};
    aleat_denoiser denoiser = mock_denoiser(&data);
    aleat_estimator *estimator = NULL;
    aleat_error err = {0};
    aleat_estimator_options options = ask(1, "eps-var", NULL);
    assert_int_equal(
        aleat_estimator_new(&estimator, &denoiser, ALEAT_PREDICTS_EPSILON, &options, 1, 1, 1, &err),
        ALEAT_ERR_ARGUMENT);
    options = (aleat_estimator_options){.copies = 5};
    assert_int_equal(
        aleat_estimator_new(&estimator, &denoiser, ALEAT_PREDICTS_EPSILON, &options, 1, 1, 1, &err),
        ALEAT_ERR_ARGUMENT);
    assert_null(aleat_statistic_find("eps-mean"));
    options = ask(2, "x0-var", NULL);
    assert_int_equal(
        aleat_estimator_new(&estimator, &denoiser, ALEAT_PREDICTS_EPSILON, &options, 1, 1, 1, &err),
        ALEAT_OK);
    float x = 0, map, *const out[1] = {&map};
    const aleat_noisy_state at = state_at(1, 1, 1, 0, &x, &x, &x);
    const uint64_t seed = 2;
    const aleat_noise_source noise = aleat_noise_philox(seed);
    assert_int_equal(aleat_estimator_run(estimator, &at, &noise, out, &err), ALEAT_ERR_NUMERIC);
    aleat_estimator_free(estimator);
    aleat_denoiser_destroy(&denoiser);
}

static void the_default_window_is_the_papers(void **state)
{
    (void)state;
    static const int cases[][3] = {{50, 45, 49}, {100, 90, 98}, {20, 18, 20},   {10, 9, 10},
                                   {1, 0, 1},    {5, 4, 5},     {250, 225, 245}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const aleat_window w = aleat_window_default(cases[i][0]);
        assert_int_equal(w.begin, cases[i][1]);
        assert_int_equal(w.end, cases[i][2]);
    }
}

// Ten of Karras' steps of the CIFAR-10 schedule end at t = 102, 18 and 0; by their numbers the last
// one would be scored, where nothing is left to be unsure of. Even steps keep their numbers.
static void uneven_steps_are_scored_by_their_noise(void **state)
{
    (void)state;
    static const struct {
        const char *spacing;
        int steps;
        aleat_window want;
    } cases[] = {
        {"\"use_karras_sigmas\":true", 10, {7, 9}}, // 301, 102, 18, 0
        {"\"use_karras_sigmas\":true", 8, {6, 7}},  // 205, 32, 0
        {"\"use_karras_sigmas\":true", 5, {3, 4}},  // the nearest, none being as noisy
        {"\"use_lu_lambdas\":true", 12, {7, 9}},    // 98, 39, 13
        {"\"timestep_spacing\":\"linspace\"", 50, {45, 49}},
        {"\"timestep_spacing\":\"leading\"", 20, {18, 20}},
        {"\"timestep_spacing\":\"trailing\"", 7, {6, 7}},
        {"\"timestep_spacing\":\"leading\"", 900, {810, 882}}, // gaps of 1 and 2
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        aleat_json json = {0};
        aleat_sampler_config config;
        aleat_sampling_plan *plan = NULL;
        aleat_error err = {0};
        (void)snprintf(text, sizeof text,
                       "{\"_class_name\":\"DPMSolverMultistepScheduler\","
                       "\"num_train_timesteps\":1000,\"beta_start\":0.0001,\"beta_end\":0.02,"
                       "\"beta_schedule\":\"linear\",%s}",
                       cases[i].spacing);
        assert_int_equal(aleat_json_parse(&json, text, strlen(text), "test", &err), ALEAT_OK);
        assert_int_equal(aleat_sampler_config_parse(&config, &json, NULL, &err), ALEAT_OK);
        assert_int_equal(aleat_sampling_plan_new(&plan, &config, cases[i].steps, &err), ALEAT_OK);
        const aleat_window w = aleat_window_usual(plan);
        if (w.begin != cases[i].want.begin || w.end != cases[i].want.end)
            fail_msg("%s, %d steps: %d:%d", cases[i].spacing, cases[i].steps, w.begin, w.end);
        aleat_sampling_plan_free(plan);
        aleat_sampler_config_clear(&config);
        aleat_json_clear(&json);
    }
}

static void sums_and_scores_add_up(void **state)
{
    (void)state;
    aleat_accumulator *a = NULL;
    assert_int_equal(aleat_accumulator_new(&a, 2, 3, (aleat_window){4, 6}, false, NULL), ALEAT_OK);
    const float first[6] = {1, 2, 3, 10, 20, 30}, second[6] = {0.5f, 0.5f, 0.5f, 1, 1, 1};
    float map[3];
    aleat_accumulator_add(a, 4, first, 2);
    aleat_accumulator_reset(a);
    aleat_accumulator_add(a, 4, first, 2);
    aleat_accumulator_add(a, 5, second, 2);
    aleat_accumulator_map(a, 1, map);
    assert_true(map[0] == 11 && map[1] == 21 && map[2] == 31);
    assert_true(aleat_accumulator_score(a, 0) == 7.5 && aleat_accumulator_mean(a, 0) == 1.25);
    assert_true(aleat_accumulator_step_sum(a, 1, 4) == 60);
    aleat_accumulator_free(a);
}

static void standard_errors_add_in_squares(void **state)
{
    (void)state;
    aleat_accumulator *a = NULL;
    assert_int_equal(aleat_accumulator_new(&a, 1, 2, (aleat_window){4, 6}, true, NULL), ALEAT_OK);
    const float first[2] = {3, 0}, second[2] = {4, 12};
    float map[2];
    aleat_accumulator_add(a, 4, first, 1);
    aleat_accumulator_add(a, 5, second, 1);
    aleat_accumulator_map(a, 0, map);
    assert_true(map[0] == 5 && map[1] == 12);
    assert_true(aleat_accumulator_step_sum(a, 0, 4) == 3);
    assert_true(aleat_accumulator_score(a, 0) == 13); // 9 + 16 + 144 = 169
    aleat_accumulator_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_of_stored_draws_agree_with_closed_forms),
        cmocka_unit_test(maps_approach_their_expectation),
        cmocka_unit_test(a_gaussian_has_the_known_value_in_every_map),
        cmocka_unit_test(a_point_mass_has_variance_one),
        cmocka_unit_test(maps_are_the_statistics_of_the_copies),
        cmocka_unit_test(a_wide_clip_is_no_clip),
        cmocka_unit_test(score_units_divide_by_the_noise_variance),
        cmocka_unit_test(every_kind_of_prediction_gives_the_same_maps),
        cmocka_unit_test(a_map_does_not_depend_on_batch_or_chunks_and_allocates_nothing),
        cmocka_unit_test(an_estimator_that_cannot_be_is_refused),
        cmocka_unit_test(the_default_window_is_the_papers),
        cmocka_unit_test(uneven_steps_are_scored_by_their_noise),
        cmocka_unit_test(sums_and_scores_add_up),
        cmocka_unit_test(standard_errors_add_in_squares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
