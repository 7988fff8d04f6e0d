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
        int posts = r->method == METHOD_POST;
        const struct json *m = json_get(p, posts ? "post" : "get");
        assert_non_null(m);
        assert_non_null(json_get(p, "options"));
        assert_int_equal(json_get(p, "head") != NULL, !posts);
        assert_int_equal(json_size(p),
                         (posts ? 2 : 3) + (json_get(p, "parameters") != NULL));
        /* The probes and the page say that they are open. */
        for (m = json_child(p); m; m = json_next(m))
            if (strcmp(json_key(m), "parameters") != 0)
                assert_int_equal(json_get(m, "security") != NULL,
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

/* The enum of error.code in the second part of an answer's schema. */
static const struct json *codes_of(const struct json *answer)
{
    static const char *const way[] = {"properties", "error", "properties",
                                      "code", "enum"};
    const struct json *j = json_get(answer, "content");
    j = json_get(json_get(j, "application/json"), "schema");
    j = json_next(json_child(json_get(j, "allOf")));
    for (size_t i = 0; i < COUNT(way); i++)
        j = json_get(j, way[i]);
    return j;
}

static int lists(const struct json *names, const char *name)
{
    int n = 0;
    for (const struct json *x = json_child(names); x; x = json_next(x))
        n += !strcmp(json_string(x), name);
    return n;
}

/* components/responses/STATUS lists the codes of that status, no others. */
static void test_answers_of_a_status_list_its_codes(void **state)
{
    struct json *j = contract();
    const struct json *all = json_get(json_get(j, "components"), "responses");
    const char *reason;
    int want, n = 0, listed = 0;
    for (; reply_reason(n, &reason, &want); n++) {
        char status[8];
        snprintf(status, sizeof status, "%d", want);
        int found = lists(codes_of(json_get(all, status)), reason);
        if (!found && want != 499) /* no client sees that one */
            fail_msg("%s is not in the answer %d", reason, want);
        listed += found;
    }
    for (const struct json *r = json_child(all); r; r = json_next(r))
        listed -= json_size(codes_of(r));
    assert_int_equal(listed, 0);
    json_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route_table_is_the_contract),
        cmocka_unit_test(test_route_work_waits_for_the_models),
        cmocka_unit_test(test_reply_error_table_is_the_contract),
        cmocka_unit_test(test_answers_of_a_status_list_its_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
