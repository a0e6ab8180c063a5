/*
 * The IDX arrays of MNIST and its kind (train-images-idx3-ubyte, also .gz): big-endian, read into C
 * order and the machine's byte order. Source: Y. LeCun's description of the MNIST files.
 */
#ifndef ALEAT_IO_IDX_H
#define ALEAT_IO_IDX_H

#include "tensor/tensor.h"

/** Reads an array, gzip-compressed or not (by content); *out is owned, in the file's dtype: u8, i8,
 * i16, i32, f32 or f64. ALEAT_ERR_FORMAT if the file is shorter or longer than its header says. */
ALEAT_MUST_USE aleat_status aleat_idx_read(aleat_tensor *out, const char *path, aleat_error *err);
/** The same from memory; errors do not name it. */
ALEAT_MUST_USE aleat_status aleat_idx_parse(aleat_tensor *out, const void *data, size_t len,
                                            aleat_error *err);

#endif
