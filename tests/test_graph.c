/* Graphs, plans and the executor: shape rules, fusion, views, lifetimes, failing allocations. */
#include "checkpoint.h"
#include "interpreter.h"
#include "numbers.h"

#include "base/error.h"
#include "graph/node.h"
#include "graph/plan.h"

/* ---- a checkpoint with a weight for every need ----------------------------------------------- */

static const int64_t widths[] = {4, 16, 20};
enum { N_WIDTHS = sizeof widths / sizeof *widths };

static aleat_weights *weights;

static void add_tensor(json_t *list, const char *shape, const char *fmt, ...)
{
    char name[64];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    json_array_append_new(list, json_pack("[s, o]", name, json_loads(shape, 0, NULL)));
}

static int make_weights(void **state)
{
    (void)state;
    aleat_error err = {0};
    json_t *list = json_array();
    char shape[64];
    if (make_scratch(state))
        return -1;
    for (int i = 0; i < N_WIDTHS; i++) {
        for (int o = 0; o < N_WIDTHS; o++)
            for (int k = 1; k <= 3; k++) {
                (void)snprintf(shape, sizeof shape, "[%d,%d,%d,%d]", (int)widths[o], (int)widths[i],
                               k, k);
                add_tensor(list, shape, "conv.%d.%d.%d", (int)widths[o], (int)widths[i], k);
            }
        (void)snprintf(shape, sizeof shape, "[%d]", (int)widths[i]);
        add_tensor(list, shape, "bias.%d", (int)widths[i]);
        add_tensor(list, shape, "gain.%d.weight", (int)widths[i]);
        (void)snprintf(shape, sizeof shape, "[8,8,%d]", (int)widths[i]);
        add_tensor(list, shape, "table.%d", (int)widths[i]);
        (void)snprintf(shape, sizeof shape, "[%d,%d]", (int)(2 * widths[i]), (int)widths[i]);
        add_tensor(list, shape, "modulation.%d", (int)widths[i]);
    }
    add_tensor(list, "[112,16,3,3]", "conv.112.16.3"); // more channels than a panel has
    write_checkpoint(scratch("weights.safetensors"), list, true);
    json_decref(list);
    return aleat_weights_open(&weights, scratch("weights.safetensors"), &err) ? -1 : 0;
}

static int remove_weights(void **state)
{
    aleat_weights_free(weights);
    return remove_scratch(state);
}

static aleat_param conv_weight(aleat_graph *g, int64_t c_out, int64_t c_in, int64_t k)
{
    char name[64];
    (void)snprintf(name, sizeof name, "conv.%d.%d.%d", (int)c_out, (int)c_in, (int)k);
    const aleat_shape shape = aleat_shape_of(4, c_out, c_in, k, k);
    return aleat_graph_param(g, name, &shape);
}

static aleat_param vector(aleat_graph *g, const char *kind, int64_t c)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%s.%d%s", kind, (int)c, *kind == 'g' ? ".weight" : "");
    const aleat_shape shape = aleat_shape_of(1, c);
    return aleat_graph_param(g, name, &shape);
}

static aleat_value table(aleat_graph *g, int64_t c)
{
    char name[64];
    (void)snprintf(name, sizeof name, "table.%d", (int)c);
    const aleat_shape shape = aleat_shape_of(3, (int64_t)8, (int64_t)8, c);
    return aleat_graph_constant(g, aleat_graph_param(g, name, &shape));
}

// [32, 16]
static aleat_param table_2d(aleat_graph *g)
{
    const aleat_shape shape = aleat_shape_of(2, (int64_t)32, (int64_t)16);
    return aleat_graph_param(g, "modulation.16", &shape);
}

// For heads of 4 channels: two tokens of text, then a row of an image.
static aleat_value angles(aleat_graph *g, int64_t tokens)
{
    return aleat_op_rope_angles(
        g, (aleat_rope_spec){.first = 2, .h = 1, .w = tokens - 2, .axes = {0, 2, 2}, .theta = 100});
}

static aleat_value conv(aleat_graph *g, aleat_value x, int64_t c_out, int64_t k)
{
    return aleat_op_conv2d(g, x, conv_weight(g, c_out, aleat_graph_dims(g, x).c, k),
                           vector(g, "bias", c_out), aleat_conv_same(k));
}

/* ---- running --------------------------------------------------------------------------------- */

enum { MOST_WANTED = 4, MOST_INPUTS = 8 };

// What to compute how; inputs get seeded numbers in [0.5, 1.5).
typedef struct trial {
    aleat_graph *graph;
    aleat_value inputs[MOST_INPUTS];
    int n_inputs;
    aleat_value wanted[MOST_WANTED];
    int n_wanted;
    aleat_value late;
    int64_t images;
    aleat_engine_options options;
} trial;

static int64_t count_of(const trial *t, aleat_value v)
{
    const aleat_dims d = aleat_graph_dims(t->graph, v);
    return t->images * d.h * d.w * d.c;
}

static float input_number(aleat_value v, int64_t i)
{
    uint64_t seed = (uint64_t)(v * 1000003 + i);
    return 1 + uniform(&seed) / 2;
}

static void feed(const trial *t, aleat_plan *plan, bool late)
{
    for (int i = 0; i < t->n_inputs; i++) {
        const aleat_value v = t->inputs[i];
        float *data = aleat_plan_data(plan, v);
        for (int64_t j = 0; data && j < count_of(t, v); j++) // an input that nothing needs has none
            if (v != t->late)
                data[j] = input_number(v, j);
            else
                data[j] = late ? input_number(v, j) : NAN; // half 0 must not see it
    }
}

static void run_plan(const trial *t, aleat_plan *plan)
{
    feed(t, plan, false);
    aleat_plan_run(plan, 0);
    if (t->late != ALEAT_NO_VALUE) {
        feed(t, plan, true);
        aleat_plan_run(plan, 1);
    }
}

/*
 * Compares with the interpreter. A value may be 30 operations deep, each of which may be wrong by
 * some 1e-6 and enlarge the error several times; a planner's mistake is of the size of the values.
 */
