/* Metrics against the reference implementations' numbers, closed forms and plain arithmetic. */
#include "numbers.h"

#include <float.h>
#include <stdio.h>

#include "aleat/metrics.h"
#include "base/order.h"
#include "io_fixture.h"
#include "metrics/calibration.h"
#include "metrics/frechet.h"
#include "metrics/inception_score.h"
#include "metrics/kernel_distance.h"
#include "metrics/neighbours.h"
#include "metrics/ranks.h"
#include "metrics/resample.h"
#include "metrics/sparsification.h"
#include "reference.h"

static aleat_rows rows_of(const float *x, int64_t n, int64_t d)
{
    return (aleat_rows){.f32 = x, .n = n, .d = d};
}

// A stored set of vectors; the caller frees .f32.
static aleat_rows stored_rows(const char *path)
{
    reference r = reference_load("metrics/%s", path);
    const aleat_rows rows = rows_of(reference_f32(&r), r.dim[0], r.dim[1]);
    reference_free(&r);
    return rows;
}

static void free_rows(aleat_rows *x)
{
    free((void *)(uintptr_t)x->f32);
}

/* ---- products -------------------------------------------------------------------------------- */

static void the_product_in_double_agrees_with_plain_sums(void **state)
{
    (void)state;
    enum { K = 37, MAX_PANEL = 64 };
    uint64_t seed = 1;
    FOR_EACH_ISA(k)
    {
        double a[ALEAT_MICRO_ROWS * K], b[K * MAX_PANEL], c[ALEAT_MICRO_ROWS * MAX_PANEL];
        const int64_t panel = k->panel_f64;
        assert_true(panel > 0 && panel <= MAX_PANEL);
        for (int i = 0; i < ALEAT_MICRO_ROWS * K; i++)
            a[i] = (double)uniform(&seed);
        for (int64_t i = 0; i < K * panel; i++)
            b[i] = (double)uniform(&seed);
        for (int mr = 1; mr <= ALEAT_MICRO_ROWS; mr++) {
            const double *rows[ALEAT_MICRO_ROWS];
            for (int i = 0; i < mr; i++)
                rows[i] = a + i * K;
            for (int64_t i = 0; i < mr * panel; i++)
                c[i] = 0.5; // the product is added
            k->igemm_f64(mr, K, rows, b, c, panel);
            for (int i = 0; i < mr; i++)
                for (int64_t j = 0; j < panel; j++) {
                    double sum = 0.5, size = 0.5;
                    for (int l = 0; l < K; l++) {
                        sum += a[i * K + l] * b[l * panel + j];
                        size += fabs(a[i * K + l] * b[l * panel + j]);
                    }
                    assert_near(c[i * panel + j], sum, (K + 1) * DBL_EPSILON * size, "isa %d",
                                (int)k->isa);
                }
        }
    }
}

static void row_products_do_not_depend_on_threads_or_on_which_half_is_wanted(void **state)
{
    (void)state;
    enum { NA = 203, NB = 75, D = 301 }; // no multiple of a tile, a block or a chunk
    aleat_error err = {0};
    float *x = floats(NA * D, 3), *y = floats(NB * D, 4);
    double *one = doubles(NA * NB), *three = doubles(NA * NB);
    double *gram = doubles(NA * NA), *whole = doubles(NA * NA);
    const aleat_rows a = rows_of(x, NA, D), b = rows_of(y, NB, D);
    assert_ok(aleat_row_product_matrix(one, &a, &b, 1, &err), &err);
    assert_ok(aleat_row_product_matrix(three, &a, &b, 3, &err), &err);
    assert_memory_equal(one, three, NA * NB * sizeof(double));
    assert_ok(aleat_gram_matrix(gram, &a, 2, &err), &err);
    assert_ok(aleat_row_product_matrix(whole, &a, &a, 2, &err), &err);
    for (int64_t i = 0; i < NA; i++)
        for (int64_t j = 0; j < NA; j++) {
            assert_near(gram[i * NA + j], whole[i * NA + j], 0, "gram");
            assert_near(gram[i * NA + j], gram[j * NA + i], 0, "symmetry");
        }
    for (int64_t i = 0; i < NA; i++)
        for (int64_t j = 0; j < NB; j++) {
            double sum = 0;
            for (int64_t k = 0; k < D; k++)
                sum += (double)x[i * D + k] * (double)y[j * D + k];
            assert_near(one[i * NB + j], sum, (D + 8) * DBL_EPSILON * D, "product");
        }
    aleat_free(x);
    aleat_free(y);
    aleat_free(one);
    aleat_free(three);
    aleat_free(gram);
    aleat_free(whole);
}

/* ---- moments --------------------------------------------------------------------------------- */

enum { MOMENTS_N = 2300, MOMENTS_D = 5 }; // two whole chunks and a part

// Data far from zero: a covariance from sums of squares would lose ten digits.
static float *far_vectors(void)
{
    float *x = floats(MOMENTS_N * MOMENTS_D, 5);
    for (int64_t i = 0; i < MOMENTS_N * MOMENTS_D; i++)
        x[i] += 1000.0f;
    return x;
}

static aleat_gaussian in_parts(const float *x, const int64_t *parts)
{
    aleat_error err = {0};
    aleat_moments *m;
    aleat_gaussian g;
    assert_ok(aleat_moments_new(&m, MOMENTS_D, 2, &err), &err);
    for (; *parts; x += *parts++ * MOMENTS_D)
        assert_ok(aleat_moments_add(m, x, *parts, &err), &err);
    assert_ok(aleat_moments_result(&g, m, &err), &err);
    aleat_moments_free(m);
    return g;
}

