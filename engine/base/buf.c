/* buf: see buf.h. The text of numbers is in buf_num.c.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"

void buf_init(struct buf *b, size_t max)
{
    memset(b, 0, sizeof *b);
    b->max = max;
}

void buf_fini(struct buf *b)
{
    mem_free(b->p);
    b->p = NULL;
    b->len = b->cap = 0;
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = b->full = 0;
    if (b->p)
        b->p[0] = 0;
}

char *buf_take(struct buf *b)
{
    char *p = b->p;
    b->p = NULL;
    b->len = b->cap = 0;
    return p;
}

/* Make room for n more bytes and the NUL. */
static int reserve(struct buf *b, size_t n)
{
    if (b->failed)
        return -1;
    if (n > b->max || b->len > b->max - n) {
        b->failed = b->full = 1;
        return -1;
    }
    size_t need = b->len + n + 1;
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap < 64 ? 128 : b->cap * 2;
    if (cap < need)
        cap = need;
    if (cap - 1 > b->max)
        cap = b->max + 1;
    char *p = mem_grow(b->p, cap, 1);
    if (!p) {
        b->failed = 1;
        return -1;
    }
    b->p = p;
    b->cap = cap;
    return 0;
}

int buf_add(struct buf *b, const void *p, size_t n)
{
    if (reserve(b, n))
        return -1;
    if (n)
        memcpy(b->p + b->len, p, n);
    b->len += n;
    b->p[b->len] = 0;
    return 0;
}

int buf_add_str(struct buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}

int buf_add_char(struct buf *b, char c)
{
    return buf_add(b, &c, 1);
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
    char text[256];
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    int rc = -1;
    if (n < 0) {
        b->failed = 1;
    } else if ((size_t)n < sizeof(text)) {
        rc = buf_add(b, text, (size_t)n);
    } else if (reserve(b, (size_t)n) == 0) {
        vsnprintf(b->p + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
        rc = 0;
    }
    va_end(again);
    return rc;
}

/* The two-character escape of c, or 0. */
static char short_escape(unsigned char c)
{
    switch (c) {
    case '"':
    case '\\':
        return (char)c;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

static int add_escaped(struct buf *b, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char two = short_escape(c);
    if (two) {
        char esc[2] = {'\\', two};
        return buf_add(b, esc, 2);
    }
    char esc[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    return buf_add(b, esc, 6);
}

int buf_add_json_string(struct buf *b, const char *s, size_t n)
{
    size_t before = b->len;
    size_t from = 0, i = 0;
    buf_add_char(b, '"');
    while (i < n) {
        unsigned char c = (unsigned char)s[i];
        uint32_t cp;
        int len = c < 0x80 ? 1 : utf8_next(s + i, n - i, &cp);
        if (len > 1 || (len == 1 && c >= 0x20 && c != '"' && c != '\\')) {
            i += (size_t)len;
            continue;
        }
        buf_add(b, s + from, i - from);
        if (len == 0)
            buf_add_str(b, "\xef\xbf\xbd");
        else
            add_escaped(b, c);
        from = ++i;
    }
    buf_add(b, s + from, n - from);
    buf_add_char(b, '"');
    if (b->failed && b->p && b->len > before) {
        b->len = before; /* as it was: no half strings */
        b->p[before] = 0;
    }
    return b->failed ? -1 : 0;
}
