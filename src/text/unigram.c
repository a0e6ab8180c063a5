#include "text/unigram.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "text/utf8.h"

#define SPACE_SYMBOL "\xe2\x96\x81" // U+2581

struct aleat_unigram {
    aleat_unigram_options options;
    aleat_arena arena;
    aleat_piece *pieces; // by number
    int32_t count;
    aleat_piece *sorted; // those that a text may hold, by their bytes
    int32_t n_sorted;
    float unknown_score, highest;
    int32_t unknown;
    int32_t byte_ids[256]; // of "<0x..>"
    const uint32_t *trie;  // Darts-clone's double array
    uint32_t n_units;
    const char *replacements; // ended by a 0
    size_t replacements_len;
    bool user_defined; // there are such pieces
};

/* ---- building -------------------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b)
{
    const aleat_piece *x = a, *y = b;
    const uint32_t shared = x->len < y->len ? x->len : y->len;
    const int order = memcmp(x->text, y->text, shared);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static bool is_in_texts(const aleat_piece *piece)
{
    return piece->kind == ALEAT_PIECE_NORMAL || piece->kind == ALEAT_PIECE_USER_DEFINED ||
           piece->kind == ALEAT_PIECE_UNUSED;
}

static aleat_status copy_pieces(aleat_unigram *u, const aleat_piece *pieces, aleat_error *err)
{
    for (int32_t i = 0; i < u->count; i++) {
        aleat_piece *piece = &u->pieces[i];
        *piece = pieces[i];
        piece->id = i;
        piece->text = aleat_arena_text(&u->arena, pieces[i].text, pieces[i].len);
        if (!piece->text)
            return aleat_fail_memory(err, "pieces");
        if (!piece->len)
            return aleat_fail(err, ALEAT_ERR_FORMAT, "piece %d is empty", i);
        if (!(piece->score > -FLT_MAX && piece->score < FLT_MAX))
            return aleat_fail(err, ALEAT_ERR_FORMAT, "piece %d, '%.40s', has no finite score", i,
                              piece->text);
        if (is_in_texts(piece))
            u->sorted[u->n_sorted++] = *piece;
        if (piece->kind == ALEAT_PIECE_UNKNOWN)
            u->unknown = i;
        u->user_defined = u->user_defined || piece->kind == ALEAT_PIECE_USER_DEFINED;
    }
    qsort(u->sorted, (size_t)u->n_sorted, sizeof *u->sorted, by_bytes);
    for (int32_t i = 1; i < u->n_sorted; i++)
        if (!by_bytes(&u->sorted[i - 1], &u->sorted[i]))
            return aleat_fail(err, ALEAT_ERR_FORMAT, "pieces %d and %d are both '%.40s'",
                              u->sorted[i - 1].id, u->sorted[i].id, u->sorted[i].text);
    if (u->unknown < 0)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "no piece stands for unknown characters");
    return ALEAT_OK;
}

static void find_scores(aleat_unigram *u)
{
    float lowest = FLT_MAX;
    u->highest = FLT_MIN; // as sentencepiece has it
    for (int32_t i = 0; i < u->count; i++) {
        if (u->pieces[i].kind != ALEAT_PIECE_NORMAL)
            continue;
        lowest = u->pieces[i].score < lowest ? u->pieces[i].score : lowest;
        u->highest = u->pieces[i].score > u->highest ? u->pieces[i].score : u->highest;
    }
    u->unknown_score = lowest - 10.0f;
}

static aleat_status find_bytes(aleat_unigram *u, aleat_error *err)
{
    for (int byte = 0; byte < 256 && u->options.byte_fallback; byte++) {
        char name[8];
        (void)snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte);
        u->byte_ids[byte] = -1;
        for (int32_t i = 0; i < u->count && u->byte_ids[byte] < 0; i++)
            if (u->pieces[i].kind == ALEAT_PIECE_BYTE && u->pieces[i].len == 6 &&
                !memcmp(u->pieces[i].text, name, 6))
                u->byte_ids[byte] = i;
        if (u->byte_ids[byte] < 0)
            return aleat_fail(err, ALEAT_ERR_FORMAT, "byte fallback without a piece '%s'", name);
    }
    return ALEAT_OK;
}

/** precompiled_charsmap: bytes of the trie (u32), the trie, then the replacements, each ended by a
 * 0. */
