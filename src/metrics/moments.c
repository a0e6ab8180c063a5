#include "metrics/moments.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/npy.h"
#include "metrics/products.h"

/* Vectors are collected CHUNK at a time, counted from the first one, so that it does not matter how
 * they come; a full chunk's own mean and scatter are then merged into the whole. */
enum { CHUNK = 1024 };

struct aleat_moments {
    int64_t d, n; // n: merged so far, without those waiting
    int threads;
    double *mean, *scatter; // [d], [d,d]: sum of (x - mean) (x - mean)^T
    float *waiting;         // [CHUNK,d]
    int64_t n_waiting;
};

void aleat_gaussian_clear(aleat_gaussian *g)
{
    if (!g)
        return;
    aleat_free(g->mean);
    aleat_free(g->covariance);
    memset(g, 0, sizeof *g);
}

static aleat_status gaussian_new(aleat_gaussian *out, int64_t d, aleat_error *err)
{
    size_t square;
    *out = (aleat_gaussian){.d = d};
    if (aleat_size_mul((size_t)d, (size_t)d, &square)) {
        out->mean = aleat_calloc((size_t)d, sizeof(double));
        out->covariance = aleat_calloc(square, sizeof(double));
    }
    if (out->mean && out->covariance)
        return ALEAT_OK;
    aleat_gaussian_clear(out);
    return aleat_fail_memory(err, "a covariance");
}

aleat_status aleat_moments_new(aleat_moments **out, int64_t d, int threads, aleat_error *err)
{
    *out = NULL;
    size_t square;
    aleat_moments *m = aleat_calloc(1, sizeof *m);
    if (!m)
        return aleat_fail_memory(err, "a covariance");
    m->d = d;
    m->threads = threads;
    if (aleat_size_mul((size_t)d, (size_t)d, &square)) {
        m->mean = aleat_calloc((size_t)d, sizeof(double));
        m->scatter = aleat_calloc(square, sizeof(double));
        m->waiting = aleat_calloc((size_t)d, CHUNK * sizeof(float));
    }
    if (m->mean && m->scatter && m->waiting) {
        *out = m;
        return ALEAT_OK;
    }
    aleat_moments_free(m);
    return aleat_fail_memory(err, "a covariance");
}

void aleat_moments_free(aleat_moments *m)
{
    if (!m)
        return;
    aleat_free(m->mean);
    aleat_free(m->scatter);
    aleat_free(m->waiting);
    aleat_free(m);
}

// Merges n vectors of this mean and scatter.
static void merge(aleat_moments *m, const double *mean, const double *scatter, int64_t n)
{
    const double total = (double)(m->n + n), share = (double)n / total;
    const double weight = (double)m->n * share;
    for (int64_t i = 0; i < m->d; i++) {
        const double di = weight * (mean[i] - m->mean[i]);
        double *row = m->scatter + i * m->d;
        for (int64_t j = 0; j < m->d; j++)
            row[j] += scatter[i * m->d + j] + di * (mean[j] - m->mean[j]);
    }
    for (int64_t i = 0; i < m->d; i++)
        m->mean[i] += share * (mean[i] - m->mean[i]);
    m->n += n;
}

static aleat_status merge_waiting(aleat_moments *m, aleat_error *err)
{
    const int64_t n = m->n_waiting, d = m->d;
    if (n == 0)
        return ALEAT_OK;
    double *mean = aleat_calloc((size_t)d, sizeof *mean);
    double *columns = aleat_calloc((size_t)d, (size_t)n * sizeof *columns); // [d,n], centred
    double *scatter = aleat_calloc((size_t)d, (size_t)d * sizeof *scatter);
    aleat_status st =
        mean && columns && scatter ? ALEAT_OK : aleat_fail_memory(err, "a covariance");
    for (int64_t i = 0; !st && i < n; i++)
        for (int64_t k = 0; k < d; k++)
            mean[k] += (double)m->waiting[i * d + k];
    for (int64_t k = 0; !st && k < d; k++) {
        mean[k] /= (double)n;
        for (int64_t i = 0; i < n; i++)
            columns[k * n + i] = (double)m->waiting[i * d + k] - mean[k];
    }
    if (!st)
        st = aleat_gram_matrix(scatter, &(aleat_rows){.f64 = columns, .n = d, .d = n}, m->threads,
                               err);
    if (!st) {
        merge(m, mean, scatter, n);
        m->n_waiting = 0;
    }
    aleat_free(mean);
    aleat_free(columns);
    aleat_free(scatter);
    return st;
}

aleat_status aleat_moments_add(aleat_moments *m, const float *x, int64_t n, aleat_error *err)
{
    while (n > 0) {
        const int64_t room = CHUNK - m->n_waiting, count = n < room ? n : room;
        memcpy(m->waiting + m->n_waiting * m->d, x, (size_t)(count * m->d) * sizeof *x);
        m->n_waiting += count;
        x += count * m->d;
        n -= count;
        if (m->n_waiting == CHUNK) {
            aleat_status st = merge_waiting(m, err);
            if (st)
                return st;
        }
    }
    return ALEAT_OK;
}

