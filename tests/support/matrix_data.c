/* matrix_data: see matrix_data.h. Where the halves lie in a block: ggml's
 * ggml-common.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/matrix_data.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/compute/dtype.h"

const enum dtype matrix_types[N_MATRIX_TYPES] = {
    DT_F32,  DT_F16,  DT_BF16, DT_F64,  DT_I8,   DT_Q8_0, DT_Q4_0, DT_Q4_1,
    DT_Q5_0, DT_Q5_1, DT_Q2_K, DT_Q3_K, DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_IQ4_NL};
/* Offsets of the one or two halves of a block, -1 for none. */
static const int half_at[N_DTYPES][2] = {
    [DT_Q8_0] = {0, -1},   [DT_Q4_0] = {0, -1},  [DT_Q4_1] = {0, 2},
    [DT_Q5_0] = {0, -1},   [DT_Q5_1] = {0, 2},   [DT_Q2_K] = {80, 82},
    [DT_Q3_K] = {108, -1}, [DT_Q4_K] = {0, 2},   [DT_Q5_K] = {0, 2},
    [DT_Q6_K] = {208, -1}, [DT_IQ4_NL] = {0, -1}};
static void put_half(struct rng *r, uint8_t *p)
{
    uint16_t h = dtype_to_f16((float)rng_normal(r) * 0.01f);
    memcpy(p, &h, sizeof h);
}

static void fill_blocks(enum dtype type, uint8_t *p, size_t n, struct rng *r)
{
    const size_t bytes = dtype_block_bytes(type);
    for (size_t b = 0; b < n; b++, p += bytes) {
        for (size_t i = 0; i < bytes; i++)
            p[i] = (uint8_t)rng_next(r);
        for (int i = 0; i < 2; i++)
            if (half_at[type][i] >= 0)
                put_half(r, p + half_at[type][i]);
        if (b % 37 == 5) /* one block in a while is all zeros or -0.0 */
            put_half(r, memset(p, 0, bytes));
    }
}

static void fill_plain(enum dtype type, uint8_t *p, size_t n, struct rng *r)
{
    for (size_t i = 0; i < n; i++) {
        double d = rng_normal(r);
        float f = (float)d;
        uint16_t h = type == DT_F16 ? dtype_to_f16(f) : dtype_to_bf16(f);
        const void *from = type == DT_F64   ? (const void *)&d
                           : type == DT_F32 ? (const void *)&f
                                            : (const void *)&h;
        memcpy(p, from, dtype_bytes(type));
        p += dtype_bytes(type);
    }
}

int matrix_data(enum dtype type, int rows, int K, uint64_t seed,
                struct tensor *t)
{
    const size_t n = (size_t)rows * (size_t)K;
    struct rng r;
    uint8_t *p;
    memset(t, 0, sizeof *t);
    t->name = "w";
    t->dtype = type;
    t->n_dims = 2;
    t->dim[0] = rows;
    t->dim[1] = K;
    t->bytes = dtype_quantised(type)
                   ? n / (size_t)dtype_block(type) * dtype_block_bytes(type)
                   : n * dtype_bytes(type);
    p = mem_alloc(t->bytes + 1);
    if (!p)
        return -1;
    t->data = p + 1;
    rng_init(&r, seed);
    t->scale = type == DT_I8 ? 1.0f / 93.7f : 0.0f;
    if (type == DT_I8)
        for (size_t i = 0; i < n; i++)
            p[i + 1] = (uint8_t)rng_next(&r);
    else if (dtype_quantised(type))
        fill_blocks(type, p + 1, n / (size_t)dtype_block(type), &r);
    else
        fill_plain(type, p + 1, n, &r);
    return 0;
}

void matrix_data_free(struct tensor *t)
{
    if (t->data)
        mem_free((uint8_t *)t->data - 1);
    t->data = NULL;
}
