/*
 * What guidance and scoring do beside the paper's method: variants of the published code, other
 * ways to the gradient, and the signals of a run; each against a computation by itself.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mock_denoisers.h"
#include "samplers/plan.h"
#include "samplers/prediction.h"
#include "uncertainty/observer.h"

enum { N = 2, COUNT = 9, M = 4, STEPS = 10 }; // images of 1x3x3

static const uint32_t numbers_of[N] = {5, 6};
static const double weight[2] = {0.4, 0.6}, spread[2] = {0.3, 0.5};
static double mean[2 * COUNT];

// An exact denoiser of two clusters, the DDIM plan, and noise.
typedef struct scene {
    aleat_sampler_config config;
    aleat_sampling_plan *plan;
    mock_data data;
    aleat_denoiser denoiser;
    aleat_noise_source noise;
} scene;

static void make(scene *s, const char *sampler)
{
    memset(s, 0, sizeof *s);
    for (int j = 0; j < COUNT; j++) {
        mean[j] = 0.5 * sin(j);
        mean[COUNT + j] = -0.4 * cos(2 * j);
    }
    assert_int_equal(aleat_sampler_config_default(&s->config, sampler, NULL), ALEAT_OK);
    s->config.clip.clamp = false;
    assert_int_equal(aleat_sampling_plan_new(&s->plan, &s->config, STEPS, NULL), ALEAT_OK);
    s->data = (mock_data){.channels = 1,
                          .height = 3,
                          .width = 3,
                          .components = 2,
                          .weight = weight,
                          .spread = spread,
                          .mean = mean,
                          .clock = MOCK_LOG_SIGMA,
                          .abar = s->plan->alphas_cumprod,
                          .n_abar = 1000};
    s->denoiser = mock_denoiser(&s->data);
    s->noise = aleat_noise_philox(11);
}

static void release(scene *s)
{
    aleat_denoiser_destroy(&s->denoiser);
    aleat_sampling_plan_free(s->plan);
    aleat_sampler_config_clear(&s->config);
}

static void predict_double(const scene *s, double t, const float *x, double *out)
{
    double wide[COUNT];
    for (int j = 0; j < COUNT; j++)
        wide[j] = (double)x[j];
    mock_predict(&s->data, t, wide, out);
}

/* ---- one evaluation, seen and changed ----------------------------------------------------------
 */

// What the hook saw at evaluation WATCHED before the observer, and eps after it.
enum { WATCHED = 6 };
typedef struct watch {
    aleat_observer *observer;
    double alpha, sigma, t;
    float x[N * COUNT], eps[N * COUNT], x0[N * COUNT], moved[N * COUNT], map[N * COUNT];
    float next[N * COUNT], paths[STEPS][N * COUNT];
    double levels[STEPS + 1][2];
} watch;

static aleat_status look(void *ctx, aleat_evaluation *e, aleat_error *err)
{
    watch *w = ctx;
    memcpy(w->paths[e->index], e->x0, sizeof w->x0);
    w->levels[e->index][0] = e->step->alpha;
    w->levels[e->index][1] = e->step->sigma;
    if (e->index == WATCHED) {
        w->alpha = e->step->alpha;
        w->sigma = e->step->sigma;
        w->t = (double)e->t_network;
        memcpy(w->x, e->x, sizeof w->x);
        memcpy(w->eps, e->eps, sizeof w->eps);
        memcpy(w->x0, e->x0, sizeof w->x0);
    }
    const aleat_status st = aleat_observer_evaluated(w->observer, e, err);
    if (e->index == WATCHED)
        memcpy(w->moved, e->eps, sizeof w->moved);
    return st;
}

static aleat_status keep_next(void *ctx, int index, const float *x, int64_t n, aleat_error *err)
{
    (void)n;
    (void)err;
    if (index == WATCHED)
        memcpy(((watch *)ctx)->next, x, sizeof((watch *)ctx)->next);
    return ALEAT_OK;
}

