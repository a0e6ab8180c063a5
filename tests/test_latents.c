/* The autoencoder, latent runs, class names: from the denoiser's interface to the tool. */
#include "case.h"
#include "checkpoint.h"

#include <float.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aleat/aleat.h"
#include "api/run_latent.h"
#include "api/vae_state.h"
#include "base/arena.h"
#include "io/json.h"
#include "models/class_names.h"
#include "models/resemblance.h"
#include "samplers/prediction.h"

/* ---- the autoencoder ------------------------------------------------------------------------- */

static void fill(float *x, int64_t n, uint64_t seed)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)formula(seed, (uint64_t)i);
}

// A checkpoint filled by formula from the list of tests/data/synthetic.
static const char *synthetic(const char *name)
{
    aleat_error err = {0};
    aleat_json json = {0};
    char list[64], file[64];
    (void)snprintf(list, sizeof list, "%s.json", name);
    (void)snprintf(file, sizeof file, "%s.safetensors", name);
    assert_ok(aleat_json_load(&json, case_path("data/synthetic", list), &err), &err);
    write_checkpoint(scratch(file), json_object_get(json.root, "tensors"), true);
    aleat_json_clear(&json);
    return scratch(file);
}

static aleat_array images(int64_t n, int64_t c, int64_t h, int64_t w, uint64_t seed)
{
    const int64_t dim[4] = {n, c, h, w};
    aleat_array a;
    assert_int_equal(aleat_array_new(&a, 4, dim, NULL), ALEAT_OK);
    fill(a.data, aleat_array_count(&a), seed);
    return a;
}

static void what_is_encoded_has_the_size_and_scale_of_latents(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_vae *vae;
    const aleat_vae_options scaled = {.scaling_factor = 0.5};
    assert_ok(aleat_vae_open(&vae, synthetic("vae"), &scaled, &err), &err);
    aleat_array x = images(2, 3, 8, 12, 5), mean, logvar, noise, z, none;
    assert_ok(aleat_vae_encode(vae, &x, &mean, &logvar, NULL, NULL, &err), &err);
    assert_int_equal(mean.dim[1], 4);
    assert_int_equal(mean.dim[2], 4);
    assert_int_equal(mean.dim[3], 6);
    assert_ok(aleat_vae_noise(&mean, 7, &noise, &err), &err);
    assert_ok(aleat_vae_latents(vae, &mean, &logvar, &noise, &z, &err), &err);
    for (int64_t i = 0; i < aleat_array_count(&z); i++) {
        const double want = 0.5 * ((double)mean.data[i] +
                                   exp(0.5 * (double)logvar.data[i]) * (double)noise.data[i]);
        assert_true(fabs((double)z.data[i] - want) < 4 * FLT_EPSILON * (fabs(want) + 1));
    }
    aleat_array_clear(&x);
    x = images(1, 3, 7, 12, 5);
    assert_failed(aleat_vae_encode(vae, &x, &none, NULL, NULL, NULL, &err), ALEAT_ERR_SHAPE, &err,
                  "multiples of 2");
    aleat_array_clear(&x);
    aleat_array_clear(&mean);
    aleat_array_clear(&logvar);
    aleat_array_clear(&noise);
    aleat_array_clear(&z);
    aleat_vae_close(vae);
}

static void assert_same_bits(const aleat_array *a, const aleat_array *b)
{
    assert_int_equal(aleat_array_count(a), aleat_array_count(b));
    assert_memory_equal(a->data, b->data, (size_t)aleat_array_count(a) * sizeof(float));
}

// What a decoder and an encoder give with so much memory.
typedef struct products {
    aleat_array image, decoder_grad, image_tangent, mean, encoder_grad;
} products;

static products products_with(int64_t memory, int threads)
{
    aleat_error err = {0};
    aleat_vae *vae;
    const aleat_vae_options options = {.memory = memory, .threads = threads};
    assert_ok(aleat_vae_open(&vae, synthetic("vae"), &options, &err), &err);
    aleat_array z = images(2, 4, 20, 28, 1), v = images(2, 4, 20, 28, 2);
    aleat_array c = images(2, 3, 40, 56, 3);
    products p = {.image_tangent = images(2, 3, 40, 56, 0)};
    assert_ok(aleat_vae_decode(vae, &z, &p.image, &c, &p.decoder_grad, &err), &err);
    const aleat_denoiser *decoder;
    assert_ok(aleat_vae_decoder(vae, 20, 28, &decoder, &err), &err);
    const aleat_batch batch = {.n = 2, .height = 20, .width = 28, .x = z.data};
    assert_ok(decoder->ops->jvp(decoder->self, &batch, v.data, NULL, p.image_tangent.data, &err),
              &err);
    assert_ok(aleat_vae_encode(vae, &c, &p.mean, NULL, &v, &p.encoder_grad, &err), &err);
    aleat_array_clear(&z);
    aleat_array_clear(&v);
    aleat_array_clear(&c);
    aleat_vae_close(vae);
    return p;
}

