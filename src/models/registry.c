#include "models/families.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/json.h"

const aleat_model_family *const aleat_model_families[] = {
    &aleat_family_unet2d,
    &aleat_family_adm,
    &aleat_family_adm_classifier,
    &aleat_family_uvit,
    &aleat_family_unet2d_condition,
    &aleat_family_sd3,
    &aleat_family_flux,
    &aleat_family_cifar_resnet,
    &aleat_family_inception,
    &aleat_family_preact_resnet,
    NULL,
};

/* ---- where things lie ------------------------------------------------------------------------ */

// What a path turned out to be. All strings are owned.
typedef struct location {
    char *folder;         // with the network's config.json and weights; NULL for a lone file
    char *weights_path;   // a file that the user named, or NULL: by diffusers' names in `folder`
    char *config_path;    // or NULL
    char *scheduler_path; // or NULL
    char *class_name;     // of the configuration, or NULL
    char *index_path;     // a pipeline's model_index.json, or NULL
} location;

static void location_clear(location *at)
{
    aleat_free(at->folder);
    aleat_free(at->weights_path);
    aleat_free(at->config_path);
    aleat_free(at->scheduler_path);
    aleat_free(at->class_name);
    aleat_free(at->index_path);
    memset(at, 0, sizeof *at);
}

// folder/name into *out if there is such a file, else *out = NULL.
static aleat_status find_file(char **out, const char *folder, const char *name, aleat_error *err)
{
    *out = aleat_path_join(folder, name);
    if (!*out)
        return aleat_fail_memory(err, folder);
    if (!aleat_is_file(*out)) {
        aleat_free(*out);
        *out = NULL;
    }
    return ALEAT_OK;
}

// The scheduler of the network in `folder`: beside it in flat repositories, in a folder of its own
// in pipelines.
static aleat_status find_scheduler(location *at, const char *folder, aleat_error *err)
{
    static const char *const places[] = {
        "scheduler_config.json",
        "../scheduler/scheduler_config.json",
        "scheduler/scheduler_config.json",
    };
    aleat_status st = ALEAT_OK;
    for (size_t i = 0; i < sizeof places / sizeof *places && !st && !at->scheduler_path; i++)
        st = find_file(&at->scheduler_path, folder, places[i], err);
    return st;
}

static aleat_status read_class_name(location *at, aleat_error *err)
{
    aleat_json json = {0};
    const char *name = NULL;
    aleat_status st = aleat_json_load(&json, at->config_path, err);
    if (!st)
        st = aleat_json_string(&json, "_class_name", &name, err);
    if (!st && name) {
        at->class_name = aleat_strdup(name);
        if (!at->class_name)
            st = aleat_fail_memory(err, at->config_path);
    }
    aleat_json_clear(&json);
    return st;
}

// The part of a pipeline that predicts the noise, as model_index.json calls it.
static const char *const network_parts[] = {"unet", "transformer"};

static aleat_status locate_folder(location *at, const char *path, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    for (size_t i = 0; i < sizeof network_parts / sizeof *network_parts && !at->config_path; i++) {
        aleat_free(at->folder);
        at->folder = aleat_path_join(path, network_parts[i]);
        st = at->folder ? find_file(&at->config_path, at->folder, "config.json", err)
                        : aleat_fail_memory(err, path);
        if (st)
            return st;
    }
    if (!at->config_path) { // not a pipeline: the network itself
        aleat_free(at->folder);
        at->folder = aleat_strdup(path);
        st = at->folder ? find_file(&at->config_path, path, "config.json", err)
                        : aleat_fail_memory(err, path);
        if (st)
            return st;
    }
    if (!at->config_path) {
        (void)aleat_fail(err, ALEAT_ERR_FORMAT,
                         "%s: not a model: neither unet/config.json nor transformer/config.json "
                         "nor config.json is there",
                         path);
        aleat_hint(err, "pass the folder that a diffusers pipeline was saved to, or a checkpoint "
                        "file (.safetensors, .pt, .pth, .bin)");
        return ALEAT_ERR_FORMAT;
    }
    const aleat_status st_index = find_file(&at->index_path, path, "model_index.json", err);
    return st_index ? st_index : find_scheduler(at, at->folder, err);
}

