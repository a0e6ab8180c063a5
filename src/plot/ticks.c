#include "plot/ticks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// Rounding must not push the first or the last number off the axis.
#define SLACK 1e-9

static void add(aleat_ticks *out, double value, int decimals)
{
    if (out->count == ALEAT_MOST_TICKS)
        return;
    char *text = out->text[out->count];
    const size_t size = sizeof out->text[0];
    if (decimals < 0 || fabs(value) >= 1e6)
        (void)snprintf(text, size, "%g", value);
    else
        (void)snprintf(text, size, "%.*f", decimals, value);
    out->at[out->count++] = value;
}

static void place_linear(aleat_ticks *out, double low, double high, int wanted)
{
    const double rough = (high - low) / wanted, power = pow(10, floor(log10(rough)));
    const double ratio = rough / power;
    const double step = power * (ratio < 1.5 ? 1 : ratio < 3.5 ? 2 : ratio < 7.5 ? 5 : 10);
    const int digits = (int)-floor(log10(step) + SLACK);
    // "0.00002" is harder to read than "2e-05"
    const int decimals = digits > 4 ? -1 : digits < 0 ? 0 : digits;
    const double first = ceil(low / step - SLACK), last = floor(high / step + SLACK);
    for (double i = first; i <= last && out->count < ALEAT_MOST_TICKS; i++)
        add(out, i * step + 0.0, decimals); // + 0.0: no "-0"
}

static void place_log(aleat_ticks *out, double low, double high, int wanted)
{
    const double decades = log10(high / low);
    const int stride = (int)ceil(decades / wanted);
    const int n_digits = decades * 3 <= wanted + 1 ? 3 : 1;
    static const double digits[] = {1, 2, 5};
    const int first = (int)floor(log10(low) + SLACK), last = (int)floor(log10(high) + SLACK);
    for (int d = first; d <= last; d++)
        for (int i = 0; i < n_digits && d % stride == 0; i++) {
            const double value = digits[i] * pow(10, d);
            if (value >= low * (1 - SLACK) && value <= high * (1 + SLACK))
                add(out, value, -1);
        }
}

void aleat_ticks_place(aleat_ticks *out, double low, double high, bool log, int wanted)
{
    memset(out, 0, sizeof *out);
    if (log && high / low > 10)
        place_log(out, low, high, wanted);
    else
        place_linear(out, low, high, wanted);
}
