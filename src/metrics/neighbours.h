/*
 * Precision, recall, density and coverage: how two sets of feature vectors overlap, by balls around
 * each vector that reach to its k-th nearest neighbour in its own set.
 * Sources: Kynkaanniemi et al. 2019 (arXiv 1904.06991), eq. 1 and 2; Naeem et al. 2020 (arXiv
 * 2002.09797), eq. 3 and 4.
 *
 * The result is that of distances by explicit differences in double, exactly: matrix products say
 * which pairs are beyond doubt, and the others are computed that way.
 */
#ifndef ALEAT_METRICS_NEIGHBOURS_H
#define ALEAT_METRICS_NEIGHBOURS_H

#include "metrics/products.h"

typedef struct aleat_overlap {
    double precision, recall; /**< share of fake (real) vectors in some real (fake) ball, its edge
                                   included, as guided-diffusion and torch-fidelity count */
    double precision_open, recall_open; /**< the edge not included */
    double density;  /**< real balls that hold a fake vector, over k; its mean; open balls */
    double coverage; /**< share of the real balls that hold some fake vector; open balls */
} aleat_overlap;

/**
 * @param real, fake  more than max(k, k_density) vectors each, of the same dimension
 * @param k           of precision and recall
 * @param k_density   of density and coverage
 * @note  2 d (real.n^2 + fake.n^2 + real.n fake.n) flop; memory of aleat_row_products()
 */
ALEAT_MUST_USE aleat_status aleat_neighbour_overlap(aleat_overlap *out, const aleat_rows *real,
                                                    const aleat_rows *fake, int64_t k,
                                                    int64_t k_density, int threads,
                                                    aleat_error *err);

/** radii[i * count + j] = squared distance of row i to its (j+1)-th nearest neighbour among the
 * others, j < count < x.n. */
ALEAT_MUST_USE aleat_status aleat_neighbour_radii(double *radii, const aleat_rows *x, int64_t count,
                                                  int threads, aleat_error *err);

#endif
