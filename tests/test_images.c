/* Verbs that look at images from elsewhere: reconstruct, uncertainty --image, corruptions. */
#include "tool.h"

#include <jansson.h>
#include <math.h>
#include <sys/stat.h>

#include "aleat/aleat.h"
#include "io/png_image.h"

#define MODEL    "ddpm-unet-d/model" // 12 x 12 pixels, grey: a run takes a fraction of a second
#define SCHEDULE "sched-ddim/leading0-cifar-clip/scheduler_config.json"
#define SIDE     12
#define N        19 // one whole shard and a part of one

// A grey value of image i, different for all.
static uint8_t pixel(int64_t i, int64_t p)
{
    return (uint8_t)(127.5 +
                     120 * sin(0.7 * (double)i + 0.11 * (double)(p % SIDE) * (double)(i + 1) +
                               0.2 * (double)(p / SIDE)));
}

static void write_images(const char *name, int64_t n, int64_t side)
{
    aleat_error err = {0};
    aleat_tensor x = {0};
    const aleat_shape shape = aleat_shape_of(3, n, side, side);
    assert_ok(aleat_tensor_new(&x, ALEAT_U8, &shape, &err), &err);
    for (int64_t i = 0; i < n; i++)
        for (int64_t p = 0; p < side * side; p++)
            ((uint8_t *)x.data)[i * side * side + p] = pixel(i, p);
    assert_ok(aleat_npy_write(scratch(name), &x, &err), &err);
    aleat_tensor_clear(&x);
}

static int setup(void **state)
{
    if (make_scratch(state))
        return -1;
    write_images("x.npy", N, SIDE);
    return 0;
}

static int reconstruct(int milliseconds, const char *name, const char *more)
{
    return run_for(milliseconds,
                   "reconstruct %s %s/x.npy --schedule %s --steps 10 --seed 7 --eta 0.3 --copies 3 "
                   "--bootstrap 0 -o %s/%s %s",
                   data(MODEL), fixture_folder, data(SCHEDULE), fixture_folder, name, more);
}

static aleat_tensor array_of(const char *name)
{
    aleat_error err = {0};
    aleat_tensor x = {0};
    assert_ok(aleat_npy_read_f32(&x, scratch(name), &err), &err);
    return x;
}

static void assert_said(const char *text)
{
    char all[4096];
    said("stderr", all, sizeof all);
    if (!strstr(all, text))
        fail_msg("'%s' is not in '%s'", text, all);
}

/* ---- reconstruct ----------------------------------------------------------------------------- */

static void every_batch_and_thread_count_gives_the_same_reconstruction(void **state)
{
    (void)state;
    assert_int_equal(reconstruct(0, "a", "--batch 16 --threads 1"), 0);
    assert_int_equal(reconstruct(0, "b", "--batch 3 --threads 2"), 0);
    assert_int_equal(reconstruct(0, "c", "--batch 3 --seed 8"), 0);
    assert_true(digest_of("b") == digest_of("a"));
    assert_true(digest_of("c") != digest_of("a"));
}

static void a_killed_reconstruction_ends_in_the_same_bytes(void **state)
{
    (void)state;
    int killed = 0;
    for (int i = 0; i < 8; i++) // moments spread over start, sampling and the end
        killed += reconstruct(5 + 40 * i, "k", "--batch 4") == -1;
    assert_true(killed > 0);
    assert_int_equal(reconstruct(0, "k", "--batch 4"), 0);
    assert_true(digest_of("k") == digest_of("a"));
    assert_int_equal(reconstruct(0, "k", ""), 0); // a finished one is left as it is
    assert_true(digest_of("k") == digest_of("a"));
    assert_int_equal(reconstruct(0, "k", "--from 3"), 1);
    assert_said("'from'");
    write_images("x.npy", N + 1, SIDE); // others: the first N are the same, the number is not
    assert_int_equal(reconstruct(0, "k", ""), 1);
    assert_said("'images'");
    assert_int_equal(reconstruct(0, "k", "-n 19"), 0);
    write_images("x.npy", N, SIDE);
}

