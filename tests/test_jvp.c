/* Forward mode: every rule against differences and against reverse mode, networks against their
 * reference programs. */
#include "checkpoint.h"
#include "derivative.h"

#include "graph/plan.h"

/* ---- one rule at a time ---------------------------------------------------------------------- */

enum { IMAGES = 2, H = 6, W = 8, C = 8 };

// A graph under construction: x is differentiated, the rest stands still.
typedef struct tiny {
    aleat_weights *weights;
    aleat_graph *graph;
    aleat_value x, other, vector, pair, divisor;
} tiny;

// Parameters are made up from their name and shape.
static const char *const tensors =
    "[[\"conv.k\",[12,8,3,3]],[\"conv.bias\",[12]],[\"point.k\",[24,8]],[\"point.bias\",[24]],"
    "[\"whole.k\",[8,8,6,8]],[\"norm.weight\",[8]],[\"norm.bias\",[8]],[\"class.token\",[1,8]],"
    "[\"square.k\",[8,8]],[\"table.k\",[48,8]]]";

static aleat_param param(const tiny *t, const char *name, int n, int64_t a, int64_t b, int64_t h,
                         int64_t w)
{
    const aleat_shape shape = {.n_dims = n, .dim = {a, b, h, w}};
    return aleat_graph_param(t->graph, name, &shape);
}

static aleat_value conv_of(const tiny *t, aleat_conv_spec spec)
{
    return aleat_op_conv2d(t->graph, t->x, param(t, "conv.k", 4, 12, 8, 3, 3),
                           param(t, "conv.bias", 1, 12, 0, 0, 0), spec);
}

static aleat_value conv(const tiny *t)
{
    return conv_of(t, aleat_conv_same(3));
}

static aleat_value strided_conv(const tiny *t)
{
    return conv_of(t, (aleat_conv_spec){3, 3, 2, 0, 0, 1, 1});
}

static aleat_value conv_of_stride_three(const tiny *t)
{
    return conv_of(t, (aleat_conv_spec){3, 3, 3, 1, 2, 1, 0});
}

// A stride that is larger than the kernel: some pixels of x meet no tap.
static aleat_value sparse_conv(const tiny *t)
{
    return aleat_op_conv2d(t->graph, t->x, param(t, "square.k", 2, 8, 8, 0, 0), ALEAT_NO_PARAM,
                           (aleat_conv_spec){1, 1, 2, 0, 0, 0, 0});
}

static aleat_value square(const tiny *t, aleat_value x)
{
    return aleat_op_linear(t->graph, x, param(t, "square.k", 2, 8, 8, 0, 0), ALEAT_NO_PARAM);
}

static aleat_value projection(const tiny *t, aleat_value x)
{
    return aleat_op_linear(t->graph, x, param(t, "point.k", 2, 24, 8, 0, 0),
                           param(t, "point.bias", 1, 24, 0, 0, 0));
}

static aleat_value linear(const tiny *t)
{
    return projection(t, t->x);
}

static aleat_value activations(const tiny *t)
{
    aleat_value y = aleat_op_activation(t->graph, t->x, ALEAT_ACT_SILU);
    for (int act = ALEAT_ACT_GELU; act < ALEAT_ACT_COUNT; act++)
        if (act != ALEAT_ACT_RELU) // has a kink
            y = aleat_op_concat(t->graph, y,
                                aleat_op_activation(t->graph, t->x, (aleat_activation)act));
    return y;
}

// On both sides of the kink: |x| < 1.
static aleat_value relu(const tiny *t)
{
    const aleat_value up = aleat_op_affine(t->graph, t->x, 1, 1.5);
    const aleat_value down = aleat_op_affine(t->graph, t->x, 1, -1.5);
    return aleat_op_concat(t->graph, aleat_op_activation(t->graph, up, ALEAT_ACT_RELU),
                           aleat_op_activation(t->graph, down, ALEAT_ACT_RELU));
}

static aleat_value norm_of(const tiny *t, aleat_activation act)
{
    return aleat_op_groupnorm(t->graph, t->x, param(t, "norm.weight", 1, 8, 0, 0, 0),
                              param(t, "norm.bias", 1, 8, 0, 0, 0), 4, 1e-5, act);
}

static aleat_value groupnorm(const tiny *t)
{
    return norm_of(t, ALEAT_ACT_SILU);
}

