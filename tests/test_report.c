/*
 * Pages of runs that no network made: what is in them, and what comes of damaged and hostile
 * folders. That the page works is tested in a browser (tests/web).
 */
#include "io_fixture.h"
#include "near.h"

#include <jansson.h>
#include <math.h>
#include <sys/stat.h>
#include <zlib.h>

#include "aleat/aleat.h"
#include "base/alloc.h"
#include "io/file.h"
#include "io/json.h"
#include "io/npy.h"
#include "report/choice.h"
#include "io/score_table.h"

enum { SIDE = 6, STEPS = 3 };

/* ---- synthetic runs -------------------------------------------------------------------------- */

typedef struct fake {
    const char *folder;
    int64_t n, channels, side;
    int classes;        // 0: labels -1
    bool maps, steps;   // x0-var.npy, its standard errors (no file of the library's), their steps
    bool x0;            // x0-steps.npy, of STEPS steps
    const char *column; // a column of scores.csv besides x0-var, or NULL
    const char *family; // in the settings, or NULL
    int seed;
} fake;

// A value that looks random; the same for the same place.
static float value_of(uint64_t image, uint64_t element)
{
    uint64_t x = (image << 24 | element) * 0x9e3779b97f4a7c15u;
    x ^= x >> 31;
    x *= 0xbf58476d1ce4e5b9u;
    return (float)(x >> 40) / (float)(1 << 24);
}

static void write_floats(const char *path, const aleat_shape *shape)
{
    aleat_error err = {0};
    aleat_npy_stream *stream;
    aleat_shape row = *shape;
    int64_t size = 0;
    row.dim[0] = 1;
    assert_true(aleat_shape_count(&row, &size));
    assert_ok(aleat_npy_stream_open(&stream, path, ALEAT_F32, shape, &err), &err);
    float *values = calloc((size_t)size, sizeof *values);
    for (int64_t i = 0; i < shape->dim[0]; i++) {
        for (int64_t e = 0; e < size; e++)
            values[e] = value_of((uint64_t)i, (uint64_t)e);
        assert_ok(aleat_npy_stream_rows(stream, i, 1, values, &err), &err);
    }
    assert_ok(aleat_npy_stream_commit(stream, &err), &err);
    aleat_npy_stream_free(stream);
    free(values);
}

static void write_samples(const fake *f, const char *path)
{
    aleat_error err = {0};
    const aleat_shape images = aleat_shape_of(4, f->n, f->side, f->side, f->channels);
    const aleat_shape labels = aleat_shape_of(1, f->n);
    aleat_named_array arrays[] = {{.name = "arr_0"}, {.name = "arr_1"}};
    assert_ok(aleat_tensor_new(&arrays[0].array, ALEAT_U8, &images, &err), &err);
    assert_ok(aleat_tensor_new(&arrays[1].array, ALEAT_I64, &labels, &err), &err);
    uint8_t *pixels = arrays[0].array.data;
    for (int64_t e = 0; e < aleat_tensor_count(&arrays[0].array); e++)
        pixels[e] = (uint8_t)(255 * value_of((uint64_t)e, 1));
    for (int64_t i = 0; i < f->n; i++)
        ((int64_t *)arrays[1].array.data)[i] = f->classes ? i % f->classes : -1;
    assert_ok(aleat_npz_write(path, arrays, 2, false, &err), &err);
    aleat_tensor_clear(&arrays[0].array);
    aleat_tensor_clear(&arrays[1].array);
}

static void write_scores(const fake *f, const char *path)
{
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    fprintf(to, "index,label,seed,score,x0-var%s%s", f->column ? "," : "",
            f->column ? f->column : "");
    for (int k = 0; k < STEPS; k++)
        fprintf(to, ",x0-var@%d", 7 + k);
    for (int64_t i = 0; i < f->n; i++) {
        const double score = value_of((uint64_t)i, 1u << 23);
        fprintf(to, "\n%lld,%lld,5,%.17g,%.17g", (long long)i,
                (long long)(f->classes ? i % f->classes : -1), score, score);
        if (f->column) // every third NaN, the rest infinite now and then
            fprintf(to, ",%s", i % 3 == 0 ? "nan" : i % 7 == 0 ? "-inf" : "1.5");
        for (int k = 0; k < STEPS; k++)
            fprintf(to, ",%d", (int)(i + k));
    }
    fputc('\n', to);
    assert_int_equal(fclose(to), 0);
}

