/* Algorithm 1 at a state that the caller gives. */
#include <math.h>
#include <string.h>

#include "aleat/run.h"
#include "api/schedule.h"
#include "api/texts.h"
#include "base/alloc.h"
#include "base/error.h"
#include "samplers/prediction.h"
#include "samplers/schedule.h"
#include "uncertainty/compat.h"
#include "uncertainty/estimator.h"
#include "uncertainty/guidance.h"

#define DEFAULT_COPIES 5
#define MOST_ROWS      64 // copies held at once; the network cuts them further

// One measurement while it is made. Arrays without a name in aleat_uncertainty are its own.
typedef struct measurement {
    aleat_sampler_config config;
    aleat_noisy_state state;
    aleat_denoiser cfg;             // classifier-free guidance; empty: none
    const aleat_denoiser *denoiser; // the model's, or that
    aleat_estimator_options estimator;
    aleat_guide_options guidance; // for the gradient only: it moves nothing
    aleat_compat compat;
    int copies;
    aleat_noise_arrays stored;
    aleat_noise_source noise;
    uint32_t *images; // [n]
    float *t, *raw;   // [n], [n,out_channels,H,W]
    aleat_text_list texts, negative;
} measurement;

static void clear(measurement *m)
{
    aleat_sampler_config_clear(&m->config);
    aleat_free(m->images);
    aleat_free(m->t);
    aleat_free(m->raw);
    aleat_denoiser_destroy(&m->cfg);
    aleat_text_list_clear(&m->texts);
    aleat_text_list_clear(&m->negative);
}

// The level of training step t, and the time that the network is told there.
static aleat_status set_level(measurement *m, const aleat_model *model, double t, aleat_error *err)
{
    const int n = m->config.train_steps;
    const bool flow = m->config.prediction == ALEAT_PREDICTS_FLOW;
    if (!(t >= 0 && t <= (flow ? n : n - 1)) || (!flow && t != floor(t)))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "t is %g: the training steps of this model are %s 0 to %d", t,
                          flow ? "numbers from" : "the whole numbers", flow ? n : n - 1);
    m->state.t_network = (float)(model->files.time_scale * (t + model->files.time_offset));
    if (flow) {
        m->state.sigma = t / n;
        m->state.alpha = 1 - m->state.sigma;
        return ALEAT_OK;
    }
    double *betas = aleat_calloc((size_t)n, sizeof *betas);
    double *abar = aleat_calloc((size_t)n, sizeof *abar);
    aleat_status st = ALEAT_OK;
    if (!betas || !abar) {
        st = aleat_fail_memory(err, "noise schedule");
        goto done;
    }
    aleat_schedule_betas(&m->config, betas);
    aleat_schedule_products(betas, n, abar);
    m->state.alpha = sqrt(abar[(int)t]);
    m->state.sigma = sqrt(1 - abar[(int)t]);
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
static aleat_status evaluate(measurement *m, const aleat_array *x, const int32_t *labels,
                             aleat_uncertainty *out, aleat_error *err)
{
    const aleat_denoiser *d = m->denoiser;
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
    const aleat_batch batch = {.n = n,
                               .height = x->dim[2],
                               .width = x->dim[3],
                               .x = x->data,
                               .t = m->t,
                               .condition = {labels, m->texts.pointers}};
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
    if (aleat_copies_clipped(&m->state, m->estimator.clip))
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
    aleat_compat_target(&m->compat, &m->state);
    return ALEAT_OK;
}

static aleat_status make_estimator(const measurement *m, aleat_estimator **out, aleat_error *err)
{
    return aleat_estimator_new(out, m->denoiser, m->config.prediction, &m->estimator, m->state.n,
                               m->state.height, m->state.width, err);
}

static aleat_status estimate(const measurement *m, float *map, int64_t *evaluations,
                             aleat_error *err)
{
    aleat_estimator *estimator = NULL;
    aleat_status st = make_estimator(m, &estimator, err);
    if (!st)
        st = aleat_estimator_run(estimator, &m->state, &m->noise, &map, err);
    *evaluations += st ? 0 : aleat_estimator_nfe(estimator);
    aleat_estimator_free(estimator);
    return st;
}

