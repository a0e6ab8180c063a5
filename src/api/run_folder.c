#include "api/run_folder.h"

#include <dirent.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/run_state.h"
#include "api/run_text.h"
#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/json.h"
#include "io/npy.h"

#define TEMPORARY "*.tmp[0-9]*-[0-9]*" // what a killed process leaves behind (io/file.c)
#define NUMBERED  "[0-9][0-9][0-9][0-9][0-9][0-9]*.png"

/* ---- names and shapes ------------------------------------------------------------------------ */

char *aleat_run_path(const aleat_run_folder *folder, const char *fmt, ...)
{
    char name[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    return aleat_path_join(folder->path, name);
}

char *aleat_shard_path(const aleat_run_folder *folder, int64_t i)
{
    return aleat_run_path(folder, "shards/%06" PRId64 ".npz", i);
}

bool aleat_shard_array(const aleat_run_shape *s, int which, int64_t count, const char **name,
                       aleat_dtype *dtype, aleat_shape *dims)
{
    const int64_t maps = s->n_maps, steps = s->n_score_steps;
    const int64_t c = s->channels, h = s->height, w = s->width;
    *dtype = ALEAT_F32;
    switch (which) {
    case ALEAT_SHARD_OF_IMAGES:
        *name = "images";
        *dtype = ALEAT_U8;
        *dims = aleat_shape_of(4, count, s->image_height, s->image_width, s->image_channels);
        return true;
    case ALEAT_SHARD_OF_LABELS:
        *name = "labels";
        *dtype = ALEAT_I64;
        *dims = aleat_shape_of(1, count);
        return true;
    case ALEAT_SHARD_OF_MAPS:
        *name = "maps";
        *dims = aleat_shape_of(5, maps, count, c, h, w);
        return maps > 0;
    case ALEAT_SHARD_OF_SUMS:
        *name = "sums";
        *dtype = ALEAT_F64;
        *dims = aleat_shape_of(3, maps, count, steps);
        return maps > 0;
    case ALEAT_SHARD_OF_STEP_MAPS:
        *name = "step_maps";
        *dims = aleat_shape_of(6, maps, count, steps, c, h, w);
        return maps > 0 && s->keep_steps;
    case ALEAT_SHARD_OF_TRAJECTORY:
        *name = "trajectory";
        *dims = aleat_shape_of(5, count, s->trajectory_states, c, h, w);
        return s->trajectory_states > 0;
    case ALEAT_SHARD_OF_X0:
        *name = "x0";
        *dims = aleat_shape_of(5, count, s->x0_steps, c, h, w);
        return s->x0_steps > 0;
    case ALEAT_SHARD_OF_SIGNALS:
        *name = "signals";
        *dtype = ALEAT_F64;
        *dims = aleat_shape_of(2, count, (int64_t)s->n_signals);
        return s->n_signals > 0;
    case ALEAT_SHARD_OF_CHANGES:
        *name = "changes";
        *dtype = ALEAT_F64;
        *dims = aleat_shape_of(2, count, s->n_guide_steps);
        return s->n_guide_steps > 0;
    case ALEAT_SHARD_OF_CARRIED:
        *name = "carried";
        *dims = aleat_shape_of(4, count, s->image_channels, s->image_height, s->image_width);
        return s->carried;
    default: return false;
    }
}

aleat_status aleat_run_remove(const aleat_run_folder *folder, const char *sub, const char *pattern,
                              aleat_error *err)
{
    char *path = aleat_run_path(folder, "%s", sub);
    if (!path)
        return aleat_fail_memory(err, folder->path);
    aleat_status st = ALEAT_OK;
    DIR *dir = opendir(path);
    for (const struct dirent *entry; !st && dir && (entry = readdir(dir));)
        if (fnmatch(pattern, entry->d_name, FNM_PERIOD) == 0 &&
            unlinkat(dirfd(dir), entry->d_name, 0))
            st = aleat_fail_errno(err, "cannot be removed", entry->d_name);
    if (dir)
        (void)closedir(dir);
    aleat_free(path);
    return st;
}

/* ---- opening --------------------------------------------------------------------------------- */

static aleat_status fail_different(const aleat_run_folder *f, const char *key, const json_t *there,
                                   const json_t *here, aleat_error *err)
{
    char a[200], b[200];
    aleat_json_text(there, a, sizeof a);
    aleat_json_text(here, b, sizeof b);
    const aleat_status st =
        aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: holds a run whose '%s' is %s, this one's is %s",
                   f->path, key, a, b);
    aleat_hint(err, "write to another folder, or throw the old run away with --resume discard");
    return st;
}

