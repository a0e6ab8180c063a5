#include "report/source.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"

#define MAX_SIDE 65536 // pixels of an image, as in the options of the tool

/* ---- opening files --------------------------------------------------------------------------- */

static char *path_of(const aleat_source *s, const char *name)
{
    return aleat_path_join(s->path, name);
}

// Opens an array of the folder; *out stays NULL if there is no such file.
static aleat_status open_array(aleat_npy_reader **out, const aleat_source *s, const char *file,
                               const char *member, aleat_error *err)
{
    *out = NULL;
    char *path = path_of(s, file);
    if (!path)
        return aleat_fail_memory(err, file);
    const aleat_status st =
        aleat_is_file(path) ? aleat_npy_reader_open(out, path, member, err) : ALEAT_OK;
    aleat_free(path);
    return st;
}

// Is the array [n, (steps,) c, h, w]?
static bool is_like_images(const aleat_source *s, const aleat_npy_reader *r, int n_dims)
{
    const aleat_shape *shape = aleat_npy_reader_shape(r);
    const int64_t want[] = {s->channels, s->height, s->width};
    return shape->n_dims == n_dims && shape->dim[0] == s->n &&
           memcmp(shape->dim + n_dims - 3, want, sizeof want) == 0;
}

static aleat_status fail_shape(const aleat_source *s, const aleat_npy_reader *r, const char *file,
                               const char *steps, aleat_error *err)
{
    char text[200];
    return aleat_fail(err, ALEAT_ERR_SHAPE,
                      "%s/%s: is %s, the images need [%" PRId64 ",%s%" PRId64 ",%" PRId64
                      ",%" PRId64 "]",
                      s->path, file, aleat_shape_text(aleat_npy_reader_shape(r), text, sizeof text),
                      s->n, steps, s->channels, s->height, s->width);
}

/* ---- settings and images --------------------------------------------------------------------- */

static aleat_status open_settings(aleat_source *s, aleat_error *err)
{
    char *path = path_of(s, "run.json");
    aleat_status st = ALEAT_OK;
    if (!path) {
        st = aleat_fail_memory(err, s->path);
    } else if (!aleat_is_file(path)) {
        st = aleat_fail(err, ALEAT_ERR_IO, "%s: holds no finished run (there is no run.json)",
                        s->path);
        aleat_hint(err, "'aleat generate' writes one; the same command goes on with a broken one");
    } else {
        st = aleat_json_load_object(&s->json, &s->settings, path, "settings", err);
    }
    aleat_free(path);
    return st;
}

static aleat_status open_images(aleat_source *s, aleat_error *err)
{
    aleat_status st = open_array(&s->images, s, "samples.npz", "arr_0", err);
    if (st)
        return st;
    if (!s->images)
        return aleat_fail(err, ALEAT_ERR_IO, "%s: there is no samples.npz", s->path);
    const aleat_shape *shape = aleat_npy_reader_shape(s->images);
    if (shape->n_dims != 4 || aleat_npy_reader_dtype(s->images) != ALEAT_U8 || shape->dim[1] < 1 ||
        shape->dim[2] < 1 || shape->dim[3] < 1 || shape->dim[1] > MAX_SIDE ||
        shape->dim[2] > MAX_SIDE || shape->dim[3] > MAX_SIDE) {
        char text[200];
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s/samples.npz: arr_0 is %s of %s, expected [N,H,W,C] of u8", s->path,
                          aleat_shape_text(shape, text, sizeof text),
                          aleat_dtype_name(aleat_npy_reader_dtype(s->images)));
    }
    s->n = shape->dim[0];
    s->height = shape->dim[1];
    s->width = shape->dim[2];
    s->channels = shape->dim[3];
    return ALEAT_OK;
}

static aleat_status read_labels(aleat_source *s, aleat_error *err)
{
    aleat_npy_reader *r = NULL;
    aleat_status st = open_array(&r, s, "samples.npz", "arr_1", err);
    if (st)
        return st;
    const aleat_shape *shape = aleat_npy_reader_shape(r);
    s->labels = aleat_calloc((size_t)s->n, sizeof *s->labels);
    if (!s->labels)
        st = aleat_fail_memory(err, "labels");
    else if (shape->n_dims != 1 || shape->dim[0] != s->n || aleat_npy_reader_dtype(r) != ALEAT_I64)
        st = aleat_fail(err, ALEAT_ERR_FORMAT,
                        "%s/samples.npz: arr_1 is not one i64 label for each of %" PRId64 " images",
                        s->path, s->n);
    else
        st = aleat_npy_reader_rows(r, 0, s->n, ALEAT_I64, s->labels, err);
    aleat_npy_reader_free(r);
    return st;
}

