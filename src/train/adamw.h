/* The optimiser: AdamW (Loshchilov and Hutter 2019) with clipping by the global norm, a schedule of
 * its rate, and an average of the weights. */
#ifndef ALEAT_TRAIN_ADAMW_H
#define ALEAT_TRAIN_ADAMW_H

#include "train/params.h"

typedef struct aleat_adamw {
    double rate, beta1, beta2, eps, decay; /**< decay is taken off the weight, times the rate */
    double clip;                           /**< largest norm of the gradient; 0: none */
    double average;                        /**< of the moving average, reached slowly */
    int64_t warmup, cooldown, steps; /**< linear up to `rate`, constant, and half a cosine to 0 over
                                          the last `cooldown` steps; 0: right after the warm-up */
    bool constant;                   /**< no cosine: `rate` to the end */
} aleat_adamw;

/** The rate of step `step`, counted from 0. */
double aleat_adamw_rate(const aleat_adamw *a, int64_t step);

/**
 * One step from params->grad; *norm is the gradient's norm before clipping. ALEAT_ERR_NUMERIC, and
 * nothing changed, if that is not finite. The average's factor is min(average, (1 + n) / (10 + n)).
 */
ALEAT_MUST_USE aleat_status aleat_adamw_step(const aleat_adamw *a, aleat_params *params,
                                             int64_t step, int threads, double *norm,
                                             aleat_error *err);

#endif
