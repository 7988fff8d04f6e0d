/* hint: what a person is told about an answer that is right and of no use: a
 * model of chats, asked without its chat template, ends at once.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HINT_H
#define SEQD_HINT_H

#include "engine/run/task/generate.h"
#include "server/http/request.h"

/* hint_write: ,"hint":"..." where it applies, else nothing. */
void hint_write(const struct request *r, const struct item *it,
                const struct generate_result *res, struct buf *out);

#endif
