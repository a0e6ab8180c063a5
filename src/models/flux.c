/*
 * The transformer of FLUX.1 dev and schnell (diffusers' FluxTransformer2DModel, as of v0.31; the
 * authors' own names in single files): blocks of two streams, then blocks of one, with rotary
 * embeddings. Latents are taken and given as images; the 2x2 packing is part of the first and last
 * layer.
 * Source: black-forest-labs/flux, src/flux/model.py.
 */
#include "models/families.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/json.h"
#include "models/config.h"
#include "nn/mmdit.h"

#define CLASS_NAME     "FluxTransformer2DModel"
#define EPS            1e-6
#define MAX_BLOCKS     64
#define PACK           2 // pixels of a latent on each side of a token
#define THETA          10000
#define CONTEXT_TOKENS 512 // of T5; 256 for schnell
#define TIME_SCALE     1000
#define LATENT_SIDE    128 // of images of 1024 pixels: the files name no size

typedef struct flux_config {
    int64_t patch_size, in_channels, out_channels, num_layers, num_single_layers,
        attention_head_dim, num_attention_heads, joint_attention_dim, pooled_projection_dim;
    bool guidance_embeds;
    aleat_config_ints axes_dims_rope;
} flux_config;

// The defaults of FluxTransformer2DModel's constructor.
static const flux_config defaults = {
    .patch_size = 1,
    .in_channels = 64,
    .num_layers = 19,
    .num_single_layers = 38,
    .attention_head_dim = 128,
    .num_attention_heads = 24,
    .joint_attention_dim = 4096,
    .pooled_projection_dim = 768,
    .axes_dims_rope = {3, {16, 56, 56}},
};

const aleat_latent_scaling aleat_flux_latents = {0.3611, 0.1159};

#define FIELD(name) #name, .offset = offsetof(flux_config, name)
static const aleat_config_key config_keys[] = {
    {FIELD(patch_size), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 1},
    {FIELD(in_channels), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(out_channels), .kind = ALEAT_CONFIG_INT, .nullable = true, .low = 1, .high = 65536},
    {FIELD(num_layers), .kind = ALEAT_CONFIG_INT, .low = 1, .high = MAX_BLOCKS},
    {FIELD(num_single_layers), .kind = ALEAT_CONFIG_INT, .high = MAX_BLOCKS},
    {FIELD(attention_head_dim), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(num_attention_heads), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(joint_attention_dim), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 1 << 20},
    {FIELD(pooled_projection_dim), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 1 << 20},
    {FIELD(guidance_embeds), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(axes_dims_rope), .kind = ALEAT_CONFIG_INTS, .high = 65536},
    {0},
};
#undef FIELD

/* ---- names ----------------------------------------------------------------------------------- */

typedef struct layout {
    const char *patch, *context, *time[2], *pooled[2], *guidance[2], *norm_out, *out;
    bool scale_first; // order of the final modulation
    const char *block, *single;
    aleat_stream_names image, text;
    // below a single block: layers that stand below each other as [q | k | v | mlp]
    const char *single_modulation, *single_in[4], *single_norm[2], *single_out;
} layout;

