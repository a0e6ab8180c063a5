#include "api/replay_settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/run_text.h"
#include "base/alloc.h"
#include "base/error.h"
#include "io/png_image.h"

#define MOST_STEPS 1000000 // what generate takes
#define MOST_SIDE  65536

/* ---- ours ------------------------------------------------------------------------------------ */

/** A whole number from 0 on that JSON cannot hold as one. */
static aleat_status read_seed(const aleat_json *own, uint64_t *seed, aleat_error *err)
{
    const char *text = NULL;
    char *end = NULL;
    aleat_status st = aleat_json_require(own, "seed", err);
    if (!st)
        st = aleat_json_string(own, "seed", &text, err);
    if (st)
        return st;
    errno = 0;
    *seed = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: 'seed' is no number from 0 to 2^64-1",
                          own->name);
    return ALEAT_OK;
}

static aleat_status read_steps(const aleat_json *own, const char *key, aleat_steps *steps,
                               aleat_error *err)
{
    const char *text = NULL;
    int begin = 0, end = 0;
    char rest;
    const aleat_status st = aleat_json_string(own, key, &text, err);
    if (st || !text)
        return st;
    if (sscanf(text, "%d:%d%c", &begin, &end, &rest) != 2 || begin < 0 || end <= begin)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' is no range of steps", own->name, key);
    *steps = (aleat_steps){begin, end};
    return ALEAT_OK;
}

static aleat_status read_integer(const aleat_json *own, const char *key, int64_t low, int64_t high,
                                 int64_t *value, aleat_error *err)
{
    const aleat_status st = aleat_json_int(own, key, value, err);
    if (st || !aleat_json_has(own, key) || (*value >= low && *value <= high))
        return st;
    return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' is not within %lld to %lld", own->name, key,
                      (long long)low, (long long)high);
}

typedef struct text_place {
    const char *key;
    const char **value;
} text_place;

typedef struct number_place {
    const char *key;
    double *value;
} number_place;

typedef struct integer_place {
    const char *key;
    int64_t *value, low, high;
} integer_place;

static aleat_status read_places(aleat_image_settings *s, const text_place *texts, size_t n_texts,
                                const number_place *numbers, size_t n_numbers,
                                const integer_place *integers, size_t n_integers, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    for (size_t i = 0; !st && i < n_texts; i++)
        st = aleat_json_string(&s->own, texts[i].key, texts[i].value, err);
    for (size_t i = 0; !st && i < n_numbers; i++)
        st = aleat_json_double(&s->own, numbers[i].key, numbers[i].value, err);
    for (size_t i = 0; !st && i < n_integers; i++)
        st = read_integer(&s->own, integers[i].key, integers[i].low, integers[i].high,
                          integers[i].value, err);
    return st;
}
#define COUNT(a) (sizeof(a) / sizeof *(a))

/** Guidance by uncertainty moves the image, scoring does not. */
static aleat_status read_guidance(aleat_image_settings *s, aleat_error *err)
{
    aleat_run_options *o = &s->run;
    o->guide = aleat_json_has(&s->own, "guide_steps");
    if (!o->guide)
        return ALEAT_OK;
    const text_place texts[] = {{"copies_clip", &o->clip},
                                {"statistic", &o->statistic},
                                {"gradient", &o->gradient},
                                {"guide_sign", &o->guide_sign}};
    const number_place numbers[] = {{"percentile", &o->percentile}, {"strength", &o->strength}};
    const integer_place integers[] = {{"copies", &o->copies, 2, 65536}};
    const aleat_status st = read_steps(&s->own, "guide_steps", &o->guide_steps, err);
    return st ? st
              : read_places(s, texts, COUNT(texts), numbers, COUNT(numbers), integers,
                            COUNT(integers), err);
}

static aleat_status read_prompt(aleat_image_settings *s, aleat_error *err)
{
    aleat_prompt_options *p = &s->prompts;
    const text_place texts[] = {{"prompt", &s->prompt}, {"negative_prompt", &s->negative}};
    const number_place numbers[] = {{"guidance", &p->guidance}};
    const integer_place integers[] = {{"clip_skip", &p->clip_skip, 0, 1000},
                                      {"t5_tokens", &p->t5_tokens, 0, 1048576}};
    aleat_status st = read_places(s, texts, COUNT(texts), numbers, COUNT(numbers), integers,
                                  COUNT(integers), err);
    if (!st)
        st = aleat_json_bool(&s->own, "no_t5", &p->no_t5, err);
    p->cfg_scale = s->run.cfg_scale != 0 ? s->run.cfg_scale : 1;
    if (!st && !s->prompt && aleat_json_has(&s->own, "context_sha256"))
        st = aleat_fail(err, ALEAT_ERR_FORMAT,
                        "%s: 'prompt' is missing: only the hash of an encoded text is told",
                        s->own.name);
    s->many_prompts = s->prompt && !aleat_json_has(&s->own, "context_sha256");
    return st;
}

