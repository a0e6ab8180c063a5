/* Scores of a run, and which images they choose. */
#include "aleat/filter.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/keep.h"
#include "io/file.h"
#include "io/score_table.h"

struct aleat_scores {
    aleat_score_table *table;
    char *path;
    int64_t n;
    int64_t *images; // [n]
};

/* ---- the table ------------------------------------------------------------------------------- */

// Columns that say what an image is, not how it scored.
static bool is_score(const char *name)
{
    return strcmp(name, "index") != 0 && strcmp(name, "label") != 0 && strcmp(name, "seed") != 0;
}

static int find_column(const aleat_scores *s, const char *name)
{
    for (int c = 0; c < aleat_score_table_columns(s->table); c++)
        if (!strcmp(aleat_score_table_name(s->table, c), name))
            return c;
    return -1;
}

// values [n] = one column; with n = 0, only counts the rows into *count.
static aleat_status read_column(const aleat_scores *s, int column, double *values, int64_t n,
                                int64_t *count, aleat_error *err)
{
    double *row = aleat_calloc((size_t)aleat_score_table_columns(s->table), sizeof *row);
    if (!row)
        return aleat_fail_memory(err, s->path);
    aleat_score_table_rewind(s->table);
    bool more = true;
    aleat_status st = aleat_score_table_next(s->table, row, &more, err);
    int64_t i = 0;
    for (; !st && more; i++) {
        if (i < n)
            values[i] = row[column];
        st = aleat_score_table_next(s->table, row, &more, err);
    }
    *count = i;
    aleat_free(row);
    return st;
}

static aleat_status read_images(aleat_scores *s, aleat_error *err)
{
    const int column = find_column(s, "index");
    if (column < 0)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: has no column 'index'", s->path);
    aleat_status st = read_column(s, column, NULL, 0, &s->n, err);
    double *values = aleat_calloc((size_t)s->n, sizeof *values);
    s->images = aleat_calloc((size_t)s->n, sizeof *s->images);
    if (!st && (!values || !s->images))
        st = aleat_fail_memory(err, s->path);
    if (!st)
        st = read_column(s, column, values, s->n, &s->n, err);
    for (int64_t i = 0; !st && i < s->n; i++) {
        // ascending, so that a number can be looked up and the order of rows is that of numbers
        if (!(values[i] >= 0 && values[i] <= UINT32_MAX) || values[i] != floor(values[i]) ||
            (i > 0 && values[i] <= values[i - 1]))
            st = aleat_fail(err, ALEAT_ERR_FORMAT,
                            "%s: image numbers are not ascending at row %" PRId64, s->path, i + 1);
        else
            s->images[i] = (int64_t)values[i];
    }
    aleat_free(values);
    return st;
}

aleat_status aleat_scores_open(aleat_scores **out, const char *run, aleat_error *err)
{
    *out = NULL;
    aleat_status st = ALEAT_OK;
    aleat_scores *s = aleat_calloc(1, sizeof *s);
    if (!s)
        return aleat_fail_memory(err, run);
    s->path = aleat_path_join(run, "scores.csv");
    if (!s->path) {
        st = aleat_fail_memory(err, run);
    } else if (!aleat_is_file(s->path)) {
        st = aleat_fail(err, ALEAT_ERR_IO, "%s: holds no finished run (there is no scores.csv)",
                        run);
        aleat_hint(err, "'aleat generate --uncertainty' writes one; the same command goes on with "
                        "one that was interrupted");
    } else {
        st = aleat_score_table_open(&s->table, s->path, err);
    }
    if (!st)
        st = read_images(s, err);
    if (!st) {
        *out = s;
        s = NULL;
    }
    aleat_scores_close(s);
    return st;
}

void aleat_scores_close(aleat_scores *s)
{
    if (!s)
        return;
    aleat_score_table_free(s->table);
    aleat_free(s->images);
    aleat_free(s->path);
    aleat_free(s);
}

int64_t aleat_scores_count(const aleat_scores *s)
{
    return s->n;
}

int64_t aleat_scores_image(const aleat_scores *s, int64_t row)
{
    return s->images[row];
}

const char *aleat_scores_name(const aleat_scores *s, int i)
{
    for (int c = 0; c < aleat_score_table_columns(s->table); c++) {
        const char *name = aleat_score_table_name(s->table, c);
        if (is_score(name) && i-- == 0)
            return name;
    }
    return NULL;
}

/* ---- expressions ----------------------------------------------------------------------------- */

// One term: factor * column.
typedef struct term {
    double factor;
    int column;
} term;