static const layout diffusers_layout = {
    .patch = "x_embedder",
    .context = "context_embedder",
    .time = {"time_text_embed.timestep_embedder.linear_1",
             "time_text_embed.timestep_embedder.linear_2"},
    .pooled = {"time_text_embed.text_embedder.linear_1", "time_text_embed.text_embedder.linear_2"},
    .guidance = {"time_text_embed.guidance_embedder.linear_1",
                 "time_text_embed.guidance_embedder.linear_2"},
    .norm_out = "norm_out.linear",
    .out = "proj_out",
    .scale_first = true,
    .block = "transformer_blocks",
    .single = "single_transformer_blocks",
    .image = {.modulation = "norm1.linear",
              .attention = {{"attn.to_q", "attn.to_k", "attn.to_v"},
                            "attn.norm_q.weight",
                            "attn.norm_k.weight",
                            "attn.to_out.0"},
              .fc1 = "ff.net.0.proj",
              .fc2 = "ff.net.2"},
    .text = {.modulation = "norm1_context.linear",
             .attention = {{"attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"},
                           "attn.norm_added_q.weight",
                           "attn.norm_added_k.weight",
                           "attn.to_add_out"},
             .fc1 = "ff_context.net.0.proj",
             .fc2 = "ff_context.net.2"},
    .single_modulation = "norm.linear",
    .single_in = {"attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"},
    .single_norm = {"attn.norm_q.weight", "attn.norm_k.weight"},
    .single_out = "proj_out",
};
static const layout original_layout = {
    .patch = "img_in",
    .context = "txt_in",
    .time = {"time_in.in_layer", "time_in.out_layer"},
    .pooled = {"vector_in.in_layer", "vector_in.out_layer"},
    .guidance = {"guidance_in.in_layer", "guidance_in.out_layer"},
    .norm_out = "final_layer.adaLN_modulation.1",
    .out = "final_layer.linear",
    .block = "double_blocks",
    .single = "single_blocks",
    .image = {.modulation = "img_mod.lin",
              .attention = {{"img_attn.qkv"},
                            "img_attn.norm.query_norm.scale",
                            "img_attn.norm.key_norm.scale",
                            "img_attn.proj"},
              .fc1 = "img_mlp.0",
              .fc2 = "img_mlp.2"},
    .text = {.modulation = "txt_mod.lin",
             .attention = {{"txt_attn.qkv"},
                           "txt_attn.norm.query_norm.scale",
                           "txt_attn.norm.key_norm.scale",
                           "txt_attn.proj"},
             .fc1 = "txt_mlp.0",
             .fc2 = "txt_mlp.2"},
    .single_modulation = "modulation.lin",
    .single_in = {"linear1"},
    .single_norm = {"norm.query_norm.scale", "norm.key_norm.scale"},
    .single_out = "linear2",
};

static const char *const original_roots[] = {"", "model.diffusion_model.", "diffusion_model."};

// What precedes every name of an original file; NULL: not one.
static const char *original_root(aleat_weights *weights)
{
    for (size_t i = 0; weights && i < sizeof original_roots / sizeof *original_roots; i++)
        if (aleat_inspect_has(weights, "%sdouble_blocks.0.img_attn.qkv.weight", original_roots[i]))
            return original_roots[i];
    return NULL;
}

/* ---- building -------------------------------------------------------------------------------- */

typedef struct builder {
    aleat_graph *graph;
    const flux_config *config;
    const layout *layout;
    const char *root;
    aleat_value vector, angles;
} builder;

static aleat_name rooted(const builder *b, const char *name)
{
    return aleat_nn_name(b->graph, "%s%s", b->root, name);
}

static int64_t width_of(const flux_config *config)
{
    return config->num_attention_heads * config->attention_head_dim;
}

static int64_t latent_channels(const flux_config *config)
{
    return config->in_channels / (PACK * PACK);
}

static aleat_value embed_vector(const builder *b, const aleat_network *net)
{
    const int64_t c = width_of(b->config);
    const layout *l = b->layout;
    aleat_value vector = aleat_nn_embed_number(b->graph, net->t, rooted(b, l->time[0]).text,
                                               rooted(b, l->time[1]).text, c, TIME_SCALE);
    if (b->config->guidance_embeds)
        vector = aleat_op_add(b->graph, vector,
                              aleat_nn_embed_number(b->graph, net->guidance,
                                                    rooted(b, l->guidance[0]).text,
                                                    rooted(b, l->guidance[1]).text, c, TIME_SCALE));
    vector = aleat_op_add(b->graph, vector,
                          aleat_nn_mlp(b->graph, net->pooled, rooted(b, l->pooled[0]).text,
                                       rooted(b, l->pooled[1]).text, c, c, ALEAT_ACT_SILU));
    return aleat_op_activation(b->graph, vector, ALEAT_ACT_SILU);
}

// A token is a 2x2 window, its numbers ordered (channel, row, column): as a convolution's weight.
static aleat_value pack(const builder *b, aleat_value x)
{
    const aleat_conv_spec window = {.kernel_h = PACK, .kernel_w = PACK, .stride = PACK};
    const int64_t c = width_of(b->config);
    const aleat_name name = rooted(b, b->layout->patch);
    const aleat_shape shape = aleat_nn_linear_shape(2, c, b->config->in_channels);
    return aleat_op_conv2d(b->graph, x, aleat_nn_weight(b->graph, name.text, &shape),
                           aleat_nn_bias(b->graph, name.text, c), window);
}

