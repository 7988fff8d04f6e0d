/* gguf: reading the file (gguf.h says what is promised). Keys and tensor
 * names are copied; strings and arrays stay in the mapping, by offsets and
 * lengths that were checked once and are kept: a file that is changed under
 * us changes values, never bounds. Counts are checked against the bytes that
 * remain before anything is allocated for them.
 * Source: ggml, docs/gguf.md; ggml.h (type numbers).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/checkpoint/gguf_tensors.h"
#include "engine/checkpoint/mapped.h"

#define HEADER_BYTES 24
#define MAX_KEYS 65536
#define MAX_TENSORS 65536
#define MAX_KEY 256       /* bytes */
#define MAX_ALIGN 1048576 /* a real one is 32 or 4,096 */
#define LEAST_KEY 13      /* bytes of a key's length, type and a byte */
#define LEAST_TENSOR 24   /* of a name's length, dimensions, type, offset */

/* A value: `at` is where its bytes begin (of an array: its elements). */
struct pair {
    char *key;
    enum gguf_type type, elem; /* elem is type but for arrays */
    size_t len, at;
    size_t *str;  /* arrays of strings: [len + 1] where each begins, and where
                    one more would */
    size_t bytes; /* of a scalar string */
};

struct gguf {
    struct mapped file;
    char label[256];
    struct pair *pair;          /* [n_pair] as in the file */
    const struct pair **by_key; /* [n_pair] */
    int n_pair;
    struct tensor *t; /* [n_t] as in the file; names are owned */
    int n_t;
};

