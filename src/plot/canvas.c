#include "plot/canvas.h"

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "plot/font.h"

aleat_status aleat_canvas_new(aleat_image *out, int64_t width, int64_t height, aleat_rgb background,
                              aleat_error *err)
{
    memset(out, 0, sizeof *out);
    size_t pixels, bytes;
    if (width <= 0 || height <= 0 || !aleat_size_mul((size_t)width, (size_t)height, &pixels) ||
        !aleat_size_mul(pixels, 3, &bytes))
        return aleat_fail(err, ALEAT_ERR_SHAPE, "a picture of %lld x %lld pixels cannot be made",
                          (long long)width, (long long)height);
    uint8_t *data = aleat_alloc(bytes);
    if (!data)
        return aleat_fail_memory(err, "a picture");
    *out = (aleat_image){.width = width, .height = height, .channels = 3, .pixels = data};
    aleat_canvas_box(out, 0, 0, width, height, background);
    return ALEAT_OK;
}

void aleat_canvas_box(aleat_image *canvas, int64_t x, int64_t y, int64_t width, int64_t height,
                      aleat_rgb colour)
{
    const int64_t x0 = x < 0 ? 0 : x, y0 = y < 0 ? 0 : y;
    const int64_t x1 = x + width < canvas->width ? x + width : canvas->width;
    const int64_t y1 = y + height < canvas->height ? y + height : canvas->height;
    for (int64_t row = y0; row < y1; row++)
        for (int64_t column = x0; column < x1; column++) {
            uint8_t *pixel = canvas->pixels + 3 * (row * canvas->width + column);
            pixel[0] = colour.r;
            pixel[1] = colour.g;
            pixel[2] = colour.b;
        }
}

void aleat_canvas_picture(aleat_image *canvas, int64_t x, int64_t y, const aleat_image *picture,
                          int factor)
{
    for (int64_t row = 0; row < picture->height; row++)
        for (int64_t column = 0; column < picture->width; column++) {
            const uint8_t *p =
                picture->pixels + picture->channels * (row * picture->width + column);
            const bool grey = picture->channels < 3;
            const aleat_rgb colour = {p[0], grey ? p[0] : p[1], grey ? p[0] : p[2]};
            aleat_canvas_box(canvas, x + column * factor, y + row * factor, factor, factor, colour);
        }
}

// Letter after letter; `turned`: columns go up and rows to the right.
static void draw_text(aleat_image *canvas, int64_t x, int64_t y, int size, const char *text,
                      bool turned, aleat_rgb colour)
{
    const int64_t advance = (int64_t)(ALEAT_FONT_WIDTH + 1) * size;
    for (int64_t at = 0; *text; text++, at += advance)
        for (int row = 0; row < ALEAT_FONT_HEIGHT; row++)
            for (int column = 0; column < ALEAT_FONT_WIDTH; column++) {
                if (!aleat_font_dot(*text, column, row))
                    continue;
                const int64_t along = at + (int64_t)column * size, down = (int64_t)row * size;
                aleat_canvas_box(canvas, turned ? x + down : x + along,
                                 turned ? y - along - size : y + down, size, size, colour);
            }
}

void aleat_canvas_text(aleat_image *canvas, int64_t x, int64_t y, int size, const char *text,
                       aleat_rgb colour)
{
    draw_text(canvas, x, y, size, text, false, colour);
}

void aleat_canvas_text_upwards(aleat_image *canvas, int64_t x, int64_t y, int size,
                               const char *text, aleat_rgb colour)
{
    draw_text(canvas, x, y, size, text, true, colour);
}

int64_t aleat_text_width(const char *text, int size)
{
    const int64_t n = (int64_t)strlen(text);
    return n ? (n * (ALEAT_FONT_WIDTH + 1) - 1) * size : 0;
}

int64_t aleat_text_height(int size)
{
    return (int64_t)ALEAT_FONT_HEIGHT * size;
}

int aleat_enlargement(int64_t width, int64_t height)
{
    const int64_t longer = width > height ? width : height;
    const int64_t factor = longer > 0 ? 256 / longer : 1;
    return factor > 1 ? (int)factor : 1;
}
