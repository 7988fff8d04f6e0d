/* data: see data.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/data.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"

int labels_parse(struct labels *l, const char *text, struct err *e)
{
    while (text != NULL && *text != '\0') {
        size_t n = strcspn(text, ",");
        if (l->n == DATA_MAX_LABELS || n == 0)
            return err_set(e, ERR_INVALID,
                           "--id2label has an empty name or "
                           "too many");
        l->name[l->n] = mem_strndup(text, n);
        if (l->name[l->n++] == NULL)
            return err_nomem(e);
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

/* The number of a label: its place among the names, or the number itself. */
static int label_of(const struct data_format *f, const char *s, size_t n)
{
    struct labels *l = f->labels;
    int v = 0;
    for (int i = 0; i < l->n; i++)
        if (strlen(l->name[i]) == n && memcmp(l->name[i], s, n) == 0)
            return i;
    if (n == 0 || n > 4)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        v = v * 10 + (s[i] - '0');
    }
    if (v >= DATA_MAX_LABELS || (v >= l->n && !f->grow))
        return -1;
    while (l->n <= v) {
        char name[16];
        snprintf(name, sizeof name, "%d", l->n);
        l->name[l->n] = mem_strdup(name);
        if (l->name[l->n] == NULL)
            return -1;
        l->n++;
    }
    return v;
}

/* End of the record that starts at p: the line's, that of the last line before
 * a blank one, or the file's. *next is where the next record starts. */
static const char *record_end(const char *p, const char *end, int record,
                              const char **next)
{
    const char *last = p;
    if (record == RECORD_WHOLE)
        return *next = end;
    for (;;) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        last = lf == NULL ? end : lf;
        p = lf == NULL ? end : lf + 1;
        *next = p;
        if (record == RECORD_LINE || p == end || *p == '\n')
            return last;
    }
}

static int each_record(const char *path, const char *p, const char *end,
                       int file, int record, data_fn *fn, void *arg,
                       struct err *e)
{
    int64_t line = 1;
    while (p < end) {
        if (record == RECORD_BLANK && *p == '\n') {
            p++;
            line++;
            continue;
        }
        const char *next, *stop = record_end(p, end, record, &next);
        size_t n = (size_t)(stop - p);
        if (!utf8_valid(p, n))
            return err_set(e, ERR_FORMAT, "%s: line %lld is not UTF-8", path,
                           (long long)line);
        struct err inner = ERR_INIT;
        if (n > 0 && fn(arg, file, line, p, n, &inner) != 0)
            return err_set(e, inner.code, "%s: line %lld: %s", path,
                           (long long)line, inner.msg);
        for (; p < next; p++)
            line += *p == '\n';
    }
    return 0;
}

size_t data_label(const char *text, size_t n)
{
    size_t k = 0;
    while (k < n && text[k] != ' ' && text[k] != '\t')
        k++;
    return k;
}

int data_each(const char *files, int record, double *share, int *n_files,
              data_fn *fn, void *arg, struct err *e)
{
    int rc = 0;
    *n_files = 0;
    while (rc == 0 && *files != '\0') {
        size_t n = strcspn(files, ",");
        char *path = mem_strndup(files, n);
        if (path == NULL)
            return err_nomem(e);
        if (*n_files == DATA_MAX_FILES) {
            mem_free(path);
            return err_set(e, ERR_TOO_LARGE, "more than %d files",
                           DATA_MAX_FILES);
        }
        share[*n_files] = 1;
        char *colon = strrchr(path, ':'), *stop;
        double v = colon != NULL ? strtod(colon + 1, &stop) : 0;
        if (colon != NULL && stop > colon + 1 && *stop == '\0' && v > 0 &&
            v <= 1) {
            share[*n_files] = v;
            *colon = '\0';
        }
        char *text = NULL;
        size_t size;
        rc = file_read_piped(path, path, (size_t)4 << 30, FILE_WAIT_FOREVER,
                             &text, &size, e);
        if (rc == 0)
            rc = each_record(path, text, text + size, *n_files, record, fn, arg,
                             e);
        mem_free(text);
        mem_free(path);
        *n_files += 1;
        files += n + (files[n] == ',');
    }
    return rc;
}

