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

#include "base/alloc.h"
#include "base/rng.h"
#include "io/file.h"
#include "train/learner.h"
#include "train/trainer.h"

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

/* ---- whole trainings ------------------------------------------------------------------------- */

static const char small[] = CONFIG("default", "DownBlock2D", "UpBlock2D");

/** Writes the toy images as IDX files. */
static void write_data(const char *folder)
{
    aleat_dataset data;
    make_data(&data);
    unsigned char images[16 + IMAGES * SIZE * SIZE] = {0, 0, 8, 3,    0, 0, 0, IMAGES,
                                                       0, 0, 0, SIZE, 0, 0, 0, SIZE};
    unsigned char labels[8 + IMAGES] = {0, 0, 8, 1, 0, 0, 0, IMAGES};
    memcpy(images + 16, data.pixels, IMAGES * SIZE * SIZE);
    for (int i = 0; i < IMAGES; i++)
        labels[8 + i] = (unsigned char)data.labels[i];
    char *path = aleat_path_join(folder, "train-images-idx3-ubyte");
    assert_int_equal(aleat_write_file(path, images, sizeof images, NULL), ALEAT_OK);
    aleat_free(path);
    path = aleat_path_join(folder, "train-labels-idx1-ubyte");
    assert_int_equal(aleat_write_file(path, labels, sizeof labels, NULL), ALEAT_OK);
    aleat_free(path);
    aleat_dataset_clear(&data);
}

static void new_folder(char folder[64])
{
    strcpy(folder, "/tmp/aleat-train-XXXXXX");
    assert_non_null(mkdtemp(folder));
    write_data(folder);
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
    double first, last;
} watch;

static bool watch_progress(void *ctx, int64_t step, int64_t steps, double loss, double rate,
                           double norm)
{
    (void)steps;
    (void)rate;
    (void)norm;
    watch *w = ctx;
    if (step == w->kill_at)
        kill(getpid(), SIGKILL);
    w->first = step == 1 ? loss : w->first;
    w->last = loss;
    return true;
}

/** Trains in folder/out and returns the status. `save` is the time between checkpoints. */
static aleat_status train(const char *folder, int threads, double save, int64_t steps, watch *w)
{
    aleat_train_options o;
    aleat_train_defaults(&o);
    char *config = aleat_path_join(folder, "config.json"), *out = aleat_path_join(folder, "out");
    o.config = config;
    o.data = folder;
    o.out = out;
    o.seed = 11;
    o.batch = 8;
    o.flip = true;
    o.threads = threads;
    o.checkpoint_seconds = save;
    o.optimizer.rate = 3e-3;
    o.optimizer.warmup = 5;
    o.optimizer.steps = steps;
    o.progress = watch_progress;
    o.progress_ctx = w;
    aleat_error err = {0};
    const aleat_status st = aleat_train(&o, &err);
    if (st)
        print_message("%s\n", err.message);
    aleat_free(config);
    aleat_free(out);
    return st;
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
    assert_int_equal(train(one, 1, 1e9, STEPS, &w), ALEAT_OK);
    assert_int_equal(train(two, 2, 1e9, STEPS, &w), ALEAT_OK);
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
    assert_int_equal(train(whole, 1, 1e9, STEPS, &w), ALEAT_OK);
    // A checkpoint after every step, and the end in the middle of one.
    const pid_t child = fork();
    if (child == 0) {
        watch deadly = {.kill_at = STEPS / 2};
        (void)train(killed, 1, 0, STEPS, &deadly);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(train(killed, 1, 1e9, STEPS, &w), ALEAT_OK);
    assert_same_training(whole, killed);
    remove_folder(whole);
    remove_folder(killed);
}

static void a_training_learns(void **state)
{
    (void)state;
    char folder[64];
    watch w = {0};
    new_folder(folder);
    assert_int_equal(train(folder, 2, 1e9, 300, &w), ALEAT_OK);
    // Predicting nothing costs 1; the images are two flat halves, so much less is possible.
    assert_true(w.first > 0.8);
    assert_true(w.last < 0.3 * w.first);
    remove_folder(folder);
}

static void what_training_writes_is_a_model(void **state)
{
    (void)state;
    char folder[64];
    watch w = {0};
    aleat_error err = {0};
    aleat_model_files model;
    new_folder(folder);
    assert_int_equal(train(folder, 1, 1e9, 2, &w), ALEAT_OK);
    char *path = aleat_path_join(folder, "out/model");
    if (aleat_model_files_open(&model, path, NULL, &err))
        fail_msg("%s", err.message);
    assert_int_equal(model.info.n_classes, 3); // two of the data set, and the null class
    assert_int_equal(model.info.null_class, 2);
    assert_non_null(model.scheduler_path);
    aleat_model_files_close(&model);
    aleat_free(path);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gradient_of_every_tensor_agrees_with_differences),
        cmocka_unit_test(so_it_does_with_scale_shift_and_resampling_blocks),
        cmocka_unit_test(a_training_does_not_depend_on_the_number_of_threads),
        cmocka_unit_test(a_training_that_is_killed_goes_on_as_if_nothing_had_been),
        cmocka_unit_test(a_training_learns),
        cmocka_unit_test(what_training_writes_is_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
