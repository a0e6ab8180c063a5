/*
 * U-ViT: a vision transformer with long skip connections whose tokens are the label, the time and
 * the patches of the image. Its files hold tensors only.
 * Source: Bao et al. 2023, "All are worth words: a ViT backbone for diffusion models".
 */
#include "models/families.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "models/config.h"
#include "nn/transformer.h"

#define EPS         1e-5
#define MAX_BLOCKS  64 // in each half
#define TRAIN_STEPS 1000

/*
 * The two processes that the published models were trained for, as a diffusers scheduler and the
 * time that the network is fed at its step s.
 */
typedef struct process {
    const char *name;
    const char *network_time; // for `info`
    double time_scale, time_offset;
    char *(*scheduler)(void);
} process;

typedef struct uvit_config {
    int64_t img_size, patch_size, in_chans, embed_dim, depth, num_heads, mlp_hidden;
    bool mlp_time_embed, conv;
    int64_t num_classes;
    const char *null_class, *noise_schedule, *network_time;
} uvit_config;

#define FIELD(name) #name, .offset = offsetof(uvit_config, name)
static const aleat_config_key config_keys[] = {
    {FIELD(img_size), .kind = ALEAT_CONFIG_INT, .nullable = true},
    {FIELD(patch_size), .kind = ALEAT_CONFIG_INT},
    {FIELD(in_chans), .kind = ALEAT_CONFIG_INT},
    {FIELD(embed_dim), .kind = ALEAT_CONFIG_INT},
    {FIELD(depth), .kind = ALEAT_CONFIG_INT},
    {FIELD(num_heads), .kind = ALEAT_CONFIG_INT},
    {FIELD(mlp_hidden), .kind = ALEAT_CONFIG_INT},
    {FIELD(mlp_time_embed), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(conv), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(num_classes), .kind = ALEAT_CONFIG_INT, .nullable = true},
    {FIELD(null_class), .kind = ALEAT_CONFIG_TEXT, .nullable = true},
    {FIELD(noise_schedule), .kind = ALEAT_CONFIG_TEXT},
    {FIELD(network_time), .kind = ALEAT_CONFIG_TEXT},
    {0},
};
#undef FIELD

/* ---- processes ------------------------------------------------------------------------------- */

// The discrete process of latent diffusion, which the networks see as n = 1 .. 1000.
static char *latent_scheduler(void)
{
    return aleat_asprintf("{\n"
                          "  \"_class_name\": \"DDIMScheduler\",\n"
                          "  \"num_train_timesteps\": %d,\n"
                          "  \"beta_schedule\": \"scaled_linear\",\n"
                          "  \"beta_start\": 0.00085,\n"
                          "  \"beta_end\": 0.012,\n"
                          "  \"prediction_type\": \"epsilon\",\n"
                          "  \"clip_sample\": false,\n"
                          "  \"set_alpha_to_one\": false,\n"
                          "  \"steps_offset\": 1,\n"
                          "  \"timestep_spacing\": \"leading\"\n"
                          "}\n",
                          TRAIN_STEPS);
}

// The continuous process of Song et al. 2021, beta(t) = 0.1 + 19.9 t on (0, 1].
static char *vp_scheduler(void)
{
    return aleat_asprintf("{\n"
                          "  \"_class_name\": \"DDIMScheduler\",\n"
                          "  \"num_train_timesteps\": %d,\n"
                          "  \"beta_schedule\": \"vp\",\n"
                          "  \"beta_start\": 0.0001,\n"
                          "  \"beta_end\": 0.02,\n"
                          "  \"prediction_type\": \"epsilon\",\n"
                          "  \"clip_sample\": false,\n"
                          "  \"set_alpha_to_one\": true,\n"
                          "  \"steps_offset\": 0,\n"
                          "  \"timestep_spacing\": \"leading\"\n"
                          "}\n",
                          TRAIN_STEPS);
}

