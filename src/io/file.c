#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"

// aleat_fail_errno() and, where the user can do something about it, what to do.
static aleat_status fail_errno(aleat_error *err, const char *what, const char *path)
{
    const int code = errno;
    const aleat_status st = aleat_fail_errno(err, what, path);
    if (code == ENOSPC || code == EDQUOT)
        aleat_hint(err, "free some space, or choose another place");
    else if (code == EACCES || code == EPERM || code == EROFS)
        aleat_hint(err, "check who may read and write there");
    else if (code == EMFILE || code == ENFILE)
        aleat_hint(err, "raise the limit of open files (ulimit -n)");
    return st;
}

aleat_status aleat_mapping_open(aleat_mapping *out, const char *path, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_status st = ALEAT_OK;
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(err, "cannot open", path);
    if (fstat(fd, &info)) {
        st = fail_errno(err, "cannot read", path);
    } else if (!S_ISREG(info.st_mode)) {
        st = aleat_fail(err, ALEAT_ERR_IO, "%s: not a regular file%s", path,
                        S_ISDIR(info.st_mode) ? " but a folder" : "");
    } else if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            st = fail_errno(err, "cannot map", path);
        else
            *out = (aleat_mapping){.data = data, .len = (size_t)info.st_size};
    }
    (void)close(fd);
    return st;
}

void aleat_mapping_close(aleat_mapping *map)
{
    if (!map || !map->data)
        return;
    (void)munmap((void *)(uintptr_t)map->data, map->len);
    memset(map, 0, sizeof *map);
}

void aleat_mapping_forget(const void *begin, size_t len)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t first = ((uintptr_t)begin + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)begin + len) / page * page;
    if (first < end)
        (void)madvise((void *)first, end - first, MADV_DONTNEED);
}

// Creates a new file beside `path` whose name nobody uses; -1 and errno on failure.
static int create_beside(const char *path, char **name)
{
    for (int n = 0; n < 10000; n++) {
        *name = aleat_asprintf("%s.tmp%ld-%d", path, (long)getpid(), n);
        if (!*name) {
            errno = ENOMEM;
            return -1;
        }
        const int fd = open(*name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0)
            return fd;
        aleat_free(*name);
        *name = NULL;
        if (errno != EEXIST)
            return -1;
    }
    return -1;
}

aleat_status aleat_atomic_open(aleat_atomic_file *out, const char *path, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_status st = ALEAT_OK;
    aleat_atomic_file file = {0};
    struct stat info;
    int fd = -1;

    file.path = aleat_strdup(path);
    if (!file.path) {
        st = aleat_fail_memory(err, path);
        goto done;
    }
    const bool exists = stat(path, &info) == 0;
    if (exists && S_ISDIR(info.st_mode)) {
        st = aleat_fail(err, ALEAT_ERR_IO, "%s: cannot write: it is a folder", path);
        goto done;
    }
    fd = exists && !S_ISREG(info.st_mode) ? open(path, O_WRONLY | O_CLOEXEC)
                                          : create_beside(path, &file.temporary);
    if (fd < 0 && errno == ENOMEM) {
        st = aleat_fail_memory(err, path);
        goto done;
    }
    if (fd >= 0)
        file.stream = fdopen(fd, file.temporary ? "w+b" : "wb");
    if (!file.stream) {
        st = fail_errno(err, "cannot create", path);
        goto done;
    }
    fd = -1; // the stream owns it
    *out = file;
    memset(&file, 0, sizeof file);
done:
    if (fd >= 0)
        (void)close(fd);
    aleat_atomic_abandon(&file);
    return st;
}

aleat_status aleat_atomic_write(aleat_atomic_file *file, const void *data, size_t len,
                                aleat_error *err)
{
    if (len && fwrite(data, 1, len, file->stream) != len)
        return fail_errno(err, "cannot write", file->path);
    return ALEAT_OK;
}

// A rename is lasting only once the folder that holds the name is on the disk.
static aleat_status sync_folder_of(const char *path, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    int fd = -1;
    char *folder = aleat_path_folder(path);
    if (!folder) {
        st = aleat_fail_memory(err, path);
        goto done;
    }
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    // Some file systems cannot sync a folder (EINVAL) and some folders may not be read: then the
    // system's own write-back is all there is.
    if (fd >= 0 && fsync(fd) && errno != EINVAL && errno != EROFS)
        st = fail_errno(err, "cannot sync the folder", folder);
done:
    if (fd >= 0)
        (void)close(fd);
    aleat_free(folder);
    return st;
}

aleat_status aleat_atomic_commit(aleat_atomic_file *file, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    FILE *stream = file->stream;
    if (fflush(stream) || ferror(stream) || (file->temporary && fsync(fileno(stream))))
        st = fail_errno(err, "cannot write", file->path);
    file->stream = NULL;
    if (fclose(stream) && !st)
        st = fail_errno(err, "cannot write", file->path);
    if (!st && file->temporary) {
        if (rename(file->temporary, file->path)) {
            st = fail_errno(err, "cannot replace", file->path);
        } else {
            aleat_free(file->temporary);
            file->temporary = NULL;
            st = sync_folder_of(file->path, err);
        }
    }
    aleat_atomic_abandon(file);
    return st;
}

void aleat_atomic_abandon(aleat_atomic_file *file)
{
    if (!file)
        return;
    if (file->stream)
        (void)fclose(file->stream);
    if (file->temporary)
        (void)unlink(file->temporary);
    aleat_free(file->temporary);
    aleat_free(file->path);
    memset(file, 0, sizeof *file);
}

aleat_status aleat_write_file(const char *path, const void *data, size_t len, aleat_error *err)
{
    aleat_atomic_file file;
    aleat_status st = aleat_atomic_open(&file, path, err);
    if (!st)
        st = aleat_atomic_write(&file, data, len, err);
    if (!st)
        st = aleat_atomic_commit(&file, err);
    aleat_atomic_abandon(&file);
    return st;
}

aleat_status aleat_make_dirs(const char *path, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    char *partial = aleat_strdup(path);
    if (!partial)
        return aleat_fail_memory(err, path);
    for (char *slash = partial; slash && !st;) {
        slash = strchr(slash + strspn(slash, "/"), '/');
        if (slash)
            *slash = '\0';
        if (*partial && mkdir(partial, 0777) && errno != EEXIST)
            st = fail_errno(err, "cannot create the folder", partial);
        if (slash)
            *slash = '/';
    }
    if (!st && *path && !aleat_is_dir(path))
        st = aleat_fail(err, ALEAT_ERR_IO, "%s: cannot create the folder: a file is in the way",
                        path);
    aleat_free(partial);
    return st;
}

bool aleat_is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool aleat_is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

char *aleat_path_join(const char *a, const char *b)
{
    if (!*a || *b == '/')
        return aleat_strdup(b);
    return aleat_asprintf("%s%s%s", a, a[strlen(a) - 1] == '/' ? "" : "/", b);
}

bool aleat_path_ends_in(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);
    return n > m && strcmp(path + n - m, end) == 0;
}

const char *aleat_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *aleat_path_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return aleat_strdup(".");
    const size_t len = slash == path ? 1 : (size_t)(slash - path);
    return aleat_asprintf("%.*s", (int)len, path);
}
