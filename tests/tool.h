/* The tool, run as a user runs it. */
#ifndef ALEAT_TESTS_TOOL_H
#define ALEAT_TESTS_TOOL_H

#include "case.h"
#include "io_fixture.h"

#include <ftw.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "io/sha256.h"

static inline const char *data(const char *name)
{
    return case_path("data/.", name);
}

/* Starts the tool with a line of words, which is cut up; what it says goes to the files stdout and
 * stderr of the scratch folder. */
static inline pid_t start(char *line)
{
    char *argv[64] = {getenv("ALEAT_TOOL")};
    int argc = 1;
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    const pid_t child = fork();
    if (child == 0) {
        if (!freopen(scratch("stdout"), "w", stdout) || !freopen(scratch("stderr"), "w", stderr))
            _exit(99);
        (void)execv(argv[0], argv);
        _exit(99);
    }
    assert_true(child > 0);
    return child;
}

/* Waits for its end: the exit code, or -1 if it was killed. */
static inline int finish(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Both; milliseconds > 0: kills it after that long. */
static inline int run_for(int milliseconds, const char *fmt, ...)
{
    static char line[4096];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    const pid_t child = start(line);
    if (milliseconds > 0) {
        const struct timespec wait = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
        (void)nanosleep(&wait, NULL);
        (void)kill(child, SIGKILL);
    }
    return finish(child);
}
#define run(...) run_for(0, __VA_ARGS__)

/* What it said: the file stdout or stderr. */
static inline void said(const char *name, char *buf, size_t size)
{
    FILE *file = fopen(scratch(name), "r");
    assert_non_null(file);
    buf[fread(buf, 1, size - 1, file)] = '\0';
    (void)fclose(file);
}

// Sum over the files of a hash of name and contents; run.json tells seconds and is left out.
static uint64_t digest;
static size_t root_length;
static inline int add_file(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    if (type != FTW_F || !strcmp(path + at->base, "run.json"))
        return 0;
    char text[ALEAT_SHA256_TEXT], both[512];
    assert_int_equal(aleat_sha256_file(text, path, NULL), ALEAT_OK);
    (void)snprintf(both, sizeof both, "%s %s", path + root_length, text);
    aleat_sha256(text, both, strlen(both));
    text[16] = '\0';
    digest += strtoull(text, NULL, 16);
    return 0;
}

static inline uint64_t digest_of(const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", fixture_folder, name);
    digest = 0;
    root_length = strlen(path);
    assert_int_equal(nftw(path, add_file, 16, FTW_PHYS), 0);
    assert_true(digest != 0);
    return digest;
}

#endif
