#include "uncertainty/guidance.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/names.h"
#include "samplers/prediction.h"

// dU/de_i = weight (e_i - centre): the four statistics differ in these two only.
typedef enum centre { CENTRE_MEAN, CENTRE_E0, CENTRE_ZERO } centre;

static const struct {
    const char *name; // of the estimator's statistic
    centre centre;
    int less;    // U = sum of squares / (M - less)
    bool output; // of the network's output instead of the noise
} statistics[] = {
    [ALEAT_GUIDE_VAR1] = {"eps-var", CENTRE_MEAN, 1, false},
    [ALEAT_GUIDE_VAR0] = {"eps-var0", CENTRE_MEAN, 0, false},
    [ALEAT_GUIDE_MSE] = {"eps-mse", CENTRE_E0, 0, false},
    [ALEAT_GUIDE_SQUARE] = {"eps-square", CENTRE_ZERO, 0, false},
    [ALEAT_GUIDE_STD] = {"eps-std", CENTRE_MEAN, 1, false}, // the root of it
    [ALEAT_GUIDE_V] = {"v-var", CENTRE_MEAN, 1, true},
};
#define N_STATISTICS (sizeof statistics / sizeof *statistics)

static const struct {
    const char *name, *help;
} gradients[] = {
    [ALEAT_GRADIENT_VJP] = {"vjp", "exact, by reverse mode"},
    [ALEAT_GRADIENT_JVP] = {"jvp", "by forward mode, as if the Jacobian were symmetric"},
    [ALEAT_GRADIENT_FD] = {"fd-sym", "the same by central differences: evaluations only"},
};
#define N_GRADIENTS (sizeof gradients / sizeof *gradients)

static const struct {
    const char *name, *help;
} signs[] = {
    [ALEAT_GUIDE_UP] = {"+", "up, as in the paper"},
    [ALEAT_GUIDE_DOWN] = {"-", "down"},
    [ALEAT_GUIDE_RANDOM] = {"random", "moves of the same sizes, up or down by chance: a control"},
};

// Root mean square of the change of x that central differences make: the rounding of f32 is then
// some 1e-4 of a derivative of order 1, and so is the truncation, with the square of this.
#define DIFFERENCE 0x1p-7
// Below it the variance of the posterior's observations counts as this.
#define LEAST_VARIANCE 1e-8

struct aleat_guide {
    aleat_guide_options options;
    int64_t max_n, group; // images of the largest batch, of one network call
    aleat_copies copies;
    float *cotangent;          // [rows, out_count]
    float *pulled;             // [rows, count]: J^T w
    float *maps;               // [group, count]
    float *sum_gradient;       // [group, count]: d (sum of e) / dx; NULL unless asked for
    float *gradient, *scratch; // [count]
    float *signs;              // [count] of lambda, any size; NULL unless they are random
    int64_t nfe;
};

bool aleat_guide_statistic_of(aleat_guide_statistic *out, const aleat_statistic *statistic)
{
    for (size_t i = 0; i < N_STATISTICS; i++)
        if (strcmp(statistics[i].name, statistic->name) == 0) {
            *out = (aleat_guide_statistic)i;
            return true;
        }
    return false;
}

const char *aleat_gradient_name(int i, const char **help)
{
    return ALEAT_NAME_AT(gradients, i, help);
}

const char *aleat_guide_sign_name(int i, const char **help)
{
    return ALEAT_NAME_AT(signs, i, help);
}

aleat_guide_options aleat_guide_defaults(void)
{
    return (aleat_guide_options){.copies = 5, .percentile = 0.95, .strength = 1, .divisor = 1};
}

static bool needs_gradient(const aleat_guide_options *o)
{
    return o->update == ALEAT_UPDATE_GRADIENT || o->update == ALEAT_UPDATE_PRODUCT;
}

// Whether the evaluation of the copies is followed by backward().
static bool keeps(const aleat_guide_options *o)
{
    return needs_gradient(o) && o->gradient == ALEAT_GRADIENT_VJP;
}

