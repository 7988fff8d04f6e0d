/* golden: what parity tests share: numbers of an expected.json, the fixtures
 * in a folder, and comparisons that fail the running cmocka test. `what`, in
 * printf's words, begins the message.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_GOLDEN_H
#define SEQD_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/json.h"

#define GOLDEN_MAX 64

struct golden_names {
    char name[GOLDEN_MAX][128];
    int n;
};

/* golden_names: the entries of a folder; 0, or -1 where there is none. */
int golden_names(const char *dir, struct golden_names *out);

/* golden_each: open(name) of all entries, of which there must be some, and then
 * check(family) for each kernel family that runs here. */
void golden_each(const struct golden_names *names,
                 void (*open)(const char *name),
                 void (*check)(const char *family));

/* golden_floats, golden_ids: how many numbers the list has (NULL: 0); more
 * than max fail the test. */
int golden_floats(const struct json *list, float *v, int max);
int golden_ids(const struct json *list, int32_t *ids, int max);

/* golden_close: |got - want| <= tolerance * max(1, |want|). */
void golden_close(const float *got, const float *want, int n, double tolerance,
                  const char *what, ...) __attribute__((format(printf, 5, 6)));
/* golden_same: the same bits. */
void golden_same(const float *a, const float *b, size_t n, const char *what,
                 ...) __attribute__((format(printf, 4, 5)));

#endif
