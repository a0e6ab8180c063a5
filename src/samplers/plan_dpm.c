/*
 * DPM-Solver and DPM-Solver++ (Lu et al. 2022, arXiv 2206.00927 and 2211.01095) as diffusers lays
 * out their steps: multistep, and singlestep with one call an evaluation.
 */
#include "samplers/plan_dpm.h"

#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "samplers/schedule.h"
#include "samplers/sigmas.h"

aleat_level aleat_level_of(double ratio)
{
    const double alpha = 1 / sqrt(1 + ratio * ratio);
    return (aleat_level){alpha, ratio * alpha, -log(ratio)};
}

aleat_dpm_terms aleat_dpm_integrate(aleat_algorithm algorithm, const aleat_level *s,
                                    const aleat_level *t)
{
    const double h = t->lambda - s->lambda; // infinite at the last step to sigma = 0
    aleat_dpm_terms r = {0};
    switch (algorithm) {
    case ALEAT_DPM:
        r.x = t->alpha / s->alpha;
        r.d0 = -t->sigma * expm1(h);
        r.d1 = -t->sigma * (expm1(h) / h - 1);
        r.d2 = -t->sigma * ((expm1(h) - h) / (h * h) - 0.5);
        break;
    case ALEAT_DPMPP:
        r.x = t->sigma / s->sigma;
        r.d0 = -t->alpha * expm1(-h);
        r.d1 = t->alpha * (expm1(-h) / h + 1);
        r.d2 = -t->alpha * ((expm1(-h) + h) / (h * h) - 0.5);
        break;
    case ALEAT_SDE_DPM:
        r.x = t->alpha / s->alpha;
        r.d0 = -2 * t->sigma * expm1(h);
        r.d1 = -2 * t->sigma * (expm1(h) / h - 1);
        r.d2 = NAN; // no third order: aleat_sampling_plan_dpm_* refuse it
        r.noise = t->sigma * sqrt(expm1(2 * h));
        break;
    case ALEAT_SDE_DPMPP:
        r.x = t->sigma / s->sigma * exp(-h);
        r.d0 = -t->alpha * expm1(-2 * h);
        r.d1 = t->alpha * (expm1(-2 * h) / (2 * h) + 1);
        r.d2 = t->alpha * ((-expm1(-2 * h) - 2 * h) / (4 * h * h) - 0.5);
        r.noise = t->sigma * sqrt(-expm1(-2 * h));
        break;
    }
    r.d1_midpoint = 0.5 * r.d0;
    return r;
}

double *aleat_dpm_predictions(aleat_algorithm algorithm, aleat_sampling_step *step)
{
    return algorithm == ALEAT_DPMPP || algorithm == ALEAT_SDE_DPMPP ? step->c_x0 : step->c_eps;
}

static aleat_status check_settings(const aleat_sampler_config *c, aleat_error *err)
{
    const char *wrong = NULL;
    const bool noise = c->algorithm == ALEAT_DPM || c->algorithm == ALEAT_SDE_DPM;
    if (noise && c->final_sigma == ALEAT_FINAL_ZERO)
        wrong = "dpmsolver and sde-dpmsolver need final_sigmas_type sigma_min";
    else if (c->algorithm == ALEAT_SDE_DPM && c->order == 3)
        wrong = "sde-dpmsolver has no order 3";
    if (!wrong)
        return ALEAT_OK;
    return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "sampler %s: %s", c->kind->name, wrong);
}

// The levels of a run: [n + 1], the last one that of the result.
static aleat_status make_levels(aleat_sampling_plan *plan, const aleat_sampler_config *config,
                                int steps, aleat_level **out, aleat_error *err)
{
    aleat_sigma_list list = {0};
    *out = NULL;
    aleat_status st = check_settings(config, err);
    if (!st)
        st = aleat_sigmas_dpm(&list, plan->alphas_cumprod, config, steps, err);
    if (!st)
        st = aleat_sampling_plan_reserve(plan, list.n, err);
    if (st)
        goto done;
    aleat_level *levels = aleat_calloc((size_t)list.n + 1, sizeof *levels);
    if (!levels) {
        st = aleat_fail_memory(err, "noise levels");
        goto done;
    }
    for (int k = 0; k <= list.n; k++)
        levels[k] = aleat_level_of(list.sigma[k]);
    for (int k = 0; k < list.n; k++)
        plan->steps[k] = (aleat_sampling_step){
            .t = list.t[k], .alpha = levels[k].alpha, .sigma = levels[k].sigma, .outer = k};
    plan->final_alpha = levels[list.n].alpha;
    plan->final_sigma = levels[list.n].sigma;
    // thresholding acts on x0, and dpmsolver integrates the noise that belongs to it
    plan->eps_from_clipped = config->clip.dynamic;
    *out = levels;
done:
    aleat_sigma_list_clear(&list);
    return st;
}

