/*
 * numpy's .npy and .npz (format 1.0 to 3.0; any real dtype in, C order or Fortran order in, C order
 * out). Source: numpy.lib.format's documentation.
 */
#ifndef ALEAT_IO_NPY_H
#define ALEAT_IO_NPY_H

#include <stdbool.h>

#include "io/file.h"
#include "tensor/tensor.h"

/** Reads one array; *out is owned, in the file's dtype. */
ALEAT_MUST_USE aleat_status aleat_npy_read(aleat_tensor *out, const char *path, aleat_error *err);
/** Reads one array and converts it to f32. */
ALEAT_MUST_USE aleat_status aleat_npy_read_f32(aleat_tensor *out, const char *path,
                                               aleat_error *err);
/** An .npy in place. Zero-initialise; ends with aleat_npy_map_close(). */
typedef struct aleat_npy_map {
    aleat_mapping file;
    aleat_tensor array; /**< a view into it; read only */
} aleat_npy_map;
/** Maps an array, for those larger than memory. ALEAT_ERR_UNSUPPORTED: not C order in this
 * machine's byte order, or of a type that arrays here do not have. */
ALEAT_MUST_USE aleat_status aleat_npy_map_open(aleat_npy_map *out, const char *path,
                                               aleat_error *err);
void aleat_npy_map_close(aleat_npy_map *map);
/** Writes an array (any dtype but bf16) atomically. */
ALEAT_MUST_USE aleat_status aleat_npy_write(const char *path, const aleat_tensor *array,
                                            aleat_error *err);

/** A named array of an .npz; `name` without ".npy". */
typedef struct aleat_named_array {
    const char *name;
    aleat_tensor array;
} aleat_named_array;

/** Writes arrays into an .npz atomically; stored, or deflated if `compress`. Byte-reproducible (no
 * clock). */
ALEAT_MUST_USE aleat_status aleat_npz_write(const char *path, const aleat_named_array *arrays,
                                            int count, bool compress, aleat_error *err);
/** Whether an .npz holds an array called `name`. */
ALEAT_MUST_USE aleat_status aleat_npz_has(bool *out, const char *path, const char *name,
                                          aleat_error *err);
/** Reads the array called `name` from an .npz. */
ALEAT_MUST_USE aleat_status aleat_npz_read(aleat_tensor *out, const char *path, const char *name,
                                           aleat_error *err);

/**
 * An .npy that grows row by row along its first axis, for arrays larger than memory: header first
 * with the final shape, rows in any order, missing rows zero. Atomic: appears under `path` at
 * close.
 */
typedef struct aleat_npy_stream aleat_npy_stream;
ALEAT_MUST_USE aleat_status aleat_npy_stream_open(aleat_npy_stream **out, const char *path,
                                                  aleat_dtype dtype, const aleat_shape *shape,
                                                  aleat_error *err);
/** Writes rows [begin, begin+count) from contiguous `rows`. */
ALEAT_MUST_USE aleat_status aleat_npy_stream_rows(aleat_npy_stream *stream, int64_t begin,
                                                  int64_t count, const void *rows,
                                                  aleat_error *err);
ALEAT_MUST_USE aleat_status aleat_npy_stream_commit(aleat_npy_stream *stream, aleat_error *err);
void aleat_npy_stream_free(aleat_npy_stream *stream);

/**
 * An array read row by row from a mapped .npy or from a member of an .npz, for arrays larger than
 * memory: only pages that are asked for are read. A deflated member is inflated as a whole.
 */
typedef struct aleat_npy_reader aleat_npy_reader;
/** `member` without ".npy"; NULL: `path` is an .npy. ALEAT_ERR_UNSUPPORTED: Fortran order of more
 * than one axis. */
ALEAT_MUST_USE aleat_status aleat_npy_reader_open(aleat_npy_reader **out, const char *path,
                                                  const char *member, aleat_error *err);
aleat_dtype aleat_npy_reader_dtype(const aleat_npy_reader *reader);
/** Borrowed from the reader. */
const aleat_shape *aleat_npy_reader_shape(const aleat_npy_reader *reader);
/**
 * dst = rows [begin, begin+count) along the first axis as `dtype`, which is the array's own or
 * ALEAT_F32; dst is aligned for it. Rows outside the array are an ALEAT_ERR_ARGUMENT.
 */
ALEAT_MUST_USE aleat_status aleat_npy_reader_rows(const aleat_npy_reader *reader, int64_t begin,
                                                  int64_t count, aleat_dtype dtype, void *dst,
                                                  aleat_error *err);
/** Accepts NULL. */
void aleat_npy_reader_free(aleat_npy_reader *reader);

#endif
