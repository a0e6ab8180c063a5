/* Guided runs of the tool: thresholds from other runs, guidance by labels, memory, resuming. */
#include "tool.h"

#include <jansson.h>
#include <math.h>

#include "io/json.h"

#define MODEL    "ddpm-unet-d/model" // 12 x 12 pixels, grey
#define SCHEDULE "sched-ddim/leading0-cifar-clip/scheduler_config.json"
#define PIXELS   144

#define GENERATE "generate %s --schedule %s --steps 6 "

static int generate(const char *name, const char *more)
{
    return run(GENERATE "%s -o %s/%s", data(MODEL), data(SCHEDULE), more, fixture_folder, name);
}

static json_t *load_json(const char *name)
{
    json_t *value = json_load_file(scratch(name), 0, NULL);
    assert_non_null(value);
    return value;
}

static void stderr_has(const char *words)
{
    char text[4096];
    said("stderr", text, sizeof text);
    if (!strstr(text, words))
        fail_msg("'%s' is not in: %s", words, text);
}

/* ---- thresholds --------------------------------------------------------------------------------
 */

static int ascending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void thresholds_are_quantiles_over_the_images_of_all_runs(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_tensor maps[2], got, steps;
    assert_int_equal(generate("t1", "-n 17 --seed 1 --maps all --score-steps 1:5"), 0);
    assert_int_equal(generate("t2", "-n 4 --seed 2 --maps all --score-steps 1:5"), 0);
    assert_int_equal(run("threshold %s/t1 %s/t2 --percentile 0.3 -o %s/t.npz", fixture_folder,
                         fixture_folder, fixture_folder),
                     0);
    assert_int_equal(aleat_npz_read(&got, scratch("t.npz"), "threshold", &err), ALEAT_OK);
    assert_int_equal(aleat_npz_read(&steps, scratch("t.npz"), "steps", &err), ALEAT_OK);
    const char *const names[] = {"t1/eps-var-steps.npy", "t2/eps-var-steps.npy"};
    for (int r = 0; r < 2; r++)
        assert_int_equal(aleat_npy_read(&maps[r], scratch(names[r]), &err), ALEAT_OK);
    const aleat_shape expected = {.n_dims = 4, .dim = {4, 1, 12, 12}};
    assert_true(aleat_shape_equal(&got.shape, &expected));
    for (int64_t k = 0; k < 4; k++) {
        assert_int_equal(((const int64_t *)steps.data)[k], k + 1);
        for (int64_t j = 0; j < PIXELS; j++) {
            float all[21];
            for (int64_t i = 0; i < 21; i++)
                all[i] = i < 17 ? aleat_tensor_f32(&maps[0])[(i * 4 + k) * PIXELS + j]
                                : aleat_tensor_f32(&maps[1])[((i - 17) * 4 + k) * PIXELS + j];
            qsort(all, 21, sizeof *all, ascending);
            assert_true(aleat_tensor_f32(&got)[k * PIXELS + j] == all[6]); // rank 0.3 * 20 = 6
        }
    }
    for (int r = 0; r < 2; r++)
        aleat_tensor_clear(&maps[r]);
    aleat_tensor_clear(&got);
    aleat_tensor_clear(&steps);
}