static const process processes[] = {
    {"scaled_linear", "s + 1 at training step s = 0 .. 999", 1, 1, latent_scheduler},
    {"vp", "999 (s + 1) / 1000 at training step s = 0 .. 999", 0.999, 1, vp_scheduler},
};
enum { LATENT, VP };

static const process *find_process(const char *name)
{
    for (size_t i = 0; i < sizeof processes / sizeof *processes; i++)
        if (name && !strcmp(processes[i].name, name))
            return &processes[i];
    return NULL;
}

/* ---- recognition ----------------------------------------------------------------------------- */

// Heads of the published models: small, mid, large, huge.
static int64_t published_heads(int64_t embed_dim)
{
    static const struct {
        int64_t embed_dim, heads;
    } sizes[] = {{512, 8}, {768, 12}, {1024, 16}, {1152, 16}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].embed_dim == embed_dim)
            return sizes[i].heads;
    return 0;
}

static int count_blocks(aleat_weights *weights, const char *stem)
{
    int n = 0;
    while (n <= MAX_BLOCKS && aleat_inspect_has(weights, "%s.%d.attn.qkv.weight", stem, n))
        n++;
    return n;
}

static aleat_status read_sizes(uvit_config *config, aleat_weights *weights, aleat_error *err)
{
    const char *file = aleat_weights_path(weights);
    const int in = count_blocks(weights, "in_blocks"), out = count_blocks(weights, "out_blocks");
    if (in != out || in > MAX_BLOCKS)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s: a U-ViT with %d in_blocks and %d out_blocks, expected as many, at "
                          "most %d",
                          file, in, out, MAX_BLOCKS);
    if (aleat_inspect_has(weights, "context_embed.weight"))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: a U-ViT conditioned on text (context_embed.weight), only those with "
                          "class labels or none are supported",
                          file);
    config->depth = 2 * in + 1;
    config->embed_dim = aleat_inspect_dim(weights, 0, "patch_embed.proj.weight");
    config->in_chans = aleat_inspect_dim(weights, 1, "patch_embed.proj.weight");
    config->patch_size = aleat_inspect_dim(weights, 2, "patch_embed.proj.weight");
    config->mlp_hidden = aleat_inspect_dim(weights, 0, "mid_block.mlp.fc1.weight");
    config->mlp_time_embed = aleat_inspect_has(weights, "time_embed.0.weight");
    config->conv = aleat_inspect_has(weights, "final_layer.weight");
    config->num_classes = aleat_inspect_dim(weights, 0, "label_emb.weight");
    if (!config->in_chans || !config->patch_size || config->patch_size > 256 || !config->mlp_hidden)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s: patch_embed.proj.weight or mid_block.mlp.fc1.weight are not those "
                          "of a U-ViT",
                          file);
    return ALEAT_OK;
}

// Latents have 4 channels. Models of latents were trained with a null class after the others.
static bool is_latent(const uvit_config *config)
{
    return config->in_chans == 4;
}

static aleat_status read_options(uvit_config *config, const aleat_model_options *options,
                                 const char *file, aleat_error *err)
{
    if (options->heads < 0 || options->head_dim < 0 || (options->heads && options->head_dim))
        return aleat_fail(
            err, ALEAT_ERR_ARGUMENT,
            "%lld attention heads of %lld channels: expected one of the two, positive",
            (long long)options->heads, (long long)options->head_dim);
    config->num_heads = published_heads(config->embed_dim);
    if (options->heads)
        config->num_heads = options->heads;
    if (options->head_dim)
        config->num_heads = config->embed_dim / options->head_dim;
    if (!config->num_heads) {
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                         "%s: no published U-ViT has %lld channels, and a checkpoint does not say "
                         "how many attention heads it has",
                         file, (long long)config->embed_dim);
        aleat_hint(err, "say how many heads; another number than in training gives images, but "
                        "wrong ones");
        return ALEAT_ERR_ARGUMENT;
    }
    // The huge models, which alone have no final convolution, were trained in discrete time.
    config->noise_schedule = processes[is_latent(config) && !config->conv ? LATENT : VP].name;
    if (options->noise_schedule)
        config->noise_schedule = options->noise_schedule;
    if (!find_process(config->noise_schedule))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "noise schedule '%s', expected %s or %s",
                          config->noise_schedule, processes[LATENT].name, processes[VP].name);
    config->network_time = find_process(config->noise_schedule)->network_time;
    return ALEAT_OK;
}