static void products_clear(products *p)
{
    aleat_array_clear(&p->image);
    aleat_array_clear(&p->decoder_grad);
    aleat_array_clear(&p->image_tangent);
    aleat_array_clear(&p->mean);
    aleat_array_clear(&p->encoder_grad);
}

static void activations_in_a_file_change_no_bit(void **state)
{
    (void)state;
    products in_memory = products_with(-1, 1);
    // so little that every step is taken in many parts; and that only the largest are
    const int64_t memory[] = {32 << 10, 200 << 10};
    for (int threads = 1; threads <= 3; threads += 2)
        for (int i = 0; i < 2; i++) {
            products in_file = products_with(memory[i], threads);
            assert_same_bits(&in_memory.image, &in_file.image);
            assert_same_bits(&in_memory.decoder_grad, &in_file.decoder_grad);
            assert_same_bits(&in_memory.image_tangent, &in_file.image_tangent);
            assert_same_bits(&in_memory.mean, &in_file.mean);
            assert_same_bits(&in_memory.encoder_grad, &in_file.encoder_grad);
            products_clear(&in_file);
        }
    products_clear(&in_memory);
}

static int64_t resident_bytes(void)
{
    long long total, resident;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lld %lld", &total, &resident), 2);
    (void)fclose(f);
    return resident * sysconf(_SC_PAGESIZE);
}

static void pages_of_a_file_leave_memory_and_keep_what_they_hold(void **state)
{
    (void)state;
    enum { BYTES = 32 << 20 };
    aleat_error err = {0};
    aleat_arena arena;
    assert_ok(aleat_arena_new(&arena, BYTES, true, &err), &err);
    for (int i = 0; i < BYTES; i++)
        arena.data[i] = (char)(i % 251);
    const int64_t before = resident_bytes();
    aleat_arena_rest(&arena);
    assert_true(before - resident_bytes() > BYTES / 2); // other pages may come meanwhile
    for (int i = 0; i < BYTES; i++)
        assert_int_equal(arena.data[i], (char)(i % 251));
    aleat_arena_free(&arena);
}

static void a_folder_for_temporary_files_that_is_not_there_is_named(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_vae *vae;
    const aleat_vae_options options = {.memory = 4096};
    const char *given = getenv("TMPDIR");
    char *before = given ? strdup(given) : NULL;
    aleat_array z = images(1, 4, 8, 8, 1), image;
    assert_ok(aleat_vae_open(&vae, synthetic("vae"), &options, &err), &err);
    assert_int_equal(setenv("TMPDIR", "/does/not/exist", 1), 0);
    assert_failed(aleat_vae_decode(vae, &z, &image, NULL, NULL, &err), ALEAT_ERR_IO, &err,
                  "/does/not/exist");
    assert_int_equal(before ? setenv("TMPDIR", before, 1) : unsetenv("TMPDIR"), 0);
    free(before);
    aleat_array_clear(&z);
    aleat_vae_close(vae);
}

/* ---- uncertainty in the space of images ------------------------------------------------------ */

enum { LH = 4, LW = 4, LATENT = 4 * LH * LW, IMAGE = 3 * 4 * LH * LW, PRODUCTS = 512 };

// diag(J V J^T) by central differences along every element of the latent.
static void exact_variance(aleat_vae *vae, const float *z, const float *variance, double *out)
{
    aleat_error err = {0};
    const float h = 1.0f / 64;
    aleat_array all = images(2 * LATENT, 4, LH, LW, 0), decoded;
    for (int j = 0; j < 2 * LATENT; j++) {
        memcpy(all.data + j * LATENT, z, LATENT * sizeof *z);
        all.data[j * LATENT + j / 2] += j % 2 ? h : -h;
    }
    assert_ok(aleat_vae_decode(vae, &all, &decoded, NULL, NULL, &err), &err);
    for (int p = 0; p < IMAGE; p++) {
        out[p] = 0;
        for (int j = 0; j < LATENT; j++) {
            const double slope = ((double)decoded.data[(2 * j + 1) * IMAGE + p] -
                                  (double)decoded.data[2 * j * IMAGE + p]) /
                                 (2 * (double)h);
            out[p] += slope * slope * (double)variance[j];
        }
    }
    aleat_array_clear(&all);
    aleat_array_clear(&decoded);
}

static void random_sign_products_estimate_the_first_order_variance(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_vae *vae;
    assert_ok(aleat_vae_open(&vae, synthetic("vae"), NULL, &err), &err);
    const aleat_denoiser model = {
        .info = {.channels = 4, .height = LH, .width = LW, .out_channels = 4, .null_class = -1}};
    const aleat_run_latent_options options = {
        .vae = vae, .carry = ALEAT_CARRY_JVP, .products = PRODUCTS, .copies = 2, .seed = 1};
    aleat_run_latent *latent;
    static float z[LATENT], variance[LATENT], image[IMAGE], got[IMAGE];
    static double want[IMAGE];
    fill(z, LATENT, 8);
    fill(variance, LATENT, 9);
    for (int j = 0; j < LATENT; j++)
        variance[j] = 0.01f * (variance[j] + 1.1f);
    assert_ok(aleat_run_latent_new(&latent, &options, &model, ALEAT_PREDICTS_EPSILON, &err), &err);
    assert_ok(aleat_run_latent_decode(latent, 0, z, image, variance, got, &err), &err);
    exact_variance(vae, z, variance, want);
    double sum = 0, sum_want = 0;
    for (int p = 0; p < IMAGE; p++) {
        // the deviation of one estimate is at most sqrt(2 / K) of it: 5 of them
        assert_true(fabs((double)got[p] - want[p]) < 5 * sqrt(2.0 / PRODUCTS) * want[p]);
        sum += (double)got[p];
        sum_want += want[p];
    }
    assert_true(fabs(sum / sum_want - 1) < 0.1);
    aleat_run_latent_free(latent);
    aleat_vae_close(vae);
}

