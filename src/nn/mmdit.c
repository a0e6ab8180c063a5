#include "nn/mmdit.h"

#include "base/alloc.h"

#define SINUSOIDS 256 // channels of the sinusoids that numbers are embedded by

/* ---- modulation ------------------------------------------------------------------------------ */

/** A layer whose outputs are groups of chunks of c channels, chunk i of each taken from order[i].
 */
static aleat_value reordered_linear(aleat_graph *graph, aleat_value vector, const char *name,
                                    int64_t c, int groups, int chunks, const int *order)
{
    const int64_t rows = groups * chunks * c;
    const aleat_shape shape = aleat_nn_linear_shape(2, rows, aleat_graph_dims(graph, vector).c);
    const aleat_param weight = aleat_nn_weight(graph, name, &shape);
    const aleat_param bias = aleat_nn_bias(graph, name, rows);
    if (weight == ALEAT_NO_PARAM || bias == ALEAT_NO_PARAM)
        return ALEAT_NO_VALUE; // the graph has failed
    int32_t *from = aleat_calloc((size_t)rows, sizeof *from);
    if (!from)
        return aleat_graph_fail(graph, ALEAT_ERR_MEMORY, "out of memory: a modulation's rows");
    for (int64_t i = 0; i < rows; i++) {
        const int64_t chunk = i / c;
        from[i] = (int32_t)((chunk / chunks * chunks + order[chunk % chunks]) * c + i % c);
    }
    const aleat_value y =
        aleat_op_linear(graph, vector, aleat_graph_param_rows(graph, weight, from, rows),
                        aleat_graph_param_rows(graph, bias, from, rows));
    aleat_free(from);
    return y;
}

aleat_value aleat_nn_modulation(aleat_graph *graph, aleat_value vector, const char *name, int64_t c,
                                int groups)
{
    static const int order[] = {1, 0, 2};
    return reordered_linear(graph, vector, name, c, groups, 3, order);
}

static aleat_value modulate(aleat_graph *graph, aleat_value x, aleat_value scale_shift, double eps)
{
    const aleat_value h = aleat_op_layernorm(graph, x, ALEAT_NO_PARAM, ALEAT_NO_PARAM, eps);
    return aleat_op_scale_shift(graph, h, scale_shift, ALEAT_ACT_NONE);
}

aleat_value aleat_nn_modulated_norm(aleat_graph *graph, aleat_value x, aleat_value vector,
                                    const char *modulation, bool scale_first, double eps)
{
    static const int swap[] = {1, 0};
    const int64_t c = aleat_graph_dims(graph, x).c;
    const aleat_value scale_shift =
        scale_first ? aleat_nn_linear(graph, vector, modulation, 2 * c)
                    : reordered_linear(graph, vector, modulation, c, 1, 2, swap);
    return modulate(graph, x, scale_shift, eps);
}

/* ---- attention ------------------------------------------------------------------------------- */

static aleat_value norm_heads(aleat_graph *graph, aleat_value x, const char *name, int64_t heads,
                              double eps)
{
    const aleat_shape shape = aleat_shape_of(1, aleat_graph_dims(graph, x).c / heads);
    return aleat_op_rmsnorm_heads(graph, x, aleat_graph_param(graph, name, &shape), heads, eps);
}

aleat_qkv aleat_nn_norm_heads(aleat_graph *graph, aleat_qkv qkv, const char *norm_q,
                              const char *norm_k, int64_t heads, double eps)
{
    qkv.q = norm_heads(graph, qkv.q, norm_q, heads, eps);
    qkv.k = norm_heads(graph, qkv.k, norm_k, heads, eps);
    return qkv;
}

aleat_value aleat_nn_rotary_attention(aleat_graph *graph, aleat_qkv qkv, aleat_value angles,
                                      int64_t heads)
{
    if (angles != ALEAT_NO_VALUE) {
        qkv.q = aleat_op_rope(graph, qkv.q, angles);
        qkv.k = aleat_op_rope(graph, qkv.k, angles);
    }
    return aleat_op_attention(graph, qkv.q, qkv.k, qkv.v, heads, 0);
}

