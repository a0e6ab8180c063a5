/*
 * Drives a fuzz target where libFuzzer is not at hand: runs the files of its corpus, then random
 * mutations of them, for a number of seconds. Takes the few options of libFuzzer that tools/fuzz.sh
 * passes. Before each run the input is kept in a file, so that a crash leaves it behind.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define MAX_INPUTS 512
#define MAX_BYTES  (1 << 16)

typedef struct input {
    uint8_t *data;
    size_t size;
} input;

typedef struct driver {
    input inputs[MAX_INPUTS];
    int n_inputs;
    uint64_t random;
    const char *prefix;
    double seconds;
    unsigned timeout;
} driver;

/* splitmix64: the mutations are the same in every run of the same corpus. */
static uint64_t next_random(driver *d)
{
    uint64_t z = d->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t below(driver *d, size_t n)
{
    return n ? (size_t)(next_random(d) % n) : 0;
}

static void load_file(driver *d, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || d->n_inputs == MAX_INPUTS)
        goto done;
    uint8_t *data = malloc(MAX_BYTES);
    if (!data)
        goto done;
    const size_t size = fread(data, 1, MAX_BYTES, file);
    d->inputs[d->n_inputs++] = (input){data, size};
done:
    if (file)
        (void)fclose(file);
}

static void load_folder(driver *d, const char *folder)
{
    struct dirent **names = NULL;
    const int n = scandir(folder, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            load_file(d, path);
        free(names[i]);
    }
    free(names);
}

/* A few random edits of a random corpus entry; returns the new size. */
static size_t mutate(driver *d, uint8_t *out)
{
    static const uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0xff, '"',
                                    '{',  '}',  '[',  ']',  '(',  '.'};
    const input *base = &d->inputs[below(d, (size_t)d->n_inputs)];
    size_t size = base->size;
    memcpy(out, base->data, size);
    for (size_t edits = 1 + below(d, 6); edits > 0; edits--) {
        const size_t at = below(d, size);
        switch (below(d, 6)) {
        case 0: size = at; break; // cut
        case 1:                   // one bit
            if (size)
                out[at] ^= (uint8_t)(1u << below(d, 8));
            break;
        case 2: // a byte that means something
            if (size)
                out[at] = edges[below(d, sizeof edges)];
            break;
        case 3: { // another place of the same file
            const size_t from = below(d, size), room = size - (from > at ? from : at);
            memmove(out + at, out + from, below(d, room + 1));
            break;
        }
        case 4: { // drop a stretch
            const size_t gone = below(d, size - at);
            memmove(out + at, out + at + gone, size - at - gone);
            size -= gone;
            break;
        }
        default: { // a number that is too large
            const uint64_t huge = next_random(d) >> below(d, 64);
            if (size >= at + sizeof huge)
                memcpy(out + at, &huge, sizeof huge);
        }
        }
    }
    return size;
}

static void run_one(driver *d, const uint8_t *data, size_t size)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%slast-input", d->prefix);
    FILE *kept = fopen(path, "wb");
    if (kept) {
        (void)fwrite(data, 1, size, kept);
        (void)fclose(kept);
    }
    (void)alarm(d->timeout);
    (void)LLVMFuzzerTestOneInput(data, size);
    (void)alarm(0);
    (void)unlink(path);
}

static void parse_argument(driver *d, const char *arg)
{
    if (strncmp(arg, "-max_total_time=", 16) == 0)
        d->seconds = strtod(arg + 16, NULL);
    else if (strncmp(arg, "-timeout=", 9) == 0)
        d->timeout = (unsigned)strtoul(arg + 9, NULL, 10);
    else if (strncmp(arg, "-artifact_prefix=", 17) == 0)
        d->prefix = arg + 17;
    else if (arg[0] != '-')
        load_folder(d, arg);
}

int main(int argc, char **argv)
{
    static driver d = {.prefix = "./", .seconds = 5, .timeout = 10};
    static uint8_t data[MAX_BYTES];
    for (int i = 1; i < argc; i++)
        parse_argument(&d, argv[i]);
    if (d.n_inputs == 0) {
        d.inputs[0] = (input){calloc(64, 1), 64};
        d.n_inputs = 1;
    }
    for (int i = 0; i < d.n_inputs; i++)
        run_one(&d, d.inputs[i].data, d.inputs[i].size);
    uint64_t runs = 0;
    const time_t end = time(NULL) + (time_t)d.seconds;
    for (; time(NULL) < end; runs++)
        run_one(&d, data, mutate(&d, data));
    (void)fprintf(stderr, "%s: %llu mutations of %d files\n", argv[0], (unsigned long long)runs,
                  d.n_inputs);
    for (int i = 0; i < d.n_inputs; i++)
        free(d.inputs[i].data);
    return 0;
}
