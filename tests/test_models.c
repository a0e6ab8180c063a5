#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "models/model.h"

/* ---- models in temporary folders, made by changing a good one -------------------------------- */

#define GOOD    "ddpm-unet-d/model" // one level of everything, scale_shift, 12 x 12
#define CONFIG  "config.json"
#define WEIGHTS "diffusion_pytorch_model.safetensors"

static char *data_path(const char *name)
{
    const char *root = getenv("ALEAT_TEST_DATA");
    assert_non_null(root);
    return aleat_path_join(root, name);
}

typedef struct folder {
    char path[64];
} folder;

static folder make_folder(void)
{
    folder f = {"/tmp/aleat-models-XXXXXX"};
    assert_non_null(mkdtemp(f.path));
    return f;
}

static void remove_folder(const folder *f)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", f->path);
    assert_int_equal(system(command), 0);
}

// Copies a file of the good model to folder/as, with the first `from` replaced by `to`.
static void copy_changed(const folder *f, const char *name, const char *as, const char *from,
                         const char *to)
{
    aleat_error err = {0};
    aleat_mapping map;
    char *root = data_path(GOOD);
    char *source = aleat_path_join(root, name), *target = aleat_path_join(f->path, as);
    assert_int_equal(aleat_mapping_open(&map, source, &err), ALEAT_OK);
    const unsigned char *at = from ? memmem(map.data, map.len, from, strlen(from)) : NULL;
    assert_true(!from || at);
    FILE *file = fopen(target, "wb");
    assert_non_null(file);
    const size_t before = from ? (size_t)(at - map.data) : map.len;
    assert_int_equal(fwrite(map.data, 1, before, file), before);
    if (from) {
        const size_t after = before + strlen(from);
        assert_int_equal(fwrite(to, 1, strlen(to), file), strlen(to));
        assert_int_equal(fwrite(map.data + after, 1, map.len - after, file), map.len - after);
    }
    assert_int_equal(fclose(file), 0);
    aleat_mapping_close(&map);
    aleat_free(root);
    aleat_free(source);
    aleat_free(target);
}

static folder with_config(const char *from, const char *to)
{
    const folder f = make_folder();
    copy_changed(&f, CONFIG, CONFIG, from, to);
    copy_changed(&f, WEIGHTS, WEIGHTS, NULL, NULL);
    return f;
}

// `to` is as long as `from`: the header of a safetensors file knows its own length.
static folder with_weights(const char *from, const char *to)
{
    assert_int_equal(strlen(from), strlen(to));
    const folder f = make_folder();
    copy_changed(&f, CONFIG, CONFIG, NULL, NULL);
    copy_changed(&f, WEIGHTS, WEIGHTS, from, to);
    return f;
}

static aleat_status open_model(const char *path, const aleat_model_options *options,
                               aleat_error *err)
{
    aleat_model_files model;
    memset(err, 0, sizeof *err);
    const aleat_status st = aleat_model_files_open(&model, path, options, err);
    aleat_model_files_close(&model);
    return st;
}

// Opening fails with this status and says each of the words.
static void assert_refused(folder f, aleat_status status, const char *word1, const char *word2)
{
    aleat_error err;
    assert_int_equal(open_model(f.path, NULL, &err), status);
    assert_non_null(strstr(err.message, word1));
    assert_non_null(strstr(err.message, word2));
    remove_folder(&f);
}

/* ---- configurations -------------------------------------------------------------------------- */

static void a_config_key_that_is_not_understood_is_an_error(void **state)
{
    (void)state;
    assert_refused(with_config("\"dropout\"", "\"use_magic\": true, \"dropout\""),
                   ALEAT_ERR_UNSUPPORTED, "config.json", "'use_magic'");
}

static void notes_of_the_writing_program_are_skipped(void **state)
{
    (void)state;
    aleat_error err;
    const folder f = with_config("\"dropout\"", "\"_name_or_path\": \"x\", \"dropout\"");
    assert_int_equal(open_model(f.path, NULL, &err), ALEAT_OK);
    remove_folder(&f);
}

