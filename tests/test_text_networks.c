/* Networks conditioned on texts against their reference programs: outputs and vector-Jacobian
 * products, from diffusers folders and from original files. */
#include "checkpoint.h"
#include "derivative.h"

#include "denoiser/cfg.h"
#include "samplers/sampler.h"
#include "uncertainty/guidance.h"

enum { MOST = 8 };

// A case: where the network and its arrays are. Arrays of all networks of a model are shared.
typedef struct text_case {
    const char *folder, *model;
    const char *x, *t, *context, *pooled, *guidance; // NULL: none
    const char *out, *cotangent, *grad;              // the last two NULL: no derivative
    int64_t height, width;                           // of x
    float time;                                      // instead of t, or 0
    int pack;                                        // arrays are [N, tokens, channels pack^2]
} text_case;

static const text_case cases[] = {
    {"sd15-tiny", "model", "unet/x.npy", "unet/t.npy", "unet/context.npy", NULL, NULL,
     "unet/eps.npy", "unet/v.npy", "unet/vjp.npy", 16, 16, 0, 0},
    {"sd15-tiny", "single/sd15-tiny.safetensors", "unet/x.npy", "unet/t.npy", "unet/context.npy",
     NULL, NULL, "unet/eps.npy", "unet/v.npy", "unet/vjp.npy", 16, 16, 0, 0},
    {"sd15-tiny", "model", "unet/odd_x.npy", "unet/t.npy", "unet/context.npy", NULL, NULL,
     "unet/odd_eps.npy", NULL, NULL, 19, 17, 341, 0},
    {"sd3-tiny", "model", "transformer/x.npy", "transformer/t.npy", "transformer/context.npy",
     "transformer/pooled.npy", NULL, "transformer/v.npy", "transformer/cotangent.npy",
     "transformer/vjp.npy", 12, 16, 0, 0},
    {"sd3-tiny", "single/sd3-tiny.safetensors", "transformer/x.npy", "transformer/t.npy",
     "transformer/context.npy", "transformer/pooled.npy", NULL, "transformer/v.npy",
     "transformer/cotangent.npy", "transformer/vjp.npy", 12, 16, 0, 0},
    {"sd3-tiny", "sd35_large", "transformer/x.npy", "transformer/t.npy", "transformer/context.npy",
     "transformer/pooled.npy", NULL, "sd35_large/v.npy", "transformer/cotangent.npy",
     "sd35_large/vjp.npy", 12, 16, 0, 0},
    {"sd3-tiny", "sd35_medium", "transformer/x.npy", "transformer/t.npy", "transformer/context.npy",
     "transformer/pooled.npy", NULL, "sd35_medium/v.npy", "transformer/cotangent.npy",
     "sd35_medium/vjp.npy", 12, 16, 0, 0},
    {"sd3-tiny", "sd35_medium/single.safetensors", "transformer/x.npy", "transformer/t.npy",
     "transformer/context.npy", "transformer/pooled.npy", NULL, "sd35_medium/v.npy",
     "transformer/cotangent.npy", "sd35_medium/vjp.npy", 12, 16, 0, 0},
    {"flux-tiny", "model", "transformer/x.npy", "transformer/t.npy", "transformer/context.npy",
     "transformer/pooled.npy", "transformer/guidance.npy", "transformer/v.npy",
     "transformer/cotangent.npy", "transformer/vjp.npy", 12, 16, 0, 2},
    {"flux-tiny", "single/flux-tiny.safetensors", "transformer/x.npy", "transformer/t.npy",
     "transformer/context.npy", "transformer/pooled.npy", "transformer/guidance.npy",
     "transformer/v.npy", "transformer/cotangent.npy", "transformer/vjp.npy", 12, 16, 0, 2},
};
enum { CASES = sizeof cases / sizeof *cases };

// A case's arrays in memory, its network open.
typedef struct opened {
    const text_case *c;
    aleat_model_files files;
    aleat_tensor x, t, context, pooled, guidance, out, cotangent, grad;
    aleat_text texts[MOST];
    const aleat_text *pointers[MOST];
    aleat_batch batch;
    int64_t size; // elements of an image, as of its output
} opened;

