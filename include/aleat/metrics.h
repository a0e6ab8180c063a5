/*
 * Judging images and maps: distances between sets of feature vectors, how well uncertainty predicts
 * error, rank statistics; with intervals by resampling. Pure functions of arrays (docs/metrics.md).
 */
#ifndef ALEAT_METRICS_H
#define ALEAT_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/array.h"
#include "aleat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- statistics of features ------------------------------------------------------------------ */

/** Mean and covariance of a set of feature vectors, in double. */
typedef struct aleat_feature_statistics aleat_feature_statistics;

/** Of features [N,D], N >= 2. N D^2 flop; the covariance is divided by N - 1. threads 0: all
 * processors; no result depends on it. */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_feature_statistics_of(aleat_feature_statistics **out,
                                                                  const aleat_array *features,
                                                                  int threads, aleat_error *err);
/** Reads pytorch-fid's .npz: `mu` [D] and `sigma` [D,D]. */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_feature_statistics_read(aleat_feature_statistics **out,
                                                                    const char *path,
                                                                    aleat_error *err);
/** Writes the same as float64; the file appears whole or not at all. */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_feature_statistics_write(
    const char *path, const aleat_feature_statistics *statistics, aleat_error *err);
/** Accepts NULL. */
ALEAT_API void aleat_feature_statistics_free(aleat_feature_statistics *statistics);

/* ---- metrics --------------------------------------------------------------------------------- */

/** What a metric looks at. */
typedef enum aleat_metric_takes {
    ALEAT_TAKES_SETS,   /**< two sets of vectors, a and b */
    ALEAT_TAKES_LOGITS, /**< one set of vectors, a: the logits of a classifier */
    ALEAT_TAKES_PAIRS   /**< numbers x and y, one of each for every pixel or image */
} aleat_metric_takes;

/** A metric. Strings are static. */
typedef struct aleat_metric_facts {
    const char *name; /**< "precision-recall" */
    const char *also; /**< other names, separated by spaces: "pr prdc"; or NULL */
    const char *help; /**< one line */
    aleat_metric_takes takes;
    const char *x, *y; /**< what a and b, or x and y, are: "real images", "squared error" */
    bool statistics;   /**< statistics may stand in for a and b */
} aleat_metric_facts;

/** The i-th metric into *out; false beyond the last. */
ALEAT_API bool aleat_metric_at(int i, aleat_metric_facts *out);
/** The metric of that name, or of that other name, into *out; false if there is none. */
ALEAT_API bool aleat_metric_find(const char *name, aleat_metric_facts *out);

/** What a metric is given; what it does not take stays zero. Borrowed. */
typedef struct aleat_metric_inputs {
    const aleat_array *a, *b; /**< [N,D]; precision and recall: a is real, b generated */
    const aleat_feature_statistics *a_statistics, *b_statistics; /**< instead of a, b */
    const double *x, *y;                                         /**< [n] */
    int64_t n;
    int64_t images; /**< x and y are [images, n / images]: pixels of one image are resampled
                         together, and per-image means are given; 0: each pair by itself */
} aleat_metric_inputs;

/** Zero-initialise: defaults. */
typedef struct aleat_metric_options {
    int64_t neighbours;           /**< k of precision and recall; 0: 3 */
    int64_t density_neighbours;   /**< k of density and coverage; 0: 5 */
    int64_t intervals;            /**< of sparsification curves; 0: 50 */
    int64_t bins;                 /**< of calibration; 0: 10 */
    int64_t splits;               /**< of the Inception score; 0: 10 */
    int64_t subsets, subset_size; /**< of KID; 0: 100 of 1000, or of the smaller set */
    int64_t draws;                /**< resamples for intervals and paired tests; 0: no intervals */
    double confidence;            /**< of the intervals; 0: 0.95 */
    uint64_t seed;                /**< of everything drawn */
    int threads;                  /**< 0: all processors; changes no result */
} aleat_metric_options;

#define ALEAT_METRIC_VALUES  12
#define ALEAT_METRIC_COLUMNS 3

/** One number of a result, with its interval (NaN: none). The name is static. */
typedef struct aleat_metric_value {
    const char *name;
    double value, low, high;
} aleat_metric_value;

/** Released by aleat_metric_result_clear(). */
typedef struct aleat_metric_result {
    int n_values;
    aleat_metric_value values[ALEAT_METRIC_VALUES]; /**< the one asked for comes first */
    int n_columns;                                  /**< of a curve, or 0 */
    const char *column[ALEAT_METRIC_COLUMNS];
    int64_t n_rows;
    double *curve;       /**< [n_rows,n_columns] */
    char warnings[1024]; /**< what the numbers cannot bear, one line each; empty: nothing */
} aleat_metric_result;

/**
 * Computes a metric.
 *
 * Intervals. Pairs: bootstrap with replacement, BCa (Efron 1987). Sets: random halves without
 * replacement, whose spread about their mean is that of the full set (vectors that occur twice
 * would spoil neighbours and unbiased estimates); a side that is statistics stays fixed. Draws are
 * keyed by (seed, number of the draw) only.
 *
 * @return ALEAT_ERR_ARGUMENT: no such metric, inputs missing, too few vectors; ALEAT_ERR_SHAPE: the
 *         two sides do not fit; ALEAT_ERR_NUMERIC: not finite, or a covariance with negative
 *         eigenvalues
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_metric_evaluate(aleat_metric_result *out,
                                                            const char *name,
                                                            const aleat_metric_inputs *inputs,
                                                            const aleat_metric_options *options,
                                                            aleat_error *err);
/** Accepts NULL. */
ALEAT_API void aleat_metric_result_clear(aleat_metric_result *result);

/** Reads an .npy of any real type as doubles, for x and y: *out, to be released by free(), has
 * aleat_array_count(shape) numbers; shape has its axes, and no data. */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_values_read(double **out, aleat_array *shape,
                                                        const char *path, aleat_error *err);

#ifdef __cplusplus
}
#endif
#endif
