/* Text encoders against transformers' outputs, in every layout they come in. */
#include "checkpoint.h"
#include "case.h"
#include "collection.h"

#include "base/alloc.h"
#include "io/json.h"
#include "models/text_encoder.h"
#include "tensor/tensor.h"

static const char *const sd3_prompts[] = {"blurry, bad hands",
                                          "a photo of a cat holding a sign that says hello world!"};
static const char *const flux_prompts[] = {
    "A tiny astronaut hatching from an egg on the moon, 35mm film; it's 50% done"};

/* A reference: which encoder of what, how it is asked, and what must come out. */
typedef struct reference {
    const char *case_folder, *model; // below case_path()
    int number;
    const char *const *prompts;
    int64_t count, skip;
    bool normed;
    const char *ids, *hidden, *pooled; // files, or NULL
} reference;

static aleat_text_encoder *open_encoder(const char *path, int number,
                                        const aleat_text_encoder_options *options)
{
    aleat_error err = {0};
    aleat_text_encoder *encoder;
    assert_ok(aleat_text_encoder_open(&encoder, path, number, options, &err), &err);
    return encoder;
}

static void assert_close(const char *what, const float *got, const aleat_tensor *want, double bound)
{
    const double off = aleat_relative_l2(got, aleat_tensor_f32(want), aleat_tensor_count(want));
    print_message("%s: relative L2 %.1e\n", what, off);
    if (!(off < bound))
        fail_msg("%s: relative L2 %.2e, allowed %.0e", what, off, bound);
}

static void compare(const char *what, const char *folder, const char *file, const float *got,
                    double bound)
{
    if (!file)
        return;
    aleat_tensor want = load(folder, file);
    char text[128];
    (void)snprintf(text, sizeof text, "%s %s", what, file);
    assert_close(text, got, &want, bound);
    aleat_tensor_clear(&want);
}

static void check(const char *what, const aleat_text_encoder *encoder, const reference *r,
                  double bound)
{
    aleat_error err = {0};
    aleat_text_states states;
    aleat_tensor ids = load(r->case_folder, r->ids);
    const aleat_text_request request = {.prompts = r->prompts,
                                        .count = r->count,
                                        .tokens = ids.shape.dim[1],
                                        .skip = r->skip,
                                        .normed = r->normed,
                                        .pooled = r->pooled != NULL};
    assert_ok(aleat_text_encode(encoder, &request, &states, &err), &err);
    assert_int_equal(states.count, ids.shape.dim[0]);
    for (int64_t i = 0; i < aleat_tensor_count(&ids); i++)
        assert_int_equal(states.ids[i], (int)aleat_tensor_f32(&ids)[i]);
    compare(what, r->case_folder, r->hidden, states.hidden, bound);
    compare(what, r->case_folder, r->pooled, states.pooled, bound);
    aleat_text_states_clear(&states);
    aleat_tensor_clear(&ids);
}

/* float32 throughout: three layers are off by some 1e-6. */
#define F32_BOUND 2e-5

static const reference references[] = {
    {"data/text-encoders/expected", "data/text-encoders/sd3", 1, sd3_prompts, 2, 0, true,
     "clip_l_ids.npy", "clip_l_last.npy", "clip_l_text_embeds.npy"},
    {"data/text-encoders/expected", "data/text-encoders/sd3", 1, sd3_prompts, 2, 1, false,
     "clip_l_ids.npy", "clip_l_hidden_m2.npy", "clip_l_text_embeds.npy"},
    {"data/text-encoders/expected", "data/text-encoders/flux", 2, flux_prompts, 1, 0, true,
     "t5_ids.npy", "t5_embeds.npy", NULL},
    {"sd3-tiny/text", "sd3-tiny/model", 1, sd3_prompts, 2, 1, false, "clip_l_ids.npy",
     "clip_l_hidden_m2.npy", "clip_l_text_embeds.npy"},
    {"sd3-tiny/text", "sd3-tiny/model", 2, sd3_prompts, 2, 1, false, "clip_g_ids.npy",
     "clip_g_hidden_m2.npy", "clip_g_text_embeds.npy"},
    {"sd3-tiny/text", "sd3-tiny/model", 2, sd3_prompts, 2, 0, true, "clip_g_ids.npy",
     "clip_g_last.npy", "clip_g_text_embeds.npy"},
    {"sd3-tiny/text", "sd3-tiny/model", 3, sd3_prompts, 2, 0, true, "t5_ids.npy", "t5_last.npy",
     NULL},
    {"flux-tiny/text", "flux-tiny/model", 1, flux_prompts, 1, 0, true, "clip_ids.npy", NULL,
     "pooled.npy"},
    {"flux-tiny/text", "flux-tiny/model", 2, flux_prompts, 1, 0, true, "t5_ids.npy",
     "t5_embeds.npy", NULL},
};

