/*
 * Sparsification: how fast the error falls when the least certain pixels are left out.
 * Source: Ilg et al. 2018 (arXiv 1802.07095), section 5; the arithmetic is that of Poggi et al.
 * 2020 (arXiv 2005.06209), which the paper's code uses.
 */
#ifndef ALEAT_METRICS_SPARSIFICATION_H
#define ALEAT_METRICS_SPARSIFICATION_H

#include <stdint.h>

#include "aleat/status.h"

/** Most intervals of a curve. */
#define ALEAT_SPARSIFICATION_MAX 1000

typedef struct aleat_sparsification {
    double ause; /**< area between the curve by uncertainty and the oracle's; 0: a perfect order */
    double aurg; /**< root mean squared error minus the area under the curve: the gain over a
                      random order */
    double aurg_closed; /**< the same with the random curve ending in 0 as the other one does */
    double rmse;        /**< of all pixels */
} aleat_sparsification;

/**
 * Point t < intervals of a curve is the root mean squared error of the pixels whose key is at most
 * its (100 - 100 t / intervals)-th percentile (linear interpolation; equal keys stay together), at
 * x = t / intervals; the last point, at x = 1, is 0. Key: the uncertainty, or for the oracle the
 * squared error. Areas by the trapezium rule.
 *
 * So the curve of a random order, too, would end in 0, while aurg takes its area as that of a
 * constant: a random order has aurg = rmse / (2 intervals) on average. That is the published
 * definition; aurg_closed takes this much off and is 0 on average.
 *
 * @param sparse, oracle  out, [intervals + 1], may be NULL
 * @param uncertainty     [n], not NaN
 * @param error           [n], differences (the sign does not matter)
 */
ALEAT_MUST_USE aleat_status aleat_sparsify(aleat_sparsification *out, double *sparse,
                                           double *oracle, const double *uncertainty,
                                           const double *error, int64_t n, int64_t intervals,
                                           aleat_error *err);

/**
 * Pixels sorted once, of which then many resamples are looked at: sorting is what takes the time.
 * Key and error are borrowed.
 *
 * @param images  of n / images pixels each; 0 and 1: single pixels are drawn
 */
typedef struct aleat_sparsifier aleat_sparsifier;
ALEAT_MUST_USE aleat_status aleat_sparsifier_new(aleat_sparsifier **out, const double *key,
                                                 const double *error, int64_t n, int64_t images,
                                                 int64_t intervals, aleat_error *err);
/** Accepts NULL. */
void aleat_sparsifier_free(aleat_sparsifier *s);

/** Of all pixels, and means over the images of their own; also of the key with the other sign. */
typedef struct aleat_sparsifications {
    aleat_sparsification own, inverted, per_image, per_image_inverted; /**< 0: single pixels */
    double spearman; /**< rank correlation of key and squared error */
} aleat_sparsifications;
/** Of images (or pixels) rows [count], which may repeat; NULL: of all. Curves as in
 * aleat_sparsify(). Several threads may call it. */
ALEAT_MUST_USE aleat_status aleat_sparsifier_values(aleat_sparsifications *out, double *sparse,
                                                    double *oracle, const aleat_sparsifier *s,
                                                    const int64_t *rows, int64_t count,
                                                    aleat_error *err);

#endif
