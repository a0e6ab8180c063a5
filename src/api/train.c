/* aleat_train(): the names of its options. */
#include "aleat/train.h"

#include <string.h>

#include "aleat/model.h"
#include "api/schedule.h"
#include "base/error.h"
#include "base/names.h"
#include "train/trainer.h"

/** A row of a table of names. */
typedef struct named {
    const char *name, *help;
    int value;
} named;

static const named rate_schedules[] = {
    {"cosine", "constant after the warm-up, then down to 0 over the cooldown", false},
    {"constant", "constant after the warm-up", true},
};
static const named predictions[] = {
    {"epsilon", "the noise", ALEAT_PREDICTS_EPSILON},
    {"v_prediction", "alpha noise - sigma x0", ALEAT_PREDICTS_V},
    {"sample", "x0", ALEAT_PREDICTS_SAMPLE},
};
static const named beta_schedules[] = {
    {"linear", "beta from 0.0001 to 0.02, as DDPM has it", ALEAT_BETA_LINEAR},
    {"scaled_linear", "the root of beta linear, from 0.00085 to 0.012, as latent diffusion has it",
     ALEAT_BETA_SCALED_LINEAR},
    {"squaredcos_cap_v2", "the cosine of Nichol and Dhariwal 2021", ALEAT_BETA_COSINE},
};
static const named dtypes[] = {
    {"f16", "half the size of f32, 11 bits of precision", ALEAT_F16},
    {"bf16", "half the size of f32, 8 bits of precision", ALEAT_BF16},
    {"f32", "as trained", ALEAT_F32},
};

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

const char *aleat_rate_schedule_name(int i, const char **help)
{
    return ALEAT_NAME_AT(rate_schedules, i, help);
}

const char *aleat_prediction_type_name(int i, const char **help)
{
    return ALEAT_NAME_AT(predictions, i, help);
}

const char *aleat_beta_schedule_name(int i, const char **help)
{
    return ALEAT_NAME_AT(beta_schedules, i, help);
}

const char *aleat_export_dtype_name(int i, const char **help)
{
    return ALEAT_NAME_AT(dtypes, i, help);
}

const char *aleat_task_name(int i, const char **help)
{
    for (int k = 0; aleat_tasks()[k]; k++)
        if (k == i) {
            if (help)
                *help = aleat_tasks()[k]->description;
            return aleat_tasks()[k]->name;
        }
    return NULL;
}

const char *aleat_data_format_name(int i, const char **help)
{
    const aleat_dataset_kind *kinds = aleat_dataset_kinds();
    int n = 0;
    while (kinds[n].name)
        n++;
    if (i < 0 || i > n)
        return NULL;
    if (help)
        *help = i ? kinds[i - 1].description : "what it looks like";
    return i ? kinds[i - 1].name : "auto";
}

void aleat_train_defaults(aleat_train_options *options)
{
    *options = (aleat_train_options){
        .steps = 10000,
        .batch = 32,
        .rate = 5e-4,
        .warmup = 500,
        .weight_decay = 0.01,
        .clip = 1,
        .average = 0.999,
        .dropout = -1,
        .label_drop = 0.1,
        .checkpoint_seconds = 300,
        .sample_every = 1000,
        .validate_every = 1000,
        .validation = 0.1,
    };
}

aleat_status aleat_train(const aleat_train_options *options, aleat_train_result *result,
                         aleat_error *err)
{
    int task = 0, format = 0, rate = 0, prediction = 0, beta = 0, dtype = 0, precision = 0;
    const struct {
        int *out;
        const char *(*names)(int i, const char **help);
        const char *name, *what;
    } lookups[] = {
        {&task, aleat_task_name, options->task, "task"},
        {&format, aleat_data_format_name, options->data_format, "kind of data sets"},
        {&rate, aleat_rate_schedule_name, options->rate_schedule, "schedule of the learning rate"},
        {&prediction, aleat_prediction_type_name, options->prediction, "prediction type"},
        {&beta, aleat_beta_schedule_name, options->beta_schedule, "noise schedule"},
        {&dtype, aleat_export_dtype_name, options->dtype, "type of exported weights"},
        {&precision, aleat_precision_name, options->precision, "precision"},
    };
    if (result)
        memset(result, 0, sizeof *result);
    for (int i = 0; i < COUNT(lookups); i++) {
        const aleat_status st = aleat_name_find(lookups[i].out, lookups[i].names, lookups[i].name,
                                                lookups[i].what, err);
        if (st)
            return st;
    }
    const aleat_train_spec spec = {
        .options = options,
        .task = aleat_tasks()[task],
        .data_kind = format ? &aleat_dataset_kinds()[format - 1] : NULL,
        .constant_rate = rate_schedules[rate].value,
        .prediction = (aleat_prediction)predictions[prediction].value,
        .beta_schedule = (aleat_beta_schedule)beta_schedules[beta].value,
        .dtype = (aleat_dtype)dtypes[dtype].value,
        .precision = precision ? ALEAT_PRECISION_BF16 : ALEAT_PRECISION_F32,
    };
    return aleat_trainer_run(&spec, result, err);
}
