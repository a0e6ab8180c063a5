#include "nn/transformer.h"

static aleat_value attention(aleat_graph *graph, aleat_value x, const char *prefix, int64_t heads)
{
    const int64_t c = aleat_graph_dims(graph, x).c;
    const aleat_name qkv = aleat_nn_name(graph, "%s.attn.qkv", prefix);
    const aleat_name bias = aleat_nn_name(graph, "%s.bias", qkv.text);
    const aleat_name proj = aleat_nn_name(graph, "%s.attn.proj", prefix);

    const aleat_value h = aleat_graph_has(graph, bias.text)
                              ? aleat_nn_linear(graph, x, qkv.text, 3 * c)
                              : aleat_nn_linear_unbiased(graph, x, qkv.text, 3 * c);
    const aleat_value q = aleat_op_slice(graph, h, 0, c);
    const aleat_value k = aleat_op_slice(graph, h, c, c);
    const aleat_value v = aleat_op_slice(graph, h, 2 * c, c);
    return aleat_nn_linear(graph, aleat_op_attention(graph, q, k, v, heads, 0), proj.text, c);
}

aleat_value aleat_nn_vit_block(aleat_graph *graph, aleat_value x, aleat_value skip,
                               const char *prefix, const aleat_vit_spec *spec)
{
    const int64_t c = aleat_graph_dims(graph, x).c;
    const aleat_name norm1 = aleat_nn_name(graph, "%s.norm1", prefix);
    const aleat_name norm2 = aleat_nn_name(graph, "%s.norm2", prefix);
    const aleat_name fc1 = aleat_nn_name(graph, "%s.mlp.fc1", prefix);
    const aleat_name fc2 = aleat_nn_name(graph, "%s.mlp.fc2", prefix);

    if (skip != ALEAT_NO_VALUE) {
        const aleat_name merge = aleat_nn_name(graph, "%s.skip_linear", prefix);
        x = aleat_nn_linear(graph, aleat_op_concat(graph, x, skip), merge.text, c);
    }
    aleat_value h = aleat_nn_layernorm(graph, x, norm1.text, spec->eps);
    x = aleat_op_add(graph, x, attention(graph, h, prefix, spec->heads));
    h = aleat_nn_layernorm(graph, x, norm2.text, spec->eps);
    h = aleat_nn_mlp(graph, h, fc1.text, fc2.text, spec->hidden, c, ALEAT_ACT_GELU);
    return aleat_op_add(graph, x, h);
}
