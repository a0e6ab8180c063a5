/* aleat_model_generate(): from options to a run folder, shard by shard and batch by batch. */
#include "aleat/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/laplace_file.h"
#include "api/run_folder.h"
#include "api/run_settings.h"
#include "api/run_state.h"
#include "api/schedule.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "denoiser/classifier.h"
#include "io/file.h"
#include "io/image_convert.h"
#include "io/npy.h"
#include "io/sha256.h"
#include "uncertainty/generative.h"

#define DEFAULT_COPIES 5
// BayesDiff's own: every 5th step, 10 states.
#define DEFAULT_EVERY    5
#define DEFAULT_STATES   10
#define DEFAULT_PRODUCTS 4
// A batch has about as many pixels as 16 images of 32 x 32 if the user does not say.
#define BATCH_PIXELS (16 * 32 * 32)

/* ---- names ----------------------------------------------------------------------------------- */

static const struct {
    const char *name, *help;
} rngs[] = {
    {"philox", "by image number: same on every machine"},
    {"torch", "image i as diffusers makes it with a CPU generator of seed + i"},
};

static const struct {
    const char *name, *help;
    aleat_resume resume;
} resumes[] = {
    {"auto", "go on with the same run, begin if there is none", ALEAT_RESUME_AUTO},
    {"require", "go on, never begin", ALEAT_RESUME_REQUIRE},
    {"discard", "throw away what is there", ALEAT_RESUME_DISCARD},
};

const char *aleat_rng_name(int i, const char **help)
{
    if (i < 0 || i >= (int)(sizeof rngs / sizeof *rngs))
        return NULL;
    if (help)
        *help = rngs[i].help;
    return rngs[i].name;
}

const char *aleat_resume_name(int i, const char **help)
{
    if (i < 0 || i >= (int)(sizeof resumes / sizeof *resumes))
        return NULL;
    if (help)
        *help = resumes[i].help;
    return resumes[i].name;
}

// The maps of scored runs, all from the same evaluations; the first is the paper's and the score.
static const struct {
    const char *name, *file, *unit;
} run_maps[] = {
    {"eps-var", "uncertainty.npy", NULL},
    {"x0-var", "x0-var.npy", "squared pixels"},
    {"post-var", "post-var.npy", "squared pixels"},
    {"post-var-se", "post-var-se.npy", "squared pixels"},
    // where one is asked for
    {"eps-mse", "eps-mse.npy", NULL},
    {"eps-var0", "eps-var0.npy", NULL},
    {"eps-std", "eps-std.npy", NULL},
    {"eps-square", "eps-square.npy", NULL},
    {"v-var", "v-var.npy", NULL},
    // of other estimators
    {"dropout-var", "dropout-var.npy", NULL},
    {"bayes-var", "bayes-var.npy", "squared pixels"},
};
#define N_MAPS     4 // of every scored run
#define N_ALL_MAPS ((int)(sizeof run_maps / sizeof *run_maps))
// What pictures show and the contact sheet is sorted by unless the caller says otherwise: x0-var is
// high where the prediction of x0 is unsure, while eps-var falls there (docs/numerics.md).
const char aleat_run_map_shown[] = "x0-var";

const char *aleat_map_name(int i, const char **help)
{
    if (i < 0 || i >= N_MAPS)
        return NULL;
    if (help)
        *help = aleat_statistic_find(run_maps[i].name)->description;
    return run_maps[i].name;
}

const char *aleat_run_map_at(int i, const char **file)
{
    if (i < 0 || i >= N_ALL_MAPS)
        return NULL;
    *file = run_maps[i].file;
    return run_maps[i].name;
}

static const struct {
    const char *name, *help;
} map_spaces[] = {
    {"latent", "the latents' own maps, enlarged; costs nothing"},
    {"image", "the variance of x0 carried into the images, by --carry"},
};

// In the order of aleat_carry after NONE.
static const struct {
    const char *name, *help;
} carries[] = {
    {"jvp", "first order: K products with the decoder's Jacobian, about 2 K decodings an image"},
    {"copies", "variance of the decoded copies: M decodings for each scored step of an image"},
};

const char *aleat_map_space_name(int i, const char **help)
{
    if (i < 0 || i >= (int)(sizeof map_spaces / sizeof *map_spaces))
        return NULL;
    if (help)
        *help = map_spaces[i].help;
    return map_spaces[i].name;
}

const char *aleat_carry_name(int i, const char **help)
{
    if (i < 0 || i >= (int)(sizeof carries / sizeof *carries))
        return NULL;
    if (help)
        *help = carries[i].help;
    return carries[i].name;
}

/* ---- from options to a job ------------------------------------------------------------------- */

void aleat_run_job_clear(aleat_run_job *job)
{
    aleat_sampling_plan_free(job->plan);
    aleat_run_texts_clear(&job->texts);
    aleat_array_clear(&job->initial);
    aleat_array_clear(&job->step_noise);
    aleat_array_clear(&job->copy_noise);
    aleat_threshold_clear(&job->threshold);
    aleat_posterior_free(job->posterior);
}

static aleat_status check_options(const aleat_run_options *o, const aleat_denoiser_info *info,
                                  aleat_error *err)
{
    if (o->n < 1 || o->n > UINT32_MAX || o->first < 0 || o->first > UINT32_MAX - o->n)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "a run of %" PRId64 " images from %" PRId64,
                          o->n, o->first);
    if (o->first && o->noise_dir)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "stored noise is that of a run's images from 0, not from %" PRId64,
                          o->first);
    const bool labelled = info->n_classes > 0 || o->classifier;
    if (labelled && !o->labels)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "this %s needs labels",
                          info->n_classes ? "model" : "classifier");
    if (!labelled && o->labels)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "this model takes no labels");
    if (o->guide && o->percentile != o->percentile)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "the percentile of guidance is not a number");
    return ALEAT_OK;
}

static aleat_status window_of(aleat_window *out, aleat_steps wanted, int steps, const char *what,
                              aleat_error *err)
{
    *out = aleat_window_default(steps);
    if (!wanted.begin && !wanted.end)
        return ALEAT_OK;
    if (wanted.begin < 0 || wanted.begin >= wanted.end || wanted.end > steps)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "the %s steps %" PRId64 ":%" PRId64 " are not steps of a run of %d", what,
                          wanted.begin, wanted.end, steps);
    *out = (aleat_window){(int)wanted.begin, (int)wanted.end};
    return ALEAT_OK;
}

// The row of the table of maps.
static int run_map_of(const char *name)
{
    int m = 0;
    while (m < N_ALL_MAPS - 1 && strcmp(run_maps[m].name, name) != 0)
        m++;
    return m;
}

// The statistic that guidance climbs and a scored run keeps.
static aleat_status find_statistic(aleat_run_job *job, aleat_error *err)
{
    // Of a flow model the velocity moves, by its own variance.
    const char *usual = job->plan->prediction == ALEAT_PREDICTS_FLOW ? "v-var" : run_maps[0].name;
    const char *name = job->options->statistic ? job->options->statistic : usual;
    const aleat_statistic *statistic = aleat_statistic_find(name);
    for (int m = 0; statistic && m < N_ALL_MAPS; m++)
        if (strcmp(run_maps[m].name, statistic->name) == 0) {
            job->statistic = run_maps[m].name;
            return ALEAT_OK;
        }
    return aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no statistic '%s'", name);
}

