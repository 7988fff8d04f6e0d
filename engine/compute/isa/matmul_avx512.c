/* matmul_avx512: panels as fp32, activations as int8, and the fast products
 * for AVX-512 without VNNI, by way of 16-bit sums. Those of codes of six bits
 * and activations of at most 127 cannot overflow; 8-bit codes are widened.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/isa/c64_avx512.inc.h"

#define PANELS 1
#define WHOLE_PANELS 4
#define WHOLE_ROWS 6
#define WHOLE_TILES(X) X(2) X(3) X(4) X(5) X(6)
#define ROW_PANELS 4

static inline __attribute__((always_inline)) struct i16
i_dot(struct i16 sum, struct c64 c, struct four q, const int bits)
{
    __m512i t, low = _mm512_set1_epi16(0xff);

    if (bits < 7) {
        t = _mm512_madd_epi16(_mm512_maddubs_epi16(c.v, q.v),
                              _mm512_set1_epi16(1));
        return (struct i16){_mm512_add_epi32(sum.v, t)};
    }
    t = _mm512_srai_epi16(_mm512_slli_epi16(q.v, 8), 8);
    t = _mm512_madd_epi16(_mm512_and_si512(c.v, low), t);
    sum.v = _mm512_add_epi32(sum.v, t);
    t = _mm512_madd_epi16(_mm512_srli_epi16(c.v, 8), _mm512_srai_epi16(q.v, 8));
    return (struct i16){_mm512_add_epi32(sum.v, t)};
}

#include "engine/compute/isa/matmul_fma.inc.h"
#include "engine/compute/isa/matmul_whole.inc.h"
#include "engine/compute/isa/matmul_row.inc.h"
#include "engine/compute/isa/matmul_widen.inc.h"

void matmul_rows_q_avx512(const struct matrix *w, int n0, int n1, int r0, int m,
                          const struct qrows *x, const float *const *init,
                          float *y, size_t ldy)
{
    if (x->whole)
        rows_whole(w, n0, n1, r0, m, x, init, y, ldy);
    else
        rows_q(w, n0, n1, r0, m, x, init, y, ldy);
}

void matmul_widen_avx512(const struct matrix *w, int p, int k0, int k1,
                         float *to)
{
    widen(w, p, k0, k1, to);
}

void matmul_quantise_avx512(const float *x, size_t ldx, int r0, int r1,
                            struct qrows *q)
{
    quantise(x, ldx, r0, r1, q);
}

void matmul_row_avx512(const struct matrix *w, int n0, int n1, const float *x,
                       const float *init, float *y)
{
    one_row(w, n0, n1, x, init, y);
}
