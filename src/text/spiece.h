/* SentencePiece model files (spiece.model): a protocol buffer, read with checks. */
#ifndef ALEAT_TEXT_SPIECE_H
#define ALEAT_TEXT_SPIECE_H

#include "text/unigram.h"

/**
 * Reads a model from memory; errors do not name the file. ALEAT_ERR_FORMAT: damaged, or more than
 * ALEAT_VOCAB_LIMIT pieces; ALEAT_ERR_UNSUPPORTED: a model of another type than unigram.
 * Source: google/sentencepiece, sentencepiece_model.proto.
 */
ALEAT_MUST_USE aleat_status aleat_spiece_read(aleat_unigram **out, const void *data, size_t len,
                                              aleat_error *err);

#endif
