/* Choosing images of a run, and the verbs that choose and judge. */
#include "case.h"

#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "aleat/filter.h"
#include "checkpoint.h"
#include "base/alloc.h"
#include "cli/verbs.h"
#include "io/json.h"
#include "io/png_image.h"

enum { N = 12, SIDE = 3, PIXELS = SIDE * SIDE };

static const char *const more_columns = "index,label,seed,score,eps-var,x0-var,eps-var@45";

// Paths that stay valid for 31 more: the fixture's own are too few here.
static const char *own(const char *name)
{
    static char paths[32][256];
    static int next;
    char *text = paths[next++ % 32];
    (void)snprintf(text, sizeof paths[0], "%s/%s", fixture_folder, name);
    return text;
}

static const char *in_folder(const char *folder, const char *name)
{
    static char paths[32][512];
    static int next;
    char *text = paths[next++ % 32];
    (void)snprintf(text, sizeof paths[0], "%s/%s", folder, name);
    return text;
}

static void write_text(const char *path, const char *text)
{
    aleat_error err = {0};
    assert_ok(aleat_write_file(path, text, strlen(text), &err), &err);
}

// A run with the scores of the case metrics-filter in eps-var, and x0-var that has ties: images 0
// and 1 have 0, 2 and 3 have 1 ...
static void make_scores(const char *folder)
{
    aleat_error err = {0};
    aleat_tensor scores;
    char text[4096];
    assert_ok(aleat_npy_read(&scores, data_path("metrics/filter/image_score_f64.npy"), &err), &err);
    assert_int_equal(aleat_tensor_count(&scores), N);
    int used = snprintf(text, sizeof text, "%s\n", more_columns);
    for (int i = 0; i < N; i++) {
        const double score = ((const double *)scores.data)[i];
        used += snprintf(text + used, sizeof text - (size_t)used, "%d,%d,7,%.17g,%.17g,%d,%.17g\n",
                         i, i % 10, score, score, i / 2, score / 4);
    }
    assert_ok(aleat_make_dirs(folder, &err), &err);
    write_text(in_folder(folder, "scores.csv"), text);
    aleat_tensor_clear(&scores);
}

static void make_run(const char *folder)
{
    aleat_error err = {0};
    uint8_t images[N * PIXELS];
    int64_t labels[N];
    float map[N * PIXELS], trajectory[2 * N];
    char path[512];
    make_scores(folder);
    for (int i = 0; i < N; i++) {
        labels[i] = i % 10;
        for (int p = 0; p < PIXELS; p++) {
            images[i * PIXELS + p] = (uint8_t)(20 * i + p);
            map[i * PIXELS + p] = (float)(100 * i + p);
        }
    }
    const aleat_shape rows =
        aleat_shape_of(4, (int64_t)N, (int64_t)SIDE, (int64_t)SIDE, (int64_t)1);
    const aleat_shape maps =
        aleat_shape_of(4, (int64_t)N, (int64_t)1, (int64_t)SIDE, (int64_t)SIDE);
    const aleat_shape one = aleat_shape_of(1, (int64_t)N);
    const aleat_shape states = aleat_shape_of(2, (int64_t)2, (int64_t)N);
    const aleat_named_array arrays[] = {{"arr_0", aleat_tensor_view(ALEAT_U8, &rows, images)},
                                        {"arr_1", aleat_tensor_view(ALEAT_I64, &one, labels)}};
    assert_ok(aleat_npz_write(in_folder(folder, "samples.npz"), arrays, 2, false, &err), &err);
    const aleat_tensor view = aleat_tensor_view(ALEAT_F32, &maps, map);
    assert_ok(aleat_npy_write(in_folder(folder, "x0-var.npy"), &view, &err), &err);
    memset(trajectory, 0, sizeof trajectory);
    const aleat_tensor path_of_states = aleat_tensor_view(ALEAT_F32, &states, trajectory);
    assert_ok(aleat_npy_write(in_folder(folder, "trajectory.npy"), &path_of_states, &err), &err);
    assert_ok(aleat_make_dirs(in_folder(folder, "images"), &err), &err);
    for (int i = 0; i < N; i++) {
        const aleat_image image = {SIDE, SIDE, 1, images + i * PIXELS};
        (void)snprintf(path, sizeof path, "%s/images/%06d.png", folder, i);
        assert_ok(aleat_png_write(path, &image, NULL, 0, &err), &err);
    }
    write_text(in_folder(folder, "run.json"),
               "{\"settings\": {\"steps\": 50, \"images\": 12}, \"model\": \"m\"}");
}

