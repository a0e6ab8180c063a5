/*
 * safetensors: u64 length of the header, the header as a JSON object {name: {dtype, shape,
 * data_offsets: [begin, end]}}, the data section that the offsets count from. Source: the format's
 * description in github.com/huggingface/safetensors.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/json.h"
#include "io/weights_build.h"

// Headers of published models are below 1 MB; jansson may need 20 times a hostile header's size.
#define MAX_HEADER (8u << 20)

static const struct {
    const char *name;
    aleat_dtype dtype;
} dtypes[] = {
    {"F32", ALEAT_F32}, {"F16", ALEAT_F16},   {"BF16", ALEAT_BF16}, {"F64", ALEAT_F64},
    {"I64", ALEAT_I64}, {"I32", ALEAT_I32},   {"I16", ALEAT_I16},   {"I8", ALEAT_I8},
    {"U8", ALEAT_U8},   {"BOOL", ALEAT_BOOL},
};

// Bytes [begin, end) of the data section belong to tensor `item`.
typedef struct span {
    uint64_t begin, end;
    int64_t item;
} span;

static uint64_t header_len(const unsigned char *data)
{
    uint64_t len;
    memcpy(&len, data, sizeof len);
    return len;
}

bool aleat_is_safetensors(const unsigned char *data, size_t len)
{
    return len >= 10 && data[8] == '{' && header_len(data) >= 2 && header_len(data) <= len;
}

static aleat_status parse_dtype(const char *tensor, const json_t *entry, aleat_dtype *dtype,
                                aleat_error *err)
{
    const char *name = json_string_value(json_object_get(entry, "dtype"));
    if (!name)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "tensor '%s': no dtype", tensor);
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (!strcmp(dtypes[i].name, name)) {
            *dtype = dtypes[i].dtype;
            return ALEAT_OK;
        }
    return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "tensor '%s': dtype %s is not supported", tensor,
                      name);
}

static aleat_status parse_shape(const char *tensor, const json_t *entry, aleat_shape *shape,
                                aleat_error *err)
{
    const json_t *list = json_object_get(entry, "shape");
    const size_t n = json_array_size(list);
    if (!json_is_array(list) || n > ALEAT_MAX_DIMS)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "tensor '%s': no shape of at most %d dimensions",
                          tensor, ALEAT_MAX_DIMS);
    *shape = (aleat_shape){.n_dims = (int)n};
    for (size_t i = 0; i < n; i++) {
        const json_t *dim = json_array_get(list, i);
        shape->dim[i] = (int64_t)json_integer_value(dim);
        if (!json_is_integer(dim) || shape->dim[i] < 0)
            return aleat_fail(err, ALEAT_ERR_FORMAT,
                              "tensor '%s': dimension %zu is not a whole number >= 0", tensor, i);
    }
    return ALEAT_OK;
}

static aleat_status parse_span(const char *tensor, const json_t *entry, size_t data_len, span *out,
                               aleat_error *err)
{
    const json_t *list = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(list, 0), *end = json_array_get(list, 1);
    if (json_array_size(list) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return aleat_fail(err, ALEAT_ERR_FORMAT, "tensor '%s': data_offsets is not [begin, end]",
                          tensor);
    const int64_t first = (int64_t)json_integer_value(begin);
    const int64_t last = (int64_t)json_integer_value(end);
    if (first < 0 || last < first || (uint64_t)last > data_len) {
        const aleat_status st =
            aleat_fail(err, ALEAT_ERR_FORMAT, "tensor '%s': bytes %" PRId64 "..%" PRId64 " of %zu",
                       tensor, first, last, data_len);
        if (first >= 0 && last >= first)
            aleat_hint(err, "the file is incomplete: fetch it again");
        return st;
    }
    out->begin = (uint64_t)first;
    out->end = (uint64_t)last;
    return ALEAT_OK;
}

static aleat_status add_entry(aleat_weights *weights, const char *name, const json_t *entry,
                              const unsigned char *data, size_t data_len, span *place,
                              aleat_error *err)
{
    aleat_dtype dtype = ALEAT_F32;
    aleat_shape shape;
    size_t bytes;
    aleat_status st = parse_dtype(name, entry, &dtype, err);
    if (!st)
        st = parse_shape(name, entry, &shape, err);
    if (!st)
        st = parse_span(name, entry, data_len, place, err);
    if (st)
        return st;
    if (!aleat_shape_bytes(&shape, dtype, &bytes) || bytes != place->end - place->begin) {
        char text[128];
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "tensor '%s': %" PRIu64 " bytes do not fit its shape %s of %s", name,
                          place->end - place->begin, aleat_shape_text(&shape, text, sizeof text),
                          aleat_dtype_name(dtype));
    }
    place->item = weights->count;
    return aleat_weights_add(weights, name, strlen(name), dtype, &shape, NULL, data + place->begin,
                             err);
}

static int compare_spans(const void *a, const void *b)
{
    const span *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static aleat_status check_overlap(const aleat_weights *weights, span *spans, size_t n,
                                  aleat_error *err)
{
    qsort(spans, n, sizeof *spans, compare_spans);
    for (size_t i = 1; i < n; i++)
        if (spans[i].begin < spans[i - 1].end)
            return aleat_fail(err, ALEAT_ERR_FORMAT, "tensors '%s' and '%s' overlap",
                              weights->items[spans[i - 1].item].name,
                              weights->items[spans[i].item].name);
    return ALEAT_OK;
}

aleat_status aleat_read_safetensors(aleat_weights *weights, const unsigned char *data, size_t len,
                                    aleat_error *err)
{
    aleat_json header = {0};
    span *spans = NULL;
    size_t n = 0;
    const char *name;
    json_t *entry;

    const uint64_t json_len = header_len(data);
    if (json_len > len - 8 || json_len > MAX_HEADER)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "header of %" PRIu64 " bytes in a file of %zu (at most %u are read)",
                          json_len, len, MAX_HEADER);
    const unsigned char *section = data + 8 + json_len;
    const size_t section_len = len - 8 - (size_t)json_len;
    aleat_status st = aleat_json_parse(&header, data + 8, (size_t)json_len, "header", err);
    if (st)
        goto done;
    spans = aleat_calloc(json_object_size(header.root), sizeof *spans);
    if (!spans) {
        st = aleat_fail_memory(err, "index of tensors");
        goto done;
    }
    json_object_foreach(header.root, name, entry)
    {
        if (!strcmp(name, "__metadata__"))
            continue;
        st = add_entry(weights, name, entry, section, section_len, &spans[n++], err);
        if (st)
            goto done;
    }
    st = check_overlap(weights, spans, n, err);
done:
    aleat_free(spans);
    aleat_json_clear(&header);
    return st;
}

/* ---- writing --------------------------------------------------------------------------------- */

