/* Figure 3: the distance against the share of the images that is kept, both orders. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "paper/rivals.h"
#include "paper/subsets.h"

static const double shares[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9};

enum {
    N_SHARES = sizeof shares / sizeof *shares,
    MOST_SCORES = 8, // two curves each, beside the random one
    N_CURVES = 2 * MOST_SCORES + 1
};

const aleat_column aleat_paper_fig3_columns[] = {
    {.key = "estimator", .heading = "estimator"},
    {.key = "share", .heading = "share kept", .digits = 3},
    {.key = "score", .heading = "kept by"},
    {.key = "order", .heading = "order"},
    {.key = "images", .heading = "images"},
    ALEAT_VERDICT_COLUMNS,
    {.key = "remark", .heading = "remark"},
    {0},
};

// Curves of the plot: number 0 is of the random subsets.
typedef struct curves {
    double x[N_CURVES][N_SHARES], y[N_CURVES][N_SHARES], low[N_CURVES][N_SHARES],
        high[N_CURVES][N_SHARES];
    int64_t count[N_CURVES];
    int scores; // of the pools before
    char label[N_CURVES][64];
} curves;

static void add_point(curves *c, int curve, double share, double y, double low, double high)
{
    const int64_t i = c->count[curve]++;
    c->x[curve][i] = share;
    c->y[curve][i] = y;
    c->low[curve][i] = low;
    c->high[curve][i] = high;
}

static json_t *row_of(aleat_paper *p, const char *estimator, double share, const char *score,
                      const char *order, int64_t images)
{
    json_t *row = aleat_result_row(&p->result);
    aleat_row_text(&p->result, row, "estimator", estimator);
    aleat_row_number(&p->result, row, "share", share);
    aleat_row_text(&p->result, row, "score", score);
    aleat_row_text(&p->result, row, "order", order);
    aleat_row_count(&p->result, row, "images", images);
    return row;
}

// One score in both orders; curve 0: not drawn.
static aleat_status add_score(aleat_paper *p, const aleat_judge *judge, double share, int score,
                              int curve, curves *c, aleat_error *err)
{
    const aleat_pool *pool = judge->pool;
    aleat_status st = ALEAT_OK;
    for (int highest = 0; !st && highest < 2; highest++) {
        const char *order = aleat_judge_order(judge, highest);
        aleat_verdict v = {0};
        st = aleat_judge_score(&v, judge, pool->scores + score * pool->n, highest, err);
        json_t *row = row_of(p, pool->estimator, share, pool->names[score], order, judge->keep);
        aleat_row_verdict(&p->result, row, &v);
        if (!curve)
            continue;
        add_point(c, curve + highest, share, v.value, v.low, v.high);
        (void)snprintf(c->label[curve + highest], sizeof c->label[0], "%s, %s", pool->names[score],
                       order);
    }
    return st;
}

// Rows within classes have no curves: there would be too many.
static aleat_status add_share(aleat_paper *p, const aleat_pool *pool, double share,
                              const int64_t *classes, curves *c, aleat_error *err)
{
    const int64_t keep = (int64_t)((double)pool->n * share + 1e-6);
    aleat_judge judge = {0};
    if (keep < 2)
        return ALEAT_OK;
    aleat_status st = aleat_judge_open(&judge, p, pool, keep, classes, err);
    if (st)
        return st;
    const aleat_spread *random = &judge.spread;
    json_t *row = row_of(p, pool->estimator, share, "random", aleat_judge_order(&judge, -1), keep);
    aleat_row_interval(&p->result, row, "fid", random->mean, random->low, random->high);
    int shown = c->scores;
    if (!shown && !classes) // one curve of them is enough
        add_point(c, 0, share, random->mean, random->low, random->high);
    for (int s = 0; !st && s < pool->n_scores && shown < MOST_SCORES; s++)
        if (aleat_pool_tells(pool, s, false)) {
            st = add_score(p, &judge, share, s, classes ? 0 : 1 + 2 * shown, c, err);
            shown++;
        }
    if (!st)
        aleat_warn_of_few(p, pool, keep);
    aleat_judge_close(&judge);
    return st;
}

static aleat_status plot(const aleat_paper *p, const curves *c, aleat_error *err)
{
    aleat_series series[N_CURVES];
    int n = 0;
    for (int k = 0; k < N_CURVES; k++) {
        const int score = (k - 1) / 2;
        if (c->count[k])
            series[n++] = (aleat_series){.label = k ? c->label[k] : "random subsets",
                                         .x = c->x[k],
                                         .y = c->y[k],
                                         .count = c->count[k],
                                         .low = k ? NULL : c->low[k],
                                         .high = k ? NULL : c->high[k],
                                         // a colour for each score, dashed where the highest
                                         // are kept, and without dots when colours come again
                                         .points = k > 0 && score < ALEAT_PLOT_COLOURS - 1,
                                         .dashed = k == 0 || k % 2 == 0,
                                         .colour = k ? 1 + score % (ALEAT_PLOT_COLOURS - 1)
                                                     : ALEAT_PLOT_COLOURS};
    }
    const aleat_plot picture = {.title = "Distance by the share kept",
                                .x = {.label = "share kept"},
                                .y = {.label = "Frechet distance"},
                                .series = series,
                                .n_series = n};
    return aleat_result_plot(p->folder, "fig3", &picture, err);
}

// What the parts fill.
typedef struct figure {
    aleat_paper *paper;
    curves *curves;
    bool within; // are there rows within classes?
} figure;

static aleat_status add_pool(void *ctx, const aleat_pool *pool, bool first, aleat_error *err)
{
    figure *f = ctx;
    const int64_t *classes = aleat_pool_classes(pool);
    aleat_status st = ALEAT_OK;
    (void)first;
    for (int s = 0; !st && s < N_SHARES; s++) {
        st = add_share(f->paper, pool, shares[s], NULL, f->curves, err);
        if (!st && classes)
            st = add_share(f->paper, pool, shares[s], classes, f->curves, err);
    }
    f->within = f->within || classes;
    for (int s = 0; s < pool->n_scores; s++)
        f->curves->scores += aleat_pool_tells(pool, s, false);
    return st;
}

aleat_status aleat_paper_fig3(aleat_paper *p, aleat_error *err)
{
    figure f = {.paper = p, .curves = aleat_calloc(1, sizeof *f.curves)};
    aleat_status st =
        f.curves ? aleat_paper_each_pool(p, add_pool, &f, err) : aleat_fail_memory(err, "curves");
    aleat_paper_note_subsets(p);
    if (f.within)
        aleat_paper_note_classes(p);
    if (!st)
        st = plot(p, f.curves, err);
    aleat_free(f.curves);
    return st;
}
