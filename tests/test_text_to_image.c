/* Text to image as a user runs it: prompts in, pictures out, and pictures made again. The models
 * are tiny ones of the published layouts: those of tests/data/pipelines, and the reference
 * vectors', which may not be there. */
#include "pipelines.h"
#include "tool.h"

#include <jansson.h>
#include <math.h>

#include "base/alloc.h"
#include "io/json.h"
#include "io/png_image.h"
#include "tensor/tensor.h"

#define SD15 "sd15-tiny"
#define SD3  "sd3-tiny"
#define FLUX "flux-tiny"

// On networks this small two threads spend most of their time waiting for each other.
#define ONE_THREAD "--threads 1"

/* A pipeline of the reference: what it is asked and where its answers are. */
typedef struct pipeline {
    const char *folder, *model; // below case_path(), or the model in the scratch folder
    const char *prompt, *negative;
    const char *options;         // %s: the folder of the model in the scratch folder
    const char *latents, *image; // .npy: last state, and the picture [1,H,W,C] in [0, 1]
    int steps;
    bool packed;     // latents as FLUX.1 packs them
    int noise_steps; // 0: all noise is the first
} pipeline;

#define SD15_TEXTS                                                                                 \
    "a photo of an astronaut riding a horse on mars, 8k, highly detailed",                         \
        "blurry, low quality (watermark)"
#define SD3_TEXTS "a photo of a cat holding a sign that says hello world!", "blurry, bad hands"
#define FLUX_TEXTS                                                                                 \
    "A tiny astronaut hatching from an egg on the moon, 35mm film; it's 50% done", NULL
#define STORED_SD3  "data/pipelines/sd3"
#define STORED_FLUX "data/pipelines/flux"

static const pipeline pipelines[] = {
    // in every clone; their autoencoder is a smaller one, so pictures have other sizes
    {STORED_SD3, "sd3", SD3_TEXTS, "--size 32x24", "latents", NULL, 6, false, 0},
    {STORED_SD3, "sd3.safetensors", SD3_TEXTS, "--size 32x24 --tokenizer %s --decoder %s",
     "latents", NULL, 6, false, 0},
    {STORED_SD3, "sd3-transformer.safetensors", SD3_TEXTS,
     "--size 32x24 --clip-l %s-clip_l.safetensors --clip-g %s-clip_g.safetensors "
     "--t5 %s-t5xxl.safetensors --tokenizer %s --decoder %s-vae.safetensors",
     "latents", NULL, 6, false, 0},
    // one from elsewhere, and an encoder's own folder
    {STORED_SD3, "sd3.safetensors", SD3_TEXTS,
     "--size 32x24 --t5 %s/text_encoder_3 --tokenizer %s --decoder %s", "latents", NULL, 6, false,
     0},
    {STORED_FLUX, "flux", FLUX_TEXTS, "--size 32x24", "latents_packed", NULL, 4, true, 0},
    {STORED_FLUX, "flux.safetensors", FLUX_TEXTS, "--size 32x24 --encoders %s --decoder %s",
     "latents_packed", NULL, 4, true, 0},
    {STORED_FLUX, "flux.safetensors", FLUX_TEXTS,
     "--size 32x24 --clip-l %s-clip_l.safetensors --t5 %s-t5xxl.safetensors --tokenizer %s "
     "--decoder %s-vae.safetensors",
     "latents_packed", NULL, 4, true, 0},
    // where the reference vectors are
    {SD15, "model", SD15_TEXTS, "--size 128x128", "pipe/pndm_latents", "pipe/pndm_image", 6, false,
     0},
    {SD15, "single/sd15-tiny.safetensors", SD15_TEXTS, "--size 128x128", "pipe/pndm_latents",
     "pipe/pndm_image", 6, false, 0},
    {SD15, "model", SD15_TEXTS, "--size 128x128 --sampler ddim", "pipe/ddim_latents", NULL, 6,
     false, 0},
    {SD15, "model", SD15_TEXTS, "--height 128 --width 128 --sampler dpm++2m",
     "pipe/dpmpp2m_latents", NULL, 6, false, 0},
    {SD15, "model", SD15_TEXTS, "--size 128x128 --sampler euler", "pipe/euler_latents", NULL, 6,
     false, 0},
    {SD15, "model", SD15_TEXTS, "--size 128x128 --sampler euler_a", "pipe/euler_a_latents", NULL, 6,
     false, 6},
    {SD15, "model", SD15_TEXTS, "--size 128x128 --sampler ddim --cfg-scale 1",
     "pipe/ddim_nocfg_latents", NULL, 6, false, 0},
    {SD3, "model", SD3_TEXTS, "--size 128x96", "pipe/latents", "pipe/image", 6, false, 0},
    {SD3, "single/sd3-tiny.safetensors", SD3_TEXTS, "--size 128x96 --cfg-scale 7", "pipe/latents",
     "pipe/image", 6, false, 0},
    {FLUX, "model", FLUX_TEXTS, "--size 128x96", "pipe/latents_packed", "pipe/image", 4, true, 0},
    {FLUX, "single/flux-tiny.safetensors", FLUX_TEXTS, "--size 128x96 --guidance 3.5",
     "pipe/latents_packed", "pipe/image", 4, true, 0},
};

