#include "api/run_text.h"

#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "io/sha256.h"

static bool takes_texts(const aleat_denoiser_info *info)
{
    return info->context_tokens || info->pooled_dim || info->takes_guidance;
}

/** As many rows as the longest of the arrays. */
static int64_t rows_of(const aleat_texts *texts)
{
    const aleat_array *arrays[] = {texts->context, texts->pooled, texts->guidance};
    int64_t rows = 1;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if (arrays[i] && arrays[i]->n_dims && arrays[i]->dim[0] > rows)
            rows = arrays[i]->dim[0];
    return rows;
}

aleat_status aleat_run_texts_make(aleat_run_texts *out, const aleat_model *model,
                                  const aleat_run_options *options, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    const aleat_denoiser_info *info = &model->files.info;
    if (takes_texts(info) && !options->texts) {
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: is conditioned on texts, and there are none",
                         model->path);
        aleat_hint(err, "--prompt TEXT says what to show");
        return ALEAT_ERR_ARGUMENT;
    }
    if (!options->texts)
        return ALEAT_OK;
    const int64_t rows = rows_of(options->texts);
    aleat_status st = aleat_text_list_make(&out->positive, info, options->texts, rows, err);
    const aleat_texts *negative = options->negative;
    const int64_t negatives = negative ? rows_of(negative) : 0;
    if (!st && negative && (negative->context || negative->pooled))
        st = aleat_text_list_make(&out->negative, info, negative, negatives, err);
    if (!st && negatives > 1 && negatives != rows)
        st = aleat_fail(err, ALEAT_ERR_SHAPE, "%lld negative texts for %lld texts",
                        (long long)negatives, (long long)rows);
    if (st)
        aleat_run_texts_clear(out);
    else
        out->rows = rows;
    out->own_negatives = !st && negatives > 1;
    return st;
}

void aleat_run_texts_clear(aleat_run_texts *texts)
{
    aleat_text_list_clear(&texts->positive);
    aleat_text_list_clear(&texts->negative);
    texts->rows = 0;
    texts->own_negatives = false;
}

void aleat_run_texts_of(const aleat_run_texts *texts, int64_t place, int64_t row,
                        const aleat_text **at, const aleat_text **negatives,
                        aleat_condition *condition)
{
    if (!texts->rows)
        return;
    at[row] = texts->positive.pointers[place % texts->rows];
    condition->texts = at;
    if (!texts->own_negatives)
        return;
    negatives[row] = texts->negative.pointers[place % texts->rows];
    condition->negatives = negatives;
}

/* ---- what is told ---------------------------------------------------------------------------- */

static bool put(json_t *o, const char *key, json_t *value)
{
    return json_object_set_new(o, key, value) == 0; // a NULL value fails, too
}

static bool put_hash(json_t *o, const char *key, const aleat_array *array)
{
    if (!array)
        return true;
    char text[ALEAT_SHA256_TEXT];
    aleat_sha256(text, array->data, (size_t)aleat_array_count(array) * sizeof *array->data);
    return put(o, key, json_string(text));
}

static bool put_list(json_t *o, const char *key, const char *const *texts, int64_t n)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (int64_t i = 0; ok && i < n; i++)
        ok = json_array_append_new(list, json_string(texts[i])) == 0;
    ok = ok && json_object_set(o, key, list) == 0;
    json_decref(list);
    return ok;
}

/** One for all is told as a text, which the empty one need not be. */
static bool put_negatives(json_t *o, const aleat_prompt_options *told)
{
    if (told->n_negatives > 1)
        return put_list(o, "negative_prompts", told->negatives, told->n_negatives);
    return !told->n_negatives || !*told->negatives[0] ||
           put(o, "negative_prompt", json_string(told->negatives[0]));
}

static bool put_prompts(json_t *o, const aleat_prompt_options *told)
{
    return put_list(o, "prompts", told->prompts, told->count) && put_negatives(o, told) &&
           (!told->clip_skip || put(o, "clip_skip", json_integer(told->clip_skip))) &&
           (!told->no_t5 || put(o, "no_t5", json_true())) &&
           (!told->t5_tokens || put(o, "t5_tokens", json_integer(told->t5_tokens)));
}

bool aleat_run_texts_settings(json_t *o, const aleat_run_options *options)
{
    const aleat_texts *texts = options->texts, *negative = options->negative;
    if (!texts)
        return true;
    const aleat_array *scale = texts->guidance;
    const bool one = scale && aleat_array_count(scale) == 1;
    return (!options->prompts || put_prompts(o, options->prompts)) &&
           put_hash(o, "context_sha256", texts->context) &&
           put_hash(o, "pooled_sha256", texts->pooled) &&
           (one ? put(o, "guidance", json_real((double)scale->data[0]))
                : put_hash(o, "guidance_sha256", scale)) &&
           (!negative || (put_hash(o, "negative_context_sha256", negative->context) &&
                          put_hash(o, "negative_pooled_sha256", negative->pooled)));
}

/** Under `key` what of the list `keys` is the image's. */
static bool settle(json_t *settings, const char *key, const char *keys, int64_t image)
{
    const json_t *list = json_object_get(settings, keys);
    const size_t n = json_array_size(list);
    const bool ok =
        !n || json_object_set(settings, key, json_array_get(list, (size_t)image % n)) == 0;
    (void)json_object_del(settings, keys);
    return ok;
}

bool aleat_run_texts_settings_of(json_t *settings, int64_t image)
{
    static const char *const of_all[] = {"context_sha256", "pooled_sha256",
                                         "negative_context_sha256", "negative_pooled_sha256"};
    const bool many = json_array_size(json_object_get(settings, "prompts")) > 1;
    const bool own_negatives = json_object_get(settings, "negative_prompts") != NULL;
    const size_t n = !many ? 0 : own_negatives ? 4 : 2;
    for (size_t i = 0; i < n; i++)
        (void)json_object_del(settings, of_all[i]);
    return settle(settings, "prompt", "prompts", image) &&
           settle(settings, "negative_prompt", "negative_prompts", image);
}

/* ---- samplers by other programs' names ------------------------------------------------------- */

static const struct {
    const char *ours, *theirs;
} names[] = {
    {"ddim", "DDIM"},
    {"euler", "Euler"},
    {"euler_a", "Euler a"},
    {"pndm", "PLMS"},
    {"dpm++2m", "DPM++ 2M"},
    {"dpm++3m", "DPM++ 3M"},
    {"kdpm2", "DPM2"},
    {"flow-euler", "Euler"},
    {"ddpm", "DDPM"},
    {"dpm++2m-sde", "DPM++ 2M SDE"},
    // ComfyUI's
    {"euler_a", "euler_ancestral"},
    {"dpm++2m", "dpmpp_2m"},
    {"kdpm2", "dpm_2"},
};

const char *aleat_sampler_known_as(const char *sampler)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i].ours, sampler))
            return names[i].theirs;
    return sampler;
}

const char *aleat_sampler_called(const char *name, bool *karras)
{
    static const char suffix[] = " Karras";
    const size_t len = strlen(name), tail = sizeof suffix - 1;
    *karras = len > tail && !strcasecmp(name + len - tail, suffix);
    const size_t kept = *karras ? len - tail : len;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if ((strlen(names[i].theirs) == kept && !strncasecmp(names[i].theirs, name, kept)) ||
            (strlen(names[i].ours) == kept && !strncasecmp(names[i].ours, name, kept)))
            return names[i].ours;
    return NULL;
}
