/* DDIM (Song et al. 2021, eq. 12) and DDPM (Ho et al. 2020, eq. 7): one evaluation, no history. */
#include <assert.h>
#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "samplers/plan.h"
#include "samplers/schedule.h"

// A visited training step and the one after it; `next` < 0: the end of the run.
typedef struct visit {
    int t, next;
} visit;

// diffusers 0.31: the step after t is t - n / steps whatever the spacing, which for linspace and
// trailing is not always the next one visited.
static aleat_status visit_spaced(const aleat_sampler_config *config, int steps, visit *visits,
                                 aleat_error *err)
{
    const int stride = config->train_steps / steps;
    for (int i = 0; i < steps; i++) {
        const int t = aleat_schedule_spaced(config, steps, i);
        if (t >= config->train_steps) {
            (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                             "%d steps with offset %d start at training step %d of %d", steps,
                             config->steps_offset, t, config->train_steps);
            aleat_hint(err, "take fewer steps or another timestep spacing");
            return ALEAT_ERR_ARGUMENT;
        }
        visits[i] = (visit){t, t - stride};
    }
    return ALEAT_OK;
}

static aleat_status make_visits(const aleat_sampler_config *config, int *steps, visit **out,
                                aleat_error *err)
{
    const int n = config->train_steps;
    int *kept = NULL;
    *out = NULL;
    if (!config->respacing && *steps > n)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%d steps, but training had only %d", *steps, n);
    aleat_status st = ALEAT_OK;
    *out = aleat_calloc((size_t)(n > *steps ? n : *steps), sizeof **out);
    kept = aleat_calloc((size_t)n, sizeof *kept);
    if (!*out || !kept) {
        st = aleat_fail_memory(err, "timesteps");
        goto done;
    }
    if (!config->respacing) {
        st = visit_spaced(config, *steps, *out, err);
        goto done;
    }
    st = aleat_schedule_respace(config->respacing, n, kept, steps, err);
    for (int i = 0; !st && i < *steps; i++)
        (*out)[*steps - 1 - i] = (visit){kept[i], i > 0 ? kept[i - 1] : -1};
done:
    aleat_free(kept);
    if (st) {
        aleat_free(*out);
        *out = NULL;
    }
    return st;
}

static void begin_step(aleat_sampling_step *s, int k, int t, double abar)
{
    *s = (aleat_sampling_step){
        .t = t, .alpha = sqrt(abar), .sigma = sqrt(1 - abar), .outer = k, .c_x = 0};
}

aleat_status aleat_sampling_plan_ddim(aleat_sampling_plan *plan, const aleat_sampler_config *config,
                                      int steps, aleat_error *err)
{
    visit *visits = NULL;
    if (!(config->eta >= 0 && config->eta <= 1))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "eta is %g: it must lie between 0 and 1",
                          config->eta);
    aleat_status st = make_visits(config, &steps, &visits, err);
    if (!st)
        st = aleat_sampling_plan_reserve(plan, steps, err);
    if (st)
        goto done;
    assert(visits);
    plan->eps_from_clipped = config->eps_from_clipped;
    // guided-diffusion's respaced runs, like DDIM itself, end at a state without noise
    const double final =
        config->set_alpha_to_one || config->respacing ? 1 : plan->alphas_cumprod[0];
    double next = final;
    for (int k = 0; k < steps; k++) {
        aleat_sampling_step *s = &plan->steps[k];
        const double abar = plan->alphas_cumprod[visits[k].t];
        next = visits[k].next >= 0 ? plan->alphas_cumprod[visits[k].next] : final;
        begin_step(s, k, visits[k].t, abar);
        s->c_noise = config->eta * sqrt((1 - next) / (1 - abar) * (1 - abar / next));
        s->c_x0[0] = sqrt(next);
        s->c_eps[0] = sqrt(fmax(1 - next - s->c_noise * s->c_noise, 0));
    }
    plan->final_alpha = sqrt(next);
    plan->final_sigma = sqrt(1 - next);
done:
    aleat_free(visits);
    return st;
}

// Variances below this are raised to it before their logarithm is taken (diffusers).
#define LEAST_VARIANCE 1e-20

static void ddpm_variance(aleat_sampling_step *s, aleat_variance kind, double small, double large)
{
    small = fmax(small, LEAST_VARIANCE);
    s->learned = kind == ALEAT_VARIANCE_LEARNED || kind == ALEAT_VARIANCE_LEARNED_RANGE;
    s->variance = kind == ALEAT_VARIANCE_SMALL ? small : large;
    s->log_var_low = log(small);
    s->log_var_high = log(large);
}

// The posterior variance of a respaced process at the step from `abar` to `next`.
static double posterior_variance(double abar, double next)
{
    return (1 - next) / (1 - abar) * (1 - abar / next);
}

// At the last step the posterior variance is 0; guided-diffusion takes that of the step before it
// there, and also for the large one. No noise is added: classifier guidance alone looks at it.
static void end_variance(aleat_sampling_plan *plan, aleat_variance kind)
{
    aleat_sampling_step *last = &plan->steps[plan->n_steps - 1];
    if (plan->n_steps < 2)
        return;
    const double abar = last[-1].alpha * last[-1].alpha, next = last->alpha * last->alpha;
    const double small = posterior_variance(abar, next);
    ddpm_variance(last, kind, small, kind == ALEAT_VARIANCE_LARGE ? small : 1 - next);
}

aleat_status aleat_sampling_plan_ddpm(aleat_sampling_plan *plan, const aleat_sampler_config *config,
                                      int steps, aleat_error *err)
{
    visit *visits = NULL;
    aleat_status st = make_visits(config, &steps, &visits, err);
    if (!st)
        st = aleat_sampling_plan_reserve(plan, steps, err);
    if (st)
        goto done;
    assert(visits);
    plan->variance = config->variance;
    double next = 1;
    for (int k = 0; k < steps; k++) {
        aleat_sampling_step *s = &plan->steps[k];
        const double abar = plan->alphas_cumprod[visits[k].t];
        next = visits[k].next >= 0 ? plan->alphas_cumprod[visits[k].next] : 1;
        const double alpha = abar / next, beta = 1 - alpha;
        begin_step(s, k, visits[k].t, abar);
        s->c_x0[0] = sqrt(next) * beta / (1 - abar);
        s->c_x = sqrt(alpha) * (1 - next) / (1 - abar);
        // none at the end: training step 0 for diffusers, the last step for guided-diffusion
        ddpm_variance(s, config->variance, posterior_variance(abar, next), beta);
        if (config->respacing ? visits[k].next >= 0 : visits[k].t > 0)
            s->c_noise = sqrt(s->variance);
    }
    end_variance(plan, config->variance);
    plan->final_alpha = sqrt(next);
    plan->final_sigma = sqrt(1 - next);
done:
    aleat_free(visits);
    return st;
}
