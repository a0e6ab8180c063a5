#include "metrics/calibration.h"

#include <inttypes.h>
#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/order.h"

static aleat_calibration_bin fill_bin(const int64_t *order, int64_t begin, int64_t end,
                                      const double *deviation, const double *error)
{
    aleat_calibration_bin bin = {.count = end - begin};
    for (int64_t i = begin; i < end; i++) {
        bin.predicted += deviation[order[i]] * deviation[order[i]];
        bin.actual += error[order[i]] * error[order[i]];
    }
    bin.predicted = sqrt(bin.predicted / (double)bin.count);
    bin.actual = sqrt(bin.actual / (double)bin.count);
    return bin;
}

aleat_status aleat_calibrate(aleat_calibration *out, aleat_calibration_bin *bins, int64_t n_bins,
                             const double *deviation, const double *error, int64_t n,
                             aleat_error *err)
{
    *out = (aleat_calibration){0};
    for (int64_t i = 0; i < n; i++)
        if (!(deviation[i] > 0))
            return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                              "deviation %" PRId64 " is %g, expected a positive number", i,
                              deviation[i]);
    int64_t *order = aleat_calloc((size_t)n, sizeof *order);
    if (!order || !aleat_order(order, deviation, n)) {
        aleat_free(order);
        return aleat_fail_memory(err, "sorting deviations");
    }
    for (int64_t b = 0; b < n_bins; b++) {
        bins[b] = fill_bin(order, b * n / n_bins, (b + 1) * n / n_bins, deviation, error);
        out->ence += fabs(bins[b].predicted - bins[b].actual) / bins[b].predicted / (double)n_bins;
    }
    for (int64_t i = 0; i < n; i++) {
        const double z = fabs(error[i]) / deviation[i];
        out->z += z * z / (double)n;
        out->within_1 += (z <= 1) / (double)n;
        out->within_2 += (z <= 2) / (double)n;
    }
    out->z = sqrt(out->z);
    aleat_free(order);
    return ALEAT_OK;
}
