#include "denoiser/network.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/parallel.h"
#include "denoiser/condition.h"
#include "graph/last_layer.h"

enum {
    DEFAULT_IMAGES = 16,
    MOST_IMAGES = 64, // in one plan
    DEFAULT_REVERSE_MB = 1024,
};

/** Plans for one batch size, made when first needed. */
typedef struct sized_plans {
    aleat_plan *forward, *dropping, *featured, *reverse, *tangent;
} sized_plans;

typedef struct network {
    aleat_network_spec spec;
    aleat_engine *engine;
    int64_t in_pixels, out_pixels;      // of one image: x and out may differ in size
    aleat_value cotangent, grad;        // of the reverse; ALEAT_NO_VALUE until asked for
    aleat_value tangent, tangent_out;   // of forward mode; likewise
    aleat_value features;               // input of the last layer; ALEAT_NO_VALUE: none
    sized_plans plans[MOST_IMAGES + 1]; // by batch size
    aleat_network_stats measured;       // by aleat_network_denoiser_measure()
    aleat_plan_pool passing, kept;      // activations; `kept` are those of the last forward_keep()
    // Most images at once of each kind, and bytes that the pools may take by it; 0: not known.
    int64_t forward_images, dropping_images, reverse_images, tangent_images;
    int64_t passing_bound, kept_bound;
    // The last forward_keep(): its inputs, for batches larger than reverse_images.
    int64_t kept_n, kept_cap;
    bool kept_whole; // one plan holds the activations of the whole batch
    float *kept_x, *kept_t;
    aleat_condition_rows kept_conditions;
    aleat_condition kept_fields; // says which fields they have
} network;

static bool takes_text(const network *net)
{
    const aleat_denoiser_info *info = &net->spec.info;
    return info->context_tokens || info->pooled_dim || info->takes_guidance;
}

/** Every image of a batch has the parts of a text that the network takes. */
static aleat_status check_texts(const network *net, const aleat_batch *in, aleat_error *err)
{
    const aleat_denoiser_info *info = &net->spec.info;
    const aleat_text *const *texts = in->condition.texts;
    if (!takes_text(net))
        return ALEAT_OK;
    for (int64_t i = 0; i < in->n; i++)
        if (!texts || !texts[i] || (info->context_tokens && !texts[i]->context) ||
            (info->pooled_dim && !texts[i]->pooled))
            return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                              "this network needs an encoded text for every image: context "
                              "[%lld,%lld]%s",
                              (long long)info->context_tokens, (long long)info->context_dim,
                              info->pooled_dim ? " and a pooled vector" : "");
    return ALEAT_OK;
}

/** Times for which the network has an answer. */
static aleat_status check_times(const network *net, const aleat_batch *in, aleat_error *err)
{
    const aleat_denoiser_info *info = &net->spec.info;
    for (int64_t i = 0; net->spec.t != ALEAT_NO_VALUE && i < in->n; i++) {
        const double t = (double)in->t[i];
        if (info->n_times && !(t >= 0 && t < (double)info->n_times))
            return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                              "time %g is outside 0..%lld, those that this network has learned", t,
                              (long long)info->n_times - 1);
        if (info->log_time && !(t > 0))
            return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                              "time %g: this network is told noise levels, which are above 0", t);
    }
    return ALEAT_OK;
}

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
    const aleat_status st = check_times(net, in, err);
    return st ? st : check_texts(net, in, err);
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
                 int64_t pixels, bool to_last)
{
    turn_job job = {src, dst, channels, pixels, to_last};
    aleat_parallel_for(aleat_engine_threads(net->engine), images, turn_images, &job);
}

// x-like arrays (inputs, gradients, tangents): in = from the caller into the plan.
static void turn_x(const network *net, const float *src, float *dst, int64_t images, bool in)
{
    turn(net, src, dst, images, net->spec.info.channels, net->in_pixels, in);
}

// The same for arrays like the output.
static void turn_out(const network *net, const float *src, float *dst, int64_t images, bool in)
{
    turn(net, src, dst, images, net->spec.info.out_channels, net->out_pixels, in);
}

