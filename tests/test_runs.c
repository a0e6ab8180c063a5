/* The tool from outside: verbs that sample, run as a user runs them. */
#include "tool.h"

#include <jansson.h>
#include <math.h>

#define MODEL    "ddpm-unet-d/model" // 12 x 12 pixels, grey: a run takes a fraction of a second
#define SCHEDULE "sched-ddim/leading0-cifar-clip/scheduler_config.json"
#define N        19 // one whole shard and a part of one

#define GENERATE "generate %s --schedule %s -n 19 --steps 10 --seed 7 --eta 0.5 --maps all"
#define SCORED   " --score-steps 6:9 --guide --guide-steps 2:4 --keep-x0"

static int generate(int milliseconds, const char *name, const char *more)
{
    return run_for(milliseconds, GENERATE SCORED " --trajectory %s/%s.npy -o %s/%s %s", data(MODEL),
                   data(SCHEDULE), fixture_folder, name, fixture_folder, name, more);
}

static void every_batch_and_thread_count_gives_the_same_folder(void **state)
{
    (void)state;
    assert_int_equal(generate(0, "a", "--batch 16 --threads 1"), 0);
    assert_int_equal(generate(0, "b", "--batch 3 --threads 2"), 0);
    assert_int_equal(generate(0, "c", "--batch 1 --threads 2"), 0);
    assert_int_equal(generate(0, "d", "--batch 3 --threads 2 --seed 8"), 0);
    const uint64_t expected = digest_of("a");
    assert_true(digest_of("b") == expected);
    assert_true(digest_of("c") == expected);
    assert_true(digest_of("d") != expected);
}

static void torch_numbers_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    assert_int_equal(generate(0, "ta", "--rng torch --batch 16"), 0);
    assert_int_equal(generate(0, "tb", "--rng torch --batch 5"), 0);
    assert_true(digest_of("ta") == digest_of("tb"));
    assert_true(digest_of("ta") != digest_of("a"));
}

static void a_killed_run_ends_in_the_same_bytes(void **state)
{
    (void)state;
    int killed = 0;
    for (int i = 0; i < 10; i++) // moments spread over start, sampling and the end
        killed += generate(5 + 37 * i, "k", "--batch 4") == -1;
    assert_true(killed > 0);
    assert_int_equal(generate(0, "k", "--batch 4"), 0);
    assert_true(digest_of("k") == digest_of("a"));
    assert_int_equal(generate(0, "k", "--batch 4"), 0); // a finished run is left as it is
    assert_true(digest_of("k") == digest_of("a"));
    assert_int_equal(generate(0, "k", "--seed 9"), 1); // another run is not mixed in
    char text[1024];
    said("stderr", text, sizeof text);
    assert_non_null(strstr(text, "'seed'"));
    assert_non_null(strstr(text, "--resume discard"));
}

static void uncertainty_does_not_change_the_images(void **state)
{
    (void)state;
    char a[128], b[128];
    assert_int_equal(run(GENERATE " -o %s/plain", data(MODEL), data(SCHEDULE), fixture_folder), 0);
    assert_int_equal(
        run(GENERATE " -o %s/scored --uncertainty", data(MODEL), data(SCHEDULE), fixture_folder),
        0);
    (void)snprintf(a, sizeof a, "%s/plain/samples.npz", fixture_folder);
    (void)snprintf(b, sizeof b, "%s/scored/samples.npz", fixture_folder);
    char ha[ALEAT_SHA256_TEXT], hb[ALEAT_SHA256_TEXT];
    assert_int_equal(aleat_sha256_file(ha, a, NULL), ALEAT_OK);
    assert_int_equal(aleat_sha256_file(hb, b, NULL), ALEAT_OK);
    assert_string_equal(ha, hb);
}

