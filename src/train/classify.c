/*
 * Classification of clean images: cross-entropy of the network's logits and the image's class. The
 * network's features then serve to measure distances between sets of images.
 */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/rng.h"
#include "train/task.h"

static aleat_status adapt(const aleat_problem *p, json_t *config, aleat_denoiser_info *info,
                          aleat_error *err)
{
    if (!p->data->classes)
        return ALEAT_OK; // check() says it better
    info->out_channels = p->data->classes;
    return json_object_set_new(config, "num_classes", json_integer(p->data->classes))
               ? aleat_fail_memory(err, "the network's configuration")
               : ALEAT_OK;
}

static aleat_status check(const aleat_problem *p, const aleat_denoiser_info *info, aleat_error *err)
{
    const aleat_dataset *d = p->data;
    if (!d->labels)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "a classifier needs labels, the data set has none");
    if (info->out_channels < d->classes)
        return aleat_fail(err, ALEAT_ERR_SHAPE,
                          "the network has %lld classes, the data set needs %d",
                          (long long)info->out_channels, d->classes);
    if (p->shift >= info->height || p->shift >= info->width)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "--shift %lld moves images out of their %lldx%lld pixels",
                          (long long)p->shift, (long long)info->height, (long long)info->width);
    return aleat_task_check_images(d, info, err);
}

/** Moves an image by (dy, dx), each shorter than its side, with black around. */
static void shift_image(float *x, const aleat_denoiser_info *info, int64_t dy, int64_t dx)
{
    const int64_t h = info->height, c = info->channels, line = info->width * c;
    const int64_t to = dx > 0 ? dx * c : 0, from = dx < 0 ? -dx * c : 0, kept = line - to - from;
    for (int64_t k = 0; k < h; k++) {
        const int64_t y = dy > 0 ? h - 1 - k : k; // a line is read before it is written
        float *row = x + y * line;
        const bool inside = y - dy >= 0 && y - dy < h;
        if (inside)
            memmove(row + to, row - dy * line + from, (size_t)kept * sizeof *row);
        for (int64_t i = 0; i < line; i++)
            if (!inside || i < to || i >= to + kept)
                row[i] = -1.0f;
    }
}

static void feed(const aleat_problem *p, const aleat_denoiser_info *info, const aleat_example *e)
{
    float choice[3];
    const aleat_rng_key key = {.seed = p->seed,
                               .image = (uint32_t)e->place,
                               .step = (uint32_t)e->step,
                               .purpose = ALEAT_FOR_TRAINING};
    aleat_rng_uniforms(&key, choice, 3);
    aleat_dataset_image(p->data, e->image, p->flip && choice[2] < 0.5f, info->height, info->width,
                        e->x);
    const double places = (double)(2 * p->shift + 1);
    if (p->shift > 0)
        shift_image(e->x, info, (int64_t)((double)choice[0] * places) - p->shift,
                    (int64_t)((double)choice[1] * places) - p->shift);
    memset(e->target, 0, (size_t)info->out_channels * sizeof *e->target);
    e->target[p->data->labels[e->image]] = 1;
}

static int64_t largest(const float *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

/** -ln softmax(out)[label], and its slope over `batch`: (softmax - 1 at the label) / batch, unless
 * NULL. */
static double cross_entropy(const float *out, int64_t classes, int64_t label, int64_t batch,
                            float *slope)
{
    const float max = out[largest(out, classes)];
    double sum = 0;
    for (int64_t c = 0; c < classes; c++)
        sum += exp((double)(out[c] - max));
    for (int64_t c = 0; slope && c < classes; c++)
        slope[c] = (float)((exp((double)(out[c] - max)) / sum - (c == label)) / (double)batch);
    return log(sum) - (double)(out[label] - max);
}

/** The target is 1 at the label, else 0. */
static double compare(const float *out, const float *target, int64_t size, int64_t batch,
                      float *cotangent)
{
    return cross_entropy(out, size, largest(target, size), batch, cotangent);
}

/* ---- held-out images ------------------------------------------------------------------------- */

/** The averaged weights, ready to run. */
typedef struct average_network {
    aleat_model_files files;
    aleat_engine *engine;
    aleat_plan *plan;
} average_network;

enum { BATCH = 64 };

static void close_average(average_network *net)
{
    aleat_plan_free(net->plan);
    aleat_engine_free(net->engine);
    aleat_model_files_close(&net->files);
}

static aleat_status open_average(average_network *net, const aleat_problem *p,
                                 const aleat_trained *trained, aleat_error *err)
{
    const aleat_engine_options options = {.threads = p->threads, .precision = p->precision};
    aleat_weights *weights = NULL;
    *net = (average_network){0};
    aleat_status st = aleat_params_weights(trained->params, ALEAT_AVERAGE, &weights, err);
    if (!st)
        st = aleat_model_files_build(&net->files, trained->config_path, weights, NULL, err);
    if (!st)
        st = aleat_engine_new(&net->engine, net->files.graph, &options, err);
    if (!st)
        st = aleat_plan_new(&net->plan, net->engine, BATCH, &net->files.network.out, 1,
                            ALEAT_NO_VALUE, err);
    return st;
}

/** Of the images so far. */
typedef struct sums {
    double mean, squares; // of their losses; of the deviations from the mean, by Welford's sums
    int64_t images, right;
} sums;

static void look_at(const average_network *net, const aleat_dataset *held, int64_t first,
                    int64_t count, sums *s)
{
    const aleat_denoiser_info *info = &net->files.info;
    const int64_t size = info->height * info->width * info->channels, classes = info->out_channels;
    float *x = aleat_plan_data(net->plan, net->files.network.x);
    for (int64_t b = 0; b < count; b++)
        aleat_dataset_image(held, first + b, false, info->height, info->width, x + b * size);
    aleat_plan_run(net->plan, 0);
    for (int64_t b = 0; b < count; b++) {
        const float *out = aleat_plan_data(net->plan, net->files.network.out) + b * classes;
        const int32_t label = held->labels[first + b];
        const double loss = cross_entropy(out, classes, label, 1, NULL);
        const double before = loss - s->mean;
        s->mean += before / (double)++s->images;
        s->squares += before * (loss - s->mean);
        s->right += largest(out, classes) == label;
    }
}

static aleat_status validate(const aleat_problem *p, const aleat_trained *trained,
                             const aleat_dataset *held_out, aleat_validation *out, aleat_error *err)
{
    average_network net;
    sums s = {0};
    const int64_t n = held_out->count;
    const aleat_status st = open_average(&net, p, trained, err);
    for (int64_t first = 0; !st && first < n; first += BATCH)
        look_at(&net, held_out, first, n - first < BATCH ? n - first : BATCH, &s);
    *out = (aleat_validation){.loss = s.mean,
                              .standard_error = sqrt(s.squares / (double)n / (double)n),
                              .accuracy = (double)s.right / (double)n,
                              .images = n};
    close_average(&net);
    return st;
}

const aleat_task aleat_task_classify = {
    .name = "classify",
    .description = "the class of clean images: a network for features and scores",
    .family = "preact_resnet",
    .config_path = "config.json",
    .weights_path = "model.safetensors",
    .adapt = adapt,
    .check = check,
    .feed = feed,
    .compare = compare,
    .validate = validate,
};