static void folders_give_the_reference_outputs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof references / sizeof *references; i++) {
        const reference *r = &references[i];
        if (strncmp(r->case_folder, "data/", 5) && !case_exists(r->case_folder, r->ids))
            continue;
        aleat_text_encoder *encoder = open_encoder(case_path(r->model, ""), r->number, NULL);
        char what[64];
        (void)snprintf(what, sizeof what, "%s %d", r->model, r->number);
        check(what, encoder, r, F32_BOUND);
        aleat_text_encoder_free(encoder);
    }
}

/* How a Stable Diffusion 3 pipeline asks its encoders follows from its files. */
static void a_folder_says_how_its_pipeline_uses_an_encoder(void **state)
{
    (void)state;
    aleat_text_encoder *encoder = open_encoder(data_path("text-encoders/sd3"), 1, NULL);
    aleat_text_encoder_facts facts = aleat_text_encoder_describe(encoder);
    assert_string_equal(facts.family, "clip");
    assert_int_equal(facts.tokens, 77);
    assert_int_equal(facts.skip, 1);
    assert_false(facts.normed);
    assert_true(facts.projected);
    aleat_text_encoder_free(encoder);
    encoder = open_encoder(data_path("text-encoders/flux"), 2, NULL);
    facts = aleat_text_encoder_describe(encoder);
    assert_string_equal(facts.family, "t5");
    assert_int_equal(facts.tokens, 512);
    assert_int_equal(facts.skip, 0);
    assert_true(facts.normed);
    assert_int_equal(facts.pooled, 0);
    aleat_text_encoder_free(encoder);
    assert_int_equal(aleat_text_encoders_in(data_path("text-encoders/sd3")), 1);
    assert_int_equal(aleat_text_encoders_in(data_path("text-encoders/flux")), 2);
    assert_int_equal(aleat_text_encoders_in(data_path("npy")), 0);
}

/* Stable Diffusion 1.5's, whose four prompts stand in a file. */
static void stable_diffusion_1_gives_the_reference_outputs(void **state)
{
    (void)state;
    static const char *const models[] = {"model", "single/sd15-tiny.safetensors"};
    if (!case_exists("sd15-tiny/text", "ids.npy"))
        return;
    json_error_t where;
    json_t *list = json_load_file(case_path("sd15-tiny/text", "prompts.json"), 0, &where);
    const char *prompts[4];
    for (size_t i = 0; i < 4; i++)
        prompts[i] = json_string_value(json_array_get(list, i));
    for (size_t i = 0; i < 2; i++) {
        const reference last = {"sd15-tiny/text",        "",  1, prompts, 4, 0, true, "ids.npy",
                                "last_hidden_state.npy", NULL};
        const reference skipped = {"sd15-tiny/text",         "",  1, prompts, 4, 1, true, "ids.npy",
                                   "penultimate_normed.npy", NULL};
        aleat_text_encoder *encoder = open_encoder(case_path("sd15-tiny", models[i]), 1, NULL);
        check(models[i], encoder, &last, F32_BOUND);
        check(models[i], encoder, &skipped, F32_BOUND);
        aleat_text_encoder_free(encoder);
    }
    json_decref(list);
}

