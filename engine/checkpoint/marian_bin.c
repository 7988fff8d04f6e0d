/* marian_bin: see marian_bin.h. Numbers are little-endian.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/marian_bin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/checkpoint/hparams.h"
#include "engine/checkpoint/marian_yml.h"

#define VERSION 1
#define MAX_ITEMS 65536
#define MAX_NAME 256 /* with its NUL */
#define MAX_DIMS 4
#define ITEM_BYTES 32

/* Types (common/types.h): a class and the bytes of a number. */
#define TYPE_INT8 0x101u
#define TYPE_F32 0x404u
#define TYPE_INTGEMM8 0x4101u

struct item {
    const char *name;
    uint64_t type, bytes;
    int n_dims;
    int64_t dim[MAX_DIMS];
    size_t n; /* numbers */
    const uint8_t *data;
};

struct marian_bin {
    struct tensor *t; /* [n] */
    int n;
    float **turned; /* [n] matrices that lie otherwise in the file, or NULL */
};

/* The file while it is read. */
struct reader {
    const uint8_t *p;
    size_t bytes, at;
    const char *label;
    struct err *e;
};

static int bad(const struct reader *r, const char *what)
{
    return err_set(r->e, ERR_FORMAT, "%s: %s", r->label, what);
}

static int bad_item(const struct reader *r, const char *name, const char *what)
{
    return err_set(r->e, ERR_FORMAT, "%s: tensor '%s' %s", r->label, name,
                   what);
}

