/*
 * Choosing among the images of a finished run: by their scores, at random, or by a list; as a new
 * run or as a list (docs/formats.md).
 */
#ifndef ALEAT_FILTER_H
#define ALEAT_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The scores of a run, scores.csv. */
typedef struct aleat_scores aleat_scores;

/** Opens RUN/scores.csv of a finished run; to be released by aleat_scores_close(). */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_scores_open(aleat_scores **out, const char *run,
                                                        aleat_error *err);
/** Accepts NULL. */
ALEAT_API void aleat_scores_close(aleat_scores *scores);
/** Images. */
ALEAT_API int64_t aleat_scores_count(const aleat_scores *scores);
/** Number of image `row`, as its file is named; 0 <= row < count. In a run that was filtered,
 * images keep their numbers. */
ALEAT_API int64_t aleat_scores_image(const aleat_scores *scores, int64_t row);
/** The i-th column that is a score; NULL beyond the last. */
ALEAT_API const char *aleat_scores_name(const aleat_scores *scores, int i);

/**
 * values [count] = a column, or a sum of columns: "x0-var", "-eps-var", "x0-var+0.5*cond-gap". A
 * single column without a factor is taken as it is, but for its sign; terms of a sum are z-scores,
 * (value - mean) / standard deviation over the run, so that their units do not matter.
 *
 * @return ALEAT_ERR_ARGUMENT: no such column (the message lists those there are), or a term of a
 * sum that is the same for all images
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_scores_values(double *values,
                                                          const aleat_scores *scores,
                                                          const char *expression, aleat_error *err);

/** Which images to keep. Zero-initialise; strings are borrowed. */
typedef struct aleat_filter_options {
    const char *keep; /**< "50000", "83%" or "5/6" (rounded down); NULL: all of the list */
    const char *by;   /**< an expression as above, or NULL */
    bool highest;     /**< keep the highest, not the lowest; ties by number, NaN last either way */
    bool random;      /**< instead of `by`: a random subset */
    uint64_t seed;
    /** Stratified by class: keep the same share of each class of the images to choose from, rounded
     * so that the sum is `keep` (largest remainders). ALEAT_ERR_ARGUMENT if one has no class. */
    bool within_classes;
    const char *list;    /**< a file of image numbers to choose from, or NULL: from all */
    const char *command; /**< what the user typed: run.json tells it behind RUN's own; or NULL */
} aleat_filter_options;

/** Rows of a run, ascending. Released by aleat_selection_clear(). */
typedef struct aleat_selection {
    int64_t count, of; /**< kept, and images of the run */
    int64_t *row;      /**< [count] */
    int64_t *image;    /**< [count] their numbers */
    double *score;     /**< [count] their values of `by`, or NULL */
} aleat_selection;

/** Chooses. ALEAT_ERR_ARGUMENT: options that do not fit together or the run. */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_run_select(aleat_selection *out,
                                                       const aleat_scores *scores,
                                                       const aleat_filter_options *options,
                                                       aleat_error *err);
/** Accepts NULL. */
ALEAT_API void aleat_selection_clear(aleat_selection *selection);

/** Writes the numbers of the images as a list: one a line, after a comment. The file appears whole
 * or not at all. */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_selection_write(const char *path,
                                                            const aleat_selection *selection,
                                                            aleat_error *err);

/**
 * Writes the chosen images of `run` as a run of their own: samples, maps, pictures, scores, a
 * contact sheet by rising score, and run.json with the settings of the run and of the choice.
 * Images keep their numbers. trajectory.npy is left behind. One image at a time is in memory.
 *
 * @param folder  new, or without a run.json; not `run` itself
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_run_filter(const char *run, const char *folder,
                                                       const aleat_selection *selection,
                                                       const aleat_filter_options *options,
                                                       aleat_error *err);

#ifdef __cplusplus
}
#endif
#endif
