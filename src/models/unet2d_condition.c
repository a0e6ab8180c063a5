/*
 * The text-conditional U-Net of Stable Diffusion 1.x and 2.x (diffusers' UNet2DConditionModel, as
 * of v0.31; latent-diffusion's UNetModel in original files): residual blocks with transformers that
 * attend to the text.
 * Source: Rombach et al. 2022, "High-resolution image synthesis with latent diffusion models".
 */
#include "models/families.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/json.h"
#include "models/config.h"
#include "nn/blocks.h"
#include "nn/transformer.h"

#define CLASS_NAME      "UNet2DConditionModel"
#define MAX_LAYERS      16
#define MAX_DEPTH       32 // transformer blocks behind one residual block
#define CONTEXT_TOKENS  77 // of CLIP's text encoder
#define TRANSFORMER_EPS 1e-6

typedef struct unet_config {
    int64_t in_channels, out_channels, norm_num_groups, downsample_padding, freq_shift;
    aleat_config_ints sample_size, block_out_channels, layers_per_block, cross_attention_dim,
        attention_head_dim, num_attention_heads, transformer_layers_per_block;
    aleat_config_texts down_block_types, up_block_types;
    const char *mid_block_type, *act_fn, *resnet_time_scale_shift, *time_embedding_type,
        *attention_type;
    double mid_block_scale_factor, norm_eps, dropout;
    bool center_input_sample, flip_sin_to_cos, use_linear_projection;
    int64_t time_embedding_dim, conv_in_kernel, conv_out_kernel;
    // what other networks of the class have and these do not
    bool dual_cross_attention, only_cross_attention, class_embeddings_concat, resnet_skip_time_act,
        mid_block_only_cross_attention;
    const char *class_embed_type, *addition_embed_type, *encoder_hid_dim_type, *timestep_post_act,
        *time_embedding_act_fn, *cross_attention_norm;
    double resnet_out_scale_factor;
    int64_t num_class_embeds, time_cond_proj_dim, encoder_hid_dim;
} unet_config;

// The defaults of UNet2DConditionModel's constructor.
static const unet_config defaults = {
    .in_channels = 4,
    .out_channels = 4,
    .norm_num_groups = 32,
    .downsample_padding = 1,
    .block_out_channels = {4, {320, 640, 1280, 1280}},
    .layers_per_block = {1, {2}},
    .cross_attention_dim = {1, {1280}},
    .attention_head_dim = {1, {8}},
    .transformer_layers_per_block = {1, {1}},
    .down_block_types = {4,
                         {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
                          "DownBlock2D"}},
    .up_block_types = {4,
                       {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D",
                        "CrossAttnUpBlock2D"}},
    .mid_block_type = "UNetMidBlock2DCrossAttn",
    .act_fn = "silu",
    .resnet_time_scale_shift = "default",
    .time_embedding_type = "positional",
    .attention_type = "default",
    .mid_block_scale_factor = 1,
    .norm_eps = 1e-5,
    .flip_sin_to_cos = true,
    .conv_in_kernel = 3,
    .conv_out_kernel = 3,
    .resnet_out_scale_factor = 1,
};

