/* What the tool says to a person: everything here goes to stderr. */
#ifndef ALEAT_CLI_MESSAGE_H
#define ALEAT_CLI_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aleat/status.h"

/** "aleat: verb: message" */
void aleat_cli_complain(const char *verb, const char *fmt, ...) ALEAT_PRINTF(2, 3);
/** "aleat: hint: message" */
void aleat_cli_advise(const char *fmt, ...) ALEAT_PRINTF(1, 2);
/** Message and hint of a failed library call. */
void aleat_cli_report(const char *verb, const aleat_error *err);

/** From here on Ctrl-C and SIGTERM ask the current work to stop (a second one kills). */
void aleat_cli_catch_interrupts(void);
/** Has the user asked to stop? */
bool aleat_cli_interrupted(void);

/** A progress line on stderr, drawn only if that is a terminal. */
typedef struct aleat_cli_progress {
    const char *verb, *unit; /**< "generate", "images" */
    bool visible;
    double start, last_drawn; /**< seconds */
    int64_t first;            /**< what was done already at the start (a resumed run) */
    bool started;
    double left; /**< seconds that the caller reckons with; 0: from the rate so far */
} aleat_cli_progress;

aleat_cli_progress aleat_cli_progress_new(const char *verb, const char *unit, bool quiet);
/** `done` of `total` units (fractions are shown by the bar). Draws at most ten times a second. */
void aleat_cli_progress_show(aleat_cli_progress *p, double done, double total);
/** "1:05" or "2:03:04". */
void aleat_cli_time_text(char *buf, size_t size, double seconds);
/** Removes the line. */
void aleat_cli_progress_clear(aleat_cli_progress *p);

#endif
