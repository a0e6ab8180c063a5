/* Subsets of a pool, kept by a score or at random, and how the former compare with the latter. */
#ifndef ALEAT_PAPER_SUBSETS_H
#define ALEAT_PAPER_SUBSETS_H

#include "paper/pool.h"

/** The classes of a pool's images, [n]; NULL if it has not several, or images without one. */
const int64_t *aleat_pool_classes(const aleat_pool *pool);
/** members [n] = the `keep` images of the lowest (highest) scores, of all or of each class, as
 * aleat_keep_first() has it; ties by number, NaN last. */
ALEAT_MUST_USE aleat_status aleat_keep_by_score(bool *members, const double *scores, int64_t n,
                                                int64_t keep, bool highest, const int64_t *classes,
                                                aleat_error *err);
/** members [n] = random subset number `draw` of `keep` images, likewise; number 0 is that of
 * aleat_run_select(). */
ALEAT_MUST_USE aleat_status aleat_keep_random(bool *members, int64_t n, int64_t keep, uint64_t seed,
                                              int64_t draw, const int64_t *classes,
                                              aleat_error *err);

/** Of several numbers: mean, standard deviation (n - 1), and the quantiles around `confidence`. */
typedef struct aleat_spread {
    double mean, sd, low, high;
} aleat_spread;
/** Sorts the values. */
aleat_spread aleat_spread_of(double *values, int64_t n, double confidence);

/** values [1 + draws] = the distance of members [n] (NULL: all), then those of its part in each
 * random half of the pool; halves are the same for every pool of as many images. */
ALEAT_MUST_USE aleat_status aleat_pool_distances(double *values, const aleat_paper *paper,
                                                 const aleat_pool *pool, const bool *members,
                                                 aleat_error *err);

/** How a set of images compares with random ones of as many. */
typedef struct aleat_verdict {
    double value, low, high; /**< distance; interval from random halves of the pool */
    double difference, difference_low, difference_high; /**< to the mean of the random subsets; from
                                  the same halves of the set and of a random subset, so that what
                                  both owe to the pool cancels */
    double z; /**< the difference in standard deviations of random subsets */
    double p; /**< share of random subsets that are at least as near, this one counted */
} aleat_verdict;

/** Random subsets of a pool with their distances. Zero-initialise. */
typedef struct aleat_judge {
    const aleat_paper *paper;
    const aleat_pool *pool;
    int64_t keep, n_random;
    const int64_t *classes; /**< of each of which the same share is kept; NULL: of all at once */
    bool *random;           /**< [n_random,n] */
    double *value;          /**< [n_random] */
    double *half;           /**< [draws] of subset d % n_random within half d */
    aleat_spread spread;    /**< of the values */
} aleat_judge;

/** Draws and measures the random subsets. Pool, paper and classes (NULL, or those of the pool) are
 * borrowed. */
ALEAT_MUST_USE aleat_status aleat_judge_open(aleat_judge *out, const aleat_paper *paper,
                                             const aleat_pool *pool, int64_t keep,
                                             const int64_t *classes, aleat_error *err);
void aleat_judge_close(aleat_judge *judge);
/** Measures members [n] (NULL: all images, whose number then differs from `keep`). */
ALEAT_MUST_USE aleat_status aleat_judge_set(aleat_verdict *out, const aleat_judge *judge,
                                            const bool *members, aleat_error *err);
/** The same for those that score number `score` of the pool keeps. */
ALEAT_MUST_USE aleat_status aleat_judge_score(aleat_verdict *out, const aleat_judge *judge,
                                              const double *scores, bool highest, aleat_error *err);

/** What the column "order" calls the judge's sets; `highest` negative: its random ones. */
const char *aleat_judge_order(const aleat_judge *judge, int highest);

/** The columns of a verdict, in a table of columns. */
#define ALEAT_VERDICT_COLUMNS                                                                      \
    {.key = "fid", .heading = "Fréchet distance", .digits = 5, .interval = true},                  \
        {.key = "difference", .heading = "less random", .digits = 3, .interval = true},            \
        {.key = "z", .heading = "in s.d. of random subsets", .digits = 3},                         \
    {                                                                                              \
        .key = "p", .heading = "share of random at least as near", .digits = 3                     \
    }
/** Fills them. */
void aleat_row_verdict(aleat_result *result, json_t *row, const aleat_verdict *verdict);
/** Do the scores of a pool tell images apart? Not if all are alike or missing. */
bool aleat_scores_differ(const double *scores, int64_t n);
/** Warns of what so few images, dimensions or subsets cannot bear. */
void aleat_warn_of_few(aleat_paper *paper, const aleat_pool *pool, int64_t keep);

#endif
