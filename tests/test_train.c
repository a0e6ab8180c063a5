/* Gradients of parameters, and training from them. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "aleat/aleat.h"
#include "base/alloc.h"
#include "base/cpu.h"
#include "base/rng.h"
#include "io/file.h"
#include "io/json.h"
#include "kernels/weight_grad.h"
#include "kernels/winograd_grad.h"
#include "train/learner.h"

/* A small network with everything that training meets: attention, both kinds of resampling,
 * a shortcut convolution, labels, dropout. */
#define CONFIG(shift, down, up)                                                                    \
    "{\"_class_name\": \"UNet2DModel\", \"sample_size\": 8, \"in_channels\": 1, "                  \
    "\"out_channels\": 1, \"block_out_channels\": [16, 32], \"layers_per_block\": 1, "             \
    "\"down_block_types\": [\"" down "\", \"AttnDownBlock2D\"], "                                  \
    "\"up_block_types\": [\"AttnUpBlock2D\", \"" up "\"], \"attention_head_dim\": 8, "             \
    "\"norm_num_groups\": 4, \"num_class_embeds\": 3, \"_aleat_null_class\": 2, "                  \
    "\"dropout\": 0.2, \"resnet_time_scale_shift\": \"" shift "\"}"

enum { TRAIN_STEPS = 10, IMAGES = 12, SIZE = 8 };

typedef struct fixture {
    char folder[64], *config;
    aleat_dataset data;
    aleat_params params;
    aleat_learner *learner;
    double abar[TRAIN_STEPS];
    aleat_problem problem;
} fixture;

/** Images with something to learn: a bright left or right half, by the label. */
static void make_data(aleat_dataset *data)
{
    *data = (aleat_dataset){
        .count = IMAGES, .height = SIZE, .width = SIZE, .channels = 1, .classes = 2};
    data->pixels = aleat_calloc(IMAGES, SIZE * SIZE);
    data->labels = aleat_calloc(IMAGES, sizeof *data->labels);
    assert_non_null(data->pixels);
    assert_non_null(data->labels);
    for (int i = 0; i < IMAGES; i++) {
        data->labels[i] = i % 2;
        for (int p = 0; p < SIZE * SIZE; p++)
            data->pixels[i * SIZE * SIZE + p] = (uint8_t)(p % SIZE / 4 == i % 2 ? 230 - 5 * i : 10);
    }
}

