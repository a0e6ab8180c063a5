/* aleat_model_laplace(): the curvature of a model's last layer, from data, and its file. */
#include "aleat/laplace.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "aleat/train.h"
#include "api/laplace_file.h"
#include "api/schedule.h"
#include "base/alloc.h"
#include "base/error.h"
#include "samplers/prediction.h"
#include "samplers/schedule.h"
#include "train/dataset.h"
#include "train/task.h"

#define FORMAT         "aleat laplace 1"
#define DEFAULT_IMAGES 1000
#define DEFAULT_BATCH  16

// A fit while it is made.
typedef struct fit {
    const aleat_model *model;
    aleat_sampler_config config;
    double *abar; // [train_steps]
    aleat_dataset data;
    int64_t *order; // [data.count]
    int64_t n, batch;
    uint64_t seed;
    aleat_head *head;
    aleat_curvature curvature;
    // [batch, ...]
    float *x, *target, *t, *raw, *features, *pixels;
    int32_t *labels;
    double loss;
} fit;

static void clear(fit *f)
{
    aleat_sampler_config_clear(&f->config);
    aleat_dataset_clear(&f->data);
    aleat_head_free(f->head);
    aleat_curvature_clear(&f->curvature);
    void *const arrays[] = {f->abar, f->order,    f->x,      f->target, f->t,
                            f->raw,  f->features, f->pixels, f->labels};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        aleat_free(arrays[i]);
}

/* ---- making ready ---------------------------------------------------------------------------- */

static aleat_status check_model(const aleat_model *m, aleat_error *err)
{
    const aleat_denoiser_info *info = &m->denoiser.info;
    const aleat_status st = aleat_model_check_denoiser(m, err);
    if (st)
        return st;
    if (info->context_tokens || info->pooled_dim || info->takes_guidance)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: is conditioned on texts, which data sets do not have", m->path);
    if (!m->denoiser.ops->features)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: does not end in a convolution or linear layer", m->path);
    return ALEAT_OK;
}

static aleat_status read_schedule(fit *f, const aleat_laplace_options *o, aleat_error *err)
{
    const aleat_status st =
        aleat_schedule_of(&f->config, &f->model->files, f->model->path, o->schedule, NULL, err);
    if (st)
        return st;
    if (f->config.prediction == ALEAT_PREDICTS_FLOW)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: is a flow model; its last layer has no fit here", f->model->path);
    const int n = f->config.train_steps;
    double *betas = aleat_calloc((size_t)n, sizeof *betas);
    f->abar = aleat_calloc((size_t)n, sizeof *f->abar);
    const bool ok = betas && f->abar;
    if (ok) {
        aleat_schedule_betas(&f->config, betas);
        aleat_schedule_products(betas, n, f->abar);
    }
    aleat_free(betas);
    return ok ? ALEAT_OK : aleat_fail_memory(err, "noise schedule");
}

static aleat_status read_data(fit *f, const char *path, const aleat_laplace_options *o,
                              aleat_error *err)
{
    const aleat_denoiser_info *info = &f->model->denoiser.info;
    int format = 0;
    aleat_status st =
        aleat_name_find(&format, aleat_data_format_name, o->data_format, "kind of data sets", err);
    const aleat_dataset_options options = {
        .kind = !st && format ? &aleat_dataset_kinds()[format - 1] : NULL,
        .size = o->size,
        .channels = info->channels == 1 || info->channels == 3 ? info->channels : 0};
    if (!st)
        st = aleat_dataset_open(&f->data, path, ALEAT_DATA_TRAIN, &options, err);
    if (!st)
        st = aleat_task_check_images(&f->data, info, err);
    if (st)
        return st;
    const int64_t count = f->data.count;
    f->n = o->n ? o->n : count < DEFAULT_IMAGES ? count : DEFAULT_IMAGES;
    if (f->n < 1 || f->n > count)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: %" PRId64 " images are asked of %" PRId64,
                          path, f->n, count);
    if (info->n_classes && (!f->data.labels || f->data.classes > info->n_classes))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: the model is told one of %" PRId64 " classes, the images have %d",
                          path, info->n_classes, f->data.labels ? f->data.classes : 0);
    f->order = aleat_calloc((size_t)count, sizeof *f->order);
    if (!f->order)
        return aleat_fail_memory(err, "the order of the images");
    const aleat_rng_key key = {.seed = f->seed, .purpose = ALEAT_FOR_SUBSET};
    aleat_rng_permutation(&key, f->order, count);
    return ALEAT_OK;
}

