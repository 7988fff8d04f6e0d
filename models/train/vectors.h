/* vectors: sequences of vectors with the values that belong to them, as a
 * corpus (data.h). A file is a safetensors file with
 *
 *   x        [N, T, D], or [N, D] for sequences of one vector
 *   y        [N, K], or [N] for one value
 *   length   [N], may be left out: how many of its T vectors a sequence has,
 *            from the first on
 *
 * of any floating or whole-number type; other tensors are not looked at.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_VECTORS_H
#define SEQD_VECTORS_H

#include "models/train/data.h"

/* vectors_read: files "A,B:0.3", of one D and one K; their T may differ.
 * ERR_FORMAT (file, tensor and what is wrong with it: a shape, a number that is
 * not finite, a length that is not 1 to T), ERR_NOT_FOUND, ERR_IO,
 * ERR_TOO_LARGE, ERR_NOMEM. corpus_fini also after an error. */
int vectors_read(struct corpus *c, const char *files, struct err *e);

#endif
