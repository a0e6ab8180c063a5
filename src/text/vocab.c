#include "text/vocab.h"

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/** FNV-1a. */
static uint32_t hash_of(const char *text, size_t len)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)text[i]) * 16777619u;
    return h;
}

/** The string's slot, or the free one where it belongs. */
static aleat_vocab_entry *slot_of(aleat_vocab_entry *slots, uint32_t n, const char *text,
                                  size_t len)
{
    for (uint32_t i = hash_of(text, len) & (n - 1);; i = (i + 1) & (n - 1))
        if (!slots[i].text || (slots[i].len == len && !memcmp(slots[i].text, text, len)))
            return &slots[i];
}

/** At most half of the slots are used. */
static bool grow_slots(aleat_vocab *vocab)
{
    if (2 * (vocab->count + 1) <= vocab->n_slots)
        return true;
    const uint32_t n = vocab->n_slots ? 2 * vocab->n_slots : 1024;
    aleat_vocab_entry *slots = aleat_calloc(n, sizeof *slots);
    if (!slots)
        return false;
    for (uint32_t i = 0; i < vocab->n_slots; i++)
        if (vocab->slots[i].text)
            *slot_of(slots, n, vocab->slots[i].text, vocab->slots[i].len) = vocab->slots[i];
    aleat_free(vocab->slots);
    vocab->slots = slots;
    vocab->n_slots = n;
    for (uint32_t i = 0; i < n; i++) // the entries have moved
        if (slots[i].text)
            vocab->by_id[slots[i].id] = &slots[i];
    return true;
}

static bool grow_numbers(aleat_vocab *vocab, int32_t id)
{
    if (id < vocab->limit)
        return true;
    int32_t cap = 1024, want = 1024;
    while (cap < vocab->limit)
        cap *= 2;
    while (want <= id)
        want *= 2;
    if (!vocab->by_id || want > cap) {
        const size_t old = vocab->by_id ? (size_t)cap * sizeof *vocab->by_id : 0;
        const aleat_vocab_entry **grown =
            aleat_realloc((void *)vocab->by_id, old, (size_t)want * sizeof *grown);
        if (!grown)
            return false;
        memset((char *)grown + old, 0, (size_t)want * sizeof *grown - old);
        vocab->by_id = grown;
    }
    vocab->limit = id + 1;
    return true;
}

aleat_status aleat_vocab_add(aleat_vocab *vocab, const char *text, size_t len, int32_t id,
                             aleat_error *err)
{
    if (id < 0 || id >= ALEAT_VOCAB_LIMIT)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "token '%.40s' has number %d, at most %d is read",
                          text, id, ALEAT_VOCAB_LIMIT - 1);
    const int32_t known = aleat_vocab_find(vocab, text, len);
    if (known == id)
        return ALEAT_OK;
    if (known >= 0)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "token '%.40s' has two numbers, %d and %d", text,
                          known, id);
    if (aleat_vocab_entry_of(vocab, id))
        return aleat_fail(err, ALEAT_ERR_FORMAT, "number %d has two tokens, '%.40s' and '%.40s'",
                          id, vocab->by_id[id]->text, text);
    const char *copy = aleat_arena_text(&vocab->arena, text, len);
    if (!copy || len > UINT32_MAX || !grow_numbers(vocab, id) || !grow_slots(vocab))
        return aleat_fail_memory(err, "a vocabulary");
    aleat_vocab_entry *slot = slot_of(vocab->slots, vocab->n_slots, text, len);
    *slot = (aleat_vocab_entry){copy, (uint32_t)len, id};
    vocab->by_id[id] = slot;
    vocab->count++;
    return ALEAT_OK;
}

int32_t aleat_vocab_find(const aleat_vocab *vocab, const char *text, size_t len)
{
    if (!vocab->n_slots)
        return -1;
    const aleat_vocab_entry *slot = slot_of(vocab->slots, vocab->n_slots, text, len);
    return slot->text ? slot->id : -1;
}

const aleat_vocab_entry *aleat_vocab_entry_of(const aleat_vocab *vocab, int32_t id)
{
    return id >= 0 && id < vocab->limit ? vocab->by_id[id] : NULL;
}

void aleat_vocab_clear(aleat_vocab *vocab)
{
    aleat_arena_clear(&vocab->arena);
    aleat_free(vocab->slots);
    aleat_free((void *)vocab->by_id);
    memset(vocab, 0, sizeof *vocab);
}
