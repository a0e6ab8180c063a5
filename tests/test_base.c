#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/parallel.h"
#include "tensor/tensor.h"

static void every_f16_survives_the_way_through_f32(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        const float value = aleat_f16_to_f32((uint16_t)bits);
        if (isnan(value))
            assert_true((bits & 0x7c00) == 0x7c00 && (bits & 0x3ff));
        else
            assert_int_equal(aleat_f32_to_f16(value), bits);
    }
}

static void narrowing_rounds_to_nearest_even(void **state)
{
    (void)state;
    assert_int_equal(aleat_f32_to_f16(1.0f + 0x1p-11f), 0x3c00);            // tie, even below
    assert_int_equal(aleat_f32_to_f16(1.0f + 0x1p-10f + 0x1p-11f), 0x3c02); // tie, even above
    assert_int_equal(aleat_f32_to_f16(65520.0f), 0x7c00);                   // first that overflows
    assert_int_equal(aleat_f32_to_f16(0x1p-25f), 0x0000);                   // tie with zero
    assert_int_equal(aleat_f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);
    assert_int_equal(aleat_f32_to_bf16(1.0f + 0x1p-7f + 0x1p-8f), 0x3f82);
    assert_true(isnan(aleat_bf16_to_f32(aleat_f32_to_bf16(NAN))));
}

static void a_shape_whose_bytes_overflow_is_refused(void **state)
{
    (void)state;
    aleat_tensor tensor;
    aleat_error err = {0};
    const aleat_shape shape = aleat_shape_of(2, INT64_MAX / 2, (int64_t)4);
    assert_int_equal(aleat_tensor_new(&tensor, ALEAT_F32, &shape, &err), ALEAT_ERR_SHAPE);
    assert_non_null(strstr(err.message, "too large"));
}

static void an_injected_failure_hits_the_named_allocation_only(void **state)
{
    (void)state;
    aleat_alloc_fail_at(2);
    void *first = aleat_alloc(8), *second = aleat_alloc(8), *third = aleat_alloc(8);
    aleat_alloc_fail_at(0);
    assert_non_null(first);
    assert_null(second);
    assert_non_null(third);
    aleat_free(first);
    aleat_free(third);
}

static void mark_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        ((unsigned char *)ctx)[i]++;
}

static void parallel_for_visits_every_item_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        unsigned char seen[13] = {0};
        aleat_parallel_for(threads, 13, mark_range, seen);
        for (int i = 0; i < 13; i++)
            assert_int_equal(seen[i], 1);
    }
}

static void an_error_text_is_cut_not_overrun(void **state)
{
    (void)state;
    char longer[3 * ALEAT_ERROR_TEXT];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    aleat_error err = {0};
    assert_int_equal(aleat_fail(&err, ALEAT_ERR_FORMAT, "%s", longer), ALEAT_ERR_FORMAT);
    aleat_error_in(&err, "in %s", longer);
    assert_int_equal(strlen(err.message), ALEAT_ERROR_TEXT - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_f16_survives_the_way_through_f32),
        cmocka_unit_test(narrowing_rounds_to_nearest_even),
        cmocka_unit_test(a_shape_whose_bytes_overflow_is_refused),
        cmocka_unit_test(an_injected_failure_hits_the_named_allocation_only),
        cmocka_unit_test(parallel_for_visits_every_item_once),
        cmocka_unit_test(an_error_text_is_cut_not_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
