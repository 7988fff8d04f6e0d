/* safetensors_save: the writer. The file appears whole or not at all: it is
 * written beside its place, synchronised and renamed. Data is converted in
 * small blocks, so that saving needs no second copy of the model.
 *
 * A tensor of I8 is two of the file: its numbers and their scales. Those of
 * wider types come first, so that all are aligned; otherwise the order is that
 * of the list.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/scales.h"
#include "engine/compute/dtype.h"

#define BLOCK 4096 /* elements converted at a time */
#define MAX_HEADER ((size_t)16 << 20)

/* What one entry of the file holds. */
enum part { NUMBERS, SCALES };

static int element_count(const struct save_tensor *t, size_t *n)
{
    size_t count = 1;
    if (t->n_dims < 0 || t->n_dims > TENSOR_MAX_DIMS)
        return -1;
    for (int i = 0; i < t->n_dims; i++)
        if (t->dim[i] < 0 ||
            __builtin_mul_overflow(count, (size_t)t->dim[i], &count))
            return -1;
    *n = count;
    return 0;
}

static size_t n_scales(const struct save_tensor *t)
{
    return (size_t)t->dim[t->by_column != 0];
}

/* Its bytes are those of the file that it comes from. */
static int is_copied(const struct save_tensor *t)
{
    const struct tensor *f = t->data ? NULL : t->from;
    return f && f->dtype == t->dtype &&
           (f->dtype != DT_I8 || (f->scales && !f->by_column == !t->by_column));
}

/* Whether it can be written, and how many numbers it has. */
static int check(const struct save_tensor *t, size_t *n)
{
    size_t bytes, have;
    int plain = t->dtype == DT_F32 || t->dtype == DT_F16 || t->dtype == DT_BF16;
    if ((!plain && t->dtype != DT_I8 && !is_copied(t)) ||
        dtype_quantised(t->dtype) || (t->dtype == DT_I8 && t->n_dims != 2) ||
        element_count(t, n) ||
        __builtin_mul_overflow(*n, dtype_bytes(t->dtype), &bytes))
        return -1;
    if (t->data)
        return 0;
    have = t->from ? t->from->bytes / dtype_block_bytes(t->from->dtype) *
                         (size_t)dtype_block(t->from->dtype)
                   : 0;
    return t->from && have == *n ? 0 : -1;
}

/* ------------------------------------------------------------------ header */

static void put_meta(struct buf *h, const char *const (*meta)[2], int n)
{
    buf_add_str(h, "\"__metadata__\":{");
    for (int i = 0; i < n; i++) {
        if (i)
            buf_add_char(h, ',');
        buf_add_json_string(h, meta[i][0], strlen(meta[i][0]));
        buf_add_char(h, ':');
        buf_add_json_string(h, meta[i][1], strlen(meta[i][1]));
    }
    buf_add_char(h, '}');
}

static void put_name(struct buf *h, const struct save_tensor *t, enum part part)
{
    struct buf name;
    buf_init(&name, MAX_HEADER);
    buf_add_str(&name, t->name);
    if (part == SCALES)
        buf_add_str(&name, SCALES_END);
    buf_add_json_string(h, name.p, name.len);
    h->failed |= name.failed;
    buf_fini(&name);
}

static void put_shape(struct buf *h, const struct save_tensor *t,
                      enum part part)
{
    if (part == SCALES && t->by_column)
        buf_add_str(h, "1,");
    if (part == SCALES)
        buf_add_int(h, t->dim[t->by_column != 0]);
    for (int i = 0; i < t->n_dims && part == NUMBERS; i++) {
        if (i)
            buf_add_char(h, ',');
        buf_add_int(h, t->dim[i]);
    }
}

static int put_entry(struct buf *h, const struct save_tensor *t, enum part part,
                     uint64_t *offset)
{
    enum dtype d = part == SCALES ? DT_F32 : t->dtype;
    size_t n;
    if (check(t, &n))
        return -1;
    if (part == SCALES)
        n = n_scales(t);
    put_name(h, t, part);
    buf_addf(h, ":{\"dtype\":\"%s\",\"shape\":[", dtype_name(d));
    put_shape(h, t, part);
    uint64_t end = *offset + n * dtype_bytes(d);
    buf_addf(h, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)*offset,
             (unsigned long long)end);
    *offset = end;
    return 0;
}

/* -------------------------------------------------------------------- data */

/* n numbers from element `at` on. */
static void read_numbers(const struct save_tensor *t, size_t at, size_t n,
                         float *to)
{
    if (t->data)
        memcpy(to, t->data + at, n * sizeof *to);
    else
        tensor_read(t->from, at, n, to);
}

/* The scales of an I8, new memory: NULL, with the reason in e. */
static float *make_scales(const struct save_tensor *t, struct err *e)
{
    size_t n = n_scales(t), all = 0, cols = (size_t)t->dim[1];
    float *scale = mem_zarray(n + 1, sizeof *scale), block[BLOCK];
    int finite = 1;
    if (!scale) {
        err_nomem(e);
        return NULL;
    }
    element_count(t, &all);
    for (size_t at = 0; at < all; at += BLOCK) {
        size_t m = all - at < BLOCK ? all - at : BLOCK;
        read_numbers(t, at, m, block);
        for (size_t i = 0; i < m; i++) {
            float a = fabsf(block[i]);
            size_t k = t->by_column ? (at + i) % cols : (at + i) / cols;
            finite &= isfinite(a) != 0;
            scale[k] = a > scale[k] ? a : scale[k];
        }
    }
    for (size_t k = 0; k < n; k++)
        scale[k] = dtype_i8_scale(scale[k]);
    if (finite)
        return scale;
    err_set(e, ERR_INVALID, "tensor '%s' " TENSOR_NOT_FINITE, t->name);
    mem_free(scale);
    return NULL;
}

