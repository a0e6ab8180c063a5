#include "samplers/schedule.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define HALF_PI 1.57079632679489661923

// Betas above this would leave no signal at all: Nichol and Dhariwal 2021, section 3.2.
#define MAX_BETA 0.999

static double between(double first, double last, int i, int n)
{
    return n > 1 ? first + (last - first) * i / (n - 1) : first;
}

static double cosine_signal(double u)
{
    const double c = cos((u + 0.008) / 1.008 * HALF_PI);
    return c * c;
}

double aleat_schedule_vp_beta(const aleat_sampler_config *config, double t)
{
    return config->train_steps * (config->beta_start + (config->beta_end - config->beta_start) * t);
}

double aleat_schedule_vp_log_alpha(const aleat_sampler_config *config, double t)
{
    return -0.25 * t * (aleat_schedule_vp_beta(config, 0) + aleat_schedule_vp_beta(config, t));
}

double aleat_schedule_vp_time(const aleat_sampler_config *config, double log_alpha)
{
    const double low = aleat_schedule_vp_beta(config, 0);
    const double slope = aleat_schedule_vp_beta(config, 1) - low;
    return -4 * log_alpha / (low + sqrt(low * low - 4 * slope * log_alpha));
}

static double beta_at(const aleat_sampler_config *config, int i)
{
    const int n = config->train_steps;
    const double low = config->beta_start, high = config->beta_end;
    switch (config->beta_schedule) {
    case ALEAT_BETA_LINEAR: return between(low, high, i, n);
    case ALEAT_BETA_SCALED_LINEAR: {
        const double root = between(sqrt(low), sqrt(high), i, n);
        return root * root;
    }
    case ALEAT_BETA_COSINE:
        return fmin(1 - cosine_signal((i + 1.0) / n) / cosine_signal((double)i / n), MAX_BETA);
    case ALEAT_BETA_VP: {
        const double from = (double)i / n, to = (i + 1.0) / n;
        return -expm1(2 * (aleat_schedule_vp_log_alpha(config, to) -
                           aleat_schedule_vp_log_alpha(config, from)));
    }
    case ALEAT_BETA_SIGMOID: return low + (high - low) / (1 + exp(-between(-6, 6, i, n)));
    }
    return 0;
}

void aleat_schedule_betas(const aleat_sampler_config *config, double *betas)
{
    for (int i = 0; i < config->train_steps; i++)
        betas[i] = config->trained_betas ? config->trained_betas[i] : beta_at(config, i);
    if (config->zero_snr)
        aleat_schedule_zero_snr(betas, config->train_steps);
}

void aleat_schedule_products(const double *betas, int n, double *abar)
{
    double product = 1;
    for (int i = 0; i < n; i++) {
        product *= 1 - betas[i];
        abar[i] = product;
    }
}

void aleat_schedule_zero_snr(double *betas, int n)
{
    double product = 1;
    for (int i = 0; i < n; i++)
        product *= 1 - betas[i];
    const double first = sqrt(1 - betas[0]), last = sqrt(product);
    double running = 1, before = 1;
    for (int i = 0; i < n; i++) {
        running *= 1 - betas[i];
        const double root = i + 1 < n ? (sqrt(running) - last) * first / (first - last) : 0;
        betas[i] = 1 - root * root / before;
        before = root * root;
    }
}

double aleat_schedule_sigma(const double *abar, int n, double t)
{
    const double held = fmin(fmax(t, 0), n - 1);
    const int low = (int)held, high = low + 1 < n ? low + 1 : low;
    const double sigma_low = sqrt((1 - abar[low]) / abar[low]);
    const double sigma_high = sqrt((1 - abar[high]) / abar[high]);
    return sigma_low + (sigma_high - sigma_low) * (held - low);
}

static double log_sigma_at(const double *abar, int i)
{
    return 0.5 * (log1p(-abar[i]) - log(abar[i]));
}

double aleat_schedule_time(const double *abar, int n, double sigma)
{
    const double wanted = log(fmax(sigma, 1e-10));
    int low = 0, high = n - 1; // sigma rises with t: bisect to neighbours
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (log_sigma_at(abar, middle) <= wanted)
            low = middle;
        else
            high = middle;
    }
    const double from = log_sigma_at(abar, low), to = log_sigma_at(abar, high);
    const double part = high > low ? (wanted - from) / (to - from) : 0;
    return low + fmin(fmax(part, 0), 1);
}

