/*
 * Maps of uncertainty at one state: Algorithm 1 of arXiv 2412.00205 and its relatives. One set of
 * network evaluations gives every map that is asked for.
 */
#ifndef ALEAT_UNCERTAINTY_ESTIMATOR_H
#define ALEAT_UNCERTAINTY_ESTIMATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/status.h"
#include "uncertainty/copies.h"

/** The estimators: where the numbers of a run's maps and scores come from. */
typedef enum aleat_estimator_kind {
    ALEAT_ESTIMATOR_COPIES,  /**< Algorithm 1: copies that are noised anew */
    ALEAT_ESTIMATOR_DROPOUT, /**< M passes with dropout at the unchanged state (Gal and Ghahramani
                                  2016) */
    ALEAT_ESTIMATOR_GENERATIVE, /**< generative.h: a score of whole runs, no map */
    ALEAT_ESTIMATOR_BAYESDIFF,  /**< bayesdiff.h: of whole runs */
    ALEAT_ESTIMATOR_COUNT
} aleat_estimator_kind;

/** The score of ALEAT_ESTIMATOR_GENERATIVE. */
#define ALEAT_GENERATIVE_SCORE "generative-entropy"

/** What is followed over the copies, element by element. */
typedef enum aleat_quantity {
    ALEAT_QUANTITY_EPS,      /**< e: the predicted noise */
    ALEAT_QUANTITY_RESIDUAL, /**< z - e: true minus predicted noise; x0 moves by sigma/alpha of it
                              */
    ALEAT_QUANTITY_PRODUCT,  /**< z (z - e): its mean estimates the posterior variance of z */
    ALEAT_QUANTITY_OUTPUT,   /**< what the network predicts itself: of a flow model v = n - x0 */
    ALEAT_QUANTITY_COUNT
} aleat_quantity;

/** A statistic: one map. */
typedef struct aleat_statistic {
    const char *name;        /**< as --stat spells it */
    const char *alias;       /**< a shorter spelling, or NULL */
    const char *description; /**< one line */
    /** From the mean and the summed squared deviations over m copies, and e0. */
    double (*reduce)(double mean, double squares, int m, double e0);
    aleat_quantity quantity;
    int noise_power;  /**< the unit is that of eps to this power: divided by sigma^power it is that
                           of the score; 0: no such unit */
    int signal_power; /**< multiplied by (sigma / alpha)^power: the unit is that of x0 */
    aleat_estimator_kind kind; /**< whose map it is: what has to be evaluated for it */
    bool is_error;             /**< a standard error: sums over steps and pixels add in squares */
    bool low_is_uncertain;     /**< low values mark where an exact denoiser is unsure: see docs */
} aleat_statistic;

/** The table, ended by a row whose name is NULL. */
const aleat_statistic *aleat_statistics(void);
/** A row by name or alias; NULL if there is none. */
const aleat_statistic *aleat_statistic_find(const char *name);

/** The same among all maps, those of other estimators included; by name only. */
const aleat_statistic *aleat_map_statistic(const char *name);

/** The map of an estimator that has one of its own; NULL: those of the table above. */
const aleat_statistic *aleat_estimator_statistic(aleat_estimator_kind kind);

/** Whether the estimator of that name (NULL: "copies"), or each of several names that commas
 * separate, looks at single states; false: at whole runs from noise, of which it needs every step.
 */
bool aleat_estimator_is_local(const char *names);

/** A set of estimators is the sum of these. */
#define ALEAT_ESTIMATOR_BIT(kind) (1U << (kind))
/** The set that `names` tells, NULL: "copies". ALEAT_ERR_ARGUMENT: a name that
 * aleat_estimator_name() does not know. */
ALEAT_MUST_USE aleat_status aleat_estimators_parse(unsigned *set, const char *names,
                                                   aleat_error *err);
/** The same as text in the order of the table, at most ALEAT_ESTIMATORS_TEXT bytes. */
void aleat_estimators_text(char *text, unsigned set);
#define ALEAT_ESTIMATORS_TEXT 64

/** Maps that one estimator may give. */
#define ALEAT_MAX_STATISTICS 8

typedef struct aleat_estimator_options {
    int copies; /**< M, at least 2, for each kind among the statistics */
    /** NULL-terminated unless full; of the kinds COPIES and DROPOUT. */
    const aleat_statistic *statistics[ALEAT_MAX_STATISTICS];
    aleat_clip_mode clip;
    bool score_units; /**< eps statistics in units of the score, -eps / sigma */
    int64_t max_rows; /**< copies in one network call; 0: all of a batch */
} aleat_estimator_options;

typedef struct aleat_estimator aleat_estimator;

/** ALEAT_ERR_UNSUPPORTED: passes with dropout of a network that has none; ALEAT_ERR_ARGUMENT: too
 * many of them. */
ALEAT_MUST_USE aleat_status aleat_estimator_suits(const aleat_estimator_options *options,
                                                  const aleat_denoiser_info *network,
                                                  aleat_error *err);

/**
 * An estimator for batches of up to max_n images. The denoiser is borrowed and must outlive it; all
 * memory of the runs is allocated here. ALEAT_ERR_ARGUMENT: copies < 2, or no statistic;
 * else as aleat_estimator_suits().
 */
ALEAT_MUST_USE aleat_status aleat_estimator_new(aleat_estimator **out,
                                                const aleat_denoiser *denoiser,
                                                aleat_prediction prediction,
                                                const aleat_estimator_options *options,
                                                int64_t max_n, int64_t height, int64_t width,
                                                aleat_error *err);
/** Accepts NULL. */
void aleat_estimator_free(aleat_estimator *estimator);

/** How many statistics it gives. */
int aleat_estimator_count(const aleat_estimator *estimator);

/** Whether a statistic of the options is of that kind. */
bool aleat_estimator_has(const aleat_estimator_options *options, aleat_estimator_kind kind);
/** Evaluations of the network that a state of one image takes: M for each kind. */
int64_t aleat_estimator_rows(const aleat_estimator_options *options);

/**
 * maps[k], [n,C,H,W], = statistic k of the options at `state`. Costs aleat_estimator_rows() for
 * each image. Allocates nothing. An image's map has the same bits whatever the batch and max_rows.
 * ALEAT_ERR_NUMERIC: x0 statistics at a state without signal (alpha = 0).
 */
ALEAT_MUST_USE aleat_status aleat_estimator_run(aleat_estimator *estimator,
                                                const aleat_noisy_state *state,
                                                const aleat_noise_source *noise, float *const *maps,
                                                aleat_error *err);

/*
 * The two halves of a run after the evaluation, for copies that somebody else evaluated (guidance,
 * of the same M and clipping): every copy of an image joins, in order, then its maps are finished.
 * Only of estimators whose statistics are all of the copies' kind.
 */
/** `copies` holds rows [begin, begin + rows) of the batch's. */
void aleat_estimator_follow(aleat_estimator *estimator, const aleat_copies *copies, int64_t begin,
                            int64_t rows);
/** Images [first, first + images) of maps[k]. */
void aleat_estimator_finish(const aleat_estimator *estimator, const aleat_noisy_state *state,
                            int64_t first, int64_t images, float *const *maps);
/** What aleat_estimator_run() checks before it evaluates. */
ALEAT_MUST_USE aleat_status aleat_estimator_check(const aleat_estimator *estimator,
                                                  const aleat_noisy_state *state, aleat_error *err);

/** Network evaluations per image in all runs so far. */
int64_t aleat_estimator_nfe(const aleat_estimator *estimator);

#endif
