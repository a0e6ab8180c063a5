#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "uncertainty/contact_sheet.h"

static const aleat_colour_scale unit = {0, 1};

// Ottosson's OKLab, the space in which the colours were laid out.
static void oklab(aleat_rgb colour, double lab[3])
{
    const double rgb[3] = {colour.r / 255.0, colour.g / 255.0, colour.b / 255.0};
    double c[3];
    for (int i = 0; i < 3; i++)
        c[i] = rgb[i] <= 0.04045 ? rgb[i] / 12.92 : pow((rgb[i] + 0.055) / 1.055, 2.4);
    const double l = cbrt(0.4122214708 * c[0] + 0.5363325363 * c[1] + 0.0514459929 * c[2]);
    const double m = cbrt(0.2119034982 * c[0] + 0.6806995451 * c[1] + 0.1073969566 * c[2]);
    const double s = cbrt(0.0883024619 * c[0] + 0.2817188376 * c[1] + 0.6299787005 * c[2]);
    lab[0] = 0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s;
    lab[1] = 1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s;
    lab[2] = 0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s;
}

static void colours_rise_evenly_in_lightness_and_in_distance(void **state)
{
    (void)state;
    double least = INFINITY, most = 0, step_least = INFINITY, step_most = 0;
    for (int i = 0; i + 8 < 256; i += 8) {
        double a[3], b[3];
        oklab(aleat_map_colour((float)i / 255, unit), a);
        oklab(aleat_map_colour((float)(i + 8) / 255, unit), b);
        const double distance =
            sqrt(pow(b[0] - a[0], 2) + pow(b[1] - a[1], 2) + pow(b[2] - a[2], 2));
        least = fmin(least, distance);
        most = fmax(most, distance);
        step_least = fmin(step_least, b[0] - a[0]);
        step_most = fmax(step_most, b[0] - a[0]);
    }
    // lightness: linear up to the rounding to 8 bits (half a level of 255 is 0.004 where it is
    // dark)
    assert_true(step_least > 0.5 * step_most);
    assert_true(step_least > 0);
    // distance: a rainbow scale has a ratio of 5 and more
    assert_true(most < 1.6 * least);
}

static void values_beyond_the_scale_get_its_ends_and_nan_stands_out(void **state)
{
    (void)state;
    const aleat_rgb low = aleat_map_colour(0, unit), below = aleat_map_colour(-5, unit);
    const aleat_rgb high = aleat_map_colour(1, unit), above = aleat_map_colour(INFINITY, unit);
    assert_memory_equal(&low, &below, sizeof low);
    assert_memory_equal(&high, &above, sizeof high);
    const aleat_rgb odd = aleat_map_colour(NAN, unit);
    for (int i = 0; i < 256; i++) {
        const aleat_rgb c = aleat_map_colour((float)i / 255, unit);
        assert_true(abs(c.r - odd.r) + abs(c.g - odd.g) + abs(c.b - odd.b) > 100);
    }
}

static void quantiles_are_right_within_a_bucket_for_both_signs(void **state)
{
    (void)state;
    aleat_value_histogram *h;
    assert_int_equal(aleat_value_histogram_new(&h, NULL), ALEAT_OK);
    assert_true(aleat_value_histogram_quantile(h, 0.5) == 0);
    for (int i = -1000; i <= 1000; i++) {
        const float value = (float)i;
        aleat_value_histogram_add(h, &value, 1);
    }
    const float odd = NAN;
    aleat_value_histogram_add(h, &odd, 1);
    for (int percent = 0; percent <= 100; percent++) {
        const double want = -1000 + 20 * percent;
        const double got = aleat_value_histogram_quantile(h, percent / 100.0);
        assert_true(fabs(got - want) <= 1 + fabs(want) / 128); // 7 bits of fraction, and one rank
    }
    aleat_value_histogram_free(h);
}

static void a_constant_map_still_has_a_scale(void **state)
{
    (void)state;
    aleat_value_histogram *h;
    assert_int_equal(aleat_value_histogram_new(&h, NULL), ALEAT_OK);
    const float values[] = {3, 3, 3, 3};
    aleat_value_histogram_add(h, values, 4);
    const aleat_colour_scale scale = aleat_robust_scale(h);
    assert_true(scale.high > scale.low);
    aleat_value_histogram_free(h);
}

