#include "text/bpe.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "text/utf8.h"

#define WORD_END "</w>"

/** A pair of neighbours and what it becomes. */
typedef struct merge {
    int32_t left, right, result; // left -1: a free slot
    int32_t rank;
} merge;

enum { NO_RANK = INT32_MAX };

struct aleat_bpe {
    const aleat_vocab *vocab;
    int32_t symbol[256], last_symbol[256]; // of a byte inside a word and at its end
    int32_t unknown;
    merge *slots; // open addressing
    uint32_t n_slots;
    int32_t n_merges;
    pcre2_general_context *memory;
    pcre2_code *words;
};

/* ---- bytes as characters --------------------------------------------------------------------- */

/** Bytes that have a visible character in Latin-1 stand for themselves in a token's text. */
static bool is_visible(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/** The character that stands for a byte: the others follow from U+0100 on. */
static uint32_t character_of(int byte)
{
    uint32_t hidden = 0;
    if (is_visible(byte))
        return (uint32_t)byte;
    for (int b = 0; b < byte; b++)
        hidden += !is_visible(b);
    return 0x100 + hidden;
}

/** The token of one byte, with or without the mark of a word's end; returns its length. */
static size_t byte_token(char dst[12], int byte, bool last)
{
    const size_t len = (size_t)aleat_utf8_write(dst, character_of(byte));
    memcpy(dst + len, WORD_END, sizeof WORD_END - 1);
    return last ? len + sizeof WORD_END - 1 : len;
}

/* ---- building -------------------------------------------------------------------------------- */

static void *on_alloc(size_t size, void *ctx)
{
    (void)ctx;
    return aleat_alloc(size);
}

static void on_free(void *block, void *ctx)
{
    (void)ctx;
    aleat_free(block);
}

static bool compile_words(aleat_bpe *bpe)
{
    // CLIP's pattern; its \s can only be a space here, and PCRE2's \s knows one character more.
    static const char pattern[] = "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|"
                                  "\\p{L}+|\\p{N}|[^ \\p{L}\\p{N}]+";
    int code;
    PCRE2_SIZE at;
    bpe->memory = pcre2_general_context_create(on_alloc, on_free, NULL);
    pcre2_compile_context *ctx = bpe->memory ? pcre2_compile_context_create(bpe->memory) : NULL;
    if (ctx)
        bpe->words = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_CASELESS, &code, &at, ctx);
    pcre2_compile_context_free(ctx);
    return bpe->words != NULL;
}

aleat_status aleat_bpe_new(aleat_bpe **out, const aleat_vocab *vocab, int32_t unknown,
                           aleat_error *err)
{
    *out = NULL;
    aleat_bpe *bpe = aleat_calloc(1, sizeof *bpe);
    if (!bpe || !compile_words(bpe)) {
        aleat_bpe_free(bpe);
        return aleat_fail_memory(err, "a byte-pair encoder");
    }
    bpe->vocab = vocab;
    bpe->unknown = unknown;
    for (int byte = 0; byte < 256; byte++) {
        char token[12];
        const int32_t id = aleat_vocab_find(vocab, token, byte_token(token, byte, false));
        const int32_t last = aleat_vocab_find(vocab, token, byte_token(token, byte, true));
        bpe->symbol[byte] = id < 0 ? unknown : id;
        bpe->last_symbol[byte] = last < 0 ? unknown : last;
    }
    *out = bpe;
    return ALEAT_OK;
}

void aleat_bpe_free(aleat_bpe *bpe)
{
    if (!bpe)
        return;
    pcre2_code_free(bpe->words);
    pcre2_general_context_free(bpe->memory);
    aleat_free(bpe->slots);
    aleat_free(bpe);
}

/** The pair's slot, or the free one where it belongs. */
static merge *slot_of(merge *slots, uint32_t n, int32_t left, int32_t right)
{
    const uint64_t key = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    for (uint32_t i = (uint32_t)(key >> 32) & (n - 1);; i = (i + 1) & (n - 1))
        if (slots[i].left < 0 || (slots[i].left == left && slots[i].right == right))
            return &slots[i];
}

static bool grow(aleat_bpe *bpe)
{
    if (2 * (uint32_t)(bpe->n_merges + 1) <= bpe->n_slots)
        return true;
    const uint32_t n = bpe->n_slots ? 2 * bpe->n_slots : 1024;
    merge *slots = aleat_alloc(n * sizeof *slots);
    if (!slots)
        return false;
    for (uint32_t i = 0; i < n; i++)
        slots[i].left = -1;
    for (uint32_t i = 0; i < bpe->n_slots; i++)
        if (bpe->slots[i].left >= 0)
            *slot_of(slots, n, bpe->slots[i].left, bpe->slots[i].right) = bpe->slots[i];
    aleat_free(bpe->slots);
    bpe->slots = slots;
    bpe->n_slots = n;
    return true;
}

enum { NO_MEMORY = -2 };

