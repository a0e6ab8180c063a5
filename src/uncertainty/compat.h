/*
 * What the code published with arXiv 2412.00205 does otherwise than the paper, one switch each
 * (aleat_compat_name() lists them), so that its numbers can be made again. Nothing here is on by
 * default.
 */
#ifndef ALEAT_UNCERTAINTY_COMPAT_H
#define ALEAT_UNCERTAINTY_COMPAT_H

#include <stddef.h>

#include "aleat/sampling.h"
#include "aleat/status.h"
#include "samplers/sampler.h"
#include "uncertainty/guidance.h"

/** The switches; zero-initialised: the paper's method. */
typedef struct aleat_compat {
    int step_index;    /**< copies are noised to abar[number of the evaluation], not abar[t] */
    int from_next;     /**< copies are the sampler's next state with one training step's noise */
    int x0_as_eps;     /**< x0 is taken for e0: in the copies, and in what they are compared with */
    int score_units;   /**< maps of eps in units of the score, eps / sigma */
    int wrt;           /**< an aleat_guide_wrt */
    int lower;         /**< the least uncertain elements move */
    int update;        /**< an aleat_guide_update */
    double batch_mean; /**< images that the gradient is averaged over; 0: 1 */
} aleat_compat;

/** Reads switches separated by commas; NULL: none. ALEAT_ERR_ARGUMENT names the one that is
 * unknown. */
ALEAT_MUST_USE aleat_status aleat_compat_parse(aleat_compat *out, const char *text,
                                               aleat_error *err);

/** Whether the copies of an evaluation are not those of its state: then they are unclipped, as in
 * the published code. */
bool aleat_compat_moves_copies(const aleat_compat *compat);

/** How maps of these switches differ from the paper's, "step-index,score-units", in buf; empty if
 * they do not. */
const char *aleat_compat_map_variant(const aleat_compat *compat, char *buf, size_t size);

/** Changes what the options say; either may be NULL. */
void aleat_compat_options(const aleat_compat *compat, aleat_estimator_options *estimator,
                          aleat_guide_options *guidance);

/** x0 for e0, where that is asked for. The other changes of a state need a sampler. */
void aleat_compat_target(const aleat_compat *compat, aleat_noisy_state *state);

/**
 * Changes the state of an evaluation. `next`, [n,C,H,W], is the caller's and borrowed by the state
 * (NULL unless from_next). ALEAT_ERR_UNSUPPORTED: from_next, and the sampler's step looks back or
 * adds noise.
 */
ALEAT_MUST_USE aleat_status aleat_compat_state(const aleat_compat *compat,
                                               const aleat_evaluation *evaluation,
                                               aleat_noisy_state *state, float *next,
                                               aleat_error *err);

#endif
