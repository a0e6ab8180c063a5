/* Text encoders against transformers' outputs, in every layout they come in. */
#include "case.h"

#include "base/alloc.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_give_the_reference_outputs),
        cmocka_unit_test(a_folder_says_how_its_pipeline_uses_an_encoder),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
