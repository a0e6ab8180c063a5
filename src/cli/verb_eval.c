#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

const char *aleat_cli_metric_choice(int i, const char **help)
{
    aleat_metric_facts facts;
    if (!aleat_metric_at(i, &facts))
        return NULL;
    if (help)
        *help = facts.help;
    return facts.name;
}

/* ---- what goes in ---------------------------------------------------------------------------- */

// Inputs of a metric, and what they borrow.
typedef struct material {
    aleat_metric_inputs inputs;
    aleat_array array[2];
    aleat_feature_statistics *statistics[2];
    double *values[2];
    aleat_features *net; // NULL: not needed so far
} material;

static void material_clear(material *m)
{
    for (int i = 0; i < 2; i++) {
        aleat_array_clear(&m->array[i]);
        aleat_feature_statistics_free(m->statistics[i]);
        free(m->values[i]);
    }
    aleat_features_close(m->net);
}

static bool is_npz(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && strcmp(dot, ".npz") == 0;
}

// Features, or logits, of a set of images. Batches show progress and let Ctrl-C through.
static aleat_status run_network(aleat_array *out, aleat_features *net, const aleat_images *images,
                                bool logits, bool quiet, aleat_error *err)
{
    enum { BATCH = 32 };
    const aleat_features_facts facts = aleat_features_describe(net);
    const int64_t dims[2] = {images->n, logits ? facts.classes : facts.dim};
    aleat_cli_progress progress = aleat_cli_progress_new("eval", "images", quiet);
    aleat_status st = aleat_array_new(out, 2, dims, err);
    for (int64_t first = 0, count; !st && first < images->n; first += count) {
        count = images->n - first < BATCH ? images->n - first : BATCH;
        if (aleat_cli_interrupted()) {
            st = aleat_cli_fail(err, ALEAT_ERR_CANCELLED, "stopped");
            break;
        }
        const aleat_images part = aleat_images_slice(images, first, count);
        float *rows = out->data + first * dims[1];
        st = aleat_features_run(net, &part, logits ? NULL : rows, logits ? rows : NULL, err);
        aleat_cli_progress_show(&progress, (double)(first + count), (double)images->n);
    }
    aleat_cli_progress_clear(&progress);
    return st;
}

// TTUR, ADM's evaluator and torch-fidelity leave the biases of the last layer out of the Inception
// score: of a network that has such logits, these.
#define SCORE_LAYER "logits_unbiased"

static aleat_status open_network(material *m, bool logits, const aleat_cli_args *args,
                                 aleat_error *err)
{
    aleat_features_options options = {
        .layer = args->layer, .preparation = args->preparation, .threads = (int)args->threads};
    const char *name;
    aleat_status st = aleat_features_open(&m->net, args->network, &options, err);
    for (int i = 0; !st && logits && !options.layer && (name = aleat_features_layer(m->net, i));
         i++)
        if (strcmp(name, SCORE_LAYER) == 0)
            options.layer = SCORE_LAYER;
    if (st || options.layer == args->layer)
        return st;
    aleat_features_close(m->net);
    m->net = NULL;
    return aleat_features_open(&m->net, args->network, &options, err);
}

static aleat_status read_images(material *m, int side, const char *path, bool logits,
                                const aleat_cli_args *args, aleat_error *err)
{
    aleat_image_set *set = NULL;
    aleat_status st = m->net ? ALEAT_OK : open_network(m, logits, args, err);
    if (!st && logits) // a layer that is asked for, or that one, comes as features
        logits = !args->layer && strcmp(aleat_features_describe(m->net).layer, SCORE_LAYER) != 0;
    if (!st)
        st = aleat_image_set_open(&set, path, args->split, err);
    if (!st) {
        const aleat_images images = aleat_image_set_images(set);
        st = run_network(&m->array[side], m->net, &images, logits, args->quiet, err);
    }
    aleat_image_set_close(set);
    return st;
}

