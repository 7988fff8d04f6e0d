/* constraint: see constraint.h. The list of machines.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/constraint.h"

#include <string.h>

#include "engine/text/abc/abc.h"

static const struct constraint *const all[] = {&abc_constraint};

const struct constraint *constraint_find(const char *name)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}

const char *constraint_names(void)
{
    return "abc";
}
