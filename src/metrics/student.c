#include "metrics/student.h"

#include <math.h>

double aleat_student_two_sided(double t, int64_t df)
{
    if (isnan(t))
        return NAN;
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