static aleat_value bare_groupnorm(const tiny *t)
{
    return aleat_op_groupnorm(t->graph, t->x, ALEAT_NO_PARAM, ALEAT_NO_PARAM, 1, 1e-5,
                              ALEAT_ACT_NONE);
}

static aleat_value modulated_groupnorm(const tiny *t)
{
    return aleat_op_scale_shift(t->graph, norm_of(t, ALEAT_ACT_NONE), t->pair, ALEAT_ACT_SILU);
}

static aleat_value layernorm(const tiny *t)
{
    return aleat_op_layernorm(t->graph, t->x, param(t, "norm.weight", 1, 8, 0, 0, 0),
                              param(t, "norm.bias", 1, 8, 0, 0, 0), 1e-5);
}

// More channels than a vector has lanes, and not a multiple.
static aleat_value wide_layernorm(const tiny *t)
{
    const aleat_value x = aleat_op_concat(t->graph, projection(t, t->x), conv(t));
    return aleat_op_layernorm(t->graph, x, ALEAT_NO_PARAM, ALEAT_NO_PARAM, 1e-5);
}

static aleat_value whole(const tiny *t)
{
    return aleat_op_conv2d(t->graph, t->x, param(t, "whole.k", 4, 8, 8, 6, 8), ALEAT_NO_PARAM,
                           (aleat_conv_spec){6, 8, 1, 0, 0, 0, 0});
}

static aleat_value rmsnorm(const tiny *t)
{
    const aleat_value x = aleat_op_concat(t->graph, projection(t, t->x), t->x);
    const aleat_value y = aleat_op_rmsnorm(t->graph, x, ALEAT_NO_PARAM, 1e-5);
    return aleat_op_concat(
        t->graph, y,
        aleat_op_rmsnorm(t->graph, t->x, param(t, "norm.weight", 1, 8, 0, 0, 0), 1e-3));
}

static aleat_value products(const tiny *t)
{
    const aleat_value a = aleat_op_multiply(t->graph, t->x, square(t, t->x));
    const aleat_value b = aleat_op_multiply(t->graph, t->other, t->x);
    return aleat_op_add(t->graph, a, aleat_op_multiply(t->graph, b, t->vector));
}

static aleat_value product_with_a_vector(const tiny *t)
{
    return aleat_op_multiply(t->graph, t->x, whole(t));
}

static aleat_value additions(const tiny *t)
{
    const aleat_value a = aleat_op_add(t->graph, t->x, t->other);
    const aleat_value b = aleat_op_add(t->graph, t->other, square(t, t->x));
    const aleat_value table = aleat_graph_constant(t->graph, param(t, "table.k", 2, 48, 8, 0, 0));
    return aleat_op_add(t->graph, aleat_op_add(t->graph, a, b),
                        aleat_op_add(t->graph, aleat_op_add(t->graph, t->x, t->vector), table));
}

static aleat_value addition_of_a_vector(const tiny *t)
{
    return aleat_op_add(t->graph, aleat_op_add(t->graph, t->other, whole(t)), t->x);
}

static aleat_value lone_addition_of_a_vector(const tiny *t)
{
    return aleat_op_add(t->graph, t->other, whole(t));
}

static aleat_value affine(const tiny *t)
{
    return aleat_op_affine(t->graph, aleat_op_affine(t->graph, t->x, -2, 0.5), 0.25, 3);
}

static aleat_value divide(const tiny *t)
{
    return aleat_op_divide(t->graph, t->x, t->divisor);
}

static aleat_value scale_shift(const tiny *t)
{
    return aleat_op_scale_shift(t->graph, t->x, t->pair, ALEAT_ACT_GELU);
}

static aleat_value concat(const tiny *t)
{
    const aleat_value a = aleat_op_concat(t->graph, t->x, t->other);
    const aleat_value b = aleat_op_concat(t->graph, t->other, square(t, t->x));
    return aleat_op_concat(t->graph, a, b);
}

static aleat_value tokens(const tiny *t)
{
    const aleat_value token =
        aleat_graph_constant(t->graph, param(t, "class.token", 2, 1, 8, 0, 0));
    const aleat_value all = aleat_op_concat_tokens(t->graph, token, square(t, t->x));
    const aleat_value twice = aleat_op_concat_tokens(t->graph, all, t->x);
    return aleat_op_slice_tokens(t->graph, twice, 3, 9, 5);
}

static aleat_value slice(const tiny *t)
{
    return aleat_op_slice(t->graph, square(t, t->x), 3, 4);
}

