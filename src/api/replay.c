#include "aleat/replay.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aleat/run.h"
#include "api/replay_settings.h"
#include "api/run_settings.h"
#include "api/schedule.h"
#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/png_image.h"

/** A replay at work. */
typedef struct replayer {
    const char *png;
    const aleat_replay_options *options;
    aleat_replay *out;
    aleat_image_settings settings;
    char *model_path; // from run.json, or NULL
    aleat_model *model, *classifier;
    aleat_vae *vae;
    aleat_prompts prompts;
    aleat_image there;
    char *folder; // temporary
} replayer;

/* ---- remarks --------------------------------------------------------------------------------- */

/** Adds a remark; takes it over. */
static aleat_status remark(replayer *r, char *text, aleat_error *err)
{
    aleat_replay *o = r->out;
    const size_t size = (size_t)o->n_remarks * sizeof *o->remarks;
    char **grown = text ? aleat_realloc((void *)o->remarks, size, size + sizeof *grown) : NULL;
    if (!grown) {
        aleat_free(text);
        return aleat_fail_memory(err, "remarks on an image");
    }
    o->remarks = grown;
    o->remarks[o->n_remarks++] = text;
    return ALEAT_OK;
}

/** What of both runs' settings decides the pixels and is not the same. */
static aleat_status remark_differences(replayer *r, const char *folder, aleat_error *err)
{
    static const char *const keys[] = {
        "aleat",
        "family",
        "weights_sha256",
        "config_sha256",
        "time_scale",
        "time_offset",
        "plan_sha256",
        "sampler_clip",
        "context_sha256",
        "pooled_sha256",
        "negative_context_sha256",
        "negative_pooled_sha256",
        "guidance",
        "decoder_sha256",
        "decoder_config_sha256",
        "decoder_precision",
        "scaling_factor",
        "shift_factor",
        "precision",
        "classifier_sha256",
        "thresholds_sha256",
        "initial_sha256",
    };
    if (!r->settings.own.root)
        return ALEAT_OK;
    aleat_json run = {0};
    char *path = aleat_path_join(folder, "run.json");
    aleat_status st = path ? aleat_json_load(&run, path, err) : aleat_fail_memory(err, folder);
    const json_t *made = st ? NULL : json_object_get(run.root, "settings");
    for (size_t i = 0; !st && i < sizeof keys / sizeof *keys; i++) {
        const json_t *there = json_object_get(r->settings.own.root, keys[i]);
        const json_t *here = json_object_get(made, keys[i]);
        // texts of several prompts have no hash of one of them
        if ((!there && !here) || (there && here && json_equal(there, here)) ||
            (!there && r->settings.many_prompts))
            continue;
        char *a = there ? json_dumps(there, JSON_ENCODE_ANY) : NULL;
        char *b = here ? json_dumps(here, JSON_ENCODE_ANY) : NULL;
        st = remark(r,
                    aleat_asprintf("'%s' is %s, the image's was %s", keys[i], b ? b : "(not set)",
                                   a ? a : "(not set)"),
                    err);
        free(a);
        free(b);
    }
    aleat_json_clear(&run);
    aleat_free(path);
    return st;
}

/* ---- the model and its kin ------------------------------------------------------------------- */

/** The model that run.json beside the image's folder tells of; NULL: it cannot be found. */
static char *model_of_run(const char *png)
{
    aleat_json run = {0};
    char *images = aleat_path_folder(png), *real = images ? realpath(images, NULL) : NULL;
    char *path = real ? aleat_asprintf("%s/../run.json", real) : NULL, *model = NULL;
    if (path && aleat_is_file(path) && !aleat_json_load(&run, path, NULL)) {
        const char *name = json_string_value(json_object_get(run.root, "model"));
        model = name ? aleat_strdup(name) : NULL;
    }
    aleat_json_clear(&run);
    aleat_free(path);
    aleat_free(images);
    free(real);
    return model;
}

static const char *model_path(const replayer *r)
{
    return r->options->model ? r->options->model : r->model_path;
}