static uint64_t number(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static int take(struct reader *r, int bytes, uint64_t *v)
{
    if (r->bytes - r->at < (size_t)bytes)
        return bad(r, "is cut short in its header");
    *v = number(r->p + r->at, bytes);
    r->at += (size_t)bytes;
    return 0;
}

int marian_bin_is(const uint8_t *head, size_t n)
{
    return n >= MARIAN_BIN_HEAD && number(head, 8) == VERSION &&
           number(head + 8, 8) - 1 < MAX_ITEMS;
}

/* ------------------------------------------------------------------ header */

/* The lengths of all, then their names, then their shapes. */
static int take_heads(struct reader *r, struct item *item, int n,
                      uint64_t *name_bytes)
{
    for (int i = 0; i < n; i++) {
        uint64_t dims = 0;
        if (take(r, 8, &name_bytes[i]) || take(r, 8, &item[i].type) ||
            take(r, 8, &dims) || take(r, 8, &item[i].bytes))
            return -1;
        if (name_bytes[i] < 2 || name_bytes[i] > MAX_NAME)
            return bad(r, "a name is not of 1 to 255 bytes");
        if (dims > MAX_DIMS)
            return bad(r, "a tensor has more than 4 dimensions");
        item[i].n_dims = (int)dims;
    }
    for (int i = 0; i < n; i++) {
        size_t len = (size_t)name_bytes[i];
        if (r->bytes - r->at < len)
            return bad(r, "is cut short in its header");
        item[i].name = (const char *)r->p + r->at;
        if (memchr(item[i].name, 0, len) != item[i].name + len - 1 ||
            !utf8_valid(item[i].name, len - 1))
            return bad(r, "a name is not UTF-8 with a NUL behind it");
        r->at += len;
    }
    return 0;
}

static int take_shape(struct reader *r, struct item *item)
{
    uint64_t v = 0, n = 1;
    for (int k = 0; k < item->n_dims; k++) {
        if (take(r, 4, &v))
            return -1;
        if (v < 1 || v > INT32_MAX)
            return bad_item(r, item->name, "has a dimension outside 1..2^31-1");
        item->dim[k] = (int64_t)v;
        if (__builtin_mul_overflow(n, v, &n) || n > r->bytes)
            return bad_item(r, item->name, "is larger than the file");
    }
    item->n = (size_t)n;
    return 0;
}

/* How many bytes an item of its type and shape has at least; there may be
 * padding behind it. */
static int need_bytes(const struct reader *r, const struct item *i,
                      uint64_t *need)
{
    switch (i->type) {
    case TYPE_F32:
        *need = 4 * (uint64_t)i->n;
        return 0;
    case TYPE_INTGEMM8:
        *need = (uint64_t)i->n + 4;
        return 0;
    case TYPE_INT8:
        *need = i->n;
        return 0;
    default:
        return err_set(r->e, ERR_UNSUPPORTED,
                       "%s: tensor '%s' has the unsupported type 0x%llx, "
                       "expected float32 (0x404) or intgemm8 (0x4101)",
                       r->label, i->name, (unsigned long long)i->type);
    }
}

static int place_data(struct reader *r, struct item *item, int n)
{
    uint64_t pad = 0, need = 0;
    if (take(r, 8, &pad))
        return -1;
    if (pad > r->bytes - r->at)
        return bad(r, "has more padding than bytes");
    r->at += (size_t)pad;
    for (int i = 0; i < n; i++) {
        if (need_bytes(r, &item[i], &need))
            return -1;
        if (item[i].bytes < need)
            return bad_item(r, item[i].name, "is shorter than its shape asks");
        if (item[i].bytes > r->bytes - r->at)
            return bad_item(r, item[i].name, "ends behind the file");
        item[i].data = r->p + r->at;
        r->at += (size_t)item[i].bytes;
    }
    return r->at == r->bytes ? 0 : bad(r, "bytes after the last tensor");
}

static int take_items(struct reader *r, struct item *item, int n)
{
    uint64_t *name_bytes = mem_array((size_t)n, sizeof *name_bytes);
    if (!name_bytes)
        return err_nomem(r->e);
    int rc = take_heads(r, item, n, name_bytes);
    for (int i = 0; i < n && rc == 0; i++)
        rc = take_shape(r, &item[i]);
    if (rc == 0)
        rc = place_data(r, item, n);
    mem_free(name_bytes);
    return rc;
}

/* ----------------------------------------------------------------- tensors */

static int is_table(const char *name)
{
    return strstr(name, "Wemb") || strstr(name, "Wpos");
}

/* What numbers of 8 bits are times: one over the factor behind them. */
static int take_scale(const struct reader *r, const struct item *i,
                      float *scale)
{
    uint32_t bits = (uint32_t)number(i->data + i->n, 4);
    float factor;
    memcpy(&factor, &bits, sizeof factor);
    if (!isnormal(factor) || factor < 0)
        return bad_item(r, i->name,
                        "has a factor that is no positive normal number");
    *scale = 1 / factor;
    if (!isfinite(128 * *scale))
        return bad_item(r, i->name, "has a factor that is too small");
    return isnormal(*scale)
               ? 0
               : bad_item(r, i->name, "has a factor that is too large");
}

/* fp32 [rows, cols] as [cols, rows]. */
static void turn(const struct item *i, int64_t rows, int64_t cols, float *to)
{
    for (int64_t a = 0; a < rows; a++)
        for (int64_t b = 0; b < cols; b++)
            memcpy(&to[b * rows + a], i->data + 4 * (a * cols + b), 4);
}

static int make_tensor(const struct reader *r, const struct item *i,
                       struct tensor *t, float **copy)
{
    int64_t rows = i->n_dims == 2 ? i->dim[0] : 1;
    int64_t cols = rows ? (int64_t)i->n / rows : 0;
    int turned = !is_table(i->name) && rows > 1;
    if (i->type == TYPE_INT8 || i->n_dims > 2)
        return bad_item(r, i->name,
                        "is neither a vector nor a matrix of numbers");
    *t = (struct tensor){.name = i->name,
                         .dtype = DT_F32,
                         .n_dims = rows > 1 ? 2 : 1,
                         .dim = {turned ? cols : rows, turned ? rows : cols},
                         .data = i->data,
                         .bytes = i->n * sizeof(float)};
    if (rows == 1)
        t->dim[0] = cols;
    if (i->type == TYPE_INTGEMM8) {
        t->dtype = DT_I8;
        t->bytes = i->n;
        return take_scale(r, i, &t->scale);
    }
    if (!turned)
        return 0;
    *copy = mem_room(i->n);
    if (!*copy)
        return err_nomem(r->e);
    t->data = *copy;
    turn(i, rows, cols, *copy);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static int check_names(const struct reader *r, const struct item *item, int n)
{
    const char **name = mem_array((size_t)n, sizeof *name);
    int rc = 0;
    if (!name)
        return err_nomem(r->e);
    for (int i = 0; i < n; i++)
        name[i] = item[i].name;
    qsort((void *)name, (size_t)n, sizeof *name, by_name);
    for (int i = 1; i < n && rc == 0; i++)
        if (strcmp(name[i], name[i - 1]) == 0)
            rc = bad_item(r, name[i], "appears twice");
    mem_free((void *)name);
    return rc;
}

static int list_tensors(const struct reader *r, const struct item *item, int n,
                        struct marian_bin *m)
{
    m->t = mem_zarray((size_t)n, sizeof *m->t);
    m->turned = mem_zarray((size_t)n, sizeof *m->turned);
    if (!m->t || !m->turned)
        return err_nomem(r->e);
    for (int i = 0; i < n; i++) {
        if (strncmp(item[i].name, "special:", 8) == 0)
            continue;
        m->n++;
        if (make_tensor(r, &item[i], &m->t[m->n - 1], &m->turned[m->n - 1]))
            return -1;
    }
    return 0;
}

/* All of the header: *out [*n] is the caller's, also after an error. */
static int read_items(struct reader *r, struct item **out, int *n)
{
    uint64_t version = 0, count = 0;
    *out = NULL;
    if (take(r, 8, &version) || take(r, 8, &count))
        return -1;
    if (version != VERSION)
        return bad(r, "is not a binary file of Marian, version 1");
    if (count < 1 || count > MAX_ITEMS || count > r->bytes / ITEM_BYTES)
        return bad(r, "has no items, or more than the file has room for");
    *n = (int)count;
    *out = mem_zarray((size_t)count, sizeof **out);
    if (!*out)
        return err_nomem(r->e);
    return take_items(r, *out, *n) || check_names(r, *out, *n) ? -1 : 0;
}

int marian_bin_parse(const uint8_t *map, size_t bytes, const char *label,
                     struct marian_bin **out, struct err *e)
{
    struct reader r = {map, bytes, 0, label, e};
    struct marian_bin *m = mem_zalloc(sizeof *m);
    struct item *item;
    int n;
    *out = NULL;
    if (!m)
        return err_nomem(e);
    int rc = read_items(&r, &item, &n);
    if (rc == 0)
        rc = list_tensors(&r, item, n, m);
    mem_free(item);
    if (rc)
        marian_bin_free(m);
    else
        *out = m;
    return rc;
}

void marian_bin_free(struct marian_bin *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->n && m->turned; i++)
        mem_aligned_free(m->turned[i]);
    mem_free((void *)m->turned);
    mem_free(m->t);
    mem_free(m);
}

int marian_bin_count(const struct marian_bin *m)
{
    return m->n;
}

const struct tensor *marian_bin_at(const struct marian_bin *m, int i)
{
    return i >= 0 && i < m->n ? &m->t[i] : NULL;
}

/* ----------------------------------------------------------- configuration */

int marian_bin_hparams(const uint8_t *map, size_t bytes, const char *label,
                       struct hparams **out, struct err *e)
{
    struct reader r = {map, bytes, 0, label, e};
    const struct item *yml = NULL;
    struct item *item;
    struct buf text;
    int n = 0;
    *out = NULL;
    int rc = read_items(&r, &item, &n);
    for (int i = 0; i < n && rc == 0; i++)
        if (strcmp(item[i].name, "special:model.yml") == 0)
            yml = &item[i];
    if (rc == 0 && !yml)
        rc = bad(&r, "has no 'special:model.yml'");
    buf_init(&text, HPARAMS_MAX_BYTES);
    if (rc == 0)
        rc = marian_yml_json(
                 (const char *)yml->data,
                 strnlen((const char *)yml->data, (size_t)yml->bytes), label,
                 &text, e) ||
             hparams_parse(text.p, text.len, label, out, e);
    buf_fini(&text);
    mem_free(item);
    return rc ? -1 : 0;
}