static aleat_status keep_map(void *ctx, int step, float *const *maps, int64_t n, aleat_error *err)
{
    (void)n;
    (void)err;
    if (step == WATCHED)
        memcpy(((watch *)ctx)->map, maps[0], sizeof((watch *)ctx)->map);
    return ALEAT_OK;
}

// Runs the sampler; `statistic` is scored if `score`, and climbed at the watched step if `guide`.
static aleat_status observe(const scene *s, watch *w, const char *compat, const char *statistic,
                            bool score, bool guide, const aleat_guide_options *guidance,
                            double signals[ALEAT_SIGNAL_COUNT])
{
    aleat_error err = {0};
    aleat_observer_options o = {
        .estimator = {.copies = M, .statistics = {aleat_statistic_find(statistic)}},
        .scored = keep_map,
        .ctx = w,
        .guidance = *guidance};
    if (score)
        o.score = (aleat_window){WATCHED, WATCHED + 1};
    if (guide)
        o.guide = (aleat_window){WATCHED, WATCHED + 1};
    if (signals)
        o.signals = (aleat_window){4, 8};
    o.guidance.copies = M;
    assert_true(aleat_guide_statistic_of(&o.guidance.statistic, o.estimator.statistics[0]));
    aleat_sampler *sampler = NULL;
    float x[N * COUNT];
    aleat_status st = aleat_compat_parse(&o.compat, compat, &err);
    if (!st)
        st = aleat_observer_new(&w->observer, NULL, &s->denoiser, ALEAT_PREDICTS_EPSILON, &o, N, 3,
                                3, &err);
    if (!st)
        st = aleat_sampler_new(&sampler, s->plan, &s->denoiser, ALEAT_TIME_IDENTITY, N, 3, 3, &err);
    const aleat_sample_request request = {
        .n = N,
        .images = numbers_of,
        .noise = s->noise,
        .hooks = {.ctx = w, .evaluated = look, .advanced = keep_next}};
    if (!st) {
        aleat_observer_begin(w->observer, s->noise);
        st = aleat_sampler_run(sampler, &request, x, &err);
    }
    for (int k = 0; !st && signals && k < ALEAT_SIGNAL_COUNT; k++)
        signals[k] = aleat_signals_value(aleat_observer_signals(w->observer), (aleat_signal)k, 1);
    aleat_sampler_free(sampler);
    aleat_observer_free(w->observer);
    w->observer = NULL;
    return st;
}

/* ---- the same in double ------------------------------------------------------------------------
 */

// e_i of an image's copies x_hat^i = scale base + noise z^i, predicted at t; also those z and
// x_hat.
typedef struct copies {
    double e[M][COUNT];
    float z[M][COUNT], x[M][COUNT];
} copies;

static copies evaluate_copies(const scene *s, int image, double t, const double *base, double noise)
{
    copies c;
    for (int i = 0; i < M; i++) {
        const aleat_rng_key key = {.image = numbers_of[image],
                                   .step = WATCHED,
                                   .copy = (uint32_t)i,
                                   .purpose = ALEAT_FOR_COPY};
        assert_int_equal(aleat_noise_fill(&s->noise, &key, c.z[i], COUNT, NULL), ALEAT_OK);
        for (int j = 0; j < COUNT; j++)
            c.x[i][j] = (float)(base[j] + noise * (double)c.z[i][j]);
        predict_double(s, t, c.x[i], c.e[i]);
    }
    return c;
}

// Of the paper's copies x + sigma (z - e).
static copies paper_copies(const scene *s, const watch *w, int image, double sigma, const float *e)
{
    double base[COUNT];
    for (int j = 0; j < COUNT; j++)
        base[j] = (double)w->x[image * COUNT + j] - sigma * (double)e[image * COUNT + j];
    return evaluate_copies(s, image, w->t, base, sigma);
}

static double mse(const copies *c, int j, double e0)
{
    double sum = 0;
    for (int i = 0; i < M; i++)
        sum += (c->e[i][j] - e0) * (c->e[i][j] - e0);
    return sum / M;
}