int aleat_source_picture_channels(const aleat_source *s)
{
    return s->channels < 3 ? 1 : 3;
}

aleat_status aleat_source_picture(const aleat_source *s, int64_t i, uint8_t *dst, uint8_t *scratch,
                                  aleat_error *err)
{
    const int64_t pixels = s->height * s->width, kept = aleat_source_picture_channels(s);
    const aleat_status st = aleat_npy_reader_rows(s->images, i, 1, ALEAT_U8, scratch, err);
    for (int64_t p = 0; !st && p < pixels; p++)
        memcpy(dst + p * kept, scratch + p * s->channels, (size_t)kept);
    return st;
}

/* ---- maps ------------------------------------------------------------------------------------ */

// Place of a map among others: those of the table in its order, then the rest by name.
static int rank_of(const aleat_source_map *map)
{
    int rank = 0;
    for (const aleat_statistic *s = aleat_statistics(); s->name && s != map->statistic; s++)
        rank++;
    return map->statistic ? rank : 1000;
}

static int by_rank(const void *a, const void *b)
{
    const aleat_source_map *x = a, *y = b;
    const int first = rank_of(x), second = rank_of(y);
    return first != second ? first - second : strcmp(x->name, y->name);
}

static void clear_map(aleat_source_map *map)
{
    aleat_npy_reader_free(map->sum);
    aleat_npy_reader_free(map->steps);
    aleat_free(map->name);
    aleat_free(map->file);
    memset(map, 0, sizeof *map);
}

// The steps of a map that is there.
static aleat_status open_steps(aleat_source *s, aleat_source_map *map, aleat_error *err)
{
    char *file = aleat_asprintf("%s-steps.npy", map->name);
    aleat_status st =
        file ? open_array(&map->steps, s, file, NULL, err) : aleat_fail_memory(err, map->name);
    const int64_t steps = st || !map->steps ? 0 : aleat_npy_reader_shape(map->steps)->dim[1];
    if (steps && (!is_like_images(s, map->steps, 5) || (s->n_steps && s->n_steps != steps)))
        st = fail_shape(s, map->steps, file, "steps,", err);
    if (steps && !st)
        s->n_steps = steps;
    aleat_free(file);
    return st;
}

// Takes a file of the folder if it is a map. Those of the library must fit; others may be anything.
static aleat_status consider(aleat_source *s, const char *file, aleat_error *err)
{
    const bool main = strcmp(file, "uncertainty.npy") == 0;
    aleat_source_map map = {.error = -1};
    map.file = aleat_strdup(file);
    map.name = main ? aleat_strdup("eps-var") : aleat_strdup(file);
    if (!map.file || !map.name) {
        clear_map(&map);
        return aleat_fail_memory(err, file);
    }
    if (!main)
        map.name[strlen(file) - strlen(".npy")] = '\0';
    map.statistic = aleat_map_statistic(map.name);
    aleat_status st = open_array(&map.sum, s, file, NULL, err);
    if (!st && map.sum && !is_like_images(s, map.sum, 4))
        st = fail_shape(s, map.sum, file, "", err);
    if (!st && map.sum && map.statistic) // steps of others would be counted in another way
        st = open_steps(s, &map, err);
    if (st && st != ALEAT_ERR_MEMORY && !map.statistic)
        st = ALEAT_OK; // some array that is no map
    else if (!st && map.sum && s->n_maps < ALEAT_SOURCE_MAX_MAPS) {
        s->maps[s->n_maps++] = map;
        return ALEAT_OK;
    }
    clear_map(&map);
    return st;
}

