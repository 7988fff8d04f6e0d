/* refusal: what a fixture's config.json asks for in vain: one key is changed,
 * and the load has to fail with the right words. Fixtures are the folders
 * tests/golden/ARCHITECTURE/CASE/hf.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_REFUSAL_H
#define SEQD_REFUSAL_H

#include "engine/run/arch.h"

/* A key of config.json gets `value` (JSON text; NULL: the key goes): the load
 * must fail, the message hold `part`. */
struct refusal {
    const char *key, *value, *part;
    const char *name; /* of the case; NULL: the architecture's */
};

/* In config.json of the architecture's case of its own name, or of another. */
#define WITH(key, value, part)                                                 \
    {                                                                          \
        key, value, part, NULL                                                 \
    }
#define OF(name, key, value, part)                                             \
    {                                                                          \
        key, value, part, name                                                 \
    }

/* refusal_expect: fails the running test when it does not fail so. */
void refusal_expect(const struct model_arch *arch, const char *name,
                    const struct refusal *r);

/* refusal_file: the bytes of a file, a NUL behind them; mem_free. */
#define REFUSAL_FILE_BYTES ((size_t)1 << 16)
char *refusal_file(const char *path, size_t *n);

#endif
