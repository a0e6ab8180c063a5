/* Named arrays that become a checkpoint: layouts that a test writes anew from other weights. */
#ifndef ALEAT_TESTS_COLLECTION_H
#define ALEAT_TESTS_COLLECTION_H

#include "io_fixture.h"

#include "base/alloc.h"
#include "io/weights.h"

enum { MOST_ARRAYS = 512 };

typedef struct collection {
    aleat_named_array at[MOST_ARRAYS];
    int count;
} collection;

/* Takes over `data`. */
static inline void collect(collection *c, const char *name, const aleat_shape *shape, float *data)
{
    aleat_named_array *array = &c->at[c->count++];
    assert_in_range(c->count, 1, MOST_ARRAYS);
    array->name = aleat_strdup(name);
    array->array = aleat_tensor_view(ALEAT_F32, shape, data);
    array->array.owned = true;
}

/* Writes a safetensors file and empties the collection. */
static inline void write_collection(collection *c, const char *path)
{
    aleat_error err = {0};
    assert_ok(aleat_safetensors_write(path, c->at, c->count, &err), &err);
    for (int i = 0; i < c->count; i++) {
        aleat_free((char *)(uintptr_t)c->at[i].name);
        aleat_tensor_clear(&c->at[i].array);
    }
    c->count = 0;
}

static inline float *new_values(const aleat_shape *shape)
{
    int64_t count;
    assert_true(aleat_shape_count(shape, &count));
    float *data = aleat_alloc((size_t)count * sizeof *data);
    assert_non_null(data);
    return data;
}

static inline float *values_of(const aleat_weight *w)
{
    float *data = new_values(&w->shape);
    aleat_weight_to_f32(w, data);
    return data;
}

#endif
