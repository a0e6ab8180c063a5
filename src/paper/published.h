/* What arXiv 2412.00205 reports of its models. */
#ifndef ALEAT_PAPER_PUBLISHED_H
#define ALEAT_PAPER_PUBLISHED_H

#include <stdbool.h>

#include "aleat/model.h"

/** Of one model; NaN: not reported. */
typedef struct aleat_published {
    const char *model;
    double fid_random, fid_kept, fid_bayesdiff, fid_dropout; /**< table 1 */
    double ause, aurg, dropout_ause, dropout_aurg;           /**< table 2 */
    double fid_plain, fid_guided;                            /**< table 3, 10,000 images */
    double precision_random, precision_kept, recall_random, recall_kept; /**< table 4 */
    double plain_5, scored_5, plain_20, scored_20; /**< tables 5 and 6, seconds for M = 5 and 20 */
} aleat_published;

/** The paper's numbers of this model; NULL if it is none of the paper's. `dpm`: sampled by
 * DPM-Solver, not DDIM. */
const aleat_published *aleat_published_of(const aleat_model *model, bool dpm);

/** Of table 1, the distance of images kept by the score of that name; NaN if there is none. */
double aleat_published_fid(const aleat_published *published, const char *score);

#endif
