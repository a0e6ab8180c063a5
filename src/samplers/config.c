#include "samplers/config.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "samplers/plan.h"

// Classes of diffusers that differ in what they accept or in their defaults.
enum {
    CLASS_DDIM,
    CLASS_DDPM,
    CLASS_MULTISTEP,
    CLASS_SINGLESTEP,
    CLASS_KDPM2,
    CLASS_EULER,
    CLASS_EULER_ANCESTRAL,
    CLASS_PNDM,
    CLASS_FLOW,
    CLASS_ORIGINAL, // not a class of diffusers: takes the noise schedule only
    CLASS_SDE,      // likewise
    CLASS_COUNT
};

#define BIT(c)  (1u << CLASS_##c)
#define EVERY   ((1u << CLASS_COUNT) - 1)
#define DPMS    (BIT(MULTISTEP) | BIT(SINGLESTEP))
#define CLIPPED (BIT(DDIM) | BIT(DDPM))
#define NOISE   (EVERY & ~BIT(FLOW)) // those of a noise schedule

static const aleat_sampler_kind kinds[] = {
    {"ddim", "DDIM; eta 0 is deterministic, one evaluation a step (Song et al. 2021)",
     "DDIMScheduler", CLASS_DDIM, 0, -1, aleat_sampling_plan_ddim},
    {"ddpm", "ancestral sampling, one evaluation a step (Ho et al. 2020)", "DDPMScheduler",
     CLASS_DDPM, 0, -1, aleat_sampling_plan_ddpm},
    {"dpm++2m", "DPM-Solver++ multistep, order 2, one evaluation a step (Lu et al. 2022)",
     "DPMSolverMultistepScheduler", CLASS_MULTISTEP, 2, ALEAT_DPMPP,
     aleat_sampling_plan_dpm_multistep},
    {"dpm++3m", "DPM-Solver++ multistep, order 3, one evaluation a step", NULL, CLASS_MULTISTEP, 3,
     ALEAT_DPMPP, aleat_sampling_plan_dpm_multistep},
    {"dpm++2m-sde", "stochastic DPM-Solver++ multistep, order 2, one evaluation a step", NULL,
     CLASS_MULTISTEP, 2, ALEAT_SDE_DPMPP, aleat_sampling_plan_dpm_multistep},
    {"dpm++2s", "DPM-Solver++ singlestep, order 2, one evaluation a step, as diffusers counts",
     "DPMSolverSinglestepScheduler", CLASS_SINGLESTEP, 2, ALEAT_DPMPP,
     aleat_sampling_plan_dpm_singlestep},
    {"dpm-solver-2", "the original singlestep DPM-Solver-2; steps are evaluations, two each step",
     NULL, CLASS_ORIGINAL, 2, ALEAT_DPM, aleat_sampling_plan_dpm_original},
    {"dpm-solver-3", "the same of order 3, whose last evaluations are of lower order", NULL,
     CLASS_ORIGINAL, 3, ALEAT_DPM, aleat_sampling_plan_dpm_original},
    {"dpm-solver++3", "the same of order 3 for the data prediction, as U-ViT's own programs sample",
     NULL, CLASS_ORIGINAL, 3, ALEAT_DPMPP, aleat_sampling_plan_dpm_original},
    {"dpm-solver-fast", "the same for the noise prediction, evenly spaced in log SNR", NULL,
     CLASS_ORIGINAL, 3, ALEAT_DPM, aleat_sampling_plan_dpm_fast},
    {"em-sde", "Euler-Maruyama for the reverse SDE of continuous time, one evaluation a step", NULL,
     CLASS_SDE, 0, -1, aleat_sampling_plan_em_sde},
    {"kdpm2", "Karras' DPM2, 2 N - 1 evaluations for N steps", "KDPM2DiscreteScheduler",
     CLASS_KDPM2, 0, -1, aleat_sampling_plan_kdpm2},
    {"euler", "Euler's method in sigma, one evaluation a step (Karras et al. 2022)",
     "EulerDiscreteScheduler", CLASS_EULER, 0, -1, aleat_sampling_plan_euler},
    {"pndm", "PNDM by linear multistep, one evaluation a step and one more (Liu et al. 2022)",
     "PNDMScheduler", CLASS_PNDM, 0, -1, aleat_sampling_plan_pndm},
    {"flow-euler", "Euler's method for flow models, one evaluation a step (Esser et al. 2024)",
     "FlowMatchEulerDiscreteScheduler", CLASS_FLOW, 0, -1, aleat_sampling_plan_flow},
    {"euler_a", "ancestral Euler, one evaluation a step", "EulerAncestralDiscreteScheduler",
     CLASS_EULER_ANCESTRAL, 0, -1, aleat_sampling_plan_euler_ancestral},
    {0},
};

