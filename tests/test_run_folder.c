#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "api/run_folder.h"
#include "base/alloc.h"
#include "io/file.h"
#include "io/json.h"
#include "io/npy.h"
#include "io/png_image.h"
#include "io/sha256.h"

#define N      37 // two whole shards and a part of one
#define C      3
#define H      8
#define W      6
#define STEPS  2
#define STATES 4
#define X0     2
#define PIXELS (C * H * W)

static const int64_t score_steps[STEPS] = {7, 8};

static aleat_generation_field fields[] = {{(char[]){"Steps"}, (char[]){"9"}}};
static const aleat_generation generation = {.fields = fields, .n_fields = 1};
static const aleat_run_shape shape = {
    .n = N,
    .channels = C,
    .height = H,
    .width = W,
    .image_channels = C,
    .image_height = H,
    .image_width = W,
    .n_maps = 2,
    .maps = {{"eps-var", "uncertainty.npy", NULL, "dark: unsure", false},
             {"x0-var", "x0-var.npy", "squared pixels", "light: unsure", false}},
    .shown = 1,
    .n_score_steps = STEPS,
    .score_steps = score_steps,
    .keep_steps = true,
    .trajectory_states = STATES,
    .x0_steps = X0,
    .seed = 5,
    .generation = &generation,
};

static char scratch[64];

// A value that every place of every array has for itself.
static float value_of(int64_t image, int64_t array, int64_t element)
{
    return (float)((image * 31 + array * 7 + element) % 101) / 101;
}

static void fill(aleat_shard *s)
{
    for (int64_t j = 0; j < s->count; j++) {
        const int64_t image = s->first + j;
        s->labels[j] = image % 10;
        for (int64_t e = 0; e < PIXELS; e++)
            s->images[j * PIXELS + e] = (uint8_t)(255 * value_of(image, 0, e));
        for (int64_t m = 0; m < 2; m++)
            for (int64_t k = 0; k < STEPS; k++)
                for (int64_t e = 0; e < PIXELS; e++) {
                    const float v = value_of(image, 1 + m * STEPS + k, e);
                    s->maps[(m * s->count + j) * PIXELS + e] += v;
                    s->sums[(m * s->count + j) * STEPS + k] += v;
                    s->step_maps[((m * s->count + j) * STEPS + k) * PIXELS + e] = v;
                }
        for (int64_t k = 0; k < STATES; k++)
            for (int64_t e = 0; e < PIXELS; e++)
                s->trajectory[(j * STATES + k) * PIXELS + e] = value_of(image, 10 + k, e);
        for (int64_t k = 0; k < X0; k++)
            for (int64_t e = 0; e < PIXELS; e++)
                s->x0[(j * X0 + k) * PIXELS + e] = value_of(image, 20 + k, e);
    }
}

static json_t *settings(int steps)
{
    return json_pack("{sisssI}", "steps", steps, "sampler", "ddim", "n", (json_int_t)N);
}

// Opens, does whatever is left, finishes.
static aleat_status whole_run(const char *path, int steps, aleat_resume resume, aleat_error *err)
{
    json_t *wanted = settings(steps);
    aleat_run_folder *folder = NULL;
    aleat_status st = aleat_run_folder_open(&folder, path, &shape, wanted, resume, err);
    for (int64_t i = 0; !st && i < aleat_run_folder_shards(folder); i++) {
        aleat_shard *shard;
        if (aleat_run_folder_has(folder, i))
            continue;
        st = aleat_run_folder_begin(folder, i, &shard, err);
        if (st)
            break;
        fill(shard);
        st = aleat_run_folder_commit(folder, err);
    }
    if (!st)
        st = aleat_run_folder_finish(folder, NULL, err);
    aleat_run_folder_free(folder);
    json_decref(wanted);
    return st;
}

// Order-independent digest of names and contents: the sum of each file's first eight bytes.
static uint64_t digest;
static size_t root_length;
static int add_file(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)at;
    if (type != FTW_F)
        return 0;
    char text[ALEAT_SHA256_TEXT], both[512];
    assert_int_equal(aleat_sha256_file(text, path, NULL), ALEAT_OK);
    (void)snprintf(both, sizeof both, "%s %s", path + root_length, text);
    aleat_sha256(text, both, strlen(both));
    text[16] = '\0';
    digest += strtoull(text, NULL, 16);
    return 0;
}

