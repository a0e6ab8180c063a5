/*
 * scores.csv row by row: a header, then as many numbers in each line. The file is mapped, not read
 * into memory; NaN and infinities are numbers like others, and an empty field is NaN.
 */
#ifndef ALEAT_IO_SCORE_TABLE_H
#define ALEAT_IO_SCORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aleat/status.h"

typedef struct aleat_score_table aleat_score_table;

/** ALEAT_ERR_FORMAT: no header, a name of more than 200 bytes, or more than 4096 columns. */
ALEAT_MUST_USE aleat_status aleat_score_table_open(aleat_score_table **out, const char *path,
                                                   aleat_error *err);
/** Accepts NULL. */
void aleat_score_table_free(aleat_score_table *table);

int aleat_score_table_columns(const aleat_score_table *table);
/** Borrowed from the table. */
const char *aleat_score_table_name(const aleat_score_table *table, int column);

/** values [columns] = the next row; *more is false after the last one. Errors name the line. */
ALEAT_MUST_USE aleat_status aleat_score_table_next(aleat_score_table *table, double *values,
                                                   bool *more, aleat_error *err);
/** The text of the row that aleat_score_table_next() gave last, of the header before the first; not
 * terminated, without the end of the line; valid until the table is freed. */
const char *aleat_score_table_text(const aleat_score_table *table, size_t *len);
/** Back to the first row. */
void aleat_score_table_rewind(aleat_score_table *table);

#endif
