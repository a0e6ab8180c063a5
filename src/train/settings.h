/*
 * The options of a training: whether they can be, and whether they are those that a folder's
 * training was begun with.
 */
#ifndef ALEAT_TRAIN_SETTINGS_H
#define ALEAT_TRAIN_SETTINGS_H

#include "aleat/train.h"
#include "graph/plan.h"
#include "samplers/config.h"
#include "train/adamw.h"
#include "train/task.h"

/** Options with the names in them looked up. */
typedef struct aleat_train_spec {
    const aleat_train_options *options; /**< borrowed */
    const aleat_task *task;
    const aleat_dataset_kind *data_kind; /**< NULL: recognise it */
    bool constant_rate;
    aleat_prediction prediction;
    aleat_beta_schedule beta_schedule;
    aleat_precision precision;
    aleat_dtype dtype;
} aleat_train_spec;

/** What decides the weights beside the options: found out before a training begins. */
typedef struct aleat_train_facts {
    double label_drop;       /**< in effect: 0 for networks without classes */
    double held_out;         /**< share of the data set; 0: it was not cut */
    const json_t *config;    /**< the network's configuration in effect */
    const json_t *scheduler; /**< the noise */
    const char *data_sha256; /**< of the images that are learned from */
    const char *init_sha256; /**< of the weights that are begun with; NULL: random ones */
} aleat_train_facts;

/** Ranges and combinations of all options. */
ALEAT_MUST_USE aleat_status aleat_train_check(const aleat_train_spec *spec, aleat_error *err);

aleat_adamw aleat_train_optimizer(const aleat_train_spec *spec);

/** What decides the weights, as a flat JSON object; the caller owns the reference; NULL: no memory.
 */
json_t *aleat_train_settings(const aleat_train_spec *spec, const aleat_train_facts *facts);

/**
 * May a training with the settings `old` that has done `step` steps go on with `new`? All that
 * decides the weights must be equal, the learning rate only up to that step: so the number of steps
 * may change as long as the cooldown has not begun. ALEAT_ERR_ARGUMENT with the option's name.
 */
ALEAT_MUST_USE aleat_status aleat_train_compare(const json_t *old, const json_t *new, int64_t step,
                                                const char *folder, aleat_error *err);

#endif
