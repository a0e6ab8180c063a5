#include "io/cifar.h"

#include <string.h>

#include "base/error.h"

enum { SIDE = 32, CHANNELS = 3, CLASSES = 10 };
enum { PLANE = SIDE * SIDE, PIXELS = PLANE * CHANNELS, RECORD = 1 + PIXELS };

aleat_status aleat_cifar10_parse(aleat_tensor *images, aleat_tensor *labels, const void *data,
                                 size_t len, aleat_error *err)
{
    memset(images, 0, sizeof *images);
    memset(labels, 0, sizeof *labels);
    if (len == 0 || len % RECORD)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%zu bytes are not whole records of CIFAR-10 (%d bytes each)", len,
                          RECORD);
    const int64_t n = (int64_t)(len / RECORD);
    const aleat_shape image_shape =
        aleat_shape_of(4, n, (int64_t)SIDE, (int64_t)SIDE, (int64_t)CHANNELS);
    const aleat_shape label_shape = aleat_shape_of(1, n);
    aleat_status st = aleat_tensor_new(images, ALEAT_U8, &image_shape, err);
    if (!st)
        st = aleat_tensor_new(labels, ALEAT_U8, &label_shape, err);
    const uint8_t *record = data;
    for (int64_t i = 0; i < n && !st; i++, record += RECORD) {
        uint8_t *to = (uint8_t *)images->data + i * PIXELS;
        ((uint8_t *)labels->data)[i] = record[0];
        if (record[0] >= CLASSES)
            st = aleat_fail(err, ALEAT_ERR_FORMAT, "record %lld: %d is not a class of CIFAR-10",
                            (long long)i, record[0]);
        for (int p = 0; p < PIXELS; p++)
            to[p] = record[1 + p % CHANNELS * PLANE + p / CHANNELS];
    }
    if (st) {
        aleat_tensor_clear(images);
        aleat_tensor_clear(labels);
    }
    return st;
}
