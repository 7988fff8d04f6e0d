/* vectors: see vectors.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/vectors.h"

#include <string.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/safetensors.h"

#define MAX_COLUMNS 65536

struct reader {
    struct corpus *c;
    const char *label; /* of the file */
    const struct tensor *x, *y, *length;
    int64_t N, T, D, K;
};

static const struct tensor *find(const struct safetensors_index *s,
                                 const char *name)
{
    for (int i = 0; i < safetensors_index_count(s); i++)
        if (strcmp(safetensors_index_at(s, i)->name, name) == 0)
            return safetensors_index_at(s, i);
    return NULL;
}

static int wrong(const struct reader *r, const char *what, struct err *e)
{
    return err_set(e, ERR_FORMAT, "%s: %s", r->label, what);
}

static int is_plain(const struct tensor *t)
{
    return dtype_bytes(t->dtype) > 0 && t->dtype != DT_I8;
}

/* The shapes, and that all numbers are some. */
static int check(struct reader *r, struct err *e)
{
    const struct tensor *x = r->x, *y = r->y, *n = r->length;
    if (x == NULL || y == NULL)
        return wrong(r, "no tensors 'x' and 'y'", e);
    if (x->n_dims < 2 || x->n_dims > 3)
        return wrong(r, "'x' is not [sequences, time, columns]", e);
    r->N = x->dim[0];
    r->T = x->n_dims == 3 ? x->dim[1] : 1;
    r->D = x->dim[x->n_dims - 1];
    r->K = y->n_dims == 2 ? y->dim[1] : 1;
    if (y->n_dims < 1 || y->n_dims > 2 || y->dim[0] != r->N)
        return wrong(r, "'y' is not [sequences of x, values]", e);
    if (n != NULL && (n->n_dims != 1 || n->dim[0] != r->N))
        return wrong(r, "'length' is not [sequences of x]", e);
    if (r->N < 1 || r->T < 1 || r->D < 1 || r->K < 1 || r->D > MAX_COLUMNS ||
        r->K > DATA_MAX_LABELS || r->T > INT32_MAX)
        return wrong(r, "'x' or 'y' is empty or too wide", e);
    if (r->N >= DATA_MAX_RECORDS - r->c->n_records)
        return err_set(e, ERR_TOO_LARGE, "more than %d sequences",
                       DATA_MAX_RECORDS);
    if (!is_plain(x) || !is_plain(y) || (n != NULL && !is_plain(n)))
        return wrong(r, "a tensor is of 8-bit numbers or of blocks", e);
    if (tensor_fault(x) != NULL || tensor_fault(y) != NULL)
        return wrong(r, "'x' or 'y' has a number that is not finite", e);
    if (r->c->n_records > 0 && (r->D != r->c->width || r->K != r->c->n_values))
        return wrong(r, "not as wide as the file before it", e);
    return 0;
}

static int reserve(struct reader *r, struct err *e)
{
    struct corpus *c = r->c;
    size_t N = (size_t)(c->n_records + r->N), D = (size_t)r->D;
    size_t rows = (size_t)(c->n + r->N * r->T);
    float *x = mem_grow(c->vectors, rows, D * sizeof *x);
    if (x != NULL)
        c->vectors = x;
    float *y = mem_grow(c->values, N, (size_t)r->K * sizeof *y);
    if (y != NULL)
        c->values = y;
    int64_t *start = mem_grow(c->start, N + 1, sizeof *start);
    if (start != NULL)
        c->start = start;
    int *n_source = mem_grow(c->n_source, N, sizeof *n_source);
    if (n_source != NULL)
        c->n_source = n_source;
    return x != NULL && y != NULL && start != NULL && n_source != NULL
               ? 0
               : err_nomem(e);
}

/* Rows of sequence i, or -1. */
static int64_t length_of(const struct reader *r, int64_t i)
{
    float n = (float)r->T;
    if (r->length == NULL)
        return r->T;
    tensor_read(r->length, (size_t)i, 1, &n);
    return n >= 1 && n <= (float)r->T && n == (float)(int64_t)n ? (int64_t)n
                                                                : -1;
}

static int add_file(struct reader *r, int file, struct err *e)
{
    struct corpus *c = r->c;
    if (check(r, e) != 0 || reserve(r, e) != 0)
        return -1;
    c->width = (int)r->D;
    c->n_values = (int)r->K;
    for (int64_t i = 0; i < r->N; i++) {
        int64_t n = length_of(r, i);
        size_t at = (size_t)(i * r->T * r->D);
        if (n < 0)
            return wrong(r, "a 'length' is not 1 to the time of 'x'", e);
        tensor_read(r->x, at, (size_t)(n * r->D),
                    c->vectors + (size_t)c->n * (size_t)r->D);
        tensor_read(r->y, (size_t)(i * r->K), (size_t)r->K,
                    c->values + (size_t)c->n_records * (size_t)r->K);
        c->n_source[c->n_records] = 0;
        c->n += n;
        corpus_close_record(c, file);
    }
    return 0;
}

static int read_file(struct corpus *c, const char *path, int file,
                     struct err *e)
{
    struct safetensors_index *s = NULL;
    struct reader r = {.c = c, .label = path};
    char *bytes = NULL;
    size_t n = 0;
    int rc = file_read(path, path, DATA_MAX_BYTES, &bytes, &n, e);
    if (rc == 0)
        rc = safetensors_parse((const uint8_t *)bytes, n, path, &s, e);
    if (rc == 0) {
        r.x = find(s, "x");
        r.y = find(s, "y");
        r.length = find(s, "length");
        rc = add_file(&r, file, e);
    }
    if (s != NULL)
        safetensors_index_free(s);
    mem_free(bytes);
    return rc;
}

int vectors_read(struct corpus *c, const char *files, struct err *e)
{
    int rc = 0;
    memset(c, 0, sizeof *c);
    while (rc == 0 && *files != '\0') {
        size_t n;
        if (c->n_files == DATA_MAX_FILES)
            return err_set(e, ERR_TOO_LARGE, "more than %d files",
                           DATA_MAX_FILES);
        char *path = data_first_file(files, &n, &c->share[c->n_files], e);
        if (path == NULL)
            return -1;
        rc = read_file(c, path, c->n_files++, e);
        mem_free(path);
        files += n + (files[n] == ',');
    }
    return rc != 0 || c->n_records > 0
               ? rc
               : err_set(e, ERR_INVALID, "no file of vectors is named");
}
