#include "io_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "io/file.h"
#include "io/json.h"
#include "io/npy.h"
#include "io/idx.h"
#include "io/png_image.h"
#include "io/sha256.h"

static void write_text(const char *path, const char *text)
{
    aleat_error err = {0};
    assert_ok(aleat_write_file(path, text, strlen(text), &err), &err);
}

static void assert_file_is(const char *path, const char *text)
{
    aleat_mapping file;
    aleat_error err = {0};
    assert_ok(aleat_mapping_open(&file, path, &err), &err);
    assert_int_equal(file.len, strlen(text));
    assert_memory_equal(file.data, text, file.len);
    aleat_mapping_close(&file);
}

static void an_abandoned_write_leaves_the_old_file_and_nothing_else(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_atomic_file file;
    write_text(scratch("kept"), "old");
    assert_ok(aleat_atomic_open(&file, scratch("kept"), &err), &err);
    assert_ok(aleat_atomic_write(&file, "newer", 5, &err), &err);
    char temporary[256];
    snprintf(temporary, sizeof temporary, "%s", file.temporary);
    assert_true(aleat_is_file(temporary));
    aleat_atomic_abandon(&file);
    assert_false(aleat_is_file(temporary));
    assert_file_is(scratch("kept"), "old");
    write_text(scratch("kept"), "newer");
    assert_file_is(scratch("kept"), "newer");
}

