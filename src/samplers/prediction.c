#include "samplers/prediction.h"

#include <math.h>
#include <string.h>

aleat_eps_weights aleat_eps_weights_of(aleat_prediction prediction, double alpha, double sigma)
{
    switch (prediction) {
    case ALEAT_PREDICTS_EPSILON: return (aleat_eps_weights){1, 0};
    case ALEAT_PREDICTS_SAMPLE: return (aleat_eps_weights){-alpha / sigma, 1 / sigma};
    case ALEAT_PREDICTS_V: return (aleat_eps_weights){alpha, sigma};
    case ALEAT_PREDICTS_FLOW:
        return (aleat_eps_weights){alpha / (alpha + sigma), 1 / (alpha + sigma)};
    }
    return (aleat_eps_weights){0, 0};
}

static aleat_eps_weights x0_weights_of(aleat_prediction prediction, double alpha, double sigma)
{
    switch (prediction) {
    case ALEAT_PREDICTS_EPSILON: return (aleat_eps_weights){-sigma / alpha, 1 / alpha};
    case ALEAT_PREDICTS_SAMPLE: return (aleat_eps_weights){1, 0};
    case ALEAT_PREDICTS_V: return (aleat_eps_weights){-sigma, alpha};
    case ALEAT_PREDICTS_FLOW:
        return (aleat_eps_weights){-sigma / (alpha + sigma), 1 / (alpha + sigma)};
    }
    return (aleat_eps_weights){0, 0};
}

// Formed in double and rounded once: where alpha is small, x and sigma eps nearly cancel.
static void combine(aleat_eps_weights w, const float *x, const float *raw, float *out,
                    int64_t count)
{
    for (int64_t j = 0; j < count; j++)
        out[j] = (float)(w.raw * (double)raw[j] + w.x * (double)x[j]);
}

void aleat_predict(aleat_prediction prediction, double alpha, double sigma, const float *x,
                   const float *raw, float *eps, float *x0, int64_t count)
{
    if (x0)
        combine(x0_weights_of(prediction, alpha, sigma), x, raw, x0, count);
    if (eps)
        combine(aleat_eps_weights_of(prediction, alpha, sigma), x, raw, eps, count);
}

void aleat_x0_of_eps(double alpha, double sigma, const float *x, const float *eps, float *x0,
                     int64_t count)
{
    combine(x0_weights_of(ALEAT_PREDICTS_EPSILON, alpha, sigma), x, eps, x0, count);
}

void aleat_eps_of_x0(double alpha, double sigma, const float *x, const float *x0, float *eps,
                     int64_t count)
{
    combine(aleat_eps_weights_of(ALEAT_PREDICTS_SAMPLE, alpha, sigma), x, x0, eps, count);
}

void aleat_prediction_target(aleat_prediction prediction, double alpha, double sigma,
                             const float *x0, const float *eps, float *target, int64_t count)
{
    switch (prediction) {
    case ALEAT_PREDICTS_EPSILON: memmove(target, eps, (size_t)count * sizeof *target); return;
    case ALEAT_PREDICTS_SAMPLE: memmove(target, x0, (size_t)count * sizeof *target); return;
    case ALEAT_PREDICTS_V:
        combine((aleat_eps_weights){alpha, -sigma}, x0, eps, target, count);
        return;
    case ALEAT_PREDICTS_FLOW: combine((aleat_eps_weights){1, -1}, x0, eps, target, count);
    }
}

static void clamp(float *x0, int64_t count, float range)
{
    for (int64_t j = 0; j < count; j++) {
        const float low = x0[j] < -range ? -range : x0[j];
        x0[j] = low > range ? range : low;
    }
}

void aleat_clip_x0(const aleat_clip *clip, float *x0, int64_t count, float *scratch)
{
    if (!clip->dynamic) {
        if (clip->clamp)
            clamp(x0, count, (float)clip->range);
        return;
    }
    for (int64_t j = 0; j < count; j++)
        scratch[j] = fabsf(x0[j]);
    const float limit =
        (float)fmin(fmax(aleat_quantile(scratch, count, clip->ratio), 1), clip->max);
    clamp(x0, count, limit);
    for (int64_t j = 0; j < count; j++)
        x0[j] /= limit;
}

// Hoare's selection: afterwards values[rank] is what sorting would put there, nothing before it is
// larger and nothing after it smaller.
static void select_rank(float *values, int64_t count, int64_t rank)
{
    int64_t low = 0, high = count - 1;
    while (low < high) {
        const float pivot = values[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (values[i] < pivot)
                i++;
            while (values[j] > pivot)
                j--;
            if (i <= j) {
                const float kept = values[i];
                values[i++] = values[j];
                values[j--] = kept;
            }
        }
        if (rank <= j)
            high = j;
        else if (rank >= i)
            low = i;
        else
            return;
    }
}

double aleat_quantile(float *values, int64_t count, double q)
{
    for (int64_t i = 0; i < count; i++)
        if (isnan(values[i]))
            return NAN; // no order to select by
    const double place = q * (double)(count - 1);
    const int64_t rank = (int64_t)floor(place);
    select_rank(values, count, rank);
    const double below = (double)values[rank];
    if (rank + 1 >= count)
        return below;
    float above = INFINITY;
    for (int64_t i = rank + 1; i < count; i++)
        above = values[i] < above ? values[i] : above;
    return below + (place - (double)rank) * ((double)above - below);
}