// The table of positions fixes how many patches an image has: a square of them, unless told.
static aleat_status read_image_size(uvit_config *config, aleat_weights *weights,
                                    const aleat_model_options *options, aleat_dims *dims,
                                    aleat_error *err)
{
    const char *file = aleat_weights_path(weights);
    const int64_t p = config->patch_size;
    const int64_t patches =
        aleat_inspect_dim(weights, 1, "pos_embed") - 1 - (config->num_classes != 0);
    int64_t side = 0;
    while ((side + 1) * (side + 1) <= patches)
        side++;
    if (side * side == patches)
        config->img_size = side * p;
    *dims = (aleat_dims){config->img_size, config->img_size, config->in_chans};
    const aleat_status st = aleat_model_choose_size(
        dims, options, p, file, "pos_embed is not for a square of patches", err);
    if (st)
        return st;
    if (dims->h > ALEAT_INSPECT_MAX || dims->w > ALEAT_INSPECT_MAX ||
        (dims->h / p) * (dims->w / p) != patches)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: images of %lld x %lld do not fit, pos_embed is for %lld patches of "
                          "%lld x %lld pixels",
                          file, (long long)dims->h, (long long)dims->w, (long long)patches,
                          (long long)p, (long long)p);
    return ALEAT_OK;
}

/* ---- building -------------------------------------------------------------------------------- */

static aleat_value time_token(aleat_graph *graph, const uvit_config *config, aleat_value t)
{
    const aleat_sinusoid_spec spec = {
        .dim = config->embed_dim, .max_period = 10000, .cos_first = true, .scale = 1};
    const aleat_value time = aleat_op_sinusoid(graph, t, spec);
    if (!config->mlp_time_embed)
        return time;
    return aleat_nn_mlp(graph, time, "time_embed.0", "time_embed.2", 4 * config->embed_dim,
                        config->embed_dim, ALEAT_ACT_SILU);
}

// [label, if there is one | time | patches] + positions.
static aleat_value tokens_of(aleat_graph *graph, const uvit_config *config, aleat_network *net,
                             aleat_value patches)
{
    const int64_t c = config->embed_dim;
    aleat_value tokens = aleat_op_concat_tokens(graph, time_token(graph, config, net->t), patches);
    if (config->num_classes) {
        const aleat_shape shape = aleat_shape_of(2, config->num_classes, c);
        const aleat_param table = aleat_nn_weight(graph, "label_emb", &shape);
        net->label = aleat_graph_input(graph, "label", (aleat_dims){1, 1, 1});
        tokens =
            aleat_op_concat_tokens(graph, aleat_op_embedding(graph, net->label, table), tokens);
    }
    const aleat_shape shape = aleat_shape_of(3, (int64_t)1, aleat_graph_dims(graph, tokens).h, c);
    const aleat_param position = aleat_graph_param(graph, "pos_embed", &shape);
    return aleat_op_add(graph, tokens, aleat_graph_constant(graph, position));
}

