#include "aleat/prompts.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "api/encode_text.h"
#include "api/model_state.h"
#include "base/alloc.h"
#include "base/error.h"

/** Prompts on their way. Rows are the negative prompts, if there are any, and then the others. */
typedef struct encoding {
    const aleat_open_options *open;
    const aleat_prompt_options *wanted;
    const aleat_model *model;
    const char **texts; // [rows]
    int64_t rows, negatives;
    aleat_prompts *out;
    aleat_array context, pooled; // [rows,...]
} encoding;

/** One of a model's encoders. */
typedef struct slot {
    aleat_text_use use;
    const char *name, *option;
    size_t path; // of aleat_encoder_paths: the member of the option
} slot;

enum { MOST_SLOTS = 3 };

/** How a family's program conditions its network. */
typedef struct recipe {
    const char *family;
    double cfg_scale, guidance;  // usual ones; 1 and 0: none
    bool clip_skip, optional_t5; // options that it has
    slot slots[MOST_SLOTS];      // by the numbers of diffusers' folders; use AS_FOUND: no more
    aleat_status (*encode)(encoding *e, const slot *slots, aleat_error *err);
} recipe;

/* ---- encoders -------------------------------------------------------------------------------- */

/** Keeps what did not fit of a row. */
static aleat_status note_cuts(encoding *e, int number, aleat_encoded_text *text, aleat_error *err)
{
    aleat_prompts *p = e->out;
    for (int64_t i = 0; i < text->count; i++) {
        if (!text->cut[i])
            continue;
        const size_t size = (size_t)p->n_cuts * sizeof *p->cuts;
        aleat_prompt_cut *grown = aleat_realloc(p->cuts, size, size + sizeof *grown);
        if (!grown)
            return aleat_fail_memory(err, "prompts");
        p->cuts = grown;
        const bool negative = i < e->negatives;
        p->cuts[p->n_cuts++] = (aleat_prompt_cut){.prompt = negative ? i : i - e->negatives,
                                                  .negative = negative,
                                                  .encoder = number,
                                                  .tokens = text->tokens,
                                                  .rest = text->cut[i]};
        text->cut[i] = NULL;
    }
    return ALEAT_OK;
}

/** The path of the option that names this encoder, or NULL. */
static const char *own_path(const encoding *e, const slot *s)
{
    return *(const char *const *)((const char *)&e->wanted->encoders + s->path);
}

static const char *path_of(const encoding *e, const slot *s)
{
    const char *own = own_path(e, s), *all = e->wanted->encoders.all;
    return own ? own : all ? all : e->model->path;
}

/** By encoder `number`, from 1. */
static aleat_status encode(encoding *e, const slot *slots, aleat_encoded_text *out, int number,
                           int64_t tokens, aleat_error *err)
{
    const slot *s = &slots[number - 1];
    const aleat_text_options options = {
        .encoder = number,
        .variant = e->open->variant,
        .precision = e->open->precision,
        .tokenizer = e->wanted->encoders.tokenizer,
        .threads = e->open->threads,
        .tokens = tokens,
        .clip_skip = e->wanted->clip_skip,
    };
    const aleat_status st =
        aleat_encode_text_for(out, path_of(e, s), s->use, e->texts, e->rows, &options, err);
    e->out->flop += out->flop;
    return st ? st : note_cuts(e, number, out, err);
}

/** `array` becomes the encoding's; what `to` held must be nothing. */
static void move(aleat_array *to, aleat_array *array)
{
    *to = *array;
    memset(array, 0, sizeof *array);
}

static aleat_status encode_clip(encoding *e, const slot *slots, aleat_error *err)
{
    aleat_encoded_text text = {0};
    const aleat_status st = encode(e, slots, &text, 1, 0, err);
    if (!st)
        move(&e->context, &text.hidden);
    aleat_encoded_text_clear(&text);
    return st;
}

/** FLUX.1: the context is T5's, what is pooled CLIP's. schnell, which alone is not told a scale of
 * guidance, was trained with half as many tokens. */
