/* weights: the tensors of a checkpoint, whatever container they came in
 * (safetensors, in one file or in shards, or GGUF). Data stays in the read-only
 * mapping of the file; a model widens or packs what it needs. Everything in the file is
 * hostile until checked: see safetensors.c for the rules enforced. A mapped
 * file that is cut short while served must not kill the process: weights
 * registers its mappings with the SIGBUS guard (guard.c), which maps zero
 * pages over the range and marks the weights damaged.
 * Immutable after open, so any thread may read.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_WEIGHTS_H
#define SEQD_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define WEIGHT_MAX_DIMS 8

/* Plain types first, then the block-quantised ones of ggml: a block is 32
 * elements of one row (256 for the K types) with its scales. */
enum dtype {
    DT_F32,
    DT_F16,
    DT_BF16,
    DT_F64,
    DT_I64,
    DT_I32,
    DT_U8,
    DT_Q8_0,
    DT_Q4_0,
    DT_Q4_1,
    DT_Q5_0,
    DT_Q5_1,
    DT_Q2_K,
    DT_Q3_K,
    DT_Q4_K,
    DT_Q5_K,
    DT_Q6_K,
    DT_IQ4_NL,
    N_DTYPES
};

struct weight {
    const char *name;
    enum dtype dtype;
    int n_dims;
    int64_t dim[WEIGHT_MAX_DIMS]; /* PyTorch's order: rows first (GGUF's ne
                                     reversed); blocks lie along the last */
    const void *data; /* in the mapping; alignment of the file, maybe odd */
    size_t bytes;
};

struct weights;

/* weights_open: `path` is a .gguf file, or a directory with model.safetensors,
 * with model.safetensors.index.json and its shards, or with exactly one .gguf
 * file and no config.json. `label` stands for the path in messages (the
 * model's name). ERR_NOT_FOUND, ERR_IO, ERR_FORMAT,
 * ERR_UNSUPPORTED (a dtype we do not read), ERR_NOMEM. */
int weights_open(const char *path, const char *label, struct weights **out,
                 struct err *e);
void weights_close(struct weights *w);

int weights_count(const struct weights *w);
const struct weight *weights_at(const struct weights *w, int i);
const struct weight *weights_find(const struct weights *w, const char *name);
const char *weights_metadata(const struct weights *w, const char *key);
uint64_t weights_parameters(const struct weights *w); /* elements of all */
size_t weights_bytes(const struct weights *w);        /* bytes of the file */
int weights_damaged(const struct weights *w); /* 1 after a SIGBUS in it */
/* weights_drop_pages: a loader has packed this tensor (NULL: all of them) and
 * reads it no more, or seldom: its pages leave the resident memory; they come
 * back from the file when they are touched. */
void weights_drop_pages(const struct weights *w, const struct weight *t);
/* weights_digest: "sha256:..." of the file, 71 bytes and a NUL; of all shards
 * in the order of their names. Made on first use; thread-safe. */
const char *weights_digest(const struct weights *w);

/* weights_need: the tensor of this name and exactly this shape (n_dims 1 or 2;
 * d1 is ignored for 1) of a floating or
 * block-quantised dtype, or ERR_FORMAT: "tensor
 * 'rnn.weight_ih_l0' is [512,65], expected [512,128]". */
const struct weight *weights_need(const struct weights *w, const char *name,
                                  int n_dims, int64_t d0, int64_t d1,
                                  struct err *e);

/* weight_read: widen elements first .. first+n-1 to fp32 (exact from F32, F16
 * and BF16; F64 is rounded; block types as ggml dequantises them, bit for bit,
 * from any element of a block). Unaligned data is fine. */
void weight_read(const struct weight *t, size_t first, size_t n, float *dst);

const char *dtype_name(enum dtype d); /* "F32", "BF16" ... */
size_t dtype_bytes(enum dtype d);     /* of an element; 0 for block types */
int dtype_block(enum dtype d); /* elements of a block; 1 for plain types */
size_t dtype_block_bytes(enum dtype d);
int dtype_quantised(enum dtype d);

#endif