static aleat_status check_derivatives(const aleat_guide_options *o, const aleat_denoiser_ops *ops,
                                      aleat_error *err)
{
    const bool reverse = o->gradient == ALEAT_GRADIENT_VJP || o->wrt == ALEAT_WRT_INPUT_AND_SUM;
    if (needs_gradient(o) && ((reverse && (!ops->forward_keep || !ops->backward)) ||
                              (o->gradient == ALEAT_GRADIENT_JVP && !ops->jvp)))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "guidance needs a derivative (%s), which this network does not have",
                          gradients[o->gradient].name);
    return ALEAT_OK;
}

static aleat_status check_options(const aleat_guide_options *o, const aleat_denoiser *denoiser,
                                  int64_t max_n, aleat_error *err)
{
    if (o->copies < 2 || max_n < 1 || !(o->percentile >= 0 && o->percentile <= 1) ||
        !(o->strength >= 0) || !(o->divisor > 0) || (size_t)o->statistic >= N_STATISTICS ||
        (size_t)o->gradient >= N_GRADIENTS)
        return aleat_fail(
            err, ALEAT_ERR_ARGUMENT,
            "guidance with %d copies, percentile %g, strength %g: at least 2, between "
            "0 and 1, and not negative are needed",
            o->copies, o->percentile, o->strength);
    return check_derivatives(o, denoiser->ops, err);
}

/*
 * Images of one network call: so many that what their gradient needs is kept and not computed a
 * second time. All copies of an image are in one call, since their mean is known only when all are
 * there.
 */
static aleat_status find_group(aleat_guide *g, const aleat_denoiser *denoiser, aleat_error *err)
{
    const aleat_denoiser_ops *ops = denoiser->ops;
    const aleat_guide_options *o = &g->options;
    int64_t limit = INT64_MAX;
    if (keeps(o) && ops->keep_limit) {
        const aleat_status st = ops->keep_limit(denoiser->self, &limit, err);
        if (st)
            return st;
    }
    if (o->max_rows > 0 && o->max_rows < limit)
        limit = o->max_rows;
    int64_t most = limit / o->copies;
    most = most < 1 ? 1 : most > g->max_n ? g->max_n : most;
    const int64_t groups = (g->max_n + most - 1) / most;
    g->group = (g->max_n + groups - 1) / groups; // equal ones
    return ALEAT_OK;
}

aleat_status aleat_guide_new(aleat_guide **out, const aleat_denoiser *denoiser,
                             aleat_prediction prediction, const aleat_guide_options *options,
                             int64_t max_n, int64_t height, int64_t width, aleat_error *err)
{
    *out = NULL;
    aleat_status st = check_options(options, denoiser, max_n, err);
    if (st)
        return st;
    aleat_guide *g = aleat_calloc(1, sizeof *g);
    if (!g)
        return aleat_fail_memory(err, "guidance");
    g->options = *options;
    g->max_n = max_n;
    st = find_group(g, denoiser, err);
    if (st)
        goto done;
    const int64_t rows = g->group * options->copies;
    st = aleat_copies_init(&g->copies, denoiser, prediction, options->copies, rows, height, width,
                           err);
    if (st)
        goto done;
    const size_t count = (size_t)g->copies.count;
    g->cotangent = aleat_calloc((size_t)rows * (size_t)g->copies.out_count, sizeof(float));
    g->pulled = aleat_calloc((size_t)rows * count, sizeof(float));
    g->maps = aleat_calloc((size_t)g->group * count, sizeof(float));
    g->gradient = aleat_calloc(count, sizeof(float));
    g->scratch = aleat_calloc(count, sizeof(float));
    const bool sum = options->wrt == ALEAT_WRT_INPUT_AND_SUM;
    const bool random = options->sign == ALEAT_GUIDE_RANDOM;
    g->sum_gradient = sum ? aleat_calloc((size_t)g->group * count, sizeof(float)) : NULL;
    g->signs = random ? aleat_calloc(count, sizeof(float)) : NULL;
    if (!g->cotangent || !g->pulled || !g->maps || !g->gradient || !g->scratch ||
        (sum && !g->sum_gradient) || (random && !g->signs)) {
        st = aleat_fail_memory(err, "guidance");
        goto done;
    }
    *out = g;
    g = NULL;
done:
    aleat_guide_free(g);
    return st;
}

