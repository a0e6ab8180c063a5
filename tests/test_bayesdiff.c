/* The posterior over a last layer, BayesDiff and generative uncertainty: formulas, exact cases, and
 * runs with it. */
#include "tool.h"

#include <math.h>

#include "api/model_state.h"
#include "denoiser/cfg.h"
#include "denoiser/network.h"
#include "io/npy.h"
#include "io/weights.h"
#include "samplers/sampler.h"
#include "uncertainty/bayesdiff.h"
#include "uncertainty/generative.h"

/* ---- a last layer of a 3x3 convolution ------------------------------------------------------- */

enum { C_IN = 2, C_OUT = 3, SIDE = 3, PIXELS = SIDE * SIDE, TAPS = 9 };
enum { N_WEIGHTS = C_OUT * C_IN * TAPS, N_ALL = N_WEIGHTS + C_OUT };
enum { N_FEATURES = C_IN * PIXELS, N_OUTPUTS = C_OUT * PIXELS };

typedef struct layer {
    float values[N_ALL];
    aleat_weights *weights;
    aleat_graph *graph;
    aleat_value y;
    aleat_head *head;
} layer;

static layer make_layer(void)
{
    aleat_error err = {0};
    layer l = {0};
    const aleat_shape w = aleat_shape_of(4, (int64_t)C_OUT, (int64_t)C_IN, (int64_t)3, (int64_t)3);
    const aleat_shape b = aleat_shape_of(1, (int64_t)C_OUT);
    const aleat_named_array arrays[] = {{"w", aleat_tensor_view(ALEAT_F32, &w, l.values)},
                                        {"b", aleat_tensor_view(ALEAT_F32, &b, l.values)}};
    assert_int_equal(aleat_weights_of_arrays(&l.weights, arrays, 2, "test", &err), ALEAT_OK);
    l.graph = aleat_graph_new(l.weights);
    const aleat_value x = aleat_graph_input(l.graph, "x", (aleat_dims){SIDE, SIDE, C_IN});
    l.y = aleat_op_conv2d(l.graph, aleat_op_activation(l.graph, x, ALEAT_ACT_SILU),
                          aleat_graph_param(l.graph, "w", &w), aleat_graph_param(l.graph, "b", &b),
                          aleat_conv_same(3));
    assert_int_equal(aleat_head_new(&l.head, l.graph, l.y, 1, &err), ALEAT_OK);
    assert_int_equal(aleat_head_features(l.head), N_FEATURES);
    assert_int_equal(aleat_head_outputs(l.head), N_OUTPUTS);
    return l;
}

static void layer_free(layer *l)
{
    aleat_head_free(l->head);
    aleat_graph_free(l->graph);
    aleat_weights_free(l->weights);
}

static double wave(int j)
{
    return sin(1.7 * j + 0.3);
}

/* Output (o, p) of the layer in double; features are channels last. */
static double output(const double *theta, const float *features, int o, int p)
{
    double sum = theta[N_WEIGHTS + o];
    for (int c = 0; c < C_IN; c++)
        for (int k = 0; k < TAPS; k++) {
            const int row = p / SIDE + k / 3 - 1, column = p % SIDE + k % 3 - 1;
            if (row >= 0 && row < SIDE && column >= 0 && column < SIDE)
                sum += theta[(o * C_IN + c) * TAPS + k] *
                       (double)features[(row * SIDE + column) * C_IN + c];
        }
    return sum;
}

static double loss(const double *theta, const float *features, const double *target)
{
    double sum = 0;
    for (int j = 0; j < N_OUTPUTS; j++) {
        const double d = output(theta, features, j / PIXELS, j % PIXELS) - target[j];
        sum += d * d;
    }
    return sum;
}

