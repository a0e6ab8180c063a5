/*
 * Schedules of samplers, and uncertainty at a given noisy state.
 */
#ifndef ALEAT_SAMPLING_H
#define ALEAT_SAMPLING_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/array.h"
#include "aleat/model.h"
#include "aleat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The i-th name, with one line of explanation in *help (which may be NULL); NULL beyond the last.
 */
ALEAT_API const char *aleat_sampler_name(int i, const char **help);
/** Statistics of the copies, then the short spellings of some. */
ALEAT_API const char *aleat_statistic_name(int i, const char **help);
/** Whether copies start from the clipped prediction of x0. */
ALEAT_API const char *aleat_clip_name(int i, const char **help);

/** How the gradient of the uncertainty is made. */
ALEAT_API const char *aleat_gradient_name(int i, const char **help);
/** Which way guidance moves. */
ALEAT_API const char *aleat_guide_sign_name(int i, const char **help);
/** What the code published with arXiv 2412.00205 does otherwise: "alpha=step-index", ... */
ALEAT_API const char *aleat_compat_name(int i, const char **help);
/** Numbers that every run gives for each image at no cost: columns of scores.csv. */
ALEAT_API const char *aleat_signal_name(int i, const char **help);

/** Which sampler visits which steps. Zero-initialise: defaults. Strings are borrowed. */
typedef struct aleat_sampling_options {
    const char *sampler;  /**< a name from aleat_sampler_name(); NULL: the schedule's own */
    const char *schedule; /**< a scheduler_config.json to use instead of the model's, or NULL */
    int64_t steps;        /**< outer steps; 0: 50 */
    double eta;           /**< DDIM: 0 deterministic, 1 like DDPM */
    /** DDIM and DDPM: visit the steps that guided-diffusion's timestep_respacing of this text keeps
     * ("250", "ddim50", "10,15,20"), and as it does end without noise and, in DDIM, form eps anew
     * from the clipped x0; `steps` is then not looked at. NULL: as diffusers does. */
    const char *respacing;
} aleat_sampling_options;

/**
 * What a sampling run would do, as a JSON object: sampler, prediction, timesteps, alphas_cumprod of
 * the whole training schedule, sigmas, the coefficients of every step.
 *
 * @param out   new text, to be released by free()
 * @param path  a model, or a scheduler_config.json itself; of a diffusers folder no weights are
 * read
 * @param model what the model's files do not say, as for aleat_model_open(); NULL: the defaults
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_schedule_json(char **out, const char *path,
                                                          const aleat_sampling_options *options,
                                                          const aleat_open_options *model,
                                                          aleat_error *err);

/** Zero-initialise: defaults. Strings and arrays are borrowed. */
typedef struct aleat_uncertainty_options {
    const char *schedule;     /**< as in aleat_sampling_options */
    const char *statistic;    /**< a name from aleat_statistic_name(); NULL: "eps-var" */
    const char *clip;         /**< a name from aleat_clip_name(); NULL: "auto" */
    int64_t copies;           /**< M, at least 2; 0: as many as `noise` holds, else 5 */
    const aleat_array *noise; /**< [M,N,C,H,W], or NULL: Philox under `seed` */
    uint64_t seed;
    const aleat_texts *texts;    /**< for networks that take them */
    const aleat_texts *negative; /**< one, for the unconditional half of guidance */
    double cfg_scale;            /**< classifier-free guidance, w of u + w (c - u); 0 and 1: none */
    const char *estimator; /**< a name from aleat_estimator_name(), one that needs no run: "copies"
                                or "mc-dropout", whose passes are `copies`; NULL: "copies" */
    const char *compat;    /**< names from aleat_compat_name() that need no sampler, with commas */
    const char *gradient;  /**< a name from aleat_gradient_name(); NULL: "vjp" */
    bool with_cosine;      /**< also compare the gradient with the exact one */
} aleat_uncertainty_options;

/** Arrays of a measurement, [N,C,H,W] each unless said. Released by aleat_uncertainty_clear(). */
typedef struct aleat_uncertainty {
    aleat_array map; /**< the statistic */
    aleat_array eps; /**< noise predicted at x */
    aleat_array x0;  /**< x0 predicted at x, clipped if the copies start from the clipped one */
    aleat_array
        grad; /**< d (sum of the map of the image) / d eps, if asked for; of flow models d v */
    aleat_array cosine;  /**< [N] between grad and the exact gradient, if asked for */
    int64_t evaluations; /**< of the network, for each image, products with Jacobians apart */
} aleat_uncertainty;

/**
 * Algorithm 1 of arXiv 2412.00205: M copies of the x0 predicted at x are noised again to the level
 * of x, and their noise predictions compared.
 *
 * @param x          [N,C,H,W], model scale
 * @param t          training step of x, from 0, whole; of flow models sigma times the number of
 *                   training steps, which may have a fraction
 * @param labels     [N], or NULL for a network without classes
 * @param with_grad  also the gradient: M vector-Jacobian products, or what `gradient` says
 * @return ALEAT_ERR_UNSUPPORTED: no gradient of this statistic or network, or no dropout in it;
 *         ALEAT_ERR_ARGUMENT: no schedule is known for this model, and none is given
 */
ALEAT_API ALEAT_MUST_USE aleat_status
aleat_model_uncertainty(aleat_model *model, const aleat_array *x, double t, const int32_t *labels,
                        const aleat_uncertainty_options *options, int with_grad,
                        aleat_uncertainty *out, aleat_error *err);
/** Accepts NULL. */
ALEAT_API void aleat_uncertainty_clear(aleat_uncertainty *u);

#ifdef __cplusplus
}
#endif
#endif
