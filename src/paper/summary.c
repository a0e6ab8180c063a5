/* aleat_paper_summary(): one document about folders of tables and figures. */
#include "paper/summary.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aleat/paper.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/order.h"
#include "paper/paper.h"

// Columns of the document.
#define WIDTH         118
#define MOST_WARNINGS 3
// Sections at most.
#define MOST 16

// A folder, and where the document finds it.
typedef struct source {
    const char *folder; // as it was given
    char *path;         // from the document
    aleat_findings findings[MOST];
} source;

/* ---- writing --------------------------------------------------------------------------------- */

// What else than words a text holds would end the paragraph.
static char plain(char c)
{
    return (unsigned char)c < ' ' ? ' ' : c;
}

void aleat_document_put(const aleat_document *doc, const char *mark, const char *text)
{
    const int indent = (int)strlen(mark);
    int column = indent;
    (void)fputs(mark, doc->file.stream);
    for (const char *at = text; *at;) {
        int length = 0, letters = 0;
        for (; at[length] && plain(at[length]) != ' '; length++)
            letters += ((unsigned char)at[length] & 0xc0) != 0x80; // UTF-8: not its later bytes
        if (length && column > indent) {
            const bool breaks = column + 1 + letters > WIDTH;
            column = breaks ? indent : column + 1;
            (void)fprintf(doc->file.stream, "%s%*s", breaks ? "\n" : " ", breaks ? indent : 0, "");
        }
        (void)fwrite(at, 1, (size_t)length, doc->file.stream);
        column += letters;
        at += length + (at[length] != '\0');
    }
    (void)fputc('\n', doc->file.stream);
}

void aleat_document_say(const aleat_document *doc, const char *fmt, ...)
{
    char text[2001];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    aleat_document_put(doc, "- ", text);
}

/* ---- settings -------------------------------------------------------------------------------- */

// Those that a reader asks for; all of them are in the items' JSON.
static const char *const told[] = {
    "aleat",       "family",         "weights",       "weights_sha256",
    "precision",   "sampler",        "steps",         "eta",
    "cfg_scale",   "images",         "seed",          "copies",
    "score_steps", "keep",           "subsets",       "draws",
    "confidence",  "feature_family", "feature_layer", "feature_dim",
    "real_images", "split",          "guide_steps",   "percentile",
};

static void value_text(char *out, size_t size, const json_t *value)
{
    if (json_is_string(value)) // of a hash the beginning says enough
        (void)snprintf(out, size, "%.40s", json_string_value(value));
    else if (json_is_real(value))
        (void)snprintf(out, size, "%.6g", json_real_value(value));
    else
        aleat_json_text(value, out, size);
}

// The value that all items of the folder have under `key`; NULL if they do not agree.
static const json_t *common(const source *s, const char *key)
{
    const json_t *value = NULL;
    for (int i = 0; i < MOST; i++) {
        const json_t *own = json_object_get(s->findings[i].settings, key);
        if (!own)
            continue;
        if (value && !json_equal(value, own))
            return NULL;
        value = own;
    }
    return value;
}

// Those of `of` (NULL: of all items of the folder) as one list entry.
static void put_settings(const aleat_document *doc, const source *s, const aleat_findings *of)
{
    char text[2001] = "";
    for (size_t k = 0; k < sizeof told / sizeof *told; k++) {
        const json_t *shared = common(s, told[k]);
        const json_t *value = of ? json_object_get(of->settings, told[k]) : shared;
        char one[64];
        if (!value || (of && shared))
            continue;
        value_text(one, sizeof one, value);
        const size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%s%s %s", used ? ", " : "", told[k], one);
    }
    if (*text)
        aleat_document_say(doc, "%s: %s.", of ? "Settings of its own" : "Settings of all its items",
                           text);
}

/* ---- an item --------------------------------------------------------------------------------- */

