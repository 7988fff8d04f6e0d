/* gguf_make: see gguf_make.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/gguf_make.h"

#include <stdio.h>
#include <string.h>

void gm_int(struct buf *b, int bytes, uint64_t v)
{
    for (int i = 0; i < bytes; i++)
        buf_add_char(b, (char)(v >> (8 * i) & 255));
}

void gm_head(struct buf *b, uint32_t version, uint64_t n_tensors,
             uint64_t n_keys)
{
    buf_add(b, "GGUF", 4);
    gm_int(b, 4, version);
    gm_int(b, 8, n_tensors);
    gm_int(b, 8, n_keys);
}

void gm_string(struct buf *b, const char *s)
{
    gm_int(b, 8, strlen(s));
    buf_add(b, s, strlen(s));
}

void gm_key(struct buf *b, const char *key, enum gguf_type type)
{
    gm_string(b, key);
    gm_int(b, 4, type);
}

void gm_kv_string(struct buf *b, const char *key, const char *value)
{
    gm_key(b, key, GGUF_STRING);
    gm_string(b, value);
}

void gm_kv_int(struct buf *b, const char *key, enum gguf_type type, uint64_t v)
{
    static const uint8_t bytes[] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2,
        [GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1,
        [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
    };
    gm_key(b, key, type);
    gm_int(b, bytes[type], v);
}

void gm_kv_f32(struct buf *b, const char *key, float v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof(u));
    gm_kv_int(b, key, GGUF_F32, u);
}

void gm_kv_array(struct buf *b, const char *key, enum gguf_type elem,
                 uint64_t n)
{
    gm_key(b, key, GGUF_ARRAY);
    gm_int(b, 4, elem);
    gm_int(b, 8, n);
}

void gm_tensor(struct buf *b, const char *name, uint32_t type, int n_dims,
               const uint64_t *ne, uint64_t offset)
{
    gm_string(b, name);
    gm_int(b, 4, (uint64_t)n_dims);
    for (int i = 0; i < n_dims; i++)
        gm_int(b, 8, ne[i]);
    gm_int(b, 4, type);
    gm_int(b, 8, offset);
}

void gm_fill(struct buf *b, size_t n, uint8_t byte)
{
    for (size_t i = 0; i < n; i++)
        buf_add_char(b, (char)byte);
}

void gm_align(struct buf *b, size_t align)
{
    gm_fill(b, (align - b->len % align) % align, 0);
}

int gm_write(const struct buf *b, const char *path)
{
    FILE *f = b->failed ? NULL : fopen(path, "wb");
    if (!f)
        return -1;
    size_t n = fwrite(b->p, 1, b->len, f);
    return fclose(f) == 0 && n == b->len ? 0 : -1;
}
