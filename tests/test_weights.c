#include "io_fixture.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "io/file.h"
#include "io/json.h"
#include "io/weights.h"

static aleat_weights *open_ok(const char *path)
{
    aleat_weights *weights;
    aleat_error err = {0};
    assert_ok(aleat_weights_open(&weights, path, &err), &err);
    return weights;
}

static const char *torch_name(aleat_dtype dtype)
{
    static const char *const names[] = {
        [ALEAT_F32] = "float32",   [ALEAT_F64] = "float64", [ALEAT_F16] = "float16",
        [ALEAT_BF16] = "bfloat16", [ALEAT_U8] = "uint8",    [ALEAT_I8] = "int8",
        [ALEAT_I16] = "int16",     [ALEAT_I32] = "int32",   [ALEAT_I64] = "int64",
        [ALEAT_BOOL] = "bool",
    };
    return names[dtype];
}

// Compares name, type, shape, strides and all values of a tensor with what torch said.
static void assert_weight(const aleat_weight *got, const json_t *want)
{
    const json_t *shape = json_object_get(want, "shape"), *stride = json_object_get(want, "stride");
    const json_t *values = json_object_get(want, "values");
    assert_string_equal(got->name, json_string_value(json_object_get(want, "name")));
    assert_string_equal(torch_name(got->dtype), json_string_value(json_object_get(want, "dtype")));
    assert_int_equal(got->shape.n_dims, json_array_size(shape));
    for (int i = 0; i < got->shape.n_dims; i++) {
        assert_int_equal(got->shape.dim[i], json_integer_value(json_array_get(shape, (size_t)i)));
        if (json_array_size(values) > 0)
            assert_int_equal(got->stride[i], json_integer_value(json_array_get(stride, (size_t)i)));
    }
    float *read = aleat_calloc(json_array_size(values) + 1, sizeof *read);
    aleat_weight_to_f32(got, read);
    for (size_t i = 0; i < json_array_size(values); i++) // f64 and i64 round to f32 as C does
        assert_true(read[i] == (float)json_number_value(json_array_get(values, i)));
    aleat_free(read);
}

static void every_layout_of_torch_save_reads_as_torch_reads_it(void **state)
{
    (void)state;
    aleat_json expected;
    aleat_error err = {0};
    const char *name;
    json_t *list;
    assert_ok(aleat_json_load(&expected, data_path("pt_formats/expected.json"), &err), &err);
    assert_true(json_object_size(expected.root) >= 11);
    json_object_foreach(expected.root, name, list)
    {
        char path[64];
        snprintf(path, sizeof path, "pt_formats/%s", name);
        aleat_weights *weights = open_ok(data_path(path));
        assert_int_equal(aleat_weights_count(weights), json_array_size(list));
        for (int64_t i = 0; i < aleat_weights_count(weights); i++) {
            aleat_weight *weight = aleat_weights_at(weights, i);
            assert_weight(weight, json_array_get(list, (size_t)i));
            assert_ptr_equal(aleat_weights_find(weights, weight->name), weight);
        }
        assert_null(aleat_weights_find(weights, "no such tensor"));
        aleat_weights_free(weights);
    }
    aleat_json_clear(&expected);
}

static void assert_same_values(aleat_weights *a, aleat_weights *b)
{
    for (int64_t i = 0; i < aleat_weights_count(a); i++) {
        const aleat_weight *x = aleat_weights_at(a, i), *y = aleat_weights_find(b, x->name);
        int64_t n = 0;
        assert_non_null(y);
        assert_true(aleat_shape_equal(&x->shape, &y->shape) && aleat_shape_count(&x->shape, &n));
        float *u = aleat_calloc((size_t)n + 1, sizeof *u),
              *v = aleat_calloc((size_t)n + 1, sizeof *v);
        aleat_weight_to_f32(x, u);
        aleat_weight_to_f32(y, v);
        assert_memory_equal(u, v, (size_t)n * sizeof *u);
        aleat_free(u);
        aleat_free(v);
    }
}

static void deflated_and_zip64_archives_hold_the_same_tensors(void **state)
{
    (void)state;
    static const char *const names[] = {"faults/deflated.pt", "faults/zip64.pt"};
    aleat_weights *plain = open_ok(data_path("pt_formats/zip_views.pt"));
    for (int i = 0; i < 2; i++) {
        aleat_weights *other = open_ok(data_path(names[i]));
        assert_int_equal(aleat_weights_count(other), aleat_weights_count(plain));
        assert_same_values(plain, other);
        assert_int_equal(aleat_weights_at(other, 0)->mapped, i == 1); // inflated ones are copies
        aleat_weights_free(other);
    }
    aleat_weights_free(plain);
}