// [.., h/2 w/2, (c, dy, dx)] as FLUX packs latents, to [.., c, h, w].
static void unpack(const text_case *c, aleat_tensor *a)
{
    if (!c->pack)
        return;
    const int64_t p = c->pack, h = c->height / p, w = c->width / p;
    const int64_t channels = a->shape.dim[a->shape.n_dims - 1] / (p * p);
    float *values = aleat_tensor_f32(a);
    float *copy = aleat_alloc((size_t)aleat_tensor_count(a) * sizeof *copy);
    memcpy(copy, values, (size_t)aleat_tensor_count(a) * sizeof *copy);
    for (int64_t i = 0; i < aleat_tensor_count(a); i++) {
        const int64_t dx = i % p, dy = i / p % p, k = i / (p * p) % channels;
        const int64_t token = i / (p * p * channels) % (h * w),
                      image = i / (p * p * channels) / (h * w);
        values[((image * channels + k) * c->height + token / w * p + dy) * c->width +
               token % w * p + dx] = copy[i];
    }
    aleat_free(copy);
}

static aleat_tensor load_part(const text_case *c, const char *name)
{
    return name ? load(c->folder, name) : (aleat_tensor){0};
}

static opened open_text_case(const text_case *c)
{
    opened o = {.c = c,
                .x = load_part(c, c->x),
                .t = load_part(c, c->t),
                .context = load_part(c, c->context),
                .pooled = load_part(c, c->pooled),
                .guidance = load_part(c, c->guidance),
                .out = load_part(c, c->out),
                .cotangent = load_part(c, c->cotangent),
                .grad = load_part(c, c->grad)};
    aleat_tensor *const images[] = {&o.x, &o.out, &o.cotangent, &o.grad};
    for (int i = 0; i < 4; i++)
        if (images[i]->shape.n_dims)
            unpack(c, images[i]);
    aleat_error err = {0};
    const aleat_model_options options = {
        .height = c->height, .width = c->width, .context_tokens = o.context.shape.dim[1]};
    if (aleat_model_files_open(&o.files, case_path(c->folder, c->model), &options, &err))
        fail_msg("%s", err.message);
    const aleat_denoiser_info *info = &o.files.info;
    const int64_t n =
        o.context.shape.dim[0] < o.x.shape.dim[0] ? o.context.shape.dim[0] : o.x.shape.dim[0];
    for (int64_t i = 0; c->time != 0 && i < n; i++)
        aleat_tensor_f32(&o.t)[i] = c->time;
    for (int64_t i = 0; i < n; i++) {
        o.texts[i] = (aleat_text){
            .context = aleat_tensor_f32(&o.context) + i * info->context_tokens * info->context_dim,
            .pooled = c->pooled ? aleat_tensor_f32(&o.pooled) + i * info->pooled_dim : NULL,
            .guidance = c->guidance ? aleat_tensor_f32(&o.guidance)[i] : 0};
    }
    o.batch = (aleat_batch){.n = n,
                            .height = c->height,
                            .width = c->width,
                            .x = aleat_tensor_f32(&o.x),
                            .t = aleat_tensor_f32(&o.t)};
    o.size = aleat_tensor_count(&o.x) / n;
    return o;
}

static void close_text_case(opened *o)
{
    aleat_tensor *const all[] = {&o->x,        &o->t,   &o->context,   &o->pooled,
                                 &o->guidance, &o->out, &o->cotangent, &o->grad};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        aleat_tensor_clear(all[i]);
    aleat_model_files_close(&o->files);
}

