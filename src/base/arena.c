#include "base/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"

static const char *folder(void)
{
    const char *given = getenv("TMPDIR");
    return given && *given ? given : "/var/tmp"; // often on disk where /tmp is memory
}

static aleat_status fail(size_t bytes, int reason, aleat_error *err)
{
    (void)aleat_fail(err, ALEAT_ERR_IO, "no temporary file of %zu MiB in %s: %s", (bytes >> 20) + 1,
                     folder(), strerror(reason));
    aleat_hint(err, "set TMPDIR to a folder with more space, or allow more memory");
    return ALEAT_ERR_IO;
}

// The file's space is reserved: a full disk must be an error here, not a signal later.
static aleat_status map_file(aleat_arena *out, size_t bytes, aleat_error *err)
{
    char *path = aleat_asprintf("%s/aleat-XXXXXX", folder());
    if (!path)
        return aleat_fail_memory(err, "a temporary file");
    const int file = mkostemp(path, O_CLOEXEC);
    int reason = file < 0 ? errno : 0;
    if (file >= 0) {
        (void)unlink(path);
        reason = posix_fallocate(file, 0, (off_t)bytes);
        void *data =
            reason ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (!reason && data == MAP_FAILED)
            reason = errno;
        if (!reason)
            *out = (aleat_arena){data, bytes, true};
        (void)close(file);
    }
    aleat_free(path);
    return reason ? fail(bytes, reason, err) : ALEAT_OK;
}

aleat_status aleat_arena_new(aleat_arena *out, size_t bytes, bool in_file, aleat_error *err)
{
    *out = (aleat_arena){0};
    if (in_file && bytes)
        return map_file(out, bytes, err);
    char *data = aleat_alloc(bytes);
    if (!data)
        return aleat_fail_memory(err, "working memory");
    *out = (aleat_arena){data, bytes, false};
    return ALEAT_OK;
}

void aleat_arena_rest(const aleat_arena *arena)
{
    if (arena->in_file)
        (void)madvise(arena->data, arena->bytes, MADV_DONTNEED);
}

void aleat_arena_free(aleat_arena *arena)
{
    if (arena->in_file)
        (void)munmap(arena->data, arena->bytes);
    else
        aleat_free(arena->data);
    *arena = (aleat_arena){0};
}
