/*
 * T5's encoder (T5EncoderModel): relative positions, RMS norm, no biases, gated feed-forward parts.
 * Source: Raffel et al. 2020 (arXiv 1910.10683), section 2.1; v1.1: Shazeer 2020 (arXiv
 * 2002.05202).
 */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "models/families.h"
#include "models/text_family.h"
#include "nn/layers.h"

#define ATTENTION "encoder.block.%lld.layer.0.SelfAttention"

static bool is_at(aleat_weights *weights, const aleat_text_place *place)
{
    return aleat_inspect_has(weights, "%s" ATTENTION ".relative_attention_bias.weight", place->root,
                             0LL);
}

/** The table of tokens, under either of its names. */
static const char *table_name(const aleat_text_source *source)
{
    const bool shared = aleat_inspect_has(source->weights, "%sshared.weight", source->place.root);
    return shared ? "shared.weight" : "encoder.embed_tokens.weight";
}

/* ---- configuration --------------------------------------------------------------------------- */

/** Sizes that the tensors say. */
static void measure(aleat_text_source *source)
{
    static const char ff[] = "%sencoder.block.0.layer.1.DenseReluDense.%s.weight";
    const char *root = source->place.root;
    aleat_weights *weights = source->weights;
    aleat_text_config *c = &source->config;
    c->vocab = aleat_inspect_dim(weights, 0, "%s%s", root, table_name(source));
    c->width = aleat_inspect_dim(weights, 1, "%s%s", root, table_name(source));
    c->inner = aleat_inspect_dim(weights, 0, "%s" ATTENTION ".q.weight", root, 0LL);
    c->heads =
        aleat_inspect_dim(weights, 1, "%s" ATTENTION ".relative_attention_bias.weight", root, 0LL);
    c->buckets =
        aleat_inspect_dim(weights, 0, "%s" ATTENTION ".relative_attention_bias.weight", root, 0LL);
    c->gated = aleat_inspect_has(weights, ff, root, "wi_0");
    c->hidden = aleat_inspect_dim(weights, 0, ff, root, c->gated ? "wi_0" : "wi");
    while (aleat_inspect_has(weights, "%s" ATTENTION ".q.weight", root, (long long)c->layers))
        c->layers++;
}

static aleat_status read_config(aleat_text_source *source, const aleat_json *json, aleat_error *err)
{
    aleat_text_config *c = &source->config;
    const char *kind = NULL;
    aleat_status st = aleat_json_int(json, "num_layers", &c->layers, err);
    if (!st)
        st = aleat_json_double(json, "layer_norm_epsilon", &c->eps, err);
    if (!st)
        st = aleat_json_int(json, "relative_attention_max_distance", &c->max_distance, err);
    if (!st)
        st = aleat_json_string(json, "feed_forward_proj", &kind, err);
    if (!st && kind && !c->gated && strstr(kind, "gelu"))
        c->act = ALEAT_ACT_GELU;
    return st ? st : aleat_text_activation(json, "dense_act_fn", &c->act, err);
}

static aleat_status configure(aleat_text_source *source, const aleat_json *json, int64_t heads,
                              aleat_error *err)
{
    (void)heads; // the table of biases says it
    aleat_text_config *c = &source->config;
    *c = (aleat_text_config){.eps = 1e-6, .max_distance = 128, .eos = -1};
    measure(source);
    c->act = c->gated ? ALEAT_ACT_GELU_TANH : ALEAT_ACT_RELU;
    const aleat_status st = json->root ? read_config(source, json, err) : ALEAT_OK;
    if (st)
        return st;
    if (c->width < 1 || c->hidden < 1 || c->layers < 1 || c->heads < 1 || c->inner < 1 ||
        c->inner % c->heads || c->buckets < 4 || c->buckets % 4 ||
        c->max_distance <= c->buckets / 4)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s: a T5 encoder of %lld layers, %lld channels, %lld heads in %lld "
                          "channels, %lld buckets up to distance %lld",
                          aleat_weights_path(source->weights), (long long)c->layers,
                          (long long)c->width, (long long)c->heads, (long long)c->inner,
                          (long long)c->buckets, (long long)c->max_distance);
    return ALEAT_OK;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static aleat_value embed(aleat_graph *graph, const aleat_text_source *source, aleat_value ids)
{
    const aleat_name name = aleat_nn_name(graph, "%s%s", source->place.root, table_name(source));
    const aleat_shape shape = aleat_shape_of(2, source->config.vocab, source->config.width);
    return aleat_op_embedding(graph, ids, aleat_graph_param(graph, name.text, &shape));
}

/** RMS norm with "<prefix>.weight". */
static aleat_value rmsnorm(aleat_graph *graph, aleat_value x, const char *prefix, double eps)
{
    const aleat_shape shape = aleat_shape_of(1, aleat_graph_dims(graph, x).c);
    return aleat_op_rmsnorm(graph, x, aleat_nn_weight(graph, prefix, &shape), eps);
}

/**
 * The row of the table of biases for a key `distance` tokens behind the query: half of the rows for
 * each direction, of these half for single distances, the rest for ever longer ranges. In float
 * where the reference is, since the ranges end where logarithms do.
 */
