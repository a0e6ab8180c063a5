/*
 * Status codes and error text, used by every function that can fail.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ALEAT_STATUS_H
#define ALEAT_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ALEAT_API               __attribute__((visibility("default")))
#define ALEAT_MUST_USE          __attribute__((warn_unused_result))
#define ALEAT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define ALEAT_API
#define ALEAT_MUST_USE
#define ALEAT_PRINTF(fmt, args)
#endif

/** What a call came to. ALEAT_OK is 0, so `if (st)` reads "if it failed". */
typedef enum aleat_status {
    ALEAT_OK = 0,
    ALEAT_ERR_MEMORY, /**< an allocation failed */
    ALEAT_ERR_IO,     /**< the operating system refused: missing file, full disk, no permission */
    ALEAT_ERR_FORMAT, /**< a file is damaged, truncated or not what its name says */
    ALEAT_ERR_UNSUPPORTED, /**< well-formed, but asks for something this library does not do */
    ALEAT_ERR_SHAPE,       /**< sizes of two things that must agree do not */
    ALEAT_ERR_ARGUMENT,    /**< the caller passed a value outside the documented range */
    ALEAT_ERR_NUMERIC,     /**< NaN or infinity where a finite number is needed */
    ALEAT_ERR_CANCELLED    /**< a progress callback asked to stop */
} aleat_status;

/** Bytes of text that an aleat_error holds; longer messages are cut, never overrun. */
#define ALEAT_ERROR_TEXT 1024

/**
 * Where a failing call writes what went wrong. Owned by the caller, plain data, may live on the
 * stack; zero-initialise it. Every `err` parameter accepts NULL.
 */
typedef struct aleat_error {
    aleat_status status;
    char message[ALEAT_ERROR_TEXT]; /**< what failed, on what, what was expected; no newline */
    char hint[ALEAT_ERROR_TEXT];    /**< what to try; empty if there is nothing to say */
} aleat_error;

/** Name of a status ("ok", "memory", "io", ...): static text, never NULL. */
ALEAT_API const char *aleat_status_name(aleat_status status);

#ifdef __cplusplus
}
#endif
#endif
