/* data: see data.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "models/train/pairs.h"

#define MANY_LABELS 8 /* more of them want two texts each */

int labels_add(struct labels *l, const char *s, size_t n, struct err *e)
{
    if (l->n == DATA_MAX_LABELS)
        return err_set(e, ERR_FORMAT, "more than %d different labels",
                       DATA_MAX_LABELS);
    l->name[l->n] = mem_strndup(s, n);
    return l->name[l->n++] == NULL ? (l->n--, err_nomem(e)) : 0;
}

int labels_has(const struct labels *l, const char *s, size_t n)
{
    for (int i = 0; i < l->n; i++)
        if (strlen(l->name[i]) == n && memcmp(l->name[i], s, n) == 0)
            return 1;
    return 0;
}

int labels_parse(struct labels *l, const char *text, struct err *e)
{
    while (text != NULL && *text != '\0') {
        size_t n = strcspn(text, ",");
        if (n == 0)
            return err_set(e, ERR_INVALID, "--id2label has an empty name");
        if (labels_has(l, text, n))
            return err_set(e, ERR_INVALID, "--id2label has '%.*s' twice",
                           n < 64 ? (int)n : 64, text);
        if (labels_add(l, text, n, e) != 0)
            return -1;
        text += n + (text[n] == ',');
    }
    return 0;
}

void labels_fini(struct labels *l)
{
    for (int i = 0; i < l->n; i++)
        mem_free(l->name[i]);
    l->n = 0;
}

/* "0.1,0.2,0.7": a share for each label; *label is that of the largest. */
static int shares_of(const struct labels *l, const struct record *r,
                     double *share, int *label, struct err *e)
{
    char text[32];
    const char *at = r->label, *end = r->label + r->n_label;
    double sum = 0;
    int n = 0;
    *label = 0;
    for (; at <= end; n++) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t k = (size_t)((comma != NULL ? comma : end) - at);
        char *stop = text;
        snprintf(text, sizeof text, "%.*s", (int)(k < 31 ? k : 31), at);
        double v = strtod(text, &stop);
        if (n == l->n || k == 0 || k > 31 || *stop != '\0' || !(v >= 0) ||
            v > 1)
            break;
        share[n] = v;
        sum += v;
        *label = v > share[*label] ? n : *label;
        at += k + 1;
    }
    if (n != l->n || at <= end || fabs(sum - 1) > 0.01)
        return err_set(e, ERR_FORMAT,
                       "'%.*s' is neither a label nor a share of 0 to 1 for "
                       "each of the %d labels, 1 in all",
                       (int)(r->n_label < 80 ? r->n_label : 80), r->label,
                       l->n);
    for (int i = 0; i < n; i++)
        share[i] /= sum;
    return 0;
}

static int is_shares(const struct labels *l, const struct record *r)
{
    return memchr(r->label, ',', r->n_label) != NULL &&
           !labels_has(l, r->label, r->n_label);
}

/* The number of a label: its place among the names, or the number itself. */
static int label_of(const struct data_format *f, const struct record *r,
                    double *share, int *label, struct err *e)
{
    const struct labels *l = f->labels;
    if (is_shares(l, r))
        return shares_of(l, r, share, label, e);
    share[0] = -1;
    *label =
        records_label((const char *const *)l->name, l->n, r->label, r->n_label);
    return *label >= 0
               ? 0
               : records_no_label((const char *const *)l->name, l->n, r, e);
}

char *data_first_file(const char *files, size_t *n, double *share,
                      struct err *e)
{
    *n = strcspn(files, ",");
    *share = 1;
    char *path = mem_strndup(files, *n), *stop;
    if (path == NULL) {
        err_nomem(e);
        return NULL;
    }
    char *colon = strrchr(path, ':');
    double v = colon != NULL ? strtod(colon + 1, &stop) : 0;
    if (colon != NULL && stop > colon + 1 && *stop == '\0' && v > 0 &&
        v <= DATA_MOST_SHARE) {
        *share = v;
        *colon = '\0';
    }
    return path;
}

