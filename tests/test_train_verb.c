/* `aleat train` from outside: killed, interrupted, given again, its model used at once. */
#include "tool.h"

#include <jansson.h>

#include "io/file.h"

enum { IMAGES = 40, SIDE = 8 };

static const char config[] =
    "{\"_class_name\": \"UNet2DModel\", \"sample_size\": 8, \"in_channels\": 1, "
    "\"out_channels\": 1, \"block_out_channels\": [16, 32], \"layers_per_block\": 1, "
    "\"down_block_types\": [\"DownBlock2D\", \"AttnDownBlock2D\"], \"up_block_types\": "
    "[\"AttnUpBlock2D\", \"UpBlock2D\"], \"attention_head_dim\": 8, \"norm_num_groups\": 4, "
    "\"num_class_embeds\": 2, \"dropout\": 0.1}";

/** Images of two kinds as IDX files without a test part, and a configuration. */
static int write_inputs(void **state)
{
    if (make_scratch(state))
        return -1;
    static unsigned char images[16 + IMAGES * SIDE * SIDE] = {0, 0, 8, 3,    0, 0, 0, IMAGES,
                                                              0, 0, 0, SIDE, 0, 0, 0, SIDE};
    static unsigned char labels[8 + IMAGES] = {0, 0, 8, 1, 0, 0, 0, IMAGES};
    for (int i = 0; i < IMAGES; i++) {
        labels[8 + i] = (unsigned char)(i % 2);
        for (int p = 0; p < SIDE * SIDE; p++)
            images[16 + i * SIDE * SIDE + p] = (unsigned char)(p % SIDE / 4 == i % 2 ? 250 - i : i);
    }
    return aleat_make_dirs(scratch("data"), NULL) ||
           aleat_write_file(scratch("data/train-images-idx3-ubyte"), images, sizeof images, NULL) ||
           aleat_write_file(scratch("data/train-labels-idx1-ubyte"), labels, sizeof labels, NULL) ||
           aleat_write_file(scratch("config.json"), config, sizeof config - 1, NULL);
}

#define TRAIN                                                                                      \
    "train %s/data --config %s/config.json --seed 5 --batch 6 --warmup 4 --threads 1 "             \
    "--validate-every 10 --sample-every 0 -o %s/"
#define WHERE fixture_folder, fixture_folder, fixture_folder

static void assert_same(const char *a, const char *b, const char *file)
{
    aleat_mapping maps[2] = {0};
    const char *const folders[] = {a, b};
    for (int i = 0; i < 2; i++) {
        char name[256];
        (void)snprintf(name, sizeof name, "%s/%s", folders[i], file);
        assert_int_equal(aleat_mapping_open(&maps[i], scratch(name), NULL), ALEAT_OK);
    }
    assert_int_equal(maps[0].len, maps[1].len);
    assert_memory_equal(maps[0].data, maps[1].data, maps[0].len);
    aleat_mapping_close(&maps[0]);
    aleat_mapping_close(&maps[1]);
}

static int64_t lines_of(const char *name)
{
    aleat_mapping file = {0};
    int64_t lines = 0;
    if (!aleat_is_file(scratch(name)) || aleat_mapping_open(&file, scratch(name), NULL))
        return 0;
    for (size_t i = 0; i < file.len; i++)
        lines += file.data[i] == '\n';
    aleat_mapping_close(&file);
    return lines;
}

