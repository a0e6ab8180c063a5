/*
 * The binary version of CIFAR-10: records of a label and 32x32 pixels, red, green and blue plane.
 * Source: A. Krizhevsky's description of data_batch_1.bin.
 */
#ifndef ALEAT_IO_CIFAR_H
#define ALEAT_IO_CIFAR_H

#include "tensor/tensor.h"

/** One file as owned arrays: images u8 [n,32,32,3], labels u8 [n], 0 to 9. ALEAT_ERR_FORMAT if it
 * is not whole records, or a label is not one; errors do not name the file. */
ALEAT_MUST_USE aleat_status aleat_cifar10_parse(aleat_tensor *images, aleat_tensor *labels,
                                                const void *data, size_t len, aleat_error *err);

#endif
