#include "models/text_encoder.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "models/text_family.h"

struct aleat_text_encoder {
    const aleat_text_family *family;
    aleat_text_source source;
    aleat_tokenizer *tokenizer;
    aleat_text_use use;
    aleat_text_encoder_facts facts;
    aleat_engine_options engine;
};

/* ---- where encoders are ---------------------------------------------------------------------- */

enum { CLIP, CLIP_G, T5 };
enum { MOST_ENCODERS = 3 }; // of a model

/** What an encoder is for its model. */
typedef struct known_use {
    const char *name;
    int kind;
    int64_t skip;
    bool normed;
    const char *pad; // NULL: the end of the text
    int64_t tokens;  // 0: as many as the tokenizer says
} known_use;

static const known_use uses[] = {
    [ALEAT_TEXT_AS_FOUND] = {.name = "text encoder", .normed = true},
    [ALEAT_TEXT_CLIP] = {"CLIP text encoder", CLIP, 0, true, NULL, 0},
    [ALEAT_TEXT_T5] = {"T5 text encoder", T5, 0, true, NULL, 0},
    [ALEAT_TEXT_SD3_CLIP_L] = {"CLIP-L text encoder", CLIP, 1, false, NULL, 0},
    [ALEAT_TEXT_SD3_CLIP_G] = {"CLIP-G text encoder", CLIP_G, 1, false, "!", 0},
    [ALEAT_TEXT_SD3_T5] = {"T5 text encoder", T5, 0, true, NULL, 256},
    [ALEAT_TEXT_SD2_CLIP] = {"CLIP text encoder", CLIP, 1, true, "!", 0},
};

/** Encoders in files. */
typedef struct known_place {
    int number;
    aleat_text_use use; // AS_FOUND: an encoder alone
    const aleat_text_family *family;
    aleat_text_place place;
} known_place;

static const known_place places[] = {
    // Stable Diffusion 1.x; early files lack "text_model."
    {1,
     ALEAT_TEXT_CLIP,
     &aleat_text_family_clip,
     {"cond_stage_model.transformer.", "text_model.", 0}},
    {1, ALEAT_TEXT_CLIP, &aleat_text_family_clip, {"cond_stage_model.transformer.", "", 0}},
    // Stable Diffusion 2.x: OpenCLIP-H without its last layer
    {1, ALEAT_TEXT_SD2_CLIP, &aleat_text_family_clip, {"cond_stage_model.model.", "", 1}},
    // Stable Diffusion 3
    {1,
     ALEAT_TEXT_SD3_CLIP_L,
     &aleat_text_family_clip,
     {"text_encoders.clip_l.transformer.", "text_model.", 0}},
    {2,
     ALEAT_TEXT_SD3_CLIP_G,
     &aleat_text_family_clip,
     {"text_encoders.clip_g.transformer.", "text_model.", 0}},
    {3, ALEAT_TEXT_SD3_T5, &aleat_text_family_t5, {"text_encoders.t5xxl.transformer.", "", 0}},
    // alone: clip_l, clip_g, t5xxl
    {1, ALEAT_TEXT_AS_FOUND, &aleat_text_family_clip, {"", "text_model.", 0}},
    {1, ALEAT_TEXT_AS_FOUND, &aleat_text_family_clip, {"", "", 1}},
    {1, ALEAT_TEXT_AS_FOUND, &aleat_text_family_t5, {"", "", 0}},
};

/** Whether what is there may be asked for so. An encoder alone may be any of its family. */
static bool may_be(const known_place *at, int number, aleat_text_use use)
{
    if (use == ALEAT_TEXT_AS_FOUND)
        return !number || at->number == number;
    const bool is_t5 = at->family == &aleat_text_family_t5;
    return at->use == ALEAT_TEXT_AS_FOUND ? is_t5 == (uses[use].kind == T5)
                                          : uses[at->use].kind == uses[use].kind;
}

/** The encoder's place in a file; number 0: any. NULL: not there. */
static const known_place *find_place(aleat_weights *weights, int number, aleat_text_use use)
{
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (may_be(&places[i], number, use) && places[i].family->is_at(weights, &places[i].place))
            return &places[i];
    return NULL;
}

