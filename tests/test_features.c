/* Feature networks: against their reference programs, and the promises of features.h. */
#include "case.h"
#include "checkpoint.h"
#include "numbers.h"

#include "aleat/aleat.h"
#include "features/prepare.h"
#include "io/file.h"
#include "io/png_image.h"

static aleat_tensor bytes_of(const char *folder, const char *name)
{
    aleat_error err = {0};
    aleat_tensor array = {0};
    assert_ok(aleat_npy_read(&array, case_path(folder, name), &err), &err);
    assert_int_equal(array.dtype, ALEAT_U8);
    return array;
}

// Bytes [n,3,h,w].
static aleat_images images_of(const aleat_tensor *array)
{
    const int64_t *dim = array->shape.dim;
    return (aleat_images){.n = dim[0],
                          .height = dim[2],
                          .width = dim[3],
                          .channels = dim[1],
                          .bytes = array->data,
                          .channels_first = true};
}

/* ---- the size of images ---------------------------------------------------------------------- */

// Rounding: the references say 1e-5 of values up to 1.
static void resizing_agrees_with_its_three_references(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        aleat_fit fit;
        float range;
    } ways[] = {{"resize_pt_64x512_rows.npy", ALEAT_FIT_BILINEAR, 1},
                {"resize_tf1_64x512_rows.npy", ALEAT_FIT_BILINEAR_TF1, 255},
                {"resize_clean_64x512_rows.npy", ALEAT_FIT_BICUBIC, 255}};
    enum { SIDE = 299, ROWS = 8 };
    static const int64_t rows[ROWS] = {0, 1, 2, 37, 149, 150, 297, 298};
    static const char folder[] = "data/inception_fid";
    aleat_tensor array = bytes_of(folder, "img_64x512.npy");
    const aleat_images images = images_of(&array);
    float *out = floats(SIDE * SIDE * 3, 0);
    for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
        aleat_error err = {0};
        const float s = ways[k].range;
        const aleat_preparation how = {.name = "test", .fit = ways[k].fit, .scale = {s, s, s}};
        aleat_preparer *p;
        assert_ok(aleat_preparer_new(&p, &how, (aleat_dims){SIDE, SIDE, 3}, &images, &err), &err);
        float *scratch = floats(aleat_preparer_scratch(p), 0);
        aleat_prepare_image(p, &images, 0, scratch, out);
        aleat_tensor want = load(folder, ways[k].file);
        for (int64_t i = 0; i < 3 * ROWS * SIDE; i++) {
            const int64_t c = i / (ROWS * SIDE), y = rows[i / SIDE % ROWS], x = i % SIDE;
            assert_near(out[(y * SIDE + x) * 3 + c], aleat_tensor_f32(&want)[i], 1e-5 * (double)s,
                        "%s: channel %d, row %d, column %d", ways[k].file, (int)c, (int)y, (int)x);
        }
        aleat_tensor_clear(&want);
        aleat_free(scratch);
        aleat_preparer_free(p);
    }
    aleat_free(out);
    aleat_tensor_clear(&array);
}

// Neither interpolation nor antialiasing may touch an image that has the right size.
static void an_image_of_the_right_size_stays_as_it_is(void **state)
{
    (void)state;
    static const aleat_fit fits[] = {ALEAT_FIT_EXACT, ALEAT_FIT_CENTRE, ALEAT_FIT_BILINEAR,
                                     ALEAT_FIT_BILINEAR_TF1, ALEAT_FIT_BICUBIC};
    enum { H = 5, W = 7 };
    float v[H * W], out[H * W], scratch[512];
    for (int i = 0; i < H * W; i++)
        v[i] = (float)i / (H * W);
    const aleat_images images = {.n = 1, .height = H, .width = W, .channels = 1, .floats = v};
    for (size_t k = 0; k < sizeof fits / sizeof *fits; k++) {
        const aleat_preparation how = {.name = "test", .fit = fits[k], .scale = {1}};
        aleat_error err = {0};
        aleat_preparer *p;
        assert_ok(aleat_preparer_new(&p, &how, (aleat_dims){H, W, 1}, &images, &err), &err);
        assert_true(aleat_preparer_scratch(p) <= 512);
        aleat_prepare_image(p, &images, 0, scratch, out);
        assert_memory_equal(out, v, sizeof v);
        aleat_preparer_free(p);
    }
}

