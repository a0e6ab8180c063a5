/* Student's t distribution. */
#ifndef ALEAT_METRICS_STUDENT_H
#define ALEAT_METRICS_STUDENT_H

#include <stdint.h>

/**
 * P(|T| >= |t|) for T of Student's distribution with `df` >= 1 degrees of freedom; NaN if t is.
 * Absolute error below df * 1e-15, so that tails below that are 0.
 *
 * @source Abramowitz and Stegun 1964, 26.7.3 and 26.7.4
 */
double aleat_student_two_sided(double t, int64_t df);

#endif
