/*
 * What an item comes to: rows of named values, told as a Markdown table, as CSV and as JSON.
 * Failures are kept and told once, when it is written.
 */
#ifndef ALEAT_PAPER_RESULT_H
#define ALEAT_PAPER_RESULT_H

#include <jansson.h>
#include <stdbool.h>

#include "aleat/status.h"
#include "io/file.h"
#include "plot/plot.h"

/** A column; tables of them end with a key NULL. */
typedef struct aleat_column {
    const char *key;     /**< in JSON and CSV; with an interval also KEY_low and KEY_high */
    const char *heading; /**< in Markdown; NULL: not there */
    int digits;          /**< significant ones in Markdown; 0: text or a whole number */
    bool interval;
    bool detail; /**< not told where rows are few and telling: aleat_result.brief */
} aleat_column;

/** Zero-initialise. */
typedef struct aleat_result {
    const aleat_column *columns;
    json_t *rows, *notes, *warnings; /**< arrays; made at the first use */
    json_t *settings;                /**< an object of all that decides the numbers */
    bool no_memory;
    bool brief; /**< Markdown has no details */
} aleat_result;

/** A new row, borrowed; NULL (which the functions below accept) if there is no memory. */
json_t *aleat_result_row(aleat_result *result);
/** A value of a row. Numbers that are not finite become null. */
void aleat_row_text(aleat_result *result, json_t *row, const char *key, const char *text);
void aleat_row_count(aleat_result *result, json_t *row, const char *key, int64_t value);
void aleat_row_number(aleat_result *result, json_t *row, const char *key, double value);
void aleat_row_interval(aleat_result *result, json_t *row, const char *key, double value,
                        double low, double high);
/** A paragraph below the table. */
void aleat_result_note(aleat_result *result, const char *fmt, ...) ALEAT_PRINTF(2, 3);
/** What the numbers cannot bear. Told once, however often it is said. */
void aleat_result_warn(aleat_result *result, const char *fmt, ...) ALEAT_PRINTF(2, 3);

/** Writes FOLDER/ITEM.md, .json and .csv; `command` may be NULL. */
ALEAT_MUST_USE aleat_status aleat_result_write(const aleat_result *result, const char *folder,
                                               const char *item, const char *title,
                                               const char *command, aleat_error *err);
/** Writes the rows as a Markdown table; columns that no row fills are left out. */
ALEAT_MUST_USE aleat_status aleat_result_print(const aleat_atomic_file *file,
                                               const aleat_result *result, aleat_error *err);
/** Writes a plot as FOLDER/ITEM.png and .svg. */
ALEAT_MUST_USE aleat_status aleat_result_plot(const char *folder, const char *item,
                                              const aleat_plot *plot, aleat_error *err);
/** Accepts NULL. */
void aleat_result_clear(aleat_result *result);

#endif
