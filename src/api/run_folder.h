/*
 * A run folder: what a sampling run leaves on disk (docs/formats.md). Images are finished in shards
 * of a fixed number; a shard is one file that appears whole or not at all. When all shards are
 * there the final arrays, pictures and tables are made from them, run.json is written, and the
 * shards are removed. So a run that is killed at any moment goes on where it was, and ends in the
 * same bytes: nothing in a shard or made from it knows of clocks, machines, threads or batches.
 */
#ifndef ALEAT_API_RUN_FOLDER_H
#define ALEAT_API_RUN_FOLDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "aleat/status.h"
#include "text/generation.h"

/** Images in a shard: enough that the files are few, few enough that a kill costs little. */
#define ALEAT_SHARD_IMAGES 16
/** Kinds of map that one run may hold. */
#define ALEAT_RUN_MAX_MAPS 16
/** Numbers of each image beside the maps. */
#define ALEAT_RUN_MAX_SIGNALS 8

/** One kind of map. The text is borrowed and outlives the run. */
typedef struct aleat_run_map {
    const char *name;    /**< "eps-var"; also in file names */
    const char *file;    /**< name of its array: "uncertainty.npy" */
    const char *unit;    /**< for the legend, or NULL */
    const char *reading; /**< how its picture is read, for the sheet's headline; or NULL */
    bool is_error;       /**< a standard error: its sums over the steps add in squares */
} aleat_run_map;

/** What a run consists of. Everything is borrowed and outlives the run. */
typedef struct aleat_run_shape {
    int64_t n;                                         /**< images */
    int64_t channels, height, width;                   /**< of each state and map */
    int64_t image_channels, image_height, image_width; /**< of each picture: decoded latents are
                                                            larger than their states */
    bool carried; /**< pictures show a variance in the space of the images, not a map of states */
    int n_maps;   /**< 0: plain sampling */
    aleat_run_map maps[ALEAT_RUN_MAX_MAPS];
    int shown;                  /**< the map of the pictures, the order of the contact sheet */
    int64_t n_score_steps;      /**< steps that maps are accumulated over */
    const int64_t *score_steps; /**< [n_score_steps] numbers of these steps */
    bool keep_steps;            /**< also keep the map of each step */
    int64_t trajectory_states;  /**< states kept of each image, or 0 */
    int64_t x0_steps;           /**< predictions of x0 kept of each image, or 0 */
    int n_signals;              /**< numbers of each image beside the maps */
    const char *signals[ALEAT_RUN_MAX_SIGNALS]; /**< their names */
    int64_t n_guide_steps;                      /**< steps that are guided, from guide_begin on */
    int64_t guide_begin;
    uint64_t seed; /**< for scores.csv and the pictures' text */
    int64_t first; /**< number of the first image, as the pictures' text tells it */
    /** Settings as image tools read them, with the prompt of one that repeats over the images, in
     * settings["prompts"]; told without number and label. */
    const aleat_generation *generation;
} aleat_run_shape;

/** Arrays of one shard, C order; zeroed when begun, to be filled, owned by the folder. */
typedef struct aleat_shard {
    int64_t first, count; /**< images [first, first + count) of the run */
    uint8_t *images;      /**< [count,H,W,C] of the pictures */
    float *carried;       /**< [count,C,H,W] of the pictures, if the run has it, else NULL */
    int64_t *labels;      /**< [count]; -1: none */
    float *maps;          /**< [n_maps,count,C,H,W], accumulated over the scored steps */
    double *sums;         /**< [n_maps,count,n_score_steps]: each step's map summed up */
    float *step_maps;     /**< [n_maps,count,n_score_steps,C,H,W] if keep_steps, else NULL */
    float *trajectory;    /**< [count,trajectory_states,C,H,W], or NULL */
    float *x0;            /**< [count,x0_steps,C,H,W], or NULL */
    double *signals;      /**< [count,n_signals], or NULL; NaN: no such number */
    double *changes;      /**< [count,n_guide_steps], or NULL: |e'-e| / |e| of guidance */
} aleat_shard;

/** What to do if the folder already holds something. */
typedef enum aleat_resume {
    ALEAT_RESUME_AUTO,    /**< go on with a run of the same settings, refuse another one */
    ALEAT_RESUME_REQUIRE, /**< as AUTO, but refuse to begin a new one */
    ALEAT_RESUME_DISCARD  /**< throw away what is there and begin anew */
} aleat_resume;

typedef struct aleat_run_folder aleat_run_folder;

/**
 * Opens or makes a run folder.
 *
 * @param settings  a flat JSON object of everything that decides what the run will contain; copied
 * @return ALEAT_ERR_ARGUMENT: the folder holds a run of other settings; the message names the first
 *         setting that differs and both values
 */
ALEAT_MUST_USE aleat_status aleat_run_folder_open(aleat_run_folder **out, const char *path,
                                                  const aleat_run_shape *shape,
                                                  const json_t *settings, aleat_resume resume,
                                                  aleat_error *err);
void aleat_run_folder_free(aleat_run_folder *folder);

/** Has the run been finished, now or earlier? Then there is nothing left to do. */
bool aleat_run_folder_complete(const aleat_run_folder *folder);
int64_t aleat_run_folder_shards(const aleat_run_folder *folder);
/** Is shard `i` on disk? */
bool aleat_run_folder_has(const aleat_run_folder *folder, int64_t i);
/** Images in finished shards. */
int64_t aleat_run_folder_done(const aleat_run_folder *folder);

/** Begins shard `i`: the arrays to fill. One shard at a time. */
ALEAT_MUST_USE aleat_status aleat_run_folder_begin(aleat_run_folder *folder, int64_t i,
                                                   aleat_shard **shard, aleat_error *err);
/** Writes the shard's images and then the shard itself. */
ALEAT_MUST_USE aleat_status aleat_run_folder_commit(aleat_run_folder *folder, aleat_error *err);

/**
 * Makes the final files from the shards. `report` (may be NULL) is stored in run.json beside the
 * settings: hashes, seconds, whatever is not to decide a resume.
 */
ALEAT_MUST_USE aleat_status aleat_run_folder_finish(aleat_run_folder *folder, json_t *report,
                                                    aleat_error *err);

/** |e'-e| / |e| over the images and guided steps of a run that this call finished: 0 otherwise. */
void aleat_run_folder_changes(const aleat_run_folder *folder, double *mean, double *most);

/** Scores of a finished run: [n_maps * n], map by map, sums over the scored steps; borrowed. NULL
 * before the run is finished or if it has no maps. */
const double *aleat_run_folder_scores(const aleat_run_folder *folder);

#endif
