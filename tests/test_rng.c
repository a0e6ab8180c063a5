#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/rng_source.h"
#include "base/rng_torch.h"
#include "reference.h"

// Known answers published with the authors' implementation (Random123, kat_vectors, philox4x32 10).
static void philox_gives_the_published_answers(void **state)
{
    (void)state;
    static const uint32_t rows[][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t out[4];
        aleat_philox(out, rows[i], rows[i] + 4);
        assert_memory_equal(out, rows[i] + 6, sizeof out);
    }
}

static void log_and_sincos_agree_with_the_library(void **state)
{
    (void)state;
    const aleat_rng_key key = {.seed = 3};
    for (int64_t i = 0; i < 200000; i++) {
        uint32_t word = (uint32_t)aleat_rng_bits(&key, i);
        if (i < 1000) // the ends, where logarithms lose digits
            word = i % 2 ? (uint32_t)i : UINT32_MAX - (uint32_t)i;
        const double u = ((double)word + 0.5) * 0x1p-32, angle = 6.283185307179586 * word * 0x1p-32;
        double sine, cosine;
        aleat_rng_sincos(word, &sine, &cosine);
        // Series are cut below 2e-14; the rest is a few roundings.
        assert_true(fabs(aleat_rng_log(word) - log(u)) <= 1e-13 * fabs(log(u)));
        assert_true(fabs(sine - sin(angle)) < 1e-13);
        assert_true(fabs(cosine - cos(angle)) < 1e-13);
    }
}