static int32_t bucket_of(const aleat_text_config *c, int64_t distance)
{
    const int64_t half = c->buckets / 2, exact = half / 2;
    const int64_t away = distance < 0 ? -distance : distance;
    const int64_t first = distance > 0 ? half : 0;
    if (away < exact)
        return (int32_t)(first + away);
    const float range = (float)log((double)c->max_distance / (double)exact);
    const float step = logf((float)away / (float)exact) / range * (float)(half - exact);
    const int64_t bucket = exact + (int64_t)step;
    return (int32_t)(first + (bucket < half ? bucket : half - 1));
}

/** The bias of every head for every distance, [heads, 2 tokens - 1]; layer 0's is all layers'. */
static aleat_param bias(aleat_graph *graph, const aleat_text_source *source, int64_t tokens)
{
    const aleat_text_config *c = &source->config;
    const aleat_shape shape = aleat_shape_of(2, c->buckets, c->heads);
    const aleat_name prefix =
        aleat_nn_name(graph, "%s" ATTENTION ".relative_attention_bias", source->place.root, 0LL);
    const aleat_param table = aleat_nn_weight(graph, prefix.text, &shape);
    const int64_t count = 2 * tokens - 1;
    int32_t *rows = aleat_alloc((size_t)count * sizeof *rows);
    if (!rows)
        return aleat_graph_fail(graph, ALEAT_ERR_MEMORY, "out of memory: relative positions");
    for (int64_t i = 0; i < count; i++)
        rows[i] = bucket_of(c, i - (tokens - 1));
    const aleat_param by_distance = aleat_graph_param_rows(graph, table, rows, count);
    aleat_free(rows);
    return aleat_graph_param_transpose(graph, by_distance);
}

static aleat_value attention(aleat_graph *graph, const aleat_text_source *source, int64_t layer,
                             aleat_value x)
{
    static const char *const parts[] = {"q", "k", "v"};
    const aleat_text_config *c = &source->config;
    const aleat_name prefix =
        aleat_nn_name(graph, "%s" ATTENTION, source->place.root, (long long)layer);
    const aleat_name out = aleat_nn_name(graph, "%s.o", prefix.text);
    const aleat_attention_mask mask = {.bias = bias(graph, source, aleat_graph_dims(graph, x).h)};
    const aleat_value h = aleat_nn_linear_stack(
        graph, x, prefix.text, parts, (const int64_t[]){c->inner, c->inner, c->inner}, 3, false);
    const aleat_value q = aleat_op_slice(graph, h, 0, c->inner);
    const aleat_value k = aleat_op_slice(graph, h, c->inner, c->inner);
    const aleat_value v = aleat_op_slice(graph, h, 2 * c->inner, c->inner);
    // T5 does not scale its scores.
    const aleat_value y = aleat_op_attention_masked(graph, q, k, v, c->heads, 1, mask);
    return aleat_nn_linear_unbiased(graph, y, out.text, c->width);
}

static aleat_value feed_forward(aleat_graph *graph, const aleat_text_source *source, int64_t layer,
                                aleat_value x)
{
    static const char *const gated[] = {"wi_0", "wi_1"}, *const plain[] = {"wi"};
    const aleat_text_config *c = &source->config;
    const aleat_name prefix = aleat_nn_name(graph, "%sencoder.block.%lld.layer.1.DenseReluDense",
                                            source->place.root, (long long)layer);
    const aleat_name out = aleat_nn_name(graph, "%s.wo", prefix.text);
    const aleat_value h =
        aleat_nn_linear_stack(graph, x, prefix.text, c->gated ? gated : plain,
                              (const int64_t[]){c->hidden, c->hidden}, c->gated ? 2 : 1, false);
    aleat_value y =
        aleat_op_activation(graph, c->gated ? aleat_op_slice(graph, h, 0, c->hidden) : h, c->act);
    if (c->gated)
        y = aleat_op_multiply(graph, y, aleat_op_slice(graph, h, c->hidden, c->hidden));
    return aleat_nn_linear_unbiased(graph, y, out.text, c->width);
}

static aleat_value block(aleat_graph *graph, const aleat_text_source *source, int64_t layer,
                         aleat_value x)
{
    const double eps = source->config.eps;
    const aleat_name norm0 = aleat_nn_name(graph, "%sencoder.block.%lld.layer.0.layer_norm",
                                           source->place.root, (long long)layer);
    const aleat_name norm1 = aleat_nn_name(graph, "%sencoder.block.%lld.layer.1.layer_norm",
                                           source->place.root, (long long)layer);
    const aleat_value h = rmsnorm(graph, x, norm0.text, eps);
    x = aleat_op_add(graph, x, attention(graph, source, layer, h));
    const aleat_value z = rmsnorm(graph, x, norm1.text, eps);
    return aleat_op_add(graph, x, feed_forward(graph, source, layer, z));
}

static aleat_value norm(aleat_graph *graph, const aleat_text_source *source, aleat_value x)
{
    const aleat_name name = aleat_nn_name(graph, "%sencoder.final_layer_norm", source->place.root);
    return rmsnorm(graph, x, name.text, source->config.eps);
}

const aleat_text_family aleat_text_family_t5 = {
    .name = "t5",
    .tokenizer = ALEAT_TOKENIZER_T5,
    .is_at = is_at,
    .configure = configure,
    .embed = embed,
    .block = block,
    .norm = norm,
};