static void errors_are_reconstructions_less_originals(void **state)
{
    (void)state;
    aleat_tensor x0 = array_of("a/original.npy"), x = array_of("a/reconstruction.npy");
    aleat_tensor e = array_of("a/error.npy");
    double squares = 0;
    for (int64_t i = 0; i < N; i++)
        for (int64_t p = 0; p < SIDE * SIDE; p++) {
            const int64_t j = i * SIDE * SIDE + p;
            const float value = aleat_tensor_f32(&x)[j], wanted = 2 * (pixel(i, p) / 255.0F) - 1;
            assert_true(fabsf(aleat_tensor_f32(&x0)[j] - wanted) < 1e-6F);
            assert_true(value >= -1 && value <= 1);
            assert_true(aleat_tensor_f32(&e)[j] == value - aleat_tensor_f32(&x0)[j]);
            squares += pow((double)aleat_tensor_f32(&e)[j], 2);
        }
    json_t *told = json_load_file(scratch("a/reconstruct.json"), 0, NULL);
    const json_t *maps = json_object_get(told, "maps");
    assert_int_equal(json_array_size(maps), 3);
    const json_t *ause = json_object_get(json_array_get(maps, 1), "ause");
    const double rmse = json_real_value(json_object_get(json_object_get(ause, "rmse"), "value"));
    assert_true(fabs(rmse - sqrt(squares / (N * SIDE * SIDE))) < 1e-9);
    // five steps, and three copies at each of them
    assert_int_equal(json_integer_value(json_object_get(told, "evaluations_per_image")), 20);
    assert_int_equal(json_integer_value(json_object_get(told, "from")), 5);
    json_decref(told);
    aleat_tensor_clear(&x0);
    aleat_tensor_clear(&x);
    aleat_tensor_clear(&e);
}

static double value_at(const char *file, int map, const char *name)
{
    json_t *told = json_load_file(scratch(file), 0, NULL);
    assert_non_null(told);
    const json_t *m = json_array_get(json_object_get(told, "maps"), (size_t)map);
    const json_t *ause = json_object_get(m, "ause");
    const double value = json_real_value(json_object_get(json_object_get(ause, name), "value"));
    json_decref(told);
    return value;
}

