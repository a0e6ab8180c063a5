/*
 * Byte-pair encoding as CLIP does it: words of cleaned text, as bytes, merged by the rank of their
 * pairs. Source: Sennrich et al. 2016 (arXiv 1508.07909); openai/CLIP's simple_tokenizer.py.
 */
#ifndef ALEAT_TEXT_BPE_H
#define ALEAT_TEXT_BPE_H

#include "text/buffer.h"
#include "text/vocab.h"

typedef struct aleat_bpe aleat_bpe;

/** An encoder without merges over a vocabulary, which is borrowed and must outlive it. Bytes and
 * words that the vocabulary lacks become `unknown`. */
ALEAT_MUST_USE aleat_status aleat_bpe_new(aleat_bpe **out, const aleat_vocab *vocab,
                                          int32_t unknown, aleat_error *err);
void aleat_bpe_free(aleat_bpe *bpe);

/** The next merge in order of rank: two tokens and what they become, all of the vocabulary
 * (ALEAT_ERR_FORMAT otherwise). */
ALEAT_MUST_USE aleat_status aleat_bpe_add_merge(aleat_bpe *bpe, const char *left, size_t left_len,
                                                const char *right, size_t right_len,
                                                aleat_error *err);
/** CLIP reads this many merges and no more, also from longer files. */
#define ALEAT_BPE_MERGES (49152 - 256 - 2)

/** Tokens of cleaned text (aleat_clip_clean()), appended. */
ALEAT_MUST_USE aleat_status aleat_bpe_encode(const aleat_bpe *bpe, const char *text, size_t len,
                                             aleat_ids *out, aleat_error *err);

/**
 * Fills the vocabulary that CLIP derives from a list of merges: the 256 byte symbols, the same at
 * the end of a word, a token for each merge, <|startoftext|>, <|endoftext|>. `merges`: lines of two
 * tokens, the first line is a comment.
 */
ALEAT_MUST_USE aleat_status aleat_bpe_derive_vocab(aleat_vocab *vocab, const char *merges,
                                                   size_t len, aleat_error *err);
/** Adds the merges of such a list. */
ALEAT_MUST_USE aleat_status aleat_bpe_add_merges(aleat_bpe *bpe, const char *merges, size_t len,
                                                 aleat_error *err);

/** What the token stands for in a text, appended: its bytes, and a space at the end of a word. */
void aleat_bpe_decode(const aleat_vocab_entry *token, aleat_buffer *out);

#endif
