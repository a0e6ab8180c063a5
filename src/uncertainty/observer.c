#include "uncertainty/observer.h"

#include "base/alloc.h"
#include "base/error.h"
#include "denoiser/cfg.h"

struct aleat_observer {
    aleat_observer_options options;
    aleat_noise_source noise;
    aleat_estimator *estimator; // NULL: nothing is scored by a state's copies
    aleat_bayesdiff *bayesdiff; // NULL: nor by it
    aleat_guide *guide;         // NULL: nothing is guided
    aleat_accumulator *sums[ALEAT_MAX_STATISTICS];
    float *maps[ALEAT_MAX_STATISTICS]; // [max_n, count]
    double *change;                    // [max_n]
    aleat_signals *signals;            // NULL: none
    float *next;                       // [max_n, count], for compat.from_next
};

static bool empty(aleat_window window)
{
    return window.begin >= window.end;
}

static int map_count(const aleat_observer *o)
{
    return o->bayesdiff ? 1 : aleat_estimator_count(o->estimator);
}

static aleat_status make_scoring(aleat_observer *o, const aleat_sampling_plan *plan,
                                 const aleat_denoiser *denoiser, aleat_prediction prediction,
                                 int64_t max_n, int64_t height, int64_t width, aleat_error *err)
{
    const int64_t count = denoiser->info.channels * height * width;
    aleat_status st = o->options.bayesdiff.posterior
                          ? aleat_bayesdiff_new(&o->bayesdiff, plan, denoiser,
                                                &o->options.bayesdiff, max_n, height, width, err)
                          : aleat_estimator_new(&o->estimator, denoiser, prediction,
                                                &o->options.estimator, max_n, height, width, err);
    for (int k = 0; !st && k < map_count(o); k++) {
        const bool is_error = o->options.estimator.statistics[k]->is_error;
        st = aleat_accumulator_new(&o->sums[k], max_n, count, o->options.score, is_error, err);
        o->maps[k] = st ? NULL : aleat_calloc((size_t)(max_n * count), sizeof(float));
        if (!st && !o->maps[k])
            st = aleat_fail_memory(err, "maps of uncertainty");
    }
    return st;
}

// Of the copies, only the level can be another one where a gradient is taken through them.
static aleat_status check_compat(const aleat_observer *o, aleat_error *err)
{
    const aleat_compat *c = &o->options.compat;
    if (!empty(o->options.guide) && (c->from_next || c->x0_as_eps))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s is for scoring; the published code guides without it",
                          c->from_next ? "perturb=next" : "dpm-target=x0");
    const bool moves_by_gradient =
        c->update == ALEAT_UPDATE_GRADIENT || c->update == ALEAT_UPDATE_PRODUCT;
    if (!moves_by_gradient && (c->wrt != ALEAT_WRT_SCORE || c->batch_mean > 0))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s says how the gradient is taken, but this mode takes none",
                          c->wrt != ALEAT_WRT_SCORE ? "wrt" : "batch-mean");
    return ALEAT_OK;
}