// How the gradient of the statistic is made.
static aleat_status find_guidance(aleat_run_job *job, aleat_guide_options *out, aleat_error *err)
{
    const aleat_run_options *o = job->options;
    int gradient = 0;
    if (!aleat_guide_statistic_of(&out->statistic, aleat_statistic_find(job->statistic)))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no gradient of %s", job->statistic);
    const aleat_status st =
        aleat_name_find(&gradient, aleat_gradient_name, o->gradient, "gradient", err);
    out->gradient = (aleat_gradient)gradient;
    job->gradient = aleat_gradient_name(gradient, NULL);
    return st;
}

// Finds the step that a run from known images begins with, and its level.
static aleat_status find_start(const aleat_run_job *job, aleat_error *err)
{
    aleat_run_start *s = job->start;
    const aleat_sampling_plan *plan = job->plan;
    const int n = plan->n_outer;
    const int64_t outer = s->from ? s->from : (int64_t)floor(s->share * n);
    if (outer < 1 || outer >= n)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "images cannot be noised to step %" PRId64
                          " of %d: steps 1 to %d have something before and behind them",
                          outer, n, n - 1);
    const int k = aleat_sampling_plan_begin(plan, (int)outer);
    if (k < 0) {
        (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                         "sampler %s cannot begin with step %" PRId64 ": it needs those before",
                         plan->kind->name, outer);
        aleat_hint(err, "begin one step earlier or later, or with another sampler");
        return ALEAT_ERR_UNSUPPORTED;
    }
    const aleat_sampling_step *step = &plan->steps[k];
    s->outer = (int)outer;
    s->outer_steps = n;
    s->evaluation = k;
    s->t = step->t;
    s->alpha = step->alpha;
    s->sigma = step->sigma;
    if (!s->step_index)
        return ALEAT_OK;
    if (plan->prediction == ALEAT_PREDICTS_FLOW || outer >= plan->train_steps)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "there is no abar of step number %" PRId64 " in this schedule", outer);
    s->alpha = sqrt(plan->alphas_cumprod[outer]);
    s->sigma = sqrt(1 - plan->alphas_cumprod[outer]);
    return ALEAT_OK;
}

// Steps that are not executed cannot be scored.
static aleat_status start_window(aleat_run_job *job, aleat_error *err)
{
    aleat_window *w = &job->observe.score;
    const aleat_run_start *s = job->start;
    if (!job->options->score_steps.end)
        *w = (aleat_window){s->outer, job->plan->n_outer};
    if (w->begin < s->outer)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "step %d cannot be scored: this run begins with step %d", w->begin,
                          s->outer);
    job->observe.signals = *w;
    return ALEAT_OK;
}

// What an estimator other than Algorithm 1 cannot be asked for.
static aleat_status check_rival(const aleat_run_job *job, const char *name, aleat_error *err)
{
    const aleat_run_options *o = job->options;
    const struct {
        bool set;
        const char *what;
    } asked[] = {{!o->uncertainty, "a run that is not scored"},
                 {o->guide, "guidance by uncertainty"},
                 {o->statistic != NULL, "a statistic of the copies"},
                 {o->compat && *o->compat, "a variant of Algorithm 1"},
                 {o->map_space && strcmp(o->map_space, "image") == 0,
                  "maps carried into the space of images"}};
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
        if (asked[i].set)
            return aleat_fail(err, ALEAT_ERR_ARGUMENT, "the estimator %s does not go with %s", name,
                              asked[i].what);
    return ALEAT_OK;
}

// The posterior over the last layer.
static aleat_status open_posterior(aleat_run_job *job, aleat_error *err)
{
    const aleat_run_options *o = job->options;
    if (o->laplace)
        return aleat_laplace_open(&job->posterior, job->model, o->laplace, err);
    (void)aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s needs a posterior over the last layer",
                     o->estimator);
    aleat_hint(err, "fit one with 'aleat laplace' and give it by --laplace FILE");
    return ALEAT_ERR_ARGUMENT;
}

// Scores whole images: no step is scored.
static aleat_status make_generative(aleat_run_job *job, aleat_error *err)
{
    const aleat_run_options *o = job->options;
    const int64_t channels = job->model->files.info.channels;
    if (!o->features)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "the estimator generative needs a feature network (--features)");
    if (o->score_steps.end)
        return aleat_fail(
            err, ALEAT_ERR_ARGUMENT,
            "the estimator generative does not go with scored steps: it scores images");
    if (!o->decoder && channels != 1 && channels != 3)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "the estimator generative looks at images: latents need a decoder");
    return open_posterior(job, err);
}

// BayesDiff takes its map from the end of the run, and its formulas from steps that are linear.
static aleat_status make_bayesdiff(aleat_run_job *job, aleat_error *err)
{
    const aleat_run_options *o = job->options;
    aleat_observer_options *w = &job->observe;
    if (o->classifier || o->score_steps.end)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "the estimator bayesdiff does not go with %s",
                          o->classifier ? "a classifier"
                                        : "scored steps: it scores the last state");
    if (o->every < 0 || o->every > job->plan->n_outer || o->laplace_draws < 0 ||
        o->laplace_draws >= 1 << 24)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "every %" PRId64 " steps of %d, %" PRId64 " weights drawn", o->every,
                          job->plan->n_outer, o->laplace_draws);
    job->plan->clip = (aleat_clip){0};
    job->plan->eps_from_clipped = false;
    w->score = (aleat_window){job->plan->n_outer - 1, job->plan->n_outer};
    w->bayesdiff = (aleat_bayesdiff_options){
        .every = o->every ? (int)o->every : DEFAULT_EVERY,
        .samples = o->copies ? (int)o->copies : DEFAULT_STATES,
        .draws = (int)o->laplace_draws,
        .time_map = {job->model->files.time_scale,
                     job->model->files.time_scale * job->model->files.time_offset}};
    const aleat_status st = open_posterior(job, err);
    w->bayesdiff.posterior = job->posterior;
    return st;
}

// Which estimator, and the maps it will give.
static aleat_status find_maps(aleat_run_job *job, aleat_error *err)
{
    aleat_estimator_options *e = &job->observe.estimator;
    int kind = 0;
    aleat_status st =
        aleat_name_find(&kind, aleat_estimator_name, job->options->estimator, "estimator", err);
    if (st)
        return st;
    e->kind = (aleat_estimator_kind)kind;
    job->n_maps = 0;
    const aleat_statistic *own = aleat_estimator_statistic(e->kind);
    if (e->kind == ALEAT_ESTIMATOR_GENERATIVE) {
        job->statistic = ALEAT_GENERATIVE_SCORE;
        return check_rival(job, job->options->estimator, err);
    }
    if (own) {
        job->statistic = own->name;
        job->maps[job->n_maps] = run_map_of(own->name);
        e->statistics[job->n_maps++] = own;
        return check_rival(job, job->options->estimator, err);
    }
    st = find_statistic(job, err);
    for (int m = 0; !st && m < N_ALL_MAPS; m++)
        if (m < N_MAPS || strcmp(run_maps[m].name, job->statistic) == 0) {
            job->maps[job->n_maps] = m;
            e->statistics[job->n_maps++] = aleat_statistic_find(run_maps[m].name);
        }
    return st;
}

