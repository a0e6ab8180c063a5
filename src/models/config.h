/*
 * Model configurations by table: one line for each key of a family's config.json says what it is,
 * where it is stored and what it may be. What no line names is an error, since a key that is not
 * understood may change what the network computes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ALEAT_MODELS_CONFIG_H
#define ALEAT_MODELS_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "io/json.h"

#define ALEAT_CONFIG_ITEMS 16 /**< longest list in a configuration */

typedef struct aleat_config_ints {
    int count;
    int64_t at[ALEAT_CONFIG_ITEMS];
} aleat_config_ints;

typedef struct aleat_config_texts {
    int count;
    const char *at[ALEAT_CONFIG_ITEMS]; /**< borrowed from the JSON value, or static defaults */
} aleat_config_texts;

typedef enum aleat_config_kind {
    ALEAT_CONFIG_BOOL,    /**< bool */
    ALEAT_CONFIG_INT,     /**< int64_t in [low, high] */
    ALEAT_CONFIG_DOUBLE,  /**< double in [low, high] */
    ALEAT_CONFIG_TEXT,    /**< const char *, one of `choices` */
    ALEAT_CONFIG_INTS,    /**< aleat_config_ints, items in [low, high] */
    ALEAT_CONFIG_SIZE,    /**< the same, written as one number or a list of them */
    ALEAT_CONFIG_TEXTS,   /**< aleat_config_texts */
    ALEAT_CONFIG_IGNORED, /**< known to have no influence on the result */
} aleat_config_kind;

typedef struct aleat_config_key {
    const char *key;     /**< the table ends with a line whose key is NULL */
    size_t offset;       /**< of the field in the family's structure */
    double low, high;    /**< range of numbers */
    const char *choices; /**< "a|b|c", or NULL: any text */
    aleat_config_kind kind;
    bool nullable; /**< null is allowed and stored as 0, NULL or an empty list */
} aleat_config_key;

/**
 * Reads every key into `config`, which holds the defaults before. Keys that begin with '_' are
 * notes of the program that wrote the file and are skipped. ALEAT_ERR_FORMAT: wrong type or out of
 * range; ALEAT_ERR_UNSUPPORTED: unknown key or choice.
 */
ALEAT_MUST_USE aleat_status aleat_config_read(void *config, const aleat_json *json,
                                              const aleat_config_key *keys, aleat_error *err);

/** The configuration in effect, defaults included, as JSON text under `class_name`; aleat_free();
 * NULL if there is no memory. */
char *aleat_config_text(const void *config, const aleat_config_key *keys, const char *class_name);

#endif