static aleat_status put_table(const aleat_document *doc, const aleat_section *section,
                              const aleat_findings *f, aleat_error *err)
{
    if (section->put) {
        (void)fputc('\n', doc->file.stream);
        return section->put(doc, f, err);
    }
    aleat_result table = {.columns = section->columns, .rows = json_array(), .brief = true};
    int64_t *order = aleat_calloc((size_t)f->n, sizeof *order);
    double *at = aleat_calloc((size_t)f->n, sizeof *at);
    aleat_status st = table.rows && order && at ? ALEAT_OK : aleat_fail_memory(err, "a table");
    for (int64_t i = 0; !st && section->sorted && i < f->n; i++)
        at[i] = f->rows[i].at;
    if (!st && !aleat_order(order, at, f->n))
        st = aleat_fail_memory(err, "a table");
    for (int64_t k = 0; !st && section->columns && k < f->n; k++) {
        const aleat_finding *row = &f->rows[order[k]];
        if (!row->remark && (!section->shows || section->shows(f, order[k])) &&
            json_array_append(table.rows, row->row))
            st = aleat_fail_memory(err, "a table");
    }
    aleat_free(order);
    aleat_free(at);
    if (json_array_size(table.rows))
        (void)fputc('\n', doc->file.stream);
    if (!st && json_array_size(table.rows))
        st = aleat_result_print(&doc->file, &table, err);
    aleat_result_clear(&table);
    return st;
}

static aleat_status put_figure(const aleat_document *doc, const source *s, const char *name,
                               const char *title, aleat_error *err)
{
    char *own = aleat_path_join(s->folder, name);
    char *path = aleat_asprintf("%s%s%s", s->path, *s->path ? "/" : "", name);
    const aleat_status st = own && path ? ALEAT_OK : aleat_fail_memory(err, name);
    if (!st && aleat_is_file(own)) {
        const bool odd = strpbrk(path, " ()<>") != NULL;
        (void)fprintf(doc->file.stream, "\n![%s](%s%s%s)\n", title, odd ? "<" : "", path,
                      odd ? ">" : "");
    }
    aleat_free(own);
    aleat_free(path);
    return st;
}

// The plot of the item, and pictures that its rows name, each once.
static aleat_status put_figures(const aleat_document *doc, const source *s, const aleat_findings *f,
                                bool named, aleat_error *err)
{
    char name[80];
    (void)snprintf(name, sizeof name, "%s.png", f->item);
    aleat_status st = put_figure(doc, s, name, f->title, err);
    for (int64_t i = 0; !st && named && i < f->n; i++) {
        const char *file = f->rows[i].remark ? "" : f->rows[i].group;
        if (*file && !strchr(file, '/') && (i == 0 || strcmp(file, f->rows[i - 1].group) != 0))
            st = put_figure(doc, s, file, file, err);
    }
    return st;
}

static void put_warnings(const aleat_document *doc, const aleat_findings *f)
{
    const size_t n = json_array_size(f->warnings);
    for (size_t i = 0; i < n && i < MOST_WARNINGS; i++)
        aleat_document_say(doc, "Warning: %s.", json_string_value(json_array_get(f->warnings, i)));
    if (n > MOST_WARNINGS)
        aleat_document_say(doc, "%zu more warnings stand in %s.md.", n - MOST_WARNINGS, f->item);
}

static aleat_status put_item(const aleat_document *doc, const source *s,
                             const aleat_section *section, const aleat_findings *f,
                             aleat_error *err)
{
    FILE *to = doc->file.stream;
    (void)fprintf(to, "\n### %s\n\n", f->title);
    if (*f->command) {
        (void)fputs("    ", to);
        for (const char *at = f->command; *at; at++)
            (void)fputc(plain(*at), to);
        (void)fputs("\n\n", to);
    }
    put_settings(doc, s, f);
    if (section->tell)
        section->tell(doc, f);
    for (int64_t i = 0; i < f->n; i++)
        if (f->rows[i].remark)
            aleat_document_say(doc, "Missing, %s: %s.", f->rows[i].estimator, f->rows[i].remark);
    put_warnings(doc, f);
    aleat_status st = put_table(doc, section, f, err);
    if (!st)
        st = put_figures(doc, s, f, section->keys.group && !section->columns && !section->put, err);
    return st;
}