static void eval_reads_what_reconstruct_wrote(void **state)
{
    (void)state;
    assert_int_equal(run("eval ause --uncertainty %s/a/x0-var.npy --error %s/a/error.npy --json",
                         fixture_folder, fixture_folder),
                     0);
    json_t *told = json_load_file(scratch("stdout"), 0, NULL);
    static const char *const names[] = {
        "ause",          "aurg",           "ause_per_image", "ause_inverted",
        "aurg_inverted", "aurg_per_image", "spearman",       "aurg_per_image_inverted"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        // error.npy has been rounded to f32
        assert_true(fabs(json_real_value(json_object_get(told, names[i])) -
                         value_at("a/reconstruct.json", 1, names[i])) < 1e-6);
    json_decref(told);
}

static void the_published_variants_change_what_they_say(void **state)
{
    (void)state;
    assert_int_equal(reconstruct(0, "pad", "--compat ause-zero-pad=190"), 0);
    assert_int_equal(reconstruct(0, "units", "--compat ause-units"), 0);
    assert_int_equal(reconstruct(0, "index", "--compat ause-noise-index,units=score"), 0);
    // ten rows of zeros for each image: the mean square falls to an eleventh
    const double rmse = value_at("a/reconstruct.json", 0, "rmse");
    assert_true(fabs(value_at("pad/reconstruct.json", 0, "rmse") - rmse / sqrt(11)) < 1e-9);
    assert_true(value_at("pad/reconstruct.json", 0, "ause") <
                value_at("a/reconstruct.json", 0, "ause"));
    // bytes less numbers of 0 to 1, whatever the reconstruction
    assert_true(value_at("units/reconstruct.json", 0, "rmse") > 20);
    json_t *told = json_load_file(scratch("index/reconstruct.json"), 0, NULL);
    const double sigma = json_real_value(json_object_get(told, "sigma"));
    assert_true(sigma < 0.1); // abar of training step 5 of 1000, not of step 500
    json_decref(told);
    told = json_load_file(scratch("index/run.json"), 0, NULL);
    const json_t *settings = json_object_get(told, "settings");
    assert_string_equal(json_string_value(json_object_get(settings, "compat")), "units=score");
    assert_string_equal(json_string_value(json_object_get(settings, "reconstruct_compat")),
                        "ause-noise-index");
    json_decref(told);
    assert_int_equal(reconstruct(0, "bad", "--compat ause-zero-pad=many"), 1);
    assert_said("expected a number of images");
    assert_int_equal(reconstruct(0, "bad", "--compat ause-nothing"), 1);
    assert_said("no variant 'ause-nothing'");
}

static void wrong_reconstructions_are_refused(void **state)
{
    (void)state;
    assert_int_equal(run("reconstruct %s -o %s/bad", data(MODEL), fixture_folder), 2);
    assert_int_equal(reconstruct(0, "bad", "--from half"), 2);
    assert_int_equal(reconstruct(0, "bad", "--from 1.5"), 2);
    assert_int_equal(reconstruct(0, "bad", "--from 0"), 2);
    assert_int_equal(reconstruct(0, "bad", "--from 10"), 1);
    assert_said("steps 1 to 9");
    assert_int_equal(reconstruct(0, "bad", "--from 0.01"), 1);
    assert_int_equal(reconstruct(0, "bad", "--score-steps 2:8"), 1);
    assert_said("begins with step 5");
    assert_int_equal(reconstruct(0, "bad", "-n 20"), 1);
    assert_said("there are 19 images");
    assert_int_equal(reconstruct(0, "bad", "--label 3"), 1);
    assert_said("takes no labels");
    assert_int_equal(reconstruct(0, "bad", "--split test"), 1);
    write_images("large.npy", 2, SIDE + 1);
    assert_int_equal(run("reconstruct %s %s/large.npy --schedule %s -o %s/bad", data(MODEL),
                         fixture_folder, data(SCHEDULE), fixture_folder),
                     1);
    assert_said("at most 12x12");
    assert_said("resample");
    assert_int_equal(access(scratch("bad"), F_OK), -1); // nothing was begun
}

/* ---- uncertainty --image --------------------------------------------------------------------- */

static int judge(int milliseconds, const char *image, const char *name, const char *more)
{
    return run_for(milliseconds,
                   "uncertainty %s --image %s/%s --schedule %s --steps 10 --score-steps 5:8 --seed "
                   "7 --copies 3 -o %s/%s %s",
                   data(MODEL), fixture_folder, image, data(SCHEDULE), fixture_folder, name, more);
}

static void judgements_do_not_depend_on_batch_threads_and_interruptions(void **state)
{
    (void)state;
    assert_int_equal(judge(0, "x.npy", "ja", "--repeats 2 --batch 16 --threads 1"), 0);
    assert_int_equal(judge(0, "x.npy", "jb", "--repeats 2 --batch 5 --threads 2"), 0);
    assert_true(digest_of("jb") == digest_of("ja"));
    int killed = 0;
    for (int i = 0; i < 6; i++)
        killed += judge(5 + 40 * i, "x.npy", "jk", "--repeats 2 --batch 4") == -1;
    assert_true(killed > 0);
    assert_int_equal(judge(0, "x.npy", "jk", "--repeats 2 --batch 4"), 0);
    assert_true(digest_of("jk") == digest_of("ja"));
    assert_int_equal(judge(0, "x.npy", "jk", "--repeats 3"), 1);
    assert_said("'repeats'");
    assert_int_equal(judge(0, "x.npy", "j1", ""), 0);
    assert_int_equal(access(scratch("ja/x0-error-se.npy"), F_OK), 0);
    assert_int_equal(access(scratch("j1/x0-error-se.npy"), F_OK), -1);
    assert_int_equal(judge(0, "x.npy", "jd", "--estimator mc-dropout --dropout 0.2"), 0);
    assert_int_equal(access(scratch("jd/dropout-var.npy"), F_OK), 0);
    assert_int_equal(access(scratch("jd/x0-var.npy"), F_OK), -1);
    assert_int_equal(judge(0, "x.npy", "j2", "--estimator copies,mc-dropout --dropout 0.2"), 0);
    assert_int_equal(access(scratch("j2/dropout-var.npy"), F_OK), 0);
    assert_int_equal(access(scratch("j2/x0-var.npy"), F_OK), 0);
    assert_int_equal(access(scratch("j1/maps/000018.png"), F_OK), 0);
}

// A score is the sum of its map, and the picture judged is the one that was given.
static void scores_are_sums_of_the_maps_of_the_given_picture(void **state)
{
    (void)state;
    aleat_error err = {0};
    uint8_t pixels[SIDE * SIDE];
    for (int p = 0; p < SIDE * SIDE; p++)
        pixels[p] = pixel(0, p);
    const aleat_image image = {SIDE, SIDE, 1, pixels};
    assert_ok(aleat_png_write(scratch("one.png"), &image, NULL, 0, &err), &err);
    assert_int_equal(judge(0, "one.png", "png", "--json"), 0);
    json_t *told = json_load_file(scratch("stdout"), 0, NULL);
    static const char *const maps[][2] = {{"eps-var", "png/uncertainty.npy"},
                                          {"x0-var", "png/x0-var.npy"},
                                          {"post-var", "png/post-var.npy"},
                                          {"x0-error", "png/x0-error.npy"}};
    for (size_t m = 0; m < sizeof maps / sizeof *maps; m++) {
        aleat_tensor map = array_of(maps[m][1]), all = array_of("j1/x0-var.npy");
        double sum = 0;
        for (int p = 0; p < SIDE * SIDE; p++)
            sum += (double)aleat_tensor_f32(&map)[p];
        const json_t *column = json_object_get(json_object_get(told, "scores"), maps[m][0]);
        assert_int_equal(json_array_size(column), 1);
        const double score = json_real_value(json_array_get(column, 0));
        assert_true(fabs(score - sum) <= 1e-5 * fabs(sum)); // 144 numbers of f32
        if (m == 1) // the same picture as the first of the array
            assert_memory_equal(map.data, all.data, SIDE * SIDE * sizeof(float));
        aleat_tensor_clear(&map);
        aleat_tensor_clear(&all);
    }
    json_decref(told);
    // it was judged, not made: that it differs from what the model makes would mean nothing
    assert_int_equal(run("replay %s/png/images/000000.png --model %s", fixture_folder, data(MODEL)),
                     1);
    assert_said("was made from an image that was given");
}

static void images_that_do_not_fit_are_told_what_to_do(void **state)
{
    (void)state;
    write_images("large.npy", 2, SIDE + 1);
    write_images("small.npy", 2, SIDE - 4);
    assert_int_equal(judge(0, "large.npy", "fit", ""), 1);
    assert_said("resample");
    assert_int_equal(judge(0, "large.npy", "fit", "--fit resample"), 0);
    assert_int_equal(judge(0, "small.npy", "small", ""), 0); // black around
    assert_int_equal(judge(0, "none.png", "bad", ""), 1);
    aleat_error err = {0};
    uint8_t rgb[SIDE * SIDE * 3] = {0};
    const aleat_image colour = {SIDE, SIDE, 3, rgb};
    assert_ok(aleat_png_write(scratch("rgb.png"), &colour, NULL, 0, &err), &err);
    assert_int_equal(judge(0, "rgb.png", "bad", ""), 1);
    assert_said("to grey first");
    assert_int_equal(judge(0, "x.npy", "bad", "--estimator bayesdiff"), 1); // once not heard
    assert_said("whole runs");
    assert_int_equal(judge(0, "x.npy", "bad", "--x y.npy"), 2);
    assert_int_equal(judge(0, "x.npy", "bad", "--repeats 0"), 2);
    assert_int_equal(judge(0, "x.npy", "bad", "--show nothing"), 2);
    assert_int_equal(run("uncertainty %s --image %s/x.npy", data(MODEL), fixture_folder), 2);
    assert_said("-o RUN");
    assert_int_equal(run("uncertainty %s --t 3 --out u.npy", data(MODEL)), 2);
    assert_said("--x X.npy");
    FILE *file = fopen(scratch("broken.png"), "w");
    assert_non_null(file);
    (void)fputs("\x89PNG\r\n\x1a\n and no more", file);
    (void)fclose(file);
    assert_int_equal(judge(0, "broken.png", "bad", ""), 1);
    assert_said("broken.png");
    assert_int_equal(access(scratch("bad"), F_OK), -1);
}

// The demo's model in the scratch folder, with or without a class that means none.
static const char *labelled_model(const char *name, bool with_null)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", fixture_folder, name);
    assert_int_equal(mkdir(path, 0755), 0);
    json_t *config =
        json_load_file(case_path("data/../../models/fashion/unet", "config.json"), 0, NULL);
    assert_non_null(config);
    if (with_null)
        assert_int_equal(json_object_set_new(config, "_aleat_null_class", json_integer(10)), 0);
    else
        (void)json_object_del(config, "_aleat_null_class");
    assert_int_equal(json_dump_file(config, fixture_path(path, "config.json"), 0), 0);
    json_decref(config);
    const char *file = "diffusion_pytorch_model.safetensors";
    char *weights = realpath(case_path("data/../../models/fashion/unet", file), NULL);
    assert_non_null(weights);
    assert_int_equal(symlink(weights, fixture_path(path, file)), 0);
    free(weights);
    return path;
}

