/* The Inception score. Source: Salimans et al. 2016 (arXiv 1606.03498), section 4. */
#ifndef ALEAT_METRICS_INCEPTION_SCORE_H
#define ALEAT_METRICS_INCEPTION_SCORE_H

#include <stdint.h>

#include "aleat/status.h"

/**
 * exp of the mean divergence of p(y|x) from p(y), mean and standard deviation (of the population)
 * over consecutive splits [s n / splits, (s + 1) n / splits).
 *
 * @param logits  [n,classes]; softmax is taken in double
 * @param splits  1 <= splits <= n
 */
ALEAT_MUST_USE aleat_status aleat_inception_score(double *mean, double *deviation,
                                                  const float *logits, int64_t n, int64_t classes,
                                                  int64_t splits, aleat_error *err);

#endif
