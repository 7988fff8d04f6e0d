/* gguf_tensors: between gguf.c (metadata) and gguf_tensors.c (what the tensor
 * descriptions say and where the data lies). A cursor walks over the mapping;
 * everything it hands out has been checked against the bytes that are left.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_GGUF_TENSORS_H
#define SEQD_GGUF_TENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/checkpoint/weights.h"

struct gguf_cursor {
    const uint8_t *p;
    size_t bytes, at; /* at <= bytes */
    const char *label;
    struct err *e;
};

/* All: 0, or -1 with a message that names `what`. */
int gguf_take(struct gguf_cursor *c, size_t n, const char *what);
int gguf_take_int(struct gguf_cursor *c, int n, const char *what, uint64_t *v);
/* gguf_take_name: a string of 1..max bytes of UTF-8 without NUL, copied; *out
 * is to be freed after a failure, too. */
int gguf_take_name(struct gguf_cursor *c, const char *what, size_t max,
                   char **out);

/* gguf_take_tensors: n descriptions into t (zeroed by the caller), and the
 * data section behind them: aligned, without holes, overlaps or bytes left
 * over, all of it in the file. */
int gguf_take_tensors(struct gguf_cursor *c, struct tensor *t, int n,
                      size_t align);

#endif
