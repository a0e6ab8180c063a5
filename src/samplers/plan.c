#include "samplers/plan.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "samplers/schedule.h"

int aleat_sampling_plan_begin(const aleat_sampling_plan *plan, int outer)
{
    int first = 0;
    while (first < plan->n_steps && plan->steps[first].outer < outer)
        first++;
    for (int k = first; k < plan->n_steps && !plan->steps[k].sets_base; k++)
        if (plan->steps[k].c_base != 0)
            return -1;
    return first < plan->n_steps ? first : -1;
}

aleat_status aleat_sampling_plan_reserve(aleat_sampling_plan *plan, int n, aleat_error *err)
{
    plan->steps = aleat_calloc((size_t)n, sizeof *plan->steps);
    if (!plan->steps)
        return aleat_fail_memory(err, "sampling plan");
    plan->n_steps = n;
    return ALEAT_OK;
}

static aleat_status make_tables(aleat_sampling_plan *plan, const aleat_sampler_config *config,
                                aleat_error *err)
{
    plan->train_steps = config->train_steps;
    plan->alphas_cumprod = aleat_calloc((size_t)config->train_steps, sizeof(double));
    double *betas = aleat_calloc((size_t)config->train_steps, sizeof *betas);
    aleat_status st = ALEAT_OK;
    if (!plan->alphas_cumprod || !betas) {
        st = aleat_fail_memory(err, "noise schedule");
        goto done;
    }
    aleat_schedule_betas(config, betas);
    aleat_schedule_products(betas, config->train_steps, plan->alphas_cumprod);
done:
    aleat_free(betas);
    return st;
}

static int depth(const double coefficients[ALEAT_PLAN_HISTORY])
{
    int used = 0;
    for (int j = 0; j < ALEAT_PLAN_HISTORY; j++)
        if (coefficients[j] != 0)
            used = j + 1;
    return used;
}

static bool all_finite(const aleat_sampling_step *s)
{
    double sum = s->t + s->alpha + s->sigma + s->c_x + s->c_base + s->c_noise;
    for (int j = 0; j < ALEAT_PLAN_HISTORY; j++)
        sum += s->c_x0[j] + s->c_eps[j];
    return isfinite(sum);
}

// What no planner may get wrong: finite coefficients, and a state from which the prediction can be
// turned into what the sampler needs.
static aleat_status check_plan(const aleat_sampling_plan *plan, aleat_error *err)
{
    for (int k = 0; k < plan->n_steps; k++) {
        const aleat_sampling_step *s = &plan->steps[k];
        if (!all_finite(s)) {
            (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                             "sampler %s: step %d of %d has no finite coefficients",
                             plan->kind->name, k, plan->n_steps);
            aleat_hint(err, "take fewer steps: two of them fall on one noise level");
            return ALEAT_ERR_ARGUMENT;
        }
        if (s->alpha == 0 && plan->prediction == ALEAT_PREDICTS_EPSILON)
            return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                              "sampler %s: a network that predicts epsilon cannot start from pure "
                              "noise (rescale_betas_zero_snr)",
                              plan->kind->name);
    }
    return ALEAT_OK;
}

aleat_status aleat_sampling_plan_new(aleat_sampling_plan **out, const aleat_sampler_config *config,
                                     int steps, aleat_error *err)
{
    *out = NULL;
    aleat_sampling_plan *plan = NULL;
    aleat_status st = ALEAT_OK;
    if (steps < 1 || steps > 1000000)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%d sampling steps: at least 1 is needed",
                          steps);
    plan = aleat_calloc(1, sizeof *plan);
    if (!plan)
        return aleat_fail_memory(err, "sampling plan");
    plan->kind = config->kind;
    plan->prediction = config->prediction;
    plan->clip = config->clip;
    plan->init_scale = 1;
    st = make_tables(plan, config, err);
    if (!st)
        st = config->kind->plan(plan, config, steps, err);
    if (!st)
        st = check_plan(plan, err);
    if (st)
        goto done;
    plan->n_outer = plan->steps[plan->n_steps - 1].outer + 1;
    for (int k = 0; k < plan->n_steps; k++) {
        const int x0 = depth(plan->steps[k].c_x0), eps = depth(plan->steps[k].c_eps);
        plan->history_x0 = x0 > plan->history_x0 ? x0 : plan->history_x0;
        plan->history_eps = eps > plan->history_eps ? eps : plan->history_eps;
    }
    *out = plan;
    plan = NULL;