static void compare(const trial *t, const char *what)
{
    aleat_error err = {0};
    aleat_engine *engine;
    aleat_plan *plan;
    assert_ok(aleat_graph_check(t->graph, &err), &err);
    assert_ok(aleat_engine_new(&engine, t->graph, &t->options, &err), &err);
    assert_ok(aleat_plan_new(&plan, engine, t->images, t->wanted, t->n_wanted, t->late, &err),
              &err);
    interpreter *in = interpreter_new(t->graph, t->images);
    for (int i = 0; i < t->n_inputs; i++)
        for (int64_t j = 0; j < count_of(t, t->inputs[i]); j++)
            interpreter_value(in, t->inputs[i])[j] = (double)input_number(t->inputs[i], j);
    interpreter_run(in);
    for (int again = 0; again < 2; again++) { // nothing of a first run may show in a second
        run_plan(t, plan);
        for (int i = 0; i < t->n_wanted; i++) {
            const float *got = aleat_plan_data(plan, t->wanted[i]);
            const double *want = interpreter_value(in, t->wanted[i]);
            double largest = 0;
            assert_non_null(got);
            for (int64_t j = 0; j < count_of(t, t->wanted[i]); j++)
                largest = fmax(largest, fabs(want[j]));
            for (int64_t j = 0; j < count_of(t, t->wanted[i]); j++)
                assert_near(got[j], want[j], 1e-3 * (largest + 1e-3), "%s: value %d", what,
                            t->wanted[i]);
        }
    }
    interpreter_free(in);
    aleat_plan_free(plan);
    aleat_engine_free(engine);
}

// One wanted value of a graph with one input.
static void compare_one(aleat_graph *g, aleat_value x, aleat_value y, const char *what)
{
    trial t = {.graph = g,
               .inputs = {x},
               .n_inputs = 1,
               .wanted = {y},
               .n_wanted = 1,
               .late = ALEAT_NO_VALUE,
               .images = 3,
               .options = {.threads = 2}};
    compare(&t, what);
    aleat_graph_free(g);
}

static aleat_graph *new_graph(aleat_value *x)
{
    aleat_graph *g = aleat_graph_new(weights);
    assert_non_null(g);
    *x = aleat_graph_input(g, "x", (aleat_dims){8, 8, 16});
    return g;
}

/* ---- shape rules ----------------------------------------------------------------------------- */

typedef aleat_value build_fn(aleat_graph *g, aleat_value x);

static aleat_value wrong_weight(aleat_graph *g, aleat_value x)
{
    return aleat_op_linear(g, x, conv_weight(g, 4, 20, 1), ALEAT_NO_PARAM);
}
static aleat_value wrong_bias(aleat_graph *g, aleat_value x)
{
    return aleat_op_linear(g, x, conv_weight(g, 4, 16, 1), vector(g, "bias", 20));
}
static aleat_value too_small(aleat_graph *g, aleat_value x)
{
    return aleat_op_conv2d(g, aleat_op_slice_tokens(g, x, 0, 2, 2), conv_weight(g, 4, 16, 3),
                           ALEAT_NO_PARAM, (aleat_conv_spec){3, 3, 1, 0, 0, 0, 0});
}
static aleat_value wrong_groups(aleat_graph *g, aleat_value x)
{
    return aleat_op_groupnorm(g, x, ALEAT_NO_PARAM, ALEAT_NO_PARAM, 5, 1e-5, ALEAT_ACT_NONE);
}
static aleat_value wrong_gamma(aleat_graph *g, aleat_value x)
{
    return aleat_op_layernorm(g, x, vector(g, "gain", 4), ALEAT_NO_PARAM, 1e-5);
}
static aleat_value wrong_add(aleat_graph *g, aleat_value x)
{
    return aleat_op_add(g, x, aleat_op_slice(g, x, 0, 4));
}
static aleat_value wrong_modulation(aleat_graph *g, aleat_value x)
{
    return aleat_op_scale_shift(g, x, x, ALEAT_ACT_NONE);
}
static aleat_value wrong_concat(aleat_graph *g, aleat_value x)
{
    return aleat_op_concat(g, x, aleat_op_avgpool2(g, x));
}
static aleat_value wrong_tokens(aleat_graph *g, aleat_value x)
{
    return aleat_op_concat_tokens(g, x, aleat_op_slice(g, x, 0, 4));
}
static aleat_value wrong_slice(aleat_graph *g, aleat_value x)
{
    return aleat_op_slice(g, x, 10, 7);
}
static aleat_value wrong_token_slice(aleat_graph *g, aleat_value x)
{
    return aleat_op_slice_tokens(g, x, 60, 5, 1);
}
static aleat_value wrong_pool(aleat_graph *g, aleat_value x)
{
    return aleat_op_avgpool2(g, aleat_op_slice_tokens(g, x, 0, 1, 8));
}
static aleat_value window_of_padding(aleat_graph *g, aleat_value x)
{
    return aleat_op_maxpool(g, x, (aleat_conv_spec){2, 3, 1, 0, 3, 0, 0});
}
static aleat_value pooled_constant(aleat_graph *g, aleat_value x)
{
    (void)x;
    return aleat_op_mean(g, table(g, 16));
}
static aleat_value wrong_padding(aleat_graph *g, aleat_value x)
{
    return aleat_op_pad_channels(g, x, 2, 17);
}
static aleat_value wrong_norm(aleat_graph *g, aleat_value x)
{
    const aleat_param c = vector(g, "bias", 20);
    const aleat_batchnorm norm = {c, c, c, c, 0.001};
    return aleat_op_linear(g, x, aleat_graph_param_fold_weight(g, conv_weight(g, 4, 16, 1), &norm),
                           ALEAT_NO_PARAM);
}
static aleat_value wrong_patch(aleat_graph *g, aleat_value x)
{
    return aleat_op_unpatchify(g, x, 3);
}
static aleat_value wrong_heads(aleat_graph *g, aleat_value x)
{
    return aleat_op_attention(g, x, x, x, 3, 0);
}
static aleat_value wrong_divisor(aleat_graph *g, aleat_value x)
{
    return aleat_op_divide(g, x, x);
}
static aleat_value wrong_heads_of_norm(aleat_graph *g, aleat_value x)
{
    return aleat_op_rmsnorm_heads(g, x, vector(g, "gain", 4), 2, 1e-6);
}
static aleat_value odd_axis(aleat_graph *g, aleat_value x)
{
    (void)x;
    return aleat_op_rope_angles(g, (aleat_rope_spec){.axes = {1, 2, 1}, .theta = 100});
}
static aleat_value wrong_angles(aleat_graph *g, aleat_value x)
{
    return aleat_op_rope(g, x, angles(g, 63));
}
static aleat_value wrong_sinusoid(aleat_graph *g, aleat_value x)
{
    return aleat_op_sinusoid(g, x, (aleat_sinusoid_spec){.dim = 1, .max_period = 10000});
}
static aleat_value wrong_product(aleat_graph *g, aleat_value x)
{
    return aleat_op_multiply(g, x, aleat_op_avgpool2(g, x));
}
static aleat_value wrong_causality(aleat_graph *g, aleat_value x)
{
    const aleat_value k = aleat_op_slice_tokens(g, x, 0, 1, 7);
    return aleat_op_attention_masked(g, x, k, k, 1, 0,
                                     (aleat_attention_mask){true, ALEAT_NO_PARAM});
}
static aleat_value wrong_bias_of_attention(aleat_graph *g, aleat_value x)
{
    return aleat_op_attention_masked(g, x, x, x, 1, 0,
                                     (aleat_attention_mask){false, vector(g, "bias", 16)});
}
static aleat_value embedding_of_vectors(aleat_graph *g, aleat_value x)
{
    return aleat_op_embedding(g, x, table_2d(g));
}
static aleat_value missing_tensor(aleat_graph *g, aleat_value x)
{
    return aleat_op_linear(g, x, conv_weight(g, 5, 16, 1), ALEAT_NO_PARAM);
}
static aleat_value normalised_constant(aleat_graph *g, aleat_value x)
{
    (void)x;
    return aleat_op_layernorm(g, table(g, 16), ALEAT_NO_PARAM, ALEAT_NO_PARAM, 1e-5);
}
static aleat_value convolved_constant(aleat_graph *g, aleat_value x)
{
    (void)x;
    return conv(g, table(g, 16), 4, 1);
}