static void a_covariance_does_not_depend_on_how_vectors_arrive(void **state)
{
    (void)state;
    float *x = far_vectors();
    aleat_gaussian all = in_parts(x, (const int64_t[]){MOMENTS_N, 0});
    aleat_gaussian parts = in_parts(x, (const int64_t[]){1, 1023, 1, 700, 575, 0});
    assert_int_equal(all.n, MOMENTS_N);
    assert_memory_equal(all.mean, parts.mean, MOMENTS_D * sizeof(double));
    assert_memory_equal(all.covariance, parts.covariance, MOMENTS_D * MOMENTS_D * sizeof(double));
    for (int64_t i = 0; i < MOMENTS_D; i++)
        for (int64_t j = 0; j < MOMENTS_D; j++) {
            double mi = 0, mj = 0, sum = 0;
            for (int64_t n = 0; n < MOMENTS_N; n++) {
                mi += (double)x[n * MOMENTS_D + i] / MOMENTS_N;
                mj += (double)x[n * MOMENTS_D + j] / MOMENTS_N;
            }
            for (int64_t n = 0; n < MOMENTS_N; n++)
                sum += ((double)x[n * MOMENTS_D + i] - mi) * ((double)x[n * MOMENTS_D + j] - mj);
            assert_near(all.covariance[i * MOMENTS_D + j], sum / (MOMENTS_N - 1), 1e-12,
                        "covariance"); // values of 1, errors of the mean of 1e-13
        }
    aleat_gaussian_clear(&all);
    aleat_gaussian_clear(&parts);
    aleat_free(x);
}

static void merged_moments_are_those_of_all_vectors(void **state)
{
    (void)state;
    enum { FIRST = 1500 };
    aleat_error err = {0};
    float *x = far_vectors();
    aleat_gaussian all = in_parts(x, (const int64_t[]){MOMENTS_N, 0}), merged;
    aleat_moments *a, *b, *empty;
    assert_ok(aleat_moments_new(&a, MOMENTS_D, 1, &err), &err);
    assert_ok(aleat_moments_new(&b, MOMENTS_D, 1, &err), &err);
    assert_ok(aleat_moments_new(&empty, MOMENTS_D, 1, &err), &err);
    assert_ok(aleat_moments_add(a, x, FIRST, &err), &err);
    assert_ok(aleat_moments_add(b, x + FIRST * MOMENTS_D, MOMENTS_N - FIRST, &err), &err);
    assert_ok(aleat_moments_merge(empty, a, &err), &err);
    assert_ok(aleat_moments_merge(empty, b, &err), &err);
    assert_ok(aleat_moments_result(&merged, empty, &err), &err);
    assert_int_equal(merged.n, MOMENTS_N);
    assert_true(max_error_f64(merged.mean, all.mean, MOMENTS_D) < 1e-14);
    assert_true(max_error_f64(merged.covariance, all.covariance, MOMENTS_D * MOMENTS_D) < 1e-12);
    aleat_moments_free(a);
    aleat_moments_free(b);
    aleat_moments_free(empty);
    aleat_gaussian_clear(&all);
    aleat_gaussian_clear(&merged);
    aleat_free(x);
}

static void statistics_come_back_from_their_file(void **state)
{
    (void)state;
    aleat_error err = {0};
    float *x = far_vectors();
    aleat_gaussian g = in_parts(x, (const int64_t[]){MOMENTS_N, 0}), back;
    assert_ok(aleat_gaussian_write(scratch("s.npz"), &g, &err), &err);
    assert_ok(aleat_gaussian_read(&back, scratch("s.npz"), &err), &err);
    assert_int_equal(back.d, MOMENTS_D);
    assert_memory_equal(back.mean, g.mean, MOMENTS_D * sizeof(double));
    assert_memory_equal(back.covariance, g.covariance, MOMENTS_D * MOMENTS_D * sizeof(double));
    g.covariance[1] += 1;
    assert_ok(aleat_gaussian_write(scratch("s.npz"), &g, &err), &err);
    aleat_gaussian_clear(&back);
    assert_failed(aleat_gaussian_read(&back, scratch("s.npz"), &err), ALEAT_ERR_FORMAT, &err,
                  "not symmetric");
    g.mean[2] = NAN;
    assert_ok(aleat_gaussian_write(scratch("s.npz"), &g, &err), &err);
    assert_failed(aleat_gaussian_read(&back, scratch("s.npz"), &err), ALEAT_ERR_FORMAT, &err,
                  "mu[2]");
    aleat_gaussian_clear(&g);
    aleat_free(x);
}

/* ---- the Frechet distance -------------------------------------------------------------------- */

static double distance_of(const aleat_rows *a, const aleat_rows *b)
{
    aleat_error err = {0};
    aleat_frechet f;
    const aleat_frechet_side sa = {NULL, a->f32, a->n, a->d}, sb = {NULL, b->f32, b->n, b->d};
    assert_ok(aleat_frechet_distance(&f, &sa, &sb, 2, &err), &err);
    return f.distance;
}

