/* train_eval: seqd-train eval: a checkpoint's score on a text, through the
 * engine that serves it (engine.h), so that what is measured is what is served.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TRAIN_EVAL_H
#define SEQD_TRAIN_EVAL_H

#include "engine/base/buf.h"
#include "engine/run/engine.h"
#include "models/train/train_options.h"

/* eval_run: one line of JSON into out, that of `seqd eval` (engine/run/eval.h)
 * for the same files. */
int eval_run(const struct options *o, struct buf *out, struct err *e);
/* eval_checkpoint: the same for a checkpoint and files that o does not name. */
int eval_checkpoint(const struct options *o, const char *model,
                    const char *data, struct buf *out, struct err *e);
/* eval_open: the engine of such a command, with the checkpoint. eval_shut in
 * any case. */
int eval_open(const struct options *o, const char *model, struct engine **g,
              struct model **m, struct err *e);
void eval_shut(struct engine *g, struct model *m);
/* eval_paths: "A,B:0.3" as paths [DATA_MAX_FILES]; all of each file counts.
 * eval_paths_free in any case. */
int eval_paths(const char *files, const char *option, char **path, int *n,
               struct err *e);
void eval_paths_free(char **path, int n);

#endif
