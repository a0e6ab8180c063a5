/* Tables and figures of the paper: their statistics on made-up features, and a whole one. */
#include "case.h"
#include "near.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aleat/aleat.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "metrics/resample.h"
#include "paper/distances.h"
#include "paper/subsets.h"

enum { N = 400 };

static void fill_normals(float *x, int64_t n, uint64_t seed)
{
    const aleat_rng_key key = {.seed = seed, .purpose = ALEAT_FOR_DATA};
    aleat_rng_normals(&key, 0, x, n);
}

// In one dimension the distance is (m1 - m2)^2 + (s1 - s2)^2.
static double distance_1d(const float *x, const bool *members, int64_t n)
{
    double sum = 0, squares = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        if (!members || members[i]) {
            sum += (double)x[i];
            count++;
        }
    const double mean = sum / (double)count;
    for (int64_t i = 0; i < n; i++)
        if (!members || members[i])
            squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    const double sd = sqrt(squares / (double)(count - 1));
    return (mean - 3) * (mean - 3) + (sd - 1) * (sd - 1);
}

static void distances_of_subsets_are_those_of_their_members(void **state)
{
    (void)state;
    float x[N];
    bool members[N];
    double mean = 3, variance = 1;
    aleat_error err = {0};
    const aleat_gaussian reference = {.d = 1, .mean = &mean, .covariance = &variance};
    fill_normals(x, N, 1);
    for (int i = 0; i < N; i++)
        members[i] = i % 3 != 0 && i < 390;
    aleat_distance_job jobs[] = {
        {.half = -1}, {.members = members, .half = -1}, {.members = members, .half = 5}};
    const aleat_distance_task task = {
        .features = x, .n = N, .reference = &reference, .seed = 7, .threads = 2};
    assert_ok(aleat_distances(jobs, 3, &task, &err), &err);
    bool both[N] = {false};
    int64_t half[N];
    aleat_draw_half(half, N, 7, 5, 0);
    for (int i = 0; i < N / 2; i++)
        both[half[i]] = members[half[i]];
    // sums of 400 numbers in double, and a root
    assert_near(jobs[0].distance, distance_1d(x, NULL, N), 1e-9, "jobs[0].distance");
    assert_near(jobs[1].distance, distance_1d(x, members, N), 1e-9, "jobs[1].distance");
    assert_near(jobs[2].distance, distance_1d(x, both, N), 1e-9, "jobs[2].distance");
    for (uint64_t n = 1; n < 200; n++) { // every allocation fails once
        aleat_alloc_fail_at(n);
        const aleat_status st = aleat_distances(jobs, 3, &task, &err);
        aleat_alloc_fail_at(0);
        if (!st)
            break;
        assert_int_equal(st, ALEAT_ERR_MEMORY);
    }
}

// The distance of N(m, 1) from N(3, 1) is (m - 3)^2, whose standard deviation over samples of N is
// 2 * 3 / sqrt(N) at m = 0; halves of the sample must show it.
static void halves_tell_the_spread_of_the_whole(void **state)
{
    (void)state;
    enum { DRAWS = 400 };
    float x[N];
    double mean = 3, variance = 1, values[DRAWS];
    aleat_error err = {0};
    aleat_distance_job jobs[DRAWS];
    const aleat_gaussian reference = {.d = 1, .mean = &mean, .covariance = &variance};
    const aleat_distance_task task = {.features = x, .n = N, .reference = &reference, .threads = 1};
    fill_normals(x, N, 2);
    for (int d = 0; d < DRAWS; d++)
        jobs[d] = (aleat_distance_job){.half = d};
    assert_ok(aleat_distances(jobs, DRAWS, &task, &err), &err);
    for (int d = 0; d < DRAWS; d++)
        values[d] = jobs[d].distance;
    const aleat_spread s = aleat_spread_of(values, DRAWS, 0.95);
    const double want = 6 / sqrt(N);
    // the standard deviation of 400 draws: 3.5 %, of the sample of 400 itself: 3.5 %; four times
    // that
    assert_near(s.sd, want, 0.2 * want, "s.sd");
    // a quantile of 400 draws at 2.5 %: 15 % of its distance at worst
    assert_near(s.high - s.low, 2 * 1.96 * want, 0.3 * 2 * 1.96 * want, "s.high - s.low");
}

