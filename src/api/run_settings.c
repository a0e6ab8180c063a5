#include "api/run_settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aleat/aleat.h"
#include "api/features_state.h"
#include "api/schedule.h"
#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/sha256.h"

// Labels repeat after a few images, usually: then they are told as "0,1,2".
#define MOST_LABELS_TOLD 32

static bool put(json_t *o, const char *key, json_t *value)
{
    return json_object_set_new(o, key, value) == 0; // a NULL value fails, too
}

static json_t *hash_of_array(const aleat_array *array)
{
    char text[ALEAT_SHA256_TEXT];
    aleat_sha256(text, array->data, (size_t)aleat_array_count(array) * sizeof(float));
    return json_string(text);
}

// A configuration in effect: what the file does not say, and the user did.
static bool put_config(json_t *o, const char *key, const char *config)
{
    char text[ALEAT_SHA256_TEXT];
    aleat_sha256(text, config, strlen(config));
    return put(o, key, json_string(text));
}

// The weights by content.
static bool put_model(json_t *o, const aleat_model *model)
{
    char text[ALEAT_SHA256_TEXT];
    const char *path = aleat_weights_path(model->files.weights);
    aleat_weights_sha256(model->files.weights, text);
    const aleat_model_facts facts = aleat_model_describe(model);
    const bool timed = facts.time_scale != 1 || facts.time_offset != 0;
    return put_config(o, "config_sha256", facts.config_json) &&
           (!timed || (put(o, "time_scale", json_real(facts.time_scale)) &&
                       put(o, "time_offset", json_real(facts.time_offset)))) &&
           put(o, "family", json_string(facts.family)) &&
           put(o, "weights", json_string(aleat_path_base(path))) &&
           put(o, "weights_sha256", json_string(text)) &&
           put(o, "precision", json_string(facts.precision)) &&
           put(o, "channels", json_integer(facts.channels)) &&
           put(o, "height", json_integer(facts.height)) &&
           put(o, "width", json_integer(facts.width));
}

bool aleat_run_plan_hash(char hash[ALEAT_SHA256_TEXT], const aleat_sampling_plan *plan)
{
    json_t *json = aleat_sampling_plan_json(plan);
    char *text = json ? json_dumps(json, JSON_REAL_PRECISION(17)) : NULL;
    json_decref(json);
    if (!text)
        return false;
    aleat_sha256(hash, text, strlen(text));
    free(text);
    return true;
}

// Sampler and schedule: by name, and by a hash of every coefficient.
static bool put_plan(json_t *o, const aleat_run_job *job)
{
    char hash[ALEAT_SHA256_TEXT];
    if (!aleat_run_plan_hash(hash, job->plan))
        return false;
    const int64_t wanted = job->options->sampling.steps;
    const aleat_clip *clip = &job->plan->clip;
    return put(o, "sampler", json_string(job->plan->kind->name)) &&
           put(o, "steps", json_integer(job->plan->n_outer)) &&
           // of samplers whose steps are not what was asked for
           (!wanted || wanted == job->plan->n_outer || job->options->sampling.respacing ||
            put(o, "steps_asked", json_integer(wanted))) &&
           put(o, "eta", json_real(job->options->sampling.eta)) &&
           (!job->options->sampling.respacing ||
            put(o, "respacing", json_string(job->options->sampling.respacing))) &&
           put(o, "prediction", json_string(aleat_prediction_name(job->plan->prediction))) &&
           put(o, "sampler_clip",
               json_string(clip->dynamic ? "dynamic"
                           : clip->clamp ? "on"
                                         : "off")) &&
           put(o, "plan_sha256", json_string(hash));
}

static bool put_labels(json_t *o, const aleat_run_options *options)
{
    const int32_t *labels = options->labels;
    const int64_t n = options->n;
    if (!labels)
        return true;
    int64_t period = 1;
    for (int64_t i = 0; i < n && period <= MOST_LABELS_TOLD; i++)
        if (labels[i] != labels[i % period]) {
            period++;
            i = -1;
        }
    char text[MOST_LABELS_TOLD * 12 + ALEAT_SHA256_TEXT] = "";
    if (period > MOST_LABELS_TOLD)
        aleat_sha256(text, labels, (size_t)n * sizeof *labels);
    for (int64_t i = 0; i < period && period <= MOST_LABELS_TOLD; i++) {
        const size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%s%" PRId32, i ? "," : "", labels[i]);
    }
    return put(o, period > MOST_LABELS_TOLD ? "labels_sha256" : "labels", json_string(text));
}

static json_t *window_text(aleat_window w)
{
    return json_sprintf("%d:%d", w.begin, w.end);
}

static const char *clip_text(aleat_clip_mode mode)
{
    return mode == ALEAT_CLIP_ON ? "on" : mode == ALEAT_CLIP_OFF ? "off" : "auto";
}

