/* numpy's .npz: arr_0 and arr_1 as of ADM's reference batches and our own runs, or x_train and
 * y_train (with x_test, y_test) as of Keras. */
#include "base/error.h"
#include "io/file.h"
#include "io/npy.h"
#include "io/zip.h"
#include "train/dataset_kinds.h"

static const struct {
    const char *images, *labels;
    aleat_dataset_part part;
} arrays[] = {
    {"arr_0", "arr_1", ALEAT_DATA_TRAIN},
    {"x_train", "y_train", ALEAT_DATA_TRAIN},
    {"x_test", "y_test", ALEAT_DATA_HELD_OUT},
};
enum { N_ARRAYS = sizeof arrays / sizeof *arrays };

bool aleat_is_npz_data(const char *path)
{
    aleat_mapping file = {0};
    const bool is = aleat_is_file(path) && !aleat_mapping_open(&file, path, NULL) &&
                    aleat_is_zip(file.data, file.len);
    aleat_mapping_close(&file);
    return is;
}

// A run without labels writes -1 for each: the same as none.
static bool says_nothing(const aleat_tensor *labels)
{
    const int64_t n = aleat_tensor_count(labels);
    if (labels->dtype != ALEAT_I64)
        return false;
    for (int64_t i = 0; i < n; i++)
        if (((const int64_t *)labels->data)[i] != -1)
            return false;
    return true;
}

static aleat_status read_labels(aleat_dataset *out, const char *path, const char *name,
                                aleat_error *err)
{
    aleat_tensor labels = {0};
    bool there = false;
    aleat_status st = aleat_npz_has(&there, path, name, err);
    if (!st && there)
        st = aleat_npz_read(&labels, path, name, err);
    if (!st && there && aleat_tensor_count(&labels) != out->count)
        st = aleat_fail(err, ALEAT_ERR_SHAPE, "%s: %lld labels in '%s' for %lld images", path,
                        (long long)aleat_tensor_count(&labels), name, (long long)out->count);
    if (!st && there && !says_nothing(&labels))
        st = aleat_dataset_add_labels(out, &labels, path, err);
    aleat_tensor_clear(&labels);
    return st;
}

aleat_status aleat_read_npz_data(aleat_dataset *out, const char *path, aleat_dataset_part part,
                                 const aleat_dataset_options *options, aleat_error *err)
{
    (void)options;
    aleat_tensor images = {0};
    for (int i = 0; i < N_ARRAYS; i++) {
        bool there = false;
        aleat_status st =
            arrays[i].part == part ? aleat_npz_has(&there, path, arrays[i].images, err) : ALEAT_OK;
        if (!st && !there)
            continue;
        if (!st)
            st = aleat_npz_read(&images, path, arrays[i].images, err);
        if (!st)
            st = aleat_dataset_add_images(out, &images, path, err);
        if (!st)
            st = read_labels(out, path, arrays[i].labels, err);
        aleat_tensor_clear(&images);
        return st;
    }
    if (part == ALEAT_DATA_HELD_OUT)
        return ALEAT_OK;
    return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: neither 'arr_0' nor 'x_train' in it", path);
}
