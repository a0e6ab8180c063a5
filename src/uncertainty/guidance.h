/*
 * Uncertainty-guided sampling: Algorithm 2 of arXiv 2412.00205. The predicted noise is moved along
 * the gradient of the summed uncertainty, where uncertainty is high, before the sampler advances.
 */
#ifndef ALEAT_UNCERTAINTY_GUIDANCE_H
#define ALEAT_UNCERTAINTY_GUIDANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/status.h"
#include "uncertainty/copies.h"

/** The map U whose sum is climbed; its gradient needs no more than its deviations. */
typedef enum aleat_guide_statistic {
    ALEAT_GUIDE_VAR1,  /**< unbiased variance: the paper's */
    ALEAT_GUIDE_VAR0,  /**< divided by M */
    ALEAT_GUIDE_MSE,   /**< mean squared distance from e0: the paper's code */
    ALEAT_GUIDE_SQUARE /**< mean square */
} aleat_guide_statistic;

typedef struct aleat_guide_options {
    int copies; /**< M, at least 2 */
    aleat_guide_statistic statistic;
    aleat_clip_mode clip; /**< dynamic thresholding cannot be differentiated: ALEAT_CLIP_OFF then */
    double percentile;    /**< p: elements above the p-quantile of their image's U move; [0, 1] */
    double strength;      /**< lambda >= 0 */
    bool descend;         /**< e - lambda ... instead of e + lambda ... */
    bool lower;           /**< the elements below the quantile move instead */
    int64_t max_rows; /**< copies in one network call, but at least those of one image; 0: all */
} aleat_guide_options;

/** Paper's values: M 5, var1, p 0.95, lambda 1, ascent. */
aleat_guide_options aleat_guide_defaults(void);

typedef struct aleat_guide aleat_guide;

/**
 * For batches of up to max_n images. ALEAT_ERR_UNSUPPORTED: the denoiser has no gradients;
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
    float *map, *gradient; /**< [n,C,H,W] U, and d sum(U) / d e of its own image */
    unsigned char *mask;   /**< [n,C,H,W] 1 where e moved */
} aleat_guide_report;

/**
 * eps = e + lambda mask dG/de for each image, with G = sum of U over its elements, never averaged
 * over the batch; e is state->eps, and `eps` may be the same array. `threshold`, [C,H,W] or NULL,
 * replaces the quantile (a threshold of this step from other runs). M forward evaluations and M
 * vector-Jacobian products for each image. Allocates nothing.
 */
ALEAT_MUST_USE aleat_status aleat_guide_run(aleat_guide *guide, const aleat_noisy_state *state,
                                            const aleat_noise_source *noise, const float *threshold,
                                            float *eps, const aleat_guide_report *report,
                                            aleat_error *err);

/** Forward evaluations per image so far; as many vector-Jacobian products. */
int64_t aleat_guide_nfe(const aleat_guide *guide);

#endif
