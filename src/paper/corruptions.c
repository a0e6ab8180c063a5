/* Not in the paper: how well each score tells damaged images from whole ones, and what it costs. */
#include <string.h>

#include "aleat/corrupt.h"
#include "base/alloc.h"
#include "base/error.h"
#include "paper/paper.h"

static const aleat_column columns[] = {
    {.key = "damage", .heading = "damage"},
    {.key = "strength", .heading = "strength", .digits = 3},
    {.key = "score", .heading = "score"},
    {.key = "order", .heading = "damaged ones are"},
    {.key = "evaluations", .heading = "evaluations"},
    {.key = "images", .heading = "images"},
    {.key = "auroc", .heading = "AUROC", .digits = 4, .interval = true},
    {0},
};

static bool tell(void *ctx, double done, double total)
{
    return !aleat_paper_tell(ctx, "images", done, total, NULL);
}

// Of real images: their own classes, or the one that means none.
static aleat_status labels_of(int32_t **out, const aleat_paper *p, const aleat_image_set *set,
                              int64_t n, aleat_error *err)
{
    const aleat_model_facts facts = aleat_model_describe(p->model);
    const int32_t *own = aleat_image_set_labels(set);
    *out = NULL;
    if (!facts.n_classes)
        return ALEAT_OK;
    if (!own && facts.null_class < 0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: has no labels, and the model no class that means none",
                          p->options.data);
    *out = aleat_calloc((size_t)n, sizeof **out);
    if (!*out)
        return aleat_fail_memory(err, "labels");
    for (int64_t i = 0; i < n; i++) {
        (*out)[i] = own ? own[i] : (int32_t)facts.null_class;
        if ((*out)[i] < 0 || (*out)[i] >= facts.n_classes)
            return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: image %lld is of class %d",
                              p->options.data, (long long)i, (int)(*out)[i]);
    }
    return ALEAT_OK;
}

// Both signs of a score.
static void add_rows(aleat_paper *p, const aleat_corruptions_result *r,
                     const aleat_corruptions_row *w)
{
    for (int low = 0; low < 2; low++) {
        json_t *row = aleat_result_row(&p->result);
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

aleat_status aleat_paper_corruptions(aleat_paper *p, aleat_error *err)
{
    aleat_image_set *set = NULL;
    aleat_corruptions_result r = {0};
    int32_t *labels = NULL;
    char *folder = aleat_paper_path(p, "corruptions");
    const char *split = strcmp(p->options.split, "all") == 0 ? NULL : p->options.split;
    p->result.columns = columns;
    aleat_status st = folder ? ALEAT_OK : aleat_fail_memory(err, p->folder);
    if (!st && !p->options.data)
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT, "damage needs real images: --data");
    if (!st)
        st = aleat_image_set_open(&set, p->options.data, split, err);
    if (!st) {
        const aleat_images images = aleat_image_set_images(set);
        const int64_t n = p->options.run.n < images.n ? p->options.run.n : images.n;
        aleat_corruptions_options options = {.judge = {.run = aleat_paper_scored_run(p, "copies")},
                                             .draws = p->options.draws,
                                             .confidence = p->options.confidence};
        st = labels_of(&labels, p, set, n, err);
        options.judge.run.n = n;
        options.judge.run.labels = labels;
        options.judge.run.progress = tell;
        options.judge.run.ctx = p;
        if (!st)
            st = aleat_model_corruptions(p->model, &images, folder, &options, &r, err);
    }
    for (int64_t i = 0; !st && i < r.n_rows; i++)
        add_rows(p, &r, &r.rows[i]);
    aleat_result_note(&p->result,
                      "Area under the ROC curve of a score, the sum of its map over the scored "
                      "steps; an image is drawn together with its damaged copies.");
    aleat_corruptions_clear(&r);
    aleat_image_set_close(set);
    aleat_free(labels);
    aleat_free(folder);
    return st;
}