done:
    aleat_sampling_plan_free(plan);
    return st;
}

void aleat_sampling_plan_free(aleat_sampling_plan *plan)
{
    if (!plan)
        return;
    aleat_free(plan->steps);
    aleat_free(plan->alphas_cumprod);
    aleat_free(plan);
}

static json_t *reals(const double *values, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        (void)json_array_append_new(list, json_real(values[i]));
    return list;
}

static json_t *step_json(const aleat_sampling_step *s)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "step", json_integer(s->outer));
    (void)json_object_set_new(o, "stage", json_integer(s->stage));
    (void)json_object_set_new(o, "timestep", json_real(s->t));
    (void)json_object_set_new(o, "alpha", json_real(s->alpha));
    (void)json_object_set_new(o, "sigma", json_real(s->sigma));
    (void)json_object_set_new(o, "c_x", json_real(s->c_x));
    (void)json_object_set_new(o, "c_base", json_real(s->c_base));
    (void)json_object_set_new(o, "c_x0", reals(s->c_x0, ALEAT_PLAN_HISTORY));
    (void)json_object_set_new(o, "c_eps", reals(s->c_eps, ALEAT_PLAN_HISTORY));
    (void)json_object_set_new(o, "c_noise", json_real(s->c_noise));
    if (s->learned) {
        (void)json_object_set_new(o, "log_variance_low", json_real(s->log_var_low));
        (void)json_object_set_new(o, "log_variance_high", json_real(s->log_var_high));
    }
    return o;
}

json_t *aleat_sampling_plan_json(const aleat_sampling_plan *plan)
{
    json_t *o = json_object(), *timesteps = json_array(), *abar = json_array();
    json_t *sigmas = json_array(), *steps = json_array();
    const bool flow = plan->prediction == ALEAT_PREDICTS_FLOW; // whose levels are sigma itself
    for (int k = 0; k < plan->n_steps; k++) {
        const aleat_sampling_step *s = &plan->steps[k];
        (void)json_array_append_new(timesteps, json_real(s->t));
        (void)json_array_append_new(abar, json_real(s->alpha * s->alpha));
        // a state without any signal has no finite ratio: null
        (void)json_array_append_new(sigmas, flow           ? json_real(s->sigma)
                                            : s->alpha > 0 ? json_real(s->sigma / s->alpha)
                                                           : json_null());
        (void)json_array_append_new(steps, step_json(s));
    }
    (void)json_array_append_new(sigmas, json_real(plan->final_sigma / plan->final_alpha));
    (void)json_object_set_new(o, "sampler", json_string(plan->kind->name));
    (void)json_object_set_new(o, "prediction",
                              json_string(aleat_prediction_name(plan->prediction)));
    (void)json_object_set_new(o, "evaluations", json_integer(plan->n_steps));
    (void)json_object_set_new(o, "init_scale", json_real(plan->init_scale));
    (void)json_object_set_new(o, "timesteps", timesteps);
    (void)json_object_set_new(o, "sigmas", sigmas);
    (void)json_object_set_new(o, "coefficients", steps);
    if (flow) {
        json_decref(abar);
        return o;
    }
    (void)json_object_set_new(o, "alphas_cumprod_at_timesteps", abar);
    (void)json_object_set_new(o, "alphas_cumprod", reals(plan->alphas_cumprod, plan->train_steps));
    return o;
}
