/* near: relative positions as T5 and MPNet have them: each head adds a number
 * to the score of a key by how far it is from the query. Distances fall into
 * buckets: the first half of them hold one distance each, the rest ever more,
 * up to `reach`, from which on all are alike. Where keys stand on both sides of
 * a query, half of the buckets are for those behind it (and its own), half for
 * those after it.
 *
 * Source: Raffel et al. 2020 (T5), section 2.1; Song et al. 2020 (MPNet).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_NEAR_H
#define SEQD_NEAR_H

#include "models/transformer/names.h"

#define NEAR_MAX_BUCKETS 1024
#define NEAR_MAX_REACH 4096

struct near_form {
    int buckets, reach;
    int both; /* keys after the query count, too */
};

/* near_read_form: buckets and reach of config.json; 32 and 128 where it states
 * none. */
int near_read_form(const struct names *n, struct near_form *f, struct err *e);
/* near_read: s->near from the tensor `table` [buckets, HEADS]. */
int near_read(struct stack *s, struct names *n, const struct near_form *f,
              const char *table, struct err *e);

#endif