/* ---- evaluation -------------------------------------------------------------------------------
 */

static int64_t in_size(const network *net)
{
    return net->spec.info.channels * net->in_pixels;
}

static int64_t out_size(const network *net)
{
    return net->spec.info.out_channels * net->out_pixels;
}

/** A part of a text, and the condition input that takes it. */
typedef struct text_part {
    aleat_value input;
    int64_t size; // floats; 0: the network takes none
} text_part;

enum { TEXT_PARTS = 3 };

static void text_parts(const network *net, text_part parts[TEXT_PARTS])
{
    const aleat_denoiser_info *info = &net->spec.info;
    parts[0] = (text_part){net->spec.context, info->context_tokens * info->context_dim};
    parts[1] = (text_part){net->spec.pooled, info->pooled_dim};
    parts[2] = (text_part){net->spec.guidance, info->takes_guidance};
}

static const float *text_data(const aleat_text *text, int part)
{
    const float *const data[TEXT_PARTS] = {text->context, text->pooled, &text->guidance};
    return data[part];
}

/** Whether the plan's inputs hold the texts of these images, as they do at most steps of a run. */
static bool holds_texts(const network *net, const aleat_plan *plan, const aleat_text *const *texts,
                        int64_t count)
{
    text_part parts[TEXT_PARTS];
    text_parts(net, parts);
    for (int p = 0; p < TEXT_PARTS; p++)
        for (int64_t i = 0; parts[p].size && i < count; i++)
            if (memcmp(aleat_plan_data(plan, parts[p].input) + i * parts[p].size,
                       text_data(texts[i], p), (size_t)parts[p].size * sizeof(float)) != 0)
                return false;
    return true;
}

/** Feeds each of the different texts of `count` images once. */
static void feed_texts(const network *net, aleat_plan *plan, const aleat_text *const *texts,
                       int64_t count)
{
    if (holds_texts(net, plan, texts, count))
        return;
    const aleat_text *distinct[MOST_IMAGES];
    int32_t row[MOST_IMAGES], n = 0;
    for (int64_t i = 0; i < count; i++) {
        row[i] = 0;
        while (row[i] < n && distinct[row[i]] != texts[i])
            row[i]++;
        if (row[i] == n)
            distinct[n++] = texts[i];
    }
    text_part parts[TEXT_PARTS];
    text_parts(net, parts);
    for (int p = 0; p < TEXT_PARTS; p++)
        for (int32_t i = 0; parts[p].size && i < n; i++)
            memcpy(aleat_plan_data(plan, parts[p].input) + i * parts[p].size,
                   text_data(distinct[i], p), (size_t)parts[p].size * sizeof(float));
    aleat_plan_condition(plan, n, row);
}

/** Feeds images [first, first+count) of a batch. */
static void feed(const network *net, aleat_plan *plan, const aleat_batch *in, int64_t first,
                 int64_t count)
{
    turn_x(net, in->x + first * in_size(net), aleat_plan_data(plan, net->spec.x), count, true);
    if (net->spec.t != ALEAT_NO_VALUE)
        memcpy(aleat_plan_data(plan, net->spec.t), in->t + first, (size_t)count * sizeof(float));
    if (takes_text(net))
        feed_texts(net, plan, in->condition.texts + first, count);
    if (net->spec.label == ALEAT_NO_VALUE)
        return;
    float *labels = aleat_plan_data(plan, net->spec.label);
    for (int64_t i = 0; i < count; i++)
        labels[i] = (float)in->condition.labels[first + i];
}

/** Runs the first half of a plan for images [first, first+count); `out` is these images'. */
static void evaluate(const network *net, aleat_plan *plan, const aleat_batch *in, int64_t first,
                     int64_t count, float *out)
{
    feed(net, plan, in, first, count);
    aleat_plan_run(plan, 0);
    turn_out(net, aleat_plan_data(plan, net->spec.out), out, count, false);
}

