/* What the two halves of the run folder share: run_folder.c fills it, run_finish.c reads it. */
#ifndef ALEAT_API_RUN_STATE_H
#define ALEAT_API_RUN_STATE_H

#include "api/run_folder.h"
#include "io/png_image.h"
#include "tensor/tensor.h"

/** The arrays of a shard as its file has them. */
enum {
    ALEAT_SHARD_OF_IMAGES,
    ALEAT_SHARD_OF_LABELS,
    ALEAT_SHARD_OF_MAPS,
    ALEAT_SHARD_OF_SUMS,
    ALEAT_SHARD_OF_STEP_MAPS,
    ALEAT_SHARD_OF_TRAJECTORY,
    ALEAT_SHARD_OF_X0,
    ALEAT_SHARD_OF_SIGNALS,
    ALEAT_SHARD_OF_CHANGES,
    ALEAT_SHARD_OF_CARRIED,
    ALEAT_SHARD_N_ARRAYS
};

/** Of a number of each image, over the run. */
typedef struct aleat_run_summary {
    double sum, low, high;
    int64_t n; /**< images that have it */
} aleat_run_summary;

struct aleat_run_folder {
    char *path;
    aleat_run_shape shape;
    json_t *settings;
    bool complete;
    bool *present; /**< [n_shards] */
    int64_t n_shards, current;
    aleat_shard shard;
    aleat_tensor arrays[ALEAT_SHARD_N_ARRAYS]; /**< behind shard */
    double *scores;                            /**< [n_maps,n] once finished */
    int64_t *labels;                           /**< [n] once finished */
    aleat_run_summary *signals;                /**< [n_signals] once finished */
    aleat_run_summary *changes;                /**< [n_guide_steps] once finished */
};

/** Name, type and shape of array `which` of a shard of `count` images; false: this run has none. */
bool aleat_shard_array(const aleat_run_shape *shape, int which, int64_t count, const char **name,
                       aleat_dtype *dtype, aleat_shape *dims);

/** Makes the arrays of a shard of images [first, first + count), and points `shard` at them. They
 * are the caller's to clear, on failure, too. */
ALEAT_MUST_USE aleat_status aleat_shard_new(aleat_shard *shard,
                                            aleat_tensor arrays[ALEAT_SHARD_N_ARRAYS],
                                            const aleat_run_shape *shape, int64_t first,
                                            int64_t count, aleat_error *err);
void aleat_shard_clear(aleat_tensor arrays[ALEAT_SHARD_N_ARRAYS]);

/** Path of a file in the folder, printf-like after the folder's own path; aleat_free(). */
char *aleat_run_path(const aleat_run_folder *folder, const char *fmt, ...) ALEAT_PRINTF(2, 3);
/** Path of shard i's file. */
char *aleat_shard_path(const aleat_run_folder *folder, int64_t i);

/** An image of [H,W,C] as something PNG can hold: grey or RGB. Channels beyond the third are left
 * out, of two channels the first is shown. `pixels` is borrowed unless *copy is set. */
ALEAT_MUST_USE aleat_status aleat_run_picture(aleat_image *out, const aleat_run_shape *shape,
                                              const uint8_t *pixels, aleat_error *err);

/** Removes every file of a sub-folder that fits a shell pattern; absent folders are fine. */
ALEAT_MUST_USE aleat_status aleat_run_remove(const aleat_run_folder *folder, const char *sub,
                                             const char *pattern, aleat_error *err);

#endif
