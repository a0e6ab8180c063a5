#include <math.h>

#include "cli/verbs.h"

static bool on_progress(void *ctx, double done, double total)
{
    aleat_cli_progress_show(ctx, done, total);
    return !aleat_cli_interrupted();
}

static void tell_json(const aleat_replay *r)
{
    json_t *remarks = json_array();
    for (int64_t i = 0; i < r->n_remarks; i++)
        (void)json_array_append_new(remarks, json_string(r->remarks[i]));
    json_t *o = json_pack("{s:b, s:I, s:I, s:i, s:s, s:o}", "identical", r->identical, "differing",
                          (json_int_t)r->differing, "values", (json_int_t)r->values, "largest",
                          r->largest, "source", r->source, "remarks", remarks);
    if (o && isfinite(r->psnr)) // JSON has no infinity
        (void)json_object_set_new(o, "psnr", json_real(r->psnr));
    aleat_cli_print_json(o);
}

static void tell(const aleat_cli_verb *verb, const aleat_cli_args *args, const aleat_replay *r)
{
    for (int64_t i = 0; i < r->n_remarks && !args->quiet && !args->json; i++)
        aleat_cli_complain(verb->name, "%s", r->remarks[i]);
    if (args->json)
        tell_json(r);
    else if (r->identical)
        (void)puts("identical");
    else
        (void)printf("different: %lld of %lld values, by at most %d; PSNR %.2f dB\n",
                     (long long)r->differing, (long long)r->values, r->largest, r->psnr);
}

int aleat_cli_replay(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    aleat_error err = {0};
    aleat_replay result = {0};
    aleat_cli_progress progress = aleat_cli_progress_new(verb->name, "images", args->quiet);
    aleat_cli_catch_interrupts();
    aleat_replay_options options = {
        .model = args->model,
        .open = aleat_cli_open_options(args),
        .decoder = args->decoder,
        .encoders = aleat_cli_encoders(args),
        .classifier = args->classifier,
        .classifier_head_dim = args->classifier_head_dim,
        .schedule = args->schedule,
        .thresholds = args->threshold_file,
        .out = args->out,
        .progress = on_progress,
        .ctx = &progress,
    };
    const aleat_status st = aleat_replay_image(&result, args->operand, &options, &err);
    aleat_cli_progress_clear(&progress);
    if (st)
        return aleat_cli_exit(verb, st, &err);
    tell(verb, args, &result);
    const bool identical = result.identical;
    aleat_replay_clear(&result);
    return identical ? ALEAT_EXIT_DONE : ALEAT_EXIT_FAILED;
}
