#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "io/json.h"
#include "mock_denoisers.h"
#include "reference.h"
#include "samplers/prediction.h"
#include "samplers/sampler.h"

enum { MAX_STATES = 128, N = 2, COUNT = 12 };

// A run on the closed-form model of a reference case: 2 images of 3x2x2.
typedef struct run {
    float states[MAX_STATES][N * COUNT];
    int n_states;
} run;

static aleat_status record(void *ctx, int index, const float *x, int64_t n, aleat_error *err)
{
    (void)err;
    run *r = ctx;
    assert_int_equal(index, r->n_states - 1);
    memcpy(r->states[r->n_states++], x, (size_t)n * COUNT * sizeof *x);
    return ALEAT_OK;
}

typedef struct mixture {
    reference mean, weight, spread, x_t;
    mock_data data;
} mixture;

static mixture load_mixture(const char *name)
{
    mixture m = {.mean = reference_load("%s/gmm_means_f64.npy", name),
                 .weight = reference_load("%s/gmm_weights_f64.npy", name),
                 .spread = reference_load("%s/gmm_sigmas_f64.npy", name),
                 .x_t = reference_load("%s/x_T.npy", name)};
    m.data = (mock_data){.channels = 3,
                         .height = 2,
                         .width = 2,
                         .components = (int)m.weight.count,
                         .weight = m.weight.data,
                         .spread = m.spread.data,
                         .mean = m.mean.data,
                         .clock = MOCK_LOG_SIGMA};
    return m;
}

static void free_mixture(mixture *m)
{
    reference_free(&m->mean);
    reference_free(&m->weight);
    reference_free(&m->spread);
    reference_free(&m->x_t);
}

// The data as the denoiser of this plan: its schedule, its kind of output, its levels.
static mock_data for_plan(mock_data data, const aleat_sampling_plan *plan)
{
    static double t[MAX_STATES], alpha[MAX_STATES], sigma[MAX_STATES];
    for (int k = 0; data.clock == MOCK_LEVELS && k < plan->n_steps; k++) {
        t[k] = plan->steps[k].t;
        alpha[k] = plan->steps[k].alpha;
        sigma[k] = plan->steps[k].sigma;
    }
    data.n_levels = data.clock == MOCK_LEVELS ? plan->n_steps : 0;
    data.level_t = t;
    data.level_alpha = alpha;
    data.level_sigma = sigma;
    data.abar = plan->alphas_cumprod;
    data.n_abar = plan->train_steps;
    data.output = plan->prediction;
    return data;
}

static void sample(const aleat_sampling_plan *plan, mock_data data, const float *x_t,
                   const float *noise, run *out)
{
    static const uint32_t images[N] = {0, 1};
    float x[N * COUNT];
    aleat_error err = {0};
    aleat_sampler *sampler = NULL;
    data = for_plan(data, plan);
    aleat_denoiser denoiser = mock_denoiser(&data);
    aleat_noise_arrays stored = {
        .step = noise, .images = N, .count = COUNT, .steps = noise ? plan->n_steps : 0};
    if (aleat_sampler_new(&sampler, plan, &denoiser, ALEAT_TIME_IDENTITY, N, 2, 2, &err))
        fail_msg("%s", err.message);
    out->n_states = 0;
    const aleat_sample_request request = {.n = N,
                                          .images = images,
                                          .noise = aleat_noise_from_arrays(&stored),
                                          .initial = x_t,
                                          .hooks = {.ctx = out, .advanced = record}};
    if (aleat_sampler_run(sampler, &request, x, &err))
        fail_msg("%s", err.message);
    assert_int_equal(mock_rows(&denoiser), N * plan->n_steps);
    assert_int_equal(aleat_sampler_nfe(sampler), plan->n_steps);
    aleat_sampler_free(sampler);
    aleat_denoiser_destroy(&denoiser);
}

// max |a - b| / max |b| over a trajectory; the reference keeps x / alpha for the Karras family.
static double trajectory_error(const run *got, const aleat_sampling_plan *plan,
                               const reference *want, bool exploding)
{
    double difference = 0, size = 0;
    for (int k = 0; k < got->n_states; k++) {
        const double alpha = k < plan->n_steps ? plan->steps[k].alpha : plan->final_alpha;
        for (int j = 0; j < N * COUNT; j++) {
            const double mine = (double)got->states[k][j] / (exploding ? alpha : 1);
            const double theirs = want->data[k * N * COUNT + j];
            difference = fmax(difference, fabs(mine - theirs));
            size = fmax(size, fabs(theirs));
        }
    }
    return difference / size;
}

static void convert(aleat_prediction kind, double alpha, double sigma, double x, double raw,
                    double *eps, double *x0)
{
    *eps = raw;
    *x0 = raw;
    if (kind == ALEAT_PREDICTS_EPSILON)
        *x0 = (x - sigma * raw) / alpha;
    else if (kind == ALEAT_PREDICTS_SAMPLE)
        *eps = (x - alpha * raw) / sigma;
    else if (kind == ALEAT_PREDICTS_FLOW) {
        *x0 = x - sigma * raw;
        *eps = x + alpha * raw;
    } else {
        *x0 = alpha * x - sigma * raw;
        *eps = alpha * raw + sigma * x;
    }
}

