/* Normalisations and attention against double; their gradients against central differences. */
#include "numbers.h"

#include "kernels/attention.h"
#include "kernels/norm.h"

/* ---- group norm ------------------------------------------------------------------------------ */

typedef struct norm_case {
    int64_t images, rows, c, groups;
    bool affine, modulated;
    aleat_fn act;
    float offset; // of x: far from zero the variance must not cancel
} norm_case;

static const norm_case norms[] = {
    {1, 1, 4, 2, true, false, ALEAT_FN_IDENTITY, 0},
    {2, 9, 6, 3, true, false, ALEAT_FN_SILU, 0},
    {3, 130, 40, 8, false, false, ALEAT_FN_IDENTITY, 0}, // more rows than a chunk
    {2, 300, 17, 1, true, true, ALEAT_FN_SILU, 0},
    {7, 33, 64, 32, false, true, ALEAT_FN_GELU_TANH, 0},
    {2, 257, 16, 4, true, false, ALEAT_FN_IDENTITY, 1000},
};
enum { N_NORMS = sizeof norms / sizeof *norms };
static const double EPS = 1e-5;

typedef struct norm_data {
    const norm_case *c;
    int64_t x_ld;
    float *x, *gamma, *beta, *ss;
} norm_data;

static norm_data make_norm(const norm_case *c)
{
    norm_data d = {c, c->c + 3, NULL, NULL, NULL, NULL};
    d.x = floats(c->images * c->rows * d.x_ld, 1);
    for (int64_t i = 0; i < c->images * c->rows * d.x_ld; i++)
        d.x[i] += c->offset;
    d.gamma = floats(c->c, 2);
    d.beta = floats(c->c, 3);
    d.ss = floats(c->images * 2 * c->c, 4);
    return d;
}

static void free_norm(norm_data *d)
{
    aleat_free(d->x);
    aleat_free(d->gamma);
    aleat_free(d->beta);
    aleat_free(d->ss);
}

static aleat_groupnorm spec_of(const norm_data *d, int64_t y_ld)
{
    const norm_case *c = d->c;
    return (aleat_groupnorm){.images = c->images,
                             .rows = c->rows,
                             .c = c->c,
                             .groups = c->groups,
                             .x_ld = d->x_ld,
                             .y_ld = y_ld,
                             .eps = EPS,
                             .gamma = c->affine ? d->gamma : NULL,
                             .beta = c->affine ? d->beta : NULL,
                             .scale_shift = c->modulated ? d->ss : NULL,
                             .ss_ld = 2 * c->c,
                             .act = c->act};
}

// The formula on x [images, rows, c]; y likewise. steep[image * c + channel]: |dy/dx| at the most.
static void naive_norm(const norm_data *d, const double *x, double *y, double *steep)
{
    const norm_case *c = d->c;
    const int64_t width = c->c / c->groups;
    for (int64_t u = 0; u < c->images * c->groups; u++) {
        const int64_t image = u / c->groups, first = u % c->groups * width;
        const double *xi = x + image * c->rows * c->c + first, n = (double)(c->rows * width);
        double mean = 0, var = 0;
        for (int64_t i = 0; i < c->rows * width; i++)
            mean += xi[i / width * c->c + i % width] / n;
        for (int64_t i = 0; i < c->rows * width; i++)
            var += pow(xi[i / width * c->c + i % width] - mean, 2) / n;
        for (int64_t i = 0; i < c->rows * width; i++) {
            const int64_t ch = first + i % width, at = i / width * c->c + i % width;
            const float *ss = d->ss + image * 2 * c->c;
            const double scale = c->modulated ? 1 + (double)ss[ch] : 1;
            const double shift = c->modulated ? (double)ss[c->c + ch] : 0;
            const double g = (c->affine ? (double)d->gamma[ch] : 1) * scale;
            const double b = (c->affine ? (double)d->beta[ch] : 0) * scale + shift;
            const double inv = 1 / sqrt(var + EPS);
            y[image * c->rows * c->c + first + at] =
                function_of(c->act, (xi[at] - mean) * inv * g + b);
            if (steep)
                steep[image * c->c + ch] = fabs(g) * inv;
        }
    }
}