/** Equal parts of n images, of at most `most` each. */
static int64_t equal_parts(int64_t n, int64_t most)
{
    const int64_t parts = (n + most - 1) / most;
    return parts ? (n + parts - 1) / parts : 0;
}

static aleat_status forward_plan(network *net, int64_t images, aleat_plan **plan, aleat_error *err)
{
    sized_plans *plans = &net->plans[images];
    aleat_status st = ALEAT_OK;
    if (!plans->forward) {
        st = aleat_plan_new(&plans->forward, net->engine, images, &net->spec.out, 1, ALEAT_NO_VALUE,
                            err);
        if (!st)
            aleat_plan_share(plans->forward, &net->passing);
    }
    *plan = plans->forward;
    return st;
}

/** Like a forward plan, with dropout, by the masks of images [first, first + images) of a batch. */
static aleat_status dropping_plan(network *net, const aleat_dropout *masks, int64_t first,
                                  int64_t images, aleat_plan **plan, aleat_error *err)
{
    sized_plans *plans = &net->plans[images];
    aleat_status st = ALEAT_OK;
    if (!plans->dropping) {
        st = aleat_plan_new_dropping(&plans->dropping, net->engine, images, &net->spec.out, 1,
                                     ALEAT_NO_VALUE, err);
        if (!st)
            aleat_plan_share(plans->dropping, &net->passing);
    }
    *plan = plans->dropping;
    if (!st)
        aleat_plan_dropout(*plan, masks->seed, masks->step, masks->images + first,
                           masks->passes + first);
    return st;
}

/** How many images fit into `bytes`, at most `most`, from a plan for one. */
static aleat_status images_within(int64_t *images, const aleat_plan *one, int64_t bytes,
                                  int64_t most, int64_t beside, aleat_error *err)
{
    const int64_t need = (int64_t)aleat_plan_bytes(one);
    *images = bytes / need < most ? bytes / need : most;
    if (*images > 0)
        return ALEAT_OK;
    (void)aleat_fail(err, ALEAT_ERR_MEMORY,
                     "one image's activations do not fit into the memory allowed");
    aleat_hint(err, "%lld MiB is the least for this", (long long)((need + beside) >> 20) + 1);
    return ALEAT_ERR_MEMORY;
}

/** A quarter of the memory is for evaluations without a gradient: batches bring them little, while
 * a gradient that is cut costs evaluations. */
static aleat_status find_forward_images(network *net, aleat_error *err)
{
    if (net->forward_images)
        return ALEAT_OK;
    net->passing_bound = 0;
    if (net->spec.memory == 0) {
        net->forward_images = net->spec.max_images;
        return ALEAT_OK;
    }
    aleat_plan *one;
    aleat_status st = forward_plan(net, 1, &one, err);
    if (st)
        return st;
    const int64_t need = (int64_t)aleat_plan_bytes(one), quarter = net->spec.memory / 4;
    net->passing_bound = need > quarter && need <= net->spec.memory ? need : quarter;
    return images_within(&net->forward_images, one, net->passing_bound, net->spec.max_images, 0,
                         err);
}

/** Masks take memory that evaluations without them do not. */
static aleat_status find_dropping_images(network *net, const aleat_dropout *masks, aleat_error *err)
{
    if (net->dropping_images)
        return ALEAT_OK;
    aleat_plan *one;
    aleat_status st = find_forward_images(net, err);
    net->dropping_images = st || net->spec.memory > 0 ? 0 : net->spec.max_images;
    if (st || net->dropping_images)
        return st;
    st = dropping_plan(net, masks, 0, 1, &one, err);
    if (!st)
        st = images_within(&net->dropping_images, one, net->spec.memory - net->kept_bound,
                           net->spec.max_images, net->kept_bound, err);
    const int64_t bytes = st ? 0 : net->dropping_images * (int64_t)aleat_plan_bytes(one);
    if (bytes > net->passing_bound)
        net->passing_bound = bytes;
    return st;
}

