#include "io/weights.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/json.h"
#include "io/weights_build.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are views into little-endian files"
#endif

static const struct {
    const char *name;
    aleat_recognise_fn *recognises;
    aleat_read_fn *read;
} formats[] = {
    {"safetensors", aleat_is_safetensors, aleat_read_safetensors},
    {"torch zip", aleat_is_torch_zip, aleat_read_torch_zip},
    {"torch legacy", aleat_is_torch_legacy, aleat_read_torch_legacy},
};

// Is this inside the file that is being read?
static bool in_mapping(const aleat_weights *weights, const void *data)
{
    if (weights->n_files == 0)
        return false;
    const aleat_mapping *file = &weights->files[weights->n_files - 1];
    const uintptr_t begin = (uintptr_t)file->data;
    return (uintptr_t)data >= begin && (uintptr_t)data - begin <= file->len;
}

aleat_status aleat_weights_add(aleat_weights *weights, const char *name, size_t len,
                               aleat_dtype dtype, const aleat_shape *shape, const int64_t *stride,
                               const void *data, aleat_error *err)
{
    if (weights->count == weights->capacity) {
        const int64_t capacity = weights->capacity ? 2 * weights->capacity : 64;
        aleat_weight *items =
            aleat_realloc(weights->items, (size_t)weights->capacity * sizeof *items,
                          (size_t)capacity * sizeof *items);
        if (!items)
            return aleat_fail_memory(err, "list of tensors");
        weights->items = items;
        weights->capacity = capacity;
    }
    aleat_weight *item = &weights->items[weights->count];
    *item = (aleat_weight){.dtype = dtype, .shape = *shape, .contiguous = true, .data = data};
    item->name = aleat_arena_text(&weights->storage, name, len);
    if (!item->name)
        return aleat_fail_memory(err, "tensor names");
    item->mapped = in_mapping(weights, data);
    int64_t count = 0, c_order = 1;
    (void)aleat_shape_count(shape, &count);
    for (int i = shape->n_dims - 1; i >= 0 && count > 0; i--) {
        item->stride[i] = stride ? stride[i] : c_order;
        // The stride of a dimension of one element is never used.
        if (item->stride[i] != c_order && shape->dim[i] > 1)
            item->contiguous = false;
        c_order *= shape->dim[i];
    }
    weights->count++;
    return ALEAT_OK;
}

static int compare_names(const void *a, const void *b, void *weights)
{
    const aleat_weight *items = ((const aleat_weights *)weights)->items;
    return strcmp(items[*(const int64_t *)a].name, items[*(const int64_t *)b].name);
}

// Makes names findable once all tensors are there; two tensors of one name are an error.
static aleat_status index_names(aleat_weights *weights, aleat_error *err)
{
    const size_t n = (size_t)weights->count;
    weights->by_name = aleat_calloc(n, sizeof *weights->by_name);
    if (!weights->by_name)
        return aleat_fail_memory(err, "index of tensors");
    for (size_t i = 0; i < n; i++)
        weights->by_name[i] = (int64_t)i;
    qsort_r(weights->by_name, n, sizeof *weights->by_name, compare_names, weights);
    for (size_t i = 1; i < n; i++)
        if (!compare_names(&weights->by_name[i - 1], &weights->by_name[i], weights))
            return aleat_fail(err, ALEAT_ERR_FORMAT, "two tensors are called '%s'",
                              weights->items[weights->by_name[i]].name);
    return ALEAT_OK;
}

static aleat_status new_weights(aleat_weights **out, const char *path, aleat_error *err)
{
    *out = NULL;
    aleat_weights *weights = aleat_calloc(1, sizeof *weights);
    if (weights)
        weights->path = aleat_strdup(path);
    if (!weights || !weights->path) {
        aleat_weights_free(weights);
        return aleat_fail_memory(err, path);
    }
    *out = weights;
    return ALEAT_OK;
}

aleat_status aleat_weights_of_arrays(aleat_weights **out, const aleat_named_array *arrays,
                                     int64_t count, const char *name, aleat_error *err)
{
    aleat_weights *weights;
    *out = NULL;
    aleat_status st = new_weights(&weights, name, err);
    if (st)
        return st;
    weights->format = "memory";
    for (int64_t i = 0; i < count && !st; i++)
        st = aleat_weights_add(weights, arrays[i].name, strlen(arrays[i].name),
                               arrays[i].array.dtype, &arrays[i].array.shape, NULL,
                               arrays[i].array.data, err);
    if (!st)
        st = index_names(weights, err);
    if (!st)
        *out = weights;
    else
        aleat_weights_free(weights);
    return st;
}

void aleat_weights_free(aleat_weights *weights)
{
    if (!weights)
        return;
    for (int i = 0; i < weights->n_files; i++)
        aleat_mapping_close(&weights->files[i]);
    aleat_free(weights->files);
    aleat_free(weights->items);
    aleat_free(weights->by_name);
    aleat_arena_clear(&weights->storage);
    aleat_free(weights->path);
    aleat_free(weights);
}