static aleat_status need_model(replayer *r, aleat_error *err)
{
    if (r->options->model)
        return ALEAT_OK;
    r->model_path = r->settings.own.root ? model_of_run(r->png) : NULL;
    if (r->model_path)
        return ALEAT_OK;
    const char *weights = r->settings.weights, *hash = r->settings.weights_sha256;
    (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                     "%s: the model that it was made with is not known%s%s%s%s", r->png,
                     weights ? ": weights " : "", weights ? weights : "",
                     hash ? " of SHA-256 " : "", hash ? hash : "");
    aleat_hint(err, "name it with --model");
    return ALEAT_ERR_ARGUMENT;
}

/** What was given as a file and is not in the image. */
static aleat_status need_files(const replayer *r, aleat_error *err)
{
    const aleat_image_settings *s = &r->settings;
    const json_t *own = s->own.root;
    static const char *const noise[] = {"initial_sha256", "step_noise_sha256"};
    const char *estimator = json_string_value(json_object_get(own, "estimator"));
    if (json_object_get(own, "originals_sha256"))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: was made from an image that was given, which it does not hold",
                          r->png);
    if (estimator && strcmp(estimator, "bayesdiff") == 0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: was sampled with noise of a posterior of weights (bayesdiff), which "
                          "it does not hold",
                          r->png);
    for (size_t i = 0; i < sizeof noise / sizeof *noise; i++)
        if (json_object_get(own, noise[i]))
            return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                              "%s: was made from stored noise (%s), which it does not hold", r->png,
                              noise[i]);
    if (s->run.guide && json_object_get(own, "copy_noise_sha256"))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: was guided with stored noise, which it does not hold", r->png);
    const struct {
        const char *key, *given, *what, *hint;
    } files[] = {
        {"thresholds_sha256", r->options->thresholds, "guided by thresholds of a file",
         "name it with --threshold-file"},
        {"classifier_sha256", r->options->classifier, "guided by a classifier",
         "name it with --classifier"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (json_object_get(own, files[i].key) && !files[i].given) {
            (void)aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: was %s, which it does not hold", r->png,
                             files[i].what);
            aleat_hint(err, "%s", files[i].hint);
            return ALEAT_ERR_ARGUMENT;
        }
    return ALEAT_OK;
}

static aleat_status open_decoder(replayer *r, aleat_error *err)
{
    const aleat_image_settings *s = &r->settings;
    if (!s->decoded)
        return ALEAT_OK;
    aleat_vae_options options = s->vae;
    options.variant = r->options->open.variant;
    options.threads = r->options->open.threads;
    const char *path = r->options->decoder ? r->options->decoder : model_path(r);
    const aleat_status st = aleat_vae_open(&r->vae, path, &options, err);
    if (st && !r->options->decoder)
        aleat_hint(err, "its latents were decoded by an autoencoder: name it with --decoder");
    return st;
}

static aleat_status open_classifier(replayer *r, aleat_error *err)
{
    const aleat_replay_options *o = r->options;
    if (!o->classifier)
        return ALEAT_OK;
    const aleat_open_options options = {.family = "adm_classifier",
                                        .precision = r->settings.precision,
                                        .threads = o->open.threads,
                                        .head_dim = o->classifier_head_dim};
    return aleat_model_open(&r->classifier, o->classifier, &options, err);
}

/** The size of the network, in latents where it makes them; other programs tell that of images. */
static aleat_status size_of(const replayer *r, int64_t *height, int64_t *width, aleat_error *err)
{
    const aleat_image_settings *s = &r->settings;
    const int64_t factor = s->size_of_image && r->vae ? r->vae->files.factor : 1;
    if (s->height % factor || s->width % factor)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: is %" PRId64 " x %" PRId64 ", no multiple of the decoder's %" PRId64,
                          r->png, s->width, s->height, factor);
    const int64_t pixels = r->vae ? r->vae->files.factor : 1;
    if (r->there.width != s->width / factor * pixels ||
        r->there.height != s->height / factor * pixels)
        return aleat_fail(err, ALEAT_ERR_SHAPE,
                          "%s: is %" PRId64 " x %" PRId64 ", its settings make %" PRId64
                          " x %" PRId64,
                          r->png, r->there.width, r->there.height, s->width / factor * pixels,
                          s->height / factor * pixels);
    *height = s->height / factor;
    *width = s->width / factor;
    return ALEAT_OK;
}

