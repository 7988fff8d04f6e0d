/* matmul_vnni: the fast products for AVX-512 with VNNI: four 8-bit products a
 * lane and instruction. Two panels at a time: their sixteen registers of codes
 * stay while the rows pass, and each activation is read once for both. The
 * instruction is written out: gcc 12 moves and spills the sums of its intrinsic
 * (models/SPEED.md).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/isa/c64_avx512.inc.h"

#define PANELS 2
#define WHOLE_PANELS 4
#define WHOLE_ROWS 6
#define WHOLE_TILES(X) X(2) X(3) X(4) X(5) X(6)

static inline struct i16 i_dot(struct i16 sum, struct c64 c, struct four q,
                               const int bits)
{
    (void)bits;
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum.v) : "v"(c.v), "v"(q.v));
    return sum;
}

#include "engine/compute/isa/matmul_fma.inc.h"
#include "engine/compute/isa/matmul_whole.inc.h"

void matmul_rows_q_vnni(const struct matrix *w, int n0, int n1, int r0, int m,
                        const struct qrows *x, const float *const *init,
                        float *y, size_t ldy)
{
    if (x->whole)
        rows_whole(w, n0, n1, r0, m, x, init, y, ldy);
    else
        rows_q(w, n0, n1, r0, m, x, init, y, ldy);
}