static aleat_status encode_flux(encoding *e, const slot *slots, aleat_error *err)
{
    enum { SCHNELL_TOKENS = 256 };
    aleat_encoded_text clip = {0}, t5 = {0};
    const int64_t usual = e->model->files.info.takes_guidance ? 0 : SCHNELL_TOKENS;
    aleat_status st = encode(e, slots, &clip, 1, 0, err);
    if (!st)
        st = encode(e, slots, &t5, 2, e->wanted->t5_tokens ? e->wanted->t5_tokens : usual, err);
    if (!st) {
        move(&e->pooled, &clip.pooled);
        move(&e->context, &t5.hidden);
    }
    aleat_encoded_text_clear(&clip);
    aleat_encoded_text_clear(&t5);
    return st;
}

/** Rows of a beside rows of b, both [rows,...]; b may be narrower than what is left of `width`. */
static void lay_beside(float *out, int64_t rows, int64_t width, const aleat_array *a,
                       const aleat_array *b)
{
    const int64_t wide = a->dim[a->n_dims - 1], next = b->dim[b->n_dims - 1];
    for (int64_t i = 0; i < rows; i++) {
        memcpy(out + i * width, a->data + i * wide, (size_t)wide * sizeof(float));
        memcpy(out + i * width + wide, b->data + i * next, (size_t)next * sizeof(float));
    }
}

static aleat_status wrong_widths(const encoding *e, const char *what, int64_t have, int64_t want,
                                 aleat_error *err)
{
    return aleat_fail(err, ALEAT_ERR_SHAPE, "%s: %s are %lld wide, the network wants %lld",
                      e->model->path, what, (long long)have, (long long)want);
}

/**
 * Stable Diffusion 3 (Esser et al. 2024, fig. 2): both CLIPs side by side, zeros up to the width of
 * T5, whose tokens come behind. Without T5 there are as many tokens of zeros as CLIP has, as in
 * diffusers.
 */
static aleat_status join_sd3(encoding *e, const aleat_encoded_text *l, const aleat_encoded_text *g,
                             const aleat_encoded_text *t5, aleat_error *err)
{
    const aleat_denoiser_info *info = &e->model->files.info;
    const int64_t width = info->context_dim, clips = l->hidden.dim[2] + g->hidden.dim[2];
    const int64_t pooled[2] = {e->rows, l->pooled.dim[1] + g->pooled.dim[1]};
    const int64_t behind = t5 ? t5->tokens : l->tokens;
    const int64_t context[3] = {e->rows, l->tokens + behind, width};
    if (g->tokens != l->tokens)
        return aleat_fail(err, ALEAT_ERR_SHAPE, "%s: text encoders of %lld and %lld tokens",
                          e->model->path, (long long)l->tokens, (long long)g->tokens);
    if (l->hidden.dim[2] > g->hidden.dim[2]) {
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                         "%s: CLIP-L's states are %lld wide and CLIP-G's %lld", e->model->path,
                         (long long)l->hidden.dim[2], (long long)g->hidden.dim[2]);
        aleat_hint(err, "--clip-l and --clip-g may have changed places");
        return ALEAT_ERR_ARGUMENT;
    }
    if (clips > width)
        return wrong_widths(e, "both CLIPs' states", clips, width, err);
    if (t5 && t5->hidden.dim[2] != width)
        return wrong_widths(e, "T5's states", t5->hidden.dim[2], width, err);
    aleat_status st = aleat_array_new(&e->context, 3, context, err);
    if (!st)
        st = aleat_array_new(&e->pooled, 2, pooled, err);
    for (int64_t i = 0; !st && i < e->rows; i++) {
        float *row = e->context.data + i * context[1] * width;
        aleat_array one_l = l->hidden, one_g = g->hidden;
        one_l.data += i * l->tokens * l->hidden.dim[2];
        one_g.data += i * g->tokens * g->hidden.dim[2];
        lay_beside(row, l->tokens, width, &one_l, &one_g);
        if (t5)
            memcpy(row + l->tokens * width, t5->hidden.data + i * behind * width,
                   (size_t)(behind * width) * sizeof *row);
    }
    if (!st)
        lay_beside(e->pooled.data, e->rows, pooled[1], &l->pooled, &g->pooled);
    return st;
}

