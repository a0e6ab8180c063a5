/*
 * The Frechet distance between two Gaussians, on Inception features known as FID:
 *   |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2).
 * Source: Dowson and Landau 1982; Heusel et al. 2017 (arXiv 1706.08500), eq. 6.
 *
 * With S1 = A^T A and S2 = B^T B the last trace is the sum of the singular values of A B^T, that is
 * of the roots of the eigenvalues of (A B^T)(A B^T)^T: symmetric, and as small as the smaller rank.
 * For fewer vectors than dimensions A is the centred vectors themselves, otherwise the pivoted
 * Cholesky factor of the covariance. No root of a general matrix is taken and nothing is added to a
 * diagonal.
 */
#ifndef ALEAT_METRICS_FRECHET_H
#define ALEAT_METRICS_FRECHET_H

#include "metrics/moments.h"

/** One side: its Gaussian, or feature vectors, or both. Borrowed. */
typedef struct aleat_frechet_side {
    const aleat_gaussian *gaussian; /**< NULL: made from the features */
    const float *features;          /**< [n,d], or NULL */
    int64_t n, d;                   /**< of features */
} aleat_frechet_side;

typedef struct aleat_frechet {
    double distance;
    double mean_term;              /**< |m1 - m2|^2 */
    double trace_a, trace_b;       /**< of the covariances */
    double trace_root;             /**< tr (S1 S2)^(1/2) */
    int64_t rank_a, rank_b;        /**< of the factors */
    double negative_a, negative_b; /**< the most negative eigenvalue of a covariance, if it lies
                                        beyond rounding in double but within single precision;
                                        else 0 */
} aleat_frechet;

/**
 * @return ALEAT_ERR_SHAPE: the sides have not the same dimensions; ALEAT_ERR_NUMERIC: a covariance
 *         has a negative eigenvalue beyond the rounding of single precision (its size is told)
 * @note   d = 2048: the Cholesky factors take 2 d^3/3 flop, the eigenvalues 4 d^3/3, one thread;
 *         products 4 d^3, all threads
 */
ALEAT_MUST_USE aleat_status aleat_frechet_distance(aleat_frechet *out, const aleat_frechet_side *a,
                                                   const aleat_frechet_side *b, int threads,
                                                   aleat_error *err);

#endif
