#include "nn/blocks.h"

#include <stdio.h>

#include "base/alloc.h"

const aleat_resnet_names aleat_resnet_diffusers = {
    .norm1 = "norm1",
    .conv1 = "conv1",
    .time = "time_emb_proj",
    .norm2 = "norm2",
    .conv2 = "conv2",
    .shortcut = "conv_shortcut",
};
const aleat_resnet_names aleat_resnet_openai = {
    .norm1 = "in_layers.0",
    .conv1 = "in_layers.2",
    .time = "emb_layers.1",
    .norm2 = "out_layers.0",
    .conv2 = "out_layers.3",
    .shortcut = "skip_connection",
};
const aleat_resnet_names aleat_resnet_compvis = {
    .norm1 = "norm1",
    .conv1 = "conv1",
    .time = "temb_proj",
    .norm2 = "norm2",
    .conv2 = "conv2",
    .shortcut = "nin_shortcut",
};

static aleat_value resample(aleat_graph *graph, aleat_value x, aleat_resample kind)
{
    switch (kind) {
    case ALEAT_RESAMPLE_DOWN: return aleat_op_avgpool2(graph, x);
    case ALEAT_RESAMPLE_UP: return aleat_op_upsample2(graph, x);
    case ALEAT_RESAMPLE_NONE: break;
    }
    return x;
}

static aleat_value divide(aleat_graph *graph, aleat_value x, double by)
{
    return by == 1 ? x : aleat_op_affine(graph, x, 1 / by, 0);
}

// act(norm2) with the time in it: what stands between the two convolutions.
static aleat_value modulated_norm(aleat_graph *graph, aleat_value h, aleat_value time,
                                  const char *prefix, const aleat_resnet_spec *spec)
{
    const int64_t c = aleat_graph_dims(graph, h).c;
    const aleat_name norm = aleat_nn_name(graph, "%s.%s", prefix, spec->names->norm2);
    if (time == ALEAT_NO_VALUE)
        return aleat_nn_groupnorm(graph, h, norm.text, spec->groups, spec->eps, spec->act);

    const aleat_name proj = aleat_nn_name(graph, "%s.%s", prefix, spec->names->time);
    const aleat_value shift =
        aleat_nn_linear(graph, time, proj.text, spec->scale_shift ? 2 * c : c);
    if (spec->scale_shift) {
        h = aleat_nn_groupnorm(graph, h, norm.text, spec->groups, spec->eps, ALEAT_ACT_NONE);
        return aleat_op_scale_shift(graph, h, shift, spec->act);
    }
    h = aleat_op_add(graph, h, shift);
    return aleat_nn_groupnorm(graph, h, norm.text, spec->groups, spec->eps, spec->act);
}

aleat_value aleat_nn_resnet(aleat_graph *graph, aleat_value x, aleat_value time, const char *prefix,
                            int64_t c_out, const aleat_resnet_spec *spec)
{
    const aleat_name norm1 = aleat_nn_name(graph, "%s.%s", prefix, spec->names->norm1);
    const aleat_name conv1 = aleat_nn_name(graph, "%s.%s", prefix, spec->names->conv1);
    const aleat_name conv2 = aleat_nn_name(graph, "%s.%s", prefix, spec->names->conv2);

    aleat_value h = aleat_nn_groupnorm(graph, x, norm1.text, spec->groups, spec->eps, spec->act);
    h = resample(graph, h, spec->resample);
    h = aleat_nn_conv(graph, h, conv1.text, c_out, aleat_conv_same(3));
    h = modulated_norm(graph, h, time, prefix, spec);
    if (spec->dropout > 0)
        h = aleat_op_dropout(graph, h, spec->dropout);
    h = aleat_nn_conv(graph, h, conv2.text, c_out, aleat_conv_same(3));

    aleat_value skip = resample(graph, x, spec->resample);
    if (aleat_graph_dims(graph, x).c != c_out) {
        const aleat_name shortcut = aleat_nn_name(graph, "%s.%s", prefix, spec->names->shortcut);
        skip = aleat_nn_conv(graph, skip, shortcut.text, c_out, aleat_conv_same(1));
    }
    return divide(graph, aleat_op_add(graph, skip, h), spec->output_scale);
}

const aleat_attention_names aleat_attention_diffusers = {
    .norm = "group_norm",
    .q = "to_q",
    .k = "to_k",
    .v = "to_v",
    .out = "to_out.0",
    .weight_rank = 2,
};
const aleat_attention_names aleat_attention_diffusers_old = {
    .norm = "group_norm",
    .q = "query",
    .k = "key",
    .v = "value",
    .out = "proj_attn",
    .weight_rank = 2,
};
const aleat_attention_names aleat_attention_openai = {
    .norm = "norm",
    .q = "qkv",
    .out = "proj_out",
    .weight_rank = 3,
};
const aleat_attention_names aleat_attention_compvis = {
    .norm = "norm",
    .q = "q",
    .k = "k",
    .v = "v",
    .out = "proj_out",
    .weight_rank = 4,
};

const aleat_attention_names *aleat_nn_attention_names(const aleat_graph *graph, const char *prefix)
{
    char name[ALEAT_NAME_SIZE];
    const int len =
        snprintf(name, sizeof name, "%s.%s.weight", prefix, aleat_attention_diffusers_old.q);
    const bool old = len > 0 && (size_t)len < sizeof name && aleat_graph_has(graph, name);
    return old ? &aleat_attention_diffusers_old : &aleat_attention_diffusers;
}