static void curvature_is_half_the_squared_gradient_of_the_squared_error(void **state)
{
    (void)state;
    enum { IMAGES = 3 };
    aleat_error err = {0};
    layer l = make_layer();
    aleat_curvature h;
    double theta[N_ALL], want[N_ALL] = {0}, target[N_OUTPUTS];
    assert_int_equal(aleat_curvature_init(&h, l.head, &err), ALEAT_OK);
    for (int j = 0; j < N_ALL; j++)
        theta[j] = wave(j);
    for (int i = 0; i < IMAGES; i++) {
        float features[N_FEATURES], residual[N_OUTPUTS];
        for (int j = 0; j < N_FEATURES; j++)
            features[j] = (float)wave(100 * i + 3 * j);
        for (int j = 0; j < N_OUTPUTS; j++) {
            target[j] = wave(1000 * i + j);
            residual[j] = (float)(output(theta, features, j / PIXELS, j % PIXELS) - target[j]);
        }
        aleat_curvature_add(&h, l.head, features, residual);
        for (int j = 0; j < N_ALL; j++) { // central differences of a parabola are exact
            const double step = 0.125, at = theta[j];
            theta[j] = at + step;
            const double up = loss(theta, features, target);
            theta[j] = at - step;
            const double g = (up - loss(theta, features, target)) / (2 * step);
            theta[j] = at;
            want[j] += 0.5 * g * g;
        }
    }
    for (int j = 0; j < N_ALL; j++) {
        const double got = j < N_WEIGHTS ? h.weight[j] : h.bias[j - N_WEIGHTS];
        // a gradient is a sum of 9 products of sizes below 6; squared, of gradients below 60
        assert_true(fabs(got - want[j]) < IMAGES * 60 * 9 * 6 * 4 * 6e-8);
    }
    aleat_curvature_clear(&h);
    layer_free(&l);
}

static aleat_posterior *make_posterior(const layer *l, double scale)
{
    aleat_error err = {0};
    aleat_curvature h;
    aleat_posterior *p = NULL;
    assert_int_equal(aleat_curvature_init(&h, l->head, &err), ALEAT_OK);
    for (int j = 0; j < N_ALL; j++)
        *(j < N_WEIGHTS ? &h.weight[j] : &h.bias[j - N_WEIGHTS]) = scale * (1 + wave(j));
    assert_int_equal(aleat_posterior_new(&p, l->graph, l->y, &h, 1, &err), ALEAT_OK);
    h.weight[1] = NAN;
    aleat_posterior *none;
    assert_int_equal(aleat_posterior_new(&none, l->graph, l->y, &h, 1, &err), ALEAT_ERR_FORMAT);
    h.n_weights--;
    assert_int_equal(aleat_posterior_new(&none, l->graph, l->y, &h, 1, &err), ALEAT_ERR_SHAPE);
    aleat_curvature_clear(&h);
    return p;
}

static void variance_of_the_output_is_exact_and_that_of_drawn_weights(void **state)
{
    (void)state;
    enum { DRAWS = 100000 };
    aleat_error err = {0};
    layer l = make_layer();
    aleat_posterior *p = make_posterior(&l, 10);
    float features[N_FEATURES], got[N_OUTPUTS], mean[N_OUTPUTS], drawn[N_OUTPUTS];
    float squares[N_FEATURES];
    double variances[N_ALL];
    for (int j = 0; j < N_FEATURES; j++) {
        features[j] = (float)wave(7 * j);
        squares[j] = features[j] * features[j];
    }
    for (int j = 0; j < N_ALL; j++)
        variances[j] = 1 / (1 + 10 * (1 + wave(j)));
    aleat_posterior_variance(p, 1, features, got);
    const aleat_rng_key key = {.seed = 5, .purpose = ALEAT_FOR_WEIGHTS};
    assert_int_equal(aleat_posterior_sample(p, &key, DRAWS, features, mean, drawn, &err), ALEAT_OK);
    for (int j = 0; j < N_OUTPUTS; j++) {
        const double want = output(variances, squares, j / PIXELS, j % PIXELS);
        assert_true(fabs((double)got[j] - want) < 1e-5 * want); // 19 positive terms in f32
        // s.d. of a sample variance: sqrt(2 / n) = 0.45 %, of a mean: sqrt(v / n); 5 of them
        assert_true(fabs((double)drawn[j] - want) < 0.0225 * want);
        assert_true(fabs((double)mean[j]) < 5 * sqrt(want / DRAWS));
    }
    aleat_posterior_free(p);
    layer_free(&l);
}