#define FIELD(name) #name, .offset = offsetof(unet_config, name)
static const aleat_config_key config_keys[] = {
    {FIELD(sample_size), .kind = ALEAT_CONFIG_SIZE, .nullable = true, .low = 1, .high = 65536},
    {FIELD(in_channels), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(out_channels), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(center_input_sample), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(flip_sin_to_cos), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(freq_shift), .kind = ALEAT_CONFIG_INT, .high = 1},
    {FIELD(down_block_types), .kind = ALEAT_CONFIG_TEXTS,
     .choices = "CrossAttnDownBlock2D|DownBlock2D"},
    {FIELD(mid_block_type), .kind = ALEAT_CONFIG_TEXT, .choices = "UNetMidBlock2DCrossAttn"},
    {FIELD(up_block_types), .kind = ALEAT_CONFIG_TEXTS, .choices = "CrossAttnUpBlock2D|UpBlock2D"},
    {FIELD(block_out_channels), .kind = ALEAT_CONFIG_INTS, .low = 1, .high = 65536},
    {FIELD(layers_per_block), .kind = ALEAT_CONFIG_SIZE, .low = 1, .high = MAX_LAYERS},
    {FIELD(downsample_padding), .kind = ALEAT_CONFIG_INT, .high = 1},
    {FIELD(mid_block_scale_factor), .kind = ALEAT_CONFIG_DOUBLE, .low = 1e-6, .high = 1e6},
    {FIELD(dropout), .kind = ALEAT_CONFIG_DOUBLE, .high = 0.999},
    {FIELD(act_fn), .kind = ALEAT_CONFIG_TEXT, .choices = "silu|swish"},
    {FIELD(norm_num_groups), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(norm_eps), .kind = ALEAT_CONFIG_DOUBLE, .high = 1},
    {FIELD(cross_attention_dim), .kind = ALEAT_CONFIG_SIZE, .low = 1, .high = 65536},
    {FIELD(transformer_layers_per_block), .kind = ALEAT_CONFIG_SIZE, .low = 1, .high = MAX_DEPTH},
    {FIELD(attention_head_dim), .kind = ALEAT_CONFIG_SIZE, .low = 1, .high = 65536},
    {FIELD(num_attention_heads), .kind = ALEAT_CONFIG_SIZE, .nullable = true, .low = 1,
     .high = 65536},
    {FIELD(use_linear_projection), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(resnet_time_scale_shift), .kind = ALEAT_CONFIG_TEXT, .choices = "default"},
    {FIELD(time_embedding_type), .kind = ALEAT_CONFIG_TEXT, .choices = "positional"},
    {FIELD(time_embedding_dim), .kind = ALEAT_CONFIG_INT, .nullable = true, .low = 1,
     .high = 65536},
    {FIELD(attention_type), .kind = ALEAT_CONFIG_TEXT, .choices = "default"},
    {FIELD(conv_in_kernel), .kind = ALEAT_CONFIG_INT, .low = 3, .high = 3},
    {FIELD(conv_out_kernel), .kind = ALEAT_CONFIG_INT, .low = 3, .high = 3},
    {FIELD(resnet_out_scale_factor), .kind = ALEAT_CONFIG_DOUBLE, .low = 1, .high = 1},
    // null only: check_plain()
    {FIELD(class_embed_type), .kind = ALEAT_CONFIG_TEXT, .nullable = true},
    {FIELD(addition_embed_type), .kind = ALEAT_CONFIG_TEXT, .nullable = true},
    {FIELD(encoder_hid_dim_type), .kind = ALEAT_CONFIG_TEXT, .nullable = true},
    {FIELD(timestep_post_act), .kind = ALEAT_CONFIG_TEXT, .nullable = true},
    {FIELD(time_embedding_act_fn), .kind = ALEAT_CONFIG_TEXT, .nullable = true},
    {FIELD(cross_attention_norm), .kind = ALEAT_CONFIG_TEXT, .nullable = true},
    {FIELD(num_class_embeds), .kind = ALEAT_CONFIG_INT, .nullable = true, .high = 1 << 24},
    {FIELD(time_cond_proj_dim), .kind = ALEAT_CONFIG_INT, .nullable = true, .high = 1 << 24},
    {FIELD(encoder_hid_dim), .kind = ALEAT_CONFIG_INT, .nullable = true, .high = 1 << 24},
    // false only
    {FIELD(dual_cross_attention), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(only_cross_attention), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(mid_block_only_cross_attention), .kind = ALEAT_CONFIG_BOOL, .nullable = true},
    {FIELD(class_embeddings_concat), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(resnet_skip_time_act), .kind = ALEAT_CONFIG_BOOL},
    {.key = "upcast_attention", .kind = ALEAT_CONFIG_IGNORED}, // softmax is f32 here in any case
    // of what is refused above
    {.key = "addition_time_embed_dim", .kind = ALEAT_CONFIG_IGNORED},
    {.key = "addition_embed_type_num_heads", .kind = ALEAT_CONFIG_IGNORED},
    {.key = "projection_class_embeddings_input_dim", .kind = ALEAT_CONFIG_IGNORED},
    {.key = "reverse_transformer_layers_per_block", .kind = ALEAT_CONFIG_IGNORED},
    {0},
};
#undef FIELD