static void the_trajectory_starts_from_the_given_noise(void **state)
{
    (void)state;
    aleat_error err = {0};
    char path[128];
    aleat_tensor x = {0}, all = {0};
    const aleat_shape shape = {.n_dims = 4, .dim = {N, 1, 12, 12}};
    assert_int_equal(aleat_tensor_new(&x, ALEAT_F32, &shape, &err), ALEAT_OK);
    for (int64_t j = 0; j < N * 144; j++)
        aleat_tensor_f32(&x)[j] = sinf((float)j);
    (void)snprintf(path, sizeof path, "%s/xt.npy", fixture_folder);
    assert_int_equal(aleat_npy_write(path, &x, &err), ALEAT_OK);
    assert_int_equal(run(GENERATE " --init %s --trajectory %s/t.npy -o %s/init2", data(MODEL),
                         data(SCHEDULE), path, fixture_folder, fixture_folder),
                     0);
    (void)snprintf(path, sizeof path, "%s/t.npy", fixture_folder);
    assert_int_equal(aleat_npy_read_f32(&all, path, &err), ALEAT_OK);
    const aleat_shape expected = {.n_dims = 5, .dim = {11, N, 1, 12, 12}};
    assert_true(aleat_shape_equal(&all.shape, &expected));
    assert_memory_equal(all.data, x.data, N * 144 * sizeof(float));
    aleat_tensor_clear(&x);
    aleat_tensor_clear(&all);
}

// The last step of DDIM ends at alpha = 1, sigma = 0: the image is the x0 predicted there.
static void the_predictions_of_x0_end_in_the_image(void **state)
{
    (void)state;
    aleat_error err = {0};
    char path[128];
    aleat_tensor x0 = {0}, all = {0};
    assert_int_equal(run(GENERATE " --keep-x0 --trajectory %s/end.npy -o %s/x0", data(MODEL),
                         data(SCHEDULE), fixture_folder, fixture_folder),
                     0);
    (void)snprintf(path, sizeof path, "%s/end.npy", fixture_folder);
    assert_int_equal(aleat_npy_read_f32(&all, path, &err), ALEAT_OK);
    (void)snprintf(path, sizeof path, "%s/x0/x0-steps.npy", fixture_folder);
    assert_int_equal(aleat_npy_read_f32(&x0, path, &err), ALEAT_OK);
    const aleat_shape expected = {.n_dims = 5, .dim = {N, 10, 1, 12, 12}};
    assert_true(aleat_shape_equal(&x0.shape, &expected));
    for (int64_t i = 0; i < N; i++)
        assert_memory_equal(aleat_tensor_f32(&x0) + (i * 10 + 9) * 144,
                            aleat_tensor_f32(&all) + (10 * N + i) * 144, 144 * sizeof(float));
    aleat_tensor_clear(&x0);
    aleat_tensor_clear(&all);
}

static void the_schedule_visits_the_steps_of_the_reference(void **state)
{
    (void)state;
    static char text[1 << 20];
    assert_int_equal(run("schedule %s --steps 50 --json", data(SCHEDULE)), 0);
    said("stdout", text, sizeof text);
    json_t *plan = json_loads(text, 0, NULL);
    const json_t *steps = json_object_get(plan, "timesteps");
    aleat_tensor expected = load("data/sched-ddim/leading0-cifar-clip", "timesteps_50.npy");
    assert_int_equal(json_array_size(steps), 50);
    for (size_t k = 0; k < 50; k++)
        assert_true(json_number_value(json_array_get(steps, k)) ==
                    (double)aleat_tensor_f32(&expected)[k]);
    assert_int_equal(json_array_size(json_object_get(plan, "alphas_cumprod")), 1000);
    assert_int_equal(json_array_size(json_object_get(plan, "sigmas")), 51);
    json_decref(plan);
    aleat_tensor_clear(&expected);
}

// Relative L2 error of an array of the scratch folder.
static double error_of(const char *name, const char *folder, const char *reference)
{
    char path[128];
    aleat_error err = {0};
    aleat_tensor a = {0}, b = load(folder, reference);
    (void)snprintf(path, sizeof path, "%s/%s", fixture_folder, name);
    assert_int_equal(aleat_npy_read_f32(&a, path, &err), ALEAT_OK);
    assert_int_equal(aleat_tensor_count(&a), aleat_tensor_count(&b));
    double off = 0, size = 0;
    for (int64_t j = 0; j < aleat_tensor_count(&a); j++) {
        const double want = (double)aleat_tensor_f32(&b)[j];
        off += pow((double)aleat_tensor_f32(&a)[j] - want, 2);
        size += want * want;
    }
    aleat_tensor_clear(&a);
    aleat_tensor_clear(&b);
    return sqrt(off / size);
}

// f32 against double: 1e-6 is measured, a wrong statistic or clipping is off by 0.01 and more.
#define CLOSE 1e-5

