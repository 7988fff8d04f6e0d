/* alignment: where a target that is made looks at its source (Bahdanau et al.
 * 2014, section 5.2.1): when the text is known, its tokens are read once more
 * with OUT_ATTENTION wanted, on a fork that was taken when the source had been
 * read and nothing of the target. So what was searched keeps its bits, and the
 * weights do not depend on how.
 *
 * Of several layers and heads it is the mean over the heads of the last layer.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ALIGNMENT_H
#define SEQD_ALIGNMENT_H

#include "engine/run/task/task_impl.h"

struct alignment {
    int on;
    struct seq *seq; /* the fork, or NULL: to be made */
    int32_t *ids;    /* [n_ids] begin of the target and what was made of it */
    int n_ids, fed, planned;
    int n, m;       /* tokens that were made, rows of the source */
    float *part;    /* what an item shows */
    float *weights; /* [n][m]; row i is that of the row that token i was made
                       from */
};

/* alignment_init: from init: it is wanted. The job needs one fork more than its
 * branches. ERR_UNSUPPORTED, ERR_INVALID (param "attention"). */
int alignment_init(struct alignment *a, const struct job *j, struct err *e);
void alignment_fini(struct alignment *a);
/* alignment_hold: from plan(), before the job's own input: the fork, when it is
 * time. -1 where there is no memory for it now: nothing of the job is planned
 * then. */
int alignment_hold(struct alignment *a, struct job *j, struct batch_plan *p);
/* alignment_begin: from take(): the n tokens that were made. -1 after failing
 * the job: there are too many. */
int alignment_begin(struct alignment *a, struct job *j, const int32_t *ids,
                    int n);
/* alignment_begun: plan() and take() are these from now on: TASK_DONE when all
 * weights are there. */
int alignment_begun(const struct alignment *a);
int alignment_plan(struct alignment *a, struct job *j, int budget,
                   struct batch_plan *p);
int alignment_take(struct alignment *a, struct job *j, const struct task_ctx *x,
                   const struct batch_item *item);
/* alignment_lost: for lost(). */
void alignment_lost(struct alignment *a);

#endif
