#include "uncertainty/signals.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/names.h"
#include "samplers/prediction.h"

static const struct {
    const char *name, *help;
} table[ALEAT_SIGNAL_COUNT] = {
    [ALEAT_SIGNAL_PATH_VARIANCE] = {"x0-path-var", "variance of the predicted x0 over the scored "
                                                   "steps, unbiased, mean over the elements"},
    [ALEAT_SIGNAL_DRIFT] = {"x0-drift", "L2 between the predictions of x0 at successive scored "
                                        "steps, summed"},
    [ALEAT_SIGNAL_SOLVER_ERROR] = {"solver-error", "L2 between the next states of the first- and "
                                                   "the second-order step, summed"},
    [ALEAT_SIGNAL_CFG_GAP] = {"cfg-gap", "L2 between conditional and unconditional noise "
                                         "prediction, summed over the scored steps"},
};

struct aleat_signals {
    int64_t max_n, count;
    aleat_window window;
    int steps;  // scored so far
    int errors; // steps whose solver error is known
    bool has_last, has_gap;
    double last_log_snr;         // log(alpha / sigma) of the evaluation before
    float *last;                 // [max_n,count] its x0
    double *mean, *squares;      // [max_n,count] of x0 over the scored steps (Welford)
    double *drift, *error, *gap; // [max_n]
};

const char *aleat_signal_name(int i, const char **help)
{
    return ALEAT_NAME_AT(table, i, help);
}

aleat_status aleat_signals_new(aleat_signals **out, int64_t max_n, int64_t count,
                               aleat_window window, aleat_error *err)
{
    *out = NULL;
    size_t elements;
    aleat_signals *s = aleat_calloc(1, sizeof *s);
    if (!s || !aleat_size_mul((size_t)max_n, (size_t)count, &elements))
        goto fail;
    *s = (aleat_signals){.max_n = max_n, .count = count, .window = window};
    s->last = aleat_calloc(elements, sizeof *s->last);
    s->mean = aleat_calloc(elements, sizeof *s->mean);
    s->squares = aleat_calloc(elements, sizeof *s->squares);
    s->drift = aleat_calloc((size_t)max_n, sizeof *s->drift);
    s->error = aleat_calloc((size_t)max_n, sizeof *s->error);
    s->gap = aleat_calloc((size_t)max_n, sizeof *s->gap);
    if (!s->last || !s->mean || !s->squares || !s->drift || !s->error || !s->gap)
        goto fail;
    *out = s;
    return ALEAT_OK;
fail:
    aleat_signals_free(s);
    return aleat_fail_memory(err, "signals of a run");
}

void aleat_signals_free(aleat_signals *s)
{
    if (!s)
        return;
    aleat_free(s->last);
    aleat_free(s->mean);
    aleat_free(s->squares);
    aleat_free(s->drift);
    aleat_free(s->error);
    aleat_free(s->gap);
    aleat_free(s);
}

void aleat_signals_begin(aleat_signals *s)
{
    s->steps = s->errors = 0;
    s->has_last = s->has_gap = false;
    for (int64_t i = 0; i < s->max_n; i++)
        s->drift[i] = s->error[i] = s->gap[i] = 0;
}

static double log_snr(double alpha, double sigma)
{
    return log(alpha) - log(sigma);
}

// The level of the state after this outer step.
static void level_after(const aleat_evaluation *e, double *alpha, double *sigma)
{
    const aleat_sampling_plan *plan = e->plan;
    int next = e->index + 1;
    while (next < plan->n_steps && plan->steps[next].stage != 0)
        next++;
    *alpha = next < plan->n_steps ? plan->steps[next].alpha : plan->final_alpha;
    *sigma = next < plan->n_steps ? plan->steps[next].sigma : plan->final_sigma;
}

/*
 * DPM-Solver++ 2M (arXiv 2211.01095, algorithm 2) and its first-order step, which is DDIM, differ
 * in the next state by alpha' (1 - exp(-h)) h / (2 h_before) (x0 - x0 before), h being steps of
 * log(alpha / sigma). 0 where that has no value: the last step to sigma = 0 is of first order.
 */
static double second_order_weight(const aleat_signals *s, const aleat_evaluation *e)
{
    double alpha, sigma;
    level_after(e, &alpha, &sigma);
    const double here = log_snr(e->step->alpha, e->step->sigma);
    const double h = log_snr(alpha, sigma) - here, before = here - s->last_log_snr;
    const double weight = alpha * -expm1(-h) * h / (2 * before);
    return isfinite(weight) ? weight : 0;
}

static void follow(aleat_signals *s, const float *x0, int64_t at)
{
    for (int64_t j = at; j < at + s->count; j++) {
        const double value = (double)x0[j];
        if (s->steps == 0)
            s->mean[j] = s->squares[j] = 0;
        const double d = value - s->mean[j];
        s->mean[j] += d / (s->steps + 1);
        s->squares[j] += d * (value - s->mean[j]);
    }
}

static double distance(const float *a, const float *b, int64_t n)
{
    double squares = 0;
    for (int64_t j = 0; j < n; j++) {
        const double d = (double)a[j] - (double)b[j];
        squares += d * d;
    }
    return sqrt(squares);
}

static void score(aleat_signals *s, const aleat_evaluation *e, const double *gap)
{
    const double weight = s->has_last ? fabs(second_order_weight(s, e)) : 0;
    const aleat_eps_weights eps =
        aleat_eps_weights_of(e->plan->prediction, e->step->alpha, e->step->sigma);
    for (int64_t i = 0; i < e->n; i++) {
        const int64_t at = i * s->count;
        const double moved = s->has_last ? distance(e->x0 + at, s->last + at, s->count) : 0;
        follow(s, e->x0, at);
        s->drift[i] += s->steps > 0 ? moved : 0;
        s->error[i] += weight * moved;
        s->gap[i] += gap ? fabs(eps.raw) * gap[i] : 0;
    }
    s->errors += weight != 0;
    s->has_gap |= gap != NULL;
    s->steps++;
}

void aleat_signals_evaluated(aleat_signals *s, const aleat_evaluation *e, const double *gap)
{
    if (e->step->stage != 0)
        return;
    if (aleat_window_has(s->window, e->step->outer))
        score(s, e, gap);
    memcpy(s->last, e->x0, (size_t)(e->n * s->count) * sizeof *s->last);
    s->last_log_snr = log_snr(e->step->alpha, e->step->sigma);
    s->has_last = true;
}

double aleat_signals_value(const aleat_signals *s, aleat_signal signal, int64_t i)
{
    double sum = 0;
    switch (signal) {
    case ALEAT_SIGNAL_PATH_VARIANCE:
        for (int64_t j = i * s->count; j < (i + 1) * s->count; j++)
            sum += s->squares[j];
        return s->steps > 1 ? sum / (double)s->count / (s->steps - 1) : NAN;
    case ALEAT_SIGNAL_DRIFT: return s->steps > 1 ? s->drift[i] : NAN;
    case ALEAT_SIGNAL_SOLVER_ERROR: return s->errors ? s->error[i] : NAN;
    case ALEAT_SIGNAL_CFG_GAP: return s->has_gap ? s->gap[i] : NAN;
    case ALEAT_SIGNAL_COUNT: break;
    }
    return NAN;
}
