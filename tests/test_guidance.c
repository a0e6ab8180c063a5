#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "mock_denoisers.h"
#include "reference.h"
#include "samplers/prediction.h"
#include "tensor/tensor.h"
#include "uncertainty/observer.h"

static const aleat_clip no_clip = {.range = 1, .ratio = 0.995, .max = 1};
static const uint32_t numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};

// The two-component images of the reference suite, 3 of 1x4x4, at one level.
typedef struct scene {
    double abar, mean[32];
    aleat_denoiser denoiser;
    float *x, *eps, *z, x0[48];
    aleat_noise_arrays stored;
    aleat_noise_source noise;
    aleat_noisy_state state;
} scene;

static float *load_f32(const char *name, const char *abar)
{
    reference r = reference_load("analytic-gmm-image/abar%s_%s_f64.npy", abar, name);
    float *values = reference_f32(&r);
    reference_free(&r);
    return values;
}

static void load_scene(scene *s, const char *abar, aleat_prediction output)
{
    static const double weight[2] = {0.4, 0.6}, spread[2] = {0.25, 0.25}; // the manifest's
    for (int k = 0; k < 2; k++) {
        reference r = reference_load("analytic-gmm-image/mean%d_f64.npy", k + 1);
        memcpy(s->mean + 16 * k, r.data, 16 * sizeof *s->mean);
        reference_free(&r);
    }
    s->abar = strtod(abar, NULL);
    const mock_data data = {.channels = 1,
                            .height = 4,
                            .width = 4,
                            .components = 2,
                            .weight = weight,
                            .spread = spread,
                            .mean = s->mean,
                            .abar = &s->abar,
                            .n_abar = 1,
                            .output = output};
    s->denoiser = mock_denoiser(&data);
    s->x = load_f32("x", abar);
    s->eps = load_f32("eps", abar);
    s->z = load_f32("z", abar);
    aleat_x0_of_eps(sqrt(s->abar), sqrt(1 - s->abar), s->x, s->eps, s->x0, 48);
    s->stored =
        (aleat_noise_arrays){.copy = s->z, .images = 3, .count = 16, .copies = 5, .copy_steps = 1};
    s->noise = aleat_noise_from_arrays(&s->stored);
    s->state = (aleat_noisy_state){.n = 3,
                                   .height = 4,
                                   .width = 4,
                                   .images = numbers,
                                   .alpha = sqrt(s->abar),
                                   .sigma = sqrt(1 - s->abar),
                                   .x = s->x,
                                   .eps = s->eps,
                                   .x0 = s->x0,
                                   .clip = &no_clip};
}

static void free_scene(scene *s)
{
    aleat_denoiser_destroy(&s->denoiser);
    free(s->x);
    free(s->eps);
    free(s->z);
}

// What came out of one guided step.
typedef struct outcome {
    float eps[48], map[48], gradient[48];
    double change[3], quantile[3];
    unsigned char mask[48];
} outcome;

static outcome guide(const scene *s, aleat_prediction prediction,
                     const aleat_guide_options *options, const float *threshold)
{
    outcome o;
    aleat_guide *guide = NULL;
    aleat_error err = {0};
    const aleat_guide_report report = {o.change, o.quantile, o.map, o.gradient, o.mask};
    aleat_status st =
        aleat_guide_new(&guide, &s->denoiser, prediction, options, s->state.n, 4, 4, &err);
    if (st)
        fail_msg("%s", err.message);
    const uint64_t before = aleat_alloc_count();
    const aleat_guide_request request = {.threshold = threshold};
    st = aleat_guide_run(guide, &s->state, &s->noise, &request, o.eps, &report, &err);
    if (st)
        fail_msg("%s", err.message);
    assert_int_equal(aleat_alloc_count(), before);
    assert_int_equal(aleat_guide_nfe(guide), options->copies);
    aleat_guide_free(guide);
    return o;
}

