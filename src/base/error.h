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

#ifdef __clang_analyzer__
/* The static analyser does not see into error.c, and would follow "it failed with ALEAT_OK". */
static inline aleat_status aleat_assume_failed(aleat_status status)
{
    if (status == ALEAT_OK)
        __builtin_unreachable();
    return status;
}
#define aleat_fail(...)        aleat_assume_failed((aleat_fail)(__VA_ARGS__))
#define aleat_fail_memory(...) aleat_assume_failed((aleat_fail_memory)(__VA_ARGS__))
#define aleat_fail_errno(...)  aleat_assume_failed((aleat_fail_errno)(__VA_ARGS__))
#endif

#endif
