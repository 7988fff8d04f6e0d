/* What may not come next: against lists written by hand, and no column beside
 * the row is touched. (tests/parity/test_beam_encdec.c has transformers'.)
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "engine/run/row_bans.h"
#include "tests/support/unit.h"

#define V 8
#define START V /* no column: a start that is no token */

/* The columns that are banned, one bit each. */
static unsigned banned(const struct row_bans *b, const int32_t *made, int n)
{
    float row[V + 1] = {0};
    unsigned bits = 0;

    row_bans_apply(b, made, n, row);
    for (int i = 0; i <= V; i++)
        bits |= row[i] == -INFINITY ? 1u << i : 0;
    return bits;
}

static void test_row_bans_repeats_of_each_size(void **state)
{
    static const struct {
        int size, n;
        int32_t made[8];
        unsigned bits;
    } cases[] = {
        {0, 4, {1, 1, 1, 1}, 0},
        {1, 0, {0}, 0},
        {1, 3, {4, 2, 4}, 1u << 4 | 1u << 2},
        {2, 1, {4}, 0},
        {2, 4, {1, 2, 3, 1}, 1u << 2},
        {2, 5, {1, 2, 1, 3, 1}, 1u << 2 | 1u << 3},
        {2, 2, {5, 5}, 1u << 5},
        {3, 5, {1, 2, 3, 1, 2}, 1u << 3},
        {3, 5, {1, 2, 3, 2, 2}, 0},
        {4, 3, {1, 1, 1}, 0},
        {1 << 20, 8, {1, 1, 1, 1, 1, 1, 1, 1}, 0},
    };
    static const int32_t starts[] = {START, 7};

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        for (int k = 0; k < 2; k++) {
            const struct row_bans b = {.n_vocab = V,
                                       .no_repeat = cases[i].size,
                                       .prefix = &starts[k],
                                       .n_prefix = 1};
            unsigned bits = cases[i].bits;
            if (cases[i].size == 1 && k) /* a start that is a token counts */
                bits |= 1u << 7;
            assert_int_equal(banned(&b, cases[i].made, cases[i].n), bits);
        }
}

static void test_row_bans_ends_that_come_too_early(void **state)
{
    static const int32_t ends[] = {0, 6}, made[4] = {1, 2, 3, 4};
    const struct row_bans b = {
        .n_vocab = V, .min_new = 3, .end = ends, .n_end = 2};

    (void)state;
    for (int n = 0; n <= 4; n++)
        assert_int_equal(banned(&b, made, n), n < 3 ? 1u | 1u << 6 : 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row_bans_repeats_of_each_size),
        cmocka_unit_test(test_row_bans_ends_that_come_too_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
