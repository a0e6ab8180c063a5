/*
 * Large memory that is worked through front to back: ordinary memory, or the pages of a temporary
 * file, which can leave this process's memory at any time and come back when they are touched.
 */
#ifndef ALEAT_BASE_ARENA_H
#define ALEAT_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "aleat/status.h"

/** Aligned to ALEAT_ALIGN, contents undefined. Zero-initialise. */
typedef struct aleat_arena {
    char *data;
    size_t bytes;
    bool in_file;
} aleat_arena;

/**
 * To be released by aleat_arena_free(). In a file: one without a name in $TMPDIR, or else in
 * /var/tmp, with all its space reserved. ALEAT_ERR_MEMORY, or ALEAT_ERR_IO if the folder cannot
 * hold such a file.
 */
ALEAT_MUST_USE aleat_status aleat_arena_new(aleat_arena *out, size_t bytes, bool in_file,
                                            aleat_error *err);
/** Lets the pages of a file leave the memory of this process; the contents stay. */
void aleat_arena_rest(const aleat_arena *arena);
void aleat_arena_free(aleat_arena *arena);

#endif
