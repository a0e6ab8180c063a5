/* Running a plan: its memory, alone or in a pool or a file, its steps, slice by slice or for the
 * whole batch. */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/parallel.h"
#include "graph/engine.h"
#include "graph/plan_state.h"

/* ---- pools ------------------------------------------------------------------------------------
 */

/** Moves a view that lies in the plan's arena; those of parameters lie elsewhere. */
static void move_view(const aleat_plan *plan, aleat_view *view, char *arena)
{
    const uintptr_t at = (uintptr_t)view->data, begin = (uintptr_t)plan->values.data;
    if (view->data && at >= begin && at < begin + plan->arena_bytes)
        view->data = (float *)(void *)(arena + (at - begin));
}

static void move_values(aleat_plan *plan, const aleat_arena *values)
{
    char *arena = values->data;
    for (int64_t i = 0; i < plan->n_steps; i++) {
        aleat_step *s = &plan->steps[i];
        aleat_view *const views[] = {&s->out, &s->side, &s->vec, &s->residual, &s->scale_shift};
        for (int j = 0; j < ALEAT_NODE_INPUTS; j++)
            move_view(plan, &s->in[j], arena);
        for (size_t j = 0; j < sizeof views / sizeof *views; j++)
            move_view(plan, views[j], arena);
    }
    for (int64_t v = 0; v < plan->n_views; v++)
        move_view(plan, &plan->views[v], arena);
    plan->values = *values;
}

static void leave_pool(aleat_plan *plan)
{
    aleat_plan **at = &plan->pool->plans;
    while (*at != plan)
        at = &(*at)->next;
    *at = plan->next;
}

void aleat_plan_share(aleat_plan *plan, aleat_plan_pool *pool)
{
    // The larger memory of both serves; the other is released when nothing points to it.
    const bool more_values = plan->values.bytes > pool->values.bytes;
    const bool more_scratch = plan->scratch.bytes > pool->scratch.bytes;
    aleat_arena values_left = more_values ? pool->values : plan->values;
    aleat_arena scratch_left = more_scratch ? pool->scratch : plan->scratch;
    plan->pool = pool;
    plan->next = pool->plans;
    pool->plans = plan;
    if (more_values)
        pool->values = plan->values;
    if (more_scratch)
        pool->scratch = plan->scratch;
    for (aleat_plan *p = plan; p; p = p->next) {
        move_values(p, &pool->values);
        p->scratch = pool->scratch;
    }
    aleat_arena_free(&values_left);
    aleat_arena_free(&scratch_left);
}

void aleat_plan_pool_clear(aleat_plan_pool *pool)
{
    aleat_arena_free(&pool->values);
    aleat_arena_free(&pool->scratch);
    *pool = (aleat_plan_pool){0};
}

void aleat_plan_free(aleat_plan *plan)
{
    if (!plan)
        return;
    if (plan->pool)
        leave_pool(plan);
    else {
        aleat_arena_free(&plan->values);
        aleat_arena_free(&plan->scratch);
    }
    aleat_free(plan->kept);
    aleat_free(plan->conditioned);
    aleat_free(plan->condition);
    aleat_free(plan->views);
    aleat_free(plan->steps);
    aleat_free(plan->sums);
    aleat_free(plan->dropout_images);
    aleat_free(plan->dropout_passes);
    aleat_free(plan);
}

void aleat_plan_dropout(aleat_plan *plan, uint64_t seed, uint32_t step, const uint32_t *images,
                        const uint32_t *passes)
{
    for (int64_t i = 0; i < plan->images; i++)
        plan->dropout_passes[i] = passes ? passes[i] : 0;
    plan->dropout_seed = seed;
    plan->dropout_step = step;
    memcpy(plan->dropout_images, images, (size_t)plan->images * sizeof *images);
}

float *aleat_plan_data(const aleat_plan *plan, aleat_value value)
{
    return value >= 0 && value < plan->n_views ? plan->views[value].data : NULL;
}