/* ---- names ----------------------------------------------------------------------------------- */

// How files call the parts. Below a transformer the names are the same in both.
typedef struct layout {
    bool original; // latent-diffusion's numbered blocks
    const aleat_resnet_names *resnet;
    const char *conv_in, *time[2], *norm_out, *conv_out;
    const char *middle_resnet[2], *middle_transformer;
} layout;

static const layout diffusers_layout = {
    .resnet = &aleat_resnet_diffusers,
    .conv_in = "conv_in",
    .time = {"time_embedding.linear_1", "time_embedding.linear_2"},
    .norm_out = "conv_norm_out",
    .conv_out = "conv_out",
    .middle_resnet = {"mid_block.resnets.0", "mid_block.resnets.1"},
    .middle_transformer = "mid_block.attentions.0",
};
static const layout original_layout = {
    .original = true,
    .resnet = &aleat_resnet_openai,
    .conv_in = "input_blocks.0.0",
    .time = {"time_embed.0", "time_embed.2"},
    .norm_out = "out.0",
    .conv_out = "out.2",
    .middle_resnet = {"middle_block.0", "middle_block.2"},
    .middle_transformer = "middle_block.1",
};

#define ORIGINAL_MARK "middle_block.1.transformer_blocks.0.attn2.to_k.weight"
static const char *const original_roots[] = {"model.diffusion_model.", ""};

// What precedes every name of an original file; NULL: not one.
static const char *original_root(aleat_weights *weights)
{
    for (size_t i = 0; weights && i < sizeof original_roots / sizeof *original_roots; i++)
        if (aleat_inspect_has(weights, "%s" ORIGINAL_MARK, original_roots[i]))
            return original_roots[i];
    return NULL;
}

/* ---- building -------------------------------------------------------------------------------- */

typedef struct builder {
    aleat_graph *graph;
    const unet_config *config;
    const layout *layout;
    const char *root;
    aleat_value time, context;
    int block; // original layout: number of the input or output block
    aleat_value skip[ALEAT_CONFIG_ITEMS * (MAX_LAYERS + 1) + 1];
    int n_skips;
} builder;

// An entry of a list that may be one number for all levels.
static int64_t of_level(const aleat_config_ints *list, int level)
{
    return list->at[list->count > 1 ? level : 0];
}

static bool is_cross(const char *block_type)
{
    return !strncmp(block_type, "CrossAttn", 9);
}

static aleat_name rooted(const builder *b, const char *name)
{
    return aleat_nn_name(b->graph, "%s%s", b->root, name);
}

// Member `part` (0 residual block, 1 transformer) of a layer; `half` is "down" or "up".
static aleat_name layer_name(const builder *b, const char *half, int level, int layer, int part)
{
    static const char *const parts[] = {"resnets", "attentions"};
    if (b->layout->original)
        return aleat_nn_name(b->graph, "%s%s_blocks.%d.%d", b->root,
                             *half == 'd' ? "input" : "output", b->block, part);
    return aleat_nn_name(b->graph, "%s%s_blocks.%d.%s.%d", b->root, half, level, parts[part],
                         layer);
}

static aleat_value resnet(const builder *b, aleat_value x, const char *prefix, int64_t c,
                          double output_scale)
{
    const unet_config *config = b->config;
    const aleat_resnet_spec spec = {.names = b->layout->resnet,
                                    .groups = config->norm_num_groups,
                                    .eps = config->norm_eps,
                                    .act = ALEAT_ACT_SILU,
                                    .dropout = config->dropout,
                                    .output_scale = output_scale};
    return aleat_nn_resnet(b->graph, x, b->time, prefix, c, &spec);
}

