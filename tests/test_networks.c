/* Networks of guided-diffusion, U-ViT and latent diffusion against their reference programs. */
#include "checkpoint.h"
#include "case.h"

#include "base/alloc.h"
#include "base/error.h"
#include "graph/plan.h"
#include "io/json.h"
#include "models/autoencoder_kl.h"
#include "models/model.h"

// The project's bound for one evaluation in f32; the references' own error is below 2e-6.
#define BOUND 2e-5

/* ---- evaluation of a graph ------------------------------------------------------------------- */

// What to feed and what to compare; arrays are channels first, on the graph's channels or fewer
// (then the first ones).
typedef struct evaluation {
    aleat_graph *graph;
    aleat_value x, t, label, out;
    const aleat_tensor *in_x, *in_t, *in_label;
    float *values; // out, of this many channels
    int64_t channels;
    const float *cotangent; // on these channels, or NULL
    float *gradient;        // like in_x
} evaluation;

static void to_last(float *dst, int64_t dst_c, const float *src, int64_t n, int64_t c,
                    int64_t pixels)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t p = 0; p < pixels; p++)
            for (int64_t k = 0; k < c; k++)
                dst[(i * pixels + p) * dst_c + k] = src[(i * c + k) * pixels + p];
}

static void to_first(float *dst, int64_t c, const float *src, int64_t src_c, int64_t n,
                     int64_t pixels)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t p = 0; p < pixels; p++)
            for (int64_t k = 0; k < c; k++)
                dst[(i * c + k) * pixels + p] = src[(i * pixels + p) * src_c + k];
}

static void pull_back(evaluation *e, aleat_plan *plan, aleat_value cotangent, aleat_value grad)
{
    const aleat_dims out = aleat_graph_dims(e->graph, e->out);
    const int64_t n = e->in_x->shape.dim[0];
    float *v = aleat_plan_data(plan, cotangent);
    memset(v, 0, (size_t)(n * out.h * out.w * out.c) * sizeof *v);
    to_last(v, out.c, e->cotangent, n, e->channels, out.h * out.w);
    aleat_plan_run(plan, 1);
    const int64_t c = e->in_x->shape.dim[1];
    to_first(e->gradient, c, aleat_plan_data(plan, grad), c, n, pixels_of(e->in_x));
}

static void evaluate(evaluation *e)
{
    aleat_error err = {0};
    aleat_engine *engine = NULL;
    aleat_plan *plan = NULL;
    const aleat_engine_options options = {.threads = 2};
    const aleat_dims out = aleat_graph_dims(e->graph, e->out);
    const int64_t n = e->in_x->shape.dim[0], c = e->in_x->shape.dim[1];
    aleat_value cotangent = ALEAT_NO_VALUE, wanted[2] = {e->out, ALEAT_NO_VALUE};
    if (e->cotangent) {
        cotangent = aleat_graph_input(e->graph, "cotangent", out);
        wanted[1] = aleat_graph_vjp(e->graph, e->out, cotangent, e->x);
    }
    if (aleat_graph_check(e->graph, &err) || aleat_engine_new(&engine, e->graph, &options, &err) ||
        aleat_plan_new(&plan, engine, n, wanted, e->cotangent ? 2 : 1, cotangent, &err))
        fail_msg("%s", err.message);
    to_last(aleat_plan_data(plan, e->x), c, aleat_tensor_f32(e->in_x), n, c, pixels_of(e->in_x));
    if (e->in_t)
        memcpy(aleat_plan_data(plan, e->t), aleat_tensor_f32(e->in_t), (size_t)n * sizeof(float));
    if (e->in_label)
        memcpy(aleat_plan_data(plan, e->label), aleat_tensor_f32(e->in_label),
               (size_t)n * sizeof(float));
    aleat_plan_run(plan, 0);
    to_first(e->values, e->channels, aleat_plan_data(plan, e->out), out.c, n, out.h * out.w);
    if (e->cotangent)
        pull_back(e, plan, cotangent, wanted[1]);
    aleat_plan_free(plan);
    aleat_engine_free(engine);
}