static aleat_status locate_file(location *at, const char *path, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    char *folder = aleat_path_folder(path);
    at->weights_path = aleat_strdup(path);
    if (!folder || !at->weights_path)
        st = aleat_fail_memory(err, path);
    if (!st)
        st = find_file(&at->config_path, folder, "config.json", err);
    if (!st && at->config_path)
        st = find_scheduler(at, folder, err);
    aleat_free(folder);
    return st;
}

static aleat_status locate(location *at, const char *path, aleat_error *err)
{
    memset(at, 0, sizeof *at);
    aleat_status st = ALEAT_OK;
    if (aleat_is_dir(path)) {
        st = locate_folder(at, path, err);
    } else if (aleat_is_file(path)) {
        st = locate_file(at, path, err);
    } else {
        st = aleat_fail(err, ALEAT_ERR_IO, "%s: no such file or folder", path);
        aleat_hint(err, "models are not downloaded; pass the path of one on this machine");
    }
    if (!st && at->config_path)
        st = read_class_name(at, err);
    return st;
}

static aleat_status open_weights(aleat_weights **out, const location *at, const char *variant,
                                 aleat_error *err)
{
    if (at->weights_path)
        return aleat_weights_open(out, at->weights_path, err);
    // What is not a part of a diffusion pipeline is called model.safetensors.
    char *lone = NULL;
    const aleat_status st = find_file(&lone, at->folder, "model.safetensors", err);
    const char *stem = lone ? "model" : "diffusion_pytorch_model";
    aleat_free(lone);
    return st ? st : aleat_weights_open_folder(out, at->folder, stem, variant, err);
}

/* ---- which family ---------------------------------------------------------------------------- */

static void hint_families(aleat_error *err)
{
    char list[512] = "";
    size_t len = 0;
    for (int i = 0; aleat_model_families[i] && len < sizeof list; i++)
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", i ? ", " : "",
                                aleat_model_families[i]->name);
    aleat_hint(err, "known families are %s", list);
}

static aleat_status choose_family(const aleat_model_family **out, const location *at,
                                  aleat_weights *weights, const char *forced, aleat_error *err)
{
    for (int i = 0; aleat_model_families[i]; i++) {
        const aleat_model_family *family = aleat_model_families[i];
        if (forced ? !strcmp(family->name, forced) : family->recognises(at->class_name, weights)) {
            *out = family;
            return ALEAT_OK;
        }
    }
    const aleat_status st = forced ? ALEAT_ERR_ARGUMENT : ALEAT_ERR_UNSUPPORTED;
    if (forced)
        (void)aleat_fail(err, st, "there is no family '%s'", forced);
    else if (at->class_name)
        (void)aleat_fail(err, st, "%s: a '%s' is not supported", at->config_path, at->class_name);
    else
        (void)aleat_fail(err, st, "%s: %lld tensors of no known family, and %s says what they are",
                         weights ? aleat_weights_path(weights) : at->config_path,
                         weights ? (long long)aleat_weights_count(weights) : 0,
                         at->config_path ? "no _class_name in config.json" : "no config.json");
    hint_families(err);
    return st;
}

/** Integer tensors are counters and position tables that torch keeps as buffers, never weights. */
static bool is_buffer(const aleat_weight *weight)
{
    return weight->dtype != ALEAT_F32 && weight->dtype != ALEAT_F16 &&
           weight->dtype != ALEAT_BF16 && weight->dtype != ALEAT_F64;
}

static bool is_harmless(const aleat_model_family *family, const aleat_weight *weight)
{
    if (is_buffer(weight))
        return true;
    for (const char *const *pattern = family->harmless; pattern && *pattern; pattern++)
        if (!fnmatch(*pattern, weight->name, 0))
            return true;
    return false;
}

