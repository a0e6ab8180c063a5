/* Many small blocks that live and die together, with a limit on their sum for hostile input. */
#ifndef ALEAT_IO_ARENA_H
#define ALEAT_IO_ARENA_H

#include <stdbool.h>
#include <stddef.h>

typedef struct aleat_arena_block aleat_arena_block;

/** Zero-initialise; set `limit` for a bound. */
typedef struct aleat_arena {
    aleat_arena_block *last; /**< the block that still has room, then the older ones */
    size_t total;            /**< bytes taken from the allocator */
    size_t limit;            /**< total never exceeds it; 0: no limit */
    bool over_limit;         /**< the last NULL came from the limit, not from the allocator */
} aleat_arena;

/** `size` bytes aligned to 16, contents undefined; NULL if there is no memory or the limit is hit.
 */
void *aleat_arena_alloc(aleat_arena *arena, size_t size);
/** A copy of `len` bytes with a terminating 0. */
char *aleat_arena_text(aleat_arena *arena, const void *text, size_t len);
/** Releases everything; the limit stays. Accepts a zeroed arena. */
void aleat_arena_clear(aleat_arena *arena);

#endif
