/* aleat_corrupt() and the experiment: whole images against damaged ones. */
#include "aleat/corrupt.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aleat/filter.h"
#include "aleat/metrics.h"
#include "base/alloc.h"
#include "base/error.h"
#include "io/corrupt.h"
#include "io/file.h"
#include "io/json.h"

#define MOST_KINDS  16
#define MOST_SCORES 16

int aleat_corruption_at(int i, aleat_corruption_facts *out)
{
    const aleat_corruption *c = aleat_corruption_table();
    for (int k = 0; c->name && k < i; k++)
        c++;
    if (i < 0 || !c->name)
        return 0;
    *out = (aleat_corruption_facts){c->name, c->help, c->strength, c->low, c->high};
    return 1;
}

/* ---- damage ---------------------------------------------------------------------------------- */

// The kind whose name the n letters are, and its strength (0: the usual one).
static aleat_status find_kind(const aleat_corruption **out, double *strength, const char *name,
                              size_t n, aleat_error *err)
{
    char known[256] = "";
    for (const aleat_corruption *c = aleat_corruption_table(); c->name; c++) {
        if (strlen(c->name) == n && memcmp(c->name, name, n) == 0) {
            *out = c;
            *strength = *strength == 0 ? c->strength : *strength;
            if (*strength >= c->low && *strength <= c->high)
                return ALEAT_OK;
            return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s of strength %g: expected %g to %g (%s)",
                              c->name, *strength, c->low, c->high, c->help);
        }
        const size_t used = strlen(known);
        (void)snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", c->name);
    }
    (void)aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no damage '%.*s'", (int)n, name);
    aleat_hint(err, "there is %s", known);
    return ALEAT_ERR_ARGUMENT;
}

static void bytes_of(uint8_t *out, const aleat_images *im)
{
    const int64_t plane = im->height * im->width, c = im->channels;
    for (int64_t i = 0; i < im->n; i++)
        for (int64_t p = 0; p < plane; p++)
            for (int64_t k = 0; k < c; k++) {
                const int64_t at =
                    im->channels_first ? (i * c + k) * plane + p : (i * plane + p) * c + k;
                const float v = im->bytes ? im->bytes[at] : 255 * im->floats[at];
                out[(i * plane + p) * c + k] = v > 0 ? (uint8_t)lrintf(fminf(v, 255)) : 0;
            }
}

// A whole image that is not the i-th.
static void copy_other(uint8_t *other, const aleat_images *im, int64_t i, uint64_t seed)
{
    const aleat_rng_key key = {
        .seed = seed, .image = (uint32_t)i, .step = 1, .purpose = ALEAT_FOR_DATA};
    const int64_t j = (int64_t)aleat_rng_below(&key, 0, (uint64_t)(im->n - 1));
    const aleat_images one = aleat_images_slice(im, j + (j >= i), 1);
    bytes_of(other, &one);
}

aleat_status aleat_corrupt(uint8_t *out, const aleat_images *images, const char *name,
                           double strength, uint64_t seed, aleat_error *err)
{
    const aleat_corruption *kind = NULL;
    aleat_status st = name ? find_kind(&kind, &strength, name, strlen(name), err) : ALEAT_OK;
    if (!st && ((images->channels != 1 && images->channels != 3) || images->n > UINT32_MAX))
        st = aleat_fail(err, ALEAT_ERR_SHAPE, "images of %" PRId64 " channels", images->channels);
    if (st)
        return st;
    bytes_of(out, images);
    if (!kind)
        return ALEAT_OK;
    const size_t size = (size_t)(images->height * images->width * images->channels);
    uint8_t *other = aleat_alloc(size);
    if (!other)
        return aleat_fail_memory(err, "damaging images");
    for (int64_t i = 0; !st && i < images->n; i++) {
        const bool alone = images->n < 2;
        if (!alone)
            copy_other(other, images, i, seed);
        const aleat_corrupt_image image = {
            .height = images->height,
            .width = images->width,
            .channels = images->channels,
            .pixels = out + (size_t)i * size,
            .other = alone ? NULL : other,
            .key = {.seed = seed, .image = (uint32_t)i, .purpose = ALEAT_FOR_DATA}};
        st = kind->apply(&image, strength, err);
    }
    aleat_free(other);
    return st;
}