/* Starts the tool with words as they are, ended by NULL. */
static pid_t start_words(const char *const *words)
{
    const pid_t child = fork();
    if (child == 0) {
        char *argv[64] = {getenv("ALEAT_TOOL")};
        for (int i = 0; words[i]; i++)
            argv[i + 1] = (char *)(uintptr_t)words[i];
        if (!freopen(scratch("stdout"), "w", stdout) || !freopen(scratch("stderr"), "w", stderr))
            _exit(99);
        (void)execv(argv[0], argv);
        _exit(99);
    }
    assert_true(child > 0);
    return child;
}

static int tool(const char *const *words)
{
    return finish(start_words(words));
}

/* Words; some are cut out of lines. */
typedef struct command {
    const char *words[60];
    int n;
    char lines[4096];
    size_t used; // of lines
} command;

static void add(command *c, const char *word)
{
    c->words[c->n++] = word;
}

static void add_line(command *c, const char *fmt, ...)
{
    char *line = c->lines + c->used;
    va_list args;
    va_start(args, fmt);
    const int len = vsnprintf(line, sizeof c->lines - c->used, fmt, args);
    va_end(args);
    c->used += (size_t)len + 1;
    assert_true(c->used < sizeof c->lines);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        add(c, word);
}

static void stderr_has(const char *words)
{
    char text[4096];
    said("stderr", text, sizeof text);
    if (!strstr(text, words))
        fail_msg("'%s' is not in: %s", words, text);
}

static int must(int code)
{
    char text[4096];
    if (code) {
        said("stderr", text, sizeof text);
        fail_msg("exit code %d: %s", code, text);
    }
    return code;
}

/* [6x8 tokens, (c, dy, dx)] as [16, 12, 16]. */
static void unpack(float *out, const float *packed)
{
    enum { ROWS = 6, COLUMNS = 8, CHANNELS = 16 };
    for (int y = 0; y < 2 * ROWS; y++)
        for (int x = 0; x < 2 * COLUMNS; x++)
            for (int c = 0; c < CHANNELS; c++)
                out[(c * 2 * ROWS + y) * 2 * COLUMNS + x] =
                    packed[(y / 2 * COLUMNS + x / 2) * 4 * CHANNELS + 4 * c + y % 2 * 2 + x % 2];
}

static void check_picture(const pipeline *p, const char *name)
{
    aleat_error err = {0};
    char file[64];
    (void)snprintf(file, sizeof file, "%s.npy", p->image);
    aleat_tensor want = load(p->folder, file);
    aleat_image image;
    (void)snprintf(file, sizeof file, "%s/images/000000.png", name);
    assert_ok(aleat_png_read(&image, scratch(file), &err), &err);
    assert_int_equal(image.width * image.height * 3, aleat_tensor_count(&want));
    for (int64_t i = 0; i < aleat_tensor_count(&want); i++) {
        const double off = fabs((double)image.pixels[i] - 255 * (double)aleat_tensor_f32(&want)[i]);
        if (!(off < 0.51)) // half a step of the rounding, and 2e-5 of 255 by the network's
            fail_msg("%s: pixel value %lld is off by %g", name, (long long)i, off);
    }
    aleat_image_clear(&image);
    aleat_tensor_clear(&want);
}