// The last layer, its outputs reordered to (row, column, channel), as unpatchify takes them.
static aleat_value unpack(const builder *b, aleat_value x)
{
    const aleat_name name = rooted(b, b->layout->out);
    const int64_t windows = PACK * PACK, channels = latent_channels(b->config);
    const int64_t rows = windows * channels;
    const aleat_shape shape = aleat_nn_linear_shape(2, rows, width_of(b->config));
    const aleat_param weight = aleat_nn_weight(b->graph, name.text, &shape);
    const aleat_param bias = aleat_nn_bias(b->graph, name.text, rows);
    int32_t *order = aleat_calloc((size_t)rows, sizeof *order);
    if (!order)
        return aleat_graph_fail(b->graph, ALEAT_ERR_MEMORY, "out of memory: packing");
    for (int64_t i = 0; i < rows; i++)
        order[i] = (int32_t)(i % channels * windows + i / channels);
    x = aleat_op_linear(b->graph, x, aleat_graph_param_rows(b->graph, weight, order, rows),
                        aleat_graph_param_rows(b->graph, bias, order, rows));
    aleat_free(order);
    return aleat_op_unpatchify(b->graph, x, PACK);
}

// [q | k | v | mlp] of a single block, as one layer.
static aleat_value single_projection(const builder *b, aleat_value h, const char *prefix)
{
    const int64_t c = width_of(b->config);
    const bool apart = b->layout->single_in[1];
    const int64_t rows[] = {apart ? c : 7 * c, c, c, 4 * c};
    return aleat_nn_linear_stack(b->graph, h, prefix, b->layout->single_in, rows, apart ? 4 : 1,
                                 true);
}

// x + gate out([attention(q, k, v) | gelu(mlp)]), all from one modulated norm.
static aleat_value single_block(const builder *b, aleat_value x, const char *prefix)
{
    aleat_graph *graph = b->graph;
    const layout *l = b->layout;
    const int64_t c = width_of(b->config), heads = b->config->num_attention_heads;
    const aleat_name modulation = aleat_nn_name(graph, "%s.%s", prefix, l->single_modulation);
    const aleat_name norm_q = aleat_nn_name(graph, "%s.%s", prefix, l->single_norm[0]);
    const aleat_name norm_k = aleat_nn_name(graph, "%s.%s", prefix, l->single_norm[1]);
    const aleat_name out = aleat_nn_name(graph, "%s.%s", prefix, l->single_out);

    const aleat_value m = aleat_nn_modulation(graph, b->vector, modulation.text, c, 1);
    aleat_value h = aleat_op_layernorm(graph, x, ALEAT_NO_PARAM, ALEAT_NO_PARAM, EPS);
    h = aleat_op_scale_shift(graph, h, aleat_op_slice(graph, m, 0, 2 * c), ALEAT_ACT_NONE);
    const aleat_value all = single_projection(b, h, prefix);
    const aleat_qkv qkv = {aleat_op_slice(graph, all, 0, c), aleat_op_slice(graph, all, c, c),
                           aleat_op_slice(graph, all, 2 * c, c)};
    const aleat_value attended = aleat_nn_rotary_attention(
        graph, aleat_nn_norm_heads(graph, qkv, norm_q.text, norm_k.text, heads, EPS), b->angles,
        heads);
    const aleat_value mlp =
        aleat_op_activation(graph, aleat_op_slice(graph, all, 3 * c, 4 * c), ALEAT_ACT_GELU_TANH);
    h = aleat_nn_linear(graph, aleat_op_concat(graph, attended, mlp), out.text, c);
    return aleat_op_add(graph, x, aleat_op_multiply(graph, h, aleat_op_slice(graph, m, 2 * c, c)));
}

static aleat_value blocks(const builder *b, aleat_value image, aleat_value text)
{
    const flux_config *config = b->config;
    const aleat_dims size = aleat_graph_dims(b->graph, image);
    const int64_t tokens = aleat_graph_dims(b->graph, text).h;
    const aleat_mmdit_spec spec = {.image = &b->layout->image,
                                   .text = &b->layout->text,
                                   .heads = config->num_attention_heads,
                                   .hidden = 4 * width_of(config),
                                   .qk_norm = true,
                                   .text_first = true,
                                   .angles = b->angles,
                                   .eps = EPS};
    for (int i = 0; i < config->num_layers; i++) {
        const aleat_name name = aleat_nn_name(b->graph, "%s%s.%d", b->root, b->layout->block, i);
        aleat_nn_mmdit_block(b->graph, &image, &text, b->vector, name.text, &spec);
    }
    aleat_value x = aleat_op_concat_tokens(b->graph, text, image);
    for (int i = 0; i < config->num_single_layers; i++) {
        const aleat_name name = aleat_nn_name(b->graph, "%s%s.%d", b->root, b->layout->single, i);
        x = single_block(b, x, name.text);
    }
    return aleat_op_slice_tokens(b->graph, x, tokens, size.h, size.w);
}

