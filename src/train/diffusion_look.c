/* A diffusion network seen from outside while it is trained: loss on held-out images, samples. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/rng.h"
#include "denoiser/network.h"
#include "io/image_convert.h"
#include "plot/canvas.h"
#include "samplers/sampler.h"
#include "train/diffusion.h"

enum {
    BATCH = 16,
    MOST_VALIDATED = 1024, // held-out images: a validation costs about as much as ten steps
    MOST_COLUMNS = 16,     // of a picture: one for each class if there are no more
    COLUMNS = 8,
    ROWS = 4
};
enum { STREAM_TIME = 0, STREAM_NOISE = 1 };

/** The averaged weights as a denoiser, made anew each time: what it takes is seconds of training at
 * most, and no memory stays occupied. */
typedef struct average_network {
    aleat_model_files files;
    aleat_denoiser denoiser;
} average_network;

static void close_average(average_network *net)
{
    aleat_denoiser_destroy(&net->denoiser);
    aleat_model_files_close(&net->files);
}

static aleat_status open_average(average_network *net, const aleat_problem *p,
                                 const aleat_trained *trained, aleat_error *err)
{
    aleat_weights *weights = NULL;
    memset(net, 0, sizeof *net);
    aleat_status st = aleat_params_weights(trained->params, ALEAT_AVERAGE, &weights, err);
    if (!st)
        st = aleat_model_files_build(&net->files, trained->config_path, weights, NULL, err);
    if (st)
        return st;
    const aleat_network_spec spec = {.graph = net->files.graph,
                                     .x = net->files.network.x,
                                     .t = net->files.network.t,
                                     .label = net->files.network.label,
                                     .out = net->files.network.out,
                                     .info = net->files.info,
                                     .engine = {.threads = p->threads, .precision = p->precision},
                                     .max_images = BATCH};
    st = aleat_network_denoiser(&net->denoiser, &spec, err);
    if (st)
        close_average(net);
    return st;
}

/* ---- held-out images ------------------------------------------------------------------------- */

typedef struct validation_batch {
    float *image, *x, *target, *out; // [size]; [BATCH, size] channels first
    float t[BATCH];
    int32_t labels[BATCH];
} validation_batch;

static void to_channels_first(float *dst, const float *src, int64_t channels, int64_t pixels)
{
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t c = 0; c < channels; c++)
            dst[c * pixels + p] = src[p * channels + c];
}

/** Place `b` of a batch: image `i` of `n`, which are spread evenly over the held-out ones. */
static void feed_held_out(const aleat_problem *p, const aleat_dataset *held,
                          const aleat_denoiser_info *info, validation_batch *batch, int64_t b,
                          int64_t i, int64_t n)
{
    const int64_t pixels = info->height * info->width, size = info->channels * pixels;
    const int64_t image = i * held->count / n;
    aleat_rng_key key = {
        .seed = p->seed, .image = (uint32_t)i, .copy = STREAM_TIME, .purpose = ALEAT_FOR_DATA};
    float u;
    aleat_rng_uniforms(&key, &u, 1);
    key.copy = STREAM_NOISE;
    aleat_rng_normals(&key, 0, batch->target + b * size, size);
    const aleat_noising at = aleat_noising_of(p, (double)u);
    aleat_dataset_image(held, image, false, info->height, info->width, batch->image);
    to_channels_first(batch->x + b * size, batch->image, info->channels, pixels);
    aleat_noise_and_target(p, &at, batch->x + b * size, batch->target + b * size, size);
    batch->t[b] = (float)at.t;
    batch->labels[b] = held->labels ? held->labels[image] : 0;
}

static aleat_status measure(const aleat_problem *p, average_network *net, const aleat_dataset *held,
                            validation_batch *batch, aleat_validation *out, aleat_error *err)
{
    const aleat_denoiser_info *info = &net->files.info;
    const int64_t n = held->count < MOST_VALIDATED ? held->count : MOST_VALIDATED;
    const int64_t size = info->channels * info->height * info->width;
    double mean = 0, m2 = 0;
    for (int64_t first = 0; first < n; first += BATCH) {
        const int64_t count = n - first < BATCH ? n - first : BATCH;
        for (int64_t b = 0; b < count; b++)
            feed_held_out(p, held, info, batch, b, first + b, n);
        const aleat_batch in = {.n = count,
                                .height = info->height,
                                .width = info->width,
                                .x = batch->x,
                                .t = batch->t,
                                .condition = {.labels = info->n_classes ? batch->labels : NULL}};
        const aleat_status st = aleat_denoiser_predict(&net->denoiser, &in, batch->out, err);
        if (st)
            return st;
        for (int64_t b = 0; b < count; b++) {
            double sum = 0;
            for (int64_t i = b * size; i < (b + 1) * size; i++) {
                const double d = (double)batch->out[i] - (double)batch->target[i];
                sum += d * d;
            }
            const double loss = sum / (double)size, before = loss - mean; // Welford
            mean += before / (double)(first + b + 1);
            m2 += before * (loss - mean);
        }
    }
    *out = (aleat_validation){.accuracy = NAN,
                              .loss = mean,
                              .standard_error = n > 1 ? sqrt(m2 / (double)(n - 1) / (double)n) : 0,
                              .images = n};
    return ALEAT_OK;
}

