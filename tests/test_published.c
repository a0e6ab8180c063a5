/* Recognising published checkpoints, which have no configuration, and what must be said of others.
 */
#include "checkpoint.h"
#include "case.h"

#include "base/alloc.h"
#include "base/error.h"
#include "io/json.h"
#include "models/autoencoder_kl.h"
#include "models/model.h"
#include "samplers/config.h"
#include "samplers/schedule.h"
#include "samplers/plan.h"

/* ---- recognition ----------------------------------------------------------------------------- */

// Opens a checkpoint of these shapes; `edit` may change the list before.
static aleat_status open_shapes(const char *name, void (*edit)(json_t *tensors),
                                const aleat_model_options *options, aleat_model_files *model,
                                aleat_error *err)
{
    aleat_json json = {0};
    memset(err, 0, sizeof *err);
    assert_int_equal(aleat_json_load(&json, case_path("shapes", name), err), ALEAT_OK);
    json_t *tensors = json_object_get(json.root, "tensors");
    if (edit)
        edit(tensors);
    write_checkpoint(scratch("shapes.safetensors"), tensors, false);
    aleat_json_clear(&json);
    return aleat_model_files_open(model, scratch("shapes.safetensors"), options, err);
}

static void published_checkpoints_are_recognised_by_their_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *shapes, *family, *config; // a part of the configuration
        int64_t size, out_channels, n_classes, null_class;
        double time_offset;
    } cases[] = {
        {"adm_64x64_diffusion.json", "adm", "\"num_head_channels\": 64", 64, 6, 1000, -1, 0},
        {"adm_128x128_diffusion.json", "adm", "\"num_heads\": 4", 128, 6, 1000, -1, 0},
        {"adm_64x64_classifier.json", "adm_classifier", "\"num_res_blocks\": 4", 64, 1000, 0, -1,
         0},
        {"adm_128x128_classifier.json", "adm_classifier", "\"num_res_blocks\": 2", 128, 1000, 0, -1,
         0},
        {"imagenet256_uvit_huge.json", "uvit", "\"num_heads\": 16", 32, 4, 1001, 1000, 1},
        {"imagenet512_uvit_huge.json", "uvit", "\"patch_size\": 4", 64, 4, 1001, 1000, 1},
        {"imagenet256_uvit_large.json", "uvit", "\"num_heads\": 16", 32, 4, 1001, 1000, 1},
        {"imagenet512_uvit_large.json", "uvit", "\"noise_schedule\": \"vp\"", 64, 4, 1001, 1000, 1},
        {"imagenet64_uvit_large.json", "uvit", "\"null_class\": null", 64, 3, 1000, -1, 1},
        {"imagenet64_uvit_mid.json", "uvit", "\"num_heads\": 12", 64, 3, 1000, -1, 1},
        {"cifar10_uvit_small.json", "uvit", "\"num_heads\": 8", 32, 3, 0, -1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err;
        aleat_model_files model;
        if (!case_exists("shapes", cases[i].shapes))
            continue;
        if (open_shapes(cases[i].shapes, NULL, NULL, &model, &err))
            fail_msg("%s: %s", cases[i].shapes, err.message);
        assert_string_equal(model.family, cases[i].family);
        assert_int_equal(model.info.height, cases[i].size);
        assert_int_equal(model.info.width, cases[i].size);
        assert_int_equal(model.info.out_channels, cases[i].out_channels);
        assert_int_equal(model.info.n_classes, cases[i].n_classes);
        assert_int_equal(model.info.null_class, cases[i].null_class);
        assert_true(model.time_offset == cases[i].time_offset);
        assert_int_equal(model.scheduler_text != NULL, model.role == ALEAT_MODEL_DENOISER);
        assert_non_null(strstr(model.config_text, cases[i].config));
        aleat_model_files_close(&model);
    }
}

static void published_autoencoders_are_recognised_by_their_shapes(void **state)
{
    (void)state;
    static const char *const shapes[] = {"autoencoder_kl.json", "sd-vae-ft-mse.json"};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        aleat_error err = {0};
        aleat_json json = {0};
        aleat_autoencoder_files files;
        if (!case_exists("shapes", shapes[i]))
            continue;
        assert_int_equal(aleat_json_load(&json, case_path("shapes", shapes[i]), &err), ALEAT_OK);
        write_checkpoint(scratch("vae.safetensors"), json_object_get(json.root, "tensors"), false);
        aleat_json_clear(&json);
        if (aleat_autoencoder_files_open(&files, scratch("vae.safetensors"), NULL, &err))
            fail_msg("%s: %s", shapes[i], err.message);
        assert_int_equal(files.factor, 8);
        assert_int_equal(files.latent_channels, 4);
        aleat_autoencoder_files_close(&files);
    }
}

