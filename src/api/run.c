/* aleat_model_generate(): a run into a folder, shard by shard. */
#include "aleat/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/runner.h"
#include "api/schedule.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/names.h"
#include "io/file.h"
#include "io/npy.h"
#include "io/sha256.h"
#include "uncertainty/generative.h"

static const struct {
    const char *name, *help;
    aleat_resume resume;
} resumes[] = {
    {"auto", "go on with the same run, begin if there is none", ALEAT_RESUME_AUTO},
    {"require", "go on, never begin", ALEAT_RESUME_REQUIRE},
    {"discard", "throw away what is there", ALEAT_RESUME_DISCARD},
};

const char *aleat_resume_name(int i, const char **help)
{
    return ALEAT_NAME_AT(resumes, i, help);
}

static aleat_status run_shards(aleat_runner *r, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    r->done = aleat_run_folder_done(r->folder);
    for (int64_t i = 0; !st && i < aleat_run_folder_shards(r->folder); i++) {
        if (aleat_run_folder_has(r->folder, i))
            continue;
        st = aleat_run_folder_begin(r->folder, i, &r->shard, err);
        for (r->row = 0; !st && r->row < r->shard->count; r->row += r->rows) {
            const int64_t rest = r->shard->count - r->row;
            r->rows = rest < r->job->batch ? rest : r->job->batch;
            st = aleat_runner_batch(r, err);
        }
        if (!st)
            st = aleat_run_folder_commit(r->folder, err);
    }
    return st;
}

/* ---- the end --------------------------------------------------------------------------------- */

// Names of the labels in use, {"3": "Dress"}, for pictures and pages that are made without the
// model; NULL: none.
static json_t *names_of_labels(const aleat_run_job *job)
{
    const int32_t *labels = job->options->labels;
    json_t *names = NULL;
    for (int64_t i = 0; labels && i < job->options->n; i++) {
        char key[16];
        const char *name = aleat_model_class_name(job->model, labels[i]);
        if (!name || (!names && !(names = json_object())))
            continue;
        (void)snprintf(key, sizeof key, "%" PRId32, labels[i]);
        (void)json_object_set_new(names, key, json_string(name));
    }
    return names;
}

// What run.json tells beside the settings; of the images made in this call.
static json_t *make_report(const aleat_runner *r, double seconds)
{
    const aleat_model_facts facts = aleat_model_describe(r->job->model);
    const char *command = r->job->options->command;
    json_t *typed = command ? json_string(command) : NULL; // NULL, too, if it is not UTF-8
    return json_pack("{ssso*so*s{sIsIsfsi}}", "model", facts.path, "command", typed, "class_names",
                     names_of_labels(r->job), "this_session", "images", (json_int_t)(r->done),
                     "evaluations_per_image",
                     (json_int_t)(aleat_runner_evaluations(r) + aleat_runner_extra(r)), "seconds",
                     seconds, "threads", facts.threads);
}

// dst = the array in the folder's trajectory.npy, whole or only its last state.
static aleat_status copy_trajectory(const char *folder, const char *dst, bool last_only,
                                    aleat_error *err)
{
    aleat_tensor all = {0};
    char *path = aleat_path_join(folder, "trajectory.npy");
    aleat_status st = path ? aleat_npy_read(&all, path, err) : aleat_fail_memory(err, folder);
    if (!st && last_only) {
        const int64_t states = all.shape.dim[0], one = aleat_tensor_count(&all) / states;
        const aleat_shape shape = aleat_shape_of(4, all.shape.dim[1], all.shape.dim[2],
                                                 all.shape.dim[3], all.shape.dim[4]);
        const aleat_tensor view =
            aleat_tensor_view(ALEAT_F32, &shape, aleat_tensor_f32(&all) + (states - 1) * one);
        st = aleat_npy_write(dst, &view, err);
    } else if (!st) {
        st = aleat_npy_write(dst, &all, err);
    }
    aleat_tensor_clear(&all);
    aleat_free(path);
    return st;
}

// Arrays that are asked for outside the folder, or that stand for images that are no pictures.
static aleat_status give_arrays(const aleat_run_options *o, const char *folder, bool pixels,
                                aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    if (o->trajectory)
        st = copy_trajectory(folder, o->trajectory, false, err);
    if (st || pixels)
        return st;
    char *path = aleat_path_join(folder, "samples.npy");
    if (!path)
        return aleat_fail_memory(err, folder);
    st = copy_trajectory(folder, path, true, err);
    aleat_free(path);
    return st;
}

