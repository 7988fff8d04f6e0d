/* fuzz_wire: what comes over a connection: heads of requests and bodies in
 * chunks (fuzz_targets.h). What is accepted is read again in pieces and in the
 * plainest form that says the same, and by a second reader that trusts it.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "server/http/message_head.h"
#include "tests/support/fuzz_check.h"
#include "tests/support/fuzz_targets.h"

#define CUTS 4 /* places where an input is cut in two */

/* --- heads --- */

struct reading {
    char *p; /* that h points into */
    long rc;
    const char *wrong;
    struct message_head h;
};

/* The first n bytes, in two calls where `cut` is less, in a block of their
 * size. */
static struct reading read_cut(const uint8_t *data, size_t n, size_t cut)
{
    struct reading r = {.rc = 0};
    size_t seen = 0;
    r.p = mem_alloc(n + 1);
    must(r.p != NULL);
    if (n)
        memcpy(r.p, data, n);
    if (cut < n)
        r.rc = message_head_read(r.p, cut, &seen, &r.h, &r.wrong);
    if (r.rc == 0)
        r.rc = message_head_read(r.p, n, &seen, &r.h, &r.wrong);
    must(r.rc >= -1 && r.rc <= (long)n);
    must(r.rc >= 0 || (r.wrong && r.wrong[0]));
    must(r.rc <= 0 || memcmp(r.p + r.rc, data + r.rc, n - (size_t)r.rc) == 0);
    return r;
}

static void same_text(const char *a, const char *b)
{
    must((a == NULL) == (b == NULL) && (!a || strcmp(a, b) == 0));
}

static void same_head(const struct message_head *a,
                      const struct message_head *b)
{
    same_text(a->method, b->method);
    same_text(a->target, b->target);
    same_text(a->query, b->query);
    same_text(a->host, b->host);
    same_text(a->content_type, b->content_type);
    same_text(a->authorization, b->authorization);
    same_text(a->origin, b->origin);
    same_text(a->preflight, b->preflight);
    same_text(a->request_id, b->request_id);
    must(a->content_length == b->content_length && a->minor == b->minor);
    must(a->chunked == b->chunked && a->expect == b->expect);
    must(!a->closes == !b->closes);
}

/* Byte by byte: the word on it comes with the last byte of a head, or as soon
 * as it is known to be none. */
static void read_bytes(const uint8_t *data, size_t n, const struct reading *all)
{
    struct reading r = {.rc = 0};
    size_t seen = 0, k = 0;
    r.p = mem_alloc(n + 1);
    must(r.p != NULL);
    while (k < n && r.rc == 0) {
        r.p[k] = (char)data[k];
        r.rc = message_head_read(r.p, ++k, &seen, &r.h, &r.wrong);
    }
    must(r.rc == all->rc && (r.rc <= 0 || (size_t)r.rc == k));
    if (r.rc > 0)
        same_head(&r.h, &all->h);
    mem_free(r.p);
}

static void put_header(struct buf *b, const char *name, const char *value)
{
    if (value)
        buf_addf(b, "%s: %s\r\n", name, value);
}

static void read_plain_form(const struct message_head *h)
{
    struct buf b;
    buf_init(&b, FUZZ_MAX_OUT);
    buf_addf(&b, "%s %s%s%s HTTP/1.%d\r\n", h->method, h->target,
             h->query ? "?" : "", h->query ? h->query : "", h->minor);
    put_header(&b, "host", h->host);
    put_header(&b, "content-type", h->content_type);
    put_header(&b, "authorization", h->authorization);
    put_header(&b, "origin", h->origin);
    put_header(&b, "access-control-request-method", h->preflight);
    put_header(&b, "x-request-id", h->request_id);
    put_header(&b, "expect", h->expect ? "100-continue" : NULL);
    put_header(&b, "transfer-encoding", h->chunked ? "chunked" : NULL);
    if (h->content_length >= 0)
        buf_addf(&b, "content-length: %lld\r\n", (long long)h->content_length);
    put_header(&b, "connection", h->closes ? "close" : "keep-alive");
    buf_add_str(&b, "\r\n");
    struct reading r = read_cut((const uint8_t *)b.p, b.len, b.len);
    must(r.rc == (long)b.len);
    same_head(&r.h, h);
    mem_free(r.p);
    buf_fini(&b);
}

static int names(const uint8_t *line, const uint8_t *end, const char *name)
{
    size_t n = strlen(name);
    return (size_t)(end - line) > n && line[n] == ':' &&
           strncasecmp((const char *)line, name, n) == 0;
}

/* What nobody else could read in another way: whole lines, no blanks before a
 * colon, one word on where the body ends. */
