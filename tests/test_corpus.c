/*
 * Damaged and hostile checkpoints, systematically: whole models are opened from them, in this
 * process (leaks) and by the tool (memory, crashes, exit codes).
 */
#include "checkpoint.h"
#include "io_fixture.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <zlib.h>

#include "aleat/aleat.h"
#include "base/alloc.h"

#define KB 1024
#define MB (1024 * KB)

#if defined(__SANITIZE_ADDRESS__)
enum { MEASURED = 0 }; // its shadow and quarantine are the greater part
#else
enum { MEASURED = 1 };
#endif

typedef struct bytes {
    unsigned char *data;
    size_t len;
} bytes;

static bytes load(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    bytes b = {malloc(MB), 0};
    assert_non_null(b.data);
    b.len = fread(b.data, 1, MB, file);
    (void)fclose(file);
    assert_true(b.len > 0 && b.len < MB);
    return b;
}

static const char *store(const char *name, const void *data, size_t len)
{
    const char *path = scratch(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* ---- in this process ------------------------------------------------------------------------- */

// Lists the tensors, reads each, and opens the model and the autoencoder that it may be.
static aleat_status open_in_every_way(const char *path, aleat_error *err)
{
    aleat_checkpoint *file;
    aleat_model *model;
    aleat_vae *vae;
    const aleat_open_options heads = {.heads = 2, .threads = 1};
    const aleat_status st = aleat_checkpoint_open(&file, path, err);
    if (st) {
        assert_true(err->message[0] != '\0');
        assert_non_null(strstr(err->message, "corpus"));
    } else {
        const int64_t n = aleat_checkpoint_describe(file).n_tensors;
        for (int64_t i = 0; i < n; i++) {
            aleat_array values;
            if (!aleat_checkpoint_read(file, aleat_checkpoint_tensor(file, i).name, &values, NULL))
                aleat_array_clear(&values);
        }
    }
    aleat_checkpoint_close(file);
    if (!aleat_model_open(&model, path, &heads, NULL))
        aleat_model_close(model);
    if (!aleat_vae_open(&vae, path, NULL, NULL))
        aleat_vae_close(vae);
    return st;
}

static const char *const seeds[] = {
    "uvit-cifar/cifar10_uvit_small.pth", "checkpoints/diffusion_pytorch_model.fp16.safetensors",
    "pt_formats/zip_nested.ckpt",        "pt_formats/zip_views.pt",
    "pt_formats/legacy_ordereddict.pth",
};

// Lengths 0, 1 KB, 2 KB ... and around each end: no damaged file opens, none leaks.
static void no_truncated_checkpoint_opens(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof seeds / sizeof *seeds; s++) {
        const bytes whole = load(data_path(seeds[s]));
        const uint64_t before = aleat_alloc_bytes();
        for (size_t len = 0; len < whole.len; len += KB) {
            aleat_error err = {0};
            if (!open_in_every_way(store("corpus.bin", whole.data, len), &err))
                fail_msg("%s: the first %zu bytes open", seeds[s], len);
        }
        assert_int_equal(aleat_alloc_bytes(), before);
        free(whole.data);
    }
}

// One byte in every KB inverted, and each of the first 64: an error, or other values.
static void flipped_bytes_neither_crash_nor_leak(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof seeds / sizeof *seeds; s++) {
        const bytes whole = load(data_path(seeds[s]));
        const uint64_t before = aleat_alloc_bytes();
        for (size_t at = 0; at < whole.len; at += at < 64 ? 1 : KB - 1) {
            aleat_error err = {0};
            whole.data[at] ^= 0xff;
            (void)open_in_every_way(store("corpus.bin", whole.data, whole.len), &err);
            whole.data[at] ^= 0xff;
        }
        assert_int_equal(aleat_alloc_bytes(), before);
        free(whole.data);
    }
}

static size_t safetensors(unsigned char *out, const char *header, size_t data)
{
    const uint64_t len = strlen(header);
    memcpy(out, &len, 8);
    memcpy(out + 8, header, len);
    memset(out + 8 + len, 0, data);
    return 8 + len + data;
}

static void headers_that_lie_are_refused(void **state)
{
    (void)state;
#define TENSOR(shape, begin, end)                                                                  \
    "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"
    static const char *const headers[] = {
        "{\"a\":" TENSOR("[3]", "0", "16") "}",
        "{\"a\":" TENSOR("[-4]", "0", "16") "}",
        "{\"a\":" TENSOR("[4.0]", "0", "16") "}",
        "{\"a\":" TENSOR("[4294967296,4294967296,4294967296]", "0", "16") "}",
        "{\"a\":" TENSOR("[4]", "16", "0") "}",
        "{\"a\":" TENSOR("[4]", "0", "99999999999999999999") "}",
        "{\"a\":" TENSOR("[4]", "16", "32") "}",
        "{\"a\":" TENSOR("[4]", "0", "16") ",\"a\":" TENSOR("[4]", "0", "16") "}",
        "{\"a\":" TENSOR("[1,1,1,1,1,1,1,1,1,1,1,1]", "0", "4") "}",
        "{\"a\":{}}",
        "[]",
        "{",
    };
    static unsigned char file[4 * KB];
    const uint64_t before = aleat_alloc_bytes();
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        aleat_error err = {0};
        const size_t len = safetensors(file, headers[i], 16);
        if (!open_in_every_way(store("corpus.safetensors", file, len), &err))
            fail_msg("%s opens", headers[i]);
    }
    assert_int_equal(aleat_alloc_bytes(), before);
}

