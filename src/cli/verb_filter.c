#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

const char *aleat_cli_order_choice(int i, const char **help)
{
    if (help)
        *help = NULL;
    return i == 0 ? "lowest" : i == 1 ? "highest" : NULL;
}

static void tell(const aleat_cli_args *args, const aleat_selection *s)
{
    if (args->json) {
        aleat_cli_print_json(json_pack("{sIsIss*ss*}", "kept", (json_int_t)s->count, "of",
                                       (json_int_t)s->of, "run", args->run, "list",
                                       args->save_list));
        return;
    }
    if (!args->run && !args->save_list) // nowhere to write: the list is the result
        for (int64_t i = 0; i < s->count; i++)
            (void)printf("%" PRId64 "\n", s->image[i]);
    if (!args->quiet)
        (void)fprintf(stderr, "aleat: filter: kept %" PRId64 " of %" PRId64 " images\n", s->count,
                      s->of);
}

int aleat_cli_filter(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    if (!args->keep != !(args->by || args->random) || (args->by && args->random) ||
        (!args->keep && !args->list)) {
        aleat_cli_complain(verb->name, "needs --keep with --by SCORE or --random, or --list FILE");
        return ALEAT_EXIT_USAGE;
    }
    char *command = aleat_cli_command_line(verb, args);
    const aleat_filter_options options = {
        .keep = args->keep,
        .by = args->by,
        .highest = args->order == 1,
        .random = args->random,
        .seed = args->seed,
        .within_classes = args->within_classes,
        .list = args->list,
        .command = command,
    };
    aleat_error err = {0};
    aleat_scores *scores = NULL;
    aleat_selection selection = {0};
    aleat_status st = aleat_scores_open(&scores, args->operand, &err);
    if (!st)
        st = aleat_run_select(&selection, scores, &options, &err);
    if (!st && args->run)
        st = aleat_run_filter(args->operand, args->run, &selection, &options, &err);
    if (!st && args->save_list)
        st = aleat_selection_write(args->save_list, &selection, &err);
    if (!st)
        tell(args, &selection);
    aleat_selection_clear(&selection);
    aleat_scores_close(scores);
    free(command);
    return aleat_cli_exit(verb, st, &err);
}