static void check_lines(const uint8_t *p, const uint8_t *end,
                        const struct message_head *h)
{
    int n_length = 0, n_encoding = 0, n_host = 0, first = 1;
    while (p < end) {
        const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
        must(lf && lf > p && lf[-1] == '\r');
        for (const uint8_t *c = p; c < lf - 1; c++)
            must((*c >= 0x20 || *c == '\t') && *c != 0x7f);
        const uint8_t *colon = memchr(p, ':', (size_t)(lf - p));
        if (!first && lf - p > 1)
            must(colon && colon > p && *p != ' ' && *p != '\t' &&
                 colon[-1] != ' ' && colon[-1] != '\t');
        must(lf - p > 1 || lf + 1 == end);
        n_length += names(p, lf, "content-length");
        n_encoding += names(p, lf, "transfer-encoding");
        n_host += names(p, lf, "host");
        first = 0;
        p = lf + 1;
    }
    must(n_length + n_encoding <= 1 && n_host <= 1);
    must(n_host == 1 || h->minor == 0);
    must(n_length == (h->content_length >= 0) && n_encoding == h->chunked);
}

void fuzz_head(const uint8_t *data, size_t n)
{
    struct reading all = read_cut(data, n, n);
    uint64_t r = rng_hash(n, n ? data[n / 2] : 0);
    read_bytes(data, n, &all);
    for (int i = 0; i < CUTS && n > 1; i++) {
        struct reading two = read_cut(data, n, (size_t)(r % n));
        must(two.rc == all.rc);
        if (two.rc > 0)
            same_head(&two.h, &all.h);
        mem_free(two.p);
        r = rng_hash(r, 1);
    }
    if (all.rc > 0) {
        fuzz_taken++;
        check_lines(data, data + all.rc, &all.h);
        read_plain_form(&all.h);
    }
    mem_free(all.p);
}

/* --- chunks --- */

struct body {
    char *p; /* [n] */
    size_t n, used;
    int verdict; /* 1: complete, 0: more is needed, -1: refused */
};

/* Steps of so many bytes; 0: of a length that changes. */
static struct body body_of(const uint8_t *data, size_t n, size_t step)
{
    struct chunks c = {0};
    struct body b = {.verdict = 0};
    uint64_t r = n;
    int end = 0;
    b.p = mem_alloc(n + 1);
    must(b.p != NULL);
    while (b.used < n && !end) {
        const char *wrong = NULL;
        size_t k = step ? step : (size_t)(r = rng_hash(r, 2)) % 9 + 1, part;
        k = k < n - b.used ? k : n - b.used;
        const char *p = (const char *)data + b.used;
        long got = chunks_read(&c, p, k, &part, &end, &wrong);
        if (got < 0) {
            must(wrong && wrong[0]);
            b.verdict = -1;
            return b;
        }
        must(got > 0 && (size_t)got <= k && part <= (size_t)got);
        memcpy(b.p + b.n, p + got - part, part);
        b.n += part;
        b.used += (size_t)got;
    }
    b.verdict = end;
    return b;
}

static void same_body(const struct body *a, const struct body *b)
{
    must(a->verdict == b->verdict);
    if (a->verdict < 0)
        return;
    must(a->n == b->n && a->used == b->used && !memcmp(a->p, b->p, a->n));
}

/* A reader that believes all of it. */
static void read_trusting(const uint8_t *data, const struct body *b)
{
    const char *p = (const char *)data;
    size_t n = 0, size;
    while ((size = strtoull(p, NULL, 16)) > 0) {
        p = strchr(p, '\n') + 1;
        must(n + size <= b->n && memcmp(b->p + n, p, size) == 0);
        n += size;
        p += size + 2;
    }
    must(n == b->n);
}

static void write_again(const struct body *b)
{
    struct buf w;
    buf_init(&w, FUZZ_MAX_OUT);
    if (b->n > 0)
        buf_addf(&w, "%zX\r\n", b->n);
    buf_add(&w, b->p, b->n);
    buf_add_str(&w, b->n > 0 ? "\r\n0\r\n\r\n" : "0\r\n\r\n");
    struct body again = body_of((const uint8_t *)w.p, w.len, w.len);
    must(again.verdict == 1 && again.used == w.len);
    must(again.n == b->n && memcmp(again.p, b->p, b->n) == 0);
    mem_free(again.p);
    buf_fini(&w);
}

void fuzz_chunks(const uint8_t *data, size_t n)
{
    struct body all = body_of(data, n, n + 1), bytes = body_of(data, n, 1),
                parts = body_of(data, n, 0);
    same_body(&all, &bytes);
    same_body(&all, &parts);
    if (all.verdict == 1) {
        fuzz_taken++;
        read_trusting(data, &all);
        write_again(&all);
    }
    mem_free(all.p);
    mem_free(bytes.p);
    mem_free(parts.p);
}
