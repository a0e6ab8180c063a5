/*
 * A whole sampling run into a folder: images, maps of uncertainty, scores (docs/formats.md).
 */
#ifndef ALEAT_RUN_H
#define ALEAT_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/features.h"
#include "aleat/model.h"
#include "aleat/prompts.h"
#include "aleat/sampling.h"
#include "aleat/status.h"
#include "aleat/vae.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The i-th name, with one line of explanation in *help (which may be NULL); NULL beyond the last.
 */
/** Where random numbers come from. */
ALEAT_API const char *aleat_rng_name(int i, const char **help);
/** Maps of a scored run, the score's first. */
ALEAT_API const char *aleat_map_name(int i, const char **help);
/** Where maps and scores come from. */
ALEAT_API const char *aleat_estimator_name(int i, const char **help);
/** The map (of "generative" the column of scores.csv) that the estimator called `estimator` (NULL:
 * "copies") makes its score of; NULL if there is no such estimator. */
ALEAT_API const char *aleat_estimator_map(const char *estimator);
/** What to do with a folder that holds a run already. */
ALEAT_API const char *aleat_resume_name(int i, const char **help);

/** Sampler steps begin <= k < end, counted from 0. */
typedef struct aleat_steps {
    int64_t begin, end;
} aleat_steps;

/** Where maps of latent models are drawn, and how they are carried into images. */
ALEAT_API const char *aleat_map_space_name(int i, const char **help);
ALEAT_API const char *aleat_carry_name(int i, const char **help);

/** A run. Zero-initialise: defaults, but that guidance also needs percentile and strength (the
 * paper's are 0.95 and 1), and a classifier its scale. Everything is borrowed for the call. */
typedef struct aleat_run_options {
    int64_t n; /**< images, at least 1 */
    aleat_sampling_options sampling;
    uint64_t seed;
    const char *rng;       /**< a name from aleat_rng_name(); NULL: "philox" */
    int64_t first;         /**< number of the first image, which its random numbers follow from;
                                labels, texts and given noise are from that image on */
    const int32_t *labels; /**< [n], or NULL for a network without classes */
    int64_t batch;         /**< images at once, at most 16; 0: by their size; changes no result */

    bool uncertainty;      /**< score steps by M copies, or as `estimator` does */
    const char *estimator; /**< a name from aleat_estimator_name(); NULL: "copies". Those that look
                                at single states may be asked for together, with commas: one run,
                                the same images, the maps of all; M evaluations for each */
    aleat_steps score_steps; /**< both 0: those with 0.90 <= k / steps < 0.98; if the sampler's
                                steps are uneven in time, those of such noise (docs/numerics.md) */
    bool keep_step_maps;     /**< also keep each step's map, not only their sum */
    bool keep_x0;            /**< also keep the x0 predicted at each step, scored or not */
    const char *shown; /**< a name from aleat_map_name(): the map of the pictures and of the order
                            of contact.png; NULL: "x0-var" */
    int64_t copies;    /**< M of scoring and guidance; passes of mc-dropout; states that bayesdiff
                            draws for a covariance; 0: 5, of bayesdiff 10. Of generative the networks
                          that are drawn */
    aleat_features *features; /**< generative: the network whose features of images are compared;
                                   borrowed */
    const char *laplace;      /**< bayesdiff, generative: a file of aleat_model_laplace() */
    int64_t every;            /**< bayesdiff: K, every K-th step draws its prediction; 0: 5 */
    int64_t laplace_draws;    /**< bayesdiff: weights drawn for each variance, as the published code
                                   does (100); 0: the exact variance */
    const char *clip;         /**< of the copies; a name from aleat_clip_name(); NULL: "auto" */

    /** For models of texts: rows that repeat over the images, as aleat_model_open_prompts() gives
     * them; else NULL. */
    const aleat_texts *texts;
    const aleat_texts *negative; /**< the unconditional half of classifier-free guidance: one row,
                                      or as many as texts */
    const aleat_prompt_options *prompts; /**< what they were encoded from, told in run.json and in
                                              the pictures; NULL: unknown */

    double cfg_scale; /**< classifier-free guidance, w of u + w (c - u); 0 and 1: none */
    /** A name from aleat_statistic_name(): what guidance climbs (a statistic of the predicted
     * noise), and a further map of scored runs; NULL: "eps-var", or
     * "v-var" of a flow model. */
    const char *statistic;
    const char *compat; /**< names from aleat_compat_name(), separated by commas; NULL: none */

    bool guide;              /**< Algorithm 2: move along the gradient of the uncertainty */
    aleat_steps guide_steps; /**< both 0: all */
    double percentile;       /**< of U above which pixels move, 0 to 1 */
    double strength;         /**< lambda >= 0 */
    const char *guide_sign;  /**< a name from aleat_guide_sign_name(); NULL: "+", raise the
                                  uncertainty, as the paper does */
    const char *gradient;    /**< a name from aleat_gradient_name(); NULL: "vjp" */
    const char *thresholds;  /**< a file of aleat_threshold_make() instead of each image's own
                                  percentile; or NULL */

    aleat_model *classifier; /**< of noisy images: sampling is drawn to the labels, which are then
                                  needed whether the model has classes or not; or NULL. Borrowed.
                                  Uncertainty and guidance by it stay those of the model alone */
    double classifier_scale; /**< of the gradient of log p(label | x_t) */

    aleat_vae *decoder;     /**< decodes the samples, which are latents, into images; or NULL. The
                                 latents and their maps are kept as they are. Borrowed */
    const char *map_space;  /**< of the pictures; a name from aleat_map_space_name(); "image" also
                                 leaves image-var.npy; NULL: "latent" */
    const char *carry;      /**< into the images; a name from aleat_carry_name(); NULL: "jvp" */
    int64_t carry_products; /**< K of jvp; 0: 4 */

    const char *initial;    /**< .npy [n,C,H,W], standard normal, to start from; or NULL */
    const char *noise_dir;  /**< folder with step.npy [steps,n,C,H,W] and copy.npy [steps or
                                 1,M,n,C,H,W], either may be missing; or NULL */
    const char *trajectory; /**< .npy [steps+1,n,C,H,W] to write, x_T first; or NULL */
    const char *resume;     /**< a name from aleat_resume_name(); NULL: "auto" */
    /** What the user typed, UTF-8; told in run.json and compared with nothing. May be NULL. */
    const char *command;

    /** Called now and then with the images finished, fractions included; returning false stops the
     * run with ALEAT_ERR_CANCELLED. May be NULL. */
    bool (*progress)(void *ctx, double done, double total);
    void *ctx;
} aleat_run_options;

