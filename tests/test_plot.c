/* Line plots: where ticks are, that curves are where they belong, and what is refused. */
#include "io_fixture.h"

#include <math.h>

#include "io/file.h"
#include "io/png_image.h"
#include "plot/plot.h"
#include "plot/ticks.h"

static void assert_ticks(double low, double high, bool log, int wanted, const char *want)
{
    aleat_ticks ticks;
    char text[512] = "";
    aleat_ticks_place(&ticks, low, high, log, wanted);
    for (int i = 0; i < ticks.count; i++) {
        assert_true(ticks.at[i] >= low - 1e-6 * fabs(low) && ticks.at[i] <= high + 1e-6 * high);
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "",
                       ticks.text[i]);
    }
    assert_string_equal(text, want);
}

static void ticks_are_round_numbers_within_the_axis(void **state)
{
    (void)state;
    assert_ticks(0, 1, false, 5, "0.0 0.2 0.4 0.6 0.8 1.0");
    assert_ticks(-0.13, 0.11, false, 5, "-0.10 -0.05 0.00 0.05 0.10");
    assert_ticks(0, 16000, false, 7, "0 2000 4000 6000 8000 10000 12000 14000 16000");
    assert_ticks(3, 3.0001, false, 4, "3 3.00002 3.00004 3.00006 3.00008 3.0001");
    assert_ticks(0.02, 1.4, true, 8, "0.02 0.05 0.1 0.2 0.5 1");
    assert_ticks(1e-6, 1e6, true, 4, "1e-06 0.001 1 1000 1e+06");
    assert_ticks(2, 8, true, 6, "2 3 4 5 6 7 8");
}

enum { N = 200 };
static double xs[N], ys[N], lows[N], highs[N];

static aleat_plot example(aleat_series *series)
{
    for (int i = 0; i < N; i++) {
        xs[i] = 50.0 * i;
        ys[i] = 0.03 + exp(-i / 20.0);
        lows[i] = 0.8 * ys[i];
        highs[i] = 1.3 * ys[i];
    }
    ys[100] = NAN;
    series[0] = (aleat_series){
        .label = "training", .x = xs, .y = ys, .count = N, .low = lows, .high = highs};
    series[1] = (aleat_series){.label = "validation <&>",
                               .x = xs,
                               .y = highs,
                               .count = 10,
                               .points = true,
                               .dashed = true};
    return (aleat_plot){.title = "Loss",
                        .x = {.label = "step"},
                        .y = {.label = "mean squared error", .log = true},
                        .series = series,
                        .n_series = 2};
}

static void a_png_holds_the_colours_of_its_curves(void **state)
{
    (void)state;
    aleat_series series[2];
    aleat_error err = {0};
    aleat_image image;
    const aleat_plot plot = example(series);
    assert_ok(aleat_plot_write(scratch("plot.png"), &plot, &err), &err);
    assert_ok(aleat_png_read(&image, scratch("plot.png"), &err), &err);
    assert_int_equal(image.width, 960);
    int64_t blue = 0, vermilion = 0;
    for (int64_t i = 0; i < image.width * image.height; i++) {
        const uint8_t *p = image.pixels + 3 * i;
        blue += p[0] == 0 && p[1] == 114 && p[2] == 178;
        vermilion += p[0] == 213 && p[1] == 94 && p[2] == 0;
    }
    // A line two pixels wide and hundreds long, and ten dots.
    assert_true(blue > 500);
    assert_true(vermilion > 10 * 20);
    aleat_image_clear(&image);
}

static char *read_text(const char *name)
{
    aleat_error err = {0};
    aleat_mapping file = {0};
    assert_ok(aleat_mapping_open(&file, scratch(name), &err), &err);
    char *text = strndup((const char *)file.data, file.len);
    aleat_mapping_close(&file);
    assert_non_null(text);
    return text;
}