static const char *const formats_folder = "ref/ddpm-unet-formats";

// Path of a file beside the repository, or a skipped test.
static const char *shared_path(const char *name)
{
    const char *shared = getenv("ALEAT_SHARED");
    const char *path = fixture_path(shared ? shared : "../shared", name);
    if (access(path, R_OK)) {
        print_message("skipped: no %s\n", path);
        skip();
    }
    return path;
}

static void all_formats_of_one_model_hold_the_same_values(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"flat-oldkeys/diffusion_pytorch_model.bin",
         "flat-oldkeys/diffusion_pytorch_model.safetensors"},
        {"flat-legacy-bin/diffusion_pytorch_model.bin",
         "flat-oldkeys/diffusion_pytorch_model.safetensors"},
        {"flat-fp16/diffusion_pytorch_model.fp16.bin",
         "flat-fp16/diffusion_pytorch_model.fp16.safetensors"},
        {"bare-bf16/diffusion_pytorch_model.bf16.bin",
         "bare-bf16/diffusion_pytorch_model.bf16.safetensors"},
        {"bare-views-bin/diffusion_pytorch_model.bin",
         "pipeline-newkeys/unet/diffusion_pytorch_model.safetensors"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char name[2][128];
        for (int k = 0; k < 2; k++)
            snprintf(name[k], sizeof name[k], "%s/%s", formats_folder, pairs[i][k]);
        aleat_weights *a = open_ok(shared_path(name[0])), *b = open_ok(shared_path(name[1]));
        assert_same_values(b, a); // the .bin may hold more
        aleat_weights_free(a);
        aleat_weights_free(b);
    }
}

static void published_checkpoints_open(void **state)
{
    (void)state;
    static const struct {
        const char *name, *format, *tensor;
        int64_t count;
    } cases[] = {
        {"data/cifar10-resnet/resnet20-12fca82f.th", "torch legacy", "module.conv1.weight", 0},
        {"data/third-party/ddpm-mnist-brianpulfer/ddpm_fashion.pt", "torch zip", NULL, 0},
        {"data/third-party/flow-mnist-dominguez/MNIST_DiffusionViT.pth", "torch zip", NULL, 0},
        {"ref/adm64_new_cond/64x64_diffusion.pt", "torch zip", "time_embed.0.weight", 0},
        {"ref/adm_uncond_plain/uncond_plain.pt", "torch zip", "time_embed.0.weight", 0},
        {"ref/uvit_large256/imagenet256_uvit_large.pth", "torch legacy", "pos_embed", 0},
        {"ref/vae_kl/autoencoder_kl.pth", "torch zip", "encoder.conv_in.weight", 0},
        {"ref/sd3-tiny/model/text_encoder_3/model.safetensors.index.json", "safetensors",
         "shared.weight", 21},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_weights *weights = open_ok(shared_path(cases[i].name));
        assert_string_equal(aleat_weights_format(weights), cases[i].format);
        assert_true(aleat_weights_count(weights) > 5);
        if (cases[i].count)
            assert_int_equal(aleat_weights_count(weights), cases[i].count);
        if (cases[i].tensor)
            assert_non_null(aleat_weights_find(weights, cases[i].tensor));
        aleat_weights_free(weights);
    }
}

// Writes a safetensors file with this header and data section into the scratch folder.
static const char *write_safetensors(const char *name, const char *header, const void *data,
                                     size_t len)
{
    static char bytes[4096];
    aleat_error err = {0};
    const uint64_t header_len = strlen(header);
    memcpy(bytes, &header_len, 8);
    memcpy(bytes + 8, header, header_len);
    if (len)
        memcpy(bytes + 8 + header_len, data, len);
    assert_ok(aleat_write_file(scratch(name), bytes, 8 + header_len + len, &err), &err);
    return scratch(name);
}

