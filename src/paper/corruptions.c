/* Not in the paper: how well each score tells damaged images from whole ones, and what it costs. */
#include <string.h>

#include "aleat/corrupt.h"
#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "paper/real.h"
#include "paper/rivals.h"

const aleat_column aleat_paper_corruptions_columns[] = {
    {.key = "estimator", .heading = "estimator"},
    {.key = "damage", .heading = "damage"},
    {.key = "strength", .heading = "strength", .digits = 3},
    {.key = "score", .heading = "score"},
    {.key = "order", .heading = "damaged ones are"},
    {.key = "evaluations", .heading = "evaluations"},
    {.key = "images", .heading = "images"},
    {.key = "auroc", .heading = "AUROC", .digits = 4, .interval = true},
    {.key = "remark", .heading = "remark"},
    {0},
};

static bool tell(void *ctx, double done, double total)
{
    return !aleat_paper_tell(ctx, "images", done, total, NULL);
}

// Both signs of a score.
static void add_rows(aleat_paper *p, const char *estimator, const aleat_corruptions_result *r,
                     const aleat_corruptions_row *w)
{
    for (int low = 0; low < 2; low++) {
        json_t *row = aleat_result_row(&p->result);
        aleat_row_text(&p->result, row, "estimator", estimator);
        aleat_row_text(&p->result, row, "damage", w->kind);
        aleat_row_number(&p->result, row, "strength", w->strength);
        aleat_row_text(&p->result, row, "score", w->score);
        aleat_row_text(&p->result, row, "order", low ? "lower" : "higher");
        aleat_row_count(&p->result, row, "evaluations", r->evaluations);
        aleat_row_count(&p->result, row, "images", r->n);
        if (low)
            aleat_row_interval(&p->result, row, "auroc", 1 - w->auroc, 1 - w->auroc_high,
                               1 - w->auroc_low);
        else
            aleat_row_interval(&p->result, row, "auroc", w->auroc, w->auroc_low, w->auroc_high);
    }
}

// What the parts share.
typedef struct damaged {
    aleat_paper *paper;
    aleat_real real;
    bool later;
} damaged;

// Of later estimators only their own score: the others are those of the first.
static aleat_status add_estimator(void *ctx, const char *estimator, aleat_error *err)
{
    damaged *d = ctx;
    aleat_paper *p = d->paper;
    aleat_corruptions_result r = {0};
    aleat_corruptions_options options = {.judge = {.run = aleat_paper_scored_run(p, estimator)},
                                         .draws = p->options.draws,
                                         .confidence = p->options.confidence};
    char *folder = aleat_paper_path(p, "corruptions/%s", estimator);
    aleat_status st = folder ? aleat_make_dirs(folder, err) : aleat_fail_memory(err, p->folder);
    options.judge.run.n = d->real.images.n;
    options.judge.run.labels = d->real.labels;
    options.judge.run.progress = tell;
    options.judge.run.ctx = p;
    if (!st)
        st = aleat_model_corruptions(p->model, &d->real.images, folder, &options, &r, err);
    for (int64_t i = 0; !st && i < r.n_rows; i++)
        if (!d->later || strcmp(r.rows[i].score, aleat_estimator_map(estimator)) == 0)
            add_rows(p, estimator, &r, &r.rows[i]);
    d->later = d->later || !st;
    aleat_corruptions_clear(&r);
    aleat_free(folder);
    return st;
}

aleat_status aleat_paper_corruptions(aleat_paper *p, aleat_error *err)
{
    damaged d = {.paper = p};
    aleat_status st = aleat_real_open(&d.real, p, err);
    if (!st)
        st = aleat_paper_each(p, add_estimator, &d, err);
    aleat_result_note(&p->result,
                      "Area under the ROC curve of a score, the sum of its map over the scored "
                      "steps; an image is drawn together with its damaged copies.");
    aleat_real_close(&d.real);
    return st;
}