static aleat_value transformer(const builder *b, aleat_value x, const char *prefix, int level)
{
    const unet_config *config = b->config;
    const int64_t c = aleat_graph_dims(b->graph, x).c;
    // By an oversight that became the format, attention_head_dim is the number of heads.
    const aleat_config_ints *heads = config->num_attention_heads.count
                                         ? &config->num_attention_heads
                                         : &config->attention_head_dim;
    const aleat_transformer2d_spec spec = {
        .heads = of_level(heads, level),
        .depth = (int)of_level(&config->transformer_layers_per_block, level),
        .groups = config->norm_num_groups,
        .eps = TRANSFORMER_EPS,
        .weight_rank = config->use_linear_projection ? 2 : 4};
    if (c % spec.heads)
        return aleat_graph_fail(b->graph, ALEAT_ERR_UNSUPPORTED,
                                "'%s': %lld channels do not divide into %lld attention heads",
                                prefix, (long long)c, (long long)spec.heads);
    return aleat_nn_transformer2d(b->graph, x, b->context, prefix, &spec);
}

static aleat_value down_level(builder *b, aleat_value x, int level)
{
    const unet_config *config = b->config;
    const int64_t c = config->block_out_channels.at[level];
    const bool cross = is_cross(config->down_block_types.at[level]);
    for (int layer = 0; layer < of_level(&config->layers_per_block, level); layer++) {
        b->block++;
        x = resnet(b, x, layer_name(b, "down", level, layer, 0).text, c, 1);
        if (cross)
            x = transformer(b, x, layer_name(b, "down", level, layer, 1).text, level);
        b->skip[b->n_skips++] = x;
    }
    if (level == config->block_out_channels.count - 1)
        return x;
    b->block++;
    const aleat_name name =
        b->layout->original
            ? aleat_nn_name(b->graph, "%sinput_blocks.%d.0.op", b->root, b->block)
            : aleat_nn_name(b->graph, "%sdown_blocks.%d.downsamplers.0.conv", b->root, level);
    x = aleat_nn_downsample(b->graph, x, name.text, c, config->downsample_padding);
    b->skip[b->n_skips++] = x;
    return x;
}

static aleat_value up_level(builder *b, aleat_value x, int i)
{
    const unet_config *config = b->config;
    const int levels = config->block_out_channels.count, level = levels - 1 - i;
    const int64_t c = config->block_out_channels.at[level];
    const bool cross = is_cross(config->up_block_types.at[i]);
    for (int layer = 0; layer <= of_level(&config->layers_per_block, level); layer++) {
        x = aleat_op_concat(b->graph, x, b->skip[--b->n_skips]);
        x = resnet(b, x, layer_name(b, "up", i, layer, 0).text, c, 1);
        if (cross)
            x = transformer(b, x, layer_name(b, "up", i, layer, 1).text, level);
        b->block++;
    }
    if (i == levels - 1)
        return x;
    const aleat_name name =
        b->layout->original
            ? aleat_nn_name(b->graph, "%soutput_blocks.%d.%d.conv", b->root, b->block - 1,
                            cross ? 2 : 1)
            : aleat_nn_name(b->graph, "%sup_blocks.%d.upsamplers.0.conv", b->root, i);
    // To the size that halving began from, which may have been odd.
    const aleat_dims to = aleat_graph_dims(b->graph, b->skip[b->n_skips - 1]);
    x = aleat_op_upsample_to(b->graph, x, to.h, to.w);
    return aleat_nn_conv(b->graph, x, name.text, c, aleat_conv_same(3));
}

static aleat_value middle(const builder *b, aleat_value x)
{
    const int levels = b->config->block_out_channels.count;
    const int64_t c = b->config->block_out_channels.at[levels - 1];
    const double scale = b->config->mid_block_scale_factor;
    x = resnet(b, x, rooted(b, b->layout->middle_resnet[0]).text, c, scale);
    x = transformer(b, x, rooted(b, b->layout->middle_transformer).text, levels - 1);
    return resnet(b, x, rooted(b, b->layout->middle_resnet[1]).text, c, scale);
}

