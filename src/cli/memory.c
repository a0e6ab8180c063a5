/* Whether a network fits into this machine, said before its weights are read. */
#include <string.h>

#include "cli/verbs.h"

double aleat_cli_free_memory(void)
{
    double kb = 0;
    char line[128];
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && kb == 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %lf kB", &kb) != 1)
            kb = 0;
    if (file)
        (void)fclose(file);
    return 1024 * kb;
}

void aleat_cli_warn_of_memory(const aleat_cli_verb *verb, const aleat_model_facts *facts,
                              bool gradients, double available)
{
    const double weights = (double)facts->weight_bytes * (gradients ? 2 : 1);
    const double need = weights + (double)facts->plan_bytes;
    if (available == 0 || need <= available)
        return;
    aleat_cli_complain(verb->name,
                       "%.1f GB of weights and %.1f GB for one image's activations are more than "
                       "the %.1f GB that are free here: expect swapping, or an end by the system",
                       1e-9 * weights, 1e-9 * (double)facts->plan_bytes, 1e-9 * available);
    if (strcmp(facts->precision, "f32") == 0)
        aleat_cli_advise("--precision bf16 takes about half, where the processor has bf16");
}