static aleat_status cannot_respace(const char *text, int n, const char *why, aleat_error *err)
{
    const aleat_status st = aleat_fail(err, ALEAT_ERR_ARGUMENT,
                                       "respacing '%s' of %d training steps: %s", text, n, why);
    aleat_hint(err, "ddim50 takes every 20th of 1000 steps, 250 takes 250 spread evenly");
    return st;
}

static bool read_count(const char **at, int *value)
{
    if (!isdigit((unsigned char)**at))
        return false;
    char *end;
    const long number = strtol(*at, &end, 10);
    *at = end;
    *value = number > 1000000 ? 1000000 : (int)number;
    return true;
}

static aleat_status respace_by_stride(const char *text, int n, int wanted, int *steps, int *count,
                                      aleat_error *err)
{
    for (int stride = 1; stride < n; stride++) {
        if ((n + stride - 1) / stride != wanted)
            continue;
        for (int i = 0; i < wanted; i++)
            steps[i] = i * stride;
        *count = wanted;
        return ALEAT_OK;
    }
    return cannot_respace(text, n, "no integer stride gives that many steps", err);
}

// `taken` steps out of section [begin, begin + size), first and last included, halves to even.
static int respace_section(int begin, int size, int taken, int *steps)
{
    const double stride = taken > 1 ? (double)(size - 1) / (taken - 1) : 1;
    double at = 0;
    for (int i = 0; i < taken; i++) {
        steps[i] = begin + (int)nearbyint(at);
        at += stride;
    }
    return taken;
}

aleat_status aleat_schedule_respace(const char *text, int n, int *steps, int *count,
                                    aleat_error *err)
{
    enum { MAX_SECTIONS = 64 };
    int wanted[MAX_SECTIONS], sections = 0;
    const char *at = text;
    *count = 0;
    if (!strncmp(text, "ddim", 4)) {
        at += 4;
        if (!read_count(&at, wanted) || *at)
            return cannot_respace(text, n, "expected ddim and a number", err);
        return respace_by_stride(text, n, wanted[0], steps, count, err);
    }
    if (!*text)
        wanted[sections++] = n;
    while (*at) {
        if (sections == MAX_SECTIONS || !read_count(&at, &wanted[sections++]) ||
            (*at && (*at++ != ',' || !*at)))
            return cannot_respace(text, n, "expected numbers separated by commas", err);
    }
    for (int s = 0, begin = 0; s < sections; s++) {
        const int size = n / sections + (s < n % sections);
        if (wanted[s] > size)
            return cannot_respace(text, n, "a section has fewer steps than are asked of it", err);
        *count += respace_section(begin, size, wanted[s], steps + *count);
        begin += size;
    }
    if (*count == 0)
        return cannot_respace(text, n, "no step is left", err);
    return ALEAT_OK;
}

void aleat_schedule_respaced_betas(const double *abar, const int *steps, int count, double *betas)
{
    double before = 1;
    for (int i = 0; i < count; i++) {
        betas[i] = 1 - abar[steps[i]] / before;
        before = abar[steps[i]];
    }
}

void aleat_schedule_posterior(const double *betas, int n, const aleat_posterior *out)
{
    double abar = 1;
    for (int i = 0; i < n; i++) {
        const double before = abar;
        abar *= 1 - betas[i];
        const double variance = betas[i] * (1 - before) / (1 - abar);
        if (out->variance)
            out->variance[i] = variance;
        if (out->log_variance_clipped && i > 0)
            out->log_variance_clipped[i] = log(variance);
        if (out->log_variance_clipped && i == 1)
            out->log_variance_clipped[0] = log(variance);
        if (out->x0_coefficient)
            out->x0_coefficient[i] = betas[i] * sqrt(before) / (1 - abar);
        if (out->x_coefficient)
            out->x_coefficient[i] = (1 - before) * sqrt(1 - betas[i]) / (1 - abar);
    }
}

int aleat_schedule_spaced(const aleat_sampler_config *config, int steps, int i)
{
    const int n = config->train_steps;
    switch (config->spacing) {
    case ALEAT_SPACING_LEADING: return (steps - 1 - i) * (n / steps) + config->steps_offset;
    case ALEAT_SPACING_LINSPACE:
        return steps > 1 ? (int)nearbyint((steps - 1 - i) * ((n - 1.0) / (steps - 1))) : 0;
    case ALEAT_SPACING_TRAILING: return (int)nearbyint(n - i * ((double)n / steps)) - 1;
    }
    return 0;
}
