/* tokenizer_at: see tokenizer_at.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/tokenizer_at.h"

#include "engine/checkpoint/checkpoint.h"

int tokenizer_at(const char *path, const char *label, struct tokenizer **out,
                 struct err *e)
{
    struct checkpoint *c;
    *out = NULL;
    if (checkpoint_open(path, label, &c, e))
        return -1;
    int rc = tokenizer_open(c, out, e);
    checkpoint_close(c);
    return rc;
}