static aleat_status make_arrays(fit *f, aleat_error *err)
{
    const aleat_denoiser_info *info = &f->model->denoiser.info;
    const size_t n = (size_t)f->batch, plane = (size_t)(info->height * info->width);
    const size_t count = plane * (size_t)info->channels, out = plane * (size_t)info->out_channels;
    f->x = aleat_calloc(n * count, sizeof *f->x);
    f->target = aleat_calloc(n * count, sizeof *f->target);
    f->t = aleat_calloc(n, sizeof *f->t);
    f->raw = aleat_calloc(n * out, sizeof *f->raw);
    f->features = aleat_calloc(n * (size_t)info->features, sizeof *f->features);
    f->pixels = aleat_calloc(count, sizeof *f->pixels);
    f->labels = aleat_calloc(n, sizeof *f->labels);
    if (!f->x || !f->target || !f->t || !f->raw || !f->features || !f->pixels || !f->labels)
        return aleat_fail_memory(err, "a batch of images");
    aleat_status st =
        aleat_head_new(&f->head, f->model->files.graph, f->model->files.network.out,
                       aleat_network_denoiser_stats(&f->model->denoiser).threads, err);
    if (!st)
        st = aleat_curvature_init(&f->curvature, f->head, err);
    return st;
}

/* ---- fitting --------------------------------------------------------------------------------- */

// Row `row` of the batch = image number `i` of the fit, noised.
static void feed(fit *f, int64_t row, int64_t i)
{
    const aleat_denoiser_info *info = &f->model->denoiser.info;
    const int64_t plane = info->height * info->width, count = info->channels * plane;
    float *x = f->x + row * count, *eps = f->target + row * count;
    const int64_t image = f->order[i];
    // by the image's own number: a fit of more images holds that of fewer
    aleat_rng_key key = {.seed = f->seed, .image = (uint32_t)image, .purpose = ALEAT_FOR_DATA};
    const int t = (int)aleat_rng_below(&key, 0, (uint64_t)f->config.train_steps);
    const double alpha = sqrt(f->abar[t]), sigma = sqrt(1 - f->abar[t]);
    key.copy = 1;
    aleat_rng_normals(&key, 0, eps, count);
    aleat_dataset_image(&f->data, image, false, info->height, info->width, f->pixels);
    for (int64_t p = 0; p < plane; p++)
        for (int64_t c = 0; c < info->channels; c++)
            x[c * plane + p] = f->pixels[p * info->channels + c];
    for (int64_t j = 0; j < count; j++) {
        const float x0 = x[j], noise = eps[j];
        x[j] = (float)(alpha * (double)x0 + sigma * (double)noise);
        aleat_prediction_target(f->config.prediction, alpha, sigma, &x0, &noise, &eps[j], 1);
    }
    f->t[row] = (float)(f->model->files.time_scale * (t + f->model->files.time_offset));
    if (f->data.labels)
        f->labels[row] = f->data.labels[image];
}

