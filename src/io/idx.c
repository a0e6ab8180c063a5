#include "io/idx.h"

#include <string.h>

#include "base/error.h"
#include "io/file.h"
#include "io/inflate.h"

static const struct {
    unsigned char code;
    aleat_dtype dtype;
} types[] = {
    {0x08, ALEAT_U8},  {0x09, ALEAT_I8},  {0x0b, ALEAT_I16},
    {0x0c, ALEAT_I32}, {0x0d, ALEAT_F32}, {0x0e, ALEAT_F64},
};

// Where bytes come from: memory, or memory that is inflated on the way.
typedef struct source {
    const unsigned char *data;
    size_t left;
    aleat_inflater *inflater; // NULL: not compressed
    size_t most;              // bytes that can come out
} source;

static aleat_status read_bytes(source *from, void *dst, size_t len, aleat_error *err)
{
    if (from->inflater)
        return aleat_inflate_read(from->inflater, dst, len, err);
    if (len > from->left)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "the file ends early");
    if (len)
        memcpy(dst, from->data, len);
    from->data += len;
    from->left -= len;
    return ALEAT_OK;
}

static aleat_status check_end(source *from, aleat_error *err)
{
    if (from->inflater)
        return aleat_inflate_finish(from->inflater, err);
    if (from->left > 0)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%zu bytes too many", from->left);
    return ALEAT_OK;
}

static uint32_t big_endian_32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static aleat_status read_header(source *from, aleat_dtype *dtype, aleat_shape *shape,
                                aleat_error *err)
{
    unsigned char magic[4] = {0}, dims[4 * ALEAT_MAX_DIMS] = {0};
    aleat_status st = read_bytes(from, magic, sizeof magic, err);
    if (st)
        return st;
    size_t type = 0;
    while (type < sizeof types / sizeof *types && types[type].code != magic[2])
        type++;
    if (magic[0] || magic[1] || type == sizeof types / sizeof *types || magic[3] > ALEAT_MAX_DIMS)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "not an IDX array");
    *dtype = types[type].dtype;
    *shape = (aleat_shape){.n_dims = magic[3]};
    st = read_bytes(from, dims, 4u * magic[3], err);
    for (int i = 0; i < shape->n_dims && !st; i++)
        shape->dim[i] = big_endian_32(dims + 4 * i);
    return st;
}

static void swap_bytes(unsigned char *data, size_t bytes, size_t size)
{
    for (size_t at = 0; size > 1 && at < bytes; at += size)
        for (size_t i = 0; i < size / 2; i++) {
            const unsigned char swapped = data[at + i];
            data[at + i] = data[at + size - 1 - i];
            data[at + size - 1 - i] = swapped;
        }
}

static aleat_status read_array(aleat_tensor *out, source *from, aleat_error *err)
{
    aleat_dtype dtype = ALEAT_U8;
    aleat_shape shape;
    size_t bytes;
    char text[200];
    aleat_status st = read_header(from, &dtype, &shape, err);
    if (st)
        return st;
    if (!aleat_shape_bytes(&shape, dtype, &bytes) || bytes > from->most)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "the file is too short for shape %s",
                          aleat_shape_text(&shape, text, sizeof text));
    st = aleat_tensor_new(out, dtype, &shape, err);
    if (!st)
        st = read_bytes(from, out->data, bytes, err);
    if (!st)
        st = check_end(from, err);
    if (st)
        aleat_tensor_clear(out);
    else
        swap_bytes(out->data, bytes, aleat_dtype_size(dtype));
    return st;
}

aleat_status aleat_idx_parse(aleat_tensor *out, const void *data, size_t len, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    source from = {.data = data, .left = len, .most = len};
    aleat_status st = ALEAT_OK;
    if (len > 2 && from.data[0] == 0x1f && from.data[1] == 0x8b) {
        st = aleat_inflate_open(&from.inflater, data, len, ALEAT_INFLATE_GZIP, err);
        from.most = len < SIZE_MAX / ALEAT_INFLATE_RATIO ? len * ALEAT_INFLATE_RATIO : SIZE_MAX;
    }
    if (!st)
        st = read_array(out, &from, err);
    aleat_inflate_free(from.inflater);
    return st;
}

aleat_status aleat_idx_read(aleat_tensor *out, const char *path, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_mapping file;
    aleat_status st = aleat_mapping_open(&file, path, err);
    if (st)
        return st;
    st = aleat_idx_parse(out, file.data, file.len, err);
    if (st)
        aleat_error_in(err, "%s", path);
    aleat_mapping_close(&file);
    return st;
}
