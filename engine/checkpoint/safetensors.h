/* safetensors: reader and writer of the format (8-byte little-endian header
 * length, JSON header, raw data; huggingface/safetensors README, "Format").
 * The reader of checkpoints is behind weights_open. Enforced: header at most 16
 * MiB and inside the file, strict JSON object that starts with '{', at most
 * 65,536 tensors, names at most 256 bytes and unique, dtype known, at most 8
 * dimensions, product without overflow, offsets ordered and inside the file,
 * size equal to shape times dtype, no overlap and no hole, no bytes left over.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SAFETENSORS_H
#define SEQD_SAFETENSORS_H

#include "engine/checkpoint/weights.h"

/* One tensor to write, stored as `dtype`: F32, F16 or BF16, rounded to nearest
 * even, or a matrix as I8 with its scales in a tensor of their own (scales.h),
 * one a row or, by_column, one a column (dtype_to_i8). What is written is data,
 * or where that is NULL the numbers of `from`, of the same shape; of the same
 * plain type, or of I8 with scales that way, it is copied as it is. */
struct save_tensor {
    const char *name;
    enum dtype dtype;
    int n_dims;
    int64_t dim[TENSOR_MAX_DIMS];
    const float *data;
    const struct tensor *from;
    int by_column;
};

/* safetensors_save: write path whole or not at all (engine/base/file.h).
 * meta: n_meta pairs of key and value strings, may be NULL. What is of 8 bits
 * stands last. ERR_INVALID (a tensor that cannot be saved, or, as I8, that
 * holds a number that is not finite), ERR_IO, ERR_NOMEM. */
int safetensors_save(const char *path, const struct save_tensor *t, int n,
                     const char *const (*meta)[2], int n_meta, struct err *e);

/* For weights.c, and the trainer's files of vectors: parse and check a mapped
 * file. */
struct safetensors_index;
int safetensors_parse(const uint8_t *map, size_t bytes, const char *label,
                      struct safetensors_index **out, struct err *e);
void safetensors_index_free(struct safetensors_index *x);
int safetensors_index_count(const struct safetensors_index *x);
const struct tensor *safetensors_index_at(const struct safetensors_index *x,
                                          int i);

#endif