static aleat_status open_model(replayer *r, aleat_error *err)
{
    aleat_image_settings *s = &r->settings;
    aleat_open_options open = r->options->open;
    open.precision = s->precision;
    int64_t height = 0, width = 0;
    aleat_status st = size_of(r, &height, &width, err);
    if (st)
        return st;
    open.height = height;
    open.width = width;
    if (s->prompt) {
        s->prompts.prompts = &s->prompt;
        s->prompts.count = 1;
        s->prompts.negatives = &s->negative;
        s->prompts.n_negatives = s->negative != NULL;
        s->prompts.encoders = r->options->encoders;
        return aleat_model_open_prompts(&r->model, &r->prompts, model_path(r), &open, &s->prompts,
                                        err);
    }
    return aleat_model_open(&r->model, model_path(r), &open, err);
}

/* ---- the image again ------------------------------------------------------------------------- */

/** Whether the plan that these options give is the image's. */
static bool is_its_plan(const replayer *r, const aleat_sampling_options *options)
{
    char hash[ALEAT_SHA256_TEXT];
    aleat_sampling_plan *plan = NULL;
    const bool same = !aleat_schedule_plan(&plan, &r->model->files, model_path(r), options, NULL) &&
                      aleat_run_plan_hash(hash, plan) && !strcmp(hash, r->settings.plan_sha256);
    aleat_sampling_plan_free(plan);
    return same;
}

/**
 * A run tells its sampler's name, but not whether the scheduler's own class (whose settings count)
 * or the user asked for it: the plan says which.
 */
static void find_sampler(replayer *r)
{
    aleat_sampling_options *o = &r->settings.run.sampling;
    aleat_sampling_options own = *o;
    o->schedule = own.schedule = r->options->schedule;
    own.sampler = NULL;
    if (r->settings.plan_sha256 && is_its_plan(r, &own))
        o->sampler = NULL;
}

/** Flow models have Euler's method under a name of its own here. */
static void fit_foreign_sampler(replayer *r)
{
    aleat_sampler_config config;
    aleat_sampling_options *o = &r->settings.run.sampling;
    if (r->settings.own.root || aleat_schedule_of(&config, &r->model->files, model_path(r),
                                                  r->options->schedule, NULL, NULL))
        return;
    if (config.prediction == ALEAT_PREDICTS_FLOW)
        o->sampler = NULL;
    aleat_sampler_config_clear(&config);
}

