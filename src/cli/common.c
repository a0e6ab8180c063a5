#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

// The library's way to set an error is not public; the tool has few of its own.
aleat_status aleat_cli_fail(aleat_error *err, aleat_status status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    *err = (aleat_error){.status = status};
    (void)vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    return status;
}

aleat_open_options aleat_cli_open_options(const aleat_cli_args *args)
{
    return (aleat_open_options){
        .family = args->family,
        .variant = args->variant,
        .precision = aleat_precision_name(args->precision, NULL),
        .threads = (int)args->threads,
        .context_tokens = args->context_tokens,
        .height = args->height,
        .width = args->width,
        .max_images = args->batch,
        .memory = args->memory,
        .heads = args->heads,
        .head_dim = args->head_dim,
        .attention_order = aleat_attention_order_name(args->attention_order, NULL),
        .noise_schedule = args->noise_schedule,
        .train_steps = args->train_steps,
        .rescale_timesteps = args->rescale_timesteps,
        .dropout = args->dropout,
        .raw_time = args->raw_time,
    };
}

aleat_encoder_paths aleat_cli_encoders(const aleat_cli_args *args)
{
    aleat_encoder_paths paths = args->encoders;
    paths.tokenizer = args->tokenizer;
    return paths;
}

aleat_status aleat_cli_open(aleat_model **out, const aleat_cli_args *args, aleat_error *err)
{
    const aleat_open_options options = aleat_cli_open_options(args);
    return aleat_model_open(out, args->operand, &options, err);
}

aleat_status aleat_cli_open_vae(aleat_vae **out, const aleat_cli_args *args, aleat_error *err)
{
    const aleat_vae_options options = {
        .variant = args->variant,
        .precision = aleat_precision_name(args->precision, NULL),
        .threads = (int)args->threads,
        .scaling_factor = args->scale_factor,
        .memory = args->memory,
    };
    return aleat_vae_open(out, args->decoder, &options, err);
}

aleat_status aleat_cli_open_for(aleat_model **out, const aleat_cli_args *args, const aleat_array *x,
                                const aleat_cli_texts *texts, aleat_error *err)
{
    aleat_cli_args sized = *args;
    if (!args->height && !args->width && x->n_dims == 4) {
        sized.height = x->dim[2];
        sized.width = x->dim[3];
    }
    if (texts->context.n_dims == 3)
        sized.context_tokens = texts->context.dim[1];
    return aleat_cli_open(out, &sized, err);
}

const char *aleat_cli_sampler_choice(int i, const char **help)
{
    if (i == 0 && help)
        *help = "the one of the model's scheduler";
    return i == 0 ? "auto" : aleat_sampler_name(i - 1, help);
}

const char *aleat_cli_run_statistic_choice(int i, const char **help)
{
    if (i == 0 && help)
        *help = "eps-var, or v-var of a flow model";
    return i == 0 ? "auto" : aleat_statistic_name(i - 1, help);
}

const char *aleat_cli_state_statistic_choice(int i, const char **help)
{
    if (i == 0 && help)
        *help = "the estimator's own: eps-var, dropout-var";
    return i == 0 ? "auto" : aleat_statistic_name(i - 1, help);
}

const char *aleat_cli_maps_choice(int i, const char **help)
{
    static const char *const words[][2] = {{"sum", "over the scored steps"},
                                           {"all", "also each step's, in *-steps.npy"}};
    if (i < 0 || i > 1)
        return NULL;
    if (help)
        *help = words[i][1];
    return words[i][0];
}

bool aleat_cli_check_cfg(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    if (args->cfg_scale != 0)
        return true;
    aleat_cli_complain(verb->name, "--cfg-scale 0 is unconditional sampling: ask for the label "
                                   "that means 'no label' instead");
    return false;
}

aleat_sampling_options aleat_cli_sampling(const aleat_cli_args *args)
{
    return (aleat_sampling_options){
        .sampler = args->sampler ? aleat_cli_sampler_choice(args->sampler, NULL) : NULL,
        .schedule = args->schedule,
        .steps = args->steps,
        .eta = args->eta,
        .respacing = args->respacing};
}

int aleat_cli_exit(const aleat_cli_verb *verb, aleat_status status, const aleat_error *err)
{
    if (!status)
        return ALEAT_EXIT_DONE;
    aleat_cli_report(verb->name, err);
    return ALEAT_EXIT_FAILED;
}

static bool ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

aleat_status aleat_cli_values(aleat_array *out, const char *name, const char *text, int64_t n,
                              aleat_error *err)
{
    memset(out, 0, sizeof *out);
    if (ends_in(text, ".npy")) {
        aleat_status st = aleat_array_read(out, text, err);
        if (!st && aleat_array_count(out) != n) {
            st = aleat_cli_fail(err, ALEAT_ERR_SHAPE, "--%s: %s holds %lld values for %lld images",
                                name, text, (long long)aleat_array_count(out), (long long)n);
            aleat_array_clear(out);
        }
        return st;
    }
    char *end;
    const double value = strtod(text, &end);
    if (*end || end == text || !isfinite(value))
        return aleat_cli_fail(err, ALEAT_ERR_ARGUMENT,
                              "--%s: '%s' is neither a number nor the name of an .npy", name, text);
    aleat_status st = aleat_array_new(out, 1, &n, err);
    for (int64_t i = 0; !st && i < n; i++)
        out->data[i] = (float)value;
    return st;
}

void aleat_cli_print_json(json_t *value)
{
    char *text = value ? json_dumps(value, JSON_REAL_PRECISION(17)) : NULL;
    if (text)
        (void)puts(text);
    free(text);
    json_decref(value);
}
