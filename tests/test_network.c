/*
 * Whole networks as denoisers: outputs, gradients and tangents against the references in double,
 * the same bits whatever the batch and the threads, no allocation once planned, errors.
 */
#include "checkpoint.h"
#include "case.h"

#include "base/alloc.h"
#include "denoiser/network.h"
#include "io/json.h"
#include "models/model.h"

// The project's bounds on relative L2 errors: of outputs, and of gradients and tangents.
static const double bounds[][2] = {
    [ALEAT_PRECISION_F32] = {1e-5, 1e-5}, [ALEAT_PRECISION_BF16] = {2e-2, 3e-2}};

/* ---- a case: a model with its arrays --------------------------------------------------------- */

typedef struct network_case {
    aleat_model_files model;
    aleat_tensor x, t, labels;
    int32_t label[16];
} network_case;

static bool open_case(network_case *c, const char *folder, const char *model)
{
    aleat_error err = {0};
    memset(c, 0, sizeof *c);
    if (!case_exists(folder, "x.npy"))
        return false;
    c->x = load(folder, "x.npy");
    c->t = load(folder, "t.npy");
    const aleat_model_options options = {.height = c->x.shape.dim[2], .width = c->x.shape.dim[3]};
    assert_ok(aleat_model_files_open(&c->model, model, &options, &err), &err);
    if (c->model.network.label != ALEAT_NO_VALUE) {
        c->labels = load(folder, "class_labels.npy");
        for (int64_t i = 0; i < aleat_tensor_count(&c->labels); i++)
            c->label[i] = (int32_t)aleat_tensor_f32(&c->labels)[i];
    }
    return true;
}

static void close_case(network_case *c)
{
    aleat_model_files_close(&c->model);
    aleat_tensor_clear(&c->x);
    aleat_tensor_clear(&c->t);
    aleat_tensor_clear(&c->labels);
}

static aleat_status make_denoiser(aleat_denoiser *d, const network_case *c,
                                  aleat_engine_options engine, aleat_error *err)
{
    const aleat_network_spec spec = {.graph = c->model.graph,
                                     .x = c->model.network.x,
                                     .t = c->model.network.t,
                                     .label = c->model.network.label,
                                     .out = c->model.network.out,
                                     .info = c->model.info,
                                     .engine = engine};
    return aleat_network_denoiser(d, &spec, err);
}

// False where the processor has no bf16.
static bool new_denoiser(aleat_denoiser *d, const network_case *c, aleat_precision precision,
                         int threads)
{
    aleat_error err = {0};
    const aleat_status st = make_denoiser(
        d, c, (aleat_engine_options){.threads = threads, .precision = precision}, &err);
    if (st == ALEAT_ERR_UNSUPPORTED && precision == ALEAT_PRECISION_BF16) {
        print_message("skipped: %s\n", err.message);
        return false;
    }
    assert_ok(st, &err);
    return true;
}

static aleat_batch batch_of(const network_case *c)
{
    return (aleat_batch){.n = c->x.shape.dim[0],
                         .height = c->model.info.height,
                         .width = c->model.info.width,
                         .x = aleat_tensor_f32(&c->x),
                         .t = aleat_tensor_f32(&c->t),
                         .condition = {c->labels.data ? c->label : NULL}};
}

static int64_t out_size(const network_case *c)
{
    return c->model.info.out_channels * c->model.info.height * c->model.info.width;
}

/* ---- against the references ------------------------------------------------------------------ */

static double error_of(const char *folder, const char *name, const float *got)
{
    aleat_tensor want = load(folder, name);
    const double error = aleat_relative_l2(got, aleat_tensor_f32(&want), aleat_tensor_count(&want));
    aleat_tensor_clear(&want);
    return error;
}

static void compare(const char *folder, const char *name, const float *got, double bound)
{
    const double error = error_of(folder, name, got);
    print_message("%s/%s: %.2g\n", folder, name, error);
    assert_true(error <= bound);
}