static void a_run_is_guided_by_thresholds_of_its_own_kind_only(void **state)
{
    (void)state;
    char more[512];
#define WITH(options)                                                                              \
    ((void)snprintf(more, sizeof more,                                                             \
                    "-n 3 --guide --guide-steps 1:5 --threshold-file %s/t.npz " options,           \
                    fixture_folder),                                                               \
     more)
    assert_int_equal(generate("g1", WITH("--batch 1")), 0);
    assert_int_equal(generate("g2", WITH("--batch 3")), 0);
    assert_int_equal(generate("g3", "-n 3 --guide --guide-steps 1:5"), 0);
    assert_true(digest_of("g1") == digest_of("g2"));
    assert_true(digest_of("g1") != digest_of("g3"));
    assert_int_equal(generate("g4", WITH("--copies 6")), 1);
    stderr_has("'copies'");
    assert_int_equal(generate("g4", WITH("--clip off")), 1);
    stderr_has("'copies_clip'");
    assert_int_equal(generate("g4", WITH("--sampler ddpm")), 1);
    stderr_has("another sampler, number of steps or noise schedule ('plan_sha256')");
    assert_int_equal(generate("g4", WITH("--stat eps-mse")), 1);
    stderr_has("eps-mse");
    assert_int_equal(generate("g4", WITH("--compat alpha=step-index")), 1);
    stderr_has("'map_variant'");
    assert_int_equal(generate("g4", WITH("--guide-steps 0:5")), 1);
    stderr_has("step 0");
    assert_int_equal(generate("g4", WITH("--compat mode=posterior")), 1);
    stderr_has("a map of their own");
    assert_int_equal(generate("g4", "-n 1 --guide --compat mode=posterior,wrt=input"), 1);
    stderr_has("wrt says how the gradient is taken");
    assert_int_equal(generate("g6", "-n 1 --guide --compat mode=random-sign,batch-mean=4"), 1);
    stderr_has("batch-mean says how the gradient is taken");
    assert_int_equal(run("threshold %s/g1 -o %s/u.npz", fixture_folder, fixture_folder), 1);
    stderr_has("g1");
    assert_int_equal(generate("g5", "-n 2 --guide --maps all --uncertainty --score-steps 1:5"), 0);
    assert_int_equal(run("threshold %s/g5 -o %s/u.npz", fixture_folder, fixture_folder), 1);
    stderr_has("guided");
    assert_int_equal(
        run("threshold %s/t1 -o %s/u.npz --stat x0-var", fixture_folder, fixture_folder), 0);
    // damaged: the same archive with a threshold that is no number, and without its header
    aleat_tensor values, steps, header;
    assert_int_equal(aleat_npz_read(&values, scratch("t.npz"), "threshold", NULL), ALEAT_OK);
    assert_int_equal(aleat_npz_read(&steps, scratch("t.npz"), "steps", NULL), ALEAT_OK);
    assert_int_equal(aleat_npz_read(&header, scratch("t.npz"), "header", NULL), ALEAT_OK);
    aleat_tensor_f32(&values)[3] = NAN;
    const aleat_named_array all[] = {{"threshold", values}, {"steps", steps}, {"header", header}};
    assert_int_equal(aleat_npz_write(scratch("t.npz"), all, 3, false, NULL), ALEAT_OK);
    assert_int_equal(generate("g4", WITH("")), 1);
    stderr_has("threshold 3 is not a number");
    aleat_tensor_clear(&steps);
    aleat_tensor_clear(&header);
    const aleat_named_array one = {"threshold", values};
    assert_int_equal(aleat_npz_write(scratch("t.npz"), &one, 1, false, NULL), ALEAT_OK);
    assert_int_equal(generate("g4", WITH("")), 1);
    stderr_has("t.npz");
    aleat_tensor_clear(&values);
}

/* ---- resuming ----------------------------------------------------------------------------------
 */

static void a_killed_guided_run_reports_all_of_its_images(void **state)
{
    (void)state;
#define LONG "-n 19 --eta 1 --guide --score-steps 2:5 --batch 4 "
    assert_int_equal(generate("w", LONG), 0);
    int killed = 0;
    for (int i = 0; i < 6; i++)
        killed += run_for(20 + 60 * i, GENERATE LONG "-o %s/k", data(MODEL), data(SCHEDULE),
                          fixture_folder) == -1;
    assert_true(killed > 0);
    assert_int_equal(generate("k", LONG), 0);
    json_t *whole = load_json("w/run.json"), *resumed = load_json("k/run.json");
    const char *const keys[] = {"guidance", "signals"};
    for (int i = 0; i < 2; i++) {
        assert_non_null(json_object_get(whole, keys[i]));
        assert_true(json_equal(json_object_get(whole, keys[i]), json_object_get(resumed, keys[i])));
    }
    assert_int_equal(json_array_size(json_object_get(whole, "guidance")), 6);
    const json_t *first = json_array_get(json_object_get(whole, "guidance"), 0);
    assert_true(json_number_value(json_object_get(first, "mean_change")) > 0);
    json_decref(whole);
    json_decref(resumed);
}

/* ---- guidance by labels ------------------------------------------------------------------------
 */

// The demo's model with its last class taken for "no label", in the scratch folder.
static const char *labelled_model(void)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/labelled", fixture_folder);
    if (aleat_is_dir(path))
        return path;
    assert_int_equal(mkdir(path, 0755), 0);
    json_t *config =
        json_load_file(case_path("data/../../models/fashion/unet", "config.json"), 0, NULL);
    assert_non_null(config);
    assert_int_equal(json_object_set_new(config, "_aleat_null_class", json_integer(10)), 0);
    assert_int_equal(json_dump_file(config, fixture_path(path, "config.json"), 0), 0);
    json_decref(config);
    const char *name = "diffusion_pytorch_model.safetensors";
    char *weights = realpath(case_path("data/../../models/fashion/unet", name), NULL);
    assert_non_null(weights);
    assert_int_equal(symlink(weights, fixture_path(path, name)), 0);
    free(weights);
    return path;
}

