#include "models/adm_trunk.h"

#include <string.h>

#include "base/error.h"

#define GROUPS 32
#define EPS    1e-5

#define FIELD(name) #name, .offset = offsetof(aleat_adm_config, name)
const aleat_config_key aleat_adm_keys[] = {
    {FIELD(published_as), .kind = ALEAT_CONFIG_TEXT, .nullable = true},
    {FIELD(image_size), .kind = ALEAT_CONFIG_INT, .nullable = true},
    {FIELD(in_channels), .kind = ALEAT_CONFIG_INT},
    {FIELD(out_channels), .kind = ALEAT_CONFIG_INT},
    {FIELD(model_channels), .kind = ALEAT_CONFIG_INT},
    {FIELD(level_channels), .kind = ALEAT_CONFIG_INTS},
    {FIELD(num_res_blocks), .kind = ALEAT_CONFIG_INT},
    {FIELD(attention_downsampling), .kind = ALEAT_CONFIG_INTS},
    {FIELD(num_classes), .kind = ALEAT_CONFIG_INT, .nullable = true},
    {FIELD(num_heads), .kind = ALEAT_CONFIG_INT, .nullable = true},
    {FIELD(num_head_channels), .kind = ALEAT_CONFIG_INT, .nullable = true},
    {FIELD(use_new_attention_order), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(use_scale_shift_norm), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(resblock_updown), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(dropout), .kind = ALEAT_CONFIG_DOUBLE},
    {FIELD(noise_schedule), .kind = ALEAT_CONFIG_TEXT, .nullable = true},
    {FIELD(diffusion_steps), .kind = ALEAT_CONFIG_INT},
    {FIELD(rescale_timesteps), .kind = ALEAT_CONFIG_BOOL},
    {0},
};
#undef FIELD

/* ---- recognition ----------------------------------------------------------------------------- */

int aleat_adm_count_blocks(aleat_weights *weights, const char *stem)
{
    int n = 0;
    while (n < ALEAT_ADM_BLOCKS &&
           (aleat_inspect_has(weights, "%s.%d.0.weight", stem, n) || // the first convolution
            aleat_inspect_has(weights, "%s.%d.0.op.weight", stem, n) ||
            aleat_inspect_has(weights, "%s.%d.0.in_layers.2.weight", stem, n)))
        n++;
    return n;
}

static bool block_attends(aleat_weights *weights, int block)
{
    return aleat_inspect_has(weights, "input_blocks.%d.1.qkv.weight", block);
}

// Block `first + k` of a level, k = 0 .. depth-1, must be like the first.
static bool is_level(aleat_weights *weights, int first, int depth)
{
    for (int k = 0; k < depth; k++) {
        const int64_t c =
            aleat_inspect_dim(weights, 0, "input_blocks.%d.0.in_layers.2.weight", first + k);
        if (!c ||
            c != aleat_inspect_dim(weights, 0, "input_blocks.%d.0.in_layers.2.weight", first) ||
            block_attends(weights, first + k) != block_attends(weights, first))
            return false;
    }
    return true;
}

// A residual block that halves the image has the tensors of one that does not change channels.
static bool is_downsampler(aleat_weights *weights, int block)
{
    if (aleat_inspect_has(weights, "input_blocks.%d.0.op.weight", block))
        return true;
    const int64_t c_out =
        aleat_inspect_dim(weights, 0, "input_blocks.%d.0.in_layers.2.weight", block);
    const int64_t c_in =
        aleat_inspect_dim(weights, 1, "input_blocks.%d.0.in_layers.2.weight", block);
    return c_out && c_out == c_in && !block_attends(weights, block);
}

