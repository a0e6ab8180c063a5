/* From the options of a run to a job: plan, windows, maps and arrays, checked. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "api/laplace_file.h"
#include "api/run_folder.h"
#include "api/run_settings.h"
#include "api/schedule.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/names.h"
#include "io/file.h"

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

const char *aleat_rng_name(int i, const char **help)
{
    return ALEAT_NAME_AT(rngs, i, help);
}

// The maps of scored runs, all from the same evaluations; the first is the paper's and the score.
const aleat_run_map_kind aleat_run_maps[] = {
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
    {0},
};
#define N_MAPS     4 // of every scored run
#define N_ALL_MAPS ((int)(sizeof aleat_run_maps / sizeof *aleat_run_maps) - 1)
// What pictures show and the contact sheet is sorted by unless the caller says otherwise: x0-var is
// high where the prediction of x0 is unsure, while eps-var falls there (docs/numerics.md).
const char aleat_run_map_shown[] = "x0-var";

const char *aleat_map_name(int i, const char **help)
{
    if (i < 0 || i >= N_MAPS)
        return NULL;
    if (help)
        *help = aleat_statistic_find(aleat_run_maps[i].name)->description;
    return aleat_run_maps[i].name;
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
    return ALEAT_NAME_AT(map_spaces, i, help);
}

const char *aleat_carry_name(int i, const char **help)
{
    return ALEAT_NAME_AT(carries, i, help);
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

static aleat_status window_of(aleat_window *out, aleat_steps wanted,
                              const aleat_sampling_plan *plan, const char *what, aleat_error *err)
{
    const int steps = plan->n_outer;
    *out = aleat_window_usual(plan);
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
    while (m < N_ALL_MAPS - 1 && strcmp(aleat_run_maps[m].name, name) != 0)
        m++;
    return m;
}

// The statistic that guidance climbs and a scored run keeps.
static aleat_status find_statistic(aleat_run_job *job, aleat_error *err)
{
    // Of a flow model the velocity moves, by its own variance.
    const char *usual =
        job->plan->prediction == ALEAT_PREDICTS_FLOW ? "v-var" : aleat_run_maps[0].name;
    const char *name = job->options->statistic ? job->options->statistic : usual;
    const aleat_statistic *statistic = aleat_statistic_find(name);
    for (int m = 0; statistic && m < N_ALL_MAPS; m++)
        if (strcmp(aleat_run_maps[m].name, statistic->name) == 0) {
            job->statistic = aleat_run_maps[m].name;
            return ALEAT_OK;
        }
    return aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no statistic '%s'", name);
}

// How the gradient of the statistic is made.
static aleat_status find_guidance(aleat_run_job *job, aleat_guide_options *out, aleat_error *err)
{
    const aleat_run_options *o = job->options;
    int gradient = 0, sign = 0;
    if (!aleat_guide_statistic_of(&out->statistic, aleat_statistic_find(job->statistic)))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no gradient of %s", job->statistic);
    aleat_status st = aleat_name_find(&gradient, aleat_gradient_name, o->gradient, "gradient", err);
    if (!st)
        st = aleat_name_find(&sign, aleat_guide_sign_name, o->guide_sign, "sign of guidance", err);
    out->gradient = (aleat_gradient)gradient;
    out->sign = (aleat_guide_sign)sign;
    job->gradient = aleat_gradient_name(gradient, NULL);
    job->guide_sign = aleat_guide_sign_name(sign, NULL);
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

bool aleat_run_estimates(const aleat_run_job *job, aleat_estimator_kind kind)
{
    return job->estimators & ALEAT_ESTIMATOR_BIT(kind);
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

static void add_map(aleat_run_job *job, int row, const aleat_statistic *statistic)
{
    job->maps[job->n_maps] = row;
    job->observe.estimator.statistics[job->n_maps++] = statistic;
}

static aleat_status add_maps_of_copies(aleat_run_job *job, aleat_error *err)
{
    const aleat_status st = find_statistic(job, err);
    for (int m = 0; !st && m < N_ALL_MAPS; m++)
        if (m < N_MAPS || strcmp(aleat_run_maps[m].name, job->statistic) == 0)
            add_map(job, m, aleat_statistic_find(aleat_run_maps[m].name));
    return st;
}

// The map of another estimator, if it has one; its score is the run's if there is no other.
static aleat_status add_rival(aleat_run_job *job, aleat_estimator_kind kind, aleat_error *err)
{
    const aleat_statistic *own = aleat_estimator_statistic(kind);
    if (!job->statistic)
        job->statistic = own ? own->name : ALEAT_GENERATIVE_SCORE;
    if (own)
        add_map(job, run_map_of(own->name), own);
    return check_rival(job, aleat_estimator_name((int)kind, NULL), err);
}

// Which estimators, and the maps they will give.
static aleat_status find_maps(aleat_run_job *job, aleat_error *err)
{
    const char *names = job->options->estimator;
    aleat_status st = aleat_estimators_parse(&job->estimators, names, err);
    if (st)
        return st;
    const bool several = job->estimators & (job->estimators - 1);
    if (several && !aleat_estimator_is_local(names))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: an estimator of whole runs goes with no other in one run", names);
    job->n_maps = 0;
    if (aleat_run_estimates(job, ALEAT_ESTIMATOR_COPIES))
        st = add_maps_of_copies(job, err);
    for (int kind = ALEAT_ESTIMATOR_COPIES + 1; !st && kind < ALEAT_ESTIMATOR_COUNT; kind++)
        if (aleat_run_estimates(job, (aleat_estimator_kind)kind))
            st = add_rival(job, (aleat_estimator_kind)kind, err);
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
    st = aleat_estimator_suits(&w->estimator, &job->model->denoiser.info, err);
    if (st)
        return st;
    st = aleat_clip_find(&w->estimator.clip, o->clip, err);
    if (!st && aleat_run_estimates(job, ALEAT_ESTIMATOR_BAYESDIFF))
        st = make_bayesdiff(job, err);
    else if (!st && aleat_run_estimates(job, ALEAT_ESTIMATOR_GENERATIVE))
        st = make_generative(job, err);
    else if (!st && o->uncertainty)
        st = window_of(&w->score, o->score_steps, job->plan, "scored", err);
    // All steps, as the paper's Algorithm 2 has it.
    const aleat_steps all = {0, job->plan->n_outer};
    if (!st && o->guide)
        st = window_of(&w->guide, o->guide_steps.end ? o->guide_steps : all, job->plan, "guided",
                       err);
    w->guidance = aleat_guide_defaults();
    w->guidance.copies = w->estimator.copies;
    w->guidance.clip = w->estimator.clip;
    w->guidance.percentile = o->percentile;
    w->guidance.strength = o->strength;
    if (!st) // also where nothing is scored: they cost nothing
        st = window_of(&w->signals, o->score_steps, job->plan, "scored", err);
    if (w->signals.end == w->signals.begin + 1 && w->signals.begin > 0)
        w->signals.begin--; // a change from step to step takes two
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
    return st || !o->decoder ? st : aleat_vae_suit(o->decoder, &job->model->files, err);
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

/* ---- what it costs --------------------------------------------------------------------------- */

