/* The inside of a plan: plan.c makes it, plan_run.c runs it; only these include it. */
#ifndef ALEAT_GRAPH_PLAN_STATE_H
#define ALEAT_GRAPH_PLAN_STATE_H

#include "graph/plan.h"
#include "graph/step.h"

/** The part of a plan that depends on the condition, and on parameters, alone. */
enum { ALEAT_EARLY = -1 };

/** A step that sums over the batch. */
typedef struct aleat_sum_step {
    int64_t step;
    double flop;
} aleat_sum_step;

struct aleat_plan {
    aleat_engine *engine;
    int64_t images;
    aleat_step *steps;
    int64_t n_steps;
    aleat_view *views; // one a node of the graph at planning time; data is NULL if it has none
    int64_t n_views;
    aleat_arena values, scratch; // scratch is for one step at a time
    char *kept; // values that depend on the condition alone, and conditions: never shared
    aleat_view *conditioned; // of `kept`, those that later halves read; one row an image
    int64_t n_conditioned;
    int64_t distinct;   // conditions, for which the early steps are to be run; 0: they have been
    int32_t *condition; // [images] which one of them
    size_t arena_bytes, kept_bytes, scratch_bytes; // that this plan needs
    int64_t n_slices, slice; // parts of the batch that run one by one; images of the largest
    int lanes;               // threads that run them, each with values and scratch of its own
    size_t lane_bytes, lane_scratch; // of a lane, of which `values` has its own at the end
    aleat_sum_step *sums; // [n_sums] steps of level 1 of a sliced plan, the longest first
    int64_t n_sums;
    size_t resident;       // bytes of files that the steps since the last rest have touched
    aleat_plan_pool *pool; // which then owns values and scratch; or NULL
    aleat_plan *next;      // of the pool
    double flop;
    bool drops; // dropout is an operation, not the identity
    uint64_t dropout_seed;
    uint32_t dropout_step, *dropout_images, *dropout_passes; // [images]
};

/** Whether a step is run for each slice, or once for the batch: before all slices, since what it
 * reads depends on no image, or behind them, since it is a sum over images. */
static inline bool aleat_step_is_sliced(const aleat_plan *plan, const aleat_step *step)
{
    return plan->n_slices > 1 && step->half != ALEAT_EARLY && step->images > 1 && step->level == 0;
}

#endif
