#include "text/tokenizer.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "text/clean.h"
#include "text/tokenizer_state.h"
#include "text/utf8.h"

#define SPACE_SYMBOL "\xe2\x96\x81" // U+2581, how sentencepiece writes a space

void aleat_tokenizer_free(aleat_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    aleat_bpe_free(tokenizer->bpe);
    aleat_vocab_clear(&tokenizer->vocab);
    aleat_unigram_free(tokenizer->unigram);
    for (int i = 0; i < tokenizer->n_added; i++)
        aleat_free(tokenizer->added[i].text);
    aleat_free(tokenizer->added);
    aleat_free(tokenizer);
}

aleat_tokenizer_kind aleat_tokenizer_kind_of(const aleat_tokenizer *tokenizer)
{
    return tokenizer->kind;
}

const char *aleat_tokenizer_kind_name(aleat_tokenizer_kind kind)
{
    return kind == ALEAT_TOKENIZER_CLIP ? "clip" : "t5";
}

int32_t aleat_tokenizer_eos(const aleat_tokenizer *tokenizer)
{
    return tokenizer->eos;
}

int32_t aleat_tokenizer_pad(const aleat_tokenizer *tokenizer)
{
    return tokenizer->pad;
}

int64_t aleat_tokenizer_length(const aleat_tokenizer *tokenizer)
{
    return tokenizer->length;
}

/* ---- added tokens ---------------------------------------------------------------------------- */

aleat_status aleat_tokenizer_add(aleat_tokenizer *tokenizer, const aleat_added_token *token,
                                 aleat_error *err)
{
    enum { MOST = 10000 };
    aleat_added_token *at = NULL;
    if (token->len == 0 || token->id < 0 || token->id >= ALEAT_VOCAB_LIMIT)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "added token '%.40s' has number %d", token->text,
                          token->id);
    for (int i = 0; i < tokenizer->n_added && !at; i++)
        if (tokenizer->added[i].len == token->len &&
            !memcmp(tokenizer->added[i].text, token->text, token->len))
            at = &tokenizer->added[i];
    if (!at) {
        if (tokenizer->n_added == MOST)
            return aleat_fail(err, ALEAT_ERR_FORMAT, "more than %d added tokens", MOST);
        const size_t size = (size_t)tokenizer->n_added * sizeof *at;
        aleat_added_token *grown = aleat_realloc(tokenizer->added, size, size + sizeof *at);
        if (grown)
            tokenizer->added = grown;
        char *text = aleat_alloc(token->len + 1);
        if (!grown || !text) {
            aleat_free(text);
            return aleat_fail_memory(err, "added tokens");
        }
        memcpy(text, token->text, token->len);
        text[token->len] = '\0';
        at = &tokenizer->added[tokenizer->n_added++];
        *at = (aleat_added_token){.text = text, .len = token->len};
        tokenizer->begins[(unsigned char)text[0]] = true;
    }
    at->id = token->id;
    at->strip_left = token->strip_left;
    at->strip_right = token->strip_right;
    return ALEAT_OK;
}

int32_t aleat_tokenizer_find(const aleat_tokenizer *tokenizer, const char *text)
{
    const size_t len = strlen(text);
    for (int i = 0; i < tokenizer->n_added; i++)
        if (tokenizer->added[i].len == len && !memcmp(tokenizer->added[i].text, text, len))
            return tokenizer->added[i].id;
    if (tokenizer->kind == ALEAT_TOKENIZER_CLIP)
        return aleat_vocab_find(&tokenizer->vocab, text, len);
    for (int32_t i = 0; i < aleat_unigram_count(tokenizer->unigram); i++) {
        const aleat_piece *piece = aleat_unigram_piece(tokenizer->unigram, i);
        if (piece->len == len && !memcmp(piece->text, text, len))
            return i;
    }
    return -1;
}

/** The longest added token that the text begins with, or NULL. */
static const aleat_added_token *added_at(const aleat_tokenizer *t, const char *text, size_t len)
{
    const aleat_added_token *longest = NULL;
    for (int i = 0; t->begins[(unsigned char)text[0]] && i < t->n_added; i++) {
        const aleat_added_token *token = &t->added[i];
        if (token->len <= len && (!longest || token->len > longest->len) &&
            !memcmp(token->text, text, token->len))
            longest = token;
    }
    return longest;
}

/** Bytes of white space that the text begins with. */
static size_t leading_space(const char *text, size_t len)
{
    uint32_t code;
    size_t n = 0;
    for (int bytes; n < len && (bytes = aleat_utf8_read(text + n, len - n, &code)) > 0 &&
                    aleat_utf8_is_space(code);)
        n += (size_t)bytes;
    return n;
}

/** Length without the white space that the text ends with. */
static size_t without_trailing_space(const char *text, size_t len)
{
    uint32_t code;
    while (len) {
        size_t begin = len - 1;
        while (begin && ((unsigned char)text[begin] & 0xc0) == 0x80)
            begin--;
        if (!aleat_utf8_read(text + begin, len - begin, &code) || !aleat_utf8_is_space(code))
            break;
        len = begin;
    }
    return len;
}

/* ---- encoding -------------------------------------------------------------------------------- */

