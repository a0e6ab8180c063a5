#include "cli/cli.h"

#include <string.h>

#define WIDTH  80 // columns of text
#define INDENT 26 // where explanations begin

// Prints text wrapped at WIDTH; the cursor is in `column`, later lines begin at `indent`.
static void print_wrapped(FILE *to, const char *text, int column, int indent)
{
    int blanks = 0; // before the next word, unless it begins a line
    while (*text) {
        const int word = (int)strcspn(text, " \n");
        if (column > indent && column + blanks + word > WIDTH) {
            (void)fprintf(to, "\n%*s", indent, "");
            column = indent;
            blanks = 0;
        }
        (void)fprintf(to, "%*s%.*s", blanks, "", word, text);
        column += blanks + word;
        text += word;
        blanks = *text == ' ';
        if (*text == '\n') {
            (void)fprintf(to, "\n%*s", indent, "");
            column = indent;
        }
        text += *text != '\0';
    }
    (void)fputc('\n', to);
}

// "-o, --run DIR" without dashes' padding; returns its length.
static int option_text(const aleat_cli_option *o, char *buf, size_t size)
{
    char letter[8] = "";
    if (o->letter)
        (void)snprintf(letter, sizeof letter, "-%c, ", o->letter);
    return snprintf(buf, size, "%s--%s%s%s", letter, o->name, o->value ? " " : "",
                    o->value ? o->value : "");
}

// An explanation with what may be chosen; its length.
static int with_choices(const char *text, aleat_cli_choices *choices, char *buf, size_t size)
{
    int used = snprintf(buf, size, "%s", text);
    const char *word, *help = NULL;
    for (int i = 0; choices && (word = choices(i, &help)) && used < (int)size; i++) {
        used += snprintf(buf + used, size - (size_t)used, "%s%s%s%s%s", i ? "; " : ": ", word,
                         help ? " (" : "", help ? help : "", help ? ")" : "");
        help = NULL;
    }
    return used;
}

// The explanation with its choices and its default.
static void explanation(const aleat_cli_option *o, char *buf, size_t size)
{
    const int used = with_choices(o->help, o->choices, buf, size);
    if ((o->fallback || o->required) && used < (int)size)
        (void)snprintf(buf + used, size - (size_t)used, " [%s]",
                       o->required ? "required" : o->fallback);
}

static void print_option(FILE *to, const aleat_cli_option *o)
{
    char left[128], right[2048];
    const int n = option_text(o, left, sizeof left);
    explanation(o, right, sizeof right);
    (void)fprintf(to, "  %s", left);
    int column = n + 2;
    if (column >= INDENT) {
        (void)fputc('\n', to);
        column = 0;
    }
    (void)fprintf(to, "%*s", INDENT - column, "");
    print_wrapped(to, right, INDENT, INDENT);
}

void aleat_cli_print_help(FILE *to, const aleat_cli_verb *verb)
{
    (void)fprintf(to, "usage: aleat %s %s%s[options]\n\n", verb->name,
                  verb->operand ? verb->operand : "", verb->operand ? " " : "");
    print_wrapped(to, verb->summary, 0, 0);
    if (verb->notes) {
        (void)fputc('\n', to);
        print_wrapped(to, verb->notes, 0, 0);
    }
    if (verb->operand) {
        char text[2048];
        (void)with_choices(verb->operand_help, verb->operands, text, sizeof text);
        (void)fprintf(to, "\n  %-*s", INDENT - 2, verb->operand);
        print_wrapped(to, text, INDENT, INDENT);
    }
    for (const aleat_cli_group *const *g = verb->groups; *g; g++) {
        (void)fprintf(to, "\n%s\n", (*g)->title);
        for (const aleat_cli_option *o = (*g)->options; o->name; o++)
            print_option(to, o);
    }
}

void aleat_cli_print_overview(FILE *to)
{
    (void)fprintf(to, "usage: aleat VERB ... [options]\n\n"
                      "Runs a pretrained diffusion model, watches it guess, and says where.\n\n");
    for (const aleat_cli_verb *v = aleat_cli_verbs; v->name; v++) {
        (void)fprintf(to, "  %-14s", v->name);
        print_wrapped(to, v->summary, 16, 16);
    }
    (void)fprintf(to,
                  "\n'aleat VERB --help' explains a verb; 'aleat --version' names this version.\n"
                  "Results go to stdout, everything else to stderr; exit code 0: done, 1: "
                  "failed,\n2: wrong usage.\n");
}

// Text for man(7): a dash is a minus, a backslash and a leading dot are escaped.
static void man_text(FILE *to, const char *text)
{
    for (bool line_start = true; *text; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            (void)fputs("\\&", to);
        if (*text == '-')
            (void)fputs("\\-", to);
        else if (*text == '\\')
            (void)fputs("\\e", to);
        else
            (void)fputc(*text, to);
        line_start = *text == '\n';
    }
}

