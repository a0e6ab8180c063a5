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
            assert_ok(aleat_tokenizer_encode(t, bytes, json_string_length(text), &ids, &err),
                      &err);
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

/* Stable Diffusion 3's second tokenizer: "!" pads, and is then a token of its own in a text, too. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clip_cases_are_exact),
        cmocka_unit_test(clip_padded_with_an_exclamation_mark_is_exact),
        cmocka_unit_test(t5_cases_are_exact),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
