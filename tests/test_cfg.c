/* Classifier-free guidance around a denoiser that is a formula of x, t and the label. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "denoiser/cfg.h"
#include "samplers/plan.h"
#include "uncertainty/observer.h"

enum { N = 3, COUNT = 8, OUT = 16 }; // images of 2x2x2, and a learned variance
#define SCALE 2.5

/* ---- the denoiser: prediction sin(a x + t), variance cos(a x), a = 0.4 + 0.3 label ------------
 */

typedef struct formula {
    float x[8 * COUNT], t[8];
    int32_t labels[8];
    int64_t kept;
    int calls;
} formula;

static double slope_of(int32_t label)
{
    return 0.4 + 0.3 * label;
}

static aleat_status predict(void *self, const aleat_batch *in, float *out, aleat_error *err)
{
    (void)err;
    ((formula *)self)->calls++;
    for (int64_t i = 0; i < in->n; i++)
        for (int64_t j = 0; j < COUNT; j++) {
            const double y = slope_of(in->condition.labels[i]) * (double)in->x[i * COUNT + j];
            out[i * OUT + j] = (float)sin(y + (double)in->t[i]);
            out[i * OUT + COUNT + j] = (float)cos(y);
        }
    return ALEAT_OK;
}

static aleat_status forward_keep(void *self, const aleat_batch *in, float *out, aleat_error *err)
{
    formula *f = self;
    assert_true(in->n <= 8);
    f->kept = in->n;
    memcpy(f->x, in->x, (size_t)(in->n * COUNT) * sizeof *f->x);
    memcpy(f->t, in->t, (size_t)in->n * sizeof *f->t);
    memcpy(f->labels, in->condition.labels, (size_t)in->n * sizeof *f->labels);
    return predict(self, in, out, err);
}

static aleat_status backward(void *self, const float *v, float *grad, aleat_error *err)
{
    (void)err;
    const formula *f = self;
    for (int64_t i = 0; i < f->kept; i++)
        for (int64_t j = 0; j < COUNT; j++) {
            const double a = slope_of(f->labels[i]), y = a * (double)f->x[i * COUNT + j];
            grad[i * COUNT + j] = (float)(a * (cos(y + (double)f->t[i]) * (double)v[i * OUT + j] -
                                               sin(y) * (double)v[i * OUT + COUNT + j]));
        }
    return ALEAT_OK;
}

static aleat_status jvp(void *self, const aleat_batch *in, const float *tangent, float *out,
                        float *tangent_out, aleat_error *err)
{
    for (int64_t i = 0; i < in->n; i++)
        for (int64_t j = 0; j < COUNT; j++) {
            const double a = slope_of(in->condition.labels[i]);
            const double y = a * (double)in->x[i * COUNT + j];
            const double t = (double)tangent[i * COUNT + j];
            tangent_out[i * OUT + j] = (float)(a * cos(y + (double)in->t[i]) * t);
            tangent_out[i * OUT + COUNT + j] = (float)(-a * sin(y) * t);
        }
    return out ? predict(self, in, out, err) : ALEAT_OK;
}

static const aleat_denoiser_ops ops = {
    .predict = predict, .forward_keep = forward_keep, .backward = backward, .jvp = jvp};

/* ---- a guided one -----------------------------------------------------------------------------
 */

static const int32_t null_label = 4, labels[N] = {0, 3, 1};

typedef struct scene {
    formula formula;
    aleat_denoiser inner, guided;
    float x[N * COUNT], t[N];
    aleat_batch batch;
} scene;

static void make(scene *s)
{
    memset(s, 0, sizeof *s);
    s->inner = (aleat_denoiser){.ops = &ops,
                                .self = &s->formula,
                                .info = {.channels = 2,
                                         .height = 2,
                                         .width = 2,
                                         .out_channels = 4,
                                         .n_classes = 5,
                                         .null_class = null_label}};
    const aleat_cfg_options options = {.scale = SCALE, .unconditional = {.labels = &null_label}};
    aleat_error err = {0};
    if (aleat_cfg_denoiser(&s->guided, &s->inner, &options, &err))
        fail_msg("%s", err.message);
    aleat_rng_normals(&(aleat_rng_key){.seed = 3}, 0, s->x, N * COUNT);
    for (int i = 0; i < N; i++)
        s->t[i] = 0.1f * (float)i;
    s->batch = (aleat_batch){
        .n = N, .height = 2, .width = 2, .x = s->x, .t = s->t, .condition = {.labels = labels}};
}

