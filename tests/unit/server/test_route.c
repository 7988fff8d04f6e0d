/* route and reply: their tables and server/api/openapi.yaml say the same.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/json.h"
#include "server/api/reply.h"
#include "server/api/route.h"
#include "server/assets.h"
#include "tests/support/unit.h"

static struct json *contract(void)
{
    struct json *j = NULL;
    assert_int_equal(json_parse((const char *)asset_openapi, asset_openapi_len,
                                NULL, &j, NULL),
                     0);
    return j;
}

static void test_route_table_is_the_contract(void **state)
{
    struct json *j = contract();
    const struct json *paths = json_get(j, "paths");
    int n = 0;
    for (; route_at(n); n++) {
        const struct route *r = route_at(n);
        const struct json *p = json_get(paths, r->path);
        if (!p)
            print_error("%s is not in the contract\n", r->path);
        assert_non_null(p);
        assert_non_null(json_get(p, r->method == METHOD_POST ? "post" : "get"));
        assert_int_equal(json_size(p), 1);
        /* The probes and the page say that they are open. */
        assert_int_equal(json_get(json_child(p), "security") != NULL,
                         (r->flags & ROUTE_OPEN) != 0);
    }
    assert_int_equal(json_size(paths), n);
    json_free(j);
}

static void test_route_work_waits_for_the_models(void **state)
{
    for (int i = 0; route_at(i); i++)
        assert_int_equal(route_at(i)->method == METHOD_POST,
                         (route_at(i)->flags & ROUTE_READY) != 0);
}

static void test_reply_error_table_is_the_contract(void **state)
{
    struct json *j = contract();
    const struct json *s =
        json_get(json_get(json_get(j, "components"), "schemas"), "ErrorCode");
    const struct json *status = json_get(s, "x-status");
    const struct json *name = json_child(json_get(s, "enum"));
    const char *reason;
    int want, n = 0;
    for (; reply_reason(n, &reason, &want); n++) {
        assert_non_null(json_get(status, reason));
        assert_int_equal((int)json_number(json_get(status, reason)), want);
        assert_non_null(name);
        assert_string_equal(json_string(name), reason);
        name = json_next(name);
    }
    assert_null(name);
    assert_int_equal(json_size(status), n);
    json_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route_table_is_the_contract),
        cmocka_unit_test(test_route_work_waits_for_the_models),
        cmocka_unit_test(test_reply_error_table_is_the_contract),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
