/* Which images a page holds that cannot hold all of them. */
#ifndef ALEAT_REPORT_CHOICE_H
#define ALEAT_REPORT_CHOICE_H

#include <stdint.h>

#include "aleat/status.h"

/** Images from each end of each score that come before the random ones. */
#define ALEAT_CHOICE_EXTREMES 24

/**
 * order [n] = the images 0 .. n-1 by how much a page wants them: in turn the lowest and the highest
 * by each score and a random one, ALEAT_CHOICE_EXTREMES times; then all others at random. Ties by
 * number; NaN is neither low nor high.
 *
 * @param scores  [n_scores] arrays of n
 */
ALEAT_MUST_USE aleat_status aleat_choose_images(int64_t *order, const double *const *scores,
                                                int n_scores, int64_t n, uint64_t seed,
                                                aleat_error *err);

#endif
