#include "train/dataset.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/image_convert.h"
#include "io/sha256.h"
#include "train/dataset_kinds.h"

static const aleat_dataset_kind kinds[] = {
    {"idx", "IDX arrays as of MNIST: the images, or the folder they are in", aleat_is_idx_data,
     aleat_read_idx_data},
    {"cifar10", "the binary version of CIFAR-10: data_batch_*.bin or their folder",
     aleat_is_cifar10_data, aleat_read_cifar10_data},
    {"npz", "uint8 arrays arr_0 [N,H,W,C] and arr_1 (labels), or x_train and y_train",
     aleat_is_npz_data, aleat_read_npz_data},
    {"folder", "PNG and JPEG files; subfolders are classes, in the order of their names",
     aleat_is_image_folder, aleat_read_image_folder},
    {"image", "a PNG or JPEG file by itself", aleat_is_image_file, aleat_read_image_file},
    {0},
};

const aleat_dataset_kind *aleat_dataset_kinds(void)
{
    return kinds;
}

void aleat_dataset_clear(aleat_dataset *data)
{
    if (!data)
        return;
    aleat_free(data->pixels);
    aleat_free(data->labels);
    memset(data, 0, sizeof *data);
}

static size_t image_bytes(const aleat_dataset *data)
{
    return (size_t)data->height * (size_t)data->width * (size_t)data->channels;
}

/* ---- for the readers ------------------------------------------------------------------------- */

aleat_status aleat_dataset_add_images(aleat_dataset *data, aleat_tensor *images, const char *path,
                                      aleat_error *err)
{
    const aleat_shape *s = &images->shape;
    if (images->dtype != ALEAT_U8 || s->n_dims < 3 || s->n_dims > 4)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: not bytes of images [n,h,w] or [n,h,w,c]",
                          path);
    const aleat_dataset added = {.count = s->dim[0],
                                 .height = s->dim[1],
                                 .width = s->dim[2],
                                 .channels = s->n_dims == 4 ? s->dim[3] : 1};
    if (!data->pixels) {
        *data = added;
        data->pixels = images->data;
        images->owned = false;
        return ALEAT_OK;
    }
    if (added.height != data->height || added.width != data->width ||
        added.channels != data->channels)
        return aleat_fail(err, ALEAT_ERR_SHAPE,
                          "%s: images of %lldx%lldx%lld where those before are %lldx%lldx%lld",
                          path, (long long)added.height, (long long)added.width,
                          (long long)added.channels, (long long)data->height,
                          (long long)data->width, (long long)data->channels);
    // Both sizes are those of arrays in memory, so their sum is one of memory, too.
    const size_t old = (size_t)data->count * image_bytes(data);
    const size_t more = (size_t)added.count * image_bytes(data);
    uint8_t *pixels = aleat_realloc(data->pixels, old, old + more);
    if (!pixels)
        return aleat_fail_memory(err, path);
    memcpy(pixels + old, images->data, more);
    data->pixels = pixels;
    data->count += added.count;
    return ALEAT_OK;
}

aleat_status aleat_dataset_add_labels(aleat_dataset *data, const aleat_tensor *labels,
                                      const char *path, aleat_error *err)
{
    const int64_t n = aleat_tensor_count(labels), first = data->count - n;
    if (first < 0 || (first > 0 && !data->labels))
        return aleat_fail(err, ALEAT_ERR_SHAPE, "%s: %lld labels for %lld images", path,
                          (long long)n, (long long)data->count);
    float *values = aleat_alloc((size_t)n * sizeof *values);
    int32_t *all =
        aleat_realloc(data->labels, (size_t)first * sizeof *all, (size_t)data->count * sizeof *all);
    if (all)
        data->labels = all;
    if (!values || !all) {
        aleat_free(values);
        return aleat_fail_memory(err, path);
    }
    aleat_convert_to_f32(values, labels->data, labels->dtype, n);
    aleat_status st = ALEAT_OK;
    for (int64_t i = 0; i < n && !st; i++) {
        if (!(values[i] >= 0 && values[i] < ALEAT_DATASET_MOST_CLASSES) ||
            values[i] != floorf(values[i])) {
            st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: label %lld is %g", path, (long long)i,
                            (double)values[i]);
            break;
        }
        all[first + i] = (int32_t)values[i];
        if (all[first + i] >= data->classes)
            data->classes = all[first + i] + 1;
    }
    aleat_free(values);
    return st;
}

