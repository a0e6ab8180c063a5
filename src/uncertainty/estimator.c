#include "uncertainty/estimator.h"

#include <math.h>
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
     unbiased_variance, ALEAT_QUANTITY_EPS, 2, 0, false, true},
    {"eps-var0", "var0", "variance of the predicted noise, divided by M", biased_variance,
     ALEAT_QUANTITY_EPS, 2, 0, false, true},
    {"eps-std", "std", "standard deviation of the predicted noise", deviation, ALEAT_QUANTITY_EPS,
     1, 0, false, true},
    {"eps-mse", "mse", "mean squared distance from the sampler's own prediction: the paper's code",
     squared_distance, ALEAT_QUANTITY_EPS, 2, 0, false, true},
    {"eps-square", "square", "mean square of the predicted noise", second_moment,
     ALEAT_QUANTITY_EPS, 2, 0, false, true},
    {"x0-var", NULL, "variance of the predicted x0, unbiased", unbiased_variance,
     ALEAT_QUANTITY_RESIDUAL, 0, 2, false, false},
    {"post-var", NULL, "posterior variance of x0, in squared units of x0: mean of z (z - eps)",
     average, ALEAT_QUANTITY_PRODUCT, 0, 2, false, false},
    {"post-var-se", NULL, "standard error of post-var over the copies", standard_error,
     ALEAT_QUANTITY_PRODUCT, 0, 2, true, false},
    {"v-var", NULL, "variance of the network's own output, unbiased: of a flow model's velocity",
     unbiased_variance, ALEAT_QUANTITY_OUTPUT, 0, 0, false, true},
    {0},
};

static const aleat_statistic dropout_variance = {
    .name = "dropout-var",
    .description = "variance of the predicted noise over passes with dropout, unbiased",
    .reduce = unbiased_variance,
    .quantity = ALEAT_QUANTITY_EPS,
    .noise_power = 2};

static const aleat_statistic bayes_variance = {
    .name = "bayes-var",
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

bool aleat_estimator_is_local(const char *name)
{
    return !name || (strcmp(name, kinds[ALEAT_ESTIMATOR_GENERATIVE].name) != 0 &&
                     strcmp(name, kinds[ALEAT_ESTIMATOR_BAYESDIFF].name) != 0);
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

struct aleat_estimator {
    aleat_estimator_options options;
    int n_statistics;
    int64_t max_n;
    aleat_copies copies;
    moments moments[ALEAT_QUANTITY_COUNT]; // NULL arrays: not followed
    int64_t nfe;
};

static aleat_status make_moments(aleat_estimator *e, aleat_error *err)
{
    const size_t elements = (size_t)e->max_n * (size_t)e->copies.count; // copies_init checked more
    for (int k = 0; k < e->n_statistics; k++) {
        moments *m = &e->moments[e->options.statistics[k]->quantity];
        if (m->mean)
            continue;
        m->mean = aleat_calloc(elements, sizeof(double));
        m->squares = aleat_calloc(elements, sizeof(double));
        if (!m->mean || !m->squares)
            return aleat_fail_memory(err, "maps of uncertainty");
    }
    return ALEAT_OK;
}

static aleat_status check_dropout(const aleat_denoiser *denoiser,
                                  const aleat_estimator_options *options, aleat_error *err)
{
    if (options->copies > ALEAT_MAX_PASSES)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%d passes with dropout, at most %d are possible", options->copies,
                          ALEAT_MAX_PASSES);
    if (denoiser->info.dropout > 0)
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
    st =
        options->kind == ALEAT_ESTIMATOR_DROPOUT ? check_dropout(denoiser, options, err) : ALEAT_OK;
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
    if (options->kind == ALEAT_ESTIMATOR_DROPOUT)
        e->copies.kind = ALEAT_COPY_DROPPED;
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
    for (int q = 0; q < ALEAT_QUANTITY_COUNT; q++) {
        aleat_free(e->moments[q].mean);
        aleat_free(e->moments[q].squares);
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
    for (int64_t r = 0; r < rows; r++)
        for (int q = 0; q < ALEAT_QUANTITY_COUNT; q++)
            if (e->moments[q].mean)
                follow(&e->moments[q], (aleat_quantity)q, (begin + r) / c->per_image * c->count,
                       (int)((begin + r) % c->per_image), c->z + r * c->count,
                       c->eps + r * c->count, c->raw + r * c->out_count, c->count);
}

static void finish(const aleat_estimator *e, const aleat_noisy_state *state,
                   const aleat_statistic *s, int64_t begin, int64_t end, float *map)
{
    const moments *m = &e->moments[s->quantity];
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

aleat_status aleat_estimator_run(aleat_estimator *e, const aleat_noisy_state *state,
                                 const aleat_noise_source *noise, float *const *maps,
                                 aleat_error *err)
{
    aleat_copies *c = &e->copies;
    aleat_status st = aleat_estimator_check(e, state, err);
    const int64_t all = state->n * c->per_image;
    for (int64_t begin = 0; !st && begin < all; begin += c->max_rows) {
        const int64_t rows = all - begin < c->max_rows ? all - begin : c->max_rows;
        st = aleat_copies_make(c, state, e->options.clip, noise, begin, rows, err);
        if (!st)
            st = aleat_copies_evaluate(c, state, rows, false, err);
        if (!st)
            aleat_estimator_follow(e, c, begin, rows);
    }
    if (st)
        return st;
    e->nfe += c->per_image * (1 + c->denoiser->info.extra_evaluations);
    aleat_estimator_finish(e, state, 0, state->n, maps);
    return ALEAT_OK;
}