// Evaluates and compares with the files `want` and, for the cotangent in `v`, `want_gradient`.
static void compare(evaluation *e, const char *folder, const char *want, const char *v,
                    const char *want_gradient)
{
    aleat_tensor expected = load(folder, want), cotangent = {0}, gradient = {0};
    const int64_t count = aleat_tensor_count(&expected), size = aleat_tensor_count(e->in_x);
    if (v) {
        cotangent = load(folder, v);
        gradient = load(folder, want_gradient);
    }
    // The cotangent may be of fewer channels than the output: then it decides how many to take.
    const int64_t channels = expected.shape.dim[1];
    float *values = aleat_alloc((size_t)count * sizeof *values);
    float *gradients = aleat_alloc((size_t)size * sizeof *gradients);
    float *wide = aleat_calloc((size_t)count, sizeof *wide);
    assert_true(values && gradients && wide);
    if (v) {
        const int64_t pixels = pixels_of(&expected), given = cotangent.shape.dim[1];
        for (int64_t i = 0; i < expected.shape.dim[0]; i++)
            memcpy(wide + i * channels * pixels, aleat_tensor_f32(&cotangent) + i * given * pixels,
                   (size_t)(given * pixels) * sizeof *wide);
    }
    e->values = values;
    e->channels = channels;
    e->cotangent = v ? wide : NULL;
    e->gradient = gradients;
    evaluate(e);
    if (v) { // keeping what the gradient needs changes no bit of the output
        float *plain = aleat_alloc((size_t)count * sizeof *plain);
        assert_non_null(plain);
        evaluation without = *e;
        without.values = plain;
        without.cotangent = NULL;
        evaluate(&without);
        assert_memory_equal(plain, values, (size_t)count * sizeof *plain);
        aleat_free(plain);
    }
    const double error = aleat_relative_l2(values, aleat_tensor_f32(&expected), count);
    const double error_gradient =
        v ? aleat_relative_l2(gradients, aleat_tensor_f32(&gradient), size) : 0;
    print_message("%s/%s: %.2g, gradient %.2g\n", folder, want, error, error_gradient);
    assert_true(error < BOUND);
    assert_true(error_gradient < BOUND);
    aleat_free(values);
    aleat_free(gradients);
    aleat_free(wide);
    aleat_tensor_clear(&expected);
    aleat_tensor_clear(&cotangent);
    aleat_tensor_clear(&gradient);
}

/* ---- denoisers ------------------------------------------------------------------------------- */

typedef struct network_case {
    const char *folder, *weights, *x, *t, *label, *want, *v, *gradient;
    int64_t heads, head_dim; // as the options of these names; 0: published
    const char *attention_order;
} network_case;

// The weights of a case: a file, or made from a list of tensors.
static const char *weights_path(const char *folder, const char *name)
{
    if (!name_ends(name, ".json"))
        return case_path(folder, name);
    aleat_error err = {0};
    aleat_json json = {0};
    assert_ok(aleat_json_load(&json, case_path(folder, name), &err), &err);
    write_checkpoint(scratch("model.safetensors"), json_object_get(json.root, "tensors"), true);
    aleat_json_clear(&json);
    return scratch("model.safetensors");
}

static void check_network(const network_case *c)
{
    if (!case_exists(c->folder, c->x))
        return;
    aleat_error err = {0};
    aleat_model_files model;
    const char *weights = weights_path(c->folder, c->weights);
    aleat_tensor x = load(c->folder, c->x), t = load(c->folder, c->t), label = {0};
    if (c->label)
        label = load(c->folder, c->label);
    const aleat_model_options options = {
        .height = x.shape.dim[2],
        .width = x.shape.dim[3],
        .heads = c->heads,
        .head_dim = c->head_dim,
        .attention_order = c->attention_order,
    };
    if (aleat_model_files_open(&model, weights, &options, &err))
        fail_msg("%s: %s", c->folder, err.message);
    evaluation e = {
        .graph = model.graph,
        .x = model.network.x,
        .t = model.network.t,
        .label = model.network.label,
        .out = model.network.out,
        .in_x = &x,
        .in_t = &t,
        .in_label = c->label ? &label : NULL,
    };
    compare(&e, c->folder, c->want, c->v, c->gradient);
    aleat_model_files_close(&model);
    aleat_tensor_clear(&x);
    aleat_tensor_clear(&t);
    aleat_tensor_clear(&label);
}