// A tensor that nothing reads means that the network is not the one that was trained.
static aleat_status check_superfluous(const aleat_model_family *family, aleat_weights *weights,
                                      aleat_error *err)
{
    const aleat_weight *first = NULL;
    int64_t count = 0;
    for (int64_t i = 0; i < aleat_weights_count(weights); i++) {
        const aleat_weight *weight = aleat_weights_at(weights, i);
        if (weight->used || is_harmless(family, weight))
            continue;
        first = first ? first : weight;
        count++;
    }
    if (!count)
        return ALEAT_OK;
    char shape[64];
    (void)aleat_fail(
        err, ALEAT_ERR_FORMAT,
        "%s: %lld of %lld tensors have no place in this %s network, the first is '%s' %s",
        aleat_weights_path(weights), (long long)count, (long long)aleat_weights_count(weights),
        family->name, first->name, aleat_shape_text(&first->shape, shape, sizeof shape));
    aleat_hint(err, "the weights belong to another configuration than the one beside them");
    return ALEAT_ERR_FORMAT;
}

// A classifier's classes are its outputs; a null class has no name.
static aleat_status load_class_names(aleat_model_files *model, const location *at, aleat_error *err)
{
    const aleat_denoiser_info *info = &model->info;
    const int64_t n = model->role == ALEAT_MODEL_CLASSIFIER
                          ? info->out_channels
                          : info->n_classes - (info->null_class == info->n_classes - 1);
    return aleat_class_names_load(&model->class_names, at->index_path, model->config_path, n, err);
}

/* ---- opening --------------------------------------------------------------------------------- */

aleat_status aleat_model_files_open(aleat_model_files *out, const char *path,
                                    const aleat_model_options *options, aleat_error *err)
{
    static const aleat_model_options no_options;
    memset(out, 0, sizeof *out);
    options = options ? options : &no_options;
    aleat_model_files model = {0};
    const aleat_model_family *family = NULL;
    location at;

    aleat_status st = locate(&at, path, err);
    if (!st)
        st = open_weights(&model.weights, &at, options->variant, err);
    if (!st)
        st = choose_family(&family, &at, model.weights, options->family, err);
    if (st)
        goto done;
    model.family = family->name;
    model.time_scale = 1;
    model.config_path = at.config_path;
    model.scheduler_path = at.scheduler_path;
    at.config_path = at.scheduler_path = NULL;
    st = family->build(&model, options, err);
    if (!st)
        st = check_superfluous(family, model.weights, err);
    if (!st)
        st = load_class_names(&model, &at, err);
    if (st)
        goto done;
    *out = model;
    memset(&model, 0, sizeof model);
done:
    aleat_model_files_close(&model);
    location_clear(&at);
    return st;
}

aleat_status aleat_model_files_build(aleat_model_files *out, const char *config_path,
                                     aleat_weights *weights, const aleat_model_options *options,
                                     aleat_error *err)
{
    static const aleat_model_options no_options;
    memset(out, 0, sizeof *out);
    options = options ? options : &no_options;
    aleat_model_files model = {.weights = weights, .time_scale = 1};
    const aleat_model_family *family = NULL;
    location at = {0};

    at.config_path = aleat_strdup(config_path);
    aleat_status st =
        at.config_path ? read_class_name(&at, err) : aleat_fail_memory(err, config_path);
    if (!st)
        st = choose_family(&family, &at, weights, options->family, err);
    if (st)
        goto done;
    model.family = family->name;
    model.config_path = at.config_path;
    at.config_path = NULL;
    st = family->build(&model, options, err);
    if (st)
        goto done;
    *out = model;
    memset(&model, 0, sizeof model);
done:
    aleat_model_files_close(&model);
    location_clear(&at);
    return st;
}

void aleat_model_files_close(aleat_model_files *model)
{
    if (!model)
        return;
    aleat_graph_free(model->graph);
    aleat_class_names_clear(&model->class_names);
    aleat_weights_free(model->weights);
    aleat_free(model->config_path);
    aleat_free(model->scheduler_path);
    aleat_free(model->scheduler_text);
    aleat_free(model->config_text);
    memset(model, 0, sizeof *model);
}
