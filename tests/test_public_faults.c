/*
 * Every public call with memory running out at its first allocation, its second, and so on, until
 * it gets through: each failure must be reported as such, and leave nothing behind.
 */
#include "case.h"
#include "checkpoint.h"

#include "aleat/aleat.h"
#include "base/alloc.h"
#include "io/json.h"
#include "io/npy.h"

enum { SIDE = 12, IMAGES = 2 };

typedef struct subject {
    aleat_model *model;       // open, for the calls on a model
    aleat_features *features; // likewise
    aleat_array x, rgb;
    char vae[512]; // an autoencoder
    char schedule[512], network[512];
    char folder[512];
} subject;

typedef aleat_status public_call(subject *s, aleat_error *err);

static aleat_status open_model(subject *s, aleat_error *err)
{
    (void)s;
    aleat_model *model;
    const aleat_open_options options = {.threads = 1};
    aleat_status st =
        aleat_model_open(&model, case_path("data/ddpm-unet-d", "model"), &options, err);
    if (!st)
        st = aleat_model_measure(model, err);
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
        st = aleat_model_evaluate(model, &s->x, t, NULL, NULL, &out, &s->x, &grad, err);
    aleat_array_clear(&out);
    aleat_array_clear(&grad);
    aleat_model_close(model);
    return st;
}

static aleat_status schedule_json(subject *s, aleat_error *err)
{
    char *text = NULL;
    const aleat_sampling_options options = {.steps = 10};
    const aleat_status st = aleat_schedule_json(&text, s->schedule, &options, NULL, err);
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
                                       .keep_x0 = true,
                                       .copies = 2,
                                       .guide = true,
                                       .percentile = 0.9,
                                       .strength = 1,
                                       .resume = "discard"};
    return aleat_model_generate(s->model, s->folder, &options, NULL, err);
}

static aleat_status fit(subject *s, aleat_error *err)
{
    const aleat_laplace_options options = {.n = 2, .schedule = s->schedule, .batch = 2};
    return aleat_model_laplace(s->model, scratch("grey.npz"), scratch("posterior"), &options, NULL,
                               err);
}

// Estimators beside Algorithm 1; the posterior is there (set_up()).
static aleat_status estimate(subject *s, aleat_model *model, const char *estimator,
                             aleat_features *features, aleat_error *err)
{
    const aleat_run_options options = {.n = IMAGES,
                                       .sampling = {.steps = 2, .schedule = s->schedule},
                                       .uncertainty = true,
                                       .estimator = estimator,
                                       .every = 1,
                                       .copies = 2,
                                       .laplace = scratch("posterior"),
                                       .features = features,
                                       .resume = "discard"};
    return aleat_model_generate(model, s->folder, &options, NULL, err);
}

static aleat_status bayesdiff(subject *s, aleat_error *err)
{
    return estimate(s, s->model, "bayesdiff", NULL, err);
}

static aleat_status generative(subject *s, aleat_error *err)
{
    return estimate(s, s->model, "generative", s->features, err);
}

static aleat_status dropout(subject *s, aleat_error *err)
{
    aleat_model *model;
    const aleat_open_options options = {.threads = 1, .dropout = 0.1};
    aleat_status st =
        aleat_model_open(&model, case_path("data/ddpm-unet-d", "model"), &options, err);
    if (!st)
        st = estimate(s, model, "mc-dropout", NULL, err);
    aleat_model_close(model);
    return st;
}

// From the maps of a run that there is (set_up()), and guidance by them.
static aleat_status thresholds(subject *s, aleat_error *err)
{
    const char *run = scratch("maps"), *file = scratch("t.npz");
    aleat_run_options options = {.n = 1,
                                 .sampling = {.steps = 3, .schedule = s->schedule},
                                 .copies = 2,
                                 .guide = true,
                                 .strength = 1,
                                 .thresholds = file,
                                 .resume = "discard"};
    const aleat_status st = aleat_threshold_make(file, &run, 1, NULL, 0.5, NULL, err);
    return st ? st : aleat_model_generate(s->model, s->folder, &options, NULL, err);
}

static aleat_images given(const subject *s)
{
    return (aleat_images){.n = IMAGES,
                          .height = SIDE,
                          .width = SIDE,
                          .channels = 1,
                          .floats = s->x.data,
                          .channels_first = true};
}

static aleat_status reconstruct(subject *s, aleat_error *err)
{
    const aleat_images images = given(s);
    const aleat_reconstruct_options options = {
        .run = {.sampling = {.steps = 4, .schedule = s->schedule},
                .copies = 2,
                .compat = "ause-zero-pad=1,units=score",
                .resume = "discard"}};
    aleat_reconstruct_result result;
    const aleat_status st =
        aleat_model_reconstruct(s->model, &images, s->folder, &options, &result, err);
    aleat_reconstruct_clear(&result);
    return st;
}

