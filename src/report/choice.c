#include "report/choice.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/rng.h"

typedef struct ranked {
    double score;
    int64_t image;
} ranked;

static int by_score(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return (x->image > y->image) - (x->image < y->image);
}

// ends [2,ALEAT_CHOICE_EXTREMES]: the lowest and the highest; -1 where there are no more.
static void find_ends(int64_t *ends, ranked *all, const double *scores, int64_t n)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(scores[i]))
            all[count++] = (ranked){scores[i], i};
    qsort(all, (size_t)count, sizeof *all, by_score);
    for (int64_t k = 0; k < ALEAT_CHOICE_EXTREMES; k++) {
        ends[k] = k < count ? all[k].image : -1;
        ends[ALEAT_CHOICE_EXTREMES + k] = k < count ? all[count - 1 - k].image : -1;
    }
}

static void take(int64_t *order, int64_t *taken, bool *is_taken, int64_t image)
{
    if (image < 0 || is_taken[image])
        return;
    is_taken[image] = true;
    order[(*taken)++] = image;
}

aleat_status aleat_choose_images(int64_t *order, const double *const *scores, int n_scores,
                                 int64_t n, uint64_t seed, aleat_error *err)
{
    if (n == 0)
        return ALEAT_OK;
    const aleat_rng_key key = {.seed = seed, .purpose = ALEAT_FOR_SUBSET};
    const size_t each = 2 * ALEAT_CHOICE_EXTREMES;
    int64_t taken = 0;
    int64_t *ends = aleat_calloc((size_t)n_scores * each, sizeof *ends);
    int64_t *random = aleat_calloc((size_t)n, sizeof *random);
    ranked *all = aleat_calloc((size_t)n, sizeof *all);
    bool *is_taken = aleat_calloc((size_t)n, sizeof *is_taken);
    aleat_status st = ALEAT_OK;
    if (!ends || !random || !all || !is_taken) {
        st = aleat_fail_memory(err, "choosing images");
        goto done;
    }
    for (int s = 0; s < n_scores; s++)
        find_ends(ends + (size_t)s * each, all, scores[s], n);
    aleat_rng_permutation(&key, random, n);
    for (int64_t k = 0; k < ALEAT_CHOICE_EXTREMES; k++) {
        for (size_t s = 0; s < (size_t)n_scores; s++) {
            take(order, &taken, is_taken, ends[s * each + (size_t)k]);
            take(order, &taken, is_taken, ends[s * each + ALEAT_CHOICE_EXTREMES + (size_t)k]);
        }
        if (k < n)
            take(order, &taken, is_taken, random[k]);
    }
    for (int64_t k = 0; k < n; k++)
        take(order, &taken, is_taken, random[k]);
done:
    aleat_free(ends);
    aleat_free(random);
    aleat_free(all);
    aleat_free(is_taken);
    return st;
}