// Dots at two corners of the axes and between them.
static void check_places(bool log, const double x[3], const double y[3], double share_x,
                         double share_y)
{
    const aleat_series series = {.x = x, .y = y, .count = 3, .no_line = true};
    const aleat_plot plot = {.x = {.low = x[0], .high = x[1], .log = log},
                             .y = {.low = y[0], .high = y[1], .log = log},
                             .series = &series,
                             .n_series = 1};
    aleat_error err = {0};
    double at[3][2];
    assert_ok(aleat_plot_write(scratch("points.svg"), &plot, &err), &err);
    char *text = read_text("points.svg"), *from = text;
    for (int i = 0; i < 3; i++) {
        from = strstr(from, "<circle");
        assert_non_null(from);
        assert_int_equal(sscanf(from++, "<circle cx=\"%lf\" cy=\"%lf\"", &at[i][0], &at[i][1]), 2);
    }
    // written to hundredths of a pixel
    assert_true(fabs(at[2][0] - at[0][0] - share_x * (at[1][0] - at[0][0])) < 0.02);
    assert_true(fabs(at[2][1] - at[0][1] - share_y * (at[1][1] - at[0][1])) < 0.02);
    assert_true(at[1][0] > at[0][0] + 500 && at[1][1] < at[0][1] - 300);
    free(text);
}

static void a_point_is_drawn_where_the_axes_say(void **state)
{
    (void)state;
    check_places(false, (double[]){4, 8, 7}, (double[]){-8, 0, -6}, 0.75, 0.25);
    check_places(true, (double[]){1, 1e4, 10}, (double[]){1e-4, 1, 0.1}, 0.25, 0.75);
}

static void an_svg_is_well_formed_and_escapes_its_text(void **state)
{
    (void)state;
    aleat_series series[2];
    aleat_error err = {0};
    const aleat_plot plot = example(series);
    assert_ok(aleat_plot_write(scratch("plot.svg"), &plot, &err), &err);
    char *text = read_text("plot.svg");
    assert_non_null(strstr(text, "validation &lt;&amp;&gt;</text>"));
    assert_non_null(strstr(text, "stroke-dasharray"));
    assert_non_null(strstr(text, "<polygon"));
    // Every group that is opened is closed, and two lines are drawn around the gap.
    int depth = 0, curves = 0;
    for (const char *at = text; (at = strstr(at, "<")); at++) {
        depth += !strncmp(at, "<g ", 3) - !strncmp(at, "</g>", 4);
        curves += !strncmp(at, "<polyline", 9) && strstr(at, "#0072b2") &&
                  strstr(at, "#0072b2") < strchr(at, '>');
    }
    assert_int_equal(depth, 0);
    assert_int_equal(curves, 3); // and one in the legend
    assert_null(strstr(text, "nan"));
    free(text);
}

static void a_plot_of_nothing_is_a_frame(void **state)
{
    (void)state;
    const aleat_plot empty = {.x = {.log = true}};
    const double x[] = {1, 1}, y[] = {NAN, -1};
    const aleat_series series = {.x = x, .y = y, .count = 2};
    const aleat_plot nothing = {.y = {.log = true}, .series = &series, .n_series = 1};
    aleat_error err = {0};
    assert_ok(aleat_plot_write(scratch("empty.png"), &empty, &err), &err);
    assert_ok(aleat_plot_write(scratch("nothing.svg"), &nothing, &err), &err);
}

static void what_cannot_be_drawn_is_refused(void **state)
{
    (void)state;
    aleat_error err = {0};
    const aleat_plot fine = {0}, small = {.width = 10, .height = 10};
    const aleat_plot odd = {.x = {.low = 2, .high = 1}}, log = {.y = {.log = true, .high = 1}};
    assert_failed(aleat_plot_write(scratch("plot.pdf"), &fine, &err), ALEAT_ERR_ARGUMENT, &err,
                  ".png or .svg");
    assert_failed(aleat_plot_write(scratch("plot.png"), &small, &err), ALEAT_ERR_ARGUMENT, &err,
                  "10 x 10");
    assert_failed(aleat_plot_write(scratch("plot.png"), &odd, &err), ALEAT_ERR_ARGUMENT, &err,
                  "x axis from 2 to 1");
    assert_failed(aleat_plot_write(scratch("plot.png"), &log, &err), ALEAT_ERR_ARGUMENT, &err,
                  "y axis from 0 to 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticks_are_round_numbers_within_the_axis),
        cmocka_unit_test(a_png_holds_the_colours_of_its_curves),
        cmocka_unit_test(a_point_is_drawn_where_the_axes_say),
        cmocka_unit_test(an_svg_is_well_formed_and_escapes_its_text),
        cmocka_unit_test(a_plot_of_nothing_is_a_frame),
        cmocka_unit_test(what_cannot_be_drawn_is_refused),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