static void a_smaller_image_stands_in_the_middle_of_black(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {255, 51, 0, 255};
    static const float want[16] = {-1, -1, -1, -1, -1, 1, -0.6f, -1, -1, -1, 1, -1, -1, -1, -1, -1};
    const aleat_images images = {.n = 1, .height = 2, .width = 2, .channels = 1, .bytes = bytes};
    const aleat_preparation how = {
        .name = "test", .fit = ALEAT_FIT_CENTRE, .scale = {2}, .shift = {-1}};
    float out[16], scratch[16];
    aleat_error err = {0};
    aleat_preparer *p;
    assert_ok(aleat_preparer_new(&p, &how, (aleat_dims){4, 4, 1}, &images, &err), &err);
    aleat_prepare_image(p, &images, 0, scratch, out);
    for (int i = 0; i < 16; i++)
        assert_near(out[i], want[i], FLT_EPSILON, "pixel %d", i);
    aleat_preparer_free(p);
}

/* ---- networks against their references ------------------------------------------------------- */

static const char *inception(void)
{
    const char *path = scratch("inception.safetensors");
    if (!aleat_is_file(path))
        write_checkpoint_of(path, case_path("data/inception_fid", "shapes.json"));
    return path;
}

static const char *resnet(void)
{
    const char *path = scratch("resnet.safetensors");
    if (!aleat_is_file(path))
        write_checkpoint_of(path, case_path("data/cifar_resnet", "shapes.json"));
    return path;
}

static aleat_features *open_network(const char *path, const aleat_features_options *options)
{
    aleat_error err = {0};
    aleat_features *net;
    assert_ok(aleat_features_open(&net, path, options, &err), &err);
    return net;
}

// Relative L2 distance of a network's features, or of its logits if `layer` is NULL.
static double distance_of(const char *path, const char *layer, const char *precision,
                          const aleat_images *images, const char *folder, const char *file)
{
    const aleat_features_options options = {.layer = layer, .precision = precision};
    aleat_error err = {0};
    aleat_features *net = open_network(path, &options);
    const aleat_features_facts facts = aleat_features_describe(net);
    aleat_tensor want = load(folder, file);
    const int64_t count = images->n * (layer ? facts.dim : facts.classes);
    int64_t expected;
    assert_true(aleat_shape_count(&want.shape, &expected) && expected == count);
    float *got = floats(count, 1);
    assert_ok(aleat_features_run(net, images, layer ? got : NULL, layer ? NULL : got, &err), &err);
    const double off = aleat_relative_l2(got, aleat_tensor_f32(&want), count);
    aleat_free(got);
    aleat_tensor_clear(&want);
    aleat_features_close(net);
    return off;
}

// The reference computes in f32 itself and is up to 5e-7 off; its own bounds come to 1e-5.
static void inception_agrees_with_pytorch_fid(void **state)
{
    (void)state;
    static const char *const layers[][2] = {{"2048", "pool2048_pt_32.npy"},
                                            {"768", "pool768_pt_32.npy"},
                                            {"192", "pool192_pt_32.npy"},
                                            {"64", "pool64_pt_32.npy"},
                                            {NULL, "logits_pt_32.npy"},
                                            {"spatial", "spatial2023_pt_32.npy"},
                                            {"logits_unbiased", "logits_unbiased_pt_32.npy"}};
    static const char folder[] = "data/inception_fid";
    aleat_tensor array = bytes_of(folder, "img_32.npy");
    aleat_images images = images_of(&array);
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const double off =
            distance_of(inception(), layers[i][0], NULL, &images, folder, layers[i][1]);
        if (!(off < 1e-5))
            fail_msg("%s: %.2e", layers[i][1], off);
    }
    aleat_tensor_clear(&array);
}