// Weight and bias of the joint projection to [q | k | v].
typedef struct projection {
    aleat_param weight, bias;
} projection;

static projection stacked_projection(aleat_graph *graph, const char *prefix, int64_t c_in,
                                     const aleat_attention_spec *spec)
{
    const char *const parts[3] = {spec->names->q, spec->names->k, spec->names->v};
    const int64_t inner = spec->heads * spec->head_dim;
    const aleat_shape shape = aleat_nn_linear_shape(spec->names->weight_rank, inner, c_in);
    aleat_param weights[3], biases[3];
    for (int i = 0; i < 3; i++) {
        const aleat_name part = aleat_nn_name(graph, "%s.%s", prefix, parts[i]);
        weights[i] = aleat_nn_weight(graph, part.text, &shape);
        biases[i] = aleat_nn_bias(graph, part.text, inner);
    }
    return (projection){aleat_graph_param_stack(graph, weights, 3),
                        aleat_graph_param_stack(graph, biases, 3)};
}

// Rows "head by head [q|k|v]" into "[q|k|v] head by head".
static projection rows_by_part(aleat_graph *graph, projection joint, int64_t heads, int64_t dim)
{
    const int64_t rows = 3 * heads * dim;
    int32_t *order = aleat_calloc((size_t)rows, sizeof *order);
    if (!order) {
        aleat_graph_fail(graph, ALEAT_ERR_MEMORY, "out of memory: attention rows");
        return (projection){ALEAT_NO_PARAM, ALEAT_NO_PARAM};
    }
    int64_t row = 0;
    for (int64_t part = 0; part < 3; part++)
        for (int64_t head = 0; head < heads; head++)
            for (int64_t i = 0; i < dim; i++)
                order[row++] = (int32_t)((head * 3 + part) * dim + i);
    joint.weight = aleat_graph_param_rows(graph, joint.weight, order, rows);
    joint.bias = aleat_graph_param_rows(graph, joint.bias, order, rows);
    aleat_free(order);
    return joint;
}

static projection qkv_projection(aleat_graph *graph, const char *prefix, int64_t c_in,
                                 const aleat_attention_spec *spec)
{
    if (spec->names->k)
        return stacked_projection(graph, prefix, c_in, spec);
    const int64_t rows = 3 * spec->heads * spec->head_dim;
    const aleat_shape shape = aleat_nn_linear_shape(spec->names->weight_rank, rows, c_in);
    const aleat_name name = aleat_nn_name(graph, "%s.%s", prefix, spec->names->q);
    const projection joint = {aleat_nn_weight(graph, name.text, &shape),
                              aleat_nn_bias(graph, name.text, rows)};
    return spec->per_head ? rows_by_part(graph, joint, spec->heads, spec->head_dim) : joint;
}

aleat_value aleat_nn_attention(aleat_graph *graph, aleat_value x, const char *prefix,
                               const aleat_attention_spec *spec)
{
    const int64_t c = aleat_graph_dims(graph, x).c, inner = spec->heads * spec->head_dim;
    const aleat_name norm = aleat_nn_name(graph, "%s.%s", prefix, spec->names->norm);
    const aleat_name out = aleat_nn_name(graph, "%s.%s", prefix, spec->names->out);

    aleat_value h = x;
    if (spec->groups)
        h = aleat_nn_groupnorm(graph, h, norm.text, spec->groups, spec->eps, ALEAT_ACT_NONE);
    const projection proj = qkv_projection(graph, prefix, c, spec);
    const aleat_value qkv = aleat_op_linear(graph, h, proj.weight, proj.bias);
    const aleat_value q = aleat_op_slice(graph, qkv, 0, inner);
    const aleat_value k = aleat_op_slice(graph, qkv, inner, inner);
    const aleat_value v = aleat_op_slice(graph, qkv, 2 * inner, inner);
    h = aleat_op_attention(graph, q, k, v, spec->heads, 0);

    const aleat_shape shape = aleat_nn_linear_shape(spec->names->weight_rank, c, inner);
    const aleat_param weight = aleat_nn_weight(graph, out.text, &shape);
    h = aleat_op_linear(graph, h, weight, aleat_nn_bias(graph, out.text, c));
    return divide(graph, aleat_op_add(graph, x, h), spec->output_scale);
}

aleat_value aleat_nn_downsample(aleat_graph *graph, aleat_value x, const char *prefix,
                                int64_t c_out, int64_t padding)
{
    const aleat_conv_spec spec = {
        .kernel_h = 3,
        .kernel_w = 3,
        .stride = 2,
        .pad_top = padding,
        .pad_left = padding,
        .pad_bottom = padding ? padding : 1,
        .pad_right = padding ? padding : 1,
    };
    return aleat_nn_conv(graph, x, prefix, c_out, spec);
}

aleat_value aleat_nn_upsample(aleat_graph *graph, aleat_value x, const char *prefix, int64_t c_out)
{
    return aleat_nn_conv(graph, aleat_op_upsample2(graph, x), prefix, c_out, aleat_conv_same(3));
}
