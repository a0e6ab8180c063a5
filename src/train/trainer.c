#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "io/file.h"
#include "io/json.h"
#include "train/learner.h"
#include "train/record.h"

/** Steps whose mean loss a result tells: single ones say little. */
#define LAST_LOSSES 100

/** Everything of one training. Paths are owned. */
typedef struct training {
    const aleat_train_spec *spec;
    const aleat_train_options *options;
    aleat_adamw optimizer;
    aleat_dataset data, held_out;
    bool cut; // the held-out images were taken from the others
    aleat_problem problem;
    json_t *config, *scheduler; // of the network in effect, of the noise
    aleat_sampling_plan *sample;
    aleat_params params;
    aleat_learner *learner;
    int64_t step, first_step;
    double losses[LAST_LOSSES]; // step s at s % LAST_LOSSES, of this call
    double validation_loss;     // the last one, or NaN
    double step_seconds;        // time in steps
    struct {
        char *model, *config, *weights, *checkpoint, *settings, *loss, *validation, *picture,
            *samples;
    } path;
    FILE *loss, *validation;
} training;

static void training_clear(training *t)
{
    char *const paths[] = {t->path.model,      t->path.config,   t->path.weights,
                           t->path.checkpoint, t->path.settings, t->path.loss,
                           t->path.validation, t->path.picture,  t->path.samples};
    aleat_learner_free(t->learner);
    aleat_params_clear(&t->params);
    aleat_dataset_clear(&t->data);
    aleat_dataset_clear(&t->held_out);
    aleat_sampling_plan_free(t->sample);
    json_decref(t->config);
    json_decref(t->scheduler);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        aleat_free(paths[i]);
    if (t->loss)
        (void)fclose(t->loss);
    if (t->validation)
        (void)fclose(t->validation);
}

/* ---- what it begins from: nothing is written here -------------------------------------------- */

static aleat_status make_paths(training *t, aleat_error *err)
{
    const char *out = t->options->out;
    const aleat_task *task = t->spec->task;
    t->path.model = aleat_path_join(out, "model");
    const char *model = t->path.model ? t->path.model : "";
    t->path.config = aleat_path_join(model, task->config_path);
    t->path.weights = aleat_path_join(model, task->weights_path);
    t->path.checkpoint = aleat_path_join(out, "checkpoint.safetensors");
    t->path.settings = aleat_path_join(out, "train.json");
    t->path.loss = aleat_path_join(out, "loss.csv");
    t->path.validation = aleat_path_join(out, "validation.csv");
    t->path.picture = aleat_path_join(out, "loss.png");
    t->path.samples = aleat_path_join(out, "samples");
    const bool all = t->path.model && t->path.config && t->path.weights && t->path.checkpoint &&
                     t->path.settings && t->path.loss && t->path.validation && t->path.picture &&
                     t->path.samples;
    return all ? ALEAT_OK : aleat_fail_memory(err, out);
}

/** The ends of beta go with the shape: Ho et al. 2020; Rombach et al. 2022; the cosine has none. */
static const struct {
    const char *name;
    double begin, end;
} betas[] = {
    [ALEAT_BETA_LINEAR] = {"linear", 1e-4, 0.02},
    [ALEAT_BETA_SCALED_LINEAR] = {"scaled_linear", 0.00085, 0.012},
    [ALEAT_BETA_COSINE] = {"squaredcos_cap_v2", 1e-4, 0.02},
};

