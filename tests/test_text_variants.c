/* Text-to-image models of which there is no reference run: that their files are recognised in both
 * layouts and run with the lengths, levels and predictions that their authors published. */
#include "pipelines.h"
#include "tool.h"

#define SMALL "--steps 4 --seed 3 -q --threads 1"

static void must_run(const char *fmt, ...)
{
    char line[4096], text[4096];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (run("%s", line)) {
        said("stderr", text, sizeof text);
        fail_msg("%s", text);
    }
}

static bool same_file(const char *a, const char *b)
{
    char left[ALEAT_SHA256_TEXT], right[ALEAT_SHA256_TEXT];
    aleat_error err = {0};
    assert_ok(aleat_sha256_file(left, scratch(a), &err), &err);
    assert_ok(aleat_sha256_file(right, scratch(b), &err), &err);
    return !strcmp(left, right);
}

static json_t *answer(void)
{
    static char text[1 << 20];
    said("stdout", text, sizeof text);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    return json;
}

static json_t *settings_of(const char *run_name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s/run.json", fixture_folder, run_name);
    json_t *json = json_load_file(path, 0, NULL);
    assert_non_null(json);
    json_t *settings = json_incref(json_object_get(json, "settings"));
    json_decref(json);
    return settings;
}

static bool has_no_such(const char *words)
{
    char text[4096];
    said("stderr", text, sizeof text);
    return !strstr(text, words);
}

/* ---- FLUX.1 schnell -------------------------------------------------------------------------- */

/* FLUX.1 dev's file without what embeds the scale of guidance, which is all that differs. */
static void make_schnell(void)
{
    static collection all, kept;
    json_t *list = open_list("flux");
    collect_part(&all, list, "transformer", scratch("flux"), "");
    json_decref(list);
    for (int i = 0; i < all.count; i++) {
        if (strncmp(all.at[i].name, "guidance_in.", 12) != 0) {
            kept.at[kept.count++] = all.at[i];
            continue;
        }
        aleat_free((char *)(uintptr_t)all.at[i].name);
        aleat_tensor_clear(&all.at[i].array);
    }
    assert_in_range(kept.count, 1, all.count - 1);
    write_collection(&kept, scratch("schnell.safetensors"));
}

/* black-forest-labs/flux, src/flux/cli.py and sampling.py: no guidance, 256 tokens of T5, and
 * levels that are not shifted. */
static void schnell_has_256_tokens_and_unshifted_levels(void **state)
{
    (void)state;
    const char *schnell = scratch("schnell.safetensors"), *flux = scratch("flux");
    must_run("generate %s --prompt moon --size 32x24 --encoders %s --decoder %s -o %s/schnell "
             "--trajectory %s/t.npy " SMALL,
             schnell, flux, flux, fixture_folder, fixture_folder);
    json_t *settings = settings_of("schnell");
    assert_null(json_object_get(settings, "guidance"));
    assert_null(json_object_get(settings, "cfg_scale"));
    // its context is T5's of 256 tokens
    must_run("encode-text %s --encoder 2 --tokens 256 --prompt moon --out %s/c.npy --threads 1",
             flux, fixture_folder);
    aleat_error err = {0};
    aleat_tensor context;
    assert_ok(aleat_npy_read(&context, scratch("c.npy"), &err), &err);
    assert_int_equal(context.shape.dim[1], 256);
    char hash[ALEAT_SHA256_TEXT];
    aleat_sha256(hash, aleat_tensor_f32(&context),
                 (size_t)aleat_tensor_count(&context) * sizeof(float));
    assert_string_equal(json_string_value(json_object_get(settings, "context_sha256")), hash);
    aleat_tensor_clear(&context);
    json_decref(settings);
    must_run("schedule %s --steps 4 --height 24 --width 32 --json", schnell);
    json_t *schedule = answer();
    json_t *sigmas = json_object_get(schedule, "sigmas");
    static const double want[] = {1, 0.75, 0.5, 0.25, 0};
    assert_true(json_array_size(sigmas) >= 4);
    for (size_t i = 0; i < json_array_size(sigmas); i++)
        assert_true(fabs(json_number_value(json_array_get(sigmas, i)) - want[i]) < 1e-6);
    json_decref(schedule);
    assert_int_equal(run("generate %s --prompt x --guidance 3 --size 32x24 --encoders %s "
                         "--decoder %s -o %s/e",
                         schnell, flux, flux, fixture_folder),
                     1);
    assert_false(has_no_such("is not told a scale of guidance"));
}

/* ---- Stable Diffusion 2 ---------------------------------------------------------------------- */

/* One file: OpenCLIP's encoder without its last layer, linear projections, heads of 64 channels. It
 * does not tell what is predicted. */