static void a_cifar_resnet_agrees_with_pytorch(void **state)
{
    (void)state;
    aleat_tensor array = bytes_of("data/inception_fid", "img_32.npy");
    const aleat_images images = images_of(&array);
    static const char folder[] = "data/cifar_resnet";
    const double features = distance_of(resnet(), "mean", "f32", &images, folder, "features.npy");
    const double logits = distance_of(resnet(), NULL, "f32", &images, folder, "logits.npy");
    if (!(features < 1e-5 && logits < 1e-5)) // f32 against double, ten layers deep
        fail_msg("features %.2e, logits %.2e", features, logits);
    aleat_tensor_clear(&array);
}

// Factors have 8 bits, 2^-9 each; errors of a sum average out.
static void bf16_is_near(void **state)
{
    (void)state;
    if (aleat_cpu_isa() < ALEAT_ISA_AVX512_BF16) {
        print_message("skipped: this processor has no bf16 instructions\n");
        return;
    }
    aleat_tensor array = bytes_of("data/inception_fid", "img_32.npy");
    aleat_images images = images_of(&array);
    const double off = distance_of(inception(), "2048", "bf16", &images, "data/inception_fid",
                                   "pool2048_pt_32.npy");
    if (!(off > 1e-5 && off < 2e-2)) // below, bf16 was not used
        fail_msg("%.2e", off);
    aleat_tensor_clear(&array);
}

/* ---- promises -------------------------------------------------------------------------------- */

enum { N = 7, SIDE = 32, DIM = 16, CLASSES = 10 };

typedef struct answer {
    float features[N * DIM], logits[N * CLASSES];
} answer;

static answer run(const aleat_features_options *options, const aleat_images *images)
{
    answer a;
    aleat_error err = {0};
    aleat_features *net = open_network(resnet(), options);
    assert_ok(aleat_features_run(net, images, a.features, a.logits, &err), &err);
    aleat_features_close(net);
    return a;
}

static void fill(uint8_t *bytes, int64_t n)
{
    uint64_t seed = 3;
    for (int64_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)below(&seed, 256);
}

static void features_do_not_depend_on_batch_threads_or_neighbours(void **state)
{
    (void)state;
    static uint8_t bytes[N * SIDE * SIDE * 3];
    fill(bytes, sizeof bytes);
    const aleat_images images = {
        .n = N, .height = SIDE, .width = SIDE, .channels = 3, .bytes = bytes};
    const answer whole = run(&(aleat_features_options){.threads = 1}, &images);
    for (int64_t batch = 1; batch <= N; batch += 2)
        for (int threads = 1; threads <= 3; threads++) {
            const aleat_features_options options = {.threads = threads, .batch = batch};
            const answer same = run(&options, &images);
            assert_memory_equal(&same, &whole, sizeof same);
        }
    aleat_error err = {0};
    aleat_features *net = open_network(resnet(), NULL);
    for (int64_t i = 0; i < N; i++) { // one by one, features alone and logits alone
        const aleat_images one = aleat_images_slice(&images, i, 1);
        float features[DIM], logits[CLASSES];
        assert_ok(aleat_features_run(net, &one, features, NULL, &err), &err);
        assert_ok(aleat_features_run(net, &one, NULL, logits, &err), &err);
        assert_memory_equal(features, whole.features + i * DIM, sizeof features);
        assert_memory_equal(logits, whole.logits + i * CLASSES, sizeof logits);
    }
    aleat_features_close(net);
}