static aleat_status fail_column(const aleat_scores *s, const char *at, aleat_error *err)
{
    char list[512] = "";
    const char *name;
    for (int i = 0; (name = aleat_scores_name(s, i)); i++) {
        const size_t used = strlen(list);
        if (!strchr(name, '@'))
            (void)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", name);
    }
    const aleat_status st =
        aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: there is no score '%s'", s->path, at);
    if (*list)
        aleat_hint(err, "the scores of this run are %s, and each of one step as in NAME@STEP",
                   list);
    else
        aleat_hint(err, "this run was made without --uncertainty");
    return st;
}

// The column whose name begins here; the longest, since names may hold a minus sign.
static int column_at(const aleat_scores *s, const char *at, size_t *len)
{
    int found = -1;
    *len = 0;
    for (int c = 0; c < aleat_score_table_columns(s->table); c++) {
        const char *name = aleat_score_table_name(s->table, c);
        const size_t n = strlen(name);
        if (is_score(name) && n > *len && !strncmp(name, at, n) &&
            (!at[n] || strchr("+- ", at[n]))) {
            found = c;
            *len = n;
        }
    }
    return found;
}

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " ");
}

// Reads a term at *at: [+|-] [number *] name.
static aleat_status read_term(term *out, const aleat_scores *s, const char **at, aleat_error *err)
{
    const char *p = skip_blanks(*at);
    size_t len;
    out->factor = 1;
    if (*p == '+' || *p == '-') {
        out->factor = *p == '-' ? -1 : 1;
        p = skip_blanks(p + 1);
    }
    if (isdigit((unsigned char)*p) || *p == '.') {
        char *end;
        const double factor = strtod(p, &end);
        if (*skip_blanks(end) == '*' && isfinite(factor)) {
            out->factor *= factor;
            p = skip_blanks(skip_blanks(end) + 1);
        }
    }
    out->column = column_at(s, p, &len);
    if (out->column < 0)
        return fail_column(s, p, err);
    *at = skip_blanks(p + len);
    if (**at && **at != '+' && **at != '-')
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "'%s': expected '+' or '-' before '%s'", p, *at);
    return ALEAT_OK;
}

static aleat_status add_z_scores(double *sum, const double *column, int64_t n, const term *t,
                                 const aleat_scores *s, aleat_error *err)
{
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < n; i++)
        mean += column[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        variance += (column[i] - mean) * (column[i] - mean) / (double)n;
    if (!(variance > 0) || !isfinite(variance))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "score '%s' is the same for all images, or not finite: it has no z-score",
                          aleat_score_table_name(s->table, t->column));
    for (int64_t i = 0; i < n; i++)
        sum[i] += t->factor * (column[i] - mean) / sqrt(variance);
    return ALEAT_OK;
}

aleat_status aleat_scores_values(double *values, const aleat_scores *s, const char *expression,
                                 aleat_error *err)
{
    const char *at = expression;
    term t;
    int64_t count;
    aleat_status st = read_term(&t, s, &at, err);
    if (!st && !*at && fabs(t.factor) >= 1 && fabs(t.factor) <= 1) { // one column as it is
        st = read_column(s, t.column, values, s->n, &count, err);
        for (int64_t i = 0; !st && i < s->n; i++)
            values[i] *= t.factor;
        return st;
    }
    double *column = aleat_calloc((size_t)s->n, sizeof *column);
    if (!st && !column)
        st = aleat_fail_memory(err, s->path);
    memset(values, 0, (size_t)s->n * sizeof *values);
    while (!st) {
        st = read_column(s, t.column, column, s->n, &count, err);
        if (!st)
            st = add_z_scores(values, column, s->n, &t, s, err);
        if (st || !*at)
            break;
        st = read_term(&t, s, &at, err);
    }
    aleat_free(column);
    return st;
}

/* ---- selections ------------------------------------------------------------------------------ */

// "50000", "83%" or "5/6" of n.
static aleat_status parse_keep(int64_t *count, const char *text, int64_t n, aleat_error *err)
{
    char *end;
    const double value = strtod(text, &end);
    double want = value, share = 0; // share: of a number of images
    if (end == text || !isfinite(value) || value < 0) {
        want = -1;
    } else if (*end == '%') {
        share = value / 100;
        want = floor((double)n * value / 100 + 1e-9); // 83 % of 100 is 83, whatever the rounding
        end++;
    } else if (*end == '/') {
        const char *below = end + 1;
        const double divisor = strtod(below, &end);
        share = value / divisor;
        want = end > below && divisor > 0 ? floor((double)n * value / divisor + 1e-9) : -1;
    }
    if (want < 0 || *end || want != floor(want))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "keep '%s': expected a number of images, a share such as 83%% or 5/6",
                          text);
    if (want < 1 || want > (double)n || share > 1)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "keep '%s': 1 to %" PRId64 " images can be kept",
                          text, n);
    *count = (int64_t)want;
    return ALEAT_OK;
}

