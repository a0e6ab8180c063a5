/*
 * A small residual classifier of images with normalisation before the convolutions (He et al. 2016,
 * "Identity Mappings in Deep Residual Networks"), by groups instead of batches, so that training
 * leaves no running statistics behind: what `aleat train --task classify` trains. Its features are
 * the means over the pixels of the last activations.
 */
#include "models/families.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "models/config.h"
#include "nn/blocks.h"

#define CLASS_NAME "PreActResNet"

typedef struct preact_config {
    aleat_config_ints sample_size, block_out_channels;
    int64_t in_channels, layers_per_block, num_classes, norm_num_groups;
    double norm_eps, dropout;
    const char *act_fn;
} preact_config;

static const preact_config defaults = {
    .in_channels = 3,
    .block_out_channels = {3, {16, 32, 64}},
    .layers_per_block = 2,
    .num_classes = 10,
    .norm_num_groups = 8,
    .norm_eps = 1e-5,
    .act_fn = "relu",
};

#define FIELD(name) #name, .offset = offsetof(preact_config, name)
static const aleat_config_key keys[] = {
    {FIELD(sample_size), .kind = ALEAT_CONFIG_SIZE, .low = 1, .high = 65536},
    {FIELD(in_channels), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 3},
    {FIELD(block_out_channels), .kind = ALEAT_CONFIG_INTS, .low = 1, .high = 65536},
    {FIELD(layers_per_block), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 256},
    {FIELD(num_classes), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 1 << 24},
    {FIELD(norm_num_groups), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(norm_eps), .kind = ALEAT_CONFIG_DOUBLE, .high = 1},
    {FIELD(dropout), .kind = ALEAT_CONFIG_DOUBLE, .high = 0.999},
    {FIELD(act_fn), .kind = ALEAT_CONFIG_TEXT, .choices = "relu|silu"},
    {0},
};
#undef FIELD

static const aleat_preparation preparations[] = {
    {.name = "centred",
     .help = "smaller images in the middle of black, 0..255 to -1..1",
     .fit = ALEAT_FIT_CENTRE,
     .scale = {2, 2, 2},
     .shift = {-1, -1, -1}},
    {0},
};

// Every stage but the first begins with a block that halves the image.
static void build_network(aleat_graph *graph, const preact_config *config, aleat_dims dims,
                          aleat_model_files *out)
{
    aleat_network *net = &out->network;
    const aleat_activation act =
        strcmp(config->act_fn, "silu") == 0 ? ALEAT_ACT_SILU : ALEAT_ACT_RELU;
    aleat_resnet_spec spec = {.names = &aleat_resnet_diffusers,
                              .groups = config->norm_num_groups,
                              .eps = config->norm_eps,
                              .act = act,
                              .dropout = config->dropout,
                              .output_scale = 1};
    net->t = net->label = ALEAT_NO_VALUE;
    net->x = aleat_graph_input(graph, "x", dims);
    aleat_value x = aleat_nn_conv(graph, net->x, "conv_in", config->block_out_channels.at[0],
                                  aleat_conv_same(3));
    for (int i = 0; i < config->block_out_channels.count; i++)
        for (int64_t j = 0; j < config->layers_per_block; j++) {
            const aleat_name name = aleat_nn_name(graph, "blocks.%d.resnets.%lld", i, (long long)j);
            spec.resample = i > 0 && j == 0 ? ALEAT_RESAMPLE_DOWN : ALEAT_RESAMPLE_NONE;
            x = aleat_nn_resnet(graph, x, ALEAT_NO_VALUE, name.text,
                                config->block_out_channels.at[i], &spec);
        }
    x = aleat_nn_groupnorm(graph, x, "norm_out", spec.groups, spec.eps, act);
    x = aleat_op_mean(graph, x);
    net->out = aleat_nn_linear(graph, x, "classifier", config->num_classes);
    out->features = (aleat_feature_spec){.preparations = preparations, .layers = {{"mean", x}}};
}

static aleat_status build(aleat_model_files *out, const aleat_model_options *options,
                          aleat_error *err)
{
    aleat_json json = {0};
    aleat_dims dims;
    preact_config config = defaults;
    if (!out->config_path)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: a " CLASS_NAME " needs the config.json that belongs to it",
                          aleat_weights_path(out->weights));
    aleat_status st = aleat_json_load(&json, out->config_path, err);
    if (!st)
        st = aleat_config_read(&config, &json, keys, err);
    const aleat_config_ints *size = &config.sample_size;
    if (!st && (config.block_out_channels.count < 1 || size->count > 2))
        st = aleat_fail(err, ALEAT_ERR_FORMAT,
                        "%s: 'block_out_channels' has %d items and 'sample_size' %d, expected at "
                        "least 1, and height and width",
                        json.name, config.block_out_channels.count, size->count);
    if (st)
        goto done;
    dims = (aleat_dims){size->at[0], size->at[size->count > 1 ? 1 : 0], config.in_channels};
    st = aleat_model_choose_size(&dims, options, aleat_level_unit(config.block_out_channels.count),
                                 json.name, "no 'sample_size'", err);
    if (st)
        goto done;
    out->role = ALEAT_MODEL_FEATURES;
    out->config_text = aleat_config_text(&config, keys, CLASS_NAME);
    out->graph = aleat_graph_new(out->weights);
    if (!out->config_text || !out->graph) {
        st = aleat_fail_memory(err, "network");
        goto done;
    }
    build_network(out->graph, &config, dims, out);
    out->info = (aleat_denoiser_info){.channels = dims.c,
                                      .height = dims.h,
                                      .width = dims.w,
                                      .out_channels = config.num_classes,
                                      .null_class = -1};
    st = aleat_graph_check(out->graph, err);
done:
    aleat_json_clear(&json);
    return st;
}

static bool recognises(const char *class_name, aleat_weights *weights)
{
    (void)weights;
    return class_name && !strcmp(class_name, CLASS_NAME);
}

const aleat_model_family aleat_family_preact_resnet = {
    .name = "preact_resnet",
    .description = "residual classifier that `train --task classify` trains, for features",
    .recognises = recognises,
    .build = build,
};
