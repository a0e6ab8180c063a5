/* Damage to images of bytes: a table, one function a kind. */
#ifndef ALEAT_IO_CORRUPT_H
#define ALEAT_IO_CORRUPT_H

#include <stdint.h>

#include "aleat/status.h"
#include "base/rng.h"

/** An image to damage, in place. */
typedef struct aleat_corrupt_image {
    int64_t height, width, channels; /**< 1 or 3 */
    uint8_t *pixels;                 /**< [height,width,channels] */
    const uint8_t *other; /**< likewise: a whole image to take pixels from; NULL: there is none */
    aleat_rng_key key;    /**< of this image: what is random follows from it */
} aleat_corrupt_image;

/** A row of the table. */
typedef struct aleat_corruption {
    const char *name, *help;
    double strength, low, high; /**< usual, least, most */
    aleat_status (*apply)(const aleat_corrupt_image *image, double strength, aleat_error *err);
} aleat_corruption;

/** The table, ended by a row whose name is NULL. */
const aleat_corruption *aleat_corruption_table(void);

#endif
