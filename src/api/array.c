#include "aleat/array.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/npy.h"

static_assert(ALEAT_ARRAY_DIMS == ALEAT_MAX_DIMS, "arrays and tensors have the same dimensions");

static aleat_shape shape_of(const aleat_array *array)
{
    aleat_shape shape = {.n_dims = array->n_dims};
    memcpy(shape.dim, array->dim, sizeof shape.dim);
    return shape;
}

// Takes an owned f32 tensor over.
static void take(aleat_array *out, aleat_tensor *tensor)
{
    out->n_dims = tensor->shape.n_dims;
    memcpy(out->dim, tensor->shape.dim, sizeof out->dim);
    out->data = tensor->data;
    memset(tensor, 0, sizeof *tensor);
}

aleat_status aleat_array_new(aleat_array *out, int n_dims, const int64_t *dim, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    if (n_dims < 0 || n_dims > ALEAT_ARRAY_DIMS)
        return aleat_fail(err, ALEAT_ERR_SHAPE,
                          "an array of %d dimensions: at most %d are possible", n_dims,
                          ALEAT_ARRAY_DIMS);
    aleat_shape shape = {.n_dims = n_dims};
    if (n_dims)
        memcpy(shape.dim, dim, (size_t)n_dims * sizeof *dim);
    aleat_tensor tensor;
    aleat_status st = aleat_tensor_new(&tensor, ALEAT_F32, &shape, err);
    if (!st)
        take(out, &tensor);
    return st;
}

void aleat_array_clear(aleat_array *array)
{
    if (!array)
        return;
    aleat_free(array->data);
    memset(array, 0, sizeof *array);
}

int64_t aleat_array_count(const aleat_array *array)
{
    int64_t count = 1;
    for (int i = 0; i < array->n_dims; i++)
        count *= array->dim[i];
    return count;
}

aleat_status aleat_array_read(aleat_array *out, const char *path, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_tensor tensor;
    aleat_status st = aleat_npy_read_f32(&tensor, path, err);
    if (!st)
        take(out, &tensor);
    return st;
}

aleat_status aleat_array_write(const char *path, const aleat_array *array, aleat_error *err)
{
    const aleat_shape shape = shape_of(array);
    const aleat_tensor view = aleat_tensor_view(ALEAT_F32, &shape, array->data);
    return aleat_npy_write(path, &view, err);
}