// The same from covariances alone, as they come out of a file.
static double distance_by_statistics(const aleat_rows *a, const aleat_rows *b)
{
    aleat_error err = {0};
    aleat_frechet f;
    aleat_gaussian ga, gb;
    assert_ok(aleat_gaussian_of(&ga, a->f32, a->n, a->d, 1, &err), &err);
    assert_ok(aleat_gaussian_of(&gb, b->f32, b->n, b->d, 1, &err), &err);
    assert_ok(aleat_frechet_distance(&f, &(aleat_frechet_side){.gaussian = &ga},
                                     &(aleat_frechet_side){.gaussian = &gb}, 1, &err),
              &err);
    aleat_gaussian_clear(&ga);
    aleat_gaussian_clear(&gb);
    return f.distance;
}

static void frechet_distances_are_those_of_the_references(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool singular; // roots of zero eigenvalues: 1e-16 becomes 1e-8
    } cases[] = {{"n_gt_d", false},
                 {"n_lt_d", true},
                 {"rank_deficient", true},
                 {"identical", false},
                 {"d1", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "fid/%s/features_real.npy", cases[i].name);
        aleat_rows real = stored_rows(path);
        (void)snprintf(path, sizeof path, "fid/%s/features_fake.npy", cases[i].name);
        aleat_rows fake = stored_rows(path);
        reference want = reference_load("metrics/fid/%s/fid_f64.npy", cases[i].name);
        const double bound = (cases[i].singular ? 1e-6 : 1e-11) * (1 + fabs(want.data[0]));
        assert_near(distance_of(&real, &fake), want.data[0], bound, "%s", cases[i].name);
        assert_near(distance_of(&fake, &real), want.data[0], bound, "%s", cases[i].name);
        assert_near(distance_by_statistics(&real, &fake), want.data[0], bound, "%s", cases[i].name);
        reference_free(&want);
        free_rows(&real);
        free_rows(&fake);
    }
}

static void frechet_distances_of_rectified_features_are_those_of_pytorch_fid(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double want, bound; // fid_eigenvalues and atol of the case
    } cases[] = {{"small", 0.6070064046405861, 6e-9}, {"sing", 10.7081064649864, 2e-7}};
    for (size_t i = 0; i < 2; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "fid_frechet/feat1_%s.npy", cases[i].name);
        aleat_rows a = stored_rows(path);
        (void)snprintf(path, sizeof path, "fid_frechet/feat2_%s.npy", cases[i].name);
        aleat_rows b = stored_rows(path);
        assert_near(distance_of(&a, &b), cases[i].want, cases[i].bound, "%s", cases[i].name);
        free_rows(&a);
        free_rows(&b);
    }
}

// Diagonal covariances: |m1 - m2|^2 + sum (sqrt(v1) - sqrt(v2))^2, some variances zero.
static void frechet_distance_of_diagonal_gaussians_is_the_closed_form(void **state)
{
    (void)state;
    enum { D = 70 };
    aleat_error err = {0};
    uint64_t seed = 8;
    aleat_gaussian g[2];
    double want = 0;
    for (int side = 0; side < 2; side++) {
        g[side] = (aleat_gaussian){D, 0, doubles(D), doubles(D * D)};
        for (int64_t k = 0; k < D; k++) {
            g[side].mean[k] = (double)uniform(&seed);
            g[side].covariance[k * D + k] = k % 7 == side ? 0 : 1 + (double)uniform(&seed);
        }
    }
    for (int64_t k = 0; k < D; k++) {
        const double dm = g[0].mean[k] - g[1].mean[k];
        const double ds = sqrt(g[0].covariance[k * D + k]) - sqrt(g[1].covariance[k * D + k]);
        want += dm * dm + ds * ds;
    }
    aleat_frechet f;
    assert_ok(aleat_frechet_distance(&f, &(aleat_frechet_side){.gaussian = &g[0]},
                                     &(aleat_frechet_side){.gaussian = &g[1]}, 1, &err),
              &err);
    assert_near(f.distance, want, 1e-12, "diagonal");
    assert_int_equal(f.rank_a, 60);
    aleat_gaussian_clear(&g[0]);
    aleat_gaussian_clear(&g[1]);
}

static void negative_eigenvalues_are_told_with_their_size(void **state)
{
    (void)state;
    enum { D = 4 };
    aleat_error err = {0};
    aleat_frechet f;
    aleat_gaussian g = {D, 0, doubles(D), doubles(D * D)};
    for (int64_t k = 0; k < D; k++)
        g.covariance[k * D + k] = 1;
    g.covariance[1] = g.covariance[D] = 1.5; // eigenvalues 2.5 and -0.5
    const aleat_frechet_side side = {.gaussian = &g};
    assert_failed(aleat_frechet_distance(&f, &side, &side, 1, &err), ALEAT_ERR_NUMERIC, &err,
                  "eigenvalue -0.5");
    g.covariance[1] = g.covariance[D] = 1 + 1e-7; // -1e-7: what single precision leaves
    assert_ok(aleat_frechet_distance(&f, &side, &side, 1, &err), &err);
    assert_near(f.negative_a, -1e-7, 1e-12, "eigenvalue");
    assert_near(f.distance, 0, 1e-6, "distance");
    g.covariance[1] = g.covariance[D] = 1; // singular, but a covariance
    assert_ok(aleat_frechet_distance(&f, &side, &side, 1, &err), &err);
    assert_near(f.negative_a, 0, 0, "no negative eigenvalue");
    assert_int_equal(f.rank_a, 3);
    aleat_gaussian_clear(&g);
}

/* ---- kernels, classes, neighbours ------------------------------------------------------------ */