size_t aleat_plan_bytes(const aleat_plan *plan)
{
    return plan->arena_bytes + plan->kept_bytes + plan->scratch_bytes;
}

double aleat_plan_flop(const aleat_plan *plan)
{
    return plan->flop;
}

void aleat_plan_condition(aleat_plan *plan, int64_t distinct, const int32_t *row)
{
    plan->distinct = distinct;
    memcpy(plan->condition, row, (size_t)plan->images * sizeof *row);
}

/** Gives every image what was computed for its condition. From the last image down: a condition's
 * own place is that of an image which is not after the first that has it. */
static void spread_conditions(const aleat_plan *plan)
{
    for (int64_t v = 0; v < plan->n_conditioned; v++) {
        const aleat_view *view = &plan->conditioned[v];
        for (int64_t i = plan->images - 1; i >= 0; i--)
            memmove(view->data + i * view->image_ld,
                    view->data + plan->condition[i] * view->image_ld,
                    (size_t)view->image_ld * sizeof *view->data);
    }
}

/* ---- values in a file -------------------------------------------------------------------------
 */

static void rest(void *plan)
{
    aleat_plan *p = plan;
    aleat_arena_rest(&p->values);
    aleat_arena_rest(&p->scratch);
    p->resident = 0;
}

static size_t view_bytes(const aleat_view *view, int64_t images)
{
    const int64_t floats = view->dims.h * view->dims.w * view->ld;
    return view->data ? (size_t)(view->image_ld ? images * floats : floats) * sizeof(float) : 0;
}

/** Bytes of the plan's memory that a step touches, some of them perhaps twice. */
static size_t bytes_of_step(const aleat_step *s, const aleat_exec *exec)
{
    const aleat_op_exec *op = aleat_op_exec_of(s->node.op);
    const aleat_view *const views[] = {&s->out, &s->side, &s->vec, &s->residual, &s->scale_shift};
    size_t bytes = op->scratch ? op->scratch(s, exec) : 0;
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        bytes += view_bytes(views[i], s->images);
    for (int i = 0; i < s->node.n_in; i++)
        bytes += view_bytes(&s->in[i], s->images);
    return bytes;
}

/** Half of the memory is for what has been touched, half for a step, or a part of a large one. */
static void run_in_file(aleat_plan *plan, const aleat_step *step, const aleat_exec *exec)
{
    const size_t share = (size_t)plan->engine->memory / 2 + 1, bytes = bytes_of_step(step, exec);
    const int64_t parts = (int64_t)(bytes / share) + 1;
    if (parts > 1 || plan->resident + bytes > share)
        rest(plan);
    aleat_parallel_in_parts(parts, rest, plan);
    aleat_op_exec_of(step->node.op)->run(step, exec);
    aleat_parallel_in_parts(1, NULL, NULL);
    plan->resident += bytes / (size_t)parts;
}

static aleat_exec exec_of(const aleat_plan *plan, int threads)
{
    return (aleat_exec){.k = plan->engine->k,
                        .threads = threads,
                        .scratch = plan->scratch.data,
                        .dropout_seed = plan->dropout_seed,
                        .dropout_step = plan->dropout_step,
                        .dropout_images = plan->dropout_images,
                        .dropout_passes = plan->dropout_passes};
}

/** Runs a step, whose scratch has `room` bytes. */
static void run_step(const aleat_step *step, const aleat_exec *exec, size_t room)
{
    const aleat_op_exec *op = aleat_op_exec_of(step->node.op);
    assert(!op->scratch || op->scratch(step, exec) <= room);
    (void)room;
    op->run(step, exec);
}

