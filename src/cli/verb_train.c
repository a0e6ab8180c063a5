#include <math.h>

#include "cli/verbs.h"

static bool on_progress(void *ctx, const aleat_train_progress *p)
{
    aleat_cli_progress_show(ctx, (double)p->step, (double)p->steps);
    return !aleat_cli_interrupted();
}

static aleat_train_options options_of(const aleat_cli_args *args, aleat_cli_progress *progress)
{
    return (aleat_train_options){
        .config = args->config,
        .data = args->operand,
        .out = args->run,
        .task = aleat_cli_choice_word(aleat_task_name, args->task),
        .data_format = aleat_cli_choice_word(aleat_data_format_name, args->data_format),
        .init = args->from,
        .size = args->size,
        .seed = args->seed,
        .steps = args->steps,
        .batch = args->batch,
        .rate = args->rate,
        .warmup = args->warmup,
        .cooldown = args->cooldown,
        .rate_schedule = aleat_cli_choice_word(aleat_rate_schedule_name, args->rate_schedule),
        .weight_decay = args->weight_decay,
        .clip = args->clip_grad,
        .average = args->ema,
        .dropout = args->dropout,
        .label_drop = args->label_drop,
        .flip = args->flip,
        .shift = args->shift,
        .prediction = aleat_cli_choice_word(aleat_prediction_type_name, args->prediction),
        .beta_schedule = aleat_cli_choice_word(aleat_beta_schedule_name, args->beta_schedule),
        .precision = aleat_cli_choice_word(aleat_precision_name, args->precision),
        .threads = (int)args->threads,
        .dtype = aleat_cli_choice_word(aleat_export_dtype_name, args->dtype),
        .checkpoint_seconds = args->checkpoint_every,
        .sample_every = args->sample_every,
        .validate_every = args->validate_every,
        .validation = args->validation,
        .progress = on_progress,
        .ctx = progress,
    };
}

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static void tell(const aleat_cli_verb *verb, const aleat_cli_args *args,
                 const aleat_train_result *r)
{
    if (args->json) {
        aleat_cli_print_json(json_pack(
            "{sssIsIsIsIsososf}", "out", args->run, "steps", (json_int_t)r->steps, "made",
            (json_int_t)r->made, "images", (json_int_t)r->images, "parameters",
            (json_int_t)r->n_parameters, "loss", number_or_null(r->loss), "validation_loss",
            number_or_null(r->validation_loss), "seconds", r->seconds));
        return;
    }
    if (args->quiet)
        return;
    if (!r->made) {
        (void)fprintf(stderr, "aleat: %s: %s was complete already\n", verb->name, args->run);
        return;
    }
    (void)fprintf(stderr,
                  "aleat: %s: %s/model after %lld steps, %lld made now in %.0f s (%.1f images a "
                  "second), loss %.4f",
                  verb->name, args->run, (long long)r->steps, (long long)r->made, r->seconds,
                  (double)r->made * (double)args->batch / r->seconds, r->loss);
    if (isfinite(r->validation_loss))
        (void)fprintf(stderr, ", on held-out images %.4f", r->validation_loss);
    (void)fputc('\n', stderr);
}

int aleat_cli_train(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    aleat_error err = {0};
    aleat_train_result result = {0};
    aleat_cli_progress progress = aleat_cli_progress_new(verb->name, "steps", args->quiet);
    const aleat_train_options options = options_of(args, &progress);
    aleat_cli_catch_interrupts();
    const aleat_status st = aleat_train(&options, &result, &err);
    aleat_cli_progress_clear(&progress);
    if (!st)
        tell(verb, args, &result);
    return aleat_cli_exit(verb, st, &err);
}