static uint64_t folder_digest(const char *path)
{
    digest = 0;
    root_length = strlen(path);
    assert_int_equal(nftw(path, add_file, 16, FTW_PHYS), 0);
    return digest;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

static int make_scratch(void **state)
{
    (void)state;
    (void)snprintf(scratch, sizeof scratch, "/tmp/aleat-run-XXXXXX");
    return mkdtemp(scratch) ? 0 : -1;
}

static int remove_scratch(void **state)
{
    (void)state;
    return nftw(scratch, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *in_scratch(const char *name)
{
    static char path[2][128];
    static int turn;
    turn = !turn;
    (void)snprintf(path[turn], sizeof path[turn], "%s/%s", scratch, name);
    return path[turn];
}

static void arrays_hold_every_image_at_its_place(void **state)
{
    (void)state;
    aleat_error err = {0};
    assert_int_equal(whole_run(in_scratch("a"), 9, ALEAT_RESUME_AUTO, &err), ALEAT_OK);
    aleat_tensor images, labels, map, steps, trajectory, x0;
    const char *npz = in_scratch("a/samples.npz");
    assert_int_equal(aleat_npz_read(&images, npz, "arr_0", &err), ALEAT_OK);
    assert_int_equal(aleat_npz_read(&labels, npz, "arr_1", &err), ALEAT_OK);
    assert_int_equal(aleat_npy_read(&map, in_scratch("a/x0-var.npy"), &err), ALEAT_OK);
    assert_int_equal(aleat_npy_read(&steps, in_scratch("a/x0-var-steps.npy"), &err), ALEAT_OK);
    assert_int_equal(aleat_npy_read(&trajectory, in_scratch("a/trajectory.npy"), &err), ALEAT_OK);
    assert_int_equal(aleat_npy_read(&x0, in_scratch("a/x0-steps.npy"), &err), ALEAT_OK);
    const aleat_shape nhwc = aleat_shape_of(4, (int64_t)N, (int64_t)H, (int64_t)W, (int64_t)C);
    const aleat_shape tnchw =
        aleat_shape_of(5, (int64_t)STATES, (int64_t)N, (int64_t)C, (int64_t)H, (int64_t)W);
    assert_true(images.dtype == ALEAT_U8 && aleat_shape_equal(&images.shape, &nhwc));
    assert_true(labels.dtype == ALEAT_I64);
    assert_true(aleat_shape_equal(&trajectory.shape, &tnchw));
    for (int64_t i = 0; i < N; i++) {
        assert_int_equal(((int64_t *)labels.data)[i], i % 10);
        for (int64_t e = 0; e < PIXELS; e++) {
            assert_int_equal(((uint8_t *)images.data)[i * PIXELS + e],
                             (uint8_t)(255 * value_of(i, 0, e)));
            assert_true(aleat_tensor_f32(&map)[i * PIXELS + e] ==
                        value_of(i, 3, e) + value_of(i, 4, e));
            assert_true(aleat_tensor_f32(&steps)[(i * STEPS + 1) * PIXELS + e] ==
                        value_of(i, 4, e));
            assert_true(aleat_tensor_f32(&trajectory)[(2 * N + i) * PIXELS + e] ==
                        value_of(i, 12, e));
            assert_true(aleat_tensor_f32(&x0)[(i * X0 + 1) * PIXELS + e] == value_of(i, 21, e));
        }
    }
    aleat_tensor_clear(&images);
    aleat_tensor_clear(&labels);
    aleat_tensor_clear(&map);
    aleat_tensor_clear(&steps);
    aleat_tensor_clear(&trajectory);
    aleat_tensor_clear(&x0);
}

static void settings_travel_with_each_picture(void **state)
{
    (void)state;
    char *own = NULL, *parameters = NULL;
    const char *path = in_scratch("a/images/000012.png");
    assert_int_equal(aleat_png_read_text(&own, path, "aleat", NULL), ALEAT_OK);
    assert_int_equal(aleat_png_read_text(&parameters, path, "parameters", NULL), ALEAT_OK);
    assert_non_null(own);
    assert_non_null(strstr(own, "\"image\":12"));
    assert_non_null(strstr(own, "\"sampler\":\"ddim\""));
    assert_string_equal(parameters, "\nSteps: 9, Image: 12, Label: 2");
    aleat_free(own);
    aleat_free(parameters);
}

static void the_score_is_the_sum_of_the_map(void **state)
{
    (void)state;
    aleat_tensor map;
    assert_int_equal(aleat_npy_read(&map, in_scratch("a/uncertainty.npy"), NULL), ALEAT_OK);
    FILE *csv = fopen(in_scratch("a/scores.csv"), "r");
    char line[1024];
    assert_non_null(fgets(line, sizeof line, csv));
    assert_string_equal(line, "index,label,seed,score,eps-var,x0-var,eps-var@7,eps-var@8,"
                              "x0-var@7,x0-var@8\n");
    for (int64_t i = 0; i < N; i++) {
        double sum = 0;
        for (int64_t e = 0; e < PIXELS; e++)
            sum += (double)aleat_tensor_f32(&map)[i * PIXELS + e];
        assert_non_null(fgets(line, sizeof line, csv));
        char *field = line;
        for (int k = 0; k < 3; k++)
            field = strchr(field, ',') + 1;
        // the map is rounded to float once for each of its PIXELS elements, of at most 2
        assert_true(fabs(strtod(field, NULL) - sum) < PIXELS * 2 * 6e-8);
    }
    assert_null(fgets(line, sizeof line, csv));
    (void)fclose(csv);
    aleat_tensor_clear(&map);
}

static void a_killed_run_ends_in_the_same_bytes(void **state)
{
    (void)state;
    aleat_error err = {0};
    const uint64_t want = folder_digest(in_scratch("a"));
    char path[128];
    (void)snprintf(path, sizeof path, "%s", in_scratch("b"));
    int killed = 0;
    for (int attempt = 0; attempt < 10; attempt++) {
        const pid_t child = fork();
        if (child == 0)
            _exit(whole_run(path, 9, ALEAT_RESUME_AUTO, NULL) ? 1 : 0);
        // later each time, so that kills fall into shards as well as into the final assembly
        const struct timespec pause = {0, 1000000L * (1 + 3 * attempt)};
        (void)nanosleep(&pause, NULL);
        (void)kill(child, SIGKILL);
        int how = 0;
        assert_int_equal(waitpid(child, &how, 0), child);
        killed += WIFSIGNALED(how);
    }
    assert_true(killed > 0);
    assert_int_equal(whole_run(path, 9, ALEAT_RESUME_AUTO, &err), ALEAT_OK);
    assert_true(folder_digest(path) == want);
}

static void another_setting_is_refused_by_name(void **state)
{
    (void)state;
    aleat_error err = {0};
    assert_int_equal(whole_run(in_scratch("a"), 20, ALEAT_RESUME_AUTO, &err), ALEAT_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "'steps' is 9, this one's is 20"));
    assert_non_null(strstr(err.hint, "--resume discard"));
}

static void discarding_begins_anew(void **state)
{
    (void)state;
    aleat_error err = {0};
    assert_int_equal(whole_run(in_scratch("c"), 9, ALEAT_RESUME_AUTO, &err), ALEAT_OK);
    assert_int_equal(whole_run(in_scratch("c"), 20, ALEAT_RESUME_DISCARD, &err), ALEAT_OK);
    assert_int_equal(whole_run(in_scratch("c"), 20, ALEAT_RESUME_REQUIRE, &err), ALEAT_OK);
    assert_int_equal(whole_run(in_scratch("new"), 20, ALEAT_RESUME_REQUIRE, &err),
                     ALEAT_ERR_ARGUMENT);
}

static void a_run_fails_cleanly_at_every_allocation(void **state)
{
    (void)state;
    char path[128];
    (void)snprintf(path, sizeof path, "%s", in_scratch("d"));
    const uint64_t before = aleat_alloc_count();
    assert_int_equal(whole_run(path, 9, ALEAT_RESUME_DISCARD, NULL), ALEAT_OK);
    const uint64_t allocations = aleat_alloc_count() - before;
    const uint64_t bytes = aleat_alloc_bytes();
    // a stride that is prime to what repeats for each image still meets every kind of allocation
    for (uint64_t n = 1; n <= allocations; n += 149) {
        aleat_error err = {0};
        aleat_alloc_fail_at(n);
        const aleat_status st = whole_run(path, 9, ALEAT_RESUME_DISCARD, &err);
        aleat_alloc_fail_at(0);
        // libpng words some of its failed allocations as errors of format
        assert_true(st == ALEAT_ERR_MEMORY || st == ALEAT_ERR_FORMAT);
        assert_true(err.message[0] != '\0');
        assert_int_equal(aleat_alloc_bytes(), bytes);
    }
}

static void sha256_agrees_with_the_standards_examples(void **state)
{
    (void)state;
    char text[ALEAT_SHA256_TEXT];
    aleat_sha256(text, "abc", 3);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    aleat_sha256(text, "", 0);
    assert_string_equal(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"; // two blocks
    aleat_sha256(text, two, strlen(two));
    assert_string_equal(text, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_hold_every_image_at_its_place),
        cmocka_unit_test(settings_travel_with_each_picture),
        cmocka_unit_test(the_score_is_the_sum_of_the_map),
        cmocka_unit_test(a_killed_run_ends_in_the_same_bytes),
        cmocka_unit_test(another_setting_is_refused_by_name),
        cmocka_unit_test(discarding_begins_anew),
        cmocka_unit_test(a_run_fails_cleanly_at_every_allocation),
        cmocka_unit_test(sha256_agrees_with_the_standards_examples),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
