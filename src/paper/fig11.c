/* Figure 11: what more copies and more scored steps bring. */
#include <stdio.h>

#include "base/alloc.h"
#include "base/error.h"
#include "paper/points.h"

static const aleat_column columns[] = {
    {.key = "copies", .heading = "M"},
    {.key = "steps", .heading = "scored steps"},
    {.key = "evaluations", .heading = "evaluations beside sampling"},
    {.key = "score", .heading = "kept by"},
    {.key = "order", .heading = "order"},
    {.key = "images", .heading = "images"},
    {.key = "fid", .heading = "Fréchet distance", .digits = 5, .interval = true},
    {.key = "difference", .heading = "less random", .digits = 3, .interval = true},
    {.key = "z", .heading = "in s.d. of random subsets", .digits = 3},
    {.key = "p", .heading = "share of random at least as near", .digits = 3},
    {0},
};

static void add_row(aleat_paper *p, const aleat_judge *judge, int64_t copies, int64_t steps,
                    int map, bool highest, const aleat_verdict *v, aleat_points *points)
{
    const aleat_pool *pool = judge->pool;
    const int64_t evaluations = pool->extra / pool->n_steps * steps;
    char window[64];
    (void)snprintf(window, sizeof window, "%lld:%lld", (long long)pool->first_step,
                   (long long)(pool->first_step + steps));
    json_t *row = aleat_result_row(&p->result);
    aleat_row_count(&p->result, row, "copies", copies);
    aleat_row_text(&p->result, row, "steps", window);
    aleat_row_count(&p->result, row, "evaluations", evaluations);
    aleat_row_text(&p->result, row, "score", pool->names[map]);
    aleat_row_text(&p->result, row, "order", highest ? "highest" : "lowest");
    aleat_row_count(&p->result, row, "images", judge->keep);
    aleat_row_verdict(&p->result, row, v);
    if (map == 0) // the paper's score
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

static aleat_status add_copies(aleat_paper *p, int64_t copies, aleat_points *points,
                               aleat_spread *random, aleat_error *err)
{
    aleat_run_options run = aleat_paper_scored_run(p, "copies");
    aleat_pool pool = {0};
    aleat_judge judge = {0};
    run.copies = copies;
    aleat_status st = aleat_pool_make(&pool, p, &run, err);
    if (!st)
        st = aleat_judge_open(&judge, p, &pool, aleat_paper_keep(p), err);
    double *scores = aleat_calloc((size_t)run.n, sizeof *scores);
    if (!st && !scores)
        st = aleat_fail_memory(err, "scores");
    for (int64_t steps = 1; !st && steps <= pool.n_steps; steps++)
        for (int map = 0; !st && map < pool.n_maps; map++)
            for (int highest = 0; !st && highest < 2; highest++) {
                aleat_verdict v;
                sum_steps(scores, &pool, map, steps);
                st = aleat_judge_score(&v, &judge, scores, highest, err);
                if (!st)
                    add_row(p, &judge, copies, steps, map, highest, &v, points);
            }
    *random = judge.spread;
    if (!st)
        aleat_warn_of_few(p, &pool, judge.keep);
    aleat_free(scores);
    aleat_judge_close(&judge);
    aleat_pool_clear(&pool);
    return st;
}

aleat_status aleat_paper_fig11(aleat_paper *p, aleat_error *err)
{
    static const int64_t usual[] = {5, 10, 20, 0};
    aleat_points points = {0};
    aleat_spread random = {0};
    aleat_status st = ALEAT_OK;
    p->result.columns = columns;
    for (int i = 0; !st && aleat_paper_copies(p, usual, i); i++)
        st = add_copies(p, aleat_paper_copies(p, usual, i), &points, &random, err);
    aleat_paper_note_subsets(p);
    const aleat_plot plot = {.title = "Distance by copies and scored steps",
                             .x = {.label = "evaluations beside sampling"},
                             .y = {.label = "Frechet distance"}};
    if (!st)
        st = aleat_points_plot(&points, p->folder, "fig11", &plot, "random subsets", &random, err);
    aleat_points_clear(&points);
    return st;
}