/** How it is used: as is asked, but that Stable Diffusion 2's shows by its names. */
static aleat_text_use use_of(const known_place *at, aleat_text_use wanted)
{
    if (wanted == ALEAT_TEXT_AS_FOUND)
        return at->use;
    const bool is_openclip = at->family == &aleat_text_family_clip && at->place.layout == 1;
    return wanted == ALEAT_TEXT_CLIP && is_openclip ? ALEAT_TEXT_SD2_CLIP : wanted;
}

static char *part_path(const char *folder, const char *part, int number, const char *file)
{
    char suffix[16] = "";
    if (number > 1)
        (void)snprintf(suffix, sizeof suffix, "_%d", number);
    return aleat_asprintf("%s/%s%s%s%s", folder, part, suffix, *file ? "/" : "", file);
}

static bool has_part(const char *folder, int number)
{
    char *path = part_path(folder, "text_encoder", number, "config.json");
    const bool there = path && aleat_is_file(path);
    aleat_free(path);
    return there;
}

unsigned aleat_text_encoders_in(const char *path)
{
    unsigned found = 0;
    aleat_weights *weights = NULL;
    if (!aleat_is_dir(path)) {
        if (aleat_weights_open(&weights, path, NULL))
            return 0;
        for (int number = 1; number <= MOST_ENCODERS; number++)
            found |= (unsigned)(find_place(weights, number, ALEAT_TEXT_AS_FOUND) != NULL)
                     << (number - 1);
        aleat_weights_free(weights);
        return found;
    }
    for (int number = 1; number <= MOST_ENCODERS; number++)
        found |= (unsigned)has_part(path, number) << (number - 1);
    return found;
}

/** Whether `path` is the folder of one encoder. */
static aleat_status is_own_folder(bool *out, const char *path, aleat_error *err)
{
    char *config = aleat_path_join(path, "config.json");
    if (!config)
        return aleat_fail_memory(err, path);
    *out = aleat_is_file(config) && !aleat_text_encoders_in(path);
    aleat_free(config);
    return ALEAT_OK;
}

aleat_status aleat_text_encoder_is_in(bool *out, const char *path, int number, aleat_text_use use,
                                      aleat_error *err)
{
    *out = false;
    if (aleat_is_dir(path)) {
        *out = has_part(path, number);
        return *out ? ALEAT_OK : is_own_folder(out, path, err);
    }
    aleat_weights *weights = NULL;
    const aleat_status st = aleat_weights_open(&weights, path, NULL);
    if (st)
        return st == ALEAT_ERR_MEMORY ? aleat_fail_memory(err, path) : ALEAT_OK;
    *out = find_place(weights, number, use) != NULL;
    aleat_weights_free(weights);
    return ALEAT_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

aleat_status aleat_text_activation(const aleat_json *json, const char *key, aleat_activation *act,
                                   aleat_error *err)
{
    static const struct {
        const char *name;
        aleat_activation act;
    } names[] = {
        {"gelu", ALEAT_ACT_GELU},           {"quick_gelu", ALEAT_ACT_QUICK_GELU},
        {"gelu_new", ALEAT_ACT_GELU_TANH},  {"gelu_pytorch_tanh", ALEAT_ACT_GELU_TANH},
        {"gelu_fast", ALEAT_ACT_GELU_TANH}, {"relu", ALEAT_ACT_RELU},
        {"silu", ALEAT_ACT_SILU},
    };
    const char *name = NULL;
    const aleat_status st = aleat_json_string(json, key, &name, err);
    if (st || !name)
        return st;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i].name, name)) {
            *act = names[i].act;
            return ALEAT_OK;
        }
    return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "%s: '%s' is '%s', which is not supported",
                      json->name, key, name);
}

/** transformers calls the same weights model.safetensors and pytorch_model.bin. */
static aleat_status open_weights(aleat_weights **out, const char *folder, const char *variant,
                                 aleat_error *err)
{
    aleat_status st = aleat_weights_open_folder(out, folder, "model", variant, err);
    if (st == ALEAT_ERR_IO &&
        !aleat_weights_open_folder(out, folder, "pytorch_model", variant, NULL))
        st = ALEAT_OK;
    return st;
}

