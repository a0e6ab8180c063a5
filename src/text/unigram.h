/*
 * SentencePiece's unigram model as T5 uses it: a text is normalised, then cut into the pieces whose
 * log probabilities have the largest sum. Source: Kudo 2018 (arXiv 1804.10959);
 * google/sentencepiece 0.1.97, whose encoder this equals to the last tie.
 */
#ifndef ALEAT_TEXT_UNIGRAM_H
#define ALEAT_TEXT_UNIGRAM_H

#include <stdbool.h>

#include "text/buffer.h"
#include "text/vocab.h"

/** Kinds of pieces, as the model files number them. */
typedef enum aleat_piece_kind {
    ALEAT_PIECE_NORMAL = 1,
    ALEAT_PIECE_UNKNOWN,
    ALEAT_PIECE_CONTROL,      /**< never found in a text */
    ALEAT_PIECE_USER_DEFINED, /**< always found */
    ALEAT_PIECE_UNUSED,
    ALEAT_PIECE_BYTE /**< "<0x41>" */
} aleat_piece_kind;

typedef struct aleat_piece {
    const char *text; /**< UTF-8 of `len` bytes */
    uint32_t len;
    float score; /**< log probability */
    uint8_t kind;
    int32_t id;
} aleat_piece;

/** How a text is normalised. */
typedef struct aleat_unigram_options {
    const unsigned char *charsmap; /**< precompiled_charsmap of the model file, or NULL */
    size_t charsmap_len;
    bool add_dummy_prefix;         /**< a space before the text */
    bool remove_extra_whitespaces; /**< at the ends, and of several all but one */
    bool escape_whitespaces;       /**< ' ' becomes U+2581 */
    bool whitespace_as_suffix;     /**< the dummy space goes behind the text */
    bool byte_fallback;            /**< unknown characters become byte pieces */
} aleat_unigram_options;

typedef struct aleat_unigram aleat_unigram;

/**
 * `pieces` in the order of their numbers (0, 1, ...); everything is copied. ALEAT_ERR_FORMAT: no
 * piece stands for the unknown, a piece is empty or twice there, the charsmap is damaged.
 */
ALEAT_MUST_USE aleat_status aleat_unigram_new(aleat_unigram **out, const aleat_piece *pieces,
                                              int32_t count, const aleat_unigram_options *options,
                                              aleat_error *err);
void aleat_unigram_free(aleat_unigram *unigram);
int32_t aleat_unigram_count(const aleat_unigram *unigram);
/** The piece of a number below aleat_unigram_count(). */
const aleat_piece *aleat_unigram_piece(const aleat_unigram *unigram, int32_t id);

/** A text as the model normalises it, appended. Bytes that are not UTF-8 become U+FFFD. */
void aleat_unigram_normalize(const aleat_unigram *unigram, const char *text, size_t len,
                             aleat_buffer *out);
/** Numbers of the pieces of a text, appended; neighbouring unknown characters are one unknown.
 * Cost: the text's length times that of the longest piece. */
ALEAT_MUST_USE aleat_status aleat_unigram_encode(const aleat_unigram *unigram, const char *text,
                                                 size_t len, aleat_ids *out, aleat_error *err);

#endif
