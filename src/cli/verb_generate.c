#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

#define MOST_LABELS 4096 // in a list on the command line

/* ---- labels ---------------------------------------------------------------------------------- */

// "0,1,2" as numbers within the classes; returns how many, 0 after setting an error.
static int64_t read_list(int32_t *list, const char *text, int64_t n_classes, aleat_error *err)
{
    int64_t count = 0;
    for (const char *at = text; count < MOST_LABELS; at++) {
        char *end;
        errno = 0;
        const long long v = strtoll(at, &end, 10);
        if (end == at || errno || (*end && *end != ',') || v < 0 || v >= n_classes) {
            (void)aleat_cli_fail(err, ALEAT_ERR_ARGUMENT,
                                 "--labels: '%s' is not a list of classes from 0 to %lld, 'all' "
                                 "or the name of an .npy",
                                 text, (long long)n_classes - 1);
            return 0;
        }
        list[count++] = (int32_t)v;
        if (!*end)
            return count;
        at = end;
    }
    (void)aleat_cli_fail(err, ALEAT_ERR_ARGUMENT, "--labels: more than %d in a list: use an .npy",
                         MOST_LABELS);
    return 0;
}

static aleat_status spread_labels(int32_t *labels, int64_t n, const char *text, int64_t n_classes,
                                  aleat_error *err)
{
    int32_t *list = calloc(MOST_LABELS, sizeof *list);
    if (!list)
        return aleat_cli_fail(err, ALEAT_ERR_MEMORY, "out of memory: labels");
    const bool all = strcmp(text, "all") == 0;
    const int64_t count = all ? n_classes : read_list(list, text, n_classes, err);
    for (int64_t i = 0; count > 0 && i < n; i++)
        labels[i] = all ? (int32_t)(i % count) : list[i % count];
    free(list);
    return count > 0 ? ALEAT_OK : err->status;
}

// [n] labels in new memory (free()); NULL for a model without classes.
static aleat_status make_labels(int32_t **out, const aleat_cli_args *args, const aleat_model *model,
                                aleat_error *err)
{
    *out = NULL;
    const int64_t n_classes = aleat_model_describe(model).n_classes;
    const char *text = args->labels;
    if (text && n_classes == 0)
        return aleat_cli_fail(err, ALEAT_ERR_ARGUMENT, "--labels: this model takes no labels");
    if (n_classes == 0)
        return ALEAT_OK;
    if (!text)
        return aleat_cli_fail(err, ALEAT_ERR_ARGUMENT,
                              "this model needs --labels: classes from 0 to %lld, or all",
                              (long long)n_classes - 1);
    const size_t length = strlen(text);
    if (length > 4 && strcmp(text + length - 4, ".npy") == 0)
        return aleat_cli_labels(out, text, args->n, model, err);
    int32_t *labels = calloc((size_t)args->n, sizeof *labels);
    if (!labels)
        return aleat_cli_fail(err, ALEAT_ERR_MEMORY, "out of memory: labels");
    const aleat_status st = spread_labels(labels, args->n, text, n_classes, err);
    if (st)
        free(labels);
    else
        *out = labels;
    return st;
}

/* ---- the run --------------------------------------------------------------------------------- */

static bool on_progress(void *ctx, double done, double total)
{
    aleat_cli_progress_show(ctx, done, total);
    return !aleat_cli_interrupted();
}

static aleat_run_options options_of(const aleat_cli_args *args, const int32_t *labels,
                                    aleat_vae *decoder, aleat_cli_progress *progress)
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
        .shown = aleat_cli_choice_word(aleat_map_name, args->show),
        .copies = args->copies,
        .clip = aleat_cli_choice_word(aleat_clip_name, args->clip),
        .guide = args->guide,
        .guide_steps = {args->guide_steps.begin, args->guide_steps.end},
        .percentile = args->percentile,
        .strength = args->strength,
        .descend = args->guide_sign == 1,
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
    if (!r->pixels)
        (void)fprintf(
            stderr,
            "aleat: %s: these are latents, not pixels: %s/samples.npy holds them; --decoder "
            "makes images of them\n",
            verb->name, args->run);
}

int aleat_cli_generate(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    if (args->guide_steps.set && !args->guide) {
        aleat_cli_complain(verb->name, "--guide-steps is of use with --guide only");
        return ALEAT_EXIT_USAGE;
    }
    aleat_error err = {0};
    aleat_model *model = NULL;
    aleat_vae *decoder = NULL;
    int32_t *labels = NULL;
    aleat_run_result result = {0};
    aleat_cli_progress progress = aleat_cli_progress_new(verb->name, "images", args->quiet);
    aleat_cli_catch_interrupts();
    aleat_cli_args opened = *args;
    opened.batch = 0; // the network cuts batches by itself, and the copies of one image are more
    aleat_status st = aleat_cli_open(&model, &opened, &err);
    if (!st)
        st = make_labels(&labels, args, model, &err);
    if (!st && args->decoder)
        st = aleat_cli_open_vae(&decoder, args, &err);
    const aleat_run_options options = options_of(args, labels, decoder, &progress);
    if (!st)
        st = aleat_model_generate(model, args->run, &options, &result, &err);
    aleat_cli_progress_clear(&progress);
    if (!st)
        tell(verb, args, &options, &result);
    free(labels);
    aleat_vae_close(decoder);
    aleat_model_close(model);
    return aleat_cli_exit(verb, st, &err);
}
