#include <math.h>
#include <stdlib.h>

#include "cli/verbs.h"

// The training step: what it may be is the model's to say.
static bool read_step(const aleat_cli_verb *verb, const char *text, double *t)
{
    char *end;
    *t = strtod(text, &end);
    if (end != text && !*end && isfinite(*t))
        return true;
    aleat_cli_complain(verb->name, "--t: '%s' is not a number", text);
    return false;
}

static aleat_status write_results(const aleat_cli_args *args, const aleat_uncertainty *u,
                                  aleat_error *err)
{
    const struct {
        const char *path;
        const aleat_array *array;
    } files[] = {
        {args->out, &u->map}, {args->x0, &u->x0}, {args->eps, &u->eps}, {args->grad, &u->grad}};
    aleat_status st = ALEAT_OK;
    for (size_t i = 0; !st && i < sizeof files / sizeof *files; i++)
        if (files[i].path)
            st = aleat_array_write(files[i].path, files[i].array, err);
    return st;
}

static double sum_of(const aleat_array *map, int64_t image)
{
    const int64_t count = aleat_array_count(map) / map->dim[0];
    double sum = 0;
    for (int64_t j = 0; j < count; j++)
        sum += (double)map->data[image * count + j];
    return sum;
}

static const char *statistic_of(const aleat_cli_args *args)
{
    return args->stat ? aleat_cli_state_statistic_choice(args->stat, NULL) : NULL;
}

// One score for each image: the sum of its map.
static void tell(const aleat_cli_verb *verb, const aleat_cli_args *args, const aleat_uncertainty *u)
{
    const char *stat = statistic_of(args);
    if (!stat)
        stat = aleat_estimator_map(args->estimators);
    if (args->json) {
        json_t *scores = json_array();
        for (int64_t i = 0; i < u->map.dim[0]; i++)
            (void)json_array_append_new(scores, json_real(sum_of(&u->map, i)));
        json_t *o = json_pack("{sssssIso}", "out", args->out, "stat", stat, "evaluations_per_image",
                              (json_int_t)u->evaluations, "scores", scores);
        json_t *cosines = u->cosine.data ? json_array() : NULL;
        for (int64_t i = 0; cosines && i < u->cosine.dim[0]; i++)
            (void)json_array_append_new(cosines, json_real((double)u->cosine.data[i]));
        if (o && cosines)
            (void)json_object_set_new(o, "gradient_cosines", cosines);
        aleat_cli_print_json(o);
        return;
    }
    for (int64_t i = 0; i < u->map.dim[0]; i++)
        printf("image %lld: sum of %s %.8g\n", (long long)i, stat, sum_of(&u->map, i));
    for (int64_t i = 0; u->cosine.data && i < u->cosine.dim[0]; i++)
        printf("image %lld: cosine to the exact gradient %.6f\n", (long long)i,
               (double)u->cosine.data[i]);
    if (!args->quiet)
        (void)fprintf(stderr, "aleat: %s: wrote %s, %lld evaluations for each image\n", verb->name,
                      args->out, (long long)u->evaluations);
}

int aleat_cli_uncertainty(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    double t;
    if (args->image && (args->x || args->t || args->out)) {
        aleat_cli_complain(verb->name, "--image and --x, --t, --out do not go together");
        return ALEAT_EXIT_USAGE;
    }
    if (args->image)
        return aleat_cli_check_cfg(verb, args) ? aleat_cli_judge(verb, args) : ALEAT_EXIT_USAGE;
    if (!args->x || !args->t || !args->out) {
        aleat_cli_complain(verb->name, "needs --%s, or --image X -o RUN",
                           !args->x   ? "x X.npy: the noisy images"
                           : !args->t ? "t T: their training step"
                                      : "out U.npy: where the map goes");
        return ALEAT_EXIT_USAGE;
    }
    if (!read_step(verb, args->t, &t) || !aleat_cli_check_cfg(verb, args))
        return ALEAT_EXIT_USAGE;
    if (args->cosine && !args->grad) {
        aleat_cli_complain(verb->name, "--cosine is of use with --grad only");
        return ALEAT_EXIT_USAGE;
    }
    aleat_error err = {0};
    aleat_model *model = NULL;
    aleat_array x = {0}, noise = {0};
    aleat_uncertainty u = {0};
    int32_t *labels = NULL;
    aleat_cli_texts texts = {0}, negative = {0};
    const bool has_negative = args->negative_context || args->negative_pooled;
    const aleat_uncertainty_options options = {
        .schedule = args->schedule,
        .statistic = statistic_of(args),
        .estimator = args->estimators,
        .clip = aleat_cli_choice_word(aleat_clip_name, args->clip),
        .copies = args->copies,
        .noise = args->noise ? &noise : NULL,
        .seed = args->seed,
        .texts = &texts.view,
        .negative = has_negative ? &negative.view : NULL,
        .cfg_scale = args->cfg_scale,
        .compat = args->compat,
        .gradient = aleat_cli_choice_word(aleat_gradient_name, args->gradient),
        .with_cosine = args->cosine};
    aleat_status st = aleat_array_read(&x, args->x, &err);
    if (!st && args->noise)
        st = aleat_array_read(&noise, args->noise, &err);
    const int64_t n = !st && x.n_dims > 0 ? x.dim[0] : 0;
    if (!st)
        st = aleat_cli_texts_read(&texts, args->context, args->pooled, args->guidance, n, &err);
    if (!st && has_negative)
        st = aleat_cli_texts_read(&negative, args->negative_context, args->negative_pooled, NULL, 1,
                                  &err);
    if (!st)
        st = aleat_cli_open_for(&model, args, &x, &texts, &err);
    if (!st)
        st = aleat_cli_labels(&labels, "label", args->label, n, model, NULL, &err);
    if (!st)
        st = aleat_model_uncertainty(model, &x, t, labels, &options, args->grad != NULL, &u, &err);
    if (!st)
        st = write_results(args, &u, &err);
    if (!st)
        tell(verb, args, &u);
    aleat_uncertainty_clear(&u);
    aleat_cli_texts_clear(&texts);
    aleat_cli_texts_clear(&negative);
    aleat_array_clear(&noise);
    aleat_array_clear(&x);
    free(labels);
    aleat_model_close(model);
    return aleat_cli_exit(verb, st, &err);
}
