/* Some images of a run as a run of their own. */
#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aleat/filter.h"
#include "api/run_state.h"
#include "api/samples.h"
#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/json.h"
#include "io/npy.h"
#include "io/score_table.h"
#include "uncertainty/contact_sheet.h"

typedef struct filtering {
    const char *from, *to;
    const aleat_selection *selection;
    const aleat_filter_options *options;
    aleat_json json;          // run.json of the source
    aleat_npy_reader *images; // its samples, [N,H,W,C] u8
    aleat_run_shape shape;    // sizes of an image only
} filtering;

// Path of a file of the source or of the new run; aleat_free().
static char *path_in(const char *folder, const char *fmt, ...)
{
    char name[320];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    return aleat_path_join(folder, name);
}

/* ---- opening --------------------------------------------------------------------------------- */

static aleat_status check_folders(const filtering *f, aleat_error *err)
{
    struct stat a, b;
    aleat_status st = ALEAT_OK;
    char *there = path_in(f->to, "run.json");
    if (!there)
        return aleat_fail_memory(err, f->to);
    if (stat(f->from, &a) == 0 && stat(f->to, &b) == 0 && a.st_dev == b.st_dev &&
        a.st_ino == b.st_ino)
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: a run cannot be filtered into itself", f->to);
    else if (aleat_is_file(there)) {
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: holds a run already", f->to);
        aleat_hint(err, "write to another folder, or remove this one");
    }
    aleat_free(there);
    return st;
}

static aleat_status load_settings(filtering *f, aleat_error *err)
{
    char *path = path_in(f->from, "run.json");
    json_t *settings;
    const aleat_status st = path
                                ? aleat_json_load_object(&f->json, &settings, path, "settings", err)
                                : aleat_fail_memory(err, f->from);
    aleat_free(path);
    return st;
}

static aleat_status open_images(filtering *f, aleat_error *err)
{
    char *path = path_in(f->from, "samples.npz"), text[200];
    aleat_status st = path ? aleat_npy_reader_open(&f->images, path, "arr_0", err)
                           : aleat_fail_memory(err, f->from);
    if (!st) {
        const aleat_shape *shape = aleat_npy_reader_shape(f->images);
        if (shape->n_dims != 4 || shape->dim[0] != f->selection->of ||
            aleat_npy_reader_dtype(f->images) != ALEAT_U8)
            st = aleat_fail(err, ALEAT_ERR_FORMAT,
                            "%s: arr_0 is %s of %s, scores.csv needs u8 [%" PRId64 ",H,W,C]", path,
                            aleat_shape_text(shape, text, sizeof text),
                            aleat_dtype_name(aleat_npy_reader_dtype(f->images)), f->selection->of);
        f->shape = (aleat_run_shape){
            .height = shape->dim[1], .width = shape->dim[2], .channels = shape->dim[3]};
    }
    aleat_free(path);
    return st;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

// The chosen rows of an array, one at a time, into a new .npy.
static aleat_status copy_rows(const filtering *f, const aleat_npy_reader *from, const char *path,
                              aleat_error *err)
{
    aleat_shape shape = *aleat_npy_reader_shape(from);
    const aleat_dtype dtype = aleat_npy_reader_dtype(from);
    aleat_npy_stream *stream = NULL;
    size_t bytes = 0;
    shape.dim[0] = 1;
    (void)aleat_shape_bytes(&shape, dtype, &bytes); // no more than the array that is there
    shape.dim[0] = f->selection->count;
    void *row = aleat_alloc(bytes);
    aleat_status st = row ? aleat_npy_stream_open(&stream, path, dtype, &shape, err)
                          : aleat_fail_memory(err, path);
    for (int64_t i = 0; !st && i < f->selection->count; i++) {
        st = aleat_npy_reader_rows(from, f->selection->row[i], 1, dtype, row, err);
        if (!st)
            st = aleat_npy_stream_rows(stream, i, 1, row, err);
    }
    if (!st)
        st = aleat_npy_stream_commit(stream, err);
    aleat_npy_stream_free(stream);
    aleat_free(row);
    return st;
}

// The labels of the chosen images; `labels` may be NULL: then only whether they can be read.
static aleat_status copy_labels(const filtering *f, int64_t *labels, aleat_error *err)
{
    aleat_npy_reader *from = NULL;
    char *path = path_in(f->from, "samples.npz");
    aleat_status st =
        path ? aleat_npy_reader_open(&from, path, "arr_1", err) : aleat_fail_memory(err, f->from);
    if (!st &&
        (aleat_npy_reader_dtype(from) != ALEAT_I64 || aleat_npy_reader_shape(from)->n_dims != 1 ||
         aleat_npy_reader_shape(from)->dim[0] != f->selection->of))
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: arr_1 is not one i64 label for each image",
                        path);
    for (int64_t i = 0; !st && labels && i < f->selection->count; i++)
        st = aleat_npy_reader_rows(from, f->selection->row[i], 1, ALEAT_I64, &labels[i], err);
    aleat_npy_reader_free(from);
    aleat_free(path);
    return st;
}

