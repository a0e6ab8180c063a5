/*
 * The kernel inception distance: squared maximum mean discrepancy under k(x,y) = (x.y/D + 1)^3.
 * Source: Binkowski et al. 2018 (arXiv 1801.01401), eq. 4; constants as in torch-fidelity.
 */
#ifndef ALEAT_METRICS_KERNEL_DISTANCE_H
#define ALEAT_METRICS_KERNEL_DISTANCE_H

#include "metrics/products.h"

/**
 * The unbiased estimate from all vectors: mean of k over pairs i != j within a, plus the same
 * within b, minus twice its mean over all pairs between them. May be negative.
 *
 * @param a, b  at least 2 vectors each, of the same dimension
 * @note  d (a.n^2 + b.n^2 + 2 a.n b.n) flop
 */
ALEAT_MUST_USE aleat_status aleat_kernel_distance(double *out, const aleat_rows *a,
                                                  const aleat_rows *b, int threads,
                                                  aleat_error *err);

/** Subsets of both sides, whose estimates are averaged. */
typedef struct aleat_kernel_subsets {
    int64_t count, size;
    const int64_t *a, *b; /**< [count,size] rows of each side; NULL: drawn without replacement */
    uint64_t seed;        /**< of the draws */
} aleat_kernel_subsets;

/** Mean and standard deviation (of the population) of the unbiased estimate over subsets, as KID is
 * usually reported. f32 rows; size at least 2 and at most a.n and b.n. */
ALEAT_MUST_USE aleat_status aleat_kernel_distance_subsets(double *mean, double *deviation,
                                                          const aleat_rows *a, const aleat_rows *b,
                                                          const aleat_kernel_subsets *subsets,
                                                          int threads, aleat_error *err);

#endif