static const char *inside(const fake *f, const char *name)
{
    static char text[4][512];
    static int next;
    char *path = text[next++ % 4];
    (void)snprintf(path, sizeof text[0], "%s/%s/%s", fixture_folder, f->folder, name);
    return path;
}

static void make_run(const fake *f)
{
    aleat_error err = {0};
    const int64_t c = f->channels, s = f->side;
    assert_ok(aleat_make_dirs(scratch(f->folder), &err), &err);
    json_t *run =
        json_pack("{s{ss sssssssisissss}}", "settings", "aleat", "0.1.0", "family",
                  f->family ? f->family : "unet2d", "seed", f->seed ? "6" : "5", "rng", "philox",
                  "steps", 10, "copies", 5, "score_steps", "7:10", "shown", "x0-var");
    assert_ok(aleat_json_write(inside(f, "run.json"), run, &err), &err);
    json_decref(run);
    write_samples(f, inside(f, "samples.npz"));
    write_scores(f, inside(f, "scores.csv"));
    const aleat_shape sum = aleat_shape_of(4, f->n, c, s, s);
    const aleat_shape steps = aleat_shape_of(5, f->n, (int64_t)STEPS, c, s, s);
    if (f->maps)
        write_floats(inside(f, "x0-var.npy"), &sum);
    if (f->steps)
        write_floats(inside(f, "x0-var-steps.npy"), &steps);
    if (f->x0)
        write_floats(inside(f, "x0-steps.npy"), &steps);
}

static fake small_run(const char *folder)
{
    return (fake){.folder = folder,
                  .n = 20,
                  .channels = 3,
                  .side = SIDE,
                  .classes = 4,
                  .maps = true,
                  .steps = true,
                  .x0 = true};
}

/* ---- reading pages --------------------------------------------------------------------------- */

// Writes the page of a run and gives its text; free().
static char *page_of(const char *folder, const aleat_report_options *options,
                     aleat_report_result *result)
{
    aleat_error err = {0};
    aleat_report_result unused;
    const char *path = scratch("page.html");
    assert_ok(aleat_report_write(scratch(folder), path, options, result ? result : &unused, &err),
              &err);
    aleat_mapping map;
    assert_ok(aleat_mapping_open(&map, path, &err), &err);
    char *text = malloc(map.len + 1);
    memcpy(text, map.data, map.len);
    text[map.len] = '\0';
    assert_int_equal(map.len, (result ? result : &unused)->bytes);
    aleat_mapping_close(&map);
    return text;
}

// The content of the element with this id, ended by a 0 in place of "</script>".
static char *element(const char *page, const char *id)
{
    char start[128];
    (void)snprintf(start, sizeof start, " id=\"%s\">", id);
    const char *at = strstr(page, start);
    if (!at)
        return NULL;
    at += strlen(start);
    return strndup(at, (size_t)(strstr(at, "</script>") - at));
}

static json_t *data_of(const char *page)
{
    char *text = element(page, "run");
    assert_non_null(text);
    json_error_t where;
    json_t *data = json_loads(text, 0, &where);
    if (!data)
        fail_msg("%s at %d", where.text, where.position);
    free(text);
    return data;
}

static int digit_of(char c)
{
    const char *digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = strchr(digits, c);
    return c && at ? (int)(at - digits) : -1;
}

// The numbers of a block of `size` bytes each, as the page's script reads them.
static unsigned char *numbers_of(const char *page, const char *id, size_t count, size_t size)
{
    char *text = element(page, id);
    if (!text)
        fail_msg("no block %s", id);
    size_t len = 0;
    uint32_t bits = 0;
    int held = 0;
    for (const char *at = text; digit_of(*at) >= 0; at++) {
        bits = bits << 6 | (uint32_t)digit_of(*at);
        held += 6;
        if (held >= 8) {
            held -= 8;
            text[len++] = (char)(bits >> held);
        }
    }
    uLongf made = count * size;
    unsigned char *split = malloc(made), *joined = malloc(made);
    assert_int_equal(uncompress(split, &made, (unsigned char *)text, len), Z_OK);
    assert_int_equal(made, count * size);
    for (size_t i = 0; i < count; i++)
        for (size_t b = 0; b < size; b++)
            joined[i * size + b] = split[b * count + i];
    free(split);
    free(text);
    return joined;
}