static void an_uncertain_pixel_takes_colour_and_a_certain_one_keeps_the_image(void **state)
{
    (void)state;
    uint8_t pixels[] = {200, 200};
    const aleat_image image = {.width = 2, .height = 1, .channels = 1, .pixels = pixels};
    const float map[] = {0, 1};
    aleat_image overlay;
    assert_int_equal(aleat_map_overlay(&overlay, &image, map, unit, NULL), ALEAT_OK);
    // 15 % of a dark colour leaves at least 85 % of the grey
    assert_true(overlay.pixels[0] >= 170);
    // pale yellow: much less blue than red
    assert_true(overlay.pixels[3] > overlay.pixels[5] + 20);
    aleat_image_clear(&overlay);
}

static void a_map_picture_of_a_tiny_image_is_enlarged_and_labelled(void **state)
{
    (void)state;
    uint8_t pixels[32 * 32];
    float map[32 * 32];
    for (int i = 0; i < 32 * 32; i++) {
        pixels[i] = (uint8_t)i;
        map[i] = (float)i / (32 * 32);
    }
    const aleat_image image = {.width = 32, .height = 32, .channels = 1, .pixels = pixels};
    const aleat_map_labels labels = {"#0  score 12.5", "eps-var", "no unit"};
    aleat_image picture;
    assert_int_equal(aleat_map_picture(&picture, &image, map, unit, &labels, NULL), ALEAT_OK);
    assert_true(picture.width > 2 * 256 && picture.height > 256);
    aleat_image_clear(&picture);
}

static void a_sheet_shows_all_ranks_or_evenly_spaced_ones(void **state)
{
    (void)state;
    enum { N = 1000 };
    double scores[N];
    int64_t order[ALEAT_CONTACT_SHEET_MAX], count;
    for (int i = 0; i < N; i++)
        scores[i] = N - i;
    assert_int_equal(aleat_contact_sheet_order(order, &count, scores, N, NULL), ALEAT_OK);
    assert_int_equal(count, ALEAT_CONTACT_SHEET_MAX);
    assert_int_equal(order[0], N - 1);
    assert_int_equal(order[count - 1], 0);
    const double few[] = {2, NAN, 1, 2};
    assert_int_equal(aleat_contact_sheet_order(order, &count, few, 4, NULL), ALEAT_OK);
    const int64_t want[] = {2, 0, 3, 1};
    assert_memory_equal(order, want, sizeof want);
}

static void pictures_are_clipped_to_their_canvas(void **state)
{
    (void)state;
    aleat_image canvas;
    const aleat_rgb white = {255, 255, 255}, black = {0, 0, 0};
    assert_int_equal(aleat_canvas_new(&canvas, 4, 4, white, NULL), ALEAT_OK);
    aleat_canvas_box(&canvas, -2, -2, 3, 3, black);
    aleat_canvas_text(&canvas, 2, 2, 3, "M\x80", black);
    assert_int_equal(canvas.pixels[0], 0);
    assert_int_equal(canvas.pixels[3], 255);
    aleat_image_clear(&canvas);
    assert_int_equal(aleat_canvas_new(&canvas, INT64_MAX, 2, white, NULL), ALEAT_ERR_SHAPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(colours_rise_evenly_in_lightness_and_in_distance),
        cmocka_unit_test(values_beyond_the_scale_get_its_ends_and_nan_stands_out),
        cmocka_unit_test(quantiles_are_right_within_a_bucket_for_both_signs),
        cmocka_unit_test(a_constant_map_still_has_a_scale),
        cmocka_unit_test(an_uncertain_pixel_takes_colour_and_a_certain_one_keeps_the_image),
        cmocka_unit_test(a_map_picture_of_a_tiny_image_is_enlarged_and_labelled),
        cmocka_unit_test(a_sheet_shows_all_ranks_or_evenly_spaced_ones),
        cmocka_unit_test(pictures_are_clipped_to_their_canvas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