/* The last state: what is between is in the scheduler's own space for some samplers. */
static void check_latents(const pipeline *p, const char *trajectory)
{
    aleat_error err = {0};
    char file[64];
    aleat_tensor got;
    (void)snprintf(file, sizeof file, "%s.npy", p->latents);
    aleat_tensor want = load(p->folder, file);
    assert_ok(aleat_npy_read(&got, trajectory, &err), &err);
    const int64_t one = aleat_tensor_count(&got) / got.shape.dim[0];
    const float *last = aleat_tensor_f32(&want) + aleat_tensor_count(&want) - one;
    float *plain = aleat_alloc((size_t)one * sizeof *plain);
    assert_non_null(plain);
    if (p->packed)
        unpack(plain, last);
    const double off =
        aleat_relative_l2(aleat_tensor_f32(&got) + p->steps * one, p->packed ? plain : last, one);
    print_message("%s %s %s: %.1e\n", p->folder, p->model, p->options, off);
    assert_true(off < 1e-3);
    aleat_free(plain);
    aleat_tensor_clear(&got);
    aleat_tensor_clear(&want);
}

/* Asks for the options' %s, if there are any, where the model's folder is. */
static void add_options(command *c, const pipeline *p, const char *model)
{
    char folder[256], options[1024];
    (void)snprintf(folder, sizeof folder, "%s", model);
    char *name = strrchr(folder, '/');
    name[name ? 1 + strcspn(name + 1, ".-") : 0] = '\0';
    (void)snprintf(options, sizeof options, p->options, folder, folder, folder, folder, folder);
    add_line(c, "%s", options);
}

static void check_pipeline(const pipeline *p, int number)
{
    const bool made = !strncmp(p->folder, "data/", 5);
    if (!made && !case_exists(p->folder, "model/model_index.json"))
        return;
    char name[16], model[256], trajectory[128];
    (void)snprintf(name, sizeof name, "p%d", number);
    (void)snprintf(trajectory, sizeof trajectory, "%s/%s.npy", fixture_folder, name);
    (void)snprintf(model, sizeof model, "%s",
                   made ? scratch(p->model) : case_path(p->folder, p->model));
    command c = {0};
    add(&c, "generate");
    add(&c, model);
    add(&c, "--prompt");
    add(&c, p->prompt);
    if (p->negative) {
        add(&c, "--negative-prompt");
        add(&c, p->negative);
    }
    add_options(&c, p, model);
    if (p->noise_steps) {
        (void)mkdir(scratch("noise"), 0777);
        aleat_tensor z = load(p->folder, "pipe/euler_a_noise.npy");
        assert_int_equal(aleat_npy_write(scratch("noise/step.npy"), &z, NULL), ALEAT_OK);
        aleat_tensor_clear(&z);
        add_line(&c, "--noise-dir %s/noise", fixture_folder);
    }
    // single files lack what their folders have: SD 3's decoder, FLUX.1's encoders and decoder
    if (!made && strcmp(p->model, "model") && strcmp(p->folder, SD15)) {
        const char *folder = case_path(p->folder, "model");
        add_line(&c, "--encoders %s --decoder %s", folder, folder);
    }
    add_line(&c, "--steps %d --init %s --trajectory %s -o %s/%s -q " ONE_THREAD, p->steps,
             case_path(p->folder, made ? "lat0.npy" : "pipe/lat0.npy"), trajectory, fixture_folder,
             name);
    must(tool(c.words));
    check_latents(p, trajectory);
    if (p->image)
        check_picture(p, name);
}

static void pipelines_give_what_the_reference_gives(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pipelines / sizeof *pipelines; i++)
        check_pipeline(&pipelines[i], (int)i);
}

static json_t *replayed(const char *picture, const char *more, int code)
{
    const int got = run("replay %s/%s --json " ONE_THREAD " %s", fixture_folder, picture, more);
    char text[8192];
    said("stderr", text, sizeof text);
    if (got != code)
        fail_msg("%s: exit code %d: %s", picture, got, text);
    said("stdout", text, sizeof text);
    json_t *json = json_loads(text, 0, NULL);
    assert_true(json != NULL || code == 1);
    return json;
}

/* ---- runs of several prompts ----------------------------------------------------------------- */

static const char *const models[] = {"sd15", "sd3", "flux"};
#define N_MODELS 3

/* Three small images of two prompts. */
static void small_run(command *c, const char *model, const char *name, const char *more)
{
    *c = (command){0};
    add(c, "generate");
    add_line(c, "%s/%s", fixture_folder, model);
    add(c, "--prompt");
    add(c, "a cat");
    add(c, "--prompt");
    add(c, "a dog, \"asleep\":\nn\xc3\xa4mlich");
    add_line(c, "-n 3 --size 16x24 --steps 3 --seed 3 -q -o %s/%s %s", fixture_folder, name, more);
}

