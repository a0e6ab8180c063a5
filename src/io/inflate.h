/* zlib's decompression of a piece of memory, with this library's allocator and errors. */
#ifndef ALEAT_IO_INFLATE_H
#define ALEAT_IO_INFLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "aleat/status.h"

/** deflate makes at most this many bytes out of one (a match of 258 bytes in 2 bits); whoever
 * claims more is lying, and need not be given the memory. */
#define ALEAT_INFLATE_RATIO 1032

typedef enum aleat_inflate_format {
    ALEAT_INFLATE_RAW, /**< as in zip */
    ALEAT_INFLATE_GZIP /**< with gzip's or zlib's header */
} aleat_inflate_format;

typedef struct aleat_inflater aleat_inflater;

/** Begins to read `len` bytes at `src`, which outlive *out. */
ALEAT_MUST_USE aleat_status aleat_inflate_open(aleat_inflater **out, const void *src, size_t len,
                                               aleat_inflate_format format, aleat_error *err);
/** Writes exactly the next `len` bytes to dst; ALEAT_ERR_FORMAT if there are fewer or the data is
 * damaged. */
ALEAT_MUST_USE aleat_status aleat_inflate_read(aleat_inflater *inflater, void *dst, size_t len,
                                               aleat_error *err);
/** ALEAT_ERR_FORMAT unless everything has been read and the checksum (gzip) is right. */
ALEAT_MUST_USE aleat_status aleat_inflate_finish(aleat_inflater *inflater, aleat_error *err);
void aleat_inflate_free(aleat_inflater *inflater);

/* zlib's zalloc and zfree over base/alloc.h. */
void *aleat_zlib_alloc(void *ctx, unsigned count, unsigned size);
void aleat_zlib_free(void *ctx, void *block);

#endif
