/* Data sets of every kind: what is read, how images are made to fit, and what is refused. */
#include "case.h"

#include <jpeglib.h>

#include "base/alloc.h"
#include "io/image_convert.h"
#include "io/jpeg_image.h"
#include "train/dataset.h"

static aleat_error err;

static void write_bytes(const char *name, const void *data, size_t len)
{
    char *folder = aleat_path_folder(scratch(name));
    assert_ok(aleat_make_dirs(folder, &err), &err);
    assert_ok(aleat_write_file(scratch(name), data, len, &err), &err);
    aleat_free(folder);
}

static aleat_dataset opened(const char *name, aleat_dataset_part part,
                            const aleat_dataset_options *options)
{
    aleat_dataset data;
    assert_ok(aleat_dataset_open(&data, scratch(name), part, options, &err), &err);
    return data;
}

static void assert_refused(const char *name, const aleat_dataset_options *options, const char *text)
{
    aleat_dataset data;
    const aleat_status st =
        aleat_dataset_open(&data, scratch(name), ALEAT_DATA_TRAIN, options, &err);
    assert_int_not_equal(st, ALEAT_OK);
    assert_failed(st, st, &err, text);
    assert_null(data.pixels);
}

/* ---- IDX ------------------------------------------------------------------------------------- */

static void an_idx_folder_has_labels_and_a_test_part(void **state)
{
    (void)state;
    static const unsigned char images[] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0,
                                           1, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6};
    static const unsigned char labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 2};
    static const unsigned char test[] = {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 9, 8};
    write_bytes("idx/train-images-idx3-ubyte", images, sizeof images);
    write_bytes("idx/train-labels-idx1-ubyte", labels, sizeof labels);
    aleat_dataset data = opened("idx", ALEAT_DATA_HELD_OUT, NULL);
    assert_int_equal(data.count, 0);
    write_bytes("idx/t10k-images-idx3-ubyte", test, sizeof test);
    const char *const names[] = {"idx", "idx/train-images-idx3-ubyte"};
    for (int i = 0; i < 2; i++) {
        data = opened(names[i], ALEAT_DATA_TRAIN, NULL);
        assert_int_equal(data.count, 3);
        assert_int_equal(data.height, 1);
        assert_int_equal(data.width, 2);
        assert_int_equal(data.channels, 1);
        assert_int_equal(data.classes, 8);
        assert_int_equal(data.labels[2], 2);
        assert_memory_equal(data.pixels, images + 16, 6);
        aleat_dataset_clear(&data);
        data = opened(names[i], ALEAT_DATA_HELD_OUT, NULL);
        assert_int_equal(data.count, 1);
        assert_int_equal(data.pixels[0], 9);
        assert_null(data.labels);
        aleat_dataset_clear(&data);
    }
    write_bytes("idx/train-labels-idx1-ubyte", "\0\0\x8\1\0\0\0\2ab", 10);
    assert_refused("idx", NULL, "2 labels for 3 images");
}

/* ---- CIFAR-10 -------------------------------------------------------------------------------- */

enum { RECORD = 3073 };

/** Records whose red, green and blue planes are `first` + 0, 1, 2 but for one pixel. */
static void write_batch(const char *name, int n, uint8_t label, uint8_t first)
{
    unsigned char *bytes = aleat_calloc((size_t)n, RECORD);
    assert_non_null(bytes);
    for (int i = 0; i < n; i++) {
        bytes[i * RECORD] = label;
        for (int c = 0; c < 3; c++)
            memset(bytes + i * RECORD + 1 + c * 1024, first + c, 1024);
        bytes[i * RECORD + 1 + 1024 + 33] = 255; // green, row 1, column 1
    }
    write_bytes(name, bytes, (size_t)n * RECORD);
    aleat_free(bytes);
}