// A map in the unit of x0 does not exist where nothing of the image is left, as at a flow's first
// step.
static aleat_status check_signal(const aleat_run_job *job, aleat_error *err)
{
    const aleat_observer_options *w = &job->observe;
    for (int k = 0; job->options->uncertainty && k < job->plan->n_steps; k++)
        for (int m = 0; m < job->n_maps; m++) {
            const aleat_sampling_step *step = &job->plan->steps[k];
            const aleat_statistic *map = w->estimator.statistics[m];
            if (step->alpha > 0 || !map || !map->signal_power ||
                !aleat_window_has(w->score, step->outer))
                continue;
            (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                             "step %d cannot be scored: it is pure noise, where %s has no value",
                             step->outer, map->name);
            aleat_hint(err, "score from step %d on", step->outer + 1);
            return ALEAT_ERR_ARGUMENT;
        }
    return ALEAT_OK;
}

static aleat_status make_observation(aleat_run_job *job, aleat_error *err)
{
    const aleat_run_options *o = job->options;
    aleat_observer_options *w = &job->observe;
    aleat_status st = find_maps(job, err);
    if (st)
        return st;
    w->estimator.copies = o->copies ? (int)o->copies : DEFAULT_COPIES;
    st = aleat_clip_find(&w->estimator.clip, o->clip, err);
    if (!st && w->estimator.kind == ALEAT_ESTIMATOR_BAYESDIFF)
        st = make_bayesdiff(job, err);
    else if (!st && w->estimator.kind == ALEAT_ESTIMATOR_GENERATIVE)
        st = make_generative(job, err);
    else if (!st && o->uncertainty)
        st = window_of(&w->score, o->score_steps, job->plan->n_outer, "scored", err);
    // All steps, as the paper's Algorithm 2 has it.
    const aleat_steps all = {0, job->plan->n_outer};
    if (!st && o->guide)
        st = window_of(&w->guide, o->guide_steps.end ? o->guide_steps : all, job->plan->n_outer,
                       "guided", err);
    w->guidance = aleat_guide_defaults();
    w->guidance.copies = w->estimator.copies;
    w->guidance.clip = w->estimator.clip;
    w->guidance.percentile = o->percentile;
    w->guidance.strength = o->strength;
    w->guidance.descend = o->descend;
    if (!st) // also where nothing is scored: they cost nothing
        st = window_of(&w->signals, o->score_steps, job->plan->n_outer, "scored", err);
    if (!st && job->start)
        st = start_window(job, err);
    if (!st)
        st = check_signal(job, err);
    if (!st)
        st = aleat_compat_parse(&w->compat, o->compat, err);
    return st || !o->guide ? st : find_guidance(job, &w->guidance, err);
}

static aleat_status make_latent(aleat_run_job *job, aleat_error *err)
{
    const aleat_run_options *o = job->options;
    int space = 0, carry = 0;
    aleat_status st =
        aleat_name_find(&space, aleat_map_space_name, o->map_space, "space of maps", err);
    if (!st)
        st = aleat_name_find(&carry, aleat_carry_name, o->carry, "way to carry maps", err);
    if (!st && space && (!o->decoder || !o->uncertainty))
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT,
                        "maps in the space of images need a decoder and uncertainty");
    if (!st && space && carry == (int)ALEAT_CARRY_COPIES - 1 &&
        aleat_compat_moves_copies(&job->observe.compat))
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT,
                        "these copies are not those of the sampler's state, so decoding them says "
                        "nothing of it: carry by jvp");
    if (!st && (o->carry_products < 0 || o->carry_products > 65536))
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT, "%" PRId64 " products with the Jacobian",
                        o->carry_products);
    job->latent = (aleat_run_latent_options){
        .vae = o->decoder,
        .carry = space ? (aleat_carry)(carry + 1) : ALEAT_CARRY_NONE,
        .products = o->carry_products ? (int)o->carry_products : DEFAULT_PRODUCTS,
        .copies = job->observe.estimator.copies,
        .seed = o->seed};
    return st;
}

static aleat_status check_classifier(const aleat_run_job *job, aleat_error *err)
{
    const aleat_model *c = job->options->classifier;
    if (!c)
        return ALEAT_OK;
    const aleat_denoiser_info *theirs = &c->files.info, *ours = &job->model->files.info;
    if (c->files.role != ALEAT_MODEL_CLASSIFIER)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: is not a classifier of noisy images",
                          c->path);
    if (theirs->channels != ours->channels || theirs->height != ours->height ||
        theirs->width != ours->width)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: classifies images of %" PRId64 " x %" PRId64
                          ", the model makes %" PRId64 " x %" PRId64,
                          c->path, theirs->height, theirs->width, ours->height, ours->width);
    if (!isfinite(job->options->classifier_scale))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "the scale of the classifier is not a number");
    return ALEAT_OK;
}

// Reads an array whose last four dimensions are the run's, after `leading` others.
static aleat_status read_noise(aleat_array *out, const aleat_run_job *job, const char *path,
                               int leading, aleat_error *err)
{
    const aleat_denoiser_info *info = &job->model->files.info;
    const int64_t want[4] = {job->options->n, info->channels, info->height, info->width};
    aleat_status st = aleat_array_read(out, path, err);
    if (!st && (out->n_dims != leading + 4 || memcmp(out->dim + leading, want, sizeof want) != 0))
        st = aleat_fail(err, ALEAT_ERR_SHAPE,
                        "%s: must have %d dimensions, the last four %lld,%lld,%lld,%lld", path,
                        leading + 4, (long long)want[0], (long long)want[1], (long long)want[2],
                        (long long)want[3]);
    return st;
}

static aleat_status read_noise_dir(aleat_run_job *job, aleat_error *err)
{
    const char *dir = job->options->noise_dir;
    const struct {
        const char *name;
        aleat_array *array;
        int leading;
    } files[] = {{"step.npy", &job->step_noise, 1}, {"copy.npy", &job->copy_noise, 2}};
    int found = 0;
    for (int i = 0; i < 2; i++) {
        char *path = aleat_path_join(dir, files[i].name);
        if (!path)
            return aleat_fail_memory(err, dir);
        const bool there = aleat_is_file(path);
        const aleat_status st =
            there ? read_noise(files[i].array, job, path, files[i].leading, err) : ALEAT_OK;
        aleat_free(path);
        if (st)
            return st;
        found += there;
    }
    if (found == 0)
        return aleat_fail(err, ALEAT_ERR_IO, "%s: holds neither step.npy nor copy.npy", dir);
    const aleat_array *copy = &job->copy_noise;
    if (copy->data && copy->dim[1] < job->observe.estimator.copies)
        return aleat_fail(err, ALEAT_ERR_SHAPE, "%s/copy.npy: holds noise for %lld copies, not %d",
                          dir, (long long)copy->dim[1], job->observe.estimator.copies);
    return ALEAT_OK;
}

