/* shards: model.safetensors.index.json or pytorch_model.bin.index.json, which
 * says what shard of a checkpoint holds which tensor (Hugging Face
 * transformers, "sharded checkpoints"). Internal to weights.c. The map must be
 * true: each tensor of a shard is listed for that shard, and each listed one is
 * there. One thread at a time.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SHARDS_H
#define SEQD_SHARDS_H

#include "engine/base/err.h"

struct shards;

/* shards_open: read dir's `index`, of files whose names end with `suffix`
 * (".bin"), which must live longer. ERR_NOT_FOUND, ERR_IO, ERR_FORMAT,
 * ERR_TOO_LARGE (more than 512 shards), ERR_NOMEM. */
int shards_open(const char *dir, const char *label, const char *index,
                const char *suffix, struct shards **out, struct err *e);
void shards_close(struct shards *s);
int shards_count(const struct shards *s);
const char *shards_name(const struct shards *s, int i); /* sorted by name */

/* shards_seen: shard i holds this tensor; ERR_FORMAT when the index says
 * otherwise. shards_check: ERR_FORMAT when a listed tensor was not seen. */
int shards_seen(struct shards *s, int i, const char *tensor, struct err *e);
int shards_check(const struct shards *s, struct err *e);

#endif