static int judge_labelled(const char *model, const char *run_name, const char *more)
{
    return run("uncertainty %s --image %s/c.npy --schedule %s --steps 4 --copies 2 -o %s/%s %s",
               model, fixture_folder, data(SCHEDULE), fixture_folder, run_name, more);
}

static void a_class_is_asked_for_where_none_means_none(void **state)
{
    (void)state;
    write_images("c.npy", 1, 32);
    const char *model = labelled_model("without", false);
    assert_int_equal(judge_labelled(model, "class", ""), 1);
    assert_said("--label Y");
    assert_int_equal(judge_labelled(model, "class", "--label data"), 1);
    assert_said("these images have no labels");
    assert_int_equal(judge_labelled(model, "class", "--label 11"), 1);
    assert_int_equal(judge_labelled(model, "class", "--label sneaker"), 0);
    model = labelled_model("with", true);
    assert_int_equal(judge_labelled(model, "null", ""), 0);
    json_t *told = json_load_file(scratch("null/run.json"), 0, NULL);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(told, "settings"), "labels")), "10");
    json_decref(told);
}

static void latents_are_asked_for_an_encoder(void **state)
{
    (void)state;
    write_images("c.npy", 1, 16);
    assert_int_equal(run("uncertainty %s --height 16 --width 16 --image %s/c.npy --schedule %s -o "
                         "%s/latent",
                         data("ddpm-unet-c/model"), fixture_folder, data(SCHEDULE), fixture_folder),
                     1);
    assert_said("takes latents of 2 channels");
    assert_said("an encoder makes latents");
}

