/* 8-bit PNG in and out, with text chunks, over libpng. */
#ifndef ALEAT_IO_PNG_IMAGE_H
#define ALEAT_IO_PNG_IMAGE_H

#include <stdint.h>

#include "aleat/status.h"

/** An 8-bit image: pixels [height,width,channels], channels 1 (grey), 3 (RGB) or 4 (RGBA). */
typedef struct aleat_image {
    int64_t width, height;
    int channels;
    uint8_t *pixels; /**< aleat_free() */
} aleat_image;

/** One tEXt/iTXt entry; iTXt (UTF-8) is written when the text is not Latin-1 safe. */
typedef struct aleat_png_text {
    const char *key, *text;
} aleat_png_text;

/** Writes atomically, byte-reproducibly (no time chunk). texts may be NULL. */
ALEAT_MUST_USE aleat_status aleat_png_write(const char *path, const aleat_image *image,
                                            const aleat_png_text *texts, int n_texts,
                                            aleat_error *err);
/** Reads any PNG (palette, 16-bit, interlaced ...) as 8-bit grey or RGB; alpha is dropped over
 * black. */
ALEAT_MUST_USE aleat_status aleat_png_read(aleat_image *out, const char *path, aleat_error *err);
/** The text of chunk `key` (tEXt, zTXt or iTXt) in new memory, or *out = NULL if there is none. */
ALEAT_MUST_USE aleat_status aleat_png_read_text(char **out, const char *path, const char *key,
                                                aleat_error *err);
void aleat_image_clear(aleat_image *image);

#endif
