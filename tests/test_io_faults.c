/*
 * What goes wrong around io: memory that runs out at every single allocation, and files that are
 * cut off or damaged anywhere.
 */
#include "io_fixture.h"

#include "base/alloc.h"
#include "io/file.h"
#include "io/idx.h"
#include "io/json.h"
#include "io/npy.h"
#include "io/png_image.h"
#include "io/sha256.h"
#include "io/weights.h"

// Bytes of a file of tests/data, in a block of exactly their size, so that ASan sees an overrun.
typedef struct bytes {
    unsigned char *data;
    size_t len;
} bytes;

static bytes load(const char *name)
{
    aleat_mapping file;
    aleat_error err = {0};
    assert_ok(aleat_mapping_open(&file, data_path(name), &err), &err);
    bytes copy = {malloc(file.len), file.len};
    assert_non_null(copy.data);
    memcpy(copy.data, file.data, file.len);
    aleat_mapping_close(&file);
    return copy;
}

// Each reader of one format: from memory, and everything released again.
typedef aleat_status reader(const unsigned char *data, size_t len, aleat_error *err);

static aleat_status read_weights(const unsigned char *data, size_t len, aleat_error *err)
{
    aleat_weights *weights;
    float values[512];
    const aleat_status st = aleat_weights_open_memory(&weights, data, len, "file", err);
    for (int64_t i = 0; !st && i < aleat_weights_count(weights); i++) {
        const aleat_weight *weight = aleat_weights_at(weights, i);
        int64_t count = 0;
        assert_true(aleat_shape_count(&weight->shape, &count));
        if (count <= 512)
            aleat_weight_to_f32(weight, values);
    }
    aleat_weights_free(weights);
    return st;
}

static aleat_status read_json(const unsigned char *data, size_t len, aleat_error *err)
{
    aleat_json json;
    double value;
    aleat_status st = aleat_json_parse(&json, data, len, "file", err);
    if (!st)
        st = aleat_json_double(&json, "beta_start", &value, err);
    aleat_json_clear(&json);
    return st;
}