/** The noise as diffusers writes it down, and from that very text our own schedule. */
static aleat_status make_schedule(training *t, aleat_error *err)
{
    enum { SAMPLING_STEPS = 25 };
    aleat_sampler_config config = {0};
    const aleat_beta_schedule beta = t->spec->beta_schedule;
    t->scheduler =
        json_pack("{s:s, s:s, s:f, s:f, s:s, s:i, s:b, s:f, s:s, s:b, s:i, s:s}", "_class_name",
                  "DDIMScheduler", "_diffusers_version", "0.20.0", "beta_start", betas[beta].begin,
                  "beta_end", betas[beta].end, "beta_schedule", betas[beta].name,
                  "num_train_timesteps", ALEAT_TRAIN_TIMES, "clip_sample", 1, "clip_sample_range",
                  1.0, "prediction_type", aleat_prediction_name(t->spec->prediction),
                  "set_alpha_to_one", 1, "steps_offset", 0, "timestep_spacing", "leading");
    const aleat_json json = {.root = t->scheduler, .name = (char *)(uintptr_t) "scheduler"};
    if (!t->scheduler)
        return aleat_fail_memory(err, "a noise schedule");
    aleat_status st = aleat_sampler_config_parse(&config, &json, NULL, err);
    if (!st)
        st = aleat_sampling_plan_new(&t->sample, &config, SAMPLING_STEPS, err);
    aleat_sampler_config_clear(&config);
    return st;
}

static aleat_status read_data(training *t, const aleat_denoiser_info *info, aleat_error *err)
{
    const aleat_train_options *o = t->options;
    const aleat_dataset_options read = {
        .kind = t->spec->data_kind, .size = o->size, .channels = info->channels};
    aleat_status st = aleat_dataset_open(&t->data, o->data, ALEAT_DATA_TRAIN, &read, err);
    if (st || !o->validate_every)
        return st;
    st = aleat_dataset_open(&t->held_out, o->data, ALEAT_DATA_HELD_OUT, &read, err);
    t->cut = !st && !t->held_out.count;
    if (t->cut)
        return aleat_dataset_hold_out(&t->data, o->validation, &t->held_out, err);
    const aleat_dataset *a = &t->data, *b = &t->held_out;
    if (!st && (a->height != b->height || a->width != b->width || a->channels != b->channels ||
                !a->labels != !b->labels || b->classes > a->classes))
        st = aleat_fail(err, ALEAT_ERR_SHAPE,
                        "%s: the images held out differ from the others in size or classes",
                        o->data);
    return st;
}

/** Can this network be trained, with this precision, on this data? And to what configuration is
 * its own changed for that. */
static aleat_status check_network(training *t, aleat_error *err)
{
    const aleat_train_options *o = t->options;
    aleat_model_files network = {0};
    aleat_json config = {0};
    aleat_engine *engine = NULL;
    const aleat_engine_options engine_options = {.threads = o->threads,
                                                 .precision = t->spec->precision};
    aleat_status st = aleat_model_files_build(&network, o->config, NULL, NULL, err);
    if (!st && strcmp(network.family, t->spec->task->family) != 0)
        st = aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                        "%s: this is a network of family %s; the task '%s' trains those of family "
                        "%s",
                        o->config, network.family, t->spec->task->name, t->spec->task->family);
    if (!st)
        st = aleat_engine_new(&engine, network.graph, &engine_options, err);
    if (!st)
        st = read_data(t, &network.info, err);
    if (!st)
        st = aleat_json_load(&config, o->config, err);
    if (st)
        goto done;
    t->problem = (aleat_problem){
        .task = t->spec->task,
        .data = &t->data,
        .seed = o->seed,
        .label_drop = network.info.n_classes ? o->label_drop : 0,
        .flip = o->flip,
        .shift = o->shift,
        .threads = o->threads,
        .precision = t->spec->precision,
        .abar = t->sample->alphas_cumprod,
        .train_steps = t->sample->train_steps,
        .prediction = t->spec->prediction,
        .scheduler = t->scheduler,
        .sample = t->sample,
    };
    if (o->dropout >= 0 && json_object_set_new(config.root, "dropout", json_real(o->dropout))) {
        st = aleat_fail_memory(err, o->config);
        goto done;
    }
    st = t->spec->task->adapt(&t->problem, config.root, &network.info, err);
    if (!st)
        st = t->spec->task->check(&t->problem, &network.info, err);
    if (!st)
        t->config = json_incref(config.root);
