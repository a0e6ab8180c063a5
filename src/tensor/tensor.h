/*
 * Dense arrays in C order. A tensor either owns its data or borrows it (a view); everything after
 * the file formats works on contiguous arrays, so there are no strides here.
 */
#ifndef ALEAT_TENSOR_TENSOR_H
#define ALEAT_TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aleat/status.h"

#define ALEAT_MAX_DIMS 8

typedef enum aleat_dtype {
    ALEAT_F32,
    ALEAT_F64,
    ALEAT_F16,
    ALEAT_BF16,
    ALEAT_U8,
    ALEAT_I8,
    ALEAT_I16,
    ALEAT_I32,
    ALEAT_I64,
    ALEAT_BOOL,
    ALEAT_DTYPE_COUNT
} aleat_dtype;

/** Bytes of one element. */
size_t aleat_dtype_size(aleat_dtype dtype);
/** "f32", "bf16", ... */
const char *aleat_dtype_name(aleat_dtype dtype);

typedef struct aleat_shape {
    int n_dims;
    int64_t dim[ALEAT_MAX_DIMS];
} aleat_shape;

/** Number of elements into *count; false if a dimension is negative or the product overflows. */
bool aleat_shape_count(const aleat_shape *shape, int64_t *count);
/** Bytes of a contiguous array into *bytes; false on overflow. */
bool aleat_shape_bytes(const aleat_shape *shape, aleat_dtype dtype, size_t *bytes);
bool aleat_shape_equal(const aleat_shape *a, const aleat_shape *b);
/** Writes "[2,3,32,32]" into buf (always terminated) and returns buf. */
const char *aleat_shape_text(const aleat_shape *shape, char *buf, size_t size);

/** Shape from a list: aleat_shape_of(4, n, c, h, w). */
aleat_shape aleat_shape_of(int n_dims, ...);

typedef struct aleat_tensor {
    aleat_dtype dtype;
    aleat_shape shape;
    void *data; /**< contiguous, C order, aligned to ALEAT_ALIGN when owned */
    bool owned; /**< aleat_tensor_clear() releases data */
} aleat_tensor;

/** Allocates an owned tensor, zeroed. On failure *out is cleared. */
ALEAT_MUST_USE aleat_status aleat_tensor_new(aleat_tensor *out, aleat_dtype dtype,
                                             const aleat_shape *shape, aleat_error *err);
/** Releases owned data and resets to all zero; accepts NULL and an already cleared tensor. */
void aleat_tensor_clear(aleat_tensor *tensor);
/** A view of memory that outlives it. */
aleat_tensor aleat_tensor_view(aleat_dtype dtype, const aleat_shape *shape, void *data);
/** Elements of a valid tensor. */
int64_t aleat_tensor_count(const aleat_tensor *tensor);
/** Data as float; asserts that dtype is ALEAT_F32. */
float *aleat_tensor_f32(const aleat_tensor *tensor);

/** Widening and narrowing, element by element; narrowing rounds to nearest even. */
float aleat_f16_to_f32(uint16_t bits);
uint16_t aleat_f32_to_f16(float value);
static inline float aleat_bf16_to_f32(uint16_t bits)
{
    union {
        uint32_t u;
        float f;
    } v = {(uint32_t)bits << 16};
    return v.f;
}
uint16_t aleat_f32_to_bf16(float value);

/** Any real dtype to f32: `count` elements of `src` (of any alignment); dst and src do not overlap.
 */
void aleat_convert_to_f32(float *dst, const void *src, aleat_dtype dtype, int64_t count);
/** The same to f64, which holds every value of every type but large 64-bit integers. */
void aleat_convert_to_f64(double *dst, const void *src, aleat_dtype dtype, int64_t count);

/** Makes an owned tensor f64, whatever it was. On failure it is as before. */
ALEAT_MUST_USE aleat_status aleat_tensor_widen(aleat_tensor *tensor, aleat_error *err);

/** |a - b|_2 / |b|_2 in double over n elements; 0 if both are zero. The project's measure of error.
 */
double aleat_relative_l2(const float *a, const float *b, int64_t n);

#endif