aleat_status aleat_run_job_make(aleat_run_job *job, aleat_error *err)
{
    const aleat_run_options *o = job->options;
    const aleat_denoiser_info *info = &job->model->files.info;
    int rng = 0;
    aleat_status st = aleat_model_check_denoiser(job->model, err);
    if (!st)
        st = aleat_run_texts_make(&job->texts, job->model, o, err);
    if (!st)
        st = check_options(o, info, err);
    if (!st)
        st = aleat_name_find(&rng, aleat_rng_name, o->rng, "source of random numbers", err);
    job->torch = rng == 1;
    if (!st)
        st = aleat_schedule_plan(&job->plan, &job->model->files, job->model->path, &o->sampling,
                                 err);
    if (!st && job->start)
        st = find_start(job, err);
    if (!st)
        st = make_observation(job, err);
    if (!st)
        st = make_latent(job, err);
    if (!st)
        st = check_classifier(job, err);
    if (!st && o->initial)
        st = read_noise(&job->initial, job, o->initial, 0, err);
    if (!st && o->noise_dir)
        st = read_noise_dir(job, err);
    job->batch = o->batch ? o->batch : BATCH_PIXELS / (info->height * info->width);
    job->batch = job->batch < 1                    ? 1
                 : job->batch > ALEAT_SHARD_IMAGES ? ALEAT_SHARD_IMAGES
                                                   : job->batch;
    return st;
}

/* ---- sampling -------------------------------------------------------------------------------- */

// What samples one batch after the other into the folder's shards.
typedef struct runner {
    const aleat_run_job *job;
    aleat_run_folder *folder;
    const aleat_run_shape *shape;
    aleat_sampler *sampler;
    aleat_observer *observer;
    aleat_noise_torch *torch;
    aleat_noise_arrays stored;
    aleat_noise_source noise;
    aleat_denoiser cfg;          // classifier-free guidance; empty: none
    float *x;                    // [batch, count]
    float *state;                // [batch, count], noised images to begin with; NULL: noise
    aleat_classifier_pull *pull; // NULL: no classifier
    float *t_classifier;         // [batch]
    aleat_run_latent *latent;    // NULL: samples are the images
    float *image;                // [image_count], a decoded image
    int *guided_evaluations;     // [n_outer] of each step
    // generative: what samples with drawn weights, its batch, one picture, features
    aleat_denoiser drawn;
    aleat_sampler *drawn_sampler; // NULL: nothing is drawn
    float *drawn_x;               // [batch, count]
    uint8_t *drawn_picture;       // [image_count]
    float *drawn_features;        // [batch, 1 + copies, dim]
    aleat_shard *shard;
    int64_t row, rows;     // of the shard: where the batch begins, how many it has
    const int64_t *chosen; // [rows] places of the batch's images; NULL: one after the other
    int64_t done, batches;
} runner;

static int64_t count_of(const runner *r)
{
    return r->shape->channels * r->shape->height * r->shape->width;
}

static aleat_status keep_step_maps(void *ctx, int step, float *const *maps, int64_t n,
                                   aleat_error *err)
{
    (void)err;
    const runner *r = ctx;
    const aleat_run_shape *s = r->shape;
    const int64_t count = count_of(r), k = step - r->job->observe.score.begin;
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
    const runner *r = ctx;
    const int64_t steps = r->shape->n_guide_steps, k = step - r->shape->guide_begin;
    for (int64_t j = 0; j < n; j++)
        r->shard->changes[(r->row + j) * steps + k] += change[j] / r->guided_evaluations[step];
    return ALEAT_OK;
}

static aleat_status tell_progress(const runner *r, int index, aleat_error *err)
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
static void keep_x0(const runner *r, const aleat_evaluation *e)
{
    const int64_t count = count_of(r), steps = r->shape->x0_steps;
    for (int64_t j = 0; steps > 0 && e->step->stage == 0 && j < e->n; j++)
        memcpy(r->shard->x0 + ((r->row + j) * steps + e->step->outer) * count, e->x0 + j * count,
               (size_t)count * sizeof(float));
}

// The place in the run of the batch's image j.
static int64_t place_of(const runner *r, int64_t j)
{
    return r->chosen ? r->chosen[j] : r->shard->first + r->row + j;
}

static int64_t image_count(const runner *r)
{
    return r->shape->image_channels * r->shape->image_height * r->shape->image_width;
}

static aleat_status evaluated(void *ctx, aleat_evaluation *evaluation, aleat_error *err)
{
    const runner *r = ctx;
    keep_x0(r, evaluation);
    const bool scored = evaluation->step->stage == 0 &&
                        aleat_window_has(r->job->observe.score, evaluation->step->outer);
    if (r->latent)
        aleat_run_latent_at(
            r->latent, evaluation,
            scored && r->shape->carried ? r->shard->carried + r->row * image_count(r) : NULL);
    return aleat_observer_evaluated(r->observer, evaluation, err);
}

// The classifier is told the same time as the model, as in guided-diffusion.
static aleat_status classifier_gradient(void *ctx, const aleat_evaluation *e, float *gradient,
                                        aleat_error *err)
{
    const runner *r = ctx;
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
    const runner *r = ctx;
    const aleat_sampling_plan *plan = r->job->plan;
    const int64_t count = count_of(r), states = r->shape->trajectory_states;
    const bool last = index + 1 == plan->n_steps;
    const bool whole =
        index < 0 || last || plan->steps[index + 1].outer != plan->steps[index].outer;
    const int64_t outer = index < 0 ? 0 : plan->steps[index].outer + 1;
    const int64_t place = states == 1 ? 0 : outer; // one state: the last
    if (states > 0 && whole && (states > 1 || last))
        for (int64_t j = 0; j < n; j++)
            memcpy(r->shard->trajectory + ((r->row + j) * states + place) * count, x + j * count,
                   (size_t)count * sizeof *x);
    return tell_progress(r, index, err);
}

// The pixels of the batch's image j, from [C,H,W] in [-1, 1].
static void take_pixels(const runner *r, int64_t j, const float *image)
{
    const aleat_run_shape *s = r->shape;
    aleat_image_of_floats(r->shard->images + (r->row + j) * image_count(r), image,
                          s->image_channels, s->image_height, s->image_width);
}

static int shown_of(const char *name)
{
    for (int m = 0; m < N_MAPS; m++)
        if (strcmp(run_maps[m].name, name) == 0)
            return m;
    return 0;
}

