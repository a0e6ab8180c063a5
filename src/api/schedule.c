#include "api/schedule.h"

#include <string.h>

#include "api/model_state.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/names.h"
#include "io/file.h"
#include "io/json.h"
#include "samplers/plan.h"
#include "uncertainty/estimator.h"

#define DEFAULT_STEPS 50

/* ---- names ----------------------------------------------------------------------------------- */

const char *aleat_sampler_name(int i, const char **help)
{
    const aleat_sampler_kind *table = aleat_samplers();
    int n = 0;
    while (table[n].name)
        n++;
    if (i < 0 || i >= n)
        return NULL;
    if (help)
        *help = table[i].description;
    return table[i].name;
}

const char *aleat_statistic_name(int i, const char **help)
{
    for (int aliases = 0; i >= 0 && aliases < 2; aliases++)
        for (const aleat_statistic *s = aleat_statistics(); s->name; s++) {
            if ((aliases && !s->alias) || i-- > 0)
                continue;
            if (help)
                *help = aliases ? s->name : s->description;
            return aliases ? s->alias : s->name;
        }
    return NULL;
}

static const struct {
    const char *name, *help;
    aleat_clip_mode mode;
} clips[] = {
    {"auto", "as the sampler clips", ALEAT_CLIP_AUTO},
    {"on", "from the clipped x0", ALEAT_CLIP_ON},
    {"off", "from the unclipped x0", ALEAT_CLIP_OFF},
};

const char *aleat_clip_name(int i, const char **help)
{
    return ALEAT_NAME_AT(clips, i, help);
}

aleat_status aleat_name_find(int *out, const char *(*names)(int, const char **), const char *name,
                             const char *what, aleat_error *err)
{
    *out = 0;
    if (!name)
        return ALEAT_OK;
    for (int i = 0; names(i, NULL); i++)
        if (strcmp(names(i, NULL), name) == 0) {
            *out = i;
            return ALEAT_OK;
        }
    return aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no %s '%s'", what, name);
}

aleat_status aleat_clip_find(aleat_clip_mode *out, const char *name, aleat_error *err)
{
    int i;
    const aleat_status st = aleat_name_find(&i, aleat_clip_name, name, "clip mode", err);
    *out = clips[i].mode;
    return st;
}

/* ---- where a schedule is --------------------------------------------------------------------- */

aleat_status aleat_schedule_of(aleat_sampler_config *out, const aleat_model_files *files,
                               const char *path, const char *schedule, const char *sampler,
                               aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_json json = {0};
    aleat_status st;
    if (!schedule)
        schedule = files->scheduler_path;
    if (schedule) {
        st = aleat_json_load(&json, schedule, err);
    } else if (files->scheduler_text) {
        st = aleat_json_parse(&json, files->scheduler_text, strlen(files->scheduler_text), path,
                              err);
    } else {
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT,
                        "%s: has no scheduler_config.json, so the noise it was trained with is "
                        "unknown",
                        path);
        aleat_hint(err, "give one with --schedule FILE");
    }
    if (!st)
        st = aleat_sampler_config_parse(out, &json, sampler, err);
    aleat_json_clear(&json);
    if (!st) {
        out->image_tokens = files->image_tokens;
        out->flow_grid = files->flow_to_one_step ? ALEAT_FLOW_TO_ONE_STEP : ALEAT_FLOW_TO_TRAINING;
    }
    return st;
}

aleat_status aleat_schedule_plan(aleat_sampling_plan **out, const aleat_model_files *files,
                                 const char *path, const aleat_sampling_options *options,
                                 aleat_error *err)
{
    aleat_sampler_config config;
    *out = NULL;
    aleat_status st =
        aleat_schedule_of(&config, files, path, options->schedule, options->sampler, err);
    if (st)
        return st;
    config.eta = options->eta;
    if (options->respacing) {
        config.respacing = aleat_strdup(options->respacing);
        config.eps_from_clipped = true;
        if (!config.respacing)
            st = aleat_fail_memory(err, path);
        else if (strcmp(config.kind->name, "ddim") != 0 && strcmp(config.kind->name, "ddpm") != 0)
            st = aleat_fail(err, ALEAT_ERR_ARGUMENT,
                            "respacing is for the samplers ddim and ddpm, not for %s",
                            config.kind->name);
    }
    if (!st)
        st = aleat_sampling_plan_new(out, &config,
                                     options->steps ? (int)options->steps : DEFAULT_STEPS, err);
    aleat_sampler_config_clear(&config);
    return st;
}

// The scheduler's file in a diffusers folder or a network's folder; *out is NULL if there is none.
static aleat_status find_schedule(char **out, const char *path, aleat_error *err)
{
    static const char *const places[] = {"scheduler/scheduler_config.json",
                                         "scheduler_config.json"};
    *out = NULL;
    for (size_t i = 0; aleat_is_dir(path) && i < sizeof places / sizeof *places; i++) {
        char *file = aleat_path_join(path, places[i]);
        if (!file)
            return aleat_fail_memory(err, path);
        if (aleat_is_file(file)) {
            *out = file;
            return ALEAT_OK;
        }
        aleat_free(file);
    }
    if (aleat_is_file(path) && aleat_path_ends_in(path, ".json")) {
        *out = aleat_strdup(path);
        return *out ? ALEAT_OK : aleat_fail_memory(err, path);
    }
    return ALEAT_OK;
}

static aleat_status is_flow(bool *flow, const aleat_model_files *files, const char *path,
                            const aleat_sampling_options *options, aleat_error *err)
{
    aleat_sampler_config config;
    const aleat_status st =
        aleat_schedule_of(&config, files, path, options->schedule, options->sampler, err);
    if (st)
        return st;
    *flow = config.prediction == ALEAT_PREDICTS_FLOW;
    aleat_sampler_config_clear(&config);
    return ALEAT_OK;
}

aleat_status aleat_schedule_json(char **out, const char *path,
                                 const aleat_sampling_options *options,
                                 const aleat_open_options *model, aleat_error *err)
{
    *out = NULL;
    aleat_model_files files = {0};
    aleat_sampling_plan *plan = NULL;
    json_t *json = NULL;
    char *schedule = NULL;
    aleat_sampling_options wanted = *options;
    const aleat_open_options defaults = {0};
    const aleat_model_options said = aleat_model_wanted(model ? model : &defaults);
    bool flow = false;
    aleat_status st = options->schedule ? ALEAT_OK : find_schedule(&schedule, path, err);
    if (!st && !schedule && !options->schedule) // a family whose files say it otherwise
        st = aleat_model_files_open(&files, path, &said, err);
    if (schedule)
        wanted.schedule = schedule;
    if (!st)
        st = is_flow(&flow, &files, path, &wanted, err);
    // What a flow model visits depends on the network, too.
    if (!st && flow && schedule && aleat_is_dir(path))
        st = aleat_model_files_open(&files, path, &said, err);
    if (!st)
        st = aleat_schedule_plan(&plan, &files, path, &wanted, err);
    if (st)
        goto done;
    json = aleat_sampling_plan_json(plan);
    *out = json ? json_dumps(json, JSON_REAL_PRECISION(17)) : NULL;
    if (!*out)
        st = aleat_fail_memory(err, path);
done:
    json_decref(json);
    aleat_sampling_plan_free(plan);
    aleat_model_files_close(&files);
    aleat_free(schedule);
    return st;
}
