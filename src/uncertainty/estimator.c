#include "uncertainty/estimator.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "aleat/run.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/names.h"

static double unbiased_variance(double mean, double squares, int m, double e0)
{
    (void)mean;
    (void)e0;
    return squares / (m - 1);
}

static double biased_variance(double mean, double squares, int m, double e0)
{
    (void)mean;
    (void)e0;
    return squares / m;
}

static double deviation(double mean, double squares, int m, double e0)
{
    return sqrt(unbiased_variance(mean, squares, m, e0));
}

static double squared_distance(double mean, double squares, int m, double e0)
{
    return squares / m + (mean - e0) * (mean - e0);
}

static double second_moment(double mean, double squares, int m, double e0)
{
    (void)e0;
    return squared_distance(mean, squares, m, 0);
}

static double average(double mean, double squares, int m, double e0)
{
    (void)squares;
    (void)m;
    (void)e0;
    return mean;
}

static double standard_error(double mean, double squares, int m, double e0)
{
    return sqrt(unbiased_variance(mean, squares, m, e0) / m);
}

static const aleat_statistic table[] = {
    {"eps-var", "var", "variance of the predicted noise, unbiased: the paper's U",
     unbiased_variance, ALEAT_QUANTITY_EPS, 2, 0, ALEAT_ESTIMATOR_COPIES, false, true},
    {"eps-var0", "var0", "variance of the predicted noise, divided by M", biased_variance,
     ALEAT_QUANTITY_EPS, 2, 0, ALEAT_ESTIMATOR_COPIES, false, true},
    {"eps-std", "std", "standard deviation of the predicted noise", deviation, ALEAT_QUANTITY_EPS,
     1, 0, ALEAT_ESTIMATOR_COPIES, false, true},
    {"eps-mse", "mse", "mean squared distance from the sampler's own prediction: the paper's code",
     squared_distance, ALEAT_QUANTITY_EPS, 2, 0, ALEAT_ESTIMATOR_COPIES, false, true},
    {"eps-square", "square", "mean square of the predicted noise", second_moment,
     ALEAT_QUANTITY_EPS, 2, 0, ALEAT_ESTIMATOR_COPIES, false, true},
    {"x0-var", NULL, "variance of the predicted x0, unbiased", unbiased_variance,
     ALEAT_QUANTITY_RESIDUAL, 0, 2, ALEAT_ESTIMATOR_COPIES, false, false},
    {"post-var", NULL, "posterior variance of x0, in squared units of x0: mean of z (z - eps)",
     average, ALEAT_QUANTITY_PRODUCT, 0, 2, ALEAT_ESTIMATOR_COPIES, false, false},
    {"post-var-se", NULL, "standard error of post-var over the copies", standard_error,
     ALEAT_QUANTITY_PRODUCT, 0, 2, ALEAT_ESTIMATOR_COPIES, true, false},
    {"v-var", NULL, "variance of the network's own output, unbiased: of a flow model's velocity",
     unbiased_variance, ALEAT_QUANTITY_OUTPUT, 0, 0, ALEAT_ESTIMATOR_COPIES, false, true},
    {0},
};

static const aleat_statistic dropout_variance = {
    .name = "dropout-var",
    .kind = ALEAT_ESTIMATOR_DROPOUT,
    .description = "variance of the predicted noise over passes with dropout, unbiased",
    .reduce = unbiased_variance,
    .quantity = ALEAT_QUANTITY_EPS,
    .noise_power = 2};

static const aleat_statistic bayes_variance = {
    .name = "bayes-var",
    .kind = ALEAT_ESTIMATOR_BAYESDIFF,
    .description = "variance of the image under the posterior of the last layer, by BayesDiff",
    .signal_power = 2};

static const struct {
    const char *name, *help;
    const aleat_statistic *statistic; // of its own
} kinds[ALEAT_ESTIMATOR_COUNT] = {
    [ALEAT_ESTIMATOR_COPIES] = {"copies", "x0 noised anew and predicted again: Algorithm 1", NULL},
    [ALEAT_ESTIMATOR_DROPOUT] = {"mc-dropout", "passes with dropout at the unchanged state",
                                 &dropout_variance},
    [ALEAT_ESTIMATOR_GENERATIVE] = {"generative",
                                    "images by drawn last layers: entropy of their "
                                    "features",
                                    NULL},
    [ALEAT_ESTIMATOR_BAYESDIFF] = {"bayesdiff",
                                   "BayesDiff: a posterior over the last layer, "
                                   "carried along the steps",
                                   &bayes_variance},
};

