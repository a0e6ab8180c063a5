#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

static bool on_progress(void *ctx, double done, double total)
{
    aleat_cli_progress_show(ctx, done, total);
    return !aleat_cli_interrupted();
}

// What a run needs beside its options.
typedef struct parts {
    aleat_model *model, *classifier;
    aleat_vae *decoder;
    aleat_features *features;
    int32_t *labels;
    aleat_cli_text_list texts;
    aleat_prompt_options wanted; // of a model of texts: count is not 0
    aleat_prompts prompts;
    int64_t n;
} parts;

static void parts_clear(parts *p)
{
    free(p->labels);
    aleat_prompts_clear(&p->prompts);
    aleat_cli_text_list_clear(&p->texts);
    aleat_features_close(p->features);
    aleat_vae_close(p->decoder);
    aleat_model_close(p->classifier);
    aleat_model_close(p->model);
}

static aleat_run_options options_of(const aleat_cli_args *args, const parts *p,
                                    aleat_cli_progress *progress)
{
    const bool texts = p->wanted.count > 0;
    return (aleat_run_options){
        .n = p->n,
        .sampling = aleat_cli_sampling(args),
        .seed = args->seed,
        .rng = aleat_cli_choice_word(aleat_rng_name, args->rng),
        .labels = p->labels,
        .texts = texts ? &p->prompts.texts : NULL,
        .negative = texts ? &p->prompts.negative : NULL,
        .prompts = texts ? &p->wanted : NULL,
        .batch = args->batch,
        .uncertainty = args->uncertainty || args->score_steps.set || args->estimators,
        .estimator = args->estimators,
        .score_steps = {args->score_steps.begin, args->score_steps.end},
        .keep_step_maps = args->maps == 1,
        .keep_x0 = args->keep_x0,
        .shown = aleat_cli_choice_word(aleat_map_name, args->show),
        .copies = args->copies,
        .laplace = args->laplace,
        .features = p->features,
        .every = args->every,
        .laplace_draws = args->laplace_draws,
        .clip = aleat_cli_choice_word(aleat_clip_name, args->clip),
        .cfg_scale = texts                    ? p->prompts.cfg_scale
                     : isnan(args->cfg_scale) ? 1
                                              : args->cfg_scale,
        .statistic = args->stat ? aleat_cli_run_statistic_choice(args->stat, NULL) : NULL,
        .compat = args->compat,
        .guide = args->guide,
        .gradient = aleat_cli_choice_word(aleat_gradient_name, args->gradient),
        .thresholds = args->threshold_file,
        .guide_steps = {args->guide_steps.begin, args->guide_steps.end},
        .percentile = args->percentile,
        .strength = args->strength,
        .guide_sign = aleat_cli_choice_word(aleat_guide_sign_name, args->guide_sign),
        .classifier = p->classifier,
        .classifier_scale = args->classifier_scale,
        .decoder = p->decoder,
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

/* ---- prompts --------------------------------------------------------------------------------- */

static bool has_prompts(const aleat_cli_args *args)
{
    return args->prompts.n > 0 || args->prompt_file;
}

// p->wanted points into the arguments, which outlive it.
static aleat_status gather_prompts(parts *p, const aleat_cli_args *args, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    for (int i = 0; !st && i < args->prompts.n; i++)
        st = aleat_cli_text_list_add(&p->texts, args->prompts.at[i], err);
    if (!st && args->prompt_file)
        st = aleat_cli_text_list_add_lines(&p->texts, args->prompt_file, err);
    if (!st && p->texts.count == 0)
        st = aleat_cli_fail(err, ALEAT_ERR_ARGUMENT, "%s: no prompts in it", args->prompt_file);
    p->wanted = (aleat_prompt_options){
        .prompts = p->texts.at,
        .count = p->texts.count,
        .negatives = args->negatives.at,
        .n_negatives = args->negatives.n,
        .cfg_scale = isnan(args->cfg_scale) ? 0 : args->cfg_scale,
        .guidance = args->told_guidance,
        .encoders = aleat_cli_encoders(args),
        .clip_skip = args->clip_skip,
        .no_t5 = args->no_t5,
        .t5_tokens = args->t5_tokens,
    };
    if (p->texts.count > p->n)
        p->n = p->texts.count;
    return st;
}

// Sizes are those of images here; `to` gets the network's.
static aleat_status take_size(aleat_cli_args *to, const parts *p, const aleat_cli_args *args,
                              aleat_error *err)
{
    int width = (int)args->width, height = (int)args->height;
    char rest;
    if (args->image_size && (sscanf(args->image_size, "%5dx%5d%c", &width, &height, &rest) != 2 ||
                             width < 1 || height < 1))
        return aleat_cli_fail(err, ALEAT_ERR_ARGUMENT,
                              "--size: '%s' is not a width and a height, as in 768x512",
                              args->image_size);
    const int factor = (int)aleat_vae_describe(p->decoder).factor;
    if (width % factor || height % factor)
        return aleat_cli_fail(err, ALEAT_ERR_ARGUMENT,
                              "images of %d x %d: both must be multiples of %d, as %d x %d are",
                              width, height, factor, (width + factor - 1) / factor * factor,
                              (height + factor - 1) / factor * factor);
    to->width = width / factor;
    to->height = height / factor;
    return ALEAT_OK;
}

static void warn_of_cuts(const aleat_cli_verb *verb, const aleat_prompts *prompts)
{
    for (int64_t i = 0; i < prompts->n_cuts; i++) {
        const aleat_prompt_cut *c = &prompts->cuts[i];
        aleat_cli_complain(verb->name,
                           "%sprompt %lld is cut to %lld tokens of encoder %d, without \"%s\"",
                           c->negative ? "negative " : "", (long long)c->prompt + 1,
                           (long long)c->tokens, c->encoder, c->rest);
    }
}

// A model of texts with its autoencoder. The encoders are gone when this returns.
static aleat_status open_for_prompts(const aleat_cli_verb *verb, parts *p,
                                     const aleat_cli_args *args, aleat_error *err)
{
    aleat_cli_args sized = *args;
    sized.batch = 0; // the network cuts batches by itself, and the copies of one image are more
    if (!args->decoder)
        sized.decoder = args->operand;
    aleat_status st = gather_prompts(p, args, err);
    if (!st)
        st = aleat_cli_open_vae(&p->decoder, &sized, err);
    if (st && !args->decoder)
        (void)snprintf(err->hint, sizeof err->hint,
                       "prompts are for Stable Diffusion and FLUX.1; if this is one without its "
                       "autoencoder, --decoder names a place to take it from");
    if (!st)
        st = take_size(&sized, p, args, err);
    const aleat_open_options options = aleat_cli_open_options(&sized);
    if (!st)
        st = aleat_model_open_prompts(&p->model, &p->prompts, args->operand, &options, &p->wanted,
                                      err);
    if (!st && !args->quiet)
        warn_of_cuts(verb, &p->prompts);
    return st;
}

/* ---- the verb -------------------------------------------------------------------------------- */

// Gradients by reverse mode bring every weight a second time, for the adjoint of its layer.
static aleat_status warn_of_memory(const aleat_cli_verb *verb, const parts *p,
                                   const aleat_cli_args *args, aleat_error *err)
{
    const aleat_status st = aleat_model_measure(p->model, err);
    const aleat_model_facts facts = aleat_model_describe(p->model);
    if (!st)
        aleat_cli_warn_of_memory(verb, &facts, args->guide && args->gradient == 0,
                                 aleat_cli_free_memory());
    return st;
}

static aleat_status open_parts(const aleat_cli_verb *verb, parts *p, const aleat_cli_args *args,
                               aleat_error *err)
{
    aleat_cli_args opened = *args;
    opened.batch = 0; // as above
    p->n = args->n;
    aleat_status st = has_prompts(args) ? open_for_prompts(verb, p, args, err)
                                        : aleat_cli_open(&p->model, &opened, err);
    if (!st && args->classifier)
        st = open_classifier(&p->classifier, args, err);
    if (!st)
        st = aleat_cli_labels(&p->labels, "labels", args->labels, p->n, p->model, p->classifier,
                              err);
    if (!st && args->decoder && !p->decoder)
        st = aleat_cli_open_vae(&p->decoder, args, err);
    const aleat_features_options how = {.threads = (int)args->threads};
    if (!st && args->feature_network)
        st = aleat_features_open(&p->features, args->feature_network, &how, err);
    return st;
}

static bool fits_together(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    const char *of_prompts = args->negatives.n       ? "negative-prompt"
                             : args->image_size      ? "size"
                             : args->encoders.all    ? "encoders"
                             : args->encoders.clip_l ? "clip-l"
                             : args->encoders.clip_g ? "clip-g"
                             : args->encoders.t5     ? "t5"
                             : args->tokenizer       ? "tokenizer"
                             : args->no_t5           ? "no-t5"
                             : args->clip_skip       ? "clip-skip"
                                                     : NULL;
    if (args->copies == 1) // 0 is the estimator's usual number, so the option's range has it
        aleat_cli_complain(verb->name, "--copies must be at least 2, or 0");
    else if (args->map_space && !args->decoder && !has_prompts(args))
        aleat_cli_complain(verb->name, "--map-space image needs a --decoder");
    else if (of_prompts && !has_prompts(args))
        aleat_cli_complain(verb->name, "--%s is of use with --prompt only", of_prompts);
    else if (args->image_size && (args->width || args->height))
        aleat_cli_complain(verb->name, "--size says the same as --width and --height");
    else
        return aleat_cli_check_cfg(verb, args);
    return false;
}

int aleat_cli_generate(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    if (!fits_together(verb, args))
        return ALEAT_EXIT_USAGE;
    aleat_error err = {0};
    parts p = {0};
    aleat_run_result result = {0};
    aleat_cli_progress progress = aleat_cli_progress_new(verb->name, "images", args->quiet);
    aleat_cli_catch_interrupts();
    aleat_status st = open_parts(verb, &p, args, &err);
    if (!st && !args->quiet)
        st = warn_of_memory(verb, &p, args, &err);
    aleat_run_options options = options_of(args, &p, &progress);
    char *command = aleat_cli_command_line(verb, args);
    options.command = command;
    if (!st)
        st = aleat_model_generate(p.model, args->run, &options, &result, &err);
    aleat_cli_progress_clear(&progress);
    if (!st && args->report)
        st = aleat_report_write(args->run, NULL, NULL, NULL, &err);
    if (!st)
        tell(verb, args, &options, &result);
    free(command);
    parts_clear(&p);
    return aleat_cli_exit(verb, st, &err);
}
