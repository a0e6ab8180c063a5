#include "paper/findings.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"

// Rows of an item at most: four times what fig11 has of 64 M, 10 steps and 4 maps.
#define MOST_ROWS 20000
// Bytes of a name, a title or a remark.
#define MOST_TEXT 1024

/* ---- values ---------------------------------------------------------------------------------- */

int aleat_measure_side(const aleat_measure *m, double reference)
{
    return m->high < reference ? -1 : m->low > reference ? 1 : 0; // NaN is neither
}

// Text that stands in one line of Markdown.
static aleat_status read_text(const aleat_json *o, const char *key, bool required,
                              const char **text, aleat_error *err)
{
    *text = "";
    aleat_status st = required ? aleat_json_require(o, key, err) : ALEAT_OK;
    if (!st)
        st = aleat_json_string(o, key, text, err);
    if (st)
        return st;
    for (const char *at = *text; *at; at++)
        if ((unsigned char)*at < ' ' || at - *text >= MOST_TEXT)
            return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' is no line of at most %d characters",
                              o->name, key, MOST_TEXT);
    return ALEAT_OK;
}

// null and, unless it is required, nothing at all are NaN.
static aleat_status read_number(const aleat_json *o, const char *key, bool required, double *value,
                                aleat_error *err)
{
    *value = NAN;
    if (required && !json_object_get(o->root, key)) // which null passes
        return aleat_json_require(o, key, err);
    return aleat_json_double(o, key, value, err);
}

static aleat_status read_measure(const aleat_json *o, const char *key, bool required,
                                 aleat_measure *m, aleat_error *err)
{
    char low[80], high[80];
    (void)snprintf(low, sizeof low, "%s_low", key);
    (void)snprintf(high, sizeof high, "%s_high", key);
    aleat_status st = read_number(o, key, required, &m->value, err);
    if (!st)
        st = read_number(o, low, false, &m->low, err);
    if (!st)
        st = read_number(o, high, false, &m->high, err);
    if (!st && m->low > m->high)
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' is above '%s'", o->name, low, high);
    return st;
}

static aleat_status read_row(aleat_finding *out, const aleat_finding_keys *k, const aleat_json *o,
                             aleat_error *err)
{
    const bool plain = !k->name; // table3 and table5 have no estimators
    out->row = o->root;
    out->name = out->order = out->group = "";
    aleat_status st = read_text(o, "estimator", false, &out->estimator, err);
    if (!st)
        st = read_text(o, "remark", false, &out->remark, err);
    if (st || *out->remark)
        return st;
    out->remark = NULL;
    if (k->name)
        st = read_text(o, k->name, true, &out->name, err);
    if (!st && k->order)
        st = read_text(o, k->order, true, &out->order, err);
    if (!st && k->group) // whole runs have no window
        st = read_text(o, k->group, false, &out->group, err);
    out->at = NAN;
    if (!st && k->at)
        st = read_number(o, k->at, false, &out->at, err);
    if (!st)
        st = read_measure(o, k->main, true, &out->main, err);
    if (!st && k->other)
        st = read_measure(o, k->other, false, &out->other, err);
    out->third = (aleat_measure){NAN, NAN, NAN};
    if (!st && k->third)
        st = read_measure(o, k->third, false, &out->third, err);
    if (!st)
        st = read_number(o, "z", false, &out->z, err);
    if (!st)
        st = read_number(o, "evaluations", plain, &out->evaluations, err);
    return st;
}

/* ---- a file ---------------------------------------------------------------------------------- */

static aleat_status read_rows(aleat_findings *f, const aleat_finding_keys *k, aleat_error *err)
{
    const json_t *rows = json_object_get(f->json.root, "rows");
    const size_t n = json_array_size(rows);
    if (!json_is_array(rows) || n > MOST_ROWS)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: 'rows' is no array of at most %d",
                          f->json.name, MOST_ROWS);
    f->rows = aleat_calloc(n, sizeof *f->rows);
    if (!f->rows)
        return aleat_fail_memory(err, f->json.name);
    aleat_status st = ALEAT_OK;
    for (size_t i = 0; !st && i < n; i++) {
        char name[200];
        (void)snprintf(name, sizeof name, "%.100s: row %zu", f->json.name, i + 1);
        const aleat_json row = {.root = json_array_get(rows, i), .name = name};
        st = json_is_object(row.root) ? read_row(&f->rows[i], k, &row, err)
                                      : aleat_fail(err, ALEAT_ERR_FORMAT, "%s is no object", name);
        f->n = (int64_t)i + 1;
    }
    return st;
}

// An array of strings under `key`; NULL: there is none.
static aleat_status read_texts(const aleat_findings *f, const char *key, const json_t **out,
                               aleat_error *err)
{
    *out = json_object_get(f->json.root, key);
    bool good = !*out || json_is_array(*out);
    for (size_t i = 0; good && i < json_array_size(*out); i++)
        good = json_is_string(json_array_get(*out, i));
    return good ? ALEAT_OK
                : aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' is no array of strings", f->json.name,
                             key);
}

