/* Where the marks of an axis are, and what stands beside them. */
#ifndef ALEAT_PLOT_TICKS_H
#define ALEAT_PLOT_TICKS_H

#include <stdbool.h>

#define ALEAT_MOST_TICKS 16

typedef struct aleat_ticks {
    int count;
    double at[ALEAT_MOST_TICKS];
    char text[ALEAT_MOST_TICKS][24];
} aleat_ticks;

/**
 * About `wanted` (2 to 10) round numbers in [low, high], low < high: multiples of 1, 2 or 5 times a
 * power of ten; on a logarithmic axis (low > 0) of more than a decade 1, 2 and 5 in every decade,
 * powers of ten, or every few of them.
 */
void aleat_ticks_place(aleat_ticks *out, double low, double high, bool log, int wanted);

#endif
