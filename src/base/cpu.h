/*
 * What this processor can do. Kernels are chosen by aleat_isa at run time; a higher level implies
 * the lower ones.
 */
#ifndef ALEAT_BASE_CPU_H
#define ALEAT_BASE_CPU_H

typedef enum aleat_isa {
    ALEAT_ISA_C,           /**< portable C: the reference that tests compare with */
    ALEAT_ISA_AVX2,        /**< AVX2 + FMA + F16C */
    ALEAT_ISA_AVX512,      /**< AVX-512 F, BW, DQ, VL */
    ALEAT_ISA_AVX512_BF16, /**< the same with VDPBF16PS */
    ALEAT_ISA_COUNT
} aleat_isa;

/**
 * The best level of this processor, or the one that the environment variable ALEAT_ISA names
 * (c, avx2, avx512, avx512_bf16) if the processor has it.
 */
aleat_isa aleat_cpu_isa(void);

/** Name of a level as ALEAT_ISA spells it. */
const char *aleat_isa_name(aleat_isa isa);

#endif
