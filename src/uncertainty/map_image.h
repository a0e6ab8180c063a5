/*
 * Maps of uncertainty as pictures: one perceptually even colour scale, dark (certain) to light
 * (uncertain), shared by all pictures of a run and explained by a legend.
 */
#ifndef ALEAT_UNCERTAINTY_MAP_IMAGE_H
#define ALEAT_UNCERTAINTY_MAP_IMAGE_H

#include "plot/canvas.h"

/** Values of a map that get the darkest and the lightest colour. */
typedef struct aleat_colour_scale {
    float low, high;
} aleat_colour_scale;

/** Collects values to choose a scale from; about 512 KiB, whatever the number of values. */
typedef struct aleat_value_histogram aleat_value_histogram;
ALEAT_MUST_USE aleat_status aleat_value_histogram_new(aleat_value_histogram **out,
                                                      aleat_error *err);
void aleat_value_histogram_free(aleat_value_histogram *h);
/** Counts `n` values; NaN is left out. The order of calls makes no difference. */
void aleat_value_histogram_add(aleat_value_histogram *h, const float *values, int64_t n);
/** The value below which a share `q` in [0, 1] of all lies, within 0.8 %; 0 if there are none. */
float aleat_value_histogram_quantile(const aleat_value_histogram *h, double q);
/** From the 1st to the 99th percentile, so that a few extremes do not darken all else. If all
 * values are alike the scale still has high > low. */
aleat_colour_scale aleat_robust_scale(const aleat_value_histogram *h);

/** Colour of a value; beyond the scale: its ends. NaN is drawn in green, which the scale lacks. */
aleat_rgb aleat_map_colour(float value, aleat_colour_scale scale);

/** pixel_map [H,W] = mean over the channels of map [C,H,W]. Must not alias. */
void aleat_map_over_channels(float *pixel_map, const float *map, int64_t channels, int64_t height,
                             int64_t width);

/** dst [H,W] = src [h,w] enlarged by whole factors, linear between the centres of its cells; a
 * factor of 1 copies. Must not alias. */
void aleat_map_enlarge(float *dst, int64_t to_height, int64_t to_width, const float *src,
                       int64_t height, int64_t width);

/** What a map picture says besides the pixels; all text is borrowed, NULL is left out. */
typedef struct aleat_map_labels {
    const char *title; /**< above the panels: "#12  score 345.6" */
    const char *name;  /**< above the legend: "eps-var" */
    const char *unit;  /**< below the legend: "pixel^2" */
} aleat_map_labels;

/**
 * A picture with two panels and the legend: the map laid over `image`, growing more opaque where it
 * is higher, and the map by itself.
 *
 * @param image      [H,W,1 or 3], borrowed
 * @param pixel_map  [H,W]
 * @param out        to be released by aleat_image_clear()
 */
ALEAT_MUST_USE aleat_status aleat_map_picture(aleat_image *out, const aleat_image *image,
                                              const float *pixel_map, aleat_colour_scale scale,
                                              const aleat_map_labels *labels, aleat_error *err);

/** Only the overlay, at the image's own size, RGB. */
ALEAT_MUST_USE aleat_status aleat_map_overlay(aleat_image *out, const aleat_image *image,
                                              const float *pixel_map, aleat_colour_scale scale,
                                              aleat_error *err);

#endif
