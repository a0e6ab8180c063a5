#include "base/keep.h"

#include <string.h>

#include "base/alloc.h"
#include "base/order.h"
#include "base/rng.h"

bool aleat_order_scores(int64_t *order, const double *scores, int64_t n, bool highest)
{
    if (!highest)
        return aleat_order(order, scores, n);
    double *keys = aleat_calloc((size_t)n, sizeof *keys);
    for (int64_t i = 0; keys && i < n; i++)
        keys[i] = -scores[i];
    const bool sorted = keys && aleat_order(order, keys, n);
    aleat_free(keys);
    return sorted;
}

void aleat_order_random(int64_t *order, int64_t n, uint64_t seed, int64_t draw)
{
    const aleat_rng_key key = {.seed = seed, .purpose = ALEAT_FOR_SUBSET, .image = (uint32_t)draw};
    aleat_rng_permutation(&key, order, n);
}

/* ---- classes --------------------------------------------------------------------------------- */

// The things by class, and how many are kept of each.
typedef struct strata {
    double *key;     // [n] scratch of the sorting
    int64_t *sorted; // [n] things by class
    int64_t *of;     // [n] number of a thing's class, classes counted from 0 upwards
    int64_t *quota;  // [n] of that class
    int64_t *place;  // [n] class numbers by falling remainder
    int64_t count;
} strata;

static bool allocate(strata *s, int64_t n)
{
    s->key = aleat_calloc((size_t)n, sizeof *s->key);
    s->sorted = aleat_calloc((size_t)n, sizeof *s->sorted);
    s->of = aleat_calloc((size_t)n, sizeof *s->of);
    s->quota = aleat_calloc((size_t)n, sizeof *s->quota);
    s->place = aleat_calloc((size_t)n, sizeof *s->place);
    return s->key && s->sorted && s->of && s->quota && s->place;
}

static void clear(strata *s)
{
    aleat_free(s->key);
    aleat_free(s->sorted);
    aleat_free(s->of);
    aleat_free(s->quota);
    aleat_free(s->place);
}

static bool number_classes(strata *s, const int64_t *classes, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        s->key[i] = (double)classes[i];
    if (!aleat_order(s->sorted, s->key, n))
        return false;
    for (int64_t i = 0; i < n; i++) {
        s->count += i > 0 && classes[s->sorted[i]] != classes[s->sorted[i - 1]];
        s->of[s->sorted[i]] = s->count;
    }
    s->count += n > 0;
    return true;
}

static bool set_quotas(strata *s, int64_t n, int64_t keep)
{
    int64_t left = keep;
    for (int64_t i = 0; i < n; i++)
        s->quota[s->of[i]]++; // how many there are
    for (int64_t c = 0; c < s->count; c++) {
        const uint64_t share = (uint64_t)keep * (uint64_t)s->quota[c];
        s->quota[c] = (int64_t)(share / (uint64_t)n);
        s->key[c] = (double)(share % (uint64_t)n);
        left -= s->quota[c];
    }
    if (!aleat_order_scores(s->place, s->key, s->count, true))
        return false;
    // fewer are left than there are classes with a remainder
    for (int64_t k = 0; k < left; k++)
        s->quota[s->place[k]]++;
    return true;
}

bool aleat_keep_first(bool *members, const int64_t *order, int64_t n, int64_t keep,
                      const int64_t *classes)
{
    memset(members, 0, (size_t)n * sizeof *members);
    for (int64_t i = 0; !classes && i < keep; i++)
        members[order[i]] = true;
    if (!classes || n == 0)
        return true;
    strata s = {0};
    const bool good = allocate(&s, n) && number_classes(&s, classes, n) && set_quotas(&s, n, keep);
    for (int64_t i = 0; good && i < n; i++)
        members[order[i]] = s.quota[s.of[order[i]]]-- > 0;
    clear(&s);
    return good;
}
