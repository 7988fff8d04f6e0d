/* model_dir: a checkpoint of the fixtures that has no tokenizer, as a folder
 * under /tmp with its files (linked) and one of made-up words, so that the
 * engine can load it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MODEL_DIR_H
#define SEQD_MODEL_DIR_H

#include "engine/base/buf.h"

/* model_dir_make: out has room for 64 bytes. When src has a tokenizer.json,
 * out is empty: use src. 0 or -1. */
int model_dir_make(const char *src, char out[64]);
/* model_dir_letters: the same with sub-words: id 0 is the end, then a to z, the
 * same with a space before them, a space, the byte 0xc3 (a part of a code
 * point), then digits, as far as the vocabulary goes. */
int model_dir_letters(const char *src, char out[64]);
/* model_dir_config: the files of src with another config.json. */
int model_dir_config(const char *src, const struct buf *config, char out[64]);
void model_dir_remove(const char *dir); /* "" is fine */

#endif
