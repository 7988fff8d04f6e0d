/* kernels_noisa: stands in for kernels_x86.c and its families where the
 * compiler makes code for another machine: there is portable C only.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/compute/isa/kernels_isa.h"

int kernels_isa_list(const struct kernels *out[ISA_MAX])
{
    for (int i = 0; i < ISA_MAX; i++)
        out[i] = NULL;
    return 0;
}