static double *dense(const float *x, int64_t rows, int64_t c, int64_t ld)
{
    double *y = doubles(rows * c);
    for (int64_t i = 0; i < rows * c; i++)
        y[i] = (double)x[i / c * ld + i % c];
    return y;
}

// x a + b has three roundings, of magnitudes |x| a and |b|; |b| <= |mean| a + |beta'|.
static void groupnorm_is_its_formula(void **state)
{
    (void)state;
    for (int i = 0; i < N_NORMS; i++) {
        const norm_case *c = &norms[i];
        norm_data d = make_norm(c);
        const int64_t rows = c->images * c->rows, y_ld = c->c + 1;
        double *x = dense(d.x, rows, c->c, d.x_ld), *want = doubles(rows * c->c);
        double *steep = doubles(c->images * c->c);
        naive_norm(&d, x, want, steep);
        FOR_EACH_ISA(k)
        {
            const aleat_groupnorm g = spec_of(&d, y_ld);
            float *y = floats(rows * y_ld, 5);
            void *scratch = aleat_alloc(aleat_groupnorm_scratch(&g));
            aleat_groupnorm_run(k, &g, d.x, y, NULL, scratch, 2);
            for (int64_t j = 0; j < rows * c->c; j++) {
                const int64_t r = j / c->c, ch = j % c->c;
                const double size = 1 + fabs((double)c->offset);
                const double slope = steep[r / c->rows * c->c + ch];
                assert_near(y[r * y_ld + ch], want[j],
                            (double)FLT_EPSILON * (4 * size * slope + 8 * (4 + fabs(want[j]))),
                            "%s case %d", aleat_isa_name(k->isa), i);
            }
            aleat_free(y);
            aleat_free(scratch);
        }
        aleat_free(x);
        aleat_free(want);
        aleat_free(steep);
        free_norm(&d);
    }
}

// <dy, norm(x + h v) - norm(x - h v)> / 2h for a direction v.
static double norm_difference(const norm_data *d, const double *x, const double *v,
                              const double *dy, int64_t n)
{
    const double h = 1e-5;
    double *at = doubles(n), *up = doubles(n), *down = doubles(n), sum = 0;
    for (int64_t i = 0; i < n; i++)
        at[i] = x[i] + h * v[i];
    naive_norm(d, at, up, NULL);
    for (int64_t i = 0; i < n; i++)
        at[i] = x[i] - h * v[i];
    naive_norm(d, at, down, NULL);
    for (int64_t i = 0; i < n; i++)
        sum += dy[i] * (up[i] - down[i]) / (2 * h);
    aleat_free(at);
    aleat_free(up);
    aleat_free(down);
    return sum;
}

static void the_gradient_of_groupnorm_is_its_central_difference(void **state)
{
    (void)state;
    for (int i = 0; i < N_NORMS; i++) {
        const norm_case *c = &norms[i];
        if (c->offset != 0)
            continue;
        norm_data d = make_norm(c);
        const int64_t rows = c->images * c->rows, n = rows * c->c, ld = c->c + 2;
        float *dy = floats(rows * ld, 6), *vf = floats(n, 7), *dx = floats(n, 8);
        double *x = dense(d.x, rows, c->c, d.x_ld), *v = dense(vf, rows, c->c, c->c);
        double *dyd = dense(dy, rows, c->c, ld);
        FOR_EACH_ISA(k)
        {
            const aleat_groupnorm g = spec_of(&d, c->c);
            void *scratch = aleat_alloc(aleat_groupnorm_scratch(&g));
            aleat_groupnorm_grad(k, &g, d.x, NULL, dy, ld, dx, NULL, scratch, 2);
            double got = 0, size = 0;
            for (int64_t j = 0; j < n; j++) {
                got += v[j] * (double)dx[j];
                size += fabs(v[j] * (double)dx[j]);
            }
            // some 20 roundings on each element, and h^2 of the difference
            assert_near(got, norm_difference(&d, x, v, dyd, n),
                        20 * (double)FLT_EPSILON * size + 1e-6, "%s case %d",
                        aleat_isa_name(k->isa), i);
            aleat_free(scratch);
        }
        float *const arrays[] = {dy, vf, dx};
        for (size_t j = 0; j < sizeof arrays / sizeof *arrays; j++)
            aleat_free(arrays[j]);
        aleat_free(x);
        aleat_free(v);
        aleat_free(dyd);
        free_norm(&d);
    }
}