static aleat_status judge(subject *s, aleat_error *err)
{
    const aleat_images images = given(s);
    const aleat_judge_options options = {.run = {.sampling = {.steps = 4, .schedule = s->schedule},
                                                 .copies = 2,
                                                 .resume = "discard"},
                                         .repeats = 2,
                                         .fit = "resample"};
    return aleat_model_judge(s->model, &images, s->folder, &options, NULL, err);
}

static aleat_status corruptions(subject *s, aleat_error *err)
{
    const aleat_images images = given(s);
    const aleat_corruptions_options options = {
        .judge = {.run = {.sampling = {.steps = 4, .schedule = s->schedule},
                          .copies = 2,
                          .resume = "discard"}},
        .kinds = "blur,noise,splice,jpeg"};
    aleat_corruptions_result result;
    const aleat_status st =
        aleat_model_corruptions(s->model, &images, s->folder, &options, &result, err);
    aleat_corruptions_clear(&result);
    return st;
}

// A picture of the same run.
static aleat_status replay(subject *s, aleat_error *err)
{
    aleat_replay result;
    const aleat_replay_options options = {.model = case_path("data/ddpm-unet-d", "model"),
                                          .open = {.threads = 1},
                                          .schedule = s->schedule};
    const aleat_status st =
        aleat_replay_image(&result, scratch("maps/images/000000.png"), &options, err);
    if (!st)
        assert_true(result.identical);
    aleat_replay_clear(&result);
    return st;
}

