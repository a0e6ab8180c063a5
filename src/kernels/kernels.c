#include "kernels/kernels.h"

const aleat_kernels *aleat_kernels_for(aleat_isa isa)
{
    static const aleat_kernels *const tables[ALEAT_ISA_COUNT] = {
        [ALEAT_ISA_C] = &aleat_kernels_c,
#if defined(__x86_64__)
        [ALEAT_ISA_AVX2] = &aleat_kernels_avx2,
        [ALEAT_ISA_AVX512] = &aleat_kernels_avx512,
        [ALEAT_ISA_AVX512_BF16] = &aleat_kernels_avx512_bf16,
#endif
    };
    return tables[isa];
}
