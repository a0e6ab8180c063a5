/*
 * The transformer of Stable Diffusion 3 medium and 3.5 medium and large (diffusers'
 * SD3Transformer2DModel, as of v0.31; Stability's MMDiTX in original files).
 * Source: Esser et al. 2024, "Scaling rectified flow transformers for high-resolution image
 * synthesis".
 */
#include "models/families.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/json.h"
#include "models/config.h"
#include "nn/mmdit.h"

#define CLASS_NAME     "SD3Transformer2DModel"
#define EPS            1e-6
#define MAX_BLOCKS     64
#define CONTEXT_TOKENS 333 // 77 of both CLIP encoders, then 256 of T5

typedef struct sd3_config {
    int64_t patch_size, in_channels, out_channels, num_layers, attention_head_dim,
        num_attention_heads, joint_attention_dim, caption_projection_dim, pooled_projection_dim,
        pos_embed_max_size;
    aleat_config_ints sample_size, dual_attention_layers;
    const char *qk_norm;
} sd3_config;

// The defaults of SD3Transformer2DModel's constructor.
static const sd3_config defaults = {
    .sample_size = {1, {128}},
    .patch_size = 2,
    .in_channels = 16,
    .out_channels = 16,
    .num_layers = 18,
    .attention_head_dim = 64,
    .num_attention_heads = 18,
    .joint_attention_dim = 4096,
    .caption_projection_dim = 1152,
    .pooled_projection_dim = 2048,
    .pos_embed_max_size = 96,
};

const aleat_latent_scaling aleat_sd3_latents = {1.5305, 0.0609};

#define FIELD(name) #name, .offset = offsetof(sd3_config, name)
static const aleat_config_key config_keys[] = {
    {FIELD(sample_size), .kind = ALEAT_CONFIG_SIZE, .low = 1, .high = 65536},
    {FIELD(patch_size), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 64},
    {FIELD(in_channels), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(out_channels), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(num_layers), .kind = ALEAT_CONFIG_INT, .low = 1, .high = MAX_BLOCKS},
    {FIELD(attention_head_dim), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(num_attention_heads), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(joint_attention_dim), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 1 << 20},
    {FIELD(caption_projection_dim), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 1 << 20},
    {FIELD(pooled_projection_dim), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 1 << 20},
    {FIELD(pos_embed_max_size), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 4096},
    {FIELD(dual_attention_layers), .kind = ALEAT_CONFIG_INTS, .high = MAX_BLOCKS},
    {FIELD(qk_norm), .kind = ALEAT_CONFIG_TEXT, .nullable = true, .choices = "rms_norm"},
    {0},
};
#undef FIELD

/* ---- names ----------------------------------------------------------------------------------- */

typedef struct layout {
    const char *block; // "<block>.<n>"
    const char *patch, *position, *context, *time[2], *pooled[2], *norm_out, *out;
    bool scale_first; // order of the final modulations
    aleat_stream_names image, text;
} layout;

static const layout diffusers_layout = {
    .block = "transformer_blocks",
    .patch = "pos_embed.proj",
    .position = "pos_embed.pos_embed",
    .context = "context_embedder",
    .time = {"time_text_embed.timestep_embedder.linear_1",
             "time_text_embed.timestep_embedder.linear_2"},
    .pooled = {"time_text_embed.text_embedder.linear_1", "time_text_embed.text_embedder.linear_2"},
    .norm_out = "norm_out.linear",
    .out = "proj_out",
    .scale_first = true,
    .image = {.modulation = "norm1.linear",
              .attention = {{"attn.to_q", "attn.to_k", "attn.to_v"},
                            "attn.norm_q.weight",
                            "attn.norm_k.weight",
                            "attn.to_out.0"},
              .second = {{"attn2.to_q", "attn2.to_k", "attn2.to_v"},
                         "attn2.norm_q.weight",
                         "attn2.norm_k.weight",
                         "attn2.to_out.0"},
              .fc1 = "ff.net.0.proj",
              .fc2 = "ff.net.2"},
    .text = {.modulation = "norm1_context.linear",
             .attention = {{"attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"},
                           "attn.norm_added_q.weight",
                           "attn.norm_added_k.weight",
                           "attn.to_add_out"},
             .fc1 = "ff_context.net.0.proj",
             .fc2 = "ff_context.net.2"},
};
static const layout original_layout = {
    .block = "joint_blocks",
    .patch = "x_embedder.proj",
    .position = "pos_embed",
    .context = "context_embedder",
    .time = {"t_embedder.mlp.0", "t_embedder.mlp.2"},
    .pooled = {"y_embedder.mlp.0", "y_embedder.mlp.2"},
    .norm_out = "final_layer.adaLN_modulation.1",
    .out = "final_layer.linear",
    .image = {.modulation = "x_block.adaLN_modulation.1",
              .attention = {{"x_block.attn.qkv"},
                            "x_block.attn.ln_q.weight",
                            "x_block.attn.ln_k.weight",
                            "x_block.attn.proj"},
              .second = {{"x_block.attn2.qkv"},
                         "x_block.attn2.ln_q.weight",
                         "x_block.attn2.ln_k.weight",
                         "x_block.attn2.proj"},
              .fc1 = "x_block.mlp.fc1",
              .fc2 = "x_block.mlp.fc2"},
    .text = {.modulation = "context_block.adaLN_modulation.1",
             .attention = {{"context_block.attn.qkv"},
                           "context_block.attn.ln_q.weight",
                           "context_block.attn.ln_k.weight",
                           "context_block.attn.proj"},
             .fc1 = "context_block.mlp.fc1",
             .fc2 = "context_block.mlp.fc2"},
};

