/* kernels_avx512: the kernels for AVX-512 F, BW, VL and DQ: sixteen lanes are
 * one zmm register. v16_avx512.inc.h says what the operations are, this file
 * which tiles fit 32 registers; the kernels stand in kernels_fma.inc.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/kernels_attn.h"
#include "engine/compute/matrix_layout.h"
#include "engine/compute/isa/v16_avx512.inc.h"

/* Shapes of tiles (rows, log2 of panels): rows * panels sums, the weights of
 * one k and one x at most fill 32 registers. A row alone reads four panels at
 * a time: enough sums to hide the latency, few enough streams for the
 * prefetcher (models/SPEED.md). */
#define ROWS_MAX 14
#define PANELS_MAX 8
/* clang-format off */
#define TILES(X)                                                               \
    X(1, 0) X(1, 1) X(1, 2)                                                    \
    X(2, 0) X(2, 1) X(2, 2) X(2, 3)                                            \
    X(3, 0) X(3, 1) X(3, 2) X(3, 3)                                            \
    X(4, 0) X(4, 1) X(4, 2)                                                    \
    X(5, 0) X(5, 1) X(5, 2)                                                    \
    X(6, 0) X(6, 1) X(6, 2)                                                    \
    X(7, 0) X(7, 1) X(8, 0) X(8, 1) X(9, 0) X(9, 1)                            \
    X(10, 0) X(10, 1) X(11, 0) X(11, 1) X(12, 0) X(12, 1)                      \
    X(13, 0) X(13, 1) X(14, 0) X(14, 1)
/* clang-format on */

#include "engine/compute/isa/kernels_fma.inc.h"

/* Entries of the family; some products differ with VNNI and BF16. */
#define AVX512_ENTRIES(rows_q_, bf16_)                                         \
    .name = "avx512", ATTN_ENTRIES(avx512), .gemm_rows = isa_gemm_rows,        \
    .matrix_widen = matmul_widen_avx512, .matrix_row = matmul_row_avx512,      \
    .matrix_rows_q = rows_q_, .matrix_rows_bf16 = bf16_,                       \
    .quantise_rows = matmul_quantise_avx512, .gates4 = isa_gates4,             \
    .gates3 = isa_gates3, .act_tanh = isa_act_tanh, .act_relu = isa_act_relu,  \
    .add_to = isa_add_to, .max_to = isa_max_to, .scale = isa_scale,            \
    .divide = isa_divide, .row_max = isa_row_max, .sum_exp = isa_sum_exp,      \
    .softmax = isa_softmax, .all_finite = isa_all_finite, .vexp = isa_vexp,    \
    .vtanh = isa_vtanh, .vsigmoid = isa_vsigmoid,                              \
    .widen_bf16 = isa_widen_bf16, .widen_f16 = isa_widen_f16

const struct kernels kernels_avx512 = {
    AVX512_ENTRIES(matmul_rows_q_avx512, NULL)};
const struct kernels kernels_vnni = {AVX512_ENTRIES(matmul_rows_q_vnni, NULL)};
const struct kernels kernels_bf16 = {
    AVX512_ENTRIES(matmul_rows_q_vnni, matmul_rows_bf16)};