static void config_values_are_checked_for_type_range_and_choice(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *word1, *word2;
        aleat_status status;
    } cases[] = {
        {"\"norm_num_groups\": 4", "\"norm_num_groups\": \"4\"", "norm_num_groups", "a string",
         ALEAT_ERR_FORMAT},
        {"\"norm_num_groups\": 4", "\"norm_num_groups\": null", "norm_num_groups", "null",
         ALEAT_ERR_FORMAT},
        {"\"norm_num_groups\": 4", "\"norm_num_groups\": 0", "norm_num_groups", "is 0",
         ALEAT_ERR_FORMAT},
        {"\"in_channels\": 1", "\"in_channels\": -1", "in_channels", "is -1", ALEAT_ERR_FORMAT},
        {"\"act_fn\": \"silu\"", "\"act_fn\": \"tanh\"", "act_fn", "'tanh'", ALEAT_ERR_UNSUPPORTED},
        {"\"DownBlock2D\"", "\"SkipDownBlock2D\"", "down_block_types", "'SkipDownBlock2D'",
         ALEAT_ERR_UNSUPPORTED},
        {"\"AttnUpBlock2D\",", "", "up_block_types", "2, 2 and 1", ALEAT_ERR_FORMAT},
        {"\"class_embed_type\": null", "\"class_embed_type\": \"identity\"", "class_embed_type",
         "identity", ALEAT_ERR_UNSUPPORTED},
        {"\"time_embedding_type\": \"positional\"", "\"time_embedding_type\": \"learned\"",
         "num_train_timesteps", "learned", ALEAT_ERR_FORMAT},
        {"\"sample_size\": 12", "\"sample_size\": [12, 12, 12]", "sample_size", "3 items",
         ALEAT_ERR_FORMAT},
        {"\"_class_name\": \"UNet2DModel\"", "\"_class_name\": \"UNet3DModel\"", "config.json",
         "'UNet3DModel'", ALEAT_ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(with_config(cases[i].from, cases[i].to), cases[i].status, cases[i].word1,
                       cases[i].word2);
}

static void the_effective_configuration_shows_defaults(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_model_files model;
    const folder f = with_config("\"act_fn\": \"silu\",", ""); // now by default
    assert_int_equal(aleat_model_files_open(&model, f.path, NULL, &err), ALEAT_OK);
    assert_non_null(strstr(model.config_text, "\"act_fn\": \"silu\""));
    assert_non_null(strstr(model.config_text, "\"class_embed_type\": null"));
    aleat_model_files_close(&model);
    remove_folder(&f);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static void images_that_do_not_halve_evenly_are_refused_with_the_next_size(void **state)
{
    (void)state;
    aleat_error err;
    const aleat_model_options odd = {.height = 13, .width = 16}, even = {.height = 14, .width = 16};
    char *path = data_path(GOOD);
    assert_int_equal(open_model(path, &odd, &err), ALEAT_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "13 x 16"));
    assert_non_null(strstr(err.hint, "14 x 16"));
    assert_int_equal(open_model(path, &even, &err), ALEAT_OK);
    aleat_free(path);
}

static void a_network_without_sample_size_asks_for_one(void **state)
{
    (void)state;
    aleat_error err;
    const aleat_model_options size = {.height = 12, .width = 20};
    char *path = data_path("ddpm-unet-c/model");
    assert_int_equal(open_model(path, NULL, &err), ALEAT_ERR_ARGUMENT);
    assert_non_null(strstr(err.hint, "height"));
    assert_int_equal(open_model(path, &size, &err), ALEAT_OK);
    aleat_free(path);
}

/* ---- tensors --------------------------------------------------------------------------------- */

static void a_missing_tensor_is_named(void **state)
{
    (void)state;
    assert_refused(with_weights("\"conv_out.bias\"", "\"conv_out.bxas\""), ALEAT_ERR_FORMAT,
                   "'conv_out.bias'", "safetensors");
}

static void a_tensor_of_another_shape_is_named_with_both_shapes(void **state)
{
    (void)state;
    assert_refused(with_weights("[8,1,3,3]", "[8,3,3,1]"), ALEAT_ERR_SHAPE, "[8,3,3,1]",
                   "[8,1,3,3]");
}

static void superfluous_tensors_are_counted_and_the_first_is_named(void **state)
{
    (void)state; // the middle attention: to_q, to_k, to_v, to_out, weight and bias each
    assert_refused(with_config("\"add_attention\": true", "\"add_attention\": false"),
                   ALEAT_ERR_FORMAT, "8 of ", "'mid_block.attentions.0.");
}

static void more_norm_groups_than_divide_the_channels_are_refused(void **state)
{
    (void)state;
    aleat_error err;
    const folder f = with_config("\"norm_num_groups\": 4", "\"norm_num_groups\": 3");
    assert_int_not_equal(open_model(f.path, NULL, &err), ALEAT_OK);
    assert_non_null(strstr(err.message, "3"));
    remove_folder(&f);
}

/* ---- recognition ----------------------------------------------------------------------------- */

static void every_layout_on_disk_opens_as_the_same_network(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool scheduler;
    } cases[] = {
        {"pipeline-newkeys", true},
        {"pipeline-newkeys/unet", true},
        {"pipeline-newkeys/unet/diffusion_pytorch_model.safetensors", true},
        {"flat-oldkeys", true},
        {"flat-legacy-bin", true},
        {"flat-fp16", true},
        {"bare-bf16", false},
        {"bare-views-bin", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err = {0};
        aleat_model_files model;
        char *root = data_path("ddpm-unet-formats");
        char *path = aleat_path_join(root, cases[i].path);
        if (aleat_model_files_open(&model, path, NULL, &err))
            fail_msg("%s: %s", cases[i].path, err.message);
        assert_string_equal(model.family, "unet2d");
        assert_int_equal(model.scheduler_path != NULL, cases[i].scheduler);
        assert_int_equal(model.info.channels, 3);
        assert_int_equal(model.info.out_channels, 3);
        assert_int_equal(model.info.height, 16);
        assert_int_equal(model.info.n_classes, 0);
        aleat_model_files_close(&model);
        aleat_free(root);
        aleat_free(path);
    }
}

static void what_is_not_a_model_is_told_what_was_looked_for(void **state)
{
    (void)state;
    aleat_error err;
    const folder f = make_folder();
    assert_int_equal(open_model("/nowhere/at/all", NULL, &err), ALEAT_ERR_IO);
    assert_non_null(strstr(err.message, "no such file or folder"));
    assert_int_equal(open_model(f.path, NULL, &err), ALEAT_ERR_FORMAT);
    assert_non_null(strstr(err.message, "unet/config.json"));
    copy_changed(&f, CONFIG, CONFIG, NULL, NULL); // weights are still missing
    assert_int_not_equal(open_model(f.path, NULL, &err), ALEAT_OK);
    assert_non_null(strstr(err.message, "diffusion_pytorch_model"));
    remove_folder(&f);
}

static void a_lone_file_that_no_family_knows_is_refused(void **state)
{
    (void)state;
    aleat_error err;
    const folder f = make_folder();
    copy_changed(&f, WEIGHTS, WEIGHTS, NULL, NULL);
    char *path = aleat_path_join(f.path, WEIGHTS);
    assert_int_equal(open_model(path, NULL, &err), ALEAT_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "no config.json"));
    const aleat_model_options forced = {.family = "unet2d"}, unknown = {.family = "unet9d"};
    assert_int_equal(open_model(path, &forced, &err), ALEAT_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "config.json"));
    assert_int_equal(open_model(path, &unknown, &err), ALEAT_ERR_ARGUMENT);
    assert_non_null(strstr(err.hint, "unet2d"));
    aleat_free(path);
    remove_folder(&f);
}

