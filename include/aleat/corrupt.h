/*
 * Damaged images, and how well a model's scores tell them from whole ones.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ALEAT_CORRUPT_H
#define ALEAT_CORRUPT_H

#include <stdint.h>

#include "aleat/features.h"
#include "aleat/judge.h"
#include "aleat/model.h"
#include "aleat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A kind of damage. Strings are static. */
typedef struct aleat_corruption_facts {
    const char *name; /**< "blur" */
    const char *help; /**< one line, which says what the strength is */
    double strength;  /**< the usual one */
    double low, high; /**< strengths that there are */
} aleat_corruption_facts;

/** The i-th kind into *out; false (0) beyond the last. */
ALEAT_API int aleat_corruption_at(int i, aleat_corruption_facts *out);

/**
 * out [n,height,width,channels] = bytes of the images, damaged. What is random follows from (seed,
 * number of the image).
 *
 * @param name      a kind, or NULL: only their bytes
 * @param strength  0: the usual one
 * @return ALEAT_ERR_ARGUMENT: no such kind or strength, or "splice" of a single image
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_corrupt(uint8_t *out, const aleat_images *images,
                                                    const char *name, double strength,
                                                    uint64_t seed, aleat_error *err);

/** The experiment. Zero-initialise: defaults. Everything is borrowed for the call. */
typedef struct aleat_corruptions_options {
    aleat_judge_options judge; /**< how images are judged */
    /** "blur,noise=0.2": kinds with their strengths; NULL: each at its usual strength */
    const char *kinds;
    int64_t draws;     /**< resamples of the images for intervals; 0: no intervals */
    double confidence; /**< of the intervals; 0: 0.95 */
} aleat_corruptions_options;

/** How well a score tells damaged images from whole ones. */
typedef struct aleat_corruptions_row {
    char kind[32];   /**< of the damage; "all": any of them */
    double strength; /**< NaN of "all" */
    char score[32];  /**< a column of scores.csv */
    double auroc;    /**< 1: damaged images always score higher; of the score with the other
                          sign 1 - auroc */
    double auroc_low, auroc_high; /**< its interval; NaN: none */
    double mean_whole, mean_damaged;
} aleat_corruptions_row;

/** What came out. Released by aleat_corruptions_clear(). */
typedef struct aleat_corruptions_result {
    int64_t n,
        evaluations; /**< images of each set, and evaluations of the network for each image */
    int64_t n_rows;
    aleat_corruptions_row *rows; /**< kind by kind */
} aleat_corruptions_result;

/**
 * Judges the first n images whole and with every kind of damage (aleat_model_judge(), a folder each
 * inside `folder`, with the same noise), and writes corruptions.csv and corruptions.json: the area
 * under the ROC curve of each score, with bootstrap intervals over images, each drawn together with
 * its damaged copies. Goes on where it was interrupted.
 *
 * @param result  filled on success; may be NULL
 * @note  costs as many judgements as there are kinds, and one
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_model_corruptions(
    aleat_model *model, const aleat_images *images, const char *folder,
    const aleat_corruptions_options *options, aleat_corruptions_result *result, aleat_error *err);
/** Accepts NULL. */
ALEAT_API void aleat_corruptions_clear(aleat_corruptions_result *result);

#ifdef __cplusplus
}
#endif
#endif