static double half(const scene *s, int i, int j, int32_t label)
{
    return sin(slope_of(label) * (double)s->x[i * COUNT + j] + (double)s->t[i]);
}

static void predictions_are_combined_and_the_variance_is_the_conditional_one(void **state)
{
    (void)state;
    scene s;
    make(&s);
    float out[N * OUT], kept[N * OUT];
    assert_null(aleat_cfg_gap(&s.guided));
    assert_int_equal(aleat_denoiser_predict(&s.guided, &s.batch, out, NULL), ALEAT_OK);
    const double *gap = aleat_cfg_gap(&s.guided);
    for (int i = 0; i < N; i++) {
        double squares = 0;
        for (int j = 0; j < COUNT; j++) {
            const double c = half(&s, i, j, labels[i]), u = half(&s, i, j, null_label);
            // halves and result are rounded to f32: (1 + 2 w) ulp of 1
            assert_true(fabs((double)out[i * OUT + j] - (u + SCALE * (c - u))) < 1e-6);
            assert_true(fabs((double)out[i * OUT + COUNT + j] -
                             cos(slope_of(labels[i]) * (double)s.x[i * COUNT + j])) < 1e-7);
            squares += (c - u) * (c - u);
        }
        assert_true(fabs(gap[i] - sqrt(squares)) < 1e-6);
    }
    assert_int_equal(s.guided.ops->forward_keep(s.guided.self, &s.batch, kept, NULL), ALEAT_OK);
    assert_memory_equal(out, kept, sizeof out);
    assert_int_equal(s.formula.calls, 2); // both halves in one batch
    assert_null(aleat_cfg_gap(&s.inner));
    aleat_denoiser_destroy(&s.guided);
}

static void derivatives_are_those_of_the_combination(void **state)
{
    (void)state;
    scene s;
    make(&s);
    float v[N * OUT], out[N * OUT], tangent_out[N * OUT], grad[N * COUNT], tangent[N * COUNT];
    aleat_rng_normals(&(aleat_rng_key){.seed = 4}, 0, v, N * OUT);
    aleat_rng_normals(&(aleat_rng_key){.seed = 5}, 0, tangent, N * COUNT);
    assert_int_not_equal(s.guided.ops->backward(s.guided.self, v, grad, NULL), ALEAT_OK);
    assert_int_equal(s.guided.ops->forward_keep(s.guided.self, &s.batch, out, NULL), ALEAT_OK);
    // evaluations in between do not disturb what was kept
    assert_int_equal(s.guided.ops->jvp(s.guided.self, &s.batch, tangent, out, tangent_out, NULL),
                     ALEAT_OK);
    assert_int_equal(s.guided.ops->backward(s.guided.self, v, grad, NULL), ALEAT_OK);
    double left = 0, right = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < COUNT; j++) {
            const double c = slope_of(labels[i]), u = slope_of(null_label);
            const double x = (double)s.x[i * COUNT + j], t = (double)s.t[i];
            const double slope = SCALE * c * cos(c * x + t) + (1 - SCALE) * u * cos(u * x + t);
            const double want =
                slope * (double)v[i * OUT + j] - c * sin(c * x) * (double)v[i * OUT + COUNT + j];
            assert_true(fabs((double)grad[i * COUNT + j] - want) < 1e-5);
            assert_true(fabs((double)tangent_out[i * OUT + j] -
                             slope * (double)tangent[i * COUNT + j]) < 1e-5);
        }
    for (int k = 0; k < N * OUT; k++)
        left += (double)v[k] * (double)tangent_out[k];
    for (int k = 0; k < N * COUNT; k++)
        right += (double)grad[k] * (double)tangent[k];
    assert_true(fabs(left - right) < 1e-4 * fabs(left));
    float again[N * OUT];
    assert_int_equal(aleat_denoiser_predict(&s.guided, &s.batch, again, NULL), ALEAT_OK);
    assert_memory_equal(again, out, sizeof out);
    aleat_denoiser_destroy(&s.guided);
}

