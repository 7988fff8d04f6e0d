/* eval_command: `seqd eval`, a checkpoint's score on a file, as one line of
 * JSON on standard output (engine/run/eval.h); progress goes to standard
 * error.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_EVAL_COMMAND_H
#define SEQD_EVAL_COMMAND_H

#include "engine/run/arch.h"

/* eval_command: argv[0] is "eval". The exit status: 0, 1, or 2 for wrong
 * arguments. */
int eval_command(int argc, char **argv, const struct model_arch *const *archs);

#endif