static void gradients_agree_with_closed_forms(void **state)
{
    (void)state;
    static const char *const abars[] = {"0.1", "0.6", "0.95"};
    static const char *const names[] = {"unbiased", "centred"};
    static const aleat_guide_statistic kinds[] = {ALEAT_GUIDE_VAR1, ALEAT_GUIDE_MSE};
    for (int k = 0; k < 6; k++) {
        scene s;
        load_scene(&s, abars[k / 2], ALEAT_PREDICTS_EPSILON);
        aleat_guide_options options = aleat_guide_defaults();
        options.statistic = kinds[k % 2];
        const outcome o = guide(&s, ALEAT_PREDICTS_EPSILON, &options, NULL);
        reference u =
            reference_load("analytic-gmm-image/abar%s_U_M_%s_f64.npy", abars[k / 2], names[k % 2]);
        reference g = reference_load("analytic-gmm-image/abar%s_dUsum_deps_%s_f64.npy",
                                     abars[k / 2], names[k % 2]);
        assert_true(max_error(o.map, u.data, 48) < 2e-5); // the case's tolerance in f32
        // For var1 the five terms of order 1 nearly cancel here (largest gradient 1e-3 at abar
        // 0.1): each is rounded to f32.
        for (int j = 0; j < 48; j++)
            assert_true(fabs((double)o.gradient[j] - g.data[j]) < 2e-5 * fabs(g.data[j]) + 5e-7);
        reference_free(&u);
        reference_free(&g);
        free_scene(&s);
    }
}

// A network linear in x: sum_i w_i = 0, so that the gradient of the variance is nothing but
// rounding.
static void the_variance_of_a_linear_network_has_no_gradient(void **state)
{
    (void)state;
    static const char *const abars[] = {"0.02", "0.3", "0.7", "0.98"};
    for (int k = 0; k < 4; k++) {
        const double weight = 1, abar = strtod(abars[k], NULL);
        reference mean = reference_load("analytic-gaussian/mean_f64.npy");
        reference covariance = reference_load("analytic-gaussian/cov_f64.npy");
        reference arrays[3] = {reference_load("analytic-gaussian/abar%s_x_f64.npy", abars[k]),
                               reference_load("analytic-gaussian/abar%s_eps_f64.npy", abars[k]),
                               reference_load("analytic-gaussian/abar%s_z_f64.npy", abars[k])};
        float *x = reference_f32(&arrays[0]), *eps = reference_f32(&arrays[1]);
        float *z = reference_f32(&arrays[2]), moved[36], gradient[36], map[36];
        const mock_data data = {.channels = 3,
                                .height = 2,
                                .width = 2,
                                .components = 1,
                                .weight = &weight,
                                .mean = mean.data,
                                .covariance = covariance.data,
                                .abar = &abar,
                                .n_abar = 1};
        aleat_denoiser denoiser = mock_denoiser(&data);
        aleat_noise_arrays stored = {
            .copy = z, .images = 3, .count = 12, .copies = 5, .copy_steps = 1};
        const aleat_noise_source noise = aleat_noise_from_arrays(&stored);
        const aleat_noisy_state at = {.n = 3,
                                      .height = 2,
                                      .width = 2,
                                      .images = numbers,
                                      .alpha = sqrt(abar),
                                      .sigma = sqrt(1 - abar),
                                      .x = x,
                                      .eps = eps,
                                      .x0 = x,
                                      .clip = &no_clip};
        const aleat_guide_report report = {.gradient = gradient, .map = map};
        for (int s = 0; s < 2; s++) {
            aleat_guide_options options = aleat_guide_defaults();
            options.statistic = s ? ALEAT_GUIDE_MSE : ALEAT_GUIDE_VAR1;
            aleat_guide *g = NULL;
            assert_int_equal(
                aleat_guide_new(&g, &denoiser, ALEAT_PREDICTS_EPSILON, &options, 3, 2, 2, NULL),
                ALEAT_OK);
            assert_int_equal(aleat_guide_run(g, &at, &noise, NULL, moved, &report, NULL), ALEAT_OK);
            aleat_guide_free(g);
            reference want =
                reference_load(s ? "analytic-gaussian/abar%s_dUsum_deps_centred_f64.npy"
                                 : "analytic-gaussian/abar%s_U_M_unbiased_f64.npy",
                               abars[k]);
            for (int j = 0; j < 36 && !s; j++) // 5 terms of order 1, each rounded to f32
                assert_true(fabsf(gradient[j]) < 5e-6f);
            assert_true(max_error(s ? gradient : map, want.data, 36) < 1e-5);
            reference_free(&want);
        }
        aleat_denoiser_destroy(&denoiser);
        for (int i = 0; i < 3; i++)
            reference_free(&arrays[i]);
        reference_free(&mean);
        reference_free(&covariance);
        free(x);
        free(eps);
        free(z);
    }
}