bool aleat_adm_read_trunk(aleat_adm_config *config, aleat_weights *weights, int levels, int depth)
{
    if (levels < 1 || levels > ALEAT_CONFIG_ITEMS || depth < 1 || depth > ALEAT_ADM_RES_BLOCKS)
        return false;
    config->model_channels = aleat_inspect_dim(weights, 1, "time_embed.0.weight");
    config->in_channels = aleat_inspect_dim(weights, 1, "input_blocks.0.0.weight");
    config->num_res_blocks = depth;
    config->level_channels = config->attention_downsampling = (aleat_config_ints){0};
    for (int level = 0; level < levels; level++) {
        const int first = 1 + level * (depth + 1);
        if (!is_level(weights, first, depth) || (level && !is_downsampler(weights, first - 1)))
            return false;
        config->level_channels.at[config->level_channels.count++] =
            aleat_inspect_dim(weights, 0, "input_blocks.%d.0.in_layers.2.weight", first);
        if (block_attends(weights, first))
            config->attention_downsampling.at[config->attention_downsampling.count++] = (int64_t)1
                                                                                        << level;
    }
    const int64_t modulation =
        aleat_inspect_dim(weights, 0, "input_blocks.1.0.emb_layers.1.weight");
    config->use_scale_shift_norm = modulation == 2 * config->level_channels.at[0];
    config->resblock_updown =
        levels > 1 && !aleat_inspect_has(weights, "input_blocks.%d.0.op.weight", depth + 1);
    return config->model_channels && config->in_channels;
}

aleat_status aleat_adm_read_options(aleat_adm_config *config, const aleat_model_options *options,
                                    const char *file, aleat_error *err)
{
    if (options->heads < 0 || options->head_dim < 0 || (options->heads && options->head_dim))
        return aleat_fail(
            err, ALEAT_ERR_ARGUMENT,
            "%lld attention heads of %lld channels: expected one of the two, positive",
            (long long)options->heads, (long long)options->head_dim);
    if (options->heads || options->head_dim) {
        config->num_heads = options->heads;
        config->num_head_channels = options->head_dim;
    }
    if (!config->num_heads && !config->num_head_channels) {
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                         "%s: no published model has these sizes, and a checkpoint does not say "
                         "how many attention heads it has",
                         file);
        aleat_hint(err, "say how many heads, or how many channels a head; other numbers than in "
                        "training give images, but wrong ones");
        return ALEAT_ERR_ARGUMENT;
    }
    return aleat_model_choose_dropout(&config->dropout, options, err);
}

/* ---- building -------------------------------------------------------------------------------- */

void aleat_adm_begin(aleat_adm_builder *b, aleat_graph *graph, const aleat_adm_config *config)
{
    b->graph = graph;
    b->config = config;
    b->resnet = (aleat_resnet_spec){
        .names = &aleat_resnet_openai,
        .groups = GROUPS,
        .eps = EPS,
        .act = ALEAT_ACT_SILU,
        .scale_shift = config->use_scale_shift_norm,
        .dropout = config->dropout,
        .output_scale = 1,
    };
    b->time = ALEAT_NO_VALUE;
    b->n_skips = 0;
}

void aleat_adm_embed(aleat_adm_builder *b, aleat_network *net)
{
    aleat_graph *graph = b->graph;
    const int64_t c = 4 * b->config->model_channels;
    const aleat_sinusoid_spec spec = {
        .dim = b->config->model_channels, .max_period = 10000, .cos_first = true, .scale = 1};
    net->t = aleat_graph_input(graph, "t", (aleat_dims){1, 1, 1});
    net->label = ALEAT_NO_VALUE;
    aleat_value time = aleat_op_sinusoid(graph, net->t, spec);
    time = aleat_nn_mlp(graph, time, "time_embed.0", "time_embed.2", c, c, ALEAT_ACT_SILU);
    if (b->config->num_classes) {
        const aleat_shape shape = aleat_shape_of(2, b->config->num_classes, c);
        net->label = aleat_graph_input(graph, "label", (aleat_dims){1, 1, 1});
        const aleat_param table = aleat_nn_weight(graph, "label_emb", &shape);
        time = aleat_op_add(graph, time, aleat_op_embedding(graph, net->label, table));
    }
    b->time = aleat_op_activation(graph, time, ALEAT_ACT_SILU);
}