static const char *const original_roots[] = {"model.diffusion_model.", "diffusion_model.", ""};

// What precedes every name of an original file; NULL: not one.
static const char *original_root(aleat_weights *weights)
{
    for (size_t i = 0; weights && i < sizeof original_roots / sizeof *original_roots; i++)
        if (aleat_inspect_has(weights, "%sjoint_blocks.0.x_block.attn.qkv.weight",
                              original_roots[i]))
            return original_roots[i];
    return NULL;
}

/* ---- building -------------------------------------------------------------------------------- */

typedef struct builder {
    aleat_graph *graph;
    const sd3_config *config;
    const layout *layout;
    const char *root;
} builder;

static aleat_name rooted(const builder *b, const char *name)
{
    return aleat_nn_name(b->graph, "%s%s", b->root, name);
}

static int64_t width_of(const sd3_config *config)
{
    return config->num_attention_heads * config->attention_head_dim;
}

// The middle of a square table of positions, as large as the image in patches.
static aleat_value positions(const builder *b, int64_t h, int64_t w)
{
    const int64_t most = b->config->pos_embed_max_size;
    const int64_t top = (most - h) / 2, left = (most - w) / 2;
    const aleat_shape shape = aleat_shape_of(3, (int64_t)1, most * most, width_of(b->config));
    const aleat_param table =
        aleat_graph_param(b->graph, rooted(b, b->layout->position).text, &shape);
    int32_t *rows = aleat_calloc((size_t)(h * w), sizeof *rows);
    if (!rows)
        return aleat_graph_fail(b->graph, ALEAT_ERR_MEMORY, "out of memory: positions");
    for (int64_t i = 0; i < h * w; i++)
        rows[i] = (int32_t)((top + i / w) * most + left + i % w);
    const aleat_param middle = aleat_graph_param_rows(b->graph, table, rows, h * w);
    aleat_free(rows);
    return aleat_graph_constant(b->graph, middle);
}

static aleat_value embed_vector(const builder *b, const aleat_network *net)
{
    const int64_t c = width_of(b->config);
    const layout *l = b->layout;
    const aleat_value time = aleat_nn_embed_number(b->graph, net->t, rooted(b, l->time[0]).text,
                                                   rooted(b, l->time[1]).text, c, 1);
    const aleat_value text = aleat_nn_mlp(b->graph, net->pooled, rooted(b, l->pooled[0]).text,
                                          rooted(b, l->pooled[1]).text, c, c, ALEAT_ACT_SILU);
    return aleat_op_activation(b->graph, aleat_op_add(b->graph, time, text), ALEAT_ACT_SILU);
}

static bool is_dual(const sd3_config *config, int64_t layer)
{
    for (int i = 0; i < config->dual_attention_layers.count; i++)
        if (config->dual_attention_layers.at[i] == layer)
            return true;
    return false;
}