static void maps_are_those_of_the_reference(void **state)
{
    (void)state;
    static const char *const cases[][3] = {{"var", "off", "t60_U_unbiased_f64.npy"},
                                           {"var0", "off", "t60_U_biased_f64.npy"},
                                           {"mse", "on", "t60_clip_U_centred_f64.npy"},
                                           {"eps-square", "on", "t60_clip_U_meansq_f64.npy"}};
    if (!case_exists("alg1-b", "t60_x_t.npy"))
        skip();
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(run("uncertainty %s --schedule %s --x %s --noise %s --t 60 --stat %s "
                             "--clip %s --out %s/u.npy --eps %s/e.npy --x0 %s/x0.npy",
                             case_path("ddpm-unet-m", "model"), data(SCHEDULE),
                             case_path("alg1-b", "t60_x_t.npy"), case_path("alg1-b", "t60_z.npy"),
                             cases[i][0], cases[i][1], fixture_folder, fixture_folder,
                             fixture_folder),
                         0);
        assert_true(error_of("u.npy", "alg1-b", cases[i][2]) < CLOSE);
        assert_true(error_of("e.npy", "alg1-b", "t60_eps_t_f64.npy") < CLOSE);
        assert_true(error_of("x0.npy", "alg1-b",
                             i < 2 ? "t60_x0_hat_f64.npy" : "t60_clip_x0_hat_f64.npy") < CLOSE);
    }
}

static void gradients_are_those_of_the_reference(void **state)
{
    (void)state;
    static const char *const cases[][3] = {{"var", "off", "dU_deps_unbiased_f64.npy"},
                                           {"mse", "on", "dU_deps_centred_clip_f64.npy"}};
    if (!case_exists("alg2-step", "x_t.npy"))
        skip();
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(run("uncertainty %s --schedule %s --x %s --noise %s --t 420 --stat %s "
                             "--clip %s --out %s/u.npy --grad %s/g.npy",
                             case_path("ddpm-unet-m", "model"), data(SCHEDULE),
                             case_path("alg2-step", "x_t.npy"), case_path("alg2-step", "z.npy"),
                             cases[i][0], cases[i][1], fixture_folder, fixture_folder),
                         0);
        assert_true(error_of("g.npy", "alg2-step", cases[i][2]) < CLOSE);
    }
}

#define UVIT "uvit-cifar/cifar10_uvit_small.pth"

static json_t *schedule_of_uvit(const char *options)
{
    static char text[1 << 20];
    assert_int_equal(run("schedule %s --heads 2 %s --json", data(UVIT), options), 0);
    said("stdout", text, sizeof text);
    json_t *plan = json_loads(text, 0, NULL);
    assert_non_null(plan);
    return plan;
}

/* The noise a U-ViT was trained with is not in its file, nor is the number of heads. */
static void the_schedule_is_that_of_the_model_as_its_options_say(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        double last;                                   // abar of the last step, to the digits below
    } cases[] = {{"", 4.318575e-5},                    // pixels: exp(-0.1 - 19.9 / 2)
                 {"--noise-schedule vp", 4.318575e-5}, // said
                 {"--noise-schedule scaled_linear", 4.660099e-3}}; // as Stable Diffusion's
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *plan = schedule_of_uvit(cases[i].options);
        const json_t *abar = json_object_get(plan, "alphas_cumprod");
        assert_int_equal(json_array_size(abar), 1000);
        const double last = json_number_value(json_array_get(abar, 999));
        if (!(fabs(last - cases[i].last) < 1e-5 * cases[i].last))
            fail_msg("'%s': abar of the last step is %.8g", cases[i].options, last);
        json_decref(plan);
    }
    assert_int_equal(run("schedule %s --steps 5", data(UVIT)), 1);
    char text[1024];
    said("stderr", text, sizeof text);
    assert_non_null(strstr(text, "heads"));
}

/* The last evaluation is at time 1/1000, step 0 of the thousand. */
static void the_continuous_sampler_ends_at_step_zero(void **state)
{
    (void)state;
    json_t *plan = schedule_of_uvit("--sampler em-sde --steps 7");
    const json_t *steps = json_object_get(plan, "timesteps");
    assert_int_equal(json_array_size(steps), 7);
    assert_true(json_number_value(json_array_get(steps, 6)) == 0);
    json_decref(plan);
}