/* ---- what is in a page ----------------------------------------------------------------------- */

static void maps_in_the_page_have_the_bits_of_the_arrays(void **state)
{
    (void)state;
    const fake f = small_run("exact");
    make_run(&f);
    aleat_report_result r;
    char *page = page_of("exact", NULL, &r);
    assert_int_equal(r.images, 20);
    assert_int_equal(r.rows, 20);
    assert_int_equal(r.pictures, 20);
    assert_int_equal(r.details, 20);
    const size_t size = 3 * SIDE * SIDE;
    for (int i = 0; i < 20; i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "s-%d-0", i);
        float *sum = (float *)(void *)numbers_of(page, id, size, sizeof(float));
        (void)snprintf(id, sizeof id, "k-%d-0", i);
        float *steps = (float *)(void *)numbers_of(page, id, STEPS * size, sizeof(float));
        for (size_t e = 0; e < STEPS * size; e++) {
            if (e < size)
                assert_true(sum[e] == value_of((uint64_t)i, e));
            assert_true(steps[e] == value_of((uint64_t)i, e));
        }
        free(sum);
        free(steps);
    }
    double *scores = (double *)(void *)numbers_of(page, "t-0", 20, sizeof(double));
    for (int i = 0; i < 20; i++)
        assert_true(scores[i] == value_of((uint64_t)i, 1u << 23));
    free(scores);
    free(page);
}

// The columns x0-var@7.. of image i are i, i+1, i+2; of class 1: images 1, 5, 9, 13, 17.
static void curves_are_means_and_deviations_over_the_images(void **state)
{
    (void)state;
    const fake f = small_run("curves");
    make_run(&f);
    char *page = page_of("curves", NULL, NULL);
    json_t *data = data_of(page);
    json_t *map = json_array_get(json_object_get(json_object_get(data, "curves"), "maps"), 0);
    json_t *groups = json_object_get(map, "groups");
    assert_int_equal(json_array_size(groups), 5);
    const struct {
        size_t group;
        double mean, deviation;
    } want[] = {{0, 9.5 + 2, sqrt(35)}, {2, 9 + 2, sqrt(40)}};
    for (int i = 0; i < 2; i++) {
        const json_t *group = json_array_get(groups, want[i].group);
        assert_near(json_real_value(json_array_get(json_object_get(group, "mean"), 2)),
                    want[i].mean, 1e-12, "mean");
        assert_near(json_real_value(json_array_get(json_object_get(group, "deviation"), 2)),
                    want[i].deviation, 1e-12, "deviation");
    }
    assert_int_equal(json_integer_value(json_array_get(json_object_get(map, "steps"), 0)), 7);
    json_decref(data);
    free(page);
}

static void the_same_run_gives_the_same_page(void **state)
{
    (void)state;
    fake f = small_run("same");
    f.n = 3000;
    make_run(&f);
    const aleat_report_options tight = {.max_bytes = 300000},
                               other = {.max_bytes = 300000, .seed = 1};
    aleat_report_result r;
    char *a = page_of("same", &tight, &r), *b = page_of("same", &tight, NULL);
    char *c = page_of("same", &other, NULL);
    assert_true(r.details < r.pictures && r.pictures < r.images);
    assert_true(r.bytes <= 300000);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c); // another sample
    free(a);
    free(b);
    free(c);
}

