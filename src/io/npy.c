/*
 * .npy: "\x93NUMPY", version, length of the header, the header as a Python dict {'descr': '<f4',
 * 'fortran_order': False, 'shape': (2, 3)}, the elements.
 */
#include "io/npy.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/npy_format.h"

#define MAGIC "\x93NUMPY"

// numpy's names of types, and the type that holds their values here. One line a type; the first of
// each dtype is the one that is written.
static const struct {
    char kind;
    int size;
    aleat_dtype dtype;
} types[] = {
    {'f', 4, ALEAT_F32},  {'f', 8, ALEAT_F64}, {'f', 2, ALEAT_F16}, {'u', 1, ALEAT_U8},
    {'i', 1, ALEAT_I8},   {'i', 2, ALEAT_I16}, {'i', 4, ALEAT_I32}, {'i', 8, ALEAT_I64},
    {'b', 1, ALEAT_BOOL}, {'u', 2, ALEAT_I32}, {'u', 4, ALEAT_I64}, {'u', 8, ALEAT_I64},
};

typedef struct npy_info {
    int type; // row of `types`, -1 until read
    bool big_endian, fortran_order, has_order, has_shape;
    aleat_shape shape;
} npy_info;

// The dict is read with a cursor that never passes `end`.
typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_space(cursor *c)
{
    while (c->at < c->end && isspace((unsigned char)*c->at))
        c->at++;
}

static bool accept(cursor *c, char wanted)
{
    skip_space(c);
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static bool accept_word(cursor *c, const char *word)
{
    const size_t len = strlen(word);
    skip_space(c);
    if ((size_t)(c->end - c->at) < len || memcmp(c->at, word, len) != 0)
        return false;
    c->at += len;
    return true;
}

// A quoted string without escapes into text (cut at size - 1).
static bool read_quoted(cursor *c, char *text, size_t size)
{
    skip_space(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
        return false;
    const char *begin = c->at + 1;
    const char *quote = memchr(begin, *c->at, (size_t)(c->end - begin));
    if (!quote)
        return false;
    (void)snprintf(text, size, "%.*s", (int)(quote - begin), begin);
    c->at = quote + 1;
    return true;
}

static bool read_shape(cursor *c, aleat_shape *shape)
{
    memset(shape, 0, sizeof *shape);
    if (!accept(c, '('))
        return false;
    while (!accept(c, ')')) {
        int64_t dim = 0;
        skip_space(c);
        const char *digits = c->at;
        for (; c->at < c->end && isdigit((unsigned char)*c->at); c->at++)
            if (__builtin_mul_overflow(dim, 10, &dim) ||
                __builtin_add_overflow(dim, *c->at - '0', &dim))
                return false;
        if (c->at == digits || shape->n_dims == ALEAT_MAX_DIMS)
            return false;
        (void)accept(c, 'L'); // Python 2's long
        shape->dim[shape->n_dims++] = dim;
        if (!accept(c, ',') && (skip_space(c), c->at == c->end || *c->at != ')'))
            return false;
    }
    return true;
}

static aleat_status read_type(cursor *c, npy_info *info, aleat_error *err)
{
    char text[32];
    if (!read_quoted(c, text, sizeof text))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "an array of records cannot be read");
    const char *name = strchr("<>|=", text[0]) && text[0] ? text + 1 : text;
    info->big_endian = text[0] == '>';
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char known[16];
        (void)snprintf(known, sizeof known, "%c%d", types[i].kind, types[i].size);
        if (!strcmp(known, name)) {
            info->type = (int)i;
            return ALEAT_OK;
        }
    }
    return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "elements of type '%s' are not supported", text);
}

static aleat_status read_dict(cursor *c, npy_info *info, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    bool good = accept(c, '{');
    while (good && !st && !accept(c, '}')) {
        char key[32];
        good = read_quoted(c, key, sizeof key) && accept(c, ':');
        if (good && !strcmp(key, "descr")) {
            st = read_type(c, info, err);
        } else if (good && !strcmp(key, "fortran_order")) {
            info->fortran_order = accept_word(c, "True");
            info->has_order = good = info->fortran_order || accept_word(c, "False");
        } else if (good && !strcmp(key, "shape")) {
            info->has_shape = good = read_shape(c, &info->shape);
        } else {
            good = false;
        }
        if (good && !st && !accept(c, ','))
            good = (skip_space(c), c->at < c->end && *c->at == '}');
    }
    if (!st && (!good || info->type < 0 || !info->has_order || !info->has_shape))
        st = aleat_fail(err, ALEAT_ERR_FORMAT,
                        "header of the array is not {'descr', 'fortran_order', 'shape'}");
    return st;
}