static void subsets_have_their_size_and_order(void **state)
{
    (void)state;
    bool a[N], b[N];
    double scores[N];
    aleat_error err = {0};
    int64_t count = 0, same = 0;
    assert_ok(aleat_keep_random(a, N, 333, 5, 0, NULL, &err), &err);
    assert_ok(aleat_keep_random(b, N, 333, 5, 1, NULL, &err), &err);
    for (int i = 0; i < N; i++) {
        count += a[i];
        same += a[i] && b[i];
        scores[i] = i / 2; // ties
    }
    assert_int_equal(count, 333);
    assert_in_range(same, 266, 320); // 277 expected, s.d. below 4
    assert_ok(aleat_keep_by_score(a, scores, N, 3, false, NULL, &err), &err);
    assert_ok(aleat_keep_by_score(b, scores, N, 3, true, NULL, &err), &err);
    for (int i = 0; i < N; i++) {
        assert_int_equal(a[i], i < 3);
        assert_int_equal(b[i], i == 396 || i >= 398); // of a tie the first
    }
    double values[] = {5, 1, 4, 2, 3};
    const aleat_spread s = aleat_spread_of(values, 5, 0.5);
    assert_near(s.mean, 3, 1e-12, "s.mean");
    assert_near(s.sd, sqrt(2.5), 1e-12, "s.sd");
    assert_near(s.low, 2, 1e-12, "s.low");
    assert_near(s.high, 4, 1e-12, "s.high");
}

static void shares_of_classes_stay_within_rounding(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 50, 149, 200}; // of classes 7, 8, 9, 10: 400 in all
    int64_t classes[N], at = 0;
    bool lowest[N], random[N];
    double scores[N];
    aleat_error err = {0};
    for (int c = 0; c < 4; c++)
        for (int64_t i = 0; i < sizes[c]; i++)
            classes[at++] = 7 + c;
    for (int i = 0; i < N; i++)
        scores[i] = (i * 37) % N / 2; // ties of two
    for (int64_t keep = 0; keep <= N; keep++) {
        int64_t of_lowest[4] = {0}, of_random[4] = {0}, sum = 0;
        assert_ok(aleat_keep_by_score(lowest, scores, N, keep, false, classes, &err), &err);
        assert_ok(aleat_keep_random(random, N, keep, 5, keep, classes, &err), &err);
        for (int i = 0; i < N; i++) {
            of_lowest[classes[i] - 7] += lowest[i];
            of_random[classes[i] - 7] += random[i];
        }
        for (int c = 0; c < 4; c++) {
            const int64_t exact = keep * sizes[c];
            assert_true(of_lowest[c] * N > exact - N && of_lowest[c] * N < exact + N);
            assert_int_equal(of_lowest[c], of_random[c]);
            sum += of_lowest[c];
        }
        assert_int_equal(sum, keep);
        for (int i = 0; i < N; i++) // whoever is left out comes behind all that are kept
            for (int j = 0; j < N && !lowest[i]; j++)
                if (lowest[j] && classes[j] == classes[i])
                    assert_true(scores[j] < scores[i] || (scores[j] == scores[i] && j < i));
    }
    // 3 of 400 are 0.0075, 0.375, 1.1175 and 1.5 of the classes: the one that is left goes to .5
    assert_ok(aleat_keep_by_score(lowest, scores, N, 3, true, classes, &err), &err);
    int64_t kept[4] = {0};
    for (int i = 0; i < N; i++)
        kept[classes[i] - 7] += lowest[i];
    assert_int_equal(kept[0], 0);
    assert_int_equal(kept[1], 0);
    assert_int_equal(kept[2], 1);
    assert_int_equal(kept[3], 2);
    for (uint64_t n = 1; n < 20; n++) { // every allocation fails once
        aleat_alloc_fail_at(n);
        const aleat_status st = aleat_keep_by_score(lowest, scores, N, 3, true, classes, &err);
        aleat_alloc_fail_at(0);
        if (!st)
            break;
        assert_int_equal(st, ALEAT_ERR_MEMORY);
    }
}

/* ---- a whole table --------------------------------------------------------------------------- */

enum { IMAGES = 24 };

