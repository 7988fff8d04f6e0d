/* message_head: whatever two parsers could read differently is refused; what
 * is read does not depend on how the bytes come.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/message_head.h"
#include "tests/support/unit.h"

#define GET "GET / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"

/* A head with NULs in it: its bytes are counted. */
#define BYTES(text) text, sizeof text - 1

static const struct {
    const char *text;
    size_t n;
    int ok;
    int64_t length;
} heads[] = {
    {BYTES(GET HOST "\r\n"), 1, -1},
    {BYTES("GET / HTTP/1.0\r\n\r\n"), 1, -1},
    {BYTES(GET HOST "Content-Length: 0\r\n\r\n"), 1, 0},
    {BYTES(GET HOST "CONTENT-LENGTH:12 \t\r\n\r\n"), 1, 12},
    {BYTES(GET HOST "Transfer-Encoding: Chunked\r\n\r\n"), 1, -1},
    {BYTES(GET HOST "Content-Length: 999999999999999999\r\n\r\n"), 1,
     999999999999999999},
    {BYTES(GET HOST "X-Content-Length: 1\r\nX: \xc3\xa9\tb\r\n\r\n"), 1, -1},
    {BYTES(GET "Host: [::1]:80\r\n\r\n"), 1, -1},
    {BYTES(GET "Host:\r\n\r\n"), 1, -1},
    {BYTES("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), 1, -1},
    {BYTES("get / HTTP/1.1\r\n" HOST "\r\n"), 1, -1},
    {BYTES("GET /a%20b?c=%zz HTTP/1.1\r\n" HOST "\r\n"), 1, -1},
    {BYTES(GET HOST "Expect: 100-Continue\r\n\r\n"), 1, -1},
    {BYTES(GET "Host: localhost:65535\r\n\r\n"), 1, -1},
    {BYTES("GET http://[::1]:80/ HTTP/1.1\r\n" HOST "\r\n"), 1, -1},
    {BYTES("M-SEARCH / HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("P0ST / HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET /a%zz HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET /a%2?b HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES(GET HOST "Expect: 200-ok\r\n\r\n"), 0, 0},
    {BYTES(GET "Host: localhost:65536\r\n\r\n"), 0, 0},
    {BYTES(GET "Host: localhost:8o\r\n\r\n"), 0, 0},
    /* what frames a body, twice or in another way */
    {BYTES(GET HOST "Content-Length: 1000000000000000000\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "Content-Length: 1\r\ncontent-length: 2\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
     0, 0},
    {BYTES(GET HOST "Transfer-Encoding: chunked\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n"),
     0, 0},
    {BYTES(GET HOST "Transfer-Encoding: chunked, identity\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "Transfer-Encoding:\r\n\r\n"), 0, 0},
    {BYTES("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "Content-Length:\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "Content-Length: +1\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "Content-Length: 1,1\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "Content-Length : 1\r\n\r\n"), 0, 0},
    /* names, values and lines */
    {BYTES(GET HOST ": 1\r\n\r\n"), 0, 0},
    {BYTES(GET ": 1\r\n" HOST "\r\n"), 0, 0},
    {BYTES(GET HOST "X\x01: 1\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "X Y: 1\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "no colon\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "X: a\nb\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "X: a\rb\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "X: a\0b\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "X: a\x7f\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "X: a\x1b[0m\r\n\r\n"), 0, 0},
    {BYTES(GET HOST "X: a\r\n b\r\n\r\n"), 0, 0},
    {BYTES(GET " " HOST "\r\n"), 0, 0},
    {BYTES("GET / HTTP/1.1\n" HOST "\r\n"), 0, 0},
    {BYTES(GET HOST "\n"), 0, 0},
    {BYTES(GET "Host: a\n\r\n"), 0, 0},
    {BYTES(GET HOST "Transfer-Encoding: chunked\0zzz\r\n\r\n"), 0, 0},
    /* the host */
    {BYTES(GET "\r\n"), 0, 0},
    {BYTES(GET HOST HOST "\r\n"), 0, 0},
    {BYTES(GET "Host: a b\r\n\r\n"), 0, 0},
    {BYTES(GET "Host: a/b\r\n\r\n"), 0, 0},
    {BYTES(GET "Host: a:8x\r\n\r\n"), 0, 0},
    {BYTES(GET "Host: a@b\r\n\r\n"), 0, 0},
    {BYTES(GET "Host: [::1\r\n\r\n"), 0, 0},
    {BYTES("GET / HTTP/1.0\r\nHost: \"a\"\r\n\r\n"), 0, 0},
    {BYTES(GET "Host: a%zz\r\n\r\n"), 0, 0},
    {BYTES(GET "Host: a%4\r\n\r\n"), 0, 0},
    {BYTES(GET "Host: a%4a\r\n\r\n"), 1, -1},
    /* the request line */
    {BYTES("GET version HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET *x HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET  / HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET / HTTP/1.1 \r\n" HOST "\r\n"), 0, 0},
    {BYTES(" GET / HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET\t/\tHTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET /\r\n" HOST "\r\n"), 0, 0},
    {BYTES("G=T / HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET /\0x HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET /\xff HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET /#x HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET / HTTP/1.2\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET / HTTP/2.0\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET / http/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET http:///x HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET http://a@b/ HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET http://a:b@c/ HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("GET http://[::1/ HTTP/1.1\r\n" HOST "\r\n"), 0, 0},
    {BYTES("\r\n\r\n"), 0, 0},
};

/* All at once, and byte by byte: the same word on it, and nothing before all
 * of it is there but a refusal. */
static void test_head_is_read_strictly(void **state)
{
    for (size_t i = 0; i < COUNT(heads); i++) {
        struct message_head h;
        const char *wrong = NULL;
        char text[512], part[512];
        size_t seen = 0, n = heads[i].n;
        memcpy(text, heads[i].text, n);
        long all = message_head_read(text, n, &seen, &h, &wrong);
        if ((all > 0) != heads[i].ok)
            fail_msg("row %zu: %s", i, wrong ? wrong : "accepted");
        if (heads[i].ok) {
            assert_int_equal(all, n);
            assert_int_equal(h.content_length, heads[i].length);
        } else {
            assert_int_equal(all, -1);
            assert_non_null(wrong);
        }
        long got = 0;
        seen = 0;
        for (size_t k = 1; k <= n && got == 0; k++) {
            memcpy(part, heads[i].text, k);
            got = message_head_read(part, k, &seen, &h, &wrong);
            assert_true(got <= 0 || k == n);
        }
        assert_int_equal(got, all);
    }
}

static void test_head_keeps_what_handlers_need(void **state)
{
    char text[] = "POST /a?b HTTP/1.1\r\nhost: x:1\r\n"
                  "content-type: application/json\r\nORIGIN: https://a\r\n"
                  "Authorization: Bearer x \r\nX-Request-ID:id\r\n"
                  "Expect: 100-continue\r\nConnection: te, Close\r\n\r\nbody";
    struct message_head h;
    const char *wrong;
    size_t seen = 0;
    long n = message_head_read(text, sizeof text - 1, &seen, &h, &wrong);
    assert_string_equal(text + n, "body");
    assert_string_equal(h.method, "POST");
    assert_string_equal(h.target, "/a");
    assert_string_equal(h.query, "b");
    assert_string_equal(h.host, "x:1");
    assert_string_equal(h.content_type, "application/json");
    assert_string_equal(h.origin, "https://a");
    assert_string_equal(h.authorization, "Bearer x");
    assert_string_equal(h.request_id, "id");
    assert_true(h.expect && h.closes && !h.chunked && h.minor == 1);
}

/* The host that a target names counts, not the header (RFC 9112, 3.2.2). */
static void test_head_takes_the_host_of_a_whole_url(void **state)
{
    static const struct {
        const char *target, *host, *path;
    } rows[] = {{"/a", "a", "/a"},
                {"http://b/a", "b", "/a"},
                {"HTTPS://b.c:8080/a/b", "b.c:8080", "/a/b"},
                {"http://[::1]:1?x", "[::1]:1", "/"},
                {"http://b", "b", "/"},
                {"ftp://b/a", "a", "ftp://b/a"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct message_head h;
        const char *wrong;
        char text[256];
        size_t seen = 0;
        int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" HOST "\r\n",
                         rows[i].target);
        assert_int_equal(message_head_read(text, (size_t)n, &seen, &h, &wrong),
                         n);
        assert_string_equal(h.host, rows[i].host);
        assert_string_equal(h.target, rows[i].path);
    }
}

static void test_head_of_the_old_version_closes(void **state)
{
    static const struct {
        const char *text;
        int closes;
    } rows[] = {{"GET / HTTP/1.0\r\n\r\n", 1},
                {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 0},
                {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", 1},
                {GET HOST "\r\n", 0},
                {GET HOST "Connection: closed\r\n\r\n", 0},
                {GET HOST "Connection: close\r\n\r\n", 1}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct message_head h;
        const char *wrong;
        char text[256];
        size_t seen = 0, n = strlen(rows[i].text);
        memcpy(text, rows[i].text, n);
        assert_int_equal(message_head_read(text, n, &seen, &h, &wrong), n);
        assert_int_equal(h.closes != 0, rows[i].closes);
    }
}

/* --- chunks --- */

/* The body of p [n], read in steps of so many bytes: its length, -1 when it is
 * refused, -2 when more is needed. */
static long body_of(const char *p, size_t n, size_t step, char *body,
                    size_t *used)
{
    struct chunks c = {0};
    const char *wrong;
    long length = 0;
    int end = 0;
    *used = 0;
    while (*used < n && !end) {
        size_t k = n - *used < step ? n - *used : step, data;
        long got = chunks_read(&c, p + *used, k, &data, &end, &wrong);
        if (got < 0)
            return -1;
        assert_true(got > 0 && (size_t)got <= k && data <= (size_t)got);
        memcpy(body + length, p + *used + got - data, data);
        length += (long)data;
        *used += (size_t)got;
    }
    return end ? length : -2;
}

static void test_chunks_are_read_strictly(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        long length;
    } rows[] = {
        {BYTES("0\r\n\r\n"), 0},
        {BYTES("5\r\nhello\r\n0\r\n\r\n"), 5},
        {BYTES("5;a=\"b\"\r\nhello\r\n00\r\n\r\n"), 5},
        {BYTES("A\r\n0123456789\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n"), 13},
        {BYTES("5\r\nhell"), -2},
        {BYTES("5\r\nhello\r\n0\r\n"), -2},
        {BYTES("5\nhello\r\n0\r\n\r\n"), -1},
        {BYTES("5;a\nhello\r\n0\r\n\r\n"), -1},
        {BYTES("5\r\nhello\n0\r\n\r\n"), -1},
        {BYTES("5\r\nhello0\r\n\r\n"), -1},
        {BYTES("5\r\nhello\r\n0\n\n"), -1},
        {BYTES("5\r\nhello\r\n0\r\n\n"), -1},
        {BYTES("5 \r\nhello\r\n0\r\n\r\n"), -1},
        {BYTES(" 5\r\nhello\r\n0\r\n\r\n"), -1},
        {BYTES("+5\r\nhello\r\n0\r\n\r\n"), -1},
        {BYTES("0x5\r\nhello\r\n0\r\n\r\n"), -1},
        {BYTES(";a\r\nhello\r\n0\r\n\r\n"), -1},
        {BYTES("\r\n0\r\n\r\n"), -1},
        {BYTES("8000000000000000\r\n"), -1},
        {BYTES("10000000000000005\r\nhello\r\n0\r\n\r\n"), -1},
        {BYTES("5;\0\r\nhello\r\n0\r\n\r\n"), -1},
        {BYTES("0\r\nX: a\nY: b\r\n\r\n"), -1},
        {BYTES("0\r\n X: a\r\n\r\n"), -1},
        {BYTES("0\r\nX: a\r\nY:\r\n\r\n"), 0},
        {BYTES("0\r\nX\r\n\r\n"), -1},
        {BYTES("0\r\n: a\r\n\r\n"), -1},
        {BYTES("0\r\nX : a\r\n\r\n"), -1},
        {BYTES("0\r\nX: a\r\n b\r\n\r\n"), -1},
        /* what a program that merges trailers would read in the head */
        {BYTES("0\r\nContent-Length: 5\r\n\r\n"), -1},
        {BYTES("0\r\nX: a\r\ntransfer-ENCODING:chunked\r\n\r\n"), -1},
        {BYTES("0\r\nhost: b\r\n\r\n"), -1},
        {BYTES("0\r\nAuthorization: Bearer b\r\n\r\n"), -1},
        {BYTES("0\r\nHos: b\r\nhosts: b\r\nXHost: b\r\n\r\n"), 0},
        {BYTES("0\r\nContent-Length-Of-Another-Kind: 5\r\n\r\n"), 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t step = 1; step <= rows[i].n; step++) {
            char body[64];
            size_t used;
            long n = body_of(rows[i].text, rows[i].n, step, body, &used);
            if (n != rows[i].length)
                fail_msg("row %zu in steps of %zu: %ld", i, step, n);
            if (n >= 0)
                assert_int_equal(used, rows[i].n);
        }
    char body[64];
    size_t used;
    assert_int_equal(body_of(BYTES("3\r\nabc\r\n0\r\n\r\nGET"), 9, body, &used),
                     3);
    assert_memory_equal(body, "abc", 3);
    assert_int_equal(used, 13); /* the next request begins there */
}

static void test_chunks_have_bounds(void **state)
{
    static char text[8192];
    char body[1];
    size_t used;
    int n = snprintf(text, sizeof text, "5;");
    memset(text + n, 'a', sizeof text - (size_t)n);
    assert_int_equal(body_of(text, sizeof text, 64, body, &used), -1);
    n = snprintf(text, sizeof text, "0\r\nX: ");
    memset(text + n, 'a', sizeof text - (size_t)n);
    assert_int_equal(body_of(text, sizeof text, 64, body, &used), -1);
    /* of all chunks together: many short ones are no way around them */
    static const char chunk[] = "1;aaaaaaaaaaaaaaaa\r\nx\r\n";
    static char many[512], whole[512 * sizeof chunk];
    size_t size = sizeof chunk - 1, k;
    for (k = 0; k < 512; k++)
        memcpy(whole + k * size, chunk, size);
    assert_int_equal(body_of(whole, 512 * size, 4096, many, &used), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_is_read_strictly),
        cmocka_unit_test(test_head_keeps_what_handlers_need),
        cmocka_unit_test(test_head_takes_the_host_of_a_whole_url),
        cmocka_unit_test(test_head_of_the_old_version_closes),
        cmocka_unit_test(test_chunks_are_read_strictly),
        cmocka_unit_test(test_chunks_have_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
