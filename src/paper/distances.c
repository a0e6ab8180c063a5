#include "paper/distances.h"

#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/parallel.h"
#include "metrics/frechet.h"
#include "metrics/resample.h"

// Jobs that a thread does between two looks at whether to stop.
#define JOBS_A_LOOK 4

// A part of the jobs, being worked on.
typedef struct work {
    aleat_distance_job *jobs;
    const aleat_distance_task *task;
    aleat_status *status; // [threads]
    aleat_error *errors;
} work;

// Adds the rows of the job, one run of neighbours after the other; *added is how many.
static aleat_status add_rows(aleat_moments *moments, int64_t *added, const aleat_distance_job *job,
                             const aleat_distance_task *task, const int64_t *half, aleat_error *err)
{
    const int64_t d = task->reference->d, count = half ? task->n / 2 : task->n;
    aleat_status st = ALEAT_OK;
    *added = 0;
    for (int64_t i = 0; !st && i < count;) {
        const int64_t row = half ? half[i] : i;
        int64_t run = 0;
        while (i + run < count && (half ? half[i + run] : i + run) == row + run &&
               (!job->members || job->members[row + run]))
            run++;
        if (run)
            st = aleat_moments_add(moments, task->features + row * d, run, err);
        *added += run;
        i += run ? run : 1;
    }
    return st;
}

static aleat_status compute(aleat_distance_job *job, const aleat_distance_task *task,
                            aleat_error *err)
{
    aleat_moments *moments = NULL;
    aleat_gaussian gaussian = {0};
    aleat_frechet distance;
    int64_t *half = NULL, added = 0;
    job->distance = NAN;
    aleat_status st = aleat_moments_new(&moments, task->reference->d, 1, err);
    if (!st && job->half >= 0) {
        half = aleat_calloc((size_t)task->n, sizeof *half);
        if (half)
            aleat_draw_half(half, task->n, task->seed, job->half, 0);
        else
            st = aleat_fail_memory(err, "a resample");
    }
    if (!st)
        st = add_rows(moments, &added, job, task, half, err);
    if (!st && half && added < 2)
        goto done;
    if (!st)
        st = aleat_moments_result(&gaussian, moments, err);
    const aleat_frechet_side a = {.gaussian = task->reference}, b = {.gaussian = &gaussian};
    if (!st)
        st = aleat_frechet_distance(&distance, &a, &b, 1, err);
    if (!st)
        job->distance = distance.distance;
done:
    aleat_moments_free(moments);
    aleat_gaussian_clear(&gaussian);
    aleat_free(half);
    return st;
}

static void compute_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    const work *w = ctx;
    for (int64_t i = begin; i < end && !w->status[thread]; i++)
        w->status[thread] = compute(&w->jobs[i], w->task, &w->errors[thread]);
}

aleat_status aleat_distances(aleat_distance_job *jobs, int64_t n_jobs,
                             const aleat_distance_task *task, aleat_error *err)
{
    const int threads = task->threads > 0 ? task->threads : aleat_cpu_count();
    const int64_t look = (int64_t)threads * JOBS_A_LOOK;
    work w = {.task = task,
              .status = aleat_calloc((size_t)threads, sizeof *w.status),
              .errors = aleat_calloc((size_t)threads, sizeof *w.errors)};
    aleat_status st = w.status && w.errors ? ALEAT_OK : aleat_fail_memory(err, "distances");
    for (int64_t i = 0; !st && i < n_jobs; i += look) {
        const int64_t count = n_jobs - i < look ? n_jobs - i : look;
        w.jobs = jobs + i;
        aleat_parallel_for(threads, count, compute_range, &w);
        for (int t = 0; !st && t < threads; t++)
            if (w.status[t]) {
                st = w.status[t];
                if (err)
                    *err = w.errors[t];
            }
        if (!st && task->progress)
            st = task->progress(task->ctx, i + count, n_jobs, err);
    }
    aleat_free(w.status);
    aleat_free(w.errors);
    return st;
}