static aleat_status encode_sd3(encoding *e, const slot *slots, aleat_error *err)
{
    aleat_encoded_text l = {0}, g = {0}, t5 = {0};
    aleat_status st = encode(e, slots, &l, 1, 0, err);
    if (!st)
        st = encode(e, slots, &g, 2, 0, err);
    if (!st && !e->wanted->no_t5)
        st = encode(e, slots, &t5, 3, e->wanted->t5_tokens, err);
    if (!st)
        st = join_sd3(e, &l, &g, e->wanted->no_t5 ? NULL : &t5, err);
    aleat_encoded_text_clear(&l);
    aleat_encoded_text_clear(&g);
    aleat_encoded_text_clear(&t5);
    return st;
}

#define CLIP_L(use)                                                                                \
    {                                                                                              \
        (use), "CLIP-L", "--clip-l", offsetof(aleat_encoder_paths, clip_l)                         \
    }
#define CLIP_G(use)                                                                                \
    {                                                                                              \
        (use), "CLIP-G", "--clip-g", offsetof(aleat_encoder_paths, clip_g)                         \
    }
#define T5_ENCODER(use)                                                                            \
    {                                                                                              \
        (use), "T5", "--t5", offsetof(aleat_encoder_paths, t5)                                     \
    }
static const recipe recipes[] = {
    {"unet2d_condition",
     7.5,
     0,
     true,
     false,
     {{ALEAT_TEXT_CLIP, "CLIP", "--clip-l", offsetof(aleat_encoder_paths, clip_l)}},
     encode_clip},
    {"sd3",
     7,
     0,
     false,
     true,
     {CLIP_L(ALEAT_TEXT_SD3_CLIP_L), CLIP_G(ALEAT_TEXT_SD3_CLIP_G), T5_ENCODER(ALEAT_TEXT_SD3_T5)},
     encode_sd3},
    {"flux",
     1,
     3.5,
     false,
     false,
     {CLIP_L(ALEAT_TEXT_CLIP), T5_ENCODER(ALEAT_TEXT_T5)},
     encode_flux},
};

/* ---- all of it ------------------------------------------------------------------------------- */

static bool has_slot(const recipe *way, size_t path)
{
    for (int i = 0; i < MOST_SLOTS && way->slots[i].use; i++)
        if (way->slots[i].path == path)
            return true;
    return false;
}

static aleat_status find_recipe(const recipe **out, const aleat_model *model,
                                const aleat_prompt_options *o, aleat_error *err)
{
    const char *family = model->files.family;
    *out = NULL;
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes && !*out; i++)
        if (!strcmp(recipes[i].family, family))
            *out = &recipes[i];
    if (!*out)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: takes no prompts: a network of the family %s", model->path, family);
    const size_t clip_g = offsetof(aleat_encoder_paths, clip_g);
    const bool has_t5 = has_slot(*out, offsetof(aleat_encoder_paths, t5));
    const struct {
        bool unfit;
        const char *what;
    } options[] = {
        {o->clip_skip && !(*out)->clip_skip, "is not used with another last layer (--clip-skip)"},
        {o->no_t5 && !(*out)->optional_t5, "has no T5 that could be left out (--no-t5)"},
        {o->t5_tokens && !has_t5, "has no T5 (--t5-tokens)"},
        {o->encoders.t5 && !has_t5, "has no T5 (--t5)"},
        {o->encoders.t5 && o->no_t5, "is to do without T5 (--no-t5), and there is a --t5"},
        {o->encoders.clip_g && !has_slot(*out, clip_g), "has no CLIP-G (--clip-g)"},
        {o->guidance != 0 && !model->files.info.takes_guidance,
         "is not told a scale of guidance (--guidance)"},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (options[i].unfit)
            return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "%s: a model of the family %s %s",
                              model->path, family, options[i].what);
    return ALEAT_OK;
}