// Block n of the second half takes the result of block n from the end of the first.
static aleat_value blocks(aleat_graph *graph, const uvit_config *config, aleat_value x)
{
    const aleat_vit_spec spec = {
        .heads = config->num_heads, .hidden = config->mlp_hidden, .eps = EPS};
    const int half = (int)(config->depth / 2);
    aleat_value skip[MAX_BLOCKS];
    for (int i = 0; i < half; i++) {
        const aleat_name name = aleat_nn_name(graph, "in_blocks.%d", i);
        skip[i] = x = aleat_nn_vit_block(graph, x, ALEAT_NO_VALUE, name.text, &spec);
    }
    x = aleat_nn_vit_block(graph, x, ALEAT_NO_VALUE, "mid_block", &spec);
    for (int i = 0; i < half; i++) {
        const aleat_name name = aleat_nn_name(graph, "out_blocks.%d", i);
        x = aleat_nn_vit_block(graph, x, skip[half - 1 - i], name.text, &spec);
    }
    return x;
}

static void build_network(aleat_graph *graph, const uvit_config *config, aleat_dims dims,
                          aleat_network *net)
{
    const int64_t p = config->patch_size, extras = 1 + (config->num_classes != 0);
    const aleat_conv_spec patchify = {.kernel_h = p, .kernel_w = p, .stride = p};
    net->x = aleat_graph_input(graph, "x", dims);
    net->t = aleat_graph_input(graph, "t", (aleat_dims){1, 1, 1});
    net->label = ALEAT_NO_VALUE;

    aleat_value x = aleat_nn_conv(graph, net->x, "patch_embed.proj", config->embed_dim, patchify);
    x = blocks(graph, config, tokens_of(graph, config, net, x));
    x = aleat_op_slice_tokens(graph, x, extras, dims.h / p, dims.w / p);
    x = aleat_nn_layernorm(graph, x, "norm", EPS);
    x = aleat_nn_linear(graph, x, "decoder_pred", p * p * dims.c);
    x = aleat_op_unpatchify(graph, x, p);
    if (config->conv)
        x = aleat_nn_conv(graph, x, "final_layer", dims.c, aleat_conv_same(3));
    net->out = x;
    aleat_graph_output(graph, "out", x);
}

static aleat_status build(aleat_model_files *out, const aleat_model_options *options,
                          aleat_error *err)
{
    uvit_config config = {0};
    aleat_dims dims = {0};
    aleat_status st = read_sizes(&config, out->weights, err);
    if (!st)
        st = read_options(&config, options, aleat_weights_path(out->weights), err);
    if (!st)
        st = read_image_size(&config, out->weights, options, &dims, err);
    if (st)
        return st;
    const bool has_null = is_latent(&config) && config.num_classes > 1;
    config.null_class = has_null ? "the last" : NULL;
    const process *trained = find_process(config.noise_schedule);
    out->time_scale = trained->time_scale;
    out->time_offset = trained->time_offset;
    out->config_text = aleat_config_text(&config, config_keys, "UViT");
    out->scheduler_text = trained->scheduler();
    out->graph = aleat_graph_new(out->weights);
    if (!out->config_text || !out->scheduler_text || !out->graph)
        return aleat_fail_memory(err, "network");
    build_network(out->graph, &config, dims, &out->network);
    out->info = (aleat_denoiser_info){
        .channels = config.in_chans,
        .height = dims.h,
        .width = dims.w,
        .out_channels = config.in_chans,
        .n_classes = config.num_classes,
        .null_class = has_null ? config.num_classes - 1 : -1,
    };
    return aleat_graph_check(out->graph, err);
}

static bool recognises(const char *class_name, aleat_weights *weights)
{
    return !class_name && weights && aleat_inspect_has(weights, "pos_embed") &&
           aleat_inspect_has(weights, "patch_embed.proj.weight") &&
           aleat_inspect_has(weights, "mid_block.attn.qkv.weight") &&
           aleat_inspect_has(weights, "decoder_pred.weight");
}

const aleat_model_family aleat_family_uvit = {
    .name = "uvit",
    .description = "U-ViT of pixels or latents, from a .pth file alone",
    .recognises = recognises,
    .build = build,
};