// A model whose raw output is a given noise, so that x0 of a copy is what the test chose.
static aleat_status zero_predict(void *self, const aleat_batch *in, float *out, aleat_error *err)
{
    (void)self;
    (void)err;
    memset(out, 0, (size_t)(in->n * LATENT) * sizeof *out);
    return ALEAT_OK;
}

static void copies_are_decoded_and_their_variance_taken(void **state)
{
    (void)state;
    enum { COPIES = 3, N = 2 };
    aleat_error err = {0};
    aleat_vae *vae;
    assert_ok(aleat_vae_open(&vae, synthetic("vae"), NULL, &err), &err);
    static const aleat_denoiser_ops ops = {.predict = zero_predict};
    const aleat_denoiser model = {
        .ops = &ops,
        .info = {.channels = 4, .height = LH, .width = LW, .out_channels = 4, .null_class = -1}};
    const aleat_run_latent_options options = {
        .vae = vae, .carry = ALEAT_CARRY_COPIES, .products = 1, .copies = COPIES};
    aleat_run_latent *latent;
    assert_ok(aleat_run_latent_new(&latent, &options, &model, ALEAT_PREDICTS_EPSILON, &err), &err);
    aleat_array x0 = images(N * COPIES, 4, LH, LW, 11), decoded;
    assert_ok(aleat_vae_decode(vae, &x0, &decoded, NULL, NULL, &err), &err);
    // eps = 0 at alpha = 1/2: x0 = 2 x
    const aleat_sampling_step step = {.alpha = 0.5, .sigma = 0.866};
    const aleat_evaluation evaluation = {.step = &step, .n = N};
    static float variance[N * IMAGE], raw[N * COPIES * LATENT];
    for (int64_t i = 0; i < aleat_array_count(&x0); i++)
        x0.data[i] *= 0.5f;
    aleat_run_latent_at(latent, &evaluation, variance);
    const aleat_denoiser *tap = aleat_run_latent_tap(latent);
    for (int first = 0; first < N * COPIES; first += 4) { // calls of 4 and 2 rows
        const int rows = N * COPIES - first < 4 ? N * COPIES - first : 4;
        const aleat_batch batch = {
            .n = rows, .height = LH, .width = LW, .x = x0.data + first * LATENT};
        assert_ok(aleat_denoiser_predict(tap, &batch, raw, &err), &err);
    }
    for (int i = 0; i < N; i++)
        for (int p = 0; p < IMAGE; p++) {
            double mean = 0, squares = 0;
            for (int k = 0; k < COPIES; k++)
                mean += (double)decoded.data[(i * COPIES + k) * IMAGE + p] / COPIES;
            for (int k = 0; k < COPIES; k++)
                squares += pow((double)decoded.data[(i * COPIES + k) * IMAGE + p] - mean, 2);
            assert_true(fabs((double)variance[i * IMAGE + p] - squares / (COPIES - 1)) <
                        4 * FLT_EPSILON * (squares + 1));
        }
    aleat_array_clear(&x0);
    aleat_array_clear(&decoded);
    aleat_run_latent_free(latent);
    aleat_vae_close(vae);
}

/* ---- names ----------------------------------------------------------------------------------- */

