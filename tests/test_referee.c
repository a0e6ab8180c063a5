/* Runs that begin midway, and the referee, on a denoiser that is exact: data N(mean, v). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "io/json.h"
#include "mock_denoisers.h"
#include "uncertainty/referee.h"

enum { SIDE = 16, COUNT = SIDE * SIDE, N = 6, STEPS = 20 };
static const double v = 0.09, spread = 0.3, weight = 1;
static double mean[COUNT];
static const uint32_t numbers[N] = {0, 1, 2, 3, 4, 5};

typedef struct exact {
    aleat_sampling_plan *plan;
    mock_data data;
    aleat_denoiser denoiser;
    double *t, *alpha, *sigma;
    float x0[N * COUNT]; // draws from the data
} exact;

static exact *make(const char *sampler)
{
    aleat_error err = {0};
    exact *e = calloc(1, sizeof *e);
    static const char text[] =
        "{\"_class_name\": \"DDIMScheduler\", \"num_train_timesteps\": 1000, \"beta_start\": 1e-4, "
        "\"beta_end\": 0.02, \"clip_sample\": false}";
    aleat_sampler_config config = {0};
    aleat_json json = {0};
    aleat_status st = aleat_json_parse(&json, text, sizeof text - 1, "scheduler", &err);
    if (!st)
        st = aleat_sampler_config_parse(&config, &json, sampler, &err);
    if (!st)
        st = aleat_sampling_plan_new(&e->plan, &config, STEPS, &err);
    if (st)
        fail_msg("%s", err.message);
    aleat_sampler_config_clear(&config);
    aleat_json_clear(&json);
    const int n = e->plan->n_steps;
    e->t = calloc((size_t)n, sizeof(double));
    e->alpha = calloc((size_t)n, sizeof(double));
    e->sigma = calloc((size_t)n, sizeof(double));
    for (int k = 0; k < n; k++) {
        e->t[k] = e->plan->steps[k].t;
        e->alpha[k] = e->plan->steps[k].alpha;
        e->sigma[k] = e->plan->steps[k].sigma;
    }
    for (int j = 0; j < COUNT; j++)
        mean[j] = 0.5 * sin(j);
    e->data = (mock_data){.channels = 1,
                          .height = SIDE,
                          .width = SIDE,
                          .components = 1,
                          .weight = &weight,
                          .spread = &spread,
                          .mean = mean,
                          .clock = MOCK_LEVELS,
                          .n_levels = n,
                          .level_t = e->t,
                          .level_alpha = e->alpha,
                          .level_sigma = e->sigma,
                          .output = e->plan->prediction};
    e->denoiser = mock_denoiser(&e->data);
    const aleat_rng_key key = {.seed = 99, .purpose = ALEAT_FOR_TRAINING};
    aleat_rng_normals(&key, 0, e->x0, N * COUNT);
    for (int j = 0; j < N * COUNT; j++)
        e->x0[j] = (float)(mean[j % COUNT] + spread * (double)e->x0[j]);
    return e;
}

static void release(exact *e)
{
    aleat_denoiser_destroy(&e->denoiser);
    aleat_sampling_plan_free(e->plan);
    free(e->t);
    free(e->alpha);
    free(e->sigma);
    free(e);
}

/* ---- midway ---------------------------------------------------------------------------------- */

typedef struct states {
    int first;
    float next[N * COUNT]; // after the first evaluation
} states;

static aleat_status keep(void *ctx, int index, const float *x, int64_t n, aleat_error *err)
{
    states *s = ctx;
    (void)err;
    if (index == s->first)
        memcpy(s->next, x, (size_t)n * COUNT * sizeof *x);
    return ALEAT_OK;
}

// From `state` at evaluation `first` into x.
static void sample_from(exact *e, int first, const float *state, float *x, states *kept)
{
    aleat_error err = {0};
    aleat_sampler *sampler = NULL;
    const aleat_sample_request request = {.n = N,
                                          .images = numbers,
                                          .noise = aleat_noise_philox(1),
                                          .state = state,
                                          .first = first,
                                          .hooks = {.ctx = kept, .advanced = keep}};
    aleat_status st = aleat_sampler_new(&sampler, e->plan, &e->denoiser, ALEAT_TIME_IDENTITY, N,
                                        SIDE, SIDE, &err);
    if (!st)
        st = aleat_sampler_run(sampler, &request, x, &err);
    if (st)
        fail_msg("%s", err.message);
    assert_int_equal(aleat_sampler_nfe(sampler), e->plan->n_steps - first);
    aleat_sampler_free(sampler);
}

// What a first-order step makes of x - alpha mean, at level (a, s), for level (b, r).
static double shrink(double a, double s, double b, double r)
{
    return (a * b * v + s * r) / (a * a * v + s * s);
}