void aleat_guide_free(aleat_guide *g)
{
    if (!g)
        return;
    aleat_copies_clear(&g->copies);
    aleat_free(g->cotangent);
    aleat_free(g->pulled);
    aleat_free(g->maps);
    aleat_free(g->sum_gradient);
    aleat_free(g->gradient);
    aleat_free(g->scratch);
    aleat_free(g->signs);
    aleat_free(g);
}

int64_t aleat_guide_nfe(const aleat_guide *g)
{
    return g->nfe;
}

static double mean_of(const float *e, int m, int64_t stride)
{
    double sum = 0;
    for (int i = 0; i < m; i++)
        sum += (double)e[i * stride];
    return sum / m;
}

static double centre_of(const aleat_guide *g, const float *e, double e0)
{
    switch (statistics[g->options.statistic].centre) {
    case CENTRE_MEAN: return mean_of(e, g->copies.per_image, g->copies.count);
    case CENTRE_E0: return e0;
    case CENTRE_ZERO: return 0;
    }
    return NAN;
}

// U of the image whose copies begin at row `row`, and w_i = dU/de_i, written over eps.
static void map_and_weights(aleat_guide *g, int64_t row, const float *e0, float *map)
{
    const int m = g->copies.per_image, less = statistics[g->options.statistic].less;
    const bool root = g->options.statistic == ALEAT_GUIDE_STD;
    const int64_t count = g->copies.count;
    for (int64_t j = 0; j < count; j++) {
        float *e = g->copies.eps + row * count + j;
        const double middle = centre_of(g, e, (double)e0[j]);
        double squares = 0;
        for (int i = 0; i < m; i++) {
            const double d = (double)e[i * count] - middle;
            squares += d * d;
        }
        const double variance = squares / (m - less), u = root ? sqrt(variance) : variance;
        // d sqrt(v) = dv / (2 sqrt(v)); copies that agree have no direction
        const double factor = (root ? (u > 0 ? 0.5 / u : 0) : 1) * 2 / (m - less);
        for (int i = 0; i < m; i++)
            e[i * count] = (float)(factor * ((double)e[i * count] - middle));
        map[j] = (float)u;
    }
}

static bool is_posterior(const aleat_guide_options *o)
{
    return o->update == ALEAT_UPDATE_POSTERIOR || o->update == ALEAT_UPDATE_POSTERIOR_PUBLISHED;
}

// The unbiased variance of the copies and e0 together, and in row 0 of the copies the mean of e
// under the prior N(0, abar) that it leaves.
static void map_and_posterior(aleat_guide *g, int64_t row, const aleat_noisy_state *state,
                              int64_t image, float *map)
{
    const int m = g->copies.per_image;
    const int64_t count = g->copies.count;
    for (int64_t j = 0; j < count; j++) {
        float *e = g->copies.eps + row * count + j;
        const double e0 = (double)state->eps[image * count + j];
        const double mean = (mean_of(e, m, count) * m + e0) / (m + 1);
        double squares = (e0 - mean) * (e0 - mean);
        for (int i = 0; i < m; i++) {
            const double d = (double)e[i * count] - mean;
            squares += d * d;
        }
        const double u = squares / m, floored = u > LEAST_VARIANCE ? u : LEAST_VARIANCE;
        const double prior = state->alpha * state->alpha;
        const bool published = g->options.update == ALEAT_UPDATE_POSTERIOR_PUBLISHED;
        const double sum = published ? e0 : (m + 1) * mean;
        const int observations = published ? m : m + 1;
        e[0] = (float)(sum / floored / (observations / floored + 1 / prior));
        map[j] = (float)u;
    }
}