static void normals_have_the_moments_of_a_normal(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    float *x = malloc(N * sizeof *x);
    aleat_rng_normals(&(aleat_rng_key){.seed = 1, .image = 5}, 0, x, N);
    double m[5] = {0}, neighbours = 0;
    for (int i = 0; i < N; i++) {
        for (int p = 1; p <= 4; p++)
            m[p] += pow((double)x[i], p) / N;
        neighbours += i ? (double)x[i] * (double)x[i - 1] / N : 0;
    }
    // 5 standard deviations of each sample moment: sqrt(var(x^p) / N).
    assert_true(fabs(m[1]) < 5 * sqrt(1.0 / N));
    assert_true(fabs(m[2] - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(m[3]) < 5 * sqrt(15.0 / N));
    assert_true(fabs(m[4] - 3) < 5 * sqrt(96.0 / N));
    assert_true(fabs(neighbours) < 5 * sqrt(1.0 / N));
    free(x);
}

static void a_number_depends_on_its_key_and_index_only(void **state)
{
    (void)state;
    const aleat_rng_key key = {
        .seed = UINT64_C(1) << 40 | 7, .image = 9, .step = 3, .copy = 2, .purpose = ALEAT_FOR_COPY};
    float whole[1000], part[1000];
    aleat_rng_normals(&key, 0, whole, 1000);
    for (int64_t first = 0; first < 1000; first += 4) {
        const int64_t count = 1000 - first < 77 ? 1000 - first : 77;
        aleat_rng_normals(&key, first, part, count);
        assert_memory_equal(part, whole + first, (size_t)count * sizeof *part);
    }
    aleat_rng_key other[] = {key, key, key, key, key};
    other[0].seed ^= UINT64_C(1) << 40;
    other[1].image++;
    other[2].step++;
    other[3].copy++;
    other[4].purpose++;
    for (int i = 0; i < 5; i++) {
        aleat_rng_normals(&other[i], 0, part, 1000);
        int same = 0;
        for (int j = 0; j < 1000; j++)
            same += part[j] == whole[j];
        assert_int_equal(same, 0);
    }
}

// Fixed for ever: a run must come out the same after any change to this code.
static void the_first_normals_never_change(void **state)
{
    (void)state;
    float x[4];
    aleat_rng_normals(&(aleat_rng_key){.seed = 0}, 0, x, 4);
    static const uint32_t bits[4] = {0x3f7dbb33, 0xbf6cb6b0, 0xbf1e1b9f, 0xbef6d1b2};
    assert_memory_equal(x, bits, sizeof x);
}

static void a_permutation_is_one_and_all_are_as_likely(void **state)
{
    (void)state;
    int64_t p[3];
    int seen[27] = {0};
    enum { DRAWS = 6000 };
    for (uint32_t i = 0; i < DRAWS; i++) {
        aleat_rng_permutation(&(aleat_rng_key){.seed = 4, .image = i}, p, 3);
        assert_int_equal(p[0] + p[1] + p[2], 3);
        assert_int_equal(p[0] * p[0] + p[1] * p[1] + p[2] * p[2], 5);
        seen[9 * p[0] + 3 * p[1] + p[2]]++;
    }
    for (int i = 0; i < 27; i++) // each of the 6 with probability 1/6: s.d. 28.9, 5 of them
        assert_true(seen[i] == 0 || abs(seen[i] - DRAWS / 6) < 145);
}

static void uniforms_fill_the_unit_interval(void **state)
{
    (void)state;
    enum { N = 100000 };
    static float u[N];
    aleat_rng_uniforms(&(aleat_rng_key){.seed = 2}, u, N);
    double mean = 0;
    for (int i = 0; i < N; i++) {
        assert_true(u[i] >= 0 && u[i] < 1);
        mean += (double)u[i] / N;
    }
    assert_true(fabs(mean - 0.5) < 5 * sqrt(1.0 / 12 / N));
}

static const uint64_t torch_seeds[] = {0, 42, 123456789};

#define FOR_SEEDS for (size_t s = 0; s < 3; s++)
#define LOAD(...) reference want = reference_load("torch-rng/" __VA_ARGS__)

static void check_ints(const int64_t *got, const reference *want)
{
    for (int64_t i = 0; i < want->count; i++)
        assert_int_equal(got[i], (int64_t)want->data[i]);
}

// tolerance 0: equal as written.
static void check_f32(const float *got, const reference *want, double tolerance)
{
    for (int64_t i = 0; i < want->count; i++)
        assert_true(fabs((double)got[i] - want->data[i]) <= tolerance);
}

static void check_f64(const double *got, const reference *want, double tolerance)
{
    for (int64_t i = 0; i < want->count; i++)
        assert_true(fabs(got[i] - want->data[i]) <= tolerance);
}

// Blocks of 16 are made by a vector unit with its own polynomials there: 2e-6; else one f32 ulp.
static double normal_tolerance(int64_t n)
{
    return n < 16 ? 2.4e-7 : 2e-6;
}

static void torch_integers_are_exact(void **state)
{
    (void)state;
    int64_t got[60000];
    aleat_torch_rng rng;
    FOR_SEEDS for (int i = 0; i < 7; i++)
    {
        static const int counts[] = {1, 10, 100, 1, 2, 10, 100};
        aleat_torch_seed(&rng, torch_seeds[s]);
        if (i < 3)
            aleat_torch_randint(&rng, 0, 1000, got, counts[i]);
        else
            aleat_torch_randperm(&rng, got, counts[i]);
        LOAD("seed%d_%s_%d.npy", (int)torch_seeds[s], i < 3 ? "randint1000" : "randperm",
             counts[i]);
        check_ints(got, &want);
        reference_free(&want);
    }
    aleat_torch_seed(&rng, UINT64_C(1) << 32); // only the low 32 bits count: seed 0
    aleat_torch_randperm(&rng, got, 60000);
    LOAD("seed0_randperm_60000_first64.npy");
    check_ints(got, &want);
    reference_free(&want);
}

static void torch_uniforms_are_exact(void **state)
{
    (void)state;
    float got[100];
    double got_f64[10];
    aleat_torch_rng rng;
    FOR_SEEDS for (int n = 1; n <= 100; n *= 10)
    {
        aleat_torch_seed(&rng, torch_seeds[s]);
        aleat_torch_rand_f32(&rng, got, n);
        LOAD("seed%d_rand_%d.npy", (int)torch_seeds[s], n);
        check_f32(got, &want, 0);
        reference_free(&want);
    }
    FOR_SEEDS
    {
        aleat_torch_seed(&rng, torch_seeds[s]);
        aleat_torch_rand_f64(&rng, got_f64, 10);
        LOAD("seed%d_rand_10_f64.npy", (int)torch_seeds[s]);
        check_f64(got_f64, &want, 0);
        reference_free(&want);
    }
}

static void torch_normals_agree(void **state)
{
    (void)state;
    static const char *const names[] = {"1", "3", "15", "16", "17", "100", "3072", "2x3x4x4"};
    float got[3072];
    double got_f64[100];
    aleat_torch_rng rng;
    FOR_SEEDS for (int i = 0; i < 8; i++)
    {
        LOAD("seed%d_randn_%s.npy", (int)torch_seeds[s], names[i]);
        aleat_torch_seed(&rng, torch_seeds[s]);
        aleat_torch_randn_f32(&rng, got, want.count);
        check_f32(got, &want, normal_tolerance(want.count));
        reference_free(&want);
    }
    FOR_SEEDS for (int i = 0; i < 6; i++)
    {
        LOAD("seed%d_randn_%s_f64.npy", (int)torch_seeds[s], names[i]);
        aleat_torch_seed(&rng, torch_seeds[s]);
        aleat_torch_randn_f64(&rng, got_f64, want.count);
        check_f64(got_f64, &want, 1e-14);
        reference_free(&want);
    }
    LOAD("seed_minus1_randn_4.npy");
    aleat_torch_seed(&rng, UINT64_MAX);
    aleat_torch_randn_f32(&rng, got, 4);
    check_f32(got, &want, normal_tolerance(4));
    reference_free(&want);
}

// One stream, calls of every kind in turn: which calls keep and use the second scalar normal shows.
static void torch_calls_follow_each_other_on_one_stream(void **state)
{
    (void)state;
    static const char *const calls[] = {"randn_3",      "randn_1",     "randn_16",  "randn_5",
                                        "rand_4",       "randn_17",    "randint_5", "randn_2",
                                        "randperm_10",  "randn_3_f64", "randn_100", "rand_3_f64",
                                        "randn_20_f64", "randn_1",     "randn_1"};
    aleat_torch_rng rng;
    aleat_torch_seed(&rng, 7);
    for (int i = 0; i < 15; i++) {
        LOAD("seq_%02d_%s.npy", i, calls[i]);
        float f[100];
        double d[20];
        int64_t n[10];
        const bool wide = strstr(calls[i], "f64"), normal = !strncmp(calls[i], "randn", 5);
        if (!strncmp(calls[i], "randint", 7)) {
            aleat_torch_randint(&rng, 0, 1000, n, want.count);
            check_ints(n, &want);
        } else if (!strncmp(calls[i], "randperm", 8)) {
            aleat_torch_randperm(&rng, n, want.count);
            check_ints(n, &want);
        } else if (wide) {
            (normal ? aleat_torch_randn_f64 : aleat_torch_rand_f64)(&rng, d, want.count);
            check_f64(d, &want, 1e-14);
        } else {
            (normal ? aleat_torch_randn_f32 : aleat_torch_rand_f32)(&rng, f, want.count);
            check_f32(f, &want, normal ? normal_tolerance(want.count) : 0);
        }
        reference_free(&want);
    }
}

static void the_torch_source_has_a_generator_for_each_image(void **state)
{
    (void)state;
    LOAD("per_sample_seed100.npy");
    const int64_t images = want.dim[0], count = want.count / images;
    aleat_noise_torch *torch;
    assert_int_equal(aleat_noise_torch_new(&torch, 98, 2, images, NULL), ALEAT_OK);
    const aleat_noise_source source = aleat_noise_torch_source(torch);
    float *got = malloc((size_t)want.count * sizeof *got);
    for (int64_t i = 0; i < images; i++) {
        aleat_rng_key key = {.image = (uint32_t)(2 + i), .purpose = ALEAT_FOR_INITIAL};
        assert_int_equal(aleat_noise_fill(&source, &key, got + i * count, count, NULL), ALEAT_OK);
    }
    check_f32(got, &want, normal_tolerance(count));
    aleat_error err = {0};
    aleat_rng_key key = {.image = 1, .purpose = ALEAT_FOR_STEP};
    assert_int_equal(aleat_noise_fill(&source, &key, got, count, &err), ALEAT_ERR_ARGUMENT);
    free(got);
    aleat_noise_torch_free(torch);
    reference_free(&want);
}

static void asking_for_copies_does_not_move_the_torch_stream(void **state)
{
    (void)state;
    float plain[20], disturbed[20], copy[20], philox[20];
    aleat_noise_torch *torch;
    assert_int_equal(aleat_noise_torch_new(&torch, 5, 0, 1, NULL), ALEAT_OK);
    const aleat_noise_source source = aleat_noise_torch_source(torch);
    const aleat_rng_key step = {.purpose = ALEAT_FOR_STEP}, copies = {.purpose = ALEAT_FOR_COPY};
    assert_int_equal(aleat_noise_fill(&source, &step, plain, 20, NULL), ALEAT_OK);
    aleat_noise_torch_restart(torch, 0);
    assert_int_equal(aleat_noise_fill(&source, &copies, copy, 20, NULL), ALEAT_OK);
    assert_int_equal(aleat_noise_fill(&source, &step, disturbed, 20, NULL), ALEAT_OK);
    assert_memory_equal(plain, disturbed, sizeof plain);
    const uint64_t seed = 5;
    const aleat_noise_source same = aleat_noise_philox(seed);
    assert_int_equal(aleat_noise_fill(&same, &copies, philox, 20, NULL), ALEAT_OK);
    assert_memory_equal(copy, philox, sizeof copy);
    aleat_noise_torch_free(torch);
}

static void stored_noise_is_found_by_image_step_and_copy(void **state)
{
    (void)state;
    float copy[2 * 3 * 2 * 2], out[2]; // [steps 2, copies 3, images 2, count 2]
    for (int i = 0; i < 24; i++)
        copy[i] = (float)i;
    aleat_noise_arrays arrays = {
        .copy = copy, .images = 2, .first = 10, .count = 2, .copies = 3, .copy_steps = 2};
    const aleat_noise_source source = aleat_noise_from_arrays(&arrays);
    aleat_rng_key key = {.image = 11, .step = 1, .copy = 2, .purpose = ALEAT_FOR_COPY};
    assert_int_equal(aleat_noise_fill(&source, &key, out, 2, NULL), ALEAT_OK);
    assert_true(out[0] == 22 && out[1] == 23);
    aleat_error err = {0};
    key.copy = 3;
    assert_int_equal(aleat_noise_fill(&source, &key, out, 2, &err), ALEAT_ERR_SHAPE);
    key = (aleat_rng_key){.image = 10, .purpose = ALEAT_FOR_STEP};
    assert_int_equal(aleat_noise_fill(&source, &key, out, 2, &err), ALEAT_ERR_SHAPE);
    assert_non_null(strstr(err.message, "step noise"));
}

// aleat_philox() takes one block, aleat_rng_words() many side by side; of each length that ends
// within a block, between blocks, and beyond one pass of the loop (64 blocks).
static void words_of_many_blocks_are_those_of_each(void **state)
{
    (void)state;
    enum { MOST = 600 };
    const aleat_rng_key key = {
        .seed = 0x123456789abcdefu, .image = 7, .step = 3, .copy = 5, .purpose = ALEAT_FOR_DROPOUT};
    const uint32_t seed[2] = {0x89abcdefu, 0x1234567u};
    uint32_t words[MOST + 1];
    static const int counts[] = {1, 4, 6, 255, 256, 257, 512, MOST};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        words[counts[c]] = 99;
        aleat_rng_words(&key, words, counts[c]);
        for (int i = 0; i < counts[c]; i++) {
            const uint32_t counter[4] = {(uint32_t)i / 4, 7, 3, ALEAT_FOR_DROPOUT << 24 | 5};
            uint32_t block[4];
            aleat_philox(block, counter, seed);
            assert_int_equal(words[i], block[i % 4]);
        }
        assert_int_equal(words[counts[c]], 99);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_answers),
        cmocka_unit_test(words_of_many_blocks_are_those_of_each),
        cmocka_unit_test(log_and_sincos_agree_with_the_library),
        cmocka_unit_test(normals_have_the_moments_of_a_normal),
        cmocka_unit_test(a_number_depends_on_its_key_and_index_only),
        cmocka_unit_test(the_first_normals_never_change),
        cmocka_unit_test(a_permutation_is_one_and_all_are_as_likely),
        cmocka_unit_test(uniforms_fill_the_unit_interval),
        cmocka_unit_test(torch_integers_are_exact),
        cmocka_unit_test(torch_uniforms_are_exact),
        cmocka_unit_test(torch_normals_agree),
        cmocka_unit_test(torch_calls_follow_each_other_on_one_stream),
        cmocka_unit_test(the_torch_source_has_a_generator_for_each_image),
        cmocka_unit_test(asking_for_copies_does_not_move_the_torch_stream),
        cmocka_unit_test(stored_noise_is_found_by_image_step_and_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
