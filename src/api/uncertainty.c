/* Algorithm 1 at a state that the caller gives. */
#include <math.h>
#include <string.h>

#include "api/schedule.h"
#include "base/alloc.h"
#include "base/error.h"
#include "samplers/prediction.h"
#include "samplers/schedule.h"
#include "uncertainty/estimator.h"
#include "uncertainty/guidance.h"

#define DEFAULT_COPIES 5
#define MOST_ROWS      64 // copies held at once; the network cuts them further

// One measurement while it is made. Arrays without a name in aleat_uncertainty are its own.
typedef struct measurement {
    aleat_sampler_config config;
    aleat_noisy_state state;
    const aleat_statistic *statistic;
    aleat_clip_mode clip;
    int copies;
    aleat_noise_arrays stored;
    aleat_noise_source noise;
    uint32_t *images; // [n]
    float *t, *raw;   // [n], [n,out_channels,H,W]
} measurement;

static void clear(measurement *m)
{
    aleat_sampler_config_clear(&m->config);
    aleat_free(m->images);
    aleat_free(m->t);
    aleat_free(m->raw);
}

// The level of training step t, and the time that the network is told there.
static aleat_status set_level(measurement *m, const aleat_model *model, int64_t t, aleat_error *err)
{
    const int n = m->config.train_steps;
    if (t < 0 || t >= n)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "t is %lld: the training steps of this model are 0 to %d", (long long)t,
                          n - 1);
    double *betas = aleat_calloc((size_t)n, sizeof *betas);
    double *abar = aleat_calloc((size_t)n, sizeof *abar);
    aleat_status st = ALEAT_OK;
    if (!betas || !abar) {
        st = aleat_fail_memory(err, "noise schedule");
        goto done;
    }
    aleat_schedule_betas(&m->config, betas);
    aleat_schedule_products(betas, n, abar);
    m->state.alpha = sqrt(abar[t]);
    m->state.sigma = sqrt(1 - abar[t]);
    m->state.t_network = (float)(model->files.time_scale * ((double)t + model->files.time_offset));
done:
    aleat_free(betas);
    aleat_free(abar);
    return st;
}

static aleat_status set_noise(measurement *m, const aleat_array *x,
                              const aleat_uncertainty_options *o, aleat_error *err)
{
    const aleat_array *z = o->noise;
    m->noise = aleat_noise_philox(o->seed);
    if (!z) {
        m->copies = o->copies ? (int)o->copies : DEFAULT_COPIES;
        return ALEAT_OK;
    }
    if (z->n_dims != 5 || memcmp(z->dim + 1, x->dim, 4 * sizeof *x->dim) != 0)
        return aleat_fail(
            err, ALEAT_ERR_SHAPE, "the noise must be [M,%lld,%lld,%lld,%lld] for this x",
            (long long)x->dim[0], (long long)x->dim[1], (long long)x->dim[2], (long long)x->dim[3]);
    if (o->copies && o->copies != z->dim[0])
        return aleat_fail(err, ALEAT_ERR_SHAPE, "%lld copies are asked for, the noise is for %lld",
                          (long long)o->copies, (long long)z->dim[0]);
    m->copies = (int)z->dim[0];
    m->stored = (aleat_noise_arrays){.copy = z->data,
                                     .images = x->dim[0],
                                     .count = x->dim[1] * x->dim[2] * x->dim[3],
                                     .copies = z->dim[0],
                                     .copy_steps = 1};
    m->noise = aleat_noise_from_arrays(&m->stored);
    return ALEAT_OK;
}

// Evaluates x itself: eps, and x0 as the copies will start from.
static aleat_status evaluate(measurement *m, const aleat_model *model, const aleat_array *x,
                             const int32_t *labels, aleat_uncertainty *out, aleat_error *err)
{
    const aleat_denoiser *d = &model->denoiser;
    const int64_t n = x->dim[0], plane = x->dim[2] * x->dim[3];
    const int64_t count = d->info.channels * plane, raw_count = d->info.out_channels * plane;
    m->images = aleat_calloc((size_t)n, sizeof *m->images);
    m->t = aleat_calloc((size_t)n, sizeof *m->t);
    m->raw = aleat_calloc((size_t)(n * raw_count), sizeof *m->raw);
    if (!m->images || !m->t || !m->raw)
        return aleat_fail_memory(err, "a measurement");
    for (int64_t i = 0; i < n; i++) {
        m->images[i] = (uint32_t)i;
        m->t[i] = m->state.t_network;
    }
    const aleat_batch batch = {n, x->dim[2], x->dim[3], x->data, m->t, {.labels = labels}};
    aleat_status st = aleat_denoiser_predict(d, &batch, m->raw, err);
    if (st)
        return st;
    for (int64_t i = 0; i < n; i++)
        aleat_predict(m->config.prediction, m->state.alpha, m->state.sigma, x->data + i * count,
                      m->raw + i * raw_count, out->eps.data + i * count, out->x0.data + i * count,
                      count);
    const aleat_clip one = {.clamp = true, .range = 1};
    const aleat_clip *clip = aleat_clip_active(&m->config.clip) ? &m->config.clip : &one;
    m->state.clip = &m->config.clip;
    if (aleat_copies_clipped(&m->state, m->clip))
        for (int64_t i = 0; i < n; i++) // raw has served: it is the scratch
            aleat_clip_x0(clip, out->x0.data + i * count, count, m->raw);
    m->state.n = n;
    m->state.height = x->dim[2];
    m->state.width = x->dim[3];
    m->state.images = m->images;
    m->state.condition = batch.condition;
    m->state.x = x->data;
    m->state.eps = out->eps.data;
    m->state.x0 = out->x0.data;
    return ALEAT_OK;
}