// The plan carried out in double, by the definition in plan.h and nothing else: if this agrees with
// a reference that runs in double, every coefficient is right.
static void sample_in_double(const aleat_sampling_plan *plan, const mock_data *data,
                             const double *x_t, const double *noise, double *states)
{
    enum { H = ALEAT_PLAN_HISTORY, ALL = N * COUNT };
    double x[ALL], base[ALL] = {0}, m[2][H][ALL] = {{{0}}};
    for (int j = 0; j < ALL; j++)
        states[j] = x[j] = plan->init_scale * x_t[j];
    for (int k = 0; k < plan->n_steps; k++) {
        const aleat_sampling_step *s = &plan->steps[k];
        memmove(m[0][1], m[0][0], sizeof m[0] - sizeof m[0][0]);
        memmove(m[1][1], m[1][0], sizeof m[1] - sizeof m[1][0]);
        double raw[ALL];
        for (int i = 0; i < N; i++)
            mock_predict(data, s->t, x + i * COUNT, raw + i * COUNT);
        for (int j = 0; j < ALL; j++) {
            double *x0 = &m[0][0][j], *eps = &m[1][0][j];
            convert(plan->prediction, s->alpha, s->sigma, x[j], raw[j], eps, x0);
            if (plan->clip.clamp)
                *x0 = fmin(fmax(*x0, -plan->clip.range), plan->clip.range);
            if (plan->eps_from_clipped)
                *eps = (x[j] - s->alpha * *x0) / s->sigma;
            base[j] = s->sets_base ? x[j] : base[j];
            double next = s->c_x * x[j] + s->c_base * base[j];
            for (int h = 0; h < H; h++)
                next += s->c_x0[h] * m[0][h][j] + s->c_eps[h] * m[1][h][j];
            x[j] = next + (noise ? s->c_noise * noise[k * ALL + j] : 0);
            states[(k + 1) * ALL + j] = x[j];
        }
    }
}

static double error_in_double(const aleat_sampling_plan *plan, const mock_data *mixture_data,
                              const reference *x_t, const reference *noise, const reference *want,
                              bool exploding, bool outer_only)
{
    static double states[MAX_STATES * N * COUNT];
    const mock_data data = for_plan(*mixture_data, plan);
    sample_in_double(plan, &data, x_t->data, noise->data, states);
    int kept = 0;
    for (int k = 0; k <= plan->n_steps; k++) {
        const double alpha = k < plan->n_steps ? plan->steps[k].alpha : plan->final_alpha;
        if (outer_only && k < plan->n_steps && plan->steps[k].stage != 0)
            continue;
        if (outer_only && k == 0 && want->dim[0] < plan->n_outer + 1)
            continue; // some references leave x_T out
        for (int j = 0; j < N * COUNT; j++)
            states[kept * N * COUNT + j] = states[k * N * COUNT + j] / (exploding ? alpha : 1);
        kept++;
    }
    assert_int_equal(kept, want->dim[0]);
    return max_error_f64(states, want->data, want->count);
}

typedef struct scheduler_case {
    const char *folder, *name;
    double tolerance_10, tolerance_50; // the manifests': 10 times the gap of f32 and f64 there
    double eta;
    bool from_clipped;
} scheduler_case;

static const scheduler_case scheduler_cases[] = {
    {"sched-ddim", "leading0-cifar-clip", 1e-5, 2e-5, 0, false},
    {"sched-ddim", "leading0-noclip", 1e-5, 1e-5, 0, false},
    {"sched-ddim", "leading1-sd", 1e-5, 1e-5, 0, false},
    {"sched-ddim", "trailing-v", 1e-5, 1e-5, 0, false},
    {"sched-ddim", "trailing-v-zerosnr", 1e-5, 1e-5, 0, false},
    {"sched-ddim", "linspace-cos-sample", 1e-5, 2e-5, 0, false},
    {"sched-ddim", "leading0-eta05-clip", 1e-5, 1e-5, 0.5, false},
    {"sched-ddim", "linspace-eta05-noalpha1", 1e-5, 1e-5, 0.5, false},
    {"sched-ddim", "trailing-eta1-useclipped", 9e-4, 1e-4, 1, true},
    {"sched-ddpm", "cifar-fixed-large", 1e-5, 1e-5, 0, false},
    {"sched-ddpm", "fixed-small-noclip", 1e-5, 2e-5, 0, false},
    {"sched-ddpm", "cos-trailing-v-smalllog", 1e-5, 1e-5, 0, false},
    {"sched-dpm", "dpmpp2m-linspace", 1e-5, 1e-5, 0, false},
    {"sched-dpm", "dpmpp2m-heun-leading1-sd", 1e-5, 1e-5, 0, false},
    {"sched-dpm", "dpmpp2m-karras", 1e-5, 1e-5, 0, false},
    {"sched-dpm", "dpmpp2m-trailing-v-euler-final", 1e-5, 1e-5, 0, false},
    {"sched-dpm", "dpmpp2m-cos-clip", 3e-5, 1e-5, 0, false},
    {"sched-dpm", "dpm2m-sigmamin", 1e-5, 1e-5, 0, false},
    {"sched-dpm", "dpmpp3m-linspace", 1e-5, 1e-5, 0, false},
    {"sched-dpm", "sde-dpmpp2m", 1e-5, 1e-5, 0, false},
    {"sched-dpm", "dpmpp2s-singlestep", 1e-5, 1e-5, 0, false},
    {"sched-dpm", "kdpm2", 1e-5, 1e-5, 0, false},
};

