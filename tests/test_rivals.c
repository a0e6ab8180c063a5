/* Estimators beside Algorithm 1: what they are by their formulas, and runs with them. */
#include "tool.h"

#include <jansson.h>
#include <math.h>

#include "denoiser/cfg.h"
#include "denoiser/network.h"
#include "io/npy.h"
#include "uncertainty/estimator.h"

#define MODEL          "ddpm-unet-d/model" // 12 x 12 pixels, grey: a run takes a fraction of a second
#define SCHEDULE       "sched-ddim/leading0-cifar-clip/scheduler_config.json"
#define GENERATE       "generate %s --schedule %s -n 19 --steps 10 --seed 7 --eta 0.5"
#define RUN(more, ...) run(GENERATE more, data(MODEL), data(SCHEDULE), __VA_ARGS__)

/* ---- MC-Dropout ------------------------------------------------------------------------------ */

enum { IMAGES = 3, CHANNELS = 2, SIDE = 3, COUNT = CHANNELS * SIDE * SIDE, PASSES = 7, STEP = 4 };
static const uint32_t numbers[IMAGES] = {5, 0, 4000000000u};

/* A network that is nothing but two dropouts: eps = drop(drop(x)). */
typedef struct dropper {
    aleat_graph *graph;
    aleat_denoiser denoiser;
} dropper;

static dropper make_dropper(double p)
{
    aleat_error err = {0};
    dropper d = {.graph = aleat_graph_new(NULL)};
    const aleat_value x = aleat_graph_input(d.graph, "x", (aleat_dims){SIDE, SIDE, CHANNELS});
    const aleat_value y = aleat_op_dropout(d.graph, aleat_op_dropout(d.graph, x, p), p);
    const aleat_network_spec spec = {.graph = d.graph,
                                     .x = x,
                                     .t = ALEAT_NO_VALUE,
                                     .label = ALEAT_NO_VALUE,
                                     .out = y,
                                     .info = {.channels = CHANNELS,
                                              .height = SIDE,
                                              .width = SIDE,
                                              .out_channels = CHANNELS,
                                              .null_class = -1}};
    assert_int_equal(aleat_network_denoiser(&d.denoiser, &spec, &err), ALEAT_OK);
    return d;
}

static void dropper_free(dropper *d)
{
    aleat_denoiser_destroy(&d->denoiser);
    aleat_graph_free(d->graph);
}

static aleat_status dropout_map(const dropper *d, int passes, int64_t max_rows, const float *x,
                                int64_t n, float *map, aleat_error *err)
{
    const aleat_estimator_options options = {
        .copies = passes,
        .max_rows = max_rows,
        .statistics = {aleat_estimator_statistic(ALEAT_ESTIMATOR_DROPOUT)}};
    const aleat_noise_source noise = aleat_noise_philox(99);
    const aleat_clip none = {0};
    const aleat_noisy_state state = {.n = n,
                                     .height = SIDE,
                                     .width = SIDE,
                                     .images = numbers,
                                     .step = STEP,
                                     .alpha = 0.6,
                                     .sigma = 0.8,
                                     .x = x,
                                     .eps = x,
                                     .x0 = x,
                                     .clip = &none};
    aleat_estimator *e = NULL;
    aleat_status st =
        aleat_estimator_new(&e, &d->denoiser, ALEAT_PREDICTS_EPSILON, &options, n, SIDE, SIDE, err);
    if (!st)
        st = aleat_estimator_run(e, &state, &noise, &map, err);
    if (!st)
        assert_int_equal(aleat_estimator_nfe(e), passes);
    aleat_estimator_free(e);
    return st;
}

static void fill(float *x)
{
    for (int j = 0; j < IMAGES * COUNT; j++)
        x[j] = sinf((float)j + 1);
}

/* Whether mask `layer` of a pass keeps element (c, p) of an image: by the documented key. */
static bool kept(uint32_t image, uint32_t pass, uint32_t layer, int c, int p, int32_t limit)
{
    const aleat_rng_key key = {.seed = 99,
                               .image = image,
                               .step = STEP,
                               .copy = pass << 12 | layer,
                               .purpose = ALEAT_FOR_DROPOUT};
    uint32_t words[16];
    uint16_t bits[32];
    aleat_rng_words(&key, words, 16);
    memcpy(bits, words, sizeof bits);
    return bits[p * CHANNELS + c] >= limit;
}

