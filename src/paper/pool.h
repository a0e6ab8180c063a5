/*
 * A pool: images generated once for several items, of which scores and features are kept, and no
 * maps. It grows in shards, each a file that appears whole or not at all, so that an interrupted
 * command goes on; its name is a hash of all that decides its content.
 */
#ifndef ALEAT_PAPER_POOL_H
#define ALEAT_PAPER_POOL_H

#include "io/npy.h"
#include "paper/paper.h"

#define ALEAT_POOL_SCORES (ALEAT_RUN_MAPS + ALEAT_RUN_SIGNALS)

/** Zero-initialise. */
typedef struct aleat_pool {
    int64_t n;
    const char *estimator; /**< a name of aleat_estimator_name() */
    int n_scores, n_maps;  /**< the sums of maps come first, then the signals */
    char names[ALEAT_POOL_SCORES][40];
    double *scores;             /**< [n_scores,n]; NaN: none */
    int64_t n_steps;            /**< scored ones */
    int64_t first_step;         /**< the first of them */
    double *sums;               /**< [n,n_maps,n_steps] */
    int64_t n_guided;           /**< guided steps */
    double *changes;            /**< [n,n_guided] |e'-e| / |e| */
    int64_t *labels;            /**< [n]; -1: none */
    int64_t evaluations, extra; /**< for each image: by the sampler, and beside it for the maps */
    aleat_npy_map features;     /**< [n,D] f32, on disk */
} aleat_pool;

/** The images of `run`, made or found, with the maps of `estimator`, which is one of the run's. */
ALEAT_MUST_USE aleat_status aleat_pool_make(aleat_pool *out, const aleat_paper *paper,
                                            const aleat_run_options *run, const char *estimator,
                                            aleat_error *err);
/** Adds what of them is to be made to `work`. Shards are looked for, not read. */
ALEAT_MUST_USE aleat_status aleat_pool_add_work(aleat_paper_work *work, const aleat_paper *paper,
                                                const aleat_run_options *run, aleat_error *err);
/** Accepts NULL. */
void aleat_pool_clear(aleat_pool *pool);
/** The features; borrowed. */
const float *aleat_pool_features(const aleat_pool *pool);
int64_t aleat_pool_dim(const aleat_pool *pool);

#endif