// The gradient is a slice too.
static aleat_value lone_concat(const tiny *t)
{
    return aleat_op_concat(t->graph, t->other, t->x);
}

static aleat_value resampled(const tiny *t)
{
    const aleat_value odd = aleat_op_upsample_to(t->graph, t->x, 7, 11);
    const aleat_value half = aleat_op_avgpool2(t->graph, odd);
    return aleat_op_upsample2(t->graph, half);
}

// Windows that overlap, reach over the border by different widths, or skip pixels.
static aleat_value pooled(const tiny *t)
{
    const aleat_value a = aleat_op_avgpool(t->graph, t->x, (aleat_conv_spec){3, 2, 2, 2, 1, 1, 0});
    const aleat_value b =
        aleat_op_avgpool(t->graph, square(t, t->x), (aleat_conv_spec){1, 1, 2, 0, 0, 0, 0});
    return aleat_op_add(t->graph, aleat_op_mean(t->graph, a), aleat_op_mean(t->graph, b));
}

static aleat_value windows(const tiny *t)
{
    return aleat_op_avgpool(t->graph, square(t, t->x), (aleat_conv_spec){3, 3, 1, 1, 1, 1, 1});
}

static aleat_value padded(const tiny *t)
{
    return aleat_op_pad_channels(t->graph, square(t, t->x), 3, C + 7);
}

static aleat_value unpatchify(const tiny *t)
{
    return aleat_op_unpatchify(t->graph, square(t, t->x), 2);
}

static aleat_value enlarged_conv(const tiny *t)
{
    tiny large = *t;
    large.x = aleat_op_upsample2(t->graph, t->x);
    return aleat_op_activation(t->graph, conv(&large), ALEAT_ACT_SILU);
}

static aleat_value attention(const tiny *t)
{
    const aleat_value qkv = aleat_op_affine(t->graph, projection(t, t->x), 1.5, 0);
    const aleat_value q = aleat_op_slice(t->graph, qkv, 0, 8);
    const aleat_value k = aleat_op_slice(t->graph, qkv, 8, 8);
    const aleat_value v = aleat_op_slice(t->graph, qkv, 16, 8);
    return aleat_op_attention(t->graph, q, k, v, 2, 0);
}

static aleat_value attention_of_parts(const tiny *t)
{
    return aleat_op_attention(t->graph, t->other, square(t, t->x), t->x, 1, 1.5);
}

// A mask, and a bias that no derivative sees; H W tokens.
static aleat_value masked_attention(const tiny *t)
{
    int32_t order[2 * H * W - 1];
    for (int i = 0; i < 2 * H * W - 1; i++)
        order[i] = i % 8;
    const aleat_param table = aleat_graph_param_transpose(
        t->graph, aleat_graph_param_rows(t->graph, param(t, "square.k", 2, 8, 8, 0, 0), order,
                                         2 * H * W - 1));
    const aleat_attention_mask causal = {.causal = true, .bias = ALEAT_NO_PARAM};
    const aleat_attention_mask biased = {.causal = true, .bias = table};
    const aleat_value k = square(t, t->x);
    return aleat_op_concat(t->graph,
                           aleat_op_attention_masked(t->graph, t->x, k, t->x, 2, 1.5, causal),
                           aleat_op_attention_masked(t->graph, t->x, k, t->x, 8, 1, biased));
}

static aleat_value attention_of_values(const tiny *t)
{
    return aleat_op_attention(t->graph, t->other, t->other, t->x, 2, 0);
}

// Keys and values from elsewhere, fewer of them than queries.
static aleat_value cross_attention(const tiny *t)
{
    const aleat_value text = aleat_op_slice_tokens(t->graph, t->other, 0, 13, 1);
    return aleat_op_attention(t->graph, t->x, text, text, 2, 2);
}

// Keys and values that depend on x as the queries do, but are fewer.
static aleat_value attention_of_fewer_keys(const tiny *t)
{
    const aleat_value few = aleat_op_slice_tokens(t->graph, square(t, t->x), 0, 13, 1);
    return aleat_op_attention(t->graph, t->x, few, few, 2, 2);
}

