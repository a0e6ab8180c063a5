#include "train/adamw.h"

#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/parallel.h"
#include "base/wide.h"

/** Numbers whose squares are summed together: fixed, so that the order of additions is. */
enum { CHUNK = 4096 };

double aleat_adamw_rate(const aleat_adamw *a, int64_t step)
{
    if (step < a->warmup)
        return a->rate * (double)(step + 1) / (double)a->warmup;
    if (a->constant)
        return a->rate;
    const int64_t longest = a->steps - a->warmup;
    const int64_t length = a->cooldown > 0 && a->cooldown < longest ? a->cooldown : longest;
    const int64_t done = step - (a->steps - length);
    if (done <= 0)
        return a->rate;
    return done >= length
               ? 0
               : a->rate * 0.5 * (1 + cos(3.14159265358979323846 * (double)done / (double)length));
}

typedef struct adamw_job {
    const aleat_adamw *a;
    aleat_params *params;
    int64_t size;
    double *squares;           // of each chunk
    double rate, shrink;       // shrink: factor of the gradient
    double correct1, correct2; // 1 - beta^n
    double average;
} adamw_job;

/** Sum of squares, of every LANES-th number first. */
ALEAT_WIDE static double square(const float *x, int64_t n)
{
    enum { LANES = 16 };
    double sums[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            sums[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    for (int j = 0; j < LANES; j++)
        sum += sums[j];
    return sum;
}

static void square_chunks(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const adamw_job *job = ctx;
    for (int64_t chunk = begin; chunk < end; chunk++) {
        const int64_t first = chunk * CHUNK;
        const int64_t last = job->size - first < CHUNK ? job->size : first + CHUNK;
        job->squares[chunk] = square(job->params->grad + first, last - first);
    }
}

ALEAT_WIDE static void update(const adamw_job *job, int64_t begin, int64_t end)
{
    const aleat_adamw *a = job->a;
    float *restrict w = job->params->data[ALEAT_VALUES];
    float *restrict mean = job->params->data[ALEAT_AVERAGE];
    float *restrict m = job->params->data[ALEAT_MOMENT1];
    float *restrict v = job->params->data[ALEAT_MOMENT2];
    const float *restrict grad = job->params->grad;
    const float shrink = (float)job->shrink, beta1 = (float)a->beta1, beta2 = (float)a->beta2;
    const float rate = (float)(job->rate / job->correct1), decay = (float)(job->rate * a->decay);
    const float inv = (float)(1 / sqrt(job->correct2)), eps = (float)a->eps;
    const float average = (float)job->average;
    for (int64_t i = begin; i < end; i++) {
        const float g = grad[i] * shrink;
        m[i] = beta1 * m[i] + (1 - beta1) * g;
        v[i] = beta2 * v[i] + (1 - beta2) * g * g;
        w[i] -= decay * w[i];
        w[i] -= rate * m[i] / (sqrtf(v[i]) * inv + eps);
        mean[i] += (1 - average) * (w[i] - mean[i]);
    }
}

static void update_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    update(ctx, begin, end);
}

aleat_status aleat_adamw_step(const aleat_adamw *a, aleat_params *params, int64_t step, int threads,
                              double *norm, aleat_error *err)
{
    const double n = (double)(step + 1);
    adamw_job job = {.a = a, .params = params, .size = aleat_params_size(params)};
    const int64_t chunks = (job.size + CHUNK - 1) / CHUNK;
    job.squares = aleat_alloc((size_t)chunks * sizeof *job.squares);
    if (!job.squares)
        return aleat_fail_memory(err, "the gradient's norm");
    aleat_parallel_for(threads, chunks, square_chunks, &job);
    double sum = 0;
    for (int64_t i = 0; i < chunks; i++)
        sum += job.squares[i];
    aleat_free(job.squares);
    *norm = sqrt(sum);
    if (!isfinite(*norm))
        return aleat_fail(err, ALEAT_ERR_NUMERIC, "step %lld: the gradient is not finite",
                          (long long)step);
    job.shrink = a->clip > 0 && *norm > a->clip ? a->clip / *norm : 1;
    job.rate = aleat_adamw_rate(a, step);
    job.correct1 = 1 - pow(a->beta1, n);
    job.correct2 = 1 - pow(a->beta2, n);
    job.average = fmin(a->average, (1 + n) / (10 + n));
    aleat_parallel_for(threads, job.size, update_range, &job);
    return ALEAT_OK;
}