// The images of the batch, decoded if they are latents. After take_maps().
static aleat_status take_images(const runner *r, aleat_error *err)
{
    const int64_t count = count_of(r), map = shown_of("x0-var") * r->shard->count + r->row;
    aleat_status st = ALEAT_OK;
    for (int64_t j = 0; !st && j < r->rows; j++) {
        const float *x = r->x + j * count;
        if (r->latent)
            st = aleat_run_latent_decode(
                r->latent, (uint32_t)(r->shape->first + place_of(r, j)), x, r->image,
                r->shape->carried ? r->shard->maps + (map + j) * count : NULL,
                r->shape->carried ? r->shard->carried + (r->row + j) * image_count(r) : NULL, err);
        if (!st)
            take_pixels(r, j, r->latent ? r->image : x);
    }
    return st;
}

static void take_maps(const runner *r)
{
    const aleat_run_shape *s = r->shape;
    for (int m = 0; m < s->n_maps; m++) {
        const aleat_accumulator *sums = aleat_observer_sums(r->observer, m);
        for (int64_t j = 0; j < r->rows; j++) {
            const int64_t at = m * r->shard->count + r->row + j;
            aleat_accumulator_map(sums, j, r->shard->maps + at * count_of(r));
            for (int64_t k = 0; k < s->n_score_steps; k++)
                r->shard->sums[at * s->n_score_steps + k] =
                    aleat_accumulator_step_sum(sums, j, (int)s->score_steps[k]);
        }
    }
}

// Those that the observer knows; a score of images may follow.
static void take_signals(const runner *r)
{
    const aleat_signals *signals = aleat_observer_signals(r->observer);
    const int n = r->shape->n_signals - (r->drawn_sampler != NULL);
    for (int64_t j = 0; j < r->rows; j++)
        for (int k = 0; k < n; k++)
            r->shard->signals[(r->row + j) * r->shape->n_signals + k] =
                aleat_signals_value(signals, (aleat_signal)k, j);
}

// x = alpha x0 + sigma z of the images that the run begins with.
static aleat_status noise_images(const runner *r, aleat_error *err)
{
    const aleat_run_start *s = r->job->start;
    const int64_t count = count_of(r);
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

/* ---- generative uncertainty ------------------------------------------------------------------ */

static float *features_of(const runner *r, int64_t j, int64_t m)
{
    const int64_t dim = aleat_features_describe(r->job->options->features).dim;
    return r->drawn_features + (j * (1 + r->job->observe.estimator.copies) + m) * dim;
}

// Features m of the batch's image j, from its picture.
static aleat_status take_features(const runner *r, int64_t j, int64_t m, const uint8_t *picture,
                                  aleat_error *err)
{
    const aleat_run_shape *s = r->shape;
    const aleat_images image = {.n = 1,
                                .height = s->image_height,
                                .width = s->image_width,
                                .channels = s->image_channels,
                                .bytes = picture};
    return aleat_features_run(r->job->options->features, &image, features_of(r, j, m), NULL, err);
}

static aleat_status hear_cancel(void *ctx, int index, const float *x, int64_t n, aleat_error *err)
{
    (void)index;
    (void)x;
    (void)n;
    return tell_progress(ctx, -1, err);
}

// Images of the same start by network number m > 0 of those drawn.
static aleat_status sample_drawn(const runner *r, const aleat_sample_request *request, int m,
                                 aleat_error *err)
{
    const aleat_rng_key key = {
        .seed = r->job->options->seed, .copy = (uint32_t)m, .purpose = ALEAT_FOR_WEIGHTS};
    aleat_sample_request again = *request;
    again.hooks.evaluated = NULL;
    again.hooks.advanced = hear_cancel;
    if (r->torch)
        aleat_noise_torch_restart(r->torch, request->images[0]);
    aleat_status st = aleat_posterior_draw(r->job->posterior, &key, err);
    if (!st)
        st = aleat_sampler_run(r->drawn_sampler, &again, r->drawn_x, err);
    for (int64_t j = 0; !st && j < r->rows; j++) {
        const float *x = r->drawn_x + j * count_of(r);
        if (r->latent)
            st = aleat_run_latent_decode(r->latent, request->images[j], x, r->image, NULL, NULL,
                                         err);
        aleat_image_of_floats(r->drawn_picture, r->latent ? r->image : x, r->shape->image_channels,
                              r->shape->image_height, r->shape->image_width);
        if (!st)
            st = take_features(r, j, m, r->drawn_picture, err);
    }
    return st;
}

// The batch's scores; its own images, by the trained weights, are among the compared ones.
static aleat_status score_images(const runner *r, const aleat_sample_request *request,
                                 aleat_error *err)
{
    const int64_t dim = aleat_features_describe(r->job->options->features).dim;
    const int draws = r->job->observe.estimator.copies, n_signals = r->shape->n_signals;
    aleat_status st = ALEAT_OK;
    for (int64_t j = 0; !st && j < r->rows; j++)
        st = take_features(r, j, 0, r->shard->images + (r->row + j) * image_count(r), err);
    for (int m = 1; !st && m <= draws; m++)
        st = sample_drawn(r, request, m, err);
    for (int64_t j = 0; !st && j < r->rows; j++)
        r->shard->signals[(r->row + j) * n_signals + n_signals - 1] =
            aleat_feature_entropy(features_of(r, j, 0), 1 + draws, dim, ALEAT_FEATURE_VARIANCE);
    return st;
}

static aleat_status make_drawn(runner *r, const aleat_denoiser *d, aleat_time_map map,
                               aleat_error *err)
{
    const aleat_run_job *job = r->job;
    const aleat_run_shape *s = r->shape;
    size_t elements;
    aleat_status st = aleat_drawn_denoiser(&r->drawn, d, job->posterior, s->height, s->width, err);
    if (!st)
        st = aleat_sampler_new(&r->drawn_sampler, job->plan, &r->drawn, map, job->batch, s->height,
                               s->width, err);
    if (st)
        return st;
    r->drawn_x = aleat_calloc((size_t)(job->batch * count_of(r)), sizeof *r->drawn_x);
    r->drawn_picture = aleat_calloc((size_t)image_count(r), sizeof *r->drawn_picture);
    if (aleat_size_mul((size_t)job->batch * (1 + (size_t)job->observe.estimator.copies),
                       (size_t)aleat_features_describe(job->options->features).dim, &elements))
        r->drawn_features = aleat_calloc(elements, sizeof *r->drawn_features);
    return r->drawn_x && r->drawn_picture && r->drawn_features
               ? ALEAT_OK
               : aleat_fail_memory(err, "images of drawn weights");
}

static aleat_status run_batch(runner *r, aleat_error *err)
{
    const aleat_run_options *o = r->job->options;
    const int64_t first = place_of(r, 0);
    uint32_t images[ALEAT_SHARD_IMAGES] = {0};
    int32_t labels[ALEAT_SHARD_IMAGES];
    const aleat_text *texts[ALEAT_SHARD_IMAGES];
    const aleat_text *const *told = NULL;
    for (int64_t j = 0; j < r->rows; j++) {
        images[j] = (uint32_t)(o->first + place_of(r, j));
        labels[j] = o->labels ? o->labels[place_of(r, j)] : -1;
        r->shard->labels[r->row + j] = labels[j];
    }
    for (int64_t j = 0; r->chosen && j < r->rows; j++)
        told = aleat_run_texts_of(&r->job->texts, texts + j, place_of(r, j), 1) ? texts : NULL;
    if (!r->chosen)
        told = aleat_run_texts_of(&r->job->texts, texts, first, r->rows);
    if (r->torch)
        aleat_noise_torch_restart(r->torch, images[0]);
    aleat_observer_begin(r->observer, r->noise);
    const aleat_sample_request request = {
        .n = r->rows,
        .images = images,
        .condition = {.labels = o->labels ? labels : NULL, .texts = told},
        .noise = r->noise,
        .initial = r->job->initial.data ? r->job->initial.data + first * count_of(r) : NULL,
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
        st = score_images(r, &request, err);
    if (st)
        return st;
    r->batches++;
    r->done += r->rows;
    return ALEAT_OK;
}

static aleat_status run_shards(runner *r, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    r->done = aleat_run_folder_done(r->folder);
    for (int64_t i = 0; !st && i < aleat_run_folder_shards(r->folder); i++) {
        if (aleat_run_folder_has(r->folder, i))
            continue;
        st = aleat_run_folder_begin(r->folder, i, &r->shard, err);
        for (r->row = 0; !st && r->row < r->shard->count; r->row += r->rows) {
            const int64_t rest = r->shard->count - r->row;
            r->rows = rest < r->job->batch ? rest : r->job->batch;
            st = run_batch(r, err);
        }
        if (!st)
            st = aleat_run_folder_commit(r->folder, err);
    }
    return st;
}

static void runner_clear(runner *r)
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
static aleat_status make_noise(runner *r, aleat_error *err)
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
                                     .count = count_of(r),
                                     .steps = job->step_noise.dim[0],
                                     .copies = job->copy_noise.dim[1],
                                     .copy_steps = job->copy_noise.dim[0],
                                     .otherwise = r->noise};
    r->noise = aleat_noise_from_arrays(&r->stored);
    return ALEAT_OK;
}