static aleat_status find_maps(aleat_source *s, aleat_error *err)
{
    struct dirent **entries = NULL;
    const int count = scandir(s->path, &entries, NULL, alphasort);
    aleat_status st = count < 0 ? aleat_fail_errno(err, "cannot be listed", s->path) : ALEAT_OK;
    for (int i = 0; i < count; i++) {
        const char *file = entries[i]->d_name;
        if (!st && aleat_path_ends_in(file, ".npy") && !aleat_path_ends_in(file, "-steps.npy") &&
            strcmp(file, "samples.npy") != 0 && file[0] != '.')
            st = consider(s, file, err);
        free(entries[i]);
    }
    free(entries);
    if (st)
        return st;
    qsort(s->maps, (size_t)s->n_maps, sizeof *s->maps, by_rank);
    for (int m = 0; m < s->n_maps; m++)
        for (int e = 0; e < s->n_maps; e++) {
            const size_t len = strlen(s->maps[m].name);
            if (strncmp(s->maps[e].name, s->maps[m].name, len) == 0 &&
                strcmp(s->maps[e].name + len, "-se") == 0)
                s->maps[m].error = e;
        }
    const char *shown = json_string_value(json_object_get(s->settings, "shown"));
    s->shown = s->n_maps ? 0 : -1;
    for (int m = 0; shown && m < s->n_maps; m++)
        if (strcmp(s->maps[m].name, shown) == 0)
            s->shown = m;
    return ALEAT_OK;
}

static aleat_status open_x0(aleat_source *s, aleat_error *err)
{
    aleat_status st = open_array(&s->x0, s, "x0-steps.npy", NULL, err);
    if (!st && s->x0 && !is_like_images(s, s->x0, 5))
        st = fail_shape(s, s->x0, "x0-steps.npy", "steps,", err);
    s->n_x0 = st || !s->x0 ? 0 : aleat_npy_reader_shape(s->x0)->dim[1];
    const char *window = json_string_value(json_object_get(s->settings, "score_steps"));
    int64_t begin = 0, end = 0;
    if (window && sscanf(window, "%" SCNd64 ":%" SCNd64, &begin, &end) == 2 && begin >= 0 &&
        begin < INT32_MAX && end - begin == s->n_steps)
        s->first_step = begin;
    return st;
}

// Pixels' means over the channels, some images at a time, into the histogram that scales are from.
static aleat_status choose_scale(const aleat_source *s, aleat_source_map *map, aleat_error *err)
{
    const int64_t plane = s->height * s->width, size = plane * s->channels;
    const int64_t most = 1 + (1 << 18) / size;
    aleat_value_histogram *histogram = NULL;
    float *rows = aleat_calloc((size_t)(most * size), sizeof *rows);
    float *pixels = aleat_calloc((size_t)plane, sizeof *pixels);
    aleat_status st = rows && pixels ? aleat_value_histogram_new(&histogram, err)
                                     : aleat_fail_memory(err, map->name);
    for (int64_t i = 0; !st && i < s->n; i += most) {
        const int64_t count = s->n - i < most ? s->n - i : most;
        st = aleat_npy_reader_rows(map->sum, i, count, ALEAT_F32, rows, err);
        for (int64_t j = 0; !st && j < count; j++) {
            aleat_map_over_channels(pixels, rows + j * size, s->channels, s->height, s->width);
            aleat_value_histogram_add(histogram, pixels, plane);
        }
    }
    if (!st)
        map->scale = aleat_robust_scale(histogram);
    aleat_value_histogram_free(histogram);
    aleat_free(rows);
    aleat_free(pixels);
    return st;
}

/* ---- scores ---------------------------------------------------------------------------------- */

size_t aleat_step_column(const char *name, int64_t *step)
{
    const char *at = strrchr(name, '@');
    char *end;
    if (!at || at == name || at[1] < '0' || at[1] > '9')
        return 0;
    *step = strtoll(at + 1, &end, 10);
    return *end ? 0 : (size_t)(at - name);
}

// Is this column a score of its own? `score` is the first map's sum, which follows by its name.
static bool is_score(const aleat_source *s, int column)
{
    int64_t step;
    const char *name = aleat_score_table_name(s->table, column);
    static const char *const others[] = {"index", "label", "seed"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(name, others[i]) == 0)
            return false;
    const bool doubled =
        strcmp(name, "score") == 0 && column + 1 < aleat_score_table_columns(s->table) &&
        aleat_step_column(aleat_score_table_name(s->table, column + 1), &step) == 0;
    return !doubled && aleat_step_column(name, &step) == 0;
}

