#include "train/learner.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/parallel.h"
#include "base/rng.h"

/** Streams of one image of one step. */
enum { STREAM_CHOICES = 0, STREAM_NOISE = 1 };

struct aleat_learner {
    aleat_learner_options options;
    aleat_params *params;
    const aleat_dataset *data;
    const double *abar;
    int64_t train_steps;
    aleat_model_files model;
    aleat_engine *engine;
    aleat_plan *plan;
    aleat_value cotangent;
    aleat_value *grads; // of each parameter of the graph
    int64_t *order;     // the images in this epoch's order
    int64_t epoch;      // whose order that is, or -1
    float *noise;       // [batch, size], channels last
    double *losses;     // [batch]
    uint32_t *slots;    // 0, 1, ...: the numbers of images in a step
};

void aleat_learner_free(aleat_learner *l)
{
    if (!l)
        return;
    aleat_plan_free(l->plan);
    aleat_engine_free(l->engine);
    aleat_model_files_close(&l->model);
    aleat_free(l->grads);
    aleat_free(l->order);
    aleat_free(l->noise);
    aleat_free(l->losses);
    aleat_free(l->slots);
    aleat_free(l);
}

static int64_t image_size(const aleat_learner *l)
{
    const aleat_denoiser_info *info = &l->model.info;
    return info->channels * info->height * info->width;
}

/* ---- making ---------------------------------------------------------------------------------- */

static aleat_status check_sizes(const aleat_learner *l, aleat_error *err)
{
    const aleat_denoiser_info *info = &l->model.info;
    const aleat_dataset *d = l->data;
    if (info->channels != d->channels || info->height < d->height || info->width < d->width)
        return aleat_fail(err, ALEAT_ERR_SHAPE,
                          "images are %lldx%lldx%lld, the network takes %lldx%lldx%lld (height, "
                          "width, channels)",
                          (long long)d->height, (long long)d->width, (long long)d->channels,
                          (long long)info->height, (long long)info->width,
                          (long long)info->channels);
    if (info->out_channels != info->channels)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "a network with %lld output channels for %lld: a learned variance cannot "
                          "be trained",
                          (long long)info->out_channels, (long long)info->channels);
    const int64_t needed = d->classes + (l->options.label_drop > 0 ? 1 : 0);
    if (info->n_classes && (!d->labels || info->n_classes < needed))
        return aleat_fail(err, ALEAT_ERR_SHAPE,
                          "the network has %lld classes, the data set needs %lld",
                          (long long)info->n_classes, (long long)needed);
    if (l->options.label_drop > 0 && info->null_class < 0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "label dropping needs a null class ('_aleat_null_class' in the config)");
    return ALEAT_OK;
}

/** The graph's gradient and its plan. */
static aleat_status make_plan(aleat_learner *l, aleat_error *err)
{
    aleat_graph *graph = l->model.graph;
    const int64_t n_params = aleat_graph_params(graph);
    l->grads = aleat_alloc((size_t)n_params * sizeof *l->grads);
    aleat_value *wanted = aleat_alloc((size_t)(n_params + 1) * sizeof *wanted);
    aleat_status st = ALEAT_OK;
    if (!l->grads || !wanted) {
        st = aleat_fail_memory(err, "a network's gradient");
        goto done;
    }
    const aleat_value out = l->model.network.out;
    l->cotangent = aleat_graph_input(graph, "cotangent", aleat_graph_dims(graph, out));
    aleat_graph_vjp_params(graph, out, l->cotangent, l->grads);
    st = aleat_graph_check(graph, err);
    int n_wanted = 0;
    wanted[n_wanted++] = out;
    for (int64_t p = 0; p < n_params && !st; p++)
        if (l->grads[p] != ALEAT_NO_VALUE)
            wanted[n_wanted++] = l->grads[p];
    const aleat_engine_options engine = {
        .threads = l->options.threads, .precision = l->options.precision, .training = true};
    if (!st)
        st = aleat_engine_new(&l->engine, graph, &engine, err);
    if (!st)
        st = aleat_plan_new(&l->plan, l->engine, l->options.batch, wanted, n_wanted, l->cotangent,
                            err);
done:
    aleat_free(wanted);
    return st;
}

static aleat_status make_buffers(aleat_learner *l, aleat_error *err)
{
    const size_t batch = (size_t)l->options.batch;
    l->order = aleat_alloc((size_t)l->data->count * sizeof *l->order);
    l->noise = aleat_alloc(batch * (size_t)image_size(l) * sizeof *l->noise);
    l->losses = aleat_calloc(batch, sizeof *l->losses);
    l->slots = aleat_calloc(batch, sizeof *l->slots);
    if (!l->order || !l->noise || !l->losses || !l->slots)
        return aleat_fail_memory(err, "a batch");
    for (size_t b = 0; b < batch; b++)
        l->slots[b] = (uint32_t)b;
    return ALEAT_OK;
}

aleat_status aleat_learner_new(aleat_learner **out, const char *config_path, aleat_params *params,
                               const aleat_dataset *data, const double *abar, int64_t train_steps,
                               const aleat_learner_options *options, aleat_error *err)
{
    *out = NULL;
    aleat_weights *weights = NULL;
    aleat_learner *l = aleat_calloc(1, sizeof *l);
    if (!l)
        return aleat_fail_memory(err, "a training");
    l->options = *options;
    l->params = params;
    l->data = data;
    l->abar = abar;
    l->train_steps = train_steps;
    l->epoch = -1;
    aleat_status st = aleat_params_weights(params, &weights, err);
    if (!st)
        st = aleat_model_files_build(&l->model, config_path, weights, NULL, err);
    if (!st)
        st = check_sizes(l, err);
    if (!st)
        st = make_plan(l, err);
    if (!st)
        st = make_buffers(l, err);
    if (st)
        aleat_learner_free(l);
    else
        *out = l;
    return st;
}

