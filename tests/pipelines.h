/*
 * Complete tiny text-to-image pipelines in the scratch folder, as users have them: diffusers
 * folders, the same weights in one file, and encoders in files of their own. From the lists and
 * weights of tests/data/pipelines (ORIGIN.md there).
 */
#ifndef ALEAT_TESTS_PIPELINES_H
#define ALEAT_TESTS_PIPELINES_H

#include "case.h"
#include "checkpoint.h"
#include "collection.h"

#include "base/error.h"

/* ---- lists ----------------------------------------------------------------------------------- */

static inline json_t *open_list(const char *name)
{
    char file[64];
    (void)snprintf(file, sizeof file, "%s.json", name);
    json_t *list = json_load_file(case_path("data/pipelines", file), 0, NULL);
    assert_non_null(list);
    return list;
}

/* "a.weight[48:96]": the name and the rows, all of them (0 to -1) if none are told. */
static inline void split_source(const char *source, char name[512], int64_t *from, int64_t *to)
{
    long long a = 0, b = -1;
    (void)snprintf(name, 512, "%s", source);
    char *bracket = strchr(name, '[');
    if (bracket) {
        assert_int_equal(sscanf(bracket, "[%lld:%lld]", &a, &b), 2);
        *bracket = '\0';
    }
    *from = a;
    *to = b;
}

/* Tensors of a folder, [[name, shape], ...]: an entry is [name in one file, [names in the folder],
 * shape in one file, shape in the folder if it is another]. */
static inline json_t *tensors_of(json_t *entries)
{
    json_t *tensors = json_array(), *seen = json_object();
    for (size_t i = 0; i < json_array_size(entries); i++) {
        json_t *entry = json_array_get(entries, i), *sources = json_array_get(entry, 1);
        json_t *shape = json_array_get(entry, json_array_size(entry) > 3 ? 3 : 2);
        for (size_t j = 0; j < json_array_size(sources); j++) {
            char name[512];
            int64_t from, to;
            const char *source = json_string_value(json_array_get(sources, j));
            split_source(source, name, &from, &to);
            if (json_object_get(seen, name))
                continue;
            json_t *own = json_deep_copy(shape);
            if (to < 0) // several whole tensors lie below each other
                json_array_set_new(own, 0,
                                   json_integer(json_integer_value(json_array_get(shape, 0)) /
                                                (json_int_t)json_array_size(sources)));
            json_object_set_new(seen, name, json_true());
            json_array_append_new(tensors, json_pack("[s, o]", name, own));
        }
    }
    json_decref(seen);
    return tensors;
}

/* ---- folders --------------------------------------------------------------------------------- */

static inline void make_folder(const char *path)
{
    aleat_error err = {0};
    assert_ok(aleat_make_dirs(path, &err), &err);
}

/* Files of JSON that stand in a list. */
static inline void write_files(json_t *list, const char *folder)
{
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(list, "files"), name, value)
    {
        char path[1024];
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        *strrchr(path, '/') = '\0';
        make_folder(path);
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        assert_int_equal(json_dump_file(value, path, 0), 0);
    }
}

/* A part's weights by formula. */
static inline void make_part(json_t *list, const char *part, const char *folder)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", folder, part);
    make_folder(path);
    const bool text = !strncmp(part, "text_encoder", 12);
    (void)snprintf(path, sizeof path, "%s/%s/%s.safetensors", folder, part,
                   text ? "model" : "diffusion_pytorch_model");
    json_t *tensors = tensors_of(json_object_get(list, part));
    write_checkpoint(path, tensors, true);
    json_decref(tensors);
}

/* folder/part is what is stored in tests/data. */
static inline void link_part(const char *folder, const char *part, const char *stored)
{
    char path[2048], *target = realpath(case_path("data/.", stored), NULL);
    (void)snprintf(path, sizeof path, "%s/%s", folder, part);
    if (!target || symlink(target, path))
        fail_msg("%s: no such file to link to", stored);
    free(target);
}

/* ---- one file -------------------------------------------------------------------------------- */

