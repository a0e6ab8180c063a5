/*
 * DPM-Solver and DPM-Solver++ as their authors' own implementation lays out the steps (Lu et al.
 * 2022): continuous time, singlestep updates of several evaluations each. This is the
 * "DPM-Solver-2" of papers; one step has `order` evaluations.
 */
#include "samplers/plan_dpm.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "samplers/schedule.h"

// Continuous time on (0, 1]: log alpha is linear between t_i = (i + 1) / n with alpha^2 = abar[i],
// and goes on in a straight line outside. Entries with too little signal are left out first.
typedef struct clock {
    const double *abar;
    int n;
    double end;                     // of a run
    const aleat_sampler_config *vp; // a process that is continuous itself; or NULL
} clock;

static double knot(const clock *c, int i)
{
    return 0.5 * log(c->abar[i]);
}

static double log_alpha_at(const clock *c, double t)
{
    if (c->vp)
        return aleat_schedule_vp_log_alpha(c->vp, t);
    const double place = t * c->n - 1;
    const double held = fmin(fmax(floor(place), 0), c->n - 2);
    const int i = (int)held;
    return knot(c, i) + (knot(c, i + 1) - knot(c, i)) * (place - i);
}

static aleat_level level_at(const clock *c, double t)
{
    const double log_alpha = log_alpha_at(c, t);
    const double sigma = sqrt(-expm1(2 * log_alpha));
    return (aleat_level){exp(log_alpha), sigma, log_alpha - log(sigma)};
}

static double time_of_lambda(const clock *c, double lambda)
{
    // log alpha = -log(1 + exp(-2 lambda)) / 2, without overflow
    const double log_alpha = -0.5 * (fmax(-2 * lambda, 0) + log1p(exp(-fabs(2 * lambda))));
    if (c->vp)
        return aleat_schedule_vp_time(c->vp, log_alpha);
    int low = 0, high = c->n - 1;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (knot(c, middle) >= log_alpha)
            low = middle;
        else
            high = middle;
    }
    const double part = (log_alpha - knot(c, low)) / (knot(c, high) - knot(c, low));
    return (low + part + 1) / c->n;
}

// Point i of n + 1 between times from and to.
static double skip(const clock *c, aleat_dpm_skip kind, double from, double to, int i, int n)
{
    const double part = (double)i / n;
    if (i == 0 || i == n) // not by way of lambda: the ends are exact
        return i ? to : from;
    if (kind == ALEAT_SKIP_TIME_UNIFORM)
        return from + (to - from) * part;
    if (kind == ALEAT_SKIP_TIME_QUADRATIC) {
        const double root = sqrt(from) + (sqrt(to) - sqrt(from)) * part;
        return root * root;
    }
    const double a = level_at(c, from).lambda, b = level_at(c, to).lambda;
    return time_of_lambda(c, a + (b - a) * part);
}

static void begin_step(aleat_sampling_step *s, const clock *c, double t, int outer, int stage)
{
    const aleat_level level = level_at(c, t);
    // the network is told the place in the table, which is t n - 1
    *s = (aleat_sampling_step){.t = t * c->n - 1,
                               .alpha = level.alpha,
                               .sigma = level.sigma,
                               .outer = outer,
                               .stage = stage};
}

// The evaluations of one singlestep update of order 1 to 3 from times[0] to times[order]; the times
// between are where the further evaluations are. m_0 is the newest prediction.
static void singlestep(aleat_sampling_step *step, const clock *c, aleat_algorithm algorithm,
                       const double *times, int order, int outer)
{
    const aleat_level s = level_at(c, times[0]);
    for (int stage = 0; stage < order; stage++) {
        aleat_sampling_step *at = &step[stage];
        const aleat_level to = level_at(c, times[stage + 1]);
        const aleat_dpm_terms w = aleat_dpm_integrate(algorithm, &s, &to);
        begin_step(at, c, times[stage], outer, stage);
        at->sets_base = stage == 0;
        at->c_base = w.x;
        double *m = aleat_dpm_predictions(algorithm, at);
        m[stage] = w.d0;
        if (stage == 0)
            continue;
        // the slope between the base and the newest prediction; over the whole step for order 2
        const aleat_level here = level_at(c, times[stage]);
        const double r = (here.lambda - s.lambda) / (to.lambda - s.lambda);
        const double d1 = (order == 2 ? w.d1_midpoint : w.d1) / r;
        m[0] += d1;
        m[stage] -= d1;
    }
}