static aleat_status estimate(const measurement *m, const aleat_model *model, float *map,
                             aleat_error *err)
{
    const aleat_estimator_options options = {
        .copies = m->copies, .statistics = {m->statistic}, .clip = m->clip, .max_rows = MOST_ROWS};
    aleat_estimator *estimator = NULL;
    aleat_status st =
        aleat_estimator_new(&estimator, &model->denoiser, m->config.prediction, &options,
                            m->state.n, m->state.height, m->state.width, err);
    if (!st)
        st = aleat_estimator_run(estimator, &m->state, &m->noise, &map, err);
    aleat_estimator_free(estimator);
    return st;
}

static aleat_status find_differentiable(aleat_guide_statistic *out, const aleat_statistic *s,
                                        aleat_error *err)
{
    static const struct {
        const char *name;
        aleat_guide_statistic statistic;
    } rows[] = {{"eps-var", ALEAT_GUIDE_VAR1},
                {"eps-var0", ALEAT_GUIDE_VAR0},
                {"eps-mse", ALEAT_GUIDE_MSE},
                {"eps-square", ALEAT_GUIDE_SQUARE}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, s->name) == 0) {
            *out = rows[i].statistic;
            return ALEAT_OK;
        }
    (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "there is no gradient of %s", s->name);
    aleat_hint(err, "eps-var, eps-var0, eps-mse and eps-square have one");
    return ALEAT_ERR_UNSUPPORTED;
}

static aleat_status differentiate(const measurement *m, const aleat_model *model, float *eps_unused,
                                  float *grad, aleat_error *err)
{
    aleat_guide_options options = aleat_guide_defaults();
    options.copies = m->copies;
    options.clip = m->clip;
    options.strength = 0;
    options.max_rows = MOST_ROWS;
    aleat_guide *guide = NULL;
    aleat_status st = find_differentiable(&options.statistic, m->statistic, err);
    if (!st)
        st = aleat_guide_new(&guide, &model->denoiser, m->config.prediction, &options, m->state.n,
                             m->state.height, m->state.width, err);
    const aleat_guide_report report = {.gradient = grad};
    if (!st)
        st = aleat_guide_run(guide, &m->state, &m->noise, NULL, eps_unused, &report, err);
    aleat_guide_free(guide);
    return st;
}

static aleat_status prepare(measurement *m, const aleat_model *model, const aleat_array *x,
                            int64_t t, const aleat_uncertainty_options *o, aleat_error *err)
{
    const aleat_denoiser_info *info = &model->denoiser.info;
    const char *name = o->statistic ? o->statistic : "eps-var";
    m->statistic = aleat_statistic_find(name);
    if (!m->statistic)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no statistic '%s'", name);
    if (x->n_dims != 4 || x->dim[0] < 1 || x->dim[1] != info->channels ||
        x->dim[2] != info->height || x->dim[3] != info->width)
        return aleat_fail(err, ALEAT_ERR_SHAPE, "x must be [N,%lld,%lld,%lld] for this network",
                          (long long)info->channels, (long long)info->height,
                          (long long)info->width);
    aleat_status st = aleat_model_check_denoiser(model, err);
    if (!st)
        st = aleat_clip_find(&m->clip, o->clip, err);
    if (!st)
        st = aleat_schedule_of(&m->config, &model->files, model->path, o->schedule, NULL, err);
    if (!st)
        st = set_level(m, model, t, err);
    return st ? st : set_noise(m, x, o, err);
}

aleat_status aleat_model_uncertainty(aleat_model *model, const aleat_array *x, int64_t t,
                                     const int32_t *labels,
                                     const aleat_uncertainty_options *options, int with_grad,
                                     aleat_uncertainty *out, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    const aleat_uncertainty_options defaults = {0};
    measurement m = {0};
    aleat_status st = prepare(&m, model, x, t, options ? options : &defaults, err);
    aleat_array *const arrays[] = {&out->map, &out->eps, &out->x0, with_grad ? &out->grad : NULL};
    for (size_t i = 0; !st && i < 4; i++)
        if (arrays[i])
            st = aleat_array_new(arrays[i], 4, x->dim, err);
    if (!st)
        st = evaluate(&m, model, x, labels, out, err);
    if (!st && with_grad) // its by-product, eps unmoved, passes through the array of the map
        st = differentiate(&m, model, out->map.data, out->grad.data, err);
    if (!st)
        st = estimate(&m, model, out->map.data, err);
    if (!st)
        out->evaluations = 1 + m.copies * (with_grad ? 2 : 1);
    else
        aleat_uncertainty_clear(out);
    clear(&m);
    return st;
}

void aleat_uncertainty_clear(aleat_uncertainty *u)
{
    if (!u)
        return;
    aleat_array_clear(&u->map);
    aleat_array_clear(&u->eps);
    aleat_array_clear(&u->x0);
    aleat_array_clear(&u->grad);
    u->evaluations = 0;
}
