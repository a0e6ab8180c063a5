#include "features/feature_net.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/parallel.h"
#include "features/prepare.h"

enum { DEFAULT_BATCH = 32 };

/* ---- opening --------------------------------------------------------------------------------- */

static aleat_status find_layer(aleat_feature_net *net, const char *name, aleat_error *err)
{
    const aleat_feature_layer *layers = net->files.features.layers;
    char list[256] = "";
    size_t len = 0;
    net->layer = &layers[0];
    for (int i = 0; name && i < ALEAT_FEATURE_LAYERS && layers[i].name; i++) {
        if (strcmp(layers[i].name, name) == 0) {
            net->layer = &layers[i];
            return ALEAT_OK;
        }
        len +=
            (size_t)snprintf(list + len, sizeof list - len, "%s%s", i ? ", " : "", layers[i].name);
    }
    return name ? aleat_fail(err, ALEAT_ERR_ARGUMENT,
                             "%s: a %s network has no layer '%s' of features, it has %s",
                             aleat_weights_path(net->files.weights), net->files.family, name, list)
                : ALEAT_OK;
}

static aleat_status find_preparation(aleat_feature_net *net, const char *name, aleat_error *err)
{
    const aleat_preparation *all = net->files.features.preparations;
    char list[256] = "";
    size_t len = 0;
    net->preparation = &all[0];
    for (int i = 0; name && all[i].name; i++) {
        if (strcmp(all[i].name, name) == 0) {
            net->preparation = &all[i];
            return ALEAT_OK;
        }
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", i ? ", " : "", all[i].name);
    }
    return name ? aleat_fail(err, ALEAT_ERR_ARGUMENT,
                             "%s: images for a %s network are not prepared in the way '%s', but %s",
                             aleat_weights_path(net->files.weights), net->files.family, name, list)
                : ALEAT_OK;
}

static aleat_status check_role(const aleat_feature_net *net, const char *path, aleat_error *err)
{
    if (net->files.role == ALEAT_MODEL_FEATURES)
        return ALEAT_OK;
    (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                     "%s: a network of the family '%s' gives no features of images", path,
                     net->files.family);
    aleat_hint(err, "take an Inception-v3 of pytorch-fid, a CIFAR ResNet, or a classifier from "
                    "`aleat train --task classify`");
    return ALEAT_ERR_UNSUPPORTED;
}

aleat_status aleat_feature_net_open(aleat_feature_net *out, const char *path,
                                    const aleat_feature_net_options *options, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_feature_net net = {.batch = options->batch > 0 ? options->batch : DEFAULT_BATCH};
    aleat_status st = aleat_model_files_open(&net.files, path, NULL, err);
    if (!st)
        st = check_role(&net, path, err);
    if (!st)
        st = find_layer(&net, options->layer, err);
    if (!st)
        st = find_preparation(&net, options->preparation, err);
    if (st)
        goto done;
    const aleat_dims dims = aleat_graph_dims(net.files.graph, net.layer->value);
    const ptrdiff_t layer = net.layer - net.files.features.layers;
    net.dim = dims.h * dims.w * dims.c;
    net.classes = net.files.info.out_channels;
    *out = net;
    memset(&net, 0, sizeof net);
    out->layer = &out->files.features.layers[layer]; // it moved
    st = aleat_engine_new(&out->engine, out->files.graph, &options->engine, err);
done:
    aleat_feature_net_close(st ? out : NULL);
    aleat_feature_net_close(&net);
    return st;
}

static void drop_plan(struct aleat_feature_plan *p)
{
    aleat_plan_free(p->plan);
    *p = (struct aleat_feature_plan){0};
}

void aleat_feature_net_close(aleat_feature_net *net)
{
    if (!net)
        return;
    for (int i = 0; i < 2; i++)
        drop_plan(&net->plans[i]);
    aleat_engine_free(net->engine);
    aleat_model_files_close(&net->files);
    memset(net, 0, sizeof *net);
}

/* ---- running --------------------------------------------------------------------------------- */

/** The plan for `images` images, in one of the two places. */
static aleat_status plan_for(aleat_feature_net *net, int64_t images, bool features, bool logits,
                             aleat_plan **plan, aleat_error *err)
{
    struct aleat_feature_plan *p = &net->plans[images != net->batch];
    *plan = NULL;
    if (p->images != images || p->features != features || p->logits != logits) {
        aleat_value wanted[2];
        int n = 0;
        if (features)
            wanted[n++] = net->layer->value;
        if (logits)
            wanted[n++] = net->files.network.out;
        drop_plan(p);
        const aleat_status st =
            aleat_plan_new(&p->plan, net->engine, images, wanted, n, ALEAT_NO_VALUE, err);
        if (st)
            return st;
        p->images = images;
        p->features = features;
        p->logits = logits;
    }
    *plan = p->plan;
    return ALEAT_OK;
}

typedef struct prepare_job {
    const aleat_preparer *preparer;
    const aleat_images *images;
    int64_t first, scratch_size, input_size;
    float *scratch, *input;
} prepare_job;

static void prepare_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const prepare_job *job = ctx;
    for (int64_t i = begin; i < end; i++)
        aleat_prepare_image(job->preparer, job->images, job->first + i,
                            job->scratch + thread * job->scratch_size,
                            job->input + i * job->input_size);
}

aleat_status aleat_feature_net_run(aleat_feature_net *net, const aleat_images *images,
                                   float *features, float *logits, aleat_error *err)
{
    if (!features && !logits)
        return ALEAT_OK;
    const int threads = aleat_engine_threads(net->engine);
    const aleat_value input = net->files.network.x;
    const aleat_dims dims = aleat_graph_dims(net->files.graph, input);
    prepare_job job = {.images = images, .input_size = dims.h * dims.w * dims.c};
    aleat_preparer *preparer;
    aleat_status st = aleat_preparer_new(&preparer, net->preparation, dims, images, err);
    if (st)
        return st;
    job.preparer = preparer;
    job.scratch_size = aleat_preparer_scratch(preparer);
    job.scratch = aleat_alloc((size_t)(threads * job.scratch_size) * sizeof *job.scratch);
    if (!job.scratch)
        st = aleat_fail_memory(err, "preparing images");
    for (int64_t count; !st && job.first < images->n; job.first += count) {
        count = images->n - job.first < net->batch ? images->n - job.first : net->batch;
        aleat_plan *plan;
        st = plan_for(net, count, features != NULL, logits != NULL, &plan, err);
        if (st)
            break;
        job.input = aleat_plan_data(plan, input);
        aleat_parallel_for(threads, count, prepare_range, &job);
        aleat_plan_run(plan, 0);
        if (features)
            memcpy(features + job.first * net->dim, aleat_plan_data(plan, net->layer->value),
                   (size_t)(count * net->dim) * sizeof *features);
        if (logits)
            memcpy(logits + job.first * net->classes, aleat_plan_data(plan, net->files.network.out),
                   (size_t)(count * net->classes) * sizeof *logits);
    }
    aleat_free(job.scratch);
    aleat_preparer_free(preparer);
    return st;
}
