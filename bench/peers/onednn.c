/*
 * oneDNN 2.x and our convolutions on the same shapes in one process: seconds, GFLOP/s as of a
 * direct convolution, relative L2 error against double, and whether an image keeps its bits when
 * the threads or the batch change. One JSON object a line.
 *
 * Usage: onednn [repeats [threads]]. With one thread seconds are those of the processor, not of the
 * clock on the wall: on a machine that does other work only they can be compared.
 */
#include <dnnl.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cpu.h"
#include "kernels/conv.h"

enum { MOST_REPEATS = 100 };

typedef struct shape {
    int64_t n, c_in, c_out, size, kernel;
} shape;

static const shape shapes[] = {{5, 128, 128, 32, 3}, {5, 256, 256, 16, 3},  {5, 512, 256, 8, 3},
                               {5, 256, 256, 4, 3},  {5, 512, 256, 16, 1},  {1, 320, 320, 64, 3},
                               {1, 512, 512, 64, 3}, {1, 1280, 1280, 8, 3}, {16, 128, 128, 32, 3}};

static void need(dnnl_status_t status, const char *what)
{
    if (status == dnnl_success)
        return;
    (void)fprintf(stderr, "onednn: %s: status %d\n", what, (int)status);
    exit(1);
}

/* ---- one way to compute ---------------------------------------------------------------------- */

// What is measured: an algorithm of either library, forward or backward-data.
typedef struct way {
    const char *name;
    bool ours, backward, bf16, blocked;
    dnnl_alg_kind_t kind;
    aleat_conv_algorithm algorithm;
} way;

static const way ways[] = {
    {"onednn f32 nhwc", false, false, false, false, dnnl_convolution_direct, 0},
    {"onednn f32 blocked", false, false, false, true, dnnl_convolution_direct, 0},
    {"onednn f32 winograd", false, false, false, true, dnnl_convolution_winograd, 0},
    {"onednn bf16 nhwc", false, false, true, false, dnnl_convolution_direct, 0},
    {"onednn f32 backward-data nhwc", false, true, false, false, dnnl_convolution_direct, 0},
    {"onednn f32 backward-data blocked", false, true, false, true, dnnl_convolution_direct, 0},
    {"aleat f32 direct", true, false, false, false, 0, ALEAT_CONV_DIRECT},
    {"aleat f32 winograd", true, false, false, false, 0, ALEAT_CONV_WINOGRAD},
    {"aleat bf16 direct", true, false, true, false, 0, ALEAT_CONV_DIRECT_BF16},
    {"aleat f32 adjoint direct", true, true, false, false, 0, ALEAT_CONV_DIRECT},
    {"aleat f32 adjoint winograd", true, true, false, false, 0, ALEAT_CONV_WINOGRAD},
};

// Channels that are read and written: backward-data exchanges them.
static int64_t from_of(const shape *s, const way *w)
{
    return w->backward ? s->c_out : s->c_in;
}
static int64_t to_of(const shape *s, const way *w)
{
    return w->backward ? s->c_in : s->c_out;
}

typedef struct timing {
    double seconds[MOST_REPEATS];
    int count;
} timing;

static int threads_asked = 2;

