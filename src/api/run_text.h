/* What a run's images are conditioned on if the model takes texts, and what is told of it. */
#ifndef ALEAT_API_RUN_TEXT_H
#define ALEAT_API_RUN_TEXT_H

#include <jansson.h>

#include "aleat/run.h"
#include "api/model_state.h"
#include "api/texts.h"
#include "text/generation.h"

/** Zero-initialise. Points into the caller's arrays. */
typedef struct aleat_run_texts {
    aleat_text_list positive, negative; /**< [rows], [1 or rows] */
    int64_t rows;                       /**< 0: the model takes none */
    bool own_negatives;                 /**< each text has a negative one of its own */
} aleat_run_texts;

/** The texts of the options, if they fit the model. */
ALEAT_MUST_USE aleat_status aleat_run_texts_make(aleat_run_texts *out, const aleat_model *model,
                                                 const aleat_run_options *options,
                                                 aleat_error *err);
void aleat_run_texts_clear(aleat_run_texts *texts);

/** Adds the texts of an image, by its place in the run, to row `row` of a batch: into `at` and
 * `negatives` [rows of the batch], which the condition then points to; nothing if there are none.
 */
void aleat_run_texts_of(const aleat_run_texts *texts, int64_t place, int64_t row,
                        const aleat_text **at, const aleat_text **negatives,
                        aleat_condition *condition);

/** What the options tell of texts, into the settings of a run; false: no memory. */
bool aleat_run_texts_settings(json_t *settings, const aleat_run_options *options);
/** The settings of one image are those of its run, but that only its own prompt is told; false: no
 * memory. */
bool aleat_run_texts_settings_of(json_t *settings, int64_t image);

/** What A1111's web UI calls a sampler of ours, which is where other programs' readers know it
 * from; our own name if it has none. */
const char *aleat_sampler_known_as(const char *sampler);
/** The sampler of ours that A1111's "Sampler" means ("DPM++ 2M Karras" too), NULL if none;
 * *karras: whether the name says so. */
const char *aleat_sampler_called(const char *name, bool *karras);

#endif
