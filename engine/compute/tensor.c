/* tensor: see tensor.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/tensor.h"

#include <math.h>
#include <string.h>

#include "engine/compute/blocks.h"
#include "engine/compute/dtype.h"

static const struct {
    const char *name;
    int block;    /* elements of a block */
    size_t bytes; /* of a block */
} dtypes[N_DTYPES] = {
    [DT_F32] = {"F32", 1, 4},         [DT_F16] = {"F16", 1, 2},
    [DT_BF16] = {"BF16", 1, 2},       [DT_F64] = {"F64", 1, 8},
    [DT_I64] = {"I64", 1, 8},         [DT_I32] = {"I32", 1, 4},
    [DT_U8] = {"U8", 1, 1},           [DT_I8] = {"I8", 1, 1},
    [DT_Q8_0] = {"Q8_0", 32, 34},     [DT_Q4_0] = {"Q4_0", 32, 18},
    [DT_Q4_1] = {"Q4_1", 32, 20},     [DT_Q5_0] = {"Q5_0", 32, 22},
    [DT_Q5_1] = {"Q5_1", 32, 24},     [DT_Q2_K] = {"Q2_K", 256, 84},
    [DT_Q3_K] = {"Q3_K", 256, 110},   [DT_Q4_K] = {"Q4_K", 256, 144},
    [DT_Q5_K] = {"Q5_K", 256, 176},   [DT_Q6_K] = {"Q6_K", 256, 210},
    [DT_IQ4_NL] = {"IQ4_NL", 32, 18},
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

/* n bytes of a row from column c on: one scale, or one a column. */
static void read_i8_row(const struct tensor *t, const int8_t *p, size_t row,
                        size_t c, size_t n, float *dst)
{
    float scale = t->by_column ? 0.0f : tensor_scale(t, row);

    if (t->by_column)
        for (size_t i = 0; i < n; i++)
            dst[i] = (float)p[i] * tensor_scale(t, c + i);
    else
        for (size_t i = 0; i < n; i++)
            dst[i] = (float)p[i] * scale;
}

static void read_i8(const struct tensor *t, size_t first, size_t n, float *dst)
{
    const int8_t *p = (const int8_t *)t->data + first;
    const size_t cols = t->scales ? (size_t)t->dim[1] : first + n;

    for (size_t i = 0, m; i < n; i += m) {
        size_t c = (first + i) % cols;

        m = cols - c < n - i ? cols - c : n - i;
        read_i8_row(t, p + i, (first + i) / cols, c, m, dst + i);
    }
}

#define HALF_READER(name, widen)                                               \
    static void name(const uint8_t *p, size_t n, float *dst)                   \
    {                                                                          \
        for (size_t i = 0; i < n; i++) {                                       \
            uint16_t v;                                                        \
            memcpy(&v, p + sizeof(v) * i, sizeof(v));                          \
            dst[i] = widen(v);                                                 \
        }                                                                      \
    }
HALF_READER(read_f16, dtype_from_f16)
HALF_READER(read_bf16, dtype_from_bf16)

void tensor_read(const struct tensor *t, size_t first, size_t n, float *dst)
{
    if (dtype_quantised(t->dtype)) {
        blocks_read(t->dtype, t->data, first, n, dst);
        return;
    }
    const uint8_t *p = (const uint8_t *)t->data + first * dtype_bytes(t->dtype);
    switch (t->dtype) {
    case DT_F16:
        read_f16(p, n, dst);
        break;
    case DT_BF16:
        read_bf16(p, n, dst);
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
    case DT_I8:
        read_i8(t, first, n, dst);
        break;
    default: /* DT_F32 */
        memcpy(dst, p, n * sizeof(float));
        break;
    }
}

/* Numbers of one size in words of 8 bytes: a number is not finite when all its
 * exponent bits are set, and adding the lowest of them then carries into the
 * bit above, the sign's, which `exponent` has cleared. */
static int words_finite(const uint8_t *p, size_t n_bytes, uint64_t exponent,
                        uint64_t lowest)
{
    const uint64_t signs = exponent + lowest;
    uint64_t carried = 0, v;
    size_t i = 0;
    for (; i + sizeof v <= n_bytes; i += sizeof v) {
        memcpy(&v, p + i, sizeof v);
        carried |= (v & exponent) + lowest;
    }
    v = 0;
    memcpy(&v, p + i, n_bytes - i);
    carried |= (v & exponent) + lowest;
    return (carried & signs) == 0;
}

static int doubles_fit(const uint8_t *p, size_t n)
{
    int all = 1;
    for (size_t i = 0; i < n; i++) {
        double v;
        memcpy(&v, p + i * sizeof v, sizeof v);
        all &= isfinite((float)v) != 0;
    }
    return all;
}

static int floats_fit(const struct tensor *t)
{
    switch (t->dtype) {
    case DT_F32:
        return words_finite(t->data, t->bytes, 0x7f8000007f800000u,
                            0x0080000000800000u);
    case DT_F16:
        return words_finite(t->data, t->bytes, 0x7c007c007c007c00u,
                            0x0400040004000400u);
    case DT_BF16:
        return words_finite(t->data, t->bytes, 0x7f807f807f807f80u,
                            0x0080008000800080u);
    case DT_F64:
        return doubles_fit(t->data, t->bytes / sizeof(double));
    default:
        return !dtype_quantised(t->dtype) ||
               blocks_finite(t->dtype, t->data,
                             t->bytes / dtype_block_bytes(t->dtype));
    }
}

int tensor_scale_fits(const struct tensor *t, size_t i)
{
    return isfinite(tensor_scale(t, i) * (t->scales ? 127.0f : 128.0f)) != 0;
}

const char *tensor_fault(const struct tensor *t)
{
    size_t n = 1;

    if (t->dtype != DT_I8)
        return floats_fit(t) ? NULL : TENSOR_NOT_FINITE;
    if (t->scales)
        n = (size_t)t->dim[t->by_column != 0];
    for (size_t i = 0; i < n; i++)
        if (!tensor_scale_fits(t, i))
            return TENSOR_NOT_FINITE;
    return t->scales && t->bytes && memchr(t->data, 0x80, t->bytes)
               ? TENSOR_BELOW
               : NULL;
}

int tensor_same(const struct tensor *a, const struct tensor *b)
{
    size_t scales = 0;

    if (a->dtype != b->dtype || a->n_dims != b->n_dims ||
        memcmp(a->dim, b->dim, sizeof a->dim) != 0 || a->bytes != b->bytes ||
        (a->scales != NULL) != (b->scales != NULL) ||
        a->by_column != b->by_column)
        return 0;
    if (a->scales)
        scales = (size_t)a->dim[a->by_column != 0] * sizeof(float);
    return (a->dtype != DT_I8 || a->scales || a->scale == b->scale) &&
           (!scales || memcmp(a->scales, b->scales, scales) == 0) &&
           (!a->bytes || memcmp(a->data, b->data, a->bytes) == 0);
}