static aleat_status copy_charsmap(aleat_unigram *u, aleat_error *err)
{
    const unsigned char *map = u->options.charsmap;
    const size_t len = u->options.charsmap_len;
    uint32_t trie_bytes = 0;
    if (!map || !len)
        return ALEAT_OK;
    if (len >= 4)
        trie_bytes =
            map[0] | (uint32_t)map[1] << 8 | (uint32_t)map[2] << 16 | (uint32_t)map[3] << 24;
    if (len < 5 || trie_bytes % 4 || trie_bytes < 1024 || trie_bytes > len - 5 || map[len - 1])
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "precompiled_charsmap: %zu bytes with a trie of %u", len, trie_bytes);
    uint32_t *trie = aleat_arena_alloc(&u->arena, trie_bytes);
    u->replacements_len = len - 4 - trie_bytes;
    u->replacements = aleat_arena_text(&u->arena, map + 4 + trie_bytes, u->replacements_len);
    if (!trie || !u->replacements)
        return aleat_fail_memory(err, "precompiled_charsmap");
    u->n_units = trie_bytes / 4;
    for (uint32_t i = 0; i < u->n_units; i++) {
        const unsigned char *p = map + 4 + 4 * (size_t)i;
        trie[i] = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    }
    u->trie = trie;
    return ALEAT_OK;
}

aleat_status aleat_unigram_new(aleat_unigram **out, const aleat_piece *pieces, int32_t count,
                               const aleat_unigram_options *options, aleat_error *err)
{
    *out = NULL;
    aleat_unigram *u = aleat_calloc(1, sizeof *u);
    aleat_status st = ALEAT_OK;
    if (!u)
        return aleat_fail_memory(err, "a unigram model");
    u->options = *options;
    u->count = count;
    u->unknown = -1;
    u->pieces = aleat_calloc((size_t)count, sizeof *u->pieces);
    u->sorted = aleat_calloc((size_t)count, sizeof *u->sorted);
    if (!u->pieces || !u->sorted)
        st = aleat_fail_memory(err, "a unigram model");
    if (!st)
        st = copy_pieces(u, pieces, err);
    if (!st)
        st = find_bytes(u, err);
    if (!st)
        st = copy_charsmap(u, err);
    if (st) {
        aleat_unigram_free(u);
        return st;
    }
    u->options.charsmap = NULL; // copied
    find_scores(u);
    *out = u;
    return ALEAT_OK;
}

void aleat_unigram_free(aleat_unigram *u)
{
    if (!u)
        return;
    aleat_arena_clear(&u->arena);
    aleat_free(u->pieces);
    aleat_free(u->sorted);
    aleat_free(u);
}

int32_t aleat_unigram_count(const aleat_unigram *u)
{
    return u->count;
}

const aleat_piece *aleat_unigram_piece(const aleat_unigram *u, int32_t id)
{
    return &u->pieces[id];
}

/* ---- searching ------------------------------------------------------------------------------- */

/** The sorted pieces [low, high) that begin with the `len` bytes read so far. */
typedef struct prefix {
    int32_t low, high;
    uint32_t len;
} prefix;

/** The byte after the prefix, -1 where the piece ends. */
static int next_byte(const aleat_unigram *u, int32_t i, uint32_t at)
{
    return u->sorted[i].len > at ? (unsigned char)u->sorted[i].text[at] : -1;
}

/** First piece of the range whose next byte is at least `byte`. */
static int32_t lower_bound(const aleat_unigram *u, prefix range, int byte)
{
    while (range.low < range.high) {
        const int32_t middle = range.low + (range.high - range.low) / 2;
        if (next_byte(u, middle, range.len) < byte)
            range.low = middle + 1;
        else
            range.high = middle;
    }
    return range.low;
}

