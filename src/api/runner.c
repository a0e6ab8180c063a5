/* One batch of a run: sampled, watched, scored, and put into its shard. */
#include "api/runner.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/image_convert.h"

int64_t aleat_runner_count(const aleat_runner *r)
{
    return r->shape->channels * r->shape->height * r->shape->width;
}

static aleat_status keep_step_maps(void *ctx, int step, float *const *maps, int64_t n,
                                   aleat_error *err)
{
    (void)err;
    const aleat_runner *r = ctx;
    const aleat_run_shape *s = r->shape;
    const int64_t count = aleat_runner_count(r), k = step - r->job->observe.score.begin;
    for (int m = 0; s->keep_steps && m < s->n_maps; m++)
        for (int64_t j = 0; j < n; j++)
            memcpy(r->shard->step_maps +
                       ((m * r->shard->count + r->row + j) * s->n_score_steps + k) * count,
                   maps[m] + j * count, (size_t)count * sizeof(float));
    return ALEAT_OK;
}

// The mean over the evaluations of a step.
static aleat_status note_guidance(void *ctx, int step, const double *change, int64_t n,
                                  aleat_error *err)
{
    (void)err;
    const aleat_runner *r = ctx;
    const int64_t steps = r->shape->n_guide_steps, k = step - r->shape->guide_begin;
    for (int64_t j = 0; j < n; j++)
        r->shard->changes[(r->row + j) * steps + k] += change[j] / r->guided_evaluations[step];
    return ALEAT_OK;
}

aleat_status aleat_runner_tell(const aleat_runner *r, int index, aleat_error *err)
{
    const aleat_run_options *o = r->job->options;
    if (!o->progress)
        return ALEAT_OK;
    const double part = (double)(index + 1) / r->job->plan->n_steps * (double)r->rows;
    if (o->progress(o->ctx, (double)r->done + part, (double)o->n))
        return ALEAT_OK;
    (void)aleat_fail(err, ALEAT_ERR_CANCELLED, "stopped after %" PRId64 " of %" PRId64 " images",
                     r->folder ? aleat_run_folder_done(r->folder) : r->done, o->n);
    aleat_hint(err, "the same command goes on from there");
    return ALEAT_ERR_CANCELLED;
}

// Keeps what the sampler itself predicts, before guidance; of a step's evaluations the first.
static void keep_x0(const aleat_runner *r, const aleat_evaluation *e)
{
    const int64_t count = aleat_runner_count(r), steps = r->shape->x0_steps;
    for (int64_t j = 0; steps > 0 && e->step->stage == 0 && j < e->n; j++)
        memcpy(r->shard->x0 + ((r->row + j) * steps + e->step->outer) * count, e->x0 + j * count,
               (size_t)count * sizeof(float));
}

// The place in the run of the batch's image j.
static int64_t place_of(const aleat_runner *r, int64_t j)
{
    return r->chosen ? r->chosen[j] : r->shard->first + r->row + j;
}

int64_t aleat_runner_image_count(const aleat_runner *r)
{
    return r->shape->image_channels * r->shape->image_height * r->shape->image_width;
}

static aleat_status evaluated(void *ctx, aleat_evaluation *evaluation, aleat_error *err)
{
    const aleat_runner *r = ctx;
    keep_x0(r, evaluation);
    const bool scored = evaluation->step->stage == 0 &&
                        aleat_window_has(r->job->observe.score, evaluation->step->outer);
    if (r->latent)
        aleat_run_latent_at(r->latent, evaluation,
                            scored && r->shape->carried
                                ? r->shard->carried + r->row * aleat_runner_image_count(r)
                                : NULL);
    return aleat_observer_evaluated(r->observer, evaluation, err);
}

// The classifier is told the same time as the model, as in guided-diffusion.
static aleat_status classifier_gradient(void *ctx, const aleat_evaluation *e, float *gradient,
                                        aleat_error *err)
{
    const aleat_runner *r = ctx;
    for (int64_t j = 0; j < e->n; j++)
        r->t_classifier[j] = e->t_network;
    const aleat_batch batch = {.n = e->n,
                               .height = e->height,
                               .width = e->width,
                               .x = e->x,
                               .t = r->t_classifier,
                               .condition = e->condition};
    return aleat_classifier_pull_run(r->pull, &batch, gradient, err);
}