static aleat_denoiser text_denoiser(const opened *o, aleat_precision precision, int threads,
                                    int64_t max_images, int64_t reverse_mb)
{
    const aleat_network *n = &o->files.network;
    const aleat_network_spec spec = {.graph = o->files.graph,
                                     .x = n->x,
                                     .t = n->t,
                                     .label = n->label,
                                     .out = n->out,
                                     .context = n->context,
                                     .pooled = n->pooled,
                                     .guidance = n->guidance,
                                     .info = o->files.info,
                                     .engine = {.threads = threads, .precision = precision},
                                     .max_images = max_images,
                                     .reverse_mb = reverse_mb};
    aleat_denoiser d;
    aleat_error err = {0};
    if (aleat_network_denoiser(&d, &spec, &err))
        fail_msg("%s", err.message);
    return d;
}

// The batch with its texts; the pointers are the case's.
static aleat_batch text_batch(opened *o)
{
    aleat_batch batch = o->batch;
    for (int64_t i = 0; i < batch.n; i++)
        o->pointers[i] = &o->texts[i];
    batch.condition.texts = o->pointers;
    return batch;
}

static void check_case(const text_case *c, aleat_precision precision, double bound)
{
    opened o = open_text_case(c);
    aleat_denoiser d = text_denoiser(&o, precision, 2, 0, 0);
    const aleat_batch batch = text_batch(&o);
    const int64_t n = batch.n * o.size;
    float *out = aleat_alloc((size_t)n * sizeof *out),
          *grad = aleat_alloc((size_t)n * sizeof *grad);
    aleat_error err = {0};
    assert_ok(aleat_denoiser_predict(&d, &batch, out, &err), &err);
    double off = aleat_relative_l2(out, aleat_tensor_f32(&o.out), n);
    print_message("%s/%s: %.2e", c->folder, c->model, off);
    if (!(off < bound))
        fail_msg("%s/%s: output %.2e", c->folder, c->model, off);
    if (c->grad) {
        assert_ok(d.ops->forward_keep(d.self, &batch, out, &err), &err);
        assert_ok(d.ops->backward(d.self, aleat_tensor_f32(&o.cotangent), grad, &err), &err);
        off = aleat_relative_l2(grad, aleat_tensor_f32(&o.grad), n);
        print_message(" %.2e", off);
        if (!(off < bound))
            fail_msg("%s/%s: gradient %.2e", c->folder, c->model, off);
    }
    print_message("\n");
    aleat_free(out);
    aleat_free(grad);
    aleat_denoiser_destroy(&d);
    close_text_case(&o);
}

static void networks_agree_with_their_reference(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++)
        if (case_exists(cases[i].folder, cases[i].x))
            check_case(&cases[i], ALEAT_PRECISION_F32, 2e-5);
}

static void networks_in_bf16_agree_with_their_reference(void **state)
{
    (void)state;
    if (aleat_cpu_isa() < ALEAT_ISA_AVX512_BF16) {
        print_message("skipped: this processor has no bf16 instructions\n");
        return;
    }
    for (int i = 0; i < CASES; i++)
        if (case_exists(cases[i].folder, cases[i].x))
            check_case(&cases[i], ALEAT_PRECISION_BF16, 3e-2);
}

/* ---- bits and texts -------------------------------------------------------------------------- */

// Outputs and gradients of three images, two of which have the first one's text.
static void three_images(opened *o, int threads, int64_t max_images, int64_t reverse_mb,
                         bool shared, float *out, float *grad)
{
    enum { N = 3 };
    static const float t[N] = {900, 400, 30};
    aleat_denoiser d = text_denoiser(o, ALEAT_PRECISION_F32, threads, max_images, reverse_mb);
    const int64_t n = N * o->size;
    float *x = numbers(n, 7), *v = numbers(n, 8);
    const aleat_text copy = o->texts[0]; // the same text under another address
    const aleat_text *texts[N] = {&o->texts[0], &o->texts[1], shared ? &o->texts[0] : &copy};
    aleat_batch batch = text_batch(o);
    batch.n = N;
    batch.x = x;
    batch.t = t;
    batch.condition.texts = texts;
    aleat_error err = {0};
    for (int again = 0; again < 2; again++) { // the second time nothing of the texts is computed
        assert_ok(d.ops->forward_keep(d.self, &batch, out, &err), &err);
        assert_ok(d.ops->backward(d.self, v, grad, &err), &err);
    }
    aleat_free(x);
    aleat_free(v);
    aleat_denoiser_destroy(&d);
}

