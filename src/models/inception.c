/*
 * Inception-v3 as the Frechet Inception distance uses it: the network of 2015-12-05 that
 * TensorFlow's evaluators downloaded, in the PyTorch layout of mseitzer/pytorch-fid
 * (pt_inception-2015-12-05-6726825d.pth).
 * Source: Szegedy et al. 2016; torchvision's Inception3 with pytorch-fid's blocks: average pools do
 * not count their padding, and the last block pools with the maximum.
 */
#include "models/families.h"

#include "base/alloc.h"
#include "base/error.h"
#include "nn/layers.h"

enum { SIDE = 299, CLASSES = 1008, SPATIAL_CHANNELS = 7 };
static const double bn_eps = 0.001;

static const aleat_preparation preparations[] = {
    {.name = "pytorch-fid",
     .help = "bilinear between pixel centres, 0..255 to -1..1",
     .fit = ALEAT_FIT_BILINEAR,
     .scale = {2, 2, 2},
     .shift = {-1, -1, -1}},
    {.name = "tf1",
     .help = "bilinear as TensorFlow 1 (TTUR, ADM's evaluator), (x - 128) / 128",
     .fit = ALEAT_FIT_BILINEAR_TF1,
     .scale = {255.0f / 128, 255.0f / 128, 255.0f / 128},
     .shift = {-1, -1, -1}},
    {.name = "clean-fid",
     .help = "bicubic with antialiasing as PIL, (x - 128) / 128",
     .fit = ALEAT_FIT_BICUBIC,
     .scale = {255.0f / 128, 255.0f / 128, 255.0f / 128},
     .shift = {-1, -1, -1}},
    {0},
};

// Building a branch: the block's name, and the graph.
typedef struct builder {
    aleat_graph *graph;
    const char *block;
} builder;

// Windows as torchvision gives them: kernel, stride, padding above and beside.
static aleat_conv_spec window(int64_t kernel_h, int64_t kernel_w, int64_t stride, int64_t pad_h,
                              int64_t pad_w)
{
    return (aleat_conv_spec){kernel_h, kernel_w, stride, pad_h, pad_w, pad_h, pad_w};
}

static const aleat_conv_spec point = {.kernel_h = 1, .kernel_w = 1, .stride = 1};
static const aleat_conv_spec halving = {.kernel_h = 3, .kernel_w = 3, .stride = 2};

// BasicConv2d: relu(bn(conv x)).
static aleat_value basic(const builder *b, aleat_value x, const char *branch, int64_t c,
                         aleat_conv_spec spec)
{
    const aleat_name conv =
        aleat_nn_name(b->graph, "%s%s%s.conv", b->block, *branch ? "." : "", branch);
    const aleat_name norm =
        aleat_nn_name(b->graph, "%s%s%s.bn", b->block, *branch ? "." : "", branch);
    x = aleat_nn_conv_batchnorm(b->graph, x, conv.text, norm.text, c, spec, bn_eps);
    return aleat_op_activation(b->graph, x, ALEAT_ACT_RELU);
}

static aleat_value join(const builder *b, const aleat_value *branches, int count)
{
    aleat_value x = branches[0];
    for (int i = 1; i < count; i++)
        x = aleat_op_concat(b->graph, x, branches[i]);
    return x;
}

// InceptionA; the pooled branch has another width in the first block.
static aleat_value block_a(aleat_graph *graph, aleat_value x, const char *name, int64_t c_pool)
{
    const builder b = {graph, name};
    const aleat_value five = basic(&b, x, "branch5x5_1", 48, point);
    aleat_value three = basic(&b, x, "branch3x3dbl_1", 64, point);
    three = basic(&b, three, "branch3x3dbl_2", 96, aleat_conv_same(3));
    const aleat_value branches[] = {
        basic(&b, x, "branch1x1", 64, point),
        basic(&b, five, "branch5x5_2", 64, aleat_conv_same(5)),
        basic(&b, three, "branch3x3dbl_3", 96, aleat_conv_same(3)),
        basic(&b, aleat_op_avgpool(graph, x, aleat_conv_same(3)), "branch_pool", c_pool, point),
    };
    return join(&b, branches, 4);
}

