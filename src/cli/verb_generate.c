#include <stdlib.h>

#include "cli/verbs.h"

static bool on_progress(void *ctx, double done, double total)
{
    aleat_cli_progress_show(ctx, done, total);
    return !aleat_cli_interrupted();
}

static aleat_run_options options_of(const aleat_cli_args *args, const int32_t *labels,
                                    aleat_model *classifier, aleat_vae *decoder,
                                    aleat_cli_progress *progress)
{
    return (aleat_run_options){
        .n = args->n,
        .sampling = aleat_cli_sampling(args),
        .seed = args->seed,
        .rng = aleat_cli_choice_word(aleat_rng_name, args->rng),
        .labels = labels,
        .batch = args->batch,
        .uncertainty = args->uncertainty || args->score_steps.set,
        .score_steps = {args->score_steps.begin, args->score_steps.end},
        .keep_step_maps = args->maps == 1,
        .keep_x0 = args->keep_x0,
        .shown = aleat_cli_choice_word(aleat_map_name, args->show),
        .copies = args->copies,
        .clip = aleat_cli_choice_word(aleat_clip_name, args->clip),
        .cfg_scale = args->cfg_scale,
        .statistic = args->stat ? aleat_cli_run_statistic_choice(args->stat, NULL) : NULL,
        .compat = args->compat,
        .guide = args->guide,
        .gradient = aleat_cli_choice_word(aleat_gradient_name, args->gradient),
        .thresholds = args->threshold_file,
        .guide_steps = {args->guide_steps.begin, args->guide_steps.end},
        .percentile = args->percentile,
        .strength = args->strength,
        .descend = args->guide_sign == 1,
        .classifier = classifier,
        .classifier_scale = args->classifier_scale,
        .decoder = decoder,
        .map_space = aleat_cli_choice_word(aleat_map_space_name, args->map_space),
        .carry = aleat_cli_choice_word(aleat_carry_name, args->carry),
        .carry_products = args->carry_products,
        .initial = args->init,
        .noise_dir = args->noise_dir,
        .trajectory = args->trajectory,
        .resume = aleat_cli_choice_word(aleat_resume_name, args->resume),
        .progress = on_progress,
        .ctx = progress,
    };
}

static aleat_status open_classifier(aleat_model **out, const aleat_cli_args *args, aleat_error *err)
{
    const aleat_open_options options = {
        .family = "adm_classifier",
        .precision = aleat_precision_name(args->precision, NULL),
        .threads = (int)args->threads,
        .head_dim = args->classifier_head_dim,
    };
    return aleat_model_open(out, args->classifier, &options, err);
}

static void tell(const aleat_cli_verb *verb, const aleat_cli_args *args,
                 const aleat_run_options *options, const aleat_run_result *r)
{
    if (args->json) {
        json_t *o = json_pack("{sssIsIsIsf}", "run", args->run, "images", (json_int_t)r->n, "made",
                              (json_int_t)r->made, "evaluations_per_image",
                              (json_int_t)r->evaluations, "seconds", r->seconds);
        if (o && options->uncertainty && !r->complete_before) {
            (void)json_object_set_new(o, "score_low", json_real(r->score_low));
            (void)json_object_set_new(o, "score_high", json_real(r->score_high));
        }
        if (o && options->guide && !r->complete_before) {
            (void)json_object_set_new(o, "change_mean", json_real(r->change_mean));
            (void)json_object_set_new(o, "change_most", json_real(r->change_most));
        }
        aleat_cli_print_json(o);
        return;
    }
    if (args->quiet)
        return;
    if (r->complete_before)
        (void)fprintf(stderr, "aleat: %s: %s was complete already\n", verb->name, args->run);
    else
        (void)fprintf(stderr,
                      "aleat: %s: %lld images in %s, %lld made now in %.1f s, %lld evaluations "
                      "each\n",
                      verb->name, (long long)r->n, args->run, (long long)r->made, r->seconds,
                      (long long)r->evaluations);
    if (args->report)
        (void)fprintf(stderr, "aleat: %s: open %s/report.html to look at them\n", verb->name,
                      args->run);
    if (options->guide && !r->complete_before)
        (void)fprintf(
            stderr,
            "aleat: %s: guidance changed the predicted noise by %.3g of its size, at most "
            "%.3g\n",
            verb->name, r->change_mean, r->change_most);
    if (!r->pixels)
        (void)fprintf(
            stderr,
            "aleat: %s: these are latents, not pixels: %s/samples.npy holds them; --decoder "
            "makes images of them\n",
            verb->name, args->run);
}

int aleat_cli_generate(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    if (!aleat_cli_check_cfg(verb, args))
        return ALEAT_EXIT_USAGE;
    aleat_error err = {0};
    aleat_model *model = NULL, *classifier = NULL;
    aleat_vae *decoder = NULL;
    int32_t *labels = NULL;
    aleat_run_result result = {0};
    aleat_cli_progress progress = aleat_cli_progress_new(verb->name, "images", args->quiet);
    aleat_cli_catch_interrupts();
    aleat_cli_args opened = *args;
    opened.batch = 0; // the network cuts batches by itself, and the copies of one image are more
    aleat_status st = aleat_cli_open(&model, &opened, &err);
    if (!st && args->classifier)
        st = open_classifier(&classifier, args, &err);
    if (!st)
        st = aleat_cli_labels(&labels, "labels", args->labels, args->n, model, classifier, &err);
    if (!st && args->decoder)
        st = aleat_cli_open_vae(&decoder, args, &err);
    aleat_run_options options = options_of(args, labels, classifier, decoder, &progress);
    char *command = aleat_cli_command_line(verb, args);
    options.command = command;
    if (!st)
        st = aleat_model_generate(model, args->run, &options, &result, &err);
    aleat_cli_progress_clear(&progress);
    if (!st && args->report)
        st = aleat_report_write(args->run, NULL, NULL, NULL, &err);
    if (!st)
        tell(verb, args, &options, &result);
    free(command);
    free(labels);
    aleat_vae_close(decoder);
    aleat_model_close(classifier);
    aleat_model_close(model);
    return aleat_cli_exit(verb, st, &err);
}