static aleat_value blocks(const builder *b, aleat_value image, aleat_value text, aleat_value vector)
{
    const sd3_config *config = b->config;
    aleat_mmdit_spec spec = {.image = &b->layout->image,
                             .text = &b->layout->text,
                             .heads = config->num_attention_heads,
                             .hidden = 4 * width_of(config),
                             .qk_norm = config->qk_norm,
                             .scale_first = b->layout->scale_first,
                             .angles = ALEAT_NO_VALUE,
                             .eps = EPS};
    for (int i = 0; i < config->num_layers; i++) {
        const aleat_name name = aleat_nn_name(b->graph, "%s%s.%d", b->root, b->layout->block, i);
        spec.second = is_dual(config, i);
        spec.last = i == config->num_layers - 1;
        aleat_nn_mmdit_block(b->graph, &image, &text, vector, name.text, &spec);
    }
    return image;
}

static void build_network(const builder *b, aleat_dims dims, int64_t tokens, aleat_network *net)
{
    aleat_graph *graph = b->graph;
    const sd3_config *config = b->config;
    const int64_t p = config->patch_size, c = width_of(config);
    const aleat_conv_spec patchify = {.kernel_h = p, .kernel_w = p, .stride = p};
    net->x = aleat_graph_input(graph, "x", dims);
    net->t = aleat_graph_input(graph, "t", (aleat_dims){1, 1, 1});
    net->label = ALEAT_NO_VALUE;
    net->context = aleat_graph_condition(graph, "context",
                                         (aleat_dims){tokens, 1, config->joint_attention_dim});
    net->pooled =
        aleat_graph_condition(graph, "pooled", (aleat_dims){1, 1, config->pooled_projection_dim});
    const aleat_value vector = embed_vector(b, net);
    aleat_value x = aleat_nn_conv(graph, net->x, rooted(b, b->layout->patch).text, c, patchify);
    x = aleat_op_add(graph, x, positions(b, dims.h / p, dims.w / p));
    const aleat_value text =
        aleat_nn_linear(graph, net->context, rooted(b, b->layout->context).text, c);
    x = blocks(b, x, text, vector);
    x = aleat_nn_modulated_norm(graph, x, vector, rooted(b, b->layout->norm_out).text,
                                b->layout->scale_first, EPS);
    x = aleat_nn_linear(graph, x, rooted(b, b->layout->out).text, p * p * config->out_channels);
    net->out = aleat_op_unpatchify(graph, x, p);
    aleat_graph_output(graph, "out", net->out);
}

/* ---- configuration --------------------------------------------------------------------------- */

static int64_t square_root(int64_t n)
{
    int64_t side = 0;
    while ((side + 1) * (side + 1) <= n)
        side++;
    return side * side == n ? side : 0;
}

// Original files fix everything: there are as many heads as blocks.
static aleat_status infer_config(sd3_config *config, aleat_weights *weights, const char *root,
                                 aleat_error *err)
{
    int n = 0;
    while (n < MAX_BLOCKS &&
           aleat_inspect_has(weights, "%sjoint_blocks.%d.x_block.attn.qkv.weight", root, n)) {
        const bool dual =
            aleat_inspect_has(weights, "%sjoint_blocks.%d.x_block.attn2.qkv.weight", root, n);
        aleat_config_ints *layers = &config->dual_attention_layers;
        if (dual && layers->count < ALEAT_CONFIG_ITEMS)
            layers->at[layers->count++] = n;
        n++;
    }
    const int64_t c = aleat_inspect_dim(weights, 0, "%scontext_embedder.weight", root);
    const int64_t head =
        aleat_inspect_dim(weights, 0, "%sjoint_blocks.0.x_block.attn.ln_q.weight", root);
    config->num_layers = n;
    config->qk_norm = head ? "rms_norm" : NULL;
    config->num_attention_heads = head ? c / head : n;
    config->attention_head_dim =
        config->num_attention_heads ? c / config->num_attention_heads : 0; // refused below
    config->caption_projection_dim = c;
    config->joint_attention_dim = aleat_inspect_dim(weights, 1, "%scontext_embedder.weight", root);
    config->pooled_projection_dim =
        aleat_inspect_dim(weights, 1, "%sy_embedder.mlp.0.weight", root);
    config->in_channels = aleat_inspect_dim(weights, 1, "%sx_embedder.proj.weight", root);
    config->patch_size = aleat_inspect_dim(weights, 2, "%sx_embedder.proj.weight", root);
    config->pos_embed_max_size = square_root(aleat_inspect_dim(weights, 1, "%spos_embed", root));
    const int64_t patch = config->patch_size * config->patch_size;
    config->out_channels =
        patch ? aleat_inspect_dim(weights, 0, "%sfinal_layer.linear.weight", root) / patch : 0;
    if (!config->attention_head_dim || !config->joint_attention_dim ||
        !config->pooled_projection_dim || !config->in_channels || config->patch_size > 64 ||
        !config->pos_embed_max_size || !config->out_channels)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s: context_embedder, y_embedder, x_embedder, pos_embed or final_layer "
                          "are not those of a Stable Diffusion 3",
                          aleat_weights_path(weights));
    return ALEAT_OK;
}

