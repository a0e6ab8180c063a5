#include "train/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "io/file.h"
#include "io/json.h"
#include "train/learner.h"

enum { TRAIN_STEPS = 1000 };
static const double beta_start = 1e-4, beta_end = 0.02;

void aleat_train_defaults(aleat_train_options *o)
{
    *o = (aleat_train_options){
        .batch = 32,
        .label_drop = 0.1,
        .optimizer = {.rate = 5e-4,
                      .beta1 = 0.9,
                      .beta2 = 0.999,
                      .eps = 1e-8,
                      .decay = 0.01,
                      .clip = 1,
                      .average = 0.999,
                      .warmup = 500,
                      .steps = 10000},
        .export_dtype = ALEAT_F16,
        .checkpoint_seconds = 300,
    };
}

/** Everything of one training. Paths are owned. */
typedef struct training {
    const aleat_train_options *options;
    aleat_dataset data;
    aleat_params params;
    aleat_learner *learner;
    double abar[TRAIN_STEPS];
    char *checkpoint, *config, *weights, *log_path;
    FILE *log;
    int64_t step;
} training;

static void training_clear(training *t)
{
    aleat_learner_free(t->learner);
    aleat_params_clear(&t->params);
    aleat_dataset_clear(&t->data);
    aleat_free(t->checkpoint);
    aleat_free(t->config);
    aleat_free(t->weights);
    aleat_free(t->log_path);
    if (t->log)
        (void)fclose(t->log);
}

/* ---- the folder of the model ----------------------------------------------------------------- */

/** The network's config as it will be trained: room for the data set's classes and the null class.
 */
static aleat_status write_config(const training *t, aleat_error *err)
{
    aleat_json json = {0};
    aleat_status st = aleat_json_load(&json, t->options->config, err);
    if (st)
        return st;
    if (!json_is_null(json_object_get(json.root, "num_class_embeds")) && t->data.classes) {
        const bool drop = t->options->label_drop > 0;
        const json_int_t classes = t->data.classes;
        int failed = json_object_set_new(json.root, "num_class_embeds",
                                         json_integer(classes + (drop ? 1 : 0)));
        if (drop)
            failed |= json_object_set_new(json.root, "_aleat_null_class", json_integer(classes));
        if (failed)
            st = aleat_fail_memory(err, t->options->config);
    }
    if (!st)
        st = aleat_json_write(t->config, json.root, err);
    aleat_json_clear(&json);
    return st;
}

static aleat_status write_json(const char *folder, const char *name, json_t *value,
                               aleat_error *err)
{
    char *path = aleat_path_join(folder, name);
    const aleat_status st =
        path && value ? aleat_json_write(path, value, err) : aleat_fail_memory(err, name);
    aleat_free(path);
    json_decref(value);
    return st;
}

static json_t *scheduler_json(void)
{
    return json_pack("{s:s, s:s, s:f, s:f, s:s, s:i, s:b, s:f, s:s, s:b, s:i, s:s}", "_class_name",
                     "DDIMScheduler", "_diffusers_version", "0.20.0", "beta_start", beta_start,
                     "beta_end", beta_end, "beta_schedule", "linear", "num_train_timesteps",
                     TRAIN_STEPS, "clip_sample", 1, "clip_sample_range", 1.0, "prediction_type",
                     "epsilon", "set_alpha_to_one", 1, "steps_offset", 0, "timestep_spacing",
                     "leading");
}

/** Folders, and the files of the model that do not change. */
static aleat_status make_folder(training *t, aleat_error *err)
{
    const char *out = t->options->out;
    char *model = aleat_path_join(out, "model");
    char *unet = aleat_path_join(out, "model/unet");
    char *scheduler = aleat_path_join(out, "model/scheduler");
    aleat_status st = ALEAT_OK;
    t->checkpoint = aleat_path_join(out, "checkpoint.safetensors");
    t->log_path = aleat_path_join(out, "loss.csv");
    t->config = aleat_path_join(out, "model/unet/config.json");
    t->weights = aleat_path_join(out, "model/unet/diffusion_pytorch_model.safetensors");
    if (!model || !unet || !scheduler || !t->checkpoint || !t->log_path || !t->config ||
        !t->weights)
        st = aleat_fail_memory(err, out);
    if (!st)
        st = aleat_make_dirs(unet, err);
    if (!st)
        st = aleat_make_dirs(scheduler, err);
    if (!st)
        st = write_config(t, err);
    if (!st)
        st = write_json(scheduler, "scheduler_config.json", scheduler_json(), err);
    if (!st)
        st = write_json(model, "model_index.json",
                        json_pack("{s:s, s:s, s:[s, s], s:[s, s]}", "_class_name", "DDIMPipeline",
                                  "_diffusers_version", "0.20.0", "scheduler", "diffusers",
                                  "DDIMScheduler", "unet", "diffusers", "UNet2DModel"),
                        err);
    aleat_free(model);
    aleat_free(unet);
    aleat_free(scheduler);
    return st;
}

/* ---- the log --------------------------------------------------------------------------------- */