aleat_status aleat_observer_new(aleat_observer **out, const aleat_sampling_plan *plan,
                                const aleat_denoiser *denoiser, aleat_prediction prediction,
                                const aleat_observer_options *options, int64_t max_n,
                                int64_t height, int64_t width, aleat_error *err)
{
    *out = NULL;
    aleat_status st = ALEAT_OK;
    aleat_observer *o = aleat_calloc(1, sizeof *o);
    if (!o)
        return aleat_fail_memory(err, "observer");
    o->options = *options;
    aleat_compat_options(&options->compat, &o->options.estimator, &o->options.guidance);
    st = check_compat(o, err);
    if (!st && !empty(options->score))
        st = make_scoring(o, plan, denoiser, prediction, max_n, height, width, err);
    if (!st && !empty(options->guide)) {
        st = aleat_guide_new(&o->guide, denoiser, prediction, &o->options.guidance, max_n, height,
                             width, err);
        o->change = st ? NULL : aleat_calloc((size_t)max_n, sizeof(double));
        if (!st && !o->change)
            st = aleat_fail_memory(err, "guidance");
    }
    const int64_t count = denoiser->info.channels * height * width;
    if (!st && !empty(options->signals))
        st = aleat_signals_new(&o->signals, max_n, count, options->signals, err);
    if (!st && options->compat.from_next) {
        o->next = aleat_calloc((size_t)(max_n * count), sizeof *o->next);
        if (!o->next)
            st = aleat_fail_memory(err, "the next state");
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
    aleat_bayesdiff_free(o->bayesdiff);
    aleat_guide_free(o->guide);
    aleat_signals_free(o->signals);
    aleat_free(o->change);
    aleat_free(o->next);
    aleat_free(o);
}

void aleat_observer_begin(aleat_observer *o, aleat_noise_source noise)
{
    o->noise = noise;
    for (int k = 0; k < ALEAT_MAX_STATISTICS; k++)
        if (o->sums[k])
            aleat_accumulator_reset(o->sums[k]);
    if (o->signals)
        aleat_signals_begin(o->signals);
    if (o->bayesdiff)
        aleat_bayesdiff_begin(o->bayesdiff, noise);
}

// Takes the maps of a scored step, which somebody has made.
static aleat_status add_maps(aleat_observer *o, const aleat_evaluation *e, aleat_error *err)
{
    const int step = e->step->outer;
    for (int k = 0; k < map_count(o); k++)
        aleat_accumulator_add(o->sums[k], step, o->maps[k], e->n);
    return o->options.scored ? o->options.scored(o->options.ctx, step, o->maps, e->n, err)
                             : ALEAT_OK;
}

static aleat_status guide(aleat_observer *o, aleat_evaluation *e, const aleat_noisy_state *state,
                          bool score_too, aleat_error *err)
{
    const int step = e->step->outer;
    const aleat_guide_report report = {.change = o->change};
    const aleat_guide_request request = {
        .threshold = o->options.thresholds ? o->options.thresholds[step] : NULL,
        .estimator = score_too ? o->estimator : NULL,
        .maps = o->maps};
    aleat_status st = aleat_guide_run(o->guide, state, &o->noise, &request, e->eps, &report, err);
    e->eps_changed = !st;
    if (!st && score_too)
        st = add_maps(o, e, err);
    if (!st && o->options.guided)
        st = o->options.guided(o->options.ctx, step, o->change, e->n, err);
    return st;
}

// Carries the variance on; at the end of a scored step it is the map.
static aleat_status run_bayesdiff(aleat_observer *o, aleat_evaluation *e, aleat_error *err)
{
    const aleat_status st = aleat_bayesdiff_evaluated(o->bayesdiff, e, err);
    const bool ends =
        e->index + 1 == e->plan->n_steps || e->plan->steps[e->index + 1].outer != e->step->outer;
    if (st || !ends || !aleat_window_has(o->options.score, e->step->outer))
        return st;
    aleat_bayesdiff_map(o->bayesdiff, e->n, o->maps[0]);
    return add_maps(o, e, err);
}

const aleat_denoiser *aleat_observer_tap(const aleat_observer *o, const aleat_denoiser *denoiser)
{
    return o->bayesdiff ? aleat_bayesdiff_tap(o->bayesdiff) : denoiser;
}

// Whether the copies of guidance are the estimator's.
static bool same_copies(const aleat_observer *o)
{
    return !aleat_estimator_has(&o->options.estimator, ALEAT_ESTIMATOR_DROPOUT) &&
           o->options.estimator.copies == o->options.guidance.copies &&
           o->options.estimator.clip == o->options.guidance.clip;
}

aleat_status aleat_observer_evaluated(void *observer, aleat_evaluation *e, aleat_error *err)
{
    aleat_observer *o = observer;
    const aleat_window score = o->options.score, guided = o->options.guide;
    const bool scores =
        o->estimator && e->step->stage == 0 && aleat_window_has(score, e->step->outer);
    const bool guides = o->guide && aleat_window_has(guided, e->step->outer);
    const bool together = scores && guides && same_copies(o);
    if (o->signals) // first, while the last evaluation is the sampler's own
        aleat_signals_evaluated(o->signals, e,
                                o->options.cfg ? aleat_cfg_gap(o->options.cfg) : NULL);
    if (o->bayesdiff)
        return run_bayesdiff(o, e, err);
    if (!scores && !guides)
        return ALEAT_OK;
    aleat_noisy_state state = aleat_noisy_state_of(e);
    aleat_status st = aleat_compat_state(&o->options.compat, e, &state, o->next, err);
    if (!st && scores && !together) {
        st = aleat_estimator_run(o->estimator, &state, &o->noise, o->maps, err);
        if (!st)
            st = add_maps(o, e, err);
    }
    if (!st && guides)
        st = guide(o, e, &state, together, err);
    return st;
}

const aleat_signals *aleat_observer_signals(const aleat_observer *o)
{
    return o->signals;
}

const aleat_accumulator *aleat_observer_sums(const aleat_observer *o, int k)
{
    return k < ALEAT_MAX_STATISTICS ? o->sums[k] : NULL;
}

int64_t aleat_observer_nfe(const aleat_observer *o)
{
    return (o->estimator ? aleat_estimator_nfe(o->estimator) : 0) +
           (o->bayesdiff ? aleat_bayesdiff_nfe(o->bayesdiff) : 0) +
           (o->guide ? aleat_guide_nfe(o->guide) : 0);
}
