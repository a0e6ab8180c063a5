#include "graph/engine.h"

#include <stdint.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/parallel.h"

aleat_status aleat_engine_new(aleat_engine **out, const aleat_graph *graph,
                              const aleat_engine_options *options, aleat_error *err)
{
    *out = NULL;
    const aleat_isa best = aleat_cpu_isa();
    const aleat_isa isa = options->isa_given ? options->isa : best;
    if (isa > best)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "this processor has no %s",
                          aleat_isa_name(isa));
    const aleat_kernels *k = aleat_kernels_for(isa);
    if (options->precision == ALEAT_PRECISION_BF16 && !k->igemm_bf16) {
        (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                         "precision bf16: this processor (%s) has no bf16 instructions",
                         aleat_isa_name(isa));
        aleat_hint(err, "use --precision f32");
        return ALEAT_ERR_UNSUPPORTED;
    }
    aleat_engine *engine = aleat_calloc(1, sizeof *engine);
    if (!engine)
        return aleat_fail_memory(err, "an engine");
    engine->graph = graph;
    engine->k = k;
    engine->threads = options->threads > 0 ? options->threads : aleat_cpu_count();
    engine->precision = options->precision;
    engine->memory = options->memory;
    engine->training = options->training;
    engine->sizes_only = options->sizes_only;
    *out = engine;
    return ALEAT_OK;
}

void aleat_engine_free(aleat_engine *engine)
{
    if (!engine)
        return;
    while (engine->weights) {
        aleat_engine_weight *w = engine->weights;
        engine->weights = w->next;
        aleat_packed_free(&w->packed);
        aleat_free(w->values);
        aleat_free(w);
    }
    aleat_free(engine);
}

int aleat_engine_threads(const aleat_engine *engine)
{
    return engine->threads;
}

size_t aleat_engine_weight_bytes(const aleat_engine *engine)
{
    return engine->weight_bytes;
}

/** How filters are stored that are transformed each time: in two bytes where the file has no more,
 * which loses nothing, or where the precision allows it. */
static aleat_conv_algorithm late_form(const aleat_engine *engine, aleat_param param)
{
    const aleat_weight *weight = engine->graph->params[param].weight;
    if (weight && weight->dtype == ALEAT_F16)
        return ALEAT_CONV_WINOGRAD_LATE_F16;
    if (engine->precision == ALEAT_PRECISION_BF16 || (weight && weight->dtype == ALEAT_BF16))
        return ALEAT_CONV_WINOGRAD_LATE_BF16;
    return ALEAT_CONV_WINOGRAD_LATE;
}

/**
 * The algorithm of a convolution, by its shape, the precision and the weight's type alone: never by
 * the batch, the threads or a timing, since it decides the last bits. Winograd must have pixels
 * enough to pay for its transforms (docs/speed.md has the measurement); at that size it also beats
 * bf16. Its filters take 4 times the memory: where that is much, they are transformed each time
 * instead. Vectors (time and label embeddings) and short sums stay f32 in any precision: they cost
 * little, and on small networks they made up nine tenths of bf16's error.
 */
static aleat_conv_algorithm algorithm_of(const aleat_engine *engine, const aleat_node *conv,
                                         int64_t c_in, int64_t c_out)
{
    enum { WINOGRAD_PIXELS = 64, LATE_FILTERS = 340 * 340, BF16_TERMS = 256 };
    const aleat_conv_spec *s = &conv->attrs.conv;
    const int64_t pixels = conv->dims.h * conv->dims.w;
    if (s->kernel_h == 3 && s->kernel_w == 3 && s->stride == 1 && c_in % engine->k->vlen == 0 &&
        pixels >= WINOGRAD_PIXELS)
        return c_in * c_out >= LATE_FILTERS ? late_form(engine, conv->param[0])
                                            : ALEAT_CONV_WINOGRAD;
    if (engine->precision == ALEAT_PRECISION_BF16 && pixels > 1 &&
        c_in * s->kernel_h * s->kernel_w >= BF16_TERMS)
        return ALEAT_CONV_DIRECT_BF16;
    return ALEAT_CONV_DIRECT;
}

static aleat_engine_weight *find(const aleat_engine *engine, aleat_param param, bool plain,
                                 bool adjoint, aleat_conv_algorithm algorithm)
{
    for (aleat_engine_weight *w = engine->weights; w; w = w->next)
        if (w->param == param && w->plain == plain &&
            (plain || (w->adjoint == adjoint && w->packed.algorithm == algorithm)))
            return w;
    return NULL;
}

static void link_weight(aleat_engine *engine, aleat_engine_weight *w, size_t bytes)
{
    w->next = engine->weights;
    engine->weights = w;
    engine->weight_bytes += bytes;
}

aleat_status aleat_engine_plain(aleat_engine *engine, aleat_param param, const float **out,
                                aleat_error *err)
{
    *out = NULL;
    if (param == ALEAT_NO_PARAM)
        return ALEAT_OK;
    aleat_engine_weight *w = find(engine, param, true, false, ALEAT_CONV_DIRECT);
    if (!w) {
        const size_t bytes = (size_t)aleat_param_count(engine->graph, param) * sizeof(float);
        w = aleat_calloc(1, sizeof *w);
        float *values = engine->sizes_only ? NULL : aleat_alloc(bytes);
        if (!w ||
            (!engine->sizes_only && (!values || !aleat_param_load(engine->graph, param, values)))) {
            aleat_free(w);
            aleat_free(values);
            return aleat_fail_memory(err, "a parameter");
        }
        *w = (aleat_engine_weight){.param = param, .plain = true, .values = values};
        link_weight(engine, w, bytes);
        aleat_param_forget(engine->graph, param);
    }
    *out = w->values;
    return ALEAT_OK;
}

