/*
 * Zip archives in memory. libzip would copy what it reads; here the records of a mapped checkpoint
 * stay where they are, so stored tensors are views into the file. Read: stored and deflated
 * entries, zip64; refused: encryption, several disks, entries that overlap (a way to build bombs).
 * Written: byte for byte the same file for the same input. Source: PKWARE's APPNOTE.TXT 6.3.
 */
#ifndef ALEAT_IO_ZIP_H
#define ALEAT_IO_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/file.h"

typedef struct aleat_zip_entry {
    const char *name; /**< not terminated */
    size_t name_len;
    uint16_t flags, method;
    uint32_t crc;
    uint64_t header;           /**< where its local header begins in the archive */
    uint64_t packed, size;     /**< bytes in the archive, and inflated */
    const unsigned char *data; /**< `packed` bytes */
} aleat_zip_entry;

/** An archive's entries, sorted by name; zero-initialise. */
typedef struct aleat_zip {
    aleat_zip_entry *entries;
    int64_t count;
} aleat_zip;

/** Does an archive begin like this? */
bool aleat_is_zip(const unsigned char *data, size_t len);
/** Reads and checks the central directory of an archive that outlives *out. Errors name the entry
 * but not the archive. */
ALEAT_MUST_USE aleat_status aleat_zip_open(aleat_zip *out, const unsigned char *data, size_t len,
                                           aleat_error *err);
void aleat_zip_close(aleat_zip *zip);
/** The entry of that name, or NULL. */
const aleat_zip_entry *aleat_zip_find(const aleat_zip *zip, const char *name, size_t len);
/** The entry's bytes if it is stored, else NULL. */
const unsigned char *aleat_zip_view(const aleat_zip_entry *entry);
/** Writes the entry's `size` bytes to dst, inflated if need be, and checks the checksum. */
ALEAT_MUST_USE aleat_status aleat_zip_read(const aleat_zip_entry *entry, void *dst,
                                           aleat_error *err);

/** An archive being written into a file that the caller opened. Zero-initialise. */
typedef struct aleat_zip_writer {
    aleat_atomic_file *file; /**< borrowed */
    uint64_t at;             /**< bytes written */
    uint64_t count;
    unsigned char *directory; /**< central directory so far */
    size_t directory_len, directory_size;
} aleat_zip_writer;

/** A part of an entry's content. */
typedef struct aleat_zip_piece {
    const void *data;
    size_t len;
} aleat_zip_piece;

/** Appends an entry, dated 1980-01-01. `file` must be seekable if `compress`. */
ALEAT_MUST_USE aleat_status aleat_zip_add(aleat_zip_writer *writer, const char *name,
                                          const aleat_zip_piece *pieces, int n_pieces,
                                          bool compress, aleat_error *err);
/** Writes the central directory. */
ALEAT_MUST_USE aleat_status aleat_zip_finish(aleat_zip_writer *writer, aleat_error *err);
/** Releases the writer's memory; the file stays the caller's. */
void aleat_zip_writer_clear(aleat_zip_writer *writer);

#endif