/* Whole networks: a convolution, and a linear layer whose tokens are cut and put together. */
static void a_last_layer_by_itself_gives_the_networks_output(void **state)
{
    (void)state;
    static const struct {
        const char *folder, *file;
        int heads;
    } models[] = {{"data/ddpm-unet-d", "model", 0},
                  {"data/uvit-cifar", "cifar10_uvit_small.pth", 2}};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        enum { N = 2, MOST = 1 << 16 };
        static float x[MOST], features[MOST], want[MOST], plain[MOST], got[MOST], values[2][MOST];
        aleat_error err = {0};
        aleat_model *m = NULL;
        aleat_head *head = NULL;
        aleat_last_layer last;
        const aleat_open_options options = {.threads = 1, .heads = models[i].heads};
        const float t[N] = {400, 30};
        assert_int_equal(
            aleat_model_open(&m, case_path(models[i].folder, models[i].file), &options, &err),
            ALEAT_OK);
        const aleat_denoiser_info *info = &m->denoiser.info;
        const int64_t out = info->out_channels * info->height * info->width;
        assert_true(info->features > 0 && N * info->features < MOST && N * out < MOST);
        for (int j = 0; j < MOST; j++)
            x[j] = (float)wave(j);
        const aleat_batch batch = {
            .n = N, .height = info->height, .width = info->width, .x = x, .t = t};
        assert_int_equal(m->denoiser.ops->features(m->denoiser.self, &batch, features, want, &err),
                         ALEAT_OK);
        assert_int_equal(aleat_denoiser_predict(&m->denoiser, &batch, plain, &err), ALEAT_OK);
        assert_memory_equal(want, plain, (size_t)(N * out) * sizeof *want);
        const aleat_value y = m->files.network.out;
        assert_int_equal(aleat_graph_last_layer(&last, m->files.graph, y, &err), ALEAT_OK);
        assert_int_equal(aleat_head_new(&head, m->files.graph, y, 1, &err), ALEAT_OK);
        char bias[256];
        (void)snprintf(bias, sizeof bias, "%.*sbias", (int)(strlen(last.name) - strlen("weight")),
                       last.name);
        assert_true(last.n_weights < MOST);
        aleat_weight_to_f32(aleat_weights_find(m->files.weights, last.name), values[0]);
        aleat_weight_to_f32(aleat_weights_find(m->files.weights, bias), values[1]);
        assert_int_equal(aleat_head_set(head, values[0], values[1], &err), ALEAT_OK);
        aleat_head_run(head, N, features, got);
        for (int64_t j = 0; j < N * out; j++) // the same kernel, so nearly the same bits
            assert_true(fabsf(got[j] - want[j]) < 1e-5F);
        aleat_head_free(head);
        aleat_model_close(m);
    }
}

/* ---- a network that is one linear layer of one pixel ----------------------------------------- */

/* eps = w x + b, or, of x + the class's row of a table, eps = w (x + table[label]) + b. */
typedef struct line {
    float w, b, table[2];
    aleat_weights *weights;
    aleat_graph *graph;
    aleat_denoiser denoiser;
    aleat_posterior *posterior;
} line;

static void make_line(line *l, double h_weight, double h_bias, bool classes)
{
    aleat_error err = {0};
    *l = (line){.w = 0.4F, .b = -0.2F, .table = {0.7F, -1.1F}};
    const aleat_shape w = aleat_shape_of(2, (int64_t)1, (int64_t)1);
    const aleat_shape b = aleat_shape_of(1, (int64_t)1);
    const aleat_shape t = aleat_shape_of(2, (int64_t)2, (int64_t)1);
    const aleat_named_array arrays[] = {{"w", aleat_tensor_view(ALEAT_F32, &w, &l->w)},
                                        {"b", aleat_tensor_view(ALEAT_F32, &b, &l->b)},
                                        {"t", aleat_tensor_view(ALEAT_F32, &t, l->table)}};
    assert_int_equal(aleat_weights_of_arrays(&l->weights, arrays, 3, "test", &err), ALEAT_OK);
    l->graph = aleat_graph_new(l->weights);
    const aleat_value x = aleat_graph_input(l->graph, "x", (aleat_dims){1, 1, 1});
    aleat_value features = x, label = ALEAT_NO_VALUE;
    if (classes) {
        label = aleat_graph_input(l->graph, "label", (aleat_dims){1, 1, 1});
        features = aleat_op_add(
            l->graph, x, aleat_op_embedding(l->graph, label, aleat_graph_param(l->graph, "t", &t)));
    }
    const aleat_value y = aleat_op_linear(l->graph, features, aleat_graph_param(l->graph, "w", &w),
                                          aleat_graph_param(l->graph, "b", &b));
    const aleat_network_spec spec = {.graph = l->graph,
                                     .x = x,
                                     .t = ALEAT_NO_VALUE,
                                     .label = label,
                                     .out = y,
                                     .engine = {.threads = 1},
                                     .info = {.channels = 1,
                                              .height = 1,
                                              .width = 1,
                                              .out_channels = 1,
                                              .n_classes = classes ? 2 : 0,
                                              .null_class = -1}};
    assert_int_equal(aleat_network_denoiser(&l->denoiser, &spec, &err), ALEAT_OK);
    aleat_curvature h = {.n_weights = 1, .n_biases = 1, .weight = &h_weight, .bias = &h_bias};
    assert_int_equal(aleat_posterior_new(&l->posterior, l->graph, y, &h, 1, &err), ALEAT_OK);
}

