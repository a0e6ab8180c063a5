/*
 * Text encoders: prompts to the arrays that text-to-image networks are conditioned on. An encoder
 * is run part by part over all prompts, and a part's weights are packed, used once and dropped, so
 * that a 10 GB encoder needs the memory of one of its layers. Open, encode all prompts of a run,
 * close.
 */
#ifndef ALEAT_MODELS_TEXT_ENCODER_H
#define ALEAT_MODELS_TEXT_ENCODER_H

#include "graph/plan.h"
#include "text/tokenizer.h"

typedef struct aleat_text_encoder aleat_text_encoder;

/** The part that an encoder plays in a model, which the files of an encoder alone do not say. */
typedef enum aleat_text_use {
    ALEAT_TEXT_AS_FOUND,   /**< what the file, or the pipeline around the folder, says */
    ALEAT_TEXT_CLIP,       /**< CLIP-L of Stable Diffusion 1 and FLUX.1, or OpenCLIP-H of 2 */
    ALEAT_TEXT_T5,         /**< of FLUX.1 */
    ALEAT_TEXT_SD3_CLIP_L, /**< the three of Stable Diffusion 3 */
    ALEAT_TEXT_SD3_CLIP_G,
    ALEAT_TEXT_SD3_T5,
    ALEAT_TEXT_SD2_CLIP, /**< follows from OpenCLIP's names, nobody asks for it */
} aleat_text_use;

/** Zero-initialised: defaults. Strings are borrowed for the call. */
typedef struct aleat_text_encoder_options {
    const char *variant; /**< "fp16": which weight files of a folder; NULL: first found */
    /** A tokenizer file or folder, or a pipeline's folder, to use instead of the model's own (or,
     * for a single file, the built-in) vocabulary; NULL: none. */
    const char *tokenizer;
    int64_t heads; /**< of a CLIP encoder without a configuration; 0: width / 64 */
    int threads;   /**< 0: all processors; changes no result */
    aleat_precision precision;
    aleat_text_use use; /**< what it is wanted for: which one of a file, and how it is used */
} aleat_text_encoder_options;

/** Which encoders a model has: bit n-1 for number n (1 .. 3). 0: none, or no model. Cheap. */
unsigned aleat_text_encoders_in(const char *path);
/** *out: whether `path` has what aleat_text_encoder_open() would open as this number for this use;
 * no if it cannot be read. ALEAT_ERR_MEMORY only. */
ALEAT_MUST_USE aleat_status aleat_text_encoder_is_in(bool *out, const char *path, int number,
                                                     aleat_text_use use, aleat_error *err);

/**
 * Opens encoder `number` of a model: text_encoder/, text_encoder_2/, text_encoder_3/ of a diffusers
 * folder with the tokenizers beside them; of an original Stable Diffusion file (1.x, 2.x: number 1)
 * or an original Stable Diffusion 3 file (1: CLIP-L, 2: OpenCLIP-G, 3: T5), with the built-in
 * vocabularies; or an encoder's own folder or file, as number 1 or for a use that is told. With a
 * use a file may be any that has such an encoder; the number then says which tokenizer is meant.
 * Every tensor is checked here. ALEAT_ERR_ARGUMENT: there is no such encoder; _FORMAT, _SHAPE,
 * _UNSUPPORTED, _IO, _MEMORY name the file and what is wrong in it.
 */
ALEAT_MUST_USE aleat_status aleat_text_encoder_open(aleat_text_encoder **out, const char *path,
                                                    int number,
                                                    const aleat_text_encoder_options *options,
                                                    aleat_error *err);
void aleat_text_encoder_free(aleat_text_encoder *encoder);

/**
 * Only the tokenizer of encoder `number`, of the same kinds of models; or a tokenizer's own file or
 * folder; or "clip" or "t5", unless there is such a file: the built-in vocabularies.
 */
ALEAT_MUST_USE aleat_status aleat_text_tokenizer_open(aleat_tokenizer **out, const char *path,
                                                      int number, aleat_error *err);

/** What an encoder is, and how the model it belongs to wants it used. */
typedef struct aleat_text_encoder_facts {
    const char *family;    /**< "clip", "t5" */
    int64_t width, pooled; /**< channels of a token, and of what is pooled (0: nothing is) */
    int64_t layers, vocab;
    int64_t tokens; /**< how many the model feeds it: 77, or 256 (SD3's T5), 512 (FLUX.1-dev's) */
    int64_t skip;   /**< last layers that the model leaves out of `hidden` */
    bool normed;    /**< whether the final norm comes behind them */
    bool projected; /**< what is pooled goes through a projection */
} aleat_text_encoder_facts;
aleat_text_encoder_facts aleat_text_encoder_describe(const aleat_text_encoder *encoder);
/** Borrowed from the encoder. */
const aleat_tokenizer *aleat_text_encoder_tokenizer(const aleat_text_encoder *encoder);

/** What to encode. */
typedef struct aleat_text_request {
    const char *const *prompts; /**< UTF-8, [count]; borrowed */
    int64_t count;
    int64_t tokens; /**< of each: longer ones are cut, shorter ones padded; at least 2 */
    int64_t skip;   /**< last layers left out of `hidden`: 0 .. layers - 1 */
    bool normed;    /**< with the final norm */
    bool pooled; /**< also the pooled state: of all layers, with the final norm, at the end of the
                    text, projected if the encoder has a projection */
} aleat_text_request;

/** The result; release with aleat_text_states_clear(). */
typedef struct aleat_text_states {
    int64_t count, tokens, width, pooled_width;
    int32_t *ids;  /**< [count, tokens] */
    float *hidden; /**< [count, tokens, width] */
    float *pooled; /**< [count, pooled_width], or NULL */
    char **cut;    /**< [count] the text that was left out of a prompt, or NULL */
    double flop;   /**< floating-point operations of all parts that were run */
} aleat_text_states;

/**
 * Encodes prompts. Padding is attended to, as the published pipelines do. A prompt's result does
 * not depend on the others. ALEAT_ERR_ARGUMENT: a prompt is not UTF-8, too many tokens or layers, a
 * token that the encoder does not know, or nothing to pool.
 */
ALEAT_MUST_USE aleat_status aleat_text_encode(const aleat_text_encoder *encoder,
                                              const aleat_text_request *request,
                                              aleat_text_states *out, aleat_error *err);
void aleat_text_states_clear(aleat_text_states *states);

#endif
