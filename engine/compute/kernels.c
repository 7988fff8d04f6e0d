/* kernels: picks a family by name or by what the CPU has. The list is asked
 * for anew at every call (a few CPUID instructions), so there is no global.
 *
 * SPDX-License-Identifier: MIT */
#include <fenv.h>
#include <string.h>

#include "engine/compute/isa/kernels_isa.h"

const struct kernels *kernels_available(int i)
{
    const struct kernels *isa[ISA_MAX];
    int n = kernels_isa_list(isa);

    if (i == 0)
        return &kernels_generic;
    return i > 0 && i <= n ? isa[i - 1] : NULL;
}

int kernels_pick(const char *name, const struct kernels **out, struct err *e)
{
    const struct kernels *k;
    int best = strcmp(name, "auto") == 0;

    *out = NULL;
    for (int i = 0; (k = kernels_available(i)); i++)
        if (best || strcmp(name, k->name) == 0)
            *out = k;
    if (*out)
        return 0;
    return err_set(e, ERR_UNSUPPORTED,
                   "kernel family '%.20s' is unknown or not supported by "
                   "this CPU",
                   name);
}

void kernels_enter_thread(void)
{
    /* The default environment: round to nearest, exceptions masked, denormals
     * kept (on x86 the flush bits of MXCSR are cleared too). */
    fesetenv(FE_DFL_ENV);
}
