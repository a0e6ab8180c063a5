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
    if (!st && negative && (negative->context || negative->pooled))
        st = aleat_text_list_make(&out->negative, info, negative, 1, err);
    if (st)
        aleat_run_texts_clear(out);
    else
        out->rows = rows;
    return st;
}

void aleat_run_texts_clear(aleat_run_texts *texts)
{
    aleat_text_list_clear(&texts->positive);
    aleat_text_list_clear(&texts->negative);
    texts->rows = 0;
}

const aleat_text *const *aleat_run_texts_of(const aleat_run_texts *texts, const aleat_text **out,
                                            int64_t first, int64_t n)
{
    if (!texts->rows)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        out[i] = texts->positive.pointers[(first + i) % texts->rows];
    return out;
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

static bool put_prompts(json_t *o, const aleat_prompt_options *told)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (int64_t i = 0; ok && i < told->count; i++)
        ok = json_array_append_new(list, json_string(told->prompts[i])) == 0;
    ok = ok && json_object_set(o, "prompts", list) == 0;
    json_decref(list);
    return ok &&
           (!told->negative || !*told->negative ||
            put(o, "negative_prompt", json_string(told->negative))) &&
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

bool aleat_run_texts_settings_of(json_t *settings, int64_t image)
{
    static const char *const of_all[] = {"context_sha256", "pooled_sha256"};
    json_t *list = json_object_get(settings, "prompts");
    const size_t n = json_array_size(list);
    if (!n)
        return true;
    const bool ok =
        json_object_set(settings, "prompt", json_array_get(list, (size_t)image % n)) == 0;
    (void)json_object_del(settings, "prompts");
    for (size_t i = 0; n > 1 && i < sizeof of_all / sizeof *of_all; i++)
        (void)json_object_del(settings, of_all[i]);
    return ok;
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
