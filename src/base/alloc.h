/*
 * Allocation. One door for all memory of the library, so that tests can count allocations (none in
 * the steady state of sampling) and make the n-th one fail (every call must then fail cleanly).
 */
#ifndef ALEAT_BASE_ALLOC_H
#define ALEAT_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Alignment of every block, in bytes: a cache line, and one AVX-512 register. */
#define ALEAT_ALIGN 64

/** `size` bytes aligned to ALEAT_ALIGN, contents undefined; NULL if there is no memory. size 0 is
 * allowed. */
void *aleat_alloc(size_t size);
/** `count` items of `size` bytes, zeroed; NULL on overflow or if there is no memory. */
void *aleat_calloc(size_t count, size_t size);
/** Grows or shrinks a block from this allocator (NULL: allocates); on NULL the old block lives on.
 */
void *aleat_realloc(void *block, size_t old_size, size_t new_size);
/** Releases a block from this allocator; accepts NULL. */
void aleat_free(void *block);
/** A copy of a string; NULL if there is no memory. */
char *aleat_strdup(const char *text);
/** printf into a new string; NULL if there is no memory. */
char *aleat_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** Product of two sizes into *out; false on overflow. */
static inline bool aleat_size_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
/** Sum of two sizes into *out; false on overflow. */
static inline bool aleat_size_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/** How many allocations there have been in this process (reallocations count once each). */
uint64_t aleat_alloc_count(void);
/** Bytes allocated and not yet released. */
uint64_t aleat_alloc_bytes(void);
/** For tests: the n-th allocation from now fails (1 = the next), later ones succeed again; 0
 * switches off. */
void aleat_alloc_fail_at(uint64_t n);

#endif
