/* pairs: see pairs.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/pairs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"

#define MAX_LANGUAGE 32 /* bytes of a name */

/* ---- which side of the hold-out ---- */

/* FNV-1a over what of a source counts. */
static uint64_t hash_of(const char *s, size_t n)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 'A' && c <= 'Z')
            c = (unsigned char)(c + 'a' - 'A');
        if (c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            h = (h ^ c) * 1099511628211u;
    }
    return h;
}

static int is_wanted(const struct pair_files *f, const struct pair *p)
{
    if (f->hold_out <= 0)
        return 1;
    int out = rng_uniform_at(hash_of(p->source, p->n_source), 0) < f->hold_out;
    return out == f->held_out;
}

/* ---- lines ---- */

struct span {
    const char *p;
    size_t n;
};

static int is_space(char c)
{
    return c == ' ' || c == '\t';
}

static struct span trimmed(const char *p, size_t n)
{
    for (; n > 0 && is_space(*p); n--)
        p++;
    while (n > 0 && is_space(p[n - 1]))
        n--;
    return (struct span){p, n};
}

/* The column of a line that begins at *p, which goes on to the next one. */
static struct span take_column(const char **p, const char *end)
{
    const char *tab = memchr(*p, '\t', (size_t)(end - *p));
    struct span s = trimmed(*p, (size_t)((tab != NULL ? tab : end) - *p));
    *p = tab != NULL ? tab + 1 : end;
    return s;
}

static int64_t count_lines(const char *p, size_t n)
{
    int64_t lines = n > 0 && p[n - 1] != '\n';
    for (size_t i = 0; i < n; i++)
        lines += p[i] == '\n';
    return lines;
}

struct reader {
    const struct pair_files *f;
    pair_fn *fn;
    void *arg;
    int file;
    int64_t seen; /* lines that are pairs, wanted or not */
    /* two files: the lines of the first */
    struct record *first;
    int64_t n_first, cap_first, at_first;
};

static int hand_on(struct reader *r, const struct pair *p, struct err *e)
{
    if (p->n_source == 0 || p->n_target == 0)
        return 0;
    r->seen++;
    return is_wanted(r->f, p) ? r->fn(r->arg, r->file, p, e) : 0;
}

/* ---- tables ---- */

static int is_language(struct span s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] != '\0' &&
           strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
                  "abcdefghijklmnopqrstuvwxyz",
                  s.p[n]) != NULL)
        n++;
    return n > 0 && n == s.n && n <= MAX_LANGUAGE;
}

static int each_row(void *arg, const struct record *x, struct err *e)
{
    struct reader *r = arg;
    const char *p = x->text, *end = p + x->n;
    struct span language = {NULL, 0};
    if (trimmed(p, x->n).n == 0)
        return 0;
    if (r->f->language)
        language = take_column(&p, end);
    const char *source = p;
    struct span a = take_column(&p, end);
    if (p == end && (source == end || end[-1] != '\t'))
        return err_set(e, ERR_FORMAT, "expected %ssource, a tab and target",
                       r->f->language ? "a language, a tab, " : "");
    struct span b = take_column(&p, end);
    if (r->f->language && !is_language(language))
        return err_set(e, ERR_FORMAT,
                       "the first column is no name of a language: letters, "
                       "digits, '_' and '-', at most %d",
                       MAX_LANGUAGE);
    return hand_on(r,
                   &(struct pair){.language = language.p,
                                  .n_language = language.n,
                                  .source = a.p,
                                  .n_source = a.n,
                                  .target = b.p,
                                  .n_target = b.n},
                   e);
}

static int read_table(struct reader *r, const char *path, int64_t *empty,
                      struct err *e)
{
    char *text;
    size_t n;
    if (file_read(path, path, DATA_MAX_BYTES, &text, &n, e) != 0)
        return -1;
    r->seen = 0;
    int rc = records_each(path, text, n, RECORD_LINE, 0, each_row, r, e);
    *empty += count_lines(text, n) - r->seen;
    mem_free(text);
    return rc;
}