static void dropout_variance_is_that_of_the_named_masks(void **state)
{
    (void)state;
    aleat_error err = {0};
    float x[IMAGES * COUNT], map[IMAGES * COUNT];
    fill(x);
    dropper d = make_dropper(0.25); // 16 bits hold it exactly
    assert_int_equal(dropout_map(&d, PASSES, 0, x, IMAGES, map, &err), ALEAT_OK);
    bool some = false;
    for (int i = 0; i < IMAGES; i++)
        for (int c = 0; c < CHANNELS; c++)
            for (int p = 0; p < SIDE * SIDE; p++) {
                const int at = i * COUNT + c * SIDE * SIDE + p;
                double sum = 0, squares = 0;
                for (uint32_t m = 0; m < PASSES; m++) {
                    const bool both =
                        kept(numbers[i], m, 0, c, p, 16384) && kept(numbers[i], m, 1, c, p, 16384);
                    const double y = both ? (double)x[at] / 0.75 / 0.75 : 0;
                    sum += y;
                    squares += y * y;
                }
                const double want = (squares - sum * sum / PASSES) / (PASSES - 1);
                some |= want > 0.1;
                // two roundings of f32 in y, one of the map: y^2 <= 3.2
                assert_true(fabs((double)map[at] - want) < 3.2 * 8 * 6e-8);
            }
    assert_true(some);
    dropper_free(&d);
}

static void dropout_maps_depend_on_no_batch(void **state)
{
    (void)state;
    aleat_error err = {0};
    float x[IMAGES * COUNT], whole[IMAGES * COUNT], cut[IMAGES * COUNT], one[COUNT];
    fill(x);
    dropper d = make_dropper(0.25);
    assert_int_equal(dropout_map(&d, PASSES, 0, x, IMAGES, whole, &err), ALEAT_OK);
    assert_int_equal(dropout_map(&d, PASSES, 4, x, IMAGES, cut, &err), ALEAT_OK);
    assert_memory_equal(whole, cut, sizeof whole);
    assert_int_equal(dropout_map(&d, PASSES, 1, x, 1, one, &err), ALEAT_OK);
    assert_memory_equal(whole, one, sizeof one);
    dropper_free(&d);
}

static void nothing_drops_unless_asked(void **state)
{
    (void)state;
    aleat_error err = {0};
    float x[IMAGES * COUNT], y[IMAGES * COUNT];
    fill(x);
    dropper d = make_dropper(0.25);
    const aleat_batch plain = {.n = IMAGES, .height = SIDE, .width = SIDE, .x = x};
    assert_int_equal(dropout_map(&d, PASSES, 0, x, IMAGES, y, &err), ALEAT_OK);
    assert_int_equal(aleat_denoiser_predict(&d.denoiser, &plain, y, &err), ALEAT_OK);
    assert_memory_equal(x, y, sizeof x);
    dropper_free(&d);
}

static void no_dropout_is_refused_and_too_many_passes(void **state)
{
    (void)state;
    aleat_error err = {0};
    float x[IMAGES * COUNT], map[IMAGES * COUNT];
    fill(x);
    dropper d = make_dropper(0); // operations that never drop
    assert_int_equal(dropout_map(&d, PASSES, 0, x, IMAGES, map, &err), ALEAT_ERR_UNSUPPORTED);
    d.denoiser.info.dropout = 0.5; // if it were not refused, the map would be nothing
    assert_int_equal(dropout_map(&d, PASSES, 0, x, IMAGES, map, &err), ALEAT_OK);
    for (int j = 0; j < IMAGES * COUNT; j++)
        assert_true(map[j] == 0);
    assert_int_equal(dropout_map(&d, 5000, 0, x, IMAGES, map, &err), ALEAT_ERR_ARGUMENT);
    dropper_free(&d);
}

/* Guidance of one network: u + w (c - u) of a network that knows no conditions is the network, so
 * both halves must have dropped by the same masks. */