static void results_do_not_depend_on_threads_parts_or_who_shares_a_text(void **state)
{
    (void)state;
    static const struct {
        int threads;
        int64_t max_images, reverse_mb;
        bool shared;
    } ways[] = {{1, 0, 0, true}, {2, 0, 0, false}, {2, 1, 1, true}, {1, 2, 1, false}};
    static const int chosen[] = {0, 3, 6, 8}; // a U-Net, three transformers
    for (size_t k = 0; k < sizeof chosen / sizeof *chosen; k++) {
        const text_case *c = &cases[chosen[k]];
        if (!case_exists(c->folder, c->x))
            continue;
        opened o = open_text_case(c);
        const size_t bytes = (size_t)(3 * o.size) * sizeof(float);
        float *want = aleat_alloc(bytes), *pulled = aleat_alloc(bytes);
        float *out = aleat_alloc(bytes), *grad = aleat_alloc(bytes);
        three_images(&o, 1, 0, 0, false, want, pulled);
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            three_images(&o, ways[i].threads, ways[i].max_images, ways[i].reverse_mb,
                         ways[i].shared, out, grad);
            if (memcmp(out, want, bytes) || memcmp(grad, pulled, bytes))
                fail_msg("%s/%s, way %d: other bits", c->folder, c->model, (int)i);
        }
        aleat_free(want);
        aleat_free(pulled);
        aleat_free(out);
        aleat_free(grad);
        close_text_case(&o);
    }
}

static void a_changed_text_is_noticed(void **state)
{
    (void)state;
    const text_case *c = &cases[0];
    if (!case_exists(c->folder, c->x))
        return;
    opened o = open_text_case(c);
    aleat_denoiser d = text_denoiser(&o, ALEAT_PRECISION_F32, 1, 0, 0);
    aleat_denoiser fresh = text_denoiser(&o, ALEAT_PRECISION_F32, 1, 0, 0);
    const aleat_batch batch = text_batch(&o);
    const size_t bytes = (size_t)(batch.n * o.size) * sizeof(float);
    float *before = aleat_alloc(bytes), *after = aleat_alloc(bytes), *want = aleat_alloc(bytes);
    aleat_error err = {0};
    assert_ok(aleat_denoiser_predict(&d, &batch, before, &err), &err);
    aleat_tensor_f32(&o.context)[5] += 1; // in place: the pointers stay
    assert_ok(aleat_denoiser_predict(&d, &batch, after, &err), &err);
    assert_ok(aleat_denoiser_predict(&fresh, &batch, want, &err), &err);
    assert_memory_not_equal(before, after, bytes);
    assert_memory_equal(after, want, bytes);
    aleat_batch without = batch;
    without.condition.texts = NULL;
    assert_failed(aleat_denoiser_predict(&d, &without, after, &err), ALEAT_ERR_ARGUMENT, &err,
                  "needs an encoded text for every image: context [77,16]");
    aleat_free(before);
    aleat_free(after);
    aleat_free(want);
    aleat_denoiser_destroy(&d);
    aleat_denoiser_destroy(&fresh);
    close_text_case(&o);
}

/* ---- Algorithm 2 ----------------------------------------------------------------------------- */

// A guided run of a reference: with classifier-free guidance (texts: negative, positive) or not.
typedef struct guided_case {
    text_case arrays; // x: what a run starts from; t: copies' noise; out: states after each step
    const char *scheduler, *sampler;
    int steps, begin, end; // guided are [begin, end)
    double cfg, strength;
    aleat_guide_statistic statistic;
} guided_case;

