/* Guidance by a classifier: the pull itself, and what samplers do with a gradient. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "denoiser/classifier.h"
#include "mock_denoisers.h"
#include "samplers/sampler.h"

enum { SIZE = 4, CLASSES = 3, N = 2 };

/* ---- the pull -------------------------------------------------------------------------------- */

// Logits A x, so that d log p(y|x) / dx = A^T (onehot(y) - softmax(A x)).
static const float A[CLASSES][SIZE] = {{1, -2, 0.5f, 0}, {0, 1, 1, -1}, {-0.5f, 0.25f, 2, 3}};

static aleat_status linear_predict(void *self, const aleat_batch *in, float *out, aleat_error *err)
{
    (void)self;
    (void)err;
    for (int64_t i = 0; i < in->n; i++)
        for (int k = 0; k < CLASSES; k++) {
            out[i * CLASSES + k] = 0;
            for (int j = 0; j < SIZE; j++)
                out[i * CLASSES + k] += A[k][j] * in->x[i * SIZE + j];
        }
    return ALEAT_OK;
}

static aleat_status linear_backward(void *self, const float *cotangent, float *grad_x,
                                    aleat_error *err)
{
    (void)self;
    (void)err;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < SIZE; j++) {
            grad_x[i * SIZE + j] = 0;
            for (int k = 0; k < CLASSES; k++)
                grad_x[i * SIZE + j] += A[k][j] * cotangent[i * CLASSES + k];
        }
    return ALEAT_OK;
}

static const aleat_denoiser_ops linear_ops = {
    .predict = linear_predict, .forward_keep = linear_predict, .backward = linear_backward};
static const aleat_denoiser linear = {
    .ops = &linear_ops,
    .info = {.channels = 1, .height = 2, .width = 2, .out_channels = CLASSES, .null_class = -1}};

static double log_p(const double *x, int label)
{
    double logits[CLASSES] = {0}, sum = 0;
    for (int k = 0; k < CLASSES; k++) {
        for (int j = 0; j < SIZE; j++)
            logits[k] += (double)A[k][j] * x[j];
        sum += exp(logits[k]);
    }
    return logits[label] - log(sum);
}

static void the_pull_is_the_scaled_gradient_of_the_log_probability(void **state)
{
    (void)state;
    const float x[N * SIZE] = {0.5f, -1, 2, 0.25f, 1, 0, -0.5f, 0.125f};
    const int32_t labels[N] = {2, 0};
    const double scale = 1.5, h = 1e-5;
    float gradient[N * SIZE];
    aleat_error err = {0};
    aleat_classifier_pull *pull;
    assert_int_equal(aleat_classifier_pull_new(&pull, &linear, scale, N, &err), ALEAT_OK);
    aleat_batch batch = {.n = N, .height = 2, .width = 2, .x = x, .condition = {.labels = labels}};
    assert_int_equal(aleat_classifier_pull_run(pull, &batch, gradient, &err), ALEAT_OK);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < SIZE; j++) {
            double at[SIZE];
            for (int m = 0; m < SIZE; m++)
                at[m] = (double)x[i * SIZE + m];
            at[j] += h;
            const double above = log_p(at, labels[i]);
            at[j] -= 2 * h;
            const double slope = (above - log_p(at, labels[i])) / (2 * h);
            // differences in double are good to 1e-9 here; the rest is float arithmetic
            assert_true(fabs(gradient[i * SIZE + j] - scale * slope) < 16 * FLT_EPSILON);
        }
    const int32_t beyond[N] = {0, CLASSES};
    batch.condition.labels = beyond;
    assert_int_equal(aleat_classifier_pull_run(pull, &batch, gradient, &err), ALEAT_ERR_ARGUMENT);
    aleat_classifier_pull_free(pull);
}

/* ---- samplers -------------------------------------------------------------------------------- */

// Two classes of data; the classifier that knows them exactly pulls the mixture to one of them.
static const double weights[2] = {0.3, 0.7}, spreads[2] = {0.4, 0.3};
static const double means[2 * SIZE] = {0.5, -0.25, 0, 0.75, -0.5, 0.5, 0.25, -0.75};

typedef struct exact {
    mock_data both, one;
    double scale;
    float gradient[SIZE]; // of image 0 at the last evaluation
    double variance;
} exact;

static exact exact_of(const double *abar, int n)
{
    exact e = {.scale = 1};
    e.both = (mock_data){.channels = 1,
                         .height = 2,
                         .width = 2,
                         .components = 2,
                         .weight = weights,
                         .spread = spreads,
                         .mean = means,
                         .clock = MOCK_LOG_SIGMA,
                         .abar = abar,
                         .n_abar = n};
    e.one = e.both;
    e.one.components = 1;
    return e;
}

