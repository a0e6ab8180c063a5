/*
 * CLIP's text encoder: a causal transformer with learned positions. transformers' names
 * (CLIPTextModel, CLIPTextModelWithProjection) and OpenCLIP's. Source: Radford et al. 2021 (arXiv
 * 2103.00020), section 2.4.
 */
#include <string.h>

#include "base/error.h"
#include "models/families.h"
#include "models/text_family.h"
#include "nn/layers.h"

enum { TRANSFORMERS, OPENCLIP };

/** How a layout calls its parts, after the place's root and body. */
typedef struct clip_names {
    const char *token, *position; // whole names
    const char *layer;            // followed by .<number>
    const char *norm1, *norm2, *out, *fc1, *fc2;
    const char *final_norm, *projection;
} clip_names;

static const clip_names layouts[] = {
    [TRANSFORMERS] = {.token = "embeddings.token_embedding.weight",
                      .position = "embeddings.position_embedding.weight",
                      .layer = "encoder.layers",
                      .norm1 = "layer_norm1",
                      .norm2 = "layer_norm2",
                      .out = "self_attn.out_proj",
                      .fc1 = "mlp.fc1",
                      .fc2 = "mlp.fc2",
                      .final_norm = "final_layer_norm",
                      .projection = "text_projection.weight"},
    [OPENCLIP] = {.token = "token_embedding.weight",
                  .position = "positional_embedding",
                  .layer = "transformer.resblocks",
                  .norm1 = "ln_1",
                  .norm2 = "ln_2",
                  .out = "attn.out_proj",
                  .fc1 = "mlp.c_fc",
                  .fc2 = "mlp.c_proj",
                  .final_norm = "ln_final",
                  .projection = "text_projection"},
};

static const clip_names *names_of(const aleat_text_source *source)
{
    return &layouts[source->place.layout];
}

static bool is_at(aleat_weights *weights, const aleat_text_place *place)
{
    const clip_names *names = &layouts[place->layout];
    return aleat_inspect_has(weights, "%s%s%s", place->root, place->body, names->token) &&
           aleat_inspect_has(weights, "%s%s%s.0.%s.weight", place->root, place->body, names->layer,
                             names->norm1);
}

/* ---- configuration --------------------------------------------------------------------------- */

/** Heads of 64 channels, as in every published encoder. Narrower ones are models made for tests,
 * for which diffusers and transformers take heads of 8. */
static int64_t usual_heads(int64_t width)
{
    return width % 64 == 0 ? width / 64 : width / 8;
}

/** OpenAI's encoder has the fast approximation of GELU; OpenCLIP's, which are wider, have GELU. */
static aleat_activation usual_activation(const aleat_text_source *source)
{
    const bool openclip =
        source->place.layout == OPENCLIP || source->is_openclip || source->config.width > 768;
    return openclip ? ALEAT_ACT_GELU : ALEAT_ACT_QUICK_GELU;
}

/** Sizes that the tensors say. */
static void measure(aleat_text_source *source)
{
    const clip_names *names = names_of(source);
    const char *root = source->place.root, *body = source->place.body;
    aleat_text_config *c = &source->config;
    c->vocab = aleat_inspect_dim(source->weights, 0, "%s%s%s", root, body, names->token);
    c->width = aleat_inspect_dim(source->weights, 1, "%s%s%s", root, body, names->token);
    c->positions = aleat_inspect_dim(source->weights, 0, "%s%s%s", root, body, names->position);
    c->hidden = aleat_inspect_dim(source->weights, 0, "%s%s%s.0.%s.weight", root, body,
                                  names->layer, names->fc1);
    while (aleat_inspect_has(source->weights, "%s%s%s.%lld.%s.weight", root, body, names->layer,
                             (long long)c->layers, names->norm1))
        c->layers++;
}

static const aleat_weight *projection(const aleat_text_source *source, bool *turned)
{
    const clip_names *names = names_of(source);
    const bool openclip = source->place.layout == OPENCLIP;
    char name[ALEAT_NAME_SIZE];
    (void)snprintf(name, sizeof name, "%s%s%s", source->place.root,
                   openclip ? source->place.body : "", names->projection);
    *turned = openclip;
    return aleat_weights_find(source->weights, name);
}

