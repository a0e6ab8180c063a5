#include "features/prepare.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/** One axis: output o is the sum of weights[o * most + k] times input first[o] + k, k < count[o].
 */
typedef struct axis {
    int64_t in, out, most;
    int64_t *first, *count;
    float *weights;
} axis;

struct aleat_preparer {
    const aleat_preparation *how;
    aleat_dims dims;
    int64_t height, width, channels; // of the images
    axis x, y;                       // of resampling
};

/* ---- the weights of an axis ------------------------------------------------------------------ */

/** Two neighbours of a source position, the last pixel repeated. */
static void linear_weights(const axis *a, int64_t o, float source)
{
    const int64_t below = (int64_t)source;
    a->first[o] = below < a->in ? below : a->in - 1;
    a->count[o] = a->first[o] + 1 < a->in ? 2 : 1;
    const float share = source - (float)below;
    a->weights[o * a->most] = a->count[o] == 2 ? 1 - share : 1;
    if (a->count[o] == 2)
        a->weights[o * a->most + 1] = share;
}

/** Keys' cubic with a = -0.5. */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** Source: Pillow's precompute_coeffs(): the filter widens with the step, and is cut off and
 * normalised at the border. */
static void cubic_weights(const axis *a, int64_t o)
{
    const double step = (double)a->in / (double)a->out, width = step > 1 ? step : 1;
    const double centre = ((double)o + 0.5) * step;
    const int64_t begin = (int64_t)fmax(centre - 2 * width + 0.5, 0);
    const int64_t end = (int64_t)fmin(centre + 2 * width + 0.5, (double)a->in);
    double sum = 0;
    for (int64_t i = begin; i < end; i++)
        sum += cubic(((double)i - centre + 0.5) / width);
    a->first[o] = begin;
    a->count[o] = end - begin;
    for (int64_t i = begin; i < end; i++)
        a->weights[o * a->most + i - begin] =
            (float)(cubic(((double)i - centre + 0.5) / width) / sum);
}

static bool axis_make(axis *a, aleat_fit fit, int64_t in, int64_t out)
{
    const float step = (float)in / (float)out;
    *a = (axis){.in = in, .out = out, .most = 2};
    if (fit == ALEAT_FIT_BICUBIC)
        a->most = (int64_t)ceil(4 * fmax((double)in / (double)out, 1)) + 1;
    a->first = aleat_alloc((size_t)out * sizeof *a->first);
    a->count = aleat_alloc((size_t)out * sizeof *a->count);
    a->weights = aleat_alloc((size_t)(out * a->most) * sizeof *a->weights);
    if (!a->first || !a->count || !a->weights)
        return false;
    for (int64_t o = 0; o < out; o++) {
        if (fit == ALEAT_FIT_BICUBIC)
            cubic_weights(a, o);
        else if (fit == ALEAT_FIT_BILINEAR_TF1)
            linear_weights(a, o, (float)o * step);
        else
            linear_weights(a, o, fmaxf(((float)o + 0.5f) * step - 0.5f, 0));
    }
    return true;
}

static void axis_clear(axis *a)
{
    aleat_free(a->first);
    aleat_free(a->count);
    aleat_free(a->weights);
}

/* ---- making ---------------------------------------------------------------------------------- */

static bool resamples(const aleat_preparer *p)
{
    return p->how->fit != ALEAT_FIT_EXACT && p->how->fit != ALEAT_FIT_CENTRE;
}

static aleat_status check_sizes(const aleat_preparer *p, aleat_error *err)
{
    const aleat_dims d = p->dims;
    enum { MOST = 1 << 16 };
    const bool same = p->height == d.h && p->width == d.w;
    const bool smaller = p->height <= d.h && p->width <= d.w;
    const bool size = p->height > 0 && p->width > 0 && p->height <= MOST && p->width <= MOST;
    const bool fits = p->how->fit == ALEAT_FIT_EXACT    ? same
                      : p->how->fit == ALEAT_FIT_CENTRE ? smaller
                                                        : true;
    if (size && fits && (p->channels == d.c || p->channels == 1))
        return ALEAT_OK;
    return aleat_fail(err, ALEAT_ERR_SHAPE,
                      "images are %lldx%lldx%lld (height, width, channels), the network takes "
                      "%s%lldx%lld with %s",
                      (long long)p->height, (long long)p->width, (long long)p->channels,
                      resamples(p)                      ? "any size, resampled to "
                      : p->how->fit == ALEAT_FIT_CENTRE ? "at most "
                                                        : "",
                      (long long)d.h, (long long)d.w, d.c == 1 ? "1 channel" : "1 or 3 channels");
}

