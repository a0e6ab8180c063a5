/*
 * Samplers that the literature writes for y = x / alpha = x0 + s n (Karras et al. 2022): a step
 * from s to r is y' = y + (r - s) eps. Here in x: x' = (alpha_r / alpha_s) x + alpha_r (r - s) eps.
 */
#include <math.h>

#include "base/error.h"
#include "samplers/plan.h"
#include "samplers/schedule.h"
#include "samplers/sigmas.h"

static double alpha_of(double s)
{
    return 1 / sqrt(1 + s * s);
}

static aleat_sampling_step begin_step(int outer, int stage, double t, double s)
{
    return (aleat_sampling_step){
        .t = t, .alpha = alpha_of(s), .sigma = s * alpha_of(s), .outer = outer, .stage = stage};
}

// diffusers starts from s_max z, or from sqrt(s_max^2 + 1) z with leading spacing; the second has
// the variance of x_T, so that in x the factor is 1.
static void begin_and_end(aleat_sampling_plan *plan, const aleat_sampler_config *config,
                          const aleat_sigma_list *list)
{
    const double first = list->sigma[0], last = list->sigma[list->n];
    plan->init_scale = config->spacing == ALEAT_SPACING_LEADING ? 1 : first * alpha_of(first);
    plan->final_alpha = alpha_of(last);
    plan->final_sigma = last * alpha_of(last);
}

aleat_status aleat_sampling_plan_euler(aleat_sampling_plan *plan,
                                       const aleat_sampler_config *config, int steps,
                                       aleat_error *err)
{
    aleat_sigma_list list = {0};
    aleat_status st = aleat_sigmas_euler(&list, plan->alphas_cumprod, config, steps, err);
    if (!st)
        st = aleat_sampling_plan_reserve(plan, steps, err);
    if (st)
        goto done;
    for (int k = 0; k < steps; k++) {
        const double s = list.sigma[k], r = list.sigma[k + 1];
        plan->steps[k] = begin_step(k, 0, list.t[k], s);
        plan->steps[k].c_x = alpha_of(r) / alpha_of(s);
        plan->steps[k].c_eps[0] = alpha_of(r) * (r - s);
    }
    begin_and_end(plan, config, &list);
done:
    aleat_sigma_list_clear(&list);
    return st;
}

aleat_status aleat_sampling_plan_euler_ancestral(aleat_sampling_plan *plan,
                                                 const aleat_sampler_config *config, int steps,
                                                 aleat_error *err)
{
    aleat_sigma_list list = {0};
    aleat_status st = aleat_sigmas_euler(&list, plan->alphas_cumprod, config, steps, err);
    if (!st)
        st = aleat_sampling_plan_reserve(plan, steps, err);
    if (st)
        goto done;
    for (int k = 0; k < steps; k++) {
        const double s = list.sigma[k], r = list.sigma[k + 1];
        // down to a level below r without noise, then up to r with fresh noise
        const double up = r / s * sqrt(fmax(s * s - r * r, 0)), down = r * r / s;
        plan->steps[k] = begin_step(k, 0, list.t[k], s);
        plan->steps[k].c_x = alpha_of(r) / alpha_of(s);
        plan->steps[k].c_eps[0] = alpha_of(r) * (down - s);
        plan->steps[k].c_noise = alpha_of(r) * up;
    }
    begin_and_end(plan, config, &list);
done:
    aleat_sigma_list_clear(&list);
    return st;
}

// Two evaluations a step, at s and at the geometric mean of s and the next level; the last step, to
// s = 0, has one.
aleat_status aleat_sampling_plan_kdpm2(aleat_sampling_plan *plan,
                                       const aleat_sampler_config *config, int steps,
                                       aleat_error *err)
{
    aleat_sigma_list list = {0};
    aleat_status st = aleat_sigmas_euler(&list, plan->alphas_cumprod, config, steps, err);
    if (!st)
        st = aleat_sampling_plan_reserve(plan, 2 * steps - 1, err);
    if (st)
        goto done;
    for (int k = 0; k < steps; k++) {
        const bool grid = config->sigma_grid == ALEAT_SIGMAS_KARRAS;
        const double s = list.sigma[k], r = list.sigma[k + 1], middle = sqrt(s * r);
        aleat_sampling_step *at = &plan->steps[2 * k];
        *at = begin_step(k, 0, grid ? nearbyint(list.t[k]) : list.t[k], s);
        at->sets_base = true;
        at->c_x = alpha_of(middle) / alpha_of(s);
        at->c_eps[0] = alpha_of(middle) * (middle - s);
        if (k == steps - 1)
            break;
        const double t = aleat_schedule_time(plan->alphas_cumprod, plan->train_steps, middle);
        at[1] = begin_step(k, 1, t, middle);
        at[1].c_base = alpha_of(r) / alpha_of(s);
        at[1].c_eps[0] = alpha_of(r) * (r - s);
    }
    begin_and_end(plan, config, &list);
done:
    aleat_sigma_list_clear(&list);
    return st;
}
