/*
 * Euler's method for flow matching (Lipman et al. 2023; Esser et al. 2024): states are
 * x = (1 - s) x0 + s n, networks predict the velocity n - x0, and a step from s to r is
 * x' = x + (r - s) (n - x0).
 */
#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "samplers/plan.h"

/** Moves a level towards noise, as images of many pixels need (Esser et al. 2024, eq. 23). */
static double shifted(double shift, double s)
{
    return shift * s / (1 + (shift - 1) * s);
}

/** The logarithm of the shift for an image of this many tokens: linear between two lengths. */
static double dynamic_mu(const aleat_sampler_config *c)
{
    const double slope = (c->max_shift - c->base_shift) /
                         ((double)c->max_image_tokens - (double)c->base_image_tokens);
    return c->base_shift + slope * ((double)c->image_tokens - (double)c->base_image_tokens);
}

/**
 * Level k of n before the shift of a run. Where the grid ends is the pipelines' choice: FLUX's at
 * 1/n, Stable Diffusion 3's at the least level of training, which in diffusers has been shifted
 * once before.
 */
static double grid(const aleat_sampler_config *c, int n, int k)
{
    const bool before = !c->dynamic_shift && c->flow_grid == ALEAT_FLOW_TO_TRAINING;
    const double least = before ? shifted(c->shift, 1.0 / c->train_steps) : 1.0 / c->train_steps;
    const double last = c->flow_grid == ALEAT_FLOW_TO_ONE_STEP ? 1.0 / n : least;
    return n > 1 ? 1 + (last - 1) * k / (n - 1) : 1;
}

aleat_status aleat_sampling_plan_flow(aleat_sampling_plan *plan, const aleat_sampler_config *config,
                                      int steps, aleat_error *err)
{
    if (config->dynamic_shift && !config->image_tokens) {
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                         "use_dynamic_shifting: the shift depends on the size of the images, which "
                         "is not known here");
        aleat_hint(err, "pass the model, not its scheduler_config.json alone");
        return ALEAT_ERR_ARGUMENT;
    }
    const aleat_status st = aleat_sampling_plan_reserve(plan, steps, err);
    if (st)
        return st;
    const double shift = config->dynamic_shift ? exp(dynamic_mu(config)) : config->shift;
    for (int k = 0; k < steps; k++) {
        const double s = shifted(shift, grid(config, steps, k));
        const double r = k + 1 < steps ? shifted(shift, grid(config, steps, k + 1)) : 0;
        plan->steps[k] = (aleat_sampling_step){.t = s * config->train_steps,
                                               .alpha = 1 - s,
                                               .sigma = s,
                                               .outer = k,
                                               .c_x = 1,
                                               .c_x0 = {s - r},
                                               .c_eps = {r - s}};
    }
    plan->init_scale = plan->steps[0].sigma;
    plan->final_alpha = 1;
    return ALEAT_OK;
}
