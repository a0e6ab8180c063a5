/* samples.npz, the file of images that ADM's evaluator reads. */
#ifndef ALEAT_API_SAMPLES_H
#define ALEAT_API_SAMPLES_H

#include <stdint.h>

#include "aleat/status.h"

/** Writes arr_0 [n,H,W,C] from a u8 .npy at `rows`, which this library wrote, and arr_1, the labels
 * [n]. The images do not pass through memory. */
ALEAT_MUST_USE aleat_status aleat_samples_write(const char *path, const char *rows, int64_t *labels,
                                                int64_t n, aleat_error *err);

#endif