static void what_does_not_fit_is_an_error_that_stays(void **state)
{
    (void)state;
    static const struct {
        build_fn *build;
        const char *text;
        aleat_status status;
    } rules[] = {
        {wrong_weight, "convolution: a weight of 4 x 20 does not take 16", ALEAT_ERR_SHAPE},
        {wrong_bias, "convolution", ALEAT_ERR_SHAPE},
        {too_small, "needs a larger image", ALEAT_ERR_SHAPE},
        {wrong_groups, "group norm: 16 channels do not divide into 5", ALEAT_ERR_SHAPE},
        {wrong_gamma, "layer norm: gamma or beta is not a vector of 16", ALEAT_ERR_SHAPE},
        {wrong_add, "add: 8x8x16 does not fit 8x8x4", ALEAT_ERR_SHAPE},
        {wrong_modulation, "scale-shift: 8x8x16", ALEAT_ERR_SHAPE},
        {wrong_concat, "concat: 8x8x16 does not fit 4x4x16", ALEAT_ERR_SHAPE},
        {wrong_tokens, "concat tokens", ALEAT_ERR_SHAPE},
        {wrong_slice, "slice: channels 10..17 of 16", ALEAT_ERR_SHAPE},
        {wrong_token_slice, "slice: tokens 60..65 of 64", ALEAT_ERR_SHAPE},
        {wrong_pool, "average pool", ALEAT_ERR_SHAPE},
        {window_of_padding, "max pool: padding as large as the 2x3 window", ALEAT_ERR_SHAPE},
        {pooled_constant, "average pool: of a constant", ALEAT_ERR_UNSUPPORTED},
        {wrong_padding, "pad channels: 16 channels from 2 on do not fit 17", ALEAT_ERR_SHAPE},
        {wrong_norm, "a batch norm does not fit", ALEAT_ERR_SHAPE},
        {wrong_patch, "unpatchify: 16 channels with patch 3", ALEAT_ERR_SHAPE},
        {wrong_heads, "attention", ALEAT_ERR_SHAPE},
        {wrong_divisor, "divide: by more than one number", ALEAT_ERR_SHAPE},
        {wrong_heads_of_norm, "layer norm: gamma or beta is not a vector of 8", ALEAT_ERR_SHAPE},
        {odd_axis, "rotary angles: axes of 1, 2 and 1", ALEAT_ERR_SHAPE},
        {wrong_angles, "rotary embedding: 8x8x16 does not fit 63x1x4", ALEAT_ERR_SHAPE},
        {wrong_sinusoid, "sinusoid: 1 channels", ALEAT_ERR_SHAPE},
        {wrong_product, "multiply: 8x8x16 does not fit 4x4x16", ALEAT_ERR_SHAPE},
        {wrong_causality, "attention: causal between 64 and 7 tokens", ALEAT_ERR_SHAPE},
        {wrong_bias_of_attention, "attention: a bias of 16 numbers for 1 heads and 127 distances",
         ALEAT_ERR_SHAPE},
        {embedding_of_vectors, "embedding: of vectors of 16", ALEAT_ERR_SHAPE},
        {missing_tensor, "tensor 'conv.5.16.1' of shape [5,16,1,1] is missing", ALEAT_ERR_FORMAT},
        {normalised_constant, "layer norm: of a constant", ALEAT_ERR_UNSUPPORTED},
        {convolved_constant, "convolution: of a constant", ALEAT_ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        aleat_error err = {0};
        aleat_value x;
        aleat_graph *g = new_graph(&x);
        assert_int_equal(rules[i].build(g, x), ALEAT_NO_VALUE);
        assert_int_equal(aleat_op_activation(g, x, ALEAT_ACT_SILU), ALEAT_NO_VALUE);
        assert_int_equal(wrong_slice(g, x), ALEAT_NO_VALUE); // the first error stays
        assert_failed(aleat_graph_check(g, &err), rules[i].status, &err, rules[i].text);
        aleat_graph_free(g);
    }
}

/* T5's: a bias by head and distance, from rows of a table, taken in any order. */
static void attention_takes_a_bias_by_distance(void **state)
{
    (void)state;
    aleat_value x;
    aleat_graph *g = new_graph(&x);
    int32_t order[2 * 64 - 1];
    for (int i = 0; i < 2 * 64 - 1; i++)
        order[i] = i * i % 32;
    const aleat_param rows = aleat_graph_param_rows(g, table_2d(g), order, 2 * 64 - 1);
    const aleat_attention_mask mask = {.bias = aleat_graph_param_transpose(g, rows)};
    const aleat_value y = aleat_op_attention_masked(g, x, x, x, 16, 1, mask);
    compare_one(g, x, y, "attention with a bias");
}

/* The mask cuts what a query may not see, wherever the blocks of queries begin. */
static void causal_attention_sees_no_later_token(void **state)
{
    (void)state;
    aleat_value x;
    aleat_graph *g = new_graph(&x);
    const aleat_attention_mask mask = {.causal = true, .bias = ALEAT_NO_PARAM};
    compare_one(g, x, aleat_op_attention_masked(g, x, x, x, 2, 0, mask), "causal attention");
}

static void an_embedding_reads_the_rows_of_a_table(void **state)
{
    (void)state;
    aleat_value x;
    aleat_graph *g = new_graph(&x);
    aleat_value label = aleat_op_slice(g, x, 3, 1); // in [0.5, 1.5), so rows 15 .. 30
    label = aleat_op_affine(g, label, 16, 6.75);
    compare_one(g, x, aleat_op_embedding(g, label, table_2d(g)), "embedding");
}

static void a_plan_of_a_broken_graph_reports_its_error(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_value x;
    aleat_graph *g = new_graph(&x);
    const aleat_value y = wrong_slice(g, x);
    const aleat_engine_options options = {.threads = 1};
    aleat_engine *engine;
    aleat_plan *plan;
    assert_ok(aleat_engine_new(&engine, g, &options, &err), &err);
    assert_failed(aleat_plan_new(&plan, engine, 1, &y, 1, ALEAT_NO_VALUE, &err), ALEAT_ERR_SHAPE,
                  &err, "slice: channels");
    assert_null(plan);
    aleat_engine_free(engine);
    aleat_graph_free(g);
}

/* ---- fusion and views ------------------------------------------------------------------------ */

static void a_convolution_takes_sums_a_factor_and_a_function_into_its_epilogue(void **state)
{
    (void)state;
    aleat_value x;
    aleat_graph *g = new_graph(&x);
    const aleat_value pooled = aleat_op_slice_tokens(g, x, 3, 1, 1);
    aleat_value y = aleat_op_add(g, conv(g, x, 16, 3), conv(g, pooled, 16, 1)); // vector
    y = aleat_op_add(g, x, y);                                                  // residual
    y = aleat_op_activation(g, aleat_op_affine(g, y, 0.5, 0), ALEAT_ACT_SILU);
    compare_one(g, x, y, "epilogue");
}

static void two_convolutions_may_meet_in_one_addition(void **state)
{
    (void)state;
    aleat_value x;
    aleat_graph *g = new_graph(&x);
    const aleat_value a = conv(g, x, 20, 3), b = conv(g, x, 20, 1);
    compare_one(g, x, aleat_op_activation(g, aleat_op_add(g, a, b), ALEAT_ACT_SILU), "two");
}

static void an_addition_of_a_value_to_itself_is_not_taken(void **state)
{
    (void)state;
    aleat_value x;
    aleat_graph *g = new_graph(&x);
    const aleat_value y = conv(g, x, 16, 3);
    compare_one(g, x, aleat_op_add(g, y, y), "double");
}

static void an_enlargement_melts_into_the_convolution_behind_it(void **state)
{
    (void)state;
    for (int64_t k = 1; k <= 3; k += 2) {
        aleat_value x;
        aleat_graph *g = new_graph(&x);
        compare_one(g, x, conv(g, aleat_op_upsample2(g, x), 20, k), "upsample");
        g = new_graph(&x);
        compare_one(g, x, conv(g, aleat_op_upsample_to(g, x, 13, 9), 20, k), "upsample to");
    }
}

static void a_norm_takes_the_modulation_behind_it(void **state)
{
    (void)state;
    aleat_value x;
    aleat_graph *g = new_graph(&x);
    const aleat_shape shape = aleat_shape_of(2, (int64_t)32, (int64_t)16);
    const aleat_value ss =
        aleat_op_linear(g, aleat_op_slice_tokens(g, x, 5, 1, 1),
                        aleat_graph_param(g, "modulation.16", &shape), ALEAT_NO_PARAM);
    const aleat_value y = aleat_op_groupnorm(g, x, vector(g, "gain", 16), vector(g, "bias", 16), 4,
                                             1e-5, ALEAT_ACT_NONE);
    compare_one(g, x, aleat_op_scale_shift(g, y, ss, ALEAT_ACT_SILU), "modulated norm");
}

static void slices_are_views_also_of_views_and_of_constants(void **state)
{
    (void)state;
    aleat_value x;
    aleat_graph *g = new_graph(&x);
    aleat_value y = conv(g, x, 20, 1);
    const aleat_value left = aleat_op_slice(g, aleat_op_slice(g, y, 2, 18), 1, 4);
    const aleat_value right = aleat_op_dropout(g, aleat_op_slice(g, y, 16, 4), 0.1);
    y = aleat_op_attention(g, left, right, aleat_op_slice(g, y, 0, 4), 2, 0);
    y = aleat_op_add(g, conv(g, right, 4, 3), y);
    compare_one(g, x, aleat_op_add(g, y, aleat_op_slice(g, table(g, 16), 7, 4)), "views");
}

static void a_wanted_view_is_dense(void **state)
{
    (void)state;
    aleat_value x;
    aleat_graph *g = new_graph(&x);
    compare_one(g, x, aleat_op_slice(g, conv(g, x, 16, 1), 5, 4), "slice");
    g = new_graph(&x);
    compare_one(g, x, aleat_op_slice(g, x, 5, 4), "slice of an input");
}

static void constants_are_repeated_over_the_batch(void **state)
{
    (void)state;
    aleat_value x;
    aleat_graph *g = new_graph(&x);
    aleat_value y = aleat_op_add(g, conv(g, x, 16, 1), table(g, 16));
    y = aleat_op_concat(g, y, aleat_op_slice_tokens(g, table(g, 4), 0, 8, 8));
    y = aleat_op_add(g, y, aleat_graph_constant(g, vector(g, "bias", 20)));
    compare_one(g, x, aleat_op_concat_tokens(g, y, table(g, 20)), "constants");
}

/* ---- conditions ------------------------------------------------------------------------------ */

// A network that attends to a text; y also depends on the text alone, by way of a view.
static aleat_value conditioned(aleat_graph *g, aleat_value x, aleat_value text)
{
    const aleat_value kv = aleat_op_activation(g, conv(g, text, 20, 1), ALEAT_ACT_SILU);
    const aleat_value k = aleat_op_slice(g, kv, 0, 4), v = aleat_op_slice(g, kv, 16, 4);
    const aleat_value y = aleat_op_attention(g, conv(g, x, 4, 1), k, v, 2, 0);
    return aleat_op_add(g, y, conv(g, aleat_op_slice_tokens(g, v, 2, 1, 1), 4, 1));
}

enum { TEXT = 7 * 16, IMAGE = 8 * 8 * 16, RESULT = 8 * 8 * 4 };

static void feed_text(aleat_plan *plan, aleat_value text, int64_t place, int64_t which)
{
    for (int64_t j = 0; j < TEXT; j++)
        aleat_plan_data(plan, text)[place * TEXT + j] = input_number(text, which * TEXT + j);
}

static void images_that_share_a_condition_get_what_it_gives(void **state)
{
    (void)state;
    enum { IMAGES = 4 };
    static const int32_t row[IMAGES] = {0, 1, 0, 1};
    aleat_value x;
    aleat_error err = {0};
    aleat_graph *g = new_graph(&x);
    const aleat_value text = aleat_graph_condition(g, "text", (aleat_dims){7, 1, 16});
    const aleat_value y = conditioned(g, x, text);
    const aleat_engine_options options = {.threads = 2};
    aleat_engine *engine;
    aleat_plan *apart, *together, *other;
    assert_ok(aleat_engine_new(&engine, g, &options, &err), &err);
    assert_ok(aleat_plan_new(&apart, engine, IMAGES, &y, 1, ALEAT_NO_VALUE, &err), &err);
    assert_ok(aleat_plan_new(&together, engine, IMAGES, &y, 1, ALEAT_NO_VALUE, &err), &err);
    assert_ok(aleat_plan_new(&other, engine, IMAGES, &y, 1, ALEAT_NO_VALUE, &err), &err);
    aleat_plan_pool pool = {0}; // what depends on the condition must not lie in shared memory
    aleat_plan_share(together, &pool);
    aleat_plan_share(other, &pool);
    for (int turn = 0; turn < 3; turn++) { // texts 0 and 1; the same again; 2 and 3
        const int64_t first = turn == 2 ? 2 : 0;
        for (int64_t j = 0; j < IMAGES * IMAGE; j++)
            aleat_plan_data(apart, x)[j] = input_number(x, turn * 1000 + j);
        memcpy(aleat_plan_data(together, x), aleat_plan_data(apart, x),
               IMAGES * IMAGE * sizeof(float));
        for (int64_t i = 0; i < IMAGES; i++)
            feed_text(apart, text, i, first + row[i]);
        aleat_plan_condition(apart, IMAGES, (const int32_t[]){0, 1, 2, 3});
        for (int64_t i = 0; turn != 1 && i < 2; i++)
            feed_text(together, text, i, first + i);
        if (turn != 1)
            aleat_plan_condition(together, 2, row);
        aleat_plan_run(apart, 0);
        aleat_plan_run(together, 0);
        assert_memory_equal(aleat_plan_data(apart, y), aleat_plan_data(together, y),
                            IMAGES * RESULT * sizeof(float));
        memset(aleat_plan_data(other, x), 0, IMAGES * IMAGE * sizeof(float));
        aleat_plan_run(other, 0);
    }
    aleat_plan_free(apart);
    aleat_plan_free(together);
    aleat_plan_free(other);
    aleat_plan_pool_clear(&pool);
    aleat_engine_free(engine);
    aleat_graph_free(g);
}

/* ---- random graphs --------------------------------------------------------------------------- */

static aleat_value pick(uint64_t *seed, aleat_value last)
{
    // Recent ones mostly, so that chains form; old ones too, so that some live long.
    return below(seed, 3) ? last - (aleat_value)below(seed, last < 3 ? last + 1 : 3)
                          : (aleat_value)below(seed, last + 1);
}

// Adds some operation that fits, or nothing. x is any value, y another one.
static void add_something(aleat_graph *g, uint64_t *seed, aleat_value x, aleat_value y)
{
    const aleat_dims d = aleat_graph_dims(g, x), e = aleat_graph_dims(g, y);
    const int64_t width = widths[below(seed, N_WIDTHS)], tokens = d.h * d.w;
    const bool known = d.c == 4 || d.c == 16 || d.c == 20;
    switch (below(seed, 21)) {
    case 0:
    case 1:
    case 2:
        if (known && tokens >= 9)
            conv(g, x, width, 1 + 2 * below(seed, 2));
        break;
    case 3:
        if (known && d.h > 1 && d.w > 1)
            aleat_op_conv2d(g, x, conv_weight(g, width, d.c, 2), ALEAT_NO_PARAM,
                            (aleat_conv_spec){2, 2, 2, 0, 0, 0, 1});
        break;
    case 4: aleat_op_activation(g, x, (aleat_activation)(1 + below(seed, 6))); break;
    case 5:
        aleat_op_groupnorm(g, x, ALEAT_NO_PARAM, known ? vector(g, "bias", d.c) : ALEAT_NO_PARAM,
                           d.c % 4 ? 1 : 4, 0.1, (aleat_activation)below(seed, 3));
        break;
    case 6:
        if (below(seed, 2))
            aleat_op_layernorm(g, x, ALEAT_NO_PARAM, ALEAT_NO_PARAM, 0.1);
        else
            aleat_op_rmsnorm(g, x, known ? vector(g, "gain", d.c) : ALEAT_NO_PARAM, 0.1);
        break;
    case 7:
    case 8:
        if (d.c != e.c || (tokens != e.h * e.w && e.h * e.w != 1))
            break;
        if (below(seed, 4))
            aleat_op_add(g, x, y);
        else // brought back to size one, so that products of products do not grow
            aleat_op_rmsnorm(g, aleat_op_multiply(g, x, y), ALEAT_NO_PARAM, 0.1);
        break;
    case 9: aleat_op_affine(g, x, 0.5, (double)below(seed, 2)); break;
    case 10:
        if (d.h == e.h && d.w == e.w && d.c + e.c <= 64)
            aleat_op_concat(g, x, y);
        break;
    case 11:
        if (d.c > 4)
            aleat_op_slice(g, x, below(seed, d.c - 3), 4);
        break;
    case 12: aleat_op_slice_tokens(g, x, below(seed, tokens), 1, 1); break;
    case 13:
        if (tokens <= 64)
            aleat_op_upsample2(g, x);
        break;
    case 14:
        if (d.h > 1 && d.w > 1)
            aleat_op_avgpool2(g, x);
        break;
    case 15: aleat_op_pad_channels(g, x, below(seed, 5), d.c + 4); break;
    case 16:
        if (d.h > 1 && d.w > 2) {
            const aleat_conv_spec window = {2, 3, 1 + below(seed, 2), below(seed, 2), 2, 1, 0};
            (below(seed, 2) ? aleat_op_avgpool : aleat_op_maxpool)(g, x, window);
        } else {
            aleat_op_mean(g, x);
        }
        break;
    case 17:
        if (d.c == e.c && d.c % 2 == 0)
            aleat_op_attention_masked(
                g, x, y, y, 2, 0.1,
                (aleat_attention_mask){tokens == e.h * e.w && below(seed, 2), ALEAT_NO_PARAM});
        break;
    case 18:
        if (d.c % 4 == 0)
            aleat_op_rmsnorm_heads(g, x, d.c == 16 ? vector(g, "bias", 4) : ALEAT_NO_PARAM, d.c / 4,
                                   0.1);
        break;
    case 19:
        if (d.c % 4 == 0 && tokens > 2)
            aleat_op_rope(g, x, angles(g, tokens));
        break;
    default:
        if (known && tokens == 64)
            aleat_op_add(g, x, table(g, d.c));
        else
            aleat_op_dropout(g, x, 0.1);
        break;
    }
}

static bool is_constant(const aleat_graph *g, aleat_value v)
{
    return aleat_graph_node(g, v)->shared;
}

static void random_graph(uint64_t seed)
{
    // 8 and 17 on two threads and 9 on one run slice by slice
    static const int64_t images[] = {1, 2, 3, 1, 2, 3, 1, 8, 9, 17};
    char what[32];
    (void)snprintf(what, sizeof what, "seed %d", (int)seed);
    trial t = {.graph = aleat_graph_new(weights),
               .images = images[seed % 10],
               .options = {.threads = 1 + (int)(seed % 2), .isa_given = seed % 4 == 0}};
    aleat_graph *g = t.graph;
    t.inputs[t.n_inputs++] = aleat_graph_input(g, "x", (aleat_dims){8, 8, 16});
    t.inputs[t.n_inputs++] = aleat_graph_input(g, "y", (aleat_dims){8, 8, 16});
    t.inputs[t.n_inputs++] = seed % 2 ? aleat_graph_input(g, "v", (aleat_dims){1, 1, 16})
                                      : aleat_graph_condition(g, "v", (aleat_dims){1, 1, 16});
    aleat_value last = 2;
    for (int i = 0; i < 40; i++) {
        const aleat_value x = pick(&seed, last), y = pick(&seed, last);
        if (is_constant(g, x) || is_constant(g, y))
            continue;
        add_something(g, &seed, x, y);
        while (aleat_graph_dims(g, last + 1).c)
            last++;
    }
    t.late = below(&seed, 2) ? t.inputs[below(&seed, 2)] : ALEAT_NO_VALUE;
    while (t.n_wanted < MOST_WANTED) {
        const aleat_value v = (aleat_value)below(&seed, last + 1);
        const aleat_op op = aleat_graph_node(g, v)->op;
        // no memory of their own, or not an array for each image
        if (op != ALEAT_OP_CONSTANT && op != ALEAT_OP_DROPOUT && op != ALEAT_OP_ROPE_ANGLES)
            t.wanted[t.n_wanted++] = v;
    }
    compare(&t, what);
    aleat_graph_free(g);
}

static void random_graphs_give_what_their_operations_say(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++)
        random_graph(seed);
}

