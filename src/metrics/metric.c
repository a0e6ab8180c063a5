#include "metrics/metric.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "metrics/calibration.h"
#include "metrics/frechet.h"
#include "metrics/inception_score.h"
#include "metrics/kernel_distance.h"
#include "metrics/neighbours.h"
#include "metrics/ranks.h"
#include "metrics/resample.h"
#include "metrics/sparsification.h"

/* ---- writing results ------------------------------------------------------------------------- */

static void add(aleat_metric_result *out, const char *name, double value)
{
    out->values[out->n_values++] = (aleat_metric_value){name, value, NAN, NAN};
}

void aleat_metric_warn(aleat_metric_result *out, const char *fmt, ...)
{
    size_t used = strlen(out->warnings);
    const size_t size = sizeof out->warnings;
    va_list args;
    va_start(args, fmt);
    if (used && used + 1 < size)
        out->warnings[used++] = '\n';
    (void)vsnprintf(out->warnings + used, size - used, fmt, args);
    va_end(args);
}

static aleat_status add_curve(aleat_metric_result *out, int64_t rows, aleat_error *err)
{
    out->curve = aleat_calloc((size_t)rows, (size_t)out->n_columns * sizeof *out->curve);
    out->n_rows = rows;
    return out->curve ? ALEAT_OK : aleat_fail_memory(err, "a curve");
}

/* ---- sets of vectors ------------------------------------------------------------------------- */

static aleat_rows rows_of(const aleat_array *x)
{
    return (aleat_rows){.f32 = x->data, .n = x->dim[0], .d = x->dim[1]};
}

static aleat_frechet_side side_of(const aleat_array *x, const aleat_feature_statistics *statistics)
{
    aleat_frechet_side side = {.gaussian = statistics ? &statistics->gaussian : NULL};
    if (x) {
        side.features = x->data;
        side.n = x->dim[0];
        side.d = x->dim[1];
    }
    return side;
}

static void warn_of_few(aleat_metric_result *out, const char *side, int64_t n, int64_t d)
{
    if (n && n <= d)
        aleat_metric_warn(out,
                          "%s: %" PRId64 " vectors of %" PRId64 " numbers: the covariance is "
                          "singular, the distance too large by an unknown amount",
                          side, n, d);
    else if (n && n < 10000)
        aleat_metric_warn(out,
                          "%s: %" PRId64 " vectors: the distance falls with their number; "
                          "compare it only with distances of as many",
                          side, n);
}

// Intervals are from halves.
static void warn_of_halves(aleat_metric_result *out, const char *side, const aleat_frechet_side *s)
{
    if (s->n > s->d && s->n / 2 <= s->d)
        aleat_metric_warn(out,
                          "%s: halves of %" PRId64 " vectors of %" PRId64 " numbers have singular "
                          "covariances: the interval means little",
                          side, s->n, s->d);
}

static void warn_of_negative(aleat_metric_result *out, const char *side, double eigenvalue)
{
    if (eigenvalue < 0)
        aleat_metric_warn(out,
                          "%s: the covariance has the negative eigenvalue %g, as single "
                          "precision leaves it; it was left out",
                          side, eigenvalue);
}

static void warn_of_few_in(aleat_metric_result *out, const char *name,
                           const aleat_frechet_side *side)
{
    if (side->gaussian)
        warn_of_few(out, name, side->gaussian->n, side->gaussian->d);
    else
        warn_of_few(out, name, side->n, side->d);
}

static aleat_status frechet(aleat_metric_result *out, const aleat_metric_task *task,
                            aleat_error *err)
{
    const aleat_metric_inputs *in = task->inputs;
    const aleat_frechet_side a = side_of(in->a, in->a_statistics);
    const aleat_frechet_side b = side_of(in->b, in->b_statistics);
    aleat_frechet f;
    aleat_status st = aleat_frechet_distance(&f, &a, &b, task->options.threads, err);
    if (st)
        return st;
    add(out, "fid", f.distance);
    add(out, "mean_term", f.mean_term);
    add(out, "trace_a", f.trace_a);
    add(out, "trace_b", f.trace_b);
    add(out, "trace_root", f.trace_root);
    if (task->resampled)
        return ALEAT_OK;
    warn_of_few_in(out, "a", &a);
    warn_of_few_in(out, "b", &b);
    if (task->options.draws) {
        warn_of_halves(out, "a", &a);
        warn_of_halves(out, "b", &b);
    }
    warn_of_negative(out, "a", f.negative_a);
    warn_of_negative(out, "b", f.negative_b);
    return ALEAT_OK;
}

