/*
 * What torch.save() writes. Zip (PyTorch >= 1.6): <any>/data.pkl, the object, in which tensors
 * refer to storages <any>/data/<key>. Legacy: pickles of a magic number, a protocol version, facts
 * about the system, the object and the list of storage keys, then for each key the number of
 * elements (i64) and the elements. Source: torch.serialization's documentation and files of each
 * kind.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/pickle.h"
#include "io/weights_build.h"
#include "io/zip.h"

enum { MAX_DEPTH = 32, MAX_NAME = 1024 };

// The sum of both is the promise of less than twice the file and 64 MiB.
static size_t pickle_limit(size_t file_len)
{
    return file_len / 2 + (32u << 20);
}
static size_t inflated_limit(size_t file_len)
{
    return file_len + file_len / 2 + (31u << 20);
}

static const unsigned char legacy_magic[10] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9,
                                               0x20, 0x6a, 0xa8, 0x50, 0x19};
#define LEGACY_PROTOCOL 1001

// A name being joined from the keys of nested dicts, and how much has been seen on the way.
typedef struct walk {
    aleat_weights *weights;
    char name[MAX_NAME];
    size_t name_len;
    uint64_t visited, limit;
} walk;

static bool is_kind(const aleat_pickle_value *value, aleat_pickle_kind kind)
{
    return value && value->kind == (uint32_t)kind;
}

// Adds a tensor after checking that every element it reaches lies in its storage.
static aleat_status add_tensor(walk *w, const aleat_pickle_tensor *tensor, aleat_error *err)
{
    const aleat_pickle_storage *storage = tensor->storage;
    const size_t size = aleat_dtype_size(storage->dtype);
    int64_t count, last = tensor->offset;
    size_t bytes;
    bool good = aleat_shape_count(&tensor->shape, &count) &&
                aleat_shape_bytes(&tensor->shape, ALEAT_F64, &bytes); // room for any conversion
    for (int i = 0; good && count > 0 && i < tensor->shape.n_dims; i++) {
        int64_t step;
        good = !__builtin_mul_overflow(tensor->shape.dim[i] - 1, tensor->stride[i], &step) &&
               !__builtin_add_overflow(last, step, &last);
    }
    if (!good || (count > 0 && last >= storage->view_count)) {
        char text[200];
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "tensor '%s': shape %s reaches beyond its storage of %lld elements",
                          w->name, aleat_shape_text(&tensor->shape, text, sizeof text),
                          (long long)storage->view_count);
    }
    const unsigned char *data = storage->data;
    if (count > 0)
        data += (size_t)(storage->view_begin + tensor->offset) * size;
    return aleat_weights_add(w->weights, w->name, w->name_len, storage->dtype, &tensor->shape,
                             tensor->stride, data, err);
}

// Appends ".key" to the name; false if it is too long or no text.
static bool enter_key(walk *w, const aleat_pickle_value *key)
{
    char digits[32];
    const char *text = digits;
    size_t len;
    if (is_kind(key, ALEAT_PICKLE_TEXT)) {
        text = key->as.text;
        len = key->len;
    } else if (is_kind(key, ALEAT_PICKLE_INT)) {
        len = (size_t)snprintf(digits, sizeof digits, "%lld", (long long)key->as.integer);
    } else {
        return false;
    }
    const size_t dot = w->name_len > 0 ? 1 : 0;
    if (len >= MAX_NAME - w->name_len - dot || memchr(text, '\0', len))
        return false;
    if (dot)
        w->name[w->name_len] = '.';
    memcpy(w->name + w->name_len + dot, text, len);
    w->name_len += dot + len;
    w->name[w->name_len] = '\0';
    return true;
}

static bool has_tensors(const aleat_pickle_value *dict)
{
    for (size_t i = 1; i < dict->as.list->count; i += 2)
        if (is_kind(&dict->as.list->items[i], ALEAT_PICKLE_TENSOR))
            return true;
    return false;
}

// Adds the tensors of a dict; of the dicts in it only if it has no tensors itself, since dicts
// beside tensors are the state of something else.
static aleat_status add_dict(walk *w, const aleat_pickle_value *dict, int depth, aleat_error *err)
{
    const bool flat = depth == 0 && has_tensors(dict);
    const size_t prefix = w->name_len;
    aleat_status st = ALEAT_OK;
    for (size_t i = 0; i + 1 < dict->as.list->count && !st; i += 2) {
        const aleat_pickle_value *key = &dict->as.list->items[i], *value = key + 1;
        const bool nested = is_kind(value, ALEAT_PICKLE_DICT) && !flat;
        // A dict may be shared or hold itself: more entries than were written mean that.
        if (++w->visited > w->limit || depth > MAX_DEPTH)
            return aleat_fail(err, ALEAT_ERR_FORMAT, "pickle has dicts that contain one another");
        if (!nested && !is_kind(value, ALEAT_PICKLE_TENSOR))
            continue;
        if (!enter_key(w, key))
            return aleat_fail(err, ALEAT_ERR_FORMAT, "name of a tensor after '%s' is no text",
                              w->name);
        st = nested ? add_dict(w, value, depth + 1, err) : add_tensor(w, value->as.tensor, err);
        w->name_len = prefix;
        w->name[prefix] = '\0';
    }
    return st;
}

// Adds the tensors of the object that was saved.
static aleat_status add_object(aleat_weights *weights, const aleat_pickle *pickle,
                               const aleat_pickle_value *object, aleat_error *err)
{
    const int64_t before = weights->count;
    const aleat_pickle_value *wrapped = aleat_pickle_get(object, "state_dict");
    walk w = {.weights = weights, .limit = pickle->n_ops};
    aleat_status st = ALEAT_OK;
    if (is_kind(wrapped, ALEAT_PICKLE_DICT))
        object = wrapped;
    if (is_kind(object, ALEAT_PICKLE_DICT))
        st = add_dict(&w, object, 0, err);
    if (!st && weights->count == before) {
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "torch file without a dict of tensors");
        aleat_hint(err, "expected what torch.save(model.state_dict(), path) writes");
    }
    return st;
}

static int compare_keys(const aleat_pickle_storage *a, const char *key, size_t len)
{
    const int order = memcmp(a->key, key, a->key_len < len ? a->key_len : len);
    return order ? order : (a->key_len > len) - (a->key_len < len);
}

static int compare_storages(const void *a, const void *b)
{
    const aleat_pickle_storage *x = *(aleat_pickle_storage *const *)a;
    const aleat_pickle_storage *y = *(aleat_pickle_storage *const *)b;
    return compare_keys(x, y->key, y->key_len);
}

static aleat_status fail_storage(const aleat_pickle_storage *storage, aleat_status status,
                                 const char *what, aleat_error *err)
{
    return aleat_fail(err, status, "storage '%.*s': %s",
                      (int)(storage->key_len < 200 ? storage->key_len : 200), storage->key, what);
}

// The storages that the pickle names, sorted by key; those of one key must agree.
static aleat_status sort_storages(aleat_pickle_storage ***out, size_t *count,
                                  const aleat_pickle *pickle, aleat_error *err)
{
    size_t n = 0;
    for (aleat_pickle_storage *s = pickle->storages; s; s = s->next)
        n++;
    aleat_pickle_storage **sorted = aleat_calloc(n, sizeof(aleat_pickle_storage *));
    *out = sorted;
    *count = n;
    if (!sorted)
        return aleat_fail_memory(err, "list of storages");
    n = 0;
    for (aleat_pickle_storage *s = pickle->storages; s; s = s->next)
        sorted[n++] = s;
    qsort(sorted, n, sizeof(aleat_pickle_storage *), compare_storages);
    for (size_t i = 1; i < n; i++)
        if (!compare_storages(&sorted[i - 1], &sorted[i]) &&
            (sorted[i]->dtype != sorted[i - 1]->dtype || sorted[i]->count != sorted[i - 1]->count))
            return fail_storage(sorted[i], ALEAT_ERR_FORMAT, "is described in two ways", err);
    return ALEAT_OK;
}

static bool storage_bytes(const aleat_pickle_storage *storage, size_t *bytes)
{
    return aleat_size_mul((size_t)storage->count, aleat_dtype_size(storage->dtype), bytes);
}

bool aleat_is_torch_zip(const unsigned char *data, size_t len)
{
    return aleat_is_zip(data, len);
}

// The entry "<anything>/data.pkl"; the part before "data.pkl" is the prefix of all others.
static const aleat_zip_entry *find_pickle(const aleat_zip *zip)
{
    static const char suffix[] = "/data.pkl";
    const size_t len = sizeof suffix - 1;
    for (int64_t i = 0; i < zip->count; i++) {
        const aleat_zip_entry *entry = &zip->entries[i];
        if (entry->name_len > len && !memcmp(entry->name + entry->name_len - len, suffix, len))
            return entry;
    }
    return NULL;
}

// The bytes of an entry: where they are if stored, else inflated into the arena.
static aleat_status entry_bytes(const unsigned char **out, const aleat_zip_entry *entry,
                                aleat_arena *arena, aleat_error *err)
{
    *out = aleat_zip_view(entry);
    if (*out)
        return ALEAT_OK;
    unsigned char *bytes = aleat_arena_alloc(arena, (size_t)entry->size);
    if (!bytes && arena->over_limit)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "zip entry '%.*s': inflates to %llu bytes, too much",
                          (int)entry->name_len, entry->name, (unsigned long long)entry->size);
    if (!bytes)
        return aleat_fail_memory(err, "inflated storage");
    *out = bytes;
    return aleat_zip_read(entry, bytes, err);
}

static aleat_status find_record(aleat_weights *weights, const aleat_zip *zip,
                                const aleat_zip_entry *pickle, aleat_pickle_storage *storage,
                                aleat_error *err)
{
    char name[MAX_NAME];
    size_t bytes;
    const size_t prefix = pickle->name_len - strlen("data.pkl");
    if (prefix + strlen("data/") + storage->key_len >= sizeof name)
        return fail_storage(storage, ALEAT_ERR_FORMAT, "has too long a key", err);
    memcpy(name, pickle->name, prefix);
    memcpy(name + prefix, "data/", 5);
    memcpy(name + prefix + 5, storage->key, storage->key_len);
    const aleat_zip_entry *entry = aleat_zip_find(zip, name, prefix + 5 + storage->key_len);
    if (!entry)
        return fail_storage(storage, ALEAT_ERR_FORMAT, "is not in the file", err);
    if (!storage_bytes(storage, &bytes) || entry->size < bytes)
        return fail_storage(storage, ALEAT_ERR_FORMAT, "has fewer bytes than its elements need",
                            err);
    return entry_bytes(&storage->data, entry, &weights->storage, err);
}

static aleat_status find_records(aleat_weights *weights, const aleat_zip *zip,
                                 const aleat_zip_entry *entry, const aleat_pickle *pickle,
                                 aleat_error *err)
{
    aleat_pickle_storage **sorted = NULL;
    size_t count = 0;
    aleat_status st = sort_storages(&sorted, &count, pickle, err);
    for (size_t i = 0; i < count && !st; i++) {
        if (i > 0 && !compare_storages(&sorted[i - 1], &sorted[i]))
            sorted[i]->data = sorted[i - 1]->data;
        else
            st = find_record(weights, zip, entry, sorted[i], err);
    }
    aleat_free(sorted);
    return st;
}

// Newer files say in which byte order they are; all others are little-endian.
static aleat_status check_byte_order(const aleat_zip *zip, const aleat_zip_entry *pickle,
                                     aleat_error *err)
{
    static const char record[] = "byteorder";
    char name[MAX_NAME];
    const size_t prefix = pickle->name_len - strlen("data.pkl");
    if (prefix + sizeof record > sizeof name)
        return ALEAT_OK;
    memcpy(name, pickle->name, prefix);
    memcpy(name + prefix, record, sizeof record);
    const aleat_zip_entry *entry = aleat_zip_find(zip, name, prefix + strlen(record));
    const unsigned char *text = entry ? aleat_zip_view(entry) : NULL;
    if (text && entry->size == 3 && !memcmp(text, "big", 3))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "big-endian torch file");
    return ALEAT_OK;
}

aleat_status aleat_read_torch_zip(aleat_weights *weights, const unsigned char *data, size_t len,
                                  aleat_error *err)
{
    aleat_zip zip = {0};
    aleat_pickle pickle = {.arena.limit = pickle_limit(len)};
    aleat_pickle_value object;
    const unsigned char *bytes;
    size_t used;

    weights->storage.limit = weights->storage.total + inflated_limit(len);
    aleat_status st = aleat_zip_open(&zip, data, len, err);
    if (st)
        goto done;
    const aleat_zip_entry *entry = find_pickle(&zip);
    if (!entry) {
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "zip archive that is no torch file: no data.pkl");
        goto done;
    }
    st = check_byte_order(&zip, entry, err);
    if (!st)
        st = entry_bytes(&bytes, entry, &pickle.arena, err);
    if (!st)
        st = aleat_pickle_read(&pickle, bytes, (size_t)entry->size, &used, &object, err);
    if (!st)
        st = find_records(weights, &zip, entry, &pickle, err);
    if (!st)
        st = add_object(weights, &pickle, &object, err);
done:
    aleat_pickle_clear(&pickle);
    aleat_zip_close(&zip);
    return st;
}

bool aleat_is_torch_legacy(const unsigned char *data, size_t len)
{
    // The magic number is a pickle of its own, of 15 bytes or a few more in later protocols.
    return len > 1 && data[0] == 0x80 &&
           memmem(data, len < 32 ? len : 32, legacy_magic, sizeof legacy_magic);
}

// The first storage of that key among the sorted ones, or `count`.
static size_t find_key(aleat_pickle_storage **sorted, size_t count, const char *key, size_t len)
{
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (compare_keys(sorted[middle], key, len) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && compare_keys(sorted[low], key, len) == 0 ? low : count;
}

// Gives each storage of the list `keys` its bytes, which follow one another from `data`.
static aleat_status place_storages(aleat_pickle_storage **sorted, size_t count,
                                   const aleat_pickle_value *keys, const unsigned char *data,
                                   size_t len, aleat_error *err)
{
    for (size_t k = 0; k < keys->as.list->count; k++) {
        const aleat_pickle_value *key = &keys->as.list->items[k];
        int64_t elements;
        size_t bytes;
        if (key->kind != ALEAT_PICKLE_TEXT)
            return aleat_fail(err, ALEAT_ERR_FORMAT, "list of storages holds what is no key");
        const size_t first = find_key(sorted, count, key->as.text, key->len);
        if (first == count)
            return aleat_fail(err, ALEAT_ERR_FORMAT, "storage '%.*s' belongs to no tensor",
                              (int)(key->len < 200 ? key->len : 200), key->as.text);
        if (len < sizeof elements || !storage_bytes(sorted[first], &bytes) ||
            bytes > len - sizeof elements) {
            const aleat_status st =
                fail_storage(sorted[first], ALEAT_ERR_FORMAT, "goes beyond the file's end", err);
            aleat_hint(err, "the file is incomplete: fetch it again");
            return st;
        }
        memcpy(&elements, data, sizeof elements);
        if (elements != sorted[first]->count || sorted[first]->data)
            return fail_storage(sorted[first], ALEAT_ERR_FORMAT, "is not of the size it should be",
                                err);
        data += sizeof elements;
        for (size_t i = first; i < count && !compare_storages(&sorted[first], &sorted[i]); i++)
            sorted[i]->data = data;
        data += bytes;
        len -= sizeof elements + bytes;
    }
    for (size_t i = 0; i < count; i++)
        if (!sorted[i]->data)
            return fail_storage(sorted[i], ALEAT_ERR_FORMAT, "is not in the file", err);
    return ALEAT_OK;
}

// Reads the five pickles in front of the storages.
static aleat_status read_legacy_pickles(aleat_pickle *pickle, const unsigned char *data, size_t len,
                                        aleat_pickle_value values[5], size_t *end, aleat_error *err)
{
    *end = 0;
    for (int i = 0; i < 5; i++) {
        size_t used = 0;
        const aleat_status st =
            aleat_pickle_read(pickle, data + *end, len - *end, &used, &values[i], err);
        if (st)
            return st;
        *end += used;
    }
    if (values[0].kind != ALEAT_PICKLE_LONG || values[0].len != sizeof legacy_magic ||
        memcmp(values[0].as.text, legacy_magic, sizeof legacy_magic) != 0 ||
        values[1].kind != ALEAT_PICKLE_INT || values[1].as.integer != LEGACY_PROTOCOL)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "torch file of an unknown version");
    const aleat_pickle_value *little = aleat_pickle_get(&values[2], "little_endian");
    if (little && little->kind == ALEAT_PICKLE_BOOL && !little->as.truth)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "big-endian torch file");
    if (values[4].kind != ALEAT_PICKLE_LIST)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "torch file without its list of storages");
    return ALEAT_OK;
}

aleat_status aleat_read_torch_legacy(aleat_weights *weights, const unsigned char *data, size_t len,
                                     aleat_error *err)
{
    aleat_pickle pickle = {.arena.limit = pickle_limit(len)};
    aleat_pickle_value values[5];
    aleat_pickle_storage **sorted = NULL;
    size_t end, count = 0;
    aleat_status st = read_legacy_pickles(&pickle, data, len, values, &end, err);
    if (!st)
        st = sort_storages(&sorted, &count, &pickle, err);
    if (!st)
        st = place_storages(sorted, count, &values[4], data + end, len - end, err);
    if (!st)
        st = add_object(weights, &pickle, &values[3], err);
    aleat_free(sorted);
    aleat_pickle_clear(&pickle);
    return st;
}
