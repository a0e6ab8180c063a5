/* The estimators that items compare, and what some of them need first. */
#ifndef ALEAT_PAPER_RIVALS_H
#define ALEAT_PAPER_RIVALS_H

#include "paper/pool.h"

/** Whether --estimators asks for it. */
bool aleat_paper_wants(const aleat_paper *paper, const char *estimator);
/** The run of estimator `name`: scored, unguided, otherwise as the options say. */
aleat_run_options aleat_paper_scored_run(const aleat_paper *paper, const char *estimator);
/** The run whose images are scored by it: the same, or one that gives the maps of all estimators in
 * paper->shared, as their images are the same. */
aleat_run_options aleat_paper_pool_run(const aleat_paper *paper, const char *estimator);
/** Finds paper->shared: what looks at single states, if the network can do all that is wanted. */
ALEAT_MUST_USE aleat_status aleat_paper_share(aleat_paper *paper, aleat_error *err);
/** Whether an estimator before it has the same images made. */
bool aleat_paper_follows(const aleat_paper *paper, const char *estimator);

/** Fits what the wanted estimators draw on, unless the folder has it: of the data's training part,
 * in OUT/laplace-HASH.safetensors. */
ALEAT_MUST_USE aleat_status aleat_paper_fit(aleat_paper *paper, aleat_error *err);

/** Does one estimator's part of an item. */
typedef aleat_status aleat_paper_part(void *ctx, const char *estimator, aleat_error *err);
/** `part` for each estimator that is wanted. What the network cannot do (ALEAT_ERR_UNSUPPORTED)
 * becomes a row that says so, with the keys "estimator" and "remark"; not so of the copies. */
ALEAT_MUST_USE aleat_status aleat_paper_each(aleat_paper *paper, aleat_paper_part *part, void *ctx,
                                             aleat_error *err);
/** The same with the estimator's pool of images. `first`: whether it is the first one, which tells
 * the signals of all of them. */
typedef aleat_status aleat_pool_part(void *ctx, const aleat_pool *pool, bool first,
                                     aleat_error *err);
ALEAT_MUST_USE aleat_status aleat_paper_each_pool(aleat_paper *paper, aleat_pool_part *part,
                                                  void *ctx, aleat_error *err);

/** Whether a score of the pool is to be told: its own ones, and with `signals` the others, if they
 * tell images apart. */
bool aleat_pool_tells(const aleat_pool *pool, int score, bool signals);
/** Evaluations beside sampling that a score costs: signals are free. */
int64_t aleat_pool_cost(const aleat_pool *pool, int score);

#endif
