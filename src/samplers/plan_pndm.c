/*
 * PNDM without Runge-Kutta steps (Liu et al. 2022, "Pseudo numerical methods for diffusion models
 * on manifolds"): DDIM's step with a combination of the last predictions of the noise, as in linear
 * multistep methods. The first step is made twice, the second time with the mean of the predictions
 * at both its ends, so that there is one evaluation more than steps.
 */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "samplers/plan.h"
#include "samplers/schedule.h"

/** Adams-Bashforth weights of the predictions so far, newest first (Liu et al., eq. 12). */
static const double weights[4][4] = {{1},
                                     {3.0 / 2, -1.0 / 2},
                                     {23.0 / 12, -16.0 / 12, 5.0 / 12},
                                     {55.0 / 24, -59.0 / 24, 37.0 / 24, -9.0 / 24}};

/** Coefficients of the state and of the noise in Liu et al., eq. 11, from abar = a to b. */
typedef struct transfer {
    double state, noise;
} transfer;

static transfer transfer_of(double a, double b)
{
    return (transfer){sqrt(b / a), -(b - a) / (a * sqrt(1 - b) + sqrt(a * (1 - a) * b))};
}

/** Evaluation k, not 1. The one at the end of the first try, 1, is left out of the history. */
static void set_multistep(aleat_sampling_step *s, int k, transfer to)
{
    const int known = k < 1 ? 1 : k < 4 ? k : 4; // predictions at the beginnings of steps
    s->c_x = to.state;
    for (int i = 0; i < known; i++) {
        const int back = k > 1 && i == k - 1 ? k : i; // evaluation k - back; the oldest is 0
        s->c_eps[back] = to.noise * weights[known - 1][i];
    }
}

static double abar_at(const aleat_sampling_plan *plan, int t, double final)
{
    return t >= 0 ? plan->alphas_cumprod[t] : final;
}

aleat_status aleat_sampling_plan_pndm(aleat_sampling_plan *plan, const aleat_sampler_config *config,
                                      int steps, aleat_error *err)
{
    const int n = config->train_steps, stride = n / steps;
    const double final = config->set_alpha_to_one ? 1 : plan->alphas_cumprod[0];
    if (!config->skip_prk_steps || config->prediction != ALEAT_PREDICTS_EPSILON) {
        (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                         "sampler pndm: only with skip_prk_steps true and for networks that "
                         "predict epsilon");
        aleat_hint(err, "use --sampler ddim or dpm++2m");
        return ALEAT_ERR_UNSUPPORTED;
    }
    if (steps > n || aleat_schedule_spaced(config, steps, 0) >= n)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%d steps with offset %d do not fit into the %d training steps", steps,
                          config->steps_offset, n);
    const aleat_status st = aleat_sampling_plan_reserve(plan, steps > 1 ? steps + 1 : 1, err);
    if (st)
        return st;
    for (int k = 0; k < plan->n_steps; k++) {
        const int t = aleat_schedule_spaced(config, steps, k > 1 ? k - 1 : k);
        const int from = k == 1 ? t + stride : t, to = from - stride;
        const double abar = plan->alphas_cumprod[t];
        const transfer move =
            transfer_of(plan->alphas_cumprod[from < n ? from : n - 1], abar_at(plan, to, final));
        aleat_sampling_step *s = &plan->steps[k];
        *s = (aleat_sampling_step){.t = t,
                                   .alpha = sqrt(abar),
                                   .sigma = sqrt(1 - abar),
                                   .outer = k > 1 ? k - 1 : 0,
                                   .stage = k == 1,
                                   .sets_base = k == 0};
        if (k == 1) {
            s->c_base = move.state;
            s->c_eps[0] = s->c_eps[1] = move.noise / 2;
        } else {
            set_multistep(s, k, move);
        }
        if (k == plan->n_steps - 1)
            plan->final_alpha = sqrt(abar_at(plan, to, final));
    }
    plan->final_sigma = sqrt(1 - plan->final_alpha * plan->final_alpha);
    return ALEAT_OK;
}
