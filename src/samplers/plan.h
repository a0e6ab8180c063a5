/*
 * A plan: everything about a sampling run that does not depend on the images, as numbers in double.
 *
 * All samplers here are linear in the state, the predictions made so far and the noise, so each is
 * nothing but a rule that fills a table of coefficients; the loop (sampler.h) is the same for all.
 * A state is always kept as the network sees it, x = alpha x0 + sigma n: for flow models with
 * alpha + sigma = 1, for all others variance-preserving, alpha^2 + sigma^2 = 1, also where the
 * literature writes the sampler for x / alpha (Euler, KDPM2). Hooks and Algorithm 1 see one
 * convention.
 */
#ifndef ALEAT_SAMPLERS_PLAN_H
#define ALEAT_SAMPLERS_PLAN_H

#include <jansson.h>
#include <stdbool.h>

#include "aleat/status.h"
#include "samplers/config.h"

/** Predictions that a step may look back on, its own included. */
#define ALEAT_PLAN_HISTORY 5

/** One evaluation of the network and what is done with it. */
typedef struct aleat_sampling_step {
    double t;            /**< training step of the state, from 0; may have a fraction */
    double alpha, sigma; /**< of the state that the network sees */
    int outer, stage;    /**< outer step this evaluation belongs to, and which one of it */
    /*
     * The next state: x' = c_x x + c_base base + sum_j (c_x0[j] x0_j + c_eps[j] eps_j) + c_noise z,
     * j = 0 the predictions at this state, j = 1 those before, ...
     */
    double c_x, c_base, c_x0[ALEAT_PLAN_HISTORY], c_eps[ALEAT_PLAN_HISTORY], c_noise;
    bool sets_base; /**< this state becomes `base` before x' is formed */
    bool learned;   /**< c_noise, unless 0, is replaced, per element, by the learned deviation */
    double log_var_low, log_var_high; /**< between which a learned variance interpolates */
    double variance; /**< of the reverse step if it is not learned, also where no noise is added;
                          0 unless the sampler is DDPM */
} aleat_sampling_step;

/** A sampling run. Read-only after aleat_sampling_plan_new(); may be shared by threads. */
typedef struct aleat_sampling_plan {
    const aleat_sampler_kind *kind;
    aleat_prediction prediction;
    aleat_clip clip;
    aleat_variance variance;
    bool eps_from_clipped; /**< eps is formed anew from the clipped x0 */
    int n_steps;           /**< evaluations: the NFE of plain sampling */
    int n_outer;           /**< outer steps: what a user calls steps */
    aleat_sampling_step *steps;
    double init_scale;               /**< x_T = init_scale * standard normal */
    double final_alpha, final_sigma; /**< of the state after the last step */
    int history_x0, history_eps;     /**< how many predictions of each kind the steps use */
    int train_steps;
    double *alphas_cumprod; /**< [train_steps] */
} aleat_sampling_plan;

/**
 * Plans `steps` steps (what a step is, is the sampler's own: see its description). `config` is not
 * kept. ALEAT_ERR_ARGUMENT: steps out of range; ALEAT_ERR_UNSUPPORTED: settings that contradict.
 */
ALEAT_MUST_USE aleat_status aleat_sampling_plan_new(aleat_sampling_plan **out,
                                                    const aleat_sampler_config *config, int steps,
                                                    aleat_error *err);
/** Accepts NULL. */
void aleat_sampling_plan_free(aleat_sampling_plan *plan);

/** The first evaluation of outer step `outer`, 0 <= outer < n_outer, if a run can begin with it: no
 * step from there on may look back on a state before it. -1: it cannot. */
int aleat_sampling_plan_begin(const aleat_sampling_plan *plan, int outer);

/**
 * The plan as a JSON object: sampler, prediction, timesteps, alphas_cumprod (at the visited steps
 * and as the full table; not of flow models), sigmas (sigma / alpha, of flow models sigma; the last
 * included) and all coefficients. NULL if there is no memory; the caller owns the reference.
 */
json_t *aleat_sampling_plan_json(const aleat_sampling_plan *plan);

/** A row of the table of samplers. */
struct aleat_sampler_kind {
    const char *name;        /**< as --sampler spells it */
    const char *description; /**< one line */
    const char *class_name;  /**< diffusers' class, or NULL */
    int class_id;            /**< whose keys and defaults it has: config.c */
    int order;               /**< implied by the name; 0: the config's */
    int algorithm;           /**< aleat_algorithm implied by the name, or -1 */
    /** Fills steps, init_scale and final_*; allocates the steps by aleat_sampling_plan_reserve().
     */
    aleat_status (*plan)(aleat_sampling_plan *plan, const aleat_sampler_config *config, int steps,
                         aleat_error *err);
};

/** The table, ended by a row whose name is NULL. */
const aleat_sampler_kind *aleat_samplers(void);

/** For planners: n zeroed steps. */
ALEAT_MUST_USE aleat_status aleat_sampling_plan_reserve(aleat_sampling_plan *plan, int n,
                                                        aleat_error *err);

/* The planners, one for each family. */
aleat_status aleat_sampling_plan_ddim(aleat_sampling_plan *plan, const aleat_sampler_config *config,
                                      int steps, aleat_error *err);
aleat_status aleat_sampling_plan_ddpm(aleat_sampling_plan *plan, const aleat_sampler_config *config,
                                      int steps, aleat_error *err);
aleat_status aleat_sampling_plan_dpm_multistep(aleat_sampling_plan *plan,
                                               const aleat_sampler_config *config, int steps,
                                               aleat_error *err);
aleat_status aleat_sampling_plan_dpm_singlestep(aleat_sampling_plan *plan,
                                                const aleat_sampler_config *config, int steps,
                                                aleat_error *err);
aleat_status aleat_sampling_plan_dpm_original(aleat_sampling_plan *plan,
                                              const aleat_sampler_config *config, int steps,
                                              aleat_error *err);
aleat_status aleat_sampling_plan_dpm_fast(aleat_sampling_plan *plan,
                                          const aleat_sampler_config *config, int steps,
                                          aleat_error *err);
aleat_status aleat_sampling_plan_em_sde(aleat_sampling_plan *plan,
                                        const aleat_sampler_config *config, int steps,
                                        aleat_error *err);
aleat_status aleat_sampling_plan_kdpm2(aleat_sampling_plan *plan,
                                       const aleat_sampler_config *config, int steps,
                                       aleat_error *err);
aleat_status aleat_sampling_plan_pndm(aleat_sampling_plan *plan, const aleat_sampler_config *config,
                                      int steps, aleat_error *err);
aleat_status aleat_sampling_plan_flow(aleat_sampling_plan *plan, const aleat_sampler_config *config,
                                      int steps, aleat_error *err);
aleat_status aleat_sampling_plan_euler(aleat_sampling_plan *plan,
                                       const aleat_sampler_config *config, int steps,
                                       aleat_error *err);
aleat_status aleat_sampling_plan_euler_ancestral(aleat_sampling_plan *plan,
                                                 const aleat_sampler_config *config, int steps,
                                                 aleat_error *err);

#endif
