#define ALEAT_VLEN      8
#define MICRO_VECTORS   2
#define KERNEL_ISA      ALEAT_ISA_AVX2
#define KERNEL_TABLE    aleat_kernels_avx2
#define KERNEL_HAS_BF16 0
#include "kernels/kernels.inc.c"
