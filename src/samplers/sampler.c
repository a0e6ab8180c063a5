#include "samplers/sampler.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "samplers/prediction.h"

// Elements of which the next state is formed at once, in double.
#define BLOCK 256

struct aleat_sampler {
    const aleat_sampling_plan *plan;
    const aleat_denoiser *denoiser;
    aleat_time_map time_map;
    int64_t max_n, height, width;
    int64_t count; // elements of an image
    int64_t nfe;
    float *raw;                                              // [max_n, out_channels, H, W]
    float *x0[ALEAT_PLAN_HISTORY], *eps[ALEAT_PLAN_HISTORY]; // newest first; [max_n, count] each
    float *base;                                             // [max_n, count], or NULL
    float *noise;                                            // [count]
    float *gradient;                                         // [max_n, count]; see the hook
    float *t;                                                // [max_n]
    int rings[2];                                            // arrays in use of x0 and eps
};

static aleat_status check_fit(const aleat_sampling_plan *plan, const aleat_denoiser_info *info,
                              int64_t max_n, int64_t height, int64_t width, aleat_error *err)
{
    if (max_n < 1 || height < 1 || width < 1)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%lld images of %lldx%lld cannot be sampled",
                          (long long)max_n, (long long)height, (long long)width);
    if (info->height && (info->height != height || info->width != width))
        return aleat_fail(
            err, ALEAT_ERR_SHAPE, "images of %lldx%lld, but the network is for %lldx%lld",
            (long long)height, (long long)width, (long long)info->height, (long long)info->width);
    const bool learned =
        plan->variance == ALEAT_VARIANCE_LEARNED || plan->variance == ALEAT_VARIANCE_LEARNED_RANGE;
    if (learned && info->out_channels != 2 * info->channels)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "a learned variance needs %lld output channels, the network has %lld",
                          2 * (long long)info->channels, (long long)info->out_channels);
    return ALEAT_OK;
}

static float *batch_array(const aleat_sampler *s, int64_t elements)
{
    size_t total;
    if (!aleat_size_mul((size_t)s->max_n, (size_t)elements, &total))
        return NULL;
    return aleat_calloc(total, sizeof(float));
}

static aleat_status make_workspace(aleat_sampler *s, aleat_error *err)
{
    const aleat_sampling_plan *plan = s->plan;
    const int64_t plane = s->height * s->width;
    bool ok = true, base = false;
    for (int k = 0; k < plan->n_steps; k++)
        base |= plan->steps[k].c_base != 0;
    s->rings[0] = plan->history_x0 > 1 ? plan->history_x0 : 1;
    s->rings[1] = plan->history_eps > 1 ? plan->history_eps : 1;
    for (int j = 0; j < s->rings[0]; j++)
        ok &= (s->x0[j] = batch_array(s, s->count)) != NULL;
    for (int j = 0; j < s->rings[1]; j++)
        ok &= (s->eps[j] = batch_array(s, s->count)) != NULL;
    if (base)
        ok &= (s->base = batch_array(s, s->count)) != NULL;
    ok &= (s->raw = batch_array(s, s->denoiser->info.out_channels * plane)) != NULL;
    ok &= (s->noise = aleat_calloc((size_t)s->count, sizeof(float))) != NULL;
    ok &= (s->gradient = batch_array(s, s->count)) != NULL;
    ok &= (s->t = batch_array(s, 1)) != NULL;
    return ok ? ALEAT_OK : aleat_fail_memory(err, "workspace of the sampler");
}

aleat_status aleat_sampler_new(aleat_sampler **out, const aleat_sampling_plan *plan,
                               const aleat_denoiser *denoiser, aleat_time_map time_map,
                               int64_t max_n, int64_t height, int64_t width, aleat_error *err)
{
    *out = NULL;
    aleat_status st = check_fit(plan, &denoiser->info, max_n, height, width, err);
    if (st)
        return st;
    aleat_sampler *s = aleat_calloc(1, sizeof *s);
    if (!s)
        return aleat_fail_memory(err, "sampler");
    *s = (aleat_sampler){.plan = plan,
                         .denoiser = denoiser,
                         .time_map = time_map,
                         .max_n = max_n,
                         .height = height,
                         .width = width,
                         .count = denoiser->info.channels * height * width};
    st = make_workspace(s, err);
    if (st)
        goto done;
    *out = s;
    s = NULL;
done:
    aleat_sampler_free(s);
    return st;
}