// Memory of a plan for so many images on so many threads.
static size_t plan_bytes(const aleat_graph *g, aleat_value wanted, int64_t images, int threads)
{
    const aleat_engine_options options = {.threads = threads};
    aleat_engine *engine;
    aleat_plan *plan;
    aleat_error err = {0};
    assert_ok(aleat_engine_new(&engine, g, &options, &err), &err);
    assert_ok(aleat_plan_new(&plan, engine, images, &wanted, 1, ALEAT_NO_VALUE, &err), &err);
    const size_t bytes = aleat_plan_bytes(plan);
    aleat_plan_free(plan);
    aleat_engine_free(engine);
    return bytes;
}

// That slices happen at all, which no result shows: what only they hold does not grow with the
// batch.
static void a_large_batch_takes_the_memory_of_its_slices(void **state)
{
    (void)state;
    enum { CHAIN = 8 * 8 * 16 * sizeof(float), IMAGES = 64 };
    aleat_graph *g = aleat_graph_new(weights);
    const aleat_value x = aleat_graph_input(g, "x", (aleat_dims){8, 8, 16});
    aleat_value y = x;
    for (int i = 0; i < 3; i++)
        y = aleat_op_layernorm(g, y, ALEAT_NO_PARAM, ALEAT_NO_PARAM, 0.1);
    // x and y of all images, two more values of 8 images a thread
    for (int threads = 1; threads <= 2; threads++)
        assert_int_equal(plan_bytes(g, y, IMAGES, threads),
                         2 * IMAGES * CHAIN + 2 * 8 * (size_t)threads * CHAIN);
    // a slice has at least 4 images for each thread, and no thread waits for a sixteenth
    assert_int_equal(plan_bytes(g, y, 7, 2), 3 * 7 * CHAIN);
    assert_int_equal(plan_bytes(g, y, 11, 2), 3 * 11 * CHAIN);
    aleat_graph_free(g);
}