static void no_bit_depends_on_batch_threads_and_kills(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODELS; m++) {
        char names[3][16];
        command c;
        const char *const more[] = {"--batch 1 --threads 1", "--batch 3 --threads 1",
                                    "--batch 2 --threads 2"};
        const char *const method = m == 1   ? "--uncertainty --guide --guide-steps 1:2"
                                   : m == 2 ? "--rng torch"
                                            : "--uncertainty --map-space image --rng torch";
        for (int r = 0; r < 3 - (m == 2); r++) {
            char both[160];
            (void)snprintf(names[r], sizeof names[r], "b%d%d", m, r);
            (void)snprintf(both, sizeof both, "%s %s", method, more[r]);
            small_run(&c, models[m], names[r], both);
            if (r == 2) { // killed on its way, then again
                const pid_t child = start_words(c.words);
                const struct timespec wait = {0, 150000000L};
                (void)nanosleep(&wait, NULL);
                (void)kill(child, SIGKILL);
                (void)finish(child);
            }
            must(tool(c.words));
            assert_true(digest_of(names[r]) == digest_of(names[0]));
        }
        // another prompt is another run
        small_run(&c, models[m], names[0], method);
        c.words[3] = "a cow";
        assert_int_equal(tool(c.words), 1);
        stderr_has("'prompts'");
    }
}

/* The arrays that a run leaves, whatever its model's file is called. */
static void assert_same_arrays(const char *a, const char *b)
{
    static const char *const arrays[] = {"samples.npy", "uncertainty.npy", "image-var.npy"};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        char left[ALEAT_SHA256_TEXT], right[ALEAT_SHA256_TEXT], path[96];
        aleat_error err = {0};
        (void)snprintf(path, sizeof path, "%s/%s", a, arrays[i]);
        assert_ok(aleat_sha256_file(left, scratch(path), &err), &err);
        (void)snprintf(path, sizeof path, "%s/%s", b, arrays[i]);
        assert_ok(aleat_sha256_file(right, scratch(path), &err), &err);
        if (strcmp(left, right) != 0)
            fail_msg("%s: %s is not that of %s", b, arrays[i], a);
    }
}

static void assert_same_pixels(const char *a, const char *b)
{
    aleat_error err = {0};
    aleat_image left, right;
    assert_ok(aleat_png_read(&left, scratch(a), &err), &err);
    assert_ok(aleat_png_read(&right, scratch(b), &err), &err);
    assert_int_equal(left.width, right.width);
    assert_memory_equal(left.pixels, right.pixels,
                        (size_t)(left.width * left.height * left.channels));
    aleat_image_clear(&left);
    aleat_image_clear(&right);
}

#define ALL_MAPS "--uncertainty --map-space image --guide --guide-steps 1:2 " ONE_THREAD

static void a_folder_and_a_single_file_are_the_same_model(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODELS; m++) {
        command c;
        char single[64], name[2][16], more[1024];
        (void)snprintf(single, sizeof single, "%s.safetensors", models[m]);
        (void)snprintf(name[0], sizeof name[0], "f%d", m);
        (void)snprintf(name[1], sizeof name[1], "s%d", m);
        small_run(&c, models[m], name[0], ALL_MAPS);
        must(tool(c.words));
        (void)snprintf(more, sizeof more, "%s --encoders %s --decoder %s", ALL_MAPS,
                       scratch(models[m]), scratch(models[m]));
        // Stable Diffusion 1's file has all, and the tokens are those of the vocabulary built in
        small_run(&c, single, name[1], m == 0 ? ALL_MAPS : more);
        must(tool(c.words));
        assert_same_arrays(name[0], name[1]);
    }
    // and in as many files as there are parts
    command c;
    char more[1024];
    (void)snprintf(more, sizeof more, ALL_MAPS " --clip-l %s --decoder %s",
                   scratch("sd15/text_encoder/model.safetensors"),
                   scratch("sd15/vae/diffusion_pytorch_model.safetensors"));
    small_run(&c, "sd15-unet.safetensors", "parts", more);
    must(tool(c.words));
    assert_same_arrays("f0", "parts");
}

