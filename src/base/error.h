/*
 * Writing error texts. Every failing function reports through aleat_fail() and returns its value,
 * so a failure reads `return aleat_fail(err, ALEAT_ERR_FORMAT, "tensor '%s': ...", name);`.
 */
#ifndef ALEAT_BASE_ERROR_H
#define ALEAT_BASE_ERROR_H

#include "aleat/status.h"

/** Sets `err` (may be NULL) to `status` with a formatted message, clears its hint; returns
 * `status`. */
aleat_status aleat_fail(aleat_error *err, aleat_status status, const char *fmt, ...)
    ALEAT_PRINTF(3, 4);

/** Adds "what to try" to an error that aleat_fail() has just set. `err` may be NULL. */
void aleat_hint(aleat_error *err, const char *fmt, ...) ALEAT_PRINTF(2, 3);

/** Puts "prefix: " before the message of an error, to say in what the failure happened. */
void aleat_error_in(aleat_error *err, const char *fmt, ...) ALEAT_PRINTF(2, 3);

/** The message for a failed allocation of `what`; returns ALEAT_ERR_MEMORY. */
aleat_status aleat_fail_memory(aleat_error *err, const char *what);

/** The message for a failed system call on `path`, from `errno`; returns ALEAT_ERR_IO. */
aleat_status aleat_fail_errno(aleat_error *err, const char *what, const char *path);

#endif