static json_t *shape_of(json_t *tensors, const char *name)
{
    for (size_t i = 0; i < json_array_size(tensors); i++)
        if (!strcmp(json_string_value(json_array_get(json_array_get(tensors, i), 0)), name))
            return json_array_get(json_array_get(tensors, i), 1);
    fail_msg("no tensor %s", name);
    return NULL;
}

static void take_six_channels(json_t *tensors)
{
    (void)json_array_set_new(shape_of(tensors, "input_blocks.0.0.weight"), 1, json_integer(6));
}

static void end_with_another_width(json_t *tensors)
{
    (void)json_array_set_new(shape_of(tensors, "input_blocks.3.0.in_layers.2.weight"), 0,
                             json_integer(200));
}

static void lose_the_last_block(json_t *tensors)
{
    for (size_t i = json_array_size(tensors); i-- > 0;)
        if (strstr(json_string_value(json_array_get(json_array_get(tensors, i), 0)),
                   "output_blocks.15."))
            (void)json_array_remove(tensors, i);
}

static void adm_files_that_are_not_its_networks_are_refused(void **state)
{
    (void)state;
    static const struct {
        void (*edit)(json_t *tensors);
        aleat_status status;
        const char *word;
    } cases[] = {
        {take_six_channels, ALEAT_ERR_UNSUPPORTED, "super-resolution"},
        {end_with_another_width, ALEAT_ERR_FORMAT, "levels do not repeat"},
        {lose_the_last_block, ALEAT_ERR_FORMAT, "blocks are missing"},
    };
    if (!case_exists("shapes", "adm_64x64_diffusion.json"))
        return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err;
        aleat_model_files model;
        assert_int_equal(open_shapes("adm_64x64_diffusion.json", cases[i].edit, NULL, &model, &err),
                         cases[i].status);
        assert_non_null(strstr(err.message, cases[i].word));
    }
}

static void what_a_checkpoint_does_not_say_must_be_said(void **state)
{
    (void)state;
    static const struct {
        aleat_model_options options;
        const char *word;
    } cases[] = {
        {{.head_dim = 16}, "order"},
        {{.attention_order = "new"}, "attention heads"},
        {{.head_dim = 16, .attention_order = "old"}, "legacy or new"},
        {{.head_dim = 16, .attention_order = "new", .noise_schedule = "vp"}, "linear or cosine"},
        {{.head_dim = 16, .heads = 2, .attention_order = "new"}, "one of the two"},
        {{.heads = 3, .attention_order = "new"}, "3 attention heads"},
        {{.head_dim = 16, .attention_order = "new", .height = 9, .width = 8}, "multiples of 2"},
        {{.head_dim = 16, .attention_order = "new"}, "any size"},
    };
    const char *folder = "adm64_new_cond", *file = "64x64_diffusion.pt";
    if (!case_exists(folder, file))
        return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err = {0};
        aleat_model_files model;
        aleat_model_options options = cases[i].options;
        if (strcmp(cases[i].word, "any size") && !options.height)
            options.height = options.width = 16;
        assert_int_equal(aleat_model_files_open(&model, case_path(folder, file), &options, &err),
                         ALEAT_ERR_ARGUMENT);
        if (!strstr(err.message, cases[i].word))
            fail_msg("'%s' in: %s", cases[i].word, err.message);
    }
}