static void set_up(fixture *f, const aleat_task *task, const char *config,
                   aleat_precision precision, aleat_prediction prediction)
{
    memset(f, 0, sizeof *f);
    strcpy(f->folder, "/tmp/aleat-train-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->config = aleat_path_join(f->folder, "config.json");
    assert_int_equal(aleat_write_file(f->config, config, strlen(config), NULL), ALEAT_OK);
    make_data(&f->data);
    for (int t = 0; t < TRAIN_STEPS; t++)
        f->abar[t] = 1 - (t + 0.5) / TRAIN_STEPS;
    aleat_error err = {0};
    aleat_model_files blueprint;
    if (aleat_model_files_build(&blueprint, f->config, NULL, NULL, &err) ||
        aleat_params_new(&f->params, blueprint.graph, 7, &err))
        fail_msg("%s", err.message);
    aleat_model_files_close(&blueprint);
    f->problem = (aleat_problem){.task = task,
                                 .data = &f->data,
                                 .seed = 3,
                                 .label_drop = 0.2,
                                 .flip = true,
                                 .shift = 1,
                                 .threads = 1,
                                 .precision = precision,
                                 .abar = f->abar,
                                 .train_steps = TRAIN_STEPS,
                                 .prediction = prediction};
    if (aleat_learner_new(&f->learner, f->config, &f->params, &f->problem, 6, &err))
        fail_msg("%s", err.message);
}

static void tear_down(fixture *f)
{
    unlink(f->config);
    rmdir(f->folder);
    aleat_free(f->config);
    aleat_learner_free(f->learner);
    aleat_params_clear(&f->params);
    aleat_dataset_clear(&f->data);
}

static double loss_of(fixture *f)
{
    double loss;
    assert_int_equal(aleat_learner_refresh(f->learner, NULL), ALEAT_OK);
    assert_int_equal(aleat_learner_gradient(f->learner, 5, &loss, NULL), ALEAT_OK);
    return loss;
}

/** d loss along `direction` over tensor i, by central differences of step h. */
static double difference(fixture *f, int64_t i, const float *direction, double h)
{
    float *values = f->params.data[ALEAT_VALUES] + f->params.offsets[i];
    const int64_t n = f->params.offsets[i + 1] - f->params.offsets[i];
    float *kept = aleat_alloc((size_t)n * sizeof *kept);
    double loss[2];
    assert_non_null(kept);
    memcpy(kept, values, (size_t)n * sizeof *kept);
    for (int side = 0; side < 2; side++) {
        for (int64_t j = 0; j < n; j++)
            values[j] = kept[j] + (float)(side ? -h : h) * direction[j];
        loss[side] = loss_of(f);
    }
    memcpy(values, kept, (size_t)n * sizeof *kept);
    aleat_free(kept);
    return (loss[0] - loss[1]) / (2 * h);
}

static void check_gradients(const aleat_task *task, const char *config, aleat_prediction prediction)
{
    fixture f;
    set_up(&f, task, config, ALEAT_PRECISION_F32, prediction);
    (void)loss_of(&f);
    const int64_t size = aleat_params_size(&f.params);
    float *grad = aleat_alloc((size_t)size * sizeof *grad);
    float *direction = aleat_alloc((size_t)size * sizeof *direction);
    assert_non_null(grad);
    assert_non_null(direction);
    memcpy(grad, f.params.grad, (size_t)size * sizeof *grad);
    for (int64_t i = 0; i < f.params.count; i++) {
        const int64_t first = f.params.offsets[i], n = f.params.offsets[i + 1] - first;
        // Along the gradient itself, of length 1, and along a random direction.
        for (int kind = 0; kind < 2; kind++) {
            const aleat_rng_key key = {.seed = 5, .image = (uint32_t)i};
            double norm = 0, inner = 0, grad_norm = 0;
            aleat_rng_normals(&key, 0, direction, n);
            for (int64_t j = 0; j < n; j++) {
                if (!kind)
                    direction[j] = grad[first + j];
                norm += (double)direction[j] * (double)direction[j];
                grad_norm += (double)grad[first + j] * (double)grad[first + j];
            }
            for (int64_t j = 0; j < n && norm > 0; j++) {
                direction[j] /= (float)sqrt(norm);
                inner += (double)direction[j] * (double)grad[first + j];
            }
            const double numeric = norm > 0 ? difference(&f, i, direction, 1e-2) : 0;
            // The loss is about 1 and carries 1e-7 of rounding, so a difference carries 1e-5; the
            // curvature adds h^2 of the third derivative.
            const double bound = 2e-5 + 0.02 * sqrt(grad_norm);
            if (!(fabs(numeric - inner) <= bound))
                fail_msg("%s, direction %d: %g by differences, %g by reverse mode",
                         f.params.names[i], kind, numeric, inner);
        }
    }
    aleat_free(grad);
    aleat_free(direction);
    tear_down(&f);
}

static void the_gradient_of_every_tensor_agrees_with_differences(void **state)
{
    (void)state;
    check_gradients(&aleat_task_diffusion, CONFIG("default", "DownBlock2D", "UpBlock2D"),
                    ALEAT_PREDICTS_EPSILON);
}

// SiLU, since at the kinks of ReLU a difference is no derivative.
static void so_it_does_in_a_classifier(void **state)
{
    (void)state;
    check_gradients(&aleat_task_classify,
                    "{\"_class_name\": \"PreActResNet\", \"sample_size\": 8, \"in_channels\": 1, "
                    "\"block_out_channels\": [16, 20], \"layers_per_block\": 2, "
                    "\"num_classes\": 2, \"norm_num_groups\": 4, \"act_fn\": \"silu\", "
                    "\"dropout\": 0.2}",
                    ALEAT_PREDICTS_EPSILON);
}

static void so_it_does_with_scale_shift_and_resampling_blocks_and_v(void **state)
{
    (void)state;
    check_gradients(&aleat_task_diffusion,
                    CONFIG("scale_shift", "ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D"),
                    ALEAT_PREDICTS_V);
}

/** The loss and the gradient of the fixture's network, in new memory. */
static float *gradient_of(aleat_precision precision, int64_t *size, double *loss)
{
    fixture f;
    set_up(&f, &aleat_task_diffusion, CONFIG("default", "DownBlock2D", "UpBlock2D"), precision,
           ALEAT_PREDICTS_EPSILON);
    *loss = loss_of(&f);
    *size = aleat_params_size(&f.params);
    float *grad = aleat_alloc((size_t)*size * sizeof *grad);
    assert_non_null(grad);
    memcpy(grad, f.params.grad, (size_t)*size * sizeof *grad);
    tear_down(&f);
    return grad;
}

static bool has_bf16(void)
{
    const bool has = aleat_kernels_for(aleat_cpu_isa())->igemm_bf16 != NULL;
    if (!has)
        print_message("skipped: this processor has no bf16 instructions\n");
    return has;
}

static void a_gradient_in_bf16_is_near_that_in_f32(void **state)
{
    (void)state;
    if (!has_bf16())
        return;
    int64_t size = 0;
    double exact_loss = 0, loss = 0;
    float *exact = gradient_of(ALEAT_PRECISION_F32, &size, &exact_loss);
    float *grad = gradient_of(ALEAT_PRECISION_BF16, &size, &loss);
    // A factor of a product is off by 2^-9 at most. Some ten products one after the other, whose
    // roundings are independent, are off by sqrt(20) of that, 1 %; three times as much is allowed.
    const double error = aleat_relative_l2(grad, exact, size);
    assert_true(error < 3e-2);
    assert_true(error > 1e-5); // or it was not computed in bf16
    assert_true(fabs(loss - exact_loss) < 3e-2 * exact_loss);
    aleat_free(exact);
    aleat_free(grad);
}

/* ---- gradients of single operations ---------------------------------------------------------- */

static float *randoms(int64_t n, uint32_t image)
{
    const aleat_rng_key key = {.seed = 17, .image = image};
    float *x = aleat_alloc((size_t)n * sizeof *x);
    assert_non_null(x);
    aleat_rng_normals(&key, 0, x, n);
    return x;
}

/** dw and the sum of the terms' magnitudes, in double, for one element of a 3x3 convolution. */
static void weight_gradient_in_double(const aleat_weight_grad *g, const float *x, const float *dy,
                                      int64_t o, int64_t i, int64_t ky, int64_t kx, double *sum,
                                      double *magnitude)
{
    *sum = *magnitude = 0;
    for (int64_t n = 0; n < g->images; n++)
        for (int64_t r = 0; r < g->out_h; r++)
            for (int64_t c = 0; c < g->out_w; c++) {
                const int64_t u = r * g->stride + ky - g->pad_top;
                const int64_t v = c * g->stride + kx - g->pad_left;
                if (u < 0 || v < 0 || u >= g->in_h || v >= g->in_w)
                    continue;
                const double term = (double)x[((n * g->in_h + u) * g->in_w + v) * g->x_ld + i] *
                                    (double)dy[((n * g->out_h + r) * g->out_w + c) * g->dy_ld + o];
                *sum += term;
                *magnitude += fabs(term);
            }
}

static void check_weight_gradient(int64_t stride, bool bf16)
{
    enum { N = 3, SIDE = 8, C_IN = 24, C_OUT = 20 };
    const aleat_kernels *k = aleat_kernels_for(aleat_cpu_isa());
    const aleat_weight_grad g = {.images = N,
                                 .in_h = SIDE,
                                 .in_w = SIDE,
                                 .out_h = SIDE / stride,
                                 .out_w = SIDE / stride,
                                 .c_in = C_IN,
                                 .c_out = C_OUT,
                                 .kernel_h = 3,
                                 .kernel_w = 3,
                                 .stride = stride,
                                 .pad_top = 1,
                                 .pad_left = 1,
                                 .x_ld = C_IN,
                                 .dy_ld = C_OUT,
                                 .bf16 = bf16};
    const int64_t terms = N * g.out_h * g.out_w;
    float *x = randoms(N * SIDE * SIDE * C_IN, 1), *dy = randoms(terms * C_OUT, 2);
    float dw[C_OUT * C_IN * 9], db[C_OUT];
    void *scratch = aleat_alloc(aleat_weight_grad_scratch(k, &g, 2));
    assert_non_null(scratch);
    aleat_weight_grad_run(k, &g, x, dy, dw, db, scratch, 2);
    // Each term: its two factors rounded to 8 bits, 2^-9 each. Each addition: 2^-24 of the sum.
    const double each = (bf16 ? 0x1p-8 + 0x1p-18 : 0) + (double)(terms + 1) * 0x1p-24;
    for (int64_t e = 0; e < C_OUT * C_IN * 9; e++) {
        double sum, magnitude;
        weight_gradient_in_double(&g, x, dy, e / 9 / C_IN, e / 9 % C_IN, e % 9 / 3, e % 3, &sum,
                                  &magnitude);
        if (!(fabs((double)dw[e] - sum) <= each * magnitude))
            fail_msg("stride %d, bf16 %d, element %d: %g, not %g", (int)stride, bf16, (int)e,
                     (double)dw[e], sum);
    }
    aleat_free(scratch);
    aleat_free(x);
    aleat_free(dy);
}

static void gradients_of_weights_agree_with_double_in_f32_and_in_bf16(void **state)
{
    (void)state;
    const bool both = has_bf16();
    for (int64_t stride = 1; stride <= 2; stride++)
        for (int bf16 = 0; bf16 <= both; bf16++)
            check_weight_gradient(stride, bf16);
}

/** The gradient on 3 threads, which is that on 1 and 2 bit by bit. [c_out, c_in, taps], owned by
 * the caller. */
static float *gradient_on_any_threads(const aleat_kernels *k, const aleat_weight_grad *g,
                                      const float *x, const float *dy)
{
    const size_t bytes = (size_t)(g->c_out * g->c_in * g->kernel_h * g->kernel_w) * sizeof(float);
    float *dw = aleat_alloc(bytes), *one = aleat_alloc(bytes);
    assert_true(dw && one);
    for (int threads = 1; threads <= 3; threads++) {
        void *scratch = aleat_alloc(aleat_weight_grad_scratch(k, g, threads));
        assert_non_null(scratch);
        aleat_weight_grad_run(k, g, x, dy, threads == 1 ? one : dw, NULL, scratch, threads);
        if (threads > 1)
            assert_memory_equal(one, dw, bytes);
        aleat_free(scratch);
    }
    aleat_free(one);
    return dw;
}

/** Every element of the gradient of a 1x1 kernel: a rounding a term. */
static void check_dense_gradient(const aleat_kernels *k, int64_t images, int64_t h, int64_t w,
                                 int64_t c_in, int64_t c_out)
{
    const aleat_weight_grad g = {.images = images,
                                 .in_h = h,
                                 .in_w = w,
                                 .out_h = h,
                                 .out_w = w,
                                 .c_in = c_in,
                                 .c_out = c_out,
                                 .kernel_h = 1,
                                 .kernel_w = 1,
                                 .stride = 1,
                                 .x_ld = c_in + 3,
                                 .dy_ld = c_out + 5};
    const int64_t terms = images * h * w;
    float *x = randoms(terms * g.x_ld, 1), *dy = randoms(terms * g.dy_ld, 2);
    float *dw = gradient_on_any_threads(k, &g, x, dy);
    for (int64_t e = 0; e < c_out * c_in; e++) {
        double sum, magnitude;
        weight_gradient_in_double(&g, x, dy, e / c_in, e % c_in, 0, 0, &sum, &magnitude);
        if (!(fabs((double)dw[e] - sum) <= (double)(terms + 1) * 0x1p-24 * magnitude))
            fail_msg("%d x %d, %d to %d channels, element %d: %g, not %g", (int)h, (int)w,
                     (int)c_in, (int)c_out, (int)e, (double)dw[e], sum);
    }
    aleat_free(x);
    aleat_free(dy);
    aleat_free(dw);
}

static void gradients_of_1x1_kernels_agree_with_double_and_threads_do_not_show(void **state)
{
    (void)state;
    for (aleat_isa isa = 0; isa <= aleat_cpu_isa(); isa++) {
        const aleat_kernels *k = aleat_kernels_for(isa);
        check_dense_gradient(k, 3, 13, 15, 48, 20); // a chunk of pixels and a part
        check_dense_gradient(k, 2, 16, 16, 80, 7);  // whole chunks, a panel and a part
        check_dense_gradient(k, 5, 1, 1, 16, 1);    // a linear layer
        check_dense_gradient(k, 2, 5, 7, 19, 33);   // no whole vectors
    }
}

/** Winograd's gradient of `g` against double, in relative L2 over every 31st element, and the same
 * bits on 1, 2 and 3 threads. */
static void check_winograd_gradient(const aleat_kernels *k, int64_t images, int64_t h, int64_t w,
                                    int64_t c_in, int64_t c_out, int64_t pad)
{
    const aleat_weight_grad g = {.images = images,
                                 .in_h = h + 2 - 2 * pad,
                                 .in_w = w + 2 - 2 * pad,
                                 .out_h = h,
                                 .out_w = w,
                                 .c_in = c_in,
                                 .c_out = c_out,
                                 .kernel_h = 3,
                                 .kernel_w = 3,
                                 .stride = 1,
                                 .pad_top = pad,
                                 .pad_left = pad,
                                 .x_ld = c_in + 16,
                                 .dy_ld = c_out + 16};
    const int64_t n_dw = c_out * c_in * 9;
    float *x = randoms(images * g.in_h * g.in_w * g.x_ld, 1);
    float *dy = randoms(images * h * w * g.dy_ld, 2);
    assert_true(aleat_winograd_grad_fits(k, &g));
    float *dw = gradient_on_any_threads(k, &g, x, dy);
    double error = 0, norm = 0;
    for (int64_t e = 0; e < n_dw; e += 31) {
        double sum, magnitude;
        weight_gradient_in_double(&g, x, dy, e / 9 / c_in, e / 9 % c_in, e % 9 / 3, e % 3, &sum,
                                  &magnitude);
        error += ((double)dw[e] - sum) * ((double)dw[e] - sum);
        norm += sum * sum;
    }
    // The transforms multiply by up to 8 each way, so their roundings count some ten times.
    if (!(error <= 1e-5 * 1e-5 * norm))
        fail_msg("%d x %d, %d to %d channels: relative error %g", (int)h, (int)w, (int)c_in,
                 (int)c_out, sqrt(error / norm));
    aleat_free(x);
    aleat_free(dy);
    aleat_free(dw);
}

static void winograds_gradient_agrees_with_double_and_threads_do_not_show(void **state)
{
    (void)state;
    for (aleat_isa isa = 0; isa <= aleat_cpu_isa(); isa++) {
        const aleat_kernels *k = aleat_kernels_for(isa);
        check_winograd_gradient(k, 3, 8, 8, 32, 16, 1);
        check_winograd_gradient(k, 2, 7, 10, 16, 48, 1);  // tiles that leave the image
        check_winograd_gradient(k, 1, 9, 5, 48, 96, 0);   // no border, a part of a panel
        check_winograd_gradient(k, 3, 60, 60, 16, 32, 1); // several groups of tiles
    }
    // sums that are made in two slices
    check_winograd_gradient(aleat_kernels_for(aleat_cpu_isa()), 1, 4, 4, 240, 1024, 1);
}

/** y = layer_norm(x + table): what the transformers have and the U-Nets do not. */
static void gradients_of_layer_norm_and_of_constants_agree_with_double(void **state)
{
    (void)state;
    enum { N = 5, TOKENS = 6, C = 12 };
    const double eps = 1e-5;
    const aleat_shape vector = aleat_shape_of(1, (int64_t)C);
    const aleat_shape matrix = aleat_shape_of(3, (int64_t)1, (int64_t)TOKENS, (int64_t)C);
    float *gamma = randoms(C, 1), *beta = randoms(C, 2), *table = randoms(TOKENS * C, 3);
    float *x = randoms(N * TOKENS * C, 4), *dy = randoms(N * TOKENS * C, 5);
    const aleat_named_array arrays[] = {{"gamma", aleat_tensor_view(ALEAT_F32, &vector, gamma)},
                                        {"beta", aleat_tensor_view(ALEAT_F32, &vector, beta)},
                                        {"table", aleat_tensor_view(ALEAT_F32, &matrix, table)}};
    aleat_error err = {0};
    aleat_weights *weights;
    aleat_engine *engine;
    aleat_plan *plan;
    if (aleat_weights_of_arrays(&weights, arrays, 3, "test", &err))
        fail_msg("%s", err.message);
    aleat_graph *graph = aleat_graph_new(weights);
    const aleat_dims dims = {TOKENS, 1, C};
    const aleat_value input = aleat_graph_input(graph, "x", dims);
    const aleat_param p_gamma = aleat_graph_param(graph, "gamma", &vector);
    const aleat_param p_beta = aleat_graph_param(graph, "beta", &vector);
    const aleat_param p_table = aleat_graph_param(graph, "table", &matrix);
    const aleat_value sum = aleat_op_add(graph, input, aleat_graph_constant(graph, p_table));
    const aleat_value y = aleat_op_layernorm(graph, sum, p_gamma, p_beta, eps);
    const aleat_value cotangent = aleat_graph_input(graph, "cotangent", dims);
    aleat_value grads[3];
    assert_int_equal(aleat_graph_params(graph), 3);
    aleat_graph_vjp_params(graph, y, cotangent, grads);
    const aleat_value wanted[] = {y, grads[p_gamma], grads[p_beta], grads[p_table]};
    const aleat_engine_options options = {.threads = 2, .training = true};
    if (aleat_graph_check(graph, &err) || aleat_engine_new(&engine, graph, &options, &err) ||
        aleat_plan_new(&plan, engine, N, wanted, 4, cotangent, &err))
        fail_msg("%s", err.message);
    memcpy(aleat_plan_data(plan, input), x, N * TOKENS * C * sizeof *x);
    memcpy(aleat_plan_data(plan, cotangent), dy, N * TOKENS * C * sizeof *dy);
    aleat_plan_run(plan, 0);
    aleat_plan_run(plan, 1);

    double d_gamma[C] = {0}, d_beta[C] = {0}, d_table[TOKENS * C] = {0};
    for (int row = 0; row < N * TOKENS; row++) {
        double z[C], mean = 0, variance = 0, g_mean = 0, gz_mean = 0;
        for (int c = 0; c < C; c++) {
            z[c] = (double)x[row * C + c] + (double)table[row % TOKENS * C + c];
            mean += z[c] / C;
        }
        for (int c = 0; c < C; c++)
            variance += (z[c] - mean) * (z[c] - mean) / C;
        const double scale = 1 / sqrt(variance + eps);
        for (int c = 0; c < C; c++) {
            const double g = (double)dy[row * C + c];
            z[c] = (z[c] - mean) * scale;
            d_gamma[c] += g * z[c];
            d_beta[c] += g;
            g_mean += g * (double)gamma[c] / C;
            gz_mean += g * (double)gamma[c] * z[c] / C;
        }
        for (int c = 0; c < C; c++)
            d_table[row % TOKENS * C + c] +=
                scale * ((double)dy[row * C + c] * (double)gamma[c] - g_mean - z[c] * gz_mean);
    }
    // Sums of 30 and 5 terms of about 1, each from some twenty roundings of 2^-24.
    const double bound = 30 * 20 * 0x1p-24;
    for (int c = 0; c < C; c++) {
        assert_true(fabs((double)aleat_plan_data(plan, grads[p_gamma])[c] - d_gamma[c]) < bound);
        assert_true(fabs((double)aleat_plan_data(plan, grads[p_beta])[c] - d_beta[c]) < bound);
    }
    for (int i = 0; i < TOKENS * C; i++)
        assert_true(fabs((double)aleat_plan_data(plan, grads[p_table])[i] - d_table[i]) < bound);
    aleat_plan_free(plan);
    aleat_engine_free(engine);
    aleat_graph_free(graph);
    aleat_weights_free(weights);
    float *const all[] = {gamma, beta, table, x, dy};
    for (int i = 0; i < 5; i++)
        aleat_free(all[i]);
}

/* ---- whole trainings ------------------------------------------------------------------------- */

static const char small[] = CONFIG("default", "DownBlock2D", "UpBlock2D");

/** Writes the toy images as IDX files; part: "train" or "t10k". */
static void write_part(const char *folder, const char *part)
{
    aleat_dataset data;
    make_data(&data);
    unsigned char images[16 + IMAGES * SIZE * SIZE] = {0, 0, 8, 3,    0, 0, 0, IMAGES,
                                                       0, 0, 0, SIZE, 0, 0, 0, SIZE};
    unsigned char labels[8 + IMAGES] = {0, 0, 8, 1, 0, 0, 0, IMAGES};
    memcpy(images + 16, data.pixels, IMAGES * SIZE * SIZE);
    for (int i = 0; i < IMAGES; i++)
        labels[8 + i] = (unsigned char)data.labels[i];
    char *path = aleat_asprintf("%s/%s-images-idx3-ubyte", folder, part);
    assert_int_equal(aleat_write_file(path, images, sizeof images, NULL), ALEAT_OK);
    aleat_free(path);
    path = aleat_asprintf("%s/%s-labels-idx1-ubyte", folder, part);
    assert_int_equal(aleat_write_file(path, labels, sizeof labels, NULL), ALEAT_OK);
    aleat_free(path);
    aleat_dataset_clear(&data);
}

static void new_folder(char folder[64])
{
    strcpy(folder, "/tmp/aleat-train-XXXXXX");
    assert_non_null(mkdtemp(folder));
    write_part(folder, "train");
    char *config = aleat_path_join(folder, "config.json");
    assert_int_equal(aleat_write_file(config, small, sizeof small - 1, NULL), ALEAT_OK);
    aleat_free(config);
}

/** A folder of the tests, with everything in it. */
static void remove_folder(const char *folder)
{
    char *command = aleat_asprintf("rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
    aleat_free(command);
}

enum { STEPS = 30 };

typedef struct watch {
    int64_t kill_at; // the process ends itself there, without a word
    int64_t stop_at; // or asks to stop
    double first, last;
} watch;

static bool watch_progress(void *ctx, const aleat_train_progress *p)
{
    watch *w = ctx;
    if (p->step && p->step == w->kill_at)
        kill(getpid(), SIGKILL);
    w->first = p->step == 1 ? p->loss : w->first;
    w->last = p->loss;
    return !p->step || p->step != w->stop_at;
}

/** A training of the toy images in folder/out; strings are valid until the next call. */
static aleat_train_options toy(const char *folder, watch *w)
{
    static char config[128], out[128];
    aleat_train_options o;
    aleat_train_defaults(&o);
    (void)snprintf(config, sizeof config, "%s/config.json", folder);
    (void)snprintf(out, sizeof out, "%s/out", folder);
    o.config = config;
    o.data = folder;
    o.out = out;
    o.seed = 11;
    o.batch = 8;
    o.flip = true;
    o.threads = 1;
    o.checkpoint_seconds = 1e9;
    o.sample_every = o.validate_every = 0;
    o.rate = 3e-3;
    o.warmup = 5;
    o.steps = STEPS;
    o.progress = watch_progress;
    o.ctx = w;
    return o;
}

static void assert_trains(const aleat_train_options *o)
{
    aleat_error err = {0};
    if (aleat_train(o, NULL, &err))
        fail_msg("%s", err.message);
}

/** Whether the two trainings left the same bytes in `name`. */
static void assert_same_file(const char *a, const char *b, const char *name)
{
    aleat_mapping files[2] = {0};
    const char *const folders[] = {a, b};
    for (int i = 0; i < 2; i++) {
        char *path = aleat_asprintf("%s/out/%s", folders[i], name);
        assert_int_equal(aleat_mapping_open(&files[i], path, NULL), ALEAT_OK);
        aleat_free(path);
    }
    assert_int_equal(files[0].len, files[1].len);
    assert_memory_equal(files[0].data, files[1].data, files[0].len);
    for (int i = 0; i < 2; i++)
        aleat_mapping_close(&files[i]);
}

static void assert_same_training(const char *a, const char *b)
{
    assert_same_file(a, b, "checkpoint.safetensors");
    assert_same_file(a, b, "loss.csv");
    assert_same_file(a, b, "model/unet/diffusion_pytorch_model.safetensors");
}

static void a_training_does_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    char one[64], two[64];
    watch w = {0};
    new_folder(one);
    new_folder(two);
    aleat_train_options o = toy(one, &w);
    assert_trains(&o);
    o = toy(two, &w);
    o.threads = 2;
    assert_trains(&o);
    assert_same_training(one, two);
    remove_folder(one);
    remove_folder(two);
}

static void a_training_that_is_killed_goes_on_as_if_nothing_had_been(void **state)
{
    (void)state;
    char whole[64], killed[64];
    watch w = {0};
    new_folder(whole);
    new_folder(killed);
    aleat_train_options o = toy(whole, &w);
    o.validate_every = 4;
    assert_trains(&o);
    // A checkpoint after every step, and the end in the middle of one.
    const pid_t child = fork();
    if (child == 0) {
        watch deadly = {.kill_at = STEPS / 2};
        o = toy(killed, &deadly);
        o.validate_every = 4;
        o.checkpoint_seconds = 0;
        const aleat_status st = aleat_train(&o, NULL, NULL); // does not come back
        _exit((int)st);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    o = toy(killed, &w);
    o.validate_every = 4;
    assert_trains(&o);
    assert_same_training(whole, killed);
    assert_same_file(whole, killed, "validation.csv");
    remove_folder(whole);
    remove_folder(killed);
}

static void looking_at_a_training_does_not_change_it(void **state)
{
    (void)state;
    char plain[64], watched[64];
    watch w = {0};
    new_folder(plain);
    new_folder(watched);
    write_part(plain, "t10k");
    write_part(watched, "t10k");
    aleat_train_options o = toy(plain, &w);
    assert_trains(&o);
    o = toy(watched, &w);
    o.sample_every = 10;
    o.validate_every = 7;
    assert_trains(&o);
    assert_same_training(plain, watched);
    char *path = aleat_path_join(watched, "out/samples/step-000020.png");
    assert_true(aleat_is_file(path));
    aleat_free(path);
    path = aleat_path_join(watched, "out/loss.png");
    assert_true(aleat_is_file(path));
    aleat_free(path);
    remove_folder(plain);
    remove_folder(watched);
}

static void the_number_of_steps_may_change_before_the_cooldown_begins(void **state)
{
    (void)state;
    char whole[64], changed[64];
    watch w = {0}, stopping = {.stop_at = 12};
    aleat_error err = {0};
    new_folder(whole);
    new_folder(changed);
    aleat_train_options o = toy(whole, &w);
    o.cooldown = 10;
    assert_trains(&o);
    o = toy(changed, &stopping);
    o.steps = 2 * STEPS;
    o.cooldown = 20;
    assert_int_equal(aleat_train(&o, NULL, &err), ALEAT_ERR_CANCELLED);
    assert_non_null(strstr(err.message, "12 of 60 steps"));
    o.steps = STEPS;
    o.cooldown = 10;
    o.ctx = &w;
    assert_trains(&o);
    assert_same_training(whole, changed);
    // Now it has ended, and cannot be made longer.
    o.steps = STEPS + 1;
    assert_int_equal(aleat_train(&o, NULL, &err), ALEAT_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "--steps 30, not 31"));
    assert_non_null(strstr(err.hint, "before the cooldown begins"));
    remove_folder(whole);
    remove_folder(changed);
}

static void other_options_than_those_of_the_folder_are_refused_by_name(void **state)
{
    (void)state;
    char folder[64];
    watch w = {0};
    aleat_train_result result;
    aleat_error err = {0};
    new_folder(folder);
    const aleat_train_options done = toy(folder, &w);
    assert_trains(&done);
    aleat_train_options other[8];
    for (int i = 0; i < 8; i++)
        other[i] = done;
    static const char *const names[] = {"--seed 11, not 12",        "--batch 8, not 9",
                                        "--flip on, not off",       "--prediction epsilon, not v",
                                        "--lr 0.003, not 0.004",    "--dropout",
                                        "--validation 0, not 0.25", "--ema"};
    other[0].seed = 12;
    other[1].batch = 9;
    other[2].flip = false;
    other[3].prediction = "v_prediction";
    other[4].rate = 4e-3;
    other[5].dropout = 0.5;
    other[6].validate_every = 10;
    other[6].validation = 0.25;
    other[7].average = 0.5;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(aleat_train(&other[i], NULL, &err), ALEAT_ERR_ARGUMENT);
        if (!strstr(err.message, names[i]))
            fail_msg("'%s' does not say '%s'", err.message, names[i]);
    }
    // What changes no result may be another; and there is nothing left to do.
    aleat_train_options same = done;
    same.threads = 2;
    same.dtype = "bf16";
    assert_int_equal(aleat_train(&same, &result, &err), ALEAT_OK);
    assert_int_equal(result.made, 0);
    assert_int_equal(result.steps, STEPS);
    remove_folder(folder);
}

