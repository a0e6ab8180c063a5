/*
 * From maps at single steps to what is shown and sorted by: the sum over the scored steps for each
 * image, and scores in double.
 */
#ifndef ALEAT_UNCERTAINTY_ACCUMULATE_H
#define ALEAT_UNCERTAINTY_ACCUMULATE_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/status.h"
#include "samplers/plan.h"

/** Sampler steps begin <= k < end. */
typedef struct aleat_window {
    int begin, end;
} aleat_window;

/** The scored steps of the paper's text, 45 to 48 of 50: those with 0.90 <= k / steps < 0.98, and
 * at least the last step before the end if there is none. */
aleat_window aleat_window_default(int steps);
/** The same of a plan. Where its steps are spaced unevenly in time (Karras' sigmas, steps even in
 * log SNR) the number of a step says nothing of its noise, so it is those with 0.015 <= t / T <=
 * 0.11, which the paper's have (20 to 80 of 1000 by DDIM, 40 to 100 by DPM-Solver); if none, the
 * one whose t / T is nearest to 0.05 by ratio. Flow models have other times, and keep the numbers.
 */
aleat_window aleat_window_usual(const aleat_sampling_plan *plan);
static inline bool aleat_window_has(aleat_window window, int step)
{
    return window.begin <= step && step < window.end;
}

/** Sums for a batch of images. */
typedef struct aleat_accumulator aleat_accumulator;

/**
 * For up to max_n images of `count` elements and the steps of `window`. `is_error`: the maps are
 * standard errors, which add in squares: exact over the steps, whose draws are independent; over
 * the elements as if these were independent, too. "Sum" below then means the root of the sum of
 * squares.
 */
ALEAT_MUST_USE aleat_status aleat_accumulator_new(aleat_accumulator **out, int64_t max_n,
                                                  int64_t count, aleat_window window, bool is_error,
                                                  aleat_error *err);
/** Accepts NULL. */
void aleat_accumulator_free(aleat_accumulator *accumulator);
/** Forgets all maps: a new batch begins. */
void aleat_accumulator_reset(aleat_accumulator *accumulator);
/** Adds map[n,count] of sampler step `step`, which is in the window. */
void aleat_accumulator_add(aleat_accumulator *accumulator, int step, const float *map, int64_t n);
/** map[count] = the sum over the steps for image i. */
void aleat_accumulator_map(const aleat_accumulator *accumulator, int64_t i, float *map);
/** The sum over the elements of image i at `step`. */
double aleat_accumulator_step_sum(const aleat_accumulator *accumulator, int64_t i, int step);
/** The image's score, sum over steps and elements (method of the paper), and per element and step.
 */
double aleat_accumulator_score(const aleat_accumulator *accumulator, int64_t i);
double aleat_accumulator_mean(const aleat_accumulator *accumulator, int64_t i);

#endif