static void every_kind_of_prediction_has_the_same_gradient(void **state)
{
    (void)state;
    outcome o[3];
    const aleat_guide_options options = aleat_guide_defaults();
    for (int p = 0; p < 3; p++) {
        scene s;
        load_scene(&s, "0.6", (aleat_prediction)p);
        o[p] = guide(&s, (aleat_prediction)p, &options, NULL);
        free_scene(&s);
    }
    for (int p = 1; p < 3; p++) // predictions rounded to f32, then scaled by 1 / alpha at most
        assert_true(aleat_relative_l2(o[p].gradient, o[0].gradient, 48) < 1e-5);
}

// Central differences of the sum of U, carried out by the estimator itself.
static void gradients_agree_with_differences_also_where_x0_is_clipped(void **state)
{
    (void)state;
    static const char *const names[] = {"eps-var", "eps-var0", "eps-mse", "eps-square"};
    const aleat_clip clip = {.clamp = true, .range = 0.4};
    for (int k = 0; k < 8; k++) {
        scene s;
        load_scene(&s, "0.6", ALEAT_PREDICTS_EPSILON);
        aleat_guide_options options = aleat_guide_defaults();
        options.statistic = (aleat_guide_statistic)(k % 4);
        s.state.clip = k < 4 ? &no_clip : &clip;
        aleat_clip_x0(s.state.clip, s.x0, 48, NULL);
        const outcome o = guide(&s, ALEAT_PREDICTS_EPSILON, &options, NULL);
        aleat_estimator_options ask = {.copies = 5};
        ask.statistics[0] = aleat_statistic_find(names[k % 4]);
        aleat_estimator *estimator = NULL;
        assert_int_equal(aleat_estimator_new(&estimator, &s.denoiser, ALEAT_PREDICTS_EPSILON, &ask,
                                             3, 4, 4, NULL),
                         ALEAT_OK);
        double largest = 0;
        for (int j = 0; j < 48; j++)
            largest = fmax(largest, fabs((double)o.gradient[j]));
        for (int j = 0; j < 48; j += 5) {
            const float kept = s.eps[j], h = 0.02f;
            const double x0 = ((double)s.x[j] - s.state.sigma * (double)kept) / s.state.alpha;
            if (k >= 4 && fabs(fabs(x0) - 0.4) < 0.02) // the difference would straddle the kink
                continue;
            double sums[2] = {0, 0};
            for (int side = 0; side < 2; side++) {
                float map[48], *const out[1] = {map};
                s.eps[j] = side ? kept + h : kept - h;
                aleat_x0_of_eps(s.state.alpha, s.state.sigma, s.x, s.eps, s.x0, 48);
                aleat_clip_x0(s.state.clip, s.x0, 48, NULL);
                assert_int_equal(aleat_estimator_run(estimator, &s.state, &s.noise, out, NULL),
                                 ALEAT_OK);
                for (int i = 0; i < 48; i++)
                    sums[side] += (double)map[i];
            }
            s.eps[j] = kept;
            // truncation h^2 and the f32 of U over 2 h
            assert_true(fabs((sums[1] - sums[0]) / (2 * (double)h) - (double)o.gradient[j]) <
                        0.01 * largest + 1e-3);
        }
        aleat_estimator_free(estimator);
        free_scene(&s);
    }
}