const aleat_sampler_kind *aleat_samplers(void)
{
    return kinds;
}

// Defaults of diffusers 0.31.0; what no class sets is that of DDIMScheduler.
static const aleat_sampler_config common = {
    .train_steps = 1000,
    .beta_start = 1e-4,
    .beta_end = 0.02,
    .clip = {.range = 1, .ratio = 0.995, .max = 1},
    .spacing = ALEAT_SPACING_LINSPACE,
    .set_alpha_to_one = true,
    .order = 2,
    .algorithm = ALEAT_DPMPP,
    .lambda_min_clipped = -INFINITY,
    .shift = 1,
    .base_shift = 0.5,
    .max_shift = 1.15,
    .base_image_tokens = 256,
    .max_image_tokens = 4096,
};

static void set_class_defaults(aleat_sampler_config *c, int class_id)
{
    *c = common;
    if (class_id == CLASS_DDIM || class_id == CLASS_DDPM) {
        c->clip.clamp = true;
        c->spacing = ALEAT_SPACING_LEADING;
    }
    if (class_id == CLASS_DDPM)
        c->variance = ALEAT_VARIANCE_SMALL;
    if (class_id == CLASS_MULTISTEP || class_id == CLASS_ORIGINAL)
        c->lower_order_final = true;
    if (class_id == CLASS_KDPM2) {
        c->beta_start = 0.00085;
        c->beta_end = 0.012;
    }
    if (class_id == CLASS_PNDM) {
        c->spacing = ALEAT_SPACING_LEADING;
        c->set_alpha_to_one = false;
    }
    if (class_id == CLASS_FLOW)
        c->prediction = ALEAT_PREDICTS_FLOW;
    if (class_id == CLASS_SDE)
        c->beta_schedule = ALEAT_BETA_VP;
    if (class_id == CLASS_ORIGINAL)
        c->lambda_min_clipped = -5.1; // the original implementation's clipped_lambda
}

typedef struct name_value {
    const char *name;
    int value;
} name_value;

static const name_value beta_schedules[] = {{"linear", ALEAT_BETA_LINEAR},
                                            {"scaled_linear", ALEAT_BETA_SCALED_LINEAR},
                                            {"squaredcos_cap_v2", ALEAT_BETA_COSINE},
                                            {"sigmoid", ALEAT_BETA_SIGMOID},
                                            {"vp", ALEAT_BETA_VP},
                                            {0}};
static const name_value predictions[] = {{"epsilon", ALEAT_PREDICTS_EPSILON},
                                         {"sample", ALEAT_PREDICTS_SAMPLE},
                                         {"v_prediction", ALEAT_PREDICTS_V},
                                         {"flow_prediction", ALEAT_PREDICTS_FLOW},
                                         {0}};
static const name_value spacings[] = {{"leading", ALEAT_SPACING_LEADING},
                                      {"linspace", ALEAT_SPACING_LINSPACE},
                                      {"trailing", ALEAT_SPACING_TRAILING},
                                      {0}};
// The logarithmic variants give the same deviation: exp(log(v) / 2) = sqrt(v).
static const name_value variances[] = {{"fixed_small", ALEAT_VARIANCE_SMALL},
                                       {"fixed_small_log", ALEAT_VARIANCE_SMALL},
                                       {"fixed_large", ALEAT_VARIANCE_LARGE},
                                       {"fixed_large_log", ALEAT_VARIANCE_LARGE},
                                       {"learned", ALEAT_VARIANCE_LEARNED},
                                       {"learned_range", ALEAT_VARIANCE_LEARNED_RANGE},
                                       {0}};
// diffusers replaces the names of its other solvers by these, too.
static const name_value algorithms[] = {{"dpmsolver", ALEAT_DPM},
                                        {"dpmsolver++", ALEAT_DPMPP},
                                        {"sde-dpmsolver", ALEAT_SDE_DPM},
                                        {"sde-dpmsolver++", ALEAT_SDE_DPMPP},
                                        {"deis", ALEAT_DPMPP},
                                        {0}};
