/* Table 4: precision and recall of images kept by each score, against random subsets. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "aleat/metrics.h"
#include "base/alloc.h"
#include "base/error.h"
#include "paper/points.h"
#include "paper/rivals.h"

// Nearest neighbours that the metric looks at, those of density and coverage included, so that the
// halves which intervals come from need more vectors.
#define NEIGHBOURS 5
#define LEAST      (2 * (NEIGHBOURS + 1))
// Vectors on either side: balls shrink as sets grow, so that numbers compare at one size only.
#define MOST 10000

const aleat_column aleat_paper_table4_columns[] = {
    {.key = "estimator", .heading = "estimator"},
    {.key = "score", .heading = "kept by"},
    {.key = "order", .heading = "order"},
    {.key = "evaluations", .heading = "evaluations beside sampling", .detail = true},
    {.key = "images", .heading = "images", .detail = true},
    {.key = "precision", .heading = "precision", .digits = 4, .interval = true},
    {.key = "precision_z", .heading = "in s.d. of random", .digits = 3},
    {.key = "precision_published", .heading = "published", .digits = 4, .detail = true},
    {.key = "recall", .heading = "recall", .digits = 4, .interval = true},
    {.key = "recall_z", .heading = "in s.d. of random", .digits = 3},
    {.key = "recall_published", .heading = "published", .digits = 4, .detail = true},
    {.key = "remark", .heading = "remark"},
    {0},
};

typedef struct table {
    aleat_paper *paper;
    const aleat_pool *pool;
    aleat_array real, kept; // [.,D]; real is a view
    bool *members;          // [n]
    int64_t keep;
    double *precision, *recall; // [subsets]
    aleat_spread random[2];
    aleat_points points;
    int place;
} table;

// The first MOST members.
static void gather(table *t)
{
    const int64_t d = aleat_pool_dim(t->pool);
    const float *features = aleat_pool_features(t->pool);
    t->kept.dim[0] = 0;
    for (int64_t i = 0; i < t->pool->n && t->kept.dim[0] < MOST; i++)
        if (t->members[i])
            memcpy(t->kept.data + t->kept.dim[0]++ * d, features + i * d,
                   (size_t)d * sizeof *features);
}

static aleat_status measure(aleat_metric_result *out, table *t, int64_t draws, aleat_error *err)
{
    const aleat_paper_options *o = &t->paper->options;
    gather(t);
    const aleat_metric_inputs inputs = {.a = &t->real, .b = &t->kept};
    const aleat_metric_options options = {.draws = draws,
                                          .density_neighbours = NEIGHBOURS,
                                          .confidence = o->confidence,
                                          .seed = o->run.seed,
                                          .threads = o->threads};
    return aleat_metric_evaluate(out, "precision-recall", &inputs, &options, err);
}

static json_t *row_of(table *t, const char *score, const char *order, int64_t evaluations)
{
    aleat_result *r = &t->paper->result;
    json_t *row = aleat_result_row(r);
    aleat_row_text(r, row, "estimator", t->pool->estimator);
    aleat_row_text(r, row, "score", score);
    aleat_row_text(r, row, "order", order);
    aleat_row_count(r, row, "evaluations", evaluations);
    aleat_row_count(r, row, "images", t->kept.dim[0]);
    return row;
}

static aleat_status add_random(table *t, aleat_error *err)
{
    const aleat_paper_options *o = &t->paper->options;
    const aleat_published *published = aleat_paper_published(t->paper);
    aleat_status st = ALEAT_OK;
    for (int64_t i = 0; !st && i < o->subsets; i++) {
        aleat_metric_result m = {0};
        double low = NAN, high = NAN;
        st = aleat_keep_random(t->members, t->pool->n, t->keep, o->run.seed, i, NULL, err);
        if (!st)
            st = measure(&m, t, 0, err);
        if (!st && m.warnings[0])
            aleat_result_warn(&t->paper->result, "%.*s", (int)strcspn(m.warnings, "\n"),
                              m.warnings);
        t->precision[i] = aleat_metric_named(&m, "precision", &low, &high);
        t->recall[i] = aleat_metric_named(&m, "recall", &low, &high);
        aleat_metric_result_clear(&m);
        if (!st)
            st = aleat_paper_tell(t->paper, "random subsets", (double)(i + 1), (double)o->subsets,
                                  err);
    }
    if (st)
        return st;
    t->random[0] = aleat_spread_of(t->precision, o->subsets, o->confidence);
    t->random[1] = aleat_spread_of(t->recall, o->subsets, o->confidence);
    json_t *row = row_of(t, "random", "random", 0);
    for (int k = 0; k < 2; k++)
        aleat_row_interval(&t->paper->result, row, k ? "recall" : "precision", t->random[k].mean,
                           t->random[k].low, t->random[k].high);
    if (published) {
        aleat_row_number(&t->paper->result, row, "precision_published",
                         published->precision_random);
        aleat_row_number(&t->paper->result, row, "recall_published", published->recall_random);
    }
    return ALEAT_OK;
}

static aleat_status add_score(table *t, int score, bool highest, aleat_error *err)
{
    const aleat_pool *pool = t->pool;
    const aleat_published *published = aleat_paper_published(t->paper);
    aleat_result *r = &t->paper->result;
    aleat_metric_result m = {0};
    aleat_status st = aleat_keep_by_score(t->members, pool->scores + score * pool->n, pool->n,
                                          t->keep, highest, NULL, err);
    if (!st)
        st = measure(&m, t, t->paper->options.draws, err);
    if (st)
        return st;
    json_t *row =
        row_of(t, pool->names[score], highest ? "highest" : "lowest", aleat_pool_cost(pool, score));
    for (int k = 0; k < 2; k++) {
        double low = NAN, high = NAN;
        const char *name = k ? "recall" : "precision";
        const double value = aleat_metric_named(&m, name, &low, &high);
        aleat_row_interval(r, row, name, value, low, high);
        aleat_row_number(r, row, k ? "recall_z" : "precision_z",
                         (value - t->random[k].mean) / t->random[k].sd);
        aleat_points_add(&t->points,
                         k ? (highest ? "recall, highest kept" : "recall, lowest kept")
                           : (highest ? "precision, highest kept" : "precision, lowest kept"),
                         t->place + (highest ? 0.1 : -0.1), value, low, high);
    }
    if (published && strcmp(pool->names[score], "eps-var") == 0) {
        aleat_row_number(r, row, "precision_published", published->precision_kept);
        aleat_row_number(r, row, "recall_published", published->recall_kept);
    }
    aleat_metric_result_clear(&m);
    return ALEAT_OK;
}

static aleat_status fill(table *t, bool first, aleat_error *err)
{
    const aleat_pool *pool = t->pool;
    const int64_t subsets = t->paper->options.subsets;
    const int64_t dim[] = {t->keep < MOST ? t->keep : MOST, aleat_pool_dim(pool)};
    t->members = aleat_calloc((size_t)pool->n, sizeof *t->members);
    t->precision = aleat_calloc((size_t)subsets, sizeof *t->precision);
    t->recall = aleat_calloc((size_t)subsets, sizeof *t->recall);
    aleat_status st = t->members && t->precision && t->recall
                          ? aleat_array_new(&t->kept, 2, dim, err)
                          : aleat_fail_memory(err, "a subset");
    if (!st)
        st = add_random(t, err);
    for (int s = 0; !st && s < pool->n_scores; s++) {
        if (!aleat_pool_tells(pool, s, first))
            continue;
        t->place++;
        st = add_score(t, s, false, err);
        if (!st)
            st = add_score(t, s, true, err);
        if (!st)
            st = aleat_paper_tell(t->paper, "scores", s + 1, pool->n_scores, err);
    }
    return st;
}

static aleat_status add_pool(void *ctx, const aleat_pool *pool, bool first, aleat_error *err)
{
    table *t = ctx;
    t->pool = pool;
    const aleat_status st = fill(t, first, err);
    aleat_array_clear(&t->kept);
    aleat_free(t->members);
    aleat_free(t->precision);
    aleat_free(t->recall);
    t->members = NULL;
    t->precision = t->recall = NULL;
    return st;
}

// Before any image is made.
static aleat_status check_sizes(const table *t, aleat_error *err)
{
    const aleat_paper_options *o = &t->paper->options;
    const int64_t real = t->paper->reference.features.dim[0];
    if (t->keep >= LEAST && real >= LEAST)
        return ALEAT_OK;
    (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                     "%" PRId64 " kept of %" PRId64 " images, against %" PRId64 " real ones: %d "
                     "nearest neighbours in halves of either set need %d",
                     t->keep, o->run.n, real, NEIGHBOURS, LEAST);
    if (t->keep < LEAST)
        aleat_hint(err, "-n %.0f at least", ceil(LEAST / o->keep - 1e-6));
    return ALEAT_ERR_ARGUMENT;
}

aleat_status aleat_paper_table4(aleat_paper *p, aleat_error *err)
{
    table t = {.paper = p, .keep = aleat_paper_keep(p), .real = p->reference.features};
    // as many real ones as kept ones
    if (t.real.dim[0] > MOST || t.real.dim[0] > t.keep)
        t.real.dim[0] = t.keep < MOST ? t.keep : MOST;
    aleat_status st = check_sizes(&t, err);
    if (!st)
        st = aleat_paper_each_pool(p, add_pool, &t, err);
    aleat_result_note(
        &p->result,
        "k = 3; as many real as kept images, at most %d, the first ones of each set. Random: "
        "mean and range of random subsets. Other intervals are from random halves of "
        "both sets.",
        MOST);
    const aleat_plot plot = {.title = "Precision and recall of images kept by each score",
                             .x = {.label = "score, in the order of the table"},
                             .y = {.label = "share"}};
    if (!st)
        st = aleat_points_plot(&t.points, p->folder, "table4", &plot, NULL, NULL, err);
    aleat_points_clear(&t.points);
    return st;
}
