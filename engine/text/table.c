/* table: see table.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/table.h"

#include <string.h>
#include <strings.h>

static const char *const texts[] = {"text", "sentence", "review", "content",
                                    NULL};
static const char *const labels[] = {"label", "sentiment", "class", "target",
                                     NULL};

/* Does a field end here? A carriage return before a line feed is its end. */
static int at_end(const struct table *t, const char *p)
{
    if (p < t->end && *p == '\r' && (p + 1 == t->end || p[1] == '\n'))
        return 1;
    return p == t->end || *p == t->sep || *p == '\n';
}

/* The quoted field at p, which is its opening quote: what is after its closing
 * one, NULL when it has none where a field ends. In TSV one that would hold a
 * tab and a line feed is rather two quotes in two rows. */
static const char *quoted(const struct table *t, const char *p, struct buf *out,
                          int64_t *lines)
{
    int tabs = 0;
    *lines = 0;
    buf_add(out, "", 0); /* an empty one is a text, too */
    for (p++; p < t->end; p++) {
        if (*p == '"' && p + 1 < t->end && p[1] == '"')
            p++;
        else if (*p == '"')
            return at_end(t, p + 1) ? p + 1 : NULL;
        *lines += *p == '\n';
        tabs += *p == '\t';
        if (t->sep == '\t' && tabs > 0 && *lines > 0)
            return NULL;
        buf_add_char(out, *p);
    }
    return NULL;
}

static int field(struct table *t, struct buf *out, struct err *e)
{
    int64_t lines;
    buf_clear(out);
    if (t->p < t->end && *t->p == '"') {
        const char *after = quoted(t, t->p, out, &lines);
        if (after) {
            t->p = after;
            t->next_line += lines;
            return 0;
        }
        if (t->sep != '\t')
            return err_set(e, ERR_FORMAT,
                           "%s: line %lld: a quote is not closed where its "
                           "field ends",
                           t->name, (long long)t->next_line);
        buf_clear(out);
    }
    const char *from = t->p;
    while (!at_end(t, t->p))
        t->p++;
    buf_add(out, from, (size_t)(t->p - from));
    return 0;
}

/* After a field: 1 when another follows in its row. */
static int goes_on(struct table *t)
{
    if (t->p < t->end && *t->p == t->sep) {
        t->p++;
        return 1;
    }
    if (t->p < t->end && *t->p == '\r')
        t->p++;
    if (t->p < t->end && *t->p == '\n')
        t->p++;
    t->next_line++;
    return 0;
}

static int failed(const struct table *t)
{
    return t->text.failed || t->label.failed || t->other.failed;
}

static int is_one_of(const struct buf *b, const char *const *names)
{
    const char *p = b->p;
    size_t n = b->len;

    while (n > 0 && (*p == ' ' || *p == '\t')) {
        p++;
        n--;
    }
    while (n > 0 && p[n - 1] == ' ')
        n--;
    for (; *names; names++)
        if (strlen(*names) == n && strncasecmp(*names, p, n) == 0)
            return 1;
    return 0;
}

static int header(struct table *t, char sep, struct err *e)
{
    const char *begin = t->p;
    struct err none = ERR_INIT;
    int n = 0;

    t->sep = sep;
    t->text_col = t->label_col = -1;
    t->next_line = 1;
    do {
        if (field(t, &t->other, &none)) {
            n = 0;
            break;
        }
        if (failed(t))
            return err_nomem(e);
        if (t->text_col < 0 && is_one_of(&t->other, texts))
            t->text_col = n;
        else if (t->label_col < 0 && is_one_of(&t->other, labels))
            t->label_col = n;
        n++;
    } while (goes_on(t));
    t->n_cols = n;
    if (n > 1 && t->text_col >= 0 && t->label_col >= 0)
        return 1;
    t->p = begin;
    return 0;
}

int table_open(struct table *t, const char *name, const char *p, size_t n,
               struct err *e)
{
    *t = (struct table){.name = name, .p = p, .end = p + n};
    buf_init(&t->text, n + 2);
    buf_init(&t->label, n + 2);
    buf_init(&t->other, n + 2);
    int rc = 0;
    for (const char *sep = "\t,;"; *sep && rc == 0; sep++)
        rc = header(t, *sep, e);
    return rc;
}

void table_close(struct table *t)
{
    buf_fini(&t->text);
    buf_fini(&t->label);
    buf_fini(&t->other);
}

int table_row(struct table *t, struct err *e)
{
    int n = 0;

    while (t->p < t->end && (*t->p == '\n' || *t->p == '\r'))
        t->next_line += *t->p++ == '\n';
    if (t->p == t->end)
        return 0;
    t->line = t->next_line;
    do {
        struct buf *b = n == t->text_col    ? &t->text
                        : n == t->label_col ? &t->label
                                            : &t->other;
        if (field(t, b, e))
            return -1;
        n++;
    } while (goes_on(t));
    if (failed(t))
        return err_nomem(e);
    if (n != t->n_cols)
        return err_set(e, ERR_FORMAT,
                       "%s: line %lld has %d columns, the header has %d",
                       t->name, (long long)t->line, n, t->n_cols);
    return 1;
}