// Reads everything before the elements; *offset is where they begin.
static aleat_status parse_header(npy_info *info, size_t *offset, const unsigned char *data,
                                 size_t len, aleat_error *err)
{
    *info = (npy_info){.type = -1};
    if (len < 12 || memcmp(data, MAGIC, 6) != 0)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "not a numpy array");
    if (data[6] < 1 || data[6] > 3)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "version %d.%d of the format is not supported", data[6], data[7]);
    size_t dict_len = data[8] | (size_t)data[9] << 8, begin = 10;
    if (data[6] > 1) {
        dict_len |= (size_t)data[10] << 16 | (size_t)data[11] << 24;
        begin = 12;
    }
    if (dict_len > len - begin)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "header of %zu bytes in a file of %zu", dict_len,
                          len);
    const char *dict = (const char *)data + begin;
    cursor c = {dict, dict + dict_len};
    *offset = begin + dict_len;
    return read_dict(&c, info, err);
}

// One element of `size` bytes as the bits of the type that is stored.
static uint64_t load_bits(const unsigned char *src, int size, bool big_endian)
{
    uint64_t bits = 0;
    for (int i = 0; i < size; i++)
        bits |= (uint64_t)src[big_endian ? size - 1 - i : i] << (8 * i);
    return bits;
}

// Elements in any order and byte order, into C order; false if a value does not fit.
static bool copy_elements(aleat_tensor *out, const unsigned char *src, const npy_info *info)
{
    const int size = types[info->type].size, n_dims = out->shape.n_dims;
    const size_t out_size = aleat_dtype_size(out->dtype);
    const int64_t count = aleat_tensor_count(out);
    int64_t index[ALEAT_MAX_DIMS] = {0}, stride[ALEAT_MAX_DIMS] = {0}, step = 1;
    for (int k = 0; k < n_dims; k++) { // strides of the file, in elements
        const int dim = info->fortran_order ? k : n_dims - 1 - k;
        stride[dim] = step;
        step *= out->shape.dim[dim];
    }
    for (int64_t i = 0, at = 0; i < count; i++) {
        const uint64_t bits = load_bits(src + (size_t)at * (size_t)size, size, info->big_endian);
        if (types[info->type].kind == 'u' && bits > INT64_MAX)
            return false;
        memcpy((char *)out->data + (size_t)i * out_size, &bits, out_size);
        for (int k = n_dims - 1; k >= 0; k--) {
            at += stride[k];
            if (++index[k] < out->shape.dim[k])
                break;
            at -= stride[k] * index[k];
            index[k] = 0;
        }
    }
    return true;
}

// The header, and a check that all elements are there: `bytes` of them from `offset` on.
static aleat_status parse_whole(npy_info *info, size_t *offset, size_t *bytes,
                                const unsigned char *data, size_t len, aleat_error *err)
{
    aleat_status st = parse_header(info, offset, data, len, err);
    if (st)
        return st;
    int64_t count;
    if (!aleat_shape_count(&info->shape, &count) ||
        !aleat_size_mul((size_t)count, (size_t)types[info->type].size, bytes) ||
        *bytes > len - *offset) {
        char text[200];
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%zu bytes of elements are too few for shape %s",
                        len - *offset, aleat_shape_text(&info->shape, text, sizeof text));
        aleat_hint(err, "the file is incomplete");
    }
    return st;
}

// Whether the file's elements are those of a tensor as they stand: u8, or a signed type, in order.
static bool is_native(const npy_info *info)
{
    const aleat_dtype dtype = types[info->type].dtype;
    return !info->big_endian && !info->fortran_order &&
           (size_t)types[info->type].size == aleat_dtype_size(dtype) &&
           (types[info->type].kind != 'u' || dtype == ALEAT_U8);
}

