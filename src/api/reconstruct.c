/* aleat_model_reconstruct(): a run from known images, and how its maps fit their errors. */
#include "aleat/reconstruct.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/intake.h"
#include "api/run_settings.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/names.h"
#include "io/file.h"
#include "io/image_convert.h"
#include "io/json.h"
#include "io/npy.h"
#include "uncertainty/estimator.h"

/* ---- what the published code does otherwise -------------------------------------------------- */

// Switches; zero-initialised: none.
typedef struct variants {
    bool noise_index, units;
    bool zero_pad;
    int64_t rows; // of zeros; -1: as many as images of the set are not used
} variants;

enum { NOISE_INDEX, UNITS, ZERO_PAD };
static const struct {
    const char *name, *help;
} variant_names[] = {
    {"ause-noise-index", "noise images to abar of the step's number, not of its training step"},
    {"ause-units", "compare pixels of 0 to 255 with originals of 0 to 1"},
    {"ause-zero-pad", "rows of zeros for the images of the set that are not used; =N: N rows"},
};
#define N_VARIANTS ((int)(sizeof variant_names / sizeof *variant_names))

const char *aleat_reconstruct_compat_name(int i, const char **help)
{
    return ALEAT_NAME_AT(variant_names, i, help);
}

// Whether the word of n letters is one of ours, and then sets it; *bad: one with a wrong number.
static bool take_word(variants *v, const char *word, size_t n, bool *bad)
{
    for (int i = 0; i < N_VARIANTS; i++) {
        const char *name = variant_names[i].name;
        const size_t length = strlen(name);
        const bool valued = i == ZERO_PAD && n > length && word[length] == '=';
        if ((n != length && !valued) || strncmp(word, name, length) != 0)
            continue;
        v->noise_index |= i == NOISE_INDEX;
        v->units |= i == UNITS;
        if (i == ZERO_PAD) {
            char *end = NULL;
            v->zero_pad = true;
            v->rows = valued ? strtoll(word + length + 1, &end, 10) : -1;
            *bad = valued && (end != word + n || v->rows < 0 || v->rows > UINT32_MAX);
        }
        return true;
    }
    return false;
}

// Splits the switches of `text` into ours, and *rest, those of runs, in new memory.
static aleat_status read_variants(variants *v, char **rest, const char *text, aleat_error *err)
{
    *v = (variants){0};
    *rest = aleat_calloc(text ? strlen(text) + 1 : 1, 1);
    if (!*rest)
        return aleat_fail_memory(err, "options");
    size_t used = 0;
    while (text && *text) {
        const size_t n = strcspn(text, ",");
        bool bad = false;
        if (!take_word(v, text, n, &bad)) {
            if (used)
                (*rest)[used++] = ',';
            memcpy(*rest + used, text, n);
            used += n;
        }
        if (bad)
            return aleat_fail(err, ALEAT_ERR_ARGUMENT, "'%.*s': expected a number of images",
                              (int)n, text);
        text += n + (text[n] == ',');
    }
    return ALEAT_OK;
}

/* ---- the run --------------------------------------------------------------------------------- */

// One reconstruction while it is made.
typedef struct job {
    const aleat_reconstruct_options *options;
    const char *folder;
    aleat_run_options run;
    variants variants;
    char *compat; // of the run
    aleat_intake images;
    int64_t count;        // elements of a state
    int64_t rows;         // images and zero rows, which the metrics see
    float *reconstructed; // [n,count]
    double *errors;       // [rows,count], as the metrics take them
    double *map;          // [rows,count]
} job;

static void job_clear(job *j)
{
    aleat_intake_clear(&j->images);
    aleat_free(j->compat);
    aleat_free(j->reconstructed);
    aleat_free(j->errors);
    aleat_free(j->map);
}