static void exit_codes_tell_wrong_usage_from_failure(void **state)
{
    (void)state;
    assert_int_equal(run("generate %s", data(MODEL)), 2);                      // no -o
    assert_int_equal(run("generate %s -o x --score-steps 9", data(MODEL)), 2); // no range
    assert_int_equal(run("uncertainty %s --x x --t late --out u", data(MODEL)), 2);
    assert_int_equal(run("schedule %s --sampler dimm", data(SCHEDULE)), 2);
    assert_int_equal(run("generate /nowhere -o %s/none", fixture_folder), 1);
    assert_int_equal(run("schedule /nowhere"), 1);
    assert_int_equal(
        run(GENERATE " -o %s/none --labels 1", data(MODEL), data(SCHEDULE), fixture_folder), 1);
    char text[1024];
    assert_int_equal(run("generate %s -o %s/none", data(MODEL), fixture_folder), 1);
    said("stderr", text, sizeof text);
    assert_non_null(strstr(text, "--schedule FILE")); // the model has no scheduler of its own
}

// A run of other settings would not be gone on with, so the command told must be the one given.
static void the_command_told_makes_the_same_run(void **state)
{
    (void)state;
    char text[4096];
    assert_int_equal(run("generate %s --schedule %s -n 2 --steps 4 --stat eps-mse --guide "
                         "--gradient fd-sym --compat side=lower --respacing 4 -q -o %s/it's",
                         data(MODEL), data(SCHEDULE), fixture_folder),
                     0);
    json_t *told = json_load_file(scratch("it's/run.json"), 0, NULL);
    const char *command = json_string_value(json_object_get(told, "command"));
    assert_non_null(command);
    assert_non_null(strstr(command, "it'\\''s'"));
    (void)snprintf(text, sizeof text, "aleat() { \"$ALEAT_TOOL\" \"$@\"; }; %s --json > '%s'",
                   command, scratch("again"));
    assert_int_equal(system(text), 0);
    json_t *again = json_load_file(scratch("again"), 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(again, "images")), 2);
    assert_int_equal(json_integer_value(json_object_get(again, "made")), 0);
    json_decref(again);
    json_decref(told);
}

static void info_tells_a_model_as_json(void **state)
{
    (void)state;
    assert_int_equal(run("info %s --json", data(MODEL)), 0);
    json_t *told = json_load_file(scratch("stdout"), 0, NULL);
    assert_non_null(told);
    assert_string_equal(json_string_value(json_object_get(told, "family")), "unet2d");
    assert_string_equal(json_string_value(json_object_get(told, "weights_format")), "safetensors");
    assert_null(json_object_get(told, "scheduler_path")); // it has none
    assert_int_equal(json_integer_value(json_object_get(told, "height")), 12);
    assert_int_equal(json_integer_value(json_object_get(told, "null_class")), -1);
    assert_true(json_number_value(json_object_get(told, "flop")) > 0);
    assert_true(json_is_object(json_object_get(told, "config")));
    assert_int_equal(json_integer_value(json_object_get(told, "n_tensors")),
                     json_array_size(json_object_get(told, "tensors")));
    json_decref(told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_batch_and_thread_count_gives_the_same_folder),
        cmocka_unit_test(torch_numbers_do_not_depend_on_the_batch),
        cmocka_unit_test(a_killed_run_ends_in_the_same_bytes),
        cmocka_unit_test(uncertainty_does_not_change_the_images),
        cmocka_unit_test(the_trajectory_starts_from_the_given_noise),
        cmocka_unit_test(the_predictions_of_x0_end_in_the_image),
        cmocka_unit_test(the_schedule_visits_the_steps_of_the_reference),
        cmocka_unit_test(the_schedule_is_that_of_the_model_as_its_options_say),
        cmocka_unit_test(the_continuous_sampler_ends_at_step_zero),
        cmocka_unit_test(maps_are_those_of_the_reference),
        cmocka_unit_test(gradients_are_those_of_the_reference),
        cmocka_unit_test(the_command_told_makes_the_same_run),
        cmocka_unit_test(info_tells_a_model_as_json),
        cmocka_unit_test(exit_codes_tell_wrong_usage_from_failure),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
