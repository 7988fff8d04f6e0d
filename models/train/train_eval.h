/* train_eval: seqd-train eval: a checkpoint's score on a text, through the
 * engine that serves it (engine.h), so that what is measured is what is served.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TRAIN_EVAL_H
#define SEQD_TRAIN_EVAL_H

#include "engine/base/buf.h"
#include "models/train/train_options.h"

/* eval_run: one line of JSON into out. Language models: tokens, nats,
 * perplexity, unk_share (of the tokens scored). The records are framed by the
 * end token as in training and scored as one text. Classifiers: items,
 * accuracy, nll (nats), ece (expected calibration error over 15 equal bins;
 * Guo et al. 2017). */
int eval_run(const struct options *o, struct buf *out, struct err *e);

#endif
