/* sha256_noisa: stands in for sha256_x86.c where the compiler makes code for
 * another machine.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/sha256_block.h"

sha256_blocks_fn *sha256_isa(void)
{
    return NULL;
}
