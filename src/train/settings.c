#include "train/settings.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aleat/model.h"
#include "base/error.h"
#include "io/sha256.h"

/** Of numbers that name streams of random numbers, which have 32 bits for them. */
#define MOST_STEPS 1000000000
#define MOST_BATCH 4096

/* ---- ranges ---------------------------------------------------------------------------------- */

typedef struct range {
    const char *name;
    double value, low, high;
    bool open; // `high` itself is too much
} range;

static aleat_status check_ranges(const aleat_train_options *o, aleat_error *err)
{
    const range ranges[] = {
        {"steps", (double)o->steps, 1, MOST_STEPS, false},
        {"batch", (double)o->batch, 1, MOST_BATCH, false},
        {"size", (double)o->size, 0, 65536, false},
        {"lr", o->rate, 1e-12, 1e3, false},
        {"warmup", (double)o->warmup, 0, MOST_STEPS, false},
        {"cooldown", (double)o->cooldown, 0, MOST_STEPS, false},
        {"weight-decay", o->weight_decay, 0, 1e3, false},
        {"clip-grad", o->clip, 0, 1e9, false},
        {"ema", o->average, 0, 1, true},
        {"dropout", o->dropout, -1, 1, true},
        {"label-drop", o->label_drop, 0, 1, true},
        {"shift", (double)o->shift, 0, 32, false},
        {"checkpoint-every", o->checkpoint_seconds, 0, 1e9, false},
        {"sample-every", (double)o->sample_every, 0, MOST_STEPS, false},
        {"validate-every", (double)o->validate_every, 0, MOST_STEPS, false},
        {"validation", o->validation, 0, 1, true},
        {"threads", o->threads, 0, 1024, false},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        const range *r = &ranges[i];
        if (!(r->value >= r->low && r->value <= r->high && !(r->open && r->value == r->high)))
            return aleat_fail(err, ALEAT_ERR_ARGUMENT, "--%s: %g is not within %g to %s%g", r->name,
                              r->value, r->low, r->open ? "below " : "", r->high);
    }
    return ALEAT_OK;
}

aleat_status aleat_train_check(const aleat_train_spec *spec, aleat_error *err)
{
    const aleat_train_options *o = spec->options;
    if (!o->config || !o->data || !o->out)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "a training needs a configuration, a data set and a folder to write");
    const aleat_status st = check_ranges(o, err);
    if (st)
        return st;
    if (spec->constant_rate && o->cooldown > 0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "--cooldown %lld contradicts --lr-schedule constant",
                          (long long)o->cooldown);
    if (o->warmup + o->cooldown > o->steps) {
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                         "--warmup %lld and --cooldown %lld do not fit into --steps %lld",
                         (long long)o->warmup, (long long)o->cooldown, (long long)o->steps);
        aleat_hint(err, "give a smaller --warmup");
        return ALEAT_ERR_ARGUMENT;
    }
    if (o->weight_decay * o->rate >= 1)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "--weight-decay %g times --lr %g takes the whole weight in a step",
                          o->weight_decay, o->rate);
    if (o->validate_every > 0 && !(o->validation > 0))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "--validation 0: use --validate-every 0 to measure nothing");
    return ALEAT_OK;
}

aleat_adamw aleat_train_optimizer(const aleat_train_spec *spec)
{
    const aleat_train_options *o = spec->options;
    return (aleat_adamw){.rate = o->rate,
                         .beta1 = 0.9,
                         .beta2 = 0.999,
                         .eps = 1e-8,
                         .decay = o->weight_decay,
                         .clip = o->clip,
                         .average = o->average,
                         .warmup = o->warmup,
                         .cooldown = o->cooldown,
                         .steps = o->steps,
                         .constant = spec->constant_rate};
}

/* ---- as JSON --------------------------------------------------------------------------------- */

/** Keys are the names of the options, so that a message can name what differs. */
static const char *const rate_keys[] = {"lr", "warmup", "lr-schedule", "steps", "cooldown"};
enum { N_RATE_KEYS = sizeof rate_keys / sizeof *rate_keys };

static bool put(json_t *o, const char *key, json_t *value)
{
    return json_object_set_new(o, key, value) == 0; // a NULL value fails, too
}

static json_t *copy_of(const json_t *object, const char *key)
{
    return json_incref(json_object_get(object, key));
}

static json_t *config_hash(const json_t *config)
{
    char hash[ALEAT_SHA256_TEXT];
    char *text = json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    if (!text)
        return NULL;
    aleat_sha256(hash, text, strlen(text));
    free(text);
    return json_string(hash);
}

static bool put_rate(json_t *s, const aleat_train_spec *spec)
{
    const aleat_train_options *o = spec->options;
    return put(s, "lr", json_real(o->rate)) && put(s, "warmup", json_integer(o->warmup)) &&
           put(s, "lr-schedule", json_string(spec->constant_rate ? "constant" : "cosine")) &&
           put(s, "steps", json_integer(o->steps)) && put(s, "cooldown", json_integer(o->cooldown));
}