/** Tokens of a text between added tokens. */
static aleat_status encode_plain(const aleat_tokenizer *t, const char *text, size_t len,
                                 aleat_ids *out, aleat_error *err)
{
    if (len == 0)
        return ALEAT_OK;
    if (t->kind == ALEAT_TOKENIZER_T5)
        return aleat_unigram_encode(t->unigram, text, len, out, err);
    aleat_buffer clean = {0};
    aleat_status st = aleat_clip_clean(&clean, text, len, err);
    if (!st && clean.len)
        st = aleat_bpe_encode(t->bpe, clean.data, clean.len, out, err);
    aleat_buffer_clear(&clean);
    return st;
}

/** Tokens of a whole text, without begin and end. */
static aleat_status encode_content(const aleat_tokenizer *t, const char *text, size_t len,
                                   aleat_ids *out, aleat_error *err)
{
    if (len > ALEAT_TEXT_LIMIT)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "the prompt has %zu bytes, at most %d are read",
                          len, ALEAT_TEXT_LIMIT);
    if (!aleat_utf8_valid(text, len))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "the prompt is not UTF-8");
    aleat_status st = ALEAT_OK;
    size_t begin = 0;
    for (size_t i = 0; i < len && !st;) {
        const aleat_added_token *token = added_at(t, text + i, len - i);
        if (!token) {
            i++;
            continue;
        }
        const size_t n =
            token->strip_left ? without_trailing_space(text + begin, i - begin) : i - begin;
        st = encode_plain(t, text + begin, n, out, err);
        aleat_ids_add(out, token->id);
        i += token->len;
        begin = token->strip_right ? i + leading_space(text + i, len - i) : i;
        i = begin;
    }
    return st ? st : encode_plain(t, text + begin, len - begin, out, err);
}

/** Begin and end around content, of which the first `count` tokens count. T5 does not add a second
 * end. */
static void add_specials(const aleat_tokenizer *t, const aleat_ids *content, int64_t count,
                         aleat_ids *out)
{
    assert(count == 0 || content->at);
    if (t->bos >= 0)
        aleat_ids_add(out, t->bos);
    for (int64_t i = 0; i < count; i++)
        aleat_ids_add(out, content->at[i]);
    const bool ends = count && content->at[count - 1] == t->eos;
    if (t->kind == ALEAT_TOKENIZER_CLIP || !ends)
        aleat_ids_add(out, t->eos);
}

aleat_status aleat_tokenizer_encode(const aleat_tokenizer *t, const char *text, size_t len,
                                    aleat_ids *out, aleat_error *err)
{
    aleat_ids content = {0};
    memset(out, 0, sizeof *out);
    aleat_status st = encode_content(t, text, len, &content, err);
    if (!st)
        add_specials(t, &content, content.count, out);
    if (!st && (content.failed || out->failed))
        st = aleat_fail_memory(err, "the tokens of a prompt");
    aleat_ids_clear(&content);
    return st;
}

aleat_status aleat_tokenizer_encode_padded(const aleat_tokenizer *t, const char *text, size_t len,
                                           int64_t length, int32_t *ids, char **cut,
                                           aleat_error *err)
{
    aleat_ids content = {0}, all = {0};
    if (cut)
        *cut = NULL;
    aleat_status st = encode_content(t, text, len, &content, err);
    const int64_t room = length - (t->bos >= 0) - 1;
    const int64_t kept = content.count < room ? content.count : room;
    if (!st)
        add_specials(t, &content, kept, &all);
    if (!st && (content.failed || all.failed))
        st = aleat_fail_memory(err, "the tokens of a prompt");
    for (int64_t i = 0; i < length && !st; i++)
        ids[i] = i < all.count ? all.at[i] : t->pad;
    if (!st && cut && kept < content.count) {
        *cut = aleat_tokenizer_decode(t, content.at + kept, content.count - kept);
        if (!*cut)
            st = aleat_fail_memory(err, "the text that was cut off");
    }
    aleat_ids_clear(&content);
    aleat_ids_clear(&all);
    return st;
}

/* ---- decoding -------------------------------------------------------------------------------- */

static void decode_piece(const aleat_piece *piece, aleat_buffer *out)
{
    for (uint32_t i = 0; i < piece->len;) {
        const bool space = piece->len - i >= 3 && !memcmp(piece->text + i, SPACE_SYMBOL, 3);
        aleat_buffer_add(out, space ? " " : piece->text + i, 1);
        i += space ? 3 : 1;
    }
}

static void decode_token(const aleat_tokenizer *t, int32_t id, aleat_buffer *out)
{
    for (int i = 0; i < t->n_added; i++)
        if (t->added[i].id == id) {
            aleat_buffer_add(out, t->added[i].text, t->added[i].len);
            return;
        }
    const aleat_vocab_entry *entry = aleat_vocab_entry_of(&t->vocab, id);
    if (entry)
        aleat_bpe_decode(entry, out);
    else if (t->unigram && id >= 0 && id < aleat_unigram_count(t->unigram))
        decode_piece(aleat_unigram_piece(t->unigram, id), out);
}

char *aleat_tokenizer_decode(const aleat_tokenizer *t, const int32_t *ids, int64_t count)
{
    aleat_buffer text = {0}, trimmed = {0};
    assert(count == 0 || ids);
    for (int64_t i = 0; i < count; i++)
        decode_token(t, ids[i], &text);
    const size_t end = text.failed ? 0 : without_trailing_space(text.data, text.len);
    const size_t begin = leading_space(text.data, end);
    aleat_buffer_add(&trimmed, text.data + begin, end - begin);
    trimmed.failed = trimmed.failed || text.failed;
    aleat_buffer_clear(&text);
    return aleat_buffer_take(&trimmed);
}
