/*
 * The U-Net of OpenAI's guided-diffusion (ADM) and of improved-diffusion before it. Its files hold
 * tensors only: what their names and shapes do not tell comes from a table of the published ones.
 */
#include "models/adm_trunk.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/* ---- published checkpoints ------------------------------------------------------------------- */

// What is known of files of these sizes beyond their tensors. All were trained with 1000 steps.
typedef struct published {
    const char *name;
    int64_t model_channels, num_res_blocks;
    aleat_config_ints level_channels, attention_downsampling;
    int64_t image_size, num_heads, num_head_channels;
    const char *noise_schedule;
    double dropout;
    bool label, use_new_attention_order;
} published;

#define LEVELS_256                                                                                 \
    {                                                                                              \
        6,                                                                                         \
        {                                                                                          \
            256, 256, 512, 512, 1024, 1024                                                         \
        }                                                                                          \
    }
static const published checkpoints[] = {
    {"64x64_diffusion",
     192,
     3,
     {4, {192, 384, 576, 768}},
     {3, {2, 4, 8}},
     64,
     0,
     64,
     "cosine",
     0.1,
     true,
     true},
    {"128x128_diffusion",
     256,
     2,
     {5, {256, 256, 512, 768, 1024}},
     {3, {4, 8, 16}},
     128,
     4,
     0,
     "linear",
     0,
     true,
     false},
    {"256x256_diffusion",
     256,
     2,
     LEVELS_256,
     {3, {8, 16, 32}},
     256,
     0,
     64,
     "linear",
     0,
     true,
     false},
    // The LSUN models but one were trained with dropout 0.1, which their tensors do not show.
    {"256x256_diffusion_uncond or lsun_*",
     256,
     2,
     LEVELS_256,
     {3, {8, 16, 32}},
     256,
     0,
     64,
     "linear",
     0,
     false,
     false},
    {"512x512_diffusion",
     256,
     2,
     {7, {128, 256, 256, 512, 512, 1024, 1024}},
     {3, {16, 32, 64}},
     512,
     0,
     64,
     "linear",
     0,
     true,
     false},
};

static bool same_ints(const aleat_config_ints *a, const aleat_config_ints *b)
{
    return a->count == b->count && !memcmp(a->at, b->at, (size_t)a->count * sizeof *a->at);
}

static const published *find_published(const aleat_adm_config *c)
{
    for (size_t i = 0; i < sizeof checkpoints / sizeof *checkpoints; i++) {
        const published *p = &checkpoints[i];
        if (p->model_channels == c->model_channels && p->num_res_blocks == c->num_res_blocks &&
            p->label == (c->num_classes != 0) && c->use_scale_shift_norm && c->resblock_updown &&
            c->out_channels == 2 * c->in_channels &&
            same_ints(&p->level_channels, &c->level_channels) &&
            same_ints(&p->attention_downsampling, &c->attention_downsampling))
            return p;
    }
    return NULL;
}

/* ---- recognition ----------------------------------------------------------------------------- */

// Does output block i end in something that doubles the image? Its module comes after the residual
// block and perhaps an attention.
static const char *upsampler(aleat_weights *weights, int i)
{
    static const char *const modules[] = {"1", "2"};
    for (size_t k = 0; k < sizeof modules / sizeof *modules; k++)
        if (aleat_inspect_has(weights, "output_blocks.%d.%s.in_layers.2.weight", i, modules[k]) ||
            aleat_inspect_has(weights, "output_blocks.%d.%s.conv.weight", i, modules[k]))
            return modules[k];
    return NULL;
}

static bool read_sizes(aleat_adm_config *config, aleat_weights *weights)
{
    const int n = aleat_adm_count_blocks(weights, "output_blocks");
    int levels = 1, depth = n - 1;
    for (int i = 0; i < n; i++) {
        if (!upsampler(weights, i))
            continue;
        depth = levels == 1 ? i : depth;
        levels++;
    }
    config->out_channels = aleat_inspect_dim(weights, 0, "out.2.weight");
    config->num_classes = aleat_inspect_dim(weights, 0, "label_emb.weight");
    return config->out_channels && n == levels * (depth + 1) &&
           n == aleat_adm_count_blocks(weights, "input_blocks") &&
           aleat_adm_read_trunk(config, weights, levels, depth);
}