static double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(threads_asked == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* ---- ours ------------------------------------------------------------------------------------ */

static bool run_ours(const shape *s, const way *w, const float *x, const float *weights, float *y,
                     int threads, timing *t)
{
    const aleat_kernels *k = aleat_kernels_for(aleat_cpu_isa());
    if ((w->bf16 && !k->igemm_bf16) ||
        (w->algorithm == ALEAT_CONV_WINOGRAD && (s->kernel != 3 || from_of(s, w) % k->vlen)))
        return false;
    aleat_filter filter = aleat_filter_of(weights, s->c_out, s->c_in, s->kernel, s->kernel);
    if (w->backward)
        filter = aleat_filter_adjoint(&filter);
    aleat_packed packed;
    const aleat_conv_geometry g = {.images = s->n,
                                   .in_h = s->size,
                                   .in_w = s->size,
                                   .out_h = s->size,
                                   .out_w = s->size,
                                   .stride = 1,
                                   .pad_top = s->kernel / 2,
                                   .pad_left = s->kernel / 2,
                                   .upsample = 1,
                                   .dilate = 1,
                                   .x_ld = from_of(s, w),
                                   .y_ld = to_of(s, w)};
    const aleat_epilogue e = {.scale = 1};
    if (!aleat_packed_make(&packed, k, w->algorithm, &filter, threads))
        exit(1);
    void *scratch = aleat_alloc(aleat_conv_scratch(k, &packed, &g, threads));
    for (int i = -1; i < t->count; i++) { // the first is for the caches
        const double begin = seconds_now();
        aleat_conv_run(k, &packed, &g, x, y, &e, scratch, threads);
        if (i >= 0)
            t->seconds[i] = seconds_now() - begin;
    }
    aleat_free(scratch);
    aleat_packed_free(&packed);
    return true;
}

/* ---- oneDNN ---------------------------------------------------------------------------------- */

static dnnl_engine_t engine;
static dnnl_stream_t stream;

typedef struct memories {
    dnnl_memory_t user, used; // as given, and in the layout that the primitive wants
} memories;

static dnnl_memory_desc_t desc_of(const dnnl_dims_t dims, dnnl_data_type_t type,
                                  dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t d;
    need(dnnl_memory_desc_init_by_tag(&d, 4, dims, type, tag), "a memory descriptor");
    return d;
}

static void reorder(dnnl_memory_t from, dnnl_memory_t to)
{
    const dnnl_memory_desc_t *a, *b;
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t p;
    (void)dnnl_memory_get_memory_desc(from, &a);
    (void)dnnl_memory_get_memory_desc(to, &b);
    need(dnnl_reorder_primitive_desc_create(&pd, a, engine, b, engine, NULL), "a reorder");
    need(dnnl_primitive_create(&p, pd), "a reorder");
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    need(dnnl_primitive_execute(p, stream, 2, args), "a reorder");
    (void)dnnl_stream_wait(stream);
    dnnl_primitive_destroy(p);
    dnnl_primitive_desc_destroy(pd);
}

static memories make_memories(const dnnl_memory_desc_t *given, const dnnl_memory_desc_t *wanted,
                              const float *data)
{
    memories m;
    need(dnnl_memory_create(&m.user, given, engine, (void *)(uintptr_t)data), "memory");
    need(dnnl_memory_create(&m.used, wanted, engine, DNNL_MEMORY_ALLOCATE), "memory");
    reorder(m.user, m.used);
    return m;
}

static void free_memories(memories *m)
{
    dnnl_memory_destroy(m->user);
    dnnl_memory_destroy(m->used);
}

// False if oneDNN has no such primitive for the shape.
static bool make_primitive(const shape *s, const way *w, dnnl_memory_desc_t d[3],
                           dnnl_primitive_desc_t *pd)
{
    const dnnl_dims_t src = {s->n, s->c_in, s->size, s->size};
    const dnnl_dims_t dst = {s->n, s->c_out, s->size, s->size};
    const dnnl_dims_t wei = {s->c_out, s->c_in, s->kernel, s->kernel}, strides = {1, 1};
    const dnnl_dims_t pad = {s->kernel / 2, s->kernel / 2};
    const dnnl_data_type_t type = w->bf16 ? dnnl_bf16 : dnnl_f32;
    const dnnl_format_tag_t tag = w->blocked ? dnnl_format_tag_any : dnnl_nhwc;
    d[0] = desc_of(src, type, tag);
    d[1] = desc_of(wei, type, dnnl_format_tag_any);
    d[2] = desc_of(dst, w->bf16 ? dnnl_f32 : type, tag);
    dnnl_convolution_desc_t c;
    const dnnl_status_t made =
        w->backward ? dnnl_convolution_backward_data_desc_init(&c, w->kind, &d[0], &d[1], &d[2],
                                                               strides, pad, pad)
                    : dnnl_convolution_forward_desc_init(&c, dnnl_forward_inference, w->kind, &d[0],
                                                         &d[1], NULL, &d[2], strides, pad, pad);
    return made == dnnl_success &&
           dnnl_primitive_desc_create(pd, &c, NULL, engine, NULL) == dnnl_success;
}

static bool run_onednn(const shape *s, const way *w, const float *x, const float *weights, float *y,
                       int threads, timing *t)
{
    dnnl_memory_desc_t d[3];
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t p;
    omp_set_num_threads(threads);
    if (!make_primitive(s, w, d, &pd))
        return false;
    need(dnnl_primitive_create(&p, pd), "a convolution");
    const dnnl_dims_t from = {s->n, from_of(s, w), s->size, s->size};
    const dnnl_dims_t to = {s->n, to_of(s, w), s->size, s->size};
    const dnnl_dims_t wei = {s->c_out, s->c_in, s->kernel, s->kernel};
    const dnnl_memory_desc_t given[] = {desc_of(from, dnnl_f32, dnnl_nhwc),
                                        desc_of(wei, dnnl_f32, dnnl_oihw),
                                        desc_of(to, dnnl_f32, dnnl_nhwc)};
    const dnnl_query_t in = w->backward ? dnnl_query_diff_dst_md : dnnl_query_src_md;
    const dnnl_query_t out = w->backward ? dnnl_query_diff_src_md : dnnl_query_dst_md;
    memories a = make_memories(&given[0], dnnl_primitive_desc_query_md(pd, in, 0), x);
    memories b = make_memories(&given[1],
                               dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0), weights);
    memories c = make_memories(&given[2], dnnl_primitive_desc_query_md(pd, out, 0), y);
    const dnnl_exec_arg_t args[] = {{w->backward ? DNNL_ARG_DIFF_DST : DNNL_ARG_SRC, a.used},
                                    {DNNL_ARG_WEIGHTS, b.used},
                                    {w->backward ? DNNL_ARG_DIFF_SRC : DNNL_ARG_DST, c.used}};
    for (int i = -1; i < t->count; i++) {
        const double begin = seconds_now();
        need(dnnl_primitive_execute(p, stream, 3, args), "a convolution");
        (void)dnnl_stream_wait(stream);
        if (i >= 0)
            t->seconds[i] = seconds_now() - begin;
    }
    reorder(c.used, c.user);
    free_memories(&a);
    free_memories(&b);
    free_memories(&c);
    dnnl_primitive_destroy(p);
    dnnl_primitive_desc_destroy(pd);
    return true;
}

