/*
 * Intervals and tests by resampling. Everything random is keyed by (seed, draw), so that a result
 * depends on nothing else.
 */
#ifndef ALEAT_METRICS_RESAMPLE_H
#define ALEAT_METRICS_RESAMPLE_H

#include <stdint.h>

#include "aleat/status.h"

/** Bootstrap: rows [n] of draw `draw`, with replacement. */
void aleat_draw_bootstrap(int64_t *rows, int64_t n, uint64_t seed, int64_t draw);
/** Random half: n / 2 rows of draw `draw` without replacement, ascending, into the head of
 * rows [n]. `side` keeps apart the halves of several sets. */
void aleat_draw_half(int64_t *rows, int64_t n, uint64_t seed, int64_t draw, int side);

/** An interval; NaN where there is none. */
typedef struct aleat_interval {
    double low, high;
} aleat_interval;

/**
 * Bias-corrected and accelerated bootstrap interval (Efron 1987; Efron and Tibshirani 1993, eq.
 * 14.9 to 14.15).
 *
 * @param draws  [n_draws] bootstrap values, sorted in place; draws that are not finite are left out
 * @param left   [n_left] values with one part of the data left out each, for the acceleration
 */
aleat_interval aleat_bca_interval(double value, double *draws, int64_t n_draws, const double *left,
                                  int64_t n_left, double confidence);
/** value + (quantiles of the draws - their mean): for random halves. Sorts draws. */
aleat_interval aleat_centred_interval(double value, double *draws, int64_t n_draws,
                                      double confidence);

/**
 * Two-sided paired permutation test of mean(x - y) = 0: the share of `draws` random sign patterns
 * whose mean is at least as far from 0, the observed one counted (Phipson and Smyth 2010).
 */
ALEAT_MUST_USE aleat_status aleat_paired_permutation(double *p, const double *x, const double *y,
                                                     int64_t n, int64_t draws, uint64_t seed,
                                                     aleat_error *err);

#endif