/* One file with three encoders, whose vocabularies are not the published ones: they are named. */
static void a_single_file_of_stable_diffusion_3_gives_the_reference_outputs(void **state)
{
    (void)state;
    if (!case_exists("sd3-tiny/single", "sd3-tiny.safetensors"))
        return;
    char single[512], model[512]; // case_path()'s do not last
    (void)snprintf(single, sizeof single, "%s",
                   case_path("sd3-tiny/single", "sd3-tiny.safetensors"));
    (void)snprintf(model, sizeof model, "%s", case_path("sd3-tiny", "model"));
    const aleat_text_encoder_options options = {.tokenizer = model};
    assert_int_equal(aleat_text_encoders_in(single), 7);
    for (size_t i = 0; i < sizeof references / sizeof *references; i++) {
        const reference *r = &references[i];
        if (strcmp(r->case_folder, "sd3-tiny/text"))
            continue;
        aleat_text_encoder *encoder = open_encoder(single, r->number, &options);
        check("single", encoder, r, F32_BOUND);
        aleat_text_encoder_free(encoder);
    }
}

/* ---- other layouts, written anew from a folder's weights ------------------------------------- */

/* transformers' names as OpenCLIP's; q, k and v below each other. */
static void openclip_name(char *dst, size_t size, const char *name)
{
    static const char *const renamed[][2] = {
        {"text_model.embeddings.token_embedding.weight", "token_embedding.weight"},
        {"text_model.embeddings.position_embedding.weight", "positional_embedding"},
        {"text_model.final_layer_norm.", "ln_final."},
        {"layer_norm1.", "ln_1."},
        {"layer_norm2.", "ln_2."},
        {"self_attn.out_proj.", "attn.out_proj."},
        {"mlp.fc1.", "mlp.c_fc."},
        {"mlp.fc2.", "mlp.c_proj."},
        {"self_attn.q_proj.", "attn.in_proj_"},
    };
    int layer, begin = 0;
    if (sscanf(name, "text_model.encoder.layers.%d.%n", &layer, &begin) == 1 && begin)
        (void)snprintf(dst, size, "cond_stage_model.model.transformer.resblocks.%d.", layer);
    else
        (void)snprintf(dst, size, "cond_stage_model.model.");
    for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++) {
        const size_t len = strlen(renamed[i][0]);
        if (!strncmp(name + begin, renamed[i][0], len)) {
            (void)snprintf(dst + strlen(dst), size - strlen(dst), "%s%s", renamed[i][1],
                           name + begin + len);
            return;
        }
    }
    fail_msg("no OpenCLIP name for '%s'", name);
}

/* q_proj's tensor with k_proj's and v_proj's behind it. */
static float *fused(aleat_weights *weights, const aleat_weight *q, aleat_shape *shape)
{
    int64_t count;
    assert_true(aleat_shape_count(&q->shape, &count));
    float *data = aleat_alloc((size_t)(3 * count) * sizeof *data);
    assert_non_null(data);
    for (int i = 0; i < 3; i++) {
        char name[256];
        (void)snprintf(name, sizeof name, "%s", q->name);
        *(strstr(name, "q_proj")) = "qkv"[i];
        aleat_weight_to_f32(aleat_weights_find(weights, name), data + i * count);
    }
    *shape = q->shape;
    shape->dim[0] *= 3;
    return data;
}

/* text_projection is stored turned. */
static float *turned(const aleat_weight *w)
{
    const int64_t n = w->shape.dim[0];
    float *from = values_of(w), *to = aleat_alloc((size_t)(n * n) * sizeof *to);
    for (int64_t i = 0; i < n * n; i++)
        to[i % n * n + i / n] = from[i];
    aleat_free(from);
    return to;
}

