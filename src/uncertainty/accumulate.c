#include "uncertainty/accumulate.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

aleat_window aleat_window_default(int steps)
{
    // in integers, so that 45 / 50 is 0.90 exactly
    aleat_window w = {(90 * steps + 99) / 100, (98 * steps + 99) / 100};
    if (w.begin >= w.end)
        w.begin = w.end - 1;
    return w;
}

// Whether some gap between the times of outer steps is half again as large as the mean one; by
// rounding alone two may differ by 1.
static bool is_uneven(const aleat_sampling_plan *plan)
{
    double before = NAN, most = 0, first = NAN;
    for (int k = 0; k < plan->n_steps; k++) {
        const aleat_sampling_step *s = &plan->steps[k];
        if (s->stage != 0)
            continue;
        first = isnan(first) ? s->t : first;
        most = fmax(most, before - s->t); // the first is NaN, which fmax() passes over
        before = s->t;
    }
    const double mean = (first - before) / (plan->n_outer - 1);
    return plan->n_outer > 1 && most > 1.5 * mean && most > mean + 1;
}

// How far a step is from the noise that the paper scores at: 0 within its range, else larger than
// 0.
static double distance(const aleat_sampling_plan *plan, const aleat_sampling_step *s)
{
    const double t = s->t / plan->train_steps;
    return t >= 0.015 && t <= 0.11 ? 0 : t > 0 ? fabs(log(t / 0.05)) : INFINITY;
}

aleat_window aleat_window_usual(const aleat_sampling_plan *plan)
{
    if (plan->prediction == ALEAT_PREDICTS_FLOW || plan->train_steps < 1 || !is_uneven(plan))
        return aleat_window_default(plan->n_outer);
    aleat_window w = {0, 1};
    double least = INFINITY;
    for (int k = 0; k < plan->n_steps; k++) {
        const aleat_sampling_step *s = &plan->steps[k];
        const double here = s->stage == 0 ? distance(plan, s) : INFINITY;
        if (here < least)
            w = (aleat_window){s->outer, s->outer + 1};
        else if (here == 0 && least == 0)
            w.end = s->outer + 1;
        least = fmin(least, here);
    }
    return w;
}

struct aleat_accumulator {
    int64_t max_n, count;
    aleat_window window;
    bool is_error;     // then both hold sums of squares
    double *sums;      // [max_n, count]
    double *step_sums; // [max_n, steps of the window]
};

aleat_status aleat_accumulator_new(aleat_accumulator **out, int64_t max_n, int64_t count,
                                   aleat_window window, bool is_error, aleat_error *err)
{
    *out = NULL;
    assert(max_n > 0 && count > 0 && window.begin < window.end);
    size_t elements;
    aleat_accumulator *a = aleat_calloc(1, sizeof *a);
    if (!a || !aleat_size_mul((size_t)max_n, (size_t)count, &elements))
        goto fail;
    *a =
        (aleat_accumulator){.max_n = max_n, .count = count, .window = window, .is_error = is_error};
    a->sums = aleat_calloc(elements, sizeof *a->sums);
    a->step_sums =
        aleat_calloc((size_t)max_n * (size_t)(window.end - window.begin), sizeof(double));
    if (!a->sums || !a->step_sums)
        goto fail;
    *out = a;
    return ALEAT_OK;
fail:
    aleat_accumulator_free(a);
    return aleat_fail_memory(err, "sums of maps");
}

void aleat_accumulator_free(aleat_accumulator *a)
{
    if (!a)
        return;
    aleat_free(a->sums);
    aleat_free(a->step_sums);
    aleat_free(a);
}

void aleat_accumulator_reset(aleat_accumulator *a)
{
    const int steps = a->window.end - a->window.begin;
    memset(a->sums, 0, (size_t)(a->max_n * a->count) * sizeof *a->sums);
    memset(a->step_sums, 0, (size_t)(a->max_n * steps) * sizeof *a->step_sums);
}

static double *step_sum(const aleat_accumulator *a, int64_t i, int step)
{
    assert(aleat_window_has(a->window, step) && i < a->max_n);
    return &a->step_sums[i * (a->window.end - a->window.begin) + step - a->window.begin];
}

void aleat_accumulator_add(aleat_accumulator *a, int step, const float *map, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double total = 0;
        for (int64_t j = 0; j < a->count; j++) {
            const double entry = (double)map[i * a->count + j];
            const double value = a->is_error ? entry * entry : entry;
            a->sums[i * a->count + j] += value;
            total += value;
        }
        *step_sum(a, i, step) += total;
    }
}

static double read_sum(const aleat_accumulator *a, double sum)
{
    return a->is_error ? sqrt(sum) : sum;
}

void aleat_accumulator_map(const aleat_accumulator *a, int64_t i, float *map)
{
    for (int64_t j = 0; j < a->count; j++)
        map[j] = (float)read_sum(a, a->sums[i * a->count + j]);
}

double aleat_accumulator_step_sum(const aleat_accumulator *a, int64_t i, int step)
{
    return read_sum(a, *step_sum(a, i, step));
}

double aleat_accumulator_score(const aleat_accumulator *a, int64_t i)
{
    double total = 0;
    for (int k = a->window.begin; k < a->window.end; k++)
        total += *step_sum(a, i, k);
    return read_sum(a, total);
}

double aleat_accumulator_mean(const aleat_accumulator *a, int64_t i)
{
    const int steps = a->window.end - a->window.begin;
    return aleat_accumulator_score(a, i) / ((double)a->count * steps);
}
