/* What the planners of the DPM-Solver family share. */
#ifndef ALEAT_SAMPLERS_PLAN_DPM_H
#define ALEAT_SAMPLERS_PLAN_DPM_H

#include "samplers/plan.h"

/** A noise level: x = alpha x0 + sigma n; lambda = log(alpha / sigma), infinite without noise. */
typedef struct aleat_level {
    double alpha, sigma, lambda;
} aleat_level;

/** The level whose sigma / alpha is `ratio`. */
aleat_level aleat_level_of(double ratio);

/**
 * Exact integrals of the linear part from level s to level t: x_t = x * x_s + d0 * D0 + d1 * D1 +
 * d2 * D2 + noise * z, where D0, D1, D2 are the prediction and its derivatives in lambda at s,
 * scaled by h = lambda_t - lambda_s. Lu et al. 2022 (a) eq. 3.4 and (b) eqs. 8 and 10, "phi
 * functions".
 */
typedef struct aleat_dpm_terms {
    double x, d0, d1, d2, noise;
    double d1_midpoint; /**< d1 when D1 is taken by the midpoint rule */
} aleat_dpm_terms;
aleat_dpm_terms aleat_dpm_integrate(aleat_algorithm algorithm, const aleat_level *s,
                                    const aleat_level *t);

/** The coefficients of the predictions that `algorithm` integrates: of x0 or of eps. */
double *aleat_dpm_predictions(aleat_algorithm algorithm, aleat_sampling_step *step);

/**
 * The multistep update of order 1 to 3 into `step`: levels[0] is the next one, levels[1] that of
 * this state, levels[2], levels[3] those before it (read up to levels[order]).
 */
void aleat_dpm_multistep(aleat_sampling_step *step, const aleat_sampler_config *config,
                         const aleat_level levels[4], int order);

#endif