static aleat_status read_settings(aleat_findings *f, aleat_error *err)
{
    aleat_json settings = {0};
    f->settings = json_object_get(f->json.root, "settings");
    aleat_status st = aleat_json_require(&f->json, "settings", err);
    if (!st)
        st = aleat_json_object(&f->json, "settings", &settings, err);
    if (!st)
        st = aleat_json_require(&settings, "confidence", err);
    if (!st)
        st = aleat_json_double(&settings, "confidence", &f->confidence, err);
    if (!st)
        st = aleat_json_require(&settings, "subsets", err);
    if (!st)
        st = aleat_json_int(&settings, "subsets", &f->subsets, err);
    if (!st &&
        (!(f->confidence > 0 && f->confidence < 1) || f->subsets < 2 || f->subsets > INT32_MAX))
        st = aleat_fail(err, ALEAT_ERR_FORMAT,
                        "%s: a confidence of %g or %" PRId64 " random subsets cannot be",
                        f->json.name, f->confidence, f->subsets);
    aleat_json_clear(&settings);
    return st;
}

static aleat_status read_file(aleat_findings *f, const char *path, const aleat_finding_keys *k,
                              aleat_error *err)
{
    const char *item = "";
    aleat_status st = aleat_json_load(&f->json, path, err);
    if (!st)
        st = read_text(&f->json, "item", true, &item, err);
    if (!st && strcmp(item, k->item) != 0)
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: tells '%.60s', not %s", f->json.name, item,
                        k->item);
    if (!st)
        st = read_text(&f->json, "title", true, &f->title, err);
    if (!st)
        st = aleat_json_string(&f->json, "command", &f->command, err);
    if (!st)
        st = read_settings(f, err);
    if (!st)
        st = read_texts(f, "notes", &f->notes, err);
    if (!st)
        st = read_texts(f, "warnings", &f->warnings, err);
    return st ? st : read_rows(f, k, err);
}

aleat_status aleat_findings_read(aleat_findings *out, const char *folder,
                                 const aleat_finding_keys *keys, aleat_error *err)
{
    *out = (aleat_findings){.item = keys->item, .command = ""};
    char *name = aleat_asprintf("%s.json", keys->item);
    char *path = name ? aleat_path_join(folder, name) : NULL;
    aleat_status st = path ? ALEAT_OK : aleat_fail_memory(err, folder);
    out->there = !st && aleat_is_file(path);
    if (out->there)
        st = read_file(out, path, keys, err);
    if (st == ALEAT_ERR_FORMAT) {
        aleat_error_in(err, "%s", folder);
        aleat_hint(err, "'aleat paper %s' writes the file anew", keys->item);
    }
    aleat_free(path);
    aleat_free(name);
    if (st)
        aleat_findings_clear(out);
    return st;
}

void aleat_findings_clear(aleat_findings *f)
{
    if (!f)
        return;
    aleat_free(f->rows);
    aleat_json_clear(&f->json);
    memset(f, 0, sizeof *f);
}

/* ---- sets ----------------------------------------------------------------------------------- */

bool aleat_finding_is_ordered(const aleat_finding *f, const char *order)
{
    return strncmp(f->order, order, strlen(order)) == 0;
}

bool aleat_finding_is_set(const aleat_finding *f)
{
    return !f->remark &&
           (aleat_finding_is_ordered(f, "lowest") || aleat_finding_is_ordered(f, "highest"));
}

bool aleat_finding_is_within(const aleat_finding *f)
{
    return strstr(f->order, "within") != NULL;
}

bool aleat_finding_same_place(const aleat_finding *a, const aleat_finding *b)
{
    return (isnan(a->at) ? isnan(b->at) : !(a->at < b->at) && !(a->at > b->at)) &&
           strcmp(a->group, b->group) == 0;
}

static bool same_score(const aleat_finding *a, const aleat_finding *b)
{
    return strcmp(a->estimator, b->estimator) == 0 && strcmp(a->name, b->name) == 0;
}

const aleat_finding *aleat_findings_best(const aleat_findings *f, bool within,
                                         const aleat_finding *like, bool of_score)
{
    const aleat_finding *best = NULL;
    for (int64_t i = 0; i < f->n; i++) {
        const aleat_finding *row = &f->rows[i];
        if (aleat_finding_is_set(row) && aleat_finding_is_within(row) == within &&
            isfinite(row->other.value) && (!like || aleat_finding_same_place(row, like)) &&
            (!like || !of_score || same_score(row, like)) &&
            (!best || row->other.value < best->other.value))
            best = row;
    }
    return best;
}

const aleat_finding *aleat_findings_of(const aleat_findings *f, const char *name, const char *order,
                                       bool within)
{
    for (int64_t i = 0; i < f->n; i++)
        if (aleat_finding_is_set(&f->rows[i]) && strcmp(f->rows[i].name, name) == 0 &&
            aleat_finding_is_ordered(&f->rows[i], order) &&
            aleat_finding_is_within(&f->rows[i]) == within)
            return &f->rows[i];
    return NULL;
}
