/* Drawing into a raster, smoothed at the edges by how much of a pixel is covered. */
#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "plot/pen.h"

#define DASH 8.0

typedef struct png_pen {
    aleat_pen pen; // first, so that one is the other
    aleat_image canvas;
    aleat_box clip;
} png_pen;

static aleat_box whole(const png_pen *p)
{
    return (aleat_box){0, 0, (double)p->canvas.width, (double)p->canvas.height};
}

static void png_clip(aleat_pen *pen, const aleat_box *box)
{
    png_pen *p = (png_pen *)pen;
    p->clip = box ? *box : whole(p);
}

// Lays `colour` over a pixel, `cover` of it; what lies outside the clip is left alone.
static void blend(png_pen *p, int64_t x, int64_t y, double cover, aleat_rgb colour)
{
    const double centre_x = (double)x + 0.5, centre_y = (double)y + 0.5;
    if (cover <= 0 || x < 0 || y < 0 || x >= p->canvas.width || y >= p->canvas.height ||
        centre_x < p->clip.left || centre_x > p->clip.right || centre_y < p->clip.top ||
        centre_y > p->clip.bottom)
        return;
    const uint8_t rgb[] = {colour.r, colour.g, colour.b};
    uint8_t *pixel = p->canvas.pixels + 3 * (y * p->canvas.width + x);
    for (int c = 0; c < 3; c++)
        pixel[c] = (uint8_t)lround(pixel[c] + (cover > 1 ? 1 : cover) * (rgb[c] - pixel[c]));
}

static double held(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

// Pixels whose centre is within `radius` of the segment a-b, in the part of the picture that the
// clip leaves; coordinates beyond it are held there, since they may be of any size.
static void stroke(png_pen *p, aleat_point a, aleat_point b, double radius, aleat_rgb colour)
{
    const aleat_box c = p->clip;
    const int64_t x0 = (int64_t)held(fmin(a.x, b.x) - radius - 1, c.left, c.right);
    const int64_t x1 = (int64_t)held(fmax(a.x, b.x) + radius + 1, c.left, c.right);
    const int64_t y0 = (int64_t)held(fmin(a.y, b.y) - radius - 1, c.top, c.bottom);
    const int64_t y1 = (int64_t)held(fmax(a.y, b.y) + radius + 1, c.top, c.bottom);
    const double dx = b.x - a.x, dy = b.y - a.y, length2 = dx * dx + dy * dy;
    for (int64_t y = y0; y <= y1; y++)
        for (int64_t x = x0; x <= x1; x++) {
            const double px = (double)x + 0.5 - a.x, py = (double)y + 0.5 - a.y;
            const double along = length2 > 0 ? held((px * dx + py * dy) / length2, 0, 1) : 0;
            const double distance = hypot(px - along * dx, py - along * dy);
            blend(p, x, y, radius + 0.5 - distance, colour);
        }
}

static void png_line(aleat_pen *pen, const aleat_point *points, int64_t n, double width,
                     bool dashed, aleat_rgb colour)
{
    png_pen *p = (png_pen *)pen;
    double walked = 0;
    for (int64_t i = 0; i + 1 < n; i++) {
        const aleat_point a = points[i], b = points[i + 1];
        const double length = hypot(b.x - a.x, b.y - a.y);
        if (!dashed || !(length > 0 && length < 1e5)) { // beyond any paper: not worth the dashes
            stroke(p, a, b, width / 2, colour);
            continue;
        }
        for (double at = 0; at < length;) {
            const double phase = fmod(walked + at, 2 * DASH);
            const double end = fmin(length, at + (phase < DASH ? DASH : 2 * DASH) - phase + 1e-6);
            const double f = at / length, g = end / length;
            if (phase < DASH)
                stroke(p, (aleat_point){a.x + f * (b.x - a.x), a.y + f * (b.y - a.y)},
                       (aleat_point){a.x + g * (b.x - a.x), a.y + g * (b.y - a.y)}, width / 2,
                       colour);
            at = end;
        }
        walked += length;
    }
}

// Column by column; the two edges are straight between the points.
static void png_area(aleat_pen *pen, const aleat_point *points, int64_t n, double opacity,
                     aleat_rgb colour)
{
    png_pen *p = (png_pen *)pen;
    for (int64_t i = 0; i + 1 < n; i++) {
        const aleat_point a = points[i], b = points[i + 1];
        const aleat_point c = points[2 * n - 1 - i], d = points[2 * n - 2 - i];
        const int64_t x0 = (int64_t)ceil(held(a.x, p->clip.left, p->clip.right) - 0.5);
        const int64_t x1 = (int64_t)ceil(held(b.x, p->clip.left, p->clip.right) - 0.5);
        for (int64_t x = x0; x < x1; x++) {
            const double f = ((double)x + 0.5 - a.x) / (b.x - a.x);
            const double u = a.y + f * (b.y - a.y), v = c.y + f * (d.y - c.y);
            const double top = held(fmin(u, v), p->clip.top, p->clip.bottom);
            const double bottom = held(fmax(u, v), p->clip.top, p->clip.bottom);
            for (int64_t y = (int64_t)top; (double)y < bottom; y++) {
                const double cover = fmin(bottom, (double)y + 1) - fmax(top, (double)y);
                blend(p, x, y, opacity * cover, colour);
            }
        }
    }
}

static void png_dot(aleat_pen *pen, aleat_point at, double radius, aleat_rgb colour)
{
    stroke((png_pen *)pen, at, at, radius, colour);
}

static void png_text(aleat_pen *pen, aleat_point at, const char *text, aleat_text_style style,
                     aleat_rgb colour)
{
    png_pen *p = (png_pen *)pen;
    const double width = (double)aleat_text_width(text, style.size);
    const double before = style.anchor == ALEAT_ANCHOR_START    ? 0
                          : style.anchor == ALEAT_ANCHOR_MIDDLE ? width / 2
                                                                : width;
    // Two of the nine rows are below the line: the middle of the letters is in the fourth.
    const double half = 3.5 * style.size;
    if (style.upwards)
        aleat_canvas_text_upwards(&p->canvas, lround(at.x - half), lround(at.y + before),
                                  style.size, text, colour);
    else
        aleat_canvas_text(&p->canvas, lround(at.x - before), lround(at.y - half), style.size, text,
                          colour);
}

static aleat_status png_finish(aleat_pen *pen, const char *path, aleat_error *err)
{
    return aleat_png_write(path, &((png_pen *)pen)->canvas, NULL, 0, err);
}

static void png_free(aleat_pen *pen)
{
    aleat_image_clear(&((png_pen *)pen)->canvas);
    aleat_free(pen);
}

static const aleat_pen_ops ops = {
    .clip = png_clip,
    .line = png_line,
    .area = png_area,
    .dot = png_dot,
    .text = png_text,
    .finish = png_finish,
    .free = png_free,
};

aleat_pen *aleat_pen_png(int64_t width, int64_t height)
{
    const aleat_rgb white = {255, 255, 255};
    png_pen *p = aleat_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->pen.ops = &ops;
    if (aleat_canvas_new(&p->canvas, width, height, white, NULL)) {
        aleat_free(p);
        return NULL;
    }
    p->clip = whole(p);
    return &p->pen;
}
