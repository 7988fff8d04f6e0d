/* tokenize_command: `seqd tokenize`, a text a line on standard input, its ids
 * on standard output. No server, no weights.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TOKENIZE_COMMAND_H
#define SEQD_TOKENIZE_COMMAND_H

#include <stdio.h>

/* tokenize_command: `seqd tokenize --model PATH [--json] [--add-special]
 * [--parse-special]`; argv[0] is "tokenize". Lines are separated by LF alone;
 * with --json each is a JSON string. The answer to a line is a line of ids,
 * space between; a line that is refused gets an empty one, and a message with
 * its number on `errors`. The exit status: 0, 1 when a line or the model was
 * refused, 2 for wrong arguments. */
int tokenize_command(int argc, char *const *argv, FILE *in, FILE *out,
                     FILE *errors);

#endif