static void run_norm(const aleat_kernels *k, const norm_data *d, int64_t first, int64_t images,
                     float *y, float *dx, int threads)
{
    aleat_groupnorm g = spec_of(d, d->c->c);
    g.images = images;
    g.scale_shift = g.scale_shift ? g.scale_shift + first * g.ss_ld : NULL;
    const float *x = d->x + first * g.rows * g.x_ld;
    void *scratch = aleat_alloc(aleat_groupnorm_scratch(&g));
    float *moments = floats(images * ALEAT_GROUPNORM_MOMENTS * g.c, 9);
    float *anew = floats(images * g.rows * g.y_ld, 10);
    aleat_groupnorm_run(k, &g, x, anew, NULL, scratch, threads);
    aleat_groupnorm_run(k, &g, x, y, moments, scratch, threads);
    for (int64_t r = 0; r < images * g.rows; r++)
        assert_memory_equal(y + r * g.y_ld, anew + r * g.y_ld, (size_t)g.c * sizeof *y);
    aleat_groupnorm_grad(k, &g, x, NULL, x, g.x_ld, anew, NULL, scratch, threads);
    aleat_groupnorm_grad(k, &g, x, moments, x, g.x_ld, dx, NULL, scratch, threads);
    for (int64_t r = 0; r < images * g.rows; r++)
        assert_memory_equal(dx + r * g.y_ld, anew + r * g.y_ld, (size_t)g.c * sizeof *dx);
    aleat_free(scratch);
    aleat_free(moments);
    aleat_free(anew);
}

static void groupnorm_has_the_same_bits_in_any_batch_on_any_threads(void **state)
{
    (void)state;
    for (int i = 0; i < N_NORMS; i++) {
        norm_case c = norms[i];
        c.images = 7;
        norm_data d = make_norm(&c);
        const int64_t size = c.rows * c.c;
        float *y = floats(7 * size, 1), *dx = floats(7 * size, 2);
        float *one = floats(size, 3), *one_dx = floats(size, 4);
        FOR_EACH_ISA(k)
        for (int threads = 1; threads <= 3; threads++) {
            run_norm(k, &d, 0, 7, y, dx, threads);
            for (int64_t image = 0; image < 7; image++) {
                run_norm(k, &d, image, 1, one, one_dx, 1);
                assert_memory_equal(one, y + image * size, (size_t)size * sizeof *y);
                assert_memory_equal(one_dx, dx + image * size, (size_t)size * sizeof *y);
            }
        }
        float *const arrays[] = {y, dx, one, one_dx};
        for (size_t j = 0; j < sizeof arrays / sizeof *arrays; j++)
            aleat_free(arrays[j]);
        free_norm(&d);
    }
}

static void layernorm_has_the_same_bits_on_any_threads(void **state)
{
    (void)state;
    enum { ROWS = 23, C = 41 };
    FOR_EACH_ISA(k)
    {
        float *x = floats(ROWS * C, 1), *gamma = floats(C, 2), *beta = floats(C, 3);
        float *y = floats(ROWS * C, 4), *z = floats(ROWS * C, 5);
        aleat_layernorm_run(k, ROWS, C, x, C, y, C, gamma, beta, 1e-5f, true, 1);
        for (int threads = 2; threads <= 3; threads++) {
            aleat_layernorm_run(k, ROWS, C, x, C, z, C, gamma, beta, 1e-5f, true, threads);
            assert_memory_equal(y, z, ROWS * C * sizeof *y);
        }
        float *const arrays[] = {x, gamma, beta, y, z};
        for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
            aleat_free(arrays[i]);
    }
}

