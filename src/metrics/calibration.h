/*
 * Calibration: is a predicted standard deviation as large as the error turns out to be?
 * Sources: Levi et al. 2022 (arXiv 1905.11659), eq. 8 and 9 (ENCE); Laves et al. 2020 (arXiv
 * 2006.08328) for the same on images.
 */
#ifndef ALEAT_METRICS_CALIBRATION_H
#define ALEAT_METRICS_CALIBRATION_H

#include <stdint.h>

#include "aleat/status.h"

/** One bin of the reliability curve. */
typedef struct aleat_calibration_bin {
    int64_t count;
    double predicted; /**< root mean predicted variance */
    double actual;    /**< root mean squared error */
} aleat_calibration_bin;

typedef struct aleat_calibration {
    double ence; /**< mean over the bins of |predicted - actual| / predicted */
    double z;    /**< root mean of (error / deviation)^2; 1 if calibrated, above: too confident */
    double within_1, within_2; /**< share of errors within 1 and 2 deviations; of normal errors
                                    0.683 and 0.954 */
} aleat_calibration;

/**
 * @param bins       out, [n_bins]: as many values in each (within one), by rising deviation
 * @param deviation  [n], > 0
 * @param error      [n]
 * @param n_bins     1 <= n_bins <= n
 * @return ALEAT_ERR_ARGUMENT: a deviation is not positive (the message says which)
 */
ALEAT_MUST_USE aleat_status aleat_calibrate(aleat_calibration *out, aleat_calibration_bin *bins,
                                            int64_t n_bins, const double *deviation,
                                            const double *error, int64_t n, aleat_error *err);

#endif