/* ---- a folder -------------------------------------------------------------------------------- */

static aleat_status put_folder(const aleat_document *doc, const source *s, aleat_error *err)
{
    static const char *const labels[] = {"family", "sampler", "steps", "images"};
    FILE *to = doc->file.stream;
    const aleat_section *section;
    char missing[400] = "";
    (void)fprintf(to, "\n## %s", s->folder);
    for (int k = 0; k < 4; k++) {
        const json_t *value = common(s, labels[k]);
        char text[64];
        value_text(text, sizeof text, value);
        if (value)
            (void)fprintf(to, "%s%s%s", k ? ", " : ": ", text,
                          k == 2   ? " steps"
                          : k == 3 ? " images"
                                   : "");
    }
    (void)fputs("\n\n", to);
    put_settings(doc, s, NULL);
    for (int i = 0; (section = aleat_summary_section(i)); i++) {
        const size_t used = strlen(missing);
        if (!s->findings[i].there)
            (void)snprintf(missing + used, sizeof missing - used, "%s%s", used ? ", " : "",
                           section->keys.item);
    }
    if (*missing)
        aleat_document_say(doc,
                           "Missing items: %s. `aleat paper ITEM` with the same settings and "
                           "`-o` makes them.",
                           missing);
    aleat_status st = ALEAT_OK;
    for (int i = 0; !st && (section = aleat_summary_section(i)); i++)
        if (s->findings[i].there)
            st = put_item(doc, s, section, &s->findings[i], err);
    return st;
}

/* ---- several folders ------------------------------------------------------------------------- */

static void cell(FILE *to, const aleat_finding *f, bool named)
{
    if (!f)
        (void)fputs(" missing |", to);
    else if (named)
        (void)fprintf(to, " `%s` (%s), %s %.3g [%.3g, %.3g] |", f->name, f->estimator, f->order,
                      f->other.value, f->other.low, f->other.high);
    else
        (void)fprintf(to, " %.3g [%.3g, %.3g] |", f->other.value, f->other.low, f->other.high);
}

// Table 1 of all folders beside each other.
static void put_overview(const aleat_document *doc, const source *sources, int64_t n)
{
    FILE *to = doc->file.stream;
    (void)fputs("\n## Filtering, all folders\n\nDifferences to random subsets, of all images and "
                "within classes.\n\n"
                "| folder | best | best within classes | highest eps-var (text) | within classes | "
                "lowest eps-var (program) | within classes |\n|---|---|---|---|---|---|---|\n",
                to);
    for (int64_t i = 0; i < n; i++) {
        const aleat_findings *f = &sources[i].findings[0];
        (void)fprintf(to, "| %s |", sources[i].folder);
        for (int w = 0; w < 2; w++)
            cell(to, aleat_findings_best(f, w, NULL, false), true);
        for (int k = 0; k < 4; k++)
            cell(to, aleat_findings_of(f, "eps-var", k < 2 ? "highest" : "lowest", k % 2), false);
        (void)fputc('\n', to);
    }
}

// What items note about their numbers, each note once.
static aleat_status put_notes(const aleat_document *doc, const source *sources, int64_t n,
                              aleat_error *err)
{
    json_t *seen = json_object();
    aleat_status st = seen ? ALEAT_OK : aleat_fail_memory(err, "notes");
    (void)fputs("\n## What the items note\n\n", doc->file.stream);
    for (int64_t s = 0; s < n; s++)
        for (int i = 0; i < MOST; i++) {
            const json_t *notes = sources[s].findings[i].notes;
            for (size_t k = 0; !st && k < json_array_size(notes); k++) {
                const char *note = json_string_value(json_array_get(notes, k));
                if (json_object_get(seen, note))
                    continue;
                aleat_document_put(doc, "- ", note);
                if (json_object_set_new(seen, note, json_true()))
                    st = aleat_fail_memory(err, "notes");
            }
        }
    json_decref(seen);
    return st;
}