aleat_status aleat_preparer_new(aleat_preparer **out, const aleat_preparation *how, aleat_dims dims,
                                const aleat_images *images, aleat_error *err)
{
    *out = NULL;
    aleat_preparer *p = aleat_calloc(1, sizeof *p);
    if (!p)
        return aleat_fail_memory(err, "preparing images");
    *p = (aleat_preparer){.how = how,
                          .dims = dims,
                          .height = images->height,
                          .width = images->width,
                          .channels = images->channels};
    aleat_status st = check_sizes(p, err);
    if (!st && resamples(p) &&
        !(axis_make(&p->x, how->fit, p->width, dims.w) &&
          axis_make(&p->y, how->fit, p->height, dims.h)))
        st = aleat_fail_memory(err, "preparing images");
    if (st)
        aleat_preparer_free(p);
    else
        *out = p;
    return st;
}

void aleat_preparer_free(aleat_preparer *p)
{
    if (!p)
        return;
    axis_clear(&p->x);
    axis_clear(&p->y);
    aleat_free(p);
}

int64_t aleat_preparer_scratch(const aleat_preparer *p)
{
    return resamples(p) ? (p->height + 1) * (p->width + p->dims.w) * p->channels : p->width * 3;
}

/* ---- one image ------------------------------------------------------------------------------- */

/** Line y as floats in 0 .. 1, channels last. */
static void load_line(const aleat_images *images, int64_t i, int64_t y, float *dst)
{
    const int64_t h = images->height, w = images->width, c = images->channels;
    for (int64_t x = 0; x < w; x++)
        for (int64_t k = 0; k < c; k++) {
            const int64_t at = images->channels_first ? ((i * c + k) * h + y) * w + x
                                                      : ((i * h + y) * w + x) * c + k;
            dst[x * c + k] = images->bytes ? (float)images->bytes[at] / 255 : images->floats[at];
        }
}

/** dst[c] = sum over the taps of output o; taps lie `step` floats apart. */
static void gather(const axis *a, int64_t o, const float *src, int64_t step, int64_t c, float *dst)
{
    for (int64_t k = 0; k < c; k++)
        dst[k] = 0;
    src += a->first[o] * step;
    for (int64_t t = 0; t < a->count[o]; t++, src += step)
        for (int64_t k = 0; k < c; k++)
            dst[k] += a->weights[o * a->most + t] * src[k];
}

/** One line of pixels of c_in channels to the network's: colours repeated, scaled, shifted. */
static void finish_line(const aleat_preparer *p, const float *src, int64_t pixels, bool clip,
                        float *dst)
{
    for (int64_t x = 0; x < pixels; x++)
        for (int64_t k = 0; k < p->dims.c; k++) {
            float v = src[x * p->channels + (p->channels == 1 ? 0 : k)];
            if (clip)
                v = v < 0 ? 0 : v > 1 ? 1 : v;
            dst[x * p->dims.c + k] = p->how->scale[k] * v + p->how->shift[k];
        }
}

static void resample(const aleat_preparer *p, const aleat_images *images, int64_t i, float *scratch,
                     float *dst)
{
    const int64_t c = p->channels, line = p->dims.w * c;
    float *wide = scratch, *narrow = scratch + p->height * line; // [height, out_w, c], one line
    float *done = narrow + p->width * c;
    for (int64_t y = 0; y < p->height; y++) {
        load_line(images, i, y, narrow);
        for (int64_t o = 0; o < p->dims.w; o++)
            gather(&p->x, o, narrow, c, c, wide + y * line + o * c);
    }
    for (int64_t o = 0; o < p->dims.h; o++) {
        gather(&p->y, o, wide, line, line, done);
        finish_line(p, done, p->dims.w, p->how->fit == ALEAT_FIT_BICUBIC,
                    dst + o * p->dims.w * p->dims.c);
    }
}

void aleat_prepare_image(const aleat_preparer *p, const aleat_images *images, int64_t i,
                         float *scratch, float *dst)
{
    const aleat_dims d = p->dims;
    if (resamples(p)) {
        resample(p, images, i, scratch, dst);
        return;
    }
    const int64_t top = (d.h - p->height) / 2, left = (d.w - p->width) / 2;
    if (p->height < d.h || p->width < d.w)
        for (int64_t k = 0; k < d.h * d.w * d.c; k++)
            dst[k] = p->how->shift[k % d.c]; // v = 0
    for (int64_t y = 0; y < p->height; y++) {
        load_line(images, i, y, scratch);
        finish_line(p, scratch, p->width, false, dst + ((top + y) * d.w + left) * d.c);
    }
}