static inline aleat_weights *open_part(const char *folder, const char *part)
{
    char path[1024];
    aleat_error err = {0};
    aleat_weights *weights;
    (void)snprintf(path, sizeof path, "%s/%s", folder, part);
    const bool text = !strncmp(part, "text_encoder", 12);
    assert_ok(aleat_weights_open_folder(&weights, path, text ? "model" : "diffusion_pytorch_model",
                                        NULL, &err),
              &err);
    return weights;
}

static inline float *joined(aleat_weights *weights, json_t *sources, const aleat_shape *shape)
{
    float *data = new_values(shape);
    int64_t at = 0;
    for (size_t j = 0; j < json_array_size(sources); j++) {
        char name[512];
        int64_t from, to;
        split_source(json_string_value(json_array_get(sources, j)), name, &from, &to);
        const aleat_weight *w = aleat_weights_find(weights, name);
        if (!w)
            fail_msg("no tensor '%s'", name);
        int64_t row = 1;
        for (int i = 1; i < w->shape.n_dims; i++)
            row *= w->shape.dim[i];
        to = to < 0 ? w->shape.dim[0] : to;
        for (int64_t i = from; i < to; i++, at += row)
            aleat_weight_row_to_f32(w, i, data + at);
    }
    int64_t count;
    assert_true(aleat_shape_count(shape, &count));
    assert_int_equal(at, count);
    return data;
}

/* A part's tensors by their names in one file, behind `root`. */
static inline void collect_part(collection *c, json_t *list, const char *part, const char *folder,
                                const char *root)
{
    aleat_weights *weights = open_part(folder, part);
    json_t *entries = json_object_get(list, part);
    for (size_t i = 0; i < json_array_size(entries); i++) {
        json_t *entry = json_array_get(entries, i), *dims = json_array_get(entry, 2);
        aleat_shape shape = {.n_dims = (int)json_array_size(dims)};
        char name[512];
        for (int d = 0; d < shape.n_dims; d++)
            shape.dim[d] = json_integer_value(json_array_get(dims, (size_t)d));
        (void)snprintf(name, sizeof name, "%s%s", root,
                       json_string_value(json_array_get(entry, 0)));
        collect(c, name, &shape, joined(weights, json_array_get(entry, 1), &shape));
    }
    aleat_weights_free(weights);
}

/* All of a part's tensors, whose names stay the same behind `root`. */
static inline void collect_all(collection *c, const char *part, const char *folder,
                               const char *root)
{
    aleat_weights *weights = open_part(folder, part);
    for (int64_t i = 0; i < aleat_weights_count(weights); i++) {
        const aleat_weight *w = aleat_weights_at(weights, i);
        char name[512];
        (void)snprintf(name, sizeof name, "%s%s", root, w->name);
        collect(c, name, &w->shape, values_of(w));
    }
    aleat_weights_free(weights);
}

/* ---- pipelines ------------------------------------------------------------------------------- */

/* Stable Diffusion 1 (or 2, whose encoder has OpenCLIP's names in one file and CLIP's cut
 * vocabulary here): NAME/, NAME.safetensors with everything in it, NAME-unet.safetensors with the
 * U-Net alone. */
static inline void make_stable_diffusion(const char *name)
{
    static const char *const parts[] = {"unet", "text_encoder", "vae"};
    char folder[256], file[512];
    static collection single;
    (void)snprintf(folder, sizeof folder, "%s/%s", fixture_folder, name);
    (void)snprintf(file, sizeof file, "%s.safetensors", folder);
    json_t *list = open_list(name);
    write_files(list, folder);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        make_part(list, parts[i], folder);
        collect_part(&single, list, parts[i], folder, "");
    }
    write_collection(&single, file);
    (void)snprintf(file, sizeof file, "%s-unet.safetensors", folder);
    collect_part(&single, list, "unet", folder, "");
    write_collection(&single, file);
    json_decref(list);
}

/* The autoencoder of 16 channels by formula, in the folder and in NAME-vae.safetensors. */
static inline void make_vae16(const char *folder)
{
    static collection alone;
    char file[512];
    json_t *list = open_list("vae16");
    make_part(list, "vae", folder);
    collect_part(&alone, list, "vae", folder, "");
    (void)snprintf(file, sizeof file, "%s-vae.safetensors", folder);
    write_collection(&alone, file);
    json_decref(list);
}

