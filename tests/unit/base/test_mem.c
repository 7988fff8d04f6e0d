/* mem: overflow is a failure, blocks are aligned and zero, and the injected
 * failure hits the allocation that was named.
 *
 * SPDX-License-Identifier: MIT */
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

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

/* In any order, and each with its own bytes. */
static void test_mem_lasting_blocks_do_not_touch(void **state)
{
    static const size_t floats[] = {0,       1,       17, 1000, 300 << 10,
                                    2 << 20, 5 << 20, 3,  700};
    enum { N = sizeof floats / sizeof *floats };
    unsigned char *p[N];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) {
            p[i] = (void *)mem_lasting(floats[i]);
            assert_non_null(p[i]);
            assert_int_equal((uintptr_t)p[i] % MEM_ALIGN, 0);
            memset(p[i], i + 1, floats[i] * sizeof(float));
        }
        for (int k = 0; k < N; k++) {
            int i = (4 * k + round) % N;
            for (size_t at = 0; at < floats[i] * sizeof(float); at++)
                if (p[i][at] != i + 1)
                    fail_msg("block %d, byte %zu", i, at);
            mem_lasting_free(p[i]);
        }
    }
    mem_lasting_free(NULL);
    assert_null(mem_lasting(SIZE_MAX / 2));
    assert_null(mem_lasting(SIZE_MAX / 8));
    mem_fail_at(1);
    assert_null(mem_lasting(1));
}

/* What the system gave for large blocks; sanitizers say 0 at any time. */
static size_t mapped(void)
{
    return mallinfo2().hblkhd;
}

static void test_mem_lasting_gives_all_back(void **state)
{
    enum { N = 200, FLOATS = 300 << 10 }; /* more than fit into one chunk */
    void *p[N];
    size_t before = mapped();
    for (int last = 0; last < 2; last++) { /* the first or the last stays */
        for (int i = 0; i < N; i++) {
            p[i] = mem_lasting(FLOATS);
            assert_non_null(p[i]);
        }
        for (int i = 0; i < N; i++)
            mem_lasting_free(p[last ? N - 1 - i : i]);
        assert_true(mapped() == before);
    }
}

/* Pages of p [bytes] that are in memory. */
static int resident(void *p, size_t bytes)
{
    unsigned char in[1024];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t at = (uintptr_t)p / page * page;
    int n = 0;
    assert_true(bytes / page <= sizeof in);
    assert_int_equal(mincore((void *)at, bytes, in), 0);
    for (size_t i = 0; i < bytes / page; i++)
        n += in[i] & 1;
    return n;
}

static void test_mem_lasting_gives_one_back(void **state)
{
#ifdef MEM_APART
    skip();
#endif
    enum { FLOATS = 1 << 20 };
    char *a = (char *)mem_lasting(FLOATS), *b = (char *)mem_lasting(FLOATS);
    memset(a, 1, FLOATS * sizeof(float));
    memset(b, 1, FLOATS * sizeof(float));
    int before = resident(a, FLOATS * sizeof(float));
    mem_lasting_free(a);
    assert_true(resident(a, FLOATS * sizeof(float)) <= before / 10);
    assert_int_equal(b[0], 1);
    assert_int_equal(memcmp(b, b + 1, FLOATS * sizeof(float) - 1), 0);
    mem_lasting_free(b);
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
        cmocka_unit_test(test_mem_lasting_blocks_do_not_touch),
        cmocka_unit_test(test_mem_lasting_gives_all_back),
        cmocka_unit_test(test_mem_lasting_gives_one_back),
        cmocka_unit_test(test_mem_budget_is_shared_up_to_its_limit),
        cmocka_unit_test(test_mem_fail_at_hits_the_nth_allocation_only),
        cmocka_unit_test(test_mem_strdup_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