static void only_the_chosen_elements_move_and_by_the_gradient(void **state)
{
    (void)state;
    scene s;
    load_scene(&s, "0.6", ALEAT_PREDICTS_EPSILON);
    aleat_guide_options options = aleat_guide_defaults();
    options.percentile = 0.8;
    options.strength = 0.7;
    const outcome up = guide(&s, ALEAT_PREDICTS_EPSILON, &options, NULL);
    options.sign = ALEAT_GUIDE_DOWN;
    const outcome down = guide(&s, ALEAT_PREDICTS_EPSILON, &options, NULL);
    for (int i = 0; i < 3; i++) {
        int moved = 0;
        double change = 0, size = 0;
        for (int j = 16 * i; j < 16 * (i + 1); j++) {
            assert_int_equal(up.mask[j], (double)up.map[j] > up.quantile[i]);
            if (!up.mask[j])
                assert_true(up.eps[j] == s.eps[j] && down.eps[j] == s.eps[j]);
            const double step = up.mask[j] ? 0.7 * (double)up.gradient[j] : 0;
            assert_true(fabs((double)up.eps[j] - (double)s.eps[j] - step) < 1e-6);
            assert_true(fabs((double)down.eps[j] - (double)s.eps[j] + step) < 1e-6);
            moved += up.mask[j];
            change += step * step;
            size += (double)s.eps[j] * (double)s.eps[j];
        }
        assert_int_equal(moved, 3); // rank 0.8 * 15 = 12: three lie strictly above
        assert_true(fabs(up.change[i] - sqrt(change / size)) < 1e-12 && up.change[i] > 0);
    }
    // by chance: as far as up or down, and not all the same way, of nine elements under this seed
    options.sign = ALEAT_GUIDE_RANDOM;
    s.stored.otherwise = aleat_noise_philox(1);
    const outcome chance = guide(&s, ALEAT_PREDICTS_EPSILON, &options, NULL);
    int ups = 0, downs = 0;
    for (int j = 0; j < 48; j++) {
        assert_int_equal(chance.mask[j], up.mask[j]);
        assert_true(chance.eps[j] == up.eps[j] || chance.eps[j] == down.eps[j]);
        ups += chance.mask[j] && chance.eps[j] == up.eps[j];
        downs += chance.mask[j] && chance.eps[j] == down.eps[j];
    }
    assert_true(ups > 0 && downs > 0);
    options = aleat_guide_defaults();
    options.percentile = 0.2;
    options.lower = true;
    const outcome lower = guide(&s, ALEAT_PREDICTS_EPSILON, &options, NULL);
    int moved = 0;
    for (int j = 0; j < 48; j++)
        moved += lower.mask[j];
    assert_int_equal(moved, 9);
    free_scene(&s);
}

static void a_given_threshold_replaces_the_quantile(void **state)
{
    (void)state;
    scene s;
    load_scene(&s, "0.6", ALEAT_PREDICTS_EPSILON);
    const aleat_guide_options options = aleat_guide_defaults();
    float threshold[16];
    for (int j = 0; j < 16; j++)
        threshold[j] = j == 5 ? 0 : 1e9f;
    const outcome o = guide(&s, ALEAT_PREDICTS_EPSILON, &options, threshold);
    for (int j = 0; j < 48; j++)
        assert_int_equal(o.mask[j], j % 16 == 5);
    free_scene(&s);
}

static void guidance_does_not_depend_on_batch_or_chunks(void **state)
{
    (void)state;
    scene s;
    load_scene(&s, "0.6", ALEAT_PREDICTS_EPSILON);
    aleat_guide_options options = aleat_guide_defaults();
    const outcome together = guide(&s, ALEAT_PREDICTS_EPSILON, &options, NULL);
    for (int64_t rows = 1; rows <= 11; rows += 5) { // less than one image, one, two
        options.max_rows = rows;
        const outcome parts = guide(&s, ALEAT_PREDICTS_EPSILON, &options, NULL);
        assert_memory_equal(together.eps, parts.eps, sizeof parts.eps);
    }
    for (int i = 0; i < 3; i++) {
        scene one = s;
        one.state.n = 1;
        one.state.images = numbers + i;
        one.state.x = s.x + 16 * i;
        one.state.eps = s.eps + 16 * i;
        one.state.x0 = s.x0 + 16 * i;
        const outcome alone = guide(&one, ALEAT_PREDICTS_EPSILON, &options, NULL);
        assert_memory_equal(together.eps + 16 * i, alone.eps, 16 * sizeof(float));
    }
    free_scene(&s);
}

