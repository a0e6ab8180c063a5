#include "report/choice.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/order.h"
#include "base/rng.h"

// ends [2,ALEAT_CHOICE_EXTREMES]: the lowest and the highest; -1 where there are no more.
static bool find_ends(int64_t *ends, int64_t *ordered, const double *scores, int64_t n)
{
    if (!aleat_order(ordered, scores, n))
        return false;
    int64_t count = n;
    while (count > 0 && isnan(scores[ordered[count - 1]]))
        count--;
    for (int64_t k = 0; k < ALEAT_CHOICE_EXTREMES; k++) {
        ends[k] = k < count ? ordered[k] : -1;
        ends[ALEAT_CHOICE_EXTREMES + k] = k < count ? ordered[count - 1 - k] : -1;
    }
    return true;
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
    int64_t *ordered = aleat_calloc((size_t)n, sizeof *ordered);
    bool *is_taken = aleat_calloc((size_t)n, sizeof *is_taken);
    aleat_status st = ALEAT_OK;
    if (!ends || !random || !ordered || !is_taken) {
        st = aleat_fail_memory(err, "choosing images");
        goto done;
    }
    for (int s = 0; !st && s < n_scores; s++)
        if (!find_ends(ends + (size_t)s * each, ordered, scores[s], n))
            st = aleat_fail_memory(err, "choosing images");
    if (st)
        goto done;
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
    aleat_free(ordered);
    aleat_free(is_taken);
    return st;
}
