/*
 * The classifier of noisy images of OpenAI's guided-diffusion (EncoderUNetModel with attention
 * pooling), whose gradient guides sampling.
 * Source: Dhariwal and Nichol 2021, section 4; the pooling is CLIP's (Radford et al. 2021).
 */
#include "models/adm_trunk.h"

#include "base/error.h"

#define PUBLISHED_WIDTH 128 // of all four published classifiers
#define PUBLISHED_HEAD  64

/* ---- recognition ----------------------------------------------------------------------------- */

// Levels and their depth are one product; only one way to factor it should fit the tensors.
static aleat_status read_sizes(aleat_adm_config *config, aleat_weights *weights, aleat_error *err)
{
    const int n = aleat_adm_count_blocks(weights, "input_blocks");
    int found = 0;
    for (int depth = 1; depth < n; depth++) {
        aleat_adm_config candidate = *config;
        if (n % (depth + 1) || !aleat_adm_read_trunk(&candidate, weights, n / (depth + 1), depth))
            continue;
        *config = candidate;
        found++;
    }
    if (found != 1)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s: has input_blocks as an ADM classifier, but %d input blocks can be "
                          "divided into levels in %d ways, expected one",
                          aleat_weights_path(weights), n, found);
    return ALEAT_OK;
}

// The table of positions has a row for each pixel of the last level, and one for their mean.
static aleat_status read_pool(aleat_adm_config *config, aleat_weights *weights, aleat_error *err)
{
    const char *file = aleat_weights_path(weights);
    const int64_t tokens = aleat_inspect_dim(weights, 1, "out.2.positional_embedding");
    config->out_channels = aleat_inspect_dim(weights, 0, "out.2.c_proj.weight");
    if (!tokens || !config->out_channels)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: a classifier without attention pooling (out.2.positional_embedding, "
                          "out.2.c_proj.weight), the only one supported",
                          file);
    int64_t side = 1;
    while (side * side < tokens - 1)
        side *= 2;
    if (side * side != tokens - 1)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: out.2.positional_embedding is for %lld pixels, expected the square "
                          "of a power of two",
                          file, (long long)(tokens - 1));
    config->image_size = side * aleat_level_unit(config->level_channels.count);
    return ALEAT_OK;
}

static aleat_status recognise_config(aleat_adm_config *config, aleat_weights *weights,
                                     const aleat_model_options *options, aleat_error *err)
{
    aleat_status st = read_sizes(config, weights, err);
    if (!st)
        st = read_pool(config, weights, err);
    if (st)
        return st;
    config->diffusion_steps = 1000;
    if (config->model_channels == PUBLISHED_WIDTH) {
        config->published_as = "64x64 to 512x512_classifier";
        config->num_head_channels = PUBLISHED_HEAD;
    }
    return aleat_adm_read_options(config, options, aleat_weights_path(weights), err);
}

/* ---- building -------------------------------------------------------------------------------- */

// The mean is a token that attends to all pixels and itself; what it gathers is classified.
static aleat_value attention_pool(aleat_adm_builder *b, aleat_value x)
{
    aleat_graph *graph = b->graph;
    const aleat_adm_config *config = b->config;
    const aleat_dims dims = aleat_graph_dims(graph, x);
    const int64_t c = dims.c, tokens = dims.h * dims.w + 1;
    const aleat_shape table = aleat_shape_of(2, c, tokens);
    const aleat_shape proj = aleat_nn_linear_shape(3, 3 * c, c);
    const aleat_shape last = aleat_nn_linear_shape(3, config->out_channels, c);
    const int64_t heads =
        config->num_head_channels ? c / config->num_head_channels : config->num_heads;

    const aleat_param position = aleat_graph_param_transpose(
        graph, aleat_graph_param(graph, "out.2.positional_embedding", &table));
    x = aleat_op_concat_tokens(graph, aleat_op_mean(graph, x), x);
    x = aleat_op_add(graph, x, aleat_graph_constant(graph, position));
    x = aleat_op_linear(graph, x, aleat_nn_weight(graph, "out.2.qkv_proj", &proj),
                        aleat_nn_bias(graph, "out.2.qkv_proj", 3 * c));
    const aleat_value q = aleat_op_slice(graph, x, 0, c);
    const aleat_value k = aleat_op_slice(graph, x, c, c);
    const aleat_value v = aleat_op_slice(graph, x, 2 * c, c);
    // Only the first query is needed, but reverse mode wants as many queries as keys.
    x = aleat_op_attention(graph, q, k, v, heads, 0);
    x = aleat_op_slice_tokens(graph, x, 0, 1, 1);
    return aleat_op_linear(graph, x, aleat_nn_weight(graph, "out.2.c_proj", &last),
                           aleat_nn_bias(graph, "out.2.c_proj", config->out_channels));
}

static void build_network(aleat_graph *graph, const aleat_adm_config *config, aleat_dims dims,
                          aleat_network *net)
{
    aleat_adm_builder b;
    aleat_adm_begin(&b, graph, config);
    net->x = aleat_graph_input(graph, "x", dims);
    aleat_adm_embed(&b, net);
    aleat_value x = aleat_adm_trunk(&b, net->x);
    x = aleat_nn_groupnorm(graph, x, "out.0", b.resnet.groups, b.resnet.eps, ALEAT_ACT_SILU);
    net->out = attention_pool(&b, x);
    aleat_graph_output(graph, "out", net->out);
}

static aleat_status build(aleat_model_files *out, const aleat_model_options *options,
                          aleat_error *err)
{
    aleat_adm_config config = {0};
    const char *file = aleat_weights_path(out->weights);
    const aleat_status st = recognise_config(&config, out->weights, options, err);
    if (st)
        return st;
    const int64_t size = config.image_size;
    if ((options->height && options->height != size) || (options->width && options->width != size))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: images of %lld x %lld do not fit, this classifier takes %lld x %lld",
                          file, (long long)options->height, (long long)options->width,
                          (long long)size, (long long)size);
    out->role = ALEAT_MODEL_CLASSIFIER;
    out->config_text = aleat_config_text(&config, aleat_adm_keys, "EncoderUNetModel");
    out->graph = aleat_graph_new(out->weights);
    if (!out->config_text || !out->graph)
        return aleat_fail_memory(err, "network");
    build_network(out->graph, &config, (aleat_dims){size, size, config.in_channels}, &out->network);
    out->info = (aleat_denoiser_info){
        .channels = config.in_channels,
        .height = size,
        .width = size,
        .out_channels = config.out_channels,
        .null_class = -1,
    };
    return aleat_graph_check(out->graph, err);
}

static bool recognises(const char *class_name, aleat_weights *weights)
{
    return !class_name && weights && aleat_inspect_has(weights, "time_embed.0.weight") &&
           aleat_inspect_has(weights, "input_blocks.0.0.weight") &&
           aleat_inspect_has(weights, "middle_block.1.qkv.weight") &&
           !aleat_inspect_has(weights, "output_blocks.0.0.in_layers.2.weight");
}

const aleat_model_family aleat_family_adm_classifier = {
    .name = "adm_classifier",
    .description = "classifier of noisy images of OpenAI's guided-diffusion, for guidance",
    .recognises = recognises,
    .build = build,
};