static aleat_status check_sizes(const aleat_adm_config *config, const char *file, aleat_error *err)
{
    if (config->in_channels == 6) {
        (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                         "%s: a super-resolution network: it takes 6 channels, the image and an "
                         "enlarged smaller one beside it",
                         file);
        aleat_hint(err, "the networks that generate at 64, 128, 256 and 512 pixels are supported");
        return ALEAT_ERR_UNSUPPORTED;
    }
    if (config->out_channels != config->in_channels &&
        config->out_channels != 2 * config->in_channels)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: %lld channels in and %lld out, expected as many, or twice as many "
                          "with a learned variance",
                          file, (long long)config->in_channels, (long long)config->out_channels);
    return ALEAT_OK;
}

static aleat_status read_options(aleat_adm_config *config, const aleat_model_options *options,
                                 const char *file, aleat_error *err)
{
    const char *order = options->attention_order, *schedule = options->noise_schedule;
    if (order && strcmp(order, "legacy") != 0 && strcmp(order, "new") != 0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "attention order '%s', expected legacy or new",
                          order);
    if (schedule && strcmp(schedule, "linear") != 0 && strcmp(schedule, "cosine") != 0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "noise schedule '%s', expected linear or cosine",
                          schedule);
    if (options->train_steps < 0 || options->train_steps > 1000000)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%lld training steps, expected 1 to 1000000",
                          (long long)options->train_steps);
    if (!order && !config->published_as) {
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                         "%s: no published model has these sizes, and a checkpoint does not say in "
                         "which order its attention has queries, keys and values",
                         file);
        aleat_hint(err, "say the attention order: 'new' if the model was trained with "
                        "use_new_attention_order, else 'legacy'; and how many heads");
        return ALEAT_ERR_ARGUMENT;
    }
    if (order)
        config->use_new_attention_order = !strcmp(order, "new");
    if (schedule)
        config->noise_schedule = schedule;
    if (options->train_steps)
        config->diffusion_steps = options->train_steps;
    config->rescale_timesteps = options->rescale_timesteps;
    return aleat_adm_read_options(config, options, file, err);
}

static aleat_status recognise_config(aleat_adm_config *config, aleat_weights *weights,
                                     const aleat_model_options *options, aleat_error *err)
{
    const char *file = aleat_weights_path(weights);
    if (!read_sizes(config, weights))
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s: has input_blocks and output_blocks as an ADM U-Net, but they do not "
                          "make one: blocks are missing or levels do not repeat",
                          file);
    const aleat_status st = check_sizes(config, file, err);
    if (st)
        return st;
    config->diffusion_steps = 1000;
    const published *p = find_published(config);
    if (p) {
        config->published_as = p->name;
        config->image_size = p->image_size;
        config->num_heads = p->num_heads;
        config->num_head_channels = p->num_head_channels;
        config->use_new_attention_order = p->use_new_attention_order;
        config->noise_schedule = p->noise_schedule;
        config->dropout = p->dropout;
    }
    return read_options(config, options, file, err);
}

/* ---- building -------------------------------------------------------------------------------- */

static aleat_value upsample(aleat_adm_builder *b, aleat_value x, int block, bool attends)
{
    const aleat_name name = aleat_nn_name(b->graph, "output_blocks.%d.%d", block, attends ? 2 : 1);
    if (b->config->resblock_updown)
        return aleat_adm_resample(b, x, name.text, ALEAT_RESAMPLE_UP);
    const aleat_name conv = aleat_nn_name(b->graph, "%s.conv", name.text);
    return aleat_nn_upsample(b->graph, x, conv.text, aleat_graph_dims(b->graph, x).c);
}

