#define ALEAT_VLEN      16
#define MICRO_VECTORS   4
#define KERNEL_ISA      ALEAT_ISA_AVX512_BF16
#define KERNEL_TABLE    aleat_kernels_avx512_bf16
#define KERNEL_HAS_BF16 1
#include "kernels/kernels.inc.c"
