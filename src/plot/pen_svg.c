/* The same as SVG 1.1 text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "plot/pen.h"

typedef struct svg_pen {
    aleat_pen pen; // first, so that one is the other
    FILE *to;      // into `text`
    char *text;
    size_t size;
    int clips;   // clip paths so far: they are numbered
    bool inside; // a group that is clipped
} svg_pen;

static void put_points(FILE *to, const aleat_point *points, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        (void)fprintf(to, "%s%.2f,%.2f", i ? " " : "", points[i].x, points[i].y);
}

static void put_colour(FILE *to, const char *what, aleat_rgb c)
{
    (void)fprintf(to, " %s=\"#%02x%02x%02x\"", what, c.r, c.g, c.b);
}

static void svg_clip(aleat_pen *pen, const aleat_box *box)
{
    svg_pen *p = (svg_pen *)pen;
    if (p->inside)
        (void)fputs("</g>\n", p->to);
    p->inside = box != NULL;
    if (!box)
        return;
    (void)fprintf(p->to,
                  "<clipPath id=\"clip%d\"><rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" "
                  "height=\"%.2f\"/></clipPath>\n<g clip-path=\"url(#clip%d)\">\n",
                  p->clips, box->left, box->top, box->right - box->left, box->bottom - box->top,
                  p->clips);
    p->clips++;
}

static void svg_line(aleat_pen *pen, const aleat_point *points, int64_t n, double width,
                     bool dashed, aleat_rgb colour)
{
    const svg_pen *p = (const svg_pen *)pen;
    (void)fputs("<polyline fill=\"none\" stroke-linejoin=\"round\"", p->to);
    put_colour(p->to, "stroke", colour);
    (void)fprintf(p->to, " stroke-width=\"%.2f\"%s points=\"", width,
                  dashed ? " stroke-dasharray=\"8\"" : "");
    put_points(p->to, points, n);
    (void)fputs("\"/>\n", p->to);
}

static void svg_area(aleat_pen *pen, const aleat_point *points, int64_t n, double opacity,
                     aleat_rgb colour)
{
    const svg_pen *p = (const svg_pen *)pen;
    (void)fputs("<polygon", p->to);
    put_colour(p->to, "fill", colour);
    (void)fprintf(p->to, " fill-opacity=\"%.2f\" points=\"", opacity);
    put_points(p->to, points, 2 * n);
    (void)fputs("\"/>\n", p->to);
}

static void svg_dot(aleat_pen *pen, aleat_point at, double radius, aleat_rgb colour)
{
    const svg_pen *p = (const svg_pen *)pen;
    (void)fprintf(p->to, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"%.2f\"", at.x, at.y, radius);
    put_colour(p->to, "fill", colour);
    (void)fputs("/>\n", p->to);
}

static void put_escaped(FILE *to, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '&': (void)fputs("&amp;", to); break;
        case '<': (void)fputs("&lt;", to); break;
        case '>': (void)fputs("&gt;", to); break;
        default: // XML allows no control characters
            if ((unsigned char)*text >= 0x20)
                (void)fputc(*text, to);
        }
}

static void svg_text(aleat_pen *pen, aleat_point at, const char *text, aleat_text_style style,
                     aleat_rgb colour)
{
    static const char *const anchors[] = {"start", "middle", "end"};
    const svg_pen *p = (const svg_pen *)pen;
    // Capital letters are about 0.7 of the font size, 7 rows of the bitmap font.
    const double size = 9.0 * style.size, drop = 0.35 * size;
    (void)fprintf(p->to, "<text font-size=\"%.0f\" text-anchor=\"%s\"", size,
                  anchors[style.anchor]);
    put_colour(p->to, "fill", colour);
    if (style.upwards)
        (void)fprintf(p->to, " transform=\"translate(%.2f,%.2f) rotate(-90)\">", at.x + drop, at.y);
    else
        (void)fprintf(p->to, " x=\"%.2f\" y=\"%.2f\">", at.x, at.y + drop);
    put_escaped(p->to, text);
    (void)fputs("</text>\n", p->to);
}

static aleat_status svg_finish(aleat_pen *pen, const char *path, aleat_error *err)
{
    svg_pen *p = (svg_pen *)pen;
    svg_clip(pen, NULL);
    (void)fputs("</svg>\n", p->to);
    const bool failed = fflush(p->to) || ferror(p->to);
    return failed ? aleat_fail_memory(err, path) : aleat_write_file(path, p->text, p->size, err);
}

static void svg_free(aleat_pen *pen)
{
    svg_pen *p = (svg_pen *)pen;
    (void)fclose(p->to);
    free(p->text); // open_memstream's
    aleat_free(p);
}

static const aleat_pen_ops ops = {
    .clip = svg_clip,
    .line = svg_line,
    .area = svg_area,
    .dot = svg_dot,
    .text = svg_text,
    .finish = svg_finish,
    .free = svg_free,
};

aleat_pen *aleat_pen_svg(int64_t width, int64_t height)
{
    svg_pen *p = aleat_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->pen.ops = &ops;
    p->to = open_memstream(&p->text, &p->size);
    if (!p->to) {
        aleat_free(p);
        return NULL;
    }
    (void)fprintf(p->to,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%lld\" height=\"%lld\" "
                  "viewBox=\"0 0 %lld %lld\" font-family=\"sans-serif\">\n"
                  "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
                  (long long)width, (long long)height, (long long)width, (long long)height);
    return &p->pen;
}