// ALEAT_OK if every setting there is the same here and the other way round.
static aleat_status compare_settings(const aleat_run_folder *f, json_t *there, aleat_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(f->settings, key, value)
    {
        if (!json_equal(value, json_object_get(there, key)))
            return fail_different(f, key, json_object_get(there, key), value, err);
    }
    json_object_foreach(there, key, value)
    {
        if (!json_object_get(f->settings, key))
            return fail_different(f, key, value, NULL, err);
    }
    return ALEAT_OK;
}

// Reads the settings that a file of the folder holds; *found stays NULL if there is no such file.
static aleat_status load_settings(const aleat_run_folder *f, const char *name, json_t **found,
                                  aleat_error *err)
{
    *found = NULL;
    aleat_json json = {0};
    aleat_status st = ALEAT_OK;
    char *path = aleat_run_path(f, "%s", name);
    if (!path)
        return aleat_fail_memory(err, f->path);
    if (aleat_is_file(path)) {
        st = aleat_json_load_object(&json, found, path, "settings", err);
        if (!st)
            (void)json_incref(*found);
    }
    aleat_json_clear(&json);
    aleat_free(path);
    return st;
}

static aleat_status write_settings(const aleat_run_folder *f, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    char *path = aleat_run_path(f, "shards/settings.json");
    json_t *file = json_pack("{sO}", "settings", f->settings);
    if (!path || !file)
        st = aleat_fail_memory(err, "run settings");
    else
        st = aleat_json_write(path, file, err);
    json_decref(file);
    aleat_free(path);
    return st;
}

static aleat_status discard(const aleat_run_folder *f, aleat_error *err)
{
    static const char *const files[][2] = {
        {".", "run.json"},           {"shards", "settings.json"}, {"shards", "*.npz"},
        {"shards", "*.npy"},         {".", "samples.npz"},        {".", "scores.csv"},
        {".", "contact.png"},        {"images", NUMBERED},        {"maps", NUMBERED},
        {".", "trajectory.npy"},     {".", "samples.npy"},        {".", "uncertainty.npy"},
        {".", "*-var.npy"},          {".", "*-se.npy"},           {".", "*-steps.npy"},
        {".", "eps-*.npy"},          {".", "report.html"},        {".", "original.npy"},
        {".", "reconstruction.npy"}, {".", "error.npy"},          {".", "errors.csv"},
        {".", "reconstruct.json"},   {".", "x0-error.npy"},
    };
    aleat_status st = ALEAT_OK;
    for (size_t i = 0; !st && i < sizeof files / sizeof *files; i++)
        st = aleat_run_remove(f, files[i][0], files[i][1], err);
    return st;
}

static aleat_status remove_temporaries(const aleat_run_folder *f, aleat_error *err)
{
    static const char *const places[] = {".", "shards", "images", "maps"};
    aleat_status st = ALEAT_OK;
    for (size_t i = 0; !st && i < sizeof places / sizeof *places; i++)
        st = aleat_run_remove(f, places[i], TEMPORARY, err);
    return st;
}

static aleat_status make_folders(const aleat_run_folder *f, aleat_error *err)
{
    const char *const subs[] = {"shards", "images", f->shape.n_maps ? "maps" : "images"};
    aleat_status st = ALEAT_OK;
    for (size_t i = 0; !st && i < sizeof subs / sizeof *subs; i++) {
        char *path = aleat_run_path(f, "%s", subs[i]);
        st = path ? aleat_make_dirs(path, err) : aleat_fail_memory(err, f->path);
        aleat_free(path);
    }
    return st;
}