/** How the pipeline that an encoder's folder belongs to uses it, by its class. */
static aleat_status read_pipeline(aleat_text_encoder *encoder, const char *folder, int number,
                                  aleat_error *err)
{
    static const aleat_text_use of_sd3[MOST_ENCODERS] = {ALEAT_TEXT_SD3_CLIP_L,
                                                         ALEAT_TEXT_SD3_CLIP_G, ALEAT_TEXT_SD3_T5};
    char *path = aleat_path_join(folder, "model_index.json");
    aleat_json json = {0};
    const char *name = NULL;
    aleat_status st = path ? ALEAT_OK : aleat_fail_memory(err, folder);
    if (!st && aleat_is_file(path)) {
        st = aleat_json_load(&json, path, err);
        if (!st)
            st = aleat_json_string(&json, "_class_name", &name, err);
    }
    if (!st && name && !strncmp(name, "StableDiffusion3", 16))
        encoder->use = of_sd3[number - 1];
    aleat_json_clear(&json);
    aleat_free(path);
    return st;
}

/** Builds every part once, so that each tensor is looked for and its shape checked. */
static aleat_status check_parts(const aleat_text_encoder *encoder, aleat_error *err)
{
    const aleat_text_source *source = &encoder->source;
    aleat_graph *graph = aleat_graph_new(source->weights);
    if (!graph)
        return aleat_fail_memory(err, "a text encoder");
    const aleat_value ids = aleat_graph_input(graph, "ids", (aleat_dims){2, 1, 1});
    aleat_value x = encoder->family->embed(graph, source, ids);
    // A configuration may tell of any number: the first layer that is missing ends it.
    for (int64_t i = 0; i < source->config.layers && x != ALEAT_NO_VALUE; i++)
        x = encoder->family->block(graph, source, i, x);
    (void)encoder->family->norm(graph, source, x);
    const aleat_status st = aleat_graph_check(graph, err);
    aleat_graph_free(graph);
    return st;
}

/** Sizes and rules from config.json in `folder` (NULL: none) and the tensors. */
static aleat_status configure(aleat_text_encoder *encoder, const char *folder, int64_t heads,
                              aleat_error *err)
{
    char *path = folder ? aleat_path_join(folder, "config.json") : NULL;
    aleat_json json = {0};
    aleat_status st = path || !folder ? ALEAT_OK : aleat_fail_memory(err, folder);
    if (!st && path && aleat_is_file(path))
        st = aleat_json_load(&json, path, err);
    if (!st)
        st = encoder->family->configure(&encoder->source, &json, heads, err);
    if (!st)
        st = check_parts(encoder, err);
    aleat_json_clear(&json);
    aleat_free(path);
    return st;
}

/** The tokenizer that the user named: a file, a folder, or a pipeline's folder. */
static aleat_status open_named_tokenizer(aleat_text_encoder *encoder, const char *path, int number,
                                         aleat_error *err)
{
    char *part = part_path(path, "tokenizer", number, "");
    if (!part)
        return aleat_fail_memory(err, path);
    const aleat_status st =
        aleat_tokenizer_open(&encoder->tokenizer, aleat_is_dir(part) ? part : path, err);
    aleat_free(part);
    return st;
}

/** The tokenizer beside an encoder's folder (a pipeline), in it, or the built-in one. */
static aleat_status open_tokenizer(aleat_text_encoder *encoder, const char *path, int number,
                                   const char *named, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    if (named)
        return open_named_tokenizer(encoder, named, number, err);
    char *beside = part_path(path, "tokenizer", number, "");
    if (!beside)
        return aleat_fail_memory(err, path);
    if (aleat_is_dir(beside))
        st = aleat_tokenizer_open(&encoder->tokenizer, beside, err);
    else if (aleat_is_dir(path) && !aleat_tokenizer_open(&encoder->tokenizer, path, NULL))
        st = ALEAT_OK;
    else
        st = aleat_tokenizer_bundled(&encoder->tokenizer, encoder->family->tokenizer,
                                     uses[encoder->use].pad, err);
    aleat_free(beside);
    return st;
}