void aleat_sampler_free(aleat_sampler *s)
{
    if (!s)
        return;
    for (int j = 0; j < ALEAT_PLAN_HISTORY; j++) {
        aleat_free(s->x0[j]);
        aleat_free(s->eps[j]);
    }
    aleat_free(s->raw);
    aleat_free(s->base);
    aleat_free(s->noise);
    aleat_free(s->gradient);
    aleat_free(s->t);
    aleat_free(s);
}

int64_t aleat_sampler_nfe(const aleat_sampler *sampler)
{
    return sampler->nfe;
}

static aleat_status draw(const aleat_sampler *s, const aleat_sample_request *r, int64_t i,
                         aleat_purpose purpose, int index, float *out, aleat_error *err)
{
    const aleat_rng_key key = {.image = r->images[i], .step = (uint32_t)index, .purpose = purpose};
    return aleat_noise_fill(&r->noise, &key, out, s->count, err);
}

static aleat_status start(const aleat_sampler *s, const aleat_sample_request *r, float *x,
                          aleat_error *err)
{
    const float scale = (float)s->plan->init_scale;
    if (r->state) {
        memcpy(x, r->state, (size_t)(r->n * s->count) * sizeof *x);
        return ALEAT_OK;
    }
    for (int64_t i = 0; i < r->n; i++) {
        float *mine = x + i * s->count;
        if (r->initial)
            memcpy(mine, r->initial + i * s->count, (size_t)s->count * sizeof *mine);
        const aleat_status st =
            r->initial ? ALEAT_OK : draw(s, r, i, ALEAT_FOR_INITIAL, 0, mine, err);
        if (st)
            return st;
        for (int64_t j = 0; j < s->count; j++)
            mine[j] *= scale;
    }
    return ALEAT_OK;
}

static void rotate(float *ring[], int length)
{
    float *oldest = ring[length - 1];
    for (int j = length - 1; j > 0; j--)
        ring[j] = ring[j - 1];
    ring[0] = oldest;
}

// Before the first evaluation of a run that begins midway lie none: they were like it.
static void repeat_predictions(const aleat_sampler *s, int64_t n)
{
    for (int j = 1; j < s->rings[0]; j++)
        memcpy(s->x0[j], s->x0[0], (size_t)(n * s->count) * sizeof(float));
    for (int j = 1; j < s->rings[1]; j++)
        memcpy(s->eps[j], s->eps[0], (size_t)(n * s->count) * sizeof(float));
}

static void clip_batch(const aleat_sampler *s, int64_t n)
{
    if (!aleat_clip_active(&s->plan->clip))
        return;
    for (int64_t i = 0; i < n; i++) // the noise is not drawn yet: its array is free
        aleat_clip_x0(&s->plan->clip, s->x0[0] + i * s->count, s->count, s->noise);
}

// Asks the network and turns its output into eps and clipped x0.
static aleat_status evaluate(aleat_sampler *s, const aleat_sample_request *r,
                             const aleat_sampling_step *step, const float *x, aleat_error *err)
{
    const int64_t raw_count = s->denoiser->info.out_channels * s->height * s->width;
    for (int64_t i = 0; i < r->n; i++)
        s->t[i] = (float)(s->time_map.scale * step->t + s->time_map.offset);
    const aleat_batch batch = {.n = r->n,
                               .height = s->height,
                               .width = s->width,
                               .x = x,
                               .t = s->t,
                               .condition = r->condition};
    const aleat_status st = aleat_denoiser_predict(s->denoiser, &batch, s->raw, err);
    if (st)
        return st;
    s->nfe += 1 + s->denoiser->info.extra_evaluations;
    for (int64_t i = 0; i < r->n; i++)
        aleat_predict(s->plan->prediction, step->alpha, step->sigma, x + i * s->count,
                      s->raw + i * raw_count, s->eps[0] + i * s->count, s->x0[0] + i * s->count,
                      s->count);
    clip_batch(s, r->n);
    return ALEAT_OK;
}