static void damaged_safetensors_headers_name_the_tensor(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        aleat_status status;
        const char *message;
    } cases[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}", ALEAT_ERR_FORMAT,
         "x.safetensors: tensor 'a': bytes 0..12 of 8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", ALEAT_ERR_FORMAT,
         "tensor 'a': 8 bytes do not fit its shape [3] of f32"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,4]}}", ALEAT_ERR_FORMAT,
         "tensor 'a': bytes 8..4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", ALEAT_ERR_FORMAT,
         "dimension 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
         ALEAT_ERR_FORMAT, "do not fit"},
        {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[8],\"data_offsets\":[0,8]}}",
         ALEAT_ERR_UNSUPPORTED, "F8_E4M3"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[6],\"data_offsets\":[0,6]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}",
         ALEAT_ERR_FORMAT, "tensors 'a' and 'b' overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
         ALEAT_ERR_FORMAT, "duplicate"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}",
         ALEAT_ERR_FORMAT, "at most 8 dimensions"},
        {"{\"a\":[]}", ALEAT_ERR_FORMAT, "tensor 'a': no dtype"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_weights *weights;
        aleat_error err = {0};
        const char *path = write_safetensors("x.safetensors", cases[i].header, "01234567", 8);
        assert_failed(aleat_weights_open(&weights, path, &err), cases[i].status, &err,
                      cases[i].message);
        assert_null(weights);
    }
}

static void tensors_need_no_alignment(void **state)
{
    (void)state;
    unsigned char data[13];
    const float values[] = {1.5f, -2.0f, 0.25f};
    data[0] = 7;
    memcpy(data + 1, values, sizeof values);
    aleat_weights *weights = open_ok(
        write_safetensors("odd.safetensors",
                          "{\"u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                          "\"f\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[1,13]}}",
                          data, sizeof data));
    float read[3];
    aleat_weight_to_f32(aleat_weights_find(weights, "f"), read);
    assert_memory_equal(read, values, sizeof values);
    assert_false(aleat_weights_at(weights, 0)->used);
    assert_true(aleat_weights_take(weights, "u")->used && aleat_weights_at(weights, 0)->used);
    aleat_weights_free(weights);
}

static void an_index_opens_its_shards_and_must_keep_its_word(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_weights *weights;
    (void)write_safetensors("m-1.safetensors",
                            "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", "x",
                            1);
    (void)write_safetensors("m-2.safetensors",
                            "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", "y",
                            1);
    static const struct {
        const char *json;
        aleat_status status;
        const char *message;
    } cases[] = {
        {"{\"weight_map\": {\"a\": \"m-1.safetensors\", \"b\": \"m-2.safetensors\"}}", ALEAT_OK,
         ""},
        {"{\"weight_map\": {\"a\": \"m-1.safetensors\", \"c\": \"m-1.safetensors\"}}",
         ALEAT_ERR_FORMAT, "tensor 'c' is not in m-1.safetensors"},
        {"{\"weight_map\": {\"a\": \"../m-1.safetensors\"}}", ALEAT_ERR_FORMAT, "no file"},
        {"{\"weight_map\": {\"a\": \"m-3.safetensors\"}}", ALEAT_ERR_IO, "m-3.safetensors"},
        {"{\"weight_map\": []}", ALEAT_ERR_FORMAT, "an array"},
        {"{}", ALEAT_ERR_FORMAT, "weight_map"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_ok(aleat_write_file(scratch("m.safetensors.index.json"), cases[i].json,
                                   strlen(cases[i].json), &err),
                  &err);
        const aleat_status st =
            aleat_weights_open(&weights, scratch("m.safetensors.index.json"), &err);
        assert_failed(st, cases[i].status, &err, cases[i].message);
        if (!st) {
            assert_int_equal(aleat_weights_count(weights), 2);
            assert_int_equal(*(const char *)aleat_weights_find(weights, "b")->data, 'y');
        }
        aleat_weights_free(weights);
    }
}

static void digest_of(const char *name, char digest[ALEAT_SHA256_TEXT])
{
    aleat_error err = {0};
    aleat_weights *weights;
    assert_ok(aleat_weights_open(&weights, scratch(name), &err), &err);
    aleat_weights_sha256(weights, digest);
    aleat_weights_free(weights);
}

// A run that is resumed must notice other weights behind the same index.
static void a_digest_is_that_of_the_file_or_of_all_shards(void **state)
{
    (void)state;
    static const char header[] = "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
    static const char index[] =
        "{\"weight_map\": {\"a\": \"d-1.safetensors\", \"b\": \"d-2.safetensors\"}}";
    char first[128], second[128], file[ALEAT_SHA256_TEXT], one[ALEAT_SHA256_TEXT],
        before[ALEAT_SHA256_TEXT], after[ALEAT_SHA256_TEXT];
    (void)snprintf(first, sizeof first, header, "a");
    (void)snprintf(second, sizeof second, header, "b");
    (void)write_safetensors("d-1.safetensors", first, "x", 1);
    (void)write_safetensors("d-2.safetensors", second, "y", 1);
    assert_int_equal(
        aleat_write_file(scratch("d.safetensors.index.json"), index, strlen(index), NULL),
        ALEAT_OK);
    assert_int_equal(aleat_sha256_file(file, scratch("d-1.safetensors"), NULL), ALEAT_OK);
    digest_of("d-1.safetensors", one);
    assert_string_equal(one, file);
    digest_of("d.safetensors.index.json", before);
    (void)write_safetensors("d-2.safetensors", second, "z", 1);
    digest_of("d.safetensors.index.json", after);
    assert_string_not_equal(before, after);
}

static void a_folder_opens_by_the_names_that_diffusers_uses(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_weights *weights;
    const char *folder = data_path("checkpoints"), *stem = "diffusion_pytorch_model";
    assert_ok(aleat_weights_open_folder(&weights, folder, stem, NULL, &err), &err);
    assert_int_equal(aleat_weights_at(weights, 0)->dtype, ALEAT_F16);
    aleat_weights_free(weights);
    assert_ok(aleat_weights_open_folder(&weights, folder, stem, "bf16", &err), &err);
    assert_int_equal(aleat_weights_at(weights, 0)->dtype, ALEAT_BF16);
    assert_non_null(strstr(aleat_weights_path(weights), "model.bf16.safetensors"));
    aleat_weights_free(weights);
    assert_failed(aleat_weights_open_folder(&weights, folder, stem, "fp8", &err), ALEAT_ERR_IO,
                  &err, "model.fp8.safetensors");
    assert_non_null(strstr(err.hint, "variant"));
}

static void what_is_no_checkpoint_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        aleat_status status;
        const char *message;
    } cases[] = {
        {"", 0, ALEAT_ERR_FORMAT, "not a file of weights"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, ALEAT_ERR_FORMAT, "not a file"},
        {"PK\3\4 and then nothing", 21, ALEAT_ERR_FORMAT, "end record"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_weights *weights;
        aleat_error err = {0};
        assert_failed(
            aleat_weights_open_memory(&weights, cases[i].bytes, cases[i].len, "w.pt", &err),
            cases[i].status, &err, cases[i].message);
        assert_true(err.hint[0] != '\0');
    }
}

