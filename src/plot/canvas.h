/* Drawing into an RGB image: boxes, enlarged pictures, text. Everything is clipped to the image. */
#ifndef ALEAT_PLOT_CANVAS_H
#define ALEAT_PLOT_CANVAS_H

#include "io/png_image.h"

/** An sRGB colour. */
typedef struct aleat_rgb {
    uint8_t r, g, b;
} aleat_rgb;

/** A new image of one colour; pixels to be released by aleat_image_clear(). */
ALEAT_MUST_USE aleat_status aleat_canvas_new(aleat_image *out, int64_t width, int64_t height,
                                             aleat_rgb background, aleat_error *err);
void aleat_canvas_box(aleat_image *canvas, int64_t x, int64_t y, int64_t width, int64_t height,
                      aleat_rgb colour);
/** Pastes `picture` (1, 3 or 4 channels; alpha is ignored) enlarged by a whole factor, each pixel a
 * square. */
void aleat_canvas_picture(aleat_image *canvas, int64_t x, int64_t y, const aleat_image *picture,
                          int factor);
/** One line of text whose upper left corner is (x, y); `size` multiplies the 5x9 font. */
void aleat_canvas_text(aleat_image *canvas, int64_t x, int64_t y, int size, const char *text,
                       aleat_rgb colour);
/** The same turned by a quarter, to be read from below: (x, y) is the corner at its lower left. */
void aleat_canvas_text_upwards(aleat_image *canvas, int64_t x, int64_t y, int size,
                               const char *text, aleat_rgb colour);
/** Width and height of a line of text in pixels. */
int64_t aleat_text_width(const char *text, int size);
int64_t aleat_text_height(int size);

/** By what to enlarge pictures of this size so that a person sees them: about 256 pixels, or 1. */
int aleat_enlargement(int64_t width, int64_t height);

#endif
