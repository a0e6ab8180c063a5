#include "uncertainty/guidance.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "samplers/prediction.h"

// dU/de_i = weight (e_i - centre): the four statistics differ in these two only.
typedef enum centre { CENTRE_MEAN, CENTRE_E0, CENTRE_ZERO } centre;

static const struct {
    centre centre;
    int less; // U = sum of squares / (M - less)
} statistics[] = {
    [ALEAT_GUIDE_VAR1] = {CENTRE_MEAN, 1},
    [ALEAT_GUIDE_VAR0] = {CENTRE_MEAN, 0},
    [ALEAT_GUIDE_MSE] = {CENTRE_E0, 0},
    [ALEAT_GUIDE_SQUARE] = {CENTRE_ZERO, 0},
};

struct aleat_guide {
    aleat_guide_options options;
    int64_t max_n, group; // images of the largest batch, of one network call
    aleat_copies copies;
    float *cotangent;          // [rows, out_count]
    float *pulled;             // [rows, count]: J^T w
    float *maps;               // [group, count]
    float *gradient, *scratch; // [count]
    int64_t nfe;
};

aleat_guide_options aleat_guide_defaults(void)
{
    return (aleat_guide_options){.copies = 5, .percentile = 0.95, .strength = 1};
}

static aleat_status check_options(const aleat_guide_options *o, const aleat_denoiser *denoiser,
                                  int64_t max_n, aleat_error *err)
{
    if (!denoiser->ops->forward_keep || !denoiser->ops->backward)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "guidance needs a gradient, which this network does not have");
    if (o->copies < 2 || max_n < 1 || !(o->percentile >= 0 && o->percentile <= 1) ||
        !(o->strength >= 0) || (unsigned)o->statistic > ALEAT_GUIDE_SQUARE)
        return aleat_fail(
            err, ALEAT_ERR_ARGUMENT,
            "guidance with %d copies, percentile %g, strength %g: at least 2, between "
            "0 and 1, and not negative are needed",
            o->copies, o->percentile, o->strength);
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
    // all copies of an image are in one call: their mean is known only when all are there
    g->group = options->max_rows > 0 ? options->max_rows / options->copies : max_n;
    g->group = g->group < 1 ? 1 : g->group > max_n ? max_n : g->group;
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
    if (!g->cotangent || !g->pulled || !g->maps || !g->gradient || !g->scratch) {
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
    aleat_free(g->gradient);
    aleat_free(g->scratch);
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
    const int64_t count = g->copies.count;
    for (int64_t j = 0; j < count; j++) {
        float *e = g->copies.eps + row * count + j;
        const double middle = centre_of(g, e, (double)e0[j]);
        double squares = 0;
        for (int i = 0; i < m; i++) {
            const double d = (double)e[i * count] - middle;
            squares += d * d;
            e[i * count] = (float)(2 * d / (m - less));
        }
        map[j] = (float)(squares / (m - less));
    }
}

// Cotangents of the raw outputs: eps = raw_weight raw + x_weight x, and a learned variance has
// none.
static void make_cotangents(aleat_guide *g, aleat_eps_weights w, int64_t rows)
{
    const aleat_copies *c = &g->copies;
    memset(g->cotangent, 0, (size_t)(rows * c->out_count) * sizeof *g->cotangent);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < c->count; j++)
            g->cotangent[r * c->out_count + j] = (float)(w.raw * (double)c->eps[r * c->count + j]);
}

// dG/de = -sigma [not clipped] sum_i J_i^T w_i, and for MSE the direct term 2 (e - mean e_i), which
// is minus the sum of the weights.
static void form_gradient(const aleat_guide *g, const aleat_noisy_state *state,
                          aleat_eps_weights weights, int64_t image, int64_t row)
{
    const aleat_copies *c = &g->copies;
    const bool clipped = aleat_copies_clipped(state, g->options.clip);
    const double range = state->clip->clamp ? state->clip->range : 1;
    const bool direct = statistics[g->options.statistic].centre == CENTRE_E0;
    const int64_t at = image * c->count;
    for (int64_t j = 0; j < c->count; j++) {
        double pulled = 0, summed = 0;
        for (int i = 0; i < c->per_image; i++) {
            const int64_t k = (row + i) * c->count + j;
            pulled += (double)g->pulled[k] + weights.x * (double)c->eps[k];
            summed += (double)c->eps[k];
        }
        const double x0 =
            ((double)state->x[at + j] - state->sigma * (double)state->eps[at + j]) / state->alpha;
        const bool moves = !clipped || fabs(x0) < range;
        g->gradient[j] = (float)((moves ? -state->sigma * pulled : 0) - (direct ? summed : 0));
    }
}

