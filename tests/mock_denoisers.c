#include "mock_denoisers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct mock {
    mock_data data;
    int64_t size, rows, largest;
    float *kept; // input of the last forward_keep
    float *kept_t;
    int64_t kept_n;
} mock;

static double log_ratio(const mock_data *d, int i) // log(sigma / alpha)
{
    return 0.5 * (log1p(-d->abar[i]) - log(d->abar[i]));
}

static void level(const mock_data *d, double t, double *alpha, double *sigma)
{
    if (d->clock == MOCK_FIXED) {
        *alpha = sqrt(d->abar[0]);
        *sigma = sqrt(1 - d->abar[0]);
        return;
    }
    for (int k = 0; d->clock == MOCK_LEVELS && k < d->n_levels; k++)
        if ((float)d->level_t[k] == (float)t) {
            *alpha = d->level_alpha[k];
            *sigma = d->level_sigma[k];
            return;
        }
    const int last = d->n_abar > 1 ? d->n_abar - 2 : 0;
    const int i = (int)fmin(fmax(floor(t), 0), last);
    const double part = t - i;
    if (part == 0 || part == 1) { // exact on whole steps, also where log diverges
        const double abar = d->abar[i + (int)part];
        *alpha = sqrt(abar);
        *sigma = sqrt(1 - abar);
    } else {
        const double ratio = exp(log_ratio(d, i) * (1 - part) + log_ratio(d, i + 1) * part);
        *alpha = 1 / sqrt(1 + ratio * ratio);
        *sigma = ratio * *alpha;
    }
}

// out = inverse(abar covariance + (1 - abar) I) v, by elimination in double.
static void solve_covariance(const mock *m, double a, double b, const double *v, double *out)
{
    const int64_t n = m->size;
    double *s = malloc((size_t)(n * n) * sizeof *s);
    for (int64_t i = 0; i < n * n; i++)
        s[i] = a * a * m->data.covariance[i] + (i % (n + 1) == 0 ? b * b : 0);
    memcpy(out, v, (size_t)n * sizeof *out);
    for (int64_t k = 0; k < n; k++) // symmetric positive definite: no pivoting needed
        for (int64_t i = k + 1; i < n; i++) {
            const double f = s[i * n + k] / s[k * n + k];
            for (int64_t j = k; j < n; j++)
                s[i * n + j] -= f * s[k * n + j];
            out[i] -= f * out[k];
        }
    for (int64_t i = n - 1; i >= 0; i--) {
        for (int64_t j = i + 1; j < n; j++)
            out[i] -= s[i * n + j] * out[j];
        out[i] /= s[i * n + i];
    }
    free(s);
}

static double variance_of(const mock *m, int k, double a, double b)
{
    return a * a * m->data.spread[k] * m->data.spread[k] + b * b;
}

static void responsibilities(const mock *m, double a, double b, const double *x, double *r)
{
    const int n = m->data.components;
    double top = -INFINITY, sum = 0;
    for (int k = 0; k < n; k++) {
        const double v = variance_of(m, k, a, b);
        double square = 0;
        for (int64_t j = 0; j < m->size; j++)
            square += pow(x[j] - a * m->data.mean[k * m->size + j], 2);
        r[k] = log(m->data.weight[k]) - 0.5 * (double)m->size * log(v) - square / (2 * v);
        top = fmax(top, r[k]);
    }
    for (int k = 0; k < n; k++)
        sum += r[k] = exp(r[k] - top);
    for (int k = 0; k < n; k++)
        r[k] /= sum;
}

// -score of q_t at x, times sigma: the noise; and E[x0 | x] from it.
static void posterior(const mock *m, double a, double b, const double *x, double *eps, double *x0)
{
    const double *mean = m->data.mean;
    double r[16], *v = calloc((size_t)m->size, sizeof *v);
    if (m->data.covariance) {
        for (int64_t j = 0; j < m->size; j++)
            v[j] = x[j] - a * mean[j];
        solve_covariance(m, a, b, v, eps);
        for (int64_t j = 0; j < m->size; j++) {
            eps[j] *= b;
            x0[j] = (x[j] - b * eps[j]) / a;
        }
    } else {
        responsibilities(m, a, b, x, r);
        memset(eps, 0, (size_t)m->size * sizeof *eps);
        memset(x0, 0, (size_t)m->size * sizeof *x0);
        for (int k = 0; k < m->data.components; k++)
            for (int64_t j = 0; j < m->size; j++) {
                const double mu = mean[k * m->size + j];
                const double g = (x[j] - a * mu) / variance_of(m, k, a, b);
                eps[j] += r[k] * b * g;
                x0[j] += r[k] * (mu + a * m->data.spread[k] * m->data.spread[k] * g);
            }
    }
    free(v);
}

static double output_of(aleat_prediction kind, double a, double b, double eps, double x0)
{
    switch (kind) {
    case ALEAT_PREDICTS_EPSILON: return eps;
    case ALEAT_PREDICTS_SAMPLE: return x0;
    case ALEAT_PREDICTS_V: return a * eps - b * x0;
    case ALEAT_PREDICTS_FLOW: return eps - x0;
    }
    return NAN;
}

void mock_predict(const mock_data *data, double t, const double *x, double *out)
{
    const mock m = {.data = *data, .size = data->channels * data->height * data->width};
    double *eps = malloc((size_t)(2 * m.size) * sizeof *eps), *x0 = eps + m.size, a, b;
    level(data, t, &a, &b);
    posterior(&m, a, b, x, eps, x0);
    for (int64_t j = 0; j < m.size; j++)
        out[j] = output_of(data->output, a, b, eps[j], x0[j]);
    free(eps);
}

