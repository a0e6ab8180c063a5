#include "report/curves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "report/page.h"

// Welford's sums of one group at one column.
typedef struct moments {
    int64_t n;
    double mean, squares;
} moments;

typedef struct curves {
    const aleat_source *source;
    int columns;
    double *row;      // [columns]
    int64_t *classes; // [n_classes], sorted
    int n_classes;    // 0: no labels, or too many kinds
    int64_t *images;  // [1 + n_classes]
    moments *sums;    // [1 + n_classes, columns]; the first row is all images
} curves;

static int by_number(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static aleat_status find_classes(curves *c, aleat_error *err)
{
    const int64_t n = c->source->n;
    int64_t count = 0;
    c->classes = aleat_calloc((size_t)n, sizeof *c->classes);
    if (!c->classes)
        return aleat_fail_memory(err, "classes");
    memcpy(c->classes, c->source->labels, (size_t)n * sizeof *c->classes);
    qsort(c->classes, (size_t)n, sizeof *c->classes, by_number);
    for (int64_t i = 0; i < n; i++)
        if (i == 0 || c->classes[i] != c->classes[count - 1])
            c->classes[count++] = c->classes[i];
    const bool none = count == 1 && c->classes[0] < 0;
    c->n_classes = none || count > ALEAT_CURVE_NUMBERS / c->columns ? 0 : (int)count;
    return ALEAT_OK;
}

static void add_row(curves *c, int group)
{
    c->images[group]++;
    for (int k = 0; k < c->columns; k++) {
        moments *m = &c->sums[(size_t)group * (size_t)c->columns + (size_t)k];
        if (isnan(c->row[k]))
            continue;
        m->n++;
        const double d = c->row[k] - m->mean;
        m->mean += d / (double)m->n;
        m->squares += d * (c->row[k] - m->mean);
    }
}

static aleat_status add_rows(curves *c, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    bool more = true;
    aleat_score_table_rewind(c->source->table);
    for (int64_t i = 0; !st && i < c->source->n; i++) {
        st = aleat_score_table_next(c->source->table, c->row, &more, err);
        if (st || !more)
            break;
        add_row(c, 0);
        const int64_t *class = bsearch(&c->source->labels[i], c->classes, (size_t)c->n_classes,
                                       sizeof *c->classes, by_number);
        if (class)
            add_row(c, 1 + (int)(class - c->classes));
    }
    return st;
}

// The columns of one map, and the others of a group in the same order.
static json_t *group_json(const curves *c, int group, const int *columns, int n)
{
    json_t *mean = json_array(), *deviation = json_array();
    for (int k = 0; k < n; k++) {
        const moments *m = &c->sums[(size_t)group * (size_t)c->columns + (size_t)columns[k]];
        (void)json_array_append_new(mean, aleat_page_number(m->n ? m->mean : NAN));
        (void)json_array_append_new(
            deviation, aleat_page_number(m->n > 1 ? sqrt(m->squares / (double)(m->n - 1)) : NAN));
    }
    json_t *label = group ? json_integer(c->classes[group - 1]) : json_null();
    return json_pack("{sosIsoso}", "label", label, "images", (json_int_t)c->images[group], "mean",
                     mean, "deviation", deviation);
}

// The map whose first step is `column`: all columns of its name.
static json_t *map_json(const curves *c, int column, int *columns)
{
    const aleat_score_table *table = c->source->table;
    const char *name = aleat_score_table_name(table, column);
    int64_t step = 0;
    const size_t len = aleat_step_column(name, &step);
    int n = 0;
    char *text = aleat_asprintf("%.*s", (int)len, name);
    if (!text)
        return NULL;
    json_t *steps = json_array(), *groups = json_array();
    for (int k = column; k < c->columns; k++) {
        const char *other = aleat_score_table_name(table, k);
        if (aleat_step_column(other, &step) != len || strncmp(other, name, len) != 0)
            continue;
        columns[n++] = k;
        (void)json_array_append_new(steps, json_integer(step));
    }
    for (int g = 0; g <= c->n_classes; g++)
        (void)json_array_append_new(groups, group_json(c, g, columns, n));
    json_t *map =
        json_pack("{sososo}", "name", aleat_page_string(text), "steps", steps, "groups", groups);
    aleat_free(text);
    return map;
}

// Has this map come up in an earlier column?
static bool seen_before(const curves *c, int column)
{
    int64_t step;
    const char *name = aleat_score_table_name(c->source->table, column);
    const size_t len = aleat_step_column(name, &step);
    for (int k = 0; k < column; k++) {
        const char *other = aleat_score_table_name(c->source->table, k);
        if (aleat_step_column(other, &step) == len && strncmp(other, name, len) == 0)
            return true;
    }
    return false;
}

static aleat_status make_json(json_t **out, const curves *c, aleat_error *err)
{
    json_t *maps = json_array();
    int *columns = aleat_calloc((size_t)c->columns, sizeof *columns);
    bool good = maps && columns;
    for (int k = 0; good && k < c->columns; k++) {
        int64_t step;
        if (aleat_step_column(aleat_score_table_name(c->source->table, k), &step) &&
            !seen_before(c, k))
            good = json_array_append_new(maps, map_json(c, k, columns)) == 0;
    }
    aleat_free(columns);
    *out = good ? json_pack("{sO}", "maps", maps) : NULL;
    json_decref(maps);
    return *out ? ALEAT_OK : aleat_fail_memory(err, "curves");
}

aleat_status aleat_curves(json_t **out, const aleat_source *source, aleat_error *err)
{
    *out = NULL;
    curves c = {.source = source};
    if (!source->table) {
        *out = json_pack("{s[]}", "maps");
        return *out ? ALEAT_OK : aleat_fail_memory(err, "curves");
    }
    c.columns = aleat_score_table_columns(source->table);
    aleat_status st = find_classes(&c, err);
    const size_t groups = 1 + (size_t)c.n_classes;
    c.row = aleat_calloc((size_t)c.columns, sizeof *c.row);
    c.images = aleat_calloc(groups, sizeof *c.images);
    c.sums = aleat_calloc(groups * (size_t)c.columns, sizeof *c.sums);
    if (!st && (!c.row || !c.images || !c.sums))
        st = aleat_fail_memory(err, "curves");
    if (!st)
        st = add_rows(&c, err);
    if (!st)
        st = make_json(out, &c, err);
    aleat_free(c.classes);
    aleat_free(c.row);
    aleat_free(c.images);
    aleat_free(c.sums);
    return st;
}
