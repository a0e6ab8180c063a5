/* The inside of aleat_weights, for the readers of the file formats. */
#ifndef ALEAT_IO_WEIGHTS_BUILD_H
#define ALEAT_IO_WEIGHTS_BUILD_H

#include "io/arena.h"
#include "io/file.h"
#include "io/weights.h"

struct aleat_weights {
    char *path;
    const char *format;
    aleat_mapping *files; // one, or the shards; the last is the one being read
    int n_files;
    aleat_weight *items; // in file order
    int64_t count, capacity;
    int64_t *by_name;    // indices into items, sorted by name
    aleat_arena storage; // names, and records that had to be inflated
};

/**
 * Adds a tensor whose bytes the caller has checked. `name` (len bytes, must not hold a 0) is copied;
 * stride NULL: C order. The shape is valid for aleat_shape_bytes().
 */
ALEAT_MUST_USE aleat_status aleat_weights_add(aleat_weights *weights, const char *name, size_t len,
                                              aleat_dtype dtype, const aleat_shape *shape,
                                              const int64_t *stride, const void *data,
                                              aleat_error *err);

/*
 * The formats. `recognises` looks at the first bytes; `read` adds all tensors of one file and
 * writes errors that name the tensor but not the file.
 */
typedef bool aleat_recognise_fn(const unsigned char *data, size_t len);
typedef aleat_status aleat_read_fn(aleat_weights *weights, const unsigned char *data, size_t len,
                                   aleat_error *err);

aleat_recognise_fn aleat_is_safetensors;
aleat_read_fn aleat_read_safetensors;

#endif
