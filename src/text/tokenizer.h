/*
 * From a prompt to the numbers that a text encoder is fed: CLIP's byte-pair encoding and T5's
 * unigram pieces behind one interface, from the files that checkpoints bring or from the copies in
 * this library. Tokens are those of transformers' CLIPTokenizer (with ftfy) and T5Tokenizer.
 */
#ifndef ALEAT_TEXT_TOKENIZER_H
#define ALEAT_TEXT_TOKENIZER_H

#include "aleat/status.h"
#include "text/buffer.h"

typedef enum aleat_tokenizer_kind { ALEAT_TOKENIZER_CLIP, ALEAT_TOKENIZER_T5 } aleat_tokenizer_kind;

typedef struct aleat_tokenizer aleat_tokenizer;

/**
 * Opens a tokenizer: a folder with vocab.json and merges.txt, spiece.model, or tokenizer.json (the
 * first of them that is there), or one of these files, or openai/CLIP's
 * bpe_simple_vocab_16e6.txt.gz. Special tokens are read from tokenizer_config.json or
 * special_tokens_map.json beside them, else they are those of the published models.
 * ALEAT_ERR_FORMAT, _UNSUPPORTED, _IO, _MEMORY; messages name the file.
 */
ALEAT_MUST_USE aleat_status aleat_tokenizer_open(aleat_tokenizer **out, const char *path,
                                                 aleat_error *err);
/**
 * The published vocabulary of CLIP (49,408 tokens; padded with `pad`, or NULL: with
 * <|endoftext|>) or T5 (32,100), for checkpoints in one file, which carry none.
 */
ALEAT_MUST_USE aleat_status aleat_tokenizer_bundled(aleat_tokenizer **out,
                                                    aleat_tokenizer_kind kind, const char *pad,
                                                    aleat_error *err);
/** A tokenizer file from memory, by content (spiece.model, tokenizer.json, the .gz): no other
 * files are looked for. `name` stands for the path in messages. */
ALEAT_MUST_USE aleat_status aleat_tokenizer_open_memory(aleat_tokenizer **out, const void *data,
                                                        size_t len, const char *name,
                                                        aleat_error *err);
void aleat_tokenizer_free(aleat_tokenizer *tokenizer);

aleat_tokenizer_kind aleat_tokenizer_kind_of(const aleat_tokenizer *tokenizer);
/** "clip", "t5" */
const char *aleat_tokenizer_kind_name(aleat_tokenizer_kind kind);
/** Numbers of special tokens; -1: it has none of this kind. */
int32_t aleat_tokenizer_eos(const aleat_tokenizer *tokenizer);
int32_t aleat_tokenizer_pad(const aleat_tokenizer *tokenizer);
/** How many tokens a text has at most by tokenizer_config.json; 77 for CLIP, 512 for T5 if it does
 * not say. */
int64_t aleat_tokenizer_length(const aleat_tokenizer *tokenizer);

/** All tokens of a text, with the begin (CLIP) and the end, into *out (cleared before; also to be
 * cleared after an error). ALEAT_ERR_ARGUMENT: not UTF-8, or longer than 1 MiB. */
ALEAT_MUST_USE aleat_status aleat_tokenizer_encode(const aleat_tokenizer *tokenizer,
                                                   const char *text, size_t len, aleat_ids *out,
                                                   aleat_error *err);
/**
 * Exactly `length` (>= 2) tokens: what is too long is cut before the end token, what is short is
 * padded. *cut (may be NULL) becomes the text of the tokens that were left out, in new memory
 * (aleat_free), or NULL if there are none.
 */
ALEAT_MUST_USE aleat_status aleat_tokenizer_encode_padded(const aleat_tokenizer *tokenizer,
                                                          const char *text, size_t len,
                                                          int64_t length, int32_t *ids, char **cut,
                                                          aleat_error *err);
/** The text of tokens, roughly as it was written (lower case for CLIP), without spaces at its
 * ends; NULL if there is no memory. aleat_free(). */
char *aleat_tokenizer_decode(const aleat_tokenizer *tokenizer, const int32_t *ids, int64_t count);

#endif