static aleat_status runner_make(runner *r, aleat_error *err)
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
    r->x = aleat_calloc((size_t)(job->batch * count_of(r)), sizeof *r->x);
    r->guided_evaluations = aleat_calloc((size_t)job->plan->n_outer, sizeof *r->guided_evaluations);
    if (job->start)
        r->state = aleat_calloc((size_t)(job->batch * count_of(r)), sizeof *r->state);
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
        r->image = aleat_calloc((size_t)image_count(r), sizeof *r->image);
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
    if (!st && job->observe.estimator.kind == ALEAT_ESTIMATOR_GENERATIVE)
        st = make_drawn(r, d, map, err);
    return st;
}

/* ---- the end --------------------------------------------------------------------------------- */

// Evaluations of the network for each image, as counted; 0 if none was made.
static int64_t evaluations_of(const runner *r)
{
    return r->batches == 0 ? 0
                           : (aleat_sampler_nfe(r->sampler) + aleat_observer_nfe(r->observer) +
                              (r->drawn_sampler ? aleat_sampler_nfe(r->drawn_sampler) : 0)) /
                                 r->batches;
}

// Names of the labels in use, {"3": "Dress"}, for pictures and pages that are made without the
// model; NULL: none.
static json_t *names_of_labels(const aleat_run_job *job)
{
    const int32_t *labels = job->options->labels;
    json_t *names = NULL;
    for (int64_t i = 0; labels && i < job->options->n; i++) {
        char key[16];
        const char *name = aleat_model_class_name(job->model, labels[i]);
        if (!name || (!names && !(names = json_object())))
            continue;
        (void)snprintf(key, sizeof key, "%" PRId32, labels[i]);
        (void)json_object_set_new(names, key, json_string(name));
    }
    return names;
}

// Beside those of the sampler, by what scores or guides.
static int64_t planned_extra(const aleat_run_job *job)
{
    const aleat_observer_options *o = &job->observe;
    const int first = job->start ? job->start->evaluation : 0, m = o->estimator.copies;
    int64_t n = 0;
    if (!job->options->uncertainty && !job->options->guide)
        return 0;
    if (o->estimator.kind == ALEAT_ESTIMATOR_GENERATIVE)
        return (int64_t)m * job->plan->n_steps;
    for (int k = first; k < job->plan->n_steps; k++) {
        const aleat_sampling_step *s = &job->plan->steps[k];
        const bool scored = job->options->uncertainty && s->stage == 0;
        if (o->estimator.kind == ALEAT_ESTIMATOR_BAYESDIFF)
            n += s->outer > 0 && s->outer % o->bayesdiff.every == 0 ? o->bayesdiff.samples : 0;
        else if ((scored && aleat_window_has(o->score, s->outer)) ||
                 (job->options->guide && aleat_window_has(o->guide, s->outer)))
            n += m;
    }
    return n;
}

// The same as planned, whether any image was made now or not.
static int64_t planned_evaluations(const aleat_run_job *job)
{
    const int first = job->start ? job->start->evaluation : 0;
    return (job->plan->n_steps - first + planned_extra(job)) *
           (aleat_run_has_cfg(job->options) ? 2 : 1);
}

// What run.json tells beside the settings; of the images made in this call.
static json_t *make_report(const runner *r, double seconds)
{
    const aleat_model_facts facts = aleat_model_describe(r->job->model);
    const char *command = r->job->options->command;
    json_t *typed = command ? json_string(command) : NULL; // NULL, too, if it is not UTF-8
    return json_pack("{ssso*so*s{sIsIsfsi}}", "model", facts.path, "command", typed, "class_names",
                     names_of_labels(r->job), "this_session", "images", (json_int_t)(r->done),
                     "evaluations_per_image", (json_int_t)evaluations_of(r), "seconds", seconds,
                     "threads", facts.threads);
}

// dst = the array in the folder's trajectory.npy, whole or only its last state.
static aleat_status copy_trajectory(const char *folder, const char *dst, bool last_only,
                                    aleat_error *err)
{
    aleat_tensor all = {0};
    char *path = aleat_path_join(folder, "trajectory.npy");
    aleat_status st = path ? aleat_npy_read(&all, path, err) : aleat_fail_memory(err, folder);
    if (!st && last_only) {
        const int64_t states = all.shape.dim[0], one = aleat_tensor_count(&all) / states;
        const aleat_shape shape = aleat_shape_of(4, all.shape.dim[1], all.shape.dim[2],
                                                 all.shape.dim[3], all.shape.dim[4]);
        const aleat_tensor view =
            aleat_tensor_view(ALEAT_F32, &shape, aleat_tensor_f32(&all) + (states - 1) * one);
        st = aleat_npy_write(dst, &view, err);
    } else if (!st) {
        st = aleat_npy_write(dst, &all, err);
    }
    aleat_tensor_clear(&all);
    aleat_free(path);
    return st;
}