aleat_status aleat_moments_merge(aleat_moments *m, aleat_moments *other, aleat_error *err)
{
    if (m->d != other->d)
        return aleat_fail(err, ALEAT_ERR_SHAPE,
                          "vectors of %" PRId64
                          " numbers cannot be merged with vectors of %" PRId64,
                          m->d, other->d);
    aleat_status st = merge_waiting(m, err);
    if (!st)
        st = merge_waiting(other, err);
    if (!st && other->n)
        merge(m, other->mean, other->scatter, other->n);
    return st;
}

aleat_status aleat_moments_result(aleat_gaussian *out, aleat_moments *m, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_status st = merge_waiting(m, err);
    if (!st && m->n < 2)
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT,
                        "a covariance needs at least 2 vectors, there are %" PRId64, m->n);
    if (!st)
        st = gaussian_new(out, m->d, err);
    if (st)
        return st;
    out->n = m->n;
    memcpy(out->mean, m->mean, (size_t)m->d * sizeof *out->mean);
    for (int64_t i = 0; i < m->d * m->d; i++)
        out->covariance[i] = m->scatter[i] / (double)(m->n - 1);
    return ALEAT_OK;
}

aleat_status aleat_gaussian_of(aleat_gaussian *out, const float *x, int64_t n, int64_t d,
                               int threads, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_moments *m = NULL;
    aleat_status st = aleat_moments_new(&m, d, threads, err);
    if (!st)
        st = aleat_moments_add(m, x, n, err);
    if (!st)
        st = aleat_moments_result(out, m, err);
    aleat_moments_free(m);
    return st;
}

/* ---- files ----------------------------------------------------------------------------------- */

static aleat_status check_gaussian(const aleat_gaussian *g, aleat_error *err)
{
    double largest = 0, asymmetry = 0;
    for (int64_t i = 0; i < g->d; i++) {
        if (!isfinite(g->mean[i]))
            return aleat_fail(err, ALEAT_ERR_FORMAT, "mu[%" PRId64 "] is not finite", i);
        for (int64_t j = 0; j <= i; j++) {
            const double a = g->covariance[i * g->d + j], b = g->covariance[j * g->d + i];
            if (!isfinite(a) || !isfinite(b))
                return aleat_fail(err, ALEAT_ERR_FORMAT,
                                  "sigma[%" PRId64 ",%" PRId64 "] is not finite", i, j);
            largest = fmax(largest, fabs(a));
            asymmetry = fmax(asymmetry, fabs(a - b));
        }
    }
    if (asymmetry > 1e-6 * largest) // single precision, with a little room
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "sigma is not symmetric: elements differ by %g, the largest is %g",
                          asymmetry, largest);
    return ALEAT_OK;
}

aleat_status aleat_gaussian_read(aleat_gaussian *out, const char *path, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_tensor mu = {0}, sigma = {0};
    char text[200];
    aleat_status st = aleat_npz_read(&mu, path, "mu", err);
    if (!st)
        st = aleat_npz_read(&sigma, path, "sigma", err);
    if (st) {
        if (st == ALEAT_ERR_FORMAT)
            aleat_hint(err, "statistics are an .npz with arrays 'mu' and 'sigma', as "
                            "pytorch-fid writes it");
        goto done;
    }
    const aleat_shape square = aleat_shape_of(2, mu.shape.dim[0], mu.shape.dim[0]);
    if (mu.shape.n_dims != 1 || mu.shape.dim[0] < 1 || !aleat_shape_equal(&sigma.shape, &square)) {
        st = aleat_fail(err, ALEAT_ERR_SHAPE,
                        "%s: mu has %d axes and sigma is %s, expected [D] "
                        "and [D,D]",
                        path, mu.shape.n_dims, aleat_shape_text(&sigma.shape, text, sizeof text));
        goto done;
    }
    st = gaussian_new(out, mu.shape.dim[0], err);
    if (st)
        goto done;
    aleat_convert_to_f64(out->mean, mu.data, mu.dtype, out->d);
    aleat_convert_to_f64(out->covariance, sigma.data, sigma.dtype, out->d * out->d);
    st = check_gaussian(out, err);
    if (st) {
        aleat_error_in(err, "%s", path);
        aleat_gaussian_clear(out);
    }
done:
    aleat_tensor_clear(&mu);
    aleat_tensor_clear(&sigma);
    return st;
}

aleat_status aleat_gaussian_write(const char *path, const aleat_gaussian *g, aleat_error *err)
{
    const aleat_shape row = aleat_shape_of(1, g->d), square = aleat_shape_of(2, g->d, g->d);
    const aleat_named_array arrays[] = {
        {"mu", aleat_tensor_view(ALEAT_F64, &row, g->mean)},
        {"sigma", aleat_tensor_view(ALEAT_F64, &square, g->covariance)},
    };
    return aleat_npz_write(path, arrays, 2, false, err);
}
