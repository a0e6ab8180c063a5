/* Training of classifiers: what an image becomes, what is refused, and that features come out. The
 * gradient of the loss and everything that tasks share is in test_train.c. */
#include "case.h"
#include "numbers.h"

#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>

#include "aleat/aleat.h"
#include "train/task.h"

enum { IMAGES = 24, SIDE = 8, CLASSES = 3, STEPS = 150 };

#define CONFIG                                                                                     \
    "{\"_class_name\": \"PreActResNet\", \"sample_size\": 12, \"in_channels\": 1, "                \
    "\"block_out_channels\": [8, 16], \"layers_per_block\": 1, \"num_classes\": 7, "               \
    "\"norm_num_groups\": 4}"

/* ---- data ------------------------------------------------------------------------------------ */

// A third of the lines is bright: which, says the class.
static uint8_t toy_pixel(int64_t image, int64_t p)
{
    const int64_t third = p / SIDE * CLASSES / SIDE;
    return (uint8_t)(third == image % CLASSES ? 200 + image : (image * 31 + p * 7) % 60);
}

static void put_word(FILE *file, uint32_t word)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        (void)fputc((int)(word >> shift & 255), file);
}

static void write_part(const char *folder, const char *part)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s-images-idx3-ubyte", folder, part);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    put_word(file, 0x803);
    put_word(file, IMAGES);
    put_word(file, SIDE);
    put_word(file, SIDE);
    for (int64_t i = 0; i < IMAGES * SIDE * SIDE; i++)
        (void)fputc(toy_pixel(i / (SIDE * SIDE), i % (SIDE * SIDE)), file);
    assert_int_equal(fclose(file), 0);
    (void)snprintf(path, sizeof path, "%s/%s-labels-idx1-ubyte", folder, part);
    file = fopen(path, "wb");
    assert_non_null(file);
    put_word(file, 0x801);
    put_word(file, IMAGES);
    for (int64_t i = 0; i < IMAGES; i++)
        (void)fputc((int)(i % CLASSES), file);
    assert_int_equal(fclose(file), 0);
}

static int make_data(void **state)
{
    if (make_scratch(state))
        return -1;
    write_part(fixture_folder, "train");
    write_part(fixture_folder, "t10k");
    assert_int_equal(aleat_write_file(scratch("config.json"), CONFIG, strlen(CONFIG), NULL),
                     ALEAT_OK);
    return 0;
}

static aleat_train_options toy(char *config, char *out)
{
    aleat_train_options o;
    aleat_train_defaults(&o);
    o.config = config;
    o.data = fixture_folder;
    o.out = out;
    o.task = "classify";
    o.seed = 5;
    o.batch = 8;
    o.steps = STEPS;
    o.warmup = 5;
    o.rate = 5e-3;
    o.average = 0.9;
    o.shift = 1;
    o.threads = 1;
    o.checkpoint_seconds = 1e9;
    o.sample_every = 10; // there is nothing to see: ignored
    o.validate_every = STEPS;
    o.dtype = "f32";
    return o;
}

/* ---- what the network is fed ----------------------------------------------------------------- */

// Every move of up to 2 pixels comes up, nothing else, and what leaves the image is gone.
static void images_are_moved_with_black_around(void **state)
{
    (void)state;
    enum { FRAME = 9, SHIFT = 2, MOVES = 2 * SHIFT + 1 };
    uint8_t pixels[FRAME * FRAME] = {0};
    int32_t label = 1;
    pixels[4 * FRAME + 4] = 255; // in the middle
    pixels[0] = 255;             // in a corner, which half of the moves push out
    const aleat_dataset data = {.count = 1,
                                .height = FRAME,
                                .width = FRAME,
                                .channels = 1,
                                .pixels = pixels,
                                .labels = &label,
                                .classes = 2};
    const aleat_problem problem = {.task = &aleat_task_classify, .data = &data, .shift = SHIFT};
    const aleat_denoiser_info info = {
        .channels = 1, .height = FRAME, .width = FRAME, .out_channels = 2};
    int seen[MOVES * MOVES] = {0};
    for (int step = 0; step < 400; step++) {
        float x[FRAME * FRAME], target[2];
        const aleat_example example = {.step = step, .x = x, .target = target};
        aleat_task_classify.feed(&problem, &info, &example);
        assert_true(target[0] == 0 && target[1] == 1);
        int at = 0;
        while (x[at] < 0.5f || at / FRAME < SHIFT || at % FRAME < SHIFT || at / FRAME > 6 ||
               at % FRAME > 6)
            at++;
        // The corner's pixel may have come into this square, too: the other is 4 lines below.
        if (at + 4 * FRAME + 4 < FRAME * FRAME && x[at + 4 * FRAME + 4] > 0.5f)
            at += 4 * FRAME + 4;
        const int dy = at / FRAME - 4, dx = at % FRAME - 4;
        assert_true(dy >= -SHIFT && dy <= SHIFT && dx >= -SHIFT && dx <= SHIFT);
        seen[(dy + SHIFT) * MOVES + dx + SHIFT]++;
        for (int i = 0; i < FRAME * FRAME; i++) {
            const int y = i / FRAME - dy, z = i % FRAME - dx;
            const bool inside = y >= 0 && z >= 0 && y < FRAME && z < FRAME;
            assert_true(x[i] == (inside && pixels[y * FRAME + z] ? 1.0f : -1.0f));
        }
    }
    for (int i = 0; i < MOVES * MOVES; i++)
        assert_true(seen[i] > 0); // each is missed with probability 1e-7
}

