/* Files of thresholds, as guidance reads them. */
#ifndef ALEAT_API_THRESHOLD_H
#define ALEAT_API_THRESHOLD_H

#include <jansson.h>

#include "aleat/threshold.h"
#include "tensor/tensor.h"
#include "uncertainty/accumulate.h"

/** Zero-initialise; ends with aleat_threshold_clear(). */
typedef struct aleat_threshold {
    aleat_tensor values;   /**< [steps,C,H,W] f32 */
    aleat_tensor steps;    /**< [steps] i64: their numbers */
    const float **by_step; /**< [n_outer of the run]; NULL where there is none */
} aleat_threshold;

/**
 * Reads a file for a run of `n_outer` steps with these settings whose steps in `guided` are to be
 * guided by `statistic`. ALEAT_ERR_ARGUMENT: it is from runs of other settings (the message names
 * the first and both values), or lacks a step; ALEAT_ERR_FORMAT: it is no file of thresholds.
 */
ALEAT_MUST_USE aleat_status aleat_threshold_open(aleat_threshold *out, const char *path,
                                                 const json_t *settings, const char *statistic,
                                                 aleat_window guided, int n_outer,
                                                 aleat_error *err);
void aleat_threshold_clear(aleat_threshold *threshold);

#endif