/* ---- attention ------------------------------------------------------------------------------- */

typedef struct attention_case {
    int64_t images, heads, head_dim, q_tokens, k_tokens;
} attention_case;

static const attention_case attentions[] = {
    {1, 1, 1, 1, 1},   {2, 3, 7, 5, 5},   {1, 2, 16, 33, 33},
    {2, 4, 40, 9, 77}, {1, 1, 17, 50, 3}, {3, 1, 64, 64, 64}, // a cross attention each way
};
enum { N_ATTENTIONS = sizeof attentions / sizeof *attentions };

typedef struct attention_data {
    aleat_attention a;
    int64_t n_q, n_k; // floats of q and y, of k and v
    float *q, *k, *v;
} attention_data;

// q, k and v lie in rows that are wider than they need.
static attention_data make_attention(const attention_case *c)
{
    const int64_t ld = c->heads * c->head_dim + 5;
    attention_data d = {.a = {.images = c->images,
                              .heads = c->heads,
                              .head_dim = c->head_dim,
                              .q_tokens = c->q_tokens,
                              .k_tokens = c->k_tokens,
                              .q_ld = ld,
                              .k_ld = ld,
                              .v_ld = ld,
                              .y_ld = ld,
                              .scale = 0.7f},
                        .n_q = c->images * c->q_tokens * ld,
                        .n_k = c->images * c->k_tokens * ld};
    d.q = floats(d.n_q, 1);
    d.k = floats(d.n_k, 2);
    d.v = floats(d.n_k, 3);
    return d;
}

static void free_attention(attention_data *d)
{
    aleat_free(d->q);
    aleat_free(d->k);
    aleat_free(d->v);
}

static double score(const aleat_attention *a, const double *q, const double *k)
{
    double sum = 0;
    for (int64_t i = 0; i < a->head_dim; i++)
        sum += q[i] * k[i];
    return sum * (double)a->scale;
}

static void naive_attention(const aleat_attention *a, const double *q, const double *k,
                            const double *v, double *y)
{
    for (int64_t u = 0; u < a->images * a->heads * a->q_tokens; u++) {
        const int64_t image = u / a->q_tokens / a->heads, head = u / a->q_tokens % a->heads;
        const int64_t row = image * a->q_tokens + u % a->q_tokens, col = head * a->head_dim;
        double total = 0, *out = y + row * a->y_ld + col;
        for (int64_t i = 0; i < a->head_dim; i++)
            out[i] = 0;
        for (int64_t j = 0; j < a->k_tokens; j++) {
            const int64_t other = image * a->k_tokens + j;
            const double w = exp(score(a, q + row * a->q_ld + col, k + other * a->k_ld + col));
            total += w;
            for (int64_t i = 0; i < a->head_dim; i++)
                out[i] += w * v[other * a->v_ld + col + i];
        }
        for (int64_t i = 0; i < a->head_dim; i++)
            out[i] /= total;
    }
}

// A score is head_dim roundings of at most scale * head_dim off, and |v| <= 1.
static double attention_bound(const aleat_attention *a)
{
    const double d = (double)a->head_dim;
    return (double)FLT_EPSILON * (d * d * (double)a->scale / 2 + (double)a->k_tokens + 8);
}

static void attention_is_its_formula(void **state)
{
    (void)state;
    for (int i = 0; i < N_ATTENTIONS; i++) {
        attention_data d = make_attention(&attentions[i]);
        double *q = dense(d.q, 1, d.n_q, d.n_q), *k = dense(d.k, 1, d.n_k, d.n_k);
        double *v = dense(d.v, 1, d.n_k, d.n_k), *want = doubles(d.n_q);
        naive_attention(&d.a, q, k, v, want);
        FOR_EACH_ISA(table)
        {
            float *y = aleat_calloc((size_t)d.n_q, sizeof *y); // what lies between stays zero
            void *scratch = aleat_alloc(aleat_attention_scratch(table, &d.a, 2));
            aleat_attention_run(table, &d.a, d.q, d.k, d.v, y, scratch, 2);
            for (int64_t j = 0; j < d.n_q; j++)
                assert_near(y[j], want[j], attention_bound(&d.a), "%s case %d",
                            aleat_isa_name(table->isa), i);
            aleat_free(y);
            aleat_free(scratch);
        }
        double *const arrays[] = {q, k, v, want};
        for (size_t j = 0; j < sizeof arrays / sizeof *arrays; j++)
            aleat_free(arrays[j]);
        free_attention(&d);
    }
}