// Widens the input of one image into new memory.
static double *widened(const float *x, int64_t n)
{
    double *wide = malloc((size_t)n * sizeof *wide);
    for (int64_t j = 0; j < n; j++)
        wide[j] = (double)x[j];
    return wide;
}

static aleat_status predict(void *self, const aleat_batch *in, float *out, aleat_error *err)
{
    (void)err;
    mock *m = self;
    double *raw = malloc((size_t)m->size * sizeof *raw);
    const int64_t out_size = m->data.learned ? 2 * m->size : m->size;
    m->rows += in->n;
    m->largest = in->n > m->largest ? in->n : m->largest;
    for (int64_t i = 0; i < in->n; i++) {
        double *x = widened(in->x + i * m->size, m->size);
        mock_predict(&m->data, (double)in->t[i], x, raw);
        for (int64_t j = 0; j < out_size; j++)
            out[i * out_size + j] = j < m->size ? (float)raw[j] : 0.25f;
        free(x);
    }
    free(raw);
    return ALEAT_OK;
}

static aleat_status forward_keep(void *self, const aleat_batch *in, float *out, aleat_error *err)
{
    mock *m = self;
    const size_t bytes = (size_t)(in->n * m->size) * sizeof *m->kept;
    m->kept = realloc(m->kept, bytes);
    m->kept_t = realloc(m->kept_t, (size_t)in->n * sizeof *m->kept_t);
    m->kept_n = in->n;
    memcpy(m->kept, in->x, bytes);
    memcpy(m->kept_t, in->t, (size_t)in->n * sizeof *m->kept_t);
    return predict(self, in, out, err);
}

// J^T w = b [(sum_k r_k / v_k) w + sum_k (g_k . w) grad r_k], g_k = (x - a mu_k) / v_k,
// grad r_k = r_k (sum_j r_j g_j - g_k).
static void mixture_vjp(const mock *m, double a, double b, const double *x, const float *w,
                        float *grad)
{
    double r[16], dot[16], scale = 0;
    responsibilities(m, a, b, x, r);
    for (int k = 0; k < m->data.components; k++) {
        const double v = variance_of(m, k, a, b);
        scale += r[k] / v;
        dot[k] = 0;
        for (int64_t j = 0; j < m->size; j++)
            dot[k] += (x[j] - a * m->data.mean[k * m->size + j]) / v * (double)w[j];
    }
    for (int64_t j = 0; j < m->size; j++) {
        double g[16], mean_g = 0, sum = scale * (double)w[j];
        for (int k = 0; k < m->data.components; k++) {
            g[k] = (x[j] - a * m->data.mean[k * m->size + j]) / variance_of(m, k, a, b);
            mean_g += r[k] * g[k];
        }
        for (int k = 0; k < m->data.components; k++)
            sum += dot[k] * r[k] * (mean_g - g[k]);
        grad[j] = (float)(b * sum);
    }
}

// The other outputs in terms of eps and x: x0 = x / a - (b / a) eps, v = eps / a - (b / a) x.
static void chain(aleat_prediction kind, double a, double b, const float *w, float *grad, int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        if (kind == ALEAT_PREDICTS_SAMPLE)
            grad[j] = (float)((double)w[j] / a - b / a * (double)grad[j]);
        else if (kind == ALEAT_PREDICTS_V)
            grad[j] = (float)((double)grad[j] / a - b / a * (double)w[j]);
}

static aleat_status backward(void *self, const float *cotangent, float *grad_x, aleat_error *err)
{
    (void)err;
    mock *m = self;
    const int64_t out_size = m->data.learned ? 2 * m->size : m->size;
    double *v = malloc((size_t)(2 * m->size) * sizeof *v), *solved = v + m->size;
    for (int64_t i = 0; i < m->kept_n; i++) {
        const float *w = cotangent + i * out_size;
        double a, b;
        level(&m->data, (double)m->kept_t[i], &a, &b);
        if (!m->data.covariance) {
            double *x = widened(m->kept + i * m->size, m->size);
            mixture_vjp(m, a, b, x, w, grad_x + i * m->size);
            free(x);
            chain(m->data.output, a, b, w, grad_x + i * m->size, m->size);
            continue;
        }
        for (int64_t j = 0; j < m->size; j++)
            v[j] = (double)w[j];
        solve_covariance(m, a, b, v, solved);
        for (int64_t j = 0; j < m->size; j++)
            grad_x[i * m->size + j] = (float)(b * solved[j]);
    }
    free(v);
    return ALEAT_OK;
}

static void destroy(void *self)
{
    mock *m = self;
    free(m->kept);
    free(m->kept_t);
    free(m);
}

aleat_denoiser mock_denoiser(const mock_data *data)
{
    static const aleat_denoiser_ops ops = {
        .predict = predict, .forward_keep = forward_keep, .backward = backward, .destroy = destroy};
    mock *m = calloc(1, sizeof *m);
    m->data = *data;
    m->size = data->channels * data->height * data->width;
    return (aleat_denoiser){.ops = &ops,
                            .self = m,
                            .info = {.channels = data->channels,
                                     .height = data->height,
                                     .width = data->width,
                                     .out_channels = (data->learned ? 2 : 1) * data->channels,
                                     .null_class = -1}};
}

int64_t mock_rows(const aleat_denoiser *denoiser)
{
    return ((const mock *)denoiser->self)->rows;
}

int64_t mock_largest_batch(const aleat_denoiser *denoiser)
{
    return ((const mock *)denoiser->self)->largest;
}