// Keeps the state after the last evaluation of each outer step, and x_T.
static aleat_status advanced(void *ctx, int index, const float *x, int64_t n, aleat_error *err)
{
    const aleat_runner *r = ctx;
    const aleat_sampling_plan *plan = r->job->plan;
    const int64_t count = aleat_runner_count(r), states = r->shape->trajectory_states;
    const bool last = index + 1 == plan->n_steps;
    const bool whole =
        index < 0 || last || plan->steps[index + 1].outer != plan->steps[index].outer;
    const int64_t outer = index < 0 ? 0 : plan->steps[index].outer + 1;
    const int64_t place = states == 1 ? 0 : outer; // one state: the last
    if (states > 0 && whole && (states > 1 || last))
        for (int64_t j = 0; j < n; j++)
            memcpy(r->shard->trajectory + ((r->row + j) * states + place) * count, x + j * count,
                   (size_t)count * sizeof *x);
    return aleat_runner_tell(r, index, err);
}

// The pixels of the batch's image j, from [C,H,W] in [-1, 1].
static void take_pixels(const aleat_runner *r, int64_t j, const float *image)
{
    const aleat_run_shape *s = r->shape;
    aleat_image_of_floats(r->shard->images + (r->row + j) * aleat_runner_image_count(r), image,
                          s->image_channels, s->image_height, s->image_width);
}

// The images of the batch, decoded if they are latents. After take_maps().
static aleat_status take_images(const aleat_runner *r, aleat_error *err)
{
    int x0_var = 0;
    while (x0_var < r->shape->n_maps - 1 && strcmp(r->shape->maps[x0_var].name, "x0-var") != 0)
        x0_var++;
    const int64_t count = aleat_runner_count(r), map = x0_var * r->shard->count + r->row;
    aleat_status st = ALEAT_OK;
    for (int64_t j = 0; !st && j < r->rows; j++) {
        const float *x = r->x + j * count;
        if (r->latent)
            st = aleat_run_latent_decode(
                r->latent, (uint32_t)(r->shape->first + place_of(r, j)), x, r->image,
                r->shape->carried ? r->shard->maps + (map + j) * count : NULL,
                r->shape->carried ? r->shard->carried + (r->row + j) * aleat_runner_image_count(r)
                                  : NULL,
                err);
        if (!st)
            take_pixels(r, j, r->latent ? r->image : x);
    }
    return st;
}

static void take_maps(const aleat_runner *r)
{
    const aleat_run_shape *s = r->shape;
    for (int m = 0; m < s->n_maps; m++) {
        const aleat_accumulator *sums = aleat_observer_sums(r->observer, m);
        for (int64_t j = 0; j < r->rows; j++) {
            const int64_t at = m * r->shard->count + r->row + j;
            aleat_accumulator_map(sums, j, r->shard->maps + at * aleat_runner_count(r));
            for (int64_t k = 0; k < s->n_score_steps; k++)
                r->shard->sums[at * s->n_score_steps + k] =
                    aleat_accumulator_step_sum(sums, j, (int)s->score_steps[k]);
        }
    }
}

// Those that the observer knows; a score of images may follow.
static void take_signals(const aleat_runner *r)
{
    const aleat_signals *signals = aleat_observer_signals(r->observer);
    const int n = r->shape->n_signals - (r->drawn_sampler != NULL);
    for (int64_t j = 0; j < r->rows; j++)
        for (int k = 0; k < n; k++)
            r->shard->signals[(r->row + j) * r->shape->n_signals + k] =
                aleat_signals_value(signals, (aleat_signal)k, j);
}