aleat_status aleat_diffusion_validate(const aleat_problem *p, const aleat_trained *trained,
                                      const aleat_dataset *held_out, aleat_validation *out,
                                      aleat_error *err)
{
    average_network net;
    validation_batch batch = {0};
    aleat_status st = open_average(&net, p, trained, err);
    if (st)
        return st;
    const aleat_denoiser_info *info = &net.files.info;
    const size_t size = (size_t)(info->channels * info->height * info->width);
    batch.image = aleat_calloc(size, sizeof(float));
    batch.x = aleat_calloc(BATCH * size, sizeof(float));
    batch.target = aleat_calloc(BATCH * size, sizeof(float));
    batch.out = aleat_calloc(BATCH * size, sizeof(float));
    st = batch.image && batch.x && batch.target && batch.out
             ? measure(p, &net, held_out, &batch, out, err)
             : aleat_fail_memory(err, "a validation");
    aleat_free(batch.image);
    aleat_free(batch.x);
    aleat_free(batch.target);
    aleat_free(batch.out);
    close_average(&net);
    return st;
}

/* ---- samples --------------------------------------------------------------------------------- */

/** Samples the images [first, first + n) and pastes them onto the sheet, `columns` in a row. */
static aleat_status sample_batch(const aleat_problem *p, const average_network *net,
                                 aleat_sampler *sampler, float *x, aleat_image *picture,
                                 aleat_image *sheet, int columns, int first, int n,
                                 aleat_error *err)
{
    uint32_t numbers[BATCH];
    int32_t labels[BATCH];
    const aleat_denoiser_info *info = &net->files.info;
    const int64_t size = info->channels * info->height * info->width;
    for (int i = 0; i < n; i++) {
        numbers[i] = (uint32_t)(first + i);
        labels[i] = p->data->classes ? (int32_t)((first + i) % p->data->classes) : 0;
    }
    const aleat_sample_request request = {.n = n,
                                          .images = numbers,
                                          .condition = {.labels = info->n_classes ? labels : NULL},
                                          .noise = aleat_noise_philox(p->seed)};
    const aleat_status st = aleat_sampler_run(sampler, &request, x, err);
    const int factor = aleat_enlargement(4 * info->width, 4 * info->height);
    for (int i = 0; i < n && !st; i++) {
        aleat_image_of_floats(picture->pixels, x + i * size, info->channels, info->height,
                              info->width);
        aleat_canvas_picture(sheet, (first + i) % columns * info->width * factor,
                             (first + i) / columns * info->height * factor, picture, factor);
    }
    return st;
}

static aleat_status draw_samples(const aleat_problem *p, average_network *net, const char *path,
                                 aleat_error *err)
{
    const aleat_denoiser_info *info = &net->files.info;
    const aleat_time_map map = {net->files.time_scale,
                                net->files.time_scale * net->files.time_offset};
    const int columns =
        p->data->classes > 1 && p->data->classes <= MOST_COLUMNS ? p->data->classes : COLUMNS;
    const int factor = aleat_enlargement(4 * info->width, 4 * info->height);
    const size_t size = (size_t)(info->channels * info->height * info->width);
    const aleat_rgb white = {255, 255, 255};
    aleat_image sheet = {0}, picture = {.width = info->width,
                                        .height = info->height,
                                        .channels = (int)info->channels,
                                        .pixels = aleat_alloc(size)};
    aleat_sampler *sampler = NULL;
    float *x = aleat_calloc(BATCH * size, sizeof *x);
    aleat_status st = x && picture.pixels ? ALEAT_OK : aleat_fail_memory(err, path);
    if (!st)
        st = aleat_canvas_new(&sheet, columns * info->width * factor, ROWS * info->height * factor,
                              white, err);
    if (!st)
        st = aleat_sampler_new(&sampler, p->sample, &net->denoiser, map, BATCH, info->height,
                               info->width, err);
    const int n = columns * ROWS;
    for (int first = 0; first < n && !st; first += BATCH)
        st = sample_batch(p, net, sampler, x, &picture, &sheet, columns, first,
                          n - first < BATCH ? n - first : BATCH, err);
    if (!st)
        st = aleat_png_write(path, &sheet, NULL, 0, err);
    aleat_sampler_free(sampler);
    aleat_image_clear(&sheet);
    aleat_image_clear(&picture);
    aleat_free(x);
    return st;
}

aleat_status aleat_diffusion_picture(const aleat_problem *p, const aleat_trained *trained,
                                     const char *path, aleat_error *err)
{
    average_network net;
    if (p->data->channels != 1 && p->data->channels != 3)
        return ALEAT_OK; // not pixels: nothing to see
    aleat_status st = open_average(&net, p, trained, err);
    if (st)
        return st;
    st = draw_samples(p, &net, path, err);
    close_average(&net);
    return st;
}
