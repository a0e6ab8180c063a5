/*
 * Text and token numbers that grow. Running out of memory is sticky: every later call does nothing,
 * and whoever takes the result looks at `failed` once.
 */
#ifndef ALEAT_TEXT_BUFFER_H
#define ALEAT_TEXT_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Bytes. Zero-initialise. */
typedef struct aleat_buffer {
    char *data; /**< aleat_free(); not terminated */
    size_t len, cap;
    bool failed;
} aleat_buffer;

/** Appends bytes. */
void aleat_buffer_add(aleat_buffer *buffer, const void *bytes, size_t len);
/** Appends the code point's UTF-8. */
void aleat_buffer_add_code(aleat_buffer *buffer, uint32_t code);
/** The bytes with a 0 behind them, now the caller's (aleat_free); NULL if there was no memory.
 * Empties the buffer. */
char *aleat_buffer_take(aleat_buffer *buffer);
void aleat_buffer_clear(aleat_buffer *buffer);

/** Token numbers. Zero-initialise. */
typedef struct aleat_ids {
    int32_t *at; /**< aleat_free() */
    int64_t count, cap;
    bool failed;
} aleat_ids;

void aleat_ids_add(aleat_ids *ids, int32_t id);
void aleat_ids_clear(aleat_ids *ids);

#endif