static void kernel_distances_are_those_of_torch_fidelity(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_rows a = stored_rows("kid/features_1.npy"), b = stored_rows("kid/features_2.npy");
    reference all = reference_load("metrics/kid/mmd2_unbiased_all_f64.npy");
    reference head = reference_load("metrics/kid/mmd2_first_n_f64.npy");
    reference want = reference_load("metrics/kid/kid_mean_std_f64.npy");
    reference ia = reference_load("metrics/kid/subset_index_1.npy");
    reference ib = reference_load("metrics/kid/subset_index_2.npy");
    double got, deviation;
    assert_ok(aleat_kernel_distance(&got, &a, &b, 2, &err), &err);
    assert_near(got, all.data[0], 1e-9 * fabs(all.data[0]), "all");
    const aleat_rows first = rows_of(a.f32, b.n, a.d);
    assert_ok(aleat_kernel_distance(&got, &first, &b, 1, &err), &err);
    assert_near(got, head.data[0], 1e-9 * fabs(head.data[0]), "first");

    int64_t *rows = aleat_calloc((size_t)ia.count, 2 * sizeof *rows);
    for (int64_t i = 0; i < ia.count; i++) {
        rows[i] = (int64_t)ia.data[i];
        rows[ia.count + i] = (int64_t)ib.data[i];
    }
    aleat_kernel_subsets subsets = {ia.dim[0], ia.dim[1], rows, rows + ia.count, 0};
    assert_ok(aleat_kernel_distance_subsets(&got, &deviation, &a, &b, &subsets, 1, &err), &err);
    assert_near(got, want.data[0], 1e-9 * fabs(want.data[0]), "mean");
    assert_near(deviation, want.data[1], 1e-9 * fabs(want.data[0]), "deviation");

    // subsets of everything are everything, however they were drawn
    subsets = (aleat_kernel_subsets){2, b.n, NULL, NULL, 7};
    assert_ok(aleat_kernel_distance_subsets(&got, &deviation, &first, &b, &subsets, 1, &err), &err);
    assert_near(got, head.data[0], 1e-12, "drawn");
    assert_near(deviation, 0, 1e-12, "drawn");
    aleat_free(rows);
    reference_free(&all);
    reference_free(&head);
    reference_free(&want);
    reference_free(&ia);
    reference_free(&ib);
    free_rows(&a);
    free_rows(&b);
}

static void inception_scores_are_those_of_torch_fidelity(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_rows logits = stored_rows("is/logits.npy");
    reference order = reference_load("metrics/is/shuffle_permutation.npy");
    float *shuffled = malloc((size_t)(logits.n * logits.d) * sizeof *shuffled);
    for (int64_t i = 0; i < logits.n; i++)
        memcpy(shuffled + i * logits.d, logits.f32 + (int64_t)order.data[i] * logits.d,
               (size_t)logits.d * sizeof *shuffled);
    const struct {
        const char *name;
        int64_t splits;
        const float *logits;
    } cases[] = {{"is_1splits", 1, logits.f32},
                 {"is_10splits", 10, logits.f32},
                 {"is_shuffled_10splits", 10, shuffled}};
    for (size_t i = 0; i < 3; i++) {
        reference want = reference_load("metrics/is/%s_f64.npy", cases[i].name);
        double mean, deviation;
        assert_ok(aleat_inception_score(&mean, &deviation, cases[i].logits, logits.n, logits.d,
                                        cases[i].splits, &err),
                  &err);
        assert_near(mean, want.data[0], 1e-9 * want.data[0], "%s", cases[i].name);
        assert_near(deviation, want.data[1], 1e-9 * want.data[0], "%s", cases[i].name);
        reference_free(&want);
    }
    free(shuffled);
    reference_free(&order);
    free_rows(&logits);
}

static void precision_and_recall_are_those_of_the_references(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t k, k_density;
    } cases[] = {{"plain", 3, 5}, {"small_k1", 1, 2}, {"ties", 3, 5}};
    aleat_error err = {0};
    for (size_t i = 0; i < 3; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "prdc/%s/real.npy", cases[i].name);
        aleat_rows real = stored_rows(path);
        (void)snprintf(path, sizeof path, "prdc/%s/fake.npy", cases[i].name);
        aleat_rows fake = stored_rows(path);
        reference want = reference_load("metrics/prdc/%s/result_f64.npy", cases[i].name);
        reference radii = reference_load("metrics/prdc/%s/radii2_real_f64.npy", cases[i].name);
        aleat_overlap o;
        assert_ok(
            aleat_neighbour_overlap(&o, &real, &fake, cases[i].k, cases[i].k_density, 2, &err),
            &err);
        const double got[] = {o.precision,   o.recall,  o.precision_open,
                              o.recall_open, o.density, o.coverage};
        for (int j = 0; j < 6; j++)
            assert_near(got[j], want.data[j], 1e-15, "%s, number %d", cases[i].name, j);
        double *mine = doubles(real.n * cases[i].k);
        assert_ok(aleat_neighbour_radii(mine, &real, cases[i].k, 2, &err), &err);
        for (int64_t j = 0; j < real.n; j++)
            assert_near(mine[(j + 1) * cases[i].k - 1], radii.data[j], 1e-14 * radii.data[j],
                        "%s, radius", cases[i].name);
        aleat_free(mine);
        reference_free(&want);
        reference_free(&radii);
        free_rows(&real);
        free_rows(&fake);
    }
}

