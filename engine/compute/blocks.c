/* blocks: see blocks.h. Every function decodes one block of its type; the
 * halves are read byte by byte, since blocks have odd sizes.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/blocks.h"

#include <string.h>

#include "engine/compute/dtype.h"

static float half_at(const uint8_t *p)
{
    return dtype_from_f16((uint16_t)(p[0] | p[1] << 8));
}

static uint32_t word_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

/* half d; 16 bytes of two nibbles: element i and i + 16 */
static void read_q4_0(const uint8_t *p, float *y)
{
    const float d = half_at(p);
    for (int i = 0; i < 16; i++) {
        y[i] = (float)((p[2 + i] & 15) - 8) * d;
        y[i + 16] = (float)((p[2 + i] >> 4) - 8) * d;
    }
}

/* half d, half m; nibbles */
static void read_q4_1(const uint8_t *p, float *y)
{
    const float d = half_at(p), m = half_at(p + 2);
    for (int i = 0; i < 16; i++) {
        y[i] = (float)(p[4 + i] & 15) * d + m;
        y[i + 16] = (float)(p[4 + i] >> 4) * d + m;
    }
}

/* half d; 32 fifth bits; nibbles */
static void read_q5_0(const uint8_t *p, float *y)
{
    const float d = half_at(p);
    const uint32_t high = word_at(p + 2);
    for (int i = 0; i < 16; i++) {
        int lo = (p[6 + i] & 15) | (int)(high >> i & 1) << 4;
        int hi = p[6 + i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
        y[i] = (float)(lo - 16) * d;
        y[i + 16] = (float)(hi - 16) * d;
    }
}

/* half d, half m; 32 fifth bits; nibbles */
static void read_q5_1(const uint8_t *p, float *y)
{
    const float d = half_at(p), m = half_at(p + 2);
    const uint32_t high = word_at(p + 4);
    for (int i = 0; i < 16; i++) {
        int lo = (p[8 + i] & 15) | (int)(high >> i & 1) << 4;
        int hi = p[8 + i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
        y[i] = (float)lo * d + m;
        y[i + 16] = (float)hi * d + m;
    }
}

/* half d; 32 signed bytes */
static void read_q8_0(const uint8_t *p, float *y)
{
    const float d = half_at(p);
    for (int i = 0; i < 32; i++)
        y[i] = (float)(int8_t)p[2 + i] * d;
}

/* half d; nibbles that index 16 levels */
static void read_iq4_nl(const uint8_t *p, float *y)
{
    static const int8_t level[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};
    const float d = half_at(p);
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)level[p[2 + i] & 15];
        y[i + 16] = d * (float)level[p[2 + i] >> 4];
    }
}

/* 16 bytes of scale (low nibble) and offset (high) of 16 elements each; 64
 * bytes of 2 bits; half d, half m. Half a block (128 elements) takes 32 bytes
 * of bits, two by two from the lowest. */
static void read_q2_k(const uint8_t *p, float *y)
{
    const float d = half_at(p + 80), m = half_at(p + 82);
    for (int g = 0; g < 16; g++) {
        const uint8_t *q = p + 16 + 32 * (g / 8) + 16 * (g % 2);
        const int shift = 2 * (g / 2 % 4);
        const float scale = d * (float)(p[g] & 15);
        const float offset = m * (float)(p[g] >> 4);
        for (int i = 0; i < 16; i++)
            y[16 * g + i] = scale * (float)(q[i] >> shift & 3) - offset;
    }
}

/* 32 bytes of third bits (clear: minus 4); 64 bytes of 2 bits as in Q2_K; 12
 * bytes of 16 scales of 6 bits (8 bytes of low nibbles, 4 of high pairs);
 * half d */
static void read_q3_k(const uint8_t *p, float *y)
{
    const float d = half_at(p + 108);
    const uint8_t *s = p + 96;
    for (int g = 0; g < 16; g++) {
        const uint8_t *q = p + 32 + 32 * (g / 8) + 16 * (g % 2);
        const uint8_t *high = p + 16 * (g % 2);
        const int bit = g / 2, shift = 2 * (g / 2 % 4);
        int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4;
        int top = s[8 + g % 4] >> (2 * (g / 4)) & 3;
        const float scale = d * (float)((low | top << 4) - 32);
        for (int i = 0; i < 16; i++) {
            int v = (q[i] >> shift & 3) - (high[i] >> bit & 1 ? 0 : 4);
            y[16 * g + i] = scale * (float)v;
        }
    }
}

/* Scale and offset (6 bits each) of group g, of the 12 bytes that Q4_K and
 * Q5_K keep for 8 groups. */
static void scale_of_k4(const uint8_t *s, int g, int *scale, int *offset)
{
    if (g < 4) {
        *scale = s[g] & 63;
        *offset = s[g + 4] & 63;
    } else {
        *scale = (s[g + 4] & 15) | s[g - 4] >> 6 << 4;
        *offset = s[g + 4] >> 4 | s[g] >> 6 << 4;
    }
}

