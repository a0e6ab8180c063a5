/*
 * aleat: the tool. Finds the verb, parses its options, runs it.
 *
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "cli/cli.h"
#include "cli/message.h"

const aleat_cli_verb *aleat_cli_find_verb(const char *name)
{
    for (const aleat_cli_verb *v = aleat_cli_verbs; v->name; v++)
        if (strcmp(v->name, name) == 0)
            return v;
    return NULL;
}

// Words in the place of a verb that print something about the tool itself.
static const struct {
    const char *word;
    void (*print)(FILE *to);
} tables[] = {
    {"--help", aleat_cli_print_overview},
    {"-h", aleat_cli_print_overview},
    {"man", aleat_cli_print_man},
    {"completion", aleat_cli_print_completion},
};

static int unknown_verb(const char *word)
{
    const char *names[64];
    int n = 0;
    for (const aleat_cli_verb *v = aleat_cli_verbs; v->name && n < 64; v++)
        names[n++] = v->name;
    (void)fprintf(stderr, "aleat: there is no verb '%s'\n", word);
    const char *meant = aleat_cli_nearest(word, names, n);
    if (meant)
        aleat_cli_advise("did you mean 'aleat %s'?", meant);
    else
        aleat_cli_advise("'aleat --help' lists the verbs");
    return ALEAT_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        aleat_cli_print_overview(stderr);
        return ALEAT_EXIT_USAGE;
    }
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (strcmp(argv[1], tables[i].word) == 0) {
            tables[i].print(stdout);
            return ALEAT_EXIT_DONE;
        }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("aleat %s\n", aleat_version());
        return ALEAT_EXIT_DONE;
    }
    const bool help = strcmp(argv[1], "help") == 0 && argc > 2; // "aleat help generate"
    const aleat_cli_verb *verb = aleat_cli_find_verb(argv[help ? 2 : 1]);
    if (!verb)
        return unknown_verb(argv[help ? 2 : 1]);
    aleat_cli_args args;
    if (!aleat_cli_parse(verb, argc - 2 - help, argv + 2 + help, &args))
        return ALEAT_EXIT_USAGE;
    if (help || args.help) {
        aleat_cli_print_help(stdout, verb);
        return ALEAT_EXIT_DONE;
    }
    aleat_cli_catch_interrupts();
    const int code = verb->run(verb, &args);
    // A result that did not reach its reader (full disk, closed pipe) is a failure.
    if (fflush(stdout) != 0 || ferror(stdout)) {
        aleat_cli_complain(verb->name, "standard output could not be written");
        return ALEAT_EXIT_FAILED;
    }
    return code;
}
