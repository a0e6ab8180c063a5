/* Texts of options and files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

void aleat_cli_text_list_clear(aleat_cli_text_list *t)
{
    free((void *)t->at);
    free(t->file);
    *t = (aleat_cli_text_list){0};
}

aleat_status aleat_cli_text_list_add(aleat_cli_text_list *t, const char *text, aleat_error *err)
{
    const char **grown = realloc((void *)t->at, (size_t)(t->count + 1) * sizeof *grown);
    if (!grown)
        return aleat_cli_fail(err, ALEAT_ERR_MEMORY, "out of memory: texts");
    t->at = grown;
    t->at[t->count++] = text;
    return ALEAT_OK;
}

/** A whole file with a 0 behind it, in new memory; "-": standard input. */
static aleat_status read_file(char **out, const char *path, aleat_error *err)
{
    enum { PIECE = 65536 };
    FILE *file = strcmp(path, "-") ? fopen(path, "rb") : stdin;
    if (!file)
        return aleat_cli_fail(err, ALEAT_ERR_IO, "%s: %s", path, strerror(errno));
    char *text = NULL;
    size_t len = 0, got = 1;
    while (got) {
        char *grown = realloc(text, len + PIECE + 1);
        if (!grown)
            break;
        text = grown;
        got = fread(text + len, 1, PIECE, file);
        len += got;
        text[len] = '\0';
    }
    const bool failed = ferror(file) != 0;
    if (file != stdin)
        (void)fclose(file);
    if (!got && !failed) {
        *out = text;
        return ALEAT_OK;
    }
    free(text);
    return failed ? aleat_cli_fail(err, ALEAT_ERR_IO, "%s: %s", path, strerror(errno))
                  : aleat_cli_fail(err, ALEAT_ERR_MEMORY, "out of memory: %s", path);
}

aleat_status aleat_cli_text_list_add_lines(aleat_cli_text_list *t, const char *path,
                                           aleat_error *err)
{
    aleat_status st = read_file(&t->file, path, err);
    for (char *line = t->file; !st && line && *line;) {
        char *end = strchr(line, '\n');
        char *next = end ? end + 1 : NULL;
        if (end)
            *end = '\0';
        if (end && end > line && end[-1] == '\r')
            end[-1] = '\0';
        st = aleat_cli_text_list_add(t, line, err);
        line = next;
    }
    return st;
}