static void a_checkpoint_without_a_record_of_its_options_is_gone_on_with(void **state)
{
    (void)state;
    char whole[64], older[64];
    watch w = {0}, stopping = {.stop_at = 9};
    new_folder(whole);
    new_folder(older);
    aleat_train_options o = toy(whole, &w);
    assert_trains(&o);
    o = toy(older, &stopping);
    assert_int_equal(aleat_train(&o, NULL, NULL), ALEAT_ERR_CANCELLED);
    char *record = aleat_path_join(older, "out/train.json");
    assert_int_equal(unlink(record), 0);
    o.ctx = &w;
    assert_trains(&o);
    assert_true(aleat_is_file(record));
    assert_same_training(whole, older);
    aleat_free(record);
    remove_folder(whole);
    remove_folder(older);
}

static void wrong_options_are_refused_before_anything_is_written(void **state)
{
    (void)state;
    char folder[64];
    watch w = {0};
    new_folder(folder);
    enum { CASES = 16 };
    aleat_train_options o[CASES];
    for (int i = 0; i < CASES; i++)
        o[i] = toy(folder, &w);
    static const char *const names[CASES] = {
        "--steps: 0",      "--batch: 5000", "--warmup 31 and --cooldown 0",
        "--cooldown 3",    "--lr: ",        "--ema: 1",
        "--label-drop: 1", "--dropout: 1",  "no precision 'f64'",
        "no task 'x'",     "no such",       "--weight-decay",
        "8x8x1",           "no such",       "--validation 0",
        "not a data set"};
    o[0].steps = 0;
    o[1].batch = 5000;
    o[2].warmup = 31;
    o[3].cooldown = 3;
    o[3].rate_schedule = "constant";
    o[4].rate = NAN;
    o[5].average = 1;
    o[6].label_drop = 1;
    o[7].dropout = 1;
    o[8].precision = "f64";
    o[9].task = "x";
    o[10].config = "/no such/config.json";
    o[11].weight_decay = 500;
    o[12].size = 9;
    o[13].init = "/no such/model";
    o[14].validate_every = 1;
    o[14].validation = 0;
    o[15].data = o[15].config;
    for (int i = 0; i < CASES; i++) {
        aleat_error err = {0};
        assert_int_not_equal(aleat_train(&o[i], NULL, &err), ALEAT_OK);
        if (i != 12 && !strstr(err.message, names[i]))
            fail_msg("case %d: '%s' does not say '%s'", i, err.message, names[i]);
        if (i == 12)
            assert_non_null(strstr(err.message, "images are 9x9x1, the network takes 8x8x1"));
        assert_false(aleat_is_dir(o[i].out));
    }
    remove_folder(folder);
}