static void compare_derivatives(const network_case *c, const char *folder, const aleat_denoiser *d,
                                const aleat_batch *in, double bound)
{
    aleat_error err = {0};
    aleat_tensor v = load(folder, "v.npy");
    float *out = aleat_alloc((size_t)(in->n * out_size(c)) * sizeof *out);
    float *grad = aleat_alloc((size_t)aleat_tensor_count(&c->x) * sizeof *grad);
    assert_true(out && grad);
    assert_ok(d->ops->forward_keep(d->self, in, out, &err), &err);
    assert_ok(d->ops->backward(d->self, aleat_tensor_f32(&v), grad, &err), &err);
    compare(folder, "grad_x_f64.npy", grad, bound);
    if (aleat_is_file(case_path(folder, "jvp_f64.npy"))) {
        aleat_tensor u = load(folder, "u.npy");
        assert_ok(d->ops->jvp(d->self, in, aleat_tensor_f32(&u), NULL, out, &err), &err);
        compare(folder, "jvp_f64.npy", out, bound);
        aleat_tensor_clear(&u);
    }
    aleat_free(out);
    aleat_free(grad);
    aleat_tensor_clear(&v);
}

static void check_case(const char *folder, const char *model)
{
    network_case c;
    if (!open_case(&c, folder, model))
        return;
    for (aleat_precision p = ALEAT_PRECISION_F32; p <= ALEAT_PRECISION_BF16; p++) {
        aleat_error err = {0};
        aleat_denoiser d;
        const aleat_batch in = batch_of(&c);
        if (!new_denoiser(&d, &c, p, 2))
            continue;
        float *out = aleat_alloc((size_t)(in.n * out_size(&c)) * sizeof *out);
        assert_ok(aleat_denoiser_predict(&d, &in, out, &err), &err);
        compare(folder, "eps_f64.npy", out, bounds[p][0]);
        compare_derivatives(&c, folder, &d, &in, bounds[p][1]);
        aleat_free(out);
        aleat_denoiser_destroy(&d);
    }
    close_case(&c);
}

