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

/** More classes than this are numbers that are no labels. */
#define ALEAT_DATASET_MOST_CLASSES 65536

/** Zero-initialise. */
typedef struct aleat_dataset {
    int64_t count, height, width, channels;
    uint8_t *pixels; /**< [count, height, width, channels]; owned */
    int32_t *labels; /**< [count], or NULL; owned */
    int32_t classes; /**< labels are 0 .. classes-1; 0 without labels */
} aleat_dataset;

/** Which images: those to learn from, or those that the data set keeps for testing. */
typedef enum aleat_dataset_part { ALEAT_DATA_TRAIN, ALEAT_DATA_HELD_OUT } aleat_dataset_part;

typedef struct aleat_dataset_kind aleat_dataset_kind;

/** Zero-initialise: as they are, of whatever kind. */
typedef struct aleat_dataset_options {
    const aleat_dataset_kind *kind; /**< NULL: recognise it */
    int64_t size;     /**< the square in the middle, resampled to size x size; 0: as they are */
    int64_t channels; /**< 1 or 3: images of the other kind are converted; 0: as the first image */
} aleat_dataset_options;

/** A row of the table of kinds. */
struct aleat_dataset_kind {
    const char *name, *description;
    /** Does `path` look like one? Cheap; must not fail. */
    bool (*recognises)(const char *path);
    /** Reads a part of it; out->count stays 0 if there is no such part. Only a kind whose images
     * differ in size or colours looks at the options. What it has made of *out on failure is
     * released by the caller. */
    aleat_status (*read)(aleat_dataset *out, const char *path, aleat_dataset_part part,
                         const aleat_dataset_options *options, aleat_error *err);
};

/** The table, ended by a row whose name is NULL. */
const aleat_dataset_kind *aleat_dataset_kinds(void);

/**
 * Reads a data set, checked: at least one image, labels for all or none. ALEAT_DATA_HELD_OUT: an
 * empty one if the data set holds nothing out. options may be NULL.
 */
ALEAT_MUST_USE aleat_status aleat_dataset_open(aleat_dataset *out, const char *path,
                                               aleat_dataset_part part,
                                               const aleat_dataset_options *options,
                                               aleat_error *err);
void aleat_dataset_clear(aleat_dataset *data);

/**
 * Moves a share of the images, spread evenly over the data set, to *out: image i goes if i * share
 * and (i + 1) * share have another whole number between them. ALEAT_ERR_ARGUMENT if that leaves
 * either side without images.
 */
ALEAT_MUST_USE aleat_status aleat_dataset_hold_out(aleat_dataset *data, double share,
                                                   aleat_dataset *out, aleat_error *err);

/** SHA-256 over sizes, pixels and labels, as text of 64 digits and a 0. */
void aleat_dataset_sha256(const aleat_dataset *data, char out[65]);

/** Image `i` as f32 in [-1, 1], channels last, in the middle of height x width (at least its own
 * size) with -1 around, mirrored if `flip`. */
void aleat_dataset_image(const aleat_dataset *data, int64_t i, bool flip, int64_t height,
                         int64_t width, float *dst);

#endif
