/* Sorting numbers without moving them. */
#ifndef ALEAT_BASE_ORDER_H
#define ALEAT_BASE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

/** order = the positions of values [n], smallest value first; ties by position, NaN last. false if
 * there is no memory. */
bool aleat_order(int64_t *order, const double *values, int64_t n);

#endif