// Two streams of tokens that attend to each other, projected by themselves.
static aleat_value joint_attention(const tiny *t)
{
    const aleat_value text = aleat_op_slice_tokens(t->graph, t->other, 0, 13, 1);
    const aleat_value qkv =
        aleat_op_concat_tokens(t->graph, projection(t, t->x), projection(t, text));
    return aleat_op_attention(t->graph, aleat_op_slice(t->graph, qkv, 0, 8),
                              aleat_op_slice(t->graph, qkv, 8, 8),
                              aleat_op_slice(t->graph, qkv, 16, 8), 2, 2);
}

// Away from 0, where the function of few channels is too sharp for differences.
static aleat_value headnorm(const tiny *t)
{
    const aleat_value away = aleat_op_affine(t->graph, t->x, 1, 1.5);
    const aleat_value qkv = aleat_op_affine(t->graph, projection(t, away), 1, 0.5);
    return aleat_op_concat(t->graph,
                           aleat_op_rmsnorm_heads(t->graph, aleat_op_slice(t->graph, qkv, 8, 16),
                                                  param(t, "norm.weight", 1, 8, 0, 0, 0), 2, 1e-6),
                           aleat_op_rmsnorm_heads(t->graph, away, ALEAT_NO_PARAM, 4, 1e-6));
}

static aleat_value rope(const tiny *t)
{
    const aleat_rope_spec spec = {.first = 3, .h = 5, .w = 9, .axes = {0, 2, 2}, .theta = 100};
    return aleat_op_rope(t->graph, square(t, t->x), aleat_op_rope_angles(t->graph, spec));
}

static aleat_value dropout(const tiny *t)
{
    return square(t, aleat_op_dropout(t->graph, t->x, 0.5));
}

typedef struct rule {
    const char *name;
    aleat_value (*build)(const tiny *t);
    bool forward_only; // reverse mode refuses it
} rule;

static const rule rules[] = {
    {"convolution", conv, false},
    {"strided convolution", strided_conv, false},
    {"convolution of stride 3", conv_of_stride_three, false},
    {"convolution that skips pixels", sparse_conv, false},
    {"convolution of an enlarged image", enlarged_conv, false},
    {"linear", linear, false},
    {"activations", activations, false},
    {"relu", relu, false},
    {"group norm", groupnorm, false},
    {"bare group norm", bare_groupnorm, false},
    {"modulated group norm", modulated_groupnorm, false},
    {"layer norm", layernorm, false},
    {"wide layer norm", wide_layernorm, false},
    {"rms norm", rmsnorm, false},
    {"products", products, false},
    {"product with a vector", product_with_a_vector, false},
    {"additions", additions, false},
    {"addition of a vector", addition_of_a_vector, true},
    {"lone addition of a vector", lone_addition_of_a_vector, true},
    {"affine", affine, false},
    {"divide", divide, false},
    {"scale-shift", scale_shift, false},
    {"concat", concat, false},
    {"tokens", tokens, false},
    {"slice", slice, false},
    {"lone concat", lone_concat, false},
    {"resampling", resampled, false},
    {"pools", pooled, false},
    {"overlapping windows", windows, false},
    {"padded channels", padded, false},
    {"unpatchify", unpatchify, false},
    {"attention", attention, false},
    {"attention of parts", attention_of_parts, false},
    {"masked attention", masked_attention, false},
    {"attention of values", attention_of_values, false},
    {"cross attention", cross_attention, false},
    {"attention of fewer keys", attention_of_fewer_keys, false},
    {"joint attention", joint_attention, false},
    {"RMS norm of heads", headnorm, false},
    {"rotary embedding", rope, false},
    {"dropout", dropout, false},
};

static tiny tiny_graph(void)
{
    tiny t = {0};
    aleat_error err = {0};
    const char *path = scratch("tiny.safetensors");
    json_t *list = json_loads(tensors, 0, NULL);
    write_checkpoint(path, list, true);
    json_decref(list);
    assert_int_equal(aleat_weights_open(&t.weights, path, &err), ALEAT_OK);
    t.graph = aleat_graph_new(t.weights);
    t.x = aleat_graph_input(t.graph, "x", (aleat_dims){H, W, C});
    t.other = aleat_graph_input(t.graph, "other", (aleat_dims){H, W, C});
    t.vector = aleat_graph_input(t.graph, "vector", (aleat_dims){1, 1, C});
    t.pair = aleat_graph_input(t.graph, "pair", (aleat_dims){1, 1, 2 * C});
    t.divisor = aleat_graph_input(t.graph, "divisor", (aleat_dims){1, 1, 1});
    return t;
}