// Elements as the machine has them, `bytes` of the file's, into an array of their type.
static aleat_status take_elements(aleat_tensor *out, const unsigned char *src, size_t bytes,
                                  const npy_info *info, aleat_error *err)
{
    if (is_native(info))
        memcpy(out->data, src, bytes);
    else if (!copy_elements(out, src, info))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "a value does not fit a signed 64-bit integer");
    return ALEAT_OK;
}

aleat_status aleat_npy_parse(aleat_tensor *out, const unsigned char *data, size_t len,
                             aleat_error *err)
{
    memset(out, 0, sizeof *out);
    npy_info info;
    size_t offset = 0, bytes = 0;
    aleat_status st = parse_whole(&info, &offset, &bytes, data, len, err);
    if (!st)
        st = aleat_tensor_new(out, types[info.type].dtype, &info.shape, err);
    if (st || bytes == 0)
        return st;
    st = take_elements(out, data + offset, bytes, &info, err);
    if (st)
        aleat_tensor_clear(out);
    return st;
}

aleat_status aleat_npy_map_open(aleat_npy_map *out, const char *path, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    npy_info info;
    size_t offset = 0, bytes = 0;
    aleat_status st = aleat_mapping_open(&out->file, path, err);
    if (st)
        return st;
    st = parse_whole(&info, &offset, &bytes, out->file.data, out->file.len, err);
    if (!st && (!is_native(&info) || offset % aleat_dtype_size(types[info.type].dtype) != 0))
        st = aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                        "elements are not in C order and this machine's own types");
    if (st) {
        aleat_error_in(err, "%s", path);
        aleat_npy_map_close(out);
        return st;
    }
    // the array is only read; a tensor's pointer is not const because owned ones share the type
    out->array = aleat_tensor_view(types[info.type].dtype, &info.shape,
                                   (void *)(uintptr_t)(out->file.data + offset));
    return ALEAT_OK;
}

void aleat_npy_map_close(aleat_npy_map *map)
{
    aleat_mapping_close(&map->file);
    memset(map, 0, sizeof *map);
}

aleat_status aleat_npy_read(aleat_tensor *out, const char *path, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_mapping file;
    aleat_status st = aleat_mapping_open(&file, path, err);
    if (st)
        return st;
    st = aleat_npy_parse(out, file.data, file.len, err);
    if (st)
        aleat_error_in(err, "%s", path);
    aleat_mapping_close(&file);
    return st;
}

aleat_status aleat_npy_read_f32(aleat_tensor *out, const char *path, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_tensor stored;
    aleat_status st = aleat_npy_read(&stored, path, err);
    if (st)
        return st;
    if (stored.dtype == ALEAT_F32) {
        *out = stored;
        return ALEAT_OK;
    }
    st = aleat_tensor_new(out, ALEAT_F32, &stored.shape, err);
    if (!st)
        aleat_convert_to_f32(out->data, stored.data, stored.dtype, aleat_tensor_count(&stored));
    aleat_tensor_clear(&stored);
    return st;
}

aleat_status aleat_npy_header(unsigned char header[ALEAT_NPY_HEADER], size_t *len,
                              aleat_dtype dtype, const aleat_shape *shape, aleat_error *err)
{
    size_t type = 0;
    const size_t n_types = sizeof types / sizeof *types;
    while (type < n_types && types[type].dtype != dtype)
        type++;
    if (type == n_types)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "numpy has no type for %s",
                          aleat_dtype_name(dtype));
    char *text = (char *)header + 10;
    const size_t room = ALEAT_NPY_HEADER - 10;
    size_t used =
        (size_t)snprintf(text, room, "{'descr': '%c%c%d', 'fortran_order': False, 'shape': (",
                         types[type].size > 1 ? '<' : '|', types[type].kind, types[type].size);
    for (int i = 0; i < shape->n_dims; i++)
        used +=
            (size_t)snprintf(text + used, room - used, "%s%lld%s", i ? " " : "",
                             (long long)shape->dim[i], i + 1 < shape->n_dims || i == 0 ? "," : "");
    used += (size_t)snprintf(text + used, room - used, "), }");
    const size_t total = (10 + used + 1 + 63) / 64 * 64;
    memset(text + used, ' ', total - 10 - used);
    text[total - 11] = '\n';
    memcpy(header, MAGIC "\x01", 8); // version 1.0: the terminating 0 is the minor number
    header[8] = (unsigned char)((total - 10) & 0xff);
    header[9] = (unsigned char)((total - 10) >> 8);
    *len = total;
    return ALEAT_OK;
}

