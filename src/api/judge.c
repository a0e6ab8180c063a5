/* aleat_model_judge(): images that are there already, into a folder like that of a run. */
#include "aleat/judge.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/intake.h"
#include "api/run_folder.h"
#include "api/run_settings.h"
#include "api/schedule.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "io/image_convert.h"
#include "io/sha256.h"
#include "uncertainty/referee.h"

// The map that the referee adds to those of the estimator.
#define ERROR_MAP  "x0-error"
#define ERROR_FILE "x0-error.npy"

// A map of the folder: which of the referee's it is, and whether it is the error over the draws.
typedef struct source {
    int map;
    bool error;
} source;

// One judgement while it is made.
typedef struct judge {
    const aleat_judge_options *options;
    aleat_run_options run_options;
    aleat_run_job job;
    aleat_intake images;
    aleat_denoiser cfg; // classifier-free guidance; empty: none
    aleat_referee *referee;
    aleat_run_shape shape;
    source sources[ALEAT_RUN_MAX_MAPS];
    char names[ALEAT_RUN_MAX_MAPS][32], files[ALEAT_RUN_MAX_MAPS][32];
    int64_t steps[1024];
    aleat_run_folder *folder;
    int repeats;
    aleat_shard *shard;
    int64_t row, rows, done, made;
    float *scratch;              // [count]
    aleat_generation generation; // of the pictures' text
} judge;

static void judge_clear(judge *j)
{
    aleat_run_folder_free(j->folder);
    aleat_referee_free(j->referee);
    aleat_denoiser_destroy(&j->cfg);
    aleat_intake_clear(&j->images);
    aleat_run_job_clear(&j->job);
    aleat_free(j->scratch);
    aleat_generation_clear(&j->generation);
    aleat_free(j);
}

/* ---- from options to a folder ---------------------------------------------------------------- */

// What of a run's options does not count is left out, so that it cannot fail or differ.
static aleat_run_options reduced(const aleat_run_options *o, int64_t n)
{
    return (aleat_run_options){.n = n,
                               .sampling = o->sampling,
                               .seed = o->seed,
                               .labels = o->labels,
                               .batch = o->batch,
                               .uncertainty = true,
                               .score_steps = o->score_steps,
                               .shown = o->shown,
                               .estimator = o->estimator,
                               .copies = o->copies,
                               .clip = o->clip,
                               .cfg_scale = o->cfg_scale,
                               .statistic = o->statistic,
                               .compat = o->compat,
                               .resume = o->resume,
                               .command = o->command,
                               .progress = o->progress,
                               .ctx = o->ctx};
}

static const char *file_of(const char *name)
{
    for (int m = 0; aleat_run_maps[m].name; m++)
        if (strcmp(aleat_run_maps[m].name, name) == 0)
            return aleat_run_maps[m].file;
    return ERROR_FILE;
}

static void add_map(judge *j, int map, const aleat_statistic *s, bool error)
{
    const int m = j->shape.n_maps++;
    const char *name = s ? s->name : ERROR_MAP, *file = file_of(name);
    j->sources[m] = (source){map, error};
    (void)snprintf(j->names[m], sizeof j->names[m], "%s%s", name, error ? "-se" : "");
    (void)snprintf(j->files[m], sizeof j->files[m], "%.*s%s.npy", (int)(strlen(file) - 4), file,
                   error ? "-se" : "");
    const bool is_error = error || (s && s->is_error);
    j->shape.maps[m] = (aleat_run_map){.name = j->names[m],
                                       .file = j->files[m],
                                       .unit = s && s->signal_power != 2 ? NULL : "squared pixels",
                                       .reading = is_error ? "light: uncertain map"
                                                  : s && s->low_is_uncertain ? "dark: unsure"
                                                  : s                        ? "light: unsure"
                                                      : "light: not as expected",
                                       .is_error = is_error};
}

// The maps that the draws give; errors over the draws come last, and in place of those over copies.
static void choose_maps(judge *j)
{
    const aleat_statistic *const *s = j->job.observe.estimator.statistics;
    const int n = j->job.n_maps;
    const bool many = j->repeats > 1;
    for (int k = 0; k <= n; k++)
        if (k == n || !many || !s[k]->is_error)
            add_map(j, k, k < n ? s[k] : NULL, false);
    for (int k = 0; many && k <= n; k++)
        if (k == n || !s[k]->is_error)
            add_map(j, k, k < n ? s[k] : NULL, true);
}

