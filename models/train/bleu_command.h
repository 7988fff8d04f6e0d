/* bleu_command: seqd-train bleu: translations in a file against references in
 * another or in several, line by line, as sacreBLEU scores them (mt_score.h).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_BLEU_COMMAND_H
#define SEQD_BLEU_COMMAND_H

#include "engine/base/buf.h"
#include "models/train/train_options.h"

/* bleu_run: one line of JSON into out, of o->hypotheses, o->references ("A,B":
 * two for each line) and, unless it is NULL, o->sources. ERR_INVALID (a file is
 * missing, or they have different numbers of lines), ERR_FORMAT (not UTF-8; the
 * message has file and line), ERR_NOT_FOUND, ERR_IO, ERR_TOO_LARGE, ERR_NOMEM.
 */
int bleu_run(const struct options *o, struct buf *out, struct err *e);

#endif