static aleat_status check_tokenizer(const aleat_text_encoder *encoder, aleat_error *err)
{
    const aleat_tokenizer_kind kind = aleat_tokenizer_kind_of(encoder->tokenizer);
    if (kind == encoder->family->tokenizer)
        return ALEAT_OK;
    return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: a %s encoder with the tokenizer of %s",
                      aleat_weights_path(encoder->source.weights), encoder->family->name,
                      aleat_tokenizer_kind_name(kind));
}

static void describe(aleat_text_encoder *encoder)
{
    bool turned;
    const known_use *use = &uses[encoder->use];
    const aleat_text_config *c = &encoder->source.config;
    const bool projected = encoder->family->projection &&
                           encoder->family->projection(&encoder->source, &turned) != NULL;
    const int64_t length = aleat_tokenizer_length(encoder->tokenizer);
    const int64_t most = c->positions && c->positions < length ? c->positions : length;
    encoder->facts = (aleat_text_encoder_facts){.family = encoder->family->name,
                                                .width = c->width,
                                                .pooled = c->pooled,
                                                .layers = c->layers,
                                                .vocab = c->vocab,
                                                .tokens = use->tokens ? use->tokens : most,
                                                .skip = use->skip < c->layers ? use->skip : 0,
                                                .normed = use->normed,
                                                .projected = projected};
}

static aleat_status no_such_encoder(const char *path, int number, aleat_text_use use,
                                    aleat_error *err)
{
    const unsigned there = aleat_text_encoders_in(path);
    if (use != ALEAT_TEXT_AS_FOUND)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: there is no %s", path, uses[use].name);
    (void)aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: there is no text encoder %d", path, number);
    if (there)
        aleat_hint(err, "it has%s%s%s", there & 1 ? " 1" : "", there & 2 ? " 2" : "",
                   there & 4 ? " 3" : "");
    else
        aleat_hint(err, "pass a diffusers folder with text_encoder/, an original Stable Diffusion "
                        "file, or an encoder's own folder or file");
    return ALEAT_ERR_ARGUMENT;
}

aleat_status aleat_text_encoder_open(aleat_text_encoder **out, const char *path, int number,
                                     const aleat_text_encoder_options *options, aleat_error *err)
{
    static const aleat_text_encoder_options no_options;
    *out = NULL;
    options = options ? options : &no_options;
    const bool pipeline = number >= 1 && number <= MOST_ENCODERS && has_part(path, number);
    const bool alone = !pipeline && (number == 1 || options->use) && aleat_is_dir(path) &&
                       !aleat_text_encoders_in(path);
    if (!pipeline && !alone && !aleat_is_file(path))
        return no_such_encoder(path, number, options->use, err);
    char *folder = pipeline ? part_path(path, "text_encoder", number, "") : aleat_strdup(path);
    aleat_text_encoder *encoder = aleat_calloc(1, sizeof *encoder);
    const known_place *at = NULL;
    aleat_status st = folder && encoder ? ALEAT_OK : aleat_fail_memory(err, path);
    if (st)
        goto done;
    encoder->engine =
        (aleat_engine_options){.threads = options->threads, .precision = options->precision};
    st = pipeline || alone ? open_weights(&encoder->source.weights, folder, options->variant, err)
                           : aleat_weights_open(&encoder->source.weights, path, err);
    if (st)
        goto done;
    at = find_place(encoder->source.weights, pipeline ? 0 : number, options->use);
    if (!at) {
        st = no_such_encoder(path, number, options->use, err);
        goto done;
    }
    encoder->family = at->family;
    encoder->source.place = at->place;
    encoder->use = use_of(at, options->use);
    if (pipeline && options->use == ALEAT_TEXT_AS_FOUND)
        st = read_pipeline(encoder, path, number, err);
    encoder->source.is_openclip = encoder->use == ALEAT_TEXT_SD3_CLIP_G;
    if (!st)
        st = configure(encoder, pipeline || alone ? folder : NULL, options->heads, err);
    if (!st)
        st = open_tokenizer(encoder, path, number, options->tokenizer, err);
    if (!st)
        st = check_tokenizer(encoder, err);
    if (st)
        goto done;
    describe(encoder);
    *out = encoder;
    encoder = NULL;
done:
    aleat_text_encoder_free(encoder);
    aleat_free(folder);
    return st;
}