/** The steps that are not run slice by slice; of a sliced plan those of one level. */
static void run_steps(aleat_plan *plan, int half, int64_t images, int level)
{
    const aleat_exec exec = exec_of(plan, plan->engine->threads);
    for (int64_t i = 0; i < plan->n_steps; i++) {
        if (plan->steps[i].half != half || aleat_step_is_sliced(plan, &plan->steps[i]) ||
            (plan->n_slices > 1 && plan->steps[i].level != level))
            continue;
        aleat_step step = plan->steps[i];
        step.images = step.images < images ? step.images : images; // 1 for what all share
        if (plan->values.in_file || plan->scratch.in_file)
            run_in_file(plan, &step, &exec);
        else
            run_step(&step, &exec, plan->scratch_bytes);
    }
}

/* ---- slices -----------------------------------------------------------------------------------
 */

typedef struct slices_job {
    const aleat_plan *plan;
    int half;
    int64_t next; // slice, or sum, that nobody has taken
} slices_job;

static void move_to_slice(const aleat_plan *plan, aleat_view *view, int64_t first, int lane)
{
    if (view->data)
        view->data += view->local ? (int64_t)(plan->lane_bytes / sizeof(float)) * lane
                                  : view->image_ld * first;
}

static void run_slice(const aleat_plan *plan, int half, int64_t i, int lane)
{
    // the larger ones first, so that threads end together
    const int64_t n = plan->images / plan->n_slices, larger = plan->images % plan->n_slices;
    const int64_t first = i * n + (i < larger ? i : larger), images = n + (i < larger);
    aleat_exec exec = exec_of(plan, 1);
    exec.scratch = (char *)plan->scratch.data + plan->lane_scratch * (size_t)lane;
    exec.dropout_images += first;
    exec.dropout_passes += first;
    for (int64_t s = 0; s < plan->n_steps; s++) {
        if (plan->steps[s].half != half || !aleat_step_is_sliced(plan, &plan->steps[s]))
            continue;
        aleat_step step = plan->steps[s];
        aleat_view *const views[] = {&step.out, &step.side, &step.vec, &step.residual,
                                     &step.scale_shift};
        step.images = images;
        for (int j = 0; j < ALEAT_NODE_INPUTS; j++)
            move_to_slice(plan, &step.in[j], first, lane);
        for (size_t j = 0; j < sizeof views / sizeof *views; j++)
            move_to_slice(plan, views[j], first, lane);
        run_step(&step, &exec, plan->lane_scratch);
    }
}

// A thread takes the next slice when it is done with one: on a busy machine they are not equally
// fast.
static void run_slices(void *ctx, int thread, int threads)
{
    (void)threads;
    slices_job *job = ctx;
    for (;;) {
        const int64_t i = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
        if (i >= job->plan->n_slices)
            return;
        run_slice(job->plan, job->half, i, thread);
    }
}

// Sums over the batch do not depend on each other: each is the work of one thread.
static void run_sums(void *ctx, int thread, int threads)
{
    (void)threads;
    slices_job *job = ctx;
    const aleat_plan *plan = job->plan;
    aleat_exec exec = exec_of(plan, 1);
    exec.scratch = (char *)plan->scratch.data + plan->lane_scratch * (size_t)thread;
    for (;;) {
        const int64_t i = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
        if (i >= plan->n_sums)
            return;
        const aleat_step *step = &plan->steps[plan->sums[i].step];
        if (step->half == job->half)
            run_step(step, &exec, plan->lane_scratch);
    }
}

void aleat_plan_run(aleat_plan *plan, int half)
{
    if (plan->distinct) {
        run_steps(plan, ALEAT_EARLY, plan->distinct, 0);
        spread_conditions(plan);
        plan->distinct = 0;
    }
    run_steps(plan, half, plan->images, 0);
    if (plan->n_slices > 1) {
        slices_job slices = {plan, half, 0}, sums = {plan, half, 0};
        aleat_parallel_team(plan->lanes, run_slices, &slices);
        if (plan->n_sums)
            aleat_parallel_team(plan->lanes, run_sums, &sums);
        run_steps(plan, half, plan->images, 2);
    }
}
