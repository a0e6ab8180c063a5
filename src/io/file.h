/*
 * Files as the rest of the library sees them: mapped for reading, replaced as a whole for writing.
 */
#ifndef ALEAT_IO_FILE_H
#define ALEAT_IO_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aleat/status.h"

/**
 * A file mapped read-only. Zero-initialise; `data` is NULL for an empty file. A file that another
 * process shortens while it is mapped raises SIGBUS on access, as with every mapping.
 */
typedef struct aleat_mapping {
    const unsigned char *data;
    size_t len;
} aleat_mapping;

/** Maps a regular file. Errors name the path: ALEAT_ERR_IO. */
ALEAT_MUST_USE aleat_status aleat_mapping_open(aleat_mapping *out, const char *path,
                                               aleat_error *err);
/** Unmaps; accepts NULL and an already closed mapping. */
void aleat_mapping_close(aleat_mapping *map);
/** Tells the system that these mapped bytes will not be read again soon, so that they leave
 * resident memory. Whole pages inside the range only; the bytes stay readable. */
void aleat_mapping_forget(const void *begin, size_t len);

/** Writing that ends in the whole new file or in no change: temporary name, fsync, rename. */
typedef struct aleat_atomic_file {
    void *stream; /**< a FILE *, for fwrite and friends */
    char *path, *temporary;
} aleat_atomic_file;

/**
 * Opens a temporary file beside `path` ("<path>.tmp<pid>-<n>"), readable and writable. A device or
 * a pipe (/dev/stdout) cannot be replaced and is written to directly; `temporary` is NULL then.
 */
ALEAT_MUST_USE aleat_status aleat_atomic_open(aleat_atomic_file *out, const char *path,
                                              aleat_error *err);
/** Appends `len` bytes. */
ALEAT_MUST_USE aleat_status aleat_atomic_write(aleat_atomic_file *file, const void *data,
                                               size_t len, aleat_error *err);
/** Flushes, syncs and renames over `path`; on failure removes the temporary and leaves `path`
 * alone. The file is closed either way. */
ALEAT_MUST_USE aleat_status aleat_atomic_commit(aleat_atomic_file *file, aleat_error *err);
/** Gives up: removes the temporary. Accepts NULL and a zeroed or committed file. */
void aleat_atomic_abandon(aleat_atomic_file *file);
/** open + write + commit. */
ALEAT_MUST_USE aleat_status aleat_write_file(const char *path, const void *data, size_t len,
                                             aleat_error *err);

/** mkdir -p. */
ALEAT_MUST_USE aleat_status aleat_make_dirs(const char *path, aleat_error *err);
bool aleat_is_dir(const char *path);
bool aleat_is_file(const char *path);
/** "a/b" in new memory (aleat_free); an absolute b or an empty a gives b. NULL if there is no
 * memory. */
char *aleat_path_join(const char *a, const char *b);
/** The part of `path` after the last '/'; points into `path`. */
const char *aleat_path_base(const char *path);
/** Whether `path` ends in `end`, ".npy" say, after at least one other letter. */
bool aleat_path_ends_in(const char *path, const char *end);
/** The folder of `path` ("." if it names none) in new memory; NULL if there is no memory. */
char *aleat_path_folder(const char *path);

#endif