static aleat_status make_folder(replayer *r, aleat_error *err)
{
    const char *tmp = getenv("TMPDIR");
    r->folder = aleat_asprintf("%s/aleat-replay-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!r->folder)
        return aleat_fail_memory(err, "a replay");
    if (mkdtemp(r->folder))
        return ALEAT_OK;
    const aleat_status st =
        aleat_fail(err, ALEAT_ERR_IO, "%s: cannot be made: %s", r->folder, strerror(errno));
    aleat_free(r->folder);
    r->folder = NULL;
    return st;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

// Also what a run that failed has left, temporary files included.
static void remove_folder(const replayer *r)
{
    enum { OPEN_FOLDERS = 8 };
    if (r->folder)
        (void)nftw(r->folder, remove_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS);
}

static aleat_status make_again(replayer *r, aleat_error *err)
{
    aleat_image_settings *s = &r->settings;
    aleat_run_options *o = &s->run;
    const aleat_model_facts f = aleat_model_describe(r->model);
    const bool labelled = f.n_classes > 0 || r->classifier;
    if (labelled && s->label < 0)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: its class is not known", r->png);
    const int32_t label = (int32_t)s->label;
    o->n = 1;
    o->labels = labelled ? &label : NULL;
    o->decoder = r->vae;
    o->classifier = r->classifier;
    o->thresholds = r->options->thresholds;
    o->progress = r->options->progress;
    o->ctx = r->options->ctx;
    if (s->prompt) {
        o->texts = &r->prompts.texts;
        o->negative = &r->prompts.negative;
        o->prompts = &s->prompts;
        o->cfg_scale = r->prompts.cfg_scale;
    }
    find_sampler(r);
    fit_foreign_sampler(r);
    aleat_run_result result;
    const aleat_status st = aleat_model_generate(r->model, r->folder, o, &result, err);
    if (!st && !result.pixels)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "%s: its model makes latents, not pictures",
                          r->png);
    return st;
}

/* ---- comparing ------------------------------------------------------------------------------- */

static aleat_status compare(replayer *r, const aleat_image *here, aleat_error *err)
{
    aleat_replay *o = r->out;
    const aleat_image *there = &r->there;
    if (there->width != here->width || there->height != here->height ||
        there->channels != here->channels)
        return aleat_fail(err, ALEAT_ERR_SHAPE,
                          "%s: is %" PRId64 " x %" PRId64 " x %d, made again it is %" PRId64
                          " x %" PRId64 " x %d",
                          r->png, there->width, there->height, there->channels, here->width,
                          here->height, here->channels);
    double squares = 0;
    o->values = there->width * there->height * there->channels;
    for (int64_t i = 0; i < o->values; i++) {
        const int d = abs((int)there->pixels[i] - (int)here->pixels[i]);
        o->differing += d != 0;
        o->largest = d > o->largest ? d : o->largest;
        squares += (double)d * d;
    }
    o->identical = o->differing == 0;
    o->psnr = 10 * log10(255.0 * 255.0 * (double)o->values / squares);
    return ALEAT_OK;
}

/** The new picture, compared and, if asked for, put where it is wanted. */
static aleat_status look_at(replayer *r, aleat_error *err)
{
    aleat_image here = {0};
    aleat_mapping file = {0};
    char *path = aleat_path_join(r->folder, "images/000000.png");
    aleat_status st = path ? aleat_png_read(&here, path, err) : aleat_fail_memory(err, r->png);
    if (!st)
        st = compare(r, &here, err);
    if (!st)
        st = remark_differences(r, r->folder, err);
    if (!st && r->options->out)
        st = aleat_mapping_open(&file, path, err);
    if (!st && r->options->out)
        st = aleat_write_file(r->options->out, file.data, file.len, err);
    aleat_mapping_close(&file);
    aleat_image_clear(&here);
    aleat_free(path);
    return st;
}

aleat_status aleat_replay_image(aleat_replay *out, const char *png,
                                const aleat_replay_options *options, aleat_error *err)
{
    static const aleat_replay_options defaults;
    memset(out, 0, sizeof *out);
    replayer r = {.png = png, .options = options ? options : &defaults, .out = out};
    aleat_status st = aleat_image_settings_read(&r.settings, png, err);
    if (st)
        return st;
    out->source = r.settings.source;
    for (int i = 0; !st && i < r.settings.n_missing; i++)
        st = remark(&r, aleat_strdup(r.settings.missing[i]), err);
    if (!st)
        st = aleat_png_read(&r.there, png, err);
    if (!st)
        st = need_model(&r, err);
    if (!st)
        st = need_files(&r, err);
    if (!st)
        st = open_decoder(&r, err);
    if (!st)
        st = open_classifier(&r, err);
    if (!st)
        st = open_model(&r, err);
    if (!st)
        st = make_folder(&r, err);
    if (!st)
        st = make_again(&r, err);
    if (!st)
        st = look_at(&r, err);
    remove_folder(&r);
    aleat_free(r.folder);
    aleat_image_clear(&r.there);
    aleat_prompts_clear(&r.prompts);
    aleat_model_close(r.model);
    aleat_model_close(r.classifier);
    aleat_vae_close(r.vae);
    aleat_free(r.model_path);
    aleat_image_settings_clear(&r.settings);
    if (st)
        aleat_replay_clear(out);
    return st;
}

void aleat_replay_clear(aleat_replay *replay)
{
    if (!replay)
        return;
    for (int64_t i = 0; i < replay->n_remarks; i++)
        aleat_free(replay->remarks[i]);
    aleat_free((void *)replay->remarks);
    memset(replay, 0, sizeof *replay);
}