static void both_halves_of_guidance_drop_alike(void **state)
{
    (void)state;
    aleat_error err = {0};
    float x[IMAGES * COUNT], alone[IMAGES * COUNT], guided[IMAGES * COUNT];
    fill(x);
    dropper d = make_dropper(0.25), inner = d;
    const int32_t label = 0, labels[IMAGES] = {0};
    const aleat_cfg_options options = {.scale = 3, .unconditional = {.labels = &label}};
    assert_int_equal(aleat_cfg_denoiser(&d.denoiser, &inner.denoiser, &options, &err), ALEAT_OK);
    const uint32_t passes[IMAGES] = {3, 1, 2};
    const aleat_dropout masks = {7, STEP, numbers, passes};
    aleat_batch batch = {.n = IMAGES,
                         .height = SIDE,
                         .width = SIDE,
                         .x = x,
                         .t = x,
                         .condition = {.labels = labels},
                         .dropout = &masks};
    assert_int_equal(aleat_denoiser_predict(&inner.denoiser, &batch, alone, &err), ALEAT_OK);
    assert_int_equal(aleat_denoiser_predict(&d.denoiser, &batch, guided, &err), ALEAT_OK);
    for (int j = 0; j < IMAGES * COUNT; j++)
        assert_true(alone[j] == guided[j]); // 0 - 0 is another zero than -0
    aleat_denoiser_destroy(&d.denoiser);
    dropper_free(&inner);
}

static int dropping_run(int milliseconds, const char *name, const char *more)
{
    return run_for(milliseconds,
                   GENERATE " --estimator mc-dropout --dropout 0.2 --copies 3 --score-steps 6:9 "
                            "--maps all -o %s/%s %s",
                   data(MODEL), data(SCHEDULE), fixture_folder, name, more);
}

static void dropout_runs_are_the_same_whatever_batch_and_kills(void **state)
{
    (void)state;
    assert_int_equal(dropping_run(0, "da", "--batch 16 --threads 1"), 0);
    assert_int_equal(dropping_run(0, "db", "--batch 3 --threads 2"), 0);
    assert_true(digest_of("da") == digest_of("db"));
    for (int i = 0; i < 5; i++)
        (void)dropping_run(5 + 60 * i, "dk", "--batch 4");
    assert_int_equal(dropping_run(0, "dk", "--batch 4"), 0);
    assert_true(digest_of("dk") == digest_of("da"));
    assert_int_equal(dropping_run(0, "dk", "--dropout 0.3"), 1); // another run
}

static json_t *run_json(const char *name)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s/run.json", fixture_folder, name);
    json_t *o = json_load_file(path, 0, NULL);
    assert_non_null(o);
    return o;
}

static void a_dropout_run_has_its_map_and_counts_its_passes(void **state)
{
    (void)state;
    char path[160], line[4096];
    aleat_error err = {0};
    aleat_tensor map = {0};
    json_t *o = run_json("da");
    const json_t *session = json_object_get(o, "this_session");
    assert_int_equal(json_integer_value(json_object_get(session, "evaluations_per_image")),
                     10 + 3 * 3);
    json_decref(o);
    (void)snprintf(path, sizeof path, "%s/da/dropout-var.npy", fixture_folder);
    assert_int_equal(aleat_npy_read_f32(&map, path, &err), ALEAT_OK);
    float most = 0;
    for (int64_t j = 0; j < aleat_tensor_count(&map); j++) {
        assert_true(aleat_tensor_f32(&map)[j] >= 0);
        most = fmaxf(most, aleat_tensor_f32(&map)[j]);
    }
    assert_true(most > 0);
    aleat_tensor_clear(&map);
    (void)snprintf(path, sizeof path, "%s/da/scores.csv", fixture_folder);
    FILE *csv = fopen(path, "r");
    assert_non_null(csv);
    assert_non_null(fgets(line, sizeof line, csv));
    assert_ptr_equal(strstr(line, "index,label,seed,score,dropout-var,dropout-var@6"), line);
    (void)fclose(csv);
    assert_int_equal(
        run("filter %s/da --keep 5 --by dropout-var -o %s/df", fixture_folder, fixture_folder), 0);
    assert_int_equal(run("report %s/da", fixture_folder), 0);
}

