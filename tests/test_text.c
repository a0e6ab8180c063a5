/* Tokenizers: every reference case to the last token, and the files they are read from. */
#include "case.h"

#include <jansson.h>

#include "base/alloc.h"
#include "text/bpe.h"
#include "text/clean.h"
#include "text/spiece.h"
#include "text/tokenizer.h"

static json_t *load_cases(const char *name)
{
    json_error_t where;
    json_t *cases = json_load_file(data_path(name), JSON_ALLOW_NUL, &where);
    if (!cases)
        fail_msg("%s: %s", name, where.text);
    return cases;
}

static aleat_tokenizer *bundled(aleat_tokenizer_kind kind, const char *pad)
{
    aleat_error err = {0};
    aleat_tokenizer *t;
    assert_ok(aleat_tokenizer_bundled(&t, kind, pad, &err), &err);
    return t;
}

/* Compares numbers with a JSON array; the message names the text. */
static void assert_ids(const char *text, const int32_t *ids, int64_t count, const json_t *want)
{
    bool same = (size_t)count == json_array_size(want);
    for (int64_t i = 0; i < count && same; i++)
        same = ids[i] == json_integer_value(json_array_get(want, (size_t)i));
    if (same)
        return;
    for (int64_t i = 0; i < count; i++)
        print_message("%d ", ids[i]);
    char *expected = json_dumps(want, 0);
    print_message("instead of %s\n", expected);
    free(expected);
    fail_msg("tokens of '%.100s'", text);
}

/* Checks every case's `key`, padded to `length` unless that is 0. */
static void check_cases(const aleat_tokenizer *t, const char *file, const char *key, int64_t length)
{
    json_t *cases = load_cases(file);
    const json_t *item;
    size_t i;
    assert_true(json_array_size(cases) > 0);
    json_array_foreach(cases, i, item)
    {
        aleat_error err = {0};
        const json_t *text = json_object_get(item, "text"), *want = json_object_get(item, key);
        const char *bytes = json_string_value(text);
        aleat_ids ids = {0};
        int32_t padded[512];
        char *cut = NULL;
        if (!json_is_array(want))
            continue;
        assert_true(length <= 512);
        if (length)
            assert_ok(aleat_tokenizer_encode_padded(t, bytes, json_string_length(text), length,
                                                    padded, &cut, &err),
                      &err);
        else
            assert_ok(aleat_tokenizer_encode(t, bytes, json_string_length(text), &ids, &err), &err);
        assert_ids(bytes, length ? padded : ids.at, length ? length : ids.count, want);
        const json_t *truncated = json_object_get(item, "truncated");
        if (length && truncated)
            assert_int_equal(cut != NULL, json_is_true(truncated));
        aleat_free(cut);
        aleat_ids_clear(&ids);
    }
    json_decref(cases);
}

static void clip_cases_are_exact(void **state)
{
    (void)state;
    aleat_tokenizer *t = bundled(ALEAT_TOKENIZER_CLIP, NULL);
    assert_int_equal(aleat_tokenizer_length(t), 77);
    assert_int_equal(aleat_tokenizer_eos(t), 49407);
    assert_int_equal(aleat_tokenizer_pad(t), 49407);
    check_cases(t, "clip-tokenize/cases.json", "ids", 0);
    check_cases(t, "clip-tokenize/cases.json", "ids_77", 77);
    aleat_tokenizer_free(t);
}

/* Stable Diffusion 3's second tokenizer: "!" pads, and is then a token of its own in a text, too.
 */
static void clip_padded_with_an_exclamation_mark_is_exact(void **state)
{
    (void)state;
    aleat_tokenizer *t = bundled(ALEAT_TOKENIZER_CLIP, "!");
    assert_int_equal(aleat_tokenizer_pad(t), 0);
    check_cases(t, "clip-tokenize/cases.json", "ids_77_sd3_tokenizer_2", 77);
    aleat_tokenizer_free(t);
}

static void t5_cases_are_exact(void **state)
{
    (void)state;
    aleat_tokenizer *t = bundled(ALEAT_TOKENIZER_T5, NULL);
    assert_int_equal(aleat_tokenizer_eos(t), 1);
    assert_int_equal(aleat_tokenizer_pad(t), 0);
    check_cases(t, "t5-tokenize/cases.json", "ids", 0);
    check_cases(t, "t5-tokenize/cases.json", "ids_256", 256);
    aleat_tokenizer_free(t);
}