/** [q | k | v] of a stream, which files have as one layer or as three. */
static aleat_value project(aleat_graph *graph, aleat_value x, const char *prefix,
                           const aleat_attention_parts *names)
{
    const int64_t c = aleat_graph_dims(graph, x).c;
    const int parts = names->qkv[1] ? 3 : 1;
    const int64_t rows[] = {3 / parts * c, c, c};
    return aleat_nn_linear_stack(graph, x, prefix, names->qkv, rows, parts, true);
}

static aleat_qkv thirds(aleat_graph *graph, aleat_value qkv)
{
    const int64_t c = aleat_graph_dims(graph, qkv).c / 3;
    return (aleat_qkv){aleat_op_slice(graph, qkv, 0, c), aleat_op_slice(graph, qkv, c, c),
                       aleat_op_slice(graph, qkv, 2 * c, c)};
}

static aleat_qkv normed_thirds(aleat_graph *graph, aleat_value projected, const char *prefix,
                               const aleat_attention_parts *names, const aleat_mmdit_spec *spec)
{
    const aleat_name q = aleat_nn_name(graph, "%s.%s", prefix, names->norm_q);
    const aleat_name k = aleat_nn_name(graph, "%s.%s", prefix, names->norm_k);
    return aleat_nn_norm_heads(graph, thirds(graph, projected), q.text, k.text, spec->heads,
                               spec->eps);
}

static aleat_value join(aleat_graph *graph, aleat_value image, aleat_value text,
                        const aleat_mmdit_spec *spec)
{
    return spec->text_first ? aleat_op_concat_tokens(graph, text, image)
                            : aleat_op_concat_tokens(graph, image, text);
}

/** Of all tokens. Without norms the projections are joined as they are, in one copy. */
static aleat_value joint_attention(aleat_graph *graph, aleat_value image, aleat_value text,
                                   const char *prefix, const aleat_mmdit_spec *spec)
{
    const aleat_attention_parts *i = &spec->image->attention, *t = &spec->text->attention;
    const aleat_value a = project(graph, image, prefix, i), b = project(graph, text, prefix, t);
    aleat_qkv all;
    if (spec->qk_norm) {
        const aleat_qkv x = normed_thirds(graph, a, prefix, i, spec);
        const aleat_qkv y = normed_thirds(graph, b, prefix, t, spec);
        all = (aleat_qkv){join(graph, x.q, y.q, spec), join(graph, x.k, y.k, spec),
                          join(graph, x.v, y.v, spec)};
    } else {
        all = thirds(graph, join(graph, a, b, spec));
    }
    return aleat_nn_rotary_attention(graph, all, spec->angles, spec->heads);
}

static aleat_value self_attention(aleat_graph *graph, aleat_value x, const char *prefix,
                                  const aleat_mmdit_spec *spec)
{
    const aleat_attention_parts *names = &spec->image->second;
    const aleat_value projected = project(graph, x, prefix, names);
    const aleat_qkv qkv = spec->qk_norm ? normed_thirds(graph, projected, prefix, names, spec)
                                        : thirds(graph, projected);
    return aleat_nn_rotary_attention(graph, qkv, ALEAT_NO_VALUE, spec->heads);
}

/* ---- the block ------------------------------------------------------------------------------- */

/** x + gate out(h). */
static aleat_value add_gated(aleat_graph *graph, aleat_value x, aleat_value h, aleat_value gate,
                             const char *prefix, const char *out)
{
    const aleat_name name = aleat_nn_name(graph, "%s.%s", prefix, out);
    const int64_t c = aleat_graph_dims(graph, x).c;
    return aleat_op_add(graph, x,
                        aleat_op_multiply(graph, aleat_nn_linear(graph, h, name.text, c), gate));
}

