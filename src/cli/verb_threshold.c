#include "cli/verbs.h"

int aleat_cli_threshold(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    const char *runs[1 + ALEAT_CLI_MAX_OPERANDS] = {args->operand};
    for (int i = 0; i < args->n_more; i++)
        runs[1 + i] = args->more_operands[i];
    const char *stat = aleat_cli_choice_word(aleat_statistic_name, args->stat);
    aleat_error err = {0};
    aleat_threshold_facts facts = {0};
    const aleat_status st = aleat_threshold_make(args->out, runs, 1 + args->n_more, stat,
                                                 args->percentile, &facts, &err);
    if (!st && args->json)
        aleat_cli_print_json(json_pack("{sssssfsIsI}", "out", args->out, "stat", stat, "percentile",
                                       args->percentile, "images", (json_int_t)facts.images,
                                       "steps", (json_int_t)facts.steps));
    else if (!st && !args->quiet)
        (void)fprintf(stderr, "aleat: %s: wrote %s, %lld steps from %lld images\n", verb->name,
                      args->out, (long long)facts.steps, (long long)facts.images);
    return aleat_cli_exit(verb, st, &err);
}