// Real images as an array, and with classes as a data set that can be learnt from.
static int make_data(void **state)
{
    uint8_t pixels[40 * 28 * 28];
    int64_t labels[40];
    aleat_error err = {0};
    if (make_scratch(state))
        return -1;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 2654435761u >> 13);
    const aleat_shape shape = aleat_shape_of(4, (int64_t)40, (int64_t)28, (int64_t)28, (int64_t)1);
    const aleat_tensor view = aleat_tensor_view(ALEAT_U8, &shape, pixels);
    for (int i = 0; i < 40; i++)
        labels[i] = i % 10;
    const aleat_shape row = aleat_shape_of(1, (int64_t)40);
    const aleat_named_array arrays[] = {{"arr_0", view},
                                        {"arr_1", aleat_tensor_view(ALEAT_I64, &row, labels)}};
    if (aleat_npz_write(scratch("real.npz"), arrays, 2, false, &err))
        return -1;
    return aleat_npy_write(scratch("real.npy"), &view, &err) ? -1 : 0;
}

// What the last table had to make, and how far it was told to be.
static struct noted {
    aleat_paper_work first, last;
    int calls;
} noted;

static void note_work(void *ctx, const aleat_paper_work *work)
{
    struct noted *n = ctx;
    if (!n->calls++)
        n->first = *work;
    n->last = *work;
}

static aleat_status table_of_n(const char *item, const char *folder, const char *estimators,
                               int64_t n, aleat_error *err)
{
    char model_path[512], network[512], data[512];
    (void)snprintf(model_path, sizeof model_path, "%s", case_path("data/../../models", "fashion"));
    (void)snprintf(network, sizeof network, "%s",
                   case_path("data/../../models", "fashion-classifier"));
    (void)snprintf(data, sizeof data, "%s",
                   scratch(strcmp(estimators, "copies") ? "real.npz" : "real.npy"));
    const aleat_paper_options options = {
        .data = data,
        .split = "all",
        .network = network,
        .run = {.n = n,
                .sampling = {.sampler = "ddim", .steps = 2},
                .copies = 2,
                .score_steps = {0, 2}},
        .draws = 4,
        .work = note_work,
        .ctx = &noted,
        .shard = 8,
        .threads = 1,
        .estimators = estimators,
        .control = strcmp(item, "table3") == 0,
        .laplace_images = 20,
    };
    const aleat_open_options open = {.threads = 1};
    aleat_model *model = NULL;
    aleat_status st = aleat_model_open(&model, model_path, &open, err);
    if (!st)
        st = aleat_model_paper(model, item, folder, &options, err);
    aleat_model_close(model);
    return st;
}

static aleat_status table_of(const char *item, const char *folder, const char *estimators,
                             aleat_error *err)
{
    return table_of_n(item, folder, estimators, IMAGES, err);
}

static aleat_status small_table4(const char *folder, int64_t n, aleat_error *err)
{
    return table_of_n("table4", folder, "copies", n, err);
}

static aleat_status table(const char *item, const char *folder, aleat_error *err)
{
    return table_of(item, folder, "copies", err);
}

static void assert_same_file(const char *a, const char *b, const char *name)
{
    char path[2][600];
    aleat_mapping files[2] = {{0}};
    aleat_error err = {0};
    (void)snprintf(path[0], sizeof path[0], "%s/%s", a, name);
    (void)snprintf(path[1], sizeof path[1], "%s/%s", b, name);
    for (int i = 0; i < 2; i++)
        assert_ok(aleat_mapping_open(&files[i], path[i], &err), &err);
    assert_int_equal(files[0].len, files[1].len);
    assert_memory_equal(files[0].data, files[1].data, files[0].len);
    for (int i = 0; i < 2; i++)
        aleat_mapping_close(&files[i]);
}

// Shards of a folder of tables.
static int shards_of(const char *folder)
{
    char command[600], text[32] = "";
    (void)snprintf(command, sizeof command, "ls %s/pools/*/shard-*.npz 2>/dev/null | wc -l",
                   folder);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    (void)!fgets(text, sizeof text, out);
    (void)pclose(out);
    return atoi(text);
}