static void cifar_batches_are_read_in_order_with_their_test_batch(void **state)
{
    (void)state;
    write_batch("cifar/cifar-10-batches-bin/data_batch_2.bin", 1, 3, 20);
    write_batch("cifar/cifar-10-batches-bin/data_batch_10.bin", 1, 4, 30);
    write_batch("cifar/cifar-10-batches-bin/data_batch_1.bin", 2, 5, 10);
    write_batch("cifar/cifar-10-batches-bin/test_batch.bin", 3, 1, 40);
    const char *const names[] = {"cifar", "cifar/cifar-10-batches-bin"};
    for (int i = 0; i < 2; i++) {
        aleat_dataset data = opened(names[i], ALEAT_DATA_TRAIN, NULL);
        assert_int_equal(data.count, 4);
        assert_int_equal(data.classes, 10);
        static const int32_t labels[] = {5, 5, 3, 4};
        static const uint8_t first[] = {10, 11, 12}, odd[] = {10, 255, 12};
        assert_memory_equal(data.labels, labels, sizeof labels);
        assert_memory_equal(data.pixels, first, 3);
        assert_memory_equal(data.pixels + 3 * 33, odd, 3);
        assert_int_equal(data.pixels[3 * 3072], 30);
        aleat_dataset_clear(&data);
        data = opened(names[i], ALEAT_DATA_HELD_OUT, NULL);
        assert_int_equal(data.count, 3);
        assert_int_equal(data.pixels[0], 40);
        aleat_dataset_clear(&data);
    }
    aleat_dataset one =
        opened("cifar/cifar-10-batches-bin/data_batch_1.bin", ALEAT_DATA_TRAIN, NULL);
    assert_int_equal(one.count, 2);
    assert_int_equal(one.classes, 10);
    aleat_dataset_clear(&one);
}

static void damaged_cifar_batches_are_refused(void **state)
{
    (void)state;
    write_batch("odd/data_batch_1.bin", 1, 10, 0);
    assert_refused("odd", NULL, "data_batch_1.bin: record 0: 10 is not a class");
    write_bytes("odd/data_batch_1.bin", "short", 5);
    assert_refused("odd", NULL, "5 bytes are not whole records");
    write_bytes("odd/data_batch_1.bin", "", 0);
    assert_refused("odd", NULL, "0 bytes");
}

/* ---- npz ------------------------------------------------------------------------------------- */

static void write_npz(const char *name, const aleat_named_array *arrays, int n)
{
    assert_ok(aleat_npz_write(scratch(name), arrays, n, true, &err), &err);
}

static void npz_files_of_both_habits_are_read(void **state)
{
    (void)state;
    uint8_t pixels[2 * 4 * 4 * 3], grey[3 * 4 * 4];
    int64_t labels[] = {1, 0, 1}, none[] = {-1, -1}, wrong[] = {0, -2};
    float floats[16] = {0};
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)i;
    memset(grey, 7, sizeof grey);
    const aleat_shape rgb = aleat_shape_of(4, (int64_t)2, (int64_t)4, (int64_t)4, (int64_t)3);
    const aleat_shape flat = aleat_shape_of(3, (int64_t)3, (int64_t)4, (int64_t)4);
    const aleat_shape two = aleat_shape_of(1, (int64_t)2);
    const aleat_shape column = aleat_shape_of(2, (int64_t)3, (int64_t)1); // as Keras has it
    const aleat_shape real = aleat_shape_of(3, (int64_t)1, (int64_t)4, (int64_t)4);
    const aleat_tensor images = aleat_tensor_view(ALEAT_U8, &rgb, pixels);

    aleat_named_array adm[] = {{"arr_0", images},
                               {"arr_1", aleat_tensor_view(ALEAT_I64, &two, none)}};
    write_npz("adm.npz", adm, 2);
    aleat_dataset data = opened("adm.npz", ALEAT_DATA_TRAIN, NULL);
    assert_int_equal(data.count, 2);
    assert_int_equal(data.channels, 3);
    assert_memory_equal(data.pixels, pixels, sizeof pixels);
    assert_null(data.labels); // a run without labels says -1 for each
    aleat_dataset_clear(&data);

    const aleat_named_array keras[] = {{"x_test", images},
                                       {"x_train", aleat_tensor_view(ALEAT_U8, &flat, grey)},
                                       {"y_train", aleat_tensor_view(ALEAT_I64, &column, labels)}};
    write_npz("keras.npz", keras, 3);
    data = opened("keras.npz", ALEAT_DATA_TRAIN, NULL);
    assert_int_equal(data.count, 3);
    assert_int_equal(data.channels, 1);
    assert_int_equal(data.classes, 2);
    aleat_dataset_clear(&data);
    data = opened("keras.npz", ALEAT_DATA_HELD_OUT, NULL);
    assert_int_equal(data.count, 2);
    aleat_dataset_clear(&data);

    adm[1].array = aleat_tensor_view(ALEAT_I64, &two, wrong);
    write_npz("wrong.npz", adm, 2);
    assert_refused("wrong.npz", NULL, "label 1 is -2");
    adm[0].array = aleat_tensor_view(ALEAT_F32, &real, floats);
    write_npz("floats.npz", adm, 1);
    assert_refused("floats.npz", NULL, "not bytes of images");
    adm[0].name = "images";
    write_npz("named.npz", adm, 1);
    assert_refused("named.npz", NULL, "neither 'arr_0' nor 'x_train'");
}