// What is no features may well be images.
static void hint_at_network(aleat_error *err)
{
    (void)snprintf(
        err->hint, sizeof err->hint,
        "of images, --network FILE makes the features; statistics are an .npz with mu and "
        "sigma");
}

// One side of a metric of sets. An .npz that has mu is statistics, if the metric can do with them:
// reference batches of ADM's evaluator hold both, mu and images. With a network anything else is
// images, without one an .npz is statistics and the rest features.
static aleat_status read_side(material *m, int side, const char *path,
                              const aleat_metric_facts *facts, const aleat_cli_args *args,
                              aleat_error *err)
{
    if (is_npz(path) && (facts->statistics || !args->network)) {
        const aleat_status st = aleat_feature_statistics_read(&m->statistics[side], path, err);
        if (st == ALEAT_ERR_FORMAT && !args->network)
            hint_at_network(err);
        if (st != ALEAT_ERR_FORMAT || !args->network)
            return st; // a set of images has no mu
    }
    if (args->network)
        return read_images(m, side, path, facts->takes == ALEAT_TAKES_LOGITS, args, err);
    aleat_status st = aleat_array_read(&m->array[side], path, err);
    if (!st && m->array[side].n_dims != 2)
        st = aleat_cli_fail(err, ALEAT_ERR_SHAPE, "%s: has %d axes, expected features [N,D]", path,
                            m->array[side].n_dims);
    if (st)
        hint_at_network(err);
    return st;
}

static aleat_status read_sets(material *m, const aleat_metric_facts *facts,
                              const aleat_cli_args *args, aleat_error *err)
{
    const bool logits = facts->takes == ALEAT_TAKES_LOGITS;
    const char *const path[2] = {logits && args->logits ? args->logits : args->features[0],
                                 logits ? NULL : args->features[1]};
    aleat_status st = ALEAT_OK;
    for (int side = 0; side < 2 && !st; side++)
        if (path[side])
            st = read_side(m, side, path[side], facts, args, err);
    m->inputs.a = m->array[0].data ? &m->array[0] : NULL;
    m->inputs.b = m->array[1].data ? &m->array[1] : NULL;
    m->inputs.a_statistics = m->statistics[0];
    m->inputs.b_statistics = m->statistics[1];
    return st;
}

// The axes longer than 1.
static int long_axes(int64_t dim[ALEAT_ARRAY_DIMS], const aleat_array *shape)
{
    int n = 0;
    for (int i = 0; i < shape->n_dims; i++)
        if (shape->dim[i] > 1)
            dim[n++] = shape->dim[i];
    return n;
}

// Do values of both belong together in the order of memory? One of them may be laid flat, and axes
// of 1 do not matter; [N,C,H,W] and [N,H,W,C] do not.
static bool same_order(const aleat_array *a, const aleat_array *b)
{
    int64_t da[ALEAT_ARRAY_DIMS], db[ALEAT_ARRAY_DIMS];
    const int na = long_axes(da, a), nb = long_axes(db, b);
    return na < 2 || nb < 2 || (na == nb && memcmp(da, db, (size_t)na * sizeof *da) == 0);
}

// The second array of a pair; its length must be that of the first, which is there already.
static aleat_status read_second(double **out, aleat_array *shape, const char *path,
                                const aleat_array *first_shape, const char *first, aleat_error *err)
{
    aleat_status st = aleat_values_read(out, shape, path, err);
    const int64_t n = aleat_array_count(shape), want = aleat_array_count(first_shape);
    if (!st && n != want)
        st = aleat_cli_fail(err, ALEAT_ERR_SHAPE, "%s holds %" PRId64 " values, %s %" PRId64, path,
                            n, first, want);
    if (!st && !same_order(shape, first_shape))
        st = aleat_cli_fail(err, ALEAT_ERR_SHAPE,
                            "%s and %s have as many values, but their axes differ", path, first);
    return st;
}

