#include "aleat/text.h"

#include <jansson.h>
#include <string.h>

#include "api/encode_text.h"
#include "api/model_state.h"
#include "base/alloc.h"
#include "base/error.h"
#include "io/npy.h"

static const aleat_text_options no_options;

static int number_of(const aleat_text_options *options)
{
    return options->encoder ? options->encoder : 1;
}

/** Moves memory of `states` into a public array. */
static void take(aleat_array *out, float **data, int n_dims, int64_t a, int64_t b, int64_t c)
{
    if (!*data)
        return;
    *out = (aleat_array){.n_dims = n_dims, .dim = {a, b, c}, .data = *data};
    *data = NULL;
}

aleat_status aleat_encode_text_for(aleat_encoded_text *out, const char *path, aleat_text_use use,
                                   const char *const *prompts, int64_t count,
                                   const aleat_text_options *options, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    options = options ? options : &no_options;
    aleat_text_encoder_options wanted = {.variant = options->variant,
                                         .tokenizer = options->tokenizer,
                                         .heads = options->heads,
                                         .threads = options->threads,
                                         .use = use};
    aleat_text_encoder *encoder = NULL;
    aleat_text_states states = {0};
    aleat_status st = aleat_precision_find(&wanted.precision, options->precision, err);
    if (!st)
        st = aleat_text_encoder_open(&encoder, path, number_of(options), &wanted, err);
    if (st)
        return st;
    const aleat_text_encoder_facts facts = aleat_text_encoder_describe(encoder);
    const bool skips = options->clip_skip > 0;
    const aleat_text_request request = {
        .prompts = prompts,
        .count = count,
        .tokens = options->tokens ? options->tokens : facts.tokens,
        .skip = skips ? options->clip_skip - 1 : facts.skip,
        .normed = skips || facts.normed,
        .pooled = facts.pooled > 0,
    };
    st = aleat_text_encode(encoder, &request, &states, err);
    aleat_text_encoder_free(encoder);
    if (st)
        return st;
    out->count = states.count;
    out->tokens = states.tokens;
    out->flop = states.flop;
    out->ids = states.ids;
    out->cut = states.cut;
    states.ids = NULL;
    states.cut = NULL;
    take(&out->hidden, &states.hidden, 3, states.count, states.tokens, states.width);
    take(&out->pooled, &states.pooled, 2, states.count, states.pooled_width, 0);
    aleat_text_states_clear(&states);
    return ALEAT_OK;
}

aleat_status aleat_encode_text(aleat_encoded_text *out, const char *path,
                               const char *const *prompts, int64_t count,
                               const aleat_text_options *options, aleat_error *err)
{
    return aleat_encode_text_for(out, path, ALEAT_TEXT_AS_FOUND, prompts, count, options, err);
}

void aleat_encoded_text_clear(aleat_encoded_text *text)
{
    if (!text)
        return;
    aleat_array_clear(&text->hidden);
    aleat_array_clear(&text->pooled);
    for (int64_t i = 0; text->cut && i < text->count; i++)
        aleat_free(text->cut[i]);
    aleat_free(text->cut);
    aleat_free(text->ids);
    memset(text, 0, sizeof *text);
}

/** One text as {"ids": [...], "cut": ...}. */
static aleat_status text_json(json_t *list, const aleat_tokenizer *tokenizer, const char *text,
                              int64_t tokens, aleat_error *err)
{
    aleat_ids ids = {0};
    int32_t *padded = tokens ? aleat_alloc((size_t)tokens * sizeof *padded) : NULL;
    char *cut = NULL;
    aleat_status st = tokens && !padded ? aleat_fail_memory(err, "tokens") : ALEAT_OK;
    if (!st)
        st = tokens ? aleat_tokenizer_encode_padded(tokenizer, text, strlen(text), tokens, padded,
                                                    &cut, err)
                    : aleat_tokenizer_encode(tokenizer, text, strlen(text), &ids, err);
    json_t *array = json_array();
    for (int64_t i = 0; !st && i < (tokens ? tokens : ids.count); i++)
        (void)json_array_append_new(array, json_integer(tokens ? padded[i] : ids.at[i]));
    json_t *item = st ? NULL : json_pack("{s:O, s:s?}", "ids", array, "cut", cut);
    if (!st && json_array_append_new(list, item))
        st = aleat_fail_memory(err, "tokens");
    json_decref(array);
    aleat_ids_clear(&ids);
    aleat_free(padded);
    aleat_free(cut);
    return st;
}

aleat_status aleat_tokenize_json(char **out, const char *path, const char *const *texts,
                                 int64_t count, const aleat_text_options *options, aleat_error *err)
{
    enum { MOST_TOKENS = 1 << 20 };
    *out = NULL;
    options = options ? options : &no_options;
    if (options->tokens && (options->tokens < 2 || options->tokens > MOST_TOKENS))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%lld tokens: from 2 to %d are possible",
                          (long long)options->tokens, MOST_TOKENS);
    aleat_tokenizer *tokenizer = NULL;
    aleat_status st = aleat_text_tokenizer_open(
        &tokenizer, options->tokenizer ? options->tokenizer : path, number_of(options), err);
    if (st)
        return st;
    json_t *list = json_array();
    for (int64_t i = 0; i < count && !st; i++)
        st = text_json(list, tokenizer, texts[i], options->tokens, err);
    json_t *json = st ? NULL
                      : json_pack("{s:s, s:O}", "tokenizer",
                                  aleat_tokenizer_kind_name(aleat_tokenizer_kind_of(tokenizer)),
                                  "texts", list);
    if (!st) {
        *out = json ? json_dumps(json, JSON_COMPACT) : NULL;
        st = *out ? ALEAT_OK : aleat_fail_memory(err, "tokens");
    }
    json_decref(json);
    json_decref(list);
    aleat_tokenizer_free(tokenizer);
    return st;
}

aleat_status aleat_ids_write(const char *path, const int32_t *ids, int64_t rows, int64_t columns,
                             aleat_error *err)
{
    const aleat_shape shape = aleat_shape_of(2, rows, columns);
    const aleat_tensor view =
        aleat_tensor_view(ALEAT_I32, &shape, (void *)(uintptr_t)ids); // read only
    return aleat_npy_write(path, &view, err);
}
