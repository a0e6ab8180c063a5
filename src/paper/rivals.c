#include "paper/rivals.h"

#include <math.h>
#include <string.h>

#include "aleat/laplace.h"
#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "paper/real.h"
#include "paper/subsets.h"
#include "uncertainty/estimator.h"

// The paper's own, and the rival that costs no more. Others are asked for.
#define USUAL "copies,mc-dropout"

/* ---- which ----------------------------------------------------------------------------------- */

// Names that are none were refused before.
static unsigned set_of(const char *names)
{
    unsigned set;
    return aleat_estimators_parse(&set, names, NULL) ? 0 : set;
}

static unsigned wanted(const aleat_paper *p)
{
    return set_of(p->options.estimators ? p->options.estimators : USUAL);
}

bool aleat_paper_wants(const aleat_paper *p, const char *estimator)
{
    return wanted(p) & set_of(estimator);
}

aleat_run_options aleat_paper_scored_run(const aleat_paper *p, const char *estimator)
{
    aleat_run_options run = p->options.run;
    run.uncertainty = true;
    if (strcmp(estimator, aleat_estimator_name(0, NULL)) == 0)
        return run;
    run.estimator = estimator;
    run.statistic = run.compat = NULL;
    if (aleat_estimator_is_local(estimator))
        return run;
    run.score_steps = (aleat_steps){0};
    run.copies = 0; // how many states or networks are drawn is another question
    run.laplace = p->laplace;
    run.features = p->network;
    return run;
}

aleat_status aleat_paper_share(aleat_paper *p, aleat_error *err)
{
    unsigned set = 0;
    const char *name;
    aleat_run *opened = NULL;
    for (int e = 0; (name = aleat_estimator_name(e, NULL)); e++)
        if (aleat_estimator_is_local(name))
            set |= wanted(p) & ALEAT_ESTIMATOR_BIT(e);
    // a variant of Algorithm 1, or a statistic of its copies, is nothing to the others
    if (!(set & (set - 1)) || p->options.run.statistic || p->options.run.compat)
        return ALEAT_OK;
    aleat_estimators_text(p->shared, set);
    aleat_run_options run = aleat_paper_scored_run(p, aleat_estimator_name(0, NULL));
    run.estimator = p->shared;
    const aleat_status st = aleat_run_open(&opened, p->model, &run, err);
    aleat_run_close(opened);
    if (st)
        p->shared[0] = 0;
    return st == ALEAT_ERR_UNSUPPORTED ? ALEAT_OK : st; // then each says what it cannot
}

aleat_run_options aleat_paper_pool_run(const aleat_paper *p, const char *estimator)
{
    aleat_run_options run = aleat_paper_scored_run(p, estimator);
    if (set_of(p->shared) & set_of(estimator))
        run.estimator = p->shared;
    return run;
}

bool aleat_paper_follows(const aleat_paper *p, const char *estimator)
{
    const unsigned own = set_of(estimator), all = set_of(p->shared);
    return all & own && all & (own - 1);
}

/* ---- what they draw on ----------------------------------------------------------------------- */

static bool on_progress(void *ctx, double done, double total)
{
    return !aleat_paper_tell(ctx, "images of the posterior", done, total, NULL);
}

// Names the posterior by all that decides it.
static aleat_status name_posterior(aleat_paper *p, const aleat_laplace_options *o, aleat_error *err)
{
    const aleat_run_options run = p->options.run;
    aleat_image_set *set = NULL;
    aleat_run *opened = NULL;
    aleat_sha256_state state;
    char hash[ALEAT_SHA256_TEXT];
    aleat_status st = aleat_run_open(&opened, p->model, &run, err);
    if (!st)
        st = aleat_image_set_open(&set, p->options.data, "train", err);
    if (!st) {
        const aleat_images images = aleat_image_set_images(set);
        json_t *settings = json_loads(aleat_run_describe(opened).settings, 0, NULL);
        const char *weights = json_string_value(json_object_get(settings, "weights_sha256"));
        const char *config = json_string_value(json_object_get(settings, "config_sha256"));
        const uint64_t numbers[] = {(uint64_t)o->n, o->seed};
        aleat_sha256_begin(&state);
        aleat_sha256_add(&state, numbers, sizeof numbers);
        if (weights && config) {
            aleat_sha256_add(&state, weights, strlen(weights));
            aleat_sha256_add(&state, config, strlen(config));
        }
        if (o->schedule) // by content: the name says nothing
            st = aleat_sha256_file(hash, o->schedule, err);
        if (!st && o->schedule)
            aleat_sha256_add(&state, hash, strlen(hash));
        aleat_hash_images(&state, &images);
        aleat_sha256_end(&state, hash);
        if (!st && !settings)
            st = aleat_fail_memory(err, "settings");
        json_decref(settings);
    }
    if (!st) {
        p->laplace = aleat_paper_path(p, "laplace-%.12s.safetensors", hash);
        st = p->laplace ? ALEAT_OK : aleat_fail_memory(err, p->folder);
    }
    aleat_image_set_close(set);
    aleat_run_close(opened);
    return st;
}