static void stable_diffusion_2_predicts_what_its_scheduler_says(void **state)
{
    (void)state;
    char folder[256], single[256], schedule[512];
    (void)snprintf(folder, sizeof folder, "%s", scratch("sd2"));
    (void)snprintf(single, sizeof single, "%s", scratch("sd2.safetensors"));
    (void)snprintf(schedule, sizeof schedule, "%s/scheduler/scheduler_config.json", folder);
    must_run("generate %s --prompt moon --negative-prompt sun --size 16x24 -o %s/folder " SMALL,
             folder, fixture_folder);
    assert_int_equal(run("generate %s --prompt moon --tokenizer %s --size 16x24 -o %s/e " SMALL,
                         single, folder, fixture_folder),
                     1);
    assert_false(has_no_such("--schedule"));
    must_run("generate %s --prompt moon --negative-prompt sun --tokenizer %s --schedule %s --size "
             "16x24 -o %s/single " SMALL,
             single, folder, schedule, fixture_folder);
    assert_true(same_file("folder/samples.npy", "single/samples.npy"));
    // the same steps of the same network, taken to predict the noise
    json_t *config = json_load_file(schedule, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(config, "prediction_type")),
                        "v_prediction");
    json_object_set_new(config, "prediction_type", json_string("epsilon"));
    assert_int_equal(json_dump_file(config, scratch("epsilon.json"), 0), 0);
    json_decref(config);
    must_run("generate %s --prompt moon --negative-prompt sun --schedule %s --size 16x24 -o "
             "%s/epsilon " SMALL,
             folder, scratch("epsilon.json"), fixture_folder);
    assert_false(same_file("folder/samples.npy", "epsilon/samples.npy"));
}

/* ---- Stable Diffusion 3.5 -------------------------------------------------------------------- */

/* Medium: norms of queries and keys, two attentions in the first blocks. */
static void make_sd35(void)
{
    static const char *const shared[] = {"model_index.json", "scheduler",      "text_encoder",
                                         "text_encoder_2",   "text_encoder_3", "tokenizer",
                                         "tokenizer_2",      "tokenizer_3",    "vae"};
    static collection single;
    char folder[256], from[512], to[512];
    (void)snprintf(folder, sizeof folder, "%s", scratch("sd35"));
    json_t *list = open_list("sd35");
    write_files(list, folder);
    make_part(list, "transformer", folder);
    collect_part(&single, list, "transformer", folder, "");
    write_collection(&single, scratch("sd35.safetensors"));
    json_decref(list);
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
        (void)snprintf(from, sizeof from, "../sd3/%s", shared[i]);
        (void)snprintf(to, sizeof to, "%s/%s", folder, shared[i]);
        assert_int_equal(symlink(from, to), 0);
    }
}

static void stable_diffusion_3_5_is_recognised_with_its_norms_and_second_attention(void **state)
{
    (void)state;
    const char *f = fixture_folder;
    must_run("info %s/sd35.safetensors --height 12 --width 16 --json", f);
    json_t *info = answer();
    assert_string_equal(json_string_value(json_object_get(info, "family")), "sd3");
    json_decref(info);
    must_run("generate %s/sd35 --prompt moon --size 32x24 -o %s/m35 " SMALL, f, f);
    must_run("generate %s/sd35.safetensors --prompt moon --size 32x24 --clip-l "
             "%s/sd3-clip_l.safetensors --clip-g %s/sd3-clip_g.safetensors --t5 "
             "%s/sd3-t5xxl.safetensors --tokenizer %s/sd3 --decoder %s/sd3-vae.safetensors -o "
             "%s/s35 " SMALL,
             f, f, f, f, f, f, f);
    assert_true(same_file("m35/samples.npy", "s35/samples.npy"));
    json_t *folder = settings_of("m35"), *single = settings_of("s35");
    assert_true(
        json_equal(json_object_get(folder, "plan_sha256"), json_object_get(single, "plan_sha256")));
    assert_true(json_equal(json_object_get(folder, "context_sha256"),
                           json_object_get(single, "context_sha256")));
    assert_true(json_real_value(json_object_get(folder, "cfg_scale")) == 7);
    json_decref(folder);
    json_decref(single);
    // CLIP's states alone, as many zeros behind them
    must_run("generate %s/sd35 --no-t5 --prompt moon --size 32x24 -o %s/n35 " SMALL, f, f);
    assert_false(same_file("m35/samples.npy", "n35/samples.npy"));
}

static int make_variants(void **state)
{
    const int made = make_scratch(state);
    if (!made) {
        make_flux();
        make_schnell();
        make_stable_diffusion("sd2");
        link_padding_tokenizer(scratch("sd2"), "tokenizer");
        make_sd3();
        make_sd35();
    }
    return made;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schnell_has_256_tokens_and_unshifted_levels),
        cmocka_unit_test(stable_diffusion_2_predicts_what_its_scheduler_says),
        cmocka_unit_test(stable_diffusion_3_5_is_recognised_with_its_norms_and_second_attention),
    };
    return cmocka_run_group_tests(tests, make_variants, remove_scratch);
}