/* ---- the experiment -------------------------------------------------------------------------- */

typedef struct damage {
    const aleat_corruption *kind; // NULL: none
    double strength;
} damage;

typedef struct experiment {
    const aleat_corruptions_options *options;
    aleat_model *model;
    const char *folder;
    aleat_images images;         // the first n
    uint8_t *bytes;              // [n,height,width,channels]
    damage sets[MOST_KINDS + 1]; // the first is whole
    int n_sets, n_scores;
    char scores[MOST_SCORES][32];
    double *values;      // [n_scores, n_sets, n]
    int64_t evaluations; // for each image and set
} experiment;

static aleat_status read_kinds(experiment *e, const char *text, aleat_error *err)
{
    e->n_sets = 1;
    for (const aleat_corruption *c = aleat_corruption_table(); !text && c->name; c++)
        e->sets[e->n_sets++] = (damage){c, c->strength};
    while (text && *text) {
        const size_t n = strcspn(text, ","), name = strcspn(text, ",=");
        damage d = {0};
        char *end = NULL;
        if (name < n) {
            d.strength = strtod(text + name + 1, &end);
            if (end != text + n || !(d.strength > 0))
                return aleat_fail(err, ALEAT_ERR_ARGUMENT, "'%.*s': expected a strength above 0",
                                  (int)n, text);
        }
        if (e->n_sets > MOST_KINDS)
            return aleat_fail(err, ALEAT_ERR_ARGUMENT, "more than %d kinds of damage", MOST_KINDS);
        const aleat_status st = find_kind(&d.kind, &d.strength, text, name, err);
        if (st)
            return st;
        e->sets[e->n_sets++] = d;
        text += n + (text[n] == ',');
    }
    return e->n_sets > 1 ? ALEAT_OK
                         : aleat_fail(err, ALEAT_ERR_ARGUMENT, "no kind of damage is asked for");
}

static char *folder_of(const experiment *e, int set)
{
    char name[64] = "whole";
    if (set)
        (void)snprintf(name, sizeof name, "%s-%g", e->sets[set].kind->name, e->sets[set].strength);
    return aleat_path_join(e->folder, name);
}

// Scores that are values of images, not of single steps or standard errors of others.
static bool counts(const char *name)
{
    const size_t n = strlen(name);
    return !strchr(name, '@') && strcmp(name, "score") != 0 &&
           !(n > 3 && strcmp(name + n - 3, "-se") == 0);
}

static aleat_status choose_scores(experiment *e, const aleat_scores *scores, aleat_error *err)
{
    const char *name;
    for (int i = 0; (name = aleat_scores_name(scores, i)) && e->n_scores < MOST_SCORES; i++)
        if (counts(name))
            (void)snprintf(e->scores[e->n_scores++], sizeof *e->scores, "%s", name);
    e->values =
        aleat_calloc((size_t)(e->n_scores * e->n_sets) * (size_t)e->images.n, sizeof *e->values);
    return e->values ? ALEAT_OK : aleat_fail_memory(err, "scores");
}

static double *values_of(const experiment *e, int score, int set)
{
    return e->values + ((int64_t)score * e->n_sets + set) * e->images.n;
}

static aleat_status read_scores(experiment *e, int set, const char *run, aleat_error *err)
{
    aleat_scores *scores = NULL;
    aleat_status st = aleat_scores_open(&scores, run, err);
    if (!st && set == 0)
        st = choose_scores(e, scores, err);
    if (!st && aleat_scores_count(scores) != e->images.n)
        st = aleat_fail(err, ALEAT_ERR_SHAPE, "%s: holds other images", run);
    for (int s = 0; !st && s < e->n_scores; s++)
        st = aleat_scores_values(values_of(e, s, set), scores, e->scores[s], err);
    aleat_scores_close(scores);
    return st;
}

typedef struct part_progress {
    const aleat_run_options *run;
    int set, sets;
} part_progress;

