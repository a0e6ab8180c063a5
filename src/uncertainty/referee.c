#include "uncertainty/referee.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

#define MOST_MAPS (ALEAT_MAX_STATISTICS + 1)

// Means and summed squared deviations over the draws (Welford).
typedef struct moments {
    double *mean, *squares;
} moments;

struct aleat_referee {
    aleat_referee_options options;
    aleat_sampling_plan plan; // a view of the plan, cut off behind the step in question
    int64_t max_n, count;
    aleat_sampler *sampler;
    aleat_observer *observer;
    int n_maps;               // the error included
    aleat_accumulator *error; // squared errors of one draw
    moments maps[MOST_MAPS];  // [max_n,count]
    moments steps[MOST_MAPS]; // [max_n, steps of the window]
    float *x, *state, *map;   // [max_n,count]
    const aleat_referee_request *request;
    int draw;
    aleat_noise_source inner;
};

static int64_t window_steps(const aleat_referee *r)
{
    return r->options.observe.score.end - r->options.observe.score.begin;
}

/* ---- making ---------------------------------------------------------------------------------- */

static bool moments_make(moments *m, int64_t n)
{
    m->mean = aleat_calloc((size_t)n, sizeof *m->mean);
    m->squares = aleat_calloc((size_t)n, sizeof *m->squares);
    return m->mean && m->squares;
}

static void moments_free(moments *m)
{
    aleat_free(m->mean);
    aleat_free(m->squares);
}

static aleat_status check(const aleat_referee_options *o, aleat_error *err)
{
    const aleat_window w = o->observe.score;
    if (o->repeats < 1 || (int64_t)o->repeats * o->observe.estimator.copies >= 1 << 24)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%d draws of %d copies", o->repeats,
                          o->observe.estimator.copies);
    for (int k = 0; k < o->plan->n_steps; k++)
        if (aleat_window_has(w, o->plan->steps[k].outer) && !(o->plan->steps[k].alpha > 0))
            return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                              "step %d is pure noise: nothing is left of an image",
                              o->plan->steps[k].outer);
    return ALEAT_OK;
}

static aleat_status make_workspace(aleat_referee *r, aleat_error *err)
{
    size_t all;
    bool ok = aleat_size_mul((size_t)r->max_n, (size_t)r->count, &all);
    for (int k = 0; ok && k < r->n_maps; k++)
        ok = moments_make(&r->maps[k], (int64_t)all) &&
             moments_make(&r->steps[k], r->max_n * window_steps(r));
    r->x = ok ? aleat_calloc(all, sizeof *r->x) : NULL;
    r->state = ok ? aleat_calloc(all, sizeof *r->state) : NULL;
    r->map = ok ? aleat_calloc(all, sizeof *r->map) : NULL;
    if (!r->x || !r->state || !r->map)
        return aleat_fail_memory(err, "maps of given images");
    return aleat_accumulator_new(&r->error, r->max_n, r->count, r->options.observe.score, false,
                                 err);
}

aleat_status aleat_referee_new(aleat_referee **out, const aleat_denoiser *denoiser,
                               const aleat_referee_options *options, int64_t max_n, int64_t height,
                               int64_t width, aleat_error *err)
{
    *out = NULL;
    aleat_status st = check(options, err);
    if (st)
        return st;
    aleat_referee *r = aleat_calloc(1, sizeof *r);
    if (!r)
        return aleat_fail_memory(err, "a referee");
    r->options = *options;
    r->options.observe.guide = r->options.observe.signals = (aleat_window){0, 0};
    r->plan = *options->plan;
    r->max_n = max_n;
    r->count = denoiser->info.channels * height * width;
    const aleat_statistic *const *statistics = options->observe.estimator.statistics;
    while (r->n_maps < ALEAT_MAX_STATISTICS && statistics[r->n_maps])
        r->n_maps++;
    r->n_maps++; // the error
    st = make_workspace(r, err);
    if (!st)
        st = aleat_sampler_new(&r->sampler, &r->plan, denoiser, options->time_map, max_n, height,
                               width, err);
    if (!st)
        st = aleat_observer_new(&r->observer, NULL, denoiser, options->plan->prediction,
                                &r->options.observe, max_n, height, width, err);
    if (st)
        aleat_referee_free(r);
    else
        *out = r;
    return st;
}

void aleat_referee_free(aleat_referee *r)
{
    if (!r)
        return;
    for (int k = 0; k < r->n_maps; k++) {
        moments_free(&r->maps[k]);
        moments_free(&r->steps[k]);
    }
    aleat_sampler_free(r->sampler);
    aleat_observer_free(r->observer);
    aleat_accumulator_free(r->error);
    aleat_free(r->x);
    aleat_free(r->state);
    aleat_free(r->map);
    aleat_free(r);
}

/* ---- a batch --------------------------------------------------------------------------------- */

// Each draw has copies of its own: those of draw d are copies d M to d M + M - 1.
static aleat_status fill_drawn(const aleat_noise_source *source, const aleat_rng_key *key,
                               float *out, int64_t count, aleat_error *err)
{
    const aleat_referee *r = source->self;
    aleat_rng_key drawn = *key;
    drawn.copy += (uint32_t)(r->draw * r->options.observe.estimator.copies);
    return aleat_noise_fill(&r->inner, &drawn, out, count, err);
}