// Vectors near 3000: |x|^2 + |y|^2 - 2 x.y has errors of 1e-7, as large as the differences between
// distances here. And every third vector is another one once more.
static void near_ties_are_decided_by_exact_differences(void **state)
{
    (void)state;
    enum { N = 150, D = 16, K = 3 };
    aleat_error err = {0};
    float *x = floats(N * D, 11);
    for (int64_t i = 0; i < N * D; i++)
        x[i] = 3000 + roundf(x[i] * 2) * 0x1p-10f;
    for (int64_t i = 3; i < N; i += 3)
        memcpy(x + i * D, x + (i - 3) * D, D * sizeof *x);
    const aleat_rows rows = rows_of(x, N, D);
    double *radii = doubles(N * K), *all = doubles(N);
    int64_t order[N];
    assert_ok(aleat_neighbour_radii(radii, &rows, K, 2, &err), &err);
    for (int64_t i = 0; i < N; i++) {
        for (int64_t j = 0; j < N; j++)
            all[j] = i == j ? INFINITY : aleat_squared_distance(&rows, i, &rows, j);
        assert_true(aleat_order(order, all, N));
        for (int64_t k = 0; k < K; k++)
            assert_near(radii[i * K + k], all[order[k]], 0, "neighbour");
    }
    aleat_free(x);
    aleat_free(radii);
    aleat_free(all);
}

/* ---- sparsification, ranks, calibration ------------------------------------------------------ */

static double *stored_errors(int64_t *n)
{
    reference truth = reference_load("metrics/ause/gt.npy");
    reference made = reference_load("metrics/ause/pred.npy");
    *n = truth.count;
    for (int64_t i = 0; i < *n; i++)
        made.data[i] -= truth.data[i];
    reference_free(&truth);
    return made.data;
}

static void sparsification_is_that_of_the_papers_code(void **state)
{
    (void)state;
    static const char *const cases[] = {"correlated", "ties",     "constant",
                                        "oracle",     "inverted", "random"};
    enum { POINTS = 50 };
    aleat_error err = {0};
    int64_t n;
    double *error = stored_errors(&n);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        reference u = reference_load("metrics/ause/%s/uncertainty.npy", cases[i]);
        reference want = reference_load("metrics/ause/%s/ause_aurg_f64.npy", cases[i]);
        reference sparse = reference_load("metrics/ause/%s/curve_sparse_f64.npy", cases[i]);
        reference oracle = reference_load("metrics/ause/%s/curve_oracle_f64.npy", cases[i]);
        double by_u[POINTS + 1], by_error[POINTS + 1];
        aleat_sparsification s;
        assert_ok(aleat_sparsify(&s, by_u, by_error, u.data, error, n, POINTS, &err), &err);
        assert_near(s.ause, want.data[0], 1e-9, "%s", cases[i]);
        assert_near(s.aurg, want.data[1], 1e-9, "%s", cases[i]);
        for (int t = 0; t <= POINTS; t++) {
            assert_near(by_u[t], sparse.data[t], 1e-12, "%s, point %d", cases[i], t);
            assert_near(by_error[t], oracle.data[t], 1e-12, "%s, oracle %d", cases[i], t);
        }
        reference_free(&u);
        reference_free(&want);
        reference_free(&sparse);
        reference_free(&oracle);
    }
    reference u = reference_load("metrics/ause/correlated/uncertainty.npy");
    reference want = reference_load("metrics/ause/first7/ause_aurg_f64.npy");
    aleat_sparsification s;
    assert_ok(aleat_sparsify(&s, NULL, NULL, u.data, error, 7, POINTS, &err), &err);
    assert_near(s.ause, want.data[0], 1e-9, "first 7");
    assert_near(s.aurg, want.data[1], 1e-9, "first 7");
    reference_free(&u);
    reference_free(&want);
    free(error);
}

static void areas_of_images_are_averaged(void **state)
{
    (void)state;
    aleat_error err = {0};
    int64_t n;
    double *error = stored_errors(&n);
    reference u = reference_load("metrics/ause/correlated/uncertainty.npy");
    reference want = reference_load("metrics/ause/correlated/ause_aurg_per_image_f64.npy");
    const aleat_metric_inputs in = {.x = u.data, .y = error, .n = n, .images = 2};
    aleat_metric_result r;
    assert_ok(aleat_metric_evaluate(&r, "aurg", &in, NULL, &err), &err);
    assert_string_equal(r.values[0].name, "aurg"); // the name that was asked for comes first
    bool seen = false;
    for (int i = 0; i < r.n_values; i++)
        if (!strcmp(r.values[i].name, "ause_per_image")) {
            seen = true;
            assert_near(r.values[i].value, (want.data[0] + want.data[2]) / 2, 1e-9, "per image");
        }
    assert_true(seen);
    assert_int_equal(r.n_rows, 51);
    aleat_metric_result_clear(&r);
    reference_free(&u);
    reference_free(&want);
    free(error);
}

static void correlations_are_those_of_scipy(void **state)
{
    (void)state;
    aleat_error err = {0};
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "ties" : "continuous";
        reference x = reference_load("metrics/corr/%s/x.npy", name);
        reference y = reference_load("metrics/corr/%s/y.npy", name);
        reference label = reference_load("metrics/corr/%s/label.npy", name);
        reference want = reference_load("metrics/corr/%s/result_f64.npy", name);
        double got;
        assert_near(aleat_pearson(x.data, y.data, x.count), want.data[0], 1e-10, "pearson");
        assert_ok(aleat_spearman(&got, x.data, y.data, x.count, &err), &err);
        assert_near(got, want.data[1], 1e-10, "spearman");
        assert_ok(aleat_auroc(&got, x.data, label.data, x.count, &err), &err);
        assert_near(got, want.data[3], 1e-10, "auroc");
        reference_free(&x);
        reference_free(&y);
        reference_free(&label);
        reference_free(&want);
    }
}

