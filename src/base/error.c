#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *aleat_status_name(aleat_status status)
{
    static const char *const names[] = {
        [ALEAT_OK] = "ok",
        [ALEAT_ERR_MEMORY] = "memory",
        [ALEAT_ERR_IO] = "io",
        [ALEAT_ERR_FORMAT] = "format",
        [ALEAT_ERR_UNSUPPORTED] = "unsupported",
        [ALEAT_ERR_SHAPE] = "shape",
        [ALEAT_ERR_ARGUMENT] = "argument",
        [ALEAT_ERR_NUMERIC] = "numeric",
        [ALEAT_ERR_CANCELLED] = "cancelled",
    };
    if ((unsigned)status >= sizeof names / sizeof *names)
        return "unknown";
    return names[status];
}

aleat_status(aleat_fail)(aleat_error *err, aleat_status status, const char *fmt, ...)
{
    if (!err)
        return status;
    err->status = status;
    err->hint[0] = '\0';
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    return status;
}

void aleat_hint(aleat_error *err, const char *fmt, ...)
{
    if (!err)
        return;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(err->hint, sizeof err->hint, fmt, args);
    va_end(args);
}

void aleat_error_in(aleat_error *err, const char *fmt, ...)
{
    if (!err)
        return;
    char prefix[ALEAT_ERROR_TEXT];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(prefix, sizeof prefix, fmt, args);
    va_end(args);
    char joined[2 * ALEAT_ERROR_TEXT + 2];
    (void)snprintf(joined, sizeof joined, "%s: %s", prefix, err->message);
    joined[sizeof err->message - 1] = '\0';
    memcpy(err->message, joined, strlen(joined) + 1);
}

aleat_status(aleat_fail_memory)(aleat_error *err, const char *what)
{
    return aleat_fail(err, ALEAT_ERR_MEMORY, "out of memory: %s", what);
}

aleat_status(aleat_fail_errno)(aleat_error *err, const char *what, const char *path)
{
    const int code = errno;
    return aleat_fail(err, ALEAT_ERR_IO, "%s: %s: %s", path, what, strerror(code));
}