/** The number of the token made of two; -1: there is none; NO_MEMORY. */
static int32_t find_joined(const aleat_bpe *bpe, const char *left, size_t left_len,
                           const char *right, size_t right_len)
{
    aleat_buffer joined = {0};
    aleat_buffer_add(&joined, left, left_len);
    aleat_buffer_add(&joined, right, right_len);
    const int32_t id =
        joined.failed ? NO_MEMORY : aleat_vocab_find(bpe->vocab, joined.data, joined.len);
    aleat_buffer_clear(&joined);
    return id;
}

aleat_status aleat_bpe_add_merge(aleat_bpe *bpe, const char *left, size_t left_len,
                                 const char *right, size_t right_len, aleat_error *err)
{
    const merge m = {.left = aleat_vocab_find(bpe->vocab, left, left_len),
                     .right = aleat_vocab_find(bpe->vocab, right, right_len),
                     .result = find_joined(bpe, left, left_len, right, right_len),
                     .rank = bpe->n_merges};
    if (m.result == NO_MEMORY || !grow(bpe))
        return aleat_fail_memory(err, "merges");
    if (m.left < 0 || m.right < 0 || m.result < 0)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "merge %d, '%.*s' and '%.*s': the vocabulary lacks a part or the result",
                          m.rank + 1, (int)(left_len < 40 ? left_len : 40), left,
                          (int)(right_len < 40 ? right_len : 40), right);
    *slot_of(bpe->slots, bpe->n_slots, m.left, m.right) = m; // of two equal ones the last counts
    bpe->n_merges++;
    return ALEAT_OK;
}

/** The next line of a list of merges, without its end; false at the end. */
static bool next_line(const char **at, const char *end, const char **line, size_t *len)
{
    if (*at >= end)
        return false;
    const char *stop = memchr(*at, '\n', (size_t)(end - *at));
    stop = stop ? stop : end;
    *line = *at;
    *len = (size_t)(stop - *at);
    *len -= *len && (*line)[*len - 1] == '\r';
    *at = stop < end ? stop + 1 : end;
    return true;
}

/** Calls `each` for the pairs of a list. */
static aleat_status for_merges(const char *merges, size_t len,
                               aleat_status (*each)(void *ctx, const char *line, size_t left_len,
                                                    size_t len, aleat_error *err),
                               void *ctx, aleat_error *err)
{
    const char *at = merges, *end = merges + len, *line;
    size_t n;
    aleat_status st = ALEAT_OK;
    (void)next_line(&at, end, &line, &n);
    for (int count = 0; count < ALEAT_BPE_MERGES && !st && next_line(&at, end, &line, &n);) {
        const char *space = memchr(line, ' ', n);
        if (n == 0)
            continue;
        count++;
        if (!space || space == line || space + 1 == line + n)
            return aleat_fail(err, ALEAT_ERR_FORMAT, "merge %d: '%.*s' is not two tokens", count,
                              (int)(n < 40 ? n : 40), line);
        st = each(ctx, line, (size_t)(space - line), n, err);
    }
    return st;
}

static aleat_status add_line(void *ctx, const char *line, size_t left_len, size_t len,
                             aleat_error *err)
{
    return aleat_bpe_add_merge(ctx, line, left_len, line + left_len + 1, len - left_len - 1, err);
}

aleat_status aleat_bpe_add_merges(aleat_bpe *bpe, const char *merges, size_t len, aleat_error *err)
{
    return for_merges(merges, len, add_line, bpe, err);
}

static aleat_status derive_line(void *ctx, const char *line, size_t left_len, size_t len,
                                aleat_error *err)
{
    aleat_vocab *vocab = ctx;
    aleat_buffer joined = {0};
    aleat_buffer_add(&joined, line, left_len);
    aleat_buffer_add(&joined, line + left_len + 1, len - left_len - 1);
    aleat_buffer_add(&joined, "", 1);
    const aleat_status st =
        joined.failed ? aleat_fail_memory(err, "a vocabulary")
                      : aleat_vocab_add(vocab, joined.data, joined.len - 1, vocab->limit, err);
    aleat_buffer_clear(&joined);
    return st;
}

aleat_status aleat_bpe_derive_vocab(aleat_vocab *vocab, const char *merges, size_t len,
                                    aleat_error *err)
{
    static const char *const specials[] = {"<|startoftext|>", "<|endoftext|>"};
    aleat_status st = ALEAT_OK;
    for (int i = 0; i < 4 * 256 && !st; i++) { // visible bytes first, twice
        const int byte = i & 255;
        char token[12];
        if (is_visible(byte) == !(i & 256))
            st =
                aleat_vocab_add(vocab, token, byte_token(token, byte, i >= 512), vocab->limit, err);
    }
    if (!st)
        st = for_merges(merges, len, derive_line, vocab, err);
    for (int i = 0; i < 2 && !st; i++)
        st = aleat_vocab_add(vocab, specials[i], strlen(specials[i]), vocab->limit, err);
    return st;
}