static aleat_status kernel(aleat_metric_result *out, const aleat_metric_task *task,
                           aleat_error *err)
{
    const aleat_rows a = rows_of(task->inputs->a), b = rows_of(task->inputs->b);
    const aleat_metric_options *options = &task->options;
    const int64_t fewer = a.n < b.n ? a.n : b.n;
    double all, mean, deviation;
    aleat_status st = aleat_kernel_distance(&all, &a, &b, options->threads, err);
    if (st)
        return st;
    add(out, "kid", all);
    if (task->resampled)
        return ALEAT_OK;
    const aleat_kernel_subsets subsets = {
        .count = options->subsets,
        .size = options->subset_size < fewer ? options->subset_size : fewer,
        .seed = options->seed,
    };
    st = aleat_kernel_distance_subsets(&mean, &deviation, &a, &b, &subsets, options->threads, err);
    if (st)
        return st;
    add(out, "kid_subset_mean", mean);
    add(out, "kid_subset_std", deviation);
    if (subsets.size < options->subset_size)
        aleat_metric_warn(
            out, "subsets have %" PRId64 " vectors instead of %" PRId64 ": there are no more",
            subsets.size, options->subset_size);
    return ALEAT_OK;
}

static aleat_status inception(aleat_metric_result *out, const aleat_metric_task *task,
                              aleat_error *err)
{
    const aleat_array *x = task->inputs->a;
    const int64_t splits = task->options.splits;
    double mean, deviation;
    if (x->dim[0] < splits)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%" PRId64 " images cannot be split into %" PRId64 " parts", x->dim[0],
                          splits);
    aleat_status st =
        aleat_inception_score(&mean, &deviation, x->data, x->dim[0], x->dim[1], splits, err);
    if (st)
        return st;
    add(out, "is", mean);
    add(out, "is_std", deviation);
    if (!task->resampled && x->dim[0] < 5000 * splits)
        aleat_metric_warn(out,
                          "%" PRId64 " images in %" PRId64 " splits: 5000 a split are usual, "
                          "fewer lower the score",
                          x->dim[0], splits);
    return ALEAT_OK;
}

static aleat_status overlap(aleat_metric_result *out, const aleat_metric_task *task,
                            aleat_error *err)
{
    const aleat_rows real = rows_of(task->inputs->a), fake = rows_of(task->inputs->b);
    const int64_t k = task->options.neighbours, wide = task->options.density_neighbours;
    const int64_t fewer = real.n < fake.n ? real.n : fake.n, most = k > wide ? k : wide;
    if (fewer <= most)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%" PRId64 " nearest neighbours among %" PRId64
                          " vectors: there are too few",
                          most, fewer);
    aleat_overlap o;
    aleat_status st =
        aleat_neighbour_overlap(&o, &real, &fake, k, wide, task->options.threads, err);
    if (st)
        return st;
    add(out, "precision", o.precision);
    add(out, "recall", o.recall);
    add(out, "density", o.density);
    add(out, "coverage", o.coverage);
    add(out, "precision_open", o.precision_open);
    add(out, "recall_open", o.recall_open);
    if (!task->resampled && fewer < 10000)
        aleat_metric_warn(out,
                          "%" PRId64 " and %" PRId64 " vectors: balls shrink as sets grow; "
                          "compare only with sets of as many (10000 are usual)",
                          real.n, fake.n);
    return ALEAT_OK;
}

/* ---- pairs ----------------------------------------------------------------------------------- */

static void fill_curves(aleat_metric_result *out, const double *sparse, const double *oracle)
{
    for (int64_t t = 0; t < out->n_rows; t++) {
        double *row = out->curve + t * out->n_columns;
        row[0] = (double)t / (double)(out->n_rows - 1);
        row[1] = sparse[t];
        row[2] = oracle[t];
    }
}

static void add_areas(aleat_metric_result *out, const aleat_sparsifications *s, bool images)
{
    add(out, "ause", s->own.ause);
    add(out, "aurg", s->own.aurg);
    add(out, "aurg_closed", s->own.aurg_closed);
    add(out, "rmse", s->own.rmse);
    if (images) {
        add(out, "ause_per_image", s->per_image.ause);
        add(out, "aurg_per_image", s->per_image.aurg);
    }
    add(out, "ause_inverted", s->inverted.ause);
    add(out, "aurg_inverted", s->inverted.aurg);
    add(out, "spearman", s->spearman);
    if (images) {
        add(out, "ause_per_image_inverted", s->per_image_inverted.ause);
        add(out, "aurg_per_image_inverted", s->per_image_inverted.aurg);
    }
}

