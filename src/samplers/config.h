/*
 * What a sampler is told: the contents of a diffusers scheduler_config.json, with the defaults that
 * each class of diffusers 0.31.0 has, and what users add on the command line.
 */
#ifndef ALEAT_SAMPLERS_CONFIG_H
#define ALEAT_SAMPLERS_CONFIG_H

#include <stdbool.h>

#include "aleat/status.h"
#include "io/json.h"

/** How beta_t, the noise added by training step t, runs over the steps. */
typedef enum aleat_beta_schedule {
    ALEAT_BETA_LINEAR,
    ALEAT_BETA_SCALED_LINEAR, /**< linear in sqrt(beta): latent diffusion */
    ALEAT_BETA_COSINE,        /**< squaredcos_cap_v2: Nichol and Dhariwal 2021, eq. 17 */
    ALEAT_BETA_SIGMOID,
    ALEAT_BETA_VP /**< continuous time (0, 1]: beta(t) linear from steps beta_start to steps
                     beta_end (Song et al. 2021, VP SDE); training step i is time (i + 1) / steps.
                     Of no class of diffusers. */
} aleat_beta_schedule;

/** What the network's output means; x = alpha x0 + sigma noise. */
typedef enum aleat_prediction {
    ALEAT_PREDICTS_EPSILON, /**< the noise */
    ALEAT_PREDICTS_SAMPLE,  /**< x0 */
    ALEAT_PREDICTS_V,       /**< alpha noise - sigma x0 (Salimans and Ho 2022) */
    ALEAT_PREDICTS_FLOW     /**< noise - x0, the velocity of flow matching */
} aleat_prediction;

/** Which training steps are visited; the names are those of Lin et al. 2023, table 2. */
typedef enum aleat_spacing {
    ALEAT_SPACING_LEADING,
    ALEAT_SPACING_LINSPACE,
    ALEAT_SPACING_TRAILING
} aleat_spacing;

/** How noise levels are placed. */
typedef enum aleat_sigma_grid {
    ALEAT_SIGMAS_OF_TIMESTEPS, /**< those of the visited training steps */
    ALEAT_SIGMAS_KARRAS,       /**< Karras et al. 2022, eq. 5, rho = 7 */
    ALEAT_SIGMAS_EXPONENTIAL,  /**< linear in log sigma */
    ALEAT_SIGMAS_LU            /**< diffusers' use_lu_lambdas: linear in log sigma, t rounded */
} aleat_sigma_grid;

typedef enum aleat_final_sigma {
    ALEAT_FINAL_ZERO,
    ALEAT_FINAL_SIGMA_MIN /**< sigma of training step 0 */
} aleat_final_sigma;

/** Variance of the reverse step of DDPM. */
typedef enum aleat_variance {
    ALEAT_VARIANCE_NONE, /**< of samplers other than DDPM */
    ALEAT_VARIANCE_SMALL,
    ALEAT_VARIANCE_LARGE,
    ALEAT_VARIANCE_LEARNED,      /**< the second half of the output is the variance */
    ALEAT_VARIANCE_LEARNED_RANGE /**< ... interpolates between the logarithms of small and large */
} aleat_variance;

/** What DPM-Solver integrates exactly. */
typedef enum aleat_algorithm {
    ALEAT_DPM,     /**< the noise prediction: Lu et al. 2022 (a) */
    ALEAT_DPMPP,   /**< the data prediction: Lu et al. 2022 (b) */
    ALEAT_SDE_DPM, /**< the same for the stochastic equation */
    ALEAT_SDE_DPMPP
} aleat_algorithm;

typedef enum aleat_solver_type { ALEAT_SOLVER_MIDPOINT, ALEAT_SOLVER_HEUN } aleat_solver_type;

/** Outer steps of the original DPM-Solver implementation. */
typedef enum aleat_dpm_method {
    ALEAT_DPM_SINGLESTEP,       /**< `steps` evaluations, the last steps of lower order */
    ALEAT_DPM_SINGLESTEP_FIXED, /**< steps / order steps, all of full order */
    ALEAT_DPM_MULTISTEP
} aleat_dpm_method;