static aleat_status run_singlestep(aleat_sampling_plan *plan, const aleat_sampler_config *config,
                                   const clock *c, int steps, aleat_error *err)
{
    const bool fixed = config->method == ALEAT_DPM_SINGLESTEP_FIXED;
    const int order = config->order, whole = steps / order, rest = steps % order;
    // a remainder r ends the run with a step of order r; order 3 without one ends with 2, 1
    const bool split = !fixed && order == 3 && rest == 0;
    const int updates = fixed ? whole : split ? whole + 1 : whole + (rest > 0);
    const int evaluations = fixed ? whole * order : steps;
    if (updates < 1)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%d evaluations are too few for order %d", steps,
                          order);
    const aleat_status st =
        aleat_sampling_plan_reserve(plan, evaluations + config->denoise_to_zero, err);
    if (st)
        return st;
    const double begin = 1, end = c->end;
    const bool by_update = fixed || config->skip == ALEAT_SKIP_LOG_SNR;
    int done = 0;
    for (int u = 0; u < updates; u++) {
        int here = order;
        if (split && u >= updates - 2)
            here = updates - u;
        else if (!fixed && rest > 0 && u == updates - 1)
            here = rest;
        const double from = by_update ? skip(c, config->skip, begin, end, u, updates)
                                      : skip(c, config->skip, begin, end, done, steps);
        const double to = by_update ? skip(c, config->skip, begin, end, u + 1, updates)
                                    : skip(c, config->skip, begin, end, done + here, steps);
        double times[4] = {0};
        for (int i = 0; i <= here; i++)
            times[i] = skip(c, config->skip, from, to, i, here);
        singlestep(plan->steps + done, c, config->algorithm, times, here, u);
        done += here;
    }
    return ALEAT_OK;
}

// m_1 and m_2 are the predictions at the previous times; the order rises at the start, and falls at
// the end of short runs.
static aleat_status run_multistep(aleat_sampling_plan *plan, const aleat_sampler_config *config,
                                  const clock *c, int steps, aleat_error *err)
{
    const aleat_status st = aleat_sampling_plan_reserve(plan, steps + config->denoise_to_zero, err);
    if (st)
        return st;
    const double begin = 1, end = c->end;
    for (int k = 0; k < steps; k++) {
        int order = config->order < k + 1 ? config->order : k + 1;
        if (config->lower_order_final && steps < 10 && order > steps - k)
            order = steps - k;
        aleat_level at[4] = {{0}}; // at[0] the next level, at[1] this one, ...
        for (int j = 0; j <= order; j++)
            at[j] = level_at(c, skip(c, config->skip, begin, end, k + 1 - j, steps));
        aleat_sampling_step *step = &plan->steps[k];
        begin_step(step, c, skip(c, config->skip, begin, end, k, steps), k, 0);
        aleat_dpm_multistep(step, config, at, order);
    }
    return ALEAT_OK;
}

aleat_status aleat_sampling_plan_dpm_original(aleat_sampling_plan *plan,
                                              const aleat_sampler_config *config, int steps,
                                              aleat_error *err)
{
    clock c = {.abar = plan->alphas_cumprod, .n = plan->train_steps};
    if (config->beta_schedule == ALEAT_BETA_VP && !config->trained_betas)
        c.vp = config;
    while (!c.vp && c.n > 0 &&
           0.5 * (log(c.abar[c.n - 1]) - log1p(-c.abar[c.n - 1])) < config->lambda_min_clipped)
        c.n--;
    if (c.n < 2)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "the noise schedule has %d steps with enough signal, 2 are needed", c.n);
    if (config->algorithm != ALEAT_DPM && config->algorithm != ALEAT_DPMPP)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "sampler %s is deterministic",
                          config->kind->name);
    c.end = c.vp ? 1e-4 : 1.0 / c.n;
    const bool multistep = config->method == ALEAT_DPM_MULTISTEP;
    const aleat_status st =
        (multistep ? run_multistep : run_singlestep)(plan, config, &c, steps, err);
    if (st)
        return st;
    const aleat_level last = level_at(&c, c.end);
    plan->final_alpha = last.alpha;
    plan->final_sigma = last.sigma;
    plan->eps_from_clipped = config->clip.dynamic;
    if (!config->denoise_to_zero)
        return ALEAT_OK;
    aleat_sampling_step *extra = &plan->steps[plan->n_steps - 1];
    begin_step(extra, &c, c.end, extra[-1].outer + 1, 0);
    extra->c_x0[0] = 1; // the result is the prediction of x0 itself
    plan->final_alpha = 1;
    plan->final_sigma = 0;
    return ALEAT_OK;
}

aleat_status aleat_sampling_plan_dpm_fast(aleat_sampling_plan *plan,
                                          const aleat_sampler_config *config, int steps,
                                          aleat_error *err)
{
    aleat_sampler_config even = *config; // borrows
    even.skip = ALEAT_SKIP_LOG_SNR;
    return aleat_sampling_plan_dpm_original(plan, &even, steps, err);
}