static aleat_status find_shards(aleat_run_folder *f, aleat_error *err)
{
    for (int64_t i = 0; i < f->n_shards; i++) {
        char *path = aleat_shard_path(f, i);
        if (!path)
            return aleat_fail_memory(err, f->path);
        f->present[i] = aleat_is_file(path);
        aleat_free(path);
    }
    return ALEAT_OK;
}

// Decides between a new run, going on, and refusing.
static aleat_status settle(aleat_run_folder *f, aleat_resume resume, aleat_error *err)
{
    json_t *finished = NULL, *started = NULL;
    aleat_status st = ALEAT_OK;
    if (resume == ALEAT_RESUME_DISCARD)
        st = discard(f, err);
    if (!st)
        st = load_settings(f, "run.json", &finished, err);
    if (!st)
        st = load_settings(f, "shards/settings.json", &started, err);
    if (st)
        goto done;
    json_t *there = finished ? finished : started;
    if (there)
        st = compare_settings(f, there, err);
    else if (resume == ALEAT_RESUME_REQUIRE)
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: holds no run to resume", f->path);
    if (!st)
        st = remove_temporaries(f, err);
    if (st)
        goto done;
    f->complete = finished != NULL;
    if (f->complete)
        goto done;
    st = make_folders(f, err);
    if (!st && !started)
        st = write_settings(f, err);
    if (!st)
        st = find_shards(f, err);
done:
    json_decref(finished);
    json_decref(started);
    return st;
}

aleat_status aleat_run_folder_open(aleat_run_folder **out, const char *path,
                                   const aleat_run_shape *shape, const json_t *settings,
                                   aleat_resume resume, aleat_error *err)
{
    *out = NULL;
    aleat_status st = ALEAT_OK;
    aleat_run_folder *f = aleat_calloc(1, sizeof *f);
    if (!f)
        return aleat_fail_memory(err, path);
    f->shape = *shape;
    f->n_shards = (shape->n + ALEAT_SHARD_IMAGES - 1) / ALEAT_SHARD_IMAGES;
    f->current = -1;
    f->path = aleat_strdup(path);
    f->settings = json_deep_copy(settings);
    f->present = aleat_calloc((size_t)f->n_shards, sizeof *f->present);
    if (!f->path || !f->settings || !f->present)
        st = aleat_fail_memory(err, path);
    else
        st = settle(f, resume, err);
    if (st)
        goto done;
    *out = f;
    f = NULL;
done:
    aleat_run_folder_free(f);
    return st;
}

void aleat_run_folder_free(aleat_run_folder *f)
{
    if (!f)
        return;
    aleat_shard_clear(f->arrays);
    json_decref(f->settings);
    aleat_free(f->present);
    aleat_free(f->scores);
    aleat_free(f->labels);
    aleat_free(f->signals);
    aleat_free(f->changes);
    aleat_free(f->path);
    aleat_free(f);
}

bool aleat_run_folder_complete(const aleat_run_folder *f)
{
    return f->complete;
}

int64_t aleat_run_folder_shards(const aleat_run_folder *f)
{
    return f->n_shards;
}

bool aleat_run_folder_has(const aleat_run_folder *f, int64_t i)
{
    return f->complete || f->present[i];
}

static int64_t shard_count(const aleat_run_folder *f, int64_t i)
{
    const int64_t rest = f->shape.n - i * ALEAT_SHARD_IMAGES;
    return rest < ALEAT_SHARD_IMAGES ? rest : ALEAT_SHARD_IMAGES;
}

int64_t aleat_run_folder_done(const aleat_run_folder *f)
{
    int64_t done = 0;
    for (int64_t i = 0; i < f->n_shards; i++)
        if (aleat_run_folder_has(f, i))
            done += shard_count(f, i);
    return done;
}

