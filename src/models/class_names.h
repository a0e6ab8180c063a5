/* What classes are called: from the model's own files, or ImageNet's names. */
#ifndef ALEAT_MODELS_CLASS_NAMES_H
#define ALEAT_MODELS_CLASS_NAMES_H

#include <stdint.h>

#include "aleat/status.h"

/** Names by label, alternatives separated by ", ". Zero-initialised: none. */
typedef struct aleat_class_names {
    int64_t count;
    char **owned;              /**< [count], items may be NULL; or NULL */
    const char *const *shared; /**< [count] static names; or NULL */
} aleat_class_names;

/**
 * The names of a model of `n_classes` classes (a null class not counted): "id2label" of `index`, a
 * pipeline's model_index.json (object from label to name, as diffusers' DiT has it), else
 * "_aleat_class_names" of `config`, a network's config.json (a list of texts; diffusers skips keys
 * that begin with '_'), else ImageNet's if there is neither file and there are 1000 classes. Paths
 * may be NULL. ALEAT_ERR_FORMAT: not such a list, or names of more classes.
 */
ALEAT_MUST_USE aleat_status aleat_class_names_load(aleat_class_names *out, const char *index,
                                                   const char *config, int64_t n_classes,
                                                   aleat_error *err);
/** Accepts NULL and zeroed names. */
void aleat_class_names_clear(aleat_class_names *names);
/** The name of a label, or NULL if it has none. */
const char *aleat_class_name(const aleat_class_names *names, int64_t label);

#endif