static void the_loss_is_the_cross_entropy(void **state)
{
    (void)state;
    const float out[3] = {500, 501, 498}, target[3] = {0, 0, 1};
    const double p[3] = {exp(-1), 1, exp(-3)}, sum = p[0] + p[1] + p[2];
    float slope[3];
    const double loss = aleat_task_classify.compare(out, target, 3, 4, slope);
    assert_near(loss, 3 + log(sum), 1e-12, "loss");
    for (int c = 0; c < 3; c++)
        assert_near(slope[c], (p[c] / sum - (double)target[c]) / 4, 1e-7, "slope %d", c);
}

static void what_cannot_be_learned_is_said(void **state)
{
    (void)state;
    int32_t label = 0;
    aleat_dataset data = {.count = 1, .height = 8, .width = 8, .channels = 1, .classes = 2};
    aleat_problem problem = {.task = &aleat_task_classify, .data = &data};
    const aleat_denoiser_info info = {.channels = 1, .height = 8, .width = 8, .out_channels = 2};
    aleat_error err = {0};
    assert_failed(aleat_task_classify.check(&problem, &info, &err), ALEAT_ERR_ARGUMENT, &err,
                  "a classifier needs labels");
    data.labels = &label;
    assert_ok(aleat_task_classify.check(&problem, &info, &err), &err);
    data.classes = 3;
    assert_failed(aleat_task_classify.check(&problem, &info, &err), ALEAT_ERR_SHAPE, &err,
                  "has 2 classes, the data set needs 3");
    data.classes = 2;
    problem.shift = 8; // would leave nothing of the image
    assert_failed(aleat_task_classify.check(&problem, &info, &err), ALEAT_ERR_ARGUMENT, &err,
                  "--shift 8 moves images out of their 8x8 pixels");
    problem.shift = 7;
    assert_ok(aleat_task_classify.check(&problem, &info, &err), &err);
    data.width = 9;
    assert_failed(aleat_task_classify.check(&problem, &info, &err), ALEAT_ERR_SHAPE, &err,
                  "images are 8x9x1, the network takes 8x8x1");

    char config[512], out[512];
    (void)snprintf(config, sizeof config, "%s", case_path("data/ddpm-unet-d", "model/config.json"));
    (void)snprintf(out, sizeof out, "%s", scratch("other"));
    const aleat_train_options o = toy(config, out);
    if (!aleat_is_file(config))
        (void)snprintf(config, sizeof config, "%s",
                       case_path("data/ddpm-unet-d", "model/unet/config.json"));
    assert_failed(aleat_train(&o, NULL, &err), ALEAT_ERR_UNSUPPORTED, &err,
                  "family unet2d; the task 'classify' trains those of family preact_resnet");
}

/* ---- whole trainings ------------------------------------------------------------------------- */

static double accuracy_of(const char *model, const char *split)
{
    aleat_error err = {0};
    aleat_features *net;
    aleat_image_set *set;
    float features[IMAGES * 16], logits[IMAGES * CLASSES];
    int right = 0;
    assert_ok(aleat_features_open(&net, model, NULL, &err), &err);
    assert_ok(aleat_image_set_open(&set, fixture_folder, split, &err), &err);
    const aleat_features_facts facts = aleat_features_describe(net);
    assert_string_equal(facts.family, "preact_resnet");
    assert_int_equal(facts.dim, 16);
    assert_int_equal(facts.classes, CLASSES); // of the data set, not of the configuration
    const aleat_images images = aleat_image_set_images(set); // smaller than the network's
    assert_int_equal(images.n, IMAGES);
    assert_ok(aleat_features_run(net, &images, features, logits, &err), &err);
    aleat_softmax(logits, IMAGES, CLASSES);
    for (int i = 0; i < IMAGES; i++)
        right += logits[i * CLASSES + aleat_image_set_labels(set)[i]] > 0.5f;
    aleat_image_set_close(set);
    aleat_features_close(net);
    return (double)right / IMAGES;
}