const double *aleat_run_folder_scores(const aleat_run_folder *f)
{
    return f->shape.n_maps ? f->scores : NULL;
}

/* ---- a shard --------------------------------------------------------------------------------- */

aleat_status aleat_shard_new(aleat_shard *shard, aleat_tensor arrays[ALEAT_SHARD_N_ARRAYS],
                             const aleat_run_shape *shape, int64_t first, int64_t count,
                             aleat_error *err)
{
    for (int a = 0; a < ALEAT_SHARD_N_ARRAYS; a++) {
        const char *name;
        aleat_dtype dtype;
        aleat_shape dims;
        if (!aleat_shard_array(shape, a, count, &name, &dtype, &dims))
            continue;
        aleat_status st = aleat_tensor_new(&arrays[a], dtype, &dims, err);
        if (st)
            return st;
    }
    *shard = (aleat_shard){
        .first = first,
        .count = count,
        .images = arrays[ALEAT_SHARD_OF_IMAGES].data,
        .labels = arrays[ALEAT_SHARD_OF_LABELS].data,
        .maps = arrays[ALEAT_SHARD_OF_MAPS].data,
        .sums = arrays[ALEAT_SHARD_OF_SUMS].data,
        .step_maps = arrays[ALEAT_SHARD_OF_STEP_MAPS].data,
        .trajectory = arrays[ALEAT_SHARD_OF_TRAJECTORY].data,
        .x0 = arrays[ALEAT_SHARD_OF_X0].data,
        .signals = arrays[ALEAT_SHARD_OF_SIGNALS].data,
        .changes = arrays[ALEAT_SHARD_OF_CHANGES].data,
        .carried = arrays[ALEAT_SHARD_OF_CARRIED].data,
    };
    return ALEAT_OK;
}

void aleat_shard_clear(aleat_tensor arrays[ALEAT_SHARD_N_ARRAYS])
{
    for (int a = 0; a < ALEAT_SHARD_N_ARRAYS; a++)
        aleat_tensor_clear(&arrays[a]);
}

aleat_status aleat_run_folder_begin(aleat_run_folder *f, int64_t i, aleat_shard **shard,
                                    aleat_error *err)
{
    *shard = NULL;
    aleat_shard_clear(f->arrays);
    const aleat_status st = aleat_shard_new(&f->shard, f->arrays, &f->shape, i * ALEAT_SHARD_IMAGES,
                                            shard_count(f, i), err);
    f->current = i;
    *shard = st ? NULL : &f->shard;
    return st;
}

aleat_status aleat_run_picture(aleat_image *out, const aleat_run_shape *shape,
                               const uint8_t *pixels, aleat_error *err)
{
    const int64_t n = shape->image_height * shape->image_width;
    const int channels = shape->image_channels < 3 ? 1 : 3;
    memset(out, 0, sizeof *out);
    uint8_t *copy = aleat_alloc((size_t)(n * channels));
    if (!copy)
        return aleat_fail_memory(err, "a picture");
    for (int64_t i = 0; i < n; i++)
        memcpy(copy + i * channels, pixels + i * shape->image_channels, (size_t)channels);
    *out = (aleat_image){shape->image_width, shape->image_height, channels, copy};
    return ALEAT_OK;
}

// Sum of the steps' sums of map m of the shard's image j.
static double score_of(const aleat_run_folder *f, int m, int64_t j)
{
    const int64_t steps = f->shape.n_score_steps;
    const double *sums = f->shard.sums + (m * f->shard.count + j) * steps;
    double score = 0;
    for (int64_t s = 0; s < steps; s++)
        score += sums[s];
    return score;
}