static aleat_value embed_time(const builder *b, aleat_value t)
{
    const unet_config *config = b->config;
    const int64_t c = config->block_out_channels.at[0];
    const int64_t wide = config->time_embedding_dim ? config->time_embedding_dim : 4 * c;
    const aleat_sinusoid_spec spec = {.dim = c,
                                      .max_period = 10000,
                                      .freq_shift = (double)config->freq_shift,
                                      .cos_first = config->flip_sin_to_cos,
                                      .scale = 1};
    const aleat_value time = aleat_nn_mlp(
        b->graph, aleat_op_sinusoid(b->graph, t, spec), rooted(b, b->layout->time[0]).text,
        rooted(b, b->layout->time[1]).text, wide, wide, ALEAT_ACT_SILU);
    return aleat_op_activation(b->graph, time, ALEAT_ACT_SILU);
}

static void build_network(builder *b, aleat_dims dims, int64_t tokens, aleat_network *net)
{
    aleat_graph *graph = b->graph;
    const unet_config *config = b->config;
    const int levels = config->block_out_channels.count;
    net->x = aleat_graph_input(graph, "x", dims);
    net->t = aleat_graph_input(graph, "t", (aleat_dims){1, 1, 1});
    net->label = ALEAT_NO_VALUE;
    net->context = aleat_graph_condition(
        graph, "context", (aleat_dims){tokens, 1, config->cross_attention_dim.at[0]});
    b->time = embed_time(b, net->t);
    b->context = net->context;

    aleat_value x = net->x;
    if (config->center_input_sample)
        x = aleat_op_affine(graph, x, 2, -1);
    x = aleat_nn_conv(graph, x, rooted(b, b->layout->conv_in).text,
                      config->block_out_channels.at[0], aleat_conv_same(3));
    b->skip[b->n_skips++] = x;
    for (int i = 0; i < levels; i++)
        x = down_level(b, x, i);
    x = middle(b, x);
    b->block = 0;
    for (int i = 0; i < levels; i++)
        x = up_level(b, x, i);
    x = aleat_nn_groupnorm(graph, x, rooted(b, b->layout->norm_out).text, config->norm_num_groups,
                           config->norm_eps, ALEAT_ACT_SILU);
    net->out = aleat_nn_conv(graph, x, rooted(b, b->layout->conv_out).text, config->out_channels,
                             aleat_conv_same(3));
    aleat_graph_output(graph, "out", net->out);
}

/* ---- configuration --------------------------------------------------------------------------- */

// Networks of the class that are conditioned on more than a text, or otherwise.
static aleat_status check_plain(const unet_config *c, const char *file, aleat_error *err)
{
    const struct {
        const char *key;
        bool set;
    } keys[] = {
        {"class_embed_type", c->class_embed_type},
        {"addition_embed_type", c->addition_embed_type},
        {"encoder_hid_dim_type", c->encoder_hid_dim_type},
        {"timestep_post_act", c->timestep_post_act},
        {"time_embedding_act_fn", c->time_embedding_act_fn},
        {"cross_attention_norm", c->cross_attention_norm},
        {"num_class_embeds", c->num_class_embeds},
        {"time_cond_proj_dim", c->time_cond_proj_dim},
        {"encoder_hid_dim", c->encoder_hid_dim},
        {"dual_cross_attention", c->dual_cross_attention},
        {"only_cross_attention", c->only_cross_attention},
        {"mid_block_only_cross_attention", c->mid_block_only_cross_attention},
        {"class_embeddings_concat", c->class_embeddings_concat},
        {"resnet_skip_time_act", c->resnet_skip_time_act},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i].set) {
            (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "%s: '%s' is set, which is not supported",
                             file, keys[i].key);
            aleat_hint(err, "supported are U-Nets of the shape of Stable Diffusion 1 and 2");
            return ALEAT_ERR_UNSUPPORTED;
        }
    return ALEAT_OK;
}

