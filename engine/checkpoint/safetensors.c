/* safetensors: the reader (safetensors.h says what it enforces). The parsed
 * header stays alive: names point into it. Tensors are kept in
 * the order of their data, which makes the check for holes and overlaps one
 * walk.
 * Source: huggingface/safetensors, README.md, "Format".
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"

#define MAX_HEADER ((uint64_t)16 << 20)
#define MAX_TENSORS 65536
#define MAX_NAME 256

struct safetensors_index {
    struct json *header;
    struct tensor *t; /* [n], by data offset */
    int n;
};

/* What parsing one file hands around. */
struct parse {
    const char *label;
    const uint8_t *data; /* the bytes after the header */
    uint64_t data_bytes;
    struct err *e;
};

static int bad(const struct parse *p, const char *what)
{
    return err_set(p->e, ERR_FORMAT, "%s: %s", p->label, what);
}

static int bad_tensor(const struct parse *p, const char *name, const char *what)
{
    return err_set(p->e, ERR_FORMAT, "%s: tensor '%s' %s", p->label, name,
                   what);
}

/* The types of the format that we do not read. */
static int is_foreign_dtype(const char *s)
{
    static const char *const names[] = {"F8_E5M2", "F8_E4M3", "I16", "U16",
                                        "U32",     "U64",     NULL};
    for (int i = 0; names[i]; i++)
        if (strcmp(s, names[i]) == 0)
            return 1;
    return 0;
}

static int read_dtype(const struct parse *p, const struct json *j,
                      struct tensor *t)
{
    const char *s = json_string(j);
    if (!s)
        return bad_tensor(p, t->name, "has no dtype");
    for (int d = 0; d <= DT_I8; d++) { /* the plain ones, and I8 */
        if (strcmp(s, dtype_name((enum dtype)d)) == 0) {
            t->dtype = (enum dtype)d;
            return 0;
        }
    }
    /* A byte each: masks in old GPT-2 and GPT-NeoX files, read by nobody. */
    if (strcmp(s, "BOOL") == 0) {
        t->dtype = DT_U8;
        return 0;
    }
    int foreign = is_foreign_dtype(s);
    return err_set(p->e, foreign ? ERR_UNSUPPORTED : ERR_FORMAT,
                   "%s: tensor '%s' has the %s dtype '%.16s'", p->label,
                   t->name, foreign ? "unsupported" : "unknown", s);
}

/* Fills dims and, from their product, bytes. */
static int read_shape(const struct parse *p, const struct json *j,
                      struct tensor *t)
{
    if (!j || json_type(j) != JSON_ARRAY)
        return bad_tensor(p, t->name, "has no shape");
    uint64_t bytes = dtype_bytes(t->dtype);
    for (const struct json *c = json_child(j); c; c = json_next(c)) {
        int64_t d;
        if (t->n_dims == TENSOR_MAX_DIMS)
            return bad_tensor(p, t->name, "has more than 8 dimensions");
        if (json_int(c, &d) || d < 0)
            return bad_tensor(p, t->name, "has a bad dimension");
        t->dim[t->n_dims++] = d;
        if (__builtin_mul_overflow(bytes, (uint64_t)d, &bytes))
            return bad_tensor(p, t->name, "is too large");
    }
    if (bytes > SIZE_MAX)
        return bad_tensor(p, t->name, "is too large");
    t->bytes = (size_t)bytes;
    return 0;
}

static int read_offsets(const struct parse *p, const struct json *j,
                        struct tensor *t)
{
    const struct json *first = json_child(j), *second = json_next(first);
    int64_t begin, end;
    if (!j || json_type(j) != JSON_ARRAY || !second || json_next(second) ||
        json_int(first, &begin) || json_int(second, &end))
        return bad_tensor(p, t->name, "has no two data_offsets");
    if (begin < 0 || end < begin || (uint64_t)end > p->data_bytes)
        return bad_tensor(p, t->name, "has data_offsets outside the file");
    if ((uint64_t)(end - begin) != t->bytes) {
        return err_set(p->e, ERR_FORMAT,
                       "%s: tensor '%s' has %lld bytes of data, expected %zu",
                       p->label, t->name, (long long)(end - begin), t->bytes);
    }
    t->data = p->data + begin;
    return 0;
}

static int read_tensor(const struct parse *p, const struct json *j,
                       struct tensor *t)
{
    memset(t, 0, sizeof *t);
    t->name = json_key(j);
    size_t len = strlen(t->name);
    if (len == 0 || len > MAX_NAME) {
        return err_set(p->e, ERR_FORMAT,
                       "%s: tensor name of %zu bytes, expected 1..%d", p->label,
                       len, MAX_NAME);
    }
    if (json_type(j) != JSON_OBJECT || json_size(j) != 3) {
        return bad_tensor(p, t->name,
                          "is not described by dtype, shape and data_offsets");
    }
    if (read_dtype(p, json_get(j, "dtype"), t) ||
        read_shape(p, json_get(j, "shape"), t) ||
        read_offsets(p, json_get(j, "data_offsets"), t))
        return -1;
    return 0;
}