static void line_free(line *l)
{
    aleat_posterior_free(l->posterior);
    aleat_denoiser_destroy(&l->denoiser);
    aleat_graph_free(l->graph);
    aleat_weights_free(l->weights);
}

/* The covariance under guidance: the combination's features give the combination's output, so a
 * change of the shared weights is seen as it is, not as two independent ones. */
static void guided_features_are_those_of_the_guided_output(void **state)
{
    (void)state;
    aleat_error err = {0};
    line l;
    make_line(&l, 3, 7, true);
    const int32_t null = 1, labels[2] = {0, 1};
    const aleat_cfg_options options = {.scale = 2.5, .unconditional = {.labels = &null}};
    aleat_denoiser cfg;
    assert_int_equal(aleat_cfg_denoiser(&cfg, &l.denoiser, &options, &err), ALEAT_OK);
    const float x[2] = {0.3F, -0.8F}, t[2] = {0};
    float features[2], out[2], plain[2], variance[2];
    const aleat_batch batch = {
        .n = 2, .height = 1, .width = 1, .x = x, .t = t, .condition = {.labels = labels}};
    assert_int_equal(cfg.ops->features(cfg.self, &batch, features, out, &err), ALEAT_OK);
    assert_int_equal(aleat_denoiser_predict(&cfg, &batch, plain, &err), ALEAT_OK);
    assert_memory_equal(out, plain, sizeof out);
    aleat_posterior_variance(l.posterior, 2, features, variance);
    for (int i = 0; i < 2; i++) {
        const double c = (double)x[i] + (double)l.table[labels[i]];
        const double u = (double)x[i] + (double)l.table[null];
        const double phi = -1.5 * u + 2.5 * c; // sum over the weight of ((1-w) u + w c)^2 / P
        assert_true(fabs((double)variance[i] - (phi * phi / 4 + 1.0 / 8)) < 1e-5);
        assert_true(fabs((double)out[i] - ((double)l.w * phi + (double)l.b)) < 1e-5);
    }
    aleat_denoiser_destroy(&cfg);
    line_free(&l);
}

typedef struct path {
    aleat_bayesdiff *bayes;
    const aleat_sampling_plan *plan;
    int every;
    double x[64], want; // states before each evaluation; V by the recursion
} path;

/* V' by the formulas of 1 or 2 stages, with the exact Cov(x, eps) = w V of eps = w x + b. */
static aleat_status follow(void *ctx, aleat_evaluation *e, aleat_error *err)
{
    path *p = ctx;
    const aleat_sampling_step *s = e->step, *before = e->step - 1;
    const double w = (double)0.4F, x = (double)e->x[0];
    const double gamma = x * x / 21 + 1.0 / 11; // H = 20 and 10
    p->x[e->index] = x;
    const bool uq = s->outer % p->every == 0;
    const bool ends = e->index + 1 == p->plan->n_steps || s[1].outer != s->outer;
    const double x0 = 1 / s->alpha; // eps for x0 = (x - sigma eps) / alpha
    if (ends && s->stage == 0) {
        const double r = s->c_x + s->c_x0[0] * x0;
        const double c = s->c_eps[0] - s->c_x0[0] * s->sigma * x0;
        p->want = r * r * p->want + s->c_noise * s->c_noise +
                  (uq ? 2 * r * c * w * p->want + c * c * gamma : 0);
    } else if (ends) {
        const double half = before->c_base + before->c_eps[0] * w; // d (state at half) / dx
        const double a = s->c_eps[1], b = s->c_eps[0], r = s->c_base;
        const double first = p->x[e->index - 1] * p->x[e->index - 1] / 21 + 1.0 / 11;
        p->want =
            r * r * p->want +
            (uq ? 2 * r * (a * w + b * w * half) * p->want + a * a * first + b * b * gamma : 0);
    }
    p->want = fmax(p->want, 0); // the method leaves out the square of the covariance's term
    return aleat_bayesdiff_evaluated(p->bayes, e, err);
}

