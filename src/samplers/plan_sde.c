/* Samplers that discretise the reverse stochastic differential equation (Song et al. 2021, eq. 6).
 */
#include <math.h>

#include "base/error.h"
#include "samplers/plan.h"
#include "samplers/schedule.h"

// Euler-Maruyama: dx = (-beta/2 x + beta/sigma eps) dt + sqrt(beta) dw, backwards over equal steps
// from 1 to LAST_TIME and one more, without noise, to 0.
aleat_status aleat_sampling_plan_em_sde(aleat_sampling_plan *plan,
                                        const aleat_sampler_config *config, int steps,
                                        aleat_error *err)
{
    const double last_time = 1e-3;
    if (config->beta_schedule != ALEAT_BETA_VP || config->trained_betas)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "sampler %s is for networks trained in continuous time, beta_schedule vp",
                          config->kind->name);
    if (steps < 2)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "sampler %s takes 2 steps at least",
                          config->kind->name);
    const aleat_status st = aleat_sampling_plan_reserve(plan, steps, err);
    if (st)
        return st;
    for (int k = 0; k < steps; k++) {
        const bool is_last = k + 1 == steps;
        const double stride = (1 - last_time) / (steps - 1);
        const double t = is_last ? last_time : 1 - k * stride;
        const double dt = is_last ? last_time : stride;
        const double log_alpha = aleat_schedule_vp_log_alpha(config, t);
        const double sigma = sqrt(-expm1(2 * log_alpha)), beta = aleat_schedule_vp_beta(config, t);
        plan->steps[k] = (aleat_sampling_step){.t = t * config->train_steps - 1,
                                               .alpha = exp(log_alpha),
                                               .sigma = sigma,
                                               .outer = k,
                                               .c_x = 1 + 0.5 * beta * dt,
                                               .c_eps = {-beta / sigma * dt},
                                               .c_noise = is_last ? 0 : sqrt(beta * dt)};
    }
    plan->final_alpha = 1;
    plan->final_sigma = 0;
    return ALEAT_OK;
}