// How the noise follows from what the statistic is of: that itself, or the network's output.
static aleat_eps_weights followed_weights(const aleat_guide *g, aleat_eps_weights weights)
{
    return statistics[g->options.statistic].output ? (aleat_eps_weights){1, 0} : weights;
}

// de / d (what moves): the velocity of flow models, e of all others.
static double unit_of(const aleat_guide *g, aleat_eps_weights weights)
{
    const bool velocity = g->copies.prediction == ALEAT_PREDICTS_FLOW &&
                          g->options.update == ALEAT_UPDATE_GRADIENT &&
                          g->options.wrt == ALEAT_WRT_SCORE;
    return velocity ? weights.raw : 1;
}

static const aleat_denoiser *beside(const aleat_guide *g)
{
    return g->options.beside ? g->options.beside : g->copies.denoiser;
}

/* ---- products with the Jacobians --------------------------------------------------------------
 */

// Cotangents of the raw outputs for weights w of eps = raw_weight raw + x_weight x; a learned
// variance has none.
static void make_cotangents(aleat_guide *g, double raw_weight, const float *w, int64_t rows)
{
    const aleat_copies *c = &g->copies;
    memset(g->cotangent, 0, (size_t)(rows * c->out_count) * sizeof *g->cotangent);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < c->count; j++)
            g->cotangent[r * c->out_count + j] =
                (float)(raw_weight * (w ? (double)w[r * c->count + j] : 1));
}

// pulled = raw_weight times what stands in the prediction's channels of `raw` rows.
static void take_tangents(aleat_guide *g, double raw_weight, const float *raw, int64_t rows)
{
    const aleat_copies *c = &g->copies;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < c->count; j++)
            g->pulled[r * c->count + j] = (float)(raw_weight * (double)raw[r * c->out_count + j]);
}

// Size of row r of the weights, root mean square.
static double size_of(const aleat_copies *c, int64_t r)
{
    double squares = 0;
    for (int64_t j = 0; j < c->count; j++)
        squares += (double)c->eps[r * c->count + j] * (double)c->eps[r * c->count + j];
    return sqrt(squares / (double)c->count);
}

// The copies moved along their weights by +-DIFFERENCE, evaluated into `raw`.
static aleat_status evaluate_moved(aleat_guide *g, const aleat_noisy_state *state, int64_t rows,
                                   double way, float *raw, aleat_error *err)
{
    const aleat_copies *c = &g->copies;
    for (int64_t r = 0; r < rows; r++) {
        const double size = size_of(c, r), h = size > 0 ? way * DIFFERENCE / size : 0;
        for (int64_t j = r * c->count; j < (r + 1) * c->count; j++)
            g->pulled[j] = (float)((double)c->x[j] + h * (double)c->eps[j]);
    }
    aleat_batch batch = aleat_copies_batch(c, state, rows);
    batch.x = g->pulled;
    return aleat_denoiser_predict(beside(g), &batch, raw, err);
}

static aleat_status difference(aleat_guide *g, const aleat_noisy_state *state, double raw_weight,
                               int64_t rows, aleat_error *err)
{
    const aleat_copies *c = &g->copies;
    aleat_status st = evaluate_moved(g, state, rows, 1, g->cotangent, err);
    if (!st)
        st = evaluate_moved(g, state, rows, -1, c->raw, err);
    for (int64_t r = 0; !st && r < rows; r++) {
        const double scale = raw_weight * size_of(c, r) / (2 * DIFFERENCE);
        for (int64_t j = 0; j < c->count; j++)
            g->pulled[r * c->count + j] =
                (float)(scale * ((double)g->cotangent[r * c->out_count + j] -
                                 (double)c->raw[r * c->out_count + j]));
    }
    return st;
}

