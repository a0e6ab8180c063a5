#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/verbs.h"

// Runs `print` with stderr (or its FILE argument) going into a string that the caller frees.
static char *printed(void (*print)(FILE *to))
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    print(to);
    (void)fclose(to);
    return text;
}

// What goes to stderr between the two, kept in `said`.
static char said[4096];
static FILE *listened;
static int kept;

static void listen_begin(void)
{
    listened = tmpfile();
    assert_non_null(listened);
    (void)fflush(stderr);
    kept = dup(STDERR_FILENO);
    assert_true(dup2(fileno(listened), STDERR_FILENO) >= 0);
}

static void listen_end(void)
{
    (void)fflush(stderr);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    (void)close(kept);
    rewind(listened);
    said[fread(said, 1, sizeof said - 1, listened)] = '\0';
    (void)fclose(listened);
}

// Parses a line of words after the verb, listening.
static bool parse(const char *verb, const char *line, aleat_cli_args *args)
{
    static char words[512];
    char *argv[32];
    int argc = 0;
    (void)snprintf(words, sizeof words, "%s", line);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    listen_begin();
    const bool ok = aleat_cli_parse(aleat_cli_find_verb(verb), argc, argv, args);
    listen_end();
    return ok;
}

static void every_default_of_every_verb_parses(void **state)
{
    (void)state;
    for (const aleat_cli_verb *v = aleat_cli_verbs; v->name; v++) {
        aleat_cli_args args;
        assert_true(parse(v->name, "--help", &args));
        assert_true(args.help);
        assert_string_equal(said, "");
    }
}

static void options_come_in_every_spelling(void **state)
{
    (void)state;
    aleat_cli_args args;
    assert_true(parse("bench", "m --batch 7 --precision=bf16 -q --repeats=3", &args));
    assert_string_equal(args.operand, "m");
    assert_int_equal(args.batch, 7);
    assert_string_equal(aleat_cli_choice_word(aleat_precision_name, args.precision), "bf16");
    assert_true(args.quiet);
    assert_int_equal(args.repeats, 3);
    assert_true(parse("bench", "--batch 2 -- --odd-name", &args));
    assert_string_equal(args.operand, "--odd-name");
    // one label, as one writes it elsewhere
    assert_true(parse("generate", "m -o out --label 3", &args));
    assert_string_equal(args.labels, "3");
    assert_true(parse("generate", "m -o out --labels 3,4", &args));
    assert_string_equal(args.labels, "3,4");
}

static void a_misspelt_option_is_met_with_the_right_one(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"m --bacth 5", "did you mean '--batch'?"},
        {"m --thread 5", "did you mean '--threads'?"},
        {"m --prec bf16", "did you mean '--precision'?"},
        {"m --precision bf61", "did you mean 'bf16'?"},
        {"m --zzzzzz", "'aleat bench --help' lists the options"},
    };
    aleat_cli_args args;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(parse("bench", cases[i][0], &args));
        assert_non_null(strstr(said, cases[i][1]));
    }
}

static void wrong_values_are_refused_by_name_and_limit(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"m --batch 0", "--batch: 0 is not within 1 to 1024"},
        {"m --batch 5x", "--batch: '5x' is not a whole number"},
        {"m --batch 99999999999999999999", "is not a whole number"},
        {"m --batch", "--batch wants a value"},
        {"m --json=1", "--json takes no value"},
        {"", "which MODEL?"},
        {"m n", "'n' is one argument too many"},
    };
    aleat_cli_args args;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(parse("bench", cases[i][0], &args));
        assert_non_null(strstr(said, cases[i][1]));
    }
    assert_false(parse("score", "m --x a.npy --out b.npy", &args));
    assert_non_null(strstr(said, "needs --t"));
}

