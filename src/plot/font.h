/* A small bitmap font, for the numbers and names in pictures. */
#ifndef ALEAT_PLOT_FONT_H
#define ALEAT_PLOT_FONT_H

#include <stdbool.h>

#define ALEAT_FONT_WIDTH  5
#define ALEAT_FONT_HEIGHT 9 // seven above the line, two below

/** Is the dot in column x and row y of a character set? Characters beyond ASCII are drawn as '?'.
 */
bool aleat_font_dot(char c, int x, int y);

#endif