static double variance(const copies *c, int j)
{
    double middle = 0, squares = 0;
    for (int i = 0; i < M; i++)
        middle += c->e[i][j] / M;
    for (int i = 0; i < M; i++)
        squares += (c->e[i][j] - middle) * (c->e[i][j] - middle);
    return squares / (M - 1);
}

// f32 copies and predictions against double: 1e-6 is measured, the variants differ by 0.01 and
// more.
#define CLOSE 1e-5
static void assert_close(double got, double want)
{
    assert_true(fabs(got - want) < CLOSE * (1 + fabs(want)));
}

/* ---- scoring -----------------------------------------------------------------------------------
 */

static void copies_at_the_level_of_the_step_index(void **state)
{
    (void)state;
    scene s;
    watch w = {0};
    make(&s, "ddim");
    const aleat_guide_options g = aleat_guide_defaults();
    assert_int_equal(observe(&s, &w, "alpha=step-index", "eps-mse", true, false, &g, NULL),
                     ALEAT_OK);
    const double sigma = sqrt(1 - s.plan->alphas_cumprod[WATCHED]);
    for (int i = 0; i < N; i++) {
        const copies c = paper_copies(&s, &w, i, sigma, w.eps);
        for (int j = 0; j < COUNT; j++)
            assert_close((double)w.map[i * COUNT + j], mse(&c, j, (double)w.eps[i * COUNT + j]));
    }
    release(&s);
}

static void copies_of_the_next_state(void **state)
{
    (void)state;
    scene s;
    watch w = {0};
    make(&s, "ddim");
    const aleat_guide_options g = aleat_guide_defaults();
    assert_int_equal(observe(&s, &w, "perturb=next", "eps-var", true, false, &g, NULL), ALEAT_OK);
    const double *abar = s.plan->alphas_cumprod, beta = 1 - abar[(int)w.t] / abar[(int)w.t - 1];
    for (int i = 0; i < N; i++) {
        double base[COUNT];
        for (int j = 0; j < COUNT; j++)
            base[j] = sqrt(1 - beta) * (double)w.next[i * COUNT + j];
        const copies c = evaluate_copies(&s, i, w.t, base, sqrt(beta));
        for (int j = 0; j < COUNT; j++)
            assert_close((double)w.map[i * COUNT + j], variance(&c, j));
    }
    assert_int_equal(observe(&s, &w, "perturb=next", "eps-var", true, true, &g, NULL),
                     ALEAT_ERR_UNSUPPORTED);
    release(&s);
    make(&s, "dpm++2m"); // looks back
    assert_int_equal(observe(&s, &w, "perturb=next", "eps-var", true, false, &g, NULL),
                     ALEAT_ERR_UNSUPPORTED);
    release(&s);
}

static void x0_in_the_place_of_the_noise_and_units_of_the_score(void **state)
{
    (void)state;
    scene s;
    watch w = {0};
    make(&s, "ddim");
    const aleat_guide_options g = aleat_guide_defaults();
    assert_int_equal(observe(&s, &w, "dpm-target=x0,units=score", "eps-mse", true, false, &g, NULL),
                     ALEAT_OK);
    for (int i = 0; i < N; i++) {
        const copies c = paper_copies(&s, &w, i, w.sigma, w.x0);
        for (int j = 0; j < COUNT; j++)
            assert_close((double)w.map[i * COUNT + j],
                         mse(&c, j, (double)w.x0[i * COUNT + j]) / (w.sigma * w.sigma));
    }
    release(&s);
}

/* ---- guidance ----------------------------------------------------------------------------------
 */

// J^T w at x in double, by central differences of the formula.
static void pull(const scene *s, double t, const float *x, const double *w, double *out)
{
    for (int k = 0; k < COUNT; k++) {
        const double h = 1e-5;
        double wide[COUNT], up[COUNT], down[COUNT];
        for (int j = 0; j < COUNT; j++)
            wide[j] = (double)x[j];
        wide[k] += h;
        mock_predict(&s->data, t, wide, up);
        wide[k] -= 2 * h;
        mock_predict(&s->data, t, wide, down);
        out[k] = 0;
        for (int j = 0; j < COUNT; j++)
            out[k] += w[j] * (up[j] - down[j]) / (2 * h);
    }
}