// The gradient by `way`, and the map from the same evaluations.
static aleat_status differentiate(const measurement *m, aleat_gradient way, float *map, float *grad,
                                  int64_t *evaluations, aleat_error *err)
{
    aleat_guide_options options = m->guidance;
    aleat_estimator *estimator = NULL;
    aleat_guide *guide = NULL;
    options.gradient = way;
    aleat_status st = make_estimator(m, &estimator, err);
    if (!st)
        st = aleat_guide_new(&guide, m->denoiser, m->config.prediction, &options, m->state.n,
                             m->state.height, m->state.width, err);
    const aleat_guide_report report = {.gradient = grad};
    const aleat_guide_request request = {.estimator = estimator, .maps = &map};
    if (!st) // the noise, which does not move, goes where the network's output was
        st = aleat_guide_run(guide, &m->state, &m->noise, &request, m->raw, &report, err);
    *evaluations += st ? 0 : aleat_guide_nfe(guide);
    aleat_guide_free(guide);
    aleat_estimator_free(estimator);
    return st;
}

// Cosines between two gradients, image by image; 0 where one of them vanishes.
static void compare_gradients(const aleat_array *a, const float *b, float *cosine)
{
    const int64_t n = a->dim[0], count = aleat_array_count(a) / n;
    for (int64_t i = 0; i < n; i++) {
        double ab = 0, aa = 0, bb = 0;
        for (int64_t j = i * count; j < (i + 1) * count; j++) {
            ab += (double)a->data[j] * (double)b[j];
            aa += (double)a->data[j] * (double)a->data[j];
            bb += (double)b[j] * (double)b[j];
        }
        cosine[i] = aa > 0 && bb > 0 ? (float)(ab / sqrt(aa * bb)) : 0;
    }
}

static aleat_status find_cosine(const measurement *m, aleat_uncertainty *out, aleat_error *err)
{
    int64_t not_counted = 0; // a check, not a part of the method
    aleat_array exact = {0};
    aleat_status st = aleat_array_new(&out->cosine, 1, out->grad.dim, err);
    if (!st)
        st = aleat_array_new(&exact, 4, out->grad.dim, err);
    if (!st)
        st = differentiate(m, ALEAT_GRADIENT_VJP, out->map.data, exact.data, &not_counted, err);
    if (!st)
        compare_gradients(&out->grad, exact.data, out->cosine.data);
    aleat_array_clear(&exact);
    return st;
}

static aleat_status set_statistic(measurement *m, const aleat_uncertainty_options *o,
                                  bool with_grad, aleat_error *err)
{
    const char *name = o->statistic ? o->statistic : "eps-var";
    const aleat_statistic *statistic = aleat_statistic_find(name);
    if (!statistic)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no statistic '%s'", name);
    m->estimator.statistics[0] = statistic;
    if (!with_grad || aleat_guide_statistic_of(&m->guidance.statistic, statistic))
        return ALEAT_OK;
    (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "there is no gradient of %s", statistic->name);
    aleat_hint(err, "statistics of the predicted noise have one: eps-var, eps-mse ...");
    return ALEAT_ERR_UNSUPPORTED;
}

static aleat_status set_estimator(measurement *m, const aleat_uncertainty_options *o,
                                  bool with_grad, aleat_error *err)
{
    unsigned set;
    const aleat_status st = aleat_estimators_parse(&set, o->estimator, err);
    if (st || set == ALEAT_ESTIMATOR_BIT(ALEAT_ESTIMATOR_COPIES))
        return st;
    if (set != ALEAT_ESTIMATOR_BIT(ALEAT_ESTIMATOR_DROPOUT))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "the estimator %s %s", o->estimator,
                          aleat_estimator_is_local(o->estimator)
                              ? "gives more than one map; at a given x there is one at a time"
                              : "needs a whole run");
    m->estimator.statistics[0] = aleat_estimator_statistic(ALEAT_ESTIMATOR_DROPOUT);
    if (with_grad || o->noise || (o->compat && *o->compat) || o->statistic)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "the estimator %s has no gradient, noise, statistic or variants",
                          o->estimator);
    return ALEAT_OK;
}