static aleat_status write_samples(const filtering *f, aleat_error *err)
{
    int64_t *labels = aleat_calloc((size_t)f->selection->count, sizeof *labels);
    char *rows = path_in(f->to, "arr_0.npy"), *path = path_in(f->to, "samples.npz");
    aleat_status st = labels && rows && path ? ALEAT_OK : aleat_fail_memory(err, f->to);
    if (!st)
        st = copy_labels(f, labels, err);
    if (!st)
        st = copy_rows(f, f->images, rows, err);
    if (!st) {
        st = aleat_samples_write(path, rows, labels, f->selection->count, err);
        (void)unlink(rows);
    }
    aleat_free(labels);
    aleat_free(rows);
    aleat_free(path);
    return st;
}

// An array with one row for each image is a map, or the samples themselves.
static aleat_status copy_array(const filtering *f, const char *name, bool write, aleat_error *err)
{
    aleat_npy_reader *from = NULL;
    char *there = path_in(f->from, "%s", name), *here = path_in(f->to, "%s", name);
    aleat_status st = there && here ? aleat_npy_reader_open(&from, there, NULL, err)
                                    : aleat_fail_memory(err, name);
    if (!st && write && aleat_npy_reader_shape(from)->dim[0] == f->selection->of)
        st = copy_rows(f, from, here, err);
    aleat_npy_reader_free(from);
    aleat_free(there);
    aleat_free(here);
    return st;
}

// All of them; without `write` only whether they can be read.
static aleat_status copy_arrays(const filtering *f, bool write, aleat_error *err)
{
    DIR *dir = opendir(f->from);
    if (!dir)
        return aleat_fail_errno(err, "cannot open", f->from);
    aleat_status st = ALEAT_OK;
    for (const struct dirent *entry; !st && (entry = readdir(dir));)
        // the trajectory has its images along the second axis
        if (aleat_path_ends_in(entry->d_name, ".npy") &&
            strcmp(entry->d_name, "trajectory.npy") != 0)
            st = copy_array(f, entry->d_name, write, err);
    (void)closedir(dir);
    return st;
}

/* ---- pictures and scores --------------------------------------------------------------------- */

static aleat_status copy_file(const char *from, const char *to, aleat_error *err)
{
    aleat_mapping file = {0};
    aleat_status st = aleat_mapping_open(&file, from, err);
    if (!st)
        st = aleat_write_file(to, file.data, file.len, err);
    aleat_mapping_close(&file);
    return st;
}

