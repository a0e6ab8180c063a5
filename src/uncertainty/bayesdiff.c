#include "uncertainty/bayesdiff.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "denoiser/condition.h"
#include "samplers/prediction.h"

// States drawn for the covariance that are evaluated at once.
#define MOST_ROWS 64

// Draws of one evaluation, told apart by the key's copy.
enum { DRAW_EPS = 0, DRAW_STATE = 1, DRAW_HALF = 2, DRAWS_OF_STATE = 2 };

// x' = state x + first e_s + eps e + noise z of an outer step, e its last prediction; of the two
// stages of a step, half_state x + half_eps e_s is where e is made. The midpoint in log SNR has
// first = 0.
typedef struct outer_step {
    double state, first, eps, noise_variance;
    double half_state, half_eps;
    int stages;
} outer_step;

struct aleat_bayesdiff {
    aleat_bayesdiff_options options;
    const aleat_sampling_plan *plan;
    const aleat_denoiser *denoiser;
    aleat_denoiser tap;
    aleat_noise_source noise;
    outer_step *steps; // [n_outer]
    int64_t max_n, count, out_count, n_features;
    float *features;         // [max_n, n_features] of the sampler's last evaluation
    double *mean, *variance; // [max_n, count]: E, V of the state
    // [max_n, count], of first e_s + eps e: mean over drawn states, covariance with the state;
    // value and variance at the sampler's own state
    double *mix_mean, *cov, *mix, *mix_variance;
    float *gamma;     // [out_count] of one image
    float *shift, *z; // [out_count], [count]
    // states drawn for the covariance
    float *x, *raw, *t, *row_features; // [MOST_ROWS, ...]
    double *deviation, *row_mix;       // [MOST_ROWS, count]: x - E; first e_s + eps e
    aleat_condition_rows conditions;
    int64_t nfe;
};

/* ---- the plan's steps ------------------------------------------------------------------------ */

// x0 in terms of state and eps.
static void add_stage(const aleat_sampling_step *s, int age, const aleat_sampling_step *at,
                      double *state, double *eps)
{
    const double x0 = s->c_x0[age];
    *state += x0 != 0 ? x0 / at->alpha : 0;
    *eps += s->c_eps[age] - (x0 != 0 ? x0 * at->sigma / at->alpha : 0);
}

static bool looks_back(const aleat_sampling_step *s, int stages)
{
    for (int j = stages; j < ALEAT_PLAN_HISTORY; j++)
        if (s->c_x0[j] != 0 || s->c_eps[j] != 0)
            return true;
    return false;
}

static bool read_step(const aleat_sampling_step *s, int stages, outer_step *out)
{
    *out = (outer_step){.stages = stages};
    if (stages > 2 || looks_back(&s[0], 1) || looks_back(&s[stages - 1], stages) ||
        (s[0].c_base != 0 && !s[0].sets_base))
        return false;
    double state = s[0].c_x + s[0].c_base, eps = 0;
    add_stage(&s[0], 0, &s[0], &state, &eps);
    const aleat_sampling_step *last = &s[stages - 1];
    out->noise_variance = last->c_noise * last->c_noise;
    if (stages == 1) {
        out->state = state;
        out->eps = eps;
        return isfinite(state) && isfinite(eps) && !(last->learned && last->c_noise != 0);
    }
    out->half_state = state;
    out->half_eps = eps;
    if (s[0].c_noise != 0 || last->learned || (last->c_base != 0 && last->sets_base))
        return false;
    double at_half = last->c_x;
    out->state = last->c_base;
    add_stage(last, 0, last, &at_half, &out->eps);
    add_stage(last, 1, &s[0], &out->state, &out->first);
    out->state += at_half * state;
    out->first += at_half * eps;
    return isfinite(out->state) && isfinite(out->first) && isfinite(out->eps);
}

