/* safetensors_save: the writer. The file appears whole or not at all: it is
 * written beside its place, synchronised and renamed. Data is converted in
 * small blocks, so that saving needs no second copy of the model.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/safetensors.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/compute/dtype.h"

#define BLOCK 4096 /* elements converted at a time */
#define MAX_HEADER ((size_t)16 << 20)

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

static int put_entry(struct buf *h, const struct save_tensor *t,
                     uint64_t *offset)
{
    size_t n, bytes;
    if ((t->dtype != DT_F32 && t->dtype != DT_F16 && t->dtype != DT_BF16) ||
        element_count(t, &n) ||
        __builtin_mul_overflow(n, dtype_bytes(t->dtype), &bytes))
        return -1;
    buf_add_json_string(h, t->name, strlen(t->name));
    buf_addf(h, ":{\"dtype\":\"%s\",\"shape\":[", dtype_name(t->dtype));
    for (int i = 0; i < t->n_dims; i++) {
        if (i)
            buf_add_char(h, ',');
        buf_add_int(h, t->dim[i]);
    }
    buf_addf(h, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)*offset,
             (unsigned long long)(*offset + bytes));
    *offset += bytes;
    return 0;
}

/* The length and the header, padded with spaces so that data starts at a
 * multiple of 8. */
static int build_header(struct buf *h, const struct save_tensor *t, int n,
                        const char *const (*meta)[2], int n_meta, struct err *e)
{
    uint64_t offset = 0;
    buf_add(h, "\0\0\0\0\0\0\0\0", 8);
    buf_add_char(h, '{');
    if (meta && n_meta > 0)
        put_meta(h, meta, n_meta);
    for (int i = 0; i < n; i++) {
        if (i || (meta && n_meta > 0))
            buf_add_char(h, ',');
        if (put_entry(h, &t[i], &offset)) {
            return err_set(e, ERR_INVALID, "tensor '%s' cannot be saved",
                           t[i].name);
        }
    }
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

static int write_data(FILE *f, const struct save_tensor *t)
{
    uint16_t half[BLOCK];
    size_t n = 0;
    element_count(t, &n);
    if (t->dtype == DT_F32)
        return fwrite(t->data, sizeof(float), n, f) == n ? 0 : -1;
    for (size_t at = 0; at < n; at += BLOCK) {
        size_t m = n - at < BLOCK ? n - at : BLOCK;
        for (size_t i = 0; i < m; i++) {
            float v = t->data[at + i];
            half[i] = t->dtype == DT_F16 ? dtype_to_f16(v) : dtype_to_bf16(v);
        }
        if (fwrite(half, sizeof(half[0]), m, f) != m)
            return -1;
    }
    return 0;
}

int safetensors_save(const char *path, const struct save_tensor *t, int n,
                     const char *const (*meta)[2], int n_meta, struct err *e)
{
    struct file_part p;
    struct buf h;

    buf_init(&h, MAX_HEADER);
    if (build_header(&h, t, n, meta, n_meta, e) ||
        file_part_open(&p, path, e)) {
        buf_fini(&h);
        return -1;
    }
    int ok = fwrite(h.p, 1, h.len, p.f) == h.len;
    for (int i = 0; i < n && ok; i++)
        ok = write_data(p.f, &t[i]) == 0;
    buf_fini(&h);
    return file_part_commit(&p, ok, e);
}