static void the_layout_and_type_of_images_do_not_matter(void **state)
{
    (void)state;
    static uint8_t last[N * SIDE * SIDE * 3], first[N * SIDE * SIDE * 3];
    static float values[N * SIDE * SIDE * 3];
    enum { PIXELS = SIDE * SIDE };
    fill(last, sizeof last);
    for (int64_t i = 0; i < N * PIXELS * 3; i++) {
        values[i] = (float)last[i] / 255;
        first[i / (PIXELS * 3) * PIXELS * 3 + i % 3 * PIXELS + i / 3 % PIXELS] = last[i];
    }
    aleat_images images = {.n = N, .height = SIDE, .width = SIDE, .channels = 3, .bytes = last};
    const answer want = run(NULL, &images);
    images.bytes = first;
    images.channels_first = true;
    answer got = run(NULL, &images);
    assert_memory_equal(&got, &want, sizeof got);
    images = (aleat_images){.n = N, .height = SIDE, .width = SIDE, .channels = 3, .floats = values};
    got = run(NULL, &images);
    assert_memory_equal(&got, &want, sizeof got);
}

static void a_grey_image_is_repeated_for_a_network_of_colours(void **state)
{
    (void)state;
    static uint8_t grey[N * SIDE * SIDE], colours[N * SIDE * SIDE * 3];
    fill(grey, sizeof grey);
    for (int64_t i = 0; i < (int64_t)sizeof colours; i++)
        colours[i] = grey[i / 3];
    aleat_images images = {.n = N, .height = SIDE, .width = SIDE, .channels = 1, .bytes = grey};
    const answer got = run(NULL, &images);
    images.channels = 3;
    images.bytes = colours;
    const answer want = run(NULL, &images);
    assert_memory_equal(&got, &want, sizeof got);
}

static void what_a_network_does_not_take_is_said(void **state)
{
    (void)state;
    static const uint8_t bytes[64 * 64 * 3];
    aleat_error err = {0};
    float features[DIM];
    aleat_features *net = open_network(resnet(), NULL);
    aleat_images images = {.n = 1, .height = 32, .width = 28, .channels = 3, .bytes = bytes};
    assert_failed(aleat_features_run(net, &images, features, NULL, &err), ALEAT_ERR_SHAPE, &err,
                  "images are 32x28x3 (height, width, channels), the network takes 32x32");
    images = (aleat_images){.n = 1, .height = 32, .width = 32, .channels = 2, .bytes = bytes};
    assert_failed(aleat_features_run(net, &images, features, NULL, &err), ALEAT_ERR_SHAPE, &err,
                  "with 1 or 3 channels");
    aleat_features_close(net);

    const aleat_features_options layer = {.layer = "pool3"}, way = {.preparation = "lanczos"};
    const aleat_features_options precision = {.precision = "f8"};
    assert_failed(aleat_features_open(&net, inception(), &layer, &err), ALEAT_ERR_ARGUMENT, &err,
                  "has no layer 'pool3' of features, it has 2048, 768, 192, 64");
    assert_failed(aleat_features_open(&net, inception(), &way, &err), ALEAT_ERR_ARGUMENT, &err,
                  "'lanczos', but pytorch-fid, tf1, clean-fid");
    assert_failed(aleat_features_open(&net, resnet(), &precision, &err), ALEAT_ERR_ARGUMENT, &err,
                  "precision 'f8'");
    assert_failed(aleat_features_open(&net, case_path("data/ddpm-unet-d", "model"), NULL, &err),
                  ALEAT_ERR_UNSUPPORTED, &err, "family 'unet2d' gives no features");
    assert_null(net);
    aleat_model *model;
    assert_failed(aleat_model_open(&model, resnet(), NULL, &err), ALEAT_ERR_UNSUPPORTED, &err,
                  "classifier of clean images");
}

static void a_network_tells_what_it_has(void **state)
{
    (void)state;
    const char *help = NULL;
    aleat_features *net = open_network(inception(), NULL);
    const aleat_features_facts f = aleat_features_describe(net);
    assert_string_equal(f.family, "inception");
    assert_string_equal(f.layer, "2048");
    assert_string_equal(f.preparation, "pytorch-fid");
    assert_int_equal(f.dim, 2048);
    assert_int_equal(f.classes, 1008);
    assert_string_equal(aleat_features_layer(net, 4), "spatial");
    assert_null(aleat_features_layer(net, 6));
    assert_null(aleat_features_layer(net, -1));
    assert_string_equal(aleat_features_preparation(net, 2, &help), "clean-fid");
    assert_non_null(help);
    assert_null(aleat_features_preparation(net, 3, NULL));
    aleat_features_close(net);
}