const char *aleat_estimator_name(int i, const char **help)
{
    return ALEAT_NAME_AT(kinds, i, help);
}

const aleat_statistic *aleat_map_statistic(const char *name)
{
    for (const aleat_statistic *s = table; s->name; s++)
        if (!strcmp(s->name, name))
            return s;
    for (int i = 0; i < ALEAT_ESTIMATOR_COUNT; i++)
        if (kinds[i].statistic && !strcmp(kinds[i].statistic->name, name))
            return kinds[i].statistic;
    return NULL;
}

const char *aleat_estimator_map(const char *estimator)
{
    for (int i = 0; i < ALEAT_ESTIMATOR_COUNT; i++)
        if (!estimator || strcmp(kinds[i].name, estimator) == 0) {
            if (i == ALEAT_ESTIMATOR_GENERATIVE)
                return ALEAT_GENERATIVE_SCORE;
            return kinds[i].statistic ? kinds[i].statistic->name : table[0].name;
        }
    return NULL;
}

const aleat_statistic *aleat_estimator_statistic(aleat_estimator_kind kind)
{
    return kinds[kind].statistic;
}

static aleat_status fail_unknown(const char *name, size_t length, aleat_error *err)
{
    char all[ALEAT_ESTIMATORS_TEXT];
    aleat_estimators_text(all, ALEAT_ESTIMATOR_BIT(ALEAT_ESTIMATOR_COUNT) - 1);
    (void)aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no estimator '%.*s'", (int)length, name);
    aleat_hint(err, "there are %s", all);
    return ALEAT_ERR_ARGUMENT;
}

aleat_status aleat_estimators_parse(unsigned *set, const char *names, aleat_error *err)
{
    *set = 0;
    for (const char *at = names ? names : kinds[0].name; at;) {
        const size_t length = strcspn(at, ",");
        int k = 0;
        while (k < ALEAT_ESTIMATOR_COUNT &&
               (strlen(kinds[k].name) != length || strncmp(kinds[k].name, at, length) != 0))
            k++;
        if (k == ALEAT_ESTIMATOR_COUNT)
            return fail_unknown(at, length, err);
        *set |= ALEAT_ESTIMATOR_BIT(k);
        at = at[length] ? at + length + 1 : NULL;
    }
    return ALEAT_OK;
}

void aleat_estimators_text(char *text, unsigned set)
{
    size_t used = 0;
    text[0] = 0;
    for (int k = 0; k < ALEAT_ESTIMATOR_COUNT; k++)
        if (set & ALEAT_ESTIMATOR_BIT(k))
            used += (size_t)snprintf(text + used, ALEAT_ESTIMATORS_TEXT - used, "%s%s",
                                     used ? "," : "", kinds[k].name);
}

bool aleat_estimator_is_local(const char *names)
{
    unsigned set;
    return aleat_estimators_parse(&set, names, NULL) || // which is for others to tell
           !(set & (ALEAT_ESTIMATOR_BIT(ALEAT_ESTIMATOR_GENERATIVE) |
                    ALEAT_ESTIMATOR_BIT(ALEAT_ESTIMATOR_BAYESDIFF)));
}

const aleat_statistic *aleat_statistics(void)
{
    return table;
}

const aleat_statistic *aleat_statistic_find(const char *name)
{
    for (const aleat_statistic *s = table; s->name; s++)
        if (!strcmp(s->name, name) || (s->alias && !strcmp(s->alias, name)))
            return s;
    return NULL;
}

// Welford's running mean and sum of squared deviations, in double: no cancellation where maps are
// small, and no dependence on how the copies are cut into network calls.
typedef struct moments {
    double *mean, *squares; // [max_n, count]
} moments;

#define N_COPY_KINDS (ALEAT_COPY_DROPPED + 1)

struct aleat_estimator {
    aleat_estimator_options options;
    int n_statistics;
    int64_t max_n;
    aleat_copies copies;
    moments moments[N_COPY_KINDS][ALEAT_QUANTITY_COUNT]; // NULL arrays: not followed
    int64_t nfe;
};

// What is evaluated for a statistic.
static aleat_copy_kind copies_of(const aleat_statistic *s)
{
    return s->kind == ALEAT_ESTIMATOR_DROPOUT ? ALEAT_COPY_DROPPED : ALEAT_COPY_RENOISED;
}

