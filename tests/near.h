/* Comparing numbers in double precision: cmocka's assert_float_equal() rounds both to floats. */
#ifndef ALEAT_TESTS_NEAR_H
#define ALEAT_TESTS_NEAR_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* Fails with both numbers and the bound unless |got - want| <= bound; what and where are for the
 * message. */
#define assert_near(got, want, bound, ...)                                                         \
    do {                                                                                           \
        const double got_ = (double)(got), want_ = (double)(want), bound_ = (double)(bound);       \
        if (!(fabs(got_ - want_) <= bound_)) {                                                     \
            print_message(__VA_ARGS__);                                                            \
            fail_msg(": %.9g, expected %.9g, off by %.3g of %.3g", got_, want_,                    \
                     fabs(got_ - want_), bound_);                                                  \
        }                                                                                          \
    } while (0)

#endif