aleat_status aleat_npy_write(const char *path, const aleat_tensor *array, aleat_error *err)
{
    aleat_npy_stream *stream = NULL;
    aleat_shape rows = array->shape;
    if (rows.n_dims == 0) // a scalar is written in one piece, too
        rows = aleat_shape_of(1, (int64_t)1);
    aleat_status st = aleat_npy_stream_open(&stream, path, array->dtype, &array->shape, err);
    if (!st)
        st = aleat_npy_stream_rows(stream, 0, rows.dim[0], array->data, err);
    if (!st)
        st = aleat_npy_stream_commit(stream, err);
    aleat_npy_stream_free(stream);
    return st;
}

struct aleat_npy_stream {
    aleat_atomic_file file;
    int64_t rows;
    size_t row_bytes, header_len;
};

aleat_status aleat_npy_stream_open(aleat_npy_stream **out, const char *path, aleat_dtype dtype,
                                   const aleat_shape *shape, aleat_error *err)
{
    *out = NULL;
    unsigned char header[ALEAT_NPY_HEADER];
    size_t bytes;
    aleat_status st = ALEAT_OK;
    aleat_npy_stream *stream = aleat_calloc(1, sizeof *stream);
    if (!stream)
        return aleat_fail_memory(err, path);
    if (!aleat_shape_bytes(shape, dtype, &bytes) || bytes > INT64_MAX - ALEAT_NPY_HEADER) {
        st = aleat_fail(err, ALEAT_ERR_SHAPE, "%s: an array this large cannot be written", path);
        goto done;
    }
    st = aleat_npy_header(header, &stream->header_len, dtype, shape, err);
    if (st) {
        aleat_error_in(err, "%s", path);
        goto done;
    }
    stream->rows = shape->n_dims ? shape->dim[0] : 1;
    stream->row_bytes = stream->rows ? bytes / (size_t)stream->rows : 0;
    st = aleat_atomic_open(&stream->file, path, err);
    if (!st)
        st = aleat_atomic_write(&stream->file, header, stream->header_len, err);
    if (st)
        goto done;
    // Rows that are never written read as zero. A pipe has no size to set.
    if (stream->file.temporary &&
        (fflush(stream->file.stream) ||
         ftruncate(fileno(stream->file.stream), (off_t)(stream->header_len + bytes)))) {
        st = aleat_fail_errno(err, "cannot write", path);
        goto done;
    }
    *out = stream;
    stream = NULL;
done:
    aleat_npy_stream_free(stream);
    return st;
}

aleat_status aleat_npy_stream_rows(aleat_npy_stream *stream, int64_t begin, int64_t count,
                                   const void *rows, aleat_error *err)
{
    if (begin < 0 || count < 0 || begin > stream->rows || count > stream->rows - begin)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: rows %lld to %lld of an array of %lld rows",
                          stream->file.path, (long long)begin, (long long)begin + (long long)count,
                          (long long)stream->rows);
    const off_t at = (off_t)(stream->header_len + (size_t)begin * stream->row_bytes);
    if (stream->file.temporary && fseeko(stream->file.stream, at, SEEK_SET))
        return aleat_fail_errno(err, "cannot write", stream->file.path);
    return aleat_atomic_write(&stream->file, rows, (size_t)count * stream->row_bytes, err);
}

aleat_status aleat_npy_stream_commit(aleat_npy_stream *stream, aleat_error *err)
{
    return aleat_atomic_commit(&stream->file, err);
}

void aleat_npy_stream_free(aleat_npy_stream *stream)
{
    if (!stream)
        return;
    aleat_atomic_abandon(&stream->file);
    aleat_free(stream);
}

/* ---- by rows --------------------------------------------------------------------------------- */

struct aleat_npy_reader {
    char *path; // for messages
    aleat_mapping file;
    unsigned char *inflated; // of a deflated member; else NULL
    const unsigned char *elements;
    npy_info info;
};