static aleat_value attention(aleat_adm_builder *b, aleat_value x, const char *prefix)
{
    const aleat_adm_config *config = b->config;
    const int64_t c = aleat_graph_dims(b->graph, x).c;
    const int64_t heads =
        config->num_head_channels ? c / config->num_head_channels : config->num_heads;
    if (heads < 1 || c % heads)
        return aleat_graph_fail(b->graph, ALEAT_ERR_ARGUMENT,
                                "'%s': %lld channels cannot be %lld attention heads", prefix,
                                (long long)c, (long long)heads);
    const aleat_attention_spec spec = {
        .names = &aleat_attention_openai,
        .heads = heads,
        .head_dim = c / heads,
        .groups = GROUPS,
        .eps = EPS,
        .per_head = !config->use_new_attention_order,
        .output_scale = 1,
    };
    return aleat_nn_attention(b->graph, x, prefix, &spec);
}

aleat_value aleat_adm_layer(aleat_adm_builder *b, aleat_value x, const char *block, int64_t c_out,
                            bool attends)
{
    const aleat_name resnet = aleat_nn_name(b->graph, "%s.0", block);
    const aleat_name attn = aleat_nn_name(b->graph, "%s.1", block);
    x = aleat_nn_resnet(b->graph, x, b->time, resnet.text, c_out, &b->resnet);
    return attends ? attention(b, x, attn.text) : x;
}

aleat_value aleat_adm_resample(aleat_adm_builder *b, aleat_value x, const char *prefix,
                               aleat_resample resample)
{
    aleat_resnet_spec spec = b->resnet;
    spec.resample = resample;
    return aleat_nn_resnet(b->graph, x, b->time, prefix, aleat_graph_dims(b->graph, x).c, &spec);
}

bool aleat_adm_has_attention(const aleat_adm_config *config, int level)
{
    for (int i = 0; i < config->attention_downsampling.count; i++)
        if (config->attention_downsampling.at[i] == (int64_t)1 << level)
            return true;
    return false;
}

// "input_blocks.<n>", n counting the blocks made so far.
static aleat_name input_block(const aleat_adm_builder *b)
{
    return aleat_nn_name(b->graph, "input_blocks.%d", b->n_skips);
}

static aleat_value downsample(aleat_adm_builder *b, aleat_value x)
{
    const aleat_name block = input_block(b);
    if (b->config->resblock_updown) {
        const aleat_name name = aleat_nn_name(b->graph, "%s.0", block.text);
        return aleat_adm_resample(b, x, name.text, ALEAT_RESAMPLE_DOWN);
    }
    const aleat_name name = aleat_nn_name(b->graph, "%s.0.op", block.text);
    return aleat_nn_downsample(b->graph, x, name.text, aleat_graph_dims(b->graph, x).c, 1);
}

aleat_value aleat_adm_trunk(aleat_adm_builder *b, aleat_value x)
{
    const aleat_adm_config *config = b->config;
    const aleat_config_ints *channels = &config->level_channels;
    // The first convolution has the channels of the first level, not model_channels.
    x = aleat_nn_conv(b->graph, x, "input_blocks.0.0", channels->at[0], aleat_conv_same(3));
    b->skip[b->n_skips++] = x;
    for (int level = 0; level < channels->count; level++) {
        if (level)
            b->skip[b->n_skips++] = x = downsample(b, x);
        for (int i = 0; i < config->num_res_blocks; i++) {
            const aleat_name block = input_block(b);
            x = aleat_adm_layer(b, x, block.text, channels->at[level],
                                aleat_adm_has_attention(config, level));
            b->skip[b->n_skips++] = x;
        }
    }
    const int64_t c = channels->at[channels->count - 1];
    x = aleat_adm_layer(b, x, "middle_block", c, true);
    return aleat_nn_resnet(b->graph, x, b->time, "middle_block.2", c, &b->resnet);
}