static const uint8_t type_bytes[] = {
    [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2,
    [GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1,
    [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
};

/* --- the cursor --- */

int gguf_take(struct gguf_cursor *c, size_t n, const char *what)
{
    if (n > c->bytes - c->at) {
        return err_set(c->e, ERR_FORMAT,
                       "%s: the file ends inside %s: %zu bytes expected, %zu "
                       "left",
                       c->label, what, n, c->bytes - c->at);
    }
    c->at += n;
    return 0;
}

static uint64_t little(const uint8_t *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

int gguf_take_int(struct gguf_cursor *c, int n, const char *what, uint64_t *v)
{
    if (gguf_take(c, (size_t)n, what))
        return -1;
    *v = little(c->p + c->at - n, n);
    return 0;
}

/* A string's length, checked; the cursor is put behind the string. */
static int take_string(struct gguf_cursor *c, const char *what, size_t *at,
                       size_t *bytes)
{
    uint64_t n;
    if (gguf_take_int(c, 8, what, &n))
        return -1;
    if (n > c->bytes - c->at) {
        return err_set(c->e, ERR_FORMAT,
                       "%s: %s has a string of %llu bytes, %zu are left",
                       c->label, what, (unsigned long long)n, c->bytes - c->at);
    }
    *at = c->at;
    *bytes = (size_t)n;
    c->at += (size_t)n;
    return 0;
}

int gguf_take_name(struct gguf_cursor *c, const char *what, size_t max,
                   char **out)
{
    size_t at, n;
    if (take_string(c, what, &at, &n))
        return -1;
    if (n == 0 || n > max) {
        return err_set(c->e, ERR_FORMAT,
                       "%s: %s has a name of %zu bytes, expected 1..%zu",
                       c->label, what, n, max);
    }
    char *s = mem_strndup((const char *)c->p + at, n);
    if (!s)
        return err_nomem(c->e);
    *out = s;
    if (strlen(s) != n || !utf8_valid(s, n)) {
        return err_set(c->e, ERR_FORMAT,
                       "%s: %s has a name that is not UTF-8 text", c->label,
                       what);
    }
    return 0;
}

/* --- metadata --- */

static int bad_pair(const struct gguf_cursor *c, const struct pair *p,
                    const char *what)
{
    return err_set(c->e, ERR_FORMAT, "%s: metadata '%.80s' %s", c->label,
                   p->key, what);
}

/* One of the types we know; arrays are for the caller to refuse. */
static int take_type(struct gguf_cursor *c, const struct pair *p,
                     enum gguf_type *out)
{
    uint64_t v;
    if (gguf_take_int(c, 4, "a metadata type", &v))
        return -1;
    if (v > GGUF_F64) {
        return err_set(c->e, ERR_FORMAT,
                       "%s: metadata '%.80s' has the unknown type %llu, "
                       "expected 0..%d",
                       c->label, p->key, (unsigned long long)v, GGUF_F64);
    }
    *out = (enum gguf_type)v;
    return 0;
}

static int take_strings(struct gguf_cursor *c, struct pair *p)
{
    size_t at, n;
    p->str = mem_array(p->len + 1, sizeof *p->str);
    if (!p->str)
        return err_nomem(c->e);
    for (size_t i = 0; i < p->len; i++) {
        if (take_string(c, p->key, &at, &n))
            return -1;
        p->str[i] = at;
    }
    p->str[p->len] = c->at + 8; /* so that each ends 8 before the next */
    return 0;
}

static int check_bools(const struct gguf_cursor *c, const struct pair *p)
{
    for (size_t i = 0; i < p->len; i++)
        if (c->p[p->at + i] > 1)
            return bad_pair(c, p, "holds a boolean that is neither 0 nor 1");
    return 0;
}

/* `len` numbers. */
static int take_numbers(struct gguf_cursor *c, struct pair *p)
{
    size_t each = type_bytes[p->elem];
    if (p->len > (c->bytes - c->at) / each)
        return bad_pair(c, p, "has more elements than the file has bytes");
    c->at += p->len * each;
    return p->elem == GGUF_BOOL ? check_bools(c, p) : 0;
}

static int take_array(struct gguf_cursor *c, struct pair *p)
{
    uint64_t n;
    if (take_type(c, p, &p->elem) || gguf_take_int(c, 8, "an array", &n))
        return -1;
    if (p->elem == GGUF_ARRAY) {
        return err_set(c->e, ERR_UNSUPPORTED,
                       "%s: metadata '%.80s' is an array of arrays", c->label,
                       p->key);
    }
    size_t least = p->elem == GGUF_STRING ? 8 : type_bytes[p->elem];
    if (n > (c->bytes - c->at) / least)
        return bad_pair(c, p, "has more elements than the file has bytes");
    p->len = (size_t)n;
    p->at = c->at;
    return p->elem == GGUF_STRING ? take_strings(c, p) : take_numbers(c, p);
}

static int take_pair(struct gguf_cursor *c, struct pair *p)
{
    if (gguf_take_name(c, "a metadata key", MAX_KEY, &p->key) ||
        take_type(c, p, &p->type))
        return -1;
    p->elem = p->type;
    p->len = 1;
    p->at = c->at;
    if (p->type == GGUF_ARRAY)
        return take_array(c, p);
    if (p->type == GGUF_STRING)
        return take_string(c, p->key, &p->at, &p->bytes);
    return take_numbers(c, p);
}

static int by_key(const void *a, const void *b)
{
    const struct pair *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

static int sort_keys(const struct gguf_cursor *c, struct gguf *g)
{
    g->by_key = mem_array((size_t)g->n_pair + 1, sizeof(struct pair *));
    if (!g->by_key)
        return err_nomem(c->e);
    for (int i = 0; i < g->n_pair; i++)
        g->by_key[i] = &g->pair[i];
    qsort((void *)g->by_key, (size_t)g->n_pair, sizeof *g->by_key, by_key);
    for (int i = 1; i < g->n_pair; i++)
        if (by_key(&g->by_key[i - 1], &g->by_key[i]) == 0)
            return bad_pair(c, g->by_key[i], "appears twice");
    return 0;
}

static int take_pairs(struct gguf_cursor *c, struct gguf *g, uint64_t n)
{
    if (n > MAX_KEYS || n > (c->bytes - c->at) / LEAST_KEY) {
        return err_set(c->e, ERR_FORMAT,
                       "%s: header: %llu metadata keys, at most %d and what "
                       "%zu bytes hold",
                       c->label, (unsigned long long)n, MAX_KEYS,
                       c->bytes - c->at);
    }
    g->pair = mem_zarray((size_t)n + 1, sizeof *g->pair);
    if (!g->pair)
        return err_nomem(c->e);
    while ((uint64_t)g->n_pair < n)
        if (take_pair(c, &g->pair[g->n_pair++]))
            return -1;
    return sort_keys(c, g);
}

/* --- the file --- */

/* Bytes that tensors and the data section are aligned to. */
static int read_alignment(const struct gguf_cursor *c, const struct gguf *g,
                          size_t *out)
{
    int i = gguf_find(g, "general.alignment");
    int64_t v = 32;
    if (i >= 0 && (gguf_type(g, i) == GGUF_ARRAY || gguf_int(g, i, 0, &v) ||
                   v < 1 || v > MAX_ALIGN || (v & (v - 1)))) {
        return err_set(c->e, ERR_FORMAT,
                       "%s: metadata 'general.alignment' is no power of two "
                       "in 1..%d",
                       c->label, MAX_ALIGN);
    }
    *out = (size_t)v;
    return 0;
}

static int take_header(struct gguf_cursor *c, uint64_t *n_t, uint64_t *n_pair)
{
    uint64_t version;
    if (memcmp(c->p, "GGUF", 4) != 0) {
        return err_set(c->e, ERR_FORMAT,
                       "%s: does not begin with 'GGUF': not a GGUF file, nor a "
                       "state dict of torch.save (a zip); other forms are read "
                       "from their folder, with config.json",
                       c->label);
    }
    c->at = 4;
    if (gguf_take_int(c, 4, "the header", &version))
        return -1;
    if (version && (version & 0xffff) == 0) {
        return err_set(c->e, ERR_UNSUPPORTED,
                       "%s: header: a big-endian file, expected little-endian",
                       c->label);
    }
    if (version != 2 && version != 3) {
        return err_set(c->e, ERR_UNSUPPORTED,
                       "%s: header: version %llu, expected 2 or 3", c->label,
                       (unsigned long long)version);
    }
    return gguf_take_int(c, 8, "the header", n_t) ||
                   gguf_take_int(c, 8, "the header", n_pair)
               ? -1
               : 0;
}

static int take_tensors(struct gguf_cursor *c, struct gguf *g, uint64_t n)
{
    size_t align = 0;
    if (read_alignment(c, g, &align))
        return -1;
    if (n > MAX_TENSORS || n > (c->bytes - c->at) / LEAST_TENSOR) {
        return err_set(c->e, ERR_FORMAT,
                       "%s: header: %llu tensors, at most %d and what %zu "
                       "bytes hold",
                       c->label, (unsigned long long)n, MAX_TENSORS,
                       c->bytes - c->at);
    }
    g->t = mem_zarray((size_t)n + 1, sizeof *g->t);
    if (!g->t)
        return err_nomem(c->e);
    g->n_t = (int)n;
    return gguf_take_tensors(c, g->t, g->n_t, align);
}

static int parse(struct gguf *g, struct err *e)
{
    struct gguf_cursor c = {g->file.p, g->file.bytes, 0, g->label, e};
    uint64_t n_t = 0, n_pair = 0;
    return take_header(&c, &n_t, &n_pair) || take_pairs(&c, g, n_pair) ||
                   take_tensors(&c, g, n_t)
               ? -1
               : 0;
}

int gguf_open(const char *path, const char *label, struct gguf **out,
              struct err *e)
{
    *out = NULL;
    struct gguf *g = mem_zalloc(sizeof *g);
    if (!g)
        return err_nomem(e);
    snprintf(g->label, sizeof g->label, "%s", label);
    if (mapped_open(&g->file, path, HEADER_BYTES, label, e) || parse(g, e)) {
        gguf_close(g);
        return -1;
    }
    *out = g;
    return 0;
}

int gguf_parse(const uint8_t *p, size_t n, const char *label, struct gguf **out,
               struct err *e)
{
    *out = NULL;
    struct gguf *g = mem_zalloc(sizeof *g);
    if (!g)
        return err_nomem(e);
    snprintf(g->label, sizeof g->label, "%s", label);
    mapped_lend(&g->file, p, n);
    if (n < HEADER_BYTES) {
        err_set(e, ERR_FORMAT, "%s: shorter than %d bytes", label,
                HEADER_BYTES);
    } else if (parse(g, e) == 0) {
        *out = g;
        return 0;
    }
    gguf_close(g);
    return -1;
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    mapped_close(&g->file);
    for (int i = 0; i < g->n_pair; i++) {
        mem_free(g->pair[i].key);
        mem_free(g->pair[i].str);
    }
    for (int i = 0; i < g->n_t; i++)
        mem_free((void *)(uintptr_t)g->t[i].name);
    mem_free(g->pair);
    mem_free((void *)g->by_key);
    mem_free(g->t);
    mem_free(g);
}

/* --- access --- */

const char *gguf_label(const struct gguf *g)
{
    return g->label;
}

int gguf_n_keys(const struct gguf *g)
{
    return g->n_pair;
}

const char *gguf_key(const struct gguf *g, int i)
{
    return g->pair[i].key;
}

static int compare_key(const void *key, const void *at)
{
    const struct pair *const *p = at;
    return strcmp(key, (*p)->key);
}

int gguf_find(const struct gguf *g, const char *key)
{
    const struct pair *const *p =
        bsearch(key, (const void *)g->by_key, (size_t)g->n_pair,
                sizeof *g->by_key, compare_key);
    return p ? (int)(*p - g->pair) : -1;
}

enum gguf_type gguf_type(const struct gguf *g, int i)
{
    return g->pair[i].type;
}

enum gguf_type gguf_elem(const struct gguf *g, int i)
{
    return g->pair[i].elem;
}

size_t gguf_len(const struct gguf *g, int i)
{
    return g->pair[i].len;
}

int gguf_string(const struct gguf *g, int i, size_t at, const char **s,
                size_t *n)
{
    const struct pair *p = &g->pair[i];
    if (p->elem != GGUF_STRING || at >= p->len)
        return -1;
    size_t from = p->str ? p->str[at] : p->at;
    *n = p->str ? p->str[at + 1] - 8 - from : p->bytes;
    *s = (const char *)g->file.p + from;
    return 0;
}

/* Where element `at` is, or NULL. */
static const uint8_t *number(const struct pair *p, const struct gguf *g,
                             size_t at)
{
    if (p->elem == GGUF_STRING || at >= p->len)
        return NULL;
    return g->file.p + p->at + at * type_bytes[p->elem];
}

int gguf_int(const struct gguf *g, int i, size_t at, int64_t *v)
{
    const struct pair *p = &g->pair[i];
    const uint8_t *b = number(p, g, at);
    if (!b || p->elem == GGUF_F32 || p->elem == GGUF_F64)
        return -1;
    uint64_t u = little(b, type_bytes[p->elem]);
    int wide = p->elem == GGUF_U64 && u > INT64_MAX;
    *v = p->elem == GGUF_I8    ? (int8_t)u
         : p->elem == GGUF_I16 ? (int16_t)u
         : p->elem == GGUF_I32 ? (int32_t)u
                               : (int64_t)u;
    return wide ? -1 : 0;
}

int gguf_float(const struct gguf *g, int i, size_t at, double *v)
{
    const struct pair *p = &g->pair[i];
    const uint8_t *b = number(p, g, at);
    int64_t whole;
    float f;
    if (b && p->elem == GGUF_F32) {
        memcpy(&f, b, sizeof(f));
        *v = (double)f;
        return 0;
    }
    if (b && p->elem == GGUF_F64) {
        memcpy(v, b, sizeof *v);
        return 0;
    }
    if (b && p->elem == GGUF_U64) {
        *v = (double)little(b, 8);
        return 0;
    }
    if (gguf_int(g, i, at, &whole))
        return -1;
    *v = (double)whole;
    return 0;
}

int gguf_n_tensors(const struct gguf *g)
{
    return g->n_t;
}

const struct tensor *gguf_tensor(const struct gguf *g, int i)
{
    return i >= 0 && i < g->n_t ? &g->t[i] : NULL;
}

struct mapped *gguf_file(struct gguf *g)
{
    return &g->file;
}