static aleat_run_shape shape_of(const aleat_run_job *job, int64_t *steps, bool pixels)
{
    const aleat_run_options *o = job->options;
    const aleat_denoiser_info *info = &job->model->files.info;
    aleat_run_shape shape = {.n = o->n,
                             .channels = info->channels,
                             .height = info->height,
                             .width = info->width,
                             .image_channels = info->channels,
                             .image_height = info->height,
                             .image_width = info->width,
                             .carried = job->latent.carry != ALEAT_CARRY_NONE,
                             .keep_steps = o->keep_step_maps,
                             .trajectory_states = o->trajectory           ? job->plan->n_outer + 1
                                                  : pixels && !job->start ? 0
                                                                          : 1,
                             .x0_steps = o->keep_x0 ? job->plan->n_outer : 0,
                             .seed = o->seed,
                             .first = o->first,
                             .score_steps = steps};
    shape.n_signals = aleat_run_has_cfg(o) ? ALEAT_SIGNAL_COUNT : ALEAT_SIGNAL_CFG_GAP;
    for (int k = 0; k < shape.n_signals; k++)
        shape.signals[k] = aleat_signal_name(k, NULL);
    if (aleat_run_estimates(job, ALEAT_ESTIMATOR_GENERATIVE))
        shape.signals[shape.n_signals++] = ALEAT_GENERATIVE_SCORE;
    if (o->guide) {
        shape.guide_begin = job->observe.guide.begin;
        shape.n_guide_steps = job->observe.guide.end - job->observe.guide.begin;
    }
    if (job->latent.vae) {
        const aleat_autoencoder_files *f = &job->latent.vae->files;
        shape.image_channels = f->image_channels;
        shape.image_height *= f->factor;
        shape.image_width *= f->factor;
    }
    if (!o->uncertainty)
        return shape;
    shape.n_maps = job->n_maps;
    for (int m = 0; m < job->n_maps; m++) {
        const aleat_statistic *s = job->observe.estimator.statistics[m];
        shape.maps[m] = (aleat_run_map){.name = s->name,
                                        .file = aleat_run_maps[job->maps[m]].file,
                                        .unit = aleat_run_maps[job->maps[m]].unit,
                                        .reading = s->is_error           ? "light: uncertain map"
                                                   : s->low_is_uncertain ? "dark: unsure"
                                                                         : "light: unsure",
                                        .is_error = s->is_error};
    }
    shape.n_score_steps = job->observe.score.end - job->observe.score.begin;
    for (int64_t k = 0; k < shape.n_score_steps; k++)
        steps[k] = job->observe.score.begin + k;
    return shape;
}

static void tell_result(aleat_run_result *result, const aleat_runner *r, double seconds,
                        bool before, bool pixels)
{
    const int64_t n = r->shape->n;
    *result = (aleat_run_result){.n = n,
                                 .made = r->done,
                                 .evaluations = aleat_runner_evaluations(r) + aleat_runner_extra(r),
                                 .seconds = seconds,
                                 .complete_before = before,
                                 .pixels = pixels || r->job->latent.vae};
    aleat_run_folder_changes(r->folder, &result->change_mean, &result->change_most);
    const double *scores = aleat_run_folder_scores(r->folder);
    for (int64_t i = 0; scores && i < n; i++) {
        if (i == 0 || scores[i] < result->score_low)
            result->score_low = scores[i];
        if (i == 0 || scores[i] > result->score_high)
            result->score_high = scores[i];
    }
}

// Everything once the folder is open.
static aleat_status fill_folder(aleat_runner *r, const char *path, bool pixels,
                                aleat_run_result *result, aleat_error *err)
{
    const double start = aleat_clock();
    const bool before = aleat_run_folder_complete(r->folder);
    const int64_t there = aleat_run_folder_done(r->folder);
    aleat_status st = before ? ALEAT_OK : aleat_runner_make(r, err);
    if (!st)
        st = run_shards(r, err);
    if (st)
        return st;
    r->done -= there;
    json_t *report = make_report(r, aleat_clock() - start);
    st = report ? aleat_run_folder_finish(r->folder, report, err)
                : aleat_fail_memory(err, "run.json");
    json_decref(report);
    if (!st)
        st = give_arrays(r->job->options, path, pixels, err);
    if (!st && result)
        tell_result(result, r, aleat_clock() - start, before, pixels);
    return st;
}

