/* pair_lines: see pair_lines.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/pair_lines.h"

#include <string.h>

#include "engine/base/mem.h"

struct column {
    const char *p;
    size_t n;
};

struct reader {
    pair_fn *fn;
    void *arg;
    int language;
    /* two texts: the lines of the first */
    struct record *first;
    int64_t n_first, cap_first, at_first;
};

static int is_space(char c)
{
    return c == ' ' || c == '\t';
}

static struct column trimmed(const char *p, size_t n)
{
    for (; n > 0 && is_space(*p); n--)
        p++;
    while (n > 0 && is_space(p[n - 1]))
        n--;
    return (struct column){p, n};
}

/* The column of a line that begins at *p, which goes on to the next one. */
static struct column take_column(const char **p, const char *end)
{
    const char *tab = memchr(*p, '\t', (size_t)(end - *p));
    struct column s = trimmed(*p, (size_t)((tab != NULL ? tab : end) - *p));
    *p = tab != NULL ? tab + 1 : end;
    return s;
}

static int hand_on(const struct reader *r, struct column language,
                   struct column a, struct column b, struct err *e)
{
    const struct pair p = {language.p, a.p, b.p, language.n, a.n, b.n};
    return a.n > 0 && b.n > 0 ? r->fn(r->arg, &p, e) : 0;
}

int64_t pair_lines_count(const char *p, size_t n)
{
    int64_t lines = n > 0 && p[n - 1] != '\n';
    for (size_t i = 0; i < n; i++)
        lines += p[i] == '\n';
    return lines;
}

/* ---- tables ---- */

static int is_language(struct column s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] != '\0' &&
           strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
                  "abcdefghijklmnopqrstuvwxyz",
                  s.p[n]) != NULL)
        n++;
    return n > 0 && n == s.n && n <= PAIR_MAX_LANGUAGE;
}

static int count_names(const char *names)
{
    int n = 1;
    for (; (names = strchr(names, ',')) != NULL; names++)
        n++;
    return n;
}

static int wrong_count(int names, struct err *e)
{
    return err_set(e, ERR_INVALID,
                   "--language has %d names, expected one for all files or one "
                   "for each",
                   names);
}

const char *pair_lines_language(const char *names, int i, size_t *n,
                                struct err *e)
{
    int count = count_names(names);
    if (i >= count && count > 1)
        return wrong_count(count, e), NULL;
    for (; count > 1 && i > 0; i--)
        names = strchr(names, ',') + 1;
    *n = strcspn(names, ",");
    if (is_language((struct column){names, *n}))
        return names;
    err_set(e, ERR_INVALID,
            "--language has '%.*s', expected letters, digits, '_' and '-', at "
            "most %d",
            *n < 60 ? (int)*n : 60, names, PAIR_MAX_LANGUAGE);
    return NULL;
}

int pair_lines_languages(const char *names, int n, struct err *e)
{
    int count = count_names(names);
    return count == 1 || count == n ? 0 : wrong_count(count, e);
}

static int each_row(void *arg, const struct record *x, struct err *e)
{
    struct reader *r = arg;
    const char *p = x->text, *end = p + x->n;
    struct column language = {NULL, 0};
    if (trimmed(p, x->n).n == 0)
        return 0;
    if (r->language)
        language = take_column(&p, end);
    const char *source = p;
    struct column a = take_column(&p, end);
    if (p == end && (source == end || end[-1] != '\t'))
        return err_set(e, ERR_FORMAT, "expected %ssource, a tab and target",
                       r->language ? "a language, a tab, " : "");
    struct column b = take_column(&p, end);
    if (r->language && !is_language(language))
        return err_set(e, ERR_FORMAT,
                       "the first column is no name of a language: letters, "
                       "digits, '_' and '-', at most %d",
                       PAIR_MAX_LANGUAGE);
    return hand_on(r, language, a, b, e);
}

int pair_lines_table(const struct pair_text *t, int language, pair_fn *fn,
                     void *arg, struct err *e)
{
    struct reader r = {.fn = fn, .arg = arg, .language = language};
    return records_each(t->label, t->text, t->n, RECORD_LINE, 0, each_row, &r,
                        e);
}

/* ---- two texts ---- */

static int keep_line(void *arg, const struct record *x, struct err *e)
{
    struct reader *r = arg;
    if (r->n_first == r->cap_first) {
        int64_t cap = r->cap_first * 2 + 1024;
        struct record *v = mem_grow(r->first, (size_t)cap, sizeof *v);
        if (v == NULL)
            return err_nomem(e);
        r->first = v;
        r->cap_first = cap;
    }
    r->first[r->n_first++] = *x;
    return 0;
}

static int each_second(void *arg, const struct record *x, struct err *e)
{
    struct reader *r = arg;
    while (r->at_first < r->n_first && r->first[r->at_first].line < x->line)
        r->at_first++;
    if (r->at_first == r->n_first || r->first[r->at_first].line != x->line)
        return 0; /* the other end is empty */
    const struct record *y = &r->first[r->at_first];
    return hand_on(r, (struct column){NULL, 0}, trimmed(y->text, y->n),
                   trimmed(x->text, x->n), e);
}

int pair_lines_two(const struct pair_text *source,
                   const struct pair_text *target, pair_fn *fn, void *arg,
                   struct err *e)
{
    struct reader r = {.fn = fn, .arg = arg};
    int64_t lines = pair_lines_count(source->text, source->n);
    int64_t others = pair_lines_count(target->text, target->n);
    if (lines != others)
        return err_set(
            e, ERR_FORMAT,
            "%s has %lld lines and %s has %lld: line k of the one is "
            "to be the target of line k of the other",
            source->label, (long long)lines, target->label, (long long)others);
    int rc = records_each(source->label, source->text, source->n, RECORD_LINE,
                          0, keep_line, &r, e);
    if (rc == 0)
        rc = records_each(target->label, target->text, target->n, RECORD_LINE,
                          0, each_second, &r, e);
    mem_free(r.first);
    return rc;
}
