/* tensor: see tensor.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/tensor.h"

#include <string.h>

#include "engine/compute/blocks.h"
#include "engine/compute/dtype.h"

static const struct {
    const char *name;
    int block;    /* elements of a block */
    size_t bytes; /* of a block */
} dtypes[N_DTYPES] = {
    [DT_F32] = {"F32", 1, 4},       [DT_F16] = {"F16", 1, 2},
    [DT_BF16] = {"BF16", 1, 2},     [DT_F64] = {"F64", 1, 8},
    [DT_I64] = {"I64", 1, 8},       [DT_I32] = {"I32", 1, 4},
    [DT_U8] = {"U8", 1, 1},         [DT_Q8_0] = {"Q8_0", 32, 34},
    [DT_Q4_0] = {"Q4_0", 32, 18},   [DT_Q4_1] = {"Q4_1", 32, 20},
    [DT_Q5_0] = {"Q5_0", 32, 22},   [DT_Q5_1] = {"Q5_1", 32, 24},
    [DT_Q2_K] = {"Q2_K", 256, 84},  [DT_Q3_K] = {"Q3_K", 256, 110},
    [DT_Q4_K] = {"Q4_K", 256, 144}, [DT_Q5_K] = {"Q5_K", 256, 176},
    [DT_Q6_K] = {"Q6_K", 256, 210}, [DT_IQ4_NL] = {"IQ4_NL", 32, 18},
};

const char *dtype_name(enum dtype d)
{
    return (unsigned)d < N_DTYPES ? dtypes[d].name : "?";
}

size_t dtype_bytes(enum dtype d)
{
    return (unsigned)d < N_DTYPES && dtypes[d].block == 1 ? dtypes[d].bytes : 0;
}

int dtype_block(enum dtype d)
{
    return (unsigned)d < N_DTYPES ? dtypes[d].block : 1;
}

size_t dtype_block_bytes(enum dtype d)
{
    return (unsigned)d < N_DTYPES ? dtypes[d].bytes : 0;
}

int dtype_quantised(enum dtype d)
{
    return dtype_block(d) > 1;
}

#define READER(name, type)                                                     \
    static void name(const uint8_t *p, size_t n, float *dst)                   \
    {                                                                          \
        for (size_t i = 0; i < n; i++) {                                       \
            type v;                                                            \
            memcpy(&v, p + sizeof(v) * i, sizeof(v));                          \
            dst[i] = (float)v;                                                 \
        }                                                                      \
    }
READER(read_f64, double)
READER(read_i64, int64_t)
READER(read_i32, int32_t)
READER(read_u8, uint8_t)

static void read_half(const uint8_t *p, size_t n, int bf16, float *dst)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t v;
        memcpy(&v, p + 2 * i, sizeof(v));
        dst[i] = bf16 ? dtype_from_bf16(v) : dtype_from_f16(v);
    }
}

void tensor_read(const struct tensor *t, size_t first, size_t n, float *dst)
{
    if (dtype_quantised(t->dtype)) {
        blocks_read(t->dtype, t->data, first, n, dst);
        return;
    }
    const uint8_t *p = (const uint8_t *)t->data + first * dtype_bytes(t->dtype);
    switch (t->dtype) {
    case DT_F16:
    case DT_BF16:
        read_half(p, n, t->dtype == DT_BF16, dst);
        break;
    case DT_F64:
        read_f64(p, n, dst);
        break;
    case DT_I64:
        read_i64(p, n, dst);
        break;
    case DT_I32:
        read_i32(p, n, dst);
        break;
    case DT_U8:
        read_u8(p, n, dst);
        break;
    default: /* DT_F32 */
        memcpy(dst, p, n * sizeof(float));
        break;
    }
}