// Divided differences in lambda, in units of h, of the predictions m_0 (at this state), m_1, m_2.
void aleat_dpm_multistep(aleat_sampling_step *step, const aleat_sampler_config *config,
                         const aleat_level levels[4], int order)
{
    const aleat_dpm_terms w = aleat_dpm_integrate(config->algorithm, &levels[1], &levels[0]);
    double *m = aleat_dpm_predictions(config->algorithm, step);
    const double h = levels[0].lambda - levels[1].lambda;
    step->c_x = w.x;
    step->c_noise = w.noise;
    m[0] = w.d0;
    if (order == 1)
        return;
    const double r0 = (levels[1].lambda - levels[2].lambda) / h;
    if (order == 2) {
        const double d1 = config->solver_type == ALEAT_SOLVER_HEUN ? w.d1 : w.d1_midpoint;
        m[0] += d1 / r0; // D1 = (m0 - m1) / r0
        m[1] -= d1 / r0;
        return;
    }
    const double r1 = (levels[2].lambda - levels[3].lambda) / h;
    // With a = (m0 - m1) / r0, b = (m1 - m2) / r1 and D2 = (a - b) / (r0 + r1): D1 = a + r0 D2
    const double shift = (w.d1 * r0 + w.d2) / (r0 + r1), a = (w.d1 + shift) / r0, b = -shift / r1;
    m[0] += a;
    m[1] += b - a;
    m[2] -= b;
}

static int multistep_order(const aleat_sampler_config *c, int k, int n)
{
    const bool few = c->lower_order_final && n < 15; // diffusers' notion of few steps
    int order = c->order < k + 1 ? c->order : k + 1;
    if (k == n - 1 && (c->euler_at_final || few || c->final_sigma == ALEAT_FINAL_ZERO))
        order = 1;
    if (k == n - 2 && few && order > 2)
        order = 2;
    return order;
}

aleat_status aleat_sampling_plan_dpm_multistep(aleat_sampling_plan *plan,
                                               const aleat_sampler_config *config, int steps,
                                               aleat_error *err)
{
    aleat_level *levels = NULL;
    const aleat_status st = make_levels(plan, config, steps, &levels, err);
    for (int k = 0; !st && k < plan->n_steps; k++) {
        const int order = multistep_order(config, k, plan->n_steps);
        aleat_level near[4] = {{0}};
        for (int j = 0; j <= order; j++)
            near[j] = levels[k + 1 - j];
        aleat_dpm_multistep(&plan->steps[k], config, near, order);
    }
    aleat_free(levels);
    return st;
}

// An update of order 2 or 3 starts anew from the state `order - 1` evaluations ago (the base); m_0
// is the newest prediction, the oldest is the one at the base.
static void singlestep_update(aleat_sampling_step *step, const aleat_sampler_config *config,
                              const aleat_level *at, int order)
{
    const aleat_level *base = at - (order - 1);
    const aleat_dpm_terms w = aleat_dpm_integrate(config->algorithm, base, at + 1);
    double *m = aleat_dpm_predictions(config->algorithm, step);
    const double h = at[1].lambda - base->lambda, r0 = (at->lambda - base->lambda) / h;
    const bool heun = config->solver_type == ALEAT_SOLVER_HEUN;
    step->sets_base = order == 1;
    step->c_base = w.x;
    step->c_noise = w.noise;
    m[order - 1] = w.d0;
    if (order == 2) {
        const double d1 = (heun ? w.d1 : w.d1_midpoint) / r0;
        m[0] += d1;
        m[1] -= d1;
    }
    if (order < 3)
        return;
    const double r1 = (at[-1].lambda - base->lambda) / h;
    // midpoint: D1 = (m0 - m2) / r0 alone; heun: the parabola through all three
    double far = w.d1 / r0, near = 0;
    if (heun) {
        far = (-w.d1 * r1 + 2 * w.d2) / (r0 - r1) / r0;
        near = (w.d1 * r0 - 2 * w.d2) / (r0 - r1) / r1;
    }
    m[0] += far;
    m[1] += near;
    m[2] -= far + near;
}

// Orders run 1, 2, .., order, 1, 2, ...; the last call is of order 1 when it goes to sigma = 0, or
// when it would complete a cycle and the end is to be of lower order.
static int singlestep_order(const aleat_sampler_config *c, int k, int n)
{
    const bool zero = c->final_sigma == ALEAT_FINAL_ZERO;
    const bool cut = zero || (c->lower_order_final && n % c->order == 0);
    return cut && k == n - 1 ? 1 : k % c->order + 1;
}

aleat_status aleat_sampling_plan_dpm_singlestep(aleat_sampling_plan *plan,
                                                const aleat_sampler_config *config, int steps,
                                                aleat_error *err)
{
    aleat_level *levels = NULL;
    const aleat_status st = make_levels(plan, config, steps, &levels, err);
    for (int k = 0; !st && k < plan->n_steps; k++)
        singlestep_update(&plan->steps[k], config, levels + k,
                          singlestep_order(config, k, plan->n_steps));
    aleat_free(levels);
    return st;
}