/* ---- two files ---- */

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
    struct span a = trimmed(y->text, y->n), b = trimmed(x->text, x->n);
    return hand_on(
        r,
        &(struct pair){
            .source = a.p, .n_source = a.n, .target = b.p, .n_target = b.n},
        e);
}

static int read_two(struct reader *r, const char *path, const char *second,
                    int64_t *empty, struct err *e)
{
    char *text[2] = {NULL, NULL};
    size_t n[2];
    int64_t lines[2] = {0, 0};
    r->seen = r->n_first = r->at_first = 0;
    int rc = file_read(path, path, DATA_MAX_BYTES, &text[0], &n[0], e);
    if (rc == 0)
        rc = file_read(second, second, DATA_MAX_BYTES, &text[1], &n[1], e);
    for (int i = 0; rc == 0 && i < 2; i++)
        lines[i] = count_lines(text[i], n[i]);
    if (rc == 0 && lines[0] != lines[1])
        rc = err_set(e, ERR_FORMAT,
                     "%s has %lld lines and %s has %lld: line k of the one is "
                     "to be the target of line k of the other",
                     path, (long long)lines[0], second, (long long)lines[1]);
    if (rc == 0)
        rc = records_each(path, text[0], n[0], RECORD_LINE, 0, keep_line, r, e);
    if (rc == 0)
        rc = records_each(second, text[1], n[1], RECORD_LINE, 0, each_second, r,
                          e);
    *empty += lines[0] - r->seen;
    mem_free(text[0]);
    mem_free(text[1]);
    return rc;
}

/* ---- all files ---- */

/* The next files of the lists: their pairs. */
static int next_file(struct reader *r, const char **a, const char **b,
                     double *share, int64_t *empty, struct err *e)
{
    double ignored;
    size_t n, m = 0;
    char *second = NULL, *path = data_first_file(*a, &n, share, e);
    int rc = path != NULL ? 0 : -1;
    if (rc == 0 && *b != NULL && **b == '\0')
        rc = err_set(e, ERR_INVALID, "--source has more files than --target");
    else if (rc == 0 && *b != NULL &&
             (second = data_first_file(*b, &m, &ignored, e)) == NULL)
        rc = -1;
    if (rc == 0)
        rc = second != NULL ? read_two(r, path, second, empty, e)
                            : read_table(r, path, empty, e);
    mem_free(path);
    mem_free(second);
    *a += rc == 0 ? n + ((*a)[n] == ',') : 0;
    if (rc == 0 && *b != NULL)
        *b += m + ((*b)[m] == ',');
    return rc;
}

int pairs_each(const struct pair_files *f, double *share, int *n_files,
               int64_t *empty, pair_fn *fn, void *arg, struct err *e)
{
    struct reader r = {.f = f, .fn = fn, .arg = arg};
    const char *a = f->table != NULL ? f->table : f->source;
    const char *b = f->table != NULL ? NULL : f->target;
    int rc = 0;
    *empty = 0;
    for (*n_files = 0; rc == 0 && *a != '\0'; *n_files = ++r.file)
        if (r.file == DATA_MAX_FILES)
            rc =
                err_set(e, ERR_TOO_LARGE, "more than %d files", DATA_MAX_FILES);
        else
            rc = next_file(&r, &a, &b, &share[r.file], empty, e);
    if (rc == 0 && b != NULL && *b != '\0')
        rc = err_set(e, ERR_INVALID, "--target has more files than --source");
    mem_free(r.first);
    return rc;
}

/* ---- languages ---- */

/* >>NAME<<, to be freed. */
static int entry_of(const char *name, size_t n, char entry[MAX_LANGUAGE + 5])
{
    return snprintf(entry, MAX_LANGUAGE + 5, ">>%.*s<<", (int)n, name);
}

