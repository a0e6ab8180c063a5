/* CIFAR-10's binary version: one file, or the folder of all (also the one that its archive unpacks
 * to, cifar-10-batches-bin, in the given one). */
#include <dirent.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/cifar.h"
#include "io/file.h"
#include "train/dataset_kinds.h"

#define FOLDER "cifar-10-batches-bin"

static int is_train_batch(const struct dirent *entry)
{
    return fnmatch("data_batch_*.bin", entry->d_name, 0) == 0;
}

static int is_test_batch(const struct dirent *entry)
{
    return strcmp(entry->d_name, "test_batch.bin") == 0;
}

/** The folder of the batches, in new memory, or NULL. */
static char *batch_folder(const char *path)
{
    const char *const places[] = {".", FOLDER};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char *folder = aleat_path_join(path, places[i]);
        struct dirent **batches = NULL;
        const int n = folder ? scandir(folder, &batches, is_train_batch, NULL) : 0;
        for (int k = 0; k < n; k++)
            free(batches[k]);
        free(batches);
        if (n > 0)
            return folder;
        aleat_free(folder);
    }
    return NULL;
}

bool aleat_is_cifar10_data(const char *path)
{
    char *folder = batch_folder(path);
    const bool is = folder || (aleat_path_ends_in(path, ".bin") && aleat_is_file(path));
    aleat_free(folder);
    return is;
}

static aleat_status add_batch(aleat_dataset *out, const char *path, aleat_error *err)
{
    aleat_mapping file = {0};
    aleat_tensor images = {0}, labels = {0};
    aleat_status st = aleat_mapping_open(&file, path, err);
    if (st)
        return st;
    st = aleat_cifar10_parse(&images, &labels, file.data, file.len, err);
    if (st)
        aleat_error_in(err, "%s", path);
    if (!st)
        st = aleat_dataset_add_images(out, &images, path, err);
    if (!st)
        st = aleat_dataset_add_labels(out, &labels, path, err);
    if (!st)
        out->classes = 10; // whether or not the files show all of them
    aleat_tensor_clear(&images);
    aleat_tensor_clear(&labels);
    aleat_mapping_close(&file);
    return st;
}

aleat_status aleat_read_cifar10_data(aleat_dataset *out, const char *path, aleat_dataset_part part,
                                     const aleat_dataset_options *options, aleat_error *err)
{
    (void)options;
    const bool train = part == ALEAT_DATA_TRAIN;
    if (aleat_is_file(path))
        return train ? add_batch(out, path, err) : ALEAT_OK;
    char *folder = batch_folder(path);
    if (!folder)
        return aleat_fail(err, ALEAT_ERR_IO, "%s: no data_batch_*.bin there", path);
    struct dirent **batches = NULL;
    const int n = scandir(folder, &batches, train ? is_train_batch : is_test_batch, versionsort);
    aleat_status st = n < 0 ? aleat_fail_errno(err, "cannot list", folder) : ALEAT_OK;
    for (int i = 0; i < n; i++) {
        char *file = st ? NULL : aleat_path_join(folder, batches[i]->d_name);
        if (!st)
            st = file ? add_batch(out, file, err) : aleat_fail_memory(err, folder);
        aleat_free(file);
        free(batches[i]);
    }
    free(batches);
    aleat_free(folder);
    return st;
}