/** One byte further; false if no piece goes on like this. */
static bool extend(const aleat_unigram *u, prefix *range, unsigned char byte)
{
    const int32_t low = lower_bound(u, *range, byte), high = lower_bound(u, *range, byte + 1);
    *range = (prefix){low, high, range->len + 1};
    return low < high;
}

/** The piece that is the prefix itself, or NULL. */
static const aleat_piece *whole(const aleat_unigram *u, prefix range)
{
    const aleat_piece *first = &u->sorted[range.low];
    return first->len == range.len ? first : NULL;
}

/* ---- normalisation --------------------------------------------------------------------------- */

/** Bytes of the longest user-defined piece that the text begins with, or 0. */
static size_t user_defined_prefix(const aleat_unigram *u, const char *text, size_t len)
{
    prefix range = {0, u->n_sorted, 0};
    size_t longest = 0;
    for (size_t i = 0; u->user_defined && i < len && extend(u, &range, (unsigned char)text[i]);
         i++) {
        const aleat_piece *piece = whole(u, range);
        if (piece && piece->kind == ALEAT_PIECE_USER_DEFINED)
            longest = i + 1;
    }
    return longest;
}

/** Bytes of the longest rule that the text begins with, or 0; *value is where its replacement
 * begins. Source: Darts-clone's commonPrefixSearch(). */
static size_t rule_prefix(const aleat_unigram *u, const char *text, size_t len, uint32_t *value)
{
    size_t longest = 0;
    uint32_t node = 0;
    if (!u->trie)
        return 0;
    uint32_t unit = u->trie[0];
    node ^= (unit >> 10) << ((unit & 1u << 9) >> 6);
    for (size_t i = 0; i < len; i++) {
        const unsigned char byte = (unsigned char)text[i];
        node ^= byte;
        if (node >= u->n_units)
            break;
        unit = u->trie[node];
        if ((unit & (1u << 31 | 0xff)) != byte)
            break;
        node ^= (unit >> 10) << ((unit & 1u << 9) >> 6);
        if (unit >> 8 & 1 && node < u->n_units) {
            *value = u->trie[node] & ~(1u << 31);
            longest = i + 1;
        }
    }
    return longest;
}

/** A piece of normalised text, and how many bytes it came from. */
typedef struct normalized {
    const char *text;
    size_t len, consumed;
} normalized;

static normalized normalize_prefix(const aleat_unigram *u, const char *text, size_t len)
{
    uint32_t value = 0, code;
    size_t n = user_defined_prefix(u, text, len);
    if (n)
        return (normalized){text, n, n};
    n = rule_prefix(u, text, len, &value);
    if (n && value < u->replacements_len)
        return (normalized){u->replacements + value, strlen(u->replacements + value), n};
    n = (size_t)aleat_utf8_read(text, len, &code);
    if (n)
        return (normalized){text, n, n};
    return (normalized){"\xef\xbf\xbd", 3, 1};
}

static void add_space(const aleat_unigram *u, aleat_buffer *out)
{
    if (u->options.escape_whitespaces)
        aleat_buffer_add(out, SPACE_SYMBOL, 3);
    else
        aleat_buffer_add(out, " ", 1);
}

static void add_escaped(const aleat_unigram *u, const normalized *n, aleat_buffer *out)
{
    for (size_t i = 0; i < n->len; i++)
        if (n->text[i] == ' ')
            add_space(u, out);
        else
            aleat_buffer_add(out, n->text + i, 1);
}

void aleat_unigram_normalize(const aleat_unigram *u, const char *text, size_t len,
                             aleat_buffer *out)
{
    const bool squeeze = u->options.remove_extra_whitespaces;
    const size_t begin = out->len;
    while (squeeze && len) { // leading spaces
        const normalized n = normalize_prefix(u, text, len);
        if (n.len != 1 || n.text[0] != ' ')
            break;
        text += n.consumed;
        len -= n.consumed;
    }
    if (!len)
        return;
    if (u->options.add_dummy_prefix && !u->options.whitespace_as_suffix)
        add_space(u, out);
    bool after_space = squeeze;
    while (len) {
        normalized n = normalize_prefix(u, text, len);
        text += n.consumed;
        len -= n.consumed;
        while (after_space && n.len && n.text[0] == ' ') {
            n.text++;
            n.len--;
        }
        if (n.len) {
            add_escaped(u, &n, out);
            after_space = squeeze && n.text[n.len - 1] == ' ';
        }
    }
    const char *space = u->options.escape_whitespaces ? SPACE_SYMBOL : " ";
    const size_t width = strlen(space);
    while (squeeze && out->len >= begin + width &&
           !memcmp(out->data + out->len - width, space, width))
        out->len -= width;
    if (u->options.add_dummy_prefix && u->options.whitespace_as_suffix)
        add_space(u, out);
}

