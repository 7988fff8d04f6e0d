/* matrix_layout: how the blocks of ggml lie in the panels of a struct matrix;
 * shared by matrix_pack.c, which writes them, and the kernels (matmul_*).
 *
 * A panel is 16 columns (outputs): first the codes of all blocks of 32 k, then
 * their scales, rounded up to 64 bytes. A code is an unsigned number of 2 to 8
 * bits; the weight is s * (code - off) + o, with s and o per column and 32 k
 * (subs 1) or 16 k (subs 2).
 *
 * Codes: a block has eight groups g of 4 k; as bytes, a group is a vector
 * [16 columns][4 k] of 64 bytes, the operand of an 8-bit dot product. `low`
 * bits of each code lie in `low` vectors, then `high` bits in `high` vectors:
 * a plane of b bits has b vectors, and group g is in vector g % b, shifted left
 * by b * (g / b).
 *
 * Scales: META_F16: per block s [16] and, with has_o, o [16], f16.
 * META_SUPER: per 8 blocks d [16] (and dmin [16]) f16, then int8 sc [8 * subs]
 * [16] (and mn): s = d * sc, o = -(dmin * mn). META_NIBBLES: the same with sc
 * in the low and mn in the high half of one byte. META_PANEL: one s [16] of
 * fp32 for all blocks.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MATRIX_LAYOUT_H
#define SEQD_MATRIX_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "engine/compute/kernels.h"
#include "engine/compute/matrix.h"

#define GROUPS 8       /* of 4 k, in a block */
#define GROUP_BYTES 64 /* [16 columns][4 k] */
#define SUPER 8        /* blocks that share d and dmin */

enum meta { META_F16, META_SUPER, META_NIBBLES, META_PANEL };

struct layout {
    int low, high; /* bits of the two planes */
    int off;
    int subs; /* scales per 32 k */
    int has_o;
    enum meta meta;
    int lookup; /* codes go through matrix_iq4nl first */
};

/* The types, in the order of enum dtype: name, low, high, off, subs, has_o,
 * meta, lookup. */
#define MATRIX_LAYOUTS(X)                                                      \
    X(I8, 8, 0, 128, 1, 0, META_PANEL, 0)                                      \
    X(Q8_0, 8, 0, 128, 1, 0, META_F16, 0)                                      \
    X(Q4_0, 4, 0, 8, 1, 0, META_F16, 0)                                        \
    X(Q4_1, 4, 0, 0, 1, 1, META_F16, 0)                                        \
    X(Q5_0, 4, 1, 16, 1, 0, META_F16, 0)                                       \
    X(Q5_1, 4, 1, 0, 1, 1, META_F16, 0)                                        \
    X(Q2_K, 2, 0, 0, 2, 1, META_NIBBLES, 0)                                    \
    X(Q3_K, 2, 1, 4, 2, 0, META_SUPER, 0)                                      \
    X(Q4_K, 4, 0, 0, 1, 1, META_SUPER, 0)                                      \
    X(Q5_K, 4, 1, 0, 1, 1, META_SUPER, 0)                                      \
    X(Q6_K, 4, 2, 32, 2, 0, META_SUPER, 0)                                     \
    X(IQ4_NL, 4, 0, 128, 1, 0, META_F16, 1)

/* matrix_layout: NULL for plain types. */
const struct layout *matrix_layout(enum dtype type);

/* The 16 values of IQ4_NL, plus 128. */
extern const uint8_t matrix_iq4nl[16];

static inline size_t layout_code_bytes(const struct layout *l)
{
    return (size_t)(l->low + l->high) * GROUP_BYTES;
}

/* Bytes of the scales of one unit: a block, SUPER blocks, or all blocks. */
static inline size_t layout_meta_bytes(const struct layout *l)
{
    size_t head = 32 * (size_t)(1 + l->has_o);
    size_t sub = (size_t)SUPER * (size_t)l->subs * PACK_COLS;

    if (l->meta == META_PANEL)
        return PACK_COLS * sizeof(float);
    if (l->meta == META_F16)
        return head;
    return head + (l->meta == META_SUPER && l->has_o ? 2 * sub : sub);
}

static inline int layout_unit(const struct layout *l)
{
    return l->meta == META_F16 ? 1 : SUPER;
}

/* Panel p of w. */
static inline const uint8_t *matrix_panel(const struct matrix *w, int p)
{
    return (const uint8_t *)w->data + (size_t)p * w->panel;
}

/* Where the scales of a panel of `blocks` blocks begin. */
static inline size_t layout_meta_at(const struct layout *l, int blocks)
{
    return (size_t)blocks * layout_code_bytes(l);
}

/* What the tables of the families name. */
void matmul_widen_generic(const struct matrix *w, int p, int k0, int k1,
                          float *to);
void matmul_rows_q_generic(const struct matrix *w, int n0, int n1, int r0,
                           int m, const struct qrows *x,
                           const float *const *init, float *y, size_t ldy);
void matmul_quantise_generic(const float *x, size_t ldx, int r0, int r1,
                             struct qrows *q);
void matmul_widen_avx2(const struct matrix *w, int p, int k0, int k1,
                       float *to);
void matmul_rows_q_avx2(const struct matrix *w, int n0, int n1, int r0, int m,
                        const struct qrows *x, const float *const *init,
                        float *y, size_t ldy);
void matmul_quantise_avx2(const float *x, size_t ldx, int r0, int r1,
                          struct qrows *q);
void matmul_widen_avx512(const struct matrix *w, int p, int k0, int k1,
                         float *to);
void matmul_rows_q_avx512(const struct matrix *w, int n0, int n1, int r0, int m,
                          const struct qrows *x, const float *const *init,
                          float *y, size_t ldy);
void matmul_quantise_avx512(const float *x, size_t ldx, int r0, int r1,
                            struct qrows *q);
void matmul_rows_q_vnni(const struct matrix *w, int n0, int n1, int r0, int m,
                        const struct qrows *x, const float *const *init,
                        float *y, size_t ldy);
void matmul_rows_bf16(const struct matrix *w, int n0, int n1, int m,
                      const float *x, size_t ldx, const float *const *init,
                      float *y, size_t ldy);
void matmul_row_avx2(const struct matrix *w, int n0, int n1, const float *x,
                     const float *init, float *y);
void matmul_row_avx512(const struct matrix *w, int n0, int n1, const float *x,
                       const float *init, float *y);

#endif