static void five_percent_of_a_large_map_are_615_of_12288(void **state)
{
    (void)state;
    enum { COUNT = 12288 };
    const double weight[2] = {0.5, 0.5}, spread[2] = {0.3, 0.3}, abar = 0.5;
    double *mean = calloc(2 * COUNT, sizeof *mean);
    for (int j = 0; j < COUNT; j++)
        mean[j] = 0.02 * sin(j), mean[COUNT + j] = -mean[j];
    const mock_data data = {.channels = 3,
                            .height = 64,
                            .width = 64,
                            .components = 2,
                            .weight = weight,
                            .spread = spread,
                            .mean = mean,
                            .abar = &abar,
                            .n_abar = 1};
    aleat_denoiser denoiser = mock_denoiser(&data);
    const aleat_guide_options options = aleat_guide_defaults();
    float *x = calloc(COUNT, sizeof *x), *eps = calloc(COUNT, sizeof *eps);
    unsigned char *mask = calloc(COUNT, 1);
    aleat_rng_normals(&(aleat_rng_key){.seed = 1}, 0, x, COUNT);
    const float t = 0;
    const aleat_batch batch = {.n = 1, .height = 64, .width = 64, .x = x, .t = &t};
    assert_int_equal(aleat_denoiser_predict(&denoiser, &batch, eps, NULL), ALEAT_OK);
    const aleat_noisy_state at = {.n = 1,
                                  .height = 64,
                                  .width = 64,
                                  .images = numbers,
                                  .alpha = sqrt(abar),
                                  .sigma = sqrt(abar),
                                  .x = x,
                                  .eps = eps,
                                  .x0 = x,
                                  .clip = &no_clip};
    const uint64_t seed = 5;
    const aleat_noise_source noise = aleat_noise_philox(seed);
    const aleat_guide_report report = {.mask = mask};
    aleat_guide *g = NULL;
    assert_int_equal(
        aleat_guide_new(&g, &denoiser, ALEAT_PREDICTS_EPSILON, &options, 1, 64, 64, NULL),
        ALEAT_OK);
    assert_int_equal(aleat_guide_run(g, &at, &noise, NULL, eps, &report, NULL), ALEAT_OK);
    int moved = 0;
    for (int j = 0; j < COUNT; j++)
        moved += mask[j];
    assert_int_equal(moved, 615); // rank 11672.65 lies between elements 11672 and 11673
    aleat_guide_free(g);
    aleat_denoiser_destroy(&denoiser);
    free(mean);
    free(x);
    free(eps);
    free(mask);
}

static void guidance_that_cannot_be_is_refused(void **state)
{
    (void)state;
    scene s;
    load_scene(&s, "0.6", ALEAT_PREDICTS_EPSILON);
    aleat_guide_options options = aleat_guide_defaults();
    aleat_guide *g = NULL;
    aleat_error err = {0};
    options.percentile = 95;
    assert_int_equal(
        aleat_guide_new(&g, &s.denoiser, ALEAT_PREDICTS_EPSILON, &options, 3, 4, 4, &err),
        ALEAT_ERR_ARGUMENT);
    options = aleat_guide_defaults();
    aleat_denoiser_ops forward_only = *s.denoiser.ops;
    forward_only.backward = NULL;
    aleat_denoiser without = s.denoiser;
    without.ops = &forward_only;
    assert_int_equal(aleat_guide_new(&g, &without, ALEAT_PREDICTS_EPSILON, &options, 3, 4, 4, &err),
                     ALEAT_ERR_UNSUPPORTED);
    assert_null(g);
    free_scene(&s);
}

typedef struct tally {
    int scored, guided;
    double least_change;
} tally;

static aleat_status count_scored(void *ctx, int step, float *const *maps, int64_t n,
                                 aleat_error *err)
{
    (void)err;
    ((tally *)ctx)->scored++;
    assert_true(step >= 18 && step < 20 && n == 3 && maps[0] && maps[1]);
    return ALEAT_OK;
}

static aleat_status count_guided(void *ctx, int step, const double *change, int64_t n,
                                 aleat_error *err)
{
    (void)err;
    (void)step;
    tally *t = ctx;
    t->guided++;
    for (int64_t i = 0; i < n; i++)
        t->least_change = fmin(t->least_change, change[i]);
    return ALEAT_OK;
}