static const char *stored_name(aleat_dtype dtype)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].dtype == dtype)
            return dtypes[i].name;
    return NULL; // not reached: every dtype is in the table
}

static json_t *entry_json(const aleat_tensor *array, size_t begin, size_t end)
{
    json_t *shape = json_array();
    for (int i = 0; i < array->shape.n_dims; i++)
        (void)json_array_append_new(shape, json_integer(array->shape.dim[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", stored_name(array->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)end);
}

// The header, padded with spaces so that the data begins at a multiple of ALEAT_ALIGN;
// aleat_free().
static char *make_header(const aleat_named_array *arrays, int64_t count, json_t *metadata,
                         uint64_t *len)
{
    size_t place = 0;
    json_t *header = json_object();
    bool failed = !header || (metadata && json_object_set(header, "__metadata__", metadata));
    for (int64_t i = 0; i < count && !failed; i++) {
        size_t bytes = 0;
        failed = !aleat_shape_bytes(&arrays[i].array.shape, arrays[i].array.dtype, &bytes) ||
                 json_object_set_new(header, arrays[i].name,
                                     entry_json(&arrays[i].array, place, place + bytes));
        place += bytes;
    }
    char *dumped = failed ? NULL : json_dumps(header, JSON_COMPACT);
    char *padded = NULL;
    if (dumped) {
        const size_t used = strlen(dumped), unit = ALEAT_ALIGN;
        *len = (used + sizeof *len + unit - 1) / unit * unit - sizeof *len;
        padded = aleat_asprintf("%-*s", (int)*len, dumped);
    }
    free(dumped); // jansson's allocator
    json_decref(header);
    return padded;
}

aleat_status aleat_safetensors_write(const char *path, const aleat_named_array *arrays,
                                     int64_t count, aleat_error *err)
{
    return aleat_safetensors_write_with(path, arrays, count, NULL, err);
}

aleat_status aleat_safetensors_metadata(json_t **out, const char *path, aleat_error *err)
{
    aleat_mapping file = {0};
    aleat_json header = {0};
    *out = NULL;
    aleat_status st = aleat_mapping_open(&file, path, err);
    if (!st && !aleat_is_safetensors(file.data, file.len))
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: is not a safetensors file", path);
    if (!st && (header_len(file.data) > file.len - 8 || header_len(file.data) > MAX_HEADER))
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: its header does not fit into it", path);
    if (!st)
        st = aleat_json_parse(&header, (const char *)file.data + 8, (size_t)header_len(file.data),
                              path, err);
    if (!st) {
        const json_t *found = json_object_get(header.root, "__metadata__");
        *out = json_is_object(found) ? json_deep_copy(found) : json_object();
        st = *out ? ALEAT_OK : aleat_fail_memory(err, path);
    }
    aleat_json_clear(&header);
    aleat_mapping_close(&file);
    return st;
}

aleat_status aleat_safetensors_write_with(const char *path, const aleat_named_array *arrays,
                                          int64_t count, json_t *metadata, aleat_error *err)
{
    uint64_t len = 0;
    aleat_atomic_file file = {0};
    char *header = make_header(arrays, count, metadata, &len);
    aleat_status st = header ? aleat_atomic_open(&file, path, err) : aleat_fail_memory(err, path);
    if (!st)
        st = aleat_atomic_write(&file, &len, sizeof len, err);
    if (!st)
        st = aleat_atomic_write(&file, header, len, err);
    for (int64_t i = 0; i < count && !st; i++) {
        size_t bytes = 0;
        (void)aleat_shape_bytes(&arrays[i].array.shape, arrays[i].array.dtype, &bytes);
        st = aleat_atomic_write(&file, arrays[i].array.data, bytes, err);
    }
    if (!st)
        st = aleat_atomic_commit(&file, err);
    aleat_atomic_abandon(&file);
    aleat_free(header);
    return st;
}
