/* Scores by sampling step: mean and spread over the images, of all and of each class. */
#ifndef ALEAT_REPORT_CURVES_H
#define ALEAT_REPORT_CURVES_H

#include <jansson.h>

#include "report/source.h"

/** Numbers of classes times columns that a page takes; of a run with more only the whole is told.
 */
#define ALEAT_CURVE_NUMBERS 20000

/**
 * Reads the columns "map@step" of scores.csv in one pass. *out, to be released by the caller:
 *
 *   {"maps": [{"name", "steps": [..], "groups": [{"label": null or class, "images", "mean": [..],
 *    "deviation": [..]}]}]}
 *
 * where the first group is all images and the deviation is the square root of the unbiased variance
 * over the images; images whose value is NaN at a step are not counted there, and null stands where
 * there are none.
 */
ALEAT_MUST_USE aleat_status aleat_curves(json_t **out, const aleat_source *source,
                                         aleat_error *err);

#endif