static aleat_status sparsification(aleat_metric_result *out, const aleat_metric_task *task,
                                   aleat_error *err)
{
    const aleat_metric_inputs *in = task->inputs;
    const int64_t intervals = task->options.intervals;
    double sparse[ALEAT_SPARSIFICATION_MAX + 1], oracle[ALEAT_SPARSIFICATION_MAX + 1];
    aleat_sparsifier *sorted = NULL;
    aleat_sparsifications s;
    aleat_status st =
        aleat_sparsifier_new(&sorted, in->x, in->y, in->n, in->images, intervals, err);
    if (!st)
        st = aleat_sparsifier_values(&s, sparse, oracle, sorted, NULL, 0, err);
    aleat_sparsifier_free(sorted);
    if (st)
        return st;
    add_areas(out, &s, in->images > 1);
    out->n_columns = 3;
    out->column[0] = "removed";
    out->column[1] = "rmse_by_uncertainty";
    out->column[2] = "rmse_by_error";
    st = add_curve(out, intervals + 1, err);
    if (!st)
        fill_curves(out, sparse, oracle);
    if (in->n < 10 * intervals)
        aleat_metric_warn(out, "%" PRId64 " pixels in %" PRId64 " intervals: the curve is coarse",
                          in->n, intervals);
    return st;
}

static aleat_status sort_pixels(void **state, const aleat_metric_task *task, aleat_error *err)
{
    const aleat_metric_inputs *in = task->inputs;
    aleat_sparsifier *sorted = NULL;
    const aleat_status st = aleat_sparsifier_new(&sorted, in->x, in->y, in->n, in->images,
                                                 task->options.intervals, err);
    *state = sorted;
    return st;
}

static aleat_status resample_areas(aleat_metric_result *out, const void *state,
                                   const aleat_metric_task *task, const int64_t *rows,
                                   int64_t count, aleat_error *err)
{
    aleat_sparsifications s;
    const aleat_status st = aleat_sparsifier_values(&s, NULL, NULL, state, rows, count, err);
    if (!st)
        add_areas(out, &s, task->inputs->images > 1);
    return st;
}

static void forget_pixels(void *state)
{
    aleat_sparsifier_free(state);
}

static void warn_of_few_pairs(aleat_metric_result *out, const aleat_metric_task *task)
{
    if (!task->resampled && task->inputs->n < 30)
        aleat_metric_warn(out, "%" PRId64 " pairs only", task->inputs->n);
    if (isnan(out->values[0].value))
        aleat_metric_warn(out, "not defined: all values of one side are alike");
}

static aleat_status spearman(aleat_metric_result *out, const aleat_metric_task *task,
                             aleat_error *err)
{
    const aleat_metric_inputs *in = task->inputs;
    double value = NAN;
    aleat_status st = aleat_spearman(&value, in->x, in->y, in->n, err);
    add(out, "spearman", value);
    warn_of_few_pairs(out, task);
    return st;
}

static aleat_status pearson(aleat_metric_result *out, const aleat_metric_task *task,
                            aleat_error *err)
{
    (void)err;
    add(out, "pearson", aleat_pearson(task->inputs->x, task->inputs->y, task->inputs->n));
    warn_of_few_pairs(out, task);
    return ALEAT_OK;
}

static aleat_status auroc(aleat_metric_result *out, const aleat_metric_task *task, aleat_error *err)
{
    const aleat_metric_inputs *in = task->inputs;
    double value = NAN;
    aleat_status st = aleat_auroc(&value, in->x, in->y, in->n, err);
    add(out, "auroc", value);
    if (isnan(value))
        aleat_metric_warn(out,
                          "not defined: all labels are of one kind (those but 0 are positive)");
    else
        warn_of_few_pairs(out, task);
    return st;
}