// The schedule has 1000 steps, from 0.
static void networks_that_do_not_know_all_times_are_not_trained(void **state)
{
    (void)state;
    static const struct {
        const char *keys, *word;
    } cases[] = {{"\"time_embedding_type\": \"fourier\"", "noise levels"},
                 {"\"time_embedding_type\": \"learned\", \"num_train_timesteps\": 999", "fewer"},
                 {"\"time_embedding_type\": \"learned\", \"num_train_timesteps\": 1000", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char folder[64];
        watch w = {0};
        aleat_error err = {0};
        new_folder(folder);
        aleat_train_options o = toy(folder, &w);
        char *config = aleat_asprintf("%.*s, %s}", (int)(sizeof small - 2), small, cases[i].keys);
        assert_int_equal(aleat_write_file(o.config, config, strlen(config), NULL), ALEAT_OK);
        if (cases[i].word) {
            assert_int_equal(aleat_train(&o, NULL, &err), ALEAT_ERR_UNSUPPORTED);
            assert_non_null(strstr(err.message, cases[i].word));
            assert_false(aleat_is_dir(o.out));
        } else {
            assert_trains(&o);
            assert_true(w.last < w.first);
        }
        aleat_free(config);
        remove_folder(folder);
    }
}

static void a_folder_with_a_foreign_model_is_left_alone(void **state)
{
    (void)state;
    char folder[64];
    watch w = {0};
    aleat_error err = {0};
    new_folder(folder);
    char *foreign = aleat_path_join(folder, "out/model/unet");
    assert_int_equal(aleat_make_dirs(foreign, NULL), ALEAT_OK);
    const aleat_train_options o = toy(folder, &w);
    assert_int_equal(aleat_train(&o, NULL, &err), ALEAT_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "no training has written"));
    aleat_free(foreign);
    remove_folder(folder);
}

