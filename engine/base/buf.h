/* buf: a growing byte buffer with a mandatory cap (curl's dynbuf idea). A
 * failed append sets `failed` and leaves the content as it was; later appends
 * do nothing, so a writer checks once, at the end. Not thread-safe.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_BUF_H
#define SEQD_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
    char *p; /* NUL-terminated when not NULL */
    size_t len, cap, max;
    int failed; /* 0, or 1 after out of memory or over max */
    int full;   /* 1: it was over max */
};

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);
void buf_clear(struct buf *b); /* keeps the block and max */
char *buf_take(struct buf *b); /* ownership of p; b is empty after */
int buf_add(struct buf *b, const void *p, size_t n); /* 0 or -1 */
int buf_add_str(struct buf *b, const char *s);
int buf_add_char(struct buf *b, char c);
int buf_addf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* JSON output. A string is written with quotes and RFC 8259 escapes; bytes
 * that are not UTF-8 become U+FFFD. Numbers are the shortest text that reads
 * back as the same value; a float is shortest as a float (0.1f is 0.1); NaN
 * and infinities are written as null. */
int buf_add_json_string(struct buf *b, const char *s, size_t n);
int buf_add_double(struct buf *b, double v);
int buf_add_float(struct buf *b, float v);
int buf_add_int(struct buf *b, int64_t v);

#endif