/* ---- by the tool ----------------------------------------------------------------------------- */

// `aleat info` on a file: its exit code; it neither crashes nor takes more than twice the file and
// 64 MB.
static int info_on(const char *path)
{
    struct stat size;
    struct rusage usage;
    int status;
    assert_int_equal(stat(path, &size), 0);
    const pid_t child = fork();
    if (child == 0) {
        const char *words[] = {getenv("ALEAT_TOOL"), "info", path, "--threads", "1", NULL};
        const int null = open("/dev/null", O_WRONLY);
        (void)dup2(null, 1);
        (void)dup2(null, 2);
        (void)execv(words[0], (char *const *)(uintptr_t)words);
        _exit(99);
    }
    assert_true(child > 0);
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    if (!WIFEXITED(status))
        fail_msg("%s: the tool was killed by signal %d", path, WTERMSIG(status));
    const double most = 2.0 * (double)size.st_size + 64.0 * MB;
    if (MEASURED && (double)usage.ru_maxrss * KB > most)
        fail_msg("%s: %ld KB for a file of %lld bytes", path, usage.ru_maxrss,
                 (long long)size.st_size);
    return WEXITSTATUS(status);
}

// A zip archive of one deflated entry, `content` `times` over, whose directory claims `claimed`
// bytes. Nothing large is held: a child's peak memory counts that of the process it came from.
static size_t zip_of(unsigned char *out, const char *name, const unsigned char *content, size_t len,
                     int times, uint32_t claimed)
{
    const uint16_t name_len = (uint16_t)strlen(name), method = 8, one = 1;
    z_stream z = {0};
    const size_t head = 30 + name_len;
    uint32_t crc = 0;
    memset(out, 0, head);
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_out = out + head;
    z.avail_out = MB;
    for (int i = 0; i < times; i++) {
        z.next_in = (unsigned char *)(uintptr_t)content;
        z.avail_in = (unsigned)len;
        crc = (uint32_t)crc32(crc, content, (unsigned)len);
        assert_true(deflate(&z, i + 1 < times ? Z_NO_FLUSH : Z_FINISH) >= Z_OK);
    }
    const uint32_t packed = (uint32_t)z.total_out;
    (void)deflateEnd(&z);
    memcpy(out, "PK\3\4\x14", 5);
    memcpy(out + 8, &method, 2);
    memcpy(out + 14, &crc, 4);
    memcpy(out + 18, &packed, 4);
    memcpy(out + 22, &claimed, 4);
    memcpy(out + 26, &name_len, 2);
    memcpy(out + 30, name, name_len);
    unsigned char *dir = out + head + packed;
    memset(dir, 0, 46 + name_len + 22);
    memcpy(dir, "PK\1\2", 4);
    memcpy(dir + 10, &method, 2);
    memcpy(dir + 16, &crc, 4);
    memcpy(dir + 20, &packed, 4);
    memcpy(dir + 24, &claimed, 4);
    memcpy(dir + 28, &name_len, 2);
    memcpy(dir + 46, name, name_len);
    unsigned char *end = dir + 46 + name_len;
    const uint32_t dir_len = (uint32_t)(end - dir), dir_at = (uint32_t)(dir - out);
    memcpy(end, "PK\5\6", 4);
    memcpy(end + 8, &one, 2);
    memcpy(end + 10, &one, 2);
    memcpy(end + 12, &dir_len, 4);
    memcpy(end + 16, &dir_at, 4);
    return (size_t)(end + 22 - out);
}

// Sizes of a network are inferred from its tensors: too few of them, or of other sizes.
static void checkpoints_of_too_few_tensors_are_told_of(void **state)
{
    (void)state;
    static const char *const files[] = {
        // heads of no width
        "[['joint_blocks.0.x_block.attn.qkv.weight', [48, 16]],"
        " ['joint_blocks.0.x_block.attn.ln_q.weight', [16]]]",
        // levels without a block
        "[['input_blocks.1.0.op.weight', [8, 8, 3, 3]], ['input_blocks.2.0.op.weight', [8, 8, 3, "
        "3]],"
        " ['input_blocks.3.0.op.weight', [8, 8, 3, 3]], ['input_blocks.4.0.op.weight', [8, 8, 3, "
        "3]],"
        " ['input_blocks.5.0.op.weight', [8, 8, 3, 3]],"
        " ['input_blocks.6.0.in_layers.2.weight', [8, 8, 3, 3]],"
        " ['input_blocks.0.0.weight', [8, 4, 3, 3]], ['out.2.weight', [4, 8, 3, 3]],"
        " ['middle_block.1.transformer_blocks.0.attn2.to_k.weight', [8, 8]],"
        " ['middle_block.1.proj_in.weight', [8, 8]]]",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char text[1024];
        (void)snprintf(text, sizeof text, "%s", files[i]);
        for (char *c = text; *c; c++)
            *c = *c == '\'' ? '"' : *c;
        json_t *tensors = json_loads(text, 0, NULL);
        assert_non_null(tensors);
        write_checkpoint(scratch("few.safetensors"), tensors, false);
        json_decref(tensors);
        assert_int_equal(info_on(scratch("few.safetensors")), 0); // lists them, says why not
    }
}