/** What a run came to. */
typedef struct aleat_run_result {
    int64_t n, made;              /**< images of the run, and made in this call */
    int64_t evaluations;          /**< of the network for each image; 0 if none was made */
    double seconds;               /**< of this call */
    bool complete_before;         /**< there was nothing left to do */
    bool pixels;                  /**< false: not grey or RGB, see samples.npy instead of images/ */
    double score_low, score_high; /**< of the images; 0 without uncertainty or if complete_before */
    /** |e' - e| / |e| of the guided steps of all images of the run: 0 means guidance did nothing;
     * 0 without it or if complete_before. */
    double change_mean, change_most;
} aleat_run_result;

/**
 * Samples into a folder, going on with what is there of the same run.
 *
 * @param result  filled on success; may be NULL
 * @return ALEAT_ERR_ARGUMENT: options that do not fit the model or the run in the folder;
 *         _UNSUPPORTED: guidance without a gradient or a null class; _SHAPE,
 *         _FORMAT, _IO: of given files; _CANCELLED: progress() said so
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_model_generate(aleat_model *model, const char *folder,
                                                           const aleat_run_options *options,
                                                           aleat_run_result *result,
                                                           aleat_error *err);

/* ---- without a folder ------------------------------------------------------------------------ */

/** A run whose images go to the caller instead of a folder. Used by one thread at a time. */
typedef struct aleat_run aleat_run;

#define ALEAT_RUN_MAPS    8
#define ALEAT_RUN_SIGNALS 8

/** What a run gives of each image. Strings and arrays live as long as the run. */
typedef struct aleat_run_facts {
    /** Everything that decides images and scores, as JSON text of one flat object; of weights and
     * given arrays their hashes. */
    const char *settings;
    int64_t n;
    int64_t channels, height, width;             /**< of a picture */
    int64_t map_channels, map_height, map_width; /**< of a map */
    int n_maps;                                  /**< 0: nothing is scored */
    const char *maps[ALEAT_RUN_MAPS];
    bool map_is_error[ALEAT_RUN_MAPS]; /**< a standard error of another map, no score */
    int n_signals;
    const char *signals[ALEAT_RUN_SIGNALS]; /**< names of aleat_signal_name() */
    int64_t n_score_steps, n_guide_steps;
    int64_t
        evaluations; /**< of the network for each image, to come: the sampler's and all others */
    const int64_t *score_steps; /**< [n_score_steps] */
} aleat_run_facts;

/** Finished images, borrowed for the call; C order. */
typedef struct aleat_run_images {
    int64_t first, count;
    const uint8_t *pixels; /**< [count,height,width,channels]; of latents without a decoder they
                                mean nothing */
    const float *states;   /**< [count,C,H,W] of models of latents: the latents; else NULL */
    const int64_t *labels; /**< [count]; -1: none */
    const float *maps;     /**< [n_maps,count,C,H,W], sums over the scored steps; or NULL */
    const double *sums;    /**< [n_maps,count,n_score_steps]: each step's map, summed; or NULL */
    const double *signals; /**< [count,n_signals]; NaN: no such number */
    const double *changes; /**< [count,n_guide_steps] |e'-e| / |e| of guidance; or NULL */
    int64_t evaluations;   /**< of the network for each image: by the sampler */
    int64_t extra_evaluations; /**< and beside it: copies of scores and of guidance */
} aleat_run_images;

/** Receives images in order. What it returns ends the call, unless it is ALEAT_OK. */
typedef aleat_status aleat_run_take(void *ctx, const aleat_run_images *images, aleat_error *err);

/**
 * Prepares a run; nothing is sampled yet.
 *
 * @param out      to be released by aleat_run_close(), before the model; NULL on error
 * @param options  copied; what it points to is borrowed until the run is closed. Neither a
 *                 trajectory nor keep_step_maps nor keep_x0. resume and command are not looked at
 * @return as aleat_model_generate()
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_run_open(aleat_run **out, aleat_model *model,
                                                     const aleat_run_options *options,
                                                     aleat_error *err);
/** Accepts NULL. */
ALEAT_API void aleat_run_close(aleat_run *run);
ALEAT_API aleat_run_facts aleat_run_describe(const aleat_run *run);
/**
 * Samples images [first, first + count) of the run, the same bits whatever was sampled before, and
 * hands them over batch by batch. progress() is told first + those done, of n.
 *
 * @note memory: one batch
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_run_sample(aleat_run *run, int64_t first, int64_t count,
                                                       aleat_run_take *take, void *ctx,
                                                       aleat_error *err);
/** The same of images [count] by their places in the run, in any order; aleat_run_images.first is
 * the first of each batch. progress() is told those done, of n. */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_run_sample_chosen(aleat_run *run, const int64_t *images,
                                                              int64_t count, aleat_run_take *take,
                                                              void *ctx, aleat_error *err);

#ifdef __cplusplus
}
#endif
#endif
