#include "denoiser/network.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/parallel.h"

enum { DEFAULT_MAX_IMAGES = 16 };

/** Plans for one batch size, made when first needed. */
typedef struct sized_plans {
    aleat_plan *forward, *reverse;
} sized_plans;

typedef struct network {
    aleat_network_spec spec;
    aleat_engine *engine;
    aleat_value cotangent, grad; // of the reverse; ALEAT_NO_VALUE until asked for
    sized_plans *plans;          // [max_images + 1], by batch size
    // The last forward_keep(), for backward(): plans run part by part, so inputs are kept.
    aleat_batch kept;
    float *kept_x, *kept_t;
    int32_t *kept_labels;
    int64_t kept_cap;
} network;

static aleat_status check_batch(const network *net, const aleat_batch *in, aleat_error *err)
{
    const aleat_denoiser_info *info = &net->spec.info;
    if (in->height != info->height || in->width != info->width)
        return aleat_fail(err, ALEAT_ERR_SHAPE,
                          "images are %lldx%lld, the network was built for %lldx%lld",
                          (long long)in->height, (long long)in->width, (long long)info->height,
                          (long long)info->width);
    if (net->spec.label != ALEAT_NO_VALUE && !in->condition.labels)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "this network needs a class label for every image (0..%lld)",
                          (long long)info->n_classes - 1);
    for (int64_t i = 0; net->spec.label != ALEAT_NO_VALUE && i < in->n; i++)
        if (in->condition.labels[i] < 0 || in->condition.labels[i] >= info->n_classes)
            return aleat_fail(err, ALEAT_ERR_ARGUMENT, "label %d is outside 0..%lld",
                              in->condition.labels[i], (long long)info->n_classes - 1);
    return ALEAT_OK;
}

/* ---- channels first <-> channels last ---------------------------------------------------------
 */

typedef struct turn_job {
    const float *src;
    float *dst;
    int64_t channels, pixels;
    bool to_last;
} turn_job;

static void turn_images(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const turn_job *j = ctx;
    const int64_t size = j->channels * j->pixels;
    for (int64_t i = begin; i < end; i++)
        for (int64_t c = 0; c < j->channels; c++)
            for (int64_t p = 0; p < j->pixels; p++) {
                const int64_t first = i * size + c * j->pixels + p;
                const int64_t last = i * size + p * j->channels + c;
                if (j->to_last)
                    j->dst[last] = j->src[first];
                else
                    j->dst[first] = j->src[last];
            }
}

static void turn(const network *net, const float *src, float *dst, int64_t images, int64_t channels,
                 bool to_last)
{
    turn_job job = {src, dst, channels, net->spec.info.height * net->spec.info.width, to_last};
    aleat_parallel_for(aleat_engine_threads(net->engine), images, turn_images, &job);
}

/* ---- evaluation -------------------------------------------------------------------------------
 */

static int64_t image_size(const network *net, int64_t channels)
{
    return channels * net->spec.info.height * net->spec.info.width;
}

/** Feeds images [first, first+count) of a batch. */
static void feed(const network *net, const aleat_plan *plan, const aleat_batch *in, int64_t first,
                 int64_t count)
{
    const int64_t size = image_size(net, net->spec.info.channels);
    turn(net, in->x + first * size, aleat_plan_data(plan, net->spec.x), count,
         net->spec.info.channels, true);
    memcpy(aleat_plan_data(plan, net->spec.t), in->t + first, (size_t)count * sizeof(float));
    if (net->spec.label == ALEAT_NO_VALUE)
        return;
    float *labels = aleat_plan_data(plan, net->spec.label);
    for (int64_t i = 0; i < count; i++)
        labels[i] = (float)in->condition.labels[first + i];
}

/** Equal parts of at most max_images. */
static int64_t part_of(const network *net, int64_t n)
{
    const int64_t most = net->spec.max_images, parts = (n + most - 1) / most;
    return parts ? (n + parts - 1) / parts : 0;
}

static aleat_status network_predict(void *self, const aleat_batch *in, float *out, aleat_error *err)
{
    network *net = self;
    aleat_status st = check_batch(net, in, err);
    const int64_t part = part_of(net, in->n), size = image_size(net, net->spec.info.out_channels);
    for (int64_t first = 0; !st && first < in->n; first += part) {
        const int64_t count = in->n - first < part ? in->n - first : part;
        sized_plans *plans = &net->plans[count];
        if (!plans->forward)
            st = aleat_plan_new(&plans->forward, net->engine, count, &net->spec.out, 1,
                                ALEAT_NO_VALUE, err);
        if (st)
            break;
        feed(net, plans->forward, in, first, count);
        aleat_plan_run(plans->forward, 0);
        turn(net, aleat_plan_data(plans->forward, net->spec.out), out + first * size, count,
             net->spec.info.out_channels, false);
    }
    return st;
}

static void network_destroy(void *self)
{
    network *net = self;
    if (!net)
        return;
    for (int64_t i = 0; net->plans && i <= net->spec.max_images; i++) {
        aleat_plan_free(net->plans[i].forward);
        aleat_plan_free(net->plans[i].reverse);
    }
    aleat_engine_free(net->engine);
    aleat_free(net->plans);
    aleat_free(net->kept_x);
    aleat_free(net->kept_t);
    aleat_free(net->kept_labels);
    aleat_free(net);
}

static const aleat_denoiser_ops network_ops = {
    .predict = network_predict,
    .destroy = network_destroy,
};

aleat_status aleat_network_denoiser(aleat_denoiser *out, const aleat_network_spec *spec,
                                    aleat_error *err)
{
    memset(out, 0, sizeof *out);
    network *net = aleat_calloc(1, sizeof *net);
    if (!net)
        return aleat_fail_memory(err, "a network");
    net->spec = *spec;
    net->cotangent = net->grad = ALEAT_NO_VALUE;
    if (net->spec.max_images <= 0)
        net->spec.max_images = DEFAULT_MAX_IMAGES;
    net->plans = aleat_calloc((size_t)net->spec.max_images + 1, sizeof *net->plans);
    aleat_status st = net->plans ? ALEAT_OK : aleat_fail_memory(err, "a network");
    if (!st)
        st = aleat_engine_new(&net->engine, spec->graph, &spec->engine, err);
    if (st) {
        network_destroy(net);
        return st;
    }
    *out = (aleat_denoiser){.ops = &network_ops, .self = net, .info = spec->info};
    return ALEAT_OK;
}

aleat_network_stats aleat_network_denoiser_stats(const aleat_denoiser *denoiser)
{
    const network *net = denoiser->self;
    aleat_network_stats stats = {.weight_bytes = aleat_engine_weight_bytes(net->engine),
                                 .threads = aleat_engine_threads(net->engine)};
    for (int64_t i = 0; i <= net->spec.max_images; i++) {
        const sized_plans *p = &net->plans[i];
        if (p->forward) {
            stats.flop = aleat_plan_flop(p->forward);
            stats.plan_bytes += aleat_plan_bytes(p->forward);
        }
        if (p->reverse)
            stats.plan_bytes += aleat_plan_bytes(p->reverse);
    }
    return stats;
}
