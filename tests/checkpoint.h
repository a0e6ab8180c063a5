/*
 * Checkpoints from a list of tensors ({"tensors": [[name, shape], ...]}), as safetensors: filled by
 * a formula of name and index, so that networks of full topology need no stored weights, or empty.
 */
#ifndef ALEAT_TESTS_CHECKPOINT_H
#define ALEAT_TESTS_CHECKPOINT_H

#include "io_fixture.h"

#include <jansson.h>
#include <math.h>

static inline uint64_t name_hash(const char *name)
{
    uint64_t h = 0xcbf29ce484222325; // FNV-1a
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3;
    return h;
}

/* In [-1, 1), exact in float: output i of splitmix64 with that state. */
static inline double formula(uint64_t state, uint64_t i)
{
    uint64_t z = state + (i + 1) * 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    z ^= z >> 31;
    return (double)(z >> 40) * 0x1p-23 - 1;
}

static inline bool name_ends(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && !strcmp(name + n - m, end);
}

static inline int64_t tensor_count(json_t *shape)
{
    int64_t count = 1;
    for (size_t i = 0; i < json_array_size(shape); i++)
        count *= json_integer_value(json_array_get(shape, i));
    return count;
}

/* Middle and width of a tensor's values: statistics, tables, gains, biases, and matrices of gain 1,
 * or, in Inception, of the gain that a ReLU asks for. */
static inline void value_range(const char *name, json_t *shape, double *a, double *b)
{
    const bool table = name_ends(name, "label_emb.weight") || name_ends(name, "pos_embed") ||
                       name_ends(name, "positional_embedding") ||
                       name_ends(name, "token_embedding.weight") ||
                       name_ends(name, "position_embedding.weight") ||
                       name_ends(name, "shared.weight") || name_ends(name, "embed_tokens.weight");
    const bool vector = json_array_size(shape) <= 1;
    const bool var = name_ends(name, "running_var");
    const bool relu = !strncmp(name, "Conv2d_", 7) || !strncmp(name, "Mixed_", 6);
    *a = var || (!table && vector && name_ends(name, ".weight")) ? 1 : 0;
    if (var || name_ends(name, "running_mean"))
        *b = var ? 0.5 : 0.25;
    else if (table)
        *b = 0.5;
    else if (vector)
        *b = *a != 0 ? 0.25 : 0.125;
    else {
        const int64_t rows = json_integer_value(json_array_get(shape, 0));
        *b = (float)sqrt((relu ? 6.0 : 3.0) / (double)(tensor_count(shape) / rows));
    }
}

static inline json_t *header_of(json_t *tensors, int64_t *bytes)
{
    json_t *header = json_object();
    *bytes = 0;
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        json_t *shape = json_array_get(json_array_get(tensors, i), 1);
        const int64_t end = *bytes + 4 * tensor_count(shape);
        json_object_set_new(header,
                            json_string_value(json_array_get(json_array_get(tensors, i), 0)),
                            json_pack("{s:s, s:O, s:[I, I]}", "dtype", "F32", "shape", shape,
                                      "data_offsets", (json_int_t)*bytes, (json_int_t)end));
        *bytes = end;
    }
    return header;
}

static inline void write_values(FILE *file, const char *name, json_t *shape)
{
    float block[1024];
    double a, b;
    const int64_t count = tensor_count(shape);
    const uint64_t state = name_hash(name);
    value_range(name, shape, &a, &b);
    for (int64_t i = 0; i < count;) {
        size_t n = 0;
        for (; n < 1024 && i < count; n++, i++)
            block[n] = (float)(a + b * formula(state, (uint64_t)i));
        assert_int_equal(fwrite(block, sizeof *block, n, file), n);
    }
}

/* Without values the file is a hole: it takes no room on disk, and its tensors are zero. */
static inline void write_checkpoint(const char *path, json_t *tensors, bool values)
{
    int64_t bytes;
    json_t *header = header_of(tensors, &bytes);
    char *text = json_dumps(header, JSON_COMPACT);
    const uint64_t len = strlen(text);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(&len, sizeof len, 1, file), 1);
    assert_int_equal(fwrite(text, 1, len, file), len);
    for (size_t i = 0; values && i < json_array_size(tensors); i++) {
        json_t *tensor = json_array_get(tensors, i);
        write_values(file, json_string_value(json_array_get(tensor, 0)), json_array_get(tensor, 1));
    }
    assert_int_equal(fflush(file), 0);
    assert_int_equal(ftruncate(fileno(file), (off_t)(8 + len) + bytes), 0);
    assert_int_equal(fclose(file), 0);
    free(text);
    json_decref(header);
}

/* The same for the list in a file. */
static inline void write_checkpoint_of(const char *path, const char *shapes)
{
    json_t *all = json_load_file(shapes, 0, NULL);
    assert_non_null(all);
    write_checkpoint(path, json_object_get(all, "tensors"), true);
    json_decref(all);
}

#endif