static void a_full_disk_is_reported_and_leaves_the_old_file(void **state)
{
    (void)state;
    aleat_error err = {0};
    write_text(scratch("full"), "old");
    // A limit on file size stands for the full disk: write() fails in the same way.
    struct rlimit old, small = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    static char large[100000];
    const aleat_status st = aleat_write_file(scratch("full"), large, sizeof large, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_failed(st, ALEAT_ERR_IO, &err, "full: cannot write");
    assert_file_is(scratch("full"), "old");
}

static void a_device_is_written_to_not_replaced(void **state)
{
    (void)state;
    aleat_error err = {0};
    assert_ok(aleat_write_file("/dev/null", "x", 1, &err), &err);
    struct stat info;
    assert_int_equal(stat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
    assert_failed(aleat_write_file("/dev/full", "x", 1, &err), ALEAT_ERR_IO, &err, "/dev/full");
    assert_non_null(strstr(err.hint, "space"));
}

static void wrong_paths_are_named(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_mapping file;
    assert_failed(aleat_mapping_open(&file, "/no/such", &err), ALEAT_ERR_IO, &err, "/no/such: ");
    assert_failed(aleat_mapping_open(&file, fixture_folder, &err), ALEAT_ERR_IO, &err, "folder");
    assert_failed(aleat_write_file("/no/such", "", 0, &err), ALEAT_ERR_IO, &err, "/no/such: ");
    assert_failed(aleat_write_file(fixture_folder, "", 0, &err), ALEAT_ERR_IO, &err, "folder");
    write_text(scratch("in_the_way"), "");
    assert_failed(aleat_make_dirs(scratch("in_the_way"), &err), ALEAT_ERR_IO, &err, "in the way");
    assert_failed(aleat_make_dirs(scratch("in_the_way/x"), &err), ALEAT_ERR_IO, &err, "in_the_way");
}

static void folders_are_made_with_their_parents(void **state)
{
    (void)state;
    aleat_error err = {0};
    assert_ok(aleat_make_dirs(scratch("a//b/c/"), &err), &err);
    assert_true(aleat_is_dir(scratch("a/b/c")));
    assert_ok(aleat_make_dirs(scratch("a/b"), &err), &err);
    char *joined = aleat_path_join("a/", "b"), *absolute = aleat_path_join("a", "/b");
    char *folder = aleat_path_folder("/x"), *here = aleat_path_folder("x");
    assert_string_equal(joined, "a/b");
    assert_string_equal(absolute, "/b");
    assert_string_equal(folder, "/");
    assert_string_equal(here, ".");
    assert_string_equal(aleat_path_base("a/b.npy"), "b.npy");
    aleat_free(joined);
    aleat_free(absolute);
    aleat_free(folder);
    aleat_free(here);
}

static const char config[] =
    "{\"flag\": true, \"n\": 3, \"whole\": 1000.0, \"beta_start\": \"x\", \"rate\": 0.5,\n"
    " \"none\": null, \"list\": [1, 2, 3], \"names\": [\"a\", \"b\"], \"sub\": {\"k\": 1.5}}";

static aleat_json parse(const char *text)
{
    aleat_json json;
    aleat_error err = {0};
    assert_ok(aleat_json_parse(&json, text, strlen(text), "c.json", &err), &err);
    return json;
}

static void json_getters_read_what_is_there_and_keep_defaults(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_json json = parse(config), sub;
    bool flag = false;
    int64_t n = 0, whole = 0, absent = 7, list[3];
    int count = 0, small = 0;
    double rate = 0, k = 0, none = 2.5;
    const char *names[2] = {NULL, NULL};
    assert_ok(aleat_json_bool(&json, "flag", &flag, &err), &err);
    assert_ok(aleat_json_int(&json, "n", &n, &err), &err);
    assert_ok(aleat_json_int(&json, "whole", &whole, &err), &err);
    assert_ok(aleat_json_int(&json, "absent", &absent, &err), &err);
    assert_ok(aleat_json_int_in(&json, "n", 1, 10, &small, &err), &err);
    assert_ok(aleat_json_double(&json, "rate", &rate, &err), &err);
    assert_ok(aleat_json_double(&json, "none", &none, &err), &err);
    assert_ok(aleat_json_ints(&json, "list", list, 3, &count, &err), &err);
    assert_int_equal(count, 3);
    assert_ok(aleat_json_strings(&json, "names", names, 2, &count, &err), &err);
    assert_ok(aleat_json_object(&json, "sub", &sub, &err), &err);
    assert_ok(aleat_json_double(&sub, "k", &k, &err), &err);
    assert_true(flag && n == 3 && whole == 1000 && absent == 7 && small == 3 && rate == 0.5);
    assert_true(none == 2.5 && list[2] == 3 && count == 2 && k == 1.5);
    assert_string_equal(names[1], "b");
    assert_true(aleat_json_has(&json, "n") && !aleat_json_has(&json, "none"));
    aleat_json_clear(&sub);
    aleat_json_clear(&json);
}

static void json_errors_name_file_key_and_both_types(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_json json = parse(config);
    double x = 0;
    int64_t i = 0, list[2];
    int n = 0;
    assert_failed(aleat_json_double(&json, "beta_start", &x, &err), ALEAT_ERR_FORMAT, &err,
                  "c.json: 'beta_start' is a string, expected a number");
    assert_failed(aleat_json_int(&json, "rate", &i, &err), ALEAT_ERR_FORMAT, &err, "an integer");
    assert_failed(aleat_json_int_in(&json, "n", 4, 5, &n, &err), ALEAT_ERR_FORMAT, &err, "4 to 5");
    assert_failed(aleat_json_ints(&json, "list", list, 2, &n, &err), ALEAT_ERR_FORMAT, &err,
                  "3 items");
    assert_failed(aleat_json_ints(&json, "names", list, 2, &n, &err), ALEAT_ERR_FORMAT, &err,
                  "item 0 of 'names' is a string");
    assert_failed(aleat_json_require(&json, "none", &err), ALEAT_ERR_FORMAT, &err, "missing");
    aleat_json_clear(&json);
}

static void json_syntax_errors_have_a_place(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_json json;
    write_text(scratch("bad.json"), "{\"a\": 1,\n \"b\": }");
    assert_failed(aleat_json_load(&json, scratch("bad.json"), &err), ALEAT_ERR_FORMAT, &err,
                  "bad.json:2:7: ");
    write_text(scratch("bad.json"), "{\"a\": 1, \"a\": 2}");
    assert_failed(aleat_json_load(&json, scratch("bad.json"), &err), ALEAT_ERR_FORMAT, &err,
                  "duplicate");
    write_text(scratch("bad.json"), "[1]");
    assert_failed(aleat_json_load(&json, scratch("bad.json"), &err), ALEAT_ERR_FORMAT, &err,
                  "is an array");
    write_text(scratch("bad.json"), "");
    assert_failed(aleat_json_load(&json, scratch("bad.json"), &err), ALEAT_ERR_FORMAT, &err, "1:0");
}

static void json_is_written_in_the_order_it_was_made(void **state)
{
    (void)state;
    aleat_error err = {0};
    json_t *value = json_pack("{s:i, s:f}", "z", 1, "a", 0.5);
    assert_ok(aleat_json_write(scratch("out.json"), value, &err), &err);
    assert_file_is(scratch("out.json"), "{\n  \"z\": 1,\n  \"a\": 0.5\n}\n");
    json_decref(value);
}

// What the generator of tests/data/npy put in: element i of 24 in C order.
static double half(int i)
{
    return 0.5 * i;
}
static double minus_12(int i)
{
    return i - 12;
}
static double millions(int i)
{
    return i * 1000003.0;
}

static void npy_reads_every_byte_order_and_layout(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        aleat_dtype dtype;
        double (*value)(int i);
    } cases[] = {
        {"npy/f32_c.npy", ALEAT_F32, half},
        {"npy/f64_fortran.npy", ALEAT_F64, half},
        {"npy/i16_big_endian.npy", ALEAT_I16, minus_12},
        {"npy/u32_big_fortran.npy", ALEAT_I64, millions},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        aleat_tensor array, wide;
        aleat_error err = {0};
        assert_ok(aleat_npy_read(&array, data_path(cases[k].name), &err), &err);
        assert_int_equal(array.dtype, cases[k].dtype);
        const aleat_shape want = aleat_shape_of(3, (int64_t)2, (int64_t)3, (int64_t)4);
        assert_true(aleat_shape_equal(&array.shape, &want));
        assert_ok(aleat_npy_read_f32(&wide, data_path(cases[k].name), &err), &err);
        for (int i = 0; i < 24; i++) // every value is below 2^25 and even beyond 2^24: exact in f32
            assert_true(aleat_tensor_f32(&wide)[i] == (float)cases[k].value(i));
        aleat_tensor_clear(&array);
        aleat_tensor_clear(&wide);
    }
}

static void npy_reads_small_and_unsigned_arrays(void **state)
{
    (void)state;
    aleat_tensor array;
    aleat_error err = {0};
    assert_ok(aleat_npy_read(&array, data_path("npy/u64.npy"), &err), &err);
    assert_true(((int64_t *)array.data)[2] == INT64_MAX);
    aleat_tensor_clear(&array);
    assert_ok(aleat_npy_read(&array, data_path("npy/u16.npy"), &err), &err);
    assert_true(array.dtype == ALEAT_I32 && ((int32_t *)array.data)[1] == 65535);
    aleat_tensor_clear(&array);
    assert_ok(aleat_npy_read(&array, data_path("npy/scalar.npy"), &err), &err);
    assert_true(array.shape.n_dims == 0 && *(uint16_t *)array.data == 0x4100); // 2.5
    aleat_tensor_clear(&array);
    assert_ok(aleat_npy_read(&array, data_path("npy/empty.npy"), &err), &err);
    assert_true(array.shape.n_dims == 2 && array.shape.dim[0] == 0 && array.shape.dim[1] == 3);
    aleat_tensor_clear(&array);
    assert_ok(aleat_npy_read(&array, data_path("npy/version2.npy"), &err), &err);
    assert_true(((int64_t *)array.data)[2] == 2);
    aleat_tensor_clear(&array);
    assert_failed(aleat_npy_read(&array, data_path("npy/u64_too_large.npy"), &err),
                  ALEAT_ERR_UNSUPPORTED, &err, "does not fit");
    assert_failed(aleat_npy_read(&array, data_path("npy/complex.npy"), &err), ALEAT_ERR_UNSUPPORTED,
                  &err, "<c8");
    assert_failed(aleat_npy_read(&array, data_path("npy/records.npy"), &err), ALEAT_ERR_UNSUPPORTED,
                  &err, "records");
}

static void assert_same_bytes(const char *path, const char *other)
{
    aleat_mapping a, b;
    aleat_error err = {0};
    assert_ok(aleat_mapping_open(&a, path, &err), &err);
    assert_ok(aleat_mapping_open(&b, other, &err), &err);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    aleat_mapping_close(&a);
    aleat_mapping_close(&b);
}

static void npy_writes_the_bytes_that_numpy_writes(void **state)
{
    (void)state;
    static const char *const names[] = {"npy/f32_c.npy", "npy/u16.npy", "npy/bool.npy",
                                        "npy/scalar.npy", "npy/empty.npy"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        aleat_tensor array;
        aleat_error err = {0};
        assert_ok(aleat_npy_read(&array, data_path(names[k]), &err), &err);
        assert_ok(aleat_npy_write(scratch("again.npy"), &array, &err), &err);
        if (array.dtype != ALEAT_I32) // was u16, which is widened
            assert_same_bytes(scratch("again.npy"), data_path(names[k]));
        aleat_tensor_clear(&array);
    }
}

static void npy_rows_may_come_in_any_order_and_be_missing(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_npy_stream *stream;
    const aleat_shape shape = aleat_shape_of(2, (int64_t)4, (int64_t)2);
    const float last[] = {7, 8}, first[] = {1, 2, 3, 4}, want[] = {1, 2, 3, 4, 0, 0, 7, 8};
    assert_ok(aleat_npy_stream_open(&stream, scratch("rows.npy"), ALEAT_F32, &shape, &err), &err);
    assert_ok(aleat_npy_stream_rows(stream, 3, 1, last, &err), &err);
    assert_ok(aleat_npy_stream_rows(stream, 0, 2, first, &err), &err);
    assert_failed(aleat_npy_stream_rows(stream, 3, 2, first, &err), ALEAT_ERR_ARGUMENT, &err,
                  "rows 3 to 5");
    assert_false(aleat_is_file(scratch("rows.npy")));
    assert_ok(aleat_npy_stream_commit(stream, &err), &err);
    aleat_npy_stream_free(stream);
    aleat_tensor array;
    assert_ok(aleat_npy_read(&array, scratch("rows.npy"), &err), &err);
    assert_true(aleat_shape_equal(&array.shape, &shape));
    assert_memory_equal(array.data, want, sizeof want);
    aleat_tensor_clear(&array);
}

static void npy_rows_are_those_of_the_whole_array(void **state)
{
    (void)state;
    static const struct {
        const char *file, *member;
    } cases[] = {{"npy/f32_c.npy", NULL},
                 {"npy/i16_big_endian.npy", NULL},
                 {"npy/u16.npy", NULL},
                 {"npy/stored.npz", "arr_1"},
                 {"npy/deflated.npz", "arr_0"}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        aleat_error err = {0};
        aleat_npy_reader *reader;
        aleat_tensor all;
        const char *path = data_path(cases[k].file);
        if (cases[k].member)
            assert_ok(aleat_npz_read(&all, path, cases[k].member, &err), &err);
        else
            assert_ok(aleat_npy_read(&all, path, &err), &err);
        assert_ok(aleat_npy_reader_open(&reader, path, cases[k].member, &err), &err);
        assert_true(aleat_shape_equal(aleat_npy_reader_shape(reader), &all.shape));
        assert_int_equal(aleat_npy_reader_dtype(reader), all.dtype);
        const int64_t rows = all.shape.dim[0], row = aleat_tensor_count(&all) / rows;
        const size_t bytes = (size_t)row * aleat_dtype_size(all.dtype);
        void *own = calloc((size_t)row, sizeof(double));
        float *wide = calloc((size_t)row, sizeof *wide), *want = calloc((size_t)row, sizeof *want);
        for (int64_t i = 0; i < rows; i++) {
            const char *from = (const char *)all.data + (size_t)i * bytes;
            assert_ok(aleat_npy_reader_rows(reader, i, 1, all.dtype, own, &err), &err);
            assert_memory_equal(own, from, bytes);
            assert_ok(aleat_npy_reader_rows(reader, i, 1, ALEAT_F32, wide, &err), &err);
            aleat_convert_to_f32(want, from, all.dtype, row);
            assert_memory_equal(wide, want, (size_t)row * sizeof *want);
        }
        assert_ok(aleat_npy_reader_rows(reader, rows, 0, all.dtype, own, &err), &err);
        assert_failed(aleat_npy_reader_rows(reader, rows, 1, all.dtype, own, &err),
                      ALEAT_ERR_ARGUMENT, &err, "rows");
        assert_failed(aleat_npy_reader_rows(reader, -1, 1, all.dtype, own, &err),
                      ALEAT_ERR_ARGUMENT, &err, "rows");
        free(own);
        free(wide);
        free(want);
        aleat_npy_reader_free(reader);
        aleat_tensor_clear(&all);
    }
    aleat_error err = {0};
    aleat_npy_reader *reader;
    assert_failed(aleat_npy_reader_open(&reader, data_path("npy/f64_fortran.npy"), NULL, &err),
                  ALEAT_ERR_UNSUPPORTED, &err, "Fortran order");
    assert_failed(aleat_npy_reader_open(&reader, data_path("npy/scalar.npy"), NULL, &err),
                  ALEAT_ERR_SHAPE, &err, "scalar.npy");
    assert_failed(aleat_npy_reader_open(&reader, data_path("npy/stored.npz"), "arr_9", &err),
                  ALEAT_ERR_FORMAT, &err, "arr_9");
}

static void npz_reads_what_numpy_wrote(void **state)
{
    (void)state;
    aleat_tensor array;
    aleat_error err = {0};
    assert_ok(aleat_npz_read(&array, data_path("npy/stored.npz"), "arr_1", &err), &err);
    assert_true(array.dtype == ALEAT_I64 && ((int64_t *)array.data)[4] == 4);
    aleat_tensor_clear(&array);
    assert_ok(aleat_npz_read(&array, data_path("npy/deflated.npz"), "arr_0", &err), &err);
    assert_int_equal(aleat_tensor_count(&array), 1000);
    assert_true(aleat_tensor_f32(&array)[999] == 249);
    aleat_tensor_clear(&array);
    assert_failed(aleat_npz_read(&array, data_path("npy/stored.npz"), "arr_2", &err),
                  ALEAT_ERR_FORMAT, &err, "no array 'arr_2'");
}

static void npz_round_trip(const char *path, bool compress)
{
    static const unsigned char pixels[] = {1, 2, 3, 4, 5, 6};
    static float noise[50000];
    for (int i = 0; i < 50000; i++)
        noise[i] = (float)(i * i % 1013);
    const aleat_shape small = aleat_shape_of(2, (int64_t)2, (int64_t)3);
    const aleat_shape large = aleat_shape_of(1, (int64_t)50000),
                      none = aleat_shape_of(1, (int64_t)0);
    const aleat_named_array arrays[] = {
        {"arr_0", aleat_tensor_view(ALEAT_U8, &small, (void *)(uintptr_t)pixels)},
        {"maps/x", aleat_tensor_view(ALEAT_F32, &large, noise)},
        {"empty", aleat_tensor_view(ALEAT_I64, &none, NULL)},
    };
    aleat_error err = {0};
    aleat_tensor array;
    assert_ok(aleat_npz_write(path, arrays, 3, compress, &err), &err);
    assert_ok(aleat_npz_read(&array, path, "arr_0", &err), &err);
    assert_memory_equal(array.data, pixels, sizeof pixels);
    aleat_tensor_clear(&array);
    assert_ok(aleat_npz_read(&array, path, "maps/x", &err), &err);
    assert_memory_equal(array.data, noise, sizeof noise);
    aleat_tensor_clear(&array);
    assert_ok(aleat_npz_read(&array, path, "empty", &err), &err);
    assert_int_equal(aleat_tensor_count(&array), 0);
    aleat_tensor_clear(&array);
}

static void npz_comes_back_as_it_was_and_the_same_bytes_every_time(void **state)
{
    (void)state;
    npz_round_trip(scratch("a.npz"), false);
    npz_round_trip(scratch("b.npz"), false);
    assert_same_bytes(scratch("a.npz"), scratch("b.npz"));
    npz_round_trip(scratch("c.npz"), true);
    npz_round_trip(scratch("d.npz"), true);
    assert_same_bytes(scratch("c.npz"), scratch("d.npz"));
    struct stat stored, packed;
    assert_int_equal(stat(scratch("a.npz"), &stored) | stat(scratch("c.npz"), &packed), 0);
    assert_true(packed.st_size < stored.st_size / 2);
}

static void png_round_trip(int channels)
{
    uint8_t pixels[4 * 5 * 4];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = channels == 4 && i % 4 == 3 ? 255 : (uint8_t)(i * 37);
    const aleat_image image = {.width = 5, .height = 4, .channels = channels, .pixels = pixels};
    const aleat_png_text texts[] = {{"parameters", "a castle\nSteps: 20"},
                                    {"Title", "na\xc3\xafve"}};
    aleat_error err = {0};
    aleat_image again;
    char *text;
    assert_ok(aleat_png_write(scratch("x.png"), &image, texts, 2, &err), &err);
    assert_ok(aleat_png_read(&again, scratch("x.png"), &err), &err);
    assert_true(again.width == 5 && again.height == 4);
    assert_int_equal(again.channels, channels == 1 ? 1 : 3);
    for (int i = 0; i < 20; i++)
        assert_memory_equal(again.pixels + i * again.channels, pixels + i * channels,
                            (size_t)again.channels);
    aleat_image_clear(&again);
    for (int i = 0; i < 2; i++) {
        assert_ok(aleat_png_read_text(&text, scratch("x.png"), texts[i].key, &err), &err);
        assert_string_equal(text, texts[i].text);
        aleat_free(text);
    }
    assert_ok(aleat_png_read_text(&text, scratch("x.png"), "none", &err), &err);
    assert_null(text);
}

static void png_images_and_texts_come_back_as_they_were(void **state)
{
    (void)state;
    png_round_trip(1);
    png_round_trip(3);
    png_round_trip(4);
    aleat_error err = {0};
    uint8_t pixel = 0;
    const aleat_image image = {.width = 1, .height = 1, .channels = 1, .pixels = &pixel};
    const aleat_png_text wrong = {"", "x"};
    assert_failed(aleat_png_write(scratch("y.png"), &image, &wrong, 1, &err), ALEAT_ERR_ARGUMENT,
                  &err, "key");
}

// tEXt holds Latin-1, iTXt the rest; text that Latin-1 would make ambiguous is not put into it.
static void png_texts_are_latin1_where_they_can_be(void **state)
{
    (void)state;
    static const struct {
        const char *text, *chunk;
    } cases[] = {
        {"plain", "tEXtKey"},
        {"Katze \xc3\xbc"
         "ber B\xc3\xbc"
         "cher \xc2\xbd",
         "tEXtKey"},
        {"\xe6\x9d\xb1\xe4\xba\xac", "iTXtKey"},
        {"\xc3\x83\xc2\xa9", "iTXtKey"}, // in Latin-1 it would be the UTF-8 of e with an accent
        {"\xc2\x85", "iTXtKey"},         // a control character
    };
    uint8_t pixel = 0;
    const aleat_image image = {.width = 1, .height = 1, .channels = 1, .pixels = &pixel};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err = {0};
        aleat_mapping file;
        char *text;
        const aleat_png_text entry = {"Key", cases[i].text};
        assert_ok(aleat_png_write(scratch("t.png"), &image, &entry, 1, &err), &err);
        assert_ok(aleat_mapping_open(&file, scratch("t.png"), &err), &err);
        assert_non_null(memmem(file.data, file.len, cases[i].chunk, 7));
        aleat_mapping_close(&file);
        assert_ok(aleat_png_read_text(&text, scratch("t.png"), "Key", &err), &err);
        assert_string_equal(text, cases[i].text);
        aleat_free(text);
    }
}

