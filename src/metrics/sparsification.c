#include "metrics/sparsification.h"

#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/order.h"
#include "metrics/ranks.h"

// Keys [n], borrowed, and their positions in ascending order.
typedef struct aleat_ordered {
    const double *key;
    int64_t *order;
    int64_t n;
} aleat_ordered;

// Percentile t of `intervals` of -key, as numpy's percentile computes it from sorted keys; the
// pixels that stay are those with -key at or above it. Rounding matters where it falls on a key.
static double threshold(const double *sorted, int64_t n, int64_t t, int64_t intervals)
{
    const double place = (double)(n - 1) * (100.0 / (double)intervals * (double)t / 100.0);
    const double below = floor(place), share = place - below;
    const int64_t i = (int64_t)below, next = i + 1 < n ? i + 1 : n - 1;
    const double a = -sorted[n - 1 - i], b = -sorted[n - 1 - next], step = b - a;
    return share < 0.5 ? a + step * share : b - step * (1 - share);
}

// How many of the sorted keys are <= limit.
static int64_t count_up_to(const double *sorted, int64_t n, double limit)
{
    int64_t low = 0, high = n;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (sorted[middle] <= limit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Keys and squared errors summed up, in ascending order, of pixels that appear times[image] times
// (NULL: once) each; `backwards`: by the key with the other sign. How many there are.
static int64_t lay_out(double *sorted, double *sums, const aleat_ordered *keys, bool backwards,
                       const double *squared, const int32_t *times, int64_t size)
{
    double sum = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < keys->n; i++) {
        const int64_t at = keys->order[backwards ? keys->n - 1 - i : i];
        const double key = backwards ? -keys->key[at] : keys->key[at];
        for (int32_t k = times ? times[at / size] : 1; k > 0; k--) {
            sum += squared[at];
            sorted[count] = key;
            sums[count++] = sum;
        }
    }
    return count;
}

static void draw_curve(double *curve, const double *sorted, const double *sums, int64_t n,
                       int64_t intervals)
{
    for (int64_t t = 0; t < intervals; t++) {
        const int64_t kept = count_up_to(sorted, n, -threshold(sorted, n, t, intervals));
        curve[t] = kept ? sqrt(sums[kept - 1] / (double)kept) : 0;
    }
    curve[intervals] = 0;
}

static double area_under(const double *curve, int64_t intervals)
{
    double area = 0;
    for (int64_t t = 0; t < intervals; t++)
        area += (curve[t] + curve[t + 1]) / (2 * (double)intervals);
    return area;
}

static void conclude(aleat_sparsification *out, const double *sparse, const double *oracle,
                     double sum, int64_t n, int64_t intervals)
{
    out->rmse = sqrt(sum / (double)n);
    out->ause = area_under(sparse, intervals) - area_under(oracle, intervals);
    out->aurg = out->rmse - area_under(sparse, intervals);
    out->aurg_closed = out->aurg - out->rmse / (2 * (double)intervals);
}

aleat_status aleat_sparsify(aleat_sparsification *out, double *sparse, double *oracle,
                            const double *uncertainty, const double *error, int64_t n,
                            int64_t intervals, aleat_error *err)
{
    aleat_sparsifier *s = NULL;
    aleat_sparsifications all;
    aleat_status st = aleat_sparsifier_new(&s, uncertainty, error, n, 0, intervals, err);
    if (!st)
        st = aleat_sparsifier_values(&all, sparse, oracle, s, NULL, 0, err);
    *out = st ? (aleat_sparsification){0} : all.own;
    aleat_sparsifier_free(s);
    return st;
}

/* ---- sorted once ----------------------------------------------------------------------------- */

struct aleat_sparsifier {
    int64_t n, images, size, intervals; // images of `size` pixels; 0: each pixel is drawn by itself
    aleat_ordered by_key, by_error;
    double *squared;               // [n]
    aleat_sparsification *each[2]; // [images], of the key and of its other sign
};

static aleat_status order_by(aleat_ordered *out, const double *key, int64_t n, aleat_error *err)
{
    *out = (aleat_ordered){.key = key, .n = n};
    out->order = aleat_calloc((size_t)n, sizeof *out->order);
    return out->order && aleat_order(out->order, key, n) ? ALEAT_OK
                                                         : aleat_fail_memory(err, "sorting pixels");
}

void aleat_sparsifier_free(aleat_sparsifier *s)
{
    if (!s)
        return;
    aleat_free(s->by_key.order);
    aleat_free(s->by_error.order);
    aleat_free(s->squared);
    aleat_free(s->each[0]);
    aleat_free(s->each[1]);
    aleat_free(s);
}

// The areas of each image by itself.
static aleat_status sparsify_images(aleat_sparsifier *s, const double *key, const double *error,
                                    aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    for (int sign = 0; sign < 2; sign++)
        s->each[sign] = aleat_calloc((size_t)s->images, sizeof *s->each[sign]);
    if (!s->each[0] || !s->each[1])
        return aleat_fail_memory(err, "areas of images");
    for (int64_t i = 0; !st && i < s->images; i++) {
        aleat_sparsifier *one = NULL;
        aleat_sparsifications all;
        st = aleat_sparsifier_new(&one, key + i * s->size, error + i * s->size, s->size, 0,
                                  s->intervals, err);
        if (!st)
            st = aleat_sparsifier_values(&all, NULL, NULL, one, NULL, 0, err);
        if (!st) {
            s->each[0][i] = all.own;
            s->each[1][i] = all.inverted;
        }
        aleat_sparsifier_free(one);
    }
    return st;
}

aleat_status aleat_sparsifier_new(aleat_sparsifier **out, const double *key, const double *error,
                                  int64_t n, int64_t images, int64_t intervals, aleat_error *err)
{
    *out = NULL;
    if (n < 1 || intervals < 1 || intervals > ALEAT_SPARSIFICATION_MAX)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%lld pixels in %lld intervals: at least one pixel and 1 to %d intervals "
                          "are needed",
                          (long long)n, (long long)intervals, ALEAT_SPARSIFICATION_MAX);
    aleat_sparsifier *s = aleat_calloc(1, sizeof *s);
    if (!s)
        return aleat_fail_memory(err, "sorting pixels");
    s->n = n;
    s->images = images > 1 ? images : 0;
    s->size = s->images ? n / images : 1;
    s->intervals = intervals;
    s->squared = aleat_calloc((size_t)n, sizeof *s->squared);
    for (int64_t i = 0; s->squared && i < n; i++)
        s->squared[i] = error[i] * error[i];
    aleat_status st =
        s->squared ? order_by(&s->by_key, key, n, err) : aleat_fail_memory(err, "sorting pixels");
    if (!st)
        st = order_by(&s->by_error, s->squared, n, err);
    if (!st && s->images)
        st = sparsify_images(s, key, error, err);
    if (st)
        aleat_sparsifier_free(s);
    else
        *out = s;
    return st;
}

