#include "io/arena.h"

#include <stdint.h>
#include <string.h>

#include "base/alloc.h"

#define UNIT        16          // alignment of what is handed out
#define FIRST_BLOCK (4u << 10)  // blocks double from here, so that a few small things stay small
#define LAST_BLOCK  (1u << 20)

struct aleat_arena_block {
    aleat_arena_block *older;
    size_t size, used; // bytes behind this header
};

static unsigned char *block_data(aleat_arena_block *block)
{
    return (unsigned char *)block + ALEAT_ALIGN; // keeps the allocator's alignment
}

static bool add_block(aleat_arena *arena, size_t size)
{
    size_t block_size = arena->last ? 2 * arena->last->size : FIRST_BLOCK;
    if (block_size > LAST_BLOCK)
        block_size = LAST_BLOCK;
    if (block_size < size)
        block_size = size;
    size_t total;
    arena->over_limit = !aleat_size_add(arena->total, block_size, &total) ||
                        (arena->limit && total > arena->limit);
    size_t with_header;
    if (arena->over_limit || !aleat_size_add(block_size, ALEAT_ALIGN, &with_header))
        return false;
    aleat_arena_block *block = aleat_alloc(with_header);
    if (!block)
        return false;
    *block = (aleat_arena_block){.older = arena->last, .size = block_size};
    arena->last = block;
    arena->total = total;
    return true;
}

void *aleat_arena_alloc(aleat_arena *arena, size_t size)
{
    size_t rounded;
    if (!aleat_size_add(size, UNIT - 1, &rounded))
        return NULL;
    rounded -= rounded % UNIT;
    if (!arena->last || arena->last->size - arena->last->used < rounded)
        if (!add_block(arena, rounded))
            return NULL;
    void *piece = block_data(arena->last) + arena->last->used;
    arena->last->used += rounded;
    return piece;
}

char *aleat_arena_text(aleat_arena *arena, const void *text, size_t len)
{
    char *copy = len < SIZE_MAX ? aleat_arena_alloc(arena, len + 1) : NULL;
    if (!copy)
        return NULL;
    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

void aleat_arena_clear(aleat_arena *arena)
{
    while (arena->last) {
        aleat_arena_block *older = arena->last->older;
        aleat_free(arena->last);
        arena->last = older;
    }
    arena->total = 0;
    arena->over_limit = false;
}