static aleat_status read_plan(aleat_bayesdiff *b, aleat_error *err)
{
    const aleat_sampling_plan *plan = b->plan;
    bool ok = !aleat_clip_active(&plan->clip) && !plan->eps_from_clipped;
    b->steps = aleat_calloc((size_t)plan->n_outer, sizeof *b->steps);
    if (!b->steps)
        return aleat_fail_memory(err, "the steps of BayesDiff");
    for (int k = 0, outer = 0; ok && k < plan->n_steps; outer++) {
        int stages = 1;
        while (k + stages < plan->n_steps && plan->steps[k + stages].outer == outer)
            stages++;
        ok = plan->steps[k].outer == outer && read_step(&plan->steps[k], stages, &b->steps[outer]);
        k += stages;
    }
    if (ok)
        return ALEAT_OK;
    (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                     "BayesDiff does not know how the steps of %s carry a variance",
                     plan->kind->name);
    aleat_hint(err, "ddim, ddpm, euler and dpm-solver-2 are known, without clipping");
    return ALEAT_ERR_UNSUPPORTED;
}

/* ---- making ---------------------------------------------------------------------------------- */

static aleat_status tap_predict(void *self, const aleat_batch *in, float *out, aleat_error *err)
{
    const aleat_bayesdiff *b = self;
    return b->denoiser->ops->features(b->denoiser->self, in, b->features, out, err);
}

static const aleat_denoiser_ops tap_ops = {.predict = tap_predict};

static aleat_status make_arrays(aleat_bayesdiff *b, aleat_error *err)
{
    const struct {
        void *to;
        int64_t rows, elements;
        size_t size;
    } arrays[] = {
        {&b->features, b->max_n, b->n_features, sizeof(float)},
        {&b->mean, b->max_n, b->count, sizeof(double)},
        {&b->variance, b->max_n, b->count, sizeof(double)},
        {&b->mix_mean, b->max_n, b->count, sizeof(double)},
        {&b->cov, b->max_n, b->count, sizeof(double)},
        {&b->mix, b->max_n, b->count, sizeof(double)},
        {&b->mix_variance, b->max_n, b->count, sizeof(double)},
        {&b->gamma, 1, b->out_count, sizeof(float)},
        {&b->shift, 1, b->out_count, sizeof(float)},
        {&b->z, 1, b->count, sizeof(float)},
        {&b->x, MOST_ROWS, b->count, sizeof(float)},
        {&b->raw, MOST_ROWS, b->out_count, sizeof(float)},
        {&b->t, MOST_ROWS, 1, sizeof(float)},
        {&b->row_features, MOST_ROWS, b->n_features, sizeof(float)},
        {&b->deviation, MOST_ROWS, b->count, sizeof(double)},
        {&b->row_mix, MOST_ROWS, b->count, sizeof(double)},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        size_t elements;
        void *made = NULL;
        if (aleat_size_mul((size_t)arrays[i].rows, (size_t)arrays[i].elements, &elements))
            made = aleat_calloc(elements, arrays[i].size);
        if (!made)
            return aleat_fail_memory(err, "BayesDiff");
        memcpy(arrays[i].to, &made, sizeof made);
    }
    return aleat_condition_rows_reserve(&b->conditions, MOST_ROWS, err);
}

aleat_status aleat_bayesdiff_new(aleat_bayesdiff **out, const aleat_sampling_plan *plan,
                                 const aleat_denoiser *denoiser,
                                 const aleat_bayesdiff_options *options, int64_t max_n,
                                 int64_t height, int64_t width, aleat_error *err)
{
    *out = NULL;
    aleat_status st;
    aleat_bayesdiff *b = aleat_calloc(1, sizeof *b);
    if (!b)
        return aleat_fail_memory(err, "BayesDiff");
    b->options = *options;
    b->plan = plan;
    b->denoiser = denoiser;
    b->max_n = max_n;
    b->count = denoiser->info.channels * height * width;
    b->out_count = denoiser->info.out_channels * height * width;
    b->n_features = denoiser->info.features;
    b->tap = (aleat_denoiser){.ops = &tap_ops, .self = b, .info = denoiser->info};
    if (!denoiser->ops->features)
        st = aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                        "this network does not end in a convolution or linear layer");
    else if (options->every < 1 || options->samples < 2 || options->samples > 1 << 20 ||
             options->draws < 0 || options->draws == 1 || options->draws >= 1 << 24)
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT,
                        "every %d steps, %d states, %d weights: at least 1, 2 and 2 (or 0)",
                        options->every, options->samples, options->draws);
    else if (aleat_posterior_outputs(options->posterior) != b->out_count ||
             aleat_posterior_features(options->posterior) != b->n_features)
        st = aleat_fail(err, ALEAT_ERR_SHAPE, "the posterior is of another network");
    else
        st = read_plan(b, err);
    if (!st)
        st = make_arrays(b, err);
    if (st)
        aleat_bayesdiff_free(b);
    else
        *out = b;
    return st;
}