static void check_learning(const char *prediction, const char *beta_schedule)
{
    char folder[64];
    watch w = {0};
    aleat_train_result r;
    aleat_error err = {0};
    new_folder(folder);
    write_part(folder, "t10k");
    aleat_train_options o = toy(folder, &w);
    o.steps = 250;
    o.validate_every = 250;
    o.prediction = prediction;
    o.beta_schedule = beta_schedule;
    if (aleat_train(&o, &r, &err))
        fail_msg("%s", err.message);
    // Predicting nothing costs about 1 (x0: its square, 0.9); the images are two flat halves, so
    // much less is possible, also for the averaged weights and without dropout.
    assert_true(w.first > 0.7);
    if (!(r.loss < 0.35 * w.first && r.validation_loss < 0.5 * w.first))
        fail_msg("%s, %s: from %g to %g, held out %g", prediction, beta_schedule, w.first, r.loss,
                 r.validation_loss);
    remove_folder(folder);
}

static void a_training_learns_whatever_the_network_predicts(void **state)
{
    (void)state;
    check_learning("epsilon", "linear");
    check_learning("v_prediction", "squaredcos_cap_v2");
    check_learning("sample", "scaled_linear");
}

// 65520 is the least number that rounds to infinity in f16; a model with one would be worthless.
static void a_weight_that_is_too_large_for_its_type_is_not_written(void **state)
{
    (void)state;
    fixture f;
    aleat_error err = {0};
    set_up(&f, &aleat_task_diffusion, small, ALEAT_PRECISION_F32, ALEAT_PREDICTS_EPSILON);
    char *path = aleat_path_join(f.folder, "model.safetensors");
    f.params.data[ALEAT_AVERAGE][5] = -65519;
    assert_int_equal(aleat_params_export(&f.params, ALEAT_AVERAGE, ALEAT_F16, path, &err),
                     ALEAT_OK);
    unlink(path);
    f.params.data[ALEAT_AVERAGE][5] = -65520;
    assert_int_equal(aleat_params_export(&f.params, ALEAT_AVERAGE, ALEAT_F16, path, &err),
                     ALEAT_ERR_NUMERIC);
    assert_non_null(strstr(err.hint, "--dtype"));
    assert_false(aleat_is_file(path));
    assert_int_equal(aleat_params_export(&f.params, ALEAT_AVERAGE, ALEAT_BF16, path, &err),
                     ALEAT_OK);
    unlink(path);
    aleat_free(path);
    tear_down(&f);
}