static const name_value solver_types[] = {
    {"midpoint", ALEAT_SOLVER_MIDPOINT}, {"heun", ALEAT_SOLVER_HEUN},
    {"logrho", ALEAT_SOLVER_MIDPOINT},   {"bh1", ALEAT_SOLVER_MIDPOINT},
    {"bh2", ALEAT_SOLVER_MIDPOINT},      {0}};
static const name_value final_sigmas[] = {
    {"zero", ALEAT_FINAL_ZERO}, {"sigma_min", ALEAT_FINAL_SIGMA_MIN}, {0}};
static const name_value interpolations[] = {{"linear", false}, {"log_linear", true}, {0}};
static const name_value discrete_only[] = {{"discrete", 0}, {0}};

const char *aleat_prediction_name(aleat_prediction prediction)
{
    return predictions[prediction].name;
}

typedef enum key_type {
    KEY_INT,
    KEY_DOUBLE,
    KEY_BOOL,
    KEY_NAME,
    KEY_NAME_BOOL, // a name that sets a bool
    KEY_GRID,      // a flag that sets sigma_grid to `value`
    KEY_BETAS,
    KEY_EPSILON, // old files: predict_epsilon
    KEY_OFF,     // only false, null or 0: what it switches on is not there
    KEY_NOTHING  // has no influence on the result
} key_type;

typedef struct key_row {
    const char *name;
    key_type type;
    unsigned classes; // that know it; diffusers ignores it in the others
    size_t offset;    // of the field
    const name_value *names;
    int value;
} key_row;

#define FIELD(f) offsetof(aleat_sampler_config, f)

