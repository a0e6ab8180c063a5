/*
 * Features and class probabilities of images by a network: what distances between sets of images
 * are measured in.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ALEAT_FEATURES_H
#define ALEAT_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A batch of images of one size, in memory. Arrays are borrowed, in C order. */
typedef struct aleat_images {
    int64_t n, height, width, channels; /**< 1 (grey) or 3 (red, green, blue) channels */
    const uint8_t *bytes;               /**< 0 .. 255, or NULL */
    const float *floats;                /**< 0 .. 1 (more goes, too); read if bytes is NULL */
    bool channels_first; /**< [n,channels,height,width], else [n,height,width,channels] */
} aleat_images;

/** Images [first, first + count) of a batch. */
ALEAT_API aleat_images aleat_images_slice(const aleat_images *images, int64_t first, int64_t count);

/* ---- sets of images on disk ------------------------------------------------------------------ */

/** A set of images, read into memory. */
typedef struct aleat_image_set aleat_image_set;

/**
 * Reads the folder of a run (its samples.npz), an .npy, or a data set that `aleat train` takes,
 * which an .npz is, too, or a single PNG or JPEG. An .npy is [N,H,W,C], [N,C,H,W] or [N,H,W], of
 * bytes, or of floats from 0 to 1; the axis of 1 or 3 is that of the channels, the last one if both
 * are.
 *
 * @param out    to be released by aleat_image_set_close(); NULL on error
 * @param split  "train" or "test": which part of a data set that has both; "any": test, or all if
 *               it has none; NULL: train, or all
 * @return ALEAT_ERR_IO, _FORMAT, _SHAPE, _ARGUMENT (no such split), with a message that names the
 *         file
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_image_set_open(aleat_image_set **out, const char *path,
                                                           const char *split, aleat_error *err);
/** The same, with the middle square of each image resampled to size x size: needed where images
 * differ in size. 0: as they are; an .npy and a run are of one size and stay as they are. */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_image_set_open_sized(aleat_image_set **out,
                                                                 const char *path,
                                                                 const char *split, int64_t size,
                                                                 aleat_error *err);
/** Accepts NULL. */
ALEAT_API void aleat_image_set_close(aleat_image_set *set);
/** The images; they live as long as the set. */
ALEAT_API aleat_images aleat_image_set_images(const aleat_image_set *set);
/** Their classes [n], or NULL. */
ALEAT_API const int32_t *aleat_image_set_labels(const aleat_image_set *set);
/** How many classes the first n images are of; 0 without labels. Folders of classes come class by
 * class, so that their first images are no sample of them. */
ALEAT_API int64_t aleat_image_set_classes(const aleat_image_set *set, int64_t n);

/* ---- networks -------------------------------------------------------------------------------- */

/** A feature network, ready to run. Used by one thread at a time. */
typedef struct aleat_features aleat_features;

/** How to open one. Zero-initialise: the defaults. Strings are borrowed for the call. */
typedef struct aleat_features_options {
    const char *layer;       /**< whose values are the features; NULL: the network's usual one */
    const char *preparation; /**< how images become its input; NULL: the network's usual way */
    const char *precision;   /**< a name from aleat_precision_name(); NULL: "f32" */
    int threads;             /**< 0: all processors of this process; changes no result */
    int64_t batch;           /**< images evaluated at once; 0: 32; changes no result */
} aleat_features_options;

/** What a network is. Strings live as long as it. */
typedef struct aleat_features_facts {
    const char *path;   /**< as given to aleat_features_open() */
    const char *family; /**< "inception", "cifar_resnet", "preact_resnet" */
    const char *layer, *preparation, *precision;
    int threads;
    int64_t channels, height, width; /**< of the network's input */
    int64_t dim;                     /**< features of an image */
    int64_t classes;                 /**< logits of an image */
} aleat_features_facts;

/**
 * Opens the Inception-v3 of pytorch-fid (its .pth), a CIFAR ResNet (.th), or a classifier that was
 * trained by `aleat train --task classify` (its folder).
 *
 * @param out  to be released by aleat_features_close(); NULL on error
 * @return ALEAT_ERR_IO, _FORMAT, _UNSUPPORTED, _ARGUMENT (a layer or preparation that this network
 *         has not; the text lists those it has)
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_features_open(aleat_features **out, const char *path,
                                                          const aleat_features_options *options,
                                                          aleat_error *err);
/** Accepts NULL. */
ALEAT_API void aleat_features_close(aleat_features *net);
ALEAT_API aleat_features_facts aleat_features_describe(const aleat_features *net);
/** SHA-256 of the weights as hexadecimal text. Reads them. */
ALEAT_API void aleat_features_sha256(const aleat_features *net, char out[65]);
/** The i-th layer that the network has, NULL beyond the last. */
ALEAT_API const char *aleat_features_layer(const aleat_features *net, int i);
/** The i-th preparation, with one line of explanation in *help (which may be NULL). */
ALEAT_API const char *aleat_features_preparation(const aleat_features *net, int i,
                                                 const char **help);

/**
 * Evaluates the network for every image. An image's numbers do not depend on the images beside it,
 * the batch or the threads. Only what is asked for is computed.
 *
 * @param features  out, [n,dim], or NULL
 * @param logits    out, [n,classes] before the softmax, or NULL
 * @return ALEAT_ERR_SHAPE: images of a size that the preparation does not take, or coloured ones
 * for a grey network (grey ones are repeated for a network of three colours); ALEAT_ERR_MEMORY
 * @note   memory: the activations of `batch` images
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_features_run(aleat_features *net,
                                                         const aleat_images *images,
                                                         float *features, float *logits,
                                                         aleat_error *err);
/** Logits [n,classes] to probabilities, in place. */
ALEAT_API void aleat_softmax(float *logits, int64_t n, int64_t classes);

#ifdef __cplusplus
}
#endif
#endif
