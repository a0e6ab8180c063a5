/* What an item has left in ITEM.json, read back and checked: the material of the summary. */
#ifndef ALEAT_PAPER_FINDINGS_H
#define ALEAT_PAPER_FINDINGS_H

#include "io/json.h"

/** A number and its interval; NaN: not told. */
typedef struct aleat_measure {
    double value, low, high;
} aleat_measure;
/** Where an interval lies: -1 below `reference`, 1 above; 0: it holds it, or is not told. */
int aleat_measure_side(const aleat_measure *measure, double reference);

/** Under which keys an item's rows tell what; NULL: it has no such thing. */
typedef struct aleat_finding_keys {
    const char *item;
    const char *name, *order, *group, *at;
    /** Numbers, with intervals under KEY_low and KEY_high. */
    const char *main, *other, *third;
} aleat_finding_keys;

/** A row. Text is borrowed, one line, and "" where the item has none. */
typedef struct aleat_finding {
    const char *estimator;
    const char *remark; /**< why an estimator has nothing else; then all below is unset */
    const char *name;   /**< of the score or map */
    const char *order;  /**< which are kept, or what its sign is */
    const char *group;  /**< kind of damage, window of steps, file */
    double at;          /**< share, strength, M, rank; NaN: none */
    aleat_measure main, other, third;
    double z, evaluations; /**< NaN: not told */
    json_t *row;           /**< borrowed */
} aleat_finding;

/** Zero-initialise. */
typedef struct aleat_findings {
    const char *item;
    bool there; /**< false: the folder has no such item, and nothing below is set */
    aleat_json json;
    const char *title, *command;               /**< one line each; command may be "" */
    const json_t *settings, *notes, *warnings; /**< an object and two arrays of strings */
    double confidence;
    int64_t subsets;
    int64_t n;
    aleat_finding *rows; /**< [n] */
} aleat_findings;

/** Reads FOLDER/ITEM.json; keys are borrowed. ALEAT_ERR_FORMAT: not what the item writes; the
 * message names folder, file, row and key. */
ALEAT_MUST_USE aleat_status aleat_findings_read(aleat_findings *out, const char *folder,
                                                const aleat_finding_keys *keys, aleat_error *err);
/** Accepts NULL. */
void aleat_findings_clear(aleat_findings *findings);

/** Does its order begin so? */
bool aleat_finding_is_ordered(const aleat_finding *finding, const char *order);
/** Are they of the same share, strength or M, and the same group? */
bool aleat_finding_same_place(const aleat_finding *a, const aleat_finding *b);
/** Is the row of images that a score has chosen? (Not of all of them, or random ones.) */
bool aleat_finding_is_set(const aleat_finding *finding);
/** Are they chosen within classes? */
bool aleat_finding_is_within(const aleat_finding *finding);
/** The set with the least `other` (the first of equal ones) of all, or of those within classes;
 * `like`: only of the same share, strength or M, the same group and, with `of_score`, the same
 * estimator and score; NULL if there is none. */
const aleat_finding *aleat_findings_best(const aleat_findings *findings, bool within,
                                         const aleat_finding *like, bool of_score);
/** The same score and order of the first estimator, of all images or within classes; NULL: none. */
const aleat_finding *aleat_findings_of(const aleat_findings *findings, const char *name,
                                       const char *order, bool within);

#endif