static aleat_sampler_config load_config(const scheduler_case *c)
{
    aleat_json json = {0};
    aleat_error err = {0};
    aleat_sampler_config config;
    aleat_status st = aleat_json_load(
        &json, reference_path("%s/%s/scheduler_config.json", c->folder, c->name), &err);
    if (!st)
        st = aleat_sampler_config_parse(&config, &json, NULL, &err);
    if (st)
        fail_msg("%s", err.message);
    aleat_json_clear(&json);
    config.eta = c->eta;
    config.eps_from_clipped = c->from_clipped;
    return config;
}

static void check_grid(const aleat_sampling_plan *plan, const scheduler_case *c, int steps)
{
    reference t = reference_load("%s/%s/timesteps_%d.npy", c->folder, c->name, steps);
    assert_int_equal(t.count, plan->n_steps);
    for (int k = 0; k < plan->n_steps; k++) // fractions only in kdpm2, which keeps them in f32
        assert_true(fabs(plan->steps[k].t - t.data[k]) <=
                    (t.data[k] == floor(t.data[k]) ? 0 : 1e-3));
    reference_free(&t);
    if (strcmp(c->folder, "sched-dpm") != 0 || !strcmp(c->name, "kdpm2"))
        return;
    reference sigmas = reference_load("%s/%s/sigmas_%d.npy", c->folder, c->name, steps);
    for (int k = 0; k < plan->n_steps; k++) // f32 tables there
        assert_true(fabs(plan->steps[k].sigma / plan->steps[k].alpha - sigmas.data[k]) <=
                    2e-5 * sigmas.data[k]);
    assert_true(fabs(plan->final_sigma / plan->final_alpha - sigmas.data[plan->n_steps]) < 1e-5);
    reference_free(&sigmas);
}

static void check_case(const scheduler_case *c, int steps, mixture *m)
{
    aleat_sampler_config config = load_config(c);
    aleat_sampling_plan *plan = NULL;
    aleat_error err = {0};
    if (aleat_sampling_plan_new(&plan, &config, steps, &err))
        fail_msg("%s", err.message);
    check_grid(plan, c, steps);
    const bool noisy =
        c->eta > 0 || !strcmp(c->folder, "sched-ddpm") || !strncmp(c->name, "sde", 3);
    reference noise = {0};
    if (noisy)
        noise = reference_load("%s/%s/noise_%d.npy", c->folder, c->name, steps);
    float *z = noisy ? reference_f32(&noise) : NULL, *x_t = reference_f32(&m->x_t);
    const bool exploding = !strcmp(c->name, "kdpm2");
    static run got;
    sample(plan, m->data, x_t, z, &got);
    reference want = reference_load("%s/%s/x_%d_f64.npy", c->folder, c->name, steps);
    assert_int_equal(want.dim[0], got.n_states);
    const double error = trajectory_error(&got, plan, &want, exploding);
    if (error > (steps == 10 ? c->tolerance_10 : c->tolerance_50))
        fail_msg("%s, %d steps: error %g", c->name, steps, error);
    const double exact = error_in_double(plan, &m->data, &m->x_t, &noise, &want, exploding, false);
    if (exact > 1e-9) // the suite's tolerance for double implementations
        fail_msg("%s, %d steps, in double: error %g", c->name, steps, exact);
    free(z);
    free(x_t);
    reference_free(&noise);
    reference_free(&want);
    aleat_sampling_plan_free(plan);
    aleat_sampler_config_clear(&config);
}

static void trajectories_agree_with_diffusers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scheduler_cases / sizeof *scheduler_cases; i++) {
        const scheduler_case *c = &scheduler_cases[i];
        mixture m = load_mixture(c->folder);
        check_case(c, 10, &m);
        check_case(c, 50, &m);
        free_mixture(&m);
    }
}

