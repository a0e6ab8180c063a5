/*
 * Numbers that a sampling run gives away: how unsettled an image was on its way, from evaluations
 * that sampling makes anyway. One number an image and signal.
 */
#ifndef ALEAT_UNCERTAINTY_SIGNALS_H
#define ALEAT_UNCERTAINTY_SIGNALS_H

#include <stdint.h>

#include "aleat/sampling.h"
#include "aleat/status.h"
#include "samplers/sampler.h"
#include "uncertainty/accumulate.h"

typedef enum aleat_signal {
    ALEAT_SIGNAL_PATH_VARIANCE,
    ALEAT_SIGNAL_DRIFT,
    ALEAT_SIGNAL_SOLVER_ERROR,
    ALEAT_SIGNAL_CFG_GAP, /**< last: runs without classifier-free guidance leave it out */
    ALEAT_SIGNAL_COUNT
} aleat_signal;

typedef struct aleat_signals aleat_signals;

/** For batches of up to max_n images of `count` elements, over the outer steps of `window`, which
 * is not empty. */
ALEAT_MUST_USE aleat_status aleat_signals_new(aleat_signals **out, int64_t max_n, int64_t count,
                                              aleat_window window, aleat_error *err);
/** Accepts NULL. */
void aleat_signals_free(aleat_signals *signals);
/** A new batch begins. */
void aleat_signals_begin(aleat_signals *signals);
/**
 * Looks at an evaluation; of a step with several, at the first. All of a run are to be shown, also
 * those outside the window. `gap`, [n], is |cond - uncond| (L2) of the raw prediction, or NULL.
 */
void aleat_signals_evaluated(aleat_signals *signals, const aleat_evaluation *evaluation,
                             const double *gap);
/** The signal of image i; NaN if it has none: no guidance, or too few steps. */
double aleat_signals_value(const aleat_signals *signals, aleat_signal signal, int64_t i);

#endif