int data_kind(const char *files, enum record_kind *kind, struct err *e)
{
    char *text = NULL;
    double share;
    size_t n;
    if (*kind != RECORD_AUTO)
        return 0;
    char *path = data_first_file(files, &n, &share, e);
    if (path == NULL)
        return -1;
    int rc = file_read(path, path, DATA_MAX_BYTES, &text, &n, e);
    if (rc == 0)
        *kind = records_kind(*kind, text, n);
    mem_free(text);
    mem_free(path);
    return rc;
}

struct each {
    data_fn *fn;
    void *arg;
    int file;
};

static int each_record(void *arg, const struct record *r, struct err *e)
{
    const struct each *x = arg;
    return x->fn(x->arg, x->file, r, e);
}

/* Both ends of a pair, for those who count pieces. */
static int each_end(void *arg, int file, const struct pair *p, struct err *e)
{
    const struct each *x = arg;
    const struct record source = {.text = p->source, .n = p->n_source};
    const struct record target = {.text = p->target, .n = p->n_target};
    return x->fn(x->arg, file, &source, e) != 0 ||
                   x->fn(x->arg, file, &target, e) != 0
               ? -1
               : 0;
}

int data_each(const char *files, const struct data_format *f, double *share,
              int *n_files, data_fn *fn, void *arg, struct err *e)
{
    struct each x = {fn, arg, 0};
    int64_t empty;
    int rc = 0;
    if (f->pairs != NULL)
        return pairs_each(f->pairs, share, n_files, &empty, each_end, &x, e);
    for (*n_files = 0; rc == 0 && *files != '\0'; *n_files = ++x.file) {
        char *text = NULL;
        size_t size, n;
        if (x.file == DATA_MAX_FILES)
            return err_set(e, ERR_TOO_LARGE, "more than %d files",
                           DATA_MAX_FILES);
        char *path = data_first_file(files, &n, &share[x.file], e);
        if (path == NULL)
            return -1;
        rc = file_read(path, path, DATA_MAX_BYTES, &text, &size, e);
        if (rc == 0)
            rc = records_each(path, text, size, f->record, f->labelled,
                              each_record, &x, e);
        mem_free(text);
        mem_free(path);
        files += n + (files[n] == ',');
    }
    return rc;
}

/* --- labels that the data has --- */

struct finder {
    struct labels *l;
    int64_t n_records;
    int numbers;     /* all of them so far */
    int most_number; /* the largest */
};

