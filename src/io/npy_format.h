/* The .npy format in memory, for npy.c and npz.c. */
#ifndef ALEAT_IO_NPY_FORMAT_H
#define ALEAT_IO_NPY_FORMAT_H

#include "io/npy.h"
#include "io/zip.h"

/** The longest header that this library writes: 8 dimensions of 19 digits. */
#define ALEAT_NPY_HEADER 384

/** Reads an array from the bytes of an .npy; errors do not name the file. *out is owned. */
ALEAT_MUST_USE aleat_status aleat_npy_parse(aleat_tensor *out, const unsigned char *data,
                                            size_t len, aleat_error *err);
/** Writes the header, a multiple of 64 bytes, as numpy does; ALEAT_ERR_UNSUPPORTED for bf16. */
ALEAT_MUST_USE aleat_status aleat_npy_header(unsigned char header[ALEAT_NPY_HEADER], size_t *len,
                                             aleat_dtype dtype, const aleat_shape *shape,
                                             aleat_error *err);

/** The entry of array `name` (without ".npy") of an .npz; ALEAT_ERR_FORMAT if there is none. */
ALEAT_MUST_USE aleat_status aleat_npz_find(const aleat_zip_entry **out, const aleat_zip *zip,
                                           const char *name, aleat_error *err);

#endif