static void the_options_of_a_uvit_are_checked(void **state)
{
    (void)state;
    static const struct {
        aleat_model_options options;
        const char *word;
    } cases[] = {
        {{0}, "how many attention heads"},
        {{.heads = -1}, "positive"},
        {{.heads = 2, .noise_schedule = "cosine"}, "scaled_linear or vp"},
        {{.heads = 2, .height = 16, .width = 12}, "64 patches"},
        {{.heads = 2, .height = 15, .width = 16}, "multiples of 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err = {0};
        aleat_model_files model;
        assert_int_equal(
            aleat_model_files_open(&model, case_path("data/uvit-cifar", "cifar10_uvit_small.pth"),
                                   &cases[i].options, &err),
            ALEAT_ERR_ARGUMENT);
        if (!strstr(err.message, cases[i].word))
            fail_msg("'%s' in: %s", cases[i].word, err.message);
    }
    aleat_error err = {0};
    aleat_model_files model;
    const aleat_model_options wide = {.heads = 2, .height = 8, .width = 32};
    assert_int_equal(aleat_model_files_open(&model,
                                            case_path("data/uvit-cifar", "cifar10_uvit_small.pth"),
                                            &wide, &err),
                     ALEAT_OK); // another shape of as many patches
    aleat_model_files_close(&model);
}

static void autoencoders_refuse_what_they_are_not(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_autoencoder_files files;
    assert_int_equal(
        aleat_autoencoder_files_open(&files, case_path("data/uvit-cifar", "cifar10_uvit_small.pth"),
                                     NULL, &err),
        ALEAT_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "not an AutoencoderKL"));
    assert_null(files.weights);
}

/* ---- schedules ------------------------------------------------------------------------------- */

// What the families write, the samplers must read.
static aleat_sampler_config read_scheduler(const aleat_model_files *model)
{
    aleat_error err = {0};
    aleat_json json = {0};
    aleat_sampler_config config;
    const char *text = model->scheduler_text;
    assert_ok(aleat_json_parse(&json, text, strlen(text), "scheduler", &err), &err);
    assert_ok(aleat_sampler_config_parse(&config, &json, NULL, &err), &err);
    aleat_json_clear(&json);
    return config;
}

// A U-ViT's scheduler must be its continuous process.
static void the_scheduler_of_a_pixel_uvit_is_its_continuous_process(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_model_files model;
    const aleat_model_options options = {.heads = 2};
    assert_ok(aleat_model_files_open(&model, case_path("data/uvit-cifar", "cifar10_uvit_small.pth"),
                                     &options, &err),
              &err);
    aleat_sampler_config config = read_scheduler(&model);
    double betas[1000], log_abar = 0;
    aleat_schedule_betas(&config, betas);
    for (int i = 0; i < 1000; i++) {
        const double t = (i + 1) / 1000.0, log_alpha = -0.25 * t * t * 19.9 - 0.05 * t;
        log_abar += log1p(-betas[i]);
        // alpha(t) = exp(-t^2 19.9 / 4 - 0.1 t / 2); rounding of 1000 terms
        assert_true(fabs(log_abar - 2 * log_alpha) < 1e-13 * 1000);
        assert_true(fabs(aleat_schedule_vp_time(&config, log_alpha) - t) < 1e-14);
    }
    // fed 999 t, t = (s + 1) / 1000
    assert_true(fabs(model.time_scale * (999 + model.time_offset) - 999) < 1e-9);
    aleat_sampler_config_clear(&config);
    aleat_model_files_close(&model);
}

