#include "train/learner.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "graph/plan.h"

/** Numbers [begin, end) of all parameters; none where the gradient is of something else. */
typedef struct place {
    int64_t begin, end;
} place;

struct aleat_learner {
    aleat_problem problem;
    int64_t batch;
    aleat_params *params;
    aleat_model_files model;
    aleat_engine *engine;
    aleat_plan *plan;
    aleat_value cotangent;
    int64_t in_size, out_size; // of one image
    aleat_value *grads;        // of each parameter of the graph
    place *places;             // of each of them in the gradient of all parameters
    int64_t *order;            // the images in this epoch's order
    int64_t epoch;             // whose order that is, or -1
    int64_t *images;           // [batch] of the present step
    float *target;             // [batch, out_size]
    double *losses;            // [batch]
    uint32_t *slots;           // 0, 1, ...: the numbers of images in a step
};

void aleat_learner_free(aleat_learner *l)
{
    if (!l)
        return;
    aleat_plan_free(l->plan);
    aleat_engine_free(l->engine);
    aleat_model_files_close(&l->model);
    aleat_free(l->grads);
    aleat_free(l->places);
    aleat_free(l->order);
    aleat_free(l->images);
    aleat_free(l->target);
    aleat_free(l->losses);
    aleat_free(l->slots);
    aleat_free(l);
}

/* ---- making ---------------------------------------------------------------------------------- */

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
        .threads = l->problem.threads, .precision = l->problem.precision, .training = true};
    if (!st)
        st = aleat_engine_new(&l->engine, graph, &engine, err);
    if (!st)
        st = aleat_plan_new(&l->plan, l->engine, l->batch, wanted, n_wanted, l->cotangent, err);
done:
    aleat_free(wanted);
    return st;
}

/** Several parameters of the graph may have one place. */
static aleat_status find_places(aleat_learner *l, aleat_error *err)
{
    const int64_t n = aleat_graph_params(l->model.graph);
    l->places = aleat_calloc((size_t)n + 1, sizeof *l->places);
    if (!l->places)
        return aleat_fail_memory(err, "a network's gradient");
    for (aleat_param i = 0; i < n; i++) {
        aleat_shape shape;
        const char *name = aleat_graph_tensor(l->model.graph, i, &shape);
        if (!name || l->grads[i] == ALEAT_NO_VALUE)
            continue;
        const int64_t tensor = aleat_params_find(l->params, name);
        l->places[i] = (place){l->params->offsets[tensor], l->params->offsets[tensor + 1]};
    }
    return ALEAT_OK;
}

static aleat_status make_buffers(aleat_learner *l, aleat_error *err)
{
    const size_t batch = (size_t)l->batch;
    const aleat_dims in = aleat_graph_dims(l->model.graph, l->model.network.x);
    const aleat_dims out = aleat_graph_dims(l->model.graph, l->model.network.out);
    l->in_size = in.h * in.w * in.c;
    l->out_size = out.h * out.w * out.c;
    l->order = aleat_alloc((size_t)l->problem.data->count * sizeof *l->order);
    l->images = aleat_calloc(batch, sizeof *l->images);
    l->target = aleat_calloc(batch * (size_t)l->out_size, sizeof *l->target);
    l->losses = aleat_calloc(batch, sizeof *l->losses);
    l->slots = aleat_calloc(batch, sizeof *l->slots);
    if (!l->order || !l->images || !l->target || !l->losses || !l->slots)
        return aleat_fail_memory(err, "a batch");
    for (size_t b = 0; b < batch; b++)
        l->slots[b] = (uint32_t)b;
    return ALEAT_OK;
}

