/* kernels_attn_avx512: the kernels of Transformers for AVX-512: which tiles
 * fit 32 registers. kernels_attn_fma.inc.h has the text.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/isa/v16_avx512.inc.h"

#include "engine/compute/kernels_attn.h"

#define ATTN(name) name##_avx512

#define SCORE_ROWS 8
#define SCORE_BLOCKS 4
/* clang-format off */
#define SCORE_TILES(X)                                                         \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1)            \
    X(1, 2) X(2, 2) X(3, 2) X(4, 2)                                            \
    X(1, 4) X(2, 4) X(3, 4) X(4, 4) X(5, 2) X(6, 2) X(7, 2) X(8, 2)
#define MIX_ROWS 6
#define MIX_LOG 2
#define MIX_TILES(X)                                                           \
    X(1, 0) X(2, 0) X(3, 0) X(4, 0) X(5, 0) X(6, 0)                            \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1)                            \
    X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2)
/* clang-format on */
static const int score_blocks[SCORE_ROWS + 1] = {0, 4, 4, 4, 4, 2, 2, 2, 2};

#include "engine/compute/isa/kernels_attn_fma.inc.h"
