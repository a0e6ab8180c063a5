/* Gradients of parameters, and training from them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "io/file.h"
#include "train/learner.h"
#include "train/trainer.h"

/* A small network with everything that training meets: attention, both kinds of resampling,
 * a shortcut convolution, labels, dropout. */
#define CONFIG(shift, down, up)                                                                    \
    "{\"_class_name\": \"UNet2DModel\", \"sample_size\": 8, \"in_channels\": 1, "                   \
    "\"out_channels\": 1, \"block_out_channels\": [16, 32], \"layers_per_block\": 1, "              \
    "\"down_block_types\": [\"" down "\", \"AttnDownBlock2D\"], "                                   \
    "\"up_block_types\": [\"AttnUpBlock2D\", \"" up "\"], \"attention_head_dim\": 8, "              \
    "\"norm_num_groups\": 4, \"num_class_embeds\": 3, \"_aleat_null_class\": 2, "                   \
    "\"dropout\": 0.2, \"resnet_time_scale_shift\": \"" shift "\"}"

enum { TRAIN_STEPS = 10, IMAGES = 12, SIZE = 8 };

typedef struct fixture {
    char folder[64], *config;
    aleat_dataset data;
    aleat_params params;
    aleat_learner *learner;
    double abar[TRAIN_STEPS];
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

static void set_up(fixture *f, const char *config, int threads)
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
    const aleat_learner_options options = {
        .seed = 3, .batch = 6, .label_drop = 0.2, .flip = true, .threads = threads};
    if (aleat_learner_new(&f->learner, f->config, &f->params, &f->data, f->abar, TRAIN_STEPS,
                          &options, &err))
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

static void check_gradients(const char *config)
{
    fixture f;
    set_up(&f, config, 2);
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
    check_gradients(CONFIG("default", "DownBlock2D", "UpBlock2D"));
}

static void so_it_does_with_scale_shift_and_resampling_blocks(void **state)
{
    (void)state;
    check_gradients(CONFIG("scale_shift", "ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gradient_of_every_tensor_agrees_with_differences),
        cmocka_unit_test(so_it_does_with_scale_shift_and_resampling_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
