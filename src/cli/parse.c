#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/message.h"

#define MAX_CANDIDATES 128
#define MAX_WORD       64

// Edit distance with transpositions (optimal string alignment), for words of up to MAX_WORD
// letters.
static int edit_distance(const char *a, const char *b)
{
    const int na = (int)strlen(a), nb = (int)strlen(b);
    if (na > MAX_WORD || nb > MAX_WORD)
        return MAX_WORD;
    int d[MAX_WORD + 1][MAX_WORD + 1];
    for (int i = 0; i <= na; i++)
        d[i][0] = i;
    for (int j = 0; j <= nb; j++)
        d[0][j] = j;
    for (int i = 1; i <= na; i++)
        for (int j = 1; j <= nb; j++) {
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[na][nb];
}

const char *aleat_cli_nearest(const char *word, const char *const *candidates, int n)
{
    const char *nearest = NULL;
    int least = MAX_WORD;
    for (int i = 0; i < n; i++) {
        int distance = edit_distance(word, candidates[i]);
        // what was typed may be the beginning of what was meant
        if (strlen(word) >= 3 && strncmp(word, candidates[i], strlen(word)) == 0 && distance > 1)
            distance = 1;
        if (distance < least) {
            least = distance;
            nearest = candidates[i];
        }
    }
    return least <= 1 + (int)strlen(word) / 4 ? nearest : NULL;
}

const char *aleat_cli_choice_word(aleat_cli_choices *choices, int index)
{
    const char *word = choices(index, NULL);
    return word ? word : "?";
}

static void *field(const aleat_cli_option *option, aleat_cli_args *args)
{
    return (char *)args + option->offset;
}

static bool parse_int(const aleat_cli_verb *verb, const aleat_cli_option *o, const char *text,
                      int64_t *out)
{
    char *end;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (*end || end == text || errno) {
        aleat_cli_complain(verb->name, "--%s: '%s' is not a whole number", o->name, text);
        return false;
    }
    if ((double)value < o->min || (double)value > o->max) {
        aleat_cli_complain(verb->name, "--%s: %lld is not within %.0f to %.0f", o->name, value,
                           o->min, o->max);
        return false;
    }
    *out = value;
    return true;
}

static bool parse_seed(const aleat_cli_verb *verb, const aleat_cli_option *o, const char *text,
                       uint64_t *out)
{
    char *end;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (*end || end == text || errno || text[0] == '-') {
        aleat_cli_complain(verb->name, "--%s: '%s' is not a whole number from 0 to 2^64-1", o->name,
                           text);
        return false;
    }
    *out = value;
    return true;
}

// Bytes from a number and K, M, G or T (powers of 1024).
static bool parse_size(const aleat_cli_verb *verb, const aleat_cli_option *o, const char *text,
                       int64_t *out)
{
    static const char units[] = "KMGT";
    char *end;
    const double number = strtod(text, &end);
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    const double bytes = unit ? ldexp(number, 10 * (int)(unit - units + 1)) : 0;
    if (end == text || !unit || end[1] || !(bytes >= 1 << 20) || bytes > 0x1p62) {
        aleat_cli_complain(verb->name, "--%s: '%s' is not a size of 1M or more, like 512M or 1.5G",
                           o->name, text);
        return false;
    }
    *out = (int64_t)bytes;
    return true;
}

static bool parse_double(const aleat_cli_verb *verb, const aleat_cli_option *o, const char *text,
                         double *out)
{
    char *end;
    const double value = strtod(text, &end);
    if (*end || end == text || !isfinite(value)) {
        aleat_cli_complain(verb->name, "--%s: '%s' is not a number", o->name, text);
        return false;
    }
    if (value < o->min || value > o->max) {
        aleat_cli_complain(verb->name, "--%s: %g is not within %g to %g", o->name, value, o->min,
                           o->max);
        return false;
    }
    *out = value;
    return true;
}

static bool parse_range(const aleat_cli_verb *verb, const aleat_cli_option *o, const char *text,
                        aleat_cli_range *out)
{
    char *middle, *end;
    errno = 0;
    const long long begin = strtoll(text, &middle, 10);
    const long long stop = *middle == ':' ? strtoll(middle + 1, &end, 10) : 0;
    if (middle == text || *middle != ':' || end == middle + 1 || *end || errno || begin < 0 ||
        stop <= begin) {
        aleat_cli_complain(
            verb->name,
            "--%s: '%s' is not a range a:b of steps (a is the first, b the one after "
            "the last, so 45:49 is four steps)",
            o->name, text);
        return false;
    }
    *out = (aleat_cli_range){begin, stop, true};
    return true;
}

static bool parse_choice(const aleat_cli_verb *verb, const aleat_cli_option *o, const char *text,
                         int *out)
{
    const char *words[MAX_CANDIDATES];
    int n = 0;
    for (; n < MAX_CANDIDATES && (words[n] = o->choices(n, NULL)); n++)
        if (strcmp(words[n], text) == 0) {
            *out = n;
            return true;
        }
    char list[512] = "";
    for (int i = 0; i < n; i++) {
        const size_t used = strlen(list);
        (void)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", words[i]);
    }
    aleat_cli_complain(verb->name, "--%s: '%s' is not one of: %s", o->name, text, list);
    const char *meant = aleat_cli_nearest(text, words, n);
    if (meant)
        aleat_cli_advise("did you mean '%s'?", meant);
    return false;
}

// The words stay one text, as the library takes them.
static bool parse_choices(const aleat_cli_verb *verb, const aleat_cli_option *o, const char *text,
                          const char **out)
{
    *out = text;
    for (const char *at = text; at;) {
        char word[MAX_WORD];
        int which;
        const size_t length = strcspn(at, ",");
        (void)snprintf(word, sizeof word, "%.*s", (int)length, at);
        if (!parse_choice(verb, o, word, &which))
            return false;
        at = at[length] ? at + length + 1 : NULL;
    }
    return true;
}

static bool parse_auto(const aleat_cli_verb *verb, const aleat_cli_option *o, const char *text,
                       double *out)
{
    *out = NAN;
    return strcmp(text, "auto") == 0 || parse_double(verb, o, text, out);
}

static bool add_text(const aleat_cli_verb *verb, const aleat_cli_option *o, const char *text,
                     aleat_cli_texts_given *out)
{
    if (out->n == ALEAT_CLI_MAX_TEXTS) {
        aleat_cli_complain(verb->name, "--%s: more than %d of them", o->name, ALEAT_CLI_MAX_TEXTS);
        return false;
    }
    out->at[out->n++] = text;
    return true;
}

static bool set_value(const aleat_cli_verb *verb, const aleat_cli_option *o, const char *text,
                      aleat_cli_args *args)
{
    void *to = field(o, args);
    switch (o->type) {
    case ALEAT_CLI_FLAG: *(bool *)to = true; return true;
    case ALEAT_CLI_INT: return parse_int(verb, o, text, to);
    case ALEAT_CLI_SEED: return parse_seed(verb, o, text, to);
    case ALEAT_CLI_SIZE: return parse_size(verb, o, text, to);
    case ALEAT_CLI_DOUBLE: return parse_double(verb, o, text, to);
    case ALEAT_CLI_AUTO: return parse_auto(verb, o, text, to);
    case ALEAT_CLI_TEXTS: return add_text(verb, o, text, to);
    case ALEAT_CLI_RANGE: return parse_range(verb, o, text, to);
    case ALEAT_CLI_CHOICE: return parse_choice(verb, o, text, to);
    case ALEAT_CLI_CHOICES: return parse_choices(verb, o, text, to);
    case ALEAT_CLI_STRING:
    case ALEAT_CLI_TEXT:
    case ALEAT_CLI_PATH:
    case ALEAT_CLI_PATHS: *(const char **)to = text; return true;
    }
    return false;
}

static bool set_defaults(const aleat_cli_verb *verb, aleat_cli_args *args)
{
    for (const aleat_cli_group *const *g = verb->groups; *g; g++)
        for (const aleat_cli_option *o = (*g)->options; o->name; o++)
            if (o->fallback && !set_value(verb, o, o->fallback, args))
                return false;
    return true;
}

static bool is_called(const char *name, const char *word, size_t n)
{
    return name && strlen(name) == n && memcmp(name, word, n) == 0;
}

// The option called by name (length n) or, if n is 0, by letter.
static const aleat_cli_option *find_option(const aleat_cli_verb *verb, const char *name, size_t n,
                                           char letter)
{
    for (const aleat_cli_group *const *g = verb->groups; *g; g++)
        for (const aleat_cli_option *o = (*g)->options; o->name; o++)
            if (n ? is_called(o->name, name, n) || is_called(o->also, name, n)
                  : o->letter == letter)
                return o;
    return NULL;
}

// Options of the command line, in its order.
typedef struct given_options {
    const aleat_cli_option *options[MAX_CANDIDATES];
    int count;
} given_options;

static void complain_unknown(const aleat_cli_verb *verb, const char *word)
{
    aleat_cli_complain(verb->name, "there is no option '%s'", word);
    const char *names[MAX_CANDIDATES];
    int n = 0;
    for (const aleat_cli_group *const *g = verb->groups; *g; g++)
        for (const aleat_cli_option *o = (*g)->options; o->name && n < MAX_CANDIDATES; o++)
            names[n++] = o->name;
    char typed[MAX_WORD];
    (void)snprintf(typed, sizeof typed, "%s", word + strspn(word, "-"));
    typed[strcspn(typed, "=")] = '\0';
    const char *meant = aleat_cli_nearest(typed, names, n);
    if (meant)
        aleat_cli_advise("did you mean '--%s'?", meant);
    else
        aleat_cli_advise("'aleat %s --help' lists the options", verb->name);
}

static bool take_operand(const aleat_cli_verb *verb, const char *word, aleat_cli_args *args)
{
    if (verb->several && args->operand && args->n_more < ALEAT_CLI_MAX_OPERANDS) {
        args->more_operands[args->n_more++] = word;
        return true;
    }
    if (!verb->operand || args->operand) {
        aleat_cli_complain(verb->name, "'%s' is one argument too many", word);
        aleat_cli_advise("usage: aleat %s %s [options]", verb->name,
                         verb->operand ? verb->operand : "");
        return false;
    }
    args->operand = word;
    return true;
}

// Reads the option at argv[*i], and its value from the same word or the next one.
static bool take_option(const aleat_cli_verb *verb, int argc, char **argv, int *i,
                        aleat_cli_args *args, given_options *given)
{
    const char *word = argv[*i], *value = NULL;
    const aleat_cli_option *o;
    if (word[1] == '-') {
        const size_t n = strcspn(word + 2, "=");
        o = n ? find_option(verb, word + 2, n, 0) : NULL;
        if (word[2 + n] == '=')
            value = word + 2 + n + 1;
    } else {
        o = find_option(verb, "", 0, word[1]);
        if (word[2])
            value = word + 2;
    }
    if (!o || (o->type == ALEAT_CLI_FLAG && value && word[1] != '-')) {
        complain_unknown(verb, word);
        return false;
    }
    if (given->count < MAX_CANDIDATES)
        given->options[given->count++] = o;
    if (o->type == ALEAT_CLI_FLAG) {
        if (value)
            aleat_cli_complain(verb->name, "--%s takes no value", o->name);
        return !value && set_value(verb, o, "", args);
    }
    if (!value && *i + 1 < argc)
        value = argv[++*i];
    if (!value || (!*value && o->type != ALEAT_CLI_TEXT && o->type != ALEAT_CLI_TEXTS)) {
        aleat_cli_complain(verb->name, "--%s wants a value: %s", o->name, o->value);
        return false;
    }
    if (o->type == ALEAT_CLI_PATHS && *i + 1 < argc && argv[*i + 1][0] != '-')
        ((const char **)field(o, args))[1] = argv[++*i];
    return set_value(verb, o, value, args);
}

// An option that would be ignored is an error: whoever gave it wanted something of it.
static bool check_needs(const aleat_cli_verb *verb, const given_options *given)
{
    for (int i = 0; i < given->count; i++) {
        const aleat_cli_option *o = given->options[i];
        bool there = !o->needs;
        for (int j = 0; j < given->count && !there; j++)
            there = strcmp(given->options[j]->name, o->needs) == 0;
        if (!there) {
            aleat_cli_complain(verb->name, "--%s does nothing without --%s", o->name, o->needs);
            return false;
        }
    }
    return true;
}

// A required option is a string that nobody gave.
static bool check_complete(const aleat_cli_verb *verb, aleat_cli_args *args)
{
    if (verb->operand && !args->operand) {
        aleat_cli_complain(verb->name, "which %s?", verb->operand);
        aleat_cli_advise("usage: aleat %s %s [options]; %s is %s", verb->name, verb->operand,
                         verb->operand, verb->operand_help);
        return false;
    }
    for (const aleat_cli_group *const *g = verb->groups; *g; g++)
        for (const aleat_cli_option *o = (*g)->options; o->name; o++)
            if (o->required && !*(const char **)field(o, args)) {
                aleat_cli_complain(verb->name, "needs --%s %s: %s", o->name, o->value, o->help);
                return false;
            }
    return true;
}

bool aleat_cli_parse(const aleat_cli_verb *verb, int argc, char **argv, aleat_cli_args *args)
{
    *args = (aleat_cli_args){.argc = argc, .argv = argv};
    if (!set_defaults(verb, args))
        return false;
    bool only_operands = false;
    given_options given = {0};
    for (int i = 0; i < argc; i++) {
        if (!only_operands && strcmp(argv[i], "--") == 0)
            only_operands = true;
        else if (!only_operands && argv[i][0] == '-' && argv[i][1]) {
            if (!take_option(verb, argc, argv, &i, args, &given))
                return false;
        } else if (!take_operand(verb, argv[i], args))
            return false;
    }
    return args->help || (check_complete(verb, args) && check_needs(verb, &given));
}

// A word without letters that a shell would take for its own.
static bool is_plain(const char *word)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "_@%+=:,./-";
    return *word && word[strspn(word, plain)] == '\0';
}

char *aleat_cli_command_line(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    char *line = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&line, &len);
    if (!to)
        return NULL;
    (void)fprintf(to, "aleat %s", verb->name);
    for (int i = 0; i < args->argc; i++) {
        const char *word = args->argv[i];
        if (is_plain(word)) {
            (void)fprintf(to, " %s", word);
            continue;
        }
        (void)fputs(" '", to);
        for (; *word; word++)
            (void)fputs(*word == '\'' ? "'\\''" : (const char[]){*word, '\0'}, to);
        (void)fputc('\'', to);
    }
    const bool whole = !ferror(to);
    if (fclose(to) == 0 && whole)
        return line;
    free(line);
    return NULL;
}
