#include "paper/subsets.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/keep.h"
#include "metrics/resample.h"
#include "paper/distances.h"

/* ---- choosing -------------------------------------------------------------------------------- */

const int64_t *aleat_pool_classes(const aleat_pool *pool)
{
    bool several = false;
    for (int64_t i = 0; i < pool->n; i++) {
        if (pool->labels[i] < 0)
            return NULL;
        several = several || pool->labels[i] != pool->labels[0];
    }
    return several ? pool->labels : NULL;
}

aleat_status aleat_keep_by_score(bool *members, const double *scores, int64_t n, int64_t keep,
                                 bool highest, const int64_t *classes, aleat_error *err)
{
    int64_t *order = aleat_calloc((size_t)n, sizeof *order);
    const bool done = order && aleat_order_scores(order, scores, n, highest) &&
                      aleat_keep_first(members, order, n, keep, classes);
    aleat_free(order);
    return done ? ALEAT_OK : aleat_fail_memory(err, "scores");
}

aleat_status aleat_keep_random(bool *members, int64_t n, int64_t keep, uint64_t seed, int64_t draw,
                               const int64_t *classes, aleat_error *err)
{
    int64_t *order = aleat_calloc((size_t)n, sizeof *order);
    if (order)
        aleat_order_random(order, n, seed, draw);
    const bool done = order && aleat_keep_first(members, order, n, keep, classes);
    aleat_free(order);
    return done ? ALEAT_OK : aleat_fail_memory(err, "a random subset");
}

bool aleat_scores_differ(const double *scores, int64_t n)
{
    for (int64_t i = 1; i < n; i++)
        if (isfinite(scores[i]) && scores[i] != scores[0])
            return true;
    return false;
}

/* ---- statistics ------------------------------------------------------------------------------ */

