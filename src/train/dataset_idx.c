/* IDX files: images, labels beside them, and the test set (t10k-...) likewise. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/idx.h"
#include "train/dataset_kinds.h"

static const char *const folder_files[] = {
    "train-images-idx3-ubyte.gz",
    "train-images-idx3-ubyte",
};

/** The file of a data set's images: `path`, or the one in the folder `path`; NULL: no memory. */
static char *images_path(const char *path)
{
    for (size_t i = 0; i < sizeof folder_files / sizeof *folder_files; i++) {
        char *file = aleat_path_join(path, folder_files[i]);
        if (!file || aleat_is_file(file))
            return file;
        aleat_free(file);
    }
    return aleat_strdup(path);
}

/** `path` with the first `from` in its last component replaced by `to`; NULL if that is no file. */
static char *sibling(const char *path, const char *from, const char *to)
{
    const char *base = aleat_path_base(path), *at = strstr(base, from);
    char *name =
        at ? aleat_asprintf("%.*s%s%s", (int)(at - path), path, to, at + strlen(from)) : NULL;
    if (name && aleat_is_file(name))
        return name;
    aleat_free(name);
    return NULL;
}

bool aleat_is_idx_data(const char *path)
{
    aleat_mapping file = {0};
    char *images = images_path(path);
    bool is = false;
    if (images && aleat_is_file(images) && !aleat_mapping_open(&file, images, NULL)) {
        const unsigned char *d = file.data;
        is = file.len > 4 && ((d[0] == 0x1f && d[1] == 0x8b) ||
                              (d[0] == 0 && d[1] == 0 && d[2] == 8 && (d[3] == 3 || d[3] == 4)));
    }
    aleat_mapping_close(&file);
    aleat_free(images);
    return is;
}

aleat_status aleat_read_idx_data(aleat_dataset *out, const char *path, aleat_dataset_part part,
                                 const aleat_dataset_options *options, aleat_error *err)
{
    (void)options;
    aleat_tensor images = {0}, labels = {0};
    char *beside = NULL, *file = images_path(path);
    aleat_status st = file ? ALEAT_OK : aleat_fail_memory(err, path);
    if (!st && part == ALEAT_DATA_HELD_OUT) {
        char *held = sibling(file, "train-", "t10k-");
        aleat_free(file);
        file = held;
        if (!file)
            return ALEAT_OK;
    }
    if (!st)
        st = aleat_idx_read(&images, file, err);
    if (!st)
        st = aleat_dataset_add_images(out, &images, file, err);
    if (!st)
        beside = sibling(file, "images-idx3", "labels-idx1");
    if (beside)
        st = aleat_idx_read(&labels, beside, err);
    if (!st && beside && aleat_tensor_count(&labels) != out->count)
        st = aleat_fail(err, ALEAT_ERR_SHAPE, "%s: %lld labels for %lld images", beside,
                        (long long)aleat_tensor_count(&labels), (long long)out->count);
    if (!st && beside)
        st = aleat_dataset_add_labels(out, &labels, beside, err);
    aleat_tensor_clear(&images);
    aleat_tensor_clear(&labels);
    aleat_free(beside);
    aleat_free(file);
    return st;
}