static aleat_sampling_plan *make_plan(const char *sampler, int steps)
{
    aleat_error err = {0};
    aleat_sampler_config config;
    aleat_sampling_plan *plan = NULL;
    assert_int_equal(aleat_sampler_config_default(&config, sampler, &err), ALEAT_OK);
    config.clip = (aleat_clip){0};
    assert_int_equal(aleat_sampling_plan_new(&plan, &config, steps, &err), ALEAT_OK);
    aleat_sampler_config_clear(&config);
    return plan;
}

static double run_line(const line *l, const aleat_sampling_plan *plan, int every, int samples,
                       double *want, float *x, int64_t *nfe)
{
    aleat_error err = {0};
    path p = {.plan = plan, .every = every};
    const aleat_bayesdiff_options options = {.posterior = l->posterior,
                                             .every = every,
                                             .samples = samples,
                                             .time_map = ALEAT_TIME_IDENTITY};
    aleat_sampler *sampler = NULL;
    assert_int_equal(aleat_bayesdiff_new(&p.bayes, plan, &l->denoiser, &options, 1, 1, 1, &err),
                     ALEAT_OK);
    assert_int_equal(aleat_sampler_new(&sampler, plan, aleat_bayesdiff_tap(p.bayes),
                                       ALEAT_TIME_IDENTITY, 1, 1, 1, &err),
                     ALEAT_OK);
    const uint32_t image = 3;
    const aleat_sample_request request = {.n = 1,
                                          .images = &image,
                                          .noise = aleat_noise_philox(1),
                                          .hooks = {.ctx = &p, .evaluated = follow}};
    aleat_bayesdiff_begin(p.bayes, request.noise);
    assert_int_equal(aleat_sampler_run(sampler, &request, x, &err), ALEAT_OK);
    float map;
    aleat_bayesdiff_map(p.bayes, 1, &map);
    *want = p.want;
    *nfe = aleat_bayesdiff_nfe(p.bayes);
    aleat_sampler_free(sampler);
    aleat_bayesdiff_free(p.bayes);
    return (double)map;
}

static void a_linear_network_has_an_exact_variance(void **state)
{
    (void)state;
    enum { SAMPLES = 40000 };
    static const struct {
        const char *sampler;
        int steps, every, drawn; // evaluations of drawn states
    } cases[] = {
        {"ddim", 6, 1, 5},  {"ddim", 7, 3, 2},         {"ddpm", 6, 2, 2},
        {"euler", 5, 2, 2}, {"dpm-solver-2", 8, 1, 6}, {"dpm-solver-2", 8, 2, 2},
    };
    line l;
    make_line(&l, 20, 10, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_sampling_plan *plan = make_plan(cases[i].sampler, cases[i].steps);
        double want;
        float x;
        int64_t nfe;
        const double got = run_line(&l, plan, cases[i].every, SAMPLES, &want, &x, &nfe);
        assert_int_equal(nfe, (int64_t)cases[i].drawn * SAMPLES);
        // an estimated w V has a relative s.d. of sqrt(2 / n) = 0.7 % and an offset of the mean
        // of eps times that of the deviations; five steps amplify it
        assert_true(want > 0 && fabs(got - want) < 0.1 * want);
        aleat_sampling_plan_free(plan);
    }
    line_free(&l);
}

/* Draws x in plain sampling. */
static void certain_weights_leave_the_image_and_no_variance(void **state)
{
    (void)state;
    aleat_error err = {0};
    line l;
    make_line(&l, 1e300, 1e300, false); // 1 / P is 0 in f32
    aleat_sampling_plan *plan = make_plan("ddim", 9);
    double want;
    float x, plain;
    int64_t nfe;
    assert_true(run_line(&l, plan, 2, 10, &want, &x, &nfe) == 0);
    aleat_sampler *sampler = NULL;
    assert_int_equal(
        aleat_sampler_new(&sampler, plan, &l.denoiser, ALEAT_TIME_IDENTITY, 1, 1, 1, &err),
        ALEAT_OK);
    const uint32_t image = 3;
    const aleat_sample_request request = {.n = 1, .images = &image, .noise = aleat_noise_philox(1)};
    assert_int_equal(aleat_sampler_run(sampler, &request, &plain, &err), ALEAT_OK);
    assert_memory_equal(&x, &plain, sizeof x);
    aleat_sampler_free(sampler);
    aleat_sampling_plan_free(plan);
    line_free(&l);
}