// x = alpha x0 + sigma z of the images that the run begins with.
static aleat_status noise_images(const aleat_runner *r, aleat_error *err)
{
    const aleat_run_start *s = r->job->start;
    const int64_t count = aleat_runner_count(r);
    for (int64_t j = 0; j < r->rows; j++) {
        const int64_t image = r->shard->first + r->row + j;
        const aleat_rng_key key = {.image = (uint32_t)image, .purpose = ALEAT_FOR_DATA};
        float *x = r->state + j * count;
        const float *x0 = s->x0 + image * count;
        const aleat_status st = aleat_noise_fill(&r->noise, &key, x, count, err);
        if (st)
            return st;
        for (int64_t i = 0; i < count; i++)
            x[i] = (float)(s->alpha * (double)x0[i] + s->sigma * (double)x[i]);
    }
    return ALEAT_OK;
}

aleat_status aleat_runner_batch(aleat_runner *r, aleat_error *err)
{
    const aleat_run_options *o = r->job->options;
    const int64_t first = place_of(r, 0);
    uint32_t images[ALEAT_SHARD_IMAGES] = {0};
    int32_t labels[ALEAT_SHARD_IMAGES];
    const aleat_text *texts[ALEAT_SHARD_IMAGES], *negatives[ALEAT_SHARD_IMAGES];
    aleat_condition condition = {.labels = o->labels ? labels : NULL};
    for (int64_t j = 0; j < r->rows; j++) {
        images[j] = (uint32_t)(o->first + place_of(r, j));
        labels[j] = o->labels ? o->labels[place_of(r, j)] : -1;
        r->shard->labels[r->row + j] = labels[j];
        aleat_run_texts_of(&r->job->texts, place_of(r, j), j, texts, negatives, &condition);
    }
    if (r->torch)
        aleat_noise_torch_restart(r->torch, images[0]);
    aleat_observer_begin(r->observer, r->noise);
    const aleat_sample_request request = {
        .n = r->rows,
        .images = images,
        .condition = condition,
        .noise = r->noise,
        .initial =
            r->job->initial.data ? r->job->initial.data + first * aleat_runner_count(r) : NULL,
        .state = r->state,
        .first = r->job->start ? r->job->start->evaluation : 0,
        .hooks = {.ctx = r,
                  .evaluated = evaluated,
                  .gradient = r->pull ? classifier_gradient : NULL,
                  .advanced = advanced}};
    aleat_status st = r->job->start ? noise_images(r, err) : ALEAT_OK;
    if (!st)
        st = aleat_sampler_run(r->sampler, &request, r->x, err);
    if (st)
        return st;
    take_maps(r);
    take_signals(r);
    st = take_images(r, err);
    if (!st && r->drawn_sampler)
        st = aleat_runner_score_drawn(r, &request, err);
    if (st)
        return st;
    r->batches++;
    r->done += r->rows;
    return ALEAT_OK;
}

void aleat_runner_clear(aleat_runner *r)
{
    aleat_sampler_free(r->sampler);
    aleat_observer_free(r->observer);
    aleat_noise_torch_free(r->torch);
    aleat_classifier_pull_free(r->pull);
    aleat_free(r->t_classifier);
    aleat_run_latent_free(r->latent);
    aleat_free(r->image);
    aleat_free(r->x);
    aleat_free(r->state);
    aleat_free(r->guided_evaluations);
    aleat_sampler_free(r->drawn_sampler);
    aleat_denoiser_destroy(&r->drawn);
    aleat_free(r->drawn_x);
    aleat_free(r->drawn_picture);
    aleat_free(r->drawn_features);
    aleat_denoiser_destroy(&r->cfg);
}