// DDIM is linear for Gaussian data: the state about its mean shrinks by a known factor a step.
static void ddim_from_the_middle_is_the_closed_form(void **state)
{
    (void)state;
    exact *e = make("ddim");
    static float x[N * COUNT], noisy[N * COUNT];
    states kept = {.first = -2};
    const int first = aleat_sampling_plan_begin(e->plan, STEPS / 2);
    assert_int_equal(first, STEPS / 2);
    double factor = 1;
    for (int k = first; k < STEPS; k++) {
        const aleat_sampling_step *at = &e->plan->steps[k];
        const bool last = k + 1 == STEPS;
        factor *= shrink(at->alpha, at->sigma, last ? e->plan->final_alpha : at[1].alpha,
                         last ? e->plan->final_sigma : at[1].sigma);
    }
    const double a = e->plan->steps[first].alpha, s = e->plan->steps[first].sigma;
    const aleat_rng_key key = {.seed = 3, .purpose = ALEAT_FOR_DATA};
    aleat_rng_normals(&key, 0, noisy, N * COUNT);
    for (int j = 0; j < N * COUNT; j++)
        noisy[j] = (float)(a * (double)e->x0[j] + s * (double)noisy[j]);
    sample_from(e, first, noisy, x, &kept);
    for (int j = 0; j < N * COUNT; j++) {
        const double m = mean[j % COUNT];
        const double want = e->plan->final_alpha * m + factor * ((double)noisy[j] - a * m);
        assert_true(fabs((double)x[j] - want) < 1e-5); // ten steps in f32 of values near 1
    }
    release(e);
}

// Samplers that look back have nothing to look back on: their first step is of first order.
static void samplers_with_a_memory_begin_with_a_first_order_step(void **state)
{
    (void)state;
    static const char *const names[] = {"dpm++2m", "pndm"};
    static float x[N * COUNT];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        exact *e = make(names[i]);
        const int first = aleat_sampling_plan_begin(e->plan, STEPS / 2);
        assert_true(first > 0 && first + 1 < e->plan->n_steps);
        const aleat_sampling_step *at = &e->plan->steps[first];
        assert_true(at->c_x0[1] != 0 || at->c_eps[1] != 0); // it would look back
        states kept = {.first = first};
        sample_from(e, first, e->x0, x, &kept);
        const double factor = shrink(at->alpha, at->sigma, at[1].alpha, at[1].sigma);
        for (int j = 0; j < N * COUNT; j++) {
            const double m = mean[j % COUNT];
            const double want = at[1].alpha * m + factor * ((double)e->x0[j] - at->alpha * m);
            assert_true(fabs((double)kept.next[j] - want) < 1e-5);
        }
        release(e);
    }
}

static void a_run_does_not_begin_within_a_step(void **state)
{
    (void)state;
    exact *e = make("kdpm2"); // two evaluations a step; the second needs the state before the first
    for (int outer = 0; outer < e->plan->n_outer; outer++) {
        const int k = aleat_sampling_plan_begin(e->plan, outer);
        assert_true(k >= 0 && e->plan->steps[k].outer == outer && e->plan->steps[k].stage == 0);
    }
    const aleat_sampling_step kept = e->plan->steps[4];
    e->plan->steps[4].sets_base = false; // as in a step that goes on from the state before it
    e->plan->steps[4].c_base = 1;
    assert_int_equal(aleat_sampling_plan_begin(e->plan, kept.outer), -1);
    e->plan->steps[4] = kept;
    release(e);
}

/* ---- the referee ----------------------------------------------------------------------------- */

static const char *const maps[] = {"eps-var", "x0-var", "post-var"};
enum { EPS, X0, POST, ERROR };

static aleat_referee *referee(exact *e, int repeats, int copies, int64_t max_n)
{
    aleat_error err = {0};
    aleat_referee *r = NULL;
    aleat_referee_options o = {.plan = e->plan,
                               .time_map = ALEAT_TIME_IDENTITY,
                               .observe = {.score = {14, 17}, .estimator = {.copies = copies}},
                               .repeats = repeats};
    for (int k = 0; k < 3; k++)
        o.observe.estimator.statistics[k] = aleat_statistic_find(maps[k]);
    if (aleat_referee_new(&r, &e->denoiser, &o, max_n, SIDE, SIDE, &err))
        fail_msg("%s", err.message);
    return r;
}

static void judge(aleat_referee *r, const exact *e, int first, int n)
{
    aleat_error err = {0};
    const aleat_referee_request request = {.n = n,
                                           .images = numbers + first,
                                           .noise = aleat_noise_philox(5),
                                           .x0 = e->x0 + first * COUNT};
    if (aleat_referee_run(r, &request, &err))
        fail_msg("%s", err.message);
}

