#include "uncertainty/map_image.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

// 256 sRGB colours of even perceptual distance, made by tools/make-colours.
static const aleat_rgb colours[] = {
#include "uncertainty/colours.inc"
};

static const aleat_rgb paper = {255, 255, 255}, ink = {32, 32, 32}, not_a_number = {0, 200, 0};

#define MARGIN    10
#define BAR_WIDTH 18
#define TEXT_SIZE 2

/*
 * Buckets are the upper 16 bits of the value's bits, made to sort like the values: a bucket spans
 * 2^-7 of its value, which is closer than an eye can tell.
 */
#define N_BUCKETS 65536

struct aleat_value_histogram {
    uint64_t count[N_BUCKETS];
    uint64_t total;
};

static uint32_t sortable(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static float of_sortable(uint32_t key)
{
    const uint32_t bits = key & 0x80000000u ? key & 0x7fffffffu : ~key;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

aleat_status aleat_value_histogram_new(aleat_value_histogram **out, aleat_error *err)
{
    *out = aleat_calloc(1, sizeof **out);
    return *out ? ALEAT_OK : aleat_fail_memory(err, "a histogram of map values");
}

void aleat_value_histogram_free(aleat_value_histogram *h)
{
    aleat_free(h);
}

void aleat_value_histogram_add(aleat_value_histogram *h, const float *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (isnan(values[i]))
            continue;
        h->count[sortable(values[i]) >> 16]++;
        h->total++;
    }
}

float aleat_value_histogram_quantile(const aleat_value_histogram *h, double q)
{
    if (h->total == 0)
        return 0;
    const uint64_t rank = (uint64_t)(q * (double)(h->total - 1));
    uint64_t below = 0;
    for (uint32_t i = 0; i < N_BUCKETS; i++) {
        below += h->count[i];
        if (below > rank)
            return of_sortable(i << 16);
    }
    return of_sortable((uint32_t)(N_BUCKETS - 1) << 16);
}

aleat_colour_scale aleat_robust_scale(const aleat_value_histogram *h)
{
    aleat_colour_scale scale = {aleat_value_histogram_quantile(h, 0.01),
                                aleat_value_histogram_quantile(h, 0.99)};
    if (!(scale.high > scale.low)) // a constant map: any width will do, as long as there is one
        scale.high = scale.low + fmaxf(1e-6f, 0.01f * fabsf(scale.low));
    return scale;
}

// Where in the scale: 0 to 1.
static float position(float value, aleat_colour_scale scale)
{
    const float p = (value - scale.low) / (scale.high - scale.low);
    return p < 0 ? 0 : p > 1 ? 1 : p;
}

aleat_rgb aleat_map_colour(float value, aleat_colour_scale scale)
{
    if (isnan(value))
        return not_a_number;
    const int last = (int)(sizeof colours / sizeof *colours) - 1;
    return colours[(int)(position(value, scale) * (float)last + 0.5f)];
}

void aleat_map_over_channels(float *pixel_map, const float *map, int64_t channels, int64_t height,
                             int64_t width)
{
    const int64_t plane = height * width;
    for (int64_t i = 0; i < plane; i++) {
        double sum = 0;
        for (int64_t c = 0; c < channels; c++)
            sum += map[c * plane + i];
        pixel_map[i] = (float)(sum / (double)channels);
    }
}

// Where the centre of pixel i of n falls between the centres of m cells.
static float place(int64_t i, int64_t n, int64_t m, int64_t *low, int64_t *high)
{
    const double at = ((double)i + 0.5) * (double)m / (double)n - 0.5;
    const double held = at < 0 ? 0 : at > (double)(m - 1) ? (double)(m - 1) : at;
    *low = (int64_t)held;
    *high = *low + 1 < m ? *low + 1 : *low;
    return (float)(held - (double)*low);
}

void aleat_map_enlarge(float *dst, int64_t to_height, int64_t to_width, const float *src,
                       int64_t height, int64_t width)
{
    for (int64_t y = 0; y < to_height; y++) {
        int64_t y0, y1, x0, x1;
        const float v = place(y, to_height, height, &y0, &y1);
        for (int64_t x = 0; x < to_width; x++) {
            const float u = place(x, to_width, width, &x0, &x1);
            const float above = src[y0 * width + x0] * (1 - u) + src[y0 * width + x1] * u;
            const float below = src[y1 * width + x0] * (1 - u) + src[y1 * width + x1] * u;
            dst[y * to_width + x] = above * (1 - v) + below * v;
        }
    }
}

static uint8_t blend(float below, float above, float opacity)
{
    return (uint8_t)(below + (above - below) * opacity + 0.5f);
}

/*
 * The image below is shown grey, so that every hue in the overlay is the map's; it shines through
 * everywhere, least where the map is highest.
 */
static aleat_rgb overlay_pixel(const uint8_t *pixel, int channels, float value,
                               aleat_colour_scale scale)
{
    float grey = pixel[0];
    if (channels >= 3) // Rec. 601 luma
        grey = 0.299f * (float)pixel[0] + 0.587f * (float)pixel[1] + 0.114f * (float)pixel[2];
    const aleat_rgb colour = aleat_map_colour(value, scale);
    const float opacity = isnan(value) ? 1 : 0.15f + 0.65f * position(value, scale);
    return (aleat_rgb){blend(grey, colour.r, opacity), blend(grey, colour.g, opacity),
                       blend(grey, colour.b, opacity)};
}

aleat_status aleat_map_overlay(aleat_image *out, const aleat_image *image, const float *pixel_map,
                               aleat_colour_scale scale, aleat_error *err)
{
    aleat_status st = aleat_canvas_new(out, image->width, image->height, paper, err);
    for (int64_t i = 0; !st && i < image->width * image->height; i++) {
        const uint8_t *pixel = image->pixels + i * image->channels;
        const aleat_rgb c = overlay_pixel(pixel, image->channels, pixel_map[i], scale);
        memcpy(out->pixels + 3 * i, (const uint8_t[]){c.r, c.g, c.b}, 3);
    }
    return st;
}

static aleat_status bare_map(aleat_image *out, int64_t width, int64_t height,
                             const float *pixel_map, aleat_colour_scale scale, aleat_error *err)
{
    aleat_status st = aleat_canvas_new(out, width, height, paper, err);
    for (int64_t i = 0; !st && i < width * height; i++) {
        const aleat_rgb c = aleat_map_colour(pixel_map[i], scale);
        memcpy(out->pixels + 3 * i, (const uint8_t[]){c.r, c.g, c.b}, 3);
    }
    return st;
}

// The bar with five numbers; its upper left corner is (x, y).
static void draw_legend(aleat_image *canvas, int64_t x, int64_t y, int64_t height,
                        aleat_colour_scale scale)
{
    enum { N_TICKS = 5 };
    aleat_canvas_box(canvas, x - 1, y - 1, BAR_WIDTH + 2, height + 2, ink);
    for (int64_t row = 0; row < height; row++) {
        const float p = height > 1 ? 1 - (float)row / (float)(height - 1) : 1;
        const float value = scale.low + p * (scale.high - scale.low);
        aleat_canvas_box(canvas, x, y + row, BAR_WIDTH, 1, aleat_map_colour(value, scale));
    }
    const int64_t text = aleat_text_height(TEXT_SIZE);
    for (int i = 0; i < N_TICKS; i++) {
        const float p = (float)i / (N_TICKS - 1);
        const int64_t row = y + (int64_t)((1 - p) * (float)(height - 1));
        const float range = scale.high - scale.low, value = scale.low + p * range;
        char number[32]; // what is nothing beside the range is called 0
        (void)snprintf(number, sizeof number, "%.3g",
                       fabsf(value) < 1e-4f * range ? 0.0 : (double)value);
        aleat_canvas_box(canvas, x + BAR_WIDTH, row, 4, 1, ink);
        // the outermost numbers stay within the bar's height
        int64_t top = row - text / 2;
        top = top < y ? y : top > y + height - text ? y + height - text : top;
        aleat_canvas_text(canvas, x + BAR_WIDTH + 8, top, TEXT_SIZE, number, ink);
    }
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

aleat_status aleat_map_picture(aleat_image *out, const aleat_image *image, const float *pixel_map,
                               aleat_colour_scale scale, const aleat_map_labels *labels,
                               aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_image overlay = {0}, bare = {0};
    const int factor = aleat_enlargement(image->width, image->height);
    const int64_t width = image->width * factor;
    const int64_t height = larger(image->height * factor, 6 * aleat_text_height(TEXT_SIZE));
    const char *title = labels->title ? labels->title : "";
    const char *name = labels->name ? labels->name : "", *unit = labels->unit ? labels->unit : "";
    const int64_t line = aleat_text_height(TEXT_SIZE) + MARGIN;
    const int64_t numbers = aleat_text_width("-1.23e-05", TEXT_SIZE);
    const int64_t legend =
        larger(larger(aleat_text_width(name, TEXT_SIZE), aleat_text_width(unit, TEXT_SIZE)),
               BAR_WIDTH + 8 + numbers);
    const int64_t legend_x =
        larger(3 * MARGIN + 2 * width, 2 * MARGIN + aleat_text_width(title, TEXT_SIZE));
    const int64_t top = MARGIN + line;

    aleat_status st = aleat_map_overlay(&overlay, image, pixel_map, scale, err);
    if (st)
        goto done;
    st = bare_map(&bare, image->width, image->height, pixel_map, scale, err);
    if (st)
        goto done;
    st =
        aleat_canvas_new(out, legend_x + legend + MARGIN, top + height + line + MARGIN, paper, err);
    if (st)
        goto done;
    aleat_canvas_text(out, MARGIN, MARGIN, TEXT_SIZE, title, ink);
    aleat_canvas_picture(out, MARGIN, top, &overlay, factor);
    aleat_canvas_picture(out, 2 * MARGIN + width, top, &bare, factor);
    aleat_canvas_text(out, legend_x, MARGIN, TEXT_SIZE, name, ink);
    draw_legend(out, legend_x, top, height, scale);
    aleat_canvas_text(out, legend_x, top + height + MARGIN, TEXT_SIZE, unit, ink);
done:
    aleat_image_clear(&overlay);
    aleat_image_clear(&bare);
    return st;
}
