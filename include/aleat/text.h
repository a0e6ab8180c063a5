/*
 * Text: prompts to tokens, and to the arrays that text-to-image networks are conditioned on.
 */
#ifndef ALEAT_TEXT_H
#define ALEAT_TEXT_H

#include <stdint.h>

#include "aleat/array.h"
#include "aleat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** How to encode. Zero-initialise: the defaults. Strings are borrowed for the call. */
typedef struct aleat_text_options {
    int encoder;           /**< which of the model's: 1 (also 0), 2 or 3 */
    const char *variant;   /**< "fp16": which of several weight files; NULL: the first found */
    const char *precision; /**< a name from aleat_precision_name(); NULL: "f32" */
    const char *tokenizer; /**< a tokenizer's file or folder, or a diffusers folder, to use instead
                                of the model's own or the built-in vocabulary; NULL: none */
    int threads;           /**< 0: all processors of this process; changes no result */
    int64_t tokens;        /**< of each prompt; 0: as many as the model takes */
    int64_t clip_skip;     /**< 0: as the model does; n: the n-1 last layers are left out, and the
                                final norm comes behind the others (A1111's "Clip skip") */
    int64_t heads;         /**< of a CLIP encoder without a configuration; 0: width / 64 */
} aleat_text_options;

/** Encoded prompts. Released by aleat_encoded_text_clear(). */
typedef struct aleat_encoded_text {
    aleat_array hidden; /**< [count, tokens, width] */
    aleat_array pooled; /**< [count, width or that of the projection]; empty (data NULL) for T5 */
    int64_t count, tokens;
    int32_t *ids; /**< [count, tokens] */
    char **cut;   /**< [count] the text of a prompt that did not fit, or NULL */
    double flop;  /**< floating-point operations that it took */
} aleat_encoded_text;

/**
 * Encodes prompts by a text encoder of a diffusers folder, of an original Stable Diffusion file, or
 * of its own folder or file. The encoder is opened, run layer by layer and closed again: it needs
 * the memory of one layer.
 *
 * @param path     of the model
 * @param prompts  [count], UTF-8
 * @return ALEAT_ERR_ARGUMENT: no such encoder, a prompt that is not UTF-8, too many tokens;
 *         ALEAT_ERR_IO, _FORMAT, _SHAPE, _UNSUPPORTED name the file and the tensor or key in it
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_encode_text(aleat_encoded_text *out, const char *path,
                                                        const char *const *prompts, int64_t count,
                                                        const aleat_text_options *options,
                                                        aleat_error *err);
/** Accepts NULL. */
ALEAT_API void aleat_encoded_text_clear(aleat_encoded_text *text);

/**
 * Only the tokens. `path` is a model as above, a tokenizer's file or folder, or "clip" or "t5" for
 * the built-in vocabularies. Of the options encoder, tokenizer and tokens count; with tokens 0 each
 * text has as many as it needs, neither cut nor padded.
 *
 * @param out  JSON text, to be released by free():
 *             {"tokenizer": "clip", "texts": [{"ids": [49406, ...], "cut": "..." or null}, ...]}
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_tokenize_json(char **out, const char *path,
                                                          const char *const *texts, int64_t count,
                                                          const aleat_text_options *options,
                                                          aleat_error *err);

/** Writes token numbers [rows, columns] as an int32 .npy; the file appears whole or not at all. */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_ids_write(const char *path, const int32_t *ids,
                                                      int64_t rows, int64_t columns,
                                                      aleat_error *err);

#ifdef __cplusplus
}
#endif
#endif