static void steps_that_look_back_are_refused(void **state)
{
    (void)state;
    aleat_error err = {0};
    line l;
    make_line(&l, 1, 1, false);
    const aleat_bayesdiff_options options = {.posterior = l.posterior, .every = 1, .samples = 2};
    static const char *const samplers[] = {"dpm++2m", "dpm-solver-3", "pndm"};
    for (size_t i = 0; i < sizeof samplers / sizeof *samplers; i++) {
        aleat_sampling_plan *plan = make_plan(samplers[i], 12);
        aleat_bayesdiff *b = NULL;
        assert_int_equal(aleat_bayesdiff_new(&b, plan, &l.denoiser, &options, 1, 1, 1, &err),
                         ALEAT_ERR_UNSUPPORTED);
        assert_non_null(strstr(err.message, samplers[i]));
        aleat_sampling_plan_free(plan);
    }
    line_free(&l);
}

/* ---- generative uncertainty ------------------------------------------------------------------ */

static void a_drawn_network_has_other_weights(void **state)
{
    (void)state;
    aleat_error err = {0};
    line l;
    make_line(&l, 3, 8, false); // deviations 1/2 and 1/3
    aleat_denoiser drawn;
    assert_int_equal(aleat_drawn_denoiser(&drawn, &l.denoiser, l.posterior, 1, 1, &err), ALEAT_OK);
    const float x[2] = {0.3F, -0.8F};
    float y[2], z[2], single;
    aleat_batch batch = {.n = 2, .height = 1, .width = 1, .x = x};
    const aleat_rng_key key = {.seed = 4, .copy = 2, .purpose = ALEAT_FOR_WEIGHTS};
    assert_int_equal(aleat_posterior_draw(l.posterior, &key, &err), ALEAT_OK);
    assert_int_equal(aleat_denoiser_predict(&drawn, &batch, y, &err), ALEAT_OK);
    aleat_rng_normals(&key, 0, z, 2);
    for (int i = 0; i < 2; i++) {
        const double want =
            ((double)l.w + (double)z[0] / 2) * (double)x[i] + (double)l.b + (double)z[1] / 3;
        assert_true(fabs((double)y[i] - want) < 1e-6);
    }
    batch.n = 1;
    assert_int_equal(aleat_denoiser_predict(&drawn, &batch, &single, &err), ALEAT_OK);
    assert_true(single == y[0]);
    aleat_denoiser_destroy(&drawn);
    line_free(&l);
}

static void entropy_is_that_of_a_diagonal_normal(void **state)
{
    (void)state;
    // variances, divided by 3: of {1, 2, 3} 2/3, of {4, 4, 4} 0
    const float features[] = {1, 4, 2, 4, 3, 4};
    const double pi = acos(-1), e = exp(1);
    const double want = 0.5 * log(2 * pi * e * (2.0 / 3 + 0.01)) + 0.5 * log(2 * pi * e * 0.01);
    assert_true(fabs(aleat_feature_entropy(features, 3, 2, 0.01) - want) < 1e-12);
}

/* ---- the tool -------------------------------------------------------------------------------- */

#define MODEL    "ddpm-unet-d/model" // 12 x 12 pixels, grey: a run takes a fraction of a second
#define SCHEDULE "sched-ddim/leading0-cifar-clip/scheduler_config.json"

static const char *in_folder(const char *name)
{
    static char paths[4][256];
    static int next;
    char *to = paths[next++ % 4];
    (void)snprintf(to, sizeof paths[0], "%s/%s", fixture_folder, name);
    return to;
}

static void write_data(void)
{
    enum { IMAGES = 20 };
    static uint8_t pixels[IMAGES * 144];
    aleat_error err = {0};
    for (int j = 0; j < IMAGES * 144; j++)
        pixels[j] = (uint8_t)(128 + 120 * wave(j / 5));
    const aleat_shape shape = aleat_shape_of(3, (int64_t)IMAGES, (int64_t)12, (int64_t)12);
    const aleat_named_array array = {"arr_0", aleat_tensor_view(ALEAT_U8, &shape, pixels)};
    assert_int_equal(aleat_npz_write(in_folder("data.npz"), &array, 1, false, &err), ALEAT_OK);
}