static void networks_and_their_derivatives_are_the_references(void **state)
{
    (void)state;
    static const char *const folders[] = {"data/ddpm-unet-c", "data/ddpm-unet-d", "ddpm-unet-a",
                                          "ddpm-unet-b", "ddpm-unet-m"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        check_case(folders[i], case_path(folders[i], "model"));
}

// google/ddpm-cifar10-32 in full size, weights by formula; its folder, or NULL.
static const char *full_size_model(void)
{
    aleat_error err = {0};
    aleat_json shapes = {0};
    if (!case_exists("synth", "shapes-ddpm-cifar10-32.json") ||
        !case_exists("synth-ddpm-cifar10-32", "x.npy"))
        return NULL;
    assert_ok(aleat_json_load(&shapes, case_path("synth", "shapes-ddpm-cifar10-32.json"), &err),
              &err);
    assert_ok(
        aleat_json_write(scratch("config.json"), json_object_get(shapes.root, "config"), &err),
        &err);
    write_checkpoint(scratch("diffusion_pytorch_model.safetensors"),
                     json_object_get(shapes.root, "tensors"), true);
    aleat_json_clear(&shapes);
    return fixture_folder;
}

static void the_full_size_network_is_the_reference(void **state)
{
    (void)state;
    const char *model = full_size_model();
    if (model)
        check_case("synth-ddpm-cifar10-32", model);
}

/* ---- batches and threads --------------------------------------------------------------------- */

enum { MOST = 16 };

// MOST images from a case's few: moved a little, at other times, with all labels in turn.
static aleat_batch many_of(const network_case *c, float *x, float *t, int32_t *labels)
{
    const aleat_batch in = batch_of(c);
    const int64_t size = aleat_tensor_count(&c->x) / in.n;
    for (int64_t i = 0; i < MOST * size; i++)
        x[i] = in.x[i % (in.n * size)] + 0.01f * (float)(i / size);
    for (int i = 0; i < MOST; i++) {
        t[i] = (float)(61 * i % 1000);
        labels[i] = c->model.info.n_classes ? i % (int)c->model.info.n_classes : 0;
    }
    aleat_batch many = in;
    many.n = MOST;
    many.x = x;
    many.t = t;
    many.condition.labels = in.condition.labels ? labels : NULL;
    return many;
}

// Images [first, first+n) of a batch.
static aleat_batch part_of(const network_case *c, const aleat_batch *in, int64_t first, int64_t n)
{
    aleat_batch part = *in;
    part.n = n;
    part.x += first * (aleat_tensor_count(&c->x) / c->x.shape.dim[0]);
    part.t += first;
    part.condition.labels += in->condition.labels ? first : 0;
    return part;
}

static void check_bits(network_case *c, aleat_precision precision)
{
    const int64_t size = aleat_tensor_count(&c->x) / c->x.shape.dim[0], n_out = out_size(c);
    float *x = aleat_alloc((size_t)(MOST * size) * sizeof *x), t[MOST];
    int32_t labels[MOST];
    const aleat_batch in = many_of(c, x, t, labels);
    float *want = aleat_alloc((size_t)(MOST * n_out) * sizeof *want);
    float *got = aleat_alloc((size_t)(MOST * n_out) * sizeof *got);
    static const int64_t parts[] = {16, 1, 3, 5};
    for (int run = 0; run < 8; run++) {
        aleat_error err = {0};
        aleat_denoiser d;
        if (!new_denoiser(&d, c, precision, 1 + run / 4))
            break;
        float *out = run ? got : want;
        for (int64_t i = 0; i < MOST; i += parts[run % 4]) {
            const int64_t left = MOST - i, n = left < parts[run % 4] ? left : parts[run % 4];
            const aleat_batch part = part_of(c, &in, i, n);
            assert_ok(aleat_denoiser_predict(&d, &part, out + i * n_out, &err), &err);
        }
        assert_memory_equal(out, want, (size_t)(MOST * n_out) * sizeof *out);
        aleat_denoiser_destroy(&d);
    }
    aleat_free(x);
    aleat_free(want);
    aleat_free(got);
}

static void an_image_has_the_same_bits_in_any_batch_on_any_threads(void **state)
{
    (void)state;
    static const char *const folders[] = {"data/ddpm-unet-c", "data/ddpm-unet-d", "ddpm-unet-a",
                                          "ddpm-unet-b", "ddpm-unet-m"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        for (aleat_precision p = ALEAT_PRECISION_F32; p <= ALEAT_PRECISION_BF16; p++) {
            network_case c;
            if (!open_case(&c, folders[i], case_path(folders[i], "model")))
                continue;
            check_bits(&c, p);
            close_case(&c);
        }
}

static void the_full_size_network_has_the_same_bits_in_any_batch(void **state)
{
    (void)state;
    network_case c;
    const char *model = full_size_model();
    if (!model || !open_case(&c, "synth-ddpm-cifar10-32", model))
        return;
    check_bits(&c, ALEAT_PRECISION_F32);
    check_bits(&c, ALEAT_PRECISION_BF16);
    close_case(&c);
}

/* ---- the steady state, and errors ------------------------------------------------------------ */

static void nothing_is_allocated_once_a_batch_size_has_been_seen(void **state)
{
    (void)state;
    network_case c;
    aleat_error err = {0};
    aleat_denoiser d;
    assert_true(open_case(&c, "data/ddpm-unet-d", case_path("data/ddpm-unet-d", "model")));
    const aleat_batch in = batch_of(&c);
    float *out = aleat_alloc((size_t)(in.n * out_size(&c)) * sizeof *out);
    float *grad = aleat_alloc((size_t)aleat_tensor_count(&c.x) * sizeof *grad);
    assert_true(new_denoiser(&d, &c, ALEAT_PRECISION_F32, 2));
    uint64_t count = 0;
    for (int run = 0; run < 4; run++) {
        assert_ok(aleat_denoiser_predict(&d, &in, out, &err), &err);
        assert_ok(d.ops->forward_keep(d.self, &in, out, &err), &err);
        assert_ok(d.ops->backward(d.self, out, grad, &err), &err);
        assert_ok(d.ops->jvp(d.self, &in, grad, NULL, out, &err), &err);
        if (run)
            assert_int_equal(aleat_alloc_count(), count);
        count = aleat_alloc_count();
    }
    aleat_denoiser_destroy(&d);
    aleat_free(out);
    aleat_free(grad);
    close_case(&c);
}

// What is told without reading a weight is what one image then takes.
static void sizes_are_known_before_the_first_evaluation(void **state)
{
    (void)state;
    network_case c;
    aleat_error err = {0};
    aleat_denoiser d;
    assert_true(open_case(&c, "data/ddpm-unet-d", case_path("data/ddpm-unet-d", "model")));
    aleat_batch in = batch_of(&c);
    in.n = 1;
    float *out = aleat_alloc((size_t)out_size(&c) * sizeof *out);
    for (int bf16 = 0; bf16 < 2; bf16++) {
        if (!new_denoiser(&d, &c, bf16 ? ALEAT_PRECISION_BF16 : ALEAT_PRECISION_F32, 2))
            continue;
        assert_true(aleat_network_denoiser_stats(&d).flop == 0);
        assert_ok(aleat_network_denoiser_measure(&d, &err), &err);
        const aleat_network_stats told = aleat_network_denoiser_stats(&d);
        assert_ok(aleat_denoiser_predict(&d, &in, out, &err), &err);
        const aleat_network_stats found = aleat_network_denoiser_stats(&d);
        assert_true(told.flop > 0 && told.flop == found.flop);
        assert_true(told.weight_bytes > 0 && told.weight_bytes == found.weight_bytes);
        assert_true(told.plan_bytes > 0 && told.plan_bytes == found.plan_bytes);
        aleat_denoiser_destroy(&d);
    }
    // a gradient has plans of its own: what they take is told, measured or not
    assert_true(new_denoiser(&d, &c, ALEAT_PRECISION_F32, 2));
    assert_ok(d.ops->forward_keep(d.self, &in, out, &err), &err);
    assert_true(aleat_network_denoiser_stats(&d).plan_bytes > 0);
    aleat_denoiser_destroy(&d);
    aleat_free(out);
    close_case(&c);
}

// Times choose rows of a table, or their logarithm is taken: none beside them.
static void times_that_a_network_does_not_know_are_told(void **state)
{
    (void)state;
    network_case c;
    aleat_error err = {0};
    assert_true(open_case(&c, "data/ddpm-unet-d", case_path("data/ddpm-unet-d", "model")));
    const aleat_batch in = batch_of(&c);
    float *t = aleat_tensor_f32(&c.t), *out = aleat_alloc((size_t)(in.n * out_size(&c)) * 4);
    for (int table = 0; table < 2; table++) {
        static const float wrong[2][4] = {{0, -1, NAN, -INFINITY}, {100, -1, NAN, INFINITY}};
        aleat_denoiser d;
        c.model.info.n_times = table ? 100 : 0;
        c.model.info.log_time = !table;
        assert_true(new_denoiser(&d, &c, ALEAT_PRECISION_F32, 1));
        for (int64_t i = 0; i < in.n; i++)
            t[i] = 99;
        assert_ok(aleat_denoiser_predict(&d, &in, out, &err), &err);
        for (int i = 0; i < 4; i++) {
            t[in.n - 1] = wrong[table][i];
            assert_failed(aleat_denoiser_predict(&d, &in, out, &err), ALEAT_ERR_ARGUMENT, &err,
                          table ? "outside 0..99" : "above 0");
            assert_failed(d.ops->forward_keep(d.self, &in, out, &err), ALEAT_ERR_ARGUMENT, &err,
                          "time ");
        }
        aleat_denoiser_destroy(&d);
    }
    aleat_free(out);
    close_case(&c);
}

static void wrong_sizes_and_labels_are_told(void **state)
{
    (void)state;
    network_case c;
    aleat_error err = {0};
    aleat_denoiser d;
    float out[1];
    assert_true(open_case(&c, "data/ddpm-unet-d", case_path("data/ddpm-unet-d", "model")));
    assert_true(new_denoiser(&d, &c, ALEAT_PRECISION_F32, 1));
    aleat_batch in = batch_of(&c);
    in.width++;
    assert_failed(aleat_denoiser_predict(&d, &in, out, &err), ALEAT_ERR_SHAPE, &err,
                  "the network was built for");
    in.width--;
    assert_failed(d.ops->backward(d.self, out, out, &err), ALEAT_ERR_ARGUMENT, &err,
                  "without a forward_keep()");
    aleat_denoiser_destroy(&d);
    close_case(&c);
    if (!open_case(&c, "ddpm-unet-b", case_path("ddpm-unet-b", "model")))
        return;
    assert_true(new_denoiser(&d, &c, ALEAT_PRECISION_F32, 1));
    in = batch_of(&c);
    for (int32_t wrong = -1; wrong <= c.model.info.n_classes; wrong += 1 + c.model.info.n_classes) {
        c.label[0] = wrong;
        assert_failed(aleat_denoiser_predict(&d, &in, out, &err), ALEAT_ERR_ARGUMENT, &err,
                      "is outside 0..");
    }
    in.condition.labels = NULL;
    assert_failed(aleat_denoiser_predict(&d, &in, out, &err), ALEAT_ERR_ARGUMENT, &err,
                  "needs a class label");
    aleat_denoiser_destroy(&d);
    close_case(&c);
}

static void bf16_without_its_instructions_is_refused_with_a_hint(void **state)
{
    (void)state;
    network_case c;
    aleat_error err = {0};
    aleat_denoiser d;
    assert_true(open_case(&c, "data/ddpm-unet-d", case_path("data/ddpm-unet-d", "model")));
    const aleat_engine_options plain = {
        .precision = ALEAT_PRECISION_BF16, .isa_given = true, .isa = ALEAT_ISA_C};
    assert_failed(make_denoiser(&d, &c, plain, &err), ALEAT_ERR_UNSUPPORTED, &err, "bf16");
    assert_non_null(strstr(err.hint, "--precision f32"));
    aleat_denoiser_destroy(&d); // of what failed: nothing
    close_case(&c);
}

static void a_failing_allocation_anywhere_leaves_a_network_that_works(void **state)
{
    (void)state;
    network_case c;
    aleat_error err = {0};
    assert_true(open_case(&c, "data/ddpm-unet-d", case_path("data/ddpm-unet-d", "model")));
    const aleat_batch in = batch_of(&c);
    float *out = aleat_alloc((size_t)(in.n * out_size(&c)) * sizeof *out);
    const uint64_t bytes = aleat_alloc_bytes();
    for (uint64_t n = 1, failed = 1; failed; n++) {
        aleat_denoiser d;
        const uint64_t before = aleat_alloc_count();
        aleat_alloc_fail_at(n);
        aleat_status st = make_denoiser(&d, &c, (aleat_engine_options){.threads = 1}, &err);
        const bool made = !st;
        if (made)
            st = aleat_denoiser_predict(&d, &in, out, &err);
        failed = aleat_alloc_count() - before >= n;
        aleat_alloc_fail_at(0);
        assert_int_equal(st, failed ? ALEAT_ERR_MEMORY : ALEAT_OK);
        if (made) {
            assert_ok(aleat_denoiser_predict(&d, &in, out, &err), &err);
            assert_true(error_of("data/ddpm-unet-d", "eps_f64.npy", out) <= bounds[0][0]);
        }
        aleat_denoiser_destroy(&d);
        assert_int_equal(aleat_alloc_bytes(), bytes);
    }
    aleat_free(out);
    close_case(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_and_their_derivatives_are_the_references),
        cmocka_unit_test(the_full_size_network_is_the_reference),
        cmocka_unit_test(an_image_has_the_same_bits_in_any_batch_on_any_threads),
        cmocka_unit_test(the_full_size_network_has_the_same_bits_in_any_batch),
        cmocka_unit_test(nothing_is_allocated_once_a_batch_size_has_been_seen),
        cmocka_unit_test(sizes_are_known_before_the_first_evaluation),
        cmocka_unit_test(times_that_a_network_does_not_know_are_told),
        cmocka_unit_test(wrong_sizes_and_labels_are_told),
        cmocka_unit_test(bf16_without_its_instructions_is_refused_with_a_hint),
        cmocka_unit_test(a_failing_allocation_anywhere_leaves_a_network_that_works),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