static void correlation_with_a_constant_is_not_defined(void **state)
{
    (void)state;
    aleat_error err = {0};
    const double x[] = {0.1, 0.1, 0.1}, y[] = {1, 2, 3}, no[] = {0, 0, 0};
    double got;
    assert_true(isnan(aleat_pearson(x, y, 3)));
    assert_ok(aleat_spearman(&got, x, y, 3, &err), &err);
    assert_true(isnan(got));
    assert_ok(aleat_auroc(&got, y, no, 3, &err), &err);
    assert_true(isnan(got));
}

static void calibration_of_bins_is_what_it_says(void **state)
{
    (void)state;
    aleat_error err = {0};
    // two bins, given in disorder: deviations 1, 1 with errors 1, -1 (right), 2, 2 with 4, -4
    const double deviation[] = {2, 1, 2, 1}, error[] = {4, 1, -4, -1}, bad[] = {1, 2, 0, 1};
    aleat_calibration_bin bins[2];
    aleat_calibration c;
    assert_ok(aleat_calibrate(&c, bins, 2, deviation, error, 4, &err), &err);
    assert_int_equal(bins[0].count, 2);
    assert_near(bins[0].predicted, 1, 1e-15, "bin");
    assert_near(bins[0].actual, 1, 1e-15, "bin");
    assert_near(bins[1].predicted, 2, 1e-15, "bin");
    assert_near(bins[1].actual, 4, 1e-15, "bin");
    assert_near(c.ence, 0.5, 1e-15, "ence"); // (0 + |2 - 4| / 2) / 2
    assert_near(c.z, sqrt(2.5), 1e-15, "z"); // (1 + 1 + 4 + 4) / 4
    assert_near(c.within_1, 0.5, 1e-15, "within");
    assert_near(c.within_2, 1, 1e-15, "within");
    assert_failed(aleat_calibrate(&c, bins, 2, bad, error, 4, &err), ALEAT_ERR_ARGUMENT, &err,
                  "deviation 2 is 0");
}

/* ---- intervals and tests --------------------------------------------------------------------- */

static void a_bca_interval_of_symmetric_draws_is_the_percentile_interval(void **state)
{
    (void)state;
    double draws[1001];
    const double left[] = {-1, 0, 1}; // no skewness: no acceleration
    for (int i = 0; i < 1001; i++)
        draws[i] = (i * 10) % 1001 - 500; // all of -500 to 500, in disorder
    const aleat_interval interval = aleat_bca_interval(0, draws, 1001, left, 3, 0.9);
    assert_near(interval.low, -450, 1e-6, "5th percentile");
    assert_near(interval.high, 450, 1e-6, "95th percentile");
}

// Efron and Tibshirani 1993, eq. 14.10: with bias z0 and acceleration a the ends move.
static void bias_and_acceleration_move_an_interval_upwards(void **state)
{
    (void)state;
    double a[1001], b[1001], c[1001];
    const double none[] = {-1, 0, 1}, skewed[] = {-3, 1, 1, 1};
    for (int i = 0; i < 1001; i++)
        a[i] = b[i] = c[i] = i - 500;
    const aleat_interval plain = aleat_bca_interval(0, a, 1001, none, 3, 0.9);
    const aleat_interval biased = aleat_bca_interval(100, b, 1001, none, 3, 0.9);
    const aleat_interval accelerated = aleat_bca_interval(0, c, 1001, skewed, 4, 0.9);
    // 601 of 1001 draws are below: z0 = 0.2546, so the ends are Phi(2 z0 -+ 1.6449)
    assert_near(biased.low, -500 + 1000 * 0.1281, 1, "low");   // Phi(-1.1357)
    assert_near(biased.high, -500 + 1000 * 0.9844, 1, "high"); // Phi(2.1541)
    assert_true(accelerated.low > plain.low && accelerated.high > plain.high);
}

static void bootstrap_intervals_do_not_depend_on_threads_and_have_the_width_of_the_error(
    void **state)
{
    (void)state;
    enum { N = 300 };
    aleat_error err = {0};
    uint64_t seed = 21;
    double x[N], y[N];
    for (int i = 0; i < N; i++) {
        y[i] = (double)uniform(&seed);
        x[i] = y[i] + (double)uniform(&seed);
    }
    aleat_metric_result one, three;
    const aleat_metric_inputs in = {.x = x, .y = y, .n = N};
    aleat_metric_options options = {.draws = 500, .seed = 4, .threads = 1};
    assert_ok(aleat_metric_evaluate(&one, "paired", &in, &options, &err), &err);
    options.threads = 3;
    assert_ok(aleat_metric_evaluate(&three, "paired", &in, &options, &err), &err);
    assert_memory_equal(&one.values[0].low, &three.values[0].low, sizeof(double));
    assert_memory_equal(&one.values[0].high, &three.values[0].high, sizeof(double));
    // the mean of 300 numbers uniform on [-1, 1]: 2 * 1.96 * sqrt(1/3 / 300); the ends are
    // quantiles of 500 draws, which scatter by some percent
    const double mean = one.values[0].value, width = one.values[0].high - one.values[0].low;
    assert_true(one.values[0].low < mean && mean < one.values[0].high);
    assert_near(width, 0.1307, 0.02, "width");
    assert_string_equal(one.values[1].name, "p_value");
    assert_true(isnan(one.values[1].low)); // a test has no interval
    aleat_metric_result_clear(&one);
    aleat_metric_result_clear(&three);
}

