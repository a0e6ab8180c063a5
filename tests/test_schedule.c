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
#include "reference.h"
#include "samplers/plan.h"
#include "samplers/schedule.h"

static aleat_sampler_config config_of(const char *text, const char *name)
{
    aleat_json json = {0};
    aleat_error err = {0};
    aleat_sampler_config config;
    assert_int_equal(aleat_json_parse(&json, text, strlen(text), "scheduler_config.json", &err), 0);
    if (aleat_sampler_config_parse(&config, &json, name, &err))
        fail_msg("%s", err.message);
    aleat_json_clear(&json);
    return config;
}

static aleat_status refusal(const char *text, const char *name, aleat_error *err)
{
    aleat_json json = {0};
    aleat_sampler_config config;
    assert_int_equal(aleat_json_parse(&json, text, strlen(text), "scheduler_config.json", err), 0);
    const aleat_status st = aleat_sampler_config_parse(&config, &json, name, err);
    aleat_sampler_config_clear(&config);
    aleat_json_clear(&json);
    return st;
}

static void tables_agree_with_the_reference(void **state)
{
    (void)state;
    static const struct {
        const char *name, *settings;
    } cases[] = {
        {"linear", "\"beta_start\": 0.0001"},
        {"scaled_linear_sd",
         "\"beta_start\": 0.00085, \"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\""},
        {"cosine", "\"beta_schedule\": \"squaredcos_cap_v2\""},
        {"linear_zerosnr", "\"rescale_betas_zero_snr\": true"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[300];
        (void)snprintf(text, sizeof text, "{\"_class_name\": \"DDIMScheduler\", %s}",
                       cases[i].settings);
        aleat_sampler_config config = config_of(text, NULL);
        double betas[1000], abar[1000];
        aleat_schedule_betas(&config, betas);
        aleat_schedule_products(betas, 1000, abar);
        reference exact = reference_load("sched-tables/%s_alphas_cumprod_f64.npy", cases[i].name);
        reference single = reference_load("sched-tables/%s_alphas_cumprod.npy", cases[i].name);
        for (int t = 0; t < 1000; t++) {
            assert_true(fabs(abar[t] - exact.data[t]) <= 1e-14);
            // accumulated in f32 there: up to 4.7e-7 from its own f64 table
            assert_true(fabs(abar[t] - single.data[t]) <= 5e-7);
        }
        reference_free(&exact);
        reference_free(&single);
        aleat_sampler_config_clear(&config);
    }
}

static void noising_agrees_with_the_reference(void **state)
{
    (void)state;
    reference x0 = reference_load("sched-add-noise/x0.npy");
    reference noise = reference_load("sched-add-noise/noise.npy");
    reference t = reference_load("sched-add-noise/t.npy");
    reference want = reference_load("sched-add-noise/x_t_f64.npy");
    reference v = reference_load("sched-add-noise/velocity.npy");
    aleat_sampler_config config;
    assert_int_equal(aleat_sampler_config_default(&config, "ddim", NULL), ALEAT_OK);
    double betas[1000], abar[1000];
    aleat_schedule_betas(&config, betas);
    aleat_schedule_products(betas, 1000, abar);
    const int64_t count = x0.count / t.count;
    for (int64_t i = 0; i < x0.count; i++) {
        const double a = sqrt(abar[(int)t.data[i / count]]);
        const double s = sqrt(1 - abar[(int)t.data[i / count]]);
        assert_true(fabs(a * x0.data[i] + s * noise.data[i] - want.data[i]) < 1e-14 * 10);
        assert_true(fabs(a * noise.data[i] - s * x0.data[i] - v.data[i]) < 2e-6);
    }
    reference *all[] = {&x0, &noise, &t, &want, &v};
    for (int i = 0; i < 5; i++)
        reference_free(all[i]);
}

static void respacing_agrees_with_the_reference(void **state)
{
    (void)state;
    aleat_json json = {0};
    assert_int_equal(
        aleat_json_load(&json, reference_path("adm_schedules/timestep_maps.json"), NULL), 0);
    const char *key;
    json_t *want;
    int compared = 0;
    json_object_foreach(json.root, key, want)
    {
        int steps[4000], count;
        const int n = atoi(key);
        const aleat_status st =
            aleat_schedule_respace(strchr(key, '/') + 1, n, steps, &count, NULL);
        if (json_is_string(want)) { // "ValueError"
            assert_int_equal(st, ALEAT_ERR_ARGUMENT);
            continue;
        }
        assert_int_equal(st, ALEAT_OK);
        assert_int_equal(count, json_array_size(want));
        for (int i = 0; i < count; i++)
            assert_int_equal(steps[i], json_integer_value(json_array_get(want, (size_t)i)));
        compared++;
    }
    assert_true(compared > 40);
    aleat_json_clear(&json);
}

static void nonsense_is_no_respacing(void **state)
{
    (void)state;
    static const char *const texts[] = {"ddim", "ddim5x", "5,", ",5", "x", "5,,5", "-3", "0"};
    int steps[1000], count;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(aleat_schedule_respace(texts[i], 1000, steps, &count, NULL),
                         ALEAT_ERR_ARGUMENT);
}

// |got - want| <= 1e-9 |want|
static void assert_row(const double *got, const double *want, int n)
{
    for (int i = 0; i < n; i++)
        assert_true(fabs(got[i] - want[i]) <= 1e-9 * fabs(want[i]));
}

static void respaced_tables_agree_with_the_reference(void **state)
{
    (void)state;
    static const char *const names[] = {"linear_1000_50",     "linear_1000_250",  "linear_1000_8",
                                        "linear_1000_ddim50", "cosine_1000_50",   "cosine_1000_250",
                                        "cosine_1000_ddim50", "cosine_1000_ddim8"};
    for (size_t c = 0; c < sizeof names / sizeof *names; c++) {
        aleat_sampler_config config;
        assert_int_equal(aleat_sampler_config_default(&config, "ddpm", NULL), ALEAT_OK);
        if (*names[c] == 'c')
            config.beta_schedule = ALEAT_BETA_COSINE;
        double betas[1000], abar[1000], kept[1000], rows[4][1000];
        int steps[1000], n;
        aleat_schedule_betas(&config, betas);
        aleat_schedule_products(betas, 1000, abar);
        const char *spacing = strrchr(names[c], '_') + 1;
        assert_int_equal(aleat_schedule_respace(spacing, 1000, steps, &n, NULL), ALEAT_OK);
        aleat_schedule_respaced_betas(abar, steps, n, kept);
        aleat_schedule_posterior(kept, n, &(aleat_posterior){rows[0], rows[1], rows[2], rows[3]});
        // rows of the file: betas, abar, abar before, posterior variance, its clipped log, the
        // coefficients of x0 and x, log betas
        reference want = reference_load("adm_schedules/%s_f64.npy", names[c]);
        assert_int_equal(want.dim[1], n);
        assert_row(kept, want.data, n);
        aleat_schedule_products(kept, n, betas);
        assert_row(betas, want.data + n, n);
        for (int r = 0; r < 4; r++)
            assert_row(rows[r], want.data + (3 + r) * n, n);
        reference_free(&want);
    }
}

// DDPM on the respaced process has the posterior's coefficients at every step.
static void a_respaced_plan_has_the_posterior_coefficients(void **state)
{
    (void)state;
    aleat_sampler_config config = config_of("{\"_class_name\": \"DDPMScheduler\"}", NULL);
    aleat_sampling_plan *plan = NULL;
    config.respacing = aleat_strdup("50");
    assert_int_equal(aleat_sampling_plan_new(&plan, &config, 1, NULL), ALEAT_OK);
    reference want = reference_load("adm_schedules/linear_1000_50_f64.npy");
    assert_int_equal(plan->n_steps, 50);
    for (int k = 0; k < 50; k++) {
        const double *column = want.data + 49 - k;
        assert_true(fabs(plan->steps[k].c_x0[0] - column[5 * 50]) < 1e-9);
        assert_true(fabs(plan->steps[k].c_x - column[6 * 50]) < 1e-9);
        if (k < 49)
            assert_true(fabs(plan->steps[k].c_noise - sqrt(column[3 * 50])) < 1e-9);
    }
    assert_true(plan->steps[49].c_noise == 0);
    aleat_sampling_plan_free(plan);
    aleat_sampler_config_clear(&config);
    reference_free(&want);
}

static void a_name_keeps_what_the_file_says_and_its_own_defaults(void **state)
{
    (void)state;
    // diffusers: DPMSolverMultistepScheduler.from_config(a DDIM config): no clipping there, the
    // spacing only if it is written down
    aleat_sampler_config c = config_of("{\"_class_name\": \"DDIMScheduler\", \"clip_sample\": true,"
                                       "\"beta_end\": 0.012, \"_diffusers_version\": \"0.20.0\"}",
                                       "dpm++2m");
    assert_string_equal(c.kind->name, "dpm++2m");
    assert_false(c.clip.clamp);
    assert_int_equal(c.spacing, ALEAT_SPACING_LINSPACE);
    assert_true(c.beta_end == 0.012);
    c = config_of("{\"_class_name\": \"DDIMScheduler\", \"timestep_spacing\": \"leading\"}",
                  "dpm++2m");
    assert_int_equal(c.spacing, ALEAT_SPACING_LEADING);
    c = config_of("{\"_class_name\": \"PNDMScheduler\", \"skip_prk_steps\": true, "
                  "\"set_alpha_to_one\": false, \"steps_offset\": 1, \"clip_sample\": false}",
                  "ddim");
    assert_false(c.set_alpha_to_one || c.clip.clamp);
    assert_int_equal(c.steps_offset, 1);
}

static void what_is_not_implemented_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
        aleat_status status;
    } cases[] = {
        {"{\"_class_name\": \"HeunDiscreteScheduler\"}", "HeunDiscreteScheduler",
         ALEAT_ERR_UNSUPPORTED},
        {"{\"_class_name\": \"DDIMScheduler\", \"sharpness\": 3}", "sharpness",
         ALEAT_ERR_UNSUPPORTED},
        {"{\"_class_name\": \"DDIMScheduler\", \"beta_schedule\": \"laplace\"}", "laplace",
         ALEAT_ERR_UNSUPPORTED},
        {"{\"_class_name\": \"EulerDiscreteScheduler\", \"use_beta_sigmas\": true}",
         "use_beta_sigmas", ALEAT_ERR_UNSUPPORTED},
        {"{\"_class_name\": \"EulerDiscreteScheduler\", \"timestep_type\": \"continuous\"}",
         "continuous", ALEAT_ERR_UNSUPPORTED},
        {"{\"_class_name\": \"DDIMScheduler\", \"beta_start\": \"small\"}", "beta_start",
         ALEAT_ERR_FORMAT},
        {"{\"_class_name\": \"DDIMScheduler\", \"beta_start\": 0.5}", "beta_start",
         ALEAT_ERR_FORMAT},
        {"{\"_class_name\": \"DDIMScheduler\", \"num_train_timesteps\": 0}", "num_train_timesteps",
         ALEAT_ERR_FORMAT},
        {"{\"_class_name\": \"DDIMScheduler\", \"trained_betas\": [0.1, 0.2]}", "trained_betas",
         ALEAT_ERR_FORMAT},
        {"{\"_class_name\": \"DDIMScheduler\", \"num_train_timesteps\": 2, "
         "\"trained_betas\": [0.1, 1.0]}",
         "trained_betas", ALEAT_ERR_FORMAT},
        {"{\"_class_name\": \"DPMSolverMultistepScheduler\", \"solver_order\": 4}", "solver_order",
         ALEAT_ERR_FORMAT},
        {"{\"_class_name\": \"DPMSolverMultistepScheduler\", \"use_karras_sigmas\": true, "
         "\"use_lu_lambdas\": true}",
         "use_lu_lambdas", ALEAT_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err = {0};
        assert_int_equal(refusal(cases[i].text, NULL, &err), cases[i].status);
        assert_non_null(strstr(err.message, cases[i].part));
    }
    aleat_error err = {0};
    assert_int_equal(refusal("{}", "dmi", &err), ALEAT_ERR_ARGUMENT);
    assert_non_null(strstr(err.hint, "ddim"));
}