static void assert_same_bytes(const char *a, const char *b)
{
    aleat_error err = {0};
    aleat_tensor x = {0}, y = {0};
    assert_int_equal(aleat_npy_read_f32(&x, a, &err), ALEAT_OK);
    assert_int_equal(aleat_npy_read_f32(&y, b, &err), ALEAT_OK);
    assert_true(aleat_shape_equal(&x.shape, &y.shape));
    assert_memory_equal(x.data, y.data, (size_t)aleat_tensor_count(&x) * sizeof(float));
    aleat_tensor_clear(&x);
    aleat_tensor_clear(&y);
}

static void both_estimators_of_single_states_give_their_maps_in_one_run(void **state)
{
    (void)state;
    static const struct {
        const char *alone, *file;
    } maps[] = {{"da", "dropout-var.npy"}, {"ca", "uncertainty.npy"}, {"ca", "x0-var.npy"}};
    char a[200], b[200];
    assert_int_equal(RUN(" --dropout 0.2 --copies 3 --score-steps 6:9 -o %s/ca", fixture_folder),
                     0);
    assert_int_equal(RUN(" --estimator mc-dropout,copies --dropout 0.2 --copies 3 "
                         "--score-steps 6:9 --batch 5 -o %s/both",
                         fixture_folder),
                     0);
    for (size_t m = 0; m < sizeof maps / sizeof *maps; m++) {
        (void)snprintf(a, sizeof a, "%s/%s/%s", fixture_folder, maps[m].alone, maps[m].file);
        (void)snprintf(b, sizeof b, "%s/both/%s", fixture_folder, maps[m].file);
        assert_same_bytes(a, b);
    }
    json_t *o = run_json("both");
    const json_t *session = json_object_get(o, "this_session");
    assert_int_equal(json_integer_value(json_object_get(session, "evaluations_per_image")),
                     10 + 2 * 3 * 3);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(o, "settings"), "estimator")),
        "copies,mc-dropout"); // in the order of the table, however typed
    json_decref(o);
}

static void what_does_not_go_together_is_said(void **state)
{
    (void)state;
    char text[1024];
    assert_int_equal(RUN(" --estimator mc-dropout -o %s/none", fixture_folder), 1);
    said("stderr", text, sizeof text);
    assert_non_null(strstr(text, "no dropout"));
    assert_non_null(strstr(text, "--dropout"));
    assert_int_equal(
        RUN(" --estimator mc-dropout --dropout 0.1 --guide -o %s/none", fixture_folder), 1);
    said("stderr", text, sizeof text);
    assert_non_null(strstr(text, "guidance"));
    assert_int_equal(
        RUN(" --estimator mc-dropout --dropout 0.1 --stat eps-std -o %s/none", fixture_folder), 1);
    assert_int_equal(RUN(" --uncertainty --copies 1 -o %s/none", fixture_folder), 2);
    assert_int_equal(RUN(" --estimator mc-droput -o %s/none", fixture_folder), 2);
    assert_int_equal(RUN(" --estimator copies,mc-droput -o %s/none", fixture_folder), 2);
    assert_int_equal(RUN(" --estimator copies, -o %s/none", fixture_folder), 2);
    assert_int_equal(RUN(" --estimator copies,bayesdiff -o %s/none", fixture_folder), 1);
    said("stderr", text, sizeof text);
    assert_non_null(strstr(text, "no other in one run"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropout_variance_is_that_of_the_named_masks),
        cmocka_unit_test(dropout_maps_depend_on_no_batch),
        cmocka_unit_test(nothing_drops_unless_asked),
        cmocka_unit_test(no_dropout_is_refused_and_too_many_passes),
        cmocka_unit_test(both_halves_of_guidance_drop_alike),
        cmocka_unit_test(dropout_runs_are_the_same_whatever_batch_and_kills),
        cmocka_unit_test(a_dropout_run_has_its_map_and_counts_its_passes),
        cmocka_unit_test(both_estimators_of_single_states_give_their_maps_in_one_run),
        cmocka_unit_test(what_does_not_go_together_is_said),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