// Algorithm 2 through it: the gradient of sum U by central differences of the estimator.
static void uncertainty_and_its_gradient_see_the_combination(void **state)
{
    (void)state;
    scene s;
    make(&s);
    static const aleat_clip no_clip = {.range = 1, .max = 1};
    static const uint32_t numbers[N] = {0, 1, 2};
    float eps[N * COUNT], moved[N * COUNT], gradient[N * COUNT], map[N * COUNT], joint[N * COUNT];
    aleat_rng_normals(&(aleat_rng_key){.seed = 6}, 0, eps, N * COUNT);
    const aleat_noise_source noise = aleat_noise_philox(7);
    const aleat_noisy_state at = {.n = N,
                                  .height = 2,
                                  .width = 2,
                                  .images = numbers,
                                  .alpha = 0.8,
                                  .sigma = 0.6,
                                  .t_network = 0.2f,
                                  .condition = {.labels = labels},
                                  .x = s.x,
                                  .eps = eps,
                                  .x0 = s.x,
                                  .clip = &no_clip};
    aleat_guide_options options = aleat_guide_defaults();
    options.copies = 4;
    options.max_rows = 4; // the formula keeps at most 8 rows
    const aleat_estimator_options ask = {.copies = 4,
                                         .statistics = {aleat_statistic_find("eps-var")}};
    aleat_guide *guide = NULL;
    aleat_estimator *estimator = NULL;
    float *const maps[1] = {map}, *const joint_maps[1] = {joint};
    assert_int_equal(
        aleat_guide_new(&guide, &s.guided, ALEAT_PREDICTS_EPSILON, &options, N, 2, 2, NULL),
        ALEAT_OK);
    assert_int_equal(
        aleat_estimator_new(&estimator, &s.guided, ALEAT_PREDICTS_EPSILON, &ask, N, 2, 2, NULL),
        ALEAT_OK);
    const aleat_guide_report report = {.gradient = gradient};
    const aleat_guide_request request = {.estimator = estimator, .maps = joint_maps};
    assert_int_equal(aleat_guide_run(guide, &at, &noise, &request, moved, &report, NULL), ALEAT_OK);
    const uint64_t before = aleat_alloc_count();
    assert_int_equal(aleat_estimator_run(estimator, &at, &noise, maps, NULL), ALEAT_OK);
    assert_memory_equal(map, joint, sizeof map);
    assert_int_equal(aleat_guide_nfe(guide), 8); // two evaluations a copy
    assert_int_equal(aleat_estimator_nfe(estimator), 8);
    for (int j = 0; j < N * COUNT; j++) {
        const float kept = eps[j], h = 0.01f;
        double sums[2] = {0, 0};
        for (int side = 0; side < 2; side++) {
            eps[j] = side ? kept + h : kept - h;
            assert_int_equal(aleat_estimator_run(estimator, &at, &noise, maps, NULL), ALEAT_OK);
            for (int k = 0; k < N * COUNT; k++)
                sums[side] += (double)map[k];
        }
        eps[j] = kept;
        // f32 of U over 2 h, and h^2
        assert_true(fabs((sums[1] - sums[0]) / (2 * (double)h) - (double)gradient[j]) < 2e-3);
    }
    // the larger batch of the estimator has made room once
    assert_true(aleat_alloc_count() - before < 16);
    aleat_guide_free(guide);
    aleat_estimator_free(estimator);
    aleat_denoiser_destroy(&s.guided);
}

static void what_is_missing_inside_is_missing_outside(void **state)
{
    (void)state;
    scene s;
    make(&s);
    aleat_denoiser_ops few = {.predict = predict};
    const aleat_cfg_options options = {.scale = 3, .unconditional = {.labels = &null_label}};
    aleat_denoiser inner = s.inner, outer;
    inner.ops = &few;
    assert_int_equal(aleat_cfg_denoiser(&outer, &inner, &options, NULL), ALEAT_OK);
    assert_true(!outer.ops->forward_keep && !outer.ops->backward && !outer.ops->jvp);
    aleat_denoiser_destroy(&outer);
    const aleat_cfg_options nothing = {.scale = 3},
                            wild = {.scale = NAN, .unconditional = {&null_label}};
    assert_int_equal(aleat_cfg_denoiser(&outer, &inner, &nothing, NULL), ALEAT_ERR_ARGUMENT);
    assert_int_equal(aleat_cfg_denoiser(&outer, &inner, &wild, NULL), ALEAT_ERR_ARGUMENT);
    aleat_denoiser_destroy(&s.guided);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(predictions_are_combined_and_the_variance_is_the_conditional_one),
        cmocka_unit_test(derivatives_are_those_of_the_combination),
        cmocka_unit_test(uncertainty_and_its_gradient_see_the_combination),
        cmocka_unit_test(what_is_missing_inside_is_missing_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