static aleat_status set_variants(measurement *m, const aleat_uncertainty_options *o, bool with_grad,
                                 aleat_error *err)
{
    int gradient = 0;
    aleat_status st = aleat_name_find(&gradient, aleat_gradient_name, o->gradient, "gradient", err);
    m->guidance.gradient = (aleat_gradient)gradient;
    if (!st)
        st = aleat_compat_parse(&m->compat, o->compat, err);
    if (!st && (m->compat.step_index || m->compat.from_next || m->compat.lower ||
                m->compat.update != ALEAT_UPDATE_GRADIENT))
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT,
                        "'%s': a state by itself has no sampler, whose steps some of these are for",
                        o->compat);
    if (!st && with_grad && m->compat.x0_as_eps)
        st = aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "dpm-target=x0 has no gradient");
    if (!st)
        aleat_compat_options(&m->compat, &m->estimator, &m->guidance);
    return st;
}

static aleat_status prepare(measurement *m, aleat_model *model, const aleat_array *x, double t,
                            const aleat_uncertainty_options *o, bool with_grad, aleat_error *err)
{
    const aleat_denoiser_info *info = &model->denoiser.info;
    m->guidance = aleat_guide_defaults();
    m->guidance.strength = 0;
    m->guidance.max_rows = m->estimator.max_rows = MOST_ROWS;
    if (x->n_dims != 4 || x->dim[0] < 1 || x->dim[1] != info->channels ||
        x->dim[2] != info->height || x->dim[3] != info->width)
        return aleat_fail(err, ALEAT_ERR_SHAPE, "x must be [N,%lld,%lld,%lld] for this network",
                          (long long)info->channels, (long long)info->height,
                          (long long)info->width);
    aleat_status st = aleat_model_check_denoiser(model, err);
    if (!st)
        st = set_statistic(m, o, with_grad, err);
    if (!st)
        st = aleat_clip_find(&m->estimator.clip, o->clip, err);
    m->guidance.clip = m->estimator.clip;
    if (!st)
        st = set_estimator(m, o, with_grad, err);
    if (!st)
        st = set_variants(m, o, with_grad, err);
    if (!st)
        st = aleat_schedule_of(&m->config, &model->files, model->path, o->schedule, NULL, err);
    if (!st)
        st = set_level(m, model, t, err);
    if (!st)
        st = set_noise(m, x, o, err);
    m->guidance.copies = m->estimator.copies = m->copies;
    if (!st)
        st = aleat_text_list_make(&m->texts, info, o->texts, x->dim[0], err);
    if (!st && o->negative)
        st = aleat_text_list_make(&m->negative, info, o->negative, 1, err);
    if (!st)
        st = aleat_model_cfg(&m->cfg, model, o->cfg_scale, m->negative.pointers, err);
    m->denoiser = m->cfg.ops ? &m->cfg : &model->denoiser;
    return st;
}

aleat_status aleat_model_uncertainty(aleat_model *model, const aleat_array *x, double t,
                                     const int32_t *labels,
                                     const aleat_uncertainty_options *options, int with_grad,
                                     aleat_uncertainty *out, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    const aleat_uncertainty_options defaults = {0};
    measurement m = {0};
    if (!options)
        options = &defaults;
    aleat_status st = prepare(&m, model, x, t, options, with_grad, err);
    aleat_array *const arrays[] = {&out->map, &out->eps, &out->x0, with_grad ? &out->grad : NULL};
    for (size_t i = 0; !st && i < 4; i++)
        if (arrays[i])
            st = aleat_array_new(arrays[i], 4, x->dim, err);
    if (!st)
        st = evaluate(&m, x, labels, out, err);
    out->evaluations = st ? 0 : 1 + m.denoiser->info.extra_evaluations;
    if (!st && with_grad)
        st = differentiate(&m, m.guidance.gradient, out->map.data, out->grad.data,
                           &out->evaluations, err);
    else if (!st)
        st = estimate(&m, out->map.data, &out->evaluations, err);
    if (!st && with_grad && options->with_cosine)
        st = find_cosine(&m, out, err);
    if (st)
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
    aleat_array_clear(&u->cosine);
    u->evaluations = 0;
}
