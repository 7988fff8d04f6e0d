/* hash: the published vectors of SipHash-2-4 (Aumasson and Bernstein 2012,
 * appendix A and the reference implementation's table).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/hash.h"
#include "tests/support/unit.h"

static const uint64_t key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};

static void test_hash_siphash_published_vectors(void **state)
{
    static const struct {
        size_t n;
        uint64_t hash;
    } cases[] = {
        {0, 0x726fdb47dd0e0e31u},  {1, 0x74f839c593dc67fdu},
        {2, 0x0d6c8009d9a94f5au},  {3, 0x85676696d7fb7e2du},
        {15, 0xa129ca6149be45e5u}, /* the example of the paper */
    };
    unsigned char in[16];
    for (int i = 0; i < 16; i++)
        in[i] = (unsigned char)i;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_true(hash_siphash(key, in, cases[i].n) == cases[i].hash);
}

static void test_hash_key_is_one_per_process(void **state)
{
    uint64_t a[2] = {0, 0}, b[2] = {1, 1};
    hash_key(a);
    hash_key(b);
    assert_memory_equal(a, b, sizeof(a));
    assert_false(a[0] == 0 && a[1] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_siphash_published_vectors),
        cmocka_unit_test(test_hash_key_is_one_per_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
