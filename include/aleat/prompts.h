/*
 * Prompts of text-to-image models: through all text encoders of a model to what its network is
 * conditioned on. Models: Stable Diffusion 1.x and 2.x, Stable Diffusion 3 and 3.5, FLUX.1.
 */
#ifndef ALEAT_PROMPTS_H
#define ALEAT_PROMPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Text encoders that are not taken from the model. Zero-initialise. Strings are borrowed. */
typedef struct aleat_encoder_paths {
    const char *all; /**< a diffusers folder, or a file, that has them; NULL: the model's own */
    /** Single ones, which go before: the encoder's own file (clip_l.safetensors) or folder, or a
     * file that has it; or NULL. clip_l is also the only one of Stable Diffusion 1 and 2. */
    const char *clip_l, *clip_g, *t5;
    /** A diffusers folder with tokenizers, or one tokenizer's folder or file for models of one
     * encoder; NULL: those beside the encoders, or the published ones. */
    const char *tokenizer;
} aleat_encoder_paths;

/** What images are to show. Zero-initialise: defaults, but that prompts are needed. Everything is
 * borrowed for the call. */
typedef struct aleat_prompt_options {
    const char *const *prompts; /**< [count], UTF-8 */
    int64_t count;              /**< at least 1 */
    /** [n_negatives], UTF-8, of classifier-free guidance: none (""), one for all prompts, or as
     * many as prompts, one for each. */
    const char *const *negatives;
    int64_t n_negatives;
    double cfg_scale; /**< of it; 1: none; 0: as the model's own program does */
    double guidance;  /**< what networks distilled from guidance are told; 0: as their own program
                           does, 3.5 */
    aleat_encoder_paths encoders;
    int64_t clip_skip; /**< as in aleat_text_options; of Stable Diffusion 1 and 2 */
    bool no_t5;        /**< Stable Diffusion 3: zeros instead of its third encoder's states */
    int64_t t5_tokens; /**< 0: as the model's own program has it: 256, FLUX.1 dev 512 */
} aleat_prompt_options;

/** A prompt that did not fit. */
typedef struct aleat_prompt_cut {
    int64_t prompt; /**< which, from 0 */
    bool negative;  /**< of the negative ones */
    int encoder;    /**< which encoder's tokens it had too many of */
    int64_t tokens; /**< that were kept */
    char *rest;     /**< what was left out */
} aleat_prompt_cut;

/** Encoded prompts. Released by aleat_prompts_clear(). */
typedef struct aleat_prompts {
    aleat_array context, pooled, guidance;         /**< [count,...]; those that the network takes */
    aleat_array negative_context, negative_pooled; /**< [1 or count,...]; empty without guidance */
    aleat_texts texts, negative;                   /**< views of them, for aleat_run_options */
    double cfg_scale;                              /**< in effect; 1: none */
    aleat_prompt_cut *cuts;                        /**< [n_cuts] */
    int64_t n_cuts;
    double flop; /**< floating-point operations of the encoders */
} aleat_prompts;

/**
 * Encodes prompts for an open model, by its encoders or those of the options; not a weight of the
 * network is read. aleat_model_open_prompts() does this before the model is needed.
 *
 * @param out      released by aleat_prompts_clear()
 * @param options  variant, precision and threads are the encoders'; NULL: the defaults
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_encode_prompts(aleat_prompts *out,
                                                           const aleat_model *model,
                                                           const aleat_open_options *options,
                                                           const aleat_prompt_options *wanted,
                                                           aleat_error *err);

/**
 * Opens a model of texts for these prompts. Its text encoders are opened, run and closed one after
 * the other, layer by layer, before any weight of the network is read: both never lie in memory at
 * once.
 *
 * @param path     as for aleat_model_open()
 * @param options  as for aleat_model_open(); variant, precision and threads are the encoders', too
 * @return ALEAT_ERR_UNSUPPORTED: not a model of texts, or the option is none of its kind;
 *         ALEAT_ERR_ARGUMENT: it has not the encoders it needs, a prompt is not UTF-8, another
 *         number of negative prompts; others as
 *         aleat_model_open() and aleat_encode_text()
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_model_open_prompts(
    aleat_model **out, aleat_prompts *prompts, const char *path, const aleat_open_options *options,
    const aleat_prompt_options *wanted, aleat_error *err);
/** Accepts NULL and a cleared one. */
ALEAT_API void aleat_prompts_clear(aleat_prompts *prompts);

#ifdef __cplusplus
}
#endif
#endif