static void opening_survives_every_failing_allocation(void **state)
{
    (void)state;
    aleat_error err;
    char *path = data_path(GOOD);
    const uint64_t bytes = aleat_alloc_bytes();
    uint64_t n = 1;
    for (;; n++) {
        aleat_alloc_fail_at(n);
        const aleat_status st = open_model(path, NULL, &err);
        aleat_alloc_fail_at(0);
        assert_int_equal(aleat_alloc_bytes(), bytes);
        if (st == ALEAT_OK)
            break;
        assert_int_equal(st, ALEAT_ERR_MEMORY);
    }
    assert_true(n > 10);
    aleat_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_config_key_that_is_not_understood_is_an_error),
        cmocka_unit_test(notes_of_the_writing_program_are_skipped),
        cmocka_unit_test(config_values_are_checked_for_type_range_and_choice),
        cmocka_unit_test(the_effective_configuration_shows_defaults),
        cmocka_unit_test(images_that_do_not_halve_evenly_are_refused_with_the_next_size),
        cmocka_unit_test(a_network_without_sample_size_asks_for_one),
        cmocka_unit_test(a_missing_tensor_is_named),
        cmocka_unit_test(a_tensor_of_another_shape_is_named_with_both_shapes),
        cmocka_unit_test(superfluous_tensors_are_counted_and_the_first_is_named),
        cmocka_unit_test(more_norm_groups_than_divide_the_channels_are_refused),
        cmocka_unit_test(every_layout_on_disk_opens_as_the_same_network),
        cmocka_unit_test(what_is_not_a_model_is_told_what_was_looked_for),
        cmocka_unit_test(a_lone_file_that_no_family_knows_is_refused),
        cmocka_unit_test(opening_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
