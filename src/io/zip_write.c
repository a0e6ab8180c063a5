#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/inflate.h"
#include "io/zip.h"

enum {
    DATE_1980 = 1 << 5 | 1, // 1 January 1980, the earliest that the format can say
    VERSION_DEFLATE = 20,
    VERSION_ZIP64 = 45,
    PACK_CHUNK = 1 << 18
};
#define FITS_32 0xfffffffeu // a field of 0xffffffff means: see the zip64 record

// What the headers of one entry say.
typedef struct member {
    const char *name;
    bool compress, zip64;
    uint32_t crc;
    uint64_t at, packed, size;
} member;

// Little-endian fields one after the other.
typedef struct record {
    unsigned char bytes[128];
    size_t len;
} record;

static void put(record *r, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        r->bytes[r->len++] = (unsigned char)(value >> (8 * i));
}

static aleat_status write_bytes(aleat_zip_writer *writer, const void *data, size_t len,
                                aleat_error *err)
{
    writer->at += len;
    return aleat_atomic_write(writer->file, data, len, err);
}

// The fields that local and central headers share, from "version needed" to the lengths.
static void put_common(record *r, const member *m, size_t extra_len)
{
    const bool zip64 = m->zip64;
    put(r, zip64 ? VERSION_ZIP64 : VERSION_DEFLATE, 2);
    put(r, 0, 2); // flags
    put(r, m->compress ? 8 : 0, 2);
    put(r, 0, 2); // midnight
    put(r, DATE_1980, 2);
    put(r, m->crc, 4);
    put(r, zip64 ? UINT32_MAX : m->packed, 4);
    put(r, zip64 ? UINT32_MAX : m->size, 4);
    put(r, strlen(m->name), 2);
    put(r, extra_len, 2);
}

static aleat_status write_local(aleat_zip_writer *writer, const member *m, aleat_error *err)
{
    record r = {.len = 0};
    put(&r, 0x04034b50u, 4);
    put_common(&r, m, m->zip64 ? 20 : 0);
    aleat_status st = write_bytes(writer, r.bytes, r.len, err);
    if (!st)
        st = write_bytes(writer, m->name, strlen(m->name), err);
    if (st || !m->zip64)
        return st;
    r.len = 0;
    put(&r, 1, 2);
    put(&r, 16, 2);
    put(&r, m->size, 8);
    put(&r, m->packed, 8);
    return write_bytes(writer, r.bytes, r.len, err);
}

static aleat_status append_directory(aleat_zip_writer *writer, const void *data, size_t len,
                                     aleat_error *err)
{
    if (writer->directory_size - writer->directory_len < len) {
        const size_t size = 2 * writer->directory_size + len + 1024;
        unsigned char *grown = aleat_realloc(writer->directory, writer->directory_size, size);
        if (!grown)
            return aleat_fail_memory(err, "directory of a zip archive");
        writer->directory = grown;
        writer->directory_size = size;
    }
    memcpy(writer->directory + writer->directory_len, data, len);
    writer->directory_len += len;
    return ALEAT_OK;
}

static aleat_status add_central(aleat_zip_writer *writer, const member *m, aleat_error *err)
{
    const bool far = m->at > FITS_32;
    const size_t extra = (m->zip64 ? 16 : 0) + (far ? 8 : 0);
    record r = {.len = 0};
    put(&r, 0x02014b50u, 4);
    put(&r, far || m->zip64 ? VERSION_ZIP64 : VERSION_DEFLATE, 2); // made by: MS-DOS, no modes
    put_common(&r, m, extra ? 4 + extra : 0);
    put(&r, 0, 2); // comment
    put(&r, 0, 2); // disk
    put(&r, 0, 2); // internal attributes
    put(&r, 0, 4); // external attributes
    put(&r, far ? UINT32_MAX : m->at, 4);
    aleat_status st = append_directory(writer, r.bytes, r.len, err);
    if (!st)
        st = append_directory(writer, m->name, strlen(m->name), err);
    if (st || !extra)
        return st;
    r.len = 0;
    put(&r, 1, 2);
    put(&r, extra, 2);
    if (m->zip64) {
        put(&r, m->size, 8);
        put(&r, m->packed, 8);
    }
    if (far)
        put(&r, m->at, 8);
    return append_directory(writer, r.bytes, r.len, err);
}

