/* calibrate: seqd-train calibrate: the temperature of a classifier from texts
 * with labels, into its config.json (engine/run/class_rules.h).
 *
 * Each file counts alike, however many texts it has. Logits are those of the
 * engine that serves the checkpoint, long texts in parts and all; what the
 * checkpoint says already (temperature, biases) is put in the place of.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CALIBRATE_H
#define SEQD_CALIBRATE_H

#include "engine/base/buf.h"
#include "models/train/train_options.h"

/* calibrate_run: o->model, a directory; o->data, files as for eval; o->labels,
 * o->scaling, o->max_len where o->cut. One line of JSON into out:
 *   {"temperature": T or a list, ["bias": a list,] "nll": {"before", "after"},
 *    "files": [{"file", "before": {"items", "accuracy", "nll", "ece"},
 *               "after": {...}} ...]}
 * "nll" is the mean over the files. eval's errors; ERR_INVALID (no directory
 * with a config.json; what does not fit together), ERR_UNSUPPORTED (a model
 * whose labels do not exclude each other), ERR_IO: config.json is as it was. */
int calibrate_run(const struct options *o, struct buf *out, struct err *e);

#endif