static int find_label(void *arg, int file, const struct record *r,
                      struct err *e)
{
    struct finder *f = arg;
    int v = records_number(r->label, r->n_label);
    (void)file;
    f->n_records++;
    f->numbers = f->numbers && v >= 0 && v < DATA_MAX_LABELS;
    f->most_number = v > f->most_number ? v : f->most_number;
    return labels_has(f->l, r->label, r->n_label)
               ? 0
               : labels_add(f->l, r->label, r->n_label, e);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Labels 0 to the largest number, also those that no text has. */
static int name_numbers(struct labels *l, int most, struct err *e)
{
    char name[16];
    int rc = 0;
    labels_fini(l);
    for (int i = 0; i <= most && rc == 0; i++) {
        snprintf(name, sizeof name, "%d", i);
        rc = labels_add(l, name, strlen(name), e);
    }
    return rc;
}

int labels_find(struct labels *l, const char *files, struct err *e)
{
    struct data_format f = {.labelled = 1};
    struct finder x = {.l = l, .numbers = 1, .most_number = -1};
    double share[DATA_MAX_FILES];
    int n_files;
    if (data_each(files, &f, share, &n_files, find_label, &x, e) != 0)
        return -1;
    if (x.numbers)
        return name_numbers(l, x.most_number, e);
    if (l->n > MANY_LABELS && l->n > x.n_records / 2)
        return err_set(e, ERR_FORMAT,
                       "%s: %d different first words in %lld lines are no "
                       "labels: expected a label, a space or tab, and a text "
                       "in each line, or a header that names both columns",
                       files, l->n, (long long)x.n_records);
    qsort(l->name, (size_t)l->n, sizeof *l->name, by_name);
    return 0;
}

/* --- records --- */

struct reader {
    struct corpus *c;
    const struct data_format *f;
    const struct tokenizer *t;
    struct token_list list;
};

/* What stands around a classifier's text when it is served: of sub-words what
 * their file says, of words and characters a begin token where prompts get it.
 */
static unsigned around(const struct reader *r, int *after)
{
    int before, has = tokenizer_level(r->t) == TOK_LEVEL_SUBWORD ||
                      tokenizer_add_bos(r->t);
    *after = 0;
    if (!r->f->labelled || !has)
        return 0;
    tokenizer_around(r->t, &before, after);
    return TOK_ADD_SPECIAL;
}

static int grow_soft(struct corpus *c, int64_t cap)
{
    float *soft =
        mem_grow(c->soft, (size_t)cap * (size_t)c->n_labels, sizeof *soft);
    if (soft != NULL)
        c->soft = soft;
    return soft != NULL ? 0 : -1;
}

int corpus_reserve(struct corpus *c, int tokens, struct err *e)
{
    if (c->n_records >= DATA_MAX_RECORDS)
        return err_set(e, ERR_TOO_LARGE, "more than %d records",
                       DATA_MAX_RECORDS);
    if (c->n + tokens > c->cap) {
        int64_t cap = (c->n + tokens) * 2 + 4096;
        int32_t *ids = mem_grow(c->ids, (size_t)cap, sizeof *ids);
        if (ids == NULL)
            return err_nomem(e);
        c->ids = ids;
        c->cap = cap;
    }
    if (c->n_records + 1 < c->cap_records)
        return 0;
    int64_t cap = (int64_t)c->cap_records * 2 + 1024;
    if (cap > DATA_MAX_RECORDS + 1)
        cap = DATA_MAX_RECORDS + 1;
    int64_t *start = mem_grow(c->start, (size_t)cap, sizeof *start);
    if (start != NULL)
        c->start = start;
    int32_t *label = mem_grow(c->label, (size_t)cap, sizeof *label);
    if (label != NULL)
        c->label = label;
    int *n_source = mem_grow(c->n_source, (size_t)cap, sizeof *n_source);
    if (n_source != NULL)
        c->n_source = n_source;
    if (start == NULL || label == NULL || n_source == NULL ||
        (c->soft != NULL && grow_soft(c, cap) != 0))
        return err_nomem(e);
    c->cap_records = (int)cap;
    return 0;
}

void corpus_close_record(struct corpus *c, int file)
{
    if (c->n_records == 0)
        c->start[0] = 0;
    c->start[++c->n_records] = c->n;
    for (int i = file + 1; i <= DATA_MAX_FILES; i++)
        c->first[i] = c->n_records;
}

static void set_shares(struct corpus *c, int i, const double *share)
{
    float *to = c->soft + (size_t)i * (size_t)c->n_labels;
    for (int k = 0; k < c->n_labels; k++)
        to[k] = share[0] < 0 ? (float)(c->label[i] == k) : (float)share[k];
}

/* The labels of the record that is added next. Once one has shares, all have
 * them. */
static int add_label(struct corpus *c, int label, const double *share,
                     struct err *e)
{
    static const double none = -1;
    c->label[c->n_records] = label;
    if (c->soft == NULL && share[0] < 0)
        return 0;
    if (c->soft == NULL) {
        if (grow_soft(c, c->cap_records) != 0)
            return err_nomem(e);
        for (int i = 0; i < c->n_records; i++)
            set_shares(c, i, &none);
    }
    set_shares(c, c->n_records, share);
    return 0;
}

static int add_record(void *arg, int file, const struct record *x,
                      struct err *e)
{
    struct reader *r = arg;
    struct corpus *c = r->c;
    double share[DATA_MAX_LABELS] = {-1};
    int label = 0, after;
    if (r->f->labelled && label_of(r->f, x, share, &label, e) != 0)
        return -1;
    r->list.n = 0;
    r->list.n_unknown = 0;
    unsigned flags = around(r, &after);
    if (tokenizer_encode(r->t, x->text, x->n, flags, INT32_MAX, &r->list, e) !=
        0)
        return -1;
    int m = r->list.n, n = m;
    if (r->f->labelled && m > r->f->max_len)
        m = r->f->max_len;
    for (int i = 1; i <= after && m > after; i++) /* what ends a text stays */
        r->list.v[m - i] = r->list.v[n - i];
    if (m == 0)
        return 0;
    int reverse = r->f->reverse && !r->f->labelled;
    if (corpus_reserve(c, m, e) != 0)
        return -1;
    for (int i = 0; i < m; i++)
        c->ids[c->n + i] = r->list.v[reverse ? m - 1 - i : i].id;
    c->unknown += r->list.n_unknown;
    if (add_label(c, label, share, e) != 0)
        return -1;
    c->n_source[c->n_records] = 0;
    c->n += m;
    corpus_close_record(c, file);
    return 0;
}

int corpus_read(struct corpus *c, const char *files,
                const struct data_format *f, const struct tokenizer *t,
                struct err *e)
{
    struct reader r = {.c = c, .f = f, .t = t};
    memset(c, 0, sizeof *c);
    c->n_labels = f->labels != NULL ? f->labels->n : 0;
    int rc = f->pairs != NULL ? pairs_read(c, f, t, e)
                              : data_each(files, f, c->share, &c->n_files,
                                          add_record, &r, e);
    token_list_fini(&r.list);
    if (rc == 0 && c->n_records == 0)
        rc = f->pairs != NULL ? pairs_none(c, f, e)
                              : err_set(e, ERR_FORMAT, "%s: no records", files);
    if (rc != 0)
        corpus_fini(c);
    return rc;
}

void corpus_fini(struct corpus *c)
{
    mem_free(c->ids);
    mem_free(c->start);
    mem_free(c->label);
    mem_free(c->soft);
    mem_free(c->n_source);
    mem_free(c->vectors);
    mem_free(c->values);
    memset(c, 0, sizeof *c);
}

void data_shuffle(struct rng *r, int n, int32_t *v)
{
    for (int i = n - 1; i > 0; i--) {
        int k = (int)rng_below(r, (uint32_t)i + 1);
        int32_t x = v[i];
        v[i] = v[k];
        v[k] = x;
    }
}

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

int64_t corpus_most(const struct corpus *c)
{
    int64_t n = 0;
    for (int f = 0; f < c->n_files; f++)
        n += (int64_t)ceil(c->share[f] > 1 ? c->share[f] : 1) *
             (c->first[f + 1] - c->first[f]);
    return n;
}

int corpus_order(const struct corpus *c, int shuffle, int only, struct rng *r,
                 int32_t *order)
{
    int n = 0;
    for (int f = 0; f < c->n_files; f++) {
        int from = c->first[f], count = c->first[f + 1] - from;
        double left = r != NULL ? c->share[f] : 1;
        if (only >= 0 && f != only)
            continue;
        for (; left > 0; left -= 1) {
            int take = left >= 1 ? count : (int)(left * count + 0.5);
            for (int i = 0; i < count; i++)
                order[n + i] = from + i;
            if (take < count) {
                data_shuffle(r, count, order + n);
                qsort(order + n, (size_t)take, sizeof *order, ascending);
            }
            n += take;
        }
    }
    if (shuffle && r != NULL)
        data_shuffle(r, n, order);
    return n;
}

int corpus_stream(const struct corpus *c, const int32_t *order, int n_order,
                  int32_t frame, int32_t **out, int64_t *n, struct err *e)
{
    int64_t total = 1, k = 0;
    for (int i = 0; i < n_order; i++)
        total += c->start[order[i] + 1] - c->start[order[i]] + 1;
    int32_t *v = mem_array((size_t)total, sizeof *v);
    if (v == NULL)
        return err_nomem(e);
    if (frame >= 0)
        v[k++] = frame;
    for (int i = 0; i < n_order; i++) {
        int64_t from = c->start[order[i]];
        int64_t m = c->start[order[i] + 1] - from;
        memcpy(v + k, c->ids + from, (size_t)m * sizeof *v);
        k += m;
        if (frame >= 0)
            v[k++] = frame;
    }
    *out = v;
    *n = k;
    return 0;
}