static bool on_progress(void *ctx, double done, double total)
{
    const part_progress *p = ctx;
    return p->run->progress(p->run->ctx, p->set * total + done, p->sets * total);
}

static aleat_status judge_set(experiment *e, int set, aleat_error *err)
{
    const damage *d = &e->sets[set];
    aleat_judge_options judge = e->options->judge;
    part_progress progress = {&e->options->judge.run, set, e->n_sets};
    aleat_run_result result = {0};
    const aleat_images damaged = {.n = e->images.n,
                                  .height = e->images.height,
                                  .width = e->images.width,
                                  .channels = e->images.channels,
                                  .bytes = e->bytes};
    judge.run.n = e->images.n;
    if (judge.run.progress) {
        judge.run.progress = on_progress;
        judge.run.ctx = &progress;
    }
    char *run = folder_of(e, set);
    aleat_status st = run ? aleat_corrupt(e->bytes, &e->images, d->kind ? d->kind->name : NULL,
                                          d->strength, judge.run.seed, err)
                          : aleat_fail_memory(err, e->folder);
    if (!st)
        st = aleat_make_dirs(run, err);
    if (!st)
        st = aleat_model_judge(e->model, &damaged, run, &judge, &result, err);
    e->evaluations = result.evaluations;
    if (!st)
        st = read_scores(e, set, run, err);
    aleat_free(run);
    return st;
}

static double mean_of(const double *values, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += values[i];
    return sum / (double)n;
}

// Whole images against those of sets [first, first + count): an image is drawn with its copies.
static aleat_status compare(const experiment *e, aleat_corruptions_row *row, int score, int first,
                            int count, aleat_error *err)
{
    const int64_t n = e->images.n, each = 1 + count;
    double *x = aleat_calloc((size_t)(n * each), sizeof *x);
    double *y = aleat_calloc((size_t)(n * each), sizeof *y);
    aleat_metric_result r = {0};
    aleat_status st = x && y ? ALEAT_OK : aleat_fail_memory(err, "scores");
    for (int64_t i = 0; !st && i < n; i++)
        for (int64_t k = 0; k < each; k++) {
            x[i * each + k] = values_of(e, score, k ? first + (int)k - 1 : 0)[i];
            y[i * each + k] = k > 0;
        }
    const aleat_metric_inputs in = {.x = x, .y = y, .n = n * each, .images = n};
    const aleat_metric_options options = {.draws = e->options->draws,
                                          .confidence = e->options->confidence,
                                          .seed = e->options->judge.run.seed};
    if (!st)
        st = aleat_metric_evaluate(&r, "auroc", &in, &options, err);
    if (!st) {
        row->auroc = r.values[0].value;
        row->auroc_low = r.values[0].low;
        row->auroc_high = r.values[0].high;
        row->mean_whole = mean_of(values_of(e, score, 0), n);
        for (int k = 0; k < count; k++)
            row->mean_damaged += mean_of(values_of(e, score, first + k), n) / count;
    } else {
        aleat_error_in(err, "%s", e->scores[score]);
    }
    aleat_metric_result_clear(&r);
    aleat_free(x);
    aleat_free(y);
    return st;
}

static aleat_status compare_all(const experiment *e, aleat_corruptions_result *r, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    r->n = e->images.n;
    r->evaluations = e->evaluations;
    r->rows = aleat_calloc((size_t)e->n_sets * (size_t)e->n_scores, sizeof *r->rows);
    if (!r->rows)
        return aleat_fail_memory(err, "results");
    for (int set = 1; !st && set <= e->n_sets; set++) {
        const bool all = set == e->n_sets;
        for (int s = 0; !st && s < e->n_scores; s++) {
            aleat_corruptions_row *row = &r->rows[r->n_rows++];
            (void)snprintf(row->kind, sizeof row->kind, "%s",
                           all ? "all" : e->sets[set].kind->name);
            (void)snprintf(row->score, sizeof row->score, "%s", e->scores[s]);
            row->strength = all ? NAN : e->sets[set].strength;
            st = all ? compare(e, row, s, 1, e->n_sets - 1, err) : compare(e, row, s, set, 1, err);
        }
    }
    return st;
}

