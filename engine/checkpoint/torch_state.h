/* torch_state: the tensors of torch.save(model.state_dict(), "model.pt"), the
 * zip form that torch writes since 1.6: a pickle (pickle.h) that names tensors,
 * and a stored entry for each storage (zip_file.h). Read are a dict of tensors
 * and parameters, or one under "state_dict" or "model_state_dict" of a dict
 * that may hold plain values, lists, dicts and other tensors besides (of an
 * optimiser, say). Nothing in the file is run.
 * Enforced: little-endian; pickle at most 16 MiB; at most 65,536 tensors of at
 * most 8 dimensions, names of at most 256 bytes, UTF-8 and unique; each tensor
 * inside its storage, each storage as long as its entry. Tensors may share a
 * storage (views, tied weights). One that is not contiguous is copied in its
 * order; all copies together are no longer than the file.
 * Internal to weights.c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TORCH_STATE_H
#define SEQD_TORCH_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/compute/tensor.h"

struct torch_state;

/* torch_state_is: 1 when a file with this name and these first bytes is to be
 * read here: what it lacks is then said here, too. */
int torch_state_is(const char *name, const uint8_t *head, size_t n);

/* torch_state_parse: a mapped file, which must live longer. ERR_FORMAT,
 * ERR_UNSUPPORTED (older forms, TorchScript, big-endian, what is no tensor, a
 * type that we do not read), ERR_TOO_LARGE, ERR_NOMEM. */
int torch_state_parse(const uint8_t *map, size_t bytes, const char *label,
                      struct torch_state **out, struct err *e);
void torch_state_free(struct torch_state *t);
int torch_state_count(const struct torch_state *t);
/* torch_state_at: in the order of the dict. */
const struct tensor *torch_state_at(const struct torch_state *t, int i);

#endif