struct reader {
    struct corpus *c;
    const struct data_format *f;
    const struct tokenizer *t;
    struct token_list list;
};

static int grow_corpus(struct corpus *c, int more, struct err *e)
{
    if (c->n + more > c->cap) {
        int64_t cap = (c->n + more) * 2 + 4096;
        int32_t *ids = mem_grow(c->ids, (size_t)cap, sizeof *ids);
        if (ids == NULL)
            return err_nomem(e);
        c->ids = ids;
        c->cap = cap;
    }
    if (c->n_records + 1 < c->cap_records)
        return 0;
    int cap = c->cap_records * 2 + 1024;
    int64_t *start = mem_grow(c->start, (size_t)cap, sizeof *start);
    if (start != NULL)
        c->start = start;
    int32_t *label = mem_grow(c->label, (size_t)cap, sizeof *label);
    if (label != NULL)
        c->label = label;
    if (start == NULL || label == NULL)
        return err_nomem(e);
    c->cap_records = cap;
    return 0;
}

static int add_record(void *arg, int file, int64_t line, const char *text,
                      size_t n, struct err *e)
{
    struct reader *r = arg;
    struct corpus *c = r->c;
    int label = 0;
    (void)line;
    if (r->f->labelled) {
        size_t k = data_label(text, n);
        label = k < n ? label_of(r->f, text, k) : -1;
        if (label < 0)
            return err_set(e, ERR_FORMAT,
                           "no label of the list before the "
                           "text");
        text += k + 1;
        n -= k + 1;
    }
    r->list.n = 0;
    r->list.n_unknown = 0;
    unsigned flags =
        r->f->labelled && tokenizer_add_bos(r->t) ? TOK_ADD_SPECIAL : 0u;
    if (tokenizer_encode(r->t, text, n, flags, INT32_MAX, &r->list, e) != 0)
        return -1;
    int m = r->list.n;
    if (r->f->labelled && m > r->f->max_len)
        m = r->f->max_len;
    if (m == 0)
        return 0;
    int reverse = r->f->reverse && !r->f->labelled;
    if (grow_corpus(c, m, e) != 0)
        return -1;
    for (int i = 0; i < m; i++)
        c->ids[c->n + i] = r->list.v[reverse ? m - 1 - i : i].id;
    c->unknown += r->list.n_unknown;
    c->label[c->n_records] = label;
    c->start[c->n_records] = c->n;
    c->n += m;
    c->n_records++;
    c->start[c->n_records] = c->n;
    for (int i = file + 1; i <= DATA_MAX_FILES; i++)
        c->first[i] = c->n_records;
    return 0;
}

int corpus_read(struct corpus *c, const char *files,
                const struct data_format *f, const struct tokenizer *t,
                struct err *e)
{
    struct reader r = {.c = c, .f = f, .t = t};
    memset(c, 0, sizeof *c);
    int rc = data_each(files, f->labelled ? RECORD_LINE : f->record, c->share,
                       &c->n_files, add_record, &r, e);
    token_list_fini(&r.list);
    if (rc == 0 && c->n_records == 0)
        rc = err_set(e, ERR_FORMAT, "%s: no records", files);
    if (rc != 0)
        corpus_fini(c);
    return rc;
}

void corpus_fini(struct corpus *c)
{
    mem_free(c->ids);
    mem_free(c->start);
    mem_free(c->label);
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

int corpus_order(const struct corpus *c, int shuffle, struct rng *r,
                 int32_t *order)
{
    int n = 0;
    for (int f = 0; f < c->n_files; f++) {
        int from = c->first[f], count = c->first[f + 1] - from;
        int take = r == NULL ? count : (int)(c->share[f] * count + 0.5);
        for (int i = 0; i < count; i++)
            order[n + i] = from + i;
        if (take < count) {
            data_shuffle(r, count, order + n);
            qsort(order + n, (size_t)take, sizeof *order, ascending);
        }
        n += take;
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
