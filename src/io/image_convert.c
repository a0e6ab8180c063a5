#include "io/image_convert.h"

#include <math.h>
#include <string.h>

void aleat_image_channels(uint8_t *dst, int to, const uint8_t *src, int from, int64_t n)
{
    if (from == to) {
        memcpy(dst, src, (size_t)n * (size_t)to);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        if (to == 1)
            dst[i] = (uint8_t)((19595 * src[3 * i] + 38470 * src[3 * i + 1] +
                                7471 * src[3 * i + 2] + 32768) >>
                               16);
        else
            memset(dst + 3 * i, src[i], 3);
}

// How much of source pixel `s` lies in result pixel `d`, in units of 1 / size of a source pixel,
// where `side` source pixels become `size`.
static int64_t overlap(int64_t s, int64_t d, int64_t side, int64_t size)
{
    const int64_t begin = s * size > d * side ? s * size : d * side;
    const int64_t end = (s + 1) * size < (d + 1) * side ? (s + 1) * size : (d + 1) * side;
    return end - begin;
}

static void mean_of_pixel(uint8_t *dst, const aleat_image *src, int64_t x, int64_t y, int64_t size)
{
    const int64_t side = src->width < src->height ? src->width : src->height;
    const int64_t left = (src->width - side) / 2, top = (src->height - side) / 2;
    const int c = src->channels;
    int64_t sums[3] = {0};
    for (int64_t v = y * side / size; v * size < (y + 1) * side; v++)
        for (int64_t u = x * side / size; u * size < (x + 1) * side; u++) {
            const int64_t weight = overlap(v, y, side, size) * overlap(u, x, side, size);
            const uint8_t *pixel = src->pixels + ((top + v) * src->width + left + u) * c;
            for (int k = 0; k < c; k++)
                sums[k] += weight * pixel[k];
        }
    for (int k = 0; k < c; k++)
        dst[k] = (uint8_t)((sums[k] + side * side / 2) / (side * side));
}

void aleat_image_fit(uint8_t *dst, const aleat_image *src, int64_t size, int channels)
{
    uint8_t pixel[3] = {0};
    for (int64_t y = 0; y < size; y++)
        for (int64_t x = 0; x < size; x++) {
            mean_of_pixel(pixel, src, x, y, size);
            aleat_image_channels(dst + (y * size + x) * channels, channels, pixel, src->channels,
                                 1);
        }
}

uint8_t aleat_pixel_of_float(float value)
{
    const float v = (value / 2 + 0.5f) * 255;
    return v > 0 ? v < 255 ? (uint8_t)rintf(v) : 255 : 0;
}

void aleat_image_of_floats(uint8_t *dst, const float *x, int64_t channels, int64_t height,
                           int64_t width)
{
    const int64_t plane = height * width;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t p = 0; p < plane; p++)
            dst[p * channels + c] = aleat_pixel_of_float(x[c * plane + p]);
}