static const key_row keys[] = {
    {"num_train_timesteps", KEY_INT, EVERY, FIELD(train_steps), NULL, 0},
    {"beta_start", KEY_DOUBLE, NOISE, FIELD(beta_start), NULL, 0},
    {"beta_end", KEY_DOUBLE, NOISE, FIELD(beta_end), NULL, 0},
    {"beta_schedule", KEY_NAME, NOISE, FIELD(beta_schedule), beta_schedules, 0},
    {"trained_betas", KEY_BETAS, NOISE, FIELD(trained_betas), NULL, 0},
    {"prediction_type", KEY_NAME, NOISE, FIELD(prediction), predictions, 0},
    {"predict_epsilon", KEY_EPSILON, NOISE, FIELD(prediction), NULL, 0},
    {"timestep_spacing", KEY_NAME, NOISE & ~(BIT(SINGLESTEP) | BIT(ORIGINAL) | BIT(SDE)),
     FIELD(spacing), spacings, 0},
    {"steps_offset", KEY_INT, NOISE & ~(BIT(SINGLESTEP) | BIT(ORIGINAL) | BIT(SDE)),
     FIELD(steps_offset), NULL, 0},
    {"set_alpha_to_one", KEY_BOOL, BIT(DDIM) | BIT(PNDM), FIELD(set_alpha_to_one), NULL, 0},
    {"rescale_betas_zero_snr", KEY_BOOL,
     CLIPPED | BIT(MULTISTEP) | BIT(EULER) | BIT(EULER_ANCESTRAL), FIELD(zero_snr), NULL, 0},
    {"clip_sample", KEY_BOOL, CLIPPED, FIELD(clip.clamp), NULL, 0},
    {"clip_sample_range", KEY_DOUBLE, CLIPPED, FIELD(clip.range), NULL, 0},
    {"thresholding", KEY_BOOL, CLIPPED | DPMS, FIELD(clip.dynamic), NULL, 0},
    {"dynamic_thresholding_ratio", KEY_DOUBLE, CLIPPED | DPMS, FIELD(clip.ratio), NULL, 0},
    {"sample_max_value", KEY_DOUBLE, CLIPPED | DPMS, FIELD(clip.max), NULL, 0},
    {"variance_type", KEY_NAME, BIT(DDPM), FIELD(variance), variances, 0},
    {"solver_order", KEY_INT, DPMS, FIELD(order), NULL, 0},
    {"algorithm_type", KEY_NAME, DPMS, FIELD(algorithm), algorithms, 0},
    {"solver_type", KEY_NAME, DPMS, FIELD(solver_type), solver_types, 0},
    {"lower_order_final", KEY_BOOL, DPMS, FIELD(lower_order_final), NULL, 0},
    {"euler_at_final", KEY_BOOL, BIT(MULTISTEP), FIELD(euler_at_final), NULL, 0},
    {"lambda_min_clipped", KEY_DOUBLE, DPMS, FIELD(lambda_min_clipped), NULL, 0},
    {"final_sigmas_type", KEY_NAME, DPMS | BIT(EULER), FIELD(final_sigma), final_sigmas, 0},
    {"use_karras_sigmas", KEY_GRID, DPMS | BIT(KDPM2) | BIT(EULER), FIELD(sigma_grid), NULL,
     ALEAT_SIGMAS_KARRAS},
    {"use_exponential_sigmas", KEY_GRID, DPMS | BIT(KDPM2) | BIT(EULER), FIELD(sigma_grid), NULL,
     ALEAT_SIGMAS_EXPONENTIAL},
    {"use_lu_lambdas", KEY_GRID, BIT(MULTISTEP), FIELD(sigma_grid), NULL, ALEAT_SIGMAS_LU},
    {"sigma_min", KEY_DOUBLE, BIT(EULER), FIELD(sigma_min), NULL, 0},
    {"sigma_max", KEY_DOUBLE, BIT(EULER), FIELD(sigma_max), NULL, 0},
    {"interpolation_type", KEY_NAME_BOOL, BIT(EULER), FIELD(log_linear), interpolations, 0},
    {"timestep_type", KEY_NAME, BIT(EULER), 0, discrete_only, 0},
    {"use_beta_sigmas", KEY_OFF, DPMS | BIT(KDPM2) | BIT(EULER) | BIT(FLOW), 0, NULL, 0},
    {"use_flow_sigmas", KEY_OFF, NOISE, 0, NULL, 0},
    {"use_dynamic_shifting", KEY_OFF, NOISE, 0, NULL, 0},
    {"use_dynamic_shifting", KEY_BOOL, BIT(FLOW), FIELD(dynamic_shift), NULL, 0},
    {"shift", KEY_DOUBLE, BIT(FLOW), FIELD(shift), NULL, 0},
    {"base_shift", KEY_DOUBLE, BIT(FLOW), FIELD(base_shift), NULL, 0},
    {"max_shift", KEY_DOUBLE, BIT(FLOW), FIELD(max_shift), NULL, 0},
    {"base_image_seq_len", KEY_INT, BIT(FLOW), FIELD(base_image_tokens), NULL, 0},
    {"max_image_seq_len", KEY_INT, BIT(FLOW), FIELD(max_image_tokens), NULL, 0},
    {"invert_sigmas", KEY_OFF, BIT(FLOW), 0, NULL, 0},
    {"shift_terminal", KEY_OFF, BIT(FLOW), 0, NULL, 0},
    {"stochastic_sampling", KEY_OFF, BIT(FLOW), 0, NULL, 0},
    {"timestep_values", KEY_OFF, EVERY, 0, NULL, 0},
    {"flow_shift", KEY_NOTHING, EVERY, 0, NULL, 0},      // only with use_flow_sigmas
    {"time_shift_type", KEY_NOTHING, EVERY, 0, NULL, 0}, // only with use_dynamic_shifting
    {"skip_prk_steps", KEY_BOOL, BIT(PNDM), FIELD(skip_prk_steps), NULL, 0},
    {"tensor_format", KEY_NOTHING, EVERY, 0, NULL, 0}, // before diffusers 0.3: numpy or torch
};
enum { KEY_COUNT = sizeof keys / sizeof *keys };

/** The row of a key for a class; of another class if only those know it; NULL: nobody does. */
static const key_row *find_key(const char *name, int class_id)
{
    const key_row *found = NULL;
    for (int i = 0; i < KEY_COUNT; i++)
        if (!strcmp(keys[i].name, name) && (!found || keys[i].classes & 1u << class_id))
            found = &keys[i];
    return found;
}

static aleat_status read_name(const aleat_json *json, const key_row *row, int *value,
                              aleat_error *err)
{
    const char *text = NULL;
    const aleat_status st = aleat_json_string(json, row->name, &text, err);
    if (st || !text)
        return st;
    for (const name_value *n = row->names; n->name; n++)
        if (!strcmp(n->name, text)) {
            *value = n->value;
            return ALEAT_OK;
        }
    (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "%s: '%s' is \"%s\", which is not implemented",
                     json->name, row->name, text);
    char known[256] = "";
    for (const name_value *n = row->names; n->name; n++)
        (void)snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s",
                       *known ? ", " : "", n->name);
    aleat_hint(err, "implemented are: %s", known);
    return ALEAT_ERR_UNSUPPORTED;
}