/** The three parts of group i of a modulation. */
static aleat_value scale_shift_of(aleat_graph *graph, aleat_value modulation, int i, int64_t c)
{
    return aleat_op_slice(graph, modulation, 3 * i * c, 2 * c);
}
static aleat_value gate_of(aleat_graph *graph, aleat_value modulation, int i, int64_t c)
{
    return aleat_op_slice(graph, modulation, (3 * i + 2) * c, c);
}

/** What follows the attention, whose result for this stream is h. */
static aleat_value finish_stream(aleat_graph *graph, aleat_value x, aleat_value h,
                                 aleat_value modulation, const char *prefix,
                                 const aleat_stream_names *names, const aleat_mmdit_spec *spec,
                                 aleat_value second)
{
    const int64_t c = aleat_graph_dims(graph, x).c;
    const aleat_name fc1 = aleat_nn_name(graph, "%s.%s", prefix, names->fc1);
    x = add_gated(graph, x, h, gate_of(graph, modulation, 0, c), prefix, names->attention.out);
    if (second != ALEAT_NO_VALUE)
        x = add_gated(graph, x, second, gate_of(graph, modulation, 2, c), prefix,
                      names->second.out);
    h = modulate(graph, x, scale_shift_of(graph, modulation, 1, c), spec->eps);
    h = aleat_nn_linear(graph, h, fc1.text, spec->hidden);
    h = aleat_op_activation(graph, h, ALEAT_ACT_GELU_TANH);
    return add_gated(graph, x, h, gate_of(graph, modulation, 1, c), prefix, names->fc2);
}

void aleat_nn_mmdit_block(aleat_graph *graph, aleat_value *image, aleat_value *text,
                          aleat_value vector, const char *prefix, const aleat_mmdit_spec *spec)
{
    const aleat_dims size = aleat_graph_dims(graph, *image);
    const int64_t c = size.c, tokens = aleat_graph_dims(graph, *text).h;
    const aleat_name image_name = aleat_nn_name(graph, "%s.%s", prefix, spec->image->modulation);
    const aleat_name text_name = aleat_nn_name(graph, "%s.%s", prefix, spec->text->modulation);
    const aleat_value of_image =
        aleat_nn_modulation(graph, vector, image_name.text, c, spec->second ? 3 : 2);
    const aleat_value h = modulate(graph, *image, scale_shift_of(graph, of_image, 0, c), spec->eps);
    aleat_value of_text = ALEAT_NO_VALUE, second = ALEAT_NO_VALUE, g;
    if (spec->last) {
        g = aleat_nn_modulated_norm(graph, *text, vector, text_name.text, spec->scale_first,
                                    spec->eps);
    } else {
        of_text = aleat_nn_modulation(graph, vector, text_name.text, c, 2);
        g = modulate(graph, *text, scale_shift_of(graph, of_text, 0, c), spec->eps);
    }
    if (spec->second)
        second = self_attention(
            graph, modulate(graph, *image, scale_shift_of(graph, of_image, 2, c), spec->eps),
            prefix, spec);
    const aleat_value all = joint_attention(graph, h, g, prefix, spec);
    const int64_t pixels = size.h * size.w;
    const aleat_value image_part =
        aleat_op_slice_tokens(graph, all, spec->text_first ? tokens : 0, size.h, size.w);
    *image = finish_stream(graph, *image, image_part, of_image, prefix, spec->image, spec, second);
    if (spec->last) {
        *text = ALEAT_NO_VALUE;
        return;
    }
    const aleat_value text_part =
        aleat_op_slice_tokens(graph, all, spec->text_first ? 0 : pixels, tokens, 1);
    *text =
        finish_stream(graph, *text, text_part, of_text, prefix, spec->text, spec, ALEAT_NO_VALUE);
}

aleat_value aleat_nn_embed_number(aleat_graph *graph, aleat_value number, const char *first,
                                  const char *second, int64_t c, double scale)
{
    const aleat_sinusoid_spec spec = {
        .dim = SINUSOIDS, .max_period = 10000, .cos_first = true, .scale = scale};
    return aleat_nn_mlp(graph, aleat_op_sinusoid(graph, number, spec), first, second, c, c,
                        ALEAT_ACT_SILU);
}