static aleat_status check_projection(aleat_text_source *source, aleat_error *err)
{
    bool turned;
    const aleat_weight *weight = projection(source, &turned);
    source->config.pooled = source->config.width;
    if (!weight)
        return ALEAT_OK;
    char text[64];
    if (weight->shape.n_dims != 2 || weight->shape.dim[!turned] != source->config.width ||
        weight->shape.dim[turned] < 1)
        return aleat_fail(err, ALEAT_ERR_SHAPE, "%s: tensor '%s' is %s for a width of %lld",
                          aleat_weights_path(source->weights), weight->name,
                          aleat_shape_text(&weight->shape, text, sizeof text),
                          (long long)source->config.width);
    source->config.pooled = weight->shape.dim[turned];
    return ALEAT_OK;
}

static aleat_status read_config(aleat_text_source *source, const aleat_json *json, aleat_error *err)
{
    aleat_text_config *c = &source->config;
    int64_t eos = 49407; // of the constructor of CLIPTextConfig
    aleat_status st = aleat_json_int(json, "num_attention_heads", &c->heads, err);
    if (!st)
        st = aleat_json_int(json, "num_hidden_layers", &c->layers, err);
    if (!st)
        st = aleat_json_double(json, "layer_norm_eps", &c->eps, err);
    if (!st)
        st = aleat_text_activation(json, "hidden_act", &c->act, err);
    if (!st)
        st = aleat_json_int(json, "eos_token_id", &eos, err);
    // 2 was written by mistake into every configuration before 2023: then the highest number is
    // meant.
    c->eos = eos == 2 || eos < 0 || eos > INT32_MAX ? -1 : (int32_t)eos;
    return st;
}

static aleat_status configure(aleat_text_source *source, const aleat_json *json, int64_t heads,
                              aleat_error *err)
{
    aleat_text_config *c = &source->config;
    *c = (aleat_text_config){.eps = 1e-5, .eos = -1};
    measure(source);
    c->inner = c->width;
    c->act = usual_activation(source);
    c->heads = heads ? heads : usual_heads(c->width);
    aleat_status st = json->root ? read_config(source, json, err) : ALEAT_OK;
    if (st)
        return st;
    if (c->width < 1 || c->positions < 1 || c->hidden < 1 || c->layers < 1 || c->heads < 1 ||
        c->width % c->heads)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s: a CLIP text encoder of %lld layers, %lld channels, %lld heads, %lld "
                          "positions",
                          aleat_weights_path(source->weights), (long long)c->layers,
                          (long long)c->width, (long long)c->heads, (long long)c->positions);
    return check_projection(source, err);
}

/* ---- parts ----------------------------------------------------------------------------------- */

/** "<root><body><name>" */
static aleat_name full_name(aleat_graph *graph, const aleat_text_source *source, const char *name)
{
    return aleat_nn_name(graph, "%s%s%s", source->place.root, source->place.body, name);
}

static aleat_value embed(aleat_graph *graph, const aleat_text_source *source, aleat_value ids)
{
    const aleat_text_config *c = &source->config;
    const int64_t tokens = aleat_graph_dims(graph, ids).h;
    const aleat_name token = full_name(graph, source, names_of(source)->token);
    const aleat_name position = full_name(graph, source, names_of(source)->position);
    const aleat_shape of_tokens = aleat_shape_of(2, c->vocab, c->width);
    const aleat_shape of_positions = aleat_shape_of(2, c->positions, c->width);
    int32_t rows[1024];
    if (tokens > c->positions || tokens > (int64_t)(sizeof rows / sizeof *rows))
        return aleat_graph_fail(graph, ALEAT_ERR_ARGUMENT,
                                "%lld tokens for a text encoder that has %lld positions",
                                (long long)tokens, (long long)c->positions);
    for (int64_t i = 0; i < tokens; i++)
        rows[i] = (int32_t)i;
    const aleat_param table = aleat_graph_param(graph, token.text, &of_tokens);
    const aleat_param places = aleat_graph_param(graph, position.text, &of_positions);
    return aleat_op_add(
        graph, aleat_op_embedding(graph, ids, table),
        aleat_graph_constant(graph, aleat_graph_param_rows(graph, places, rows, tokens)));
}