// Feeds what stands still, as far as the graph uses it.
static void feed_constants(const tiny *t, const aleat_plan *plan)
{
    const aleat_value inputs[] = {t->other, t->vector, t->pair, t->divisor};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        const aleat_dims d = aleat_graph_dims(t->graph, inputs[i]);
        const int64_t n = IMAGES * d.h * d.w * d.c;
        float *values = numbers(n, 100 + i);
        float *at = aleat_plan_data(plan, inputs[i]);
        for (int64_t j = 0; at && j < n; j++)
            at[j] = inputs[i] == t->divisor ? values[j] + 2 : values[j];
        aleat_free(values);
    }
}

static aleat_plan *plan_of(aleat_engine *engine, const aleat_value *wanted, int n, aleat_value late)
{
    aleat_plan *plan;
    aleat_error err = {0};
    if (aleat_plan_new(&plan, engine, IMAGES, wanted, n, late, &err))
        fail_msg("%s", err.message);
    return plan;
}

// (8 (y(+h) - y(-h)) - (y(+2h) - y(-2h))) / 12 h, y evaluated by the plan.
static void differences(const tiny *t, aleat_plan *plan, aleat_value y, const float *x,
                        const float *u, int64_t n_x, double *slope, int64_t n_y)
{
    static const double step = 0.02;
    static const double steps[4][2] = {{1, 8}, {-1, -8}, {2, -1}, {-2, 1}};
    memset(slope, 0, (size_t)n_y * sizeof *slope);
    for (int s = 0; s < 4; s++) {
        float *at = aleat_plan_data(plan, t->x);
        for (int64_t i = 0; i < n_x; i++)
            at[i] = (float)((double)x[i] + steps[s][0] * step * (double)u[i]);
        aleat_plan_run(plan, 0);
        for (int64_t i = 0; i < n_y; i++)
            slope[i] += steps[s][1] / (12 * step) * (double)aleat_plan_data(plan, y)[i];
    }
}

static double distance(const float *a, const double *b, int64_t n)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return sqrt(difference / norm);
}

// Runs the tangent plan of y at x along u; the result stays in the plan.
static aleat_plan *push(const tiny *t, aleat_engine *engine, aleat_value y, const float *x,
                        const float *u, aleat_value *tangent_out)
{
    const size_t bytes = IMAGES * H * W * C * sizeof *x;
    const aleat_value tangent = aleat_graph_input(t->graph, "tangent", (aleat_dims){H, W, C});
    *tangent_out = aleat_graph_jvp(t->graph, y, t->x, tangent);
    aleat_plan *plan = plan_of(engine, tangent_out, 1, ALEAT_NO_VALUE);
    feed_constants(t, plan);
    if (aleat_plan_data(plan, t->x)) // a linear network does not need it
        memcpy(aleat_plan_data(plan, t->x), x, bytes);
    memcpy(aleat_plan_data(plan, tangent), u, bytes);
    aleat_plan_run(plan, 0);
    return plan;
}

// <J^T w, u>.
static double pulled(const tiny *t, aleat_engine *engine, aleat_value y, const float *x,
                     const float *u, const float *w, int64_t n_y)
{
    const size_t bytes = IMAGES * H * W * C * sizeof *x;
    const aleat_value cotangent =
        aleat_graph_input(t->graph, "cotangent", aleat_graph_dims(t->graph, y));
    const aleat_value wanted[] = {y, aleat_graph_vjp(t->graph, y, cotangent, t->x)};
    aleat_plan *plan = plan_of(engine, wanted, 2, cotangent);
    feed_constants(t, plan);
    memcpy(aleat_plan_data(plan, t->x), x, bytes);
    memcpy(aleat_plan_data(plan, cotangent), w, (size_t)n_y * sizeof *w);
    aleat_plan_run(plan, 0);
    aleat_plan_run(plan, 1);
    const double result = dot(aleat_plan_data(plan, wanted[1]), u, IMAGES * H * W * C);
    aleat_plan_free(plan);
    return result;
}