static void build_network(builder *b, aleat_dims dims, int64_t tokens, aleat_network *net)
{
    aleat_graph *graph = b->graph;
    const flux_config *config = b->config;
    const int64_t *axes = config->axes_dims_rope.at;
    net->x = aleat_graph_input(graph, "x", dims);
    net->t = aleat_graph_input(graph, "t", (aleat_dims){1, 1, 1});
    net->label = ALEAT_NO_VALUE;
    net->context = aleat_graph_condition(graph, "context",
                                         (aleat_dims){tokens, 1, config->joint_attention_dim});
    net->pooled =
        aleat_graph_condition(graph, "pooled", (aleat_dims){1, 1, config->pooled_projection_dim});
    if (config->guidance_embeds)
        net->guidance = aleat_graph_condition(graph, "guidance", (aleat_dims){1, 1, 1});
    b->vector = embed_vector(b, net);
    b->angles = aleat_op_rope_angles(graph, (aleat_rope_spec){.first = tokens,
                                                              .h = dims.h / PACK,
                                                              .w = dims.w / PACK,
                                                              .axes = {axes[0], axes[1], axes[2]},
                                                              .theta = THETA});
    const aleat_value text =
        aleat_nn_linear(graph, net->context, rooted(b, b->layout->context).text, width_of(config));
    aleat_value x = blocks(b, pack(b, net->x), text);
    x = aleat_nn_modulated_norm(graph, x, b->vector, rooted(b, b->layout->norm_out).text,
                                b->layout->scale_first, EPS);
    net->out = unpack(b, x);
    aleat_graph_output(graph, "out", net->out);
}

/* ---- configuration --------------------------------------------------------------------------- */

static int count_blocks(aleat_weights *weights, const char *root, const char *stem,
                        const char *part)
{
    int n = 0;
    while (n <= MAX_BLOCKS && aleat_inspect_has(weights, "%s%s.%d.%s", root, stem, n, part))
        n++;
    return n;
}

// How a head's channels are shared out to the axes is in no file: as published, an eighth for the
// first one, rounded up until the rest halves into pairs.
static aleat_config_ints published_axes(int64_t head_dim)
{
    int64_t first = (head_dim + 7) / 8;
    first += first % 2;
    first += (head_dim - first) % 4;
    return (aleat_config_ints){3, {first, (head_dim - first) / 2, (head_dim - first) / 2}};
}

static aleat_status infer_config(flux_config *config, aleat_weights *weights, const char *root,
                                 aleat_error *err)
{
    const int64_t c = aleat_inspect_dim(weights, 0, "%simg_in.weight", root);
    const int64_t head =
        aleat_inspect_dim(weights, 0, "%sdouble_blocks.0.img_attn.norm.query_norm.scale", root);
    config->in_channels = aleat_inspect_dim(weights, 1, "%simg_in.weight", root);
    config->num_layers = count_blocks(weights, root, "double_blocks", "img_attn.qkv.weight");
    config->num_single_layers = count_blocks(weights, root, "single_blocks", "linear1.weight");
    config->attention_head_dim = head;
    config->num_attention_heads = head ? c / head : 0;
    config->joint_attention_dim = aleat_inspect_dim(weights, 1, "%stxt_in.weight", root);
    config->pooled_projection_dim =
        aleat_inspect_dim(weights, 1, "%svector_in.in_layer.weight", root);
    config->guidance_embeds = aleat_inspect_has(weights, "%sguidance_in.in_layer.weight", root);
    config->axes_dims_rope = published_axes(head);
    if (!config->num_attention_heads || !config->in_channels || !config->joint_attention_dim ||
        !config->pooled_projection_dim || config->num_layers > MAX_BLOCKS ||
        config->num_single_layers > MAX_BLOCKS)
        return aleat_fail(
            err, ALEAT_ERR_FORMAT,
            "%s: img_in, txt_in, vector_in or double_blocks.0 are not those of a FLUX",
            aleat_weights_path(weights));
    return ALEAT_OK;
}