/* ---- flow models ----------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int steps;
    int64_t tokens;
    aleat_flow_grid grid;
} flow_cases[] = {{"sd3-shift3", 10, 0, ALEAT_FLOW_TO_TRAINING},
                  {"sd3-shift3", 28, 0, ALEAT_FLOW_TO_TRAINING},
                  {"flux-dev-seq4096", 10, 4096, ALEAT_FLOW_TO_ONE_STEP},
                  {"flux-dev-seq1024", 10, 1024, ALEAT_FLOW_TO_ONE_STEP},
                  {"flux-schnell", 4, 1024, ALEAT_FLOW_TO_ONE_STEP}};

static void flow_trajectories_agree_with_diffusers(void **state)
{
    (void)state;
    mixture m = load_mixture("sched-flow");
    m.data.clock = MOCK_LEVELS;
    for (size_t i = 0; i < sizeof flow_cases / sizeof *flow_cases; i++) {
        const scheduler_case c = {"sched-flow", flow_cases[i].name, 1e-6, 1e-6, 0, false};
        const int steps = flow_cases[i].steps;
        aleat_sampler_config config = load_config(&c);
        config.image_tokens = flow_cases[i].tokens;
        config.flow_grid = flow_cases[i].grid;
        aleat_sampling_plan *plan = NULL;
        aleat_error err = {0};
        if (aleat_sampling_plan_new(&plan, &config, steps, &err))
            fail_msg("%s", err.message);
        reference sigmas = reference_load("sched-flow/%s/sigmas_%d.npy", c.name, steps);
        assert_int_equal(sigmas.count, plan->n_steps + 1);
        for (int k = 0; k < plan->n_steps; k++) // f32 tables there
            assert_true(fabs(plan->steps[k].sigma - sigmas.data[k]) < 2e-7);
        reference none = {0}, want = reference_load("sched-flow/%s/x_%d_f64.npy", c.name, steps);
        float *x_t = reference_f32(&m.x_t);
        static run got;
        sample(plan, m.data, x_t, NULL, &got);
        assert_int_equal(want.dim[0], got.n_states);
        const double error = trajectory_error(&got, plan, &want, false);
        const double exact = error_in_double(plan, &m.data, &m.x_t, &none, &want, false, false);
        if (!(error < 1e-6) || !(exact < 1e-9)) // the manifest's bounds: 5 times 2e-7, 1e-10
            fail_msg("%s, %d steps: error %g, in double %g", c.name, steps, error, exact);
        free(x_t);
        reference_free(&sigmas);
        reference_free(&want);
        aleat_sampling_plan_free(plan);
        aleat_sampler_config_clear(&config);
    }
    free_mixture(&m);
}

/* ---- PNDM ------------------------------------------------------------------------------------ */

// The plan's coefficients, applied to the noise that was predicted in the reference.
static void pndm_makes_the_reference_states_of_its_predictions(void **state)
{
    (void)state;
    const scheduler_case c = {"pndm", ".", 0, 0, 0, false};
    aleat_sampler_config config = load_config(&c);
    aleat_sampling_plan *plan = NULL;
    aleat_error err = {0};
    if (aleat_sampling_plan_new(&plan, &config, 6, &err))
        fail_msg("%s", err.message);
    reference t = reference_load("pndm/pndm_timesteps.npy"), x = reference_load("pndm/lat0.npy");
    reference eps = reference_load("pndm/pndm_eps_cfg.npy");
    reference want = reference_load("pndm/pndm_latents.npy");
    assert_int_equal(plan->n_steps, t.count);
    double *base = calloc((size_t)x.count, sizeof *base), off = 0, size = 0;
    for (int k = 0; k < plan->n_steps; k++) {
        const aleat_sampling_step *s = &plan->steps[k];
        assert_true(s->t == t.data[k]);
        for (int64_t j = 0; j < x.count; j++) {
            base[j] = s->sets_base ? x.data[j] : base[j];
            double next = s->c_x * x.data[j] + s->c_base * base[j];
            for (int h = 0; h < ALEAT_PLAN_HISTORY && h <= k; h++)
                next += s->c_eps[h] * eps.data[(k - h) * x.count + j];
            x.data[j] = next;
            off = fmax(off, fabs(next - want.data[k * x.count + j]));
            size = fmax(size, fabs(next));
        }
    }
    if (!(off < 1e-6 * size)) // predictions and states are stored in f32
        fail_msg("error %g of %g", off, size);
    free(base);
    reference_free(&t);
    reference_free(&x);
    reference_free(&eps);
    reference_free(&want);
    aleat_sampling_plan_free(plan);
    aleat_sampler_config_clear(&config);
}

typedef struct original_case {
    const char *name;
    int steps, order;
    aleat_beta_schedule schedule;
    double beta_start, beta_end;
    aleat_algorithm algorithm;
    aleat_dpm_method method;
    aleat_dpm_skip skip;
    bool denoise_to_zero;
    // Of the f32 loop: the case's 2e-5, but 1e-4 where few long steps multiply what rounding to f32
    // does. Double arithmetic with nothing but the states (singlestep3) or the network's output
    // (cos: coefficients up to 55) rounded to f32 is already 5.1e-5 and 2.8e-5 off.
    double tolerance;
} original_case;

static const original_case original_cases[] = {
    {"singlestep2-dpmsolver-uniform", 10, 2, ALEAT_BETA_LINEAR, 1e-4, 0.02, ALEAT_DPM,
     ALEAT_DPM_SINGLESTEP, ALEAT_SKIP_TIME_UNIFORM, false, 2e-5},
    {"singlestep2-dpmsolver-uniform", 50, 2, ALEAT_BETA_LINEAR, 1e-4, 0.02, ALEAT_DPM,
     ALEAT_DPM_SINGLESTEP, ALEAT_SKIP_TIME_UNIFORM, false, 2e-5},
    {"singlestep2-dpmsolver-logsnr", 10, 2, ALEAT_BETA_LINEAR, 1e-4, 0.02, ALEAT_DPM,
     ALEAT_DPM_SINGLESTEP, ALEAT_SKIP_LOG_SNR, false, 2e-5},
    {"singlestep2-dpmsolverpp-fixed", 10, 2, ALEAT_BETA_SCALED_LINEAR, 0.00085, 0.012, ALEAT_DPMPP,
     ALEAT_DPM_SINGLESTEP_FIXED, ALEAT_SKIP_TIME_UNIFORM, true, 2e-5},
    {"multistep2-dpmsolverpp", 10, 2, ALEAT_BETA_LINEAR, 1e-4, 0.02, ALEAT_DPMPP,
     ALEAT_DPM_MULTISTEP, ALEAT_SKIP_TIME_UNIFORM, false, 2e-5},
    {"multistep2-dpmsolverpp", 50, 2, ALEAT_BETA_LINEAR, 1e-4, 0.02, ALEAT_DPMPP,
     ALEAT_DPM_MULTISTEP, ALEAT_SKIP_TIME_UNIFORM, false, 2e-5},
    {"singlestep3-dpmsolver", 11, 3, ALEAT_BETA_LINEAR, 1e-4, 0.02, ALEAT_DPM, ALEAT_DPM_SINGLESTEP,
     ALEAT_SKIP_TIME_UNIFORM, false, 1e-4},
    {"singlestep2-cos", 9, 2, ALEAT_BETA_COSINE, 1e-4, 0.02, ALEAT_DPM, ALEAT_DPM_SINGLESTEP,
     ALEAT_SKIP_TIME_UNIFORM, false, 1e-4},
};