// Generated noise, under the stored arrays if there are any.
static aleat_status make_noise(aleat_runner *r, aleat_error *err)
{
    const aleat_run_job *job = r->job;
    r->noise = aleat_noise_philox(job->options->seed);
    if (job->torch) {
        const aleat_status st =
            aleat_noise_torch_new(&r->torch, job->options->seed, 0, job->batch, err);
        if (st)
            return st;
        r->noise = aleat_noise_torch_source(r->torch);
    }
    if (!job->step_noise.data && !job->copy_noise.data)
        return ALEAT_OK;
    r->stored = (aleat_noise_arrays){.step = job->step_noise.data,
                                     .copy = job->copy_noise.data,
                                     .images = job->options->n,
                                     .count = aleat_runner_count(r),
                                     .steps = job->step_noise.dim[0],
                                     .copies = job->copy_noise.dim[1],
                                     .copy_steps = job->copy_noise.dim[0],
                                     .otherwise = r->noise};
    r->noise = aleat_noise_from_arrays(&r->stored);
    return ALEAT_OK;
}

aleat_status aleat_runner_make(aleat_runner *r, aleat_error *err)
{
    const aleat_run_job *job = r->job;
    aleat_status st = aleat_model_cfg(&r->cfg, job->model, job->options->cfg_scale,
                                      job->texts.negative.pointers, err);
    if (st)
        return st;
    const aleat_denoiser *d = r->cfg.ops ? &r->cfg : &job->model->denoiser;
    const int64_t height = r->shape->height, width = r->shape->width;
    const aleat_time_map map = {job->model->files.time_scale,
                                job->model->files.time_scale * job->model->files.time_offset};
    aleat_observer_options observe = job->observe;
    observe.scored = keep_step_maps;
    observe.guided = note_guidance;
    observe.ctx = r;
    observe.cfg = r->cfg.ops ? &r->cfg : NULL;
    observe.thresholds = job->threshold.by_step;
    r->x = aleat_calloc((size_t)(job->batch * aleat_runner_count(r)), sizeof *r->x);
    r->guided_evaluations = aleat_calloc((size_t)job->plan->n_outer, sizeof *r->guided_evaluations);
    if (job->start)
        r->state = aleat_calloc((size_t)(job->batch * aleat_runner_count(r)), sizeof *r->state);
    if (!r->x || !r->guided_evaluations || (job->start && !r->state))
        return aleat_fail_memory(err, "a batch of images");
    for (int k = 0; k < job->plan->n_steps; k++)
        r->guided_evaluations[job->plan->steps[k].outer]++;
    st = make_noise(r, err);
    if (!st && job->options->classifier) {
        st = aleat_classifier_pull_new(&r->pull, &job->options->classifier->denoiser,
                                       job->options->classifier_scale, job->batch, err);
        r->t_classifier = aleat_calloc((size_t)job->batch, sizeof *r->t_classifier);
        if (!st && !r->t_classifier)
            st = aleat_fail_memory(err, "classifier guidance");
    }
    if (!st && job->latent.vae) {
        st = aleat_run_latent_new(&r->latent, &job->latent, d, job->plan->prediction, err);
        r->image = aleat_calloc((size_t)aleat_runner_image_count(r), sizeof *r->image);
        if (!st && !r->image)
            st = aleat_fail_memory(err, "a decoded image");
    }
    observe.guidance.beside = d;
    // what is decoded are copies, which BayesDiff has none of
    const bool tapped = !st && job->latent.vae && !job->posterior;
    if (!st)
        st = aleat_observer_new(&r->observer, job->plan,
                                tapped ? aleat_run_latent_tap(r->latent) : d, job->plan->prediction,
                                &observe, job->batch, height, width, err);
    if (!st)
        st = aleat_sampler_new(&r->sampler, job->plan, aleat_observer_tap(r->observer, d), map,
                               job->batch, height, width, err);
    if (!st && aleat_run_estimates(job, ALEAT_ESTIMATOR_GENERATIVE))
        st = aleat_runner_make_drawn(r, d, map, err);
    return st;
}

int64_t aleat_runner_evaluations(const aleat_runner *r)
{
    return r->batches ? aleat_sampler_nfe(r->sampler) / r->batches : 0;
}

int64_t aleat_runner_extra(const aleat_runner *r)
{
    const int64_t drawn = r->drawn_sampler ? aleat_sampler_nfe(r->drawn_sampler) : 0;
    return r->batches ? (aleat_observer_nfe(r->observer) + drawn) / r->batches : 0;
}