/* Image 1 follows from its own prompt, whatever the other images show. */
static void a_prompt_gives_the_same_image_alone(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODELS; m++) {
        command c;
        char name[16], both[64], alone[64];
        (void)snprintf(name, sizeof name, "a%d", m);
        small_run(&c, models[m], name, ALL_MAPS);
        c.words[3] = c.words[5]; // the second prompt is all
        must(tool(c.words));
        (void)snprintf(alone, sizeof alone, "%s/images/000001.png", name);
        (void)snprintf(both, sizeof both, "f%d/images/000001.png", m);
        assert_same_pixels(both, alone);
    }
}

/* Each prompt's negative one is its own; alone it gives the same image, which is made again. */
static void every_prompt_may_have_its_negative(void **state)
{
    (void)state;
    static const char *const texts[][2] = {{"a cat", "blurry"}, {"a dog", ""}, {"a cow", "night"}};
    enum { N = 3, ALONE = 2 };
    for (int m = 0; m < 2; m++) { // FLUX.1 has none
        command c = {0};
        add(&c, "generate");
        add_line(&c, "%s/%s", fixture_folder, models[m]);
        for (int i = 0; i < N; i++) {
            add(&c, "--prompt");
            add(&c, texts[i][0]);
            add(&c, "--negative-prompt");
            add(&c, texts[i][1]);
        }
        add_line(&c, "--size 16x24 --steps 3 -q --batch %d -o %s/n%d " ALL_MAPS, m + 1,
                 fixture_folder, m);
        must(tool(c.words));
        c = (command){0};
        add(&c, "generate");
        add_line(&c, "%s/%s", fixture_folder, models[m]);
        add(&c, "--prompt");
        add(&c, texts[ALONE][0]);
        add(&c, "--negative-prompt");
        add(&c, texts[ALONE][1]);
        add_line(&c, "-n 3 --size 16x24 --steps 3 -q -o %s/o%d " ALL_MAPS, fixture_folder, m);
        must(tool(c.words));
        char both[64], alone[64];
        (void)snprintf(both, sizeof both, "n%d/images/00000%d.png", m, ALONE);
        (void)snprintf(alone, sizeof alone, "o%d/images/00000%d.png", m, ALONE);
        assert_same_pixels(both, alone);
        json_t *json = replayed(both, "", 0);
        assert_int_equal(json_array_size(json_object_get(json, "remarks")), 0);
        json_decref(json);
        // and the others' are others
        (void)snprintf(alone, sizeof alone, "o%d/images/000001.png", m);
        (void)snprintf(both, sizeof both, "n%d/images/000001.png", m);
        char text[2][ALEAT_SHA256_TEXT];
        assert_int_equal(aleat_sha256_file(text[0], scratch(both), NULL), ALEAT_OK);
        assert_int_equal(aleat_sha256_file(text[1], scratch(alone), NULL), ALEAT_OK);
        assert_true(strcmp(text[0], text[1]) != 0);
    }
    assert_int_equal(run("generate %s --prompt a --prompt b --prompt c --negative-prompt x "
                         "--negative-prompt y --size 32x32 -o %s/e",
                         scratch("sd15"), fixture_folder),
                     1);
    stderr_has("2 negative prompts for 3 prompts");
}

/* A lone file of 16 channels does not say whose latents it decodes: the model does, or the option.
 */
