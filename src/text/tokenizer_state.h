/* The inside of a tokenizer: shared by the code that opens and the code that encodes. */
#ifndef ALEAT_TEXT_TOKENIZER_STATE_H
#define ALEAT_TEXT_TOKENIZER_STATE_H

#include "text/bpe.h"
#include "text/tokenizer.h"
#include "text/unigram.h"

/** A token that is found in a text as it is written, before anything else is done to it. */
typedef struct aleat_added_token {
    char *text; /**< owned */
    size_t len;
    int32_t id;
    bool strip_left, strip_right; /**< it takes the white space around it with it */
} aleat_added_token;

struct aleat_tokenizer {
    aleat_tokenizer_kind kind;
    aleat_vocab vocab;      /**< CLIP */
    aleat_bpe *bpe;         /**< CLIP */
    aleat_unigram *unigram; /**< T5 */
    int32_t bos, eos, pad, unknown;
    int64_t length;
    aleat_added_token *added;
    int n_added;
    bool begins[256]; /**< bytes that added tokens begin with */
};

/** Adds a token, or replaces the one of the same text. */
ALEAT_MUST_USE aleat_status aleat_tokenizer_add(aleat_tokenizer *tokenizer,
                                                const aleat_added_token *token, aleat_error *err);
/** The number of a token by its text, -1 if there is none. */
int32_t aleat_tokenizer_find(const aleat_tokenizer *tokenizer, const char *text);

/** The copies in the binary: gzip. */
extern const unsigned char aleat_bundled_clip_merges[], aleat_bundled_clip_merges_end[];
extern const unsigned char aleat_bundled_t5_spiece[], aleat_bundled_t5_spiece_end[];

#endif