void aleat_bayesdiff_free(aleat_bayesdiff *b)
{
    if (!b)
        return;
    void *const arrays[] = {
        b->steps,        b->features,  b->mean,   b->variance, b->mix_mean, b->cov, b->mix,
        b->mix_variance, b->gamma,     b->shift,  b->z,        b->x,        b->raw, b->t,
        b->row_features, b->deviation, b->row_mix};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        aleat_free(arrays[i]);
    aleat_condition_rows_clear(&b->conditions);
    aleat_free(b);
}

const aleat_denoiser *aleat_bayesdiff_tap(const aleat_bayesdiff *b)
{
    return &b->tap;
}

void aleat_bayesdiff_begin(aleat_bayesdiff *b, aleat_noise_source noise)
{
    b->noise = noise;
}

int64_t aleat_bayesdiff_nfe(const aleat_bayesdiff *b)
{
    return b->nfe;
}

/* ---- draws ----------------------------------------------------------------------------------- */

static aleat_rng_key key_of(const aleat_evaluation *e, int64_t i, int copy)
{
    return (aleat_rng_key){.image = e->images[i],
                           .step = (uint32_t)e->index,
                           .copy = (uint32_t)copy,
                           .purpose = ALEAT_FOR_POSTERIOR};
}

// b->z = the normals of a draw.
static aleat_status draw(const aleat_bayesdiff *b, const aleat_evaluation *e, int64_t i, int copy,
                         aleat_error *err)
{
    const aleat_rng_key key = key_of(e, i, copy);
    return aleat_noise_fill(&b->noise, &key, b->z, b->count, err);
}

// b->gamma = the variance of the raw output for these features, b->shift the mean of what drawn
// weights add to it. `number` tells the evaluations of one image and step apart.
static aleat_status find_gamma(const aleat_bayesdiff *b, const aleat_evaluation *e, int64_t i,
                               int number, const float *features, aleat_error *err)
{
    if (b->options.draws == 0) {
        memset(b->shift, 0, (size_t)b->out_count * sizeof *b->shift);
        aleat_posterior_variance(b->options.posterior, 1, features, b->gamma);
        return ALEAT_OK;
    }
    aleat_rng_key key = key_of(e, i, 0);
    key.purpose = ALEAT_FOR_WEIGHTS;
    // the posterior draws copies 0 .. draws - 1 under a seed of this evaluation's own
    const aleat_rng_key mine = {.seed = b->noise.seed,
                                .image = e->images[i],
                                .step = (uint32_t)e->index,
                                .copy = (uint32_t)number,
                                .purpose = ALEAT_FOR_WEIGHTS};
    key.seed = aleat_rng_bits(&mine, 0);
    return aleat_posterior_sample(b->options.posterior, &key, b->options.draws, features, b->shift,
                                  b->gamma, err);
}

/* ---- covariance of state and prediction ------------------------------------------------------ */

// eps of rows of b->x at a step; raw is there.
static void rows_to_eps(const aleat_bayesdiff *b, const aleat_sampling_step *at, int64_t rows)
{
    for (int64_t r = 0; r < rows; r++)
        aleat_predict(b->plan->prediction, at->alpha, at->sigma, b->x + r * b->count,
                      b->raw + r * b->out_count, b->raw + r * b->out_count, NULL, b->count);
}

static aleat_status evaluate_rows(aleat_bayesdiff *b, const aleat_evaluation *e, int64_t i,
                                  const aleat_sampling_step *at, bool featured, int64_t rows,
                                  aleat_error *err)
{
    const aleat_time_map map = b->options.time_map;
    for (int64_t r = 0; r < rows; r++) {
        b->t[r] = (float)(map.scale * at->t + map.offset);
        aleat_condition_rows_set(&b->conditions, r, &e->condition, i);
    }
    const aleat_batch batch = {.n = rows,
                               .height = e->height,
                               .width = e->width,
                               .x = b->x,
                               .t = b->t,
                               .condition =
                                   aleat_condition_rows_view(&b->conditions, &e->condition)};
    const aleat_denoiser *d = b->denoiser;
    return featured ? d->ops->features(d->self, &batch, b->row_features, b->raw, err)
                    : aleat_denoiser_predict(d, &batch, b->raw, err);
}

