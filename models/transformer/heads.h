/* heads: what a Transformer of Hugging Face's is for, and its labels.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HEADS_H
#define SEQD_HEADS_H

#include "models/transformer/names.h"

#define HEADS_MAX_LABELS 1024

/* Ends of names of tensors that encoders' files carry and that may go unread:
 * buffers, and heads for another use than the one the file states (of masked
 * words, of the next sentence, the pooler). A classifier's are not among them.
 */
extern const char *const heads_ignored[];

/* heads_find: LOGITS of masked words, CLASS or POOLED, by the name in
 * config.json's `architectures`; where it has none, by the tensors that are
 * there: the labels' matrix, or one of the name `words`. ERR_UNSUPPORTED names
 * another head, as heads_read_decoder does. */
int heads_find(const struct names *n, const struct tensor_row *labels,
               const char *words, enum tf_output *out, struct err *e);

/* heads_read_labels: dim[LABELS] (rows of `out`), label and scores, from
 * id2label and problem_type. */
int heads_read_labels(struct stack *s, const struct names *n,
                      const struct tensor_row *out, struct err *e);

/* heads_read_decoder: what a decoder of Hugging Face's is for, in the same way:
 * next words, or labels by a product `score` over the last token; then output
 * is CLASS, and the head's rows, labels and padding are set. */
int heads_read_decoder(struct stack *s, const struct names *n, struct err *e);

#endif
