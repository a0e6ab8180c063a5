/* Table 1: the distance of images kept by each score, against random subsets of as many. */
#include <inttypes.h>
#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "paper/points.h"
#include "paper/published.h"
#include "paper/rivals.h"
#include "paper/subsets.h"

const aleat_column aleat_paper_table1_columns[] = {
    {.key = "estimator", .heading = "estimator"},
    {.key = "score", .heading = "kept by"},
    {.key = "order", .heading = "order"},
    {.key = "evaluations", .heading = "evaluations beside sampling"},
    {.key = "images", .heading = "images"},
    ALEAT_VERDICT_COLUMNS,
    {.key = "published", .heading = "published", .digits = 5},
    {.key = "remark", .heading = "remark"},
    {0},
};

// What a plot shows of it, beside the paper itself.
typedef struct table {
    aleat_paper *paper;
    aleat_points points;
    aleat_spread random;
    int place;   // of the last score on the plot
    bool within; // are there rows within classes?
} table;

static json_t *row_of(aleat_paper *p, const aleat_judge *judge, const char *score,
                      const char *order, int64_t evaluations, int64_t images)
{
    json_t *row = aleat_result_row(&p->result);
    aleat_row_text(&p->result, row, "estimator", judge->pool->estimator);
    aleat_row_text(&p->result, row, "score", score);
    aleat_row_text(&p->result, row, "order", order);
    aleat_row_count(&p->result, row, "evaluations", evaluations);
    aleat_row_count(&p->result, row, "images", images);
    return row;
}

static aleat_status add_all(table *t, const aleat_judge *judge, aleat_error *err)
{
    aleat_paper *p = t->paper;
    aleat_verdict v = {0};
    const aleat_status st = aleat_judge_set(&v, judge, NULL, err);
    json_t *row = row_of(p, judge, "none", "all", 0, judge->pool->n);
    aleat_row_interval(&p->result, row, "fid", v.value, v.low, v.high);
    return st;
}

static void add_random(table *t, const aleat_judge *judge)
{
    aleat_paper *p = t->paper;
    const aleat_published *published = aleat_paper_published(p);
    json_t *row = row_of(p, judge, "random", aleat_judge_order(judge, -1), 0, judge->keep);
    aleat_row_interval(&p->result, row, "fid", judge->spread.mean, judge->spread.low,
                       judge->spread.high);
    if (published && !judge->classes)
        aleat_row_number(&p->result, row, "published", published->fid_random);
}

static aleat_status add_score(table *t, const aleat_judge *judge, int score, aleat_error *err)
{
    aleat_paper *p = t->paper;
    const aleat_pool *pool = judge->pool;
    const double *scores = pool->scores + score * pool->n;
    const aleat_published *published = aleat_paper_published(p);
    aleat_status st = ALEAT_OK;
    for (int highest = 0; !st && highest < 2; highest++) {
        aleat_verdict v = {0};
        st = aleat_judge_score(&v, judge, scores, highest, err);
        json_t *row = row_of(p, judge, pool->names[score], aleat_judge_order(judge, highest),
                             aleat_pool_cost(pool, score), judge->keep);
        aleat_row_verdict(&p->result, row, &v);
        if (judge->classes)
            continue; // neither in the paper nor on the plot, whose random subsets are others
        // which sign the paper's row has is not known: its text and its program differ
        if (published)
            aleat_row_number(&p->result, row, "published",
                             aleat_published_fid(published, pool->names[score]));
        t->place += !highest;
        aleat_points_add(&t->points, highest ? "highest kept" : "lowest kept",
                         t->place + (highest ? 0.1 : -0.1), v.value, v.low, v.high);
    }
    return st;
}

// All scores against random subsets, of all images or within classes. Signals cost nothing and do
// not depend on the estimator: the first one tells them.
static aleat_status add_sets(table *t, const aleat_pool *pool, const int64_t *classes, bool first,
                             aleat_error *err)
{
    aleat_judge judge = {0};
    const int64_t keep = aleat_paper_keep(t->paper);
    aleat_status st = aleat_judge_open(&judge, t->paper, pool, keep, classes, err);
    if (!st && !classes)
        st = add_all(t, &judge, err);
    if (!st)
        add_random(t, &judge);
    for (int s = 0; !st && s < pool->n_scores; s++)
        if (aleat_pool_tells(pool, s, first))
            st = add_score(t, &judge, s, err);
    if (first && !classes)
        t->random = judge.spread;
    aleat_judge_close(&judge);
    return st;
}

static aleat_status add_pool(void *ctx, const aleat_pool *pool, bool first, aleat_error *err)
{
    table *t = ctx;
    const int64_t *classes = aleat_pool_classes(pool);
    aleat_status st = add_sets(t, pool, NULL, first, err);
    if (!st && classes)
        st = add_sets(t, pool, classes, first, err);
    if (!st)
        aleat_warn_of_few(t->paper, pool, aleat_paper_keep(t->paper));
    if (!st && classes)
        t->within = true;
    return st;
}

aleat_status aleat_paper_table1(aleat_paper *p, aleat_error *err)
{
    table t = {.paper = p};
    aleat_status st = aleat_paper_each_pool(p, add_pool, &t, err);
    aleat_paper_note_subsets(p);
    if (t.within)
        aleat_paper_note_classes(p);
    const aleat_plot plot = {.title = "Images kept by each score",
                             .x = {.label = "score, in the order of the table"},
                             .y = {.label = "Frechet distance"}};
    if (!st)
        st = aleat_points_plot(&t.points, p->folder, "table1", &plot, "random subsets", &t.random,
                               err);
    aleat_points_clear(&t.points);
    return st;
}