static aleat_status check_levels(const unet_config *c, const char *file, aleat_error *err)
{
    const int levels = c->block_out_channels.count;
    if (levels < 1 || c->down_block_types.count != levels || c->up_block_types.count != levels)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s: block_out_channels, down_block_types and up_block_types have %d, %d "
                          "and %d items, expected the same number",
                          file, levels, c->down_block_types.count, c->up_block_types.count);
    const struct {
        const char *key;
        const aleat_config_ints *list;
        int most;
    } lists[] = {{"layers_per_block", &c->layers_per_block, levels},
                 {"attention_head_dim", &c->attention_head_dim, levels},
                 {"num_attention_heads", &c->num_attention_heads, levels},
                 {"transformer_layers_per_block", &c->transformer_layers_per_block, levels},
                 {"cross_attention_dim", &c->cross_attention_dim, levels}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (lists[i].list->count > 1 && lists[i].list->count != lists[i].most)
            return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' has %d items for %d levels", file,
                              lists[i].key, lists[i].list->count, levels);
    for (int i = 1; i < c->cross_attention_dim.count; i++)
        if (c->cross_attention_dim.at[i] != c->cross_attention_dim.at[0])
            return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                              "%s: 'cross_attention_dim' differs between levels", file);
    if (c->sample_size.count > 2 || c->block_out_channels.at[0] % 2)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s: 'sample_size' has %d items and the first level %lld channels, "
                          "expected at most 2 and an even number",
                          file, c->sample_size.count, (long long)c->block_out_channels.at[0]);
    return ALEAT_OK;
}

// Residual blocks of the levels, which the numbered blocks of an original file run through.
static void infer_levels(unet_config *config, aleat_weights *weights, const char *root)
{
    int level = 0;
    int64_t layers = 0;
    config->block_out_channels.count = 0;
    for (int block = 1; level < ALEAT_CONFIG_ITEMS; block++) {
        if (aleat_inspect_has(weights, "%sinput_blocks.%d.0.op.weight", root, block)) {
            if (layers == 0)
                break; // a level without a residual block
            level++;
            layers = 0;
            continue;
        }
        const int64_t c =
            aleat_inspect_dim(weights, 0, "%sinput_blocks.%d.0.in_layers.2.weight", root, block);
        if (!c || layers == MAX_LAYERS)
            break;
        const bool cross = aleat_inspect_has(
            weights, "%sinput_blocks.%d.1.transformer_blocks.0.norm1.weight", root, block);
        config->block_out_channels.at[level] = c;
        config->block_out_channels.count = level + 1;
        config->layers_per_block = (aleat_config_ints){1, {++layers}};
        config->down_block_types.at[level] = cross ? "CrossAttnDownBlock2D" : "DownBlock2D";
    }
    const int levels = config->block_out_channels.count;
    config->down_block_types.count = config->up_block_types.count = levels;
    for (int i = 0; i < levels; i++)
        config->up_block_types.at[i] = is_cross(config->down_block_types.at[levels - 1 - i])
                                           ? "CrossAttnUpBlock2D"
                                           : "UpBlock2D";
}

// Files do not say how many heads there are: 8 in Stable Diffusion 1, of 64 channels in 2, which
// alone projects by linear layers.
static void infer_heads(unet_config *config, const aleat_model_options *options)
{
    const int64_t dim = options->head_dim ? options->head_dim : 64;
    const bool by_dim = options->head_dim || (!options->heads && config->use_linear_projection);
    config->attention_head_dim = (aleat_config_ints){1, {options->heads ? options->heads : 8}};
    if (!by_dim)
        return;
    config->attention_head_dim.count = config->block_out_channels.count;
    for (int i = 0; i < config->block_out_channels.count; i++) {
        const int64_t heads = config->block_out_channels.at[i] / dim;
        config->attention_head_dim.at[i] = heads > 0 ? heads : 1;
    }
}