static void write_openclip(const char *path)
{
    aleat_error err = {0};
    aleat_weights *weights;
    collection c = {0};
    assert_ok(aleat_weights_open(
                  &weights, data_path("text-encoders/sd3/text_encoder/model.safetensors"), &err),
              &err);
    for (int64_t i = 0; i < aleat_weights_count(weights); i++) {
        const aleat_weight *w = aleat_weights_at(weights, i);
        char name[256];
        aleat_shape shape = w->shape;
        if (strstr(w->name, "k_proj") || strstr(w->name, "v_proj"))
            continue;
        if (!strcmp(w->name, "text_projection.weight")) {
            collect(&c, "cond_stage_model.model.text_projection", &shape, turned(w));
            continue;
        }
        openclip_name(name, sizeof name, w->name);
        float *data = strstr(w->name, "q_proj") ? fused(weights, w, &shape) : values_of(w);
        collect(&c, name, &shape, data);
    }
    aleat_weights_free(weights);
    write_collection(&c, path);
}

/* Stable Diffusion 2's file holds OpenCLIP's names; its model leaves out the last layer. The
 * activation is another one than in the file that the weights come from, so only what does not
 * depend on it can be compared: tokens, sizes, and with a configuration the numbers. */
static void openclip_names_give_the_same_outputs(void **state)
{
    (void)state;
    aleat_error err = {0};
    assert_ok(aleat_make_dirs(scratch("openclip"), &err), &err);
    write_openclip(scratch("openclip/model.safetensors"));
    aleat_text_encoder_options options = {.tokenizer = data_path("text-encoders/sd3/tokenizer")};
    aleat_text_encoder *encoder = open_encoder(scratch("openclip/model.safetensors"), 1, &options);
    const aleat_text_encoder_facts facts = aleat_text_encoder_describe(encoder);
    assert_int_equal(facts.skip, 1);
    assert_true(facts.normed);
    aleat_text_encoder_free(encoder);
    // a folder with a configuration that says quick_gelu
    aleat_mapping config;
    assert_ok(
        aleat_mapping_open(&config, data_path("text-encoders/sd3/text_encoder/config.json"), &err),
        &err);
    assert_ok(aleat_write_file(scratch("openclip/config.json"), config.data, config.len, &err),
              &err);
    aleat_mapping_close(&config);
    encoder = open_encoder(scratch("openclip"), 1, &options);
    check("OpenCLIP", encoder, &references[0], F32_BOUND);
    check("OpenCLIP", encoder, &references[1], F32_BOUND);
    aleat_text_encoder_free(encoder);
}

/* ---- what does not fit ----------------------------------------------------------------------- */