// Slices differ by an image, and the smaller one may want more scratch: Winograd's groups of tiles
// are of equal size, one group for 7 images here and two smaller ones for 8, and few tiles are
// shared by all threads with room for all channels, as are those of 5 images and not those of 6.
static void slices_of_two_sizes_have_scratch_for_both(void **state)
{
    (void)state;
    static const struct {
        int64_t images, side, channels;
    } cases[] = {{30, 16, 16}, {22, 8, 112}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_graph *g = aleat_graph_new(weights);
        trial t = {.graph = g, .images = cases[i].images, .options = {.threads = 2}, .n_wanted = 1};
        const aleat_value x =
            aleat_graph_input(g, "x", (aleat_dims){cases[i].side, cases[i].side, 16});
        t.inputs[t.n_inputs++] = x;
        t.late = ALEAT_NO_VALUE;
        t.wanted[0] = aleat_op_conv2d(g, x, conv_weight(g, cases[i].channels, 16, 3),
                                      ALEAT_NO_PARAM, aleat_conv_same(3));
        compare(&t, "slices of two sizes");
        aleat_graph_free(g);
    }
}

/* ---- parameters ------------------------------------------------------------------------------ */

// Folded numbers are rounded once, from double.
static void a_batch_norm_folds_into_the_layer_before_it(void **state)
{
    (void)state;
    aleat_value x;
    aleat_graph *g = new_graph(&x);
    const aleat_shape sixteen = aleat_shape_of(4, (int64_t)4, (int64_t)4, (int64_t)2, (int64_t)2);
    const aleat_param w = aleat_graph_param(g, "conv.4.4.2", &sixteen);
    const aleat_param gain = vector(g, "gain", 4), bias = vector(g, "bias", 4);
    const aleat_batchnorm norm = {
        .gamma = bias, .beta = bias, .mean = gain, .var = gain, .eps = 0.3};
    const aleat_param weight = aleat_graph_param_fold_weight(g, w, &norm);
    const aleat_param shift = aleat_graph_param_fold_bias(g, &norm);
    float raw[64], gains[4], biases[4], folded[64], shifts[4];
    assert_true(aleat_param_load(g, w, raw) && aleat_param_load(g, gain, gains));
    assert_true(aleat_param_load(g, bias, biases) && aleat_param_load(g, weight, folded));
    assert_true(aleat_param_load(g, shift, shifts));
    for (int o = 0; o < 4; o++) {
        const double factor = (double)biases[o] / sqrt((double)gains[o] + 0.3);
        const double want = (double)biases[o] - (double)gains[o] * factor;
        assert_near(shifts[o], want, (double)FLT_EPSILON * fabs(want), "bias %d", o);
        for (int i = o * 16; i < (o + 1) * 16; i++)
            assert_near(folded[i], (double)raw[i] * factor,
                        (double)FLT_EPSILON * fabs((double)raw[i] * factor), "weight %d", i);
    }
    aleat_graph_free(g);
}

