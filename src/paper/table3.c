/* Table 3: guided images against plain ones from the same noise, at each strength and sign. */
#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/error.h"
#include "aleat/sampling.h"
#include "metrics/resample.h"
#include "paper/points.h"

const aleat_column aleat_paper_table3_columns[] = {
    {.key = "sign", .heading = "guided"},
    {.key = "strength", .heading = "strength", .digits = 4},
    {.key = "evaluations", .heading = "evaluations"},
    {.key = "images", .heading = "images", .detail = true},
    {.key = "change", .heading = "norm of e'-e over that of e", .digits = 3},
    {.key = "fid", .heading = "Fréchet distance", .digits = 5, .interval = true},
    {.key = "difference", .heading = "less plain", .digits = 3, .interval = true},
    {.key = "published", .heading = "published", .digits = 5},
    {0},
};

// Plain distances, to compare with, and the plot.
typedef struct table {
    aleat_paper *paper;
    double *plain; // [1 + draws]
    double *values, *differences;
    aleat_spread band;
    aleat_points points;
} table;

static double mean_change(const aleat_pool *pool)
{
    const int64_t count = pool->n * pool->n_guided;
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += pool->changes[i];
    return count ? sum / (double)count : NAN;
}

static const char *series_of(const char *sign)
{
    return *sign == '+' ? "up (+)" : *sign == '-' ? "down (-)" : "random signs";
}

static void add_row(table *t, const aleat_pool *pool, const char *sign, double strength)
{
    aleat_paper *p = t->paper;
    const aleat_paper_options *o = &p->options;
    const aleat_published *published = aleat_paper_published(p);
    json_t *row = aleat_result_row(&p->result);
    const double value = t->values[0], difference = value - t->plain[0];
    for (int64_t d = 0; d < o->draws; d++)
        t->differences[d] = t->values[d + 1] - t->plain[d + 1];
    const aleat_interval own =
        aleat_centred_interval(value, t->values + 1, o->draws, o->confidence);
    const aleat_interval paired =
        aleat_centred_interval(difference, t->differences, o->draws, o->confidence);
    aleat_row_text(&p->result, row, "sign", sign);
    aleat_row_number(&p->result, row, "strength", strength);
    aleat_row_count(&p->result, row, "evaluations", pool->evaluations + pool->extra);
    aleat_row_count(&p->result, row, "images", pool->n);
    aleat_row_number(&p->result, row, "change", mean_change(pool));
    aleat_row_interval(&p->result, row, "fid", value, own.low, own.high);
    if (isfinite(strength)) {
        aleat_row_interval(&p->result, row, "difference", difference, paired.low, paired.high);
        aleat_points_add(&t->points, series_of(sign), strength, value, own.low, own.high);
    } else {
        t->band = (aleat_spread){.mean = value, .low = own.low, .high = own.high};
    }
    // the paper's strength is 1, its direction that of the gradient
    if (published && (!isfinite(strength) || (strength == 1 && *sign == '+')))
        aleat_row_number(&p->result, row, "published",
                         isfinite(strength) ? published->fid_guided : published->fid_plain);
}

static aleat_status add_run(void *ctx, const aleat_run_options *run, aleat_error *err)
{
    table *t = ctx;
    aleat_pool pool = {0};
    double *values = run->guide ? t->values : t->plain;
    aleat_status st = aleat_pool_make(&pool, t->paper, run, err);
    if (!st)
        st = aleat_pool_distances(values, t->paper, &pool, NULL, err);
    // the interval sorts its draws: the plain ones stay in their order
    for (int64_t d = 0; !st && d <= t->paper->options.draws; d++)
        t->values[d] = values[d];
    if (!st && run->guide)
        add_row(t, &pool, run->guide_sign, run->strength);
    else if (!st)
        add_row(t, &pool, "no", NAN);
    if (!st && !run->guide)
        aleat_warn_of_few(t->paper, &pool, pool.n);
    aleat_pool_clear(&pool);
    return st;
}

aleat_status aleat_paper_table3_runs(const aleat_paper *p, const char *estimator,
                                     aleat_paper_visit *visit, void *ctx, aleat_error *err)
{
    static const double usual[] = {1};
    const aleat_paper_options *o = &p->options;
    const double *strengths = o->n_strengths ? o->strengths : usual;
    const int64_t n = o->n_strengths ? o->n_strengths : 1;
    aleat_run_options run = o->run;
    (void)estimator;
    aleat_status st = visit(ctx, &run, err);
    run.guide = true;
    for (int64_t i = 0; !st && i < n; i++)
        for (int sign = 0; !st && sign < (o->control ? 3 : 2); sign++) {
            run.strength = strengths[i];
            run.guide_sign = aleat_guide_sign_name(sign, NULL);
            st = visit(ctx, &run, err);
        }
    return st;
}

aleat_status aleat_paper_table3(aleat_paper *p, aleat_error *err)
{
    const size_t room = (size_t)p->options.draws + 1;
    table t = {.paper = p,
               .plain = aleat_calloc(room, sizeof(double)),
               .values = aleat_calloc(room, sizeof(double)),
               .differences = aleat_calloc(room, sizeof(double))};
    aleat_status st = t.plain && t.values && t.differences
                          ? aleat_paper_table3_runs(p, NULL, add_run, &t, err)
                          : aleat_fail_memory(err, "distances");
    aleat_result_note(&p->result,
                      "Every row starts from the same noise. Intervals are from random halves, the "
                      "same ones for guided and plain images. Evaluations are those of the network "
                      "for each image; products with its Jacobian come on top, one for each copy.");
    const aleat_plot plot = {
        .title = "Guided sampling", .x = {.label = "strength"}, .y = {.label = "Frechet distance"}};
    if (!st)
        st = aleat_points_plot(&t.points, p->folder, "table3", &plot, "plain", &t.band, err);
    aleat_points_clear(&t.points);
    aleat_free(t.plain);
    aleat_free(t.values);
    aleat_free(t.differences);
    return st;
}
