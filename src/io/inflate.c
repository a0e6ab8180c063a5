#include "io/inflate.h"

#include <limits.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/error.h"

struct aleat_inflater {
    z_stream z;
    size_t left; // input not yet given to zlib, which counts in 32 bits
    bool ended;
};

void *aleat_zlib_alloc(void *ctx, unsigned count, unsigned size)
{
    (void)ctx;
    return aleat_calloc(count, size);
}

void aleat_zlib_free(void *ctx, void *block)
{
    (void)ctx;
    aleat_free(block);
}

aleat_status aleat_inflate_open(aleat_inflater **out, const void *src, size_t len,
                                aleat_inflate_format format, aleat_error *err)
{
    *out = NULL;
    aleat_inflater *inflater = aleat_calloc(1, sizeof *inflater);
    if (!inflater)
        return aleat_fail_memory(err, "decompression");
    inflater->z.zalloc = aleat_zlib_alloc;
    inflater->z.zfree = aleat_zlib_free;
    inflater->z.next_in = (Bytef *)(uintptr_t)src;
    inflater->left = len;
    if (inflateInit2(&inflater->z, format == ALEAT_INFLATE_RAW ? -15 : 15 + 32) != Z_OK) {
        aleat_free(inflater);
        return aleat_fail_memory(err, "decompression");
    }
    *out = inflater;
    return ALEAT_OK;
}

// Inflates into z.next_out until it is full or the stream ends.
static aleat_status run(aleat_inflater *inflater, aleat_error *err)
{
    z_stream *z = &inflater->z;
    while (!inflater->ended) {
        if (z->avail_in == 0) {
            z->avail_in = inflater->left < UINT_MAX ? (uInt)inflater->left : UINT_MAX;
            inflater->left -= z->avail_in;
        }
        const int code = inflate(z, Z_NO_FLUSH);
        inflater->ended = code == Z_STREAM_END;
        if (code == Z_MEM_ERROR)
            return aleat_fail_memory(err, "decompression");
        if (code == Z_BUF_ERROR || (code == Z_OK && z->avail_out == 0))
            break; // nothing more to do: full, or out of input
        if (code != Z_OK && code != Z_STREAM_END)
            return aleat_fail(err, ALEAT_ERR_FORMAT, "compressed data is damaged (%s)",
                              z->msg ? z->msg : "zlib");
    }
    return ALEAT_OK;
}

aleat_status aleat_inflate_read(aleat_inflater *inflater, void *dst, size_t len, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    inflater->z.next_out = dst;
    while (len > 0 && !st) {
        const uInt piece = len < UINT_MAX ? (uInt)len : UINT_MAX;
        inflater->z.avail_out = piece;
        st = run(inflater, err);
        if (!st && inflater->z.avail_out > 0)
            st = aleat_fail(err, ALEAT_ERR_FORMAT, "compressed data ends early");
        len -= piece;
    }
    return st;
}

aleat_status aleat_inflate_finish(aleat_inflater *inflater, aleat_error *err)
{
    unsigned char extra;
    inflater->z.next_out = &extra;
    inflater->z.avail_out = 1;
    const aleat_status st = run(inflater, err);
    if (!st && (inflater->z.avail_out == 0 || !inflater->ended))
        return aleat_fail(err, ALEAT_ERR_FORMAT, "compressed data %s",
                          inflater->ended || inflater->z.avail_out == 0 ? "goes on after its end"
                                                                        : "ends early");
    return st;
}

void aleat_inflate_free(aleat_inflater *inflater)
{
    if (!inflater)
        return;
    (void)inflateEnd(&inflater->z);
    aleat_free(inflater);
}
