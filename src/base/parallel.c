#include "base/parallel.h"

#include <omp.h>

void aleat_parallel_for(int threads, int64_t n, aleat_range_fn *fn, void *ctx)
{
    if (n <= 0)
        return;
    if (threads > n)
        threads = (int)n;
    if (threads <= 1) {
        fn(ctx, 0, n, 0);
        return;
    }
#pragma omp parallel num_threads(threads)
    {
        int64_t begin, end;
        const int thread = omp_get_thread_num();
        aleat_split(n, thread, omp_get_num_threads(), &begin, &end);
        if (begin < end)
            fn(ctx, begin, end, thread);
    }
}

void aleat_parallel_team(int threads, aleat_team_fn *fn, void *ctx)
{
    if (threads <= 1) {
        fn(ctx, 0, 1);
        return;
    }
#pragma omp parallel num_threads(threads)
    fn(ctx, omp_get_thread_num(), omp_get_num_threads());
}

void aleat_team_barrier(void)
{
#pragma omp barrier
}

int aleat_cpu_count(void)
{
    return omp_get_num_procs();
}
