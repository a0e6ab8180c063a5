/* Seeded numbers and the instruction sets of this processor, for tests of the engine. */
#ifndef ALEAT_TESTS_NUMBERS_H
#define ALEAT_TESTS_NUMBERS_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cpu.h"
#include "kernels/kernels.h"
#include "near.h"

/* For every kernel table that this processor runs. */
#define FOR_EACH_ISA(k)                                                                            \
    for (int isa_ = 0; isa_ <= (int)aleat_cpu_isa(); isa_++)                                       \
        for (const aleat_kernels *k = aleat_kernels_for((aleat_isa)isa_); k; k = NULL)

/* splitmix64. */
static inline uint64_t next_number(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

/* In [0, n). */
static inline int64_t below(uint64_t *state, int64_t n)
{
    return (int64_t)(next_number(state) % (uint64_t)n);
}

/* In [-1, 1). */
static inline float uniform(uint64_t *state)
{
    return (float)((double)(next_number(state) >> 40) * 0x1p-23 - 1);
}

/* n floats in [-1, 1), to be freed by aleat_free(). */
static inline float *floats(int64_t n, uint64_t seed)
{
    float *x = aleat_alloc((size_t)n * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = uniform(&seed);
    return x;
}

static inline double *doubles(int64_t n)
{
    double *x = aleat_calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    return x;
}

/* ---- the elementwise functions, in double ---------------------------------------------------- */

static inline double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static inline double function_of(aleat_fn act, double x)
{
    switch (act) {
    case ALEAT_FN_SILU: return x * sigmoid(x);
    case ALEAT_FN_GELU: return x / 2 * erfc(-x / sqrt(2));
    case ALEAT_FN_GELU_TANH:
        return x / 2 * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case ALEAT_FN_QUICK_GELU: return x * sigmoid(1.702 * x);
    case ALEAT_FN_RELU: return x > 0 ? x : 0;
    case ALEAT_FN_MISH: return x * tanh(log1p(exp(x)));
    case ALEAT_FN_IDENTITY:
    case ALEAT_FN_COUNT: break;
    }
    return x;
}

static inline double slope_of(aleat_fn act, double x)
{
    const double h = 1e-5; // error of the central difference: h^2/6 and 1e-16/h, both below 1e-10
    return (function_of(act, x + h) - function_of(act, x - h)) / (2 * h);
}

/*
 * How far a kernel may be off at x. Products of rounded factors cost one FLT_EPSILON each; the
 * exponential has 2 (2e-7), and the rounding of its argument z comes out as |z| FLT_EPSILON, all of
 * it relative to the result. erf is the exception: 1.5e-7 absolute, by its series.
 */
static inline double function_bound(aleat_fn act, double x)
{
    if (act == ALEAT_FN_IDENTITY || act == ALEAT_FN_RELU)
        return 0;
    if (act == ALEAT_FN_GELU)
        return fabs(x) * (1.5e-7 + 2 * (double)FLT_EPSILON);
    const double cubic = act == ALEAT_FN_GELU_TANH ? 0.0714 * x * x : 0;
    const double z = fabs(x) * (1.702 + cubic);
    return fabs(function_of(act, x)) * (6 + 2 * z) * (double)FLT_EPSILON + 1e-35; // clamped exp
}

/* Of the derivative: 1 - sigmoid loses FLT_EPSILON absolutely and is multiplied by x and the slope
 * of the argument. */
static inline double slope_bound(aleat_fn act, double x)
{
    if (act == ALEAT_FN_IDENTITY || act == ALEAT_FN_RELU)
        return 1e-9;
    const double cubic = act == ALEAT_FN_GELU_TANH ? 0.22 * x * x : 0;
    return (6 + 4 * fabs(x) * (1.702 + cubic)) * (double)FLT_EPSILON + 1e-9;
}

#endif
