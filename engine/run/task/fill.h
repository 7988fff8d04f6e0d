/* fill: a masked word: what may stand in the place of the one mask token.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FILL_H
#define SEQD_FILL_H

#include "engine/run/task/next.h"

/* Parameters: struct next_params. ERR_INVALID unless the text holds the mask
 * once, ERR_UNSUPPORTED when the tokenizer has none. */
extern const struct task task_fill;

static inline const struct next_result *fill_result(const struct job *j)
{
    return job_answer(j, &task_fill);
}

#endif