static void scores_of_hundreds_do_not_overflow(void **state)
{
    (void)state;
    enum { TOKENS = 5, DIM = 4 };
    FOR_EACH_ISA(table)
    {
        float q[TOKENS * DIM], k[TOKENS * DIM], v[TOKENS * DIM], y[TOKENS * DIM];
        for (int i = 0; i < TOKENS * DIM; i++) {
            q[i] = 20;
            k[i] = (float)(20 * (i / DIM)); // the last key has all the weight: scores to 6400
            v[i] = (float)i;
        }
        const aleat_attention a = {.images = 1,
                                   .heads = 1,
                                   .head_dim = DIM,
                                   .q_tokens = TOKENS,
                                   .k_tokens = TOKENS,
                                   .q_ld = DIM,
                                   .k_ld = DIM,
                                   .v_ld = DIM,
                                   .y_ld = DIM,
                                   .scale = 1};
        void *scratch = aleat_alloc(aleat_attention_scratch(table, &a, 1));
        aleat_attention_run(table, &a, q, k, v, y, scratch, 1);
        for (int i = 0; i < TOKENS * DIM; i++)
            assert_true(y[i] == v[(TOKENS - 1) * DIM + i % DIM]);
        aleat_free(scratch);
    }
}

typedef struct gradients {
    float *dq, *dk, *dv;
} gradients;

static void run_gradient(const aleat_kernels *table, const attention_data *d, int64_t first,
                         int64_t images, const float *dy, gradients *out, int threads)
{
    aleat_attention a = d->a;
    a.images = images;
    const int64_t q = first * a.q_tokens * a.q_ld, k = first * a.k_tokens * a.k_ld;
    const aleat_attention_grad g = {.q = d->q + q,
                                    .k = d->k + k,
                                    .v = d->v + k,
                                    .dy = dy + q,
                                    .dq = out->dq,
                                    .dk = out->dk,
                                    .dv = out->dv,
                                    .dy_ld = a.y_ld,
                                    .dq_ld = a.q_ld,
                                    .dk_ld = a.k_ld,
                                    .dv_ld = a.v_ld};
    void *scratch = aleat_alloc(aleat_attention_grad_scratch(table, &a, threads));
    assert_non_null(scratch);
    aleat_attention_grad_run(table, &a, &g, scratch, threads);
    aleat_free(scratch);
}

static gradients make_gradients(const attention_data *d)
{
    return (gradients){aleat_calloc((size_t)d->n_q, sizeof(float)),
                       aleat_calloc((size_t)d->n_k, sizeof(float)),
                       aleat_calloc((size_t)d->n_k, sizeof(float))};
}

static void free_gradients(gradients *g)
{
    aleat_free(g->dq);
    aleat_free(g->dk);
    aleat_free(g->dv);
}

// <dy, y(input + h v)> along a direction v of input number `which`, by central difference.
static double attention_difference(const attention_data *d, int which, const float *v,
                                   const double *dy)
{
    const double h = 1e-5;
    double *y = doubles(d->n_q), sum = 0;
    for (int sign = -1; sign <= 1; sign += 2) {
        double *in[] = {dense(d->q, 1, d->n_q, d->n_q), dense(d->k, 1, d->n_k, d->n_k),
                        dense(d->v, 1, d->n_k, d->n_k)};
        for (int64_t i = 0; i < (which ? d->n_k : d->n_q); i++)
            in[which][i] += sign * h * (double)v[i];
        naive_attention(&d->a, in[0], in[1], in[2], y);
        for (int64_t i = 0; i < d->n_q; i++)
            sum += dy[i] * sign * y[i] / (2 * h);
        for (int i = 0; i < 3; i++)
            aleat_free(in[i]);
    }
    aleat_free(y);
    return sum;
}

