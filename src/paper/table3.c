/* Table 3: guided images against plain ones from the same noise, at each strength and sign. */
#include <math.h>
#include <stdio.h>
#include <string.h>

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
    {.key = "direction", .heading = "less random signs", .digits = 3, .interval = true},
    {.key = "published", .heading = "published", .digits = 5},
    {0},
};

// Arrays are [1 + draws]: the distance of all images, then those of random halves.
typedef struct table {
    aleat_paper *paper;
    double *plain;         // to compare with
    double *values;        // of the run that is looked at
    double *guided[2];     // of both directions at this strength, which wait for their control
    json_t *guided_row[2]; // borrowed
    double *scratch;
    aleat_spread band;
    aleat_points points;
} table;

enum { RANDOM_SIGN = 2 }; // behind both directions in the table of signs

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

// What images are nearer than others of the same halves.
static void put_difference(table *t, json_t *row, const char *key, const double *values,
                           const double *others)
{
    const aleat_paper_options *o = &t->paper->options;
    const double difference = values[0] - others[0];
    for (int64_t d = 0; d < o->draws; d++)
        t->scratch[d] = values[d + 1] - others[d + 1];
    const aleat_interval paired =
        aleat_centred_interval(difference, t->scratch, o->draws, o->confidence);
    aleat_row_interval(&t->paper->result, row, key, difference, paired.low, paired.high);
}

// Both directions against moves of the same sizes: what is left is the direction's merit.
static void compare_directions(table *t, const char *sign, json_t *row)
{
    for (int s = 0; s < 2; s++)
        if (strcmp(sign, aleat_guide_sign_name(s, NULL)) == 0) {
            memcpy(t->guided[s], t->values, (size_t)(t->paper->options.draws + 1) * sizeof(double));
            t->guided_row[s] = row;
        }
    for (int s = 0; s < 2 && strcmp(sign, aleat_guide_sign_name(RANDOM_SIGN, NULL)) == 0; s++)
        put_difference(t, t->guided_row[s], "direction", t->guided[s], t->values);
}

static void add_row(table *t, const aleat_pool *pool, const char *sign, double strength)
{
    aleat_paper *p = t->paper;
    const aleat_paper_options *o = &p->options;
    const aleat_published *published = aleat_paper_published(p);
    json_t *row = aleat_result_row(&p->result);
    const double value = t->values[0];
    memcpy(t->scratch, t->values + 1, (size_t)o->draws * sizeof *t->scratch);
    const aleat_interval own = aleat_centred_interval(value, t->scratch, o->draws, o->confidence);
    aleat_row_text(&p->result, row, "sign", sign);
    aleat_row_number(&p->result, row, "strength", strength);
    aleat_row_count(&p->result, row, "evaluations", pool->evaluations + pool->extra);
    aleat_row_count(&p->result, row, "images", pool->n);
    aleat_row_number(&p->result, row, "change", mean_change(pool));
    aleat_row_interval(&p->result, row, "fid", value, own.low, own.high);
    if (isfinite(strength)) {
        put_difference(t, row, "difference", t->values, t->plain);
        compare_directions(t, sign, row);
        aleat_points_add(&t->points, series_of(sign), strength, value, own.low, own.high);
    } else {
        t->band = (aleat_spread){.mean = value, .low = own.low, .high = own.high};
    }
    // the paper's strength is 1, its direction that of the gradient
    if (published && (!isfinite(strength) || (strength == 1 && *sign == '+')))
        aleat_row_number(&p->result, row, "published",
                         isfinite(strength) ? published->fid_guided : published->fid_plain);
}

static aleat_status add_run(void *ctx, const aleat_run_options *run, const char *estimator,
                            aleat_error *err)
{
    table *t = ctx;
    aleat_pool pool = {0};
    aleat_status st = aleat_pool_make(&pool, t->paper, run, estimator, err);
    if (!st)
        st = aleat_pool_distances(t->values, t->paper, &pool, NULL, err);
    if (!st && !run->guide)
        memcpy(t->plain, t->values, (size_t)(t->paper->options.draws + 1) * sizeof *t->plain);
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
    aleat_status st = visit(ctx, &run, estimator, err);
    run.guide = true;
    for (int64_t i = 0; !st && i < n; i++)
        for (int sign = 0; !st && sign < (o->control ? RANDOM_SIGN + 1 : 2); sign++) {
            run.strength = strengths[i];
            run.guide_sign = aleat_guide_sign_name(sign, NULL);
            st = visit(ctx, &run, estimator, err);
        }
    return st;
}

// What of the settings only guided runs have; their strengths and signs are the rows'.
static aleat_status tell_guidance(aleat_paper *p, aleat_error *err)
{
    static const char *const keys[] = {"guide_steps", "percentile", "gradient"};
    aleat_run_options run = p->options.run;
    aleat_run *opened = NULL;
    run.guide = true;
    run.strength = 1;
    aleat_status st = aleat_run_open(&opened, p->model, &run, err);
    if (st)
        return st;
    json_t *all = json_loads(aleat_run_describe(opened).settings, 0, NULL);
    for (size_t k = 0; !st && k < sizeof keys / sizeof *keys; k++)
        if (json_object_set(p->result.settings, keys[k], json_object_get(all, keys[k])))
            st = aleat_fail_memory(err, "settings");
    json_decref(all);
    aleat_run_close(opened);
    return st;
}

aleat_status aleat_paper_table3(aleat_paper *p, aleat_error *err)
{
    const size_t room = (size_t)p->options.draws + 1;
    double *arrays = aleat_calloc(room, 5 * sizeof *arrays);
    if (!arrays)
        return aleat_fail_memory(err, "distances");
    table t = {.paper = p,
               .plain = arrays,
               .values = arrays + room,
               .guided = {arrays + 2 * room, arrays + 3 * room},
               .scratch = arrays + 4 * room};
    aleat_status st = tell_guidance(p, err);
    if (!st)
        st = aleat_paper_table3_runs(p, NULL, add_run, &t, err);
    aleat_result_note(&p->result,
                      "Every row starts from the same noise. Intervals are from random halves, the "
                      "same ones for all rows. Evaluations are those of the network "
                      "for each image; products with its Jacobian come on top, one for each copy.");
    if (p->options.control)
        aleat_result_note(
            &p->result, "Random signs: moves of the same sizes whose signs are drawn. 'Less random "
                        "signs' is what a direction gives beyond such moves: its merit.");
    const aleat_plot plot = {
        .title = "Guided sampling", .x = {.label = "strength"}, .y = {.label = "Frechet distance"}};
    if (!st)
        st = aleat_points_plot(&t.points, p->folder, "table3", &plot, "plain", &t.band, err);
    aleat_points_clear(&t.points);
    aleat_free(arrays);
    return st;
}