static int write_i8(FILE *f, const struct save_tensor *t, const float *scale,
                    size_t n)
{
    size_t cols = (size_t)t->dim[1];
    float block[BLOCK];
    int8_t q[BLOCK];
    for (size_t at = 0; at < n; at += BLOCK) {
        size_t m = n - at < BLOCK ? n - at : BLOCK;
        read_numbers(t, at, m, block);
        for (size_t i = 0; i < m; i++)
            q[i] = dtype_to_i8(
                block[i],
                scale[t->by_column ? (at + i) % cols : (at + i) / cols]);
        if (fwrite(q, sizeof q[0], m, f) != m)
            return -1;
    }
    return 0;
}

static int write_floats(FILE *f, const struct save_tensor *t, size_t n)
{
    float block[BLOCK];
    uint16_t half[BLOCK];
    const void *from = half;
    size_t bytes = dtype_bytes(t->dtype);
    for (size_t at = 0; at < n; at += BLOCK) {
        size_t m = n - at < BLOCK ? n - at : BLOCK;
        read_numbers(t, at, m, block);
        if (t->dtype == DT_F32)
            from = block;
        for (size_t i = 0; i < m && from == half; i++)
            half[i] = t->dtype == DT_F16 ? dtype_to_f16(block[i])
                                         : dtype_to_bf16(block[i]);
        if (fwrite(from, bytes, m, f) != m)
            return -1;
    }
    return 0;
}

/* One entry; -1 with nothing in e: the file cannot be written. */
static int write_part(FILE *f, const struct save_tensor *t, enum part part,
                      struct err *e)
{
    size_t n = 0, want;
    element_count(t, &n);
    if (is_copied(t)) {
        want = part == SCALES ? n_scales(t) * sizeof(float) : t->from->bytes;
        return fwrite(part == SCALES ? t->from->scales : t->from->data, 1, want,
                      f) == want
                   ? 0
                   : -1;
    }
    if (t->dtype != DT_I8)
        return write_floats(f, t, n);
    float *scale = make_scales(t, e);
    if (!scale)
        return -1;
    int rc = part == NUMBERS ? write_i8(f, t, scale, n)
             : fwrite(scale, sizeof *scale, n_scales(t), f) == n_scales(t) ? 0
                                                                           : -1;
    mem_free(scale);
    return rc;
}

/* --------------------------------------------------------------------- all */

struct walk {
    struct buf *h; /* the header is made; NULL: data is written to f */
    FILE *f;
    uint64_t offset;
    int n; /* entries so far */
};

/* Bytes of a number; of what cannot be saved anything, so that it is met. */
static size_t place_of(enum dtype d)
{
    size_t bytes = dtype_bytes(d);
    return bytes ? bytes : 1;
}

static int visit(struct walk *w, const struct save_tensor *t, enum part part,
                 struct err *e)
{
    if (!w->h)
        return write_part(w->f, t, part, e);
    if (w->n++)
        buf_add_char(w->h, ',');
    return put_entry(w->h, t, part, &w->offset)
               ? err_set(e, ERR_INVALID, "tensor '%s' cannot be saved", t->name)
               : 0;
}

/* All entries in the order of the file: of 8 bytes a number, of 4, 2, 1. */
static int visit_all(struct walk *w, const struct save_tensor *t, int n,
                     struct err *e)
{
    for (size_t bytes = 8; bytes > 0; bytes /= 2)
        for (int i = 0; i < n; i++) {
            if (bytes == sizeof(float) && t[i].dtype == DT_I8 &&
                visit(w, &t[i], SCALES, e))
                return -1;
            if (bytes == place_of(t[i].dtype) && visit(w, &t[i], NUMBERS, e))
                return -1;
        }
    return 0;
}

/* The length and the header, padded with spaces so that data starts at a
 * multiple of 8. */
static int build_header(struct buf *h, const struct save_tensor *t, int n,
                        const char *const (*meta)[2], int n_meta, struct err *e)
{
    struct walk w = {.h = h};
    buf_add(h, "\0\0\0\0\0\0\0\0", 8);
    buf_add_char(h, '{');
    if (meta && n_meta > 0) {
        put_meta(h, meta, n_meta);
        w.n = 1;
    }
    if (visit_all(&w, t, n, e))
        return -1;
    buf_add_char(h, '}');
    while (h->len % 8 && !h->failed)
        buf_add_char(h, ' ');
    if (h->failed) {
        return h->len >= MAX_HEADER / 2
                   ? err_set(e, ERR_TOO_LARGE, "header over %zu bytes",
                             MAX_HEADER)
                   : err_nomem(e);
    }
    uint64_t len = h->len - 8;
    for (int i = 0; i < 8; i++)
        h->p[i] = (char)(len >> (8 * i) & 0xff);
    return 0;
}

int safetensors_save(const char *path, const struct save_tensor *t, int n,
                     const char *const (*meta)[2], int n_meta, struct err *e)
{
    struct err data = ERR_INIT;
    struct file_part p;
    struct buf h;

    buf_init(&h, MAX_HEADER);
    if (build_header(&h, t, n, meta, n_meta, e) ||
        file_part_open(&p, path, e)) {
        buf_fini(&h);
        return -1;
    }
    struct walk w = {.f = p.f};
    int ok =
        fwrite(h.p, 1, h.len, p.f) == h.len && visit_all(&w, t, n, &data) == 0;
    buf_fini(&h);
    if (data.code != ERR_NONE)
        err_set(e, data.code, "%s", data.msg); /* the first message wins */
    return file_part_commit(&p, ok, e);
}