static aleat_sampling_plan *plan_original(const original_case *c)
{
    aleat_sampler_config config;
    aleat_sampling_plan *plan = NULL;
    assert_int_equal(aleat_sampler_config_default(&config, "dpm-solver-2", NULL), ALEAT_OK);
    config.order = c->order;
    config.beta_schedule = c->schedule;
    config.beta_start = c->beta_start;
    config.beta_end = c->beta_end;
    config.algorithm = c->algorithm;
    config.method = c->method;
    config.skip = c->skip;
    config.denoise_to_zero = c->denoise_to_zero;
    assert_int_equal(aleat_sampling_plan_new(&plan, &config, c->steps, NULL), ALEAT_OK);
    return plan;
}

// Keeps the states at the ends of outer steps, which is what the original returns, without x_T
// where it does.
static void keep_outer_states(run *r, const aleat_sampling_plan *plan, const reference *want)
{
    int kept = want->dim[0] < plan->n_outer + 1 ? 0 : 1;
    for (int k = 0; k < plan->n_steps; k++)
        if (k + 1 == plan->n_steps || plan->steps[k + 1].stage == 0)
            memcpy(r->states[kept++], r->states[k + 1], sizeof r->states[0]);
    r->n_states = kept;
    assert_int_equal(kept, want->dim[0]);
}

static void trajectories_agree_with_the_original_dpm_solver(void **state)
{
    (void)state;
    mixture m = load_mixture("sched-dpm-original");
    m.data.clock = MOCK_LEVELS; // alphas are compared with the reference's below
    float *x_t = reference_f32(&m.x_t);
    for (size_t i = 0; i < sizeof original_cases / sizeof *original_cases; i++) {
        const original_case *c = &original_cases[i];
        aleat_sampling_plan *plan = plan_original(c);
        reference alpha =
            reference_load("sched-dpm-original/%s/alpha_eval_%d_f64.npy", c->name, c->steps);
        reference want = reference_load("sched-dpm-original/%s/x_%d_f64.npy", c->name, c->steps);
        assert_int_equal(alpha.count, plan->n_steps);
        for (int k = 0; k < plan->n_steps; k++)
            assert_true(fabs(plan->steps[k].alpha - alpha.data[k]) < 1e-10);
        const reference none = {0};
        const double exact = error_in_double(plan, &m.data, &m.x_t, &none, &want, false, true);
        if (exact > 1e-8) // the case's tolerance in double
            fail_msg("%s, %d steps, in double: error %g", c->name, c->steps, exact);
        static run got;
        sample(plan, m.data, x_t, NULL, &got);
        keep_outer_states(&got, plan, &want);
        const double error = trajectory_error(&got, plan, &want, false);
        if (error > c->tolerance)
            fail_msg("%s, %d steps: error %g", c->name, c->steps, error);
        reference_free(&alpha);
        reference_free(&want);
        aleat_sampling_plan_free(plan);
    }
    free(x_t);
    free_mixture(&m);
}

static aleat_sampling_plan *plan_of(const char *name, int steps)
{
    aleat_sampler_config config;
    aleat_sampling_plan *plan = NULL;
    assert_int_equal(aleat_sampler_config_default(&config, name, NULL), ALEAT_OK);
    assert_int_equal(aleat_sampling_plan_new(&plan, &config, steps, NULL), ALEAT_OK);
    return plan;
}