#define INPUTS(n) "x" n ".npy", "t" n ".npy"
#define LABELLED  "y.npy"
#define GRADIENT  "v.npy", "vjp.npy"
static void adm_computes_what_guided_diffusion_does(void **state)
{
    (void)state;
    static const network_case cases[] = {
        {"adm64_new_cond", "64x64_diffusion.pt", INPUTS(""), LABELLED, "out.npy", GRADIENT, 0, 16,
         "new"},
        {"adm64_new_cond", "64x64_diffusion.pt", INPUTS("2"), "y2.npy", "out2.npy", NULL, NULL, 0,
         16, "new"},
        {"adm128_legacy_cond", "128x128_diffusion.pt", INPUTS(""), LABELLED, "out.npy", GRADIENT, 4,
         0, "legacy"},
        {"adm128_legacy_cond", "128x128_diffusion.pt", INPUTS("2"), "y2.npy", "out2.npy", NULL,
         NULL, 4, 0, "legacy"},
        {"adm_uncond_plain", "uncond_plain.pt", INPUTS(""), NULL, "out.npy", GRADIENT, 2, 0,
         "legacy"},
        {"adm_uncond_plain", "uncond_plain.pt", INPUTS("2"), NULL, "out2.npy", NULL, NULL, 2, 0,
         "legacy"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_network(&cases[i]);
}

static void adm_of_full_depth_computes_what_guided_diffusion_does(void **state)
{
    (void)state;
    static const network_case cases[] = {
        {"adm64_topology", "shapes.json", INPUTS(""), LABELLED, "out.npy", GRADIENT, 0, 32, "new"},
        {"adm128_topology", "shapes.json", INPUTS(""), LABELLED, "out.npy", GRADIENT, 4, 0,
         "legacy"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_network(&cases[i]);
}

static void uvit_computes_what_its_authors_program_does(void **state)
{
    (void)state;
    static const network_case cases[] = {
        {"data/uvit-cifar", "cifar10_uvit_small.pth", INPUTS(""), NULL, "eps.npy", GRADIENT, 2, 0,
         NULL},
        {"uvit_huge256", "imagenet256_uvit_huge.pth", INPUTS(""), LABELLED, "eps.npy", GRADIENT, 2,
         0, NULL},
        {"uvit_huge512", "imagenet512_uvit_huge.pth", INPUTS(""), LABELLED, "eps.npy", GRADIENT, 3,
         0, NULL},
        {"uvit_large256", "imagenet256_uvit_large.pth", INPUTS(""), LABELLED, "eps.npy", GRADIENT,
         2, 0, NULL},
        {"uvit_in64_mlp", "imagenet64_uvit_mid.pth", INPUTS(""), LABELLED, "eps.npy", GRADIENT, 0,
         32, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_network(&cases[i]);
}

/* ---- the classifier -------------------------------------------------------------------------- */

// d log softmax(logits)[label] / d logits = onehot(label) - softmax(logits).
static void log_probability(const float *logits, int64_t n, int64_t classes, const float *labels,
                            float *cotangent)
{
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t k = 0; k < classes; k++)
            sum += exp((double)logits[i * classes + k]);
        for (int64_t k = 0; k < classes; k++)
            cotangent[i * classes + k] =
                (float)((k == (int64_t)labels[i]) - exp((double)logits[i * classes + k]) / sum);
    }
}

static void the_classifier_has_the_logits_and_gradients_of_guided_diffusion(void **state)
{
    (void)state;
    const char *folder = "adm_classifier";
    if (!case_exists(folder, "x.npy"))
        return;
    aleat_error err = {0};
    aleat_model_files model;
    const aleat_model_options options = {.head_dim = 16};
    if (aleat_model_files_open(&model, case_path(folder, "64x64_classifier.pt"), &options, &err))
        fail_msg("%s", err.message);
    assert_string_equal(model.family, "adm_classifier");
    assert_int_equal(model.role, ALEAT_MODEL_CLASSIFIER);
    assert_int_equal(model.info.out_channels, 1000);
    assert_int_equal(model.info.height, 16);
    aleat_tensor x = load(folder, "x.npy"), t = load(folder, "t.npy"), y = load(folder, "y.npy");
    aleat_tensor logits = load(folder, "logits.npy"), grad = load(folder, "grad_log_p.npy");
    const int64_t n = aleat_tensor_count(&logits), size = aleat_tensor_count(&x);
    float *cotangent = aleat_alloc((size_t)n * sizeof(float));
    float *values = aleat_alloc((size_t)n * sizeof(float));
    float *gradient = aleat_alloc((size_t)size * sizeof(float));
    assert_true(cotangent && values && gradient);
    log_probability(aleat_tensor_f32(&logits), x.shape.dim[0], 1000, aleat_tensor_f32(&y),
                    cotangent);
    evaluation e = {
        .graph = model.graph,
        .x = model.network.x,
        .t = model.network.t,
        .out = model.network.out,
        .in_x = &x,
        .in_t = &t,
        .values = values,
        .channels = 1000,
        .cotangent = cotangent,
        .gradient = gradient,
    };
    evaluate(&e);
    assert_true(aleat_relative_l2(values, aleat_tensor_f32(&logits), n) < BOUND);
    // The reference's own float error is up to 7e-5 of the gradient's size: its parts cancel.
    const double error = aleat_relative_l2(gradient, aleat_tensor_f32(&grad), size);
    print_message("%s: gradient %.2g\n", folder, error);
    assert_true(error < 1e-4);
    aleat_free(cotangent);
    aleat_free(values);
    aleat_free(gradient);
    aleat_tensor_clear(&x);
    aleat_tensor_clear(&t);
    aleat_tensor_clear(&y);
    aleat_tensor_clear(&logits);
    aleat_tensor_clear(&grad);
    aleat_model_files_close(&model);
}

/* ---- the autoencoder ------------------------------------------------------------------------- */

typedef aleat_status half_fn(aleat_autoencoder_network *out, const aleat_autoencoder_files *files,
                             int64_t height, int64_t width, aleat_error *err);

static void check_half(const aleat_autoencoder_files *files, half_fn *half, const char *folder,
                       const char *in, const char *want, const char *v, const char *gradient)
{
    aleat_error err = {0};
    aleat_autoencoder_network network;
    aleat_tensor x = load(folder, in);
    if (half(&network, files, x.shape.dim[2], x.shape.dim[3], &err))
        fail_msg("%s", err.message);
    evaluation e = {.graph = network.graph, .x = network.x, .out = network.out, .in_x = &x};
    compare(&e, folder, want, v, gradient);
    aleat_autoencoder_network_clear(&network);
    aleat_tensor_clear(&x);
}

static void the_autoencoder_is_the_references_in_either_layout(void **state)
{
    (void)state;
    static const char *const layouts[] = {"autoencoder_kl.pth", "vae",
                                          "vae/diffusion_pytorch_model.fp16.safetensors"};
    const char *folder = "vae_kl";
    if (!case_exists(folder, "x.npy"))
        return;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        aleat_error err = {0};
        aleat_autoencoder_files files;
        if (aleat_autoencoder_files_open(&files, case_path(folder, layouts[i]), NULL, &err))
            fail_msg("%s", err.message);
        assert_int_equal(files.factor, 2);
        assert_int_equal(files.latent_channels, 4);
        assert_true(files.scaling_factor == 0.18215);
        check_half(&files, aleat_autoencoder_encoder, folder, "x.npy", "enc_mean.npy", "enc_v.npy",
                   "enc_vjp_mean.npy");
        check_half(&files, aleat_autoencoder_decoder, folder, "z.npy", "dec.npy", "v.npy",
                   "dec_vjp.npy");
        aleat_autoencoder_files_close(&files);
    }
}

// 16 channels, a shift, no convolutions around the latent.
static void autoencoders_of_flow_models_are_the_references(void **state)
{
    (void)state;
    static const struct {
        const char *folder, *path;
        bool encodes;
    } cases[] = {{"sd3-tiny", "model", true},
                 {"flux-tiny", "model", false},
                 {"sd15-tiny", "model", true},
                 {"sd15-tiny", "single/sd15-tiny.safetensors", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *folder = cases[i].folder;
        const bool sd15 = !strcmp(folder, "sd15-tiny");
        aleat_error err = {0};
        aleat_autoencoder_files files;
        if (!case_exists(folder, sd15 ? "vae/z_scaled.npy" : "vae/z.npy"))
            continue;
        if (aleat_autoencoder_files_open(&files, case_path(folder, cases[i].path), NULL, &err))
            fail_msg("%s", err.message);
        check_half(&files, aleat_autoencoder_decoder, folder,
                   sd15 ? "vae/z_scaled.npy" : "vae/z.npy", "vae/decoded.npy", NULL, NULL);
        if (cases[i].encodes)
            check_half(&files, aleat_autoencoder_encoder, folder, "vae/image.npy",
                       "vae/enc_mean.npy", NULL, NULL);
        aleat_autoencoder_files_close(&files);
    }
}

static void put(json_t *tensors, const char *name, int64_t n, const int64_t *shape)
{
    json_t *dims = json_array();
    for (int64_t i = 0; i < n; i++)
        json_array_append_new(dims, json_integer(shape[i]));
    json_array_append_new(tensors, json_pack("[s, o]", name, dims));
}

static void put_layer(json_t *tensors, const char *part, const char *name, int64_t out, int64_t in,
                      int64_t size)
{
    char text[96];
    (void)snprintf(text, sizeof text, "%s%s.weight", part, name);
    put(tensors, text, in ? 4 : 1, (const int64_t[]){out, in, size, size});
    (void)snprintf(text, sizeof text, "%s%s.bias", part, name);
    put(tensors, text, 1, &out);
}

static void put_resnet(json_t *tensors, const char *part, const char *name)
{
    static const char *const layers[] = {"norm1", "conv1", "norm2", "conv2"};
    for (int i = 0; i < 4; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "%s.%s", name, layers[i]);
        put_layer(tensors, part, text, 32, i % 2 ? 32 : 0, 3);
    }
}

// A half of one level in the layout of single files.
static void put_half(json_t *tensors, const char *root, const char *half, int64_t in, int64_t out)
{
    static const char *const attention[] = {"mid.attn_1.q", "mid.attn_1.k", "mid.attn_1.v",
                                            "mid.attn_1.proj_out"};
    const bool is_encoder = !strcmp(half, "encoder.");
    char part[64];
    (void)snprintf(part, sizeof part, "%s%s", root, half);
    put_layer(tensors, part, "conv_in", 32, in, 3);
    put_resnet(tensors, part, is_encoder ? "down.0.block.0" : "up.0.block.0");
    if (!is_encoder)
        put_resnet(tensors, part, "up.0.block.1");
    put_resnet(tensors, part, "mid.block_1");
    put_resnet(tensors, part, "mid.block_2");
    put_layer(tensors, part, "mid.attn_1.norm", 32, 0, 0);
    for (int i = 0; i < 4; i++)
        put_layer(tensors, part, attention[i], 32, 32, 1);
    put_layer(tensors, part, "norm_out", 32, 0, 0);
    put_layer(tensors, part, "conv_out", out, 32, 3);
}

// Nothing in a single file says how 16 channels are scaled; SD 3's are not as FLUX.1's.
static void scaling_of_latents_without_a_configuration_is_the_families(void **state)
{
    (void)state;
    static const struct {
        const char *root, *transformer;
        double scale, shift;
    } cases[] = {
        {"first_stage_model.", "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight",
         1.5305, 0.0609},
        {"vae.", "model.diffusion_model.double_blocks.0.img_attn.qkv.weight", 0.3611, 0.1159},
        {"", NULL, 0.3611, 0.1159}, // ae.safetensors
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *tensors = json_array();
        put_half(tensors, cases[i].root, "encoder.", 3, 32);
        put_half(tensors, cases[i].root, "decoder.", 16, 3);
        if (cases[i].transformer)
            put(tensors, cases[i].transformer, 1, (const int64_t[]){1});
        write_checkpoint(scratch("single.safetensors"), tensors, false);
        json_decref(tensors);
        aleat_error err = {0};
        aleat_autoencoder_files files;
        if (aleat_autoencoder_files_open(&files, scratch("single.safetensors"), NULL, &err))
            fail_msg("%s", err.message);
        assert_int_equal(files.latent_channels, 16);
        assert_true(files.scaling_factor == cases[i].scale);
        assert_true(files.shift_factor == cases[i].shift);
        aleat_autoencoder_files_close(&files);
    }
}

/* ---- full size --------------------------------------------------------------------------------
 */

// Gigabytes of weights and minutes of work: only when asked for.
static void full_size_networks_compute_what_the_references_do(void **state)
{
    (void)state;
    static const network_case cases[] = {
        {"full_adm64", "../shapes/adm_64x64_diffusion.json", INPUTS(""), LABELLED, "out.npy",
         GRADIENT, 0, 0, NULL},
        {"full_uvit_h256", "../shapes/imagenet256_uvit_huge.json", INPUTS(""), LABELLED, "eps.npy",
         GRADIENT, 0, 0, NULL},
    };
    if (!getenv("ALEAT_TEST_FULL"))
        skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_network(&cases[i]);
    if (!case_exists("full_sdvae_dec", "z.npy"))
        return;
    aleat_error err = {0};
    aleat_autoencoder_files files;
    const char *weights = weights_path("full_sdvae_dec", "../shapes/autoencoder_kl.json");
    assert_ok(aleat_autoencoder_files_open(&files, weights, NULL, &err), &err);
    check_half(&files, aleat_autoencoder_decoder, "full_sdvae_dec", "z.npy", "dec.npy", NULL, NULL);
    aleat_autoencoder_files_close(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adm_computes_what_guided_diffusion_does),
        cmocka_unit_test(adm_of_full_depth_computes_what_guided_diffusion_does),
        cmocka_unit_test(uvit_computes_what_its_authors_program_does),
        cmocka_unit_test(the_classifier_has_the_logits_and_gradients_of_guided_diffusion),
        cmocka_unit_test(the_autoencoder_is_the_references_in_either_layout),
        cmocka_unit_test(autoencoders_of_flow_models_are_the_references),
        cmocka_unit_test(scaling_of_latents_without_a_configuration_is_the_families),
        cmocka_unit_test(full_size_networks_compute_what_the_references_do),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
