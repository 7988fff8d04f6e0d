/* sha256: the examples of FIPS 180-4 and NIST's test vectors.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/sha256.h"

static void digest(const char *s, size_t n, size_t step, char hex[65])
{
    char portable[65];
    uint8_t out[32];
    for (int way = 0; way < 2; way++) { /* the CPU's, plain C */
        struct sha256 c;
        sha256_init(&c);
        if (way)
            sha256_init_portable(&c);
        for (size_t i = 0; i < n; i += step)
            sha256_add(&c, s + i, n - i < step ? n - i : step);
        sha256_finish(&c, out);
        sha256_hex(out, way ? portable : hex);
    }
    assert_string_equal(hex, portable);
}

static void test_sha256_published_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *in, *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb924"
             "27ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223"
                "b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char hex[65];
        digest(cases[i].in, strlen(cases[i].in), 1000, hex);
        assert_string_equal(hex, cases[i].hex);
    }
}

static void test_sha256_million_a_in_any_portions(void **state)
{
    (void)state;
    static char a[1000000];
    static const size_t steps[] = {1000000, 64, 63, 65, 4097};
    memset(a, 'a', sizeof(a));
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        char hex[65];
        digest(a, sizeof(a), steps[i], hex);
        assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67"
                                 "f1809a48a497200e046d39ccc7112cd0");
    }
}

/* Both sides of where the padding needs a block of its own. */
static void test_sha256_portions_agree_around_the_padding(void **state)
{
    (void)state;
    char text[130];
    memset(text, 'x', sizeof(text));
    for (size_t n = 50; n < sizeof(text); n++) {
        char whole[65], parts[65];
        digest(text, n, 1000, whole);
        digest(text, n, 7, parts);
        assert_string_equal(whole, parts);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256_published_vectors),
        cmocka_unit_test(test_sha256_million_a_in_any_portions),
        cmocka_unit_test(test_sha256_portions_agree_around_the_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
