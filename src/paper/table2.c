/* Table 2: how well each map finds the errors of reconstructed real images. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "aleat/reconstruct.h"
#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "paper/points.h"
#include "paper/real.h"
#include "paper/rivals.h"

const aleat_column aleat_paper_table2_columns[] = {
    {.key = "estimator", .heading = "estimator"},
    {.key = "map", .heading = "map"},
    {.key = "unsure", .heading = "unsure where it is"},
    {.key = "evaluations", .heading = "evaluations"},
    {.key = "images", .heading = "images", .detail = true},
    {.key = "ause", .heading = "AUSE", .digits = 4, .interval = true},
    {.key = "aurg", .heading = "AURG", .digits = 4, .interval = true},
    {.key = "ause_per_image",
     .heading = "AUSE, mean of images",
     .digits = 4,
     .interval = true,
     .detail = true},
    {.key = "aurg_per_image",
     .heading = "AURG, mean of images",
     .digits = 4,
     .interval = true,
     .detail = true},
    {.key = "spearman", .heading = "Spearman", .digits = 3, .interval = true},
    {.key = "rmse", .heading = "RMSE", .digits = 4, .detail = true},
    {.key = "published_ause", .heading = "published AUSE", .digits = 4},
    {.key = "published_aurg", .heading = "published AURG", .digits = 4},
    {.key = "remark", .heading = "remark"},
    {0},
};

typedef struct table {
    aleat_paper *paper;
    aleat_real real;
    aleat_points points;
    int place;
} table;

static bool tell(void *ctx, double done, double total)
{
    return !aleat_paper_tell(ctx, "reconstructions", done, total, NULL);
}

// The folder of a reconstruction is named by all that decides it.
static aleat_status name_folder(char **out, const table *t, const aleat_run_options *run,
                                aleat_error *err)
{
    aleat_run *opened = NULL;
    aleat_sha256_state state;
    char hash[ALEAT_SHA256_TEXT];
    *out = NULL;
    const aleat_status st = aleat_run_open(&opened, t->paper->model, run, err);
    if (st)
        return st;
    const char *settings = aleat_run_describe(opened).settings;
    aleat_sha256_begin(&state);
    aleat_sha256_add(&state, settings, strlen(settings));
    aleat_hash_images(&state, &t->real.images);
    aleat_sha256_end(&state, hash);
    aleat_run_close(opened);
    *out = aleat_paper_path(t->paper, "reconstructions/%.12s", hash);
    return *out ? aleat_make_dirs(*out, err) : aleat_fail_memory(err, t->paper->folder);
}

static void add_interval(aleat_result *r, json_t *row, const char *key, bool low,
                         const aleat_metric_result *m)
{
    char name[64];
    double from, to;
    (void)snprintf(name, sizeof name, "%s%s", key, low ? "_inverted" : "");
    const double value = aleat_metric_named(m, name, &from, &to);
    aleat_row_interval(r, row, key, value, from, to);
}

static void add_published(table *t, json_t *row, const char *map)
{
    const aleat_published *published = aleat_paper_published(t->paper);
    const bool dropout = strcmp(map, "dropout-var") == 0;
    if (!published || (!dropout && strcmp(map, "eps-var") != 0))
        return;
    aleat_row_number(&t->paper->result, row, "published_ause",
                     dropout ? published->dropout_ause : published->ause);
    aleat_row_number(&t->paper->result, row, "published_aurg",
                     dropout ? published->dropout_aurg : published->aurg);
}

// Both signs of a map: unsure where it is high, and where it is low.
static void add_map(table *t, const char *estimator, const aleat_reconstruct_result *r,
                    const aleat_reconstruct_map *map)
{
    static const char *const areas[] = {"ause", "aurg", "ause_per_image", "aurg_per_image"};
    aleat_result *result = &t->paper->result;
    t->place++;
    for (int low = 0; low < 2; low++) {
        double from, to;
        json_t *row = aleat_result_row(result);
        aleat_row_text(result, row, "estimator", estimator);
        aleat_row_text(result, row, "map", map->name);
        aleat_row_text(result, row, "unsure", low ? "low" : "high");
        aleat_row_count(result, row, "evaluations", r->evaluations);
        aleat_row_count(result, row, "images", r->n);
        for (size_t k = 0; k < sizeof areas / sizeof *areas; k++)
            add_interval(result, row, areas[k], low, &map->ause);
        const double rank = aleat_metric_named(&map->ause, "spearman", &from, &to);
        aleat_row_interval(result, row, "spearman", low ? -rank : rank, low ? -to : from,
                           low ? -from : to);
        aleat_row_number(result, row, "rmse", aleat_metric_named(&map->ause, "rmse", &from, &to));
        add_published(t, row, map->name);
        const double ause =
            aleat_metric_named(&map->ause, low ? "ause_inverted" : "ause", &from, &to);
        aleat_points_add(&t->points, low ? "unsure where low" : "unsure where high",
                         t->place + (low ? 0.1 : -0.1), ause, from, to);
    }
}

static aleat_status add_estimator(void *ctx, const char *estimator, aleat_error *err)
{
    table *t = ctx;
    const aleat_paper_options *o = &t->paper->options;
    aleat_reconstruct_result r = {0};
    aleat_reconstruct_options options = {.run = aleat_paper_scored_run(t->paper, estimator),
                                         .encoder = o->run.decoder,
                                         .draws = o->draws,
                                         .confidence = o->confidence};
    options.run.n = t->real.images.n;
    options.run.labels = t->real.labels;
    options.run.decoder = NULL;
    options.run.score_steps = (aleat_steps){0}; // all that are executed
    options.run.progress = tell;
    options.run.ctx = t->paper;
    char *folder;
    aleat_status st = name_folder(&folder, t, &options.run, err);
    if (!st)
        st = aleat_model_reconstruct(t->paper->model, &t->real.images, folder, &options, &r, err);
    for (int m = 0; !st && m < r.n_maps; m++)
        add_map(t, estimator, &r, &r.maps[m]);
    aleat_reconstruct_clear(&r);
    aleat_free(folder);
    return st;
}

static void add_notes(aleat_paper *p)
{
    aleat_result_note(&p->result,
                      "Real images (split '%s') are noised to half of the sampler's steps and "
                      "denoised; a map is the sum over all executed steps. Errors are differences "
                      "of images that run from -1 to 1. AUSE: the area between the sparsification "
                      "curve and that by the true error, less is better; AURG: the gain over a "
                      "random order, more is better. Pixels of all images are pooled, or areas of "
                      "images averaged. Intervals (%g %%) are from bootstraps over images.",
                      p->options.split, 100 * p->options.confidence);
    if (aleat_paper_published(p))
        aleat_result_note(&p->result,
                          "The published areas are of a program that compares images of two "
                          "ranges and noises to another level: they are no numbers to reach.");
}

aleat_status aleat_paper_table2(aleat_paper *p, aleat_error *err)
{
    table t = {.paper = p};
    aleat_status st = aleat_real_open(&t.real, p, err);
    if (!st)
        st = aleat_paper_each(p, add_estimator, &t, err);
    add_notes(p);
    const aleat_plot plot = {.title = "Maps against errors of reconstruction",
                             .x = {.label = "map, in the order of the table"},
                             .y = {.label = "AUSE"}};
    if (!st)
        st = aleat_points_plot(&t.points, p->folder, "table2", &plot, NULL, NULL, err);
    aleat_points_clear(&t.points);
    aleat_real_close(&t.real);
    return st;
}
