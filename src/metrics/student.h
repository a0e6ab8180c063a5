/* Student's t distribution. */
#ifndef ALEAT_METRICS_STUDENT_H
#define ALEAT_METRICS_STUDENT_H

#include <stdint.h>

/**
 * P(|T| >= |t|) for T of Student's distribution with `df` >= 1 degrees of freedom; NaN if t is.
 * Relative error below df * 1e-14 where |t| > sqrt(df), else an absolute one below df * 1e-15.
 *
 * @source Abramowitz and Stegun 1964, 26.7.3 and 26.7.4; of the tails 26.5.4
 */
double aleat_student_two_sided(double t, int64_t df);

#endif