static aleat_selection choose(const char *run, const aleat_filter_options *options)
{
    aleat_error err = {0};
    aleat_scores *scores;
    aleat_selection selection;
    assert_ok(aleat_scores_open(&scores, run, &err), &err);
    assert_ok(aleat_run_select(&selection, scores, options, &err), &err);
    aleat_scores_close(scores);
    return selection;
}

// Fails unless exactly these images were kept.
static void assert_kept(const char *run, const aleat_filter_options *options, int n,
                        const int64_t *images)
{
    aleat_selection s = choose(run, options);
    assert_int_equal(s.count, n);
    assert_int_equal(s.of, N);
    for (int i = 0; i < n; i++)
        assert_int_equal(s.image[i], images[i]);
    aleat_selection_clear(&s);
}
#define KEPT(...)                                                                                  \
    (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])             \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void assert_refused(const char *run, const aleat_filter_options *options, const char *text)
{
    aleat_error err = {0};
    aleat_scores *scores;
    aleat_selection selection;
    assert_ok(aleat_scores_open(&scores, run, &err), &err);
    const aleat_status st = aleat_run_select(&selection, scores, options, &err);
    aleat_scores_close(scores);
    if (st == ALEAT_OK || !strstr(err.message, text))
        fail_msg("'%s', expected '%s'", err.message, text);
    assert_null(selection.row);
}

static void the_lowest_scores_are_those_of_the_reference(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_tensor want;
    make_scores(own("case"));
    assert_ok(aleat_npy_read(&want, data_path("metrics/filter/keep_lowest.npy"), &err), &err);
    aleat_selection s = choose(own("case"), &(aleat_filter_options){.keep = "10", .by = "eps-var"});
    assert_int_equal(s.count, aleat_tensor_count(&want));
    for (int64_t i = 0; i < s.count; i++) {
        bool found = false;
        for (int64_t j = 0; j < s.count; j++)
            found |= ((const int32_t *)want.data)[j] == s.image[i];
        assert_true(found);
        assert_true(i == 0 || s.image[i] > s.image[i - 1]);
    }
    aleat_selection_clear(&s);
    aleat_tensor_clear(&want);
}

static void ties_go_by_image_number_in_either_order(void **state)
{
    (void)state;
    const char *run = own("ties");
    make_scores(run);
    assert_kept(run, &(aleat_filter_options){.keep = "3", .by = "x0-var"}, KEPT(0, 1, 2));
    assert_kept(run, &(aleat_filter_options){.keep = "3", .by = "x0-var", .highest = true},
                KEPT(8, 10, 11));
    assert_kept(run, &(aleat_filter_options){.keep = "3", .by = "-x0-var"}, KEPT(8, 10, 11));
}

