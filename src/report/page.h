/*
 * The HTML file as it is written: the page's own text (web/), and between its two halves the run as
 * inert <script> elements, JSON or base64, which the browser keeps as text.
 */
#ifndef ALEAT_REPORT_PAGE_H
#define ALEAT_REPORT_PAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/file.h"

typedef struct aleat_page {
    aleat_atomic_file file;
    int64_t bytes; /**< written so far */
} aleat_page;

/** Begins the file: everything before the data. `title` is any UTF-8. */
ALEAT_MUST_USE aleat_status aleat_page_open(aleat_page *page, const char *path, const char *title,
                                            aleat_error *err);
/** Bytes of the part after the data. */
int64_t aleat_page_rest(void);

/**
 * Appends a block of bytes if the file then stays within `cap` bytes; *fits tells. The browser
 * finds it by `id` (letters, digits, '-').
 */
ALEAT_MUST_USE aleat_status aleat_page_block(aleat_page *page, const char *id, const void *data,
                                             size_t len, int64_t cap, bool *fits, aleat_error *err);
/**
 * The same for numbers of `size` bytes, little-endian: the first bytes of all numbers, then the
 * second ones and so on (alike bytes compress better together), deflated (zlib's format).
 */
ALEAT_MUST_USE aleat_status aleat_page_numbers(aleat_page *page, const char *id, const void *data,
                                               size_t count, size_t size, int64_t cap, bool *fits,
                                               aleat_error *err);
/** Appends JSON under an id. No text in it can end the element. */
ALEAT_MUST_USE aleat_status aleat_page_json(aleat_page *page, const char *id, const json_t *value,
                                            aleat_error *err);
/** The rest of the page; the file appears under its name. */
ALEAT_MUST_USE aleat_status aleat_page_commit(aleat_page *page, aleat_error *err);
/** Gives up; accepts a zeroed or committed page. */
void aleat_page_abandon(aleat_page *page);

/** A JSON string of text that may not be UTF-8 (file names): then with '?' for what is not ASCII.
 * NULL if there is no memory. */
json_t *aleat_page_string(const char *text);
/** A JSON number, or null for NaN and infinities. NULL if there is no memory. */
json_t *aleat_page_number(double value);

#endif
