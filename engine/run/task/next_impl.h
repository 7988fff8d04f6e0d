/* next_impl: what the tasks that offer predictions share: parameters, the best
 * tokens of a row of logits. Their state is that of next.c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_NEXT_IMPL_H
#define SEQD_NEXT_IMPL_H

#include "engine/run/task/next.h"
#include "engine/run/task/task_impl.h"

/* next_check: top_k and temperature. ERR_INVALID. */
int next_check(const struct next_params *p, struct err *e);
int next_init(struct job *j, const void *params, struct err *e);
void next_fini(struct job *j);
int next_take(struct job *j, const struct task_ctx *x, struct batch_item *first,
              int n);

#endif