static aleat_status read_own(aleat_image_settings *s, aleat_error *err)
{
    aleat_run_options *o = &s->run;
    static const char *const needed[] = {"image",  "sampler", "steps",
                                         "height", "width",   "plan_sha256"};
    int64_t asked = 0;
    s->source = "aleat";
    s->label = -1;
    const text_place texts[] = {{"weights", &s->weights},
                                {"weights_sha256", &s->weights_sha256},
                                {"plan_sha256", &s->plan_sha256},
                                {"precision", &s->precision},
                                {"sampler", &o->sampling.sampler},
                                {"respacing", &o->sampling.respacing},
                                {"rng", &o->rng},
                                {"compat", &o->compat},
                                {"decoder_precision", &s->vae.precision}};
    const number_place numbers[] = {{"eta", &o->sampling.eta},
                                    {"cfg_scale", &o->cfg_scale},
                                    {"classifier_scale", &o->classifier_scale},
                                    {"scaling_factor", &s->vae.scaling_factor}};
    const integer_place integers[] = {
        {"image", &o->first, 0, UINT32_MAX - 1},      {"label", &s->label, -1, INT32_MAX},
        {"steps", &o->sampling.steps, 1, MOST_STEPS}, {"steps_asked", &asked, 1, MOST_STEPS},
        {"height", &s->height, 1, MOST_SIDE},         {"width", &s->width, 1, MOST_SIDE}};
    aleat_status st = ALEAT_OK;
    for (size_t i = 0; !st && i < COUNT(needed); i++)
        st = aleat_json_require(&s->own, needed[i], err);
    if (!st)
        st = read_seed(&s->own, &o->seed, err);
    if (!st)
        st = read_places(s, texts, COUNT(texts), numbers, COUNT(numbers), integers, COUNT(integers),
                         err);
    if (asked)
        o->sampling.steps = asked;
    s->decoded = aleat_json_has(&s->own, "decoder_sha256");
    if (!st)
        st = read_guidance(s, err);
    return st ? st : read_prompt(s, err);
}

/* ---- other programs' ------------------------------------------------------------------------- */

/** Takes over `text`. */
static aleat_status missing(aleat_image_settings *s, char *text, aleat_error *err)
{
    if (!text)
        return aleat_fail_memory(err, "the settings of an image");
    if (s->n_missing < ALEAT_REPLAY_REMARKS)
        s->missing[s->n_missing++] = text;
    else
        aleat_free(text);
    return ALEAT_OK;
}

static aleat_status bad_value(const char *key, const char *value, aleat_error *err)
{
    return aleat_fail(err, ALEAT_ERR_FORMAT, "'%.40s' is '%.40s'", key, value);
}

static aleat_status take_number(double *out, const char *key, const char *value, double low,
                                double high, aleat_error *err)
{
    char *end;
    *out = strtod(value, &end);
    return end == value || *end || !(*out >= low && *out <= high) ? bad_value(key, value, err)
                                                                  : ALEAT_OK;
}

static aleat_status take_whole(int64_t *out, const char *key, const char *value, int64_t high,
                               aleat_error *err)
{
    double number;
    const aleat_status st = take_number(&number, key, value, 1, (double)high, err);
    *out = st ? 0 : (int64_t)number;
    return st;
}

static aleat_status take_seed(aleat_image_settings *s, const char *key, const char *value,
                              aleat_error *err)
{
    char *end;
    errno = 0;
    s->run.seed = strtoull(value, &end, 10);
    return *value < '0' || *value > '9' || *end || errno ? bad_value(key, value, err) : ALEAT_OK;
}

static aleat_status take_size(aleat_image_settings *s, const char *key, const char *value,
                              aleat_error *err)
{
    int width = 0, height = 0;
    char rest;
    if (sscanf(value, "%5dx%5d%c", &width, &height, &rest) != 2 || width < 1 || height < 1)
        return bad_value(key, value, err);
    s->width = width;
    s->height = height;
    return ALEAT_OK;
}

