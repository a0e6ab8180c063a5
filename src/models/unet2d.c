/*
 * The unconditional and class-conditional U-Net of diffusers (UNet2DModel, as of v0.31), the
 * network of google/ddpm-cifar10-32 and its kind.
 */
#include "models/families.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/json.h"
#include "models/config.h"
#include "nn/blocks.h"

#define CLASS_NAME "UNet2DModel"
#define MAX_LAYERS 16

typedef struct unet2d_config {
    int64_t in_channels, out_channels, layers_per_block;
    aleat_config_ints sample_size, block_out_channels;
    aleat_config_texts down_block_types, up_block_types;
    const char *mid_block_type;
    bool add_attention, center_input_sample, attention_legacy_order;
    double mid_block_scale_factor;
    const char *time_embedding_type;
    int64_t time_embedding_dim, freq_shift, num_train_timesteps;
    bool flip_sin_to_cos;
    const char *class_embed_type;
    int64_t num_class_embeds;
    const char *downsample_type, *upsample_type;
    int64_t downsample_padding;
    const char *act_fn;
    double dropout;
    int64_t attention_head_dim, norm_num_groups, attn_norm_num_groups;
    double norm_eps;
    const char *resnet_time_scale_shift;
} unet2d_config;

// The defaults of UNet2DModel's constructor.
static const unet2d_config defaults = {
    .in_channels = 3,
    .out_channels = 3,
    .layers_per_block = 2,
    .block_out_channels = {4, {224, 448, 672, 896}},
    .down_block_types = {4,
                         {"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"}},
    .up_block_types = {4, {"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"}},
    .mid_block_type = "UNetMidBlock2D",
    .add_attention = true,
    .mid_block_scale_factor = 1,
    .time_embedding_type = "positional",
    .flip_sin_to_cos = true,
    .downsample_type = "conv",
    .upsample_type = "conv",
    .downsample_padding = 1,
    .act_fn = "silu",
    .attention_head_dim = 8,
    .norm_num_groups = 32,
    .norm_eps = 1e-5,
    .resnet_time_scale_shift = "default",
};

#define FIELD(name) #name, .offset = offsetof(unet2d_config, name)
static const aleat_config_key config_keys[] = {
    {FIELD(sample_size), .kind = ALEAT_CONFIG_SIZE, .nullable = true, .low = 1, .high = 65536},
    {FIELD(in_channels), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(out_channels), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(center_input_sample), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(time_embedding_type), .kind = ALEAT_CONFIG_TEXT,
     .choices = "positional|fourier|learned"},
    {FIELD(time_embedding_dim), .kind = ALEAT_CONFIG_INT, .nullable = true, .high = 65536},
    {FIELD(freq_shift), .kind = ALEAT_CONFIG_INT, .high = 1},
    {FIELD(flip_sin_to_cos), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(down_block_types), .kind = ALEAT_CONFIG_TEXTS},
    {FIELD(mid_block_type), .kind = ALEAT_CONFIG_TEXT, .nullable = true,
     .choices = "UNetMidBlock2D"},
    {FIELD(up_block_types), .kind = ALEAT_CONFIG_TEXTS},
    {FIELD(block_out_channels), .kind = ALEAT_CONFIG_INTS, .low = 1, .high = 65536},
    {FIELD(layers_per_block), .kind = ALEAT_CONFIG_INT, .low = 1, .high = MAX_LAYERS},
    {FIELD(mid_block_scale_factor), .kind = ALEAT_CONFIG_DOUBLE, .low = 1e-6, .high = 1e6},
    {FIELD(downsample_padding), .kind = ALEAT_CONFIG_INT, .high = 1},
    {FIELD(downsample_type), .kind = ALEAT_CONFIG_TEXT, .choices = "conv|resnet"},
    {FIELD(upsample_type), .kind = ALEAT_CONFIG_TEXT, .choices = "conv|resnet"},
    {FIELD(dropout), .kind = ALEAT_CONFIG_DOUBLE, .high = 0.999},
    {FIELD(act_fn), .kind = ALEAT_CONFIG_TEXT, .choices = "silu|swish|mish|gelu|relu"},
    {FIELD(attention_head_dim), .kind = ALEAT_CONFIG_INT, .nullable = true, .low = 1,
     .high = 65536},
    {FIELD(attention_legacy_order), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(norm_num_groups), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(attn_norm_num_groups), .kind = ALEAT_CONFIG_INT, .nullable = true, .low = 1,
     .high = 65536},
    {FIELD(norm_eps), .kind = ALEAT_CONFIG_DOUBLE, .high = 1},
    {FIELD(resnet_time_scale_shift), .kind = ALEAT_CONFIG_TEXT, .choices = "default|scale_shift"},
    {FIELD(add_attention), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(class_embed_type), .kind = ALEAT_CONFIG_TEXT, .nullable = true,
     .choices = "timestep|identity"},
    {FIELD(num_class_embeds), .kind = ALEAT_CONFIG_INT, .nullable = true, .low = 1,
     .high = 1 << 24},
    {FIELD(num_train_timesteps), .kind = ALEAT_CONFIG_INT, .nullable = true, .low = 1,
     .high = 1 << 24},
    {0},
};
#undef FIELD