// dG/dx with e held, for U = mse.
static void gradient_of_mse(const scene *s, const watch *w, int image, const copies *c, double *out)
{
    memset(out, 0, COUNT * sizeof *out);
    for (int i = 0; i < M; i++) {
        double weights[COUNT], pulled[COUNT];
        for (int j = 0; j < COUNT; j++)
            weights[j] = 2.0 / M * (c->e[i][j] - (double)w->eps[image * COUNT + j]);
        pull(s, w->t, c->x[i], weights, pulled);
        for (int j = 0; j < COUNT; j++)
            out[j] += pulled[j];
    }
}

static void gradients_with_respect_to_the_input(void **state)
{
    (void)state;
    static const char *const compat[] = {"wrt=input", "wrt=input+sum-eps",
                                         "wrt=input,batch-mean=128"};
    scene s;
    make(&s, "ddim");
    aleat_guide_options g = aleat_guide_defaults();
    g.percentile = 0;
    g.strength = 0.5;
    for (int v = 0; v < 3; v++) {
        watch w = {0};
        assert_int_equal(observe(&s, &w, compat[v], "eps-mse", false, true, &g, NULL), ALEAT_OK);
        for (int i = 0; i < N; i++) {
            const copies c = paper_copies(&s, &w, i, w.sigma, w.eps);
            double gradient[COUNT], sum[COUNT] = {0}, ones[COUNT];
            gradient_of_mse(&s, &w, i, &c, gradient);
            for (int j = 0; j < COUNT; j++)
                ones[j] = 1;
            if (v == 1)
                pull(&s, w.t, w.x + i * COUNT, ones, sum);
            int moved = 0;
            for (int j = 0; j < COUNT; j++) {
                const double e = (double)w.eps[i * COUNT + j], got = (double)w.moved[i * COUNT + j];
                if (got == e) // the smallest element of U, which is not above the 0-quantile
                    continue;
                assert_close(got, e + 0.5 * (gradient[j] + sum[j]) / (v == 2 ? 128 : 1));
                moved++;
            }
            assert_true(moved >= COUNT - 1);
        }
    }
    release(&s);
}

static void other_updates_of_the_chosen_elements(void **state)
{
    (void)state;
    static const char *const compat[] = {"mode=random-sign", "mode=posterior",
                                         "mode=multiplicative", "mode=random-sign,side=lower",
                                         "mode=posterior-published"};
    scene s;
    make(&s, "ddim");
    aleat_guide_options g = aleat_guide_defaults();
    g.percentile = 0.5;
    for (int v = 0; v < 5; v++) {
        watch w = {0};
        const char *statistic = v == 2 ? "eps-std" : "eps-mse";
        assert_int_equal(observe(&s, &w, compat[v], statistic, false, true, &g, NULL), ALEAT_OK);
        for (int i = 0; i < N; i++) {
            const copies c = paper_copies(&s, &w, i, w.sigma, w.eps);
            float signs[COUNT], sorted[COUNT];
            double u[COUNT], product[COUNT] = {0};
            const aleat_rng_key key = {
                .image = numbers_of[i], .step = WATCHED, .purpose = ALEAT_FOR_SIGNS};
            assert_int_equal(aleat_noise_fill(&s.noise, &key, signs, COUNT, NULL), ALEAT_OK);
            for (int j = 0; j < COUNT; j++) {
                const double e0 = (double)w.eps[i * COUNT + j];
                double middle = e0 / (M + 1), all = 0;
                for (int k = 0; k < M; k++)
                    middle += c.e[k][j] / (M + 1);
                for (int k = 0; k < M; k++)
                    all += (c.e[k][j] - middle) * (c.e[k][j] - middle);
                u[j] = v == 1 || v == 4 ? (all + (e0 - middle) * (e0 - middle)) / M
                       : v == 2         ? sqrt(variance(&c, j))
                                        : mse(&c, j, e0);
                sorted[j] = (float)u[j];
            }
            for (int k = 0; v == 2 && k < M; k++) { // d std / d e_k = (e_k - mean) / ((M-1) std)
                double weights[COUNT], pulled[COUNT];
                for (int j = 0; j < COUNT; j++) {
                    double middle = 0;
                    for (int l = 0; l < M; l++)
                        middle += c.e[l][j] / M;
                    weights[j] = (c.e[k][j] - middle) / ((M - 1) * u[j]);
                }
                pull(&s, w.t, c.x[k], weights, pulled);
                for (int j = 0; j < COUNT; j++)
                    product[j] -= w.sigma * pulled[j];
            }
            const double limit = aleat_quantile(sorted, COUNT, 0.5);
            int moved = 0;
            for (int j = 0; j < COUNT; j++) {
                const double e = (double)w.eps[i * COUNT + j], got = (double)w.moved[i * COUNT + j];
                if (fabs(u[j] - limit) < 1e-6) // the median itself: rounding decides
                    continue;
                if (v == 3 ? u[j] > limit : u[j] < limit) {
                    assert_true(got == e);
                    continue;
                }
                double sum = e;
                for (int k = 0; k < M; k++)
                    sum += c.e[k][j];
                const double want = v == 1 ? sum / u[j] / ((M + 1) / u[j] + 1 / (w.alpha * w.alpha))
                                    : v == 4 ? e / u[j] / (M / u[j] + 1 / (w.alpha * w.alpha))
                                    : v == 2 ? e * product[j]
                                             : e + (signs[j] < 0 ? -u[j] : u[j]);
                assert_close(got, want);
                moved++;
            }
            assert_int_equal(moved, COUNT / 2);
        }
    }
    release(&s);
}