static aleat_status network_predict(void *self, const aleat_batch *in, float *out, aleat_error *err)
{
    network *net = self;
    aleat_status st = check_batch(net, in, err);
    if (!st)
        st = in->dropout ? find_dropping_images(net, in->dropout, err)
                         : find_forward_images(net, err);
    if (st)
        return st;
    const int64_t part =
        equal_parts(in->n, in->dropout ? net->dropping_images : net->forward_images);
    const int64_t size = out_size(net);
    for (int64_t first = 0; !st && first < in->n; first += part) {
        const int64_t count = in->n - first < part ? in->n - first : part;
        aleat_plan *plan;
        st = in->dropout ? dropping_plan(net, in->dropout, first, count, &plan, err)
                         : forward_plan(net, count, &plan, err);
        if (!st)
            evaluate(net, plan, in, first, count, out + first * size);
    }
    return st;
}

/* ---- reverse mode -----------------------------------------------------------------------------
 */

/** Lets the graph grow by its reverse. */
static aleat_status make_reverse(network *net, aleat_error *err)
{
    if (net->grad != ALEAT_NO_VALUE)
        return ALEAT_OK;
    aleat_graph *graph = net->spec.graph;
    net->cotangent = aleat_graph_input(graph, "cotangent", aleat_graph_dims(graph, net->spec.out));
    net->grad = aleat_graph_vjp(graph, net->spec.out, net->cotangent, net->spec.x);
    return aleat_graph_check(graph, err);
}

static aleat_status reverse_plan(network *net, int64_t images, aleat_plan **plan, aleat_error *err)
{
    aleat_status st = make_reverse(net, err);
    sized_plans *plans = &net->plans[images];
    if (!st && !plans->reverse) {
        const aleat_value wanted[] = {net->spec.out, net->grad};
        st = aleat_plan_new(&plans->reverse, net->engine, images, wanted, 2, net->cotangent, err);
        if (!st)
            aleat_plan_share(plans->reverse, &net->kept);
    }
    *plan = plans->reverse;
    return st;
}

/** How many images' activations may be kept. */
static aleat_status find_reverse_images(network *net, aleat_error *err)
{
    if (net->reverse_images)
        return ALEAT_OK;
    aleat_plan *one;
    aleat_status st = find_forward_images(net, err);
    if (!st)
        st = reverse_plan(net, 1, &one, err);
    if (st)
        return st;
    const int64_t need = (int64_t)aleat_plan_bytes(one);
    if (net->spec.memory > 0) {
        const int64_t bytes = net->spec.memory - net->passing_bound;
        st = images_within(&net->reverse_images, one, bytes, MOST_IMAGES, net->passing_bound, err);
    } else {
        const int64_t mb = net->spec.reverse_mb > 0 ? net->spec.reverse_mb : DEFAULT_REVERSE_MB;
        const int64_t fit = (mb << 20) / need;
        net->reverse_images = fit < 1 ? 1 : fit > MOST_IMAGES ? MOST_IMAGES : fit;
    }
    net->kept_bound = net->reverse_images * need;
    return st;
}

static aleat_status network_keep_limit(void *self, int64_t *images, aleat_error *err)
{
    network *net = self;
    const aleat_status st = find_reverse_images(net, err);
    *images = net->reverse_images;
    return st;
}

/** Copies a batch's inputs. */
static aleat_status keep_inputs(network *net, const aleat_batch *in, aleat_error *err)
{
    const int64_t size = in_size(net);
    if (in->n > net->kept_cap) {
        aleat_free(net->kept_x);
        aleat_free(net->kept_t);
        net->kept_cap = 0;
        net->kept_x = aleat_alloc((size_t)(in->n * size) * sizeof *net->kept_x);
        net->kept_t = aleat_alloc((size_t)in->n * sizeof *net->kept_t);
        if (!net->kept_x || !net->kept_t)
            return aleat_fail_memory(err, "inputs kept for the gradient");
        const aleat_status st = aleat_condition_rows_reserve(&net->kept_conditions, in->n, err);
        if (st)
            return st;
        net->kept_cap = in->n;
    }
    memcpy(net->kept_x, in->x, (size_t)(in->n * size) * sizeof *net->kept_x);
    if (in->t)
        memcpy(net->kept_t, in->t, (size_t)in->n * sizeof *net->kept_t);
    for (int64_t i = 0; i < in->n; i++)
        aleat_condition_rows_set(&net->kept_conditions, i, &in->condition, i);
    net->kept_fields = in->condition;
    return ALEAT_OK;
}