aleat_spread aleat_spread_of(double *values, int64_t n, double confidence)
{
    aleat_spread s = {0};
    double squares = 0;
    for (int64_t i = 0; i < n; i++)
        s.mean += values[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        squares += (values[i] - s.mean) * (values[i] - s.mean);
    s.sd = sqrt(squares / (double)(n - 1));
    // draws around their own mean: their quantiles as they are
    const aleat_interval q = aleat_centred_interval(s.mean, values, n, confidence);
    s.low = q.low;
    s.high = q.high;
    return s;
}

static aleat_status tell(void *ctx, int64_t done, int64_t total, aleat_error *err)
{
    return aleat_paper_tell(ctx, "distances", (double)done, (double)total, err);
}

static aleat_status measure(const aleat_paper *paper, const aleat_pool *pool,
                            aleat_distance_job *jobs, int64_t n, aleat_error *err)
{
    const aleat_paper_options *o = &paper->options;
    const aleat_distance_task task = {.features = aleat_pool_features(pool),
                                      .n = pool->n,
                                      .reference = &paper->reference.gaussian,
                                      .seed = o->run.seed,
                                      .threads = o->threads,
                                      .progress = tell,
                                      .ctx = (void *)paper};
    return aleat_distances(jobs, n, &task, err);
}

aleat_status aleat_pool_distances(double *values, const aleat_paper *paper, const aleat_pool *pool,
                                  const bool *members, aleat_error *err)
{
    const int64_t n = paper->options.draws + 1;
    aleat_distance_job *jobs = aleat_calloc((size_t)n, sizeof *jobs);
    if (!jobs)
        return aleat_fail_memory(err, "distances");
    for (int64_t d = 0; d < n; d++)
        jobs[d] = (aleat_distance_job){.members = members, .half = d - 1};
    const aleat_status st = measure(paper, pool, jobs, n, err);
    for (int64_t d = 0; d < n; d++)
        values[d] = jobs[d].distance;
    aleat_free(jobs);
    return st;
}

/* ---- random subsets -------------------------------------------------------------------------- */

static aleat_status measure_random(aleat_judge *j, aleat_error *err)
{
    const int64_t draws = j->paper->options.draws, n = j->n_random + draws;
    aleat_distance_job *jobs = aleat_calloc((size_t)n, sizeof *jobs);
    if (!jobs)
        return aleat_fail_memory(err, "random subsets");
    for (int64_t i = 0; i < n; i++)
        jobs[i] = (aleat_distance_job){
            .members =
                j->random + (i < j->n_random ? i : (i - j->n_random) % j->n_random) * j->pool->n,
            .half = i < j->n_random ? -1 : i - j->n_random};
    const aleat_status st = measure(j->paper, j->pool, jobs, n, err);
    for (int64_t i = 0; !st && i < j->n_random; i++)
        j->value[i] = jobs[i].distance;
    for (int64_t i = 0; !st && i < draws; i++)
        j->half[i] = jobs[j->n_random + i].distance;
    aleat_free(jobs);
    return st;
}

aleat_status aleat_judge_open(aleat_judge *out, const aleat_paper *paper, const aleat_pool *pool,
                              int64_t keep, const int64_t *classes, aleat_error *err)
{
    const aleat_paper_options *o = &paper->options;
    *out = (aleat_judge){
        .paper = paper, .pool = pool, .keep = keep, .n_random = o->subsets, .classes = classes};
    out->random = aleat_calloc((size_t)o->subsets, (size_t)pool->n * sizeof *out->random);
    out->value = aleat_calloc((size_t)o->subsets, sizeof *out->value);
    out->half = aleat_calloc((size_t)o->draws, sizeof *out->half);
    aleat_status st = out->random && out->value && out->half
                          ? ALEAT_OK
                          : aleat_fail_memory(err, "random subsets");
    for (int64_t r = 0; !st && r < o->subsets; r++)
        st = aleat_keep_random(out->random + r * pool->n, pool->n, keep, o->run.seed, r, classes,
                               err);
    if (!st)
        st = measure_random(out, err);
    if (!st)
        out->spread = aleat_spread_of(out->value, o->subsets, o->confidence);
    if (st)
        aleat_judge_close(out);
    return st;
}

void aleat_judge_close(aleat_judge *judge)
{
    aleat_free(judge->random);
    aleat_free(judge->value);
    aleat_free(judge->half);
    memset(judge, 0, sizeof *judge);
}

/* ---- a set ----------------------------------------------------------------------------------- */

static void conclude(aleat_verdict *out, const aleat_judge *j, double *draws, double *differences)
{
    const aleat_paper_options *o = &j->paper->options;
    int64_t as_near = 0;
    for (int64_t d = 0; d < o->draws; d++)
        differences[d] = draws[d] - j->half[d];
    out->difference = out->value - j->spread.mean;
    out->z = out->difference / j->spread.sd;
    for (int64_t r = 0; r < j->n_random; r++)
        as_near += j->value[r] <= out->value;
    out->p = (double)(1 + as_near) / (double)(1 + j->n_random);
    aleat_interval q = aleat_centred_interval(out->value, draws, o->draws, o->confidence);
    out->low = q.low;
    out->high = q.high;
    q = aleat_centred_interval(out->difference, differences, o->draws, o->confidence);
    out->difference_low = q.low;
    out->difference_high = q.high;
}

aleat_status aleat_judge_set(aleat_verdict *out, const aleat_judge *j, const bool *members,
                             aleat_error *err)
{
    const int64_t draws = j->paper->options.draws;
    double *values = aleat_calloc((size_t)draws + 1, 2 * sizeof *values);
    aleat_status st = values ? aleat_pool_distances(values, j->paper, j->pool, members, err)
                             : aleat_fail_memory(err, "distances");
    *out = (aleat_verdict){.value = st ? NAN : values[0]};
    if (!st)
        conclude(out, j, values + 1, values + draws + 1);
    aleat_free(values);
    return st;
}

aleat_status aleat_judge_score(aleat_verdict *out, const aleat_judge *j, const double *scores,
                               bool highest, aleat_error *err)
{
    bool *members = aleat_calloc((size_t)j->pool->n, sizeof *members);
    aleat_status st = members ? ALEAT_OK : aleat_fail_memory(err, "a subset");
    if (!st)
        st = aleat_keep_by_score(members, scores, j->pool->n, j->keep, highest, j->classes, err);
    if (!st)
        st = aleat_judge_set(out, j, members, err);
    aleat_free(members);
    return st;
}

const char *aleat_judge_order(const aleat_judge *judge, int highest)
{
    static const char *const names[][3] = {
        {"random", "lowest", "highest"},
        {"random within classes", "lowest within classes", "highest within classes"}};
    return names[judge->classes != NULL][highest < 0 ? 0 : 1 + highest];
}

void aleat_warn_of_few(aleat_paper *paper, const aleat_pool *pool, int64_t keep)
{
    const int64_t d = aleat_pool_dim(pool), real = paper->reference.features.dim[0];
    const int64_t fewest = keep < real ? keep : real;
    aleat_result *r = &paper->result;
    if (keep / 2 <= d)
        aleat_result_warn(r,
                          "%" PRId64 " images kept for features of %" PRId64 " numbers: the "
                          "covariances of halves are singular, distances and intervals mean little",
                          keep, d);
    else if (fewest < 10000)
        aleat_result_warn(r,
                          "%" PRId64 " images against %" PRId64 ": distances fall with their "
                          "number; compare them only with distances of as many",
                          keep, real);
    if (paper->options.subsets < 20)
        aleat_result_warn(r, "%" PRId64 " random subsets say little of their spread: 20 at least",
                          paper->options.subsets);
    if (paper->options.draws < 100)
        aleat_result_warn(r, "intervals are from %" PRId64 " resamples: 100 at least",
                          paper->options.draws);
}

void aleat_row_verdict(aleat_result *result, json_t *row, const aleat_verdict *v)
{
    aleat_row_interval(result, row, "fid", v->value, v->low, v->high);
    aleat_row_interval(result, row, "difference", v->difference, v->difference_low,
                       v->difference_high);
    aleat_row_number(result, row, "z", v->z);
    aleat_row_number(result, row, "p", v->p);
}
