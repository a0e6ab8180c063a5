/*
 * Arrays of floats with a shape, in memory and as numpy's .npy: what goes in and out of the library
 * where the caller wants numbers, not pictures.
 */
#ifndef ALEAT_ARRAY_H
#define ALEAT_ARRAY_H

#include <stdint.h>

#include "aleat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Dimensions that an array may have. */
#define ALEAT_ARRAY_DIMS 8

/** A contiguous array in C order. Zero-initialise; plain data otherwise. */
typedef struct aleat_array {
    int n_dims;
    int64_t dim[ALEAT_ARRAY_DIMS];
    float *data; /**< owned by the array if it came from a function below */
} aleat_array;

/** A new array of zeros, to be released by aleat_array_clear(). ALEAT_ERR_SHAPE: negative or too
 * large. */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_array_new(aleat_array *out, int n_dims,
                                                      const int64_t *dim, aleat_error *err);
/** Releases the data and resets to all zero; accepts NULL and a cleared array. */
ALEAT_API void aleat_array_clear(aleat_array *array);
/** Number of elements; 1 for an array without dimensions. */
ALEAT_API int64_t aleat_array_count(const aleat_array *array);

/** Reads an .npy of any real type as floats. Errors name the file and what is wrong with it. */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_array_read(aleat_array *out, const char *path,
                                                       aleat_error *err);
/** Writes a float32 .npy; the file appears whole or not at all. */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_array_write(const char *path, const aleat_array *array,
                                                        aleat_error *err);

#ifdef __cplusplus
}
#endif
#endif
