/*
 * The tables and figures of arXiv 2412.00205 on any model: from nothing to numbers with intervals,
 * tables and plots in a folder (docs/paper.md).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ALEAT_PAPER_H
#define ALEAT_PAPER_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/model.h"
#include "aleat/run.h"
#include "aleat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The i-th table or figure, with one line of explanation in *help (which may be NULL); NULL beyond
 * the last. */
ALEAT_API const char *aleat_paper_item_name(int i, const char **help);

/** Images that a call makes, over all settings of the item; those of earlier calls are not counted.
 */
typedef struct aleat_paper_work {
    int64_t images;     /**< to make, at least 1 */
    double images_made; /**< so far */
    double cost;        /**< of all of them, in evaluations of the network; a product with its
                             Jacobian counts as two */
    double cost_made;
    double seconds; /**< since the first was begun, but for what is done between sets of images */
} aleat_paper_work;

/** What to reproduce, and how far. Zero-initialise: the paper's numbers where there are any.
 * Everything is borrowed for the call. */
typedef struct aleat_paper_options {
    const char *data;  /**< real images: a set as aleat_image_set_open() takes it */
    const char *split; /**< of it; NULL: "test". "all": sets that have no parts */
    const char *network, *layer, *preparation; /**< of the features, as aleat_features_open() */
    const char *estimators; /**< names from aleat_estimator_name(), with commas; NULL:
                                 "copies,mc-dropout" */
    int64_t laplace_images; /**< what bayesdiff and generative draw on is fitted to so many training
                                 images of `data`; 0: 1000 */
    /**
     * Of these count: n (images generated; at least 4), sampling, seed, rng, labels (NULL: drawn
     * uniformly by the seed from the classes there are), batch,
     * score_steps, copies, clip, cfg_scale, statistic, compat, percentile (0: 0.95), guide_steps,
     * gradient, classifier, decoder, command. Which steps are scored, and whether anything is
     * guided, is the item's business.
     */
    aleat_run_options run;
    double keep;             /**< share of the images that filtering keeps; 0: 5/6 */
    int64_t subsets;         /**< random subsets of as many; 0: 20 */
    int64_t draws;           /**< resamples for each interval; 0: 100 */
    double confidence;       /**< of the intervals; 0: 0.95 */
    const double *strengths; /**< [n_strengths] of guidance (table3); none: 1 */
    int64_t n_strengths;
    bool control;          /**< guide in random directions, too: moves of the same sizes (table3) */
    const int64_t *copies; /**< [n_copies] M to compare (table5: 5, 20; fig11: 5, 10, 20) */
    int64_t n_copies;
    int64_t repeats;  /**< pairs of timings (table5); 0: 5 */
    int64_t shard;    /**< images of a shard, which a kill loses at most; 0: by their size, 500 of
                           32 x 32; changes no number */
    bool keep_images; /**< keep all images, as .npz (docs/formats.md) */
    int threads;      /**< of distances; 0: all processors; changes no result */

    /** Called now and then with what is being done and how far it is; returning false stops with
     * ALEAT_ERR_CANCELLED. May be NULL. */
    bool (*progress)(void *ctx, const char *what, double done, double total);
    /** Called before the first image is made, and then before each progress("images", ..). May be
     * NULL. */
    void (*work)(void *ctx, const aleat_paper_work *work);
    void *ctx; /**< of both */
} aleat_paper_options;

/**
 * Makes a table or figure: ITEM.md, ITEM.json, ITEM.csv and, of items with a plot, ITEM.png and
 * ITEM.svg in `folder`. What it generates stays there and is shared by items of the same settings;
 * interrupted at any moment, the same call goes on and ends in the same bytes (but for timings).
 * All methods and settings start from the same noise. No map is stored.
 *
 * @param item    a name from aleat_paper_item_name()
 * @param folder  new, empty, or one that this function has made
 * @return as aleat_model_generate(), aleat_features_open() and aleat_image_set_open();
 *         ALEAT_ERR_ARGUMENT: options that do not fit, or a folder with something else in it
 * @note   memory: one batch of images, a covariance for each thread, scores of all images;
 *         features are read from disk
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_model_paper(aleat_model *model, const char *item,
                                                        const char *folder,
                                                        const aleat_paper_options *options,
                                                        aleat_error *err);

/**
 * Writes one Markdown document about folders of aleat_model_paper(): settings, commands, the most
 * telling rows of each item, its figures, and sentences that follow from the numbers by the rules
 * that the document states. No model is evaluated. Items that are not there are told as missing.
 * The same files give the same bytes.
 *
 * @param folders [n], n >= 1; the document calls them as they are given
 * @param path    the document; it appears whole or not at all, and refers to figures by their place
 *                relative to it
 * @return ALEAT_ERR_ARGUMENT: a folder that is none of aleat_model_paper(); ALEAT_ERR_FORMAT: an
 *         ITEM.json that it has not written (the message names file, row and key); ALEAT_ERR_IO
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_paper_summary(const char *const *folders, int64_t n,
                                                          const char *path, aleat_error *err);

#ifdef __cplusplus
}
#endif
#endif