// Numbers may be spelt "inf" and "-inf", which JSON cannot write: diffusers does so.
static aleat_status read_double(const aleat_json *json, const char *key, double *value,
                                aleat_error *err)
{
    const json_t *item = json_object_get(json->root, key);
    if (!json_is_string(item))
        return aleat_json_double(json, key, value, err);
    const char *text = json_string_value(item);
    if (strcmp(text, "-inf") != 0 && strcmp(text, "inf") != 0)
        return aleat_json_double(json, key, value, err); // says what is wrong with it
    *value = *text == '-' ? -INFINITY : INFINITY;
    return ALEAT_OK;
}

static aleat_status read_betas(const aleat_json *json, const char *key, double **betas, int *count,
                               aleat_error *err)
{
    const json_t *item = json_object_get(json->root, key);
    const size_t size = json_array_size(item);
    if (!item || json_is_null(item))
        return ALEAT_OK;
    if (size < 1 || size > 1000000)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' is not a list of betas", json->name,
                          key);
    aleat_free(*betas);
    *betas = aleat_calloc(size, sizeof **betas);
    if (!*betas)
        return aleat_fail_memory(err, "trained betas");
    return aleat_json_doubles(json, key, *betas, (int)size, count, err);
}

static bool is_off(const json_t *item)
{
    return !item || json_is_null(item) || json_is_false(item) ||
           (json_is_number(item) && json_number_value(item) == 0);
}

static aleat_status read_flag(const aleat_json *json, const key_row *row, int *field,
                              aleat_error *err)
{
    bool on = false;
    const aleat_status st = aleat_json_bool(json, row->name, &on, err);
    if (st || !on)
        return st;
    if (row->type == KEY_GRID && *field != ALEAT_SIGMAS_OF_TIMESTEPS)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' and another use_*_sigmas are both true",
                          json->name, row->name);
    *field = row->value;
    return ALEAT_OK;
}

static aleat_status read_key(aleat_sampler_config *config, const aleat_json *json,
                             const key_row *row, aleat_error *err)
{
    void *const field = (char *)config + row->offset;
    bool flag = true;
    int ignored = 0;
    aleat_status st = ALEAT_OK;
    switch (row->type) {
    case KEY_INT: return aleat_json_int_in(json, row->name, 0, 1000000, field, err);
    case KEY_DOUBLE: return read_double(json, row->name, field, err);
    case KEY_BOOL: return aleat_json_bool(json, row->name, field, err);
    case KEY_NAME: return read_name(json, row, row->offset ? field : &ignored, err);
    case KEY_NAME_BOOL:
        ignored = *(bool *)field;
        st = read_name(json, row, &ignored, err);
        *(bool *)field = ignored != 0;
        return st;
    case KEY_GRID: return read_flag(json, row, field, err);
    case KEY_BETAS: return read_betas(json, row->name, field, &config->n_trained_betas, err);
    case KEY_EPSILON:
        st = aleat_json_bool(json, row->name, &flag, err);
        if (!st && !flag)
            config->prediction = ALEAT_PREDICTS_SAMPLE;
        return st;
    case KEY_OFF:
        if (!is_off(json_object_get(json->root, row->name)))
            return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "%s: '%s' is not implemented", json->name,
                              row->name);
        return ALEAT_OK;
    case KEY_NOTHING: return ALEAT_OK;
    }
    return st;
}

static aleat_status check_range(const aleat_sampler_config *c, const char *name, aleat_error *err)
{
    const char *wrong = NULL;
    if (c->train_steps < 1)
        wrong = "num_train_timesteps must be at least 1";
    else if (!c->trained_betas && c->beta_schedule != ALEAT_BETA_COSINE &&
             !(c->beta_start > 0 && c->beta_start <= c->beta_end && c->beta_end < 1))
        wrong = "0 < beta_start <= beta_end < 1 does not hold";
    else if (!(c->clip.range > 0 && c->clip.max >= 1 && c->clip.ratio > 0 && c->clip.ratio <= 1))
        wrong = "the limits of clipping are out of range";
    else if (c->order < 1 || c->order > 3)
        wrong = "solver_order must be 1, 2 or 3";
    else if (isnan(c->lambda_min_clipped) || !(c->sigma_min >= 0) || !(c->sigma_max >= 0))
        wrong = "a noise level is not a number";
    else if (!(c->shift > 0) || !isfinite(c->base_shift) || !isfinite(c->max_shift) ||
             c->base_image_tokens >= c->max_image_tokens)
        wrong = "shift must be positive and base_image_seq_len below max_image_seq_len";
    if (!wrong && c->trained_betas && c->n_trained_betas != c->train_steps)
        wrong = "trained_betas has another length than num_train_timesteps";
    for (int i = 0; !wrong && c->trained_betas && i < c->train_steps; i++)
        if (!(c->trained_betas[i] > 0 && c->trained_betas[i] < 1))
            wrong = "trained_betas must lie between 0 and 1";
    return wrong ? aleat_fail(err, ALEAT_ERR_FORMAT, "%s: %s", name, wrong) : ALEAT_OK;
}

