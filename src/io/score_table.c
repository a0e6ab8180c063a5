#include "io/score_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"

enum { MAX_NAME = 200, MAX_COLUMNS = 4096, MAX_NUMBER = 64 };

struct aleat_score_table {
    char *path;
    aleat_mapping file;
    char *header; // names, each ended by 0
    char **names; // [columns], into header
    int columns;
    size_t first, at; // bytes: the first row, the next row
    int64_t line;     // number of the line before `at`
    size_t row;       // where that line begins
};

// The line from `at` without its end; false after the last one.
static bool next_line(const aleat_score_table *t, size_t at, const char **line, size_t *len)
{
    if (at >= t->file.len)
        return false;
    *line = (const char *)t->file.data + at;
    const char *end = memchr(*line, '\n', t->file.len - at);
    *len = end ? (size_t)(end - *line) : t->file.len - at;
    return true;
}

// Skips what next_line() gave; a carriage return before the end belongs to it.
static size_t trimmed(const char *line, size_t len)
{
    return len && line[len - 1] == '\r' ? len - 1 : len;
}

static aleat_status read_header(aleat_score_table *t, aleat_error *err)
{
    const char *line = NULL;
    size_t len = 0;
    if (!next_line(t, 0, &line, &len) || trimmed(line, len) == 0)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: has no header", t->path);
    t->first = t->at = len + 1;
    t->line = 1;
    len = trimmed(line, len);
    t->columns = 1;
    for (size_t i = 0; i < len && t->columns <= MAX_COLUMNS; i++)
        t->columns += line[i] == ',';
    if (t->columns > MAX_COLUMNS || memchr(line, '\0', len))
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: the header is not a list of at most %d names",
                          t->path, MAX_COLUMNS);
    t->header = aleat_alloc(len + 1);
    t->names = aleat_calloc((size_t)t->columns, sizeof *t->names);
    if (!t->header || !t->names)
        return aleat_fail_memory(err, t->path);
    memcpy(t->header, line, len);
    t->header[len] = '\0';
    char *rest = t->header;
    for (int c = 0; c < t->columns; c++) {
        t->names[c] = strsep(&rest, ",");
        if (strlen(t->names[c]) > MAX_NAME)
            return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: column %d has a name of %zu bytes",
                              t->path, c + 1, strlen(t->names[c]));
    }
    return ALEAT_OK;
}

aleat_status aleat_score_table_open(aleat_score_table **out, const char *path, aleat_error *err)
{
    *out = NULL;
    aleat_score_table *t = aleat_calloc(1, sizeof *t);
    if (!t)
        return aleat_fail_memory(err, path);
    t->path = aleat_strdup(path);
    aleat_status st =
        t->path ? aleat_mapping_open(&t->file, path, err) : aleat_fail_memory(err, path);
    if (!st)
        st = read_header(t, err);
    if (st)
        goto done;
    *out = t;
    t = NULL;
done:
    aleat_score_table_free(t);
    return st;
}

void aleat_score_table_free(aleat_score_table *t)
{
    if (!t)
        return;
    aleat_mapping_close(&t->file);
    aleat_free(t->header);
    aleat_free(t->names);
    aleat_free(t->path);
    aleat_free(t);
}

int aleat_score_table_columns(const aleat_score_table *t)
{
    return t->columns;
}

const char *aleat_score_table_name(const aleat_score_table *t, int column)
{
    return t->names[column];
}

void aleat_score_table_rewind(aleat_score_table *t)
{
    t->at = t->first;
    t->row = 0;
    t->line = 1;
}

const char *aleat_score_table_text(const aleat_score_table *t, size_t *len)
{
    const char *line = NULL;
    *len = 0;
    if (next_line(t, t->row, &line, len))
        *len = trimmed(line, *len);
    return line;
}

// A whole field as a number; an image without that number has an empty field.
static bool read_number(double *value, const char *field, size_t len)
{
    char text[MAX_NUMBER + 1], *end;
    *value = NAN;
    if (len == 0 || len > MAX_NUMBER)
        return len == 0;
    memcpy(text, field, len);
    text[len] = '\0';
    *value = strtod(text, &end);
    return end == text + len;
}

aleat_status aleat_score_table_next(aleat_score_table *t, double *values, bool *more,
                                    aleat_error *err)
{
    const char *line = NULL;
    size_t len = 0;
    *more = next_line(t, t->at, &line, &len);
    if (!*more)
        return ALEAT_OK;
    t->row = t->at;
    t->at += len + 1;
    t->line++;
    len = trimmed(line, len);
    const char *field = line, *const end = line + len;
    for (int c = 0; c < t->columns; c++) {
        const char *comma = field <= end ? memchr(field, ',', (size_t)(end - field)) : NULL;
        const char *stop = comma ? comma : end;
        const bool last = c + 1 == t->columns;
        if (field > end || last != !comma ||
            !read_number(&values[c], field, (size_t)(stop - field)))
            return aleat_fail(err, ALEAT_ERR_FORMAT,
                              "%s:%lld: column %d ('%s') is no number, or the line has not %d "
                              "columns",
                              t->path, (long long)t->line, c + 1, t->names[c], t->columns);
        field = stop + 1;
    }
    return ALEAT_OK;
}
