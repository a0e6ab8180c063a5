#include "uncertainty/posterior.h"

#include <math.h>

#include "base/alloc.h"
#include "base/error.h"

/* ---- curvature ------------------------------------------------------------------------------- */

aleat_status aleat_curvature_init(aleat_curvature *h, const aleat_head *head, aleat_error *err)
{
    *h = (aleat_curvature){.n_weights = aleat_head_weights(head),
                           .n_biases = aleat_head_biases(head)};
    h->weight = aleat_calloc((size_t)h->n_weights, sizeof *h->weight);
    h->bias = aleat_calloc((size_t)h->n_biases + 1, sizeof *h->bias);
    h->gradient = aleat_calloc((size_t)(h->n_weights + h->n_biases), sizeof *h->gradient);
    if (h->weight && h->bias && h->gradient)
        return ALEAT_OK;
    aleat_curvature_clear(h);
    return aleat_fail_memory(err, "the curvature of a last layer");
}

void aleat_curvature_clear(aleat_curvature *h)
{
    aleat_free(h->weight);
    aleat_free(h->bias);
    aleat_free(h->gradient);
    *h = (aleat_curvature){0};
}

void aleat_curvature_add(aleat_curvature *h, const aleat_head *head, const float *features,
                         float *residual)
{
    for (int64_t j = 0; j < aleat_head_outputs(head); j++)
        residual[j] *= 2;
    aleat_head_gradient(head, features, residual, h->gradient, h->gradient + h->n_weights);
    for (int64_t j = 0; j < h->n_weights + h->n_biases; j++) {
        const double g = (double)h->gradient[j];
        *(j < h->n_weights ? &h->weight[j] : &h->bias[j - h->n_weights]) += 0.5 * g * g;
    }
}

/* ---- posterior ------------------------------------------------------------------------------- */

struct aleat_posterior {
    int64_t n_weights, n_biases;
    float *deviation; // [n_weights + n_biases]: 1 / sqrt(P)
    float *drawn;     // likewise: a draw, less the mean
    float *scratch;   // [features], then [outputs]
    aleat_head *variance, *shift;
};

static aleat_status set_deviations(aleat_posterior *p, const aleat_curvature *h, aleat_error *err)
{
    for (int64_t j = 0; j < p->n_weights + p->n_biases; j++) {
        const double value = j < p->n_weights ? h->weight[j] : h->bias[j - p->n_weights];
        if (!(value >= 0 && isfinite(value)))
            return aleat_fail(err, ALEAT_ERR_FORMAT, "a curvature of %g", value);
        const double variance = 1 / (value + ALEAT_PRIOR_PRECISION);
        p->deviation[j] = (float)sqrt(variance);
        p->drawn[j] = (float)variance;
    }
    return aleat_head_set(p->variance, p->drawn, p->drawn + p->n_weights, err);
}

aleat_status aleat_posterior_new(aleat_posterior **out, const aleat_graph *graph, aleat_value y,
                                 const aleat_curvature *h, int threads, aleat_error *err)
{
    *out = NULL;
    aleat_posterior *p = aleat_calloc(1, sizeof *p);
    if (!p)
        return aleat_fail_memory(err, "a posterior");
    aleat_status st = aleat_head_new(&p->variance, graph, y, threads, err);
    if (!st)
        st = aleat_head_new(&p->shift, graph, y, threads, err);
    if (st)
        goto done;
    p->n_weights = aleat_head_weights(p->shift);
    p->n_biases = aleat_head_biases(p->shift);
    if (h->n_weights != p->n_weights || h->n_biases != p->n_biases) {
        st = aleat_fail(err, ALEAT_ERR_SHAPE,
                        "a curvature of %lld weights and %lld biases, the last layer has %lld and "
                        "%lld",
                        (long long)h->n_weights, (long long)h->n_biases, (long long)p->n_weights,
                        (long long)p->n_biases);
        goto done;
    }
    const size_t all = (size_t)(p->n_weights + p->n_biases);
    p->deviation = aleat_calloc(all, sizeof(float));
    p->drawn = aleat_calloc(all, sizeof(float));
    p->scratch = aleat_calloc(
        (size_t)(aleat_head_features(p->shift) + aleat_head_outputs(p->shift)), sizeof(float));
    st = p->deviation && p->drawn && p->scratch ? set_deviations(p, h, err)
                                                : aleat_fail_memory(err, "a posterior");
    if (st)
        goto done;
    *out = p;
    p = NULL;
done:
    aleat_posterior_free(p);
    return st;
}

void aleat_posterior_free(aleat_posterior *p)
{
    if (!p)
        return;
    aleat_head_free(p->variance);
    aleat_head_free(p->shift);
    aleat_free(p->deviation);
    aleat_free(p->drawn);
    aleat_free(p->scratch);
    aleat_free(p);
}

int64_t aleat_posterior_features(const aleat_posterior *p)
{
    return aleat_head_features(p->shift);
}

int64_t aleat_posterior_outputs(const aleat_posterior *p)
{
    return aleat_head_outputs(p->shift);
}

void aleat_posterior_variance(const aleat_posterior *p, int64_t n, const float *features,
                              float *variance)
{
    const int64_t size = aleat_posterior_features(p), outputs = aleat_posterior_outputs(p);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < size; j++)
            p->scratch[j] = features[i * size + j] * features[i * size + j];
        aleat_head_run(p->variance, 1, p->scratch, variance + i * outputs);
        // Winograd's sums of positive terms may end a rounding below 0
        for (int64_t j = i * outputs; j < (i + 1) * outputs; j++)
            variance[j] = variance[j] > 0 ? variance[j] : 0;
    }
}

aleat_status aleat_posterior_draw(aleat_posterior *p, const aleat_rng_key *key, aleat_error *err)
{
    const int64_t all = p->n_weights + p->n_biases;
    aleat_rng_normals(key, 0, p->drawn, all);
    for (int64_t j = 0; j < all; j++)
        p->drawn[j] *= p->deviation[j];
    return aleat_head_set(p->shift, p->drawn, p->drawn + p->n_weights, err);
}

void aleat_posterior_shift(const aleat_posterior *p, int64_t n, const float *features, float *shift)
{
    aleat_head_run(p->shift, n, features, shift);
}

aleat_status aleat_posterior_sample(aleat_posterior *p, const aleat_rng_key *key, int draws,
                                    const float *features, float *mean, float *variance,
                                    aleat_error *err)
{
    const int64_t outputs = aleat_posterior_outputs(p);
    float *y = p->scratch + aleat_posterior_features(p);
    for (int64_t j = 0; j < outputs; j++)
        mean[j] = variance[j] = 0;
    for (int k = 0; k < draws; k++) {
        aleat_rng_key mine = *key;
        mine.copy = (uint32_t)k;
        const aleat_status st = aleat_posterior_draw(p, &mine, err);
        if (st)
            return st;
        aleat_posterior_shift(p, 1, features, y);
        for (int64_t j = 0; j < outputs; j++) {
            const float d = y[j] - mean[j]; // Welford
            mean[j] += d / (float)(k + 1);
            variance[j] += d * (y[j] - mean[j]) / (float)(draws - 1);
        }
    }
    return ALEAT_OK;
}