/* ---- folders --------------------------------------------------------------------------------- */

/** A picture of one colour with a white right half. */
static void write_png(const char *name, int64_t width, int64_t height, int channels, uint8_t value)
{
    aleat_image image = {.width = width, .height = height, .channels = channels};
    image.pixels = aleat_alloc((size_t)(width * height * channels));
    memset(image.pixels, value, (size_t)(width * height * channels));
    for (int64_t y = 0; y < height; y++)
        memset(image.pixels + (y * width + width / 2) * channels, 255,
               (size_t)((width - width / 2) * channels));
    char *folder = aleat_path_folder(scratch(name));
    assert_ok(aleat_make_dirs(folder, &err), &err);
    assert_ok(aleat_png_write(scratch(name), &image, NULL, 0, &err), &err);
    aleat_free(folder);
    aleat_image_clear(&image);
}

/** A JPEG of 16 x 8 pixels, the left half of the one colour, the right one of the other; in new
 * memory (free()). */
static unsigned char *make_jpeg(unsigned long *len, bool progressive)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *bytes = NULL, line[16 * 3];
    JSAMPROW row = line;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    *len = 0;
    jpeg_mem_dest(&jpeg, &bytes, len);
    jpeg.image_width = 16;
    jpeg.image_height = 8;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 100, TRUE);
    if (progressive)
        jpeg_simple_progression(&jpeg);
    for (int x = 0; x < 16; x++)
        memcpy(line + 3 * x,
               x < 8 ? (unsigned char[]){200, 40, 60} : (unsigned char[]){20, 90, 220}, 3);
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < 8)
        (void)jpeg_write_scanlines(&jpeg, &row, 1);
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    return bytes;
}

static void jpegs_are_read_and_damaged_ones_refused(void **state)
{
    (void)state;
    for (int progressive = 0; progressive < 2; progressive++) {
        unsigned long len;
        unsigned char *bytes = make_jpeg(&len, progressive);
        aleat_image image;
        assert_ok(aleat_jpeg_read_memory(&image, bytes, len, &err), &err);
        assert_int_equal(image.width, 16);
        assert_int_equal(image.height, 8);
        assert_int_equal(image.channels, 3);
        // Two flat blocks: nothing but rounding, and the conversion of colours there and back.
        assert_in_range(image.pixels[3 * 2] + 3, 200, 206);
        assert_in_range(image.pixels[3 * 14 + 2] + 3, 220, 226);
        aleat_image_clear(&image);
        for (unsigned long cut = 0; cut < len - 2; cut += 1 + len / 40) {
            const aleat_status st = aleat_jpeg_read_memory(&image, bytes, cut, &err);
            assert_failed(st, ALEAT_ERR_FORMAT, &err, cut < 3 ? "not a JPEG" : "JPEG: ");
            assert_null(image.pixels);
        }
        free(bytes);
    }
}

