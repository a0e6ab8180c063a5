/* Classes as users write them: numbers, names, an .npy. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/verbs.h"

#define MOST_LABELS 4096 // in a list on the command line
#define MOST_NAMES  8192 // alternatives among which the nearest is sought

// What labels mean: the model's classes, or those of the classifier that guides it.
typedef struct classes {
    const char *option;
    const aleat_model *named; // whose classes they are
    int64_t count;
    int64_t null; // the one that means "no label", or -1
} classes;

/* ---- names ----------------------------------------------------------------------------------- */

// The next of the alternatives "a, b, c" at *at, in `name`; false after the last.
static bool next_alternative(const char **at, char *name, size_t size)
{
    if (!*at || !**at)
        return false;
    const char *end = strstr(*at, ", ");
    const size_t length = end ? (size_t)(end - *at) : strlen(*at);
    const size_t kept = length < size ? length : size - 1;
    memcpy(name, *at, kept);
    name[kept] = 0;
    *at = end ? end + 2 : NULL;
    return true;
}

// How many classes have an alternative that is `text` (or begins with it); *label is the last.
static int count_matches(const classes *c, const char *text, bool prefix, int32_t *label,
                         char *list, size_t size)
{
    int found = 0;
    char name[256];
    list[0] = 0;
    for (int64_t i = 0; i < c->count; i++) {
        const char *at = aleat_model_class_name(c->named, i);
        while (next_alternative(&at, name, sizeof name)) {
            if (prefix ? strncasecmp(name, text, strlen(text)) != 0 : strcasecmp(name, text) != 0)
                continue;
            *label = (int32_t)i;
            const size_t used = strlen(list);
            (void)snprintf(list + used, size - used, "%s%s (%lld)", found ? ", " : "", name,
                           (long long)i);
            found++;
            break;
        }
    }
    return found;
}

