/*
 * Images to learn from, all of them in memory as bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ALEAT_TRAIN_DATASET_H
#define ALEAT_TRAIN_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/status.h"

/** Zero-initialise. */
typedef struct aleat_dataset {
    int64_t count, height, width, channels;
    uint8_t *pixels; /**< [count, height, width, channels]; owned */
    int32_t *labels; /**< [count], or NULL; owned */
    int32_t classes; /**< labels are 0 .. classes-1; 0 without labels */
} aleat_dataset;

/**
 * Reads a data set: an IDX file of images with its labels beside it
 * (".../train-images-idx3-ubyte[.gz]"), or a folder that holds one.
 */
ALEAT_MUST_USE aleat_status aleat_dataset_open(aleat_dataset *out, const char *path,
                                               aleat_error *err);
void aleat_dataset_clear(aleat_dataset *data);

/** Image `i` as f32 in [-1, 1], channels last, in the middle of height x width (at least its own
 * size) with -1 around, mirrored if `flip`. */
void aleat_dataset_image(const aleat_dataset *data, int64_t i, bool flip, int64_t height,
                         int64_t width, float *dst);

#endif