// Random halves scatter as the whole set does: for a mean the standard error is known.
static void intervals_of_sets_have_the_width_of_the_standard_error(void **state)
{
    (void)state;
    enum { N = 400, D = 1 };
    aleat_error err = {0};
    float *x = floats(N, 31), *y = floats(N, 32);
    for (int i = 0; i < N; i++)
        y[i] += 3;
    const aleat_array a = {2, {N, D}, x}, b = {2, {N, D}, y};
    const aleat_metric_inputs in = {.a = &a, .b = &b};
    const aleat_metric_options options = {.draws = 400, .threads = 2};
    aleat_metric_result r;
    assert_ok(aleat_metric_evaluate(&r, "fid", &in, &options, &err), &err);
    // distance = (m1 - m2)^2 + ...; s.d. of the first term is 2 |m1 - m2| sqrt(2 / 3 / N), with the
    // difference 3 and variances 1/3: 0.245; the others are of second order
    assert_near(r.values[0].high - r.values[0].low, 2 * 1.96 * 0.245, 0.2, "width");
    assert_true(strlen(r.warnings) > 0); // 400 vectors are few
    aleat_metric_result_clear(&r);
    aleat_free(x);
    aleat_free(y);
}

static void the_permutation_test_finds_what_all_patterns_would_give(void **state)
{
    (void)state;
    aleat_error err = {0};
    const double x[] = {1, 2, 3, 4}, zero[4] = {0}, mixed[] = {2, 1, 4, 3};
    double p;
    // only the two patterns of equal signs of 16 lie as far out: 1/8
    assert_ok(aleat_paired_permutation(&p, x, zero, 4, 20000, 1, &err), &err);
    assert_near(p, 0.125, 4 * sqrt(0.125 * 0.875 / 20000), "p"); // four standard errors
    assert_ok(aleat_paired_permutation(&p, x, mixed, 4, 1000, 1, &err), &err);
    assert_near(p, 1, 0, "no difference at all");
}

// Sorted once, resamples come to what they would by themselves; keys and errors have ties.
static void areas_of_resamples_are_those_of_the_gathered_pixels(void **state)
{
    (void)state;
    enum { IMAGES = 7, SIZE = 30, N = IMAGES * SIZE };
    static const int64_t rows[IMAGES] = {3, 0, 3, 6, 6, 6, 1};
    aleat_error err = {0};
    uint64_t seed = 51;
    double x[N], y[N], drawn_x[N], drawn_y[N];
    aleat_sparsifier *sorted;
    aleat_sparsifications s;
    aleat_metric_result r;
    for (int i = 0; i < N; i++) {
        x[i] = floor(8 * (double)uniform(&seed));
        y[i] = floor(5 * (double)uniform(&seed)) / 4 + x[i] / 8;
    }
    assert_ok(aleat_sparsifier_new(&sorted, x, y, N, IMAGES, 50, &err), &err);
    assert_ok(aleat_sparsifier_values(&s, NULL, NULL, sorted, rows, IMAGES, &err), &err);
    aleat_sparsifier_free(sorted);
    for (int i = 0; i < N; i++) {
        drawn_x[i] = x[rows[i / SIZE] * SIZE + i % SIZE];
        drawn_y[i] = y[rows[i / SIZE] * SIZE + i % SIZE];
    }
    const aleat_metric_inputs in = {.x = drawn_x, .y = drawn_y, .n = N, .images = IMAGES};
    assert_ok(aleat_metric_evaluate(&r, "ause", &in, NULL, &err), &err);
    const struct {
        const char *name;
        double value;
    } want[] = {{"ause", s.own.ause},
                {"aurg", s.own.aurg},
                {"aurg_closed", s.own.aurg_closed},
                {"rmse", s.own.rmse},
                {"ause_per_image", s.per_image.ause},
                {"aurg_per_image", s.per_image.aurg},
                {"ause_inverted", s.inverted.ause},
                {"aurg_inverted", s.inverted.aurg},
                {"spearman", s.spearman},
                {"ause_per_image_inverted", s.per_image_inverted.ause},
                {"aurg_per_image_inverted", s.per_image_inverted.aurg}};
    assert_int_equal(r.n_values, sizeof want / sizeof *want);
    for (int i = 0; i < r.n_values; i++) {
        assert_string_equal(r.values[i].name, want[i].name);
        // within ties squared errors are added in another order: some roundings of sums of 210
        assert_near(r.values[i].value, want[i].value, 1e-13, "%s", want[i].name);
    }
    aleat_metric_result_clear(&r);
}

/* ---- wrong inputs ---------------------------------------------------------------------------- */