static int laplace(const char *out, const char *more)
{
    return run("laplace %s %s --schedule %s -o %s %s", data(MODEL), in_folder("data.npz"),
               data(SCHEDULE), in_folder(out), more);
}

static void a_fit_depends_on_its_seed_only(void **state)
{
    (void)state;
    char a[ALEAT_SHA256_TEXT], b[ALEAT_SHA256_TEXT], c[ALEAT_SHA256_TEXT];
    write_data();
    assert_int_equal(laplace("a.st", "-n 18 --threads 1"), 0);
    assert_int_equal(laplace("b.st", "-n 18 --threads 2"), 0);
    assert_int_equal(laplace("c.st", "-n 18 --seed 1"), 0);
    assert_int_equal(aleat_sha256_file(a, in_folder("a.st"), NULL), ALEAT_OK);
    assert_int_equal(aleat_sha256_file(b, in_folder("b.st"), NULL), ALEAT_OK);
    assert_int_equal(aleat_sha256_file(c, in_folder("c.st"), NULL), ALEAT_OK);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    assert_int_equal(laplace("d.st", "-n 21"), 1); // there are 20
    assert_int_equal(run("laplace %s -o %s", data(MODEL), in_folder("d.st")), 2);
}

static int bayes_run(int milliseconds, const char *name, const char *more)
{
    return run_for(milliseconds,
                   "generate %s --schedule %s -n 18 --steps 10 --seed 7 --estimator bayesdiff "
                   "--copies 3 -o %s %s",
                   data(MODEL), data(SCHEDULE), in_folder(name), more);
}

static int fitted_run(int milliseconds, const char *name, const char *more)
{
    char all[600];
    (void)snprintf(all, sizeof all, "--laplace %s %s", in_folder("a.st"), more);
    return bayes_run(milliseconds, name, all);
}

static void runs_are_the_same_whatever_batch_and_kills(void **state)
{
    (void)state;
    assert_int_equal(fitted_run(0, "ra", "--batch 16 --threads 1"), 0);
    assert_int_equal(fitted_run(0, "rb", "--batch 5 --threads 2"), 0);
    assert_true(digest_of("ra") == digest_of("rb"));
    for (int i = 0; i < 4; i++)
        (void)fitted_run(20 + 80 * i, "rk", "--batch 4");
    assert_int_equal(fitted_run(0, "rk", "--batch 4"), 0);
    assert_true(digest_of("rk") == digest_of("ra"));
    assert_int_equal(fitted_run(0, "rk", "--every 3"), 1); // another run
    assert_int_equal(fitted_run(0, "rm", "--laplace-draws 4"), 0);
    assert_true(digest_of("rm") != digest_of("ra"));
}

static void a_run_has_its_map_and_counts_its_evaluations(void **state)
{
    (void)state;
    char row[4096];
    json_t *o = json_load_file(in_folder("ra/run.json"), 0, NULL);
    const json_t *session = json_object_get(o, "this_session");
    assert_int_equal(json_integer_value(json_object_get(session, "evaluations_per_image")), 10 + 3);
    json_decref(o);
    FILE *csv = fopen(in_folder("ra/scores.csv"), "r");
    assert_non_null(csv);
    assert_non_null(fgets(row, sizeof row, csv));
    assert_ptr_equal(strstr(row, "index,label,seed,score,bayes-var,bayes-var@9,"), row);
    double score = 0;
    assert_int_equal(fscanf(csv, "%*d,%*d,%*d,%lf", &score), 1);
    assert_true(score > 0);
    (void)fclose(csv);
    assert_int_equal(
        run("filter %s --keep 5 --by bayes-var -o %s", in_folder("ra"), in_folder("rf")), 0);
    assert_int_equal(run("report %s", in_folder("ra")), 0);
}