static void subfolders_are_classes_in_the_order_of_their_names(void **state)
{
    (void)state;
    unsigned long len;
    unsigned char *jpeg = make_jpeg(&len, false);
    write_png("classes/zebra/b.png", 16, 8, 3, 1);
    write_png("classes/zebra/a.PNG", 16, 8, 3, 2);
    write_png("classes/Ape/deep/c.png", 16, 8, 3, 3);
    write_bytes("classes/bee/photo.JPEG", jpeg, len);
    write_bytes("classes/bee/notes.txt", "no image", 8);
    write_bytes("classes/.hidden/x.png", "no image", 8);
    free(jpeg);
    aleat_dataset data = opened("classes", ALEAT_DATA_TRAIN, NULL);
    assert_int_equal(data.count, 4);
    assert_int_equal(data.classes, 3);
    static const int32_t labels[] = {0, 1, 2, 2}; // capitals come first, as in torchvision
    assert_memory_equal(data.labels, labels, sizeof labels);
    assert_int_equal(data.pixels[0], 3);
    assert_int_equal(data.pixels[2 * 16 * 8 * 3], 2);
    assert_int_equal(data.pixels[3 * 16 * 8 * 3], 1);
    aleat_dataset_clear(&data);
    write_png("classes/stray.png", 16, 8, 3, 1);
    assert_refused("classes", NULL, "images beside folders of classes, such as 'stray.png'");
    assert_int_equal(remove(scratch("classes/stray.png")), 0);
    write_bytes("classes/zebra/c.WebP", "no image", 8); // others would read it
    assert_refused("classes", NULL, "c.WebP: only PNG and JPEG are read");
    assert_int_equal(remove(scratch("classes/zebra/c.WebP")), 0);
    write_bytes("classes/empty/notes.txt", "no image", 8);
    assert_refused("classes", NULL, "empty: a class without a PNG or JPEG");
}

static void a_flat_folder_has_no_labels_and_images_of_one_size(void **state)
{
    (void)state;
    write_png("flat/1.png", 8, 6, 1, 0);
    write_png("flat/2.png", 8, 6, 3, 51);
    aleat_dataset data = opened("flat", ALEAT_DATA_TRAIN, NULL);
    assert_int_equal(data.count, 2);
    assert_int_equal(data.channels, 1); // as the first; the second is made grey
    assert_null(data.labels);
    assert_int_equal(data.pixels[8 * 6], 51);
    aleat_dataset_clear(&data);
    data = opened("flat", ALEAT_DATA_TRAIN, &(aleat_dataset_options){.channels = 3});
    assert_int_equal(data.channels, 3);
    assert_int_equal(data.pixels[3 * 7 + 2], 255);
    aleat_dataset_clear(&data);
    write_png("flat/3.png", 12, 12, 1, 0);
    assert_refused("flat", NULL, "3.png: 12x12 pixels, the first image has 6x8");
    assert_non_null(strstr(err.hint, "--size"));
    data = opened("flat", ALEAT_DATA_TRAIN, &(aleat_dataset_options){.size = 3});
    assert_int_equal(data.count, 3);
    assert_int_equal(data.width, 3);
    // 12 pixels to 3: the middle one is half of each side. 8x6: columns 1 to 6, of which two make
    // one, and the edge is at column 4: 1-2, 3 and 4, 5-6.
    static const uint8_t row[] = {0, 128, 255};
    assert_memory_equal(data.pixels + 2 * 9, row, 3);
    assert_memory_equal(data.pixels, row, 3);
    aleat_dataset_clear(&data);
    write_bytes("flat/4.png", "no png", 6);
    assert_refused("flat", &(aleat_dataset_options){.size = 3}, "4.png: PNG");
    assert_ok(aleat_make_dirs(scratch("nothing"), &err), &err);
    assert_refused("nothing", NULL, "no .png, .jpg or .jpeg");
}

/* ---- sizes and parts ------------------------------------------------------------------------- */

