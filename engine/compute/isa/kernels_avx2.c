/* kernels_avx2: the kernels for AVX2, FMA and F16C: sixteen lanes are two ymm
 * registers. v16_avx2.inc.h says what the operations are, this file which tiles
 * fit 16 registers; the kernels stand in kernels_fma.inc.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/kernels_attn.h"
#include "engine/compute/matrix_layout.h"
#include "engine/compute/isa/v16_avx2.inc.h"

/* Shapes of tiles (rows, log2 of panels): two registers a sum, and the weights
 * of one k and one x, at most fill 16 registers. */
#define ROWS_MAX 6
#define PANELS_MAX 4
/* clang-format off */
#define TILES(X)                                                               \
    X(1, 0) X(1, 1) X(1, 2)                                                    \
    X(2, 0) X(2, 1)                                                            \
    X(3, 0) X(4, 0) X(5, 0) X(6, 0)
/* clang-format on */

#include "engine/compute/isa/kernels_fma.inc.h"

const struct kernels kernels_avx2 = {
    .name = "avx2",
    ATTN_ENTRIES(avx2),
    .gemm_rows = isa_gemm_rows,
    .matrix_widen = matmul_widen_avx2,
    .matrix_row = matmul_row_avx2,
    .matrix_rows_q = matmul_rows_q_avx2,
    .quantise_rows = matmul_quantise_avx2,
    .gates4 = isa_gates4,
    .gates3 = isa_gates3,
    .act_tanh = isa_act_tanh,
    .act_relu = isa_act_relu,
    .add_to = isa_add_to,
    .max_to = isa_max_to,
    .scale = isa_scale,
    .divide = isa_divide,
    .row_max = isa_row_max,
    .sum_exp = isa_sum_exp,
    .softmax = isa_softmax,
    .all_finite = isa_all_finite,
    .vexp = isa_vexp,
    .vtanh = isa_vtanh,
    .vsigmoid = isa_vsigmoid,
    .widen_bf16 = isa_widen_bf16,
    .widen_f16 = isa_widen_f16,
};