aleat_status aleat_learner_new(aleat_learner **out, const char *config_path, aleat_params *params,
                               const aleat_problem *problem, int64_t batch, aleat_error *err)
{
    *out = NULL;
    aleat_weights *weights = NULL;
    aleat_learner *l = aleat_calloc(1, sizeof *l);
    if (!l)
        return aleat_fail_memory(err, "a training");
    l->problem = *problem;
    l->batch = batch;
    l->params = params;
    l->epoch = -1;
    aleat_status st = aleat_params_weights(params, ALEAT_VALUES, &weights, err);
    if (!st)
        st = aleat_model_files_build(&l->model, config_path, weights, NULL, err);
    if (!st)
        st = problem->task->check(problem, &l->model.info, err);
    if (!st)
        st = make_plan(l, err);
    if (!st)
        st = find_places(l, err);
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
    const int64_t count = l->problem.data->count, epoch = number / count;
    if (epoch != l->epoch) {
        const aleat_rng_key key = {
            .seed = l->problem.seed, .image = (uint32_t)epoch, .purpose = ALEAT_FOR_SUBSET};
        aleat_rng_permutation(&key, l->order, count);
        l->epoch = epoch;
    }
    return l->order[number % count];
}

typedef struct batch_job {
    aleat_learner *l;
    int64_t step;
} batch_job;

/** Part `b` of an input; NULL if the network has none of this kind. */
static float *input_of(const aleat_learner *l, aleat_value value, int64_t b, int64_t size)
{
    return value == ALEAT_NO_VALUE ? NULL : aleat_plan_data(l->plan, value) + b * size;
}

static void feed_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const batch_job *job = ctx;
    const aleat_learner *l = job->l;
    const aleat_network *net = &l->model.network;
    for (int64_t b = begin; b < end; b++) {
        const aleat_example example = {.step = job->step,
                                       .place = b,
                                       .image = l->images[b],
                                       .x = input_of(l, net->x, b, l->in_size),
                                       .t = input_of(l, net->t, b, 1),
                                       .label = input_of(l, net->label, b, 1),
                                       .target = l->target + b * l->out_size};
        l->problem.task->feed(&l->problem, &l->model.info, &example);
    }
}

/** Losses, and their derivative as the cotangent of the output. */
static void compare_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const batch_job *job = ctx;
    const aleat_learner *l = job->l;
    const int64_t size = l->out_size;
    const float *out = aleat_plan_data(l->plan, l->model.network.out);
    float *cotangent = aleat_plan_data(l->plan, l->cotangent);
    for (int64_t b = begin; b < end; b++)
        l->losses[b] = l->problem.task->compare(out + b * size, l->target + b * size, size,
                                                l->batch, cotangent + b * size);
}

/** Numbers [begin, end) of the gradient of all parameters. */
static void gather_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const aleat_learner *l = ctx;
    float *grad = l->params->grad;
    memset(grad + begin, 0, (size_t)(end - begin) * sizeof *grad);
    for (aleat_param i = 0; i < aleat_graph_params(l->model.graph); i++) {
        const place *p = &l->places[i];
        const int64_t first = p->begin > begin ? p->begin : begin;
        const int64_t last = p->end < end ? p->end : end;
        if (first >= last)
            continue;
        const float *own = aleat_plan_data(l->plan, l->grads[i]) + (first - p->begin);
        for (int64_t j = first; j < last; j++)
            grad[j] += *own++;
    }
}

aleat_status aleat_learner_gradient(aleat_learner *l, int64_t step, double *loss, aleat_error *err)
{
    const int threads = aleat_engine_threads(l->engine);
    batch_job job = {l, step};
    for (int64_t b = 0; b < l->batch; b++)
        l->images[b] = chosen_image(l, step * l->batch + b);
    aleat_parallel_for(threads, l->batch, feed_range, &job);
    aleat_plan_dropout(l->plan, l->problem.seed, (uint32_t)step, l->slots, NULL);
    aleat_plan_run(l->plan, 0);
    aleat_parallel_for(threads, l->batch, compare_range, &job);
    aleat_plan_run(l->plan, 1);
    aleat_parallel_for(threads, aleat_params_size(l->params), gather_range, l);
    *loss = 0;
    for (int64_t b = 0; b < l->batch; b++)
        *loss += l->losses[b] / (double)l->batch;
    return isfinite(*loss) ? ALEAT_OK
                           : aleat_fail(err, ALEAT_ERR_NUMERIC, "step %lld: the loss is not finite",
                                        (long long)step);
}

aleat_status aleat_learner_refresh(aleat_learner *l, aleat_error *err)
{
    return aleat_engine_refresh(l->engine, err);
}
