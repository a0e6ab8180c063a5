#include "denoiser/head.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/weights.h"

struct aleat_head {
    aleat_last_layer layer; // of the network: its features and name are not used
    float *weight, *bias;   // that the graph reads
    aleat_weights *weights;
    aleat_graph *graph;
    aleat_engine *engine;
    aleat_plan *forward, *reverse; // of one image: it is a small layer
    aleat_value x, y, cotangent, grads[2];
    aleat_dims in, out;
};

static aleat_status make_weights(aleat_head *h, aleat_error *err)
{
    h->weight = aleat_calloc((size_t)h->layer.n_weights, sizeof *h->weight);
    h->bias = aleat_calloc((size_t)h->layer.n_biases + 1, sizeof *h->bias);
    if (!h->weight || !h->bias)
        return aleat_fail_memory(err, "a last layer");
    const aleat_shape one = aleat_shape_of(1, h->layer.n_biases);
    const aleat_named_array arrays[] = {
        {"weight", aleat_tensor_view(ALEAT_F32, &h->layer.weight, h->weight)},
        {"bias", aleat_tensor_view(ALEAT_F32, &one, h->bias)}};
    return aleat_weights_of_arrays(&h->weights, arrays, h->layer.n_biases ? 2 : 1, "last layer",
                                   err);
}

static aleat_status make_graph(aleat_head *h, const aleat_graph *from, aleat_value y,
                               aleat_error *err)
{
    h->graph = aleat_graph_new(h->weights);
    const aleat_shape one = aleat_shape_of(1, h->layer.n_biases);
    h->in = aleat_graph_dims(from, h->layer.features);
    h->out = aleat_graph_dims(from, y);
    const aleat_param weight = aleat_graph_param(h->graph, "weight", &h->layer.weight);
    const aleat_param bias =
        h->layer.n_biases ? aleat_graph_param(h->graph, "bias", &one) : ALEAT_NO_PARAM;
    h->x = aleat_graph_input(h->graph, "features", h->in);
    h->y = aleat_graph_copy_last_layer(h->graph, from, y, h->x, weight, bias);
    h->cotangent = aleat_graph_input(h->graph, "cotangent", h->out);
    h->grads[1] = ALEAT_NO_VALUE;
    aleat_graph_vjp_params(h->graph, h->y, h->cotangent, h->grads);
    return aleat_graph_check(h->graph, err);
}

aleat_status aleat_head_new(aleat_head **out, const aleat_graph *graph, aleat_value y, int threads,
                            aleat_error *err)
{
    *out = NULL;
    aleat_head *h = aleat_calloc(1, sizeof *h);
    if (!h)
        return aleat_fail_memory(err, "a last layer");
    aleat_status st = aleat_graph_last_layer(&h->layer, graph, y, err);
    if (!st)
        st = make_weights(h, err);
    if (!st)
        st = make_graph(h, graph, y, err);
    // f32 whatever the network has: squares of features and small variances
    const aleat_engine_options options = {.threads = threads};
    if (!st)
        st = aleat_engine_new(&h->engine, h->graph, &options, err);
    if (!st)
        st = aleat_plan_new(&h->forward, h->engine, 1, &h->y, 1, ALEAT_NO_VALUE, err);
    if (!st)
        st = aleat_plan_new(&h->reverse, h->engine, 1, h->grads, h->layer.n_biases ? 2 : 1,
                            ALEAT_NO_VALUE, err);
    if (st)
        aleat_head_free(h);
    else
        *out = h;
    return st;
}

void aleat_head_free(aleat_head *h)
{
    if (!h)
        return;
    aleat_plan_free(h->forward);
    aleat_plan_free(h->reverse);
    aleat_engine_free(h->engine);
    aleat_graph_free(h->graph);
    aleat_weights_free(h->weights);
    aleat_free(h->weight);
    aleat_free(h->bias);
    aleat_free(h);
}

static int64_t count_of(aleat_dims d)
{
    return d.h * d.w * d.c;
}

int64_t aleat_head_features(const aleat_head *h)
{
    return count_of(h->in);
}

int64_t aleat_head_outputs(const aleat_head *h)
{
    return count_of(h->out);
}

int64_t aleat_head_weights(const aleat_head *h)
{
    return h->layer.n_weights;
}

int64_t aleat_head_biases(const aleat_head *h)
{
    return h->layer.n_biases;
}

aleat_status aleat_head_set(aleat_head *h, const float *weights, const float *biases,
                            aleat_error *err)
{
    memcpy(h->weight, weights, (size_t)h->layer.n_weights * sizeof *weights);
    if (h->layer.n_biases)
        memcpy(h->bias, biases, (size_t)h->layer.n_biases * sizeof *biases);
    return aleat_engine_refresh(h->engine, err);
}

// Channels last to channels first, or back.
static void turn(const float *src, float *dst, aleat_dims dims, bool to_first)
{
    const int64_t pixels = dims.h * dims.w;
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t c = 0; c < dims.c; c++)
            if (to_first)
                dst[c * pixels + p] = src[p * dims.c + c];
            else
                dst[p * dims.c + c] = src[c * pixels + p];
}

void aleat_head_run(const aleat_head *h, int64_t n, const float *features, float *out)
{
    const int64_t in = count_of(h->in);
    for (int64_t i = 0; i < n; i++) {
        memcpy(aleat_plan_data(h->forward, h->x), features + i * in, (size_t)in * sizeof(float));
        aleat_plan_run(h->forward, 0);
        turn(aleat_plan_data(h->forward, h->y), out + i * count_of(h->out), h->out, true);
    }
}

void aleat_head_gradient(const aleat_head *h, const float *features, const float *cotangent,
                         float *weights, float *biases)
{
    memcpy(aleat_plan_data(h->reverse, h->x), features, (size_t)count_of(h->in) * sizeof(float));
    turn(cotangent, aleat_plan_data(h->reverse, h->cotangent), h->out, false);
    aleat_plan_run(h->reverse, 0);
    memcpy(weights, aleat_plan_data(h->reverse, h->grads[0]),
           (size_t)h->layer.n_weights * sizeof *weights);
    if (h->layer.n_biases)
        memcpy(biases, aleat_plan_data(h->reverse, h->grads[1]),
               (size_t)h->layer.n_biases * sizeof *biases);
}
