/* What a plot is drawn with: one interface, a pen for each format. Coordinates are pixels, x to the
 * right and y down; only files of this folder include it. */
#ifndef ALEAT_PLOT_PEN_H
#define ALEAT_PLOT_PEN_H

#include <stdbool.h>
#include <stdint.h>

#include "plot/canvas.h"

typedef struct aleat_point {
    double x, y;
} aleat_point;

typedef struct aleat_box {
    double left, top, right, bottom;
} aleat_box;

typedef enum aleat_anchor {
    ALEAT_ANCHOR_START,
    ALEAT_ANCHOR_MIDDLE,
    ALEAT_ANCHOR_END
} aleat_anchor;

typedef struct aleat_text_style {
    aleat_anchor anchor; /**< which part of the line is at the given point */
    bool upwards;        /**< turned to read from below to above */
    int size;            /**< multiplies the 5x9 font */
} aleat_text_style;

typedef struct aleat_pen aleat_pen;

/** Methods. None can fail; a pen remembers its first failure for `finish`. */
typedef struct aleat_pen_ops {
    /** From here on nothing is drawn outside the box; NULL: everywhere again. */
    void (*clip)(aleat_pen *pen, const aleat_box *box);
    void (*line)(aleat_pen *pen, const aleat_point *points, int64_t n, double width, bool dashed,
                 aleat_rgb colour);
    /** The area between points[0..n), from left to right, and points[n..2n), back again. */
    void (*area)(aleat_pen *pen, const aleat_point *points, int64_t n, double opacity,
                 aleat_rgb colour);
    void (*dot)(aleat_pen *pen, aleat_point at, double radius, aleat_rgb colour);
    /** A line of text, vertically centred at `at`. */
    void (*text)(aleat_pen *pen, aleat_point at, const char *text, aleat_text_style style,
                 aleat_rgb colour);
    /** Writes the file if nothing has failed. */
    aleat_status (*finish)(aleat_pen *pen, const char *path, aleat_error *err);
    void (*free)(aleat_pen *pen);
} aleat_pen_ops;

struct aleat_pen {
    const aleat_pen_ops *ops;
};

/** White paper of this size; NULL if there is no memory. */
aleat_pen *aleat_pen_png(int64_t width, int64_t height);
aleat_pen *aleat_pen_svg(int64_t width, int64_t height);

#endif