static void check_rule(const rule *r, aleat_isa isa)
{
    const int64_t n_x = IMAGES * H * W * C;
    const aleat_engine_options options = {.threads = 2, .isa_given = true, .isa = isa};
    aleat_error err = {0};
    aleat_engine *engine;
    aleat_value ty;
    tiny t = tiny_graph();
    const aleat_value y = r->build(&t);
    if (aleat_graph_check(t.graph, &err) || aleat_engine_new(&engine, t.graph, &options, &err))
        fail_msg("%s: %s", r->name, err.message);
    const aleat_dims d = aleat_graph_dims(t.graph, y);
    const int64_t n_y = IMAGES * d.h * d.w * d.c;
    float *x = numbers(n_x, 1), *u = numbers(n_x, 2), *w = numbers(n_y, 3);
    double *slope = aleat_alloc((size_t)n_y * sizeof *slope);
    aleat_plan *plan = plan_of(engine, &y, 1, ALEAT_NO_VALUE);
    feed_constants(&t, plan);
    differences(&t, plan, y, x, u, n_x, slope, n_y);
    aleat_plan_free(plan);
    plan = push(&t, engine, y, x, u, &ty);
    const float *tangent = aleat_plan_data(plan, ty);
    // f32 values differ by 2^-23 a part, times 1.5 / step: 1e-5; the formula's own error h^4 y^(5)
    // / 30 is below 1e-4 for the sharpest of these functions. A wrong term shows as 1e-2 or more.
    const double off = distance(tangent, slope, n_y);
    if (!(off < 2e-4))
        fail_msg("%s (isa %d): %.1e from differences", r->name, (int)isa, off);
    if (!r->forward_only) {
        const double a = dot(w, tangent, n_y), b = pulled(&t, engine, y, x, u, w, n_y);
        const double scale = sqrt(dot(w, w, n_y) * dot(tangent, tangent, n_y));
        if (!(fabs(a - b) < 2e-6 * scale)) // each is off by some 1e-6 at most
            fail_msg("%s (isa %d): <w, Ju> %.8g, <J'w, u> %.8g", r->name, (int)isa, a, b);
    }
    aleat_plan_free(plan);
    aleat_engine_free(engine);
    aleat_free(x);
    aleat_free(u);
    aleat_free(w);
    aleat_free(slope);
    aleat_graph_free(t.graph);
    aleat_weights_free(t.weights);
}

static void every_rule_agrees_with_differences_and_with_reverse_mode(void **state)
{
    (void)state;
    for (int isa = 0; isa <= (int)aleat_cpu_isa(); isa++)
        for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
            check_rule(&rules[i], (aleat_isa)isa);
}

/* ---- what has no derivative ------------------------------------------------------------------ */

static void assert_refused(const tiny *t, aleat_value y, aleat_status status, const char *word)
{
    aleat_error err = {0};
    const aleat_value tangent = aleat_graph_input(t->graph, "tangent", (aleat_dims){H, W, C});
    assert_int_equal(aleat_graph_jvp(t->graph, y, t->x, tangent), ALEAT_NO_VALUE);
    assert_int_equal(aleat_graph_check(t->graph, &err), status);
    assert_non_null(strstr(err.message, word));
    aleat_graph_free(t->graph);
    aleat_weights_free(t->weights);
}

static void what_forward_mode_cannot_do_is_said(void **state)
{
    (void)state;
    tiny t = tiny_graph();
    assert_refused(&t, square(&t, t.other), ALEAT_ERR_ARGUMENT, "does not depend on x");
    t = tiny_graph();
    const aleat_value pair = aleat_op_slice(t.graph, projection(&t, whole(&t)), 0, 16);
    assert_refused(&t, aleat_op_scale_shift(t.graph, t.other, pair, ALEAT_ACT_NONE),
                   ALEAT_ERR_UNSUPPORTED, "scale-shift");
}

/* ---- networks -------------------------------------------------------------------------------- */

static void push_forward(const aleat_denoiser *d, const aleat_batch *batch, const float *u,
                         float *out, float *tangent)
{
    aleat_error err = {0};
    if (d->ops->jvp(d->self, batch, u, out, tangent, &err))
        fail_msg("%s", err.message);
}

