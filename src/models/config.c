#include "models/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

static const size_t kind_size[] = {
    [ALEAT_CONFIG_BOOL] = sizeof(bool),
    [ALEAT_CONFIG_INT] = sizeof(int64_t),
    [ALEAT_CONFIG_DOUBLE] = sizeof(double),
    [ALEAT_CONFIG_TEXT] = sizeof(const char *),
    [ALEAT_CONFIG_INTS] = sizeof(aleat_config_ints),
    [ALEAT_CONFIG_SIZE] = sizeof(aleat_config_ints),
    [ALEAT_CONFIG_TEXTS] = sizeof(aleat_config_texts),
    [ALEAT_CONFIG_IGNORED] = 0,
};

static aleat_status check_range(const aleat_json *json, const aleat_config_key *key, double value,
                                aleat_error *err)
{
    if (value >= key->low && value <= key->high)
        return ALEAT_OK;
    return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' is %g, expected a number from %g to %g",
                      json->name, key->key, value, key->low, key->high);
}

// Is `text` one of the words of "a|b|c"?
static bool is_choice(const char *choices, const char *text)
{
    const size_t len = strlen(text);
    for (const char *at = choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (!strncmp(at, text, len) && (at[len] == '|' || at[len] == '\0'))
            return true;
    return false;
}

static aleat_status check_choice(const aleat_json *json, const aleat_config_key *key,
                                 const char *value, aleat_error *err)
{
    if (!key->choices || is_choice(key->choices, value))
        return ALEAT_OK;
    return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "%s: '%s' is '%s', supported is %s", json->name,
                      key->key, value, key->choices);
}

static aleat_status read_ints(aleat_config_ints *list, const aleat_json *json,
                              const aleat_config_key *key, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    if (key->kind == ALEAT_CONFIG_SIZE && !json_is_array(json_object_get(json->root, key->key))) {
        st = aleat_json_int(json, key->key, &list->at[0], err);
        list->count = 1;
    } else {
        st = aleat_json_ints(json, key->key, list->at, ALEAT_CONFIG_ITEMS, &list->count, err);
    }
    for (int i = 0; i < list->count && !st; i++)
        st = check_range(json, key, (double)list->at[i], err);
    return st;
}

static aleat_status read_key(void *field, const aleat_json *json, const aleat_config_key *key,
                             aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    aleat_config_texts *texts = field;
    switch (key->kind) {
    case ALEAT_CONFIG_BOOL: return aleat_json_bool(json, key->key, field, err);
    case ALEAT_CONFIG_INT:
        st = aleat_json_int(json, key->key, field, err);
        return st ? st : check_range(json, key, (double)*(const int64_t *)field, err);
    case ALEAT_CONFIG_DOUBLE:
        st = aleat_json_double(json, key->key, field, err);
        return st ? st : check_range(json, key, *(const double *)field, err);
    case ALEAT_CONFIG_TEXT:
        st = aleat_json_string(json, key->key, field, err);
        return st ? st : check_choice(json, key, *(const char *const *)field, err);
    case ALEAT_CONFIG_INTS:
    case ALEAT_CONFIG_SIZE: return read_ints(field, json, key, err);
    case ALEAT_CONFIG_TEXTS:
        st = aleat_json_strings(json, key->key, texts->at, ALEAT_CONFIG_ITEMS, &texts->count, err);
        for (int i = 0; i < texts->count && !st; i++)
            st = check_choice(json, key, texts->at[i], err);
        return st;
    case ALEAT_CONFIG_IGNORED: break;
    }
    return ALEAT_OK;
}

static const aleat_config_key *find_key(const aleat_config_key *keys, const char *name)
{
    for (; keys->key; keys++)
        if (!strcmp(keys->key, name))
            return keys;
    return NULL;
}

aleat_status aleat_config_read(void *config, const aleat_json *json, const aleat_config_key *keys,
                               aleat_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(json->root, name, value)
    {
        if (name[0] == '_')
            continue;
        const aleat_config_key *key = find_key(keys, name);
        if (!key) {
            (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "%s: unknown key '%s'", json->name, name);
            aleat_hint(err, "a key that is not understood may change the network; remove it from a "
                            "copy of the file if you know that it does not");
            return ALEAT_ERR_UNSUPPORTED;
        }
        unsigned char *field = (unsigned char *)config + key->offset;
        if (json_is_null(value) && key->kind != ALEAT_CONFIG_IGNORED) {
            if (!key->nullable)
                return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' is null", json->name, name);
            memset(field, 0, kind_size[key->kind]);
            continue;
        }
        const aleat_status st = read_key(field, json, key, err);
        if (st)
            return st;
    }
    return ALEAT_OK;
}

static json_t *ints_json(const aleat_config_ints *list)
{
    json_t *array = json_array();
    for (int i = 0; i < list->count; i++)
        (void)json_array_append_new(array, json_integer(list->at[i]));
    return array;
}

static json_t *texts_json(const aleat_config_texts *list)
{
    json_t *array = json_array();
    for (int i = 0; i < list->count; i++)
        (void)json_array_append_new(array, json_string(list->at[i]));
    return array;
}

// A null that the file had, or that the default is, reads as 0 in the field.
static json_t *field_json(const unsigned char *field, const aleat_config_key *key)
{
    static const unsigned char zero[sizeof(aleat_config_texts)];
    if (key->nullable && !memcmp(field, zero, kind_size[key->kind]))
        return json_null();
    switch (key->kind) {
    case ALEAT_CONFIG_BOOL: return json_boolean(*(const bool *)field);
    case ALEAT_CONFIG_INT: return json_integer(*(const int64_t *)field);
    case ALEAT_CONFIG_DOUBLE: return json_real(*(const double *)field);
    case ALEAT_CONFIG_TEXT: return json_string(*(const char *const *)field);
    case ALEAT_CONFIG_INTS:
    case ALEAT_CONFIG_SIZE: return ints_json((const aleat_config_ints *)field);
    case ALEAT_CONFIG_TEXTS: return texts_json((const aleat_config_texts *)field);
    case ALEAT_CONFIG_IGNORED: break;
    }
    return NULL;
}

char *aleat_config_text(const void *config, const aleat_config_key *keys, const char *class_name)
{
    json_t *object = json_object();
    int failed = json_object_set_new(object, "_class_name", json_string(class_name));
    for (; keys->key; keys++)
        if (keys->kind != ALEAT_CONFIG_IGNORED)
            failed |= json_object_set_new(
                object, keys->key, field_json((const unsigned char *)config + keys->offset, keys));
    char *dumped = failed ? NULL : json_dumps(object, JSON_INDENT(2));
    char *text = dumped ? aleat_strdup(dumped) : NULL;
    free(dumped); // jansson's allocator
    json_decref(object);
    return text;
}
