#include "base/cpu.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[ALEAT_ISA_COUNT] = {
    [ALEAT_ISA_C] = "c",
    [ALEAT_ISA_AVX2] = "avx2",
    [ALEAT_ISA_AVX512] = "avx512",
    [ALEAT_ISA_AVX512_BF16] = "avx512_bf16",
};

const char *aleat_isa_name(aleat_isa isa)
{
    return (unsigned)isa < ALEAT_ISA_COUNT ? names[isa] : "unknown";
}

static aleat_isa detect(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return ALEAT_ISA_C;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return ALEAT_ISA_AVX2;
    if (!__builtin_cpu_supports("avx512bf16"))
        return ALEAT_ISA_AVX512;
    return ALEAT_ISA_AVX512_BF16;
#else
    return ALEAT_ISA_C;
#endif
}

aleat_isa aleat_cpu_isa(void)
{
    const aleat_isa best = detect();
    const char *wanted = getenv("ALEAT_ISA");
    for (int i = 0; wanted && i <= (int)best; i++)
        if (strcmp(wanted, names[i]) == 0)
            return (aleat_isa)i;
    return best;
}