/* A tokenizer of the cut vocabulary that pads with "!". */
static inline void link_padding_tokenizer(const char *folder, const char *part)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", folder, part);
    make_folder(path);
    link_part(path, "vocab.json", "text-encoders/sd3/tokenizer/vocab.json");
    link_part(path, "merges.txt", "text-encoders/sd3/tokenizer/merges.txt");
    link_part(path, "tokenizer_config.json", "pipelines/sd3/tokenizer_2/tokenizer_config.json");
    link_part(path, "special_tokens_map.json", "pipelines/sd3/tokenizer_2/special_tokens_map.json");
}

/* Stable Diffusion 3 of the reference: sd3/, sd3.safetensors (all but the autoencoder), and
 * sd3-transformer, sd3-clip_l, sd3-clip_g, sd3-t5xxl and sd3-vae alone. */
static inline void make_sd3(void)
{
    static const char *const encoders[][3] = {
        {"text_encoder", "text_encoders.clip_l.transformer.", "sd3-clip_l.safetensors"},
        {"text_encoder_2", "text_encoders.clip_g.transformer.", "sd3-clip_g.safetensors"},
        {"text_encoder_3", "text_encoders.t5xxl.transformer.", "sd3-t5xxl.safetensors"}};
    static collection single;
    char folder[256];
    (void)snprintf(folder, sizeof folder, "%s", scratch("sd3"));
    json_t *list = open_list("sd3");
    write_files(list, folder);
    make_vae16(folder);
    link_part(folder, "model_index.json", "pipelines/sd3/model_index.json");
    link_part(folder, "scheduler", "pipelines/sd3/scheduler");
    link_part(folder, "transformer", "pipelines/sd3/transformer");
    link_part(folder, "text_encoder", "text-encoders/sd3/text_encoder");
    link_part(folder, "text_encoder_2", "pipelines/sd3/text_encoder_2");
    link_part(folder, "text_encoder_3", "pipelines/sd3/text_encoder_3");
    link_part(folder, "tokenizer", "text-encoders/sd3/tokenizer");
    link_padding_tokenizer(folder, "tokenizer_2");
    link_part(folder, "tokenizer_3", "pipelines/sd3/tokenizer_3");
    for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++) {
        collect_all(&single, encoders[i][0], folder, "");
        write_collection(&single, scratch(encoders[i][2]));
    }
    collect_part(&single, list, "transformer", folder, "");
    write_collection(&single, scratch("sd3-transformer.safetensors"));
    collect_part(&single, list, "transformer", folder, "");
    for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++)
        collect_all(&single, encoders[i][0], folder, encoders[i][1]);
    write_collection(&single, scratch("sd3.safetensors"));
    json_decref(list);
}

/* FLUX.1 dev of the reference: flux/, flux.safetensors (the transformer alone, as published), and
 * flux-clip_l, flux-t5xxl and flux-vae. */
static inline void make_flux(void)
{
    static collection single;
    char folder[256];
    (void)snprintf(folder, sizeof folder, "%s", scratch("flux"));
    json_t *list = open_list("flux");
    write_files(list, folder);
    make_vae16(folder);
    link_part(folder, "model_index.json", "pipelines/flux/model_index.json");
    link_part(folder, "scheduler", "pipelines/flux/scheduler");
    link_part(folder, "transformer", "pipelines/flux/transformer");
    link_part(folder, "text_encoder", "pipelines/flux/text_encoder");
    link_part(folder, "text_encoder_2", "text-encoders/flux/text_encoder_2");
    link_part(folder, "tokenizer", "text-encoders/sd3/tokenizer");
    link_part(folder, "tokenizer_2", "text-encoders/flux/tokenizer_2");
    collect_part(&single, list, "transformer", folder, "");
    write_collection(&single, scratch("flux.safetensors"));
    collect_all(&single, "text_encoder", folder, "");
    write_collection(&single, scratch("flux-clip_l.safetensors"));
    collect_all(&single, "text_encoder_2", folder, "");
    write_collection(&single, scratch("flux-t5xxl.safetensors"));
    json_decref(list);
}

#endif