static const guided_case guided_cases[] = {
    {{"sd15-tiny", "model", "pipe/lat0.npy", "alg1/noise.npy", "pipe/embeds.npy", NULL, NULL,
      "alg2/gradient_x_next.npy", NULL, NULL, 16, 16, 0, 0},
     "model/scheduler/scheduler_config.json",
     "ddim",
     6,
     0,
     3,
     7.5,
     0.08,
     ALEAT_GUIDE_VAR1},
    {{"sd3-tiny", "model", "pipe/lat0.npy", "alg1/noise.npy", "text/prompt_embeds.npy",
      "text/pooled.npy", NULL, "alg2/x_next.npy", NULL, NULL, 12, 16, 0, 0},
     "model/scheduler/scheduler_config.json",
     NULL,
     6,
     1,
     4,
     7,
     0.4,
     ALEAT_GUIDE_V},
    {{"flux-tiny", "model", "pipe/lat0.npy", "alg1/noise.npy", "text/t5_embeds.npy",
      "text/pooled.npy", NULL, "alg2/x_next.npy", NULL, NULL, 12, 16, 0, 2},
     "model/scheduler/scheduler_config.json",
     NULL,
     4,
     1,
     3,
     1,
     0.8,
     ALEAT_GUIDE_V},
};

typedef struct guided_run {
    const guided_case *c;
    aleat_guide *guide;
    aleat_noise_source noise;
    const float *want; // states after each step
    int64_t size;
    double largest; // relative distance of a state
} guided_run;

static aleat_status guide_step(void *ctx, aleat_evaluation *e, aleat_error *err)
{
    const guided_run *r = ctx;
    if (e->step->outer < r->c->begin || e->step->outer >= r->c->end)
        return ALEAT_OK;
    const aleat_noisy_state state = aleat_noisy_state_of(e);
    e->eps_changed = true;
    return aleat_guide_run(r->guide, &state, &r->noise, NULL, e->eps, NULL, err);
}

static aleat_status compare_state(void *ctx, int index, const float *x, int64_t n, aleat_error *err)
{
    (void)err;
    (void)n;
    guided_run *r = ctx;
    if (index >= 0)
        r->largest = fmax(r->largest, aleat_relative_l2(x, r->want + index * r->size, r->size));
    return ALEAT_OK;
}

static aleat_sampling_plan *plan_of(const guided_case *c, const aleat_model_files *files)
{
    aleat_json json = {0};
    aleat_error err = {0};
    aleat_sampler_config config;
    aleat_sampling_plan *plan = NULL;
    aleat_status st = aleat_json_load(&json, case_path(c->arrays.folder, c->scheduler), &err);
    if (!st)
        st = aleat_sampler_config_parse(&config, &json, c->sampler, &err);
    if (st)
        fail_msg("%s", err.message);
    config.image_tokens = files->image_tokens;
    config.flow_grid = files->flow_to_one_step ? ALEAT_FLOW_TO_ONE_STEP : ALEAT_FLOW_TO_TRAINING;
    config.clip.clamp = false; // the pipelines' latents are not clipped
    assert_ok(aleat_sampling_plan_new(&plan, &config, c->steps, &err), &err);
    aleat_json_clear(&json);
    aleat_sampler_config_clear(&config);
    return plan;
}