static void extremes_of_every_score_come_first(void **state)
{
    (void)state;
    enum { N = 1000 };
    double up[N], odd[N];
    int64_t order[N];
    aleat_error err = {0};
    for (int i = 0; i < N; i++) {
        up[i] = i;
        odd[i] = i < 500 ? NAN : (i * 37) % 1000;
    }
    const double *const scores[] = {up, odd};
    assert_ok(aleat_choose_images(order, scores, 2, N, 3, &err), &err);
    const int64_t first[] = {0, N - 1};
    assert_memory_equal(order, first, sizeof first);
    bool seen[N] = {false};
    for (int k = 0; k < N; k++) {
        assert_in_range(order[k], 0, N - 1);
        assert_false(seen[order[k]]);
        seen[order[k]] = true;
        if (k < 5 * ALEAT_CHOICE_EXTREMES - 1)
            continue;
        for (int e = 0; e < ALEAT_CHOICE_EXTREMES; e++)
            assert_true(seen[e] && seen[N - 1 - e]);
    }
    assert_ok(aleat_choose_images(order, scores, 2, 1, 3, &err), &err);
    assert_int_equal(order[0], 0);
    assert_ok(aleat_choose_images(order, scores, 0, N, 3, &err), &err); // no scores: all at random
}

/* ---- strange runs ---------------------------------------------------------------------------- */

static void runs_of_no_and_of_one_image_have_pages(void **state)
{
    (void)state;
    for (int n = 0; n <= 1; n++) {
        fake f = small_run(n ? "one" : "none");
        f.n = n;
        make_run(&f);
        aleat_report_result r;
        char *page = page_of(f.folder, NULL, &r);
        json_t *data = data_of(page);
        assert_int_equal(json_integer_value(json_object_get(data, "images")), n);
        assert_int_equal(r.pictures, n);
        assert_int_equal(r.details, n);
        json_decref(data);
        free(page);
    }
}

static void what_a_run_did_not_keep_is_missing_from_its_page(void **state)
{
    (void)state;
    fake f = small_run("bare");
    f.maps = f.steps = f.x0 = false;
    f.classes = 0;
    make_run(&f);
    assert_int_equal(unlink(inside(&f, "scores.csv")), 0);
    aleat_report_result r;
    char *page = page_of("bare", NULL, &r);
    json_t *data = data_of(page);
    assert_int_equal(json_array_size(json_object_get(data, "maps")), 0);
    assert_int_equal(json_array_size(json_object_get(data, "scores")), 0);
    assert_int_equal(json_integer_value(json_object_get(data, "shown")), -1);
    assert_int_equal(r.pictures, 20);
    assert_int_equal(r.details, 0);
    json_decref(data);
    free(page);
}

static void latents_show_their_first_channels(void **state)
{
    (void)state;
    fake f = small_run("latents");
    f.channels = 4;
    make_run(&f);
    char *page = page_of("latents", NULL, NULL);
    json_t *data = data_of(page);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(data, "size"), 3)), 3);
    json_decref(data);
    free(page);
}

static int count_of(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        count++;
    return count;
}

static void names_with_markup_stay_text(void **state)
{
    (void)state;
    fake f = small_run("<img src=x onerror=alert(1)>&\"'");
    make_run(&f);
    aleat_report_result r;
    char *plain = page_of(f.folder, NULL, &r);
    const int scripts = count_of(plain, "<script"), ends = count_of(plain, "</script>");
    free(plain);
    f.column = "<script>alert(2)</script>";
    f.family = "</script><script>alert(3)</script><!--<script>";
    make_run(&f);
    const aleat_shape shape = aleat_shape_of(4, f.n, f.channels, f.side, f.side);
    write_floats(inside(&f, "<b onclick=alert(4)>map.npy"), &shape);
    char *page = page_of(f.folder, NULL, &r);
    // one score and, for each image, one map more
    assert_int_equal(count_of(page, "<script"), scripts + 1 + 20);
    assert_int_equal(count_of(page, "</script>"), ends + 1 + 20);
    assert_null(strstr(page, "<img"));
    assert_null(strstr(page, "<b onclick"));
    assert_null(strstr(page, "<!--"));
    assert_non_null(
        strstr(page, "<title>&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#39;</title>"));
    json_t *data = data_of(page);
    assert_string_equal(json_string_value(json_object_get(data, "name")), f.folder);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(data, "settings"), "family")), f.family);
    assert_string_equal(json_string_value(json_array_get(json_object_get(data, "scores"), 1)),
                        f.column);
    json_decref(data);
    free(page);
}

