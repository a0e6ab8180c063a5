#include "metrics/student.h"

#include <float.h>
#include <math.h>

// The incomplete beta function I_x(df/2, 1/2) at x = df / (df + t^2) < 1/2 by its series, whose
// terms are positive: small values keep their digits.
static double far_tails(double t, double df)
{
    const double a = df / 2, x = 1 / (1 + t / df * t);
    double term = 1, sum = 1 / a;
    for (int k = 1; term > DBL_EPSILON * sum; k++) {
        term *= (k - 0.5) / k * x;
        sum += term / (a + k);
    }
    return sum * exp(a * log(x) + lgamma(a + 0.5) - lgamma(a) - lgamma(0.5));
}

double aleat_student_two_sided(double t, int64_t df)
{
    if (isnan(t))
        return NAN;
    if (t * t > (double)df)
        return far_tails(t, (double)df);
    const double angle = atan(fabs(t) / sqrt((double)df));
    const double c = cos(angle), s = sin(angle);
    const int64_t odd = df % 2;
    // both series have the terms cos^k, k = odd, odd + 2 .. df - 2, with a falling factor
    double term = odd ? c : 1, sum = 0;
    for (int64_t k = odd; k <= df - 2; k += 2) {
        sum += term;
        term *= c * c * (double)(k + 1) / (double)(k + 2);
    }
    const double inside = odd ? 2 / acos(-1) * (angle + s * sum) : s * sum;
    return fmax(0, 1 - inside);
}
