/* `uncertainty --image` and `corruptions`: images from elsewhere, whole and damaged. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

#define MOST_SCORES 24

static aleat_judge_options judge_options(aleat_cli_looked *looked, const aleat_cli_args *args)
{
    return (aleat_judge_options){.run = aleat_cli_look_options(looked, args),
                                 .repeats = args->repeats,
                                 .fit = aleat_cli_choice_word(aleat_image_fit_name, args->fit),
                                 .encoder = looked->vae};
}

/* ---- uncertainty --image --------------------------------------------------------------------- */

// Columns of scores.csv that are values of images: not those of single steps.
typedef struct table {
    const char *name[MOST_SCORES];
    double *values[MOST_SCORES];
    int n;
    int64_t rows;
} table;

static aleat_status read_table(table *t, const aleat_scores *scores, aleat_error *err)
{
    const char *name;
    aleat_status st = ALEAT_OK;
    t->rows = aleat_scores_count(scores);
    for (int i = 0; !st && (name = aleat_scores_name(scores, i)) && t->n < MOST_SCORES; i++) {
        if (strchr(name, '@') || strcmp(name, "score") == 0)
            continue;
        t->name[t->n] = name;
        t->values[t->n] = calloc((size_t)t->rows, sizeof **t->values);
        st = t->values[t->n] ? aleat_scores_values(t->values[t->n], scores, name, err)
                             : aleat_cli_fail(err, ALEAT_ERR_MEMORY, "out of memory: scores");
        t->n++;
    }
    return st;
}

static void print_table(const table *t)
{
    (void)printf("image");
    for (int c = 0; c < t->n; c++)
        (void)printf(" %14s", t->name[c]);
    (void)putchar('\n');
    for (int64_t i = 0; i < t->rows; i++) {
        (void)printf("%5lld", (long long)i);
        for (int c = 0; c < t->n; c++)
            (void)printf(" %14.8g", t->values[c][i]);
        (void)putchar('\n');
    }
}

static void print_table_json(const table *t, const aleat_cli_args *args, const aleat_run_result *r)
{
    json_t *scores = json_object();
    for (int c = 0; c < t->n; c++) {
        json_t *column = json_array();
        for (int64_t i = 0; i < t->rows; i++)
            (void)json_array_append_new(column, json_real(t->values[c][i]));
        (void)json_object_set_new(scores, t->name[c], column);
    }
    aleat_cli_print_json(json_pack("{sssIsIsIsfso}", "run", args->run, "images", (json_int_t)r->n,
                                   "made", (json_int_t)r->made, "evaluations_per_image",
                                   (json_int_t)r->evaluations, "seconds", r->seconds, "scores",
                                   scores));
}

static aleat_status tell_scores(const aleat_cli_verb *verb, const aleat_cli_args *args,
                                const aleat_run_result *r, aleat_error *err)
{
    table t = {0};
    aleat_scores *scores = NULL;
    aleat_status st = aleat_scores_open(&scores, args->run, err);
    if (!st)
        st = read_table(&t, scores, err);
    if (!st && args->json)
        print_table_json(&t, args, r);
    else if (!st)
        print_table(&t);
    if (!st && !args->quiet && !args->json)
        (void)fprintf(stderr,
                      "aleat: %s: %lld images in %s%s, %lld evaluations each; scores are sums over "
                      "steps and pixels\n",
                      verb->name, (long long)r->n, args->run,
                      r->complete_before ? ", complete already" : "", (long long)r->evaluations);
    for (int c = 0; c < t.n; c++)
        free(t.values[c]);
    aleat_scores_close(scores);
    return st;
}

int aleat_cli_judge(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    aleat_error err = {0};
    aleat_cli_looked looked = {0};
    aleat_run_result result = {0};
    if (!args->run) {
        aleat_cli_complain(verb->name, "--image needs -o RUN: the folder to write");
        return ALEAT_EXIT_USAGE;
    }
    aleat_status st = aleat_cli_look(&looked, verb, args, args->image, false, &err);
    if (!st) {
        const aleat_judge_options options = judge_options(&looked, args);
        st = aleat_model_judge(looked.model, &looked.images, args->run, &options, &result, &err);
    }
    aleat_cli_progress_clear(&looked.progress);
    if (!st)
        st = tell_scores(verb, args, &result, &err);
    aleat_cli_looked_clear(&looked);
    return aleat_cli_exit(verb, st, &err);
}

/* ---- corruptions ----------------------------------------------------------------------------- */

static void print_row(const aleat_corruptions_row *w)
{
    char strength[32] = "", interval[2][64] = {"", ""};
    if (!isnan(w->strength))
        (void)snprintf(strength, sizeof strength, "%g", w->strength);
    if (!isnan(w->auroc_low)) {
        (void)snprintf(interval[0], sizeof *interval, "[%.4f, %.4f]", w->auroc_low, w->auroc_high);
        (void)snprintf(interval[1], sizeof *interval, "[%.4f, %.4f]", 1 - w->auroc_high,
                       1 - w->auroc_low);
    }
    (void)printf("%-8s %-8s %-16s %.4f %-18s %.4f %-18s %12.6g %12.6g\n", w->kind, strength,
                 w->score, w->auroc, interval[0], 1 - w->auroc, interval[1], w->mean_whole,
                 w->mean_damaged);
}

static void tell_corruptions(const aleat_cli_args *args, const aleat_corruptions_result *r)
{
    if (args->json) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/corruptions.json", args->run);
        aleat_cli_print_json(json_load_file(path, 0, NULL));
        return;
    }
    (void)printf("%lld images, each whole and damaged, %lld evaluations each time\n",
                 (long long)r->n, (long long)r->evaluations);
    (void)printf("%-8s %-8s %-16s %-25s %-25s %12s %12s\n", "damage", "strength", "score",
                 "AUROC, high is damaged", "AUROC, low is damaged", "mean, whole", "damaged");
    for (int64_t i = 0; i < r->n_rows; i++)
        print_row(&r->rows[i]);
}

int aleat_cli_corruptions(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    aleat_error err = {0};
    aleat_cli_looked looked = {0};
    aleat_corruptions_result result = {0};
    if (args->n_more != 1) {
        aleat_cli_complain(verb->name, "needs a model and images: aleat corruptions MODEL DATA");
        return ALEAT_EXIT_USAGE;
    }
    if (!aleat_cli_check_cfg(verb, args))
        return ALEAT_EXIT_USAGE;
    aleat_status st = aleat_cli_look(&looked, verb, args, args->more_operands[0], true, &err);
    if (!st) {
        const aleat_corruptions_options options = {.judge = judge_options(&looked, args),
                                                   .kinds = args->kinds,
                                                   .draws = args->bootstrap,
                                                   .confidence = args->confidence};
        st = aleat_model_corruptions(looked.model, &looked.images, args->run, &options, &result,
                                     &err);
    }
    aleat_cli_progress_clear(&looked.progress);
    if (!st)
        tell_corruptions(args, &result);
    aleat_corruptions_clear(&result);
    aleat_cli_looked_clear(&looked);
    return aleat_cli_exit(verb, st, &err);
}
