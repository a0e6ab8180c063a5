/* Correlations and rank statistics of pairs of numbers, ties included. */
#ifndef ALEAT_METRICS_RANKS_H
#define ALEAT_METRICS_RANKS_H

#include <stdint.h>

#include "aleat/status.h"

/** ranks [n] from 1; equal values share the mean of their places. */
ALEAT_MUST_USE aleat_status aleat_mid_ranks(double *ranks, const double *x, int64_t n,
                                            aleat_error *err);
/** Pearson's correlation of x and y [n]; NaN if one of them is constant. */
double aleat_pearson(const double *x, const double *y, int64_t n);
/** Spearman's correlation: Pearson's of the mid-ranks. */
ALEAT_MUST_USE aleat_status aleat_spearman(double *out, const double *x, const double *y, int64_t n,
                                           aleat_error *err);
/**
 * Area under the receiver operating curve: the chance that a score with a positive label (not 0)
 * lies above one with a negative label, ties counting one half (Mann-Whitney). NaN if all labels
 * are alike.
 */
ALEAT_MUST_USE aleat_status aleat_auroc(double *out, const double *scores, const double *labels,
                                        int64_t n, aleat_error *err);

#endif