static void wrong_files_and_options_are_refused(void **state)
{
    (void)state;
    char text[1024], more[600];
    assert_int_equal(bayes_run(0, "no", ""), 1);
    said("stderr", text, sizeof text);
    assert_non_null(strstr(text, "aleat laplace"));
    (void)snprintf(more, sizeof more, "--laplace %s", in_folder("data.npz"));
    assert_int_equal(bayes_run(0, "no", more), 1);
    // of another model: the same file with another hash in its header
    FILE *from = fopen(in_folder("a.st"), "rb"), *to = fopen(in_folder("e.st"), "wb");
    static char bytes[1 << 20];
    const size_t size = fread(bytes, 1, sizeof bytes, from);
    char *hash = memmem(bytes, size, "weights_sha256\":\"", 17);
    assert_non_null(hash);
    hash[17] = hash[17] == '0' ? '1' : '0';
    assert_int_equal(fwrite(bytes, 1, size, to), size);
    (void)fclose(from);
    (void)fclose(to);
    (void)snprintf(more, sizeof more, "--laplace %s", in_folder("e.st"));
    assert_int_equal(bayes_run(0, "no", more), 1);
    said("stderr", text, sizeof text);
    assert_non_null(strstr(text, "fitted to the weights"));
    assert_int_equal(fitted_run(0, "no", "--guide"), 1);
    assert_int_equal(fitted_run(0, "no", "--score-steps 6:9"), 1);
    assert_int_equal(fitted_run(0, "no", "--every 11"), 1);
    assert_int_equal(fitted_run(0, "no", "--sampler dpm++2m"), 1);
}

static int drawn_run(const char *name, const char *more)
{
    return run(
        "generate %s --schedule %s -n 18 --steps 4 --seed 7 --eta 0.5 --estimator generative "
        "--copies 2 --laplace %s -o %s %s",
        data(MODEL), data(SCHEDULE), in_folder("a.st"), in_folder(name), more);
}

static void generative_runs_have_a_score_whatever_the_batch(void **state)
{
    (void)state;
    char row[4096], text[1024], network[600];
    (void)snprintf(network, sizeof network, "--features %s",
                   data("../../models/fashion-classifier"));
    char more[700];
    (void)snprintf(more, sizeof more, "%s --batch 16 --threads 1", network);
    assert_int_equal(drawn_run("ga", more), 0);
    (void)snprintf(more, sizeof more, "%s --batch 5 --threads 2", network);
    assert_int_equal(drawn_run("gb", more), 0);
    assert_true(digest_of("ga") == digest_of("gb"));
    json_t *o = json_load_file(in_folder("ga/run.json"), 0, NULL);
    const json_t *session = json_object_get(o, "this_session");
    assert_int_equal(json_integer_value(json_object_get(session, "evaluations_per_image")),
                     4 + 2 * 4);
    json_decref(o);
    FILE *csv = fopen(in_folder("ga/scores.csv"), "r");
    assert_non_null(csv);
    assert_non_null(fgets(row, sizeof row, csv));
    assert_non_null(strstr(row, ",generative-entropy\n"));
    (void)fclose(csv);
    assert_int_equal(
        run("filter %s --keep 5 --by generative-entropy -o %s", in_folder("ga"), in_folder("gf")),
        0);
    assert_int_equal(run("report %s", in_folder("ga")), 0);
    assert_int_equal(drawn_run("no", ""), 1);
    said("stderr", text, sizeof text);
    assert_non_null(strstr(text, "--features"));
    (void)snprintf(more, sizeof more, "%s --score-steps 1:2", network);
    assert_int_equal(drawn_run("no", more), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(curvature_is_half_the_squared_gradient_of_the_squared_error),
        cmocka_unit_test(variance_of_the_output_is_exact_and_that_of_drawn_weights),
        cmocka_unit_test(a_last_layer_by_itself_gives_the_networks_output),
        cmocka_unit_test(guided_features_are_those_of_the_guided_output),
        cmocka_unit_test(a_linear_network_has_an_exact_variance),
        cmocka_unit_test(certain_weights_leave_the_image_and_no_variance),
        cmocka_unit_test(steps_that_look_back_are_refused),
        cmocka_unit_test(a_fit_depends_on_its_seed_only),
        cmocka_unit_test(runs_are_the_same_whatever_batch_and_kills),
        cmocka_unit_test(a_run_has_its_map_and_counts_its_evaluations),
        cmocka_unit_test(wrong_files_and_options_are_refused),
        cmocka_unit_test(a_drawn_network_has_other_weights),
        cmocka_unit_test(entropy_is_that_of_a_diagonal_normal),
        cmocka_unit_test(generative_runs_have_a_score_whatever_the_batch),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