done:
    aleat_engine_free(engine);
    aleat_model_files_close(&network);
    aleat_json_clear(&config);
    return st;
}

/** Compares with the training that is in the folder, if there is one. */
static aleat_status check_folder(training *t, const json_t *settings, int64_t done,
                                 aleat_error *err)
{
    const char *out = t->options->out;
    aleat_json old = {0}, before = {0};
    const bool known = aleat_is_file(t->path.settings);
    if (!known && !aleat_is_file(t->path.checkpoint) && aleat_is_dir(t->path.model)) {
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                         "%s: holds a model that no training has written, which would be lost",
                         out);
        aleat_hint(err, "choose another folder");
        return ALEAT_ERR_ARGUMENT;
    }
    if (!known || !done)
        return ALEAT_OK; // a checkpoint of an older version says nothing of its options
    aleat_status st = aleat_json_load(&old, t->path.settings, err);
    if (!st)
        st = aleat_json_object(&old, "settings", &before, err);
    if (!st && !before.root)
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: no 'settings'", t->path.settings);
    if (!st)
        st = aleat_train_compare(before.root, settings, done, out, err);
    aleat_json_clear(&before);
    aleat_json_clear(&old);
    return st;
}

/* ---- the folder ------------------------------------------------------------------------------ */

static aleat_status write_folder(const training *t, const json_t *settings, aleat_error *err)
{
    const aleat_task *task = t->spec->task;
    char *network = aleat_path_folder(t->path.config);
    json_t *record = json_pack("{s:O, s:s, s:s, s:I}", "settings", settings, "aleat", ALEAT_VERSION,
                               "data", t->options->data, "images", (json_int_t)t->data.count);
    aleat_status st =
        network && record ? aleat_make_dirs(network, err) : aleat_fail_memory(err, t->options->out);
    if (!st && t->options->sample_every && task->picture)
        st = aleat_make_dirs(t->path.samples, err);
    if (!st)
        st = aleat_json_write(t->path.settings, record, err);
    if (!st)
        st = aleat_json_write(t->path.config, t->config, err);
    if (!st && task->write_files)
        st = task->write_files(&t->problem, t->path.model, err);
    json_decref(record);
    aleat_free(network);
    return st;
}

/** Parameters of the network that is in the folder now, and of the model it begins with. */
static aleat_status make_params(training *t, aleat_model_files *init, aleat_error *err)
{
    aleat_model_files blueprint = {0}, trained = {0};
    aleat_status st = aleat_model_files_build(&blueprint, t->path.config, NULL, NULL, err);
    if (!st)
        st = aleat_params_new(&t->params, blueprint.graph, t->options->seed, err);
    if (!st && aleat_is_file(t->path.checkpoint)) {
        st = aleat_params_load(&t->params, &t->step, t->path.checkpoint, err);
    } else if (!st && init->weights) {
        st = aleat_model_files_build(&trained, t->path.config, init->weights, NULL, err);
        init->weights = NULL; // it has them, also on failure
        if (!st)
            st =
                aleat_params_take(&t->params, blueprint.graph, trained.graph, trained.weights, err);
    }
    aleat_model_files_close(&trained);
    aleat_model_files_close(&blueprint);
    return st;
}