static bool put_uncertainty(json_t *o, const aleat_run_job *job)
{
    const aleat_observer_options *w = &job->observe;
    const aleat_run_options *r = job->options;
    if (!r->uncertainty && !r->guide)
        return true;
    const bool bayesdiff = aleat_run_estimates(job, ALEAT_ESTIMATOR_BAYESDIFF);
    char estimators[ALEAT_ESTIMATORS_TEXT];
    aleat_estimators_text(estimators, job->estimators);
    bool ok =
        put(o, "copies", json_integer(bayesdiff ? w->bayesdiff.samples : w->estimator.copies)) &&
        put(o, "copies_clip", json_string(clip_text(w->estimator.clip)));
    if (ok && r->uncertainty)
        ok = put(o, "score_steps", window_text(w->score)) &&
             put(o, "statistic", json_string(job->statistic)) &&
             put(o, "shown", json_string(job->shown)) &&
             put(o, "maps", json_string(r->keep_step_maps ? "all" : "sum"));
    if (ok && job->estimators != ALEAT_ESTIMATOR_BIT(ALEAT_ESTIMATOR_COPIES)) // older runs do not
        ok = put(o, "estimator", json_string(estimators));
    if (ok && aleat_run_estimates(job, ALEAT_ESTIMATOR_DROPOUT))
        ok = put(o, "dropout", json_real(job->model->denoiser.info.dropout));
    if (ok && job->posterior) {
        char hash[ALEAT_SHA256_TEXT] = "";
        ok = aleat_sha256_file(hash, r->laplace, NULL) == ALEAT_OK &&
             put(o, "laplace_sha256", json_string(hash));
    }
    if (ok && aleat_run_estimates(job, ALEAT_ESTIMATOR_GENERATIVE)) {
        char hash[ALEAT_SHA256_TEXT];
        const aleat_features_facts f = aleat_features_describe(r->features);
        aleat_weights_sha256(aleat_features_weights(r->features), hash);
        ok = put(o, "features_sha256", json_string(hash)) &&
             put(o, "features_layer", json_string(f.layer)) &&
             put(o, "features_preparation", json_string(f.preparation)) &&
             put(o, "features_precision", json_string(f.precision));
    }
    if (ok && bayesdiff)
        ok = put(o, "every", json_integer(w->bayesdiff.every)) &&
             put(o, "laplace_draws", json_integer(w->bayesdiff.draws));
    if (ok && r->guide)
        ok = put(o, "guide_steps", window_text(w->guide)) &&
             put(o, "percentile", json_real(r->percentile)) &&
             put(o, "strength", json_real(r->strength)) &&
             put(o, "guide_sign", json_string(job->guide_sign)) &&
             put(o, "statistic", json_string(job->statistic)) &&
             put(o, "gradient", json_string(job->gradient));
    return ok;
}

bool aleat_run_has_cfg(const aleat_run_options *options)
{
    return options->cfg_scale != 0 && options->cfg_scale != 1;
}

// What changes the network or the method beside the options of the paper.
static bool put_variants(json_t *o, const aleat_run_job *job)
{
    const aleat_run_options *r = job->options;
    char variant[64];
    (void)aleat_compat_map_variant(&job->observe.compat, variant, sizeof variant);
    return (!aleat_run_has_cfg(r) || put(o, "cfg_scale", json_real(r->cfg_scale))) &&
           (!r->compat || !*r->compat || put(o, "compat", json_string(r->compat))) &&
           (!*variant || put(o, "map_variant", json_string(variant)));
}

static bool put_start(json_t *o, const aleat_run_job *job)
{
    char hash[ALEAT_SHA256_TEXT];
    const aleat_run_start *s = job->start;
    const aleat_denoiser_info *info = &job->model->files.info;
    aleat_sha256(hash, s->x0,
                 (size_t)(job->options->n * info->channels * info->height * info->width) *
                     sizeof *s->x0);
    return put(o, "originals_sha256", json_string(hash)) &&
           put(o, "from", json_integer(s->outer)) &&
           (!s->compat || put(o, "reconstruct_compat", json_string(s->compat)));
}

static bool put_noise(json_t *o, const aleat_run_job *job)
{
    const aleat_run_options *r = job->options;
    const struct {
        const char *key;
        const aleat_array *array;
    } given[] = {{"initial_sha256", &job->initial},
                 {"step_noise_sha256", &job->step_noise},
                 {"copy_noise_sha256", &job->copy_noise}};
    bool ok = put(o, "images", json_integer(r->n)) &&
              put(o, "seed", json_sprintf("%" PRIu64, r->seed)) && // JSON has no uint64
              put(o, "rng", json_string(job->torch ? "torch" : "philox")) &&
              put(o, "trajectory", json_boolean(r->trajectory));
    if (ok && r->first)
        ok = put(o, "first", json_integer(r->first));
    if (ok && r->keep_x0) // only where it is kept, so that older runs still match
        ok = put(o, "x0_steps", json_true());
    if (ok && job->start)
        ok = put_start(o, job);
    for (size_t i = 0; ok && i < sizeof given / sizeof *given; i++)
        if (given[i].array->data)
            ok = put(o, given[i].key, hash_of_array(given[i].array));
    return ok;
}

