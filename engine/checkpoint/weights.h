/* weights: the tensors of a checkpoint, whatever container they came in
 * (safetensors, in one file or in shards, a state dict of torch, GGUF, or
 * Marian's binary file).
 * Data stays in the read-only mapping of the file; a model widens or packs what
 * it needs. Everything in the file is hostile until checked: see safetensors.h
 * and torch_state.h for the rules enforced. A mapped file that is cut short
 * while served must not kill the process: weights registers its mappings with
 * the SIGBUS guard (guard.c), which maps zero pages over the range and marks
 * the weights damaged.
 * Immutable after open, so any thread may read.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_WEIGHTS_H
#define SEQD_WEIGHTS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/compute/tensor.h"

struct weights;

/* What checkpoint.c opens. weights_open: a folder's model.safetensors, or
 * model.safetensors.index.json with its shards, or model.pt, or
 * pytorch_model.bin, or pytorch_model.bin.index.json with its shards, the first
 * of them that is there. `label` stands for the folder in messages (the model's
 * name). ERR_NOT_FOUND, ERR_IO, ERR_FORMAT, ERR_UNSUPPORTED (a dtype or a form
 * that we do not read), ERR_NOMEM.
 * weights_open_torch: this file of the folder, which torch.save wrote.
 * weights_open_marian: this file of the folder (marian_bin.h).
 * weights_gguf: the tensors of g, which must live longer. ERR_UNSUPPORTED (one
 * of several files), ERR_NOMEM. */
struct gguf;
int weights_open(const char *dir, const char *label, struct weights **out,
                 struct err *e);
int weights_open_torch(const char *dir, const char *label, const char *file,
                       struct weights **out, struct err *e);
int weights_open_marian(const char *dir, const char *label, const char *file,
                        struct weights **out, struct err *e);
int weights_gguf(struct gguf *g, struct weights **out, struct err *e);
void weights_close(struct weights *w);

/* weights_count: tensors of the net: the scales of matrices of 8 bits are a
 * part of these (scales.h). */
int weights_count(const struct weights *w);
const struct tensor *weights_at(const struct weights *w, int i);
/* weights_find: names are those of the net itself: a prefix that a wrapper put
 * in front of all of them (DataParallel's "module.", torch.compile's
 * "_orig_mod.") is taken away, and may be there in `name` or not. */
const struct tensor *weights_find(const struct weights *w, const char *name);
/* weights_parameters: elements of all, those that two names share once. */
uint64_t weights_parameters(const struct weights *w);
/* weights_held: bytes of tensors that do not lie in the files as they are
 * needed and were copied when these were opened: in memory as long as w is. */
size_t weights_held(const struct weights *w);
/* weights_damaged: 1 after a SIGBUS in it, or once weights_watch has seen that
 * a file was written to. */
int weights_damaged(const struct weights *w);
/* weights_watch: look after the mapped files, and say once in the log what has
 * become of them. Another size, or other times and another digest: damaged. A
 * file that was replaced under its name stays mapped and is served on. To be
 * called every second or so, by one thread; costs two stats a file, and a read
 * of the files when their times were changed. A reading ends early when *stop
 * (NULL: never) becomes true; the next look begins it again. */
void weights_watch(struct weights *w, const atomic_int *stop);
/* weights_drop_pages: a loader has packed this tensor (NULL: all of them) and
 * reads it no more, or seldom: its pages leave the resident memory; they come
 * back from the file when they are touched. */
void weights_drop_pages(const struct weights *w, const struct tensor *t);
/* weights_digest: "sha256:..." of the file, 71 bytes and a NUL; of all shards
 * in the order of their names. Made on first use, which reads all of them: NULL
 * when *stop (NULL: never) became true on the way. Thread-safe. */
const char *weights_digest(const struct weights *w, const atomic_int *stop);

/* weights_expect: the tensor of this name and exactly this shape (n_dims 1 or
 * 2; d1 is ignored for 1) of a floating or block-quantised dtype, or
 * ERR_FORMAT: "tensor 'rnn.weight_ih_l0' is [512,65], expected [512,128]". Of
 * its numbers none is read. All have to be finite (a NaN would fail every
 * answer): who packs them by matrix_pack has that looked at on the way; others
 * call weights_check or weights_need. */
const struct tensor *weights_expect(const struct weights *w, const char *name,
                                    int n_dims, int64_t d0, int64_t d1,
                                    struct err *e);
/* weights_check: tensor_fault finds nothing in a tensor of w, or ERR_FORMAT.
 * Reads all of it once: who keeps it in the file calls weights_drop_pages. */
int weights_check(const struct weights *w, const struct tensor *t,
                  struct err *e);
/* weights_need: weights_expect and weights_check. */
const struct tensor *weights_need(const struct weights *w, const char *name,
                                  int n_dims, int64_t d0, int64_t d1,
                                  struct err *e);

#endif