// Beside those of the sampler, by what scores or guides.
static int64_t planned_extra(const aleat_run_job *job)
{
    const aleat_observer_options *o = &job->observe;
    const int first = job->start ? job->start->evaluation : 0;
    const int64_t m = o->estimator.copies, rows = aleat_estimator_rows(&o->estimator);
    int64_t n = 0;
    if (!job->options->uncertainty && !job->options->guide)
        return 0;
    if (aleat_run_estimates(job, ALEAT_ESTIMATOR_GENERATIVE))
        return m * job->plan->n_steps;
    for (int k = first; k < job->plan->n_steps; k++) {
        const aleat_sampling_step *s = &job->plan->steps[k];
        const bool scored = job->options->uncertainty && s->stage == 0;
        if (aleat_run_estimates(job, ALEAT_ESTIMATOR_BAYESDIFF))
            n += s->outer > 0 && s->outer % o->bayesdiff.every == 0 ? o->bayesdiff.samples : 0;
        else if (scored && aleat_window_has(o->score, s->outer))
            n += rows;
        else if (job->options->guide && aleat_window_has(o->guide, s->outer))
            n += m;
    }
    return n;
}

// The same as planned, whether any image was made now or not.
int64_t aleat_run_planned_evaluations(const aleat_run_job *job)
{
    const int first = job->start ? job->start->evaluation : 0;
    return (job->plan->n_steps - first + planned_extra(job)) *
           (aleat_run_has_cfg(job->options) ? 2 : 1);
}