static void options_that_would_do_nothing_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"generate", "m -o o --carry copies", "--map-space"},
        {"generate", "m -o o --gradient jvp", "--guide"},
        {"generate", "m -o o --strength 2", "--guide"},
        {"generate", "m -o o --classifier-scale 2", "--classifier"},
        {"uncertainty", "m --x x --t 1 --out o --gradient jvp", "--grad"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_cli_args args;
        assert_false(parse(cases[i][0], cases[i][1], &args));
        assert_non_null(strstr(said, "does nothing without"));
        assert_non_null(strstr(said, cases[i][2]));
    }
    aleat_cli_args args;
    assert_true(parse("generate", "m -o o --guide --gradient jvp --strength 2", &args));
}

static void the_nearest_word_is_near(void **state)
{
    (void)state;
    const char *const words[] = {"steps", "seed", "sampler", "score-steps"};
    assert_string_equal(aleat_cli_nearest("step", words, 4), "steps");
    assert_string_equal(aleat_cli_nearest("smapler", words, 4), "sampler");
    assert_string_equal(aleat_cli_nearest("samp", words, 4), "sampler");
    assert_null(aleat_cli_nearest("labels", words, 4));
    assert_null(aleat_cli_nearest("x", words, 4));
}

// Help, man page and completion come from one table, so each must name every option.
static void every_option_is_in_help_man_page_and_completion(void **state)
{
    (void)state;
    char *man = printed(aleat_cli_print_man), *bash = printed(aleat_cli_print_completion);
    for (const aleat_cli_verb *v = aleat_cli_verbs; v->name; v++) {
        char *help = NULL;
        size_t size = 0;
        FILE *to = open_memstream(&help, &size);
        aleat_cli_print_help(to, v);
        (void)fclose(to);
        for (const char *line = help; line;
             line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
            assert_true(strcspn(line, "\n") <= 80);
            if (line[0] && line[strcspn(line, "\n")] == '\n' && strcspn(line, "\n"))
                assert_int_not_equal(line[strcspn(line, "\n") - 1], ' ');
        }
        for (const aleat_cli_group *const *g = v->groups; *g; g++)
            for (const aleat_cli_option *o = (*g)->options; o->name; o++) {
                char word[64];
                (void)snprintf(word, sizeof word, "--%s", o->name);
                assert_non_null(strstr(help, word));
                assert_non_null(strstr(bash, word));
            }
        free(help);
        assert_non_null(strstr(man, v->name));
    }
    free(man);
    free(bash);
}

// Of a network with 8 GB of weights.
static const char *said_of_memory(const char *precision, bool gradients, double available)
{
    const aleat_model_facts facts = {
        .precision = precision, .weight_bytes = 8000000000, .plan_bytes = 1000000000};
    listen_begin();
    aleat_cli_warn_of_memory(aleat_cli_find_verb("generate"), &facts, gradients, available);
    listen_end();
    return said;
}

static void a_network_that_does_not_fit_into_memory_is_remarked_on(void **state)
{
    (void)state;
    assert_string_equal(said_of_memory("f32", false, 9e9), "");
    assert_string_equal(said_of_memory("f32", false, 0), ""); // not known
    assert_non_null(strstr(said_of_memory("f32", false, 8.9e9), "8.0 GB of weights"));
    assert_non_null(strstr(said, "bf16"));
    assert_non_null(strstr(said_of_memory("bf16", true, 16e9), "16.0 GB of weights"));
    assert_null(strstr(said, "--precision"));
    assert_true(aleat_cli_free_memory() > 1e6); // this test runs
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_default_of_every_verb_parses),
        cmocka_unit_test(options_come_in_every_spelling),
        cmocka_unit_test(a_misspelt_option_is_met_with_the_right_one),
        cmocka_unit_test(wrong_values_are_refused_by_name_and_limit),
        cmocka_unit_test(options_that_would_do_nothing_are_refused),
        cmocka_unit_test(the_nearest_word_is_near),
        cmocka_unit_test(every_option_is_in_help_man_page_and_completion),
        cmocka_unit_test(a_network_that_does_not_fit_into_memory_is_remarked_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