// With one Gaussian component the probability-flow ODE has a closed solution: every image keeps its
// quantile, so the final state is mean + spread * z for x_T = z (where the start has no signal
// left).
static void deterministic_samplers_solve_the_flow_of_a_gaussian(void **state)
{
    (void)state;
    static const char *const names[] = {"ddim",         "dpm++2m", "dpm++3m", "dpm++2s",
                                        "dpm-solver-2", "kdpm2",   "euler"};
    // Errors of 60 steps: of first order for ddim and euler; dpm-solver-2 ends at the noise of
    // training step 0. A wrong coefficient is off by 0.1 and more.
    static const double bounds[] = {0.06, 0.01, 0.02, 0.03, 0.05, 0.01, 0.06};
    const double weight = 1, spread = 0.5, mean[COUNT] = {0.3, -0.2, 0.1, 0, 0.5};
    mock_data data = {.channels = 3,
                      .height = 2,
                      .width = 2,
                      .components = 1,
                      .weight = &weight,
                      .spread = &spread,
                      .mean = mean,
                      .clock = MOCK_LOG_SIGMA};
    float z[N * COUNT];
    aleat_rng_normals(&(aleat_rng_key){.seed = 1}, 0, z, N * COUNT);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        aleat_sampler_config config;
        aleat_sampling_plan *plan = NULL;
        assert_int_equal(aleat_sampler_config_default(&config, names[i], NULL), ALEAT_OK);
        config.clip.clamp = false;
        config.beta_start = 1e-4;
        config.beta_end = 0.02;
        assert_int_equal(aleat_sampling_plan_new(&plan, &config, 60, NULL), ALEAT_OK);
        static run got;
        double worst = 0;
        sample(plan, data, z, NULL, &got);
        for (int j = 0; j < N * COUNT; j++)
            worst = fmax(worst, fabs((double)got.states[got.n_states - 1][j] -
                                     (mean[j % COUNT] + spread * (double)z[j])));
        assert_true(worst < bounds[i]);
        aleat_sampling_plan_free(plan);
    }
}

// Ancestral samplers: 2000 images of one value, whose mean and deviation must be the data's.
static void stochastic_samplers_reproduce_a_gaussian(void **state)
{
    (void)state;
    static const char *const names[] = {"ddpm", "dpm++2m-sde", "euler_a"};
    enum { IMAGES = 2000 };
    const double weight = 1, spread = 0.5, mean = 0.3;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        aleat_sampler_config config;
        aleat_sampling_plan *plan = NULL;
        assert_int_equal(aleat_sampler_config_default(&config, names[i], NULL), ALEAT_OK);
        config.clip.clamp = false;
        assert_int_equal(aleat_sampling_plan_new(&plan, &config, 250, NULL), ALEAT_OK);
        const mock_data data = {.channels = 1,
                                .height = 1,
                                .width = 1,
                                .components = 1,
                                .weight = &weight,
                                .spread = &spread,
                                .mean = &mean,
                                .clock = MOCK_LOG_SIGMA,
                                .abar = plan->alphas_cumprod,
                                .n_abar = 1000};
        aleat_denoiser denoiser = mock_denoiser(&data);
        aleat_sampler *sampler = NULL;
        assert_int_equal(
            aleat_sampler_new(&sampler, plan, &denoiser, ALEAT_TIME_IDENTITY, IMAGES, 1, 1, NULL),
            ALEAT_OK);
        static uint32_t images[IMAGES];
        static float x[IMAGES];
        for (uint32_t j = 0; j < IMAGES; j++)
            images[j] = j;
        const uint64_t seed = 11;
        const aleat_sample_request request = {
            .n = IMAGES, .images = images, .noise = aleat_noise_philox(seed)};
        assert_int_equal(aleat_sampler_run(sampler, &request, x, NULL), ALEAT_OK);
        double sum = 0, square = 0;
        for (int j = 0; j < IMAGES; j++) {
            sum += (double)x[j];
            square += ((double)x[j] - mean) * ((double)x[j] - mean);
        }
        // 5 standard deviations of sampling, and 2 % for 250 steps instead of infinitely many
        assert_true(fabs(sum / IMAGES - mean) < 5 * spread / sqrt(IMAGES) + 0.01);
        assert_true(fabs(sqrt(square / IMAGES) / spread - 1) < 5 / sqrt(2.0 * IMAGES) + 0.02);
        aleat_sampler_free(sampler);
        aleat_denoiser_destroy(&denoiser);
        aleat_sampling_plan_free(plan);
    }
}

static void a_learned_variance_scales_the_noise(void **state)
{
    (void)state;
    const double weight = 1, spread = 0.5, mean[COUNT] = {0};
    float z[10 * N * COUNT];
    aleat_rng_normals(&(aleat_rng_key){.seed = 2}, 0, z, 10 * N * COUNT);
    aleat_sampler_config config;
    aleat_sampling_plan *plan = NULL, *fixed = NULL;
    assert_int_equal(aleat_sampler_config_default(&config, "ddpm", NULL), ALEAT_OK);
    assert_int_equal(aleat_sampling_plan_new(&fixed, &config, 10, NULL), ALEAT_OK);
    config.variance = ALEAT_VARIANCE_LEARNED_RANGE;
    assert_int_equal(aleat_sampling_plan_new(&plan, &config, 10, NULL), ALEAT_OK);
    mock_data data = {.channels = 3,
                      .height = 2,
                      .width = 2,
                      .components = 1,
                      .weight = &weight,
                      .spread = &spread,
                      .mean = mean,
                      .clock = MOCK_LOG_SIGMA};
    aleat_denoiser plain = mock_denoiser(&data);
    aleat_sampler *none = NULL;
    aleat_error err = {0};
    assert_int_equal(aleat_sampler_new(&none, plan, &plain, ALEAT_TIME_IDENTITY, N, 2, 2, &err),
                     ALEAT_ERR_UNSUPPORTED);
    aleat_denoiser_destroy(&plain);
    data.learned = true; // v = 0.25 everywhere
    static run got, want;
    sample(plan, data, z, z, &got);
    // the same by a plan whose fixed deviation is what v = 0.25 stands for
    for (int k = 0; k < 10; k++) {
        const aleat_sampling_step *s = &plan->steps[k];
        if (s->learned && s->c_noise != 0)
            fixed->steps[k].c_noise = exp(0.5 * (0.625 * s->log_var_high + 0.375 * s->log_var_low));
    }
    sample(fixed, data, z, z, &want);
    for (int j = 0; j < N * COUNT; j++) // two roundings to f32 a step
        assert_true(fabsf(got.states[10][j] - want.states[10][j]) < 1e-5f);
    aleat_sampling_plan_free(plan);
    aleat_sampling_plan_free(fixed);
}

