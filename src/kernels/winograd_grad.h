/* Gradients of 3x3 filters by Winograd: for aleat_weight_grad_run() alone. */
#ifndef ALEAT_KERNELS_WINOGRAD_GRAD_H
#define ALEAT_KERNELS_WINOGRAD_GRAD_H

#include "kernels/weight_grad.h"

/** Whether the shape is one for Winograd: 3x3, stride 1, whole vectors of channels, enough pixels.
 */
bool aleat_winograd_grad_fits(const aleat_kernels *k, const aleat_weight_grad *g);
size_t aleat_winograd_grad_scratch(const aleat_kernels *k, const aleat_weight_grad *g);
/**
 * dw of aleat_weight_grad_run(), as the adjoint of y = A^T [(G g G^T) * (B^T d B)] A (arXiv
 * 1509.09308) in g: dg = G^T [sum over tiles of (A dy A^T) * (B^T d B)] G, 36 matrix products of a
 * quarter of the direct cost together. Sums run over a group of tiles, then over the groups.
 */
void aleat_winograd_grad_run(const aleat_kernels *k, const aleat_weight_grad *g, const float *x,
                             const float *dy, float *dw, void *scratch, int threads);

#endif
