#include "io/corrupt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/jpeg_image.h"
#include "io/jpeg_write.h"

#define MOST_RADIUS 256 // pixels that a blur reaches

static uint8_t byte_of(double v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v + 0.5);
}

/* ---- blur ------------------------------------------------------------------------------------ */

// out = src along one axis: `n` elements `step` apart, weights [radius + 1] from the middle; the
// ends are repeated.
static void blur_line(double *out, const double *src, int64_t n, int64_t step,
                      const double *weights, int64_t radius)
{
    for (int64_t i = 0; i < n; i++) {
        double sum = weights[0] * src[i * step];
        for (int64_t r = 1; r <= radius; r++) {
            const int64_t below = i > r ? i - r : 0, above = i + r < n ? i + r : n - 1;
            sum += weights[r] * (src[below * step] + src[above * step]);
        }
        out[i * step] = sum;
    }
}

static aleat_status blur(const aleat_corrupt_image *im, double sigma, aleat_error *err)
{
    const int64_t h = im->height, w = im->width, c = im->channels, n = h * w * c;
    const int64_t radius = (int64_t)ceil(4 * sigma); // 6e-5 of the weight lies beyond
    double weights[MOST_RADIUS + 1] = {0}, total = 0;
    double *a = aleat_calloc((size_t)n, sizeof *a), *b = aleat_calloc((size_t)n, sizeof *b);
    aleat_status st = a && b ? ALEAT_OK : aleat_fail_memory(err, "blurring");
    for (int64_t r = 0; r <= radius; r++) {
        weights[r] = exp(-0.5 * (double)(r * r) / (sigma * sigma));
        total += r ? 2 * weights[r] : weights[r];
    }
    for (int64_t r = 0; r <= radius; r++)
        weights[r] /= total;
    for (int64_t i = 0; !st && i < n; i++)
        a[i] = im->pixels[i];
    for (int64_t y = 0; !st && y < h; y++)
        for (int64_t k = 0; k < c; k++)
            blur_line(b + y * w * c + k, a + y * w * c + k, w, c, weights, radius);
    for (int64_t x = 0; !st && x < w * c; x++)
        blur_line(a + x, b + x, h, w * c, weights, radius);
    for (int64_t i = 0; !st && i < n; i++)
        im->pixels[i] = byte_of(a[i]);
    aleat_free(a);
    aleat_free(b);
    return st;
}

/* ---- noise ----------------------------------------------------------------------------------- */

static aleat_status noise(const aleat_corrupt_image *im, double deviation, aleat_error *err)
{
    const int64_t n = im->height * im->width * im->channels;
    float *z = aleat_calloc((size_t)n, sizeof *z);
    if (!z)
        return aleat_fail_memory(err, "noise");
    aleat_rng_normals(&im->key, 0, z, n);
    for (int64_t i = 0; i < n; i++)
        im->pixels[i] = byte_of(im->pixels[i] + 255 * deviation * (double)z[i]);
    aleat_free(z);
    return ALEAT_OK;
}

/* ---- splice ---------------------------------------------------------------------------------- */

static int64_t side_of(int64_t n, double share)
{
    const int64_t side = (int64_t)(share * (double)n + 0.5);
    return side < 1 ? 1 : side;
}

// A rectangle of another image, at the same random place.
static aleat_status splice(const aleat_corrupt_image *im, double share, aleat_error *err)
{
    if (!im->other)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "a splice needs another image, there is one");
    const int64_t h = side_of(im->height, share), w = side_of(im->width, share);
    const int64_t c = im->channels;
    const int64_t y0 = (int64_t)aleat_rng_below(&im->key, 0, (uint64_t)(im->height - h + 1));
    const int64_t x0 = (int64_t)aleat_rng_below(&im->key, 1, (uint64_t)(im->width - w + 1));
    for (int64_t y = y0; y < y0 + h; y++)
        memcpy(im->pixels + (y * im->width + x0) * c, im->other + (y * im->width + x0) * c,
               (size_t)(w * c));
    return ALEAT_OK;
}

/* ---- jpeg ------------------------------------------------------------------------------------ */

static aleat_status jpeg(const aleat_corrupt_image *im, double quality, aleat_error *err)
{
    const aleat_image image = {.width = im->width,
                               .height = im->height,
                               .channels = (int)im->channels,
                               .pixels = im->pixels};
    unsigned char *file = NULL;
    size_t len = 0;
    aleat_image back = {0};
    aleat_status st = aleat_jpeg_write_memory(&file, &len, &image, (int)(quality + 0.5), err);
    if (!st)
        st = aleat_jpeg_read_memory(&back, file, len, err);
    if (!st)
        memcpy(im->pixels, back.pixels, (size_t)(im->height * im->width * im->channels));
    aleat_image_clear(&back);
    free(file);
    return st;
}

/* ---- the table ------------------------------------------------------------------------------- */

static const aleat_corruption table[] = {
    {"blur", "Gaussian blur; the strength is its standard deviation in pixels", 1, 0.01,
     MOST_RADIUS / 4.0, blur},
    {"noise", "Gaussian noise on every value; its standard deviation, white being 1", 0.1, 1e-6, 10,
     noise},
    {"splice", "a rectangle of another image; its sides as a share of the image's", 0.5, 1e-6, 1,
     splice},
    {"jpeg", "written as JPEG and read again; libjpeg's quality, low is bad", 10, 1, 100, jpeg},
    {0},
};

const aleat_corruption *aleat_corruption_table(void)
{
    return table;
}