// ranks [n] of the pixels as they are drawn; ties share their mean.
static void rank(double *ranks, const aleat_ordered *keys, const int32_t *times, int64_t size)
{
    int64_t below = 0;
    for (int64_t begin = 0, end; begin < keys->n; begin = end) {
        const double key = keys->key[keys->order[begin]];
        int64_t upto = below;
        for (end = begin; end < keys->n && (end == begin || keys->key[keys->order[end]] <= key);
             end++)
            upto += times ? times[keys->order[end] / size] : 1;
        for (int64_t i = begin; i < end; i++)
            ranks[keys->order[i]] = 0.5 * (double)(below + 1 + upto);
        below = upto;
    }
}

// Of the drawn pixels: pixels of rows [count], which are images or pixels.
static void gather(double *out, const double *in, const aleat_sparsifier *s, const int64_t *rows,
                   int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < s->size; k++)
            out[i * s->size + k] = in[(rows ? rows[i] : i) * s->size + k];
}

static void average_images(aleat_sparsifications *out, const aleat_sparsifier *s,
                           const int64_t *rows, int64_t count)
{
    out->per_image = out->per_image_inverted = (aleat_sparsification){0};
    for (int64_t i = 0; s->images && i < count; i++)
        for (int sign = 0; sign < 2; sign++) {
            const aleat_sparsification *one = &s->each[sign][rows ? rows[i] : i];
            aleat_sparsification *mean = sign ? &out->per_image_inverted : &out->per_image;
            mean->ause += one->ause / (double)count;
            mean->aurg += one->aurg / (double)count;
            mean->aurg_closed += one->aurg_closed / (double)count;
            mean->rmse += one->rmse / (double)count;
        }
}

aleat_status aleat_sparsifier_values(aleat_sparsifications *out, double *sparse, double *oracle,
                                     const aleat_sparsifier *s, const int64_t *rows, int64_t count,
                                     aleat_error *err)
{
    double own[3][ALEAT_SPARSIFICATION_MAX + 1];
    const int64_t units = s->n / s->size, drawn = (rows ? count : units) * s->size;
    const int64_t room = drawn > s->n ? drawn : s->n;
    double *scratch = aleat_calloc((size_t)room, 4 * sizeof *scratch);
    double *sorted = scratch, *sums = scratch + room, *ranks = scratch + 2 * room;
    int32_t *times = rows ? aleat_calloc((size_t)units, sizeof *times) : NULL;
    sparse = sparse ? sparse : own[0];
    oracle = oracle ? oracle : own[1];
    *out = (aleat_sparsifications){0};
    if (!scratch || (rows && !times)) {
        aleat_free(scratch);
        aleat_free(times);
        return aleat_fail_memory(err, "sorted pixels");
    }
    for (int64_t i = 0; rows && i < count; i++)
        times[rows[i]]++;
    (void)lay_out(sorted, sums, &s->by_error, false, s->squared, times, s->size);
    draw_curve(oracle, sorted, sums, drawn, s->intervals);
    for (int sign = 1; sign >= 0; sign--) { // the map as it is last: its sum is that of no sign
        double *curve = sign ? own[2] : sparse;
        (void)lay_out(sorted, sums, &s->by_key, sign, s->squared, times, s->size);
        draw_curve(curve, sorted, sums, drawn, s->intervals);
        conclude(sign ? &out->inverted : &out->own, curve, oracle, sums[drawn - 1], drawn,
                 s->intervals);
    }
    rank(ranks, &s->by_key, times, s->size);
    rank(ranks + room, &s->by_error, times, s->size);
    gather(sorted, ranks, s, rows, rows ? count : units);
    gather(sums, ranks + room, s, rows, rows ? count : units);
    out->spearman = aleat_pearson(sorted, sums, drawn);
    average_images(out, s, rows, rows ? count : units);
    aleat_free(scratch);
    aleat_free(times);
    return ALEAT_OK;
}
