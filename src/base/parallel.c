/*
 * A pool of worker threads. OpenMP would do, but its threads spin at every barrier for as long as
 * they are not told otherwise by an environment variable, which on a machine with other work costs
 * a scheduler's time slice for each of the hundreds of barriers of one evaluation (measured: 20
 * times slower beside two busy processes). These spin for some microseconds, then sleep.
 */
#include "base/parallel.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    MAX_THREADS = 256,
    SPINS = 4000, // pauses before sleeping: about 50 us, longer than the gap between two steps
};

/** A number that threads wait on. */
typedef struct event {
    _Atomic uint32_t value;
    _Atomic uint32_t sleepers;
} event;

static void pause_a_little(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    (void)sched_yield();
#endif
}

/** Returns when the event's value is no longer `old`. */
static void event_wait(event *e, uint32_t old)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&e->value, memory_order_acquire) != old)
            return;
        pause_a_little();
    }
    (void)atomic_fetch_add(&e->sleepers, 1);
    while (atomic_load(&e->value) == old)
        (void)syscall(SYS_futex, &e->value, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    (void)atomic_fetch_sub(&e->sleepers, 1);
}

static void event_set(event *e, uint32_t value)
{
    atomic_store(&e->value, value);
    if (atomic_load(&e->sleepers))
        (void)syscall(SYS_futex, &e->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/** A barrier for the threads of a team: the last to arrive begins the next phase. */
typedef struct barrier {
    event phase;
    _Atomic int arrived;
} barrier;

static void barrier_wait(barrier *b, int threads)
{
    const uint32_t phase = atomic_load(&b->phase.value);
    if (atomic_fetch_add(&b->arrived, 1) + 1 < threads) {
        event_wait(&b->phase, phase);
        return;
    }
    atomic_store(&b->arrived, 0);
    event_set(&b->phase, phase + 1);
}

/** The workers of this process, started when first needed, and the work they are given. */
static struct {
    pthread_mutex_t owner; // held by the caller whose work is being done
    int workers;
    uint32_t seen[MAX_THREADS]; // pieces of work before a worker was started
    event work;                 // counts pieces of work
    aleat_team_fn *fn;
    void *ctx;
    int threads; // of the present team, the caller included
    barrier inside, end;
} pool = {.owner = PTHREAD_MUTEX_INITIALIZER};

/** Size of the team that this thread is working in; 0: in none. */
static _Thread_local int team_size;

static void *worker(void *arg)
{
    const int thread = (int)(intptr_t)arg;
    uint32_t seen = pool.seen[thread];
    for (;;) {
        event_wait(&pool.work, seen);
        seen = atomic_load(&pool.work.value);
        // The owner does not go on before everyone has seen this piece: `threads` is stable here.
        if (thread < pool.threads) {
            team_size = pool.threads;
            pool.fn(pool.ctx, thread, pool.threads);
            team_size = 0;
        }
        barrier_wait(&pool.end, pool.workers + 1);
    }
    return NULL;
}

/** Starts workers until there are `wanted`, or as many as the system gives. Called by the owner
 * while no work is going on. */
static void start_workers(int wanted)
{
    if (wanted > MAX_THREADS - 1)
        wanted = MAX_THREADS - 1;
    while (pool.workers < wanted) {
        pthread_t thread;
        pthread_attr_t attr;
        if (pthread_attr_init(&attr))
            return;
        (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        pool.seen[pool.workers + 1] = atomic_load(&pool.work.value);
        const int failed =
            pthread_create(&thread, &attr, worker, (void *)(intptr_t)(pool.workers + 1));
        (void)pthread_attr_destroy(&attr);
        if (failed)
            return;
        pool.workers++;
    }
}

void aleat_parallel_team(int threads, aleat_team_fn *fn, void *ctx)
{
    // Inside a team, or while another thread of the program has the pool: one thread does it all.
    // No result depends on that.
    if (threads <= 1 || team_size || pthread_mutex_trylock(&pool.owner)) {
        const int outer = team_size;
        team_size = 1;
        fn(ctx, 0, 1);
        team_size = outer;
        return;
    }
    start_workers(threads - 1);
    pool.threads = threads <= pool.workers ? threads : pool.workers + 1;
    pool.fn = fn;
    pool.ctx = ctx;
    event_set(&pool.work, atomic_load(&pool.work.value) + 1);
    team_size = pool.threads;
    fn(ctx, 0, pool.threads);
    team_size = 0;
    barrier_wait(&pool.end, pool.workers + 1);
    (void)pthread_mutex_unlock(&pool.owner);
}

void aleat_team_barrier(void)
{
    if (team_size > 1)
        barrier_wait(&pool.inside, team_size);
}

typedef struct range_job {
    int64_t first, n;
    aleat_range_fn *fn;
    void *ctx;
} range_job;

static void run_range(void *ctx, int thread, int threads)
{
    const range_job *job = ctx;
    int64_t begin, end;
    aleat_split(job->n, thread, threads, &begin, &end);
    if (begin < end)
        job->fn(job->ctx, job->first + begin, job->first + end, thread);
}

/** How this thread's loops are taken apart. */
static _Thread_local struct {
    int64_t count;
    void (*between)(void *ctx);
    void *ctx;
} parts;

void aleat_parallel_in_parts(int64_t n_parts, void (*between)(void *ctx), void *ctx)
{
    parts.count = n_parts;
    parts.between = between;
    parts.ctx = ctx;
}

void aleat_parallel_for(int threads, int64_t n, aleat_range_fn *fn, void *ctx)
{
    const bool in_parts = parts.count > 1 && !team_size;
    const int64_t count = !in_parts ? 1 : parts.count < n ? parts.count : n;
    for (int64_t i = 0; i < count; i++) {
        const int64_t begin = n * i / count, items = n * (i + 1) / count - begin;
        range_job job = {begin, items, fn, ctx};
        if (items > 0)
            aleat_parallel_team(threads < items ? threads : (int)items, run_range, &job);
        if (in_parts)
            parts.between(parts.ctx);
    }
}

int aleat_cpu_count(void)
{
    cpu_set_t set;
    const int count = sched_getaffinity(0, sizeof set, &set) ? 0 : CPU_COUNT(&set);
    return count > 0 ? count : 1;
}