static aleat_status prepare(training *t, aleat_error *err)
{
    const aleat_train_options *o = t->options;
    char data_hash[ALEAT_SHA256_TEXT], init_hash[ALEAT_SHA256_TEXT];
    aleat_model_files init = {0};
    json_t *settings = NULL;
    int64_t done = 0;
    aleat_status st = aleat_train_check(t->spec, err);
    if (!st)
        st = make_paths(t, err);
    if (!st)
        st = make_schedule(t, err);
    if (!st)
        st = check_network(t, err);
    if (!st && o->init)
        st = aleat_model_files_open(&init, o->init, NULL, err);
    if (!st && aleat_is_file(t->path.checkpoint))
        st = aleat_params_saved_steps(&done, t->path.checkpoint, err);
    if (st)
        goto finished;
    aleat_dataset_sha256(&t->data, data_hash);
    if (init.weights)
        aleat_weights_sha256(init.weights, init_hash);
    const aleat_train_facts facts = {.label_drop = t->problem.label_drop,
                                     .held_out = t->cut ? o->validation : 0,
                                     .config = t->config,
                                     .scheduler = t->scheduler,
                                     .data_sha256 = data_hash,
                                     .init_sha256 = init.weights ? init_hash : NULL};
    settings = aleat_train_settings(t->spec, &facts);
    if (!settings) {
        st = aleat_fail_memory(err, "settings of the training");
        goto finished;
    }
    st = check_folder(t, settings, done, err);
    if (!st)
        st = write_folder(t, settings, err);
    if (!st)
        st = make_params(t, &init, err);
    if (!st)
        st = aleat_learner_new(&t->learner, t->path.config, &t->params, &t->problem, o->batch, err);
    if (!st)
        st = aleat_record_open(&t->loss, t->path.loss, "step,epoch,loss,rate,gradient_norm",
                               t->step - 1, err);
    if (!st && o->validate_every)
        st = aleat_record_open(&t->validation, t->path.validation,
                               "step,epoch,loss,standard_error,images,accuracy", t->step, err);
    t->first_step = t->step;
finished:
    json_decref(settings);
    aleat_model_files_close(&init);
    return st;
}

/* ---- the training ---------------------------------------------------------------------------- */

static aleat_status flush(FILE *file, const char *path, aleat_error *err)
{
    return file && (fflush(file) || ferror(file)) ? aleat_fail_errno(err, "cannot write", path)
                                                  : ALEAT_OK;
}

/** A checkpoint, and the model and the plot as they are at it. The tables come first: they may hold
 * more than the checkpoint knows, never less. */
static aleat_status save(training *t, aleat_error *err)
{
    aleat_status st = flush(t->loss, t->path.loss, err);
    if (!st)
        st = flush(t->validation, t->path.validation, err);
    if (!st)
        st = aleat_params_save(&t->params, t->step, t->path.checkpoint, err);
    if (!st)
        st = aleat_params_export(&t->params, ALEAT_AVERAGE, t->spec->dtype, t->path.weights, err);
    if (!st)
        st = aleat_record_plot(t->path.loss, t->validation ? t->path.validation : NULL,
                               t->path.picture, err);
    return st;
}

static double epoch_of(const training *t)
{
    return (double)t->step * (double)t->options->batch / (double)t->data.count;
}

static aleat_status one_step(training *t, aleat_train_progress *progress, aleat_error *err)
{
    double loss = 0, norm = 0;
    const double start = aleat_clock();
    const double rate = aleat_adamw_rate(&t->optimizer, t->step);
    aleat_status st = aleat_learner_gradient(t->learner, t->step, &loss, err);
    if (!st)
        st = aleat_adamw_step(&t->optimizer, &t->params, t->step, t->options->threads, &norm, err);
    if (st == ALEAT_ERR_NUMERIC)
        aleat_hint(err, "it has diverged: begin again, in another folder, with a smaller --lr or "
                        "--clip-grad");
    if (!st)
        st = aleat_learner_refresh(t->learner, err);
    if (st)
        return st;
    (void)fprintf(t->loss, "%lld,%.4f,%.6f,%.6g,%.5g\n", (long long)t->step, epoch_of(t), loss,
                  rate, norm);
    t->losses[t->step % LAST_LOSSES] = loss;
    t->step++;
    t->step_seconds += aleat_clock() - start;
    *progress = (aleat_train_progress){.step = t->step,
                                       .steps = t->options->steps,
                                       .loss = loss,
                                       .rate = rate,
                                       .gradient_norm = norm};
    return ALEAT_OK;
}

/** Is it time for what is done every `every` steps, and at the end? */
static bool due(const training *t, int64_t every)
{
    return every > 0 && (t->step % every == 0 || t->step == t->options->steps);
}