static aleat_status network_forward_keep(void *self, const aleat_batch *in, float *out,
                                         aleat_error *err)
{
    network *net = self;
    net->kept_n = 0;
    aleat_status st = check_batch(net, in, err);
    if (!st)
        st = find_reverse_images(net, err);
    if (st)
        return st;
    net->kept_whole = in->n <= net->reverse_images;
    if (net->kept_whole) {
        aleat_plan *plan;
        st = reverse_plan(net, in->n, &plan, err);
        if (!st)
            evaluate(net, plan, in, 0, in->n, out);
    } else { // the parts are computed again when they are pulled back
        st = keep_inputs(net, in, err);
        if (!st)
            st = network_predict(net, in, out, err);
    }
    if (!st)
        net->kept_n = in->n;
    return st;
}

/** The second half for images [first, first+count), whose activations the plan holds. */
static void pull_back(const network *net, aleat_plan *plan, const float *cotangent, float *grad_x,
                      int64_t first, int64_t count)
{
    turn_out(net, cotangent + first * out_size(net), aleat_plan_data(plan, net->cotangent), count,
             true);
    aleat_plan_run(plan, 1);
    turn_x(net, aleat_plan_data(plan, net->grad), grad_x + first * in_size(net), count, false);
}

static aleat_status network_backward(void *self, const float *cotangent, float *grad_x,
                                     aleat_error *err)
{
    network *net = self;
    if (net->kept_n == 0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "backward() without a forward_keep() before it");
    const int64_t part = equal_parts(net->kept_n, net->reverse_images);
    const aleat_batch kept = {
        .n = net->kept_n,
        .height = net->spec.info.height,
        .width = net->spec.info.width,
        .x = net->kept_x,
        .t = net->kept_t,
        .condition = aleat_condition_rows_view(&net->kept_conditions, &net->kept_fields)};
    for (int64_t first = 0; first < net->kept_n; first += part) {
        const int64_t count = net->kept_n - first < part ? net->kept_n - first : part;
        aleat_plan *plan;
        const aleat_status st = reverse_plan(net, count, &plan, err);
        if (st)
            return st;
        if (!net->kept_whole) { // the activations did not fit: compute them again
            feed(net, plan, &kept, first, count);
            aleat_plan_run(plan, 0);
        }
        pull_back(net, plan, cotangent, grad_x, first, count);
    }
    return ALEAT_OK;
}

/* ---- forward mode -----------------------------------------------------------------------------
 */

static aleat_status tangent_plan(network *net, int64_t images, aleat_plan **plan, aleat_error *err)
{
    aleat_graph *graph = net->spec.graph;
    const aleat_value x = net->spec.x, out = net->spec.out;
    if (net->tangent_out == ALEAT_NO_VALUE) {
        net->tangent = aleat_graph_input(graph, "tangent", aleat_graph_dims(graph, x));
        net->tangent_out = aleat_graph_jvp(graph, out, x, net->tangent);
    }
    aleat_status st = aleat_graph_check(graph, err);
    sized_plans *plans = &net->plans[images];
    if (!st && !plans->tangent) {
        const aleat_value wanted[] = {out, net->tangent_out};
        st = aleat_plan_new(&plans->tangent, net->engine, images, wanted, 2, ALEAT_NO_VALUE, err);
        if (!st)
            aleat_plan_share(plans->tangent, &net->passing);
    }
    *plan = plans->tangent;
    return st;
}