/* half d, half m; 12 bytes of scales; 128 bytes of nibbles: 32 low ones, then
 * the 32 high ones of the same bytes */
static void read_q4_k(const uint8_t *p, float *y)
{
    const float d = half_at(p), m = half_at(p + 2);
    for (int g = 0; g < 8; g++) {
        const uint8_t *q = p + 16 + 32 * (g / 2);
        int sc, off;
        scale_of_k4(p + 4, g, &sc, &off);
        const float scale = d * (float)sc, offset = m * (float)off;
        for (int i = 0; i < 32; i++) {
            int v = g % 2 ? q[i] >> 4 : q[i] & 15;
            y[32 * g + i] = scale * (float)v - offset;
        }
    }
}

/* as Q4_K, with 32 bytes of fifth bits (bit g is of group g) before the
 * nibbles */
static void read_q5_k(const uint8_t *p, float *y)
{
    const float d = half_at(p), m = half_at(p + 2);
    for (int g = 0; g < 8; g++) {
        const uint8_t *q = p + 48 + 32 * (g / 2), *high = p + 16;
        int sc, off;
        scale_of_k4(p + 4, g, &sc, &off);
        const float scale = d * (float)sc, offset = m * (float)off;
        for (int i = 0; i < 32; i++) {
            int v = (g % 2 ? q[i] >> 4 : q[i] & 15) | (high[i] >> g & 1) << 4;
            y[32 * g + i] = scale * (float)v - offset;
        }
    }
}

/* 128 bytes of low nibbles; 64 bytes of high pairs; 16 signed scales; half d.
 * Half a block: 64 bytes of nibbles (32 low, 32 low, 32 high, 32 high) and 32
 * bytes of pairs. */
static void read_q6_k(const uint8_t *p, float *y)
{
    const float d = half_at(p + 208);
    for (int g = 0; g < 8; g++) {
        const int part = g % 4;
        const uint8_t *low = p + 64 * (g / 4) + 32 * (part % 2);
        const uint8_t *high = p + 128 + 32 * (g / 4);
        for (int i = 0; i < 32; i++) {
            int v = part < 2 ? low[i] & 15 : low[i] >> 4;
            v = (v | (high[i] >> (2 * part) & 3) << 4) - 32;
            int scale = (int8_t)p[192 + 2 * g + i / 16];
            y[32 * g + i] = d * (float)scale * (float)v;
        }
    }
}

typedef void read_fn(const uint8_t *p, float *y);

static read_fn *const readers[N_DTYPES] = {
    [DT_Q8_0] = read_q8_0, [DT_Q4_0] = read_q4_0,     [DT_Q4_1] = read_q4_1,
    [DT_Q5_0] = read_q5_0, [DT_Q5_1] = read_q5_1,     [DT_Q2_K] = read_q2_k,
    [DT_Q3_K] = read_q3_k, [DT_Q4_K] = read_q4_k,     [DT_Q5_K] = read_q5_k,
    [DT_Q6_K] = read_q6_k, [DT_IQ4_NL] = read_iq4_nl,
};

void blocks_read(enum dtype d, const uint8_t *p, size_t first, size_t n,
                 float *dst)
{
    const size_t size = (size_t)dtype_block(d), bytes = dtype_block_bytes(d);
    read_fn *const read = readers[d];
    float tile[BLOCK_MAX];
    p += first / size * bytes;
    for (size_t at = first % size; n; at = 0, p += bytes) {
        size_t take = size - at < n ? size - at : n;
        if (take == size) {
            read(p, dst);
        } else {
            read(p, tile);
            memcpy(dst, tile + at, take * sizeof(float));
        }
        dst += take;
        n -= take;
    }
}

/* Where a block keeps its halves. */
static const struct {
    uint8_t at, count;
} halves[N_DTYPES] = {
    [DT_Q8_0] = {0, 1},   [DT_Q4_0] = {0, 1},   [DT_Q4_1] = {0, 2},
    [DT_Q5_0] = {0, 1},   [DT_Q5_1] = {0, 2},   [DT_Q2_K] = {80, 2},
    [DT_Q3_K] = {108, 1}, [DT_Q4_K] = {0, 2},   [DT_Q5_K] = {0, 2},
    [DT_Q6_K] = {208, 1}, [DT_IQ4_NL] = {0, 1},
};

int blocks_finite(enum dtype d, const uint8_t *p, size_t n)
{
    const size_t bytes = dtype_block_bytes(d);
    const size_t second = halves[d].count > 1 ? 2 : 0;
    uint32_t carried = 0;
    p += halves[d].at;
    for (size_t i = 0; i < n; i++, p += bytes) {
        /* all five exponent bits set: the sum reaches the sign's place */
        carried |= (uint32_t)(p[1] & 0x7c) + 4;
        carried |= (uint32_t)(p[second + 1] & 0x7c) + 4;
    }
    return (carried & 0x80) == 0;
}