/*
 * A legacy torch file whose object is the given pickle: the front end of every attack on readers
 * of pickles.
 */
static aleat_status open_pickle(const char *object, size_t len, aleat_error *err)
{
    static const char front[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
                                "\x80\x02M\xe9\x03."
                                "\x80\x02}.";
    static const char back[] = "\x80\x02]."; // no storages
    static char bytes[1 << 16];
    aleat_weights *weights;
    memcpy(bytes, front, sizeof front - 1);
    memcpy(bytes + sizeof front - 1, object, len);
    memcpy(bytes + sizeof front - 1 + len, back, sizeof back - 1);
    const aleat_status st = aleat_weights_open_memory(
        &weights, bytes, sizeof front - 1 + len + sizeof back - 1, "evil.pt", err);
    aleat_weights_free(weights);
    return st;
}

static void pickles_that_want_to_run_code_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *pickle;
        aleat_status status;
        const char *message;
    } cases[] = {
        {"\x80\x02"
         "cposix\nsystem\nX\x02",
         ALEAT_ERR_UNSUPPORTED, "'posix.system'"},
        {"\x80\x02"
         "cbuiltins\neval\n(tR.",
         ALEAT_ERR_UNSUPPORTED, "'builtins.eval'"},
        {"\x80\x02"
         "ctorch\nload\n)R.",
         ALEAT_ERR_UNSUPPORTED, "'torch.load'"},
        {"\x80\x02(X\x01i.", ALEAT_ERR_FORMAT, "ends early"},
        {"\x80\x02(ios\nsystem\n.", ALEAT_ERR_UNSUPPORTED, "opcode 0x69"}, // INST
        {"\x80\x02"
         "P0\n.",
         ALEAT_ERR_UNSUPPORTED, "opcode 0x50"},                      // PERSID
        {"\x80\x02\x82\x01.", ALEAT_ERR_UNSUPPORTED, "opcode 0x82"}, // EXT1
        {"\x80\x02h\x07.", ALEAT_ERR_FORMAT, "no value 7"},
        {"\x80\x02NN\x85R.", ALEAT_ERR_FORMAT, "no function"},
        {"\x80\x02R.", ALEAT_ERR_FORMAT, "wrong kind"},
        {"\x80\x02(.", ALEAT_ERR_FORMAT, "wrong kind"},
        {"\x80\x09.", ALEAT_ERR_UNSUPPORTED, "protocol 9"},
        {"\x80\x02K\x01Q.", ALEAT_ERR_UNSUPPORTED, "persistent id"},
        {"\x80\x02}.", ALEAT_ERR_FORMAT, "without a dict of tensors"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err = {0};
        assert_failed(open_pickle(cases[i].pickle, strlen(cases[i].pickle), &err), cases[i].status,
                      &err, cases[i].message);
    }
}

