/* tok_13a: see tok_13a.h. The expressions look at characters of ASCII and the
 * ones beside them, of which a byte says as much.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/tok_13a.h"

#include <string.h>

#include "engine/base/utf8.h"

#define MAX_BYTES ((size_t)1 << 31)

int tok_13a_is_space(uint32_t cp)
{
    return utf8_is_space(cp) || (cp >= 0x1c && cp <= 0x1f);
}

size_t tok_13a_word(const char *s, size_t n, size_t *at)
{
    size_t first = n;
    for (size_t i = *at; i < n;) {
        uint32_t cp = 0;
        int len = utf8_next(s + i, n - i, &cp);
        int space = len > 0 && tok_13a_is_space(cp);
        if (space && first < n) {
            *at = first;
            return i - first;
        }
        if (!space && first == n)
            first = i;
        i += (size_t)(len > 0 ? len : 1);
    }
    *at = first;
    return n - first;
}

/* The length of s [n] without the white space at its end. */
static size_t without_end(const char *s, size_t n)
{
    size_t end = 0;
    for (size_t at = 0, len; (len = tok_13a_word(s, n, &at)) > 0; at = end)
        end = at + len;
    return end;
}

static void replace(const struct buf *in, const char *from, const char *to,
                    struct buf *out)
{
    size_t k = strlen(from);
    buf_clear(out);
    for (size_t i = 0; i < in->len;) {
        if (in->len - i >= k && memcmp(in->p + i, from, k) == 0) {
            buf_add_str(out, to);
            i += k;
        } else {
            buf_add_char(out, in->p[i++]);
        }
    }
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int is_point(char c)
{
    return c == '.' || c == ',';
}

/* [\{-\~\[-\` -\&\(-\+\:-\@\/] */
static int is_mark(char c)
{
    return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') ||
           (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') ||
           (c >= ':' && c <= '@') || c == '/';
}

/* A mark stands alone. */
static void part_marks(const struct buf *in, struct buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < in->len; i++) {
        int mark = is_mark(in->p[i]);
        if (mark)
            buf_add_char(out, ' ');
        buf_add_char(out, in->p[i]);
        if (mark)
            buf_add_char(out, ' ');
    }
}

/* What is done with a pair of neighbours: spaces put before, between, behind.
 */
struct rule {
    int (*fits)(char a, char b);
    int before, between, behind;
};

/* Pairs do not overlap: what was taken for one is not looked at again. */
static void part_pairs(const struct rule *r, const struct buf *in,
                       struct buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < in->len; i++) {
        if (i + 1 == in->len || !r->fits(in->p[i], in->p[i + 1])) {
            buf_add_char(out, in->p[i]);
            continue;
        }
        if (r->before)
            buf_add_char(out, ' ');
        buf_add_char(out, in->p[i++]);
        if (r->between)
            buf_add_char(out, ' ');
        buf_add_char(out, in->p[i]);
        if (r->behind)
            buf_add_char(out, ' ');
    }
}

static int ends_in_point(char a, char b)
{
    return !is_digit(a) && is_point(b);
}

static int begins_with_point(char a, char b)
{
    return is_point(a) && !is_digit(b);
}

static int is_dash_behind_digit(char a, char b)
{
    return is_digit(a) && b == '-';
}

static const char *const replaced[][2] = {
    {"<skipped>", ""}, {"-\n", ""},   {"\n", " "},   {"&quot;", "\""},
    {"&amp;", "&"},    {"&lt;", "<"}, {"&gt;", ">"},
};
static const struct rule rules[] = {
    {ends_in_point, 0, 1, 1},
    {begins_with_point, 1, 1, 0},
    {is_dash_behind_digit, 0, 1, 1},
};

/* What was made is what is read next; 1 where it could not be made. */
static int swap(struct buf *a, struct buf *b)
{
    struct buf c = *a;
    *a = *b;
    *b = c;
    return a->failed;
}

int tok_13a_run(const char *s, size_t n, struct buf *out, struct err *e)
{
    struct buf a, b;
    buf_init(&a, MAX_BYTES);
    buf_init(&b, MAX_BYTES);
    int failed = buf_add(&a, s, without_end(s, n)) != 0;
    for (size_t i = 0; i < sizeof replaced / sizeof *replaced; i++) {
        replace(&a, replaced[i][0], replaced[i][1], &b);
        failed |= swap(&a, &b);
    }
    buf_clear(&b);
    buf_add_char(&b, ' ');
    buf_add(&b, a.p, a.len);
    failed |= buf_add_char(&b, ' ') != 0;
    part_marks(&b, &a);
    failed |= a.failed;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        part_pairs(&rules[i], &a, &b);
        failed |= swap(&a, &b);
    }
    failed |= buf_add(out, a.p, a.len) != 0;
    buf_fini(&a);
    buf_fini(&b);
    return failed ? err_nomem(e) : 0;
}