/* ---- one door -------------------------------------------------------------------------------- */

static aleat_status find_kind(const aleat_dataset_kind **out, const char *path, aleat_error *err)
{
    for (const aleat_dataset_kind *k = kinds; k->name; k++)
        if (k->recognises(path)) {
            *out = k;
            return ALEAT_OK;
        }
    struct stat there;
    if (stat(path, &there))
        return aleat_fail_errno(err, "cannot open", path);
    char known[512] = "";
    for (const aleat_dataset_kind *k = kinds; k->name; k++) {
        const size_t used = strlen(known);
        (void)snprintf(known + used, sizeof known - used, "%s%s (%s)", used ? "; " : "", k->name,
                       k->description);
    }
    (void)aleat_fail(err, ALEAT_ERR_FORMAT, "%s: not a data set of a known kind", path);
    aleat_hint(err, "known are: %s", known);
    return ALEAT_ERR_FORMAT;
}

static aleat_status check(const aleat_dataset *data, const char *path, aleat_error *err)
{
    const int64_t most = (int64_t)1 << 20;
    if (data->height < 1 || data->width < 1 || data->channels < 1 || data->height > most ||
        data->width > most || data->channels > 4096)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: images of %lldx%lldx%lld", path,
                          (long long)data->height, (long long)data->width,
                          (long long)data->channels);
    return ALEAT_OK;
}

/** Brings images of one size to the size and colours that were asked for. */
static aleat_status fit(aleat_dataset *data, const aleat_dataset_options *o, const char *path,
                        aleat_error *err)
{
    const bool convert = o->channels && data->channels != o->channels;
    const bool resample = o->size && (data->height != o->size || data->width != o->size);
    const bool pixels = data->channels == 1 || data->channels == 3;
    if ((!convert && !resample) || (convert && o->channels != 1 && o->channels != 3))
        return ALEAT_OK; // the network will say that it takes others
    if (!pixels)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: images of %lld channels (the last axis) cannot be resampled or made "
                          "grey or RGB",
                          path, (long long)data->channels);
    aleat_dataset fitted = *data;
    if (convert)
        fitted.channels = o->channels;
    if (resample)
        fitted.height = fitted.width = o->size;
    const size_t bytes = image_bytes(&fitted);
    size_t all;
    if (!aleat_size_mul(bytes, (size_t)data->count, &all))
        return aleat_fail_memory(err, "resampled images");
    fitted.pixels = aleat_alloc(all);
    if (!fitted.pixels)
        return aleat_fail_memory(err, "resampled images");
    for (int64_t i = 0; i < data->count; i++) {
        const aleat_image image = {.width = data->width,
                                   .height = data->height,
                                   .channels = (int)data->channels,
                                   .pixels = data->pixels + (size_t)i * image_bytes(data)};
        uint8_t *to = fitted.pixels + (size_t)i * bytes;
        if (resample)
            aleat_image_fit(to, &image, o->size, (int)fitted.channels);
        else
            aleat_image_channels(to, (int)fitted.channels, image.pixels, image.channels,
                                 data->height * data->width);
    }
    aleat_free(data->pixels);
    *data = fitted;
    return ALEAT_OK;
}