json_t *aleat_train_settings(const aleat_train_spec *spec, const aleat_train_facts *facts)
{
    const aleat_train_options *o = spec->options;
    json_t *s = json_object();
    const bool ok =
        s && put(s, "task", json_string(spec->task->name)) &&
        put(s, "seed", json_sprintf("%" PRIu64, o->seed)) && // JSON has no uint64
        put(s, "batch", json_integer(o->batch)) && put_rate(s, spec) &&
        put(s, "weight-decay", json_real(o->weight_decay)) &&
        put(s, "clip-grad", json_real(o->clip)) && put(s, "ema", json_real(o->average)) &&
        put(s, "label-drop", json_real(facts->label_drop)) &&
        put(s, "flip", json_boolean(o->flip)) && put(s, "shift", json_integer(o->shift)) &&
        put(s, "prediction", copy_of(facts->scheduler, "prediction_type")) &&
        put(s, "beta-schedule", copy_of(facts->scheduler, "beta_schedule")) &&
        put(s, "precision", json_string(aleat_precision_name(spec->precision, NULL))) &&
        put(s, "size", json_integer(o->size)) && put(s, "validation", json_real(facts->held_out)) &&
        put(s, "config", config_hash(facts->config)) &&
        put(s, "data", json_string(facts->data_sha256)) &&
        put(s, "init", facts->init_sha256 ? json_string(facts->init_sha256) : json_null());
    if (ok)
        return s;
    json_decref(s);
    return NULL;
}

/* ---- comparison ------------------------------------------------------------------------------ */

static bool is_rate_key(const char *key)
{
    for (int i = 0; i < N_RATE_KEYS; i++)
        if (!strcmp(key, rate_keys[i]))
            return true;
    return false;
}

static aleat_adamw rate_of(const json_t *settings)
{
    const char *schedule = json_string_value(json_object_get(settings, "lr-schedule"));
    return (aleat_adamw){
        .rate = json_number_value(json_object_get(settings, "lr")),
        .warmup = json_integer_value(json_object_get(settings, "warmup")),
        .cooldown = json_integer_value(json_object_get(settings, "cooldown")),
        .steps = json_integer_value(json_object_get(settings, "steps")),
        .constant = schedule && !strcmp(schedule, "constant"),
    };
}

// What a setting is, short enough for a message: hashes say nothing to a person.
static const char *told(const json_t *value, char *buf, size_t size)
{
    if (json_is_string(value) && json_string_length(value) < 64)
        (void)snprintf(buf, size, "%s", json_string_value(value));
    else if (json_is_integer(value))
        (void)snprintf(buf, size, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        (void)snprintf(buf, size, "%g", json_real_value(value));
    else if (json_is_boolean(value))
        (void)snprintf(buf, size, "%s", json_is_true(value) ? "on" : "off");
    else
        return json_is_string(value) ? "another" : "none";
    return buf;
}

static aleat_status refuse(const char *key, const json_t *old, const json_t *new,
                           const char *folder, aleat_error *err)
{
    char a[80], b[80];
    const json_t *was = json_object_get(old, key), *is = json_object_get(new, key);
    if (!strcmp(key, "config") || !strcmp(key, "data"))
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: holds a training with %s", folder,
                         *key == 'c' ? "another network (--config, --dropout)"
                                     : "other images (DATA)");
    else
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: holds a training with --%s %s, not %s",
                         folder, key, told(was, a, sizeof a), told(is, b, sizeof b));
    aleat_hint(err, "give the options it was begun with (train.json), or choose another folder");
    return ALEAT_ERR_ARGUMENT;
}

static aleat_status compare_rates(const json_t *old, const json_t *new, int64_t step,
                                  const char *folder, aleat_error *err)
{
    const aleat_adamw was = rate_of(old), is = rate_of(new);
    int64_t k = 0;
    if (is.steps < step) // it would tell of fewer than there were
        return refuse("steps", old, new, folder, err);
    // The same numbers give the same bits, so nothing but equality counts.
    while (k < step && fabs(aleat_adamw_rate(&was, k) - aleat_adamw_rate(&is, k)) == 0)
        k++;
    for (int i = 0; k < step && i < N_RATE_KEYS; i++) {
        if (json_equal(json_object_get(old, rate_keys[i]), json_object_get(new, rate_keys[i])))
            continue;
        (void)refuse(rate_keys[i], old, new, folder, err);
        if (k >= was.warmup)
            aleat_hint(err,
                       "%lld steps are done, and the learning rate of step %lld would have been "
                       "another: steps and cooldown can change before the cooldown begins",
                       (long long)step, (long long)k);
        return ALEAT_ERR_ARGUMENT;
    }
    return ALEAT_OK;
}

aleat_status aleat_train_compare(const json_t *old, const json_t *new, int64_t step,
                                 const char *folder, aleat_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t) new, key, value)
    {
        if (!is_rate_key(key) && !json_equal(value, json_object_get(old, key)))
            return refuse(key, old, new, folder, err);
    }
    return compare_rates(old, new, step, folder, err);
}
