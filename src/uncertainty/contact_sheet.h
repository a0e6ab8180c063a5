/* Many images and their maps on one picture, in the order of their scores. */
#ifndef ALEAT_UNCERTAINTY_CONTACT_SHEET_H
#define ALEAT_UNCERTAINTY_CONTACT_SHEET_H

#include <stdbool.h>

#include "uncertainty/map_image.h"

/** A sheet under construction. */
typedef struct aleat_contact_sheet aleat_contact_sheet;

/** Images that one sheet holds at most; of more, evenly spaced ranks are shown. */
#define ALEAT_CONTACT_SHEET_MAX 60

/**
 * Chooses which images a sheet shows.
 *
 * @param order   out, at least min(n, ALEAT_CONTACT_SHEET_MAX): image numbers, lowest score first;
 *                ties by image number, NaN last. Includes the lowest and the highest.
 * @param scores  [n]
 * @param count   out: how many
 */
ALEAT_MUST_USE aleat_status aleat_contact_sheet_order(int64_t *order, int64_t *count,
                                                      const double *scores, int64_t n,
                                                      aleat_error *err);

/** A sheet for `count` images of this size, under a headline. with_maps: room for an overlay below
 * each image. */
ALEAT_MUST_USE aleat_status aleat_contact_sheet_new(aleat_contact_sheet **out, int64_t count,
                                                    int64_t width, int64_t height, bool with_maps,
                                                    const char *headline, aleat_error *err);
/** Fills place `i`: image, its overlay (NULL: none) and a caption such as "#12 345.6". */
void aleat_contact_sheet_place(aleat_contact_sheet *sheet, int64_t i, const aleat_image *image,
                               const aleat_image *overlay, const char *caption);
/** The picture; borrowed. */
const aleat_image *aleat_contact_sheet_image(const aleat_contact_sheet *sheet);
void aleat_contact_sheet_free(aleat_contact_sheet *sheet);

#endif