/* ---- checkpoints that are not what they seem ------------------------------------------------- */

// A ResNet's list of tensors with the shape of one replaced, or without it if `shape` is NULL.
static const char *changed(const char *name, const char *shape)
{
    const char *path = scratch("changed.safetensors");
    json_t *all = json_load_file(case_path("data/cifar_resnet", "shapes.json"), 0, NULL);
    json_t *list = json_object_get(all, "tensors");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *tensor = json_array_get(list, i);
        if (strcmp(json_string_value(json_array_get(tensor, 0)), name) != 0)
            continue;
        if (shape)
            json_array_set_new(tensor, 1, json_loads(shape, 0, NULL));
        else
            json_array_remove(list, i);
        break;
    }
    write_checkpoint(path, list, true);
    json_decref(all);
    return path;
}

static void a_resnet_of_other_sizes_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *tensor, *shape, *text;
        aleat_status status;
    } cases[] = {
        {"module.layer3.0.conv1.weight", "[17,8,3,3]", "stages of 4, 8 and 17",
         ALEAT_ERR_UNSUPPORTED},
        {"module.layer2.1.conv2.weight", "[8,8,3,1]", "layer2.1.conv2.weight", ALEAT_ERR_SHAPE},
        {"module.bn1.running_var", NULL, "'module.bn1.running_var' of shape [4] is missing",
         ALEAT_ERR_FORMAT},
        {"module.layer2.1.conv1.weight", NULL, "have no place", ALEAT_ERR_FORMAT},
        {"module.linear.bias", "[11]", "module.linear.bias", ALEAT_ERR_SHAPE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err = {0};
        aleat_features *net;
        const char *path = changed(cases[i].tensor, cases[i].shape);
        assert_failed(aleat_features_open(&net, path, NULL, &err), cases[i].status, &err,
                      cases[i].text);
        assert_null(net);
    }
}

static void an_inception_of_other_classes_is_refused(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_features *net;
    const char *path = scratch("torchvision.safetensors");
    json_t *list = json_loads("[[\"Conv2d_1a_3x3.conv.weight\",[32,3,3,3]],"
                              "[\"Mixed_7c.branch_pool.conv.weight\",[192,2048,1,1]],"
                              "[\"fc.weight\",[1000,2048]]]",
                              0, NULL);
    write_checkpoint(path, list, false);
    json_decref(list);
    assert_failed(aleat_features_open(&net, path, NULL, &err), ALEAT_ERR_UNSUPPORTED, &err,
                  "1000 classes, expected the 1008");
    assert_non_null(strstr(err.hint, "pytorch-fid"));
}

/* ---- our own classifier ---------------------------------------------------------------------- */

#define CLASSIFIER(size, channels, groups, more)                                                   \
    "{\"_class_name\": \"PreActResNet\", \"sample_size\": " size ", \"in_channels\": 1, "          \
    "\"block_out_channels\": " channels ", \"layers_per_block\": 1, \"num_classes\": 3, "          \
    "\"norm_num_groups\": " groups more "}"

static aleat_status build_blueprint(const char *config, int64_t *params, aleat_error *err)
{
    const char *path = scratch("config.json");
    aleat_model_files files;
    assert_int_equal(aleat_write_file(path, config, strlen(config), NULL), ALEAT_OK);
    const aleat_status st = aleat_model_files_build(&files, path, NULL, NULL, err);
    if (!st) {
        const aleat_dims out = aleat_graph_dims(files.graph, files.network.out);
        assert_true(out.h == 1 && out.w == 1 && out.c == 3);
        const aleat_dims mean = aleat_graph_dims(files.graph, files.features.layers[0].value);
        assert_true(mean.h == 1 && mean.w == 1 && mean.c == 8);
        *params = aleat_graph_params(files.graph);
    }
    aleat_model_files_close(&files);
    return st;
}

