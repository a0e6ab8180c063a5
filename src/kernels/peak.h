/* What the matrix kernels can reach on this machine, measured: the yardstick of `bench`. */
#ifndef ALEAT_KERNELS_PEAK_H
#define ALEAT_KERNELS_PEAK_H

#include <stdbool.h>

#include "kernels/kernels.h"

/**
 * Floating-point operations a second of the micro-tile on data that stay in the first cache, all
 * threads together: the best of several short runs, about 0.1 s. bf16 only where k->igemm_bf16 is
 * not NULL. 0 if there is no memory. Winograd may exceed it, since a convolution is counted as
 * written.
 */
double aleat_kernels_peak(const aleat_kernels *k, bool bf16, int threads);

#endif
