/* pairs: see pairs.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/pairs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"

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

/* ---- files ---- */

struct reader {
    const struct pair_files *f;
    pair_file_fn *fn;
    void *arg;
    int file;
    const char *language; /* of the file, or NULL */
    size_t n_language;
    int64_t seen; /* lines that are pairs, wanted or not */
};

static int hand_on(void *arg, const struct pair *p, struct err *e)
{
    struct reader *r = arg;
    struct pair named = *p;
    r->seen++;
    if (r->language != NULL) {
        named.language = r->language;
        named.n_language = r->n_language;
    }
    return is_wanted(r->f, p) ? r->fn(r->arg, r->file, &named, e) : 0;
}

/* A table, or with `second` two files. */
static int read_files(struct reader *r, const char *path, const char *second,
                      int64_t *empty, struct err *e)
{
    char *text[2] = {NULL, NULL};
    size_t n[2] = {0, 0};
    int rc = file_read(path, path, DATA_MAX_BYTES, &text[0], &n[0], e);
    if (rc == 0 && second != NULL)
        rc = file_read(second, second, DATA_MAX_BYTES, &text[1], &n[1], e);
    const struct pair_text a = {path, text[0], n[0]};
    const struct pair_text b = {second, text[1], n[1]};
    r->seen = 0;
    if (rc == 0)
        rc = second != NULL
                 ? pair_lines_two(&a, &b, hand_on, r, e)
                 : pair_lines_table(&a, r->f->language, hand_on, r, e);
    if (rc == 0)
        *empty += pair_lines_count(a.text, a.n) - r->seen;
    mem_free(text[0]);
    mem_free(text[1]);
    return rc;
}

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
    if (rc == 0 && r->f->languages != NULL &&
        (r->language = pair_lines_language(r->f->languages, r->file,
                                           &r->n_language, e)) == NULL)
        rc = -1;
    if (rc == 0)
        rc = read_files(r, path, second, empty, e);
    mem_free(path);
    mem_free(second);
    *a += rc == 0 ? n + ((*a)[n] == ',') : 0;
    if (rc == 0 && *b != NULL)
        *b += m + ((*b)[m] == ',');
    return rc;
}

int pairs_each(const struct pair_files *f, double *share, int *n_files,
               int64_t *empty, pair_file_fn *fn, void *arg, struct err *e)
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
    return rc == 0 && f->languages != NULL
               ? pair_lines_languages(f->languages, *n_files, e)
               : rc;
}

/* ---- languages ---- */

/* >>NAME<<, to be freed. */
static int entry_of(const char *name, size_t n,
                    char entry[PAIR_MAX_LANGUAGE + 5])
{
    return snprintf(entry, PAIR_MAX_LANGUAGE + 5, ">>%.*s<<", (int)n, name);
}

static int add_language(void *arg, int file, const struct pair *p,
                        struct err *e)
{
    struct labels *l = arg;
    char entry[PAIR_MAX_LANGUAGE + 5];
    (void)file;
    if (p->n_language == 0)
        return 0;
    size_t n = (size_t)entry_of(p->language, p->n_language, entry);
    if (labels_has(l, entry, n))
        return 0;
    return l->n < DATA_MAX_LABELS
               ? labels_add(l, entry, n, e)
               : err_set(e, ERR_TOO_LARGE,
                         "more than %d languages: is the first column one?",
                         DATA_MAX_LABELS - 1);
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
    if ((f->language || f->languages != NULL) &&
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
    char entry[PAIR_MAX_LANGUAGE + 5];
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

int pairs_none(const struct corpus *c, const struct data_format *f,
               struct err *e)
{
    const struct pair_files *p = f->pairs;
    const char *name = p->table != NULL ? p->table : p->source;
    if (c->too_long > 0)
        return err_set(e, ERR_FORMAT,
                       "%s: each of %lld pairs has a side of more than %d "
                       "tokens: a larger --max-len",
                       name, (long long)c->too_long, f->max_len);
    return err_set(e, ERR_FORMAT, "%s: no pairs%s", name,
                   p->hold_out <= 0 ? ""
                   : p->held_out
                       ? " are held out: a larger --hold-out, or --valid"
                       : " beside those that are held out");
}
