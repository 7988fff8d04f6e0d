/* mapped: the digest of a file is NIST's, for the examples of FIPS 180-4 and a
 * file that is read in portions.
 *
 * SPDX-License-Identifier: MIT */
#include <unistd.h>

#include <nettle/base16.h>
#include <nettle/sha2.h>

#include "engine/checkpoint/mapped.h"
#include "tests/support/unit.h"

static void digest(const char *text, size_t n, char hex[65])
{
    char path[] = "/tmp/seqd-mapped-XXXXXX";
    struct mapped m;
    struct sha256_ctx c;
    uint8_t out[SHA256_DIGEST_SIZE];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), n);
    close(fd);
    assert_int_equal(mapped_open(&m, path, 0, "file", NULL), 0);
    unlink(path); /* the digest is of the file that is mapped */
    sha256_init(&c);
    assert_int_equal(mapped_hash(&m, &c, NULL), 0);
    sha256_digest(&c, sizeof out, out);
    base16_encode_update(hex, sizeof out, out);
    hex[64] = 0;
    assert_int_equal(m.damaged, 0);
    mapped_close(&m);
}

static void test_mapped_hash_gives_published_digests(void **state)
{
    static char a[1000000];
    char hex[65];
    memset(a, 'a', sizeof a);
    digest("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223"
                             "b00361a396177a9cb410ff61f20015ad");
    digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, hex);
    assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039"
                             "a33ce45964ff2167f6ecedd419db06c1");
    digest(a, sizeof a, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67"
                             "f1809a48a497200e046d39ccc7112cd0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mapped_hash_gives_published_digests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
