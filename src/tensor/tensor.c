#include "tensor/tensor.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[ALEAT_DTYPE_COUNT] = {
    [ALEAT_F32] = {"f32", 4},   [ALEAT_F64] = {"f64", 8}, [ALEAT_F16] = {"f16", 2},
    [ALEAT_BF16] = {"bf16", 2}, [ALEAT_U8] = {"u8", 1},   [ALEAT_I8] = {"i8", 1},
    [ALEAT_I16] = {"i16", 2},   [ALEAT_I32] = {"i32", 4}, [ALEAT_I64] = {"i64", 8},
    [ALEAT_BOOL] = {"bool", 1},
};

size_t aleat_dtype_size(aleat_dtype dtype)
{
    assert((unsigned)dtype < ALEAT_DTYPE_COUNT);
    return dtypes[dtype].size;
}

const char *aleat_dtype_name(aleat_dtype dtype)
{
    return (unsigned)dtype < ALEAT_DTYPE_COUNT ? dtypes[dtype].name : "unknown";
}

bool aleat_shape_count(const aleat_shape *shape, int64_t *count)
{
    int64_t total = 1;
    for (int i = 0; i < shape->n_dims; i++)
        if (shape->dim[i] < 0 || __builtin_mul_overflow(total, shape->dim[i], &total))
            return false;
    *count = total;
    return true;
}

bool aleat_shape_bytes(const aleat_shape *shape, aleat_dtype dtype, size_t *bytes)
{
    int64_t count;
    return aleat_shape_count(shape, &count) &&
           aleat_size_mul((size_t)count, aleat_dtype_size(dtype), bytes);
}

