/*
 * All kernels for one instruction set: included by c.c, avx2.c, avx512.c and avx512_bf16.c, which
 * are compiled with that set's flags and say ALEAT_VLEN, MICRO_VECTORS and the table's name.
 */
#include <stdbool.h>

#include "kernels/kernels.h"
#include "kernels/simd.h"

#include "kernels/igemm.inc.h"
#include "kernels/igemm_f64.inc.h"
#include "kernels/elementwise.inc.h"
#include "kernels/jacobian.inc.h"
#include "kernels/winograd.inc.h"
#include "kernels/bf16.inc.h"

const aleat_kernels KERNEL_TABLE = {
    .isa = KERNEL_ISA,
    .vlen = ALEAT_VLEN,
    .panel = MICRO_VECTORS * ALEAT_VLEN,
    .panel_f64 = MICRO_VECTORS * VLEN_F64,
    .igemm = igemm,
    .igemm_bf16 = IGEMM_BF16,
    .gemm_tn = gemm_tn,
    .igemm_f64 = igemm_f64,
    .finish = finish,
    .wino_input = wino_input,
    .wino_filter = {[ALEAT_TAPS_F32] = wino_filter_f32,
                    [ALEAT_TAPS_BF16] = wino_filter_bf16,
                    [ALEAT_TAPS_F16] = wino_filter_f16},
    .wino_output = wino_output,
    .wino_output_adjoint = wino_output_adjoint,
    .wino_filter_adjoint = wino_filter_adjoint,
    .moments = moments,
    .scale_rows = scale_rows,
    .map = map,
    .map_grad = map_grad,
    .exp_rows = exp_rows,
    .pool = pool,
    .max_rows = max_rows,
    .normalize_rows = normalize_rows,
    .scale_rows_grad = scale_rows_grad,
    .cross_moments = cross_moments,
    .scale_rows_jvp = scale_rows_jvp,
    .normalize_rows_jacobian = normalize_rows_jacobian,
    .softmax_jacobian = softmax_jacobian,
    .to_bf16 = to_bf16,
};