// Runs deflate over one piece of input and writes what comes out.
static aleat_status deflate_piece(aleat_zip_writer *writer, z_stream *z, const void *data,
                                  size_t len, int flush, unsigned char *chunk, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    z->next_in = (Bytef *)(uintptr_t)data;
    while (!st) {
        z->avail_in = len < PACK_CHUNK ? (uInt)len : PACK_CHUNK;
        len -= z->avail_in;
        do {
            z->next_out = chunk;
            z->avail_out = PACK_CHUNK;
            (void)deflate(z, len ? Z_NO_FLUSH : flush); // fails on misuse only
            st = write_bytes(writer, chunk, PACK_CHUNK - z->avail_out, err);
        } while (!st && z->avail_out == 0);
        if (len == 0)
            break;
    }
    return st;
}

static aleat_status write_deflated(aleat_zip_writer *writer, const aleat_zip_piece *pieces,
                                   int n_pieces, aleat_error *err)
{
    z_stream z = {.zalloc = aleat_zlib_alloc, .zfree = aleat_zlib_free};
    aleat_status st = ALEAT_OK;
    unsigned char *chunk = aleat_alloc(PACK_CHUNK);
    if (!chunk || deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        aleat_free(chunk);
        return aleat_fail_memory(err, "compression");
    }
    for (int i = 0; i < n_pieces && !st; i++)
        st = deflate_piece(writer, &z, pieces[i].data, pieces[i].len, Z_NO_FLUSH, chunk, err);
    if (!st)
        st = deflate_piece(writer, &z, "", 0, Z_FINISH, chunk, err);
    (void)deflateEnd(&z);
    aleat_free(chunk);
    return st;
}

// Sizes are known only after compressing: goes back and writes the header once more.
static aleat_status rewrite_local(aleat_zip_writer *writer, const member *m, aleat_error *err)
{
    const uint64_t end = writer->at;
    if (fseeko(writer->file->stream, (off_t)m->at, SEEK_SET))
        return aleat_fail_errno(err, "cannot write", writer->file->path);
    aleat_status st = write_local(writer, m, err);
    writer->at = end;
    if (!st && fseeko(writer->file->stream, (off_t)end, SEEK_SET))
        st = aleat_fail_errno(err, "cannot write", writer->file->path);
    return st;
}

aleat_status aleat_zip_add(aleat_zip_writer *writer, const char *name,
                           const aleat_zip_piece *pieces, int n_pieces, bool compress,
                           aleat_error *err)
{
    member m = {.name = name, .compress = compress, .at = writer->at};
    if (strlen(name) > UINT16_MAX)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "a name of %zu bytes", strlen(name));
    for (int i = 0; i < n_pieces; i++) {
        m.crc = (uint32_t)crc32_z(m.crc, pieces[i].data, pieces[i].len);
        m.size += pieces[i].len;
    }
    m.packed = m.size;
    m.zip64 = m.size + m.size / 1000 + 4096 > FITS_32; // deflate may add a little
    aleat_status st = write_local(writer, &m, err);
    const uint64_t begin = writer->at;
    if (compress && !st)
        st = write_deflated(writer, pieces, n_pieces, err);
    for (int i = 0; i < n_pieces && !compress && !st; i++)
        st = write_bytes(writer, pieces[i].data, pieces[i].len, err);
    m.packed = writer->at - begin;
    if (compress && !st)
        st = rewrite_local(writer, &m, err);
    if (!st)
        st = add_central(writer, &m, err);
    writer->count++;
    return st;
}

aleat_status aleat_zip_finish(aleat_zip_writer *writer, aleat_error *err)
{
    const uint64_t at = writer->at, len = writer->directory_len, count = writer->count;
    const bool zip64 = at > FITS_32 || count > 0xfffe;
    aleat_status st = write_bytes(writer, writer->directory, writer->directory_len, err);
    record r = {.len = 0};
    if (zip64) {
        put(&r, 0x06064b50u, 4);
        put(&r, 44, 8); // bytes of this record after here
        put(&r, VERSION_ZIP64, 2);
        put(&r, VERSION_ZIP64, 2);
        put(&r, 0, 8); // disks
        put(&r, count, 8);
        put(&r, count, 8);
        put(&r, len, 8);
        put(&r, at, 8);
        put(&r, 0x07064b50u, 4);
        put(&r, 0, 4);
        put(&r, at + len, 8);
        put(&r, 1, 4);
    }
    put(&r, 0x06054b50u, 4);
    put(&r, 0, 4); // disks
    put(&r, count > 0xfffe ? 0xffff : count, 2);
    put(&r, count > 0xfffe ? 0xffff : count, 2);
    put(&r, len > FITS_32 ? UINT32_MAX : len, 4);
    put(&r, at > FITS_32 ? UINT32_MAX : at, 4);
    put(&r, 0, 2); // comment
    return st ? st : write_bytes(writer, r.bytes, r.len, err);
}

void aleat_zip_writer_clear(aleat_zip_writer *writer)
{
    aleat_free(writer->directory);
    memset(writer, 0, sizeof *writer);
}
