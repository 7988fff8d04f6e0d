/* model_files: see model_files.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/model_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

int model_file(const char *name, char *out, size_t cap)
{
    const char *dir = getenv("SEQD_MODELS");

    if (dir) {
        int n = snprintf(out, cap, "%s/%s", dir, name);

        if (n > 0 && (size_t)n < cap && access(out, R_OK) == 0)
            return 1;
    }
    print_message("skipped: no %s under SEQD_MODELS (make parity-models)\n",
                  name);
    return 0;
}

struct json *model_reference(const char *name)
{
    static const struct json_limits limits = {.max_bytes = 1 << 24,
                                              .max_nodes = 1 << 22};
    const char *shared = getenv("SEQD_SHARED");
    struct err e = ERR_INIT;
    struct json *j;
    char path[600];

    snprintf(path, sizeof path, "%s/models/%s", shared ? shared : "../shared",
             name);
    if (json_load(path, name, &limits, &j, &e))
        fail_msg("%s", e.msg);
    return j;
}

int model_full(void)
{
    return getenv("SEQD_MODELS_FULL") != NULL;
}