// The curvature of one row, whose output is there.
static void take(fit *f, int64_t row)
{
    const aleat_denoiser_info *info = &f->model->denoiser.info;
    const int64_t plane = info->height * info->width, count = info->channels * plane;
    const int64_t out = info->out_channels * plane;
    float *raw = f->raw + row * out;
    for (int64_t j = 0; j < out; j++) // a learned variance has no target
        raw[j] = j < count ? raw[j] - f->target[row * count + j] : 0;
    for (int64_t j = 0; j < count; j++)
        f->loss += (double)raw[j] * (double)raw[j] / (double)(count * f->n);
    aleat_curvature_add(&f->curvature, f->head, f->features + row * info->features, raw);
}

static aleat_status fit_all(fit *f, const aleat_laplace_options *o, aleat_error *err)
{
    const aleat_denoiser *d = &f->model->denoiser;
    for (int64_t first = 0; first < f->n; first += f->batch) {
        const int64_t rows = f->n - first < f->batch ? f->n - first : f->batch;
        for (int64_t r = 0; r < rows; r++)
            feed(f, r, first + r);
        const aleat_batch batch = {.n = rows,
                                   .height = d->info.height,
                                   .width = d->info.width,
                                   .x = f->x,
                                   .t = f->t,
                                   .condition = {.labels = d->info.n_classes ? f->labels : NULL}};
        const aleat_status st = d->ops->features(d->self, &batch, f->features, f->raw, err);
        if (st)
            return st;
        for (int64_t r = 0; r < rows; r++)
            take(f, r);
        if (o->progress && !o->progress(o->ctx, (double)(first + rows), (double)f->n))
            return aleat_fail(err, ALEAT_ERR_CANCELLED, "stopped: nothing was written");
    }
    return isfinite(f->loss) ? ALEAT_OK
                             : aleat_fail(err, ALEAT_ERR_NUMERIC, "the loss is not finite");
}

/* ---- the file -------------------------------------------------------------------------------- */

static json_t *header_of(const fit *f)
{
    char weights[ALEAT_SHA256_TEXT], data[ALEAT_SHA256_TEXT];
    aleat_last_layer last;
    if (aleat_graph_last_layer(&last, f->model->files.graph, f->model->files.network.out, NULL))
        return NULL;
    aleat_weights_sha256(f->model->files.weights, weights);
    aleat_dataset_sha256(&f->data, data);
    return json_pack("{ss ss ss ss so so so ss}", "format", FORMAT, "weights_sha256", weights,
                     "data_sha256", data, "layer", last.name ? last.name : "last", "images",
                     json_sprintf("%" PRId64, f->n), "seed", json_sprintf("%" PRIu64, f->seed),
                     "prior_precision", json_sprintf("%g", ALEAT_PRIOR_PRECISION), "prediction",
                     aleat_prediction_name(f->config.prediction));
}

static aleat_status write_file(const fit *f, const char *path, aleat_error *err)
{
    const aleat_curvature *h = &f->curvature;
    aleat_last_layer last;
    aleat_status st =
        aleat_graph_last_layer(&last, f->model->files.graph, f->model->files.network.out, err);
    if (st)
        return st;
    const aleat_shape one = aleat_shape_of(1, h->n_biases);
    const aleat_named_array arrays[] = {
        {"weight", aleat_tensor_view(ALEAT_F64, &last.weight, h->weight)},
        {"bias", aleat_tensor_view(ALEAT_F64, &one, h->bias)}};
    json_t *header = header_of(f);
    st = header ? aleat_safetensors_write_with(path, arrays, h->n_biases ? 2 : 1, header, err)
                : aleat_fail_memory(err, path);
    json_decref(header);
    return st;
}

static void tell(const fit *f, aleat_laplace_result *result)
{
    const aleat_curvature *h = &f->curvature;
    *result = (aleat_laplace_result){
        .images = f->n, .weights = h->n_weights, .biases = h->n_biases, .loss = f->loss};
    const double all = (double)(h->n_weights + h->n_biases);
    for (int64_t j = 0; j < h->n_weights + h->n_biases; j++) {
        const double value = j < h->n_weights ? h->weight[j] : h->bias[j - h->n_weights];
        result->mean_precision += (value + ALEAT_PRIOR_PRECISION) / all;
        result->share_of_prior += (value < ALEAT_PRIOR_PRECISION) / all;
    }
}