static void names_that_are_not_utf8_are_shown_in_part(void **state)
{
    (void)state;
    const fake f = small_run("caf\xe9");
    make_run(&f);
    char *page = page_of(f.folder, NULL, NULL);
    json_t *data = data_of(page);
    assert_string_equal(json_string_value(json_object_get(data, "name")), "caf?");
    json_decref(data);
    free(page);
}

static void values_that_are_no_numbers_are_kept_as_they_are(void **state)
{
    (void)state;
    fake f = small_run("nan");
    f.column = "signal";
    f.channels = 1;
    make_run(&f);
    aleat_error err = {0};
    aleat_tensor map;
    assert_ok(aleat_npy_read(&map, inside(&f, "x0-var.npy"), &err), &err);
    float *values = aleat_tensor_f32(&map);
    const int64_t size = (int64_t)SIDE * SIDE;
    for (int64_t e = 0; e < size; e++) {
        values[e] = NAN; // image 0 has no number at all
        values[size + e] = e ? 1 : INFINITY;
    }
    assert_ok(aleat_npy_write(inside(&f, "x0-var.npy"), &map, &err), &err);
    char *page = page_of("nan", NULL, NULL);
    float *first = (float *)(void *)numbers_of(page, "s-0-0", (size_t)size, sizeof(float));
    float *second = (float *)(void *)numbers_of(page, "s-1-0", (size_t)size, sizeof(float));
    assert_true(isnan(first[5]) && isinf(second[0]) && second[1] == 1);
    double *scores = (double *)(void *)numbers_of(page, "t-1", 20, sizeof(double));
    assert_true(isnan(scores[0]) && scores[1] == 1.5 && isinf(scores[7]));
    json_decref(data_of(page)); // it is JSON: NaN in it would be none
    free(first);
    free(second);
    free(scores);
    free(page);
    aleat_tensor_clear(&map);
}

static void a_run_of_sixty_thousand_images_fits_twenty_megabytes(void **state)
{
    (void)state;
    fake f = {.folder = "many",
              .n = 60000,
              .channels = 1,
              .side = 16,
              .classes = 10,
              .maps = true,
              .column = "signal"};
    make_run(&f);
    aleat_report_result r;
    char *page = page_of("many", NULL, &r);
    assert_true(r.bytes <= 20000000);
    assert_true(r.bytes > 10000000); // the room is used
    assert_int_equal(r.rows, 60000); // every score is there, so that filters count right
    assert_true(r.pictures >= 5000);
    assert_true(r.details >= 1000);
    double *scores = (double *)(void *)numbers_of(page, "t-0", 60000, sizeof(double));
    int64_t low = 0, high = 0;
    for (int64_t i = 0; i < 60000; i++) {
        low = scores[i] < scores[low] ? i : low;
        high = scores[i] > scores[high] ? i : high;
    }
    char id[32];
    (void)snprintf(id, sizeof id, "s-%lld-0", (long long)low);
    free(numbers_of(page, id, 256, sizeof(float)));
    (void)snprintf(id, sizeof id, "s-%lld-0", (long long)high);
    free(numbers_of(page, id, 256, sizeof(float)));
    free(scores);
    free(page);
}

/* ---- damaged runs ---------------------------------------------------------------------------- */

static void assert_refused(const fake *f, aleat_status want, const char *text)
{
    aleat_error err = {0};
    const char *path = scratch("refused.html");
    assert_failed(aleat_report_write(scratch(f->folder), path, NULL, NULL, &err), want, &err, text);
    assert_false(aleat_is_file(path));
}

static void write_text(const char *path, const char *text)
{
    aleat_error err = {0};
    assert_ok(aleat_write_file(path, text, strlen(text), &err), &err);
}