/** Where the levels of a flow model's run end before they are shifted. */
typedef enum aleat_flow_grid {
    ALEAT_FLOW_TO_TRAINING, /**< at the least level of training: Stable Diffusion 3's pipeline */
    ALEAT_FLOW_TO_ONE_STEP  /**< at 1 / steps: FLUX's */
} aleat_flow_grid;

typedef enum aleat_dpm_skip {
    ALEAT_SKIP_TIME_UNIFORM,
    ALEAT_SKIP_LOG_SNR,
    ALEAT_SKIP_TIME_QUADRATIC
} aleat_dpm_skip;

/** The limits that a prediction of x0 is held to. */
typedef struct aleat_clip {
    bool clamp; /**< to [-range, range] */
    double range;
    bool dynamic;      /**< dynamic thresholding (Saharia et al. 2022, 2.3); wins over clamp */
    double ratio, max; /**< quantile of |x0| that becomes 1, and its largest value */
} aleat_clip;

typedef struct aleat_sampler_kind aleat_sampler_kind;

/** All settings of all samplers; each uses those that concern it. */
typedef struct aleat_sampler_config {
    const aleat_sampler_kind *kind; /**< which sampler */

    int train_steps;
    aleat_beta_schedule beta_schedule;
    double beta_start, beta_end;
    double *trained_betas; /**< [train_steps], owned; NULL: by beta_schedule */
    int n_trained_betas;
    aleat_prediction prediction;
    aleat_clip clip;

    aleat_spacing spacing;
    int steps_offset;
    char *respacing; /**< guided-diffusion's "ddim50", "250", "10,10,20"; owned; NULL: by spacing */
    bool zero_snr;   /**< rescale so that the last step has no signal (Lin et al. 2023) */
    bool set_alpha_to_one; /**< the state after the last step has abar = 1, else abar[0] */

    bool eps_from_clipped;   /**< DDIM: use_clipped_model_output */
    aleat_variance variance; /**< DDPM */
    double eta;              /**< DDIM: 0 deterministic, 1 like DDPM */

    int order; /**< DPM-Solver, from here */
    aleat_algorithm algorithm;
    aleat_solver_type solver_type;
    bool lower_order_final, euler_at_final;
    bool denoise_to_zero;        /**< the original one: a last evaluation, whose x0 is the result */
    bool log_linear;             /**< Euler: noise levels log-linear between the ends */
    double lambda_min_clipped;   /**< half log SNR below which training steps are left out */
    double sigma_min, sigma_max; /**< of the grid; 0: those of the schedule */
    aleat_sigma_grid sigma_grid;
    aleat_final_sigma final_sigma;
    aleat_dpm_method method; /**< the original one */
    aleat_dpm_skip skip;     /**< the original one */
    bool skip_prk_steps;     /**< PNDM: no Runge-Kutta steps at the start */

    double shift;                 /**< flow models, from here: of all levels towards noise */
    bool dynamic_shift;           /**< by the size of the images instead */
    double base_shift, max_shift; /**< its logarithm for images of these many tokens */
    int base_image_tokens, max_image_tokens;
    int64_t image_tokens;      /**< of the images to be made; 0: not known. Of no file */
    aleat_flow_grid flow_grid; /**< of no file: of the model */
} aleat_sampler_config;

/** Defaults of the sampler called `name` (a row of aleat_samplers()). ALEAT_ERR_ARGUMENT if there
 * is none, with the list of those there are as hint. */
ALEAT_MUST_USE aleat_status aleat_sampler_config_default(aleat_sampler_config *out,
                                                         const char *name, aleat_error *err);
/**
 * Reads a scheduler_config.json. `name` NULL: the sampler of its _class_name; else that sampler,
 * with every setting of the file that it knows (as diffusers' from_config does) and its own
 * defaults for the others. ALEAT_ERR_UNSUPPORTED: a setting that changes the result and is not
 * implemented, or a key that no scheduler has.
 */
ALEAT_MUST_USE aleat_status aleat_sampler_config_parse(aleat_sampler_config *out,
                                                       const aleat_json *json, const char *name,
                                                       aleat_error *err);
/** Releases what the config owns; accepts NULL and a zeroed config. */
void aleat_sampler_config_clear(aleat_sampler_config *config);

/** "epsilon", "sample", "v_prediction": as the files spell it. */
const char *aleat_prediction_name(aleat_prediction prediction);

#endif
