#include "train/dataset.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/idx.h"

void aleat_dataset_clear(aleat_dataset *data)
{
    if (!data)
        return;
    aleat_free(data->pixels);
    aleat_free(data->labels);
    memset(data, 0, sizeof *data);
}

/** Labels of any real dtype; they must be whole numbers from 0. */
static aleat_status take_labels(aleat_dataset *data, const aleat_tensor *labels, const char *path,
                                aleat_error *err)
{
    const int64_t n = aleat_tensor_count(labels);
    if (n != data->count)
        return aleat_fail(err, ALEAT_ERR_SHAPE, "%s: %lld labels for %lld images", path,
                          (long long)n, (long long)data->count);
    float *values = aleat_alloc((size_t)n * sizeof *values);
    data->labels = aleat_alloc((size_t)n * sizeof *data->labels);
    if (!values || !data->labels) {
        aleat_free(values);
        return aleat_fail_memory(err, path);
    }
    aleat_convert_to_f32(values, labels->data, labels->dtype, n);
    aleat_status st = ALEAT_OK;
    for (int64_t i = 0; i < n && !st; i++) {
        if (!(values[i] >= 0 && values[i] < 65536) || values[i] != (float)(int32_t)values[i])
            st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: label %lld is %g", path, (long long)i,
                            (double)values[i]);
        else
            data->labels[i] = (int32_t)values[i];
        if (!st && data->labels[i] >= data->classes)
            data->classes = data->labels[i] + 1;
    }
    aleat_free(values);
    return st;
}

/* ---- IDX ------------------------------------------------------------------------------------- */

/** The path of the labels that belong to a file of images; NULL if the name does not say. */
static char *labels_path(const char *images)
{
    static const char from[] = "images-idx3", to[] = "labels-idx1";
    char *path = aleat_strdup(images);
    char *at = path ? strstr(path, from) : NULL;
    if (at)
        memcpy(at, to, sizeof to - 1);
    if (!at || !aleat_is_file(path)) {
        aleat_free(path);
        return NULL;
    }
    return path;
}

static aleat_status open_idx(aleat_dataset *out, const char *path, aleat_error *err)
{
    aleat_tensor images = {0}, labels = {0};
    char *beside = NULL;
    aleat_status st = aleat_idx_read(&images, path, err);
    if (st)
        return st;
    const aleat_shape *shape = &images.shape;
    if (images.dtype != ALEAT_U8 || shape->n_dims < 3 || shape->n_dims > 4) {
        st =
            aleat_fail(err, ALEAT_ERR_FORMAT, "%s: not bytes of images [n,h,w] or [n,h,w,c]", path);
        goto done;
    }
    out->count = shape->dim[0];
    out->height = shape->dim[1];
    out->width = shape->dim[2];
    out->channels = shape->n_dims == 4 ? shape->dim[3] : 1;
    out->pixels = images.data;
    images.owned = false;
    beside = labels_path(path);
    if (beside)
        st = aleat_idx_read(&labels, beside, err);
    if (!st && beside)
        st = take_labels(out, &labels, beside, err);
done:
    aleat_tensor_clear(&images);
    aleat_tensor_clear(&labels);
    aleat_free(beside);
    return st;
}

/* ---- one door -------------------------------------------------------------------------------- */

static const char *const folder_files[] = {
    "train-images-idx3-ubyte.gz",
    "train-images-idx3-ubyte",
};

aleat_status aleat_dataset_open(aleat_dataset *out, const char *path, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_dataset data = {0};
    char *file = NULL;
    aleat_status st = ALEAT_OK;
    for (size_t i = 0; i < sizeof folder_files / sizeof *folder_files && !file; i++) {
        file = aleat_path_join(path, folder_files[i]);
        if (file && !aleat_is_file(file)) {
            aleat_free(file);
            file = NULL;
        }
    }
    st = open_idx(&data, file ? file : path, err);
    if (!st && data.count < 1)
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: no images", path);
    aleat_free(file);
    if (st)
        aleat_dataset_clear(&data);
    else
        *out = data;
    return st;
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