static void a_classifier_is_built_from_its_configuration(void **state)
{
    (void)state;
    static const struct {
        const char *config, *text;
        aleat_status status;
    } cases[] = {
        {CLASSIFIER("8", "[4, 8]", "2", ""), "", ALEAT_OK},
        {CLASSIFIER("8", "[4, 8]", "2", ", \"act_fn\": \"silu\", \"dropout\": 0.1"), "", ALEAT_OK},
        {CLASSIFIER("8", "[4, 8]", "2", ", \"act_fn\": \"gelu\""), "'act_fn' is 'gelu'",
         ALEAT_ERR_UNSUPPORTED},
        {CLASSIFIER("8", "[4, 8]", "2", ", \"pooling\": 3"), "pooling", ALEAT_ERR_UNSUPPORTED},
        {CLASSIFIER("8", "[4, 8]", "3", ""), "4 channels do not divide into 3", ALEAT_ERR_SHAPE},
        {CLASSIFIER("7", "[4, 8]", "2", ""), "multiples of 2", ALEAT_ERR_ARGUMENT},
        {CLASSIFIER("[8, 8, 8]", "[4, 8]", "2", ""), "'sample_size' 3", ALEAT_ERR_FORMAT},
        {CLASSIFIER("8", "[]", "2", ""), "'block_out_channels' has 0", ALEAT_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err = {0};
        int64_t params = 0;
        const aleat_status st = build_blueprint(cases[i].config, &params, &err);
        if (cases[i].status)
            assert_failed(st, cases[i].status, &err, cases[i].text);
        else
            assert_ok(st, &err);
        // conv_in; two blocks of two norms and two convolutions, a shortcut; norm_out, classifier
        assert_int_equal(params, st ? 0 : 2 * (1 + 2 * 4 + 1 + 2));
    }
}

/* ---- sets of images -------------------------------------------------------------------------- */

static void write_array(const char *path, aleat_dtype dtype, const int64_t dim[4])
{
    aleat_error err = {0};
    aleat_tensor t = {0};
    aleat_shape shape = {.n_dims = dim[3] ? 4 : 3};
    size_t bytes;
    memcpy(shape.dim, dim, 4 * sizeof *dim);
    assert_true(aleat_shape_bytes(&shape, dtype, &bytes));
    assert_ok(aleat_tensor_new(&t, dtype, &shape, &err), &err);
    memset(t.data, 0, bytes);
    const aleat_named_array named = {"arr_0", t};
    assert_ok(name_ends(path, ".npz") ? aleat_npz_write(path, &named, 1, false, &err)
                                      : aleat_npy_write(path, &t, &err),
              &err);
    aleat_tensor_clear(&t);
}

static void the_axes_of_an_array_are_found(void **state)
{
    (void)state;
    static const struct {
        aleat_dtype dtype;
        int64_t dim[4], height, width, channels;
        bool first;
    } cases[] = {
        {ALEAT_U8, {2, 5, 6, 3}, 5, 6, 3, false}, {ALEAT_U8, {2, 3, 5, 6}, 5, 6, 3, true},
        {ALEAT_F32, {2, 1, 5, 6}, 5, 6, 1, true}, {ALEAT_U8, {2, 5, 6, 0}, 5, 6, 1, false},
        {ALEAT_U8, {2, 3, 6, 1}, 3, 6, 1, false},
    };
    aleat_error err = {0};
    aleat_image_set *set;
    char path[512];
    (void)snprintf(path, sizeof path, "%s", scratch("set.npy"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_array(path, cases[i].dtype, cases[i].dim);
        assert_ok(aleat_image_set_open(&set, path, NULL, &err), &err);
        const aleat_images got = aleat_image_set_images(set);
        assert_int_equal(got.n, 2);
        assert_int_equal(got.height, cases[i].height);
        assert_int_equal(got.width, cases[i].width);
        assert_int_equal(got.channels, cases[i].channels);
        assert_int_equal(got.channels_first, cases[i].first);
        assert_true((got.bytes != NULL) == (cases[i].dtype == ALEAT_U8));
        assert_true((got.floats != NULL) == (cases[i].dtype == ALEAT_F32));
        assert_null(aleat_image_set_labels(set));
        aleat_image_set_close(set);
    }
    write_array(path, ALEAT_U8, (const int64_t[]){2, 5, 6, 4});
    assert_failed(aleat_image_set_open(&set, path, NULL, &err), ALEAT_ERR_SHAPE, &err,
                  "[2,5,6,4], expected images");
    write_array(path, ALEAT_F64, (const int64_t[]){2, 5, 6, 3});
    assert_failed(aleat_image_set_open(&set, path, NULL, &err), ALEAT_ERR_UNSUPPORTED, &err,
                  "expected bytes (0 to 255) or float32");
    assert_failed(aleat_image_set_open(&set, path, "test", &err), ALEAT_ERR_ARGUMENT, &err,
                  "has no split 'test'");
    assert_null(set);
}

// Of the range of diffusion models, or of bytes, features would come out without a complaint.
static void floats_of_another_range_are_refused(void **state)
{
    (void)state;
    static const float wrong[] = {-1, 255, NAN, INFINITY}, right[] = {-0.05f, 0, 1, 1.05f};
    const char *path = scratch("range.npy");
    aleat_error err = {0};
    aleat_image_set *set;
    float pixels[2 * 4 * 4] = {0};
    const aleat_shape shape = aleat_shape_of(3, (int64_t)2, (int64_t)4, (int64_t)4);
    const aleat_tensor images = aleat_tensor_view(ALEAT_F32, &shape, pixels);
    for (int i = 0; i < 4; i++) {
        pixels[17] = wrong[i];
        assert_ok(aleat_npy_write(path, &images, &err), &err);
        assert_failed(aleat_image_set_open(&set, path, NULL, &err), ALEAT_ERR_ARGUMENT, &err,
                      "image 1 has the value");
        pixels[17] = right[i];
        assert_ok(aleat_npy_write(path, &images, &err), &err);
        assert_ok(aleat_image_set_open(&set, path, NULL, &err), &err);
        aleat_image_set_close(set);
    }
}

static void the_images_of_a_run_are_its_samples(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_image_set *set;
    write_array(scratch("samples.npz"), ALEAT_U8, (const int64_t[]){4, 5, 6, 3});
    assert_ok(aleat_image_set_open(&set, scratch(""), NULL, &err), &err); // the folder is the run
    const aleat_images got = aleat_image_set_images(set);
    assert_true(got.n == 4 && got.height == 5 && got.width == 6 && got.channels == 3 && got.bytes);
    aleat_image_set_close(set);
    assert_failed(aleat_image_set_open(&set, scratch(""), "test", &err), ALEAT_ERR_ARGUMENT, &err,
                  "holds no images for tests");
    assert_failed(aleat_image_set_open(&set, scratch(""), "dev", &err), ALEAT_ERR_ARGUMENT, &err,
                  "no split 'dev', but train and test");
    assert_int_equal(remove(scratch("samples.npz")), 0);
}

static void classes_of_the_first_images_are_counted(void **state)
{
    (void)state;
    static uint8_t pixels[6 * 16];
    int64_t labels[6] = {3, 3, 0, 0, 0, 7};
    const aleat_shape shape = aleat_shape_of(3, (int64_t)6, (int64_t)4, (int64_t)4);
    const aleat_shape row = aleat_shape_of(1, (int64_t)6);
    const aleat_named_array arrays[] = {{"arr_0", aleat_tensor_view(ALEAT_U8, &shape, pixels)},
                                        {"arr_1", aleat_tensor_view(ALEAT_I64, &row, labels)}};
    aleat_error err = {0};
    aleat_image_set *set;
    for (int labelled = 0; labelled < 2; labelled++) {
        assert_ok(aleat_npz_write(scratch("first.npz"), arrays, 1 + labelled, false, &err), &err);
        assert_ok(aleat_image_set_open(&set, scratch("first.npz"), NULL, &err), &err);
        static const int64_t want[] = {0, 1, 1, 2, 2, 2, 3, 3};
        for (int64_t n = 0; n < 8; n++)
            assert_int_equal(aleat_image_set_classes(set, n), labelled ? want[n] : 0);
        aleat_image_set_close(set);
    }
}

// Pictures of maps are no images, and half a run is not one.
static void a_run_without_samples_is_no_folder_of_pictures(void **state)
{
    (void)state;
    static const char *const files[] = {"run.json", "shards/settings.json"};
    static const char *const says[] = {"a run without pictures", "a run that is not finished"};
    aleat_error err = {0};
    aleat_image_set *set;
    uint8_t pixels[16] = {0};
    const aleat_image image = {.width = 4, .height = 4, .channels = 1, .pixels = pixels};
    for (int i = 0; i < 2; i++) {
        char path[512], folder[64];
        (void)snprintf(folder, sizeof folder, "half%d", i);
        (void)snprintf(path, sizeof path, "%s/maps", scratch(folder));
        assert_ok(aleat_make_dirs(path, &err), &err);
        (void)snprintf(path, sizeof path, "%s/shards", scratch(folder));
        assert_ok(aleat_make_dirs(path, &err), &err);
        (void)snprintf(path, sizeof path, "%s/maps/000000.png", scratch(folder));
        assert_ok(aleat_png_write(path, &image, NULL, 0, &err), &err);
        (void)snprintf(path, sizeof path, "%s/%s", scratch(folder), files[i]);
        assert_ok(aleat_write_file(path, "{}", 2, &err), &err);
        assert_failed(aleat_image_set_open(&set, scratch(folder), NULL, &err), ALEAT_ERR_IO, &err,
                      says[i]);
        assert_null(set);
    }
}

static void softmax_makes_probabilities_of_any_logits(void **state)
{
    (void)state;
    float p[6] = {0, 0, 0, 1000, 1000 + 0.6931472f, -1000};
    static const double want[6] = {1.0 / 3, 1.0 / 3, 1.0 / 3, 1.0 / 3, 2.0 / 3, 0};
    aleat_softmax(p, 2, 3);
    for (int i = 0; i < 6; i++)
        assert_near(p[i], want[i], 4e-5, "%d", i); // 1000.69 has 6e-5 of rounding
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resizing_agrees_with_its_three_references),
        cmocka_unit_test(an_image_of_the_right_size_stays_as_it_is),
        cmocka_unit_test(a_smaller_image_stands_in_the_middle_of_black),
        cmocka_unit_test(inception_agrees_with_pytorch_fid),
        cmocka_unit_test(a_cifar_resnet_agrees_with_pytorch),
        cmocka_unit_test(bf16_is_near),
        cmocka_unit_test(features_do_not_depend_on_batch_threads_or_neighbours),
        cmocka_unit_test(the_layout_and_type_of_images_do_not_matter),
        cmocka_unit_test(a_grey_image_is_repeated_for_a_network_of_colours),
        cmocka_unit_test(what_a_network_does_not_take_is_said),
        cmocka_unit_test(a_network_tells_what_it_has),
        cmocka_unit_test(a_resnet_of_other_sizes_is_refused),
        cmocka_unit_test(an_inception_of_other_classes_is_refused),
        cmocka_unit_test(a_classifier_is_built_from_its_configuration),
        cmocka_unit_test(the_axes_of_an_array_are_found),
        cmocka_unit_test(floats_of_another_range_are_refused),
        cmocka_unit_test(the_images_of_a_run_are_its_samples),
        cmocka_unit_test(classes_of_the_first_images_are_counted),
        cmocka_unit_test(a_run_without_samples_is_no_folder_of_pictures),
        cmocka_unit_test(softmax_makes_probabilities_of_any_logits),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