static void trained_betas_replace_the_formula(void **state)
{
    (void)state;
    aleat_sampler_config c = config_of("{\"_class_name\": \"DDIMScheduler\", "
                                       "\"trained_betas\": [0.1, 0.2], \"num_train_timesteps\": 2}",
                                       NULL);
    aleat_sampling_plan *plan = NULL;
    assert_int_equal(aleat_sampling_plan_new(&plan, &c, 2, NULL), ALEAT_OK);
    assert_true(plan->alphas_cumprod[1] == 0.9 * 0.8);
    assert_true(plan->steps[0].t == 1);
    aleat_sampling_plan_free(plan);
    aleat_sampler_config_clear(&c);
}

static void plans_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int steps;
        aleat_status status;
    } cases[] = {
        {"{\"_class_name\": \"DDIMScheduler\"}", 0, ALEAT_ERR_ARGUMENT},
        {"{\"_class_name\": \"DDIMScheduler\"}", 1001, ALEAT_ERR_ARGUMENT},
        {"{\"_class_name\": \"DDIMScheduler\", \"steps_offset\": 1}", 1000, ALEAT_ERR_ARGUMENT},
        {"{\"_class_name\": \"DPMSolverMultistepScheduler\"}", 1000, ALEAT_ERR_ARGUMENT},
        {"{\"_class_name\": \"DPMSolverMultistepScheduler\", \"algorithm_type\": \"dpmsolver\"}",
         10, ALEAT_ERR_UNSUPPORTED},
        {"{\"_class_name\": \"DDIMScheduler\", \"rescale_betas_zero_snr\": true, "
         "\"timestep_spacing\": \"trailing\"}",
         10, ALEAT_ERR_UNSUPPORTED},
        {"{\"_class_name\": \"EulerDiscreteScheduler\"}", 1001, ALEAT_ERR_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_sampler_config c = config_of(cases[i].text, NULL);
        aleat_sampling_plan *plan = NULL;
        aleat_error err = {0};
        assert_int_equal(aleat_sampling_plan_new(&plan, &c, cases[i].steps, &err), cases[i].status);
        assert_null(plan);
        aleat_sampler_config_clear(&c);
    }
}