/* ---- one batch ------------------------------------------------------------------------------- */

/** The image that place `number` of the whole training shows. Places ascend, so the order of an
 * epoch is made once. */
static int64_t chosen_image(aleat_learner *l, int64_t number)
{
    const int64_t epoch = number / l->data->count;
    if (epoch != l->epoch) {
        const aleat_rng_key key = {
            .seed = l->options.seed, .image = (uint32_t)epoch, .purpose = ALEAT_FOR_SUBSET};
        aleat_rng_permutation(&key, l->order, l->data->count);
        l->epoch = epoch;
    }
    return l->order[number % l->data->count];
}

/** x_t = sqrt(abar) x_0 + sqrt(1 - abar) eps, t and the label for place `b` of the batch. */
static void feed_image(aleat_learner *l, int64_t step, int64_t b, int64_t image)
{
    const aleat_network *net = &l->model.network;
    const aleat_denoiser_info *info = &l->model.info;
    const int64_t size = image_size(l);
    float choice[3];
    aleat_rng_key key = {.seed = l->options.seed,
                         .image = (uint32_t)b,
                         .step = (uint32_t)step,
                         .copy = STREAM_CHOICES,
                         .purpose = ALEAT_FOR_TRAINING};
    aleat_rng_uniforms(&key, choice, 3);
    key.copy = STREAM_NOISE;
    aleat_rng_normals(&key, 0, l->noise + b * size, size);

    const int64_t t = (int64_t)((double)choice[0] * (double)l->train_steps);
    float *x = aleat_plan_data(l->plan, net->x) + b * size;
    aleat_dataset_image(l->data, image, l->options.flip && choice[2] < 0.5f, info->height,
                        info->width, x);
    const float signal = (float)sqrt(l->abar[t]), noise = (float)sqrt(1 - l->abar[t]);
    for (int64_t i = 0; i < size; i++)
        x[i] = signal * x[i] + noise * l->noise[b * size + i];
    aleat_plan_data(l->plan, net->t)[b] = (float)t;
    if (net->label == ALEAT_NO_VALUE)
        return;
    const bool dropped = (double)choice[1] < l->options.label_drop;
    aleat_plan_data(l->plan, net->label)[b] =
        (float)(dropped ? info->null_class : l->data->labels[image]);
}

typedef struct batch_job {
    aleat_learner *l;
    int64_t step;
    const int64_t *images;
} batch_job;

static void feed_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const batch_job *job = ctx;
    for (int64_t b = begin; b < end; b++)
        feed_image(job->l, job->step, b, job->images[b]);
}

/** Squared errors, and their derivative as the cotangent of the output. */
static void compare_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const batch_job *job = ctx;
    aleat_learner *l = job->l;
    const int64_t size = image_size(l);
    const float *out = aleat_plan_data(l->plan, l->model.network.out);
    float *cotangent = aleat_plan_data(l->plan, l->cotangent);
    const float scale = (float)(2 / ((double)size * (double)l->options.batch));
    for (int64_t b = begin; b < end; b++) {
        double sum = 0;
        for (int64_t i = b * size; i < (b + 1) * size; i++) {
            const float d = out[i] - l->noise[i];
            sum += (double)d * (double)d;
            cotangent[i] = scale * d;
        }
        l->losses[b] = sum / (double)size;
    }
}

static void gather_gradient(aleat_learner *l)
{
    aleat_params *p = l->params;
    memset(p->grad, 0, (size_t)aleat_params_size(p) * sizeof *p->grad);
    for (aleat_param i = 0; i < aleat_graph_params(l->model.graph); i++) {
        aleat_shape shape;
        const char *name = aleat_graph_tensor(l->model.graph, i, &shape);
        if (!name || l->grads[i] == ALEAT_NO_VALUE)
            continue;
        const int64_t tensor = aleat_params_find(p, name);
        const float *grad = aleat_plan_data(l->plan, l->grads[i]);
        for (int64_t j = p->offsets[tensor]; j < p->offsets[tensor + 1]; j++)
            p->grad[j] += *grad++;
    }
}

aleat_status aleat_learner_gradient(aleat_learner *l, int64_t step, double *loss, aleat_error *err)
{
    const int64_t batch = l->options.batch;
    const int threads = aleat_engine_threads(l->engine);
    int64_t *images = aleat_alloc((size_t)batch * sizeof *images);
    if (!images)
        return aleat_fail_memory(err, "a batch");
    for (int64_t b = 0; b < batch; b++)
        images[b] = chosen_image(l, step * batch + b);
    batch_job job = {l, step, images};
    aleat_parallel_for(threads, batch, feed_range, &job);
    aleat_free(images);
    aleat_plan_dropout(l->plan, l->options.seed, (uint32_t)step, l->slots);
    aleat_plan_run(l->plan, 0);
    aleat_parallel_for(threads, batch, compare_range, &job);
    aleat_plan_run(l->plan, 1);
    gather_gradient(l);
    *loss = 0;
    for (int64_t b = 0; b < batch; b++)
        *loss += l->losses[b] / (double)batch;
    return isfinite(*loss) ? ALEAT_OK
                           : aleat_fail(err, ALEAT_ERR_NUMERIC, "step %lld: the loss is not finite",
                                        (long long)step);
}

aleat_status aleat_learner_refresh(aleat_learner *l, aleat_error *err)
{
    return aleat_engine_refresh(l->engine, err);
}
