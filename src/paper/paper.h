/* What the items share: the settings in effect, the feature network, the real images' features. */
#ifndef ALEAT_PAPER_PAPER_H
#define ALEAT_PAPER_PAPER_H

#include "aleat/features.h"
#include "aleat/metrics.h"
#include "aleat/paper.h"
#include "paper/published.h"
#include "paper/reference.h"
#include "paper/result.h"
#include "uncertainty/estimator.h"

typedef struct aleat_paper {
    aleat_model *model;          /**< borrowed */
    aleat_paper_options options; /**< with the defaults filled in */
    char *folder;
    int lock; /**< descriptor that keeps other processes out of the folder; -1: none */
    aleat_features *network;            /**< NULL: of items that need none */
    aleat_reference reference;          /**< likewise */
    char shared[ALEAT_ESTIMATORS_TEXT]; /**< the wanted estimators whose maps one run gives, with
                        commas; "": each has runs of its own */
    char *laplace;            /**< a posterior that some estimators draw on; NULL: none is needed */
    aleat_error no_posterior; /**< or why there is none */
    int32_t *own_labels;      /**< [n] drawn ones; NULL: the caller's */
    aleat_result result;
    aleat_paper_work *work; /**< what all images of the item take; NULL: nobody asks */
} aleat_paper;

/** Receives the runs of an item, and whose maps are looked at. */
typedef aleat_status aleat_paper_visit(void *ctx, const aleat_run_options *run,
                                       const char *estimator, aleat_error *err);

/** A row of the table of items. */
typedef struct aleat_paper_item {
    const char *name, *help, *title;
    const aleat_column *columns; /**< of its result, here and in the summary */
    bool needs_features;
    bool no_reference; /**< of the features only those of generated images */
    bool has_rivals;   /**< compares pools of estimators, some of which draw on a posterior */
    /** The runs whose images it compares, of one estimator if it has rivals; NULL: the scored run
     * of each, or none. */
    aleat_status (*runs)(const aleat_paper *paper, const char *estimator, aleat_paper_visit *visit,
                         void *ctx, aleat_error *err);
    /** Fills paper->result, and writes what is neither table nor numbers. */
    aleat_status (*make)(aleat_paper *paper, aleat_error *err);
} aleat_paper_item;

extern const aleat_column aleat_paper_table1_columns[];
extern const aleat_column aleat_paper_table2_columns[];
extern const aleat_column aleat_paper_table3_columns[];
extern const aleat_column aleat_paper_table4_columns[];
extern const aleat_column aleat_paper_table5_columns[];
extern const aleat_column aleat_paper_fig3_columns[];
extern const aleat_column aleat_paper_fig10_columns[];
extern const aleat_column aleat_paper_fig11_columns[];
extern const aleat_column aleat_paper_corruptions_columns[];

aleat_status aleat_paper_table1(aleat_paper *paper, aleat_error *err);
aleat_status aleat_paper_table2(aleat_paper *paper, aleat_error *err);
aleat_status aleat_paper_table3(aleat_paper *paper, aleat_error *err);
aleat_status aleat_paper_table4(aleat_paper *paper, aleat_error *err);
aleat_status aleat_paper_table5(aleat_paper *paper, aleat_error *err);
aleat_status aleat_paper_fig3(aleat_paper *paper, aleat_error *err);
aleat_status aleat_paper_fig10(aleat_paper *paper, aleat_error *err);
aleat_status aleat_paper_fig11(aleat_paper *paper, aleat_error *err);
aleat_status aleat_paper_corruptions(aleat_paper *paper, aleat_error *err);

aleat_status aleat_paper_table3_runs(const aleat_paper *paper, const char *estimator,
                                     aleat_paper_visit *visit, void *ctx, aleat_error *err);
aleat_status aleat_paper_fig11_runs(const aleat_paper *paper, const char *estimator,
                                    aleat_paper_visit *visit, void *ctx, aleat_error *err);

/** Path of a file in the folder, printf-like; aleat_free(). NULL: no memory. */
char *aleat_paper_path(const aleat_paper *paper, const char *fmt, ...) ALEAT_PRINTF(2, 3);

/** ALEAT_ERR_ARGUMENT unless the folder is one of aleat_model_paper(). */
ALEAT_MUST_USE aleat_status aleat_paper_check_folder(const char *folder, aleat_error *err);

/** Tells the caller's progress(); ALEAT_ERR_CANCELLED if it says so. */
ALEAT_MUST_USE aleat_status aleat_paper_tell(const aleat_paper *paper, const char *what,
                                             double done, double total, aleat_error *err);

/** The paper's own numbers of this model and sampler, or NULL. */
const aleat_published *aleat_paper_published(const aleat_paper *paper);
/** How many images filtering keeps, of the n. */
int64_t aleat_paper_keep(const aleat_paper *paper);
/** Says below the table what the columns of random subsets and intervals are. */
void aleat_paper_note_subsets(aleat_paper *paper);
/** And what rows within classes are. */
void aleat_paper_note_classes(aleat_paper *paper);
/** The i-th M to compare: of the options, or else of `usual`, which ends with 0; 0 beyond the last.
 */
int64_t aleat_paper_copies(const aleat_paper *paper, const int64_t *usual, int i);
/** The value of that name, NaN if there is none, and its interval. */
double aleat_metric_named(const aleat_metric_result *r, const char *name, double *low,
                          double *high);

#endif
