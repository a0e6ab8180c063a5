/* Networks of the reference cases with their derivatives, and vectors to try derivatives with. */
#ifndef ALEAT_TESTS_DERIVATIVE_H
#define ALEAT_TESTS_DERIVATIVE_H

#include "case.h"

#include <math.h>

#include "base/alloc.h"
#include "base/cpu.h"
#include "base/error.h"
#include "denoiser/network.h"
#include "models/model.h"

/* In [-1, 1): splitmix64. */
static inline float *numbers(int64_t n, uint64_t state)
{
    float *x = aleat_alloc((size_t)n * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        uint64_t z = state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        x[i] = (float)((double)((z ^ (z >> 31)) >> 40) * 0x1p-23 - 1);
    }
    return x;
}

static inline double dot(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* A case's arrays and its network, of which several denoisers can be made. */
typedef struct unet_case {
    aleat_model_files model;
    aleat_tensor x, t, u, v, jvp, grad;
    int32_t labels[16];
    aleat_batch batch;
    int64_t in, out; // elements of x and of the output, all images
} unet_case;

static inline unet_case open_case(const char *folder)
{
    unet_case c = {.x = load(folder, "x.npy"),
                   .t = load(folder, "t.npy"),
                   .u = load(folder, "u.npy"),
                   .v = load(folder, "v.npy"),
                   .jvp = load(folder, "jvp_f64.npy"),
                   .grad = load(folder, "grad_x_f64.npy")};
    aleat_error err = {0};
    const aleat_model_options size = {.height = c.x.shape.dim[2], .width = c.x.shape.dim[3]};
    if (aleat_model_files_open(&c.model, case_path(folder, "model"), &size, &err))
        fail_msg("%s", err.message);
    c.batch = (aleat_batch){.n = c.x.shape.dim[0],
                            .height = size.height,
                            .width = size.width,
                            .x = aleat_tensor_f32(&c.x),
                            .t = aleat_tensor_f32(&c.t)};
    if (c.model.info.n_classes) {
        aleat_tensor labels = load(folder, "class_labels.npy");
        for (int64_t i = 0; i < c.batch.n; i++)
            c.labels[i] = (int32_t)aleat_tensor_f32(&labels)[i];
        aleat_tensor_clear(&labels);
    }
    c.in = aleat_tensor_count(&c.x);
    c.out = aleat_tensor_count(&c.v);
    return c;
}

static inline void close_case(unet_case *c)
{
    aleat_tensor *const all[] = {&c->x, &c->t, &c->u, &c->v, &c->jvp, &c->grad};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        aleat_tensor_clear(all[i]);
    aleat_model_files_close(&c->model);
}

/* The batch, with labels where the network has them. */
static inline aleat_batch batch_of(const unet_case *c)
{
    aleat_batch batch = c->batch;
    batch.condition.labels = c->model.info.n_classes ? c->labels : NULL;
    return batch;
}

static inline aleat_denoiser bounded_denoiser_of(const unet_case *c,
                                                 const aleat_engine_options *engine,
                                                 int64_t max_images, int64_t reverse_mb,
                                                 int64_t memory)
{
    const aleat_network_spec spec = {.graph = c->model.graph,
                                     .x = c->model.network.x,
                                     .t = c->model.network.t,
                                     .label = c->model.network.label,
                                     .out = c->model.network.out,
                                     .info = c->model.info,
                                     .engine = *engine,
                                     .max_images = max_images,
                                     .reverse_mb = reverse_mb,
                                     .memory = memory};
    aleat_denoiser d;
    aleat_error err = {0};
    if (aleat_network_denoiser(&d, &spec, &err))
        fail_msg("%s", err.message);
    return d;
}

static inline aleat_denoiser denoiser_of(const unet_case *c, const aleat_engine_options *engine,
                                         int64_t max_images, int64_t reverse_mb)
{
    return bounded_denoiser_of(c, engine, max_images, reverse_mb, 0);
}

/* Where the five cases lie; those below ALEAT_SHARED may be missing. */
static const char *const unet_cases[] = {"data/ddpm-unet-c", "data/ddpm-unet-d", "ddpm-unet-a",
                                         "ddpm-unet-b", "ddpm-unet-m"};
enum { UNET_CASES = sizeof unet_cases / sizeof *unet_cases };

#endif