static void a_killed_table_ends_in_the_same_bytes(void **state)
{
    (void)state;
    char whole[512], killed[512];
    aleat_error err = {0};
    (void)snprintf(whole, sizeof whole, "%s", scratch("whole"));
    (void)snprintf(killed, sizeof killed, "%s", scratch("killed"));
    const pid_t child = fork(); // before this process has threads
    if (child == 0)
        _exit(table("table1", killed, &err) ? 1 : 0);
    assert_true(child > 0);
    for (int i = 0; i < 60000 && shards_of(killed) == 0; i++)
        (void)usleep(1000);
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    assert_in_range(shards_of(killed), 1, 3);
    assert_ok(table("table1", whole, &err), &err);
    assert_ok(table("table1", killed, &err), &err);
    assert_int_equal(shards_of(whole), 3);
    static const char *const files[] = {"table1.md", "table1.csv", "table1.json", "table1.png",
                                        "table1.svg"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_same_file(whole, killed, files[i]);
}

static void a_table_tells_both_orders_and_what_it_cannot_bear(void **state)
{
    (void)state;
    char path[600];
    aleat_error err = {0};
    (void)snprintf(path, sizeof path, "%s/table1.json", scratch("whole"));
    json_t *o = json_load_file(path, 0, NULL);
    assert_non_null(o);
    int lowest = 0, highest = 0, random = 0, lowest_within = 0, highest_within = 0, within = 0;
    const json_t *rows = json_object_get(o, "rows");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *order = json_string_value(json_object_get(row, "order"));
        lowest += strcmp(order, "lowest") == 0;
        highest += strcmp(order, "highest") == 0;
        random += strcmp(order, "random") == 0;
        lowest_within += strcmp(order, "lowest within classes") == 0;
        highest_within += strcmp(order, "highest within classes") == 0;
        within += strcmp(order, "random within classes") == 0;
        const double fid = json_number_value(json_object_get(row, "fid"));
        assert_true(json_number_value(json_object_get(row, "fid_low")) <= fid);
        assert_true(json_number_value(json_object_get(row, "fid_high")) >= fid);
        if (!strncmp(order, "lowest", 6) || !strncmp(order, "highest", 7))
            assert_int_equal(json_integer_value(json_object_get(row, "images")), IMAGES * 5 / 6);
    }
    assert_int_equal(random, 1);
    assert_int_equal(within, 1);
    assert_int_equal(lowest, highest);
    assert_int_equal(lowest_within, lowest);
    assert_int_equal(highest_within, lowest);
    assert_true(lowest >= 3);                                          // eps-var, x0-var, post-var
    assert_true(json_array_size(json_object_get(o, "warnings")) >= 2); // few images, few resamples
    json_decref(o);
    (void)snprintf(path, sizeof path, "%s/table1.csv", scratch("whole"));
    aleat_mapping csv = {0};
    assert_ok(aleat_mapping_open(&csv, path, &err), &err);
    static const char header[] = "estimator,score,order,evaluations,images,fid,fid_low,fid_high,"
                                 "difference,difference_low,difference_high,z,p,published,"
                                 "remark\n";
    assert_memory_equal(csv.data, header, sizeof header - 1);
    aleat_mapping_close(&csv);
}

static void items_of_a_folder_share_their_images(void **state)
{
    (void)state;
    aleat_error err = {0};
    char folder[512];
    (void)snprintf(folder, sizeof folder, "%s", scratch("whole"));
    noted.calls = 0;
    assert_ok(table("table4", folder, &err), &err);
    assert_ok(table("fig3", folder, &err), &err);
    assert_int_equal(shards_of(folder), 3);
    assert_int_equal(noted.calls, 0); // nothing to make
}

// Of 2 steps, both guided by 2 copies and 2 products with the Jacobian, which count as two
// evaluations: 2 + 4 + 8; plain ones 2. 8 images each of plain, up, down and random signs.
static void work_is_told_before_and_while_it_is_done(void **state)
{
    (void)state;
    aleat_error err = {0};
    noted.calls = 0;
    assert_ok(table_of_n("table3", scratch("work"), "copies", 8, &err), &err);
    assert_int_equal(noted.first.images, 4 * 8);
    assert_near(noted.first.cost, 8 * (2 + 3 * 14), 1e-9, "noted.first.cost");
    assert_near(noted.first.images_made, 0, 0, "noted.first.images_made");
    assert_near(noted.first.seconds, 0, 0, "noted.first.seconds");
    assert_true(noted.calls > 4); // at least once for each of four shards
    assert_near(noted.last.images_made, 4 * 8, 1e-6, "noted.last.images_made");
    assert_near(noted.last.cost_made, noted.first.cost, 1e-6, "noted.last.cost_made");
    assert_true(noted.last.seconds > 0);
}