// DDPM draws from a distribution, whose mean the gradient moves.
static bool moves_mean(const aleat_sampler *s)
{
    return s->plan->variance != ALEAT_VARIANCE_NONE;
}

// Asks for the gradient and, unless the mean will be moved, moves the predictions along it.
static aleat_status follow_gradient(aleat_sampler *s, const aleat_sample_request *r,
                                    const aleat_evaluation *e, aleat_error *err)
{
    const aleat_status st = r->hooks.gradient(r->hooks.ctx, e, s->gradient, err);
    if (st || moves_mean(s))
        return st;
    const double sigma = e->step->sigma, alpha = e->step->alpha;
    for (int64_t j = 0; j < r->n * s->count; j++) {
        const double g = sigma * (double)s->gradient[j];
        s->eps[0][j] = (float)((double)s->eps[0][j] - g);
        if (alpha > 0) // at pure noise x0 does not follow from eps
            s->x0[0][j] = (float)((double)s->x0[0][j] + sigma / alpha * g);
    }
    return ALEAT_OK;
}

static aleat_status show(aleat_sampler *s, const aleat_sample_request *r, int index, const float *x,
                         aleat_error *err)
{
    const aleat_sampling_step *step = &s->plan->steps[index];
    const int64_t all = r->n * s->count;
    aleat_evaluation e = {.plan = s->plan,
                          .step = step,
                          .index = index,
                          .t_network = s->t[0],
                          .n = r->n,
                          .count = s->count,
                          .height = s->height,
                          .width = s->width,
                          .images = r->images,
                          .condition = r->condition,
                          .x = x,
                          .raw = s->raw,
                          .eps = s->eps[0],
                          .x0 = s->x0[0]};
    aleat_status st = ALEAT_OK;
    if (r->hooks.evaluated)
        st = r->hooks.evaluated(r->hooks.ctx, &e, err);
    if (st)
        return st;
    if (e.eps_changed && step->alpha > 0) { // at pure noise x0 does not follow from eps
        aleat_x0_of_eps(step->alpha, step->sigma, x, s->eps[0], s->x0[0], all);
        clip_batch(s, r->n);
    }
    if (s->plan->eps_from_clipped)
        aleat_eps_of_x0(step->alpha, step->sigma, x, s->x0[0], s->eps[0], all);
    return r->hooks.gradient ? follow_gradient(s, r, &e, err) : ALEAT_OK;
}

// The variance that the network learned for element j of image i.
static double learned_variance(const aleat_sampler *s, const aleat_sampling_step *step, int64_t i,
                               int64_t j)
{
    // the second half of the output channels
    const double v = (double)s->raw[(2 * i + 1) * s->count + j], part = (v + 1) / 2;
    return s->plan->variance == ALEAT_VARIANCE_LEARNED_RANGE
               ? exp(part * step->log_var_high + (1 - part) * step->log_var_low)
               : fmax(v, 0);
}

// noise *= the learned deviation, element by element.
static void scale_by_learned(const aleat_sampler *s, const aleat_sampling_step *step, int64_t i)
{
    for (int64_t j = 0; j < s->count; j++)
        s->noise[j] = (float)(sqrt(learned_variance(s, step, i, j)) * (double)s->noise[j]);
}

// gradient *= the variance of the step: what its mean moves by.
static void scale_by_variance(const aleat_sampler *s, const aleat_sampling_step *step, int64_t i)
{
    float *g = s->gradient + i * s->count;
    for (int64_t j = 0; j < s->count; j++)
        g[j] = (float)((step->learned ? learned_variance(s, step, i, j) : step->variance) *
                       (double)g[j]);
}

typedef struct term {
    double weight;
    const float *values;
} term;

