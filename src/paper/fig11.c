/* Figure 11: what more copies and more scored steps bring. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "paper/points.h"
#include "paper/rivals.h"
#include "uncertainty/estimator.h"

const aleat_column aleat_paper_fig11_columns[] = {
    {.key = "estimator", .heading = "estimator"},
    {.key = "copies", .heading = "M"},
    {.key = "steps", .heading = "scored steps"},
    {.key = "evaluations", .heading = "evaluations beside sampling"},
    {.key = "score", .heading = "kept by"},
    {.key = "order", .heading = "order"},
    {.key = "images", .heading = "images", .detail = true},
    ALEAT_VERDICT_COLUMNS,
    {.key = "remark", .heading = "remark"},
    {0},
};

static void add_row(aleat_paper *p, const aleat_judge *judge, int64_t copies, int64_t steps,
                    int map, bool highest, const aleat_verdict *v, aleat_points *points)
{
    const aleat_pool *pool = judge->pool;
    const int64_t evaluations = steps ? pool->extra / pool->n_steps * steps : pool->extra;
    char window[64];
    (void)snprintf(window, sizeof window, "%lld:%lld", (long long)pool->first_step,
                   (long long)(pool->first_step + steps));
    json_t *row = aleat_result_row(&p->result);
    aleat_row_text(&p->result, row, "estimator", pool->estimator);
    if (steps) {
        aleat_row_count(&p->result, row, "copies", copies);
        aleat_row_text(&p->result, row, "steps", window);
    }
    aleat_row_count(&p->result, row, "evaluations", evaluations);
    aleat_row_text(&p->result, row, "score", pool->names[map]);
    aleat_row_text(&p->result, row, "order", highest ? "highest" : "lowest");
    aleat_row_count(&p->result, row, "images", judge->keep);
    aleat_row_verdict(&p->result, row, v);
    if (map == 0 && !strcmp(pool->names[map], "eps-var")) // the paper's score
        aleat_points_add(points, highest ? "eps-var, highest kept" : "eps-var, lowest kept",
                         (double)evaluations + (highest ? 0.2 : -0.2), v->value, v->low, v->high);
}

// scores [n] = the sum of the map's first `steps` steps.
static void sum_steps(double *scores, const aleat_pool *pool, int map, int64_t steps)
{
    for (int64_t i = 0; i < pool->n; i++) {
        scores[i] = 0;
        for (int64_t k = 0; k < steps; k++)
            scores[i] += pool->sums[(i * pool->n_maps + map) * pool->n_steps + k];
    }
}

// What the parts fill.
typedef struct figure {
    aleat_paper *paper;
    aleat_points points;
    aleat_spread random;
} figure;

// Both orders of one score; steps 0: it is of whole runs.
static aleat_status add_score(figure *f, const aleat_judge *judge, const double *scores,
                              int64_t copies, int64_t steps, int score, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    for (int highest = 0; !st && highest < 2; highest++) {
        aleat_verdict v = {0};
        st = aleat_judge_score(&v, judge, scores, highest, err);
        if (!st)
            add_row(f->paper, judge, copies, steps, score, highest, &v, &f->points);
    }
    return st;
}

// By copies and steps of estimators that look at single states; others as they are.
static aleat_status add_run(void *ctx, const aleat_run_options *run, const char *estimator,
                            aleat_error *err)
{
    figure *f = ctx;
    aleat_paper *p = f->paper;
    const bool local = aleat_estimator_is_local(estimator);
    aleat_pool pool = {0};
    aleat_judge judge = {0};
    aleat_status st = aleat_pool_make(&pool, p, run, estimator, err);
    if (!st)
        st = aleat_judge_open(&judge, p, &pool, aleat_paper_keep(p), NULL, err);
    double *scores = aleat_calloc((size_t)run->n, sizeof *scores);
    if (!st && !scores)
        st = aleat_fail_memory(err, "scores");
    for (int64_t steps = 1; !st && local && steps <= pool.n_steps; steps++)
        for (int map = 0; !st && map < pool.n_maps; map++) {
            sum_steps(scores, &pool, map, steps);
            st = add_score(f, &judge, scores, run->copies, steps, map, err);
        }
    for (int s = 0; !st && !local && s < pool.n_scores; s++)
        if (aleat_pool_tells(&pool, s, false))
            st = add_score(f, &judge, pool.scores + s * pool.n, 0, 0, s, err);
    if (!st && strcmp(estimator, aleat_estimator_name(0, NULL)) == 0)
        f->random = judge.spread;
    if (!st)
        aleat_warn_of_few(p, &pool, judge.keep);
    aleat_free(scores);
    aleat_judge_close(&judge);
    aleat_pool_clear(&pool);
    return st;
}

aleat_status aleat_paper_fig11_runs(const aleat_paper *p, const char *estimator,
                                    aleat_paper_visit *visit, void *ctx, aleat_error *err)
{
    static const int64_t usual[] = {5, 10, 20, 0};
    aleat_run_options run = aleat_paper_pool_run(p, estimator);
    aleat_status st = ALEAT_OK;
    if (!aleat_estimator_is_local(estimator))
        return visit(ctx, &run, estimator, err);
    for (int i = 0; !st && (run.copies = aleat_paper_copies(p, usual, i)); i++)
        st = visit(ctx, &run, estimator, err);
    return st;
}

static aleat_status add_estimator(void *ctx, const char *estimator, aleat_error *err)
{
    const figure *f = ctx;
    return aleat_paper_fig11_runs(f->paper, estimator, add_run, ctx, err);
}

aleat_status aleat_paper_fig11(aleat_paper *p, aleat_error *err)
{
    figure f = {.paper = p};
    aleat_status st = aleat_paper_each(p, add_estimator, &f, err);
    aleat_paper_note_subsets(p);
    const aleat_plot plot = {.title = "Distance by copies and scored steps",
                             .x = {.label = "evaluations beside sampling"},
                             .y = {.label = "Frechet distance"}};
    if (!st)
        st = aleat_points_plot(&f.points, p->folder, "fig11", &plot, "random subsets", &f.random,
                               err);
    aleat_points_clear(&f.points);
    return st;
}
