/* JPEG out, over libjpeg. */
#ifndef ALEAT_IO_JPEG_WRITE_H
#define ALEAT_IO_JPEG_WRITE_H

#include "io/png_image.h"

/** A baseline JPEG of a grey or RGB image, quality 1 to 100 on libjpeg's scale, colours halved in
 * size from RGB (4:2:0) as is usual: *out [*len], to be released by free(). */
ALEAT_MUST_USE aleat_status aleat_jpeg_write_memory(unsigned char **out, size_t *len,
                                                    const aleat_image *image, int quality,
                                                    aleat_error *err);

#endif