static aleat_status check_options(const aleat_run_options *o, aleat_error *err)
{
    const struct {
        bool given;
        const char *name;
    } refused[] = {{o->guide, "guidance"},
                   {o->classifier != NULL, "a classifier"},
                   {o->initial != NULL, "noise to start from"},
                   {o->trajectory != NULL, "a trajectory"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (refused[i].given)
            return aleat_fail(err, ALEAT_ERR_ARGUMENT, "a reconstruction takes no %s",
                              refused[i].name);
    if (!aleat_estimator_is_local(o->estimator))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s follows whole runs from noise: it has no map of a reconstruction",
                          o->estimator);
    return ALEAT_OK;
}

static aleat_status job_make(job *j, const aleat_model *model, const aleat_images *images,
                             aleat_error *err)
{
    const aleat_reconstruct_options *o = j->options;
    const aleat_denoiser_info *info = &model->files.info;
    aleat_status st = check_options(&o->run, err);
    if (!st)
        st = aleat_model_check_denoiser(model, err);
    if (!st)
        st = read_variants(&j->variants, &j->compat, o->run.compat, err);
    j->run = o->run;
    j->run.n = o->run.n ? o->run.n : images->n;
    j->run.uncertainty = true;
    j->run.compat = j->compat && *j->compat ? j->compat : NULL;
    if (!st)
        st = aleat_intake_make(&j->images, model, images, j->run.n, o->fit, o->encoder, err);
    j->count = info->channels * info->height * info->width;
    int64_t pad = j->variants.zero_pad ? j->variants.rows : 0;
    if (pad < 0)
        pad = images->n - j->run.n;
    j->rows = j->run.n + pad;
    return st;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

static aleat_status write_array(const job *j, const aleat_model *model, const char *name,
                                const float *data, aleat_error *err)
{
    const aleat_denoiser_info *info = &model->files.info;
    const aleat_shape shape =
        aleat_shape_of(4, j->run.n, info->channels, info->height, info->width);
    const aleat_tensor view = aleat_tensor_view(ALEAT_F32, &shape, (void *)data);
    char *path = aleat_path_join(j->folder, name);
    const aleat_status st =
        path ? aleat_npy_write(path, &view, err) : aleat_fail_memory(err, j->folder);
    aleat_free(path);
    return st;
}

// An array of the folder as f32, of as many elements as the images have.
static aleat_status read_array(const job *j, aleat_tensor *out, const char *name, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    char *path = aleat_path_join(j->folder, name);
    aleat_status st = path ? aleat_npy_read_f32(out, path, err) : aleat_fail_memory(err, j->folder);
    if (!st && aleat_tensor_count(out) != j->run.n * j->count)
        st = aleat_fail(err, ALEAT_ERR_SHAPE, "%s: is not of this run", path);
    aleat_free(path);
    return st;
}

// The last states, held to the range of pixels.
static aleat_status load_reconstructed(job *j, aleat_error *err)
{
    aleat_tensor last = {0};
    const int64_t all = j->run.n * j->count;
    aleat_status st = read_array(j, &last, "trajectory.npy", err);
    j->reconstructed = aleat_calloc((size_t)all, sizeof *j->reconstructed);
    if (!st && !j->reconstructed)
        st = aleat_fail_memory(err, "reconstructions");
    for (int64_t i = 0; !st && i < all; i++) {
        const float x = aleat_tensor_f32(&last)[i];
        j->reconstructed[i] = j->images.latents ? x : fminf(fmaxf(x, -1), 1);
    }
    aleat_tensor_clear(&last);
    return st;
}

// As the metrics take it.
static double error_of(const job *j, int64_t i)
{
    const float x = j->reconstructed[i], x0 = j->images.x0[i];
    return j->variants.units ? aleat_pixel_of_float(x) - ((double)x0 + 1) / 2
                             : (double)x - (double)x0;
}

static aleat_status write_errors_csv(const job *j, const float *error, aleat_error *err)
{
    aleat_atomic_file file = {0};
    char *path = aleat_path_join(j->folder, "errors.csv");
    aleat_status st =
        path ? aleat_atomic_open(&file, path, err) : aleat_fail_memory(err, j->folder);
    if (!st)
        (void)fputs("index,label,rmse\n", file.stream);
    for (int64_t i = 0; !st && i < j->run.n; i++) {
        double sum = 0;
        for (int64_t k = i * j->count; k < (i + 1) * j->count; k++)
            sum += (double)error[k] * (double)error[k];
        (void)fprintf(file.stream, "%" PRId64 ",%d,%.17g\n", i,
                      j->run.labels ? (int)j->run.labels[i] : -1, sqrt(sum / (double)j->count));
    }
    if (!st)
        st = aleat_atomic_commit(&file, err);
    aleat_atomic_abandon(&file);
    aleat_free(path);
    return st;
}

static aleat_status write_arrays(const job *j, const aleat_model *model, aleat_error *err)
{
    const int64_t all = j->run.n * j->count;
    float *error = aleat_calloc((size_t)all, sizeof *error);
    if (!error)
        return aleat_fail_memory(err, "errors");
    for (int64_t i = 0; i < all; i++)
        error[i] = j->reconstructed[i] - j->images.x0[i];
    aleat_status st = write_array(j, model, "original.npy", j->images.x0, err);
    if (!st)
        st = write_array(j, model, "reconstruction.npy", j->reconstructed, err);
    if (!st)
        st = write_array(j, model, "error.npy", error, err);
    if (!st)
        st = write_errors_csv(j, error, err);
    aleat_free(error);
    return st;
}

/* ---- maps against errors --------------------------------------------------------------------- */

static aleat_status judge_map(const job *j, aleat_reconstruct_map *out,
                              const aleat_statistic *statistic, int64_t steps, aleat_error *err)
{
    const aleat_metric_inputs in = {
        .x = j->map, .y = j->errors, .n = j->rows * j->count, .images = j->rows};
    const aleat_metric_options options = {
        .draws = j->options->draws, .confidence = j->options->confidence, .seed = j->run.seed};
    *out = (aleat_reconstruct_map){.name = statistic->name,
                                   .low_is_unsure = statistic->low_is_uncertain};
    aleat_status st = aleat_metric_evaluate(&out->ause, "ause", &in, &options, err);
    out->variance_ratio = NAN;
    if (st || statistic->signal_power != 2 || j->variants.units)
        return st;
    double map = 0, squares = 0;
    bool positive = true;
    for (int64_t i = 0; i < in.n; i++) {
        map += j->map[i] / (double)steps;
        squares += j->errors[i] * j->errors[i];
        positive &= j->map[i] > 0;
        j->map[i] = sqrt(fmax(j->map[i], 0) / (double)steps);
    }
    out->variance_ratio = squares / map;
    if (!positive)
        return ALEAT_OK;
    return aleat_metric_evaluate(&out->calibration, "calibration", &in, &options, err);
}

static aleat_status judge_maps(job *j, aleat_reconstruct_result *r, int64_t steps, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    for (int m = 0; !st && aleat_run_maps[m].name; m++) {
        const char *name = aleat_run_maps[m].name, *file = aleat_run_maps[m].file;
        const aleat_statistic *statistic = aleat_map_statistic(name);
        char *path = aleat_path_join(j->folder, file);
        const bool there = path && aleat_is_file(path);
        st = path ? ALEAT_OK : aleat_fail_memory(err, j->folder);
        aleat_free(path);
        if (st || !there || statistic->is_error || r->n_maps == ALEAT_RECONSTRUCT_MAPS)
            continue;
        aleat_tensor map = {0};
        st = read_array(j, &map, file, err);
        memset(j->map, 0, (size_t)(j->rows * j->count) * sizeof *j->map);
        for (int64_t i = 0; !st && i < j->run.n * j->count; i++)
            j->map[i] = (double)aleat_tensor_f32(&map)[i];
        aleat_tensor_clear(&map);
        if (!st)
            st = judge_map(j, &r->maps[r->n_maps++], statistic, steps, err);
        if (st)
            aleat_error_in(err, "%s", name);
    }
    return st;
}

static aleat_status judge(job *j, aleat_reconstruct_result *r, int64_t steps, aleat_error *err)
{
    size_t all;
    const bool fits = aleat_size_mul((size_t)j->rows, (size_t)j->count, &all);
    j->errors = fits ? aleat_calloc(all, sizeof *j->errors) : NULL;
    j->map = fits ? aleat_calloc(all, sizeof *j->map) : NULL;
    if (!j->errors || !j->map)
        return aleat_fail_memory(err, "errors and maps");
    for (int64_t i = 0; i < j->run.n * j->count; i++)
        j->errors[i] = error_of(j, i);
    return judge_maps(j, r, steps, err);
}

/* ---- reconstruct.json ------------------------------------------------------------------------ */

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *metric_json(const aleat_metric_result *r)
{
    json_t *o = json_object();
    for (int i = 0; o && i < r->n_values; i++) {
        const aleat_metric_value *v = &r->values[i];
        (void)json_object_set_new(o, v->name,
                                  json_pack("{sososo}", "value", number(v->value), "low",
                                            number(v->low), "high", number(v->high)));
    }
    return o;
}

static aleat_status write_json(const job *j, const aleat_reconstruct_result *r, aleat_error *err)
{
    json_t *maps = json_array();
    for (int m = 0; maps && m < r->n_maps; m++)
        (void)json_array_append_new(maps,
                                    json_pack("{sssbsososo}", "map", r->maps[m].name,
                                              "low_is_unsure", r->maps[m].low_is_unsure,
                                              "variance_ratio", number(r->maps[m].variance_ratio),
                                              "ause", metric_json(&r->maps[m].ause), "calibration",
                                              metric_json(&r->maps[m].calibration)));
    json_t *o = json_pack("{sIsIsIsfsfsfsIsIss*so}", "images", (json_int_t)r->n, "from",
                          (json_int_t)r->from, "steps", (json_int_t)r->steps, "t", r->t, "alpha",
                          r->alpha, "sigma", r->sigma, "evaluations_per_image",
                          (json_int_t)r->evaluations, "bootstrap", (json_int_t)j->options->draws,
                          "compat", j->options->run.compat, "maps", maps);
    char *path = aleat_path_join(j->folder, "reconstruct.json");
    const aleat_status st =
        o && path ? aleat_json_write(path, o, err) : aleat_fail_memory(err, "reconstruct.json");
    json_decref(o);
    aleat_free(path);
    return st;
}

/* ---- the call -------------------------------------------------------------------------------- */

aleat_status aleat_model_reconstruct(aleat_model *model, const aleat_images *images,
                                     const char *folder, const aleat_reconstruct_options *options,
                                     aleat_reconstruct_result *result, aleat_error *err)
{
    job j = {.options = options, .folder = folder};
    aleat_reconstruct_result r = {0};
    aleat_run_start start = {.from = options->from,
                             .share = options->from_share != 0 ? options->from_share : 0.5};
    if (result)
        *result = r;
    aleat_status st = job_make(&j, model, images, err);
    start.x0 = j.images.x0;
    start.step_index = j.variants.noise_index;
    start.compat = j.variants.noise_index ? variant_names[NOISE_INDEX].name : NULL;
    if (!st)
        st = aleat_run_make(model, folder, &j.run, &start, &r.run, err);
    r.n = j.run.n;
    r.from = start.outer;
    r.steps = start.outer_steps;
    r.t = start.t;
    r.alpha = start.alpha;
    r.sigma = start.sigma;
    r.evaluations = start.evaluations;
    if (!st)
        st = load_reconstructed(&j, err);
    if (!st)
        st = write_arrays(&j, model, err);
    if (!st)
        st = judge(&j, &r, start.scored_steps, err);
    if (!st)
        st = write_json(&j, &r, err);
    job_clear(&j);
    if (!st && result)
        *result = r;
    else
        aleat_reconstruct_clear(&r);
    return st;
}

void aleat_reconstruct_clear(aleat_reconstruct_result *r)
{
    if (!r)
        return;
    for (int m = 0; m < r->n_maps; m++) {
        aleat_metric_result_clear(&r->maps[m].ause);
        aleat_metric_result_clear(&r->maps[m].calibration);
    }
    memset(r, 0, sizeof *r);
}
