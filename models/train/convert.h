/* convert: the checkpoint of a directory once more, in another directory and
 * with numbers of another kind (--precision), without a training. Any directory
 * of an architecture that seqd serves, from whatever program: tensors are
 * rounded one after the other, and what lies beside them is copied.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CONVERT_H
#define SEQD_CONVERT_H

#include "engine/base/buf.h"
#include "models/train/train_options.h"

/* convert_run: reads o->model, writes o->out (made if need be; a checkpoint
 * that is there goes only with o->overwrite); adds a line of JSON to out:
 * tensors, parameters, bytes of the new file. What is written is read again.
 * ERR_INVALID (an option; a file that is no directory of that kind),
 * ERR_UNSUPPORTED (an architecture), and the errors of reading and writing;
 * then o->out holds no weights. */
int convert_run(const struct options *o, struct buf *out, struct err *e);

#endif