/* ---- one door -------------------------------------------------------------------------------- */

// `folder` as seen from the folder `from`: both are there.
static aleat_status relative_path(char **out, const char *from, const char *folder,
                                  aleat_error *err)
{
    char *a = realpath(from, NULL), *b = a ? realpath(folder, NULL) : NULL;
    aleat_status st = ALEAT_OK;
    *out = NULL;
    if (!a || !b) {
        st = aleat_fail_errno(err, "cannot find", a ? folder : from);
    } else {
        size_t same = 0; // ends before a slash or the end of both
        for (size_t i = 0;; i++) {
            const bool ends = (!a[i] || a[i] == '/') && (!b[i] || b[i] == '/');
            same = ends ? i : same;
            if (!a[i] || a[i] != b[i])
                break;
        }
        int up = 0;
        for (const char *at = a + same; *at; at++)
            up += *at == '/' && at[1];
        const char *rest = b + same + (b[same] == '/');
        char climb[3 * PATH_MAX + 1] = "";
        for (int i = 0; i < up && i < PATH_MAX; i++)
            memcpy(climb + 3L * i, "../", 4);
        *out = aleat_asprintf("%s%s", climb, rest);
        for (size_t end = *out ? strlen(*out) : 0; end && (*out)[end - 1] == '/'; end--)
            (*out)[end - 1] = '\0';
        st = *out ? ALEAT_OK : aleat_fail_memory(err, folder);
    }
    free(a);
    free(b);
    return st;
}

static aleat_status open_source(source *s, const char *folder, const char *from, aleat_error *err)
{
    const aleat_section *section;
    s->folder = folder;
    aleat_status st = aleat_paper_check_folder(folder, err);
    if (!st)
        st = relative_path(&s->path, from, folder, err);
    for (int i = 0; !st && (section = aleat_summary_section(i)); i++)
        st = aleat_findings_read(&s->findings[i], folder, &section->keys, err);
    return st;
}

static aleat_status put_all(const aleat_document *doc, const source *sources, int64_t n,
                            aleat_error *err)
{
    (void)fputs("# Results of `aleat paper`\n\n", doc->file.stream);
    aleat_document_put(
        doc, "",
        "Written by `aleat paper summary` from the numbers in the folders below; no sentence is "
        "written by hand. An effect is told only where an interval (in brackets) excludes what "
        "chance gives: 0 of a difference, 0.5 of an AUROC, the area of a random order of an AURG. "
        "Distances are better if smaller, so that a negative difference is a gain. Tables hold the "
        "most telling rows; whole ones are beside the figures, as ITEM.md, .csv and .json.");
    if (n > 1)
        put_overview(doc, sources, n);
    aleat_status st = ALEAT_OK;
    for (int64_t i = 0; !st && i < n; i++)
        st = put_folder(doc, &sources[i], err);
    return st ? st : put_notes(doc, sources, n, err);
}

aleat_status aleat_paper_summary(const char *const *folders, int64_t n, const char *path,
                                 aleat_error *err)
{
    aleat_document doc = {{0}};
    char *from = aleat_path_folder(path);
    source *sources = n > 0 ? aleat_calloc((size_t)n, sizeof *sources) : NULL;
    aleat_status st = ALEAT_OK;
    if (n < 1)
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT, "a summary of no folder");
    else if (!from || !sources)
        st = aleat_fail_memory(err, path);
    for (int64_t i = 0; !st && i < n; i++)
        st = open_source(&sources[i], folders[i], from, err);
    if (!st)
        st = aleat_atomic_open(&doc.file, path, err);
    if (!st)
        st = put_all(&doc, sources, n, err);
    if (!st)
        st = aleat_atomic_commit(&doc.file, err);
    aleat_atomic_abandon(&doc.file);
    for (int64_t i = 0; sources && i < n; i++) {
        for (int k = 0; k < MOST; k++)
            aleat_findings_clear(&sources[i].findings[k]);
        aleat_free(sources[i].path);
    }
    aleat_free(sources);
    aleat_free(from);
    return st;
}
