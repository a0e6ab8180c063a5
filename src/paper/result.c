#include "paper/result.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aleat/aleat.h"
#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/json.h"

/* ---- collecting ------------------------------------------------------------------------------ */

// Appends to an array that is made when it is needed; takes the value.
static json_t *append(aleat_result *result, json_t **array, json_t *value)
{
    if (!*array)
        *array = json_array();
    if (*array && value && json_array_append_new(*array, value) == 0)
        return value;
    result->no_memory = true;
    return NULL;
}

json_t *aleat_result_row(aleat_result *result)
{
    return append(result, &result->rows, json_object());
}

static void put(aleat_result *result, json_t *row, const char *key, json_t *value)
{
    if (!row || json_object_set_new(row, key, value)) // which releases the value either way
        result->no_memory = true;
    if (!row)
        json_decref(value);
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

void aleat_row_text(aleat_result *result, json_t *row, const char *key, const char *text)
{
    put(result, row, key, json_string(text));
}

void aleat_row_count(aleat_result *result, json_t *row, const char *key, int64_t value)
{
    put(result, row, key, json_integer(value));
}

void aleat_row_number(aleat_result *result, json_t *row, const char *key, double value)
{
    put(result, row, key, number(value));
}

void aleat_row_interval(aleat_result *result, json_t *row, const char *key, double value,
                        double low, double high)
{
    char name[64];
    put(result, row, key, number(value));
    (void)snprintf(name, sizeof name, "%s_low", key);
    put(result, row, name, number(low));
    (void)snprintf(name, sizeof name, "%s_high", key);
    put(result, row, name, number(high));
}

static json_t *text_of(const char *fmt, va_list args)
{
    char text[1024];
    (void)vsnprintf(text, sizeof text, fmt, args);
    return json_string(text);
}

void aleat_result_note(aleat_result *result, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)append(result, &result->notes, text_of(fmt, args));
    va_end(args);
}

void aleat_result_warn(aleat_result *result, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    json_t *text = text_of(fmt, args);
    va_end(args);
    for (size_t i = 0; text && i < json_array_size(result->warnings); i++)
        if (json_equal(text, json_array_get(result->warnings, i))) {
            json_decref(text);
            return;
        }
    (void)append(result, &result->warnings, text);
}

void aleat_result_clear(aleat_result *result)
{
    if (!result)
        return;
    json_decref(result->rows);
    json_decref(result->notes);
    json_decref(result->warnings);
    json_decref(result->settings);
    memset(result, 0, sizeof *result);
}

/* ---- telling --------------------------------------------------------------------------------- */

static aleat_status print(const aleat_atomic_file *file, aleat_error *err, const char *fmt, ...)
    ALEAT_PRINTF(3, 4);
static aleat_status print(const aleat_atomic_file *file, aleat_error *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vfprintf(file->stream, fmt, args);
    va_end(args);
    return n < 0 ? aleat_fail_errno(err, "cannot write", file->path) : ALEAT_OK;
}

