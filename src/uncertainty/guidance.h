/*
 * Uncertainty-guided sampling: Algorithm 2 of arXiv 2412.00205. The predicted noise is moved along
 * the gradient of the summed uncertainty, where uncertainty is high, before the sampler advances.
 */
#ifndef ALEAT_UNCERTAINTY_GUIDANCE_H
#define ALEAT_UNCERTAINTY_GUIDANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/sampling.h"
#include "aleat/status.h"
#include "uncertainty/copies.h"
#include "uncertainty/estimator.h"

/** The map U whose sum is climbed; its gradient needs no more than its deviations. */
typedef enum aleat_guide_statistic {
    ALEAT_GUIDE_VAR1,   /**< unbiased variance: the paper's */
    ALEAT_GUIDE_VAR0,   /**< divided by M */
    ALEAT_GUIDE_MSE,    /**< mean squared distance from e0: the paper's code */
    ALEAT_GUIDE_SQUARE, /**< mean square */
    ALEAT_GUIDE_STD,    /**< root of the unbiased variance */
    ALEAT_GUIDE_V       /**< unbiased variance of the network's output: of a flow model's v */
} aleat_guide_statistic;

/** The statistic of guidance that is the estimator's `statistic`; false: it has no gradient here.
 */
bool aleat_guide_statistic_of(aleat_guide_statistic *out, const aleat_statistic *statistic);

/** How the products with the transposed Jacobians are made. */
typedef enum aleat_gradient {
    ALEAT_GRADIENT_VJP, /**< exact, reverse mode: M vector-Jacobian products */
    ALEAT_GRADIENT_JVP, /**< as if the Jacobian were symmetric, which that of an ideal denoiser, a
                             gradient field, is: M Jacobian-vector products, little memory */
    ALEAT_GRADIENT_FD   /**< the same by central differences: 2M more evaluations, no derivatives */
} aleat_gradient;

/** What the gradient is taken with respect to: method-spec of the paper's code. */
typedef enum aleat_guide_wrt {
    ALEAT_WRT_SCORE, /**< e: the paper's */
    ALEAT_WRT_INPUT, /**< x, with e held */
    /** The same plus d (sum of e over its elements) / dx, which the paper's code leaves in it: one
     * more evaluation and product. */
    ALEAT_WRT_INPUT_AND_SUM
} aleat_guide_wrt;

/** What happens to the chosen elements; lambda is the signed strength. */
typedef enum aleat_guide_update {
    ALEAT_UPDATE_GRADIENT,    /**< e + lambda dG/de: the paper's */
    ALEAT_UPDATE_PRODUCT,     /**< lambda e dG/de */
    ALEAT_UPDATE_RANDOM_SIGN, /**< e + lambda U times a random sign; no gradient */
    /** The mean of e under a Gaussian prior of variance abar and M + 1 observations, e0 among them,
     * of variance U, their unbiased variance; no gradient, no lambda. */
    ALEAT_UPDATE_POSTERIOR,
    /** What the paper's code for Stable Diffusion makes of it for one image: (e0 / U) / (M / U +
     * 1 / abar), of the same U. */
    ALEAT_UPDATE_POSTERIOR_PUBLISHED
} aleat_guide_update;

/** Of lambda. */
typedef enum aleat_guide_sign {
    ALEAT_GUIDE_UP,    /**< e + lambda ...: the paper's */
    ALEAT_GUIDE_DOWN,  /**< e - lambda ... */
    ALEAT_GUIDE_RANDOM /**< each element's own, drawn: moves of the same sizes in no direction */
} aleat_guide_sign;

typedef struct aleat_guide_options {
    int copies; /**< M, at least 2 */
    aleat_guide_statistic statistic;
    aleat_clip_mode clip; /**< dynamic thresholding cannot be differentiated: ALEAT_CLIP_OFF then */
    aleat_gradient gradient;
    aleat_guide_wrt wrt;
    aleat_guide_update update;
    double divisor;    /**< of the gradient: a mean over a batch of this many, not their sum; 1 */
    double percentile; /**< p: elements above the p-quantile of their image's U move; [0, 1] */
    double strength;   /**< lambda >= 0 */
    aleat_guide_sign sign;
    bool lower;       /**< the elements below the quantile move instead */
    int64_t max_rows; /**< copies in one network call, but at least those of one image; 0: all */
    /** What is evaluated beside the copies is evaluated by this: the denoiser without whatever
     * watches its copies. Borrowed; NULL: the denoiser itself. */
    const aleat_denoiser *beside;
} aleat_guide_options;

/** Paper's values: M 5, var1, p 0.95, lambda 1, ascent. */
aleat_guide_options aleat_guide_defaults(void);

typedef struct aleat_guide aleat_guide;

/**
 * For batches of up to max_n images. ALEAT_ERR_UNSUPPORTED: the denoiser lacks the derivatives;
 * ALEAT_ERR_ARGUMENT: options out of range.
 */
ALEAT_MUST_USE aleat_status aleat_guide_new(aleat_guide **out, const aleat_denoiser *denoiser,
                                            aleat_prediction prediction,
                                            const aleat_guide_options *options, int64_t max_n,
                                            int64_t height, int64_t width, aleat_error *err);
/** Accepts NULL. */
void aleat_guide_free(aleat_guide *guide);

/** What a guided step did; arrays of the caller, any may be NULL. */
typedef struct aleat_guide_report {
    double *change;   /**< [n] |e' - e| / |e|, L2 over the image: 0 means guidance did nothing */
    double *quantile; /**< [n] the threshold of U */
    float *map, *gradient; /**< [n,C,H,W] U, and d sum(U) / d e (of flow models d v) of its image */
    unsigned char *mask;   /**< [n,C,H,W] 1 where e moved */
} aleat_guide_report;

/** What a step may be given beside its state; zero-initialise. Borrowed. */
typedef struct aleat_guide_request {
    const float
        *threshold; /**< [C,H,W], e.g. of this step from other runs: replaces the quantile */
    /** Also finishes this estimator's maps of the state from the same evaluations of the copies, to
     * the bits that aleat_estimator_run() gives. Its M and clipping are those of the guidance. */
    aleat_estimator *estimator;
    float *const *maps; /**< of the estimator, [n,C,H,W] each */
} aleat_guide_request;

/**
 * eps = e + lambda mask dG/de for each image, with G = sum of U over its elements, never averaged
 * over the batch; of flow models, whose networks predict the velocity, it is that which moves by
 * its own gradient, v' = v + lambda mask dG/dv, and eps = x + (1 - sigma) v'; e is state->eps, and
 * `eps` may be the same array. `request` may be NULL. M forward evaluations and M vector-Jacobian
 * products for each image. Allocates nothing.
 */
ALEAT_MUST_USE aleat_status aleat_guide_run(aleat_guide *guide, const aleat_noisy_state *state,
                                            const aleat_noise_source *noise,
                                            const aleat_guide_request *request, float *eps,
                                            const aleat_guide_report *report, aleat_error *err);

/** Forward evaluations per image so far; products with Jacobians are not counted. */
int64_t aleat_guide_nfe(const aleat_guide *guide);

#endif