/** The parameter's data where it lies, if that is f32 in C order, else a converted copy in *owned.
 */
static const float *weight_data(const aleat_engine *engine, aleat_param param, float **owned)
{
    *owned = NULL;
    const aleat_weight *weight = engine->graph->params[param].weight;
    if (weight && weight->contiguous && weight->dtype == ALEAT_F32 &&
        (uintptr_t)weight->data % sizeof(float) == 0)
        return weight->data;
    *owned = aleat_alloc((size_t)aleat_param_count(engine->graph, param) * sizeof(float));
    if (*owned && !aleat_param_load(engine->graph, param, *owned)) {
        aleat_free(*owned);
        *owned = NULL;
    }
    return *owned;
}

aleat_status aleat_engine_packed(aleat_engine *engine, const aleat_node *conv,
                                 const aleat_packed **out, aleat_error *err)
{
    *out = NULL;
    const aleat_conv_spec *spec = &conv->attrs.conv;
    const aleat_param param = conv->param[0];
    const bool adjoint = conv->attrs.adjoint;
    const int64_t rows = engine->graph->params[param].shape.dim[0];
    const int64_t columns =
        aleat_param_count(engine->graph, param) / (rows * spec->kernel_h * spec->kernel_w);
    const aleat_conv_algorithm algorithm =
        algorithm_of(engine, conv, adjoint ? rows : columns, adjoint ? columns : rows);
    aleat_engine_weight *w = find(engine, param, false, adjoint, algorithm);
    if (w) {
        *out = &w->packed;
        return ALEAT_OK;
    }
    float *owned = NULL;
    const float *data = engine->sizes_only ? NULL : weight_data(engine, param, &owned);
    w = aleat_calloc(1, sizeof *w);
    if (!w || !(data || engine->sizes_only))
        goto no_memory;
    aleat_filter filter = aleat_filter_of(data, rows, columns, spec->kernel_h, spec->kernel_w);
    if (adjoint) {
        filter = aleat_filter_adjoint(&filter);
        filter.tap_step = spec->stride;
    }
    w->param = param;
    w->adjoint = adjoint;
    if (engine->sizes_only)
        aleat_packed_describe(&w->packed, engine->k, algorithm, &filter);
    else if (!aleat_packed_make(&w->packed, engine->k, algorithm, &filter, engine->threads))
        goto no_memory;
    link_weight(engine, w, w->packed.bytes);
    aleat_free(owned);
    aleat_param_forget(engine->graph, param);
    *out = &w->packed;
    return ALEAT_OK;
no_memory:
    aleat_free(owned);
    aleat_free(w);
    return aleat_fail_memory(err, "packed weights");
}

/* ---- training ---------------------------------------------------------------------------------
 */

typedef struct refresh_job {
    aleat_engine *engine;
    aleat_engine_weight **weights;
    bool failed;
} refresh_job;

/** Fills one form again; false if there is no memory. */
static bool refresh_weight(aleat_engine *engine, aleat_engine_weight *w)
{
    if (w->plain) {
        aleat_param_load(engine->graph, w->param, w->values);
        return true;
    }
    float *owned;
    const float *data = weight_data(engine, w->param, &owned);
    if (!data)
        return false;
    const aleat_packed *p = &w->packed;
    aleat_filter filter =
        aleat_filter_of(data, w->adjoint ? p->c_in : p->c_out, w->adjoint ? p->c_out : p->c_in,
                        p->kernel_h, p->kernel_w);
    if (w->adjoint)
        filter = aleat_filter_adjoint(&filter);
    aleat_packed_fill(&w->packed, engine->k, &filter, 1);
    aleat_free(owned);
    return true;
}

static void refresh_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    refresh_job *job = ctx;
    for (int64_t i = begin; i < end; i++)
        if (!refresh_weight(job->engine, job->weights[i]))
            __atomic_store_n(&job->failed, true, __ATOMIC_RELAXED);
}

aleat_status aleat_engine_refresh(aleat_engine *engine, aleat_error *err)
{
    int64_t n = 0;
    for (aleat_engine_weight *w = engine->weights; w; w = w->next)
        n++;
    refresh_job job = {.engine = engine};
    job.weights = aleat_alloc((size_t)n * sizeof *job.weights);
    if (!job.weights)
        return aleat_fail_memory(err, "refreshing weights");
    // Interleaved from both ends, since neighbours are of one size and a thread gets neighbours.
    int64_t low = 0, high = n;
    for (aleat_engine_weight *w = engine->weights; w; w = w->next)
        job.weights[(low + (n - high)) % 2 ? --high : low++] = w;
    aleat_parallel_for(engine->threads, n, refresh_range, &job);
    aleat_free(job.weights);
    return job.failed ? aleat_fail_memory(err, "refreshing weights") : ALEAT_OK;
}
