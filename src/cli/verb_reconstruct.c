#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

// --from: a whole number is a step, one with a point a share.
static bool read_from(const aleat_cli_verb *verb, const char *text,
                      aleat_reconstruct_options *options)
{
    char *end;
    const double value = strtod(text, &end);
    const bool share = strpbrk(text, ".eE") != NULL;
    if (end != text && !*end && value > 0 && (share ? value < 1 : value <= 1e6)) {
        options->from = share ? 0 : (int64_t)value;
        options->from_share = share ? value : 0;
        return true;
    }
    aleat_cli_complain(verb->name,
                       "--from: '%s' is neither the number of a step, at least 1, nor a share "
                       "between 0 and 1",
                       text);
    return false;
}

/* ---- what came out --------------------------------------------------------------------------- */

static const aleat_metric_value *find(const aleat_metric_result *r, const char *name)
{
    for (int i = 0; i < r->n_values; i++)
        if (strcmp(r->values[i].name, name) == 0)
            return &r->values[i];
    return NULL;
}

static void print_value(const aleat_metric_result *r, const char *name)
{
    const aleat_metric_value *v = find(r, name);
    char interval[64] = "";
    if (v && !isnan(v->low))
        (void)snprintf(interval, sizeof interval, " [%.4g, %.4g]", v->low, v->high);
    (void)printf("  %-9.5g%-20s", v ? v->value : NAN, interval);
}

static void print_sign(const aleat_reconstruct_map *m, bool inverted)
{
    static const char *const names[][2] = {{"ause", "ause_inverted"},
                                           {"aurg", "aurg_inverted"},
                                           {"ause_per_image", "ause_per_image_inverted"},
                                           {"aurg_per_image", "aurg_per_image_inverted"}};
    (void)printf("%-10s %c  ", m->name, inverted ? '-' : '+');
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        print_value(&m->ause, names[k][inverted]);
    (void)printf("%s\n", inverted == (m->low_is_unsure != 0) ? "  by theory" : "");
}

static void print_text(const aleat_reconstruct_result *r)
{
    (void)printf("%lld images from step %lld of %lld (training step %g: %.4g of the image, %.4g of "
                 "noise), %lld evaluations each\n",
                 (long long)r->n, (long long)r->from, (long long)r->steps, r->t, r->alpha, r->sigma,
                 (long long)r->evaluations);
    if (r->n_maps) {
        const aleat_metric_value *v = find(&r->maps[0].ause, "rmse");
        (void)printf("root mean squared error %.6g on [-1, 1]\n", v ? v->value : NAN);
    }
    (void)printf("%-10s sign %-29s  %-29s  %-29s  %-29s\n", "map", "AUSE, all pixels",
                 "AURG, all pixels", "AUSE, mean of images", "AURG, mean of images");
    for (int m = 0; m < r->n_maps; m++)
        for (int inverted = 0; inverted < 2; inverted++)
            print_sign(&r->maps[m], inverted);
    for (int m = 0; m < r->n_maps; m++) {
        (void)printf("%-10s spearman", r->maps[m].name);
        print_value(&r->maps[m].ause, "spearman");
        if (!isnan(r->maps[m].variance_ratio))
            (void)printf("error/variance %-8.4g ", r->maps[m].variance_ratio);
        if (r->maps[m].calibration.n_values) {
            (void)printf("ence");
            print_value(&r->maps[m].calibration, "ence");
            (void)printf("z_rms");
            print_value(&r->maps[m].calibration, "z_rms");
        }
        (void)putchar('\n');
    }
}

static void tell(const aleat_cli_verb *verb, const aleat_cli_args *args,
                 const aleat_reconstruct_result *r)
{
    if (args->json) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/reconstruct.json", args->run);
        aleat_cli_print_json(json_load_file(path, 0, NULL));
        return;
    }
    print_text(r);
    if (args->quiet)
        return;
    if (r->run.complete_before)
        (void)fprintf(stderr, "aleat: %s: %s was complete already\n", verb->name, args->run);
    else
        (void)fprintf(stderr, "aleat: %s: %lld images in %s, %lld made now in %.1f s\n", verb->name,
                      (long long)r->n, args->run, (long long)r->run.made, r->run.seconds);
}

/* ---- the verb -------------------------------------------------------------------------------- */

int aleat_cli_reconstruct(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    aleat_reconstruct_options options = {0};
    aleat_reconstruct_result result = {0};
    aleat_error err = {0};
    if (args->n_more != 1) {
        aleat_cli_complain(verb->name, "needs a model and images: aleat reconstruct MODEL DATA");
        return ALEAT_EXIT_USAGE;
    }
    if (!read_from(verb, args->begin, &options) || !aleat_cli_check_cfg(verb, args))
        return ALEAT_EXIT_USAGE;
    aleat_cli_looked looked = {0};
    aleat_status st = aleat_cli_look(&looked, verb, args, args->more_operands[0], true, &err);
    if (!st) {
        options.run = aleat_cli_look_options(&looked, args);
        options.run.keep_step_maps = args->maps == 1;
        options.run.decoder = looked.vae;
        options.encoder = looked.vae;
        options.fit = aleat_cli_choice_word(aleat_image_fit_name, args->fit);
        options.draws = args->bootstrap;
        options.confidence = args->confidence;
        st = aleat_model_reconstruct(looked.model, &looked.images, args->run, &options, &result,
                                     &err);
    }
    aleat_cli_progress_clear(&looked.progress);
    if (!st)
        tell(verb, args, &result);
    aleat_reconstruct_clear(&result);
    aleat_cli_looked_clear(&looked);
    return aleat_cli_exit(verb, st, &err);
}
