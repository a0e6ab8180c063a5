#include "reference.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char path_buffer[4096];

static const char *join(const char *root, const char *fmt, va_list args)
{
    const int used = snprintf(path_buffer, sizeof path_buffer, "%s/", root ? root : ".");
    (void)vsnprintf(path_buffer + used, sizeof path_buffer - (size_t)used, fmt, args);
    return path_buffer;
}

const char *reference_path(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *path = join(getenv("ALEAT_TEST_DATA"), fmt, args);
    va_end(args);
    return path;
}

static double item(const char *type, const unsigned char *at)
{
    union {
        float f4;
        double f8;
        int32_t i4;
        int64_t i8;
    } v;
    memcpy(&v, at, type[2] == '8' ? 8 : 4);
    if (type[1] == 'f')
        return type[2] == '8' ? v.f8 : (double)v.f4;
    return type[2] == '8' ? (double)v.i8 : (double)v.i4;
}

// Just enough of the format for files of our own making: version 1.0, C order, no objects.
static reference load(const char *path)
{
    reference r = {0};
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("cannot open %s", path);
    unsigned char start[10];
    assert_int_equal(fread(start, 1, 10, file), 10);
    const size_t header_size = start[8] | (size_t)start[9] << 8;
    char *header = calloc(1, header_size + 1);
    assert_int_equal(fread(header, 1, header_size, file), header_size);
    const char *descr = strstr(header, "'descr': '"), *shape = strchr(header, '(');
    assert_true(descr && shape && strstr(header, "False"));
    char type[4] = {0};
    memcpy(type, descr + 10, 3);
    const bool boolean = type[1] == 'b' || type[1] == 'u';
    const size_t size = boolean ? 1 : (size_t)(type[2] - '0');
    r.count = 1;
    char *at = (char *)(uintptr_t)shape + 1;
    while (*at != ')') {
        r.dim[r.n_dims] = strtol(at, &at, 10);
        r.count *= r.dim[r.n_dims++];
        at += strspn(at, ", ");
    }
    unsigned char *bytes = malloc((size_t)r.count * size + 1);
    assert_int_equal(fread(bytes, size, (size_t)r.count, file), r.count);
    r.data = malloc((size_t)(r.count + 1) * sizeof *r.data);
    for (int64_t i = 0; i < r.count; i++)
        r.data[i] = boolean ? bytes[i] : item(type, bytes + (size_t)i * size);
    free(bytes);
    free(header);
    (void)fclose(file);
    return r;
}

reference reference_load(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *path = join(getenv("ALEAT_TEST_DATA"), fmt, args);
    va_end(args);
    return load(path);
}

static const char *shared_root(void)
{
    static char root[2048];
    const char *shared = getenv("ALEAT_SHARED");
    (void)snprintf(root, sizeof root, "%s/ref", shared ? shared : "../shared");
    return root;
}

reference reference_load_shared(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *path = join(shared_root(), fmt, args);
    va_end(args);
    return load(path);
}

bool reference_shared_there(void)
{
    char probe[4096];
    (void)snprintf(probe, sizeof probe, "%s/README.md", shared_root());
    FILE *file = fopen(probe, "rb");
    if (file)
        (void)fclose(file);
    else
        print_message("skipped: no %s\n", probe);
    return file != NULL;
}

void reference_free(reference *r)
{
    free(r->data);
    memset(r, 0, sizeof *r);
}

float *reference_f32(const reference *r)
{
    float *values = malloc((size_t)(r->count + 1) * sizeof *values);
    for (int64_t i = 0; i < r->count; i++)
        values[i] = (float)r->data[i];
    return values;
}

double max_error_f64(const double *a, const double *b, int64_t count)
{
    double difference = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        if (isnan(a[i]))
            return INFINITY;
        difference = fmax(difference, fabs(a[i] - b[i]));
        size = fmax(size, fabs(b[i]));
    }
    return difference == 0 ? 0 : difference / size;
}

double max_error(const float *a, const double *b, int64_t count)
{
    double *wide = malloc((size_t)(count + 1) * sizeof *wide);
    for (int64_t i = 0; i < count; i++)
        wide[i] = (double)a[i];
    const double error = max_error_f64(wide, b, count);
    free(wide);
    return error;
}