/* ---- damage ---------------------------------------------------------------------------------- */

enum { SIZE = SIDE * SIDE };

static void damage(uint8_t out[N * SIZE], const char *kind, double strength, uint64_t seed)
{
    aleat_error err = {0};
    uint8_t in[N * SIZE];
    for (int i = 0; i < N * SIZE; i++)
        in[i] = pixel(i / SIZE, i % SIZE);
    const aleat_images images = {.n = N, .height = SIDE, .width = SIDE, .channels = 1, .bytes = in};
    assert_ok(aleat_corrupt(out, &images, kind, strength, seed, &err), &err);
}

static void damage_does_what_it_says(void **state)
{
    (void)state;
    uint8_t whole[N * SIZE], out[N * SIZE], again[N * SIZE];
    damage(whole, NULL, 0, 1);
    for (int i = 0; i < N * SIZE; i++)
        assert_int_equal(whole[i], pixel(i / SIZE, i % SIZE));
    aleat_corruption_facts facts;
    int kinds = 0;
    for (; aleat_corruption_at(kinds, &facts); kinds++) {
        damage(out, facts.name, 0, 1);
        damage(again, facts.name, facts.strength, 1);
        assert_memory_equal(out, again, sizeof out);
        assert_memory_not_equal(out, whole, sizeof out);
    }
    assert_int_equal(kinds, 4);
    damage(out, "noise", 0.05, 1);
    damage(again, "noise", 0.05, 2);
    assert_memory_not_equal(out, again, sizeof out);
    double squares = 0;
    for (int i = 0; i < N * SIZE; i++)
        squares += pow(out[i] - whole[i], 2);
    // 2736 squares, rounded, few of them cut at 0 and 255: 4 % and a little
    assert_true(fabs(sqrt(squares / (N * SIZE)) / (255 * 0.05) - 1) < 0.1);
    damage(out, "jpeg", 100, 1);
    for (int i = 0; i < N * SIZE; i++)
        assert_true(abs(out[i] - whole[i]) <= 3); // steps of 1 in every coefficient
    // a kernel of no width, whose neighbours weigh e^-5000
    damage(out, "blur", 0.01, 1);
    assert_memory_equal(out, whole, sizeof out);
}