// x = sum of the terms over count elements; x may be one of them.
static void combine(const term *terms, int n, float *x, int64_t count)
{
    double sum[BLOCK];
    for (int64_t begin = 0; begin < count; begin += BLOCK) {
        const int64_t here = count - begin < BLOCK ? count - begin : BLOCK;
        memset(sum, 0, sizeof sum);
        for (int k = 0; k < n; k++)
            for (int64_t j = 0; j < here; j++)
                sum[j] += terms[k].weight * (double)terms[k].values[begin + j];
        for (int64_t j = 0; j < here; j++)
            x[begin + j] = (float)sum[j];
    }
}

static void add_term(term *terms, int *n, double weight, const float *values)
{
    if (weight != 0)
        terms[(*n)++] = (term){weight, values};
}

static aleat_status advance_image(aleat_sampler *s, const aleat_sample_request *r, int index,
                                  int64_t i, float *x, aleat_error *err)
{
    const aleat_sampling_step *step = &s->plan->steps[index];
    const int64_t at = i * s->count;
    term terms[2 * ALEAT_PLAN_HISTORY + 4];
    int n = 0;
    add_term(terms, &n, step->c_x, x);
    if (s->base)
        add_term(terms, &n, step->c_base, s->base + at);
    for (int j = 0; j < s->rings[0]; j++)
        add_term(terms, &n, step->c_x0[j], s->x0[j] + at);
    for (int j = 0; j < s->rings[1]; j++)
        add_term(terms, &n, step->c_eps[j], s->eps[j] + at);
    if (step->c_noise != 0) {
        const aleat_status st = draw(s, r, i, ALEAT_FOR_STEP, index, s->noise, err);
        if (st)
            return st;
        if (step->learned)
            scale_by_learned(s, step, i);
        add_term(terms, &n, step->learned ? 1 : step->c_noise, s->noise);
    }
    if (r->hooks.gradient && moves_mean(s)) {
        scale_by_variance(s, step, i);
        add_term(terms, &n, 1, s->gradient + at);
    }
    combine(terms, n, x, s->count);
    return ALEAT_OK;
}

static aleat_status advance(aleat_sampler *s, const aleat_sample_request *r, int index, float *x,
                            aleat_error *err)
{
    const aleat_sampling_step *step = &s->plan->steps[index];
    if (step->sets_base && s->base)
        memcpy(s->base, x, (size_t)(r->n * s->count) * sizeof *x);
    for (int64_t i = 0; i < r->n; i++) {
        const aleat_status st = advance_image(s, r, index, i, x + i * s->count, err);
        if (st)
            return st;
    }
    float bad = 0; // NaN as soon as any element is not finite
    for (int64_t j = 0; j < r->n * s->count; j++)
        bad += x[j] * 0.0f;
    if (bad != 0)
        return aleat_fail(
            err, ALEAT_ERR_NUMERIC,
            "sampling: the state is not finite after step %d of %d (training step %g)", index + 1,
            s->plan->n_steps, step->t);
    return ALEAT_OK;
}

aleat_status aleat_sampler_run(aleat_sampler *s, const aleat_sample_request *r, float *x,
                               aleat_error *err)
{
    if (r->n < 1 || r->n > s->max_n)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "a batch of %lld images, the sampler holds %lld",
                          (long long)r->n, (long long)s->max_n);
    const int first = r->state ? r->first : 0;
    aleat_status st = start(s, r, x, err);
    if (!st && r->hooks.advanced)
        st = r->hooks.advanced(r->hooks.ctx, first - 1, x, r->n, err);
    for (int k = first; !st && k < s->plan->n_steps; k++) {
        rotate(s->x0, s->rings[0]);
        rotate(s->eps, s->rings[1]);
        st = evaluate(s, r, &s->plan->steps[k], x, err);
        if (!st)
            st = show(s, r, k, x, err);
        if (!st && k == first && first > 0)
            repeat_predictions(s, r->n);
        if (!st)
            st = advance(s, r, k, x, err);
        if (!st && r->hooks.advanced)
            st = r->hooks.advanced(r->hooks.ctx, k, x, r->n, err);
    }
    return st;
}
