/* message_head: the filter refuses whatever two parsers could read differently.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/message_head.h"
#include "tests/support/unit.h"

struct row {
    const char *h[6][2];
    const char *version;
    int ok;
    int64_t length;
};

static void test_head_framing(void **state)
{
    static const struct row rows[] = {
        {{{"Host", "a"}}, "HTTP/1.1", 1, -1},
        {{{"Host", "a"}, {"Content-Length", "0"}}, "HTTP/1.1", 1, 0},
        {{{"Host", "a"}, {"CONTENT-LENGTH", "12"}}, "HTTP/1.1", 1, 12},
        {{{"Host", "a"}, {"Transfer-Encoding", "Chunked"}}, "HTTP/1.1", 1, -1},
        {{{"Content-Length", "999999999999999999"}},
         "HTTP/1.1",
         1,
         999999999999999999},
        {{{"Content-Length", "1000000000000000000"}}, "HTTP/1.1", 0, 0},
        {{{"Content-Length", "1"}, {"Content-Length", "1"}}, "HTTP/1.1", 0, 0},
        {{{"Content-Length", "1"}, {"content-length", "2"}}, "HTTP/1.1", 0, 0},
        {{{"Content-Length", "1"}, {"Transfer-Encoding", "chunked"}},
         "HTTP/1.1",
         0,
         0},
        {{{"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}},
         "HTTP/1.1",
         0,
         0},
        {{{"Transfer-Encoding", "chunked, identity"}}, "HTTP/1.1", 0, 0},
        {{{"Transfer-Encoding", ""}}, "HTTP/1.1", 0, 0},
        {{{"Transfer-Encoding", "chunked"}}, "HTTP/1.0", 0, 0},
        {{{"Host", "a"}, {"host", "a"}}, "HTTP/1.1", 0, 0},
        {{{"Content-Length", ""}}, "HTTP/1.1", 0, 0},
        {{{"Content-Length", "1 "}}, "HTTP/1.1", 0, 0},
        {{{"Content-Length", "+1"}}, "HTTP/1.1", 0, 0},
        {{{"Content-Length", "1,1"}}, "HTTP/1.1", 0, 0},
        {{{"Content-Length ", "1"}}, "HTTP/1.1", 0, 0},
        {{{"", "1"}}, "HTTP/1.1", 0, 0},
        {{{"X\x01", "1"}}, "HTTP/1.1", 0, 0},
        {{{"X", "a\nb"}}, "HTTP/1.1", 0, 0},
        {{{"Content-Length0", "1"}}, "HTTP/1.1", 0, 0},
        {{{"transfer-encodingchunked", ""}}, "HTTP/1.1", 0, 0},
        {{{"X-Content-Length", "1"}}, "HTTP/1.1", 1, -1},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct message_head h;
        struct scan s = {.head = &h};
        memset(&h, 0, sizeof h);
        for (int k = 0; k < 6 && rows[i].h[k][0]; k++)
            scan_add(&s, rows[i].h[k][0], rows[i].h[k][1]);
        const char *wrong = scan_end(&s, rows[i].version);
        if ((wrong == NULL) != rows[i].ok)
            print_error("row %zu: %s\n", i, wrong ? wrong : "accepted");
        assert_int_equal(wrong == NULL, rows[i].ok);
        if (rows[i].ok)
            assert_int_equal(h.content_length, rows[i].length);
    }
}

static void test_head_keeps_what_handlers_need(void **state)
{
    struct message_head h;
    struct scan s = {.head = &h};
    memset(&h, 0, sizeof h);
    scan_add(&s, "content-type", "application/json");
    scan_add(&s, "ORIGIN", "https://a");
    scan_add(&s, "Authorization", "Bearer x");
    scan_add(&s, "X-Request-ID", "id");
    scan_add(&s, "Expect", "100-continue");
    assert_null(scan_end(&s, "HTTP/1.1"));
    assert_string_equal(h.content_type, "application/json");
    assert_string_equal(h.origin, "https://a");
    assert_string_equal(h.authorization, "Bearer x");
    assert_string_equal(h.request_id, "id");
    assert_true(h.expect);
    assert_false(h.chunked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_framing),
        cmocka_unit_test(test_head_keeps_what_handlers_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