// Within the rectangle all pixels are those of one other image, outside those of the image itself.
static void a_splice_is_a_rectangle_of_another_image(void **state)
{
    (void)state;
    uint8_t whole[N * SIZE], out[N * SIZE];
    damage(whole, NULL, 0, 1);
    damage(out, "splice", 0.5, 1);
    for (int i = 0; i < N; i++) {
        int low[2] = {SIDE, SIDE}, high[2] = {-1, -1}, from = -1;
        for (int p = 0; p < SIZE; p++)
            if (out[i * SIZE + p] != whole[i * SIZE + p]) {
                const int at[2] = {p / SIDE, p % SIDE};
                for (int k = 0; k < 2; k++) {
                    low[k] = at[k] < low[k] ? at[k] : low[k];
                    high[k] = at[k] > high[k] ? at[k] : high[k];
                }
            }
        assert_true(high[0] >= 0 && high[0] - low[0] < 6 && high[1] - low[1] < 6);
        for (int other = 0; other < N; other++) {
            bool same = other != i;
            for (int y = low[0]; y <= high[0]; y++)
                for (int x = low[1]; x <= high[1]; x++)
                    same &= out[i * SIZE + y * SIDE + x] == whole[other * SIZE + y * SIDE + x];
            from = same ? other : from;
        }
        assert_true(from >= 0);
    }
}

static void a_blur_keeps_what_is_flat_and_spreads_a_point(void **state)
{
    (void)state;
    aleat_error err = {0};
    uint8_t in[3 * 31 * 31], out[3 * 31 * 31];
    memset(in, 77, sizeof in);
    in[(15 * 31 + 15) * 3 + 1] = 255; // a green point
    const aleat_images images = {.n = 1, .height = 31, .width = 31, .channels = 3, .bytes = in};
    assert_ok(aleat_corrupt(out, &images, "blur", 2, 0, &err), &err);
    for (int p = 0; p < 31 * 31; p++) {
        const double y = p / 31 - 15, x = p % 31 - 15;
        const double want =
            77 + (255 - 77) * exp(-(x * x + y * y) / 8) / (2 * 3.14159265358979 * 4);
        assert_int_equal(out[3 * p], 77);
        assert_true(fabs(out[3 * p + 1] - want) < 0.6); // rounded; cut off at four deviations
    }
}

static void wrong_damage_is_refused(void **state)
{
    (void)state;
    aleat_error err = {0};
    uint8_t in[4] = {0}, out[4];
    aleat_images images = {.n = 1, .height = 2, .width = 2, .channels = 1, .bytes = in};
    assert_failed(aleat_corrupt(out, &images, "scratch", 0, 0, &err), ALEAT_ERR_ARGUMENT, &err,
                  "no damage 'scratch'");
    assert_failed(aleat_corrupt(out, &images, "jpeg", 101, 0, &err), ALEAT_ERR_ARGUMENT, &err,
                  "expected 1 to 100");
    assert_failed(aleat_corrupt(out, &images, "blur", 1e9, 0, &err), ALEAT_ERR_ARGUMENT, &err,
                  "blur");
    assert_failed(aleat_corrupt(out, &images, "blur", NAN, 0, &err), ALEAT_ERR_ARGUMENT, &err,
                  "blur");
    assert_failed(aleat_corrupt(out, &images, "splice", 0.5, 0, &err), ALEAT_ERR_ARGUMENT, &err,
                  "another image");
    images.channels = 2;
    assert_failed(aleat_corrupt(out, &images, "blur", 1, 0, &err), ALEAT_ERR_SHAPE, &err,
                  "2 channels");
}