static void stacks_and_reordered_and_turned_parameters_reach_the_product(void **state)
{
    (void)state;
    aleat_value x;
    aleat_graph *g = new_graph(&x);
    const aleat_param parts[] = {conv_weight(g, 4, 16, 1), conv_weight(g, 20, 16, 1)};
    const int32_t order[] = {23, 0, 7, 7};
    const aleat_param stack = aleat_graph_param_stack(g, parts, 2);
    aleat_value y =
        aleat_op_linear(g, x, aleat_graph_param_rows(g, stack, order, 4), ALEAT_NO_PARAM);
    const aleat_shape shape = aleat_shape_of(2, (int64_t)8, (int64_t)4);
    const aleat_param turned =
        aleat_graph_param_transpose(g, aleat_graph_param(g, "modulation.4", &shape));
    y = aleat_op_concat(g, y, y);
    compare_one(g, x, aleat_op_linear(g, y, turned, ALEAT_NO_PARAM), "parameters");
}

/* ---- large filters --------------------------------------------------------------------------- */

enum { LARGE = 352, LARGE_SIDE = 8, LARGE_VALUES = LARGE * LARGE_SIDE * LARGE_SIDE };
enum { LARGE_X, LARGE_V }; // values of its graph

// <v, W x> = <W^T v, x>, but for the errors of both, of which the project allows 4e-6 of their
// size.
static void check_adjoint(const float *y)
{
    const float *out = y, *grad = y + LARGE_VALUES;
    double sums[2] = {0}, squares[4] = {0};
    for (int64_t i = 0; i < LARGE_VALUES; i++) {
        const double x = (double)input_number(LARGE_X, i), v = (double)input_number(LARGE_V, i);
        const double values[4] = {x, v, (double)out[i], (double)grad[i]};
        sums[0] += v * values[2];
        sums[1] += x * values[3];
        for (int j = 0; j < 4; j++)
            squares[j] += values[j] * values[j];
    }
    assert_near(sums[0], sums[1],
                4e-6 * (sqrt(squares[1] * squares[2]) + sqrt(squares[0] * squares[3])),
                "adjoint of large filters");
}

