/*
 * From a graph to something that runs: the engine holds what all plans of a graph share (packed
 * weights, kernels, threads), a plan is one program for one batch size: steps in order, one arena,
 * no allocation when run.
 */
#ifndef ALEAT_GRAPH_PLAN_H
#define ALEAT_GRAPH_PLAN_H

#include "base/arena.h"
#include "base/cpu.h"
#include "graph/graph.h"

typedef enum aleat_precision {
    ALEAT_PRECISION_F32,
    ALEAT_PRECISION_BF16, /**< matrix products may take bf16 factors; sums, norms and softmax stay
                             f32 */
} aleat_precision;

typedef struct aleat_engine_options {
    int threads;               /**< 0: all processors of this process */
    aleat_precision precision; /**< BF16 on a processor without it: an error */
    int64_t memory; /**< bytes of a plan's values and scratch beyond which they lie in a temporary
                         file (base/arena.h), of which about as much is in memory; 0: never. Changes
                         no result. */
    bool training;  /**< dropout drops (aleat_plan_dropout()) instead of being the identity,
                         and the batch is taken to be large */
    bool
        sizes_only; /**< no weight is read: plans tell their sizes and operations, and cannot run */
    bool isa_given; /**< use `isa` instead of the best one (tests) */
    aleat_isa isa;
} aleat_engine_options;

typedef struct aleat_engine aleat_engine;
typedef struct aleat_plan aleat_plan;

/** The graph is borrowed and must outlive the engine; it may still grow between plans. */
ALEAT_MUST_USE aleat_status aleat_engine_new(aleat_engine **out, const aleat_graph *graph,
                                             const aleat_engine_options *options, aleat_error *err);
void aleat_engine_free(aleat_engine *engine);
int aleat_engine_threads(const aleat_engine *engine);
/** After the caller changed the memory behind the graph's tensors (training): brings every form of
 * them up to date. */
ALEAT_MUST_USE aleat_status aleat_engine_refresh(aleat_engine *engine, aleat_error *err);
/** Bytes of packed weights so far. */
size_t aleat_engine_weight_bytes(const aleat_engine *engine);

/**
 * A program that computes `wanted` values for `images` images. `late` is an input that is fed
 * between two halves of a run (the cotangent of reverse mode), or ALEAT_NO_VALUE.
 */
ALEAT_MUST_USE aleat_status aleat_plan_new(aleat_plan **out, aleat_engine *engine, int64_t images,
                                           const aleat_value *wanted, int n_wanted,
                                           aleat_value late, aleat_error *err);
/** The same of an engine that does not train, but dropout drops: aleat_plan_dropout(). */
ALEAT_MUST_USE aleat_status aleat_plan_new_dropping(aleat_plan **out, aleat_engine *engine,
                                                    int64_t images, const aleat_value *wanted,
                                                    int n_wanted, aleat_value late,
                                                    aleat_error *err);
void aleat_plan_free(aleat_plan *plan);

/**
 * Memory that plans of which only one runs at a time have in common: as much as the largest of them
 * needs. What a plan has computed is lost when another one of the pool runs. Zero-initialise.
 */
typedef struct aleat_plan_pool {
    aleat_arena values, scratch;
    aleat_plan *plans; /**< that use it */
} aleat_plan_pool;

/** Moves a new plan into a pool, which outlives it. Pointers from aleat_plan_data() of the pool's
 * plans are void then. */
void aleat_plan_share(aleat_plan *plan, aleat_plan_pool *pool);
static inline size_t aleat_plan_pool_bytes(const aleat_plan_pool *pool)
{
    return pool->values.bytes + pool->scratch.bytes;
}
/** Releases its memory; its plans must be gone. */
void aleat_plan_pool_clear(aleat_plan_pool *pool);

/** Where to put an input before a run, or find a wanted value after it: [images,h,w,c], dense. */
float *aleat_plan_data(const aleat_plan *plan, aleat_value value);

/**
 * Says that the condition inputs were fed anew, for the first `distinct` images of the plan, and
 * that image i is conditioned as row[i] of those, row[i] <= i. The next run computes what depends
 * on them alone, once for each of the distinct ones; until then nothing of it is computed again.
 * Without this call the first run takes them as they are, one for each image.
 */
void aleat_plan_condition(aleat_plan *plan, int64_t distinct, const int32_t *row);

/**
 * Runs the steps that do not depend on the late input (half 0) or those that do (half 1). Inputs
 * stay as they were fed; half 1 may be run several times after one run of half 0.
 */
void aleat_plan_run(aleat_plan *plan, int half);

/** Names the masks of the next runs of a plan that drops: by seed, step, dropout operation, and the
 * number and pass (below 2^12; NULL: 0) of each image of the plan. Copied. */
void aleat_plan_dropout(aleat_plan *plan, uint64_t seed, uint32_t step, const uint32_t *images,
                        const uint32_t *passes);

/** Bytes of the arena and of scratch, its own or what it needs of its pool. Of n images it takes at
 * most n times those of one. */
size_t aleat_plan_bytes(const aleat_plan *plan);
/** Nominal floating-point operations of a run (2 a multiply-add of convolutions, linear layers and
 *  attention as written, whatever algorithm computes them), per image. */
double aleat_plan_flop(const aleat_plan *plan);

#endif