bool aleat_estimator_has(const aleat_estimator_options *options, aleat_estimator_kind kind)
{
    for (int k = 0; k < ALEAT_MAX_STATISTICS && options->statistics[k]; k++)
        if (options->statistics[k]->kind == kind)
            return true;
    return false;
}

int64_t aleat_estimator_rows(const aleat_estimator_options *options)
{
    int64_t rows = 0;
    for (int kind = 0; kind < ALEAT_ESTIMATOR_COUNT; kind++)
        if (aleat_estimator_has(options, (aleat_estimator_kind)kind))
            rows += options->copies;
    return rows;
}

static aleat_status make_moments(aleat_estimator *e, aleat_error *err)
{
    const size_t elements = (size_t)e->max_n * (size_t)e->copies.count; // copies_init checked more
    for (int k = 0; k < e->n_statistics; k++) {
        const aleat_statistic *s = e->options.statistics[k];
        moments *m = &e->moments[copies_of(s)][s->quantity];
        if (m->mean)
            continue;
        m->mean = aleat_calloc(elements, sizeof(double));
        m->squares = aleat_calloc(elements, sizeof(double));
        if (!m->mean || !m->squares)
            return aleat_fail_memory(err, "maps of uncertainty");
    }
    return ALEAT_OK;
}

aleat_status aleat_estimator_suits(const aleat_estimator_options *options,
                                   const aleat_denoiser_info *network, aleat_error *err)
{
    if (!aleat_estimator_has(options, ALEAT_ESTIMATOR_DROPOUT))
        return ALEAT_OK;
    if (options->copies > ALEAT_MAX_PASSES)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%d passes with dropout, at most %d are possible", options->copies,
                          ALEAT_MAX_PASSES);
    if (network->dropout > 0)
        return ALEAT_OK;
    (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                     "this network has no dropout, so passes with it would all be the same");
    aleat_hint(err, "U-Nets that were trained without it take a probability: --dropout P");
    return ALEAT_ERR_UNSUPPORTED;
}

aleat_status aleat_estimator_new(aleat_estimator **out, const aleat_denoiser *denoiser,
                                 aleat_prediction prediction,
                                 const aleat_estimator_options *options, int64_t max_n,
                                 int64_t height, int64_t width, aleat_error *err)
{
    *out = NULL;
    aleat_estimator *e = aleat_calloc(1, sizeof *e);
    if (!e)
        return aleat_fail_memory(err, "estimator");
    aleat_status st;
    e->options = *options;
    e->max_n = max_n;
    while (e->n_statistics < ALEAT_MAX_STATISTICS && options->statistics[e->n_statistics])
        e->n_statistics++;
    int64_t rows, elements;
    st = aleat_estimator_suits(options, &denoiser->info, err);
    if (st)
        goto done;
    if (e->n_statistics == 0 || max_n < 1 ||
        __builtin_mul_overflow(max_n, (int64_t)options->copies, &rows) ||
        __builtin_mul_overflow(max_n, denoiser->info.channels * height * width, &elements)) {
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT, "an estimator needs a statistic and an image");
        goto done;
    }
    if (options->max_rows > 0 && rows > options->max_rows)
        rows = options->max_rows;
    st = aleat_copies_init(&e->copies, denoiser, prediction, options->copies, rows, height, width,
                           err);
    if (!st)
        st = make_moments(e, err);
    if (st)
        goto done;
    *out = e;
    e = NULL;
done:
    aleat_estimator_free(e);
    return st;
}

void aleat_estimator_free(aleat_estimator *e)
{
    if (!e)
        return;
    for (int kind = 0; kind < N_COPY_KINDS; kind++)
        for (int q = 0; q < ALEAT_QUANTITY_COUNT; q++) {
            aleat_free(e->moments[kind][q].mean);
            aleat_free(e->moments[kind][q].squares);
        }
    aleat_copies_clear(&e->copies);
    aleat_free(e);
}

int aleat_estimator_count(const aleat_estimator *e)
{
    return e->n_statistics;
}

int64_t aleat_estimator_nfe(const aleat_estimator *e)
{
    return e->nfe;
}

static double quantity_of(aleat_quantity q, double z, double eps, double output)
{
    switch (q) {
    case ALEAT_QUANTITY_EPS: return eps;
    case ALEAT_QUANTITY_RESIDUAL: return z - eps;
    case ALEAT_QUANTITY_PRODUCT: return z * (z - eps);
    case ALEAT_QUANTITY_OUTPUT: return output;
    case ALEAT_QUANTITY_COUNT: break;
    }
    return NAN;
}