// Suggests the nearest name, in the hint.
static void suggest(const classes *c, const char *text, aleat_error *err)
{
    char **names = calloc(MOST_NAMES, sizeof *names), name[256];
    int n = 0;
    for (int64_t i = 0; names && i < c->count; i++) {
        const char *at = aleat_model_class_name(c->named, i);
        while (n < MOST_NAMES && next_alternative(&at, name, sizeof name))
            if ((names[n] = strdup(name)))
                n++;
    }
    const char *nearest = names ? aleat_cli_nearest(text, (const char *const *)names, n) : NULL;
    for (int i = 0; i < n && !nearest; i++) // a word of a longer name
        if (strcasestr(names[i], text))
            nearest = names[i];
    if (nearest)
        (void)snprintf(err->hint, sizeof err->hint, "did you mean '%.200s'?", nearest);
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

static aleat_status find_name(const classes *c, const char *text, int32_t *label, aleat_error *err)
{
    char list[400];
    int n = count_matches(c, text, false, label, list, sizeof list);
    if (n == 0)
        n = count_matches(c, text, true, label, list, sizeof list);
    if (n == 1)
        return ALEAT_OK;
    if (n > 1) {
        (void)aleat_cli_fail(err, ALEAT_ERR_ARGUMENT, "--%s: '%s' may be %s", c->option, text,
                             list);
        (void)snprintf(err->hint, sizeof err->hint, "give the number");
        return ALEAT_ERR_ARGUMENT;
    }
    (void)aleat_cli_fail(err, ALEAT_ERR_ARGUMENT,
                         "--%s: there is no class '%s'; classes are 0 to %lld", c->option, text,
                         (long long)c->count - 1);
    suggest(c, text, err);
    return ALEAT_ERR_ARGUMENT;
}

/* ---- lists ----------------------------------------------------------------------------------- */

// One class, by number or name; `text` is trimmed in place.
static aleat_status read_class(const classes *c, char *text, int32_t *label, aleat_error *err)
{
    while (isspace((unsigned char)*text))
        text++;
    for (size_t n = strlen(text); n > 0 && isspace((unsigned char)text[n - 1]); n--)
        text[n - 1] = 0;
    char *end;
    errno = 0;
    const long long v = strtoll(text, &end, 10);
    if (!*text || (end != text && !*end && (errno || v < 0 || v >= c->count)))
        return aleat_cli_fail(err, ALEAT_ERR_ARGUMENT, "--%s: '%s' is not a class from 0 to %lld",
                              c->option, text, (long long)c->count - 1);
    *label = (int32_t)v;
    return end != text && !*end ? ALEAT_OK : find_name(c, text, label, err);
}

// "0, sneaker, 2", spread over n labels.
static aleat_status spread_list(const classes *c, int32_t *labels, int64_t n, const char *text,
                                aleat_error *err)
{
    int32_t *list = calloc(MOST_LABELS, sizeof *list);
    char *words = strdup(text), *at = words;
    int64_t count = 0;
    aleat_status st = ALEAT_OK;
    if (!list || !words) {
        free(words);
        free(list);
        return aleat_cli_fail(err, ALEAT_ERR_MEMORY, "out of memory: labels");
    }
    for (char *word; !st && (word = strsep(&at, ","));)
        st = count < MOST_LABELS ? read_class(c, word, &list[count++], err)
                                 : aleat_cli_fail(err, ALEAT_ERR_ARGUMENT,
                                                  "--%s: more than %d in a list: use an .npy",
                                                  c->option, MOST_LABELS);
    for (int64_t i = 0; !st && count > 0 && i < n; i++)
        labels[i] = list[i % count];
    free(words);
    free(list);
    return st;
}

static aleat_status read_array(const classes *c, int32_t *labels, int64_t n, const char *path,
                               aleat_error *err)
{
    aleat_array values;
    aleat_status st = aleat_cli_values(&values, c->option, path, n, err);
    for (int64_t i = 0; !st && i < n; i++) {
        const float v = values.data[i];
        if (!(v >= 0) || !(v < (float)c->count) || v != floorf(v))
            st = aleat_cli_fail(err, ALEAT_ERR_ARGUMENT, "--%s: %g is not a class from 0 to %lld",
                                c->option, (double)v, (long long)c->count - 1);
        else
            labels[i] = (int32_t)v;
    }
    aleat_array_clear(&values);
    return st;
}

static bool is_npy(const char *text)
{
    const size_t n = strlen(text);
    return n > 4 && strcmp(text + n - 4, ".npy") == 0;
}

// Every class in turn, but for the one that stands for none.
static void spread_all(const classes *c, int32_t *labels, int64_t n)
{
    const bool has_null = c->null >= 0 && c->null < c->count && c->count > 1;
    const int64_t kinds = c->count - (has_null ? 1 : 0);
    for (int64_t i = 0; i < n; i++) {
        const int64_t kind = i % kinds;
        labels[i] = (int32_t)(has_null && kind >= c->null ? kind + 1 : kind);
    }
}

aleat_status aleat_cli_labels(int32_t **out, const char *option, const char *text, int64_t n,
                              const aleat_model *model, const aleat_model *classifier,
                              aleat_error *err)
{
    *out = NULL;
    const aleat_model_facts facts = aleat_model_describe(model);
    classes c = {option, model, facts.n_classes, facts.null_class};
    if (c.count == 0 && classifier)
        c = (classes){option, classifier, aleat_model_describe(classifier).out_channels, -1};
    if (c.count == 0)
        return text ? aleat_cli_fail(err, ALEAT_ERR_ARGUMENT, "--%s: this model takes no labels",
                                     option)
                    : ALEAT_OK;
    if (!text)
        return aleat_cli_fail(err, ALEAT_ERR_ARGUMENT,
                              "this model needs --%s: classes from 0 to %lld, or their names",
                              option, (long long)c.count - 1);
    int32_t *labels = calloc(n > 0 ? (size_t)n : 1, sizeof *labels);
    aleat_status st = ALEAT_OK;
    if (!labels)
        return aleat_cli_fail(err, ALEAT_ERR_MEMORY, "out of memory: labels");
    if (is_npy(text))
        st = read_array(&c, labels, n, text, err);
    else if (strcmp(text, "all") != 0)
        st = spread_list(&c, labels, n, text, err);
    else
        spread_all(&c, labels, n);
    if (st)
        free(labels);
    else
        *out = labels;
    return st;
}

static aleat_status take_own(int32_t *labels, const int32_t *own, int64_t n, int64_t count,
                             aleat_error *err)
{
    for (int64_t i = 0; i < n; i++) {
        if (own[i] < 0 || own[i] >= count)
            return aleat_cli_fail(err, ALEAT_ERR_ARGUMENT,
                                  "image %lld has label %d, the model's classes are 0 to %lld",
                                  (long long)i, (int)own[i], (long long)count - 1);
        labels[i] = own[i];
    }
    return ALEAT_OK;
}

aleat_status aleat_cli_labels_of_images(int32_t **out, const char *text, const int32_t *own,
                                        bool prefer_own, int64_t n, const aleat_model *model,
                                        aleat_error *err)
{
    *out = NULL;
    const aleat_model_facts facts = aleat_model_describe(model);
    const bool said = text && strcmp(text, "data") == 0;
    if (facts.n_classes == 0 && (!text || said))
        return ALEAT_OK;
    if (text && !said)
        return aleat_cli_labels(out, "label", text, n, model, NULL, err);
    const bool take = own && (said || prefer_own);
    if (said && !own)
        return aleat_cli_fail(err, ALEAT_ERR_ARGUMENT, "--label data: these images have no labels");
    if (!take && facts.null_class < 0) {
        (void)aleat_cli_fail(err, ALEAT_ERR_ARGUMENT,
                             "this model needs a class for each image, and has none that means "
                             "'no label'");
        (void)snprintf(err->hint, sizeof err->hint, "--label Y: from 0 to %lld, or names%s",
                       (long long)facts.n_classes - 1,
                       own ? "; --label data takes those of the set" : "");
        return ALEAT_ERR_ARGUMENT;
    }
    int32_t *labels = calloc(n > 0 ? (size_t)n : 1, sizeof *labels);
    if (!labels)
        return aleat_cli_fail(err, ALEAT_ERR_MEMORY, "out of memory: labels");
    aleat_status st = take ? take_own(labels, own, n, facts.n_classes, err) : ALEAT_OK;
    for (int64_t i = 0; !take && i < n; i++)
        labels[i] = (int32_t)facts.null_class;
    if (st)
        free(labels);
    else
        *out = labels;
    return st;
}
