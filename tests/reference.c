#include "reference.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/npy.h"

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

static double item(const aleat_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case ALEAT_F32: return (double)((const float *)t->data)[i];
    case ALEAT_F64: return ((const double *)t->data)[i];
    case ALEAT_I32: return ((const int32_t *)t->data)[i];
    case ALEAT_I64: return (double)((const int64_t *)t->data)[i];
    case ALEAT_BOOL:
    case ALEAT_U8: return ((const uint8_t *)t->data)[i];
    default: fail_msg("a reference of type %s", aleat_dtype_name(t->dtype));
    }
    return 0;
}

static reference load(const char *path)
{
    aleat_tensor t = {0};
    aleat_error err = {0};
    if (aleat_npy_read(&t, path, &err))
        fail_msg("%s", err.message);
    reference r = {.count = aleat_tensor_count(&t), .n_dims = t.shape.n_dims};
    memcpy(r.dim, t.shape.dim, sizeof r.dim);
    r.data = malloc((size_t)(r.count + 1) * sizeof *r.data);
    for (int64_t i = 0; i < r.count; i++)
        r.data[i] = item(&t, i);
    aleat_tensor_clear(&t);
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