static double quantile_of(const aleat_guide *g, const float *map)
{
    memcpy(g->scratch, map, (size_t)g->copies.count * sizeof *g->scratch);
    return aleat_quantile(g->scratch, g->copies.count, g->options.percentile);
}

static void move(const aleat_guide *g, const aleat_noisy_state *state, int64_t image,
                 const float *map, const float *threshold, float *eps,
                 const aleat_guide_report *report)
{
    const int64_t count = g->copies.count, at = image * count;
    const double step = g->options.descend ? -g->options.strength : g->options.strength;
    const double quantile = threshold ? NAN : quantile_of(g, map);
    double moved = 0, size = 0;
    for (int64_t j = 0; j < count; j++) {
        const double limit = threshold ? (double)threshold[j] : quantile;
        const double u = (double)map[j], before = (double)state->eps[at + j];
        const bool chosen = g->options.lower ? u < limit : u > limit;
        const double change = chosen ? step * (double)g->gradient[j] : 0;
        if (chosen) // others keep their bits
            eps[at + j] = (float)(before + change);
        else if (eps != state->eps)
            eps[at + j] = state->eps[at + j];
        moved += change * change;
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

static aleat_status guide_group(aleat_guide *g, const aleat_noisy_state *state,
                                const aleat_noise_source *noise, const float *threshold,
                                int64_t first, int64_t images, float *eps,
                                const aleat_guide_report *report, aleat_error *err)
{
    aleat_copies *c = &g->copies;
    const int m = c->per_image;
    const int64_t rows = images * m;
    const aleat_eps_weights weights =
        aleat_eps_weights_of(c->prediction, state->alpha, state->sigma);
    aleat_status st = aleat_copies_make(c, state, g->options.clip, noise, first * m, rows, err);
    if (!st)
        st = aleat_copies_evaluate(c, state, rows, true, err);
    if (st)
        return st;
    for (int64_t i = 0; i < images; i++)
        map_and_weights(g, i * m, state->eps + (first + i) * c->count, g->maps + i * c->count);
    make_cotangents(g, weights, rows);
    st = c->denoiser->ops->backward(c->denoiser->self, g->cotangent, g->pulled, err);
    for (int64_t i = 0; !st && i < images; i++) {
        form_gradient(g, state, weights, first + i, i * m);
        move(g, state, first + i, g->maps + i * c->count, threshold, eps, report);
    }
    return st;
}

aleat_status aleat_guide_run(aleat_guide *g, const aleat_noisy_state *state,
                             const aleat_noise_source *noise, const float *threshold, float *eps,
                             const aleat_guide_report *report, aleat_error *err)
{
    if (state->n < 1 || state->n > g->max_n)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "a batch of %lld images, guidance holds %lld",
                          (long long)state->n, (long long)g->max_n);
    if (state->alpha == 0)
        return aleat_fail(err, ALEAT_ERR_NUMERIC, "guidance at a state without signal (step %u)",
                          state->step);
    if (state->clip->dynamic && g->options.clip != ALEAT_CLIP_OFF)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "guidance through dynamic thresholding is not implemented");
    aleat_status st = ALEAT_OK;
    for (int64_t first = 0; !st && first < state->n; first += g->group) {
        const int64_t images = state->n - first < g->group ? state->n - first : g->group;
        st = guide_group(g, state, noise, threshold, first, images, eps, report, err);
    }
    if (!st)
        g->nfe += g->copies.per_image * (1 + g->copies.denoiser->info.extra_evaluations);
    return st;
}