static void man_verb(FILE *to, const aleat_cli_verb *v)
{
    char left[128], right[2048];
    (void)fprintf(to, ".SS aleat %s %s [options]\n", v->name, v->operand ? v->operand : "");
    man_text(to, v->summary);
    (void)fputs(".\n", to);
    if (v->notes) {
        (void)fputs(".PP\n", to);
        man_text(to, v->notes);
        (void)fputc('\n', to);
    }
    if (v->operand) {
        (void)with_choices(v->operand_help, v->operands, right, sizeof right);
        (void)fprintf(to, ".TP\n.I %s\n", v->operand);
        man_text(to, right);
        (void)fputc('\n', to);
    }
    for (const aleat_cli_group *const *g = v->groups; *g; g++)
        for (const aleat_cli_option *o = (*g)->options; o->name; o++) {
            (void)option_text(o, left, sizeof left);
            explanation(o, right, sizeof right);
            (void)fputs(".TP\n.B ", to);
            man_text(to, left);
            (void)fputc('\n', to);
            man_text(to, right);
            (void)fputc('\n', to);
        }
}

void aleat_cli_print_man(FILE *to)
{
    (void)fprintf(
        to,
        ".TH ALEAT 1 \"\" \"aleat %s\" \"User Commands\"\n.SH NAME\naleat \\- run diffusion "
        "models with pixel\\-wise uncertainty\n.SH SYNOPSIS\n.B aleat\n.I verb\n"
        "[\\fImodel\\fR] [\\fIoptions\\fR]\n.SH DESCRIPTION\nRuns a pretrained diffusion "
        "model, watches it guess, and says where. Results go to standard output, "
        "everything else to standard error.\n.SH VERBS\n",
        aleat_version());
    for (const aleat_cli_verb *v = aleat_cli_verbs; v->name; v++)
        man_verb(to, v);
    (void)fputs(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage.\n.SH ENVIRONMENT\n.TP\n.B "
                "ALEAT_ISA\nUse no better instructions than these: c, avx2, avx512, "
                "avx512_bf16.\n.SH FILES\nThe layout of run folders is described in formats.md, "
                "installed with the documentation.\n",
                to);
}

static void complete_verb(FILE *to, const aleat_cli_verb *v)
{
    (void)fprintf(to, "    %s)\n        case $prev in\n", v->name);
    for (const aleat_cli_group *const *g = v->groups; *g; g++)
        for (const aleat_cli_option *o = (*g)->options; o->name; o++) {
            if (o->type == ALEAT_CLI_FLAG || o->type == ALEAT_CLI_PATH ||
                o->type == ALEAT_CLI_PATHS)
                continue;
            (void)fprintf(to, "        --%s) COMPREPLY=($(compgen -W '", o->name);
            const char *word;
            for (int i = 0; o->choices && (word = o->choices(i, NULL)); i++)
                (void)fprintf(to, "%s%s", i ? " " : "", word);
            (void)fputs("' -- \"$cur\")); return ;;\n", to);
        }
    (void)fputs("        esac\n        options='", to);
    for (const aleat_cli_group *const *g = v->groups; *g; g++)
        for (const aleat_cli_option *o = (*g)->options; o->name; o++)
            (void)fprintf(to, "--%s ", o->name);
    (void)fputs("'\n        operands='", to);
    const char *operand;
    for (int i = 0; v->operands && (operand = v->operands(i, NULL)); i++)
        (void)fprintf(to, "%s ", operand);
    (void)fputs("' ;;\n", to);
}

void aleat_cli_print_completion(FILE *to)
{
    (void)fputs("# bash completion for aleat, printed by 'aleat completion'\n"
                "_aleat() {\n"
                "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} options= "
                "operands=\n"
                "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                "        COMPREPLY=($(compgen -W '",
                to);
    for (const aleat_cli_verb *v = aleat_cli_verbs; v->name; v++)
        (void)fprintf(to, "%s ", v->name);
    (void)fputs("--help --version' -- \"$cur\"))\n        return\n    fi\n"
                "    case ${COMP_WORDS[1]} in\n",
                to);
    for (const aleat_cli_verb *v = aleat_cli_verbs; v->name; v++)
        complete_verb(to, v);
    (void)fputs("    esac\n"
                "    case $cur in\n"
                "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$cur\")) ;;\n"
                "    *) if [ \"$COMP_CWORD\" -eq 2 ] && [ -n \"$operands\" ]; then\n"
                "           COMPREPLY=($(compgen -W \"$operands\" -- \"$cur\")); return; fi\n"
                "       compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
                "    esac\n"
                "}\n"
                "complete -F _aleat aleat\n",
                to);
}
