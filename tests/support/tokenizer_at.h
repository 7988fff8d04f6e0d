/* tokenizer_at: the tokenizer of the checkpoint at a path, opened for it alone.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TOKENIZER_AT_H
#define SEQD_TOKENIZER_AT_H

#include "engine/text/tokenizer.h"

int tokenizer_at(const char *path, const char *label, struct tokenizer **out,
                 struct err *e);

#endif