static void every_sampler_plans_and_dumps(void **state)
{
    (void)state;
    for (const aleat_sampler_kind *k = aleat_samplers(); k->name; k++) {
        for (int steps = 2; steps <= 50; steps += 16) {
            aleat_sampler_config c;
            aleat_sampling_plan *plan = NULL;
            assert_int_equal(aleat_sampler_config_default(&c, k->name, NULL), ALEAT_OK);
            assert_int_equal(aleat_sampling_plan_new(&plan, &c, steps, NULL), ALEAT_OK);
            json_t *dump = aleat_sampling_plan_json(plan);
            assert_int_equal(json_array_size(json_object_get(dump, "timesteps")), plan->n_steps);
            assert_int_equal(json_array_size(json_object_get(dump, "sigmas")), plan->n_steps + 1);
            const size_t table = plan->prediction == ALEAT_PREDICTS_FLOW ? 0 : 1000;
            assert_int_equal(json_array_size(json_object_get(dump, "alphas_cumprod")), table);
            json_decref(dump);
            aleat_sampling_plan_free(plan);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_agree_with_the_reference),
        cmocka_unit_test(noising_agrees_with_the_reference),
        cmocka_unit_test(respacing_agrees_with_the_reference),
        cmocka_unit_test(nonsense_is_no_respacing),
        cmocka_unit_test(respaced_tables_agree_with_the_reference),
        cmocka_unit_test(a_respaced_plan_has_the_posterior_coefficients),
        cmocka_unit_test(a_name_keeps_what_the_file_says_and_its_own_defaults),
        cmocka_unit_test(what_is_not_implemented_is_refused_by_name),
        cmocka_unit_test(trained_betas_replace_the_formula),
        cmocka_unit_test(plans_that_cannot_be_are_refused),
        cmocka_unit_test(every_sampler_plans_and_dumps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