/* ---- blocks ---------------------------------------------------------------------------------- */

// How a level changes the resolution at its end.
typedef enum resampler { BY_CONFIG, BY_CONV, BY_RESNET } resampler;

// The block types are combinations of two choices. BY_CONFIG: downsample_type, upsample_type.
typedef struct block_type {
    const char *name;
    bool attention;
    resampler resampler;
} block_type;

static const block_type down_types[] = {
    {"DownBlock2D", false, BY_CONV},
    {"AttnDownBlock2D", true, BY_CONFIG},
    {"ResnetDownsampleBlock2D", false, BY_RESNET},
    {0},
};
static const block_type up_types[] = {
    {"UpBlock2D", false, BY_CONV},
    {"AttnUpBlock2D", true, BY_CONFIG},
    {"ResnetUpsampleBlock2D", false, BY_RESNET},
    {0},
};

static const block_type *find_type(const block_type *types, const char *name)
{
    if (!strncmp(name, "UNetRes", 7)) // prefix that the first versions of diffusers wrote
        name += 7;
    for (; types->name; types++)
        if (!strcmp(types->name, name))
            return types;
    return NULL;
}

// What the building functions share.
typedef struct builder {
    aleat_graph *graph;
    const unet2d_config *config;
    aleat_resnet_spec resnet; // of an ordinary block
    aleat_value time;         // time and class embedding, activated
    aleat_value skip[ALEAT_CONFIG_ITEMS * (MAX_LAYERS + 1) + 1];
    int n_skips;
} builder;

static void push_skip(builder *b, aleat_value x)
{
    b->skip[b->n_skips++] = x;
}

static aleat_value attention(builder *b, aleat_value x, const char *prefix, int64_t groups,
                             double output_scale)
{
    const int64_t c = aleat_graph_dims(b->graph, x).c;
    const int64_t wanted = b->config->attention_head_dim, dim = wanted ? wanted : c;
    if (c < dim)
        return aleat_graph_fail(b->graph, ALEAT_ERR_UNSUPPORTED,
                                "attention_head_dim %lld is more than the %lld channels of '%s'",
                                (long long)dim, (long long)c, prefix);
    const aleat_attention_spec spec = {
        .names = aleat_nn_attention_names(b->graph, prefix),
        .heads = c / dim,
        .head_dim = dim,
        .groups = groups,
        .eps = b->config->norm_eps,
        .output_scale = output_scale,
    };
    return aleat_nn_attention(b->graph, x, prefix, &spec);
}

// Residual block number `layer` of a level, and its attention.
static aleat_value level_layer(builder *b, aleat_value x, const char *level, int layer, int64_t c,
                               const block_type *type)
{
    const aleat_name resnet = aleat_nn_name(b->graph, "%s.resnets.%d", level, layer);
    x = aleat_nn_resnet(b->graph, x, b->time, resnet.text, c, &b->resnet);
    if (!type->attention)
        return x;
    const aleat_name attn = aleat_nn_name(b->graph, "%s.attentions.%d", level, layer);
    return attention(b, x, attn.text, b->config->norm_num_groups, 1);
}

static bool is_resnet(const block_type *type, const char *configured)
{
    return type->resampler == BY_RESNET ||
           (type->resampler == BY_CONFIG && !strcmp(configured, "resnet"));
}

static aleat_value resample_resnet(builder *b, aleat_value x, const char *prefix,
                                   aleat_resample resample)
{
    aleat_resnet_spec spec = b->resnet;
    spec.resample = resample;
    return aleat_nn_resnet(b->graph, x, b->time, prefix, aleat_graph_dims(b->graph, x).c, &spec);
}