static void what_cannot_be_computed_is_said(void **state)
{
    (void)state;
    aleat_error err = {0};
    aleat_metric_result r;
    float x[] = {1, 2, 3, 4, 5, 6}, nan[] = {1, 2, NAN, 4, 5, 6};
    const aleat_array three = {2, {3, 2}, x}, two = {2, {2, 3}, x}, flat = {1, {6}, x};
    const aleat_array bad = {2, {3, 2}, nan}, one = {2, {1, 2}, x};
    const double y[] = {1, 2, 3};
    const struct {
        const char *metric;
        aleat_metric_inputs in;
        aleat_status status;
        const char *text;
    } cases[] = {
        {"fod", {0}, ALEAT_ERR_ARGUMENT, "no metric 'fod'"},
        {"fid", {.a = &three}, ALEAT_ERR_ARGUMENT, "b is missing"},
        {"fid", {.a = &three, .b = &two}, ALEAT_ERR_SHAPE, "vectors of 2 numbers"},
        {"fid", {.a = &three, .b = &flat}, ALEAT_ERR_SHAPE, "expected vectors [N,D]"},
        {"kid", {.a = &three, .b = &bad}, ALEAT_ERR_NUMERIC, "number 0 of vector 1"},
        {"kid", {.a = &one, .b = &three}, ALEAT_ERR_ARGUMENT, "at least 2"},
        {"pr", {.a = &three, .b = &three}, ALEAT_ERR_ARGUMENT, "5 nearest neighbours among 3"},
        {"is", {.a = &three}, ALEAT_ERR_ARGUMENT, "cannot be split into 10"},
        {"ause", {.x = y, .n = 3}, ALEAT_ERR_ARGUMENT, "needs two arrays"},
        {"ause", {.x = y, .y = y, .n = 3, .images = 2}, ALEAT_ERR_SHAPE, "2 images"},
        {"calibration", {.x = y, .y = y, .n = 3}, ALEAT_ERR_ARGUMENT, "10 bins"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_failed(aleat_metric_evaluate(&r, cases[i].metric, &cases[i].in, NULL, &err),
                      cases[i].status, &err, cases[i].text);
        assert_null(r.curve);
    }
}

// Every allocation of a metric may fail: an error each time, and nothing is lost.
static void metrics_survive_failing_allocations(void **state)
{
    (void)state;
    float *x = floats(40 * 3, 41), *y = floats(40 * 3, 42);
    const aleat_array a = {2, {40, 3}, x}, b = {2, {40, 3}, y};
    double u[40], e[40];
    for (int i = 0; i < 40; i++) {
        u[i] = 2 + (double)x[i];
        e[i] = (double)y[i];
    }
    const aleat_metric_inputs in = {.a = &a, .b = &b, .x = u, .y = e, .n = 40};
    const aleat_metric_options options = {
        .draws = 3, .threads = 1, .subset_size = 10, .subsets = 2};
    aleat_metric_facts facts;
    for (int m = 0; aleat_metric_at(m, &facts); m++) {
        const uint64_t before = aleat_alloc_bytes();
        aleat_status st = ALEAT_ERR_MEMORY;
        for (uint64_t n = 1; st == ALEAT_ERR_MEMORY; n++) {
            aleat_error err = {0};
            aleat_metric_result r;
            aleat_alloc_fail_at(n);
            st = aleat_metric_evaluate(&r, facts.name, &in, &options, &err);
            aleat_alloc_fail_at(0);
            aleat_metric_result_clear(&r);
            assert_true(aleat_alloc_bytes() == before);
            assert_true(n < 10000);
        }
        assert_int_equal(st, ALEAT_OK);
    }
    aleat_free(x);
    aleat_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_product_in_double_agrees_with_plain_sums),
        cmocka_unit_test(row_products_do_not_depend_on_threads_or_on_which_half_is_wanted),
        cmocka_unit_test(a_covariance_does_not_depend_on_how_vectors_arrive),
        cmocka_unit_test(merged_moments_are_those_of_all_vectors),
        cmocka_unit_test(statistics_come_back_from_their_file),
        cmocka_unit_test(frechet_distances_are_those_of_the_references),
        cmocka_unit_test(frechet_distances_of_rectified_features_are_those_of_pytorch_fid),
        cmocka_unit_test(frechet_distance_of_diagonal_gaussians_is_the_closed_form),
        cmocka_unit_test(negative_eigenvalues_are_told_with_their_size),
        cmocka_unit_test(kernel_distances_are_those_of_torch_fidelity),
        cmocka_unit_test(inception_scores_are_those_of_torch_fidelity),
        cmocka_unit_test(precision_and_recall_are_those_of_the_references),
        cmocka_unit_test(near_ties_are_decided_by_exact_differences),
        cmocka_unit_test(sparsification_is_that_of_the_papers_code),
        cmocka_unit_test(areas_of_images_are_averaged),
        cmocka_unit_test(correlations_are_those_of_scipy),
        cmocka_unit_test(correlation_with_a_constant_is_not_defined),
        cmocka_unit_test(calibration_of_bins_is_what_it_says),
        cmocka_unit_test(a_bca_interval_of_symmetric_draws_is_the_percentile_interval),
        cmocka_unit_test(bias_and_acceleration_move_an_interval_upwards),
        cmocka_unit_test(
            bootstrap_intervals_do_not_depend_on_threads_and_have_the_width_of_the_error),
        cmocka_unit_test(intervals_of_sets_have_the_width_of_the_standard_error),
        cmocka_unit_test(areas_of_resamples_are_those_of_the_gathered_pixels),
        cmocka_unit_test(the_permutation_test_finds_what_all_patterns_would_give),
        cmocka_unit_test(what_cannot_be_computed_is_said),
        cmocka_unit_test(metrics_survive_failing_allocations),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