/** By the tensors of a checkpoint, if it is one with a text encoder; *out stays NULL if not. */
static aleat_status tokenizer_of_weights(aleat_tokenizer **out, const char *path, int number,
                                         aleat_error *err)
{
    aleat_weights *weights = NULL;
    if (aleat_weights_open(&weights, path, NULL))
        return ALEAT_OK;
    const known_place *at = find_place(weights, number, ALEAT_TEXT_AS_FOUND);
    aleat_weights_free(weights);
    return at ? aleat_tokenizer_bundled(out, at->family->tokenizer, uses[at->use].pad, err)
              : no_such_encoder(path, number, ALEAT_TEXT_AS_FOUND, err);
}

aleat_status aleat_text_tokenizer_open(aleat_tokenizer **out, const char *path, int number,
                                       aleat_error *err)
{
    *out = NULL;
    aleat_status st = ALEAT_OK;
    if (aleat_is_file(path)) {
        st = tokenizer_of_weights(out, path, number, err);
        return st || *out ? st : aleat_tokenizer_open(out, path, err);
    }
    for (int kind = ALEAT_TOKENIZER_CLIP; kind <= ALEAT_TOKENIZER_T5 && !aleat_is_dir(path); kind++)
        if (!strcmp(path, aleat_tokenizer_kind_name((aleat_tokenizer_kind)kind)))
            return aleat_tokenizer_bundled(out, (aleat_tokenizer_kind)kind, NULL, err);
    char *part = part_path(path, "tokenizer", number, "");
    if (!part)
        return aleat_fail_memory(err, path);
    st = aleat_tokenizer_open(out, aleat_is_dir(part) ? part : path, err);
    aleat_free(part);
    return st;
}

void aleat_text_encoder_free(aleat_text_encoder *encoder)
{
    if (!encoder)
        return;
    aleat_weights_free(encoder->source.weights);
    aleat_tokenizer_free(encoder->tokenizer);
    aleat_free(encoder);
}

aleat_text_encoder_facts aleat_text_encoder_describe(const aleat_text_encoder *encoder)
{
    return encoder->facts;
}

const aleat_tokenizer *aleat_text_encoder_tokenizer(const aleat_text_encoder *encoder)
{
    return encoder->tokenizer;
}

/* ---- running parts --------------------------------------------------------------------------- */

enum { EMBED = -1 };

/** One part of the encoder over all texts: EMBED, a layer's number, or `layers` for the norm. in:
 * [count, tokens, 1 or width], out: [count, tokens, width]; may be the same array. Counts into
 * states->flop. */
static aleat_status run_part(const aleat_text_encoder *encoder, int64_t part,
                             aleat_text_states *states, const float *in, float *out,
                             aleat_error *err)
{
    const int64_t count = states->count, tokens = states->tokens;
    const aleat_text_source *source = &encoder->source;
    const int64_t width = source->config.width, in_width = part == EMBED ? 1 : width;
    aleat_engine *engine = NULL;
    aleat_plan *plan = NULL;
    aleat_graph *graph = aleat_graph_new(source->weights);
    if (!graph)
        return aleat_fail_memory(err, "a text encoder");
    const aleat_value x = aleat_graph_input(graph, "x", (aleat_dims){tokens, 1, in_width});
    const aleat_value y = part == EMBED ? encoder->family->embed(graph, source, x)
                          : part < source->config.layers
                              ? encoder->family->block(graph, source, part, x)
                              : encoder->family->norm(graph, source, x);
    aleat_status st = aleat_graph_check(graph, err);
    if (!st)
        st = aleat_engine_new(&engine, graph, &encoder->engine, err);
    if (!st)
        st = aleat_plan_new(&plan, engine, 1, &y, 1, ALEAT_NO_VALUE, err);
    for (int64_t i = 0; i < count && !st; i++) {
        memcpy(aleat_plan_data(plan, x), in + i * tokens * in_width,
               (size_t)(tokens * in_width) * sizeof *in);
        aleat_plan_run(plan, 0);
        memcpy(out + i * tokens * width, aleat_plan_data(plan, y),
               (size_t)(tokens * width) * sizeof *out);
    }
    states->flop += plan ? (double)count * aleat_plan_flop(plan) : 0;
    aleat_plan_free(plan);
    aleat_engine_free(engine);
    aleat_graph_free(graph);
    return st;
}