static aleat_value down_level(builder *b, aleat_value x, int i)
{
    const unet2d_config *config = b->config;
    const block_type *type = find_type(down_types, config->down_block_types.at[i]);
    const int64_t c = config->block_out_channels.at[i];
    const aleat_name level = aleat_nn_name(b->graph, "down_blocks.%d", i);

    for (int layer = 0; layer < config->layers_per_block; layer++) {
        x = level_layer(b, x, level.text, layer, c, type);
        push_skip(b, x);
    }
    if (i == config->block_out_channels.count - 1)
        return x;
    if (is_resnet(type, config->downsample_type)) {
        const aleat_name name = aleat_nn_name(b->graph, "%s.downsamplers.0", level.text);
        x = resample_resnet(b, x, name.text, ALEAT_RESAMPLE_DOWN);
    } else {
        const aleat_name name = aleat_nn_name(b->graph, "%s.downsamplers.0.conv", level.text);
        x = aleat_nn_downsample(b->graph, x, name.text, c, config->downsample_padding);
    }
    push_skip(b, x);
    return x;
}

static aleat_value up_level(builder *b, aleat_value x, int i)
{
    const unet2d_config *config = b->config;
    const block_type *type = find_type(up_types, config->up_block_types.at[i]);
    const int levels = config->block_out_channels.count;
    const int64_t c = config->block_out_channels.at[levels - 1 - i];
    const aleat_name level = aleat_nn_name(b->graph, "up_blocks.%d", i);

    for (int layer = 0; layer <= config->layers_per_block; layer++) {
        x = aleat_op_concat(b->graph, x, b->skip[--b->n_skips]);
        x = level_layer(b, x, level.text, layer, c, type);
    }
    if (i == levels - 1)
        return x;
    if (is_resnet(type, config->upsample_type)) {
        const aleat_name name = aleat_nn_name(b->graph, "%s.upsamplers.0", level.text);
        return resample_resnet(b, x, name.text, ALEAT_RESAMPLE_UP);
    }
    const aleat_name name = aleat_nn_name(b->graph, "%s.upsamplers.0.conv", level.text);
    return aleat_nn_upsample(b->graph, x, name.text, c);
}

static aleat_value middle(builder *b, aleat_value x)
{
    const unet2d_config *config = b->config;
    const int64_t c = aleat_graph_dims(b->graph, x).c;
    aleat_resnet_spec spec = b->resnet;
    spec.output_scale = config->mid_block_scale_factor;
    // Unless asked for, the middle attention is normalised only where time is not a scale_shift:
    // such checkpoints have no tensor for it.
    int64_t groups = config->attn_norm_num_groups;
    if (!groups && !spec.scale_shift)
        groups = config->norm_num_groups;

    if (!config->mid_block_type)
        return x;
    x = aleat_nn_resnet(b->graph, x, b->time, "mid_block.resnets.0", c, &spec);
    if (config->add_attention)
        x = attention(b, x, "mid_block.attentions.0", groups, config->mid_block_scale_factor);
    return aleat_nn_resnet(b->graph, x, b->time, "mid_block.resnets.1", c, &spec);
}

/* ---- conditioning ---------------------------------------------------------------------------- */

// A number (time, or a label that is embedded like one) as a vector for the embedding MLP.
static aleat_value project_number(builder *b, aleat_value number)
{
    const unet2d_config *config = b->config;
    const int64_t c = config->block_out_channels.at[0];
    if (!strcmp(config->time_embedding_type, "positional")) {
        const aleat_sinusoid_spec spec = {
            .dim = c,
            .max_period = 10000,
            .freq_shift = (double)config->freq_shift,
            .cos_first = config->flip_sin_to_cos,
            .scale = 1,
        };
        return aleat_op_sinusoid(b->graph, number, spec);
    }
    const bool learned = !strcmp(config->time_embedding_type, "learned");
    const aleat_shape shape =
        learned ? aleat_shape_of(2, config->num_train_timesteps, c) : aleat_shape_of(1, c);
    const aleat_param weight = aleat_nn_weight(b->graph, "time_proj", &shape);
    return learned ? aleat_op_embedding(b->graph, number, weight)
                   : aleat_op_fourier(b->graph, number, weight);
}

