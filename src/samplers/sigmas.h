/* The noise levels that samplers in sigma = sqrt((1 - abar) / abar) visit. */
#ifndef ALEAT_SAMPLERS_SIGMAS_H
#define ALEAT_SAMPLERS_SIGMAS_H

#include "aleat/status.h"
#include "samplers/config.h"

/** n states, noisiest first, and the level of the result. */
typedef struct aleat_sigma_list {
    int n;
    double *t;     /**< [n] training step that the network is told */
    double *sigma; /**< [n + 1], falling; the last may be 0 */
} aleat_sigma_list;

/** As diffusers' DPMSolver*Scheduler.set_timesteps: integer training steps, or a grid of sigmas.
 * With zero_snr the last entry of abar is raised to 2^-24, in place, as there. */
ALEAT_MUST_USE aleat_status aleat_sigmas_dpm(aleat_sigma_list *out, double *abar,
                                             const aleat_sampler_config *config, int steps,
                                             aleat_error *err);
/** As diffusers' Euler*, KDPM2DiscreteScheduler.set_timesteps: training steps with fractions. */
ALEAT_MUST_USE aleat_status aleat_sigmas_euler(aleat_sigma_list *out, double *abar,
                                               const aleat_sampler_config *config, int steps,
                                               aleat_error *err);
void aleat_sigma_list_clear(aleat_sigma_list *list);

#endif
