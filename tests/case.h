/* Reference cases: folders of arrays and weights, in tests/data or below ALEAT_SHARED/ref. */
#ifndef ALEAT_TESTS_CASE_H
#define ALEAT_TESTS_CASE_H

#include "io_fixture.h"

#include "io/file.h"
#include "io/npy.h"

// tests/data or, for the larger cases, a folder that may not be there.
static inline const char *case_path(const char *folder, const char *name)
{
    static char text[4][512];
    static int next;
    const char *shared = getenv("ALEAT_SHARED"), *data = getenv("ALEAT_TEST_DATA");
    char *path = text[next++ % 4];
    if (!strncmp(folder, "data/", 5))
        (void)snprintf(path, sizeof text[0], "%s/%s/%s", data ? data : "tests/data", folder + 5,
                       name);
    else
        (void)snprintf(path, sizeof text[0], "%s/ref/%s/%s", shared ? shared : "/nowhere", folder,
                       name);
    return path;
}

static inline bool case_exists(const char *folder, const char *name)
{
    const bool there = aleat_is_file(case_path(folder, name));
    if (!there)
        print_message("skipped: no %s/%s below ALEAT_SHARED\n", folder, name);
    return there;
}

static inline aleat_tensor load(const char *folder, const char *name)
{
    aleat_error err = {0};
    aleat_tensor array = {0};
    if (aleat_npy_read_f32(&array, case_path(folder, name), &err))
        fail_msg("%s", err.message);
    return array;
}

// Channels of [n, c, h, w] or [n, c].
static inline int64_t pixels_of(const aleat_tensor *a)
{
    return a->shape.n_dims == 4 ? a->shape.dim[2] * a->shape.dim[3] : 1;
}

#endif