/** Held-out loss and pictures of this step, where they are due. */
static aleat_status look(training *t, aleat_error *err)
{
    const aleat_task *task = t->spec->task;
    const aleat_trained trained = {t->path.config, &t->params};
    aleat_status st = ALEAT_OK;
    if (due(t, t->options->validate_every)) {
        aleat_validation v = {0};
        st = task->validate(&t->problem, &trained, &t->held_out, &v, err);
        if (st)
            return st;
        (void)fprintf(t->validation, "%lld,%.4f,%.6f,%.6f,%lld,", (long long)t->step, epoch_of(t),
                      v.loss, v.standard_error, (long long)v.images);
        if (isfinite(v.accuracy))
            (void)fprintf(t->validation, "%.6f", v.accuracy);
        (void)fputc('\n', t->validation);
        t->validation_loss = v.loss;
    }
    if (due(t, t->options->sample_every) && task->picture) {
        char *path = aleat_asprintf("%s/step-%06lld.png", t->path.samples, (long long)t->step);
        st = path ? task->picture(&t->problem, &trained, path, err)
                  : aleat_fail_memory(err, "a picture");
        aleat_free(path);
    }
    return st;
}

static aleat_status tell(const training *t, const aleat_train_progress *progress, aleat_error *err)
{
    const aleat_train_options *o = t->options;
    if (!o->progress || o->progress(o->ctx, progress))
        return ALEAT_OK;
    (void)aleat_fail(err, ALEAT_ERR_CANCELLED, "stopped after %lld of %lld steps",
                     (long long)t->step, (long long)o->steps);
    aleat_hint(err, "the same command goes on from there");
    return ALEAT_ERR_CANCELLED;
}

/** Until all is done, something fails, or the caller wants to stop. */
static aleat_status run_steps(training *t, aleat_error *err)
{
    double saved = aleat_clock();
    aleat_train_progress progress = {.step = t->step, .steps = t->options->steps, .loss = NAN};
    aleat_status st = tell(t, &progress, err);
    while (!st && t->step < t->options->steps) {
        st = one_step(t, &progress, err);
        if (!st)
            st = look(t, err);
        if (!st && aleat_clock() - saved >= t->options->checkpoint_seconds) {
            st = save(t, err);
            saved = aleat_clock();
        }
        if (!st)
            st = tell(t, &progress, err);
    }
    return st;
}

static double mean_of_last(const training *t)
{
    const int64_t made = t->step - t->first_step, n = made < LAST_LOSSES ? made : LAST_LOSSES;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += t->losses[(t->step - 1 - i) % LAST_LOSSES];
    return n ? sum / (double)n : NAN;
}

aleat_status aleat_trainer_run(const aleat_train_spec *spec, aleat_train_result *result,
                               aleat_error *err)
{
    const double start = aleat_clock();
    training *t = aleat_calloc(1, sizeof *t);
    if (!t)
        return aleat_fail_memory(err, "a training");
    t->spec = spec;
    t->options = spec->options;
    t->optimizer = aleat_train_optimizer(spec);
    t->validation_loss = NAN;
    aleat_status st = prepare(t, err);
    if (!st) {
        st = run_steps(t, err);
        if (!st || st == ALEAT_ERR_CANCELLED) {
            aleat_error failure = {0};
            const aleat_status saved = save(t, &failure);
            if (saved && err)
                *err = failure;
            st = saved ? saved : st;
        }
    }
    if (result)
        *result = (aleat_train_result){.steps = t->step,
                                       .made = t->step - t->first_step,
                                       .images = t->data.count,
                                       .n_parameters = aleat_params_size(&t->params),
                                       .loss = mean_of_last(t),
                                       .validation_loss = t->validation_loss,
                                       .seconds = aleat_clock() - start,
                                       .step_seconds = t->step_seconds};
    training_clear(t);
    aleat_free(t);
    return st;
}