// A field of CSV, digits 0: all 17 of a number.
static void field_text(char *out, size_t size, const json_t *value, int digits, const char *none)
{
    if (json_is_string(value))
        (void)snprintf(out, size, "%s", json_string_value(value));
    else if (json_is_integer(value))
        (void)snprintf(out, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        (void)snprintf(out, size, "%.*g", digits ? digits : 17, json_real_value(value));
    else
        (void)snprintf(out, size, "%s", none);
}

static const char *const parts[] = {"", "_low", "_high"};

static aleat_status write_csv(aleat_atomic_file *file, const aleat_result *r, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    char key[80], text[256];
    for (size_t i = 0; !st && i <= json_array_size(r->rows); i++) { // the header first
        const char *comma = "";
        for (const aleat_column *c = r->columns; !st && c->key; c++)
            for (int p = 0; !st && p < (c->interval ? 3 : 1); p++, comma = ",") {
                (void)snprintf(key, sizeof key, "%s%s", c->key, parts[p]);
                if (i)
                    field_text(text, sizeof text,
                               json_object_get(json_array_get(r->rows, i - 1), key), 0, "");
                const bool quoted = i && strpbrk(text, ",\n") != NULL;
                st = print(file, err, "%s%s%s%s", comma, quoted ? "\"" : "", i ? text : key,
                           quoted ? "\"" : "");
            }
        if (!st)
            st = print(file, err, "\n");
    }
    return st;
}

static aleat_status print_cell(const aleat_atomic_file *file, const aleat_column *c,
                               const json_t *row, aleat_error *err)
{
    char text[3][256], key[80];
    for (int p = 0; p < 3; p++) {
        (void)snprintf(key, sizeof key, "%s%s", c->key, parts[p]);
        field_text(text[p], sizeof text[p], json_object_get(row, key), c->digits, "-");
        for (char *at = text[p]; *at; at++) // which would end the cell
            if (*at == '|' || (unsigned char)*at < ' ')
                *at = ' ';
    }
    if (!c->interval || strcmp(text[1], "-") == 0)
        return print(file, err, " %s |", text[0]);
    return print(file, err, " %s [%s, %s] |", text[0], text[1], text[2]);
}

// Columns that no row fills are left out.
static bool is_shown(const aleat_column *c, const aleat_result *r)
{
    for (size_t i = 0; c->heading && i < json_array_size(r->rows); i++) {
        const json_t *value = json_object_get(json_array_get(r->rows, i), c->key);
        if (value && !json_is_null(value))
            return !(c->detail && r->brief);
    }
    return false;
}

aleat_status aleat_result_print(const aleat_atomic_file *file, const aleat_result *r,
                                aleat_error *err)
{
    enum { MOST_COLUMNS = 64 };
    const aleat_column *shown[MOST_COLUMNS];
    int n = 0;
    for (const aleat_column *c = r->columns; c->key && n < MOST_COLUMNS; c++)
        if (is_shown(c, r))
            shown[n++] = c;
    aleat_status st = r->no_memory ? aleat_fail_memory(err, "a table") : print(file, err, "|");
    for (int c = 0; !st && c < n; c++)
        st = print(file, err, " %s |", shown[c]->heading);
    if (!st)
        st = print(file, err, "\n|");
    for (int c = 0; !st && c < n; c++)
        st = print(file, err, "---|");
    if (!st)
        st = print(file, err, "\n");
    for (size_t i = 0; !st && i < json_array_size(r->rows); i++) {
        st = print(file, err, "|");
        for (int c = 0; !st && c < n; c++)
            st = print_cell(file, shown[c], json_array_get(r->rows, i), err);
        if (!st)
            st = print(file, err, "\n");
    }
    return st;
}

static aleat_status write_markdown(aleat_atomic_file *file, const aleat_result *r,
                                   const char *title, const char *command, aleat_error *err)
{
    aleat_status st = print(file, err, "# %s\n\n", title);
    if (!st && command)
        st = print(file, err, "    %s\n\n", command);
    if (!st)
        st = aleat_result_print(file, r, err);
    for (size_t i = 0; !st && i < json_array_size(r->notes); i++)
        st = print(file, err, "\n%s\n", json_string_value(json_array_get(r->notes, i)));
    for (size_t i = 0; !st && i < json_array_size(r->warnings); i++)
        st =
            print(file, err, "\nWarning: %s.\n", json_string_value(json_array_get(r->warnings, i)));
    return st;
}

static aleat_status write_json(const char *path, const aleat_result *r, const char *item,
                               const char *title, const char *command, aleat_error *err)
{
    json_t *none = json_array();
    json_t *o = json_pack("{ssssss ss* sO sO sO sO}", "item", item, "title", title, "aleat",
                          aleat_version(), "command", command, "settings", r->settings, "rows",
                          r->rows ? r->rows : none, "notes", r->notes ? r->notes : none, "warnings",
                          r->warnings ? r->warnings : none);
    const aleat_status st = o ? aleat_json_write(path, o, err) : aleat_fail_memory(err, "a result");
    json_decref(o);
    json_decref(none);
    return st;
}

static char *path_of(const char *folder, const char *item, const char *end)
{
    char *name = aleat_asprintf("%s%s", item, end);
    char *path = name ? aleat_path_join(folder, name) : NULL;
    aleat_free(name);
    return path;
}

aleat_status aleat_result_write(const aleat_result *r, const char *folder, const char *item,
                                const char *title, const char *command, aleat_error *err)
{
    static const char *const ends[] = {".md", ".csv", ".json"};
    aleat_status st = r->no_memory ? aleat_fail_memory(err, "a result") : ALEAT_OK;
    for (int i = 0; !st && i < 3; i++) {
        char *path = path_of(folder, item, ends[i]);
        aleat_atomic_file file = {0};
        if (!path)
            return aleat_fail_memory(err, folder);
        if (i == 2)
            st = write_json(path, r, item, title, command, err);
        else
            st = aleat_atomic_open(&file, path, err);
        if (!st && i < 2) {
            st = i ? write_csv(&file, r, err) : write_markdown(&file, r, title, command, err);
            if (!st)
                st = aleat_atomic_commit(&file, err);
            else
                aleat_atomic_abandon(&file);
        }
        aleat_free(path);
    }
    return st;
}

aleat_status aleat_result_plot(const char *folder, const char *item, const aleat_plot *plot,
                               aleat_error *err)
{
    static const char *const ends[] = {".png", ".svg"};
    aleat_status st = ALEAT_OK;
    for (int i = 0; !st && i < 2; i++) {
        char *path = path_of(folder, item, ends[i]);
        st = path ? aleat_plot_write(path, plot, err) : aleat_fail_memory(err, folder);
        aleat_free(path);
    }
    return st;
}