static void what_is_missing_or_wrong_is_said(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_text_encoder *encoder;
    aleat_text_states states;
    aleat_status st =
        aleat_text_encoder_open(&encoder, data_path("text-encoders/sd3"), 2, NULL, &err);
    assert_failed(st, ALEAT_ERR_ARGUMENT, &err, "there is no text encoder 2");
    st = aleat_text_encoder_open(&encoder, data_path("npy"), 1, NULL, &err);
    assert_failed(st, ALEAT_ERR_IO, &err, "no weights");
    const aleat_text_encoder_options other = {.tokenizer =
                                                  data_path("text-encoders/flux/tokenizer_2")};
    st = aleat_text_encoder_open(&encoder, data_path("text-encoders/sd3"), 1, &other, &err);
    assert_failed(st, ALEAT_ERR_FORMAT, &err, "a clip encoder with the tokenizer of t5");
    encoder = open_encoder(data_path("text-encoders/sd3"), 1, NULL);
    static const char *const latin1[] = {"caf\xe9"};
    const struct {
        aleat_text_request request;
        const char *text;
    } wrong[] = {
        {{.prompts = sd3_prompts, .count = 0, .tokens = 77}, "0 prompts"},
        {{.prompts = sd3_prompts, .count = 1, .tokens = 78},
         "78 tokens, this encoder takes 2 to 77"},
        {{.prompts = sd3_prompts, .count = 1, .tokens = 77, .skip = 3}, "3 layers left out of 3"},
        {{.prompts = latin1, .count = 1, .tokens = 77}, "not UTF-8"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_failed(aleat_text_encode(encoder, &wrong[i].request, &states, &err),
                      ALEAT_ERR_ARGUMENT, &err, wrong[i].text);
    aleat_text_encoder_free(encoder);
}

/* The published vocabulary has tokens that a smaller encoder does not know. */
/* Whatever a folder claims to hold. */
static void a_model_has_three_encoders_at_most(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_text_encoder *encoder;
    static const char *const parts[][2] = {
        {"text-encoders/sd3/model_index.json", "model_index.json"},
        {"text-encoders/sd3/text_encoder", "text_encoder_4"},
        {"text-encoders/sd3/text_encoder", "text_encoder"}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_int_equal(symlink(data_path(parts[i][0]), scratch(parts[i][1])), 0);
    for (int number = -1; number <= 4; number += 5)
        assert_failed(aleat_text_encoder_open(&encoder, scratch(""), number, NULL, &err),
                      ALEAT_ERR_ARGUMENT, &err, "there is no text encoder");
}

static void tokens_of_another_model_are_refused(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_text_states states;
    aleat_text_encoder *encoder =
        open_encoder(data_path("text-encoders/sd3/text_encoder/model.safetensors"), 1, NULL);
    const aleat_text_request request = {.prompts = sd3_prompts, .count = 1, .tokens = 77};
    assert_failed(aleat_text_encode(encoder, &request, &states, &err), ALEAT_ERR_ARGUMENT, &err,
                  "is beyond the encoder's 2048");
    aleat_text_encoder_free(encoder);
}

static void a_prompt_does_not_depend_on_the_others(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_text_states both, one;
    aleat_text_encoder *encoder = open_encoder(data_path("text-encoders/sd3"), 1, NULL);
    aleat_text_request request = {
        .prompts = sd3_prompts, .count = 2, .tokens = 77, .normed = true, .pooled = true};
    assert_ok(aleat_text_encode(encoder, &request, &both, &err), &err);
    request.prompts++;
    request.count = 1;
    assert_ok(aleat_text_encode(encoder, &request, &one, &err), &err);
    const int64_t size = 77 * one.width;
    assert_memory_equal(one.hidden, both.hidden + size, (size_t)size * sizeof(float));
    assert_memory_equal(one.pooled, both.pooled + one.pooled_width,
                        (size_t)one.pooled_width * sizeof(float));
    aleat_text_states_clear(&both);
    aleat_text_states_clear(&one);
    aleat_text_encoder_free(encoder);
}

static void what_is_cut_off_is_given_back(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_text_states states;
    aleat_text_encoder *encoder = open_encoder(data_path("text-encoders/sd3"), 1, NULL);
    const char *prompt = "a photo of a cat, a photo of the Sea";
    const aleat_text_request request = {.prompts = &prompt, .count = 1, .tokens = 8};
    assert_ok(aleat_text_encode(encoder, &request, &states, &err), &err);
    assert_non_null(states.cut[0]);
    assert_string_equal(states.cut[0] + strlen(states.cut[0]) - 7, "the sea");
    aleat_text_states_clear(&states);
    aleat_text_encoder_free(encoder);
}

/* Every allocation that fails makes the call fail, and leaves nothing behind. */
static void failing_allocations_are_errors(void **state)
{
    (void)state;
    aleat_error err = {0};
    const aleat_text_encoder_options options = {.threads = 1};
    const uint64_t before = aleat_alloc_bytes();
    uint64_t n = 1;
    for (bool done = false; !done; n += n < 64 ? 1 : n / 8) { // the first each, then fewer
        aleat_text_encoder *encoder = NULL;
        aleat_text_states states = {0};
        const aleat_text_request request = {
            .prompts = sd3_prompts, .count = 1, .tokens = 77, .pooled = true};
        const char *path = data_path("text-encoders/sd3");
        const uint64_t count = aleat_alloc_count();
        aleat_alloc_fail_at(n);
        aleat_status st = aleat_text_encoder_open(&encoder, path, 1, &options, &err);
        if (!st)
            st = aleat_text_encode(encoder, &request, &states, &err);
        aleat_alloc_fail_at(0);
        done = aleat_alloc_count() - count < n;
        if (!done)
            assert_int_not_equal(st, ALEAT_OK);
        aleat_text_states_clear(&states);
        aleat_text_encoder_free(encoder);
        assert_int_equal(aleat_alloc_bytes(), before);
    }
    print_message("%d allocations\n", (int)n);
}

/* ---- full size ------------------------------------------------------------------------------- */

static void assert_strided(const float *got, int64_t count, const json_t *want, double bound)
{
    const json_t *list = json_object_get(want, "strided256");
    const int64_t stride = json_integer_value(json_object_get(want, "stride"));
    double off = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        assert_true((int64_t)i * stride < count);
        off = fmax(off, fabs((double)got[(int64_t)i * stride] -
                             json_number_value(json_array_get(list, i))));
    }
    off /= json_number_value(json_object_get(want, "absmax"));
    print_message("full size: %.1e of the largest\n", off);
    if (!(off < bound))
        fail_msg("full size: off by %.1e of the largest, allowed %.0e", off, bound);
}

static void check_full_size(const char *path, const json_t *want, aleat_precision precision,
                            double bound)
{
    aleat_error err = {0};
    const char *prompt = "a photo of an astronaut riding a horse on mars";
    const aleat_text_encoder_options options = {.precision = precision};
    const aleat_text_request request = {
        .prompts = &prompt, .count = 1, .tokens = 77, .normed = true};
    aleat_text_encoder *encoder = open_encoder(path, 1, &options);
    aleat_text_states states;
    assert_ok(aleat_text_encode(encoder, &request, &states, &err), &err);
    const json_t *ids = json_object_get(json_object_get(want, "input"), "ids");
    for (size_t i = 0; i < 77; i++)
        assert_int_equal(states.ids[i], json_integer_value(json_array_get(ids, i)));
    assert_strided(states.hidden, 77 * states.width, want, bound);
    aleat_text_states_clear(&states);
    aleat_text_encoder_free(encoder);
}

/* Half a gigabyte of weights by formula: only when asked for. */
static void the_full_size_encoder_computes_what_the_reference_does(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_json shapes, expected;
    if (!getenv("ALEAT_TEST_FULL"))
        skip();
    if (!case_exists("t2i-shapes", "shapes.json"))
        return;
    assert_ok(aleat_json_load(&shapes, case_path("t2i-shapes", "shapes.json"), &err), &err);
    assert_ok(aleat_json_load(&expected, case_path("sd15-fullsize", "expected.json"), &err), &err);
    json_t *tensors = json_object_get(json_object_get(shapes.root, "sd15_text_encoder"), "tensors");
    for (size_t i = json_array_size(tensors); i-- > 0;) // integers, which nothing reads
        if (name_ends(json_string_value(json_array_get(json_array_get(tensors, i), 0)),
                      "position_ids"))
            json_array_remove(tensors, i);
    write_checkpoint(scratch("full.safetensors"), tensors, true);
    const json_t *want = json_object_get(expected.root, "text_encoder");
    const char *path = scratch("full.safetensors");
    // Twelve layers in float32; the reference's own are 8e-7 off. bf16 has 8 bits.
    check_full_size(path, want, ALEAT_PRECISION_F32, 1e-4);
    if (aleat_cpu_isa() == ALEAT_ISA_AVX512_BF16)
        check_full_size(path, want, ALEAT_PRECISION_BF16, 2e-2);
    aleat_json_clear(&shapes);
    aleat_json_clear(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_give_the_reference_outputs),
        cmocka_unit_test(stable_diffusion_1_gives_the_reference_outputs),
        cmocka_unit_test(a_single_file_of_stable_diffusion_3_gives_the_reference_outputs),
        cmocka_unit_test(openclip_names_give_the_same_outputs),
        cmocka_unit_test(a_folder_says_how_its_pipeline_uses_an_encoder),
        cmocka_unit_test(what_is_missing_or_wrong_is_said),
        cmocka_unit_test(a_model_has_three_encoders_at_most),
        cmocka_unit_test(tokens_of_another_model_are_refused),
        cmocka_unit_test(a_prompt_does_not_depend_on_the_others),
        cmocka_unit_test(what_is_cut_off_is_given_back),
        cmocka_unit_test(failing_allocations_are_errors),
        cmocka_unit_test(the_full_size_encoder_computes_what_the_reference_does),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
