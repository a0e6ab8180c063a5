#include "metrics/resample.h"

#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/rng.h"

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int ascending_rows(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// Quantile q of sorted values, linearly interpolated.
static double sorted_quantile(const double *sorted, int64_t n, double q)
{
    const double place = q * (double)(n - 1), below = floor(place);
    const int64_t i = (int64_t)below;
    return i + 1 < n ? sorted[i] + (place - below) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

// What a stream of draw `draw` is for.
enum { OF_BOOTSTRAP, OF_SIGNS, OF_HALVES };

static aleat_rng_key key_of(uint64_t seed, int64_t draw, int use, int side)
{
    return (aleat_rng_key){.seed = seed,
                           .purpose = ALEAT_FOR_SUBSET,
                           .image = (uint32_t)draw,
                           .step = 1 + (uint32_t)use,
                           .copy = (uint32_t)side};
}

void aleat_draw_bootstrap(int64_t *rows, int64_t n, uint64_t seed, int64_t draw)
{
    const aleat_rng_key key = key_of(seed, draw, OF_BOOTSTRAP, 0);
    for (int64_t i = 0; i < n; i++)
        rows[i] = (int64_t)aleat_rng_below(&key, i, (uint64_t)n);
}

void aleat_draw_half(int64_t *rows, int64_t n, uint64_t seed, int64_t draw, int side)
{
    const aleat_rng_key key = key_of(seed, draw, OF_HALVES, side);
    aleat_rng_permutation(&key, rows, n);
    qsort(rows, (size_t)(n / 2), sizeof *rows, ascending_rows);
}

/* ---- intervals ------------------------------------------------------------------------------- */

static double normal_cdf(double z)
{
    return 0.5 * erfc(-z / sqrt(2));
}

// The inverse by bisection: called twice an interval, so it may take its time.
static double normal_quantile(double p)
{
    double low = -40, high = 40;
    for (int i = 0; i < 100; i++) {
        const double middle = 0.5 * (low + high);
        if (normal_cdf(middle) < p)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

// Sorts the finite draws to the front; how many they are.
static int64_t sort_finite(double *draws, int64_t n)
{
    int64_t finite = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(draws[i]))
            draws[finite++] = draws[i];
    qsort(draws, (size_t)finite, sizeof *draws, ascending);
    return finite;
}

// Skewness of the jackknife values over 6.
static double acceleration(const double *left, int64_t n)
{
    double mean = 0, squares = 0, cubes = 0;
    for (int64_t i = 0; i < n; i++)
        mean += left[i] / (double)n;
    for (int64_t i = 0; i < n; i++) {
        const double d = mean - left[i];
        squares += d * d;
        cubes += d * d * d;
    }
    return squares > 0 ? cubes / (6 * pow(squares, 1.5)) : 0;
}

aleat_interval aleat_bca_interval(double value, double *draws, int64_t n_draws, const double *left,
                                  int64_t n_left, double confidence)
{
    const int64_t n = sort_finite(draws, n_draws);
    if (n < 2 || !isfinite(value))
        return (aleat_interval){NAN, NAN};
    double below = 0; // a tie counts one half, so that discrete values are not taken for bias
    for (int64_t i = 0; i < n; i++)
        below += draws[i] < value ? 1 : draws[i] > value ? 0 : 0.5;
    // at the ends of the scale the bias would be infinite: half a draw is kept on either side
    below = fmin(fmax(below, 0.5), (double)n - 0.5);
    const double bias = normal_quantile(below / (double)n), a = acceleration(left, n_left);
    double ends[2];
    for (int side = 0; side < 2; side++) {
        const double z = normal_quantile(side ? 0.5 + confidence / 2 : 0.5 - confidence / 2);
        const double moved = bias + (bias + z) / (1 - a * (bias + z));
        ends[side] = sorted_quantile(draws, n, normal_cdf(moved));
    }
    return (aleat_interval){ends[0], ends[1]};
}

aleat_interval aleat_centred_interval(double value, double *draws, int64_t n_draws,
                                      double confidence)
{
    const int64_t n = sort_finite(draws, n_draws);
    if (n < 2 || !isfinite(value))
        return (aleat_interval){NAN, NAN};
    double mean = 0;
    for (int64_t i = 0; i < n; i++)
        mean += draws[i] / (double)n;
    return (aleat_interval){value + sorted_quantile(draws, n, 0.5 - confidence / 2) - mean,
                            value + sorted_quantile(draws, n, 0.5 + confidence / 2) - mean};
}

/* ---- tests ----------------------------------------------------------------------------------- */

aleat_status aleat_paired_permutation(double *p, const double *x, const double *y, int64_t n,
                                      int64_t draws, uint64_t seed, aleat_error *err)
{
    *p = NAN;
    uint32_t *words = aleat_calloc((size_t)(n + 31) / 32, sizeof *words);
    if (!words)
        return aleat_fail_memory(err, "a permutation test");
    double observed = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        observed += x[i] - y[i];
        size += fabs(x[i] - y[i]);
    }
    int64_t as_far = 1;
    for (int64_t draw = 0; draw < draws; draw++) {
        const aleat_rng_key key = key_of(seed, draw, OF_SIGNS, 0);
        aleat_rng_words(&key, words, (n + 31) / 32);
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += words[i / 32] >> (i % 32) & 1 ? x[i] - y[i] : y[i] - x[i];
        as_far += fabs(sum) >= fabs(observed) - 1e-12 * size; // equal up to the order of adding
    }
    *p = (double)as_far / (double)(draws + 1);
    aleat_free(words);
    return ALEAT_OK;
}
