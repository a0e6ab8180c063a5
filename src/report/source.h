/*
 * A finished run folder, opened for a page: settings and scores in memory, images and maps to be
 * read by rows. What a run did not keep is absent; what is there and does not fit is an error.
 */
#ifndef ALEAT_REPORT_SOURCE_H
#define ALEAT_REPORT_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "io/json.h"
#include "io/npy.h"
#include "io/score_table.h"
#include "uncertainty/estimator.h"
#include "uncertainty/map_image.h"

#define ALEAT_SOURCE_MAX_MAPS 16

/** A map: any array of the folder that is shaped like the images. */
typedef struct aleat_source_map {
    char *name;                       /**< "x0-var": its file's name, but for uncertainty.npy */
    char *file;                       /**< "x0-var.npy" */
    const aleat_statistic *statistic; /**< NULL: not one of this library's */
    aleat_npy_reader *sum;            /**< [N,C,H,W] */
    aleat_npy_reader *steps;          /**< [N,S,C,H,W], or NULL */
    int error;                        /**< the map of its standard errors ("x0-var-se"), or -1 */
    aleat_colour_scale scale;         /**< of sum, one for the run */
} aleat_source_map;

/** A column of scores.csv, one number an image. */
typedef struct aleat_source_score {
    char *name;
    double *values; /**< [n] */
} aleat_source_score;

typedef struct aleat_source {
    char *path;
    char *name; /**< the folder's own name */
    aleat_json json;
    json_t *settings; /**< borrowed from json */
    int64_t n, channels, height, width;
    aleat_npy_reader *images; /**< [N,H,W,C] u8 */
    int64_t *labels;          /**< [n]; -1: none */
    double *numbers;          /**< [n]: the images' numbers in their run */
    aleat_source_map maps[ALEAT_SOURCE_MAX_MAPS];
    int n_maps, shown;    /**< shown: of the pictures; -1: there are no maps */
    int64_t n_steps;      /**< S of the maps' steps, 0: none kept */
    int64_t first_step;   /**< sampling step of the first of them */
    aleat_npy_reader *x0; /**< [N,steps,C,H,W] x0 as predicted at each step, or NULL */
    int64_t n_x0;
    aleat_score_table *table; /**< scores.csv, or NULL; its rows are as many as the images */
    aleat_source_score *scores;
    int n_scores;
} aleat_source;

/** Zero-initialise *source; to be released by aleat_source_clear() whatever comes back. */
ALEAT_MUST_USE aleat_status aleat_source_open(aleat_source *source, const char *folder,
                                              aleat_error *err);
void aleat_source_clear(aleat_source *source);

/** Channels of its pictures: 1 (grey) or 3. Of latents and the like only the first are shown. */
int aleat_source_picture_channels(const aleat_source *source);
/** dst [H,W,picture channels] = image i. `scratch`: [H,W,C]. */
ALEAT_MUST_USE aleat_status aleat_source_picture(const aleat_source *source, int64_t i,
                                                 uint8_t *dst, uint8_t *scratch, aleat_error *err);

/** Splits "x0-var@45" at the last '@': the length of "x0-var", 0 if it is not of this form. */
size_t aleat_step_column(const char *name, int64_t *step);

#endif
