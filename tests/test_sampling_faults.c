/* What goes wrong around sampling: memory that runs out at every single allocation. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "mock_denoisers.h"
#include "samplers/sampler.h"
#include "uncertainty/observer.h"

static const char text[] = "{\"_class_name\": \"DDIMScheduler\", \"num_train_timesteps\": 40, "
                           "\"beta_schedule\": \"squaredcos_cap_v2\", \"clip_sample\": true}";
static const char betas[] = "{\"_class_name\": \"DDIMScheduler\", \"num_train_timesteps\": 4, "
                            "\"trained_betas\": [0.1, 0.2, 0.3, 0.4]}";

static const char flow[] = "{\"_class_name\": \"FlowMatchEulerDiscreteScheduler\", \"shift\": 3.0}";

static const char continuous[] = "{\"_class_name\": \"DDIMScheduler\", \"beta_schedule\": \"vp\"}";

static const char *schedule_for(const aleat_sampler_kind *sampler)
{
    return strcmp(sampler->name, "flow-euler") == 0 ? flow
           : strcmp(sampler->name, "em-sde") == 0   ? continuous
                                                    : text;
}

static aleat_status parse(const char *source, const char *sampler, aleat_sampler_config *config,
                          aleat_error *err)
{
    aleat_json json;
    aleat_status st = aleat_json_parse(&json, source, strlen(source), "file", err);
    if (!st)
        st = aleat_sampler_config_parse(config, &json, sampler, err);
    aleat_json_clear(&json);
    return st;
}

// All that a sampling run sets up, and the run.
static aleat_status set_up_and_run(const char *source, const char *sampler, aleat_error *err)
{
    const double weight = 1, spread = 0.5, mean = 0, abar = 0.5;
    const mock_data data = {.channels = 1,
                            .height = 1,
                            .width = 1,
                            .components = 1,
                            .weight = &weight,
                            .spread = &spread,
                            .mean = &mean,
                            .abar = &abar,
                            .n_abar = 1};
    const uint32_t image = 0;
    float x;
    aleat_denoiser denoiser = mock_denoiser(&data);
    aleat_sampler_config config = {0};
    aleat_sampling_plan *plan = NULL;
    aleat_sampler *run = NULL;
    aleat_observer *observer = NULL;
    aleat_noise_torch *torch = NULL;
    const int first = sampler && !strcmp(sampler, "flow-euler"); // at step 0 it has no signal
    aleat_observer_options options = {.score = {first, first + 1},
                                      .estimator = {.copies = 2},
                                      .guidance = aleat_guide_defaults()};
    options.guide = (aleat_window){first, first + 1};
    options.guidance.clip = ALEAT_CLIP_OFF;
    for (int k = 0; k < 8; k++)
        options.estimator.statistics[k] = &aleat_statistics()[k];
    aleat_status st = parse(source, sampler, &config, err);
    if (!st)
        st = aleat_sampling_plan_new(&plan, &config, 2, err);
    if (!st)
        st = aleat_noise_torch_new(&torch, 1, 0, 1, err);
    if (!st)
        st = aleat_sampler_new(&run, plan, &denoiser, ALEAT_TIME_IDENTITY, 1, 1, 1, err);
    if (!st)
        st = aleat_observer_new(&observer, NULL, &denoiser, plan->prediction, &options, 1, 1, 1,
                                err);
    if (!st) {
        const aleat_noise_source noise = aleat_noise_torch_source(torch);
        const aleat_sample_request request = {
            .n = 1,
            .images = &image,
            .noise = noise,
            .hooks = {.ctx = observer, .evaluated = aleat_observer_evaluated}};
        aleat_observer_begin(observer, noise);
        st = aleat_sampler_run(run, &request, &x, err);
    }
    aleat_observer_free(observer);
    aleat_sampler_free(run);
    aleat_noise_torch_free(torch);
    aleat_sampling_plan_free(plan);
    aleat_sampler_config_clear(&config);
    aleat_denoiser_destroy(&denoiser);
    return st;
}

static void survive(const char *source, const char *sampler)
{
    const uint64_t held = aleat_alloc_bytes();
    for (uint64_t n = 1;; n++) {
        aleat_error err = {0};
        const uint64_t before = aleat_alloc_count();
        aleat_alloc_fail_at(n);
        const aleat_status st = set_up_and_run(source, sampler, &err);
        aleat_alloc_fail_at(0);
        assert_int_equal(aleat_alloc_bytes(), held);
        if (aleat_alloc_count() - before < n) { // none was left to fail
            assert_int_equal(st, ALEAT_OK);
            assert_true(n > 10);
            return;
        }
        assert_int_equal(st, ALEAT_ERR_MEMORY);
        assert_int_equal(err.status, ALEAT_ERR_MEMORY);
    }
}

static void every_failing_allocation_is_reported_and_nothing_leaks(void **state)
{
    (void)state;
    for (const aleat_sampler_kind *k = aleat_samplers(); k->name; k++)
        survive(schedule_for(k), k->name);
    survive(betas, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failing_allocation_is_reported_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
