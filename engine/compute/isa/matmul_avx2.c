/* matmul_avx2: panels as fp32, activations as int8, and the fast products for
 * AVX2, by way of 16-bit sums. Those of codes of six bits and activations of
 * at most 127 cannot overflow; 8-bit codes are widened.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/isa/c64_avx2.inc.h"

#define PANELS 1
#define WHOLE_PANELS 1
#define WHOLE_ROWS 4
#define WHOLE_TILES(X) X(2) X(3) X(4)
#define ROW_PANELS 2

/* Eight columns. */
static inline __attribute__((always_inline)) __m256i
dot_8(__m256i sum, __m256i c, __m256i q, const int bits)
{
    __m256i t, low = _mm256_set1_epi16(0xff);

    if (bits < 7) {
        t = _mm256_madd_epi16(_mm256_maddubs_epi16(c, q), _mm256_set1_epi16(1));
        return _mm256_add_epi32(sum, t);
    }
    t = _mm256_srai_epi16(_mm256_slli_epi16(q, 8), 8);
    t = _mm256_madd_epi16(_mm256_and_si256(c, low), t);
    sum = _mm256_add_epi32(sum, t);
    t = _mm256_madd_epi16(_mm256_srli_epi16(c, 8), _mm256_srai_epi16(q, 8));
    return _mm256_add_epi32(sum, t);
}

static inline __attribute__((always_inline)) struct i16
i_dot(struct i16 sum, struct c64 c, struct four q, const int bits)
{
    return (struct i16){dot_8(sum.lo, c.lo, q.v, bits),
                        dot_8(sum.hi, c.hi, q.v, bits)};
}

#include "engine/compute/isa/matmul_fma.inc.h"
#include "engine/compute/isa/matmul_whole.inc.h"
#include "engine/compute/isa/matmul_row.inc.h"
#include "engine/compute/isa/matmul_widen.inc.h"

void matmul_rows_q_avx2(const struct matrix *w, int n0, int n1, int r0, int m,
                        const struct qrows *x, const float *const *init,
                        float *y, size_t ldy)
{
    if (x->whole)
        rows_whole(w, n0, n1, r0, m, x, init, y, ldy);
    else
        rows_q(w, n0, n1, r0, m, x, init, y, ldy);
}

void matmul_widen_avx2(const struct matrix *w, int p, int k0, int k1, float *to)
{
    widen(w, p, k0, k1, to);
}

void matmul_quantise_avx2(const float *x, size_t ldx, int r0, int r1,
                          struct qrows *q)
{
    quantise(x, ldx, r0, r1, q);
}

void matmul_row_avx2(const struct matrix *w, int n0, int n1, const float *x,
                     const float *init, float *y)
{
    one_row(w, n0, n1, x, init, y);
}