static aleat_activation activation(const char *name)
{
    static const struct {
        const char *name;
        aleat_activation act;
    } activations[] = {
        {"silu", ALEAT_ACT_SILU}, {"swish", ALEAT_ACT_SILU}, {"mish", ALEAT_ACT_MISH},
        {"gelu", ALEAT_ACT_GELU}, {"relu", ALEAT_ACT_RELU},
    };
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++)
        if (!strcmp(activations[i].name, name))
            return activations[i].act;
    return ALEAT_ACT_NONE; // not reached: the configuration allows these names only
}

static bool takes_label(const unet2d_config *config)
{
    return config->class_embed_type || config->num_class_embeds;
}

// The embedding MLP uses SiLU whatever act_fn is; act_fn comes after it, in every block.
static aleat_value embed_time(builder *b, aleat_network *net)
{
    aleat_graph *graph = b->graph;
    const unet2d_config *config = b->config;
    const int64_t c = config->time_embedding_dim ? config->time_embedding_dim
                                                 : 4 * config->block_out_channels.at[0];
    aleat_value time = project_number(b, net->t);
    time = aleat_nn_mlp(graph, time, "time_embedding.linear_1", "time_embedding.linear_2", c, c,
                        ALEAT_ACT_SILU);
    if (takes_label(config)) {
        net->label = aleat_graph_input(graph, "label", (aleat_dims){1, 1, 1});
        aleat_value label;
        if (config->class_embed_type) {
            label = project_number(b, net->label);
            label = aleat_nn_mlp(graph, label, "class_embedding.linear_1",
                                 "class_embedding.linear_2", c, c, ALEAT_ACT_SILU);
        } else {
            const aleat_shape shape = aleat_shape_of(2, config->num_class_embeds, c);
            const aleat_param table = aleat_nn_weight(graph, "class_embedding", &shape);
            label = aleat_op_embedding(graph, net->label, table);
        }
        time = aleat_op_add(graph, time, label);
    }
    return aleat_op_activation(graph, time, b->resnet.act);
}

static void build_network(aleat_graph *graph, const unet2d_config *config, aleat_dims dims,
                          aleat_network *net)
{
    builder b = {
        .graph = graph,
        .config = config,
        .resnet =
            {
                .names = &aleat_resnet_diffusers,
                .groups = config->norm_num_groups,
                .eps = config->norm_eps,
                .act = activation(config->act_fn),
                .scale_shift = !strcmp(config->resnet_time_scale_shift, "scale_shift"),
                .dropout = config->dropout,
                .output_scale = 1,
            },
    };
    const int levels = config->block_out_channels.count;
    const int64_t c = config->block_out_channels.at[0];

    net->x = aleat_graph_input(graph, "x", dims);
    net->t = aleat_graph_input(graph, "t", (aleat_dims){1, 1, 1});
    net->label = ALEAT_NO_VALUE;
    b.time = embed_time(&b, net);

    aleat_value x = net->x;
    if (config->center_input_sample)
        x = aleat_op_affine(graph, x, 2, -1);
    x = aleat_nn_conv(graph, x, "conv_in", c, aleat_conv_same(3));
    push_skip(&b, x);
    for (int i = 0; i < levels; i++)
        x = down_level(&b, x, i);
    x = middle(&b, x);
    for (int i = 0; i < levels; i++)
        x = up_level(&b, x, i);
    x = aleat_nn_groupnorm(graph, x, "conv_norm_out", config->norm_num_groups, config->norm_eps,
                           ALEAT_ACT_SILU);
    x = aleat_nn_conv(graph, x, "conv_out", config->out_channels, aleat_conv_same(3));
    // Networks with a Fourier embedding are fed the noise level and predict the score.
    if (!strcmp(config->time_embedding_type, "fourier"))
        x = aleat_op_divide(graph, x, net->t);
    net->out = x;
    aleat_graph_output(graph, "out", x);
}

/* ---- checks ---------------------------------------------------------------------------------- */

static aleat_status check_types(const block_type *types, const aleat_config_texts *names,
                                const char *key, const char *file, aleat_error *err)
{
    for (int i = 0; i < names->count; i++) {
        if (find_type(types, names->at[i]))
            continue;
        (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "%s: '%s' has a '%s', which is not supported",
                         file, key, names->at[i]);
        aleat_hint(err, "supported are %s, %s and %s", types[0].name, types[1].name, types[2].name);
        return ALEAT_ERR_UNSUPPORTED;
    }
    return ALEAT_OK;
}