typedef struct bend {
    float factor;
    int calls, stop_at;
    float x0_before[N * COUNT];
} bend;

static aleat_status bend_eps(void *ctx, aleat_evaluation *e, aleat_error *err)
{
    (void)err;
    bend *b = ctx;
    if (b->calls++ == b->stop_at)
        return ALEAT_ERR_CANCELLED;
    for (int64_t j = 0; j < e->n * e->count; j++)
        e->eps[j] *= b->factor;
    e->eps_changed = true;
    return ALEAT_OK;
}

static void a_hook_changes_eps_and_the_sampler_follows(void **state)
{
    (void)state;
    // eps -> f eps on data at the origin with spread s is a DDIM step with that eps: by hand
    const double weight = 1, spread = 0.5, mean[COUNT] = {0};
    aleat_sampling_plan *plan = plan_of("ddim", 1);
    const mock_data data = {.channels = 3,
                            .height = 2,
                            .width = 2,
                            .components = 1,
                            .weight = &weight,
                            .spread = &spread,
                            .mean = mean,
                            .clock = MOCK_LOG_SIGMA,
                            .abar = plan->alphas_cumprod,
                            .n_abar = 1000};
    aleat_denoiser denoiser = mock_denoiser(&data);
    aleat_sampler *sampler = NULL;
    assert_int_equal(
        aleat_sampler_new(&sampler, plan, &denoiser, ALEAT_TIME_IDENTITY, N, 2, 2, NULL), ALEAT_OK);
    static const uint32_t images[N] = {0, 1};
    const uint64_t seed = 3;
    bend b = {.factor = 0.5f, .stop_at = -1};
    aleat_sample_request request = {.n = N,
                                    .images = images,
                                    .noise = aleat_noise_philox(seed),
                                    .hooks = {.ctx = &b, .evaluated = bend_eps}};
    float x[N * COUNT], z[N * COUNT];
    assert_int_equal(aleat_sampler_run(sampler, &request, x, NULL), ALEAT_OK);
    aleat_rng_normals(&(aleat_rng_key){.seed = 3, .image = 0}, 0, z, COUNT);
    aleat_rng_normals(&(aleat_rng_key){.seed = 3, .image = 1}, 0, z + COUNT, COUNT);
    const double a = plan->steps[0].alpha, s = plan->steps[0].sigma; // one step: t = 0
    for (int j = 0; j < N * COUNT; j++) {
        const double eps = 0.5 * s * (double)z[j] / (a * a * spread * spread + s * s);
        const double x0 = fmin(fmax(((double)z[j] - s * eps) / a, -1), 1); // then abar = 1
        assert_true(fabs((double)x[j] - x0) < 1e-6);
    }
    b = (bend){.factor = 1, .stop_at = 0};
    assert_int_equal(aleat_sampler_run(sampler, &request, x, NULL), ALEAT_ERR_CANCELLED);
    aleat_sampler_free(sampler);
    aleat_denoiser_destroy(&denoiser);
    aleat_sampling_plan_free(plan);
}

// Every sampler: an image alone and in company has the same bits; no allocation while running.
static void an_image_does_not_depend_on_its_batch_nor_allocates(void **state)
{
    (void)state;
    const double weight[2] = {0.4, 0.6}, spread[2] = {0.3, 0.2},
                 mean[2 * COUNT] = {0.5, [12] = -0.5};
    for (const aleat_sampler_kind *kind = aleat_samplers(); kind->name; kind++) {
        aleat_sampling_plan *plan = plan_of(kind->name, 8);
        const mock_data data = {.channels = 3,
                                .height = 2,
                                .width = 2,
                                .components = 2,
                                .weight = weight,
                                .spread = spread,
                                .mean = mean,
                                .clock = MOCK_LOG_SIGMA,
                                .abar = plan->alphas_cumprod,
                                .n_abar = 1000};
        aleat_denoiser denoiser = mock_denoiser(&data);
        aleat_sampler *sampler = NULL;
        assert_int_equal(
            aleat_sampler_new(&sampler, plan, &denoiser, ALEAT_TIME_IDENTITY, 7, 2, 2, NULL),
            ALEAT_OK);
        static const uint32_t images[7] = {5, 0, 3, 9, 1, 2, 4};
        const uint64_t seed = 21;
        float together[7 * COUNT], alone[COUNT];
        aleat_sample_request request = {
            .n = 7, .images = images, .noise = aleat_noise_philox(seed)};
        const uint64_t before = aleat_alloc_count();
        assert_int_equal(aleat_sampler_run(sampler, &request, together, NULL), ALEAT_OK);
        assert_int_equal(aleat_alloc_count(), before);
        for (int i = 0; i < 7; i++) {
            request.n = 1;
            request.images = images + i;
            assert_int_equal(aleat_sampler_run(sampler, &request, alone, NULL), ALEAT_OK);
            assert_memory_equal(alone, together + i * COUNT, sizeof alone);
        }
        aleat_sampler_free(sampler);
        aleat_denoiser_destroy(&denoiser);
        aleat_sampling_plan_free(plan);
    }
}