// pulled = raw_weight J^T w of the raw outputs, w being what the copies' eps has become.
static aleat_status pull_weights(aleat_guide *g, const aleat_noisy_state *state, double raw_weight,
                                 int64_t rows, aleat_error *err)
{
    const aleat_copies *c = &g->copies;
    const aleat_denoiser *d = c->denoiser;
    if (g->options.gradient == ALEAT_GRADIENT_FD)
        return difference(g, state, raw_weight, rows, err);
    if (g->options.gradient == ALEAT_GRADIENT_JVP) {
        const aleat_batch batch = aleat_copies_batch(c, state, rows);
        const aleat_status st = d->ops->jvp(d->self, &batch, c->eps, NULL, g->cotangent, err);
        if (!st)
            take_tangents(g, raw_weight, g->cotangent, rows);
        return st;
    }
    make_cotangents(g, raw_weight, c->eps, rows);
    return d->ops->backward(d->self, g->cotangent, g->pulled, err);
}

// d (sum of e over its elements) / dx at the state itself, for the images of a group.
static aleat_status pull_sum(aleat_guide *g, const aleat_noisy_state *state,
                             aleat_eps_weights weights, int64_t first, int64_t images,
                             aleat_error *err)
{
    aleat_copies *c = &g->copies;
    const aleat_denoiser *d = beside(g);
    for (int64_t i = 0; i < images; i++) {
        c->t[i] = state->t_network;
        aleat_condition_rows_set(&c->conditions, i, &state->condition, first + i);
    }
    aleat_batch batch = aleat_copies_batch(c, state, images);
    batch.x = state->x + first * c->count;
    aleat_status st = d->ops->forward_keep(d->self, &batch, c->raw, err);
    make_cotangents(g, weights.raw, NULL, images);
    if (!st)
        st = d->ops->backward(d->self, g->cotangent, g->sum_gradient, err);
    for (int64_t j = 0; !st && j < images * c->count; j++)
        g->sum_gradient[j] = (float)((double)g->sum_gradient[j] + weights.x);
    return st;
}

/* ---- a step -----------------------------------------------------------------------------------
 */

// dG/de = -sigma [not clipped] sum_i J_i^T w_i, and for MSE the direct term 2 (e - mean e_i), which
// is minus the sum of the weights. dG/dx with e held = [not clipped] sum_i J_i^T w_i. Of flow
// models dG/dv = (1 - sigma) dG/de.
static void form_gradient(const aleat_guide *g, const aleat_noisy_state *state,
                          aleat_eps_weights weights, int64_t image, int64_t row, int64_t slot)
{
    const aleat_eps_weights followed = followed_weights(g, weights);
    const aleat_copies *c = &g->copies;
    const bool clipped = aleat_copies_clipped(state, g->options.clip);
    const double range = state->clip->clamp ? state->clip->range : 1;
    const bool score = g->options.wrt == ALEAT_WRT_SCORE;
    const bool direct = score && statistics[g->options.statistic].centre == CENTRE_E0;
    const double factor = score ? -state->sigma : 1, unit = unit_of(g, weights);
    const int64_t at = image * c->count;
    for (int64_t j = 0; j < c->count; j++) {
        double pulled = 0, summed = 0;
        for (int i = 0; i < c->per_image; i++) {
            const int64_t k = (row + i) * c->count + j;
            pulled += (double)g->pulled[k] + followed.x * (double)c->eps[k];
            summed += (double)c->eps[k];
        }
        const double x0 =
            ((double)state->x[at + j] - state->sigma * (double)state->eps[at + j]) / state->alpha;
        const bool moves = !clipped || fabs(x0) < range;
        double sum = unit * ((moves ? factor * pulled : 0) - (direct ? summed : 0));
        if (g->sum_gradient)
            sum += (double)g->sum_gradient[slot * c->count + j];
        g->gradient[j] = (float)(sum / g->options.divisor);
    }
}

static double quantile_of(const aleat_guide *g, const float *map)
{
    memcpy(g->scratch, map, (size_t)g->copies.count * sizeof *g->scratch);
    return aleat_quantile(g->scratch, g->copies.count, g->options.percentile);
}

static double lambda_of(const aleat_guide *g, int64_t j)
{
    const bool down = g->signs ? g->signs[j] < 0 : g->options.sign == ALEAT_GUIDE_DOWN;
    return down ? -g->options.strength : g->options.strength;
}

