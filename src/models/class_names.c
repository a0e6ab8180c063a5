#include "models/class_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/json.h"

static const char *const imagenet[] = {
#include "models/imagenet_classes.inc"
};
#define N_IMAGENET ((int64_t)(sizeof imagenet / sizeof *imagenet))

static aleat_status keep(aleat_class_names *out, int64_t label, const json_t *name,
                         const char *file, const char *key, aleat_error *err)
{
    if (label < 0 || label >= out->count || !json_is_string(name) || out->owned[label])
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s: '%s' must have one name for each class from 0 to %lld", file, key,
                          (long long)out->count - 1);
    out->owned[label] = aleat_strdup(json_string_value(name));
    return out->owned[label] ? ALEAT_OK : aleat_fail_memory(err, file);
}

static int64_t label_of(const char *text)
{
    char *end;
    const long long v = strtoll(text, &end, 10);
    return *text && !*end ? v : -1;
}

// Reads `key` of a JSON file, an object from label to name or a list, if it has it.
static aleat_status read_names(aleat_class_names *out, const char *path, const char *key,
                               int64_t n_classes, aleat_error *err)
{
    aleat_json json = {0};
    aleat_status st = aleat_json_load(&json, path, err);
    json_t *list = st ? NULL : json_object_get(json.root, key), *name;
    const char *label;
    size_t i;
    if (!list)
        goto done;
    out->owned = aleat_calloc((size_t)n_classes, sizeof *out->owned);
    out->count = out->owned ? n_classes : 0;
    if (!out->owned)
        st = aleat_fail_memory(err, path);
    else if (!json_is_object(list) && !json_is_array(list))
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' is neither an object nor a list", path,
                        key);
    json_object_foreach(list, label, name)
    {
        if (!st)
            st = keep(out, label_of(label), name, path, key, err);
    }
    json_array_foreach(list, i, name)
    {
        if (!st)
            st = keep(out, (int64_t)i, name, path, key, err);
    }
done:
    aleat_json_clear(&json);
    return st;
}

aleat_status aleat_class_names_load(aleat_class_names *out, const char *index, const char *config,
                                    int64_t n_classes, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_status st = ALEAT_OK;
    if (n_classes < 1)
        return st;
    if (index)
        st = read_names(out, index, "id2label", n_classes, err);
    if (!st && !out->owned && config)
        st = read_names(out, config, "_aleat_class_names", n_classes, err);
    if (!index && !config && n_classes == N_IMAGENET)
        *out = (aleat_class_names){.count = N_IMAGENET, .shared = imagenet};
    if (st)
        aleat_class_names_clear(out);
    return st;
}

void aleat_class_names_clear(aleat_class_names *names)
{
    if (!names)
        return;
    for (int64_t i = 0; names->owned && i < names->count; i++)
        aleat_free(names->owned[i]);
    aleat_free(names->owned);
    memset(names, 0, sizeof *names);
}

const char *aleat_class_name(const aleat_class_names *names, int64_t label)
{
    if (label < 0 || label >= names->count)
        return NULL;
    return names->owned ? names->owned[label] : names->shared[label];
}
