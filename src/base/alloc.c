#include "base/alloc.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Process-wide counters: they observe, and (in tests only) inject a failure.
static atomic_uint_fast64_t n_allocs;
static atomic_uint_fast64_t n_bytes;
static atomic_uint_fast64_t fail_at;

// The size is kept one alignment unit before the block, so that frees can be accounted.
#define HEADER ALEAT_ALIGN

static bool injected_failure(void)
{
    if (atomic_load_explicit(&fail_at, memory_order_relaxed) == 0)
        return false;
    return atomic_fetch_sub(&fail_at, 1) == 1;
}

void *aleat_alloc(size_t size)
{
    atomic_fetch_add_explicit(&n_allocs, 1, memory_order_relaxed);
    size_t total;
    if (injected_failure() || !aleat_size_add(size, HEADER + ALEAT_ALIGN - 1, &total))
        return NULL;
    total -= total % ALEAT_ALIGN; // aligned_alloc wants a multiple
    char *raw = aligned_alloc(ALEAT_ALIGN, total);
    if (!raw)
        return NULL;
    memcpy(raw, &size, sizeof size);
    atomic_fetch_add_explicit(&n_bytes, size, memory_order_relaxed);
    return raw + HEADER;
}

void *aleat_calloc(size_t count, size_t size)
{
    size_t total;
    if (!aleat_size_mul(count, size, &total))
        return NULL;
    void *block = aleat_alloc(total);
    if (block)
        memset(block, 0, total);
    return block;
}

void *aleat_realloc(void *block, size_t old_size, size_t new_size)
{
    void *grown = aleat_alloc(new_size);
    if (!grown)
        return NULL;
    if (block) {
        memcpy(grown, block, old_size < new_size ? old_size : new_size);
        aleat_free(block);
    }
    return grown;
}

void aleat_free(void *block)
{
    if (!block)
        return;
    char *raw = (char *)block - HEADER;
    size_t size;
    memcpy(&size, raw, sizeof size);
    atomic_fetch_sub_explicit(&n_bytes, size, memory_order_relaxed);
    free(raw);
}

char *aleat_strdup(const char *text)
{
    const size_t len = strlen(text) + 1;
    char *copy = aleat_alloc(len);
    if (copy)
        memcpy(copy, text, len);
    return copy;
}

char *aleat_asprintf(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0)
        return NULL;
    char *text = aleat_alloc((size_t)len + 1);
    if (!text)
        return NULL;
    va_start(args, fmt);
    (void)vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    return text;
}

uint64_t aleat_alloc_count(void)
{
    return atomic_load(&n_allocs);
}

uint64_t aleat_alloc_bytes(void)
{
    return atomic_load(&n_bytes);
}

void aleat_alloc_fail_at(uint64_t n)
{
    atomic_store(&fail_at, n);
}