static void check_guided(const guided_case *c)
{
    static const uint32_t image = 0;
    const bool cfg = c->cfg != 1;
    text_case arrays = c->arrays;
    arrays.out = NULL; // whose states are packed, as the noise is
    arrays.pack = 0;
    opened o = open_text_case(&arrays);
    aleat_tensor noise = load(c->arrays.folder, c->arrays.t);
    aleat_tensor want = load(c->arrays.folder, c->arrays.out);
    unpack(&c->arrays, &noise);
    unpack(&c->arrays, &want);
    const aleat_denoiser_info *info = &o.files.info;
    const int rows = cfg ? 2 : 1;
    for (int i = 0; i < rows; i++)
        o.texts[i] = (aleat_text){
            .context = aleat_tensor_f32(&o.context) + i * info->context_tokens * info->context_dim,
            .pooled = info->pooled_dim ? aleat_tensor_f32(&o.pooled) + i * info->pooled_dim : NULL,
            .guidance = 3.5f};
    const aleat_text *negative = &o.texts[0], *positive = &o.texts[rows - 1];
    aleat_denoiser network = text_denoiser(&o, ALEAT_PRECISION_F32, 2, 0, 0), guided = {0};
    aleat_error err = {0};
    const aleat_cfg_options options = {.scale = c->cfg, .unconditional = {.texts = &negative}};
    if (cfg)
        assert_ok(aleat_cfg_denoiser(&guided, &network, &options, &err), &err);
    const aleat_denoiser *d = cfg ? &guided : &network;
    aleat_sampling_plan *plan = plan_of(c, &o.files);
    aleat_noise_arrays stored = {.copy = aleat_tensor_f32(&noise),
                                 .images = 1,
                                 .count = o.size,
                                 .copies = noise.shape.dim[1],
                                 .copy_steps = noise.shape.dim[0]};
    guided_run run = {.c = c,
                      .noise = aleat_noise_from_arrays(&stored),
                      .want = aleat_tensor_f32(&want),
                      .size = o.size};
    aleat_guide_options guide = aleat_guide_defaults();
    guide.copies = (int)noise.shape.dim[1];
    guide.strength = c->strength;
    guide.statistic = c->statistic;
    assert_ok(aleat_guide_new(&run.guide, d, plan->prediction, &guide, 1, c->arrays.height,
                              c->arrays.width, &err),
              &err);
    aleat_sampler *sampler;
    const aleat_time_map map = {o.files.time_scale, o.files.time_scale * o.files.time_offset};
    assert_ok(aleat_sampler_new(&sampler, plan, d, map, 1, c->arrays.height, c->arrays.width, &err),
              &err);
    const aleat_sample_request request = {
        .n = 1,
        .images = &image,
        .condition = {.texts = &positive},
        .noise = run.noise,
        .initial = aleat_tensor_f32(&o.x),
        .hooks = {.ctx = &run, .evaluated = guide_step, .advanced = compare_state}};
    float *x = aleat_alloc((size_t)o.size * sizeof *x);
    assert_ok(aleat_sampler_run(sampler, &request, x, &err), &err);
    print_message("%s, guided: %.1e\n", c->arrays.folder, run.largest);
    // The bound of pipelines. Masks may flip where U is within rounding of the threshold.
    assert_true(run.largest < 1e-3);
    aleat_free(x);
    aleat_sampler_free(sampler);
    aleat_guide_free(run.guide);
    aleat_sampling_plan_free(plan);
    aleat_denoiser_destroy(&guided);
    aleat_denoiser_destroy(&network);
    aleat_tensor_clear(&noise);
    aleat_tensor_clear(&want);
    close_text_case(&o);
}

static void guided_runs_are_the_references(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof guided_cases / sizeof *guided_cases; i++)
        if (case_exists(guided_cases[i].arrays.folder, guided_cases[i].arrays.x))
            check_guided(&guided_cases[i]);
}

/* ---- full size --------------------------------------------------------------------------------
 */

// A network of the published shapes on formula weights, and where its results are.
typedef struct full_case {
    const char *shapes, *expected, *x, *context, *pooled; // names that the inputs follow from
    int64_t channels, height, width, tokens, dim, pooled_dim;
    float t;
} full_case;

static const full_case full_cases[] = {
    {"sd15_unet", "unet", "input.x", "input.context", NULL, 4, 64, 64, 77, 768, 0, 481},
    {"sd3_medium_transformer", "sd3_medium_transformer", "input.sd3.x", "input.sd3.context",
     "input.sd3.pooled", 16, 24, 32, 154, 4096, 2048, 702.5f},
};

// Uniform with unit variance, by the formula of the weights.
static float *formula_input(const char *name, int64_t n)
{
    float *values = aleat_alloc((size_t)n * sizeof *values);
    for (int64_t i = 0; i < n; i++)
        values[i] = (float)((double)(float)sqrt(3) * formula(name_hash(name), (uint64_t)i));
    return values;
}

static json_t *shared_json(const char *folder, const char *name)
{
    json_error_t error;
    json_t *json = json_load_file(case_path(folder, name), 0, &error);
    assert_non_null(json);
    return json;
}