static aleat_status read_pairs(material *m, const aleat_cli_args *args, const char *x,
                               const char *y, aleat_error *err)
{
    double *truth = NULL;
    aleat_array first, second = {0};
    aleat_status st = aleat_values_read(&m->values[0], &first, x, err);
    m->inputs.n = aleat_array_count(&first);
    if (!st)
        st = read_second(&m->values[1], &second, y ? y : args->predicted, &first, x, err);
    m->inputs.images = second.n_dims > 1 ? second.dim[0] : 0;
    if (!st && !y)
        st = read_second(&truth, &second, args->truth, &first, x, err);
    for (int64_t i = 0; !st && !y && i < m->inputs.n; i++)
        m->values[1][i] -= truth[i];
    free(truth);
    m->inputs.x = m->values[0];
    m->inputs.y = m->values[1];
    return st;
}

/* ---- what comes out -------------------------------------------------------------------------- */

// JSON has no NaN.
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *curve_json(const aleat_metric_result *r)
{
    json_t *curve = json_object();
    for (int c = 0; c < r->n_columns; c++) {
        json_t *column = json_array();
        for (int64_t i = 0; i < r->n_rows; i++)
            (void)json_array_append_new(column, number(r->curve[i * r->n_columns + c]));
        (void)json_object_set_new(curve, r->column[c], column);
    }
    return curve;
}

static json_t *warnings_json(const char *warnings)
{
    json_t *list = json_array();
    for (const char *at = warnings; *at;) {
        const size_t len = strcspn(at, "\n");
        (void)json_array_append_new(list, json_stringn(at, len));
        at += len + (at[len] == '\n');
    }
    return list;
}

static void print_json(const aleat_metric_facts *facts, const aleat_metric_result *r,
                       const aleat_cli_args *args)
{
    json_t *root = json_object(), *intervals = json_object();
    (void)json_object_set_new(root, "metric", json_string(facts->name));
    for (int i = 0; i < r->n_values; i++) {
        const aleat_metric_value *v = &r->values[i];
        (void)json_object_set_new(root, v->name, number(v->value));
        if (!isnan(v->low))
            (void)json_object_set_new(intervals, v->name,
                                      json_pack("[oo]", number(v->low), number(v->high)));
    }
    if (args->bootstrap)
        (void)json_object_update_new(root, json_pack("{sOsfsI}", "intervals", intervals,
                                                     "confidence", args->confidence, "resamples",
                                                     (json_int_t)args->bootstrap));
    if (r->n_columns)
        (void)json_object_set_new(root, "curve", curve_json(r));
    (void)json_object_set_new(root, "warnings", warnings_json(r->warnings));
    json_decref(intervals);
    aleat_cli_print_json(root);
}

static void print_text(const aleat_metric_result *r)
{
    for (int i = 0; i < r->n_values; i++) {
        const aleat_metric_value *v = &r->values[i];
        (void)printf("%-16s %.12g", v->name, v->value);
        if (!isnan(v->low))
            (void)printf("  [%.6g, %.6g]", v->low, v->high);
        (void)putchar('\n');
    }
}

static void print_warnings(const char *warnings)
{
    for (const char *at = warnings; *at;) {
        const size_t len = strcspn(at, "\n");
        aleat_cli_complain("eval", "%.*s", (int)len, at);
        at += len + (at[len] == '\n');
    }
}

/* ---- the verb -------------------------------------------------------------------------------- */

static int save_statistics(const aleat_cli_verb *verb, const material *m,
                           const aleat_cli_args *args)
{
    aleat_error err = {0};
    aleat_feature_statistics *own = NULL;
    const aleat_feature_statistics *statistics = m->statistics[0];
    aleat_status st = ALEAT_OK;
    if (!statistics) {
        st = aleat_feature_statistics_of(&own, &m->array[0], (int)args->threads, &err);
        statistics = own;
    }
    if (!st)
        st = aleat_feature_statistics_write(args->save_stats, statistics, &err);
    aleat_feature_statistics_free(own);
    return aleat_cli_exit(verb, st, &err);
}