// A file with these bytes, for readers that take a path; without the sync of aleat_write_file(),
// since there are thousands.
static const char *put(const unsigned char *data, size_t len)
{
    FILE *file = fopen(scratch("input"), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    return scratch("input");
}

static aleat_status read_npy(const unsigned char *data, size_t len, aleat_error *err)
{
    aleat_tensor array;
    const aleat_status st = aleat_npy_read(&array, put(data, len), err);
    aleat_tensor_clear(&array);
    return st;
}

static aleat_status read_npz(const unsigned char *data, size_t len, aleat_error *err)
{
    aleat_tensor array;
    const aleat_status st = aleat_npz_read(&array, put(data, len), "arr_0", err);
    aleat_tensor_clear(&array);
    return st;
}

static aleat_status read_png(const unsigned char *data, size_t len, aleat_error *err)
{
    aleat_image image;
    char *text;
    aleat_status st = aleat_png_read_memory(&image, data, len, err);
    aleat_image_clear(&image);
    if (!st)
        st = aleat_png_text_memory(&text, data, len, "parameters", err);
    if (!st)
        aleat_free(text);
    return st;
}

static aleat_status read_idx(const unsigned char *data, size_t len, aleat_error *err)
{
    aleat_tensor array;
    const aleat_status st = aleat_idx_parse(&array, data, len, err);
    aleat_tensor_clear(&array);
    return st;
}

// Small real files of every format.
static const struct {
    const char *name;
    reader *read;
} files[] = {
    {"pt_formats/zip_views.pt", read_weights},
    {"pt_formats/zip_proto4.pt", read_weights},
    {"pt_formats/zip_nested.ckpt", read_weights},
    {"pt_formats/legacy_views.pth", read_weights},
    {"pt_formats/legacy_ordereddict.pth", read_weights},
    {"faults/small.safetensors", read_weights},
    {"faults/deflated.pt", read_weights},
    {"faults/zip64.pt", read_weights},
    {"faults/scheduler_config.json", read_json},
    {"npy/f64_fortran.npy", read_npy},
    {"npy/stored.npz", read_npz},
    {"npy/deflated.npz", read_npz},
    {"png/a1111_ztxt_after_idat.png", read_png},
    {"png/a1111_itxt_compressed.png", read_png},
    {"faults/palette_interlaced.png", read_png},
    {"faults/small.idx.gz", read_idx},
    {"faults/small.idx", read_idx},
};
enum { N_FILES = sizeof files / sizeof *files };

static void whole_files_read_without_error(void **state)
{
    (void)state;
    for (int i = 0; i < N_FILES; i++) {
        aleat_error err = {0};
        const bytes file = load(files[i].name);
        assert_ok(files[i].read(file.data, file.len, &err), &err);
        free(file.data);
    }
}

static void every_truncation_is_an_error_with_a_message(void **state)
{
    (void)state;
    for (int i = 0; i < N_FILES; i++) {
        const bytes file = load(files[i].name);
        for (size_t len = 0; len < file.len; len += len < 600 ? 1 : 37) {
            aleat_error err = {0};
            unsigned char *cut = malloc(len ? len : 1); // its own block: ASan guards its end
            assert_non_null(cut);
            memcpy(cut, file.data, len);
            const aleat_status st = files[i].read(cut, len, &err);
            if (!st)
                fail_msg("%s: the first %zu bytes read without error", files[i].name, len);
            assert_true(st == ALEAT_ERR_FORMAT || st == ALEAT_ERR_UNSUPPORTED);
            assert_true(err.message[0] != '\0');
            free(cut);
        }
        free(file.data);
    }
}

static void flipped_bits_give_an_error_or_a_valid_result(void **state)
{
    (void)state;
    for (int i = 0; i < N_FILES; i++) {
        const bytes file = load(files[i].name);
        for (size_t at = 0; at < file.len; at += at < 1000 ? 1 : 13)
            for (int bit = 0; bit < 8; bit += 1 + (int)(at % 3)) {
                aleat_error err = {0};
                file.data[at] ^= (unsigned char)(1u << bit);
                const aleat_status st = files[i].read(file.data, file.len, &err);
                file.data[at] ^= (unsigned char)(1u << bit);
                if (st == ALEAT_ERR_MEMORY) // a claimed size must be refused, not tried
                    fail_msg("%s: byte %zu, bit %d: %s", files[i].name, at, bit, err.message);
            }
        free(file.data);
    }
}

static void a_checksum_finds_any_damage_to_an_array_of_an_npz(void **state)
{
    (void)state;
    aleat_error err = {0};
    const bytes file = load("npy/stored.npz");
    const unsigned char pixels_of_arr_0[] = {0, 1, 2, 3, 4, 5};
    unsigned char *at = memmem(file.data, file.len, pixels_of_arr_0, sizeof pixels_of_arr_0);
    assert_non_null(at);
    for (size_t i = 0; i < sizeof pixels_of_arr_0; i++) {
        at[i] ^= 0x10;
        assert_failed(read_npz(file.data, file.len, &err), ALEAT_ERR_FORMAT, &err, "checksum");
        at[i] ^= 0x10;
    }
    free(file.data);
}

static void zip_entries_inside_one_another_are_refused(void **state)
{
    (void)state;
    aleat_error err = {0};
    const bytes file = load("faults/overlap.pt");
    assert_failed(read_weights(file.data, file.len, &err), ALEAT_ERR_FORMAT, &err,
                  "'x/data.pkl': overlaps");
    free(file.data);
}

// One public call each, with real inputs; allocations fail one after the other.
static aleat_status open_folder(aleat_error *err)
{
    aleat_weights *weights;
    const aleat_status st = aleat_weights_open_folder(&weights, data_path("checkpoints"),
                                                      "diffusion_pytorch_model", "bf16", err);
    aleat_weights_free(weights);
    return st;
}

static aleat_status open_index(aleat_error *err)
{
    aleat_weights *weights;
    const aleat_status st = aleat_weights_open(&weights, scratch("index.json"), err);
    aleat_weights_free(weights);
    return st;
}

static aleat_status load_json(aleat_error *err)
{
    aleat_json json, sub;
    aleat_status st = aleat_json_load(&json, scratch("index.json"), err);
    if (!st) {
        st = aleat_json_object(&json, "weight_map", &sub, err);
        aleat_json_clear(&sub);
    }
    aleat_json_clear(&json);
    return st;
}

static aleat_status write_json(aleat_error *err)
{
    json_t *value = json_pack("{s:i}", "a", 1);
    const aleat_status st = aleat_json_write(scratch("faults.json"), value, err);
    json_decref(value);
    return st;
}

static float pixels[64];

static aleat_status write_npy(aleat_error *err)
{
    const aleat_shape shape = aleat_shape_of(2, (int64_t)8, (int64_t)8);
    const aleat_tensor array = aleat_tensor_view(ALEAT_F32, &shape, pixels);
    return aleat_npy_write(scratch("faults.npy"), &array, err);
}

static aleat_status read_npy_f32(aleat_error *err)
{
    aleat_tensor array;
    const aleat_status st = aleat_npy_read_f32(&array, data_path("npy/f64_fortran.npy"), err);
    aleat_tensor_clear(&array);
    return st;
}

static aleat_status write_npz(aleat_error *err)
{
    const aleat_shape shape = aleat_shape_of(2, (int64_t)8, (int64_t)8);
    const aleat_named_array array = {"a", aleat_tensor_view(ALEAT_F32, &shape, pixels)};
    const aleat_status st = aleat_npz_write(scratch("faults.npz"), &array, 1, false, err);
    return st ? st : aleat_npz_write(scratch("faults.npz"), &array, 1, true, err);
}

static aleat_status read_npz_file(aleat_error *err)
{
    aleat_tensor array;
    const aleat_status st = aleat_npz_read(&array, data_path("npy/deflated.npz"), "arr_0", err);
    aleat_tensor_clear(&array);
    return st;
}

static aleat_status write_png(aleat_error *err)
{
    const aleat_image image = {.width = 8, .height = 8, .channels = 4, .pixels = (uint8_t *)pixels};
    const aleat_png_text text[] = {{"a", "b"}, {"c", "\xc3\xa4"}};
    return aleat_png_write(scratch("faults.png"), &image, text, 2, err);
}

static aleat_status read_png_file(aleat_error *err)
{
    aleat_image image;
    const aleat_status st = aleat_png_read(&image, data_path("faults/palette_interlaced.png"), err);
    aleat_image_clear(&image);
    return st;
}

static aleat_status read_png_text(aleat_error *err)
{
    char *text;
    const aleat_status st =
        aleat_png_read_text(&text, data_path("png/a1111_itxt_compressed.png"), "parameters", err);
    if (!st) // a chunk must not vanish because there was no memory for it
        assert_non_null(text);
    aleat_free(text);
    return st;
}

static aleat_status read_idx_file(aleat_error *err)
{
    aleat_tensor array;
    const aleat_status st = aleat_idx_read(&array, data_path("faults/small.idx.gz"), err);
    aleat_tensor_clear(&array);
    return st;
}

static aleat_status make_dirs(aleat_error *err)
{
    return aleat_make_dirs(scratch("deep/er"), err);
}

static aleat_status write_file(aleat_error *err)
{
    return aleat_write_file(scratch("faults.txt"), "x", 1, err);
}

static aleat_status hash_file(aleat_error *err)
{
    char digest[ALEAT_SHA256_TEXT];
    return aleat_sha256_file(digest, data_path("faults/small.idx"), err);
}

typedef aleat_status public_call(aleat_error *err);

static void fail_each_allocation(const char *name, public_call *call)
{
    const uint64_t before = aleat_alloc_bytes();
    for (uint64_t n = 1;; n++) {
        aleat_error err = {0};
        const uint64_t count = aleat_alloc_count();
        aleat_alloc_fail_at(n);
        const aleat_status st = call(&err);
        aleat_alloc_fail_at(0);
        if (aleat_alloc_bytes() != before)
            fail_msg("%s: leaks when allocation %d fails", name, (int)n);
        const bool reached = aleat_alloc_count() - count >= n;
        if (reached && st != ALEAT_ERR_MEMORY)
            fail_msg("%s: allocation %d failed, the call says %s (%s)", name, (int)n,
                     aleat_status_name(st), err.message);
        if (!reached) {
            assert_ok(st, &err);
            return;
        }
    }
}

static void every_call_survives_every_failing_allocation(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        public_call *call;
    } calls[] = {
        {"weights_open_folder", open_folder},
        {"weights_open, index", open_index},
        {"json_load", load_json},
        {"json_write", write_json},
        {"npy_write", write_npy},
        {"npy_read_f32", read_npy_f32},
        {"npz_write", write_npz},
        {"npz_read", read_npz_file},
        {"png_write", write_png},
        {"png_read", read_png_file},
        {"png_read_text", read_png_text},
        {"idx_read", read_idx_file},
        {"make_dirs", make_dirs},
        {"write_file", write_file},
        {"sha256_file", hash_file},
    };
    aleat_error err = {0};
    const bytes shard = load("faults/small.safetensors");
    assert_ok(aleat_write_file(scratch("shard"), shard.data, shard.len, &err), &err);
    free(shard.data);
    static const char index[] = "{\"weight_map\": {\"a\": \"shard\", \"b\": \"shard\"}}";
    assert_ok(aleat_write_file(scratch("index.json"), index, sizeof index - 1, &err), &err);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        fail_each_allocation(calls[i].name, calls[i].call);
}

// The file whose reader is on trial; public_call has no room for it.
static struct {
    reader *read;
    bytes file;
} on_trial;

static aleat_status read_on_trial(aleat_error *err)
{
    return on_trial.read(on_trial.file.data, on_trial.file.len, err);
}

static void every_checkpoint_reader_survives_every_failing_allocation(void **state)
{
    (void)state;
    for (int i = 0; i < N_FILES; i++) {
        if (files[i].read != read_weights)
            continue;
        on_trial.read = files[i].read;
        on_trial.file = load(files[i].name);
        fail_each_allocation(files[i].name, read_on_trial);
        free(on_trial.file.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_files_read_without_error),
        cmocka_unit_test(every_truncation_is_an_error_with_a_message),
        cmocka_unit_test(flipped_bits_give_an_error_or_a_valid_result),
        cmocka_unit_test(a_checksum_finds_any_damage_to_an_array_of_an_npz),
        cmocka_unit_test(zip_entries_inside_one_another_are_refused),
        cmocka_unit_test(every_call_survives_every_failing_allocation),
        cmocka_unit_test(every_checkpoint_reader_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
