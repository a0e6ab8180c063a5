#include "io/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"

// A tokenizer of 50,000 entries is 2 MB; configurations are a few KB.
#define MAX_BYTES (64u << 20)

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: return "null";
    }
    return "unknown";
}

aleat_status aleat_json_parse(aleat_json *out, const void *data, size_t len, const char *name,
                              aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_status st = ALEAT_OK;
    aleat_json json = {0};
    json_error_t where;

    if (len > MAX_BYTES) {
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: %zu bytes of JSON, at most %u are read", name,
                        len, MAX_BYTES);
        goto done;
    }
    json.name = aleat_strdup(name);
    if (!json.name) {
        st = aleat_fail_memory(err, name);
        goto done;
    }
    json.root = json_loadb(len ? data : "", len, JSON_REJECT_DUPLICATES, &where);
    if (!json.root) {
        st = json_error_code(&where) == json_error_out_of_memory
                 ? aleat_fail_memory(err, name)
                 : aleat_fail(err, ALEAT_ERR_FORMAT, "%s:%d:%d: %s", name, where.line, where.column,
                              where.text);
        goto done;
    }
    if (!json_is_object(json.root)) {
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: is %s, expected an object", name,
                        type_name(json.root));
        goto done;
    }
    *out = json;
    memset(&json, 0, sizeof json);
done:
    aleat_json_clear(&json);
    return st;
}

aleat_status aleat_json_load(aleat_json *out, const char *path, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_mapping file;
    aleat_status st = aleat_mapping_open(&file, path, err);
    if (!st)
        st = aleat_json_parse(out, file.data, file.len, path, err);
    if (!st) // from here on the short name reads better
        memmove(out->name, aleat_path_base(out->name), strlen(aleat_path_base(out->name)) + 1);
    aleat_mapping_close(&file);
    return st;
}

aleat_status aleat_json_load_object(aleat_json *out, json_t **object, const char *path,
                                    const char *key, aleat_error *err)
{
    const aleat_status st = aleat_json_load(out, path, err);
    *object = st ? NULL : json_object_get(out->root, key);
    if (st || json_is_object(*object))
        return st;
    *object = NULL;
    aleat_json_clear(out);
    return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: has no object '%s'", path, key);
}

void aleat_json_text(const json_t *value, char *buf, size_t size)
{
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    (void)snprintf(buf, size, "%s", text ? text : "(not set)");
    free(text);
}

void aleat_json_clear(aleat_json *json)
{
    if (!json)
        return;
    json_decref(json->root);
    aleat_free(json->name);
    memset(json, 0, sizeof *json);
}

aleat_status aleat_json_write(const char *path, const json_t *value, aleat_error *err)
{
    aleat_atomic_file file = {0};
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY);
    aleat_status st = text ? ALEAT_OK : aleat_fail_memory(err, path);
    if (!st)
        st = aleat_atomic_open(&file, path, err);
    if (!st)
        st = aleat_atomic_write(&file, text, strlen(text), err);
    if (!st)
        st = aleat_atomic_write(&file, "\n", 1, err);
    if (!st)
        st = aleat_atomic_commit(&file, err);
    aleat_atomic_abandon(&file);
    free(text); // jansson's allocator
    return st;
}

// The value of a key that is there and not null, else NULL.
static const json_t *lookup(const aleat_json *json, const char *key)
{
    const json_t *value = json_object_get(json->root, key);
    return json_is_null(value) ? NULL : value;
}

static aleat_status fail_type(const aleat_json *json, const char *key, const json_t *value,
                              const char *expected, aleat_error *err)
{
    return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' is %s, expected %s", json->name, key,
                      type_name(value), expected);
}

bool aleat_json_has(const aleat_json *json, const char *key)
{
    return lookup(json, key) != NULL;
}

aleat_status aleat_json_require(const aleat_json *json, const char *key, aleat_error *err)
{
    if (lookup(json, key))
        return ALEAT_OK;
    return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' is missing", json->name, key);
}

aleat_status aleat_json_bool(const aleat_json *json, const char *key, bool *value, aleat_error *err)
{
    const json_t *found = lookup(json, key);
    if (!found)
        return ALEAT_OK;
    if (!json_is_boolean(found))
        return fail_type(json, key, found, "true or false", err);
    *value = json_is_true(found);
    return ALEAT_OK;
}

// The types of items that getters and array getters share: each converts one value.
typedef bool read_fn(void *out, int i, const json_t *value);