static void the_gradients_of_attention_are_its_central_differences(void **state)
{
    (void)state;
    for (int i = 0; i < N_ATTENTIONS; i++) {
        attention_data d = make_attention(&attentions[i]);
        float *dy = floats(d.n_q, 4), *v = floats(d.n_q > d.n_k ? d.n_q : d.n_k, 5);
        double *dyd = dense(dy, 1, d.n_q, d.n_q);
        FOR_EACH_ISA(table)
        {
            gradients g = make_gradients(&d);
            run_gradient(table, &d, 0, d.a.images, dy, &g, 2);
            for (int which = 0; which < 3; which++) {
                const float *grad = which == 0 ? g.dq : which == 1 ? g.dk : g.dv;
                double got = 0, size = 0;
                for (int64_t j = 0; j < (which ? d.n_k : d.n_q); j++) {
                    got += (double)grad[j] * (double)v[j];
                    size += fabs((double)grad[j] * (double)v[j]);
                }
                assert_near(got, attention_difference(&d, which, v, dyd),
                            attention_bound(&d.a) * (1 + 2 * size) + 1e-7, "%s case %d input %d",
                            aleat_isa_name(table->isa), i, which);
            }
            free_gradients(&g);
        }
        aleat_free(dy);
        aleat_free(v);
        aleat_free(dyd);
        free_attention(&d);
    }
}

static void attention_has_the_same_bits_in_any_batch_on_any_threads(void **state)
{
    (void)state;
    for (int i = 0; i < N_ATTENTIONS; i++) {
        attention_case c = attentions[i];
        c.images = 7;
        attention_data d = make_attention(&c);
        const int64_t q = d.n_q / 7, kv = d.n_k / 7;
        float *dy = floats(d.n_q, 4);
        FOR_EACH_ISA(table)
        for (int threads = 1; threads <= 3; threads++) {
            gradients all = make_gradients(&d), one = make_gradients(&d);
            float *y = aleat_calloc((size_t)d.n_q, sizeof *y), *z = aleat_calloc((size_t)q, 4);
            void *scratch = aleat_alloc(aleat_attention_scratch(table, &d.a, threads));
            aleat_attention_run(table, &d.a, d.q, d.k, d.v, y, scratch, threads);
            run_gradient(table, &d, 0, 7, dy, &all, threads);
            for (int64_t image = 0; image < 7; image++) {
                aleat_attention a = d.a;
                a.images = 1;
                aleat_attention_run(table, &a, d.q + image * q, d.k + image * kv, d.v + image * kv,
                                    z, scratch, 1);
                run_gradient(table, &d, image, 1, dy, &one, 1);
                assert_memory_equal(z, y + image * q, (size_t)q * sizeof *z);
                assert_memory_equal(one.dq, all.dq + image * q, (size_t)q * sizeof *z);
                assert_memory_equal(one.dk, all.dk + image * kv, (size_t)kv * sizeof *z);
                assert_memory_equal(one.dv, all.dv + image * kv, (size_t)kv * sizeof *z);
            }
            free_gradients(&all);
            free_gradients(&one);
            aleat_free(y);
            aleat_free(z);
            aleat_free(scratch);
        }
        aleat_free(dy);
        free_attention(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groupnorm_is_its_formula),
        cmocka_unit_test(the_gradient_of_groupnorm_is_its_central_difference),
        cmocka_unit_test(groupnorm_has_the_same_bits_in_any_batch_on_any_threads),
        cmocka_unit_test(layernorm_has_the_same_bits_on_any_threads),
        cmocka_unit_test(attention_is_its_formula),
        cmocka_unit_test(scores_of_hundreds_do_not_overflow),
        cmocka_unit_test(the_gradients_of_attention_are_its_central_differences),
        cmocka_unit_test(attention_has_the_same_bits_in_any_batch_on_any_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
