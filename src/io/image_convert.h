/* Between pictures of any size and colour and the arrays of a network. */
#ifndef ALEAT_IO_IMAGE_CONVERT_H
#define ALEAT_IO_IMAGE_CONVERT_H

#include "io/png_image.h"

/**
 * dst [size,size,channels] = the largest square in the middle of `src` (left and up by half a pixel
 * where it cannot be in the middle), each pixel the mean of what it covers there, rounded; in exact
 * integers. Grey becomes RGB by repetition, RGB grey by 0.299, 0.587, 0.114 (ITU-R BT.601; in
 * 65536ths, as PIL has it). size and channels of 1 or 3 are at least 1; src has 1 or 3 channels.
 */
void aleat_image_fit(uint8_t *dst, const aleat_image *src, int64_t size, int channels);

/** src [n, from] to dst [n, to] channels, 1 or 3 each, by the same rule. */
void aleat_image_channels(uint8_t *dst, int to, const uint8_t *src, int from, int64_t n);

/** The pixel of a value from -1 to 1 (beyond: its ends; NaN: 0), rounded. */
uint8_t aleat_pixel_of_float(float value);
/** dst [height,width,channels] of x [channels,height,width], -1 to 1 (beyond: its ends), rounded.
 */
void aleat_image_of_floats(uint8_t *dst, const float *x, int64_t channels, int64_t height,
                           int64_t width);

#endif
