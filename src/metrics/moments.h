/*
 * Mean and covariance of feature vectors, streaming and mergeable, and the .npz in which
 * pytorch-fid keeps them.
 */
#ifndef ALEAT_METRICS_MOMENTS_H
#define ALEAT_METRICS_MOMENTS_H

#include <stdint.h>

#include "aleat/status.h"

/** A mean and a covariance. Zero-initialise; released by aleat_gaussian_clear(). */
typedef struct aleat_gaussian {
    int64_t d;
    int64_t n;          /**< vectors they were made from; 0: not known (read from a file) */
    double *mean;       /**< [d] */
    double *covariance; /**< [d,d], divided by n - 1 */
} aleat_gaussian;

/** Accepts NULL and a cleared value. */
void aleat_gaussian_clear(aleat_gaussian *g);

/** Collects vectors. */
typedef struct aleat_moments aleat_moments;
/** For vectors of d numbers; 8 d (d + 1024) bytes and as much again while it works. threads 0: all
 * processors. */
ALEAT_MUST_USE aleat_status aleat_moments_new(aleat_moments **out, int64_t d, int threads,
                                              aleat_error *err);
/** Accepts NULL. */
void aleat_moments_free(aleat_moments *m);
/** Adds n vectors [n,d]. The result does not depend on how a sequence is split into calls. d^2 n
 * flop. */
ALEAT_MUST_USE aleat_status aleat_moments_add(aleat_moments *m, const float *x, int64_t n,
                                              aleat_error *err);
/**
 * Adds what `other` has collected (same d), as if its vectors had been added here, up to rounding.
 * Source: Chan, Golub and LeVeque 1979, eq. 2.1, for covariances.
 */
ALEAT_MUST_USE aleat_status aleat_moments_merge(aleat_moments *m, aleat_moments *other,
                                                aleat_error *err);
/** What has been collected so far; at least 2 vectors. */
ALEAT_MUST_USE aleat_status aleat_moments_result(aleat_gaussian *out, aleat_moments *m,
                                                 aleat_error *err);

/** Of [n,d] at once. */
ALEAT_MUST_USE aleat_status aleat_gaussian_of(aleat_gaussian *out, const float *x, int64_t n,
                                              int64_t d, int threads, aleat_error *err);

/** Reads pytorch-fid's statistics: arrays `mu` [d] and `sigma` [d,d] of any real type. Checked:
 * shapes, finite, symmetric (up to single precision). */
ALEAT_MUST_USE aleat_status aleat_gaussian_read(aleat_gaussian *out, const char *path,
                                                aleat_error *err);
/** Writes them as float64. */
ALEAT_MUST_USE aleat_status aleat_gaussian_write(const char *path, const aleat_gaussian *g,
                                                 aleat_error *err);

#endif