// Weights and configuration of the network in the scratch folder; its path.
static const char *write_full(const full_case *c)
{
    json_t *all = shared_json("t2i-shapes", "shapes.json");
    const json_t *network = json_object_get(all, c->shapes);
    write_checkpoint(scratch("diffusion_pytorch_model.safetensors"),
                     json_object_get(network, "tensors"), true);
    assert_int_equal(json_dump_file(json_object_get(network, "config"), scratch("config.json"), 0),
                     0);
    json_decref(all);
    return scratch("");
}

static void check_full(const full_case *c)
{
    const aleat_model_options options = {
        .height = c->height, .width = c->width, .context_tokens = c->tokens};
    opened o = {0};
    aleat_error err = {0};
    if (aleat_model_files_open(&o.files, write_full(c), &options, &err))
        fail_msg("%s", err.message);
    const int64_t n = c->channels * c->height * c->width;
    float *x = formula_input(c->x, n), *context = formula_input(c->context, c->tokens * c->dim);
    float *pooled = c->pooled ? formula_input(c->pooled, c->pooled_dim) : NULL;
    float *out = aleat_alloc((size_t)n * sizeof *out);
    const aleat_text text = {.context = context, .pooled = pooled};
    const aleat_text *const texts[] = {&text};
    const aleat_batch batch = {.n = 1,
                               .height = c->height,
                               .width = c->width,
                               .x = x,
                               .t = &c->t,
                               .condition = {.texts = texts}};
    aleat_denoiser d = text_denoiser(&o, ALEAT_PRECISION_F32, 2, 0, 0);
    assert_ok(aleat_denoiser_predict(&d, &batch, out, &err), &err);
    json_t *all = shared_json("sd15-fullsize", "expected.json");
    const json_t *want = json_object_get(all, c->expected);
    const int64_t stride = json_integer_value(json_object_get(want, "stride"));
    const json_t *first = json_object_get(want, "first64"),
                 *some = json_object_get(want, "strided256");
    double off = 0, size = 0;
    for (size_t i = 0; i < json_array_size(first); i++)
        off = fmax(off, fabs((double)out[i] - json_number_value(json_array_get(first, i))));
    for (size_t i = 0; i < json_array_size(some); i++)
        off = fmax(off, fabs((double)out[(int64_t)i * stride] -
                             json_number_value(json_array_get(some, i))));
    for (int64_t i = 0; i < n; i++)
        size += (double)out[i] * (double)out[i];
    const double largest = json_number_value(json_object_get(want, "absmax"));
    const double norm = json_number_value(json_object_get(want, "l2"));
    print_message("%s: %.1e of the largest, norm off by %.1e\n", c->shapes, off / largest,
                  fabs(sqrt(size) / norm - 1));
    assert_true(off < 1e-4 * largest); // the case allows 1e-3; references in f32 are 1e-6 off
    assert_true(fabs(sqrt(size) / norm - 1) < 1e-4);
    json_decref(all);
    aleat_free(x);
    aleat_free(context);
    aleat_free(pooled);
    aleat_free(out);
    aleat_denoiser_destroy(&d);
    aleat_model_files_close(&o.files);
    (void)unlink(scratch("diffusion_pytorch_model.safetensors"));
}

// Gigabytes of weights and minutes of work: only when asked for.
static void full_size_networks_compute_what_the_references_do(void **state)
{
    (void)state;
    if (!getenv("ALEAT_TEST_FULL"))
        skip();
    for (size_t i = 0; i < sizeof full_cases / sizeof *full_cases; i++)
        if (case_exists("sd15-fullsize", "expected.json"))
            check_full(&full_cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_agree_with_their_reference),
        cmocka_unit_test(networks_in_bf16_agree_with_their_reference),
        cmocka_unit_test(results_do_not_depend_on_threads_parts_or_who_shares_a_text),
        cmocka_unit_test(a_changed_text_is_noticed),
        cmocka_unit_test(guided_runs_are_the_references),
        cmocka_unit_test(full_size_networks_compute_what_the_references_do),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
