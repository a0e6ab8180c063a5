/*
 * Files as the rest of the library sees them: mapped for reading, replaced as a whole for writing.
 */
#ifndef ALEAT_IO_FILE_H
#define ALEAT_IO_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aleat/status.h"

/** A file mapped read-only. Zero-initialise; `data` is NULL for an empty file. */
typedef struct aleat_mapping {
    const unsigned char *data;
    size_t len;
} aleat_mapping;

/** Maps `path`. Errors name the path: ALEAT_ERR_IO. */
ALEAT_MUST_USE aleat_status aleat_mapping_open(aleat_mapping *out, const char *path,
                                               aleat_error *err);
void aleat_mapping_close(aleat_mapping *map);
/** Tells the system that these bytes will not be read again soon, so that they leave resident
 * memory. */
void aleat_mapping_forget(const void *begin, size_t len);

/** Writing that ends in the whole new file or in no change: temporary name, fsync, rename. */
typedef struct aleat_atomic_file {
    void *stream; /**< a FILE *, for fwrite and friends */
    char *path, *temporary;
} aleat_atomic_file;

/** Opens a temporary file beside `path`. */
ALEAT_MUST_USE aleat_status aleat_atomic_open(aleat_atomic_file *out, const char *path,
                                              aleat_error *err);
/** Flushes, syncs and renames over `path`; on failure removes the temporary and leaves `path`
 * alone. */
ALEAT_MUST_USE aleat_status aleat_atomic_commit(aleat_atomic_file *file, aleat_error *err);
/** Gives up: removes the temporary. Accepts a zeroed or committed file. */
void aleat_atomic_abandon(aleat_atomic_file *file);
/** open + write + commit. */
ALEAT_MUST_USE aleat_status aleat_write_file(const char *path, const void *data, size_t len,
                                             aleat_error *err);

/** mkdir -p. */
ALEAT_MUST_USE aleat_status aleat_make_dirs(const char *path, aleat_error *err);
bool aleat_is_dir(const char *path);
bool aleat_is_file(const char *path);
/** "a/b" in new memory (aleat_free); NULL if there is no memory. */
char *aleat_path_join(const char *a, const char *b);

#endif
