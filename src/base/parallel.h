/*
 * The one way to use several threads. Work is split into contiguous, equal ranges; results must not
 * depend on how many ranges there are, so a range may only write what belongs to it, and sums that
 * cross ranges use fixed chunks that the caller defines.
 */
#ifndef ALEAT_BASE_PARALLEL_H
#define ALEAT_BASE_PARALLEL_H

#include <stdint.h>

/** Works on items [begin, end); `thread` in [0, threads) names per-thread scratch. */
typedef void aleat_range_fn(void *ctx, int64_t begin, int64_t end, int thread);

/** Runs `fn` over [0, n) on up to `threads` threads (<= 1: in the caller). Returns when all is
 * done. */
void aleat_parallel_for(int threads, int64_t n, aleat_range_fn *fn, void *ctx);

/**
 * From now on aleat_parallel_for() of this thread takes its items in n_parts consecutive parts, one
 * after the other, and calls `between` after each: so that a large array is worked through from its
 * front to its back. n_parts <= 1 ends that. Changes no result, as ranges do not.
 */
void aleat_parallel_in_parts(int64_t n_parts, void (*between)(void *ctx), void *ctx);

/** A body that all threads of a team run; it may call aleat_team_barrier(). */
typedef void aleat_team_fn(void *ctx, int thread, int threads);

/** Runs `fn` once on each of `threads` threads at the same time. `fn` sees the team's true size. */
void aleat_parallel_team(int threads, aleat_team_fn *fn, void *ctx);

/** Inside aleat_parallel_team(): waits until all threads of the team have come here. */
void aleat_team_barrier(void);

/** The part of [0, n) that thread `thread` of `threads` works on. */
static inline void aleat_split(int64_t n, int thread, int threads, int64_t *begin, int64_t *end)
{
    *begin = n * thread / threads;
    *end = n * (thread + 1) / threads;
}

/** Processors this process may use. */
int aleat_cpu_count(void);

#endif