static int add_language(void *arg, int file, const struct pair *p,
                        struct err *e)
{
    struct labels *l = arg;
    char entry[MAX_LANGUAGE + 5];
    (void)file;
    if (p->n_language == 0)
        return 0;
    size_t n = (size_t)entry_of(p->language, p->n_language, entry);
    return labels_has(l, entry, n) ? 0 : labels_add(l, entry, n, e);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int pairs_controls(const struct pair_files *f, struct labels *l, struct err *e)
{
    double share[DATA_MAX_FILES];
    int64_t empty;
    int n_files;
    if (labels_add(l, PAIRS_START, strlen(PAIRS_START), e) != 0)
        return -1;
    if (f->language &&
        pairs_each(f, share, &n_files, &empty, add_language, l, e) != 0)
        return -1;
    qsort(l->name + 1, (size_t)l->n - 1, sizeof *l->name, by_name);
    return 0;
}

/* ---- ids ---- */

struct encoder {
    struct corpus *c;
    const struct data_format *f;
    const struct tokenizer *t;
    struct token_list source, target;
    int32_t start, end;
};

static int put(struct token_list *l, int32_t id, struct err *e)
{
    if (l->n == l->cap) {
        int cap = l->cap * 2 + 64;
        struct token *v = mem_grow(l->v, (size_t)cap, sizeof *v);
        if (v == NULL)
            return err_nomem(e);
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = (struct token){.id = id};
    return 0;
}

static int put_language(struct encoder *x, const struct pair *p, struct err *e)
{
    char entry[MAX_LANGUAGE + 5];
    if (p->n_language == 0)
        return 0;
    entry_of(p->language, p->n_language, entry);
    int32_t id = tokenizer_id(x->t, entry);
    return id >= 0 ? put(&x->source, id, e)
                   : err_set(e, ERR_FORMAT,
                             "the vocabulary has no entry '%s' for this "
                             "language",
                             entry);
}

static void copy(struct corpus *c, const struct token_list *l)
{
    for (int i = 0; i < l->n; i++)
        c->ids[c->n++] = l->v[i].id;
    c->unknown += l->n_unknown;
}

/* The tokenizer's own ends of a source count, but for its begin: a source ends
 * with </s> in any case. */
static int add_pair(void *arg, int file, const struct pair *p, struct err *e)
{
    struct encoder *x = arg;
    struct corpus *c = x->c;
    struct token_list *s = &x->source, *g = &x->target;
    s->n = s->n_unknown = g->n = g->n_unknown = 0;
    if (put_language(x, p, e) != 0 || put(g, x->start, e) != 0 ||
        tokenizer_encode(x->t, p->source, p->n_source, 0, INT32_MAX, s, e) !=
            0 ||
        tokenizer_encode(x->t, p->target, p->n_target, 0, INT32_MAX, g, e) !=
            0 ||
        put(s, x->end, e) != 0 || put(g, x->end, e) != 0)
        return -1;
    if (s->n > x->f->max_len || g->n - 1 > x->f->max_len) {
        c->too_long++;
        return 0;
    }
    if (corpus_reserve(c, s->n + g->n, e) != 0)
        return -1;
    c->label[c->n_records] = 0;
    c->n_source[c->n_records] = s->n;
    copy(c, s);
    copy(c, g);
    corpus_close_record(c, file);
    return 0;
}

int pairs_read(struct corpus *c, const struct data_format *f,
               const struct tokenizer *t, struct err *e)
{
    struct encoder x = {.c = c, .f = f, .t = t};
    x.start = tokenizer_id(t, PAIRS_START);
    x.end = tokenizer_eos(t);
    if (x.start < 0 || x.end < 0)
        return err_set(e, ERR_INVALID,
                       "the vocabulary has no entry %s: pairs need one",
                       x.start < 0 ? "'" PAIRS_START "' that begins targets"
                                   : "that ends a text");
    int rc =
        pairs_each(f->pairs, c->share, &c->n_files, &c->empty, add_pair, &x, e);
    token_list_fini(&x.source);
    token_list_fini(&x.target);
    return rc;
}

int pairs_none(const struct pair_files *f, struct err *e)
{
    return err_set(e, ERR_FORMAT, "%s: no pairs%s",
                   f->table != NULL ? f->table : f->source,
                   f->hold_out <= 0 ? ""
                   : f->held_out
                       ? " are held out: a larger --hold-out, or --valid"
                       : " are left beside those held out");
}