static aleat_status calibration(aleat_metric_result *out, const aleat_metric_task *task,
                                aleat_error *err)
{
    const aleat_metric_inputs *in = task->inputs;
    const int64_t n_bins = task->options.bins;
    if (n_bins > in->n)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%" PRId64 " values cannot fill %" PRId64 " bins", in->n, n_bins);
    aleat_calibration c;
    aleat_calibration_bin *bins = aleat_calloc((size_t)n_bins, sizeof *bins);
    aleat_status st = bins ? aleat_calibrate(&c, bins, n_bins, in->x, in->y, in->n, err)
                           : aleat_fail_memory(err, "bins");
    if (!st) {
        add(out, "ence", c.ence);
        add(out, "z_rms", c.z);
        add(out, "within_1_std", c.within_1);
        add(out, "within_2_std", c.within_2);
    }
    if (!st && !task->resampled) {
        out->n_columns = 3;
        out->column[0] = "predicted_std";
        out->column[1] = "rmse";
        out->column[2] = "count";
        st = add_curve(out, n_bins, err);
    }
    for (int64_t b = 0; !st && b < out->n_rows; b++) {
        out->curve[3 * b] = bins[b].predicted;
        out->curve[3 * b + 1] = bins[b].actual;
        out->curve[3 * b + 2] = (double)bins[b].count;
    }
    if (!st && !task->resampled && in->n < 30 * n_bins)
        aleat_metric_warn(out,
                          "%" PRId64 " values in %" PRId64 " bins: the errors of a bin scatter "
                          "by themselves",
                          in->n, n_bins);
    aleat_free(bins);
    return st;
}

static aleat_status paired(aleat_metric_result *out, const aleat_metric_task *task,
                           aleat_error *err)
{
    const aleat_metric_inputs *in = task->inputs;
    double difference = 0, p = NAN;
    for (int64_t i = 0; i < in->n; i++)
        difference += (in->x[i] - in->y[i]) / (double)in->n;
    add(out, "mean_difference", difference);
    if (task->resampled)
        return ALEAT_OK;
    const int64_t draws = task->options.draws ? task->options.draws : 10000;
    aleat_status st =
        aleat_paired_permutation(&p, in->x, in->y, in->n, draws, task->options.seed, err);
    add(out, "p_value", p);
    warn_of_few_pairs(out, task);
    return st;
}

/* ---- the table ------------------------------------------------------------------------------- */

#define SETS(first, second)  .takes = ALEAT_TAKES_SETS, .x = (first), .y = (second)
#define PAIRS(first, second) .takes = ALEAT_TAKES_PAIRS, .x = (first), .y = (second)

static const aleat_metric metrics[] = {
    {{.name = "fid",
      .also = "frechet",
      SETS("features", "features"),
      .statistics = true,
      .help = "Frechet distance of the Gaussians of two sets of features"},
     .compute = frechet},
    {{.name = "kid",
      SETS("features", "features"),
      .help = "kernel distance of two sets of features, unbiased"},
     .compute = kernel},
    {{.name = "is",
      .also = "inception-score",
      .takes = ALEAT_TAKES_LOGITS,
      .x = "logits",
      .help = "Inception score of a classifier's logits"},
     .compute = inception},
    {{.name = "precision-recall",
      .also = "pr prdc",
      SETS("real features", "generated features"),
      .help = "precision, recall, density and coverage by nearest neighbours"},
     .compute = overlap},
    {{.name = "ause",
      .also = "aurg",
      PAIRS("uncertainty", "error"),
      .help = "areas of the sparsification curves: error left as uncertain pixels are removed"},
     .compute = sparsification,
     .prepare = sort_pixels,
     .resample = resample_areas,
     .release = forget_pixels},
    {{.name = "spearman",
      PAIRS("uncertainty or score", "error or label"),
      .help = "rank correlation of two arrays, as they are"},
     .compute = spearman},
    {{.name = "pearson",
      PAIRS("uncertainty or score", "error or label"),
      .help = "correlation of two arrays, as they are"},
     .compute = pearson},
    {{.name = "auroc",
      PAIRS("score", "label"),
      .help = "how well scores tell labels that are not 0 from labels that are"},
     .compute = auroc},
    {{.name = "calibration",
      .also = "ence",
      PAIRS("predicted standard deviation", "error"),
      .help = "is a predicted standard deviation as large as the error"},
     .compute = calibration},
    {{.name = "paired",
      PAIRS("values", "values"),
      .help = "difference of the means of paired values, with a permutation test"},
     .compute = paired},
};

const aleat_metric *aleat_metric_line(int i)
{
    return i >= 0 && i < (int)(sizeof metrics / sizeof *metrics) ? &metrics[i] : NULL;
}

// Is `word` one of the words of `list`?
static bool has_word(const char *list, const char *word)
{
    const size_t len = strlen(word);
    for (const char *at = list; at && len && (at = strstr(at, word)); at += len)
        if ((at == list || at[-1] == ' ') && (at[len] == ' ' || !at[len]))
            return true;
    return false;
}

const aleat_metric *aleat_metric_of(const char *name)
{
    for (int i = 0; aleat_metric_line(i); i++)
        if (!strcmp(metrics[i].facts.name, name) || has_word(metrics[i].facts.also, name))
            return &metrics[i];
    return NULL;
}