static void build_network(aleat_graph *graph, const aleat_adm_config *config, aleat_dims dims,
                          aleat_network *net)
{
    aleat_adm_builder b;
    aleat_adm_begin(&b, graph, config);
    net->x = aleat_graph_input(graph, "x", dims);
    aleat_adm_embed(&b, net);

    aleat_value x = aleat_adm_trunk(&b, net->x);
    int block = 0;
    for (int level = config->level_channels.count - 1; level >= 0; level--) {
        const bool attends = aleat_adm_has_attention(config, level);
        for (int i = 0; i <= config->num_res_blocks; i++, block++) {
            const aleat_name name = aleat_nn_name(graph, "output_blocks.%d", block);
            x = aleat_op_concat(graph, x, b.skip[--b.n_skips]);
            x = aleat_adm_layer(&b, x, name.text, config->level_channels.at[level], attends);
        }
        if (level)
            x = upsample(&b, x, block - 1, attends);
    }
    x = aleat_nn_groupnorm(graph, x, "out.0", b.resnet.groups, b.resnet.eps, ALEAT_ACT_SILU);
    net->out = aleat_nn_conv(graph, x, "out.2", config->out_channels, aleat_conv_same(3));
    aleat_graph_output(graph, "out", net->out);
}

// guided-diffusion's process as diffusers writes it. Steps of DDIM "leading" are its "ddimN".
static char *scheduler_text(const aleat_adm_config *config)
{
    const double scale = 1000.0 / (double)config->diffusion_steps;
    const bool cosine = !strcmp(config->noise_schedule, "cosine");
    return aleat_asprintf("{\n"
                          "  \"_class_name\": \"DDIMScheduler\",\n"
                          "  \"num_train_timesteps\": %lld,\n"
                          "  \"beta_schedule\": \"%s\",\n"
                          "  \"beta_start\": %.17g,\n"
                          "  \"beta_end\": %.17g,\n"
                          "  \"prediction_type\": \"epsilon\",\n"
                          "  \"variance_type\": \"%s\",\n"
                          "  \"clip_sample\": true,\n"
                          "  \"set_alpha_to_one\": true,\n"
                          "  \"steps_offset\": 0,\n"
                          "  \"timestep_spacing\": \"leading\"\n"
                          "}\n",
                          (long long)config->diffusion_steps,
                          cosine ? "squaredcos_cap_v2" : "linear", scale * 0.0001, scale * 0.02,
                          config->out_channels == config->in_channels ? "fixed_large"
                                                                      : "learned_range");
}

static aleat_status build(aleat_model_files *out, const aleat_model_options *options,
                          aleat_error *err)
{
    aleat_adm_config config = {0};
    aleat_status st = recognise_config(&config, out->weights, options, err);
    if (st)
        return st;
    aleat_dims dims = {config.image_size, config.image_size, config.in_channels};
    const int64_t unit = aleat_level_unit(config.level_channels.count);
    st = aleat_model_choose_size(&dims, options, unit, aleat_weights_path(out->weights),
                                 "no published model has these sizes", err);
    if (st)
        return st;
    out->config_text = aleat_config_text(&config, aleat_adm_keys, "UNetModel");
    if (config.noise_schedule)
        out->scheduler_text = scheduler_text(&config);
    out->graph = aleat_graph_new(out->weights);
    if (!out->config_text || !out->graph || (config.noise_schedule && !out->scheduler_text))
        return aleat_fail_memory(err, "network");
    if (config.rescale_timesteps)
        out->time_scale = 1000.0 / (double)config.diffusion_steps;
    build_network(out->graph, &config, dims, &out->network);
    out->info = (aleat_denoiser_info){
        .channels = config.in_channels,
        .height = dims.h,
        .width = dims.w,
        .out_channels = config.out_channels,
        .n_classes = config.num_classes,
        .null_class = -1,
    };
    return aleat_graph_check(out->graph, err);
}

static bool recognises(const char *class_name, aleat_weights *weights)
{
    return !class_name && weights && aleat_inspect_has(weights, "time_embed.0.weight") &&
           aleat_inspect_has(weights, "input_blocks.0.0.weight") &&
           aleat_inspect_has(weights, "middle_block.1.qkv.weight") &&
           aleat_inspect_has(weights, "output_blocks.0.0.in_layers.2.weight");
}

const aleat_model_family aleat_family_adm = {
    .name = "adm",
    .description = "U-Net of OpenAI's guided-diffusion (ADM), from a .pt file alone",
    .recognises = recognises,
    .build = build,
};
