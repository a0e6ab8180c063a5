/*
 * Thresholds of guidance from other runs: for each step, channel and pixel a quantile of the
 * uncertainty over many images, instead of each image's own percentile (arXiv 2412.00205, input of
 * Algorithm 2).
 */
#ifndef ALEAT_THRESHOLD_H
#define ALEAT_THRESHOLD_H

#include <stdint.h>

#include "aleat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What a file of thresholds came from. */
typedef struct aleat_threshold_facts {
    int64_t images, steps;
} aleat_threshold_facts;

/**
 * The quantile `percentile`, 0 to 1, over the images of all runs together, for each scored step,
 * channel and pixel of a statistic's map (linear interpolation between ranks). The runs were made
 * with all maps kept, unguided, and alike in everything that U depends on. Arrays are mapped:
 * memory is bounded by 64 MiB beside one step's thresholds.
 *
 * @param out        .npz to write: docs/formats.md
 * @param statistic  a map that the runs have; NULL: "eps-var"
 * @param facts      filled on success; may be NULL
 * @return ALEAT_ERR_ARGUMENT: runs that differ, with the setting's name, or lack their steps' maps
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_threshold_make(const char *out, const char *const *runs,
                                                           int n_runs, const char *statistic,
                                                           double percentile,
                                                           aleat_threshold_facts *facts,
                                                           aleat_error *err);

#ifdef __cplusplus
}
#endif
#endif