// What a chosen element becomes; `direction` is its gradient, random sign or posterior mean.
static double updated(const aleat_guide *g, double lambda, double unit, double e, double u,
                      double direction)
{
    switch (g->options.update) {
    case ALEAT_UPDATE_GRADIENT: return e + unit * lambda * direction;
    case ALEAT_UPDATE_PRODUCT: return lambda * e * direction;
    case ALEAT_UPDATE_RANDOM_SIGN: return e + lambda * u * (direction < 0 ? -1 : 1);
    case ALEAT_UPDATE_POSTERIOR:
    case ALEAT_UPDATE_POSTERIOR_PUBLISHED: return direction;
    }
    return NAN;
}

static void move(const aleat_guide *g, const aleat_noisy_state *state, int64_t image,
                 const float *map, const float *threshold, float *eps,
                 const aleat_guide_report *report)
{
    const int64_t count = g->copies.count, at = image * count;
    const double unit =
        unit_of(g, aleat_eps_weights_of(g->copies.prediction, state->alpha, state->sigma));
    const double quantile = threshold ? NAN : quantile_of(g, map);
    double moved = 0, size = 0;
    for (int64_t j = 0; j < count; j++) {
        const double limit = threshold ? (double)threshold[j] : quantile;
        const double u = (double)map[j], before = (double)state->eps[at + j];
        const bool chosen = g->options.lower ? u < limit : u > limit;
        const double after =
            chosen ? updated(g, lambda_of(g, j), unit, before, u, (double)g->gradient[j]) : before;
        if (chosen) // others keep their bits
            eps[at + j] = (float)after;
        else if (eps != state->eps)
            eps[at + j] = state->eps[at + j];
        moved += (after - before) * (after - before);
        size += before * before;
        if (report && report->mask)
            report->mask[at + j] = chosen;
    }
    if (report && report->change)
        report->change[image] = moved == 0 ? 0 : sqrt(moved / size);
    if (report && report->quantile)
        report->quantile[image] = quantile;
    if (report && report->map)
        memcpy(report->map + at, map, (size_t)count * sizeof *map);
    if (report && report->gradient)
        memcpy(report->gradient + at, g->gradient, (size_t)count * sizeof *g->gradient);
}

// Fills `gradient`, and `signs`, for the update of an image whose copies begin at row `row`.
static aleat_status find_direction(aleat_guide *g, const aleat_noisy_state *state,
                                   const aleat_noise_source *noise, aleat_eps_weights weights,
                                   int64_t image, int64_t row, int64_t slot, aleat_error *err)
{
    const aleat_copies *c = &g->copies;
    aleat_rng_key key = {
        .image = state->images[image], .step = state->step, .purpose = ALEAT_FOR_SIGNS};
    if (g->signs) {
        const aleat_status st = aleat_noise_fill(noise, &key, g->signs, c->count, err);
        if (st)
            return st;
        key.copy = 1; // a random update is not to follow them
    }
    switch (g->options.update) {
    case ALEAT_UPDATE_RANDOM_SIGN: return aleat_noise_fill(noise, &key, g->gradient, c->count, err);
    case ALEAT_UPDATE_POSTERIOR:
    case ALEAT_UPDATE_POSTERIOR_PUBLISHED:
        memcpy(g->gradient, c->eps + row * c->count, (size_t)c->count * sizeof *g->gradient);
        return ALEAT_OK;
    case ALEAT_UPDATE_GRADIENT:
    case ALEAT_UPDATE_PRODUCT: form_gradient(g, state, weights, image, row, slot); break;
    }
    return ALEAT_OK;
}

