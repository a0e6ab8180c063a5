/* The summary of folders: what its parts share. */
#ifndef ALEAT_PAPER_SUMMARY_H
#define ALEAT_PAPER_SUMMARY_H

#include "io/file.h"
#include "paper/findings.h"
#include "paper/result.h"

/** The document being written. Failures of writing are the stream's, and told at the end. */
typedef struct aleat_document {
    aleat_atomic_file file;
} aleat_document;

/** Writes a paragraph of words, broken into lines; `mark` ("- ", "") begins it, and what follows
 * stands as deep. */
void aleat_document_put(const aleat_document *doc, const char *mark, const char *text);
/** A list entry, printf-like; more than 2,000 characters are cut. */
void aleat_document_say(const aleat_document *doc, const char *fmt, ...) ALEAT_PRINTF(2, 3);

/** What the summary makes of an item. */
typedef struct aleat_section {
    aleat_finding_keys keys;
    const aleat_column *columns; /**< of its table; NULL: it has none of rows as they are */
    /** Whether row i is in the table; NULL: all are. */
    bool (*shows)(const aleat_findings *findings, int64_t i);
    bool sorted; /**< by share, strength or M, not as the item has them */
    /** Instead: writes a table made of the rows. */
    aleat_status (*put)(const aleat_document *doc, const aleat_findings *findings,
                        aleat_error *err);
    /** Says what follows from the numbers; may be NULL. */
    void (*tell)(const aleat_document *doc, const aleat_findings *findings);
} aleat_section;

/** The i-th section; NULL beyond the last. There is one for each item. */
const aleat_section *aleat_summary_section(int i);

/* What sections say (summary_tell.c). */
void aleat_tell_table1(const aleat_document *doc, const aleat_findings *findings);
void aleat_tell_maps(const aleat_document *doc, const aleat_findings *findings);
void aleat_tell_guidance(const aleat_document *doc, const aleat_findings *findings);
void aleat_tell_precision(const aleat_document *doc, const aleat_findings *findings);
void aleat_tell_times(const aleat_document *doc, const aleat_findings *findings);
void aleat_tell_shares(const aleat_document *doc, const aleat_findings *findings);
void aleat_tell_steps(const aleat_document *doc, const aleat_findings *findings);
void aleat_tell_damage(const aleat_document *doc, const aleat_findings *findings);

#endif