static void damaged_runs_are_refused_by_the_name_of_the_file(void **state)
{
    (void)state;
    fake f = small_run("damaged");
    assert_refused(&f, ALEAT_ERR_IO, "holds no finished run");
    make_run(&f);
    const aleat_shape wrong = aleat_shape_of(4, f.n, (int64_t)3, (int64_t)5, (int64_t)SIDE);
    write_floats(inside(&f, "x0-var.npy"), &wrong);
    assert_refused(&f, ALEAT_ERR_SHAPE, "x0-var.npy: is [20,3,5,6], the images need [20,3,6,6]");
    make_run(&f);
    write_text(inside(&f, "x0-var.npy"), "no array");
    assert_refused(&f, ALEAT_ERR_FORMAT, "x0-var.npy");
    make_run(&f);
    write_floats(inside(&f, "x0-var-steps.npy"), &wrong);
    assert_refused(&f, ALEAT_ERR_SHAPE, "x0-var-steps.npy");
    make_run(&f);
    write_floats(inside(&f, "x0-steps.npy"), &wrong);
    assert_refused(&f, ALEAT_ERR_SHAPE, "x0-steps.npy");
    make_run(&f);
    write_text(inside(&f, "run.json"), "{\"settings\": 5}");
    assert_refused(&f, ALEAT_ERR_FORMAT, "run.json");
    make_run(&f);
    assert_int_equal(unlink(inside(&f, "samples.npz")), 0);
    assert_refused(&f, ALEAT_ERR_IO, "samples.npz");
}

static void damaged_tables_are_refused_by_their_line(void **state)
{
    (void)state;
    const struct {
        const char *text, *message;
        aleat_status status;
    } tables[] = {
        {"", "has no header", ALEAT_ERR_FORMAT},
        {"\n1\n", "has no header", ALEAT_ERR_FORMAT},
        {"index,a\n0,1\n", "one row for each of 20 images", ALEAT_ERR_SHAPE},
        {"index,a\n0\n", "scores.csv:2: column 1", ALEAT_ERR_FORMAT},
        {"index,a\n0,1\n1,x\n", "scores.csv:3: column 2 ('a')", ALEAT_ERR_FORMAT},
        {"index,a\n0,\n1,\n", "one row for each of 20 images", ALEAT_ERR_SHAPE}, // no number
        {"index,a\n0,1,2\n", "scores.csv:2: column 2", ALEAT_ERR_FORMAT},
        {"index,a\n0,1x\n", "scores.csv:2: column 2", ALEAT_ERR_FORMAT},
    };
    const fake f = small_run("tables");
    make_run(&f);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        write_text(inside(&f, "scores.csv"), tables[i].text);
        assert_refused(&f, tables[i].status, tables[i].message);
    }
}

// They came to be the steps of the library's own maps, and written beyond the memory of those.
static void steps_of_a_foreign_map_are_not_counted(void **state)
{
    (void)state;
    aleat_error err = {0};
    const fake f = small_run("foreign");
    make_run(&f);
    const aleat_shape sum = aleat_shape_of(4, f.n, f.channels, f.side, f.side);
    const aleat_shape one = aleat_shape_of(5, f.n, (int64_t)1, f.channels, f.side, f.side);
    write_floats(inside(&f, "zzz.npy"), &sum);
    write_floats(inside(&f, "aaa.npy"), &sum);
    write_floats(inside(&f, "zzz-steps.npy"), &one);
    write_floats(inside(&f, "aaa-steps.npy"), &one);
    assert_ok(aleat_report_write(scratch("foreign"), NULL, NULL, NULL, &err), &err);
}

static void tables_are_read_whatever_ends_their_lines(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_score_table *table;
    double row[2];
    bool more;
    write_text(scratch("crlf.csv"), "a,b\r\n1,-2.5e3\r\nnan,inf");
    assert_ok(aleat_score_table_open(&table, scratch("crlf.csv"), &err), &err);
    assert_int_equal(aleat_score_table_columns(table), 2);
    assert_string_equal(aleat_score_table_name(table, 1), "b");
    for (int pass = 0; pass < 2; pass++) {
        assert_ok(aleat_score_table_next(table, row, &more, &err), &err);
        assert_true(more && row[0] == 1 && row[1] == -2500);
        assert_ok(aleat_score_table_next(table, row, &more, &err), &err);
        assert_true(more && isnan(row[0]) && isinf(row[1]));
        assert_ok(aleat_score_table_next(table, row, &more, &err), &err);
        assert_false(more);
        aleat_score_table_rewind(table);
    }
    aleat_score_table_free(table);
}