// The item of the test above: its rows are plain, up, down and random signs.
static void guidance_is_compared_with_its_control(void **state)
{
    (void)state;
    json_t *o = json_load_file(scratch("work/table3.json"), 0, NULL);
    const json_t *rows = json_object_get(o, "rows"), *settings = json_object_get(o, "settings");
    assert_int_equal(json_array_size(rows), 4);
    const json_t *control = json_array_get(rows, 3);
    assert_string_equal(json_string_value(json_object_get(control, "sign")), "random");
    for (size_t i = 0; i < 4; i++) {
        const json_t *row = json_array_get(rows, i);
        if (i == 0 || i == 3) {
            assert_null(json_object_get(row, "direction"));
            continue;
        }
        const double own = json_real_value(json_object_get(row, "fid"));
        const double other = json_real_value(json_object_get(control, "fid"));
        const double direction = json_real_value(json_object_get(row, "direction"));
        assert_true(fabs(direction - (own - other)) < 1e-12);
        // of the same halves, so far narrower than the distances themselves
        const double low = json_real_value(json_object_get(row, "direction_low"));
        const double high = json_real_value(json_object_get(row, "direction_high"));
        const double width = json_real_value(json_object_get(row, "fid_high")) -
                             json_real_value(json_object_get(row, "fid_low"));
        assert_true(low < high && low <= direction && direction <= high);
        assert_true(high - low < width);
    }
    // what is guided decides the numbers, too
    assert_string_equal(json_string_value(json_object_get(settings, "guide_steps")), "0:2");
    assert_near(json_real_value(json_object_get(settings, "percentile")), 0.95, 1e-12,
                "json_real_value(json_object_get(settings");
    json_decref(o);
}

// What images are compared by.
typedef struct kept {
    uint8_t pixels[IMAGES][32 * 32]; // the model pads its data
    double sums[IMAGES];             // of the first map at the first scored step
    int64_t count, evaluations;
} kept;

static aleat_status keep(void *ctx, const aleat_run_images *images, aleat_error *err)
{
    kept *k = ctx;
    (void)err;
    memcpy(k->pixels[k->count], images->pixels, (size_t)images->count * sizeof k->pixels[0]);
    for (int64_t j = 0; j < images->count; j++)
        k->sums[k->count + j] = images->sums[j * 2];
    k->count += images->count;
    k->evaluations = images->evaluations + images->extra_evaluations;
    return ALEAT_OK;
}

static void chosen_images_are_those_of_the_whole_run(void **state)
{
    (void)state;
    static const int64_t chosen[] = {17, 3, 20, 21, 0};
    static kept whole, some;
    int32_t labels[IMAGES];
    aleat_error err = {0};
    aleat_model *model = NULL;
    aleat_run *run = NULL;
    for (int i = 0; i < IMAGES; i++)
        labels[i] = (3 * i) % 10;
    const aleat_run_options options = {.n = IMAGES,
                                       .sampling = {.sampler = "ddim", .steps = 2},
                                       .labels = labels,
                                       .batch = 4,
                                       .uncertainty = true,
                                       .copies = 2,
                                       .score_steps = {0, 2}};
    const aleat_open_options open = {.threads = 1};
    assert_ok(aleat_model_open(&model, case_path("data/../../models", "fashion"), &open, &err),
              &err);
    assert_ok(aleat_run_open(&run, model, &options, &err), &err);
    assert_ok(aleat_run_sample(run, 0, IMAGES, keep, &whole, &err), &err);
    assert_ok(aleat_run_sample_chosen(run, chosen, 5, keep, &some, &err), &err);
    assert_int_equal(some.count, 5);
    for (int i = 0; i < 5; i++) {
        assert_memory_equal(some.pixels[i], whole.pixels[chosen[i]], sizeof some.pixels[i]);
        assert_memory_equal(&some.sums[i], &whole.sums[chosen[i]], sizeof(double));
    }
    assert_int_equal(aleat_run_describe(run).evaluations, whole.evaluations); // as planned
    assert_int_equal(whole.evaluations, 2 + 2 * 2);
    static const int64_t beyond[] = {IMAGES};
    assert_failed(aleat_run_sample_chosen(run, beyond, 1, keep, &some, &err), ALEAT_ERR_ARGUMENT,
                  &err, "image 24");
    aleat_run_close(run);
    aleat_model_close(model);
}

static json_t *load_rows(json_t **owner, const char *folder, const char *item)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s.json", folder, item);
    *owner = json_load_file(path, 0, NULL);
    assert_non_null(*owner);
    return json_object_get(*owner, "rows");
}