// The copies of a group of images, evaluated; what the request's estimator makes of them.
static aleat_status evaluate_group(aleat_guide *g, const aleat_noisy_state *state,
                                   const aleat_noise_source *noise,
                                   const aleat_guide_request *request, int64_t first,
                                   int64_t images, aleat_error *err)
{
    aleat_copies *c = &g->copies;
    const int64_t begin = first * c->per_image, rows = images * c->per_image;
    const bool keep = keeps(&g->options);
    aleat_status st = aleat_copies_make(c, state, g->options.clip, noise, begin, rows, err);
    if (!st)
        st = aleat_copies_evaluate(c, state, rows, keep, err);
    if (!st && request->estimator) {
        aleat_estimator_follow(request->estimator, c, begin, rows);
        aleat_estimator_finish(request->estimator, state, first, images, request->maps);
    }
    for (int64_t r = 0; !st && statistics[g->options.statistic].output && r < rows; r++)
        memcpy(c->eps + r * c->count, c->raw + r * c->out_count, (size_t)c->count * sizeof *c->eps);
    return st;
}

static aleat_status guide_group(aleat_guide *g, const aleat_noisy_state *state,
                                const aleat_noise_source *noise, const aleat_guide_request *request,
                                int64_t first, int64_t images, float *eps,
                                const aleat_guide_report *report, aleat_error *err)
{
    const aleat_copies *c = &g->copies;
    const int m = c->per_image;
    const aleat_eps_weights weights =
        aleat_eps_weights_of(c->prediction, state->alpha, state->sigma);
    aleat_status st = ALEAT_OK;
    if (g->sum_gradient)
        st = pull_sum(g, state, weights, first, images, err);
    if (!st)
        st = evaluate_group(g, state, noise, request, first, images, err);
    for (int64_t i = 0; !st && i < images; i++) {
        float *map = g->maps + i * c->count;
        if (is_posterior(&g->options))
            map_and_posterior(g, i * m, state, first + i, map);
        else
            map_and_weights(g, i * m, state->eps + (first + i) * c->count, map);
    }
    if (!st && needs_gradient(&g->options))
        st = pull_weights(g, state, followed_weights(g, weights).raw, images * m, err);
    for (int64_t i = 0; !st && i < images; i++) {
        st = find_direction(g, state, noise, weights, first + i, i * m, i, err);
        if (!st)
            move(g, state, first + i, g->maps + i * c->count, request->threshold, eps, report);
    }
    return st;
}

static aleat_status check_step(const aleat_guide *g, const aleat_noisy_state *state,
                               const aleat_guide_request *request, aleat_error *err)
{
    if (state->n < 1 || state->n > g->max_n)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "a batch of %lld images, guidance holds %lld",
                          (long long)state->n, (long long)g->max_n);
    // A flow model's copies do not depend on x there, and its gradient is 0.
    if (state->alpha == 0 && g->copies.prediction != ALEAT_PREDICTS_FLOW)
        return aleat_fail(err, ALEAT_ERR_NUMERIC, "guidance at a state without signal (step %u)",
                          state->step);
    if (state->clip->dynamic && g->options.clip != ALEAT_CLIP_OFF)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "guidance through dynamic thresholding is not implemented");
    if (state->base)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "guidance is for copies of the state itself, not of another");
    return request->estimator ? aleat_estimator_check(request->estimator, state, err) : ALEAT_OK;
}

// Evaluations of the network for each image in one step.
static int64_t cost_of(const aleat_guide *g)
{
    const int m = g->options.copies;
    const bool differences =
        needs_gradient(&g->options) && g->options.gradient == ALEAT_GRADIENT_FD;
    const int64_t calls = m + (differences ? 2 * m : 0) + (g->sum_gradient ? 1 : 0);
    return calls * (1 + g->copies.denoiser->info.extra_evaluations);
}

aleat_status aleat_guide_run(aleat_guide *g, const aleat_noisy_state *state,
                             const aleat_noise_source *noise, const aleat_guide_request *request,
                             float *eps, const aleat_guide_report *report, aleat_error *err)
{
    const aleat_guide_request nothing = {0};
    if (!request)
        request = &nothing;
    aleat_status st = check_step(g, state, request, err);
    for (int64_t first = 0; !st && first < state->n; first += g->group) {
        const int64_t images = state->n - first < g->group ? state->n - first : g->group;
        st = guide_group(g, state, noise, request, first, images, eps, report, err);
    }
    if (!st)
        g->nfe += cost_of(g);
    return st;
}
