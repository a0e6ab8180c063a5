/* 8-bit PNG in and out, with text chunks, over libpng. */
#ifndef ALEAT_IO_PNG_IMAGE_H
#define ALEAT_IO_PNG_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "aleat/status.h"

/** An 8-bit image: pixels [height,width,channels], channels 1 (grey), 3 (RGB) or 4 (RGBA). */
typedef struct aleat_image {
    int64_t width, height;
    int channels;
    uint8_t *pixels; /**< aleat_free() */
} aleat_image;

/** One text entry, UTF-8: written as tEXt if it fits Latin-1, else as uncompressed iTXt, as PIL
 * does. `key`: 1 to 79 printable ASCII characters. */
typedef struct aleat_png_text {
    const char *key, *text;
} aleat_png_text;

/** Writes atomically, byte-reproducibly (no time chunk). texts may be NULL. */
ALEAT_MUST_USE aleat_status aleat_png_write(const char *path, const aleat_image *image,
                                            const aleat_png_text *texts, int n_texts,
                                            aleat_error *err);
/** The same into new memory (aleat_free()), without text. */
ALEAT_MUST_USE aleat_status aleat_png_encode(unsigned char **out, size_t *len,
                                             const aleat_image *image, aleat_error *err);
/** Reads any PNG (palette, 16-bit, interlaced ...) as 8-bit grey or RGB; what is transparent is
 * laid over black (without gamma). ALEAT_ERR_FORMAT also for a truncated image. */
ALEAT_MUST_USE aleat_status aleat_png_read(aleat_image *out, const char *path, aleat_error *err);
/** The same from memory; errors do not name it. */
ALEAT_MUST_USE aleat_status aleat_png_read_memory(aleat_image *out, const void *data, size_t len,
                                                  aleat_error *err);
/**
 * The text of the first chunk `key` (tEXt, zTXt or iTXt, before or after the pixels) as UTF-8 in
 * new memory, or *out = NULL if there is none. tEXt and zTXt that are not UTF-8, as some tools
 * write it, are taken as Latin-1, as the standard has it.
 */
ALEAT_MUST_USE aleat_status aleat_png_read_text(char **out, const char *path, const char *key,
                                                aleat_error *err);
/** The same from memory; errors do not name it. */
ALEAT_MUST_USE aleat_status aleat_png_text_memory(char **out, const void *data, size_t len,
                                                  const char *key, aleat_error *err);
/** Releases the pixels; accepts NULL. */
void aleat_image_clear(aleat_image *image);

#endif