static aleat_status read_config(sd3_config *config, aleat_json *json, aleat_model_files *out,
                                const char *root, aleat_error *err)
{
    *config = defaults;
    if (root) {
        if (!out->scheduler_path)
            out->scheduler_text = aleat_strdup("{\n"
                                               "  \"_class_name\": "
                                               "\"FlowMatchEulerDiscreteScheduler\",\n"
                                               "  \"num_train_timesteps\": 1000,\n"
                                               "  \"shift\": 3.0\n"
                                               "}\n");
        return infer_config(config, out->weights, root, err);
    }
    if (!out->config_path)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: a " CLASS_NAME " needs the config.json that belongs to it",
                          aleat_weights_path(out->weights));
    aleat_status st = aleat_json_load(json, out->config_path, err);
    if (!st)
        st = aleat_config_read(config, json, config_keys, err);
    if (!st &&
        (config->caption_projection_dim != width_of(config) || config->sample_size.count > 2))
        st = aleat_fail(err, ALEAT_ERR_FORMAT,
                        "%s: 'caption_projection_dim' is %lld, expected num_attention_heads * "
                        "attention_head_dim = %lld",
                        json->name, (long long)config->caption_projection_dim,
                        (long long)width_of(config));
    return st;
}

static aleat_status choose_size(aleat_dims *dims, const sd3_config *config,
                                const aleat_model_options *options, const char *file,
                                aleat_error *err)
{
    const aleat_config_ints *size = &config->sample_size;
    const int64_t p = config->patch_size, most = p * config->pos_embed_max_size;
    *dims = (aleat_dims){size->at[0], size->at[size->count > 1 ? 1 : 0], config->in_channels};
    const aleat_status st =
        aleat_model_choose_size(dims, options, p, file, "no 'sample_size'", err);
    if (!st && (dims->h > most || dims->w > most))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: latents of %lld x %lld are larger than the positions the network "
                          "knows, %lld x %lld",
                          file, (long long)dims->h, (long long)dims->w, (long long)most,
                          (long long)most);
    return st;
}

static aleat_status build(aleat_model_files *out, const aleat_model_options *options,
                          aleat_error *err)
{
    aleat_json json = {0};
    sd3_config config;
    aleat_dims dims;
    const char *root = original_root(out->weights);
    const char *file = aleat_weights_path(out->weights);
    aleat_status st = read_config(&config, &json, out, root, err);
    if (!st)
        st = choose_size(&dims, &config, options, file, err);
    if (st)
        goto done;
    out->config_text = aleat_config_text(&config, config_keys, CLASS_NAME);
    out->graph = aleat_graph_new(out->weights);
    if (!out->config_text || !out->graph) {
        st = aleat_fail_memory(err, "network");
        goto done;
    }
    const int64_t tokens = options->context_tokens ? options->context_tokens : CONTEXT_TOKENS;
    const builder b = {.graph = out->graph,
                       .config = &config,
                       .layout = root ? &original_layout : &diffusers_layout,
                       .root = root ? root : ""};
    build_network(&b, dims, tokens, &out->network);
    st = aleat_graph_check(out->graph, err);
    out->image_tokens = dims.h / config.patch_size * (dims.w / config.patch_size);
    out->latents = aleat_sd3_latents;
    out->info = (aleat_denoiser_info){.channels = config.in_channels,
                                      .height = dims.h,
                                      .width = dims.w,
                                      .out_channels = config.out_channels,
                                      .null_class = -1,
                                      .context_tokens = tokens,
                                      .context_dim = config.joint_attention_dim,
                                      .pooled_dim = config.pooled_projection_dim};
done:
    aleat_json_clear(&json);
    return st;
}

static bool recognises(const char *class_name, aleat_weights *weights)
{
    return (class_name && !strcmp(class_name, CLASS_NAME)) || original_root(weights);
}

const aleat_model_family aleat_family_sd3 = {
    .name = "sd3",
    .description = "transformer of Stable Diffusion 3 and 3.5 (SD3Transformer2DModel)",
    .recognises = recognises,
    .build = build,
    .harmless = aleat_single_file_parts,
};
