/* task_impl: what the tasks share, for the files of this folder.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TASK_IMPL_H
#define SEQD_TASK_IMPL_H

#include "engine/run/batch.h"
#include "engine/run/job.h"
#include "engine/run/task/task.h"

/* task_span: the job's next input: of the source before all else, then of port
 * 0 (the prompt, or what was made of it too) from behind the longest shared
 * prefix on. n is 0 when it has to wait for its turn. */
struct span task_span(struct job *j, int budget, struct batch_plan *p,
                      int *port);
/* task_ends: 1 when these rows are the last of port 0 for now. */
int task_ends(const struct job *j, int port, const struct span *in);
/* task_plan_input: the next span into the batch; with the last one, one row of
 * `want` (OUT_LOGITS: of the last position), or none when want is -1. */
int task_plan_input(struct job *j, int budget, struct batch_plan *p, int want);

/* task_row: the i-th wanted row of the item, checked: NULL, after job_fail,
 * when it holds a NaN or an infinity. n columns. */
float *task_row(struct job *j, const struct task_ctx *x,
                const struct batch_item *item, int i, int n);

/* task_can_show: whether the weights of so many rows can be asked for. The
 * errors have the param "attention". ERR_INVALID, ERR_UNSUPPORTED. */
int task_can_show(const struct job *j, int rows, struct err *e);
/* task_show_attention: from init: the weights of all layers and heads are
 * wanted besides (job_result.attention). ERR_INVALID, ERR_UNSUPPORTED. */
int task_show_attention(struct job *j, struct err *e);

/* task_out_of_memory: job_fail for a task that cannot grow. */
int task_out_of_memory(struct job *j);

#endif