static void networks_agree_with_their_reference(void **state)
{
    (void)state;
    for (int i = 0; i < UNET_CASES; i++) {
        if (!case_exists(unet_cases[i], "x.npy"))
            continue;
        unet_case c = open_case(unet_cases[i]);
        const aleat_engine_options options = {.threads = 2};
        aleat_denoiser d = denoiser_of(&c, &options, 0, 0);
        const aleat_batch batch = batch_of(&c);
        float *out = aleat_alloc((size_t)c.out * sizeof *out);
        float *tangent = aleat_alloc((size_t)c.out * sizeof *tangent);
        float *predicted = aleat_alloc((size_t)c.out * sizeof *predicted);
        push_forward(&d, &batch, aleat_tensor_f32(&c.u), out, tangent);
        const double off = aleat_relative_l2(tangent, aleat_tensor_f32(&c.jvp), c.out);
        // The reference's own error in f32 is up to 9e-6 (case b, in the largest element).
        if (!(off < 1e-5))
            fail_msg("%s: %.2e", unet_cases[i], off);
        aleat_error err = {0};
        assert_int_equal(aleat_denoiser_predict(&d, &batch, predicted, &err), ALEAT_OK);
        // A plan without tangents melts other steps, so the last bits differ: by less than the
        // error of either (some 2e-6 in case b, below 1e-6 in the others).
        const double apart = aleat_relative_l2(out, predicted, c.out);
        if (!(apart < 5e-6))
            fail_msg("%s: out of jvp and predict %.2e apart", unet_cases[i], apart);
        push_forward(&d, &batch, aleat_tensor_f32(&c.u), NULL, predicted);
        assert_memory_equal(predicted, tangent, (size_t)c.out * sizeof *tangent);
        aleat_free(out);
        aleat_free(tangent);
        aleat_free(predicted);
        aleat_denoiser_destroy(&d);
        close_case(&c);
    }
}

static void forward_mode_is_the_adjoint_of_reverse_mode(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        unet_case c = open_case(unet_cases[i]);
        const aleat_engine_options options = {.threads = 2};
        aleat_denoiser d = denoiser_of(&c, &options, 0, 0);
        const aleat_batch batch = batch_of(&c);
        float *u = numbers(c.in, 7), *w = numbers(c.out, 8);
        float *ju = aleat_alloc((size_t)c.out * sizeof *ju);
        float *jw = aleat_alloc((size_t)c.in * sizeof *jw);
        float *out = aleat_alloc((size_t)c.out * sizeof *out);
        aleat_error err = {0};
        assert_int_equal(d.ops->forward_keep(d.self, &batch, out, &err), ALEAT_OK);
        push_forward(&d, &batch, u, out, ju); // must not disturb what is kept
        assert_int_equal(d.ops->backward(d.self, w, jw, &err), ALEAT_OK);
        const double scale = sqrt(dot(w, w, c.out) * dot(ju, ju, c.out));
        // Both are good to some 1e-6 (the test above).
        assert_true(fabs(dot(w, ju, c.out) - dot(jw, u, c.in)) < 1e-5 * scale);
        aleat_free(u);
        aleat_free(w);
        aleat_free(ju);
        aleat_free(jw);
        aleat_free(out);
        aleat_denoiser_destroy(&d);
        close_case(&c);
    }
}

static void tangents_do_not_depend_on_batch_nor_threads(void **state)
{
    (void)state;
    enum { N = 8 }; // two threads take slices of it
    unet_case c = open_case("data/ddpm-unet-d");
    const aleat_engine_options one = {.threads = 1}, two = {.threads = 2};
    aleat_denoiser single = denoiser_of(&c, &one, 1, 0), all = denoiser_of(&c, &two, 0, 0);
    const int64_t in = c.in / c.batch.n, out = c.out / c.batch.n;
    const float t[N] = {10, 500, 900, 1, 200, 999, 40, 700};
    float *x = numbers(N * in, 4), *u = numbers(N * in, 5);
    float *a = aleat_alloc((size_t)(N * out) * sizeof *a);
    float *b = aleat_alloc((size_t)(N * out) * sizeof *b);
    const aleat_batch batch = {
        .n = N, .height = c.batch.height, .width = c.batch.width, .x = x, .t = t};
    push_forward(&single, &batch, u, NULL, a);
    push_forward(&all, &batch, u, NULL, b);
    assert_memory_equal(a, b, (size_t)(N * out) * sizeof *a);
    aleat_denoiser_destroy(&single);
    aleat_denoiser_destroy(&all);
    aleat_free(x);
    aleat_free(u);
    aleat_free(a);
    aleat_free(b);
    close_case(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_agrees_with_differences_and_with_reverse_mode),
        cmocka_unit_test(what_forward_mode_cannot_do_is_said),
        cmocka_unit_test(networks_agree_with_their_reference),
        cmocka_unit_test(forward_mode_is_the_adjoint_of_reverse_mode),
        cmocka_unit_test(tangents_do_not_depend_on_batch_nor_threads),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
