/* records: see records.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/records.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/utf8.h"
#include "engine/text/table.h"

/* Wrapped text: so many lines that another follows, paragraphs, columns; the
 * share of those lines that are full, and how far from it a full one may be. */
#define LEAST_INNER 12
#define LEAST_PARAGRAPHS 3
#define LEAST_COLUMNS 40
#define MOST_COLUMNS 120
#define LEAST_FULL 0.75
#define SLACK 10

static const char *const kind_names[] = {"auto", "line", "paragraph", "blank",
                                         "whole"};

const char *records_kind_name(enum record_kind kind)
{
    return kind_names[kind];
}

int records_kind_find(const char *name)
{
    for (int i = 0; i <= RECORD_WHOLE; i++)
        if (strcmp(name, kind_names[i]) == 0)
            return i;
    return -1;
}

/* --- lines --- */

struct line {
    const char *p;
    size_t n;
};

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The line at *p, which goes on to the next one; a carriage return at its end
 * is no part of it. */
static struct line take_line(const char **p, const char *end)
{
    const char *lf = memchr(*p, '\n', (size_t)(end - *p));
    struct line l = {*p, (size_t)((lf ? lf : end) - *p)};

    *p = lf ? lf + 1 : end;
    l.n -= l.n > 0 && l.p[l.n - 1] == '\r';
    return l;
}

/* The same without white space at both ends. */
static struct line take_trimmed(const char **p, const char *end)
{
    struct line l = take_line(p, end);

    for (; l.n > 0 && is_blank(*l.p); l.n--)
        l.p++;
    while (l.n > 0 && is_blank(l.p[l.n - 1]))
        l.n--;
    return l;
}

static int columns(const char *s, size_t n)
{
    int k = 0;

    for (size_t i = 0; i < n && k <= MOST_COLUMNS; i++)
        k += ((unsigned char)s[i] & 0xc0) != 0x80;
    return k;
}

static int first_word(struct line l)
{
    size_t n = 0;

    while (n < l.n && !is_blank(l.p[n]))
        n++;
    return columns(l.p, n);
}

/* --- wrapped text --- */

struct shape {
    int64_t inner, paragraphs, full;
    int64_t by_columns[MOST_COLUMNS + 2]; /* inner lines; the last: longer */
};

/* Inner lines are those that another follows in their paragraph. full counts
 * those that have no room up to `width` for the next one's first word. */
static void measure(const char *p, const char *end, int width, struct shape *s)
{
    struct line last = {NULL, 0};

    memset(s, 0, sizeof *s);
    while (p < end) {
        struct line l = take_trimmed(&p, end);
        s->paragraphs += l.n > 0 && last.n == 0;
        if (l.n > 0 && last.n > 0) {
            int n = columns(last.p, last.n);
            s->inner++;
            s->by_columns[n]++;
            s->full += n + 1 + first_word(l) > width - SLACK;
        }
        last = l;
    }
}

int records_wrapped(const char *text, size_t n)
{
    struct shape s;
    int width = 0;

    measure(text, text + n, 0, &s);
    if (s.inner < LEAST_INNER || s.paragraphs < LEAST_PARAGRAPHS ||
        s.inner * 2 < s.paragraphs)
        return 0;
    /* 19 of 20 lines are no longer than the width. */
    for (int64_t k = s.by_columns[0]; k * 20 < s.inner * 19;)
        k += s.by_columns[++width];
    if (width < LEAST_COLUMNS || width > MOST_COLUMNS)
        return 0;
    measure(text, text + n, width, &s);
    return (double)s.full >= LEAST_FULL * (double)s.inner;
}

enum record_kind records_kind(enum record_kind kind, const char *text, size_t n)
{
    if (kind != RECORD_AUTO)
        return kind;
    return records_wrapped(text, n) ? RECORD_PARAGRAPH : RECORD_LINE;
}

/* --- records --- */

struct walk {
    const char *label;
    record_fn *fn;
    void *arg;
    int labelled;
};

/* Hand on a record, whose errors get file and line. */
static int hand_on(const struct walk *w, const struct record *r, struct err *e)
{
    struct err inner = ERR_INIT;

    if (r->n == 0 && !w->labelled)
        return 0;
    if (!utf8_valid(r->text, r->n) ||
        (r->n_label > 0 && !utf8_valid(r->label, r->n_label)))
        return err_set(e, ERR_FORMAT, "%s: line %lld is not UTF-8", w->label,
                       (long long)r->line);
    if (w->fn(w->arg, r, &inner))
        return err_set(e, inner.code, "%s: line %lld: %s", w->label,
                       (long long)r->line, inner.msg);
    return 0;
}

/* Does each line that is not empty have a tab? Then labels end at it, and may
 * have spaces. */
static int all_have_tabs(const char *p, const char *end)
{
    while (p < end) {
        struct line l = take_line(&p, end);
        if (l.n > 0 && !memchr(l.p, '\t', l.n))
            return 0;
    }
    return 1;
}

/* "label text" [n]. */
static int split_label(struct record *r, const char *p, size_t n, int tabs)
{
    size_t k = 0;

    while (k < n && p[k] != '\t' && (tabs || p[k] != ' '))
        k++;
    r->label = p;
    r->n_label = k;
    r->text = p + k + (k < n);
    r->n = n - k - (k < n);
    return k > 0 && k < n;
}