/* ---- encoding -------------------------------------------------------------------------------- */

static const merge *find_merge(const aleat_bpe *bpe, int32_t left, int32_t right)
{
    if (!bpe->n_slots)
        return NULL;
    const merge *m = slot_of(bpe->slots, bpe->n_slots, left, right);
    return m->left >= 0 ? m : NULL;
}

static int32_t rank_of(const aleat_bpe *bpe, int32_t left, int32_t right)
{
    const merge *m = find_merge(bpe, left, right);
    return m ? m->rank : NO_RANK;
}

/** Merges every pair like the one at `first`, from the left; rank[i] is that of the pair at i.
 * Returns how many tokens are left. */
static int64_t merge_all(const aleat_bpe *bpe, int32_t *at, int32_t *rank, int64_t n, int64_t first)
{
    const merge m = *find_merge(bpe, at[first], at[first + 1]);
    int64_t to = first;
    for (int64_t from = first; from < n; to++) {
        const bool merges = from + 1 < n && at[from] == m.left && at[from + 1] == m.right;
        at[to] = merges ? m.result : at[from];
        rank[to] = merges ? NO_RANK : rank[from];
        from += merges ? 2 : 1;
    }
    for (int64_t i = first > 0 ? first - 1 : 0; i + 1 < to; i++)
        if (at[i] == m.result || at[i + 1] == m.result)
            rank[i] = rank_of(bpe, at[i], at[i + 1]);
    return to;
}

/** Tokens of one word. Cost: its length times the number of different merges in it. */
static void encode_word(const aleat_bpe *bpe, const char *word, size_t len, int32_t *at,
                        int32_t *rank, aleat_ids *out)
{
    int64_t n = (int64_t)len;
    for (int64_t i = 0; i < n; i++)
        at[i] = (i + 1 < n ? bpe->symbol : bpe->last_symbol)[(unsigned char)word[i]];
    for (int64_t i = 0; i < n; i++)
        rank[i] = i + 1 < n ? rank_of(bpe, at[i], at[i + 1]) : NO_RANK;
    for (;;) {
        int64_t best = 0;
        for (int64_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best])
                best = i;
        if (n < 2 || rank[best] == NO_RANK)
            break;
        n = merge_all(bpe, at, rank, n, best);
    }
    for (int64_t i = 0; i < n; i++)
        aleat_ids_add(out, at[i]);
}

/** The two names that CLIP's cache holds as whole tokens. */
static bool is_special(const char *word, size_t len)
{
    return (len == 15 && !memcmp(word, "<|startoftext|>", len)) ||
           (len == 13 && !memcmp(word, "<|endoftext|>", len));
}

aleat_status aleat_bpe_encode(const aleat_bpe *bpe, const char *text, size_t len, aleat_ids *out,
                              aleat_error *err)
{
    pcre2_match_data *match = pcre2_match_data_create(1, bpe->memory);
    int32_t *at = aleat_alloc(2 * len * sizeof *at);
    int found = match && at ? 0 : PCRE2_ERROR_NOMEMORY;
    for (size_t i = 0; i < len && found >= 0;) {
        found = pcre2_match(bpe->words, (PCRE2_SPTR)text, len, i, PCRE2_NO_UTF_CHECK, match, NULL);
        if (found < 0)
            break;
        const PCRE2_SIZE *word = pcre2_get_ovector_pointer(match);
        const size_t n = word[1] - word[0];
        if (is_special(text + word[0], n)) {
            const int32_t id = aleat_vocab_find(bpe->vocab, text + word[0], n);
            aleat_ids_add(out, id < 0 ? bpe->unknown : id);
        } else {
            encode_word(bpe, text + word[0], n, at, at + len, out);
        }
        i = word[1];
    }
    pcre2_match_data_free(match);
    aleat_free(at);
    if (out->failed || found == PCRE2_ERROR_NOMEMORY)
        return aleat_fail_memory(err, "the tokens of a prompt");
    if (found < 0 && found != PCRE2_ERROR_NOMATCH)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "the words of a prompt: PCRE2 error %d", found);
    return ALEAT_OK;
}

void aleat_bpe_decode(const aleat_vocab_entry *token, aleat_buffer *out)
{
    const size_t mark = sizeof WORD_END - 1;
    size_t len = token->len;
    const bool last = len >= mark && !memcmp(token->text + len - mark, WORD_END, mark);
    len -= last ? mark : 0;
    for (size_t i = 0; i < len;) {
        uint32_t code = 0;
        const int bytes = aleat_utf8_read(token->text + i, len - i, &code);
        int byte = 0;
        while (byte < 256 && character_of(byte) != code)
            byte++;
        const char value = (char)byte;
        if (bytes && byte < 256)
            aleat_buffer_add(out, &value, 1);
        i += bytes ? (size_t)bytes : 1;
    }
    if (last)
        aleat_buffer_add(out, " ", 1);
}