static aleat_status find_tangent_images(network *net, aleat_error *err)
{
    if (net->tangent_images)
        return ALEAT_OK;
    aleat_plan *one;
    aleat_status st = find_forward_images(net, err);
    net->tangent_images = st || net->spec.memory > 0 ? 0 : net->spec.max_images;
    if (st || net->tangent_images)
        return st;
    st = tangent_plan(net, 1, &one, err);
    if (!st)
        st = images_within(&net->tangent_images, one, net->spec.memory - net->kept_bound,
                           net->spec.max_images, net->kept_bound, err);
    const int64_t bytes = st ? 0 : net->tangent_images * (int64_t)aleat_plan_bytes(one);
    if (bytes > net->passing_bound)
        net->passing_bound = bytes;
    return st;
}

static aleat_status network_jvp(void *self, const aleat_batch *in, const float *tangent, float *out,
                                float *tangent_out, aleat_error *err)
{
    network *net = self;
    aleat_status st = check_batch(net, in, err);
    const int64_t size = in_size(net), size_out = out_size(net);
    if (!st)
        st = find_tangent_images(net, err);
    const int64_t part = st ? 0 : equal_parts(in->n, net->tangent_images);
    for (int64_t first = 0; !st && first < in->n; first += part) {
        const int64_t count = in->n - first < part ? in->n - first : part;
        aleat_plan *plan;
        st = tangent_plan(net, count, &plan, err);
        if (st)
            break;
        feed(net, plan, in, first, count);
        turn_x(net, tangent + first * size, aleat_plan_data(plan, net->tangent), count, true);
        aleat_plan_run(plan, 0);
        if (out)
            turn_out(net, aleat_plan_data(plan, net->spec.out), out + first * size_out, count,
                     false);
        turn_out(net, aleat_plan_data(plan, net->tangent_out), tangent_out + first * size_out,
                 count, false);
    }
    return st;
}

/* ---- the last layer's input -------------------------------------------------------------------
 */

static aleat_status featured_plan(network *net, int64_t images, aleat_plan **plan, aleat_error *err)
{
    sized_plans *plans = &net->plans[images];
    aleat_status st = ALEAT_OK;
    if (!plans->featured) {
        const aleat_value wanted[] = {net->spec.out, net->features};
        st = aleat_plan_new(&plans->featured, net->engine, images, wanted, 2, ALEAT_NO_VALUE, err);
        if (!st)
            aleat_plan_share(plans->featured, &net->passing);
    }
    *plan = plans->featured;
    return st;
}

static aleat_status network_features(void *self, const aleat_batch *in, float *features, float *out,
                                     aleat_error *err)
{
    network *net = self;
    aleat_status st = check_batch(net, in, err);
    if (!st)
        st = find_forward_images(net, err);
    const int64_t part = st ? 0 : equal_parts(in->n, net->forward_images);
    const int64_t size = net->spec.info.features;
    for (int64_t first = 0; !st && first < in->n; first += part) {
        const int64_t count = in->n - first < part ? in->n - first : part;
        aleat_plan *plan;
        st = featured_plan(net, count, &plan, err);
        if (st)
            break;
        evaluate(net, plan, in, first, count, out + first * out_size(net));
        memcpy(features + first * size, aleat_plan_data(plan, net->features),
               (size_t)(count * size) * sizeof *features);
    }
    return st;
}

static void network_destroy(void *self)
{
    network *net = self;
    if (!net)
        return;
    for (int64_t i = 0; i <= MOST_IMAGES; i++) {
        aleat_plan_free(net->plans[i].forward);
        aleat_plan_free(net->plans[i].dropping);
        aleat_plan_free(net->plans[i].featured);
        aleat_plan_free(net->plans[i].reverse);
        aleat_plan_free(net->plans[i].tangent);
    }
    aleat_plan_pool_clear(&net->passing);
    aleat_plan_pool_clear(&net->kept);
    aleat_engine_free(net->engine);
    aleat_free(net->kept_x);
    aleat_free(net->kept_t);
    aleat_condition_rows_clear(&net->kept_conditions);
    aleat_free(net);
}