// Rows of b->x become drawn states half a step on: N(half_state x + half_eps mu, half_eps^2
// gamma^2).
static aleat_status go_half(aleat_bayesdiff *b, const aleat_evaluation *e, int64_t i,
                            const outer_step *s, int first, int64_t rows, aleat_error *err)
{
    const double scale =
        aleat_eps_weights_of(b->plan->prediction, e->step->alpha, e->step->sigma).raw;
    for (int64_t r = 0; r < rows; r++) {
        const int number = first + (int)r;
        aleat_status st = find_gamma(b, e, i, 1 + number, b->row_features + r * b->n_features, err);
        if (!st)
            st = draw(b, e, i, DRAW_HALF + DRAWS_OF_STATE * number, err);
        if (st)
            return st;
        float *x = b->x + r * b->count;
        const float *mu = b->raw + r * b->out_count; // eps by now
        for (int64_t j = 0; j < b->count; j++) {
            const double eps = (double)mu[j] + scale * (double)b->shift[j] +
                               fabs(scale) * sqrt((double)b->gamma[j]) * (double)b->z[j];
            x[j] = (float)(s->half_state * (double)x[j] + s->half_eps * eps);
            b->row_mix[r * b->count + j] = s->first * eps;
        }
    }
    return ALEAT_OK;
}

// Draws states from N(E, V), and predicts from them what moves the step: b->row_mix.
static aleat_status predict_rows(aleat_bayesdiff *b, const aleat_evaluation *e, int64_t i,
                                 const outer_step *s, int first, int64_t rows, aleat_error *err)
{
    const double *mean = b->mean + i * b->count, *variance = b->variance + i * b->count;
    for (int64_t r = 0; r < rows; r++) {
        const aleat_status st = draw(b, e, i, DRAW_STATE + DRAWS_OF_STATE * (first + (int)r), err);
        if (st)
            return st;
        for (int64_t j = 0; j < b->count; j++) {
            const double d = sqrt(variance[j]) * (double)b->z[j];
            b->deviation[r * b->count + j] = d;
            b->row_mix[r * b->count + j] = 0;
            b->x[r * b->count + j] = (float)(mean[j] + d);
        }
    }
    aleat_status st = evaluate_rows(b, e, i, e->step, s->stages == 2, rows, err);
    if (st)
        return st;
    rows_to_eps(b, e->step, rows);
    if (s->stages == 2) {
        st = go_half(b, e, i, s, first, rows, err);
        if (!st)
            st = evaluate_rows(b, e, i, e->step + 1, false, rows, err);
        if (st)
            return st;
        rows_to_eps(b, e->step + 1, rows);
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < b->count; j++)
            b->row_mix[r * b->count + j] += s->eps * (double)b->raw[r * b->out_count + j];
    return ALEAT_OK;
}

// Means over m states of what moves the step, and of it times the state's deviation: the covariance
// without the difference of two large means.
static aleat_status find_covariance(aleat_bayesdiff *b, const aleat_evaluation *e, int64_t i,
                                    const outer_step *s, aleat_error *err)
{
    const int m = b->options.samples;
    double *mean = b->mix_mean + i * b->count, *cov = b->cov + i * b->count;
    memset(mean, 0, (size_t)b->count * sizeof *mean);
    memset(cov, 0, (size_t)b->count * sizeof *cov);
    for (int first = 0; first < m; first += MOST_ROWS) {
        const int64_t rows = m - first < MOST_ROWS ? m - first : MOST_ROWS;
        const aleat_status st = predict_rows(b, e, i, s, first, rows, err);
        if (st)
            return st;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t j = 0; j < b->count; j++) {
                const double mix = b->row_mix[r * b->count + j];
                mean[j] += mix / m;
                cov[j] += b->deviation[r * b->count + j] * mix / m;
            }
    }
    return ALEAT_OK;
}