static aleat_status find_kind(const char *name, const char *class_name, const char *file,
                              const aleat_sampler_kind **kind, aleat_error *err)
{
    for (const aleat_sampler_kind *k = kinds; k->name; k++)
        if (name ? !strcmp(k->name, name) : k->class_name && !strcmp(k->class_name, class_name)) {
            *kind = k;
            return ALEAT_OK;
        }
    char known[256] = "";
    for (const aleat_sampler_kind *k = kinds; k->name; k++)
        (void)snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s",
                       *known ? ", " : "", k->name);
    if (name)
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no sampler '%s'", name);
    else
        (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "%s: scheduler class '%s' is not implemented",
                         file, class_name);
    aleat_hint(err, "choose a sampler: %s", known);
    return name ? ALEAT_ERR_ARGUMENT : ALEAT_ERR_UNSUPPORTED;
}

/** A sampler of a noise schedule cannot serve a flow model, nor the other way round. */
static aleat_status check_process(const aleat_sampler_kind *kind, const char *class_name,
                                  const char *file, aleat_error *err)
{
    const aleat_sampler_kind *own = kinds;
    while (own->name && (!own->class_name || strcmp(own->class_name, class_name) != 0))
        own++;
    if (!own->name || (own->class_id == CLASS_FLOW) == (kind->class_id == CLASS_FLOW))
        return ALEAT_OK;
    (void)aleat_fail(err, ALEAT_ERR_ARGUMENT, "sampler %s does not fit the process of %s (%s)",
                     kind->name, file, class_name);
    aleat_hint(err, own->class_id == CLASS_FLOW ? "flow models take flow-euler"
                                                : "flow-euler is for flow models");
    return ALEAT_ERR_ARGUMENT;
}

static void apply_name(aleat_sampler_config *config)
{
    const aleat_sampler_kind *kind = config->kind;
    if (kind->order)
        config->order = kind->order;
    if (kind->algorithm >= 0)
        config->algorithm = (aleat_algorithm)kind->algorithm;
    if (kind->class_id == CLASS_PNDM)
        config->skip_prk_steps = true; // the name means what there is; a file may ask for the other
}

aleat_status aleat_sampler_config_default(aleat_sampler_config *out, const char *name,
                                          aleat_error *err)
{
    memset(out, 0, sizeof *out);
    const aleat_sampler_kind *kind = NULL;
    const aleat_status st = find_kind(name, NULL, NULL, &kind, err);
    if (st)
        return st;
    set_class_defaults(out, kind->class_id);
    out->kind = kind;
    apply_name(out);
    return ALEAT_OK;
}

aleat_status aleat_sampler_config_parse(aleat_sampler_config *out, const aleat_json *json,
                                        const char *name, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_sampler_config config = {0};
    const aleat_sampler_kind *kind = NULL;
    const char *class_name = "", *key;
    json_t *item;
    aleat_status st = aleat_json_string(json, "_class_name", &class_name, err);
    if (!st)
        st = find_kind(name, class_name, json->name, &kind, err);
    if (!st)
        st = check_process(kind, class_name, json->name, err);
    if (st)
        return st;
    set_class_defaults(&config, kind->class_id);
    config.kind = kind;
    json_object_foreach(json->root, key, item)
    {
        const key_row *row = find_key(key, kind->class_id);
        if (!row && key[0] != '_') {
            st = aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "%s: '%s' is not a known setting",
                            json->name, key);
            goto done;
        }
        if (row && row->classes & 1u << kind->class_id)
            st = read_key(&config, json, row, err);
        if (st)
            goto done;
    }
    if (name)
        apply_name(&config);
    st = check_range(&config, json->name, err);
    if (st)
        goto done;
    *out = config;
    memset(&config, 0, sizeof config);
done:
    aleat_sampler_config_clear(&config);
    return st;
}

void aleat_sampler_config_clear(aleat_sampler_config *config)
{
    if (!config)
        return;
    aleat_free(config->trained_betas);
    aleat_free(config->respacing);
    memset(config, 0, sizeof *config);
}