/* ---- pooling --------------------------------------------------------------------------------- */

/** The first token that ends the text: the configured one, or the one of the highest number; the
 * first of all if it is not there. */
static int64_t end_of_text(const aleat_text_config *config, const int32_t *ids, int64_t tokens)
{
    int64_t end = 0;
    for (int64_t i = 0; i < tokens; i++) {
        if (config->eos >= 0 && ids[i] == config->eos)
            return i;
        if (config->eos < 0 && ids[i] > ids[end])
            end = i;
    }
    return config->eos >= 0 ? 0 : end;
}

/** out = weight x, or x weight if it is `turned`; sums in double. */
static aleat_status project(const aleat_weight *weight, bool turned, const float *x, float *out,
                            int64_t pooled, aleat_error *err)
{
    const int64_t rows = weight->shape.dim[0], columns = weight->shape.dim[1];
    float *row = aleat_alloc((size_t)columns * sizeof *row);
    double *sums = aleat_calloc((size_t)pooled, sizeof *sums);
    const bool good = row && sums;
    for (int64_t i = 0; good && i < rows; i++) {
        aleat_weight_row_to_f32(weight, i, row);
        for (int64_t j = 0; j < columns; j++)
            sums[turned ? j : i] += (double)row[j] * (double)x[turned ? i : j];
    }
    for (int64_t i = 0; good && i < pooled; i++)
        out[i] = (float)sums[i];
    aleat_free(row);
    aleat_free(sums);
    return good ? ALEAT_OK : aleat_fail_memory(err, "a pooled text");
}

/** last: [count, tokens, width] behind the final norm. */
static aleat_status pool(const aleat_text_encoder *encoder, const float *last,
                         aleat_text_states *out, aleat_error *err)
{
    const aleat_text_config *config = &encoder->source.config;
    bool turned = false;
    const aleat_weight *weight = encoder->family->projection(&encoder->source, &turned);
    aleat_status st = ALEAT_OK;
    for (int64_t i = 0; i < out->count && !st; i++) {
        const int64_t end = end_of_text(config, out->ids + i * out->tokens, out->tokens);
        const float *x = last + (i * out->tokens + end) * out->width;
        float *y = out->pooled + i * out->pooled_width;
        if (weight)
            st = project(weight, turned, x, y, out->pooled_width, err);
        else
            memcpy(y, x, (size_t)out->width * sizeof *y);
    }
    return st;
}

/* ---- encoding -------------------------------------------------------------------------------- */

static aleat_status check_request(const aleat_text_encoder *encoder,
                                  const aleat_text_request *request, aleat_error *err)
{
    enum { MOST_PROMPTS = 65536, MOST_TOKENS = 4096 };
    const aleat_text_config *c = &encoder->source.config;
    if (request->count < 1 || request->count > MOST_PROMPTS)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%lld prompts, from 1 to %d are encoded",
                          (long long)request->count, MOST_PROMPTS);
    const int64_t most = c->positions ? c->positions : MOST_TOKENS;
    if (request->tokens < 2 || request->tokens > most)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%lld tokens, this encoder takes 2 to %lld",
                          (long long)request->tokens, (long long)most);
    if (request->skip < 0 || request->skip >= c->layers)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%lld layers left out of %lld",
                          (long long)request->skip, (long long)c->layers);
    if (request->pooled && !c->pooled)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "a %s encoder gives no pooled state",
                          encoder->family->name);
    return ALEAT_OK;
}

