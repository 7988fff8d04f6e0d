/* checkpoint: the files of a model, each opened and parsed once. Hyper-
 * parameters, weights and tokenizer are views of it; a GGUF file is one mapping
 * and one parse for all three. A checkpoint has one of three forms:
 *
 *   a GGUF file: any regular file, or the only *.gguf of a folder without
 *                config.json
 *   a folder:    config.json, the weights and the files of a tokenizer. The
 *                weights are model.safetensors or its shards, or a state dict
 *                of torch: model.pt, pytorch_model.bin or its shards, or the
 *                file of torch that is named in place of its folder
 *   Marian NMT's: a binary file that holds its configuration (marian_bin.h),
 *                named, or the only *.bin of that kind in a folder without
 *                config.json, and SentencePiece models beside it
 *
 * A view is made when it is asked for first, so that who wants a tokenizer
 * needs no weights to be there; from then on it cannot fail. Weights are
 * mapped, never read here. Messages name `label` (the model's name) and the
 * file, never the path. Everything in the files is hostile until checked.
 * One thread opens a checkpoint and asks for its views; what has been made is
 * immutable: any thread may read it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CHECKPOINT_H
#define SEQD_CHECKPOINT_H

#include <stddef.h>

#include "engine/base/err.h"
#include "engine/base/json.h"
#include "engine/checkpoint/hparams.h"
#include "engine/checkpoint/place.h"
#include "engine/checkpoint/weights.h"

struct checkpoint;
struct gguf;

/* checkpoint_open: finds out the form; parses a GGUF file. A folder may lack
 * any file until it is asked for. ERR_NOT_FOUND, ERR_IO, ERR_FORMAT,
 * ERR_UNSUPPORTED, ERR_NOMEM. */
int checkpoint_open(const char *path, const char *label,
                    struct checkpoint **out, struct err *e);
void checkpoint_close(struct checkpoint *c);

/* Views, borrowed until checkpoint_close; NULL with the message in e: what is
 * not there (ERR_NOT_FOUND), ERR_IO, ERR_FORMAT, ERR_UNSUPPORTED (a type of
 * tensors that we do not read), ERR_TOO_LARGE, ERR_NOMEM. */
const struct hparams *checkpoint_hparams(struct checkpoint *c, struct err *e);
struct weights *checkpoint_weights(struct checkpoint *c, struct err *e);
enum checkpoint_form { CHECKPOINT_FOLDER, CHECKPOINT_GGUF, CHECKPOINT_MARIAN };
enum checkpoint_form checkpoint_form(const struct checkpoint *c);
/* checkpoint_gguf: the metadata of a GGUF file; NULL: a folder. */
const struct gguf *checkpoint_gguf(const struct checkpoint *c);

/* Files beside, by names that may come from the checkpoint (place.h).
 * checkpoint_file: at most max bytes; *text [*n] is the caller's (mem_free).
 * checkpoint_json: *out is NULL when there is no such file. */
int checkpoint_has(const struct checkpoint *c, const char *file);
/* checkpoint_only: 1, and its name, when one file there begins and ends so. */
int checkpoint_only(const struct checkpoint *c, const char *begin,
                    const char *end, char file[PLACE_NAME_BYTES]);
int checkpoint_file(const struct checkpoint *c, const char *file, size_t max,
                    char **text, size_t *n, struct err *e);
int checkpoint_json(const struct checkpoint *c, const char *file,
                    const struct json_limits *limits, struct json **out,
                    struct err *e);
/* checkpoint_name: what messages call a file of it. */
void checkpoint_name(const struct checkpoint *c, const char *file,
                     char out[PLACE_NAME_BYTES]);

/* Of the weights, once they have been asked for (weights.h). */
const char *checkpoint_digest(const struct checkpoint *c,
                              const atomic_int *stop);
int checkpoint_damaged(const struct checkpoint *c);
void checkpoint_watch(const struct checkpoint *c, const atomic_int *stop);

#endif