aleat_status aleat_dataset_open(aleat_dataset *out, const char *path, aleat_dataset_part part,
                                const aleat_dataset_options *options, aleat_error *err)
{
    static const aleat_dataset_options defaults;
    const aleat_dataset_options *o = options ? options : &defaults;
    const aleat_dataset_kind *kind = o->kind;
    aleat_dataset data = {0};
    memset(out, 0, sizeof *out);
    aleat_status st = kind ? ALEAT_OK : find_kind(&kind, path, err);
    if (!st)
        st = kind->read(&data, path, part, o, err);
    if (!st && data.count < 1 && part == ALEAT_DATA_TRAIN)
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: no images", path);
    if (!st && data.count > 0)
        st = check(&data, path, err);
    if (!st && data.count > 0)
        st = fit(&data, o, path, err);
    if (st || data.count < 1)
        aleat_dataset_clear(&data);
    *out = data;
    return st;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static void copy_image(const aleat_dataset *from, int64_t i, aleat_dataset *to, int64_t j)
{
    const size_t bytes = image_bytes(from);
    memmove(to->pixels + (size_t)j * bytes, from->pixels + (size_t)i * bytes, bytes);
    if (from->labels)
        to->labels[j] = from->labels[i];
}

aleat_status aleat_dataset_hold_out(aleat_dataset *data, double share, aleat_dataset *out,
                                    aleat_error *err)
{
    memset(out, 0, sizeof *out);
    const int64_t held = (int64_t)floor(share * (double)data->count);
    if (!(share > 0 && share < 1) || held < 1 || held >= data->count) {
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                         "a share of %g of %lld images to be held out leaves none on one side",
                         share, (long long)data->count);
        aleat_hint(err, "give another --validation P, or --validate-every 0 to hold out none");
        return ALEAT_ERR_ARGUMENT;
    }
    *out = *data;
    out->count = held;
    out->pixels = aleat_alloc((size_t)held * image_bytes(data));
    out->labels = data->labels ? aleat_alloc((size_t)held * sizeof *out->labels) : NULL;
    if (!out->pixels || (data->labels && !out->labels)) {
        aleat_dataset_clear(out);
        return aleat_fail_memory(err, "held-out images");
    }
    int64_t kept = 0, moved = 0;
    for (int64_t i = 0; i < data->count; i++) {
        // The last of them ends at floor(share * count), so there are as many as was said.
        if (floor((double)(i + 1) * share) > floor((double)i * share))
            copy_image(data, i, out, moved++);
        else
            copy_image(data, i, data, kept++);
    }
    data->count = kept;
    return ALEAT_OK;
}

void aleat_dataset_sha256(const aleat_dataset *data, char out[ALEAT_SHA256_TEXT])
{
    const int64_t sizes[] = {data->count, data->height, data->width, data->channels, data->classes};
    aleat_sha256_state state;
    aleat_sha256_begin(&state);
    aleat_sha256_add(&state, sizes, sizeof sizes);
    aleat_sha256_add(&state, data->pixels, (size_t)data->count * image_bytes(data));
    if (data->labels)
        aleat_sha256_add(&state, data->labels, (size_t)data->count * sizeof *data->labels);
    aleat_sha256_end(&state, out);
}

void aleat_dataset_image(const aleat_dataset *data, int64_t i, bool flip, int64_t height,
                         int64_t width, float *dst)
{
    const int64_t c = data->channels, top = (height - data->height) / 2;
    const int64_t left = (width - data->width) / 2;
    const uint8_t *src = data->pixels + i * data->height * data->width * c;
    for (int64_t p = 0; p < height * width * c; p++)
        dst[p] = -1.0f;
    for (int64_t y = 0; y < data->height; y++)
        for (int64_t x = 0; x < data->width; x++) {
            const int64_t from = flip ? data->width - 1 - x : x;
            for (int64_t k = 0; k < c; k++)
                dst[((top + y) * width + left + x) * c + k] =
                    (float)src[(y * data->width + from) * c + k] / 127.5f - 1.0f;
        }
}