static void a_share_is_rounded_down(void **state)
{
    (void)state;
    const char *run = own("share");
    make_scores(run);
    static const struct {
        const char *keep;
        int64_t count;
    } cases[] = {{"83%", 9}, {"5/6", 10}, {"12", 12}, {"100%", 12}, {"25%", 3}, {"1/12", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_selection s =
            choose(run, &(aleat_filter_options){.keep = cases[i].keep, .by = "score"});
        assert_int_equal(s.count, cases[i].count);
        aleat_selection_clear(&s);
    }
    static const char *const wrong[] = {"",     "x",    "0",   "13",   "-1", "1.5",
                                        "101%", "120%", "1/0", "5/6x", "inf"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_refused(run, &(aleat_filter_options){.keep = wrong[i], .by = "score"}, "keep '");
}

static void sums_add_z_scores(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_scores *scores;
    double sum[N], eps[N], x0[N];
    make_scores(own("sums"));
    assert_ok(aleat_scores_open(&scores, own("sums"), &err), &err);
    assert_ok(aleat_scores_values(eps, scores, "eps-var", &err), &err);
    assert_ok(aleat_scores_values(x0, scores, "x0-var", &err), &err);
    assert_ok(aleat_scores_values(sum, scores, "x0-var - 0.5 * eps-var", &err), &err);
    double mean[2] = {0}, deviation[2] = {0};
    for (int i = 0; i < N; i++) {
        mean[0] += eps[i] / N;
        mean[1] += x0[i] / N;
    }
    for (int i = 0; i < N; i++) {
        deviation[0] += pow(eps[i] - mean[0], 2) / N;
        deviation[1] += pow(x0[i] - mean[1], 2) / N;
    }
    for (int i = 0; i < N; i++) {
        const double want =
            (x0[i] - mean[1]) / sqrt(deviation[1]) - 0.5 * (eps[i] - mean[0]) / sqrt(deviation[0]);
        assert_true(fabs(sum[i] - want) < 1e-12);
    }
    static const char *const wrong[] = {"",   "nope",  "eps-var+", "eps-var x0-var", "3",
                                        "2*", "label", "eps-varx", "eps-var@4",      "x0-var+seed"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(aleat_scores_values(sum, scores, wrong[i], &err), ALEAT_ERR_ARGUMENT);
    assert_string_equal(aleat_scores_name(scores, 2), "x0-var");
    assert_null(aleat_scores_name(scores, 4));
    aleat_scores_close(scores);
}

static void random_subsets_follow_from_their_seed(void **state)
{
    (void)state;
    make_scores(own("random"));
    aleat_filter_options options = {.keep = "6", .random = true, .seed = 1};
    aleat_selection a = choose(own("random"), &options), b = choose(own("random"), &options);
    options.seed = 2;
    aleat_selection c = choose(own("random"), &options);
    assert_memory_equal(a.image, b.image, 6 * sizeof *a.image);
    assert_memory_not_equal(a.image, c.image, 6 * sizeof *a.image);
    assert_null(a.score);
    for (int i = 1; i < 6; i++)
        assert_true(a.image[i] > a.image[i - 1]);
    aleat_selection_clear(&a);
    aleat_selection_clear(&b);
    aleat_selection_clear(&c);
}

// Of 12 images classes 0 and 1 have two, 2 to 9 one: 6 are one of each of the former and, of the
// others, whose remainders are equal, the smaller classes.
static void classes_keep_their_share(void **state)
{
    (void)state;
    const char *run = own("within");
    make_scores(run);
    aleat_filter_options options = {.keep = "6", .by = "x0-var", .within_classes = true};
    assert_kept(run, &options, KEPT(0, 1, 2, 3, 4, 5));
    options.highest = true;
    assert_kept(run, &options, KEPT(2, 3, 4, 5, 10, 11));
    write_text(own("within/list"), "2 4 6 8 10 0");
    options.list = own("within/list");
    options.keep = "5"; // 10/6 of class 0, which has two, and 5/6 of each of four others
    assert_kept(run, &options, KEPT(2, 4, 6, 8, 10));
    options = (aleat_filter_options){.keep = "6", .random = true, .within_classes = true};
    for (options.seed = 0; options.seed < 8; options.seed++) {
        aleat_selection s = choose(run, &options);
        int zeros = 0, ones = 0;
        for (int i = 0; i < 6; i++) {
            zeros += s.image[i] % 10 == 0;
            ones += s.image[i] % 10 == 1;
        }
        assert_int_equal(zeros, 1);
        assert_int_equal(ones, 1);
        aleat_selection_clear(&s);
    }
    write_text(own("within/scores.csv"), "index,label,seed,x0-var\n0,1,7,1\n1,-1,7,2\n2,1,7,3\n");
    assert_refused(run,
                   &(aleat_filter_options){.keep = "2", .by = "x0-var", .within_classes = true},
                   "image 1 is of no class");
    write_text(own("within/scores.csv"), "index,x0-var\n0,1\n1,2\n");
    assert_refused(run,
                   &(aleat_filter_options){.keep = "1", .by = "x0-var", .within_classes = true},
                   "no column 'label'");
}

static void a_list_comes_back_as_it_was_written(void **state)
{
    (void)state;
    aleat_error err = {0};
    const char *run = own("listed"), *list = own("list.txt");
    make_scores(run);
    aleat_selection s =
        choose(run, &(aleat_filter_options){.keep = "4", .by = "x0-var", .highest = true});
    assert_ok(aleat_selection_write(list, &s, &err), &err);
    aleat_selection_clear(&s);
    assert_kept(run, &(aleat_filter_options){.list = list}, KEPT(8, 9, 10, 11));
    // a list narrows what a score chooses from
    assert_kept(run, &(aleat_filter_options){.list = list, .keep = "50%", .by = "x0-var"},
                KEPT(8, 9));
    write_text(list, "[5, 3,3]");
    assert_kept(run, &(aleat_filter_options){.list = list}, KEPT(3, 5));
    write_text(list, "5\n12\n");
    assert_refused(run, &(aleat_filter_options){.list = list}, "no image 12");
    write_text(list, "5\nabc\n");
    assert_refused(run, &(aleat_filter_options){.list = list}, "'a' is no image number");
    write_text(list, "99999999999999999999999999");
    assert_refused(run, &(aleat_filter_options){.list = list}, "no image");
    write_text(list, "# nothing\n");
    assert_refused(run, &(aleat_filter_options){.list = list}, "names no image");
}

static void images_without_a_score_are_kept_last(void **state)
{
    (void)state;
    aleat_error err = {0};
    assert_ok(aleat_make_dirs(own("nan"), &err), &err);
    write_text(own("nan/scores.csv"), "index,label,seed,a\n2,0,0,nan\n5,0,0,3\n7,0,0,1\n");
    for (int highest = 0; highest < 2; highest++) {
        aleat_selection s =
            choose(own("nan"), &(aleat_filter_options){.keep = "2", .by = "a", .highest = highest});
        assert_int_equal(s.image[0], 5);
        assert_int_equal(s.image[1], 7);
        aleat_selection_clear(&s);
        // nor is any kept for its number
        assert_refused(own("nan"),
                       &(aleat_filter_options){.keep = "3", .by = "a", .highest = highest},
                       "image 2 would be kept, but it has no 'a': only 2 of 3 images have one");
    }
    write_text(own("nan/scores.csv"), "index,label,seed,a\n2,0,0,\n5,0,0,\n");
    assert_refused(own("nan"), &(aleat_filter_options){.keep = "1", .by = "a"}, "only 0 of 2");
}

static void damaged_tables_are_refused(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_scores *scores;
    assert_failed(aleat_scores_open(&scores, own("nowhere"), &err), ALEAT_ERR_IO, &err,
                  "no finished run");
    assert_ok(aleat_make_dirs(own("bad"), &err), &err);
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "has no header"},
        {"label,a\n1,2\n", "no column 'index'"},
        {"index,a\n0,1\n0,2\n", "not ascending at row 2"},
        {"index,a\n-1,1\n", "not ascending at row 1"},
        {"index,a\n0.5,1\n", "not ascending at row 1"},
        {"index,a\n0\n", "column 1"},
        {"index,a\n0,1,2\n", "column 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(own("bad/scores.csv"), cases[i].text);
        assert_failed(aleat_scores_open(&scores, own("bad"), &err), ALEAT_ERR_FORMAT, &err,
                      cases[i].says);
        assert_null(scores);
    }
}

/* ---- a run from a run ------------------------------------------------------------------------ */

static void assert_new_run(const char *folder, int n, const int64_t *images)
{
    aleat_error err = {0};
    aleat_tensor pixels, labels, map;
    char path[512];
    const char *samples = in_folder(folder, "samples.npz");
    assert_ok(aleat_npz_read(&pixels, samples, "arr_0", &err), &err);
    assert_ok(aleat_npz_read(&labels, samples, "arr_1", &err), &err);
    assert_ok(aleat_npy_read(&map, in_folder(folder, "x0-var.npy"), &err), &err);
    assert_int_equal(pixels.shape.dim[0], n);
    assert_int_equal(map.shape.dim[0], n);
    for (int i = 0; i < n; i++) {
        assert_int_equal(((const uint8_t *)pixels.data)[i * PIXELS + 4], 20 * images[i] + 4);
        assert_int_equal(((const int64_t *)labels.data)[i], images[i] % 10);
        assert_true(fabsf(aleat_tensor_f32(&map)[i * PIXELS + 8] - (float)(100 * images[i] + 8)) <=
                    0);
        (void)snprintf(path, sizeof path, "%s/images/%06d.png", folder, (int)images[i]);
        assert_true(aleat_is_file(path));
    }
    aleat_tensor_clear(&pixels);
    aleat_tensor_clear(&labels);
    aleat_tensor_clear(&map);
}

static void a_filtered_run_holds_the_chosen_images_and_can_be_filtered_again(void **state)
{
    (void)state;
    aleat_error err = {0};
    const char *run = own("run"), *small = own("small"), *smaller = own("smaller");
    make_run(run);
    const aleat_filter_options options = {.keep = "5", .by = "x0-var", .highest = true};
    aleat_selection s = choose(run, &options);
    assert_ok(aleat_run_filter(run, small, &s, &options, &err), &err);
    aleat_selection_clear(&s);
    assert_new_run(small, 5, (const int64_t[]){6, 8, 9, 10, 11});
    assert_false(aleat_is_file(in_folder(small, "images/000005.png")));
    assert_false(aleat_is_file(in_folder(small, "trajectory.npy")));
    assert_false(aleat_is_file(in_folder(small, "arr_0.npy")));
    assert_true(aleat_is_file(in_folder(small, "contact.png")));

    aleat_json json = {0};
    int64_t kept = 0;
    assert_ok(aleat_json_load(&json, in_folder(small, "run.json"), &err), &err);
    const json_t *choice = json_object_get(json_object_get(json.root, "settings"), "filter");
    kept = json_integer_value(json_object_get(choice, "kept"));
    assert_int_equal(kept, 5);
    assert_string_equal(json_string_value(json_object_get(choice, "by")), "x0-var");
    assert_string_equal(json_string_value(json_object_get(json.root, "model")), "m");
    aleat_json_clear(&json);

    const aleat_filter_options again = {.keep = "2", .by = "x0-var"};
    s = choose(small, &again);
    assert_int_equal(s.of, 5);
    assert_ok(aleat_run_filter(small, smaller, &s, &again, &err), &err);
    assert_new_run(smaller, 2, (const int64_t[]){6, 8}); // images keep their numbers

    assert_failed(aleat_run_filter(small, smaller, &s, &again, &err), ALEAT_ERR_ARGUMENT, &err,
                  "holds a run already");
    assert_failed(aleat_run_filter(small, small, &s, &again, &err), ALEAT_ERR_ARGUMENT, &err,
                  "into itself");
    aleat_selection_clear(&s);
}

static void a_run_whose_files_do_not_agree_is_refused(void **state)
{
    (void)state;
    aleat_error err = {0};
    const char *run = own("short"), *out = own("short-out");
    make_run(run);
    write_text(in_folder(run, "scores.csv"), "index,a\n0,1\n1,2\n");
    const aleat_filter_options options = {.keep = "1", .by = "a"};
    aleat_selection s = choose(run, &options);
    assert_failed(aleat_run_filter(run, out, &s, &options, &err), ALEAT_ERR_FORMAT, &err,
                  "arr_0 is [12,3,3,1]");
    assert_false(aleat_is_file(in_folder(out, "run.json")));
    aleat_selection_clear(&s);
}

// One array that cannot be read among good ones: nothing is written.
static void a_damaged_array_leaves_no_folder(void **state)
{
    (void)state;
    aleat_error err = {0};
    const char *run = own("damaged"), *out = own("damaged-out");
    make_run(run);
    write_text(in_folder(run, "zz-var.npy"), "no array");
    const aleat_filter_options options = {.keep = "3", .by = "x0-var"};
    aleat_selection s = choose(run, &options);
    assert_failed(aleat_run_filter(run, out, &s, &options, &err), ALEAT_ERR_FORMAT, &err,
                  "zz-var.npy");
    assert_false(aleat_is_dir(out));
    aleat_selection_clear(&s);
}

// Every allocation may fail: an error each time, and nothing lost.
static void filtering_survives_failing_allocations(void **state)
{
    (void)state;
    const char *run = own("faults"), *out = own("faults-out");
    make_run(run);
    const aleat_filter_options options = {.keep = "2", .by = "x0-var+eps-var"};
    const uint64_t before = aleat_alloc_bytes();
    aleat_status st = ALEAT_ERR_MEMORY;
    for (uint64_t n = 1; st; n++) {
        aleat_error err = {0};
        aleat_scores *scores = NULL;
        aleat_selection s = {0};
        aleat_alloc_fail_at(n);
        st = aleat_scores_open(&scores, run, &err);
        if (!st)
            st = aleat_run_select(&s, scores, &options, &err);
        if (!st)
            st = aleat_run_filter(run, out, &s, &options, &err);
        aleat_alloc_fail_at(0);
        aleat_selection_clear(&s);
        aleat_scores_close(scores);
        assert_true(aleat_alloc_bytes() == before);
        if (st && st != ALEAT_ERR_MEMORY)
            fail_msg("allocation %d: %s", (int)n, err.message);
        assert_true(st || aleat_is_file(in_folder(out, "run.json")));
        (void)unlink(
            in_folder(out, "run.json")); // there if only the last sync of its folder failed
        assert_true(n < 2000);
    }
}

/* ---- the verbs ------------------------------------------------------------------------------- */

// Runs a verb with a line of words, its stdout into `out`; the exit code.
static int verb(char *out, size_t size, const char *fmt, ...)
{
    static char line[4096];
    char *argv[32];
    int argc = 0;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    const aleat_cli_verb *v = aleat_cli_find_verb(argv[0]);
    aleat_cli_args parsed;
    if (!aleat_cli_parse(v, argc - 1, argv + 1, &parsed))
        return ALEAT_EXIT_USAGE;
    (void)fflush(stdout);
    FILE *file = tmpfile();
    const int terminal = dup(STDOUT_FILENO);
    assert_true(file && terminal >= 0 && dup2(fileno(file), STDOUT_FILENO) >= 0);
    const int code = v->run(v, &parsed);
    (void)fflush(stdout);
    (void)dup2(terminal, STDOUT_FILENO);
    (void)close(terminal);
    rewind(file);
    out[fread(out, 1, size - 1, file)] = '\0';
    (void)fclose(file);
    return code;
}

static void the_verb_filter_writes_runs_and_lists(void **state)
{
    (void)state;
    char out[512];
    const char *run = own("verb");
    make_run(run);
    assert_int_equal(
        verb(out, sizeof out, "filter %s -q --keep 2 --by x0-var --order highest", run), 0);
    assert_string_equal(out, "10\n11\n");
    assert_int_equal(verb(out, sizeof out,
                          "filter %s --keep 25%% --by -x0-var -o %s --save-list %s --json", run,
                          own("verb-out"), own("verb-list")),
                     0);
    json_t *said = json_loads(out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(said, "kept")), 3);
    json_decref(said);
    assert_new_run(own("verb-out"), 3, (const int64_t[]){8, 10, 11});
    assert_int_equal(verb(out, sizeof out, "filter %s -q --list %s", run, own("verb-list")), 0);
    assert_string_equal(out, "8\n10\n11\n");
    assert_int_equal(verb(out, sizeof out, "filter %s --keep 3", run), ALEAT_EXIT_USAGE);
    assert_int_equal(verb(out, sizeof out, "filter %s --keep 3 --by nope", run), ALEAT_EXIT_FAILED);
}

static double number_in(const char *text, const char *name)
{
    json_t *root = json_loads(text, 0, NULL);
    const json_t *value = json_object_get(root, name);
    assert_true(json_is_real(value));
    const double number = json_real_value(value);
    json_decref(root);
    return number;
}

static void the_verb_eval_computes_metrics_of_files(void **state)
{
    (void)state;
    char out[16384], a[512], b[512];
    (void)snprintf(a, sizeof a, "%s", data_path("metrics/fid/n_gt_d/features_real.npy"));
    (void)snprintf(b, sizeof b, "%s", data_path("metrics/fid/n_gt_d/features_fake.npy"));
    const double fid = 4.289792373493199; // fid_exact of the case
    assert_int_equal(verb(out, sizeof out, "eval fid --features %s %s --json -q", a, b), 0);
    assert_true(fabs(number_in(out, "fid") - fid) < 1e-11);
    assert_int_equal(verb(out, sizeof out, "eval fid --a %s --save-stats %s", a, own("a.npz")), 0);
    assert_int_equal(verb(out, sizeof out, "eval frechet --a %s --b %s --json -q", own("a.npz"), b),
                     0);
    assert_true(fabs(number_in(out, "fid") - fid) < 1e-11);
    assert_int_equal(verb(out, sizeof out,
                          "eval aurg --uncertainty %s --truth %s --prediction %s --json -q",
                          data_path("metrics/ause/ties/uncertainty.npy"),
                          data_path("metrics/ause/gt.npy"), data_path("metrics/ause/pred.npy")),
                     0);
    assert_true(fabs(number_in(out, "aurg") - 0.05465772836794568) < 1e-9);
    assert_int_equal(verb(out, sizeof out, "eval auroc --scores %s --labels %s -q",
                          data_path("metrics/corr/ties/x.npy"),
                          data_path("metrics/corr/ties/label.npy")),
                     0);
    assert_string_equal(out, "auroc            0.970285714286\n");
    // axes of 1 and flat arrays are no matter, another order of the axes is
    static const struct {
        int64_t dim[4];
        int n_dims, code;
    } shapes[] = {{{2, 3, 4, 4}, 4, 0},
                  {{2, 4, 4, 3}, 4, ALEAT_EXIT_FAILED},
                  {{96}, 1, 0},
                  {{2, 48}, 2, ALEAT_EXIT_FAILED},
                  {{96, 1}, 2, 0}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        aleat_error err = {0};
        float values[96];
        for (int k = 0; k < 96; k++)
            values[k] = (float)(k * 37 % 96);
        aleat_shape shape = {.n_dims = shapes[i].n_dims};
        memcpy(shape.dim, shapes[i].dim, (size_t)shape.n_dims * sizeof *shape.dim);
        const aleat_tensor view = aleat_tensor_view(ALEAT_F32, &shape, values);
        const char *path = own(i ? "other.npy" : "axes.npy");
        assert_ok(aleat_npy_write(path, &view, &err), &err);
        assert_int_equal(verb(out, sizeof out, "eval spearman --uncertainty %s --error %s -q",
                              own("axes.npy"), path),
                         shapes[i].code);
    }
    assert_int_equal(verb(out, sizeof out, "eval nothing"), ALEAT_EXIT_USAGE);
    assert_int_equal(verb(out, sizeof out, "eval fid --a %s", a), ALEAT_EXIT_USAGE);
    assert_int_equal(verb(out, sizeof out, "eval kid --a %s --b %s", own("a.npz"), b),
                     ALEAT_EXIT_FAILED);
}

static void write_noise(const char *path, int n, uint64_t seed)
{
    aleat_error err = {0};
    const aleat_shape shape = aleat_shape_of(4, (int64_t)n, (int64_t)32, (int64_t)32, (int64_t)3);
    uint8_t *pixels = malloc((size_t)n * 32 * 32 * 3);
    for (int i = 0; i < n * 32 * 32 * 3; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        pixels[i] = (uint8_t)(seed >> 56);
    }
    const aleat_tensor images = aleat_tensor_view(ALEAT_U8, &shape, pixels);
    assert_ok(aleat_npy_write(path, &images, &err), &err);
    free(pixels);
}

// The reference's logits without biases; with them the score of these weights is another one.
static void the_inception_score_is_of_logits_without_bias(void **state)
{
    (void)state;
    char out[16384], net[512], images[512], logits[512];
    (void)snprintf(net, sizeof net, "%s", own("inception.safetensors"));
    (void)snprintf(images, sizeof images, "%s", data_path("inception_fid/img_32.npy"));
    (void)snprintf(logits, sizeof logits, "%s",
                   data_path("inception_fid/logits_unbiased_pt_32.npy"));
    write_checkpoint_of(net, case_path("data/inception_fid", "shapes.json"));
    assert_int_equal(verb(out, sizeof out, "eval is --logits %s --splits 1 --json -q", logits), 0);
    const double want = number_in(out, "is");
    (void)snprintf(logits, sizeof logits, "%s", data_path("inception_fid/logits_pt_32.npy"));
    assert_int_equal(verb(out, sizeof out, "eval is --logits %s --splits 1 --json -q", logits), 0);
    const double biased = number_in(out, "is");
    static const char *const layers[] = {"", "--layer logits_unbiased"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(verb(out, sizeof out,
                              "eval is --network %s --a %s %s --splits 1 --json -q", net, images,
                              layers[i]),
                         0);
        assert_true(fabs(number_in(out, "is") - want) < 0.1 * fabs(want - biased));
    }
}

static void eval_of_images_is_eval_of_their_features(void **state)
{
    (void)state;
    char out[16384], net[512];
    const char *a = own("a.npy"), *b = own("b.npy"), *fa = own("fa.npy"), *fb = own("fb.npy");
    (void)snprintf(net, sizeof net, "%s", own("resnet.safetensors"));
    write_checkpoint_of(net, case_path("data/cifar_resnet", "shapes.json"));
    write_noise(a, 9, 1);
    write_noise(b, 7, 2);
    assert_int_equal(verb(out, sizeof out, "features %s --images %s --out %s -q", net, a, fa), 0);
    assert_int_equal(verb(out, sizeof out, "features %s --images %s --out %s -q", net, b, fb), 0);
    assert_int_equal(verb(out, sizeof out, "eval fid --features %s %s --json -q", fa, fb), 0);
    const double want = number_in(out, "fid");
    assert_int_equal(verb(out, sizeof out,
                          "eval fid --network %s --a %s --b %s --save-stats %s --json -q", net, a,
                          b, own("images.npz")),
                     0);
    assert_true(fabs(number_in(out, "fid") - want) <= 0);
    assert_int_equal(
        verb(out, sizeof out, "eval is --network %s --a %s --splits 1 --json -q", net, a), 0);
    assert_true(number_in(out, "is") >= 1); // exp of a divergence

    // a reference batch of ADM's evaluator: statistics for the distance of Gaussians only
    assert_int_equal(verb(out, sizeof out, "eval kid --features %s %s --json -q", fa, fb), 0);
    const double kernel = number_in(out, "kid");
    aleat_error err = {0};
    aleat_tensor images = {0}, mu = {0}, sigma = {0};
    assert_ok(aleat_npy_read(&images, a, &err), &err);
    assert_ok(aleat_npz_read(&mu, own("images.npz"), "mu", &err), &err);
    assert_ok(aleat_npz_read(&sigma, own("images.npz"), "sigma", &err), &err);
    const aleat_named_array arrays[] = {{"arr_0", images}, {"mu", mu}, {"sigma", sigma}};
    assert_ok(aleat_npz_write(own("adm.npz"), arrays, 3, false, &err), &err);
    aleat_tensor_clear(&images);
    aleat_tensor_clear(&mu);
    aleat_tensor_clear(&sigma);
    assert_int_equal(verb(out, sizeof out, "eval kid --network %s --a %s --b %s --json -q", net,
                          own("adm.npz"), b),
                     0);
    assert_true(fabs(number_in(out, "kid") - kernel) <= 0);
    assert_int_equal(verb(out, sizeof out, "eval fid --a %s --b %s --json -q", own("adm.npz"), fb),
                     0);
    assert_true(fabs(number_in(out, "fid") - want) <= 1e-6 * want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lowest_scores_are_those_of_the_reference),
        cmocka_unit_test(ties_go_by_image_number_in_either_order),
        cmocka_unit_test(a_share_is_rounded_down),
        cmocka_unit_test(sums_add_z_scores),
        cmocka_unit_test(random_subsets_follow_from_their_seed),
        cmocka_unit_test(classes_keep_their_share),
        cmocka_unit_test(a_list_comes_back_as_it_was_written),
        cmocka_unit_test(images_without_a_score_are_kept_last),
        cmocka_unit_test(damaged_tables_are_refused),
        cmocka_unit_test(a_filtered_run_holds_the_chosen_images_and_can_be_filtered_again),
        cmocka_unit_test(a_run_whose_files_do_not_agree_is_refused),
        cmocka_unit_test(a_damaged_array_leaves_no_folder),
        cmocka_unit_test(filtering_survives_failing_allocations),
        cmocka_unit_test(the_verb_filter_writes_runs_and_lists),
        cmocka_unit_test(the_verb_eval_computes_metrics_of_files),
        cmocka_unit_test(the_inception_score_is_of_logits_without_bias),
        cmocka_unit_test(eval_of_images_is_eval_of_their_features),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