// The Jacobian of an exact denoiser is symmetric, so that the forward-only gradient is the
// gradient.
static void differences_along_the_weights_give_the_gradient_of_an_exact_denoiser(void **state)
{
    (void)state;
    scene s;
    watch exact = {0}, differences = {0};
    make(&s, "ddim");
    aleat_guide_options g = aleat_guide_defaults();
    g.percentile = 0;
    assert_int_equal(observe(&s, &exact, NULL, "eps-mse", false, true, &g, NULL), ALEAT_OK);
    g.gradient = ALEAT_GRADIENT_FD;
    const int64_t before = mock_rows(&s.denoiser);
    assert_int_equal(observe(&s, &differences, NULL, "eps-mse", false, true, &g, NULL), ALEAT_OK);
    assert_int_equal(mock_rows(&s.denoiser) - before, N * (STEPS + 3 * M));
    double change = 0;
    for (int j = 0; j < N * COUNT; j++) {
        change = fmax(change, fabs((double)exact.moved[j] - (double)exact.eps[j]));
        // truncation: the square of the step of 1/128, times a third derivative of order 1
        assert_true(fabs((double)exact.moved[j] - (double)differences.moved[j]) < 1e-3);
    }
    assert_true(change > 0.1);
    g.gradient = ALEAT_GRADIENT_JVP; // which the formula does not have
    assert_int_equal(observe(&s, &differences, NULL, "eps-mse", false, true, &g, NULL),
                     ALEAT_ERR_UNSUPPORTED);
    release(&s);
}

static void a_step_scored_and_guided_evaluates_its_copies_once(void **state)
{
    (void)state;
    scene s;
    watch scored = {0}, guided = {0}, both = {0};
    make(&s, "ddim");
    const aleat_guide_options g = aleat_guide_defaults();
    assert_int_equal(observe(&s, &scored, NULL, "eps-mse", true, false, &g, NULL), ALEAT_OK);
    assert_int_equal(observe(&s, &guided, NULL, "eps-mse", false, true, &g, NULL), ALEAT_OK);
    const int64_t before = mock_rows(&s.denoiser);
    assert_int_equal(observe(&s, &both, NULL, "eps-mse", true, true, &g, NULL), ALEAT_OK);
    assert_int_equal(mock_rows(&s.denoiser) - before, N * (STEPS + M));
    assert_memory_equal(both.map, scored.map, sizeof both.map);
    assert_memory_equal(both.moved, guided.moved, sizeof both.moved);
    release(&s);
}

