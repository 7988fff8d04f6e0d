/* gguf: a GGUF file (version 2 or 3, little endian): typed metadata and tensor
 * descriptions in front of the data (ggml, docs/gguf.md). Weights, hyper-
 * parameters and tokenizer all read the one that their checkpoint has opened.
 * Everything is hostile until checked: each length against the bytes that
 * remain, each product for overflow, counts, names and nesting against caps;
 * duplicate keys and names, overlaps and a data section that the file does not
 * hold are refused. Immutable after open: any thread may read.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_GGUF_H
#define SEQD_GGUF_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/checkpoint/weights.h"

struct gguf;
struct mapped;

/* As the specification numbers them. */
enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64
};

/* gguf_open: ERR_NOT_FOUND, ERR_IO, ERR_FORMAT, ERR_UNSUPPORTED (version, big
 * endian, a tensor type, by name), ERR_NOMEM. `label` stands for the path:
 * gguf_label gives it back. */
int gguf_open(const char *path, const char *label, struct gguf **out,
              struct err *e);
/* gguf_parse: the same from memory that outlives it, for tests. */
int gguf_parse(const uint8_t *p, size_t n, const char *label, struct gguf **out,
               struct err *e);
void gguf_close(struct gguf *g);
const char *gguf_label(const struct gguf *g);

/* Metadata, by index or by key. */
int gguf_n_keys(const struct gguf *g);
const char *gguf_key(const struct gguf *g, int i);    /* NUL-terminated */
int gguf_find(const struct gguf *g, const char *key); /* index or -1 */
enum gguf_type gguf_type(const struct gguf *g, int i);
/* Arrays: type and number of their elements (no arrays of arrays). */
enum gguf_type gguf_elem(const struct gguf *g, int i);
size_t gguf_len(const struct gguf *g, int i);

/* Element `at` of an array, or (at 0) a scalar. Strings are not terminated,
 * may hold any byte and are borrowed until gguf_close. Numbers convert when
 * the value fits. 0, or -1 when the type is another one. O(1). */
int gguf_string(const struct gguf *g, int i, size_t at, const char **s,
                size_t *n);
int gguf_int(const struct gguf *g, int i, size_t at, int64_t *v);
int gguf_float(const struct gguf *g, int i, size_t at, double *v);

/* Tensors, for weights.c: described, checked against the file's size. */
int gguf_n_tensors(const struct gguf *g);
const struct tensor *gguf_tensor(const struct gguf *g, int i);
/* gguf_file: the mapping, for weights.c: its damage, digest and pages. */
struct mapped *gguf_file(struct gguf *g);

#endif