// The numbered pictures of a sub-folder, if the run has it.
static aleat_status copy_pictures(const filtering *f, const char *sub, aleat_error *err)
{
    char *folder = path_in(f->from, "%s", sub), *made = path_in(f->to, "%s", sub);
    aleat_status st = folder && made ? ALEAT_OK : aleat_fail_memory(err, sub);
    const bool there = !st && aleat_is_dir(folder);
    if (there)
        st = aleat_make_dirs(made, err);
    for (int64_t i = 0; there && !st && i < f->selection->count; i++) {
        char *from = path_in(f->from, "%s/%06" PRId64 ".png", sub, f->selection->image[i]);
        char *to = path_in(f->to, "%s/%06" PRId64 ".png", sub, f->selection->image[i]);
        if (!from || !to)
            st = aleat_fail_memory(err, sub);
        else if (aleat_is_file(from)) // latents have no pictures
            st = copy_file(from, to, err);
        aleat_free(from);
        aleat_free(to);
    }
    aleat_free(folder);
    aleat_free(made);
    return st;
}

static void put_line(FILE *to, const aleat_score_table *table)
{
    size_t len;
    const char *line = aleat_score_table_text(table, &len);
    (void)fwrite(line, 1, len, to);
    (void)fputc('\n', to);
}

// Lines of the chosen rows, as they are: an image keeps its number.
static aleat_status copy_lines(const filtering *f, aleat_score_table *table, FILE *to,
                               aleat_error *err)
{
    double *values = aleat_calloc((size_t)aleat_score_table_columns(table), sizeof *values);
    if (!values)
        return aleat_fail_memory(err, "scores");
    put_line(to, table);
    aleat_status st = ALEAT_OK;
    bool more = true;
    for (int64_t row = 0, i = 0; !st && i < f->selection->count; row++) {
        st = aleat_score_table_next(table, values, &more, err);
        if (!st && !more)
            st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s/scores.csv: changed while it was read",
                            f->from);
        if (!st && row == f->selection->row[i]) {
            put_line(to, table);
            i++;
        }
    }
    aleat_free(values);
    return st;
}

static aleat_status copy_scores(const filtering *f, aleat_error *err)
{
    aleat_atomic_file file = {0};
    aleat_score_table *table = NULL;
    char *from = path_in(f->from, "scores.csv"), *to = path_in(f->to, "scores.csv");
    aleat_status st =
        from && to ? aleat_score_table_open(&table, from, err) : aleat_fail_memory(err, f->to);
    if (!st)
        st = aleat_atomic_open(&file, to, err);
    if (!st)
        st = copy_lines(f, table, file.stream, err);
    if (!st)
        st = aleat_atomic_commit(&file, err);
    aleat_atomic_abandon(&file);
    aleat_score_table_free(table);
    aleat_free(from);
    aleat_free(to);
    return st;
}

static aleat_status place_image(const filtering *f, aleat_contact_sheet *sheet, int64_t place,
                                int64_t i, uint8_t *pixels, aleat_error *err)
{
    const aleat_selection *s = f->selection;
    aleat_image image = {0};
    char caption[64];
    aleat_status st = aleat_npy_reader_rows(f->images, s->row[i], 1, ALEAT_U8, pixels, err);
    if (!st)
        st = aleat_run_picture(&image, &f->shape, pixels, err);
    (void)snprintf(caption, sizeof caption, "#%" PRId64, s->image[i]);
    if (s->score)
        (void)snprintf(caption, sizeof caption, "#%" PRId64 " %.4g", s->image[i], s->score[i]);
    if (!st)
        aleat_contact_sheet_place(sheet, place, &image, NULL, caption);
    aleat_image_clear(&image);
    return st;
}

// The images by rising score; without scores (all alike) in the order of their numbers.
static aleat_status write_sheet(const filtering *f, aleat_error *err)
{
    const aleat_selection *s = f->selection;
    int64_t order[ALEAT_CONTACT_SHEET_MAX], count = 0;
    char headline[128] = "in the order of the run";
    double *scores = aleat_calloc((size_t)s->count, sizeof *scores);
    uint8_t *pixels =
        aleat_calloc((size_t)(f->shape.height * f->shape.width), (size_t)f->shape.channels);
    char *path = path_in(f->to, "contact.png");
    aleat_contact_sheet *sheet = NULL;
    aleat_status st = scores && pixels && path ? ALEAT_OK : aleat_fail_memory(err, f->to);
    if (!st && s->score)
        memcpy(scores, s->score, (size_t)s->count * sizeof *scores);
    if (!st)
        st = aleat_contact_sheet_order(order, &count, scores, s->count, err);
    if (s->score)
        (void)snprintf(headline, sizeof headline, "by %.60s, lowest first%s", f->options->by,
                       count < s->count ? " (a selection)" : "");
    if (!st)
        st = aleat_contact_sheet_new(&sheet, count, f->shape.width, f->shape.height, false,
                                     headline, err);
    for (int64_t k = 0; !st && k < count; k++)
        st = place_image(f, sheet, k, order[k], pixels, err);
    if (!st)
        st = aleat_png_write(path, aleat_contact_sheet_image(sheet), NULL, 0, err);
    aleat_contact_sheet_free(sheet);
    aleat_free(scores);
    aleat_free(pixels);
    aleat_free(path);
    return st;
}