static aleat_status check_config(const unet2d_config *c, const char *file, aleat_error *err)
{
    const int levels = c->block_out_channels.count;
    if (levels < 1 || c->down_block_types.count != levels || c->up_block_types.count != levels)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s: block_out_channels, down_block_types and up_block_types have %d, %d "
                          "and %d items, expected the same number",
                          file, levels, c->down_block_types.count, c->up_block_types.count);
    if (c->sample_size.count > 2)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s: 'sample_size' has %d items, expected height and width", file,
                          c->sample_size.count);
    if (c->attention_legacy_order)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: 'attention_legacy_order' true is not supported", file);
    if (c->class_embed_type && !strcmp(c->class_embed_type, "identity"))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: 'class_embed_type' is 'identity': this network is conditioned on a "
                          "vector of numbers, only class labels are supported",
                          file);
    if (!strcmp(c->time_embedding_type, "learned") && !c->num_train_timesteps)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s: 'time_embedding_type' is 'learned', so 'num_train_timesteps' must "
                          "be a number",
                          file);
    const int64_t least = 2 * c->freq_shift;
    if (!strcmp(c->time_embedding_type, "positional") &&
        (c->block_out_channels.at[0] % 2 || c->block_out_channels.at[0] <= least))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: a positional time embedding of %lld channels with freq_shift %lld "
                          "is not supported, expected an even number above %lld",
                          file, (long long)c->block_out_channels.at[0], (long long)c->freq_shift,
                          (long long)least);
    const aleat_status st =
        check_types(down_types, &c->down_block_types, "down_block_types", file, err);
    return st ? st : check_types(up_types, &c->up_block_types, "up_block_types", file, err);
}

static aleat_status build(aleat_model_files *out, const aleat_model_options *options,
                          aleat_error *err)
{
    aleat_json json = {0};
    aleat_dims dims = {0};
    unet2d_config config = defaults;

    if (!out->config_path)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: a " CLASS_NAME " needs the config.json that belongs to it",
                          aleat_weights_path(out->weights));
    aleat_status st = aleat_json_load(&json, out->config_path, err);
    if (!st)
        st = aleat_config_read(&config, &json, config_keys, err);
    if (!st)
        st = check_config(&config, json.name, err);
    if (!st)
        st = aleat_model_choose_dropout(&config.dropout, options, err);
    if (st)
        goto done;
    const aleat_config_ints *size = &config.sample_size;
    // Every level but the last halves the image, and doubling must come out where halving began.
    const int64_t unit = aleat_level_unit(config.block_out_channels.count);
    dims = (aleat_dims){size->at[0], size->at[size->count > 1 ? 1 : 0], config.in_channels};
    st = aleat_model_choose_size(&dims, options, unit, json.name, "no 'sample_size'", err);
    if (st)
        goto done;

    out->config_text = aleat_config_text(&config, config_keys, CLASS_NAME);
    out->graph = aleat_graph_new(out->weights);
    if (!out->config_text || !out->graph) {
        st = aleat_fail_memory(err, "network");
        goto done;
    }
    build_network(out->graph, &config, dims, &out->network);
    st = aleat_graph_check(out->graph, err);
    if (st)
        goto done;
    out->info = (aleat_denoiser_info){
        .channels = config.in_channels,
        .height = dims.h,
        .width = dims.w,
        .out_channels = config.out_channels,
        .n_classes = config.num_class_embeds,
        .null_class = -1,
        .n_times = !strcmp(config.time_embedding_type, "learned") ? config.num_train_timesteps : 0,
        .log_time = !strcmp(config.time_embedding_type, "fourier"),
    };
    if (config.class_embed_type) // a label that is embedded like a time: only its table bounds it
        out->info.n_classes = out->info.n_times ? out->info.n_times : INT32_MAX;
    st = aleat_json_int(&json, "_aleat_null_class", &out->info.null_class, err);
    if (!st && out->info.null_class >= out->info.n_classes)
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '_aleat_null_class' is %lld of %lld classes",
                        json.name, (long long)out->info.null_class, (long long)out->info.n_classes);
done:
    aleat_json_clear(&json);
    return st;
}

static bool recognises(const char *class_name, aleat_weights *weights)
{
    (void)weights;
    return class_name && !strcmp(class_name, CLASS_NAME);
}

static const char *const harmless[] = {"time_proj.W", NULL}; // second name of time_proj.weight

const aleat_model_family aleat_family_unet2d = {
    .name = "unet2d",
    .description = "U-Net of diffusers' unconditional pipelines (UNet2DModel)",
    .recognises = recognises,
    .build = build,
    .harmless = harmless,
};