aleat_status aleat_paper_fit(aleat_paper *p, aleat_error *err)
{
    const char *name;
    bool needed = false;
    for (int e = 0; (name = aleat_estimator_name(e, NULL)); e++)
        needed = needed || (aleat_paper_wants(p, name) && !aleat_estimator_is_local(name));
    if (!needed)
        return ALEAT_OK;
    if (!p->options.data)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "a posterior needs training images: --data");
    const aleat_laplace_options options = {.n = p->options.laplace_images,
                                           .seed = p->options.run.seed,
                                           .schedule = p->options.run.sampling.schedule,
                                           .progress = on_progress,
                                           .ctx = p};
    aleat_status st = name_posterior(p, &options, err);
    if (!st && !aleat_is_file(p->laplace))
        st = aleat_model_laplace(p->model, p->options.data, p->laplace, &options, NULL, err);
    if (st != ALEAT_ERR_UNSUPPORTED)
        return st;
    // without one the estimators that need it say why they cannot be had
    aleat_free(p->laplace);
    p->laplace = NULL;
    p->no_posterior = *err;
    return ALEAT_OK;
}

/* ---- each of them ---------------------------------------------------------------------------- */

static aleat_status do_part(aleat_paper *p, aleat_paper_part *part, void *ctx, const char *name,
                            aleat_error *err)
{
    if (aleat_estimator_is_local(name) || p->laplace)
        return part(ctx, name, err);
    if (!p->no_posterior.message[0])
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s follows whole runs from noise: it cannot look at an image", name);
    *err = p->no_posterior;
    return ALEAT_ERR_UNSUPPORTED;
}

aleat_status aleat_paper_each(aleat_paper *p, aleat_paper_part *part, void *ctx, aleat_error *err)
{
    const char *name;
    aleat_status st = ALEAT_OK;
    aleat_error why = {0};
    for (int e = 0; !st && (name = aleat_estimator_name(e, NULL)); e++) {
        if (!aleat_paper_wants(p, name))
            continue;
        st = do_part(p, part, ctx, name, &why);
        if (st == ALEAT_ERR_UNSUPPORTED && e > 0) {
            json_t *row = aleat_result_row(&p->result);
            aleat_row_text(&p->result, row, "estimator", name);
            aleat_row_text(&p->result, row, "remark", why.message);
            st = ALEAT_OK;
        }
    }
    if (st && err)
        *err = why;
    return st;
}

// From estimators to their pools.
typedef struct pools {
    aleat_paper *paper;
    aleat_pool_part *part;
    void *ctx;
    bool later;
} pools;

static aleat_status do_pool(void *ctx, const char *estimator, aleat_error *err)
{
    pools *a = ctx;
    const aleat_run_options run = aleat_paper_pool_run(a->paper, estimator);
    aleat_pool pool = {0};
    aleat_status st = aleat_pool_make(&pool, a->paper, &run, estimator, err);
    if (!st)
        st = a->part(a->ctx, &pool, !a->later, err);
    a->later = a->later || !st;
    aleat_pool_clear(&pool);
    return st;
}

aleat_status aleat_paper_each_pool(aleat_paper *p, aleat_pool_part *part, void *ctx,
                                   aleat_error *err)
{
    pools a = {p, part, ctx, false};
    return aleat_paper_each(p, do_pool, &a, err);
}

static bool is_own(const aleat_pool *pool, int score)
{
    return score < pool->n_maps ||
           strcmp(pool->names[score], aleat_estimator_map(pool->estimator)) == 0;
}

bool aleat_pool_tells(const aleat_pool *pool, int score, bool signals)
{
    return (signals || is_own(pool, score)) &&
           aleat_scores_differ(pool->scores + score * pool->n, pool->n);
}

int64_t aleat_pool_cost(const aleat_pool *pool, int score)
{
    return is_own(pool, score) ? pool->extra : 0;
}