static int evaluate(const aleat_cli_verb *verb, const aleat_metric_facts *facts, const material *m,
                    const aleat_cli_args *args)
{
    const aleat_metric_options options = {
        .neighbours = args->neighbours,
        .density_neighbours = args->density_neighbours,
        .intervals = args->intervals,
        .bins = args->bins,
        .splits = args->splits,
        .subsets = args->subsets,
        .subset_size = args->subset_size,
        .draws = args->bootstrap,
        .confidence = args->confidence,
        .seed = args->seed,
        .threads = (int)args->threads,
    };
    aleat_error err = {0};
    aleat_metric_result result;
    // by the operand, which may be another name of the metric that asks for another number first
    aleat_status st = aleat_metric_evaluate(&result, args->operand, &m->inputs, &options, &err);
    if (!st && args->json)
        print_json(facts, &result, args);
    else if (!st)
        print_text(&result);
    if (!st && !args->quiet)
        print_warnings(result.warnings);
    aleat_metric_result_clear(&result);
    return aleat_cli_exit(verb, st, &err);
}

static int usage(const aleat_cli_verb *verb, const char *metric, const char *wants)
{
    aleat_cli_complain(verb->name, "%s needs %s", metric, wants);
    return ALEAT_EXIT_USAGE;
}

static int eval_sets(const aleat_cli_verb *verb, const aleat_metric_facts *facts,
                     const aleat_cli_args *args)
{
    const bool logits = facts->takes == ALEAT_TAKES_LOGITS;
    if (logits && !args->logits && !args->features[0])
        return usage(verb, facts->name, "--logits L.npy");
    if (!logits && (!args->features[0] || (!args->features[1] && !args->save_stats)))
        return usage(verb, facts->name,
                     facts->statistics ? "two sets: --features A.npy B.npy, or --a and --b"
                                       : "two sets of features: --features A.npy B.npy");
    aleat_error err = {0};
    material m = {0};
    aleat_cli_catch_interrupts();
    int code = aleat_cli_exit(verb, read_sets(&m, facts, args, &err), &err);
    if (!code && args->save_stats)
        code = save_statistics(verb, &m, args);
    if (!code && (logits || args->features[1]))
        code = evaluate(verb, facts, &m, args);
    material_clear(&m);
    return code;
}

static int eval_pairs(const aleat_cli_verb *verb, const aleat_metric_facts *facts,
                      const aleat_cli_args *args)
{
    const char *x = args->uncertainty_map ? args->uncertainty_map : args->scores;
    const char *y = args->error ? args->error : args->labels;
    if (!x && !y) {
        x = args->features[0];
        y = args->features[1];
    }
    if (!x)
        return usage(verb, facts->name, "--uncertainty U.npy or --scores S.npy");
    if (!y && !(args->truth && args->predicted))
        return usage(verb, facts->name,
                     "--error E.npy, or --truth and --prediction, or --labels Y.npy");
    aleat_error err = {0};
    material m = {0};
    int code = aleat_cli_exit(verb, read_pairs(&m, args, x, y, &err), &err);
    if (!code)
        code = evaluate(verb, facts, &m, args);
    material_clear(&m);
    return code;
}

int aleat_cli_eval(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    aleat_metric_facts facts;
    if (aleat_metric_find(args->operand, &facts))
        return facts.takes == ALEAT_TAKES_PAIRS ? eval_pairs(verb, &facts, args)
                                                : eval_sets(verb, &facts, args);
    const char *names[32];
    int n = 0;
    while (n < 32 && (names[n] = aleat_cli_metric_choice(n, NULL)))
        n++;
    aleat_cli_complain(verb->name, "there is no metric '%s'", args->operand);
    const char *meant = aleat_cli_nearest(args->operand, names, n);
    if (meant)
        aleat_cli_advise("did you mean '%s'?", meant);
    else
        aleat_cli_advise("'aleat eval --help' lists them");
    return ALEAT_EXIT_USAGE;
}
