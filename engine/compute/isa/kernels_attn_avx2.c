/* kernels_attn_avx2: the kernels of Transformers for AVX2 and FMA: which tiles
 * fit 16 registers, two a vector. kernels_attn_fma.inc.h has the text.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/isa/v16_avx2.inc.h"

#include "engine/compute/kernels_attn.h"

#define ATTN(name) name##_avx2

#define SCORE_ROWS 5
#define SCORE_BLOCKS 4
/* clang-format off */
#define SCORE_TILES(X)                                                         \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1)                                    \
    X(1, 2) X(1, 4) X(2, 2)
#define MIX_ROWS 3
#define MIX_LOG 1
#define MIX_TILES(X)                                                           \
    X(1, 0) X(2, 0) X(3, 0)                                                    \
    X(1, 1) X(2, 1) X(3, 1)
/* clang-format on */
static const int score_blocks[SCORE_ROWS + 1] = {0, 4, 2, 1, 1, 1};

#include "engine/compute/isa/kernels_attn_fma.inc.h"