static aleat_status read_rows(aleat_source *s, const int *column_of, double *row, aleat_error *err)
{
    bool more = true;
    int64_t i = 0;
    int number = -1;
    for (int c = 0; c < aleat_score_table_columns(s->table); c++)
        if (strcmp(aleat_score_table_name(s->table, c), "index") == 0)
            number = c;
    for (;; i++) {
        aleat_status st = aleat_score_table_next(s->table, row, &more, err);
        if (st || !more || i == s->n) {
            if (!st && (more || i < s->n))
                st = aleat_fail(err, ALEAT_ERR_SHAPE,
                                "%s/scores.csv: has not one row for each of %" PRId64 " images",
                                s->path, s->n);
            return st;
        }
        if (number >= 0)
            s->numbers[i] = row[number];
        for (int k = 0; k < s->n_scores; k++)
            s->scores[k].values[i] = row[column_of[k]];
    }
}

static aleat_status read_scores(aleat_source *s, aleat_error *err)
{
    s->numbers = aleat_calloc((size_t)s->n, sizeof *s->numbers);
    char *path = path_of(s, "scores.csv");
    if (!s->numbers || !path) {
        aleat_free(path);
        return aleat_fail_memory(err, "scores");
    }
    for (int64_t i = 0; i < s->n; i++)
        s->numbers[i] = (double)i;
    aleat_status st = aleat_is_file(path) ? aleat_score_table_open(&s->table, path, err) : ALEAT_OK;
    aleat_free(path);
    if (st || !s->table)
        return st;
    const int columns = aleat_score_table_columns(s->table);
    double *row = aleat_calloc((size_t)columns, sizeof *row);
    int *column_of = aleat_calloc((size_t)columns, sizeof *column_of);
    s->scores = aleat_calloc((size_t)columns, sizeof *s->scores);
    if (!row || !column_of || !s->scores)
        st = aleat_fail_memory(err, "scores");
    for (int c = 0; !st && c < columns; c++) {
        if (!is_score(s, c))
            continue;
        aleat_source_score *score = &s->scores[s->n_scores];
        column_of[s->n_scores++] = c;
        score->name = aleat_strdup(aleat_score_table_name(s->table, c));
        score->values = aleat_calloc((size_t)s->n, sizeof *score->values);
        if (!score->name || !score->values)
            st = aleat_fail_memory(err, "scores");
    }
    if (!st)
        st = read_rows(s, column_of, row, err);
    aleat_free(row);
    aleat_free(column_of);
    return st;
}

/* ---- the whole ------------------------------------------------------------------------------- */

// The last part of a path, without a '/' at its end. "." and the like have none of their own.
static char *name_of(const char *path)
{
    char *real = realpath(path, NULL);
    const char *base = aleat_path_base(real ? real : path);
    char *name = aleat_strdup(*base ? base : path);
    free(real);
    return name;
}

aleat_status aleat_source_open(aleat_source *s, const char *folder, aleat_error *err)
{
    s->shown = -1;
    s->path = aleat_strdup(folder);
    s->name = name_of(folder);
    aleat_status st = s->path && s->name ? ALEAT_OK : aleat_fail_memory(err, folder);
    if (!st)
        st = open_settings(s, err);
    if (!st)
        st = open_images(s, err);
    if (!st)
        st = read_labels(s, err);
    if (!st)
        st = read_scores(s, err);
    if (!st)
        st = find_maps(s, err);
    if (!st)
        st = open_x0(s, err);
    for (int m = 0; !st && m < s->n_maps; m++)
        st = choose_scale(s, &s->maps[m], err);
    return st;
}

void aleat_source_clear(aleat_source *s)
{
    aleat_json_clear(&s->json);
    aleat_npy_reader_free(s->images);
    aleat_npy_reader_free(s->x0);
    aleat_score_table_free(s->table);
    for (int m = 0; m < s->n_maps; m++)
        clear_map(&s->maps[m]);
    for (int k = 0; k < s->n_scores; k++) {
        aleat_free(s->scores[k].name);
        aleat_free(s->scores[k].values);
    }
    aleat_free(s->scores);
    aleat_free(s->labels);
    aleat_free(s->numbers);
    aleat_free(s->name);
    aleat_free(s->path);
    memset(s, 0, sizeof *s);
}
