/* What image generators write about an image, and what we write for them. */
#include "io_fixture.h"

#include <jansson.h>

#include "base/alloc.h"
#include "io/png_image.h"
#include "text/generation.h"

static void assert_text(const char *name, const char *what, const char *got, const json_t *want)
{
    const char *text = json_string_value(want) ? json_string_value(want) : "";
    if (strcmp(got ? got : "", text))
        fail_msg("%s: %s is '%s', expected '%s'", name, what, got ? got : "", text);
}

/* Samples of every program, with what a reader should get of them. */
static void files_of_other_programs_are_understood(void **state)
{
    (void)state;
    json_error_t where;
    const char *name, *key;
    json_t *all = json_load_file(data_path("png/expected.json"), 0, &where), *want, *value;
    assert_non_null(all);
    json_object_foreach(all, name, want)
    {
        char path[64];
        aleat_error err = {0};
        aleat_generation g;
        (void)snprintf(path, sizeof path, "png/%s", name);
        assert_ok(aleat_generation_read(&g, data_path(path), &err), &err);
        assert_text(name, "source", g.source, json_object_get(want, "source"));
        assert_text(name, "prompt", g.prompt, json_object_get(want, "prompt"));
        assert_text(name, "negative prompt", g.negative, json_object_get(want, "negative_prompt"));
        const json_t *fields = json_object_get(want, "fields");
        json_object_foreach((json_t *)(uintptr_t)fields, key, value)
        {
            assert_text(name, key, aleat_generation_get(&g, key), value);
        }
        if (g.source && strcmp(g.source, "comfyui")) // which has more than the samples list
            assert_int_equal(g.n_fields, json_object_size(fields));
        aleat_generation_clear(&g);
    }
    json_decref(all);
}

static void add(aleat_generation *g, const char *key, const char *value)
{
    aleat_error err = {0};
    assert_ok(aleat_generation_add(g, key, value, &err), &err);
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_generation g = {0}, again;
    g.prompt = aleat_strdup("two lines\nof a \xc3\xbc prompt, 50mm: sharp");
    g.negative = aleat_strdup("bad\nhands");
    add(&g, "Steps", "20");
    add(&g, "CFG scale", "7.5");
    add(&g, "Seed", "18446744073709551615");
    add(&g, "Model", "my \"model\", v2: final");
    add(&g, "Version", "\"");
    char *text = aleat_generation_write(&g);
    assert_non_null(text);
    assert_non_null(strstr(text, "\nNegative prompt: bad\nhands\nSteps: 20, CFG scale: 7.5, "));
    assert_ok(aleat_generation_parse(&again, text, &err), &err);
    assert_string_equal(again.source, "a1111");
    assert_string_equal(again.prompt, g.prompt);
    assert_string_equal(again.negative, g.negative);
    assert_int_equal(again.n_fields, g.n_fields);
    for (int i = 0; i < g.n_fields; i++)
        assert_string_equal(aleat_generation_get(&again, g.fields[i].key), g.fields[i].value);
    assert_null(aleat_generation_get(&again, "Clip skip"));
    aleat_free(text);
    aleat_generation_clear(&again);
    aleat_generation_clear(&g);
}

static void fewer_than_three_settings_are_prompt(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_generation g;
    assert_ok(aleat_generation_parse(&g, " a poster\nTitle: x, Size: large\n", &err), &err);
    assert_string_equal(g.prompt, "a poster\nTitle: x, Size: large");
    assert_int_equal(g.n_fields, 0);
    aleat_generation_clear(&g);
    assert_ok(aleat_generation_parse(&g, "", &err), &err);
    assert_string_equal(g.prompt, "");
    aleat_generation_clear(&g);
}

static void too_many_settings_are_told(void **state)
{
    (void)state;
    static char text[12000];
    size_t used = 0;
    for (int i = 0; i < 1001; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "k%d: 1, ", i);
    aleat_error err = {0};
    aleat_generation g;
    assert_failed(aleat_generation_parse(&g, text, &err), ALEAT_ERR_FORMAT, &err,
                  "more than 1000 settings");
}

/* Seeds of 64 bits, numbers that JSON does not have, conditionings that pass through nodes, and
 * graphs that lead nowhere. */
static void comfyui_graphs_are_followed(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_generation g;
    static const char graph[] =
        "{\"3\": {\"class_type\": \"KSamplerAdvanced\", \"is_changed\": [NaN, -Infinity],"
        " \"inputs\": {\"noise_seed\": 18446744073709551615, \"steps\": [\"9\", 0], \"cfg\": 7.5,"
        " \"model\": [\"10\", 0], \"positive\": [\"5\", 0], \"negative\": [\"5\", 0],"
        " \"latent_image\": [\"3\", 0]}},"
        " \"5\": {\"class_type\": \"ConditioningZeroOut\", \"inputs\": {\"conditioning\": [\"6\", 0]}},"
        " \"6\": {\"class_type\": \"CLIPTextEncode\", \"inputs\": {\"text\": [\"7\", 0]}},"
        " \"7\": {\"class_type\": \"Text\", \"inputs\": {\"text\": \"12345678901234567890 \\\\\\\"NaN\"}},"
        " \"9\": {\"class_type\": \"Int\", \"inputs\": {\"value\": 30}},"
        " \"10\": {\"class_type\": \"LoraLoader\", \"inputs\": {\"model\": [\"10\", 0]}}}";
    assert_ok(aleat_generation_parse_comfyui(&g, graph, &err), &err);
    assert_string_equal(aleat_generation_get(&g, "noise_seed"), "18446744073709551615");
    assert_string_equal(aleat_generation_get(&g, "steps"), "30");
    assert_string_equal(aleat_generation_get(&g, "cfg"), "7.5");
    assert_string_equal(g.prompt, "12345678901234567890 \\\"NaN");
    assert_null(aleat_generation_get(&g, "ckpt_name")); // a loader that leads to itself
    aleat_generation_clear(&g);
    assert_failed(aleat_generation_parse_comfyui(&g, "{\"1\": {}}", &err), ALEAT_ERR_FORMAT, &err,
                  "no sampler");
    assert_failed(aleat_generation_parse_comfyui(&g, "{", &err), ALEAT_ERR_FORMAT, &err, "graph");
}

static void failing_allocations_are_errors(void **state)
{
    (void)state;
    static const char text[] = "a cat\nNegative prompt: dog\nSteps: 20, Seed: 1, Size: \"1,2\"";
    const uint64_t before = aleat_alloc_bytes();
    for (uint64_t n = 1;; n++) {
        aleat_error err = {0};
        aleat_generation g;
        const uint64_t count = aleat_alloc_count();
        aleat_alloc_fail_at(n);
        const aleat_status st = aleat_generation_parse(&g, text, &err);
        aleat_alloc_fail_at(0);
        const bool reached = aleat_alloc_count() - count >= n;
        aleat_generation_clear(&g);
        assert_int_equal(aleat_alloc_bytes(), before);
        if (!reached)
            break;
        assert_int_equal(st, ALEAT_ERR_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_other_programs_are_understood),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(fewer_than_three_settings_are_prompt),
        cmocka_unit_test(too_many_settings_are_told),
        cmocka_unit_test(comfyui_graphs_are_followed),
        cmocka_unit_test(failing_allocations_are_errors),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