// The last line's loss and accuracy.
static void read_validation(const char *path, double *loss, double *accuracy)
{
    aleat_error err = {0};
    aleat_mapping file;
    char line[256];
    assert_ok(aleat_mapping_open(&file, path, &err), &err);
    const char *text = (const char *)file.data, *last = text + file.len - 1;
    while (last > text && last[-1] != '\n')
        last--;
    (void)snprintf(line, sizeof line, "%.*s", (int)(text + file.len - last), last);
    aleat_mapping_close(&file);
    assert_int_equal(sscanf(line, "150,%*f,%lf,%*f,24,%lf", loss, accuracy), 2);
}

static void a_classifier_learns_and_gives_features(void **state)
{
    (void)state;
    char config[512], out[512], path[1024];
    (void)snprintf(config, sizeof config, "%s", scratch("config.json"));
    (void)snprintf(out, sizeof out, "%s", scratch("learns"));
    aleat_error err = {0};
    aleat_train_result result;
    const aleat_train_options o = toy(config, out);
    assert_ok(aleat_train(&o, &result, &err), &err);
    (void)snprintf(path, sizeof path, "%s/validation.csv", out);
    double loss = 0, accuracy = 0;
    read_validation(path, &loss, &accuracy);
    // Three kinds of images that differ plainly: guessing has a loss of ln 3.
    if (!(loss < 0.3 && accuracy == 1))
        fail_msg("loss %g, accuracy %g", loss, accuracy);
    assert_near(result.validation_loss, loss, 1e-6, "loss");
    (void)snprintf(path, sizeof path, "%s/model", out);
    assert_true(accuracy_of(path, "test") == 1);
    assert_true(accuracy_of(path, NULL) == 1);
}

typedef struct watch {
    int64_t kill_at;
} watch;

static bool deadly(void *ctx, const aleat_train_progress *p)
{
    if (p->step == ((const watch *)ctx)->kill_at)
        (void)kill(getpid(), SIGKILL);
    return true;
}

static void assert_same_file(const char *a, const char *b, const char *name)
{
    char path[1024];
    aleat_mapping files[2];
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", i ? b : a, name);
        assert_int_equal(aleat_mapping_open(&files[i], path, NULL), ALEAT_OK);
    }
    assert_int_equal(files[0].len, files[1].len);
    assert_memory_equal(files[0].data, files[1].data, files[0].len);
    for (int i = 0; i < 2; i++)
        aleat_mapping_close(&files[i]);
}

static void the_weights_do_not_depend_on_threads_nor_on_being_killed(void **state)
{
    (void)state;
    char config[512], whole[512], killed[512];
    (void)snprintf(config, sizeof config, "%s", scratch("config.json"));
    (void)snprintf(whole, sizeof whole, "%s", scratch("whole"));
    (void)snprintf(killed, sizeof killed, "%s", scratch("killed"));
    aleat_error err = {0};
    aleat_train_options o = toy(config, whole);
    o.flip = true;
    assert_ok(aleat_train(&o, NULL, &err), &err);
    o.out = killed;
    o.threads = 2;
    const pid_t child = fork(); // before this process has threads of its own
    if (child == 0) {
        watch w = {.kill_at = 33};
        o.threads = 1;
        o.checkpoint_seconds = 0;
        o.progress = deadly;
        o.ctx = &w;
        _exit(aleat_train(&o, NULL, NULL) != ALEAT_OK);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_ok(aleat_train(&o, NULL, &err), &err);
    assert_same_file(whole, killed, "checkpoint.safetensors");
    assert_same_file(whole, killed, "loss.csv");
    assert_same_file(whole, killed, "validation.csv");
    assert_same_file(whole, killed, "model/model.safetensors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_are_moved_with_black_around),
        cmocka_unit_test(the_loss_is_the_cross_entropy),
        cmocka_unit_test(what_cannot_be_learned_is_said),
        cmocka_unit_test(a_classifier_learns_and_gives_features),
        cmocka_unit_test(the_weights_do_not_depend_on_threads_nor_on_being_killed),
    };
    return cmocka_run_group_tests(tests, make_data, remove_scratch);
}