static aleat_status make_shape(judge *j, aleat_error *err)
{
    const aleat_denoiser_info *info = &j->job.model->files.info;
    const aleat_window w = j->job.observe.score;
    if (w.end - w.begin > (int)(sizeof j->steps / sizeof *j->steps))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%d scored steps are more than this takes",
                          w.end - w.begin);
    j->shape = (aleat_run_shape){.n = j->images.n,
                                 .channels = info->channels,
                                 .height = info->height,
                                 .width = info->width,
                                 .image_channels = j->images.image_channels,
                                 .image_height = j->images.image_height,
                                 .image_width = j->images.image_width,
                                 .n_score_steps = w.end - w.begin,
                                 .score_steps = j->steps,
                                 .seed = j->run_options.seed};
    for (int k = w.begin; k < w.end; k++)
        j->steps[k - w.begin] = k;
    choose_maps(j);
    const char *usual = aleat_run_map_shown, *shown = j->run_options.shown;
    if (!aleat_run_estimates(&j->job, ALEAT_ESTIMATOR_COPIES))
        shown = j->names[0]; // the only one there is, but for the error
    shown = shown ? shown : usual;
    for (int m = 0; m < j->shape.n_maps; m++)
        if (strcmp(j->names[m], shown) == 0) {
            j->shape.shown = m;
            j->job.shown = j->names[m];
            return ALEAT_OK;
        }
    return aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no map '%s'", shown);
}

static aleat_status make_settings(const judge *j, json_t **out, aleat_error *err)
{
    char hash[ALEAT_SHA256_TEXT];
    const aleat_intake *t = &j->images;
    aleat_status st = aleat_run_settings(out, &j->job, err);
    if (st)
        return st;
    aleat_sha256(hash, t->pixels,
                 (size_t)(t->n * t->image_channels * t->image_height * t->image_width) *
                     sizeof *t->pixels);
    bool ok = !json_object_set_new(*out, "originals_sha256", json_string(hash)) &&
              !json_object_set_new(*out, "repeats", json_integer(j->repeats));
    if (ok && j->options->encoder) {
        aleat_weights_sha256(j->options->encoder->files.weights, hash);
        ok =
            !json_object_set_new(*out, "encoder_sha256", json_string(hash)) &&
            !json_object_set_new(*out, "scaling_factor",
                                 json_real(aleat_vae_describe(j->options->encoder).scaling_factor));
    }
    return ok ? ALEAT_OK : aleat_fail_memory(err, "settings of the run");
}

static aleat_status open_folder(judge *j, const char *path, aleat_error *err)
{
    json_t *settings = NULL;
    int resume = 0;
    aleat_status st =
        aleat_name_find(&resume, aleat_resume_name, j->run_options.resume, "way to resume", err);
    if (!st)
        st = make_settings(j, &settings, err);
    if (!st)
        st = aleat_run_generation(&j->generation, &j->job, settings, err);
    j->shape.generation = &j->generation;
    if (!st)
        st =
            aleat_run_folder_open(&j->folder, path, &j->shape, settings, (aleat_resume)resume, err);
    json_decref(settings);
    return st;
}

static aleat_status make_referee(judge *j, aleat_error *err)
{
    const aleat_model *model = j->job.model;
    const aleat_denoiser_info *info = &model->files.info;
    aleat_status st = aleat_model_cfg(&j->cfg, j->job.model, j->run_options.cfg_scale, NULL, err);
    const aleat_referee_options options = {
        .plan = j->job.plan,
        .time_map = {model->files.time_scale, model->files.time_scale * model->files.time_offset},
        .observe = j->job.observe,
        .repeats = j->repeats};
    if (!st)
        st = aleat_referee_new(&j->referee, j->cfg.ops ? &j->cfg : &model->denoiser, &options,
                               j->job.batch, info->height, info->width, err);
    j->scratch =
        aleat_calloc((size_t)(info->channels * info->height * info->width), sizeof *j->scratch);
    return st || j->scratch ? st : aleat_fail_memory(err, "a map");
}

/* ---- batches --------------------------------------------------------------------------------- */

static aleat_status tell_progress(void *ctx, int64_t done, int64_t total, aleat_error *err)
{
    const judge *j = ctx;
    const aleat_run_options *o = &j->run_options;
    const double part = (double)done / (double)total * (double)j->rows;
    if (!o->progress || o->progress(o->ctx, (double)j->done + part, (double)o->n))
        return ALEAT_OK;
    (void)aleat_fail(err, ALEAT_ERR_CANCELLED, "stopped after %" PRId64 " of %" PRId64 " images",
                     aleat_run_folder_done(j->folder), o->n);
    aleat_hint(err, "the same command goes on from there");
    return ALEAT_ERR_CANCELLED;
}

static void take_maps(const judge *j)
{
    const aleat_run_shape *s = &j->shape;
    const int64_t count = s->channels * s->height * s->width;
    for (int m = 0; m < s->n_maps; m++)
        for (int64_t i = 0; i < j->rows; i++) {
            const int64_t at = m * j->shard->count + j->row + i;
            float *map = j->shard->maps + at * count;
            const source *from = &j->sources[m];
            aleat_referee_map(j->referee, from->map, i, from->error ? j->scratch : map,
                              from->error ? map : NULL);
            for (int64_t k = 0; k < s->n_score_steps; k++) {
                double mean, error;
                aleat_referee_step_sum(j->referee, from->map, i, (int)s->score_steps[k], &mean,
                                       &error);
                j->shard->sums[at * s->n_score_steps + k] = from->error ? error : mean;
            }
        }
}

