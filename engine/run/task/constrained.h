/* constrained: the state of a constraint (engine/text/constraint.h) beside one
 * text that is being made. It belongs to the task, not to the sequence: when
 * the model's state is lost and read again, this one is still there.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CONSTRAINED_H
#define SEQD_CONSTRAINED_H

#include "engine/run/job.h"
#include "engine/text/constraint.h"

struct constrained {
    const struct constraint *c; /* NULL: anything may be written */
    _Alignas(16) char state[CONSTRAINT_STATE_BYTES];
};

/* constrained_begin: the state behind the job's target, which c (NULL: none)
 * has to be able to go on from; otherwise there is no constraint, or, with
 * `must`, ERR_INVALID without a param: it is the input's. ERR_UNSUPPORTED
 * (param "constraint") when the vocabulary cannot serve one. */
int constrained_begin(struct constrained *s, const struct job *j,
                      const struct constraint *c, int must, struct err *e);

/* constrained_mask: -inf for what may not come next. 0: nothing may. */
int constrained_mask(const struct constrained *s, const struct model *m,
                     float *row);
/* constrained_see: a token that was made. One that may not follow (the model's
 * rules forced it) ends the constraint. */
void constrained_see(struct constrained *s, const struct model *m, int32_t id);

#endif