aleat_status aleat_model_laplace(aleat_model *model, const char *data, const char *path,
                                 const aleat_laplace_options *options, aleat_laplace_result *result,
                                 aleat_error *err)
{
    const aleat_laplace_options defaults = {0};
    if (!options)
        options = &defaults;
    fit f = {.model = model,
             .seed = options->seed,
             .batch = options->batch > 0 ? options->batch : DEFAULT_BATCH};
    aleat_status st = check_model(model, err);
    if (!st)
        st = read_schedule(&f, options, err);
    if (!st)
        st = read_data(&f, data, options, err);
    if (!st)
        st = make_arrays(&f, err);
    if (!st)
        st = fit_all(&f, options, err);
    if (!st)
        st = write_file(&f, path, err);
    if (!st && result)
        tell(&f, result);
    clear(&f);
    return st;
}

/* ---- reading it ------------------------------------------------------------------------------ */

static aleat_status check_header(const aleat_model *model, const char *path, aleat_error *err)
{
    char ours[ALEAT_SHA256_TEXT];
    json_t *header = NULL;
    aleat_status st = aleat_safetensors_metadata(&header, path, err);
    if (st)
        return st;
    const char *format = json_string_value(json_object_get(header, "format"));
    const char *theirs = json_string_value(json_object_get(header, "weights_sha256"));
    aleat_weights_sha256(model->files.weights, ours);
    if (!format || strcmp(format, FORMAT) != 0 || !theirs) {
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: was not written by 'aleat laplace'", path);
    } else if (strcmp(theirs, ours) != 0) {
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT,
                        "%s: was fitted to the weights with hash %.10s, those of %s have %.10s",
                        path, theirs, model->path, ours);
        aleat_hint(err, "fit it again: aleat laplace %s DATA", model->path);
    }
    json_decref(header);
    return st;
}

// The values of a tensor in double; `count` of them, or an error.
static aleat_status read_tensor(double *out, aleat_weights *weights, const char *name,
                                int64_t count, aleat_error *err)
{
    const aleat_weight *w = aleat_weights_find(weights, name);
    int64_t have = -1;
    if (w)
        (void)aleat_shape_count(&w->shape, &have);
    if (count == 0 && !w)
        return ALEAT_OK;
    if (!w || have != count || w->dtype != ALEAT_F64 || !w->contiguous)
        return aleat_fail(err, ALEAT_ERR_SHAPE,
                          "%s: '%s' is not %" PRId64 " numbers of type F64, as many as the last "
                          "layer has",
                          aleat_weights_path(weights), name, count);
    memcpy(out, w->data, (size_t)count * sizeof *out);
    return ALEAT_OK;
}

aleat_status aleat_laplace_open(aleat_posterior **out, const aleat_model *model, const char *path,
                                aleat_error *err)
{
    const aleat_graph *graph = model->files.graph;
    const aleat_value y = model->files.network.out;
    const int threads = aleat_network_denoiser_stats(&model->denoiser).threads;
    aleat_weights *weights = NULL;
    aleat_head *head = NULL;
    aleat_curvature h = {0};
    *out = NULL;
    aleat_status st = check_header(model, path, err);
    if (!st)
        st = aleat_weights_open(&weights, path, err);
    if (!st)
        st = aleat_head_new(&head, graph, y, threads, err);
    if (!st)
        st = aleat_curvature_init(&h, head, err);
    if (!st)
        st = read_tensor(h.weight, weights, "weight", h.n_weights, err);
    if (!st)
        st = read_tensor(h.bias, weights, "bias", h.n_biases, err);
    if (!st)
        st = aleat_posterior_new(out, graph, y, &h, threads, err);
    aleat_curvature_clear(&h);
    aleat_head_free(head);
    aleat_weights_free(weights);
    return st;
}
