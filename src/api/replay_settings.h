/* What a PNG file says of how its image was made: by us, or by another image generator. */
#ifndef ALEAT_API_REPLAY_SETTINGS_H
#define ALEAT_API_REPLAY_SETTINGS_H

#include "aleat/prompts.h"
#include "aleat/run.h"
#include "aleat/vae.h"
#include "io/json.h"
#include "text/generation.h"

#define ALEAT_REPLAY_REMARKS 64

/** Zero-initialise; release with aleat_image_settings_clear(). Text is borrowed from `own` or
 * `foreign`. */
typedef struct aleat_image_settings {
    const char *source;       /**< "aleat", or as in aleat_generation; static */
    aleat_json own;           /**< our chunk; root NULL: another program's settings */
    aleat_generation foreign; /**< theirs */
    const char *weights, *weights_sha256, *plan_sha256; /**< NULL: not told */
    const char *precision;                              /**< NULL: f32 */
    const char *prompt;                                 /**< NULL: not a model of texts */
    const char *negative;                               /**< or NULL */
    bool many_prompts; /**< of a run of several: no hashes of this one's states are told */
    aleat_prompt_options prompts; /**< without the prompt itself */
    aleat_run_options run;        /**< without arrays and what must be opened */
    aleat_vae_options vae;
    bool decoded;                        /**< by an autoencoder */
    int64_t height, width;               /**< of the network's states */
    bool size_of_image;                  /**< no: of the image */
    int64_t label;                       /**< -1: none */
    char *missing[ALEAT_REPLAY_REMARKS]; /**< what is not told, or not followed; owned */
    int n_missing;
} aleat_image_settings;

/** ALEAT_ERR_FORMAT: there are none, or they are damaged; _IO, _MEMORY. */
ALEAT_MUST_USE aleat_status aleat_image_settings_read(aleat_image_settings *out, const char *png,
                                                      aleat_error *err);
void aleat_image_settings_clear(aleat_image_settings *settings);

#endif