// Arrays that are asked for outside the folder, or that stand for images that are no pictures.
static aleat_status give_arrays(const aleat_run_options *o, const char *folder, bool pixels,
                                aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    if (o->trajectory)
        st = copy_trajectory(folder, o->trajectory, false, err);
    if (st || pixels)
        return st;
    char *path = aleat_path_join(folder, "samples.npy");
    if (!path)
        return aleat_fail_memory(err, folder);
    st = copy_trajectory(folder, path, true, err);
    aleat_free(path);
    return st;
}

static aleat_run_shape shape_of(const aleat_run_job *job, int64_t *steps, bool pixels)
{
    const aleat_run_options *o = job->options;
    const aleat_denoiser_info *info = &job->model->files.info;
    aleat_run_shape shape = {.n = o->n,
                             .channels = info->channels,
                             .height = info->height,
                             .width = info->width,
                             .image_channels = info->channels,
                             .image_height = info->height,
                             .image_width = info->width,
                             .carried = job->latent.carry != ALEAT_CARRY_NONE,
                             .keep_steps = o->keep_step_maps,
                             .trajectory_states = o->trajectory           ? job->plan->n_outer + 1
                                                  : pixels && !job->start ? 0
                                                                          : 1,
                             .x0_steps = o->keep_x0 ? job->plan->n_outer : 0,
                             .seed = o->seed,
                             .first = o->first,
                             .score_steps = steps};
    shape.n_signals = aleat_run_has_cfg(o) ? ALEAT_SIGNAL_COUNT : ALEAT_SIGNAL_CFG_GAP;
    for (int k = 0; k < shape.n_signals; k++)
        shape.signals[k] = aleat_signal_name(k, NULL);
    if (job->observe.estimator.kind == ALEAT_ESTIMATOR_GENERATIVE)
        shape.signals[shape.n_signals++] = ALEAT_GENERATIVE_SCORE;
    if (o->guide) {
        shape.guide_begin = job->observe.guide.begin;
        shape.n_guide_steps = job->observe.guide.end - job->observe.guide.begin;
    }
    if (job->latent.vae) {
        const aleat_autoencoder_files *f = &job->latent.vae->files;
        shape.image_channels = f->image_channels;
        shape.image_height *= f->factor;
        shape.image_width *= f->factor;
    }
    if (!o->uncertainty)
        return shape;
    shape.n_maps = job->n_maps;
    for (int m = 0; m < job->n_maps; m++) {
        const aleat_statistic *s = job->observe.estimator.statistics[m];
        shape.maps[m] = (aleat_run_map){.name = s->name,
                                        .file = run_maps[job->maps[m]].file,
                                        .unit = run_maps[job->maps[m]].unit,
                                        .reading = s->is_error           ? "light: uncertain map"
                                                   : s->low_is_uncertain ? "dark: unsure"
                                                                         : "light: unsure",
                                        .is_error = s->is_error};
    }
    shape.n_score_steps = job->observe.score.end - job->observe.score.begin;
    for (int64_t k = 0; k < shape.n_score_steps; k++)
        steps[k] = job->observe.score.begin + k;
    return shape;
}

static void tell_result(aleat_run_result *result, const runner *r, double seconds, bool before,
                        bool pixels)
{
    const int64_t n = r->shape->n;
    *result = (aleat_run_result){.n = n,
                                 .made = r->done,
                                 .evaluations = evaluations_of(r),
                                 .seconds = seconds,
                                 .complete_before = before,
                                 .pixels = pixels || r->job->latent.vae};
    aleat_run_folder_changes(r->folder, &result->change_mean, &result->change_most);
    const double *scores = aleat_run_folder_scores(r->folder);
    for (int64_t i = 0; scores && i < n; i++) {
        if (i == 0 || scores[i] < result->score_low)
            result->score_low = scores[i];
        if (i == 0 || scores[i] > result->score_high)
            result->score_high = scores[i];
    }
}

// Everything once the folder is open.
static aleat_status fill_folder(runner *r, const char *path, bool pixels, aleat_run_result *result,
                                aleat_error *err)
{
    const double start = aleat_clock();
    const bool before = aleat_run_folder_complete(r->folder);
    const int64_t there = aleat_run_folder_done(r->folder);
    aleat_status st = before ? ALEAT_OK : runner_make(r, err);
    if (!st)
        st = run_shards(r, err);
    if (st)
        return st;
    r->done -= there;
    json_t *report = make_report(r, aleat_clock() - start);
    st = report ? aleat_run_folder_finish(r->folder, report, err)
                : aleat_fail_memory(err, "run.json");
    json_decref(report);
    if (!st)
        st = give_arrays(r->job->options, path, pixels, err);
    if (!st && result)
        tell_result(result, r, aleat_clock() - start, before, pixels);
    return st;
}

// Reads the thresholds, which must be of such a run; the settings then tell their content.
static aleat_status use_thresholds(aleat_run_job *job, json_t *settings, aleat_error *err)
{
    const char *path = job->options->thresholds;
    char hash[ALEAT_SHA256_TEXT];
    aleat_status st = aleat_threshold_open(&job->threshold, path, settings, job->statistic,
                                           job->observe.guide, job->plan->n_outer, err);
    if (!st)
        st = aleat_sha256_file(hash, path, err);
    if (!st && json_object_set_new(settings, "thresholds_sha256", json_string(hash)))
        st = aleat_fail_memory(err, "settings of the run");
    return st;
}

struct aleat_run {
    aleat_run_options options; // texts and arrays in it are the caller's
    aleat_run_job job;
    aleat_run_shape shape;
    runner r;
    json_t *settings;
    char *settings_text;
    int64_t *steps; // the scored ones, behind shape
    bool pixels;    // not latents, which are kept as numbers whether they are decoded or not
    int shown;
    aleat_shard shard; // of a run without a folder
    aleat_tensor arrays[ALEAT_SHARD_N_ARRAYS];
};

static void run_clear(aleat_run *run)
{
    runner_clear(&run->r);
    aleat_shard_clear(run->arrays);
    json_decref(run->settings);
    free(run->settings_text);
    aleat_free(run->steps);
    aleat_run_job_clear(&run->job);
}

// All that can be known of a run before its first image. run->options are set; ends with
// run_clear(), on failure, too.
static aleat_status run_prepare(aleat_run *run, aleat_model *model, aleat_run_start *start,
                                aleat_error *err)
{
    const aleat_run_options *options = &run->options;
    const int64_t channels = model->files.info.channels;
    run->job = (aleat_run_job){.model = model, .options = options, .start = start};
    run->r = (runner){.job = &run->job, .shape = &run->shape};
    run->pixels = !options->decoder && (channels == 1 || channels == 3);
    aleat_status st = aleat_run_job_make(&run->job, err);
    if (!st)
        st = aleat_name_find(&run->shown, aleat_map_name,
                             options->shown ? options->shown : aleat_run_map_shown, "map", err);
    if (!st && run->job.observe.estimator.kind != ALEAT_ESTIMATOR_COPIES)
        run->shown = 0; // the only map there is, if any
    run->job.shown = st || run->job.n_maps == 0 ? "none" : run_maps[run->job.maps[run->shown]].name;
    if (!st)
        st = aleat_run_settings(&run->settings, &run->job, err);
    if (!st && options->guide && options->thresholds)
        st = use_thresholds(&run->job, run->settings, err);
    if (st)
        return st;
    run->steps = aleat_calloc((size_t)run->job.plan->n_outer, sizeof *run->steps);
    if (!run->steps)
        return aleat_fail_memory(err, "a run");
    run->shape = shape_of(&run->job, run->steps, run->pixels);
    run->shape.shown = run->shown;
    return ALEAT_OK;
}