static int64_t find_image(const aleat_scores *s, int64_t image)
{
    int64_t low = 0, high = s->n;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (s->images[middle] < image)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->n && s->images[low] == image ? low : -1;
}

// Marks the images that a list names; numbers stand between blanks, commas, brackets or lines, and
// '#' begins a comment.
static aleat_status mark_listed(bool *marked, int64_t *count, const aleat_scores *s,
                                const char *path, aleat_error *err)
{
    aleat_mapping file = {0};
    aleat_status st = aleat_mapping_open(&file, path, err);
    const char *at = (const char *)file.data, *const end = at + file.len;
    while (!st && at < end) {
        if (*at == '#') {
            const char *line = memchr(at, '\n', (size_t)(end - at));
            at = line ? line : end;
        } else if (isspace((unsigned char)*at) || strchr(",[]", *at)) {
            at++;
        } else {
            int64_t image = 0;
            const char *begin = at;
            for (; at < end && isdigit((unsigned char)*at) && image <= UINT32_MAX; at++)
                image = 10 * image + (*at - '0');
            const int64_t row = at > begin ? find_image(s, image) : -1;
            if (at == begin)
                st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%c' is no image number", path, *at);
            else if (row < 0)
                st = aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: the run has no image %" PRId64, path,
                                image);
            else if (!marked[row]) {
                marked[row] = true;
                ++*count;
            }
        }
    }
    if (!st && *count == 0)
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: names no image", path);
    aleat_mapping_close(&file);
    return st;
}

// order = the pool's rows, those to keep first: by score, at random, or as they are.
static aleat_status order_pool(int64_t *order, int64_t n, const double *score,
                               const aleat_filter_options *o, aleat_error *err)
{
    if (o->random)
        aleat_order_random(order, n, o->seed, 0);
    if (o->by && !aleat_order_scores(order, score, n, o->highest))
        return aleat_fail_memory(err, "scores");
    for (int64_t i = 0; !o->random && !o->by && i < n; i++)
        order[i] = i;
    return ALEAT_OK;
}

static aleat_status check_options(const aleat_filter_options *o, aleat_error *err)
{
    if (o->by && o->random)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "either by a score or at random");
    if (o->keep && !o->by && !o->random)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "which %s: by a score (as in --by x0-var) or at random?", o->keep);
    if (!o->keep && (o->by || o->random))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "how many are to be kept?");
    if (!o->keep && !o->list)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "what is to be kept: a share, or a list?");
    if (o->within_classes && !o->keep)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "how many are to be kept within classes? A list names its images");
    return ALEAT_OK;
}

// Scratch of a selection: the pool of rows to choose from.
typedef struct pool {
    bool *marked;     // [s->n] in the pool
    bool *kept;       // [count] by place in the pool, as the next
    int64_t *rows;    // [count]
    double *scores;   // [s->n] by row
    double *score;    // [count]
    int64_t *classes; // [count]; NULL: they do not matter
    int64_t *order;   // [count]
    int64_t count;
} pool;

static void clear_pool(pool *p)
{
    aleat_free(p->marked);
    aleat_free(p->kept);
    aleat_free(p->rows);
    aleat_free(p->scores);
    aleat_free(p->score);
    aleat_free(p->classes);
    aleat_free(p->order);
}

// Classes of the pool's images, from the column of labels.
static aleat_status read_classes(pool *p, const aleat_scores *s, aleat_error *err)
{
    const int column = find_column(s, "label");
    int64_t count;
    double *labels = aleat_calloc((size_t)s->n, sizeof *labels);
    p->classes = aleat_calloc((size_t)s->n, sizeof *p->classes);
    aleat_status st = labels && p->classes ? ALEAT_OK : aleat_fail_memory(err, s->path);
    if (!st && column < 0)
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: has no column 'label'", s->path);
    if (!st)
        st = read_column(s, column, labels, s->n, &count, err);
    for (int64_t i = 0; !st && i < p->count; i++) {
        const double label = labels[p->rows[i]];
        if (!(label >= 0 && label <= INT32_MAX) || label != floor(label))
            st = aleat_fail(err, ALEAT_ERR_ARGUMENT,
                            "%s: image %" PRId64 " is of no class, so nothing can be kept within "
                            "classes",
                            s->path, s->images[p->rows[i]]);
        else
            p->classes[i] = (int64_t)label;
    }
    aleat_free(labels);
    return st;
}