// The settings of a run with what `own` says of one image, as other programs read them.
static char *write_parameters(const aleat_generation *of_run, const json_t *own)
{
    static const char *const keys[][2] = {{"Image", "image"}, {"Label", "label"}};
    aleat_generation g = {0};
    aleat_status st = ALEAT_OK;
    for (int i = 0; !st && i < of_run->n_fields; i++)
        st = aleat_generation_add(&g, of_run->fields[i].key, of_run->fields[i].value, NULL);
    for (size_t i = 0; !st && i < sizeof keys / sizeof *keys; i++) {
        char number[24];
        const int64_t value = json_integer_value(json_object_get(own, keys[i][1]));
        (void)snprintf(number, sizeof number, "%" PRId64, value);
        if (value >= 0)
            st = aleat_generation_add(&g, keys[i][0], number, NULL);
    }
    const char *prompt = json_string_value(json_object_get(own, "prompt"));
    const char *negative = json_string_value(json_object_get(own, "negative_prompt"));
    g.prompt = aleat_strdup(prompt ? prompt : "");
    g.negative = aleat_strdup(negative ? negative : "");
    char *text = st || !g.prompt || !g.negative ? NULL : aleat_generation_write(&g);
    aleat_generation_clear(&g);
    return text;
}

/*
 * Settings travel with a picture twice: "parameters" in the one-line form that other tools show,
 * "aleat" as JSON for ours.
 */
static aleat_status write_image(const aleat_run_folder *f, int64_t j, aleat_error *err)
{
    const aleat_run_shape *s = &f->shape;
    const int64_t place = f->shard.first + j, number = s->first + place;
    const int64_t pixels = s->image_channels * s->image_height * s->image_width;
    aleat_image image = {0};
    char *parameters = NULL, *text = NULL, *path = NULL;
    json_t *own = json_deep_copy(f->settings);
    json_t *scores = json_object();
    aleat_status st = aleat_run_picture(&image, s, f->shard.images + j * pixels, err);
    if (st)
        goto done;
    st = ALEAT_ERR_MEMORY;
    if (!own || !scores)
        goto done;
    for (int m = 0; m < s->n_maps; m++)
        if (json_object_set_new(scores, s->maps[m].name, json_real(score_of(f, m, j))))
            goto done;
    if (!aleat_run_texts_settings_of(own, place) ||
        json_object_set_new(own, "image", json_integer(number)) ||
        json_object_set_new(own, "label", json_integer(f->shard.labels[j])) ||
        (s->n_maps && json_object_set(own, "scores", scores)))
        goto done;
    parameters = write_parameters(s->generation, own);
    text = json_dumps(own, JSON_ENSURE_ASCII | JSON_COMPACT | JSON_REAL_PRECISION(17));
    path = aleat_run_path(f, "images/%06" PRId64 ".png", place);
    if (!parameters || !text || !path)
        goto done;
    const aleat_png_text texts[] = {{"parameters", parameters}, {"aleat", text}};
    st = aleat_png_write(path, &image, texts, 2, err);
done:
    if (st == ALEAT_ERR_MEMORY)
        st = aleat_fail_memory(err, "a picture");
    json_decref(own);
    json_decref(scores);
    free(text);
    aleat_free(parameters);
    aleat_free(path);
    aleat_image_clear(&image);
    return st;
}

aleat_status aleat_run_folder_commit(aleat_run_folder *f, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    for (int64_t j = 0; !st && j < f->shard.count; j++)
        st = write_image(f, j, err);
    if (st)
        return st;
    aleat_named_array arrays[ALEAT_SHARD_N_ARRAYS];
    int n = 0;
    for (int a = 0; a < ALEAT_SHARD_N_ARRAYS; a++) {
        aleat_dtype dtype;
        aleat_shape dims;
        if (aleat_shard_array(&f->shape, a, f->shard.count, &arrays[n].name, &dtype, &dims))
            arrays[n++].array = f->arrays[a];
    }
    char *path = aleat_shard_path(f, f->current);
    st = path ? aleat_npz_write(path, arrays, n, false, err) : aleat_fail_memory(err, f->path);
    aleat_free(path);
    if (!st)
        f->present[f->current] = true;
    aleat_shard_clear(f->arrays);
    return st;
}