static void a_killed_training_ends_in_the_same_bytes(void **state)
{
    (void)state;
    assert_int_equal(run(TRAIN "whole --steps 60 --cooldown 20 -q", WHERE), 0);
    // Killed at moments that nobody chose, with a checkpoint after every step.
    int killed = 0;
    for (int i = 0; i < 40; i++)
        if (run_for(60 + 37 * i, TRAIN "killed --steps 60 --cooldown 20 -q --checkpoint-every 0",
                    WHERE) == -1)
            killed++;
        else
            break;
    assert_true(killed > 0);
    assert_int_equal(run(TRAIN "killed --steps 60 --cooldown 20 -q", WHERE), 0);
    static const char *const files[] = {"checkpoint.safetensors",
                                        "model/unet/diffusion_pytorch_model.safetensors",
                                        "model/unet/config.json",
                                        "loss.csv",
                                        "validation.csv",
                                        "loss.png",
                                        "train.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_same("whole", "killed", files[i]);
    assert_int_equal(lines_of("whole/loss.csv"), 61);
    assert_int_equal(lines_of("whole/validation.csv"), 7);
}

static void an_interrupted_training_says_how_to_go_on(void **state)
{
    (void)state;
    char line[1024], text[2048];
    (void)snprintf(line, sizeof line, TRAIN "stopped --steps 100000 --warmup 10 --cooldown 1",
                   WHERE);
    const pid_t child = start(line);
    // Until it trains: the log is opened just before the first step.
    while (!aleat_is_file(scratch("stopped/loss.csv"))) {
        assert_int_equal(waitpid(child, NULL, WNOHANG), 0); // or it has ended by itself
        (void)nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    assert_int_equal(kill(child, SIGTERM), 0);
    assert_int_equal(finish(child), 1);
    said("stderr", text, sizeof text);
    assert_non_null(strstr(text, "of 100000 steps"));
    assert_non_null(strstr(text, "hint: the same command goes on from there"));
    assert_true(aleat_is_file(scratch("stopped/checkpoint.safetensors")));
    // And it does, to another end, since the cooldown has not begun.
    const int64_t done = lines_of("stopped/loss.csv") - 1;
    assert_int_equal(
        run(TRAIN "stopped --steps %d --warmup 10 --cooldown 1 --json", WHERE, (int)done + 20), 0);
    said("stdout", text, sizeof text);
    json_t *result = json_loads(text, 0, NULL);
    assert_non_null(result);
    assert_int_equal(json_integer_value(json_object_get(result, "steps")), done + 20);
    assert_int_equal(json_integer_value(json_object_get(result, "made")), 20);
    assert_int_equal(json_integer_value(json_object_get(result, "images")), 36); // a tenth held out
    assert_true(json_real_value(json_object_get(result, "validation_loss")) > 0);
    json_decref(result);
}

static void what_is_trained_can_be_sampled_from(void **state)
{
    (void)state;
    assert_int_equal(run(TRAIN
                         "short --steps 8 --prediction v_prediction --dtype bf16 --sample-every "
                         "4 --dropout 0.2 --label-drop 0.2",
                         WHERE),
                     0);
    assert_true(aleat_is_file(scratch("short/samples/step-000004.png")));
    assert_true(aleat_is_file(scratch("short/samples/step-000008.png")));
    assert_int_equal(run("generate %s/short/model -n 4 --labels all --steps 5 -q -o %s/run",
                         fixture_folder, fixture_folder),
                     0);
    assert_true(aleat_is_file(scratch("run/images/000003.png")));
    assert_int_equal(run("info %s/short/model", fixture_folder), 0);
    // Its weights are a beginning for another training.
    assert_int_equal(run(TRAIN "tuned --steps 4 --label-drop 0.2 -q --init %s/short/model", WHERE,
                         fixture_folder),
                     0);
}

// With a constant rate no rate would differ.
static void a_training_does_not_become_shorter(void **state)
{
    (void)state;
    char text[2048];
    static const char *const same = "shorter --warmup 0 --lr-schedule constant -q";
    assert_int_equal(run(TRAIN "%s --steps 4", WHERE, same), 0);
    assert_int_equal(run(TRAIN "%s --steps 2", WHERE, same), 1);
    said("stderr", text, sizeof text);
    assert_non_null(strstr(text, "--steps 4, not 2"));
}

static void wrong_usage_leaves_nothing_behind(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        int code;
        const char *says;
    } cases[] = {
        {"--steps 0", 2, "--steps: 0 is not within"},
        {"--lr -1", 2, "--lr: -1 is not within"},
        {"--prediction noise", 2, "is not one of: epsilon, v_prediction, sample"},
        {"--warmup 20000", 1, "--warmup 20000 and --cooldown 0 do not fit into --steps 10000"},
        {"--lr-schedule constant --cooldown 9", 1, "contradicts --lr-schedule constant"},
        {"--init /nowhere", 1, "/nowhere"},
        {"--data-format npz", 1, "data"},
    };
    char text[2048];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(run(TRAIN "none %s", WHERE, cases[i].options), cases[i].code);
        said("stderr", text, sizeof text);
        if (!strstr(text, cases[i].says))
            fail_msg("%s: %s", cases[i].options, text);
        assert_false(aleat_is_dir(scratch("none")));
    }
    assert_int_equal(run("train %s/data -o %s/none", fixture_folder, fixture_folder), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_training_ends_in_the_same_bytes),
        cmocka_unit_test(an_interrupted_training_says_how_to_go_on),
        cmocka_unit_test(what_is_trained_can_be_sampled_from),
        cmocka_unit_test(a_training_does_not_become_shorter),
        cmocka_unit_test(wrong_usage_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, write_inputs, remove_scratch);
}