static void what_training_writes_is_a_model(void **state)
{
    (void)state;
    char folder[64];
    watch w = {0};
    aleat_error err = {0};
    aleat_model *model;
    new_folder(folder);
    aleat_train_options o = toy(folder, &w);
    o.steps = 6;
    o.prediction = "v_prediction";
    o.dropout = 0.25;
    o.dtype = "bf16";
    assert_trains(&o);
    char *path = aleat_path_join(folder, "out/model"), *run = aleat_path_join(folder, "run");
    if (aleat_model_open(&model, path, NULL, &err))
        fail_msg("%s", err.message);
    const aleat_model_facts facts = aleat_model_describe(model);
    assert_int_equal(facts.n_classes, 3); // two of the data set, and the null class
    assert_int_equal(facts.null_class, 2);
    assert_string_equal(aleat_model_tensor(model, 0).dtype, "bf16");
    assert_non_null(strstr(facts.config_json, "\"dropout\": 0.25"));
    // It can be sampled from at once, by the schedule it was trained with.
    const int32_t labels[] = {0, 1};
    const aleat_run_options options = {.n = 2, .sampling = {.steps = 3}, .labels = labels};
    char *schedule = NULL;
    assert_int_equal(aleat_schedule_json(&schedule, path, &options.sampling, NULL, &err), ALEAT_OK);
    assert_non_null(strstr(schedule, "v_prediction"));
    free(schedule);
    if (aleat_model_generate(model, run, &options, NULL, &err))
        fail_msg("%s", err.message);
    aleat_model_close(model);
    aleat_free(path);
    aleat_free(run);
    remove_folder(folder);
}

