#include "uncertainty/observer.h"

#include "base/alloc.h"
#include "base/error.h"

struct aleat_observer {
    aleat_observer_options options;
    aleat_noise_source noise;
    aleat_estimator *estimator; // NULL: nothing is scored
    aleat_guide *guide;         // NULL: nothing is guided
    aleat_accumulator *sums[ALEAT_MAX_STATISTICS];
    float *maps[ALEAT_MAX_STATISTICS]; // [max_n, count]
    double *change;                    // [max_n]
};

static bool empty(aleat_window window)
{
    return window.begin >= window.end;
}

static aleat_status make_scoring(aleat_observer *o, const aleat_denoiser *denoiser,
                                 aleat_prediction prediction, int64_t max_n, int64_t height,
                                 int64_t width, aleat_error *err)
{
    const int64_t count = denoiser->info.channels * height * width;
    aleat_status st = aleat_estimator_new(&o->estimator, denoiser, prediction,
                                          &o->options.estimator, max_n, height, width, err);
    for (int k = 0; !st && k < aleat_estimator_count(o->estimator); k++) {
        const bool is_error = o->options.estimator.statistics[k]->is_error;
        st = aleat_accumulator_new(&o->sums[k], max_n, count, o->options.score, is_error, err);
        o->maps[k] = st ? NULL : aleat_calloc((size_t)(max_n * count), sizeof(float));
        if (!st && !o->maps[k])
            st = aleat_fail_memory(err, "maps of uncertainty");
    }
    return st;
}

aleat_status aleat_observer_new(aleat_observer **out, const aleat_denoiser *denoiser,
                                aleat_prediction prediction, const aleat_observer_options *options,
                                int64_t max_n, int64_t height, int64_t width, aleat_error *err)
{
    *out = NULL;
    aleat_status st = ALEAT_OK;
    aleat_observer *o = aleat_calloc(1, sizeof *o);
    if (!o)
        return aleat_fail_memory(err, "observer");
    o->options = *options;
    if (!empty(options->score))
        st = make_scoring(o, denoiser, prediction, max_n, height, width, err);
    if (!st && !empty(options->guide)) {
        st = aleat_guide_new(&o->guide, denoiser, prediction, &options->guidance, max_n, height,
                             width, err);
        o->change = st ? NULL : aleat_calloc((size_t)max_n, sizeof(double));
        if (!st && !o->change)
            st = aleat_fail_memory(err, "guidance");
    }
    if (st)
        goto done;
    *out = o;
    o = NULL;
done:
    aleat_observer_free(o);
    return st;
}

void aleat_observer_free(aleat_observer *o)
{
    if (!o)
        return;
    for (int k = 0; k < ALEAT_MAX_STATISTICS; k++) {
        aleat_accumulator_free(o->sums[k]);
        aleat_free(o->maps[k]);
    }
    aleat_estimator_free(o->estimator);
    aleat_guide_free(o->guide);
    aleat_free(o->change);
    aleat_free(o);
}

void aleat_observer_begin(aleat_observer *o, aleat_noise_source noise)
{
    o->noise = noise;
    for (int k = 0; k < ALEAT_MAX_STATISTICS; k++)
        if (o->sums[k])
            aleat_accumulator_reset(o->sums[k]);
}

static aleat_status score(aleat_observer *o, const aleat_evaluation *e,
                          const aleat_noisy_state *state, aleat_error *err)
{
    const int step = e->step->outer;
    aleat_status st = aleat_estimator_run(o->estimator, state, &o->noise, o->maps, err);
    for (int k = 0; !st && k < aleat_estimator_count(o->estimator); k++)
        aleat_accumulator_add(o->sums[k], step, o->maps[k], e->n);
    if (!st && o->options.scored)
        st = o->options.scored(o->options.ctx, step, o->maps, e->n, err);
    return st;
}

static aleat_status guide(aleat_observer *o, aleat_evaluation *e, const aleat_noisy_state *state,
                          aleat_error *err)
{
    const aleat_guide_report report = {.change = o->change};
    aleat_status st = aleat_guide_run(o->guide, state, &o->noise, NULL, e->eps, &report, err);
    e->eps_changed = !st;
    if (!st && o->options.guided)
        st = o->options.guided(o->options.ctx, e->step->outer, o->change, e->n, err);
    return st;
}

aleat_status aleat_observer_evaluated(void *observer, aleat_evaluation *e, aleat_error *err)
{
    aleat_observer *o = observer;
    const aleat_noisy_state state = aleat_noisy_state_of(e);
    aleat_status st = ALEAT_OK;
    if (o->estimator && e->step->stage == 0 && aleat_window_has(o->options.score, e->step->outer))
        st = score(o, e, &state, err);
    if (!st && o->guide && aleat_window_has(o->options.guide, e->step->outer))
        st = guide(o, e, &state, err);
    return st;
}

const aleat_accumulator *aleat_observer_sums(const aleat_observer *o, int k)
{
    return k < ALEAT_MAX_STATISTICS ? o->sums[k] : NULL;
}

int64_t aleat_observer_nfe(const aleat_observer *o)
{
    return (o->estimator ? aleat_estimator_nfe(o->estimator) : 0) +
           (o->guide ? aleat_guide_nfe(o->guide) : 0);
}