/* ---- measuring ------------------------------------------------------------------------------- */

// The first image's error, from a sample of its pixels in double.
static double error_of(const shape *s, const way *w, const float *x, const float *weights,
                       const float *y)
{
    double error = 0, norm = 0;
    const int64_t from = from_of(s, w), to = to_of(s, w), k = s->kernel, pad = k / 2;
    for (int64_t p = 0; p < s->size * s->size; p += s->size * s->size / 16 + 1)
        for (int64_t o = 0; o < to; o++) {
            double sum = 0;
            for (int64_t t = 0; t < k * k; t++) {
                const int64_t iy = p / s->size + t / k - pad, ix = p % s->size + t % k - pad;
                if (iy < 0 || ix < 0 || iy >= s->size || ix >= s->size)
                    continue;
                for (int64_t i = 0; i < from; i++) {
                    const int64_t tap = w->backward ? (i * to + o) * k * k + k * k - 1 - t
                                                    : (o * from + i) * k * k + t;
                    sum += (double)x[(iy * s->size + ix) * from + i] * (double)weights[tap];
                }
            }
            error += pow((double)y[p * to + o] - sum, 2);
            norm += sum * sum;
        }
    return sqrt(error / norm);
}

static void measure(const shape *s, const way *w, const float *x, const float *weights, int repeats)
{
    const size_t image = (size_t)(s->size * s->size * to_of(s, w));
    const size_t all = (size_t)s->n * image;
    float *y = aleat_calloc(all, sizeof *y), *z = aleat_calloc(all, sizeof *z);
    timing t = {.count = repeats}, once = {.count = 0};
    bool (*const run)(const shape *, const way *, const float *, const float *, float *, int,
                      timing *) = w->ours ? run_ours : run_onednn;
    if (!y || !z || !run(s, w, x, weights, y, threads_asked, &t))
        goto done;
    qsort(t.seconds, (size_t)t.count, sizeof *t.seconds, by_value);
    (void)run(s, w, x, weights, z, threads_asked == 1 ? 2 : 1, &once);
    const bool threads_same = !memcmp(y, z, all * sizeof *y);
    shape alone = *s;
    alone.n = 1;
    (void)run(&alone, w, x, weights, z, threads_asked, &once);
    const bool batch_same = !memcmp(y, z, image * sizeof *y);
    const double flop =
        2.0 * (double)(s->n * s->size * s->size * s->c_in * s->c_out * s->kernel * s->kernel);
    const double median = t.seconds[t.count / 2];
    (void)printf(
        "{\"what\": \"%s\", \"n\": %d, \"c_in\": %d, \"c_out\": %d, \"size\": %d, "
        "\"kernel\": %d, \"threads\": %d, \"seconds\": %.6f, \"seconds_min\": %.6f, \"seconds_max\": %.6f, "
        "\"gflop_per_s\": %.0f, \"gflop_per_s_best\": %.0f, \"relative_l2\": %.2e, "
        "\"same_bits_threads\": %s, \"same_bits_batch\": %s}\n",
        w->name, (int)s->n, (int)s->c_in, (int)s->c_out, (int)s->size, (int)s->kernel,
        threads_asked, median, t.seconds[0], t.seconds[t.count - 1], 1e-9 * flop / median,
        1e-9 * flop / t.seconds[0], error_of(s, w, x, weights, y), threads_same ? "true" : "false",
        batch_same ? "true" : "false");
    (void)fflush(stdout);
done:
    aleat_free(y);
    aleat_free(z);
}

static void fill(float *x, size_t n, float size)
{
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = size * ((float)(state >> 8) * 0x1p-23f - 1);
    }
}

int main(int argc, char **argv)
{
    const int asked = argc > 1 ? atoi(argv[1]) : 9;
    const int repeats = asked < 1 ? 1 : asked > MOST_REPEATS ? MOST_REPEATS : asked;
    threads_asked = argc > 2 && atoi(argv[2]) > 0 ? atoi(argv[2]) : 2;
    need(dnnl_engine_create(&engine, dnnl_cpu, 0), "an engine");
    need(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "a stream");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const shape *s = &shapes[i];
        const int64_t widest = s->c_in > s->c_out ? s->c_in : s->c_out;
        const size_t n_x = (size_t)(s->n * s->size * s->size * widest);
        const size_t n_w = (size_t)(s->c_in * s->c_out * s->kernel * s->kernel);
        float *x = aleat_alloc(n_x * sizeof *x), *weights = aleat_alloc(n_w * sizeof *weights);
        if (!x || !weights)
            return 1;
        fill(x, n_x, 1);
        fill(weights, n_w, 0.05f);
        for (size_t j = 0; j < sizeof ways / sizeof *ways; j++)
            measure(s, &ways[j], x, weights, repeats);
        aleat_free(x);
        aleat_free(weights);
    }
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
    return 0;
}