static bool read_int(void *out, int i, const json_t *value)
{
    // Python writes 1000.0 where somebody computed the number; 2^53 is the last exact one.
    if (json_is_real(value)) {
        const double real = json_real_value(value);
        if (real != nearbyint(real) || fabs(real) > 0x1p53)
            return false;
        ((int64_t *)out)[i] = (int64_t)real;
        return true;
    }
    ((int64_t *)out)[i] = (int64_t)json_integer_value(value);
    return json_is_integer(value);
}

static bool read_double(void *out, int i, const json_t *value)
{
    ((double *)out)[i] = json_number_value(value);
    return json_is_number(value);
}

static bool read_string(void *out, int i, const json_t *value)
{
    ((const char **)out)[i] = json_string_value(value);
    return json_is_string(value);
}

static aleat_status get_one(const aleat_json *json, const char *key, read_fn *read, void *value,
                            const char *expected, aleat_error *err)
{
    const json_t *found = lookup(json, key);
    if (found && !read(value, 0, found))
        return fail_type(json, key, found, expected, err);
    return ALEAT_OK;
}

static aleat_status get_array(const aleat_json *json, const char *key, read_fn *read, void *values,
                              int max, int *count, const char *expected, aleat_error *err)
{
    const json_t *found = lookup(json, key);
    if (!found)
        return ALEAT_OK;
    if (!json_is_array(found))
        return fail_type(json, key, found, expected, err);
    const size_t n = json_array_size(found);
    if (n > (size_t)max)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' has %zu items, at most %d are supported",
                          json->name, key, n, max);
    for (size_t i = 0; i < n; i++)
        if (!read(values, (int)i, json_array_get(found, i)))
            return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: item %zu of '%s' is %s, expected %s",
                              json->name, i, key, type_name(json_array_get(found, i)), expected);
    *count = (int)n;
    return ALEAT_OK;
}

aleat_status aleat_json_int(const aleat_json *json, const char *key, int64_t *value,
                            aleat_error *err)
{
    int64_t read = *value;
    const aleat_status st = get_one(json, key, read_int, &read, "an integer", err);
    if (!st)
        *value = read;
    return st;
}

aleat_status aleat_json_int_in(const aleat_json *json, const char *key, int64_t low, int64_t high,
                               int *value, aleat_error *err)
{
    int64_t wide = *value;
    const aleat_status st = aleat_json_int(json, key, &wide, err);
    if (st || !aleat_json_has(json, key))
        return st;
    if (wide < low || wide > high)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' is %lld, expected %lld to %lld",
                          json->name, key, (long long)wide, (long long)low, (long long)high);
    *value = (int)wide;
    return ALEAT_OK;
}

aleat_status aleat_json_double(const aleat_json *json, const char *key, double *value,
                               aleat_error *err)
{
    double read = *value;
    const aleat_status st = get_one(json, key, read_double, &read, "a number", err);
    if (!st)
        *value = read;
    return st;
}

aleat_status aleat_json_string(const aleat_json *json, const char *key, const char **value,
                               aleat_error *err)
{
    const char *read = *value;
    const aleat_status st = get_one(json, key, read_string, &read, "a string", err);
    if (!st)
        *value = read;
    return st;
}

aleat_status aleat_json_ints(const aleat_json *json, const char *key, int64_t *values, int max,
                             int *count, aleat_error *err)
{
    return get_array(json, key, read_int, values, max, count, "integers", err);
}

aleat_status aleat_json_doubles(const aleat_json *json, const char *key, double *values, int max,
                                int *count, aleat_error *err)
{
    return get_array(json, key, read_double, values, max, count, "numbers", err);
}

aleat_status aleat_json_strings(const aleat_json *json, const char *key, const char **values,
                                int max, int *count, aleat_error *err)
{
    return get_array(json, key, read_string, values, max, count, "strings", err);
}

aleat_status aleat_json_object(const aleat_json *json, const char *key, aleat_json *out,
                               aleat_error *err)
{
    memset(out, 0, sizeof *out);
    const json_t *found = lookup(json, key);
    if (!found)
        return ALEAT_OK;
    if (!json_is_object(found))
        return fail_type(json, key, found, "an object", err);
    char *name = aleat_asprintf("%s: '%s'", json->name, key);
    if (!name)
        return aleat_fail_memory(err, json->name);
    *out = (aleat_json){.root = json_incref(json_object_get(json->root, key)), .name = name};
    return ALEAT_OK;
}