// Reads the thresholds, which must be of such a run; the settings then tell their content.
static aleat_status use_thresholds(aleat_run_job *job, json_t *settings, aleat_error *err)
{
    const char *path = job->options->thresholds;
    char hash[ALEAT_SHA256_TEXT];
    const int update = job->observe.compat.update;
    if (update == ALEAT_UPDATE_POSTERIOR || update == ALEAT_UPDATE_POSTERIOR_PUBLISHED)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: the modes of the posterior have a map of their own, of which no run "
                          "makes thresholds",
                          path);
    aleat_status st = aleat_threshold_open(&job->threshold, path, settings, job->statistic,
                                           job->observe.guide, job->plan->n_outer, err);
    if (!st)
        st = aleat_sha256_file(hash, path, err);
    if (!st && json_object_set_new(settings, "thresholds_sha256", json_string(hash)))
        st = aleat_fail_memory(err, "settings of the run");
    return st;
}

void aleat_run_reset(aleat_run *run)
{
    aleat_runner_clear(&run->r);
    aleat_shard_clear(run->arrays);
    json_decref(run->settings);
    free(run->settings_text);
    aleat_free(run->steps);
    aleat_run_job_clear(&run->job);
}

// All that can be known of a run before its first image. run->options are set; ends with
// aleat_run_reset(), on failure, too.
aleat_status aleat_run_prepare(aleat_run *run, aleat_model *model, aleat_run_start *start,
                               aleat_error *err)
{
    const aleat_run_options *options = &run->options;
    const int64_t channels = model->files.info.channels;
    run->job = (aleat_run_job){.model = model, .options = options, .start = start};
    run->r = (aleat_runner){.job = &run->job, .shape = &run->shape};
    run->pixels = !options->decoder && (channels == 1 || channels == 3);
    aleat_status st = aleat_run_job_make(&run->job, err);
    if (!st)
        st = aleat_name_find(&run->shown, aleat_map_name,
                             options->shown ? options->shown : aleat_run_map_shown, "map", err);
    if (!st && !aleat_run_estimates(&run->job, ALEAT_ESTIMATOR_COPIES))
        run->shown = 0; // the only map there is, if any
    run->job.shown =
        st || run->job.n_maps == 0 ? "none" : aleat_run_maps[run->job.maps[run->shown]].name;
    if (!st)
        st = aleat_run_settings(&run->settings, &run->job, err);
    if (!st && options->guide && options->thresholds)
        st = use_thresholds(&run->job, run->settings, err);
    if (st)
        return st;
    run->steps = aleat_calloc((size_t)run->job.plan->n_outer, sizeof *run->steps);
    if (!run->steps)
        return aleat_fail_memory(err, "a run");
    run->shape = shape_of(&run->job, run->steps, run->pixels);
    run->shape.shown = run->shown;
    return ALEAT_OK;
}

aleat_status aleat_model_generate(aleat_model *model, const char *folder,
                                  const aleat_run_options *options, aleat_run_result *result,
                                  aleat_error *err)
{
    return aleat_run_make(model, folder, options, NULL, result, err);
}

aleat_status aleat_run_make(aleat_model *model, const char *folder,
                            const aleat_run_options *options, aleat_run_start *start,
                            aleat_run_result *result, aleat_error *err)
{
    aleat_run run = {.options = *options};
    aleat_generation generation = {0};
    int resume = 0;
    aleat_status st = aleat_run_prepare(&run, model, start, err);
    if (!st)
        st = aleat_name_find(&resume, aleat_resume_name, options->resume, "way to resume", err);
    if (!st)
        st = aleat_run_generation(&generation, &run.job, run.settings, err);
    if (st)
        goto done;
    run.shape.generation = &generation;
    st = aleat_run_folder_open(&run.r.folder, folder, &run.shape, run.settings,
                               resumes[resume].resume, err);
    if (!st)
        st = fill_folder(&run.r, folder, run.pixels, result, err);
    if (!st && start) {
        start->evaluations = aleat_run_planned_evaluations(&run.job);
        start->scored_steps = run.shape.n_score_steps;
    }
done:
    aleat_run_folder_free(run.r.folder);
    aleat_run_reset(&run);
    aleat_generation_clear(&generation);
    return st;
}