// The output and gradient of one large convolution, [2][LARGE_VALUES]; returns the weights' bytes.
static size_t run_large(aleat_dtype dtype, const float *values, aleat_precision precision, float *y)
{
    aleat_error err = {0};
    aleat_weights *w;
    aleat_tensor t;
    const aleat_shape shape =
        aleat_shape_of(4, (int64_t)LARGE, (int64_t)LARGE, (int64_t)3, (int64_t)3);
    assert_ok(aleat_tensor_new(&t, dtype, &shape, &err), &err);
    for (int64_t i = 0; i < aleat_tensor_count(&t); i++)
        if (dtype == ALEAT_F32)
            ((float *)t.data)[i] = values[i];
        else
            ((uint16_t *)t.data)[i] =
                dtype == ALEAT_F16 ? aleat_f32_to_f16(values[i]) : aleat_f32_to_bf16(values[i]);
    assert_ok(aleat_weights_of_arrays(&w, &(aleat_named_array){"w", t}, 1, "test", &err), &err);
    aleat_graph *g = aleat_graph_new(w);
    const aleat_dims dims = {LARGE_SIDE, LARGE_SIDE, LARGE};
    const aleat_value x = aleat_graph_input(g, "x", dims), v = aleat_graph_input(g, "v", dims);
    const aleat_value out = aleat_op_conv2d(g, x, aleat_graph_param(g, "w", &shape), ALEAT_NO_PARAM,
                                            aleat_conv_same(3));
    assert_true(x == LARGE_X && v == LARGE_V);
    trial how = {.graph = g,
                 .inputs = {x, v},
                 .n_inputs = 2,
                 .wanted = {out, aleat_graph_vjp(g, out, v, x)},
                 .n_wanted = 2,
                 .late = v,
                 .images = 1,
                 .options = {.threads = 2, .precision = precision}};
    aleat_engine *engine;
    aleat_plan *plan;
    assert_ok(aleat_engine_new(&engine, g, &how.options, &err), &err);
    assert_ok(aleat_plan_new(&plan, engine, 1, how.wanted, 2, v, &err), &err);
    run_plan(&how, plan);
    for (int i = 0; i < 2; i++)
        memcpy(y + i * LARGE_VALUES, aleat_plan_data(plan, how.wanted[i]),
               LARGE_VALUES * sizeof *y);
    const size_t bytes = aleat_engine_weight_bytes(engine);
    aleat_plan_free(plan);
    aleat_engine_free(engine);
    how.n_wanted = 1; // the interpreter has no adjoints
    how.late = ALEAT_NO_VALUE;
    if (dtype == ALEAT_F32)
        compare(&how, "large filters");
    check_adjoint(y);
    aleat_graph_free(g);
    aleat_weights_free(w);
    aleat_tensor_clear(&t);
    return bytes;
}