// InceptionB: to half the size.
static aleat_value block_b(aleat_graph *graph, aleat_value x, const char *name)
{
    const builder b = {graph, name};
    aleat_value three = basic(&b, x, "branch3x3dbl_1", 64, point);
    three = basic(&b, three, "branch3x3dbl_2", 96, aleat_conv_same(3));
    const aleat_value branches[] = {
        basic(&b, x, "branch3x3", 384, halving),
        basic(&b, three, "branch3x3dbl_3", 96, halving),
        aleat_op_maxpool(graph, x, halving),
    };
    return join(&b, branches, 3);
}

// InceptionC: 7x7 kernels as products of 1x7 and 7x1; c is the width between them. *first is the
// branch of 1x1, whose head is the spatial feature.
static aleat_value block_c(aleat_graph *graph, aleat_value x, const char *name, int64_t c,
                           aleat_value *first)
{
    const builder b = {graph, name};
    const aleat_conv_spec wide = window(1, 7, 1, 0, 3), high = window(7, 1, 1, 3, 0);
    aleat_value seven = basic(&b, x, "branch7x7_1", c, point);
    seven = basic(&b, seven, "branch7x7_2", c, wide);
    aleat_value twice = basic(&b, x, "branch7x7dbl_1", c, point);
    twice = basic(&b, twice, "branch7x7dbl_2", c, high);
    twice = basic(&b, twice, "branch7x7dbl_3", c, wide);
    twice = basic(&b, twice, "branch7x7dbl_4", c, high);
    const aleat_value branches[] = {
        basic(&b, x, "branch1x1", 192, point),
        basic(&b, seven, "branch7x7_3", 192, high),
        basic(&b, twice, "branch7x7dbl_5", 192, wide),
        basic(&b, aleat_op_avgpool(graph, x, aleat_conv_same(3)), "branch_pool", 192, point),
    };
    *first = branches[0];
    return join(&b, branches, 4);
}

// InceptionD: to half the size.
static aleat_value block_d(aleat_graph *graph, aleat_value x, const char *name)
{
    const builder b = {graph, name};
    const aleat_value three = basic(&b, x, "branch3x3_1", 192, point);
    aleat_value seven = basic(&b, x, "branch7x7x3_1", 192, point);
    seven = basic(&b, seven, "branch7x7x3_2", 192, window(1, 7, 1, 0, 3));
    seven = basic(&b, seven, "branch7x7x3_3", 192, window(7, 1, 1, 3, 0));
    const aleat_value branches[] = {
        basic(&b, three, "branch3x3_2", 320, halving),
        basic(&b, seven, "branch7x7x3_4", 192, halving),
        aleat_op_maxpool(graph, x, halving),
    };
    return join(&b, branches, 3);
}

// InceptionE: branches that part once more into 1x3 and 3x1.
static aleat_value block_e(aleat_graph *graph, aleat_value x, const char *name, bool max)
{
    const builder b = {graph, name};
    const aleat_conv_spec wide = window(1, 3, 1, 0, 1), high = window(3, 1, 1, 1, 0);
    const aleat_value three = basic(&b, x, "branch3x3_1", 384, point);
    aleat_value twice = basic(&b, x, "branch3x3dbl_1", 448, point);
    twice = basic(&b, twice, "branch3x3dbl_2", 384, aleat_conv_same(3));
    const aleat_value pooled =
        (max ? aleat_op_maxpool : aleat_op_avgpool)(graph, x, aleat_conv_same(3));
    const aleat_value branches[] = {
        basic(&b, x, "branch1x1", 320, point),
        basic(&b, three, "branch3x3_2a", 384, wide),
        basic(&b, three, "branch3x3_2b", 384, high),
        basic(&b, twice, "branch3x3dbl_3a", 384, wide),
        basic(&b, twice, "branch3x3dbl_3b", 384, high),
        basic(&b, pooled, "branch_pool", 192, point),
    };
    return join(&b, branches, 6);
}

static aleat_value layer(aleat_graph *graph, aleat_value x, const char *name, int64_t c,
                         aleat_conv_spec spec)
{
    const builder b = {graph, name};
    return basic(&b, x, "", c, spec);
}