// Any ratio of sizes: the mean of the square stays, a flat image stays flat, enlarging repeats.
static void resampling_keeps_the_mean_and_flat_images(void **state)
{
    (void)state;
    uint8_t pixels[7 * 7], out[50 * 50];
    const aleat_image image = {.width = 7, .height = 7, .channels = 1, .pixels = pixels};
    for (int i = 0; i < 49; i++)
        pixels[i] = (uint8_t)(37 * i % 256);
    for (int64_t size = 1; size <= 50; size++) {
        double mean = 0, want = 0;
        aleat_image_fit(out, &image, size, 1);
        for (int i = 0; i < 49; i++)
            want += pixels[i] / 49.0;
        for (int64_t i = 0; i < size * size; i++)
            mean += out[i] / (double)(size * size);
        assert_true(mean > want - 0.5 && mean < want + 0.5); // rounding of each pixel
    }
    aleat_image_fit(out, &image, 14, 1);
    for (int i = 0; i < 14 * 14; i++)
        assert_int_equal(out[i], pixels[i / 14 / 2 * 7 + i % 14 / 2]);
    memset(pixels, 201, sizeof pixels);
    aleat_image_fit(out, &image, 5, 3);
    for (int i = 0; i < 75; i++)
        assert_int_equal(out[i], 201);
}

static void held_out_images_are_spread_over_the_data_set(void **state)
{
    (void)state;
    aleat_dataset data = {.count = 10, .height = 1, .width = 1, .channels = 1, .classes = 10};
    aleat_dataset held;
    data.pixels = aleat_calloc(10, 1);
    data.labels = aleat_calloc(10, sizeof *data.labels);
    for (int i = 0; i < 10; i++) {
        data.pixels[i] = (uint8_t)(100 + i);
        data.labels[i] = i;
    }
    assert_failed(aleat_dataset_hold_out(&data, 0.05, &held, &err), ALEAT_ERR_ARGUMENT, &err,
                  "a share of 0.05 of 10 images");
    assert_ok(aleat_dataset_hold_out(&data, 0.3, &held, &err), &err);
    assert_int_equal(held.count, 3);
    assert_int_equal(data.count, 7);
    static const int32_t out[] = {3, 6, 9}, kept[] = {0, 1, 2, 4, 5, 7, 8};
    assert_memory_equal(held.labels, out, sizeof out);
    assert_memory_equal(data.labels, kept, sizeof kept);
    for (int i = 0; i < 7; i++)
        assert_int_equal(data.pixels[i], 100 + kept[i]);
    char before[65], after[65];
    aleat_dataset_sha256(&data, before);
    data.pixels[3]++;
    aleat_dataset_sha256(&data, after);
    assert_string_not_equal(before, after);
    aleat_dataset_clear(&data);
    aleat_dataset_clear(&held);
}

static void what_is_no_data_set_is_told_what_is(void **state)
{
    (void)state;
    write_bytes("text.txt", "hello", 5);
    assert_refused("text.txt", NULL, "not a data set of a known kind");
    for (const aleat_dataset_kind *k = aleat_dataset_kinds(); k->name; k++)
        assert_non_null(strstr(err.hint, k->name));
    assert_refused("missing", NULL, "missing: cannot open: No such file");
    // Of a kind that is said, its own reader tells what is wrong.
    for (const aleat_dataset_kind *k = aleat_dataset_kinds(); k->name; k++)
        assert_refused("text.txt", &(aleat_dataset_options){.kind = k}, "text.txt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idx_folder_has_labels_and_a_test_part),
        cmocka_unit_test(cifar_batches_are_read_in_order_with_their_test_batch),
        cmocka_unit_test(damaged_cifar_batches_are_refused),
        cmocka_unit_test(npz_files_of_both_habits_are_read),
        cmocka_unit_test(jpegs_are_read_and_damaged_ones_refused),
        cmocka_unit_test(subfolders_are_classes_in_the_order_of_their_names),
        cmocka_unit_test(a_flat_folder_has_no_labels_and_images_of_one_size),
        cmocka_unit_test(resampling_keeps_the_mean_and_flat_images),
        cmocka_unit_test(held_out_images_are_spread_over_the_data_set),
        cmocka_unit_test(what_is_no_data_set_is_told_what_is),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
