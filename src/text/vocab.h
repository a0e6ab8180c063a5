/* A vocabulary: strings numbered as a file numbers them, found by a hash. */
#ifndef ALEAT_TEXT_VOCAB_H
#define ALEAT_TEXT_VOCAB_H

#include <stddef.h>
#include <stdint.h>

#include "aleat/status.h"
#include "io/arena.h"

/** Highest number of a token, exclusive: the largest published vocabularies have 256 thousand. */
#define ALEAT_VOCAB_LIMIT (1 << 22)

typedef struct aleat_vocab_entry {
    const char *text; /**< in the arena, terminated (but may hold zeros) */
    uint32_t len;
    int32_t id;
} aleat_vocab_entry;

/** Zero-initialise. */
typedef struct aleat_vocab {
    aleat_arena arena;
    aleat_vocab_entry *slots; /**< open addressing; text NULL: free */
    uint32_t n_slots, count;
    const aleat_vocab_entry **by_id; /**< [limit], NULL where a number is not used */
    int32_t limit;                   /**< highest number + 1 */
} aleat_vocab;

/** Adds a string. ALEAT_ERR_FORMAT: it is there already with another number, its number is taken,
 * or out of range. */
ALEAT_MUST_USE aleat_status aleat_vocab_add(aleat_vocab *vocab, const char *text, size_t len,
                                            int32_t id, aleat_error *err);
/** The string's number, or -1. */
int32_t aleat_vocab_find(const aleat_vocab *vocab, const char *text, size_t len);
/** The string of a number, or NULL. */
const aleat_vocab_entry *aleat_vocab_entry_of(const aleat_vocab *vocab, int32_t id);
void aleat_vocab_clear(aleat_vocab *vocab);

#endif