static aleat_status new_states(aleat_text_states *out, const aleat_text_encoder *encoder,
                               const aleat_text_request *request, aleat_error *err)
{
    const aleat_text_config *c = &encoder->source.config;
    out->count = request->count;
    out->tokens = request->tokens;
    out->width = c->width;
    out->pooled_width = request->pooled ? c->pooled : 0;
    out->ids = aleat_calloc((size_t)(out->count * out->tokens), sizeof *out->ids);
    out->hidden =
        aleat_calloc((size_t)(out->count * out->tokens * out->width), sizeof *out->hidden);
    out->cut = aleat_calloc((size_t)out->count, sizeof *out->cut);
    if (request->pooled)
        out->pooled = aleat_calloc((size_t)(out->count * out->pooled_width), sizeof *out->pooled);
    if (!out->ids || !out->hidden || !out->cut || (request->pooled && !out->pooled))
        return aleat_fail_memory(err, "encoded prompts");
    return ALEAT_OK;
}

static aleat_status tokenize(const aleat_text_encoder *encoder, const aleat_text_request *request,
                             aleat_text_states *out, aleat_error *err)
{
    const int64_t vocab = encoder->source.config.vocab;
    for (int64_t i = 0; i < out->count; i++) {
        const char *text = request->prompts[i];
        int32_t *ids = out->ids + i * out->tokens;
        const aleat_status st = aleat_tokenizer_encode_padded(
            encoder->tokenizer, text, strlen(text), out->tokens, ids, &out->cut[i], err);
        if (st)
            return st;
        for (int64_t j = 0; j < out->tokens; j++)
            if (ids[j] >= vocab) {
                (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                                 "token %d of '%.40s' is beyond the encoder's %lld", ids[j], text,
                                 (long long)vocab);
                aleat_hint(err, "the tokenizer is another model's");
                return ALEAT_ERR_ARGUMENT;
            }
    }
    return ALEAT_OK;
}

/** Runs the layers; x: [count, tokens, width] as working memory. */
static aleat_status run_parts(const aleat_text_encoder *encoder, const aleat_text_request *request,
                              float *x, aleat_text_states *out, aleat_error *err)
{
    const int64_t layers = encoder->source.config.layers, n = out->count, t = out->tokens;
    const int64_t wanted = layers - request->skip; // layers below `hidden`
    const size_t bytes = (size_t)(n * t * out->width) * sizeof *x;
    for (int64_t i = 0; i < n * t; i++)
        out->hidden[i] = (float)out->ids[i]; // below 2^24
    aleat_status st = run_part(encoder, EMBED, out, out->hidden, x, err);
    for (int64_t layer = 0; layer < (request->pooled ? layers : wanted) && !st; layer++) {
        st = run_part(encoder, layer, out, x, x, err);
        if (layer + 1 == wanted)
            memcpy(out->hidden, x, bytes);
    }
    if (!st && request->normed)
        st = run_part(encoder, layers, out, out->hidden, out->hidden, err);
    if (!st && request->pooled)
        st = run_part(encoder, layers, out, x, x, err);
    return !st && request->pooled ? pool(encoder, x, out, err) : st;
}

aleat_status aleat_text_encode(const aleat_text_encoder *encoder, const aleat_text_request *request,
                               aleat_text_states *out, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    float *x = NULL;
    aleat_status st = check_request(encoder, request, err);
    if (!st)
        st = new_states(out, encoder, request, err);
    if (!st)
        st = tokenize(encoder, request, out, err);
    if (!st) {
        x = aleat_alloc((size_t)(out->count * out->tokens * out->width) * sizeof *x);
        st = x ? run_parts(encoder, request, x, out, err) : aleat_fail_memory(err, "prompts");
    }
    aleat_free(x);
    if (st)
        aleat_text_states_clear(out);
    return st;
}

void aleat_text_states_clear(aleat_text_states *states)
{
    if (!states)
        return;
    for (int64_t i = 0; states->cut && i < states->count; i++)
        aleat_free(states->cut[i]);
    aleat_free(states->cut);
    aleat_free(states->ids);
    aleat_free(states->hidden);
    aleat_free(states->pooled);
    memset(states, 0, sizeof *states);
}