static void a_lone_autoencoder_follows_its_model(void **state)
{
    (void)state;
    static const struct {
        const char *model, *decoder, *more;
        bool same; // as with the folder's own
    } cases[] = {{"sd3", "sd3-vae.safetensors", "", true},
                 {"sd3", "flux-vae.safetensors", "", true}, // by formula, as all others
                 {"sd3", "flux", "", false},                // which says that it is FLUX.1's
                 {"sd3", "sd3-vae.safetensors", "--scale-factor 1.5", false},
                 {"flux", "flux-vae.safetensors", "", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char own[64], lone[64], sum[2][ALEAT_SHA256_TEXT];
        command c;
        (void)snprintf(own, sizeof own, "v%zu", i);
        small_run(&c, cases[i].model, own, ONE_THREAD);
        must(tool(c.words));
        (void)snprintf(lone, sizeof lone, "w%zu", i);
        char more[256];
        (void)snprintf(more, sizeof more, "--decoder %s %s " ONE_THREAD, scratch(cases[i].decoder),
                       cases[i].more);
        small_run(&c, cases[i].model, lone, more);
        must(tool(c.words));
        for (int r = 0; r < 2; r++) {
            char path[96];
            aleat_error err = {0};
            aleat_image image;
            (void)snprintf(path, sizeof path, "%s/images/000001.png", r ? lone : own);
            assert_ok(aleat_png_read(&image, scratch(path), &err), &err);
            aleat_sha256(sum[r], image.pixels,
                         (size_t)(image.width * image.height * image.channels));
            aleat_image_clear(&image);
        }
        assert_int_equal(strcmp(sum[0], sum[1]) == 0, cases[i].same);
    }
    char more[160];
    (void)snprintf(more, sizeof more, "--decoder %s", scratch("flux-vae.safetensors"));
    json_t *json = replayed("w1/images/000000.png", more, 0);
    assert_int_equal(json_array_size(json_object_get(json, "remarks")), 0);
    json_decref(json);
}

static void bench_splits_the_time_of_an_image(void **state)
{
    (void)state;
    static const char *const parts[] = {"text", "network", "decoder"};
    char text[8192];
    for (int m = 0; m < N_MODELS; m++) {
        must(run("bench %s --part all --height 8 --width 12 --batch 2 --repeats 1 --evaluations 6 "
                 "--json " ONE_THREAD,
                 scratch(models[m])));
        said("stdout", text, sizeof text);
        json_t *json = json_loads(text, 0, NULL);
        assert_non_null(json);
        double sum = 0;
        for (int i = 0; i < 3; i++) {
            const json_t *part = json_object_get(json, parts[i]);
            const double once = json_number_value(json_object_get(part, "seconds")) / 2;
            const double share = json_number_value(json_object_get(part, "image_seconds"));
            assert_true(json_number_value(json_object_get(part, "flop")) > 0);
            assert_true(once > 0 && fabs(share - (i == 1 ? 6 : 1) * once) < 1e-9);
            sum += share;
        }
        assert_true(fabs(json_number_value(json_object_get(json, "image_seconds")) - sum) < 1e-9);
        json_decref(json);
    }
    must(run("bench %s --part text --batch 1 --repeats 1", scratch("sd15")));
    said("stdout", text, sizeof text);
    assert_non_null(strstr(text, "text encoders"));
    assert_int_equal(run("bench %s --part text --vjp", scratch("sd15")), 2);
    assert_int_equal(run("bench %s --part text --repeats 1", scratch("flux.safetensors")), 1);
    stderr_has("CLIP-L (--clip-l), T5 (--t5)");
}

/* ---- pictures again -------------------------------------------------------------------------- */

static void pictures_are_made_again_bit_by_bit(void **state)
{
    (void)state;
    for (int m = 0; m < N_MODELS; m++) {
        char name[64], more[600];
        (void)snprintf(name, sizeof name, "b%d0/images/000001.png", m); // of the second prompt
        (void)snprintf(more, sizeof more, "-o %s/again.png", fixture_folder);
        json_t *json = replayed(name, more, 0);
        assert_true(json_is_true(json_object_get(json, "identical")));
        assert_int_equal(json_array_size(json_object_get(json, "remarks")), 0);
        json_decref(json);
        // and what was made again is such a picture itself, wherever it lies
        (void)snprintf(more, sizeof more, "--model %s", scratch(models[m]));
        json_decref(replayed("again.png", more, 0));
    }
}

static void class_conditional_pictures_are_made_again(void **state)
{
    (void)state;
    const char *model = data("../../models/fashion"), *plain = data("ddpm-unet-d/model");
    must(run("generate %s -n 3 --labels 1,0,2 --steps 4 --sampler ddim --eta 0.5 --cfg-scale 2 "
             "--seed 18446744073709551615 -o %s/classes " ONE_THREAD,
             model, fixture_folder));
    json_decref(replayed("classes/images/000002.png", "", 0));
    char more[1200];
    (void)snprintf(more, sizeof more, "--schedule %s",
                   data("sched-ddim/leading0-cifar-clip/scheduler_config.json"));
    must(run(
        "generate %s --schedule %s -n 2 --steps 5 --guide --uncertainty -o %s/guided " ONE_THREAD,
        plain, data("sched-ddim/leading0-cifar-clip/scheduler_config.json"), fixture_folder));
    json_decref(replayed("guided/images/000001.png", more, 0));
    // without its schedule the plan is another: no longer the same, and told
    char text[8192];
    const int code = run("replay %s/guided/images/000001.png " ONE_THREAD, fixture_folder);
    said("stderr", text, sizeof text);
    assert_int_equal(code, 1);
    assert_true(strstr(text, "plan_sha256") || strstr(text, "schedule"));
}

/* ---- what is in the chunks ------------------------------------------------------------------- */

static void write_picture(const char *key, const char *text)
{
    static uint8_t pixels[16 * 16 * 3];
    aleat_error err = {0};
    const aleat_image image = {16, 16, 3, pixels};
    const aleat_png_text texts[] = {{key, text}};
    assert_ok(aleat_png_write(scratch("hostile.png"), &image, texts, text ? 1 : 0, &err), &err);
}

static void other_programs_find_the_settings(void **state)
{
    (void)state;
    aleat_error err = {0};
    char *text;
    assert_ok(aleat_png_read_text(&text, scratch("b00/images/000001.png"), "parameters", &err),
              &err);
    assert_non_null(text);
    static const char begin[] = "a dog, \"asleep\":\nn\xc3\xa4mlich\nSteps: 3, Sampler: PLMS, CFG "
                                "scale: 7.5, Seed: 3, Size: 16x24, Model hash: ";
    if (strncmp(text, begin, sizeof begin - 1))
        fail_msg("%s", text);
    aleat_free(text);
}

static void hostile_chunks_are_refused(void **state)
{
    (void)state;
#define HEAD "{\"image\":0,\"sampler\":\"ddim\",\"plan_sha256\":\"0\",\"seed\":\"1\","
    static const struct {
        const char *key, *text, *says;
    } cases[] = {
        {"x", NULL, "does not tell how it was made"},
        {"aleat", "", "hostile.png"},
        {"aleat", "{", "hostile.png"},
        {"aleat", "[]", "hostile.png"},
        {"aleat", "{}", "'image'"},
        {"aleat", HEAD "\"steps\":5,\"height\":4}", "'width'"},
        {"aleat", HEAD "\"steps\":5,\"height\":-4,\"width\":4}", "'height'"},
        {"aleat", HEAD "\"steps\":5,\"height\":4,\"width\":99999999999}", "'width'"},
        {"aleat", HEAD "\"steps\":\"many\",\"height\":4,\"width\":4}", "'steps'"},
        {"aleat", HEAD "\"steps\":0,\"height\":4,\"width\":4}", "'steps'"},
        {"aleat", HEAD "\"steps\":5,\"height\":4,\"width\":4,\"guide_steps\":\"5:1\"}",
         "'guide_steps'"},
        {"aleat", HEAD "\"steps\":5,\"height\":4,\"width\":4,\"label\":1e99}", "'label'"},
        {"aleat", HEAD "\"steps\":5,\"height\":4,\"width\":4,\"context_sha256\":\"0\"}",
         "'prompt'"},
        {"aleat", HEAD "\"steps\":5,\"height\":4,\"width\":4}", "--model"},
        {"aleat", HEAD "\"steps\":5,\"height\":4,\"width\":4,\"initial_sha256\":\"0\"}", "--model"},
        {"parameters", "a cat", "lack"},
        {"parameters", "a cat\nSteps: 20, Seed: -1, Size: 512x512", "Seed"},
        {"parameters", "a cat\nSteps: 1e9, Seed: 1, Size: 512x512", "Steps"},
        {"parameters", "a cat\nSteps: 20, Seed: 1, Size: 512", "Size"},
        {"parameters", "a cat\nSteps: 20, Seed: 1, Size: 16x16", "--model"},
        {"prompt", "{", "hostile.png"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_picture(cases[i].key, cases[i].text);
        assert_int_equal(run("replay %s/hostile.png", fixture_folder), 1);
        stderr_has(cases[i].says);
    }
    assert_int_equal(run("replay %s/nothing.png", fixture_folder), 1);
    stderr_has("nothing.png");
    assert_int_equal(run("replay"), 2);
}

static void missing_encoders_are_named_with_their_options(void **state)
{
    (void)state;
    static const struct {
        const char *model, *options, *says; // %s: the scratch folder
    } cases[] = {
        {"flux", "", "CLIP-L (--clip-l), T5 (--t5)"},
        {"flux", "", "--encoders"},
        {"flux", "--clip-l %s/flux-clip_l.safetensors", "a text encoder is not there: T5 (--t5)"},
        {"flux", "--clip-l %s/flux-clip_l.safetensors --t5 %s/sd3-clip_g.safetensors",
         "sd3-clip_g.safetensors: there is no T5 text encoder"},
        {"flux", "--clip-l %s/nothing.safetensors --encoders %s/flux", "nothing.safetensors"},
        {"flux", "--clip-g %s/sd3-clip_g.safetensors", "has no CLIP-G (--clip-g)"},
        {"flux", "--encoders %s/flux --clip-l %s/sd3-clip_l.safetensors --tokenizer %s/flux",
         "pooled texts are 16 wide, the network wants 24"},
        {"sd3-transformer", "", "CLIP-L (--clip-l), CLIP-G (--clip-g), T5 (--t5)"},
        {"sd3-transformer", "--clip-l %s/sd3-clip_l.safetensors --clip-g %s/sd3-clip_g.safetensors",
         "--no-t5"},
        {"sd3", "--no-t5 --t5 %s/sd3-t5xxl.safetensors", "--no-t5"},
        {"sd3",
         "--clip-l %s/sd3-clip_g.safetensors --clip-g %s/sd3-clip_l.safetensors --no-t5 "
         "--tokenizer %s/sd3",
         "may have changed places"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char options[512];
        const char *f = fixture_folder;
        (void)snprintf(options, sizeof options, cases[i].options, f, f, f);
        assert_int_equal(run("generate %s/%s.safetensors --prompt x --decoder %s/sd3 --size 32x32 "
                             "-o %s/e " ONE_THREAD " %s",
                             f, cases[i].model, f, f, options),
                         1);
        stderr_has(cases[i].says);
    }
    assert_false(aleat_is_dir(scratch("e")));
}

static void what_does_not_go_together_is_said(void **state)
{
    (void)state;
    const char *plain = data("ddpm-unet-d/model");
    assert_int_equal(run("generate %s --negative-prompt x -o %s/e", plain, fixture_folder), 2);
    stderr_has("--prompt");
    assert_int_equal(
        run("generate %s --prompt x --size 8x8 --width 8 -o %s/e", plain, fixture_folder), 2);
    assert_int_equal(run("generate %s --cfg-scale 0 -o %s/e", plain, fixture_folder), 2);
    assert_int_equal(run("generate %s --prompt x -o %s/e", plain, fixture_folder), 1);
    stderr_has("prompts are for Stable Diffusion");
    const char *sd15 = scratch("sd15");
    assert_int_equal(run("generate %s -o %s/e", sd15, fixture_folder), 1);
    stderr_has("--prompt");
    assert_int_equal(run("generate %s --prompt x --size 101x64 -o %s/e", sd15, fixture_folder), 1);
    stderr_has("multiples of 2");
    assert_int_equal(run("generate %s --prompt x --no-t5 -o %s/e", sd15, fixture_folder), 1);
    stderr_has("T5");
    assert_int_equal(run("generate %s --prompt x --guidance 3 -o %s/e", sd15, fixture_folder), 1);
    stderr_has("guidance");
    assert_int_equal(run("generate %s --prompt \xff -o %s/e", sd15, fixture_folder), 1);
    stderr_has("UTF-8");
    // the first state of a flow is pure noise
    assert_int_equal(run("generate %s --prompt x --size 16x24 --steps 3 --uncertainty "
                         "--score-steps 0:3 -o %s/e",
                         scratch("sd3"), fixture_folder),
                     1);
    stderr_has("pure noise");
    assert_false(aleat_is_dir(scratch("e"))); // nothing was begun
}

static int make_pipelines(void **state)
{
    const int made = make_scratch(state);
    if (!made) {
        make_stable_diffusion("sd15");
        make_sd3();
        make_flux();
    }
    return made;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipelines_give_what_the_reference_gives),
        cmocka_unit_test(no_bit_depends_on_batch_threads_and_kills),
        cmocka_unit_test(a_folder_and_a_single_file_are_the_same_model),
        cmocka_unit_test(a_prompt_gives_the_same_image_alone),
        cmocka_unit_test(every_prompt_may_have_its_negative),
        cmocka_unit_test(a_lone_autoencoder_follows_its_model),
        cmocka_unit_test(bench_splits_the_time_of_an_image),
        cmocka_unit_test(pictures_are_made_again_bit_by_bit),
        cmocka_unit_test(other_programs_find_the_settings),
        cmocka_unit_test(class_conditional_pictures_are_made_again),
        cmocka_unit_test(hostile_chunks_are_refused),
        cmocka_unit_test(missing_encoders_are_named_with_their_options),
        cmocka_unit_test(what_does_not_go_together_is_said),
    };
    return cmocka_run_group_tests(tests, make_pipelines, remove_scratch);
}