aleat_status aleat_model_generate(aleat_model *model, const char *folder,
                                  const aleat_run_options *options, aleat_run_result *result,
                                  aleat_error *err)
{
    return aleat_run_make(model, folder, options, NULL, result, err);
}

aleat_status aleat_run_make(aleat_model *model, const char *folder,
                            const aleat_run_options *options, aleat_run_start *start,
                            aleat_run_result *result, aleat_error *err)
{
    aleat_run run = {.options = *options};
    aleat_generation generation = {0};
    int resume = 0;
    aleat_status st = run_prepare(&run, model, start, err);
    if (!st)
        st = aleat_name_find(&resume, aleat_resume_name, options->resume, "way to resume", err);
    if (!st)
        st = aleat_run_generation(&generation, &run.job, run.settings, err);
    if (st)
        goto done;
    run.shape.generation = &generation;
    st = aleat_run_folder_open(&run.r.folder, folder, &run.shape, run.settings,
                               resumes[resume].resume, err);
    if (!st)
        st = fill_folder(&run.r, folder, run.pixels, result, err);
    if (!st && start) {
        start->evaluations = planned_evaluations(&run.job);
        start->scored_steps = run.shape.n_score_steps;
    }
done:
    aleat_run_folder_free(run.r.folder);
    run_clear(&run);
    aleat_generation_clear(&generation);
    return st;
}

/* ---- without a folder ------------------------------------------------------------------------ */

aleat_status aleat_run_open(aleat_run **out, aleat_model *model, const aleat_run_options *options,
                            aleat_error *err)
{
    *out = NULL;
    if (options->trajectory || options->keep_step_maps || options->keep_x0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "trajectories, x0 and maps of single steps are kept in folders only");
    aleat_run *run = aleat_calloc(1, sizeof *run);
    if (!run)
        return aleat_fail_memory(err, "a run");
    run->options = *options;
    aleat_status st = run_prepare(run, model, NULL, err);
    run->settings_text = st ? NULL : json_dumps(run->settings, JSON_REAL_PRECISION(17));
    if (!st && !run->settings_text)
        st = aleat_fail_memory(err, "settings of the run");
    if (st)
        aleat_run_close(run);
    else
        *out = run;
    return st;
}

void aleat_run_close(aleat_run *run)
{
    if (!run)
        return;
    run_clear(run);
    aleat_free(run);
}

aleat_run_facts aleat_run_describe(const aleat_run *run)
{
    const aleat_run_shape *s = &run->shape;
    aleat_run_facts facts = {.settings = run->settings_text,
                             .n = s->n,
                             .channels = s->image_channels,
                             .height = s->image_height,
                             .width = s->image_width,
                             .map_channels = s->channels,
                             .map_height = s->height,
                             .map_width = s->width,
                             .n_maps = s->n_maps,
                             .n_signals = s->n_signals,
                             .n_score_steps = s->n_score_steps,
                             .score_steps = run->steps,
                             .n_guide_steps = s->n_guide_steps,
                             .evaluations = planned_evaluations(&run->job)};
    for (int m = 0; m < s->n_maps; m++) {
        facts.maps[m] = s->maps[m].name;
        facts.map_is_error[m] = s->maps[m].is_error;
    }
    for (int k = 0; k < s->n_signals; k++)
        facts.signals[k] = s->signals[k];
    return facts;
}

static aleat_status give_batch(const aleat_run *run, aleat_run_take *take, void *ctx,
                               aleat_error *err)
{
    const runner *r = &run->r;
    const aleat_shard *shard = &run->shard;
    const int64_t extra = aleat_observer_nfe(r->observer) +
                          (r->drawn_sampler ? aleat_sampler_nfe(r->drawn_sampler) : 0);
    const aleat_run_images images = {.first = shard->first,
                                     .count = shard->count,
                                     .pixels = shard->images,
                                     .states = shard->trajectory,
                                     .labels = shard->labels,
                                     .maps = shard->maps,
                                     .sums = shard->sums,
                                     .signals = shard->signals,
                                     .changes = shard->changes,
                                     .evaluations = aleat_sampler_nfe(r->sampler) / r->batches,
                                     .extra_evaluations = extra / r->batches};
    return take(ctx, &images, err);
}

// The batch of `rows` images from place `at`, or of those in r->chosen.
static aleat_status make_batch(aleat_run *run, int64_t at, int64_t rows, aleat_run_take *take,
                               void *ctx, aleat_error *err)
{
    runner *r = &run->r;
    r->shard = &run->shard;
    r->row = 0;
    r->rows = rows;
    aleat_shard_clear(run->arrays);
    aleat_status st = r->sampler ? ALEAT_OK : runner_make(r, err);
    if (!st)
        st = aleat_shard_new(&run->shard, run->arrays, &run->shape, at, rows, err);
    if (!st)
        st = run_batch(r, err);
    return st ? st : give_batch(run, take, ctx, err);
}

aleat_status aleat_run_sample(aleat_run *run, int64_t first, int64_t count, aleat_run_take *take,
                              void *ctx, aleat_error *err)
{
    if (first < 0 || count < 1 || first > run->shape.n - count)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "images %" PRId64 " to %" PRId64 " of a run of %" PRId64, first,
                          first + count - 1, run->shape.n);
    aleat_status st = ALEAT_OK;
    run->r.done = first;
    for (int64_t at = first; !st && at < first + count; at += run->r.rows) {
        const int64_t rest = first + count - at;
        st = make_batch(run, at, rest < run->job.batch ? rest : run->job.batch, take, ctx, err);
    }
    return st;
}

aleat_status aleat_run_sample_chosen(aleat_run *run, const int64_t *images, int64_t count,
                                     aleat_run_take *take, void *ctx, aleat_error *err)
{
    // noise that is given, or made as torch does, is that of neighbours
    const bool alone = run->job.torch || run->job.initial.data;
    const int64_t most = alone ? 1 : run->job.batch;
    aleat_status st = ALEAT_OK;
    for (int64_t i = 0; i < count; i++)
        if (images[i] < 0 || images[i] >= run->shape.n)
            return aleat_fail(err, ALEAT_ERR_ARGUMENT, "image %" PRId64 " of a run of %" PRId64,
                              images[i], run->shape.n);
    run->r.done = 0;
    for (int64_t i = 0; !st && i < count; i += run->r.rows) {
        run->r.chosen = images + i;
        st = make_batch(run, images[i], count - i < most ? count - i : most, take, ctx, err);
    }
    run->r.chosen = NULL;
    return st;
}