static void a_training_can_start_from_trained_weights(void **state)
{
    (void)state;
    char first[64], second[64];
    watch w = {0}, again = {0};
    new_folder(first);
    new_folder(second);
    aleat_train_options o = toy(first, &w);
    o.steps = 200;
    o.dtype = "f32";
    assert_trains(&o);
    char *model = aleat_path_join(first, "out/model");
    o = toy(second, &again);
    o.steps = 10;
    o.init = model;
    assert_trains(&o);
    assert_true(again.first < 0.6 * w.first);
    aleat_free(model);
    remove_folder(first);
    remove_folder(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gradient_of_every_tensor_agrees_with_differences),
        cmocka_unit_test(so_it_does_in_a_classifier),
        cmocka_unit_test(so_it_does_with_scale_shift_and_resampling_blocks_and_v),
        cmocka_unit_test(a_gradient_in_bf16_is_near_that_in_f32),
        cmocka_unit_test(gradients_of_weights_agree_with_double_in_f32_and_in_bf16),
        cmocka_unit_test(gradients_of_1x1_kernels_agree_with_double_and_threads_do_not_show),
        cmocka_unit_test(winograds_gradient_agrees_with_double_and_threads_do_not_show),
        cmocka_unit_test(gradients_of_layer_norm_and_of_constants_agree_with_double),
        cmocka_unit_test(a_training_does_not_depend_on_the_number_of_threads),
        cmocka_unit_test(a_training_that_is_killed_goes_on_as_if_nothing_had_been),
        cmocka_unit_test(looking_at_a_training_does_not_change_it),
        cmocka_unit_test(the_number_of_steps_may_change_before_the_cooldown_begins),
        cmocka_unit_test(other_options_than_those_of_the_folder_are_refused_by_name),
        cmocka_unit_test(a_checkpoint_without_a_record_of_its_options_is_gone_on_with),
        cmocka_unit_test(wrong_options_are_refused_before_anything_is_written),
        cmocka_unit_test(networks_that_do_not_know_all_times_are_not_trained),
        cmocka_unit_test(a_folder_with_a_foreign_model_is_left_alone),
        cmocka_unit_test(a_training_learns_whatever_the_network_predicts),
        cmocka_unit_test(a_weight_that_is_too_large_for_its_type_is_not_written),
        cmocka_unit_test(what_training_writes_is_a_model),
        cmocka_unit_test(a_training_can_start_from_trained_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