/* Random Unicode of every kind: controls, combining marks, emoji, CJK, widths, white space. */
static void random_text_is_exact(void **state)
{
    (void)state;
    aleat_tokenizer *clip = bundled(ALEAT_TOKENIZER_CLIP, NULL);
    aleat_tokenizer *t5 = bundled(ALEAT_TOKENIZER_T5, NULL);
    check_cases(clip, "clip-tokenize/random.json", "ids", 0);
    check_cases(t5, "clip-tokenize/random.json", "t5", 0);
    aleat_tokenizer_free(clip);
    aleat_tokenizer_free(t5);
}

/* What ftfy does that the reference cases do not show. */
static void prompts_are_cleaned_as_ftfy_does(void **state)
{
    (void)state;
    static const struct {
        const char *text, *clean;
    } cases[] = {
        {"  A\t B\r\nC \xe3\x80\x80", "a b c"},
        {"AT&amp;T &lt;3 it&#39;s &#x2019;&hellip;&NBSP;", "at&t <3 it's '\xe2\x80\xa6&nbsp;"},
        {"&amp;lt; &#x110000; &#0;&#x80;&#7;|&#xZ;",
         "< \xef\xbf\xbd \xef\xbf\xbd\xe2\x82\xac|&#xz;"},
        {"&amp;\n<b>&amp;\n&amp;", "& <b>&amp; &amp;"}, // references stay from the first '<' on
        {"\x1b[31;1mred\x1b[0m \x07"
         "bell\x1b[",
         "red bell["},
        {"\xc2\x93hi\xc2\x94\xc2\x85", "\"hi\"\xe2\x80\xa6"}, // C1 as Windows-1252
        {"\xef\xbb\xbf"
         "e\xcc\x81 \xef\xbd\xb6\xef\xbe\x9e",
         "\xc3\xa9 \xe3\x82\xac"},                                   // BOM, NFC, half width
        {"\xce\x9f\xce\xa3 \xc4\xb0", "\xce\xbf\xcf\x82 i\xcc\x87"}, // final sigma, dotted I
        {"\xc7\x84\xc5\x89\xef\xac\x85", "d\xc5\xbe'n\xc5\xbft"},
        {"", ""},
        {" \xe2\x80\xa8 ", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err = {0};
        aleat_buffer out = {0};
        assert_ok(aleat_clip_clean(&out, cases[i].text, strlen(cases[i].text), &err), &err);
        char *clean = aleat_buffer_take(&out);
        assert_non_null(clean);
        assert_string_equal(clean, cases[i].clean);
        aleat_free(clean);
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

static aleat_tokenizer *open_file(const char *path)
{
    aleat_error err = {0};
    aleat_tokenizer *t;
    assert_ok(aleat_tokenizer_open(&t, path, &err), &err);
    return t;
}

static void assert_same_tokens(const aleat_tokenizer *a, const aleat_tokenizer *b)
{
    static const char *const texts[] = {
        "a photo of a cat, it's 50% done! <|endoftext|> Caf\xc3\xa9 \xf0\x9f\x90\xb1",
        "x <extra_id_0> y </s> <extra_id_99>", ""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        aleat_error err = {0};
        aleat_ids x, y;
        assert_ok(aleat_tokenizer_encode(a, texts[i], strlen(texts[i]), &x, &err), &err);
        assert_ok(aleat_tokenizer_encode(b, texts[i], strlen(texts[i]), &y, &err), &err);
        assert_int_equal(x.count, y.count);
        assert_memory_equal(x.at, y.at, (size_t)x.count * sizeof *x.at);
        aleat_ids_clear(&x);
        aleat_ids_clear(&y);
    }
}

static void every_form_of_a_tokenizer_gives_the_same_tokens(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"text-encoders/sd3/tokenizer", "tokenizers/clip.json"},
        {"text-encoders/sd3/tokenizer/vocab.json", "text-encoders/sd3/tokenizer"},
        {"text-encoders/flux/tokenizer_2", "tokenizers/t5.json"},
        {"text-encoders/flux/tokenizer_2/spiece.model", "text-encoders/flux/tokenizer_2"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        aleat_tokenizer *a = open_file(data_path(pairs[i][0]));
        aleat_tokenizer *b = open_file(data_path(pairs[i][1]));
        assert_int_equal(aleat_tokenizer_kind_of(a), aleat_tokenizer_kind_of(b));
        assert_same_tokens(a, b);
        aleat_tokenizer_free(a);
        aleat_tokenizer_free(b);
    }
}

/* openai/CLIP's file is a list of merges like the one that is built in. */
static void a_list_of_merges_is_a_tokenizer(void **state)
{
    (void)state;
    aleat_tokenizer *a = open_file(data_path("../../src/text/data/clip_merges.txt.gz"));
    check_cases(a, "clip-tokenize/cases.json", "ids", 0);
    aleat_tokenizer_free(a);
    if (!case_exists("sd15-tiny/model/tokenizer", "vocab.json"))
        return;
    a = open_file(case_path("sd15-tiny/model", "tokenizer"));
    check_cases(a, "clip-tokenize/cases.json", "ids_77", 77);
    aleat_tokenizer_free(a);
}

static void what_is_cut_off_reads_as_it_was_written(void **state)
{
    (void)state;
    static const char text[] = "A photo of a cat, 35mm film.";
    for (int kind = 0; kind < 2; kind++) {
        aleat_error err = {0};
        int32_t ids[6];
        char *cut;
        aleat_tokenizer *t = bundled((aleat_tokenizer_kind)kind, NULL);
        assert_ok(aleat_tokenizer_encode_padded(t, text, strlen(text), 6, ids, &cut, &err), &err);
        assert_string_equal(cut, kind == ALEAT_TOKENIZER_CLIP ? "cat , 3 5 mm film ."
                                                              : "cat, 35mm film.");
        assert_int_equal(ids[5], aleat_tokenizer_eos(t));
        aleat_free(cut);
        aleat_tokenizer_free(t);
    }
}

static void texts_that_are_none_are_refused(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_ids ids;
    aleat_tokenizer *t = bundled(ALEAT_TOKENIZER_CLIP, NULL);
    static const char *const wrong[] = {"\xe9", "a\xc3", "\xed\xa0\x80", "\xc0\xaf",
                                        "\xf5\x80\x80\x80"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_failed(aleat_tokenizer_encode(t, wrong[i], strlen(wrong[i]), &ids, &err),
                      ALEAT_ERR_ARGUMENT, &err, "not UTF-8");
    assert_failed(aleat_tokenizer_encode(t, "", ALEAT_TEXT_LIMIT + 1, &ids, &err),
                  ALEAT_ERR_ARGUMENT, &err, "at most");
    aleat_tokenizer_free(t);
}

/* A word without end takes seconds at most: its cost is its length times its different merges. */
static void a_long_word_is_encoded(void **state)
{
    (void)state;
    enum { LENGTH = 100000 };
    aleat_error err = {0};
    aleat_ids ids;
    char *text = malloc(LENGTH);
    assert_non_null(text);
    for (int i = 0; i < LENGTH; i++)
        text[i] = (char)('a' + i * 7919 % 26);
    for (int kind = 0; kind < 2; kind++) {
        aleat_tokenizer *t = bundled((aleat_tokenizer_kind)kind, NULL);
        assert_ok(aleat_tokenizer_encode(t, text, LENGTH, &ids, &err), &err);
        assert_in_range(ids.count, 1000, LENGTH + 2);
        aleat_ids_clear(&ids);
        aleat_tokenizer_free(t);
    }
    free(text);
}

/* ---- hostile files --------------------------------------------------------------------------- */

static void damaged_files_are_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
        aleat_status status;
    } cases[] = {
        {"", "not a SentencePiece model", ALEAT_ERR_FORMAT},
        {"\x0a\x03\x0a\x09"
         "a",
         "a piece is damaged", ALEAT_ERR_FORMAT},
        {"\x0a\x03\x0a\x01"
         "a",
         "no piece stands for unknown", ALEAT_ERR_FORMAT},
        {"\x0a\x05\x0a\x01"
         "a\x18\x07",
         "the type of a piece", ALEAT_ERR_FORMAT},
        {"\x0a\x05\x0a\x01"
         "a\x18\x02\x12\x02\x18\x02",
         "of type 2, supported is unigram", ALEAT_ERR_UNSUPPORTED},
        {"\x0a\x03\x0a\x01"
         "a\x0a\x03\x0a\x01"
         "a\x0a\x05\x0a\x01"
         "b\x18\x02",
         "are both 'a'", ALEAT_ERR_FORMAT},
        {"\x0a\x05\x0a\x01"
         "b\x18\x02\x1a\x05\x12\x03"
         "abc",
         "precompiled_charsmap", ALEAT_ERR_FORMAT},
        {"{}", "a tokenizer of type '?'", ALEAT_ERR_UNSUPPORTED},
        {"{\"model\": {\"type\": \"BPE\"}}", "not CLIP's", ALEAT_ERR_UNSUPPORTED},
        {"{\"model\": {\"type\": \"BPE\", \"end_of_word_suffix\": \"</w>\", \"merges\": [\"a b\"],"
         " \"vocab\": {\"a\": 0, \"b\": 1}}}",
         "the vocabulary lacks a part", ALEAT_ERR_FORMAT},
        {"{\"model\": {\"type\": \"BPE\", \"end_of_word_suffix\": \"</w>\", \"merges\": [],"
         " \"vocab\": {\"a\": 0, \"b\": 0}}}",
         "has two tokens", ALEAT_ERR_FORMAT},
        {"{\"model\": {\"type\": \"BPE\", \"end_of_word_suffix\": \"</w>\", \"merges\": [],"
         " \"vocab\": {\"a\": 99999999}}}",
         "at most", ALEAT_ERR_FORMAT},
        {"{\"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [[\"a\"]]}}",
         "item 0 is not", ALEAT_ERR_FORMAT},
        {"\x1f\x8b\x08", "gzip file of 3 bytes", ALEAT_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err = {0};
        aleat_tokenizer *t;
        assert_failed(
            aleat_tokenizer_open_memory(&t, cases[i].text, strlen(cases[i].text), "file", &err),
            cases[i].status, &err, cases[i].message);
        assert_null(t);
    }
}

/* Every prefix of a model is refused or opened, never misread. */
static void a_model_that_ends_early_does_no_harm(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_mapping file;
    const char *path = data_path("text-encoders/flux/tokenizer_2/spiece.model");
    assert_ok(aleat_mapping_open(&file, path, &err), &err);
    for (size_t len = 0; len < file.len; len += 1 + len / 16) {
        aleat_tokenizer *t;
        unsigned char *copy = malloc(len ? len : 1); // so that reading behind it shows
        assert_non_null(copy);
        memcpy(copy, file.data, len);
        if (aleat_tokenizer_open_memory(&t, copy, len, "file", &err))
            assert_true(err.message[0]);
        else
            aleat_tokenizer_free(t);
        free(copy);
    }
    aleat_mapping_close(&file);
}

static aleat_status open_and_encode(const char *path)
{
    static const char text[] = "A caf\xc3\xa9, it's 50% &amp; \xef\xac\x81ne";
    aleat_tokenizer *t = NULL;
    int32_t ids[8];
    char *cut = NULL;
    aleat_error err = {0};
    aleat_status st = aleat_tokenizer_open(&t, path, &err);
    if (!st)
        st = aleat_tokenizer_encode_padded(t, text, sizeof text - 1, 8, ids, &cut, &err);
    aleat_free(cut);
    aleat_tokenizer_free(t);
    return st;
}

static void failing_allocations_are_errors(void **state)
{
    (void)state;
    static const char *const paths[] = {"text-encoders/sd3/tokenizer", "tokenizers/clip.json",
                                        "text-encoders/flux/tokenizer_2", "tokenizers/t5.json"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        bool reached = true;
        for (uint64_t n = 1; reached; n += 1 + n / 20) {
            const uint64_t count = aleat_alloc_count(), bytes = aleat_alloc_bytes();
            aleat_alloc_fail_at(n);
            const aleat_status st = open_and_encode(data_path(paths[i]));
            aleat_alloc_fail_at(0);
            reached = aleat_alloc_count() - count >= n;
            assert_int_equal(aleat_alloc_bytes(), bytes);
            assert_int_equal(st, reached ? ALEAT_ERR_MEMORY : ALEAT_OK);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clip_cases_are_exact),
        cmocka_unit_test(clip_padded_with_an_exclamation_mark_is_exact),
        cmocka_unit_test(t5_cases_are_exact),
        cmocka_unit_test(random_text_is_exact),
        cmocka_unit_test(prompts_are_cleaned_as_ftfy_does),
        cmocka_unit_test(every_form_of_a_tokenizer_gives_the_same_tokens),
        cmocka_unit_test(a_list_of_merges_is_a_tokenizer),
        cmocka_unit_test(what_is_cut_off_reads_as_it_was_written),
        cmocka_unit_test(texts_that_are_none_are_refused),
        cmocka_unit_test(a_long_word_is_encoded),
        cmocka_unit_test(damaged_files_are_errors),
        cmocka_unit_test(a_model_that_ends_early_does_no_harm),
        cmocka_unit_test(failing_allocations_are_errors),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
