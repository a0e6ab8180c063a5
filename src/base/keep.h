/* Which of n things to keep: those that an order puts first, of all or of each class. */
#ifndef ALEAT_BASE_KEEP_H
#define ALEAT_BASE_KEEP_H

#include <stdbool.h>
#include <stdint.h>

/** order = the positions of scores [n], lowest (highest) first; ties by position, NaN last either
 * way. false if there is no memory. */
bool aleat_order_scores(int64_t *order, const double *scores, int64_t n, bool highest);

/** order = random permutation number `draw` of 0 .. n-1, draw below 2^32. */
void aleat_order_random(int64_t *order, int64_t n, uint64_t seed, int64_t draw);

/**
 * members [n] = the first `keep` of order [n], keep <= n < 2^32.
 *
 * With classes [n], none beyond 2^53 in size, the first ones of each class (a stratified choice):
 * of a class with c things keep * c / n, rounded so that the sum is `keep`; the largest remainders
 * are rounded up, of equal ones that of the smaller class. false if there is no memory.
 */
bool aleat_keep_first(bool *members, const int64_t *order, int64_t n, int64_t keep,
                      const int64_t *classes);

#endif
