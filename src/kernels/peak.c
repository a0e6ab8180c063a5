#include "kernels/peak.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/parallel.h"

enum { DEPTH = 64, REPEATS = 2000, RUNS = 9, MAX_PANEL = 64 };

typedef struct peak_job {
    const aleat_kernels *k;
    bool bf16;
    float *data; // per thread: rows, panel, sums; zeros, which take as long as other numbers
} peak_job;

enum {
    ROWS_SIZE = ALEAT_MICRO_ROWS * DEPTH,
    PANEL_SIZE = DEPTH * MAX_PANEL,
    SUMS_SIZE = ALEAT_MICRO_ROWS * MAX_PANEL,
    THREAD_SIZE = ROWS_SIZE + PANEL_SIZE + SUMS_SIZE
};

static void multiply(void *ctx, int thread, int threads)
{
    (void)threads;
    const peak_job *job = ctx;
    const int nv = job->k->panel / job->k->vlen;
    float *a = job->data + (int64_t)thread * THREAD_SIZE, *b = a + ROWS_SIZE, *c = b + PANEL_SIZE;
    const void *rows[ALEAT_MICRO_ROWS];
    for (int i = 0; i < ALEAT_MICRO_ROWS; i++)
        rows[i] = a + i * DEPTH;
    for (int r = 0; r < REPEATS; r++)
        if (job->bf16)
            job->k->igemm_bf16(ALEAT_MICRO_ROWS, nv, 1, DEPTH, (const uint16_t *const *)rows,
                               (const uint16_t *)(const void *)b, 2 * job->k->panel, c, MAX_PANEL);
        else
            job->k->igemm(ALEAT_MICRO_ROWS, nv, 1, DEPTH, (const float *const *)rows, b,
                          job->k->panel, false, c, MAX_PANEL);
}

double aleat_kernels_peak(const aleat_kernels *k, bool bf16, int threads)
{
    peak_job job = {.k = k, .bf16 = bf16};
    job.data = aleat_calloc((size_t)threads * THREAD_SIZE, sizeof *job.data);
    if (!job.data)
        return 0;
    double best = 0;
    const double flop = 2.0 * ALEAT_MICRO_ROWS * DEPTH * k->panel * REPEATS * threads;
    for (int run = 0; run < RUNS; run++) {
        const double start = aleat_clock();
        aleat_parallel_team(threads, multiply, &job);
        const double rate = flop / (aleat_clock() - start);
        best = rate > best ? rate : best;
    }
    aleat_free(job.data);
    return best;
}
