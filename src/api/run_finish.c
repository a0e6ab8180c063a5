/* The second half of a run: from the shards to the final arrays, pictures and tables. */
#include <math.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/run_state.h"
#include "api/samples.h"
#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/json.h"
#include "io/npy.h"
#include "uncertainty/contact_sheet.h"

// Reads array `which` of shard i; its shape and type are what this run would have written.
static aleat_status read_shard(aleat_tensor *out, const aleat_run_folder *f, int64_t i, int which,
                               aleat_error *err)
{
    memset(out, 0, sizeof *out);
    const int64_t rest = f->shape.n - i * ALEAT_SHARD_IMAGES;
    const int64_t count = rest < ALEAT_SHARD_IMAGES ? rest : ALEAT_SHARD_IMAGES;
    const char *name;
    aleat_dtype dtype;
    aleat_shape dims;
    (void)aleat_shard_array(&f->shape, which, count, &name, &dtype, &dims);
    char *path = aleat_shard_path(f, i);
    if (!path)
        return aleat_fail_memory(err, f->path);
    aleat_status st = aleat_npz_read(out, path, name, err);
    if (!st && (out->dtype != dtype || !aleat_shape_equal(&out->shape, &dims))) {
        aleat_tensor_clear(out);
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' does not fit this run", path, name);
        aleat_hint(err, "remove this file; its images will be made again");
    }
    aleat_free(path);
    return st;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

/** The total of an image's sums over the scored steps. */
static double total_of(const double *sums, int64_t steps, bool is_error)
{
    double total = 0;
    for (int64_t s = 0; s < steps; s++)
        total += is_error ? sums[s] * sums[s] : sums[s];
    return is_error ? sqrt(total) : total;
}

static aleat_status collect_scores(aleat_run_folder *f, aleat_error *err)
{
    const int64_t n = f->shape.n, steps = f->shape.n_score_steps;
    aleat_status st = ALEAT_OK;
    f->labels = aleat_calloc((size_t)n, sizeof *f->labels);
    f->scores = aleat_calloc((size_t)(n * f->shape.n_maps), sizeof *f->scores);
    if (!f->labels || !f->scores)
        return aleat_fail_memory(err, "scores");
    for (int64_t i = 0; !st && i < f->n_shards; i++) {
        const int64_t first = i * ALEAT_SHARD_IMAGES;
        aleat_tensor labels, sums = {0};
        st = read_shard(&labels, f, i, ALEAT_SHARD_OF_LABELS, err);
        const int64_t count = st ? 0 : labels.shape.dim[0];
        if (!st)
            memcpy(f->labels + first, labels.data, (size_t)count * sizeof *f->labels);
        if (!st && f->shape.n_maps)
            st = read_shard(&sums, f, i, ALEAT_SHARD_OF_SUMS, err);
        for (int64_t m = 0; !st && m < f->shape.n_maps; m++)
            for (int64_t j = 0; j < count; j++)
                f->scores[m * n + first + j] =
                    total_of((const double *)sums.data + (m * count + j) * steps, steps,
                             f->shape.maps[m].is_error);
        aleat_tensor_clear(&labels);
        aleat_tensor_clear(&sums);
    }
    return st;
}

static void summarise(aleat_run_summary *s, double value)
{
    if (isnan(value))
        return;
    s->sum += value;
    s->low = s->n == 0 || value < s->low ? value : s->low;
    s->high = s->n == 0 || value > s->high ? value : s->high;
    s->n++;
}

// Columns of array `which`, [count,columns] in each shard, over the images.
static aleat_status collect_summary(const aleat_run_folder *f, int which, int64_t columns,
                                    aleat_run_summary **out, aleat_error *err)
{
    *out = aleat_calloc((size_t)columns, sizeof **out);
    if (!*out)
        return aleat_fail_memory(err, "a summary of the run");
    aleat_status st = ALEAT_OK;
    for (int64_t i = 0; !st && columns && i < f->n_shards; i++) {
        aleat_tensor values = {0};
        st = read_shard(&values, f, i, which, err);
        for (int64_t j = 0; !st && j < aleat_tensor_count(&values); j++)
            summarise(&(*out)[j % columns], ((const double *)values.data)[j]);
        aleat_tensor_clear(&values);
    }
    return st;
}

static aleat_status collect_summaries(aleat_run_folder *f, aleat_error *err)
{
    aleat_status st =
        collect_summary(f, ALEAT_SHARD_OF_SIGNALS, f->shape.n_signals, &f->signals, err);
    if (!st)
        st = collect_summary(f, ALEAT_SHARD_OF_CHANGES, f->shape.n_guide_steps, &f->changes, err);
    return st;
}

void aleat_run_folder_changes(const aleat_run_folder *f, double *mean, double *most)
{
    double sum = 0;
    int64_t n = 0;
    *most = 0;
    for (int64_t k = 0; f->changes && k < f->shape.n_guide_steps; k++) {
        sum += f->changes[k].sum;
        n += f->changes[k].n;
        *most = f->changes[k].high > *most ? f->changes[k].high : *most;
    }
    *mean = n ? sum / (double)n : 0;
}

/*
 * Streams array `which` of all shards into one .npy of N rows. Maps carry their kind as first axis:
 * kind m of each shard is taken.
 */
static aleat_status join_shards(const aleat_run_folder *f, int which, int64_t m, const char *name,
                                aleat_error *err)
{
    const char *unused;
    aleat_dtype dtype;
    aleat_shape dims;
    (void)aleat_shard_array(&f->shape, which, f->shape.n, &unused, &dtype, &dims);
    const bool by_kind = which == ALEAT_SHARD_OF_MAPS || which == ALEAT_SHARD_OF_STEP_MAPS;
    if (by_kind) {
        memmove(dims.dim, dims.dim + 1, (size_t)(dims.n_dims - 1) * sizeof *dims.dim);
        dims.n_dims--;
    }
    aleat_npy_stream *stream = NULL;
    char *path = aleat_run_path(f, "%s", name);
    aleat_status st = path ? aleat_npy_stream_open(&stream, path, dtype, &dims, err)
                           : aleat_fail_memory(err, f->path);
    for (int64_t i = 0; !st && i < f->n_shards; i++) {
        aleat_tensor rows;
        st = read_shard(&rows, f, i, which, err);
        if (st)
            break;
        const int64_t count = rows.shape.dim[by_kind ? 1 : 0];
        const size_t bytes = (size_t)aleat_tensor_count(&rows) * aleat_dtype_size(dtype) /
                             (size_t)(by_kind ? f->shape.n_maps : 1);
        st = aleat_npy_stream_rows(stream, i * ALEAT_SHARD_IMAGES, count,
                                   (const char *)rows.data + (size_t)m * bytes, err);
        aleat_tensor_clear(&rows);
    }
    if (!st)
        st = aleat_npy_stream_commit(stream, err);
    aleat_npy_stream_free(stream);
    aleat_free(path);
    return st;
}

static aleat_status write_samples(const aleat_run_folder *f, aleat_error *err)
{
    char *rows = aleat_run_path(f, "shards/arr_0.npy"), *path = aleat_run_path(f, "samples.npz");
    aleat_status st = ALEAT_OK;
    if (!rows || !path)
        st = aleat_fail_memory(err, f->path);
    if (!st)
        st = join_shards(f, ALEAT_SHARD_OF_IMAGES, 0, "shards/arr_0.npy", err);
    if (!st)
        st = aleat_samples_write(path, rows, f->labels, f->shape.n, err);
    aleat_free(rows);
    aleat_free(path);
    return st;
}

// [steps+1,N,C,H,W] from the shards' [count,steps+1,C,H,W]: state by state, one shard at a time.
static aleat_status write_trajectory(const aleat_run_folder *f, aleat_error *err)
{
    const aleat_run_shape *s = &f->shape;
    const int64_t states = s->trajectory_states, size = s->channels * s->height * s->width;
    const aleat_shape dims = aleat_shape_of(5, states, s->n, s->channels, s->height, s->width);
    aleat_tensor all = {0}, part = {0};
    char *path = aleat_run_path(f, "trajectory.npy");
    aleat_status st =
        path ? aleat_tensor_new(&all, ALEAT_F32, &dims, err) : aleat_fail_memory(err, f->path);
    for (int64_t i = 0; !st && i < f->n_shards; i++) {
        st = read_shard(&part, f, i, ALEAT_SHARD_OF_TRAJECTORY, err);
        for (int64_t j = 0; !st && j < part.shape.dim[0]; j++)
            for (int64_t k = 0; k < states; k++)
                memcpy(aleat_tensor_f32(&all) + (k * s->n + i * ALEAT_SHARD_IMAGES + j) * size,
                       aleat_tensor_f32(&part) + (j * states + k) * size,
                       (size_t)size * sizeof(float));
        aleat_tensor_clear(&part);
    }
    if (!st)
        st = aleat_npy_write(path, &all, err);
    aleat_tensor_clear(&all);
    aleat_free(path);
    return st;
}

static aleat_status write_arrays(const aleat_run_folder *f, aleat_error *err)
{
    const aleat_run_shape *s = &f->shape;
    aleat_status st = write_samples(f, err);
    for (int m = 0; !st && m < s->n_maps; m++) {
        st = join_shards(f, ALEAT_SHARD_OF_MAPS, m, s->maps[m].file, err);
        char name[128];
        (void)snprintf(name, sizeof name, "%s-steps.npy", s->maps[m].name);
        if (!st && s->keep_steps)
            st = join_shards(f, ALEAT_SHARD_OF_STEP_MAPS, m, name, err);
    }
    if (!st && s->carried)
        st = join_shards(f, ALEAT_SHARD_OF_CARRIED, 0, "image-var.npy", err);
    if (!st && s->trajectory_states)
        st = write_trajectory(f, err);
    if (!st && s->x0_steps)
        st = join_shards(f, ALEAT_SHARD_OF_X0, 0, "x0-steps.npy", err);
    return st;
}

/* ---- scores.csv ------------------------------------------------------------------------------ */

static void csv_header(FILE *to, const aleat_run_shape *s)
{
    (void)fputs("index,label,seed", to);
    if (s->n_maps)
        (void)fputs(",score", to);
    for (int m = 0; m < s->n_maps; m++)
        (void)fprintf(to, ",%s", s->maps[m].name);
    for (int m = 0; m < s->n_maps; m++)
        for (int64_t k = 0; k < s->n_score_steps; k++)
            (void)fprintf(to, ",%s@%" PRId64, s->maps[m].name, s->score_steps[k]);
    for (int k = 0; k < s->n_signals; k++)
        (void)fprintf(to, ",%s", s->signals[k]);
    (void)fputc('\n', to);
}

static void csv_rows(FILE *to, const aleat_run_folder *f, int64_t first, int64_t count,
                     const double *sums, const double *signals)
{
    const aleat_run_shape *s = &f->shape;
    for (int64_t j = 0; j < count; j++) {
        (void)fprintf(to, "%" PRId64 ",%" PRId64 ",%" PRIu64, first + j, f->labels[first + j],
                      s->seed);
        if (s->n_maps) // the score is the first map's, the one of Algorithm 1
            (void)fprintf(to, ",%.17g", f->scores[first + j]);
        for (int64_t m = 0; m < s->n_maps; m++)
            (void)fprintf(to, ",%.17g", f->scores[m * s->n + first + j]);
        for (int64_t m = 0; m < s->n_maps; m++)
            for (int64_t k = 0; k < s->n_score_steps; k++)
                (void)fprintf(to, ",%.17g", sums[(m * count + j) * s->n_score_steps + k]);
        for (int k = 0; k < s->n_signals; k++) {
            const double value = signals[j * s->n_signals + k];
            if (isnan(value)) // an empty field: this run has no such number
                (void)fputc(',', to);
            else
                (void)fprintf(to, ",%.17g", value);
        }
        (void)fputc('\n', to);
    }
}

static aleat_status write_csv(const aleat_run_folder *f, aleat_error *err)
{
    aleat_atomic_file file = {0};
    char *path = aleat_run_path(f, "scores.csv");
    aleat_status st = path ? aleat_atomic_open(&file, path, err) : aleat_fail_memory(err, f->path);
    if (!st)
        csv_header(file.stream, &f->shape);
    for (int64_t i = 0; !st && i < f->n_shards; i++) {
        aleat_tensor sums = {0}, signals = {0};
        const int64_t first = i * ALEAT_SHARD_IMAGES, rest = f->shape.n - first;
        if (f->shape.n_maps)
            st = read_shard(&sums, f, i, ALEAT_SHARD_OF_SUMS, err);
        if (!st && f->shape.n_signals)
            st = read_shard(&signals, f, i, ALEAT_SHARD_OF_SIGNALS, err);
        if (!st)
            csv_rows(file.stream, f, first, rest < ALEAT_SHARD_IMAGES ? rest : ALEAT_SHARD_IMAGES,
                     sums.data, signals.data);
        aleat_tensor_clear(&sums);
        aleat_tensor_clear(&signals);
    }
    if (!st)
        st = aleat_atomic_commit(&file, err);
    aleat_atomic_abandon(&file);
    aleat_free(path);
    return st;
}

/* ---- pictures -------------------------------------------------------------------------------- */

// Images of one shard with the maps that pictures show, reduced to one value a pixel.
typedef struct view {
    aleat_tensor images, maps;
    float *pixel_maps; // [count,H,W] of the pictures
    int64_t count;
} view;

static int64_t plane_of(const aleat_run_shape *s)
{
    return s->image_height * s->image_width;
}

static void view_clear(view *v)
{
    aleat_tensor_clear(&v->images);
    aleat_tensor_clear(&v->maps);
    aleat_free(v->pixel_maps);
    memset(v, 0, sizeof *v);
}

// The shown map of image j in the pixels of its picture.
static aleat_status pixel_map(float *dst, const view *v, const aleat_run_shape *s, int64_t j,
                              aleat_error *err)
{
    const float *maps = aleat_tensor_f32(&v->maps);
    if (s->carried) {
        aleat_map_over_channels(dst, maps + j * s->image_channels * plane_of(s), s->image_channels,
                                s->image_height, s->image_width);
        return ALEAT_OK;
    }
    const int64_t plane = s->height * s->width;
    float *small = aleat_calloc((size_t)plane, sizeof *small);
    if (!small)
        return aleat_fail_memory(err, "maps");
    aleat_map_over_channels(small, maps + (s->shown * v->count + j) * s->channels * plane,
                            s->channels, s->height, s->width);
    aleat_map_enlarge(dst, s->image_height, s->image_width, small, s->height, s->width);
    aleat_free(small);
    return ALEAT_OK;
}

static aleat_status view_load(view *v, const aleat_run_folder *f, int64_t i, aleat_error *err)
{
    memset(v, 0, sizeof *v);
    const aleat_run_shape *s = &f->shape;
    const int64_t plane = plane_of(s);
    aleat_status st = read_shard(&v->images, f, i, ALEAT_SHARD_OF_IMAGES, err);
    if (st)
        return st;
    v->count = v->images.shape.dim[0];
    if (s->n_maps) {
        st = read_shard(&v->maps, f, i, s->carried ? ALEAT_SHARD_OF_CARRIED : ALEAT_SHARD_OF_MAPS,
                        err);
        v->pixel_maps = aleat_calloc((size_t)(v->count * plane), sizeof(float));
        if (!st && !v->pixel_maps)
            st = aleat_fail_memory(err, "maps");
    }
    for (int64_t j = 0; !st && s->n_maps && j < v->count; j++)
        st = pixel_map(v->pixel_maps + j * plane, v, s, j, err);
    if (st)
        view_clear(v);
    return st;
}

static aleat_status choose_scale(const aleat_run_folder *f, aleat_colour_scale *scale,
                                 aleat_error *err)
{
    aleat_value_histogram *histogram;
    aleat_status st = aleat_value_histogram_new(&histogram, err);
    for (int64_t i = 0; !st && i < f->n_shards; i++) {
        view v;
        st = view_load(&v, f, i, err);
        if (st)
            break;
        aleat_value_histogram_add(histogram, v.pixel_maps, v.count * plane_of(&f->shape));
        view_clear(&v);
    }
    if (!st)
        *scale = aleat_robust_scale(histogram);
    aleat_value_histogram_free(histogram);
    return st;
}

// The class by name where it has one, cut to what fits over a picture; empty if there is no label.
static void label_text(char *out, size_t size, int64_t label, const json_t *class_names)
{
    char key[24];
    (void)snprintf(key, sizeof key, "%" PRId64, label);
    const char *name = json_string_value(json_object_get(class_names, key));
    out[0] = 0;
    if (name)
        (void)snprintf(out, size, "  %.24s", name);
    else if (label >= 0)
        (void)snprintf(out, size, "  label %s", key);
}

static aleat_status write_map(const aleat_run_folder *f, const view *v, int64_t first, int64_t j,
                              const json_t *class_names, aleat_colour_scale scale, aleat_error *err)
{
    const aleat_run_shape *s = &f->shape;
    const int64_t plane = plane_of(s), number = first + j;
    aleat_image image = {0}, picture = {0};
    char title[128], label[32];
    label_text(label, sizeof label, f->labels[number], class_names);
    (void)snprintf(title, sizeof title, "#%" PRId64 "%s  score %.4g", number, label,
                   f->scores[s->shown * s->n + number]);
    const aleat_map_labels labels = {title, s->carried ? "image-var" : s->maps[s->shown].name,
                                     s->carried ? "squared pixels" : s->maps[s->shown].unit};
    char *path = aleat_run_path(f, "maps/%06" PRId64 ".png", number);
    aleat_status st =
        path ? aleat_run_picture(
                   &image, s, (const uint8_t *)v->images.data + j * plane * s->image_channels, err)
             : aleat_fail_memory(err, f->path);
    if (!st)
        st = aleat_map_picture(&picture, &image, v->pixel_maps + j * plane, scale, &labels, err);
    if (!st)
        st = aleat_png_write(path, &picture, NULL, 0, err);
    aleat_image_clear(&image);
    aleat_image_clear(&picture);
    aleat_free(path);
    return st;
}

static aleat_status place_on_sheet(const aleat_run_folder *f, const view *v, int64_t number,
                                   int64_t place, aleat_contact_sheet *sheet,
                                   aleat_colour_scale scale, aleat_error *err)
{
    const aleat_run_shape *s = &f->shape;
    const int64_t plane = plane_of(s), j = number % ALEAT_SHARD_IMAGES;
    aleat_image image = {0}, overlay = {0};
    char caption[64];
    aleat_status st = aleat_run_picture(
        &image, s, (const uint8_t *)v->images.data + j * plane * s->image_channels, err);
    if (!st && s->n_maps)
        st = aleat_map_overlay(&overlay, &image, v->pixel_maps + j * plane, scale, err);
    (void)snprintf(caption, sizeof caption, "#%" PRId64, number);
    if (s->n_maps)
        (void)snprintf(caption, sizeof caption, "#%" PRId64 " %.4g", number,
                       f->scores[s->shown * s->n + number]);
    if (!st)
        aleat_contact_sheet_place(sheet, place, &image, s->n_maps ? &overlay : NULL, caption);
    aleat_image_clear(&image);
    aleat_image_clear(&overlay);
    return st;
}

// The sheet without maps is in the order of the run: all scores are then alike.
static aleat_status begin_sheet(const aleat_run_folder *f, aleat_contact_sheet **sheet,
                                int64_t *order, int64_t *count, aleat_error *err)
{
    const aleat_run_shape *s = &f->shape;
    double *scores = aleat_calloc((size_t)s->n, sizeof *scores);
    if (!scores)
        return aleat_fail_memory(err, "scores");
    if (s->n_maps)
        memcpy(scores, f->scores + s->shown * s->n, (size_t)s->n * sizeof *scores);
    aleat_status st = aleat_contact_sheet_order(order, count, scores, s->n, err);
    const char *reading = s->n_maps ? s->maps[s->shown].reading : NULL;
    char headline[128] = "in the order of the run";
    if (s->n_maps)
        (void)snprintf(headline, sizeof headline, "by %s, lowest first%s%s%s",
                       s->maps[s->shown].name, *count < s->n ? " (a selection)" : "",
                       reading ? "; " : "", reading ? reading : "");
    if (!st)
        st = aleat_contact_sheet_new(sheet, *count, s->image_width, s->image_height, s->n_maps > 0,
                                     headline, err);
    aleat_free(scores);
    return st;
}

static aleat_status write_pictures(const aleat_run_folder *f, const json_t *class_names,
                                   aleat_error *err)
{
    aleat_colour_scale scale = {0, 1};
    aleat_contact_sheet *sheet = NULL;
    int64_t order[ALEAT_CONTACT_SHEET_MAX], count = 0;
    char *path = aleat_run_path(f, "contact.png");
    aleat_status st = path ? ALEAT_OK : aleat_fail_memory(err, f->path);
    if (!st && f->shape.n_maps)
        st = choose_scale(f, &scale, err);
    if (!st)
        st = begin_sheet(f, &sheet, order, &count, err);
    for (int64_t i = 0; !st && i < f->n_shards; i++) {
        view v;
        st = view_load(&v, f, i, err);
        if (st)
            break;
        for (int64_t j = 0; !st && f->shape.n_maps && j < v.count; j++)
            st = write_map(f, &v, i * ALEAT_SHARD_IMAGES, j, class_names, scale, err);
        for (int64_t k = 0; !st && k < count; k++)
            if (order[k] / ALEAT_SHARD_IMAGES == i)
                st = place_on_sheet(f, &v, order[k], k, sheet, scale, err);
        view_clear(&v);
    }
    if (!st)
        st = aleat_png_write(path, aleat_contact_sheet_image(sheet), NULL, 0, err);
    aleat_contact_sheet_free(sheet);
    aleat_free(path);
    return st;
}

/* ---- the end --------------------------------------------------------------------------------- */

// {"x0-drift": {"mean": ..., "low": ..., "high": ...}, ...}, of those that the run has.
static json_t *signals_json(const aleat_run_folder *f)
{
    json_t *o = json_object();
    for (int k = 0; k < f->shape.n_signals; k++) {
        const aleat_run_summary *s = &f->signals[k];
        if (s->n > 0)
            (void)json_object_set_new(o, f->shape.signals[k],
                                      json_pack("{sfsfsf}", "mean", s->sum / (double)s->n, "low",
                                                s->low, "high", s->high));
    }
    return o;
}

static json_t *guidance_json(const aleat_run_folder *f)
{
    json_t *list = json_array();
    for (int64_t k = 0; k < f->shape.n_guide_steps; k++) {
        const aleat_run_summary *s = &f->changes[k];
        if (s->n > 0) // otherwise not a number, the state itself being 0
            (void)json_array_append_new(
                list, json_pack("{sIsfsf}", "step", (json_int_t)(f->shape.guide_begin + k),
                                "mean_change", s->sum / (double)s->n, "most_change", s->high));
    }
    return list;
}

static aleat_status write_run_json(const aleat_run_folder *f, json_t *report, aleat_error *err)
{
    json_t *run = json_pack("{sO}", "settings", f->settings);
    char *path = aleat_run_path(f, "run.json");
    aleat_status st = ALEAT_OK;
    if (!run || !path || (report && json_object_update(run, report)) ||
        (f->shape.n_signals && json_object_set_new(run, "signals", signals_json(f))) ||
        (f->shape.n_guide_steps && json_object_set_new(run, "guidance", guidance_json(f))))
        st = aleat_fail_memory(err, "run.json");
    else
        st = aleat_json_write(path, run, err);
    json_decref(run);
    aleat_free(path);
    return st;
}

static aleat_status remove_shards(const aleat_run_folder *f, aleat_error *err)
{
    aleat_status st = aleat_run_remove(f, "shards", "*", err);
    char *path = aleat_run_path(f, "shards");
    if (path)
        (void)rmdir(path); // stays if something foreign is in it
    aleat_free(path);
    return st;
}

aleat_status aleat_run_folder_finish(aleat_run_folder *f, json_t *report, aleat_error *err)
{
    if (f->complete) // a kill between run.json and this leaves shards behind
        return remove_shards(f, err);
    aleat_status st = collect_scores(f, err);
    if (!st)
        st = collect_summaries(f, err);
    if (!st)
        st = write_arrays(f, err);
    if (!st)
        st = write_csv(f, err);
    if (!st)
        st = write_pictures(f, json_object_get(report, "class_names"), err);
    if (!st)
        st = write_run_json(f, report, err);
    if (st)
        return st;
    f->complete = true;
    return remove_shards(f, err);
}