// Adds the tensors of one file; `name` is what messages call it.
static aleat_status read_any(aleat_weights *weights, const unsigned char *data, size_t len,
                             const char *name, aleat_error *err)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].recognises(data, len)) {
            weights->format = formats[i].name;
            const aleat_status st = formats[i].read(weights, data, len, err);
            if (st)
                aleat_error_in(err, "%s", name);
            return st;
        }
    const aleat_status st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: not a file of weights", name);
    if (len == 0)
        aleat_hint(err, "the file is empty");
    else if (len < 1024 && len >= 7 && !memcmp(data, "version", 7))
        aleat_hint(err, "this is a git-lfs pointer; fetch the file itself with `git lfs pull`");
    else
        aleat_hint(err, "expected safetensors, or what torch.save() writes");
    return st;
}

static aleat_status read_file(aleat_weights *weights, const char *path, aleat_error *err)
{
    aleat_mapping *files = aleat_realloc(weights->files, (size_t)weights->n_files * sizeof *files,
                                         (size_t)(weights->n_files + 1) * sizeof *files);
    if (!files)
        return aleat_fail_memory(err, path);
    weights->files = files;
    aleat_mapping *file = &files[weights->n_files];
    const aleat_status st = aleat_mapping_open(file, path, err);
    if (st)
        return st;
    weights->n_files++;
    return read_any(weights, file->data, file->len, path, err);
}

// The shards that an index names, each once, in order of first mention.
static aleat_status read_shards(aleat_weights *weights, const aleat_json *index, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    char *folder = aleat_path_folder(weights->path), *path = NULL;
    json_t *map = json_object_get(index->root, "weight_map"), *shard;
    json_t *seen = json_object();
    const char *tensor;

    if (!folder || !seen) {
        st = aleat_fail_memory(err, weights->path);
        goto done;
    }
    json_object_foreach(map, tensor, shard)
    {
        const char *name = json_string_value(shard);
        if (!name || !*name || strchr(name, '/')) { // an index must not lead out of its folder
            st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: tensor '%s' is in no file of this folder",
                            weights->path, tensor);
            goto done;
        }
        if (json_object_get(seen, name))
            continue;
        path = aleat_path_join(folder, name);
        if (!path || json_object_set_new(seen, name, json_true())) {
            st = aleat_fail_memory(err, name);
            goto done;
        }
        st = read_file(weights, path, err);
        if (st)
            goto done;
        aleat_free(path);
        path = NULL;
    }
done:
    json_decref(seen);
    aleat_free(path);
    aleat_free(folder);
    return st;
}

static aleat_status read_index(aleat_weights *weights, aleat_error *err)
{
    aleat_json index = {0}, map = {0};
    const char *tensor;
    json_t *shard;
    aleat_status st = aleat_json_load(&index, weights->path, err);
    if (!st)
        st = aleat_json_require(&index, "weight_map", err);
    if (!st)
        st = aleat_json_object(&index, "weight_map", &map, err);
    if (!st)
        st = read_shards(weights, &index, err);
    if (!st)
        st = index_names(weights, err);
    if (st)
        goto done;
    json_object_foreach(map.root, tensor, shard)
    {
        if (aleat_weights_find(weights, tensor))
            continue;
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: tensor '%s' is not in %s", weights->path,
                        tensor, json_string_value(shard));
        break;
    }
done:
    aleat_json_clear(&map);
    aleat_json_clear(&index);
    return st;
}

aleat_status aleat_weights_open(aleat_weights **out, const char *path, aleat_error *err)
{
    aleat_weights *weights;
    *out = NULL;
    aleat_status st = new_weights(&weights, path, err);
    if (st)
        return st;
    if (aleat_path_ends_in(path, ".json")) {
        st = read_index(weights, err);
    } else {
        st = read_file(weights, path, err);
        if (!st)
            st = index_names(weights, err);
    }
    if (!st) {
        *out = weights;
        weights = NULL;
    }
    aleat_weights_free(weights);
    return st;
}

aleat_status aleat_weights_open_memory(aleat_weights **out, const void *data, size_t len,
                                       const char *name, aleat_error *err)
{
    aleat_weights *weights;
    *out = NULL;
    aleat_status st = new_weights(&weights, name, err);
    if (!st)
        st = read_any(weights, data, len, name, err);
    if (!st)
        st = index_names(weights, err);
    if (!st) {
        *out = weights;
        weights = NULL;
    }
    aleat_weights_free(weights);
    return st;
}

// Opens the first file of one variant ("" or ".fp16"); *out stays NULL if there is none.
static aleat_status open_variant(aleat_weights **out, const char *folder, const char *stem,
                                 const char *variant, aleat_error *err)
{
    static const struct {
        const char *before, *after; // of the variant
    } names[] = {
        {"", ".safetensors"},
        {".safetensors.index", ".json"},
        {"", ".bin"},
        {".bin.index", ".json"},
    };
    aleat_status st = ALEAT_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && !st && !*out; i++) {
        char *path =
            aleat_asprintf("%s/%s%s%s%s", folder, stem, names[i].before, variant, names[i].after);
        if (!path)
            return aleat_fail_memory(err, folder);
        if (aleat_is_file(path))
            st = aleat_weights_open(out, path, err);
        aleat_free(path);
    }
    return st;
}