static aleat_status infer_config(unet_config *config, aleat_weights *weights, const char *root,
                                 const aleat_model_options *options, aleat_error *err)
{
    const char *file = aleat_weights_path(weights);
    if (aleat_inspect_has(weights, "%slabel_emb.0.0.weight", root)) {
        (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                         "%s: a U-Net with an embedding of sizes or images (label_emb), as SDXL "
                         "and unCLIP have",
                         file);
        aleat_hint(err, "supported are U-Nets of the shape of Stable Diffusion 1 and 2");
        return ALEAT_ERR_UNSUPPORTED;
    }
    config->in_channels = aleat_inspect_dim(weights, 1, "%sinput_blocks.0.0.weight", root);
    config->out_channels = aleat_inspect_dim(weights, 0, "%sout.2.weight", root);
    config->cross_attention_dim =
        (aleat_config_ints){1, {aleat_inspect_dim(weights, 1, "%s" ORIGINAL_MARK, root)}};
    config->use_linear_projection =
        !aleat_inspect_dim(weights, 2, "%smiddle_block.1.proj_in.weight", root);
    infer_levels(config, weights, root);
    infer_heads(config, options);
    if (!config->in_channels || !config->out_channels || !config->cross_attention_dim.at[0] ||
        !config->block_out_channels.count)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s: input_blocks.0.0.weight, out.2.weight or " ORIGINAL_MARK
                          " are not those of a U-Net",
                          file);
    config->sample_size = (aleat_config_ints){1, {64}}; // 512 pixels
    return ALEAT_OK;
}

// Of Stable Diffusion 1; 2 has two processes that its tensors do not tell apart.
static char *published_scheduler(const unet_config *config)
{
    return config->use_linear_projection ? NULL
                                         : aleat_strdup("{\n"
                                                        "  \"_class_name\": \"PNDMScheduler\",\n"
                                                        "  \"num_train_timesteps\": 1000,\n"
                                                        "  \"beta_schedule\": \"scaled_linear\",\n"
                                                        "  \"beta_start\": 0.00085,\n"
                                                        "  \"beta_end\": 0.012,\n"
                                                        "  \"set_alpha_to_one\": false,\n"
                                                        "  \"skip_prk_steps\": true,\n"
                                                        "  \"steps_offset\": 1,\n"
                                                        "  \"clip_sample\": false\n"
                                                        "}\n");
}

static aleat_status read_config(unet_config *config, aleat_json *json, aleat_model_files *out,
                                const char *root, const aleat_model_options *options,
                                aleat_error *err)
{
    aleat_status st;
    *config = defaults;
    if (root) {
        st = infer_config(config, out->weights, root, options, err);
        if (!st && !out->scheduler_path)
            out->scheduler_text = published_scheduler(config);
        return st;
    }
    if (!out->config_path)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: a " CLASS_NAME " needs the config.json that belongs to it",
                          aleat_weights_path(out->weights));
    st = aleat_json_load(json, out->config_path, err);
    if (!st)
        st = aleat_config_read(config, json, config_keys, err);
    if (!st)
        st = check_plain(config, json->name, err);
    return st ? st : check_levels(config, json->name, err);
}

static aleat_status build(aleat_model_files *out, const aleat_model_options *options,
                          aleat_error *err)
{
    aleat_json json = {0};
    unet_config config;
    const char *root = original_root(out->weights);
    aleat_status st = read_config(&config, &json, out, root, options, err);
    if (!st)
        st = aleat_model_choose_dropout(&config.dropout, options, err);
    if (st)
        goto done;
    const aleat_config_ints *size = &config.sample_size;
    aleat_dims dims = {size->at[0], size->at[size->count > 1 ? 1 : 0], config.in_channels};
    st = aleat_model_choose_size(&dims, options, 1, aleat_weights_path(out->weights),
                                 "no 'sample_size'", err);
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
    out->info = (aleat_denoiser_info){.channels = config.in_channels,
                                      .height = dims.h,
                                      .width = dims.w,
                                      .out_channels = config.out_channels,
                                      .null_class = -1,
                                      .context_tokens = tokens,
                                      .context_dim = config.cross_attention_dim.at[0]};
done:
    aleat_json_clear(&json);
    return st;
}

static bool recognises(const char *class_name, aleat_weights *weights)
{
    return (class_name && !strcmp(class_name, CLASS_NAME)) || original_root(weights);
}

const aleat_model_family aleat_family_unet2d_condition = {
    .name = "unet2d_condition",
    .description = "U-Net conditioned on text: Stable Diffusion 1 and 2 (UNet2DConditionModel)",
    .recognises = recognises,
    .build = build,
    .harmless = aleat_single_file_parts,
};
