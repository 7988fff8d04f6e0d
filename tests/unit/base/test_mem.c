/* mem: overflow is a failure, blocks are aligned and zero, and the injected
 * failure hits the allocation that was named.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/mem.h"
#include "tests/support/unit.h"

static void test_mem_array_refuses_overflow(void **state)
{
    assert_null(mem_array(SIZE_MAX / 2, 3));
    assert_null(mem_zarray(SIZE_MAX, 2));
    assert_null(mem_grow(NULL, SIZE_MAX / 4, 8));
    assert_null(mem_floats(SIZE_MAX / 2));
    assert_null(mem_alloc(SIZE_MAX));
    assert_null(mem_zalloc(SIZE_MAX));
    assert_null(mem_aligned(SIZE_MAX));
    assert_null(mem_strndup("x", SIZE_MAX));
}

static void test_mem_grow_keeps_the_old_block_on_failure(void **state)
{
    char *p = mem_alloc(4);
    assert_non_null(p);
    memcpy(p, "abc", 4);
    mem_fail_at(1);
    assert_null(mem_grow(p, 100, 1));
    assert_string_equal(p, "abc");
    p = mem_grow(p, 100, 1);
    assert_non_null(p);
    assert_string_equal(p, "abc");
    mem_free(p);
}

static void test_mem_aligned_is_aligned_and_zero(void **state)
{
    static const size_t sizes[] = {0,
                                   1,
                                   63,
                                   4096,
                                   ((size_t)2 << 20) - 1,
                                   (size_t)2 << 20,
                                   (size_t)5 << 20};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        unsigned char *p = mem_aligned(sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % MEM_ALIGN, 0);
        for (size_t k = 0; k < sizes[i]; k += 997)
            assert_int_equal(p[k], 0);
        if (sizes[i])
            assert_int_equal(p[sizes[i] - 1], 0);
        mem_aligned_free(p);
    }
}

static void test_mem_room_is_aligned(void **state)
{
    float *p = mem_room(1000);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % MEM_ALIGN, 0);
    p[999] = 1.0f;
    mem_aligned_free(p);
    assert_null(mem_room(SIZE_MAX / 2));
    mem_fail_at(1);
    assert_null(mem_room(1));
}

static void test_mem_budget_is_shared_up_to_its_limit(void **state)
{
    struct mem_budget *b = mem_budget_new(100);
    assert_non_null(b);
    assert_int_equal(mem_budget_take(b, 101), -1);
    assert_int_equal(mem_budget_take(b, 60), 0);
    mem_budget_keep(b);
    assert_int_equal(mem_budget_take(b, 41), -1);
    assert_int_equal(mem_budget_take(b, SIZE_MAX), -1);
    assert_int_equal(mem_budget_take(b, 40), 0);
    mem_budget_drop(b);
    mem_budget_give(b, 60);
    assert_int_equal(mem_budget_take(b, 61), -1);
    assert_int_equal(mem_budget_take(b, 60), 0);
    mem_budget_drop(b);
    mem_budget_drop(NULL);
    mem_fail_at(1);
    assert_null(mem_budget_new(1));
}

static void test_mem_fail_at_hits_the_nth_allocation_only(void **state)
{
    mem_count();
    mem_fail_at(3);
    for (int i = 1; i <= 5; i++) {
        void *p = mem_alloc(8);
        assert_int_equal(p == NULL, i == 3);
        mem_free(p);
    }
    assert_int_equal(mem_count(), 5);
    assert_int_equal(mem_count(), 0);
    mem_fail_at(1);
    mem_fail_at(0);
    void *p = mem_zalloc(8);
    assert_non_null(p);
    mem_free(p);
}

static void test_mem_strdup_copies(void **state)
{
    char *a = mem_strdup("word"), *b = mem_strndup("word", 2);
    assert_string_equal(a, "word");
    assert_string_equal(b, "wo");
    mem_free(a);
    mem_free(b);
    mem_free(NULL);
    mem_aligned_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem_array_refuses_overflow),
        cmocka_unit_test(test_mem_grow_keeps_the_old_block_on_failure),
        cmocka_unit_test(test_mem_aligned_is_aligned_and_zero),
        cmocka_unit_test(test_mem_room_is_aligned),
        cmocka_unit_test(test_mem_budget_is_shared_up_to_its_limit),
        cmocka_unit_test(test_mem_fail_at_hits_the_nth_allocation_only),
        cmocka_unit_test(test_mem_strdup_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
