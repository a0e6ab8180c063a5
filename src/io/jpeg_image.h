/* JPEG in, over libjpeg. */
#ifndef ALEAT_IO_JPEG_IMAGE_H
#define ALEAT_IO_JPEG_IMAGE_H

#include <stdbool.h>

#include "io/png_image.h"

/** Does a JPEG begin like this? */
bool aleat_is_jpeg(const unsigned char *data, size_t len);
/**
 * Reads a baseline or progressive JPEG as 8-bit grey or RGB; to be released by aleat_image_clear().
 * The orientation that a camera noted is not applied. ALEAT_ERR_FORMAT: damaged or cut short;
 * ALEAT_ERR_UNSUPPORTED: other colours (CMYK), or more than 2^26 pixels. Errors do not name the
 * file.
 */
ALEAT_MUST_USE aleat_status aleat_jpeg_read_memory(aleat_image *out, const void *data, size_t len,
                                                   aleat_error *err);

#endif
