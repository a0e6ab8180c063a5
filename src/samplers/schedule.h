/*
 * Noise schedules: the tables of training (betas and their products) and the choice of the training
 * steps that a sampler visits. Everything in double.
 */
#ifndef ALEAT_SAMPLERS_SCHEDULE_H
#define ALEAT_SAMPLERS_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/status.h"
#include "samplers/config.h"

/** betas[n] = beta_t as the config says; `n` is config->train_steps. */
void aleat_schedule_betas(const aleat_sampler_config *config, double *betas);
/** abar[t] = prod over s <= t of (1 - betas[s]). */
void aleat_schedule_products(const double *betas, int n, double *abar);
/** Shifts and scales sqrt(abar) so that the last one is 0 and the first stays (Lin et al. 2023,
 * algorithm 1), in place. */
void aleat_schedule_zero_snr(double *betas, int n);

/** Of the continuous process ALEAT_BETA_VP at time t in [0, 1]: beta, log alpha, and the time that
 * has a log alpha. */
double aleat_schedule_vp_beta(const aleat_sampler_config *config, double t);
double aleat_schedule_vp_log_alpha(const aleat_sampler_config *config, double t);
double aleat_schedule_vp_time(const aleat_sampler_config *config, double log_alpha);

/** sigma / alpha at a training step with a fraction: linear in sigma between the entries, held at
 * the ends. */
double aleat_schedule_sigma(const double *abar, int n, double t);
/** The inverse in log sigma: t with sigma(t) = sigma, linear in log sigma, held at the ends. */
double aleat_schedule_time(const double *abar, int n, double sigma);

/**
 * guided-diffusion's respacing of `n` training steps: "" all of them; "ddimK" a fixed integer
 * stride that gives exactly K steps; "K" or "a,b,c" that many steps from equal sections, ends
 * included. Writes the kept steps, ascending, to steps[n] and their number to *count.
 * ALEAT_ERR_ARGUMENT if it cannot be done.
 */
ALEAT_MUST_USE aleat_status aleat_schedule_respace(const char *text, int n, int *steps, int *count,
                                                   aleat_error *err);

/** The training step that step i of `steps` visits, noisiest first, by the config's spacing and
 * offset; it may lie beyond the last one. */
int aleat_schedule_spaced(const aleat_sampler_config *config, int steps, int i);

/** The betas of the process that visits only steps[count]: 1 - abar[steps[i]] / abar[steps[i-1]].
 */
void aleat_schedule_respaced_betas(const double *abar, const int *steps, int count, double *betas);

/** The posterior q(x_{t-1} | x_t, x_0) (Ho et al. 2020, eqs. 6 and 7); arrays of n. */
typedef struct aleat_posterior {
    double *variance, *log_variance_clipped, *x0_coefficient, *x_coefficient;
} aleat_posterior;
/** Fills the four arrays, any of which may be NULL. log_variance_clipped[0] is log variance[1],
 * since variance[0] = 0. */
void aleat_schedule_posterior(const double *betas, int n, const aleat_posterior *out);

#endif
