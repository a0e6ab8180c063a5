#include "samplers/sigmas.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "samplers/schedule.h"

// Karras et al. 2022, eq. 5
#define KARRAS_RHO 7.0

// Signal left at the end of a zero-SNR schedule, so that sigma stays finite (diffusers).
#define LEAST_SIGNAL 0x1p-24

static aleat_status new_list(aleat_sigma_list *out, int n, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    out->t = aleat_calloc((size_t)n, sizeof *out->t);
    out->sigma = aleat_calloc((size_t)n + 1, sizeof *out->sigma);
    if (!out->t || !out->sigma) {
        aleat_sigma_list_clear(out);
        return aleat_fail_memory(err, "noise levels");
    }
    out->n = n;
    return ALEAT_OK;
}

void aleat_sigma_list_clear(aleat_sigma_list *list)
{
    if (!list)
        return;
    aleat_free(list->t);
    aleat_free(list->sigma);
    memset(list, 0, sizeof *list);
}

static double grid_point(aleat_sigma_grid grid, double high, double low, double part)
{
    if (grid == ALEAT_SIGMAS_KARRAS) {
        const double from = pow(high, 1 / KARRAS_RHO), to = pow(low, 1 / KARRAS_RHO);
        return pow(from + part * (to - from), KARRAS_RHO);
    }
    return exp(log(high) + part * (log(low) - log(high)));
}

// Replaces the levels of a list by a grid between `high` and `low` and tells the network the
// training steps that belong to them.
static void use_grid(aleat_sigma_list *list, const double *abar, const aleat_sampler_config *config,
                     double high, double low)
{
    for (int k = 0; k < list->n; k++) {
        const double part = list->n > 1 ? (double)k / (list->n - 1) : 0;
        list->sigma[k] = grid_point(config->sigma_grid, high, low, part);
        list->t[k] = aleat_schedule_time(abar, config->train_steps, list->sigma[k]);
    }
}

static double last_sigma(const double *abar, const aleat_sampler_config *config)
{
    const bool zero = config->final_sigma == ALEAT_FINAL_ZERO;
    return zero ? 0 : aleat_schedule_sigma(abar, config->train_steps, 0);
}

static aleat_status too_many(int steps, int n, aleat_error *err)
{
    return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%d steps, but training had only %d", steps, n);
}

// Training steps that are left when those with too little signal (half log SNR below the limit) go.
static int steps_with_signal(const double *abar, const aleat_sampler_config *config)
{
    int left = config->train_steps;
    while (left > 0 &&
           0.5 * (log(abar[left - 1]) - log1p(-abar[left - 1])) < config->lambda_min_clipped)
        left--;
    return left;
}

static double dpm_time(const aleat_sampler_config *config, int steps, int left, int k)
{
    switch (config->spacing) {
    case ALEAT_SPACING_LEADING: {
        const int stride = left / (steps + 1);
        return (double)(steps - k) * stride + config->steps_offset;
    }
    case ALEAT_SPACING_LINSPACE: return nearbyint((steps - k) * ((left - 1.0) / steps));
    case ALEAT_SPACING_TRAILING:
        return nearbyint(left - k * ((double)config->train_steps / steps)) - 1;
    }
    return 0;
}

aleat_status aleat_sigmas_dpm(aleat_sigma_list *out, double *abar,
                              const aleat_sampler_config *config, int steps, aleat_error *err)
{
    const int n = config->train_steps;
    memset(out, 0, sizeof *out);
    if (config->zero_snr)
        abar[n - 1] = LEAST_SIGNAL;
    const int left = steps_with_signal(abar, config);
    if (steps >= left)
        return too_many(steps, left, err);
    int count = steps;
    if (config->spacing == ALEAT_SPACING_TRAILING) // the clipped end leaves fewer steps
        count = (int)ceil(left / ((double)n / steps));
    const aleat_status st = new_list(out, count, err);
    if (st)
        return st;
    for (int k = 0; k < count; k++) {
        out->t[k] = dpm_time(config, steps, left, k);
        out->sigma[k] = aleat_schedule_sigma(abar, n, out->t[k]);
    }
    out->sigma[count] = last_sigma(abar, config);
    if (config->sigma_grid == ALEAT_SIGMAS_OF_TIMESTEPS)
        return ALEAT_OK;
    use_grid(out, abar, config, aleat_schedule_sigma(abar, n, n - 1),
             aleat_schedule_sigma(abar, n, 0));
    // the network is told whole training steps: rounded, or for the exponential grid cut
    for (int k = 0; k < count; k++)
        out->t[k] = config->sigma_grid == ALEAT_SIGMAS_EXPONENTIAL ? floor(out->t[k])
                                                                   : nearbyint(out->t[k]);
    return ALEAT_OK;
}

static double euler_time(const aleat_sampler_config *config, int steps, int k)
{
    const int n = config->train_steps;
    switch (config->spacing) {
    case ALEAT_SPACING_LEADING: {
        const int stride = n / steps;
        return (double)(steps - 1 - k) * stride + config->steps_offset;
    }
    case ALEAT_SPACING_LINSPACE: return steps > 1 ? (steps - 1 - k) * ((n - 1.0) / (steps - 1)) : 0;
    case ALEAT_SPACING_TRAILING: return nearbyint(n - k * ((double)n / steps)) - 1;
    }
    return 0;
}

aleat_status aleat_sigmas_euler(aleat_sigma_list *out, double *abar,
                                const aleat_sampler_config *config, int steps, aleat_error *err)
{
    const int n = config->train_steps;
    memset(out, 0, sizeof *out);
    if (config->zero_snr)
        abar[n - 1] = LEAST_SIGNAL;
    if (steps > n)
        return too_many(steps, n, err);
    const aleat_status st = new_list(out, steps, err);
    if (st)
        return st;
    for (int k = 0; k < steps; k++) {
        out->t[k] = euler_time(config, steps, k);
        out->sigma[k] = aleat_schedule_sigma(abar, n, out->t[k]);
    }
    out->sigma[steps] = last_sigma(abar, config);
    if (config->log_linear) { // steps + 1 points, and the lowest of them is where the run ends
        const double high = log(aleat_schedule_sigma(abar, n, n - 1));
        const double low = log(aleat_schedule_sigma(abar, n, 0));
        for (int k = 0; k <= steps; k++)
            out->sigma[k] = exp(high + (low - high) * k / steps);
    }
    if (config->sigma_grid == ALEAT_SIGMAS_OF_TIMESTEPS)
        return ALEAT_OK;
    use_grid(out, abar, config, config->sigma_max > 0 ? config->sigma_max : out->sigma[0],
             config->sigma_min > 0 ? config->sigma_min : out->sigma[steps - 1]);
    out->sigma[steps] = last_sigma(abar, config);
    return ALEAT_OK;
}
