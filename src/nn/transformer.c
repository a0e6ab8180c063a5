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

/* ---- transformers over the pixels of an image, conditioned on a text --------------------------
 */

static aleat_value attend(aleat_graph *graph, aleat_value q, aleat_value k, aleat_value v,
                          const char *prefix, int64_t heads)
{
    const aleat_name out = aleat_nn_name(graph, "%s.to_out.0", prefix);
    const int64_t c = aleat_graph_dims(graph, q).c;
    return aleat_nn_linear(graph, aleat_op_attention(graph, q, k, v, heads, 0), out.text, c);
}

static aleat_value self_attention(aleat_graph *graph, aleat_value x, const char *prefix,
                                  int64_t heads)
{
    static const char *const names[] = {"to_q", "to_k", "to_v"};
    const int64_t c = aleat_graph_dims(graph, x).c;
    const aleat_value qkv =
        aleat_nn_linear_stack(graph, x, prefix, names, (const int64_t[]){c, c, c}, 3, false);
    return attend(graph, aleat_op_slice(graph, qkv, 0, c), aleat_op_slice(graph, qkv, c, c),
                  aleat_op_slice(graph, qkv, 2 * c, c), prefix, heads);
}

static aleat_value cross_attention(aleat_graph *graph, aleat_value x, aleat_value context,
                                   const char *prefix, int64_t heads)
{
    static const char *const names[] = {"to_k", "to_v"};
    const aleat_name to_q = aleat_nn_name(graph, "%s.to_q", prefix);
    const int64_t c = aleat_graph_dims(graph, x).c;
    const aleat_value q = aleat_nn_linear_unbiased(graph, x, to_q.text, c);
    const aleat_value kv =
        aleat_nn_linear_stack(graph, context, prefix, names, (const int64_t[]){c, c}, 2, false);
    return attend(graph, q, aleat_op_slice(graph, kv, 0, c), aleat_op_slice(graph, kv, c, c),
                  prefix, heads);
}

/** The gated unit of Shazeer 2020 (GLU variants improve transformer), GEGLU. */
static aleat_value gated_mlp(aleat_graph *graph, aleat_value x, const char *prefix)
{
    const int64_t c = aleat_graph_dims(graph, x).c, hidden = 4 * c;
    const aleat_name in = aleat_nn_name(graph, "%s.net.0.proj", prefix);
    const aleat_name out = aleat_nn_name(graph, "%s.net.2", prefix);
    const aleat_value both = aleat_nn_linear(graph, x, in.text, 2 * hidden);
    const aleat_value gate =
        aleat_op_activation(graph, aleat_op_slice(graph, both, hidden, hidden), ALEAT_ACT_GELU);
    const aleat_value h = aleat_op_multiply(graph, aleat_op_slice(graph, both, 0, hidden), gate);
    return aleat_nn_linear(graph, h, out.text, c);
}

static aleat_value text_block(aleat_graph *graph, aleat_value x, aleat_value context,
                              const char *prefix, int64_t heads)
{
    aleat_name part[6];
    static const char *const parts[] = {"norm1", "attn1", "norm2", "attn2", "norm3", "ff"};
    for (int i = 0; i < 6; i++)
        part[i] = aleat_nn_name(graph, "%s.%s", prefix, parts[i]);
    aleat_value h = aleat_nn_layernorm(graph, x, part[0].text, 1e-5);
    x = aleat_op_add(graph, x, self_attention(graph, h, part[1].text, heads));
    h = aleat_nn_layernorm(graph, x, part[2].text, 1e-5);
    x = aleat_op_add(graph, x, cross_attention(graph, h, context, part[3].text, heads));
    h = aleat_nn_layernorm(graph, x, part[4].text, 1e-5);
    return aleat_op_add(graph, x, gated_mlp(graph, h, part[5].text));
}

static aleat_value pixel_projection(aleat_graph *graph, aleat_value x, const char *prefix,
                                    const char *name, int rank)
{
    const int64_t c = aleat_graph_dims(graph, x).c;
    const aleat_name proj = aleat_nn_name(graph, "%s.%s", prefix, name);
    const aleat_shape shape = aleat_nn_linear_shape(rank, c, c);
    return aleat_op_linear(graph, x, aleat_nn_weight(graph, proj.text, &shape),
                           aleat_nn_bias(graph, proj.text, c));
}

aleat_value aleat_nn_transformer2d(aleat_graph *graph, aleat_value x, aleat_value context,
                                   const char *prefix, const aleat_transformer2d_spec *spec)
{
    const aleat_name norm = aleat_nn_name(graph, "%s.norm", prefix);
    aleat_value h =
        aleat_nn_groupnorm(graph, x, norm.text, spec->groups, spec->eps, ALEAT_ACT_NONE);
    h = pixel_projection(graph, h, prefix, "proj_in", spec->weight_rank);
    for (int i = 0; i < spec->depth; i++) {
        const aleat_name block = aleat_nn_name(graph, "%s.transformer_blocks.%d", prefix, i);
        h = text_block(graph, h, context, block.text, spec->heads);
    }
    return aleat_op_add(graph, x,
                        pixel_projection(graph, h, prefix, "proj_out", spec->weight_rank));
}