/** out = rows [first, first + n) of `all`. */
static aleat_status take_rows(aleat_array *out, const aleat_array *all, int64_t first, int64_t n,
                              aleat_error *err)
{
    if (!all->data || !n)
        return ALEAT_OK;
    int64_t dim[ALEAT_ARRAY_DIMS];
    memcpy(dim, all->dim, sizeof dim);
    const int64_t row = aleat_array_count(all) / dim[0];
    dim[0] = n;
    const aleat_status st = aleat_array_new(out, all->n_dims, dim, err);
    if (!st)
        memcpy(out->data, all->data + first * row, (size_t)(n * row) * sizeof *out->data);
    return st;
}

static aleat_status hand_out(encoding *e, double guidance, aleat_error *err)
{
    aleat_prompts *p = e->out;
    const int64_t n = e->rows - e->negatives, one = 1;
    aleat_status st = take_rows(&p->context, &e->context, e->negatives, n, err);
    if (!st)
        st = take_rows(&p->pooled, &e->pooled, e->negatives, n, err);
    if (!st)
        st = take_rows(&p->negative_context, &e->context, 0, e->negatives, err);
    if (!st)
        st = take_rows(&p->negative_pooled, &e->pooled, 0, e->negatives, err);
    const bool told = e->model->files.info.takes_guidance;
    if (!st && told)
        st = aleat_array_new(&p->guidance, 1, &one, err);
    if (!st && told)
        p->guidance.data[0] = (float)guidance;
    const aleat_array *scale = told ? &p->guidance : NULL;
    p->texts = (aleat_texts){.context = p->context.data ? &p->context : NULL,
                             .pooled = p->pooled.data ? &p->pooled : NULL,
                             .guidance = scale};
    p->negative = (aleat_texts){.context = p->negative_context.data ? &p->negative_context : NULL,
                                .pooled = p->negative_pooled.data ? &p->negative_pooled : NULL,
                                .guidance = scale};
    return st;
}

/** Says which encoders are not where they are looked for, before the first one is run. */
static aleat_status check_encoders(const encoding *e, const recipe *way, aleat_error *err)
{
    char list[128] = "";
    size_t len = 0;
    int missing = 0;
    const slot *last = NULL;
    for (int i = 0; i < MOST_SLOTS && way->slots[i].use; i++) {
        const slot *s = &way->slots[i];
        if (s->use == ALEAT_TEXT_SD3_T5 && e->wanted->no_t5)
            continue;
        bool there = false;
        const aleat_status st = aleat_text_encoder_is_in(&there, path_of(e, s), i + 1, s->use, err);
        if (st)
            return st;
        if (there)
            continue;
        if (own_path(e, s))
            return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: there is no %s text encoder (%s)",
                              own_path(e, s), s->name, s->option);
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s (%s)", missing ? ", " : "",
                                s->name, s->option);
        last = s;
        missing++;
    }
    if (!missing)
        return ALEAT_OK;
    (void)aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: %s not there: %s", path_of(e, last),
                     missing > 1 ? "these text encoders are" : "a text encoder is", list);
    if (way->optional_t5 && missing == 1 && last->use == ALEAT_TEXT_SD3_T5)
        aleat_hint(err, "--t5 names its file; --no-t5 does without it");
    else
        aleat_hint(err, "the options name files of one encoder each; --encoders names a diffusers "
                        "folder, or a file, that has them all");
    return ALEAT_ERR_ARGUMENT;
}

static aleat_status check_widths(const encoding *e, aleat_error *err)
{
    const aleat_denoiser_info *info = &e->model->files.info;
    const aleat_array *c = &e->context, *p = &e->pooled;
    if (c->data && c->dim[2] != info->context_dim)
        return wrong_widths(e, "encoded texts", c->dim[2], info->context_dim, err);
    if (p->data && p->dim[1] != info->pooled_dim)
        return wrong_widths(e, "pooled texts", p->dim[1], info->pooled_dim, err);
    return ALEAT_OK;
}