/** q, k and v as one projection [3 width], stored as three or as one. */
static aleat_value queries_keys_values(aleat_graph *graph, const aleat_text_source *source,
                                       const char *layer, aleat_value x)
{
    static const char *const parts[] = {"q_proj", "k_proj", "v_proj"};
    const int64_t c = source->config.width;
    if (source->place.layout == OPENCLIP) {
        const aleat_shape of_weight = aleat_shape_of(2, 3 * c, c),
                          of_bias = aleat_shape_of(1, 3 * c);
        const aleat_name w = aleat_nn_name(graph, "%s.attn.in_proj_weight", layer);
        const aleat_name b = aleat_nn_name(graph, "%s.attn.in_proj_bias", layer);
        return aleat_op_linear(graph, x, aleat_graph_param(graph, w.text, &of_weight),
                               aleat_graph_param(graph, b.text, &of_bias));
    }
    const aleat_name prefix = aleat_nn_name(graph, "%s.self_attn", layer);
    return aleat_nn_linear_stack(graph, x, prefix.text, parts, (const int64_t[]){c, c, c}, 3, true);
}

/** x = x + out(attention(norm1 x)); x = x + fc2(act(fc1(norm2 x))). */
static aleat_value block(aleat_graph *graph, const aleat_text_source *source, int64_t number,
                         aleat_value x)
{
    const aleat_text_config *c = &source->config;
    const clip_names *names = names_of(source);
    const aleat_name layer = aleat_nn_name(graph, "%s%s%s.%lld", source->place.root,
                                           source->place.body, names->layer, (long long)number);
    const aleat_name norm1 = aleat_nn_name(graph, "%s.%s", layer.text, names->norm1);
    const aleat_name norm2 = aleat_nn_name(graph, "%s.%s", layer.text, names->norm2);
    const aleat_name out = aleat_nn_name(graph, "%s.%s", layer.text, names->out);
    const aleat_name fc1 = aleat_nn_name(graph, "%s.%s", layer.text, names->fc1);
    const aleat_name fc2 = aleat_nn_name(graph, "%s.%s", layer.text, names->fc2);
    const aleat_attention_mask causal = {.causal = true, .bias = ALEAT_NO_PARAM};

    const aleat_value h = queries_keys_values(graph, source, layer.text,
                                              aleat_nn_layernorm(graph, x, norm1.text, c->eps));
    const aleat_value q = aleat_op_slice(graph, h, 0, c->width);
    const aleat_value k = aleat_op_slice(graph, h, c->width, c->width);
    const aleat_value v = aleat_op_slice(graph, h, 2 * c->width, c->width);
    const aleat_value y = aleat_op_attention_masked(graph, q, k, v, c->heads, 0, causal);
    x = aleat_op_add(graph, x, aleat_nn_linear(graph, y, out.text, c->width));
    const aleat_value z = aleat_nn_layernorm(graph, x, norm2.text, c->eps);
    return aleat_op_add(graph, x,
                        aleat_nn_mlp(graph, z, fc1.text, fc2.text, c->hidden, c->width, c->act));
}

static aleat_value norm(aleat_graph *graph, const aleat_text_source *source, aleat_value x)
{
    const aleat_name name = full_name(graph, source, names_of(source)->final_norm);
    return aleat_nn_layernorm(graph, x, name.text, source->config.eps);
}

const aleat_text_family aleat_text_family_clip = {
    .name = "clip",
    .tokenizer = ALEAT_TOKENIZER_CLIP,
    .is_at = is_at,
    .configure = configure,
    .embed = embed,
    .block = block,
    .norm = norm,
    .projection = projection,
};