static const char *write_text(const char *name, const char *text)
{
    const char *path = scratch(name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void classes_are_named_by_the_models_own_files_or_as_imagenets(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_class_names names;
    const char *index =
        write_text("names-index.json", "{\"id2label\": {\"1\": \"shoe\", \"0\": \"bag, sack\"}}");
    assert_ok(aleat_class_names_load(&names, index, NULL, 3, &err), &err);
    assert_string_equal(aleat_class_name(&names, 0), "bag, sack");
    assert_null(aleat_class_name(&names, 2));
    assert_null(aleat_class_name(&names, -1));
    aleat_class_names_clear(&names);
    const char *config =
        write_text("names-config.json", "{\"_aleat_class_names\": [\"a\", \"b\"]}");
    assert_ok(aleat_class_names_load(&names, NULL, config, 2, &err), &err);
    assert_string_equal(aleat_class_name(&names, 1), "b");
    aleat_class_names_clear(&names);
    assert_failed(aleat_class_names_load(&names, index, NULL, 1, &err), ALEAT_ERR_FORMAT, &err,
                  "id2label");
    assert_failed(aleat_class_names_load(&names, NULL, config, 1, &err), ALEAT_ERR_FORMAT, &err,
                  "_aleat_class_names");
    assert_ok(aleat_class_names_load(&names, NULL, NULL, 1000, &err), &err);
    assert_string_equal(aleat_class_name(&names, 207), "golden retriever");
    assert_string_equal(aleat_class_name(&names, 999),
                        "toilet tissue, toilet paper, bathroom tissue");
    aleat_class_names_clear(&names);
    assert_ok(aleat_class_names_load(&names, NULL, config, 1000, &err), &err);
    assert_null(aleat_class_name(&names, 207));
    aleat_class_names_clear(&names);
}

static void a_checkpoint_resembles_the_kind_whose_names_it_has(void **state)
{
    (void)state;
    static const struct {
        const char *list, *kind;
    } cases[] = {{"vae", "AutoencoderKL"},
                 {"uvit", "uvit"},
                 {"adm", "(adm)"},
                 {"adm_classifier", "adm_classifier"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err = {0};
        aleat_checkpoint *file;
        assert_ok(aleat_checkpoint_open(&file, synthetic(cases[i].list), &err), &err);
        const aleat_checkpoint_facts f = aleat_checkpoint_describe(file);
        assert_non_null(f.resembles);
        assert_non_null(strstr(f.resembles, cases[i].kind));
        assert_true(f.share > 0.9);
        aleat_checkpoint_close(file);
    }
}

/* ---- the tool -------------------------------------------------------------------------------- */

// Runs the tool with the words of a line (a '+' stands for a space within a word, '^' for a '+').
static int run(const char *fmt, ...)
{
    static char line[4096];
    char *argv[64] = {getenv("ALEAT_TOOL")}, *rest = line;
    int argc = 1, status;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    for (char *word; (word = strsep(&rest, " "));) {
        for (char *c = word; *c; c++)
            *c = *c == '+' ? ' ' : *c == '^' ? '+' : *c;
        argv[argc++] = word;
    }
    const pid_t child = fork();
    if (child == 0) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/said", fixture_folder);
        if (!freopen(path, "w", stderr) || dup2(fileno(stderr), 1) < 0)
            _exit(99);
        (void)execv(argv[0], argv);
        _exit(99);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool said(const char *text)
{
    static char buf[1 << 16];
    FILE *file = fopen(scratch("said"), "r");
    assert_non_null(file);
    buf[fread(buf, 1, sizeof buf - 1, file)] = 0;
    (void)fclose(file);
    return *text == 0 || strstr(buf, text) != NULL;
}

static aleat_tensor read_array(const char *path)
{
    aleat_error err = {0};
    aleat_tensor t = {0};
    if (aleat_npy_read_f32(&t, path, &err))
        fail_msg("%s", err.message);
    return t;
}

static void assert_near(const char *path, const char *want, double bound)
{
    aleat_tensor a = read_array(path), b = read_array(want);
    assert_int_equal(aleat_tensor_count(&a), aleat_tensor_count(&b));
    const double error =
        aleat_relative_l2(aleat_tensor_f32(&a), aleat_tensor_f32(&b), aleat_tensor_count(&a));
    if (!(error <= bound))
        fail_msg("%s is off by %.3g from %s", path, error, want);
    aleat_tensor_clear(&a);
    aleat_tensor_clear(&b);
}

#define ADM "--head-dim 16 --attention-order new --noise-schedule cosine --height 16 --width 16"

static void labels_may_be_names(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        int code;
        const char *message;
    } cases[] = {{"golden+retriever", 0, ""},
                 {"Tench,+207", 0, ""},
                 {"labrador", 0, ""},
                 {"crane", 1, "crane (134), crane (517)"},
                 {"golden+retreiver", 1, "did you mean 'golden retriever'?"},
                 {"retriever", 1, "did you mean"},
                 {"1000", 1, "class from 0 to 999"},
                 {"-1", 1, "class from 0 to 999"},
                 {"1,,2", 1, "class from 0 to 999"}};
    char model[128];
    (void)snprintf(model, sizeof model, "%s", synthetic("adm"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int code = run("generate %s " ADM " --steps 1 -n 2 --labels %s --resume discard -o "
                             "%s/named",
                             model, cases[i].label, fixture_folder);
        if (code != cases[i].code || !said(cases[i].message))
            fail_msg("--labels '%s': exit %d", cases[i].label, code);
    }
}

// Guidance evaluates more than the scored copies: none of that may be taken for one of them.
static void carried_copies_do_not_depend_on_guidance(void **state)
{
    (void)state;
    static const char *const ways[] = {"--gradient vjp", "--gradient jvp", "--gradient fd-sym",
                                       "--compat wrt=input", "--compat wrt=input^sum-eps"};
    char model[128], decoder[128];
    (void)snprintf(model, sizeof model, "%s", synthetic("uvit"));
    (void)snprintf(decoder, sizeof decoder, "%s", synthetic("vae"));
#define CARRIED_RUN                                                                                \
    "generate %s --heads 3 -n 3 --labels 1,2,3 --steps 2 --score-steps 0:1 --decoder %s "          \
    "--map-space image --carry copies --resume discard"
    assert_int_equal(run(CARRIED_RUN " -o %s/plain", model, decoder, fixture_folder), 0);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        assert_int_equal(run(CARRIED_RUN " --guide --guide-steps 0:1 %s -o %s/guided", model,
                             decoder, ways[i], fixture_folder),
                         0);
        assert_near(scratch("guided/image-var.npy"), scratch("plain/image-var.npy"), 0);
    }
}

// What the file does not say makes another network of it.
static void thresholds_of_another_network_are_refused(void **state)
{
    (void)state;
    char model[128];
    (void)snprintf(model, sizeof model, "%s", synthetic("uvit"));
#define THRESHOLD_RUN "generate %s -n 2 --labels 1,2 --steps 2 --score-steps 0:2 "
    assert_int_equal(run(THRESHOLD_RUN "--heads 3 --maps all -o %s/all", model, fixture_folder), 0);
    assert_int_equal(run("threshold %s/all -o %s/t.npz", fixture_folder, fixture_folder), 0);
    static const struct {
        const char *options, *says;
    } others[] = {{"--heads 3 --raw-time", "time_scale"}, {"--heads 4", "config_sha256"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(run(THRESHOLD_RUN "%s --guide --threshold-file %s/t.npz -o %s/guided",
                             model, others[i].options, fixture_folder, fixture_folder),
                         1);
        assert_true(said(others[i].says));
    }
    assert_int_equal(run(THRESHOLD_RUN "--heads 3 --guide --threshold-file %s/t.npz -o %s/guided",
                         model, fixture_folder, fixture_folder),
                     0);
}

static void a_latent_run_keeps_latents_and_shows_images(void **state)
{
    (void)state;
    char model[128], decoder[128];
    (void)snprintf(model, sizeof model, "%s", synthetic("uvit"));
    (void)snprintf(decoder, sizeof decoder, "%s", synthetic("vae"));
#define LATENT_RUN                                                                                 \
    "generate %s --heads 3 -n 3 --labels 1,2,3 --steps 5 --score-steps 3:5 --decoder %s "          \
    "--map-space image"
    assert_int_equal(
        run(LATENT_RUN " --batch 1 --threads 1 -o %s/a", model, decoder, fixture_folder), 0);
    assert_int_equal(
        run(LATENT_RUN " --batch 3 --threads 2 -o %s/b", model, decoder, fixture_folder), 0);
    assert_int_equal(run(LATENT_RUN " --carry copies -o %s/c", model, decoder, fixture_folder), 0);
    assert_int_equal(run("generate %s --heads 3 -n 1 --labels 1 --steps 2 --map-space image -o "
                         "%s/d",
                         model, fixture_folder),
                     2);
    assert_near(scratch("a/image-var.npy"), scratch("b/image-var.npy"), 0);
    assert_near(scratch("a/samples.npy"), scratch("b/samples.npy"), 0);
    assert_near(scratch("a/samples.npy"), scratch("c/samples.npy"), 0);
    assert_true(aleat_is_file(scratch("a/maps/000002.png")));
    assert_int_equal(run("decode --decoder %s --latents %s/a/samples.npy --out %s/d.npy", decoder,
                         fixture_folder, fixture_folder),
                     0);
    aleat_tensor images = read_array(scratch("d.npy")), shown = {0};
    aleat_error err = {0};
    assert_ok(aleat_npz_read(&shown, scratch("a/samples.npz"), "arr_0", &err), &err);
    const int64_t n = shown.shape.dim[0], h = shown.shape.dim[1], w = shown.shape.dim[2];
    assert_int_equal(h, images.shape.dim[2]);
    for (int64_t i = 0; i < n * h * w * 3; i++) {
        const int64_t at = (i / (3 * h * w) * 3 + i % 3) * h * w + i / 3 % (h * w);
        const float v = rintf((aleat_tensor_f32(&images)[at] / 2 + 0.5f) * 255);
        const float held = v < 0 ? 0 : v > 255 ? 255 : v;
        assert_true((float)((const uint8_t *)shown.data)[i] == held);
    }
    aleat_tensor_clear(&images);
    aleat_tensor_clear(&shown);
}

/* ---- reference cases through the tool -------------------------------------------------------- */

typedef struct score_case {
    const char *folder, *weights, *options;
    bool labelled;
    const char *out;
} score_case;

// The cotangent of a case is of eps alone: the learned variance gets zeros.
static void widen(const char *path, const char *v, const char *out)
{
    aleat_error err = {0};
    aleat_tensor cotangent = read_array(v), like = read_array(out), wide = {0};
    assert_ok(aleat_tensor_new(&wide, ALEAT_F32, &like.shape, &err), &err);
    const int64_t n = like.shape.dim[0], a = aleat_tensor_count(&cotangent) / n,
                  b = aleat_tensor_count(&like) / n;
    for (int64_t i = 0; i < n; i++)
        memcpy(aleat_tensor_f32(&wide) + i * b, aleat_tensor_f32(&cotangent) + i * a,
               (size_t)a * sizeof(float));
    assert_ok(aleat_npy_write(path, &wide, &err), &err);
    aleat_tensor_clear(&cotangent);
    aleat_tensor_clear(&like);
    aleat_tensor_clear(&wide);
}

static void scores_are_the_references(void **state)
{
    (void)state;
    static const score_case cases[] = {
        {"data/uvit-cifar", "cifar10_uvit_small.pth", "--heads 2", false, "eps.npy"},
        {"adm64_new_cond", "64x64_diffusion.pt", "--head-dim 16 --attention-order new", true,
         "out.npy"},
        {"adm128_legacy_cond", "128x128_diffusion.pt", "--heads 4 --attention-order legacy", true,
         "out.npy"},
        {"adm_uncond_plain", "uncond_plain.pt", "--heads 2 --attention-order legacy", false,
         "out.npy"},
        {"uvit_huge256", "imagenet256_uvit_huge.pth", "--heads 2", true, "eps.npy"},
        {"uvit_huge512", "imagenet512_uvit_huge.pth", "--heads 3", true, "eps.npy"},
        {"uvit_large256", "imagenet256_uvit_large.pth", "--heads 2", true, "eps.npy"},
        {"uvit_in64_mlp", "imagenet64_uvit_mid.pth", "--head-dim 32", true, "eps.npy"}};
    static const struct {
        const char *name;
        double bound;
    } precisions[] = {{"f32", 2e-5}, {"bf16", 3e-2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int p = 0; p < 2; p++) {
            const score_case *c = &cases[i];
            char label[600] = "";
            if (!case_exists(c->folder, "x.npy"))
                continue;
            if (c->labelled)
                (void)snprintf(label, sizeof label, "--label %s", case_path(c->folder, "y.npy"));
            widen(scratch("v.npy"), case_path(c->folder, "v.npy"), case_path(c->folder, c->out));
            const int code =
                run("score %s %s --x %s --t %s --out %s/o.npy --cotangent %s/v.npy "
                    "--grad %s/g.npy --precision %s%s%s",
                    case_path(c->folder, c->weights), c->options, case_path(c->folder, "x.npy"),
                    case_path(c->folder, "t.npy"), fixture_folder, fixture_folder, fixture_folder,
                    precisions[p].name, *label ? " " : "", label);
            if (p == 1 && code == 1 && said("bf16"))
                continue; // a processor without it
            assert_int_equal(code, 0);
            assert_near(scratch("o.npy"), case_path(c->folder, c->out), precisions[p].bound);
            assert_near(scratch("g.npy"), case_path(c->folder, "vjp.npy"), precisions[p].bound);
        }
}

typedef struct run_case {
    const char *folder, *weights_folder, *weights, *options, *labels, *noise, *want;
} run_case;

#define ADM64  "--head-dim 16 --attention-order new --noise-schedule cosine"
#define ADM128 "--heads 4 --attention-order legacy --noise-schedule linear"
#define PLAIN                                                                                      \
    "--heads 2 --attention-order legacy --noise-schedule cosine --train-steps 4000 "               \
    "--rescale-timesteps --width 12"
#define DDPM(r)  " --sampler ddpm --respacing " r
#define DDIM(r)  " --sampler ddim --respacing " r
#define HALF     " --eta 0.5"
#define NOISE    "traj_noise.npy"
#define CFG      " --cfg-scale 1.4"
#define STRONGER " --cfg-scale 1.7"
#define DPMPP    " --sampler dpm-solver^^3 --steps 8"
#define FAST     " --sampler dpm-solver-fast --steps 8"
#define EM_SDE   " --sampler em-sde --steps 8"
#define FILES64  "adm64_new_cond", "64x64_diffusion.pt"

static void check_run(const run_case *c)
{
    if (!case_exists(c->folder, "traj_xT.npy") || !case_exists(c->weights_folder, c->weights))
        return;
    aleat_error err = {0};
    aleat_tensor init = read_array(case_path(c->folder, "traj_xT.npy"));
    char extra[1200] = "";
    if (c->labels)
        (void)snprintf(extra, sizeof extra, " --labels %s", case_path(c->folder, c->labels));
    if (c->noise) {
        aleat_tensor noise = read_array(case_path(c->folder, c->noise));
        assert_ok(aleat_make_dirs(scratch("noise"), &err), &err);
        assert_ok(aleat_npy_write(scratch("noise/step.npy"), &noise, &err), &err);
        aleat_tensor_clear(&noise);
        (void)snprintf(extra + strlen(extra), sizeof extra - strlen(extra), " --noise-dir %s/noise",
                       fixture_folder);
    }
    if (strstr(c->options, "classifier"))
        (void)snprintf(extra + strlen(extra), sizeof extra - strlen(extra), " --classifier %s",
                       case_path("adm_classifier", "64x64_classifier.pt"));
    assert_int_equal(run("generate %s --height 16%s %s --init %s --trajectory %s/t.npy -n %lld "
                         "--resume discard -o %s/reference%s",
                         case_path(c->weights_folder, c->weights),
                         strstr(c->options, "--width") ? "" : " --width 16", c->options,
                         case_path(c->folder, "traj_xT.npy"), fixture_folder,
                         (long long)init.shape.dim[0], fixture_folder, extra),
                     0);
    aleat_tensor all = read_array(scratch("t.npy")), states = {0};
    aleat_shape shape = all.shape;
    const int64_t one = aleat_tensor_count(&all) / shape.dim[0];
    shape.dim[0]--; // the reference has no x_T
    assert_ok(aleat_tensor_new(&states, ALEAT_F32, &shape, &err), &err);
    memcpy(states.data, aleat_tensor_f32(&all) + one,
           (size_t)aleat_tensor_count(&states) * sizeof(float));
    assert_ok(aleat_npy_write(scratch("states.npy"), &states, &err), &err);
    assert_near(scratch("states.npy"), case_path(c->folder, c->want), 1e-4);
    aleat_tensor_clear(&init);
    aleat_tensor_clear(&all);
    aleat_tensor_clear(&states);
}

static void trajectories_are_the_references(void **state)
{
    (void)state;
    static const run_case cases[] = {
        {"adm64_new_cond", FILES64, ADM64 DDPM("8"), "y.npy", NOISE, "psample_x.npy"},
        {"adm64_new_cond", FILES64, ADM64 DDIM("8"), "y.npy", NULL, "ddim_eta0_x.npy"},
        {"adm64_new_cond", FILES64, ADM64 DDIM("8") HALF, "y.npy", NOISE, "ddim_eta05_x.npy"},
        {"adm64_new_cond", FILES64, ADM64 DDIM("ddim8"), "y.npy", NULL, "respacing2_ddim_x.npy"},
        {"adm128_legacy_cond", "adm128_legacy_cond", "128x128_diffusion.pt", ADM128 DDPM("ddim8"),
         "y.npy", NOISE, "psample_x.npy"},
        {"adm128_legacy_cond", "adm128_legacy_cond", "128x128_diffusion.pt", ADM128 DDIM("ddim8"),
         "y.npy", NULL, "ddim_eta0_x.npy"},
        {"adm_uncond_plain", "adm_uncond_plain", "uncond_plain.pt", PLAIN DDPM("8"), NULL, NOISE,
         "psample_x.npy"},
        {"adm_uncond_plain", "adm_uncond_plain", "uncond_plain.pt", PLAIN DDIM("8"), NULL, NULL,
         "ddim_eta0_x.npy"},
        {"adm_classifier", FILES64, ADM64 DDPM("ddim8") " --classifier-head-dim 16", "traj_y.npy",
         NOISE, "guided_psample_x.npy"},
        {"adm_classifier", FILES64, ADM64 DDIM("ddim8") " --classifier-head-dim 16", "traj_y.npy",
         NULL, "guided_ddim_x.npy"},
        {"uvit_huge256", "uvit_huge256", "imagenet256_uvit_huge.pth",
         "--heads 2 --sampler ddim --steps 8 --raw-time", "traj_y.npy", NULL, "ddim_x.npy"},
        {"uvit_huge256", "uvit_huge256", "imagenet256_uvit_huge.pth", "--heads 2" CFG DPMPP,
         "traj_y.npy", NULL, "dpm_step_x_d.npy"},
        {"uvit_huge512", "uvit_huge512", "imagenet512_uvit_huge.pth",
         "--heads 3 --sampler ddim --steps 8 --raw-time", "traj_y.npy", NULL, "ddim_x.npy"},
        {"uvit_huge512", "uvit_huge512", "imagenet512_uvit_huge.pth", "--heads 3" STRONGER DPMPP,
         "traj_y.npy", NULL, "dpm_step_x_d.npy"},
        // in continuous time, down to 1e-4
        {"uvit_large256", "uvit_large256", "imagenet256_uvit_large.pth", "--heads 2" CFG FAST,
         "traj_y.npy", NULL, "dpm_step_x_d.npy"},
        {"uvit_in64_mlp", "uvit_in64_mlp", "imagenet64_uvit_mid.pth", "--head-dim 32" FAST,
         "traj_y.npy", NULL, "dpm_step_x_d.npy"},
        {"uvit_in64_mlp", "uvit_in64_mlp", "imagenet64_uvit_mid.pth", "--head-dim 32" EM_SDE,
         "traj_y.npy", "em_noise.npy", "em_sde_x.npy"},
        {"uvit_cifar", "uvit_cifar", "cifar10_uvit_small.pth", "--heads 2" FAST, NULL, NULL,
         "dpm_step_x_d.npy"},
        {"uvit_cifar", "uvit_cifar", "cifar10_uvit_small.pth", "--heads 2" EM_SDE, NULL,
         "em_noise.npy", "em_sde_x.npy"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_run(&cases[i]);
}

static void the_autoencoder_verbs_are_the_references(void **state)
{
    (void)state;
    const char *f = "vae_kl";
    if (!case_exists(f, "z.npy"))
        return;
    assert_int_equal(run("decode --decoder %s --latents %s --out %s/o.npy --cotangent %s --grad "
                         "%s/g.npy",
                         case_path(f, "autoencoder_kl.pth"), case_path(f, "z.npy"), fixture_folder,
                         case_path(f, "v.npy"), fixture_folder),
                     0);
    assert_near(scratch("o.npy"), case_path(f, "dec.npy"), 2e-5);
    assert_near(scratch("g.npy"), case_path(f, "dec_vjp.npy"), 2e-5);
    assert_int_equal(run("encode --decoder %s --images %s --noise %s --out %s/o.npy --mean "
                         "%s/m.npy --logvar %s/l.npy",
                         case_path(f, "vae"), case_path(f, "x.npy"), case_path(f, "enc_noise.npy"),
                         fixture_folder, fixture_folder, fixture_folder),
                     0);
    assert_near(scratch("o.npy"), case_path(f, "enc_z.npy"), 2e-5);
    assert_near(scratch("m.npy"), case_path(f, "enc_mean.npy"), 2e-5);
    assert_near(scratch("l.npy"), case_path(f, "enc_logvar.npy"), 2e-5);
}

// Pictures pass through the encoder: what is judged and reconstructed are their latents.
static void pictures_are_judged_as_latents(void **state)
{
    (void)state;
    char model[128], vae[128];
    aleat_error err = {0};
    aleat_tensor rgb = {0}, fitted = {0};
    const aleat_shape shape = aleat_shape_of(4, 2, 40, 30, 3);
    (void)snprintf(model, sizeof model, "%s", synthetic("uvit"));
    (void)snprintf(vae, sizeof vae, "%s", synthetic("vae"));
    assert_ok(aleat_tensor_new(&rgb, ALEAT_U8, &shape, &err), &err);
    for (int64_t j = 0; j < aleat_tensor_count(&rgb); j++)
        ((uint8_t *)rgb.data)[j] = (uint8_t)(j * j / 7);
    assert_ok(aleat_npy_write(scratch("rgb.npy"), &rgb, &err), &err);
    const char *form =
        "%s %s %s%s --heads 3 --label 1 --steps 5 --encoder %s --copies 2 -o %s/%s %s";
    char set[128];
    (void)snprintf(set, sizeof set, "%s", scratch("rgb.npy"));
    assert_int_equal(run(form, "uncertainty", model, "--image ", set, vae, fixture_folder, "lj",
                         "--fit resample"),
                     0);
    // the pictures of that run have the model's size
    (void)snprintf(set, sizeof set, "%s", scratch("lj"));
    assert_int_equal(
        run(form, "reconstruct", model, "", set, vae, fixture_folder, "lr", "--bootstrap 0"), 0);
    assert_ok(aleat_npz_read(&fitted, scratch("lj/samples.npz"), "arr_0", &err), &err);
    const int64_t n = fitted.shape.dim[0], h = fitted.shape.dim[1], w = fitted.shape.dim[2];
    aleat_array pixels = images(n, 3, h, w, 1);
    for (int64_t j = 0; j < n * h * w * 3; j++)
        pixels.data[((j / (h * w * 3)) * 3 + j % 3) * h * w + j / 3 % (h * w)] =
            2 * ((float)((const uint8_t *)fitted.data)[j] / 255) - 1;
    assert_ok(aleat_array_write(scratch("pixels.npy"), &pixels, &err), &err);
    assert_int_equal(run("encode --decoder %s --images %s/pixels.npy --out %s/latents.npy", vae,
                         fixture_folder, fixture_folder),
                     0);
    assert_near(scratch("lr/original.npy"), scratch("latents.npy"), 1e-6);
    assert_true(aleat_is_file(scratch("lr/images/000001.png")));
    assert_true(aleat_is_file(scratch("lj/maps/000001.png")));
    assert_int_equal(
        run(form, "uncertainty", model, "--image ", set, model, fixture_folder, "no", "--quiet"),
        1); // no autoencoder
    aleat_tensor_clear(&rgb);
    aleat_tensor_clear(&fitted);
    aleat_array_clear(&pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_has_the_size_and_scale_of_latents),
        cmocka_unit_test(activations_in_a_file_change_no_bit),
        cmocka_unit_test(pages_of_a_file_leave_memory_and_keep_what_they_hold),
        cmocka_unit_test(a_folder_for_temporary_files_that_is_not_there_is_named),
        cmocka_unit_test(random_sign_products_estimate_the_first_order_variance),
        cmocka_unit_test(copies_are_decoded_and_their_variance_taken),
        cmocka_unit_test(classes_are_named_by_the_models_own_files_or_as_imagenets),
        cmocka_unit_test(a_checkpoint_resembles_the_kind_whose_names_it_has),
        cmocka_unit_test(labels_may_be_names),
        cmocka_unit_test(thresholds_of_another_network_are_refused),
        cmocka_unit_test(carried_copies_do_not_depend_on_guidance),
        cmocka_unit_test(a_latent_run_keeps_latents_and_shows_images),
        cmocka_unit_test(pictures_are_judged_as_latents),
        cmocka_unit_test(scores_are_the_references),
        cmocka_unit_test(trajectories_are_the_references),
        cmocka_unit_test(the_autoencoder_verbs_are_the_references),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