static void predictions_convert_into_each_other(void **state)
{
    (void)state;
    const double alpha = 0.6, sigma = 0.8;
    const float x0 = 0.25f, noise = -1.5f;
    const float x = (float)(alpha * 0.25 + sigma * -1.5);
    const float raw[3] = {noise, x0, (float)(alpha * -1.5 - sigma * 0.25)};
    for (int p = 0; p < 3; p++) {
        float eps, got;
        aleat_predict((aleat_prediction)p, alpha, sigma, &x, &raw[p], &eps, &got, 1);
        assert_true(fabsf(eps - noise) < 1e-6f && fabsf(got - x0) < 1e-6f);
    }
}

static void dynamic_thresholding_scales_the_tail_to_one(void **state)
{
    (void)state;
    float x0[5] = {-4, 2, 0.5f, 1, -3}, scratch[5];
    const aleat_clip clip = {.dynamic = true, .ratio = 0.75, .max = 10}; // |x0| sorted: .5 1 2 3 4
    aleat_clip_x0(&clip, x0, 5, scratch);
    const float want[5] = {-1, 2 / 3.0f, 0.5f / 3, 1 / 3.0f, -1};
    for (int j = 0; j < 5; j++)
        assert_true(fabsf(x0[j] - want[j]) < 1e-7f);
    float small[3] = {0.1f, -0.2f, 0.3f}; // the limit never falls below 1
    aleat_clip_x0(&clip, small, 3, scratch);
    assert_true(small[0] == 0.1f && small[2] == 0.3f);
}

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void the_quantile_is_that_of_the_sorted_values(void **state)
{
    (void)state;
    float values[777], sorted[777];
    for (uint32_t trial = 0; trial < 50; trial++) {
        const int n = 1 + (int)trial * 15;
        aleat_rng_normals(&(aleat_rng_key){.image = trial}, 0, values, n);
        for (int j = 0; j < n / 3; j++) // ties
            values[j] = roundf(values[j]);
        memcpy(sorted, values, sizeof values);
        qsort(sorted, (size_t)n, sizeof *sorted, compare_floats);
        for (double q = 0; q <= 1; q += 0.05) {
            const double place = q * (n - 1);
            const int k = (int)place;
            const double above = (double)sorted[k + 1 < n ? k + 1 : k];
            const double want = (double)sorted[k] + (place - k) * (above - (double)sorted[k]);
            assert_true(fabs(aleat_quantile(values, n, q) - want) < 1e-12);
        }
    }
}

static void a_state_that_is_not_finite_is_reported(void **state)
{
    (void)state;
    const double weight = 1, spread = 0.5, mean[COUNT] = {NAN};
    aleat_sampling_plan *plan = plan_of("ddim", 5);
    const mock_data data = {.channels = 3,
                            .height = 2,
                            .width = 2,
                            .components = 1,
                            .weight = &weight,
                            .spread = &spread,
                            .mean = mean,
                            .clock = MOCK_LOG_SIGMA,
                            .abar = plan->alphas_cumprod,
                            .n_abar = 1000};
    aleat_denoiser denoiser = mock_denoiser(&data);
    aleat_sampler *sampler = NULL;
    assert_int_equal(
        aleat_sampler_new(&sampler, plan, &denoiser, ALEAT_TIME_IDENTITY, 1, 2, 2, NULL), ALEAT_OK);
    const uint32_t image = 0;
    const uint64_t seed = 0;
    const aleat_sample_request request = {
        .n = 1, .images = &image, .noise = aleat_noise_philox(seed)};
    float x[COUNT];
    aleat_error err = {0};
    assert_int_equal(aleat_sampler_run(sampler, &request, x, &err), ALEAT_ERR_NUMERIC);
    assert_non_null(strstr(err.message, "step 1 of 5"));
    aleat_sampler_free(sampler);
    aleat_denoiser_destroy(&denoiser);
    aleat_sampling_plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trajectories_agree_with_diffusers),
        cmocka_unit_test(flow_trajectories_agree_with_diffusers),
        cmocka_unit_test(pndm_makes_the_reference_states_of_its_predictions),
        cmocka_unit_test(trajectories_agree_with_the_original_dpm_solver),
        cmocka_unit_test(deterministic_samplers_solve_the_flow_of_a_gaussian),
        cmocka_unit_test(stochastic_samplers_reproduce_a_gaussian),
        cmocka_unit_test(a_learned_variance_scales_the_noise),
        cmocka_unit_test(a_hook_changes_eps_and_the_sampler_follows),
        cmocka_unit_test(an_image_does_not_depend_on_its_batch_nor_allocates),
        cmocka_unit_test(predictions_convert_into_each_other),
        cmocka_unit_test(dynamic_thresholding_scales_the_tail_to_one),
        cmocka_unit_test(the_quantile_is_that_of_the_sorted_values),
        cmocka_unit_test(a_state_that_is_not_finite_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
