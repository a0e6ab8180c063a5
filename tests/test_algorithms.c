/* Algorithms 1 and 2 through everything below them: model files, network, sampler, against the
 * reference suite's double runs. Larger cases: only where $ALEAT_SHARED has them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "denoiser/network.h"
#include "models/model.h"
#include "reference.h"
#include "samplers/prediction.h"
#include "uncertainty/observer.h"

static const uint32_t numbers[2] = {0, 1};
static const aleat_clip no_clip = {.range = 1, .ratio = 0.995, .max = 1};
static const aleat_clip clip = {.clamp = true, .range = 1, .ratio = 0.995, .max = 1};

typedef struct network {
    aleat_model_files files;
    aleat_denoiser denoiser;
    int64_t count;
} network;

static void open_network(network *n, const char *name)
{
    char path[4096];
    aleat_error err = {0};
    const char *shared = getenv("ALEAT_SHARED");
    (void)snprintf(path, sizeof path, "%s/ref/%s/model", shared ? shared : "../shared", name);
    aleat_status st = aleat_model_files_open(&n->files, path, &(aleat_model_options){0}, &err);
    const aleat_network *w = &n->files.network;
    const aleat_network_spec spec = {.graph = n->files.graph,
                                     .x = w->x,
                                     .t = w->t,
                                     .label = w->label,
                                     .out = w->out,
                                     .info = n->files.info,
                                     .engine = {.threads = 1}};
    if (!st)
        st = aleat_network_denoiser(&n->denoiser, &spec, &err);
    if (st)
        fail_msg("%s", err.message);
    n->count = n->files.info.channels * n->files.info.height * n->files.info.width;
}

static void close_network(network *n)
{
    aleat_denoiser_destroy(&n->denoiser);
    aleat_model_files_close(&n->files);
}

// The linear schedule that all these cases have.
static double signal_at(int t)
{
    double abar = 1;
    for (int s = 0; s <= t; s++)
        abar *= 1 - (1e-4 + (0.02 - 1e-4) * s / 999);
    return abar;
}

// A state of the network at training step t, with its own prediction.
typedef struct prepared {
    float *x, *eps, *x0, *z;
    aleat_noise_arrays stored;
    aleat_noise_source noise;
    aleat_noisy_state state;
} prepared;

static void prepare(prepared *p, const network *n, reference *x, reference *z, int t, bool clipped)
{
    const aleat_denoiser_info *info = &n->denoiser.info;
    const double abar = signal_at(t), alpha = sqrt(abar), sigma = sqrt(1 - abar);
    const int64_t images = x->count / n->count;
    const float times[2] = {(float)t, (float)t};
    p->x = reference_f32(x);
    p->z = reference_f32(z);
    p->eps = calloc((size_t)x->count, sizeof(float));
    p->x0 = calloc((size_t)x->count, sizeof(float));
    const aleat_batch batch = {
        .n = images, .height = info->height, .width = info->width, .x = p->x, .t = times};
    assert_int_equal(aleat_denoiser_predict(&n->denoiser, &batch, p->eps, NULL), ALEAT_OK);
    aleat_x0_of_eps(alpha, sigma, p->x, p->eps, p->x0, x->count);
    if (clipped)
        aleat_clip_x0(&clip, p->x0, x->count, NULL);
    p->stored = (aleat_noise_arrays){
        .copy = p->z, .images = images, .count = n->count, .copies = 5, .copy_steps = 1};
    p->noise = aleat_noise_from_arrays(&p->stored);
    p->state = (aleat_noisy_state){.n = images,
                                   .height = info->height,
                                   .width = info->width,
                                   .images = numbers,
                                   .alpha = alpha,
                                   .sigma = sigma,
                                   .t_network = (float)t,
                                   .x = p->x,
                                   .eps = p->eps,
                                   .x0 = p->x0,
                                   .clip = clipped ? &clip : &no_clip};
    reference_free(x);
    reference_free(z);
}

static void free_prepared(prepared *p)
{
    free(p->x);
    free(p->eps);
    free(p->x0);
    free(p->z);
}

// max |got - want| <= tolerance max |want|
static void assert_like(const float *got, double tolerance, reference want, const char *what)
{
    const double error = max_error(got, want.data, want.count);
    if (!(error <= tolerance))
        fail_msg("%s: error %g", what, error);
    reference_free(&want);
}

static void check_maps(const network *n, const char *folder, int t, bool clipped)
{
    static const char *const names[] = {"eps-var", "eps-var0", "eps-mse", "eps-square"};
    static const char *const files[] = {"unbiased", "biased", "centred", "meansq"};
    prepared p;
    reference x = reference_load_shared("%s/t%d_x_t.npy", folder, t);
    reference z = reference_load_shared("%s/t%d_z.npy", folder, t);
    prepare(&p, n, &x, &z, t, clipped);
    aleat_estimator_options options = {.copies = 5};
    float *maps[4];
    for (int k = 0; k < 4; k++) {
        options.statistics[k] = aleat_statistic_find(names[k]);
        maps[k] = calloc((size_t)(p.state.n * n->count), sizeof(float));
    }
    aleat_estimator *estimator = NULL;
    aleat_error err = {0};
    aleat_status st = aleat_estimator_new(&estimator, &n->denoiser, ALEAT_PREDICTS_EPSILON,
                                          &options, p.state.n, p.state.height, p.state.width, &err);
    if (!st)
        st = aleat_estimator_run(estimator, &p.state, &p.noise, maps, &err);
    if (st)
        fail_msg("%s", err.message);
    assert_like(p.eps, 1e-4, reference_load_shared("%s/t%d_eps_t_f64.npy", folder, t), "eps");
    for (int k = 0; k < 4; k++) { // the cases' tolerance in f32
        assert_like(maps[k], 1e-4,
                    reference_load_shared("%s/t%d_%sU_%s_f64.npy", folder, t,
                                          clipped ? "clip_" : "", files[k]),
                    names[k]);
        free(maps[k]);
    }
    aleat_estimator_free(estimator);
    free_prepared(&p);
}

static void algorithm_1_agrees_with_the_reference(void **state)
{
    (void)state;
    if (!reference_shared_there())
        return;
    network n = {0};
    open_network(&n, "ddpm-unet-a");
    check_maps(&n, "alg1-a", 400, false);
    check_maps(&n, "alg1-a", 400, true);
    close_network(&n);
    n = (network){0};
    open_network(&n, "ddpm-unet-m");
    for (int k = 0; k < 4; k++)
        check_maps(&n, "alg1-b", k < 2 ? 60 : 801, k % 2);
    close_network(&n);
}

static void check_gradient(const network *n, aleat_guide_statistic statistic, const char *name,
                           bool clipped)
{
    prepared p;
    reference x = reference_load_shared("alg2-step/x_t.npy");
    reference z = reference_load_shared("alg2-step/z.npy");
    prepare(&p, n, &x, &z, 420, clipped);
    const size_t all = (size_t)(p.state.n * n->count);
    float *moved = calloc(all, sizeof *moved);
    aleat_guide_report report = {.map = calloc(all, sizeof(float)),
                                 .gradient = calloc(all, sizeof(float)),
                                 .mask = calloc(all, 1)};
    aleat_guide_options options = aleat_guide_defaults();
    options.statistic = statistic;
    aleat_guide *guide = NULL;
    aleat_error err = {0};
    aleat_status st = aleat_guide_new(&guide, &n->denoiser, ALEAT_PREDICTS_EPSILON, &options,
                                      p.state.n, p.state.height, p.state.width, &err);
    if (!st)
        st = aleat_guide_run(guide, &p.state, &p.noise, NULL, moved, &report, &err);
    if (st)
        fail_msg("%s", err.message);
    char file[100];
    (void)snprintf(file, sizeof file, "%s%s", name, clipped ? "_clip" : "");
    // the case's tolerance in f32
    assert_like(report.map, 2e-4, reference_load_shared("alg2-step/U_%s_f64.npy", file), file);
    assert_like(report.gradient, 2e-4, reference_load_shared("alg2-step/dU_deps_%s_f64.npy", file),
                file);
    reference mask = reference_load_shared("alg2-step/mask_%s.npy", file);
    for (int64_t j = 0; j < mask.count; j++)
        assert_int_equal(report.mask[j], (int)mask.data[j]);
    reference_free(&mask);
    if (statistic == ALEAT_GUIDE_VAR1 || statistic == ALEAT_GUIDE_MSE)
        assert_like(moved, 2e-4, reference_load_shared("alg2-step/eps_hat_%s_f64.npy", file), file);
    free(moved);
    free(report.map);
    free(report.gradient);
    free(report.mask);
    aleat_guide_free(guide);
    free_prepared(&p);
}

static void one_guided_step_agrees_with_the_reference(void **state)
{
    (void)state;
    if (!reference_shared_there())
        return;
    network n = {0};
    open_network(&n, "ddpm-unet-m");
    check_gradient(&n, ALEAT_GUIDE_VAR1, "unbiased", false);
    check_gradient(&n, ALEAT_GUIDE_VAR1, "unbiased", true);
    check_gradient(&n, ALEAT_GUIDE_VAR0, "biased", false);
    check_gradient(&n, ALEAT_GUIDE_MSE, "centred", false);
    check_gradient(&n, ALEAT_GUIDE_MSE, "centred", true);
    check_gradient(&n, ALEAT_GUIDE_SQUARE, "meansq", false);
    close_network(&n);
}

typedef struct tape {
    float states[11][768];
} tape;

// The observer has the hook that guides; this one only records.
static aleat_status record(void *ctx, int index, const float *x, int64_t n, aleat_error *err)
{
    (void)err;
    (void)n;
    memcpy(((tape *)ctx)->states[index + 1], x, sizeof((tape *)ctx)->states[0]);
    return ALEAT_OK;
}

typedef struct both {
    aleat_observer *observer;
    tape tape;
} both;

static aleat_status forward_evaluated(void *ctx, aleat_evaluation *e, aleat_error *err)
{
    return aleat_observer_evaluated(((both *)ctx)->observer, e, err);
}

static aleat_status forward_advanced(void *ctx, int index, const float *x, int64_t n,
                                     aleat_error *err)
{
    return record(&((both *)ctx)->tape, index, x, n, err);
}

static void check_trajectory(const network *n, aleat_guide_statistic statistic, bool clipped,
                             const char *file)
{
    aleat_sampler_config config;
    aleat_sampling_plan *plan = NULL;
    aleat_sampler *sampler = NULL;
    aleat_error err = {0};
    assert_int_equal(aleat_sampler_config_default(&config, "ddim", NULL), ALEAT_OK);
    config.clip.clamp = clipped;
    assert_int_equal(aleat_sampling_plan_new(&plan, &config, 10, NULL), ALEAT_OK);
    reference x_t = reference_load_shared("alg2-trajectory/x_T.npy");
    reference z = reference_load_shared("alg2-trajectory/z.npy");
    float *initial = reference_f32(&x_t), *draws = reference_f32(&z), x[768];
    aleat_noise_arrays stored = {
        .copy = draws, .images = 1, .count = 768, .copies = 5, .copy_steps = 10};
    const aleat_noise_source noise = aleat_noise_from_arrays(&stored);
    aleat_observer_options options = {.guide = {0, 10}, .guidance = aleat_guide_defaults()};
    options.guidance.statistic = statistic;
    options.guidance.clip = ALEAT_CLIP_OFF; // the copies, whatever the sampler does
    static both hooks;
    const aleat_sample_request request = {.n = 1,
                                          .images = numbers,
                                          .noise = noise,
                                          .initial = initial,
                                          .hooks = {&hooks, forward_evaluated, forward_advanced}};
    aleat_status st = aleat_observer_new(&hooks.observer, NULL, &n->denoiser,
                                         ALEAT_PREDICTS_EPSILON, &options, 1, 16, 16, &err);
    if (!st)
        st = aleat_sampler_new(&sampler, plan, &n->denoiser, ALEAT_TIME_IDENTITY, 1, 16, 16, &err);
    if (!st) {
        aleat_observer_begin(hooks.observer, noise);
        st = aleat_sampler_run(sampler, &request, x, &err);
    }
    if (st)
        fail_msg("%s", err.message);
    assert_like(hooks.tape.states[0], 1e-3, // the case's tolerance in f32
                reference_load_shared("alg2-trajectory/x_%s_f64.npy", file), file);
    reference_free(&x_t);
    reference_free(&z);
    free(initial);
    free(draws);
    aleat_sampler_free(sampler);
    aleat_observer_free(hooks.observer);
    aleat_sampling_plan_free(plan);
}

static void a_guided_run_agrees_with_the_reference(void **state)
{
    (void)state;
    if (!reference_shared_there())
        return;
    network n = {0};
    open_network(&n, "ddpm-unet-m");
    check_trajectory(&n, ALEAT_GUIDE_VAR1, false, "unbiased");
    check_trajectory(&n, ALEAT_GUIDE_MSE, true, "centred_clip");
    close_network(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(algorithm_1_agrees_with_the_reference),
        cmocka_unit_test(one_guided_step_agrees_with_the_reference),
        cmocka_unit_test(a_guided_run_agrees_with_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