#define OPS                                                                                        \
    .predict = network_predict, .forward_keep = network_forward_keep,                              \
    .backward = network_backward, .jvp = network_jvp, .keep_limit = network_keep_limit,            \
    .destroy = network_destroy
static const aleat_denoiser_ops network_ops = {OPS};
static const aleat_denoiser_ops featured_ops = {OPS, .features = network_features};
#undef OPS

// Of a network that ends in a layer with weights, the input of that layer.
static void find_features(network *net)
{
    aleat_last_layer last;
    net->features = ALEAT_NO_VALUE;
    net->spec.info.features = 0;
    if (aleat_graph_last_layer(&last, net->spec.graph, net->spec.out, NULL))
        return;
    const aleat_dims d = aleat_graph_dims(net->spec.graph, last.features);
    net->features = last.features;
    net->spec.info.features = d.h * d.w * d.c;
}

aleat_status aleat_network_denoiser(aleat_denoiser *out, const aleat_network_spec *spec,
                                    aleat_error *err)
{
    memset(out, 0, sizeof *out);
    network *net = aleat_calloc(1, sizeof *net);
    if (!net)
        return aleat_fail_memory(err, "a network");
    net->spec = *spec;
    const aleat_dims x = aleat_graph_dims(spec->graph, spec->x);
    const aleat_dims y = aleat_graph_dims(spec->graph, spec->out);
    net->in_pixels = x.h * x.w;
    net->out_pixels = y.h * y.w;
    net->cotangent = net->grad = net->tangent = net->tangent_out = ALEAT_NO_VALUE;
    if (net->spec.max_images <= 0)
        net->spec.max_images = DEFAULT_IMAGES;
    if (net->spec.max_images > MOST_IMAGES)
        net->spec.max_images = MOST_IMAGES;
    const aleat_status st = aleat_engine_new(&net->engine, spec->graph, &spec->engine, err);
    if (st) {
        network_destroy(net);
        return st;
    }
    find_features(net);
    *out = (aleat_denoiser){.ops = net->features == ALEAT_NO_VALUE ? &network_ops : &featured_ops,
                            .self = net,
                            .info = net->spec.info};
    out->info.dropout = aleat_graph_dropout(spec->graph);
    return ALEAT_OK;
}

aleat_network_stats aleat_network_denoiser_stats(const aleat_denoiser *denoiser)
{
    const network *net = denoiser->self;
    aleat_network_stats stats = {.weight_bytes = aleat_engine_weight_bytes(net->engine),
                                 .threads = aleat_engine_threads(net->engine)};
    stats.plan_bytes = aleat_plan_pool_bytes(&net->passing) + aleat_plan_pool_bytes(&net->kept);
    for (int64_t i = 0; i <= MOST_IMAGES; i++)
        if (net->plans[i].forward)
            stats.flop = aleat_plan_flop(net->plans[i].forward);
    const aleat_network_stats *told = &net->measured; // what no plan has shown so far
    stats.flop = stats.flop != 0 ? stats.flop : told->flop;
    stats.weight_bytes = stats.weight_bytes ? stats.weight_bytes : told->weight_bytes;
    stats.plan_bytes = stats.plan_bytes ? stats.plan_bytes : told->plan_bytes;
    return stats;
}

aleat_status aleat_network_denoiser_measure(const aleat_denoiser *denoiser, aleat_error *err)
{
    network *net = denoiser->self;
    aleat_engine *engine;
    aleat_plan *plan = NULL;
    aleat_engine_options options = net->spec.engine;
    options.sizes_only = true;
    aleat_status st = aleat_engine_new(&engine, net->spec.graph, &options, err);
    if (!st)
        st = aleat_plan_new(&plan, engine, 1, &net->spec.out, 1, ALEAT_NO_VALUE, err);
    if (!st)
        net->measured = (aleat_network_stats){.flop = aleat_plan_flop(plan),
                                              .weight_bytes = aleat_engine_weight_bytes(engine),
                                              .plan_bytes = aleat_plan_bytes(plan)};
    aleat_plan_free(plan);
    aleat_engine_free(engine);
    return st;
}