/* ---- what is written ------------------------------------------------------------------------- */

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static aleat_status write_json(const experiment *e, const aleat_corruptions_result *r,
                               aleat_error *err)
{
    json_t *rows = json_array();
    for (int64_t i = 0; rows && i < r->n_rows; i++) {
        const aleat_corruptions_row *w = &r->rows[i];
        (void)json_array_append_new(
            rows, json_pack("{sssosssosososfsf}", "damage", w->kind, "strength",
                            number(w->strength), "score", w->score, "auroc", number(w->auroc),
                            "low", number(w->auroc_low), "high", number(w->auroc_high),
                            "mean_whole", w->mean_whole, "mean_damaged", w->mean_damaged));
    }
    json_t *o = json_pack("{sIsIsIso}", "images", (json_int_t)r->n, "evaluations_per_image",
                          (json_int_t)r->evaluations, "bootstrap", (json_int_t)e->options->draws,
                          "rows", rows);
    char *path = aleat_path_join(e->folder, "corruptions.json");
    const aleat_status st =
        o && path ? aleat_json_write(path, o, err) : aleat_fail_memory(err, "corruptions.json");
    json_decref(o);
    aleat_free(path);
    return st;
}

static aleat_status write_csv(const experiment *e, const aleat_corruptions_result *r,
                              aleat_error *err)
{
    aleat_atomic_file file = {0};
    char *path = aleat_path_join(e->folder, "corruptions.csv");
    aleat_status st =
        path ? aleat_atomic_open(&file, path, err) : aleat_fail_memory(err, e->folder);
    if (!st)
        (void)fputs("damage,strength,score,auroc,low,high,mean_whole,mean_damaged\n", file.stream);
    for (int64_t i = 0; !st && i < r->n_rows; i++) {
        const aleat_corruptions_row *w = &r->rows[i];
        const double numbers[] = {w->auroc, w->auroc_low, w->auroc_high, w->mean_whole,
                                  w->mean_damaged};
        (void)fprintf(file.stream, "%s,", w->kind);
        if (isfinite(w->strength))
            (void)fprintf(file.stream, "%g", w->strength);
        (void)fprintf(file.stream, ",%s", w->score);
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
            if (isfinite(numbers[k]))
                (void)fprintf(file.stream, ",%.17g", numbers[k]);
            else
                (void)fputc(',', file.stream);
        (void)fputc('\n', file.stream);
    }
    if (!st)
        st = aleat_atomic_commit(&file, err);
    aleat_atomic_abandon(&file);
    aleat_free(path);
    return st;
}

aleat_status aleat_model_corruptions(aleat_model *model, const aleat_images *images,
                                     const char *folder, const aleat_corruptions_options *options,
                                     aleat_corruptions_result *result, aleat_error *err)
{
    experiment e = {.options = options, .model = model, .folder = folder};
    aleat_corruptions_result r = {0};
    const int64_t n = options->judge.run.n ? options->judge.run.n : images->n;
    if (result)
        *result = r;
    aleat_status st = read_kinds(&e, options->kinds, err);
    if (!st && (n < 1 || n > images->n))
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT,
                        "%" PRId64 " images are asked for, there are %" PRId64, n, images->n);
    if (!st) {
        size_t all;
        e.images = aleat_images_slice(images, 0, n);
        if (aleat_size_mul((size_t)(images->height * images->width * images->channels), (size_t)n,
                           &all))
            e.bytes = aleat_alloc(all);
        st = e.bytes ? ALEAT_OK : aleat_fail_memory(err, "damaged images");
    }
    for (int set = 0; !st && set < e.n_sets; set++)
        st = judge_set(&e, set, err);
    if (!st)
        st = compare_all(&e, &r, err);
    if (!st)
        st = write_json(&e, &r, err);
    if (!st)
        st = write_csv(&e, &r, err);
    aleat_free(e.bytes);
    aleat_free(e.values);
    if (!st && result)
        *result = r;
    else
        aleat_corruptions_clear(&r);
    return st;
}

void aleat_corruptions_clear(aleat_corruptions_result *r)
{
    if (!r)
        return;
    aleat_free(r->rows);
    memset(r, 0, sizeof *r);
}