// Where the reference vectors are.
static aleat_status prompts(subject *s, aleat_error *err)
{
    (void)s;
    const char *path = case_path("data/pipelines", "sd3");
    const char *const texts[] = {"a cat", "a dog"}, *const negatives[] = {"night", ""};
    const aleat_open_options options = {.threads = 1, .height = 12, .width = 16};
    const aleat_prompt_options wanted = {
        .prompts = texts,
        .count = 2,
        .negatives = negatives,
        .n_negatives = 2,
        .no_t5 = true,
        .encoders = {.clip_l = data_path("text-encoders/sd3/text_encoder"),
                     .tokenizer = data_path("text-encoders/sd3/tokenizer")}};
    aleat_model *model = NULL;
    aleat_prompts encoded = {0};
    const aleat_status st =
        aleat_model_open_prompts(&model, &encoded, path, &options, &wanted, err);
    aleat_prompts_clear(&encoded);
    aleat_model_close(model);
    return st;
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

// From the beginning each time: a folder that is gone on with takes another way.
static aleat_status train(subject *s, aleat_error *err)
{
    static const char config[] =
        "{\"_class_name\": \"UNet2DModel\", \"sample_size\": 8, \"block_out_channels\": [8, 8], "
        "\"layers_per_block\": 1, \"down_block_types\": [\"DownBlock2D\", \"DownBlock2D\"], "
        "\"up_block_types\": [\"UpBlock2D\", \"UpBlock2D\"], \"norm_num_groups\": 4, "
        "\"attention_head_dim\": 8, \"num_class_embeds\": 2}";
    char path[512], out[512];
    (void)snprintf(path, sizeof path, "%s", scratch("train.json"));
    (void)snprintf(out, sizeof out, "%s", scratch("trained"));
    FILE *file = fopen(path, "w");
    assert_true(file && fputs(config, file) >= 0 && fclose(file) == 0);
    (void)nftw(out, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    aleat_train_options o;
    aleat_train_defaults(&o);
    (void)s;
    o.config = path;
    o.data = case_path("data/dataset", "adm.npz");
    o.out = out;
    o.steps = 2;
    o.warmup = 0;
    o.batch = 2;
    o.threads = 1;
    o.validate_every = 2;
    o.validation = 0.5;
    o.sample_every = 0;
    o.checkpoint_seconds = 0;
    return aleat_train(&o, NULL, err);
}

// Grey images in a file, through a network of colours.
static aleat_status features(subject *s, aleat_error *err)
{
    enum { CIFAR = 32, DIM = 16, CLASSES = 10 };
    const int64_t dim[] = {IMAGES, 1, CIFAR, CIFAR};
    const char *path = scratch("images.npy");
    const aleat_features_options options = {.threads = 1, .batch = 1};
    float of[IMAGES * DIM], logits[IMAGES * CLASSES];
    aleat_array array = {0};
    aleat_image_set *set = NULL;
    aleat_features *net = NULL;
    aleat_status st = aleat_array_new(&array, 4, dim, err);
    if (!st)
        st = aleat_array_write(path, &array, err);
    if (!st)
        st = aleat_image_set_open(&set, path, NULL, err);
    if (!st)
        st = aleat_features_open(&net, s->network, &options, err);
    if (!st) {
        const aleat_images images = aleat_image_set_images(set);
        st = aleat_features_run(net, &images, of, logits, err);
    }
    aleat_features_close(net);
    aleat_image_set_close(set);
    aleat_array_clear(&array);
    return st;
}

// The autoencoder of tests/data/synthetic in `s->vae`; both directions, with values in a file.
static aleat_status autoencode(subject *s, aleat_error *err)
{
    aleat_vae *vae;
    const aleat_vae_options options = {.threads = 1, .memory = 4096};
    aleat_array mean = {0}, logvar = {0}, noise = {0}, latents = {0}, grad = {0}, back = {0};
    aleat_status st = aleat_vae_open(&vae, s->vae, &options, err);
    if (!st)
        st = aleat_vae_encode(vae, &s->rgb, &mean, &logvar, NULL, NULL, err);
    if (!st)
        st = aleat_vae_noise(&mean, 1, &noise, err);
    if (!st)
        st = aleat_vae_latents(vae, &mean, &logvar, &noise, &latents, err);
    if (!st)
        st = aleat_vae_decode(vae, &latents, &back, &s->rgb, &grad, err);
    aleat_array_clear(&mean);
    aleat_array_clear(&logvar);
    aleat_array_clear(&noise);
    aleat_array_clear(&latents);
    aleat_array_clear(&grad);
    aleat_array_clear(&back);
    aleat_vae_close(vae);
    return st;
}

static aleat_status checkpoint(subject *s, aleat_error *err)
{
    aleat_checkpoint *file;
    aleat_array values = {0};
    aleat_status st = aleat_checkpoint_open(&file, s->vae, err);
    if (!st)
        st = aleat_checkpoint_read(file, "decoder.conv_in.bias", &values, err);
    aleat_array_clear(&values);
    aleat_checkpoint_close(file);
    return st;
}

static aleat_status text(subject *s, aleat_error *err)
{
    (void)s;
    static const char *const prompts[] = {"a cat"};
    const aleat_text_options options = {.threads = 1, .clip_skip = 2, .tokens = 7};
    const char *path = data_path("text-encoders/sd3");
    aleat_encoded_text text;
    aleat_status st = aleat_encode_text(&text, path, prompts, 1, &options, err);
    if (!st)
        st = aleat_ids_write(scratch("ids.npy"), text.ids, 1, text.tokens, err);
    aleat_encoded_text_clear(&text);
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
    const int64_t rgb[] = {1, 3, SIDE, SIDE};
    aleat_json json = {0};
    assert_ok(aleat_array_new(&s->rgb, 4, rgb, &err), &err);
    assert_ok(aleat_json_load(&json, case_path("data/synthetic", "vae.json"), &err), &err);
    (void)snprintf(s->vae, sizeof s->vae, "%s", scratch("vae.safetensors"));
    write_checkpoint(s->vae, json_object_get(json.root, "tensors"), true);
    aleat_json_clear(&json);
    (void)snprintf(s->schedule, sizeof s->schedule, "%s",
                   case_path("data/sched-ddim", "leading0-cifar-clip/scheduler_config.json"));
    (void)snprintf(s->network, sizeof s->network, "%s", scratch("resnet.safetensors"));
    write_checkpoint_of(s->network, case_path("data/cifar_resnet", "shapes.json"));
    (void)snprintf(s->folder, sizeof s->folder, "%s", scratch("run"));
    const aleat_run_options maps = {.n = IMAGES,
                                    .sampling = {.steps = 3, .schedule = s->schedule},
                                    .uncertainty = true,
                                    .score_steps = {0, 3},
                                    .keep_step_maps = true,
                                    .copies = 2};
    assert_ok(aleat_model_generate(s->model, scratch("maps"), &maps, NULL, &err), &err);
    uint8_t grey[3 * SIDE * SIDE];
    for (int j = 0; j < 3 * SIDE * SIDE; j++)
        grey[j] = (uint8_t)(7 * j);
    const aleat_shape shape = aleat_shape_of(3, (int64_t)3, (int64_t)SIDE, (int64_t)SIDE);
    const aleat_named_array array = {"arr_0", aleat_tensor_view(ALEAT_U8, &shape, grey)};
    assert_ok(aleat_npz_write(scratch("grey.npz"), &array, 1, false, &err), &err);
    assert_ok(fit(s, &err), &err);
    const aleat_features_options one = {.threads = 1};
    assert_ok(aleat_features_open(&s->features,
                                  case_path("data/../../models", "fashion-classifier"), &one, &err),
              &err);
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
                 {"reconstruct", reconstruct},
                 {"judge", judge},
                 {"corruptions", corruptions},
                 {"train", train},
                 {"thresholds", thresholds},
                 {"laplace", fit},
                 {"bayesdiff", bayesdiff},
                 {"generative", generative},
                 {"mc-dropout", dropout},
                 {"replay", replay},
                 {"prompts", prompts},
                 {"features", features},
                 {"autoencode", autoencode},
                 {"checkpoint", checkpoint},
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
    aleat_array_clear(&s.rgb);
    aleat_features_close(s.features);
    aleat_model_close(s.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_public_call_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