// grad log p(class 0 | x) = score of class 0 - score of both, and a score is -eps / sigma.
static aleat_status exact_gradient(void *ctx, const aleat_evaluation *evaluation, float *gradient,
                                   aleat_error *err)
{
    (void)err;
    exact *e = ctx;
    for (int64_t i = 0; i < evaluation->n; i++) {
        double x[SIZE], both[SIZE], one[SIZE];
        for (int j = 0; j < SIZE; j++)
            x[j] = (double)evaluation->x[i * SIZE + j];
        mock_predict(&e->both, (double)evaluation->t_network, x, both);
        mock_predict(&e->one, (double)evaluation->t_network, x, one);
        for (int j = 0; j < SIZE; j++)
            gradient[i * SIZE + j] =
                (float)(e->scale * (both[j] - one[j]) / evaluation->step->sigma);
    }
    memcpy(e->gradient, gradient, sizeof e->gradient);
    e->variance = evaluation->step->variance;
    return ALEAT_OK;
}

static aleat_sampling_plan *plan_of(const char *sampler, int steps)
{
    aleat_error err = {0};
    aleat_sampler_config config;
    aleat_sampling_plan *plan;
    assert_int_equal(aleat_sampler_config_default(&config, sampler, &err), ALEAT_OK);
    config.clip.clamp = false;
    assert_int_equal(aleat_sampling_plan_new(&plan, &config, steps, &err), ALEAT_OK);
    aleat_sampler_config_clear(&config);
    return plan;
}

static void sample(const aleat_sampling_plan *plan, const mock_data *data, exact *pulled, float *x)
{
    aleat_error err = {0};
    aleat_sampler *sampler;
    aleat_denoiser d = mock_denoiser(data);
    const uint32_t images[N] = {0, 1};
    const aleat_sample_request request = {
        .n = N,
        .images = images,
        .noise = aleat_noise_philox(3),
        .hooks = {.ctx = pulled, .gradient = pulled ? exact_gradient : NULL}};
    assert_int_equal(aleat_sampler_new(&sampler, plan, &d, ALEAT_TIME_IDENTITY, N, 2, 2, &err),
                     ALEAT_OK);
    assert_int_equal(aleat_sampler_run(sampler, &request, x, &err), ALEAT_OK);
    aleat_sampler_free(sampler);
    aleat_denoiser_destroy(&d);
}

static void a_mixture_pulled_by_its_exact_classifier_is_the_class(void **state)
{
    (void)state;
    static const char *const samplers[] = {"ddim", "dpm++2m", "euler"};
    for (size_t s = 0; s < sizeof samplers / sizeof *samplers; s++) {
        aleat_sampling_plan *plan = plan_of(samplers[s], 10);
        exact e = exact_of(plan->alphas_cumprod, plan->train_steps);
        float pulled[N * SIZE], want[N * SIZE], plain[N * SIZE];
        sample(plan, &e.both, &e, pulled);
        sample(plan, &e.one, NULL, want);
        sample(plan, &e.both, NULL, plain);
        double moved = 0;
        for (int j = 0; j < N * SIZE; j++) {
            // the same eps from two formulas: float rounding, amplified by sigma/alpha ~ 160
            assert_true(fabs((double)pulled[j] - (double)want[j]) < 2e-4);
            moved = fmax(moved, fabs((double)pulled[j] - (double)plain[j]));
        }
        assert_true(moved > 0.1); // or the test would show nothing
        aleat_sampling_plan_free(plan);
    }
}

// One step of DDPM: the state moves by the variance times the gradient, and by nothing else.
static void the_mean_of_ddpm_moves_by_the_variance_times_the_gradient(void **state)
{
    (void)state;
    aleat_sampling_plan *plan = plan_of("ddpm", 50);
    plan->n_steps = 1; // the first step of the fifty
    exact e = exact_of(plan->alphas_cumprod, plan->train_steps);
    e.scale = 40; // the gradient is small where nearly all is noise
    float pulled[N * SIZE], plain[N * SIZE];
    sample(plan, &e.both, &e, pulled);
    sample(plan, &e.both, NULL, plain);
    assert_true(e.variance > 0);
    for (int j = 0; j < SIZE; j++) {
        const double want = e.variance * (double)e.gradient[j];
        assert_true(fabs(want) > 1e-4);
        assert_true(fabs((double)pulled[j] - (double)plain[j] - want) < 8 * FLT_EPSILON * 4);
    }
    aleat_sampling_plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pull_is_the_scaled_gradient_of_the_log_probability),
        cmocka_unit_test(a_mixture_pulled_by_its_exact_classifier_is_the_class),
        cmocka_unit_test(the_mean_of_ddpm_moves_by_the_variance_times_the_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