/* ---- the best path --------------------------------------------------------------------------- */

/** The best way to cut the text up to a place. */
typedef struct node {
    float score;
    int32_t id;
    int64_t begin; // of the last piece; -1: no way yet
} node;

/** Scores are compared in double and kept in float, as there. */
static void offer(node *to, double score, int64_t begin, int32_t id)
{
    if (to->begin >= 0 && !(score > (double)to->score))
        return;
    *to = (node){(float)score, id, begin};
}

static size_t character_bytes(char lead)
{
    const unsigned char byte = (unsigned char)lead;
    return byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

/** Viterbi from left to right: best[i] is for the first i bytes. */
static void find_path(const aleat_unigram *u, const char *text, size_t len, node *best)
{
    for (size_t i = 0; i <= len; i++)
        best[i] = (node){.begin = -1};
    for (size_t i = 0; i < len;) {
        const double score = (double)best[i].score;
        const size_t rest = len - i;
        const size_t width = character_bytes(text[i]) < rest ? character_bytes(text[i]) : rest;
        prefix range = {0, u->n_sorted, 0};
        bool single = false;
        for (size_t n = 0; n < rest && extend(u, &range, (unsigned char)text[i + n]);) {
            const aleat_piece *piece = whole(u, range);
            n++;
            if (!piece || piece->kind == ALEAT_PIECE_UNUSED)
                continue;
            const double value = piece->kind == ALEAT_PIECE_USER_DEFINED
                                     ? (double)((float)n * u->highest) - 0.1
                                     : (double)piece->score;
            offer(&best[i + n], value + score, (int64_t)i, piece->id);
            single = single || n == width;
        }
        if (!single) // the reference adds these two in float
            offer(&best[i + width], (double)(u->unknown_score + best[i].score), (int64_t)i,
                  u->unknown);
        i += width;
    }
}

/** Appends the pieces of the best path. */
static void take_path(const aleat_unigram *u, const char *text, size_t len, node *best,
                      aleat_ids *out)
{
    // Turn the links around: begin of best[i] becomes the end of the piece that begins at i.
    int64_t end = (int64_t)len, next = -1;
    int32_t id = -1;
    while (end >= 0) {
        const node here = best[end];
        best[end] = (node){.id = id, .begin = next};
        next = end;
        id = here.id;
        end = here.begin;
    }
    bool after_unknown = false;
    for (int64_t i = 0; i < (int64_t)len; i = best[i].begin) {
        const bool unknown = best[i].id == u->unknown;
        if (unknown && u->options.byte_fallback)
            for (int64_t j = i; j < best[i].begin; j++)
                aleat_ids_add(out, u->byte_ids[(unsigned char)text[j]]);
        else if (!unknown || !after_unknown)
            aleat_ids_add(out, best[i].id);
        after_unknown = unknown;
    }
}

aleat_status aleat_unigram_encode(const aleat_unigram *u, const char *text, size_t len,
                                  aleat_ids *out, aleat_error *err)
{
    aleat_buffer normal = {0};
    aleat_unigram_normalize(u, text, len, &normal);
    node *best = normal.failed ? NULL : aleat_alloc((normal.len + 1) * sizeof *best);
    if (best && normal.len) {
        find_path(u, normal.data, normal.len, best);
        take_path(u, normal.data, normal.len, best, out);
    }
    const bool failed = !best || out->failed;
    aleat_free(best);
    aleat_buffer_clear(&normal);
    return failed ? aleat_fail_memory(err, "the pieces of a prompt") : ALEAT_OK;
}