static void unknown_variants_are_refused(void **state)
{
    (void)state;
    aleat_compat c;
    aleat_error err = {0};
    static const char *const wrong[] = {"alpha=timestep", "batch-mean=0",          "batch-mean=x",
                                        "wrt=input,",     "wrt=input,,side=lower", "mode"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const aleat_status st = aleat_compat_parse(&c, wrong[i], &err);
        assert_int_equal(st, i == 3 ? ALEAT_OK : ALEAT_ERR_ARGUMENT); // a comma at the end is fine
    }
    assert_int_equal(aleat_compat_parse(&c, "batch-mean=128,side=lower", &err), ALEAT_OK);
    assert_true(c.batch_mean == 128 && c.lower && !aleat_compat_moves_copies(&c));
    const char *help;
    for (int i = 0; aleat_compat_name(i, &help); i++)
        assert_true(strchr(aleat_compat_name(i, NULL), '=') && *help);
}

/* ---- signals -----------------------------------------------------------------------------------
 */

static void signals_are_what_the_path_says(void **state)
{
    (void)state;
    scene s;
    watch w = {0};
    make(&s, "ddim");
    double got[ALEAT_SIGNAL_COUNT], spread_sum = 0, drift = 0, error = 0;
    const aleat_guide_options g = aleat_guide_defaults();
    assert_int_equal(observe(&s, &w, NULL, "eps-mse", false, false, &g, got), ALEAT_OK);
    for (int j = COUNT; j < 2 * COUNT; j++) { // image 1, steps 4 to 7
        double middle = 0, squares = 0;
        for (int k = 4; k < 8; k++)
            middle += (double)w.paths[k][j] / 4;
        for (int k = 4; k < 8; k++)
            squares += pow((double)w.paths[k][j] - middle, 2);
        spread_sum += squares / 3 / COUNT;
    }
    for (int k = 4; k < 8; k++) {
        // both steps written out: x' = (s'/s) x + a' (1 - exp(-h)) D, D = x0 or extrapolated
        double moved = 0, between = 0;
        const double here = log(w.levels[k][0] / w.levels[k][1]);
        const double h = log(w.levels[k + 1][0] / w.levels[k + 1][1]) - here;
        const double before = here - log(w.levels[k - 1][0] / w.levels[k - 1][1]);
        for (int j = COUNT; j < 2 * COUNT; j++) {
            const double d = (double)w.paths[k][j] - (double)w.paths[k - 1][j];
            const double first = w.levels[k + 1][0] * (1 - exp(-h)) * (double)w.paths[k][j];
            const double second =
                w.levels[k + 1][0] * (1 - exp(-h)) * ((double)w.paths[k][j] + h / (2 * before) * d);
            moved += d * d;
            between += (second - first) * (second - first);
        }
        drift += k > 4 ? sqrt(moved) : 0;
        error += sqrt(between);
    }
    assert_true(fabs(got[ALEAT_SIGNAL_PATH_VARIANCE] - spread_sum) < 1e-9 * spread_sum);
    assert_true(fabs(got[ALEAT_SIGNAL_DRIFT] - drift) < 1e-9 * drift);
    assert_true(fabs(got[ALEAT_SIGNAL_SOLVER_ERROR] - error) < 1e-9 * error);
    assert_true(isnan(got[ALEAT_SIGNAL_CFG_GAP])); // no guidance by labels
    release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_at_the_level_of_the_step_index),
        cmocka_unit_test(copies_of_the_next_state),
        cmocka_unit_test(x0_in_the_place_of_the_noise_and_units_of_the_score),
        cmocka_unit_test(gradients_with_respect_to_the_input),
        cmocka_unit_test(other_updates_of_the_chosen_elements),
        cmocka_unit_test(differences_along_the_weights_give_the_gradient_of_an_exact_denoiser),
        cmocka_unit_test(a_step_scored_and_guided_evaluates_its_copies_once),
        cmocka_unit_test(unknown_variants_are_refused),
        cmocka_unit_test(signals_are_what_the_path_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
