#include "metrics/inception_score.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

// log_p = log of the softmax of one row.
static void log_softmax(double *log_p, const float *logits, int64_t classes)
{
    double most = -INFINITY, sum = 0;
    for (int64_t c = 0; c < classes; c++)
        most = fmax(most, (double)logits[c]);
    for (int64_t c = 0; c < classes; c++)
        sum += exp((double)logits[c] - most);
    for (int64_t c = 0; c < classes; c++)
        log_p[c] = (double)logits[c] - most - log(sum);
}

// Score of n rows; log_p and marginal are scratch of [classes].
static double score_of(const float *logits, int64_t n, int64_t classes, double *log_p,
                       double *marginal)
{
    double entropy = 0; // mean over rows of sum p log p
    memset(marginal, 0, (size_t)classes * sizeof *marginal);
    for (int64_t i = 0; i < n; i++) {
        log_softmax(log_p, logits + i * classes, classes);
        for (int64_t c = 0; c < classes; c++) {
            const double p = exp(log_p[c]);
            marginal[c] += p / (double)n;
            entropy += p > 0 ? p * log_p[c] / (double)n : 0;
        }
    }
    double cross = 0; // sum of p(y) log p(y)
    for (int64_t c = 0; c < classes; c++)
        cross += marginal[c] > 0 ? marginal[c] * log(marginal[c]) : 0;
    return exp(entropy - cross);
}

aleat_status aleat_inception_score(double *mean, double *deviation, const float *logits, int64_t n,
                                   int64_t classes, int64_t splits, aleat_error *err)
{
    double *scores = aleat_calloc((size_t)splits, sizeof *scores);
    double *scratch = aleat_calloc((size_t)classes, 2 * sizeof *scratch);
    aleat_status st = scores && scratch ? ALEAT_OK : aleat_fail_memory(err, "an Inception score");
    *mean = *deviation = 0;
    for (int64_t s = 0; !st && s < splits; s++) {
        const int64_t begin = s * n / splits, end = (s + 1) * n / splits;
        scores[s] =
            score_of(logits + begin * classes, end - begin, classes, scratch, scratch + classes);
        *mean += scores[s] / (double)splits;
    }
    for (int64_t s = 0; !st && s < splits; s++)
        *deviation += (scores[s] - *mean) * (scores[s] - *mean) / (double)splits;
    *deviation = sqrt(*deviation);
    if (!st && !isfinite(*mean))
        st = aleat_fail(err, ALEAT_ERR_NUMERIC, "the logits are not finite");
    aleat_free(scores);
    aleat_free(scratch);
    return st;
}