static void dicts_that_contain_one_another_end_in_an_error(void **state)
{
    (void)state;
    aleat_error err = {0};
    static const char itself[] = "\x80\x02}q\x01X\x01\0\0\0ah\x01s."; // d = {}; d["a"] = d
    assert_failed(open_pickle(itself, sizeof itself - 1, &err), ALEAT_ERR_FORMAT, &err,
                  "contain one another");
    // Thirty levels of {"a": d, "b": d}: a billion paths in 600 bytes.
    static char laughs[4096];
    size_t len = 0;
    memcpy(laughs, "\x80\x02}q\x01", 5);
    len = 5;
    for (int level = 0; level < 30; level++) {
        static const char two[] = "0}(X\x01\0\0\0ah\x01X\x01\0\0\0bh\x01uq\x01";
        memcpy(laughs + len, two, sizeof two - 1);
        len += sizeof two - 1;
    }
    laughs[len++] = '.';
    assert_failed(open_pickle(laughs, len, &err), ALEAT_ERR_FORMAT, &err, "contain one another");
}

static void a_pickle_may_not_ask_for_more_memory_than_its_size_allows(void **state)
{
    (void)state;
    // OrderedDict(list of 2000 pairs), built again and again from the same list: 64 KB a call.
    static char bomb[1 << 15];
    aleat_error err = {0};
    size_t len = 0;
    memcpy(bomb, "\x80\x02]q\x01(", 6);
    len = 6;
    for (int i = 0; i < 2000; i++, len += 3)
        memcpy(bomb + len, "NN\x86", 3);
    memcpy(bomb + len,
           "e\x85q\x02"
           "0ccollections\nOrderedDict\nq\x03"
           "0",
           32);
    len += 32;
    while (len < sizeof bomb - 8) {
        memcpy(bomb + len, "h\x03h\x02R", 5);
        len += 5;
    }
    bomb[len++] = '.';
    const uint64_t before = aleat_alloc_bytes();
    assert_failed(open_pickle(bomb, len, &err), ALEAT_ERR_FORMAT, &err, "MiB");
    assert_int_equal(aleat_alloc_bytes(), before);
}

static void opening_does_not_read_the_tensors(void **state)
{
    (void)state;
    // 143 MB of holes: what is not written needs no disk, what is not read no time.
    const int64_t n = 35700000;
    char header[200];
    aleat_error err = {0};
    snprintf(header, sizeof header,
             "{\"w\":{\"dtype\":\"F32\",\"shape\":[%lld],\"data_offsets\":[0,%lld]}}", (long long)n,
             (long long)n * 4);
    const char *path = write_safetensors("large.safetensors", header, NULL, 0);
    assert_int_equal(truncate(path, (off_t)(8 + strlen(header)) + n * 4), 0);
    const uint64_t before = aleat_alloc_bytes();
    aleat_weights *weights = NULL;
    const double begin = aleat_clock();
    assert_ok(aleat_weights_open(&weights, path, &err), &err);
    assert_true(aleat_clock() - begin < 0.05); // reading 143 MB takes longer even from memory
    assert_true(aleat_alloc_bytes() - before < 100000);
    aleat_weight_forget(aleat_weights_at(weights, 0));
    aleat_weights_free(weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout_of_torch_save_reads_as_torch_reads_it),
        cmocka_unit_test(deflated_and_zip64_archives_hold_the_same_tensors),
        cmocka_unit_test(all_formats_of_one_model_hold_the_same_values),
        cmocka_unit_test(published_checkpoints_open),
        cmocka_unit_test(damaged_safetensors_headers_name_the_tensor),
        cmocka_unit_test(tensors_need_no_alignment),
        cmocka_unit_test(an_index_opens_its_shards_and_must_keep_its_word),
        cmocka_unit_test(a_digest_is_that_of_the_file_or_of_all_shards),
        cmocka_unit_test(a_folder_opens_by_the_names_that_diffusers_uses),
        cmocka_unit_test(what_is_no_checkpoint_is_refused_with_a_reason),
        cmocka_unit_test(pickles_that_want_to_run_code_are_refused_by_name),
        cmocka_unit_test(dicts_that_contain_one_another_end_in_an_error),
        cmocka_unit_test(a_pickle_may_not_ask_for_more_memory_than_its_size_allows),
        cmocka_unit_test(opening_does_not_read_the_tensors),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
