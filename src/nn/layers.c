#include "nn/layers.h"

#include <stdarg.h>
#include <stdio.h>

aleat_name aleat_nn_name(aleat_graph *graph, const char *fmt, ...)
{
    aleat_name name;
    va_list args;
    va_start(args, fmt);
    const int len = vsnprintf(name.text, sizeof name.text, fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof name.text)
        aleat_graph_fail(graph, ALEAT_ERR_UNSUPPORTED, "tensor name longer than %zu bytes: '%s...'",
                         sizeof name.text - 1, name.text);
    return name;
}

aleat_param aleat_nn_weight(aleat_graph *graph, const char *prefix, const aleat_shape *shape)
{
    const aleat_name name = aleat_nn_name(graph, "%s.weight", prefix);
    return aleat_graph_param(graph, name.text, shape);
}

aleat_param aleat_nn_bias(aleat_graph *graph, const char *prefix, int64_t c)
{
    const aleat_name name = aleat_nn_name(graph, "%s.bias", prefix);
    const aleat_shape shape = aleat_shape_of(1, c);
    return aleat_graph_param(graph, name.text, &shape);
}

aleat_shape aleat_nn_linear_shape(int rank, int64_t c_out, int64_t c_in)
{
    aleat_shape shape = aleat_shape_of(4, c_out, c_in, (int64_t)1, (int64_t)1);
    shape.n_dims = rank;
    return shape;
}

aleat_value aleat_nn_conv(aleat_graph *graph, aleat_value x, const char *prefix, int64_t c_out,
                          aleat_conv_spec spec)
{
    const aleat_shape shape =
        aleat_shape_of(4, c_out, aleat_graph_dims(graph, x).c, spec.kernel_h, spec.kernel_w);
    const aleat_param weight = aleat_nn_weight(graph, prefix, &shape);
    return aleat_op_conv2d(graph, x, weight, aleat_nn_bias(graph, prefix, c_out), spec);
}

static aleat_param statistic(aleat_graph *graph, const char *prefix, const char *what, int64_t c)
{
    const aleat_name name = aleat_nn_name(graph, "%s.%s", prefix, what);
    const aleat_shape shape = aleat_shape_of(1, c);
    return aleat_graph_param(graph, name.text, &shape);
}

aleat_value aleat_nn_conv_batchnorm(aleat_graph *graph, aleat_value x, const char *conv,
                                    const char *norm, int64_t c_out, aleat_conv_spec spec,
                                    double eps)
{
    const aleat_shape shape =
        aleat_shape_of(4, c_out, aleat_graph_dims(graph, x).c, spec.kernel_h, spec.kernel_w);
    const aleat_batchnorm bn = {.gamma = statistic(graph, norm, "weight", c_out),
                                .beta = statistic(graph, norm, "bias", c_out),
                                .mean = statistic(graph, norm, "running_mean", c_out),
                                .var = statistic(graph, norm, "running_var", c_out),
                                .eps = eps};
    const aleat_param weight =
        aleat_graph_param_fold_weight(graph, aleat_nn_weight(graph, conv, &shape), &bn);
    return aleat_op_conv2d(graph, x, weight, aleat_graph_param_fold_bias(graph, &bn), spec);
}

static aleat_value linear(aleat_graph *graph, aleat_value x, const char *prefix, int64_t c_out,
                          aleat_param bias)
{
    const aleat_shape shape = aleat_nn_linear_shape(2, c_out, aleat_graph_dims(graph, x).c);
    return aleat_op_linear(graph, x, aleat_nn_weight(graph, prefix, &shape), bias);
}

aleat_value aleat_nn_linear(aleat_graph *graph, aleat_value x, const char *prefix, int64_t c_out)
{
    return linear(graph, x, prefix, c_out, aleat_nn_bias(graph, prefix, c_out));
}

aleat_value aleat_nn_linear_unbiased(aleat_graph *graph, aleat_value x, const char *prefix,
                                     int64_t c_out)
{
    return linear(graph, x, prefix, c_out, ALEAT_NO_PARAM);
}

aleat_value aleat_nn_linear_stack(aleat_graph *graph, aleat_value x, const char *prefix,
                                  const char *const *names, const int64_t *rows, int count,
                                  bool biased)
{
    aleat_param weights[4], biases[4];
    for (int i = 0; i < count; i++) {
        const aleat_name name = aleat_nn_name(graph, "%s.%s", prefix, names[i]);
        const aleat_shape shape = aleat_nn_linear_shape(2, rows[i], aleat_graph_dims(graph, x).c);
        weights[i] = aleat_nn_weight(graph, name.text, &shape);
        biases[i] = biased ? aleat_nn_bias(graph, name.text, rows[i]) : ALEAT_NO_PARAM;
    }
    return aleat_op_linear(graph, x, aleat_graph_param_stack(graph, weights, count),
                           biased ? aleat_graph_param_stack(graph, biases, count) : ALEAT_NO_PARAM);
}

aleat_value aleat_nn_mlp(aleat_graph *graph, aleat_value x, const char *first, const char *second,
                         int64_t c_hidden, int64_t c_out, aleat_activation act)
{
    const aleat_value hidden = aleat_nn_linear(graph, x, first, c_hidden);
    return aleat_nn_linear(graph, aleat_op_activation(graph, hidden, act), second, c_out);
}

aleat_value aleat_nn_groupnorm(aleat_graph *graph, aleat_value x, const char *prefix,
                               int64_t groups, double eps, aleat_activation act)
{
    const int64_t c = aleat_graph_dims(graph, x).c;
    const aleat_shape shape = aleat_shape_of(1, c);
    const aleat_param gamma = aleat_nn_weight(graph, prefix, &shape);
    return aleat_op_groupnorm(graph, x, gamma, aleat_nn_bias(graph, prefix, c), groups, eps, act);
}

aleat_value aleat_nn_layernorm(aleat_graph *graph, aleat_value x, const char *prefix, double eps)
{
    const int64_t c = aleat_graph_dims(graph, x).c;
    const aleat_shape shape = aleat_shape_of(1, c);
    const aleat_param gamma = aleat_nn_weight(graph, prefix, &shape);
    return aleat_op_layernorm(graph, x, gamma, aleat_nn_bias(graph, prefix, c), eps);
}