/* ---- run.json -------------------------------------------------------------------------------- */

// How the images were chosen. In the settings, so that no run of other images goes on here.
static json_t *choice_json(const filtering *f)
{
    const aleat_filter_options *o = f->options;
    json_t *choice =
        json_pack("{sssIsIss*ss*}", "run", f->from, "kept", (json_int_t)f->selection->count, "of",
                  (json_int_t)f->selection->of, "by", o->by, "list", o->list);
    bool good = choice != NULL;
    if (good && o->by)
        good = json_object_set_new(choice, "order",
                                   json_string(o->highest ? "highest" : "lowest")) == 0;
    if (good && o->within_classes)
        good = json_object_set_new(choice, "within_classes", json_true()) == 0;
    if (good && o->random)
        good = json_object_set_new(choice, "random_seed", json_sprintf("%" PRIu64, o->seed)) == 0;
    if (!good) {
        json_decref(choice);
        return NULL;
    }
    return choice;
}

// The commands one after the other; told only if both are known.
static aleat_status tell_commands(json_t *root, const char *command, aleat_error *err)
{
    const char *before = json_string_value(json_object_get(root, "command"));
    json_t *both = before && command ? json_sprintf("%s && %s", before, command) : NULL;
    if (both)
        return json_object_set_new(root, "command", both) ? aleat_fail_memory(err, "run.json")
                                                          : ALEAT_OK;
    (void)json_object_del(root, "command");
    return ALEAT_OK;
}

static aleat_status write_run_json(const filtering *f, aleat_error *err)
{
    json_t *root = json_deep_copy(f->json.root);
    char *path = path_in(f->to, "run.json");
    aleat_status st = ALEAT_OK;
    if (!root || !path ||
        json_object_set_new(json_object_get(root, "settings"), "filter", choice_json(f)))
        st = aleat_fail_memory(err, "run.json");
    if (!st)
        st = tell_commands(root, f->options->command, err);
    if (!st)
        st = aleat_json_write(path, root, err);
    json_decref(root);
    aleat_free(path);
    return st;
}

aleat_status aleat_run_filter(const char *run, const char *folder, const aleat_selection *selection,
                              const aleat_filter_options *options, aleat_error *err)
{
    filtering f = {.from = run, .to = folder, .selection = selection, .options = options};
    aleat_status st = check_folders(&f, err);
    if (!st)
        st = load_settings(&f, err);
    if (!st)
        st = open_images(&f, err);
    if (!st)
        st = copy_labels(&f, NULL, err);
    if (!st)
        st = copy_arrays(&f, false, err); // before there is a folder: half a run is of no use
    if (!st)
        st = aleat_make_dirs(folder, err);
    if (!st)
        st = write_samples(&f, err);
    if (!st)
        st = copy_arrays(&f, true, err);
    if (!st)
        st = copy_pictures(&f, "images", err);
    if (!st)
        st = copy_pictures(&f, "maps", err);
    if (!st)
        st = copy_scores(&f, err);
    if (!st)
        st = write_sheet(&f, err);
    if (!st)
        st = write_run_json(&f, err); // last: without it there is no run
    aleat_json_clear(&f.json);
    aleat_npy_reader_free(f.images);
    return st;
}