static int check_metadata(const struct parse *p, const struct json *j)
{
    if (json_type(j) != JSON_OBJECT)
        return bad(p, "__metadata__ is not an object");
    for (const struct json *c = json_child(j); c; c = json_next(c))
        if (!json_string(c))
            return bad(p, "__metadata__ holds a value that is no string");
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;
    uintptr_t px = (uintptr_t)x->data, py = (uintptr_t)y->data;
    if (px != py)
        return px < py ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* The tensors cover the data: no hole, no overlap, nothing left over. */
static int check_cover(const struct parse *p, const struct tensor *t, int n)
{
    const uint8_t *at = p->data;
    for (int i = 0; i < n; i++) {
        const uint8_t *d = t[i].data;
        if (d != at) {
            return bad_tensor(p, t[i].name,
                              d < at ? "overlaps another" : "follows a hole");
        }
        at += t[i].bytes;
    }
    if (at != p->data + p->data_bytes)
        return bad(p, "bytes after the last tensor");
    return 0;
}

static int read_header(const struct parse *p, struct safetensors_index *x)
{
    int n = json_size(x->header);
    if (n > MAX_TENSORS + 1) {
        return err_set(p->e, ERR_FORMAT, "%s: %d tensors, at most %d", p->label,
                       n, MAX_TENSORS);
    }
    x->t = mem_zarray((size_t)n + 1, sizeof *x->t);
    if (!x->t)
        return err_nomem(p->e);
    const struct json *j = json_child(x->header);
    for (; j; j = json_next(j)) {
        if (strcmp(json_key(j), "__metadata__") == 0) {
            if (check_metadata(p, j))
                return -1;
            continue;
        }
        if (read_tensor(p, j, &x->t[x->n]))
            return -1;
        x->n++;
    }
    if (x->n > MAX_TENSORS) {
        return err_set(p->e, ERR_FORMAT, "%s: %d tensors, at most %d", p->label,
                       x->n, MAX_TENSORS);
    }
    qsort(x->t, (size_t)x->n, sizeof *x->t, by_offset);
    return check_cover(p, x->t, x->n);
}

/* The header's length in bytes, checked against the file. */
static int header_bytes(const struct parse *p, const uint8_t *map, size_t bytes,
                        uint64_t *out)
{
    uint64_t n = 0;
    if (bytes < 8)
        return bad(p, "shorter than 8 bytes");
    for (int i = 0; i < 8; i++)
        n |= (uint64_t)map[i] << (8 * i);
    if (n > MAX_HEADER) {
        return err_set(p->e, ERR_FORMAT,
                       "%s: header of %llu bytes, at most %llu", p->label,
                       (unsigned long long)n, (unsigned long long)MAX_HEADER);
    }
    if (n > bytes - 8)
        return bad(p, "header longer than the file");
    if (n == 0 || map[8] != '{')
        return bad(p, "header does not start with '{'");
    *out = n;
    return 0;
}

int safetensors_parse(const uint8_t *map, size_t bytes, const char *label,
                      struct safetensors_index **out, struct err *e)
{
    struct parse p = {label, NULL, 0, e};
    uint64_t n = 0;
    *out = NULL;
    if (header_bytes(&p, map, bytes, &n))
        return -1;
    p.data = map + 8 + n;
    p.data_bytes = bytes - 8 - n;
    struct safetensors_index *x = mem_zalloc(sizeof *x);
    if (!x)
        return err_nomem(e);
    /* A tensor is 5 values and its dimensions; depth: header, tensor, list. */
    const struct json_limits lim = {(size_t)MAX_HEADER, 3,
                                    (size_t)16 * MAX_TENSORS};
    struct err inner = ERR_INIT;
    int rc =
        json_parse((const char *)map + 8, (size_t)n, &lim, &x->header, &inner);
    if (rc) {
        enum err_code code = inner.code == ERR_NOMEM ? ERR_NOMEM : ERR_FORMAT;
        err_set(e, code, "%s: header: %.180s", label, inner.msg);
    } else {
        rc = read_header(&p, x);
    }
    if (rc) {
        safetensors_index_free(x);
        return -1;
    }
    *out = x;
    return 0;
}

void safetensors_index_free(struct safetensors_index *x)
{
    if (x) {
        json_free(x->header);
        mem_free(x->t);
        mem_free(x);
    }
}

int safetensors_index_count(const struct safetensors_index *x)
{
    return x->n;
}

const struct tensor *safetensors_index_at(const struct safetensors_index *x,
                                          int i)
{
    return i >= 0 && i < x->n ? &x->t[i] : NULL;
}