static void zip_bombs_take_no_memory(void **state)
{
    (void)state;
    static unsigned char zeros[64 * KB], file[2 * MB];
    const int times = 256 * MB / (int)sizeof zeros; // deflates to 256 KB
    static const struct {
        const char *entry;
        uint32_t claimed;
    } bombs[] = {{"archive/data.pkl", 256 * MB},
                 {"archive/data.pkl", 1000},
                 {"archive/data.pkl", UINT32_MAX - 1}};
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        const size_t size =
            zip_of(file, bombs[i].entry, zeros, sizeof zeros, times, bombs[i].claimed);
        assert_int_equal(info_on(store("corpus.pt", file, size)), 1);
    }
}

// Opcodes that claim, repeat or nest more than they hold.
static void pickle_bombs_take_no_memory(void **state)
{
    (void)state;
    static unsigned char file[2 * MB], pickle[2 * MB];
    static const char *const bombs[] = {
        "\x80\x02X\xff\xff\xff\x7f",                    // a string of 2 GB
        "\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f", // of 2^63
        "\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f", // a frame of 2^63
        "\x80\x02\x8b\xff\xff\xff\x7f",                 // an integer of 2 GB
    };
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        const size_t n = i == 1 || i == 2 ? 11 : 7;
        memcpy(pickle, bombs[i], n);
        const size_t size = zip_of(file, "archive/data.pkl", pickle, n, 1, (uint32_t)n);
        assert_int_equal(info_on(store("corpus.pt", file, size)), 1);
    }
    static const char *const repeated[] = {
        "(", "]", "}", ")", "N\x85", "]q\1h\1", "K\1r\0\0\0\x7f"};
    for (size_t i = 0; i < sizeof repeated / sizeof *repeated; i++) {
        const size_t unit = i == 6 ? 7 : strlen(repeated[i]);
        size_t n = 2;
        memcpy(pickle, "\x80\x02", 2);
        for (; n + unit < 2 * MB; n += unit)
            memcpy(pickle + n, repeated[i], unit);
        const size_t size = zip_of(file, "archive/data.pkl", pickle, n, 1, (uint32_t)n);
        // stored in the memory of the deflated pickle, which counts as the file
        assert_int_equal(info_on(store("corpus.pt", file, size)), 1);
    }
}

static void what_a_pickle_would_run_is_named_and_not_run(void **state)
{
    (void)state;
    static const char *const globals[] = {"os system",        "posix system", "builtins exec",
                                          "subprocess Popen", "torch load",   "webbrowser open"};
    static unsigned char file[64 * KB];
    const char *mark = scratch("ran");
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        char pickle[512], name[64], module[32], function[32];
        assert_int_equal(sscanf(globals[i], "%31s %31s", module, function), 2);
        const int n = snprintf(pickle, sizeof pickle,
                               "\x80\x02"
                               "c%s\n%s\n(X%c%c%c%ctouch %s\x85R.",
                               module, function, (int)strlen(mark) + 6, 1, 1, 1, mark);
        pickle[2 + 1 + strlen(module) + 1 + strlen(function) + 1 + 2] = (char)(strlen(mark) + 6);
        for (int k = 1; k < 4; k++) // the length's upper bytes
            pickle[2 + 1 + strlen(module) + 1 + strlen(function) + 1 + 2 + k] = 0;
        const size_t size = zip_of(file, "archive/data.pkl", (const unsigned char *)pickle,
                                   (size_t)n, 1, (uint32_t)n);
        aleat_error err = {0};
        const char *path = store("corpus.pt", file, size);
        (void)snprintf(name, sizeof name, "%s.%s", module, function);
        aleat_checkpoint *none;
        assert_failed(aleat_checkpoint_open(&none, path, &err), ALEAT_ERR_UNSUPPORTED, &err, name);
        assert_int_equal(info_on(path), 1);
        assert_int_not_equal(access(mark, F_OK), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_truncated_checkpoint_opens),
        cmocka_unit_test(flipped_bytes_neither_crash_nor_leak),
        cmocka_unit_test(headers_that_lie_are_refused),
        cmocka_unit_test(checkpoints_of_too_few_tensors_are_told_of),
        cmocka_unit_test(zip_bombs_take_no_memory),
        cmocka_unit_test(pickle_bombs_take_no_memory),
        cmocka_unit_test(what_a_pickle_would_run_is_named_and_not_run),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
