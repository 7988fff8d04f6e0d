/* attention: the `attention` part of an item's answer:
 * {"tokens":[...],"layers":[{"heads":[[[...]]]}]}, row i of a head the weights
 * of position i for all positions; or, of a translation,
 * {"source":[...],"target":[...],"weights":[[...]]}.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ATTENTION_H
#define SEQD_ATTENTION_H

#include "engine/run/engine.h"
#include "server/http/request.h"

/* attention_write: ,"attention":{...} of the item, or nothing when the result
 * has none. */
void attention_write(const struct request *r, const struct item *it,
                     const struct job_result *res, struct buf *out);

/* attention_write_alignment: the same of the n tokens that were made of an
 * item, w [n][it->n]. */
void attention_write_alignment(const struct request *r, const struct item *it,
                               const int32_t *ids, int n, const float *w,
                               struct buf *out);

/* attention_size: bytes of all items' parts, about, before they are there. */
size_t attention_size(const struct request *r);
/* attention_alignment_size: the same of alignments: the most. */
size_t attention_alignment_size(const struct request *r);

/* piece_write: what a token stands for as a JSON string: of sub-words their
 * bytes (U+FFFD for those that are no whole code points), else the entry. */
void piece_write(const struct tokenizer *t, int32_t id, struct buf *out);

#endif
