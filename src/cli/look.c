/* What the verbs that look at images from elsewhere open. */
#include <stdlib.h>

#include "cli/verbs.h"

static bool on_progress(void *ctx, double done, double total)
{
    aleat_cli_progress_show(ctx, done, total);
    return !aleat_cli_interrupted();
}

aleat_status aleat_cli_look(aleat_cli_looked *out, const aleat_cli_verb *verb,
                            const aleat_cli_args *args, const char *path, bool own_labels,
                            aleat_error *err)
{
    aleat_cli_args opened = *args;
    opened.batch = 0; // the network cuts batches by itself, and the copies of one image are more
    aleat_cli_catch_interrupts();
    out->progress = aleat_cli_progress_new(verb->name, "images", args->quiet);
    out->command = aleat_cli_command_line(verb, args);
    aleat_status st = aleat_cli_open(&out->model, &opened, err);
    if (!st)
        st = aleat_image_set_open_sized(&out->set, path, args->split ? args->split : "any",
                                        args->size, err);
    if (st)
        return st;
    out->images = aleat_image_set_images(out->set);
    out->n = args->n ? args->n : out->images.n;
    if (out->n > out->images.n)
        return aleat_cli_fail(err, ALEAT_ERR_ARGUMENT, "-n %lld: there are %lld images in %s",
                              (long long)out->n, (long long)out->images.n, path);
    const int64_t some = aleat_image_set_classes(out->set, out->n);
    const int64_t classes = aleat_image_set_classes(out->set, out->images.n);
    if (some < classes && !args->quiet)
        aleat_cli_complain(verb->name,
                           "the first %lld of %lld images are of %lld of %lld classes: they are no "
                           "sample of the set",
                           (long long)out->n, (long long)out->images.n, (long long)some,
                           (long long)classes);
    st = aleat_cli_labels_of_images(&out->labels, args->label, aleat_image_set_labels(out->set),
                                    own_labels, out->n, out->model, err);
    if (!st && args->decoder)
        st = aleat_cli_open_vae(&out->vae, args, err);
    return st;
}

aleat_run_options aleat_cli_look_options(aleat_cli_looked *looked, const aleat_cli_args *args)
{
    return (aleat_run_options){
        .n = looked->n,
        .sampling = aleat_cli_sampling(args),
        .seed = args->seed,
        .labels = looked->labels,
        .batch = args->batch,
        .score_steps = {args->score_steps.begin, args->score_steps.end},
        .shown = aleat_cli_choice_word(aleat_map_name, args->show),
        .estimator = args->estimators,
        .copies = args->copies,
        .clip = aleat_cli_choice_word(aleat_clip_name, args->clip),
        .cfg_scale = args->cfg_scale,
        .statistic = args->stat ? aleat_cli_run_statistic_choice(args->stat, NULL) : NULL,
        .compat = args->compat,
        .resume = aleat_cli_choice_word(aleat_resume_name, args->resume),
        .command = looked->command,
        .progress = on_progress,
        .ctx = &looked->progress,
    };
}

void aleat_cli_looked_clear(aleat_cli_looked *looked)
{
    free(looked->command);
    free(looked->labels);
    aleat_vae_close(looked->vae);
    aleat_image_set_close(looked->set);
    aleat_model_close(looked->model);
}
