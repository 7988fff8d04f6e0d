/* marian_bin: the binary file of Marian NMT ("model.npz.best.bin",
 * "model.enpt.intgemm.alphas.bin"): a header of items (length of the name,
 * type, number of dimensions, bytes), all names, all shapes, padding, the data.
 * One item, special:model.yml, is the configuration.
 *
 * What is listed is in PyTorch's order: a vector [1, n] is [n]; a matrix,
 * which Marian multiplies a row by from the right ([in, out]), is [out, in];
 * tables of embeddings (names with "Wemb" or "Wpos") stay [rows, width].
 * 8-bit matrices (I8) are one number each and a factor behind them, value =
 * number * (1 / factor), as Marian unquantises them; they lie in the file as
 * they are needed here. Those of fp32 are turned into memory once. Vectors and
 * tables stay in the file.
 * Enforced: version 1; at most 65,536 items of at most 4 dimensions, names of
 * at most 255 bytes, UTF-8 and unique; each item as long as its shape asks, in
 * the order of the list up to the end of the file; factors positive, and they
 * and one over them normal numbers.
 * Internal to weights.c and checkpoint.c.
 * Source: Marian 1.9, common/binary.cpp, common/types.h, tensors/cpu/.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MARIAN_BIN_H
#define SEQD_MARIAN_BIN_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/compute/tensor.h"

struct hparams;
struct marian_bin;

#define MARIAN_BIN_HEAD 16
/* marian_bin_is: 1 when a file that begins so is to be read here. */
int marian_bin_is(const uint8_t *head, size_t n);

/* marian_bin_parse: a mapped file, which must live longer. ERR_FORMAT,
 * ERR_UNSUPPORTED (a type), ERR_NOMEM. */
int marian_bin_parse(const uint8_t *map, size_t bytes, const char *label,
                     struct marian_bin **out, struct err *e);
void marian_bin_free(struct marian_bin *m);
int marian_bin_count(const struct marian_bin *m);
/* marian_bin_at: in the file's order, without the special items. */
const struct tensor *marian_bin_at(const struct marian_bin *m, int i);

/* marian_bin_hparams: the configuration in a file as a tree like that of a
 * config.json: its keys, lists of plain values, and "model_type", which is
 * "marian-" and the value of its `type`. Errors as above. */
int marian_bin_hparams(const uint8_t *map, size_t bytes, const char *label,
                       struct hparams **out, struct err *e);

#endif
