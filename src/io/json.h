/*
 * JSON configuration files over jansson: a parse with a place in its errors, getters that say what
 * is wrong with which key, and atomic writing.
 */
#ifndef ALEAT_IO_JSON_H
#define ALEAT_IO_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aleat/status.h"

/** A JSON value and the name that messages call it by. Zero-initialise. */
typedef struct aleat_json {
    json_t *root; /**< jansson's functions may be used on it */
    char *name;   /**< the file's last path component, then the path to a sub-object */
} aleat_json;

/** Reads a file whose top level is an object; duplicate keys, trailing text and more than 64 MiB
 * are errors (ALEAT_ERR_FORMAT with file:line:column). */
ALEAT_MUST_USE aleat_status aleat_json_load(aleat_json *out, const char *path, aleat_error *err);
/** The same of a file that has an object under `key`, which *object borrows. */
ALEAT_MUST_USE aleat_status aleat_json_load_object(aleat_json *out, json_t **object,
                                                   const char *path, const char *key,
                                                   aleat_error *err);
/** The same from memory; `name` is what messages call it. */
ALEAT_MUST_USE aleat_status aleat_json_parse(aleat_json *out, const void *data, size_t len,
                                             const char *name, aleat_error *err);
/** Releases; accepts NULL and a zeroed value. */
void aleat_json_clear(aleat_json *json);
/** A value as a person reads it, cut to fit; NULL: "(not set)". */
void aleat_json_text(const json_t *value, char *buf, size_t size);
/** Writes a value with two spaces of indent, keys in order of insertion, doubles with 17 digits and
 * a final newline, atomically. */
ALEAT_MUST_USE aleat_status aleat_json_write(const char *path, const json_t *value,
                                             aleat_error *err);

/** Is `key` there and not null? */
bool aleat_json_has(const aleat_json *json, const char *key);
/** ALEAT_ERR_FORMAT unless `key` is there and not null. */
ALEAT_MUST_USE aleat_status aleat_json_require(const aleat_json *json, const char *key,
                                               aleat_error *err);

/*
 * Getters: an absent or null key leaves the output as it was (the default), a value of another type
 * is ALEAT_ERR_FORMAT: "scheduler_config.json: 'beta_start' is a string, expected a number".
 */
ALEAT_MUST_USE aleat_status aleat_json_bool(const aleat_json *json, const char *key, bool *value,
                                            aleat_error *err);
ALEAT_MUST_USE aleat_status aleat_json_int(const aleat_json *json, const char *key, int64_t *value,
                                           aleat_error *err);
/** An integer, or a number without a fraction, in [low, high]. */
ALEAT_MUST_USE aleat_status aleat_json_int_in(const aleat_json *json, const char *key, int64_t low,
                                              int64_t high, int *value, aleat_error *err);
ALEAT_MUST_USE aleat_status aleat_json_double(const aleat_json *json, const char *key,
                                              double *value, aleat_error *err);
/** Borrowed from the JSON value. */
ALEAT_MUST_USE aleat_status aleat_json_string(const aleat_json *json, const char *key,
                                              const char **value, aleat_error *err);
/** An array of at most `max` items; *count is set only if the key is there. */
ALEAT_MUST_USE aleat_status aleat_json_ints(const aleat_json *json, const char *key,
                                            int64_t *values, int max, int *count, aleat_error *err);
ALEAT_MUST_USE aleat_status aleat_json_doubles(const aleat_json *json, const char *key,
                                               double *values, int max, int *count,
                                               aleat_error *err);
ALEAT_MUST_USE aleat_status aleat_json_strings(const aleat_json *json, const char *key,
                                               const char **values, int max, int *count,
                                               aleat_error *err);
/** The object under `key`, to be cleared by the caller; root stays NULL if there is none. */
ALEAT_MUST_USE aleat_status aleat_json_object(const aleat_json *json, const char *key,
                                              aleat_json *out, aleat_error *err);

#endif