// Copy number `copy` of an image joins its running moments.
static void follow(const moments *m, aleat_quantity q, int64_t at, int copy, const float *z,
                   const float *eps, const float *output, int64_t count)
{
    double *mean = m->mean + at, *squares = m->squares + at;
    for (int64_t j = 0; j < count; j++) {
        const double value = quantity_of(q, (double)z[j], (double)eps[j], (double)output[j]);
        if (copy == 0) {
            mean[j] = value;
            squares[j] = 0;
            continue;
        }
        const double d = value - mean[j];
        mean[j] += d / (copy + 1);
        squares[j] += d * (value - mean[j]);
    }
}

void aleat_estimator_follow(aleat_estimator *e, const aleat_copies *c, int64_t begin, int64_t rows)
{
    const moments *m = e->moments[c->kind];
    for (int64_t r = 0; r < rows; r++)
        for (int q = 0; q < ALEAT_QUANTITY_COUNT; q++)
            if (m[q].mean)
                follow(&m[q], (aleat_quantity)q, (begin + r) / c->per_image * c->count,
                       (int)((begin + r) % c->per_image), c->z + r * c->count,
                       c->eps + r * c->count, c->raw + r * c->out_count, c->count);
}

static void finish(const aleat_estimator *e, const aleat_noisy_state *state,
                   const aleat_statistic *s, int64_t begin, int64_t end, float *map)
{
    const moments *m = &e->moments[copies_of(s)][s->quantity];
    double scale = pow(state->sigma / state->alpha, s->signal_power);
    if (e->options.score_units)
        scale /= pow(state->sigma, s->noise_power);
    for (int64_t j = begin; j < end; j++)
        map[j] = (float)(scale * s->reduce(m->mean[j], m->squares[j], e->options.copies,
                                           (double)state->eps[j]));
}

void aleat_estimator_finish(const aleat_estimator *e, const aleat_noisy_state *state, int64_t first,
                            int64_t images, float *const *maps)
{
    const int64_t count = e->copies.count;
    for (int k = 0; k < e->n_statistics; k++)
        finish(e, state, e->options.statistics[k], first * count, (first + images) * count,
               maps[k]);
}

aleat_status aleat_estimator_check(const aleat_estimator *e, const aleat_noisy_state *state,
                                   aleat_error *err)
{
    if (state->n < 1 || state->n > e->max_n)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "a batch of %lld images, the estimator holds %lld", (long long)state->n,
                          (long long)e->max_n);
    for (int k = 0; k < e->n_statistics; k++)
        if (state->alpha == 0 && e->options.statistics[k]->signal_power)
            return aleat_fail(err, ALEAT_ERR_NUMERIC,
                              "%s has no value where the state has no signal (step %u)",
                              e->options.statistics[k]->name, state->step);
    return ALEAT_OK;
}

// All copies of one kind, into their moments.
static aleat_status evaluate(aleat_estimator *e, aleat_copy_kind kind,
                             const aleat_noisy_state *state, const aleat_noise_source *noise,
                             aleat_error *err)
{
    aleat_copies *c = &e->copies;
    aleat_status st = ALEAT_OK;
    c->kind = kind;
    const int64_t all = state->n * c->per_image;
    for (int64_t begin = 0; !st && begin < all; begin += c->max_rows) {
        const int64_t rows = all - begin < c->max_rows ? all - begin : c->max_rows;
        st = aleat_copies_make(c, state, e->options.clip, noise, begin, rows, err);
        if (!st)
            st = aleat_copies_evaluate(c, state, rows, false, err);
        if (!st)
            aleat_estimator_follow(e, c, begin, rows);
    }
    return st;
}

aleat_status aleat_estimator_run(aleat_estimator *e, const aleat_noisy_state *state,
                                 const aleat_noise_source *noise, float *const *maps,
                                 aleat_error *err)
{
    aleat_status st = aleat_estimator_check(e, state, err);
    if (!st && aleat_estimator_has(&e->options, ALEAT_ESTIMATOR_COPIES))
        st = evaluate(e, ALEAT_COPY_RENOISED, state, noise, err);
    if (!st && aleat_estimator_has(&e->options, ALEAT_ESTIMATOR_DROPOUT))
        st = evaluate(e, ALEAT_COPY_DROPPED, state, noise, err);
    if (st)
        return st;
    e->nfe += aleat_estimator_rows(&e->options) * (1 + e->copies.denoiser->info.extra_evaluations);
    aleat_estimator_finish(e, state, 0, state->n, maps);
    return ALEAT_OK;
}
