#include "cli/verbs.h"

static bool on_progress(void *ctx, double done, double total)
{
    aleat_cli_progress_show(ctx, done, total);
    return !aleat_cli_interrupted();
}

static void tell(const aleat_cli_verb *verb, const aleat_cli_args *args,
                 const aleat_laplace_result *r)
{
    if (args->json)
        aleat_cli_print_json(json_pack(
            "{sssIsIsIsfsfsf}", "out", args->out, "images", (json_int_t)r->images, "weights",
            (json_int_t)r->weights, "biases", (json_int_t)r->biases, "loss", r->loss,
            "mean_precision", r->mean_precision, "share_of_prior", r->share_of_prior));
    else if (!args->quiet)
        (void)fprintf(stderr,
                      "aleat: %s: wrote %s: %lld weights and %lld biases from %lld images, loss "
                      "%.5f, mean precision %.4g, %.0f %% of them mostly the prior's\n",
                      verb->name, args->out, (long long)r->weights, (long long)r->biases,
                      (long long)r->images, r->loss, r->mean_precision, 100 * r->share_of_prior);
}

int aleat_cli_laplace(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    if (args->n_more != 1) {
        aleat_cli_complain(verb->name, "needs a model and a data set: aleat laplace MODEL DATA");
        return ALEAT_EXIT_USAGE;
    }
    aleat_error err = {0};
    aleat_model *model = NULL;
    aleat_laplace_result result = {0};
    aleat_cli_progress progress = aleat_cli_progress_new(verb->name, "images", args->quiet);
    aleat_cli_catch_interrupts();
    const aleat_laplace_options options = {
        .n = args->n,
        .seed = args->seed,
        .data_format = aleat_cli_choice_word(aleat_data_format_name, args->data_format),
        .size = args->size,
        .schedule = args->schedule,
        .batch = args->batch,
        .progress = on_progress,
        .ctx = &progress,
    };
    aleat_status st = aleat_cli_open(&model, args, &err);
    if (!st)
        st = aleat_model_laplace(model, args->more_operands[0], args->out, &options, &result, &err);
    aleat_cli_progress_clear(&progress);
    if (!st)
        tell(verb, args, &result);
    aleat_model_close(model);
    return aleat_cli_exit(verb, st, &err);
}