// Posterior variance of a pixel at a level, and the variance of its noise that the network sees.
static void maps_of_exact_data_are_the_closed_forms(void **state)
{
    (void)state;
    exact *e = make("ddim");
    const int copies = 16;
    aleat_referee *r = referee(e, 2, copies, N);
    judge(r, e, 0, N);
    assert_int_equal(aleat_referee_maps(r), 4);
    assert_int_equal(aleat_referee_nfe(r), 2 * 3 * (1 + copies));
    double posterior = 0, seen = 0, got[4] = {0};
    for (int k = 14; k < 17; k++) {
        const double a = e->alpha[k], s = e->sigma[k], d = a * a * v + s * s;
        posterior += v * s * s / d;
        seen += s * s * s * s / (d * d);
    }
    for (int m = 0; m < 4; m++)
        for (int i = 0; i < N; i++)
            for (int k = 14; k < 17; k++) {
                double sum, error;
                aleat_referee_step_sum(r, m, i, k, &sum, &error);
                got[m] += sum / (N * COUNT);
            }
    // Means over 6 * 256 pixels, 2 draws and 3 steps. Squares of normals deviate by 2^1/2 of
    // themselves; the x0 of a pixel is the same in all draws and steps, so that 1536 count at
    // least.
    assert_true(fabs(got[ERROR] / posterior - 1) < 5 * sqrt(2.0 / (N * COUNT)));
    // A sample variance of M copies deviates by (2 / (M - 1))^1/2: its copies are all independent.
    assert_true(fabs(got[EPS] / seen - 1) < 5 * sqrt(2.0 / (copies - 1) / (6.0 * N * COUNT)));
    // z (z - e), e = b x + ..: the product of normals deviates by less than 2 (1 + the shift of the
    // state by its own noise), of 16 copies.
    assert_true(fabs(got[POST] / posterior - 1) < 5 * 2 / sqrt(copies * 6.0 * N * COUNT) * 4);
    aleat_referee_free(r);
    release(e);
}

// The mean of two values lies half their difference from each, which is its standard error, too.
static void the_standard_error_is_that_of_the_draws(void **state)
{
    (void)state;
    exact *e = make("ddim");
    aleat_referee *one = referee(e, 1, 4, N), *two = referee(e, 2, 4, N);
    judge(one, e, 0, N);
    judge(two, e, 0, N);
    static float first[COUNT], both[COUNT], error[COUNT];
    for (int m = 0; m < 4; m++)
        for (int i = 0; i < N; i++) {
            double moved = 0;
            aleat_referee_map(one, m, i, first, NULL);
            aleat_referee_map(two, m, i, both, error);
            for (int j = 0; j < COUNT; j++) {
                const double d = fabs((double)both[j] - (double)first[j]);
                assert_true(fabs(d - (double)error[j]) <= 1e-5 * (1 + fabs((double)both[j])));
                moved += d;
            }
            assert_true(moved > 0); // the second draw is another one
            double a, b, unused, se;
            aleat_referee_step_sum(one, m, i, 15, &a, &unused);
            aleat_referee_step_sum(two, m, i, 15, &b, &se);
            assert_true(isnan(unused));
            assert_true(fabs(fabs(b - a) - se) <= 1e-9 * (1 + fabs(b)));
        }
    aleat_referee_free(one);
    aleat_referee_free(two);
    release(e);
}

static void maps_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    exact *e = make("dpm++2m");
    aleat_referee *all = referee(e, 3, 3, N), *some = referee(e, 3, 3, 4);
    judge(all, e, 0, N);
    static float a[2][COUNT], b[2][COUNT];
    for (int first = 0, n; first < N; first += n) {
        n = first == 0 ? 1 : first == 1 ? 4 : 1;
        judge(some, e, first, n);
        for (int m = 0; m < 4; m++)
            for (int i = 0; i < n; i++) {
                aleat_referee_map(all, m, first + i, a[0], a[1]);
                aleat_referee_map(some, m, i, b[0], b[1]);
                assert_memory_equal(a, b, sizeof a);
            }
    }
    aleat_referee_free(all);
    aleat_referee_free(some);
    release(e);
}

static void what_cannot_be_judged_is_refused(void **state)
{
    (void)state;
    exact *e = make("ddim");
    aleat_error err = {0};
    aleat_referee *r = NULL;
    aleat_referee_options o = {
        .plan = e->plan, .observe = {.score = {0, 1}, .estimator = {.copies = 2}}, .repeats = 0};
    o.observe.estimator.statistics[0] = aleat_statistic_find("eps-var");
    assert_int_equal(aleat_referee_new(&r, &e->denoiser, &o, 1, SIDE, SIDE, &err),
                     ALEAT_ERR_ARGUMENT);
    o.repeats = 1 << 23; // the numbers of copies are below 2^24
    assert_int_equal(aleat_referee_new(&r, &e->denoiser, &o, 1, SIDE, SIDE, &err),
                     ALEAT_ERR_ARGUMENT);
    o.repeats = 1;
    const double alpha = e->plan->steps[0].alpha;
    e->plan->steps[0].alpha = 0;
    assert_int_equal(aleat_referee_new(&r, &e->denoiser, &o, 1, SIDE, SIDE, &err),
                     ALEAT_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "pure noise"));
    e->plan->steps[0].alpha = alpha;
    release(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ddim_from_the_middle_is_the_closed_form),
        cmocka_unit_test(samplers_with_a_memory_begin_with_a_first_order_step),
        cmocka_unit_test(a_run_does_not_begin_within_a_step),
        cmocka_unit_test(maps_of_exact_data_are_the_closed_forms),
        cmocka_unit_test(the_standard_error_is_that_of_the_draws),
        cmocka_unit_test(maps_do_not_depend_on_the_batch),
        cmocka_unit_test(what_cannot_be_judged_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