bool aleat_shape_equal(const aleat_shape *a, const aleat_shape *b)
{
    if (a->n_dims != b->n_dims)
        return false;
    for (int i = 0; i < a->n_dims; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

const char *aleat_shape_text(const aleat_shape *shape, char *buf, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < shape->n_dims && used < size; i++)
        used += (size_t)snprintf(buf + used, size - used, "%s%lld", i ? "," : "[",
                                 (long long)shape->dim[i]);
    if (used < size)
        (void)snprintf(buf + used, size - used, shape->n_dims ? "]" : "[]");
    return buf;
}

aleat_shape aleat_shape_of(int n_dims, ...)
{
    assert(n_dims >= 0 && n_dims <= ALEAT_MAX_DIMS);
    aleat_shape shape = {.n_dims = n_dims};
    va_list args;
    va_start(args, n_dims);
    for (int i = 0; i < n_dims; i++)
        shape.dim[i] = va_arg(args, int64_t);
    va_end(args);
    return shape;
}

aleat_status aleat_tensor_new(aleat_tensor *out, aleat_dtype dtype, const aleat_shape *shape,
                              aleat_error *err)
{
    memset(out, 0, sizeof *out);
    size_t bytes;
    char text[128];
    if (!aleat_shape_bytes(shape, dtype, &bytes))
        return aleat_fail(err, ALEAT_ERR_SHAPE, "a tensor of shape %s is too large",
                          aleat_shape_text(shape, text, sizeof text));
    void *data = aleat_calloc(1, bytes);
    if (!data)
        return aleat_fail(err, ALEAT_ERR_MEMORY,
                          "out of memory: a tensor of shape %s needs %zu bytes",
                          aleat_shape_text(shape, text, sizeof text), bytes);
    *out = (aleat_tensor){.dtype = dtype, .shape = *shape, .data = data, .owned = true};
    return ALEAT_OK;
}

void aleat_tensor_clear(aleat_tensor *tensor)
{
    if (!tensor)
        return;
    if (tensor->owned)
        aleat_free(tensor->data);
    memset(tensor, 0, sizeof *tensor);
}

aleat_tensor aleat_tensor_view(aleat_dtype dtype, const aleat_shape *shape, void *data)
{
    return (aleat_tensor){.dtype = dtype, .shape = *shape, .data = data};
}

int64_t aleat_tensor_count(const aleat_tensor *tensor)
{
    int64_t count = 0;
    const bool valid = aleat_shape_count(&tensor->shape, &count);
    assert(valid);
    (void)valid;
    return count;
}

float *aleat_tensor_f32(const aleat_tensor *tensor)
{
    assert(tensor->dtype == ALEAT_F32);
    return tensor->data;
}

static float f32_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// Without branches, so that loops vectorise; exact, and independent of the processor's treatment of
// subnormal numbers, since none occurs in f32: mantissa * 2^-24 is (1 + mantissa * 2^-10) * 2^-14
// minus 2^-14.
static inline float widen_f16(uint16_t bits)
{
    const uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    const uint32_t magnitude = (uint32_t)(bits & 0x7fffu) << 13;
    const uint32_t exponent = magnitude & 0x0f800000u;
    // The biases differ by 112; infinity and NaN have all exponent bits set in both formats.
    const uint32_t shift = exponent == 0x0f800000u ? 224u << 23 : 112u << 23;
    const uint32_t subnormal = exponent == 0 ? 1u << 23 : 0;
    const uint32_t excess = exponent == 0 ? 113u << 23 : 0; // 2^-14 or 0
    const float value = f32_of_bits(magnitude + shift + subnormal) - f32_of_bits(excess);
    return f32_of_bits(sign | bits_of_f32(value));
}

float aleat_f16_to_f32(uint16_t bits)
{
    return widen_f16(bits);
}

uint16_t aleat_f32_to_f16(float value)
{
    const uint32_t bits = bits_of_f32(value);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return sign | 0x7e00u; // NaN
    if (magnitude >= 0x477ff000u)
        return sign | 0x7c00u;     // rounds to infinity
    if (magnitude < 0x38800000u) { // subnormal in f16: nearbyint rounds to even
        const float scaled = ldexpf(f32_of_bits(magnitude), 24);
        return sign | (uint16_t)nearbyintf(scaled);
    }
    const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return sign | (uint16_t)((rounded >> 13) - (112u << 10));
}

uint16_t aleat_f32_to_bf16(float value)
{
    const uint32_t bits = bits_of_f32(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u); // keep NaN a NaN
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// Sources are views into files, which need not be aligned.
#define UNALIGNED(type) type __attribute__((aligned(1), may_alias))
typedef UNALIGNED(float) any_f32;
typedef UNALIGNED(double) any_f64;
typedef UNALIGNED(uint16_t) any_u16;
typedef UNALIGNED(int16_t) any_i16;
typedef UNALIGNED(int32_t) any_i32;
typedef UNALIGNED(int64_t) any_i64;

// expr: value s[i] of an array of `type`, to be converted
#define CONVERT(type, expr)                                                                        \
    do {                                                                                           \
        const type *s = src;                                                                       \
        for (int64_t i = 0; i < count; i++)                                                        \
            dst[i] = (expr);                                                                       \
    } while (0)
#define CONVERT_BY_TYPE(to)                                                                        \
    switch (dtype) {                                                                               \
    case ALEAT_F32: CONVERT(any_f32, (to)s[i]); break;                                             \
    case ALEAT_F64: CONVERT(any_f64, (to)s[i]); break;                                             \
    case ALEAT_F16: CONVERT(any_u16, (to)widen_f16(s[i])); break;                                  \
    case ALEAT_BF16: CONVERT(any_u16, (to)aleat_bf16_to_f32(s[i])); break;                         \
    case ALEAT_U8: CONVERT(uint8_t, (to)s[i]); break;                                              \
    case ALEAT_I8: CONVERT(int8_t, (to)s[i]); break;                                               \
    case ALEAT_I16: CONVERT(any_i16, (to)s[i]); break;                                             \
    case ALEAT_I32: CONVERT(any_i32, (to)s[i]); break;                                             \
    case ALEAT_I64: CONVERT(any_i64, (to)s[i]); break;                                             \
    case ALEAT_BOOL: CONVERT(uint8_t, s[i] ? (to)1 : (to)0); break;                                \
    case ALEAT_DTYPE_COUNT: assert(0); break;                                                      \
    }

void aleat_convert_to_f32(float *dst, const void *src, aleat_dtype dtype, int64_t count)
{
    CONVERT_BY_TYPE(float)
}

void aleat_convert_to_f64(double *dst, const void *src, aleat_dtype dtype,
                          int64_t count){CONVERT_BY_TYPE(double)}

aleat_status aleat_tensor_widen(aleat_tensor *tensor, aleat_error *err)
{
    aleat_tensor wide;
    if (tensor->dtype == ALEAT_F64)
        return ALEAT_OK;
    aleat_status st = aleat_tensor_new(&wide, ALEAT_F64, &tensor->shape, err);
    if (st)
        return st;
    aleat_convert_to_f64(wide.data, tensor->data, tensor->dtype, aleat_tensor_count(tensor));
    aleat_tensor_clear(tensor);
    *tensor = wide;
    return ALEAT_OK;
}

double aleat_relative_l2(const float *a, const float *b, int64_t n)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)a[i] - (double)b[i];
        difference += d * d;
        norm += (double)b[i] * (double)b[i];
    }
    if (difference == 0)
        return 0;
    return sqrt(difference / norm);
}
