/* client_id: who counts as one client.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "server/http/client_id.h"
#include "tests/support/unit.h"

static uint64_t id_of(const char *address, uint16_t port)
{
    if (strchr(address, ':')) {
        struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = port};
        assert_int_equal(inet_pton(AF_INET6, address, &a.sin6_addr), 1);
        return client_id_of_address((const struct sockaddr *)&a);
    }
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = port};
    assert_int_equal(inet_pton(AF_INET, address, &a.sin_addr), 1);
    return client_id_of_address((const struct sockaddr *)&a);
}

static void test_client_id_is_the_address_without_the_port(void **state)
{
    assert_true(id_of("10.0.0.1", 1) == id_of("10.0.0.1", 2));
    assert_true(id_of("10.0.0.1", 1) != id_of("10.0.0.2", 1));
    assert_true(id_of("::ffff:10.0.0.1", 1) == id_of("10.0.0.1", 1));
}

static void test_client_id_of_ipv6_is_the_network(void **state)
{
    assert_true(id_of("2001:db8:0:1::1", 1) == id_of("2001:db8:0:1:f::2", 1));
    assert_true(id_of("2001:db8:0:1::1", 1) != id_of("2001:db8:0:2::1", 1));
}

static void test_client_id_of_a_key_is_its_own(void **state)
{
    const char four[] = {10, 1, 1, 1, 0};
    assert_true(client_id_of_key("one") == client_id_of_key("one"));
    assert_true(client_id_of_key("one") != client_id_of_key("two"));
    /* The bytes of an address make no key of it. */
    assert_true(client_id_of_key(four) != id_of("10.1.1.1", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_id_is_the_address_without_the_port),
        cmocka_unit_test(test_client_id_of_ipv6_is_the_network),
        cmocka_unit_test(test_client_id_of_a_key_is_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
