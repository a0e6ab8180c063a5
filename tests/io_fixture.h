/* A scratch folder for files that tests write, and the paths of the data that they read. */
#ifndef ALEAT_TESTS_IO_FIXTURE_H
#define ALEAT_TESTS_IO_FIXTURE_H

#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aleat/status.h"

static char fixture_folder[64];
static char fixture_text[8][512]; // the last paths handed out

static inline int make_scratch(void **state)
{
    (void)state;
    // In memory where there is such a folder: the library syncs every file it writes.
    const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(fixture_folder, sizeof fixture_folder, "%s/aleat-test-XXXXXX", where);
    return mkdtemp(fixture_folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

static inline int remove_scratch(void **state)
{
    (void)state;
    return nftw(fixture_folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline const char *fixture_path(const char *folder, const char *name)
{
    static int next;
    char *text = fixture_text[next++ % 8];
    snprintf(text, sizeof fixture_text[0], "%s/%s", folder, name);
    return text;
}

/* A path in the scratch folder; valid for the next seven calls. */
static inline const char *scratch(const char *name)
{
    return fixture_path(fixture_folder, name);
}

/* A path in tests/data; valid for the next seven calls. */
static inline const char *data_path(const char *name)
{
    const char *folder = getenv("ALEAT_TEST_DATA");
    return fixture_path(folder ? folder : "tests/data", name);
}

/* Fails the test with the message of `err` unless `st` is ALEAT_OK. */
static inline void assert_ok(aleat_status st, const aleat_error *err)
{
    if (st)
        fail_msg("%s: %s", aleat_status_name(st), err->message);
}

/* Fails the test unless the call failed with `want` and a message that contains `text`. */
static inline void assert_failed(aleat_status st, aleat_status want, const aleat_error *err,
                                 const char *text)
{
    if (st != want || (st && !strstr(err->message, text)))
        fail_msg("got %s (%s), expected %s with '%s'", aleat_status_name(st), err->message,
                 aleat_status_name(want), text);
}

#endif