static aleat_status judge_batch(judge *j, aleat_error *err)
{
    const aleat_run_shape *s = &j->shape;
    const int64_t first = j->shard->first + j->row, count = s->channels * s->height * s->width;
    const int64_t pixels = s->image_channels * s->image_height * s->image_width;
    const int32_t *labels = j->run_options.labels;
    uint32_t images[ALEAT_SHARD_IMAGES];
    for (int64_t i = 0; i < j->rows; i++) {
        images[i] = (uint32_t)(first + i);
        j->shard->labels[j->row + i] = labels ? labels[first + i] : -1;
        aleat_image_of_floats(j->shard->images + (j->row + i) * pixels,
                              j->images.pixels + (first + i) * pixels, s->image_channels,
                              s->image_height, s->image_width);
    }
    const aleat_referee_request request = {.n = j->rows,
                                           .images = images,
                                           .condition = {.labels = labels ? labels + first : NULL},
                                           .noise = aleat_noise_philox(j->run_options.seed),
                                           .x0 = j->images.x0 + first * count,
                                           .step = tell_progress,
                                           .ctx = j};
    const aleat_status st = aleat_referee_run(j->referee, &request, err);
    if (st)
        return st;
    take_maps(j);
    j->done += j->rows;
    j->made += j->rows;
    return ALEAT_OK;
}

static aleat_status judge_shards(judge *j, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    j->done = aleat_run_folder_done(j->folder);
    for (int64_t i = 0; !st && i < aleat_run_folder_shards(j->folder); i++) {
        if (aleat_run_folder_has(j->folder, i))
            continue;
        st = aleat_run_folder_begin(j->folder, i, &j->shard, err);
        for (j->row = 0; !st && j->row < j->shard->count; j->row += j->rows) {
            const int64_t rest = j->shard->count - j->row;
            j->rows = rest < j->job.batch ? rest : j->job.batch;
            st = judge_batch(j, err);
        }
        if (!st)
            st = aleat_run_folder_commit(j->folder, err);
    }
    return st;
}

/* ---- the call -------------------------------------------------------------------------------- */

static int64_t evaluations_of(const judge *j)
{
    const aleat_window w = j->job.observe.score;
    return (int64_t)j->repeats * (w.end - w.begin) *
           (1 + aleat_estimator_rows(&j->job.observe.estimator)) *
           (aleat_run_has_cfg(&j->run_options) ? 2 : 1);
}

static aleat_status finish(judge *j, double seconds, aleat_error *err)
{
    const aleat_model_facts facts = aleat_model_describe(j->job.model);
    const char *command = j->run_options.command;
    json_t *typed = command ? json_string(command) : NULL; // NULL, too, if it is not UTF-8
    json_t *report =
        json_pack("{ssso*s{sIsIsfsi}}", "model", facts.path, "command", typed, "this_session",
                  "images", (json_int_t)j->made, "evaluations_per_image",
                  (json_int_t)evaluations_of(j), "seconds", seconds, "threads", facts.threads);
    const aleat_status st = report ? aleat_run_folder_finish(j->folder, report, err)
                                   : aleat_fail_memory(err, "run.json");
    json_decref(report);
    return st;
}

static aleat_status prepare(judge *j, const aleat_images *images, aleat_error *err)
{
    const aleat_judge_options *o = j->options;
    if (o->repeats < 0 || o->repeats > 1 << 20)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%" PRId64 " draws of the noise", o->repeats);
    if (!aleat_estimator_is_local(o->run.estimator))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s follows whole runs from noise: it cannot judge an image",
                          o->run.estimator);
    j->repeats = o->repeats ? (int)o->repeats : 1;
    j->run_options = reduced(&o->run, o->run.n ? o->run.n : images->n);
    j->job.options = &j->run_options;
    aleat_status st = aleat_run_job_make(&j->job, err);
    if (!st)
        st = aleat_intake_make(&j->images, j->job.model, images, j->run_options.n, o->fit,
                               o->encoder, err);
    return st ? st : make_shape(j, err);
}

aleat_status aleat_model_judge(aleat_model *model, const aleat_images *images, const char *folder,
                               const aleat_judge_options *options, aleat_run_result *result,
                               aleat_error *err)
{
    const double start = aleat_clock();
    bool before = false;
    judge *j = aleat_calloc(1, sizeof *j);
    if (!j)
        return aleat_fail_memory(err, "judging images");
    j->options = options;
    j->job.model = model;
    aleat_status st = prepare(j, images, err);
    if (!st)
        st = open_folder(j, folder, err);
    if (!st) {
        before = aleat_run_folder_complete(j->folder);
        st = before ? ALEAT_OK : make_referee(j, err);
    }
    if (!st)
        st = judge_shards(j, err);
    if (!st)
        st = finish(j, aleat_clock() - start, err);
    if (!st && result)
        *result = (aleat_run_result){.n = j->images.n,
                                     .made = j->made,
                                     .evaluations = evaluations_of(j),
                                     .seconds = aleat_clock() - start,
                                     .complete_before = before,
                                     .pixels = true};
    judge_clear(j);
    return st;
}