// The areas told are those that eval finds in the scores of the folders.
static void corruptions_tell_the_area_under_the_curve(void **state)
{
    (void)state;
    const char *form =
        "corruptions %s %s/x.npy --schedule %s --steps 10 --score-steps 5:7 --copies "
        "2 --kinds blur,noise=0.3 --bootstrap 50 -o %s/dam %s";
    assert_int_equal(
        run(form, data(MODEL), fixture_folder, data(SCHEDULE), fixture_folder, "--json"), 0);
    json_t *told = json_load_file(scratch("stdout"), 0, NULL);
    const json_t *rows = json_object_get(told, "rows");
    assert_int_equal(json_array_size(rows), 3 * 4); // two kinds and all, four scores
    assert_int_equal(json_integer_value(json_object_get(told, "evaluations_per_image")), 6);
    double whole[N], damaged[N];
    aleat_error err = {0};
    const char *const runs[] = {"dam/whole", "dam/noise-0.3"};
    for (int k = 0; k < 2; k++) {
        aleat_scores *scores = NULL;
        assert_ok(aleat_scores_open(&scores, scratch(runs[k]), &err), &err);
        assert_ok(aleat_scores_values(k ? damaged : whole, scores, "x0-error", &err), &err);
        aleat_scores_close(scores);
    }
    double above = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            above += damaged[i] > whole[j] ? 1 : damaged[i] == whole[j] ? 0.5 : 0;
    const json_t *row = json_array_get(rows, 7);
    assert_string_equal(json_string_value(json_object_get(row, "damage")), "noise");
    assert_string_equal(json_string_value(json_object_get(row, "score")), "x0-error");
    const double auroc = json_real_value(json_object_get(row, "auroc"));
    assert_true(fabs(auroc - above / (N * N)) < 1e-12);
    assert_true(json_real_value(json_object_get(row, "low")) <= auroc);
    json_decref(told);
    const uint64_t before = digest_of("dam");
    assert_int_equal(
        run(form, data(MODEL), fixture_folder, data(SCHEDULE), fixture_folder, "--batch 3"), 0);
    assert_true(digest_of("dam") == before);
    assert_int_equal(
        run(form, data(MODEL), fixture_folder, data(SCHEDULE), fixture_folder, "--kinds blur=0"),
        1);
    assert_said("strength above 0");
    assert_int_equal(
        run(form, data(MODEL), fixture_folder, data(SCHEDULE), fixture_folder, "--kinds rust"), 1);
    assert_said("blur, noise, splice, jpeg");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_batch_and_thread_count_gives_the_same_reconstruction),
        cmocka_unit_test(a_killed_reconstruction_ends_in_the_same_bytes),
        cmocka_unit_test(errors_are_reconstructions_less_originals),
        cmocka_unit_test(eval_reads_what_reconstruct_wrote),
        cmocka_unit_test(the_published_variants_change_what_they_say),
        cmocka_unit_test(wrong_reconstructions_are_refused),
        cmocka_unit_test(judgements_do_not_depend_on_batch_threads_and_interruptions),
        cmocka_unit_test(scores_are_sums_of_the_maps_of_the_given_picture),
        cmocka_unit_test(images_that_do_not_fit_are_told_what_to_do),
        cmocka_unit_test(a_class_is_asked_for_where_none_means_none),
        cmocka_unit_test(latents_are_asked_for_an_encoder),
        cmocka_unit_test(damage_does_what_it_says),
        cmocka_unit_test(a_splice_is_a_rectangle_of_another_image),
        cmocka_unit_test(a_blur_keeps_what_is_flat_and_spreads_a_point),
        cmocka_unit_test(wrong_damage_is_refused),
        cmocka_unit_test(corruptions_tell_the_area_under_the_curve),
    };
    return cmocka_run_group_tests(tests, setup, remove_scratch);
}
