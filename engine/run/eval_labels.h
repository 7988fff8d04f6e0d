/* eval_labels: a classifier's answers to labelled texts, and the figures of
 * whole files (label_figures.h).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_EVAL_LABELS_H
#define SEQD_EVAL_LABELS_H

#include "engine/base/buf.h"
#include "engine/run/eval_texts.h"
#include "engine/run/task/classify.h"

/* eval_answer_fn: the answer to text i; 0, or -1 with an error. */
typedef int eval_answer_fn(void *arg, int i, const struct classify_result *r,
                           struct err *e);
/* eval_answers: fn for each of the texts, in order. engine_submit's errors,
 * those of a job, fn's. */
int eval_answers(struct engine *g, struct model *m, const struct eval_texts *t,
                 const struct eval_choice *c, const struct eval_options *o,
                 eval_answer_fn *fn, void *arg, struct err *e);

/* eval_has_labels: ERR_UNSUPPORTED for a model of numbers or of a single label,
 * of which none can be right. */
int eval_has_labels(const struct model *m, struct err *e);

/* eval_labels: one line of JSON for the files: the figures of all texts, and of
 * several files "files", a list of {"file", ...} with those of each.
 * eval_texts_read's errors, eval_answers', eval_has_labels'. */
int eval_labels(struct engine *g, struct model *m, const char *const *paths,
                int n, const struct eval_options *o, struct buf *out,
                struct err *e);

#endif