static const char *text_at(const json_t *rows, size_t i, const char *key)
{
    const char *text = json_string_value(json_object_get(json_array_get(rows, i), key));
    return text ? text : "";
}

static void rivals_have_their_scores_in_the_same_table(void **state)
{
    (void)state;
    static const char all[] = "copies,mc-dropout,bayesdiff,generative";
    static const struct {
        const char *estimator, *score;
        int64_t
            evaluations; // of 2 steps, both scored: M = 2 twice; 10 states at step 0: none; 5 runs
    } want[] = {{"copies", "eps-var", 4},
                {"mc-dropout", "dropout-var", 4},
                {"bayesdiff", "bayes-var", 0},
                {"generative", "generative-entropy", 10}};
    char folder[512];
    aleat_error err = {0};
    json_t *owner;
    (void)snprintf(folder, sizeof folder, "%s", scratch("rivals"));
    assert_ok(table_of("table1", folder, all, &err), &err);
    const json_t *rows = load_rows(&owner, folder, "table1");
    for (size_t w = 0; w < sizeof want / sizeof *want; w++) {
        int found = 0;
        for (size_t i = 0; i < json_array_size(rows); i++) {
            assert_string_equal(text_at(rows, i, "remark"), "");
            if (strcmp(text_at(rows, i, "estimator"), want[w].estimator) != 0 ||
                strcmp(text_at(rows, i, "score"), want[w].score) != 0)
                continue;
            found++;
            assert_int_equal(
                json_integer_value(json_object_get(json_array_get(rows, i), "evaluations")),
                want[w].evaluations);
        }
        if (found != 4) // lowest and highest, of all and within classes
            fail_msg("%s: %d rows", want[w].score, found);
    }
    json_decref(owner);
}

// The images are the same, so they are made once; what is told of them is what a pool of its own
// tells.
static void estimators_of_single_states_share_their_images(void **state)
{
    (void)state;
    char both[512], alone[512];
    aleat_error err = {0};
    json_t *owners[2];
    int compared = 0;
    (void)snprintf(both, sizeof both, "%s", scratch("shared"));
    (void)snprintf(alone, sizeof alone, "%s", scratch("alone"));
    noted = (struct noted){0};
    assert_ok(table_of("table1", both, "copies,mc-dropout", &err), &err);
    assert_int_equal(shards_of(both), 3); // of one pool
    assert_true(noted.first.images == IMAGES);
    assert_ok(table_of("table1", alone, "mc-dropout", &err), &err);
    const json_t *rows = load_rows(&owners[0], both, "table1");
    const json_t *own = load_rows(&owners[1], alone, "table1");
    for (size_t i = 0; i < json_array_size(rows); i++)
        for (size_t k = 0; k < json_array_size(own); k++)
            if (!strcmp(text_at(rows, i, "score"), "dropout-var") &&
                !strcmp(text_at(own, k, "score"), "dropout-var") &&
                !strcmp(text_at(rows, i, "order"), text_at(own, k, "order"))) {
                assert_true(json_equal(json_array_get(rows, i), json_array_get(own, k)));
                compared++;
            }
    assert_int_equal(compared, 4); // lowest and highest, of all and within classes
    json_decref(owners[0]);
    json_decref(owners[1]);
}

static void maps_are_held_against_errors_in_both_signs(void **state)
{
    (void)state;
    char folder[512];
    aleat_error err = {0};
    json_t *owner;
    (void)snprintf(folder, sizeof folder, "%s", scratch("rivals"));
    assert_ok(table_of("table2", folder, "copies,mc-dropout,bayesdiff", &err), &err);
    const json_t *rows = load_rows(&owner, folder, "table2");
    assert_int_equal(json_array_size(rows), 2 * (3 + 1) + 1);
    for (size_t i = 0; i + 1 < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const double ause = json_number_value(json_object_get(row, "ause"));
        assert_string_equal(text_at(rows, i, "unsure"), i % 2 ? "low" : "high");
        // of 4 draws, corrected for bias: an interval, but the value may lie outside
        assert_true(json_number_value(json_object_get(row, "ause_low")) <=
                    json_number_value(json_object_get(row, "ause_high")));
        assert_true(ause > 0);
        // step 1 of 2 is executed and scored by two copies
        assert_int_equal(json_integer_value(json_object_get(row, "evaluations")), 3);
    }
    assert_non_null(strstr(text_at(rows, json_array_size(rows) - 1, "remark"), "bayesdiff"));
    json_decref(owner);
}