/** Opens the log for appending; lines of steps that will be done again are dropped first. */
static aleat_status open_log(training *t, aleat_error *err)
{
    aleat_mapping old = {0};
    aleat_status st = ALEAT_OK;
    if (aleat_is_file(t->log_path) && t->step > 0) {
        st = aleat_mapping_open(&old, t->log_path, err);
        if (st)
            return st;
    }
    aleat_atomic_file file = {0};
    static const char header[] = "step,epoch,loss,rate,gradient_norm\n";
    st = aleat_atomic_open(&file, t->log_path, err);
    if (!st)
        st = aleat_atomic_write(&file, header, sizeof header - 1, err);
    const char *at = (const char *)old.data, *end = at ? at + old.len : NULL;
    bool first = true;
    while (at && at < end && !st) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline)
            break;
        if (!first && strtoll(at, NULL, 10) < t->step)
            st = aleat_atomic_write(&file, at, (size_t)(newline + 1 - at), err);
        first = false;
        at = newline + 1;
    }
    if (!st)
        st = aleat_atomic_commit(&file, err);
    aleat_atomic_abandon(&file);
    aleat_mapping_close(&old);
    if (st)
        return st;
    t->log = fopen(t->log_path, "a");
    return t->log ? ALEAT_OK : aleat_fail_errno(err, "cannot open", t->log_path);
}

/* ---- the training ---------------------------------------------------------------------------- */

static void make_schedule(training *t)
{
    double product = 1;
    for (int i = 0; i < TRAIN_STEPS; i++) {
        product *= 1 - (beta_start + (beta_end - beta_start) * i / (TRAIN_STEPS - 1));
        t->abar[i] = product;
    }
}

static aleat_status prepare(training *t, aleat_error *err)
{
    const aleat_train_options *o = t->options;
    aleat_model_files blueprint = {0};
    aleat_status st = aleat_dataset_open(&t->data, o->data, err);
    if (!st)
        st = make_folder(t, err);
    if (!st)
        st = aleat_model_files_build(&blueprint, t->config, NULL, NULL, err);
    if (!st)
        st = aleat_params_new(&t->params, blueprint.graph, o->seed, err);
    aleat_model_files_close(&blueprint);
    if (!st && aleat_is_file(t->checkpoint))
        st = aleat_params_load(&t->params, &t->step, t->checkpoint, err);
    if (st)
        return st;
    make_schedule(t);
    const aleat_learner_options learner = {.seed = o->seed,
                                           .batch = o->batch,
                                           .label_drop = o->label_drop,
                                           .flip = o->flip,
                                           .threads = o->threads,
                                           .precision = o->precision};
    st = aleat_learner_new(&t->learner, t->config, &t->params, &t->data, t->abar, TRAIN_STEPS,
                           &learner, err);
    return st ? st : open_log(t, err);
}

static aleat_status save(const training *t, aleat_error *err)
{
    if (fflush(t->log))
        return aleat_fail_errno(err, "cannot write", t->log_path);
    const aleat_status st = aleat_params_save(&t->params, t->step, t->checkpoint, err);
    return st ? st
              : aleat_params_export(&t->params, ALEAT_AVERAGE, t->options->export_dtype, t->weights,
                                    err);
}

static aleat_status one_step(training *t, bool *go_on, aleat_error *err)
{
    const aleat_train_options *o = t->options;
    double loss = 0, norm = 0;
    const double rate = aleat_adamw_rate(&o->optimizer, t->step);
    aleat_status st = aleat_learner_gradient(t->learner, t->step, &loss, err);
    if (!st)
        st = aleat_adamw_step(&o->optimizer, &t->params, t->step, o->threads, &norm, err);
    if (!st)
        st = aleat_learner_refresh(t->learner, err);
    if (st)
        return st;
    (void)fprintf(t->log, "%lld,%.4f,%.6f,%.6g,%.5g\n", (long long)t->step,
                  (double)t->step * (double)o->batch / (double)t->data.count, loss, rate, norm);
    t->step++;
    *go_on =
        !o->progress || o->progress(o->progress_ctx, t->step, o->optimizer.steps, loss, rate, norm);
    return ALEAT_OK;
}

aleat_status aleat_train(const aleat_train_options *options, aleat_error *err)
{
    training *t = aleat_calloc(1, sizeof *t);
    if (!t)
        return aleat_fail_memory(err, "a training");
    t->options = options;
    bool go_on = true;
    aleat_status st = prepare(t, err);
    double saved = aleat_clock();
    while (!st && go_on && t->step < options->optimizer.steps) {
        st = one_step(t, &go_on, err);
        if (!st && aleat_clock() - saved >= options->checkpoint_seconds) {
            st = save(t, err);
            saved = aleat_clock();
        }
    }
    if (!st)
        st = save(t, err);
    if (!st && !go_on)
        st = aleat_fail(err, ALEAT_ERR_CANCELLED, "stopped at step %lld", (long long)t->step);
    training_clear(t);
    aleat_free(t);
    return st;
}
