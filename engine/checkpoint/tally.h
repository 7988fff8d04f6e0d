/* tally: which tensors of a checkpoint a loader has read. One that nobody reads
 * (a layer, a norm, a bias that the configuration does not know of) would be
 * dropped in silence and the answers would be wrong, so a loader marks what it
 * takes and refuses the rest by name, but for what no answer depends on: ends
 * of names that the architecture lists, and those that the user asks to ignore
 * (--ignore-tensors).
 *
 * One loader's, on its thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TALLY_H
#define SEQD_TALLY_H

#include "engine/checkpoint/weights.h"

struct tally {
    const struct weights *w;
    unsigned char *read; /* [weights_count] */
};

/* tally_open: nothing is read yet. ERR_NOMEM. tally_close is due in any case.
 */
int tally_open(struct tally *t, const struct weights *w, struct err *e);
void tally_close(struct tally *t);
/* tally_mark: the tensor of this name, if there is one, is read. */
void tally_mark(struct tally *t, const char *name);
/* tally_unread: the first tensor of the file that is not, or NULL. Names that
 * end like one of `ignored` (NULL-terminated, or NULL) are passed over, and
 * those that end like one of `list` (between commas; NULL: none). */
const struct tensor *tally_unread(const struct tally *t,
                                  const char *const *ignored, const char *list);

#endif
