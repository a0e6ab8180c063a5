#include "uncertainty/contact_sheet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/order.h"

#define MARGIN    8
#define COLUMNS   10
#define TEXT_SIZE 1
#define HEAD_SIZE 2

static const aleat_rgb paper = {255, 255, 255}, ink = {32, 32, 32};

struct aleat_contact_sheet {
    aleat_image canvas;
    int factor;
    int64_t columns, cell_width, cell_height, picture_height, top;
};

aleat_status aleat_contact_sheet_order(int64_t *order, int64_t *count, const double *scores,
                                       int64_t n, aleat_error *err)
{
    *count = 0;
    int64_t *all = aleat_calloc((size_t)n, sizeof *all);
    if (!all || !aleat_order(all, scores, n)) {
        aleat_free(all);
        return aleat_fail_memory(err, "sorting the scores");
    }
    const int64_t shown = n < ALEAT_CONTACT_SHEET_MAX ? n : ALEAT_CONTACT_SHEET_MAX;
    for (int64_t i = 0; i < shown; i++)
        order[i] = all[shown > 1 ? i * (n - 1) / (shown - 1) : 0];
    *count = shown;
    aleat_free(all);
    return ALEAT_OK;
}

// Smaller than single pictures: ten in a row should fit on a screen.
static int sheet_factor(int64_t width, int64_t height)
{
    const int factor = aleat_enlargement(width, height) * 3 / 8;
    return factor > 1 ? factor : 1;
}

aleat_status aleat_contact_sheet_new(aleat_contact_sheet **out, int64_t count, int64_t width,
                                     int64_t height, bool with_maps, const char *headline,
                                     aleat_error *err)
{
    *out = NULL;
    aleat_contact_sheet *s = aleat_calloc(1, sizeof *s);
    if (!s)
        return aleat_fail_memory(err, "a contact sheet");
    const int64_t rows = (count + COLUMNS - 1) / COLUMNS;
    s->factor = sheet_factor(width, height);
    s->columns = count < COLUMNS ? count : COLUMNS;
    const int64_t caption = aleat_text_width("#00000 0.00e+00", TEXT_SIZE);
    s->cell_width = (width * s->factor > caption ? width * s->factor : caption) + MARGIN;
    s->picture_height = height * s->factor;
    s->cell_height =
        s->picture_height * (with_maps ? 2 : 1) + aleat_text_height(TEXT_SIZE) + 3 + MARGIN;
    s->top = 2 * MARGIN + aleat_text_height(HEAD_SIZE);
    const int64_t head = aleat_text_width(headline, HEAD_SIZE) + 2 * MARGIN;
    const int64_t body = MARGIN + s->columns * s->cell_width;
    aleat_status st = aleat_canvas_new(&s->canvas, head > body ? head : body,
                                       s->top + rows * s->cell_height, paper, err);
    if (st)
        goto done;
    aleat_canvas_text(&s->canvas, MARGIN, MARGIN, HEAD_SIZE, headline, ink);
    *out = s;
    s = NULL;
done:
    aleat_contact_sheet_free(s);
    return st;
}

void aleat_contact_sheet_place(aleat_contact_sheet *sheet, int64_t i, const aleat_image *image,
                               const aleat_image *overlay, const char *caption)
{
    const int64_t x = MARGIN + i % sheet->columns * sheet->cell_width;
    int64_t y = sheet->top + i / sheet->columns * sheet->cell_height;
    aleat_canvas_picture(&sheet->canvas, x, y, image, sheet->factor);
    y += sheet->picture_height;
    if (overlay) {
        aleat_canvas_picture(&sheet->canvas, x, y, overlay, sheet->factor);
        y += sheet->picture_height;
    }
    aleat_canvas_text(&sheet->canvas, x, y + 3, TEXT_SIZE, caption, ink);
}

const aleat_image *aleat_contact_sheet_image(const aleat_contact_sheet *sheet)
{
    return &sheet->canvas;
}

void aleat_contact_sheet_free(aleat_contact_sheet *sheet)
{
    if (!sheet)
        return;
    aleat_image_clear(&sheet->canvas);
    aleat_free(sheet);
}