static int each_line(const struct walk *w, const char *p, const char *end,
                     struct err *e)
{
    int tabs = w->labelled && all_have_tabs(p, end);
    struct record r = {.line = 1};

    for (; p < end; r.line++) {
        struct line l = take_line(&p, end);
        r.text = l.p;
        r.n = l.n;
        if (w->labelled && l.n > 1 && l.p[0] == '{' && l.p[l.n - 1] == '}')
            return err_set(e, ERR_FORMAT,
                           "%s: line %lld is JSON, expected a label, a tab or "
                           "space, and a text, or CSV or TSV with a header",
                           w->label, (long long)r.line);
        if (l.n > 0 && w->labelled && !split_label(&r, l.p, l.n, tabs))
            return err_set(e, ERR_FORMAT,
                           "%s: line %lld: expected a label, a space or tab, "
                           "and a text, or in the first line the names of "
                           "both columns (text, label), with commas, "
                           "semicolons or tabs",
                           w->label, (long long)r.line);
        if (l.n > 0 && hand_on(w, &r, e))
            return -1;
    }
    return 0;
}

/* Lines up to a blank one: paragraphs, whose lines are joined by a space, or
 * blocks as they are. */
static int each_group(const struct walk *w, const char *p, const char *end,
                      int as_is, struct err *e)
{
    struct record r = {.line = 1};
    int64_t line = 1;
    struct buf b;
    int rc = 0;

    buf_init(&b, (size_t)(end - p) + 2);
    while (rc == 0 && p < end) {
        struct line l = as_is ? take_line(&p, end) : take_trimmed(&p, end);
        if (b.len == 0)
            r.line = line;
        else if (l.n > 0)
            buf_add_char(&b, as_is ? '\n' : ' ');
        buf_add(&b, l.p, l.n);
        line++;
        if ((l.n > 0 && p < end) || b.len == 0)
            continue;
        r.text = b.p;
        r.n = b.len;
        rc = b.failed ? err_nomem(e) : hand_on(w, &r, e);
        buf_clear(&b);
    }
    buf_fini(&b);
    return rc;
}

static int each_row(const struct walk *w, struct table *t, struct err *e)
{
    struct record r;
    int more;

    while ((more = table_row(t, e)) > 0) {
        r = (struct record){t->line, t->label.p, t->text.p, t->label.len,
                            t->text.len};
        if (r.n_label == 0)
            return err_set(e, ERR_FORMAT, "%s: line %lld: no label", w->label,
                           (long long)r.line);
        if (hand_on(w, &r, e))
            return -1;
    }
    return more;
}

static int each_labelled(const struct walk *w, const char *p, const char *end,
                         struct err *e)
{
    struct table t;
    int is = table_open(&t, w->label, p, (size_t)(end - p), e), rc = is;

    if (is > 0)
        rc = each_row(w, &t, e);
    else if (is == 0)
        rc = each_line(w, p, end, e);
    table_close(&t);
    return rc;
}

int records_each(const char *label, const char *text, size_t n,
                 enum record_kind kind, int labelled, record_fn *fn, void *arg,
                 struct err *e)
{
    struct walk w = {label, fn, arg, labelled};
    const char *end = text + n;

    if (n >= 2 &&
        (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
        return err_set(e, ERR_FORMAT, "%s: is UTF-16, expected UTF-8: %s",
                       label, "save it as that");
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    if (labelled)
        return each_labelled(&w, text, end, e);
    switch (records_kind(kind, text, (size_t)(end - text))) {
    case RECORD_PARAGRAPH:
        return each_group(&w, text, end, 0, e);
    case RECORD_BLANK:
        return each_group(&w, text, end, 1, e);
    case RECORD_WHOLE: {
        struct record r = {.line = 1, .text = text};
        r.n = (size_t)(end - text);
        return hand_on(&w, &r, e);
    }
    default:
        return each_line(&w, text, end, e);
    }
}

/* --- labels --- */

int records_number(const char *s, size_t n)
{
    int v = 0;

    if (n < 1 || n > 4)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        v = v * 10 + (s[i] - '0');
    }
    return v;
}

/* Where names are numbers of another place ("1" to "5"), a number is a name. */
int records_label(const char *const *names, int n_names, const char *s,
                  size_t n)
{
    int place = records_number(s, n);

    for (int i = 0; i < n_names; i++) {
        size_t len = strlen(names[i]);
        int v = records_number(names[i], len);
        if (len == n && memcmp(names[i], s, n) == 0)
            return i;
        place = v >= 0 && v != i ? -1 : place;
    }
    return place < n_names ? place : -1;
}

int records_no_label(const char *const *names, int n_names,
                     const struct record *r, struct err *e)
{
    char list[128] = "";
    size_t at = 0;
    int n = (int)utf8_whole(r->label, r->n_label < 40 ? r->n_label : 40);

    for (int i = 0; i < n_names && at < sizeof list - 4; i++) {
        size_t left = sizeof list - 4 - at, len = strlen(names[i]);
        if (len + 2 > left) {
            memcpy(list + at, "...", 4);
            break;
        }
        at +=
            (size_t)snprintf(list + at, left, "%s%s", i ? ", " : "", names[i]);
    }
    return err_set(e, ERR_FORMAT, "'%.*s' is no label, expected %s", n,
                   r->label, list);
}