// The bytes of a member: a view into the mapping, or inflated.
static aleat_status find_member(aleat_npy_reader *r, const char *member, const unsigned char **data,
                                size_t *len, aleat_error *err)
{
    aleat_zip zip = {0};
    const aleat_zip_entry *entry = NULL;
    aleat_status st = aleat_zip_open(&zip, r->file.data, r->file.len, err);
    if (!st)
        st = aleat_npz_find(&entry, &zip, member, err);
    if (st)
        goto done;
    *len = (size_t)entry->size;
    *data = aleat_zip_view(entry);
    if (*data)
        goto done;
    *data = r->inflated = aleat_alloc(*len);
    st = r->inflated ? aleat_zip_read(entry, r->inflated, err) : aleat_fail_memory(err, member);
done:
    aleat_zip_close(&zip);
    return st;
}

static aleat_status open_rows(aleat_npy_reader *r, const char *member, aleat_error *err)
{
    const unsigned char *data = r->file.data;
    size_t len = r->file.len, offset = 0, bytes = 0;
    aleat_status st = member ? find_member(r, member, &data, &len, err) : ALEAT_OK;
    if (!st)
        st = parse_whole(&r->info, &offset, &bytes, data, len, err);
    if (st)
        return st;
    if (r->info.shape.n_dims == 0)
        return aleat_fail(err, ALEAT_ERR_SHAPE, "a number, expected an array of rows");
    if (r->info.shape.n_dims == 1)
        r->info.fortran_order = false;
    if (r->info.fortran_order)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "in Fortran order, which has no rows");
    r->elements = data + offset;
    return ALEAT_OK;
}

aleat_status aleat_npy_reader_open(aleat_npy_reader **out, const char *path, const char *member,
                                   aleat_error *err)
{
    *out = NULL;
    aleat_npy_reader *r = aleat_calloc(1, sizeof *r);
    if (!r)
        return aleat_fail_memory(err, path);
    r->path = aleat_strdup(path);
    aleat_status st =
        r->path ? aleat_mapping_open(&r->file, path, err) : aleat_fail_memory(err, path);
    if (st)
        goto done;
    st = open_rows(r, member, err);
    if (st) {
        aleat_error_in(err, "%s", path);
        goto done;
    }
    *out = r;
    r = NULL;
done:
    aleat_npy_reader_free(r);
    return st;
}

aleat_dtype aleat_npy_reader_dtype(const aleat_npy_reader *reader)
{
    return types[reader->info.type].dtype;
}

const aleat_shape *aleat_npy_reader_shape(const aleat_npy_reader *reader)
{
    return &reader->info.shape;
}

aleat_status aleat_npy_reader_rows(const aleat_npy_reader *r, int64_t begin, int64_t count,
                                   aleat_dtype dtype, void *dst, aleat_error *err)
{
    aleat_shape shape = r->info.shape;
    const int64_t rows = shape.dim[0];
    const aleat_dtype stored = aleat_npy_reader_dtype(r);
    if (begin < 0 || count < 0 || begin > rows || count > rows - begin)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: rows %lld to %lld of an array of %lld rows",
                          r->path, (long long)begin, (long long)begin + (long long)count,
                          (long long)rows);
    assert(dtype == stored || dtype == ALEAT_F32);
    const size_t size = (size_t)types[r->info.type].size;
    shape.dim[0] = count;
    int64_t n = 0; // both products are of parts of an array that lies in memory
    (void)aleat_shape_count(&shape, &n);
    if (n == 0)
        return ALEAT_OK;
    const unsigned char *src = r->elements + (size_t)begin * ((size_t)(n / count) * size);
    aleat_tensor own = aleat_tensor_view(stored, &shape, dst);
    aleat_status st = dtype == stored ? ALEAT_OK : aleat_tensor_new(&own, stored, &shape, err);
    if (!st)
        st = take_elements(&own, src, (size_t)n * size, &r->info, err);
    if (!st && dtype != stored)
        aleat_convert_to_f32(dst, own.data, stored, n);
    aleat_tensor_clear(&own);
    if (st)
        aleat_error_in(err, "%s", r->path);
    return st;
}

void aleat_npy_reader_free(aleat_npy_reader *r)
{
    if (!r)
        return;
    aleat_mapping_close(&r->file);
    aleat_free(r->inflated);
    aleat_free(r->path);
    aleat_free(r);
}