static void build_network(aleat_graph *graph, aleat_model_files *out)
{
    aleat_network *net = &out->network;
    net->t = net->label = ALEAT_NO_VALUE;
    net->x = aleat_graph_input(graph, "x", (aleat_dims){SIDE, SIDE, 3});
    const aleat_conv_spec bare = {.kernel_h = 3, .kernel_w = 3, .stride = 1};
    aleat_value x = layer(graph, net->x, "Conv2d_1a_3x3", 32, halving);
    x = layer(graph, x, "Conv2d_2a_3x3", 32, bare);
    x = layer(graph, x, "Conv2d_2b_3x3", 64, aleat_conv_same(3));
    const aleat_value pool1 = aleat_op_maxpool(graph, x, halving);
    x = layer(graph, pool1, "Conv2d_3b_1x1", 80, point);
    x = layer(graph, x, "Conv2d_4a_3x3", 192, bare);
    const aleat_value pool2 = aleat_op_maxpool(graph, x, halving);
    x = block_a(graph, pool2, "Mixed_5b", 32);
    x = block_a(graph, x, "Mixed_5c", 64);
    x = block_a(graph, x, "Mixed_5d", 64);
    x = block_b(graph, x, "Mixed_6a");
    aleat_value spatial;
    x = block_c(graph, x, "Mixed_6b", 128, &spatial);
    x = block_c(graph, x, "Mixed_6c", 160, &spatial);
    x = block_c(graph, x, "Mixed_6d", 160, &spatial);
    aleat_value other;
    const aleat_value mixed6 = block_c(graph, x, "Mixed_6e", 192, &other);
    x = block_d(graph, mixed6, "Mixed_7a");
    x = block_e(graph, x, "Mixed_7b", false);
    x = block_e(graph, x, "Mixed_7c", true);
    const aleat_value pool3 = aleat_op_mean(graph, x);
    const aleat_value unbiased = aleat_nn_linear_unbiased(graph, pool3, "fc", CLASSES);
    const aleat_param bias = aleat_nn_bias(graph, "fc", CLASSES);
    net->out = aleat_op_add(graph, unbiased, aleat_graph_constant(graph, bias));
    out->features = (aleat_feature_spec){
        .preparations = preparations,
        .layers = {{"2048", pool3},
                   {"768", aleat_op_mean(graph, mixed6)},
                   {"192", aleat_op_mean(graph, pool2)},
                   {"64", aleat_op_mean(graph, pool1)},
                   {"spatial", aleat_op_slice(graph, spatial, 0, SPATIAL_CHANNELS)},
                   {"logits_unbiased", unbiased}},
    };
}

static aleat_status build(aleat_model_files *out, const aleat_model_options *options,
                          aleat_error *err)
{
    (void)options; // trained for one size
    const int64_t classes = aleat_inspect_dim(out->weights, 0, "fc.weight");
    if (classes != CLASSES) {
        (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                         "%s: an Inception-v3 of %lld classes, expected the %d of the network that "
                         "the Frechet Inception distance is defined with",
                         aleat_weights_path(out->weights), (long long)classes, CLASSES);
        aleat_hint(err, "torchvision's weights give other numbers; take pytorch-fid's "
                        "pt_inception-2015-12-05-6726825d.pth");
        return ALEAT_ERR_UNSUPPORTED;
    }
    out->role = ALEAT_MODEL_FEATURES;
    out->graph = aleat_graph_new(out->weights);
    out->config_text = aleat_strdup("{\"_class_name\": \"FIDInceptionV3\"}");
    if (!out->graph || !out->config_text)
        return aleat_fail_memory(err, "network");
    build_network(out->graph, out);
    out->info = (aleat_denoiser_info){
        .channels = 3, .height = SIDE, .width = SIDE, .out_channels = CLASSES, .null_class = -1};
    return aleat_graph_check(out->graph, err);
}

static bool recognises(const char *class_name, aleat_weights *weights)
{
    return !class_name && weights && aleat_inspect_has(weights, "Conv2d_1a_3x3.conv.weight") &&
           aleat_inspect_has(weights, "Mixed_7c.branch_pool.conv.weight");
}

const aleat_model_family aleat_family_inception = {
    .name = "inception",
    .description = "Inception-v3 of the Frechet Inception distance (pytorch-fid), for features",
    .recognises = recognises,
    .build = build,
};