static aleat_status fill_pool(pool *p, const aleat_scores *s, const aleat_filter_options *o,
                              aleat_error *err)
{
    const size_t n = (size_t)s->n;
    p->marked = aleat_calloc(n, sizeof *p->marked);
    p->kept = aleat_calloc(n, sizeof *p->kept);
    p->rows = aleat_calloc(n, sizeof *p->rows);
    p->scores = aleat_calloc(n, sizeof *p->scores);
    p->score = aleat_calloc(n, sizeof *p->score);
    p->order = aleat_calloc(n, sizeof *p->order);
    if (!p->marked || !p->kept || !p->rows || !p->scores || !p->score || !p->order)
        return aleat_fail_memory(err, s->path);
    aleat_status st = ALEAT_OK;
    if (o->list)
        st = mark_listed(p->marked, &p->count, s, o->list, err);
    if (!st && o->by)
        st = aleat_scores_values(p->scores, s, o->by, err);
    p->count = 0;
    for (int64_t i = 0; !st && i < s->n; i++)
        if (!o->list || p->marked[i]) {
            p->score[p->count] = p->scores[i];
            p->rows[p->count++] = i;
        }
    if (!st && o->within_classes)
        st = read_classes(p, s, err);
    return st;
}

// A score that is not a number chooses nothing, and its image would be kept by its number.
static aleat_status check_score(const aleat_selection *out, int64_t at, const pool *p,
                                const char *by, aleat_error *err)
{
    int64_t scored = 0;
    if (!isnan(out->score[at]))
        return ALEAT_OK;
    for (int64_t i = 0; i < p->count; i++)
        scored += !isnan(p->score[i]);
    (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                     "image %" PRId64 " would be kept, but it has no '%s': only %" PRId64
                     " of %" PRId64 " images have one",
                     out->image[at], by, scored, p->count);
    if (!scored)
        aleat_hint(err, "what compares scored steps, such as x0-path-var, needs several of them");
    return ALEAT_ERR_ARGUMENT;
}

static aleat_status take(aleat_selection *out, const pool *p, int64_t keep, const aleat_scores *s,
                         const char *by, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    out->of = s->n;
    out->count = keep;
    out->row = aleat_calloc((size_t)keep, sizeof *out->row);
    out->image = aleat_calloc((size_t)keep, sizeof *out->image);
    out->score = by ? aleat_calloc((size_t)keep, sizeof *out->score) : NULL;
    if (!out->row || !out->image || (by && !out->score))
        return aleat_fail_memory(err, s->path);
    if (!aleat_keep_first(p->kept, p->order, p->count, keep, p->classes))
        return aleat_fail_memory(err, s->path);
    for (int64_t i = 0, at = 0; !st && i < p->count; i++) // places rise with rows
        if (p->kept[i]) {
            out->row[at] = p->rows[i];
            out->image[at] = s->images[p->rows[i]];
            if (by) {
                out->score[at] = p->score[i];
                st = check_score(out, at, p, by, err);
            }
            at++;
        }
    return st;
}

aleat_status aleat_run_select(aleat_selection *out, const aleat_scores *s,
                              const aleat_filter_options *options, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    pool p = {0};
    int64_t keep = 0;
    aleat_status st = check_options(options, err);
    if (!st)
        st = fill_pool(&p, s, options, err);
    if (!st)
        keep = p.count;
    if (!st && options->keep)
        st = parse_keep(&keep, options->keep, p.count, err);
    if (!st)
        st = order_pool(p.order, p.count, p.score, options, err);
    if (!st)
        st = take(out, &p, keep, s, options->by, err);
    if (st)
        aleat_selection_clear(out);
    clear_pool(&p);
    return st;
}

void aleat_selection_clear(aleat_selection *selection)
{
    if (!selection)
        return;
    aleat_free(selection->row);
    aleat_free(selection->image);
    aleat_free(selection->score);
    memset(selection, 0, sizeof *selection);
}

aleat_status aleat_selection_write(const char *path, const aleat_selection *selection,
                                   aleat_error *err)
{
    aleat_atomic_file file = {0};
    aleat_status st = aleat_atomic_open(&file, path, err);
    if (st)
        return st;
    (void)fprintf(file.stream, "# %" PRId64 " of %" PRId64 " images, by number\n", selection->count,
                  selection->of);
    for (int64_t i = 0; i < selection->count; i++)
        (void)fprintf(file.stream, "%" PRId64 "\n", selection->image[i]);
    st = aleat_atomic_commit(&file, err);
    aleat_atomic_abandon(&file);
    return st;
}
