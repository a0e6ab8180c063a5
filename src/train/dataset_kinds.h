/* For the readers of data sets, one file a kind. */
#ifndef ALEAT_TRAIN_DATASET_KINDS_H
#define ALEAT_TRAIN_DATASET_KINDS_H

#include "tensor/tensor.h"
#include "train/dataset.h"

typedef bool aleat_dataset_recognise_fn(const char *path);
typedef aleat_status aleat_dataset_read_fn(aleat_dataset *out, const char *path,
                                           aleat_dataset_part part,
                                           const aleat_dataset_options *options, aleat_error *err);

aleat_dataset_recognise_fn aleat_is_idx_data, aleat_is_cifar10_data, aleat_is_npz_data,
    aleat_is_image_folder, aleat_is_image_file;
aleat_dataset_read_fn aleat_read_idx_data, aleat_read_cifar10_data, aleat_read_npz_data,
    aleat_read_image_folder, aleat_read_image_file;

/** Appends images, bytes [n,h,w] or [n,h,w,c] of the size of those before them; takes the tensor's
 * data over if it is the first. Errors name `path`. */
ALEAT_MUST_USE aleat_status aleat_dataset_add_images(aleat_dataset *data, aleat_tensor *images,
                                                     const char *path, aleat_error *err);
/** Labels of the last images: `n` whole numbers from 0 of any real type and shape. */
ALEAT_MUST_USE aleat_status aleat_dataset_add_labels(aleat_dataset *data,
                                                     const aleat_tensor *labels, const char *path,
                                                     aleat_error *err);

#endif
