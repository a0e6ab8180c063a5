#define ALEAT_VLEN      4
#define MICRO_VECTORS   2
#define KERNEL_ISA      ALEAT_ISA_C
#define KERNEL_TABLE    aleat_kernels_c
#define KERNEL_HAS_BF16 0
#include "kernels/kernels.inc.c"
