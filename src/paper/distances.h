/*
 * Frechet distances of many subsets of one set of features, also within random halves, from which
 * intervals follow (metrics/resample.h). Features are read where they lie; each thread needs a
 * covariance, or three.
 */
#ifndef ALEAT_PAPER_DISTANCES_H
#define ALEAT_PAPER_DISTANCES_H

#include <stdbool.h>

#include "metrics/moments.h"

/** One distance to compute. */
typedef struct aleat_distance_job {
    const bool *members; /**< [n] which images belong to it; NULL: all. Borrowed */
    int64_t half;        /**< only those of random half number `half`; negative: all */
    double distance;     /**< out; NaN: fewer than 2 of the half belong to it */
} aleat_distance_job;

/** What the jobs have in common; borrowed. */
typedef struct aleat_distance_task {
    const float *features; /**< [n,reference->d] */
    int64_t n;
    const aleat_gaussian *reference;
    uint64_t seed; /**< of the halves: the same half for every set of n images */
    int threads;
    /** Called between jobs; not ALEAT_OK ends the call. May be NULL. */
    aleat_status (*progress)(void *ctx, int64_t done, int64_t total, aleat_error *err);
    void *ctx;
} aleat_distance_task;

/** @return ALEAT_ERR_ARGUMENT: a set of fewer than 2 images, halves apart */
ALEAT_MUST_USE aleat_status aleat_distances(aleat_distance_job *jobs, int64_t n_jobs,
                                            const aleat_distance_task *task, aleat_error *err);

#endif