static bool put_classifier(json_t *o, const aleat_run_options *r)
{
    if (!r->classifier)
        return true;
    char text[ALEAT_SHA256_TEXT];
    const aleat_model_facts f = aleat_model_describe(r->classifier);
    aleat_weights_sha256(r->classifier->files.weights, text);
    return put(o, "classifier", json_string(aleat_path_base(f.weights_path))) &&
           put(o, "classifier_sha256", json_string(text)) &&
           put_config(o, "classifier_config_sha256", f.config_json) &&
           put(o, "classifier_precision", json_string(f.precision)) &&
           put(o, "classifier_scale", json_real(r->classifier_scale));
}

// The autoencoder by content, and how the uncertainty passes through it.
static bool put_decoder(json_t *o, const aleat_run_job *job)
{
    const aleat_run_latent_options *l = &job->latent;
    if (!l->vae)
        return true;
    char text[ALEAT_SHA256_TEXT];
    const aleat_vae_facts f = aleat_vae_describe(l->vae);
    aleat_weights_sha256(l->vae->files.weights, text);
    bool ok = put(o, "decoder", json_string(aleat_path_base(f.weights_path))) &&
              put(o, "decoder_sha256", json_string(text)) &&
              put_config(o, "decoder_config_sha256", f.config_json) &&
              put(o, "decoder_precision",
                  json_string(aleat_precision_name((int)l->vae->engine.precision, NULL))) &&
              put(o, "scaling_factor", json_real(f.scaling_factor)) &&
              put(o, "shift_factor", json_real(f.shift_factor));
    if (ok && l->carry != ALEAT_CARRY_NONE)
        ok = put(o, "carry", json_string(aleat_carry_name((int)l->carry - 1, NULL)));
    if (ok && l->carry == ALEAT_CARRY_JVP)
        ok = put(o, "carry_products", json_integer(l->products));
    return ok;
}

aleat_status aleat_run_settings(json_t **out, const aleat_run_job *job, aleat_error *err)
{
    json_t *o = json_object();
    *out = NULL;
    const bool ok = o && put(o, "aleat", json_string(aleat_version())) &&
                    put_model(o, job->model) && put_plan(o, job) && put_noise(o, job) &&
                    put_labels(o, job->options) && aleat_run_texts_settings(o, job->options) &&
                    put_variants(o, job) && put_uncertainty(o, job) && put_decoder(o, job) &&
                    put_classifier(o, job->options);
    if (!ok) {
        json_decref(o);
        return aleat_fail_memory(err, "settings of the run");
    }
    *out = o;
    return ALEAT_OK;
}

aleat_status aleat_run_generation(aleat_generation *out, const aleat_run_job *job,
                                  const json_t *settings, aleat_error *err)
{
    enum { HASH_SHOWN = 10 }; // A1111 shows so much of it
    const aleat_run_options *o = job->options;
    const aleat_denoiser_info *info = &job->model->files.info;
    const int64_t factor = o->decoder ? o->decoder->files.factor : 1;
    const char *hash = json_string_value(json_object_get(settings, "weights_sha256"));
    const json_t *told = json_object_get(settings, "guidance");
    const struct {
        const char *key;
        char *value; // owned; NULL: no memory
        bool left_out;
    } fields[] = {
        {"Steps", aleat_asprintf("%d", job->plan->n_outer), false},
        {"Sampler", aleat_strdup(aleat_sampler_known_as(job->plan->kind->name)), false},
        {"CFG scale", aleat_asprintf("%g", o->cfg_scale), !aleat_run_has_cfg(o)},
        {"Distilled CFG Scale", aleat_asprintf("%g", json_real_value(told)), !told},
        {"Seed", aleat_asprintf("%" PRIu64, o->seed), false},
        {"Size",
         aleat_asprintf("%lldx%lld", (long long)(info->width * factor),
                        (long long)(info->height * factor)),
         false},
        {"Model hash", aleat_asprintf("%.*s", HASH_SHOWN, hash ? hash : ""), false},
        {"Model", aleat_strdup(job->model->files.family), false},
        {"RNG", aleat_strdup(job->torch ? "torch" : "philox"), false},
        {"Version", aleat_asprintf("aleat %s", aleat_version()), false},
    };
    aleat_status st = ALEAT_OK;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!st && !fields[i].value)
            st = aleat_fail_memory(err, "the settings of an image");
        if (!st && !fields[i].left_out)
            st = aleat_generation_add(out, fields[i].key, fields[i].value, err);
        aleat_free(fields[i].value);
    }
    return st;
}