static aleat_status encode_all(encoding *e, const recipe *way, aleat_error *err)
{
    const aleat_prompt_options *o = e->wanted;
    const double scale = o->cfg_scale != 0 ? o->cfg_scale : way->cfg_scale;
    e->out->cfg_scale = scale;
    e->negatives = scale == 1 ? 0 : o->n_negatives ? o->n_negatives : 1;
    e->rows = e->negatives + o->count;
    e->texts = aleat_calloc((size_t)e->rows, sizeof *e->texts);
    if (!e->texts)
        return aleat_fail_memory(err, "prompts");
    e->texts[0] = "";
    for (int64_t i = 0; i < e->negatives && i < o->n_negatives; i++)
        e->texts[i] = o->negatives[i];
    for (int64_t i = 0; i < o->count; i++)
        e->texts[e->negatives + i] = o->prompts[i];
    aleat_status st = check_encoders(e, way, err);
    if (!st)
        st = way->encode(e, way->slots, err);
    if (!st)
        st = check_widths(e, err);
    if (!st)
        st = hand_out(e, o->guidance != 0 ? o->guidance : way->guidance, err);
    aleat_free((void *)e->texts);
    aleat_array_clear(&e->context);
    aleat_array_clear(&e->pooled);
    return st;
}

aleat_status aleat_encode_prompts(aleat_prompts *out, const aleat_model *model,
                                  const aleat_open_options *options,
                                  const aleat_prompt_options *wanted, aleat_error *err)
{
    static const aleat_open_options defaults;
    const recipe *way = NULL;
    memset(out, 0, sizeof *out);
    encoding e = {
        .open = options ? options : &defaults, .wanted = wanted, .model = model, .out = out};
    if (wanted->count < 1)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "no prompts");
    if (wanted->n_negatives > 1 && wanted->n_negatives != wanted->count)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%lld negative prompts for %lld prompts: one for all is possible, or one "
                          "for each",
                          (long long)wanted->n_negatives, (long long)wanted->count);
    aleat_status st = find_recipe(&way, model, wanted, err);
    if (!st)
        st = encode_all(&e, way, err);
    if (st)
        aleat_prompts_clear(out);
    return st;
}

aleat_status aleat_model_open_prompts(aleat_model **out, aleat_prompts *prompts, const char *path,
                                      const aleat_open_options *options,
                                      const aleat_prompt_options *wanted, aleat_error *err)
{
    *out = NULL;
    memset(prompts, 0, sizeof *prompts);
    const aleat_open_options defaults = {0};
    aleat_open_options opened = options ? *options : defaults;
    // First only to see what it is: nothing of its weights is read.
    aleat_model *model = NULL;
    aleat_status st = aleat_model_open(&model, path, &opened, err);
    if (!st)
        st = aleat_encode_prompts(prompts, model, &opened, wanted, err);
    opened.context_tokens = prompts->context.dim[1];
    if (!st && opened.context_tokens != model->files.info.context_tokens) {
        aleat_model_close(model);
        st = aleat_model_open(&model, path, &opened, err);
    }
    if (st) {
        aleat_model_close(model);
        aleat_prompts_clear(prompts);
        return st;
    }
    *out = model;
    return ALEAT_OK;
}

void aleat_prompts_clear(aleat_prompts *prompts)
{
    if (!prompts)
        return;
    aleat_array_clear(&prompts->context);
    aleat_array_clear(&prompts->pooled);
    aleat_array_clear(&prompts->guidance);
    aleat_array_clear(&prompts->negative_context);
    aleat_array_clear(&prompts->negative_pooled);
    for (int64_t i = 0; i < prompts->n_cuts; i++)
        aleat_free(prompts->cuts[i].rest);
    aleat_free(prompts->cuts);
    memset(prompts, 0, sizeof *prompts);
}