// A whole run: which steps are scored and guided, what it costs, that it changes the images, that
// scoring alone does not, and that nothing is allocated once it is set up.
static void a_run_is_scored_and_guided_where_asked(void **state)
{
    (void)state;
    scene s;
    load_scene(&s, "0.6", ALEAT_PREDICTS_EPSILON);
    aleat_sampler_config config;
    aleat_sampling_plan *plan = NULL;
    assert_int_equal(aleat_sampler_config_default(&config, "ddim", NULL), ALEAT_OK);
    config.clip.clamp = false;
    assert_int_equal(aleat_sampling_plan_new(&plan, &config, 20, NULL), ALEAT_OK);
    const double weight[2] = {0.4, 0.6}, spread[2] = {0.25, 0.25};
    const mock_data data = {.channels = 1,
                            .height = 4,
                            .width = 4,
                            .components = 2,
                            .weight = weight,
                            .spread = spread,
                            .mean = s.mean,
                            .clock = MOCK_LOG_SIGMA,
                            .abar = plan->alphas_cumprod,
                            .n_abar = 1000};
    const uint64_t seed = 8;
    float x[3][48];
    for (int run = 0; run < 3; run++) { // plain, scored, scored and guided
        aleat_denoiser denoiser = mock_denoiser(&data);
        tally t = {.least_change = INFINITY};
        aleat_observer_options options = {.estimator = {.copies = 5},
                                          .guidance = aleat_guide_defaults(),
                                          .scored = count_scored,
                                          .guided = count_guided,
                                          .ctx = &t};
        options.estimator.statistics[0] = aleat_statistic_find("eps-var");
        options.estimator.statistics[1] = aleat_statistic_find("post-var");
        options.guidance.statistic = ALEAT_GUIDE_MSE; // its gradient is nowhere near zero here
        if (run >= 1)
            options.score = aleat_window_default(20);
        if (run >= 2)
            options.guide = (aleat_window){5, 10};
        aleat_observer *observer = NULL;
        aleat_sampler *sampler = NULL;
        assert_int_equal(aleat_observer_new(&observer, NULL, &denoiser, ALEAT_PREDICTS_EPSILON,
                                            &options, 3, 4, 4, NULL),
                         ALEAT_OK);
        assert_int_equal(
            aleat_sampler_new(&sampler, plan, &denoiser, ALEAT_TIME_IDENTITY, 3, 4, 4, NULL),
            ALEAT_OK);
        const aleat_noise_source noise = aleat_noise_philox(seed);
        const aleat_sample_request request = {
            .n = 3,
            .images = numbers,
            .noise = noise,
            .hooks = {.ctx = observer, .evaluated = aleat_observer_evaluated}};
        const uint64_t before = aleat_alloc_count();
        aleat_observer_begin(observer, noise);
        assert_int_equal(aleat_sampler_run(sampler, &request, x[run], NULL), ALEAT_OK);
        assert_int_equal(aleat_alloc_count(), before);
        assert_int_equal(t.scored, run >= 1 ? 2 : 0);
        assert_int_equal(t.guided, run >= 2 ? 5 : 0);
        assert_int_equal(aleat_observer_nfe(observer), 5 * (t.scored + t.guided));
        assert_int_equal(mock_rows(&denoiser), 3 * (20 + 5 * (t.scored + t.guided)));
        assert_true(t.least_change > 1e-6); // not a silent no-op
        if (run >= 1) {
            const aleat_accumulator *sums = aleat_observer_sums(observer, 0);
            assert_true(aleat_accumulator_score(sums, 0) > 0);
            assert_null(aleat_observer_sums(observer, 2));
        }
        aleat_observer_free(observer);
        aleat_sampler_free(sampler);
        aleat_denoiser_destroy(&denoiser);
    }
    assert_memory_equal(x[0], x[1], sizeof x[0]);
    assert_true(aleat_relative_l2(x[2], x[0], 48) > 1e-4);
    aleat_sampling_plan_free(plan);
    free_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_agree_with_closed_forms),
        cmocka_unit_test(the_variance_of_a_linear_network_has_no_gradient),
        cmocka_unit_test(every_kind_of_prediction_has_the_same_gradient),
        cmocka_unit_test(gradients_agree_with_differences_also_where_x0_is_clipped),
        cmocka_unit_test(only_the_chosen_elements_move_and_by_the_gradient),
        cmocka_unit_test(a_given_threshold_replaces_the_quantile),
        cmocka_unit_test(guidance_does_not_depend_on_batch_or_chunks),
        cmocka_unit_test(five_percent_of_a_large_map_are_615_of_12288),
        cmocka_unit_test(guidance_that_cannot_be_is_refused),
        cmocka_unit_test(a_run_is_scored_and_guided_where_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
