/*
 * Rows of conditions in memory of their own: for batches put together from the images of others
 * (the copies of Algorithm 1, the two halves of classifier-free guidance). What a condition
 * consists of is known here and in the networks that read it, nowhere between.
 */
#ifndef ALEAT_DENOISER_CONDITION_H
#define ALEAT_DENOISER_CONDITION_H

#include <stddef.h>

#include "denoiser/denoiser.h"

/** Zero-initialise; ends with aleat_condition_rows_clear(). */
typedef struct aleat_condition_rows {
    int64_t capacity;
    int32_t *labels;                       /**< [capacity] */
    const aleat_text **texts, **negatives; /**< [capacity], borrowed ones */
} aleat_condition_rows;

/** Room for `n` rows of a denoiser's conditions. Contents are lost if it grows. */
ALEAT_MUST_USE aleat_status aleat_condition_rows_reserve(aleat_condition_rows *rows, int64_t n,
                                                         aleat_error *err);
void aleat_condition_rows_clear(aleat_condition_rows *rows);

/** Row `row` becomes row `from_row` of `from`. */
static inline void aleat_condition_rows_set(aleat_condition_rows *rows, int64_t row,
                                            const aleat_condition *from, int64_t from_row)
{
    if (from->labels)
        rows->labels[row] = from->labels[from_row];
    if (from->texts)
        rows->texts[row] = from->texts[from_row];
    if (from->negatives)
        rows->negatives[row] = from->negatives[from_row];
}

/** Row `row` becomes what guidance leads away from: the negative text of row `from_row` of `from`,
 * or the first row of `usual`, which is for all. */
static inline void aleat_condition_rows_set_negative(aleat_condition_rows *rows, int64_t row,
                                                     const aleat_condition *from, int64_t from_row,
                                                     const aleat_condition *usual)
{
    aleat_condition_rows_set(rows, row, usual, 0);
    if (from->negatives)
        rows->texts[row] = from->negatives[from_row];
}

/** The rows as a condition with the fields that `like` has; borrowed. */
static inline aleat_condition aleat_condition_rows_view(const aleat_condition_rows *rows,
                                                        const aleat_condition *like)
{
    return (aleat_condition){.labels = like->labels ? rows->labels : NULL,
                             .texts = like->texts ? rows->texts : NULL,
                             .negatives = like->negatives ? rows->negatives : NULL};
}

#endif