static void only_runs_of_the_same_seeds_are_compared(void **state)
{
    (void)state;
    fake a = small_run("left"), b = small_run("right");
    make_run(&a);
    make_run(&b);
    char other[256];
    (void)snprintf(other, sizeof other, "%s", scratch("right"));
    const aleat_report_options options = {.compare = other};
    char *page = page_of("left", &options, NULL);
    free(numbers_of(page, "u-3-0", 3 * SIDE * SIDE, sizeof(float)));
    char *atlas = element(page, "o-0");
    assert_non_null(atlas);
    free(atlas);
    free(page);
    aleat_error err = {0};
    b.seed = 1;
    make_run(&b);
    assert_failed(
        aleat_report_write(scratch("left"), scratch("refused.html"), &options, NULL, &err),
        ALEAT_ERR_ARGUMENT, &err, "other seed");
    b = small_run("right");
    b.classes = 2;
    make_run(&b);
    assert_failed(
        aleat_report_write(scratch("left"), scratch("refused.html"), &options, NULL, &err),
        ALEAT_ERR_ARGUMENT, &err, "other labels");
}

static void pages_too_small_for_an_image_are_refused(void **state)
{
    (void)state;
    fake f = small_run("large");
    f.n = 1;
    f.side = 512;
    f.steps = f.x0 = false;
    make_run(&f);
    aleat_error err = {0};
    const aleat_report_options tight = {.max_bytes = 200000}, least = {.max_bytes = 1000};
    assert_failed(aleat_report_write(scratch("large"), scratch("refused.html"), &tight, NULL, &err),
                  ALEAT_ERR_UNSUPPORTED, &err, "do not fit a page of 200000 bytes");
    assert_failed(aleat_report_write(scratch("large"), scratch("refused.html"), &least, NULL, &err),
                  ALEAT_ERR_ARGUMENT, &err, "at least 200000");
}

static void running_out_of_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    fake f = small_run("memory");
    f.n = 2;
    make_run(&f);
    char other[256];
    (void)snprintf(other, sizeof other, "%s", scratch("memory"));
    const aleat_report_options options = {.compare = other};
    const char *path = scratch("memory.html");
    const uint64_t before = aleat_alloc_bytes();
    aleat_status st = ALEAT_ERR_MEMORY;
    uint64_t n = 0;
    while (st) {
        aleat_error err = {0};
        aleat_alloc_fail_at(++n);
        st = aleat_report_write(other, path, &options, NULL, &err);
        aleat_alloc_fail_at(0);
        if (st && st != ALEAT_ERR_MEMORY)
            fail_msg("allocation %d: %s: %s", (int)n, aleat_status_name(st), err.message);
        assert_int_equal(aleat_alloc_bytes(), before);
        assert_true(st != ALEAT_OK || aleat_is_file(path));
    }
    assert_true(n > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_in_the_page_have_the_bits_of_the_arrays),
        cmocka_unit_test(curves_are_means_and_deviations_over_the_images),
        cmocka_unit_test(the_same_run_gives_the_same_page),
        cmocka_unit_test(extremes_of_every_score_come_first),
        cmocka_unit_test(runs_of_no_and_of_one_image_have_pages),
        cmocka_unit_test(what_a_run_did_not_keep_is_missing_from_its_page),
        cmocka_unit_test(latents_show_their_first_channels),
        cmocka_unit_test(names_with_markup_stay_text),
        cmocka_unit_test(names_that_are_not_utf8_are_shown_in_part),
        cmocka_unit_test(values_that_are_no_numbers_are_kept_as_they_are),
        cmocka_unit_test(a_run_of_sixty_thousand_images_fits_twenty_megabytes),
        cmocka_unit_test(damaged_runs_are_refused_by_the_name_of_the_file),
        cmocka_unit_test(damaged_tables_are_refused_by_their_line),
        cmocka_unit_test(steps_of_a_foreign_map_are_not_counted),
        cmocka_unit_test(tables_are_read_whatever_ends_their_lines),
        cmocka_unit_test(only_runs_of_the_same_seeds_are_compared),
        cmocka_unit_test(pages_too_small_for_an_image_are_refused),
        cmocka_unit_test(running_out_of_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