static aleat_status check_config(const flux_config *c, const char *file, aleat_error *err)
{
    const aleat_config_ints *axes = &c->axes_dims_rope;
    int64_t sum = 0;
    for (int i = 0; i < axes->count; i++)
        sum += axes->at[i];
    if (axes->count != 3 || sum != c->attention_head_dim)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s: 'axes_dims_rope' has %d items that sum to %lld, expected 3 that sum "
                          "to attention_head_dim = %lld",
                          file, axes->count, (long long)sum, (long long)c->attention_head_dim);
    if (c->in_channels % (PACK * PACK) || (c->out_channels && c->out_channels != c->in_channels))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: %lld channels in and %lld out: only networks that take nothing but "
                          "the packed latent are supported",
                          file, (long long)c->in_channels,
                          (long long)(c->out_channels ? c->out_channels : c->in_channels));
    return ALEAT_OK;
}

// Of dev, or of schnell, which alone was trained without guidance.
static char *published_scheduler(const flux_config *config)
{
    return aleat_asprintf("{\n"
                          "  \"_class_name\": \"FlowMatchEulerDiscreteScheduler\",\n"
                          "  \"num_train_timesteps\": 1000,\n"
                          "  \"base_image_seq_len\": 256,\n"
                          "  \"max_image_seq_len\": 4096,\n"
                          "  \"base_shift\": 0.5,\n"
                          "  \"max_shift\": 1.15,\n"
                          "  \"shift\": %s,\n"
                          "  \"use_dynamic_shifting\": %s\n"
                          "}\n",
                          config->guidance_embeds ? "3.0" : "1.0",
                          config->guidance_embeds ? "true" : "false");
}

static aleat_status read_config(flux_config *config, aleat_json *json, aleat_model_files *out,
                                const char *root, aleat_error *err)
{
    *config = defaults;
    aleat_status st;
    if (root) {
        st = infer_config(config, out->weights, root, err);
        if (!st && !out->scheduler_path)
            out->scheduler_text = published_scheduler(config);
        return st ? st : check_config(config, aleat_weights_path(out->weights), err);
    }
    if (!out->config_path)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: a " CLASS_NAME " needs the config.json that belongs to it",
                          aleat_weights_path(out->weights));
    st = aleat_json_load(json, out->config_path, err);
    if (!st)
        st = aleat_config_read(config, json, config_keys, err);
    return st ? st : check_config(config, json->name, err);
}

static aleat_status build(aleat_model_files *out, const aleat_model_options *options,
                          aleat_error *err)
{
    aleat_json json = {0};
    flux_config config;
    const char *root = original_root(out->weights);
    aleat_status st = read_config(&config, &json, out, root, err);
    aleat_dims dims = {LATENT_SIDE, LATENT_SIDE, latent_channels(&config)};
    if (!st)
        st = aleat_model_choose_size(&dims, options, PACK, aleat_weights_path(out->weights),
                                     "no size", err);
    if (st)
        goto done;
    out->config_text = aleat_config_text(&config, config_keys, CLASS_NAME);
    out->graph = aleat_graph_new(out->weights);
    if (!out->config_text || !out->graph) {
        st = aleat_fail_memory(err, "network");
        goto done;
    }
    const int64_t tokens = options->context_tokens ? options->context_tokens : CONTEXT_TOKENS;
    builder b = {.graph = out->graph,
                 .config = &config,
                 .layout = root ? &original_layout : &diffusers_layout,
                 .root = root ? root : ""};
    build_network(&b, dims, tokens, &out->network);
    st = aleat_graph_check(out->graph, err);
    out->time_scale = 1.0 / TIME_SCALE; // the network multiplies by it itself
    out->image_tokens = dims.h / PACK * (dims.w / PACK);
    out->flow_to_one_step = true;
    out->latents = aleat_flux_latents;
    out->info = (aleat_denoiser_info){.channels = dims.c,
                                      .height = dims.h,
                                      .width = dims.w,
                                      .out_channels = dims.c,
                                      .null_class = -1,
                                      .context_tokens = tokens,
                                      .context_dim = config.joint_attention_dim,
                                      .pooled_dim = config.pooled_projection_dim,
                                      .takes_guidance = config.guidance_embeds};
done:
    aleat_json_clear(&json);
    return st;
}

static bool recognises(const char *class_name, aleat_weights *weights)
{
    return (class_name && !strcmp(class_name, CLASS_NAME)) || original_root(weights);
}

const aleat_model_family aleat_family_flux = {
    .name = "flux",
    .description = "transformer of FLUX.1 dev and schnell (FluxTransformer2DModel)",
    .recognises = recognises,
    .build = build,
    .harmless = aleat_single_file_parts,
};