static void png_texts_of_other_tools_are_found_wherever_they_stand(void **state)
{
    (void)state;
    static const struct {
        const char *name, *key, *begins, *contains;
    } cases[] = {
        {"png/a1111.png", "parameters", "a castle on a hill", "Seed: 1234567890"},
        {"png/a1111_itxt.png", "parameters", "", "\xc3"},            // UTF-8
        {"png/a1111_itxt_compressed.png", "parameters", "", "\xc3"}, // UTF-8
        {"png/a1111_ztxt_after_idat.png", "parameters", "", "Steps"},
        {"png/comfyui.png", "workflow", "{", "nodes"},
        {"png/sdcpp.png", "parameters", "", "stable-diffusion.cpp"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        aleat_error err = {0};
        char *text = NULL;
        assert_ok(aleat_png_read_text(&text, data_path(cases[k].name), cases[k].key, &err), &err);
        assert_non_null(text);
        assert_memory_equal(text, cases[k].begins, strlen(cases[k].begins));
        if (!strstr(text, cases[k].contains))
            fail_msg("%s: %s", cases[k].name, text);
        aleat_free(text);
    }
}

static void png_palette_and_transparency_become_rgb_over_black(void **state)
{
    (void)state;
    // Pixel (x, y) has index i = (x + y) % 16, colour (16 i, 255 - 16 i, i), alpha 17 i below 8.
    aleat_image image;
    aleat_error err = {0};
    assert_ok(aleat_png_read(&image, data_path("faults/palette_interlaced.png"), &err), &err);
    assert_true(image.width == 16 && image.height == 16 && image.channels == 3);
    for (int y = 0; y < 16; y++)
        for (int x = 0; x < 16; x++) {
            const int i = (x + y) % 16, alpha = i < 8 ? 17 * i : 255;
            const uint8_t *pixel = image.pixels + 3 * (16 * y + x);
            assert_int_equal(pixel[0], (16 * i * alpha + 127) / 255);
            assert_int_equal(pixel[1], ((255 - 16 * i) * alpha + 127) / 255);
            assert_int_equal(pixel[2], (i * alpha + 127) / 255);
        }
    aleat_image_clear(&image);
}

static void idx_is_read_plain_and_compressed(void **state)
{
    (void)state;
    static const char *const names[] = {"faults/small.idx", "faults/small.idx.gz"};
    for (int k = 0; k < 2; k++) {
        aleat_tensor array;
        aleat_error err = {0};
        assert_ok(aleat_idx_read(&array, data_path(names[k]), &err), &err);
        assert_true(array.dtype == ALEAT_I16 && array.shape.n_dims == 2);
        assert_true(array.shape.dim[0] == 3 && array.shape.dim[1] == 4);
        for (int i = 0; i < 12; i++)
            assert_int_equal(((int16_t *)array.data)[i], i - 3);
        aleat_tensor_clear(&array);
    }
    static const char *const fashion =
        "/usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz";
    if (!aleat_is_file(fashion))
        return;
    aleat_tensor labels;
    aleat_error err = {0};
    assert_ok(aleat_idx_read(&labels, fashion, &err), &err);
    assert_int_equal(aleat_tensor_count(&labels), 10000);
    assert_int_equal(*(uint8_t *)labels.data, 9); // the first test image is an ankle boot
    aleat_tensor_clear(&labels);
}

static void sha256_gives_the_digests_of_the_standard(void **state)
{
    (void)state;
    static const struct {
        const char *text, *digest;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char digest[ALEAT_SHA256_TEXT];
        aleat_sha256(digest, cases[i].text, strlen(cases[i].text));
        assert_string_equal(digest, cases[i].digest);
    }
    static char million[1000000];
    memset(million, 'a', sizeof million);
    char digest[ALEAT_SHA256_TEXT];
    aleat_error err = {0};
    assert_ok(aleat_write_file(scratch("million"), million, sizeof million, &err), &err);
    assert_ok(aleat_sha256_file(digest, scratch("million"), &err), &err);
    assert_string_equal(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void sha256_is_the_same_in_pieces_and_on_every_processor(void **state)
{
    (void)state;
    unsigned char bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        char whole[ALEAT_SHA256_TEXT], pieces[ALEAT_SHA256_TEXT];
        aleat_sha256_state sha;
        aleat_sha256(whole, bytes, len);
        setenv("ALEAT_ISA", "c", 1);
        aleat_sha256_begin(&sha);
        unsetenv("ALEAT_ISA");
        aleat_sha256_add(&sha, bytes, len / 3);
        aleat_sha256_add(&sha, bytes + len / 3, len - len / 3);
        aleat_sha256_end(&sha, pieces);
        assert_string_equal(whole, pieces);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_abandoned_write_leaves_the_old_file_and_nothing_else),
        cmocka_unit_test(a_full_disk_is_reported_and_leaves_the_old_file),
        cmocka_unit_test(a_device_is_written_to_not_replaced),
        cmocka_unit_test(wrong_paths_are_named),
        cmocka_unit_test(folders_are_made_with_their_parents),
        cmocka_unit_test(json_getters_read_what_is_there_and_keep_defaults),
        cmocka_unit_test(json_errors_name_file_key_and_both_types),
        cmocka_unit_test(json_syntax_errors_have_a_place),
        cmocka_unit_test(json_is_written_in_the_order_it_was_made),
        cmocka_unit_test(npy_reads_every_byte_order_and_layout),
        cmocka_unit_test(npy_reads_small_and_unsigned_arrays),
        cmocka_unit_test(npy_writes_the_bytes_that_numpy_writes),
        cmocka_unit_test(npy_rows_may_come_in_any_order_and_be_missing),
        cmocka_unit_test(npy_rows_are_those_of_the_whole_array),
        cmocka_unit_test(npz_reads_what_numpy_wrote),
        cmocka_unit_test(npz_comes_back_as_it_was_and_the_same_bytes_every_time),
        cmocka_unit_test(png_images_and_texts_come_back_as_they_were),
        cmocka_unit_test(png_texts_are_latin1_where_they_can_be),
        cmocka_unit_test(png_texts_of_other_tools_are_found_wherever_they_stand),
        cmocka_unit_test(png_palette_and_transparency_become_rgb_over_black),
        cmocka_unit_test(idx_is_read_plain_and_compressed),
        cmocka_unit_test(sha256_gives_the_digests_of_the_standard),
        cmocka_unit_test(sha256_is_the_same_in_pieces_and_on_every_processor),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