static void damage_is_judged_by_rivals_of_single_states(void **state)
{
    (void)state;
    char folder[512];
    aleat_error err = {0};
    json_t *owner;
    int own = 0;
    (void)snprintf(folder, sizeof folder, "%s", scratch("rivals"));
    assert_ok(table_of("corruptions", folder, "copies,mc-dropout,generative", &err), &err);
    const json_t *rows = load_rows(&owner, folder, "corruptions");
    for (size_t i = 0; i < json_array_size(rows); i++)
        if (strcmp(text_at(rows, i, "estimator"), "mc-dropout") == 0) {
            assert_string_equal(text_at(rows, i, "score"), "dropout-var");
            own++;
        }
    assert_true(own >= 2);
    assert_non_null(strstr(text_at(rows, json_array_size(rows) - 1, "remark"), "generative"));
    json_decref(owner);
}

static void two_processes_do_not_work_in_one_folder(void **state)
{
    (void)state;
    char folder[512], mark[600];
    aleat_error err = {0};
    (void)snprintf(folder, sizeof folder, "%s", scratch("whole"));
    (void)snprintf(mark, sizeof mark, "%s/paper.json", folder);
    const int other = open(mark, O_RDONLY); // a descriptor of its own counts as another process
    assert_true(other >= 0);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
    assert_failed(table("table1", folder, &err), ALEAT_ERR_IO, &err, "another process");
    (void)close(other);
    assert_ok(table("table1", folder, &err), &err);
}

static void a_foreign_folder_or_shard_is_refused(void **state)
{
    (void)state;
    char folder[512], command[700];
    aleat_error err = {0};
    (void)snprintf(folder, sizeof folder, "%s", scratch("foreign"));
    assert_ok(aleat_make_dirs(folder, &err), &err);
    (void)snprintf(command, sizeof command, "%s/mine.txt", folder);
    assert_ok(aleat_write_file(command, "x", 1, &err), &err);
    assert_failed(table("table1", folder, &err), ALEAT_ERR_ARGUMENT, &err, "something else");
    // too few to have neighbours: told before an image is made, with what would do
    assert_failed(small_table4(scratch("few"), 14, &err), ALEAT_ERR_ARGUMENT, &err,
                  "11 kept of 14 images");
    assert_string_equal(err.hint, "-n 15 at least");
    assert_int_equal(shards_of(scratch("few")), 0);
    assert_ok(small_table4(scratch("few"), 15, &err), &err);
    assert_failed(table("table9", folder, &err), ALEAT_ERR_ARGUMENT, &err, "table9");
    (void)snprintf(
        command, sizeof command,
        "for f in %s/pools/*/shard-000001.npz; do head -c 300 $f > $f.x; mv $f.x $f; done",
        scratch("killed"));
    assert_int_equal(system(command), 0);
    (void)snprintf(folder, sizeof folder, "%s", scratch("killed"));
    assert_failed(table("table1", folder, &err), ALEAT_ERR_FORMAT, &err, "shard-000001.npz");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_table_ends_in_the_same_bytes), // first: it forks
        cmocka_unit_test(a_table_tells_both_orders_and_what_it_cannot_bear),
        cmocka_unit_test(items_of_a_folder_share_their_images),
        cmocka_unit_test(work_is_told_before_and_while_it_is_done),
        cmocka_unit_test(guidance_is_compared_with_its_control),
        cmocka_unit_test(chosen_images_are_those_of_the_whole_run),
        cmocka_unit_test(rivals_have_their_scores_in_the_same_table),
        cmocka_unit_test(estimators_of_single_states_share_their_images),
        cmocka_unit_test(maps_are_held_against_errors_in_both_signs),
        cmocka_unit_test(damage_is_judged_by_rivals_of_single_states),
        cmocka_unit_test(two_processes_do_not_work_in_one_folder),
        cmocka_unit_test(a_foreign_folder_or_shard_is_refused),
        cmocka_unit_test(distances_of_subsets_are_those_of_their_members),
        cmocka_unit_test(halves_tell_the_spread_of_the_whole),
        cmocka_unit_test(subsets_have_their_size_and_order),
        cmocka_unit_test(shares_of_classes_stay_within_rounding),
    };
    return cmocka_run_group_tests(tests, make_data, remove_scratch);
}