static aleat_status noise_batch(aleat_referee *r, int k, aleat_error *err)
{
    const aleat_referee_request *q = r->request;
    const aleat_sampling_step *step = &r->plan.steps[k];
    for (int64_t i = 0; i < q->n; i++) {
        const aleat_rng_key key = {.image = q->images[i],
                                   .step = (uint32_t)k,
                                   .copy = (uint32_t)r->draw,
                                   .purpose = ALEAT_FOR_DATA};
        float *x = r->state + i * r->count;
        const float *x0 = q->x0 + i * r->count;
        const aleat_status st = aleat_noise_fill(&r->inner, &key, x, r->count, err);
        if (st)
            return st;
        for (int64_t j = 0; j < r->count; j++)
            x[j] = (float)(step->alpha * (double)x0[j] + step->sigma * (double)x[j]);
    }
    return ALEAT_OK;
}

static aleat_status evaluated(void *ctx, aleat_evaluation *e, aleat_error *err)
{
    aleat_referee *r = ctx;
    for (int64_t j = 0; j < e->n * r->count; j++) {
        const float d = e->x0[j] - r->request->x0[j];
        r->map[j] = d * d;
    }
    aleat_accumulator_add(r->error, e->step->outer, r->map, e->n);
    return aleat_observer_evaluated(r->observer, e, err);
}

// Takes one draw's value into the moments.
static void follow(const moments *m, int64_t at, double value, int draw)
{
    const double d = value - m->mean[at];
    m->mean[at] += d / (draw + 1);
    m->squares[at] += d * (value - m->mean[at]);
}

static const aleat_accumulator *sums_of(const aleat_referee *r, int k)
{
    return k == r->n_maps - 1 ? r->error : aleat_observer_sums(r->observer, k);
}

static void take_draw(const aleat_referee *r)
{
    const aleat_window w = r->options.observe.score;
    const int64_t steps = window_steps(r);
    for (int k = 0; k < r->n_maps; k++)
        for (int64_t i = 0; i < r->request->n; i++) {
            aleat_accumulator_map(sums_of(r, k), i, r->map);
            for (int64_t j = 0; j < r->count; j++)
                follow(&r->maps[k], i * r->count + j, (double)r->map[j], r->draw);
            for (int s = w.begin; s < w.end; s++)
                follow(&r->steps[k], i * steps + s - w.begin,
                       aleat_accumulator_step_sum(sums_of(r, k), i, s), r->draw);
        }
}

// Looks at the batch where evaluation k does; the state after it is nobody's.
static aleat_status look(aleat_referee *r, int k, aleat_error *err)
{
    const aleat_referee_request *q = r->request;
    aleat_status st = noise_batch(r, k, err);
    if (st)
        return st;
    r->plan.n_steps = k + 1;
    const aleat_sample_request request = {.n = q->n,
                                          .images = q->images,
                                          .condition = q->condition,
                                          .noise = r->inner,
                                          .state = r->state,
                                          .first = k,
                                          .hooks = {.ctx = r, .evaluated = evaluated}};
    return aleat_sampler_run(r->sampler, &request, r->x, err);
}

static aleat_status run_draw(aleat_referee *r, aleat_error *err)
{
    const aleat_referee_request *q = r->request;
    const aleat_sampling_plan *plan = r->options.plan;
    aleat_status st = ALEAT_OK;
    int64_t done = r->draw * window_steps(r);
    aleat_observer_begin(r->observer, (aleat_noise_source){.fill = fill_drawn, .self = r});
    aleat_accumulator_reset(r->error);
    for (int k = 0; !st && k < plan->n_steps; k++) {
        const aleat_sampling_step *step = &plan->steps[k];
        if (step->stage != 0 || !aleat_window_has(r->options.observe.score, step->outer))
            continue;
        st = look(r, k, err);
        if (!st && q->step)
            st = q->step(q->ctx, ++done, r->options.repeats * window_steps(r), err);
    }
    if (!st)
        take_draw(r);
    return st;
}

aleat_status aleat_referee_run(aleat_referee *r, const aleat_referee_request *request,
                               aleat_error *err)
{
    const size_t all = (size_t)(r->max_n * r->count) * sizeof(double);
    const size_t steps = (size_t)(r->max_n * window_steps(r)) * sizeof(double);
    aleat_status st = ALEAT_OK;
    r->request = request;
    r->inner = request->noise;
    for (int k = 0; k < r->n_maps; k++) {
        memset(r->maps[k].mean, 0, all);
        memset(r->maps[k].squares, 0, all);
        memset(r->steps[k].mean, 0, steps);
        memset(r->steps[k].squares, 0, steps);
    }
    for (r->draw = 0; !st && r->draw < r->options.repeats; r->draw++)
        st = run_draw(r, err);
    return st;
}

/* ---- results --------------------------------------------------------------------------------- */

int aleat_referee_maps(const aleat_referee *r)
{
    return r->n_maps;
}

static double standard_error(const aleat_referee *r, double squares)
{
    const double n = r->options.repeats;
    return n > 1 ? sqrt(squares / (n - 1) / n) : NAN;
}

void aleat_referee_map(const aleat_referee *r, int k, int64_t i, float *mean, float *error)
{
    const moments *m = &r->maps[k];
    for (int64_t j = 0; j < r->count; j++) {
        mean[j] = (float)m->mean[i * r->count + j];
        if (error)
            error[j] = (float)standard_error(r, m->squares[i * r->count + j]);
    }
}

void aleat_referee_step_sum(const aleat_referee *r, int k, int64_t i, int step, double *mean,
                            double *error)
{
    const int64_t at = i * window_steps(r) + step - r->options.observe.score.begin;
    *mean = r->steps[k].mean[at];
    *error = standard_error(r, r->steps[k].squares[at]);
}

int64_t aleat_referee_nfe(const aleat_referee *r)
{
    return aleat_sampler_nfe(r->sampler) + aleat_observer_nfe(r->observer);
}