static aleat_tensor scored(const char *label)
{
    aleat_tensor out;
    assert_int_equal(run("score %s --x %s/x.npy --t 300 --label %s --out %s/e.npy",
                         labelled_model(), fixture_folder, label, fixture_folder),
                     0);
    assert_int_equal(aleat_npy_read_f32(&out, scratch("e.npy"), NULL), ALEAT_OK);
    return out;
}

static void labels_guide_predictions_and_what_follows_from_them(void **state)
{
    (void)state;
    enum { COUNT = 2 * 32 * 32 };
    aleat_tensor x = {0}, got = {0};
    const aleat_shape shape = {.n_dims = 4, .dim = {2, 1, 32, 32}};
    assert_int_equal(aleat_tensor_new(&x, ALEAT_F32, &shape, NULL), ALEAT_OK);
    for (int64_t j = 0; j < COUNT; j++)
        aleat_tensor_f32(&x)[j] = sinf(1.3f * (float)(j * j % 977));
    assert_int_equal(aleat_npy_write(scratch("x.npy"), &x, NULL), ALEAT_OK);
    aleat_tensor c = scored("3"), u = scored("10");
    assert_int_equal(run("uncertainty %s --schedule %s --x %s/x.npy --t 300 --label 3 --copies 3 "
                         "--cfg-scale 2.5 --out %s/u.npy --eps %s/e.npy --json",
                         labelled_model(), data(SCHEDULE), fixture_folder, fixture_folder,
                         fixture_folder),
                     0);
    assert_int_equal(aleat_npy_read_f32(&got, scratch("e.npy"), NULL), ALEAT_OK);
    double gap = 0;
    for (int64_t j = 0; j < COUNT; j++) {
        const double a = (double)aleat_tensor_f32(&c)[j], b = (double)aleat_tensor_f32(&u)[j];
        assert_true(aleat_tensor_f32(&got)[j] == (float)(b + 2.5 * (a - b)));
        gap += (a - b) * (a - b);
    }
    assert_true(gap > 1e-3); // the two labels do differ
    json_t *told = load_json("stdout");
    assert_int_equal(json_integer_value(json_object_get(told, "evaluations_per_image")), 8);
    json_decref(told);
    aleat_tensor_clear(&x);
    aleat_tensor_clear(&c);
    aleat_tensor_clear(&u);
    aleat_tensor_clear(&got);
}

#define LABELLED "generate %s --schedule %s -n 3 --labels 0,5 --steps 4 "

static void a_run_guided_by_labels_costs_twice_and_tells_the_gap(void **state)
{
    (void)state;
    assert_int_equal(run(LABELLED "--uncertainty --copies 2 --score-steps 2:4 -o %s/l0 --json",
                         labelled_model(), data(SCHEDULE), fixture_folder),
                     0);
    assert_int_equal(run(LABELLED "--uncertainty --copies 2 --score-steps 2:4 --cfg-scale 1 "
                                  "-o %s/l1",
                         labelled_model(), data(SCHEDULE), fixture_folder),
                     0);
    assert_true(digest_of("l0") == digest_of("l1"));
    assert_int_equal(run(LABELLED "--uncertainty --copies 2 --score-steps 2:4 --cfg-scale 3 "
                                  "--batch 1 -o %s/l2 --json",
                         labelled_model(), data(SCHEDULE), fixture_folder),
                     0);
    json_t *told = load_json("stdout");
    assert_int_equal(json_integer_value(json_object_get(told, "evaluations_per_image")), 16);
    json_decref(told);
    assert_int_equal(run(LABELLED "--uncertainty --copies 2 --score-steps 2:4 --cfg-scale 3 "
                                  "--batch 3 --guide --strength 0 -o %s/l3",
                         labelled_model(), data(SCHEDULE), fixture_folder),
                     0);
    assert_true(digest_of("l2") != digest_of("l0"));
    json_t *plain = load_json("l1/run.json"), *guided = load_json("l2/run.json");
    json_t *still = load_json("l3/run.json");
    assert_null(json_object_get(json_object_get(plain, "signals"), "cfg-gap"));
    const json_t *gap = json_object_get(json_object_get(guided, "signals"), "cfg-gap");
    assert_true(json_number_value(json_object_get(gap, "low")) > 0);
    assert_true(json_equal(gap, json_object_get(json_object_get(still, "signals"), "cfg-gap")));
    json_decref(plain);
    json_decref(guided);
    json_decref(still);
    assert_int_equal(generate("l4", "-n 1 --cfg-scale 2"), 1);
    stderr_has("'no label'");
    assert_int_equal(generate("l4", "-n 1 --cfg-scale 0"), 2);
}

