/* Generative uncertainty of a run: its images once more by drawn weights, compared by features. */
#include "api/runner.h"

#include "base/alloc.h"
#include "base/error.h"
#include "io/image_convert.h"
#include "uncertainty/generative.h"

static float *features_of(const aleat_runner *r, int64_t j, int64_t m)
{
    const int64_t dim = aleat_features_describe(r->job->options->features).dim;
    return r->drawn_features + (j * (1 + r->job->observe.estimator.copies) + m) * dim;
}

// Features m of the batch's image j, from its picture.
static aleat_status take_features(const aleat_runner *r, int64_t j, int64_t m,
                                  const uint8_t *picture, aleat_error *err)
{
    const aleat_run_shape *s = r->shape;
    const aleat_images image = {.n = 1,
                                .height = s->image_height,
                                .width = s->image_width,
                                .channels = s->image_channels,
                                .bytes = picture};
    return aleat_features_run(r->job->options->features, &image, features_of(r, j, m), NULL, err);
}

static aleat_status hear_cancel(void *ctx, int index, const float *x, int64_t n, aleat_error *err)
{
    (void)index;
    (void)x;
    (void)n;
    return aleat_runner_tell(ctx, -1, err);
}

// Images of the same start by network number m > 0 of those drawn.
static aleat_status sample_drawn(const aleat_runner *r, const aleat_sample_request *request, int m,
                                 aleat_error *err)
{
    const aleat_rng_key key = {
        .seed = r->job->options->seed, .copy = (uint32_t)m, .purpose = ALEAT_FOR_WEIGHTS};
    aleat_sample_request again = *request;
    again.hooks.evaluated = NULL;
    again.hooks.advanced = hear_cancel;
    if (r->torch)
        aleat_noise_torch_restart(r->torch, request->images[0]);
    aleat_status st = aleat_posterior_draw(r->job->posterior, &key, err);
    if (!st)
        st = aleat_sampler_run(r->drawn_sampler, &again, r->drawn_x, err);
    for (int64_t j = 0; !st && j < r->rows; j++) {
        const float *x = r->drawn_x + j * aleat_runner_count(r);
        if (r->latent)
            st = aleat_run_latent_decode(r->latent, request->images[j], x, r->image, NULL, NULL,
                                         err);
        aleat_image_of_floats(r->drawn_picture, r->latent ? r->image : x, r->shape->image_channels,
                              r->shape->image_height, r->shape->image_width);
        if (!st)
            st = take_features(r, j, m, r->drawn_picture, err);
    }
    return st;
}

// The batch's scores; its own images, by the trained weights, are among the compared ones.
aleat_status aleat_runner_score_drawn(const aleat_runner *r, const aleat_sample_request *request,
                                      aleat_error *err)
{
    const int64_t dim = aleat_features_describe(r->job->options->features).dim;
    const int draws = r->job->observe.estimator.copies, n_signals = r->shape->n_signals;
    aleat_status st = ALEAT_OK;
    for (int64_t j = 0; !st && j < r->rows; j++)
        st = take_features(r, j, 0, r->shard->images + (r->row + j) * aleat_runner_image_count(r),
                           err);
    for (int m = 1; !st && m <= draws; m++)
        st = sample_drawn(r, request, m, err);
    for (int64_t j = 0; !st && j < r->rows; j++)
        r->shard->signals[(r->row + j) * n_signals + n_signals - 1] =
            aleat_feature_entropy(features_of(r, j, 0), 1 + draws, dim, ALEAT_FEATURE_VARIANCE);
    return st;
}

aleat_status aleat_runner_make_drawn(aleat_runner *r, const aleat_denoiser *d, aleat_time_map map,
                                     aleat_error *err)
{
    const aleat_run_job *job = r->job;
    const aleat_run_shape *s = r->shape;
    size_t elements;
    aleat_status st = aleat_drawn_denoiser(&r->drawn, d, job->posterior, s->height, s->width, err);
    if (!st)
        st = aleat_sampler_new(&r->drawn_sampler, job->plan, &r->drawn, map, job->batch, s->height,
                               s->width, err);
    if (st)
        return st;
    r->drawn_x = aleat_calloc((size_t)(job->batch * aleat_runner_count(r)), sizeof *r->drawn_x);
    r->drawn_picture = aleat_calloc((size_t)aleat_runner_image_count(r), sizeof *r->drawn_picture);
    if (aleat_size_mul((size_t)job->batch * (1 + (size_t)job->observe.estimator.copies),
                       (size_t)aleat_features_describe(job->options->features).dim, &elements))
        r->drawn_features = aleat_calloc(elements, sizeof *r->drawn_features);
    return r->drawn_x && r->drawn_picture && r->drawn_features
               ? ALEAT_OK
               : aleat_fail_memory(err, "images of drawn weights");
}