/* ---- steps ----------------------------------------------------------------------------------- */

// What an evaluation at the sampler's own state adds to the step, and its variance. gamma: of the
// raw output, or NULL between UQ steps.
static void mix(aleat_bayesdiff *b, const aleat_evaluation *e, int64_t i, double coefficient,
                const float *gamma, double scale)
{
    const int64_t at = i * b->count;
    for (int64_t j = 0; j < b->count; j++) {
        if (e->step->stage == 0)
            b->mix[at + j] = b->mix_variance[at + j] = 0;
        b->mix[at + j] += coefficient * (double)e->eps[at + j];
        if (gamma)
            b->mix_variance[at + j] += coefficient * coefficient * scale * scale * (double)gamma[j];
    }
}

// The state after the step: E', V'. `drawn`: by the means over drawn states.
static void carry(aleat_bayesdiff *b, int64_t i, const outer_step *s, bool drawn)
{
    const double r = s->state;
    for (int64_t j = i * b->count; j < (i + 1) * b->count; j++) {
        const double cov = drawn ? b->cov[j] : 0;
        const double v =
            r * r * b->variance[j] + 2 * r * cov + b->mix_variance[j] + s->noise_variance;
        b->mean[j] = r * b->mean[j] + (drawn ? b->mix_mean[j] : b->mix[j]);
        // an estimated covariance may outweigh what it is a part of
        b->variance[j] = v > 0 ? v : 0;
    }
}

// eps becomes a draw from N(mu, gamma^2).
static aleat_status draw_eps(aleat_bayesdiff *b, aleat_evaluation *e, int64_t i, double scale,
                             aleat_error *err)
{
    const aleat_status st = draw(b, e, i, DRAW_EPS, err);
    for (int64_t j = 0; !st && j < b->count; j++) {
        if (b->gamma[j] == 0 && b->shift[j] == 0)
            continue;
        float *eps = &e->eps[i * b->count + j];
        *eps = (float)((double)*eps + scale * (double)b->shift[j] +
                       fabs(scale) * sqrt((double)b->gamma[j]) * (double)b->z[j]);
        e->eps_changed = true;
    }
    return st;
}

static aleat_status step_image(aleat_bayesdiff *b, aleat_evaluation *e, int64_t i, bool uq,
                               aleat_error *err)
{
    const outer_step *s = &b->steps[e->step->outer];
    const bool last = e->step->stage == s->stages - 1;
    const bool drawn = uq && e->step->outer > 0; // x_T is what it is: no covariance
    const double scale =
        aleat_eps_weights_of(b->plan->prediction, e->step->alpha, e->step->sigma).raw;
    aleat_status st = ALEAT_OK;
    for (int64_t j = i * b->count; e->index == 0 && j < (i + 1) * b->count; j++) {
        b->mean[j] = (double)e->x[j];
        b->variance[j] = 0;
    }
    if (drawn && e->step->stage == 0)
        st = find_covariance(b, e, i, s, err);
    if (!st && uq)
        st = find_gamma(b, e, i, 0, b->features + i * b->n_features, err);
    if (st)
        return st;
    mix(b, e, i, last ? s->eps : s->first, uq ? b->gamma : NULL, scale);
    if (last)
        carry(b, i, s, drawn);
    return uq ? draw_eps(b, e, i, scale, err) : ALEAT_OK;
}

aleat_status aleat_bayesdiff_evaluated(aleat_bayesdiff *b, aleat_evaluation *e, aleat_error *err)
{
    const int outer = e->step->outer;
    const bool uq = outer % b->options.every == 0;
    for (int64_t i = 0; i < e->n; i++) {
        const aleat_status st = step_image(b, e, i, uq, err);
        if (st)
            return st;
    }
    if (uq && outer > 0 && e->step->stage == 0)
        b->nfe += (int64_t)b->options.samples * b->steps[outer].stages *
                  (1 + b->denoiser->info.extra_evaluations);
    return ALEAT_OK;
}

void aleat_bayesdiff_map(const aleat_bayesdiff *b, int64_t n, float *map)
{
    for (int64_t j = 0; j < n * b->count; j++)
        map[j] = (float)b->variance[j];
}