/* ---- memory and gradients ----------------------------------------------------------------------
 */

// The least memory, in MiB, that the last message advises.
static int advised(void)
{
    char text[4096];
    said("stderr", text, sizeof text);
    const char *words = strstr(text, " MiB is the least");
    if (!words)
        fail_msg("no advice in: %s", text);
    while (words > text && words[-1] >= '0' && words[-1] <= '9')
        words--;
    return atoi(words);
}

static void memory_bounds_change_no_bit(void **state)
{
    (void)state;
#define HUNGRY "-n 2 --guide --guide-steps 1:2 --uncertainty --score-steps 1:2 --copies 3 -o %s/"
    const char *model = labelled_model(), *schedule = data(SCHEDULE), *to = fixture_folder;
    assert_int_equal(run(LABELLED HUNGRY "m0", model, schedule, to), 0);
    assert_int_equal(run(LABELLED HUNGRY "m1 --memory 1M", model, schedule, to), 1);
    const int evaluations = advised(); // an evaluation fits then, its gradient does not
    assert_int_equal(run(LABELLED HUNGRY "m1 --memory %dM", model, schedule, to, evaluations), 1);
    const int least = advised();
    assert_true(least > evaluations);
    assert_int_equal(run(LABELLED HUNGRY "m1 --memory %dM", model, schedule, to, least), 0);
    assert_int_equal(run(LABELLED HUNGRY "m2 --memory %dM", model, schedule, to, 4 * least), 0);
    assert_true(digest_of("m0") == digest_of("m1"));
    assert_true(digest_of("m0") == digest_of("m2"));
    assert_int_equal(run(LABELLED HUNGRY "m3 --memory 10", model, schedule, to), 2);
}

static double cosine_of(const char *gradient)
{
    assert_int_equal(run("uncertainty %s --schedule %s --x %s/x.npy --t 300 --label 3 --out "
                         "%s/u.npy --grad %s/g.npy --gradient %s --cosine --json",
                         labelled_model(), data(SCHEDULE), fixture_folder, fixture_folder,
                         fixture_folder, gradient),
                     0);
    json_t *told = load_json("stdout"), *cosines = json_object_get(told, "gradient_cosines");
    assert_int_equal(json_array_size(cosines), 2);
    const double a = json_number_value(json_array_get(cosines, 0));
    const double b = json_number_value(json_array_get(cosines, 1));
    json_decref(told);
    return a < b ? a : b;
}

static void forward_gradients_tell_how_near_they_are(void **state)
{
    (void)state;
    const double exact = cosine_of("vjp"), forward = cosine_of("jvp"), fd = cosine_of("fd-sym");
    print_message("cosines: vjp %.7f, jvp %.4f, fd-sym %.4f\n", exact, forward, fd);
    assert_true(fabs(exact - 1) < 1e-6);
    assert_true(fabs(forward - fd) < 0.01);          // one derivative, exact and by differences
    assert_true(forward > 0.5 && forward < 0.99999); // the Jacobian is nearly symmetric, not quite
}

static void all_classes_do_not_count_the_one_that_means_none(void **state)
{
    (void)state;
    assert_int_equal(run("generate %s -n 12 --labels all --steps 1 --schedule %s -q -o %s/all",
                         labelled_model(), data(SCHEDULE), fixture_folder),
                     0);
    FILE *scores = fopen(scratch("all/scores.csv"), "r");
    assert_non_null(scores);
    char line[4096];
    assert_non_null(fgets(line, sizeof line, scores));
    for (int i = 0; i < 12; i++) {
        int index, label;
        assert_non_null(fgets(line, sizeof line, scores));
        assert_int_equal(sscanf(line, "%d,%d", &index, &label), 2);
        assert_int_equal(label, i % 10);
    }
    (void)fclose(scores);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_classes_do_not_count_the_one_that_means_none),
        cmocka_unit_test(thresholds_are_quantiles_over_the_images_of_all_runs),
        cmocka_unit_test(a_run_is_guided_by_thresholds_of_its_own_kind_only),
        cmocka_unit_test(a_killed_guided_run_reports_all_of_its_images),
        cmocka_unit_test(labels_guide_predictions_and_what_follows_from_them),
        cmocka_unit_test(a_run_guided_by_labels_costs_twice_and_tells_the_gap),
        cmocka_unit_test(memory_bounds_change_no_bit),
        cmocka_unit_test(forward_gradients_tell_how_near_they_are),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
