#include "uncertainty/generative.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

typedef struct drawn {
    const aleat_denoiser *inner;
    aleat_posterior *posterior;
    int64_t capacity, out_count;
    float *features; // [capacity, features]
    float *shift;    // [out_count]
} drawn;

static aleat_status drawn_predict(void *self, const aleat_batch *in, float *out, aleat_error *err)
{
    drawn *d = self;
    const int64_t size = d->inner->info.features;
    if (in->n > d->capacity) {
        aleat_free(d->features);
        d->capacity = 0;
        d->features = aleat_calloc((size_t)in->n * (size_t)size, sizeof *d->features);
        if (!d->features)
            return aleat_fail_memory(err, "features of a batch");
        d->capacity = in->n;
    }
    const aleat_status st = d->inner->ops->features(d->inner->self, in, d->features, out, err);
    for (int64_t i = 0; !st && i < in->n; i++) {
        aleat_posterior_shift(d->posterior, 1, d->features + i * size, d->shift);
        for (int64_t j = 0; j < d->out_count; j++)
            out[i * d->out_count + j] += d->shift[j];
    }
    return st;
}

static void drawn_destroy(void *self)
{
    drawn *d = self;
    if (!d)
        return;
    aleat_free(d->features);
    aleat_free(d->shift);
    aleat_free(d);
}

static const aleat_denoiser_ops drawn_ops = {.predict = drawn_predict, .destroy = drawn_destroy};

aleat_status aleat_drawn_denoiser(aleat_denoiser *out, const aleat_denoiser *inner,
                                  aleat_posterior *posterior, int64_t height, int64_t width,
                                  aleat_error *err)
{
    memset(out, 0, sizeof *out);
    const int64_t out_count = inner->info.out_channels * height * width;
    if (!inner->ops->features)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "this network does not end in a convolution or linear layer");
    if (aleat_posterior_outputs(posterior) != out_count ||
        aleat_posterior_features(posterior) != inner->info.features)
        return aleat_fail(err, ALEAT_ERR_SHAPE, "the posterior is of another network");
    drawn *d = aleat_calloc(1, sizeof *d);
    if (d)
        *d = (drawn){.inner = inner,
                     .posterior = posterior,
                     .out_count = out_count,
                     .shift = aleat_calloc((size_t)out_count, sizeof *d->shift)};
    if (!d || !d->shift) {
        drawn_destroy(d);
        return aleat_fail_memory(err, "a network with drawn weights");
    }
    *out = (aleat_denoiser){.ops = &drawn_ops, .self = d, .info = inner->info};
    return ALEAT_OK;
}

double aleat_feature_entropy(const float *features, int64_t m, int64_t dim, double sigma_squared)
{
    const double pi = 3.14159265358979323846;
    double entropy = 0.5 * (double)dim * (log(2 * pi) + 1);
    for (int64_t k = 0; k < dim; k++) {
        double mean = 0, squares = 0;
        for (int64_t i = 0; i < m; i++) { // Welford
            const double d = (double)features[i * dim + k] - mean;
            mean += d / (double)(i + 1);
            squares += d * ((double)features[i * dim + k] - mean);
        }
        entropy += 0.5 * log(squares / (double)m + sigma_squared);
    }
    return entropy;
}