/** "DPM++ 2M Karras", "euler_a discrete", "euler_ancestral". */
static aleat_status take_sampler(aleat_image_settings *s, const char *value, aleat_error *err)
{
    bool karras;
    char name[64];
    (void)snprintf(name, sizeof name, "%s", value);
    s->run.sampling.sampler = aleat_sampler_called(name, &karras);
    char *space = strrchr(name, ' ');
    if (!s->run.sampling.sampler && space) {
        *space = '\0';
        bool ignored;
        s->run.sampling.sampler = aleat_sampler_called(name, &ignored);
    }
    aleat_status st = ALEAT_OK;
    if (!s->run.sampling.sampler)
        st = missing(s,
                     aleat_asprintf("the sampler '%.60s' is not known here: the model's own is "
                                    "taken",
                                    value),
                     err);
    if (!st && karras)
        st = missing(s,
                     aleat_strdup("Karras' noise levels are those of a scheduler_config.json "
                                  "with use_karras_sigmas: --schedule"),
                     err);
    return st;
}

static aleat_status take_field(aleat_image_settings *s, const char *key, const char *value,
                               aleat_error *err)
{
    aleat_run_options *o = &s->run;
    if (!strcmp(key, "Steps") || !strcmp(key, "steps"))
        return take_whole(&o->sampling.steps, key, value, MOST_STEPS, err);
    if (!strcmp(key, "Seed") || !strcmp(key, "seed") || !strcmp(key, "noise_seed"))
        return take_seed(s, key, value, err);
    if (!strcmp(key, "Size"))
        return take_size(s, key, value, err);
    if (!strcmp(key, "width"))
        return take_whole(&s->width, key, value, MOST_SIDE, err);
    if (!strcmp(key, "height"))
        return take_whole(&s->height, key, value, MOST_SIDE, err);
    if (!strcmp(key, "CFG scale") || !strcmp(key, "cfg"))
        return take_number(&s->prompts.cfg_scale, key, value, -1000, 1000, err);
    if (!strcmp(key, "Distilled CFG Scale"))
        return take_number(&s->prompts.guidance, key, value, 0, 1000, err);
    if (!strcmp(key, "Clip skip"))
        return take_whole(&s->prompts.clip_skip, key, value, 1000, err);
    if (!strcmp(key, "Sampler") || !strcmp(key, "sampler_name"))
        return take_sampler(s, value, err);
    return missing(s, aleat_asprintf("not followed: '%.60s: %.100s'", key, value), err);
}

static aleat_status read_foreign(aleat_image_settings *s, aleat_error *err)
{
    const aleat_generation *g = &s->foreign;
    aleat_status st = ALEAT_OK;
    s->source = g->source;
    s->label = -1;
    s->size_of_image = s->decoded = true;
    s->prompt = g->prompt ? g->prompt : "";
    s->negative = g->negative;
    s->run.rng = "torch";
    for (int i = 0; !st && i < g->n_fields; i++)
        st = take_field(s, g->fields[i].key, g->fields[i].value, err);
    const bool seeded = aleat_generation_get(g, "Seed") || aleat_generation_get(g, "seed") ||
                        aleat_generation_get(g, "noise_seed");
    if (!st && (!seeded || !s->run.sampling.steps || !s->width || !s->height))
        st = aleat_fail(err, ALEAT_ERR_FORMAT,
                        "its settings lack seed, steps or size, so it cannot be made again");
    if (!st)
        st = missing(s, aleat_strdup("random numbers are taken to be torch's on the processor"),
                     err);
    if (!st && strpbrk(s->prompt, "()[]<"))
        st = missing(s,
                     aleat_strdup("brackets in the prompt are taken as they stand, not as "
                                  "weights or networks to add"),
                     err);
    return st;
}

/* ---- either ---------------------------------------------------------------------------------- */

aleat_status aleat_image_settings_read(aleat_image_settings *out, const char *png, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    char *text = NULL;
    aleat_status st = aleat_png_read_text(&text, png, "aleat", err);
    if (st)
        return st;
    if (text) {
        st = aleat_json_parse(&out->own, text, strlen(text), png, err);
        if (!st)
            st = read_own(out, err);
    } else {
        st = aleat_generation_read(&out->foreign, png, err);
        if (!st && !out->foreign.source) {
            st = aleat_fail(err, ALEAT_ERR_FORMAT,
                            "%s: does not tell how it was made: no chunk 'aleat', 'parameters' or "
                            "'prompt'",
                            png);
            aleat_hint(err, "programs that edit pictures often drop it");
        } else if (!st) {
            st = read_foreign(out, err);
            if (st == ALEAT_ERR_FORMAT)
                aleat_error_in(err, "%s", png);
        }
    }
    aleat_free(text);
    if (st)
        aleat_image_settings_clear(out);
    return st;
}

void aleat_image_settings_clear(aleat_image_settings *s)
{
    if (!s)
        return;
    aleat_json_clear(&s->own);
    aleat_generation_clear(&s->foreign);
    for (int i = 0; i < s->n_missing; i++)
        aleat_free(s->missing[i]);
    memset(s, 0, sizeof *s);
}