aleat_status aleat_weights_open_folder(aleat_weights **out, const char *folder, const char *stem,
                                       const char *variant, aleat_error *err)
{
    static const char *const variants[] = {"", ".fp16", ".bf16"};
    *out = NULL;
    aleat_status st = ALEAT_OK;
    if (variant && *variant) {
        char *dotted = aleat_asprintf(".%s", variant);
        st = dotted ? open_variant(out, folder, stem, dotted, err) : aleat_fail_memory(err, folder);
        aleat_free(dotted);
    } else {
        for (size_t i = 0; i < sizeof variants / sizeof *variants && !st && !*out; i++)
            st = open_variant(out, folder, stem, variants[i], err);
    }
    if (st || *out)
        return st;
    const char *dot = variant && *variant ? "." : "";
    st = aleat_fail(err, ALEAT_ERR_IO, "%s: no weights: neither %s%s%s.safetensors nor .bin",
                    folder, stem, dot, variant ? variant : "");
    aleat_hint(err, "fetch the weights into this folder%s",
               *dot ? ", or leave out the variant" : "; the configuration alone is not enough");
    return st;
}

int64_t aleat_weights_count(const aleat_weights *weights)
{
    return weights->count;
}

int64_t aleat_weights_parameters(const aleat_weights *weights)
{
    int64_t sum = 0, n;
    for (int64_t i = 0; i < weights->count; i++)
        sum += aleat_shape_count(&weights->items[i].shape, &n) ? n : 0;
    return sum;
}

aleat_weight *aleat_weights_at(aleat_weights *weights, int64_t i)
{
    return &weights->items[i];
}

aleat_weight *aleat_weights_find(aleat_weights *weights, const char *name)
{
    int64_t low = 0, high = weights->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        aleat_weight *item = &weights->items[weights->by_name[middle]];
        const int order = strcmp(name, item->name);
        if (order == 0)
            return item;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

aleat_weight *aleat_weights_take(aleat_weights *weights, const char *name)
{
    aleat_weight *item = aleat_weights_find(weights, name);
    if (item)
        item->used = true;
    return item;
}

void aleat_weights_sha256(const aleat_weights *weights, char out[ALEAT_SHA256_TEXT])
{
    aleat_sha256_state state;
    aleat_sha256_begin(&state);
    for (int i = 0; i < weights->n_files; i++)
        aleat_sha256_add_mapped(&state, &weights->files[i]);
    aleat_sha256_end(&state, out);
}

const char *aleat_weights_format(const aleat_weights *weights)
{
    return weights->format;
}

const char *aleat_weights_path(const aleat_weights *weights)
{
    return weights->path;
}

void aleat_weight_to_f32(const aleat_weight *weight, float *dst)
{
    int64_t count = 0;
    (void)aleat_shape_count(&weight->shape, &count); // was checked when it was added
    if (weight->contiguous || count == 0) {
        aleat_convert_to_f32(dst, weight->data, weight->dtype, count);
        return;
    }
    const int last = weight->shape.n_dims - 1; // >= 0: a scalar is contiguous
    const int64_t row = weight->shape.dim[last], step = weight->stride[last];
    const size_t size = aleat_dtype_size(weight->dtype);
    int64_t index[ALEAT_MAX_DIMS] = {0};
    for (int64_t done = 0; done < count; done += row) {
        int64_t offset = 0;
        for (int i = 0; i < last; i++)
            offset += index[i] * weight->stride[i];
        const char *src = (const char *)weight->data + (size_t)offset * size;
        if (step == 1)
            aleat_convert_to_f32(dst + done, src, weight->dtype, row);
        else
            for (int64_t j = 0; j < row; j++)
                aleat_convert_to_f32(dst + done + j, src + (size_t)(j * step) * size, weight->dtype,
                                     1);
        for (int i = last - 1; i >= 0 && ++index[i] == weight->shape.dim[i]; i--)
            index[i] = 0;
    }
}

void aleat_weight_row_to_f32(const aleat_weight *weight, int64_t row, float *dst)
{
    aleat_weight part = *weight;
    part.shape.n_dims--;
    for (int i = 0; i < part.shape.n_dims; i++) {
        part.shape.dim[i] = weight->shape.dim[i + 1];
        part.stride[i] = weight->stride[i + 1];
    }
    part.data = (const char *)weight->data +
                (size_t)(row * weight->stride[0]) * aleat_dtype_size(weight->dtype);
    aleat_weight_to_f32(&part, dst);
}

void aleat_weight_forget(const aleat_weight *weight)
{
    size_t bytes = 0;
    if (weight->contiguous && weight->mapped &&
        aleat_shape_bytes(&weight->shape, weight->dtype, &bytes))
        aleat_mapping_forget(weight->data, bytes);
}