// Values that both types of two bytes hold: then neither the file's type nor the precision shows.
static void large_filters_take_no_more_bytes_than_their_file_has(void **state)
{
    (void)state;
    enum { TAPS = LARGE * LARGE * 9 };
    static const aleat_dtype types[] = {ALEAT_F32, ALEAT_F16, ALEAT_BF16};
    float *values = floats(TAPS, 1), *want = floats(2 * (int64_t)LARGE_VALUES, 2);
    float *got = floats(2 * (int64_t)LARGE_VALUES, 3);
    for (int64_t i = 0; i < TAPS; i++)
        values[i] = roundf(values[i] * 64) / 64;
    for (int bf16 = 0; bf16 <= (aleat_cpu_isa() >= ALEAT_ISA_AVX512_BF16); bf16++)
        for (int i = 0; i < 3; i++) {
            const bool first = !bf16 && i == 0;
            const size_t bytes =
                run_large(types[i], values, bf16 ? ALEAT_PRECISION_BF16 : ALEAT_PRECISION_F32,
                          first ? want : got);
            // once as it is and once as the adjoint
            assert_int_equal(bytes, 2 * (size_t)TAPS * (first ? sizeof(float) : sizeof(uint16_t)));
            if (!first)
                assert_memory_equal(got, want, 2 * LARGE_VALUES * sizeof *got);
        }
    aleat_free(values);
    aleat_free(want);
    aleat_free(got);
}

/* ---- failing allocations --------------------------------------------------------------------- */

static aleat_value build_all(aleat_graph *g, aleat_value x)
{
    const aleat_param weight = conv_weight(g, 16, 16, 1);
    const int32_t order[] = {15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
    aleat_value y =
        aleat_op_linear(g, x, aleat_graph_param_rows(g, weight, order, 16), ALEAT_NO_PARAM);
    y = aleat_op_add(g, conv(g, y, 16, 3), table(g, 16));
    y = aleat_op_groupnorm(g, y, vector(g, "gain", 16), vector(g, "bias", 16), 4, 1e-5,
                           ALEAT_ACT_SILU);
    return aleat_op_attention(g, y, y, y, 2, 0);
}

// A graph, an engine and a plan; the results of a run into y if all went well.
static aleat_status make_all(float *y, aleat_error *err)
{
    aleat_engine *engine = NULL;
    aleat_plan *plan = NULL;
    const aleat_engine_options options = {.threads = 1};
    aleat_graph *g = aleat_graph_new(weights);
    const aleat_value x = aleat_graph_input(g, "x", (aleat_dims){8, 8, 16});
    const aleat_value out = build_all(g, x);
    aleat_status st = aleat_graph_check(g, err);
    if (!st)
        st = aleat_engine_new(&engine, g, &options, err);
    if (!st)
        st = aleat_plan_new(&plan, engine, 2, &out, 1, ALEAT_NO_VALUE, err);
    if (!st) {
        for (int64_t i = 0; i < 2 * 8 * 8 * 16; i++)
            aleat_plan_data(plan, x)[i] = input_number(x, i);
        aleat_plan_run(plan, 0);
        memcpy(y, aleat_plan_data(plan, out), 2 * 8 * 8 * 16 * sizeof *y);
    } else
        assert_null(plan);
    aleat_plan_free(plan);
    aleat_engine_free(engine);
    aleat_graph_free(g);
    return st;
}

static void every_failing_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    static float want[2 * 8 * 8 * 16], got[2 * 8 * 8 * 16];
    aleat_error err = {0};
    assert_ok(make_all(want, &err), &err);
    const uint64_t bytes = aleat_alloc_bytes();
    for (uint64_t n = 1;; n++) {
        aleat_alloc_fail_at(n);
        const uint64_t before = aleat_alloc_count();
        const aleat_status st = make_all(got, &err);
        const bool failed = aleat_alloc_count() - before >= n;
        aleat_alloc_fail_at(0);
        assert_int_equal(aleat_alloc_bytes(), bytes);
        if (!failed) { // there were fewer than n
            assert_int_equal(st, ALEAT_OK);
            assert_memory_equal(got, want, sizeof want);
            assert_true(n > 20);
            return;
        }
        assert_failed(st, ALEAT_ERR_MEMORY, &err, "memory");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_fit_is_an_error_that_stays),
        cmocka_unit_test(attention_takes_a_bias_by_distance),
        cmocka_unit_test(causal_attention_sees_no_later_token),
        cmocka_unit_test(an_embedding_reads_the_rows_of_a_table),
        cmocka_unit_test(a_plan_of_a_broken_graph_reports_its_error),
        cmocka_unit_test(a_convolution_takes_sums_a_factor_and_a_function_into_its_epilogue),
        cmocka_unit_test(two_convolutions_may_meet_in_one_addition),
        cmocka_unit_test(an_addition_of_a_value_to_itself_is_not_taken),
        cmocka_unit_test(an_enlargement_melts_into_the_convolution_behind_it),
        cmocka_unit_test(a_norm_takes_the_modulation_behind_it),
        cmocka_unit_test(slices_are_views_also_of_views_and_of_constants),
        cmocka_unit_test(a_wanted_view_is_dense),
        cmocka_unit_test(constants_are_repeated_over_the_batch),
        cmocka_unit_test(images_that_share_a_condition_get_what_it_gives),
        cmocka_unit_test(random_graphs_give_what_their_operations_say),
        cmocka_unit_test(a_large_batch_takes_the_memory_of_its_slices),
        cmocka_unit_test(slices_of_two_sizes_have_scratch_for_both),
        cmocka_unit_test(a_batch_norm_folds_into_the_layer_before_it),
        cmocka_unit_test(stacks_and_reordered_and_turned_parameters_reach_the_product),
        cmocka_unit_test(large_filters_take_no_more_bytes_than_their_file_has),
        cmocka_unit_test(every_failing_allocation_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, make_weights, remove_weights);
}