static void the_samplers_understand_the_schedulers_of_published_models(void **state)
{
    (void)state;
    static const struct {
        const char *shapes;
        aleat_beta_schedule schedule;
        bool clamp;
    } cases[] = {
        {"adm_64x64_diffusion.json", ALEAT_BETA_COSINE, true},
        {"adm_128x128_diffusion.json", ALEAT_BETA_LINEAR, true},
        {"imagenet256_uvit_huge.json", ALEAT_BETA_SCALED_LINEAR, false},
        {"imagenet256_uvit_large.json", ALEAT_BETA_VP, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err;
        aleat_model_files model;
        if (!case_exists("shapes", cases[i].shapes))
            continue;
        assert_ok(open_shapes(cases[i].shapes, NULL, NULL, &model, &err), &err);
        aleat_sampler_config config = read_scheduler(&model);
        assert_string_equal(config.kind->name, "ddim");
        assert_int_equal(config.train_steps, 1000);
        assert_int_equal(config.prediction, ALEAT_PREDICTS_EPSILON);
        assert_int_equal(config.clip.clamp, cases[i].clamp);
        assert_int_equal(config.beta_schedule, cases[i].schedule);
        aleat_sampler_config_clear(&config);
        aleat_model_files_close(&model);
    }
}

static void the_scheduler_of_adm_follows_table_and_options(void **state)
{
    (void)state;
    static const struct {
        aleat_model_options options;
        const char *text; // in the scheduler, or NULL: there is none
        double time_scale;
    } cases[] = {
        {{.noise_schedule = "cosine"}, "squaredcos_cap_v2", 1},
        {{.noise_schedule = "linear"}, "\"beta_end\": 0.02,", 1},
        {{.noise_schedule = "linear", .train_steps = 4000}, "\"beta_end\": 0.005", 1},
        {{.noise_schedule = "cosine", .train_steps = 4000, .rescale_timesteps = true},
         "\"fixed_large\"",
         0.25},
        {{0}, NULL, 1},
    };
    const char *folder = "adm_uncond_plain", *file = "uncond_plain.pt";
    if (!case_exists(folder, file))
        return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err = {0};
        aleat_model_files model;
        aleat_model_options options = cases[i].options;
        options.heads = 2;
        options.attention_order = "legacy";
        options.height = options.width = 8;
        if (aleat_model_files_open(&model, case_path(folder, file), &options, &err))
            fail_msg("%s", err.message);
        assert_int_equal(model.scheduler_text != NULL, cases[i].text != NULL);
        assert_true(!cases[i].text || strstr(model.scheduler_text, cases[i].text));
        assert_true(model.time_scale == cases[i].time_scale);
        aleat_model_files_close(&model);
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

static aleat_status open_uvit(aleat_error *err)
{
    aleat_model_files model;
    const aleat_model_options options = {.heads = 2};
    const aleat_status st = aleat_model_files_open(
        &model, case_path("data/uvit-cifar", "cifar10_uvit_small.pth"), &options, err);
    aleat_model_files_close(&model);
    return st;
}

static aleat_status open_adm(aleat_error *err)
{
    aleat_model_files model;
    const aleat_model_options options = {.heads = 4,
                                         .attention_order = "legacy",
                                         .noise_schedule = "linear",
                                         .height = 8,
                                         .width = 8};
    const aleat_status st = aleat_model_files_open(
        &model, case_path("adm128_legacy_cond", "128x128_diffusion.pt"), &options, err);
    aleat_model_files_close(&model);
    return st;
}

static aleat_status open_classifier(aleat_error *err)
{
    aleat_model_files model;
    const aleat_model_options options = {.head_dim = 16};
    const aleat_status st = aleat_model_files_open(
        &model, case_path("adm_classifier", "64x64_classifier.pt"), &options, err);
    aleat_model_files_close(&model);
    return st;
}

static aleat_status open_autoencoder(aleat_error *err)
{
    aleat_autoencoder_files files;
    const aleat_status st =
        aleat_autoencoder_files_open(&files, case_path("vae_kl", "vae"), NULL, err);
    aleat_autoencoder_files_close(&files);
    return st;
}

static void opening_survives_every_failing_allocation(void **state)
{
    (void)state;
    static const struct {
        aleat_status (*open)(aleat_error *err);
        const char *folder, *file;
    } cases[] = {
        {open_uvit, "data/uvit-cifar", "cifar10_uvit_small.pth"},
        {open_adm, "adm128_legacy_cond", "128x128_diffusion.pt"},
        {open_classifier, "adm_classifier", "64x64_classifier.pt"},
        {open_autoencoder, "vae_kl", "vae/config.json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!case_exists(cases[i].folder, cases[i].file))
            continue;
        const uint64_t bytes = aleat_alloc_bytes();
        aleat_status st = ALEAT_ERR_MEMORY;
        uint64_t n = 1;
        for (; st; n++) {
            aleat_error err = {0};
            aleat_alloc_fail_at(n);
            st = cases[i].open(&err);
            aleat_alloc_fail_at(0);
            assert_int_equal(aleat_alloc_bytes(), bytes);
            assert_true(st == ALEAT_OK || st == ALEAT_ERR_MEMORY);
        }
        assert_true(n > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_checkpoints_are_recognised_by_their_shapes),
        cmocka_unit_test(published_autoencoders_are_recognised_by_their_shapes),
        cmocka_unit_test(adm_files_that_are_not_its_networks_are_refused),
        cmocka_unit_test(what_a_checkpoint_does_not_say_must_be_said),
        cmocka_unit_test(the_options_of_a_uvit_are_checked),
        cmocka_unit_test(autoencoders_refuse_what_they_are_not),
        cmocka_unit_test(the_scheduler_of_a_pixel_uvit_is_its_continuous_process),
        cmocka_unit_test(the_samplers_understand_the_schedulers_of_published_models),
        cmocka_unit_test(the_scheduler_of_adm_follows_table_and_options),
        cmocka_unit_test(opening_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
