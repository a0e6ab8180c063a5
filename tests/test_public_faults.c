/*
 * Every public call with memory running out at its first allocation, its second, and so on, until
 * it gets through: each failure must be reported as such, and leave nothing behind.
 */
#include "case.h"

#include "aleat/aleat.h"
#include "base/alloc.h"

enum { SIDE = 12, IMAGES = 2 };

typedef struct subject {
    aleat_model *model; // open, for the calls on a model
    aleat_array x;
    char schedule[512];
    char folder[512];
} subject;

typedef aleat_status public_call(subject *s, aleat_error *err);

static aleat_status open_model(subject *s, aleat_error *err)
{
    (void)s;
    aleat_model *model;
    const aleat_open_options options = {.threads = 1};
    const aleat_status st =
        aleat_model_open(&model, case_path("data/ddpm-unet-d", "model"), &options, err);
    aleat_model_close(model);
    return st;
}

// A model is opened anew, so that the plans are made within the call.
static aleat_status evaluate(subject *s, aleat_error *err)
{
    aleat_model *model;
    const aleat_open_options options = {.threads = 1};
    aleat_array out = {0}, grad = {0};
    const float t[IMAGES] = {5, 900};
    aleat_status st =
        aleat_model_open(&model, case_path("data/ddpm-unet-d", "model"), &options, err);
    if (!st)
        st = aleat_model_evaluate(model, &s->x, t, NULL, &out, &s->x, &grad, err);
    aleat_array_clear(&out);
    aleat_array_clear(&grad);
    aleat_model_close(model);
    return st;
}

static aleat_status schedule_json(subject *s, aleat_error *err)
{
    char *text = NULL;
    const aleat_sampling_options options = {.steps = 10};
    const aleat_status st = aleat_schedule_json(&text, s->schedule, &options, err);
    free(text);
    return st;
}

static aleat_status uncertainty(subject *s, aleat_error *err)
{
    aleat_uncertainty u = {0};
    const aleat_uncertainty_options options = {.schedule = s->schedule, .copies = 3};
    const aleat_status st =
        aleat_model_uncertainty(s->model, &s->x, 400, NULL, &options, 1, &u, err);
    aleat_uncertainty_clear(&u);
    return st;
}

static aleat_status generate(subject *s, aleat_error *err)
{
    const aleat_run_options options = {.n = IMAGES,
                                       .sampling = {.steps = 3, .schedule = s->schedule},
                                       .uncertainty = true,
                                       .copies = 2,
                                       .guide = true,
                                       .percentile = 0.9,
                                       .strength = 1,
                                       .resume = "discard"};
    return aleat_model_generate(s->model, s->folder, &options, NULL, err);
}

static aleat_status arrays(subject *s, aleat_error *err)
{
    aleat_array array = {0};
    const char *path = scratch("array.npy");
    aleat_status st = aleat_array_write(path, &s->x, err);
    if (!st)
        st = aleat_array_read(&array, path, err);
    aleat_array_clear(&array);
    return st;
}

static aleat_status text(subject *s, aleat_error *err)
{
    (void)s;
    static const char *const prompts[] = {"a cat"};
    const aleat_text_options options = {.threads = 1, .clip_skip = 2, .tokens = 7};
    const char *path = data_path("text-encoders/sd3");
    aleat_text text;
    aleat_status st = aleat_encode_text(&text, path, prompts, 1, &options, err);
    if (!st)
        st = aleat_ids_write(scratch("ids.npy"), text.ids, 1, text.tokens, err);
    aleat_text_clear(&text);
    return st;
}

static aleat_status tokens(subject *s, aleat_error *err)
{
    (void)s;
    static const char *const prompts[] = {"a cat", ""};
    char *json = NULL;
    const aleat_status st =
        aleat_tokenize_json(&json, data_path("text-encoders/sd3/tokenizer"), prompts, 2, NULL, err);
    free(json);
    return st;
}

static void set_up(subject *s)
{
    memset(s, 0, sizeof *s);
    aleat_error err = {0};
    const aleat_open_options options = {.threads = 1};
    const int64_t dim[] = {IMAGES, 1, SIDE, SIDE};
    assert_ok(aleat_model_open(&s->model, case_path("data/ddpm-unet-d", "model"), &options, &err),
              &err);
    assert_ok(aleat_array_new(&s->x, 4, dim, &err), &err);
    (void)snprintf(s->schedule, sizeof s->schedule, "%s",
                   case_path("data/sched-ddim", "leading0-cifar-clip/scheduler_config.json"));
    (void)snprintf(s->folder, sizeof s->folder, "%s", scratch("run"));
}

static void every_public_call_survives_every_failing_allocation(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        public_call *call;
    } calls[] = {{"open", open_model},
                 {"evaluate", evaluate},
                 {"schedule", schedule_json},
                 {"uncertainty", uncertainty},
                 {"generate", generate},
                 {"arrays", arrays},
                 {"text", text},
                 {"tokens", tokens}};
    subject s;
    set_up(&s);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        aleat_error err = {0};
        assert_ok(calls[i].call(&s, &err), &err); // what is kept between calls is there now
        const uint64_t kept = aleat_alloc_bytes(), before = aleat_alloc_count();
        assert_ok(calls[i].call(&s, &err), &err);
        const uint64_t allocations = aleat_alloc_count() - before;
        // Long calls are sampled: a stride that is prime, so that no pattern of theirs hides.
        const uint64_t stride = allocations > 400 ? 7 : 1;
        for (uint64_t n = 1; n <= allocations; n += stride) {
            err = (aleat_error){0};
            aleat_alloc_fail_at(n);
            const aleat_status st = calls[i].call(&s, &err);
            aleat_alloc_fail_at(0);
            if (st == ALEAT_OK)
                continue; // an allocation whose failure only makes a message shorter
            assert_string_not_equal(err.message, "");
            if (aleat_alloc_bytes() > kept)
                fail_msg("%s: %llu bytes lost at allocation %llu", calls[i].name,
                         (unsigned long long)(aleat_alloc_bytes() - kept), (unsigned long long)n);
        }
        assert_ok(calls[i].call(&s, &err), &err); // and it still works
    }
    aleat_array_clear(&s.x);
    aleat_model_close(s.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_public_call_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
