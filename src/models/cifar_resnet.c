/*
 * The residual networks for CIFAR-10 of He et al. 2016 (section 4.2: ResNet-20, -56 ...) as
 * akamaster/pytorch_resnet_cifar10 trained and published them: shortcuts without parameters
 * (option A), 64 features after the global mean.
 */
#include "models/families.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/error.h"
#include "nn/layers.h"

enum { SIDE = 32, STAGES = 3 };
static const double bn_eps = 1e-5; // torch's BatchNorm2d

// (v - mean) / std with the statistics of ImageNet that the networks were trained with.
static const aleat_preparation preparations[] = {
    {.name = "imagenet-mean-std",
     .help = "32x32; mean and deviation of ImageNet's colours",
     .fit = ALEAT_FIT_EXACT,
     .scale = {1 / 0.229f, 1 / 0.224f, 1 / 0.225f},
     .shift = {-0.485f / 0.229f, -0.456f / 0.224f, -0.406f / 0.225f}},
    {0},
};

// What the tensors say. DataParallel put "module." before every name.
typedef struct sizes {
    const char *prefix;
    int64_t width[STAGES]; // channels
    int depth[STAGES];     // blocks
    int64_t classes;
} sizes;

static const char *prefix_of(aleat_weights *weights)
{
    return aleat_inspect_has(weights, "module.conv1.weight") ? "module." : "";
}

static aleat_status read_sizes(sizes *s, aleat_weights *weights, aleat_error *err)
{
    *s = (sizes){.prefix = prefix_of(weights)};
    s->classes = aleat_inspect_dim(weights, 0, "%slinear.weight", s->prefix);
    bool good = s->classes > 0;
    for (int i = 0; i < STAGES; i++) {
        while (
            aleat_inspect_has(weights, "%slayer%d.%d.conv1.weight", s->prefix, i + 1, s->depth[i]))
            s->depth[i]++;
        s->width[i] = aleat_inspect_dim(weights, 0, "%slayer%d.0.conv1.weight", s->prefix, i + 1);
        // Option A pads a quarter of the new channels with zeros on each side.
        good = good && s->width[i] > 0 &&
               (i == 0 || s->width[i - 1] + s->width[i] / 4 * 2 == s->width[i]);
    }
    return good ? ALEAT_OK
                : aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                             "%s: stages of %lld, %lld and %lld channels and %lld classes, "
                             "expected each stage to be twice as wide as the one before",
                             aleat_weights_path(weights), (long long)s->width[0],
                             (long long)s->width[1], (long long)s->width[2], (long long)s->classes);
}

static aleat_value conv(aleat_graph *graph, aleat_value x, const char *prefix, int which, int64_t c,
                        int64_t stride)
{
    const aleat_name name = aleat_nn_name(graph, "%sconv%d", prefix, which);
    const aleat_name norm = aleat_nn_name(graph, "%sbn%d", prefix, which);
    aleat_conv_spec spec = aleat_conv_same(3);
    spec.stride = stride;
    return aleat_nn_conv_batchnorm(graph, x, name.text, norm.text, c, spec, bn_eps);
}

// relu(bn2(conv2(relu(bn1(conv1 x)))) + shortcut x); where the width changes, the shortcut takes
// every second pixel and adds empty channels on both sides.
static aleat_value block(aleat_graph *graph, aleat_value x, const char *prefix, int64_t c)
{
    const int64_t c_in = aleat_graph_dims(graph, x).c, stride = c_in == c ? 1 : 2;
    aleat_value h =
        aleat_op_activation(graph, conv(graph, x, prefix, 1, c, stride), ALEAT_ACT_RELU);
    h = conv(graph, h, prefix, 2, c, 1);
    if (c_in != c) {
        const aleat_conv_spec every_second = {.kernel_h = 1, .kernel_w = 1, .stride = stride};
        x = aleat_op_pad_channels(graph, aleat_op_avgpool(graph, x, every_second), c / 4, c);
    }
    return aleat_op_activation(graph, aleat_op_add(graph, h, x), ALEAT_ACT_RELU);
}

static void build_network(aleat_graph *graph, const sizes *s, aleat_model_files *out)
{
    aleat_network *net = &out->network;
    net->t = net->label = ALEAT_NO_VALUE;
    net->x = aleat_graph_input(graph, "x", (aleat_dims){SIDE, SIDE, 3});
    aleat_value x = aleat_op_activation(graph, conv(graph, net->x, s->prefix, 1, s->width[0], 1),
                                        ALEAT_ACT_RELU);
    for (int i = 0; i < STAGES; i++)
        for (int j = 0; j < s->depth[i]; j++)
            x = block(graph, x, aleat_nn_name(graph, "%slayer%d.%d.", s->prefix, i + 1, j).text,
                      s->width[i]);
    x = aleat_op_mean(graph, x);
    net->out =
        aleat_nn_linear(graph, x, aleat_nn_name(graph, "%slinear", s->prefix).text, s->classes);
    out->features = (aleat_feature_spec){.preparations = preparations, .layers = {{"mean", x}}};
}

static aleat_status build(aleat_model_files *out, const aleat_model_options *options,
                          aleat_error *err)
{
    (void)options; // trained for one size
    sizes s;
    const aleat_status st = read_sizes(&s, out->weights, err);
    if (st)
        return st;
    out->role = ALEAT_MODEL_FEATURES;
    out->graph = aleat_graph_new(out->weights);
    out->config_text = aleat_asprintf(
        "{\"_class_name\": \"ResNet\", \"layers\": [%d, %d, %d], \"num_classes\": %lld}",
        s.depth[0], s.depth[1], s.depth[2], (long long)s.classes);
    if (!out->graph || !out->config_text)
        return aleat_fail_memory(err, "network");
    build_network(out->graph, &s, out);
    out->info = (aleat_denoiser_info){
        .channels = 3, .height = SIDE, .width = SIDE, .out_channels = s.classes, .null_class = -1};
    return aleat_graph_check(out->graph, err);
}

static bool recognises(const char *class_name, aleat_weights *weights)
{
    if (class_name || !weights)
        return false;
    const char *prefix = prefix_of(weights);
    return aleat_inspect_has(weights, "%slayer3.0.bn2.running_var", prefix) &&
           aleat_inspect_has(weights, "%slinear.weight", prefix) &&
           !aleat_inspect_has(weights, "%slayer4.0.conv1.weight", prefix);
}

const aleat_model_family aleat_family_cifar_resnet = {
    .name = "cifar_resnet",
    .description = "residual network for CIFAR-10 (ResNet-20 ... -1202), for features",
    .recognises = recognises,
    .build = build,
};
